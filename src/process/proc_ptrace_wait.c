/* proc_ptrace_wait.c: ptrace between guest programs, the tracer's side of a
 * stop: what the guest is to see of it. SPDX-License-Identifier: Apache-2.0
 *
 * The host tells this process, as the tracer, of every signal on its way to the
 * tracee's emulator. Those are none of the guest's business: they go on as they
 * are, and if the guest in the tracee is to have them, its emulator makes a
 * marked stop of it (proc_tracee.c). SIGSTOP cannot have a handler, so it is
 * changed into a mark here. Events of fork, clone and exit, and stops of job
 * control, are the guest's too, as they come.
 *
 * A new program starts with its emulator; the stop of execve is passed over, and
 * AT_FLAGS of the new emulator says that and how it is traced: it will stop when
 * its guest is loaded. A host program has no guest; it is traced as it stands.
 *
 * A tracee whose stop is passed over goes on when its tracer waits; programs
 * that trace wait all the time.
 */
#include "process/proc_ptrace.h"

#include <elf.h>
#include <linux/ptrace.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AUXV_SEARCH = 1 << 20 }; /* words on a stack in front of an auxiliary vector */

static long host_ptrace(long request, pid_t tid, uint64_t addr, uint64_t data)
{
    return proc_raw(SYS_ptrace, (uint64_t)request, (uint64_t)tid, addr, data, 0, 0);
}

/* Goes on, for the host; false: the guest is not to see the stop. */
static bool pass(pid_t tid, int sig)
{
    host_ptrace(PTRACE_CONT, tid, 0, (uint64_t)sig);
    return false;
}

/* ---- new programs ---------------------------------------------------- */

static long peek(pid_t tid, uint64_t addr, uint64_t *word)
{
    return host_ptrace(PTRACE_PEEKDATA, tid, addr, (uint64_t)word);
}

/* Address of the value of AT_FLAGS of a program that has just begun, 0: none. */
static uint64_t at_flags(pid_t tid)
{
    uint64_t sp, word, at;
    unsigned ends = 0;

    if (host_ptrace(PTRACE_PEEKUSR, tid, offsetof(struct user, regs.rsp), (uint64_t)&sp) < 0)
        return 0;
    at = sp + 8; /* argc; argv and envp end with 0 each */
    for (unsigned n = 0; n < AUXV_SEARCH && ends < 2; n++, at += 8) {
        if (peek(tid, at, &word) < 0)
            return 0;
        ends += !word;
    }
    for (unsigned n = 0; n < 64; n++, at += 16) {
        if (peek(tid, at, &word) < 0 || word == AT_NULL)
            return 0;
        if (word == AT_FLAGS)
            return at + 8;
    }
    return 0;
}

/* The stop of execve. */
static bool executed(struct trace_entry *e, int *status)
{
    uint64_t at;

    e->block = 0;
    e->state = TRACE_RUNNING;
    e->native = !proc_trace_is_ours(e->tid);
    if (e->native) {
        e->state = TRACE_EVENT;
        if (e->options & PTRACE_O_TRACEEXEC)
            return true;
        *status = SIGTRAP << 8 | 0x7f;
        return !e->seized || pass(e->tid, 0);
    }
    at = at_flags(e->tid);
    if (at)
        host_ptrace(PTRACE_POKEDATA, e->tid, at,
                    PROC_TRACE_EXEC | (e->options & 0xffu) | (e->seized ? PROC_TRACE_SEIZED : 0) |
                        (uint64_t)e->mode << PROC_TRACE_MODE_BIT);
    return pass(e->tid, 0);
}

/* Without PTRACE_O_TRACEEXEC, which is not set before the first stop, the host
 * sends SIGTRAP: the registers are those of a system call that has returned 0. */
static bool is_exec_trap(pid_t tid)
{
    struct user_regs_struct r;

    return host_ptrace(PTRACE_GETREGS, tid, 0, (uint64_t)&r) >= 0 &&
           (r.orig_rax == SYS_execve || r.orig_rax == SYS_execveat) && !r.rax && !r.rdi && !r.rsi &&
           !r.rbx && !r.rbp;
}

/* ---- signals --------------------------------------------------------- */

static bool marked_stop(struct trace_entry *e, const siginfo_t *info, int *status)
{
    struct proc_tracee b;

    e->block = (uint64_t)info->si_value.sival_ptr;
    if (proc_trace_read(e->tid, &b, e->block, sizeof b) < 0 || b.mark != PROC_TRACE_MARK) {
        e->block = 0;
        return pass(e->tid, SIGTRAP);
    }
    e->state = TRACE_MARKED;
    *status = (int)(b.stop << 8 | 0x7f);
    return true;
}

/* Hands SIGSTOP to the tracee's emulator as a mark. */
static bool hand_over_stop(struct trace_entry *e, siginfo_t *info)
{
    info->si_value.sival_ptr = (void *)(uint64_t)(uint32_t)info->si_code;
    info->si_signo = SIGTRAP;
    info->si_errno = (int)(PROC_TRACE_MARK | PROC_TRACE_POST);
    info->si_code = SI_QUEUE;
    host_ptrace(PTRACE_SETSIGINFO, e->tid, 0, (uint64_t)info);
    return pass(e->tid, SIGTRAP);
}

