/* dbg_core.c: dies in the way its argument says. SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

volatile int global = 77;
volatile double number;
pthread_barrier_t ready;

__attribute__((noinline)) void crash(volatile int *p, double d)
{
    number = d;
    *p = 1;
}

__attribute__((noinline)) void outer(int n)
{
    crash((int *)8, n * 1.25);
    global++;
}

static void *sleeper(void *arg)
{
    sigset_t all;

    sigfillset(&all); /* is found nevertheless */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_barrier_wait(&ready);
    for (;;)
        sleep(100);
    return arg;
}

static void *looper(void *arg)
{
    pthread_barrier_wait(&ready);
    for (;;)
        global = 78;
    return arg;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    pthread_t t;

    pthread_barrier_init(&ready, NULL, 3);
    pthread_create(&t, NULL, sleeper, NULL);
    pthread_create(&t, NULL, looper, NULL);
    pthread_barrier_wait(&ready);
    while (global != 78)
        ;
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "quit"))
        kill(getpid(), SIGQUIT), pause();
    if (!strcmp(how, "term"))
        kill(getpid(), SIGTERM), pause();
    if (!strcmp(how, "fork")) {
        if (!fork())
            outer(3);
        wait(NULL);
        return 0;
    }
    outer(2);
    return 0;
}
