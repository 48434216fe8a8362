/* disk_qcow2_bitmap_store.c: dirty bitmaps into the file. SPDX-License-Identifier: Apache-2.0
 *
 * Three ways, each safe at any point of it:
 *
 *   mark     flags of the directory, in place | sync. Only bits of flags differ, so whatever part
 *            of it arrives, each bitmap is marked or was not changed.
 *   store    bits to their clusters, refcounts of new ones | tables | flags of the directory,
 *            in place, or a new directory | old clusters go. Clusters and tables are written where
 *            they were: the marks on the medium say that nothing is to be read there.
 *   another list (add, remove, other sizes)
 *            new directory | header that names it | the old directory goes
 *
 * "|" is a sync. A power loss leaves leaks, or bitmaps that are in use, and never one that looks
 * sound and is not. A bitmap is stored when the image is closed; whoever fails to leaves it marked.
 */
#include "disk/disk_qcow2.h"

enum { EXTENSION = 24 };

/* ---- the directory --------------------------------------------------- */

static int sync_or_fail(struct q2 *q)
{
    int r = disk_file_sync(q->file);

    if (r < 0)
        disk_fail(q->d, r, "flushing failed (%s), what was written lately may be lost",
                  strerror(-r));
    return r;
}

static int new_place(struct q2 *q, uint64_t len, uint64_t *off)
{
    int r;

    *off = q2_alloc(q, (len + q->cluster_size - 1) >> q->cluster_bits, NULL, &r);
    if (!*off)
        return r;
    if (!q2_own(q, *off, len, Q2_OWN_BITMAPS, 0))
        return q2_corrupt(q, "free cluster at 0x%llx is metadata", (unsigned long long)*off);
    return 0;
}

static void give_back(struct q2 *q, uint64_t off, uint64_t len)
{
    q2_disown(q, off, len);
    q2_free(q, off, len, false);
}

/* Same entries, other flags. */
static int directory_in_place(struct q2 *q)
{
    struct base_text t = {0};
    uint64_t off, size;
    uint32_t n;
    int r = -EINVAL;

    for (size_t i = 0; i < q->bitmaps.len; i++)
        q2_bitmap_append(&t, q->bitmaps.data[i]);
    if (q2_bitmap_place(q, &off, &size, &n) && size == t.len && n == q->bitmaps.len)
        r = q2_write_meta(q, off, t.data, t.len, Q2_OWN_BITMAPS, 0);
    base_text_free(&t);
    return r ? r : sync_or_fail(q);
}

/* The header names that directory; n 0: none. Nobody else writes the header meanwhile. */
static int name_directory(struct q2 *q, uint64_t off, uint64_t size, uint32_t n)
{
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_BITMAPS);
    uint64_t autoclear = q->h.autoclear;
    uint8_t x[EXTENSION] = {0}, old[EXTENSION] = {0};
    bool had = e && e->len == EXTENSION;
    int r;

    if (had)
        memcpy(old, e->data, EXTENSION);
    disk_put_be32(x, n);
    disk_put_be64(x + 8, size);
    disk_put_be64(x + 16, off);
    pthread_mutex_lock(&q->commit_lock);
    q2_ext_set(q, Q2_EXT_BITMAPS, n ? x : NULL, EXTENSION);
    q->h.autoclear = n ? autoclear | Q2_BITMAPS : autoclear & ~(uint64_t)Q2_BITMAPS;
    r = q2_header_write(q);
    if (r < 0) {
        q2_ext_set(q, Q2_EXT_BITMAPS, had ? old : NULL, EXTENSION);
        q->h.autoclear = autoclear;
        /* which of the two the file names must be known */
        if (q2_header_write(q) < 0)
            disk_fail(q->d, r, "its header cannot be written (%s)", strerror(-r));
    }
    pthread_mutex_unlock(&q->commit_lock);
    return r;
}

