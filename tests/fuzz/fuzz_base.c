/* fuzz_base.c: the images that inputs begin with. SPDX-License-Identifier: Apache-2.0
 *
 * Made by our own code when the fuzzer starts, each with what its name says: all that a qcow2 image
 * can have in tables, in clusters small enough that a table is one or two of them. Images of the
 * formats that we only read are in the corpus, as qemu-img made them.
 */
#include "fuzz_image.h"

struct base {
    char name[FUZZ_BASE_NAME];
    bool large;
    unsigned same[FUZZ_COPY]; /* the first base where that file is the same */
    struct saved {
        uint64_t length;
        BASE_VEC(struct saved_page { uint64_t off; size_t n; uint8_t *data; }) pages;
    } file[FUZZ_COPY];
};
static BASE_VEC(struct base) bases;

int fuzz_password(void *context, const char *path, uint8_t *buf, size_t cap)
{
    memcpy(buf, "fuzz", 4);
    return 4;
}

/* ---- keeping them ---------------------------------------------------- */

static void save_page(void *context, uint64_t off, const uint8_t *page, size_t n)
{
    struct saved *s = context;
    uint8_t *copy = base_alloc(n);

    memcpy(copy, page, n);
    base_vec_push(&s->pages, ((struct saved_page){off, n, copy}));
}

static bool is_same(const struct saved *a, const struct saved *b)
{
    if (a->length != b->length || a->pages.len != b->pages.len)
        return false;
    for (size_t i = 0; i < a->pages.len; i++)
        if (a->pages.data[i].off != b->pages.data[i].off ||
            memcmp(a->pages.data[i].data, b->pages.data[i].data, a->pages.data[i].n))
            return false;
    return true;
}

static void save(const char *name, bool large)
{
    struct base b = {.large = large};

    snprintf(b.name, sizeof b.name, "%s", name);
    for (unsigned i = 0; i < FUZZ_COPY; i++) {
        b.file[i].length = fuzz_fs_length(i);
        fuzz_fs_each(i, save_page, &b.file[i]);
    }
    for (unsigned k = 0; k < FUZZ_COPY; k++)
        for (b.same[k] = 0; b.same[k] < bases.len; b.same[k]++)
            if (is_same(&bases.data[b.same[k]].file[k], &b.file[k]))
                break;
    base_vec_push(&bases, b);
}

unsigned fuzz_base_count(void)
{
    return (unsigned)bases.len;
}

const char *fuzz_base_name(unsigned i)
{
    return bases.data[i].name;
}

bool fuzz_base_large(unsigned i)
{
    return bases.data[i].large;
}

void fuzz_base_load(unsigned i)
{
    static const struct saved *there[FUZZ_COPY];

    for (unsigned k = 0; k < FUZZ_COPY; k++) {
        const struct saved *s = &bases.data[k ? bases.data[i].same[k] : i].file[k];

        if (there[k] == s && !fuzz_fs_changed(k))
            continue;
        fuzz_fs_truncate(k, 0);
        fuzz_fs_truncate(k, s->length);
        for (size_t p = 0; p < s->pages.len; p++)
            fuzz_fs_write(k, s->pages.data[p].off, s->pages.data[p].data, s->pages.data[p].n);
        fuzz_fs_settle(k);
        there[k] = s;
    }
}

/* ---- making them ----------------------------------------------------- */

enum { WITH_SNAPSHOTS = 1, WITH_PACKED = 2, LEFT_DIRTY = 4 };

struct recipe {
    const char *name;
    unsigned with;
    struct disk_create_options o;
};

static void must(int r, const char *name, const char *what, struct base_text *error)
{
    if (r < 0) {
        fprintf(stderr, "base %s: %s: %s\n", name, what, error->data ? error->data : strerror(-r));
        abort();
    }
}

static void fill(uint8_t *buf, size_t n, uint64_t kind)
{
    uint64_t seed = kind;

    for (size_t i = 0; i < n; i++)
        buf[i] = kind & 1 ? (uint8_t)(i / 64 + kind) : (uint8_t)base_rand(&seed);
}

/* Writes here and there: at the begin, over a border of clusters, near the end. */
static void write_some(struct disk *d, const struct recipe *r, uint64_t kind)
{
    uint64_t size = disk_size(d), cluster = r->o.cluster_size ? r->o.cluster_size : 65536;
    uint64_t at[] = {0, cluster * 2 - 512, size / 2, size - 2048};
    struct base_text none = {0};
    uint8_t buf[2048];

    for (size_t i = 0; i < BASE_ARRAY_SIZE(at); i++) {
        fill(buf, sizeof buf, kind + i);
        must(disk_write(d, at[i], buf, sizeof buf), r->name, "write", &none);
    }
    must(disk_zero(d, cluster * 5, cluster, 0), r->name, "zero", &none);
}

static void write_packed(struct disk *d, const struct recipe *r)
{
    size_t n = r->o.cluster_size ? r->o.cluster_size : 65536;
    uint8_t *buf = base_alloc(n);
    struct iovec iov = {buf, n};
    struct base_text none = {0};

    for (unsigned i = 8; i < 11; i++) {
        fill(buf, n, 2 * i + 1);
        must(disk_writev(d, i * n, &iov, 1, DISK_REQ_COMPRESSED), r->name, "compress", &none);
    }
    free(buf);
}

static struct disk *open_image(const struct recipe *r)
{
    struct disk_open_options o = {.format = r->o.format, .file_ops = &fuzz_fs_ops,
                                  .password = fuzz_password};
    struct base_text error = {0};
    struct disk *d = NULL;

    must(disk_open(fuzz_fs_path(FUZZ_IMAGE), &o, &d, &error), r->name, "open", &error);
    return d;
}

