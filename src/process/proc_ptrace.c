/* proc_ptrace.c: ptrace between guest programs, the tracer's requests.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the tracee's emulator must do it does as it goes on: its struct
 * proc_tracee is read and written here as memory, its registers too. Requests
 * and answers are those of Linux on riscv64: PTRACE_PEEKUSR and GETREGS are
 * EIO there, and registers come in sets. PTRACE_SINGLESTEP, which that kernel
 * does not have, works here.
 *
 * Attaching is always the host's PTRACE_SEIZE, which stops nothing: the tracee
 * stops itself when the mark reaches it.
 */
#include "process/proc_ptrace.h"

#include <elf.h>
#include <linux/ptrace.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_GET_SYSCALL_INFO
#define PTRACE_GET_SYSCALL_INFO 0x420e
#endif
enum { PTRACE_O_KNOWN = 0xff | PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP };
enum { TRACE_AUDIT_ARCH = 0xc00000f3 }; /* 64-bit, little-endian, EM_RISCV */

/* ---- tracees --------------------------------------------------------- */

pthread_mutex_t proc_trace_lock = PTHREAD_MUTEX_INITIALIZER;
static BASE_VEC(struct trace_entry) entries;
static bool mem_opened;

struct trace_entry *proc_trace_find(pid_t tid)
{
    for (size_t i = 0; i < entries.len; i++)
        if (entries.data[i].tid == tid)
            return &entries.data[i];
    return NULL;
}

static pid_t group_of(pid_t tid)
{
    char path[40], line[128];
    pid_t tgid = tid;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "Tgid:", 5))
            tgid = (pid_t)strtol(line + 5, NULL, 10);
    if (f)
        fclose(f);
    return tgid;
}

struct trace_entry *proc_trace_add(pid_t tid)
{
    struct trace_entry *e = proc_trace_find(tid), fresh = {.tid = tid, .tgid = group_of(tid)};

    if (e)
        return e;
    base_vec_push(&entries, fresh);
    return &entries.data[entries.len - 1];
}

void proc_trace_drop(pid_t tid)
{
    pthread_mutex_lock(&proc_trace_lock);
    for (size_t i = 0; i < entries.len; i++)
        if (entries.data[i].tid == tid)
            entries.data[i] = entries.data[--entries.len];
    pthread_mutex_unlock(&proc_trace_lock);
}

void proc_trace_fork_child(void)
{
    pthread_mutex_init(&proc_trace_lock, NULL);
    entries.len = 0;
}

void proc_trace_mem_opened(void) { mem_opened = true; }

bool proc_trace_is_ours(pid_t tid)
{
    struct stat own, other;
    char path[40];

    snprintf(path, sizeof path, "/proc/%d/exe", (int)tid);
    return !stat("/proc/self/exe", &own) && !stat(path, &other) && own.st_dev == other.st_dev &&
           own.st_ino == other.st_ino;
}

/* ---- the tracee's memory --------------------------------------------- */

static long host_ptrace(uint64_t request, pid_t tid, uint64_t addr, uint64_t data)
{
    return proc_raw(SYS_ptrace, request, (uint64_t)tid, addr, data, 0, 0);
}

static long copy(long nr, pid_t tid, void *ours, uint64_t theirs, size_t n)
{
    struct iovec l = {ours, n}, r = {(void *)theirs, n};
    long done = proc_raw(nr, (uint64_t)tid, (uint64_t)&l, 1, (uint64_t)&r, 1, 0);

    return done == (long)n ? 0 : done < 0 ? done : -EFAULT;
}

long proc_trace_read(pid_t tid, void *to, uint64_t from, size_t n)
{
    return copy(SYS_process_vm_readv, tid, to, from, n);
}

long proc_trace_write(pid_t tid, uint64_t to, const void *from, size_t n)
{
    return copy(SYS_process_vm_writev, tid, (void *)from, to, n);
}