/* Writes the list to a new place and names it. */
static int directory_anew(struct q2 *q)
{
    uint64_t old = 0, old_size = 0, off = 0;
    struct base_text t = {0};
    uint32_t n;
    int r = 0;

    if (!q2_bitmap_place(q, &old, &old_size, &n))
        old_size = 0;
    for (size_t i = 0; i < q->bitmaps.len; i++)
        q2_bitmap_append(&t, q->bitmaps.data[i]);
    if (t.len > Q2_MAX_BITMAP_DIRECTORY)
        r = -EFBIG;
    if (!r && t.len)
        r = new_place(q, t.len, &off);
    r = r ? r : q2_commit(q, true); /* its refcount before its name */
    if (!r && t.len)
        r = q2_write_meta(q, off, t.data, t.len, Q2_OWN_BITMAPS, 0);
    r = r ? r : sync_or_fail(q);
    r = r ? r : name_directory(q, off, t.len, (uint32_t)q->bitmaps.len);
    if (!r && old_size)
        give_back(q, old, old_size);
    if (r < 0 && off)
        give_back(q, off, t.len);
    base_text_free(&t);
    return r;
}

/* ---- marks ----------------------------------------------------------- */

/* Does a change of the disk have to be told to the file first? */
static bool unmarked(const struct q2_bitmap *b)
{
    return b->flags & Q2_BITMAP_AUTO && !(b->flags & Q2_BITMAP_IN_USE) && !b->marked;
}

void q2_bitmap_state(struct q2 *q)
{
    unsigned state = Q2_RECORD_NONE;

    for (size_t i = 0; i < q->bitmaps.len; i++) {
        struct q2_bitmap *b = q->bitmaps.data[i];

        if (unmarked(b))
            state = Q2_RECORD_MARK;
        else if (b->marked && b->flags & Q2_BITMAP_AUTO && state == Q2_RECORD_NONE)
            state = Q2_RECORD_ON;
    }
    q->recording = state;
}

/* Marks those that are wanted, on the medium, or none. */
static int mark_wanted(struct q2 *q)
{
    bool any = false;
    int r = 0;

    for (size_t i = 0; i < q->bitmaps.len; i++) {
        struct q2_bitmap *b = q->bitmaps.data[i];

        b->wanted = b->wanted && !b->marked;
        any |= b->wanted;
        /* one that we do not understand is not kept: the file says so, too */
        if (b->wanted && b->unusable)
            b->flags |= Q2_BITMAP_IN_USE;
        else if (b->wanted)
            b->marked = true;
    }
    if (any)
        r = directory_in_place(q);
    for (size_t i = 0; i < q->bitmaps.len; i++) {
        if (r < 0 && q->bitmaps.data[i]->wanted)
            q->bitmaps.data[i]->marked = false;
        q->bitmaps.data[i]->wanted = false;
    }
    if (!r)
        q2_bitmap_state(q);
    return r;
}

int q2_bitmap_mark(struct q2 *q)
{
    int r = 0;

    pthread_mutex_lock(&q->bitmap_lock);
    if (q->recording == Q2_RECORD_MARK) {
        for (size_t i = 0; i < q->bitmaps.len; i++)
            q->bitmaps.data[i]->wanted = unmarked(q->bitmaps.data[i]);
        r = mark_wanted(q);
    }
    pthread_mutex_unlock(&q->bitmap_lock);
    return r;
}

/* Behind the gate: b, whatever its kind, is about to be changed. */
static int mark_for_change(struct q2 *q, struct q2_bitmap *b)
{
    int r = q2_bitmap_load(q, b);

    b->wanted = !r;
    return r ? r : mark_wanted(q);
}

int q2_bitmaps_mark_all(struct q2 *q)
{
    int r = 0;

    for (size_t i = 0; i < q->bitmaps.len && !r; i++)
        r = q2_bitmap_load(q, q->bitmaps.data[i]);
    for (size_t i = 0; i < q->bitmaps.len; i++)
        q->bitmaps.data[i]->wanted = !r;
    return r ? r : mark_wanted(q);
}

