/* proc_exec.c: what a file is, and running it in place of this process.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Programs of the guest run by starting this emulator anew on them, programs of
 * the host directly, scripts by their interpreter; no binfmt_misc is needed.
 * Whatever can fail is looked at before the point of no return, so that the
 * guest gets from execve() the error that Linux would give.
 *
 * The kernel does the rest: descriptors, resetting handlers, ignored signals,
 * the mask, timers, killing other threads, waking a vfork parent. Only the five
 * signals that always have our handler need help (proc_signal.h).
 *
 * A vfork child runs this in its parent's memory: it allocates nothing that
 * would be left behind when it succeeds, except what its parent frees
 * (t->sig->exec_block, exec_env).
 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"
#include "process/proc_seccomp.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EXEC_MAX_DEPTH = 5,       /* interpreters of interpreters, as in the kernel */
    EXEC_MAX_ARGS = 0x7ffffff /* bounds the argument vector (kernel: E2BIG) */
};

/* One "#!" file on the way to a program. */
struct exec_step {
    char head[PROC_HEAD_SIZE + 1];
    char *interp, *arg; /* in head */
};
struct exec_walk {
    unsigned depth; /* steps that are filled */
    struct exec_step step[EXEC_MAX_DEPTH];
    enum proc_file_kind kind;
    char path[PATH_MAX]; /* the program on the host */
    int fd;
    const char *why;
};

/* ---- looking --------------------------------------------------------- */

static long elf_read(void *ctx, void *buf, uint64_t offset, size_t n)
{
    return pread(*(int *)ctx, buf, n, (off_t)offset);
}

/* The dynamic linker that a program asks for must be there. */
static int check_linker(struct proc *p, const char *interp, const char **why)
{
    char path[PATH_MAX];
    uint8_t head[PROC_HEAD_SIZE];
    ssize_t n = -1;
    int fd;

    if (proc_path_str(p, interp, path, PROC_PATH_LOOKUP) < 0)
        return -ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *why = "its dynamic linker is missing (is -L right?)";
        return -errno;
    }
    n = pread(fd, head, sizeof head, 0);
    close(fd);
    if (n < 0 || proc_file_kind(head, (size_t)n) != PROC_FILE_RISCV64) {
        *why = "its dynamic linker is not a riscv64 program (is -L right?)";
        return -ELIBBAD;
    }
    return 0;
}

static int check_riscv64(struct proc *p, int fd, uint64_t size, const char **why)
{
    struct proc_elf_plan plan;
    const char *wrong = proc_elf_plan(&plan, size, elf_read, &fd);

    if (wrong) {
        *why = wrong;
        return -ENOEXEC;
    }
    return plan.interp[0] ? check_linker(p, plan.interp, why) : 0;
}

/* Opens the file and judges it: kind, w->fd; or -errno. */
static int open_program(struct proc *p, struct exec_walk *w, struct exec_step *step)
{
    struct stat st;
    ssize_t n;

    w->fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (w->fd < 0 || fstat(w->fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode)) {
        w->why = S_ISDIR(st.st_mode) ? "it is a directory" : "it is not a regular file";
        return -EACCES;
    }
    if (faccessat(AT_FDCWD, w->path, X_OK, AT_EACCESS) < 0)
        return -EACCES;
    n = pread(w->fd, step->head, PROC_HEAD_SIZE, 0);
    if (n < 0)
        return -errno;
    w->kind = proc_file_kind((uint8_t *)step->head, (size_t)n);
    if (w->kind == PROC_FILE_SCRIPT) {
        if (proc_script_line(step->head, (size_t)n, &step->interp, &step->arg))
            return 0;
        w->why = "its #! line names no interpreter";
        return -ENOEXEC;
    }
    if (w->kind == PROC_FILE_RISCV64)
        return check_riscv64(p, w->fd, (uint64_t)st.st_size, &w->why);
    if (w->kind == PROC_FILE_HOST)
        return 0;
    w->why = w->kind == PROC_FILE_OTHER_ELF ? "it is an ELF file, but no riscv64 program"
                                            : "it is neither an ELF program nor a script";
    return -ENOEXEC;
}

