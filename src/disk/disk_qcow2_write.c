/* disk_qcow2_write.c: writing, zeroing, discarding. SPDX-License-Identifier: Apache-2.0
 *
 * What is allocated and ours alone is written in place and takes no lock across I/O. Everything
 * else goes cluster by cluster, with the stripe lock of the guest cluster held: look again,
 * allocate, write the data with what is around it, then enter it into the L2 table. A reader sees
 * the old cluster or the new one, and both are whole.
 *
 * Around the data: with subclusters the rest of the first and the last subcluster, without them the
 * rest of the cluster, from wherever it was readable before. Where that is zero and the new cluster
 * is known to be zero, nothing is written at all.
 */
#include "disk/disk_qcow2.h"

enum { WRITE_IOV = 64 };
#define ALL_DATA UINT64_C(0x00000000ffffffff)

static pthread_mutex_t *stripe_of(struct q2 *q, uint64_t cluster)
{
    return &q->stripe[cluster % Q2_STRIPES];
}

int q2_begin_change(struct q2 *q)
{
    int r = 0;

    if (!q->lazy || q->h.incompatible & Q2_DIRTY)
        return 0;
    pthread_mutex_lock(&q->commit_lock);
    if (!(q->h.incompatible & Q2_DIRTY)) {
        q->h.incompatible |= Q2_DIRTY;
        r = q2_header_write(q);
        if (r < 0)
            q->h.incompatible &= ~(uint64_t)Q2_DIRTY;
    }
    pthread_mutex_unlock(&q->commit_lock);
    return r;
}

/* ---- an L2 entry, read and changed ----------------------------------- */

/* Under the stripe lock, so that it stays until we change it. */
static int entry_look(struct q2 *q, uint64_t cluster, uint64_t *entry, uint64_t *bitmap)
{
    struct q2_run run;
    int r = q2_lookup(q, cluster << q->cluster_bits, 1, &run); /* loads and checks */

    if (r < 0)
        return r;
    do {
        pthread_rwlock_rdlock(&q->map_lock);
        r = q2_entry_get(q, cluster, entry, bitmap);
        pthread_rwlock_unlock(&q->map_lock);
        if (r == -EAGAIN && q2_load_l2(q, q2_l1_index(q, cluster)) < 0)
            return -EIO;
    } while (r == -EAGAIN);
    return r;
}

static int entry_change(struct q2 *q, uint64_t cluster, uint64_t entry, uint64_t bitmap)
{
    uint64_t l1 = q2_l1_index(q, cluster);
    struct q2_table *t;
    int r;

    for (;;) {
        pthread_rwlock_wrlock(&q->map_lock);
        r = q2_l2_for_write(q, l1, &t);
        if (!r)
            q2_entry_put(q, t, cluster, entry, bitmap);
        pthread_rwlock_unlock(&q->map_lock);
        if (r != -EAGAIN)
            return r;
        r = q2_load_l2(q, l1);
        if (r < 0)
            return r;
    }
}

static void drop_host(struct q2 *q, uint64_t entry, bool punch)
{
    uint64_t off, len;

    if (q->data != q->file)
        return; /* clusters of a data file are not counted */
    if (entry & Q2_COMPRESSED) {
        q2_packed_range(q, entry, &off, &len);
        q2_free(q, off, len, false);
    } else if (entry & Q2_OFFSET_MASK) {
        q2_free(q, entry & Q2_OFFSET_MASK, q->cluster_size, punch);
    }
}

static bool is_own(struct q2 *q, uint64_t entry)
{
    return !(entry & Q2_COMPRESSED) && entry & Q2_COPIED &&
           (entry & Q2_OFFSET_MASK || q->data != q->file);
}

/* ---- an allocating write --------------------------------------------- */

struct alloc_write {
    struct q2 *q;
    uint64_t cluster, entry, bitmap; /* as it was */
    uint64_t host;                   /* where it goes */
    uint64_t lo, in, end, hi;        /* in the cluster: filled, written, written, filled */
    bool own, zero;                  /* the host cluster was ours; it reads as zero */
    uint8_t *head, *tail;            /* what is to be written around; NULL: nothing */
};

