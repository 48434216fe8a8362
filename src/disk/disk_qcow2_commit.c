/* disk_qcow2_commit.c: tables to the file, so that a power loss never finds a wrong image.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A commit takes copies of all pieces of tables that are dirty, at one moment; what is changed
 * later belongs to the next one. Then it writes them in steps, each on the medium before the next
 * begins:
 *
 *   1  data (written already), refcount blocks
 *   2  refcount table; where it moved: the table, then the header
 *   3  L2 tables
 *   4  L1 table
 *
 * Steps without anything to write are left out: overwriting costs one sync, allocating two, and
 * three where an L2 table is new. What the image looks like between two steps: clusters with a
 * refcount that nothing names, which are leaks.
 *
 * Clusters that were dropped before that moment now are on no way from the header. Requests may
 * still be reading there that looked before, so their refcount falls when those are over: each
 * request counts itself in one of two counters, by the epoch it began in. Until then they wait, and
 * the next ones after them.
 *
 * With lazy refcounts step 1 leaves the blocks in memory: the dirty bit, set before the first
 * change, says that they are to be made anew if we do not come to close the image.
 *
 * The file ends where the last write ended, within a cluster perhaps: setting its length here would
 * cut off what another thread writes meanwhile. Closing rounds it up.
 *
 * A write that fails leaves everything dirty and the next flush tries again. A sync that fails is
 * the end: the kernel has dropped pages that it could not write, and nothing says which.
 */
#include "disk/disk_qcow2.h"

#include <time.h>

struct piece {
    struct q2_table *t; /* NULL: of the L1 */
    uint64_t off;
    uint32_t at, len, index;
    uint8_t *copy;
};
struct commit {
    BASE_VEC(struct piece) refs, l2, l1;
    uint64_t *rt; /* a copy of the whole table, if dirty */
    uint64_t rt_bytes, rt_off;
    bool rt_moved;
    uint64_t rt_old_off, rt_old_len;
    q2_frees dropped;
};

/* ---- requests in flight ---------------------------------------------- */

