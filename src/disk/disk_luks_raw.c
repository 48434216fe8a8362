/* disk_luks_raw.c: the `luks` format: a LUKS 1 header, and a raw disk encrypted behind it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What cryptsetup formats with --type luks1 and QEMU calls luks. Sectors are encrypted one by one,
 * so a write that covers part of one reads it first: such writes keep all others out (a rwlock,
 * shared by those that are aligned).
 *
 * Nothing marks what was never written: it decrypts to noise, as behind dm-crypt. map() says data
 * everywhere, so that whoever copies to a new image writes its zeros, too.
 */
#include "disk/disk_luks.h"
#include "disk/disk_luks_key.h"

enum { STEP = 1 << 20 };

struct luks_raw {
    struct disk_crypt *crypt;
    struct disk_luks_info info;
    pthread_rwlock_t lock; /* exclusive: a write of parts of sectors */
};

static int raw_luks_probe(const uint8_t *head, size_t n, uint64_t length)
{
    return n >= 8 && !memcmp(head, "LUKS\xba\xbe", 6) ? 100 : 0;
}

static int raw_luks_open(struct disk *d, struct base_text *error)
{
    struct luks_raw *s = base_zalloc(sizeof *s);
    uint64_t length;
    int r = disk_file_length(d->file, &length);

    if (r < 0)
        disk_error(error, r, d->path, "its length is not to be had: %s", strerror(-r));
    r = r ? r : disk_luks_open(d, 0, length, &s->crypt, &s->info, error);
    if (!r && s->info.payload > length) {
        r = disk_error(error, -EINVAL, d->path, "it ends within its LUKS header");
        s->crypt->free(s->crypt);
    }
    if (r < 0) {
        free(s);
        return r;
    }
    pthread_rwlock_init(&s->lock, NULL);
    d->state = s;
    d->size = BASE_ALIGN_DOWN(length - s->info.payload, LUKS_SECTOR);
    return 0;
}

static int raw_luks_close(struct disk *d)
{
    struct luks_raw *s = d->state;
    int r = d->read_only ? 0 : disk_file_sync(d->file);

    s->crypt->free(s->crypt);
    pthread_rwlock_destroy(&s->lock);
    free(s);
    return r;
}

/* ---- whole sectors through a buffer ---------------------------------- */

static int get_sectors(struct disk *d, uint64_t off, uint8_t *buf, size_t len)
{
    struct luks_raw *s = d->state;
    int r = disk_file_read(d->file, s->info.payload + off, buf, len);

    return r ? r : s->crypt->decrypt(s->crypt, off, buf, len);
}

static int put_sectors(struct disk *d, uint64_t off, uint8_t *buf, size_t len)
{
    struct luks_raw *s = d->state;
    int r = s->crypt->encrypt(s->crypt, off, buf, len);

    return r ? r : disk_file_write(d->file, s->info.payload + off, buf, len);
}

/* The sectors around a range, at most STEP bytes of it. */
struct span {
    uint64_t off;
    size_t len, head, used;
};

static struct span span_of(uint64_t off, size_t len)
{
    struct span p = {.off = BASE_ALIGN_DOWN(off, LUKS_SECTOR)};

    p.head = (size_t)(off - p.off);
    p.used = len < STEP - p.head ? len : STEP - p.head;
    p.len = BASE_ALIGN_UP(p.head + p.used, LUKS_SECTOR);
    return p;
}

static size_t buffer_size(size_t len)
{
    return len < STEP - 2 * LUKS_SECTOR ? BASE_ALIGN_UP(len, LUKS_SECTOR) + 2 * LUKS_SECTOR : STEP;
}

static int raw_luks_read(struct disk *d, uint64_t off, size_t len, struct disk_slice slice)
{
    uint8_t *buf = base_alloc(buffer_size(len));
    int r = 0;

    for (size_t at = 0; !r && at < len;) {
        struct span p = span_of(off + at, len - at);

        r = get_sectors(d, p.off, buf, p.len);
        if (!r)
            disk_slice_put(disk_slice_at(slice, at), buf + p.head, p.used);
        at += p.used;
    }
    free(buf);
    return r;
}

static int write_spans(struct disk *d, uint64_t off, size_t len, struct disk_slice slice,
                       uint8_t *buf)
{
    int r = 0;

    for (size_t at = 0; !r && at < len;) {
        struct span p = span_of(off + at, len - at);

        if (p.head || p.used != p.len)
            r = get_sectors(d, p.off, buf, p.len);
        if (!r) {
            disk_slice_get(disk_slice_at(slice, at), buf + p.head, p.used);
            r = put_sectors(d, p.off, buf, p.len);
        }
        at += p.used;
    }
    return r;
}

static int raw_luks_write(struct disk *d, uint64_t off, size_t len, struct disk_slice slice,
                          unsigned flags)
{
    struct luks_raw *s = d->state;
    uint8_t *buf = base_alloc(buffer_size(len));
    int r;

    if ((off | len) % LUKS_SECTOR)
        pthread_rwlock_wrlock(&s->lock);
    else
        pthread_rwlock_rdlock(&s->lock);
    r = write_spans(d, off, len, slice, buf);
    pthread_rwlock_unlock(&s->lock);
    free(buf);
    return r;
}

static int raw_luks_flush(struct disk *d)
{
    return disk_file_sync(d->file);
}

static int raw_luks_info(struct disk *d, struct disk_info *info)
{
    struct luks_raw *s = d->state;

    disk_luks_facts(&s->info, info);
    return 0;
}

/* ---- create, resize -------------------------------------------------- */

static int raw_luks_create(struct disk_file *f, const struct disk_create_options *o,
                           struct base_text *error)
{
    uint64_t size = BASE_ALIGN_UP(o->size, LUKS_SECTOR);
    uint8_t *area;
    size_t len;
    int r;

    if (o->backing)
        return disk_error(error, -EINVAL, f->path, "a luks image has no backing file; use qcow2");
    r = disk_luks_create(f->path, o, &area, &len, error);
    if (r < 0)
        return r;
    r = disk_file_write(f, 0, area, len);
    if (!r)
        r = disk_file_truncate(f, len + size);
    if (!r && o->prealloc == DISK_PREALLOC_FULL && size) {
        r = disk_file_allocate(f, len, size);
        r = r == -EOPNOTSUPP ? 0 : r;
    }
    luks_wipe(area, len);
    free(area);
    return r < 0 ? disk_error(error, r, f->path, "cannot be written: %s", strerror(-r)) : 0;
}

static int raw_luks_resize(struct disk *d, uint64_t size, unsigned flags, struct base_text *error)
{
    struct luks_raw *s = d->state;
    int r;

    size = BASE_ALIGN_UP(size, LUKS_SECTOR);
    r = disk_file_truncate(d->file, s->info.payload + size);
    if (r < 0)
        return disk_error(error, r, d->path, "cannot be resized: %s", strerror(-r));
    d->size = size;
    return 0;
}

const struct disk_driver disk_luks = {
    .name = "luks",
    .can = DISK_CAN_WRITE | DISK_CAN_CREATE,
    .probe = raw_luks_probe,
    .open = raw_luks_open,
    .close = raw_luks_close,
    .read = raw_luks_read,
    .write = raw_luks_write,
    .flush = raw_luks_flush,
    .create = raw_luks_create,
    .info = raw_luks_info,
    .resize = raw_luks_resize,
};
