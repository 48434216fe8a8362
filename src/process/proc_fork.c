/* proc_fork.c: fork and vfork. SPDX-License-Identifier: Apache-2.0
 *
 * fork: the host's, with the locks of engine and memory map taken around it,
 * so that the child finds them free and what they guard whole. Only the
 * calling thread exists in the child.
 *
 * vfork (CLONE_VM | CLONE_VFORK; posix_spawn too): the host's as well. The
 * child is another process in this memory, while the calling thread sleeps in
 * the kernel until the child calls execve or exits. So the child may have the
 * thread's TLS block and alternate stack; it gets a host stack, a vCPU and a
 * copy of the signal actions (the kernel copies the host's actions). What it
 * writes to memory the parent sees, which is how posix_spawn reports an error;
 * and no page tables are copied, which is why it is fast. Locks of ours work
 * between the two: they are futexes in one memory.
 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"
#include "process/proc_seccomp.h"

#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { VFORK_STACK = 256 << 10 };

void proc_signals_clear(struct proc_signals *table)
{
    for (int sig = 1; sig <= PROC_NSIG; sig++) {
        if (table->action[sig].handler <= PROC_SIG_IGN)
            continue;
        memset(&table->action[sig], 0, sizeof table->action[sig]);
        proc_signal_mirror(table, sig);
    }
}

/* ---- fork ------------------------------------------------------------ */

/* What the host's fork() does by itself or we do around it. */
#define PLAIN_FLAGS                                                              \
    (CLONE_SETTLS | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID | \
     CLONE_CLEAR_SIGHAND)

static long host_fork(const struct proc_clone *c)
{
    struct clone_args args = {
        .flags = c->flags & ~(uint64_t)PLAIN_FLAGS,
        .pidfd = c->pidfd,
        .exit_signal = (uint64_t)c->exit_signal,
        .set_tid = c->set_tid,
        .set_tid_size = c->set_tid_size,
        .cgroup = c->cgroup,
    };

    if (!args.flags && c->exit_signal == SIGCHLD && !c->set_tid_size) {
        pid_t pid = fork();

        return pid < 0 ? -errno : pid;
    }
    return proc_raw(SYS_clone3, (uint64_t)&args, sizeof args, 0, 0, 0, 0);
}

/* The other threads' objects are copies without a thread. */
static void drop_others(struct proc_thread *t)
{
    struct proc *p = t->proc;

    for (struct proc_thread *o = p->threads, *next; o; o = next) {
        next = o->next;
        if (o == t)
            continue;
        if (o->sig->host_stack)
            munmap(o->sig->host_stack, PROC_HOST_STACK);
        proc_seccomp_free(o->seccomp);
        free(o->sig);
        free(o->tracee);
        free(o);
    }
    p->threads = t;
    p->nthreads = 1;
    t->next = NULL;
}

static void fork_child(struct proc_thread *t, const struct proc_clone *c)
{
    struct proc *p = t->proc;
    int32_t tid = gettid();

    pthread_mutex_init(&p->threads_lock, NULL);
    pthread_mutex_init(&t->sig->table->lock, NULL);
    proc_mem_fork_done(p);
    drop_others(t);
    jit_fork_child(p->jit, t->vcpu);
    proc_debug_fork_child(t);
    proc_trace_fork_child();
    proc_tracee_inherit(t, t, c);
    p->sig = t->sig->table;
    t->tid = tid;
    t->shares_memory = false;
    t->robust_list = 0;
    t->clear_tid = c->flags & CLONE_CHILD_CLEARTID ? c->child_tid : 0;
    if (c->flags & CLONE_CHILD_SETTID)
        proc_write_guest(c->child_tid, &tid, sizeof tid);
    if (c->flags & CLONE_SETTLS)
        t->rv->x[RV_TP] = c->tls;
    if (c->stack)
        t->rv->x[RV_SP] = c->stack;
    if (c->flags & CLONE_CLEAR_SIGHAND)
        proc_signals_clear(p->sig);
    proc_sigmask_set_host(t->sig->mask);
}

