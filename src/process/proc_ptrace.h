/* proc_ptrace.h: ptrace between guest programs: what tracer and tracee share.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Both ends are emulators, and the host's ptrace does what a kernel must do:
 * who may trace whom, who is told of whose stops, events of fork and exit. The
 * stops that a guest's tracer is to see are made by the tracee's emulator,
 * between two guest instructions, where the registers are in place: it
 * describes the stop in its struct proc_tracee and sends itself a SIGTRAP with a
 * mark in si_errno (PROC_TRACE_STOP) and the struct's address as value. The
 * tracer's emulator knows the mark when its guest waits (proc_ptrace_wait.c),
 * and passes over the stops that the emulator itself causes. Both must be the
 * same program file: the struct is read as memory.
 */
#ifndef ISOMER_PROC_PTRACE_H
#define ISOMER_PROC_PTRACE_H

#include "process/proc_signal.h"

/* In si_errno of a SIGTRAP with SI_QUEUE: a mark, and what it is about. */
#define PROC_TRACE_MARK 0x4973a000
enum proc_trace_what {
    PROC_TRACE_STOP,      /* tracee: I have stopped; value: struct proc_tracee */
    PROC_TRACE_GENUINE,   /* tracee: this signal is for the host, let it through */
    PROC_TRACE_ATTACH,    /* to the tracee: value: options | PROC_TRACE_SEIZED */
    PROC_TRACE_INTERRUPT, /* to the tracee: PTRACE_INTERRUPT */
    PROC_TRACE_POST,      /* to the tracee: this is a SIGSTOP; value: its si_code */
    PROC_TRACE_LAST
};
#define PROC_TRACE_SEIZED (1ull << 31)
/* In the value of a mark: an interrupt was asked for as well. Of two marks on
 * their way the kernel keeps one. */
#define PROC_TRACE_ALSO_INTERRUPT (1ull << 62)
/* In the upper half of AT_FLAGS of an emulator that a tracee executes (what is
 * below: options, PROC_TRACE_SEIZED, enum proc_trace_mode << PROC_TRACE_MODE_BIT). */
#define PROC_TRACE_EXEC ((uint64_t)PROC_TRACE_MARK << 32)
enum { PROC_TRACE_MODE_BIT = 24 };

enum proc_trace_mode { PROC_TRACE_CONT, PROC_TRACE_SYSCALL, PROC_TRACE_STEP, PROC_TRACE_DETACH };

/* In the tracee; the tracer reads it while the tracee has stopped. */
struct proc_tracee {
    uint32_t mark;
    uint32_t traced;
    uint32_t seized, options;
    /* the stop */
    uint32_t stop;      /* signal (| 0x80), event << 8: wait status without 0x7f */
    uint32_t in_call;   /* pc is still on the ecall that a kernel has behind it */
    uint32_t has_info;  /* info is a signal's: PTRACE_GETSIGINFO */
    uint32_t op;        /* PTRACE_SYSCALL_INFO_* */
    uint64_t nr, args[6];
    int64_t result;
    uint64_t state, proc, mask; /* addresses of rv_state, struct proc, blocked set */
    uint8_t info[PROC_SIGINFO_SIZE];
    /* the tracee's own */
    uint32_t unheard;   /* the mark came back: nobody traces us any more */
    uint32_t stepped;   /* one instruction was done by other means */
    /* written by the tracer as it lets go */
    struct proc_trace_go {
        uint32_t resumed, mode; /* enum proc_trace_mode */
        uint32_t sig;
        uint32_t changed;       /* memory may have been written: look at the code */
        uint32_t interrupt;     /* PTRACE_INTERRUPT came */
        uint32_t mask_set;
    } go;
};

/* ---- tracee (proc_tracee.c) ------------------------------------------ */

