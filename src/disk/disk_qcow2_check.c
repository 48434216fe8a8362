/* disk_qcow2_check.c: is the image sound, and making it so. SPDX-License-Identifier: Apache-2.0
 *
 * Counts how often each host cluster is used, by walking everything that the header leads to, and
 * compares with the refcounts. A refcount too high is a leak; too low a corruption, since the
 * cluster may be given out again. Then each COPIED flag of the active tables must say whether the
 * refcount is one: wrongly set a snapshot would be written over, wrongly not set costs a copy, so
 * it counts as a leak.
 *
 * Repair writes what was counted. Where refcount blocks cannot be used themselves (outside the
 * file, not at a cluster, used by something else, too) all of them are made anew behind the last
 * used cluster. Two guest clusters that name one host cluster get a refcount of two, so that the
 * next write separates them.
 *
 * Works on the file behind the closed gate, after a commit; what is repaired goes through the
 * tables in memory and another commit.
 */
#include "disk/disk_qcow2.h"

enum { MAX_COUNTED = 1 << 30 }; /* clusters: 4 GiB of counters */

struct check {
    struct q2 *q;
    struct disk_check_result *r;
    enum disk_repair repair;
    uint32_t *count;
    uint64_t clusters; /* of the file */
    bool rebuild;
    uint64_t flags;    /* COPIED flags that are set wrongly */
    uint64_t low;      /* refcounts that are */
};

