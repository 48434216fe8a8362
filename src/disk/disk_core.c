/* disk_core.c: requests from any thread, and along the backing chain.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Checks what no format should have to check (ranges, read-only, a disk that has failed), and
 * passes each request to the image's driver.
 */
#include "disk/disk_driver.h"

/* One step of a driver: what lies between limits how much of a request is seen at once. */
enum { CORE_MAX_STEP = 1 << 30 };

static int check_range(struct disk *d, uint64_t off, uint64_t len)
{
    uint64_t size = d->size;

    return off > size || len > size - off ? -EINVAL : 0;
}

static int check_write(struct disk *d, uint64_t off, uint64_t len)
{
    if (d->read_only)
        return -EROFS;
    if (d->failed)
        return d->failed;
    return check_range(d, off, len);
}

/* ---- slices ---------------------------------------------------------- */

int disk_core_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    int r = check_range(d, off, len);

    return r || !len ? r : d->drv->read(d, off, len, s);
}

int disk_core_write(struct disk *d, uint64_t off, size_t len, struct disk_slice s, unsigned flags)
{
    int r = check_write(d, off, len);

    if (r || !len)
        return r;
    if (!d->drv->write)
        return -ENOTSUP;
    r = d->drv->write(d, off, len, s, flags);
    return !r && flags & DISK_REQ_FUA ? disk_flush(d) : r;
}

int disk_backing_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    struct disk *b = d->backing;
    uint64_t size = b ? (uint64_t)b->size : 0;
    size_t there = off >= size ? 0 : size - off < len ? (size_t)(size - off) : len;

    if (there < len)
        disk_slice_zero(disk_slice_at(s, there), len - there);
    return there ? b->drv->read(b, off, there, s) : 0;
}

/* ---- the public calls ------------------------------------------------ */

static size_t iov_length(const struct iovec *iov, int niov)
{
    size_t len = 0;

    for (int i = 0; i < niov; i++)
        len += iov[i].iov_len;
    return len;
}

int disk_readv(struct disk *d, uint64_t off, const struct iovec *iov, int niov)
{
    return disk_core_read(d, off, iov_length(iov, niov), (struct disk_slice){iov, niov, 0});
}

int disk_writev(struct disk *d, uint64_t off, const struct iovec *iov, int niov, unsigned flags)
{
    return disk_core_write(d, off, iov_length(iov, niov), (struct disk_slice){iov, niov, 0}, flags);
}

int disk_read(struct disk *d, uint64_t off, void *buf, size_t len)
{
    struct iovec iov = {buf, len};

    return disk_core_read(d, off, len, (struct disk_slice){&iov, 1, 0});
}

int disk_write(struct disk *d, uint64_t off, const void *buf, size_t len)
{
    struct iovec iov = {(void *)buf, len};

    return disk_core_write(d, off, len, (struct disk_slice){&iov, 1, 0}, 0);
}

static int write_zeros(struct disk *d, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[64 << 10];
    int r = 0;

    while (len && !r) {
        size_t n = len < sizeof zeros ? (size_t)len : sizeof zeros;

        r = disk_write(d, off, zeros, n);
        off += n;
        len -= n;
    }
    return r;
}

int disk_zero(struct disk *d, uint64_t off, uint64_t len, unsigned flags)
{
    int r = check_write(d, off, len);

    while (len && !r) {
        uint64_t n = len < CORE_MAX_STEP ? len : CORE_MAX_STEP;

        r = d->drv->zero ? d->drv->zero(d, off, n, flags) : -ENOTSUP;
        if (r == -ENOTSUP || r == -EOPNOTSUPP)
            r = write_zeros(d, off, n);
        off += n;
        len -= n;
    }
    return !r && flags & DISK_REQ_FUA ? disk_flush(d) : r;
}

int disk_discard(struct disk *d, uint64_t off, uint64_t len)
{
    int r = check_write(d, off, len);

    while (len && !r && d->drv->discard) {
        uint64_t n = len < CORE_MAX_STEP ? len : CORE_MAX_STEP;

        r = d->drv->discard(d, off, n);
        off += n;
        len -= n;
    }
    return r;
}

int disk_flush(struct disk *d)
{
    if (d->read_only)
        return 0;
    if (d->failed)
        return d->failed;
    return d->drv->flush ? d->drv->flush(d) : 0;
}

/* ---- where data is --------------------------------------------------- */

static bool same_extent(const struct disk_extent *a, const struct disk_extent *b)
{
    return a->kind == b->kind && a->depth == b->depth && a->compressed == b->compressed &&
           a->has_host_off == b->has_host_off && a->path == b->path &&
           (!a->has_host_off || a->host_off + a->len == b->host_off);
}

