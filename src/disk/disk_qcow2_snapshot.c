/* disk_qcow2_snapshot.c: internal snapshots. SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot is a copy of the L1 table and a reference more to everything it leads to. Making one
 * raises refcounts and takes the COPIED flags away, so that the next write of a cluster goes to a
 * new place; deleting lowers them and sets the flags of what is ours alone again.
 *
 * All behind the closed gate, so the disk may be in use. The header names the table of snapshots
 * and the active L1, so writing it is the moment at which anything happens:
 *
 *   create   flags away | refcounts up | L1 copy, new table | header | old table goes
 *   delete   new table | header | refcounts down, flags, old table goes
 *   revert   refcounts up | new active L1 | header | refcounts of what was active down, flags
 *
 * Whatever is interrupted leaves clusters counted too high or flags too careful, which a check puts
 * right, never a cluster counted too low.
 */
#include "disk/disk_qcow2.h"

#include <time.h>

enum { HEAD = 40, MAX_EXTRA = 1024, EXTRA_OURS = 24 };
/* 65536 snapshots with names of 256 bytes; stops a table from filling all memory. */
enum { MAX_TABLE = 64 << 20 };

struct snap {
    uint64_t l1_off, vm_state, disk_size, clock, icount;
    uint32_t l1_size, seconds, nanoseconds, extra_len;
    uint8_t extra[MAX_EXTRA]; /* as in the file, with what we do not know */
    char *id, *name;
};

struct snaps {
    BASE_VEC(struct snap) list;
    uint64_t bytes; /* of the table in the file */
};

typedef unsigned long long ull;

/* ---- the table ------------------------------------------------------- */

static void snaps_free(struct snaps *s)
{
    for (size_t i = 0; i < s->list.len; i++) {
        free(s->list.data[i].id);
        free(s->list.data[i].name);
    }
    base_vec_free(&s->list);
}

static int read_text(struct q2 *q, uint64_t at, size_t len, char **to)
{
    *to = base_zalloc(len + 1);
    return disk_file_read(q->file, at, *to, len);
}

static int read_snap(struct q2 *q, uint64_t *at, struct snap *s)
{
    uint8_t b[HEAD];
    uint32_t id_len, name_len;
    int r = disk_file_read(q->file, *at, b, sizeof b);

    *s = (struct snap){.l1_off = disk_be64(b), .l1_size = disk_be32(b + 8),
                       .seconds = disk_be32(b + 16), .nanoseconds = disk_be32(b + 20),
                       .clock = disk_be64(b + 24), .vm_state = disk_be32(b + 32),
                       .extra_len = disk_be32(b + 36), .disk_size = q->h.size,
                       .icount = UINT64_MAX};
    id_len = disk_be16(b + 12);
    name_len = disk_be16(b + 14);
    if (!r && (s->extra_len > MAX_EXTRA || s->l1_size > Q2_MAX_L1_BYTES / 8 ||
               s->l1_off & (q->cluster_size - 1)))
        r = -EINVAL;
    r = r ? r : disk_file_read(q->file, *at + HEAD, s->extra, s->extra_len);
    if (!r && s->extra_len >= 8)
        s->vm_state = disk_be64(s->extra);
    if (!r && s->extra_len >= 16)
        s->disk_size = disk_be64(s->extra + 8);
    if (!r && s->extra_len >= 24)
        s->icount = disk_be64(s->extra + 16);
    if (!r && s->disk_size > (uint64_t)Q2_MAX_L1_BYTES / 8 << (q->cluster_bits + q->l2_bits))
        r = -EINVAL; /* no L1 table that we read could hold it */
    *at += HEAD + s->extra_len;
    r = r ? r : read_text(q, *at, id_len, &s->id);
    r = r ? r : read_text(q, *at + id_len, name_len, &s->name);
    *at = BASE_ALIGN_UP(*at + id_len + name_len, UINT64_C(8));
    return r;
}

