/* disk_nbd_io.c: requests of one NBD client. SPDX-License-Identifier: Apache-2.0
 *
 * One thread and one disk queue for each client. A client with one request at a time costs three
 * system calls a request: recv, the transfer that disk_submit() does at once, sendmsg; nothing is
 * waited for by poll(). With more in flight, whatever the buffer has is submitted before anything
 * is answered, and answers that are ready together go out in one sendmsg.
 *
 * The client decides how much is in flight, up to bounds (disk_nbd.h) above which we stop reading.
 */
#include "disk/disk_nbd.h"

#include <poll.h>

enum { BATCH = 32, KEPT_BUFFER = 256 << 10, HEAD = 32, CHUNK_HEAD = 20 };

struct flight {
    struct disk_req req;
    struct iovec iov;
    struct flight *next;
    struct transmission *t;
    uint64_t cookie;
    uint16_t command, flags;
    uint32_t error;  /* what the client is told; 0: nothing wrong */
    uint8_t *buf;    /* payload: of a read, a write, a block status answer */
    size_t cap, len; /* len: bytes of payload in the answer */
    size_t first;    /* block status: how many of them are in its first chunk */
    uint8_t head[HEAD];
};

struct transmission {
    struct nbd_client *c;
    struct disk_queue *queue;
    struct flight *free, *ready, **last;
    unsigned flying;   /* submitted, not done */
    unsigned waiting;  /* in ready */
    size_t buffered;   /* payload of all of them */
    bool closed;       /* no more requests */
};

/* ---- flights --------------------------------------------------------- */

static struct flight *flight_get(struct transmission *t, size_t payload)
{
    struct flight *f = t->free;

    if (f)
        t->free = f->next;
    else
        f = base_zalloc(sizeof *f);
    f->t = t;
    f->error = 0;
    f->len = f->first = 0;
    if (f->cap < payload) {
        free(f->buf);
        f->cap = BASE_ALIGN_UP(payload, 4096);
        f->buf = aligned_alloc(4096, f->cap);
        if (!f->buf)
            f->cap = 0;
    }
    t->buffered += f->cap;
    return f;
}

static void flight_put(struct transmission *t, struct flight *f)
{
    t->buffered -= f->cap;
    if (f->cap > KEPT_BUFFER) {
        free(f->buf);
        f->buf = NULL;
        f->cap = 0;
    }
    f->next = t->free;
    t->free = f;
}

static void make_ready(struct transmission *t, struct flight *f)
{
    f->next = NULL;
    *t->last = f;
    t->last = &f->next;
    t->waiting++;
}

static uint32_t error_of(int result)
{
    switch (-result) {
    case 0: return 0;
    case EPERM:
    case EROFS: return NBD_EPERM;
    case ENOMEM: return NBD_ENOMEM;
    case EINVAL: return NBD_EINVAL;
    case ENOSPC:
    case EFBIG:
    case EDQUOT: return NBD_ENOSPC;
    case ENOTSUP: return NBD_ENOTSUP;
    default: return NBD_EIO;
    }
}

static void done(struct disk_req *r)
{
    struct flight *f = r->owner;
    struct transmission *t = f->t;

    f->error = error_of(r->result);
    if (!f->error && f->command == NBD_CMD_TRIM && f->flags & NBD_CMD_FUA && r->op != DISK_FLUSH) {
        r->op = DISK_FLUSH;
        r->off = r->len = 0;
        disk_submit(t->queue, r);
        return;
    }
    t->flying--;
    if (f->error || f->command != NBD_CMD_READ)
        f->len = 0;
    make_ready(t, f);
}

/* ---- answers --------------------------------------------------------- */

static size_t simple_head(struct flight *f)
{
    disk_put_be32(f->head, NBD_SIMPLE_MAGIC);
    disk_put_be32(f->head + 4, f->error);
    disk_put_be64(f->head + 8, f->cookie);
    return 16;
}

static void chunk_head(uint8_t *head, const struct flight *f, bool last, uint16_t type,
                       size_t payload)
{
    disk_put_be32(head, NBD_STRUCTURED_MAGIC);
    disk_put_be16(head + 4, last ? NBD_REPLY_DONE : 0);
    disk_put_be16(head + 6, type);
    disk_put_be64(head + 8, f->cookie);
    disk_put_be32(head + 16, (uint32_t)payload);
}

static size_t structured_head(struct flight *f)
{
    uint16_t type = NBD_REPLY_NONE;
    size_t own = 0, payload = f->len; /* own: payload that is in the head */

    if (f->error) {
        type = NBD_REPLY_ERROR;
        disk_put_be32(f->head + CHUNK_HEAD, f->error);
        disk_put_be16(f->head + CHUNK_HEAD + 4, 0);
        own = 6;
    } else if (f->command == NBD_CMD_READ) {
        type = NBD_REPLY_OFFSET_DATA;
        disk_put_be64(f->head + CHUNK_HEAD, f->req.off);
        own = 8;
    } else if (f->command == NBD_CMD_BLOCK_STATUS) {
        type = NBD_REPLY_BLOCK_STATUS; /* further chunks are in the buffer, with their heads */
        payload = f->first;
    }
    chunk_head(f->head, f, payload == f->len, type, own + payload);
    return CHUNK_HEAD + own;
}