_Atomic unsigned *q2_try_enter(struct q2 *q)
{
    for (;;) {
        unsigned e = q->epoch;

        atomic_fetch_add(&q->users[e & 1], 1);
        if (q->gate_closed) {
            q2_leave(&q->users[e & 1]);
            return NULL;
        }
        if (q->epoch == e)
            return &q->users[e & 1];
        q2_leave(&q->users[e & 1]);
    }
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

_Atomic unsigned *q2_enter(struct q2 *q)
{
    _Atomic unsigned *users;

    while (!(users = q2_try_enter(q)))
        nap();
    return users;
}

void q2_close_gate(struct q2 *q)
{
    bool open = false;

    while (!atomic_compare_exchange_strong(&q->gate_closed, &open, true)) {
        open = false;
        nap();
    }
    while (q->users[0] || q->users[1])
        nap();
}

void q2_open_gate(struct q2 *q)
{
    q->gate_closed = false;
}

/* ---- corruption ------------------------------------------------------ */

int q2_corrupt(struct q2 *q, const char *fmt, ...)
{
    uint8_t feature[8];
    char text[256];
    va_list ap;
    int r;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (q->d->read_only || q->d->o.no_repair) {
        if (!q->d->o.no_repair)
            base_error("%s: the image is corrupt: %s", q->d->path, text);
        return -EIO;
    }
    if (!q->d->failed && q->h.version >= 3) {
        /* these eight bytes and no more: the rest of memory is not to be trusted now */
        q->h.incompatible |= Q2_CORRUPT;
        r = disk_file_read(q->file, 72, feature, sizeof feature);
        feature[7] |= Q2_CORRUPT;
        if (!r && !disk_file_write(q->file, 72, feature, sizeof feature))
            disk_file_sync(q->file);
    }
    disk_fail(q->d, -EIO, "the image is corrupt: %s (isomer disk check shows more)", text);
    return -EIO;
}

int q2_write_meta(struct q2 *q, uint64_t off, const void *buf, size_t len, enum q2_owner kind,
                  uint32_t index)
{
    uint64_t end = off + len;

    for (uint64_t at = off; at < end; at = (at & ~(q->cluster_size - 1)) + q->cluster_size) {
        uint32_t owner_index;
        enum q2_owner owner = q2_owner_of(q, at, &owner_index);

        if (owner != kind || owner_index != index)
            return q2_corrupt(q, "metadata of kind %d would be written over kind %d at 0x%llx",
                              (int)kind, (int)owner, (unsigned long long)at);
    }
    return disk_file_write(q->file, off, buf, len);
}

/* ---- taking the copies ----------------------------------------------- */

#define COMMIT_PIECES(bits, p, n) \
    for (uint64_t p = 0; p < (n); p++) if ((bits)[p / 64] >> p % 64 & 1)

static struct piece take_piece(struct q2_table *t, uint64_t off, uint64_t at, uint64_t len,
                               uint32_t index, const void *from)
{
    struct piece p = {t, off, (uint32_t)at, (uint32_t)len, index, base_alloc(len)};

    memcpy(p.copy, from, len);
    return p;
}

static void take_table(struct q2 *q, struct commit *c, struct q2_table *t)
{
    uint64_t size = q->cluster_size < Q2_PIECE ? q->cluster_size : Q2_PIECE;

    COMMIT_PIECES(t->dirty, p, q->cluster_size / size) {
        struct piece one = take_piece(t, t->off + p * size, p * size, size, t->index,
                                      t->data + p * size);

        if (t->refcounts)
            base_vec_push(&c->refs, one);
        else
            base_vec_push(&c->l2, one);
    }
    memset(t->dirty, 0, sizeof t->dirty);
    t->dirty_any = false;
    t->busy = true;
    q->ndirty--;
}

static void take_l1(struct q2 *q, struct commit *c)
{
    uint64_t bytes = q->h.l1_size * 8ull, words[Q2_PIECE / 8];

    COMMIT_PIECES(q->l1_dirty, p, (bytes + Q2_PIECE - 1) / Q2_PIECE) {
        uint64_t at = p * Q2_PIECE;
        uint64_t len = bytes - at < Q2_PIECE ? bytes - at : Q2_PIECE;

        for (uint64_t i = 0; i < len / 8; i++)
            words[i] = __builtin_bswap64(q->l1[at / 8 + i]);
        base_vec_push(&c->l1, take_piece(NULL, q->h.l1_off + at, at, len, 0, words));
        q->l1_dirty[p / 64] &= ~(UINT64_C(1) << p % 64);
    }
    q->l1_dirty_any = false;
}

static void take_rt(struct q2 *q, struct commit *c)
{
    c->rt_bytes = q->rt_entries * 8;
    c->rt_off = q->h.reftable_off;
    c->rt = base_alloc(c->rt_bytes);
    for (uint64_t i = 0; i < q->rt_entries; i++)
        c->rt[i] = __builtin_bswap64(q->rt[i]);
    c->rt_moved = q->rt_moved;
    c->rt_old_off = q->rt_old_off;
    c->rt_old_len = q->rt_old_len;
    q->rt_dirty = q->rt_moved = false;
}

static void take_all(struct q2 *q, struct commit *c, bool refcounts)
{
    pthread_rwlock_wrlock(&q->map_lock);
    pthread_mutex_lock(&q->alloc_lock);
    for (size_t i = 0; i < q->tables.len; i++)
        if (q->tables.data[i]->dirty_any)
            take_table(q, c, q->tables.data[i]);
    for (size_t i = 0; i < q->blocks.len && refcounts; i++)
        if (q->blocks.data[i]->dirty_any)
            take_table(q, c, q->blocks.data[i]);
    if (q->l1_dirty_any)
        take_l1(q, c);
    if (q->rt_dirty && refcounts)
        take_rt(q, c);
    c->dropped = q->dropped;
    memset(&q->dropped, 0, sizeof q->dropped);
    pthread_mutex_unlock(&q->alloc_lock);
    pthread_rwlock_unlock(&q->map_lock);
}

/* ---- writing --------------------------------------------------------- */

/* Who owned a table then owns it now, since what
 * is dropped cannot be used again before this commit is over. */
static int write_pieces(struct q2 *q, const struct piece *p, size_t n, enum q2_owner kind)
{
    int r = 0;

    for (size_t i = 0; i < n && !r; i++) {
        uint32_t index;
        enum q2_owner owner;

        owner = q2_owner_of(q, p[i].off, &index);
        if (owner == kind && index == p[i].index)
            r = disk_file_write(q->file, p[i].off, p[i].copy, p[i].len);
        else if (!p[i].t || p[i].t->off == (p[i].off & ~(q->cluster_size - 1)))
            r = q2_corrupt(q, "a table would be written over other metadata at 0x%llx",
                           (unsigned long long)p[i].off);
        /* else: the table has moved since the copies were taken; nothing names the old place */
    }
    return r;
}

static int sync_or_fail(struct q2 *q, struct disk_file *f)
{
    int r = disk_file_sync(f);

    if (r < 0)
        disk_fail(q->d, r, "flushing failed (%s), what was written lately may be lost",
                  strerror(-r));
    return r;
}

static int write_rt(struct q2 *q, struct commit *c)
{
    int r = disk_file_write(q->file, c->rt_off, c->rt, c->rt_bytes);

    if (!r)
        r = sync_or_fail(q, q->file);
    if (!r && c->rt_moved)
        r = q2_header_write(q);
    return r;
}

static int write_steps(struct q2 *q, struct commit *c)
{
    bool named = c->l2.len || c->l1.len || c->dropped.len;
    int r = q->data != q->file ? sync_or_fail(q, q->data) : 0;

    r = r ? r : write_pieces(q, c->refs.data, c->refs.len, Q2_OWN_REFBLOCK);
    if (!r && (q->data == q->file || c->refs.len || c->l2.len || c->l1.len || c->rt))
        r = sync_or_fail(q, q->file);
    if (!r && c->rt)
        r = write_rt(q, c);
    if (r || !named)
        return r;
    if (c->l2.len)
        r = write_pieces(q, c->l2.data, c->l2.len, Q2_OWN_L2);
    if (!r && c->l2.len)
        r = sync_or_fail(q, q->file);
    if (!r && c->l1.len)
        r = write_pieces(q, c->l1.data, c->l1.len, Q2_OWN_L1);
    if (!r && c->l1.len)
        r = sync_or_fail(q, q->file);
    return r;
}

/* ---- the end of a commit --------------------------------------------- */

static void again_dirty(struct q2 *q, struct piece *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i].t) {
            q2_table_dirty(q, p[i].t, p[i].at, p[i].len);
        } else {
            q->l1_dirty[p[i].at / Q2_PIECE / 64] |= UINT64_C(1) << p[i].at / Q2_PIECE % 64;
            q->l1_dirty_any = true;
        }
    }
}

