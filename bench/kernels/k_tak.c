/* k_tak.c: Takeuchi's and Ackermann's functions. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=calls quick=50 tiny=0 */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline, noclone)) static int tak(int x, int y, int z)
{
    return y < x ? tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y)) : z;
}

__attribute__((noinline, noclone)) static int ackermann(int m, int n)
{
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 260;
    long sum = tak(10, 5, 1) + ackermann(2, 9);

    for (int r = 0; r < rounds; r++) sum += tak(19 + r % 2, 12, 6) + ackermann(3, 7);
    printf("tak %ld\n", sum);
    return 0;
}
