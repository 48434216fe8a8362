/* disk_qcow2_meta.c: L2 tables and refcount blocks in memory, and who owns which cluster.
 * SPDX-License-Identifier: Apache-2.0
 *
 * L1 and refcount table are in memory as a whole; beside each is an array of pointers to the tables
 * that are, too, so that a look-up is two loads. A clock evicts tables that are clean. Dirty ones
 * stay until a commit, which is due when they become many.
 *
 * q->owner knows every metadata cluster of the active image and what it is. It is asked before
 * every write, of metadata and of data, so that neither a wrong L2 entry nor an allocator gone
 * wrong can destroy a table.
 */
#include "disk/disk_qcow2.h"

/* ---- owners ---------------------------------------------------------- */

static struct q2_own *owner_slot(struct q2 *q, uint64_t cluster)
{
    uint64_t i = base_hash64(cluster) & q->owner_mask;

    while (q->owner[i].kind && q->owner[i].cluster != cluster)
        i = (i + 1) & q->owner_mask;
    return &q->owner[i];
}

static void owner_grow(struct q2 *q)
{
    struct q2_own *old = q->owner;
    uint64_t n = old ? q->owner_mask + 1 : 0;

    q->owner_mask = (n ? n * 2 : 64) - 1;
    q->owner = base_zalloc((q->owner_mask + 1) * sizeof *q->owner);
    for (uint64_t i = 0; i < n; i++)
        if (old[i].kind)
            *owner_slot(q, old[i].cluster) = old[i];
    free(old);
}

bool q2_own(struct q2 *q, uint64_t off, uint64_t len, enum q2_owner kind, uint32_t index)
{
    uint64_t end = (off + len + q->cluster_size - 1) >> q->cluster_bits;
    bool ok = true;

    pthread_mutex_lock(&q->owner_lock);
    for (uint64_t c = off >> q->cluster_bits; c < end && ok; c++) {
        if (!q->owner || q->owner_count * 2 > q->owner_mask)
            owner_grow(q);
        struct q2_own *o = owner_slot(q, c);

        ok = !o->kind || (o->kind == kind && o->index == index);
        q->owner_count += !o->kind;
        if (ok)
            *o = (struct q2_own){c, kind, index};
    }
    pthread_mutex_unlock(&q->owner_lock);
    return ok;
}

/* Removal from open addressing: what follows in the run is put in again. */
static void owner_remove(struct q2 *q, struct q2_own *o)
{
    uint64_t i = (uint64_t)(o - q->owner);

    o->kind = Q2_FREE;
    q->owner_count--;
    for (i = (i + 1) & q->owner_mask; q->owner[i].kind; i = (i + 1) & q->owner_mask) {
        struct q2_own again = q->owner[i];

        q->owner[i].kind = Q2_FREE;
        *owner_slot(q, again.cluster) = again;
    }
}

void q2_disown(struct q2 *q, uint64_t off, uint64_t len)
{
    uint64_t end = (off + len + q->cluster_size - 1) >> q->cluster_bits;

    pthread_mutex_lock(&q->owner_lock);
    for (uint64_t c = off >> q->cluster_bits; c < end && q->owner; c++) {
        struct q2_own *o = owner_slot(q, c);

        if (o->kind)
            owner_remove(q, o);
    }
    pthread_mutex_unlock(&q->owner_lock);
}

enum q2_owner q2_owner_of(struct q2 *q, uint64_t off, uint32_t *index)
{
    struct q2_own o;

    pthread_mutex_lock(&q->owner_lock);
    o = *owner_slot(q, off >> q->cluster_bits);
    pthread_mutex_unlock(&q->owner_lock);
    if (index)
        *index = o.index;
    return o.kind;
}

bool q2_data_ok(struct q2 *q, uint64_t off, uint64_t len)
{
    uint64_t end = (off + len + q->cluster_size - 1) >> q->cluster_bits;
    bool ok = true;

    if (q->data != q->file)
        return true;
    pthread_mutex_lock(&q->owner_lock);
    for (uint64_t c = off >> q->cluster_bits; c < end && ok; c++)
        ok = !owner_slot(q, c)->kind;
    pthread_mutex_unlock(&q->owner_lock);
    return ok;
}

/* ---- tables ---------------------------------------------------------- */

struct q2_table *q2_table_new(struct q2 *q, uint64_t off, uint32_t index, bool refcounts)
{
    struct q2_table *t = base_zalloc(sizeof *t);

    t->off = off;
    t->index = index;
    t->refcounts = refcounts;
    t->used = true;
    t->data = base_zalloc(q->cluster_size);
    return t;
}

static void table_free(struct q2_table *t)
{
    if (t)
        free(t->data);
    free(t);
}

void q2_table_dirty(struct q2 *q, struct q2_table *t, uint32_t at, uint32_t len)
{
    uint32_t last = (at + len - 1) / Q2_PIECE;

    if (!t->dirty_any) {
        t->dirty_any = true;
        q->ndirty++;
    }
    for (uint32_t p = at / Q2_PIECE; p <= last; p++)
        t->dirty[p / 64] |= UINT64_C(1) << p % 64;
}

