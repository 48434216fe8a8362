/* proc_seccomp.c: seccomp for guests. SPDX-License-Identifier: Apache-2.0
 *
 * A filter names system calls by the guest's numbers and architecture, so the host
 * cannot run it: it is run here, before a call is made. proc->debug has a bit for
 * it, which takes calls away from translated code; who has no filter pays nothing.
 *
 * Filters are objects that are never changed and point to those that were there
 * before, as in the kernel: threads and children share them. A new program gets them
 * by a sealed memory file at a descriptor that is closed before it begins; programs
 * of the host, which could not be filtered, are not started.
 *
 * This keeps a program to what it has promised. It is no wall around one that forges
 * addresses of the emulator, just as the process VM is none (docs/process.md).
 *
 * Not there, as in kernels before 5.0: listeners (SECCOMP_RET_USER_NOTIF).
 */
#include "process/proc_seccomp.h"
#include "process/proc_debug.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AUDIT_ARCH_RISCV64
#define AUDIT_ARCH_RISCV64 0xc00000f3u
#endif
#ifndef SYS_SECCOMP /* si_code of SIGSYS */
#define SYS_SECCOMP 1
#endif

enum {
    MAX_PATH_INSNS = (1 << 18) / sizeof(struct sock_filter), /* of all that a call meets */
    INSNS_EACH = 4,      /* ... and for each filter, by the kernel's count */
    HAND_OVER_FD = 897,  /* where a new program looks */
    HAND_OVER_MAGIC = 0x69736d73,
    HAND_OVER_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
};

struct proc_seccomp {
    _Atomic uint32_t users;
    uint32_t len;              /* 0: stands for the strict mode */
    uint32_t path_insns;       /* with all before it */
    uint32_t depth;
    struct proc_seccomp *prev; /* the older ones */
    struct sock_filter insn[];
};

/* ---- objects --------------------------------------------------------- */

struct proc_seccomp *proc_seccomp_share(struct proc_seccomp *s)
{
    if (s)
        atomic_fetch_add(&s->users, 1);
    return s;
}

void proc_seccomp_free(struct proc_seccomp *s)
{
    while (s && atomic_fetch_sub(&s->users, 1) == 1) {
        struct proc_seccomp *prev = s->prev;

        free(s);
        s = prev;
    }
}

/* A new one in front of prev, which it takes over. */
static struct proc_seccomp *filter_new(struct proc_seccomp *prev, const struct sock_filter *insn,
                                       uint32_t len)
{
    struct proc_seccomp *s = base_zalloc(sizeof *s + len * sizeof *insn);

    s->users = 1;
    s->len = len;
    s->path_insns = len + (prev ? prev->path_insns + INSNS_EACH : 0);
    s->depth = prev ? prev->depth + 1 : 1;
    s->prev = prev;
    if (len)
        memcpy(s->insn, insn, len * sizeof *insn);
    return s;
}

static void set_filters(struct proc_thread *t, struct proc_seccomp *s)
{
    t->seccomp = s;
    atomic_fetch_or(&t->proc->debug, PROC_DEBUG_SECCOMP);
}

/* ---- a call ---------------------------------------------------------- */

/* The thread ends without a signal's handler; the last takes the process along. */
static void kill_thread(struct proc_thread *t, int sig)
{
    uint64_t status[6] = {(uint64_t)sig};

    if (t->proc->nthreads > 1 && !t->shares_memory)
        proc_sys_exit(t, status);
    if (sig == SIGKILL)
        proc_raw(SYS_kill, (uint64_t)getpid(), SIGKILL, 0, 0, 0, 0);
}

static siginfo_t sigsys(const struct seccomp_data *d, uint32_t data)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = SIGSYS;
    info.si_code = SYS_SECCOMP;
    info.si_errno = (int)data;
    info.si_call_addr = (void *)d->instruction_pointer;
    info.si_syscall = d->nr;
    info.si_arch = d->arch;
    return info;
}

/* What the filters say: the strictest, of equals the newest's. */
static uint32_t verdict(const struct proc_seccomp *s, const struct seccomp_data *d)
{
    uint32_t found = SECCOMP_RET_ALLOW;

    for (; s; s = s->prev) {
        uint32_t r = proc_bpf_run(s->insn, d);

        if ((int32_t)(r & SECCOMP_RET_ACTION_FULL) < (int32_t)(found & SECCOMP_RET_ACTION_FULL))
            found = r;
    }
    return found;
}

