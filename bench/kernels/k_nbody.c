/* k_nbody.c: planets under gravity, double precision. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=500000 tiny=2000 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODIES = 5 };
struct body {
    double x, y, z, vx, vy, vz, mass;
};

static struct body body[BODIES];

static void advance(double dt)
{
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &body[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &body[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double d2 = dx * dx + dy * dy + dz * dz;
            double f = dt / (d2 * sqrt(d2));
            a->vx -= dx * b->mass * f;
            a->vy -= dy * b->mass * f;
            a->vz -= dz * b->mass * f;
            b->vx += dx * a->mass * f;
            b->vy += dy * a->mass * f;
            b->vz += dz * a->mass * f;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &body[i];
        a->x += dt * a->vx;
        a->y += dt * a->vy;
        a->z += dt * a->vz;
    }
}

static double energy(void)
{
    double e = 0;

    for (int i = 0; i < BODIES; i++) {
        const struct body *a = &body[i];
        e += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
        for (int j = i + 1; j < BODIES; j++) {
            const struct body *b = &body[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            e -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return e;
}

int main(int argc, char **argv)
{
    long steps = argc > 1 ? atol(argv[1]) : 3200000;
    uint64_t bits;
    double e;

    body[0].mass = 39.5;
    for (int i = 1; i < BODIES; i++) {
        double r = 2.0 * i + 3.0;
        body[i] = (struct body){r,    0.3 * i,       0.01 * i * i, 0.1 / i, sqrt(39.5 / r),
                                0.02, 0.04 / (i * i)};
    }
    for (long s = 0; s < steps; s++) advance(0.001);
    e = energy();
    memcpy(&bits, &e, 8);
    printf("nbody %.6f\nbits %016llx\n", e, (unsigned long long)bits);
    return 0;
}
