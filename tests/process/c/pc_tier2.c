/* pc_tier2.c: hot code while it is optimised: rewritten, forked, interrupted, run by several
 * threads. Compiled for both machines, run natively and emulated.
 * SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

typedef unsigned function(void);

/* ---- code that is rewritten ------------------------------------------ */

/* A function that returns n (below 2048). */
static void write_function(void *at, unsigned n)
{
#ifdef __riscv
    uint32_t code[] = {0x00000513 | n << 20, 0x00008067}; /* li a0, n; ret */
#else
    unsigned char code[] = {0xb8, (unsigned char)n, (unsigned char)(n >> 8), 0, 0, 0xc3};
#endif
    memcpy(at, code, sizeof code);
    __builtin___clear_cache((char *)at, (char *)at + sizeof code);
}

static void *new_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);

    if (p == MAP_FAILED)
        exit(2);
    return p;
}

/* The call is inlined into this loop, which is optimised while the function changes. */
static unsigned __attribute__((noinline)) sum(function *f, unsigned rounds)
{
    unsigned total = 0;

    for (unsigned i = 0; i < rounds; i++)
        total += f() ^ (i & 1);
    return total;
}

static unsigned expected(unsigned n, unsigned rounds)
{
    unsigned total = 0;

    for (unsigned i = 0; i < rounds; i++)
        total += n ^ (i & 1);
    return total;
}

/* A loop that is itself in the memory that is rewritten: counts down from a0 and adds n. */
static void write_loop(void *at, unsigned n)
{
#ifdef __riscv
    uint32_t code[] = {0x00000793,           /* li a5, 0 */
                       0x00078793 | n << 20, /* addi a5, a5, n */
                       0xfff50513,           /* addi a0, a0, -1 */
                       0xfe051ce3,           /* bnez a0, -8 */
                       0x00078513, 0x00008067};
#else
    unsigned char code[] = {0x31, 0xc0,                                  /* xor eax, eax */
                            0x05, (unsigned char)n, (unsigned char)(n >> 8), 0, 0,
                            0xff, 0xcf, 0x75, 0xf7, 0xc3}; /* dec edi; jnz; ret */
#endif
    memcpy(at, code, sizeof code);
    __builtin___clear_cache((char *)at, (char *)at + sizeof code);
}

static void rewritten(void)
{
    void *code = new_code(), *loop = new_code();
    int good = 1, good_loop = 1;

    for (unsigned n = 0; n < 60; n++) {
        unsigned rounds = 500 + n * 211 % 7000;

        write_function(code, n);
        good &= sum((function *)code, rounds) == expected(n, rounds);
        write_loop(loop, n);
        good_loop &= ((unsigned (*)(unsigned))loop)(rounds) == n * rounds;
    }
    check("a hot function that is rewritten", good);
    check("a hot loop that is rewritten", good_loop);
}

/* ---- functions called by pointers ------------------------------------ */

typedef unsigned step(unsigned);

static unsigned add_one(unsigned n) { return n + 1; }
static unsigned mix(unsigned n) { return n * 5 ^ n >> 3; }
static unsigned turn(unsigned n) { return n << 7 | n >> 25; }
static unsigned less(unsigned n) { return n < 1000 ? n : n - 1000; }
static unsigned odd(unsigned n) { return n & 1 ? n ^ 0x5a5a : n + 2; }

static sigjmp_buf out;
static volatile unsigned leave_at;
static unsigned calls;

/* Now and then it goes to where nobody who called it waits. */
static unsigned jumps_out(unsigned n)
{
    if (++calls == leave_at)
        siglongjmp(out, (int)calls);
    return n + 3;
}

static step *volatile const steps[] = {add_one, mix, turn, less, odd};

/* The table is read anew each time, so that nothing here is known to the compiler. */
static unsigned __attribute__((noinline)) through(step *volatile *table, unsigned mask, unsigned n,
                                                  unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        n = table[i & mask](n);
    return n;
}

/* The same by a switch. */
static unsigned __attribute__((noinline)) by_switch(const unsigned char *kind, unsigned mask,
                                                    unsigned n, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        switch (kind[i & mask]) {
        case 0: n = n + 1; break;
        case 1: n = n * 5 ^ n >> 3; break;
        case 2: n = n << 7 | n >> 25; break;
        case 3: n = n < 1000 ? n : n - 1000; break;
        case 4: n = n & 1 ? n ^ 0x5a5a : n + 2; break;
        default: n = ~n; break;
        }
    }
    return n;
}

