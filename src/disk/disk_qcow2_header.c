/* disk_qcow2_header.c: the header of a qcow2 image and its extensions.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Everything that the file says is bounded here, before anything is allocated or looked up with it.
 * Extensions that we do not know are kept and written back; a feature that we must know and do not
 * is refused by the name that the image itself gives it.
 */
#include "disk/disk_qcow2.h"

/* ---- extensions ------------------------------------------------------ */

struct q2_extension *q2_ext_find(struct q2 *q, uint32_t type)
{
    for (size_t i = 0; i < q->ext.len; i++)
        if (q->ext.data[i].type == type)
            return &q->ext.data[i];
    return NULL;
}

void q2_ext_set(struct q2 *q, uint32_t type, const void *data, uint32_t len)
{
    struct q2_extension *e = q2_ext_find(q, type);

    if (!e && data) {
        base_vec_push(&q->ext, (struct q2_extension){.type = type});
        e = &q->ext.data[q->ext.len - 1];
    }
    if (!e)
        return;
    free(e->data);
    if (!data) {
        *e = q->ext.data[--q->ext.len];
        return;
    }
    e->data = base_zalloc(len + 1u);
    memcpy(e->data, data, len);
    e->len = len;
}

static int bad(struct q2 *q, struct base_text *error, const char *what)
{
    return disk_error(error, -EINVAL, q->d->path, "not a valid qcow2 image: %s", what);
}

static int read_extensions(struct q2 *q, struct base_text *error)
{
    uint64_t off = q->h.header_length;
    uint64_t end = q->h.backing_off ? q->h.backing_off : q->cluster_size;
    uint8_t head[8];

    while (off + sizeof head <= end) {
        struct q2_extension e;
        int r = disk_file_read(q->file, off, head, sizeof head);

        if (r < 0)
            return disk_error(error, r, q->d->path, "its header cannot be read");
        e.type = disk_be32(head);
        e.len = disk_be32(head + 4);
        off += sizeof head;
        if (e.type == Q2_EXT_END)
            return 0;
        if (e.len > Q2_MAX_EXTENSION || e.len > end - off)
            return bad(q, error, "a header extension is longer than the header");
        e.data = base_zalloc(e.len + 1u);
        base_vec_push(&q->ext, e);
        r = disk_file_read(q->file, off, e.data, e.len);
        if (r < 0)
            return disk_error(error, r, q->d->path, "its header cannot be read");
        off += BASE_ALIGN_UP((uint64_t)e.len, 8);
    }
    return 0;
}

static const struct q2_feature { uint8_t type, bit; const char *name; } known_features[] = {
    {0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"},
    {1, 0, "lazy refcounts"}, {2, 0, "bitmaps"}, {2, 1, "raw external data"},
};
enum { FEATURE_BYTES = 48 };

void q2_set_features_table(struct q2 *q)
{
    uint8_t table[BASE_ARRAY_SIZE(known_features) * FEATURE_BYTES] = {0};

    for (size_t i = 0; i < BASE_ARRAY_SIZE(known_features); i++) {
        uint8_t *at = table + i * FEATURE_BYTES;

        at[0] = known_features[i].type;
        at[1] = known_features[i].bit;
        snprintf((char *)at + 2, FEATURE_BYTES - 2, "%s", known_features[i].name);
    }
    q2_ext_set(q, Q2_EXT_FEATURES, table, sizeof table);
}

static int refuse_features(struct q2 *q, uint64_t unknown, struct base_text *error)
{
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_FEATURES);
    struct base_text names = {0};

    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = NULL;

        if (!(unknown >> bit & 1))
            continue;
        for (uint32_t at = 0; e && at + FEATURE_BYTES <= e->len; at += FEATURE_BYTES)
            if (e->data[at] == 0 && e->data[at + 1] == bit)
                name = (char *)e->data + at + 2;
        base_text_printf(&names, names.len ? ", " : "");
        if (name)
            base_text_printf(&names, "\"%.46s\"", name);
        else
            base_text_printf(&names, "bit %u", bit);
    }
    disk_error(error, -ENOTSUP, q->d->path,
               "it uses features that are not known here: %s; open it with the program that made "
               "it", names.data);
    base_text_free(&names);
    return -ENOTSUP;
}

/* ---- reading --------------------------------------------------------- */

static void parse(struct q2_header *h, const uint8_t *b)
{
    h->version = disk_be32(b + 4);
    h->backing_off = disk_be64(b + 8);
    h->backing_len = disk_be32(b + 16);
    h->cluster_bits = disk_be32(b + 20);
    h->size = disk_be64(b + 24);
    h->crypt_method = disk_be32(b + 32);
    h->l1_size = disk_be32(b + 36);
    h->l1_off = disk_be64(b + 40);
    h->reftable_off = disk_be64(b + 48);
    h->reftable_clusters = disk_be32(b + 56);
    h->snapshots = disk_be32(b + 60);
    h->snapshots_off = disk_be64(b + 64);
    h->refcount_order = 4;
    h->header_length = Q2_V2_HEADER;
    if (h->version < 3)
        return;
    h->incompatible = disk_be64(b + 72);
    h->compatible = disk_be64(b + 80);
    h->autoclear = disk_be64(b + 88);
    h->refcount_order = disk_be32(b + 96);
    h->header_length = disk_be32(b + 100);
    h->compression = h->header_length > Q2_V3_HEADER ? b[104] : 0;
}

