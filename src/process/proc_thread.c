/* proc_thread.c: guest threads: clone, tids, exit. SPDX-License-Identifier: Apache-2.0
 *
 * One host thread per guest thread, made by pthread_create(), so that it has a
 * TLS block and our C library works on it. The guest's thread pointer is x4 and
 * nothing else. Thread ids are the host's.
 *
 * The kernel's clear_child_tid belongs to the host's C library, so the guest's
 * is done here, last of all: who joins the guest thread may reuse its stack at
 * once. The robust list is registered with the host kernel as it is (the lists
 * have one layout and no host mutex of ours is robust): a process that is
 * killed leaves its mutexes in the state that the guest expects. A thread that
 * ends walks its list itself, before the tid is cleared.
 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"
#include "process/proc_seccomp.h"

#include <limits.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { THREAD_STACK = 2 << 20 };
#else
enum { THREAD_STACK = 256 << 10 };
#endif
enum { ROBUST_LIMIT = 2048 }; /* entries followed, as in the kernel */

_Thread_local struct proc_thread *proc_self __attribute__((tls_model("initial-exec")));

static long host_futex(const void *word, int op, uint32_t value)
{
    return proc_raw(SYS_futex, (uint64_t)word, (uint64_t)op, value, 0, 0, 0);
}

/* ---- threads as objects ---------------------------------------------- */

static void link_thread(struct proc_thread *t)
{
    struct proc *p = t->proc;

    pthread_mutex_lock(&p->threads_lock);
    t->next = p->threads;
    p->threads = t;
    p->nthreads++;
    pthread_mutex_unlock(&p->threads_lock);
}

/* Takes t off the list; returns how many are left. */
static unsigned unlink_thread(struct proc_thread *t)
{
    struct proc *p = t->proc;
    struct proc_thread **at = &p->threads;
    unsigned left;

    pthread_mutex_lock(&p->threads_lock);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    left = --p->nthreads;
    pthread_mutex_unlock(&p->threads_lock);
    return left;
}

struct proc_thread *proc_thread_first(struct proc *p)
{
    struct proc_thread *t = base_zalloc(sizeof *t);

    pthread_mutex_init(&p->threads_lock, NULL);
    t->proc = p;
    t->vcpu = jit_vcpu_new(p->jit);
    BASE_ASSERT(t->vcpu);
    t->vcpu->owner = t;
    t->rv = (struct rv_state *)t->vcpu->state;
    rv_state_init(t->rv, 0);
    t->tid = gettid();
    t->host = pthread_self();
    if (!p->sig)
        proc_signal_init(p);
    link_thread(t);
    proc_self = t;
    proc_signal_thread_init(t);
    return t;
}

struct proc_thread *proc_thread_make(struct proc_thread *parent, const struct proc_clone *c)
{
    struct proc_thread *t = base_zalloc(sizeof *t);

    t->proc = parent->proc;
    t->vcpu = jit_vcpu_new(t->proc->jit);
    if (!t->vcpu) {
        free(t);
        return NULL;
    }
    t->vcpu->owner = t;
    t->rv = (struct rv_state *)t->vcpu->state;
    *t->rv = *parent->rv;
    t->rv->pc += 4;
    t->rv->x[RV_A0] = 0;
    t->rv->res.addr = 1;
    if (c->stack)
        t->rv->x[RV_SP] = c->stack;
    if (c->flags & CLONE_SETTLS)
        t->rv->x[RV_TP] = c->tls;
    if (c->flags & CLONE_CHILD_CLEARTID)
        t->clear_tid = c->child_tid;
    t->sig = proc_signals_inherit(parent);
    t->seccomp = proc_seccomp_share(parent->seccomp);
    proc_tracee_inherit(parent, t, c);
    return t;
}

void proc_thread_free(struct proc_thread *t)
{
    if (t->vcpu)
        jit_vcpu_free(t->vcpu);
    proc_seccomp_free(t->seccomp);
    free(t->sig);
    free(t->tracee);
    free(t);
}

/* ---- beginning ------------------------------------------------------- */

struct birth {
    struct proc_thread *t;
    const struct proc_clone *c;
    _Atomic uint32_t done; /* the parent waits on it */
    long error;
};

/* A guest thread that shares less than a host thread does. */
static long unshare_rest(uint64_t flags)
{
    uint64_t apart = (CLONE_FS | CLONE_FILES | CLONE_SYSVSEM) & ~flags;

    return apart ? proc_raw(SYS_unshare, apart, 0, 0, 0, 0, 0) : 0;
}

/* The C library's first pthread_create() takes signal 33 for itself. */
void proc_signal_reclaim(struct proc_thread *t)
{
    static atomic_bool done;
    struct proc_signals *table = t->sig->table;

    if (atomic_exchange(&done, true))
        return;
    pthread_mutex_lock(&table->lock);
    proc_signal_mirror(table, 33);
    pthread_mutex_unlock(&table->lock);
}

