/* disk_vmdk.c: VMware images, for reading: monolithic and split, sparse, flat and stream
 * optimised. SPDX-License-Identifier: Apache-2.0
 *
 * disk_vmdk.h says how the parts belong together. Compressed grains are unpacked one at a time, and
 * the last one is kept: images are read from front to back.
 */
#include "disk/disk_vmdk.h"

static const char text_magic[] = "# Disk DescriptorFile";

static int vmdk_probe(const uint8_t *head, size_t n, uint64_t length)
{
    return !memcmp(head, "KDMV", 4) || !memcmp(head, text_magic, sizeof text_magic - 1) ? 100 : 0;
}

/* ---- open ------------------------------------------------------------ */

static int read_descriptor(struct disk *d, struct vmdk *v, uint64_t off, uint64_t len,
                           struct vmdk_extent *self, struct base_text *error)
{
    char *text = base_zalloc(len + 1);
    int r = disk_file_read(d->file, off, text, len);

    if (r < 0)
        disk_error(error, r, d->path, "its descriptor cannot be read: %s", strerror(-r));
    r = r ? r : vmdk_descriptor(d, v, text, self, error);
    free(text);
    return r;
}

static int open_monolithic(struct disk *d, struct vmdk *v, struct base_text *error)
{
    struct vmdk_extent x = {.file = d->file};
    int r = vmdk_sparse_open(d, &x, error);

    base_vec_push(&v->extents, x);
    if (!r && x.descriptor_off)
        r = read_descriptor(d, v, x.descriptor_off, x.descriptor_len, &x, error);
    d->size = x.len;
    return r;
}

static int open_by_descriptor(struct disk *d, struct vmdk *v, struct base_text *error)
{
    uint64_t len;
    int r = disk_file_length(d->file, &len);

    if (!r && len > VMDK_MAX_DESCRIPTOR)
        return disk_error(error, -EINVAL, d->path, "its descriptor is longer than 64 KiB");
    return r ? r : read_descriptor(d, v, 0, len, NULL, error);
}

static void vmdk_free(struct disk *d, struct vmdk *v)
{
    for (size_t i = 0; i < v->extents.len; i++) {
        vmdk_sparse_free(&v->extents.data[i]);
        if (v->extents.data[i].file != d->file)
            disk_file_close(v->extents.data[i].file);
    }
    base_vec_free(&v->extents);
    pthread_mutex_destroy(&v->lock);
    free(v->unpacked);
    free(v);
}

static int vmdk_open(struct disk *d, struct base_text *error)
{
    struct vmdk *v = base_zalloc(sizeof *v);
    uint8_t head[4];
    int r = disk_file_read(d->file, 0, head, sizeof head);

    pthread_mutex_init(&v->lock, NULL);
    if (r < 0)
        disk_error(error, r, d->path, "its header cannot be read: %s", strerror(-r));
    if (!r)
        r = memcmp(head, "KDMV", 4) ? open_by_descriptor(d, v, error)
                                    : open_monolithic(d, v, error);
    if (r < 0) {
        vmdk_free(d, v);
        return r;
    }
    d->state = v;
    return 0;
}

static int vmdk_close(struct disk *d)
{
    vmdk_free(d, d->state);
    return 0;
}

/* ---- read, map ------------------------------------------------------- */

static struct vmdk_extent *extent_of(struct vmdk *v, uint64_t off)
{
    size_t lo = 0, hi = v->extents.len;

    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;

        if (v->extents.data[mid].start <= off)
            lo = mid;
        else
            hi = mid;
    }
    return &v->extents.data[lo];
}

struct vmdk_place {
    enum disk_kind kind;
    struct vmdk_extent *x;
    uint64_t host, len;
};

static int find(struct vmdk *v, uint64_t off, uint64_t len, struct vmdk_place *p)
{
    struct vmdk_extent *x = extent_of(v, off);
    uint64_t in = off - x->start, left = x->len - in;

    *p = (struct vmdk_place){.kind = DISK_ZEROES, .x = x, .len = len < left ? len : left};
    if (x->kind == VMDK_ZERO)
        return 0;
    if (x->kind == VMDK_FLAT) {
        p->kind = DISK_DATA;
        p->host = x->off + in;
        return 0;
    }
    left = x->grain - in % x->grain;
    p->len = p->len < left ? p->len : left;
    return vmdk_sparse_find(v, x, in, &p->kind, &p->host);
}

static int read_packed(struct vmdk *v, const struct vmdk_place *p, uint64_t in,
                       struct disk_slice s)
{
    int r = 0;

    pthread_mutex_lock(&v->lock);
    if (!v->unpacked || v->unpacked_file != p->x->file || v->unpacked_at != p->host) {
        v->unpacked = base_realloc(v->unpacked, p->x->grain);
        v->unpacked_file = NULL;
        r = vmdk_sparse_unpack(p->x, p->host, v->unpacked);
        if (!r) {
            v->unpacked_file = p->x->file;
            v->unpacked_at = p->host;
        }
    }
    if (!r)
        disk_slice_put(s, v->unpacked + in, p->len);
    pthread_mutex_unlock(&v->lock);
    return r;
}

static int vmdk_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    struct vmdk *v = d->state;
    struct vmdk_place p;
    int r = 0;

    for (; len && !r; off += p.len, len -= p.len, s = disk_slice_at(s, p.len)) {
        r = find(v, off, len, &p);
        if (r < 0)
            break;
        if (p.kind != DISK_DATA)
            disk_slice_zero(s, p.len);
        else if (p.x->compressed)
            r = read_packed(v, &p, (off - p.x->start) % p.x->grain, s);
        else
            r = disk_file_readv(p.x->file, p.host, p.len, s);
    }
    return r;
}

static int vmdk_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    struct vmdk_place p;
    int r = find(d->state, off, len, &p);

    if (r < 0)
        return r;
    e->len = p.len;
    e->kind = p.kind;
    e->compressed = p.kind == DISK_DATA && p.x->compressed;
    e->has_host_off = p.kind == DISK_DATA && !p.x->compressed;
    e->host_off = p.host;
    if (p.x->file)
        e->path = p.x->file->path;
    return 0;
}

static int vmdk_info(struct disk *d, struct disk_info *i)
{
    struct vmdk *v = d->state;
    struct vmdk_extent *x = &v->extents.data[0];

    i->cluster_size = (uint32_t)x->grain;
    i->compressed = x->compressed;
    disk_fact_text(i, "variant", v->variant);
    disk_fact_number(i, "extents", v->extents.len);
    return 0;
}

const struct disk_driver disk_vmdk = {
    .name = "vmdk",
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .read = vmdk_read,
    .map = vmdk_map,
    .info = vmdk_info,
};
