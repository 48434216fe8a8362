/* o_thread.c: a thread created and joined. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=threads n=500 quick=100 tiny=5 */
#include "os.h"
#include <pthread.h>

static long ran;

static void *work(void *unused)
{
    ran++;
    return unused;
}

static void batch(long n)
{
    for (long i = 0; i < n; i++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, work, NULL) != 0)
            os_die("pthread_create");
        pthread_join(thread, NULL);
    }
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    os_measure("thread", batch);
    printf("ran %ld\n", ran);
    return 0;
}
