/* k_crc32.c: CRC-32, bit by bit and by table. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=300 tiny=1 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 16384 };
static uint8_t data[SIZE];
static uint32_t table[256];

static uint32_t crc_bits(uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    while (n--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}

static uint32_t crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    while (n--) crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    return ~crc;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 1300;
    uint32_t seed = 1, by_bits = 0, by_table = 0;

    for (int i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = seed >> 24;
    }
    for (unsigned i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[i] = c;
    }
    for (long r = 0; r < rounds; r++) {
        by_bits = crc_bits(by_bits, data, SIZE / 2);
        for (int k = 0; k < 4; k++) by_table = crc_table(by_table, data, SIZE);
    }
    printf("crc32 %08x %08x %08x\n", crc_bits(0, (const uint8_t *)"123456789", 9), by_bits,
           by_table);
    return 0;
}