static bool strict_allows(uint64_t nr)
{
    return nr == 63 || nr == 64 || nr == 93 || nr == 139; /* read, write, exit, rt_sigreturn */
}

/* The vDSO's calls are none natively, but for the return of a handler. */
static bool is_in_vdso(const struct proc_thread *t, uint64_t nr)
{
    return t->rv->pc - t->proc->vdso < PROC_PAGE && nr != 139;
}

bool proc_seccomp_allows(struct proc_thread *t, uint64_t nr, const uint64_t *args, long *result)
{
    struct seccomp_data d = {(int)nr, AUDIT_ARCH_RISCV64, t->rv->pc + 4, {0}};
    siginfo_t info;
    uint32_t r, data;

    if (is_in_vdso(t, nr))
        return true;
    if (!t->seccomp->len) {
        if (!strict_allows(nr))
            kill_thread(t, SIGKILL);
        return true;
    }
    memcpy(d.args, args, sizeof d.args);
    r = verdict(t->seccomp, &d);
    data = r & SECCOMP_RET_DATA;
    info = sigsys(&d, data);
    *result = -ENOSYS;
    switch (r & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG: return true;
    case SECCOMP_RET_ERRNO: *result = -(long)(data < 4095 ? data : 4095); return false;
    case SECCOMP_RET_TRACE: /* no tracer has asked for it */
    case SECCOMP_RET_USER_NOTIF: return false;
    case SECCOMP_RET_TRAP: /* the call is as if it had not been made, but pc is behind it */
        t->rv->pc += 4;
        t->no_advance = true;
        proc_signal_force_info(t, &info);
        return false;
    case SECCOMP_RET_KILL_THREAD: kill_thread(t, SIGSYS); break;
    default: break; /* SECCOMP_RET_KILL_PROCESS, and what nobody knows */
    }
    proc_signal_die(t, &info);
}

/* ---- setting --------------------------------------------------------- */

static bool may_filter(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};

    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return true;
    return proc_raw(SYS_capget, (uint64_t)&h, (uint64_t)d, 0, 0, 0, 0) == 0 &&
           (d[0].effective & 1u << CAP_SYS_ADMIN);
}

static bool is_older(const struct proc_seccomp *s, const struct proc_seccomp *than)
{
    while (than && than != s)
        than = than->prev;
    return than == s;
}

/* Gives every thread t's filters, s; a thread's id if it has others of its own. */
static long set_all(struct proc_thread *t, struct proc_seccomp *s)
{
    struct proc *p = t->proc;
    long r = 0;

    pthread_mutex_lock(&p->threads_lock);
    for (struct proc_thread *o = p->threads; o && !r; o = o->next)
        if (o != t && o->seccomp && !is_older(o->seccomp, t->seccomp))
            r = o->tid;
    for (struct proc_thread *o = p->threads; o && !r; o = o->next)
        if (o != t) { /* its own ones are among s's: they stay */
            struct proc_seccomp *old = o->seccomp;

            o->seccomp = proc_seccomp_share(s);
            proc_seccomp_free(old);
        }
    pthread_mutex_unlock(&p->threads_lock);
    return r;
}

static long set_strict(struct proc_thread *t)
{
    if (t->seccomp && t->seccomp->len)
        return -EINVAL;
    if (!t->seccomp)
        set_filters(t, filter_new(NULL, NULL, 0));
    return 0;
}

static long set_filter(struct proc_thread *t, uint64_t flags, uint64_t addr)
{
    const uint64_t known = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG |
                           SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    struct sock_filter insn[BPF_MAXINSNS];
    struct proc_seccomp *s;
    struct {
        uint16_t len;
        uint64_t insn;
    } prog;
    long r;

    if (flags & ~known)
        return -EINVAL;
    if (proc_read_guest(&prog, addr, sizeof prog) < 0)
        return -EFAULT;
    if (!prog.len || prog.len > BPF_MAXINSNS)
        return -EINVAL;
    if (!may_filter())
        return -EACCES;
    if (proc_read_guest(insn, prog.insn, prog.len * sizeof *insn) < 0)
        return -EFAULT;
    if (!proc_bpf_good(insn, prog.len) || (t->seccomp && !t->seccomp->len))
        return -EINVAL;
    s = filter_new(t->seccomp, insn, prog.len);
    r = s->path_insns > MAX_PATH_INSNS ? -ENOMEM : 0;
    if (!r && (flags & SECCOMP_FILTER_FLAG_TSYNC)) {
        r = set_all(t, s);
        if (r && (flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH))
            r = -ESRCH;
    }
    if (r)
        free(s);
    else
        set_filters(t, s);
    return r;
}

