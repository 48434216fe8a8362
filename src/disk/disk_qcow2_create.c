/* disk_qcow2_create.c: a new qcow2 image. SPDX-License-Identifier: Apache-2.0
 *
 * Header, refcount table, refcount blocks, L1 table, and with preallocation L2 tables and data, in
 * that order from the begin of the file. How many refcount blocks there must be depends on how many
 * clusters there are, which counts the blocks: solved by going on until it fits.
 */
#include "disk/disk_qcow2.h"

#include <unistd.h>

enum { CLUSTER_DEFAULT = 16, CLUSTER_OVERLAY = 17 }; /* bits; subclusters of 4 KiB in overlays */

struct layout {
    uint64_t reftable, reftable_clusters, blocks, nblocks, l1, l1_clusters, l2, nl2, data, ndata;
    uint64_t luks, nluks;
    uint64_t clusters;
};

static int log2_exact(uint64_t v)
{
    return v && !(v & (v - 1)) ? __builtin_ctzll(v) : -1;
}

/* Options to header fields, or one line why not. */
static int choose(struct q2 *q, const struct disk_create_options *o, const char *path,
                  struct base_text *error)
{
    bool extended = o->extended_l2 == DISK_ON ||
                    (o->extended_l2 == DISK_DEFAULT && o->backing && o->version != 2 &&
                     (!o->cluster_size || o->cluster_size >= 1u << 14));
    int bits = o->cluster_size ? log2_exact(o->cluster_size)
                               : extended ? CLUSTER_OVERLAY : CLUSTER_DEFAULT;
    int order = o->refcount_bits ? log2_exact(o->refcount_bits) : 4;

