/* pc_signal.c: handlers, masks, stacks, faults: compiled for both machines, run natively and
 * emulated. SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <poll.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile int count;
static char trail[64];

static void note(char c)
{
    size_t n = strlen(trail);

    if (n + 1 < sizeof trail)
        trail[n] = c;
}

static void install(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags};

    sigaction(sig, &sa, NULL);
}
static void restore(int sig) { signal(sig, SIG_DFL); }

static void block(int how, int sig)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(how, &set, NULL);
}

/* ---- delivery -------------------------------------------------------- */

static siginfo_t seen;
static void on_info(int sig, siginfo_t *si, void *uc)
{
    (void)uc;
    seen = *si;
    count += sig > 0;
}

static void test_info(void)
{
    union sigval v = {.sival_ptr = (void *)0x123456789abcdefL};

    count = 0;
    install(SIGUSR1, on_info, 0);
    kill(getpid(), SIGUSR1);
    check("kill", count == 1 && seen.si_signo == SIGUSR1 && seen.si_code == SI_USER &&
                      seen.si_pid == getpid());
    sigqueue(getpid(), SIGUSR1, v);
    check("sigqueue", count == 2 && seen.si_code == SI_QUEUE &&
                          seen.si_value.sival_ptr == v.sival_ptr);
    syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
    check("tgkill", count == 3 && seen.si_code == SI_TKILL);
    raise(SIGUSR1);
    check("raise", count == 4);
    restore(SIGUSR1);
}

static void on_inner(int sig, siginfo_t *si, void *uc)
{
    (void)si, (void)uc;
    note(sig == SIGUSR2 ? 'b' : sig == SIGHUP ? 'h' : '?');
}
static void on_outer(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)si, (void)uc;
    note('<');
    raise(SIGUSR2); /* not masked: at once */
    note('-');
    raise(SIGHUP); /* masked: after */
    note('-');
    if (count++ == 0)
        raise(SIGUSR1); /* itself: after */
    note('>');
}

static void test_nested(void)
{
    struct sigaction sa = {.sa_sigaction = on_outer, .sa_flags = SA_SIGINFO};

    count = 0;
    memset(trail, 0, sizeof trail);
    sigaddset(&sa.sa_mask, SIGHUP);
    sigaction(SIGUSR1, &sa, NULL);
    install(SIGUSR2, on_inner, 0);
    install(SIGHUP, on_inner, 0);
    raise(SIGUSR1);
    printf("nested: %s\n", trail);
    check("nested", strlen(trail) == 12);
    restore(SIGUSR1), restore(SIGUSR2), restore(SIGHUP);
}

static void on_depth(int sig, siginfo_t *si, void *uc)
{
    (void)si, (void)uc;
    note('(');
    if (++count < 4)
        raise(sig);
    note(')');
}

static void test_flags(void)
{
    struct sigaction now;

    count = 0;
    memset(trail, 0, sizeof trail);
    install(SIGUSR1, on_depth, SA_NODEFER);
    raise(SIGUSR1);
    check("SA_NODEFER", !strcmp(trail, "(((())))"));
    install(SIGUSR1, on_info, SA_RESETHAND);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &now);
    check("SA_RESETHAND", now.sa_handler == SIG_DFL);
}

static int order[80], norder;
static void on_order(int sig, siginfo_t *si, void *uc)
{
    (void)uc;
    if (norder < 80)
        order[norder++] = sig * 100 + si->si_value.sival_int;
}

static void test_queue(void)
{
    int rt = SIGRTMIN, good = 1;
    struct sigaction sa = {.sa_sigaction = on_order, .sa_flags = SA_SIGINFO};
    sigset_t all, old, pend;

    norder = 0;
    sigfillset(&sa.sa_mask);
    for (int i = 0; i < 3; i++)
        sigaction(rt + i, &sa, NULL);
    sigaction(SIGUSR1, &sa, NULL);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    for (int v = 0; v < 5; v++)
        for (int i = 2; i >= 0; i--)
            sigqueue(getpid(), rt + i, (union sigval){.sival_int = v});
    kill(getpid(), SIGUSR1), kill(getpid(), SIGUSR1);
    sigpending(&pend);
    check("sigpending", sigismember(&pend, rt) && sigismember(&pend, SIGUSR1) &&
                            !sigismember(&pend, SIGUSR2));
    sigprocmask(SIG_SETMASK, &old, NULL);
    check("queued count", norder == 16);
    for (int i = 1; i < norder; i++)
        good &= order[i] / 100 != order[i - 1] / 100 || order[i] > order[i - 1];
    check("queue order within a signal", good);
    for (int i = 0; i < norder; i++)
        printf("%d ", order[i] / 100 >= rt ? order[i] - rt * 100 : 9999);
    printf("\n");
    for (int i = 0; i < 3; i++)
        restore(rt + i);
    restore(SIGUSR1);
}

