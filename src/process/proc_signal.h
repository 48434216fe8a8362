/* proc_signal.h: what the signal, thread and exec files of src/process share.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ISOMER_PROC_SIGNAL_H
#define ISOMER_PROC_SIGNAL_H

#include "process/proc_priv.h"

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#endif

enum { PROC_NSIG = 64 };

static inline uint64_t proc_sigbit(int sig) { return 1ull << (sig - 1); }

/* Signals that an instruction can raise. The host needs them for itself (faults
 * in translated code and in checked copies), so they are never blocked on the
 * host; the guest's wish to block them is honoured by us. */
#define PROC_SYNC_SIGNALS                                                     \
    (proc_sigbit(SIGILL) | proc_sigbit(SIGTRAP) | proc_sigbit(SIGBUS) |       \
     proc_sigbit(SIGFPE) | proc_sigbit(SIGSEGV))
#define PROC_UNBLOCKABLE (proc_sigbit(SIGKILL) | proc_sigbit(SIGSTOP))

/* A guest's SIG_DFL and SIG_IGN. */
enum { PROC_SIG_DFL = 0, PROC_SIG_IGN = 1 };

/* struct sigaction of riscv64 (no restorer). */
struct proc_action {
    uint64_t handler, flags, mask;
};

/* The guest's actions; a vfork child has its own copy, though it shares all
 * other memory. */
struct proc_signals {
    pthread_mutex_t lock;
    struct proc_action action[PROC_NSIG + 1];
};

enum {
    PROC_SIGINFO_SIZE = 128,
    PROC_HOST_STACK = 64 << 10, /* bytes of our handlers' stack */
    PROC_SYNC_RECORDS = 5, /* one for each of PROC_SYNC_SIGNALS */
    PROC_TAKEN_MAX = 8     /* one is usual, see proc_signal.c */
};

struct proc_thread_signals {
    struct proc_signals *table;
    uint64_t mask;             /* the guest's blocked set */
    uint64_t saved_mask;       /* if t->mask_temp: what mask will be again */
    bool no_eintr;             /* restart the call even without SA_RESTART */
    uint64_t alt_sp, alt_size; /* guest's alternate stack; size 0: none */
    uint32_t alt_flags;
    /* Signals taken: a ring that our handler fills and this thread empties, and
     * the sent ones of PROC_SYNC_SIGNALS, which may stay here blocked. */
    siginfo_t taken[PROC_TAKEN_MAX];
    _Atomic uint32_t taken_in, taken_out;
    siginfo_t sync[PROC_SYNC_RECORDS];
    _Atomic uint32_t sync_filled;
    void *host_stack;          /* alternate stack of our handlers */
    void *exec_block, *exec_env; /* what execve of a vfork child leaves behind */
};

/* ---- proc_signal.c --------------------------------------------------- */

/* The host's blocked set for guest mask set. */
static inline uint64_t proc_sigmask_host(uint64_t set) { return set & ~PROC_SYNC_SIGNALS; }
void proc_sigmask_set_host(uint64_t set);
/* Blocks everything on the host; returns what was blocked before. For forks
 * and thread creation: the new task must not take a signal half made. */
uint64_t proc_sigmask_block_all(void);
/* Makes the host's action for sig follow the guest's. */
void proc_signal_mirror(const struct proc_signals *table, int sig);
/* The host's action for sig is the default one, whatever the guest's. */
void proc_signal_default(int sig);
/* Makes the host ignore sig, although it always has our handler: before exec. */
void proc_signal_expose(int sig);
/* Queues sig for t as if the host had sent it. On t's own thread. */
void proc_signal_post(struct proc_thread *t, int sig, const siginfo_t *info);
/* Set of signals taken from the host and not delivered yet. */
uint64_t proc_signal_taken(const struct proc_thread *t);
/* Takes a waiting signal of set & PROC_SYNC_SIGNALS away: its number, or 0. */
int proc_signal_take_sync(struct proc_thread *t, uint64_t set, siginfo_t *info);
/* t->sig of a thread made by parent (runs in the parent). */
struct proc_thread_signals *proc_signals_inherit(const struct proc_thread *parent);
/* Gives this host thread an alternate stack for t's handlers. */
void proc_signal_host_stack(struct proc_thread *t);
/* Copy of a table for a vfork child. */
struct proc_signals *proc_signals_copy(struct proc_signals *from);
/* Is a signal waiting? Then a call that makes a process or thread must be
 * begun again after it was delivered (kernel/fork.c, ERESTARTNOINTR). */
bool proc_signal_must_restart(struct proc_thread *t);

/* ---- proc_signal_frame.c --------------------------------------------- */

/* Builds the frame for sig on the guest's stack and points the guest at the
 * handler. old_mask goes into the frame. 0, or -EFAULT. */
int proc_frame_push(struct proc_thread *t, const struct proc_action *act, const siginfo_t *info,
                    uint64_t old_mask);
/* sigreturn: 0, or -EFAULT. The mask found is stored in *mask. */
int proc_frame_pop(struct proc_thread *t, uint64_t *mask);
/* sigaltstack() proper: 0 or -errno. sp: the guest's stack pointer. */
int proc_altstack_set(struct proc_thread *t, uint64_t ss_sp, uint32_t flags, uint64_t size,
                      uint64_t sp);
uint32_t proc_altstack_state(const struct proc_thread *t, uint64_t sp);
/* Address that the load, store or atomic at the pc would access. */
uint64_t proc_fault_address(const struct proc_thread *t);

/* ---- proc_thread.c --------------------------------------------------- */

/* clone() and clone3() in one form. */
struct proc_clone {
    uint64_t flags; /* without the exit signal */
    uint64_t pidfd, child_tid, parent_tid;
    int exit_signal;
    uint64_t stack; /* stack pointer of the child, 0: the parent's */
    uint64_t tls;
    uint64_t set_tid, set_tid_size, cgroup;
};
/* New thread struct for a child of t: registers as the child has them. NULL:
 * no memory. */
struct proc_thread *proc_thread_make(struct proc_thread *parent, const struct proc_clone *c);
void proc_thread_free(struct proc_thread *t);

/* The host's C library takes a signal with its first thread: back to the guest. */
void proc_signal_reclaim(struct proc_thread *t);

/* ---- proc_fork.c ----------------------------------------------------- */

long proc_fork(struct proc_thread *t, const struct proc_clone *c);
long proc_vfork(struct proc_thread *t, const struct proc_clone *c);
/* CLONE_CLEAR_SIGHAND: handlers become SIG_DFL, SIG_IGN stays. */
void proc_signals_clear(struct proc_signals *table);

/* ---- proc_shared.c --------------------------------------------------- */

/* CLONE_VM, neither CLONE_THREAD nor a plain vfork. */
long proc_clone_shared(struct proc_thread *t, const struct proc_clone *c);

#endif