/* What path is once scripts were followed: 0 with w->fd open, or -errno. */
static int walk(struct proc *p, const char *path, struct exec_walk *w)
{
    struct exec_step last;
    int r;

    w->depth = 0;
    w->why = NULL;
    for (;;) {
        struct exec_step *step = w->depth < EXEC_MAX_DEPTH ? &w->step[w->depth] : &last;

        w->fd = -1;
        if (proc_path_str(p, path, w->path, PROC_PATH_LOOKUP) < 0)
            return -ENAMETOOLONG;
        r = open_program(p, w, step);
        if (!r && w->kind != PROC_FILE_SCRIPT)
            return 0;
        if (w->fd >= 0)
            close(w->fd);
        if (r < 0) {
            if (w->depth && r == -ENOENT && !w->why)
                w->why = "the interpreter that its #! line names is missing";
            return r;
        }
        if (step == &last) {
            w->why = "its interpreters are scripts without end";
            return -ELOOP;
        }
        w->depth++;
        path = step->interp;
    }
}

/* Arguments in front of argv[1..]: interpreters, innermost program first, and
 * the script's path (fs/binfmt_script.c). Returns how many. */
static size_t script_args(const struct exec_walk *w, const char *path, const char **out)
{
    size_t n = 0;

    for (unsigned i = w->depth; i-- > 0;) {
        out[n++] = w->step[i].interp;
        if (w->step[i].arg)
            out[n++] = w->step[i].arg;
    }
    out[n++] = path;
    return n;
}

/* The path of an open file, or one that leads to its descriptor. */
static long path_of_fd(int fd, char *path)
{
    char link[64];
    struct stat by_fd, by_path;
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX - 1);
    if (n < 0)
        return errno == ENOENT ? -EBADF : -errno;
    path[n] = 0;
    if (fstat(fd, &by_fd) < 0)
        return -errno;
    if (stat(path, &by_path) < 0 || by_path.st_dev != by_fd.st_dev ||
        by_path.st_ino != by_fd.st_ino)
        strcpy(path, link);
    return 0;
}

/* ---- for isomer_run -------------------------------------------------- */

int proc_exec_resolve(struct proc *p, const char *path, char **argv, struct proc_program *out,
                      const char **why)
{
    struct exec_walk w;
    const char *front[2 * EXEC_MAX_DEPTH + 1];
    char real[PATH_MAX];
    size_t argc = 0, nfront = 0, n = 0;
    int r = walk(p, path, &w);

    *why = NULL;
    if (r < 0) {
        *why = w.why ? w.why : strerror(-r);
        return r;
    }
    while (argv[argc])
        argc++;
    if (w.depth)
        nfront = script_args(&w, path, front);
    out->argv = base_alloc((argc + nfront + 1) * sizeof *out->argv);
    for (; n < nfront; n++)
        out->argv[n] = base_strdup(front[n]);
    for (size_t i = nfront && argc ? 1 : 0; i < argc; i++)
        out->argv[n++] = argv[i];
    out->argv[n] = NULL;
    out->fd = w.fd;
    out->kind = w.kind;
    if (w.kind == PROC_FILE_RISCV64)
        if (path_of_fd(w.fd, w.path) < 0 && realpath(w.path, real)) /* no /proc */
            strcpy(w.path, real);
    /* (that is what /proc/self/exe shows: absolute, no links) */
    out->path = base_strdup(w.path);
    out->execfn = base_strdup(path);
    return 0;
}

int proc_exec_given(int fd, const char *path, char **argv, struct proc_program *out)
{
    char real[PATH_MAX];

    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    if (path_of_fd(fd, real) < 0 && !realpath(path, real)) /* no /proc */
        snprintf(real, sizeof real, "%s", path);
    out->fd = fd;
    out->kind = PROC_FILE_RISCV64;
    out->path = base_strdup(real);
    out->execfn = (char *)getauxval(AT_EXECFN); /* of a script: the script */
    out->argv = argv;
    return 0;
}

int proc_exec_host(struct proc *p, struct proc_program *prog, char **envp)
{
    (void)p;
    execve(prog->path, prog->argv, envp);
    return -errno;
}