    q->h.version = o->version ? o->version : 3;
    if (q->h.version != 2 && q->h.version != 3)
        return disk_error(error, -EINVAL, path, "qcow2 has versions 2 and 3");
    if (bits < Q2_MIN_CLUSTER_BITS || bits > Q2_MAX_CLUSTER_BITS)
        return disk_error(error, -EINVAL, path,
                          "a cluster is a power of two from 512 bytes to 2 MiB");
    if (order < 0 || order > Q2_MAX_REFCOUNT_ORDER)
        return disk_error(error, -EINVAL, path, "a refcount has 1, 2, 4, 8, 16, 32 or 64 bits");
    if (extended && bits < 14)
        return disk_error(error, -EINVAL, path,
                          "extended L2 entries need clusters of at least 16 KiB");
    if (q->h.version == 2 && (extended || order != 4 || o->lazy_refcounts == DISK_ON ||
                              o->compression != DISK_ZLIB || o->data_file))
        return disk_error(error, -EINVAL, path, "that needs version 3 of the format");
    if (o->backing && o->prealloc)
        return disk_error(error, -EINVAL, path,
                          "preallocated clusters would hide the backing file");
    if (o->data_file_raw && (!o->data_file || o->backing))
        return disk_error(error, -EINVAL, path,
                          "a raw data file needs a data file and no backing file");
    q->h.cluster_bits = (uint32_t)bits;
    q->h.refcount_order = (uint32_t)order;
    q->h.size = o->size;
    q->h.compression = (uint8_t)o->compression;
    q->h.incompatible = (extended ? Q2_EXTENDED_L2 : 0) | (o->data_file ? Q2_DATA_FILE : 0) |
                        (o->compression ? Q2_COMPRESSION : 0);
    q->h.compatible = o->lazy_refcounts == DISK_ON ? Q2_LAZY_REFCOUNTS : 0;
    q->h.autoclear = o->data_file_raw ? Q2_DATA_FILE_RAW : 0;
    q->extended = extended;
    q->cluster_bits = q->h.cluster_bits;
    q->cluster_size = UINT64_C(1) << bits;
    q->entry_bytes = extended ? 16 : 8;
    q->l2_bits = q->cluster_bits - (extended ? 4 : 3);
    q->ref_order = q->h.refcount_order;
    q->ref_bits = q->cluster_bits + 3 - q->ref_order;
    return 0;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static int lay_out(struct q2 *q, const struct disk_create_options *o, struct layout *l,
                   const char *path, struct base_text *error)
{
    uint64_t clusters = divide_up(o->size, q->cluster_size);
    uint64_t l1_size = divide_up(clusters, UINT64_C(1) << q->l2_bits), fixed;

    if (l1_size > Q2_MAX_L1_BYTES / 8)
        return disk_error(error, -EFBIG, path,
                          "too large for clusters of %llu bytes: choose larger ones",
                          (unsigned long long)q->cluster_size);
    q->h.l1_size = (uint32_t)l1_size;
    l->l1_clusters = divide_up(l1_size * 8, q->cluster_size);
    l->nl2 = o->prealloc ? l1_size : 0;
    l->ndata = o->prealloc && !o->data_file ? clusters : 0;
    l->nluks = o->encrypt ? divide_up(disk_luks_area_size(), q->cluster_size) : 0;
    fixed = 1 + l->l1_clusters + l->nl2 + l->ndata + l->nluks;
    l->nblocks = l->reftable_clusters = 1;
    for (;;) {
        uint64_t all = fixed + l->nblocks + l->reftable_clusters;
        uint64_t blocks = divide_up(all, UINT64_C(1) << q->ref_bits);
        uint64_t table = divide_up(blocks * 8, q->cluster_size);

        l->clusters = all;
        if (blocks <= l->nblocks && table <= l->reftable_clusters)
            break;
        l->nblocks = blocks > l->nblocks ? blocks : l->nblocks;
        l->reftable_clusters = table > l->reftable_clusters ? table : l->reftable_clusters;
    }
    if (l->reftable_clusters << q->cluster_bits > Q2_MAX_REFTABLE_BYTES)
        return disk_error(error, -EFBIG, path, "too large to preallocate with such small clusters");
    l->reftable = 1;
    l->blocks = l->reftable + l->reftable_clusters;
    l->l1 = l->blocks + l->nblocks;
    l->l2 = l->l1 + l->l1_clusters;
    l->data = l->l2 + l->nl2;
    l->luks = l->data + l->ndata;
    q->h.reftable_off = l->reftable << q->cluster_bits;
    q->h.reftable_clusters = (uint32_t)l->reftable_clusters;
    q->h.l1_off = l->l1 << q->cluster_bits;
    return 0;
}

static int write_refcounts(struct q2 *q, const struct layout *l)
{
    uint8_t *table = base_zalloc(l->reftable_clusters << q->cluster_bits);
    uint8_t *block = base_alloc(q->cluster_size);
    uint64_t per = UINT64_C(1) << q->ref_bits;
    int r = 0;

    for (uint64_t i = 0; i < l->nblocks && !r; i++) {
        uint64_t off = (l->blocks + i) << q->cluster_bits;

        disk_put_be64(table + i * 8, off);
        memset(block, 0, q->cluster_size);
        for (uint64_t c = 0; c < per && i * per + c < l->clusters; c++)
            q2_ref_store(block, q->ref_order, c, 1);
        r = disk_file_write(q->file, off, block, q->cluster_size);
    }
    if (!r)
        r = disk_file_write(q->file, q->h.reftable_off, table,
                            l->reftable_clusters << q->cluster_bits);
    free(block);
    free(table);
    return r;
}

/* L1, and with preallocation L2 tables whose entries name data clusters in order. */
static int write_tables(struct q2 *q, const struct layout *l, bool external)
{
    uint8_t *l1 = base_zalloc((l->l1_clusters << q->cluster_bits) + 8);
    uint8_t *l2 = base_alloc(q->cluster_size);
    uint64_t clusters = divide_up(q->h.size, q->cluster_size), per = UINT64_C(1) << q->l2_bits;
    int r = 0;

    for (uint64_t i = 0; i < l->nl2 && !r; i++) {
        disk_put_be64(l1 + i * 8, (l->l2 + i) << q->cluster_bits | Q2_COPIED);
        memset(l2, 0, q->cluster_size);
        for (uint64_t e = 0; e < per && i * per + e < clusters; e++) {
            uint64_t at = external ? i * per + e : l->data + i * per + e;

            disk_put_be64(l2 + e * q->entry_bytes, at << q->cluster_bits | Q2_COPIED);
            if (q->extended)
                disk_put_be64(l2 + e * q->entry_bytes + 8, UINT32_MAX);
        }
        r = disk_file_write(q->file, (l->l2 + i) << q->cluster_bits, l2, q->cluster_size);
    }
    if (!r && l->l1_clusters)
        r = disk_file_write(q->file, q->h.l1_off, l1, l->l1_clusters << q->cluster_bits);
    free(l2);
    free(l1);
    return r;
}

static int make_data_file(const char *image, const struct disk_create_options *o,
                          struct base_text *error)
{
    static const char *const anywhere[] = {"/", NULL};
    struct disk_file *f;
    struct base_text path = {0};
    const char *slash = strrchr(image, '/');
    char *there = NULL;
    int r;

