/* disk_driver.h: what an image format implements. Private to src/disk.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A format is one `struct disk_driver` and a line in disk_formats.c. Its operations are
 * synchronous and may be called from any thread at once; a format locks for itself. The queues in
 * front of it (disk_queue.c) call them from worker threads, unless place() says without waiting
 * where the bytes are: then they are read and written right there.
 *
 * Requests reach a driver within the size of the disk and never empty; off and len have any
 * alignment. NULL for an operation: the format cannot do it (-ENOTSUP).
 */
#ifndef ISOMER_DISK_DRIVER_H
#define ISOMER_DISK_DRIVER_H

#include "disk/disk.h"
#include "disk/disk_file.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Payload encryption of an image (LUKS). Both work in place on whole 512-byte sectors; `off` is the
 * offset that the format's tweak counts from. Set by a format's open. */
struct disk_crypt {
    int (*encrypt)(struct disk_crypt *c, uint64_t off, uint8_t *buf, size_t len);
    int (*decrypt)(struct disk_crypt *c, uint64_t off, uint8_t *buf, size_t len);
    void (*free)(struct disk_crypt *c);
};

struct disk {
    const struct disk_driver *drv;
    void *state;             /* the format's own */
    struct disk_file *file;  /* closed by disk_close, after drv->close */
    char *path;
    struct disk *backing;    /* NULL: none (or not opened) */
    char *backing_name;      /* as written in the image; NULL: none */
    char *backing_format;
    _Atomic uint64_t size;   /* changed by resize only */
    bool read_only;
    struct disk_geometry geometry; /* stored in the image; all 0: none */
    struct disk_open_options o;    /* folders: a copy of the list */
    unsigned depth;                /* in the chain, from the image that was opened */
    _Atomic int failed;            /* -errno: writes have stopped for good; said why already */
    struct disk_pool *pool;        /* worker threads, made when first needed */
    pthread_mutex_t pool_lock;
    _Atomic unsigned queues;
};

/* Bytes of a disk in a host file. */
struct disk_place {
    struct disk_file *file;
    uint64_t off;
    uint64_t len;   /* how far that holds; at most what was asked */
    bool zero;      /* no bytes there: reads as zero */
    /* leave() with it when the transfer is over; NULL: nothing to be told */
    _Atomic unsigned *users;
};

enum disk_driver_can { DISK_CAN_WRITE = 1, DISK_CAN_CREATE = 2 };

