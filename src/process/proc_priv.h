/* proc_priv.h: private to src/process: the VM, its threads, and what the files
 * of this folder give each other. SPDX-License-Identifier: Apache-2.0
 *
 * Guest address = host address. The guest lives below PROC_TASK_SIZE (Sv39),
 * this program above it; whatever a guest names above is refused (EFAULT,
 * ENOMEM), so that it can neither read nor map over its emulator.
 *
 * Life of a system call: proc_loop.c takes IR_TRAP_SYSCALL, looks a7 up in the
 * table generated from spec/linux_riscv64.syscalls, calls the handler. Handlers
 * return the result or a negative errno. -PROC_ERESTARTSYS means "interrupted
 * before it did anything": pc stays on the ecall with a0 as it was and
 * t->restart is set; proc_signal_deliver() then either runs a handler that has
 * SA_RESTART, or none (the call happens again), or makes it -EINTR.
 */
#ifndef ISOMER_PROC_PRIV_H
#define ISOMER_PROC_PRIV_H

#include "guest/rv64/rv.h"
#include "isomer/isomer.h"
#include "jit/jit.h"
#include "process/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define PROC_TASK_SIZE (1ull << 38)
#define PROC_STACK_SIZE (8ull << 20)
#define PROC_STACK_GAP (1ull << 20)  /* never mapped by mmap, above the stack's limit */
#define PROC_MIN_ADDR 0x10000ull     /* vm.mmap_min_addr */
enum { PROC_ERESTARTSYS = 512 };     /* never seen by the guest */

/* ---- guest memory map (proc_mem.c) ----------------------------------- */

enum { PROC_VMA_SHM = 1 << 30 }; /* flag: attached by shmat */

struct proc_vma {
    uint64_t start, end;
    int prot;            /* guest's PROT_*, exec included */
    int flags;           /* MAP_SHARED or MAP_PRIVATE, MAP_ANONYMOUS, MAP_GROWSDOWN */
    const char *name;    /* "[heap]", "[stack]", "[vdso]", or NULL: as the host
                            names it; lives as long as the program */
};
struct proc_map {
    pthread_mutex_t lock;          /* taken around every change and look-up */
    struct proc_vma *vma;          /* sorted by start, never overlapping */
    size_t len, cap;
    uint64_t mmap_base;            /* top of mmap's top-down area */
    uint64_t brk_start, brk;
    uint64_t stack_top, stack_low; /* initial stack: highest end, lowest mapped */
    uint64_t stack_start;          /* the first stack pointer */
    uint64_t stack_limit;          /* it may grow down to this address */
    uint64_t start_code, end_code; /* main image, for /proc/self/stat */
};

/* ---- the VM ---------------------------------------------------------- */

struct proc_thread;
struct proc_store;

struct proc {
    struct jit *jit;
    struct proc_store *store; /* proc_store.c's own; NULL: there is none */
    struct jit_calls direct; /* calls that translated code makes */
    const struct isomer_run_options *opt;
    char *sysroot;         /* without trailing '/', NULL: none */
    int sysroot_fd;        /* O_PATH, -1: none */
    int self_fd;           /* our own executable (proc_self.c), -1: not needed */
    char *exe;             /* absolute host path of the guest program */
    char *execfn;          /* its name as the guest called it */
    char **argv, **envp;   /* as the guest started (strings outlive the run) */
    struct proc_map map;
    uint64_t sigtramp;     /* guest address of: li a7,139; ecall */
    uint64_t vdso;         /* guest address of the vDSO page */
    uint64_t bias, entry;  /* of the program: load bias, first instruction */
    uint64_t arg_start;    /* guest address of argv[0] */
    uint8_t auxv[512];     /* raw auxiliary vector, for /proc/self/auxv */
    size_t auxv_len;
    uint64_t personality;
    /* threads (proc_thread.c) */
    pthread_mutex_t threads_lock;
    struct proc_thread *threads;
    unsigned nthreads;
    atomic_int exiting;    /* exit_group has begun */
    bool verbose;          /* ISOMER_DEBUG: unknown calls are named on stderr */
    struct proc_signals *sig; /* proc_signal.c's own: actions, ... */
    _Atomic unsigned debug;   /* proc_debug.h: which tools watch; 0: none */
    bool core_written;        /* the guest's, as it died */
};

/* proc_debug.c's own: what a debugger or a core dump wants of a thread. */
struct proc_thread_debug {
    _Atomic uint32_t parked;  /* it waits in the run loop: registers are free */
    _Atomic uint32_t kicked;  /* a host call was given up for us, not for a signal */
    _Atomic uint32_t hold;    /* stays parked though others run */
    uint32_t step;            /* run one instruction, then stop */
    uint32_t stepped;         /* that has been done */
    int inject;               /* signal that the debugger sends it as it goes on */
    int quiet;                /* ... and is not to be told of */
};

