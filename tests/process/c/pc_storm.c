/* pc_storm.c: signals, faults, forks and changing code at once. SPDX-License-Identifier: Apache-2.0
 *
 * With checks that nothing is lost or changed: compiled for both machines, run natively and
 * emulated. Choices are drawn from STORM_SEED. */
#include "pc_check.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int stop, bad;
static atomic_long ticks, faults, queued, received, rewrites;
static uint64_t seed = 1;
static __thread volatile char *mine;
static __thread long my_ticks;

static void on_tick(int sig, siginfo_t *si, void *uc)
{
    volatile double x = sig;

    (void)si, (void)uc;
    for (int i = 0; i < 5; i++)
        x = x * 1.5 + 1;
    my_ticks++;
    ticks++;
}
static void on_fault(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)uc;
    if ((char *)si->si_addr < mine || (char *)si->si_addr >= mine + 4096)
        bad++;
    faults++;
    mprotect((void *)mine, 4096, PROT_READ | PROT_WRITE);
}
static void on_queue(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)uc;
    received += si->si_value.sival_int;
}

static timer_t start_timer(void)
{
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 2};
    struct itimerspec it = {{0, 400000}, {0, 400000}};
    timer_t id;

    ev.sigev_notify_thread_id = (int)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &ev, &id))
        exit(2);
    timer_settime(id, 0, &it, NULL);
    return id;
}

/* The same sum again and again: a register lost in a handler shows. */
static void *compute(void *arg)
{
    timer_t id = start_timer();
    uint64_t want = 0;
    double wantf = 0;

    (void)arg;
    for (int round = 0; !stop; round++) {
        uint64_t a = 1, b = 2, c = 3, d = 5, e = 7;
        double x = 1, y = 2, z = 3;

        for (int i = 0; i < 20000; i++) {
            a += b ^ (uint64_t)i, b = (b << 7 | b >> 57) + c, c ^= d * a, d += e >> 3, e -= a;
            x += y * 0.5, y = z - x * 0.25, z = z * 0.75 + 1;
        }
        if (!round)
            want = a ^ b ^ c ^ d ^ e, wantf = x + y + z;
        bad += want != (a ^ b ^ c ^ d ^ e) || wantf != x + y + z;
    }
    timer_delete(id);
    return NULL;
}

static void *fault(void *arg)
{
    timer_t id = start_timer();

    (void)arg;
    mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; !stop; i++) {
        char old = mine[i & 4095];

        mprotect((void *)mine, 4096, i & 1 ? PROT_READ : PROT_NONE);
        mine[i & 4095]++;
        bad += mine[i & 4095] != (char)(old + 1);
    }
    timer_delete(id);
    return NULL;
}

static void *forker(void *arg)
{
    extern char **environ;
    char *const argv[] = {arg, "leaf", NULL};
    timer_t id = start_timer();
    int st;

    for (int i = 0; !stop; i++) {
        pid_t pid;

        if (i & 1) {
            if (posix_spawn(&pid, arg, NULL, NULL, argv, environ))
                pid = -1;
        } else {
            pid = fork();
            if (!pid) {
                free(malloc(5000));
                _exit(77);
            }
        }
        while (pid > 0 && waitpid(pid, &st, 0) < 0)
            if (errno != EINTR)
                break;
        bad += pid < 0 || st != 77 << 8;
    }
    timer_delete(id);
    return NULL;
}

/* ---- code that changes ----------------------------------------------- */

enum { CODE_PAGE = 4096, CODE_SLOT = 16, CODE_MAX = 2047,
       CODE_RWX = PROT_READ | PROT_WRITE | PROT_EXEC };

typedef int (*code_fn)(void);

static uint32_t draw(uint64_t *r, uint32_t n)
{
    *r = *r * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(*r >> 33) % n;
}

/* A function that returns n. One aligned word of it varies, so that others may run it meanwhile. */
static code_fn write_code(char *at, uint32_t n)
{
#ifdef __riscv
    uint32_t word = 0x13 | 10 << 7 | n << 20; /* li a0, n; ret */
    char *start = at, *end = at + 8;

    memcpy(at + 4, &(uint32_t){0x8067}, 4);
    __atomic_store_n((uint32_t *)at, word, __ATOMIC_RELEASE);
#else
    char *start = at + 3, *end = at + 9; /* mov $n, %eax; ret */

    start[0] = (char)0xb8, end[-1] = (char)0xc3;
    __atomic_store_n((uint32_t *)(at + 4), n, __ATOMIC_RELEASE);
#endif
    __builtin___clear_cache(start, end);
    return (code_fn)start;
}