static int snaps_read(struct q2 *q, struct snaps *s)
{
    uint64_t at = q->h.snapshots_off;
    int r = 0;

    *s = (struct snaps){0};
    for (uint32_t i = 0; i < q->h.snapshots && !r; i++) {
        struct snap one;

        r = read_snap(q, &at, &one);
        base_vec_push(&s->list, one);
        if (!r && at - q->h.snapshots_off > MAX_TABLE)
            r = -EFBIG;
    }
    s->bytes = at - q->h.snapshots_off;
    return r;
}

static void append_snap(struct base_text *t, const struct snap *s)
{
    static const uint8_t zeros[8];
    uint8_t b[HEAD];

    disk_put_be64(b, s->l1_off);
    disk_put_be32(b + 8, s->l1_size);
    disk_put_be16(b + 12, (uint16_t)strlen(s->id));
    disk_put_be16(b + 14, (uint16_t)strlen(s->name));
    disk_put_be32(b + 16, s->seconds);
    disk_put_be32(b + 20, s->nanoseconds);
    disk_put_be64(b + 24, s->clock);
    disk_put_be32(b + 32, (uint32_t)s->vm_state);
    disk_put_be32(b + 36, s->extra_len);
    base_text_append(t, b, sizeof b);
    base_text_append(t, s->extra, s->extra_len);
    base_text_append(t, s->id, strlen(s->id));
    base_text_append(t, s->name, strlen(s->name));
    base_text_append(t, zeros, (8 - t->len % 8) % 8);
}

/* Clusters for len bytes that begin to be metadata; refcounts are on the medium. */
static int take_place(struct q2 *q, uint64_t len, enum q2_owner kind, uint32_t index,
                      uint64_t *off)
{
    int r;

    *off = q2_alloc(q, (len + q->cluster_size - 1) >> q->cluster_bits, NULL, &r);
    if (!*off)
        return r;
    r = q2_commit(q, true);
    if (!r && !q2_own(q, *off, len, kind, index))
        r = q2_corrupt(q, "free cluster at 0x%llx is metadata", (ull)*off);
    return r;
}

/* n words, written at a place of their own. */
static int put_words(struct q2 *q, const uint64_t *words, uint32_t n, enum q2_owner kind,
                     uint32_t index, uint64_t *off)
{
    uint64_t bytes = BASE_ALIGN_UP(n * 8ull, q->cluster_size);
    uint64_t *be;
    int r = take_place(q, bytes, kind, index, off);

    if (r < 0)
        return r;
    be = base_zalloc(bytes);
    for (uint32_t i = 0; i < n; i++)
        be[i] = __builtin_bswap64(words[i]);
    r = q2_write_meta(q, *off, be, bytes, kind, index);
    free(be);
    return r;
}

/* Writes the list to a new place, then the header; the old table is dropped. */
static int snaps_write(struct q2 *q, struct snaps *s)
{
    uint64_t old = q->h.snapshots_off, old_bytes = s->bytes, off = 0;
    uint32_t old_count = q->h.snapshots;
    struct base_text t = {0};
    int r = 0;

    for (size_t i = 0; i < s->list.len; i++)
        append_snap(&t, &s->list.data[i]);
    if (t.len > MAX_TABLE)
        r = -EFBIG;
    if (!r && t.len)
        r = take_place(q, t.len, Q2_OWN_SNAPSHOTS, 0, &off);
    if (!r && t.len)
        r = q2_write_meta(q, off, t.data, t.len, Q2_OWN_SNAPSHOTS, 0);
    if (!r)
        r = disk_file_sync(q->file);
    if (!r) {
        q->h.snapshots_off = off;
        q->h.snapshots = (uint32_t)s->list.len;
        r = q2_header_write(q);
        if (r < 0) {
            q->h.snapshots_off = old;
            q->h.snapshots = old_count;
        }
    }
    if (!r && old_bytes) {
        q2_disown(q, old, old_bytes);
        q2_free(q, old, old_bytes, false);
    }
    s->bytes = t.len;
    base_text_free(&t);
    return r;
}

static long snaps_find(const struct snaps *s, const char *name)
{
    for (size_t i = 0; i < s->list.len; i++)
        if (!strcmp(s->list.data[i].id, name))
            return (long)i;
    for (size_t i = 0; i < s->list.len; i++)
        if (!strcmp(s->list.data[i].name, name))
            return (long)i;
    return -1;
}

/* ---- create ---------------------------------------------------------- */

