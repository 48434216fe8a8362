/* disk_qcow2_bitmap.c: persistent dirty bitmaps in memory. SPDX-License-Identifier: Apache-2.0
 *
 * A bitmap has a bit for each piece (granularity) of the disk that was written since it was
 * cleared. The header's extension names a directory; each entry of it names a table of clusters,
 * where an entry without a cluster stands for one full of zeros or of ones ("Bitmaps" in the
 * specification).
 *
 * What may be believed
 *  - The whole extension while the autoclear bit says so: whoever writes and does not know bitmaps
 *    takes that bit away. Without it a writer forgets the extension; its clusters are leaks.
 *  - A bitmap without IN_USE. The flag is on the medium before anything that the bitmap should
 *    know of is changed (q2_bitmap_record), and goes when the bitmap is stored at close. So after a
 *    crash it is there, and the bitmap says nothing; all that can be done with it is to remove it.
 *
 * A writer has all bitmaps that record (AUTO) in memory. Each request sets its bits before it
 * changes anything, within q2_enter(); what changes the list of bitmaps does so behind the gate.
 * The others are read when someone asks, under bitmap_lock. disk_qcow2_bitmap_store.c writes them.
 */
#include "disk/disk_qcow2.h"

enum { EXTENSION = 24, ENTRY = 24, TYPE_DIRTY = 1, ALL_ONES = 1 };
enum { KNOWN_FLAGS = Q2_BITMAP_IN_USE | Q2_BITMAP_AUTO | Q2_BITMAP_EXTRA_OK };
#define TABLE_RESERVED UINT64_C(0xff000000000001fe)

/* ---- the directory --------------------------------------------------- */

uint64_t q2_bitmap_bits(uint64_t size, unsigned bits)
{
    return (size >> bits) + ((size & ((UINT64_C(1) << bits) - 1)) != 0);
}

/* Entries of its table; UINT64_MAX: more than a bitmap may have. */
uint64_t q2_bitmap_entries(const struct q2 *q, uint64_t count)
{
    uint64_t n = (count + q->cluster_size * 8 - 1) / (q->cluster_size * 8);

    return count > Q2_MAX_BITMAP_BYTES * UINT64_C(8) || n << q->cluster_bits > Q2_MAX_BITMAP_BYTES
               ? UINT64_MAX : n;
}

void q2_bitmap_free(struct q2_bitmap *b)
{
    free(b->name);
    free(b->extra);
    free((void *)b->words);
    free(b);
}

void q2_bitmaps_free(q2_bitmaps *list)
{
    for (size_t i = 0; i < list->len; i++)
        q2_bitmap_free(list->data[i]);
    base_vec_free(list);
}

struct q2_bitmap *q2_bitmap_find(const q2_bitmaps *list, const char *name)
{
    for (size_t i = 0; i < list->len; i++)
        if (!strcmp(list->data[i]->name, name))
            return list->data[i];
    return NULL;
}

static bool entry_ok(struct q2 *q, const struct q2_bitmap *b, uint8_t type)
{
    uint64_t need = q2_bitmap_entries(q, b->count);

    if (type != TYPE_DIRTY || b->flags & ~(uint32_t)KNOWN_FLAGS || !b->table || !b->entries ||
        b->table & (q->cluster_size - 1) || b->table > DISK_MAX_SIZE ||
        (uint64_t)b->entries << q->cluster_bits > Q2_MAX_BITMAP_BYTES)
        return false;
    /* one that was in use when the disk was resized may have the old size: nobody reads it */
    return b->flags & Q2_BITMAP_IN_USE || b->entries == need;
}

/* Takes `left` bytes at e; *len: of the entry. */
static int parse_entry(struct q2 *q, const uint8_t *e, uint64_t left, q2_bitmaps *list,
                       uint64_t *len)
{
    struct q2_bitmap *b;
    uint64_t name, extra;

    if (left < ENTRY)
        return -EINVAL;
    name = disk_be16(e + 18);
    extra = disk_be32(e + 20);
    *len = BASE_ALIGN_UP(ENTRY + name + extra, UINT64_C(8));
    if (*len > left || !name || name > Q2_MAX_BITMAP_NAME || memchr(e + ENTRY + extra, 0, name) ||
        e[17] < Q2_MIN_GRANULARITY || e[17] > Q2_MAX_GRANULARITY)
        return -EINVAL;
    b = base_zalloc(sizeof *b);
    b->table = disk_be64(e);
    b->entries = disk_be32(e + 8);
    b->flags = disk_be32(e + 12);
    b->bits = e[17];
    b->count = q2_bitmap_bits(q->h.size, b->bits);
    b->name = base_zalloc(name + 1);
    memcpy(b->name, e + ENTRY + extra, name);
    b->extra_len = (uint32_t)extra;
    b->extra = base_zalloc(extra + 1);
    memcpy(b->extra, e + ENTRY, extra);
    b->unusable = b->flags & Q2_BITMAP_IN_USE || (extra && !(b->flags & Q2_BITMAP_EXTRA_OK));
    if (!entry_ok(q, b, e[16]) || q2_bitmap_find(list, b->name)) {
        q2_bitmap_free(b);
        return -EINVAL;
    }
    base_vec_push(list, b);
    return 0;
}

