/* disk_chain.c: commit into a backing file, change to another. SPDX-License-Identifier: Apache-2.0
 *
 * Neither loses anything if it is stopped. A commit writes and flushes the backing file before the
 * image is emptied; until then both hold the content. A safe rebase copies what would read
 * differently into the image and flushes it before the new name is written; until then the copies
 * say what the old backing file says, too.
 */
#include "disk/disk_driver.h"

enum { CHAIN_PIECE = 256 << 10, CHAIN_RUN = 1 << 30, CHAIN_GRAIN = 4096 };

static int chain_progress(disk_progress_fn *progress, void *context, uint64_t done, uint64_t all)
{
    return progress && progress(context, done, all) ? -ECANCELED : 0;
}

/* ---- commit ---------------------------------------------------------- */

static int copy_run(struct disk *from, struct disk *to, const struct disk_extent *e, uint8_t *buf)
{
    uint64_t n;
    int r = 0;

    if (e->kind == DISK_ZEROES)
        return disk_zero(to, e->off, e->len, DISK_REQ_MAY_UNMAP);
    for (uint64_t at = 0; at < e->len && !r; at += n) {
        n = e->len - at < CHAIN_PIECE ? e->len - at : CHAIN_PIECE;
        r = disk_read(from, e->off + at, buf, n);
        if (!r)
            r = disk_write(to, e->off + at, buf, n);
    }
    return r;
}

static int copy_own(struct disk *d, struct disk *to, disk_progress_fn *progress, void *context)
{
    uint8_t *buf = base_alloc(CHAIN_PIECE);
    uint64_t size = disk_size(d);
    struct disk_extent e;
    int r = 0;

    for (uint64_t off = 0; off < size && !r; off += e.len) {
        uint64_t left = size - off;

        r = chain_progress(progress, context, off, size);
        /* piece by piece, so that progress is seen */
        r = r ? r : disk_map(d, off, left < 64 * CHAIN_PIECE ? left : 64 * CHAIN_PIECE, &e);
        if (!r && !e.depth && e.kind != DISK_UNALLOCATED)
            r = copy_run(d, to, &e, buf);
    }
    free(buf);
    return r ? r : disk_flush(to);
}

/* The backing file, open for writing; the one for reading is closed, for its lock excludes us. */
static int reopen_backing(struct disk *d, bool writable, struct base_text *error)
{
    disk_close(d->backing);
    d->backing = NULL;
    return disk_open_below(d, d->backing_name, d->backing_format, writable, &d->backing, error);
}

int disk_commit(struct disk *d, disk_progress_fn *progress, void *context,
                struct base_text *error)
{
    int r, back;

    if (d->read_only)
        return disk_error(error, -EROFS, d->path, "it is open for reading only");
    if (!d->backing || !d->backing_name) /* an unsafe rebase leaves the file open, not the name */
        return disk_error(error, -EINVAL, d->path, "it has no backing file to commit to");
    if (!d->drv->make_empty)
        return disk_error(error, -ENOTSUP, d->path, "%s images cannot be emptied", d->drv->name);
    r = reopen_backing(d, true, error);
    if (!r && disk_size(d->backing) < disk_size(d))
        r = disk_resize(d->backing, disk_size(d), 0, error);
    if (!r) {
        r = copy_own(d, d->backing, progress, context);
        r = r ? r : d->drv->make_empty(d);
        if (r < 0)
            disk_error(error, r, d->path, "cannot be committed: %s; nothing is lost",
                       strerror(-r));
    }
    back = reopen_backing(d, false, error);
    return r ? r : back;
}

/* ---- rebase ---------------------------------------------------------- */

static int read_or_zero(struct disk *d, uint64_t off, uint8_t *buf, size_t len)
{
    uint64_t size = d ? disk_size(d) : 0;
    size_t there = off >= size ? 0 : size - off < len ? (size_t)(size - off) : len;

    memset(buf + there, 0, len - there);
    return there ? disk_read(d, off, buf, there) : 0;
}