static uint64_t sub_mask(const struct q2 *q, uint64_t lo, uint64_t hi)
{
    uint64_t first = lo >> q->sub_bits, last = (hi - 1) >> q->sub_bits;

    return (ALL_DATA >> (31 - (last - first))) << first & ALL_DATA;
}

/* How far around the data it must be filled. */
static void choose_range(struct alloc_write *w)
{
    struct q2 *q = w->q;
    uint64_t sub = UINT64_C(1) << q->sub_bits;
    uint64_t data = w->entry & Q2_COMPRESSED ? 0 : w->bitmap & ALL_DATA;

    w->lo = 0;
    w->hi = q->cluster_size;
    if (!q->extended || w->entry & Q2_COMPRESSED)
        return;
    w->lo = w->in & ~(sub - 1);
    w->hi = BASE_ALIGN_UP(w->end, sub);
    if (w->own) { /* subclusters that have data keep it */
        if (data >> (w->in >> q->sub_bits) & 1)
            w->lo = w->in;
        if (data >> ((w->end - 1) >> q->sub_bits) & 1)
            w->hi = w->end;
    } else if (data && q->data == q->file) { /* a shared cluster is copied with all its data */
        uint64_t first = (uint64_t)__builtin_ctzll(data) << q->sub_bits;
        uint64_t last = (64 - (uint64_t)__builtin_clzll(data)) << q->sub_bits;

        w->lo = first < w->lo ? first : w->lo;
        w->hi = last > w->hi ? last : w->hi;
    }
}

/* What [from, to) of the cluster reads as now, or NULL where zeros are there already. */
static int old_content(struct alloc_write *w, uint64_t from, uint64_t to, uint8_t **buf)
{
    struct q2 *q = w->q;
    uint64_t off = (w->cluster << q->cluster_bits) + from, size = q->d->size;
    size_t len = (size_t)(to - from), there = off >= size ? 0
                                              : size - off < len ? (size_t)(size - off) : len;
    struct q2_run run;
    int r = 0;

    *buf = NULL;
    if (!len)
        return 0;
    if (there) {
        r = q2_lookup(q, off, there, &run);
        if (r < 0)
            return r;
        if (run.len == there && (run.type == Q2_ZEROES || (run.type == Q2_UNALLOCATED &&
                                 (!q->d->backing || off >= q->d->backing->size))))
            there = 0;
    }
    if (!there && w->zero)
        return 0;
    *buf = base_zalloc(len);
    if (there) {
        struct iovec iov = {*buf, there};
        struct disk_slice s = {&iov, 1, 0};

        r = q2_read_inside(q, off, there, s);
        if (!r && w->zero && disk_slice_is_zero(s, there)) {
            free(*buf);
            *buf = NULL;
        }
    }
    return r;
}

/* Head, data and tail in one transfer where they are few pieces. */
static int write_around(struct alloc_write *w, struct disk_slice s)
{
    struct iovec iov[WRITE_IOV];
    size_t head = w->head ? (size_t)(w->in - w->lo) : 0, body = (size_t)(w->end - w->in);
    size_t tail = w->tail ? (size_t)(w->hi - w->end) : 0, got;
    int n = 0, r = 0;

    if (!head && !tail)
        return q2_data_write(w->q, w->host + w->in, body, s);
    if (head)
        iov[n++] = (struct iovec){w->head, head};
    n += disk_slice_iov(s, body, iov + n, WRITE_IOV - 2, &got);
    if (got == body) {
        if (tail)
            iov[n++] = (struct iovec){w->tail, tail};
        return q2_data_write(w->q, w->host + w->in - head, head + body + tail,
                             (struct disk_slice){iov, n, 0});
    }
    r = q2_data_write(w->q, w->host + w->in, body, s);
    if (!r && head) {
        iov[0] = (struct iovec){w->head, head};
        r = q2_data_write(w->q, w->host + w->lo, head, (struct disk_slice){iov, 1, 0});
    }
    if (!r && tail) {
        iov[0] = (struct iovec){w->tail, tail};
        r = q2_data_write(w->q, w->host + w->end, tail, (struct disk_slice){iov, 1, 0});
    }
    return r;
}

