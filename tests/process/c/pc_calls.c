/* pc_calls.c: system calls that translated code makes by itself. SPDX-License-Identifier: Apache-2.0
 *
 * Calls that wait and calls that do not, from many calls deep, while signals come and, with a
 * small code cache, the code around them goes. Compiled for both machines. */
#include "pc_check.h"

#include <fcntl.h>
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

enum { ROUNDS = 3000, DEPTH = 24 };

static atomic_int stop;
static atomic_long ticks, wrong;
static int to[2], from[2];

static void on_tick(int sig)
{
    (void)sig;
    ticks++;
}

/* ---- code without end ------------------------------------------------ */

#define F(n)                                                                        \
    static __attribute__((noinline)) uint32_t f##n(uint32_t x)                      \
    {                                                                               \
        x = (x ^ 0x##n##1u) * 0x9e3779b1u + (x >> 7);                               \
        return x & 1 ? x + 0x1##n##u : (x << 3 | x >> 29) - 0x2##n##u;              \
    }
#define F4(n) F(n##0) F(n##1) F(n##2) F(n##3)
#define F16(n) F4(n##0) F4(n##1) F4(n##2) F4(n##3)
#define F64(n) F16(n##0) F16(n##1) F16(n##2) F16(n##3)
#define F256(n) F64(n##0) F64(n##1) F64(n##2) F64(n##3)
F256(a)
#define G(n) f##n,
#define G4(n) G(n##0) G(n##1) G(n##2) G(n##3)
#define G16(n) G4(n##0) G4(n##1) G4(n##2) G4(n##3)
#define G64(n) G16(n##0) G16(n##1) G16(n##2) G16(n##3)
static uint32_t (*const all[])(uint32_t) = {G64(a0) G64(a1) G64(a2) G64(a3)};

static void *hungry(void *arg)
{
    uint32_t want = 0, x;

    (void)arg;
    for (int round = 0; !stop; round++) {
        x = 1;
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            x = all[i](x);
        if (!round)
            want = x;
        wrong += x != want;
    }
    return NULL;
}

/* ---- calls ----------------------------------------------------------- */

/* One byte there and back: in a call that waits, most of the time. */
static void exchange(unsigned char c)
{
    unsigned char got = (unsigned char)~c;
    ssize_t n;

    while (write(to[1], &c, 1) < 0 && errno == EINTR)
        ;
    while ((n = read(from[0], &got, 1)) < 0 && errno == EINTR)
        ;
    wrong += n != 1 || got != (unsigned char)(c + 1) || getppid() <= 0;
}

static __attribute__((noinline)) long deep(int depth, unsigned char c)
{
    volatile long mine = depth;

    if (!depth)
        exchange(c);
    else
        mine += deep(depth - 1, c);
    return mine;
}

static void *echo(void *arg)
{
    unsigned char c;

    (void)arg;
    while (read(to[0], &c, 1) == 1) {
        c++;
        if (write(from[1], &c, 1) != 1)
            wrong++;
    }
    return NULL;
}

static void test_storm(void)
{
    struct sigaction act = {.sa_handler = on_tick}; /* without SA_RESTART */
    struct itimerval every = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    sigset_t tick, old;
    pthread_t t[2];

    if (pipe(to) || pipe(from))
        exit(2);
    sigemptyset(&tick);
    sigaddset(&tick, SIGALRM);
    sigaction(SIGALRM, &act, NULL);
    pthread_sigmask(SIG_BLOCK, &tick, &old);
    pthread_create(&t[0], NULL, hungry, NULL);
    pthread_create(&t[1], NULL, echo, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < ROUNDS; i++)
        wrong += deep(i % DEPTH, (unsigned char)i) != (i % DEPTH) * (i % DEPTH + 1) / 2;
    setitimer(ITIMER_REAL, &never, NULL);
    stop = 1;
    close(to[1]);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    check("bytes there and back", !wrong);
    check("signals came", ticks > 0);
}

/* A signal ends a call that waits, or does not; one that waits for nothing it never ends. */
static void *late(void *arg)
{
    const struct timespec ms = {0, 20000000};

    nanosleep(&ms, NULL);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    nanosleep(&ms, NULL);
    if (write(to[1], "x", 1) != 1)
        wrong++;
    return NULL;
}

static void test_restart(int flags, const char *name)
{
    struct sigaction act = {.sa_handler = on_tick, .sa_flags = flags};
    pthread_t self = pthread_self(), t;
    long before;
    ssize_t n;
    char c;

    if (pipe(to))
        exit(2);
    sigaction(SIGUSR1, &act, NULL);
    before = ticks;
    pthread_create(&t, NULL, late, &self);
    n = read(to[0], &c, 1);
    check(name, flags ? n == 1 : n < 0 && errno == EINTR);
    pthread_join(t, NULL);
    check("the handler ran once", ticks == before + 1);
    close(to[0]);
    close(to[1]);
}

static void test_arguments(void)
{
    int fd = open("/dev/zero", O_RDONLY);

    check("address of the kernel", syscall(SYS_read, fd, -4096l, 1) < 0 && errno == EFAULT);
    check("address below all", syscall(SYS_read, fd, 8l, 1) < 0 && errno == EFAULT);
    check("no such call", syscall(500, 1, 2, 3) < 0 && errno == ENOSYS);
    check("nor this", syscall(100000, 1, 2, 3) < 0 && errno == ENOSYS);
    check("descriptor", read(-1, &fd, 1) < 0 && errno == EBADF);
    close(fd);
}

static void test_float(void)
{
    volatile double one = 1, three = 3, up, again;

    fesetround(FE_UPWARD);
    feclearexcept(FE_ALL_EXCEPT);
    up = one / three;
    getppid();
    again = one / three;
    check("rounding and flags stay",
          up == again && up > 0.33333333333333332 && fetestexcept(FE_INEXACT));
    fesetround(FE_TONEAREST);
}

int main(void)
{
    test_arguments();
    test_float();
    test_restart(0, "a read is interrupted");
    test_restart(SA_RESTART, "a read goes on");
    test_storm();
    return check_end();
}
