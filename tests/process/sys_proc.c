/* sys_proc.c: the process, its machine, time. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <elf.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>

extern char **environ;

static void ids(void)
{
    gid_t groups[64];
    uid_t r, e, s;

    SAY("ids", "%d %d %d %d", getuid(), geteuid(), getgid(), getegid());
    RES("getresuid", getresuid(&r, &e, &s));
    SAY("resuid", "%d %d %d", r, e, s);
    OK("getgroups", getgroups(64, groups));
    RES("getpgid", getpgid(0) == getpgrp());
    RES("getsid", getsid(0) > 0);
    RES("setpgid bad", setpgid(999999, 0));
    RES("gettid", syscall(SYS_gettid) == getpid());
    RES("setuid same", setuid(getuid()));
    RES("getpriority", getpriority(PRIO_PROCESS, 0));
    RES("capget", syscall(SYS_capget, 16, 16));
}

static void limits(void)
{
    struct rlimit rl;
    struct rusage ru;
    struct tms tms;
    struct sysinfo si;
    struct utsname u;

    RES("getrlimit", getrlimit(RLIMIT_NOFILE, &rl));
    rl.rlim_cur = 200;
    RES("setrlimit", setrlimit(RLIMIT_NOFILE, &rl));
    RES("dup2 over limit", dup2(1, 250));
    RES("getrlimit 2", (getrlimit(RLIMIT_NOFILE, &rl), (long)rl.rlim_cur));
    RES("prlimit bad", prlimit(0, 99, NULL, &rl));
    RES("getrusage", getrusage(RUSAGE_SELF, &ru));
    SAY("rusage", "%d", ru.ru_maxrss > 100);
    OK("times", times(&tms));
    RES("sysinfo", sysinfo(&si));
    SAY("sysinfo", "%d %d", si.totalram > 1 << 20, si.mem_unit > 0);
    RES("uname", uname(&u));
    SAY("uname", "%s %s", u.sysname, u.release);
    RES("uname bad", syscall(SYS_uname, 16));
}

static void child7(void) { _exit(7); }
static void child_kill(void) { raise(SIGKILL); }
static void child_abort(void)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    abort();
}
static void child_segv(void)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    *(volatile int *)16 = 1;
}

static void children(void)
{
    siginfo_t si = {0};
    struct rusage ru;
    int st;
    pid_t pid;

    RES("exit 7", in_child(child7));
    RES("SIGKILL", in_child(child_kill));
    RES("abort", in_child(child_abort));
    RES("segv", in_child(child_segv));
    fflush(stdout);
    pid = fork();
    if (!pid)
        _exit(3);
    RES("waitid", waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT));
    SAY("siginfo", "signo %d code %d pid %d status %d", si.si_signo, si.si_code, si.si_pid == pid,
        si.si_status);
    RES("wait4", wait4(pid, &st, 0, &ru) == pid);
    SAY("status", "%x", st);
    RES("wait none", wait(&st));
    pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    RES("waitpid nohang", waitpid(pid, &st, WNOHANG));
    RES("kill", kill(pid, SIGTERM));
    waitpid(pid, &st, 0);
    SAY("status 2", "%x", st);
    RES("kill none", kill(pid, 0));
    RES("kill bad", kill(getpid(), 99));
}

static void timing(void)
{
    struct timespec a, b, ts = {0, 3000000}, rem;
    struct timeval tv;
    struct itimerval it = {.it_value = {0, 1000}};
    struct itimerspec its = {.it_value = {0, 1000000}};
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1,
                          .sigev_value.sival_int = 77};
    siginfo_t si;
    sigset_t set;
    timer_t timer;

    clock_gettime(CLOCK_MONOTONIC, &a);
    RES("nanosleep", nanosleep(&ts, &rem));
    RES("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL));
    clock_gettime(CLOCK_MONOTONIC, &b);
    SAY("slept", "%d", (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >= 6000000);
    RES("nanosleep bad", (ts.tv_nsec = -1, nanosleep(&ts, NULL)));
    RES("clock bad", clock_gettime(99, &a));
    RES("clock_gettime bad pointer", syscall(SYS_clock_gettime, 0, 16));
    RES("clock_getres", (clock_getres(CLOCK_MONOTONIC, &a), a.tv_nsec));
    RES("gettimeofday", gettimeofday(&tv, NULL));
    SAY("agree", "%d", labs((long)tv.tv_sec - (long)time(NULL)) <= 1);
    RES("process clock", clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a));
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    RES("setitimer", setitimer(ITIMER_REAL, &it, NULL));
    RES("sigwaitinfo", sigwaitinfo(&set, &si));
    RES("timer_create", timer_create(CLOCK_MONOTONIC, &ev, &timer));
    RES("timer_settime", timer_settime(timer, 0, &its, NULL));
    RES("sigwaitinfo 2", sigwaitinfo(&set, &si));
    SAY("timer value", "%d code %d", si.si_value.sival_int, si.si_code);
    RES("timer_delete", timer_delete(timer));
    RES("alarm", alarm(10));
    RES("alarm left", alarm(0));
}

static void scheduling(void)
{
    struct sched_param sp;
    cpu_set_t cpus;
    unsigned cpu, node;

    RES("sched_getscheduler", sched_getscheduler(0));
    RES("sched_getparam", sched_getparam(0, &sp));
    RES("sched_get_priority_max", sched_get_priority_max(SCHED_FIFO));
    OK("sched_getaffinity", sched_getaffinity(0, sizeof cpus, &cpus));
    SAY("cpus", "%d %ld", CPU_COUNT(&cpus), sysconf(_SC_NPROCESSORS_ONLN));
    RES("sched_yield", sched_yield());
    RES("getcpu", getcpu(&cpu, &node));
}

static void controls(void)
{
    char name[17] = "", buf[300] = "", *slash;
    long n;

    RES("PR_SET_NAME", prctl(PR_SET_NAME, "a-name"));
    RES("PR_GET_NAME", prctl(PR_GET_NAME, name));
    SAY("name", "%s", name);
    RES("PR_GET_DUMPABLE", prctl(PR_GET_DUMPABLE));
    RES("PR_SET_NO_NEW_PRIVS", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    RES("PR_GET_NO_NEW_PRIVS", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    RES("prctl unknown", prctl(12345, 0, 0, 0, 0));
    RES("getrandom", getrandom(buf, 16, 0));
    RES("getrandom bad", getrandom((void *)16, 16, 0));
    RES("personality", personality(0xffffffff) & ~ADDR_NO_RANDOMIZE);
    RES("unknown call", syscall(400, 1, 2, 3));
    RES("unknown call 2", syscall(100000, 1, 2, 3));
    n = readlink("/proc/self/exe", buf, sizeof buf - 1);
    buf[n > 0 ? n : 0] = 0;
    slash = strrchr(buf, '/');
    SAY("exe", "%s", slash ? slash + 1 : buf);
    RES("open exe", open("/proc/self/exe", O_WRONLY));
    FILE *f = fopen("/proc/self/cmdline", "r");
    n = (long)fread(buf, 1, sizeof buf, f);
    fclose(f);
    SAY("cmdline", "%ld %s", n - (long)strlen(buf), buf + strlen(buf) + 1);
    f = fopen("/proc/self/comm", "r");
    SAY("comm", "%s", fgets(buf, sizeof buf, f));
    fclose(f);
    f = fopen("/proc/self/environ", "r");
    n = (long)fread(buf, 1, sizeof buf - 1, f);
    buf[n] = 0;
    fclose(f);
    SAY("environ", "%d", !strcmp(buf, environ[0]));
}

static void auxiliary(void)
{
    Elf64_auxv_t a[64];
    int fd = open("/proc/self/auxv", O_RDONLY), same = 0;
    long n = read(fd, a, sizeof a) / (long)sizeof *a;

    for (long i = 0; i < n; i++)
        same += a[i].a_type == AT_PHDR && a[i].a_un.a_val == getauxval(AT_PHDR);
    SAY("auxv", "phdr %d pagesz %ld phent %ld uid %d secure %ld clktck %ld", same,
        getauxval(AT_PAGESZ), getauxval(AT_PHENT), getauxval(AT_UID) == getuid(),
        getauxval(AT_SECURE), getauxval(AT_CLKTCK));
    SAY("auxv 2", "execfn %d random %d vdso %d", getauxval(AT_EXECFN) != 0,
        getauxval(AT_RANDOM) != 0, getauxval(AT_SYSINFO_EHDR) != 0);
    SAY("vdso", "%.4s", (char *)getauxval(AT_SYSINFO_EHDR) + 0);
}

/* An open file of /proc is the one that its name names, also where the emulator made it up. */
static void proc_files(void)
{
    static const char *const names[] = {"/proc/cpuinfo", "/proc/self/maps", "/proc/self/status",
                                        "/proc/self/cmdline", "/proc/meminfo"};
    struct stat named, open_file, at;
    struct statx x;

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        int fd = open(names[i], O_RDONLY);

        RES("stat", stat(names[i], &named));
        RES("fstat", fstat(fd, &open_file));
        RES("fstatat", fstatat(fd, "", &at, AT_EMPTY_PATH));
        RES("statx", statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
        SAY(names[i], "%d %d %d %o %d", named.st_ino == open_file.st_ino,
            named.st_dev == open_file.st_dev && named.st_ino == at.st_ino,
            named.st_ino == x.stx_ino && named.st_mode == x.stx_mode, open_file.st_mode,
            (int)open_file.st_size);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    SAY("argc", "%d %s", argc, argv[argc - 1]);
    ids();
    limits();
    children();
    timing();
    scheduling();
    controls();
    auxiliary();
    proc_files();
    return 0;
}