static int choose_host(struct alloc_write *w)
{
    struct q2 *q = w->q;
    int r = 0;

    w->own = is_own(q, w->entry);
    w->host = w->entry & Q2_OFFSET_MASK;
    if (q->data != q->file && !w->own) {
        w->host = w->cluster << q->cluster_bits;
    } else if (!w->own) {
        w->host = q2_alloc(q, 1, &w->zero, &r);
        w->zero = w->zero && !q->crypt; /* zeros of the host are not zeros of the guest */
    }
    if (!r && !q2_data_ok(q, w->host, q->cluster_size)) {
        q2_corrupt(q, "data would be written over metadata at 0x%llx",
                   (unsigned long long)w->host);
        return -EIO;
    }
    return r;
}

static int enter_new(struct alloc_write *w)
{
    struct q2 *q = w->q;
    uint64_t bitmap = 0;
    int r;

    if (q->extended) {
        uint64_t mask = sub_mask(q, w->lo, w->hi);

        bitmap = w->own ? w->bitmap | mask : (w->bitmap & ~ALL_DATA) | mask;
        if (w->entry & Q2_COMPRESSED)
            bitmap = mask;
        bitmap &= ~(mask << 32);
        if (q->data != q->file) /* the data file keeps what it had */
            bitmap |= w->bitmap & ALL_DATA;
    }
    r = entry_change(q, w->cluster, w->host | Q2_COPIED, bitmap);
    if (!r && !w->own)
        drop_host(q, w->entry, false);
    return r;
}

/* [off, off + len) lies in one cluster; the stripe lock is held. */
static int write_cluster(struct q2 *q, uint64_t off, size_t len, struct disk_slice s)
{
    struct alloc_write w = {.q = q, .cluster = off >> q->cluster_bits};
    int r = entry_look(q, w.cluster, &w.entry, &w.bitmap);

    w.in = q2_in_cluster(q, off);
    w.end = w.in + len;
    if (!r)
        r = choose_host(&w);
    if (r < 0)
        return r;
    choose_range(&w);
    if (!(w.own && !q->extended && !(w.entry & Q2_ZERO && q->h.version >= 3))) {
        r = old_content(&w, w.lo, w.in, &w.head);
        r = r ? r : old_content(&w, w.end, w.hi, &w.tail);
    } /* else: someone allocated it meanwhile, write in place */
    r = r ? r : write_around(&w, s);
    r = r ? r : enter_new(&w);
    if (r < 0 && !w.own && q->data == q->file)
        q2_unalloc(q, w.host, 1);
    free(w.head);
    free(w.tail);
    return r;
}

/* Encryption works on sectors: a part of one is read, changed and written as a whole. */
static int write_sectors(struct q2 *q, uint64_t off, size_t len, struct disk_slice s)
{
    uint64_t start = off & ~UINT64_C(511), end = BASE_ALIGN_UP(off + len, UINT64_C(512));
    uint8_t *buf = base_zalloc((size_t)(end - start));
    struct iovec iov = {buf, (size_t)(end - start)};
    struct disk_slice whole = {&iov, 1, 0};
    uint64_t there = end < q->d->size ? end : (uint64_t)q->d->size;
    int r = q2_read_inside(q, start, (size_t)(there - start), whole);

    if (!r) {
        disk_slice_get(s, buf + (off - start), len);
        r = write_cluster(q, start, (size_t)(end - start), whole);
    }
    free(buf);
    return r;
}