/* ---- our own command line -------------------------------------------- */

/* Bounded text for option values that are numbers. */
struct own_args {
    const char *arg[40];
    size_t n;
    char text[3][48];
};

static void add(struct own_args *o, const char *arg) { o->arg[o->n++] = arg; }

static void add_number(struct own_args *o, char *text, size_t size, const char *option, uint64_t v)
{
    snprintf(text, size, "%s%llu", option, (unsigned long long)v);
    add(o, text);
}

/* isomer run OPTIONS -0 argv0 -- path: what is in force here. */
static void own_command(const struct proc *p, struct own_args *o, const char *argv0,
                        const char *path)
{
    const struct isomer_run_options *opt = p->opt;
    const char *gdb;

    o->n = 0;
    add(o, "isomer");
    add(o, "run");
    if (p->sysroot) {
        add(o, "-L");
        add(o, p->sysroot);
    }
    if (opt->cpu_features) {
        add(o, "--cpu-features");
        add(o, opt->cpu_features);
    }
    if (opt->engine == ISOMER_ENGINE_INTERPRETER)
        add(o, "--interpreter");
    if (opt->engine == ISOMER_ENGINE_LOCKSTEP)
        add(o, "--lockstep");
    if (opt->stats)
        add(o, "--stats");
    if (opt->no_link)
        add(o, "--no-link");
    if (opt->gdb && (gdb = proc_gdb_hand_over(proc_self)))
        add(o, gdb);
    if (opt->perf)
        add(o, "--perf=map");
    if (opt->trace) {
        add(o, "--trace=syscalls");
        add(o, proc_trace_again());
    }
    if (opt->cache_size)
        add_number(o, o->text[0], sizeof o->text[0], "--cache-size=", opt->cache_size);
    if (opt->translations) {
        add(o, "--translations");
        add(o, proc_store_option(p));
    }
    if (opt->tier2) {
        add(o, "--tier2");
        add(o, opt->tier2);
    }
    if (opt->test_deopt)
        add(o, "--test-deopt");
    if (opt->test_ra)
        add(o, "--test-ra");
    if (opt->seed_given || opt->test_deopt || opt->test_ra)
        add_number(o, o->text[1], sizeof o->text[1], "--seed=", opt->seed);
    add(o, "-0");
    add(o, argv0);
    add(o, "--");
    add(o, path);
}

/* ---- execve ---------------------------------------------------------- */

/* The guest's argv: pointers are ours, as they are. -errno. */
static long count_args(uint64_t argv)
{
    uint64_t word;

    if (!argv)
        return 0;
    for (long n = 0; n < EXEC_MAX_ARGS; n++) {
        if (proc_read_guest(&word, argv + 8 * (uint64_t)n, 8) < 0)
            return -EFAULT;
        if (!word)
            return n;
        if (word >= PROC_TASK_SIZE)
            return -EFAULT;
    }
    return -E2BIG;
}

/* Leaves the host process as the guest's would be: what is ignored and blocked
 * among the signals that always have our handler. */
static void expose_signals(struct proc_thread *t)
{
    struct proc_thread_signals *s = t->sig;

    for (int sig = 1; sig <= PROC_NSIG; sig++)
        if (((PROC_SYNC_SIGNALS & proc_sigbit(sig)) || proc_tracee_takes_all()) &&
            s->table->action[sig].handler == PROC_SIG_IGN)
            proc_signal_expose(sig);
    if (s->mask & PROC_SYNC_SIGNALS)
        proc_raw(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&s->mask, 0, 8, 0, 0);
}

static void unexpose_signals(struct proc_thread *t)
{
    if (t->sig->mask & PROC_SYNC_SIGNALS)
        proc_sigmask_set_host(t->sig->mask);
    for (int sig = 1; sig <= PROC_NSIG; sig++)
        if ((PROC_SYNC_SIGNALS & proc_sigbit(sig)) || proc_tracee_takes_all())
            proc_signal_mirror(t->sig->table, sig);
}

