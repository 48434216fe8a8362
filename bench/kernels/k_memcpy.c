/* k_memcpy.c: the library's memcpy, memset, memmove and memcmp. SPDX-License-Identifier: Apache-2.0
 */
/* bench: group=string quick=60000 tiny=50 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 65536 };
static uint8_t from[SIZE], to[SIZE];

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 420000;
    uint64_t hash = 0;
    uint32_t seed = 1;

    for (int i = 0; i < SIZE; i++) from[i] = i * 37 + (i >> 8);
    for (long r = 0; r < rounds; r++) {
        /* Most blocks are short, a few are some KiB, and alignment varies. */
        for (int k = 0; k < 12; k++) {
            seed = seed * 1664525 + 1013904223;
            size_t size = seed >> 27 ? (seed >> 20 & 127) + 1 : seed >> 14 & 4095;
            size_t a = seed >> 7 & 16383, b = (seed >> 3 & 16383) + 16384;
            memcpy(to + a, from + b, size);
            memset(to + b, (int)seed, size / 2);
            memmove(to + a + 5, to + a, size);
            hash = hash * 31 + (uint64_t)(memcmp(to + a, from + b, size) > 0) + to[b];
        }
    }
    printf("memcpy %016llx\n", (unsigned long long)hash);
    return 0;
}
