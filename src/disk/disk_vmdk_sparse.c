/* disk_vmdk_sparse.c: sparse extents of VMware images, plain and stream optimised.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: VMware, Virtual Disk Format 5.0, "Hosted Sparse Extents" and "Stream-Optimized
 * Compressed Sparse Extents". All numbers are little-endian, and count sectors where they are
 * places or lengths. A stream optimised extent was written in one go, so its header could not say
 * where the directory is; a copy of the header at the end does.
 */
#include "disk/disk_compress.h"
#include "disk/disk_vmdk.h"

enum {
    MAGIC = 0x564d444b, /* "KDMV" */
    HEADER = 79,
    FLAG_ZERO_GRAINS = 1 << 2,
    FLAG_COMPRESSED = 1 << 16,
    FLAG_MARKERS = 1 << 17,
    COMPRESSION_DEFLATE = 1,
    FOOTER_FROM_END = 1024,
    MARKER = 12, /* before a compressed grain: place in the disk, length */
};
#define DIRECTORY_AT_END UINT64_MAX

/* VMware makes 64 KiB; a grain is read as a whole when it is compressed. */
enum { MIN_GRAIN = 512, MAX_GRAIN = 4 << 20 };
/* The format's number is 512; less is legal, more would make tables without end. */
enum { MAX_PER_TABLE = 512 };
/* 2^22 tables of 512 grains of 64 KiB are 128 TiB. Stops a header that asks for all memory. */
enum { MAX_TABLES = 1 << 22 };

struct header {
    uint32_t version, flags, per_table;
    uint64_t capacity, grain, descriptor, descriptor_len, directory;
    uint16_t compression;
};

static void parse(const uint8_t *p, struct header *h)
{
    *h = (struct header){
        .version = disk_le32(p + 4),
        .flags = disk_le32(p + 8),
        .capacity = disk_le64(p + 12),
        .grain = disk_le64(p + 20),
        .descriptor = disk_le64(p + 28),
        .descriptor_len = disk_le64(p + 36),
        .per_table = disk_le32(p + 44),
        .directory = disk_le64(p + 56),
        .compression = disk_le16(p + 77),
    };
}

static int bad(struct disk *d, struct base_text *error, const char *what)
{
    return disk_error(error, -EINVAL, d->path, "not a valid VMDK image: %s", what);
}

static int read_header(struct disk *d, struct vmdk_extent *x, uint64_t at, struct header *h,
                       struct base_text *error)
{
    uint8_t p[HEADER];
    int r = disk_file_read(x->file, at, p, sizeof p);

    if (r < 0)
        return disk_error(error, r, d->path, "its header cannot be read: %s", strerror(-r));
    if (disk_le32(p) != MAGIC)
        return bad(d, error, at ? "its footer is missing: it was cut off" : "no sparse extent");
    parse(p, h);
    return 0;
}

static int check(struct disk *d, const struct header *h, struct base_text *error)
{
    if (h->version < 1 || h->version > 3)
        return disk_error(error, -ENOTSUP, d->path, "VMDK version %u is not known, only 1 to 3",
                          h->version);
    if (h->grain > MAX_GRAIN / VMDK_SECTOR || h->grain < MIN_GRAIN / VMDK_SECTOR ||
        h->grain & (h->grain - 1))
        return bad(d, error, "grains of a size that makes no sense");
    if (!h->per_table || h->per_table > MAX_PER_TABLE)
        return bad(d, error, "grain tables of a size that makes no sense");
    if (h->capacity > DISK_MAX_SIZE / VMDK_SECTOR)
        return bad(d, error, "larger than a disk can be");
    if (h->flags & FLAG_COMPRESSED && h->compression != COMPRESSION_DEFLATE)
        return disk_error(error, -ENOTSUP, d->path, "compression %u is not known",
                          h->compression);
    if (h->descriptor_len > VMDK_MAX_DESCRIPTOR / VMDK_SECTOR)
        return bad(d, error, "its descriptor is longer than 64 KiB");
    return 0;
}

static int read_directory(struct disk *d, struct vmdk_extent *x, const struct header *h,
                          struct base_text *error)
{
    uint64_t per = x->grain * x->per_table, tables = x->len / per + (x->len % per != 0);
    uint64_t at = h->directory * VMDK_SECTOR;
    int r;

    if (tables > MAX_TABLES)
        return bad(d, error, "more grain tables than any disk needs");
    if (h->directory > x->length / VMDK_SECTOR || tables * 4 > x->length - at)
        return bad(d, error, "its grain directory is outside the file");
    x->tables = (uint32_t)tables;
    x->directory = base_alloc(tables * 4 + 4);
    x->table = base_zalloc((tables + 1) * sizeof *x->table);
    r = disk_file_read(x->file, at, x->directory, tables * 4);
    return r < 0 ? disk_error(error, r, d->path, "its grain directory cannot be read: %s",
                              strerror(-r)) : 0;
}

