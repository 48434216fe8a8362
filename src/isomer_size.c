/* isomer_size.c: sizes as people write them. SPDX-License-Identifier: Apache-2.0 */
#include "isomer/isomer.h"

#include <string.h>

/* The power of 1024 that a unit stands for, or -1: B, K, KB, KiB, M, ... in either case. */
static int unit_power(const char *text)
{
    static const char letters[] = "bkmgtpe";
    const char *at;

    if (!*text)
        return 0;
    at = strchr(letters, *text | 0x20);
    if (!at)
        return -1;
    if (at == letters)
        return text[1] ? -1 : 0;
    if (strcasecmp(text + 1, "") && strcasecmp(text + 1, "b") && strcasecmp(text + 1, "ib"))
        return -1;
    return (int)(at - letters);
}

bool isomer_parse_size(const char *text, uint64_t *size)
{
    unsigned __int128 whole = 0, part = 0, scale = 1;
    int power;

    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        whole = whole * 10 + (unsigned)(*text - '0');
        if (whole > UINT64_MAX)
            return false;
    }
    if (*text == '.') {
        text++;
        if (*text < '0' || *text > '9')
            return false;
        for (; *text >= '0' && *text <= '9'; text++) {
            if (scale < UINT64_C(1000000000000)) { /* finer than a byte of any unit in use */
                part = part * 10 + (unsigned)(*text - '0');
                scale *= 10;
            }
        }
    }
    power = unit_power(text);
    if (power < 0 || (scale > 1 && power == 0))
        return false;
    whole = (whole << 10 * power) + (part << 10 * power) / scale;
    if (whole > UINT64_MAX)
        return false;
    *size = (uint64_t)whole;
    return true;
}