static void use_image(const struct recipe *r)
{
    struct disk *d = open_image(r);
    struct base_text error = {0};

    write_some(d, r, 1);
    if (r->with & WITH_PACKED)
        write_packed(d, r);
    if (r->with & WITH_SNAPSHOTS) {
        must(disk_snapshot_create(d, "first", &error), r->name, "snapshot", &error);
        write_some(d, r, 7);
        must(disk_snapshot_create(d, "second, with a longer name", &error), r->name, "snapshot",
             &error);
        write_some(d, r, 12);
    }
    must(disk_flush(d), r->name, "flush", &error);
    if (r->with & LEFT_DIRTY)
        fuzz_fs_copy(FUZZ_COPY, FUZZ_IMAGE);
    must(disk_close_result(d), r->name, "close", &error);
    if (r->with & LEFT_DIRTY)
        fuzz_fs_copy(FUZZ_IMAGE, FUZZ_COPY);
}

static void build(const struct recipe *r)
{
    struct base_text error = {0};
    struct disk_create_options o = r->o;
    struct disk_file *f;

    o.password = fuzz_password;
    o.pbkdf_ms = 1;
    o.file_ops = &fuzz_fs_ops;
    must(disk_file_open(fuzz_fs_path(FUZZ_IMAGE), DISK_FILE_WRITE | DISK_FILE_CREATE, &fuzz_fs_ops,
                        NULL, &f, &error), r->name, "file", &error);
    must(disk_driver_find(o.format)->create(f, &o, &error), r->name, "create", &error);
    disk_file_close(f);
    use_image(r);
}

#define QCOW2(n, w, ...) {n, w, {.format = "qcow2", __VA_ARGS__}}
#define KIB 1024

static const struct recipe recipes[] = {
    QCOW2("qcow2-512", 0, .size = 200 * KIB, .version = 3, .cluster_size = 512),
    QCOW2("qcow2-512-v2", 0, .size = 200 * KIB, .version = 2, .cluster_size = 512),
    QCOW2("qcow2-512-snapshots", WITH_SNAPSHOTS, .size = 200 * KIB, .version = 3,
          .cluster_size = 512),
    QCOW2("qcow2-512-snapshots-v2", WITH_SNAPSHOTS, .size = 200 * KIB, .version = 2,
          .cluster_size = 512),
    QCOW2("qcow2-512-ref1", 0, .size = 1000 * KIB, .version = 3, .cluster_size = 512,
          .refcount_bits = 1),
    QCOW2("qcow2-512-ref64", WITH_SNAPSHOTS | WITH_PACKED, .size = 100 * KIB, .version = 3,
          .cluster_size = 512, .refcount_bits = 64),
    QCOW2("qcow2-4k-zlib", WITH_PACKED, .size = 3000 * KIB, .version = 3, .cluster_size = 4096),
    QCOW2("qcow2-4k-zstd", WITH_PACKED | WITH_SNAPSHOTS, .size = 3000 * KIB, .version = 3,
          .cluster_size = 4096, .compression = DISK_ZSTD),
    QCOW2("qcow2-4k-backing-raw", WITH_SNAPSHOTS, .size = 300 * KIB, .version = 3,
          .cluster_size = 4096, .extended_l2 = DISK_OFF, .backing = "base.raw",
          .backing_format = "raw"),
    QCOW2("qcow2-16k-sub", WITH_SNAPSHOTS | WITH_PACKED, .size = 1000 * KIB, .version = 3,
          .cluster_size = 16384, .extended_l2 = DISK_ON, .backing = "base.qcow2",
          .backing_format = "qcow2"),
    QCOW2("qcow2-64k", WITH_PACKED | WITH_SNAPSHOTS, .size = 4000 * KIB, .version = 3),
    QCOW2("qcow2-64k-sub", 0, .size = 4000 * KIB, .version = 3, .extended_l2 = DISK_ON),
    QCOW2("qcow2-4k-lazy", LEFT_DIRTY, .size = 500 * KIB, .version = 3, .cluster_size = 4096,
          .lazy_refcounts = DISK_ON),
    QCOW2("qcow2-4k-data-file", 0, .size = 500 * KIB, .version = 3, .cluster_size = 4096,
          .data_file = "data.raw"),
    QCOW2("qcow2-4k-data-file-raw", 0, .size = 500 * KIB, .version = 3,
          .cluster_size = 4096, .data_file = "data.raw", .data_file_raw = true),
    QCOW2("qcow2-4k-luks", WITH_SNAPSHOTS, .size = 500 * KIB, .version = 3, .cluster_size = 4096,
          .encrypt = true),
    {"luks", 0, {.format = "luks", .size = 600 * KIB, .encrypt = true}},
    {"raw", 0, {.format = "raw", .size = 500 * KIB}},
};

/* What images name: there before they are made. */
static void make_others(void)
{
    static const struct recipe below = QCOW2("base.qcow2", 0, .size = 120 * KIB, .version = 3,
                                             .cluster_size = 4096);
    uint8_t buf[96 * KIB];

    fill(buf, sizeof buf, 3);
    fuzz_fs_write(FUZZ_BASE_RAW, 0, buf, sizeof buf);
    fuzz_fs_write(FUZZ_DATA, 0, buf, sizeof buf);
    build(&below);
    fuzz_fs_copy(FUZZ_BASE_QCOW2, FUZZ_IMAGE);
}

void fuzz_base_begin(void)
{
    make_others();
    for (size_t i = 0; i < BASE_ARRAY_SIZE(recipes); i++) {
        build(&recipes[i]);
        save(recipes[i].name, recipes[i].o.encrypt);
    }
}
