/* disk_new.c: an image that gets its name when it is complete. SPDX-License-Identifier: Apache-2.0
 *
 * The order that makes it safe: create under a temporary name, fill, flush and close, look again
 * (if asked for), rename, flush the folder. Whatever stops it before the rename leaves what had the
 * name before untouched.
 */
#include "disk/disk_cmd.h"

#include <sys/stat.h>
#include <unistd.h>

void disk_new_abandon(struct disk_new *n)
{
    disk_close(n->disk);
    if (n->temporary)
        unlink(n->temporary);
    disk_file_close(n->old);
    free(n->path);
    free(n->temporary);
    *n = (struct disk_new){0};
}

/* The name may be a link to a file elsewhere: that is what is replaced. A pipe or a device cannot
 * be replaced by a rename. */
static int find_target(struct disk_new *n, const char *path, struct base_text *error)
{
    char *real = realpath(path, NULL);
    struct stat st;

    n->path = real ? real : base_strdup(path);
    if (real && !stat(real, &st) && !S_ISREG(st.st_mode))
        return disk_error(error, -EINVAL, path, "is no plain file: name a file to be made");
    return 0;
}

static bool is_file_of(const struct disk *d, const char *path)
{
    struct stat st;

    return d && !stat(path, &st) && st.st_dev == d->file->dev && st.st_ino == d->file->ino;
}

int disk_new_begin(struct disk_new *n, const char *path, const struct disk_create_options *c,
                   const struct disk_open_options *o, const struct disk *src,
                   struct base_text *error)
{
    struct disk_create_options create = *c;
    struct disk_open_options open = *o;
    int r;

    *n = (struct disk_new){.o = o};
    r = find_target(n, path, error);
    if (!r && !(is_file_of(src, n->path) && !src->o.no_lock))
        r = disk_lock_old(n->path, &n->old, error);
    if (!r) {
        n->temporary = disk_temporary_name(n->path);
        create.overwrite = false;
        r = disk_create(n->temporary, &create, error);
    }
    if (!r) {
        open.format = create.format ? create.format : "qcow2";
        open.read_only = false;
        open.no_lock = false;
        r = disk_open(n->temporary, &open, &n->disk, error);
    }
    if (r < 0)
        disk_new_abandon(n);
    return r;
}

static int look_again(struct disk_new *n, const char *format,
                      int (*verify)(void *context, struct disk *d), void *context,
                      struct base_text *error)
{
    struct disk_open_options open = *n->o;
    struct disk *d;
    int r;

    open.format = format;
    open.read_only = true;
    r = disk_open(n->temporary, &open, &d, error);
    if (r < 0)
        return r;
    r = verify(context, d);
    if (r < 0)
        disk_error(error, r, n->path, "the new image does not read back what was written to it: %s",
                   strerror(-r));
    disk_close(d);
    return r;
}

int disk_new_end(struct disk_new *n, int (*verify)(void *context, struct disk *d),
                 void *context, struct base_text *error)
{
    const char *format = disk_format(n->disk);
    int r = disk_flush(n->disk), closed;

    closed = disk_close_result(n->disk);
    n->disk = NULL;
    if (!r)
        r = closed;
    if (r < 0)
        disk_error(error, r, n->path, "cannot be flushed: %s", strerror(-r));
    if (!r && verify)
        r = look_again(n, format, verify, context, error);
    if (!r && rename(n->temporary, n->path) < 0)
        r = disk_error(error, -errno, n->path, "%s", strerror(errno));
    if (!r) {
        free(n->temporary);
        n->temporary = NULL;
        r = disk_sync_folder(n->path);
    }
    disk_new_abandon(n);
    return r;
}
