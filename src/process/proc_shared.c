/* proc_shared.c: clone with CLONE_VM, without CLONE_THREAD: a process that runs at
 * the same time in the same memory. SPDX-License-Identifier: Apache-2.0
 *
 * The child needs what a host thread has: a TLS block of the host's C library, a
 * stack, a vCPU. A keeper lends it the first: a host thread of the parent that
 * makes the child by clone(), so that both have one TLS block, and then only
 * sleeps in the kernel, by raw calls and with every signal blocked, until the
 * kernel says that the child has ended or executed a program (it clears
 * keeper->alive, CLONE_CHILD_CLEARTID). Then it frees what the child had.
 *
 * For the rest the child is like one of vfork: another process, with actions of
 * its own unless CLONE_SIGHAND shares them, that makes no threads. If it is
 * killed while it holds a lock of the emulator, the others wait for ever.
 */
#include "process/proc_ptrace.h"

#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SHARED_STACK = 256 << 10, KEEPER_STACK = 64 << 10 };

struct keeper {
    struct proc_thread *child;
    struct proc_clone c;
    bool own_table;          /* its table of actions is freed with it */
    char *stack;
    _Atomic uint32_t alive;  /* the child's tid, cleared by the kernel */
    _Atomic uint32_t *done;  /* the parent waits for it */
    long *result;
};

static long futex(const _Atomic uint32_t *word, int op, uint32_t value)
{
    return proc_raw(SYS_futex, (uint64_t)word, (uint64_t)op, value, 0, 0, 0);
}

static int child_main(void *arg)
{
    struct keeper *k = arg;
    struct proc_thread *t = k->child;
    int32_t tid = (int32_t)proc_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);

    proc_self = t;
    t->tid = tid;
    proc_signal_host_stack(t);
    if (k->c.flags & CLONE_CLEAR_SIGHAND)
        proc_signals_clear(t->sig->table);
    if (k->c.flags & CLONE_CHILD_SETTID)
        proc_write_guest(k->c.child_tid, &tid, sizeof tid);
    proc_sigmask_set_host(t->sig->mask);
    proc_loop(t);
}

/* Everything that the child had; its host thread of execution is gone. */
static void keeper_free(struct keeper *k)
{
    struct proc_thread *t = k->child;

    t->vcpu->in_code = 0; /* it may have been killed there */
    if (t->sig->host_stack)
        munmap(t->sig->host_stack, PROC_HOST_STACK);
    if (k->own_table)
        free(t->sig->table);
    free(t->sig->exec_block);
    free(t->sig->exec_env);
    proc_thread_free(t);
    munmap(k->stack, SHARED_STACK);
    free(k);
}

/* While the child is there this thread must not touch what is thread-local. */
static void *keeper_main(void *arg)
{
    const uint64_t ours = CLONE_SETTLS | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID |
                          CLONE_CLEAR_SIGHAND;
    struct keeper *k = arg;
    uint64_t all = ~0ull, ptid = k->c.flags & CLONE_PIDFD ? k->c.pidfd : k->c.parent_tid;
    _Atomic uint32_t *done = k->done;
    uint32_t alive;
    long pid;

    proc_raw(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&all, 0, 8, 0, 0);
    k->alive = 1;
    pid = clone(child_main, k->stack + SHARED_STACK,
                (int)((k->c.flags & ~ours) | CLONE_CHILD_CLEARTID) | k->c.exit_signal, k,
                (void *)ptid, NULL, (void *)&k->alive);
    *k->result = pid < 0 ? -errno : pid;
    *done = 1; /* what it and result point to is gone after this */
    futex(done, FUTEX_WAKE_PRIVATE, 1);
    while (pid > 0 && (alive = k->alive))
        futex(&k->alive, FUTEX_WAIT, alive);
    proc_self = NULL;
    keeper_free(k);
    return NULL;
}

static struct keeper *keeper_new(struct proc_thread *t, const struct proc_clone *c)
{
    struct keeper *k = base_zalloc(sizeof *k);

    k->stack = mmap(NULL, SHARED_STACK, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    k->child = k->stack == MAP_FAILED ? NULL : proc_thread_make(t, c);
    if (!k->child) {
        if (k->stack != MAP_FAILED)
            munmap(k->stack, SHARED_STACK);
        free(k);
        return NULL;
    }
    k->c = *c;
    k->child->shares_memory = true;
    k->own_table = !(c->flags & CLONE_SIGHAND);
    if (k->own_table)
        k->child->sig->table = proc_signals_copy(t->sig->table);
    return k;
}

static int keeper_start(struct keeper *k)
{
    pthread_attr_t attr;
    pthread_t host;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, KEEPER_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&host, &attr, keeper_main, k);
    pthread_attr_destroy(&attr);
    return error;
}

long proc_clone_shared(struct proc_thread *t, const struct proc_clone *c)
{
    _Atomic uint32_t done = 0;
    long result = -ENOMEM;
    struct keeper *k;
    int error;

    if (c->set_tid_size || (c->flags >> 32 & ~(CLONE_CLEAR_SIGHAND >> 32)))
        return -EINVAL;
    if (t->shares_memory) /* has no thread of its own that could keep one */
        return -EAGAIN;
    proc_sigmask_block_all();
    if (proc_signal_must_restart(t))
        return -PROC_ERESTARTSYS;
    k = keeper_new(t, c);
    if (k) {
        k->done = &done;
        k->result = &result;
        error = keeper_start(k);
        if (error) {
            result = -error;
            keeper_free(k);
        }
        while (!error && !done)
            futex(&done, FUTEX_WAIT_PRIVATE, 0);
    }
    proc_signal_reclaim(t);
    proc_sigmask_set_host(t->sig->mask);
    return result;
}