struct proc_thread {
    struct proc *proc;
    struct jit_vcpu *vcpu;
    struct rv_state *rv;      /* = (void *)vcpu->state */
    struct proc_thread *next;
    pid_t tid;
    pthread_t host;
    bool restart;             /* the call at pc was interrupted (see above) */
    bool restart_unless;      /* ... and goes on only if no handler runs */
    bool no_advance;          /* handler set pc itself (sigreturn, ...): leave pc, a0 */
    bool mask_temp;           /* proc_sigmask_temp was called */
    uint64_t clear_tid;       /* set_tid_address */
    uint64_t robust_list, robust_len;
    bool shares_memory;       /* vfork child: a process in its parent's memory */
    void *leave;              /* jmp_buf of the host thread's first function */
    struct proc_thread_signals *sig; /* proc_signal.c's own: mask, queue, alt stack */
    struct proc_thread_debug debug;
    struct proc_seccomp *seccomp;     /* proc_seccomp.h: NULL: it may do what it likes */
    struct proc_tracee *tracee;       /* proc_ptrace.h: NULL: never traced */
    _Atomic uint64_t trace_request;   /* what a tracer has asked for: proc_tracee.c */
};

/* The calling thread's; readable in signal handlers. */
extern _Thread_local struct proc_thread *proc_self
    __attribute__((tls_model("initial-exec")));

/* ---- guest memory access (proc_copy.c) ------------------------------- */

/* Checked copies: 0 or -EFAULT; never crash, whatever the address. */
long proc_read_guest(void *dst, uint64_t src, size_t n);
long proc_write_guest(uint64_t dst, const void *src, size_t n);
/* Length without NUL; -EFAULT; -ENAMETOOLONG if it does not fit size. */
long proc_read_string(char *dst, uint64_t src, size_t size);
/* Can [addr, addr+n) be guest memory at all? (Says nothing of what is mapped.) */
static inline bool proc_guest_range(uint64_t addr, uint64_t n)
{
    return addr <= PROC_TASK_SIZE && n <= PROC_TASK_SIZE - addr;
}
/* An address with this bit is the kernel's: whoever hands it to a call gets EFAULT. */
#define PROC_FAR (1ull << 63)
/* First thing in the host's SIGSEGV and SIGBUS handler: true if the fault was
 * in a checked copy, which then returns -EFAULT. Async-signal-safe. */
bool proc_copy_fault(void *ucontext);

/* ---- host system calls (proc_safe.c) --------------------------------- */

/* Raw system call that a guest signal may interrupt: the result or -errno;
 * -PROC_ERESTARTSYS if t->vcpu->poll was set before it began. */
long proc_syscall(struct proc_thread *t, long nr, uint64_t a0, uint64_t a1, uint64_t a2,
                  uint64_t a3, uint64_t a4, uint64_t a5);
/* Plain raw system call: the result or -errno (for calls that never block). */
long proc_raw(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
              uint64_t a5);
/* The same with the arguments in memory. */
long proc_safe_call(const volatile uint32_t *poll, long nr, const uint64_t *args);
long proc_plain_call(long nr, const uint64_t *args);
/* In every host handler that queued a guest signal, after poll was set: if the
 * thread was between the check of poll and the syscall instruction (or the
 * kernel wants to restart the call: install handlers with SA_RESTART), makes
 * proc_syscall return -PROC_ERESTARTSYS. Async-signal-safe. */
void proc_safe_rewind(void *ucontext);

/* ---- memory map (proc_mem.c) ----------------------------------------- */

void proc_mem_init(struct proc *p, uint64_t stack_limit);
/* mmap with the guest's rules: address or -errno. prot is the guest's. name:
 * as in struct proc_vma. */
int64_t proc_mem_map(struct proc *p, uint64_t addr, uint64_t len, int prot, int flags, int fd,
                     uint64_t offset, const char *name);
long proc_mem_unmap(struct proc *p, uint64_t addr, uint64_t len);
long proc_mem_protect(struct proc *p, uint64_t addr, uint64_t len, int prot);
/* Copy of the mapping that holds addr; false: none. */
bool proc_mem_find(struct proc *p, uint64_t addr, struct proc_vma *out);
/* Is any of [addr, addr+len) executable to the guest? */
bool proc_mem_has_exec(struct proc *p, uint64_t addr, uint64_t len);
/* jit_config.fetch */
size_t proc_mem_fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable);
/* brk: the new break, or the old one if it cannot be moved there. */
uint64_t proc_mem_brk(struct proc *p, uint64_t addr);
int64_t proc_mem_remap(struct proc *p, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                       uint64_t new_addr);
/* Records a mapping that the host made by other means (shmat). */
void proc_mem_record(struct proc *p, uint64_t addr, uint64_t len, int prot, int flags);
/* A free range for len bytes by the rules of mmap without a hint; 0: none. */
uint64_t proc_mem_find_free(struct proc *p, uint64_t len);
/* Grows the stack mapping to hold addr if addr is just below it and allowed:
 * true, the access should be done again. From the run loop, not a handler. */