/* A mark of our own reaches the tracee. */
static bool pass_mark(struct trace_entry *e, int sig, siginfo_t *info)
{
    uint64_t value = (uint64_t)info->si_value.sival_ptr | PROC_TRACE_ALSO_INTERRUPT;

    if (e->interrupt && (info->si_errno & 15) != PROC_TRACE_GENUINE) {
        info->si_value.sival_ptr = (void *)value;
        host_ptrace(PTRACE_SETSIGINFO, e->tid, 0, (uint64_t)info);
        e->interrupt = false;
    }
    return pass(e->tid, sig);
}

static bool group_stop(struct trace_entry *e, int sig, int *status)
{
    e->state = TRACE_GROUP;
    e->listening = false;
    *status = sig << 8 | 0x7f | (e->seized ? PTRACE_EVENT_STOP << 16 : 0);
    return true;
}

static bool signal_stop(struct trace_entry *e, int sig, int *status)
{
    siginfo_t info;

    if (host_ptrace(PTRACE_GETSIGINFO, e->tid, 0, (uint64_t)&info) < 0)
        return group_stop(e, sig, status);
    if (info.si_code == SI_QUEUE && ((uint32_t)info.si_errno & ~15u) == PROC_TRACE_MARK) {
        if ((info.si_errno & 15) == PROC_TRACE_STOP && sig == SIGTRAP)
            return marked_stop(e, &info, status);
        return pass_mark(e, sig, &info);
    }
    if (sig == SIGTRAP && info.si_code == SI_USER && is_exec_trap(e->tid))
        return executed(e, status);
    if (e->native) {
        e->state = TRACE_EVENT;
        return true;
    }
    if (sig != SIGSTOP)
        return pass(e->tid, sig);
    if (info.si_code == SI_USER && !info.si_pid) /* traced from birth: it knows itself */
        return pass(e->tid, 0);
    return hand_over_stop(e, &info);
}

/* ---- events ---------------------------------------------------------- */

static bool event_stop(struct trace_entry *e, int event)
{
    uint32_t options = e->options;
    bool seized = e->seized, native = e->native;
    pid_t tid = e->tid;

    host_ptrace(PTRACE_GETEVENTMSG, tid, 0, (uint64_t)&e->message);
    e->state = TRACE_EVENT;
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
        struct trace_entry *child = proc_trace_add((pid_t)e->message);

        child->options = options;
        child->seized = seized;
        child->native = native;
    }
    return true;
}

static bool stopped(pid_t tid, int *status)
{
    struct trace_entry *e = proc_trace_find(tid);
    int sig = WSTOPSIG(*status) & 0x7f, event = *status >> 16;

    if (!e) {
        siginfo_t info;

        if (host_ptrace(PTRACE_GETSIGINFO, tid, 0, (uint64_t)&info) == -ESRCH)
            return true; /* a child that is not traced has been stopped */
        e = proc_trace_add(tid);
        host_ptrace(PTRACE_SETOPTIONS, tid, 0, proc_trace_host_options(0));
    }
    switch (event) {
    case 0: return signal_stop(e, sig, status);
    case PTRACE_EVENT_EXEC:
        host_ptrace(PTRACE_GETEVENTMSG, tid, 0, (uint64_t)&e->message);
        return executed(e, status);
    case PTRACE_EVENT_STOP:
        if (sig != SIGTRAP)
            return group_stop(e, sig, status);
        if (e->native || e->listening || e->state == TRACE_GROUP) {
            e->state = TRACE_GROUP;
            e->listening = false;
            return true;
        }
        return pass(tid, 0); /* a new child, which knows itself */
    default: return event_stop(e, event);
    }
}

bool proc_trace_stopped(pid_t tid, int *status)
{
    bool visible;

    pthread_mutex_lock(&proc_trace_lock);
    visible = stopped(tid, status);
    pthread_mutex_unlock(&proc_trace_lock);
    return visible;
}

/* ---- wait ------------------------------------------------------------ */

PROC_SYS(wait4)
{
    int status = 0;
    long r;

    do {
        r = proc_syscall(t, SYS_wait4, a[0], (uint64_t)&status, a[2],
                         a[3], 0, 0);
        if (r > 0 && !WIFSTOPPED(status) && !WIFCONTINUED(status))
            proc_trace_drop((pid_t)r);
    } while (r > 0 && WIFSTOPPED(status) && !proc_trace_stopped((pid_t)r, &status));
    if (r > 0 && a[1] && proc_write_guest(a[1], &status, sizeof status) < 0)
        return -EFAULT;
    return r;
}

PROC_SYS(waitid)
{
    siginfo_t info;
    long r;
    int status;

    do {
        memset(&info, 0, sizeof info);
        r = proc_syscall(t, SYS_waitid, a[0], a[1], (uint64_t)&info, a[3], a[4], 0);
        status = info.si_status << 8 | 0x7f;
        if (!r && info.si_pid && info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED &&
            info.si_code != CLD_CONTINUED && !(a[3] & WNOWAIT))
            proc_trace_drop(info.si_pid);
    } while (!r && (info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED) &&
             !proc_trace_stopped(info.si_pid, &status));
    if (r < 0) { /* the kernel writes zeros all the same, and an error of that counts more */
        memset(&info, 0, sizeof info);
        return r != -PROC_ERESTARTSYS && a[2] &&
                       proc_write_guest(a[2], &info, offsetof(siginfo_t, _sifields) + 12) < 0
                   ? -EFAULT
                   : r;
    }
    info.si_status = info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED
                         ? status >> 8 : info.si_status;
    if (a[2] && proc_write_guest(a[2], &info, PROC_SIGINFO_SIZE) < 0)
        return -EFAULT;
    return 0;
}
