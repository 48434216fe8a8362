/* disk_qcow2_map.c: what L2 entries say. SPDX-License-Identifier: Apache-2.0
 *
 * An entry names the host cluster of a guest cluster, or says that it reads as zero, is compressed,
 * or is not there. With extended L2 entries (16 bytes) a bitmap says so for each of 32 subclusters:
 * bit n that subcluster n has data, bit 32 + n that it reads as zero.
 */
#include "disk/disk_qcow2.h"

#define ALL_DATA UINT64_C(0x00000000ffffffff)

int q2_entry_get(struct q2 *q, uint64_t cluster, uint64_t *entry, uint64_t *bitmap)
{
    uint64_t l1 = q2_l1_index(q, cluster);
    struct q2_table *t = q->l2[l1];
    const uint8_t *e;

    *entry = *bitmap = 0;
    if (!t)
        return q->l1[l1] & Q2_OFFSET_MASK ? -EAGAIN : 0;
    if (!t->used)
        t->used = true;
    e = t->data + (cluster & ((UINT64_C(1) << q->l2_bits) - 1)) * q->entry_bytes;
    *entry = disk_be64(e);
    if (q->extended)
        *bitmap = disk_be64(e + 8);
    return 0;
}

void q2_entry_put(struct q2 *q, struct q2_table *t, uint64_t cluster, uint64_t entry,
                  uint64_t bitmap)
{
    uint32_t at = (uint32_t)(cluster & ((UINT64_C(1) << q->l2_bits) - 1)) * q->entry_bytes;

    disk_put_be64(t->data + at, entry);
    if (q->extended)
        disk_put_be64(t->data + at + 8, bitmap);
    q2_table_dirty(q, t, at, q->entry_bytes);
}

void q2_packed_range(const struct q2 *q, uint64_t entry, uint64_t *off, uint64_t *len)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (entry & ~(Q2_COPIED | Q2_COMPRESSED)) >> shift;

    *off = entry & ((UINT64_C(1) << shift) - 1);
    *len = (sectors + 1) * 512 - (*off & 511);
}

/* Is there a host cluster? Offset 0 is one in an external data file, where COPIED says so. */
static bool has_host(const struct q2 *q, uint64_t entry)
{
    return entry & Q2_OFFSET_MASK || (q->data != q->file && entry & Q2_COPIED);
}

bool q2_entry_ok(struct q2 *q, uint64_t cluster, uint64_t entry, uint64_t bitmap)
{
    if (entry & Q2_COMPRESSED)
        return q->data == q->file;
    if ((entry & Q2_OFFSET_MASK) & (q->cluster_size - 1))
        return false;
    if (!q->extended)
        return true;
    return !(bitmap & bitmap >> 32 & ALL_DATA) && (has_host(q, entry) || !(bitmap & ALL_DATA));
}

/* Type of the part of a cluster that begins at `in`; *len up to where it is the same. */
static enum q2_type part_type(const struct q2 *q, uint64_t entry, uint64_t bitmap, uint64_t in,
                              uint64_t *len)
{
    unsigned sub = (unsigned)(in >> q->sub_bits), n;
    uint64_t two, rest;

    *len = q->cluster_size - in;
    if (entry & Q2_COMPRESSED)
        return Q2_PACKED;
    if (!q->extended) {
        if (entry & Q2_ZERO && q->h.version >= 3)
            return Q2_ZEROES;
        return has_host(q, entry) ? Q2_DATA : Q2_UNALLOCATED;
    }
    two = bitmap >> sub & UINT64_C(0x100000001);
    /* bits where the two of a later subcluster differ from these */
    rest = ((bitmap ^ (two & 1 ? ALL_DATA : 0)) | (bitmap ^ (two >> 32 ? ~ALL_DATA : 0)) >> 32) &
           ALL_DATA;
    rest = rest >> sub;
    n = rest ? (unsigned)__builtin_ctzll(rest) : 32 - sub;
    *len = ((uint64_t)(sub + n) << q->sub_bits) - in;
    return two & 1 ? Q2_DATA : two ? Q2_ZEROES : Q2_UNALLOCATED;
}

static int find_part(struct q2 *q, uint64_t off, struct q2_run *run)
{
    uint64_t cluster = off >> q->cluster_bits, in = q2_in_cluster(q, off), entry, bitmap;
    int r = q2_entry_get(q, cluster, &entry, &bitmap);

    if (r < 0)
        return r;
    if (!q2_entry_ok(q, cluster, entry, bitmap))
        return -EUCLEAN;
    run->type = part_type(q, entry, bitmap, in, &run->len);
    run->host = run->type == Q2_PACKED ? entry
                                       : run->type == Q2_DATA ? (entry & Q2_OFFSET_MASK) + in : 0;
    run->writable = run->type == Q2_DATA && entry & Q2_COPIED;
    return 0;
}

/* No table: nothing there up to where the next one begins. */
static uint64_t absent(struct q2 *q, uint64_t off)
{
    uint64_t bits = q->cluster_bits + q->l2_bits;

    return ((off >> bits) + 1) << bits;
}

int q2_find(struct q2 *q, uint64_t off, uint64_t len, struct q2_run *run)
{
    struct q2_run more;
    int r;

    if (!(q->l1[q2_l1_index(q, off >> q->cluster_bits)] & Q2_OFFSET_MASK)) {
        uint64_t n = absent(q, off) - off;

        *run = (struct q2_run){.type = Q2_UNALLOCATED, .len = n < len ? n : len};
        return 0;
    }
    r = find_part(q, off, run);
    if (r < 0)
        return r;
    while (run->len < len && run->type != Q2_PACKED) {
        if (find_part(q, off + run->len, &more) < 0 || more.type != run->type ||
            more.writable != run->writable ||
            (run->type == Q2_DATA && more.host != run->host + run->len))
            break;
        run->len += more.len;
    }
    if (run->len > len)
        run->len = len;
    return 0;
}

int q2_lookup(struct q2 *q, uint64_t off, uint64_t len, struct q2_run *run)
{
    uint64_t cluster = off >> q->cluster_bits;
    int r;

    for (;;) {
        pthread_rwlock_rdlock(&q->map_lock);
        r = q2_find(q, off, len, run);
        pthread_rwlock_unlock(&q->map_lock);
        if (r == -EUCLEAN)
            return q2_corrupt(q, "the L2 entry of guest cluster %llu makes no sense",
                              (unsigned long long)cluster);
        if (r != -EAGAIN)
            return r;
        r = q2_load_l2(q, q2_l1_index(q, cluster));
        if (r < 0)
            return r;
    }
}