/* One step: what the first image of the chain that knows says of off, at most len. */
static int map_step(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    unsigned depth = 0;

    for (;; d = d->backing, depth++) {
        int r = 0;

        *e = (struct disk_extent){.off = off, .len = len, .kind = DISK_DATA, .path = d->path};
        if (d->drv->map)
            r = d->drv->map(d, off, len, e);
        e->depth = depth;
        if (r < 0 || e->kind != DISK_UNALLOCATED)
            return r;
        len = e->len;
        if (!d->backing || off >= d->backing->size)
            break;
        if (len > d->backing->size - off)
            len = d->backing->size - off;
    }
    e->depth = 0;
    e->path = NULL;
    e->has_host_off = false;
    return 0;
}

int disk_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    struct disk_extent more;
    int r = check_range(d, off, len);

    if (r < 0)
        return r;
    *e = (struct disk_extent){.off = off};
    r = len ? map_step(d, off, len, e) : 0;
    while (!r && e->len < len) {
        r = map_step(d, off + e->len, len - e->len, &more);
        if (r || !same_extent(e, &more))
            break;
        e->len += more.len;
    }
    return r;
}

/* ---- management, passed on ------------------------------------------- */

int disk_check(struct disk *d, enum disk_repair repair, struct disk_check_result *r)
{
    if (repair && d->read_only)
        return -EROFS;
    return d->drv->check ? d->drv->check(d, repair, r) : -ENOTSUP;
}

static int no_support(struct disk *d, const char *what, struct base_text *error)
{
    return disk_error(error, -ENOTSUP, d->path, "%s images have no %s", d->drv->name, what);
}

/* Before something that changes the image as a whole. */
static int may_change(struct disk *d, struct base_text *error)
{
    if (d->read_only)
        return disk_error(error, -EROFS, d->path, "it is open for reading only");
    if (d->failed)
        return disk_error(error, d->failed, d->path, "it has failed before: check it first");
    return 0;
}

int disk_resize(struct disk *d, uint64_t size, unsigned flags, struct base_text *error)
{
    int r = may_change(d, error);

    if (r < 0)
        return r;
    if (size > DISK_MAX_SIZE)
        return disk_error(error, -EFBIG, d->path, "larger than a disk can be");
    if (size < d->size && !(flags & DISK_RESIZE_SHRINK))
        return disk_error(error, -EINVAL, d->path,
                          "that is less than its size of %llu bytes: what is behind the new end "
                          "would be lost; say --shrink if that is meant",
                          (unsigned long long)d->size);
    if (!d->drv->resize)
        return no_support(d, "changeable size", error);
    return d->drv->resize(d, size, flags, error);
}

int disk_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n)
{
    *list = NULL;
    *n = 0;
    return d->drv->snapshot_list ? d->drv->snapshot_list(d, list, n) : 0;
}

#define CORE_CHANGE(call, what, ...)                                                     \
    int r = may_change(d, error);                                                        \
    if (r < 0)                                                                           \
        return r;                                                                        \
    return d->drv->call ? d->drv->call(d, __VA_ARGS__) : no_support(d, what, error)

int disk_snapshot_create(struct disk *d, const char *name, struct base_text *error)
{
    CORE_CHANGE(snapshot_create, "internal snapshots", name, error);
}

int disk_snapshot_delete(struct disk *d, const char *name, struct base_text *error)
{
    CORE_CHANGE(snapshot_delete, "internal snapshots", name, error);
}

int disk_snapshot_revert(struct disk *d, const char *name, struct base_text *error)
{
    CORE_CHANGE(snapshot_revert, "internal snapshots", name, error);
}

int disk_snapshot_open(struct disk *d, const char *name, struct disk **s, struct base_text *error)
{
    return d->drv->snapshot_open ? d->drv->snapshot_open(d, name, s, error)
                                 : no_support(d, "internal snapshots", error);
}

int disk_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n)
{
    *list = NULL;
    *n = 0;
    return d->drv->bitmap_list ? d->drv->bitmap_list(d, list, n) : 0;
}

int disk_bitmap_add(struct disk *d, const char *name, uint32_t granularity,
                    struct base_text *error)
{
    CORE_CHANGE(bitmap_add, "bitmaps", name, granularity, error);
}

int disk_bitmap_remove(struct disk *d, const char *name, struct base_text *error)
{
    CORE_CHANGE(bitmap_remove, "bitmaps", name, error);
}

int disk_bitmap_clear(struct disk *d, const char *name, struct base_text *error)
{
    CORE_CHANGE(bitmap_clear, "bitmaps", name, error);
}

int disk_bitmap_enable(struct disk *d, const char *name, bool on, struct base_text *error)
{
    CORE_CHANGE(bitmap_enable, "bitmaps", name, on, error);
}

int disk_bitmap_merge(struct disk *d, const char *into, struct disk *src, const char *from,
                      struct base_text *error)
{
    CORE_CHANGE(bitmap_merge, "bitmaps", into, src, from, error);
}

int disk_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start, uint64_t *len,
                     struct base_text *error)
{
    return d->drv->bitmap_next ? d->drv->bitmap_next(d, name, off, start, len, error)
                               : no_support(d, "bitmaps", error);
}
