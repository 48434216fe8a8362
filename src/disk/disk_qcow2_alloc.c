/* disk_qcow2_alloc.c: refcounts, and where free clusters are found.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A free cluster comes from one of three places, in this order: those given back since the image
 * was opened (q->spare), those that were free when it was opened (found by looking from q->scan up
 * to q->scan_end), the end. A cluster at the end reads as zero: nobody ever wrote there, and the
 * file grows by a hole. So the rest of a cluster written in part need not be filled.
 *
 * A refcount block lies in the first cluster of the range it counts that is allocated at the end,
 * or, if a row of clusters goes over several ranges, before that row.
 * When the refcount table itself is full a larger one is made at the end; the old one goes when the
 * header names the new one (commit).
 */
#include "disk/disk_qcow2.h"

/* ---- one refcount ---------------------------------------------------- */

uint64_t q2_ref_load(const void *block, unsigned order, uint64_t i)
{
    const uint8_t *b = block;

    switch (order) {
    case 0: return b[i / 8] >> i % 8 & 1;
    case 1: return b[i / 4] >> i % 4 * 2 & 3;
    case 2: return b[i / 2] >> i % 2 * 4 & 15;
    case 3: return b[i];
    case 4: return disk_be16(b + i * 2);
    case 5: return disk_be32(b + i * 4);
    default: return disk_be64(b + i * 8);
    }
}

static void store_bits(uint8_t *b, unsigned shift, unsigned mask, uint64_t v)
{
    *b = (uint8_t)((*b & ~(mask << shift)) | (v & mask) << shift);
}

void q2_ref_store(void *block, unsigned order, uint64_t i, uint64_t v)
{
    uint8_t *b = block;

    switch (order) {
    case 0: store_bits(b + i / 8, i % 8, 1, v); break;
    case 1: store_bits(b + i / 4, i % 4 * 2, 3, v); break;
    case 2: store_bits(b + i / 2, i % 2 * 4, 15, v); break;
    case 3: b[i] = (uint8_t)v; break;
    case 4: disk_put_be16(b + i * 2, (uint16_t)v); break;
    case 5: disk_put_be32(b + i * 4, (uint32_t)v); break;
    default: disk_put_be64(b + i * 8, v); break;
    }
}

uint64_t q2_ref_max(const struct q2 *q)
{
    return q->ref_order == 6 ? UINT64_MAX >> 1 : (UINT64_C(1) << (1u << q->ref_order)) - 1;
}

/* The block that counts a cluster, from the file if need be; *b NULL: there is none. */
static int ref_block(struct q2 *q, uint64_t cluster, struct q2_table **b)
{
    uint64_t i = cluster >> q->ref_bits;
    struct q2_table *t;
    int r;

    *b = NULL;
    if (i >= q->rt_entries || !q->rt[i])
        return 0;
    *b = q->rb[i];
    if (*b)
        return 0;
    if (q->rt[i] & (q->cluster_size - 1))
        return q2_corrupt(q, "refcount block %llu is not at a cluster", (unsigned long long)i);
    t = q2_table_new(q, q->rt[i], (uint32_t)i, true);
    r = disk_file_read(q->file, t->off, t->data, q->cluster_size);
    if (r < 0) {
        free(t->data);
        free(t);
        return r;
    }
    base_vec_push(&q->blocks, t);
    *b = q->rb[i] = t;
    return 0;
}

static void ref_put(struct q2 *q, struct q2_table *b, uint64_t cluster, uint64_t v)
{
    uint64_t i = cluster & ((UINT64_C(1) << q->ref_bits) - 1);

    q2_ref_store(b->data, q->ref_order, i, v);
    q2_table_dirty(q, b, (uint32_t)((i << q->ref_order) / 8), 1);
}

static uint64_t ref_of(struct q2 *q, struct q2_table *b, uint64_t cluster)
{
    return b ? q2_ref_load(b->data, q->ref_order, cluster & ((UINT64_C(1) << q->ref_bits) - 1)) : 0;
}

