/* disk_qcow2_check.c: is the image sound, and making it so. SPDX-License-Identifier: Apache-2.0
 *
 * First it is marked which clusters hold metadata: header, L1 and L2 tables, those of snapshots,
 * LUKS header, refcounts, bitmaps. Nothing else may lie in such a cluster, so what
 * comes later and wants it is corrupt: refcounts are then made anew, an L1 entry is taken away.
 * Then it is counted how often each host cluster is used, by walking everything that the header
 * leads to, and compared with the refcounts. A refcount too high is a leak; too low a corruption,
 * since the cluster may be given out again. Then each COPIED flag of the active tables must say
 * whether the refcount is one: wrongly set a snapshot would be written over, wrongly not set costs
 * a copy, so it counts as a leak.
 *
 * Repair writes what was counted. Where refcount blocks cannot be used themselves (outside the
 * file, not at a cluster, used by something else, too) all of them are made anew behind the last
 * used cluster (disk_qcow2_rebuild.c). Two guest clusters that name one host cluster get a refcount
 * of two, so that the next write separates them. An entry that names no data at all (outside the
 * file, in metadata, bits that make no sense) is changed to read as zero, which it can never be
 * wrong about more than before. What was fixed is what a second check does not find any more.
 *
 * Works on the file behind the closed gate, after a commit; what is repaired goes through the
 * tables in memory and another commit. Tables of snapshots are not in memory and are written
 * directly.
 */
#include "disk/disk_qcow2.h"

enum { MAX_COUNTED = 1 << 30 }; /* clusters: 4 GiB of counters */

struct check {
    struct q2 *q;
    struct disk_check_result *r;
    enum disk_repair repair;
    uint32_t *count;
    uint8_t *mark;     /* by cluster: enum mark */
    uint64_t clusters; /* of the file */
    bool rebuild;
};

/* What a cluster of metadata is. A snapshot may share an L2 table, nobody anything else. */
enum mark { MARK_NONE, MARK_ALONE, MARK_L2, MARK_L2_ACTIVE };

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

static bool inside(const struct check *c, uint64_t off, uint64_t len)
{
    return off + len >= off && (off + len - 1) >> c->q->cluster_bits < c->clusters;
}

/* What must be zero in an L1 entry, and in an L2 entry that is not compressed. */
#define L1_RESERVED UINT64_C(0x7f000000000001ff)
#define L2_RESERVED UINT64_C(0x3f000000000001fe)

/* ---- entries that name nothing --------------------------------------- */

/* A compressed cluster whose last sectors are in clusters that are not there yet: whoever gets
 * those would share them. *fits: the entry without these sectors, which have no data. */
static bool packed_too_long(const struct check *c, uint64_t entry, uint64_t *fits)
{
    unsigned shift = 62 - (c->q->cluster_bits - 8);
    uint64_t end = c->clusters << c->q->cluster_bits, off, len, sectors;

    q2_packed_range(c->q, entry, &off, &len);
    if (off >= end || off + len <= end)
        return false;
    sectors = (end - (off & ~UINT64_C(511))) / 512 - 1;
    *fits = (entry & (Q2_COMPRESSED | Q2_COPIED)) | sectors << shift |
            (entry & ((UINT64_C(1) << shift) - 1));
    return true;
}

static bool in_metadata(const struct check *c, uint64_t off, uint64_t len)
{
    for (uint64_t i = off >> c->q->cluster_bits; i <= (off + len - 1) >> c->q->cluster_bits; i++)
        if (c->mark[i])
            return true;
    return false;
}

/* What is wrong with an L2 entry, whatever its refcount; NULL: nothing. */
static const char *entry_fault(const struct check *c, uint64_t cluster, uint64_t entry,
                               uint64_t bitmap)
{
    struct q2 *q = c->q;
    uint64_t off = entry & Q2_OFFSET_MASK, len = q->cluster_size, fits;

    if (!q2_entry_ok(q, cluster, entry, bitmap))
        return "makes no sense";
    if (!(entry & Q2_COMPRESSED) && entry & L2_RESERVED)
        return "has bits that are reserved";
    if (q->data != q->file)
        return (off || entry & Q2_COPIED) && off != cluster << q->cluster_bits
                   ? "names another cluster's place in the data file" : NULL;
    if ((entry & Q2_COMPRESSED) && packed_too_long(c, entry, &fits))
        return "says that its compressed data goes on behind the end of the file";
    if (entry & Q2_COMPRESSED)
        q2_packed_range(q, entry, &off, &len);
    else if (!off)
        return NULL;
    if (!inside(c, off, len))
        return "names data behind the end of the file";
    return in_metadata(c, off, len) ? "names metadata as data" : NULL;
}

