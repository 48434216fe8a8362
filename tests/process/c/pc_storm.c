/* pc_storm.c: signals, faults, forks and threads at once, with checks that nothing is lost or
 * changed: compiled for both machines, run natively and emulated.
 * SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int stop, bad;
static atomic_long ticks, faults, queued, received;
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
    static void *(*const work[])(void *) = {compute, fault, forker, churn, compute};
    struct sigaction sa = {.sa_flags = SA_SIGINFO | SA_RESTART};
    char self[4096];
    pthread_t t[5];

    if (argc > 1 && !strcmp(argv[1], "leaf"))
        return 77;
    if (!realpath("/proc/self/exe", self))
        return 2;
    sa.sa_sigaction = on_tick;
    sigaction(SIGRTMIN + 2, &sa, NULL);
    sa.sa_sigaction = on_fault;
    sigaction(SIGSEGV, &sa, NULL);
    sa.sa_sigaction = on_queue;
    sigaction(SIGRTMIN + 3, &sa, NULL);
    for (int i = 0; i < 5; i++)
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
    for (int i = 0; i < 5; i++)
        pthread_join(t[i], NULL);
    check("nothing changed", bad == 0);
    check("every queued signal came", queued == received);
    check("ticks", ticks > 100);
    check("faults", faults > 100);
    return check_end();
}