bool proc_trace_proc(pid_t pid, struct proc *out)
{
    struct trace_entry *e = NULL;
    struct proc_tracee b;
    bool found;

    pthread_mutex_lock(&proc_trace_lock);
    for (size_t i = 0; i < entries.len && !e; i++)
        if ((entries.data[i].tid == pid || entries.data[i].tgid == pid) && entries.data[i].block)
            e = &entries.data[i];
    found = e && !proc_trace_read(e->tid, &b, e->block, sizeof b) && b.mark == PROC_TRACE_MARK &&
            !proc_trace_read(e->tid, out, b.proc, sizeof *out);
    pthread_mutex_unlock(&proc_trace_lock);
    return found;
}

/* ---- beginning ------------------------------------------------------- */

/* Events are made by the host; execve must always be seen. */
uint32_t proc_trace_host_options(uint32_t options)
{
    const uint32_t host = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                          PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL;

    return (options & host) | PTRACE_O_TRACEEXEC;
}

static void send_mark(const struct trace_entry *e, enum proc_trace_what what, uint64_t value)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = SIGTRAP;
    info.si_errno = (int)(PROC_TRACE_MARK | what);
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = (void *)value;
    proc_raw(SYS_rt_tgsigqueueinfo, (uint64_t)e->tgid, (uint64_t)e->tid, SIGTRAP, (uint64_t)&info,
             0, 0);
}

static long trace_attach(pid_t tid, bool seize, uint64_t addr, uint64_t options)
{
    struct trace_entry *e;
    bool native = !proc_trace_is_ours(tid);
    long r;

    if (seize && (addr || options & ~(uint64_t)PTRACE_O_KNOWN))
        return addr ? -EIO : -EINVAL;
    if (!seize)
        options = 0;
    if (native)
        r = host_ptrace(seize ? PTRACE_SEIZE : PTRACE_ATTACH, tid, 0, options);
    else
        r = host_ptrace(PTRACE_SEIZE, tid, 0, proc_trace_host_options((uint32_t)options));
    if (r < 0)
        return r;
    e = proc_trace_add(tid);
    e->seized = seize;
    e->native = native;
    e->options = (uint32_t)options;
    if (!native)
        send_mark(e, PROC_TRACE_ATTACH, options | (seize ? PROC_TRACE_SEIZED : 0));
    return 0;
}

/* ---- registers ------------------------------------------------------- */

/* struct user_regs_struct and struct __riscv_d_ext_state of the riscv64 kernel. */
enum { TRACE_GREGS = 32 * 8, TRACE_FREGS = 33 * 8 };

static size_t regs_out(uint64_t set, const struct rv_state *s, bool in_call, uint8_t *buf)
{
    uint32_t fcsr = rv_fcsr(s);
    uint64_t pc = s->pc + (in_call ? 4 : 0);

    if (set == NT_PRSTATUS) {
        memcpy(buf, &pc, 8);
        memcpy(buf + 8, s->x + 1, 31 * 8);
        return TRACE_GREGS;
    }
    memset(buf, 0, TRACE_FREGS);
    memcpy(buf, s->f, 32 * 8);
    memcpy(buf + 32 * 8, &fcsr, 4);
    return TRACE_FREGS;
}

static void regs_in(uint64_t set, struct rv_state *s, bool in_call, const uint8_t *buf)
{
    uint32_t fcsr;

    if (set == NT_PRSTATUS) {
        memcpy(&s->pc, buf, 8);
        s->pc -= in_call ? 4 : 0;
        memcpy(s->x + 1, buf + 8, 31 * 8);
        return;
    }
    memcpy(s->f, buf, 32 * 8);
    memcpy(&fcsr, buf + 32 * 8, 4);
    rv_set_fcsr(s, fcsr);
}

