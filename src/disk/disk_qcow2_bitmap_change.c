/* disk_qcow2_bitmap_change.c: dirty bitmaps: add, remove, clear, enable, merge.
 * SPDX-License-Identifier: Apache-2.0
 *
 * All behind the closed gate, so that nobody records meanwhile. disk_qcow2_bitmap_store.c says what
 * a change is in the file, and why it is safe at any point of it. What changes only bits or flags
 * marks the bitmap first, and is stored when the image is closed.
 */
#include "disk/disk_qcow2.h"

static int begin(struct q2 *q)
{
    int r = q2_begin_change(q);

    q2_close_gate(q);
    return r ? r : q2_commit_all(q);
}

static int end(struct q2 *q, int r, const char *name, const char *what, struct base_text *error)
{
    if (!r)
        r = q2_commit_all(q);
    q2_open_gate(q);
    if (r < 0 && (!error || !error->len))
        disk_error(error, r, q->d->path, "bitmap %.200s cannot be %s: %s", name, what,
                   strerror(-r));
    return r;
}

/* ---- which there are -------------------------------------------------- */

static int may_add(struct q2 *q, const char *name, uint32_t grain, struct base_text *error)
{
    size_t len = strlen(name);
    uint64_t entries;

    if (q->h.version < 3)
        return disk_error(error, -ENOTSUP, q->d->path,
                          "qcow2 version 2 has no bitmaps: convert it to version 3");
    if (q->bitmaps_result < 0)
        return disk_error(error, q->bitmaps_result, q->d->path, "its bitmaps cannot be read: %s",
                          strerror(-q->bitmaps_result));
    if (!len || len > Q2_MAX_BITMAP_NAME)
        return disk_error(error, -EINVAL, q->d->path, "a bitmap's name has 1 to %d bytes",
                          Q2_MAX_BITMAP_NAME);
    if (grain & (grain - 1) || grain < 1u << Q2_MIN_GRANULARITY ||
        grain > 1u << Q2_MAX_GRANULARITY)
        return disk_error(error, -EINVAL, q->d->path,
                          "a granularity is a power of two from 512 to 2G");
    entries = q2_bitmap_entries(q, q2_bitmap_bits(q->h.size, (unsigned)__builtin_ctz(grain)));
    if (!entries || entries == UINT64_MAX)
        return disk_error(error, -EFBIG, q->d->path, entries ?
                          "the bitmap would take more than 512 MiB: choose a larger granularity" :
                          "a disk of no bytes has no bitmaps");
    if (q2_bitmap_find(&q->bitmaps, name))
        return disk_error(error, -EEXIST, q->d->path,
                          "there is a bitmap %.200s already: choose another name", name);
    if (q->bitmaps.len >= Q2_MAX_BITMAPS)
        return disk_error(error, -EFBIG, q->d->path, "%d bitmaps are the most", Q2_MAX_BITMAPS);
    return 0;
}

/* Empty, in memory and in the file; nothing names its table yet. */
static int make_bitmap(struct q2 *q, const char *name, unsigned bits, struct q2_bitmap **made)
{
    struct q2_bitmap *b = base_zalloc(sizeof *b);
    uint8_t *zeros;
    int r;

    b->name = base_strdup(name);
    b->extra = base_zalloc(1);
    b->flags = Q2_BITMAP_AUTO;
    b->bits = bits;
    b->count = q2_bitmap_bits(q->h.size, bits);
    b->entries = (uint32_t)q2_bitmap_entries(q, b->count);
    b->words = q2_bitmap_room((uint64_t)b->entries << q->cluster_bits);
    zeros = base_zalloc(b->entries * 8ull);
    r = q2_bitmap_new_place(q, b->entries * 8ull, &b->table);
    r = r ? r : q2_write_meta(q, b->table, zeros, b->entries * 8ull, Q2_OWN_BITMAPS, 0);
    free(zeros);
    *made = b;
    return r;
}

int q2_bitmap_add(struct disk *d, const char *name, uint32_t granularity, struct base_text *error)
{
    uint32_t grain = granularity ? granularity : Q2_DEFAULT_GRANULARITY;
    struct q2 *q = d->state;
    struct q2_bitmap *b;
    int r = may_add(q, name, grain, error);

    if (r < 0)
        return r;
    r = begin(q);
    if (!r) {
        r = make_bitmap(q, name, (unsigned)__builtin_ctz(grain), &b);
        base_vec_push(&q->bitmaps, b);
        r = r ? r : q2_bitmap_list_anew(q);
        if (r < 0) {
            q->bitmaps.len--;
            if (b->table)
                q2_bitmap_give_back(q, b->table, b->entries * 8ull);
            q2_bitmap_free(b);
        }
        q2_bitmap_state(q);
    }
    return end(q, r, name, "added", error);
}

/* Clusters that are surely its own: what a crash left may be wrong about the rest. */
static void drop_clusters(struct q2 *q, struct q2_bitmap *b)
{
    uint64_t *table;

    if (!q2_bitmap_table(q, b, &table))
        for (uint32_t i = 0; i < b->entries; i++) {
            uint64_t off = table[i] & Q2_OFFSET_MASK;

            if (off && q2_owner_of(q, off, NULL) == Q2_OWN_BITMAPS)
                q2_bitmap_give_back(q, off, q->cluster_size);
        }
    free(table);
    if (q2_owner_of(q, b->table, NULL) == Q2_OWN_BITMAPS)
        q2_bitmap_give_back(q, b->table, b->entries * 8ull);
}

