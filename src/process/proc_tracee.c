/* proc_tracee.c: ptrace between guest programs, the side of the one that is
 * traced. SPDX-License-Identifier: Apache-2.0
 *
 * See proc_ptrace.h. A thread that is traced goes through proc_debug.c's hooks
 * like one under --trace: each system call and each signal about to be
 * delivered comes by here and stops if the tracer wants that. All signals have
 * our handler then, since a tracer sees those that do nothing as well.
 *
 * Requests come as marked signals at any moment; they are noted in
 * t->trace_request and acted on between two guest instructions.
 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"

#include <linux/ptrace.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

/* t->trace_request */
#define REQUEST_ATTACH (1ull << 63)
#define REQUEST_INTERRUPT (1ull << 62)
#define REQUEST_FIRST_STOP (1ull << 61) /* of a child that is traced from birth */

static bool takes_all;

bool proc_tracee_takes_all(void) { return takes_all; }

/* ---- marks ----------------------------------------------------------- */

static void send_mark(struct proc_thread *t, int sig, enum proc_trace_what what, uint64_t value)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = sig;
    info.si_errno = (int)(PROC_TRACE_MARK | what);
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)value;
    proc_raw(SYS_rt_tgsigqueueinfo, (uint64_t)getpid(), (uint64_t)t->tid, (uint64_t)sig,
             (uint64_t)&info, 0, 0);
}

/* A SIGSTOP that the host would have acted on, with its siginfo. */
static void post_stop(struct proc_thread *t, const siginfo_t *mark)
{
    siginfo_t info = *mark;

    info.si_errno = 0;
    info.si_code = (int)(uint64_t)mark->si_value.sival_ptr;
    info.si_value.sival_ptr = NULL;
    proc_signal_post(t, SIGSTOP, &info);
}

bool proc_tracee_mark(struct proc_thread *t, int sig, const siginfo_t *info, void *ucontext)
{
    uint64_t value = (uint64_t)info->si_value.sival_ptr;

    if (sig != SIGTRAP || info->si_code != SI_QUEUE ||
        ((uint32_t)info->si_errno & ~15u) != PROC_TRACE_MARK)
        return false;
    if (!t)
        return true;
    switch (info->si_errno & 15) {
    case PROC_TRACE_STOP:
        if (t->tracee)
            t->tracee->unheard = 1;
        return true;
    case PROC_TRACE_ATTACH: t->trace_request |= REQUEST_ATTACH | (uint32_t)value; break;
    case PROC_TRACE_INTERRUPT: t->trace_request |= REQUEST_INTERRUPT; break;
    case PROC_TRACE_POST: post_stop(t, info); break;
    default: return true;
    }
    if (value & PROC_TRACE_ALSO_INTERRUPT)
        t->trace_request |= REQUEST_INTERRUPT;
    t->debug.kicked = 1;
    jit_poll_request(t->vcpu);
    proc_safe_rewind(ucontext);
    return true;
}

/* ---- being traced ---------------------------------------------------- */

/* Every signal comes to our handler, or only those that need it. */
static void take_all(struct proc_thread *t, bool all)
{
    struct proc_signals *table = t->sig->table;

    if (takes_all == all)
        return;
    takes_all = all;
    pthread_mutex_lock(&table->lock);
    for (int sig = 1; sig <= PROC_NSIG; sig++)
        proc_signal_mirror(table, sig);
    pthread_mutex_unlock(&table->lock);
}

static struct proc_tracee *block_new(struct proc_thread *t, uint32_t options, bool seized)
{
    struct proc_tracee *e = t->tracee ? t->tracee : base_alloc(sizeof *e);

    memset(e, 0, sizeof *e);
    e->mark = PROC_TRACE_MARK;
    e->traced = 1;
    e->seized = seized;
    e->options = options;
    e->state = (uint64_t)t->rv;
    e->proc = (uint64_t)t->proc;
    e->mask = (uint64_t)&t->sig->mask;
    t->tracee = e;
    return e;
}