bool q2_bitmap_place(struct q2 *q, uint64_t *off, uint64_t *size, uint32_t *n)
{
    struct q2_extension *x = q2_ext_find(q, Q2_EXT_BITMAPS);

    if (!x || !(q->h.autoclear & Q2_BITMAPS))
        return false;
    *n = x->len >= EXTENSION ? disk_be32(x->data) : UINT32_MAX; /* too short: more than may be */
    *size = x->len >= EXTENSION ? disk_be64(x->data + 8) : 0;
    *off = x->len >= EXTENSION ? disk_be64(x->data + 16) : 0;
    return true;
}

int q2_bitmap_directory(struct q2 *q, q2_bitmaps *list)
{
    uint64_t off, size, at = 0, len;
    uint8_t *dir;
    uint32_t n;
    int r;

    *list = (q2_bitmaps){0};
    if (!q2_bitmap_place(q, &off, &size, &n))
        return 0;
    if (!n || n > Q2_MAX_BITMAPS || size > Q2_MAX_BITMAP_DIRECTORY || !off ||
        off & (q->cluster_size - 1) || off > DISK_MAX_SIZE)
        return -EINVAL;
    dir = base_alloc(size + 1);
    r = disk_file_read(q->file, off, dir, size);
    for (uint32_t i = 0; i < n && !r; i++, at += len)
        r = parse_entry(q, dir + at, size - at, list, &len);
    free(dir);
    if (!r && at != size)
        r = -EINVAL;
    if (r < 0)
        q2_bitmaps_free(list);
    return r;
}

void q2_bitmap_append(struct base_text *t, const struct q2_bitmap *b)
{
    static const uint8_t zeros[8];
    uint8_t e[ENTRY] = {0};
    uint32_t flags = b->flags | (b->marked ? Q2_BITMAP_IN_USE : 0);

    disk_put_be64(e, b->table);
    disk_put_be32(e + 8, b->entries);
    disk_put_be32(e + 12, flags);
    e[16] = TYPE_DIRTY;
    e[17] = (uint8_t)b->bits;
    disk_put_be16(e + 18, (uint16_t)strlen(b->name));
    disk_put_be32(e + 20, b->extra_len);
    base_text_append(t, e, sizeof e);
    base_text_append(t, b->extra, b->extra_len);
    base_text_append(t, b->name, strlen(b->name));
    base_text_append(t, zeros, (8 - t->len % 8) % 8);
}

/* ---- tables and bits ------------------------------------------------- */

int q2_bitmap_table(struct q2 *q, const struct q2_bitmap *b, uint64_t **table)
{
    uint64_t *t = base_zalloc((b->entries + 1ull) * 8);
    int r = disk_file_read(q->file, b->table, t, b->entries * 8ull);

    for (uint32_t i = 0; i < b->entries && !r; i++) {
        uint64_t off;

        t[i] = __builtin_bswap64(t[i]);
        off = t[i] & Q2_OFFSET_MASK;
        if (t[i] & TABLE_RESERVED || off & (q->cluster_size - 1) || (off && t[i] & ALL_ONES))
            r = -EINVAL;
    }
    if (r < 0) {
        free(t);
        t = NULL;
    }
    *table = t;
    return r;
}

/* No bits behind the end of the disk, so that counting and merging need not look. */
static void cut_words(struct q2_bitmap *b, uint64_t words)
{
    for (uint64_t i = b->count / 64; i < words; i++) {
        uint64_t keep = i == b->count / 64 ? (UINT64_C(1) << b->count % 64) - 1 : 0;

        b->words[i] &= keep;
    }
}