/* ---- stacks ---------------------------------------------------------- */

static char *alt;
static volatile int on_alt, alt_state, alt_eperm;
static void on_stack(int sig, siginfo_t *si, void *uc)
{
    stack_t ss;
    char here;

    (void)sig, (void)si, (void)uc;
    on_alt = &here >= alt && &here < alt + 65536;
    sigaltstack(NULL, &ss);
    alt_state = ss.ss_flags;
    ss.ss_flags = 0;
    alt_eperm = sigaltstack(&ss, NULL) < 0 ? errno : 0;
}

static void test_altstack(void)
{
    stack_t ss = {.ss_size = 65536}, old;

    alt = malloc(65536);
    ss.ss_sp = alt;
    check("sigaltstack", !sigaltstack(&ss, &old) && old.ss_flags == SS_DISABLE);
    install(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    check("on altstack", on_alt && alt_state == SS_ONSTACK && alt_eperm == EPERM);
    install(SIGUSR1, on_stack, 0);
    raise(SIGUSR1);
    check("not on altstack", !on_alt && alt_state == 0 && alt_eperm == 0);
    ss.ss_size = 16;
    check("altstack too small", sigaltstack(&ss, NULL) < 0 && errno == ENOMEM);
    ss.ss_flags = SS_DISABLE;
    check("altstack off", !sigaltstack(&ss, NULL));
    restore(SIGUSR1);
}

/* ---- faults ---------------------------------------------------------- */

static char *volatile page;
static void on_repair(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)uc;
    seen = *si;
    count++;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void test_repair(void)
{
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    install(SIGSEGV, on_repair, 0);
    count = 0;
    *(volatile char *)(page + 100) = 7;
    __asm__ volatile("" ::: "memory"); /* seen is read after */
    check("SEGV repaired", count == 1 && page[100] == 7 && seen.si_code == SEGV_ACCERR &&
                               seen.si_addr == page + 100);
    for (int i = 0; i < 1000; i++) {
        mprotect(page, 4096, i & 1 ? PROT_NONE : PROT_READ);
        ++*(volatile char *)(page + i);
    }
    check("SEGV repaired 1000 times", count == 1001);
    restore(SIGSEGV);
}

static sigjmp_buf env;
static void on_jump(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)uc;
    seen = *si;
    siglongjmp(env, 1);
}

static __attribute__((noinline)) long poke(volatile long *p) { return *p; }

static void test_jump(void)
{
    volatile int n = 0;

    install(SIGSEGV, on_jump, 0);
    while (n < 2000)
        if (!sigsetjmp(env, 1))
            poke((long *)(8L * n)), n = 9999;
        else
            n++;
    check("siglongjmp out of SEGV", n == 2000 && seen.si_code == SEGV_MAPERR &&
                                        seen.si_addr == (void *)(8L * 1999));
    if (!sigsetjmp(env, 1))
        poke((long *)0x4141414141414140L);
#ifdef __riscv
    check("SEGV not canonical", seen.si_code == SEGV_MAPERR &&
                                    seen.si_addr == (void *)0x4141414141414140L);
#else
    check("SEGV not canonical", 1);
#endif
    if (!sigsetjmp(env, 1))
        ((void (*)(void))0x5000)();
    check("SEGV at a bad pc", seen.si_addr == (void *)0x5000);
    restore(SIGSEGV);
}

static void on_skip(int sig, siginfo_t *si, void *ucv)
{
    ucontext_t *uc = ucv;

    (void)sig;
    seen = *si;
    count++;
#ifdef __riscv
    uc->uc_mcontext.__gregs[REG_PC] += 4;
    uc->uc_mcontext.__gregs[REG_A0] += 1000;
#else
    uc->uc_mcontext.gregs[REG_RIP] += 2;
    uc->uc_mcontext.gregs[REG_RAX] += 1000;
#endif
}

static void test_skip(void)
{
    long sum = 0;

    count = 0;
    install(SIGILL, on_skip, 0);
    for (int i = 0; i < 1000; i++) {
#ifdef __riscv
        register long r __asm__("a0") = i;
        __asm__ volatile(".word 0xffffffff" : "+r"(r)::"memory");
#else
        register long r __asm__("rax") = i;
        __asm__ volatile("ud2" : "+r"(r)::"memory");
#endif
        sum += r;
    }
    check("SIGILL skipped, register changed", count == 1000 && sum == 1000 * 1000 + 999 * 500);
    restore(SIGILL);
}

