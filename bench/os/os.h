/* os.h: timing for the programs beside it. SPDX-License-Identifier: Apache-2.0
 *
 * Each o_*.c measures one thing and times itself, so that neither start-up nor translation is
 * in the figure. It does its operation n times in each of several batches and prints
 *
 *     result LABEL WALL CPU
 *
 * in nanoseconds per operation, of the cheapest batch: the first batch pays for translation,
 * and on a machine with other work to do the cheapest is the least disturbed. (os_scale.h: the
 * median one.) CPU is that of the whole process and of the children it has waited for. Every
 * other line says what was done and is the same on every machine, or one of them does not do it.
 *
 * usage: PROGRAM N BATCHES [PROGRAM-TO-START]
 */
#ifndef OS_H
#define OS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct os_time {
    double wall, cpu;
};

static long os_n;
static int os_batches;
static int os_median;

enum { OS_BATCHES_MAX = 1000 };

static inline void os_die(const char *what)
{
    perror(what);
    exit(1);
}

static inline void os_arguments(int argc, char **argv)
{
    os_n = argc > 1 ? atol(argv[1]) : 0;
    os_batches = argc > 2 ? atoi(argv[2]) : 0;
    if (os_n < 1 || os_batches < 1 || os_batches > OS_BATCHES_MAX) {
        fprintf(stderr, "usage: %s N BATCHES [PROGRAM-TO-START]\n", argv[0]);
        exit(2);
    }
}

static inline double os_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline double os_seconds(struct timeval t)
{
    return (double)t.tv_sec * 1e9 + (double)t.tv_usec * 1e3;
}

static inline struct os_time os_now(void)
{
    struct rusage children;
    struct os_time now = {.wall = os_clock(CLOCK_MONOTONIC),
                          .cpu = os_clock(CLOCK_PROCESS_CPUTIME_ID)};

    getrusage(RUSAGE_CHILDREN, &children);
    now.cpu += os_seconds(children.ru_utime) + os_seconds(children.ru_stime);
    return now;
}

static inline int os_less(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The cheapest of os_batches calls of batch(n), or the median one, per operation. */
static inline void os_measure(const char *label, void (*batch)(long n))
{
    static double wall[OS_BATCHES_MAX], cpu[OS_BATCHES_MAX];
    int which = os_median ? os_batches / 2 : 0;

    for (int i = 0; i < os_batches; i++) {
        struct os_time from = os_now(), to;

        batch(os_n);
        to = os_now();
        wall[i] = (to.wall - from.wall) / (double)os_n;
        cpu[i] = (to.cpu - from.cpu) / (double)os_n;
    }
    qsort(wall, (size_t)os_batches, sizeof *wall, os_less);
    qsort(cpu, (size_t)os_batches, sizeof *cpu, os_less);
    printf("result %s %.1f %.1f\n", label, wall[which], cpu[which]);
}

#endif
