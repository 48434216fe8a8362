/* proc_trace.c: --trace=syscalls: each call of the guest as strace writes it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A line is begun before the call, because the call may wait, never return, or
 * write to the terminal itself, and ended behind it. What a call fills in is
 * written after it; so arguments from the first such one on belong to the end.
 * With more than one thread or process a line is written in one piece, or, if
 * the call may wait, broken as strace does it: "<unfinished ...>", and later
 * "<... read resumed>".
 *
 * Child processes and the programs they execute are traced too; their lines
 * begin with [pid N] as soon as there is more than one thread or process.
 */
#include "process/proc_debug.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RESULT_COLUMN = 39 }; /* as strace has it */

struct proc_trace {
    pthread_mutex_t lock;
    int fd;
    bool many;                   /* more than one task: each line names its */
    size_t column;               /* ... where it is */
    struct proc_thread *unended; /* whose line is begun and not ended */
};

static struct proc_trace trace = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = 2};

/* ---- lines ----------------------------------------------------------- */

static void put(struct base_text *line)
{
    size_t at = 0;

    while (at < line->len) {
        long n = proc_raw(SYS_write, (uint64_t)trace.fd, (uint64_t)(line->data + at),
                          line->len - at, 0, 0, 0);

        if (n <= 0)
            break;
        at += (size_t)n;
    }
    base_text_free(line);
}

static void prefix(struct proc_thread *t, struct base_text *line)
{
    if (t->proc->nthreads > 1)
        trace.many = true;
    if (trace.many)
        base_text_printf(line, "[pid %d] ", (int)t->tid);
}

/* Lock held: breaks another one's line. */
static void interrupt_line(const struct proc_thread *t, struct base_text *line)
{
    if (trace.unended && trace.unended != t)
        base_text_printf(line, " <unfinished ...>\n");
    trace.unended = NULL;
}

static const struct proc_call *call_of(uint64_t nr, struct proc_call *unknown, char *name,
                                       size_t size)
{
    if (nr < PROC_CALL_MAX && proc_calls[nr].name)
        return &proc_calls[nr];
    snprintf(name, size, "syscall_%#llx", (unsigned long long)nr);
    *unknown = (struct proc_call){.name = name, .args = "xxxxxx", .nargs = 6};
    return unknown;
}

static void put_args(struct base_text *line, const struct proc_call *c, const uint64_t *args,
                     unsigned from, unsigned upto, long result)
{
    for (unsigned i = from; i < upto; i++) {
        base_text_printf(line, "%s", i ? ", " : "");
        proc_trace_arg(line, c, args, i, result);
    }
}

/* The line's beginning: up to the first argument that the call fills in. */
static void begin_call(struct proc_thread *t, const struct proc_call *c, const uint64_t *args,
                       unsigned upto, const char *end)
{
    struct base_text line = {0};

    pthread_mutex_lock(&trace.lock);
    interrupt_line(t, &line);
    prefix(t, &line);
    base_text_printf(&line, "%s(", c->name);
    put_args(&line, c, args, 0, upto, 0);
    base_text_printf(&line, "%s", end);
    trace.unended = *end ? NULL : t;
    trace.column = line.len;
    put(&line);
    pthread_mutex_unlock(&trace.lock);
}

/* The rest of it; from 0 and not resumed: all. */
static void end_call(struct proc_thread *t, const struct proc_call *c, const uint64_t *args,
                     unsigned from, bool resumed, long result)
{
    struct base_text line = {0};
    size_t column = 0;

    pthread_mutex_lock(&trace.lock);
    if (!resumed && trace.unended == t) {
        column = trace.column;
    } else {
        resumed |= from > 0;
        interrupt_line(t, &line);
        prefix(t, &line);
        base_text_printf(&line, resumed ? "<... %s resumed>" : "%s(", c->name);
    }
    put_args(&line, c, args, from, proc_trace_nargs(c, args), result);
    base_text_printf(&line, ")");
    if (column + line.len < RESULT_COLUMN)
        base_text_printf(&line, "%*s", (int)(RESULT_COLUMN - column - line.len), "");
    proc_trace_result(&line, c, args, result);
    base_text_printf(&line, "\n");
    trace.unended = NULL;
    put(&line);
    pthread_mutex_unlock(&trace.lock);
}

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(*list, name))
            return true;
    return false;
}

/* Makes a process, or another program of this one, which has its own state of
 * the trace: from here on no line is left begun. */
static bool makes_many(const struct proc_call *c)
{
    static const char *const names[] = {"clone", "clone3", "execve", "execveat", NULL};

    return is_one_of(c->name, names);
}

static bool may_wait(const struct proc_call *c)
{
    static const char *const names[] = {"execve", "execveat", "rt_sigsuspend", "rt_sigtimedwait",
                                        "ppoll", "pselect6", "epoll_pwait", NULL};

    return c->blocks || is_one_of(c->name, names);
}

static bool is_exit(const struct proc_call *c)
{
    return !strcmp(c->name, "exit") || !strcmp(c->name, "exit_group");
}

