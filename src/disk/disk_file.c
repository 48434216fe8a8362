/* disk_file.c: host files and transfers on them. SPDX-License-Identifier: Apache-2.0
 *
 * The table of the host's operations, and what is common to all tables: finishing short
 * transfers, falling back where an optional operation is not there. A file system that does not
 * know RWF_NOWAIT is read in the plain way if it is in memory (tmpfs), where nothing waits.
 */
#include "disk/disk_driver.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { FILE_IOV = 64 };                 /* pieces of one transfer */
enum { FILE_ZERO_PIECE = 1 << 20 };     /* written at once where nothing cheaper makes zeros */

/* ---- the host's operations ------------------------------------------- */

static int host_result(int r)
{
    return r < 0 ? -errno : r;
}

static void host_close(struct disk_file *f)
{
    close(f->fd);
    f->fd = -1;
}

/* A name from an image may mean a pipe, which would be waited for without end, or a terminal:
 * nothing is waited for until it is known to be a file or a block device. After that O_NONBLOCK
 * must go, for io_uring takes it at its word. */
static int host_open(struct disk_file *f, unsigned mode)
{
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (mode & DISK_FILE_WRITE ? O_RDWR : O_RDONLY) |
                (mode & DISK_FILE_CREATE ? O_CREAT | O_EXCL : 0);
    struct stat st;
    int r = 0;

    f->fd = open(f->path, flags, 0666);
    if (f->fd < 0)
        return -errno;
    if (fstat(f->fd, &st) < 0)
        r = -errno;
    else if (S_ISDIR(st.st_mode))
        r = -EISDIR;
    else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        r = -ESPIPE;
    else if (fcntl(f->fd, F_SETFL, fcntl(f->fd, F_GETFL) & ~O_NONBLOCK) < 0)
        r = -errno;
    if (r < 0)
        host_close(f);
    return r;
}

static ssize_t host_preadv(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                           int flags)
{
    ssize_t r = preadv2(f->fd, iov, n, (off_t)off, flags);

    return r < 0 ? -errno : r;
}

static ssize_t host_pwritev(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                            int flags)
{
    ssize_t r = pwritev2(f->fd, iov, n, (off_t)off, flags);

    return r < 0 ? -errno : r;
}

static int host_sync(struct disk_file *f)
{
    return host_result(fdatasync(f->fd));
}

static int host_length(struct disk_file *f, uint64_t *len)
{
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return -errno;
    if (S_ISBLK(st.st_mode))
        return host_result(ioctl(f->fd, BLKGETSIZE64, len));
    *len = (uint64_t)st.st_size;
    return 0;
}

static int host_truncate(struct disk_file *f, uint64_t len)
{
    return host_result(ftruncate(f->fd, (off_t)len));
}

static int host_fallocate(struct disk_file *f, int mode, uint64_t off, uint64_t len)
{
    int r;

    do
        r = host_result(fallocate(f->fd, mode, (off_t)off, (off_t)len));
    while (r == -EINTR);
    return r;
}