static struct snap new_snap(struct q2 *q, const struct snaps *s, const char *name)
{
    struct timespec now;
    struct base_text id = {0};
    unsigned long last = 0;
    struct snap n = {.l1_size = q->h.l1_size, .disk_size = q->h.size, .icount = UINT64_MAX,
                     .extra_len = EXTRA_OURS, .name = base_strdup(name)};

    for (size_t i = 0; i < s->list.len; i++) {
        unsigned long v = strtoul(s->list.data[i].id, NULL, 10);

        last = v > last ? v : last;
    }
    base_text_printf(&id, "%lu", last + 1);
    n.id = id.data;
    clock_gettime(CLOCK_REALTIME, &now);
    n.seconds = (uint32_t)now.tv_sec;
    n.nanoseconds = (uint32_t)now.tv_nsec;
    disk_put_be64(n.extra, n.vm_state);
    disk_put_be64(n.extra + 8, n.disk_size);
    disk_put_be64(n.extra + 16, n.icount);
    return n;
}

/* One more for all that is active; or, if that fails, the flags as they were. */
static int raise_all(struct q2 *q)
{
    int r = q2_tree_add(q, q->l1, q->h.l1_size, 1);

    if (!r)
        return q2_commit_all(q);
    if (!q2_commit_all(q) && !q2_tree_flag(q))
        q2_commit_all(q);
    return r;
}

static int create_inside(struct q2 *q, struct snaps *s, const char *name)
{
    struct snap n = new_snap(q, s, name);
    int r = q2_tree_unflag(q);

    r = r ? r : q2_commit_all(q);
    r = r ? r : raise_all(q);
    if (!r && n.l1_size)
        r = put_words(q, q->l1, n.l1_size, Q2_OWN_OTHER, q->h.snapshots + 1, &n.l1_off);
    base_vec_push(&s->list, n);
    r = r ? r : snaps_write(q, s);
    return r ? r : q2_commit_all(q);
}

/* ---- delete ---------------------------------------------------------- */

static uint64_t *read_l1(struct q2 *q, const struct snap *s, uint32_t n, int *result)
{
    uint64_t *l1 = base_zalloc((n + 1ull) * 8);

    *result = disk_file_read(q->file, s->l1_off, l1, s->l1_size * 8ull);
    for (uint32_t i = 0; i < s->l1_size; i++)
        l1[i] = __builtin_bswap64(l1[i]);
    return l1;
}

static int delete_inside(struct q2 *q, struct snaps *s, size_t which)
{
    struct snap gone = s->list.data[which];
    int r;
    uint64_t *l1 = read_l1(q, &gone, gone.l1_size, &r);

    if (!r) {
        s->list.len--;
        memmove(&s->list.data[which], &s->list.data[which + 1],
                (s->list.len - which) * sizeof gone);
        r = snaps_write(q, s);
        free(gone.id);
        free(gone.name);
    }
    r = r ? r : q2_tree_add(q, l1, gone.l1_size, -1);
    if (!r && gone.l1_size) {
        q2_disown(q, gone.l1_off, gone.l1_size * 8ull);
        q2_free(q, gone.l1_off, gone.l1_size * 8ull, false);
    }
    r = r ? r : q2_commit_all(q);
    free(l1);
    r = r ? r : q2_tree_flag(q);
    return r ? r : q2_commit_all(q);
}

/* ---- revert ---------------------------------------------------------- */

static uint32_t l1_for(struct q2 *q, uint64_t size)
{
    unsigned bits = q->cluster_bits + q->l2_bits;

    return (uint32_t)((size >> bits) + ((size & ((UINT64_C(1) << bits) - 1)) != 0));
}

