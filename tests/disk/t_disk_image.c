/* t_disk_image.c: locks, damage, repair, size of qcow2 images. SPDX-License-Identifier: Apache-2.0
 *
 * One image for each case, damaged or changed byte by byte where need be; qemu-img judges what is
 * left.
 */
#include "disk/disk_qcow2.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, CLUSTER = 65536 };

static unsigned failed;
static struct base_text why;

static void result(bool ok, const char *name)
{
    printf("%s - %s%s%s\n", ok ? "ok" : "not ok", name, ok || !why.len ? "" : ": ",
           ok || !why.len ? "" : why.data);
    failed += !ok;
    base_text_free(&why);
}

static int run(const char *command)
{
    struct base_text text = {0};
    int status;

    base_text_printf(&text, "%s >run.log 2>&1", command);
    status = system(text.data);
    base_text_free(&text);
    return status;
}

/* ---- making and damaging images -------------------------------------- */

static void create(uint64_t size, struct disk_create_options o)
{
    struct base_text error = {0};

    o.size = size;
    o.overwrite = true;
    if (disk_create("i.qcow2", &o, &error) < 0)
        base_bug(__FILE__, __LINE__, "%s", error.data);
}

static struct disk *image(unsigned read_only, bool no_repair)
{
    struct disk_open_options o = {.read_only = read_only, .no_repair = no_repair};
    struct disk *d = NULL;

    base_text_free(&why);
    disk_open("i.qcow2", &o, &d, &why);
    return d;
}

static void put(uint64_t off, const void *data, size_t len)
{
    int fd = open("i.qcow2", O_RDWR);

    if (pwrite(fd, data, len, (off_t)off) != (ssize_t)len)
        base_bug(__FILE__, __LINE__, "pwrite");
    close(fd);
}

static uint64_t word(uint64_t off)
{
    uint64_t v = 0;
    int fd = open("i.qcow2", O_RDONLY);

    if (pread(fd, &v, sizeof v, (off_t)off) != sizeof v)
        v = 0;
    close(fd);
    return __builtin_bswap64(v);
}

static void put_word(uint64_t off, uint64_t v)
{
    v = __builtin_bswap64(v);
    put(off, &v, sizeof v);
}

static uint64_t l2_off(void)
{
    return word(word(40)) & 0x00fffffffffffe00;
}

static uint64_t block_off(void)
{
    return word(word(48));
}

/* An image with some data: guest clusters 0 to 15, all bytes 0x5a. */
static void filled(struct disk_create_options o)
{
    uint8_t *buf = malloc(MIB);
    struct disk *d;

    create(64 * MIB, o);
    d = image(0, false);
    memset(buf, 0x5a, MIB);
    disk_write(d, 0, buf, MIB);
    disk_close(d);
    free(buf);
}

static struct disk_check_result check(enum disk_repair repair)
{
    struct disk_check_result r = {0};
    struct disk *d = image(repair == DISK_REPAIR_NONE, true);

    if (!d || disk_check(d, repair, &r) < 0)
        r.errors++;
    disk_close(d);
    return r;
}

static bool still_filled(void)
{
    return !run("qemu-io -r -f qcow2 -c 'read -P 0x5a 0 1M' i.qcow2") &&
           !run("! grep -q verif run.log");
}

/* ---- locks ----------------------------------------------------------- */

static void test_locks(void)
{
    struct disk *d, *second;

    filled((struct disk_create_options){0});
    d = image(0, false);
    second = image(0, false);
    result(d && !second && strstr(why.data, "in use by"), "a second writer is refused");
    second = image(1, false);
    result(!second && strstr(why.data, "in use by"), "a reader of an image that is written, too");
    result(run("qemu-io -f qcow2 -c 'write 0 4k' i.qcow2") != 0, "so is qemu-io");
    disk_close(d);
    d = image(1, false);
    second = image(1, false);
    result(d && second && !run("qemu-io -r -f qcow2 -c 'read 0 4k' i.qcow2"), "readers share");
    result(run("qemu-io -f qcow2 -c 'write 0 4k' i.qcow2") != 0,
           "readers keep qemu-io's writes out");
    disk_close(d);
    disk_close(second);
}