/* The same guest bytes, as zeros, unless reserved bits are all that is wrong; in a data file there
 * is but one place where they can be. */
static void entry_mend(const struct check *c, uint64_t cluster, uint64_t *entry, uint64_t *bitmap)
{
    const struct q2 *q = c->q;
    uint64_t plain = *entry & ~L2_RESERVED, fits;

    if (q->data == q->file && (*entry & Q2_COMPRESSED) &&
        q2_entry_ok(c->q, cluster, *entry, *bitmap) && packed_too_long(c, *entry, &fits) &&
        !entry_fault(c, cluster, fits, *bitmap)) {
        *entry = fits;
        return;
    }
    if (!(*entry & Q2_COMPRESSED) && plain != *entry &&
        !entry_fault(c, cluster, plain, *bitmap)) {
        *entry = plain;
        return;
    }
    if (q->data != q->file) {
        *entry = cluster << q->cluster_bits | Q2_COPIED;
        *bitmap = q->extended ? UINT32_MAX : 0;
        return;
    }
    *entry = q->extended || q->h.version < 3 ? 0 : Q2_ZERO;
    *bitmap = q->extended ? UINT64_C(0xffffffff) << 32 : 0;
}

/* ---- counting entries ------------------------------------------------ */

struct l2_facts { uint64_t last; bool active; };

