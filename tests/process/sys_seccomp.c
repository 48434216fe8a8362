/* sys_seccomp.c: seccomp: strict mode, filters, what they may be, who inherits them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

#ifdef __riscv
#define ARCH 0xc00000f3u
#else
#define ARCH AUDIT_ARCH_X86_64
#endif
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RET(action) BPF_STMT(BPF_RET | BPF_K, action)
#define JEQ(k, t, f) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, t, f)
#define LEN(x) (sizeof(x) / sizeof *(x))

static long filter_flags(struct sock_filter *f, size_t n, unsigned flags)
{
    struct sock_fprog prog = {.len = (unsigned short)n, .filter = f};

    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static long filter(struct sock_filter *f, size_t n)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return filter_flags(f, n, 0);
}

/* Call nr gives action, all others are allowed; the architecture must be right. */
static long on_call(int nr, unsigned action)
{
    struct sock_filter f[] = {LOAD(arch), JEQ(ARCH, 1, 0), RET(SECCOMP_RET_KILL_PROCESS),
                              LOAD(nr),   JEQ(nr, 0, 1),   RET(action),
                              RET(SECCOMP_RET_ALLOW)};

    return filter(f, LEN(f));
}

/* The number that a call failed with; 0 if it did not. */
static int number(long r) { return r == -1 ? errno : 0; }

/* ---- modes ----------------------------------------------------------- */

static void strict_good(void)
{
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
        _exit(99);
    write(1, "strict: writes\n", 15);
    syscall(SYS_exit, 7);
}
static void strict_bad(void)
{
    syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
    syscall(SYS_getppid);
    syscall(SYS_exit, 7);
}
static void time_is_no_call(void)
{
    struct timeval tv;

    on_call(SYS_gettimeofday, SECCOMP_RET_KILL_PROCESS);
    _exit(gettimeofday(&tv, NULL) == 0 ? 3 : 4);
}

/* ---- actions --------------------------------------------------------- */

static void errno_action(void)
{
    RES("set", on_call(SYS_getppid, SECCOMP_RET_ERRNO | ENOTTY));
    RES("errno", syscall(SYS_getppid));
    RES("mode", prctl(PR_GET_SECCOMP));
    OK("others go on", getuid());
    on_call(SYS_getuid, SECCOMP_RET_ERRNO | 0);
    RES("errno 0", syscall(SYS_getuid));
    on_call(SYS_getpgid, SECCOMP_RET_ERRNO | 0xffff);
    SAY("large errno", "%d", number(syscall(SYS_getpgid, 0)));
    on_call(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV);
    RES("of two the newer", syscall(SYS_getppid));
    on_call(SYS_getppid, SECCOMP_RET_TRACE | 1);
    RES("stricter than trace", syscall(SYS_getppid));
    on_call(SYS_getgid, SECCOMP_RET_TRACE | 1);
    RES("trace without a tracer", syscall(SYS_getgid));
    on_call(SYS_getegid, SECCOMP_RET_LOG);
    OK("log", syscall(SYS_getegid));
    on_call(SYS_sched_yield, SECCOMP_RET_ALLOW | 5);
    RES("allow with data", syscall(SYS_sched_yield));
    RES("strict now", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
}
static void kill_process(void)
{
    on_call(SYS_getppid, SECCOMP_RET_KILL_PROCESS);
    signal(SIGSYS, SIG_IGN);
    syscall(SYS_getppid);
}
static void kill_thread(void)
{
    on_call(SYS_getppid, SECCOMP_RET_KILL_THREAD);
    syscall(SYS_getppid);
}
static void kill_unknown(void)
{
    on_call(SYS_getppid, 0x12340000);
    syscall(SYS_getppid);
}
static void trap_default(void)
{
    on_call(SYS_getppid, SECCOMP_RET_TRAP);
    syscall(SYS_getppid);
}
static void wrong_arch(void)
{
    struct sock_filter f[] = {LOAD(arch), JEQ(ARCH + 1, 0, 1), RET(SECCOMP_RET_ALLOW),
                              RET(SECCOMP_RET_KILL_PROCESS)};

    filter(f, LEN(f));
    syscall(SYS_getppid);
}

static void on_sys(int sig, siginfo_t *info, void *uc)
{
    ucontext_t *u = uc;

    (void)sig;
    SAY("trap", "code %d errno %d call %d arch %d", info->si_code, info->si_errno,
        info->si_syscall == SYS_getppid, info->si_arch == ARCH);
#ifdef __riscv
    SAY("address", "%d %ld", (uint64_t)info->si_call_addr == u->uc_mcontext.__gregs[0],
        u->uc_mcontext.__gregs[REG_A0 + 1] == 22);
    u->uc_mcontext.__gregs[REG_A0] = 4711;
#else
    SAY("address", "%d %d", (uint64_t)info->si_call_addr == (uint64_t)u->uc_mcontext.gregs[REG_RIP],
        u->uc_mcontext.gregs[REG_RSI] == 22);
    u->uc_mcontext.gregs[REG_RAX] = 4711;
#endif
}

static void trap_action(void)
{
    struct sigaction act = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};

    sigaction(SIGSYS, &act, NULL);
    on_call(SYS_getppid, SECCOMP_RET_TRAP | 77);
    SAY("handler's value", "%ld", syscall(SYS_getppid, 11, 22));
    SAY("again", "%ld", syscall(SYS_getppid, 11, 22));
}

