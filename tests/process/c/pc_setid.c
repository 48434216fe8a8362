/* pc_setid.c: credentials are a thread's to the kernel, and a process's to a program: the C library
 * has all threads change together, by its own signal. SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 60 };

static atomic_int ready, stop, asked, told;
static atomic_ulong spun;
static int wake[THREADS][2]; /* of the threads that read */
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static volatile uid_t seen[THREADS][6];

/* The kernel's view of the calling thread. */
static void look(volatile uid_t *out)
{
    uid_t u[3];
    gid_t g[3];

    syscall(SYS_getresuid, &u[0], &u[1], &u[2]);
    syscall(SYS_getresgid, &g[0], &g[1], &g[2]);
    for (int i = 0; i < 3; i++) {
        out[i] = u[i];
        out[3 + i] = g[i];
    }
}

/* Waits as threads do, of each kind some, and tells what it is each time it is asked. */
static void *thread(void *arg)
{
    long n = (long)arg;
    int told_of = 0;
    char c;

    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&stop)) {
        switch (n % 4) {
        case 0: /* in a system call that only the signal interrupts */
            if (atomic_load(&asked) == told_of && read(wake[n][0], &c, 1) < 0 && errno != EINTR)
                abort();
            break;
        case 1: /* in code without a call */
            for (int i = 0; i < 1000; i++)
                atomic_fetch_add_explicit(&spun, 1, memory_order_relaxed);
            break;
        case 2: /* for a lock */
            pthread_mutex_lock(&held);
            pthread_mutex_unlock(&held);
            break;
        default: usleep(100);
        }
        if (atomic_load(&asked) != told_of) {
            told_of = atomic_load(&asked);
            look(seen[n]);
            atomic_fetch_add(&told, 1);
        }
    }
    return NULL;
}

/* Are all threads what this one is? */
static int agreed(void)
{
    volatile uid_t mine[6];
    int same = 1;

    look(mine);
    atomic_store(&told, 0);
    atomic_fetch_add(&asked, 1);
    for (int i = 0; i < THREADS; i += 4)
        if (write(wake[i][1], "x", 1) != 1)
            return 0;
    while (atomic_load(&told) < THREADS)
        usleep(50);
    for (int n = 0; n < THREADS; n++)
        for (int i = 0; i < 6; i++)
            same &= seen[n][i] == mine[i];
    return same;
}

static void many_threads(int root)
{
    pthread_t t[THREADS];
    int wrong = 0, failed = 0;
    uid_t low = root ? 1234 : getuid();

    for (long i = 0; i < THREADS; i++) {
        if (pipe(wake[i]))
            abort();
        pthread_create(&t[i], NULL, thread, (void *)i);
    }
    while (atomic_load(&ready) < THREADS)
        usleep(50);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&held);
        failed += setresgid(low, low, root ? 0 : low) != 0;
        failed += setresuid(low, low, root ? 0 : low) != 0;
        pthread_mutex_unlock(&held);
        wrong += !agreed();
        failed += setresuid(root ? 0 : low, root ? 0 : low, low) != 0;
        failed += setresgid(root ? 0 : low, root ? 0 : low, low) != 0;
        wrong += !agreed();
        failed += setresuid(-1, -1, root ? 0 : low) != 0 || setresgid(-1, -1, root ? 0 : low) != 0;
    }
    check("set*id does not fail", !failed);
    check("all threads change together", !wrong);
    if (root) {
        failed = setgroups(0, NULL) || setgid(1234) || setuid(1234);
        check("and for good", !failed && agreed() && setuid(0) < 0 && errno == EPERM);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i += 4)
        if (write(wake[i][1], "x", 1) != 1)
            abort();
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
    int status;

    if (fork() == 0) { /* the credentials are gone afterwards */
        many_threads(geteuid() == 0);
        exit(check_end());
    }
    wait(&status);
    check("the process ends as it should", !status);
    return check_end();
}
