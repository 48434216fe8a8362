/* k_qsort.c: the library's qsort with a comparison function. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=memory quick=6 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct record {
    uint32_t key, value;
};
enum { RECORDS = 100000, FEW = 1000 };
static struct record record[RECORDS];

static int by_key(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 27;
    uint32_t seed = 1;
    uint64_t hash = 0;

    for (long r = 0; r <= rounds; r++) {
        int n = r ? RECORDS : FEW;
        for (int i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            record[i] = (struct record){seed >> 12, i};
        }
        qsort(record, n, sizeof record[0], by_key);
        for (int i = 0; i < n; i += 97) hash = hash * 31 + record[i].key + record[i].value;
    }
    printf("qsort %016llx\n", (unsigned long long)hash);
    return 0;
}
