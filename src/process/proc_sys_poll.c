/* proc_sys_poll.c: waiting for descriptors and for words of memory.
 * SPDX-License-Identifier: Apache-2.0
 *
 * ppoll, pselect6 and epoll_pwait change the signal mask while they wait. The
 * host does so as well, with the mask that stands for the guest's; if a signal
 * ends the wait, it is delivered under that mask (proc_sigmask_temp).
 */
#include "process/proc_signal.h"

#include <linux/futex.h>
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

/* A mask given to one call. */
struct poll_mask {
    bool given;
    uint64_t guest, host;
};

static long poll_mask_read(struct poll_mask *m, uint64_t addr, uint64_t size)
{
    memset(m, 0, sizeof *m);
    if (!addr)
        return 0;
    if (size != sizeof m->guest)
        return -EINVAL;
    if (proc_read_guest(&m->guest, addr, sizeof m->guest) < 0)
        return -EFAULT;
    m->given = true;
    m->host = proc_sigmask_host(m->guest);
    return 0;
}

static uint64_t poll_mask_arg(const struct poll_mask *m)
{
    return m->given ? (uint64_t)&m->host : 0;
}

/* A wait that a signal ended: never begun again, whatever SA_RESTART says, once
 * it has really waited (signal(7)). */
static long poll_end(struct proc_thread *t, const struct poll_mask *m, long r)
{
    if (m->given && r == -EINTR)
        proc_sigmask_temp(t, m->guest);
    return r;
}

PROC_SYS(ppoll)
{
    struct poll_mask m;
    struct timespec ts;
    long r = poll_mask_read(&m, a[3], a[4]);

    if (r < 0)
        return r;
    if (a[2] && proc_read_guest(&ts, a[2], sizeof ts) < 0)
        return -EFAULT;
    r = proc_syscall(t, SYS_ppoll, a[0], a[1], a[2] ? (uint64_t)&ts : 0, poll_mask_arg(&m), 8, 0);
    if (a[2] && r != -PROC_ERESTARTSYS)
        proc_write_guest(a[2], &ts, sizeof ts); /* what is left; errors do not count */
    return poll_end(t, &m, r);
}

PROC_SYS(pselect6)
{
    struct timespec ts;
    struct poll_mask m;
    uint64_t mask[2] = {0, 0}, host[2];
    long r;

    for (int i = 1; i <= 4; i++)
        if (a[i] >= PROC_TASK_SIZE)
            return -EFAULT;
    if (a[5] && proc_read_guest(mask, a[5], sizeof mask) < 0)
        return -EFAULT;
    if (a[4] && proc_read_guest(&ts, a[4], sizeof ts) < 0)
        return -EFAULT;
    r = poll_mask_read(&m, mask[0], mask[1]);
    if (r < 0)
        return r;
    host[0] = poll_mask_arg(&m);
    host[1] = 8;
    r = proc_syscall(t, SYS_pselect6, a[0], a[1], a[2], a[3], a[4] ? (uint64_t)&ts : 0,
                     (uint64_t)host);
    if (a[4] && r != -PROC_ERESTARTSYS)
        proc_write_guest(a[4], &ts, sizeof ts);
    return poll_end(t, &m, r);
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
    struct poll_mask m;
    int max = (int)a[2];
    long r;

    if (max <= 0 || max > INT32_MAX / (int)sizeof(struct poll_event))
        return -EINVAL;
    if (max > POLL_MAX_EVENTS)
        max = POLL_MAX_EVENTS;
    r = poll_mask_read(&m, mask, mask_size);
    if (r < 0)
        return r;
    if (max > (int)BASE_ARRAY_SIZE(few))
        ev = base_alloc((size_t)max * sizeof *ev);
    r = proc_syscall(t, nr, a[0], (uint64_t)ev, (uint64_t)max, timeout, poll_mask_arg(&m), 8);
    for (long i = 0; i < r; i++) {
        struct poll_event g = {ev[i].events, 0, ev[i].data.u64};

        if (proc_write_guest(a[1] + (uint64_t)i * sizeof g, &g, sizeof g) < 0) {
            r = i ? i : -EFAULT;
            break;
        }
    }
    if (ev != few)
        free(ev);
    return poll_end(t, &m, r);
}

PROC_SYS(epoll_pwait) { return poll_epoll(t, SYS_epoll_pwait, a, a[3], a[4], a[5]); }

PROC_SYS(epoll_pwait2)
{
    /* struct timespec is the same; the kernel reads it */
    return poll_epoll(t, 441, a, a[3], a[4], a[5]);
}

/* Kernel AIO: its structures are the same. The ring that the kernel maps for a
 * context lies outside the guest's map; libaio reads it there. */
PROC_SYS(io_pgetevents)
{
    uint64_t mask[2] = {0, 0}, host[2];
    struct poll_mask m;
    long r;

    if (a[3] >= PROC_TASK_SIZE || a[4] >= PROC_TASK_SIZE)
        return -EFAULT;
    if (a[5] && proc_read_guest(mask, a[5], sizeof mask) < 0)
        return -EFAULT;
    r = poll_mask_read(&m, mask[0], mask[1]);
    if (r < 0)
        return r;
    host[0] = poll_mask_arg(&m);
    host[1] = 8;
    r = proc_syscall(t, SYS_io_pgetevents, a[0], a[1], a[2], a[3], a[4], (uint64_t)host);
    return poll_end(t, &m, r);
}

/* ---- futex ----------------------------------------------------------- */

/* Arguments that an operation does not have are whatever was in the registers:
 * C libraries call FUTEX_WAKE with three. Those that are pointers to some are
 * checked for those only. */
PROC_SYS(futex)
{
    bool timeout = false, second = false; /* is a[3] a timeout, a[4] a word? */

    switch ((int)a[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2: timeout = true; break;
    case FUTEX_WAIT_REQUEUE_PI: timeout = second = true; break;
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAKE_OP:
    case FUTEX_CMP_REQUEUE_PI: second = true; break;
    default: break;
    }
    if ((timeout && a[3] >= PROC_TASK_SIZE) || (second && a[4] >= PROC_TASK_SIZE))
        return -EFAULT;
    return proc_syscall(t, SYS_futex, a[0], a[1], a[2], a[3], second ? a[4] : 0, a[5]);
}
