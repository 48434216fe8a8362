/* k_aes.c: AES-128 encryption by tables. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=1000 tiny=1 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16384 };
static uint8_t sbox[256];
static uint32_t t0[256], t1[256], t2[256], t3[256];

static inline uint8_t twice(uint8_t x)
{
    return x << 1 ^ (x >> 7) * 0x1b;
}

static void make_tables(void)
{
    uint8_t p = 1, q = 1;

    /* p runs over all powers of 3 and q over their inverses (FIPS 197, 5.1.1). */
    do {
        p ^= twice(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if (q & 0x80) q ^= 0x09;
        sbox[p] = q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^
                  (q << 4 | q >> 4) ^ 0x63;
    } while (p != 1);
    sbox[0] = 0x63;
    for (int i = 0; i < 256; i++) {
        uint32_t s = sbox[i], d = twice(s);
        t0[i] = d << 24 | s << 16 | s << 8 | (s ^ d);
        t1[i] = t0[i] >> 8 | t0[i] << 24;
        t2[i] = t0[i] >> 16 | t0[i] << 16;
        t3[i] = t0[i] >> 24 | t0[i] << 8;
    }
}

static inline uint32_t load32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void store32(uint8_t *p, uint32_t v)
{
    p[0] = v >> 24;
    p[1] = v >> 16;
    p[2] = v >> 8;
    p[3] = v;
}

static void expand_key(uint32_t rk[44], const uint8_t key[16])
{
    uint8_t rcon = 1;

    for (int i = 0; i < 4; i++) rk[i] = load32(key + 4 * i);
    for (int i = 4; i < 44; i++) {
        uint32_t t = rk[i - 1];
        if (i % 4 == 0) {
            t = (uint32_t)(sbox[t >> 16 & 255] ^ rcon) << 24 | (uint32_t)sbox[t >> 8 & 255] << 16 |
                (uint32_t)sbox[t & 255] << 8 | sbox[t >> 24];
            rcon = twice(rcon);
        }
        rk[i] = rk[i - 4] ^ t;
    }
}

#define MIX(a, b, c, d, k)                                                                         \
    (t0[(a) >> 24] ^ t1[(b) >> 16 & 255] ^ t2[(c) >> 8 & 255] ^ t3[(d)&255] ^ (k))
#define LAST(a, b, c, d, k)                                                                        \
    (((uint32_t)sbox[(a) >> 24] << 24 | (uint32_t)sbox[(b) >> 16 & 255] << 16 |                    \
      (uint32_t)sbox[(c) >> 8 & 255] << 8 | sbox[(d)&255]) ^                                       \
     (k))

static void encrypt(const uint32_t *rk, uint8_t *p)
{
    uint32_t a = load32(p) ^ rk[0], b = load32(p + 4) ^ rk[1];
    uint32_t c = load32(p + 8) ^ rk[2], d = load32(p + 12) ^ rk[3];

    for (int r = 1; r < 10; r++) {
        uint32_t e, f, g, h;
        rk += 4;
        e = MIX(a, b, c, d, rk[0]);
        f = MIX(b, c, d, a, rk[1]);
        g = MIX(c, d, a, b, rk[2]);
        h = MIX(d, a, b, c, rk[3]);
        a = e, b = f, c = g, d = h;
    }
    store32(p, LAST(a, b, c, d, rk[4]));
    store32(p + 4, LAST(b, c, d, a, rk[5]));
    store32(p + 8, LAST(c, d, a, b, rk[6]));
    store32(p + 12, LAST(d, a, b, c, rk[7]));
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 5000;
    static uint8_t data[CHUNK];
    uint8_t key[16], text[16];
    uint32_t rk[44];
    uint64_t hash = 0;

    make_tables();
    for (int i = 0; i < 16; i++) {
        key[i] = i;
        text[i] = i * 0x11;
    }
    expand_key(rk, key);
    encrypt(rk, text); /* FIPS 197, C.1: 69c4e0d8 6a7b0430 ... */
    printf("aes %08x %08x\n", load32(text), load32(text + 4));
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < CHUNK; i += 16) {
            if (i)
                for (int k = 0; k < 16; k++) data[i + k] ^= data[i - 16 + k];
            encrypt(rk, data + i);
        }
        memcpy(data, data + CHUNK - 16, 16);
    }
    for (int i = 0; i < CHUNK; i++) hash = hash * 1099511628211u + data[i];
    printf("%016llx\n", (unsigned long long)hash);
    return 0;
}