int q2_ref_get(struct q2 *q, uint64_t cluster, uint64_t *count)
{
    struct q2_table *b;
    int r = ref_block(q, cluster, &b);

    *count = ref_of(q, b, cluster);
    return r;
}

/* ---- the end --------------------------------------------------------- */

/* A larger refcount table in memory; it gets its place in the file by place_table(). */
static int grow_table(struct q2 *q, uint64_t index)
{
    uint64_t per = q->cluster_size / 8;
    uint64_t n = BASE_ALIGN_UP(index + 1 > q->rt_entries * 2 ? index + 1 : q->rt_entries * 2, per);

    if (n * 8 > Q2_MAX_REFTABLE_BYTES)
        return -EFBIG;
    q->rt = base_realloc(q->rt, n * 8);
    q->rb = base_realloc(q->rb, n * sizeof *q->rb);
    memset(q->rt + q->rt_entries, 0, (n - q->rt_entries) * 8);
    memset(q->rb + q->rt_entries, 0, (n - q->rt_entries) * sizeof *q->rb);
    if (!q->rt_moved) {
        q->rt_moved = true;
        q->rt_old_off = q->h.reftable_off;
        q->rt_old_len = q->rt_entries * 8;
    } else {
        /* grown twice before a commit: the place in between was never named by anything */
        q2_disown(q, q->h.reftable_off, q->rt_entries * 8);
        base_vec_push(&q->dropped,
                      ((struct q2_free){q->h.reftable_off, q->rt_entries * 8, false}));
    }
    q->rt_entries = n;
    q->h.reftable_off = 0; /* to be placed */
    q->rt_dirty = true;
    return 0;
}

static bool has_block(const struct q2 *q, uint64_t i)
{
    return i < q->rt_entries && q->rt[i];
}

/* A block for range i, in the cluster at q->end: that one lies in range i, or in one that has its
 * block. Nothing but q->end moves on if that cluster is counted already. */
static int make_block(struct q2 *q, uint64_t i)
{
    uint64_t off = q->end << q->cluster_bits;
    struct q2_table *b, *home = NULL;
    int r = 0;

    if (i != q->end >> q->ref_bits)
        r = ref_block(q, q->end, &home);
    if (r < 0)
        return r;
    if (home && ref_of(q, home, q->end)) {
        q->end++;
        return 0;
    }
    if (i >= q->rt_entries && (r = grow_table(q, i)) < 0)
        return r;
    if (!q2_own(q, off, q->cluster_size, Q2_OWN_REFBLOCK, (uint32_t)i))
        return q2_corrupt(q, "free cluster at 0x%llx is metadata", (unsigned long long)off);
    b = q2_table_new(q, off, (uint32_t)i, true);
    base_vec_push(&q->blocks, b);
    q->rb[i] = b;
    q->rt[i] = off;
    q->rt_dirty = true;
    q2_table_dirty(q, b, 0, (uint32_t)q->cluster_size);
    ref_put(q, home ? home : b, q->end, 1);
    q->end++;
    return 0;
}

/* n clusters from q->end on can be counted; blocks that are missing come before them. */
static int cover_end(struct q2 *q, uint64_t n)
{
    int r = 0;

    for (uint64_t i = q->end >> q->ref_bits; !r && i <= (q->end + n - 1) >> q->ref_bits; i++)
        while (!r && !has_block(q, i)) {
            uint64_t home = q->end >> q->ref_bits;

            r = make_block(q, has_block(q, home) ? i : home);
        }
    return r;
}

/* Taken, but of no use. */
static int forget_taken(struct q2 *q, uint64_t from, uint64_t to)
{
    struct q2_table *b;
    int r = 0;

    for (uint64_t c = from; c < to && !r; c++) {
        r = ref_block(q, c, &b);
        if (!r) {
            ref_put(q, b, c, 0);
            base_vec_push(&q->spare, ((struct q2_spare){c, q->file->regular}));
        }
    }
    return r;
}

