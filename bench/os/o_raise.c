/* o_raise.c: a signal raised, handled and returned from. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=signals n=10000 quick=2000 tiny=20 */
#include "os.h"
#include <signal.h>

static volatile sig_atomic_t handled;

static void handler(int signal)
{
    (void)signal;
    handled++;
}

static void batch(long n)
{
    for (long i = 0; i < n; i++)
        raise(SIGUSR1);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = handler};

    os_arguments(argc, argv);
    sigaction(SIGUSR1, &action, NULL);
    os_measure("raise", batch);
    printf("handled %ld\n", (long)handled);
    return 0;
}
