/* proc_signal.c: guest signals: taken from the host, delivered to the guest.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Signal numbers, siginfo and process and thread ids are the host's, so the
 * host kernel does as much as possible: its action for a signal is the
 * guest's where that is SIG_DFL or SIG_IGN (hence stopping, continuing, dying
 * and ignoring need nothing here), and each host thread's blocked set is its
 * guest thread's, so queues, order and the choice of a thread are the kernel's.
 * Only where the guest has a handler is ours installed.
 *
 * Taking. Our handler stores siginfo in a record of the thread, sets the
 * vCPU's poll flag and leaves the host thread with everything blocked: further
 * signals stay queued in the kernel until this one is delivered. (A change of
 * the mask may let in a second one, hence a short ring.) If the thread was
 * about to enter a blocking host call, that is given up (proc_safe_rewind).
 *
 * Delivering. The run loop calls proc_signal_deliver() between two guest
 * instructions. It builds the frame, then gives the host thread the mask that
 * the handler runs with; whatever the kernel still has is taken at once and
 * its frame goes on top, as the kernel would have done.
 *
 * Exceptions. SIGILL, SIGTRAP, SIGBUS, SIGFPE and SIGSEGV always have our
 * handler and are never blocked on the host (PROC_SYNC_SIGNALS): translated
 * code and checked copies fault. If such a signal is *sent*, it waits in its
 * own record for as long as the guest blocks it.
 *
 * Rule: a signal may be taken at any moment in our code. A call that changes
 * what the guest blocks must therefore look at what was taken before it, and
 * begin again after delivery if the signal would not be allowed after it
 * (t->sig->no_eintr).
 *
 * glibc keeps signals 32 and 33 for itself and hides them from sigaction() and
 * sigfillset(); the guest's glibc needs them too, so all calls here are raw.
 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* struct sigaction of the x86-64 kernel. */
struct host_action {
    void (*handler)(int, siginfo_t *, void *);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};
#define HOST_SA_RESTORER 0x04000000

void proc_signal_restorer(void);
__asm__(".text\n"
        ".type proc_signal_restorer, @function\n"
        ".globl proc_signal_restorer\n"
        ".hidden proc_signal_restorer\n"
        "    nop\n" /* unwinders look up the byte before a return address */
        "proc_signal_restorer:\n"
        "    movq $15, %rax\n" /* as the C library has it: debuggers know these bytes */
        "    syscall\n"
        ".size proc_signal_restorer, . - proc_signal_restorer\n");

static long host_sigaction(int sig, const struct host_action *act, struct host_action *old)
{
    return proc_raw(SYS_rt_sigaction, (uint64_t)sig, (uint64_t)act, (uint64_t)old, 8, 0, 0);
}

/* ---- masks ----------------------------------------------------------- */

static uint64_t host_sigmask(uint64_t set)
{
    uint64_t old = 0;

    proc_raw(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&set, (uint64_t)&old, 8, 0, 0);
    return old;
}

void proc_sigmask_set_host(uint64_t set) { host_sigmask(proc_sigmask_host(set)); }

uint64_t proc_sigmask_block_all(void) { return host_sigmask(~PROC_SYNC_SIGNALS); }

/* ---- taken signals --------------------------------------------------- */

/* Record of a signal that the host never blocks; -1 for all others. */
static int sync_record(int sig)
{
    switch (sig) {
    case SIGILL: return 0;
    case SIGTRAP: return 1;
    case SIGBUS: return 2;
    case SIGFPE: return 3;
    case SIGSEGV: return 4;
    default: return -1;
    }
}

void proc_signal_post(struct proc_thread *t, int sig, const siginfo_t *info)
{
    struct proc_thread_signals *s = t->sig;
    int r = sync_record(sig);
    uint32_t in = atomic_load(&s->taken_in);

    if (r >= 0) { /* of these only one can wait, like of any below SIGRTMIN */
        if (!(atomic_load(&s->sync_filled) & 1u << r)) {
            s->sync[r] = *info;
            s->sync[r].si_signo = sig;
            atomic_fetch_or(&s->sync_filled, 1u << r);
        }
    } else if (in - atomic_load(&s->taken_out) < PROC_TAKEN_MAX) {
        s->taken[in % PROC_TAKEN_MAX] = *info;
        s->taken[in % PROC_TAKEN_MAX].si_signo = sig;
        atomic_store(&s->taken_in, in + 1);
    }
    jit_poll_request(t->vcpu);
}