/* Of the five functions others are called in each phase: the code was made for those before. */
static void phases(void)
{
    step *volatile table[8];
    unsigned char kind[8];
    int good = 1;

    for (unsigned phase = 0; phase < 40; phase++) {
        unsigned n = phase, m = phase;
        for (unsigned i = 0; i < 8; i++) {
            kind[i] = (unsigned char)((phase / 8 + i * (phase % 8) / 3) % 5);
            table[i] = steps[kind[i]];
        }
        n = through(table, 7, n, 9000);
        good &= by_switch(kind, 7, m, 9000) == n;
        for (unsigned i = 0; i < 9000; i++) /* by a way of its own */
            m = kind[i & 7] == 0   ? m + 1
                : kind[i & 7] == 1 ? m * 5 ^ m >> 3
                : kind[i & 7] == 2 ? m << 7 | m >> 25
                : kind[i & 7] == 3 ? less(m)
                                   : odd(m);
        good &= m == n;
    }
    check("pointers to functions that change in phases", good);
}

static void jumped_out(void)
{
    step *volatile table[2] = {jumps_out, add_one};
    int good = 1;

    for (volatile unsigned k = 1; k < 60; k++) {
        calls = 0;
        leave_at = k * 97;
        int at = sigsetjmp(out, 0);
        if (!at) {
            through(table, 1, 0, 20000);
            good = 0;
        }
        good &= (unsigned)at == k * 97;
    }
    leave_at = 0;
    calls = 0;
    good &= through(table, 1, 0, 20000) == 40000 && calls == 10000;
    check("a longjmp out of a function called by a pointer", good);
}

/* ---- code that is rewritten while it is called ------------------------- */

static void *rewritten_code;
static unsigned rewritten_at, number;

/* The function that the next round calls is another one then. */
static unsigned rewrites(unsigned n)
{
    if (++calls % rewritten_at == 0)
        write_function(rewritten_code, ++number);
    return n;
}

static unsigned __attribute__((noinline)) beside(step *volatile *table, unsigned rounds)
{
    unsigned total = 0;

    for (unsigned i = 0; i < rounds; i++) {
        total += table[0](i);
        total = total * 3 + table[1](0);
    }
    return total;
}

static void rewritten_inside(void)
{
    step *volatile table[2] = {rewrites, NULL};
    int good = 1;

    rewritten_code = new_code();
    table[1] = (step *)rewritten_code;
    for (unsigned k = 0; k < 30; k++) {
        unsigned want = 0, is = k;
        rewritten_at = 400 + 37 * k;
        calls = 0;
        number = k;
        write_function(rewritten_code, k);
        for (unsigned i = 0; i < 5000; i++) {
            want += i;
            is += (i + 1) % rewritten_at == 0;
            want = want * 3 + is;
        }
        good &= beside(table, 5000) == want;
    }
    check("a function rewritten by another of the same loop", good);
}

/* ---- forks ----------------------------------------------------------- */

static volatile unsigned sink;

static unsigned __attribute__((noinline)) work(unsigned seed, unsigned rounds)
{
    unsigned h = seed;

    for (unsigned i = 0; i < rounds; i++)
        h = (h ^ i) * 16777619u + (h >> 13);
    sink = h;
    return h;
}

static unsigned __attribute__((noinline)) other_work(unsigned seed, unsigned rounds)
{
    static unsigned a[64];
    unsigned h = 0;

    for (unsigned i = 0; i < 64; i++)
        a[i] = seed + i;
    for (unsigned i = 0; i < rounds; i++) {
        unsigned *p = &a[(h ^ i) & 63];

        if (*p & 1)
            h += *p ^ i;
        else
            *p += h >> 3;
    }
    return h;
}

static void forks(void)
{
    int good = 1;

    for (unsigned n = 0; n < 40; n++) {
        unsigned rounds = 1000 + 100 * n, want = work(n, rounds) ^ other_work(n, rounds);
        pid_t pid = fork();
        int status = 0;

        if (pid == 0)
            _exit((work(n, rounds) ^ other_work(n, rounds)) == want ? 7 : 8);
        good &= (work(n, rounds) ^ other_work(n, rounds)) == want;
        good &= waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    check("forks beside hot code", good);
}

/* ---- threads --------------------------------------------------------- */

static void *thread(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    unsigned long total = 0;

    for (unsigned n = 0; n < 30; n++)
        total += work(seed + n, 3000);
    return (void *)total;
}

static void threads(void)
{
    pthread_t t[4];
    int good = 1;

    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, thread, (void *)(i * 1000));
    for (uintptr_t i = 0; i < 2; i++) {
        void *got;

        pthread_join(t[i], &got);
        good &= got == thread((void *)(i * 1000));
    }
    check("threads in the same hot loops", good);
}

