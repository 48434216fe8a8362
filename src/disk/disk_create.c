/* disk_create.c: new images, complete or not at all. SPDX-License-Identifier: Apache-2.0
 *
 * A new image is written under a temporary name beside its own, flushed, renamed, and its folder is
 * flushed, so that whoever finds the name finds a whole image, after a power loss, too. Without
 * leave to replace, the last step is a link, which fails if the name is taken.
 */
#include "disk/disk_driver.h"

#include <fcntl.h>
#include <unistd.h>

char *disk_temporary_name(const char *path)
{
    static _Atomic unsigned count;
    struct base_text name = {0};

    base_text_printf(&name, "%s.new-%d-%u", path, (int)getpid(), count++);
    return name.data;
}

int disk_sync_folder(const char *path)
{
    char *folder = base_strdup(path);
    char *slash = strrchr(folder, '/');
    int fd, r = 0;

    if (slash)
        slash[slash == folder] = 0;
    fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        /* some file systems cannot sync a folder; then nothing more can be done */
        r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
        close(fd);
    }
    free(folder);
    return r;
}

static int take_name(const char *temporary, const char *path, bool overwrite)
{
    if (overwrite)
        return rename(temporary, path) < 0 ? -errno : 0;
    if (link(temporary, path) == 0) {
        unlink(temporary);
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP)
        return -errno;
    /* no links here: the next best */
    return access(path, F_OK) == 0 ? -EEXIST : rename(temporary, path) < 0 ? -errno : 0;
}

int disk_lock_old(const char *path, struct disk_file **old, struct base_text *error)
{
    int r = disk_file_open(path, DISK_FILE_WRITE, NULL, NULL, old, NULL);

    if (r < 0)
        return 0; /* not there; or creating says what is wrong */
    r = disk_file_lock(*old, DISK_LOCK_WRITE, error);
    if (r < 0) {
        disk_file_close(*old);
        *old = NULL;
    }
    return r;
}

/* The size of an overlay is that of its backing file, whose format may be left to us here: the
 * caller names the file, not an image. It is written into the new image. */
static int look_at_backing(const char *path, struct disk_create_options *o,
                           struct base_text *error)
{
    struct disk_open_options below = {.read_only = true, .folders = o->folders,
                                      .format = o->backing_format, .password = o->password,
                                      .password_context = o->password_context,
                                      .file_ops = o->file_ops, .file_context = o->file_context};
    static const char *const anywhere[] = {"/", NULL};
    char *name = disk_resolve(path, o->backing, anywhere, "backing file", error);
    struct disk *b;
    int r;

    if (!name)
        return errno ? -errno : -EINVAL;
    r = disk_open(name, &below, &b, error);
    free(name);
    if (r < 0)
        return r;
    if (!o->size && !o->size_set)
        o->size = b->size;
    o->backing_format = b->drv->name;
    disk_close(b);
    return 0;
}

static int create_at(const char *path, const struct disk_driver *drv,
                     const struct disk_create_options *o, struct base_text *error)
{
    char *temporary = disk_temporary_name(path);
    struct disk_file *f, *old = NULL;
    int r = o->overwrite ? disk_lock_old(path, &old, error) : 0;

    if (!r)
        r = disk_file_open(temporary, DISK_FILE_WRITE | DISK_FILE_CREATE, o->file_ops,
                           o->file_context, &f, error);
    if (r < 0) {
        free(temporary);
        return r;
    }
    r = drv->create(f, o, error);
    if (!r && (r = disk_file_sync(f)) < 0)
        disk_error(error, r, path, "cannot be flushed: %s", strerror(-r));
    disk_file_close(f);
    if (!r && (r = take_name(temporary, path, o->overwrite)) < 0)
        disk_error(error, r, path, "%s%s", strerror(-r),
                   r == -EEXIST ? ": choose another name, or say that it may be replaced" : "");
    if (!r)
        r = disk_sync_folder(path);
    if (r < 0)
        unlink(temporary);
    disk_file_close(old);
    free(temporary);
    return r;
}

int disk_create(const char *path, const struct disk_create_options *options,
                struct base_text *error)
{
    struct disk_create_options o = *options;
    const struct disk_driver *drv = disk_driver_find(o.format ? o.format : "qcow2");
    int r = 0;

    if (!drv)
        return disk_error(error, -EINVAL, path, "there is no format %s", o.format);
    if (!(drv->can & DISK_CAN_CREATE))
        return disk_error(error, -ENOTSUP, path, "images of format %s can only be read",
                          drv->name);
    if (!o.overwrite && access(path, F_OK) == 0)
        return disk_error(error, -EEXIST, path,
                          "is there already: choose another name, or say that it may be replaced");
    if (o.backing)
        r = look_at_backing(path, &o, error);
    if (!r && o.size > DISK_MAX_SIZE)
        r = disk_error(error, -EFBIG, path, "larger than a disk can be");
    return r ? r : create_at(path, drv, &o, error);
}