static void report(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void report(struct check *c, const char *fmt, ...)
{
    char line[256];
    va_list ap;

    if (!c->r->report)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->r->report(c->r->context, line);
}

typedef unsigned long long ull;

/* ---- counting -------------------------------------------------------- */

static bool use(struct check *c, uint64_t off, uint64_t len, const char *what)
{
    uint64_t end = len ? (off + len - 1) >> c->q->cluster_bits : 0;

    if (!len)
        return true;
    if (off + len < off || end >= c->clusters) {
        report(c, "%s at 0x%llx is behind the end of the file", what, (ull)off);
        c->r->corruptions++;
        return false;
    }
    for (uint64_t i = off >> c->q->cluster_bits; i <= end; i++)
        c->count[i] += c->count[i] < UINT32_MAX;
    return true;
}

static bool aligned(struct check *c, uint64_t off, const char *what)
{
    if (!(off & (c->q->cluster_size - 1)))
        return true;
    report(c, "%s at 0x%llx does not begin at a cluster", what, (ull)off);
    c->r->corruptions++;
    return false;
}

struct l2_facts { uint64_t last; bool active; };

static void use_entry(struct check *c, const uint8_t *e, struct l2_facts *f)
{
    struct q2 *q = c->q;
    uint64_t entry = disk_be64(e), bitmap = q->extended ? disk_be64(e + 8) : 0, off, len;

    if (!q2_entry_ok(q, 0, entry, bitmap)) {
        report(c, "an L2 entry makes no sense: 0x%llx 0x%llx", (ull)entry, (ull)bitmap);
        c->r->corruptions++;
        return;
    }
    if (entry & Q2_COMPRESSED) {
        q2_packed_range(q, entry, &off, &len);
        /* the last sector may stick out of the file: only its begin is data */
        if (off + len > c->clusters << q->cluster_bits)
            len = off < c->clusters << q->cluster_bits
                      ? (c->clusters << q->cluster_bits) - off : len;
        use(c, off, len, "a compressed cluster");
        c->r->compressed += f->active;
        c->r->allocated += f->active;
        c->r->fragmented += f->active;
        return;
    }
    off = entry & Q2_OFFSET_MASK;
    if (!off)
        return;
    if (q->data == q->file)
        use(c, off, q->cluster_size, "a data cluster");
    if (f->active) {
        c->r->allocated++;
        c->r->fragmented += f->last && off != f->last + q->cluster_size;
        f->last = off;
    }
}

static void use_l1(struct check *c, const uint64_t *l1, uint64_t n, bool active)
{
    struct q2 *q = c->q;
    uint8_t *l2 = base_alloc(q->cluster_size);
    struct l2_facts f = {.active = active};

    for (uint64_t i = 0; i < n; i++) {
        uint64_t off = l1[i] & Q2_OFFSET_MASK;

        if (!off || !aligned(c, off, "an L2 table") || !use(c, off, q->cluster_size, "an L2 table"))
            continue;
        if (disk_file_read(q->file, off, l2, q->cluster_size) < 0) {
            report(c, "the L2 table at 0x%llx cannot be read", (ull)off);
            c->r->errors++;
            continue;
        }
        for (uint64_t e = 0; e < UINT64_C(1) << q->l2_bits; e++)
            use_entry(c, l2 + e * q->entry_bytes, &f);
    }
    free(l2);
}

/* n big-endian words from the file; NULL: cannot be read. */
static uint64_t *read_table(struct check *c, uint64_t off, uint64_t n)
{
    uint64_t *t = base_zalloc((n + 1) * 8);

    if (disk_file_read(c->q->file, off, t, n * 8) < 0) {
        report(c, "the table at 0x%llx cannot be read", (ull)off);
        c->r->errors++;
        free(t);
        return NULL;
    }
    for (uint64_t i = 0; i < n; i++)
        t[i] = __builtin_bswap64(t[i]);
    return t;
}

static int use_snapshot(struct q2 *q, void *context, uint32_t index, uint64_t l1_off,
                        uint32_t l1_size)
{
    struct check *c = context;
    uint64_t *l1;

    if (!use(c, l1_off, l1_size * 8ull, "a snapshot's L1 table"))
        return 0;
    l1 = read_table(c, l1_off, l1_size);
    if (l1)
        use_l1(c, l1, l1_size, false);
    free(l1);
    return 0;
}

static void use_snapshots(struct check *c)
{
    uint64_t len = 0;

    if (q2_each_snapshot(c->q, &len, use_snapshot, c) < 0) {
        report(c, "the snapshot table cannot be read");
        c->r->errors++;
    }
    use(c, c->q->h.snapshots_off, len, "the snapshot table");
}

enum { BITMAP_ENTRY = 24, MAX_BITMAPS = 65535, MAX_BITMAP_TABLE = 8 << 20 };

static void use_bitmap(struct check *c, uint64_t off, uint64_t n)
{
    uint64_t *t;

    if (n > MAX_BITMAP_TABLE / 8 || !aligned(c, off, "a bitmap table") ||
        !use(c, off, n * 8, "a bitmap table") || !(t = read_table(c, off, n)))
        return;
    for (uint64_t i = 0; i < n; i++)
        if (t[i] & Q2_OFFSET_MASK)
            use(c, t[i] & Q2_OFFSET_MASK, c->q->cluster_size, "a bitmap");
    free(t);
}

static void use_bitmaps(struct check *c)
{
    struct q2_extension *e = q2_ext_find(c->q, Q2_EXT_BITMAPS);
    uint64_t size, off, at = 0;
    uint8_t *dir;

    if (!e || e->len < 24 || !(c->q->h.autoclear & Q2_BITMAPS))
        return;
    size = disk_be64(e->data + 8);
    off = disk_be64(e->data + 16);
    if (size > MAX_BITMAP_TABLE || !use(c, off, size, "the bitmap directory"))
        return;
    dir = base_zalloc(size + BITMAP_ENTRY);
    if (disk_file_read(c->q->file, off, dir, size) < 0)
        c->r->errors++;
    for (uint32_t i = 0; i < disk_be32(e->data) && i < MAX_BITMAPS && at + BITMAP_ENTRY <= size;
         i++) {
        use_bitmap(c, disk_be64(dir + at), disk_be32(dir + at + 8));
        at += BASE_ALIGN_UP(BITMAP_ENTRY + (uint64_t)disk_be16(dir + at + 18) +
                                disk_be32(dir + at + 20), 8);
    }
    free(dir);
}

static void use_refcounts(struct check *c)
{
    struct q2 *q = c->q;

    use(c, q->h.reftable_off, q->rt_entries * 8, "the refcount table");
    for (uint64_t i = 0; i < q->rt_entries; i++) {
        uint64_t before = c->r->corruptions;

        if (!q->rt[i])
            continue;
        if (!aligned(c, q->rt[i], "a refcount block") ||
            !use(c, q->rt[i], q->cluster_size, "a refcount block")) {
            c->rebuild = true;
            c->low += c->r->corruptions - before;
        } else if (c->count[q->rt[i] >> q->cluster_bits] > 1) {
            report(c, "the refcount block at 0x%llx is used by something else, too",
                   (ull)q->rt[i]);
            c->r->corruptions++;
            c->low++;
            c->rebuild = true;
        }
    }
}

static void count_all(struct check *c)
{
    struct q2 *q = c->q;
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_CRYPTO);

    use(c, 0, q->cluster_size, "the header");
    use(c, q->h.l1_off, q->h.l1_size * 8ull, "the L1 table");
    use_l1(c, q->l1, q->h.l1_size, true);
    use_snapshots(c);
    use_bitmaps(c);
    if (e && e->len >= 16)
        use(c, disk_be64(e->data), disk_be64(e->data + 8), "the LUKS header");
    use_refcounts(c);
}