/* The host's execve; path NULL is ourselves. Only comes back with an error. */
static long leave(struct proc_thread *t, const char *path, const char **argv, uint64_t envp)
{
    struct proc *p = t->proc;
    static char *const none[] = {NULL};
    bool alone = !t->shares_memory && p->nthreads == 1;
    long r = proc_seccomp_hand_over(t);

    if (r < 0)
        return r;
    if (!t->shares_memory)
        proc_store_save(p);
    expose_signals(t);
    if (alone)
        jit_detach(p->jit);
    if (!envp)
        envp = (uint64_t)none;
    r = path ? proc_syscall(t, SYS_execve, (uint64_t)path, (uint64_t)argv, envp, 0, 0, 0)
             : proc_self_exec(t, argv, envp);
    if (alone)
        jit_attach(p->jit, t->vcpu);
    unexpose_signals(t);
    if (t->seccomp)
        proc_seccomp_keep();
    if (r == -PROC_ERESTARTSYS)
        t->sig->no_eintr = true; /* a signal came before the call */
    return r;
}

/* What the guest's C library is told in its environment (LD_PRELOAD, ...) would be taken by the
 * host's, when it loads us: those variables have a byte in front of their names on the way to the
 * emulator that comes next (proc_exec_environment). */
enum { EXEC_HIDDEN = 1, EXEC_HIDDEN_MAX = 16 << 10 };

/* Reads variable s as it is handed on to out; how long that is with its NUL, 0: as it stands. */
static size_t hide(uint64_t s, char *out)
{
    static const char *const names[] = {"LD_", "GLIBC_TUNABLES=", "MALLOC_", "\001"};
    long n = proc_read_string(out + 1, s, EXEC_HIDDEN_MAX);

    out[0] = EXEC_HIDDEN;
    for (size_t i = 0; n >= 0 && i < BASE_ARRAY_SIZE(names); i++)
        if (!strncmp(out + 1, names[i], strlen(names[i])))
            return (size_t)n + 2;
    return 0;
}

/* The guest's n variables at envp for the next emulator; malloc()ed in one piece. NULL: they can
 * be passed on as they are. */
static uint64_t *hide_all(uint64_t envp, size_t n)
{
    char *text = base_alloc(EXEC_HIDDEN_MAX + 1);
    uint64_t *env = base_alloc((n + 1) * sizeof *env);
    size_t len = 0, got;

    env[n] = 0;
    if (proc_read_guest(env, envp, n * sizeof *env) < 0)
        n = 0;
    for (size_t i = 0; i < n; i++)
        len += hide(env[i], text);
    env = base_realloc(env, (n + 1) * sizeof *env + len);
    for (size_t i = 0, at = 0; i < n && at < len; i++) {
        char *to = (char *)(env + n + 1) + at;

        got = hide(env[i], text);
        if (!got || got > len - at) /* (another thread writes there) */
            continue;
        memcpy(to, text, got);
        env[i] = (uint64_t)to;
        at += got;
    }
    free(text);
    if (len)
        return env;
    free(env);
    return NULL;
}

void proc_exec_environment(char **envp)
{
    for (; *envp; envp++)
        if (**envp == EXEC_HIDDEN)
            ++*envp;
}

/* argv of the host's execve: front[0..nfront), then the guest's from argv[1]. path NULL is
 * ourselves. */
static long leave_with(struct proc_thread *t, const char *path, const char **front, size_t nfront,
                       uint64_t argv, size_t argc, uint64_t envp)
{
    const char **all;
    size_t rest = argc > 1 ? argc - 1 : 0;
    long r = -EFAULT, nenv = path ? 0 : count_args(envp);
    uint64_t *env = nenv > 0 ? hide_all(envp, (size_t)nenv) : NULL;

    all = base_alloc((nfront + rest + 1) * sizeof *all);
    t->sig->exec_block = all;
    t->sig->exec_env = env;
    memcpy(all, front, nfront * sizeof *all);
    if (!rest || proc_read_guest(all + nfront, argv + 8, rest * 8) == 0) {
        all[nfront + rest] = NULL;
        r = leave(t, path, all, env ? (uint64_t)env : envp);
    }
    t->sig->exec_env = NULL;
    free(env);
    t->sig->exec_block = NULL;
    free(all);
    return r;
}