static void on_trap(int sig, siginfo_t *si, void *ucv)
{
    (void)sig, (void)ucv;
    seen = *si;
    count++;
#ifdef __riscv
    unsigned long *pc = &((ucontext_t *)ucv)->uc_mcontext.__gregs[REG_PC];

    *pc += (*(uint16_t *)*pc & 3) == 3 ? 4 : 2;
#endif
}

static void test_trap(void)
{
    count = 0;
    install(SIGTRAP, on_trap, 0);
#ifdef __riscv
    __asm__ volatile("ebreak");
    check("SIGTRAP", count == 1 && seen.si_code == TRAP_BRKPT);
#else
    __asm__ volatile("int3");
    check("SIGTRAP", count == 1);
#endif
    restore(SIGTRAP);
}

static void test_bus(void)
{
    char name[] = "/tmp/pc_signalXXXXXX";
    int fd = mkstemp(name);
    char *p;

    unlink(name);
    p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    install(SIGBUS, on_jump, 0);
    seen.si_code = 0;
    if (!sigsetjmp(env, 1))
        poke((long *)(p + 4096));
    check("SIGBUS behind the file", seen.si_code == BUS_ADRERR && seen.si_addr == p + 4096);
    restore(SIGBUS);
    munmap(p, 8192);
    close(fd);
}

static void test_sent_fault_signal(void)
{
    sigset_t pend;

    count = 0;
    install(SIGSEGV, on_info, 0);
    block(SIG_BLOCK, SIGSEGV);
    kill(getpid(), SIGSEGV);
    kill(getpid(), SIGSEGV);
    sigpending(&pend);
    check("sent SEGV stays blocked", count == 0 && sigismember(&pend, SIGSEGV));
    block(SIG_UNBLOCK, SIGSEGV);
    check("sent SEGV delivered once", count == 1 && seen.si_code == SI_USER);
    restore(SIGSEGV);
}

/* ---- floating point -------------------------------------------------- */

static void on_float(int sig, siginfo_t *si, void *uc)
{
    volatile double x = 1.0;

    (void)sig, (void)si, (void)uc;
    for (int i = 0; i < 20; i++)
        x = x * 1.1 + 3.0 / x;
    count++;
}

static void test_busy(void)
{
    struct itimerval it = {{0, 300}, {0, 300}}, off = {{0, 0}, {0, 0}};
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
    double x = 1, y = 2, z = 3, w = 4;

    count = 0;
    install(SIGALRM, on_float, SA_RESTART);
    setitimer(ITIMER_REAL, &it, NULL);
    for (uint64_t i = 0; i < 300000000 && (count < 1500 || i < 100000); i++) {
        a += b ^ i, b += c * 3, c ^= d >> 3, d += e, e -= f * 5, f ^= g << 1, g += h, h ^= a;
        x += y * 0.25, y -= z * 0.125, z += w * 0.5, w -= x * 0.0625;
        if ((i & 0xfff) == 0xfff) /* the same whatever the number of rounds */
            a = b = c = d = e = f = g = h = 1, x = y = z = w = 1;
    }
    setitimer(ITIMER_REAL, &off, NULL);
    a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8, x = 1, y = 2, z = 3, w = 4;
    setitimer(ITIMER_REAL, &it, NULL);
    for (uint64_t i = 0; i < 3000000; i++) {
        a += b ^ i, b += c * 3, c ^= d >> 3, d += e, e -= f * 5, f ^= g << 1, g += h, h ^= a;
        x += y * 0.25, y -= z * 0.125, z += w * 0.5, w -= x * 0.0625;
    }
    setitimer(ITIMER_REAL, &off, NULL);
    printf("%llx %a %a\n", (unsigned long long)(a ^ b ^ c ^ d ^ e ^ f ^ g ^ h), x + y, z + w);
    check("registers survive hundreds of signals", count > 100);
    restore(SIGALRM);
}

/* ---- waiting --------------------------------------------------------- */

static int fds[2];
static void on_alarm_write(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)si, (void)uc;
    if (++count == 3 && write(fds[1], "x", 1) < 0)
        _exit(1);
}

