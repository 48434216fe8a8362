/* sys_clone.c: processes that share memory and run at the same time.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>

enum { STACK = 64 << 10 };

static _Atomic int shared, stop;
static _Atomic int tids[2];
static volatile int handled;

static char *stack(void)
{
    return (char *)mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) +
           STACK;
}

static int count(void *arg)
{
    for (int i = 0; i < (long)arg; i++)
        shared++;
    return 5;
}

static int spin(void *arg)
{
    shared = getpid() != (long)arg;
    while (!stop)
        ;
    shared += getppid() == (long)arg ? 10 : 0;
    return 6;
}

static void on_usr(int sig) { handled = sig; }
static int with_signals(void *arg)
{
    signal(SIGUSR1, on_usr);
    raise(SIGUSR1);
    while (!stop)
        ;
    return handled == SIGUSR1 ? 7 : 1;
}

static int execute(void *arg)
{
    char *args[] = {"sys_clone", "child", NULL};

    execv("/proc/self/exe", args);
    return 1;
}

static int forever(void *arg)
{
    shared = 1;
    for (;;)
        ;
}

static int faults(void *arg)
{
    *(volatile int *)16 = 1;
    return 0;
}

static int change_dir(void *arg)
{
    return chdir("/tmp"); /* not of a sysroot */
}

static int fork_again(void *arg)
{
    int st = 0;
    pid_t pid = fork();

    if (!pid) {
        shared = 99; /* its own copy */
        _exit(3);
    }
    waitpid(pid, &st, 0);
    return WEXITSTATUS(st) + 10;
}

static int status(pid_t pid)
{
    int st = -1;

    if (waitpid(pid, &st, __WALL) != pid)
        return -1;
    return st;
}

int main(int argc, char **argv)
{
    char cwd[500];
    pid_t pid, other;

    if (argc > 1 && !strcmp(argv[1], "child"))
        return 9;
    pid = clone(count, stack(), CLONE_VM | SIGCHLD, (void *)100000);
    other = clone(count, stack(), CLONE_VM | SIGCHLD, (void *)100000);
    OK("clone", pid);
    OK("clone 2", other);
    SAY("status", "%x %x", status(pid), status(other));
    SAY("shared", "%d", shared);

    shared = 0;
    pid = clone(spin, stack(), CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, (void *)(long)getpid());
    while (!shared)
        ;
    RES("at the same time", shared);
    stop = 1;
    SAY("status", "%x", status(pid));
    SAY("parent", "%d", shared);

    stop = 0;
    signal(SIGUSR1, SIG_IGN);
    pid = clone(with_signals, stack(), CLONE_VM | SIGCHLD, NULL);
    while (!handled)
        ;
    RES("actions are its own", signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    stop = 1;
    SAY("status", "%x", status(pid));

    stop = handled = 0;
    pid = clone(with_signals, stack(), CLONE_VM | CLONE_SIGHAND | SIGCHLD, NULL);
    while (!handled)
        ;
    RES("actions are shared", signal(SIGUSR1, SIG_DFL) == on_usr);
    stop = 1;
    SAY("status", "%x", status(pid));

    pid = clone(execute, stack(), CLONE_VM | SIGCHLD, NULL);
    SAY("executes", "%x", status(pid));
    shared = 0;
    for (int ms = 0; ms < 5; ms++) { /* it may be killed while it is being optimised */
        shared = 0;
        pid = clone(forever, stack(), CLONE_VM | SIGCHLD, NULL);
        while (!shared)
            ;
        usleep((useconds_t)ms * 1000);
        kill(pid, SIGKILL);
        status(pid);
    }
    shared = 0;
    pid = clone(forever, stack(), CLONE_VM | SIGCHLD, NULL);
    while (!shared)
        ;
    RES("kill", kill(pid, SIGKILL));
    SAY("killed", "%x", status(pid));
    pid = clone(faults, stack(), CLONE_VM | SIGCHLD, NULL);
    SAY("faults", "%x", status(pid) & 0x7f);
    pid = clone(change_dir, stack(), CLONE_VM | CLONE_FS | SIGCHLD, NULL);
    SAY("changes directory", "%x", status(pid));
    SAY("cwd", "%s", getcwd(cwd, sizeof cwd));
    pid = clone(fork_again, stack(), CLONE_VM | SIGCHLD, NULL);
    SAY("forks", "%x", status(pid));
    RES("copied", shared != 99);
    pid = clone(count, stack(), CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, (void *)1,
                &tids[0], NULL, &tids[1]);
    SAY("no signal", "%x", status(pid));
    SAY("tids", "%d %d", tids[0] == pid, tids[1] == pid);
    pid = clone(count, stack(), CLONE_VM | CLONE_VFORK | CLONE_SIGHAND | SIGCHLD, (void *)1);
    SAY("vfork with handlers", "%x", status(pid));
    for (int i = 0; i < 50; i++) {
        pid = clone(count, stack(), CLONE_VM | SIGCHLD, (void *)10);
        if (status(pid) != 5 << 8)
            SAY("one of many", "%d", i);
    }
    RES("wait none", wait(NULL));
    RES("clone sighand alone", syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));
    return 0;
}
