/* proc_self.c: our own executable, and starting it anew. SPDX-License-Identifier: Apache-2.0
 *
 * A guest's execve() starts this emulator again (proc_exec.c), so it must find
 * itself wherever the guest has gone. Three ways, the first that works:
 *
 *   the kernel's       started through binfmt_misc, the kernel knows the way:
 *                      the guest's execve() is handed to it as it is
 *   a descriptor       kept from before a guest changed its root, or opened
 *                      at the start if there was no /proc; handed on with
 *                      execveat(), by which the next one's AT_EXECFN is
 *                      "/dev/fd/N": that N is ours again
 *   /proc/self/exe     as long as there is no reason to have a descriptor
 */
#include "process/proc_signal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SELF_EXE "/proc/self/exe"

/* The descriptor that execveat() started us by, or -1. */
static int inherited_fd(const char *execfn)
{
    static const char dev[] = "/dev/fd/";
    char *end;
    long fd;

    if (!execfn || strncmp(execfn, dev, sizeof dev - 1))
        return -1;
    fd = strtol(execfn + sizeof dev - 1, &end, 10);
    if (*end || end == execfn + sizeof dev - 1 || fd < 3 || fcntl((int)fd, F_GETFD) < 0)
        return -1;
    return fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0 ? -1 : (int)fd;
}

void proc_self_init(struct proc *p)
{
    const char *execfn = (const char *)getauxval(AT_EXECFN);

    p->self_fd = -1;
    if (p->opt->interpreter)
        return; /* AT_EXECFN names the guest's program */
    p->self_fd = inherited_fd(execfn);
    if (p->self_fd < 0 && execfn && access(SELF_EXE, X_OK) < 0)
        p->self_fd = proc_high_fd(open(execfn, O_PATH | O_CLOEXEC));
}

/* Before the root directory changes: /proc may be gone afterwards. */
static void keep_self(struct proc_thread *t)
{
    struct proc *p = t->proc;

    /* a vfork child has descriptors of its own, but its parent's memory */
    if (p->self_fd < 0 && !t->shares_memory)
        p->self_fd = proc_high_fd(open(SELF_EXE, O_PATH | O_CLOEXEC));
}

void proc_self_new_root(struct proc_thread *t)
{
    if (!t->proc->opt->interpreter)
        keep_self(t);
}

PROC_SYS(pivot_root)
{
    proc_self_new_root(t);
    return proc_raw(SYS_pivot_root, a[0], a[1], 0, 0, 0, 0);
}

bool proc_self_has_kernel(const struct proc *p)
{
    return p->opt->interpreter && !p->sysroot;
}

long proc_self_exec(struct proc_thread *t, const char **argv, uint64_t envp)
{
    int fd = t->proc->self_fd;
    long r;

    /* The descriptor first: who comes after the new root needs it as well, for
     * /proc may be unmounted at any time (debootstrap does). */
    if (fd < 0)
        return proc_syscall(t, SYS_execve, (uint64_t)SELF_EXE, (uint64_t)argv, envp, 0, 0, 0);
    fcntl(fd, F_SETFD, 0);
    r = proc_syscall(t, SYS_execveat, (uint64_t)fd, (uint64_t)"", (uint64_t)argv, envp,
                     AT_EMPTY_PATH, 0);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return r;
}