long proc_trace_call(struct proc_thread *t, uint64_t nr, const uint64_t *args)
{
    struct proc_call unknown;
    char name[32];
    const struct proc_call *c = call_of(nr, &unknown, name, sizeof name);
    unsigned n = proc_trace_nargs(c, args), upto = 0;
    pid_t pid = getpid();
    bool whole;
    long r;

    while (upto < n && !proc_trace_is_out(c, upto))
        upto++;
    if (makes_many(c) || t->proc->nthreads > 1)
        trace.many = true;
    whole = trace.many && !may_wait(c);
    if (is_exit(c))
        begin_call(t, c, args, n, ") = ?\n");
    else if (!whole)
        begin_call(t, c, args, upto, trace.many ? " <unfinished ...>\n" : "");
    r = proc_dispatch(t, nr, args);
    if (makes_many(c) && r == 0 && getpid() != pid) { /* a child */
        pthread_mutex_init(&trace.lock, NULL);
        trace.unended = NULL;
        return r;
    }
    end_call(t, c, args, whole ? 0 : upto, trace.many && !whole, r);
    return r;
}

/* ---- other lines ----------------------------------------------------- */

void proc_trace_signal(struct proc_thread *t, const siginfo_t *info)
{
    struct base_text line = {0};
    char name[16];

    pthread_mutex_lock(&trace.lock);
    interrupt_line(t, &line);
    prefix(t, &line);
    base_text_printf(&line, "--- %s ", proc_trace_signame(info->si_signo, name, sizeof name));
    proc_trace_siginfo(&line, info);
    base_text_printf(&line, " ---\n");
    put(&line);
    pthread_mutex_unlock(&trace.lock);
}

void proc_trace_end(struct proc *p, int status, int sig)
{
    struct base_text line = {0};
    char name[16];

    if (!(atomic_load(&p->debug) & PROC_DEBUG_TRACE))
        return;
    pthread_mutex_lock(&trace.lock);
    interrupt_line(NULL, &line);
    if (trace.many)
        base_text_printf(&line, "[pid %d] ", (int)getpid());
    if (sig)
        base_text_printf(&line, "+++ killed by %s%s +++\n",
                         proc_trace_signame(sig, name, sizeof name),
                         p->core_written ? " (core dumped)" : "");
    else
        base_text_printf(&line, "+++ exited with %d +++\n", status & 0xff);
    put(&line);
    pthread_mutex_unlock(&trace.lock);
}

void proc_trace_thread_end(struct proc_thread *t, int status)
{
    struct base_text line = {0};

    if (!(atomic_load(&t->proc->debug) & PROC_DEBUG_TRACE))
        return;
    pthread_mutex_lock(&trace.lock);
    interrupt_line(NULL, &line);
    prefix(t, &line);
    base_text_printf(&line, "+++ exited with %d +++\n", status & 0xff);
    put(&line);
    pthread_mutex_unlock(&trace.lock);
}

/* ---- beginning ------------------------------------------------------- */

/* As high as the guest will not look; the line is ours alone. */
static int high_fd(int fd)
{
    struct rlimit rl;
    int min = 900, high;

    if (!getrlimit(RLIMIT_NOFILE, &rl) && rl.rlim_cur < 1024)
        min = rl.rlim_cur > 16 ? (int)rl.rlim_cur - 16 : 3;
    high = fcntl(fd, F_DUPFD_CLOEXEC, min);
    return high < 0 ? fd : high;
}

/* Option of the programs that this one executes. */
static char again[PATH_MAX + 32] = "--trace-file=>>";

const char *proc_trace_again(void) { return again; }

static int open_file(const char *name)
{
    char path[PATH_MAX], real[PATH_MAX];
    int fd;

    trace.many = !strncmp(name, ">>", 2);
    if (trace.many)
        name += 2;
    if (!*name) {
        trace.fd = high_fd(2);
        return 0;
    }
    snprintf(path, sizeof path, "%s", name);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (trace.many ? 0 : O_TRUNC), 0666);
    if (fd < 0) {
        base_error("--trace-file %s: %s", path, strerror(errno));
        return ISOMER_EXIT_USAGE;
    }
    snprintf(again, sizeof again, "--trace-file=>>%s", realpath(path, real) ? real : path);
    trace.fd = high_fd(fd);
    if (trace.fd != fd)
        close(fd);
    return 0;
}

int proc_trace_start(struct proc_thread *t)
{
    struct proc *p = t->proc;
    struct base_text line = {0};
    int status;

    if (strcmp(p->opt->trace, "syscalls")) {
        base_error("--trace=%s: only syscalls can be traced", p->opt->trace);
        return ISOMER_EXIT_USAGE;
    }
    status = open_file(p->opt->trace_file ? p->opt->trace_file : "");
    if (status)
        return status;
    atomic_fetch_or(&p->debug, PROC_DEBUG_TRACE);
    if (trace.many) /* an execve that began in the old program */
        base_text_printf(&line, "[pid %d] <... execve resumed>) = 0\n", (int)t->tid);
    else {
        unsigned vars = 0;

        while (p->envp[vars])
            vars++;
        base_text_printf(&line, "execve(\"%s\", [", p->execfn);
        for (char **a = p->argv; *a; a++)
            base_text_printf(&line, "%s\"%s\"", a == p->argv ? "" : ", ", *a);
        base_text_printf(&line, "], /* %u var%s */) = 0\n", vars, vars == 1 ? "" : "s");
    }
    put(&line);
    return 0;
}
