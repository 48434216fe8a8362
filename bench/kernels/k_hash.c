/* k_hash.c: a hash table with open addressing. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=memory quick=90 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BITS = 17, SLOTS = 1 << BITS, KEYS = 80000, FEW = 1000 };
static struct {
    uint64_t key, count;
} table[SLOTS];

static uint64_t *find(uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u >> (64 - BITS);

    while (table[h].key && table[h].key != key) h = (h + 1) & (SLOTS - 1);
    table[h].key = key;
    return &table[h].count;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 450;
    uint64_t sum = 0, seed = 1;

    for (long r = 0; r <= rounds; r++) {
        int keys = r ? KEYS : FEW;
        if (r < 2) memset(table, 0, sizeof table);
        for (int i = 0; i < 2 * keys; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            *find((seed >> 40) % keys + 1) += i;
        }
        for (int i = 1; i < keys; i += 7) sum = sum * 31 + *find(i);
    }
    printf("hash %016llx\n", (unsigned long long)sum);
    return 0;
}
