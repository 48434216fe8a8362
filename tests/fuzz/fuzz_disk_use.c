/* fuzz_disk_use.c: everything that one does with an image. SPDX-License-Identifier: Apache-2.0
 *
 * Reading looks at the begin, the end and some places between. Writing happens in three windows of
 * the disk, whose content is known at every moment, also of each snapshot.
 */
#include "fuzz_disk.h"

enum { PIECE = 16 << 10, MAX_EXTENTS = 80, OPERATIONS = 14 };

/* FUZZ_TRACE=1: what is done to an image, to standard error. */
static void trace(const char *what, uint64_t a, uint64_t b, int result)
{
    static int on = -1;

    if (on < 0)
        on = getenv("FUZZ_TRACE") != NULL;
    if (on)
        fprintf(stderr, "# %s 0x%llx 0x%llx: %d\n", what, (unsigned long long)a,
                (unsigned long long)b, result);
}

static uint64_t some(struct fuzz_use *u, uint64_t n)
{
    return n ? base_rand(&u->seed) % n : 0;
}

static bool open_image(struct fuzz_use *u, unsigned file, const char *format, bool write,
                       bool no_repair, struct disk **d)
{
    struct disk_open_options o = {.format = format, .read_only = !write, .no_repair = no_repair,
                                  .file_ops = &fuzz_fs_ops, .password = fuzz_password,
                                  .meta_cache = 64 << 10, .cluster_cache = 256 << 10};
    struct base_text error = {0};
    int r = disk_open(fuzz_fs_path(file), &o, d, &error);
    bool ok = true;

    if (r < 0) {
        *d = NULL;
        if (!error.len || !fuzz_line_is_clear(error.data))
            ok = fuzz_fail(u, "no clear line for error %d: %s", -r, error.len ? error.data : "");
    }
    base_text_free(&error);
    return ok;
}

/* ---- check ----------------------------------------------------------- */

static void on_report(void *context, const char *line)
{
    struct fuzz_use *u = context;

    trace(line, 0, 0, 0);
    u->lost += !strncmp(line, "leak: cluster", 13);
    if (!fuzz_line_is_clear(line))
        fuzz_fail(u, "check: not one clear line: %s", line);
}

static int check(struct fuzz_use *u, struct disk *d, enum disk_repair repair,
                 struct disk_check_result *c)
{
    *c = (struct disk_check_result){.report = on_report, .context = u};
    u->lost = 0;
    return disk_check(d, repair, c);
}

static bool is_sound(int r, const struct disk_check_result *c)
{
    return !r && !c->corruptions && !c->errors;
}

/* ---- reading --------------------------------------------------------- */

/* What the map says of these bytes must be so. */
static bool map_agrees(struct fuzz_use *u, struct disk *d, const struct disk_extent *e)
{
    static uint8_t buf[PIECE], host[PIECE];
    size_t n = e->len < PIECE ? (size_t)e->len : PIECE;
    struct iovec iov = {buf, n};
    int r = disk_read(d, e->off, buf, n);

    if (r < 0)
        return true;
    if (e->kind != DISK_DATA && !disk_slice_is_zero((struct disk_slice){&iov, 1, 0}, n))
        return fuzz_fail(u, "mapped as zero at 0x%llx, but it is not",
                         (unsigned long long)e->off);
    if (!e->has_host_off || !e->path)
        return true;
    for (unsigned i = 0; i < FUZZ_FILES; i++) {
        if (strcmp(e->path, fuzz_fs_path(i)))
            continue;
        fuzz_fs_read(i, e->host_off, host, n);
        if (memcmp(buf, host, n))
            return fuzz_fail(u, "0x%llx is not what lies at 0x%llx of %s",
                             (unsigned long long)e->off, (unsigned long long)e->host_off,
                             e->path);
    }
    return true;
}

