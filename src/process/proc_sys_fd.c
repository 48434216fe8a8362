/* proc_sys_fd.c: calls that could close a descriptor of ours. SPDX-License-Identifier: Apache-2.0
 *
 * Programs close everything they did not open (close_range, or a loop) before
 * they execute another. Our descriptors of the sysroot and of ourselves must
 * outlive that; the guest sees their numbers as ones that are not open. (A vfork
 * child has its own descriptors but our memory, so moving them to other numbers
 * is no way out.)
 */
#include "process/proc_priv.h"

#include <sys/syscall.h>

static bool is_ours(const struct proc *p, uint64_t fd)
{
    return (p->sysroot_fd >= 0 && (uint32_t)fd == (uint32_t)p->sysroot_fd) ||
           (p->self_fd >= 0 && (uint32_t)fd == (uint32_t)p->self_fd);
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

/* close_range() of what is between our descriptors. */
PROC_SYS(close_range)
{
    int64_t low = t->proc->sysroot_fd, high = t->proc->self_fd;
    int64_t ours[] = {low < high ? low : high, low < high ? high : low};
    int64_t first = (uint32_t)a[0], last = (uint32_t)a[1];
    long r = 0;

    if (first > last)
        return -EINVAL;
    for (size_t i = 0; i < BASE_ARRAY_SIZE(ours) && r >= 0; i++) {
        int64_t fd = ours[i];

        if (fd < first || fd > last)
            continue;
        if (fd > first)
            r = proc_raw(SYS_close_range, (uint64_t)first, (uint64_t)fd - 1, a[2], 0, 0, 0);
        first = fd + 1;
    }
    if (r >= 0 && first <= last)
        r = proc_raw(SYS_close_range, (uint64_t)first, (uint64_t)last, a[2], 0, 0, 0);
    return r;
}
