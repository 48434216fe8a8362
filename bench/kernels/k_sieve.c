/* k_sieve.c: primes with the sieve of Eratosthenes. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=40 tiny=1 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 1 << 19 };
static uint8_t composite[LIMIT];

static unsigned sieve(unsigned limit)
{
    unsigned count = 0;

    memset(composite, 0, limit);
    for (unsigned i = 2; i < limit; i++) {
        if (composite[i]) continue;
        count++;
        for (uint64_t j = (uint64_t)i * i; j < limit; j += i) composite[j] = 1;
    }
    return count;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 200;
    unsigned long sum = 0;

    for (long r = 0; r < rounds; r++) sum += sieve(LIMIT - 97 * (unsigned)(r % 64));
    printf("sieve %lu\n", sum);
    return 0;
}
