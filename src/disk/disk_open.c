/* disk_open.c: opening an image with its backing chain, and closing it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Two rules keep a guest from choosing what its host reads. A guest can write any bytes into a
 * raw image, so a raw image must never become a qcow2 one because of what it contains: a disk is
 * opened for writing as raw only if the format was stated, and a backing file is never probed. And
 * the name of a backing or data file comes from the image, so it must be a plain path in an allowed
 * folder.
 */
#include "disk/disk_driver.h"
#include "disk/disk_pool.h"

#include <limits.h>
#include <unistd.h>

/* A chain longer than that is a loop, or made to exhaust us. */
enum { OPEN_MAX_DEPTH = 64 };

/* ---- errors ---------------------------------------------------------- */

/* Names and texts in messages come from images: control characters would end the line, or reach
 * the terminal as commands. */
static void make_plain(struct base_text *t)
{
    for (size_t i = 0; i < t->len; i++)
        if ((unsigned char)t->data[i] < ' ' || t->data[i] == 0x7f)
            t->data[i] = '?';
}

int disk_error(struct base_text *error, int result, const char *path, const char *fmt, ...)
{
    va_list ap;

    if (!error || error->len)
        return result; /* who noticed first knows best */
    base_text_printf(error, "%s: ", path);
    va_start(ap, fmt);
    base_text_vprintf(error, fmt, ap);
    va_end(ap);
    make_plain(error);
    return result;
}

void disk_fail(struct disk *d, int result, const char *fmt, ...)
{
    struct base_text text = {0};
    va_list ap;
    int none = 0;

    if (!atomic_compare_exchange_strong(&d->failed, &none, result))
        return;
    va_start(ap, fmt);
    base_text_vprintf(&text, fmt, ap);
    va_end(ap);
    make_plain(&text);
    base_error("%s: %s: nothing more is written to it", d->path, text.data);
    base_text_free(&text);
}

/* ---- paths that an image names --------------------------------------- */

static bool has_protocol(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return n && name[n] == ':';
}

static bool inside(const char *path, const char *folder)
{
    char real[PATH_MAX];
    size_t n;

    if (!realpath(folder, real))
        return false;
    n = strlen(real);
    return n == 1 || (!strncmp(path, real, n) && (path[n] == '/' || !path[n]));
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = base_strdup(slash ? path : ".");

    if (slash)
        folder[slash == path ? 1 : slash - path] = 0;
    return folder;
}

char *disk_resolve(const char *of, const char *name, const char *const *folders, const char *what,
                   struct base_text *error)
{
    char path[PATH_MAX], real[PATH_MAX];
    char *folder;
    bool ok;

    if (!strncmp(name, "file:", 5))
        name += 5;
    if (has_protocol(name) || !name[0]) {
        disk_error(error, -EINVAL, of, "its %s \"%.200s\" is not a plain file name", what, name);
        return NULL;
    }
    folder = folder_of(of);
    snprintf(path, sizeof path, "%s%s%s", name[0] == '/' ? "" : folder,
             name[0] == '/' ? "" : "/", name);
    if (!realpath(path, real)) {
        disk_error(error, -errno, of, "its %s %.400s is not there: %s", what, path,
                   strerror(errno));
        free(folder);
        return NULL;
    }
    ok = inside(real, folder);
    free(folder);
    for (unsigned i = 0; folders && folders[i] && !ok; i++)
        ok = inside(real, folders[i]);
    if (!ok) {
        errno = EACCES;
        disk_error(error, -EACCES, of,
                   "its %s %.400s is in none of the folders allowed: allow that folder if the "
                   "image is to be trusted", what, real);
        return NULL;
    }
    return base_strdup(path);
}

/* ---- open ------------------------------------------------------------ */

static const char *const *copy_folders(const char *const *folders)
{
    BASE_VEC(const char *) copy = {0};

    for (unsigned i = 0; folders && folders[i]; i++)
        base_vec_push(&copy, base_strdup(folders[i]));
    base_vec_push(&copy, NULL);
    return copy.data;
}

static void free_folders(const char *const *folders)
{
    for (unsigned i = 0; folders && folders[i]; i++)
        free((void *)folders[i]);
    free((void *)folders);
}

static void disk_free(struct disk *d)
{
    disk_file_close(d->file);
    free_folders(d->o.folders);
    free(d->backing_name);
    free(d->backing_format);
    free(d->path);
    pthread_mutex_destroy(&d->pool_lock);
    free(d);
}

