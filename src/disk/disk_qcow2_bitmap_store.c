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

int q2_bitmap_new_place(struct q2 *q, uint64_t len, uint64_t *off)
{
    int r;

    *off = q2_alloc(q, (len + q->cluster_size - 1) >> q->cluster_bits, NULL, &r);
    if (!*off)
        return r;
    if (!q2_own(q, *off, len, Q2_OWN_BITMAPS, 0))
        return q2_corrupt(q, "free cluster at 0x%llx is metadata", (unsigned long long)*off);
    return 0;
}

void q2_bitmap_give_back(struct q2 *q, uint64_t off, uint64_t len)
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
int q2_bitmap_list_anew(struct q2 *q)
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
        r = q2_bitmap_new_place(q, t.len, &off);
    r = r ? r : q2_commit(q, true); /* its refcount before its name */
    if (!r && t.len)
        r = q2_write_meta(q, off, t.data, t.len, Q2_OWN_BITMAPS, 0);
    r = r ? r : sync_or_fail(q);
    r = r ? r : name_directory(q, off, t.len, (uint32_t)q->bitmaps.len);
    if (!r && old_size)
        q2_bitmap_give_back(q, old, old_size);
    if (r < 0 && off)
        q2_bitmap_give_back(q, off, t.len);
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
int q2_bitmap_mark_one(struct q2 *q, struct q2_bitmap *b)
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
        r = q2_bitmap_new_place(q, q->cluster_size, &s->table[i]);
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
        r = q2_bitmap_new_place(q, s->entries * 8ull, &s->place);
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
            q2_bitmap_give_back(q, off, q->cluster_size);
    }
    if (s->old_place != s->place)
        q2_bitmap_give_back(q, s->old_place, s->old_entries * 8ull);
}

/* Nothing names what it got yet. */
static void take_back(struct q2 *q, struct stored *s)
{
    for (size_t i = 0; i < s->fresh.len; i++)
        q2_bitmap_give_back(q, s->fresh.data[i], q->cluster_size);
    if (s->place != s->old_place)
        q2_bitmap_give_back(q, s->place, s->entries * 8ull);
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
    r = moved ? q2_bitmap_list_anew(q) : directory_in_place(q);
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
