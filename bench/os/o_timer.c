/* o_timer.c: a timer's signal interrupts a loop. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=signals n=2000 quick=500 tiny=10 */
/* The signal comes between any two instructions of a loop without a call, where an emulator
 * must find a place to stop. One operation is setting the timer, waiting and handling. */
#include "os.h"
#include <signal.h>

static volatile sig_atomic_t handled;
static timer_t timer;

static void handler(int signal)
{
    (void)signal;
    handled++;
}

static void batch(long n)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 1000}};

    for (long i = 0; i < n; i++) {
        sig_atomic_t before = handled;

        if (timer_settime(timer, 0, &soon, NULL) != 0)
            os_die("timer_settime");
        while (handled == before)
            ;
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = handler};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

    os_arguments(argc, argv);
    sigaction(SIGALRM, &action, NULL);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        os_die("timer_create");
    os_measure("timer", batch);
    printf("handled %ld\n", (long)handled);
    return 0;
}
