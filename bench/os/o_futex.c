/* o_futex.c: two threads that wake each other. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=syscalls n=5000 quick=1000 tiny=20 */
/* Both are bound to one processor: what two of them add is the time of an interrupt between
 * processors, which says nothing of the calls. One operation is there and back. */
#include "os.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MINE, YOURS, END };

static int turn;
static long trips;

static void wait_while(int value)
{
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) == value)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void pass(int value)
{
    __atomic_store_n(&turn, value, __ATOMIC_RELEASE);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *other(void *unused)
{
    for (;;) {
        wait_while(MINE);
        if (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) == END)
            return unused;
        trips++;
        pass(MINE);
    }
}

static void batch(long n)
{
    for (long i = 0; i < n; i++) {
        pass(YOURS);
        wait_while(YOURS);
    }
}

int main(int argc, char **argv)
{
    pthread_t thread;
    cpu_set_t one;
    int cpu = sched_getcpu();

    os_arguments(argc, argv);
    CPU_ZERO(&one);
    CPU_SET(cpu < 0 ? 0 : cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        os_die("sched_setaffinity");
    if (pthread_create(&thread, NULL, other, NULL) != 0)
        os_die("pthread_create");
    os_measure("futex", batch);
    pass(END);
    pthread_join(thread, NULL);
    printf("trips %ld\n", trips);
    return 0;
}