/* ---- refcounts anew -------------------------------------------------- */

static void forget_refcounts(struct q2 *q)
{
    for (size_t i = 0; i < q->blocks.len; i++) {
        q->ndirty -= q->blocks.data[i]->dirty_any;
        free(q->blocks.data[i]->data);
        free(q->blocks.data[i]);
    }
    q->blocks.len = q->spare.len = 0;
    q->dropped.len = q->waiting.len = q->later.len = 0;
    q->packed = 0;
    for (uint64_t i = 0; i <= q->owner_mask && q->owner; i++)
        if (q->owner[i].kind == Q2_OWN_REFBLOCK || q->owner[i].kind == Q2_OWN_REFTABLE)
            q2_disown(q, q->owner[i].cluster << q->cluster_bits, 1), i = (uint64_t)-1;
}

/* Blocks and table behind the last used cluster; what is counted goes in. */
static int rebuild(struct check *c)
{
    struct q2 *q = c->q;
    uint64_t per = UINT64_C(1) << q->ref_bits, end = c->clusters, first, blocks = 0, table = 0;

    /* the old ones are no use of their clusters any more */
    memset(c->count, 0, c->clusters * sizeof *c->count);
    struct disk_check_result silent = {0}, *real = c->r;
    c->r = &silent;
    uint64_t *rt = q->rt, entries = q->rt_entries;
    q->rt_entries = 0;
    count_all(c);
    q->rt_entries = entries;
    c->r = real;
    while (end && !c->count[end - 1])
        end--;
    first = end;
    for (;;) {
        uint64_t all = first + blocks + table;
        uint64_t need = (all + per - 1) / per;
        uint64_t need_table = (need * 8 + q->cluster_size - 1) >> q->cluster_bits;

        if (need <= blocks && need_table <= table)
            break;
        blocks = need;
        table = need_table;
    }
    if (table << q->cluster_bits > Q2_MAX_REFTABLE_BYTES)
        return -EFBIG;
    forget_refcounts(q);
    free(rt);
    free(q->rb);
    q->rt_entries = table << (q->cluster_bits - 3);
    q->rt = base_zalloc(q->rt_entries * 8);
    q->rb = base_zalloc(q->rt_entries * sizeof *q->rb);
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t off = (first + i) << q->cluster_bits;
        struct q2_table *b = q2_table_new(q, off, (uint32_t)i, true);

        for (uint64_t k = i * per; k < (i + 1) * per && k < first + blocks + table; k++)
            q2_ref_store(b->data, q->ref_order, k - i * per, k < first ? c->count[k] : 1);
        base_vec_push(&q->blocks, b);
        q->rb[i] = b;
        q->rt[i] = off;
        if (!q2_own(q, off, q->cluster_size, Q2_OWN_REFBLOCK, (uint32_t)i))
            return -EIO;
        q2_table_dirty(q, b, 0, (uint32_t)q->cluster_size);
    }
    q->h.reftable_off = (first + blocks) << q->cluster_bits;
    q->h.reftable_clusters = (uint32_t)table;
    if (!q2_own(q, q->h.reftable_off, q->rt_entries * 8, Q2_OWN_REFTABLE, 0))
        return -EIO;
    q->rt_dirty = q->rt_moved = true;
    q->rt_old_off = q->rt_old_len = 0;
    q->end = q->scan_end = first + blocks + table;
    q->scan = 1;
    return 0;
}