static int write_step(struct q2 *q, uint64_t off, size_t len, struct disk_slice s, size_t *done)
{
    uint64_t left = q->cluster_size - q2_in_cluster(q, off);
    bool odd = q->crypt && (off | len) & 511;
    pthread_mutex_t *stripe;
    struct q2_run run;
    int r = q2_lookup(q, off, len, &run);

    if (r < 0)
        return r;
    *done = (size_t)run.len;
    if (run.type == Q2_DATA && run.writable && !odd) {
        if (!q2_data_ok(q, run.host, run.len))
            return q2_corrupt(q, "data would be written over metadata at 0x%llx",
                              (unsigned long long)run.host);
        return q2_data_write(q, run.host, *done, s);
    }
    *done = len < left ? len : (size_t)left;
    r = q2_begin_change(q);
    if (r < 0)
        return r;
    stripe = stripe_of(q, off >> q->cluster_bits);
    pthread_mutex_lock(stripe);
    r = odd ? write_sectors(q, off, *done, s) : write_cluster(q, off, *done, s);
    pthread_mutex_unlock(stripe);
    return r ? r : q2_commit_if_full(q);
}

int q2_write(struct disk *d, uint64_t off, size_t len, struct disk_slice s, unsigned flags)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    int r = q2_record(q, off, len);

    while (len && !r) {
        uint64_t rest = q->d->size - off;
        size_t done = q->cluster_size;

        if (flags & DISK_REQ_COMPRESSED && !q2_in_cluster(q, off) && q->data == q->file &&
            !q->crypt && (len >= q->cluster_size || len == rest)) {
            if (done > len)
                done = len;
            r = q2_begin_change(q);
            pthread_mutex_lock(stripe_of(q, off >> q->cluster_bits));
            r = r ? r : q2_write_packed(q, off, done, s);
            pthread_mutex_unlock(stripe_of(q, off >> q->cluster_bits));
            if (r == -E2BIG) /* does not get smaller */
                r = write_step(q, off, done, s, &done);
            else
                r = r ? r : q2_commit_if_full(q);
        } else {
            r = write_step(q, off, len, s, &done);
        }
        off += done;
        len -= done;
        s.skip += done;
    }
    q2_leave(users);
    return r;
}

/* ---- zero and discard ------------------------------------------------ */

enum zero_how { ZERO_KEEP = 1, ZERO_DISCARD = 2 };

static int write_zeros(struct q2 *q, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[64 << 10];
    int r = 0;

    while (len && !r) {
        size_t n = len < sizeof zeros ? (size_t)len : sizeof zeros, done = 0;
        struct iovec iov = {(void *)zeros, n};

        r = write_step(q, off, n, (struct disk_slice){&iov, 1, 0}, &done);
        off += done;
        len -= done;
    }
    return r;
}

/* Part of a subcluster, or what no metadata can say: by writing, unless it reads as zero now. */
static int zero_bytes(struct q2 *q, uint64_t off, uint64_t len)
{
    int r = 0;

    while (len && !r) {
        struct q2_run run;

        r = q2_lookup(q, off, len, &run);
        if (r < 0)
            break;
        if (run.type != Q2_ZEROES && (run.type != Q2_UNALLOCATED || q->d->backing_name))
            r = write_zeros(q, off, run.len);
        off += run.len;
        len -= run.len;
    }
    return r;
}

/* The entry that makes subclusters [lo, hi) zero. False: cannot be said. */
static bool zero_entry(struct q2 *q, uint64_t lo, uint64_t hi, unsigned how, uint64_t *entry,
                       uint64_t *bitmap)
{
    bool whole = lo == 0 && hi == q->cluster_size;
    bool keep = how & ZERO_KEEP && is_own(q, *entry);
    uint64_t mask;

    if (!q->extended) {
        bool nothing_below = !q->d->backing_name;

        if (q->h.version < 3)
            return nothing_below && (*entry = 0, true);
        if (keep)
            *entry |= Q2_ZERO;
        else
            *entry = nothing_below && how & ZERO_DISCARD ? 0 : Q2_ZERO;
        return true;
    }
    if (*entry & Q2_COMPRESSED) {
        if (!whole)
            return false;
        *entry = *bitmap = 0;
    }
    mask = sub_mask(q, lo, hi);
    *bitmap = (*bitmap & ~mask) | mask << 32;
    if (!keep && !(*bitmap & ALL_DATA))
        *entry = 0;
    if (!*entry && how & ZERO_DISCARD && !q->d->backing_name)
        *bitmap = 0;
    return true;
}

