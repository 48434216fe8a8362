/* proc_signal_calls.c: the system calls about signals that need more than
 * passing on. SPDX-License-Identifier: Apache-2.0
 *
 * kill and its kin, signalfd and timers are the host's: numbers, ids and
 * structures are equal.
 */
#include "process/proc_signal.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- actions --------------------------------------------------------- */

/* Sent while blocked and now ignored: forgotten (POSIX, sigaction). The host
 * does it for all others. */
static void forget_ignored(struct proc_thread *t, const struct proc_action *act, int sig)
{
    siginfo_t info;

    if (act->handler == PROC_SIG_IGN)
        proc_signal_take_sync(t, proc_sigbit(sig), &info);
}

PROC_SYS(rt_sigaction)
{
    struct proc_signals *table = t->sig->table;
    struct proc_action act, old;
    uint64_t sig = a[0];

    if (a[3] != 8 || sig < 1 || sig > PROC_NSIG)
        return -EINVAL;
    if (a[1] && proc_read_guest(&act, a[1], sizeof act) < 0)
        return -EFAULT;
    if (a[1] && (sig == SIGKILL || sig == SIGSTOP))
        return -EINVAL;
    pthread_mutex_lock(&table->lock);
    old = table->action[sig];
    if (a[1]) {
        act.mask &= ~PROC_UNBLOCKABLE;
        table->action[sig] = act;
        proc_signal_mirror(table, (int)sig);
    }
    pthread_mutex_unlock(&table->lock);
    if (a[1])
        forget_ignored(t, &act, (int)sig);
    if (a[2] && proc_write_guest(a[2], &old, sizeof old) < 0)
        return -EFAULT;
    return 0;
}

/* ---- masks ----------------------------------------------------------- */

/* Gives t the mask; -ERESTARTSYS if a signal was taken before that the new
 * mask would hold back: it comes first. */
static long change_mask(struct proc_thread *t, uint64_t mask)
{
    mask &= ~PROC_UNBLOCKABLE;
    if (!(proc_signal_taken(t) & ~PROC_SYNC_SIGNALS))
        proc_sigmask_set_host(mask);
    if (proc_signal_taken(t) & mask & ~t->sig->mask) {
        t->sig->no_eintr = true;
        jit_poll_request(t->vcpu);
        return -PROC_ERESTARTSYS;
    }
    t->sig->mask = mask;
    if (proc_signal_taken(t))
        jit_poll_request(t->vcpu);
    return 0;
}

PROC_SYS(rt_sigprocmask)
{
    uint64_t old = t->sig->mask, set;

    if (a[3] != 8)
        return -EINVAL;
    if (a[1]) {
        long r;

        if (proc_read_guest(&set, a[1], sizeof set) < 0)
            return -EFAULT;
        switch ((int)a[0]) {
        case SIG_BLOCK: set |= old; break;
        case SIG_UNBLOCK: set = old & ~set; break;
        case SIG_SETMASK: break;
        default: return -EINVAL;
        }
        r = (set & ~PROC_UNBLOCKABLE) == old ? 0 : change_mask(t, set);
        if (r < 0)
            return r;
    }
    if (a[2] && proc_write_guest(a[2], &old, sizeof old) < 0)
        return -EFAULT;
    return 0;
}

PROC_SYS(rt_sigpending)
{
    uint64_t set = 0;
    long r = proc_raw(SYS_rt_sigpending, (uint64_t)&set, 8, 0, 0, 0, 0);

    if (r < 0)
        return r;
    if (a[1] > 8)
        return -EINVAL;
    set |= proc_signal_taken(t) & t->sig->mask;
    return proc_write_guest(a[0], &set, a[1]);
}

PROC_SYS(rt_sigsuspend)
{
    uint64_t set, host;
    long r;

    if (a[1] != 8)
        return -EINVAL;
    if (proc_read_guest(&set, a[0], sizeof set) < 0)
        return -EFAULT;
    host = proc_sigmask_host(set);
    if (proc_signal_taken(t) & PROC_SYNC_SIGNALS & ~set)
        r = -EINTR; /* sent before, blocked until now */
    else
        r = proc_syscall(t, SYS_rt_sigsuspend, (uint64_t)&host, 8, 0, 0, 0, 0);
    if (r == -EINTR)
        proc_sigmask_temp(t, set);
    else
        t->sig->no_eintr = true; /* a signal came before this call began */
    return r;
}

/* ---- waiting --------------------------------------------------------- */