static int send_ready(struct transmission *t)
{
    struct iovec iov[2 * BATCH];
    struct flight *first = t->ready, *f = first, *next;
    int n = 0, r;

    for (unsigned i = 0; f && i < BATCH; i++, f = f->next) {
        size_t head = t->c->structured ? structured_head(f) : simple_head(f);

        iov[n++] = (struct iovec){f->head, head};
        if (f->len)
            iov[n++] = (struct iovec){f->buf, f->len};
    }
    r = nbd_write(&t->c->stream, iov, n);
    for (; first != f; first = next) {
        next = first->next;
        flight_put(t, first);
        t->waiting--;
    }
    t->ready = f;
    if (!f)
        t->last = &t->ready;
    return r;
}

/* ---- block status ---------------------------------------------------- */

static uint32_t state_of(const struct disk_extent *e)
{
    switch (e->kind) {
    case DISK_UNALLOCATED: return NBD_STATE_HOLE | NBD_STATE_ZERO;
    case DISK_ZEROES: return NBD_STATE_ZERO | (e->has_host_off ? 0 : NBD_STATE_HOLE);
    default: return 0;
    }
}

/* A run at off, at most len, and its state; or -errno. */
typedef int state_fn(struct disk *d, const char *bitmap, uint64_t off, uint32_t len, uint64_t *run,
                     uint32_t *state);

static int allocation_at(struct disk *d, const char *bitmap, uint64_t off, uint32_t len,
                         uint64_t *run, uint32_t *state)
{
    struct disk_extent e;
    int r = disk_map(d, off, len, &e);

    if (!r) {
        *run = e.len;
        *state = state_of(&e);
    }
    return r;
}

static int dirty_at(struct disk *d, const char *bitmap, uint64_t off, uint32_t len, uint64_t *run,
                    uint32_t *state)
{
    uint64_t start, dirty, end = off + len;
    int r = disk_bitmap_next(d, bitmap, off, &start, &dirty, NULL);

    *state = !r && dirty && start <= off ? NBD_STATE_DIRTY : 0;
    if (*state)
        *run = start + dirty < end ? start + dirty - off : len;
    else
        *run = dirty && start < end ? start - off : len;
    return r;
}

/* The payload of one context's chunk; its length in *got. */
static int one_context(struct flight *f, struct disk *d, uint32_t id, const char *bitmap,
                       uint64_t off, uint32_t len, uint8_t *to, size_t *got)
{
    unsigned max = f->flags & NBD_CMD_REQ_ONE ? 1 : NBD_MAX_EXTENTS, n = 0;
    state_fn *state_at = bitmap ? dirty_at : allocation_at;
    uint8_t *at = to + 4;

    disk_put_be32(to, id);
    while (len) {
        uint32_t state;
        uint64_t run;
        int r = state_at(d, bitmap, off, len, &run, &state);

        if (r < 0)
            return r;
        if (n && disk_be32(at - 4) == state) {
            disk_put_be32(at - 8, disk_be32(at - 8) + (uint32_t)run);
        } else if (n == max) {
            break;
        } else {
            disk_put_be32(at, (uint32_t)run);
            disk_put_be32(at + 4, state);
            at += 8;
            n++;
        }
        off += run;
        len -= (uint32_t)run;
    }
    *got = (size_t)(at - to);
    return 0;
}

static void block_status(struct flight *f, const struct nbd_client *c, uint64_t off, uint32_t len)
{
    const struct nbd_server *s = c->server;
    uint8_t *at = f->buf;

    for (unsigned i = 0; i < c->ncontexts; i++) {
        uint32_t id = c->contexts[i];
        const char *bitmap = id == NBD_CONTEXT_ALLOCATION
                                 ? NULL : s->bitmaps[id - NBD_CONTEXT_ALLOCATION - 1].name;
        uint8_t *head = i ? at : NULL;
        size_t got;
        int r;

        at += head ? CHUNK_HEAD : 0;
        r = one_context(f, s->disk, id, bitmap, off, len, at, &got);
        if (r < 0) {
            f->error = error_of(r);
            f->len = 0;
            return;
        }
        if (head)
            chunk_head(head, f, i + 1 == c->ncontexts, NBD_REPLY_BLOCK_STATUS, got);
        else
            f->first = got;
        at += got;
    }
    f->len = (size_t)(at - f->buf);
}

/* ---- requests -------------------------------------------------------- */

/* What is wrong with a request, as the client is told; 0: nothing. */
static uint32_t fault_of(const struct nbd_client *c, uint16_t command, uint64_t off, uint32_t len)
{
    uint64_t size = disk_size(c->server->disk);
    bool writes = command == NBD_CMD_WRITE || command == NBD_CMD_TRIM ||
                  command == NBD_CMD_WRITE_ZEROES;

    if (command == NBD_CMD_FLUSH)
        return 0;
    if (command != NBD_CMD_READ && !writes &&
        (command != NBD_CMD_BLOCK_STATUS || !c->ncontexts))
        return NBD_EINVAL;
    if (writes && c->server->read_only)
        return NBD_EPERM;
    if ((command == NBD_CMD_READ || command == NBD_CMD_WRITE) && len > NBD_MAX_PAYLOAD)
        return NBD_EOVERFLOW;
    if (off > size || len > size - off)
        return command == NBD_CMD_WRITE || command == NBD_CMD_WRITE_ZEROES ? NBD_ENOSPC
                                                                           : NBD_EINVAL;
    return len ? 0 : NBD_EINVAL;
}