/* Is anything waiting that the host could block? */
static bool any_taken(const struct proc_thread_signals *s)
{
    return atomic_load(&s->taken_in) != atomic_load(&s->taken_out);
}

uint64_t proc_signal_taken(const struct proc_thread *t)
{
    struct proc_thread_signals *s = t->sig;
    uint32_t filled = atomic_load(&s->sync_filled);
    uint64_t set = 0;

    for (int r = 0; filled && r < PROC_SYNC_RECORDS; r++)
        if (filled & 1u << r)
            set |= proc_sigbit(s->sync[r].si_signo);
    for (uint32_t i = atomic_load(&s->taken_out); i != atomic_load(&s->taken_in); i++)
        set |= proc_sigbit(s->taken[i % PROC_TAKEN_MAX].si_signo);
    return set;
}

int proc_signal_take_sync(struct proc_thread *t, uint64_t set, siginfo_t *info)
{
    struct proc_thread_signals *s = t->sig;
    uint32_t filled = atomic_load(&s->sync_filled);

    for (int r = 0; filled && r < PROC_SYNC_RECORDS; r++) {
        int sig = s->sync[r].si_signo;

        if (!(filled & 1u << r) || !(set & proc_sigbit(sig)))
            continue;
        *info = s->sync[r];
        atomic_fetch_and(&s->sync_filled, ~(1u << r));
        return sig;
    }
    return 0;
}

bool proc_signal_must_restart(struct proc_thread *t)
{
    if (!(proc_signal_taken(t) & ~(t->sig->mask & PROC_SYNC_SIGNALS)))
        return false;
    t->sig->no_eintr = true;
    jit_poll_request(t->vcpu);
    return true;
}

/* ---- the host's handler ---------------------------------------------- */

/* A fault of our own: say where, then die by it. */
static void own_fault(int sig, const siginfo_t *info, void *ucontext)
{
    const ucontext_t *uc = ucontext;
    struct host_action dfl = {0};
    char text[160];
    int n = snprintf(text, sizeof text,
                     "isomer: internal fault: signal %d at pc %#llx, address %p\n", sig,
                     (unsigned long long)uc->uc_mcontext.gregs[REG_RIP], info->si_addr);

    if (write(2, text, (size_t)n) < 0)
        return;
    dfl.flags = HOST_SA_RESTORER;
    dfl.restorer = proc_signal_restorer;
    host_sigaction(sig, &dfl, NULL);
}

/* si_code of what the kernel raises for an instruction; those of kill(),
 * sigqueue() and timers are zero or negative. */
static bool is_fault(int sig, const siginfo_t *info)
{
    return (PROC_SYNC_SIGNALS & proc_sigbit(sig)) && info->si_code > 0;
}

static void host_handler(int sig, siginfo_t *info, void *ucontext)
{
    struct proc_thread *t = proc_self;
    ucontext_t *uc = ucontext;
    int saved_errno = errno;

    if (is_fault(sig, info)) {
        if ((sig == SIGSEGV || sig == SIGBUS) && proc_copy_fault(ucontext))
            return;
        if (!t || !jit_handle_fault(t->vcpu, sig, info, ucontext))
            own_fault(sig, info, ucontext);
        errno = saved_errno;
        return;
    }
    if (proc_debug_kick(t, sig, info, ucontext) || proc_tracee_mark(t, sig, info, ucontext)) {
        errno = saved_errno;
        return;
    }
    if (t) {
        uint64_t all = ~PROC_SYNC_SIGNALS;

        proc_signal_post(t, sig, info);
        if (!(PROC_SYNC_SIGNALS & proc_sigbit(sig)))
            memcpy(&uc->uc_sigmask, &all, sizeof all);
        proc_safe_rewind(ucontext);
    }
    errno = saved_errno;
}

