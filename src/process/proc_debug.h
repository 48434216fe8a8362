/* proc_debug.h: what the tools that watch a guest share: tracing of system
 * calls, the debugger's server, core dumps, profiles.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ISOMER_PROC_DEBUG_H
#define ISOMER_PROC_DEBUG_H

#include "process/proc_signal.h"

/* Bits of proc->debug. While it is not zero, the run loop goes through
 * proc_debug_run() and system calls through proc_debug_call(). */
enum {
    PROC_DEBUG_TRACE = 1, /* --trace=syscalls */
    PROC_DEBUG_GDB = 2,   /* a debugger is connected */
    PROC_DEBUG_STOP = 4,  /* all threads are to park in the run loop */
    PROC_DEBUG_PTRACE = 8, /* another guest program traces a thread (proc_ptrace.h) */
    PROC_DEBUG_SECCOMP = 16 /* calls are filtered: none is made by translated code */
};

/* ---- hooks ----------------------------------------------------------- */

/* What the options ask for: before the first thread runs. Exit status. */
int proc_debug_start(struct proc_thread *t);
/* In place of jit_run() and of proc_dispatch(). */
enum jit_stop proc_debug_run(struct proc_thread *t);
long proc_debug_call(struct proc_thread *t, uint64_t nr, const uint64_t *args);
/* A signal is about to be delivered: the number of the one that is, 0: none. */
int proc_debug_signal(struct proc_thread *t, siginfo_t *info);
/* The process ends: by a signal (writes a core), or with a status. */
void proc_debug_death(struct proc_thread *t, int sig, const siginfo_t *info);
void proc_debug_exit(struct proc *p, int status);
/* A thread ends that is not the last. */
void proc_debug_thread_end(struct proc_thread *t, int status);
/* In the child of a fork. */
void proc_debug_fork_child(struct proc_thread *t);
/* Is our handler wanted for sig although its action is the default one? */
bool proc_debug_catches(int sig);
/* In the host's signal handler: is this a kick of proc_debug_stop_others()? */
bool proc_debug_kick(struct proc_thread *t, int sig, const siginfo_t *info, void *ucontext);

/* ---- stopping threads (proc_debug.c) --------------------------------- */

/* Makes all threads but self (NULL: all) park, and waits until they have or,
 * being in a host call that cannot be interrupted, have had their time. */
void proc_debug_stop_others(struct proc *p, const struct proc_thread *self);
/* Lets them go on. */
void proc_debug_release(struct proc *p);
/* Waits in the run loop for as long as PROC_DEBUG_STOP is set or hold is. */
void proc_debug_park(struct proc_thread *t);
/* Wakes parked threads so that they look again. */
void proc_debug_wake(void);

/* ---- tracing (proc_trace.c, proc_trace_args.c) ----------------------- */

int proc_trace_start(struct proc_thread *t);
/* "--trace-file=..." for the programs that this one executes. */
const char *proc_trace_again(void);
long proc_trace_call(struct proc_thread *t, uint64_t nr, const uint64_t *args);
void proc_trace_signal(struct proc_thread *t, const siginfo_t *info);
void proc_trace_end(struct proc *p, int status, int sig);
void proc_trace_thread_end(struct proc_thread *t, int status);

/* Appends argument i of a call as strace writes it. done: the call has been
 * made and gave result. */
void proc_trace_arg(struct base_text *out, const struct proc_call *c, const uint64_t *args,
                    unsigned i, long result);
/* Is argument i filled in by the call? (Then it is written after it.) */
bool proc_trace_is_out(const struct proc_call *c, unsigned i);
unsigned proc_trace_nargs(const struct proc_call *c, const uint64_t *args);
void proc_trace_result(struct base_text *out, const struct proc_call *c, const uint64_t *args,
                       long result);
/* "SIGUSR1", "SIGRT_2", ... */
const char *proc_trace_signame(int sig, char *buf, size_t size);
void proc_trace_siginfo(struct base_text *out, const siginfo_t *info);

/* ---- the debugger (proc_gdb.c, proc_gdb_stop.c, proc_gdb_text.c) ---------------------- */

/* jit_config.fetch: with breakpoints in it. */
size_t proc_gdb_fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable);
int proc_gdb_start(struct proc_thread *t);
/* Runs t as the debugger asked: true if *stop is for the run loop. */
bool proc_gdb_run(struct proc_thread *t, enum jit_stop *stop);
int proc_gdb_signal(struct proc_thread *t, siginfo_t *info);
/* Last words: an exit status, or a signal. */
void proc_gdb_end(struct proc *p, int status, int sig);
void proc_gdb_fork_child(struct proc_thread *t);
/* Around execve: the option for the new program, or NULL; and if it failed. */
const char *proc_gdb_hand_over(const struct proc_thread *t);
void proc_gdb_keep(const struct proc_thread *t);

/* ---- core dumps (proc_core.c) ---------------------------------------- */

void proc_core_dump(struct proc_thread *t, int sig, const siginfo_t *info);
static inline bool proc_core_signal(int sig)
{
    return sig == SIGQUIT || sig == SIGILL || sig == SIGTRAP || sig == SIGABRT || sig == SIGBUS ||
           sig == SIGFPE || sig == SIGSEGV || sig == SIGXCPU || sig == SIGXFSZ || sig == SIGSYS;
}

/* ---- profiles (proc_perf.c) ------------------------------------------ */

/* jit_config.translated; its context is the struct proc. */
void proc_perf_region(void *ctx, uint64_t pc, const uint8_t *const code[2], const uint32_t len[2]);

#endif