PROC_SYS(rt_sigtimedwait)
{
    struct timespec timeout;
    siginfo_t info;
    uint64_t set;
    long r;

    if (a[3] != 8)
        return -EINVAL;
    if (proc_read_guest(&set, a[0], sizeof set) < 0 ||
        (a[2] && proc_read_guest(&timeout, a[2], sizeof timeout) < 0))
        return -EFAULT;
    r = proc_signal_take_sync(t, set, &info);
    if (!r)
        r = proc_syscall(t, SYS_rt_sigtimedwait, (uint64_t)&set, (uint64_t)&info,
                         a[2] ? (uint64_t)&timeout : 0, 8, 0, 0);
    if (r == -EINTR || r == -PROC_ERESTARTSYS) {
        int sig = proc_signal_take_sync(t, set, &info);

        r = sig ? sig : r;
    }
    if (r > 0 && a[1] && proc_write_guest(a[1], &info, PROC_SIGINFO_SIZE) < 0)
        return -EFAULT;
    return r;
}

/* ---- sending with a chosen siginfo ----------------------------------- */

/* A siginfo that looks like a fault would be taken for one: those that a
 * thread may send (only to itself) do not pass through the host. */
static bool post_to_self(struct proc_thread *t, uint64_t sig, const siginfo_t *info)
{
    if (sig < 1 || sig > PROC_NSIG || !(PROC_SYNC_SIGNALS & proc_sigbit((int)sig)) ||
        info->si_code <= 0)
        return false;
    proc_signal_post(t, (int)sig, info);
    return true;
}

PROC_SYS(rt_sigqueueinfo)
{
    siginfo_t info;

    if (proc_read_guest(&info, a[2], sizeof info) < 0)
        return -EFAULT;
    if ((pid_t)a[0] == getpid() && post_to_self(t, a[1], &info))
        return 0;
    return proc_raw(SYS_rt_sigqueueinfo, a[0], a[1], (uint64_t)&info, 0, 0, 0);
}

PROC_SYS(rt_tgsigqueueinfo)
{
    siginfo_t info;

    if (proc_read_guest(&info, a[3], sizeof info) < 0)
        return -EFAULT;
    if ((pid_t)a[1] == t->tid && post_to_self(t, a[2], &info))
        return 0;
    return proc_raw(SYS_rt_tgsigqueueinfo, a[0], a[1], a[2], (uint64_t)&info, 0, 0);
}

/* ---- stack and return ------------------------------------------------ */

PROC_SYS(sigaltstack)
{
    struct {
        uint64_t sp;
        uint32_t flags, pad;
        uint64_t size;
    } ss, old = {0};

    if (a[0] && proc_read_guest(&ss, a[0], sizeof ss) < 0)
        return -EFAULT;
    old.sp = t->sig->alt_sp;
    old.size = t->sig->alt_size;
    old.flags = proc_altstack_state(t, t->rv->x[2]) | (t->sig->alt_flags & 1u << 31);
    if (a[0]) {
        int r = proc_altstack_set(t, ss.sp, ss.flags, ss.size, t->rv->x[2]);

        if (r < 0)
            return r;
    }
    if (a[1] && proc_write_guest(a[1], &old, sizeof old) < 0)
        return -EFAULT;
    return 0;
}

PROC_SYS(rt_sigreturn)
{
    uint64_t mask;

    t->no_advance = true;
    if (proc_frame_pop(t, &mask) < 0) {
        proc_signal_force(t, SIGSEGV, SI_KERNEL, t->rv->x[2]);
        return 0;
    }
    /* What was taken meanwhile is delivered whatever the mask: it was not
     * blocked when it came. */
    t->sig->mask = mask;
    if (!(proc_signal_taken(t) & ~PROC_SYNC_SIGNALS))
        proc_sigmask_set_host(mask);
    if (proc_signal_taken(t))
        jit_poll_request(t->vcpu);
    return 0;
}

/* ---- sending --------------------------------------------------------- */

PROC_SYS(kill)
{
    return proc_raw(SYS_kill, a[0], a[1], 0, 0, 0, 0);
}

PROC_SYS(tkill)
{
    return proc_raw(SYS_tkill, a[0], a[1], 0, 0, 0, 0);
}

PROC_SYS(tgkill)
{
    return proc_raw(SYS_tgkill, a[0], a[1], a[2], 0, 0, 0);
}

PROC_SYS(pidfd_send_signal)
{
    siginfo_t info;

    if (a[2] && proc_read_guest(&info, a[2], sizeof info) < 0)
        return -EFAULT;
    return proc_raw(SYS_pidfd_send_signal, a[0], a[1], a[2] ? (uint64_t)&info : 0, a[3], 0, 0);
}

/* A descriptor gives only what is blocked, hence never PROC_SYNC_SIGNALS. */
PROC_SYS(signalfd4)
{
    uint64_t set;

    if (a[2] != sizeof set)
        return -EINVAL;
    if (proc_read_guest(&set, a[1], sizeof set) < 0)
        return -EFAULT;
    set = proc_sigmask_host(set);
    return proc_raw(SYS_signalfd4, a[0], (uint64_t)&set, sizeof set, a[3], 0, 0);
}