/* Room for `bytes`, whole words of the file. */
_Atomic uint64_t *q2_bitmap_room(uint64_t bytes)
{
    return base_zalloc(bytes + 8);
}

int q2_bitmap_load(struct q2 *q, struct q2_bitmap *b)
{
    uint64_t bytes = (uint64_t)b->entries << q->cluster_bits, *table;
    int r;

    if (b->words)
        return 0;
    r = q2_bitmap_table(q, b, &table);
    if (r < 0)
        return r;
    b->words = q2_bitmap_room(bytes);
    for (uint32_t i = 0; i < b->entries && !r; i++) {
        uint64_t off = table[i] & Q2_OFFSET_MASK;
        uint8_t *to = (uint8_t *)b->words + ((uint64_t)i << q->cluster_bits);

        if (off)
            r = disk_file_read(q->file, off, to, q->cluster_size);
        else if (table[i] & ALL_ONES)
            memset(to, 0xff, q->cluster_size);
    }
    free(table);
    if (r < 0) {
        free((void *)b->words);
        b->words = NULL;
    } else {
        cut_words(b, bytes / 8);
    }
    return r;
}

void q2_bitmap_resize(struct q2 *q, struct q2_bitmap *b, uint64_t size)
{
    uint64_t count = q2_bitmap_bits(size, b->bits), old = (b->count + 63) / 64;
    uint64_t bytes = q2_bitmap_entries(q, count) << q->cluster_bits;
    _Atomic uint64_t *words = q2_bitmap_room(bytes);

    memcpy((void *)words, (void *)b->words, (old < bytes / 8 ? old : bytes / 8) * 8);
    free((void *)b->words);
    b->words = words;
    b->count = count;
    cut_words(b, bytes / 8);
}

static void set_bits(struct q2_bitmap *b, uint64_t first, uint64_t last)
{
    for (uint64_t w = first / 64; w <= last / 64; w++) {
        uint64_t mask = ~UINT64_C(0);

        if (w == first / 64)
            mask &= ~UINT64_C(0) << first % 64;
        if (w == last / 64)
            mask &= ~UINT64_C(0) >> (63 - last % 64);
        /* most writes find their bit set */
        if ((atomic_load_explicit(&b->words[w], memory_order_relaxed) & mask) != mask)
            atomic_fetch_or_explicit(&b->words[w], mask, memory_order_relaxed);
    }
}

void q2_bitmap_set(struct q2_bitmap *b, uint64_t off, uint64_t len)
{
    if (len && off >> b->bits < b->count) {
        uint64_t last = (off + len - 1) >> b->bits;

        set_bits(b, off >> b->bits, last < b->count ? last : b->count - 1);
    }
}

/* The first bit from i on that is `set`, or count. */
static uint64_t next_bit(const struct q2_bitmap *b, uint64_t i, bool set)
{
    while (i < b->count) {
        uint64_t w = atomic_load_explicit(&b->words[i / 64], memory_order_relaxed);

        w = (set ? w : ~w) >> i % 64;
        if (w) {
            i += (unsigned)__builtin_ctzll(w);
            break;
        }
        i = (i / 64 + 1) * 64;
    }
    return i < b->count ? i : b->count;
}

/* ---- recording ------------------------------------------------------- */

int q2_bitmap_record(struct q2 *q, uint64_t off, uint64_t len)
{
    int r = q->recording == Q2_RECORD_MARK ? q2_bitmap_mark(q) : 0;

    for (size_t i = 0; i < q->bitmaps.len && !r; i++)
        if (q->bitmaps.data[i]->marked && q->bitmaps.data[i]->flags & Q2_BITMAP_AUTO)
            q2_bitmap_set(q->bitmaps.data[i], off, len);
    return r;
}

/* ---- open ------------------------------------------------------------ */

/* The clusters of a bitmap belong to it. An unusable one may be wrong about what it has. */
static int own_bitmap(struct q2 *q, struct q2_bitmap *b)
{
    uint64_t *table;
    int r = q2_bitmap_table(q, b, &table);
    bool ok = q2_own(q, b->table, b->entries * 8ull, Q2_OWN_BITMAPS, 0);

    for (uint32_t i = 0; i < b->entries && !r; i++)
        if (table[i] & Q2_OFFSET_MASK)
            ok = q2_own(q, table[i] & Q2_OFFSET_MASK, 1, Q2_OWN_BITMAPS, 0) && ok;
    free(table);
    return b->unusable ? 0 : r ? r : ok ? 0 : -EINVAL;
}