static long trace_regset(struct trace_entry *e, bool write, uint64_t set, uint64_t iov)
{
    uint8_t buf[TRACE_FREGS];
    struct proc_tracee b;
    struct rv_state s;
    uint64_t v[2];
    size_t n;

    if (proc_read_guest(v, iov, sizeof v) < 0)
        return -EFAULT;
    if ((set != NT_PRSTATUS && set != NT_PRFPREG) || v[1] % 8)
        return -EINVAL;
    if (!e->block)
        return -EIO;
    if (proc_trace_read(e->tid, &b, e->block, sizeof b) < 0 ||
        proc_trace_read(e->tid, &s, b.state, sizeof s) < 0)
        return -ESRCH;
    n = regs_out(set, &s, b.in_call, buf);
    if (v[1] < n)
        n = v[1];
    v[1] = n;
    if (!write) {
        if (proc_write_guest(v[0], buf, n) < 0)
            return -EFAULT;
    } else {
        if (proc_read_guest(buf, v[0], n) < 0)
            return -EFAULT;
        regs_in(set, &s, b.in_call, buf);
        if (proc_trace_write(e->tid, b.state, &s, sizeof s) < 0)
            return -ESRCH;
    }
    return proc_write_guest(iov, v, sizeof v);
}

/* ---- what the stop is ------------------------------------------------ */

static long trace_siginfo(struct trace_entry *e, bool write, uint64_t addr)
{
    struct proc_tracee b;
    long r;

    if (e->state != TRACE_MARKED) {
        siginfo_t info;

        if (write && proc_read_guest(&info, addr, sizeof info) < 0)
            return -EFAULT;
        r = host_ptrace(write ? PTRACE_SETSIGINFO : PTRACE_GETSIGINFO, e->tid, 0, (uint64_t)&info);
        if (e->state == TRACE_GROUP && !e->seized)
            return -EINVAL;
        return r < 0 || write ? r : proc_write_guest(addr, &info, sizeof info);
    }
    if (proc_trace_read(e->tid, &b, e->block, sizeof b) < 0)
        return -ESRCH;
    if (!b.has_info)
        return -EINVAL;
    if (!write)
        return proc_write_guest(addr, b.info, sizeof b.info);
    if (proc_read_guest(b.info, addr, sizeof b.info) < 0)
        return -EFAULT;
    return proc_trace_write(e->tid, e->block + offsetof(struct proc_tracee, info), b.info,
                            sizeof b.info);
}

static long trace_syscall_info(struct trace_entry *e, uint64_t size, uint64_t addr)
{
    struct ptrace_syscall_info info;
    struct proc_tracee b;
    struct rv_state s;
    size_t n = offsetof(struct ptrace_syscall_info, entry);

    if (!e->block || proc_trace_read(e->tid, &b, e->block, sizeof b) < 0 ||
        proc_trace_read(e->tid, &s, b.state, sizeof s) < 0)
        return -ESRCH;
    memset(&info, 0, sizeof info);
    info.op = e->state == TRACE_MARKED ? (uint8_t)b.op : PTRACE_SYSCALL_INFO_NONE;
    info.arch = TRACE_AUDIT_ARCH;
    info.instruction_pointer = s.pc + (b.in_call ? 4 : 0);
    info.stack_pointer = s.x[RV_SP];
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        info.entry.nr = b.nr;
        memcpy(info.entry.args, b.args, sizeof b.args);
        n = offsetof(struct ptrace_syscall_info, entry) + sizeof info.entry;
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
        info.exit.rval = b.result;
        info.exit.is_error = b.result < 0 && b.result >= -4095;
        n = offsetof(struct ptrace_syscall_info, exit.is_error) + 1;
    }
    if (proc_write_guest(addr, &info, size < n ? size : n) < 0)
        return -EFAULT;
    return (long)n;
}

