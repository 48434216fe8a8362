/* disk_convert.c: copies one disk into another. SPDX-License-Identifier: Apache-2.0
 *
 * Some threads take pieces of the source in order, each reads its piece, looks for zeros, and
 * writes the rest; so many requests are in flight at once, all cores compress, and places in the
 * new image are nearly in the order of the disk. A piece is small enough to stay in the
 * second-level cache between reading and writing. What the source does not hold is not read.
 *
 * What is not compressed is written by one thread at a time, for the kernel lets only one write to
 * a file, and the others would spin. But none waits for it: a thread that finds another one writing
 * leaves its piece in a queue and reads the next. Only when all buffers are full it sleeps, until
 * half of them are free: to hand the file over for each piece would cost as much as writing it.
 *
 * Over a backing file only what reads differently is written, found by comparing, not by believing
 * that source and target have the same base.
 */
#include "disk/disk_cmd.h"

#include <sys/sysinfo.h>
#include <unistd.h>

enum {
    PIECE = 256 << 10,         /* bytes that a thread copies at once */
    GRAIN = 4096,              /* zeros are looked for in units of that */
    MIN_THREADS = 4,           /* so many pieces wait for a slow medium */
    MAX_THREADS = 32,
    BUFFERS = 4,               /* more than threads: pieces that wait to be written */
};

struct piece {
    struct piece *next;
    uint64_t off;
    size_t len;
    uint8_t *buf;              /* and behind it room for what the target has there */
};

struct convert {
    struct disk_convert *c;
    pthread_mutex_t lock;  /* for what follows */
    pthread_cond_t room;   /* there are buffers again */
    struct piece *free, *first, **last; /* first: to be written */
    unsigned nfree, nbuffers;
    bool writing;          /* a thread writes what is in the queue */
    struct base_text *error;
    uint64_t next;         /* where the next piece begins */
    uint64_t data_end;     /* up to there the source is known to hold data */
    uint64_t done;         /* bytes copied or left out */
    int result;
    size_t piece;          /* a multiple of the target's cluster if it is compressed */
    size_t cluster;        /* of a compressed target */
};

/* ---- zeros ----------------------------------------------------------- */

bool disk_is_zero(const void *p, size_t len)
{
    typedef uint64_t word __attribute__((vector_size(32), aligned(1)));
    const uint8_t *b = p;

    for (; len >= 128; b += 128, len -= 128) {
        const word *w = (const word *)b;
        word any = w[0] | w[1] | w[2] | w[3];

        if (any[0] | any[1] | any[2] | any[3])
            return false;
    }
    for (; len; b++, len--)
        if (*b)
            return false;
    return true;
}

static size_t zero_run(const uint8_t *p, size_t len, size_t grain)
{
    size_t at = 0, n;

    for (; at < len; at += n) {
        n = len - at < grain ? len - at : grain;
        if (!disk_is_zero(p + at, n))
            break;
    }
    return at;
}

/* How many bytes from p on are alike: a run of zeros long enough to be left out, or anything up to
 * the next such run. */
static size_t run_length(const uint8_t *p, size_t len, uint64_t sparse, bool *zero)
{
    size_t grain = sparse < GRAIN ? (size_t)sparse : GRAIN, at, run;

    *zero = false;
    if (!sparse)
        return len;
    for (at = 0; at < len; at += run ? run : grain) {
        run = zero_run(p + at, len - at, grain);
        if (run < sparse && at + run < len)
            continue;
        if (at || !run)
            return run ? at : len;
        *zero = true;
        return run;
    }
    return len;
}

/* ---- one piece ------------------------------------------------------- */

static int write_data(struct convert *v, uint64_t off, uint8_t *buf, size_t len)
{
    struct disk_convert *c = v->c;
    struct iovec iov = {buf, len};

    __atomic_add_fetch(&c->written, len, __ATOMIC_RELAXED);
    return disk_writev(c->dst, off, &iov, 1, c->compress ? DISK_REQ_COMPRESSED : 0);
}

