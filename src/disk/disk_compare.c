/* disk_compare.c: do two disks read the same? SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_cmd.h"

enum { COMPARE_PIECE = 256 << 10 };

static bool reads_as_zero(struct disk *d, uint64_t off, uint64_t len, uint64_t *run)
{
    struct disk_extent e;

    if (disk_map(d, off, len, &e) < 0 || e.kind == DISK_DATA)
        return false;
    *run = e.len;
    return true;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
    size_t i = 0;

    while (i < len && a[i] == b[i])
        i++;
    return i;
}

int disk_compare_run(struct disk *a, struct disk *b, uint64_t len, uint64_t *at,
                     disk_progress_fn *progress, void *context)
{
    uint8_t *buf = base_alloc(2 * COMPARE_PIECE);
    uint64_t ra, rb, n;
    int r = 0;

    for (uint64_t off = 0; off < len && !r; off += n) {
        if (progress && progress(context, off, len)) {
            r = -ECANCELED;
            break;
        }
        if (reads_as_zero(a, off, len - off, &ra) && reads_as_zero(b, off, len - off, &rb)) {
            n = ra < rb ? ra : rb;
            continue;
        }
        n = len - off < COMPARE_PIECE ? len - off : COMPARE_PIECE;
        r = disk_read(a, off, buf, n);
        if (!r)
            r = disk_read(b, off, buf + COMPARE_PIECE, n);
        if (!r && memcmp(buf, buf + COMPARE_PIECE, n) != 0) {
            *at = off + first_difference(buf, buf + COMPARE_PIECE, n);
            r = 1;
        }
    }
    free(buf);
    return r;
}

int disk_compare_zero(struct disk *d, uint64_t off, uint64_t len, uint64_t *at)
{
    uint8_t *buf = base_alloc(COMPARE_PIECE);
    uint64_t n;
    int r = 0;

    for (; len && !r; off += n, len -= n) {
        if (reads_as_zero(d, off, len, &n))
            continue;
        n = len < COMPARE_PIECE ? len : COMPARE_PIECE;
        r = disk_read(d, off, buf, n);
        if (r || disk_is_zero(buf, n))
            continue;
        *at = off;
        while (!buf[*at - off])
            ++*at;
        r = 1;
    }
    free(buf);
    return r;
}
