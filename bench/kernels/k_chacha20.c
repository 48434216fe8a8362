/* k_chacha20.c: the ChaCha20 stream cipher. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=2000 tiny=2 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 };

static inline uint32_t rol(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

#define QUARTER(a, b, c, d)                                                                        \
    do {                                                                                           \
        a += b, d = rol(d ^ a, 16);                                                                \
        c += d, b = rol(b ^ c, 12);                                                                \
        a += b, d = rol(d ^ a, 8);                                                                 \
        c += d, b = rol(b ^ c, 7);                                                                 \
    } while (0)

static void block(uint32_t out[16], const uint32_t in[16])
{
    uint32_t x[16];

    memcpy(x, in, sizeof x);
    for (int i = 0; i < 10; i++) {
        QUARTER(x[0], x[4], x[8], x[12]);
        QUARTER(x[1], x[5], x[9], x[13]);
        QUARTER(x[2], x[6], x[10], x[14]);
        QUARTER(x[3], x[7], x[11], x[15]);
        QUARTER(x[0], x[5], x[10], x[15]);
        QUARTER(x[1], x[6], x[11], x[12]);
        QUARTER(x[2], x[7], x[8], x[13]);
        QUARTER(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 16; i++) out[i] = x[i] + in[i];
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 10000;
    static uint8_t data[CHUNK];
    uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, key[16];
    uint64_t hash = 0;

    for (int i = 4; i < 12; i++) state[i] = 0x03020100u + 0x04040404u * (i - 4);
    /* RFC 8439, 2.3.2 */
    state[12] = 1;
    state[13] = 0x09000000;
    state[14] = 0x4a000000;
    block(key, state);
    printf("chacha20 %08x %08x\n", key[0], key[15]);
    for (long r = 0; r < rounds; r++) {
        for (size_t i = 0; i < CHUNK; i += 64) {
            uint8_t pad[64];
            block(key, state);
            memcpy(pad, key, 64);
            for (int k = 0; k < 64; k++) data[i + k] ^= pad[k];
            state[12]++;
        }
    }
    for (int i = 0; i < CHUNK; i++) hash = hash * 1099511628211u + data[i];
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
