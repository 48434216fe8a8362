/* disk_file.h: host files, the only way from a format to the host.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every byte that a format reads or writes goes through a `struct disk_file`, and that through a
 * table of operations. The host's table is disk_file_host; a test puts its own in front of it
 * (disk_open_options.file_ops) to inject errors and short transfers, or to record writes and
 * flushes for a replay. An operation that returns -EOPNOTSUPP has an equivalent that the caller
 * falls back to, so a layer may leave any of the optional ones out.
 *
 * disk_file_read() and friends finish short transfers; past the end of the file reads give zero.
 */
#ifndef ISOMER_DISK_FILE_H
#define ISOMER_DISK_FILE_H

#include "disk/disk.h"

struct disk_file {
    const struct disk_file_ops *ops;
    void *context;      /* of the layer that replaced the host's operations */
    void *layer;        /* the layer's own, for this file */
    int fd;
    bool writable;
    bool regular;       /* a plain file: it grows, and what is behind its end is zero */
    bool nowait;        /* RWF_NOWAIT works, or nothing here ever waits (tmpfs) */
    uint8_t nowait_flags;
    char *path;         /* as it was opened */
    uint64_t dev, ino;  /* which file that is */
};

enum disk_file_mode {
    DISK_FILE_WRITE = 1,  /* for reading and writing */
    DISK_FILE_CREATE = 2, /* must not exist yet */
};

struct disk_file_ops {
    /* Opens f->path, fills f->fd. */
    int (*open)(struct disk_file *f, unsigned mode);
    void (*close)(struct disk_file *f);
    /* As preadv2 and pwritev2: the number of bytes, or -errno. flags: RWF_NOWAIT or 0. */
    ssize_t (*preadv)(struct disk_file *f, const struct iovec *iov, int n, uint64_t off, int flags);
    ssize_t (*pwritev)(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                       int flags);
    int (*sync)(struct disk_file *f);                   /* data and length are on the medium */
    int (*length)(struct disk_file *f, uint64_t *len);  /* of the file */
    int (*truncate)(struct disk_file *f, uint64_t len); /* new bytes are zero */
    /* Optional (NULL or -EOPNOTSUPP). After either the range reads as zero; neither changes the
     * length of the file. */
    int (*punch)(struct disk_file *f, uint64_t off, uint64_t len); /* gives space back */
    int (*zero)(struct disk_file *f, uint64_t off, uint64_t len);  /* keeps it */
    int (*allocate)(struct disk_file *f, uint64_t off, uint64_t len); /* reserves, may lengthen */
    /* Optional: the next data at or after off, and where it ends. -ENXIO: none. */
    int (*seek_data)(struct disk_file *f, uint64_t off, uint64_t *data, uint64_t *end);
};
extern const struct disk_file_ops disk_file_host;

/* Opens path. On failure *error, if not NULL, says why. */
int disk_file_open(const char *path, unsigned mode, const struct disk_file_ops *ops, void *context,
                   struct disk_file **f, struct base_text *error);
void disk_file_close(struct disk_file *f); /* f may be NULL; does not sync */

/* ---- locks ----------------------------------------------------------- */

enum disk_lock { DISK_LOCK_NONE, DISK_LOCK_READ, DISK_LOCK_WRITE };
/* Locks f as QEMU does, so that the two keep each other out: any number of readers or one writer.
 * -EAGAIN: someone else holds it, and *error says who. Given back by close. */
int disk_file_lock(struct disk_file *f, enum disk_lock lock, struct base_text *error);

/* ---- transfers ------------------------------------------------------- */

/* Part of a request's buffers: what comes `skip` bytes after the begin of iov. */
struct disk_slice {
    const struct iovec *iov;
    int niov;
    size_t skip;
};
static inline struct disk_slice disk_slice_at(struct disk_slice s, size_t skip)
{
    s.skip += skip;
    return s;
}
void disk_slice_get(struct disk_slice s, void *to, size_t len);         /* slice -> to */
void disk_slice_put(struct disk_slice s, const void *from, size_t len); /* from -> slice */
void disk_slice_zero(struct disk_slice s, size_t len);
bool disk_slice_is_zero(struct disk_slice s, size_t len);
/* The first len bytes as at most max iovecs; returns how many, and in *got how many bytes. */
int disk_slice_iov(struct disk_slice s, size_t len, struct iovec *iov, int max, size_t *got);
/* The slice as one piece of memory, or NULL if it is in several. */
void *disk_slice_flat(struct disk_slice s, size_t len);

/* All of it or -errno. Reading past the end of the file gives zero bytes; a read that stays short
 * within the file is an error (-EIO). */
int disk_file_readv(struct disk_file *f, uint64_t off, size_t len, struct disk_slice s);
int disk_file_writev(struct disk_file *f, uint64_t off, size_t len, struct disk_slice s);
int disk_file_read(struct disk_file *f, uint64_t off, void *buf, size_t len);
int disk_file_write(struct disk_file *f, uint64_t off, const void *buf, size_t len);
/* Without waiting: 0 if all was transferred, -EAGAIN otherwise. */
int disk_file_try_readv(struct disk_file *f, uint64_t off, size_t len, struct disk_slice s);

int disk_file_sync(struct disk_file *f);
int disk_file_length(struct disk_file *f, uint64_t *len);
int disk_file_truncate(struct disk_file *f, uint64_t len);
/* The range reads as zero afterwards, by the cheapest way there is; it must lie within the file.
 * `unmap`: give the space back if possible. */
int disk_file_zero(struct disk_file *f, uint64_t off, uint64_t len, bool unmap);
int disk_file_punch(struct disk_file *f, uint64_t off, uint64_t len); /* or -EOPNOTSUPP */
int disk_file_allocate(struct disk_file *f, uint64_t off, uint64_t len);
/* Is there data at off, and up to where is it so? Without help from the file system all is data. */
int disk_file_data(struct disk_file *f, uint64_t off, uint64_t len, bool *data, uint64_t *run);

#endif