int vmdk_sparse_open(struct disk *d, struct vmdk_extent *x, struct base_text *error)
{
    struct header h;
    int r = disk_file_length(x->file, &x->length);

    if (r < 0)
        return disk_error(error, r, d->path, "its length is not to be had: %s", strerror(-r));
    r = read_header(d, x, 0, &h, error);
    x->descriptor_off = h.descriptor;
    x->descriptor_len = h.descriptor_len;
    if (!r && h.directory == DIRECTORY_AT_END) {
        if (x->length < 2 * FOOTER_FROM_END)
            return bad(d, error, "its footer is missing: it was cut off");
        r = read_header(d, x, x->length - FOOTER_FROM_END, &h, error);
    }
    r = r ? r : check(d, &h, error);
    if (r < 0)
        return r;
    if (x->descriptor_len > VMDK_MAX_DESCRIPTOR / VMDK_SECTOR ||
        x->descriptor_off > x->length / VMDK_SECTOR)
        return bad(d, error, "its descriptor is longer than 64 KiB or outside the file");
    x->kind = VMDK_SPARSE;
    x->descriptor_off *= VMDK_SECTOR;
    x->descriptor_len *= VMDK_SECTOR;
    x->len = h.capacity * VMDK_SECTOR;
    x->grain = h.grain * VMDK_SECTOR;
    x->per_table = h.per_table;
    x->zero_grains = h.flags & FLAG_ZERO_GRAINS;
    x->compressed = h.flags & FLAG_COMPRESSED;
    x->markers = h.flags & FLAG_MARKERS;
    return read_directory(d, x, &h, error);
}

void vmdk_sparse_free(struct vmdk_extent *x)
{
    for (uint32_t i = 0; x->table && i < x->tables; i++)
        free(x->table[i]);
    free(x->table);
    free(x->directory);
}

static int load_table(struct vmdk_extent *x, uint32_t i)
{
    uint64_t at = (uint64_t)x->directory[i] * VMDK_SECTOR;
    uint32_t *t;
    int r;

    if (at >= x->length)
        return -EIO; /* the directory names a table behind the end of the file */
    t = base_alloc(x->per_table * 4);
    r = disk_file_read(x->file, at, t, x->per_table * 4);
    if (r < 0)
        free(t);
    else
        x->table[i] = t;
    return r;
}

int vmdk_sparse_find(struct vmdk *v, struct vmdk_extent *x, uint64_t off, enum disk_kind *kind,
                     uint64_t *host)
{
    uint64_t grain = off / x->grain;
    uint32_t i = (uint32_t)(grain / x->per_table), entry;
    int r = 0;

    *kind = DISK_UNALLOCATED;
    if (!x->directory[i])
        return 0;
    pthread_mutex_lock(&v->lock);
    if (!x->table[i])
        r = load_table(x, i);
    pthread_mutex_unlock(&v->lock);
    if (r < 0)
        return r;
    entry = x->table[i][grain % x->per_table];
    if (entry == 0)
        return 0;
    *kind = entry == 1 && x->zero_grains ? DISK_ZEROES : DISK_DATA;
    *host = (uint64_t)entry * VMDK_SECTOR + (x->compressed ? 0 : off % x->grain);
    return *kind == DISK_DATA && *host >= x->length ? -EIO : 0;
}

/* The last grain of a disk may hold less than a whole one. */
static int unpack_short(const uint8_t *packed, size_t n, uint8_t *buf, uint64_t grain)
{
    for (uint64_t len = grain; len >= VMDK_SECTOR; len -= VMDK_SECTOR)
        if (!disk_decompress(DISK_ZLIB_WRAPPED, packed, n, buf, len)) {
            memset(buf + len, 0, grain - len);
            return 0;
        }
    return -EIO;
}

int vmdk_sparse_unpack(struct vmdk_extent *x, uint64_t host, uint8_t *buf)
{
    uint8_t marker[MARKER], *packed;
    uint64_t at = host, n = x->grain * 2;
    int r = 0;

    if (x->markers) {
        r = disk_file_read(x->file, host, marker, sizeof marker);
        n = disk_le32(marker + 8);
        at += sizeof marker;
    }
    /* deflate never makes a grain twice as large: a length that says so is damage */
    if (r || !n || n > x->grain * 2)
        return r ? r : -EIO;
    packed = base_alloc(n);
    r = disk_file_read(x->file, at, packed, n);
    r = r ? r : unpack_short(packed, n, buf, x->grain);
    free(packed);
    return r;
}
