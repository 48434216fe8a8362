/* k_lz.c: LZ77 with hash chains and Huffman code lengths. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=int quick=25 tiny=1 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE = 1 << 17,
    WINDOW = 1 << 15,
    HASH_BITS = 13,
    MIN = 4,
    MAX = 255,
    CHAIN = 24,
    SYMBOLS = 512
};
static uint8_t text[SIZE + 8], plain[SIZE];
static int32_t head[1 << HASH_BITS], previous[SIZE];
static uint16_t token[SIZE], distance[SIZE];

/* Words drawn from a small dictionary with some noise, so that matches vary. */
static void make_text(uint32_t seed)
{
    int at = 0;

    while (at < SIZE) {
        seed = seed * 1664525 + 1013904223;
        uint32_t word = (seed >> 16) % 700;
        if (word > 600) word = (seed >> 8) & 0xffff;
        int length = 2 + word % 9;
        for (int i = 0; i < length && at < SIZE; i++) {
            text[at++] = 'a' + (word * 2654435761u >> (i * 3)) % 26;
        }
        if (at < SIZE) text[at++] = ' ';
    }
}

static inline unsigned hash4(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v * 2654435761u >> (32 - HASH_BITS);
}

static int match_length(int a, int b)
{
    int limit = SIZE - b < MAX ? SIZE - b : MAX, n = 0;

    while (n < limit && text[a + n] == text[b + n]) n++;
    return n;
}

static int compress(void)
{
    int tokens = 0;

    memset(head, -1, sizeof head);
    for (int at = 0; at < SIZE;) {
        int best = 0, best_at = 0, tries = CHAIN;
        if (at + MIN <= SIZE) {
            for (int c = head[hash4(text + at)]; c >= 0 && at - c < WINDOW && tries--;
                 c = previous[c]) {
                if (best && (at + best >= SIZE || text[c + best] != text[at + best])) continue;
                int n = match_length(c, at);
                if (n > best) {
                    best = n;
                    best_at = c;
                }
            }
        }
        int step = best >= MIN ? best : 1;
        token[tokens] = best >= MIN ? 256 + best : text[at];
        distance[tokens++] = best >= MIN ? at - best_at : 0;
        for (; step--; at++) {
            if (at + MIN > SIZE) continue;
            unsigned h = hash4(text + at);
            previous[at] = head[h];
            head[h] = at;
        }
    }
    return tokens;
}

static int expand(int tokens)
{
    int at = 0;

    for (int i = 0; i < tokens; i++) {
        if (token[i] < 256) {
            plain[at++] = token[i];
            continue;
        }
        for (int n = token[i] - 256; n--; at++) plain[at] = plain[at - distance[i]];
    }
    return at;
}

/* Huffman tree by repeated choice of the two lightest; returns the coded size in bits. */
static uint64_t coded_bits(int tokens)
{
    uint64_t weight[2 * SYMBOLS] = {0}, bits = 0;
    int alive[SYMBOLS], n = 0, next = SYMBOLS;

    for (int i = 0; i < tokens; i++) weight[token[i]]++;
    for (int i = 0; i < SYMBOLS; i++)
        if (weight[i]) alive[n++] = i;
    while (n > 1) {
        for (int k = 0; k < 2; k++) {
            int least = n - 1 - k;
            for (int i = 0; i < n - k; i++)
                if (weight[alive[i]] < weight[alive[least]]) least = i;
            int t = alive[least];
            alive[least] = alive[n - 1 - k];
            alive[n - 1 - k] = t;
        }
        weight[next] = weight[alive[n - 1]] + weight[alive[n - 2]];
        bits += weight[next];
        alive[n - 2] = next++;
        n--;
    }
    return bits;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 120;
    uint64_t total = 0;

    for (long r = 0; r < rounds; r++) {
        make_text(r + 1);
        int tokens = compress();
        total += coded_bits(tokens);
        if (expand(tokens) != SIZE || memcmp(text, plain, SIZE)) {
            printf("lz: round trip failed\n");
            return 1;
        }
    }
    printf("lz %llu bits\n", (unsigned long long)total);
    return 0;
}