long proc_fork(struct proc_thread *t, const struct proc_clone *c)
{
    struct proc *p = t->proc;
    struct proc_signals *table = t->sig->table;
    long pid;

    proc_sigmask_block_all();
    if (proc_signal_must_restart(t))
        return -PROC_ERESTARTSYS;
    pthread_mutex_lock(&p->threads_lock);
    pthread_mutex_lock(&table->lock);
    jit_fork_prepare(p->jit); /* its lock is held while code is fetched: first */
    proc_mem_fork_prepare(p);
    pid = host_fork(c);
    if (pid == 0) {
        fork_child(t, c);
        return 0;
    }
    proc_mem_fork_done(p);
    if (pid > 0)
        jit_fork_parent(p->jit);
    else
        jit_fork_failed(p->jit);
    pthread_mutex_unlock(&table->lock);
    pthread_mutex_unlock(&p->threads_lock);
    if (pid > 0 && (c->flags & CLONE_PARENT_SETTID))
        proc_write_guest(c->parent_tid, &(int32_t){(int32_t)pid}, 4);
    proc_sigmask_set_host(t->sig->mask);
    return pid;
}

/* ---- vfork ----------------------------------------------------------- */

struct vfork_birth {
    struct proc_thread *child;
    uint64_t flags;
};

static int vfork_main(void *arg)
{
    struct vfork_birth *b = arg;
    struct proc_thread *t = b->child;

    proc_self = t;
    t->tid = (pid_t)proc_raw(SYS_gettid, 0, 0, 0, 0, 0, 0);
    if (b->flags & CLONE_CLEAR_SIGHAND)
        proc_signals_clear(t->sig->table);
    proc_sigmask_set_host(t->sig->mask);
    proc_loop(t);
}

/* Host stacks for vfork children: one is kept. */
static void *_Atomic spare_stack;

static void *stack_get(void)
{
    void *stack = atomic_exchange(&spare_stack, NULL);

    if (stack)
        return stack;
    stack = mmap(NULL, VFORK_STACK, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    return stack == MAP_FAILED ? NULL : stack;
}

static void stack_put(void *stack)
{
    stack = atomic_exchange(&spare_stack, stack);
    if (stack)
        munmap(stack, VFORK_STACK);
}

static struct proc_thread *make_vfork_child(struct proc_thread *t, const struct proc_clone *c)
{
    struct proc_thread *child = proc_thread_make(t, c);

    if (!child)
        return NULL;
    child->shares_memory = true;
    child->sig->table = proc_signals_copy(t->sig->table);
    child->sig->alt_sp = t->sig->alt_sp;
    child->sig->alt_size = t->sig->alt_size;
    child->sig->alt_flags = t->sig->alt_flags;
    child->sig->host_stack = t->sig->host_stack;
    return child;
}

long proc_vfork(struct proc_thread *t, const struct proc_clone *c)
{
    const uint64_t ours = CLONE_SETTLS | CLONE_CHILD_CLEARTID | CLONE_CLEAR_SIGHAND;
    struct vfork_birth b = {.flags = c->flags};
    char *stack;
    long pid;

    if (c->set_tid_size || (c->flags >> 32 & ~(CLONE_CLEAR_SIGHAND >> 32)))
        return -EINVAL;
    proc_sigmask_block_all();
    if (proc_signal_must_restart(t))
        return -PROC_ERESTARTSYS;
    stack = stack_get();
    b.child = stack ? make_vfork_child(t, c) : NULL;
    if (b.child) {
        uint64_t ptid = c->flags & CLONE_PIDFD ? c->pidfd : c->parent_tid;

        pid = clone(vfork_main, stack + VFORK_STACK, (int)(c->flags & ~ours) | c->exit_signal, &b,
                    (void *)ptid, NULL, (void *)c->child_tid);
        if (pid < 0)
            pid = -errno;
        proc_self = t;
        free(b.child->sig->table);
        free(b.child->sig->exec_block);
        free(b.child->sig->exec_env);
        proc_thread_free(b.child);
    } else {
        pid = -ENOMEM;
    }
    if (stack)
        stack_put(stack);
    proc_sigmask_set_host(t->sig->mask);
    return pid;
}