/* Default actions that do nothing. */
static bool default_ignores(int sig)
{
    return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}
static bool default_stops(int sig)
{
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

void proc_signal_mirror(const struct proc_signals *table, int sig)
{
    const struct proc_action *act = &table->action[sig];
    struct host_action h = {0};

    if (sig == SIGKILL || sig == SIGSTOP)
        return;
    h.restorer = proc_signal_restorer;
    h.flags = HOST_SA_RESTORER | SA_RESTART | (act->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT));
    if (act->handler > PROC_SIG_IGN || (PROC_SYNC_SIGNALS & proc_sigbit(sig)) ||
        (act->handler == PROC_SIG_DFL && proc_debug_catches(sig)) || proc_tracee_takes_all()) {
        h.handler = host_handler;
        h.flags |= SA_SIGINFO | SA_ONSTACK;
        h.mask = ~(uint64_t)0;
        if (sig == SIGCHLD && act->handler == PROC_SIG_IGN)
            h.flags |= SA_NOCLDWAIT;
    } else {
        h.handler = act->handler == PROC_SIG_IGN ? (void *)SIG_IGN : (void *)SIG_DFL;
    }
    host_sigaction(sig, &h, NULL);
}

void proc_signal_default(int sig)
{
    struct host_action h = {.flags = HOST_SA_RESTORER, .restorer = proc_signal_restorer};

    host_sigaction(sig, &h, NULL);
}

void proc_signal_expose(int sig)
{
    struct host_action h = {0};

    h.handler = (void *)SIG_IGN;
    h.flags = HOST_SA_RESTORER;
    h.restorer = proc_signal_restorer;
    host_sigaction(sig, &h, NULL);
}

/* ---- beginning and end ----------------------------------------------- */

void proc_signal_init(struct proc *p)
{
    p->sig = base_zalloc(sizeof *p->sig);
    pthread_mutex_init(&p->sig->lock, NULL);
    for (int sig = 1; sig <= PROC_NSIG; sig++) {
        struct host_action h = {0};

        if (sig == SIGKILL || sig == SIGSTOP)
            continue;
        host_sigaction(sig, NULL, &h);
        if ((void *)h.handler == (void *)SIG_IGN)
            p->sig->action[sig].handler = PROC_SIG_IGN;
        else if (proc_debug_catches(sig))
            proc_signal_mirror(p->sig, sig);
        if (PROC_SYNC_SIGNALS & proc_sigbit(sig))
            proc_signal_mirror(p->sig, sig);
    }
}

