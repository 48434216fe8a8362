/* jit_t2_thread.c: tier 2, the thread that compiles.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One per process, started for the first job and gone when there was none for a
 * while, so that a process that does nothing hot has no thread the guest does not
 * know of. It runs no guest code, never touches guest memory, and has all signals
 * blocked. It takes p->lock to fetch a job and to install, not to compile.
 *
 * A fork waits until it compiles nothing (it may be in malloc then) and keeps it
 * from taking a job; the child has the jobs and starts a thread of its own for the
 * next one.
 */
#include "jit/jit_t2.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 1 << 20 };

/* Waits for a job; NULL: none came, or it is to end (lock held). */
static struct jit_t2_job *next_job(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += (long)JIT_PARAM_t2_idle_ms * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    while (!t->stop && (t->paused || !t->first)) {
        int error = t->paused ? pthread_cond_wait(&t->more, &j->p->lock)
                              : pthread_cond_timedwait(&t->more, &j->p->lock, &end);
        if (error == ETIMEDOUT && !t->first && !t->paused)
            return NULL;
    }
    if (t->stop)
        return NULL;
    struct jit_t2_job *job = t->first;
    t->first = job->next;
    if (!t->first)
        t->last = &t->first;
    t->njobs--;
    return t->now = job;
}

static void *run(void *arg)
{
    struct jit *j = arg;
    struct jit_t2 *t = j->p->t2;
    struct jit_t2_job *job;
    prctl(PR_SET_NAME, "isomer-tier2");
    pthread_mutex_lock(&j->p->lock);
    while ((job = next_job(j))) {
        pthread_mutex_unlock(&j->p->lock);
        bool good = jit_t2_compile(j, job);
        pthread_mutex_lock(&j->p->lock);
        t->now = NULL;
        jit_t2_finish(j, job, good);
        if (t->paused)
            pthread_cond_broadcast(&t->idle);
    }
    t->started = false;
    pthread_mutex_unlock(&j->p->lock);
    return NULL;
}

/* The C library takes signal 33 for itself when a process gets its second thread; it is the
 * guest's, which may have a handler for it. All signals are blocked meanwhile. */
struct kernel_sigaction {
    uint64_t words[4];
};
enum { SETXID = 33 };

static bool start(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    struct kernel_sigaction setxid;
    pthread_attr_t attr;
    sigset_t all, old;
    if (t->joinable) /* one that has ended: nothing to wait for */
        pthread_join(t->thread, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    long kept = syscall(SYS_rt_sigaction, SETXID, NULL, &setxid, 8);
    t->joinable = t->started = pthread_create(&t->thread, &attr, run, j) == 0;
    if (kept == 0)
        syscall(SYS_rt_sigaction, SETXID, &setxid, NULL, 8);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return t->started;
}

static bool one_cpu(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1;
}

bool jit_t2_submit(struct jit *j, struct jit_t2_job *job)
{
    struct jit_t2 *t = j->p->t2;
    if (!t->started && getpid() != t->pid) { /* CLONE_VM: the thread would be that process's */
        t->code.gave_up = "found hot by a process that shares memory";
        jit_t2_finish(j, job, false);
        return true;
    }
    if (!t->started && (one_cpu() || !start(j))) {
        j->cfg.tier2 = JIT_TIER2_SYNC; /* here, then */
        return false;
    }
    job->next = NULL;
    *t->last = job;
    t->last = &job->next;
    t->njobs++;
    pthread_cond_signal(&t->more);
    return true;
}

/* ---- stopping it ----------------------------------------------------- */

void jit_t2_pause(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    if (!t)
        return;
    t->paused++;
    while (t->now)
        pthread_cond_wait(&t->idle, &j->p->lock);
}

void jit_t2_resume(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    if (t && t->paused && --t->paused == 0 && t->started)
        pthread_cond_signal(&t->more);
}

static void make_conditions(struct jit_t2 *t)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->more, &attr);
    pthread_cond_init(&t->idle, &attr);
    pthread_condattr_destroy(&attr);
}

void jit_t2_thread_init(struct jit_t2 *t)
{
    t->pid = getpid();
    make_conditions(t);
}

void jit_t2_fork_child(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    if (!t)
        return;
    t->started = t->joinable = false;
    t->paused = 0;
    t->pid = getpid();
    make_conditions(t);
}

void jit_single_threaded(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    if (!t)
        return;
    pthread_mutex_lock(&j->p->lock);
    bool is = t->joinable && !t->stop;
    t->stop |= is;
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&j->p->lock);
    if (!is)
        return;
    pthread_join(t->thread, NULL);
    pthread_mutex_lock(&j->p->lock);
    t->joinable = t->started = t->stop = false;
    pthread_mutex_unlock(&j->p->lock);
}

void jit_t2_thread_end(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    pthread_mutex_lock(&j->p->lock);
    t->stop = true;
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&j->p->lock);
    if (t->joinable)
        pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->more);
    pthread_cond_destroy(&t->idle);
}