static void trap_blocked(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    on_call(SYS_getppid, SECCOMP_RET_TRAP);
    syscall(SYS_getppid);
}

/* ---- arguments and arithmetic ---------------------------------------- */

#define ALU(op, src, k) BPF_STMT(BPF_ALU | BPF_##op | BPF_##src, k)

static void arguments(void)
{
    /* errno = ((low word of the second * 3 + high word) ^ 5) & 0xff, by way of memory */
    struct sock_filter f[] = {
        LOAD(nr), JEQ(SYS_getppid, 1, 0), RET(SECCOMP_RET_ALLOW),
        LOAD(args[1]), ALU(MUL, K, 3), BPF_STMT(BPF_ST, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]) + 4),
        BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_LD | BPF_MEM, 3), ALU(ADD, X, 0),
        ALU(XOR, K, 5), ALU(AND, K, 0xff), ALU(OR, K, SECCOMP_RET_ERRNO),
        BPF_STMT(BPF_RET | BPF_A, 0)};
    struct sock_filter g[] = {
        LOAD(nr), JEQ(SYS_getpgid, 1, 0), RET(SECCOMP_RET_ALLOW),
        LOAD(args[0]), BPF_STMT(BPF_MISC | BPF_TAX, 0), BPF_STMT(BPF_LD | BPF_IMM, 100),
        ALU(DIV, X, 0), ALU(LSH, K, 2), ALU(RSH, K, 1), ALU(SUB, K, 1),
        BPF_STMT(BPF_STX, 0), BPF_STMT(BPF_LDX | BPF_MEM, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_X, 0, 0, 1), ALU(NEG, K, 0), ALU(AND, K, 0xfff),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 50, 1, 0), BPF_STMT(BPF_JMP | BPF_JA, 1),
        ALU(ADD, K, 1), ALU(OR, K, SECCOMP_RET_ERRNO), BPF_STMT(BPF_RET | BPF_A, 0)};

    filter(f, LEN(f));
    SAY("computed", "%d", number(syscall(SYS_getppid, 0, 0x700000009)));
    RES("set arithmetic", filter(g, LEN(g)));
    for (int i = 1; i < 120; i += 13)
        SAY("arithmetic", "%d: %d", i, number(syscall(SYS_getpgid, i)));
    SAY("by 0", "%d", 1);
    syscall(SYS_getpgid, 0);
}

/* ---- what is accepted ------------------------------------------------ */

