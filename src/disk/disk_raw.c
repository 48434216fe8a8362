/* disk_raw.c: a disk that is its file, byte by byte. SPDX-License-Identifier: Apache-2.0
 *
 * Holes of the file are what is not allocated. The length of a file that is no multiple of 512 is
 * kept: the last sector of the disk is then a short one.
 */
#include "disk/disk_driver.h"

static int raw_probe(const uint8_t *head, size_t n, uint64_t length)
{
    return 1; /* everything is a raw image if it is nothing else */
}

static int raw_open(struct disk *d, struct base_text *error)
{
    uint64_t length;
    int r = disk_file_length(d->file, &length);

    if (r < 0)
        return disk_error(error, r, d->path, "its length is not to be had: %s", strerror(-r));
    if (length > DISK_MAX_SIZE)
        return disk_error(error, -EFBIG, d->path, "larger than a disk can be");
    d->size = length;
    return 0;
}

static int raw_close(struct disk *d)
{
    return d->read_only ? 0 : disk_file_sync(d->file);
}

static int raw_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    return disk_file_readv(d->file, off, len, s);
}

static int raw_write(struct disk *d, uint64_t off, size_t len, struct disk_slice s, unsigned flags)
{
    return disk_file_writev(d->file, off, len, s);
}

static int raw_zero(struct disk *d, uint64_t off, uint64_t len, unsigned flags)
{
    return disk_file_zero(d->file, off, len, flags & DISK_REQ_MAY_UNMAP);
}

/* A hint: nothing is lost if the host cannot. */
static int raw_discard(struct disk *d, uint64_t off, uint64_t len)
{
    int r = disk_file_punch(d->file, off, len);

    return r == -EOPNOTSUPP ? 0 : r;
}

static int raw_flush(struct disk *d)
{
    return disk_file_sync(d->file);
}

static int raw_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    bool data;
    int r = disk_file_data(d->file, off, len, &data, &e->len);

    e->kind = data ? DISK_DATA : DISK_ZEROES;
    e->has_host_off = true;
    e->host_off = off;
    return r;
}

static int raw_place(struct disk *d, uint64_t off, uint64_t len, bool write, struct disk_place *p)
{
    *p = (struct disk_place){.file = d->file, .off = off, .len = len};
    return 0;
}

static int raw_create(struct disk_file *f, const struct disk_create_options *o,
                      struct base_text *error)
{
    int r;

    if (o->backing)
        return disk_error(error, -EINVAL, f->path, "a raw image has no backing file; use qcow2");
    if (o->encrypt)
        return disk_error(error, -EINVAL, f->path, "a raw image is not encrypted; use qcow2");
    r = disk_file_truncate(f, o->size);
    if (!r && o->prealloc == DISK_PREALLOC_FULL && o->size) {
        r = disk_file_allocate(f, 0, o->size);
        if (r == -EOPNOTSUPP)
            r = disk_file_zero(f, 0, o->size, false);
    }
    return r < 0 ? disk_error(error, r, f->path, "cannot be made %llu bytes long: %s",
                              (unsigned long long)o->size, strerror(-r)) : 0;
}

static int raw_resize(struct disk *d, uint64_t size, unsigned flags, struct base_text *error)
{
    int r = disk_file_truncate(d->file, size);

    if (r < 0)
        return disk_error(error, r, d->path, "cannot be resized: %s", strerror(-r));
    d->size = size;
    return 0;
}

const struct disk_driver disk_raw = {
    .name = "raw",
    .can = DISK_CAN_WRITE | DISK_CAN_CREATE,
    .probe = raw_probe,
    .open = raw_open,
    .close = raw_close,
    .read = raw_read,
    .write = raw_write,
    .zero = raw_zero,
    .discard = raw_discard,
    .flush = raw_flush,
    .map = raw_map,
    .place = raw_place,
    .create = raw_create,
    .resize = raw_resize,
};