/* ---- comparing ------------------------------------------------------- */

static int ref_set(struct check *c, uint64_t cluster, uint64_t have, uint64_t want)
{
    struct q2 *q = c->q;
    struct q2_table *b = q->rb[cluster >> q->ref_bits];
    uint64_t i = cluster & ((UINT64_C(1) << q->ref_bits) - 1);

    if (!b)
        return -ENOENT; /* no block counts it: all anew */
    q2_ref_store(b->data, q->ref_order, i, want);
    if (q2_ref_load(b->data, q->ref_order, i) != want)
        return -ERANGE;
    q2_table_dirty(q, b, (uint32_t)((i << q->ref_order) / 8), 1);
    return 0;
}

static void compare(struct check *c, bool fix_leaks, bool fix_all)
{
    struct q2 *q = c->q;

    for (uint64_t i = 0; i < c->clusters; i++) {
        uint64_t have, want = c->count[i];
        int r = q2_ref_get(q, i, &have);

        if (want)
            c->r->image_end = (i + 1) << q->cluster_bits;
        if (r < 0) {
            report(c, "the refcount of cluster %llu cannot be read", (ull)i);
            c->r->errors++;
            i |= (UINT64_C(1) << q->ref_bits) - 1;
            continue;
        }
        if (have == want)
            continue;
        report(c, "%s: cluster %llu has refcount %llu, used %llu times",
               have > want ? "leak" : "corruption", (ull)i, (ull)have, (ull)want);
        if (have > want) {
            c->r->leaks++;
            if ((fix_leaks || fix_all) && !ref_set(c, i, have, want))
                c->r->leaks_fixed++;
        } else {
            c->r->corruptions++;
            c->low++;
            if (fix_all && ref_set(c, i, have, want) < 0)
                c->rebuild = true;
        }
    }
}

/* ---- COPIED ---------------------------------------------------------- */

static bool flag_wrong(struct check *c, uint64_t entry)
{
    uint64_t cluster = (entry & Q2_OFFSET_MASK) >> c->q->cluster_bits;

    if (!(entry & Q2_OFFSET_MASK) || cluster >= c->clusters)
        return false;
    return (c->count[cluster] == 1) != !!(entry & Q2_COPIED);
}

/* Tells of a wrong flag; true: it is to be changed. */
static bool flag_found(struct check *c, const char *what, uint64_t i, uint64_t entry)
{
    bool set = entry & Q2_COPIED;

    report(c, "%s: %s %llu says that its refcount is %sone", set ? "corruption" : "leak", what,
           (ull)i, set ? "" : "not ");
    if (set) {
        c->flags++;
        return c->repair == DISK_REPAIR_ALL;
    }
    c->r->leaks++;
    c->r->leaks_fixed += c->repair != DISK_REPAIR_NONE;
    return c->repair != DISK_REPAIR_NONE;
}

