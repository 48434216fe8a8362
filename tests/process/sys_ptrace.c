/* sys_ptrace.c: ptrace: a guest that traces guests. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <elf.h>
#include <linux/ptrace.h>
#include <pthread.h>
#include <sys/uio.h>

#define TRACE(request, pid, addr, data) \
    syscall(SYS_ptrace, (long)(request), (long)(pid), (long)(addr), (long)(data))

static volatile long word = 1234;

/* What a stop was: "stop 5 event 3", "exit 7", ... */
static int next_stop(const char *name, pid_t pid)
{
    int st = 0;

    if (waitpid(pid, &st, __WALL) != pid)
        SAY(name, "wait: %s", strerrorname_np(errno));
    else if (WIFSTOPPED(st))
        SAY(name, "stop %d event %d", WSTOPSIG(st), st >> 16);
    else if (WIFEXITED(st))
        SAY(name, "exit %d", WEXITSTATUS(st));
    else
        SAY(name, "signal %d", WTERMSIG(st));
    return st;
}

static pid_t traced(void (*f)(void))
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        TRACE(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        f();
        _exit(7);
    }
    return pid;
}

static void on_usr(int sig) { word = 5000 + sig; }
static void signals(void)
{
    signal(SIGUSR1, on_usr);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR1);
    raise(SIGUSR2);
    raise(SIGWINCH);
    if (word != 5000 + SIGUSR1)
        _exit(1);
    raise(SIGUSR1);
    raise(SIGTERM);
}

static void test_signals(void)
{
    pid_t pid = traced(signals);
    siginfo_t si;
    long value = 0;

    next_stop("first", pid);
    RES("traced wrong", TRACE(PTRACE_CONT, 999999, 0, 0));
    RES("peek", TRACE(PTRACE_PEEKDATA, pid, &word, &value));
    SAY("peeked", "%ld", value);
    RES("poke", TRACE(PTRACE_POKEDATA, pid, &word, 77));
    RES("peek 2", TRACE(PTRACE_PEEKDATA, pid, &word, &value));
    SAY("peeked 2", "%ld", value);
    RES("peek bad", TRACE(PTRACE_PEEKDATA, pid, 8, &value));
    RES("siginfo", TRACE(PTRACE_GETSIGINFO, pid, 0, &si));
    SAY("info", "%d %d %d", si.si_signo, si.si_code, si.si_pid == pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("usr1", pid);
    RES("cont running", (TRACE(PTRACE_CONT, pid, 0, SIGUSR1), 0));
    next_stop("ignored is told", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, SIGUSR2));
    next_stop("default nothing", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, SIGWINCH));
    next_stop("usr1 again", pid);
    RES("cont without", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("term", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, SIGTERM));
    next_stop("end", pid);
    RES("gone", TRACE(PTRACE_CONT, pid, 0, 0));
}

static void calls(void)
{
    syscall(SYS_getppid);
    syscall(SYS_close, 98);
    syscall(SYS_chdir, "/nowhere/at/all");
}

