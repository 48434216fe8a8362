/* k_lu.c: matrix product and LU decomposition, doubles. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=15 tiny=0 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 160, FEW = 20 };
static double a[N][N], b[N][N], c[N][N];

static void multiply(int n)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    }
}

/* In place with partial pivoting; the logarithm of the determinant's size is returned. */
static double decompose(int n)
{
    double product = 1;
    long exponent = 0;

    for (int k = 0; k < n; k++) {
        int best = k, e;
        for (int i = k + 1; i < n; i++)
            if (fabs(c[i][k]) > fabs(c[best][k])) best = i;
        for (int j = 0; j < n; j++) {
            double t = c[k][j];
            c[k][j] = c[best][j];
            c[best][j] = t;
        }
        product = frexp(product * fabs(c[k][k]), &e);
        exponent += e;
        for (int i = k + 1; i < n; i++) {
            double f = c[i][k] / c[k][k];
            c[i][k] = f;
            for (int j = k + 1; j < n; j++) c[i][j] -= f * c[k][j];
        }
    }
    return exponent + product;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 100;
    double sum = 0;
    uint64_t bits;

    for (long r = 0; r <= rounds; r++) {
        int n = r ? N : FEW;
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                a[i][j] = (i * 31 + j * 17 + r) % 101 / 101.0 + (i == j);
                b[i][j] = (i * 13 + j * 29) % 97 / 97.0 - (i == j);
            }
        }
        multiply(n);
        sum += decompose(n);
    }
    memcpy(&bits, &sum, 8);
    printf("lu %.3f\nbits %016llx\n", sum, (unsigned long long)bits);
    return 0;
}