/* An L2 table leaves memory: it is in the file, or of no interest any more. */
void q2_table_drop(struct q2 *q, struct q2_table *t)
{
    if (t->dirty_any)
        q->ndirty--;
    for (size_t i = 0; i < q->tables.len; i++)
        if (q->tables.data[i] == t) {
            q->tables.data[i] = q->tables.data[--q->tables.len];
            break;
        }
    q->l2[t->index] = NULL;
    table_free(t);
}

/* The clock: L2 tables only. Refcount blocks are few, one for each 32768 clusters (of the widths in
 * use), and stay. map_lock is held exclusively. */
static void make_room(struct q2 *q)
{
    for (size_t i = 0; i < 2 * q->tables.len && q->tables.len >= q->max_tables; i++) {
        struct q2_table *t = q->tables.data[q->hand++ % q->tables.len];

        if (t->dirty_any || t->busy)
            continue;
        if (t->used)
            t->used = false;
        else
            q2_table_drop(q, t);
    }
}

static void remember(struct q2 *q, struct q2_table *t)
{
    make_room(q);
    base_vec_push(&q->tables, t);
    q->l2[t->index] = t;
}

int q2_load_l2(struct q2 *q, uint64_t index)
{
    struct q2_table *t = NULL;
    uint64_t entry;
    int r = 0;

    pthread_mutex_lock(&q->load_lock);
    pthread_rwlock_rdlock(&q->map_lock);
    entry = q->l1[index];
    if (!(entry & Q2_OFFSET_MASK) || q->l2[index])
        goto out;
    pthread_rwlock_unlock(&q->map_lock);
    if ((entry & Q2_OFFSET_MASK) & (q->cluster_size - 1)) {
        r = q2_corrupt(q, "L1 entry %llu names an L2 table that is not at a cluster",
                       (unsigned long long)index);
        pthread_mutex_unlock(&q->load_lock);
        return r;
    }
    t = q2_table_new(q, entry & Q2_OFFSET_MASK, (uint32_t)index, false);
    r = disk_file_read(q->file, t->off, t->data, q->cluster_size);
    pthread_rwlock_wrlock(&q->map_lock);
    if (!r && !q->l2[index] && q->l1[index] == entry) {
        remember(q, t);
        t = NULL;
    }
out:
    pthread_rwlock_unlock(&q->map_lock);
    pthread_mutex_unlock(&q->load_lock);
    table_free(t);
    return r;
}

void q2_l1_set(struct q2 *q, uint64_t index, uint64_t value)
{
    uint64_t piece = index * 8 / Q2_PIECE;

    q->l1[index] = value;
    q->l1_dirty[piece / 64] |= UINT64_C(1) << piece % 64;
    q->l1_dirty_any = true;
}

/* A table that a snapshot shares, or none, becomes one of our own. */
static int l2_renew(struct q2 *q, uint64_t index)
{
    uint64_t old = q->l1[index] & Q2_OFFSET_MASK;
    struct q2_table *t = q->l2[index];
    uint64_t off;
    int r;

    off = q2_alloc(q, 1, NULL, &r);
    if (!off)
        return r;
    if (!q2_own(q, off, q->cluster_size, Q2_OWN_L2, (uint32_t)index))
        return q2_corrupt(q, "free cluster at 0x%llx is metadata", (unsigned long long)off);
    if (old) {
        q2_disown(q, old, q->cluster_size);
        q2_free(q, old, q->cluster_size, false);
        t->off = off;
    } else {
        t = q2_table_new(q, off, (uint32_t)index, false);
        remember(q, t);
    }
    q2_table_dirty(q, t, 0, (uint32_t)q->cluster_size);
    q2_l1_set(q, index, off | Q2_COPIED);
    return 0;
}

int q2_l2_for_write(struct q2 *q, uint64_t index, struct q2_table **t)
{
    int r = 0;

    if (q->l1[index] & Q2_OFFSET_MASK && !q->l2[index])
        return -EAGAIN;
    if (!(q->l1[index] & Q2_COPIED) || !(q->l1[index] & Q2_OFFSET_MASK))
        r = l2_renew(q, index);
    *t = q->l2[index];
    return r;
}

/* ---- snapshots' tables ------------------------------------------------ */

enum { SNAPSHOT_HEAD = 40 }; /* "Snapshots" in the specification: the fixed part of an entry */

int q2_each_snapshot(struct q2 *q, uint64_t *table_len, q2_snapshot_fn *fn, void *context)
{
    uint64_t at = q->h.snapshots_off;
    uint8_t b[SNAPSHOT_HEAD];
    int r = 0;

    for (uint32_t i = 0; i < q->h.snapshots && !r; i++) {
        uint64_t l1_off;
        uint32_t l1_size;

        r = disk_file_read(q->file, at, b, sizeof b);
        if (r < 0)
            break;
        l1_off = disk_be64(b);
        l1_size = disk_be32(b + 8);
        if (l1_size > Q2_MAX_L1_BYTES / 8 || l1_off > DISK_MAX_SIZE ||
            l1_off & (q->cluster_size - 1) || disk_be32(b + 36) > Q2_MAX_EXTENSION)
            return -EINVAL;
        at += BASE_ALIGN_UP(SNAPSHOT_HEAD + (uint64_t)disk_be32(b + 36) + disk_be16(b + 12) +
                                disk_be16(b + 14), 8);
        r = fn(q, context, i, l1_off, l1_size);
    }
    *table_len = at - q->h.snapshots_off;
    return r;
}