/* What everything later relies on. */
static int check_header(struct q2 *q, struct base_text *error)
{
    struct q2_header *h = &q->h;
    uint64_t mask;

    if (h->version != 2 && h->version != 3)
        return disk_error(error, -ENOTSUP, q->d->path, 
                          "qcow2 version %u is not known, only 2 and 3", h->version);
    if (h->cluster_bits < Q2_MIN_CLUSTER_BITS || h->cluster_bits > Q2_MAX_CLUSTER_BITS)
        return bad(q, error, "its cluster size is not between 512 bytes and 2 MiB");
    mask = (UINT64_C(1) << h->cluster_bits) - 1;
    if (h->version == 3 && (h->header_length < Q2_V3_HEADER || h->header_length > mask + 1 ||
                            h->header_length % 8))
        return bad(q, error, "the length of its header makes no sense");
    if (h->refcount_order > Q2_MAX_REFCOUNT_ORDER)
        return bad(q, error, "refcounts wider than 64 bits");
    if (h->size > DISK_MAX_SIZE)
        return bad(q, error, "larger than a disk can be");
    if (h->l1_size > Q2_MAX_L1_BYTES / 8)
        return bad(q, error, "its L1 table is larger than 32 MiB");
    if (h->l1_off & mask || h->reftable_off & mask || h->snapshots_off & mask)
        return bad(q, error, "a table does not begin at a cluster");
    if (h->l1_off > DISK_MAX_SIZE || h->reftable_off > DISK_MAX_SIZE ||
        h->snapshots_off > DISK_MAX_SIZE)
        return bad(q, error, "a table is behind the end of any file");
    if (!h->reftable_off || !h->reftable_clusters ||
        (uint64_t)h->reftable_clusters << h->cluster_bits > Q2_MAX_REFTABLE_BYTES)
        return bad(q, error, "its refcount table is missing or larger than 8 MiB");
    if (h->snapshots > Q2_MAX_SNAPSHOTS)
        return bad(q, error, "more than 65536 snapshots");
    if (h->backing_off && (h->backing_len > Q2_MAX_BACKING_NAME || h->backing_off > mask + 1 ||
                           h->backing_off < h->header_length ||
                           h->backing_len > mask + 1 - h->backing_off))
        return bad(q, error, "the name of its backing file is outside the header");
    if (h->crypt_method > 2)
        return bad(q, error, "its encryption is not known");
    if (h->compression > DISK_ZSTD)
        return disk_error(error, -ENOTSUP, q->d->path, "compression type %u is not known",
                          h->compression);
    if (!!(h->incompatible & Q2_COMPRESSION) != (h->compression != 0))
        return bad(q, error, "compression type and its feature bit contradict each other");
    return 0;
}

/* Size and L1 must fit each other: looking up never leaves the table. */
static int check_l1_size(struct q2 *q, struct base_text *error)
{
    uint64_t per_l2 = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
    uint64_t need = q->h.size / per_l2 + (q->h.size % per_l2 != 0);

    return need > q->h.l1_size ? bad(q, error, "its L1 table is too small for its size") : 0;
}

static void derive(struct q2 *q)
{
    q->cluster_bits = q->h.cluster_bits;
    q->cluster_size = UINT64_C(1) << q->cluster_bits;
    q->extended = q->h.incompatible & Q2_EXTENDED_L2;
    q->entry_bytes = q->extended ? 16 : 8;
    q->l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
    q->subs = q->extended ? 32 : 1;
    q->sub_bits = q->cluster_bits - (q->extended ? 5 : 0);
    q->ref_order = q->h.refcount_order;
    q->ref_bits = q->cluster_bits + 3 - q->ref_order;
    q->lazy = q->h.compatible & Q2_LAZY_REFCOUNTS;
    q->raw_data = q->h.incompatible & Q2_DATA_FILE && q->h.autoclear & Q2_DATA_FILE_RAW;
}

static int read_backing_name(struct q2 *q, struct base_text *error)
{
    struct q2_extension *e = q2_ext_find(q, (uint32_t)Q2_EXT_BACKING_FORMAT);
    int r;

    if (!q->h.backing_off || !q->h.backing_len)
        return 0;
    q->d->backing_name = base_zalloc(q->h.backing_len + 1u);
    r = disk_file_read(q->file, q->h.backing_off, q->d->backing_name, q->h.backing_len);
    if (r < 0)
        return disk_error(error, r, q->d->path, "the name of its backing file cannot be read");
    if (e)
        q->d->backing_format = base_strdup((char *)e->data);
    return 0;
}

