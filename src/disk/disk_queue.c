/* disk_queue.c: requests that are not waited for. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_driver.h"

#include <sys/eventfd.h>
#include <unistd.h>

struct disk_queue {
    struct disk *disk;
    int event;
    struct disk_req *first, **last; /* done, not told yet */
};

void disk_pool_free(struct disk_pool *pool);
void disk_pool_free(struct disk_pool *pool) {}

struct disk_queue *disk_queue_new(struct disk *d)
{
    struct disk_queue *q = base_zalloc(sizeof *q);

    q->disk = d;
    q->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->last = &q->first;
    d->queues++;
    return q;
}

void disk_queue_free(struct disk_queue *q)
{
    disk_poll(q);
    close(q->event);
    q->disk->queues--;
    free(q);
}

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

void disk_submit(struct disk_queue *q, struct disk_req *r)
{
    r->result = run_request(q->disk, r);
    r->priv.next = NULL;
    *q->last = r;
    q->last = &r->priv.next;
}

unsigned disk_poll(struct disk_queue *q)
{
    unsigned n = 0;

    for (struct disk_req *r; (r = q->first); n++) {
        q->first = r->priv.next;
        if (!q->first)
            q->last = &q->first;
        r->done(r);
    }
    return n;
}

unsigned disk_wait(struct disk_queue *q)
{
    return disk_poll(q);
}

int disk_queue_fd(struct disk_queue *q)
{
    return q->event;
}
