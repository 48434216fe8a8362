/* pc_thread.c: threads, futexes, robust mutexes, ends of threads: compiled for both machines,
 * run natively and emulated. SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { THREADS = 8, ROUNDS = 5000 };

/* ---- locks ----------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter;
static atomic_long acounter;
static __thread long own = 5;
static __thread char own_buffer[300];
static pthread_key_t key;
static atomic_int destroyed;

static void *count_locked(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        atomic_fetch_add(&acounter, 1);
        own += (long)arg;
    }
    return (void *)own;
}

static void test_mutex(void)
{
    pthread_t t[THREADS];
    long sum = 0;
    void *r;

    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, count_locked, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    check("mutex", counter == THREADS * ROUNDS && acounter == THREADS * ROUNDS);
    check("TLS and results", sum == THREADS * 5 + 28L * ROUNDS && own == 5);
}

static int turn;
static void *take_turns(void *arg)
{
    int me = (int)(long)arg;

    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&cond, &lock);
        turn = !turn;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void test_cond(void)
{
    struct timespec ts;
    pthread_t t[2];
    int r;

    for (long i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, take_turns, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    check("condition", turn == 0);
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += 20000000;
    ts.tv_sec += ts.tv_nsec / 1000000000;
    ts.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock);
    r = pthread_cond_timedwait(&cond, &lock, &ts);
    pthread_mutex_unlock(&lock);
    check("timed wait", r == ETIMEDOUT);
}

static atomic_int phase[4];
static void *phases(void *arg)
{
    long bad = 0;

    (void)arg;
    for (int i = 0; i < 4; i++) {
        atomic_fetch_add(&phase[i], 1);
        pthread_barrier_wait(&barrier);
        bad += phase[i] != 4;
    }
    return (void *)bad;
}

static void test_barrier(void)
{
    pthread_t t[4];
    long bad = 0;
    void *r;

    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, phases, NULL);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &r);
        bad += (long)r;
    }
    check("barrier", bad == 0);
}

static void on_key(void *value) { destroyed += value != NULL; }
static void *small(void *arg)
{
    memset(own_buffer, 1, sizeof own_buffer);
    pthread_setspecific(key, own_buffer);
    return arg;
}

static void test_many(void)
{
    int good = 1;
    void *r;

    pthread_key_create(&key, on_key);
    for (long i = 0; i < 300; i++) {
        pthread_t t;

        good &= !pthread_create(&t, NULL, small, (void *)i) && !pthread_join(t, &r) &&
                r == (void *)i;
    }
    check("300 threads in turn", good && destroyed == 300);
}

/* ---- signals and cancellation ---------------------------------------- */

static atomic_int got;
static pid_t got_in;
static void on_usr(int sig)
{
    (void)sig;
    got_in = (pid_t)syscall(SYS_gettid);
    got++;
}
static sem_t ready;
static pid_t spinner_tid;
static void *spin(void *arg)
{
    (void)arg;
    spinner_tid = (pid_t)syscall(SYS_gettid);
    sem_post(&ready);
    while (got < 200)
        ;
    return NULL;
}

static void test_kill(void)
{
    pthread_t t;

    signal(SIGUSR1, on_usr);
    sem_init(&ready, 0, 0);
    pthread_create(&t, NULL, spin, NULL);
    sem_wait(&ready);
    for (int i = 0; i < 200; i++) {
        pthread_kill(t, SIGUSR1);
        while (got <= i)
            sched_yield();
    }
    pthread_join(t, NULL);
    check("pthread_kill", got == 200 && got_in == spinner_tid);
}

static void cleanup(void *arg) { *(int *)arg = 1; }
static int cleaned;
static void *wait_forever(void *arg)
{
    (void)arg;
    pthread_cleanup_push(cleanup, &cleaned);
    sem_post(&ready);
    for (;;)
        pause();
    pthread_cleanup_pop(0);
    return NULL;
}
static void *spin_forever(void *arg)
{
    (void)arg;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    sem_post(&ready);
    for (;;)
        ;
    return NULL;
}

static void test_cancel(void)
{
    pthread_t t;
    void *r;

    pthread_create(&t, NULL, wait_forever, NULL);
    sem_wait(&ready);
    pthread_cancel(t);
    pthread_join(t, &r);
    check("cancelled in a call", r == PTHREAD_CANCELED && cleaned);
    pthread_create(&t, NULL, spin_forever, NULL);
    sem_wait(&ready);
    pthread_cancel(t);
    pthread_join(t, &r);
    check("cancelled in a loop", r == PTHREAD_CANCELED);
}

