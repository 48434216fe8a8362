/* disk_pool.c: threads for requests that may wait. SPDX-License-Identifier: Apache-2.0
 *
 * Allocation, copying, compression, flushes: what a driver does synchronously runs here. A thread
 * is made when a request finds none idle, up to a few: more would wait for one disk anyway.
 */
#include "disk/disk_driver.h"
#include "disk/disk_pool.h"

#include <signal.h>

enum { POOL_THREADS = 4 };

struct disk_pool {
    struct disk *disk;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct disk_req *first, **last;
    pthread_t threads[POOL_THREADS];
    unsigned nthreads, idle;
    bool stop;
};

static int run_request(struct disk *d, struct disk_req *r)
{
    struct disk_slice s = {r->iov, r->niov, 0};

    switch (r->op) {
    case DISK_READ: return disk_core_read(d, r->off, r->len, s);
    case DISK_WRITE: return disk_core_write(d, r->off, r->len, s, r->flags);
    case DISK_ZERO: return disk_zero(d, r->off, r->len, r->flags);
    case DISK_DISCARD: return disk_discard(d, r->off, r->len);
    case DISK_FLUSH: return disk_flush(d);
    default: return -EINVAL;
    }
}

static void *pool_thread(void *arg)
{
    struct disk_pool *p = arg;
    struct disk_req *r;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->first && !p->stop) {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
        r = p->first;
        if (!r)
            break;
        p->first = r->priv.next;
        if (!p->first)
            p->last = &p->first;
        pthread_mutex_unlock(&p->lock);
        r->result = run_request(p->disk, r);
        disk_queue_finished(r);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static struct disk_pool *pool_of(struct disk *d)
{
    pthread_mutex_lock(&d->pool_lock);
    if (!d->pool) {
        d->pool = base_zalloc(sizeof *d->pool);
        d->pool->disk = d;
        d->pool->last = &d->pool->first;
        pthread_mutex_init(&d->pool->lock, NULL);
        pthread_cond_init(&d->pool->work, NULL);
    }
    pthread_mutex_unlock(&d->pool_lock);
    return d->pool;
}

/* The process's signals are for its own threads. */
static bool add_thread(struct disk_pool *p)
{
    sigset_t all, old;
    bool ok;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ok = !pthread_create(&p->threads[p->nthreads], NULL, pool_thread, p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    p->nthreads += ok;
    return ok;
}

void disk_pool_run(struct disk *d, struct disk_req *r)
{
    struct disk_pool *p = pool_of(d);
    bool have;

    pthread_mutex_lock(&p->lock);
    have = p->idle || p->nthreads == POOL_THREADS || add_thread(p) || p->nthreads;
    if (have) {
        r->priv.next = NULL;
        *p->last = r;
        p->last = &r->priv.next;
        pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    if (!have) { /* no thread to be had: then here */
        r->result = run_request(d, r);
        disk_queue_finished(r);
    }
}

void disk_pool_free(struct disk_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->nthreads; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
