/* proc_debug.c: where tools get hold of the guest's threads.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Between two guest instructions a thread is in the run loop, with all its
 * registers in place; there it parks when it is asked to. To get it there it is
 * kicked: poll is set, and a SIGTRAP is sent to its host thread with a value
 * that only this file knows. That signal is never blocked on the host
 * (PROC_SYNC_SIGNALS), so the kick arrives whatever the guest has blocked, and
 * its handler does what the handler of any signal does: it makes a host call
 * that waits give up. Unlike a signal the guest does not see it: the call is
 * made again when the thread goes on.
 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    KICK_EVERY = 20,   /* ms; a kick may come just before a wait that misses it */
    STOP_PATIENCE = 500 /* ms for threads in host calls that go on regardless */
};

static pthread_mutex_t park_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t park_change = PTHREAD_COND_INITIALIZER;
/* Tools that want to see every signal by which the guest dies are there. */
static bool catch_all;
static const char kick_mark; /* its address is the kick's value */

/* ---- kicks ----------------------------------------------------------- */

static void kick(struct proc_thread *t)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = SIGTRAP;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)&kick_mark;
    jit_poll_request(t->vcpu);
    proc_raw(SYS_rt_tgsigqueueinfo, (uint64_t)getpid(), (uint64_t)t->tid, SIGTRAP, (uint64_t)&info,
             0, 0);
}

bool proc_debug_kick(struct proc_thread *t, int sig, const siginfo_t *info, void *ucontext)
{
    if (sig != SIGTRAP || info->si_code != SI_QUEUE || info->si_value.sival_ptr != &kick_mark)
        return false;
    if (t) {
        t->debug.kicked = 1;
        jit_poll_request(t->vcpu);
        proc_safe_rewind(ucontext);
    }
    return true;
}

/* ---- parking --------------------------------------------------------- */

void proc_debug_park(struct proc_thread *t)
{
    pthread_mutex_lock(&park_lock);
    while ((atomic_load(&t->proc->debug) & PROC_DEBUG_STOP) || t->debug.hold) {
        t->debug.parked = 1;
        pthread_cond_wait(&park_change, &park_lock);
    }
    t->debug.parked = 0;
    pthread_mutex_unlock(&park_lock);
}

void proc_debug_wake(void)
{
    pthread_mutex_lock(&park_lock);
    pthread_cond_broadcast(&park_change);
    pthread_mutex_unlock(&park_lock);
}

/* Kicks those that are not parked yet; how many they are. */
static unsigned kick_others(struct proc *p, const struct proc_thread *self, bool now)
{
    unsigned n = 0;

    pthread_mutex_lock(&p->threads_lock);
    for (struct proc_thread *t = p->threads; t; t = t->next) {
        if (t == self || t->debug.parked)
            continue;
        n++;
        if (now)
            kick(t);
    }
    pthread_mutex_unlock(&p->threads_lock);
    return n;
}

void proc_debug_stop_others(struct proc *p, const struct proc_thread *self)
{
    atomic_fetch_or(&p->debug, PROC_DEBUG_STOP);
    for (unsigned ms = 0; ms < STOP_PATIENCE; ms++) {
        if (!kick_others(p, self, ms % KICK_EVERY == 0))
            return;
        usleep(1000);
    }
}

void proc_debug_release(struct proc *p)
{
    atomic_fetch_and(&p->debug, ~(unsigned)PROC_DEBUG_STOP);
    proc_debug_wake();
}

/* ---- hooks ----------------------------------------------------------- */

int proc_debug_start(struct proc_thread *t)
{
    const struct isomer_run_options *o = t->proc->opt;
    int status = 0;

    if (o->trace)
        status = proc_trace_start(t);
    if (!status && o->gdb)
        status = proc_gdb_start(t);
    catch_all = o->trace || o->gdb;
    for (int sig = 1; sig <= PROC_NSIG && !status; sig++)
        if (proc_debug_catches(sig) && t->proc->sig->action[sig].handler == PROC_SIG_DFL)
            proc_signal_mirror(t->proc->sig, sig);
    return status;
}

enum jit_stop proc_debug_run(struct proc_thread *t)
{
    enum jit_stop stop;

    for (;;) {
        unsigned bits = atomic_load(&t->proc->debug);

        if ((bits & PROC_DEBUG_PTRACE) && proc_is_traced(t) && proc_tracee_run(t, &stop))
            return stop;
        if (t->shares_memory) /* another process, which is not watched */
            return bits & PROC_DEBUG_GDB ? (proc_gdb_run(t, &stop), stop) : jit_run(t->vcpu);
        if ((bits & PROC_DEBUG_STOP) || t->debug.hold)
            proc_debug_park(t);
        else if (!(bits & PROC_DEBUG_GDB))
            return jit_run(t->vcpu);
        else if (proc_gdb_run(t, &stop))
            return stop;
    }
}

long proc_debug_call(struct proc_thread *t, uint64_t nr, const uint64_t *args)
{
    long r;

    t->debug.kicked = 0;
    if (proc_is_traced(t))
        return proc_tracee_call(t, nr, args);
    if (atomic_load(&t->proc->debug) & PROC_DEBUG_TRACE)
        r = proc_trace_call(t, nr, args);
    else
        r = proc_dispatch(t, nr, args);
    /* The host does not restart all calls; but the guest knows of no signal. */
    if (r == -EINTR && t->debug.kicked && !proc_signal_taken(t))
        r = -PROC_ERESTARTSYS;
    return r;
}

int proc_debug_signal(struct proc_thread *t, siginfo_t *info)
{
    unsigned bits = atomic_load(&t->proc->debug);

    if (bits & PROC_DEBUG_TRACE)
        proc_trace_signal(t, info);
    if (proc_is_traced(t))
        return proc_tracee_signal(t, info);
    if ((bits & PROC_DEBUG_GDB) && !t->shares_memory)
        return proc_gdb_signal(t, info);
    return info->si_signo;
}

/* The kernel's sig_kernel_only and coredump sets are what dies by default. */
static bool dies_by_default(int sig)
{
    return sig != SIGCHLD && sig != SIGCONT && sig != SIGURG && sig != SIGWINCH &&
           sig != SIGSTOP && sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU && sig != SIGKILL;
}

bool proc_debug_catches(int sig)
{
    struct rlimit core;

    if (catch_all)
        return dies_by_default(sig);
    return proc_core_signal(sig) && !getrlimit(RLIMIT_CORE, &core) && core.rlim_cur;
}

void proc_debug_death(struct proc_thread *t, int sig, const siginfo_t *info)
{
    static atomic_bool dying;

    if (atomic_exchange(&dying, true) && !t->shares_memory)
        for (;;) /* another thread is at it; the end comes from there */
            pause();
    if (proc_core_signal(sig))
        proc_core_dump(t, sig, info);
    if (t->shares_memory) {
        dying = false;
        return;
    }
    proc_trace_end(t->proc, 0, sig);
    proc_gdb_end(t->proc, 0, sig);
}

void proc_debug_exit(struct proc *p, int status)
{
    proc_trace_end(p, status, 0);
    proc_gdb_end(p, status, 0);
}

void proc_debug_thread_end(struct proc_thread *t, int status)
{
    proc_trace_thread_end(t, status);
}

void proc_debug_fork_child(struct proc_thread *t)
{
    pthread_mutex_init(&park_lock, NULL);
    pthread_cond_init(&park_change, NULL);
    atomic_fetch_and(&t->proc->debug, ~(unsigned)PROC_DEBUG_STOP);
    t->debug.hold = t->debug.parked = 0;
    proc_gdb_fork_child(t);
}