static void begin(struct proc_thread *t, uint32_t options, bool seized)
{
    block_new(t, options, seized);
    atomic_fetch_or(&t->proc->debug, PROC_DEBUG_PTRACE);
    take_all(t, true);
}

static void end(struct proc_thread *t)
{
    bool others = false;

    t->tracee->traced = 0;
    pthread_mutex_lock(&t->proc->threads_lock);
    for (struct proc_thread *o = t->proc->threads; o; o = o->next)
        others |= proc_is_traced(o);
    pthread_mutex_unlock(&t->proc->threads_lock);
    if (others || t->shares_memory)
        return;
    take_all(t, false);
    atomic_fetch_and(&t->proc->debug, ~(unsigned)PROC_DEBUG_PTRACE);
}

/* Code that the tracer may have written, breakpoints most of all. */
static void look_at_code(struct proc_thread *t)
{
    if (t->tracee->go.changed)
        jit_code_changed(t->proc->jit, 0, PROC_TASK_SIZE);
    t->tracee->go.changed = 0;
}

/* Stops until the tracer lets go; what it wants then is in t->tracee->go. A
 * request that comes at the same time can keep the mark from being queued. */
static void stop(struct proc_thread *t, uint32_t what, const siginfo_t *info)
{
    struct proc_tracee *e = t->tracee;
    volatile uint32_t *resumed = &e->go.resumed, *unheard = &e->unheard;

    e->stop = what;
    e->has_info = info != NULL;
    if (info)
        memcpy(e->info, info, sizeof e->info);
    e->go.mode = PROC_TRACE_CONT;
    e->go.sig = 0;
    e->unheard = e->go.resumed = e->go.mask_set = 0;
    while (!*resumed && !*unheard)
        send_mark(t, SIGTRAP, PROC_TRACE_STOP, (uint64_t)e);
    if (e->go.mask_set)
        proc_sigmask_set_host(t->sig->mask);
    look_at_code(t);
    if (!*resumed || e->go.mode == PROC_TRACE_DETACH)
        end(t);
    if (e->go.interrupt)
        t->trace_request |= REQUEST_INTERRUPT;
    e->go.interrupt = 0;
    if (t->trace_request)
        jit_poll_request(t->vcpu);
}

static void fill_info(siginfo_t *info, int sig, int code)
{
    memset(info, 0, sizeof *info);
    info->si_signo = sig;
    info->si_code = code;
    info->si_pid = getpid();
    info->si_uid = getuid();
}

/* A stop that is no signal's, and the signal that the tracer sends at its end. */
static void stop_event(struct proc_thread *t, uint32_t event)
{
    siginfo_t info;

    fill_info(&info, SIGTRAP, (int)(SIGTRAP | event << 8));
    stop(t, SIGTRAP | event << 8, &info);
}

int proc_tracee_signal(struct proc_thread *t, siginfo_t *info)
{
    struct proc_tracee *e = t->tracee;
    int sig = info->si_signo;

    e->op = PTRACE_SYSCALL_INFO_NONE;
    stop(t, (uint32_t)sig, info);
    if (!e->go.resumed)
        return sig; /* the tracer is gone */
    if ((int)e->go.sig == sig) {
        memcpy(info, e->info, sizeof e->info);
    } else if (e->go.sig) {
        fill_info(info, (int)e->go.sig, SI_USER);
        info->si_pid = getppid();
    }
    return (int)e->go.sig;
}

void proc_tracee_stop_by(struct proc_thread *t, int sig)
{
    struct proc_signals *table = t->sig->table;

    pthread_mutex_lock(&table->lock);
    if (sig != SIGSTOP)
        proc_signal_default(sig);
    send_mark(t, sig, PROC_TRACE_GENUINE, 0);
    if (sig != SIGSTOP)
        proc_signal_mirror(table, sig);
    pthread_mutex_unlock(&table->lock);
}

/* ---- requests -------------------------------------------------------- */

