/* cc_bits.c: integers of all widths and bits, for the compiler to chew. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ROTATE(x, n) ((x) << (n) | (x) >> (8 * sizeof(x) - (n)))

static uint32_t crc_table[256];
static _Atomic long counter;
static _Thread_local int per_thread = 7;

static uint32_t crc(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t c = ~0u;
    while (n--)
        c = crc_table[(c ^ *p++) & 255] ^ c >> 8;
    return ~c;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x = ROTATE(x, 29) + __builtin_bswap64(x);
    return x ^ x >> 29;
}

static __int128 wide(int64_t a, int64_t b)
{
    return (__int128)a * b + ((__int128)b << 70) / 3 - a % 17;
}

static int classify(int x)
{
    switch (x) {
    case 1 ... 9: return x * 3;
    case 17: return -1;
    case 33: return 5;
    case 64: case 65: case 66: return x ^ 3;
    case 100: return 9;
    case INT_MIN: return 0;
    default: return x < 0 ? -x % 7 : x / 3;
    }
}

static int64_t divisions(int64_t x)
{
    return x / 7 + x % 10 + x / -3 + (int32_t)x / 1000 + (uint32_t)x / 641 + (int16_t)x % 16;
}

int main(void)
{
    uint64_t h = 0;
    __int128 w = 0;

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
        crc_table[i] = c;
    }
    printf("%08" PRIx32 "\n", crc("123456789", 9));
    for (int64_t i = -50; i < 50; i++) {
        h = mix(h + (uint64_t)(i * i * i));
        h += (uint64_t)(classify((int)(i * 3)) + divisions(i * 0x123456789));
        h += (uint64_t)(__builtin_clzll(h | 1) + __builtin_ctzll(h | 1 << 20) +
                        __builtin_popcountll(h) + __builtin_parity((unsigned)h));
        w += wide(i, (int64_t)h);
        atomic_fetch_add(&counter, i & per_thread);
        int r;
        if (__builtin_mul_overflow((int)h, (int)i, &r))
            h ^= (uint64_t)r;
    }
    printf("%016" PRIx64 " %016" PRIx64 "%016" PRIx64 " %ld\n", h, (uint64_t)(w >> 64), (uint64_t)w,
           (long)counter);
    return 0;
}
