/* disk_qcow2_bitmap.c: persistent dirty bitmaps, read. SPDX-License-Identifier: Apache-2.0
 *
 * A bitmap has a bit for each piece (granularity) of the disk that was written since it was
 * cleared. The header's extension names a directory; each entry of it a table of clusters, where
 * an entry without a cluster stands for one full of zeros or of ones.
 *
 * Bitmaps are valid while the autoclear bit says so: whoever writes without keeping them takes it
 * away. They are listed and read here; changing them is left to QEMU.
 */
#include "disk/disk_qcow2.h"

enum { EXTENSION = 24, ENTRY = 24, TYPE_DIRTY = 1, IN_USE = 1, AUTO = 2, ALL_ONES = 1 };
/* QEMU's limits: stop directories and bitmaps that fill all memory, and shifts out of range. */
enum { MAX_BITMAPS = 65535, MAX_DIRECTORY = 64 << 20, MAX_BYTES = 512 << 20 };
enum { MIN_GRANULARITY = 9, MAX_GRANULARITY = 31 };

struct bitmap {
    uint64_t table;
    uint32_t entries, flags;
    unsigned bits; /* granularity */
    char name[1024];
    uint8_t *data; /* NULL: not loaded */
    uint64_t count;
};

typedef int bitmap_fn(struct q2 *q, struct bitmap *b, void *context);

static int parse_entry(struct q2 *q, const uint8_t *e, uint64_t left, struct bitmap *b,
                       uint64_t *len)
{
    uint64_t name = left >= ENTRY ? disk_be16(e + 18) : 0, extra = left >= ENTRY ?
                    disk_be32(e + 20) : 0;

    *len = BASE_ALIGN_UP(ENTRY + name + extra, UINT64_C(8));
    if (left < ENTRY || ENTRY + name + extra > left || !name || name >= sizeof b->name)
        return -EINVAL;
    *b = (struct bitmap){.table = disk_be64(e), .entries = disk_be32(e + 8),
                         .flags = disk_be32(e + 12), .bits = e[17]};
    memcpy(b->name, e + ENTRY + extra, name);
    if (e[16] != TYPE_DIRTY || b->bits < MIN_GRANULARITY || b->bits > MAX_GRANULARITY)
        return -EINVAL;
    b->count = (q->h.size >> b->bits) + ((q->h.size & ((UINT64_C(1) << b->bits) - 1)) != 0);
    /* the table has exactly what the size of the disk needs: no index leaves it */
    if (b->count > MAX_BYTES * UINT64_C(8) || b->table & (q->cluster_size - 1) ||
        b->entries != (b->count + q->cluster_size * 8 - 1) / (q->cluster_size * 8))
        return -EINVAL;
    return 0;
}

/* Calls fn for each bitmap until it returns something else than 0. */
static int each_bitmap(struct q2 *q, bitmap_fn *fn, void *context)
{
    struct q2_extension *x = q2_ext_find(q, Q2_EXT_BITMAPS);
    uint64_t size, at = 0, len;
    uint8_t *dir;
    int r;

    if (!x || x->len < EXTENSION || !(q->h.autoclear & Q2_BITMAPS))
        return 0;
    size = disk_be64(x->data + 8);
    if (disk_be32(x->data) > MAX_BITMAPS || size > MAX_DIRECTORY)
        return -EINVAL;
    dir = base_zalloc(size + ENTRY);
    r = disk_file_read(q->file, disk_be64(x->data + 16), dir, size);
    for (uint32_t i = 0; i < disk_be32(x->data) && !r; i++, at += len) {
        struct bitmap b;

        r = at > size ? -EINVAL : parse_entry(q, dir + at, size - at, &b, &len);
        r = r ? r : fn(q, &b, context);
        if (!r || r == 1)
            free(b.data);
    }
    free(dir);
    return r;
}

static int load(struct q2 *q, struct bitmap *b)
{
    uint64_t bytes = (uint64_t)b->entries << q->cluster_bits;
    uint8_t *table = base_zalloc(b->entries * 8ull + 8);
    int r = disk_file_read(q->file, b->table, table, b->entries * 8ull);

    b->data = base_zalloc(bytes + 8);
    for (uint32_t i = 0; i < b->entries && !r; i++) {
        uint64_t entry = disk_be64(table + i * 8ull), off = entry & Q2_OFFSET_MASK;
        uint8_t *to = b->data + ((uint64_t)i << q->cluster_bits);

        if (off & (q->cluster_size - 1))
            r = -EINVAL;
        else if (off)
            r = disk_file_read(q->file, off, to, q->cluster_size);
        else if (entry & ALL_ONES)
            memset(to, 0xff, q->cluster_size);
    }
    free(table);
    if (r < 0) {
        free(b->data);
        b->data = NULL;
    }
    return r;
}

static bool bit(const struct bitmap *b, uint64_t i)
{
    return b->data[i / 8] >> i % 8 & 1;
}

/* Bytes of the disk from bit i to bit end. */
static uint64_t span(struct q2 *q, const struct bitmap *b, uint64_t i, uint64_t end)
{
    uint64_t to = end << b->bits;

    return (to < q->h.size ? to : q->h.size) - (i << b->bits);
}

/* ---- the calls ------------------------------------------------------- */

struct listing {
    BASE_VEC(struct disk_bitmap) list;
};

static int list_one(struct q2 *q, struct bitmap *b, void *context)
{
    struct listing *l = context;
    struct disk_bitmap one = {.granularity = UINT32_C(1) << b->bits, .enabled = b->flags & AUTO,
                              .in_use = b->flags & IN_USE, .persistent = true};
    int r = one.in_use ? 0 : load(q, b);

    memcpy(one.name, b->name, sizeof one.name);
    for (uint64_t i = 0; b->data && i < b->count; i++)
        if (bit(b, i))
            one.dirty += span(q, b, i, i + 1);
    base_vec_push(&l->list, one);
    return r;
}

int q2_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n)
{
    struct listing l = {0};
    int r = each_bitmap(d->state, list_one, &l);

    *list = l.list.data;
    *n = (unsigned)l.list.len;
    return r;
}

struct search {
    const char *name;
    uint64_t off, start, len;
    bool in_use;
};

/* 1: this was it. */
static int next_in(struct q2 *q, struct bitmap *b, void *context)
{
    struct search *s = context;
    uint64_t i = s->off >> b->bits, end;
    int r;

    if (strcmp(b->name, s->name))
        return 0;
    s->in_use = b->flags & IN_USE;
    r = s->in_use ? 0 : load(q, b);
    if (r < 0 || s->in_use)
        return r ? r : 1;
    if (s->off >= q->h.size) /* within the last piece, but behind the end */
        return 1;
    while (i < b->count && !bit(b, i))
        i++;
    for (end = i; end < b->count && bit(b, end);)
        end++;
    if (i < b->count) {
        s->start = i << b->bits;
        s->len = span(q, b, i, end);
    }
    return 1;
}

int q2_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start, uint64_t *len,
                   struct base_text *error)
{
    struct search s = {.name = name, .off = off};
    int r = each_bitmap(d->state, next_in, &s);

    if (r < 0)
        return disk_error(error, r, d->path, "its bitmaps cannot be read: %s", strerror(-r));
    if (!r)
        return disk_error(error, -ENOENT, d->path, "there is no bitmap %.200s", name);
    if (s.in_use)
        return disk_error(error, -EUCLEAN, d->path,
                          "bitmap %.200s was not closed and says nothing: remove it (qemu-img "
                          "bitmap --remove) and copy everything once", name);
    *start = s.start;
    *len = s.len;
    return 0;
}