void proc_tracee_me(struct proc_thread *t)
{
    /* A vfork child's memory is its parent's, whom this does not concern; all
     * it does is to execute a program, and that begins anew. */
    if (!t->shares_memory)
        begin(t, 0, false);
}

void proc_tracee_requests(struct proc_thread *t)
{
    uint64_t r = atomic_exchange(&t->trace_request, 0);
    siginfo_t info;

    t->debug.kicked = 0;
    if (r & REQUEST_ATTACH)
        begin(t, (uint32_t)r & (uint32_t)~PROC_TRACE_SEIZED, r & PROC_TRACE_SEIZED);
    if (!proc_is_traced(t))
        return;
    fill_info(&info, SIGSTOP, SI_USER);
    info.si_pid = 0;
    if ((r & (REQUEST_ATTACH | REQUEST_FIRST_STOP)) && !t->tracee->seized)
        proc_signal_post(t, SIGSTOP, &info);
    else if (r & (REQUEST_INTERRUPT | REQUEST_FIRST_STOP))
        stop_event(t, PTRACE_EVENT_STOP);
}

/* ---- system calls ---------------------------------------------------- */

static void stop_call(struct proc_thread *t, uint8_t op)
{
    struct proc_tracee *e = t->tracee;
    uint32_t good = e->options & PTRACE_O_TRACESYSGOOD ? 0x80 : 0;
    siginfo_t info;

    e->op = op;
    fill_info(&info, SIGTRAP, (int)(SIGTRAP | good));
    stop(t, SIGTRAP | good, &info);
    if (e->go.sig) {
        fill_info(&info, (int)e->go.sig, SI_KERNEL);
        proc_signal_post(t, (int)e->go.sig, &info);
    }
}

/* Behind the call: the registers are as the guest will find them. */
static long stop_exit(struct proc_thread *t, long r)
{
    uint64_t a0 = t->rv->x[RV_A0];

    if (!t->no_advance) {
        t->rv->x[RV_A0] = (uint64_t)r;
        t->rv->pc += 4;
    }
    t->tracee->result = (int64_t)t->rv->x[RV_A0];
    stop_call(t, PTRACE_SYSCALL_INFO_EXIT);
    if (r == -PROC_ERESTARTSYS && !t->no_advance) {
        t->rv->x[RV_A0] = a0;
        t->rv->pc -= 4;
    } else {
        t->no_advance = true;
        r = 0;
    }
    return r;
}

/* Calls that the kernel makes again after a signal without a handler, though
 * SA_RESTART does nothing for them: the host had a handler, ours. */
static bool goes_on(const struct proc_thread *t, uint64_t nr)
{
    enum {
        NR_PSELECT6 = 72, NR_PPOLL, NR_FUTEX = 98, NR_NANOSLEEP = 101, NR_CLOCK_NANOSLEEP = 115
    };

    return !t->mask_temp && (nr == NR_PSELECT6 || nr == NR_PPOLL || nr == NR_FUTEX ||
                             nr == NR_NANOSLEEP || nr == NR_CLOCK_NANOSLEEP);
}

long proc_tracee_call(struct proc_thread *t, uint64_t nr, const uint64_t *given)
{
    struct proc_tracee *e = t->tracee;
    uint64_t args[6];
    long r;

    memcpy(args, given, sizeof args);
    e->in_call = 1;
    e->nr = nr;
    memcpy(e->args, args, sizeof args);
    if (e->go.mode == PROC_TRACE_SYSCALL) {
        stop_call(t, PTRACE_SYSCALL_INFO_ENTRY);
        nr = t->rv->x[RV_A7]; /* the tracer may have put others there */
        for (int i = 0; i < 6; i++)
            args[i] = t->rv->x[RV_A0 + i];
        if (t->trace_request || t->vcpu->poll)
            jit_poll_request(t->vcpu);
    }
    r = (int)nr == -1 ? -ENOSYS : proc_dispatch(t, nr, args);
    e = t->tracee; /* the child of a fork may have none */
    if (!e)
        return r;
    e->in_call = 0;
    look_at_code(t);
    if (r == -EINTR && t->debug.kicked && !proc_signal_taken(t))
        r = -PROC_ERESTARTSYS;
    if (r == -EINTR && e->traced && goes_on(t, nr)) {
        t->restart_unless = true;
        r = -PROC_ERESTARTSYS;
    }
    if (e->traced && e->go.mode == PROC_TRACE_SYSCALL)
        r = stop_exit(t, r);
    e->op = PTRACE_SYSCALL_INFO_NONE;
    return r;
}