bool proc_mem_grow_stack(struct proc *p, uint64_t addr);
/* Around fork: the map's lock must be in a sane state in the child. */
void proc_mem_fork_prepare(struct proc *p);
void proc_mem_fork_done(struct proc *p); /* parent and child */

/* ---- loader (proc_load.c) -------------------------------------------- */

struct proc_start {
    uint64_t pc, sp;
};
/* Maps the riscv64 program open at fd (path: for /proc/self/exe; execfn:
 * AT_EXECFN), its interpreter, the vDSO page and the stack with arguments and
 * auxv. 0, or an exit status (126, 127) with an error line printed. */
int proc_load(struct proc *p, int fd, const char *path, const char *execfn, char **argv,
              char **envp, struct proc_start *start);

/* Maps the vDSO (proc_vdso.c), sets p->vdso and p->sigtramp; exit status. */
int proc_vdso_map(struct proc *p);

/* ---- paths (proc_path.c) --------------------------------------------- */

enum proc_path_how {
    PROC_PATH_LOOKUP, /* an existing file, symbolic links followed */
    PROC_PATH_CREATE  /* the last component is not followed, or is to be made */
};
/* Where a guest's path is on the host: under the sysroot if it is there, else
 * as it stands. Both give 0 or -errno; buf has PATH_MAX bytes. The result is
 * relative to the same directory descriptor as the guest's path. */
long proc_path(struct proc *p, uint64_t addr, char *buf, enum proc_path_how how);
long proc_path_str(struct proc *p, const char *guest, char *buf, enum proc_path_how how);

/* What /proc/self/exe names to the guest: its path without the sysroot. */
const char *proc_guest_exe(const struct proc *p);
/* open() of a file in /proc that would show the emulator (proc_fake.c): a
 * descriptor or -errno; -ENOSYS: it is not one of them. */
long proc_fake_open(struct proc_thread *t, const char *path, int flags);
/* Is fd one of those? Then path is the file in /proc that it stands for. */
bool proc_fake_path(int fd, char *path, size_t size);
/* Threads that are the emulator's (proc_tasks.c). dir: of a process or a thread
 * in /proc. How many are the guest's, 0: not known; the text of status. */
unsigned proc_tasks_count(const char *dir);
long proc_tasks_status(struct proc *p, const char *dir, struct base_text *out);

/* ---- system calls ---------------------------------------------------- */

/* A handler: a = the six arguments. Named proc_sys_<name>; the table and all
 * prototypes are generated from spec/linux_riscv64.syscalls. */
typedef long (*proc_handler)(struct proc_thread *t, const uint64_t *a);
#define PROC_SYS(name) long proc_sys_##name(struct proc_thread *t, const uint64_t *a)

struct proc_call {
    const char *name;
    const char *args;   /* letters: see the spec */
    proc_handler fn;    /* NULL: host call host_nr */
    int16_t host_nr;    /* -1: none, the call fails with error */
    uint16_t error;
    uint8_t nargs;
    uint8_t blocks;     /* passed through proc_syscall: may be interrupted */
    uint8_t ptrs;       /* bit i: argument i is a guest pointer */
    uint8_t paths;      /* bit i: ... to a path, which the sysroot may redirect */
    uint8_t nofollow;   /* bit i: ... whose last symbolic link counts itself */
    uint8_t maybe;      /* bit i: ... if flags_arg has AT_SYMLINK_NOFOLLOW */
    uint8_t flags_arg;
};
#define PROC_CALL_MAX 512
extern const struct proc_call proc_calls[PROC_CALL_MAX];
/* Those of them that translated code makes by itself. */
void proc_calls_direct(const struct proc *p, struct jit_calls *out);
#include "proc_decl.gen.h"

/* Does what the table says for call nr: the result, or -errno. args may be the
 * guest's registers themselves. */
long proc_dispatch(struct proc_thread *t, uint64_t nr, const uint64_t *args);

/* ---- run loop, end (proc_loop.c) ------------------------------------- */

