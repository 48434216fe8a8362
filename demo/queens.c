/* queens.c: the demo's C program. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Ways to place the queens of the rows that are left on n columns. */
static long place(unsigned all, unsigned columns, unsigned left, unsigned right)
{
    long ways = 0;

    if (columns == all)
        return 1;
    for (unsigned free = all & ~(columns | left | right); free; free &= free - 1) {
        unsigned square = free & -free;

        ways += place(all, columns | square, (left | square) << 1, (right | square) >> 1);
    }
    return ways;
}

int main(int argc, char **argv)
{
    int most = argc > 1 ? atoi(argv[1]) : 12;
    double sum = 0;

    for (int n = 6; n <= most; n++)
        printf("%d queens: %ld ways\n", n, place((1u << n) - 1, 0, 0, 0));
    for (int i = 1; i < 30000000; i++)
        sum += sqrt(i) / i;
    printf("a sum of square roots: %.6f\n", sum);
    return 0;
}