bool proc_tracee_run(struct proc_thread *t, enum jit_stop *how)
{
    struct proc_tracee *e = t->tracee;
    siginfo_t info;

    if (e->stepped) {
        e->stepped = 0;
        *how = JIT_STOP_STEP;
    } else if (e->go.mode == PROC_TRACE_STEP) {
        *how = jit_step(t->vcpu);
        e->stepped = *how != JIT_STOP_STEP && *how != JIT_STOP_POLL;
    } else {
        return false;
    }
    if (*how != JIT_STOP_STEP)
        return true;
    fill_info(&info, SIGTRAP, TRAP_TRACE);
    info.si_addr = (void *)t->rv->pc;
    stop(t, SIGTRAP, &info);
    return true;
}

/* ---- children and programs ------------------------------------------- */

/* kernel/fork.c, kernel_clone(): which event a child is, and so whether it is
 * traced from birth. */
static bool is_traced_child(const struct proc_tracee *e, const struct proc_clone *c)
{
    uint32_t want = PTRACE_O_TRACEFORK;

    if (c->flags & CLONE_UNTRACED)
        return false;
    if (c->flags & CLONE_VFORK)
        want = PTRACE_O_TRACEVFORK;
    else if (c->exit_signal != SIGCHLD)
        want = PTRACE_O_TRACECLONE;
    return e->options & want;
}

void proc_tracee_inherit(struct proc_thread *parent, struct proc_thread *child,
                         const struct proc_clone *c)
{
    const struct proc_tracee *e = parent->tracee;
    bool traced = e && e->traced && is_traced_child(e, c);
    uint32_t options = traced ? e->options : 0;
    bool seized = traced && e->seized;

    child->trace_request = 0;
    if (traced) {
        block_new(child, options, seized);
        child->trace_request = REQUEST_FIRST_STOP;
        jit_poll_request(child->vcpu);
    } else if (child == parent && e) { /* forked: the others are not here */
        end(child);
        free(child->tracee);
        child->tracee = NULL;
    }
}

void proc_tracee_start(struct proc_thread *t)
{
    uint64_t flags = getauxval(AT_FLAGS);
    uint32_t options = (uint32_t)flags & ((1u << PROC_TRACE_MODE_BIT) - 1);
    bool calls;
    siginfo_t info;

    if ((flags & ~0xffffffffull) != PROC_TRACE_EXEC)
        return;
    begin(t, options, flags & PROC_TRACE_SEIZED);
    calls = (flags >> PROC_TRACE_MODE_BIT & 3) == PROC_TRACE_SYSCALL;
    t->tracee->nr = 221;
    t->tracee->result = 0;
    if (options & PTRACE_O_TRACEEXEC) {
        stop_event(t, PTRACE_EVENT_EXEC);
        calls = proc_is_traced(t) && t->tracee->go.mode == PROC_TRACE_SYSCALL;
    }
    if (calls)
        stop_call(t, PTRACE_SYSCALL_INFO_EXIT);
    t->tracee->op = PTRACE_SYSCALL_INFO_NONE;
    if (!proc_is_traced(t) || (options & PTRACE_O_TRACEEXEC) || t->tracee->seized)
        return;
    fill_info(&info, SIGTRAP, SI_USER);
    proc_signal_post(t, SIGTRAP, &info);
}