/* Functions of its own that are written, run, protected, moved and forgotten. */
static void *rewrite(void *arg)
{
    timer_t id = start_timer();
    uint64_t r = seed;
    uint32_t is[CODE_PAGE / CODE_SLOT];
    char *page = mmap(NULL, CODE_PAGE, CODE_RWX, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)arg;
    for (uint32_t i = 0; i < CODE_PAGE / CODE_SLOT; i++)
        write_code(page + i * CODE_SLOT, is[i] = i);
    for (; !stop; rewrites++) {
        uint32_t k = draw(&r, CODE_PAGE / CODE_SLOT), what = draw(&r, 64);
        code_fn f = write_code(page + k * CODE_SLOT, is[k] = draw(&r, CODE_MAX));
        uint32_t other = draw(&r, CODE_PAGE / CODE_SLOT);

        for (uint32_t n = 1 + draw(&r, 40); n; n--)
            bad += f() != (int)is[k];
        f = (code_fn)((char *)f + (ptrdiff_t)CODE_SLOT * ((int)other - (int)k));
        bad += f() != (int)is[other];
        if (what == 0) {
            mprotect(page, CODE_PAGE, PROT_READ | PROT_EXEC);
            bad += f() != (int)is[other];
            mprotect(page, CODE_PAGE, CODE_RWX);
        } else if (what == 1) {
            char *to = mmap(NULL, CODE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            page = mremap(page, CODE_PAGE, CODE_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
        }
    }
    timer_delete(id);
    return NULL;
}

/* One function that a thread changes and others run: they see what was told last, or later. */
static char *shared;
static _Atomic(code_fn) shared_fn;
static atomic_uint told;

static void *tell(void *arg)
{
    uint64_t r = seed + 1;

    (void)arg;
    for (uint32_t n = 1; !stop; n += n < CODE_MAX) {
        shared_fn = write_code(shared, n);
        told = n;
        usleep(draw(&r, 300));
    }
    return NULL;
}

static void *obey(void *arg)
{
    timer_t id = start_timer();
    code_fn f;

    (void)arg;
    while (!(f = shared_fn) || !told)
        usleep(10);
    while (!stop) {
        uint32_t before = told, got = (uint32_t)f();

        bad += got < before || got > CODE_MAX;
    }
    timer_delete(id);
    return NULL;
}

static void *churn(void *arg)
{
    (void)arg;
    while (!stop) {
        char *p = malloc(300);

        memset(p, 7, 300);
        usleep(50);
        free(p);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static void *(*const work[])(void *) = {compute, fault, forker, churn, compute,
                                            rewrite, tell,  obey,   obey};
    enum { NWORK = sizeof work / sizeof *work };
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_RESTART};
    const char *given = getenv("STORM_SEED");
    char self[4096];
    pthread_t t[NWORK];

    if (argc > 1 && !strcmp(argv[1], "leaf"))
        return 77;
    if (!realpath("/proc/self/exe", self))
        return 2;
    if (given)
        seed = strtoull(given, NULL, 0);
    shared = mmap(NULL, CODE_PAGE, CODE_RWX, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sa.sa_sigaction = on_tick;
    sigaction(SIGRTMIN + 2, &sa, NULL);
    sa.sa_sigaction = on_fault;
    sigaction(SIGSEGV, &sa, NULL);
    sa.sa_sigaction = on_queue;
    sigaction(SIGRTMIN + 3, &sa, NULL);
    for (int i = 0; i < NWORK; i++)
        pthread_create(&t[i], NULL, work[i], self);
    for (int i = 0; i < 2000; i++) {
        while (sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i}))
            usleep(100); /* EAGAIN: queue full */
        queued += i;
        if (i % 8 == 0)
            usleep(1000);
    }
    usleep(200000);
    stop = 1;
    for (int i = 0; i < NWORK; i++)
        pthread_join(t[i], NULL);
    check("nothing changed", bad == 0);
    check("every queued signal came", queued == received);
    check("ticks", ticks > 100);
    check("faults", faults > 100);
    check("code was rewritten", rewrites > 100);
    return check_end();
}
