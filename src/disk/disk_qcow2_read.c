/* disk_qcow2_read.c: reading, and data with its encryption. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_qcow2.h"

enum { SECTOR = 512, BOUNCE = 256 << 10 };

/* ---- encrypted data -------------------------------------------------- */

/* The sectors around [host, host + len), decrypted, through a buffer. */
static int crypt_read(struct q2 *q, uint64_t host, size_t len, struct disk_slice s)
{
    uint8_t *buf = base_alloc(BOUNCE);
    int r = 0;

    while (len && !r) {
        uint64_t start = host & ~(uint64_t)(SECTOR - 1);
        size_t skip = (size_t)(host - start);
        size_t n = len < BOUNCE - skip ? len : BOUNCE - skip;
        size_t all = BASE_ALIGN_UP(skip + n, (size_t)SECTOR);

        r = disk_file_read(q->data, start, buf, all);
        if (!r)
            r = q->crypt->decrypt(q->crypt, start, buf, all);
        if (!r)
            disk_slice_put(s, buf + skip, n);
        s.skip += n;
        host += n;
        len -= n;
    }
    free(buf);
    return r;
}

/* Whole sectors: the caller has widened what was not (q2_write). */
static int crypt_write(struct q2 *q, uint64_t host, size_t len, struct disk_slice s)
{
    uint8_t *buf = base_alloc(BOUNCE);
    int r = 0;

    BASE_ASSERT(!((host | len) & (SECTOR - 1)));
    while (len && !r) {
        size_t n = len < BOUNCE ? len : BOUNCE;

        disk_slice_get(s, buf, n);
        r = q->crypt->encrypt(q->crypt, host, buf, n);
        if (!r)
            r = disk_file_write(q->data, host, buf, n);
        s.skip += n;
        host += n;
        len -= n;
    }
    free(buf);
    return r;
}

int q2_data_read(struct q2 *q, uint64_t host, size_t len, struct disk_slice s)
{
    return q->crypt ? crypt_read(q, host, len, s) : disk_file_readv(q->data, host, len, s);
}

int q2_data_write(struct q2 *q, uint64_t host, size_t len, struct disk_slice s)
{
    return q->crypt ? crypt_write(q, host, len, s) : disk_file_writev(q->data, host, len, s);
}

/* ---- reading --------------------------------------------------------- */

int q2_read_inside(struct q2 *q, uint64_t off, size_t len, struct disk_slice s)
{
    int r = 0;

    while (len && !r) {
        struct q2_run run;

        r = q2_lookup(q, off, len, &run);
        if (r < 0)
            break;
        switch (run.type) {
        case Q2_UNALLOCATED: r = disk_backing_read(q->d, off, run.len, s); break;
        case Q2_ZEROES: disk_slice_zero(s, run.len); break;
        case Q2_DATA: r = q2_data_read(q, run.host, run.len, s); break;
        case Q2_PACKED:
            r = q2_read_packed(q, run.host, q2_in_cluster(q, off), run.len, s);
            break;
        }
        off += run.len;
        len -= run.len;
        s.skip += run.len;
    }
    return r;
}

int q2_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    int r = q2_read_inside(q, off, len, s);

    q2_leave(users);
    return r;
}