int q2_bitmaps_open(struct q2 *q)
{
    uint64_t off, size;
    uint32_t n;
    int r = q2_bitmap_directory(q, &q->bitmaps);

    q->bitmaps_result = r;
    if (r < 0 || q->d->read_only || q->d->o.no_repair || !q->bitmaps.len)
        return r;
    q2_bitmap_place(q, &off, &size, &n);
    r = q2_own(q, off, size, Q2_OWN_BITMAPS, 0) ? 0 : -EINVAL;
    for (size_t i = 0; i < q->bitmaps.len && !r; i++) {
        struct q2_bitmap *b = q->bitmaps.data[i];

        r = own_bitmap(q, b);
        if (!r && b->flags & Q2_BITMAP_AUTO && !b->unusable)
            r = q2_bitmap_load(q, b);
    }
    q2_bitmap_state(q);
    return q->bitmaps_result = r;
}

/* ---- asking ---------------------------------------------------------- */

/* Within q2_enter. */
static int load_to_look(struct q2 *q, struct q2_bitmap *b)
{
    int r;

    pthread_mutex_lock(&q->bitmap_lock);
    r = b->unusable ? 0 : q2_bitmap_load(q, b);
    pthread_mutex_unlock(&q->bitmap_lock);
    return r;
}

/* Bytes of the disk from bit i to bit end. */
static uint64_t span(struct q2 *q, const struct q2_bitmap *b, uint64_t i, uint64_t end)
{
    uint64_t to = end << b->bits;

    return (to < q->h.size ? to : q->h.size) - (i << b->bits);
}

static uint64_t dirty_bytes(struct q2 *q, const struct q2_bitmap *b)
{
    uint64_t sum = 0, end;

    for (uint64_t i = next_bit(b, 0, true); i < b->count; i = next_bit(b, end, true)) {
        end = next_bit(b, i, false);
        sum += span(q, b, i, end);
    }
    return sum;
}

int q2_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    int r = q->bitmaps_result;

    *list = base_zalloc((q->bitmaps.len + 1) * sizeof **list);
    *n = r ? 0 : (unsigned)q->bitmaps.len;
    for (unsigned i = 0; i < *n; i++) {
        struct q2_bitmap *b = q->bitmaps.data[i];
        struct disk_bitmap *to = &(*list)[i];
        int one = load_to_look(q, b);

        *to = (struct disk_bitmap){.granularity = UINT32_C(1) << b->bits, .persistent = true,
                                   .enabled = b->flags & Q2_BITMAP_AUTO, .in_use = b->unusable};
        snprintf(to->name, sizeof to->name, "%s", b->name);
        if (!one && !b->unusable)
            to->dirty = dirty_bytes(q, b);
        r = r ? r : one;
    }
    q2_leave(users);
    return r;
}

int q2_bitmap_named(struct q2 *q, const char *name, struct q2_bitmap **b, struct base_text *error)
{
    if (q->bitmaps_result < 0)
        return disk_error(error, q->bitmaps_result, q->d->path, "its bitmaps cannot be read: %s",
                          strerror(-q->bitmaps_result));
    *b = q2_bitmap_find(&q->bitmaps, name);
    return *b ? 0 : disk_error(error, -ENOENT, q->d->path, "there is no bitmap %.200s", name);
}

int q2_bitmap_usable(struct q2 *q, const char *name, struct q2_bitmap **b,
                     struct base_text *error)
{
    int r = q2_bitmap_named(q, name, b, error);

    if (!r && (*b)->unusable)
        return disk_error(error, -EUCLEAN, q->d->path,
                          "bitmap %.200s is in use or was not closed, and says nothing: remove it "
                          "(isomer disk bitmap remove) and copy everything once", name);
    return r;
}

int q2_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start, uint64_t *len,
                   struct base_text *error)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    struct q2_bitmap *b;
    int r = q2_bitmap_usable(q, name, &b, error);

    *start = *len = 0;
    if (!r && (r = load_to_look(q, b)) < 0)
        disk_error(error, r, d->path, "bitmap %.200s cannot be read: %s", name, strerror(-r));
    if (!r && off < q->h.size) { /* else within the last piece, but behind the end */
        uint64_t i = next_bit(b, off >> b->bits, true);

        if (i < b->count) {
            *start = i << b->bits;
            *len = span(q, b, i, next_bit(b, i, false));
        }
    }
    q2_leave(users);
    return r;
}
