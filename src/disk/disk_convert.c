/* disk_convert.c: copies one disk into another. SPDX-License-Identifier: Apache-2.0
 *
 * Some threads take pieces of the source in order, each reads its piece, looks for zeros, and
 * writes the rest; so many requests are in flight at once, all cores compress, and places in the
 * new image are nearly in the order of the disk. A piece is small enough to stay in the
 * second-level cache between reading and writing. What the source does not hold is not read.
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
};

struct convert {
    struct disk_convert *c;
    pthread_mutex_t writing; /* one file is written by one thread at a time anyway: the kernel's
                              * lock would spin */
    pthread_mutex_t lock;  /* for what follows */
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

static int copy_piece(struct convert *v, uint64_t off, uint8_t *buf, size_t len,
                      struct base_text *error)
{
    struct disk_convert *c = v->c;
    int r = disk_read(c->src, c->src_off + off, buf, len);

    if (r < 0)
        return disk_error(error, r, disk_path(c->src), "cannot be read at %llu: %s",
                          (unsigned long long)(c->src_off + off), strerror(-r));
    if (!c->compress)
        pthread_mutex_lock(&v->writing);
    r = c->over_backing ? write_changes(v, off, buf, buf + v->piece, len)
                        : write_sparse(v, off, buf, len);
    if (!c->compress)
        pthread_mutex_unlock(&v->writing);
    if (r < 0)
        return disk_error(error, r, disk_path(c->dst), "cannot be written at %llu: %s",
                          (unsigned long long)off, strerror(-r));
    return 0;
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

static void *work(void *context)
{
    struct convert *v = context;
    uint8_t *buf = aligned_alloc(GRAIN, 2 * v->piece); /* what is not touched costs nothing */
    uint64_t off;
    size_t len;

    pthread_mutex_lock(&v->lock);
    if (!buf)
        v->result = -ENOMEM;
    while (next_piece(v, &off, &len)) {
        struct base_text why = {0};
        int r;

        pthread_mutex_unlock(&v->lock);
        r = copy_piece(v, off, buf, len, &why);
        pthread_mutex_lock(&v->lock);
        v->done += len;
        if (!v->result && r < 0) {
            v->result = r;
            base_text_append(v->error, why.data, why.len);
        }
        base_text_free(&why);
        if (v->c->progress && !v->result &&
            v->c->progress(v->c->progress_context, v->done, v->c->len))
            v->result = -ECANCELED;
    }
    pthread_mutex_unlock(&v->lock);
    free(buf);
    return NULL;
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
    pthread_mutex_init(&v.lock, NULL);
    pthread_mutex_init(&v.writing, NULL);
    while (n + 1 < want && n < MAX_THREADS && !pthread_create(&threads[n], NULL, work, &v))
        n++;
    work(&v);
    while (n)
        pthread_join(threads[--n], NULL);
    pthread_mutex_destroy(&v.lock);
    pthread_mutex_destroy(&v.writing);
    return v.result;
}
