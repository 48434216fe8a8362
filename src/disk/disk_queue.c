/* disk_queue.c: requests that are not waited for. SPDX-License-Identifier: Apache-2.0
 *
 * A request takes the first of these ways that it can:
 *
 *   at once   The driver knows without waiting where the bytes are (place), and the page cache has
 *             them: one preadv2(RWF_NOWAIT) or pwritev within disk_submit(). So is a write that
 *             allocates, where the driver says that nothing must be read for it (prompt).
 *   io_uring  The bytes are in one place, but not in the page cache.
 *   pool      Everything else: a thread calls the driver.
 *
 * What is done at once waits in a list of the queue's own thread; what others finish comes through
 * a list with a lock, and an eventfd, which the ring shares.
 */
#include "disk/disk_driver.h"
#include "disk/disk_pool.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#ifdef DISK_URING
#include <liburing.h>
#endif

enum { QUEUE_RING = 128 };
enum { QUEUE_AT_ONCE = 1 << 20 }; /* bytes: more is copied by a thread of the pool */

struct disk_queue {
    struct disk *disk;
    int event;
    struct disk_req *first, **last; /* done, not told yet */
    unsigned in_ring, in_pool;
    pthread_mutex_t lock;
    struct disk_req *finished; /* by others; newest first */
    _Atomic bool any_finished;
#ifdef DISK_URING
    struct io_uring ring;
    bool has_ring, no_ring;
#endif
};

struct disk_queue *disk_queue_new(struct disk *d)
{
    struct disk_queue *q = base_zalloc(sizeof *q);

    q->disk = d;
    q->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    BASE_ASSERT(q->event >= 0);
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    d->queues++;
    return q;
}

void disk_queue_free(struct disk_queue *q)
{
    while (q->in_ring || q->in_pool || q->first)
        disk_wait(q);
#ifdef DISK_URING
    if (q->has_ring)
        io_uring_queue_exit(&q->ring);
#endif
    close(q->event);
    pthread_mutex_destroy(&q->lock);
    q->disk->queues--;
    free(q);
}

/* ---- finished -------------------------------------------------------- */

static void finish_here(struct disk_queue *q, struct disk_req *r, int result)
{
    r->result = result;
    r->priv.next = NULL;
    *q->last = r;
    q->last = &r->priv.next;
}

void disk_queue_finished(struct disk_req *r)
{
    struct disk_queue *q = r->priv.queue;
    uint64_t one = 1;

    pthread_mutex_lock(&q->lock);
    r->priv.next = q->finished;
    q->finished = r;
    q->any_finished = true;
    /* within the lock: after it the queue may be gone */
    if (write(q->event, &one, sizeof one) < 0)
        q->any_finished = true; /* full: readable already */
    pthread_mutex_unlock(&q->lock);
}

static void take_finished(struct disk_queue *q)
{
    struct disk_req *list, *next, *in_order = NULL;

    if (!q->any_finished)
        return;
    pthread_mutex_lock(&q->lock);
    list = q->finished;
    q->finished = NULL;
    q->any_finished = false;
    pthread_mutex_unlock(&q->lock);
    for (; list; list = next) {
        next = list->priv.next;
        list->priv.next = in_order;
        in_order = list;
    }
    for (; in_order; in_order = next) {
        next = in_order->priv.next;
        q->in_pool--;
        finish_here(q, in_order, in_order->result);
    }
}

static void to_pool(struct disk_queue *q, struct disk_req *r)
{
    q->in_pool++;
    disk_pool_run(q->disk, r);
}

/* ---- io_uring -------------------------------------------------------- */

#ifdef DISK_URING
static bool ring_ready(struct disk_queue *q)
{
    if (q->has_ring || q->no_ring)
        return q->has_ring;
    q->no_ring = true; /* refused by a sandbox, or an old kernel: then the pool */
    if (io_uring_queue_init(QUEUE_RING, &q->ring, 0) < 0)
        return false;
    if (io_uring_register_eventfd(&q->ring, q->event) < 0) {
        io_uring_queue_exit(&q->ring);
        return false;
    }
    q->has_ring = true;
    return true;
}

/* Takes over the place's users. */
static bool to_ring(struct disk_queue *q, struct disk_req *r, const struct disk_place *p)
{
    struct io_uring_sqe *e;

    if (p->file->ops != &disk_file_host || !ring_ready(q) || q->in_ring >= QUEUE_RING)
        return false;
    e = io_uring_get_sqe(&q->ring);
    if (!e)
        return false;
    io_uring_prep_readv(e, p->file->fd, r->iov, (unsigned)r->niov, p->off);
    io_uring_sqe_set_data(e, r);
    r->priv.p = (void *)p->users;
    if (io_uring_submit(&q->ring) < 1) {
        io_uring_prep_nop(e); /* it stays in the ring and does nothing */
        io_uring_sqe_set_data(e, NULL);
        return false;
    }
    q->in_ring++;
    return true;
}

