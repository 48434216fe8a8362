/* t_disk_qcow2.c: qcow2 images against qemu-img and qemu-io. SPDX-License-Identifier: Apache-2.0
 *
 * For each combination of options: random operations on an image of ours with a plain array as the
 * oracle, and the same on an image that qemu-img made and qemu-io wrote to. Afterwards our check
 * and qemu-img check must find nothing, and what qemu-img converts to raw must be the oracle, after
 * closing and opening in between. Seeds are printed; ISOMER_SEED repeats one.
 */
#include "disk/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMAGE = 3 * 1024 * 1024 + 512, OPS = 300, MAX_OP = 200 * 1024 };

static unsigned failed;
static uint64_t seed;

static void result(bool ok, const char *name, const char *why)
{
    printf(ok ? "ok - %s\n" : "not ok - %s: %s\n", name, why);
    failed += !ok;
}

static uint64_t rnd(uint64_t n)
{
    return base_rand(&seed) % n;
}

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[4096];
    va_list ap;
    int n, status;

    va_start(ap, fmt);
    n = vsnprintf(command, sizeof command - 32, fmt, ap);
    va_end(ap);
    snprintf(command + n, sizeof command - (size_t)n, " >run.log 2>&1");
    status = system(command);
    if (status) {
        printf("# %.300s: status %d:\n", command, status);
        fflush(stdout);
        status |= system("tail -n 3 run.log");
    }
    return status;
}

/* ---- the image and its oracle ---------------------------------------- */

struct variant {
    const char *name;
    struct disk_create_options o;
    const char *qemu; /* the same as qemu-img options */
};

static void fill(uint8_t *p, size_t n)
{
    if (rnd(3) == 0) /* compressible */
        memset(p, (int)rnd(256), n);
    else
        for (size_t i = 0; i + 8 <= n; i += 8) {
            uint64_t v = base_rand(&seed);
            memcpy(p + i, &v, rnd(2) ? 8 : 2);
        }
}

/* What discard may leave: zeros or the old bytes. Asks the disk which, and believes it. */
static int do_discard(struct disk *d, uint8_t *oracle, uint64_t off, uint64_t len)
{
    uint8_t *now = malloc(len);
    int r = disk_discard(d, off, len);

    r = r ? r : disk_read(d, off, now, len);
    for (uint64_t i = 0; i < len && !r; i++)
        if (now[i] && now[i] != oracle[off + i])
            r = -EBADMSG;
    if (!r)
        memcpy(oracle + off, now, len);
    free(now);
    return r;
}

static int one_op(struct disk *d, uint8_t *oracle, uint64_t size, uint64_t cluster)
{
    static uint8_t buf[MAX_OP];
    uint64_t len = rnd(4) ? 1 + rnd(8192) : 1 + rnd(MAX_OP - 1), off = rnd(size);
    unsigned op = (unsigned)rnd(12);
    int r;

    if (rnd(2)) { /* aligned somehow */
        uint64_t align = UINT64_C(512) << rnd(8);

        off &= ~(align - 1);
        len = BASE_ALIGN_UP(len, align);
    }
    len = len > size - off ? size - off : len;
    len = len > MAX_OP ? MAX_OP : len;
    switch (op) {
    case 0: r = disk_zero(d, off, len, rnd(2) ? DISK_REQ_MAY_UNMAP : 0);
        memset(oracle + off, 0, len);
        return r;
    case 1: return do_discard(d, oracle, off, len);
    case 2: return disk_flush(d);
    case 3: {
        struct iovec iov = {buf, 0};

        off &= ~(cluster - 1);
        len = cluster > size - off ? size - off : cluster;
        if (cluster > MAX_OP)
            return 0;
        fill(buf, len);
        iov.iov_len = len;
        memcpy(oracle + off, buf, len);
        return disk_writev(d, off, &iov, 1, DISK_REQ_COMPRESSED);
    }
    case 4: case 5: case 6:
        r = disk_read(d, off, buf, len);
        return r ? r : memcmp(buf, oracle + off, len) ? -EBADMSG : 0;
    default:
        fill(buf, len);
        memcpy(oracle + off, buf, len);
        return disk_write(d, off, buf, len);
    }
}

static bool same(struct disk *d, const uint8_t *oracle, uint64_t size, const char *when)
{
    uint8_t *now = malloc(size);
    int r = disk_read(d, 0, now, size);
    uint64_t i = 0;

    while (!r && i < size && now[i] == oracle[i])
        i++;
    if (r || i < size)
        printf("# %s: result %d, differs at %llu\n", when, r, (unsigned long long)i);
    free(now);
    return !r && i == size;
}

static struct disk *open_image(const char *path, bool read_only)
{
    struct disk_open_options o = {.read_only = read_only, .cluster_cache = 1 << 20};
    struct base_text error = {0};
    struct disk *d = NULL;

