/* k_sha256.c: the SHA-256 compression function. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=1500 tiny=2 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 8192 };
static uint32_t round_key[64], start_state[8];

/* The first 32 bits of the fraction of p's root: FIPS 180-4, 4.2.2 and 5.3.3. */
static uint32_t root_fraction(unsigned p, int cube)
{
    unsigned __int128 want = (unsigned __int128)p << (cube ? 96 : 64);
    uint64_t x = 0;

    for (int bit = 36; bit >= 0; bit--) {
        uint64_t y = x | (uint64_t)1 << bit;
        unsigned __int128 power = (unsigned __int128)y * y;
        if (cube) power *= y;
        if (power <= want) x = y;
    }
    return (uint32_t)x;
}

static void make_constants(void)
{
    int n = 0;

    for (unsigned p = 2; n < 64; p++) {
        unsigned d = 2;
        while (d * d <= p && p % d) d++;
        if (d * d <= p) continue;
        if (n < 8) start_state[n] = root_fraction(p, 0);
        round_key[n++] = root_fraction(p, 1);
    }
}

static inline uint32_t ror(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void compress(uint32_t s[8], const uint8_t *block)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) +
               (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
    }
    memcpy(v, s, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t e = v[4], a = v[0];
        uint32_t t1 = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & v[5]) ^ (~e & v[6])) +
                      round_key[i] + w[i];
        uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
                      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6];
        v[6] = v[5];
        v[5] = e;
        v[4] = v[3] + t1;
        v[3] = v[2];
        v[2] = v[1];
        v[1] = a;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) s[i] += v[i];
}

/* data holds whole blocks but for a tail below 56 bytes. */
static void sha256(uint32_t s[8], const uint8_t *data, size_t size)
{
    uint8_t last[64] = {0};
    size_t tail = size % 64;
    uint64_t bits = size * 8;

    memcpy(s, start_state, 32);
    for (size_t i = 0; i + 64 <= size; i += 64) compress(s, data + i);
    memcpy(last, data + size - tail, tail);
    last[tail] = 0x80;
    for (int i = 0; i < 8; i++) last[63 - i] = bits >> (8 * i);
    compress(s, last);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 8500;
    static uint8_t data[CHUNK];
    uint32_t s[8];

    make_constants();
    sha256(s, (const uint8_t *)"abc", 3);
    printf("sha256 abc %08x%08x\n", s[0], s[7]);
    for (int i = 0; i < CHUNK; i++) data[i] = i * 7 + (i >> 8);
    for (long r = 0; r < rounds; r++) {
        sha256(s, data, CHUNK);
        memcpy(data + r % 1000, s, 32);
    }
    for (int i = 0; i < 8; i++) printf("%08x", s[i]);
    printf("\n");
    return 0;
}
