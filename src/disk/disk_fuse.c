/* disk_fuse.c: isomer disk mount: a disk as a file. SPDX-License-Identifier: Apache-2.0
 *
 * A file system of one file, /disk, whose bytes are the disk's. The kernel keeps what was read and
 * gives fsync() and fdatasync() on the file to us, which flush the disk; a write is in the image,
 * if not on the medium, when write() returns.
 */
#define FUSE_USE_VERSION 32
#include "disk/disk_cmd.h"

#include <fcntl.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

static const char file_name[] = "disk";

static struct disk *the_disk(void)
{
    return fuse_get_context()->private_data;
}

static bool is_disk(const char *path)
{
    return path[0] == '/' && strcmp(path + 1, file_name) == 0;
}

/* ---- operations ------------------------------------------------------ */

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    config->kernel_cache = 1; /* nobody else changes the disk */
    config->nullpath_ok = 0;
    config->attr_timeout = config->entry_timeout = 3600;
    conn->max_write = 1 << 20;
    return the_disk();
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    struct disk *d = the_disk();
    bool write = !disk_is_read_only(d);

    (void)fi;
    memset(st, 0, sizeof *st);
    st->st_uid = getuid();
    st->st_gid = getgid();
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0555;
        st->st_nlink = 2;
        return 0;
    }
    if (!is_disk(path))
        return -ENOENT;
    st->st_mode = S_IFREG | (write ? 0600 : 0400);
    st->st_nlink = 1;
    st->st_size = (off_t)disk_size(d);
    st->st_blksize = 4096;
    st->st_blocks = st->st_size / 512;
    return 0;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    (void)off, (void)fi, (void)flags;
    if (strcmp(path, "/") != 0)
        return -ENOENT;
    fill(buf, ".", NULL, 0, 0);
    fill(buf, "..", NULL, 0, 0);
    fill(buf, file_name, NULL, 0, 0);
    return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
    if (!is_disk(path))
        return -ENOENT;
    return (fi->flags & O_ACCMODE) != O_RDONLY && disk_is_read_only(the_disk()) ? -EROFS : 0;
}

/* How much of a request lies within the disk. */
static size_t clip(struct disk *d, size_t len, off_t off)
{
    uint64_t size = disk_size(d), at = (uint64_t)off;

    return at >= size ? 0 : size - at < len ? (size_t)(size - at) : len;
}

static int op_read(const char *path, char *buf, size_t len, off_t off, struct fuse_file_info *fi)
{
    struct disk *d = the_disk();
    int r;

    (void)path, (void)fi;
    len = clip(d, len, off);
    r = disk_read(d, (uint64_t)off, buf, len);
    return r < 0 ? r : (int)len;
}

static int op_write(const char *path, const char *buf, size_t len, off_t off,
                    struct fuse_file_info *fi)
{
    struct disk *d = the_disk();
    size_t n = clip(d, len, off);
    int r;

    (void)path, (void)fi;
    if (len && !n)
        return -ENOSPC;
    r = disk_write(d, (uint64_t)off, buf, n);
    return r < 0 ? r : (int)n;
}

static int op_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
    (void)path, (void)datasync, (void)fi;
    return disk_flush(the_disk());
}

static int op_flush(const char *path, struct fuse_file_info *fi)
{
    (void)path, (void)fi;
    return 0; /* close() of a file does not flush, neither here nor elsewhere */
}

/* A disk has the size it has: resize is a command of its own. */
static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    (void)fi;
    if (!is_disk(path))
        return -ENOENT;
    return (uint64_t)size == disk_size(the_disk()) ? 0 : -EPERM;
}

static int op_fallocate(const char *path, int mode, off_t off, off_t len,
                        struct fuse_file_info *fi)
{
    struct disk *d = the_disk();
    size_t n = clip(d, (size_t)len, off);

    (void)path, (void)fi;
    if (!(mode & FALLOC_FL_KEEP_SIZE) && n < (size_t)len)
        return -ENOSPC;
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case FALLOC_FL_PUNCH_HOLE: return disk_zero(d, (uint64_t)off, n, DISK_REQ_MAY_UNMAP);
    case FALLOC_FL_ZERO_RANGE: return disk_zero(d, (uint64_t)off, n, 0);
    default: return -EOPNOTSUPP;
    }
}

static const struct fuse_operations operations = {
    .init = op_init,
    .getattr = op_getattr,
    .readdir = op_readdir,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .truncate = op_truncate,
    .fallocate = op_fallocate,
};

/* ---- the command ----------------------------------------------------- */

static void print_mounted(const struct isomer_disk_options *o, const char *dir)
{
    struct base_text file = {0};
    struct disk_json j = {0};

    base_text_printf(&file, "%s/%s", dir, file_name);
    if (o->json) {
        disk_json_object(&j, NULL);
        disk_json_string(&j, "file", file.data);
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    } else {
        printf("%s\n", file.data);
    }
    fflush(stdout);
    base_text_free(&file);
}

static int mount_and_run(const struct isomer_disk_options *o, struct disk *d, const char *image,
                         const char *dir)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = 4};
    struct base_text source = {0};
    struct fuse *fuse;
    int status = ISOMER_EXIT_FAILURE;

    base_text_printf(&source, "fsname=");
    for (const char *p = image; *p; p++) /* a comma would begin another option */
        base_text_printf(&source, "%s%c", *p == ',' || *p == '\\' ? "\\" : "", *p);
    base_text_printf(&source, ",subtype=isomer%s", disk_is_read_only(d) ? ",ro" : "");
    fuse_opt_add_arg(&args, "isomer");
    fuse_opt_add_arg(&args, "-o");
    fuse_opt_add_arg(&args, source.data);
    fuse = fuse_new(&args, &operations, sizeof operations, d);
    if (!fuse) {
        base_error("%s: FUSE cannot be used here (see the line above)", dir);
    } else if (fuse_mount(fuse, dir) != 0) {
        base_error("%s: cannot be mounted: is it a folder, is FUSE (/dev/fuse, fusermount3) there?",
                   dir);
        fuse_destroy(fuse);
    } else {
        print_mounted(o, dir);
        if (fuse_daemonize(o->foreground) == 0 &&
            fuse_set_signal_handlers(fuse_get_session(fuse)) == 0) {
            fuse_loop_mt(fuse, &config);
            fuse_remove_signal_handlers(fuse_get_session(fuse));
            status = ISOMER_EXIT_OK;
        }
        fuse_unmount(fuse);
        fuse_destroy(fuse);
    }
    fuse_opt_free_args(&args);
    base_text_free(&source);
    return status;
}

int isomer_disk_mount(const struct isomer_disk_options *o, int argc, char **argv)
{
    bool read_only = o->read_only || o->snapshot || o->shared;
    struct disk *below = NULL, *d;
    struct stat st;
    int status;

    if (stat(argv[1], &st) < 0 || !S_ISDIR(st.st_mode))
        return disk_cmd_usage("disk mount: %s: is no folder", argv[1]);
    d = read_only ? disk_cmd_open_state(o, argv[0], &below)
                  : disk_cmd_open(o, argv[0], o->format, true);
    if (!d)
        return ISOMER_EXIT_FAILURE;
    status = mount_and_run(o, d, argv[0], argv[1]);
    status = disk_cmd_close(d, status);
    disk_close(below);
    return status;
}