int q2_header_read(struct q2 *q, struct base_text *error)
{
    struct q2_extension *e;
    uint8_t b[Q2_OUR_HEADER];
    int r = disk_file_read(q->file, 0, b, sizeof b);

    if (r < 0)
        return disk_error(error, r, q->d->path, "its header cannot be read: %s", strerror(-r));
    if (disk_be32(b) != Q2_MAGIC)
        return disk_error(error, -EINVAL, q->d->path, "not a qcow2 image");
    parse(&q->h, b);
    r = check_header(q, error);
    if (r < 0)
        return r;
    derive(q);
    r = read_extensions(q, error);
    if (!r && q->h.incompatible & ~(uint64_t)Q2_INCOMPATIBLE_KNOWN)
        r = refuse_features(q, q->h.incompatible & ~(uint64_t)Q2_INCOMPATIBLE_KNOWN, error);
    if (!r && q->extended && q->cluster_bits < 14)
        r = bad(q, error, "subclusters of less than 512 bytes");
    r = r ? r : check_l1_size(q, error);
    r = r ? r : read_backing_name(q, error);
    e = q2_ext_find(q, Q2_EXT_GEOMETRY);
    if (e && e->len == 12)
        q->d->geometry = (struct disk_geometry){disk_be32(e->data), disk_be32(e->data + 4),
                                                disk_be32(e->data + 8)};
    return r;
}

/* ---- writing --------------------------------------------------------- */

static void format_header(const struct q2_header *h, uint8_t *b)
{
    disk_put_be32(b, Q2_MAGIC);
    disk_put_be32(b + 4, h->version);
    disk_put_be64(b + 8, h->backing_off);
    disk_put_be32(b + 16, h->backing_len);
    disk_put_be32(b + 20, h->cluster_bits);
    disk_put_be64(b + 24, h->size);
    disk_put_be32(b + 32, h->crypt_method);
    disk_put_be32(b + 36, h->l1_size);
    disk_put_be64(b + 40, h->l1_off);
    disk_put_be64(b + 48, h->reftable_off);
    disk_put_be32(b + 56, h->reftable_clusters);
    disk_put_be32(b + 60, h->snapshots);
    disk_put_be64(b + 64, h->snapshots_off);
    if (h->version < 3)
        return;
    disk_put_be64(b + 72, h->incompatible);
    disk_put_be64(b + 80, h->compatible);
    disk_put_be64(b + 88, h->autoclear);
    disk_put_be32(b + 96, h->refcount_order);
    disk_put_be32(b + 100, h->header_length);
    if (h->header_length > Q2_V3_HEADER)
        b[104] = h->compression;
}

/* A header longer than ours keeps the bytes that we do not know. */
static int keep_unknown(struct q2 *q, uint8_t *buf, size_t size)
{
    if (q->h.version < 3 || q->h.header_length <= Q2_OUR_HEADER)
        return 0;
    return q->h.header_length > size ? -ENOSPC
                                     : disk_file_read(q->file, 0, buf, q->h.header_length);
}

int q2_header_build(struct q2 *q, uint8_t *buf, size_t size)
{
    size_t name = q->d->backing_name ? strlen(q->d->backing_name) : 0;
    size_t at;
    int r;

    memset(buf, 0, size);
    if (q->h.version == 2)
        q->h.header_length = Q2_V2_HEADER;
    else if (q->h.header_length < Q2_OUR_HEADER)
        q->h.header_length = Q2_OUR_HEADER;
    at = q->h.header_length;
    r = at + 8 > size ? -ENOSPC : keep_unknown(q, buf, size); /* a header may fill its cluster */
    if (r < 0)
        return r;
    for (size_t i = 0; i < q->ext.len; i++) {
        struct q2_extension *e = &q->ext.data[i];

        if (e->len + 16u > size - at)
            return -ENOSPC;
        disk_put_be32(buf + at, e->type);
        disk_put_be32(buf + at + 4, e->len);
        memcpy(buf + at + 8, e->data, e->len);
        at += 8 + BASE_ALIGN_UP(e->len, 8u);
        if (at + 8 > size)
            return -ENOSPC;
    }
    memset(buf + at, 0, 8); /* the end of the extensions */
    at += 8;
    if (at + name > size)
        return -ENOSPC;
    if (name)
        memcpy(buf + at, q->d->backing_name, name);
    q->h.backing_off = name ? at : 0;
    q->h.backing_len = (uint32_t)name;
    format_header(&q->h, buf);
    return 0;
}

int q2_header_write(struct q2 *q)
{
    uint8_t *buf = base_alloc(q->cluster_size);
    int r = q2_header_build(q, buf, q->cluster_size);

    if (r == -ENOSPC && q2_ext_find(q, Q2_EXT_FEATURES)) {
        q2_ext_set(q, Q2_EXT_FEATURES, NULL, 0); /* names are a courtesy */
        r = q2_header_build(q, buf, q->cluster_size);
    }
    if (!r)
        r = q2_write_meta(q, 0, buf, q->cluster_size, Q2_OWN_HEADER, 0);
    if (!r)
        r = disk_file_sync(q->file);
    free(buf);
    return r;
}