    if (disk_open(path, &o, &d, &error) < 0)
        printf("# open: %s\n", error.data);
    base_text_free(&error);
    return d;
}

static void print_line(void *context, const char *line)
{
    printf("# %s\n", line);
}

static bool check_clean(const char *path)
{
    struct disk *d = open_image(path, true);
    struct disk_check_result r = {.report = print_line};
    int e = d ? disk_check(d, DISK_REPAIR_NONE, &r) : -1;

    disk_close(d);
    if (e || r.corruptions || r.leaks || r.errors)
        printf("# check: %d, %llu corruptions, %llu leaks, %llu errors\n", e,
               (unsigned long long)r.corruptions, (unsigned long long)r.leaks,
               (unsigned long long)r.errors);
    return !e && !r.corruptions && !r.leaks && !r.errors;
}

static bool qemu_agrees(const char *path, const uint8_t *oracle, uint64_t size)
{
    FILE *f = fopen("oracle.raw", "w");

    fwrite(oracle, 1, size, f);
    fclose(f);
    return !run("qemu-img check -f qcow2 %s", path) &&
           !run("qemu-img compare -f qcow2 -F raw %s oracle.raw", path);
}

static bool random_ops(const char *path, uint8_t *oracle, uint64_t size, unsigned ops)
{
    struct disk *d = open_image(path, false);
    struct disk_info info;
    bool ok = d != NULL;

    if (d)
        disk_get_info(d, &info);
    for (unsigned i = 0; ok && i < ops; i++) {
        int r = one_op(d, oracle, size, info.cluster_size);

        if (r < 0)
            printf("# operation %u: %s\n", i, strerror(-r));
        ok = !r;
    }
    ok = ok && same(d, oracle, size, "before close");
    if (d && disk_close_result(d) < 0)
        ok = false;
    return ok;
}

/* ---- one combination ------------------------------------------------- */

static void make_backing(uint8_t *oracle, uint64_t size)
{
    FILE *f = fopen("base.raw", "w");

    fill(oracle, size / 2);
    fwrite(oracle, 1, size, f);
    fclose(f);
}

static bool both_ways(const char *path, uint8_t *oracle)
{
    return random_ops(path, oracle, IMAGE, OPS) && check_clean(path) &&
           qemu_agrees(path, oracle, IMAGE) && random_ops(path, oracle, IMAGE, OPS / 3) &&
           check_clean(path) && qemu_agrees(path, oracle, IMAGE);
}

static void ours(const struct variant *v, uint8_t *oracle)
{
    struct disk_create_options o = v->o;
    struct base_text error = {0};
    char name[256];
    uint64_t first = seed;
    bool ok;

    memset(oracle, 0, IMAGE);
    unlink("a.qcow2");
    unlink("a.data");
    if (o.backing)
        make_backing(oracle, IMAGE);
    o.size = IMAGE;
    ok = disk_create("a.qcow2", &o, &error) == 0;
    if (!ok)
        printf("# create: %s\n", error.data);
    ok = ok && !run("qemu-img info a.qcow2") && both_ways("a.qcow2", oracle);
    base_text_free(&error);
    snprintf(name, sizeof name, "ours: %s", v->name);
    result(ok, name, "");
    if (!ok)
        printf("# seed %llu\n", (unsigned long long)first);
}

/* qemu-img makes it, qemu-io writes, compresses, zeroes, discards. */
static bool qemu_writes(const struct variant *v, uint8_t *oracle)
{
    struct base_text script = {0};
    bool ok;

    for (int i = 0; i < 40; i++) {
        uint64_t off = rnd(IMAGE - 70000) & ~UINT64_C(511), len = (1 + rnd(130)) * 512;
        unsigned byte = 1 + (unsigned)rnd(255);

        if (i < 6 && !v->o.data_file && !v->o.prealloc) {
            /* it compresses only what is not allocated yet */
            len = v->o.cluster_size > 65536        ? v->o.cluster_size
                  : strstr(v->qemu, "128k") != NULL ? 131072
                                                    : 65536;
            off = (i + rnd(2) * 6) * 2 * len;
            if (off + len > IMAGE)
                continue;
            base_text_printf(&script, " -c 'write -c -P %u %llu %llu'", byte,
                             (unsigned long long)off, (unsigned long long)len);
        } else if (i % 8 == 5) {
            byte = 0;
            base_text_printf(&script, " -c 'write -z %llu %llu'", (unsigned long long)off,
                             (unsigned long long)len);
        } else {
            base_text_printf(&script, " -c 'write -P %u %llu %llu'", byte,
                             (unsigned long long)off, (unsigned long long)len);
        }
        memset(oracle + off, (int)byte, len);
    }
    ok = !run("qemu-io -f qcow2%s b.qcow2", script.data);
    base_text_free(&script);
    return ok;
}