static void test_calls(void)
{
    pid_t pid = traced(calls);
    struct ptrace_syscall_info si;
    long got;

    next_stop("first", pid);
    RES("options bad", TRACE(PTRACE_SETOPTIONS, pid, 0, 1 << 15));
    RES("options", TRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
    for (int i = 0; i < 7; i++) {
        RES("syscall", TRACE(PTRACE_SYSCALL, pid, 0, 0));
        next_stop("call", pid);
        memset(&si, 0, sizeof si);
        got = TRACE(PTRACE_GET_SYSCALL_INFO, pid, sizeof si, &si);
        SAY("info", "%ld op %d", got, si.op);
        if (si.op == 1)
            SAY("entry", "%d %d %d", si.entry.nr == SYS_getppid, si.entry.nr == SYS_close,
                (int)(si.entry.nr == SYS_close ? si.entry.args[0] : 0));
        if (si.op == 2)
            SAY("exit", "%d %ld", si.exit.is_error, si.exit.is_error ? (long)si.exit.rval : 0);
    }
    RES("detach", TRACE(PTRACE_DETACH, pid, 0, 0));
    next_stop("end", pid);
}

static void forks(void)
{
    pid_t pid = fork();

    if (!pid)
        _exit(3);
    waitpid(pid, NULL, 0);
    pid = vfork();
    if (!pid)
        _exit(4);
    waitpid(pid, NULL, 0);
}

static void test_forks(void)
{
    pid_t pid = traced(forks);
    unsigned long child = 0, message = 0;
    int st;

    next_stop("first", pid);
    RES("options", TRACE(PTRACE_SETOPTIONS, pid, 0,
                         PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE |
                             PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL));
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    for (int i = 0; i < 2; i++) {
        next_stop(i ? "vfork" : "fork", pid);
        RES("message", TRACE(PTRACE_GETEVENTMSG, pid, 0, &child));
        next_stop("child", (pid_t)child);
        RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
        RES("cont child", TRACE(PTRACE_CONT, child, 0, 0));
        next_stop("child exits", (pid_t)child);
        RES("message", TRACE(PTRACE_GETEVENTMSG, child, 0, &message));
        SAY("status", "%lu", message);
        RES("cont child", TRACE(PTRACE_CONT, child, 0, 0));
        next_stop("child is gone", (pid_t)child);
        st = next_stop("parent", pid);
        if (st >> 16) { /* vfork done */
            RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
            st = next_stop("parent again", pid);
        }
        RES("cont", TRACE(PTRACE_CONT, pid, 0, WSTOPSIG(st)));
    }
    next_stop("exits", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("end", pid);
}

static void executes(void)
{
    execl("/proc/self/exe", "sys_ptrace", "child", NULL);
}

static void test_exec(void)
{
    pid_t pid = traced(executes);
    char regs[2048];
    struct iovec iov = {regs, sizeof regs};

    next_stop("first", pid);
    RES("options", TRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXEC));
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("exec", pid);
    RES("regs", TRACE(PTRACE_GETREGSET, pid, NT_PRSTATUS, &iov));
    SAY("size", "%d", iov.iov_len > 100);
    RES("bad set", TRACE(PTRACE_GETREGSET, pid, 0x7777, &iov));
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("exec's child", pid);
    pid = traced(executes);
    next_stop("first", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("exec without option", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("its end", pid);
}

static void test_seize(void)
{
    siginfo_t si;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        for (;;)
            pause();
    }
    usleep(20000);
    RES("seize bad", TRACE(PTRACE_SEIZE, pid, 1, 0));
    RES("seize", TRACE(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
    RES("seize again", TRACE(PTRACE_SEIZE, pid, 0, 0));
    RES("not stopped", TRACE(PTRACE_CONT, pid, 0, 0));
    RES("interrupt", TRACE(PTRACE_INTERRUPT, pid, 0, 0));
    next_stop("interrupted", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    kill(pid, SIGSTOP);
    next_stop("stop signal", pid);
    RES("siginfo", TRACE(PTRACE_GETSIGINFO, pid, 0, &si));
    RES("cont", TRACE(PTRACE_CONT, pid, 0, SIGSTOP));
    next_stop("group stop", pid);
    RES("listen", TRACE(PTRACE_LISTEN, pid, 0, 0));
    kill(pid, SIGCONT);
    next_stop("continued", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("sigcont", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, SIGCONT));
    RES("detach running", TRACE(PTRACE_DETACH, pid, 0, 0));
    kill(pid, SIGKILL);
    next_stop("end", pid);
    pid = fork();
    if (!pid) {
        for (;;)
            pause();
    }
    usleep(20000);
    RES("attach", TRACE(PTRACE_ATTACH, pid, 0, 0));
    next_stop("attached", pid);
    RES("detach", TRACE(PTRACE_DETACH, pid, 0, SIGTERM));
    next_stop("end", pid);
}

/* A wait that the tracer interrupts goes on. */
static void test_waiting(void)
{
    struct timespec ts = {0, 400000000};
    int words[2];
    pid_t pid;

    pipe(words);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        char c = 0;

        if (nanosleep(&ts, NULL))
            _exit(errno);
        _exit(read(words[0], &c, 1) == 1 ? c : errno);
    }
    usleep(100000);
    RES("attach sleeping", TRACE(PTRACE_ATTACH, pid, 0, 0));
    next_stop("attached", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    usleep(50000);
    kill(pid, SIGUSR1); /* kept from it */
    next_stop("sleeping", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    usleep(600000);
    kill(pid, SIGSTOP);
    next_stop("stopped reading", pid);
    RES("detach", TRACE(PTRACE_DETACH, pid, 0, 0));
    write(words[1], "\x21", 1);
    next_stop("end", pid);
}

static void *thread(void *arg) { return arg; }
static void threads(void)
{
    pthread_t th;

    pthread_create(&th, NULL, thread, NULL);
    pthread_join(th, NULL);
    usleep(50000); /* it may not be quite over */
}

static void test_threads(void)
{
    pid_t pid = traced(threads);
    unsigned long child = 0;

    next_stop("first", pid);
    RES("options", TRACE(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE));
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("clone", pid);
    RES("message", TRACE(PTRACE_GETEVENTMSG, pid, 0, &child));
    next_stop("thread", (pid_t)child);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    RES("cont thread", TRACE(PTRACE_CONT, child, 0, 0));
    next_stop("thread ends", (pid_t)child);
    next_stop("end", pid);
}

static void segv(void) { *(volatile int *)16 = 1; }
static void test_fault(void)
{
    pid_t pid = traced(segv);
    siginfo_t si;

    next_stop("first", pid);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, 0));
    next_stop("fault", pid);
    RES("siginfo", TRACE(PTRACE_GETSIGINFO, pid, 0, &si));
    SAY("info", "%d %d %ld", si.si_signo, si.si_code, (long)si.si_addr);
    RES("cont", TRACE(PTRACE_CONT, pid, 0, SIGKILL));
    next_stop("end", pid);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "child"))
        return 9;
    test_signals();
    test_calls();
    test_fault();
    test_seize();
    test_waiting();
    test_exec();
    test_threads();
    test_forks();
    return 0;
}
