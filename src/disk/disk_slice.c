/* disk_slice.c: parts of a request's buffers. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_file.h"

/* Calls for each piece of memory: PIECE(pointer, bytes, bytes before it). */
#define SLICE_EACH(s, len, p, n, at)                                                       \
    for (size_t at = 0, skip_ = (s).skip, i_ = 0, n = 0; at < (len); at += n, i_++)        \
        if (skip_ >= (s).iov[i_].iov_len) {                                                \
            skip_ -= (s).iov[i_].iov_len;                                                  \
            n = 0;                                                                         \
        } else                                                                             \
            for (uint8_t *p = (n = slice_min((s).iov[i_].iov_len - skip_, (len) - at),     \
                               (uint8_t *)(s).iov[i_].iov_base + skip_);                   \
                 p; p = NULL, skip_ = 0)

static size_t slice_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

void disk_slice_get(struct disk_slice s, void *to, size_t len)
{
    SLICE_EACH(s, len, p, n, at)
        memcpy((uint8_t *)to + at, p, n);
}

void disk_slice_put(struct disk_slice s, const void *from, size_t len)
{
    SLICE_EACH(s, len, p, n, at)
        memcpy(p, (const uint8_t *)from + at, n);
}

void disk_slice_zero(struct disk_slice s, size_t len)
{
    SLICE_EACH(s, len, p, n, at)
        memset(p, 0, n);
}

static bool memory_is_zero(const uint8_t *p, size_t n)
{
    /* the first 16 bytes, then each byte against the one 16 before it */
    for (size_t i = 0; i < n && i < 16; i++)
        if (p[i])
            return false;
    return n <= 16 || !memcmp(p, p + 16, n - 16);
}

bool disk_slice_is_zero(struct disk_slice s, size_t len)
{
    bool zero = true;

    SLICE_EACH(s, len, p, n, at)
        zero = zero && memory_is_zero(p, n);
    return zero;
}

int disk_slice_iov(struct disk_slice s, size_t len, struct iovec *iov, int max, size_t *got)
{
    int count = 0;

    *got = 0;
    SLICE_EACH(s, len, p, n, at) {
        if (count < max) {
            iov[count++] = (struct iovec){p, n};
            *got += n;
        }
    }
    return count;
}

void *disk_slice_flat(struct disk_slice s, size_t len)
{
    size_t i = 0;

    while (s.skip >= s.iov[i].iov_len && (int)i + 1 < s.niov)
        s.skip -= s.iov[i++].iov_len;
    return s.iov[i].iov_len - s.skip >= len ? (uint8_t *)s.iov[i].iov_base + s.skip : NULL;
}