static int choose_driver(struct disk *d, const char *format, struct base_text *error)
{
    int r;

    if (format) {
        d->drv = disk_driver_find(format);
        return d->drv ? 0 : disk_error(error, -EINVAL, d->path, "there is no format %s", format);
    }
    d->drv = disk_driver_probe(d->file, &r);
    if (r < 0)
        return disk_error(error, r, d->path, "cannot be read: %s", strerror(-r));
    if (!strcmp(d->drv->name, "raw") && !d->read_only)
        return disk_error(error, -EINVAL, d->path,
                          "it looks like a raw image; say so (format raw) to write to it");
    return 0;
}

static int open_file(struct disk *d, struct base_text *error)
{
    int r = disk_file_open(d->path, d->read_only ? 0 : DISK_FILE_WRITE, d->o.file_ops,
                           d->o.file_context, &d->file, error);

    if (!r && !d->o.no_lock)
        r = disk_file_lock(d->file, d->read_only ? DISK_LOCK_READ : DISK_LOCK_WRITE, error);
    return r;
}

static int open_at(const char *path, const struct disk_open_options *o, unsigned depth,
                   struct disk **out, struct base_text *error);

static int open_backing(struct disk *d, struct base_text *error)
{
    if (!d->backing_name || d->o.no_backing)
        return 0;
    if (!d->backing_format)
        return disk_error(error, -EINVAL, d->path,
                          "it does not say which format its backing file %.400s has, and guessing "
                          "is not safe: state it (rebase -u -F FORMAT)", d->backing_name);
    return disk_open_below(d, d->backing_name, d->backing_format, false, &d->backing, error);
}

static int open_at(const char *path, const struct disk_open_options *o, unsigned depth,
                   struct disk **out, struct base_text *error)
{
    struct disk *d = base_zalloc(sizeof *d);
    int r = 0;

    pthread_mutex_init(&d->pool_lock, NULL);
    d->path = base_strdup(path);
    d->o = *o;
    d->o.folders = copy_folders(o->folders);
    d->read_only = o->read_only;
    d->depth = depth;
    if (depth > OPEN_MAX_DEPTH)
        r = disk_error(error, -ELOOP, path, "more than %d images below each other: a loop?",
                       OPEN_MAX_DEPTH);
    if (!r && o->no_lock && !o->read_only)
        r = disk_error(error, -EINVAL, path, "only reading goes without a lock");
    r = r ? r : open_file(d, error);
    r = r ? r : choose_driver(d, o->format, error);
    if (!r && !d->read_only && !(d->drv->can & DISK_CAN_WRITE))
        r = disk_error(error, -EROFS, path, "%s images can only be read: convert it to write to it",
                       d->drv->name);
    r = r ? r : d->drv->open(d, error);
    if (r < 0) {
        disk_free(d);
        return r;
    }
    r = open_backing(d, error);
    if (r < 0) {
        disk_close(d);
        return r;
    }
    *out = d;
    return 0;
}

int disk_open(const char *path, const struct disk_open_options *o, struct disk **d,
              struct base_text *error)
{
    static const struct disk_open_options defaults;

    return open_at(path, o ? o : &defaults, 0, d, error);
}

int disk_open_below(struct disk *d, const char *name, const char *format, bool writable,
                    struct disk **below, struct base_text *error)
{
    struct disk_open_options o = d->o;
    char *path = disk_resolve(d->path, name, o.folders, "backing file", error);
    int r;

    if (!path)
        return errno ? -errno : -EINVAL;
    o.format = format;
    o.read_only = !writable;
    o.no_backing = false;
    o.no_repair = false;
    r = open_at(path, &o, d->depth + 1, below, error);
    free(path);
    return r;
}

/* ---- close ----------------------------------------------------------- */

int disk_close_result(struct disk *d)
{
    int r, below;

    if (!d)
        return 0;
    BASE_ASSERT(!d->queues);
    disk_pool_free(d->pool);
    r = d->drv->close(d);
    if (d->failed)
        r = d->failed;
    below = disk_close_result(d->backing);
    disk_free(d);
    return r ? r : below;
}

void disk_close(struct disk *d)
{
    disk_close_result(d);
}

/* ---- what an open disk says of itself -------------------------------- */

uint64_t disk_size(const struct disk *d)
{
    return d->size;
}

const char *disk_format(const struct disk *d)
{
    return d->drv->name;
}

const char *disk_path(const struct disk *d)
{
    return d->path;
}

bool disk_is_read_only(const struct disk *d)
{
    return d->read_only;
}

struct disk *disk_backing(const struct disk *d)
{
    return d->backing;
}
