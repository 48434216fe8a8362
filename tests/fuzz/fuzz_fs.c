/* fuzz_fs.c: host files in memory. SPDX-License-Identifier: Apache-2.0
 *
 * Pages come from a list of their own and go back there, so that making a file costs what it holds,
 * not what it could. A lock is held by the operations of disk_file, which come from many threads,
 * and by nothing else.
 */
#include "fuzz_fs.h"

#include <fcntl.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = FUZZ_FILE_MAX / PAGE };

struct file {
    uint64_t length;
    bool changed;
    uint8_t *page[PAGES];
    BASE_VEC(uint32_t) there; /* pages, in the order they were made */
};

static const char *const names[FUZZ_FILES] = {
    "image", "base.raw", "base.qcow2", "data.raw", "copy",
};
static struct file files[FUZZ_FILES];
static BASE_VEC(uint8_t *) spare;
static char folder[256], paths[FUZZ_FILES][320];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct fuzz_fs_counts fuzz_fs_counts;

/* ---- the folder on the host ------------------------------------------ */

static void remove_folder(void)
{
    for (unsigned i = 0; i < FUZZ_FILES; i++)
        unlink(paths[i]);
    rmdir(folder);
}

void fuzz_fs_begin(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%.200s/fuzz-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(EXIT_FAILURE);
    }
    for (unsigned i = 0; i < FUZZ_FILES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
        close(open(paths[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    atexit(remove_folder);
}

const char *fuzz_fs_path(unsigned file)
{
    return paths[file];
}

/* ---- content --------------------------------------------------------- */

static uint8_t *page_for_write(struct file *f, uint64_t i)
{
    if (!f->page[i]) {
        if (spare.len) {
            f->page[i] = spare.data[--spare.len];
            memset(f->page[i], 0, PAGE);
        } else {
            f->page[i] = base_zalloc(PAGE);
        }
        base_vec_push(&f->there, (uint32_t)i);
    }
    return f->page[i];
}

bool fuzz_fs_changed(unsigned file)
{
    return files[file].changed;
}

void fuzz_fs_settle(unsigned file)
{
    files[file].changed = false;
}

uint64_t fuzz_fs_length(unsigned file)
{
    return files[file].length;
}

void fuzz_fs_read(unsigned file, uint64_t off, void *buf, size_t n)
{
    const struct file *f = &files[file];
    uint8_t *to = buf;

    memset(to, 0, n);
    for (size_t part; n && off < f->length; off += part, to += part, n -= part) {
        const uint8_t *p = f->page[off / PAGE];

        part = PAGE - off % PAGE;
        part = part < n ? part : n;
        if (part > f->length - off)
            part = f->length - off;
        if (p)
            memcpy(to, p + off % PAGE, part);
    }
}

bool fuzz_fs_write(unsigned file, uint64_t off, const void *buf, size_t n)
{
    struct file *f = &files[file];
    const uint8_t *from = buf;

    if (off > FUZZ_FILE_MAX || n > FUZZ_FILE_MAX - off)
        return false;
    f->changed = true;
    if (f->length < off + n)
        f->length = off + n;
    for (size_t part; n; off += part, from += part, n -= part) {
        part = PAGE - off % PAGE;
        part = part < n ? part : n;
        memcpy(page_for_write(f, off / PAGE) + off % PAGE, from, part);
    }
    return true;
}

static void zero(struct file *f, uint64_t off, uint64_t end)
{
    f->changed = true;
    for (uint64_t part; off < end; off += part) {
        uint8_t *p = f->page[off / PAGE];

        part = PAGE - off % PAGE;
        part = part < end - off ? part : end - off;
        if (p)
            memset(p + off % PAGE, 0, part);
    }
}

void fuzz_fs_truncate(unsigned file, uint64_t len)
{
    struct file *f = &files[file];

    len = len < FUZZ_FILE_MAX ? len : FUZZ_FILE_MAX;
    f->changed = true;
    if (len)
        zero(f, len, f->length);
    for (size_t i = 0; i < f->there.len && !len; i++) {
        base_vec_push(&spare, f->page[f->there.data[i]]);
        f->page[f->there.data[i]] = NULL;
    }
    if (!len)
        f->there.len = 0;
    f->length = len;
}

void fuzz_fs_copy(unsigned to, unsigned from)
{
    const struct file *f = &files[from];

    fuzz_fs_truncate(to, 0);
    fuzz_fs_truncate(to, f->length);
    for (size_t i = 0; i < f->there.len; i++) {
        uint32_t at = f->there.data[i];

        memcpy(page_for_write(&files[to], at), f->page[at], PAGE);
    }
}

void fuzz_fs_each(unsigned file, void (*fn)(void *context, uint64_t off, const uint8_t *page,
                                            size_t n), void *context)
{
    const struct file *f = &files[file];

    for (uint64_t off = 0; off < f->length; off += PAGE)
        if (f->page[off / PAGE])
            fn(context, off, f->page[off / PAGE],
               f->length - off < PAGE ? (size_t)(f->length - off) : PAGE);
}

/* ---- operations ------------------------------------------------------ */

static int fs_open(struct disk_file *f, unsigned mode)
{
    const char *slash = strrchr(f->path, '/');
    unsigned i = 0;

    while (i < FUZZ_FILES && strcmp(slash ? slash + 1 : f->path, names[i]))
        i++;
    if (i == FUZZ_FILES)
        return -ENOENT;
    if (mode & DISK_FILE_CREATE)
        fuzz_fs_truncate(i, 0);
    f->layer = &files[i];
    f->fd = -1;
    f->regular = f->nowait = true;
    f->dev = 1;
    f->ino = i + 1;
    return 0;
}

static void fs_close(struct disk_file *f)
{
    f->layer = NULL;
}

static unsigned file_of(struct disk_file *f)
{
    return (unsigned)((struct file *)f->layer - files);
}

static ssize_t fs_preadv(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                         int flags)
{
    uint64_t length = files[file_of(f)].length;
    ssize_t all = 0;

    if (off > INT64_MAX)
        return -EINVAL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < n && off < length; i++) {
        size_t part = iov[i].iov_len < length - off ? iov[i].iov_len : (size_t)(length - off);

        fuzz_fs_read(file_of(f), off, iov[i].iov_base, part);
        off += part;
        all += (ssize_t)part;
    }
    fuzz_fs_counts.reads++;
    fuzz_fs_counts.bytes_read += (uint64_t)all;
    pthread_mutex_unlock(&lock);
    return all;
}

static ssize_t fs_pwritev(struct disk_file *f, const struct iovec *iov, int n, uint64_t off,
                          int flags)
{
    ssize_t all = 0;

    if (!f->writable)
        return -EBADF;
    pthread_mutex_lock(&lock);
    fuzz_fs_counts.changes++;
    for (int i = 0; i < n; i++) {
        if (!fuzz_fs_write(file_of(f), off, iov[i].iov_base, iov[i].iov_len)) {
            all = all ? all : -ENOSPC;
            break;
        }
        off += iov[i].iov_len;
        all += (ssize_t)iov[i].iov_len;
    }
    pthread_mutex_unlock(&lock);
    return all;
}

static int fs_sync(struct disk_file *f)
{
    return 0;
}

static int fs_length(struct disk_file *f, uint64_t *len)
{
    *len = files[file_of(f)].length;
    return 0;
}

static int fs_truncate(struct disk_file *f, uint64_t len)
{
    if (!f->writable)
        return -EBADF;
    if (len > FUZZ_FILE_MAX)
        return -EFBIG;
    pthread_mutex_lock(&lock);
    fuzz_fs_counts.changes++;
    fuzz_fs_truncate(file_of(f), len);
    pthread_mutex_unlock(&lock);
    return 0;
}

static int fs_zero(struct disk_file *f, uint64_t off, uint64_t len)
{
    uint64_t length = files[file_of(f)].length;

    if (!f->writable)
        return -EBADF;
    pthread_mutex_lock(&lock);
    fuzz_fs_counts.changes++;
    if (off < length)
        zero(f->layer, off, len < length - off ? off + len : length);
    pthread_mutex_unlock(&lock);
    return 0;
}

const struct disk_file_ops fuzz_fs_ops = {
    .open = fs_open,
    .close = fs_close,
    .preadv = fs_preadv,
    .pwritev = fs_pwritev,
    .sync = fs_sync,
    .length = fs_length,
    .truncate = fs_truncate,
    .punch = fs_zero,
    .zero = fs_zero,
};