static void take_ring(struct disk_queue *q)
{
    struct io_uring_cqe *c;

    while (q->in_ring && io_uring_peek_cqe(&q->ring, &c) == 0) {
        struct disk_req *r = io_uring_cqe_get_data(c);
        int res = c->res;

        io_uring_cqe_seen(&q->ring, c);
        if (!r)
            continue;
        q->in_ring--;
        if (r->priv.p)
            atomic_fetch_sub((_Atomic unsigned *)r->priv.p, 1);
        if (res == (int)r->len)
            finish_here(q, r, 0);
        else
            to_pool(q, r); /* short or failed: the way that knows what to do then */
    }
}
#else
static bool to_ring(struct disk_queue *q, struct disk_req *r, const struct disk_place *p)
{
    return false;
}
static void take_ring(struct disk_queue *q) {}
#endif

/* ---- at once --------------------------------------------------------- */

/* Where [off, off + len) begins to be, in whichever image of the chain. */
static int find_place(struct disk *d, uint64_t off, uint64_t len, struct disk_place *p)
{
    for (;; d = d->backing) {
        int r;

        *p = (struct disk_place){0};
        r = d->drv->place ? d->drv->place(d, off, len, false, p) : -EAGAIN;
        if (r <= 0)
            return r;
        if (p->users)
            atomic_fetch_sub(p->users, 1);
        len = p->len;
        p->users = NULL;
        if (!d->backing || off >= d->backing->size) {
            p->zero = true;
            return 0;
        }
        if (len > d->backing->size - off)
            len = d->backing->size - off;
    }
}

/* 0, -EAGAIN: by the pool, or 1: it went to the ring. */
static int read_at_once(struct disk_queue *q, struct disk_req *r)
{
    struct disk *d = q->disk;
    struct disk_slice s = {r->iov, r->niov, 0};

    while (s.skip < r->len) {
        struct disk_place p;
        uint64_t off = r->off + s.skip, len = r->len - s.skip;
        int result = find_place(d, off, len, &p);

        if (result < 0) {
            if (!d->drv->read_now || d->drv->read_now(d, off, len, s) < 0)
                return -EAGAIN;
            break;
        }
        if (p.zero)
            disk_slice_zero(s, p.len);
        else
            result = disk_file_try_readv(p.file, p.off, p.len, s);
        if (result < 0 && p.len == r->len && to_ring(q, r, &p))
            return 1;
        if (p.users)
            atomic_fetch_sub(p.users, 1);
        if (result < 0)
            return result;
        s.skip += p.len;
    }
    return 0;
}

static int write_at_once(struct disk_queue *q, struct disk_req *r)
{
    struct disk *d = q->disk;
    struct disk_slice s = {r->iov, r->niov, 0};
    struct disk_place p = {0};
    int result;

    if (r->flags || !d->drv->place)
        return -EAGAIN;
    if (d->drv->place(d, r->off, r->len, true, &p) == 0) {
        result = p.len == r->len ? disk_file_writev(p.file, p.off, p.len, s) : -EAGAIN;
        if (p.users)
            atomic_fetch_sub(p.users, 1);
        if (p.len == r->len)
            return result == -EAGAIN ? -EIO : result;
    }
    if (!d->drv->prompt || !d->drv->prompt(d, r->off, r->len))
        return -EAGAIN;
    result = disk_core_write(d, r->off, r->len, s, r->flags);
    return result == -EAGAIN ? -EIO : result;
}

static int at_once(struct disk_queue *q, struct disk_req *r)
{
    struct disk *d = q->disk;
    uint64_t size = d->size;

    if (r->off > size || r->len > size - r->off || r->op > DISK_WRITE || !r->len ||
        r->len > QUEUE_AT_ONCE || (r->op == DISK_WRITE && (d->read_only || d->failed)))
        return -EAGAIN; /* what is wrong is found there */
    return r->op == DISK_READ ? read_at_once(q, r) : write_at_once(q, r);
}

void disk_submit(struct disk_queue *q, struct disk_req *r)
{
    int result;

    r->priv.queue = q;
    result = at_once(q, r);
    if (result == -EAGAIN)
        to_pool(q, r);
    else if (result <= 0)
        finish_here(q, r, result);
}

/* ---- telling --------------------------------------------------------- */

unsigned disk_poll(struct disk_queue *q)
{
    struct disk_req *r, *list;
    unsigned n = 0;
    uint64_t count;

    /* the signal is taken before what it is for, so that none is missed */
    if ((q->in_ring || q->in_pool) && read(q->event, &count, sizeof count) < 0)
        count = 0;
    if (q->in_ring)
        take_ring(q);
    take_finished(q);
    list = q->first;
    q->first = NULL;
    q->last = &q->first;
    for (; (r = list); n++) {
        list = r->priv.next;
        r->done(r);
    }
    return n;
}

unsigned disk_wait(struct disk_queue *q)
{
    struct pollfd p = {.fd = q->event, .events = POLLIN};
    unsigned n;

    while (!(n = disk_poll(q)) && (q->in_ring || q->in_pool))
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            break;
    return n;
}

int disk_queue_fd(struct disk_queue *q)
{
    return q->event;
}