/* The target reads as zero: zeros are left out. Compressed clusters are written whole. */
static int write_sparse(struct convert *v, uint64_t off, uint8_t *buf, size_t len)
{
    struct disk_convert *c = v->c;
    bool zero;
    size_t n;
    int r = 0;

    for (; len && !r; off += n, buf += n, len -= n) {
        if (c->compress) {
            n = len < v->cluster ? len : v->cluster;
            zero = c->sparse && disk_is_zero(buf, n);
        } else {
            n = run_length(buf, len, c->sparse, &zero);
        }
        if (!zero)
            r = write_data(v, off, buf, n);
    }
    return r;
}

/* The target reads as something: the grains that differ are written. */
static int write_changes(struct convert *v, uint64_t off, uint8_t *buf, uint8_t *old, size_t len)
{
    size_t begin = 0, n;
    int r = disk_read(v->c->dst, off, old, len);
    bool open = false;

    for (size_t at = 0; at < len && !r; at += n) {
        n = len - at < GRAIN ? len - at : GRAIN;
        if (memcmp(buf + at, old + at, n) != 0) {
            begin = open ? begin : at;
            open = true;
        } else if (open) {
            r = write_data(v, off + begin, buf + begin, at - begin);
            open = false;
        }
    }
    return open && !r ? write_data(v, off + begin, buf + begin, len - begin) : r;
}

static int read_piece(struct convert *v, struct piece *p, struct base_text *error)
{
    struct disk_convert *c = v->c;
    int r = disk_read(c->src, c->src_off + p->off, p->buf, p->len);

    return r < 0 ? disk_error(error, r, disk_path(c->src), "cannot be read at %llu: %s",
                              (unsigned long long)(c->src_off + p->off), strerror(-r)) : 0;
}

static int write_piece(struct convert *v, struct piece *p, struct base_text *error)
{
    int r = v->c->over_backing ? write_changes(v, p->off, p->buf, p->buf + v->piece, p->len)
                               : write_sparse(v, p->off, p->buf, p->len);

    return r < 0 ? disk_error(error, r, disk_path(v->c->dst), "cannot be written at %llu: %s",
                              (unsigned long long)p->off, strerror(-r)) : 0;
}

/* ---- threads --------------------------------------------------------- */

/* The next piece that has to be looked at; false if there is none. With the lock held. */
static bool next_piece(struct convert *v, uint64_t *off, size_t *len)
{
    struct disk_convert *c = v->c;
    struct disk_extent e;

    while (!v->result && v->next < c->len) {
        uint64_t left = c->len - v->next;
        size_t n = v->piece - (size_t)(v->next % v->piece);

        if (n > left)
            n = (size_t)left;
        if (!c->over_backing && c->sparse && v->next >= v->data_end &&
            !disk_map(c->src, c->src_off + v->next, left, &e)) {
            if (e.kind == DISK_DATA) {
                v->data_end = v->next + e.len;
            } else if (e.len >= n) {
                /* whole pieces, so that compressed ones stay aligned */
                uint64_t skip = e.len == left ? left : e.len - (v->next + e.len) % v->piece;

                v->next += skip;
                v->done += skip;
                continue;
            }
        }
        *off = v->next;
        *len = n;
        v->next += n;
        return true;
    }
    return false;
}

/* The functions below are called with the lock held, and give it back where they wait. */

static void put_buffer(struct convert *v, struct piece *p)
{
    p->next = v->free;
    v->free = p;
    v->nfree++;
    if (v->nfree >= v->nbuffers / 2 || !v->first)
        pthread_cond_broadcast(&v->room);
}

static struct piece *take_buffer(struct convert *v)
{
    struct piece *p;

    while (!v->free)
        pthread_cond_wait(&v->room, &v->lock);
    p = v->free;
    v->free = p->next;
    v->nfree--;
    return p;
}