static void test_restart(void)
{
    struct itimerval it = {{0, 20000}, {0, 20000}}, off = {{0, 0}, {0, 0}};
    struct timespec ts = {5, 0}, left;
    struct pollfd pf;
    char c;
    ssize_t n;

    if (pipe(fds) < 0)
        exit(1);
    count = 0;
    install(SIGALRM, on_alarm_write, SA_RESTART);
    setitimer(ITIMER_REAL, &it, NULL);
    n = read(fds[0], &c, 1);
    check("SA_RESTART read", n == 1 && count >= 3);
    install(SIGALRM, on_alarm_write, 0);
    count = 10;
    n = read(fds[0], &c, 1);
    check("read EINTR", n < 0 && errno == EINTR && count > 10);
    install(SIGALRM, on_alarm_write, SA_RESTART);
    check("nanosleep EINTR", nanosleep(&ts, &left) < 0 && errno == EINTR && left.tv_sec == 4);
    pf.fd = fds[0], pf.events = POLLIN;
    check("poll EINTR", poll(&pf, 1, 5000) < 0 && errno == EINTR);
    check("pause", pause() < 0 && errno == EINTR);
    setitimer(ITIMER_REAL, &off, NULL);
    restore(SIGALRM);
    close(fds[0]), close(fds[1]);
}

static void test_suspend(void)
{
    sigset_t none, usr, now;
    struct timespec zero = {0, 0}, second = {1, 0};
    struct timeval tv = {1, 0};
    siginfo_t si;
    int r;

    (void)tv;
    sigemptyset(&none);
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    install(SIGUSR1, on_info, 0);
    block(SIG_BLOCK, SIGUSR1);
    count = 0;
    raise(SIGUSR1);
    check("blocked", count == 0);
    r = sigsuspend(&none);
    check("sigsuspend", r < 0 && errno == EINTR && count == 1);
    sigprocmask(SIG_BLOCK, NULL, &now);
    check("mask after sigsuspend", sigismember(&now, SIGUSR1));
    raise(SIGUSR1);
    r = ppoll(NULL, 0, &second, &none);
    check("ppoll with mask", r < 0 && errno == EINTR && count == 2);
    raise(SIGUSR1);
    r = pselect(0, NULL, NULL, NULL, &second, &none);
    check("pselect with mask", r < 0 && errno == EINTR && count == 3);
    sigprocmask(SIG_BLOCK, NULL, &now);
    check("mask after pselect", sigismember(&now, SIGUSR1));
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
    r = sigtimedwait(&usr, &si, &second);
    check("sigtimedwait", r == SIGUSR1 && si.si_value.sival_int == 77 && count == 3);
    r = sigtimedwait(&usr, &si, &zero);
    check("sigtimedwait none", r < 0 && errno == EAGAIN);
    block(SIG_UNBLOCK, SIGUSR1);
    restore(SIGUSR1);
}

static void test_signalfd(void)
{
    struct signalfd_siginfo si;
    sigset_t usr;
    int fd;

    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR2);
    sigprocmask(SIG_BLOCK, &usr, NULL);
    fd = signalfd(-1, &usr, 0);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 42});
    check("signalfd", read(fd, &si, sizeof si) == sizeof si && si.ssi_signo == SIGUSR2 &&
                          si.ssi_int == 42);
    close(fd);
    sigprocmask(SIG_UNBLOCK, &usr, NULL);
}

static volatile int blocked, wrong;
static void on_blocked(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)si, (void)uc;
    wrong += blocked;
    count++;
}

static void test_mask_race(void)
{
    struct itimerval it = {{0, 100}, {0, 100}}, off = {{0, 0}, {0, 0}};

    count = wrong = 0;
    install(SIGALRM, on_blocked, 0);
    setitimer(ITIMER_REAL, &it, NULL);
    for (int i = 0; i < 200000 && count < 500; i++) {
        block(SIG_BLOCK, SIGALRM);
        blocked = 1;
        for (volatile int k = 0; k < 50; k++)
            ;
        blocked = 0;
        block(SIG_UNBLOCK, SIGALRM);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    check("never while blocked", count > 20 && wrong == 0);
    restore(SIGALRM);
}

/* A POSIX timer, a signal number that the C library keeps for itself, and a bad frame. */
static void test_timer(void)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    struct itimerspec it = {{0, 1000000}, {0, 1000000}};
    timer_t id;

    ev.sigev_value.sival_int = 99;
    count = 0;
    install(SIGRTMIN + 1, on_info, 0);
    timer_create(CLOCK_MONOTONIC, &ev, &id);
    timer_settime(id, 0, &it, NULL);
    while (count < 20)
        ;
    timer_delete(id);
    check("timer_create", seen.si_code == SI_TIMER && seen.si_value.sival_int == 99);
    restore(SIGRTMIN + 1);
}

