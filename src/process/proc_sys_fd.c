/* proc_sys_fd.c: calls that could close a descriptor of ours. SPDX-License-Identifier: Apache-2.0
 *
 * Programs close everything they did not open (close_range, or a loop) before
 * they execute another. Our descriptor of the sysroot must outlive that; the
 * guest sees its number as one that is not open. (A vfork child has its own
 * descriptors but our memory, so moving it to another number is no way out.)
 */
#include "process/proc_priv.h"

#include <sys/syscall.h>

static bool is_ours(const struct proc *p, uint64_t fd)
{
    return p->sysroot_fd >= 0 && (uint32_t)fd == (uint32_t)p->sysroot_fd;
}

PROC_SYS(close)
{
    if (is_ours(t->proc, a[0]))
        return -EBADF;
    return proc_raw(SYS_close, a[0], 0, 0, 0, 0, 0);
}

PROC_SYS(dup3)
{
    if (is_ours(t->proc, a[0]) || is_ours(t->proc, a[1]))
        return -EBADF;
    return proc_raw(SYS_dup3, a[0], a[1], a[2], 0, 0, 0);
}

PROC_SYS(close_range)
{
    uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1];
    uint32_t ours = (uint32_t)t->proc->sysroot_fd;
    long r = 0;

    if (t->proc->sysroot_fd < 0 || first > ours || last < ours)
        return proc_raw(SYS_close_range, first, last, a[2], 0, 0, 0);
    if (first < ours)
        r = proc_raw(SYS_close_range, first, ours - 1, a[2], 0, 0, 0);
    if (r >= 0 && ours < last)
        r = proc_raw(SYS_close_range, ours + 1, last, a[2], 0, 0, 0);
    return r;
}