/* Reads or writes a piece; what is wrong is kept, of the first that fails. */
static bool step(struct convert *v, struct piece *p,
                 int (*what)(struct convert *, struct piece *, struct base_text *))
{
    struct base_text why = {0};
    int r;

    pthread_mutex_unlock(&v->lock);
    r = what(v, p, &why);
    pthread_mutex_lock(&v->lock);
    if (r < 0 && !v->result) {
        v->result = r;
        base_text_append(v->error, why.data, why.len);
    }
    base_text_free(&why);
    return r >= 0;
}

static void write_and_free(struct convert *v, struct piece *p)
{
    struct disk_convert *c = v->c;

    if (!v->result && step(v, p, write_piece)) {
        v->done += p->len;
        if (c->progress && !v->result && c->progress(c->progress_context, v->done, c->len))
            v->result = -ECANCELED;
    }
    put_buffer(v, p);
}

static void write_queued(struct convert *v, struct piece *p)
{
    p->next = NULL;
    *v->last = p;
    v->last = &p->next;
    if (v->writing)
        return;
    v->writing = true;
    while ((p = v->first)) {
        v->first = p->next;
        if (!v->first)
            v->last = &v->first;
        write_and_free(v, p);
    }
    v->writing = false;
}

static void *work(void *context)
{
    struct convert *v = context;

    pthread_mutex_lock(&v->lock);
    for (;;) {
        struct piece *p = take_buffer(v);

        if (!next_piece(v, &p->off, &p->len) || !step(v, p, read_piece)) {
            put_buffer(v, p);
            break;
        }
        if (v->c->compress)
            write_and_free(v, p);
        else
            write_queued(v, p);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

/* What is not touched of a buffer costs nothing. */
static int make_buffers(struct convert *v, unsigned n)
{
    for (; v->nbuffers < n; v->nbuffers++) {
        struct piece *p = base_alloc(sizeof *p);

        p->buf = aligned_alloc(GRAIN, 2 * v->piece);
        if (!p->buf) {
            free(p);
            return v->nbuffers ? 0 : -ENOMEM;
        }
        put_buffer(v, p);
    }
    return 0;
}

static void free_buffers(struct convert *v)
{
    struct piece *p;

    while ((p = v->free)) {
        v->free = p->next;
        free(p->buf);
        free(p);
    }
}

int disk_convert_run(struct disk_convert *c, struct base_text *error)
{
    struct convert v = {.c = c, .error = error, .piece = PIECE};
    pthread_t threads[MAX_THREADS];
    unsigned n = 0, want = (unsigned)get_nprocs();
    struct disk_info info;
    int r = disk_get_info(c->dst, &info);

    if (r < 0)
        return disk_error(error, r, disk_path(c->dst), "%s", strerror(-r));
    if (c->compress && !info.cluster_size)
        return disk_error(error, -ENOTSUP, disk_path(c->dst), "%s images are not compressed",
                          disk_format(c->dst));
    v.cluster = info.cluster_size;
    if (c->compress)
        v.piece = BASE_ALIGN_UP((size_t)PIECE, v.cluster);
    if (want < MIN_THREADS && !c->compress)
        want = MIN_THREADS;
    want = want < MAX_THREADS ? want : MAX_THREADS;
    pthread_mutex_init(&v.lock, NULL);
    pthread_cond_init(&v.room, NULL);
    v.last = &v.first;
    r = make_buffers(&v, want + BUFFERS);
    while (!r && n + 1 < want && !pthread_create(&threads[n], NULL, work, &v))
        n++;
    if (!r)
        work(&v);
    while (n)
        pthread_join(threads[--n], NULL);
    free_buffers(&v);
    pthread_cond_destroy(&v.room);
    pthread_mutex_destroy(&v.lock);
    return r < 0 ? r : v.result;
}
