/* k_raymarch.c: rays through spheres, single precision. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=250 tiny=10 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vec {
    float x, y, z;
};

static float min_f(float a, float b)
{
    return a < b ? a : b;
}

static float to_sphere(struct vec p, float x, float y, float z, float r)
{
    float dx = p.x - x, dy = p.y - y, dz = p.z - z;
    return sqrtf(dx * dx + dy * dy + dz * dz) - r;
}

/* Distance to the nearest surface: three spheres, a floor, and a lattice of balls. */
static float field(struct vec p)
{
    float d = p.y + 1.0f;
    float lx = p.x - 2.0f * floorf(p.x * 0.5f) - 1.0f;
    float lz = p.z - 2.0f * floorf(p.z * 0.5f) - 1.0f;

    d = min_f(d, to_sphere(p, 0.0f, 0.2f, 4.0f, 1.0f));
    d = min_f(d, to_sphere(p, 1.5f, 0.5f, 5.0f, 0.8f));
    d = min_f(d, to_sphere(p, -1.7f, 0.0f, 3.5f, 0.7f));
    return min_f(d, sqrtf(lx * lx + (p.y + 0.8f) * (p.y + 0.8f) + lz * lz) - 0.2f);
}

static float shade(float u, float v)
{
    float length = sqrtf(u * u + v * v + 1.0f), t = 0;
    struct vec way = {u / length, v / length, 1.0f / length}, p = {0, 0, 0};

    for (int i = 0; i < 64; i++) {
        float d = field(p);
        if (d < 0.001f) {
            struct vec q = p;
            q.y += 0.01f;
            q.x += 0.005f;
            return (field(q) - d) * 50.0f + 0.5f + 1.0f / (1.0f + t);
        }
        t += d;
        if (t > 40.0f) break;
        p = (struct vec){way.x * t, way.y * t, way.z * t};
    }
    return 0.1f;
}

int main(int argc, char **argv)
{
    int size = argc > 1 ? atoi(argv[1]) : 900;
    double sum = 0;
    uint32_t bits, hash = 0;

    for (int row = 0; row < size; row++) {
        for (int col = 0; col < size; col++) {
            float s = shade(2.0f * col / size - 1.0f, 1.0f - 2.0f * row / size);
            sum += s;
            memcpy(&bits, &s, 4);
            hash = hash * 31 + bits;
        }
    }
    printf("raymarch %.2f\nbits %08x\n", sum / size / size, hash);
    return 0;
}