/* What reads differently through the new backing file becomes the image's own. */
static int keep_differences(struct disk *d, struct disk *to, uint64_t off, size_t len,
                            uint8_t *buf)
{
    uint8_t *other = buf + CHAIN_PIECE;
    int r = disk_read(d, off, buf, len);
    size_t n;

    if (!r)
        r = read_or_zero(to, off, other, len);
    for (size_t at = 0; at < len && !r; at += n) {
        size_t grain = 0;

        for (n = 0; at + n < len; n += grain) { /* a run of grains that differ */
            grain = len - at - n < CHAIN_GRAIN ? len - at - n : CHAIN_GRAIN;
            if (memcmp(buf + at + n, other + at + n, grain) == 0)
                break;
        }
        if (n)
            r = disk_write(d, off + at, buf + at, n);
        else
            n = grain;
    }
    return r;
}

/* How many of the n bytes at off, which read as zero in the image, do so in `to`, too. */
static int zero_in_both(struct disk *to, uint64_t off, uint64_t n, uint64_t *zero)
{
    struct disk_extent e;
    int r;

    *zero = n;
    if (!to || off >= disk_size(to))
        return 0;
    n = n < disk_size(to) - off ? n : disk_size(to) - off;
    r = disk_map(to, off, n, &e);
    *zero = r < 0 || e.kind == DISK_DATA ? 0 : e.len;
    return r;
}

/* Looks at runs, and reads only what an image of either chain has data for. */
static int keep_all(struct disk *d, struct disk *to, disk_progress_fn *progress, void *context)
{
    uint8_t *buf = base_alloc(2 * CHAIN_PIECE);
    uint64_t size = disk_size(d), n;
    struct disk_extent e;
    int r = 0;

    for (uint64_t off = 0; off < size && !r; off += n) {
        uint64_t zero = 0;

        n = size - off < CHAIN_RUN ? size - off : CHAIN_RUN;
        r = chain_progress(progress, context, off, size);
        r = r ? r : disk_map(d, off, n, &e);
        if (r < 0)
            break;
        n = e.len;
        if (!e.depth && e.kind != DISK_UNALLOCATED)
            continue;
        if (e.kind != DISK_DATA)
            r = zero_in_both(to, off, n, &zero);
        if (zero) {
            n = zero;
        } else if (!r) {
            n = n < CHAIN_PIECE ? n : CHAIN_PIECE;
            r = keep_differences(d, to, off, (size_t)n, buf);
        }
    }
    free(buf);
    return r ? r : disk_flush(d);
}

/* A name that is written into the image must mean something when it is opened again. */
static int open_new(struct disk *d, const char *backing, const char **format, struct disk **to,
                    struct base_text *error)
{
    int r;

    *to = NULL;
    if (!backing)
        return 0;
    r = disk_open_below(d, backing, *format, false, to, error);
    if (!r)
        *format = (*to)->drv->name;
    return r;
}

int disk_rebase(struct disk *d, const char *backing, const char *backing_format, bool unsafe,
                disk_progress_fn *progress, void *context, struct base_text *error)
{
    struct disk *to = NULL;
    int r = 0;

    if (d->read_only)
        return disk_error(error, -EROFS, d->path, "it is open for reading only");
    if (!d->drv->set_backing)
        return disk_error(error, -ENOTSUP, d->path, "%s images have no backing files",
                          d->drv->name);
    if (backing && !*backing)
        backing = NULL;
    if (unsafe && backing && !backing_format)
        return disk_error(error, -EINVAL, d->path, "the format of %s must be stated (-F FORMAT)",
                          backing);
    if (!unsafe) {
        r = open_new(d, backing, &backing_format, &to, error);
        if (r < 0)
            return r;
        r = keep_all(d, to, progress, context);
        if (r < 0)
            disk_error(error, r, d->path, "cannot be rebased: %s", strerror(-r));
    }
    r = r ? r : d->drv->set_backing(d, backing, backing ? backing_format : NULL, error);
    r = r ? r : disk_flush(d);
    if (!r && !unsafe) {
        disk_close(d->backing);
        d->backing = to;
        return 0;
    }
    disk_close(to);
    return r;
}