static atomic_int stop_set;
static void *id_thread(void *arg)
{
    (void)arg;
    sem_post(&ready);
    while (!stop_set)
        sched_yield();
    return (void *)(long)getgid();
}

static void test_setid(void)
{
    pthread_t t;
    void *r;

    pthread_create(&t, NULL, id_thread, NULL);
    sem_wait(&ready);
    if (getuid() == 0 && setgid(65534) == 0) {
        stop_set = 1;
        pthread_join(t, &r);
        check("setgid reaches all threads", (long)r == 65534);
        if (setgid(0) < 0)
            exit(1);
    } else {
        stop_set = 1;
        pthread_join(t, &r);
        check("setgid reaches all threads", 1);
    }
}

/* ---- robust mutexes -------------------------------------------------- */

struct shared {
    pthread_mutex_t m;
    int value;
};
static void *die_with_lock(void *arg)
{
    struct shared *s = arg;

    pthread_mutex_lock(&s->m);
    return NULL;
}

static void test_robust(void)
{
    struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;
    pthread_t t;
    pid_t pid;
    int r;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&s->m, &attr);
    pthread_create(&t, NULL, die_with_lock, s);
    pthread_join(t, NULL);
    r = pthread_mutex_lock(&s->m);
    check("robust: thread ended", r == EOWNERDEAD);
    pthread_mutex_consistent(&s->m);
    pthread_mutex_unlock(&s->m);
    fflush(stdout);
    pid = fork();
    if (!pid) {
        pthread_mutex_lock(&s->m);
        s->value = 1;
        for (;;)
            pause();
    }
    while (!*(volatile int *)&s->value)
        usleep(1000);
    kill(pid, SIGKILL);
    r = pthread_mutex_lock(&s->m);
    check("robust: process killed", r == EOWNERDEAD);
    waitpid(pid, NULL, 0);
    munmap(s, 4096);
}

/* ---- ends ------------------------------------------------------------ */

static void *sleep_then_exit(void *arg)
{
    usleep(20000);
    if (arg)
        exit(7);
    syscall(SYS_exit, 9); /* the last thread */
    return NULL;
}
static void *forever(void *arg)
{
    for (;;)
        if (arg)
            pause();
    return NULL;
}
static int child(int how)
{
    int st;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        pthread_t t;

        pthread_create(&t, NULL, how == 1 ? forever : sleep_then_exit, (void *)(long)(how == 2));
        if (how == 0)
            syscall(SYS_exit, 5); /* the process goes on, and ends with this status */
        if (how == 1) {
            pthread_create(&t, NULL, forever, &lock);
            usleep(10000);
            exit(6);
        }
        if (how == 2)
            pthread_exit(NULL);
        if (how == 3) {
            usleep(1000);
            abort();
        }
    }
    waitpid(pid, &st, 0);
    return st & 0xff7f;
}

static void test_ends(void)
{
    printf("first thread ends first: %x\n", child(0)); /* kernels differ: the last one counts */
    check("exit while others run", child(1) == 6 << 8);
    check("exit from another thread", child(2) == 7 << 8);
    check("abort with threads", child(3) == SIGABRT);
}

static atomic_int fork_stop;
static void *churn(void *arg)
{
    (void)arg;
    while (!fork_stop) {
        void *p = malloc(100);

        memset(p, 1, 100);
        free(p);
    }
    return NULL;
}
static void *in_child(void *arg) { return arg; }

static void test_fork(void)
{
    pthread_t t[2];
    int good = 0, st;

    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, churn, NULL);
    fflush(stdout);
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();

        if (!pid) {
            pthread_t u;

            free(malloc(1000));
            if (pthread_create(&u, NULL, in_child, NULL) || pthread_join(u, NULL))
                _exit(1);
            _exit(42);
        }
        waitpid(pid, &st, 0);
        good += st == 42 << 8;
    }
    fork_stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    check("fork with threads", good == 30);
}

int main(void)
{
    test_mutex();
    test_cond();
    test_barrier();
    test_many();
    test_kill();
    test_cancel();
    test_setid();
    test_robust();
    test_fork();
    test_ends();
    return check_end();
}