static void use_entry(struct check *c, uint64_t entry, struct l2_facts *f)
{
    struct q2 *q = c->q;
    uint64_t off = entry & Q2_OFFSET_MASK, len;

    if (entry & Q2_COMPRESSED) {
        q2_packed_range(q, entry, &off, &len);
        use(c, off, len, "a compressed cluster");
        c->r->compressed += f->active;
        c->r->allocated += f->active;
        c->r->fragmented += f->active;
        return;
    }
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

/* All entries of one table; true: some were changed (only of a snapshot: the active ones are
 * repaired in memory, with their flags). */
static bool use_l2(struct check *c, uint8_t *l2, uint64_t first, struct l2_facts *f)
{
    struct q2 *q = c->q;
    bool changed = false;

    for (uint64_t i = 0; i < UINT64_C(1) << q->l2_bits; i++) {
        uint8_t *e = l2 + i * q->entry_bytes;
        uint64_t entry = disk_be64(e), bitmap = q->extended ? disk_be64(e + 8) : 0;
        const char *fault;

        if (!(entry | bitmap))
            continue;
        fault = entry_fault(c, first + i, entry, bitmap);
        if (fault) {
            report(c, "an L2 entry %s: 0x%llx 0x%llx", fault, (ull)entry, (ull)bitmap);
            c->r->corruptions++;
            entry_mend(c, first + i, &entry, &bitmap);
        }
        use_entry(c, entry, f); /* what it will name when it is repaired is in use now */
        if (!fault || f->active || c->repair != DISK_REPAIR_ALL)
            continue;
        disk_put_be64(e, entry);
        if (q->extended)
            disk_put_be64(e + 8, bitmap);
        changed = true;
    }
    return changed;
}

/* The L2 table of a marked entry; 0: there is none that can be used, which mark_l1() has told. */
static uint64_t l2_of(const struct check *c, uint64_t entry, bool active)
{
    uint64_t off = entry & Q2_OFFSET_MASK;
    uint8_t mark = off && inside(c, off, c->q->cluster_size) ? c->mark[off >> c->q->cluster_bits]
                                                             : MARK_NONE;

    if (off & (c->q->cluster_size - 1) || mark < MARK_L2 || (active && mark != MARK_L2_ACTIVE))
        return 0;
    return off;
}

static void use_l1(struct check *c, const uint64_t *l1, uint64_t n, bool active)
{
    struct q2 *q = c->q;
    uint8_t *l2 = base_alloc(q->cluster_size);
    struct l2_facts f = {.active = active};

    for (uint64_t i = 0; i < n; i++) {
        uint64_t off = l2_of(c, l1[i], active);

        if (!off || !use(c, off, q->cluster_size, "an L2 table"))
            continue;
        if (disk_file_read(q->file, off, l2, q->cluster_size) < 0) {
            report(c, "the L2 table at 0x%llx cannot be read", (ull)off);
            c->r->errors++;
            continue;
        }
        if (use_l2(c, l2, i << q->l2_bits, &f) && c->mark[off >> q->cluster_bits] == MARK_L2 &&
            disk_file_write(q->file, off, l2, q->cluster_size) < 0)
            c->r->errors++;
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

/* ---- marking --------------------------------------------------------- */

/* False: something has it already. What lies outside the file use() tells of. */
static bool mark(struct check *c, uint64_t off, uint64_t len, const char *what)
{
    uint64_t bits = c->q->cluster_bits;
    bool ok = true;

    if (!len || !inside(c, off, len))
        return true;
    for (uint64_t i = off >> bits; i <= (off + len - 1) >> bits; i++) {
        ok = ok && !c->mark[i];
        c->mark[i] = c->mark[i] ? c->mark[i] : MARK_ALONE;
    }
    if (!ok) {
        report(c, "%s at 0x%llx lies in other metadata", what, (ull)off);
        c->r->corruptions++;
    }
    return ok;
}

static void set_l1(struct check *c, uint64_t *l1, uint64_t i, uint64_t entry, bool active)
{
    if (c->repair != DISK_REPAIR_ALL)
        return;
    if (active)
        q2_l1_set(c->q, i, entry);
    else
        l1[i] = entry;
}

/* L2 tables; true: entries were repaired. */
static bool mark_l1(struct check *c, uint64_t *l1, uint64_t n, bool active)
{
    struct q2 *q = c->q;
    bool changed = false;

    for (uint64_t i = 0; i < n; i++) {
        uint64_t off = l1[i] & Q2_OFFSET_MASK;
        uint8_t *m = off && inside(c, off, q->cluster_size) ? &c->mark[off >> q->cluster_bits]
                                                            : NULL;

        if (l1[i] & L1_RESERVED) {
            report(c, "an L1 entry has bits that are reserved: 0x%llx", (ull)l1[i]);
            c->r->corruptions++;
            changed = c->repair == DISK_REPAIR_ALL;
            set_l1(c, l1, i, l1[i] & ~L1_RESERVED, active);
        }
        if (!off)
            continue;
        if (m && !(off & (q->cluster_size - 1)) && (!*m || (*m != MARK_ALONE && !active))) {
            *m = *m ? *m : active ? MARK_L2_ACTIVE : MARK_L2;
            continue;
        }
        report(c, "an L1 entry names no L2 table of its own: 0x%llx", (ull)l1[i]);
        c->r->corruptions++;
        changed = c->repair == DISK_REPAIR_ALL;
        set_l1(c, l1, i, 0, active);
    }
    return changed;
}

/* ---- snapshots, bitmaps, refcounts: marked first, then counted -------- */

struct pass { struct check *c; bool marking; };

static int pass_snapshot(struct q2 *q, void *context, uint32_t index, uint64_t l1_off,
                         uint32_t l1_size)
{
    struct pass *p = context;
    struct check *c = p->c;
    uint64_t *l1 = NULL;

    if (p->marking) {
        mark(c, l1_off, l1_size * 8ull, "a snapshot's L1 table");
        return 0;
    }
    if (use(c, l1_off, l1_size * 8ull, "a snapshot's L1 table"))
        l1 = read_table(c, l1_off, l1_size);
    if (l1)
        use_l1(c, l1, l1_size, false);
    free(l1);
    return 0;
}

/* After all that nothing may share: tables that only snapshots have. */
static int mark_snapshot_l1(struct q2 *q, void *context, uint32_t index, uint64_t l1_off,
                            uint32_t l1_size)
{
    struct check *c = context;
    uint64_t *l1 = NULL;

    if (l1_size && inside(c, l1_off, l1_size * 8ull))
        l1 = read_table(c, l1_off, l1_size);
    if (l1 && mark_l1(c, l1, l1_size, false)) {
        for (uint32_t i = 0; i < l1_size; i++)
            l1[i] = __builtin_bswap64(l1[i]);
        if (q2_write_meta(q, l1_off, l1, l1_size * 8ull, Q2_OWN_OTHER, index + 1) < 0)
            c->r->errors++;
    }
    free(l1);
    return 0;
}

static void pass_snapshots(struct pass *p)
{
    struct check *c = p->c;
    uint64_t len = 0;

    if (q2_each_snapshot(c->q, &len, pass_snapshot, p) < 0 && !p->marking) {
        report(c, "the snapshot table cannot be read");
        c->r->errors++;
    }
    if (p->marking)
        mark(c, c->q->h.snapshots_off, len, "the snapshot table");
    else
        use(c, c->q->h.snapshots_off, len, "the snapshot table");
}

static bool pass_range(struct pass *p, uint64_t off, uint64_t len, const char *what)
{
    if (!p->marking)
        return use(p->c, off, len, what);
    return mark(p->c, off, len, what) && inside(p->c, off, len);
}

static int pass_bitmap(struct pass *p, const struct q2_bitmap *b)
{
    struct q2 *q = p->c->q;
    uint64_t *t;
    int r = q2_bitmap_table(q, b, &t);
    bool ok = pass_range(p, b->table, b->entries * 8ull, "a bitmap table");

    for (uint32_t i = 0; t && i < b->entries; i++)
        if (t[i] & Q2_OFFSET_MASK)
            ok = pass_range(p, t[i] & Q2_OFFSET_MASK, q->cluster_size, "a bitmap") && ok;
    free(t);
    return r ? r : ok ? 0 : -EINVAL;
}

/* Directory, tables and bits. -EINVAL: they make no sense. */
static int pass_bitmaps(struct pass *p)
{
    struct q2 *q = p->c->q;
    uint64_t off, size;
    q2_bitmaps list;
    uint32_t n;
    int r;

    if (!q2_bitmap_place(q, &off, &size, &n))
        return 0;
    r = q2_bitmap_directory(q, &list);
    if (!r && !pass_range(p, off, size, "the bitmap directory"))
        r = -EINVAL;
    for (size_t i = 0; i < list.len; i++) {
        int one = pass_bitmap(p, list.data[i]);

        r = r ? r : one;
    }
    q2_bitmaps_free(&list);
    return r;
}

/* Whatever is wrong with them: they are made anew. */
static void mark_refcounts(struct check *c)
{
    struct q2 *q = c->q;
    uint64_t before = c->r->corruptions;

    mark(c, q->h.reftable_off, q->rt_entries * 8, "the refcount table");
    for (uint64_t i = 0; i < q->rt_entries; i++)
        if (q->rt[i] && aligned(c, q->rt[i], "a refcount block"))
            mark(c, q->rt[i], q->cluster_size, "a refcount block");
    c->rebuild = c->rebuild || c->r->corruptions > before;
}

static void mark_all_but_bitmaps(struct check *c)
{
    struct q2 *q = c->q;
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_CRYPTO);
    struct pass p = {c, true};
    uint64_t len;

    memset(c->mark, 0, c->clusters);
    mark(c, 0, q->cluster_size, "the header");
    mark(c, q->h.l1_off, q->h.l1_size * 8ull, "the L1 table");
    pass_snapshots(&p);
    if (e && e->len >= 16)
        mark(c, disk_be64(e->data), disk_be64(e->data + 8), "the LUKS header");
    mark_l1(c, q->l1, q->h.l1_size, true);
    (void)q2_each_snapshot(q, &len, mark_snapshot_l1, c);
    if (!c->rebuild)
        mark_refcounts(c);
}

/* What is wrong with bitmaps check_bitmaps() has told. */
static int mark_all(struct check *c)
{
    struct disk_check_result silent = {0}, *real = c->r;
    int r;

    mark_all_but_bitmaps(c);
    c->r = &silent;
    r = pass_bitmaps(&(struct pass){c, true});
    c->r = real;
    return r;
}

/* Before anything is looked at: bitmaps that make no sense, or lie where other metadata is, are
 * given up as a whole, since no writer would open the image otherwise. Their clusters are leaks
 * then. */
static int check_bitmaps(struct check *c)
{
    struct disk_check_result silent = {0}, *real = c->r;
    enum disk_repair repair = c->repair;
    struct q2 *q = c->q;
    uint64_t off, size;
    uint32_t n;
    int r;

    if (!q2_bitmap_place(q, &off, &size, &n))
        return 0;
    c->r = &silent;
    c->repair = DISK_REPAIR_NONE;
    r = mark_all(c);
    c->r = real;
    c->repair = repair;
    c->rebuild = false;
    if (r != -EINVAL) {
        if (r < 0)
            report(c, "the dirty bitmaps cannot be read: %s", strerror(-r));
        c->r->errors += r < 0;
        return 0;
    }
    report(c, "the dirty bitmaps make no sense%s",
           repair == DISK_REPAIR_ALL ? ": they are removed" : "");
    c->r->corruptions++;
    if (repair != DISK_REPAIR_ALL)
        return 0;
    q2_ext_set(q, Q2_EXT_BITMAPS, NULL, 0);
    q->h.autoclear &= ~(uint64_t)Q2_BITMAPS;
    q2_bitmaps_free(&q->bitmaps);
    q->bitmaps_result = 0;
    q2_bitmap_state(q);
    return q2_header_write(q);
}

static void use_refcounts(struct check *c)
{
    struct q2 *q = c->q;
    uint64_t before = c->r->corruptions;

    use(c, q->h.reftable_off, q->rt_entries * 8, "the refcount table");
    for (uint64_t i = 0; i < q->rt_entries; i++)
        if (q->rt[i])
            use(c, q->rt[i], q->cluster_size, "a refcount block");
    c->rebuild = c->rebuild || c->r->corruptions > before;
}

static void count_all(struct check *c)
{
    struct q2 *q = c->q;
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_CRYPTO);
    struct pass p = {c, false};

    memset(c->count, 0, c->clusters * sizeof *c->count);
    use(c, 0, q->cluster_size, "the header");
    use(c, q->h.l1_off, q->h.l1_size * 8ull, "the L1 table");
    use_l1(c, q->l1, q->h.l1_size, true);
    pass_snapshots(&p);
    (void)pass_bitmaps(&p);
    if (e && e->len >= 16)
        use(c, disk_be64(e->data), disk_be64(e->data + 8), "the LUKS header");
    if (!c->rebuild)
        use_refcounts(c);
}

/* Where refcounts lie is no use of their clusters when they go elsewhere. */
static int rebuild(struct check *c)
{
    struct disk_check_result silent = {0}, *real = c->r;

    report(c, "all refcounts are made anew");
    c->r = &silent;
    (void)mark_all(c);
    count_all(c);
    c->r = real;
    c->r->leaks_fixed = c->r->leaks;
    return q2_rebuild_refcounts(c->q, c->count, c->clusters);
}

/* ---- comparing ------------------------------------------------------- */

static int ref_set(struct check *c, uint64_t cluster, uint64_t want)
{
    struct q2 *q = c->q;
    uint64_t at = cluster >> q->ref_bits;
    struct q2_table *b = at < q->rt_entries ? q->rb[at] : NULL;
    uint64_t i = cluster & ((UINT64_C(1) << q->ref_bits) - 1);

    if (!b)
        return -ENOENT; /* no block counts it: all anew */
    if (want > q2_ref_max(q)) /* at least it is not free */
        want = q2_ref_max(q);
    q2_ref_store(b->data, q->ref_order, i, want);
    q2_table_dirty(q, b, (uint32_t)((i << q->ref_order) / 8), 1);
    return 0;
}

static void differs(struct check *c, uint64_t i, uint64_t have, uint64_t want)
{
    report(c, "%s: cluster %llu has refcount %llu, used %llu times",
           have > want ? "leak" : "corruption", (ull)i, (ull)have, (ull)want);
    if (have > want) {
        c->r->leaks++;
        if (c->repair && !ref_set(c, i, want))
            c->r->leaks_fixed++;
    } else {
        c->r->corruptions++;
        if (c->repair == DISK_REPAIR_ALL && ref_set(c, i, want) < 0)
            c->rebuild = true;
    }
}

/* The clusters from `first` on that one block counts; without a block all of them are zero. */
static void compare_block(struct check *c, uint64_t first, const struct q2_table *b)
{
    struct q2 *q = c->q;
    uint64_t per = UINT64_C(1) << q->ref_bits;

    for (uint64_t k = 0; k < per && (b || first + k < c->clusters); k++) {
        uint64_t want = first + k < c->clusters ? c->count[first + k] : 0;
        uint64_t have = b ? q2_ref_load(b->data, q->ref_order, k) : 0;

        if (want)
            c->r->image_end = (first + k + 1) << q->cluster_bits;
        if (have != want)
            differs(c, first + k, have, want);
    }
}

/* Also what is counted behind the end of the file: it would be lost when the file grows there. */
static void compare(struct check *c)
{
    struct q2 *q = c->q;
    uint64_t have;

    for (uint64_t i = 0; i << q->ref_bits < c->clusters || i < q->rt_entries; i++) {
        bool there = i < q->rt_entries && q->rt[i];

        if (there && q2_ref_get(q, i << q->ref_bits, &have) < 0) {
            report(c, "the refcount block %llu cannot be read", (ull)i);
            c->r->errors++;
        } else {
            compare_block(c, i << q->ref_bits, there ? q->rb[i] : NULL);
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
        c->r->corruptions++;
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
        uint64_t entry, bitmap, cluster = (i << q->l2_bits) + e;

        q2_entry_get(q, cluster, &entry, &bitmap);
        if (!(entry | bitmap))
            continue;
        if (entry_fault(c, cluster, entry, bitmap)) { /* told of when it was counted */
            if (c->repair != DISK_REPAIR_ALL)
                continue;
            entry_mend(c, cluster, &entry, &bitmap);
            q2_entry_put(q, t, cluster, entry, bitmap);
        }
        if (entry & Q2_COMPRESSED ||
            !(q->data == q->file ? flag_wrong(c, entry)
                                 : entry & Q2_OFFSET_MASK && !(entry & Q2_COPIED)))
            continue;
        if (flag_found(c, "guest cluster", cluster, entry))
            q2_entry_put(q, t, cluster, entry ^ Q2_COPIED, bitmap);
    }
    return 0;
}

static int check_flags(struct check *c)
{
    struct q2 *q = c->q;
    int r = 0;

    for (uint64_t i = 0; i < q->h.l1_size && !r; i++) {
        if (!l2_of(c, q->l1[i], true))
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

static int look(struct check *c)
{
    bool fix = c->repair == DISK_REPAIR_ALL;
    int r = 0;

    (void)mark_all(c);
    count_all(c);
    if (!c->rebuild)
        compare(c);
    if (c->rebuild && fix)
        r = rebuild(c);
    return r ? r : check_flags(c);
}

/* Two guest clusters may have shared a table's clusters, a refcount may be too narrow: only another
 * look says what is left. */
static int look_again(struct check *c)
{
    struct disk_check_result left = {0}, *real = c->r;
    enum disk_repair repair = c->repair;
    uint64_t length;
    int r = disk_file_length(c->q->file, &length);

    if (r < 0)
        return r;
    free(c->count);
    free(c->mark);
    c->clusters = (length + c->q->cluster_size - 1) >> c->q->cluster_bits;
    c->count = base_zalloc((c->clusters + 1) * sizeof *c->count);
    c->mark = base_zalloc(c->clusters + 1);
    c->r = &left;
    c->rebuild = false;
    c->repair = DISK_REPAIR_NONE;
    r = look(c);
    c->r = real;
    c->repair = repair;
    if (left.corruptions < real->corruptions)
        real->corruptions_fixed = real->corruptions - left.corruptions;
    real->errors = left.errors > real->errors ? left.errors : real->errors;
    if (!r && !left.corruptions && !left.errors &&
        c->q->h.incompatible & (Q2_DIRTY | Q2_CORRUPT)) {
        c->q->h.incompatible &= ~(uint64_t)(Q2_DIRTY | Q2_CORRUPT);
        r = q2_header_write(c->q);
    }
    return r;
}

static int check_inside(struct check *c)
{
    struct q2 *q = c->q;
    int r;

    r = check_bitmaps(c);
    if (r < 0)
        return r;
    c->r->clusters = (q->h.size >> q->cluster_bits) + (q2_in_cluster(q, q->h.size) != 0);
    r = look(c);
    if (!r && c->repair)
        r = q2_commit_all(q);
    if (!r && c->repair == DISK_REPAIR_ALL &&
        (c->r->corruptions || c->r->leaks || q->h.incompatible & (Q2_DIRTY | Q2_CORRUPT)))
        r = look_again(c);
    return r;
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
        c.mark = base_zalloc(c.clusters + 1);
        r = check_inside(&c);
        free(c.count);
        free(c.mark);
    }
    q2_open_gate(q);
    return r;
}