#define TRY(name, ...)                                                    \
    do {                                                                  \
        struct sock_filter f_[] = {__VA_ARGS__};                          \
        RES(name, filter_flags(f_, LEN(f_), 0));                          \
    } while (0)

static void checks(void)
{
    static struct sock_filter many[4097];
    unsigned action = SECCOMP_RET_LOG;

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    RES("no program", filter_flags(many, 0, 0));
    for (size_t i = 0; i < LEN(many); i++)
        many[i] = (struct sock_filter)RET(SECCOMP_RET_ALLOW);
    RES("too long", filter_flags(many, 4097, 0));
    RES("long", filter_flags(many, 4096, 0));
    RES("bad address", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (void *)8));
    RES("bad instructions", filter_flags((void *)8, 3, 0));
    RES("bad flags", filter_flags(many, 1, 0x1000));
    RES("flag log", filter_flags(many, 1, SECCOMP_FILTER_FLAG_LOG));
    RES("flag spec", filter_flags(many, 1, SECCOMP_FILTER_FLAG_SPEC_ALLOW));
    RES("bad operation", syscall(SYS_seccomp, 99, 0, NULL));
    RES("strict with flags", syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL));
    RES("action", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
    action = 0x12340000;
    RES("unknown action", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
    RES("prctl mode", prctl(PR_SET_SECCOMP, 9, NULL));
    RES("prctl null", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL));
    TRY("no return", LOAD(nr));
    TRY("jump out", JEQ(1, 0, 1), RET(0));
    TRY("ja out", BPF_STMT(BPF_JMP | BPF_JA, 1), RET(0));
    TRY("ja far", BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), RET(0));
    TRY("load unaligned", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), RET(SECCOMP_RET_ALLOW));
    TRY("load behind", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), RET(SECCOMP_RET_ALLOW));
    TRY("load half", BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), RET(SECCOMP_RET_ALLOW));
    TRY("load indirect", BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), RET(SECCOMP_RET_ALLOW));
    TRY("modulo", BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3), RET(SECCOMP_RET_ALLOW));
    TRY("divide by 0", ALU(DIV, K, 0), RET(SECCOMP_RET_ALLOW));
    TRY("shift by 32", ALU(LSH, K, 32), RET(SECCOMP_RET_ALLOW));
    TRY("memory 16", BPF_STMT(BPF_ST, 16), RET(SECCOMP_RET_ALLOW));
    TRY("memory not stored", BPF_STMT(BPF_LD | BPF_MEM, 1), RET(SECCOMP_RET_ALLOW));
    TRY("memory stored on one way", JEQ(0, 0, 1), BPF_STMT(BPF_ST, 1),
        BPF_STMT(BPF_LD | BPF_MEM, 1), RET(SECCOMP_RET_ALLOW));
    TRY("memory stored on both", JEQ(0, 0, 2), BPF_STMT(BPF_ST, 1), BPF_STMT(BPF_JMP | BPF_JA, 1),
        BPF_STMT(BPF_ST, 1), BPF_STMT(BPF_LD | BPF_MEM, 1), RET(SECCOMP_RET_ALLOW));
    TRY("length", BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), RET(SECCOMP_RET_ALLOW));
    for (int i = 0; i < 20; i++)
        filter_flags(many, 4096, 0);
    RES("there is an end to it", filter_flags(many, 4096, 0));
}

static void privilege(void)
{
    struct sock_filter f[] = {RET(SECCOMP_RET_ALLOW)};

    if (getuid() == 0 && setresuid(12345, 12345, 12345))
        _exit(9);
    RES("without no_new_privs", filter_flags(f, 1, 0));
    RES("with", filter(f, 1));
}

/* ---- threads and children -------------------------------------------- */

static int pipes[2];

static void *calls(void *arg)
{
    char c;

    if (arg)
        read(pipes[0], &c, 1);
    errno = 0;
    return (void *)(syscall(SYS_getppid) == -1 ? (long)errno : 0);
}
static void *dies(void *arg)
{
    syscall(SYS_getpgid, 0);
    return arg;
}
static void *installs(void *arg)
{
    char c;

    on_call(SYS_getpgid, SECCOMP_RET_ALLOW);
    write(pipes[1], "x", 1);
    pause();
    return arg;
}