static void append_frees(q2_frees *to, q2_frees *from)
{
    for (size_t i = 0; i < from->len; i++)
        base_vec_push(to, from->data[i]);
    base_vec_free(from);
}

/* alloc_lock held: lets refcounts fall where no request can be any more. */
static int advance(struct q2 *q)
{
    int r = 0;

    for (int i = 0; i < 2; i++) {
        if (q->waiting.len) {
            if (q->users[q->waiting_epoch & 1])
                return r;
            r = q2_apply_frees(q, &q->waiting);
        }
        if (!q->later.len || q->users[(q->epoch + 1) & 1])
            return r; /* the other counter must be empty before it is used again */
        base_vec_free(&q->waiting);
        q->waiting = q->later;
        memset(&q->later, 0, sizeof q->later);
        q->waiting_epoch = q->epoch++;
    }
    return r;
}

static void free_pieces(struct piece *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i].t)
            p[i].t->busy = false;
        free(p[i].copy);
    }
    free(p);
}

static int finish(struct q2 *q, struct commit *c, int r)
{
    pthread_rwlock_wrlock(&q->map_lock);
    pthread_mutex_lock(&q->alloc_lock);
    if (r < 0) {
        again_dirty(q, c->refs.data, c->refs.len);
        again_dirty(q, c->l2.data, c->l2.len);
        again_dirty(q, c->l1.data, c->l1.len);
        append_frees(&q->dropped, &c->dropped);
        q->rt_dirty |= c->rt != NULL;
        if (c->rt_moved && !q->rt_moved) {
            q->rt_moved = true;
            q->rt_old_off = c->rt_old_off;
            q->rt_old_len = c->rt_old_len;
        }
    } else {
        if (c->rt_moved) {
            q2_disown(q, c->rt_old_off, c->rt_old_len);
            base_vec_push(&q->later, ((struct q2_free){c->rt_old_off, c->rt_old_len, false}));
        }
        append_frees(&q->later, &c->dropped);
        r = advance(q);
    }
    free_pieces(c->refs.data, c->refs.len);
    free_pieces(c->l2.data, c->l2.len);
    free_pieces(c->l1.data, c->l1.len);
    free(c->rt);
    pthread_mutex_unlock(&q->alloc_lock);
    pthread_rwlock_unlock(&q->map_lock);
    return r;
}

int q2_commit(struct q2 *q, bool refcounts_too)
{
    struct commit c = {0};
    int r;

    if (q->d->failed)
        return q->d->failed;
    pthread_mutex_lock(&q->commit_lock);
    take_all(q, &c, refcounts_too || !q->lazy);
    r = finish(q, &c, write_steps(q, &c));
    pthread_mutex_unlock(&q->commit_lock);
    return r;
}

int q2_commit_all(struct q2 *q)
{
    int r;

    do {
        r = q2_commit(q, true);
    } while (!r && (q->dropped.len || q->waiting.len || q->later.len));
    return r ? r : q->ndirty ? q2_commit(q, true) : 0;
}