/* ---- storing --------------------------------------------------------- */

struct stored { /* a bitmap on its way to the file */
    struct q2_bitmap *b;
    uint64_t *table, place;    /* as it will be */
    uint64_t *old, old_place;  /* as it was */
    uint32_t entries, old_entries;
    BASE_VEC(uint64_t) fresh;  /* clusters that it got */
};

static bool all_are(const uint8_t *p, uint64_t n, uint8_t v)
{
    return p[0] == v && !memcmp(p, p + 1, n - 1);
}

/* Ours alone, so that it may be written over. */
static bool used_once(struct q2 *q, uint64_t off, uint64_t len)
{
    uint64_t count = 0, last = (off + len - 1) >> q->cluster_bits;
    bool ok = true;

    pthread_mutex_lock(&q->alloc_lock);
    for (uint64_t c = off >> q->cluster_bits; ok && c <= last; c++)
        ok = !q2_ref_get(q, c, &count) && count == 1;
    pthread_mutex_unlock(&q->alloc_lock);
    return ok;
}

/* The bits of one entry go to a cluster if they must. */
static int store_piece(struct q2 *q, struct stored *s, uint32_t i)
{
    const uint8_t *from = (uint8_t *)s->b->words + ((uint64_t)i << q->cluster_bits);
    uint64_t old = s->old && i < s->old_entries ? s->old[i] & Q2_OFFSET_MASK : 0;
    int r = 0;

    s->table[i] = 0;
    if (all_are(from, q->cluster_size, 0))
        return 0;
    s->table[i] = 1; /* all ones */
    if (all_are(from, q->cluster_size, 0xff))
        return 0;
    s->table[i] = old;
    if (!old || !used_once(q, old, q->cluster_size)) {
        r = new_place(q, q->cluster_size, &s->table[i]);
        if (!r)
            base_vec_push(&s->fresh, s->table[i]);
    }
    return r ? r : q2_write_meta(q, s->table[i], from, q->cluster_size, Q2_OWN_BITMAPS, 0);
}

static int store_bits(struct q2 *q, struct stored *s)
{
    struct q2_bitmap *b = s->b;
    int r = q2_bitmap_table(q, b, &s->old);

    s->old_place = s->place = b->table;
    s->old_entries = b->entries;
    s->entries = (uint32_t)q2_bitmap_entries(q, b->count);
    s->table = base_zalloc((s->entries + 1ull) * 8);
    for (uint32_t i = 0; i < s->entries && !r; i++)
        r = store_piece(q, s, i);
    if (!r && (s->entries != b->entries || !used_once(q, b->table, b->entries * 8ull)))
        r = new_place(q, s->entries * 8ull, &s->place);
    return r;
}

static int store_table(struct q2 *q, const struct stored *s)
{
    uint64_t *be = base_zalloc((s->entries + 1ull) * 8);
    int r;

    for (uint32_t i = 0; i < s->entries; i++)
        be[i] = __builtin_bswap64(s->table[i]);
    r = q2_write_meta(q, s->place, be, s->entries * 8ull, Q2_OWN_BITMAPS, 0);
    free(be);
    return r;
}

/* What the old table named and the new one does not. */
static void drop_old(struct q2 *q, struct stored *s)
{
    for (uint32_t i = 0; i < s->old_entries; i++) {
        uint64_t off = s->old[i] & Q2_OFFSET_MASK;

        if (off && (i >= s->entries || s->table[i] != off))
            give_back(q, off, q->cluster_size);
    }
    if (s->old_place != s->place)
        give_back(q, s->old_place, s->old_entries * 8ull);
}

/* Nothing names what it got yet. */
static void take_back(struct q2 *q, struct stored *s)
{
    for (size_t i = 0; i < s->fresh.len; i++)
        give_back(q, s->fresh.data[i], q->cluster_size);
    if (s->place != s->old_place)
        give_back(q, s->place, s->entries * 8ull);
}