struct disk_driver {
    const char *name;
    unsigned can;                /* enum disk_driver_can */
    /* How sure it is that a file of that length and beginning is one of its own: 0 to 100. */
    int (*probe)(const uint8_t *head, size_t n, uint64_t length);
    /* d->file, d->path, d->o and d->read_only are set; fills size, state, backing_name. The core
     * opens the backing file afterwards. On failure nothing of its own is left. */
    int (*open)(struct disk *d, struct base_text *error);
    int (*close)(struct disk *d); /* flushes if writable and not failed; frees d->state */
    int (*read)(struct disk *d, uint64_t off, size_t len, struct disk_slice s);
    int (*write)(struct disk *d, uint64_t off, size_t len, struct disk_slice s, unsigned flags);
    int (*zero)(struct disk *d, uint64_t off, uint64_t len, unsigned flags);
    int (*discard)(struct disk *d, uint64_t off, uint64_t len);
    int (*flush)(struct disk *d);
    /* The run at off in this image alone: kind, len, compressed, host_off. The core looks into the
     * backing file where it says DISK_UNALLOCATED. */
    int (*map)(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e);
    /* Optional, must not wait: where bytes are that may be transferred directly. -EAGAIN: not known
     * without waiting, or not plainly in a file. 1: not in this image, look into the backing file
     * (p->len says how far). For writing only where no metadata changes. */
    int (*place)(struct disk *d, uint64_t off, uint64_t len, bool write, struct disk_place *p);
    /* Optional. Reads if that needs no waiting, by more work than place() leaves to the core (a
     * cluster to decompress): 0 or -EAGAIN. */
    int (*read_now)(struct disk *d, uint64_t off, size_t len, struct disk_slice s);
    /* Optional. Does a write there go without waiting: no table to be read, nothing copied? */
    bool (*prompt)(struct disk *d, uint64_t off, size_t len);
    /* Fills an empty file; the core flushes and renames it. */
    int (*create)(struct disk_file *f, const struct disk_create_options *o,
                  struct base_text *error);
    int (*info)(struct disk *d, struct disk_info *info); /* adds its own to what the core filled */
    int (*check)(struct disk *d, enum disk_repair repair, struct disk_check_result *r);
    int (*resize)(struct disk *d, uint64_t size, unsigned flags, struct base_text *error);
    /* Writes another backing file's name into the image (NULL: none); not opened here. */
    int (*set_backing)(struct disk *d, const char *name, const char *format,
                       struct base_text *error);
    int (*make_empty)(struct disk *d); /* all unallocated again, after a commit */
    int (*snapshot_list)(struct disk *d, struct disk_snapshot **list, unsigned *n);
    int (*snapshot_create)(struct disk *d, const char *name, struct base_text *error);
    int (*snapshot_delete)(struct disk *d, const char *name, struct base_text *error);
    int (*snapshot_revert)(struct disk *d, const char *name, struct base_text *error);
    int (*snapshot_open)(struct disk *d, const char *name, struct disk **s,
                         struct base_text *error);
    int (*bitmap_list)(struct disk *d, struct disk_bitmap **list, unsigned *n);
    int (*bitmap_add)(struct disk *d, const char *name, uint32_t granularity,
                      struct base_text *error);
    int (*bitmap_remove)(struct disk *d, const char *name, struct base_text *error);
    int (*bitmap_clear)(struct disk *d, const char *name, struct base_text *error);
    int (*bitmap_enable)(struct disk *d, const char *name, bool on, struct base_text *error);
    int (*bitmap_merge)(struct disk *d, const char *into, struct disk *src, const char *from,
                        struct base_text *error);
    int (*bitmap_next)(struct disk *d, const char *name, uint64_t off, uint64_t *start,
                       uint64_t *len, struct base_text *error);
};

/* All formats, raw last; NULL behind it. A new format is a line in disk_formats.c. */
extern const struct disk_driver *const disk_drivers[];
const struct disk_driver *disk_driver_find(const char *name);
/* Which format a file says it is; raw if none. */
const struct disk_driver *disk_driver_probe(struct disk_file *f, int *result);

/* ---- helpers for formats --------------------------------------------- */

/* The request without queues: clipped, split along the chain. */
int disk_core_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s);
int disk_core_write(struct disk *d, uint64_t off, size_t len, struct disk_slice s, unsigned flags);
/* Reads what this image does not hold: from its backing file, zero where that ends or is none. */
int disk_backing_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s);

/* The path that a name written in the image `of` means, if it may be opened: a plain path, never a
 * protocol, inside the allowed folders. NULL and a line in *error otherwise. */
char *disk_resolve(const char *of, const char *name, const char *const *folders, const char *what,
                   struct base_text *error);
/* Opens a backing or data file for d under d's rules. */
int disk_open_below(struct disk *d, const char *name, const char *format, bool writable,
                    struct disk **below, struct base_text *error);

/* Something is wrong with the image that must not get worse: writes stop, one loud line. */
void disk_fail(struct disk *d, int result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes "path: " and a line into *error (which may be NULL); returns result. */
int disk_error(struct base_text *error, int result, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A name beside path that nobody else uses; free() it. */
char *disk_temporary_name(const char *path);
/* Flushes the folder that path is in: the name itself is then safe. */
int disk_sync_folder(const char *path);
/* What is replaced must not be in use: locks it until *old is closed. *old stays NULL if there is
 * nothing. */
int disk_lock_old(const char *path, struct disk_file **old, struct base_text *error);

void disk_fact_number(struct disk_info *i, const char *name, uint64_t v);
void disk_fact_bool(struct disk_info *i, const char *name, bool v);
void disk_fact_text(struct disk_info *i, const char *name, const char *v);

static inline uint16_t disk_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap16(v);
}
static inline uint32_t disk_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}
static inline uint64_t disk_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}
static inline void disk_put_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof v);
}
static inline void disk_put_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}
static inline void disk_put_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

#endif
