/* pc_fork.c: fork, vfork, posix_spawn, clone, exec: compiled for both machines, run natively
 * and emulated. SPDX-License-Identifier: Apache-2.0
 *
 * pc_fork runs the cases; pc_fork child ... is what they execute. */
#include "pc_check.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;
static const char *self;

static int status_of(pid_t pid)
{
    int st = -1;

    if (pid < 0 || waitpid(pid, &st, 0) != pid)
        return -1;
    return st & 0xff7f;
}

/* ---- the executed program -------------------------------------------- */

static int as_child(int argc, char **argv)
{
    sigset_t set;
    struct sigaction sa;

    if (!strcmp(argv[2], "exit"))
        return atoi(argv[3]);
    if (!strcmp(argv[2], "args")) {
        for (int i = 3; i < argc; i++)
            printf("[%s]", argv[i]);
        printf(" %s\n", getenv("PC_TEST") ? getenv("PC_TEST") : "-");
        return environ[0] != NULL && environ[1] != NULL;
    }
    if (!strcmp(argv[2], "fd"))
        return fcntl(atoi(argv[3]), F_GETFD) >= 0;
    if (!strcmp(argv[2], "signals")) { /* which are ignored, blocked */
        sigprocmask(SIG_BLOCK, NULL, &set);
        for (int s = 1; s < 32; s++) {
            sigaction(s, NULL, &sa);
            if (sa.sa_handler == SIG_IGN)
                printf("ignored %d ", s);
            else if (sa.sa_handler != SIG_DFL)
                printf("handled %d ", s);
            if (sigismember(&set, s))
                printf("blocked %d ", s);
        }
        printf("\n");
        return 0;
    }
    if (!strcmp(argv[2], "argv0")) {
        printf("%s\n", argv[0]);
        return 0;
    }
    return 99;
}

/* ---- fork ------------------------------------------------------------ */

static int shared = 1;

static void test_fork(void)
{
    int good = 0;
    pid_t pid = fork();

    if (!pid) {
        shared = 2;
        _exit(getpid() != getppid() ? 11 : 12);
    }
    check("fork", status_of(pid) == 11 << 8 && shared == 1);
    for (int i = 0; i < 100; i++) {
        pid = fork();
        if (!pid)
            _exit(i & 127);
        good += status_of(pid) == (i & 127) << 8;
    }
    check("100 forks", good == 100);
    pid = fork();
    if (!pid) { /* generations */
        for (int i = 0; i < 5; i++) {
            pid = fork();
            if (pid)
                _exit(status_of(pid) >> 8);
        }
        _exit(33);
    }
    check("generations", status_of(pid) == 33 << 8);
    good = 0;
    for (int i = 0; i < 20; i++)
        if (!fork())
            _exit(0);
    while (wait(NULL) > 0)
        good++;
    check("20 at once", good == 20);
}

