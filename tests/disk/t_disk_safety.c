/* t_disk_safety.c: what was flushed stays, whatever fails. SPDX-License-Identifier: Apache-2.0
 *
 * Blocks are filled with their number and a version that rises with each write. Afterwards each
 * unit of a block must have a version between the last one flushed and the last one written, and
 * the check must find no corruption (leaks are allowed) after
 *   - an I/O error, a full disk or a short transfer at each operation on the host file in turn,
 *   that
 *     one time or from then on (a layer in front of disk_file_host);
 *   - kill -9 of the writer;
 *   - a power loss: the layer records writes and syncs; everything before the last sync at some
 *     moment and any part of what came after is put together again, with torn writes.
 * Behind the blocks is room where clusters are zeroed and discarded, so that others use them again.
 * Variants with dirty bitmaps have one from the beginning: if it says afterwards that it can be
 * relied on, whatever was written since it was cleared must be dirty in it.
 */
#include "disk/disk_driver.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 512, SCRATCH = 128, SIZE = BLOCK * (BLOCKS + SCRATCH) };

static unsigned failed;
static uint64_t seed;

static void result(bool ok, const char *name)
{
    printf("%s - %s\n", ok ? "ok" : "not ok", name);
    fflush(stdout);
    failed += !ok;
}

/* ---- blocks ---------------------------------------------------------- */

struct unit { uint64_t block, version; };
struct history { /* shared with the child that is killed */
    uint64_t written[BLOCKS], done[BLOCKS], flushed[BLOCKS]; /* tried, without error, ... */
    uint64_t cleared[BLOCKS]; /* when the bitmap was */
};

static void fill_block(uint64_t block, uint64_t version, uint8_t *buf)
{
    struct unit u = {block, version};

    for (size_t i = 0; i < BLOCK; i += sizeof u)
        memcpy(buf + i, &u, sizeof u);
}

static bool block_ok(const struct history *h, uint64_t block, const uint8_t *buf)
{
    for (size_t i = 0; i < BLOCK; i += sizeof(struct unit)) {
        struct unit u;

        memcpy(&u, buf + i, sizeof u);
        if ((u.version && u.block != block) || u.version < h->flushed[block] ||
            u.version > h->written[block]) {
            printf("# block %u has version %u of block %u, flushed %u, written %u\n",
                   (unsigned)block, (unsigned)u.version, (unsigned)u.block,
                   (unsigned)h->flushed[block], (unsigned)h->written[block]);
            return false;
        }
    }
    return true;
}

/* Something with bitmaps; the first one records all the time. */
static void bitmap_op(struct disk *d)
{
    static const char *const names[] = {"tmp", "other"};
    const char *name = names[base_rand(&seed) % 2];

    switch (base_rand(&seed) % 6) {
    case 0: (void)!disk_bitmap_add(d, name, 512u << base_rand(&seed) % 12, NULL); break;
    case 1: (void)!disk_bitmap_remove(d, name, NULL); break;
    case 2: (void)!disk_bitmap_clear(d, name, NULL); break;
    case 3: (void)!disk_bitmap_merge(d, name, d, "all", NULL); break;
    case 4: (void)!disk_bitmap_merge(d, "all", d, name, NULL); break;
    default: (void)!disk_bitmap_enable(d, name, base_rand(&seed) & 1, NULL); break;
    }
}

/* Something in the room behind the blocks. */
static void scratch_op(struct disk *d)
{
    static const uint8_t data[8 * BLOCK] = {1, 2, 3};
    uint64_t off = (BLOCKS + base_rand(&seed) % (SCRATCH - 8)) * BLOCK;
    uint64_t len = (1 + base_rand(&seed) % 8) * BLOCK;

    switch (base_rand(&seed) % 4) {
    case 0: (void)!disk_zero(d, off, len, base_rand(&seed) & 1 ? DISK_REQ_MAY_UNMAP : 0); break;
    case 1: (void)!disk_write(d, off, data, len); break;
    default: (void)!disk_discard(d, off & ~(uint64_t)(8 * BLOCK - 1), 8 * BLOCK); break;
    }
}

static void record_flush(const uint64_t *done);
static bool bitmaps;   /* this variant has them */
static unsigned sound; /* how often the first could be relied on */