int q2_bitmap_remove(struct disk *d, const char *name, struct base_text *error)
{
    struct q2 *q = d->state;
    struct q2_bitmap *b;
    size_t i = 0, rest;
    int r = q2_bitmap_named(q, name, &b, error);

    if (r < 0)
        return r;
    r = begin(q);
    while (q->bitmaps.data[i] != b)
        i++;
    rest = (q->bitmaps.len - i - 1) * sizeof b;
    if (!r) {
        memmove(&q->bitmaps.data[i], &q->bitmaps.data[i + 1], rest);
        q->bitmaps.len--;
        r = q2_bitmap_list_anew(q);
        if (r < 0) { /* where it was: the order is that of the file */
            memmove(&q->bitmaps.data[i + 1], &q->bitmaps.data[i], rest);
            q->bitmaps.data[i] = b;
            q->bitmaps.len++;
        } else {
            drop_clusters(q, b);
            q2_bitmap_free(b);
        }
        q2_bitmap_state(q);
    }
    return end(q, r, name, "removed", error);
}

/* ---- what they say --------------------------------------------------- */

static int change_bitmap(struct disk *d, const char *name, void (*change)(struct q2_bitmap *b),
                         const char *what, struct base_text *error)
{
    struct q2 *q = d->state;
    struct q2_bitmap *b;
    int r = q2_bitmap_usable(q, name, &b, error);

    if (r < 0)
        return r;
    r = begin(q);
    r = r ? r : q2_bitmap_mark_one(q, b);
    if (!r)
        change(b);
    q2_bitmap_state(q);
    return end(q, r, name, what, error);
}

static void clear_bits(struct q2_bitmap *b)
{
    memset((void *)b->words, 0, (b->count + 63) / 64 * 8);
}

int q2_bitmap_clear(struct disk *d, const char *name, struct base_text *error)
{
    return change_bitmap(d, name, clear_bits, "cleared", error);
}

/* Marked first: were the new flag to arrive although writing it failed, the file would have a
 * bitmap that records while we do not. */
static void turn_on(struct q2_bitmap *b)
{
    b->flags |= Q2_BITMAP_AUTO;
}

static void turn_off(struct q2_bitmap *b)
{
    b->flags &= ~(uint32_t)Q2_BITMAP_AUTO;
}

int q2_bitmap_enable(struct disk *d, const char *name, bool on, struct base_text *error)
{
    struct q2_bitmap *b;
    int r = q2_bitmap_usable(d->state, name, &b, error);

    if (r < 0 || !!(b->flags & Q2_BITMAP_AUTO) == on)
        return r;
    return change_bitmap(d, name, on ? turn_on : turn_off, on ? "enabled" : "disabled", error);
}

/* Bits are only set, so others may go on recording. */
static int set_run(struct q2 *q, const char *into, uint64_t start, uint64_t len)
{
    _Atomic unsigned *users = q2_enter(q);
    struct q2_bitmap *b = q2_bitmap_find(&q->bitmaps, into);
    bool ok = b && b->marked;

    if (ok)
        q2_bitmap_set(b, start, len);
    q2_leave(users);
    return ok ? 0 : -ENOENT;
}

int q2_bitmap_merge(struct disk *d, const char *into, struct disk *src, const char *from,
                    struct base_text *error)
{
    struct q2 *q = d->state;
    struct q2_bitmap *b;
    uint64_t start, len = 1;
    int r = q2_bitmap_usable(q, into, &b, error);

    if (r < 0)
        return r;
    if (disk_size(src) != disk_size(d))
        return disk_error(error, -EINVAL, d->path, "%s has another size: bitmaps of the two cannot "
                          "be merged", src->path);
    r = begin(q);
    r = end(q, r ? r : q2_bitmap_mark_one(q, b), into, "changed", error);
    for (uint64_t off = 0; !r && len; off = start + len) {
        r = disk_bitmap_next(src, from, off, &start, &len, error);
        r = r ? r : set_run(q, into, start, len);
    }
    return r;
}

int q2_bitmaps_may_resize(struct q2 *q, uint64_t size, struct base_text *error)
{
    if (q->bitmaps_result < 0)
        return disk_error(error, q->bitmaps_result, q->d->path, "its bitmaps cannot be read");
    for (size_t i = 0; i < q->bitmaps.len; i++) {
        struct q2_bitmap *b = q->bitmaps.data[i];
        uint64_t n = q2_bitmap_entries(q, q2_bitmap_bits(size, b->bits));

        if (b->unusable)
            return disk_error(error, -EUCLEAN, q->d->path,
                              "bitmap %.200s was not closed: remove it first (isomer disk bitmap "
                              "remove)", b->name);
        if (!n || n == UINT64_MAX)
            return disk_error(error, -EFBIG, q->d->path,
                              "bitmap %.200s cannot have that size: remove it first (isomer disk "
                              "bitmap remove)", b->name);
    }
    return 0;
}