void proc_signal_host_stack(struct proc_thread *t)
{
    stack_t ss = {.ss_size = PROC_HOST_STACK};

    if (!t->sig->host_stack) {
        t->sig->host_stack = mmap(NULL, PROC_HOST_STACK, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        BASE_ASSERT(t->sig->host_stack != MAP_FAILED);
    }
    ss.ss_sp = t->sig->host_stack;
    sigaltstack(&ss, NULL);
}

void proc_signal_thread_init(struct proc_thread *t)
{
    if (!t->sig) { /* the first thread: blocks what isomer was started with */
        t->sig = base_zalloc(sizeof *t->sig);
        t->sig->table = t->proc->sig;
        proc_raw(SYS_rt_sigprocmask, SIG_SETMASK, 0, (uint64_t)&t->sig->mask, 8, 0, 0);
        proc_sigmask_set_host(t->sig->mask);
    }
    proc_signal_host_stack(t);
}

void proc_signal_thread_exit(struct proc_thread *t)
{
    stack_t ss = {.ss_flags = SS_DISABLE};

    proc_sigmask_block_all();
    sigaltstack(&ss, NULL);
    munmap(t->sig->host_stack, PROC_HOST_STACK);
    t->sig->host_stack = NULL;
}

struct proc_thread_signals *proc_signals_inherit(const struct proc_thread *parent)
{
    struct proc_thread_signals *s = base_zalloc(sizeof *s);

    s->table = parent->sig->table;
    s->mask = parent->sig->mask;
    return s;
}

struct proc_signals *proc_signals_copy(struct proc_signals *from)
{
    struct proc_signals *copy = base_alloc(sizeof *copy);

    pthread_mutex_lock(&from->lock);
    memcpy(copy->action, from->action, sizeof copy->action);
    pthread_mutex_unlock(&from->lock);
    pthread_mutex_init(&copy->lock, NULL);
    return copy;
}

/* ---- mask of a waiting call ------------------------------------------ */

void proc_sigmask_temp(struct proc_thread *t, uint64_t set)
{
    t->sig->saved_mask = t->sig->mask;
    t->sig->mask = set & ~PROC_UNBLOCKABLE;
    t->mask_temp = true;
    jit_poll_request(t->vcpu);
}

static void end_temp(struct proc_thread *t)
{
    if (!t->mask_temp)
        return;
    t->mask_temp = false;
    t->sig->mask = t->sig->saved_mask;
    if (!any_taken(t->sig))
        proc_sigmask_set_host(t->sig->mask);
    if (proc_signal_taken(t) & ~t->sig->mask)
        jit_poll_request(t->vcpu);
}

/* ---- delivery -------------------------------------------------------- */

/* Ends the process by sig, whatever the guest's action for it is: the parent
 * sees the signal. Raw calls: the C library would neither touch 32 and 33 nor
 * know the thread id of a vfork child. */
static _Noreturn void die(struct proc_thread *t, int sig, const siginfo_t *info)
{
    struct host_action dfl = {.flags = HOST_SA_RESTORER, .restorer = proc_signal_restorer};
    struct rlimit none = {0, 0};
    uint64_t all_but = ~(proc_sigbit(sig) | PROC_SYNC_SIGNALS);

    if (!t->shares_memory && !atomic_exchange(&t->proc->exiting, 1))
        proc_print_stats(t->proc);
    proc_debug_death(t, sig, info);
    setrlimit(RLIMIT_CORE, &none); /* a core would be of the emulator */
    host_sigaction(sig, &dfl, NULL);
    proc_raw(SYS_tgkill, (uint64_t)getpid(), (uint64_t)t->tid, (uint64_t)sig, 0, 0, 0);
    host_sigmask(all_but);
    for (;;)
        proc_raw(SYS_exit_group, 128 + (uint64_t)sig, 0, 0, 0, 0, 0);
}

/* The guest's action for sig as a handler is about to run. */
static struct proc_action fetch_action(struct proc_thread *t, int sig)
{
    struct proc_signals *table = t->sig->table;
    struct proc_action act;

    pthread_mutex_lock(&table->lock);
    act = table->action[sig];
    if (act.handler > PROC_SIG_IGN && (act.flags & SA_RESETHAND)) {
        table->action[sig].handler = PROC_SIG_DFL;
        proc_signal_mirror(table, sig);
    }
    pthread_mutex_unlock(&table->lock);
    return act;
}

/* What an interrupted call gives once a handler with these flags runs. */
static void settle_restart(struct proc_thread *t, const struct proc_action *act)
{
    if (t->restart && !t->sig->no_eintr && (t->restart_unless || !(act->flags & SA_RESTART))) {
        t->rv->x[10] = (uint64_t)-EINTR;
        t->rv->pc += 4;
    }
    t->restart = t->restart_unless = t->sig->no_eintr = false;
}

/* Runs a handler: frame on the guest's stack, masks. */
static void enter_handler(struct proc_thread *t, int sig, const struct proc_action *act,
                          const siginfo_t *info)
{
    struct proc_thread_signals *s = t->sig;
    uint64_t old = t->mask_temp ? s->saved_mask : s->mask;

    t->mask_temp = false;
    if (proc_frame_push(t, act, info, old) < 0) {
        struct proc_action segv = fetch_action(t, SIGSEGV);

        /* kernel/signal.c, signal_setup_done: force_sigsegv() */
        if (sig == SIGSEGV || segv.handler <= PROC_SIG_IGN ||
            (old & proc_sigbit(SIGSEGV)))
            die(t, SIGSEGV, info);
        s->mask = old;
        proc_signal_force(t, SIGSEGV, SI_KERNEL, 0);
        return;
    }
    s->mask |= act->mask;
    if (!(act->flags & SA_NODEFER))
        s->mask |= proc_sigbit(sig);
    proc_sigmask_set_host(s->mask);
}

static void default_action(struct proc_thread *t, int sig, const siginfo_t *info)
{
    if (default_ignores(sig))
        return;
    if (!default_stops(sig))
        die(t, sig, info);
    if (proc_tracee_takes_all()) {
        proc_tracee_stop_by(t, sig);
        return;
    }
    /* The action became SIG_DFL after the signal was taken: let the host do it. */
    proc_raw(SYS_kill, (uint64_t)getpid(), (uint64_t)sig, 0, 0, 0, 0);
}

/* The next signal to deliver, or 0. What the guest blocks by now (only a
 * second one taken before the first was delivered can be) goes back. */
static int next_signal(struct proc_thread *t, siginfo_t *info)
{
    struct proc_thread_signals *s = t->sig;

    while (any_taken(s)) {
        uint32_t out = atomic_load(&s->taken_out);

        *info = s->taken[out % PROC_TAKEN_MAX];
        atomic_store(&s->taken_out, out + 1);
        if (!(s->mask & proc_sigbit(info->si_signo)))
            return info->si_signo;
        proc_sigmask_set_host(s->mask);
        proc_raw(SYS_rt_tgsigqueueinfo, (uint64_t)getpid(), (uint64_t)t->tid,
                 (uint64_t)info->si_signo, (uint64_t)info, 0, 0);
    }
    return proc_signal_take_sync(t, ~s->mask, info);
}

void proc_signal_deliver(struct proc_thread *t)
{
    struct proc_thread_signals *s = t->sig;
    siginfo_t info;
    int sig;

    t->vcpu->poll = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (base_unlikely(t->trace_request))
        proc_tracee_requests(t);
    while ((sig = next_signal(t, &info))) {
        struct proc_action act;

        if (base_unlikely(t->proc->debug) && !(sig = proc_debug_signal(t, &info))) {
            proc_sigmask_set_host(s->mask);
            continue;
        }
        act = fetch_action(t, sig);
        if (act.handler > PROC_SIG_IGN) {
            settle_restart(t, &act);
            enter_handler(t, sig, &act, &info);
            continue;
        }
        proc_sigmask_set_host(s->mask);
        if (act.handler == PROC_SIG_DFL)
            default_action(t, sig, &info);
    }
    end_temp(t);
    t->restart = t->restart_unless = s->no_eintr = false;
}

void proc_signal_die(struct proc_thread *t, const siginfo_t *info) { die(t, info->si_signo, info); }

void proc_signal_force_info(struct proc_thread *t, siginfo_t *info)
{
    struct proc_action act;
    int sig = info->si_signo;

    t->restart = false;
    if (base_unlikely(t->proc->debug) && !(sig = proc_debug_signal(t, info)))
        return;
    act = fetch_action(t, sig);
    if (act.handler <= PROC_SIG_IGN || (t->sig->mask & proc_sigbit(sig)))
        die(t, sig, info);
    enter_handler(t, sig, &act, info);
}

void proc_signal_force(struct proc_thread *t, int sig, int code, uint64_t addr)
{
    siginfo_t info;

    /* x86 reports an address that is not canonical without saying which, and
     * as SIGBUS if its stack pointer or rbp is the base. */
    if ((sig == SIGSEGV || sig == SIGBUS) && code == SI_KERNEL && !addr) {
        sig = SIGSEGV;
        addr = proc_fault_address(t);
        code = SEGV_MAPERR;
    }
    if (sig == SIGBUS && code == BUS_ADRALN)
        addr = proc_fault_address(t);
    memset(&info, 0, sizeof info);
    info.si_signo = sig;
    info.si_code = code;
    info.si_addr = (void *)addr;
    proc_signal_force_info(t, &info);
}