static void *thread_main(void *arg)
{
    struct birth *b = arg;
    struct proc_thread *t = b->t;
    const struct proc_clone *c = b->c;
    int32_t tid = gettid();
    jmp_buf leave;

    t->tid = tid;
    t->host = pthread_self();
    t->leave = &leave;
    proc_self = t;
    b->error = unshare_rest(c->flags);
    if (!b->error) {
        proc_signal_reclaim(t);
        proc_signal_thread_init(t);
        if (c->flags & CLONE_PARENT_SETTID)
            proc_write_guest(c->parent_tid, &tid, sizeof tid);
        if (c->flags & CLONE_CHILD_SETTID)
            proc_write_guest(c->child_tid, &tid, sizeof tid);
        link_thread(t);
    }
    tid = b->error ? 0 : tid;
    b->done = 1; /* b is gone after this */
    host_futex(&b->done, FUTEX_WAKE_PRIVATE, 1);
    if (tid && !setjmp(leave)) {
        proc_sigmask_set_host(t->sig->mask);
        proc_loop(t);
    }
    proc_self = NULL;
    return NULL;
}

static long clone_thread(struct proc_thread *t, const struct proc_clone *c)
{
    struct birth b = {.c = c};
    pthread_attr_t attr;
    pthread_t host;
    int error;

    if ((c->flags & (CLONE_VM | CLONE_SIGHAND)) != (CLONE_VM | CLONE_SIGHAND) ||
        (c->flags & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_CLEAR_SIGHAND)) ||
        c->set_tid_size)
        return -EINVAL;
    if (t->shares_memory) /* it has no TLS of its own */
        return -EAGAIN;
    proc_sigmask_block_all();
    if (proc_signal_must_restart(t))
        return -PROC_ERESTARTSYS;
    b.t = proc_thread_make(t, c);
    if (b.t) {
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, THREAD_STACK);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        error = pthread_create(&host, &attr, thread_main, &b);
        pthread_attr_destroy(&attr);
        b.error = -error;
        if (!error)
            while (!b.done)
                host_futex(&b.done, FUTEX_WAIT_PRIVATE, 0);
    } else {
        b.error = -ENOMEM;
    }
    if (b.error && b.t)
        proc_thread_free(b.t);
    proc_sigmask_set_host(t->sig->mask);
    return b.error ? b.error : b.t->tid;
}

/* ---- clone ----------------------------------------------------------- */

static long do_clone(struct proc_thread *t, const struct proc_clone *c)
{
    if ((c->flags & CLONE_THREAD) && !(c->flags & CLONE_SIGHAND))
        return -EINVAL;
    if ((c->flags & CLONE_SIGHAND) && !(c->flags & CLONE_VM))
        return -EINVAL;
    if ((c->flags & CLONE_SIGHAND) && (c->flags & CLONE_CLEAR_SIGHAND))
        return -EINVAL;
    if (c->flags & CLONE_THREAD)
        return clone_thread(t, c);
    if (!(c->flags & CLONE_VM))
        return proc_fork(t, c);
    if (!(c->flags & CLONE_VFORK) || (c->flags & CLONE_SIGHAND))
        return proc_clone_shared(t, c);
    return proc_vfork(t, c);
}