static bool use_map(struct fuzz_use *u, struct disk *d)
{
    uint64_t size = disk_size(d);
    struct disk_extent e;
    unsigned n = 0;

    for (uint64_t off = 0; off < size && n < MAX_EXTENTS; off += e.len, n++) {
        uint64_t left = size - off, want = left < (16 << 20) ? left : 16 << 20;

        if (disk_map(d, off, want, &e) < 0) {
            e.len = want < PIECE ? want : PIECE;
            continue;
        }
        if (e.off != off || !e.len || e.len > want)
            return fuzz_fail(u, "map at 0x%llx says 0x%llx, %llu bytes", (unsigned long long)off,
                             (unsigned long long)e.off, (unsigned long long)e.len);
        if (!map_agrees(u, d, &e))
            return false;
    }
    return true;
}

static void on_done(struct disk_req *r)
{
    r->owner = NULL;
}

/* By a queue and by hand the same. */
static bool use_queue(struct fuzz_use *u, struct disk *d, uint64_t off, size_t n)
{
    static uint8_t one[PIECE], other[PIECE];
    struct iovec iov = {one, n};
    struct disk_req r = {.op = DISK_READ, .niov = 1, .iov = &iov, .off = off, .len = n,
                         .done = on_done, .owner = u};
    struct disk_queue *q = disk_queue_new(d);
    int by_hand;

    disk_submit(q, &r);
    while (r.owner)
        disk_wait(q);
    disk_queue_free(q);
    by_hand = disk_read(d, off, other, n);
    if (!by_hand != !r.result || (!by_hand && memcmp(one, other, n)))
        return fuzz_fail(u, "read at 0x%llx: by a queue %d, by hand %d or other bytes",
                         (unsigned long long)off, r.result, by_hand);
    return true;
}

static bool use_reads(struct fuzz_use *u, struct disk *d)
{
    static uint8_t buf[PIECE];
    uint64_t size = disk_size(d);

    for (unsigned i = 0; i < 12; i++) {
        uint64_t n = 1 + some(u, PIECE), off = i == 0   ? 0
                                              : i == 1 ? (size > n ? size - n : 0)
                                                       : some(u, i & 1 ? size : 1 << 20);

        if (off >= size)
            continue;
        n = n < size - off ? n : size - off;
        if (i == 5 && !use_queue(u, d, off, (size_t)n))
            return false;
        (void)!disk_read(d, off, buf, (size_t)n);
    }
    if (disk_read(d, size, buf, 1) != -EINVAL)
        return fuzz_fail(u, "a byte behind the end can be read");
    return true;
}

static bool text_ends(const char *s, size_t cap)
{
    return memchr(s, 0, cap) != NULL;
}

static bool use_info(struct fuzz_use *u, struct disk *d)
{
    struct disk_info i;

    if (disk_get_info(d, &i) < 0)
        return true;
    if (i.nfacts > DISK_MAX_FACTS || i.size != disk_size(d) || i.size > DISK_MAX_SIZE)
        return fuzz_fail(u, "info: %u facts, size %llu", i.nfacts, (unsigned long long)i.size);
    for (unsigned k = 0; k < i.nfacts; k++)
        if (!text_ends(i.facts[k].text, sizeof i.facts[k].text))
            return fuzz_fail(u, "info: %s has no end", i.facts[k].name);
    return true;
}

static bool use_snapshots(struct fuzz_use *u, struct disk *d)
{
    struct disk_snapshot *list;
    struct base_text error = {0};
    static uint8_t buf[PIECE];
    struct disk *s;
    unsigned n;
    bool ok = true;
    int r = disk_snapshot_list(d, &list, &n);

    for (unsigned i = 0; !r && ok && i < n && i < 3; i++) {
        ok = text_ends(list[i].name, sizeof list[i].name) &&
             text_ends(list[i].id, sizeof list[i].id);
        if (!ok || disk_snapshot_open(d, list[i].id, &s, &error) < 0)
            continue;
        if (disk_size(s))
            (void)!disk_read(s, 0, buf, disk_size(s) < PIECE ? disk_size(s) : PIECE);
        ok = use_map(u, s);
        disk_close(s);
    }
    free(list);
    if (error.len && !fuzz_line_is_clear(error.data))
        ok = fuzz_fail(u, "snapshot: no clear line: %s", error.data);
    base_text_free(&error);
    return ok;
}