/* n clusters in a row at the end, all countable. */
static int take_end(struct q2 *q, uint64_t n, uint64_t *first)
{
    struct q2_table *b;
    int r = cover_end(q, n);

    *first = q->end;
    while (!r && q->end < *first + n) {
        r = ref_block(q, q->end, &b);
        if (!r && !ref_of(q, b, q->end)) {
            ref_put(q, b, q->end++, 1);
        } else if (!r) { /* counted although behind the end, a leak: begin again behind it */
            r = forget_taken(q, *first, q->end++);
            r = r ? r : cover_end(q, n);
            *first = q->end;
        }
    }
    return r;
}

/* After growing: the table's place in the file, at the end. */
static int place_table(struct q2 *q)
{
    uint64_t first, entries;
    int r;

    while (q->rt_moved && !q->h.reftable_off) {
        entries = q->rt_entries;
        r = take_end(q, entries * 8 >> q->cluster_bits, &first);
        if (r < 0)
            return r;
        if (entries != q->rt_entries) { /* it grew again meanwhile */
            base_vec_push(&q->dropped, ((struct q2_free){first << q->cluster_bits, entries * 8,
                                                         false}));
            continue;
        }
        q->h.reftable_off = first << q->cluster_bits;
        q->h.reftable_clusters = (uint32_t)(entries * 8 >> q->cluster_bits);
        if (!q2_own(q, q->h.reftable_off, entries * 8, Q2_OWN_REFTABLE, 0))
            return q2_corrupt(q, "free cluster at 0x%llx is metadata",
                              (unsigned long long)q->h.reftable_off);
    }
    return 0;
}

/* ---- allocate -------------------------------------------------------- */

/* A cluster that was free when the image was opened; looks at one block's worth at most, so that
 * nobody waits long. */
static int take_scan(struct q2 *q, uint64_t *cluster)
{
    uint64_t limit = q->scan + (UINT64_C(1) << q->ref_bits);
    struct q2_table *b;
    int r;

    while (q->scan < q->scan_end && q->scan < limit) {
        r = ref_block(q, q->scan, &b);
        if (r < 0)
            return r;
        if (!b) { /* a range without a block: a new one is made at the end only */
            q->scan = ((q->scan >> q->ref_bits) + 1) << q->ref_bits;
            continue;
        }
        if (!ref_of(q, b, q->scan)) {
            ref_put(q, b, q->scan, 1);
            *cluster = q->scan++;
            return 1;
        }
        q->scan++;
    }
    return 0;
}

static int take_one(struct q2 *q, uint64_t *cluster, bool *zero)
{
    struct q2_table *b;
    int r;

    if (q->spare.len) {
        struct q2_spare s = q->spare.data[q->spare.len - 1];

        r = ref_block(q, s.cluster, &b);
        if (r < 0)
            return r;
        q->spare.len--;
        ref_put(q, b, s.cluster, 1);
        *cluster = s.cluster;
        *zero = s.zero;
        return 0;
    }
    *zero = false;
    r = take_scan(q, cluster);
    if (r)
        return r < 0 ? r : 0;
    *zero = q->file->regular;
    return take_end(q, 1, cluster);
}

uint64_t q2_alloc(struct q2 *q, uint64_t n, bool *zero, int *result)
{
    uint64_t first = 0, off;
    bool is_zero = q->file->regular;

    pthread_mutex_lock(&q->alloc_lock);
    *result = n == 1 ? take_one(q, &first, &is_zero) : take_end(q, n, &first);
    if (!*result)
        *result = place_table(q);
    pthread_mutex_unlock(&q->alloc_lock);
    if (zero)
        *zero = is_zero;
    if (*result < 0)
        return 0;
    if (!first) { /* a refcount of zero for the header: no place to give away, nor an error code */
        *result = q2_corrupt(q, "the header's cluster is free");
        return 0;
    }
    off = first << q->cluster_bits;
    if (off + (n << q->cluster_bits) > Q2_OFFSET_MASK) {
        *result = -EFBIG;
        return 0;
    }
    return off;
}

/* Compressed clusters lie byte by byte behind each other; each counts in all clusters it
 * touches. */
