/* k_string.c: strlen, strcmp, strchr, memchr and friends. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=string quick=1000 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 2000, LINE = 4096, FEW = 100 };
static char *word[WORDS], line[LINE];

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 6500;
    int words = rounds ? WORDS : FEW;
    uint64_t sum = 0;
    uint32_t seed = 1;
    static char text[WORDS * 80];
    char *at = text;

    for (int i = 0; i < words; i++) {
        seed = seed * 1664525 + 1013904223;
        int length = seed >> 28 ? 2 + (seed >> 20) % 14 : 20 + (seed >> 20) % 50;
        word[i] = at;
        while (length--) {
            seed = seed * 1664525 + 1013904223;
            *at++ = 'a' + (seed >> 24) % 5;
        }
        *at++ = 0;
    }
    for (long r = 0; r <= rounds; r++) {
        char *end = line;
        for (int i = 0; i < words; i++) {
            const char *a = word[i], *b = word[(i * 7 + r) % words];
            size_t n = strlen(b);
            sum = sum * 31 + n + (strcmp(a, b) > 0) + 2 * (strncmp(a, b, 4) == 0);
            const char *c = strchr(a, 'e');
            sum += c ? (uint64_t)(c - a) : 99;
            if (end - line + n + 2 < LINE) {
                end = stpcpy(end, b);
                *end++ = ' ';
                *end = 0;
            }
        }
        for (const char *p = line; (p = memchr(p, ' ', end - p)); p++) sum++;
        sum += strcspn(line, "xyz") + (strstr(line, "abcdeabc") != 0);
        sum += strrchr(line, 'a') - line;
    }
    printf("string %016llx\n", (unsigned long long)sum);
    return 0;
}