/* One random operation; errors are no failure. */
static void one_op(struct disk *d, struct history *h)
{
    uint64_t block = base_rand(&seed) % BLOCKS, n = 1 + base_rand(&seed) % 4;
    uint64_t before[BLOCKS];
    uint8_t buf[4 * BLOCK];
    struct iovec iov = {buf, 0};

    n = n > BLOCKS - block ? BLOCKS - block : n;
    if (base_rand(&seed) % 12 == 0) {
        memcpy(before, h->done, sizeof before);
        if (!disk_flush(d)) {
            memcpy(h->flushed, before, sizeof before);
            record_flush(before);
        }
        return;
    }
    if (bitmaps && base_rand(&seed) % 20 == 0) {
        bitmap_op(d);
        return;
    }
    if (base_rand(&seed) % 4 == 0) {
        scratch_op(d);
        return;
    }
    if (base_rand(&seed) % 8 == 0) {
        struct disk_extent e;

        if (!disk_read(d, block * BLOCK, buf, n * BLOCK))
            (void)disk_map(d, block * BLOCK, n * BLOCK, &e);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        fill_block(block + i, ++h->written[block + i], buf + i * BLOCK);
    iov.iov_len = n * BLOCK;
    if (!disk_writev(d, block * BLOCK, &iov, 1,
                     base_rand(&seed) % 4 ? 0 : DISK_REQ_COMPRESSED))
        memcpy(h->done + block, h->written + block, n * sizeof h->done[0]);
}

/* What is newer than the bitmap "all" must be dirty in it, if it can be relied on. */
static bool newer_is_dirty(struct disk *d, const struct history *h)
{
    uint64_t start = 0, len = 0;
    struct unit u[BLOCK / sizeof(struct unit)];

    for (uint64_t b = 0; b < BLOCKS; b++) {
        if (b * BLOCK >= start + len && disk_bitmap_next(d, "all", b * BLOCK, &start, &len, NULL))
            return false;
        if (!len)
            start = SIZE;
        if (b * BLOCK >= start)
            continue;
        if (disk_read(d, b * BLOCK, u, BLOCK))
            return false;
        for (size_t i = 0; i < BASE_ARRAY_SIZE(u); i++)
            if (u[i].version > h->cleared[b]) {
                printf("# block %u was written, but is not dirty\n", (unsigned)b);
                return false;
            }
    }
    return true;
}

static bool bitmap_ok(struct disk *d, const struct history *h)
{
    struct disk_bitmap *list;
    unsigned n;
    bool ok = !disk_bitmap_list(d, &list, &n) && n && !strcmp(list[0].name, "all");

    if (!ok)
        printf("# the bitmap is not there\n");
    if (ok && !list[0].in_use) {
        sound++;
        ok = newer_is_dirty(d, h);
    }
    free(list);
    return ok;
}

static bool verify(const char *path, const struct history *h)
{
    struct disk_open_options o = {0};
    struct disk_check_result c = {0};
    struct base_text error = {0};
    uint8_t buf[BLOCK];
    struct disk *d;
    bool ok = true;

    if (disk_open(path, &o, &d, &error) < 0) {
        printf("# open: %s\n", error.data);
        base_text_free(&error);
        return false;
    }
    ok = disk_check(d, DISK_REPAIR_NONE, &c) == 0 && !c.corruptions && !c.errors;
    if (!ok)
        printf("# check: %u corruptions, %u errors\n", (unsigned)c.corruptions,
               (unsigned)c.errors);
    for (uint64_t b = 0; ok && b < BLOCKS; b++)
        ok = !disk_read(d, b * BLOCK, buf, BLOCK) && block_ok(h, b, buf);
    ok = ok && (!bitmaps || bitmap_ok(d, h));
    disk_close(d);
    return ok;
}

static struct variant {
    const char *name;
    struct disk_create_options o;
    bool bitmaps;
} variants[] = {
    {"default", {0}},
    {"4k clusters, refcount 1", {.cluster_size = 4096, .refcount_bits = 1}},
    {"512", {.cluster_size = 512}},
    {"extended", {.extended_l2 = DISK_ON, .cluster_size = 16384}},
    {"overlay", {.backing = "base.raw", .backing_format = "raw"}},
    {"lazy", {.lazy_refcounts = DISK_ON}},
    {"data file", {.data_file = "s.data"}},
    {"bitmaps", {0}, true},
    {"bitmaps, 512", {.cluster_size = 512}, true},
    {"bitmaps, lazy, overlay", {.lazy_refcounts = DISK_ON, .backing = "base.raw",
                                .backing_format = "raw"}, true},
};

static void make_image(const struct variant *v)
{
    struct disk_create_options o = v->o;
    struct base_text error = {0};

    unlink("s.data");
    o.size = SIZE;
    o.overwrite = true;
    if (disk_create("s.qcow2", &o, &error) < 0)
        base_bug(__FILE__, __LINE__, "%s", error.data);
    bitmaps = v->bitmaps;
    if (bitmaps) {
        struct disk_open_options how = {0};
        struct disk *d;

        if (disk_open("s.qcow2", &how, &d, &error) < 0 ||
            disk_bitmap_add(d, "all", BLOCK, &error) < 0 || disk_close_result(d) < 0)
            base_bug(__FILE__, __LINE__, "%s", error.data);
    }
}

/* ---- a layer that fails ---------------------------------------------- */

enum fault { FAULT_EIO, FAULT_ENOSPC, FAULT_SHORT, FAULTS };
static struct {
    int64_t left; /* operations until it fails */
    enum fault fault;
    bool for_good, off;
} layer;

/* 0, or what the operation is to return; *shorten: transfers that much less. */
static int fault(bool writes, bool *shorten)
{
    if (layer.off || layer.left-- > 0 || (layer.left < -1 && !layer.for_good))
        return 0;
    if (layer.fault == FAULT_SHORT) {
        if (shorten)
            *shorten = true;
        return 0;
    }
    return layer.fault == FAULT_EIO ? -EIO : writes ? -ENOSPC : 0;
}

static ssize_t layer_preadv(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                            int flags)
{
    bool shorten = false;
    struct iovec first = {iov[0].iov_base, iov[0].iov_len / 2 + 1};
    int r = fault(false, &shorten);

    return r ? r : disk_file_host.preadv(f, shorten ? &first : iov, shorten ? 1 : n, off, flags);
}

static ssize_t layer_pwritev(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                             int flags)
{
    bool shorten = false;
    struct iovec first = {iov[0].iov_base, iov[0].iov_len / 2 + 1};
    int r = fault(true, &shorten);

    return r ? r : disk_file_host.pwritev(f, shorten ? &first : iov, shorten ? 1 : n, off, flags);
}

static int layer_sync(struct disk_file *f)
{
    int r = fault(true, NULL);

    return r ? r : disk_file_host.sync(f);
}

static int layer_truncate(struct disk_file *f, uint64_t len)
{
    int r = fault(true, NULL);

    return r ? r : disk_file_host.truncate(f, len);
}

static void test_faults(const struct variant *v)
{
    struct disk_file_ops ops = disk_file_host;
    struct disk_open_options o = {.file_ops = &ops};
    char name[128];
    unsigned runs = 0;
    bool ok = true;

    ops.preadv = layer_preadv;
    ops.pwritev = layer_pwritev;
    ops.sync = layer_sync;
    ops.truncate = layer_truncate;
    for (int64_t at = 0; ok && at < 240; at += 1 + at / 24) {
        for (unsigned mode = 0; ok && mode < 2 * FAULTS; mode++) {
            struct history h = {0};
            struct disk *d;
            uint64_t start = seed;

            make_image(v);
            layer.off = true;
            if (disk_open("s.qcow2", &o, &d, NULL) < 0)
                break;
            layer.left = at;
            layer.fault = (enum fault)(mode / 2);
            layer.for_good = mode & 1;
            layer.off = false;
            for (int i = 0; i < 120; i++)
                one_op(d, &h);
            disk_close(d);
            layer.off = true;
            ok = verify("s.qcow2", &h);
            runs++;
            if (!ok)
                printf("# %s: operation %d, mode %u, seed %llu\n", v->name, (int)at, mode,
                       (unsigned long long)start);
        }
    }
    snprintf(name, sizeof name, "faults: %s: %u runs", v->name, runs);
    result(ok && runs > 100, name);
}

/* ---- power loss ------------------------------------------------------ */

enum { LOG_WRITE, LOG_ZERO, LOG_TRUNCATE, LOG_SYNC, LOG_FLUSHED, LOG_CLEARED };
struct entry {
    int kind;
    uint64_t off, len;
    uint8_t *data;
};
static struct {
    BASE_VEC(struct entry) log;
    BASE_VEC(size_t) closed; /* at which entries */
    bool on;
} record;

static void record_add(int kind, uint64_t off, uint64_t len, uint8_t *data)
{
    base_vec_push(&record.log, ((struct entry){kind, off, len, data}));
}

static void record_versions(int kind, const uint64_t *versions)
{
    uint8_t *copy;

    if (!record.on)
        return;
    copy = malloc(BLOCKS * sizeof *versions);
    memcpy(copy, versions, BLOCKS * sizeof *versions);
    record_add(kind, 0, 0, copy);
}

static void record_flush(const uint64_t *done)
{
    record_versions(LOG_FLUSHED, done);
}

static ssize_t record_pwritev(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                              int flags)
{
    ssize_t r = disk_file_host.pwritev(f, iov, n, off, flags);
    uint8_t *copy = malloc((size_t)r + 1);

    disk_slice_get((struct disk_slice){iov, n, 0}, copy, (size_t)r);
    record_add(LOG_WRITE, off, (uint64_t)r, copy);
    return r;
}

static int record_sync(struct disk_file *f)
{
    record_add(LOG_SYNC, 0, 0, NULL);
    return disk_file_host.sync(f);
}

static int record_truncate(struct disk_file *f, uint64_t len)
{
    record_add(LOG_TRUNCATE, len, 0, NULL);
    return disk_file_host.truncate(f, len);
}

static int record_punch(struct disk_file *f, uint64_t off, uint64_t len)
{
    record_add(LOG_ZERO, off, len, NULL);
    return disk_file_host.punch(f, off, len);
}

static int record_zero(struct disk_file *f, uint64_t off, uint64_t len)
{
    record_add(LOG_ZERO, off, len, NULL);
    return disk_file_host.zero(f, off, len);
}

/* After the last sync some of it arrived, of a write perhaps only the first sectors. */
static void replay_entry(struct disk_file *f, const struct entry *e, bool synced)
{
    uint64_t len = e->len;

    if (!synced && base_rand(&seed) % 2)
        return;
    if (!synced && e->kind == LOG_WRITE && base_rand(&seed) % 4 == 0)
        len = base_rand(&seed) % (len + 1) & ~UINT64_C(511);
    if (e->kind == LOG_WRITE && len)
        disk_file_write(f, e->off, e->data, len);
    else if (e->kind == LOG_ZERO)
        disk_file_punch(f, e->off, len);
    else if (e->kind == LOG_TRUNCATE)
        disk_file_truncate(f, e->off);
}

static bool replay(size_t cut, struct history *h)
{
    struct disk_file *f;
    size_t sync = 0;

    memset(h->flushed, 0, sizeof h->flushed);
    memset(h->cleared, 0, sizeof h->cleared);
    for (size_t i = 0; i < cut; i++) {
        if (record.log.data[i].kind == LOG_SYNC)
            sync = i;
        if (record.log.data[i].kind == LOG_FLUSHED)
            memcpy(h->flushed, record.log.data[i].data, sizeof h->flushed);
        if (record.log.data[i].kind == LOG_CLEARED)
            memcpy(h->cleared, record.log.data[i].data, sizeof h->cleared);
    }
    if (system("cp --sparse=always first.qcow2 s.qcow2") ||
        disk_file_open("s.qcow2", DISK_FILE_WRITE, NULL, NULL, &f, NULL) < 0)
        return false;
    for (size_t i = 0; i < cut; i++)
        replay_entry(f, &record.log.data[i], i < sync);
    disk_file_close(f);
    return verify("s.qcow2", h);
}

/* Anywhere; with bitmaps often about where they were stored and marked again. */
static size_t choose_cut(void)
{
    size_t n = record.log.len, at = base_rand(&seed) % (n + 1);

    if (record.closed.len && base_rand(&seed) % 4) {
        at = record.closed.data[base_rand(&seed) % record.closed.len] + base_rand(&seed) % 40;
        at = at < 20 ? 0 : at - 20;
    }
    return at < n ? at : n;
}

static void test_power(const struct variant *v)
{
    struct disk_file_ops ops = disk_file_host;
    struct disk_open_options o = {.file_ops = &ops};
    struct history h = {0};
    unsigned runs = getenv("TEST_LONG") ? 4000 : 150;
    uint64_t start = seed;
    struct disk *d;
    char name[128];
    bool ok = true;

    ops.pwritev = record_pwritev;
    ops.sync = record_sync;
    ops.truncate = record_truncate;
    ops.punch = record_punch;
    ops.zero = record_zero;
    make_image(v);
    sound = 0;
    ok = !system("cp --sparse=always s.qcow2 first.qcow2") && !disk_open("s.qcow2", &o, &d, NULL);
    record.on = true;
    for (int i = 0; ok && i < 1500; i++) {
        one_op(d, &h);
        if (bitmaps && i % 100 == 99) { /* stored, and marked again */
            if (base_rand(&seed) % 2 && !disk_bitmap_clear(d, "all", NULL))
                record_versions(LOG_CLEARED, h.written);
            ok = !disk_close_result(d) && !disk_open("s.qcow2", &o, &d, NULL);
            record_flush(h.done);
            base_vec_push(&record.closed, record.log.len);
        }
    }
    /* the length is not set while others may write behind what was the end when it was read */
    for (size_t i = 0; i < record.log.len && !bitmaps; i++)
        ok = ok && record.log.data[i].kind != LOG_TRUNCATE;
    disk_close(d);
    record.on = false;
    for (unsigned i = 0; ok && i < runs; i++)
        ok = replay(choose_cut(), &h);
    if (!ok)
        printf("# seed %llu\n", (unsigned long long)start);
    for (size_t i = 0; i < record.log.len; i++)
        free(record.log.data[i].data);
    base_vec_free(&record.log);
    base_vec_free(&record.closed);
    snprintf(name, sizeof name, "power loss: %s: %u replays, bitmap sound in %u", v->name, runs,
             sound);
    result(ok && (!bitmaps || sound), name);
}

/* ---- kill -9 --------------------------------------------------------- */

static void writer(struct history *h)
{
    struct disk_open_options o = {0};
    struct disk *d;

    if (disk_open("s.qcow2", &o, &d, NULL) < 0)
        _exit(1);
    for (;;)
        one_op(d, h);
}

/* A bitmap that was in use says nothing any more. */
static void make_image_again(struct history *h, const struct variant *v)
{
    memset(h, 0, sizeof *h);
    make_image(v);
}

static void test_kill(const struct variant *v)
{
    struct history *h = mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                             -1, 0);
    char name[128];
    bool ok = true;

    make_image(v);
    for (int i = 0; ok && i < 8; i++) {
        pid_t pid = fork();
        int status;

        if (!pid)
            writer(h);
        usleep((useconds_t)(2000 + base_rand(&seed) % 20000));
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        ok = WIFSIGNALED(status) && verify("s.qcow2", h);
        if (bitmaps)
            make_image_again(h, v);
        memcpy(h->done, h->flushed, sizeof h->done); /* the rest may have died with it */
        base_rand(&seed);
    }
    munmap(h, sizeof *h);
    snprintf(name, sizeof name, "kill -9: %s", v->name);
    result(ok, name);
}

int main(void)
{
    const char *given = getenv("ISOMER_SEED"), *only = getenv("ISOMER_ONLY");
    FILE *f = fopen("base.raw", "w");

    seed = given ? strtoull(given, NULL, 0) : base_now_ns();
    printf("# ISOMER_SEED=%llu\n", (unsigned long long)seed);
    if (ftruncate(fileno(f), SIZE) < 0)
        return 1;
    fclose(f);
    if (!freopen("errors.log", "w", stderr))
        return 1;
    for (size_t i = 0; i < BASE_ARRAY_SIZE(variants); i++) {
        if (only && !strstr(variants[i].name, only))
            continue;
        test_faults(&variants[i]);
        test_kill(&variants[i]);
        if (!variants[i].o.data_file)
            test_power(&variants[i]);
    }
    return failed != 0;
}