static long trace_sigmask(struct trace_entry *e, bool write, uint64_t size, uint64_t addr)
{
    struct proc_tracee b;
    uint64_t mask;
    uint32_t one = 1;

    if (size != sizeof mask)
        return -EINVAL;
    if (!e->block || proc_trace_read(e->tid, &b, e->block, sizeof b) < 0)
        return -ESRCH;
    if (!write) {
        if (proc_trace_read(e->tid, &mask, b.mask, sizeof mask) < 0)
            return -ESRCH;
        return proc_write_guest(addr, &mask, sizeof mask);
    }
    if (proc_read_guest(&mask, addr, sizeof mask) < 0)
        return -EFAULT;
    mask &= ~PROC_UNBLOCKABLE;
    proc_trace_write(e->tid, e->block + offsetof(struct proc_tracee, go.mask_set), &one, 4);
    return proc_trace_write(e->tid, b.mask, &mask, sizeof mask);
}

static long trace_options(struct trace_entry *e, uint64_t options)
{
    uint32_t value = (uint32_t)options;
    long r;

    if (options & ~(uint64_t)PTRACE_O_KNOWN)
        return -EINVAL;
    r = host_ptrace(PTRACE_SETOPTIONS, e->tid, 0, proc_trace_host_options(value));
    if (r < 0)
        return r;
    e->options = value;
    if (e->block)
        proc_trace_write(e->tid, e->block + offsetof(struct proc_tracee, options), &value, 4);
    return 0;
}

/* ---- letting go ------------------------------------------------------ */

static long trace_resume(struct trace_entry *e, enum proc_trace_mode mode, uint64_t sig)
{
    struct proc_trace_go go = {.resumed = 1, .mode = mode, .sig = (uint32_t)sig};
    uint64_t at = e->block + offsetof(struct proc_tracee, go);
    long request = mode == PROC_TRACE_DETACH ? PTRACE_DETACH : PTRACE_CONT;
    long r = 0;

    if (sig > PROC_NSIG)
        return -EIO;
    go.changed = e->changed || mem_opened;
    if (e->state == TRACE_MARKED) {
        go.interrupt = e->interrupt;
        e->interrupt = false;
        r = proc_trace_write(e->tid, at, &go, offsetof(struct proc_trace_go, mask_set));
    } else if (e->block) {
        proc_trace_write(e->tid, at + offsetof(struct proc_trace_go, mode), &go.mode, 4);
        proc_trace_write(e->tid, at + offsetof(struct proc_trace_go, changed), &go.changed, 4);
    }
    if (r < 0)
        return -ESRCH;
    e->mode = mode;
    e->changed = false;
    e->state = TRACE_RUNNING;
    e->listening = false;
    r = host_ptrace((uint64_t)request, e->tid, 0, 0);
    if (mode == PROC_TRACE_DETACH)
        *e = entries.data[--entries.len];
    return r;
}

static long trace_interrupt(struct trace_entry *e)
{
    if (!e->seized)
        return -EIO;
    if (e->native)
        return host_ptrace(PTRACE_INTERRUPT, e->tid, 0, 0);
    e->interrupt = true; /* stopped already: once more when it goes on */
    if (e->state != TRACE_MARKED)
        send_mark(e, PROC_TRACE_INTERRUPT, 0);
    return 0;
}

static long trace_listen(struct trace_entry *e)
{
    long r;

    if (!e->seized || e->state != TRACE_GROUP)
        return -EIO;
    r = host_ptrace(PTRACE_LISTEN, e->tid, 0, 0);
    if (r >= 0) {
        e->state = TRACE_RUNNING;
        e->listening = true;
    }
    return r;
}

/* ---- the call -------------------------------------------------------- */

static long trace_poke(struct trace_entry *e, uint64_t addr, uint64_t value)
{
    if (!proc_guest_range(addr, 8))
        return -EIO;
    e->changed = true;
    return host_ptrace(PTRACE_POKEDATA, e->tid, addr, value);
}

static long trace_peek(struct trace_entry *e, uint64_t addr, uint64_t to)
{
    uint64_t word;
    long r;

    if (!proc_guest_range(addr, 8))
        return -EIO;
    r = host_ptrace(PTRACE_PEEKDATA, e->tid, addr, (uint64_t)&word);
    return r < 0 ? r : proc_write_guest(to, &word, sizeof word);
}