static void threads(void)
{
    struct sock_filter f[] = {LOAD(nr), JEQ(SYS_getppid, 0, 1), RET(SECCOMP_RET_ERRNO | EROFS),
                              RET(SECCOMP_RET_ALLOW)};
    pthread_t a, b, c;
    void *r;
    char x;

    pipe(pipes);
    pthread_create(&a, NULL, calls, &a);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    RES("own", filter_flags(f, LEN(f), 0));
    pthread_create(&b, NULL, calls, NULL);
    pthread_join(b, &r);
    SAY("a new thread inherits", "%ld", (long)r);
    write(pipes[1], "x", 1);
    pthread_join(a, &r);
    SAY("an older one does not", "%ld", (long)r);
    pthread_create(&a, NULL, calls, &a);
    f[2].k = SECCOMP_RET_ERRNO | ENFILE;
    RES("all", filter_flags(f, LEN(f), SECCOMP_FILTER_FLAG_TSYNC));
    write(pipes[1], "x", 1);
    pthread_join(a, &r);
    SAY("tsync", "%ld", (long)r);
    on_call(SYS_getpgid, SECCOMP_RET_KILL_THREAD);
    pthread_create(&c, NULL, dies, NULL);
    pthread_join(c, &r);
    SAY("only the thread dies", "%d", 1);
    pthread_create(&c, NULL, installs, NULL);
    read(pipes[0], &x, 1);
    SAY("another way of its own", "%d", filter_flags(f, LEN(f), SECCOMP_FILTER_FLAG_TSYNC) > 0);
    RES("told as an error", filter_flags(f, LEN(f), SECCOMP_FILTER_FLAG_TSYNC |
                                                         SECCOMP_FILTER_FLAG_TSYNC_ESRCH));
    _exit(5);
}

static void child_calls(void)
{
    RES("child", syscall(SYS_getppid));
}

static void children(void)
{
    char *argv[] = {"sys_seccomp", "again", NULL};

    on_call(SYS_getppid, SECCOMP_RET_ERRNO | EROFS);
    on_call(SYS_getuid, SECCOMP_RET_ERRNO | EMLINK);
    SAY("fork", "%d", in_child(child_calls));
    if (vfork() == 0) {
        execv("/proc/self/exe", argv);
        _exit(8);
    }
    wait(NULL);
    execv("/proc/self/exe", argv);
}

static void status_lines(void)
{
    char line[256];
    FILE *f;

    on_call(SYS_getppid, SECCOMP_RET_ERRNO | EROFS);
    on_call(SYS_getppid, SECCOMP_RET_ERRNO | EROFS);
    f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNew", 5))
            printf("status: %s", line);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*f)(void);
    } cases[] = {{"strict", strict_good}, {"strict, another call", strict_bad},
                 {"the vDSO's time", time_is_no_call}, {"errno", errno_action},
                 {"kill process", kill_process}, {"kill thread", kill_thread},
                 {"unknown action kills", kill_unknown}, {"trap without a handler", trap_default},
                 {"trap", trap_action}, {"trap, blocked", trap_blocked},
                 {"another architecture", wrong_arch}, {"arguments", arguments},
                 {"checks", checks}, {"privilege", privilege}, {"threads", threads},
                 {"children", children}, {"status", status_lines}};

    if (argc > 1 && !strcmp(argv[1], "again")) {
        RES("after execve", syscall(SYS_getppid));
        RES("the second, too", syscall(SYS_getuid));
        SAY("descriptors", "%d", fcntl(897, F_GETFD));
        return 0;
    }
    RES("disabled", prctl(PR_GET_SECCOMP));
    for (size_t i = 0; i < LEN(cases); i++)
        SAY(cases[i].name, "%d", in_child(cases[i].f));
    return 0;
}
