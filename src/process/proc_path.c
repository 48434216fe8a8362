/* proc_path.c: where a guest's path is on the host. SPDX-License-Identifier: Apache-2.0
 *
 * With a sysroot (-L DIR) an absolute path names DIR/path if that is there, and
 * else the path itself, so that a riscv64 root beside an ordinary file system
 * works without entering it. Symbolic links inside the sysroot are followed as
 * if it were the root (an absolute one must not lead out of it), for which the
 * kernel does the walking: openat2() with RESOLVE_IN_ROOT. What belongs to the
 * running machine and not to a distribution is never looked up there:
 * /proc, /sys, /dev, /tmp, /run.
 */
#include "process/proc_priv.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool path_is_under(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

static bool path_is_redirected(const struct proc *p, const char *path)
{
    static const char *const machine[] = {"/proc", "/sys", "/dev", "/tmp", "/run"};

    if (path[0] != '/' || path_is_under(path, p->sysroot))
        return false;
    for (size_t i = 0; i < BASE_ARRAY_SIZE(machine); i++)
        if (path_is_under(path, machine[i]))
            return false;
    return true;
}

/* Resolves path in the sysroot into out; false: it is not there. */
static bool path_resolve(struct proc *p, const char *path, bool follow, char *out)
{
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    char link[64];
    ssize_t n;
    int fd;

    if (p->sysroot_fd < 0)
        return false;
    fd = (int)proc_raw(SYS_openat2, (uint64_t)p->sysroot_fd, (uint64_t)path, (uint64_t)&how,
                       sizeof how, 0, 0);
    if (fd < 0) {
        /* No openat2 (seccomp of some containers): plain concatenation. */
        if (fd != -ENOSYS && fd != -EPERM)
            return false;
        n = snprintf(out, PATH_MAX, "%s%s", p->sysroot, path);
        return n < PATH_MAX &&
               !faccessat(AT_FDCWD, out, F_OK, follow ? 0 : AT_SYMLINK_NOFOLLOW);
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, out, PATH_MAX - 1);
    close(fd);
    if (n < 0) { /* no /proc */
        n = snprintf(out, PATH_MAX, "%s%s", p->sysroot, path);
        return n < PATH_MAX;
    }
    out[n] = 0;
    return true;
}

long proc_path_str(struct proc *p, const char *guest, char *buf, enum proc_path_how how)
{
    size_t n = strlen(guest);

    if (p->sysroot && path_is_redirected(p, guest) &&
        path_resolve(p, guest, how == PROC_PATH_LOOKUP, buf)) {
        /* "link/" asks for the directory behind the link */
        size_t m = strlen(buf);

        if (guest[n - 1] == '/' && m + 1 < PATH_MAX && m && buf[m - 1] != '/')
            strcpy(buf + m, "/");
        return 0;
    }
    if (n >= PATH_MAX)
        return -ENAMETOOLONG;
    if (buf != guest)
        memcpy(buf, guest, n + 1);
    return 0;
}

long proc_path(struct proc *p, uint64_t addr, char *buf, enum proc_path_how how)
{
    char guest[PATH_MAX];
    long r = proc_read_string(guest, addr, sizeof guest);

    if (r < 0)
        return r;
    return proc_path_str(p, guest, buf, how);
}

const char *proc_guest_exe(const struct proc *p)
{
    if (p->sysroot && path_is_under(p->exe, p->sysroot))
        return p->exe + strlen(p->sysroot);
    return p->exe;
}