/* The tables in memory are those of l1 from now on. Takes l1. */
static int use_l1(struct q2 *q, uint64_t *l1, uint32_t n)
{
    bool ok = true;

    while (q->tables.len)
        q2_table_drop(q, q->tables.data[0]);
    for (uint32_t i = 0; i < q->h.l1_size; i++)
        if (q->l1[i] & Q2_OFFSET_MASK)
            q2_disown(q, q->l1[i] & Q2_OFFSET_MASK, q->cluster_size);
    free(q->l1);
    free(q->l2);
    free(q->l1_dirty);
    q->l1 = l1;
    q->l2 = base_zalloc((n + 1ull) * sizeof *q->l2);
    q->l1_dirty = base_zalloc(((n * 8ull / Q2_PIECE) / 64 + 2) * 8);
    q->l1_dirty_any = false;
    for (uint32_t i = 0; i < n; i++)
        if (l1[i] & Q2_OFFSET_MASK)
            ok = q2_own(q, l1[i] & Q2_OFFSET_MASK, q->cluster_size, Q2_OWN_L2, i) && ok;
    return ok ? 0 : q2_corrupt(q, "an L2 table of a snapshot is other metadata, too");
}

static int revert_inside(struct q2 *q, const struct snap *s)
{
    uint32_t need = l1_for(q, s->disk_size), n = need > s->l1_size ? need : s->l1_size;
    struct q2_header before = q->h;
    uint64_t off, *old;
    int r;
    uint64_t *l1 = read_l1(q, s, n, &r);

    for (uint32_t i = 0; i < n; i++)
        l1[i] &= ~Q2_COPIED;
    r = r ? r : q2_tree_add(q, l1, n, 1);
    r = r ? r : put_words(q, l1, n, Q2_OWN_L1, 0, &off);
    r = r ? r : disk_file_sync(q->file);
    if (!r) {
        q->h.l1_off = off;
        q->h.l1_size = n;
        q->h.size = s->disk_size;
        r = q2_header_write(q);
        if (r < 0)
            q->h = before;
    }
    if (r < 0) {
        free(l1);
        return r;
    }
    old = base_alloc((before.l1_size + 1ull) * 8);
    memcpy(old, q->l1, before.l1_size * 8ull);
    q->h.l1_size = before.l1_size;
    r = use_l1(q, l1, n);
    q->h.l1_size = n;
    q->d->size = q->h.size;
    r = r ? r : q2_tree_add(q, old, before.l1_size, -1);
    if (!r && before.l1_size) {
        q2_disown(q, before.l1_off, before.l1_size * 8ull);
        q2_free(q, before.l1_off, before.l1_size * 8ull, false);
    }
    free(old);
    r = r ? r : q2_commit_all(q);
    r = r ? r : q2_tree_flag(q);
    return r ? r : q2_commit_all(q);
}

/* ---- the calls ------------------------------------------------------- */

static int explain(struct q2 *q, int r, const char *name, const char *what,
                   struct base_text *error)
{
    if (r == -ERANGE)
        disk_error(error, r, q->d->path,
                   "its refcounts of %u bits are too narrow for one more snapshot",
                   1u << q->ref_order);
    else if (r < 0)
        disk_error(error, r, q->d->path, "snapshot %.200s cannot be %s: %s", name, what,
                   strerror(-r));
    return r;
}

/* Closes the gate, brings the file up to date and reads the table. */
static int begin(struct q2 *q, struct snaps *s, struct base_text *error)
{
    int r;

    *s = (struct snaps){0};
    if (q->data != q->file)
        return disk_error(error, -ENOTSUP, q->d->path,
                          "with an external data file there are no internal snapshots");
    r = q2_begin_change(q);
    q2_close_gate(q);
    r = r ? r : q2_commit_all(q);
    r = r ? r : snaps_read(q, s);
    if (r < 0) {
        q2_open_gate(q);
        snaps_free(s);
        return disk_error(error, r, q->d->path, "its snapshot table cannot be read: %s",
                          strerror(-r));
    }
    return 0;
}

static int end(struct q2 *q, struct snaps *s, int r)
{
    q2_open_gate(q);
    snaps_free(s);
    return r;
}

static int no_such(struct q2 *q, const char *name, struct base_text *error)
{
    return disk_error(error, -ENOENT, q->d->path, "there is no snapshot %.200s", name);
}

