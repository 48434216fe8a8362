/* o_scale_mutex.c: threads that share a mutex. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=scaling n=400000 quick=80000 tiny=400 */
#include "os_scale.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t table[16], count;

static void *work(void *number)
{
    uint64_t x = (uint64_t)(intptr_t)number;

    for (long i = scale_share(); i > 0; i--) {
        for (int k = 0; k < 8; k++)
            x = scale_private(x);
        pthread_mutex_lock(&mutex);
        table[x >> 60]++;
        count++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    scale_work = work;
    scale_all(scale_batch);
    printf("count %llu:", (unsigned long long)count);
    for (int i = 0; i < 16; i++)
        printf(" %llu", (unsigned long long)table[i]);
    printf("\n");
    return 0;
}