/* Runs t until it ends; does not return for the last thread. */
_Noreturn void proc_loop(struct proc_thread *t);
/* The engine's jit_config.syscall: the call of the vCPU's thread. */
bool proc_loop_syscall(struct jit_vcpu *v);
/* The engine's jit_calls.done. */
void proc_loop_called(struct jit_vcpu *v, long result);
/* Ends the whole process with a status (other threads die with it). */
_Noreturn void proc_exit_group(struct proc *p, int status);
/* Ends it as by signal sig: default action, re-raised on ourselves. */
_Noreturn void proc_exit_signal(struct proc *p, int sig);
/* What is printed at the end (--stats). */
void proc_print_stats(struct proc *p);

/* ---- signals (proc_signal.c) ----------------------------------------- */

/* Host handlers, blocked set, actions inherited from the parent. */
void proc_signal_init(struct proc *p);
/* Host alternate stack and t->sig of a new thread; called on that thread. */
void proc_signal_thread_init(struct proc_thread *t);
void proc_signal_thread_exit(struct proc_thread *t);
/* Delivers what is pending and not blocked; called after every system call
 * that left poll set and after JIT_STOP_POLL. Clears t->vcpu->poll, t->restart
 * and restores a mask that proc_sigmask_temp changed, unless a handler's frame
 * now holds it. May end the process. */
void proc_signal_deliver(struct proc_thread *t);
/* A fault at the current pc: sig with si_code and si_addr, delivered at once
 * (kills if blocked or ignored, as Linux does). */
void proc_signal_force(struct proc_thread *t, int sig, int code, uint64_t addr);
/* The same with all that is to be said; and death by it, whatever the action. */
void proc_signal_force_info(struct proc_thread *t, siginfo_t *info);
_Noreturn void proc_signal_die(struct proc_thread *t, const siginfo_t *info);
/* ppoll, pselect6, epoll_pwait: call it after the host call, which got the
 * guest's set (64-bit mask) too, came back with -EINTR: the mask that the
 * signal is delivered under, put back as described above. Sets poll, so that
 * deliver is called. */
void proc_sigmask_temp(struct proc_thread *t, uint64_t set);

/* ---- threads (proc_thread.c) ----------------------------------------- */

/* The first thread, for the calling host thread. */
struct proc_thread *proc_thread_first(struct proc *p);

/* ---- exec (proc_exec.c) ---------------------------------------------- */

/* A program as found: what is to be run after "#!" lines were followed. */
struct proc_program {
    int fd;                /* open, O_RDONLY */
    enum proc_file_kind kind; /* RISCV64 or HOST */
    char *path;            /* host path of the file at fd */
    char *execfn;
    char **argv;           /* final argument vector, NULL-terminated */
};
/* Finds out what path (guest path; already looked up in PATH) runs. 0 or
 * -errno (ENOENT, EACCES, ENOEXEC, ELOOP...) with *why a clear text. */
int proc_exec_resolve(struct proc *p, const char *path, char **argv, struct proc_program *out,
                      const char **why);
/* The same for a file that the kernel opened (fd; -1: open path here) and says
 * is a riscv64 program; argv is the guest's. */
int proc_exec_given(int fd, const char *path, char **argv, struct proc_program *out);
/* Variables of the environment that an emulator before this one has hidden from the host's C
 * library have their names again. */
void proc_exec_environment(char **envp);
/* execve() of a host program from isomer_run (never returns on success). */
int proc_exec_host(struct proc *p, struct proc_program *prog, char **envp);

/* ---- our own executable (proc_self.c) -------------------------------- */

void proc_self_init(struct proc *p);
/* Before a system call that changes the root directory. */
void proc_self_new_root(struct proc_thread *t);
/* Can the kernel start guest programs itself, as it started this one? */
bool proc_self_has_kernel(const struct proc *p);
/* execve() of ourselves; only comes back with an error. */
long proc_self_exec(struct proc_thread *t, const char **argv, uint64_t envp);
/* --sandbox (proc_sandbox.c): from here on no files or network but what the
 * options name. name: the program as the user wrote it. 0, or an exit status. */
int proc_sandbox(struct proc *p, const struct proc_program *prog, const char *name);
/* ---- stored translations (proc_store.c) ------------------------------ */

/* jit_config.store, as far as it is for the options to say. */
bool proc_store_wanted(const struct isomer_run_options *o);
/* With the engine made. */
void proc_store_init(struct proc *p);
/* --translations for another program that this one becomes; NULL: the default. */
const char *proc_store_option(const struct proc *p);
/* Guest addresses show the file at fd from offset on, executable, private and not writable. */
void proc_store_map(struct proc *p, uint64_t addr, uint64_t len, int fd, uint64_t offset);
/* Before the process ends or executes another program: keeps what is new. */
void proc_store_save(struct proc *p);

/* Moves a descriptor of ours out of the guest's way. */
int proc_high_fd(int fd);

#endif