static long action_available(uint64_t addr)
{
    uint32_t action;

    if (proc_read_guest(&action, addr, sizeof action) < 0)
        return -EFAULT;
    switch (action) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP:
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW: return 0;
    default: return -EOPNOTSUPP;
    }
}

PROC_SYS(seccomp)
{
    switch ((uint32_t)a[0]) {
    case SECCOMP_SET_MODE_STRICT: return a[1] || a[2] ? -EINVAL : set_strict(t);
    case SECCOMP_SET_MODE_FILTER: return set_filter(t, (uint32_t)a[1], a[2]);
    case SECCOMP_GET_ACTION_AVAIL: return a[1] ? -EINVAL : action_available(a[2]);
    default: return -EINVAL;
    }
}

long proc_seccomp_prctl(struct proc_thread *t, uint64_t mode, uint64_t program)
{
    switch (mode) {
    case SECCOMP_MODE_STRICT: return set_strict(t);
    case SECCOMP_MODE_FILTER: return set_filter(t, 0, program);
    default: return -EINVAL;
    }
}

long proc_seccomp_mode(const struct proc_thread *t)
{
    return !t->seccomp           ? SECCOMP_MODE_DISABLED
           : t->seccomp->len == 0 ? SECCOMP_MODE_STRICT
                                  : SECCOMP_MODE_FILTER;
}

unsigned proc_seccomp_filters(const struct proc_thread *t)
{
    return t->seccomp && t->seccomp->len ? t->seccomp->depth : 0;
}

/* ---- over execve ----------------------------------------------------- */

/* The file: a word that says what it is, then the filters, oldest first, each its
 * length and its instructions. */

static bool put(int fd, const void *data, size_t n) { return write(fd, data, n) == (ssize_t)n; }

static bool put_filters(int fd, const struct proc_seccomp *s)
{
    const struct proc_seccomp **all = base_alloc(s->depth * sizeof *all);
    uint32_t magic = HAND_OVER_MAGIC, n = s->depth;
    bool good = put(fd, &magic, sizeof magic);

    for (uint32_t i = n; i-- > 0; s = s->prev)
        all[i] = s;
    for (uint32_t i = 0; i < n && good; i++)
        good = put(fd, &all[i]->len, sizeof all[i]->len) &&
               put(fd, all[i]->insn, all[i]->len * sizeof *all[i]->insn);
    free(all);
    return good && fcntl(fd, F_ADD_SEALS, HAND_OVER_SEALS) == 0;
}

long proc_seccomp_hand_over(const struct proc_thread *t)
{
    int fd;
    bool good;

    if (!t->seccomp)
        return 0;
    if (fcntl(HAND_OVER_FD, F_GETFD) >= 0) /* the guest has a file there */
        return -EMFILE;
    fd = memfd_create("seccomp", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    good = put_filters(fd, t->seccomp) && dup2(fd, HAND_OVER_FD) >= 0;
    close(fd);
    return good ? 0 : -EMFILE;
}

void proc_seccomp_keep(void) { close(HAND_OVER_FD); }

static bool get(int fd, void *data, size_t n) { return read(fd, data, n) == (ssize_t)n; }

static bool get_filters(int fd, struct proc_seccomp **s)
{
    struct sock_filter insn[BPF_MAXINSNS];
    uint32_t len;
    ssize_t n;

    while ((n = read(fd, &len, sizeof len)) == sizeof len) {
        if (len > BPF_MAXINSNS || !get(fd, insn, len * sizeof *insn) ||
            (len && !proc_bpf_good(insn, len)))
            return false;
        *s = filter_new(*s, insn, len);
    }
    return n == 0;
}

long proc_seccomp_take(struct proc_thread *t)
{
    struct proc_seccomp *s = NULL;
    uint32_t magic;
    bool good;

    if (fcntl(HAND_OVER_FD, F_GET_SEALS) != HAND_OVER_SEALS)
        return 0;
    lseek(HAND_OVER_FD, 0, SEEK_SET);
    if (!get(HAND_OVER_FD, &magic, sizeof magic) || magic != HAND_OVER_MAGIC)
        return 0; /* a file of the guest's own */
    good = get_filters(HAND_OVER_FD, &s);
    close(HAND_OVER_FD);
    /* Who wrote it may have had less rights than we: no filter fools a setuid program. */
    if (good && s && !getauxval(AT_SECURE))
        set_filters(t, s);
    return good ? 0 : -EINVAL;
}