static size_t payload_of(const struct nbd_client *c, uint16_t command, uint32_t len)
{
    if (command == NBD_CMD_BLOCK_STATUS)
        return c->ncontexts * (CHUNK_HEAD + 4 + 8 * (size_t)NBD_MAX_EXTENTS);
    return command == NBD_CMD_READ || command == NBD_CMD_WRITE ? len : 0;
}

static void submit(struct transmission *t, struct flight *f, uint64_t off, uint32_t len)
{
    static const uint8_t ops[] = {[NBD_CMD_READ] = DISK_READ, [NBD_CMD_WRITE] = DISK_WRITE,
                                  [NBD_CMD_FLUSH] = DISK_FLUSH, [NBD_CMD_TRIM] = DISK_DISCARD,
                                  [NBD_CMD_WRITE_ZEROES] = DISK_ZERO};

    f->iov = (struct iovec){f->buf, len};
    f->req = (struct disk_req){.op = ops[f->command], .niov = 1, .iov = &f->iov, .off = off,
                               .len = len, .done = done, .owner = f};
    if (f->command == NBD_CMD_FLUSH)
        f->req.off = f->req.len = 0;
    if (f->flags & NBD_CMD_FUA && (f->req.op == DISK_WRITE || f->req.op == DISK_ZERO))
        f->req.flags |= DISK_REQ_FUA;
    if (f->command == NBD_CMD_WRITE_ZEROES && !(f->flags & NBD_CMD_NO_HOLE))
        f->req.flags |= DISK_REQ_MAY_UNMAP;
    f->len = f->command == NBD_CMD_READ ? len : 0;
    t->flying++;
    disk_submit(t->queue, &f->req);
}

/* Reads one request and begins it. 0, or -ECONNRESET: no more come. */
static int take_request(struct transmission *t)
{
    struct nbd_stream *s = &t->c->stream;
    uint8_t head[28];
    struct flight *f;
    uint64_t off;
    uint32_t len, fault;
    uint16_t command;
    int r = nbd_read(s, head, sizeof head);

    if (r < 0 || disk_be32(head) != NBD_REQUEST_MAGIC)
        return -ECONNRESET;
    command = disk_be16(head + 6);
    off = disk_be64(head + 16);
    len = disk_be32(head + 24);
    if (command == NBD_CMD_DISC)
        return -ECONNRESET;
    fault = fault_of(t->c, command, off, len);
    f = flight_get(t, fault ? 0 : payload_of(t->c, command, len));
    f->command = command;
    f->flags = disk_be16(head + 4);
    f->cookie = disk_be64(head + 8);
    if (!fault && !f->buf && payload_of(t->c, command, len))
        fault = NBD_ENOMEM;
    if (command == NBD_CMD_WRITE)
        r = fault ? nbd_skip(s, len) : nbd_read(s, f->buf, len);
    if (r < 0) {
        flight_put(t, f);
        return r;
    }
    f->error = fault;
    if (!fault && command != NBD_CMD_BLOCK_STATUS) {
        submit(t, f, off, len);
        return 0;
    }
    if (!fault)
        block_status(f, t->c, off, len);
    make_ready(t, f);
    return 0;
}

static bool may_take(const struct transmission *t)
{
    return !t->closed && t->flying + t->waiting < NBD_MAX_FLYING &&
           t->buffered < NBD_MAX_BUFFERED;
}

/* Something is in flight and nothing is ready: waits for the disk or the client. */
static void wait_for_more(struct transmission *t)
{
    struct pollfd p[2] = {{disk_queue_fd(t->queue), POLLIN, 0},
                          {t->c->stream.fd, POLLIN, 0}};

    if (poll(p, may_take(t) ? 2 : 1, -1) > 0 && may_take(t) && p[1].revents &&
        nbd_fill(&t->c->stream) < 0)
        t->closed = true;
}

void nbd_transmission(struct nbd_client *c)
{
    struct transmission *t = base_zalloc(sizeof *t);
    struct flight *f;

    t->c = c;
    t->queue = disk_queue_new(c->server->disk);
    t->last = &t->ready;
    while (!t->closed || t->flying || t->waiting) {
        while (may_take(t) && (nbd_buffered(&c->stream) || (!t->flying && !t->waiting)))
            if (take_request(t) < 0)
                t->closed = true;
        disk_poll(t->queue);
        if (t->waiting) {
            if (send_ready(t) < 0)
                t->closed = true;
        } else if (t->flying) {
            wait_for_more(t);
        }
    }
    disk_queue_free(t->queue);
    while ((f = t->free)) {
        t->free = f->next;
        free(f->buf);
        free(f);
    }
    free(t);
}