static int host_punch(struct disk_file *f, uint64_t off, uint64_t len)
{
    return host_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int host_zero(struct disk_file *f, uint64_t off, uint64_t len)
{
    return host_fallocate(f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, len);
}

static int host_allocate(struct disk_file *f, uint64_t off, uint64_t len)
{
    return host_fallocate(f, 0, off, len);
}

static int host_seek_data(struct disk_file *f, uint64_t off, uint64_t *data, uint64_t *end)
{
    off_t at = lseek(f->fd, (off_t)off, SEEK_DATA);

    if (at < 0)
        return errno == EINVAL ? -EOPNOTSUPP : -errno;
    *data = (uint64_t)at;
    at = lseek(f->fd, at, SEEK_HOLE);
    if (at < 0)
        return -errno;
    *end = (uint64_t)at;
    return 0;
}

const struct disk_file_ops disk_file_host = {
    .open = host_open,
    .close = host_close,
    .preadv = host_preadv,
    .pwritev = host_pwritev,
    .sync = host_sync,
    .length = host_length,
    .truncate = host_truncate,
    .punch = host_punch,
    .zero = host_zero,
    .allocate = host_allocate,
    .seek_data = host_seek_data,
};

/* ---- open and close -------------------------------------------------- */

static const char *open_advice(int r, unsigned mode)
{
    switch (r) {
    case -ENOENT: return ": check the name";
    case -EACCES:
    case -EPERM:
        return mode & DISK_FILE_WRITE ? ": it may not be written by this user; open it read-only "
                                        "or change its mode"
                                      : ": it may not be read by this user";
    case -EROFS: return ": open it read-only";
    case -EEXIST: return ": choose another name, or say that it may be replaced";
    case -ENOSPC: return ": make room first";
    case -ESPIPE:
    case -ENXIO:
        return ": not a plain file or a block device; copy what comes out of it to a file first";
    default: return "";
    }
}

/* What the fast path wants to know: does a read from the page cache ever wait? */
static void learn_host(struct disk_file *f)
{
    struct stat st;
    struct statfs fs;
    char byte;
    struct iovec iov = {&byte, 1};

    if (fstat(f->fd, &st) < 0)
        return;
    f->regular = S_ISREG(st.st_mode);
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    if (preadv2(f->fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN) {
        f->nowait = true;
        f->nowait_flags = RWF_NOWAIT;
    }
    if (!fstatfs(f->fd, &fs) && fs.f_type == TMPFS_MAGIC) {
        f->nowait = true; /* and without the kernel's look-up for waiting */
        f->nowait_flags = 0;
    }
}

int disk_file_open(const char *path, unsigned mode, const struct disk_file_ops *ops, void *context,
                   struct disk_file **out, struct base_text *error)
{
    struct disk_file *f = base_zalloc(sizeof *f);
    int r;

    f->ops = ops ? ops : &disk_file_host;
    f->context = context;
    f->fd = -1;
    f->writable = mode & DISK_FILE_WRITE;
    f->path = base_strdup(path);
    r = f->ops->open(f, mode);
    if (r < 0) {
        disk_error(error, r, path, "%s%s", strerror(-r), open_advice(r, mode));
        free(f->path);
        free(f);
        return r;
    }
    if (f->fd >= 0)
        learn_host(f);
    *out = f;
    return 0;
}

void disk_file_close(struct disk_file *f)
{
    if (!f)
        return;
    f->ops->close(f);
    free(f->path);
    free(f);
}

/* ---- transfers ------------------------------------------------------- */

static bool behind_end(struct disk_file *f, uint64_t off)
{
    uint64_t length;

    return f->ops->length(f, &length) == 0 && off >= length;
}

int disk_file_readv(struct disk_file *f, uint64_t off, size_t len, struct disk_slice s)
{
    struct iovec iov[FILE_IOV];
    size_t got;

    while (len) {
        int n = disk_slice_iov(s, len, iov, FILE_IOV, &got);
        ssize_t r = f->ops->preadv(f, iov, n, off, 0);

        if (r == -EINTR)
            continue;
        if (r < 0)
            return (int)r;
        if (r == 0) { /* the end of the file, or a short read that stays short */
            if (!behind_end(f, off))
                return -EIO;
            disk_slice_zero(s, len);
            return 0;
        }
        off += (uint64_t)r;
        len -= (size_t)r;
        s.skip += (size_t)r;
    }
    return 0;
}

int disk_file_writev(struct disk_file *f, uint64_t off, size_t len, struct disk_slice s)
{
    struct iovec iov[FILE_IOV];
    size_t got;

    while (len) {
        int n = disk_slice_iov(s, len, iov, FILE_IOV, &got);
        ssize_t r = f->ops->pwritev(f, iov, n, off, 0);

        if (r == -EINTR)
            continue;
        if (r <= 0)
            return r ? (int)r : -EIO;
        off += (uint64_t)r;
        len -= (size_t)r;
        s.skip += (size_t)r;
    }
    return 0;
}

int disk_file_read(struct disk_file *f, uint64_t off, void *buf, size_t len)
{
    struct iovec iov = {buf, len};

    return disk_file_readv(f, off, len, (struct disk_slice){&iov, 1, 0});
}

int disk_file_write(struct disk_file *f, uint64_t off, const void *buf, size_t len)
{
    struct iovec iov = {(void *)buf, len};

    return disk_file_writev(f, off, len, (struct disk_slice){&iov, 1, 0});
}

int disk_file_try_readv(struct disk_file *f, uint64_t off, size_t len, struct disk_slice s)
{
    struct iovec iov[FILE_IOV];
    size_t got;
    int n;
    ssize_t r;

    if (!f->nowait)
        return -EAGAIN;
    n = disk_slice_iov(s, len, iov, FILE_IOV, &got);
    if (got < len)
        return -EAGAIN;
    r = f->ops->preadv(f, iov, n, off, f->nowait_flags);
    return r == (ssize_t)len ? 0 : -EAGAIN; /* short: the way that may wait sorts it out */
}

/* ---- the rest -------------------------------------------------------- */

int disk_file_sync(struct disk_file *f)
{
    return f->ops->sync(f);
}

int disk_file_length(struct disk_file *f, uint64_t *len)
{
    return f->ops->length(f, len);
}

int disk_file_truncate(struct disk_file *f, uint64_t len)
{
    return f->ops->truncate(f, len);
}

int disk_file_punch(struct disk_file *f, uint64_t off, uint64_t len)
{
    return f->ops->punch ? f->ops->punch(f, off, len) : -EOPNOTSUPP;
}

int disk_file_allocate(struct disk_file *f, uint64_t off, uint64_t len)
{
    return f->ops->allocate ? f->ops->allocate(f, off, len) : -EOPNOTSUPP;
}

static bool unsupported(int r)
{
    return r == -EOPNOTSUPP || r == -ENOSYS || r == -ENOTTY || r == -EINVAL;
}

static int write_zeros(struct disk_file *f, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[64 << 10];
    struct iovec iov[FILE_ZERO_PIECE / sizeof zeros];
    int r = 0;

    for (size_t i = 0; i < BASE_ARRAY_SIZE(iov); i++)
        iov[i] = (struct iovec){(void *)zeros, sizeof zeros};
    while (len && !r) {
        size_t n = len < FILE_ZERO_PIECE ? (size_t)len : FILE_ZERO_PIECE;

        r = disk_file_writev(f, off, n,
                             (struct disk_slice){iov, BASE_ARRAY_SIZE(iov), 0});
        off += n;
        len -= n;
    }
    return r;
}

int disk_file_zero(struct disk_file *f, uint64_t off, uint64_t len, bool unmap)
{
    int r = unmap ? disk_file_punch(f, off, len) : -EOPNOTSUPP;

    if (unsupported(r))
        r = f->ops->zero ? f->ops->zero(f, off, len) : -EOPNOTSUPP;
    return unsupported(r) ? write_zeros(f, off, len) : r;
}

int disk_file_data(struct disk_file *f, uint64_t off, uint64_t len, bool *data, uint64_t *run)
{
    uint64_t start, end;
    int r = f->ops->seek_data ? f->ops->seek_data(f, off, &start, &end) : -EOPNOTSUPP;

    *data = true;
    *run = len;
    if (unsupported(r))
        return 0;
    if (r < 0 && r != -ENXIO)
        return r;
    if (r == -ENXIO) {
        *data = false;
    } else if (start > off) {
        *data = false;
        *run = start - off < len ? start - off : len;
    } else if (end - off < len) {
        *run = end - off;
    }
    return 0;
}