uint64_t q2_alloc_packed(struct q2 *q, uint64_t len, int *result)
{
    uint64_t at, room, cluster, count;
    bool zero;

    pthread_mutex_lock(&q->alloc_lock);
    at = q->packed;
    room = at ? q->cluster_size - q2_in_cluster(q, at) : 0;
    if (at && room < q->cluster_size) {
        *result = q2_ref_get(q, at >> q->cluster_bits, &count);
        if (*result < 0 || !count || count >= q2_ref_max(q))
            room = 0; /* all that was in it is gone, or it cannot be counted higher */
    } else {
        room = 0;
    }
    *result = 0;
    if (room < len) {
        *result = take_one(q, &cluster, &zero);
        if (!*result)
            *result = place_table(q);
        if (*result < 0) {
            pthread_mutex_unlock(&q->alloc_lock);
            return 0;
        }
        if (!room || cluster != (at >> q->cluster_bits) + 1) {
            at = cluster << q->cluster_bits; /* its one is ours */
            room = 0;
        }
    }
    if (room) {
        struct q2_table *b;

        *result = ref_block(q, at >> q->cluster_bits, &b);
        if (!*result)
            ref_put(q, b, at >> q->cluster_bits, ref_of(q, b, at >> q->cluster_bits) + 1);
    }
    q->packed = at + len;
    pthread_mutex_unlock(&q->alloc_lock);
    return *result < 0 ? 0 : at;
}

/* ---- free ------------------------------------------------------------ */

void q2_free(struct q2 *q, uint64_t off, uint64_t len, bool punch)
{
    pthread_mutex_lock(&q->alloc_lock);
    base_vec_push(&q->dropped, ((struct q2_free){off, len, punch}));
    pthread_mutex_unlock(&q->alloc_lock);
}

/* Refcount 0: may be used again. Not if the scan will find it. */
static void give_back(struct q2 *q, uint64_t cluster, bool punch)
{
    uint64_t off = cluster << q->cluster_bits;
    bool zero = false;

    if (q->packed && (q->packed - 1) >> q->cluster_bits == cluster)
        q->packed = 0;
    if (punch)
        zero = disk_file_punch(q->file, off, q->cluster_size) == 0;
    if (cluster < q->scan || cluster >= q->scan_end)
        base_vec_push(&q->spare, ((struct q2_spare){cluster, zero}));
}

static int ref_add_locked(struct q2 *q, uint64_t off, uint64_t len, int64_t delta, bool punch)
{
    uint64_t last = (off + len - 1) >> q->cluster_bits;
    struct q2_table *b;

    for (uint64_t c = off >> q->cluster_bits; c <= last && len; c++) {
        int r = ref_block(q, c, &b);
        uint64_t count = ref_of(q, b, c);

        if (r < 0)
            return r;
        if (!b || !count || (delta < 0 && count < (uint64_t)-delta))
            return q2_corrupt(q, "cluster at 0x%llx is in use, but its refcount is %llu",
                              (unsigned long long)(c << q->cluster_bits),
                              (unsigned long long)count);
        if (delta > 0 && count + (uint64_t)delta > q2_ref_max(q))
            return -ERANGE;
        count += (uint64_t)delta;
        ref_put(q, b, c, count);
        if (!count)
            give_back(q, c, punch);
    }
    return 0;
}

int q2_ref_add(struct q2 *q, uint64_t off, uint64_t len, int64_t delta)
{
    int r;

    pthread_mutex_lock(&q->alloc_lock);
    r = ref_add_locked(q, off, len, delta, false);
    pthread_mutex_unlock(&q->alloc_lock);
    return r;
}

void q2_unalloc(struct q2 *q, uint64_t off, uint64_t n)
{
    q2_ref_add(q, off, n, -1);
}

int q2_apply_frees(struct q2 *q, q2_frees *list)
{
    int r = 0;

    for (size_t i = 0; i < list->len; i++) {
        struct q2_free *f = &list->data[i];
        int one = ref_add_locked(q, f->off, f->len, -1, f->punch);

        r = r ? r : one;
    }
    list->len = 0;
    return r;
}
