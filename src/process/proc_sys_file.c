/* proc_sys_file.c: system calls on files whose structures or paths need work.
 * SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_ptrace.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- stat ------------------------------------------------------------ */

/* struct stat of asm-generic; x86-64 has its own order. */
struct file_stat {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, pad1;
    int64_t size;
    int32_t blksize, pad2;
    int64_t blocks;
    int64_t atime;
    uint64_t atime_nsec;
    int64_t mtime;
    uint64_t mtime_nsec;
    int64_t ctime;
    uint64_t ctime_nsec;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct file_stat) == 128, "asm-generic/stat.h");

static long file_put_stat(uint64_t addr, const struct stat *st)
{
    struct file_stat g = {
        .dev = st->st_dev,
        .ino = st->st_ino,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = st->st_rdev,
        .size = st->st_size,
        .blksize = (int32_t)st->st_blksize,
        .blocks = st->st_blocks,
        .atime = st->st_atim.tv_sec,
        .atime_nsec = (uint64_t)st->st_atim.tv_nsec,
        .mtime = st->st_mtim.tv_sec,
        .mtime_nsec = (uint64_t)st->st_mtim.tv_nsec,
        .ctime = st->st_ctim.tv_sec,
        .ctime_nsec = (uint64_t)st->st_ctim.tv_nsec,
    };

    return proc_write_guest(addr, &g, sizeof g);
}

/* A file without a name may be one in /proc that was made up: what is said of it is said of the
 * real one, which it is compared with (cp does). */
static void file_unfake(int fd, struct stat *st)
{
    char path[256];
    struct stat real;

    if (S_ISREG(st->st_mode) && !st->st_nlink && proc_fake_path(fd, path, sizeof path) &&
        !stat(path, &real))
        *st = real;
}

PROC_SYS(fstat)
{
    struct stat st;
    long r = proc_raw(SYS_fstat, a[0], (uint64_t)&st, 0, 0, 0, 0);

    if (r < 0)
        return r;
    file_unfake((int)a[0], &st);
    return file_put_stat(a[1], &st);
}

/* Is it a name of our own executable under /proc? Then the guest means its. */
static bool file_is_own_exe(const char *path)
{
    char pid[32];

    if (strncmp(path, "/proc/", 6))
        return false;
    if (!strcmp(path + 6, "self/exe") || !strcmp(path + 6, "thread-self/exe"))
        return true;
    snprintf(pid, sizeof pid, "%d/exe", (int)getpid());
    return !strcmp(path + 6, pid);
}

/* What /proc/PID/exe links to, if path is that of this process or a tracee. */
static bool file_exe_link(const struct proc_thread *t, const char *path, char *exe)
{
    if (proc_trace_exe(path, true, exe, PATH_MAX))
        return true;
    if (!file_is_own_exe(path))
        return false;
    snprintf(exe, PATH_MAX, "%s", proc_guest_exe(t->proc));
    return true;
}

/* The guest's path argument as the host shall see it: through buf if it must
 * be redirected, else the guest's own pointer. */
static long file_path(struct proc_thread *t, uint64_t addr, char *buf, bool follow, uint64_t *out)
{
    long r;

    *out = addr;
    if (!addr)
        return 0;
    r = proc_read_string(buf, addr, PATH_MAX);
    if (r == -EFAULT) { /* for the kernel to say, when it comes to it */
        *out = addr | PROC_FAR;
        return 0;
    }
    if (r < 0)
        return r;
    if (buf[0] != '/')
        return 0;
    *out = (uint64_t)buf;
    if (follow && proc_trace_exe(buf, false, buf, PATH_MAX))
        return 0;
    if (follow && file_is_own_exe(buf)) {
        snprintf(buf, PATH_MAX, "%s", t->proc->exe);
        return 0;
    }
    if (t->proc->sysroot) {
        char guest[PATH_MAX];

        memcpy(guest, buf, (size_t)r + 1);
        return proc_path_str(t->proc, guest, buf, follow ? PROC_PATH_LOOKUP : PROC_PATH_CREATE);
    }
    return 0;
}

