/* dbg_gdb.c: a program to be debugged. SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

volatile int counter, watched, forever;
const char *volatile text = "before";
volatile double scale = 1.5;

static void handler(int sig) { counter += sig; }

__attribute__((noinline)) int leaf(int n, double d)
{
    counter += n;
    return counter * 2 + (int)d;
}

__attribute__((noinline)) int middle(int n)
{
    int r = leaf(n, scale * n);

    watched = r;
    return r + 1;
}

static void *thread(void *arg)
{
    for (;;)
        usleep(1000);
    return arg;
}

__attribute__((noinline)) void child_runs(void) { counter = 0; }

int main(int argc, char **argv)
{
    pthread_t t;
    int status = 0;

    signal(SIGUSR1, handler);
    pthread_create(&t, NULL, thread, NULL);
    for (int i = 0; i < 4; i++)
        middle(i);
    if (argc > 2) { /* with a thread beside, first in vain */
        execl("nothing", argv[0], NULL);
        execl(argv[0], argv[0], NULL);
    }
    if (!fork()) {
        child_runs();
        _exit(9);
    }
    while (wait(&status) < 0)
        ;
    raise(SIGUSR1);
    printf("%s %d %d child %d\n", text, counter, watched, WEXITSTATUS(status));
    fflush(stdout);
    for (forever = argc > 1; forever;)
        ;
    return 42;
}