static void theirs(const struct variant *v, uint8_t *oracle)
{
    uint64_t first = seed;
    char name[256];
    struct disk *d;
    bool ok;

    memset(oracle, 0, IMAGE);
    unlink("b.qcow2");
    unlink("a.data");
    if (v->o.backing)
        make_backing(oracle, IMAGE);
    ok = !run("qemu-img create -f qcow2 %s b.qcow2 %d", v->qemu, IMAGE) && qemu_writes(v, oracle);
    d = ok ? open_image("b.qcow2", true) : NULL;
    ok = d && same(d, oracle, IMAGE, "qemu's image");
    disk_close(d);
    ok = ok && check_clean("b.qcow2") && both_ways("b.qcow2", oracle);
    snprintf(name, sizeof name, "theirs: %s", v->name);
    result(ok, name, "");
    if (!ok)
        printf("# seed %llu\n", (unsigned long long)first);
}

static const struct variant variants[] = {
    {"default", {0}, ""},
    {"version 2", {.version = 2}, "-o compat=0.10"},
    {"512", {.cluster_size = 512}, "-o cluster_size=512"},
    {"4k, refcount 1", {.cluster_size = 4096, .refcount_bits = 1},
     "-o cluster_size=4k,refcount_bits=1"},
    {"1k, refcount 2", {.cluster_size = 1024, .refcount_bits = 2},
     "-o cluster_size=1k,refcount_bits=2"},
    {"refcount 4", {.refcount_bits = 4}, "-o refcount_bits=4"},
    {"refcount 8", {.refcount_bits = 8, .cluster_size = 8192},
     "-o refcount_bits=8,cluster_size=8k"},
    {"refcount 32", {.refcount_bits = 32, .cluster_size = 512},
     "-o refcount_bits=32,cluster_size=512"},
    {"refcount 64, 2M", {.refcount_bits = 64, .cluster_size = 2 << 20},
     "-o refcount_bits=64,cluster_size=2M"},
    {"extended", {.extended_l2 = DISK_ON}, "-o extended_l2=on"},
    {"extended 16k", {.extended_l2 = DISK_ON, .cluster_size = 16384},
     "-o extended_l2=on,cluster_size=16k"},
    {"extended 128k zstd", {.extended_l2 = DISK_ON, .cluster_size = 128 << 10,
                            .compression = DISK_ZSTD},
     "-o extended_l2=on,cluster_size=128k,compression_type=zstd"},
    {"zstd", {.compression = DISK_ZSTD}, "-o compression_type=zstd"},
    {"lazy", {.lazy_refcounts = DISK_ON}, "-o lazy_refcounts=on"},
    {"overlay", {.backing = "base.raw", .backing_format = "raw"},
     "-b base.raw -F raw -o extended_l2=on,cluster_size=128k"},
    {"overlay 64k", {.backing = "base.raw", .backing_format = "raw", .extended_l2 = DISK_OFF},
     "-b base.raw -F raw"},
    {"overlay version 2", {.backing = "base.raw", .backing_format = "raw", .version = 2},
     "-b base.raw -F raw -o compat=0.10"},
    {"overlay 4k zstd", {.backing = "base.raw", .backing_format = "raw", .cluster_size = 4096,
                         .compression = DISK_ZSTD},
     "-b base.raw -F raw -o cluster_size=4k,compression_type=zstd"},
    {"data file", {.data_file = "a.data"}, "-o data_file=a.data"},
    {"data file raw", {.data_file = "a.data", .data_file_raw = true},
     "-o data_file=a.data,data_file_raw=on"},
    {"data file, extended", {.data_file = "a.data", .extended_l2 = DISK_ON},
     "-o data_file=a.data,extended_l2=on"},
    {"preallocated metadata", {.prealloc = DISK_PREALLOC_METADATA}, "-o preallocation=metadata"},
    {"preallocated, extended", {.prealloc = DISK_PREALLOC_FULL, .extended_l2 = DISK_ON},
     "-o preallocation=falloc,extended_l2=on"},
};

int main(void)
{
    uint8_t *oracle = malloc(IMAGE);
    const char *given = getenv("ISOMER_SEED"), *only = getenv("ISOMER_ONLY");

    seed = given ? strtoull(given, NULL, 0) : base_now_ns();
    printf("# ISOMER_SEED=%llu\n", (unsigned long long)seed);
    if (run("qemu-img --version")) {
        printf("skip - qemu-img is not there\n");
        return 0;
    }
    for (size_t i = 0; i < BASE_ARRAY_SIZE(variants); i++) {
        uint64_t start = seed + i * 1000;

        if (only && strcmp(only, variants[i].name))
            continue;
        seed = start;
        ours(&variants[i], oracle);
        seed = start + 1;
        theirs(&variants[i], oracle);
        seed = start - i * 1000;
    }
    free(oracle);
    return failed != 0;
}
