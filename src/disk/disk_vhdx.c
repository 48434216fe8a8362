/* disk_vhdx.c: Hyper-V images, fixed and dynamic, for reading. SPDX-License-Identifier: Apache-2.0
 *
 * Specification: [MS-VHDX]. Two headers (the valid one with the higher sequence number counts) and
 * two region tables lead to the block allocation table (BAT) and to the metadata, which has size,
 * block size and sector size. In the BAT an entry of a sector bitmap follows each chunk of payload
 * blocks; without a parent it means nothing.
 *
 * An image that was not closed has changes of its metadata in a log, which disk_vhdx_log.c lays
 * over what is read here; the file stays as it is.
 */
#include "disk/disk_vhdx.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

enum { HEADER_BYTES = 4096, REGION_BYTES = 64 << 10, TABLE_ENTRY = 32 };
/* Numbers of [MS-VHDX] 2.6.2: stop tables and products without end. */
enum { MAX_REGIONS = 2047, MAX_ITEMS = 2047 };
#define MIN_BLOCK MIB
#define MAX_BLOCK (256 * MIB)
#define MAX_SIZE (UINT64_C(64) << 40)
/* 64 TiB in blocks of 1 MiB, with bitmaps between, are 2^26 entries and some. */
#define MAX_BAT_BYTES ((UINT64_C(1) << 29) + MIB)

enum { BLOCK_ABSENT, BLOCK_UNDEFINED, BLOCK_ZERO, BLOCK_UNMAPPED, BLOCK_PRESENT = 6 };
#define BAT_OFFSET (~(MIB - 1))
enum { BAT_STATE = 7 };

struct vhdx {
    uint64_t *bat, entries, ratio, length;
    uint32_t block_size, sector_size;
    bool fixed;
    struct vhdx_log log;
};

/* GUIDs as they lie in the file. */
static const uint8_t guid_bat[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t guid_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t guid_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t guid_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t guid_sector[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                        0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};

static int vhdx_probe(const uint8_t *head, size_t n, uint64_t length)
{
    return n >= 8 && !memcmp(head, "vhdxfile", 8) ? 100 : 0;
}

static int vhdx_bad(struct disk *d, struct base_text *error, const char *what)
{
    return disk_error(error, -EINVAL, d->path, "not a valid VHDX image: %s", what);
}

/* ---- checksums ------------------------------------------------------- */

/* A block that begins with a signature of four letters and a checksum. */
static bool block_good(uint8_t *p, size_t n, const char *signature)
{
    return !memcmp(p, signature, 4) && vhdx_sum_good(p, n);
}

/* ---- headers --------------------------------------------------------- */

static int read_header(struct disk *d, struct vhdx_log *log, struct base_text *error)
{
    uint8_t h[2][HEADER_BYTES];
    static const uint8_t none[16];
    int best = -1;

    for (int i = 0; i < 2; i++) {
        int r = disk_file_read(d->file, (64 + 64 * (uint64_t)i) * KIB, h[i], HEADER_BYTES);

        if (r < 0)
            return disk_error(error, r, d->path, "its header cannot be read: %s", strerror(-r));
        if (block_good(h[i], HEADER_BYTES, "head") &&
            (best < 0 || disk_le64(h[i] + 8) > disk_le64(h[best] + 8)))
            best = i;
    }
    if (best < 0)
        return vhdx_bad(d, error, "neither of its headers is whole");
    if (disk_le16(h[best] + 66) != 1)
        return disk_error(error, -ENOTSUP, d->path, "VHDX version %u is not known, only 1",
                          disk_le16(h[best] + 66));
    return memcmp(h[best] + 48, none, sizeof none) ? vhdx_log_read(d, h[best], log, error) : 0;
}

struct region {
    uint64_t off, len;
};

static int parse_regions(struct disk *d, const uint8_t *t, struct region *bat,
                         struct region *metadata, struct base_text *error)
{
    uint32_t n = disk_le32(t + 8);

    if (n > MAX_REGIONS)
        return vhdx_bad(d, error, "more than 2047 regions");
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *e = t + 16 + i * TABLE_ENTRY;
        struct region r = {disk_le64(e + 16), disk_le32(e + 24)};

        if (!memcmp(e, guid_bat, 16))
            *bat = r;
        else if (!memcmp(e, guid_metadata, 16))
            *metadata = r;
        else if (disk_le32(e + 28) & 1)
            return disk_error(error, -ENOTSUP, d->path, "a region that must be known is not");
    }
    return 0;
}

