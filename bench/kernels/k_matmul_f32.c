/* k_matmul_f32.c: product of single-precision matrices. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=50 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Odd sizes, so that no compiler turns the loops inside out for vectors. */
enum { N = 125, FEW = 15 };
static float a[N][N], b[N][N], c[N][N];

static void multiply(int n)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int k = 0; k < n; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 250;
    uint32_t bits, hash = 0;
    double sum = 0;

    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (float)((i * 7 + j * 3) % 31) / 31.0f;
            b[i][j] = (float)((i * 5 - j * 11 + 2000) % 29) / 290.0f;
        }
    }
    for (long r = 0; r <= rounds; r++) {
        int n = r ? N : FEW;
        multiply(n);
        for (int i = 0; i < n; i++) a[i][r % n] = c[(i + 1) % n][i] * 0.125f;
        sum += c[n / 2][n / 3];
        memcpy(&bits, &c[1][n / 2], 4);
        hash = hash * 31 + bits;
    }
    printf("matmul_f32 %.2f\nbits %08x\n", sum, hash);
    return 0;
}