int q2_snapshot_create(struct disk *d, const char *name, struct base_text *error)
{
    struct q2 *q = d->state;
    struct snaps s;
    int r;

    if (!*name || strlen(name) > 255)
        return disk_error(error, -EINVAL, d->path, "a snapshot's name has 1 to 255 bytes");
    r = begin(q, &s, error);
    if (r < 0)
        return r;
    if (snaps_find(&s, name) >= 0)
        return end(q, &s, disk_error(error, -EEXIST, d->path,
                                     "there is a snapshot %s already: choose another name", name));
    if (s.list.len >= Q2_MAX_SNAPSHOTS)
        return end(q, &s, disk_error(error, -EFBIG, d->path, "65536 snapshots are the most"));
    return end(q, &s, explain(q, create_inside(q, &s, name), name, "made", error));
}

/* A change by one that is there already: *which. */
static int begin_with(struct q2 *q, struct snaps *s, const char *name, long *which,
                      struct base_text *error)
{
    int r = begin(q, s, error);

    if (r < 0)
        return r;
    *which = snaps_find(s, name);
    return *which < 0 ? end(q, s, no_such(q, name, error)) : 0;
}

int q2_snapshot_delete(struct disk *d, const char *name, struct base_text *error)
{
    struct q2 *q = d->state;
    struct snaps s;
    long which;
    int r = begin_with(q, &s, name, &which, error);

    if (r < 0)
        return r;
    return end(q, &s, explain(q, delete_inside(q, &s, (size_t)which), name, "deleted", error));
}

int q2_snapshot_revert(struct disk *d, const char *name, struct base_text *error)
{
    struct q2 *q = d->state;
    struct snaps s;
    long which;
    int r;

    if (q->bitmaps.len) /* as QEMU: what a bitmap would have to say of this is everything */
        return disk_error(error, -EBUSY, d->path, "it has dirty bitmaps, which a revert would make "
                          "wrong: remove them first (isomer disk bitmap remove)");
    r = begin_with(q, &s, name, &which, error);
    if (r < 0)
        return r;
    return end(q, &s, explain(q, revert_inside(q, &s.list.data[which]), name, "reverted to",
                              error));
}

int q2_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n)
{
    struct q2 *q = d->state;
    struct snaps s;
    int r = snaps_read(q, &s);

    if (r < 0) { /* who looks at the result has nothing to free */
        snaps_free(&s);
        return r;
    }
    *n = (unsigned)s.list.len;
    *list = base_zalloc((*n + 1ull) * sizeof **list);
    for (unsigned i = 0; i < *n; i++) {
        struct disk_snapshot *to = &(*list)[i];
        const struct snap *from = &s.list.data[i];

        *to = (struct disk_snapshot){.size = from->disk_size, .vm_state_size = from->vm_state,
                                     .seconds = from->seconds, .nanoseconds = from->nanoseconds,
                                     .vm_clock_ns = from->clock, .icount = from->icount};
        snprintf(to->id, sizeof to->id, "%s", from->id);
        snprintf(to->name, sizeof to->name, "%s", from->name);
    }
    snaps_free(&s);
    return 0;
}

/* The same file once more, for reading, with the snapshot's L1 as the active one. */
int q2_snapshot_open(struct disk *d, const char *name, struct disk **out, struct base_text *error)
{
    struct disk_open_options o = d->o;
    struct snaps s;
    struct q2 *q;
    long which;
    int r;

    o.read_only = o.no_lock = true; /* d holds the lock */
    o.format = d->drv->name;
    r = disk_open(d->path, &o, out, error);
    if (r < 0)
        return r;
    q = (*out)->state;
    r = snaps_read(q, &s);
    if (r < 0)
        disk_error(error, r, d->path, "its snapshot table cannot be read: %s", strerror(-r));
    which = r ? -1 : snaps_find(&s, name);
    if (!r && which < 0)
        r = no_such(q, name, error);
    if (!r) {
        const struct snap *one = &s.list.data[which];
        uint32_t need = l1_for(q, one->disk_size), n = need > one->l1_size ? need : one->l1_size;
        uint64_t *l1 = read_l1(q, one, n, &r);

        use_l1(q, l1, n);
        q->h.l1_size = n;
        q->h.size = one->disk_size;
        (*out)->size = one->disk_size;
        q2_bitmaps_free(&q->bitmaps); /* they are of the disk as it is now */
    }
    snaps_free(&s);
    if (r < 0)
        disk_close(*out);
    return r;
}
