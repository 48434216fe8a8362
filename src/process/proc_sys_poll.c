/* proc_sys_poll.c: waiting for descriptors. SPDX-License-Identifier: Apache-2.0
 *
 * ppoll, pselect6 and epoll_pwait may change the signal mask while they wait.
 * The host's mask is not the guest's, so the change is made to the guest's
 * mask first (proc_sigmask_temp) and the host is called without one; a signal
 * that the new mask lets through sets poll and so interrupts the call.
 */
#include "process/proc_priv.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

/* epoll_event is packed on x86-64 only. */
struct poll_event {
    uint32_t events, pad;
    uint64_t data;
};
/* Bound on the events of one epoll_pwait: memory for the conversion. More
 * than this many at once is answered with this many, as is allowed. */
enum { POLL_MAX_EVENTS = 1024 };

/* Reads the mask at addr and applies it. */
static long poll_mask(struct proc_thread *t, uint64_t addr, uint64_t size)
{
    uint64_t set;

    if (!addr)
        return 0;
    if (size != sizeof set)
        return -EINVAL;
    if (proc_read_guest(&set, addr, sizeof set) < 0)
        return -EFAULT;
    proc_sigmask_temp(t, set);
    return 0;
}

/* A wait that a signal ends is never restarted when its mask was changed. */
static long poll_result(long r, uint64_t mask)
{
    return r == -PROC_ERESTARTSYS && mask ? -EINTR : r;
}

PROC_SYS(ppoll)
{
    struct timespec ts;
    long r = poll_mask(t, a[3], a[4]);

    if (r < 0)
        return r;
    if (!a[2])
        return poll_result(proc_syscall(t, SYS_ppoll, a[0], a[1], 0, 0, 0, 0), a[3]);
    if (proc_read_guest(&ts, a[2], sizeof ts) < 0)
        return -EFAULT;
    r = proc_syscall(t, SYS_ppoll, a[0], a[1], (uint64_t)&ts, 0, 0, 0);
    if (r != -PROC_ERESTARTSYS)
        proc_write_guest(a[2], &ts, sizeof ts); /* what is left; as Linux, errors are ignored */
    return poll_result(r, a[3]);
}

PROC_SYS(pselect6)
{
    struct timespec ts;
    uint64_t mask[2] = {0, 0};
    long r;

    for (int i = 1; i <= 4; i++)
        if (a[i] >= PROC_TASK_SIZE)
            return -EFAULT;
    if (a[5] && proc_read_guest(mask, a[5], sizeof mask) < 0)
        return -EFAULT;
    if (a[4] && proc_read_guest(&ts, a[4], sizeof ts) < 0)
        return -EFAULT;
    r = poll_mask(t, mask[0], mask[1]);
    if (r < 0)
        return r;
    r = proc_syscall(t, SYS_pselect6, a[0], a[1], a[2], a[3], a[4] ? (uint64_t)&ts : 0, 0);
    if (a[4] && r != -PROC_ERESTARTSYS)
        proc_write_guest(a[4], &ts, sizeof ts);
    return poll_result(r, mask[0]);
}

PROC_SYS(epoll_ctl)
{
    struct poll_event g;
    struct epoll_event e;

    if (!a[3])
        return proc_raw(SYS_epoll_ctl, a[0], a[1], a[2], 0, 0, 0);
    if ((int)a[1] == EPOLL_CTL_DEL) /* the event is not looked at */
        return proc_raw(SYS_epoll_ctl, a[0], a[1], a[2], (uint64_t)&e, 0, 0);
    if (proc_read_guest(&g, a[3], sizeof g) < 0)
        return -EFAULT;
    e.events = g.events;
    e.data.u64 = g.data;
    return proc_raw(SYS_epoll_ctl, a[0], a[1], a[2], (uint64_t)&e, 0, 0);
}

static long poll_epoll(struct proc_thread *t, long nr, const uint64_t *a, uint64_t timeout,
                       uint64_t mask, uint64_t mask_size)
{
    struct epoll_event few[32], *ev = few;
    int max = (int)a[2];
    long r;

    if (max <= 0 || max > INT32_MAX / (int)sizeof(struct poll_event))
        return -EINVAL;
    if (max > POLL_MAX_EVENTS)
        max = POLL_MAX_EVENTS;
    r = poll_mask(t, mask, mask_size);
    if (r < 0)
        return r;
    if (max > (int)BASE_ARRAY_SIZE(few))
        ev = base_alloc((size_t)max * sizeof *ev);
    r = proc_syscall(t, nr, a[0], (uint64_t)ev, (uint64_t)max, timeout, 0, 8);
    for (long i = 0; i < r; i++) {
        struct poll_event g = {ev[i].events, 0, ev[i].data.u64};

        if (proc_write_guest(a[1] + (uint64_t)i * sizeof g, &g, sizeof g) < 0) {
            r = i ? i : -EFAULT;
            break;
        }
    }
    if (ev != few)
        free(ev);
    return poll_result(r, mask);
}

PROC_SYS(epoll_pwait) { return poll_epoll(t, SYS_epoll_pwait, a, a[3], a[4], a[5]); }

PROC_SYS(epoll_pwait2)
{
    /* struct timespec is the same; the kernel reads it */
    return poll_epoll(t, 441, a, a[3], a[4], a[5]);
}