static int read_regions(struct disk *d, const struct vhdx_log *log, struct region *bat,
                        struct region *metadata, struct base_text *error)
{
    uint8_t *t = base_alloc(REGION_BYTES);
    int r = -EINVAL;

    for (int i = 0; i < 2; i++)
        if (!vhdx_file_read(d, log, (192 + 64 * (uint64_t)i) * KIB, t, REGION_BYTES) &&
            block_good(t, REGION_BYTES, "regi")) {
            r = parse_regions(d, t, bat, metadata, error);
            free(t);
            return r;
        }
    free(t);
    return vhdx_bad(d, error, "neither of its region tables is whole");
}

/* ---- metadata -------------------------------------------------------- */

static const uint8_t *item(const uint8_t *m, size_t n, const uint8_t *guid, uint32_t need)
{
    uint16_t count = disk_le16(m + 10);

    for (uint32_t i = 0; i < count && i < MAX_ITEMS; i++) {
        const uint8_t *e = m + 32 + i * TABLE_ENTRY;
        uint32_t off = disk_le32(e + 16), len = disk_le32(e + 20);

        if (!memcmp(e, guid, 16))
            return len >= need && off <= n && need <= n - off ? m + off : NULL;
    }
    return NULL;
}

static int parse_metadata(struct disk *d, const uint8_t *m, size_t n, struct vhdx *v,
                          struct base_text *error)
{
    const uint8_t *parameters = item(m, n, guid_parameters, 8);
    const uint8_t *size = item(m, n, guid_size, 8), *sector = item(m, n, guid_sector, 4);

    if (memcmp(m, "metadata", 8) || !parameters || !size || !sector)
        return vhdx_bad(d, error, "its metadata is not whole");
    v->block_size = disk_le32(parameters);
    v->fixed = disk_le32(parameters + 4) & 1;
    v->sector_size = disk_le32(sector);
    d->size = disk_le64(size);
    if (disk_le32(parameters + 4) & 2)
        return disk_error(error, -ENOTSUP, d->path,
                          "a differencing image: merge it with its parent first");
    if (v->block_size < MIN_BLOCK || v->block_size > MAX_BLOCK ||
        v->block_size & (v->block_size - 1))
        return vhdx_bad(d, error, "its block size is not between 1 and 256 MiB");
    if (v->sector_size != 512 && v->sector_size != 4096)
        return vhdx_bad(d, error, "its sectors have neither 512 nor 4096 bytes");
    if (!d->size || d->size > MAX_SIZE || d->size % v->sector_size)
        return vhdx_bad(d, error, "its size is not between 1 sector and 64 TiB");
    return 0;
}

static int read_metadata(struct disk *d, struct region at, struct vhdx *v,
                         struct base_text *error)
{
    size_t n = at.len < MIB ? at.len : MIB; /* 64 KiB of table, six small items behind it */
    uint8_t *m;
    int r;

    if (n < REGION_BYTES + 32 || at.off < MIB || at.off > v->length)
        return vhdx_bad(d, error, "its metadata is outside the file");
    m = base_alloc(n);
    r = vhdx_file_read(d, &v->log, at.off, m, n);
    if (r < 0)
        disk_error(error, r, d->path, "its metadata cannot be read: %s", strerror(-r));
    r = r ? r : parse_metadata(d, m, n, v, error);
    free(m);
    return r;
}