PROC_SYS(newfstatat)
{
    char buf[PATH_MAX];
    struct stat st;
    uint64_t path;
    long r = file_path(t, a[1], buf, !(a[3] & AT_SYMLINK_NOFOLLOW), &path);

    if (r < 0)
        return r;
    r = proc_raw(SYS_newfstatat, a[0], path, (uint64_t)&st, a[3], 0, 0);
    if (r < 0)
        return r;
    if (a[3] & AT_EMPTY_PATH)
        file_unfake((int)a[0], &st);
    return file_put_stat(a[2], &st);
}

PROC_SYS(statx)
{
    char buf[PATH_MAX] = "";
    uint64_t path;
    long r = file_path(t, a[1], buf, !(a[2] & AT_SYMLINK_NOFOLLOW), &path);

    if (r < 0)
        return r;
    if ((a[2] & AT_EMPTY_PATH) && (int)a[0] >= 0 && !buf[0] && path == a[1] &&
        proc_fake_path((int)a[0], buf, sizeof buf))
        return proc_raw(SYS_statx, (uint64_t)AT_FDCWD, (uint64_t)buf, a[2], a[3], a[4], 0);
    return proc_raw(SYS_statx, a[0], path, a[2], a[3], a[4], 0);
}

PROC_SYS(readlinkat)
{
    char buf[PATH_MAX], exe[PATH_MAX];
    uint64_t path;
    long r = file_path(t, a[1], buf, false, &path);

    if (r < 0)
        return r;
    if (path == (uint64_t)buf && file_exe_link(t, buf, exe)) {
        size_t n = strlen(exe);

        if ((int)a[3] <= 0)
            return -EINVAL;
        if (n > (size_t)(int)a[3])
            n = (size_t)(int)a[3];
        return proc_write_guest(a[2], exe, n) < 0 ? -EFAULT : (long)n;
    }
    return proc_raw(SYS_readlinkat, a[0], path, a[2], a[3], 0, 0);
}

/* ---- open ------------------------------------------------------------ */

static long file_open(struct proc_thread *t, uint64_t dirfd, uint64_t guest, uint64_t flags,
                      uint64_t mode, struct open_how *how)
{
    char buf[PATH_MAX];
    uint64_t path;
    bool follow = !(flags & O_NOFOLLOW) && !(flags & O_CREAT && flags & O_EXCL);
    long r = file_path(t, guest, buf, follow, &path);

    if (r < 0)
        return r;
    if ((flags & O_ACCMODE) != O_RDONLY && path == (uint64_t)buf && !strcmp(buf, t->proc->exe))
        return -ETXTBSY; /* the host does not know that it is being run */
    if (path == (uint64_t)buf && !strncmp(buf, "/proc/", 6)) {
        size_t n = strlen(buf);

        if ((flags & O_ACCMODE) != O_RDONLY && n > 4 && !strcmp(buf + n - 4, "/mem"))
            proc_trace_mem_opened();
        r = proc_fake_open(t, buf, (int)flags);
        if (r != -ENOSYS)
            return r;
    }
    if (how)
        return proc_syscall(t, SYS_openat2, dirfd, path, (uint64_t)how, sizeof *how, 0, 0);
    return proc_syscall(t, SYS_openat, dirfd, path, flags, mode, 0, 0);
}

PROC_SYS(openat) { return file_open(t, a[0], a[1], a[2], a[3], NULL); }

PROC_SYS(openat2)
{
    struct open_how how;

    if (a[3] < sizeof how)
        return -EINVAL;
    if (a[3] > sizeof how) /* extensions we do not know: the kernel judges */
        return proc_raw(SYS_openat2, a[0], a[1], a[2], a[3], 0, 0);
    if (proc_read_guest(&how, a[2], sizeof how) < 0)
        return -EFAULT;
    return file_open(t, a[0], a[1], how.flags, how.mode, &how);
}

PROC_SYS(chroot)
{
    char buf[PATH_MAX];
    uint64_t path;
    long r = file_path(t, a[0], buf, true, &path);

    if (r >= 0) {
        proc_self_new_root(t);
        r = proc_raw(SYS_chroot, path, 0, 0, 0, 0, 0);
    }
    if (r >= 0) /* it has entered a root of its own: no more redirection */
        t->proc->sysroot = NULL;
    return r;
}