int q2_commit_if_full(struct q2 *q)
{
    /* lazy refcount blocks, too, when it is they that are many */
    return q->ndirty > q->max_tables ? q2_commit(q, q->ndirty > 2 * q->max_tables) : 0;
}

/* ---- open and close -------------------------------------------------- */

/* Reads n big-endian words into host order. */
static int read_words(struct q2 *q, uint64_t off, uint64_t *to, uint64_t n)
{
    int r = disk_file_read(q->file, off, to, n * 8);

    for (uint64_t i = 0; i < n && !r; i++)
        to[i] = __builtin_bswap64(to[i]);
    return r;
}

static bool own_tables(struct q2 *q)
{
    bool ok = q2_own(q, 0, q->cluster_size, Q2_OWN_HEADER, 0) &&
              q2_own(q, q->h.reftable_off, q->rt_entries * 8, Q2_OWN_REFTABLE, 0);

    if (q->h.l1_size)
        ok = q2_own(q, q->h.l1_off, q->h.l1_size * 8ull, Q2_OWN_L1, 0) && ok;
    for (uint32_t i = 0; i < q->h.l1_size; i++)
        if (q->l1[i] & Q2_OFFSET_MASK)
            ok = q2_own(q, q->l1[i] & Q2_OFFSET_MASK, 1, Q2_OWN_L2, i) && ok;
    for (uint64_t i = 0; i < q->rt_entries; i++)
        if (q->rt[i])
            ok = q2_own(q, q->rt[i], 1, Q2_OWN_REFBLOCK, (uint32_t)i) && ok;
    return ok;
}

static int own_snapshot(struct q2 *q, void *context, uint32_t index, uint64_t l1_off,
                        uint32_t l1_size)
{
    bool *ok = context;

    if (l1_size)
        *ok = q2_own(q, l1_off, l1_size * 8ull, Q2_OWN_OTHER, index + 1) && *ok;
    return 0;
}

/* Snapshot table, the snapshots' L1 tables. Their L2 tables are either the active ones, too, or in
 * clusters with a refcount, which no allocation gives out. */
static int own_snapshots(struct q2 *q, bool *ok)
{
    uint64_t len;
    int r = q2_each_snapshot(q, &len, own_snapshot, ok);

    if (!r && len)
        *ok = q2_own(q, q->h.snapshots_off, len, Q2_OWN_SNAPSHOTS, 0) && *ok;
    return r;
}

int q2_tables_open(struct q2 *q, struct base_text *error)
{
    uint64_t words = (BASE_ALIGN_UP(q->h.l1_size * 8ull, Q2_PIECE) / Q2_PIECE + 63) / 64 + 1;
    bool ok;
    int r;

    q->rt_entries = (uint64_t)q->h.reftable_clusters << (q->cluster_bits - 3);
    q->l1 = base_zalloc((q->h.l1_size + 1ull) * 8);
    q->l2 = base_zalloc((q->h.l1_size + 1ull) * sizeof *q->l2);
    q->l1_dirty = base_zalloc(words * 8);
    q->rt = base_zalloc(q->rt_entries * 8);
    q->rb = base_zalloc(q->rt_entries * sizeof *q->rb);
    r = read_words(q, q->h.l1_off, q->l1, q->h.l1_size);
    if (!r)
        r = read_words(q, q->h.reftable_off, q->rt, q->rt_entries);
    if (r < 0)
        return disk_error(error, r, q->d->path, "its tables cannot be read: %s", strerror(-r));
    ok = own_tables(q);
    r = own_snapshots(q, &ok);
    if (r < 0 && !q->d->o.no_repair)
        return disk_error(error, r, q->d->path, "its snapshot table cannot be read");
    if (!ok && !q->d->read_only && !q->d->o.no_repair)
        return disk_error(error, -EIO, q->d->path,
                          "its metadata overlaps: nothing is written to it before it is repaired "
                          "(check --repair)");
    return 0;
}

void q2_tables_free(struct q2 *q)
{
    for (size_t i = 0; i < q->tables.len; i++)
        table_free(q->tables.data[i]);
    for (size_t i = 0; i < q->blocks.len; i++)
        table_free(q->blocks.data[i]);
    base_vec_free(&q->tables);
    base_vec_free(&q->blocks);
    free(q->l1);
    free(q->l2);
    free(q->l1_dirty);
    free(q->rt);
    free(q->rb);
    free(q->owner);
    base_vec_free(&q->spare);
    base_vec_free(&q->dropped);
    base_vec_free(&q->waiting);
    base_vec_free(&q->later);
}
