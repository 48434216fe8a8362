/* k_spectral.c: largest singular value of a matrix. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=700 tiny=30 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 4000 };
static double u[MAX], v[MAX], t[MAX];

static double element(int i, int j)
{
    return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static void times(int n, const double *in, double *out, int transposed)
{
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < n; j++) sum += (transposed ? element(j, i) : element(i, j)) * in[j];
        out[i] = sum;
    }
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 2300;
    double vbv = 0, vv = 0, norm;
    uint64_t bits;

    if (n > MAX) n = MAX;
    for (int i = 0; i < n; i++) u[i] = 1;
    for (int k = 0; k < 10; k++) {
        times(n, u, t, 0);
        times(n, t, v, 1);
        times(n, v, t, 0);
        times(n, t, u, 1);
    }
    for (int i = 0; i < n; i++) {
        vbv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    norm = sqrt(vbv / vv);
    memcpy(&bits, &norm, 8);
    printf("spectral %.9f\nbits %016llx\n", norm, (unsigned long long)bits);
    return 0;
}