static void test_pipe(void)
{
    char buf[100000];
    long sum = 0, want = 0;
    int fds[2];
    ssize_t n;
    pid_t pid;

    if (pipe(fds) < 0)
        exit(1);
    pid = fork();
    if (!pid) {
        close(fds[0]);
        for (int i = 0; i < 50; i++) {
            memset(buf, i, sizeof buf);
            if (write(fds[1], buf, sizeof buf) != sizeof buf)
                _exit(1);
        }
        _exit(0);
    }
    close(fds[1]);
    while ((n = read(fds[0], buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < n; i++)
            sum += buf[i];
    close(fds[0]);
    for (int i = 0; i < 50; i++)
        want += 100000L * i;
    check("pipe", status_of(pid) == 0 && sum == want);
}

/* ---- vfork ----------------------------------------------------------- */

static void test_vfork(void)
{
    volatile int value = 1;
    pid_t pid = vfork();

    if (!pid) {
        value = 2;
        shared = 7;
        _exit(3);
    }
    check("vfork shares memory", status_of(pid) == 3 << 8 && value == 2 && shared == 7);
    pid = vfork();
    if (!pid) {
        signal(SIGUSR1, SIG_IGN); /* its own */
        execl(self, "pc_fork", "child", "exit", "21", NULL);
        _exit(1);
    }
    check("vfork and exec", status_of(pid) == 21 << 8);
    struct sigaction sa;
    sigaction(SIGUSR1, NULL, &sa);
    check("vfork child has its own actions", sa.sa_handler == SIG_DFL);
    pid = vfork();
    if (!pid) {
        execl("/nonexistent/program", "x", NULL);
        _exit(errno == ENOENT ? 5 : 6);
    }
    check("vfork, exec fails", status_of(pid) == 5 << 8);
    pid = vfork();
    if (!pid)
        kill(getpid(), SIGKILL);
    check("vfork child killed", status_of(pid) == SIGKILL);
    pid = vfork();
    if (!pid)
        abort();
    check("vfork child aborts", status_of(pid) == SIGABRT);
}

static void test_spawn(void)
{
    char *const good[] = {"pc_fork", "child", "exit", "17", NULL}, *const bad[] = {"x", NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t set;
    pid_t pid = -1;
    int r, ok = 0;

    r = posix_spawn(&pid, self, NULL, NULL, good, environ);
    check("posix_spawn", r == 0 && status_of(pid) == 17 << 8);
    r = posix_spawn(&pid, "/nonexistent/program", NULL, NULL, bad, environ);
    check("posix_spawn tells ENOENT", r == ENOENT);
    r = posix_spawn(&pid, "/", NULL, NULL, bad, environ);
    check("posix_spawn tells EACCES", r == EACCES);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 40, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_init(&attr);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    posix_spawnattr_setsigdefault(&attr, &set);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    posix_spawnattr_setsigmask(&attr, &set);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    signal(SIGINT, SIG_IGN);
    fflush(stdout);
    r = posix_spawn(&pid, self, &fa, &attr,
                    (char *const[]){"pc_fork", "child", "signals", NULL}, environ);
    check("posix_spawn with attributes", r == 0 && status_of(pid) == 0);
    signal(SIGINT, SIG_DFL);
    r = posix_spawn(&pid, self, &fa, NULL, (char *const[]){"pc_fork", "child", "fd", "40", NULL},
                    environ);
    check("posix_spawn with files", r == 0 && status_of(pid) == 1 << 8);
    for (int i = 0; i < 50; i++) {
        r = posix_spawn(&pid, self, NULL, NULL, good, environ);
        ok += r == 0 && status_of(pid) == 17 << 8;
    }
    check("50 spawns", ok == 50);
    check("system", system("exit 19") == 19 << 8);
    FILE *p = popen("echo from a shell", "r");
    char line[64] = "";
    check("popen", p && fgets(line, sizeof line, p) && !strcmp(line, "from a shell\n") &&
                       pclose(p) == 0);
}

/* ---- clone ----------------------------------------------------------- */

static int clone_main(void *arg)
{
    *(volatile int *)arg = 5;
    return 8;
}

static void test_clone(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    int value = 0, tid = 0;
    pid_t pid;

    pid = clone(clone_main, stack + sizeof stack, SIGCHLD, &value);
    check("clone", status_of(pid) == 8 << 8 && value == 0);
    pid = clone(clone_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &value);
    check("clone VM and VFORK", status_of(pid) == 8 << 8 && value == 5);
    pid = clone(clone_main, stack + sizeof stack, CLONE_PARENT_SETTID | SIGCHLD, &value, &tid);
    check("clone PARENT_SETTID", pid > 0 && tid == pid && status_of(pid) == 8 << 8);
    pid = clone(clone_main, stack + sizeof stack, 0, &value);
    check("clone without signal", pid > 0 && waitpid(pid, NULL, __WCLONE) == pid);
    check("clone EINVAL", clone(clone_main, stack + sizeof stack, CLONE_THREAD, &value) < 0 &&
                              errno == EINVAL);
}

/* ---- exec ------------------------------------------------------------ */

static int run(const char *path, char *const *argv, char *const *envp)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        execve(path, argv, envp ? envp : environ);
        _exit(errno);
    }
    return status_of(pid);
}

static void put(const char *name, const char *text, int mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        exit(1);
    close(fd);
    chmod(name, mode);
}

static void test_exec(void)
{
    char text[1024];
    int fd;
    pid_t pid;

    check("exec", run(self, (char *[]){"pc_fork", "child", "exit", "44", NULL}, NULL) == 44 << 8);
    check("exec with arguments",
          run(self, (char *[]){"pc_fork", "child", "args", "", "a b", "--", "-x", NULL},
              (char *[]){"PC_TEST=yes", NULL}) == 0);
    check("exec argv[0]", run(self, (char *[]){"other name", "child", "argv0", NULL}, NULL) == 0);
    check("ENOENT", run("./none", (char *[]){"x", NULL}, NULL) == ENOENT << 8);
    check("ENOTDIR", run("/dev/null/x", (char *[]){"x", NULL}, NULL) == ENOTDIR << 8);
    check("EACCES directory", run("/tmp", (char *[]){"x", NULL}, NULL) == EACCES << 8);
    put("plain", "no program", 0755);
    check("ENOEXEC", run("./plain", (char *[]){"x", NULL}, NULL) == ENOEXEC << 8);
    put("plain", "", 0755);
    check("ENOEXEC empty", run("./plain", (char *[]){"x", NULL}, NULL) == ENOEXEC << 8);
    put("noexec", "#!/bin/sh\n", 0644);
    check("EACCES mode", run("./noexec", (char *[]){"x", NULL}, NULL) == EACCES << 8);
    put("noint", "#!/nonexistent/interpreter\n", 0755);
    check("ENOENT interpreter", run("./noint", (char *[]){"x", NULL}, NULL) == ENOENT << 8);
    put("loop", "#!./loop\n", 0755);
    check("ELOOP", run("./loop", (char *[]){"x", NULL}, NULL) == ELOOP << 8);
    check("E2BIG or EFAULT", run(self, (char *[]){"x", (char *)8L, NULL}, NULL) == EFAULT << 8);
    put("script", "#!/bin/sh\necho script \"$@\"\nexit 9\n", 0755);
    check("script", run("./script", (char *[]){"x", "a", "b c", NULL}, NULL) == 9 << 8);
    put("script2", "#! /bin/sh -e  \nfalse\nexit 9\n", 0755);
    check("script with argument", run("./script2", (char *[]){"x", NULL}, NULL) == 1 << 8);
    snprintf(text, sizeof text, "#!%s child\n", self);
    put("args", text, 0755);
    check("script of this program: bad word",
          run("./args", (char *[]){"x", NULL}, NULL) == 99 << 8);
    put("nested", "#!./script one\n", 0755);
    check("nested scripts", run("./nested", (char *[]){"x", "two", NULL}, NULL) == 9 << 8);
    symlink(self, "link");
    check("symbolic link",
          run("./link", (char *[]){"x", "child", "exit", "3", NULL}, NULL) == 3 << 8);

    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(text, sizeof text, "%d", fd);
    check("close on exec", run(self, (char *[]){"x", "child", "fd", text, NULL}, NULL) == 0);
    fcntl(fd, F_SETFD, 0);
    check("open over exec", run(self, (char *[]){"x", "child", "fd", text, NULL}, NULL) == 1 << 8);
    close(fd);

    fflush(stdout);
    pid = fork();
    if (!pid) { /* as subprocess modules do: everything is closed */
        syscall(SYS_close_range, 3, ~0u, 0);
        for (int i = 3; i < 1024; i++)
            close(i);
        execl(self, "x", "child", "exit", "35", NULL);
        _exit(errno);
    }
    check("exec after closing all", status_of(pid) == 35 << 8);
    fd = open(self, O_RDONLY | O_CLOEXEC);
    pid = fork();
    if (!pid) {
        fexecve(fd, (char *[]){"x", "child", "exit", "31", NULL}, environ);
        _exit(errno);
    }
    check("fexecve", status_of(pid) == 31 << 8);
    pid = fork();
    if (!pid) {
        int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        syscall(SYS_execveat, dir, "link", (char *[]){"x", "child", "exit", "32", NULL}, environ,
                0);
        _exit(errno);
    }
    check("execveat", status_of(pid) == 32 << 8);
    pid = fork();
    if (!pid) {
        syscall(SYS_execveat, AT_FDCWD, "link", (char *[]){"x", NULL}, environ,
                AT_SYMLINK_NOFOLLOW);
        _exit(errno);
    }
    check("execveat ELOOP", status_of(pid) == ELOOP << 8);
}

static void on_signal(int sig) { (void)sig; }

static void test_exec_signals(void)
{
    sigset_t set, old;

    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGSEGV, SIG_IGN);
    signal(SIGBUS, on_signal);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGILL);
    sigprocmask(SIG_BLOCK, &set, &old);
    check("signals over exec", run(self, (char *[]){"x", "child", "signals", NULL}, NULL) == 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGUSR1, SIG_DFL), signal(SIGUSR2, SIG_DFL), signal(SIGSEGV, SIG_DFL);
}

static void test_proc_exe(void)
{
    check("/proc/self/exe",
          run("/proc/self/exe", (char *[]){"x", "child", "exit", "12", NULL}, NULL) == 12 << 8);
}

int main(int argc, char **argv)
{
    static char path[4096];

    if (argc > 2 && !strcmp(argv[1], "child"))
        return as_child(argc, argv);
    if (argc > 2)
        return 99;
    if (argc > 1 && strcmp(argv[1], "x"))
        return 99;
    if (!realpath("/proc/self/exe", path))
        return 1;
    self = path;
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_fork();
    test_pipe();
    test_vfork();
    test_spawn();
    test_clone();
    test_exec();
    test_exec_signals();
    test_proc_exe();
    return check_end();
}
