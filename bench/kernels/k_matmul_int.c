/* k_matmul_int.c: product of 64-bit integer matrices. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=80 tiny=1 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 96 };
static int64_t a[N][N], b[N][N], c[N][N];

static void multiply(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            int64_t sum = 0;
            for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 440;
    uint64_t hash = 0;

    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = i * 7 - j * 3 + 1;
            b[i][j] = (i ^ j) * 5 - 11;
        }
    }
    for (long r = 0; r < rounds; r++) {
        multiply();
        for (int i = 0; i < N; i++) {
            hash = hash * 31 + (uint64_t)c[i][(i * 5) % N];
            a[i][r % N] ^= c[(i + 1) % N][i] & 0xff;
        }
    }
    printf("matmul_int %016llx\n", (unsigned long long)hash);
    return 0;
}