static bool use_bitmaps(struct fuzz_use *u, struct disk *d)
{
    struct disk_bitmap *list;
    struct base_text error = {0};
    uint64_t start, len;
    unsigned n;
    bool ok = true;
    int r = disk_bitmap_list(d, &list, &n);

    for (unsigned i = 0; !r && ok && i < n && i < 3; i++) {
        ok = text_ends(list[i].name, sizeof list[i].name);
        if (ok && !disk_bitmap_next(d, list[i].name, 0, &start, &len, &error) && len &&
            (start >= disk_size(d) || len > disk_size(d) - start))
            ok = fuzz_fail(u, "bitmap: dirty behind the end");
    }
    free(list);
    if (error.len && !fuzz_line_is_clear(error.data))
        ok = fuzz_fail(u, "bitmap: no clear line: %s", error.data);
    base_text_free(&error);
    return ok;
}

bool fuzz_use_read(struct fuzz_use *u, bool *sound, const char **format)
{
    struct disk_check_result c = {0};
    struct disk *d;
    bool ok;

    *sound = false;
    *format = NULL;
    if (!open_image(u, FUZZ_IMAGE, NULL, false, false, &d))
        return false;
    /* check opens what else would be refused */
    if (!d && !open_image(u, FUZZ_IMAGE, "qcow2", false, true, &d))
        return false;
    if (!d)
        return true;
    ok = use_info(u, d) && use_map(u, d) && use_reads(u, d) && use_snapshots(u, d) &&
         use_bitmaps(u, d);
    if (ok)
        *sound = is_sound(check(u, d, DISK_REPAIR_NONE, &c), &c);
    *format = disk_driver_find(disk_format(d))->name;
    disk_close(d);
    return ok && !u->why->len;
}

/* ---- repair ---------------------------------------------------------- */

bool fuzz_use_repair(struct fuzz_use *u, bool *sound)
{
    struct disk_check_result c = {0}, again;
    struct disk *d;
    int r;

    *sound = false;
    if (!open_image(u, FUZZ_COPY, "qcow2", true, true, &d))
        return false;
    if (!d)
        return true;
    r = check(u, d, DISK_REPAIR_ALL, &c);
    if (disk_close_result(d) < 0 || r < 0)
        return !u->why->len;
    if (!open_image(u, FUZZ_COPY, "qcow2", false, true, &d) || !d)
        return fuzz_fail(u, "repaired, and cannot be opened to be checked");
    r = check(u, d, DISK_REPAIR_NONE, &again);
    disk_close(d);
    *sound = is_sound(r, &again) && !again.leaks;
    if (c.corruptions == c.corruptions_fixed && !c.errors && !*sound)
        return fuzz_fail(u, "repaired (%llu of %llu corruptions), and not sound: %d, %llu "
                         "corruptions, %llu leaks, %llu errors",
                         (unsigned long long)c.corruptions_fixed,
                         (unsigned long long)c.corruptions, r,
                         (unsigned long long)again.corruptions, (unsigned long long)again.leaks,
                         (unsigned long long)again.errors);
    return !u->why->len;
}

/* ---- writing --------------------------------------------------------- */

enum { WINDOWS = 3, WINDOW = 40 << 10, SNAPSHOTS = 3 };

struct window {
    uint64_t off;
    size_t len;
    uint8_t now[WINDOW], then[SNAPSHOTS][WINDOW];
};

struct model {
    struct disk *d;
    struct window w[WINDOWS];
    bool lost;  /* an operation failed: the content is anything */
    bool taken[SNAPSHOTS];
    uint64_t cluster;
};

static bool model_begin(struct fuzz_use *u, struct model *m)
{
    uint64_t size = disk_size(m->d), end = 0;
    struct disk_info i;
    bool readable = true;

    if (disk_get_info(m->d, &i) < 0)
        return fuzz_fail(u, "no info");
    m->lost = false;
    memset(m->taken, 0, sizeof m->taken);
    m->cluster = i.cluster_size;
    for (unsigned k = 0; k < WINDOWS; k++) {
        struct window *w = &m->w[k];

        w->off = k * (size / WINDOWS) / WINDOW * WINDOW;
        w->len = size - w->off < WINDOW ? (size_t)(size - w->off) : WINDOW;
        if (w->off < end)
            w->len = 0;
        end = w->off + w->len > end ? w->off + w->len : end;
        readable = readable && !disk_read(m->d, w->off, w->now, w->len);
    }
    return readable;
}