PROC_SYS(clone)
{
    struct proc_clone c = {
        .flags = (uint32_t)a[0] & ~(uint64_t)CSIGNAL,
        .exit_signal = (int)(a[0] & CSIGNAL),
        .stack = a[1],
        .pidfd = a[2], /* in its old place */
        .parent_tid = a[2],
        .tls = a[3],
        .child_tid = a[4],
    };

    if ((c.flags & CLONE_PIDFD) && (c.flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    return do_clone(t, &c);
}

PROC_SYS(clone3)
{
    struct proc_clone c;
    struct clone_args args = {0};
    uint64_t size = a[1];

    if (size > PROC_PAGE)
        return -E2BIG;
    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    for (uint64_t i = sizeof args; i < size; i++) {
        uint8_t byte;

        if (proc_read_guest(&byte, a[0] + i, 1) < 0)
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    if (proc_read_guest(&args, a[0], size < sizeof args ? size : sizeof args) < 0)
        return -EFAULT;
    if (!args.stack != !args.stack_size || args.exit_signal > PROC_NSIG ||
        (args.flags & (CLONE_DETACHED | CSIGNAL)) ||
        ((args.flags & (CLONE_THREAD | CLONE_PARENT)) && args.exit_signal))
        return -EINVAL;
    c = (struct proc_clone){
        .flags = args.flags,
        .exit_signal = (int)args.exit_signal,
        .pidfd = args.pidfd,
        .child_tid = args.child_tid,
        .parent_tid = args.parent_tid,
        .stack = args.stack + args.stack_size,
        .tls = args.tls,
        .set_tid = args.set_tid,
        .set_tid_size = args.set_tid_size,
        .cgroup = args.cgroup,
    };
    return do_clone(t, &c);
}

/* ---- ids and lists --------------------------------------------------- */

PROC_SYS(set_tid_address)
{
    t->clear_tid = a[0];
    return t->tid;
}

struct robust_head {
    uint64_t next;
    int64_t futex_offset;
    uint64_t pending;
};

PROC_SYS(set_robust_list)
{
    if (a[1] != sizeof(struct robust_head))
        return -EINVAL;
    t->robust_list = a[0];
    t->robust_len = a[1];
    return proc_raw(SYS_set_robust_list, a[0], a[1], 0, 0, 0, 0);
}

PROC_SYS(get_robust_list)
{
    if (a[0] && (pid_t)a[0] != t->tid)
        return proc_raw(SYS_get_robust_list, a[0], a[1], a[2], 0, 0, 0);
    if (proc_write_guest(a[2], &(uint64_t){sizeof(struct robust_head)}, 8) < 0)
        return -EFAULT;
    return proc_write_guest(a[1], &t->robust_list, 8);
}

/* kernel/futex/core.c, handle_futex_death(). entry: bit 0 marks a PI mutex. */
static void robust_die(const struct proc_thread *t, uint64_t entry, int64_t offset, bool pending)
{
    uint64_t addr = (entry & ~1ull) + (uint64_t)offset;
    uint32_t old, now;

    if ((addr & 3) || proc_read_guest(&old, addr, 4) < 0)
        return;
    if (pending && !(entry & 1) && !old) {
        host_futex((void *)addr, FUTEX_WAKE, 1);
        return;
    }
    do {
        if ((old & FUTEX_TID_MASK) != (uint32_t)t->tid)
            return;
        now = (old & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
    } while (!__atomic_compare_exchange_n((uint32_t *)addr, &old, now, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST));
    if (!(entry & 1) && (old & FUTEX_WAITERS))
        host_futex((void *)addr, FUTEX_WAKE, 1);
}

static void robust_exit(struct proc_thread *t)
{
    struct robust_head head;
    uint64_t entry;

    if (!t->robust_list || proc_read_guest(&head, t->robust_list, sizeof head) < 0)
        return;
    entry = head.next;
    for (unsigned n = 0; (entry & ~1ull) != t->robust_list && n < ROBUST_LIMIT; n++) {
        uint64_t next = t->robust_list;
        bool more = proc_read_guest(&next, entry & ~1ull, 8) == 0;

        if (entry != head.pending)
            robust_die(t, entry, head.futex_offset, false);
        if (!more)
            break;
        entry = next;
    }
    if (head.pending)
        robust_die(t, head.pending, head.futex_offset, true);
    t->robust_list = 0;
    proc_raw(SYS_set_robust_list, 0, sizeof head, 0, 0, 0, 0);
}

/* ---- end ------------------------------------------------------------- */

/* Tells who joins: the last thing a guest thread does. */
static void clear_tid(uint64_t addr)
{
    uint32_t zero = 0;

    if (addr && proc_write_guest(addr, &zero, sizeof zero) == 0)
        host_futex((void *)addr, FUTEX_WAKE, 1);
}

PROC_SYS(exit)
{
    struct proc *p = t->proc;
    int status = (int)a[0] & 0xff;
    bool leader = t->tid == getpid();
    uint64_t tid_addr = t->clear_tid;
    jmp_buf *leave = t->leave;

    if (t->shares_memory) {
        clear_tid(tid_addr);
        proc_raw(SYS_exit_group, (uint64_t)status, 0, 0, 0, 0, 0);
    }
    proc_sigmask_block_all();
    robust_exit(t);
    if (!unlink_thread(t)) {
        clear_tid(tid_addr);
        proc_store_save(p);
        proc_print_stats(p);
        proc_debug_exit(p, status);
        leave = NULL; /* the last: the kernel chooses which status counts */
    } else {
        proc_debug_thread_end(t, status);
    }
    proc_signal_thread_exit(t);
    proc_self = NULL;
    if (!leader)
        proc_thread_free(t); /* the leader's goes with the process */
    clear_tid(tid_addr);
    while (leader || !leave)
        proc_raw(SYS_exit, (uint64_t)status, 0, 0, 0, 0, 0);
    longjmp(*leave, 1);
}

PROC_SYS(exit_group)
{
    int status = (int)a[0] & 0xff;

    if (t->shares_memory)
        proc_raw(SYS_exit_group, (uint64_t)status, 0, 0, 0, 0, 0);
    proc_exit_group(t->proc, status);
}