/* /proc/self/exe is the guest's program, not ours. */
static const char *own_exe(const struct proc *p, const char *path)
{
    char with_pid[32];

    snprintf(with_pid, sizeof with_pid, "/proc/%d/exe", (int)getpid());
    if (!strcmp(path, "/proc/self/exe") || !strcmp(path, "/proc/thread-self/exe") ||
        !strcmp(path, with_pid))
        return p->exe;
    return path;
}

static long do_exec(struct proc_thread *t, const char *path, uint64_t argv, uint64_t envp)
{
    struct proc *p = t->proc;
    struct exec_walk w;
    struct own_args own;
    const char *front[2 * EXEC_MAX_DEPTH + 1];
    uint64_t argv0 = 0;
    char here[PATH_MAX + 2];
    bool kernel = proc_self_has_kernel(p);
    long argc, r, known;

    if (!*path)
        return -ENOENT;
    path = own_exe(p, path);
    r = walk(p, path, &w);
    if (r >= 0)
        close(w.fd);
    else if (!kernel || (r != -ENOEXEC && r != -EACCES))
        return r;
    known = r;
    argc = count_args(argv);
    if (argc < 0)
        return argc;
    if (argc && proc_read_guest(&argv0, argv, 8) < 0)
        return -EFAULT;
    if (kernel) { /* scripts, credentials, other formats, files that we may not read */
        front[0] = argv0 ? (const char *)argv0 : "";
        r = leave_with(t, path, front, 1, argv, (size_t)argc, envp);
        if (r != -ENOEXEC || known < 0)
            return r;
    }
    if (w.kind == PROC_FILE_HOST && t->seccomp) /* nobody would filter its calls */
        return -EACCES;
    if (w.kind == PROC_FILE_HOST && w.depth)
        return leave_with(t, w.path, front, script_args(&w, path, front), argv, (size_t)argc, envp);
    if (w.kind == PROC_FILE_HOST) {
        front[0] = argv0 ? (const char *)argv0 : "";
        return leave_with(t, w.path, front, 1, argv, (size_t)argc, envp);
    }
    if (!strchr(path, '/')) { /* not to be looked up in PATH */
        snprintf(here, sizeof here, "./%s", path);
        path = here;
    }
    own_command(p, &own, argv0 ? (const char *)argv0 : "", path);
    r = leave_with(t, NULL, own.arg, own.n, argv, (size_t)argc, envp);
    proc_gdb_keep(t);
    return r;
}

PROC_SYS(execve)
{
    char path[PATH_MAX];
    long r = proc_read_string(path, a[0], sizeof path);

    return r < 0 ? r : do_exec(t, path, a[1], a[2]);
}

/* A file without a name (memfd) must stay open over the start of ourselves;
 * it then is a descriptor more in the program. */
static long exec_fd(struct proc_thread *t, int fd, uint64_t argv, uint64_t envp)
{
    char path[PATH_MAX];
    long r = path_of_fd(fd, path);
    int keep = -1;

    if (r < 0)
        return r;
    if (!strncmp(path, "/proc/self/fd/", 14)) {
        keep = fcntl(fd, F_DUPFD, 3);
        if (keep < 0)
            return -errno;
        snprintf(path, sizeof path, "/proc/self/fd/%d", keep);
    }
    r = do_exec(t, path, argv, envp);
    if (keep >= 0)
        close(keep);
    return r;
}

PROC_SYS(execveat)
{
    char path[PATH_MAX];
    int dir = (int)a[0], fd;
    long r = proc_read_string(path, a[1], sizeof path);
    struct stat st;

    if (r < 0)
        return r;
    if (a[4] & ~(uint64_t)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    if (!*path && (a[4] & AT_EMPTY_PATH))
        return exec_fd(t, dir, a[2], a[3]);
    if ((a[4] & AT_SYMLINK_NOFOLLOW) && !fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) &&
        S_ISLNK(st.st_mode))
        return -ELOOP;
    if (!*path || *path == '/' || dir == AT_FDCWD)
        return do_exec(t, path, a[2], a[3]);
    fd = openat(dir, path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = exec_fd(t, fd, a[2], a[3]);
    close(fd);
    return r;
}
