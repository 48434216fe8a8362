/* k_states.c: a state machine of 512 states in one function. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=branchy quick=3000000 tiny=20000 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Each state is code of its own with its own constants, about 150 bytes of it, so
 * that the machine covers many pages; the next state depends on data, but three of
 * four transitions go to one of two neighbours, as in a lexer or a protocol.
 */
#define STATE(n)                                                                                   \
    case n:                                                                                        \
        x = x * (n * 8u + 5) + (y >> (n % 23 + 3));                                                \
        if (x & 1u << (n % 19 + 9)) {                                                              \
            y ^= x + n * 77u;                                                                      \
            tape[(x >> 11) & 1023] += y >> (n % 7);                                                \
            s = (n + 1) & 511;                                                                     \
        } else if ((x >> 7 & 3) != n % 4) {                                                        \
            y += (x << (n % 13 + 1)) | (x >> (31 - n % 13));                                       \
            x ^= tape[(y >> (n % 9)) & 1023] + (n ^ 0x155);                                        \
            s = (n ^ 64) & 511;                                                                    \
        } else {                                                                                   \
            y = y * 5 + tape[n] + (x >> (n % 11));                                                 \
            if (y & 1u << (n % 29)) x += y ^ n * 1237u;                                            \
            tape[n] ^= x;                                                                          \
            s = (x >> 9 ^ y) & 511;                                                                \
        }                                                                                          \
        break;
#define STATES8(p)                                                                                 \
    STATE(p##0) STATE(p##1) STATE(p##2) STATE(p##3) STATE(p##4) STATE(p##5) STATE(p##6) STATE(p##7)
#define STATES64(p)                                                                                \
    STATES8(p##0)                                                                                  \
    STATES8(p##1) STATES8(p##2) STATES8(p##3) STATES8(p##4) STATES8(p##5) STATES8(p##6)            \
        STATES8(p##7)

static uint32_t tape[1024];

static uint32_t run(long steps)
{
    uint32_t x = 1, y = 2;
    unsigned s = 0;

    while (steps--) {
        switch (s) {
            /* The numbers are octal: 0000 to 0777. */
            STATES64(00)
            STATES64(01) STATES64(02) STATES64(03) STATES64(04) STATES64(05) STATES64(06)
                STATES64(07)
        }
    }
    return x ^ y ^ s;
}

int main(int argc, char **argv)
{
    uint32_t hash = run(argc > 1 ? atol(argv[1]) : 15000000);

    for (int i = 0; i < 1024; i++) hash = hash * 31 + tape[i];
    printf("states %08x\n", hash);
    return 0;
}