static bool window_holds(struct fuzz_use *u, struct model *m, struct window *w, const char *when)
{
    static uint8_t buf[WINDOW];
    int r = disk_read(m->d, w->off, buf, w->len);

    if (r < 0)
        return fuzz_fail(u, "%s: cannot be read: %s", when, strerror(-r));
    if (!memcmp(buf, w->now, w->len))
        return true;
    for (size_t i = 0; i < w->len; i++)
        if (buf[i] != w->now[i])
            return fuzz_fail(u, "%s: byte 0x%llx is 0x%02x, not 0x%02x", when,
                             (unsigned long long)(w->off + i), buf[i], w->now[i]);
    return true;
}

static bool model_holds(struct fuzz_use *u, struct model *m, const char *when)
{
    bool ok = true;

    for (unsigned k = 0; k < WINDOWS && ok && !m->lost; k++)
        ok = window_holds(u, m, &m->w[k], when);
    return ok;
}

static int do_write(struct fuzz_use *u, struct model *m, struct window *w, size_t at, size_t len)
{
    uint64_t kind = base_rand(&u->seed);
    unsigned flags = 0;
    struct iovec iov;
    int r;

    if (some(u, 4) == 0 && m->cluster <= w->len) {
        at = at / m->cluster * m->cluster;
        len = m->cluster < w->len - at ? m->cluster : w->len - at;
        flags = DISK_REQ_COMPRESSED;
    }
    for (size_t i = 0; i < len; i++)
        w->now[at + i] = kind & 1 ? (uint8_t)(kind >> 8) : (uint8_t)(base_rand(&u->seed));
    iov = (struct iovec){w->now + at, len};
    r = disk_writev(m->d, w->off + at, &iov, 1, flags);
    trace(flags ? "write compressed" : "write", w->off + at, len, r);
    return r;
}

static int do_snapshot(struct fuzz_use *u, struct model *m)
{
    unsigned s = (unsigned)some(u, SNAPSHOTS);
    char name[16];
    bool was = m->taken[s], revert = some(u, 2) && !u->bitmaps; /* with bitmaps it is refused */
    int r;

    snprintf(name, sizeof name, "fuzz %u", s);
    for (unsigned k = 0; k < WINDOWS; k++) {
        if (!was)
            memcpy(m->w[k].then[s], m->w[k].now, m->w[k].len);
        else if (revert)
            memcpy(m->w[k].now, m->w[k].then[s], m->w[k].len);
    }
    m->taken[s] = !was || revert;
    if (!was)
        r = disk_snapshot_create(m->d, name, NULL);
    else
        r = revert ? disk_snapshot_revert(m->d, name, NULL)
                   : disk_snapshot_delete(m->d, name, NULL);
    if (r < 0)
        m->taken[s] = was;
    trace(!was ? "create snapshot" : revert ? "revert" : "delete snapshot", s, 0, r);
    return r;
}

/* Persistent bitmaps; what they say is not known here, only that all stays sound. */
static int do_bitmap(struct fuzz_use *u, struct model *m)
{
    static const char *const names[] = {"one", "first", "second"};
    const char *name = names[some(u, 3)], *other = names[some(u, 3)];
    struct base_text error = {0};
    uint64_t what = some(u, 6);
    int r = 0;

    switch (what) {
    case 0: case 1: r = disk_bitmap_add(m->d, name, 512u << some(u, 12), &error); break;
    case 2: r = disk_bitmap_remove(m->d, name, &error); break;
    case 3: r = disk_bitmap_clear(m->d, name, &error); break;
    case 4: r = disk_bitmap_enable(m->d, name, some(u, 2), &error); break;
    default: r = disk_bitmap_merge(m->d, name, m->d, other, &error); break;
    }
    trace("bitmap", what, 0, r);
    if (r < 0 && (!error.len || !fuzz_line_is_clear(error.data)))
        fuzz_fail(u, "bitmap: no clear line for error %d", -r);
    base_text_free(&error);
    return r == -EEXIST || r == -ENOENT || r == -EBUSY ? 0 : r;
}