/* How the directory names it: where it is now and sound, or where it was and marked. */
static void name_stored(struct stored *s, bool now)
{
    s->b->table = now ? s->place : s->old_place;
    s->b->entries = now ? s->entries : s->old_entries;
    s->b->marked = !now;
}

/* Tables, then the directory. From the first table on what was taken stays taken if it fails: a
 * table in the file may name it. */
static int store_names(struct q2 *q, struct stored *list, size_t n)
{
    bool moved = false;
    int r = 0;

    for (size_t i = 0; i < n && !r; i++)
        r = store_table(q, &list[i]);
    r = r ? r : sync_or_fail(q);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        moved |= list[i].place != list[i].old_place;
        name_stored(&list[i], true);
    }
    r = moved ? directory_anew(q) : directory_in_place(q);
    for (size_t i = 0; i < n; i++)
        if (r < 0)
            name_stored(&list[i], false);
        else
            drop_old(q, &list[i]);
    return r;
}

int q2_bitmaps_store(struct q2 *q)
{
    struct stored *list = base_zalloc((q->bitmaps.len + 1) * sizeof *list);
    size_t n = 0;
    int r = 0;

    for (size_t i = 0; i < q->bitmaps.len && !r; i++)
        if (q->bitmaps.data[i]->marked) {
            list[n].b = q->bitmaps.data[i];
            r = n ? 0 : q2_begin_change(q);
            r = r ? r : store_bits(q, &list[n]);
            n++;
        }
    if (n && !r)
        r = q2_commit(q, true); /* refcounts before tables that name the clusters */
    if (r < 0)
        for (size_t i = 0; i < n; i++)
            take_back(q, &list[i]);
    else if (n)
        r = store_names(q, list, n);
    for (size_t i = 0; i < n; i++) {
        free(list[i].table);
        free(list[i].old);
        base_vec_free(&list[i].fresh);
    }
    free(list);
    q2_bitmap_state(q);
    return r;
}

/* ---- the calls ------------------------------------------------------- */

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
    r = new_place(q, b->entries * 8ull, &b->table);
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
        r = r ? r : directory_anew(q);
        if (r < 0) {
            q->bitmaps.len--;
            if (b->table)
                give_back(q, b->table, b->entries * 8ull);
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
                give_back(q, off, q->cluster_size);
        }
    free(table);
    if (q2_owner_of(q, b->table, NULL) == Q2_OWN_BITMAPS)
        give_back(q, b->table, b->entries * 8ull);
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
        r = directory_anew(q);
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

int q2_bitmap_clear(struct disk *d, const char *name, struct base_text *error)
{
    struct q2 *q = d->state;
    struct q2_bitmap *b;
    int r = q2_bitmap_usable(q, name, &b, error);

    if (r < 0)
        return r;
    r = begin(q);
    r = r ? r : mark_for_change(q, b);
    if (!r)
        memset((void *)b->words, 0, (b->count + 63) / 64 * 8);
    return end(q, r, name, "cleared", error);
}

/* Marked first: were the new flag to arrive although writing it failed, the file would have a
 * bitmap that records while we do not. */
int q2_bitmap_enable(struct disk *d, const char *name, bool on, struct base_text *error)
{
    struct q2 *q = d->state;
    struct q2_bitmap *b;
    int r = q2_bitmap_usable(q, name, &b, error);

    if (r < 0)
        return r;
    r = begin(q);
    if (!r && !!(b->flags & Q2_BITMAP_AUTO) != on)
        r = mark_for_change(q, b);
    if (!r)
        b->flags = (b->flags & ~(uint32_t)Q2_BITMAP_AUTO) | (on ? Q2_BITMAP_AUTO : 0);
    q2_bitmap_state(q);
    return end(q, r, name, on ? "enabled" : "disabled", error);
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
    r = end(q, r ? r : mark_for_change(q, b), into, "changed", error);
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
