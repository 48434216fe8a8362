/* disk_vmdk_desc.c: the descriptor of a VMware image. SPDX-License-Identifier: Apache-2.0
 *
 * Lines of "name=value", of "# comment", and of extents:
 *
 *     RW 4192256 SPARSE "disk-s001.vmdk"
 *     RW 4192256 FLAT "disk-flat.vmdk" 0
 *     RW 63 ZERO
 *
 * Names come from whoever made the image: only a plain name without a slash is followed, so that a
 * descriptor cannot reach out of its folder.
 */
#include "disk/disk_vmdk.h"

#include <sys/stat.h>

static int bad(struct disk *d, struct base_text *error, const char *what)
{
    return disk_error(error, -EINVAL, d->path, "not a valid VMDK descriptor: %s", what);
}

/* The value of "name=value" or "name = "value"": in `to` without quotes. */
static bool get_value(const char *line, const char *name, char *to, size_t cap)
{
    size_t n = strlen(name);
    const char *p = line + n;

    if (strncmp(line, name, n))
        return false;
    p += strspn(p, " \t");
    if (*p++ != '=')
        return false;
    p += strspn(p, " \t\"");
    n = strcspn(p, "\"\r\n");
    snprintf(to, cap, "%.*s", (int)(n < cap ? n : cap - 1), p);
    return true;
}

/* ---- extents --------------------------------------------------------- */

static int open_file(struct disk *d, const char *name, struct vmdk_extent *x,
                     struct base_text *error)
{
    struct stat st;
    char *path;
    int r;

    if (strchr(name, '/') || !*name)
        return disk_error(error, -EACCES, d->path,
                          "its extent \"%.200s\" is not in its own folder: not followed", name);
    path = disk_resolve(d->path, name, NULL, "extent", error);
    if (!path)
        return errno ? -errno : -EINVAL;
    /* before it is opened: that alone has effects on a device, and waits for a pipe */
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        r = disk_error(error, -EACCES, path, "an extent must be a plain file");
    else
        r = disk_file_open(path, 0, d->o.file_ops, d->o.file_context, &x->file, error);
    if (!r && !d->o.no_lock)
        r = disk_file_lock(x->file, DISK_LOCK_READ, error);
    r = r ? r : disk_file_length(x->file, &x->length);
    free(path);
    return r;
}

static int open_flat(struct disk *d, const char *name, uint64_t off, struct vmdk_extent *x,
                     struct base_text *error)
{
    int r = open_file(d, name, x, error);

    x->kind = VMDK_FLAT;
    if (!r && (off > x->length / VMDK_SECTOR || x->len > x->length - off * VMDK_SECTOR))
        r = disk_error(error, -EINVAL, d->path,
                       "its extent \"%.200s\" is shorter than the descriptor says", name);
    x->off = off * VMDK_SECTOR;
    return r;
}

static int open_sparse(struct disk *d, const char *name, struct vmdk_extent *x,
                       struct base_text *error)
{
    uint64_t len = x->len;
    int r = open_file(d, name, x, error);

    r = r ? r : vmdk_sparse_open(d, x, error);
    if (!r && x->len < len)
        r = disk_error(error, -EINVAL, d->path,
                       "its extent \"%.200s\" is shorter than the descriptor says", name);
    x->len = len;
    return r;
}

/* One line of an extent. What it opened is in the list even if it fails, to be closed there. */
static int take_extent(struct disk *d, struct vmdk *v, const char *line, struct base_text *error)
{
    struct vmdk_extent x = {.start = d->size, .kind = VMDK_ZERO};
    char access[16], type[16], name[512] = "";
    unsigned long long sectors, off = 0;
    int n = sscanf(line, "%15s %llu %15s \"%511[^\"]\" %llu", access, &sectors, type, name, &off);
    int r;

    if (n < 3 || !sectors || sectors > (DISK_MAX_SIZE - d->size) / VMDK_SECTOR)
        return bad(d, error, "a line of an extent makes no sense");
    if (v->extents.len >= VMDK_MAX_EXTENTS)
        return bad(d, error, "more than 1024 extents");
    x.len = sectors * VMDK_SECTOR;
    if (!strcmp(type, "ZERO"))
        r = 0;
    else if (!strcmp(type, "FLAT") && n >= 4)
        r = open_flat(d, name, off, &x, error);
    else if (!strcmp(type, "SPARSE") && n >= 4)
        r = open_sparse(d, name, &x, error);
    else
        r = disk_error(error, -ENOTSUP, d->path,
                       "extents of type %s are not known: convert it with qemu-img", type);
    base_vec_push(&v->extents, x);
    d->size += x.len;
    return r;
}

/* ---- all of it ------------------------------------------------------- */

static int take_line(struct disk *d, struct vmdk *v, const char *line, bool extents,
                     struct base_text *error)
{
    char value[64];

    if (get_value(line, "parentCID", value, sizeof value) && strcasecmp(value, "ffffffff"))
        return disk_error(error, -ENOTSUP, d->path,
                          "a snapshot on top of another image: consolidate it in VMware first");
    if (get_value(line, "createType", v->variant, sizeof v->variant))
        return 0;
    if (get_value(line, "ddb.geometry.cylinders", value, sizeof value))
        d->geometry.cylinders = (uint32_t)strtoul(value, NULL, 10);
    if (get_value(line, "ddb.geometry.heads", value, sizeof value))
        d->geometry.heads = (uint32_t)strtoul(value, NULL, 10);
    if (get_value(line, "ddb.geometry.sectors", value, sizeof value))
        d->geometry.sectors = (uint32_t)strtoul(value, NULL, 10);
    if (extents && (!strncmp(line, "RW ", 3) || !strncmp(line, "RDONLY ", 7)))
        return take_extent(d, v, line, error);
    return 0;
}

int vmdk_descriptor(struct disk *d, struct vmdk *v, char *text, struct vmdk_extent *self,
                    struct base_text *error)
{
    char *save = NULL;
    int r = 0;

    for (char *line = strtok_r(text, "\n", &save); line && !r; line = strtok_r(NULL, "\n", &save))
        r = take_line(d, v, line, !self, error);
    if (!r && !self && !v->extents.len)
        r = bad(d, error, "it names no extent");
    return r;
}