static int fix_l2(struct check *c, uint64_t i)
{
    struct q2 *q = c->q;
    struct q2_table *t;
    int r = q2_load_l2(q, i);

    if (r < 0 || !(t = q->l2[i]))
        return r;
    for (uint64_t e = 0; e < UINT64_C(1) << q->l2_bits; e++) {
        uint64_t entry, bitmap;

        q2_entry_get(q, (i << q->l2_bits) + e, &entry, &bitmap);
        if (entry & Q2_COMPRESSED || q->data != q->file || !flag_wrong(c, entry))
            continue;
        if (flag_found(c, "guest cluster", (i << q->l2_bits) + e, entry))
            q2_entry_put(q, t, (i << q->l2_bits) + e, entry ^ Q2_COPIED, bitmap);
    }
    return 0;
}

static int check_flags(struct check *c)
{
    struct q2 *q = c->q;
    int r = 0;

    for (uint64_t i = 0; i < q->h.l1_size && !r; i++) {
        if (!(q->l1[i] & Q2_OFFSET_MASK) || q->l1[i] & Q2_OFFSET_MASK & (q->cluster_size - 1))
            continue;
        if (flag_wrong(c, q->l1[i])) {
            if (flag_found(c, "L1 entry", i, q->l1[i]))
                q2_l1_set(q, i, q->l1[i] ^ Q2_COPIED);
        }
        if (fix_l2(c, i) < 0)
            c->r->errors++;
        if (c->repair)
            r = q2_commit_if_full(q);
    }
    return r;
}

/* ---- all together ---------------------------------------------------- */

static int finish(struct check *c)
{
    struct q2 *q = c->q;
    uint64_t left;
    int r = q2_commit_all(q);

    if (r < 0)
        return r;
    if (c->repair == DISK_REPAIR_ALL) {
        c->r->corruptions_fixed += c->low + c->flags;
        left = c->r->corruptions - c->r->corruptions_fixed + c->r->errors;
        if (!left && q->h.incompatible & (Q2_DIRTY | Q2_CORRUPT)) {
            q->h.incompatible &= ~(uint64_t)(Q2_DIRTY | Q2_CORRUPT);
            r = q2_header_write(q);
        }
    }
    return r;
}

static int check_inside(struct check *c)
{
    struct q2 *q = c->q;
    bool fix = c->repair == DISK_REPAIR_ALL;
    int r = 0;

    c->r->clusters = (q->h.size >> q->cluster_bits) + (q2_in_cluster(q, q->h.size) != 0);
    count_all(c);
    if (!c->rebuild)
        compare(c, c->repair != DISK_REPAIR_NONE, fix);
    if (c->rebuild && fix) {
        report(c, "all refcounts are made anew");
        r = rebuild(c);
        c->r->leaks_fixed = c->r->leaks;
    }
    if (!r)
        r = check_flags(c);
    c->r->corruptions += c->flags;
    return r ? r : c->repair ? finish(c) : 0;
}

int q2_check(struct disk *d, enum disk_repair repair, struct disk_check_result *result)
{
    struct q2 *q = d->state;
    struct check c = {.q = q, .r = result, .repair = repair};
    uint64_t length;
    int r;

    result->corruptions = result->corruptions_fixed = result->leaks = result->leaks_fixed = 0;
    result->errors = result->allocated = result->compressed = result->fragmented = 0;
    result->image_end = 0;
    q2_close_gate(q);
    r = d->read_only ? 0 : q2_commit_all(q);
    r = r ? r : disk_file_length(q->file, &length);
    if (!r) {
        c.clusters = (length + q->cluster_size - 1) >> q->cluster_bits;
        if (c.clusters > MAX_COUNTED)
            r = -EFBIG;
    }
    if (!r) {
        c.count = base_zalloc((c.clusters + 1) * sizeof *c.count);
        r = check_inside(&c);
        free(c.count);
    }
    q2_open_gate(q);
    return r;
}