/* A program of the host: it has no registers of this machine. */
static long trace_native(struct trace_entry *e, const uint64_t *a)
{
    long r;

    switch ((int)a[0]) {
    case PTRACE_CONT:
    case PTRACE_SYSCALL:
    case PTRACE_DETACH:
    case PTRACE_LISTEN:
        r = host_ptrace(a[0], e->tid, 0, a[3]);
        e->state = TRACE_RUNNING;
        if (r >= 0 && (int)a[0] == PTRACE_DETACH)
            *e = entries.data[--entries.len];
        return r;
    case PTRACE_SETOPTIONS:
        e->options = (uint32_t)a[3];
        return host_ptrace(a[0], e->tid, 0, a[3]);
    case PTRACE_GETSIGINFO:
    case PTRACE_SETSIGINFO:
    case PTRACE_GETEVENTMSG:
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA: return host_ptrace(a[0], e->tid, a[2], a[3]);
    default: return -EIO;
    }
}

static long trace_request(struct trace_entry *e, const uint64_t *a)
{
    switch ((int)a[0]) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA: return trace_peek(e, a[2], a[3]);
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA: return trace_poke(e, a[2], a[3]);
    case PTRACE_CONT: return trace_resume(e, PROC_TRACE_CONT, a[3]);
    case PTRACE_SYSCALL: return trace_resume(e, PROC_TRACE_SYSCALL, a[3]);
    case PTRACE_SINGLESTEP: return trace_resume(e, PROC_TRACE_STEP, a[3]);
    case PTRACE_DETACH: return trace_resume(e, PROC_TRACE_DETACH, a[3]);
    case PTRACE_GETREGSET: return trace_regset(e, false, a[2], a[3]);
    case PTRACE_SETREGSET: return trace_regset(e, true, a[2], a[3]);
    case PTRACE_GETSIGINFO: return trace_siginfo(e, false, a[3]);
    case PTRACE_SETSIGINFO: return trace_siginfo(e, true, a[3]);
    case PTRACE_GETSIGMASK: return trace_sigmask(e, false, a[2], a[3]);
    case PTRACE_SETSIGMASK: return trace_sigmask(e, true, a[2], a[3]);
    case PTRACE_GETEVENTMSG: return proc_write_guest(a[3], &e->message, sizeof e->message);
    case PTRACE_SETOPTIONS: return trace_options(e, a[3]);
    case PTRACE_GET_SYSCALL_INFO: return trace_syscall_info(e, a[2], a[3]);
    case PTRACE_LISTEN: return trace_listen(e);
    default: return -EIO;
    }
}

static long trace_locked(pid_t tid, const uint64_t *a)
{
    struct trace_entry *e;

    switch ((int)a[0]) {
    case PTRACE_ATTACH: return trace_attach(tid, false, 0, 0);
    case PTRACE_SEIZE: return trace_attach(tid, true, a[2], a[3]);
    default: break;
    }
    e = proc_trace_find(tid);
    if (!e)
        return -ESRCH;
    if ((int)a[0] == PTRACE_INTERRUPT)
        return trace_interrupt(e);
    if ((int)a[0] == PTRACE_KILL)
        return proc_raw(SYS_tgkill, (uint64_t)e->tgid, (uint64_t)tid, SIGKILL, 0, 0, 0);
    if (e->state == TRACE_RUNNING)
        return -ESRCH;
    return e->native ? trace_native(e, a) : trace_request(e, a);
}

PROC_SYS(ptrace)
{
    long r;

    if ((int)a[0] == PTRACE_TRACEME) {
        r = host_ptrace(PTRACE_TRACEME, 0, 0, 0);
        if (r >= 0)
            proc_tracee_me(t);
        return r;
    }
    pthread_mutex_lock(&proc_trace_lock);
    r = trace_locked((pid_t)a[1], a);
    pthread_mutex_unlock(&proc_trace_lock);
    return r;
}