    if (o->data_file[0] != '/' && slash)
        base_text_append(&path, image, (size_t)(slash - image) + 1);
    base_text_printf(&path, "%s", o->data_file);
    r = disk_file_open(path.data, DISK_FILE_WRITE | DISK_FILE_CREATE, o->file_ops,
                       o->file_context, &f, NULL);
    if (r == -EEXIST) { /* kept with what is in it */
        there = disk_resolve(image, o->data_file, anywhere, "data file", error);
        r = there ? disk_file_open(there, DISK_FILE_WRITE, o->file_ops, o->file_context, &f, error)
                  : -EINVAL;
        if (!r)
            r = disk_file_lock(f, DISK_LOCK_WRITE, error);
    }
    if (!r) {
        uint64_t length = 0;

        r = disk_file_length(f, &length);
        if (!r && length < o->size)
            r = disk_file_truncate(f, o->size);
        if (!r && o->prealloc == DISK_PREALLOC_FULL && o->size &&
            disk_file_allocate(f, 0, o->size) == -ENOSPC)
            r = -ENOSPC;
        r = r ? r : disk_file_sync(f);
        disk_file_close(f);
    }
    if (r < 0)
        disk_error(error, r, path.data, "the data file cannot be made: %s", strerror(-r));
    base_text_free(&path);
    free(there);
    return r;
}

static int write_luks(struct q2 *q, const struct layout *l, const struct disk_create_options *o,
                      struct base_text *error)
{
    uint8_t *area, place[16];
    size_t len;
    int r = disk_luks_create(q->file->path, o, &area, &len, error);

    if (r < 0)
        return r;
    disk_put_be64(place, l->luks << q->cluster_bits);
    disk_put_be64(place + 8, len);
    q2_ext_set(q, Q2_EXT_CRYPTO, place, sizeof place);
    q->h.crypt_method = Q2_CRYPT_LUKS;
    r = disk_file_write(q->file, l->luks << q->cluster_bits, area, len);
    free(area);
    return r < 0 ? disk_error(error, r, q->file->path, "cannot be written: %s", strerror(-r)) : 0;
}

static void add_extensions(struct q2 *q, const struct disk_create_options *o)
{
    if (o->backing) {
        q->d->backing_name = base_strdup(o->backing);
        q2_ext_set(q, (uint32_t)Q2_EXT_BACKING_FORMAT, o->backing_format,
                   (uint32_t)strlen(o->backing_format));
    }
    if (o->data_file)
        q2_ext_set(q, Q2_EXT_DATA_FILE, o->data_file, (uint32_t)strlen(o->data_file));
    if (o->geometry.sectors) {
        uint8_t g[12];

        disk_put_be32(g, o->geometry.cylinders);
        disk_put_be32(g + 4, o->geometry.heads);
        disk_put_be32(g + 8, o->geometry.sectors);
        q2_ext_set(q, Q2_EXT_GEOMETRY, g, sizeof g);
    }
    if (q->h.version >= 3 && q->cluster_bits > 10)
        q2_set_features_table(q);
}

static int write_header(struct q2 *q, struct disk_file *f, struct base_text *error)
{
    uint8_t *buf = base_alloc(q->cluster_size);
    int r = q2_header_build(q, buf, q->cluster_size);

    if (r == -ENOSPC)
        disk_error(error, r, f->path, "the names do not fit into a cluster of %llu bytes",
                   (unsigned long long)q->cluster_size);
    r = r ? r : disk_file_write(f, 0, buf, q->cluster_size);
    free(buf);
    return r;
}

static int fill_file(struct q2 *q, const struct layout *l, const struct disk_create_options *o)
{
    uint64_t data = l->ndata << q->cluster_bits;
    int r = write_refcounts(q, l);

    r = r ? r : write_tables(q, l, o->data_file != NULL);
    r = r ? r : disk_file_truncate(q->file, l->clusters << q->cluster_bits);
    if (!r && o->prealloc == DISK_PREALLOC_FULL && data) {
        r = disk_file_allocate(q->file, l->data << q->cluster_bits, data);
        if (r == -EOPNOTSUPP)
            r = disk_file_zero(q->file, l->data << q->cluster_bits, data, false);
    }
    return r;
}

int q2_create(struct disk_file *f, const struct disk_create_options *o, struct base_text *error)
{
    struct disk d = {.path = f->path, .file = f};
    struct q2 *q = base_zalloc(sizeof *q);
    struct layout l = {0};
    int r;

    q->d = &d;
    q->file = f;
    if (o->encrypt && o->prealloc)
        r = disk_error(error, -EINVAL, f->path,
                       "preallocated clusters of an encrypted image would read as noise");
    else if (o->backing && strlen(o->backing) > Q2_MAX_BACKING_NAME)
        r = disk_error(error, -EINVAL, f->path, "a backing file's name has at most %d bytes",
                       Q2_MAX_BACKING_NAME);
    else
        r = choose(q, o, f->path, error);
    r = r ? r : lay_out(q, o, &l, f->path, error);
    if (!r && o->encrypt)
        r = write_luks(q, &l, o, error);
    if (!r && o->data_file)
        r = make_data_file(f->path, o, error);
    if (!r) {
        add_extensions(q, o);
        r = write_header(q, f, error);
        r = r ? r : fill_file(q, &l, o);
        if (r < 0)
            disk_error(error, r, f->path, "cannot be written: %s", strerror(-r));
    }
    for (size_t i = 0; i < q->ext.len; i++)
        free(q->ext.data[i].data);
    base_vec_free(&q->ext);
    free(d.backing_name);
    free(q);
    return r;
}
