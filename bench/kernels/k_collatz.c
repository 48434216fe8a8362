/* k_collatz.c: lengths of Collatz sequences. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=300000 tiny=3000 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    uint64_t limit = argc > 1 ? strtoull(argv[1], 0, 10) : 1200000;
    uint64_t best = 0, best_at = 0, total = 0;

    for (uint64_t start = 1; start < limit; start++) {
        uint64_t x = start, steps = 0;
        while (x != 1) {
            if (x & 1)
                x = 3 * x + 1;
            else
                x >>= 1;
            steps++;
        }
        total += steps;
        if (steps > best) {
            best = steps;
            best_at = start;
        }
    }
    printf("collatz %llu at %llu, %llu in all\n", (unsigned long long)best,
           (unsigned long long)best_at, (unsigned long long)total);
    return 0;
}