static int read_bat(struct disk *d, struct region at, struct vhdx *v, struct base_text *error)
{
    uint64_t blocks = (d->size + v->block_size - 1) / v->block_size;
    int r;

    v->ratio = (UINT64_C(1) << 23) * v->sector_size / v->block_size;
    v->entries = blocks + (blocks - 1) / v->ratio;
    if (v->entries * 8 > MAX_BAT_BYTES || v->entries * 8 > at.len || at.off < MIB ||
        at.off > v->length)
        return vhdx_bad(d, error, "its block table is too small or outside the file");
    v->bat = base_alloc(v->entries * 8);
    r = vhdx_file_read(d, &v->log, at.off, v->bat, v->entries * 8);
    return r < 0 ? disk_error(error, r, d->path, "its block table cannot be read: %s",
                              strerror(-r)) : 0;
}

/* ---- the driver ------------------------------------------------------ */

static void vhdx_free(struct vhdx *v)
{
    vhdx_log_free(&v->log);
    free(v->bat);
    free(v);
}

static int vhdx_open(struct disk *d, struct base_text *error)
{
    struct vhdx *v = base_zalloc(sizeof *v);
    struct region bat = {0}, metadata = {0};
    int r = disk_file_length(d->file, &v->length);

    if (r < 0)
        disk_error(error, r, d->path, "its length is not to be had: %s", strerror(-r));
    r = r ? r : read_header(d, &v->log, error);
    if (v->length < v->log.length) /* as it was to become: zeros */
        v->length = v->log.length;
    r = r ? r : read_regions(d, &v->log, &bat, &metadata, error);
    r = r ? r : read_metadata(d, metadata, v, error);
    r = r ? r : read_bat(d, bat, v, error);
    if (r < 0) {
        vhdx_free(v);
        return r;
    }
    d->state = v;
    return 0;
}

static int vhdx_close(struct disk *d)
{
    vhdx_free(d->state);
    return 0;
}

static int vhdx_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    struct vhdx *v = d->state;
    uint64_t block = off / v->block_size, in = off % v->block_size, left = v->block_size - in;
    uint64_t entry = v->bat[block + block / v->ratio];

    e->len = len < left ? len : left;
    e->kind = DISK_ZEROES;
    switch (entry & BAT_STATE) {
    case BLOCK_ABSENT:
    case BLOCK_UNDEFINED:
    case BLOCK_ZERO:
    case BLOCK_UNMAPPED:
        return 0;
    case BLOCK_PRESENT:
        break;
    default:
        return -EIO; /* partially present: only below a parent, which there is none */
    }
    e->host_off = (entry & BAT_OFFSET) + in;
    if ((entry & BAT_OFFSET) < MIB || e->host_off >= v->length)
        return -EIO; /* in the headers, or behind the end of the file */
    e->kind = DISK_DATA;
    e->has_host_off = !vhdx_log_touches(&v->log, e->host_off, e->len);
    return 0;
}

/* The log is of tables, but nothing says that it may not have a sector of data. */
static int vhdx_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    struct vhdx *v = d->state;
    uint8_t *buf;
    int r = 0;

    if (!v->log.patches.len)
        return disk_blocks_read(d, off, len, s);
    buf = base_alloc(len < v->block_size ? len : v->block_size);
    while (len && !r) {
        struct disk_extent e;

        r = vhdx_map(d, off, len, &e);
        if (!r && e.kind == DISK_DATA) {
            r = vhdx_file_read(d, &v->log, e.host_off, buf, e.len);
            disk_slice_put(s, buf, e.len);
        } else if (!r) {
            disk_slice_zero(s, e.len);
        }
        off += e.len;
        len -= e.len;
        s = disk_slice_at(s, e.len);
    }
    free(buf);
    return r;
}

static int vhdx_info(struct disk *d, struct disk_info *i)
{
    struct vhdx *v = d->state;

    i->cluster_size = v->block_size;
    disk_fact_text(i, "variant", v->fixed ? "fixed" : "dynamic");
    disk_fact_number(i, "logical-sector-size", v->sector_size);
    if (v->log.patches.len)
        disk_fact_number(i, "log-replayed", v->log.patches.len);
    return 0;
}

const struct disk_driver disk_vhdx = {
    .name = "vhdx",
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .read = vhdx_read,
    .map = vhdx_map,
    .info = vhdx_info,
};