/* ---- death ----------------------------------------------------------- */

static int child_status(void (*fn)(void))
{
    int st;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        fn();
        _exit(0);
    }
    waitpid(pid, &st, 0);
    return st & 0xff7f; /* without the core bit */
}
static void die_term(void) { raise(SIGTERM); }
static void die_segv(void) { poke((long *)16); }
static void die_abort(void) { abort(); }
static void die_rt(void) { raise(SIGRTMIN + 5); }
static void die_ill(void)
{
#ifdef __riscv
    __asm__ volatile(".word 0xffffffff");
#else
    __asm__ volatile("ud2");
#endif
}
static void die_blocked_segv(void)
{
    install(SIGSEGV, on_jump, 0);
    block(SIG_BLOCK, SIGSEGV);
    die_segv();
}
static void die_ignored_segv(void)
{
    signal(SIGSEGV, SIG_IGN);
    die_segv();
}
static void die_sent_segv(void) { kill(getpid(), SIGSEGV); }
static void live_ignored(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGSEGV, SIG_IGN);
    raise(SIGTERM);
    raise(SIGSEGV);
    raise(SIGCHLD);
    raise(SIGWINCH);
}
static void die_bad_stack(void)
{
    install(SIGUSR1, on_info, SA_ONSTACK);
    sigaltstack(&(stack_t){.ss_sp = (void *)0x1000, .ss_size = 16384}, NULL);
    raise(SIGUSR1);
}
static volatile char *deep_end;
static __attribute__((noinline)) int deep(int n)
{
    volatile char buf[4096];

    buf[n & 4095] = 1;
    deep_end = buf;
    return n <= 0 ? 0 : deep(n + 1) + buf[0];
}
static void die_stack_overflow(void) { deep(1); }

static void test_death(void)
{
    check("dies by TERM", child_status(die_term) == SIGTERM);
    check("dies by SEGV", child_status(die_segv) == SIGSEGV);
    check("dies by ABRT", child_status(die_abort) == SIGABRT);
    check("dies by RT", child_status(die_rt) == SIGRTMIN + 5);
    check("dies by ILL", child_status(die_ill) == SIGILL);
    check("blocked SEGV kills", child_status(die_blocked_segv) == SIGSEGV);
    check("ignored SEGV kills", child_status(die_ignored_segv) == SIGSEGV);
    check("sent SEGV kills", child_status(die_sent_segv) == SIGSEGV);
    check("ignored", child_status(live_ignored) == 0);
    check("bad handler stack kills", child_status(die_bad_stack) == SIGSEGV);
    check("stack overflow kills", child_status(die_stack_overflow) == SIGSEGV);
}

static void test_stop(void)
{
    int st;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        setpgid(0, 0); /* the kernel does not stop an orphaned group by TSTP */
        raise(SIGTSTP);
        raise(SIGSTOP);
        _exit(5);
    }
    waitpid(pid, &st, WUNTRACED);
    check("stopped by TSTP", WIFSTOPPED(st) && WSTOPSIG(st) == SIGTSTP);
    kill(pid, SIGCONT);
    waitpid(pid, &st, WUNTRACED);
    check("stopped by STOP", WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
    kill(pid, SIGCONT);
    waitpid(pid, &st, 0);
    check("continued", WIFEXITED(st) && WEXITSTATUS(st) == 5);
}

static void test_child(void)
{
    int st;

    count = 0;
    install(SIGCHLD, on_info, SA_RESTART);
    fflush(stdout);
    if (!fork())
        _exit(9);
    check("wait restarted", wait(&st) > 0 && WEXITSTATUS(st) == 9);
    check("SIGCHLD", count == 1 && seen.si_code == CLD_EXITED && seen.si_status == 9);
    install(SIGCHLD, on_info, SA_NOCLDWAIT);
    if (!fork())
        _exit(9);
    check("SA_NOCLDWAIT", wait(&st) < 0 && errno == ECHILD);
    restore(SIGCHLD);
}

int main(void)
{
    test_info();
    test_nested();
    test_flags();
    test_queue();
    test_altstack();
    test_repair();
    test_jump();
    test_skip();
    test_trap();
    test_bus();
    test_sent_fault_signal();
    test_restart();
    test_suspend();
    test_signalfd();
    test_timer();
    test_busy();
    test_mask_race();
    test_death();
    test_stop();
    test_child();
    return check_end();
}