static void test_holder(void)
{
    char pid[32];
    int in[2], out[2], status;
    pid_t child;
    struct disk *d;
    char byte = 0;

    if (pipe(in) < 0 || pipe(out) < 0)
        return;
    filled((struct disk_create_options){0});
    child = fork();
    if (!child) {
        d = image(0, false);
        byte = d != NULL;
        if (write(out[1], &byte, 1) < 0 || read(in[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    if (read(out[0], &byte, 1) != 1)
        byte = 0;
    d = image(0, false);
    snprintf(pid, sizeof pid, "process %d (t_disk_image)", (int)child);
    result(byte && !d && strstr(why.data, pid), "the message says which process it is");
    if (write(in[1], &byte, 1) < 0)
        kill(child, 9);
    waitpid(child, &status, 0);
}

/* ---- header ---------------------------------------------------------- */

static void test_header(void)
{
    uint8_t feature[48] = {0, 40, 'm', 'a', 'g', 'i', 'c'};
    struct disk *d;
    struct disk_info info;

    filled((struct disk_create_options){.geometry = {100, 16, 63}});
    d = image(1, false);
    disk_get_info(d, &info);
    result(info.geometry_stored && info.geometry.cylinders == 100, "geometry is kept");
    disk_close(d);

    /* an extension of someone else behind the feature table: replaces the geometry here */
    put_word(112, UINT64_C(0x1234567800000005));
    put(120, "hello\0\0", 8);
    put_word(128, 0);
    put_word(80, 0x80); /* a compatible feature that we do not know: no matter */
    put_word(88, 0x10); /* an autoclear one: cleared by who writes */
    d = image(0, false);
    result(d != NULL, "unknown compatible and autoclear features do no harm");
    disk_resize(d, 65 * MIB, 0, NULL);
    disk_close(d);
    result(word(112) == UINT64_C(0x1234567800000005) && word(120) >> 24 == UINT64_C(0x68656c6c6f) &&
               word(88) == 0 && word(80) == 0x80, "unknown extensions and features are kept");

    put_word(72, UINT64_C(1) << 40);
    put_word(112, UINT64_C(0x6803f85700000030));
    put(120, feature, sizeof feature);
    put_word(168, 0);
    d = image(1, false);
    result(!d && strstr(why.data, "\"magic\""),
           "an unknown incompatible feature is refused by name");
}

static void test_bounds(void)
{
    static const struct { uint64_t off; uint32_t v; const char *name; } cases[] = {
        {4, 4, "version 4"}, {20, 8, "cluster bits 8"}, {20, 22, "cluster bits 22"},
        {36, 0x7fffffff, "a huge L1 table"}, {36, 0, "an L1 table too small"},
        {56, 0x7fffffff, "a huge refcount table"}, {60, 0x7fffffff, "too many snapshots"},
        {96, 7, "refcount order 7"}, {100, 0xfffffff8, "a huge header"},
        {40, 0xffffffff, "an L1 table behind all"}, {44, 0x100, "an L1 table at no cluster"},
        {24, 0xffffffff, "a huge disk"}, {76, 8, "a compression type that is none"},
    };

    for (size_t i = 0; i < BASE_ARRAY_SIZE(cases); i++) {
        uint32_t v = __builtin_bswap32(cases[i].v);
        struct disk *d;

        filled((struct disk_create_options){0});
        put(cases[i].off, &v, sizeof v);
        d = image(1, false);
        result(!d && why.len, cases[i].name);
        disk_close(d);
    }
}

/* ---- damage ---------------------------------------------------------- */

static void test_overlap(void)
{
    uint8_t buf[4096] = {1};
    uint64_t l2;
    struct disk *d;

    filled((struct disk_create_options){0});
    l2 = l2_off();
    put_word(l2 + 3 * 8, l2 | UINT64_C(1) << 63); /* guest cluster 3: the L2 table itself */
    d = image(0, false);
    result(d && disk_write(d, 3 * CLUSTER, buf, sizeof buf) == -EIO &&
               disk_write(d, 0, buf, sizeof buf) == -EIO && disk_flush(d) == -EIO,
           "a write over an L2 table is refused, and so is all after it");
    disk_close(d);
    result(word(72) & 2 && (word(l2) & 0x00fffffffffffe00) != 0,
           "the corrupt bit is set, the table whole");
    d = image(0, false);
    result(!d && strstr(why.data, "corrupt"), "a corrupt image is not written");
    d = image(1, false);
    result(d != NULL, "but read");
    disk_close(d);

    filled((struct disk_create_options){0});
    put_word(l2_off() + 20 * 8, 12345 << 9); /* not at a cluster */
    d = image(0, false);
    result(d && disk_write(d, 20 * CLUSTER, buf, sizeof buf) < 0 && word(72) & 2,
           "an L2 entry that makes no sense is corruption");
    disk_close(d);

    filled((struct disk_create_options){0});
    put_word(word(40) + 0, word(48) | UINT64_C(1) << 63); /* the L2 table: the refcount table */
    d = image(0, false);
    result(!d && strstr(why.data, "overlaps"), "metadata that overlaps is found when it is opened");
    disk_close(d);
}

/* A free cluster that is a live table: what destroyed images elsewhere. */
static void test_allocator(void)
{
    uint8_t buf[4096] = {1};
    uint64_t l2;
    struct disk *d;

    filled((struct disk_create_options){0});
    l2 = l2_off();
    put(block_off() + l2 / CLUSTER * 2, "\0", 2);
    d = image(0, false);
    result(d && disk_write(d, 32 * MIB, buf, sizeof buf) < 0 && word(72) & 2,
           "an L2 table with refcount 0 is not allocated");
    disk_close(d);
}

/* ---- repair ---------------------------------------------------------- */

static void test_repair(void)
{
    struct disk_check_result r;
    uint64_t l2;

    filled((struct disk_create_options){0});
    put(block_off() + 7 * 2, "\0\5", 2);
    put(block_off() + 8 * 2, "\0\0", 2);
    r = check(DISK_REPAIR_NONE);
    result(r.corruptions >= 1 && r.leaks == 1, "check: a refcount too high, one too low");
    r = check(DISK_REPAIR_LEAKS);
    result(r.leaks_fixed == 1 && r.corruptions, "leaks are repaired, corruption is not");
    r = check(DISK_REPAIR_ALL);
    result(r.corruptions && r.corruptions == r.corruptions_fixed, "corruption is repaired");
    r = check(DISK_REPAIR_NONE);
    result(!r.corruptions && !r.leaks && !run("qemu-img check i.qcow2") && still_filled(),
           "qemu-img agrees");

    filled((struct disk_create_options){0});
    l2 = l2_off();
    put_word(l2 + 8, word(l2)); /* two guest clusters in one */
    r = check(DISK_REPAIR_ALL);
    result(r.corruptions == r.corruptions_fixed && !run("qemu-img check i.qcow2") && still_filled(),
           "a cluster used twice");

    filled((struct disk_create_options){0});
    put_word(word(48), 0x123456789 << 9); /* a refcount block that is none */
    r = check(DISK_REPAIR_ALL);
    result(r.corruptions && r.corruptions == r.corruptions_fixed, "refcounts are made anew");
    result(!run("qemu-img check i.qcow2") && still_filled() && !check(DISK_REPAIR_NONE).leaks,
           "qemu-img agrees with the new ones");

    filled((struct disk_create_options){0});
    put_word(word(48), 0); /* no block at all */
    r = check(DISK_REPAIR_ALL);
    result(!run("qemu-img check i.qcow2") && still_filled(), "a lost refcount block");
}

/* One entry damaged; repaired it is sound, for qemu-img too, can be written, and guest cluster 20
 * reads as zero. */
static void repaired(uint64_t at, uint64_t entry, uint64_t corruptions, const char *name)
{
    static const uint8_t zeros[CLUSTER];
    uint8_t buf[CLUSTER];
    struct disk_check_result r;
    struct disk *d;
    bool ok;

    put_word(at, entry);
    r = check(DISK_REPAIR_NONE);
    ok = r.corruptions == corruptions;
    r = check(DISK_REPAIR_ALL);
    ok = ok && r.corruptions_fixed == r.corruptions;
    r = check(DISK_REPAIR_NONE);
    ok = ok && !r.corruptions && !r.leaks && !run("qemu-img check i.qcow2") && still_filled();
    d = image(0, false);
    ok = ok && d && !disk_read(d, 20 * CLUSTER, buf, CLUSTER) && !memcmp(buf, zeros, CLUSTER) &&
         !disk_write(d, 20 * CLUSTER, buf, CLUSTER);
    result(ok && !disk_close_result(d) && !run("qemu-img check i.qcow2"), name);
}

/* What fuzzing found, mostly. */
static void test_entries(void)
{
    static const uint64_t copied = UINT64_C(1) << 63;
    struct base_text error = {0};
    struct disk *d, *s;

    filled((struct disk_create_options){0});
    repaired(l2_off() + 20 * 8, word(40) | copied, 1, "data in the L1 table");
    filled((struct disk_create_options){0});
    repaired(l2_off() + 20 * 8, block_off() | copied, 1, "data in a refcount block");
    filled((struct disk_create_options){0});
    repaired(l2_off() + 20 * 8, copied, 0, "an entry of a flag alone");
    filled((struct disk_create_options){0});
    repaired(l2_off() + 20 * 8, (UINT64_C(1) << 40) | copied, 1, "data behind the end of the file");
    filled((struct disk_create_options){0});
    repaired(l2_off() + 20 * 8, (UINT64_C(77) << 9) | copied, 1, "data that is at no cluster");
    create(64 * MIB, (struct disk_create_options){0});
    run("qemu-io -f qcow2 -c 'write -c -P 0x5a 0 64k' i.qcow2");
    put_word(l2_off(), word(l2_off()) | UINT64_C(0xff) << 54);
    result(check(DISK_REPAIR_NONE).corruptions == 1 &&
               check(DISK_REPAIR_ALL).corruptions_fixed == 1 &&
               !run("qemu-io -f qcow2 -c 'read -P 0x5a 0 64k' -c 'write -P 1 1M 1M' i.qcow2") &&
               !check(DISK_REPAIR_NONE).corruptions && !run("qemu-img check i.qcow2"),
           "compressed data that goes on behind the end of the file");

    filled((struct disk_create_options){0});
    put_word(word(40), word(word(40)) | 6);
    put_word(l2_off(), word(l2_off()) | 6);
    repaired(l2_off() + 20 * 8, 2, 3, "reserved bits, in three entries");
    filled((struct disk_create_options){.version = 2});
    repaired(l2_off() + 20 * 8, word(40) | copied, 1, "data in the L1 table, version 2");

    create(64 * MIB, (struct disk_create_options){.cluster_size = 4096});
    put_word(word(40) + 8, copied);
    d = image(0, false);
    result(d && !disk_write(d, 3 * MIB, "x", 1) && !disk_close_result(d) &&
               !run("qemu-img check i.qcow2"), "an L1 entry of a flag alone is none");

    filled((struct disk_create_options){.cluster_size = 4096});
    put_word(word(40) + 8, word(word(40)));
    result(check(DISK_REPAIR_NONE).corruptions, "one L2 table in two L1 entries");
    check(DISK_REPAIR_ALL);
    d = image(0, false);
    result(d && !disk_close_result(d) && !check(DISK_REPAIR_NONE).corruptions && still_filled(),
           "the second is taken away, and the image can be written to");

    filled((struct disk_create_options){0});
    put(block_off() + 2 * 20000, "\0\1", 2);
    result(check(DISK_REPAIR_NONE).leaks == 1 && check(DISK_REPAIR_ALL).leaks_fixed == 1 &&
               !check(DISK_REPAIR_NONE).leaks, "a refcount behind the end of the file");

    filled((struct disk_create_options){0});
    d = image(0, false);
    disk_snapshot_create(d, "one", NULL);
    disk_close(d);
    put_word(word(64) + 48, UINT64_C(1) << 61); /* size of the disk in it */
    d = image(1, false);
    result(d && disk_snapshot_open(d, "one", &s, &error) < 0 && error.len,
           "a snapshot of a disk without bound");
    disk_close(d);
    base_text_free(&error);

    close(open("base", O_CREAT | O_WRONLY, 0644));
    create(MIB, (struct disk_create_options){.backing = "base", .backing_format = "raw"});
    put(word(8), "b\n\33[m", 4);
    d = image(1, false);
    result(!d && !strpbrk(why.data, "\n\33"), "names with control characters stay one plain line");
}

static void test_dirty(void)
{
    struct disk *d;
    uint8_t buf[4096] = {1};
    pid_t child;
    int status;

    filled((struct disk_create_options){.lazy_refcounts = DISK_ON});
    child = fork();
    if (!child) {
        d = image(0, false);
        disk_write(d, 8 * MIB, buf, sizeof buf);
        disk_flush(d);
        _exit(0);
    }
    waitpid(child, &status, 0);
    result(word(72) & 1, "lazy refcounts: the dirty bit is set while it is written");
    d = image(0, false);
    disk_close(d);
    result(!(word(72) & 1) && !run("qemu-img check i.qcow2"), "and repaired when it is opened");
}

/* ---- trees ----------------------------------------------------------- */

/* What a snapshot does to refcounts and flags, without one. */
static void test_tree(void)
{
    struct disk_check_result c = {0};
    struct disk *d;
    struct q2 *q;
    uint64_t end;
    bool ok;

    filled((struct disk_create_options){.refcount_bits = 2});
    d = image(0, false);
    q = d->state;
    end = q->end;
    q2_close_gate(q);
    ok = !q2_commit_all(q) && !q2_tree_unflag(q) && !q2_commit_all(q) &&
         !q2_tree_add(q, q->l1, q->h.l1_size, 1) && !q2_tree_add(q, q->l1, q->h.l1_size, 1) &&
         q2_tree_add(q, q->l1, q->h.l1_size, 1) == -ERANGE;
    q2_open_gate(q);
    ok = ok && !disk_check(d, DISK_REPAIR_NONE, &c) && c.leaks == 2 * 17 && !c.corruptions;
    result(ok, "a tree counted twice, and not more than refcounts of two bits can");
    ok = !disk_write(d, 0, "x", 1) && !disk_flush(d) && q->end == end + 2;
    result(ok, "then a write copies the L2 table and the cluster");
    disk_check(d, DISK_REPAIR_LEAKS, &c);
    disk_close(d);
    result(c.leaks && c.leaks == c.leaks_fixed && !run("qemu-img check i.qcow2"),
           "flags that are missing come back with the repair of leaks");
}

/* ---- size ------------------------------------------------------------ */

static void test_resize(void)
{
    uint8_t *buf = malloc(MIB), *zero = calloc(1, MIB);
    struct disk *d;
    bool ok;

    filled((struct disk_create_options){.cluster_size = 512});
    d = image(0, false);
    ok = !disk_resize(d, UINT64_C(200) * MIB, 0, &why) && !disk_write(d, 199 * MIB, zero, MIB) &&
         disk_resize(d, MIB, 0, &why) == -EINVAL;
    base_text_free(&why);
    ok = ok && !disk_resize(d, MIB / 2 + 100, DISK_RESIZE_SHRINK, &why) &&
         !disk_resize(d, MIB, 0, &why) && !disk_read(d, 0, buf, MIB);
    for (size_t i = 0; ok && i < MIB; i++)
        ok = buf[i] == (i < MIB / 2 + 100 ? 0x5a : 0);
    disk_close(d);
    result(ok && !run("qemu-img check i.qcow2"), "grown, shrunk, and what was cut off is zero");
    free(buf);
    free(zero);
}

/* Many small clusters: refcount table and L1 grow; what is discarded is used again. */
static void test_growth(void)
{
    static uint8_t buf[256 << 10];
    struct stat before, after;
    struct disk *d;
    bool ok = true;

    create(64 * MIB, (struct disk_create_options){.cluster_size = 512, .refcount_bits = 64});
    d = image(0, false);
    memset(buf, 7, sizeof buf);
    for (unsigned i = 0; ok && i < 64; i++)
        ok = !disk_write(d, i * (uint64_t)MIB, buf, sizeof buf);
    disk_flush(d);
    stat("i.qcow2", &before);
    for (unsigned round = 0; ok && round < 4; round++)
        for (unsigned i = 0; ok && i < 64; i++)
            ok = !disk_discard(d, i * (uint64_t)MIB, sizeof buf) && !disk_flush(d) &&
                 !disk_write(d, i * (uint64_t)MIB, buf, sizeof buf);
    disk_close(d);
    stat("i.qcow2", &after);
    if (after.st_size > before.st_size + before.st_size / 8)
        base_text_printf(&why, "%lld bytes, then %lld", (long long)before.st_size,
                         (long long)after.st_size);
    result(ok && !run("qemu-img check i.qcow2"), "16 MiB in clusters of 512 bytes");
    result(!why.len && after.st_size <= before.st_size + before.st_size / 8,
           "what was discarded is used again");
}

int main(void)
{
    if (run("qemu-img --version")) {
        printf("skip - qemu-img is not there\n");
        return 0;
    }
    if (!freopen("errors.log", "w", stderr))
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_locks();
    test_holder();
    test_header();
    test_bounds();
    test_overlap();
    test_allocator();
    test_repair();
    test_entries();
    test_dirty();
    test_tree();
    test_resize();
    test_growth();
    return failed != 0;
}
