/* disk_vdi.c: VirtualBox images, for reading. SPDX-License-Identifier: Apache-2.0
 *
 * A header, a table with the number of the host block for each block of the disk, and the blocks.
 * Fixed and dynamic images differ in nothing that a reader sees. Source: the comments of
 * VirtualBox's VDICore.h and QEMU's block/vdi.c on the layout.
 */
#include "disk/disk_blocks.h"

enum {
    HEADER = 0x190,
    SIGNATURE = 0x40,
    VERSION = 0x44,
    TYPE = 0x4c,
    TABLE_AT = 0x154,
    DATA_AT = 0x158,
    GEOMETRY = 0x15c,
    SECTOR_SIZE = 0x168,
    DISK_SIZE = 0x170,
    BLOCK_SIZE = 0x178,
    BLOCK_EXTRA = 0x17c,
    BLOCKS = 0x180,
};
enum { TYPE_DYNAMIC = 1, TYPE_FIXED = 2 };
#define VDI_SIGNATURE 0xbeda107fu
#define VDI_VERSION 0x00010001u
/* Entries of the table that name no block: never written, and zeroed. */
enum { VDI_ABSENT = 0xffffffffu, VDI_ZEROED = 0xfffffffeu };

/* VirtualBox always makes 1 MiB; stops shifts and products out of range. */
enum { MIN_BLOCK = 512, MAX_BLOCK = 256 << 20 };
/* 128 TiB of usual blocks; stops a header that asks for gigabytes of table. */
enum { MAX_BLOCKS = 1 << 27 };

struct vdi {
    uint32_t *table;
    uint32_t blocks, block_size;
    uint64_t data_at, length;
    bool fixed;
};

static int vdi_probe(const uint8_t *head, size_t n, uint64_t length)
{
    return n >= HEADER && disk_le32(head + SIGNATURE) == VDI_SIGNATURE ? 100 : 0;
}

static int vdi_bad(struct disk *d, struct base_text *error, const char *what)
{
    return disk_error(error, -EINVAL, d->path, "not a valid VDI image: %s", what);
}

static int vdi_check(struct disk *d, const uint8_t *h, struct vdi *v, struct base_text *error)
{
    uint32_t type = disk_le32(h + TYPE);

    if (disk_le32(h + SIGNATURE) != VDI_SIGNATURE)
        return vdi_bad(d, error, "its signature is another one");
    if (disk_le32(h + VERSION) != VDI_VERSION)
        return disk_error(error, -ENOTSUP, d->path, "VDI version %u.%u is not known, only 1.1",
                          disk_le32(h + VERSION) >> 16, disk_le32(h + VERSION) & 0xffff);
    if (type != TYPE_DYNAMIC && type != TYPE_FIXED)
        return disk_error(error, -ENOTSUP, d->path,
                          "a differencing or undo image: merge it with VBoxManage first");
    if (disk_le32(h + SECTOR_SIZE) != 512)
        return vdi_bad(d, error, "sectors of other than 512 bytes");
    if (v->block_size < MIN_BLOCK || v->block_size > MAX_BLOCK ||
        v->block_size & (v->block_size - 1))
        return vdi_bad(d, error, "blocks of a size that makes no sense");
    if (disk_le32(h + BLOCK_EXTRA))
        return disk_error(error, -ENOTSUP, d->path, "blocks with extra data are not known");
    if (v->blocks > MAX_BLOCKS)
        return vdi_bad(d, error, "more than 2^27 blocks");
    if (d->size > DISK_MAX_SIZE || d->size > (uint64_t)v->blocks * v->block_size)
        return vdi_bad(d, error, "its size is more than its blocks");
    return 0;
}

static int vdi_read_table(struct disk *d, uint64_t at, struct vdi *v, struct base_text *error)
{
    uint64_t bytes = (uint64_t)v->blocks * 4;
    int r;

    if (at < HEADER || at > v->length || bytes > v->length - at)
        return vdi_bad(d, error, "its table is outside the file");
    v->table = base_alloc(bytes + 4);
    r = disk_file_read(d->file, at, v->table, bytes);
    return r < 0 ? disk_error(error, r, d->path, "its table cannot be read: %s", strerror(-r)) : 0;
}

static void vdi_free(struct vdi *v)
{
    free(v->table);
    free(v);
}

static int vdi_open(struct disk *d, struct base_text *error)
{
    struct vdi *v = base_zalloc(sizeof *v);
    uint8_t h[HEADER];
    int r = disk_file_length(d->file, &v->length);

    r = r ? r : disk_file_read(d->file, 0, h, sizeof h);
    if (r < 0) {
        free(v);
        return disk_error(error, r, d->path, "its header cannot be read: %s", strerror(-r));
    }
    v->block_size = disk_le32(h + BLOCK_SIZE);
    v->blocks = disk_le32(h + BLOCKS);
    v->data_at = disk_le32(h + DATA_AT);
    v->fixed = disk_le32(h + TYPE) == TYPE_FIXED;
    d->size = disk_le64(h + DISK_SIZE);
    r = vdi_check(d, h, v, error);
    r = r ? r : vdi_read_table(d, disk_le32(h + TABLE_AT), v, error);
    if (r < 0) {
        vdi_free(v);
        return r;
    }
    d->geometry = (struct disk_geometry){disk_le32(h + GEOMETRY), disk_le32(h + GEOMETRY + 4),
                                         disk_le32(h + GEOMETRY + 8)};
    d->state = v;
    return 0;
}

static int vdi_close(struct disk *d)
{
    vdi_free(d->state);
    return 0;
}

static int vdi_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    struct vdi *v = d->state;
    uint32_t entry = v->table[off / v->block_size];
    uint64_t in = off % v->block_size, left = v->block_size - in;

    e->len = len < left ? len : left;
    e->kind = DISK_ZEROES;
    if (entry == VDI_ABSENT || entry == VDI_ZEROED)
        return 0;
    e->host_off = v->data_at + (uint64_t)entry * v->block_size + in;
    if (e->host_off >= v->length)
        return -EIO; /* the table names a block behind the end of the file */
    e->kind = DISK_DATA;
    e->has_host_off = true;
    return 0;
}

static int vdi_info(struct disk *d, struct disk_info *i)
{
    struct vdi *v = d->state;

    i->cluster_size = v->block_size;
    disk_fact_text(i, "variant", v->fixed ? "fixed" : "dynamic");
    return 0;
}

const struct disk_driver disk_vdi = {
    .name = "vdi",
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .read = disk_blocks_read,
    .map = vdi_map,
    .info = vdi_info,
};
