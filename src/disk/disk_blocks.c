/* disk_blocks.c: what formats that are only read have in common.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "disk/disk_blocks.h"

int disk_blocks_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    int r = 0;

    while (len && !r) {
        struct disk_extent e = {.off = off, .len = len};
        size_t n;

        r = d->drv->map(d, off, len, &e);
        if (r < 0)
            break;
        n = e.len < len ? (size_t)e.len : len;
        if (e.kind == DISK_DATA)
            r = disk_file_readv(d->file, e.host_off, n, s);
        else if (e.kind == DISK_ZEROES)
            disk_slice_zero(s, n);
        else
            r = disk_backing_read(d, off, n, s);
        off += n;
        len -= n;
        s = disk_slice_at(s, n);
    }
    return r;
}
