/* os_scale.h: the same work by 1, 2 and 4 threads. SPDX-License-Identifier: Apache-2.0
 *
 * n operations are shared out to the threads; "result t2" is the elapsed time of two threads
 * per operation, from before the first is created until the last was joined.
 */
#ifndef OS_SCALE_H
#define OS_SCALE_H

#include "os.h"
#include <pthread.h>
#include <stdint.h>

static int scale_threads;
static void *(*scale_work)(void *);

/* Some arithmetic of its own between two operations on what is shared. */
static inline uint64_t scale_private(uint64_t x)
{
    for (int i = 0; i < 16; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    return x;
}

static inline long scale_share(void)
{
    return os_n / scale_threads;
}

static void scale_run(void *(*work)(void *), int threads)
{
    pthread_t thread[4];

    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i) != 0)
            os_die("pthread_create");
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
}

static inline void scale_batch(long n)
{
    (void)n;
    scale_run(scale_work, scale_threads);
}

static inline void scale_all(void (*batch)(long n))
{
    static const char *const labels[] = {"", "t1", "t2", "", "t4"};

    os_n -= os_n % 4;
    for (scale_threads = 1; scale_threads <= 4; scale_threads *= 2)
        os_measure(labels[scale_threads], batch);
}

#endif