/* Others rewrite functions of their own while this one runs hot loops. */
static atomic_int stop;

static void *rewriter(void *arg)
{
    void *code = new_code();
    long bad = 0;

    (void)arg;
    for (unsigned n = 0; !stop; n = (n + 1) % 2000) {
        write_function(code, n);
        bad += sum((function *)code, 300) != expected(n, 300);
    }
    return (void *)bad;
}

static void storm(void)
{
    pthread_t t[2];
    long bad = 0;

    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, rewriter, NULL);
    unsigned want = work(1, 20000);
    for (unsigned n = 0; n < 40; n++)
        bad += work(1, 20000) != want;
    stop = 1;
    for (unsigned i = 0; i < 2; i++) {
        void *got;

        pthread_join(t[i], &got);
        bad += (long)got;
    }
    check("threads that rewrite code beside hot loops", bad == 0);
}

/* One function that a thread changes while another, in a hot loop around it, looks what it was told
 * of last: it must not find an older one. */
enum { TELLS = 1500 };
static void *told_code;
static atomic_uint told;

static void *teller(void *arg)
{
    (void)arg;
    for (unsigned n = 1; n <= TELLS; n++) {
#ifdef __riscv
        *(volatile uint32_t *)told_code = 0x00000513 | n << 20; /* li a0, n */
#else
        *(volatile uint64_t *)told_code = 0xc300000000b8 | (uint64_t)n << 8;
#endif
        __builtin___clear_cache((char *)told_code, (char *)told_code + 8);
        told = n;
        for (volatile unsigned wait = 0; wait < 3000; wait++)
            ;
    }
    return NULL;
}

static void __attribute__((noinline)) no_older_code(void)
{
    function *f;
    pthread_t t;
    unsigned bad = 0, n = 0;

    told_code = new_code();
    write_function(told_code, 0);
    f = (function *)told_code;
    pthread_create(&t, NULL, teller, NULL);
    while (n < TELLS) {
        n = told;
        bad += f() < n;
    }
    pthread_join(t, NULL);
    check("no code is older than what was told of it", bad == 0);
}

/* ---- signals --------------------------------------------------------- */

static volatile sig_atomic_t ticks;

static void on_alarm(int sig)
{
    (void)sig;
    ticks++;
}

/* Each tick is due after 5 ms; nothing leaves the loop but a signal. */
static void prompt(void)
{
    struct itimerval every = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}};
    struct timespec from, to;
    unsigned long n = 0;

    signal(SIGALRM, on_alarm);
    clock_gettime(CLOCK_MONOTONIC, &from);
    setitimer(ITIMER_REAL, &every, NULL);
    while (ticks < 20)
        n++;
    setitimer(ITIMER_REAL, &off, NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    sink = (unsigned)n;
    check("signals come through to a tight loop", to.tv_sec - from.tv_sec < 5);
}

/* Loops whose functions are called by pointers are interrupted like others, and left by a
 * handler too. */
static void on_leave(int sig)
{
    (void)sig;
    siglongjmp(out, 1);
}

static void signalled(void)
{
    step *volatile table[2] = {add_one, odd};
    struct itimerval once = {{0, 0}, {0, 3000}};
    volatile unsigned left = 0;

    signal(SIGALRM, on_leave);
    for (volatile unsigned k = 0; k < 20; k++) {
        if (sigsetjmp(out, 1)) {
            left++;
            continue;
        }
        setitimer(ITIMER_REAL, &once, NULL);
        for (;;)
            sink = through(table, 1, sink, 1u << 30);
    }
    check("a handler leaves a loop that calls by pointers", left == 20);
}

/* ---- a thread that the program does not know of ------------------------ */

static volatile sig_atomic_t setxid;

static void on_setxid(int sig) { setxid += sig; }

/* Long enough for the loop to be found hot and compiled by that thread. */
static void heat(void)
{
    for (unsigned n = 0; n < 40; n++)
        sum((function *)getppid, 10000 / 40);
    for (volatile unsigned n = 0; n < 3000000; n++)
        ;
}

