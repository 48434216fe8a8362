/* k_fft.c: fast Fourier transform, double precision. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=300 tiny=1 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BITS = 12, N = 1 << BITS };
struct complex_number {
    double r, i;
};
static struct complex_number data[N], root[N / 2];

/* Roots of unity by halving angles: needs sqrt alone, which every machine rounds alike. */
static void make_roots(void)
{
    double c = 0, s = 1;

    root[0] = (struct complex_number){1, 0};
    for (int step = N / 4; step >= 1; step /= 2) {
        for (int k = step; k < N / 2; k += 2 * step) {
            struct complex_number a = root[k - step];
            root[k] = (struct complex_number){a.r * c - a.i * s, a.r * s + a.i * c};
        }
        s = s / sqrt(2 + 2 * c);
        c = sqrt(1 - s * s);
    }
}

static void fft(int inverse)
{
    for (int i = 0, j = 0; i < N; i++) {
        if (i < j) {
            struct complex_number t = data[i];
            data[i] = data[j];
            data[j] = t;
        }
        for (int bit = N >> 1; (j ^= bit) < bit && bit > 1;) bit >>= 1;
    }
    for (int half = 1; half < N; half *= 2) {
        int stride = N / 2 / half;
        for (int base = 0; base < N; base += 2 * half) {
            for (int k = 0; k < half; k++) {
                double wr = root[k * stride].r;
                double wi = inverse ? -root[k * stride].i : root[k * stride].i;
                struct complex_number *a = &data[base + k], *b = a + half;
                double tr = b->r * wr - b->i * wi, ti = b->r * wi + b->i * wr;
                b->r = a->r - tr;
                b->i = a->i - ti;
                a->r += tr;
                a->i += ti;
            }
        }
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 2000;
    double sum = 0;
    uint64_t bits, hash = 0;

    make_roots();
    for (int i = 0; i < N; i++)
        data[i] = (struct complex_number){(i * 37 % 101) / 101.0, (i * 11 % 67) / 67.0};
    for (long r = 0; r < rounds; r++) {
        fft(0);
        fft(1);
        for (int i = 0; i < N; i++) {
            data[i].r *= 1.0 / N;
            data[i].i *= 1.0 / N;
        }
    }
    for (int i = 0; i < N; i++) {
        sum += data[i].r * (i % 7) - data[i].i;
        memcpy(&bits, &data[i].r, 8);
        hash = hash * 31 + bits;
    }
    printf("fft %.6f\nbits %016llx\n", sum, (unsigned long long)hash);
    return 0;
}
