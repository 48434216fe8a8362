/* t_disk_safety.c: what was flushed stays, whatever fails. SPDX-License-Identifier: Apache-2.0
 *
 * Blocks are filled with their number and a version that rises with each write. Afterwards each
 * unit of a block must have a version between the last one flushed and the last one written, and
 * the check must find no corruption (leaks are allowed) after
 *   - an I/O error, a full disk or a short transfer at each operation on the host file in turn,
 *   that
 *     one time or from then on (a layer in front of disk_file_host);
 *   - kill -9 of the writer.
 */
#include "disk/disk_driver.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 512, SIZE = BLOCK * BLOCKS };

static unsigned failed;
static uint64_t seed;

static void result(bool ok, const char *name)
{
    printf("%s - %s\n", ok ? "ok" : "not ok", name);
    failed += !ok;
}

/* ---- blocks ---------------------------------------------------------- */

struct unit { uint64_t block, version; };
struct history { /* shared with the child that is killed */
    uint64_t written[BLOCKS], done[BLOCKS], flushed[BLOCKS]; /* tried, without error, ... */
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

/* One random operation; errors are no failure. */
static void one_op(struct disk *d, struct history *h)
{
    uint64_t block = base_rand(&seed) % BLOCKS, n = 1 + base_rand(&seed) % 4;
    uint64_t before[BLOCKS];
    uint8_t buf[4 * BLOCK];

    n = n > BLOCKS - block ? BLOCKS - block : n;
    if (base_rand(&seed) % 12 == 0) {
        memcpy(before, h->done, sizeof before);
        if (!disk_flush(d))
            memcpy(h->flushed, before, sizeof before);
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
    if (!disk_write(d, block * BLOCK, buf, n * BLOCK))
        memcpy(h->done + block, h->written + block, n * sizeof h->done[0]);
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
    disk_close(d);
    return ok;
}

static struct variant {
    const char *name;
    struct disk_create_options o;
} variants[] = {
    {"default", {0}},
    {"4k clusters, refcount 1", {.cluster_size = 4096, .refcount_bits = 1}},
    {"512", {.cluster_size = 512}},
    {"extended", {.extended_l2 = DISK_ON, .cluster_size = 16384}},
    {"overlay", {.backing = "base.raw", .backing_format = "raw"}},
    {"lazy", {.lazy_refcounts = DISK_ON}},
    {"data file", {.data_file = "s.data"}},
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
        memcpy(h->done, h->flushed, sizeof h->done); /* the rest may have died with it */
        base_rand(&seed);
    }
    munmap(h, sizeof *h);
    snprintf(name, sizeof name, "kill -9: %s", v->name);
    result(ok, name);
}

int main(void)
{
    const char *given = getenv("ISOMER_SEED");
    FILE *f = fopen("base.raw", "w");

    seed = given ? strtoull(given, NULL, 0) : base_now_ns();
    printf("# ISOMER_SEED=%llu\n", (unsigned long long)seed);
    if (ftruncate(fileno(f), SIZE) < 0)
        return 1;
    fclose(f);
    if (!freopen("errors.log", "w", stderr))
        return 1;
    for (size_t i = 0; i < BASE_ARRAY_SIZE(variants); i++) {
        test_faults(&variants[i]);
        test_kill(&variants[i]);
    }
    return failed != 0;
}