/* Signal 33 is the program's, and so is what a process may do that has one thread: as root
 * or not, a user namespace of its own. By raw calls, for the C library keeps 33 to itself. */
static void alone(void)
{
    struct {
        void (*handler)(int);
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } act = {0}, is = {0};
    pid_t pid;
    int status = 0;

    act.handler = on_setxid;
    syscall(SYS_rt_sigaction, 33, &act, NULL, 8);
    heat();
    syscall(SYS_rt_sigaction, 33, NULL, &is, 8);
    check("signal 33 has the program's handler", is.handler == on_setxid);
    pid = fork();
    if (pid == 0) {
        for (volatile unsigned n = 3000000; n > 0; n--) /* not hot yet */
            ;
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno == EINVAL ? 1 : 2);
    }
    waitpid(pid, &status, 0);
    check("a process with one thread may leave its user namespace",
          WIFEXITED(status) && WEXITSTATUS(status) != 1);
}

/* /proc shows the program's threads: in the listing, in status and in stat. */
static int threads_listed(void)
{
    DIR *list = opendir("/proc/self/task");
    struct dirent *d;
    int n = 0;

    while (list && (d = readdir(list)))
        n += d->d_name[0] != '.';
    closedir(list);
    return n;
}

/* The value of a line of a status file. */
static unsigned long long status_value(const char *path, const char *name, int base)
{
    char line[512];
    unsigned long long value = 0;
    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)))
            value = strtoull(line + strlen(name) + 1, NULL, base);
    fclose(f);
    return value;
}

static int threads_in_stat(const char *path)
{
    char text[1024];
    FILE *f = fopen(path, "r");
    char *at = text;

    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    at = strrchr(text, ')');
    for (int field = 2; field < 20; field++)
        at = strchr(at + 1, ' ');
    return atoi(at);
}

static int pipes[2];

static void *waiter(void *arg)
{
    char path[64], c;
    sigset_t set;

    (void)arg;
    if (read(pipes[0], &c, 1) != 1)
        return NULL;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)syscall(SYS_gettid));
    unsigned long long want = 1ull << (SIGUSR2 - 1) | 1ull << (SIGSEGV - 1);
    int good = status_value(path, "SigBlk", 16) == want &&
               status_value("/proc/self/status", "SigBlk", 16) == 0 &&
               status_value(path, "Threads", 10) == 2;
    strcpy(strrchr(path, '/'), "/stat");
    good &= threads_in_stat(path) == 2;
    return (void *)(uintptr_t)good;
}

static void shown(void)
{
    unsigned long long caught = 1ull << (SIGUSR1 - 1) | 1ull << (SIGFPE - 1), all, before;
    int listed = 0, counted = 0, in_stat = 0;
    pthread_t t;
    void *good;

    for (int i = 0; i < 2; i++) {
        heat();
        listed += threads_listed();
        counted += status_value("/proc/self/status", "Threads", 10);
        in_stat += threads_in_stat("/proc/self/stat");
    }
    check("its threads are all that /proc/self/task lists", listed == 2);
    check("... and all that status and stat count", counted == 2 && in_stat == 2);
    if (pipe(pipes) || pthread_create(&t, NULL, waiter, NULL))
        return;
    heat();
    check("a second one is shown", threads_listed() == 2 &&
                                       threads_in_stat("/proc/self/stat") == 2);
    if (write(pipes[1], "x", 1) != 1)
        return;
    pthread_join(t, &good);
    check("the status of a thread has its own blocked signals", good != NULL);
    signal(SIGUSR1, on_alarm);
    signal(SIGFPE, on_alarm);
    before = status_value("/proc/self/status", "SigIgn", 16); /* as a background job of a shell */
    signal(SIGTRAP, SIG_IGN);
    all = status_value("/proc/self/status", "SigCgt", 16);
    check("signals caught", (all & 0xffff) == caught);
    all = status_value("/proc/self/status", "SigIgn", 16);
    check("signals ignored", all == (before | 1ull << (SIGTRAP - 1)));
    signal(SIGTRAP, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
}

int main(void)
{
    alone();
    shown();
    rewritten();
    phases();
    jumped_out();
    rewritten_inside();
    signalled();
    forks();
    threads();
    storm();
    no_older_code();
    prompt();
    return check_end();
}