static int do_something(struct fuzz_use *u, struct model *m)
{
    struct window *w = &m->w[some(u, WINDOWS)];
    size_t at = some(u, w->len), len;
    int r;

    if (!w->len)
        return 0;
    len = 1 + some(u, some(u, 2) ? 600 : 40000);
    len = len < w->len - at ? len : w->len - at;
    switch (some(u, 8)) {
    case 0: case 1: case 2: return do_write(u, m, w, at, len);
    case 3:
        memset(w->now + at, 0, len);
        r = disk_zero(m->d, w->off + at, len, some(u, 2) ? DISK_REQ_MAY_UNMAP : 0);
        trace("zero", w->off + at, len, r);
        return r;
    case 4:
        r = disk_discard(m->d, w->off + at, len);
        trace("discard", w->off + at, len, r);
        /* what it leaves there is not promised: it is looked at */
        return r ? r : disk_read(m->d, w->off + at, w->now + at, len);
    case 5:
        r = disk_flush(m->d);
        trace("flush", 0, 0, r);
        return r;
    case 6: return do_snapshot(u, m);
    default: return u->bitmaps ? do_bitmap(u, m) : do_snapshot(u, m);
    }
}

/* What may fail in a sound image: data that cannot be decompressed, a full disk, narrow refcounts,
 * what the format cannot do. */
static bool may_fail(int r)
{
    return r == -EIO || r == -ENOSPC || r == -EFBIG || r == -ERANGE || r == -ENOTSUP ||
           r == -EINVAL || r == -EOVERFLOW || r == -EUCLEAN;
}

static bool closed_well(struct fuzz_use *u, struct model *m)
{
    struct disk_check_result c;
    bool failed = m->d->failed;
    unsigned lost = u->lost; /* before */
    int r = disk_close_result(m->d);

    m->d = NULL;
    if (r < 0 && !may_fail(r))
        return fuzz_fail(u, "close: %s", strerror(-r));
    if (!open_image(u, FUZZ_COPY, "qcow2", false, true, &m->d) || !m->d)
        return fuzz_fail(u, "written to, and cannot be opened");
    m->lost = m->lost || r < 0 || failed;
    r = check(u, m->d, DISK_REPAIR_NONE, &c);
    if (!is_sound(r, &c))
        return fuzz_fail(u, "written to, and not sound: %d, %llu corruptions, %llu errors", r,
                         (unsigned long long)c.corruptions, (unsigned long long)c.errors);
    if (u->lost && !lost && !m->lost)
        return fuzz_fail(u, "written to, and %u clusters are lost", u->lost);
    return model_holds(u, m, "opened again");
}

bool fuzz_use_write(struct fuzz_use *u)
{
    static struct model m;
    uint8_t autoclear;
    bool ok = true;
    int r;

    fuzz_fs_read(FUZZ_COPY, 95, &autoclear, 1);
    u->bitmaps = autoclear & 1 || some(u, 3) == 0;
    if (!open_image(u, FUZZ_COPY, "qcow2", true, false, &m.d))
        return false;
    if (!m.d) /* a data file that is not there, a backing file that says no format, ... */
        return true;
    m.lost = !model_begin(u, &m);
    trace("opened for writing", disk_size(m.d), m.cluster, m.lost);
    for (unsigned i = 0; i < OPERATIONS && ok; i++) {
        r = do_something(u, &m);
        if (r < 0 && !may_fail(r))
            ok = fuzz_fail(u, "an operation fails: %s", strerror(-r));
        m.lost = m.lost || r < 0;
        ok = ok && (some(u, 4) || model_holds(u, &m, "written"));
    }
    if (ok)
        ok = closed_well(u, &m);
    disk_close(m.d);
    return ok && !u->why->len;
}