static bool reads_zero(struct q2 *q, uint64_t off, uint64_t len, bool ignore_unallocated)
{
    struct q2_run run;

    return q2_lookup(q, off, len, &run) == 0 && run.len == len &&
           (run.type == Q2_ZEROES || (run.type == Q2_UNALLOCATED &&
                                      (ignore_unallocated || !q->d->backing_name)));
}

/* Within one cluster, whole subclusters. */
static int zero_cluster(struct q2 *q, uint64_t off, uint64_t len, unsigned how)
{
    uint64_t cluster = off >> q->cluster_bits, lo = q2_in_cluster(q, off);
    uint64_t hi = BASE_ALIGN_UP(lo + len, UINT64_C(1) << q->sub_bits);
    uint64_t entry, bitmap, old;
    int r = entry_look(q, cluster, &entry, &bitmap);

    if (r < 0 || (reads_zero(q, off, len, how & ZERO_DISCARD) &&
                  (how & ZERO_KEEP || !is_own(q, entry))))
        return r;
    if (q->raw_data) { /* a data file that others read as a raw image must have the zeros itself */
        r = disk_file_zero(q->data, off, len, !(how & ZERO_KEEP));
        return r ? r : entry_change(q, cluster, (cluster << q->cluster_bits) | Q2_COPIED,
                                    q->extended ? (bitmap & ~(sub_mask(q, lo, hi) << 32)) |
                                                      sub_mask(q, lo, hi) : 0);
    }
    old = entry;
    if (!zero_entry(q, lo, hi, how, &entry, &bitmap))
        return 1;
    r = entry_change(q, cluster, entry, bitmap);
    if (!r && (old & (Q2_OFFSET_MASK | Q2_COMPRESSED)) && !(entry & Q2_OFFSET_MASK))
        drop_host(q, old, true);
    return r;
}

/* Whole subclusters by metadata, what sticks out by writing (zero) or not at all (discard). */
static int zero_range(struct q2 *q, uint64_t off, uint64_t len, unsigned how)
{
    uint64_t sub = UINT64_C(1) << q->sub_bits, size = q->d->size;
    int r = q2_begin_change(q);

    while (len && !r) {
        uint64_t n = q->cluster_size - q2_in_cluster(q, off);
        bool whole;

        if (n > len)
            n = len;
        if (off & (sub - 1)) {
            uint64_t to_sub = sub - (off & (sub - 1));

            n = n < to_sub ? n : to_sub;
            whole = false;
        } else if (n >= sub || off + n == size) {
            n = off + n == size ? n : n & ~(sub - 1);
            whole = true;
        } else {
            whole = false;
        }
        if (whole) {
            pthread_mutex_t *stripe = stripe_of(q, off >> q->cluster_bits);

            pthread_mutex_lock(stripe);
            r = zero_cluster(q, off, n, how);
            pthread_mutex_unlock(stripe);
        }
        if (!(how & ZERO_DISCARD) && (!whole || r == 1))
            r = zero_bytes(q, off, n);
        r = r == 1 ? 0 : r ? r : q2_commit_if_full(q);
        off += n;
        len -= n;
    }
    return r;
}

int q2_zero(struct disk *d, uint64_t off, uint64_t len, unsigned flags)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    int r = q2_record(q, off, len);

    r = r ? r : zero_range(q, off, len, flags & DISK_REQ_MAY_UNMAP ? 0 : ZERO_KEEP);
    q2_leave(users);
    return r;
}

int q2_discard(struct disk *d, uint64_t off, uint64_t len)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    /* version 2 cannot say zero: the backing file's old data would come back */
    bool nothing = q->h.version < 3 && d->backing_name;
    int r = nothing ? 0 : q2_record(q, off, len);

    r = r || nothing ? r : zero_range(q, off, len, ZERO_DISCARD);
    q2_leave(users);
    return r;
}
