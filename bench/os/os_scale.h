/* os_scale.h: the same work by 1, 2 and 4 threads. SPDX-License-Identifier: Apache-2.0
 *
 * n operations are shared out to the threads; "result t2" is the elapsed time of two threads
 * per operation, from before the first is created until the last was joined. Each thread has a
 * processor of its own, in turn where there are fewer: else the kernel may run them one after
 * another on one, where nobody is in anybody's way, and the cheapest batch would be such a one.
 * Hence the median, too.
 */
#ifndef OS_SCALE_H
#define OS_SCALE_H

#include "os.h"
#include <pthread.h>
#include <sched.h>
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

/* The processor of thread number i: the i-th that we may use, and from the first again. */
static inline void scale_processor(int i, cpu_set_t *one)
{
    cpu_set_t all;

    CPU_ZERO(one);
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        os_die("sched_getaffinity");
    i %= CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && i-- == 0)
            CPU_SET(cpu, one);
}

static void scale_run(void *(*work)(void *), int threads)
{
    pthread_t thread[4];
    pthread_attr_t attr;
    cpu_set_t cpus;

    pthread_attr_init(&attr);
    for (int i = 0; i < threads; i++) {
        scale_processor(i, &cpus);
        pthread_attr_setaffinity_np(&attr, sizeof cpus, &cpus);
        if (pthread_create(&thread[i], &attr, work, (void *)(intptr_t)i) != 0)
            os_die("pthread_create");
    }
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
    os_median = 1;
    for (scale_threads = 1; scale_threads <= 4; scale_threads *= 2)
        os_measure(labels[scale_threads], batch);
}

#endif