/* In the host's signal handler: is this one of the marks? */
bool proc_tracee_mark(struct proc_thread *t, int sig, const siginfo_t *info, void *ucontext);
/* PTRACE_TRACEME has succeeded. */
void proc_tracee_me(struct proc_thread *t);
/* A new program: is it traced? Stops as after execve. */
void proc_tracee_start(struct proc_thread *t);
/* What a mark asked for; from proc_signal_deliver. */
void proc_tracee_requests(struct proc_thread *t);
/* In place of proc_dispatch() if t is traced. */
long proc_tracee_call(struct proc_thread *t, uint64_t nr, const uint64_t *args);
/* In place of jit_run(): true if one step was asked for. */
bool proc_tracee_run(struct proc_thread *t, enum jit_stop *stop);
/* A signal is about to be delivered: the number of the one that is, 0: none. */
int proc_tracee_signal(struct proc_thread *t, siginfo_t *info);
/* Children: t made child (fork: in the child, child == t). */
void proc_tracee_inherit(struct proc_thread *parent, struct proc_thread *child,
                         const struct proc_clone *c);
/* Does our handler take every signal, ignored ones too? */
bool proc_tracee_takes_all(void);
/* The default action of a stop signal, past our handler. */
void proc_tracee_stop_by(struct proc_thread *t, int sig);

static inline bool proc_is_traced(const struct proc_thread *t)
{
    return t->tracee && t->tracee->traced;
}

/* ---- tracer (proc_ptrace.c, proc_ptrace_wait.c) ---------------------- */

enum trace_state {
    TRACE_RUNNING,
    TRACE_MARKED, /* a stop made by the tracee's emulator */
    TRACE_EVENT,  /* the host's, of fork, clone, exit */
    TRACE_GROUP   /* job control has stopped it */
};
/* A tracee of this process. */
struct trace_entry {
    pid_t tid, tgid;
    enum trace_state state;
    bool native;          /* a program of the host */
    bool seized;
    bool listening;
    bool interrupt;       /* asked for, and not passed on yet */
    bool changed;         /* its memory has been written */
    uint32_t options, mode;
    uint64_t block;       /* address of its struct proc_tracee, 0: not known yet */
    uint64_t message;
};

/* The entry of tid, or NULL; a new one. lock held by the caller: trace_lock. */
extern pthread_mutex_t proc_trace_lock;
struct trace_entry *proc_trace_find(pid_t tid);
struct trace_entry *proc_trace_add(pid_t tid);
void proc_trace_drop(pid_t tid);
/* Is the program that tid runs this emulator? */
bool proc_trace_is_ours(pid_t tid);
/* Memory of a tracee: 0, or -errno. */
long proc_trace_read(pid_t tid, void *to, uint64_t from, size_t n);
long proc_trace_write(pid_t tid, uint64_t to, const void *from, size_t n);
/* The host's options for the guest's. */
uint32_t proc_trace_host_options(uint32_t options);
/* A child or tracee has stopped: true if the guest is to see it, with *status as
 * it sees it; false: it goes on already. */
bool proc_trace_stopped(pid_t tid, int *status);
/* Somebody opened /proc/PID/mem for writing: tracees may find their code changed. */
void proc_trace_mem_opened(void);
/* In a forked child: it has no tracees. */
void proc_trace_fork_child(void);
/* What is known of a tracee's process (tid or tgid pid): copy of its struct proc. */
bool proc_trace_proc(pid_t pid, struct proc *out);

/* ---- /proc of tracees (proc_trace_view.c) ---------------------------- */

/* The guest in a tracee's process, with what /proc shows of it; NULL: pid is no
 * emulated tracee of this process. */
struct proc_trace_view *proc_trace_view_new(pid_t pid, struct proc **p);
void proc_trace_view_free(struct proc_trace_view *v);
/* If path is /proc/PID/exe of a tracee: its program's path, on the host or as
 * the guest names it. */
bool proc_trace_exe(const char *path, bool without_sysroot, char *buf, size_t size);

#endif
