/* t_disk_model.c: many queues at once on one image. SPDX-License-Identifier: Apache-2.0
 *
 * Threads with a queue each, several requests in flight in each. A block of 1 KiB belongs to one
 * thread, neighbours to different ones, so that all of them meet in the same clusters and
 * subclusters. Each thread knows what its blocks must read as; in the end the image is compared as
 * a whole, checked by us and by qemu-img. Then it is read again
 * after the host has dropped it from its page cache: by io_uring, where the files are on a disk.
 * With bitmaps a piece is dirty in the end if, and only if, someone has written there.
 */
#include "disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 1024, BLOCKS = 4096, SIZE = BLOCK * BLOCKS, THREADS = 4, DEPTH = 8, OPS = 3000 };

static unsigned failed;

struct request {
    struct disk_req r;
    struct iovec iov;
    struct lane *lane;
    uint64_t block;
    bool busy;
    uint8_t buf[BLOCK];
};
struct lane {
    struct disk *d;
    unsigned number;
    uint64_t seed;
    uint8_t *oracle; /* of all; each touches its own blocks */
    bool *touched;   /* the same: written at all */
    bool in_flight[BLOCKS];
    struct request requests[DEPTH];
    unsigned done;
    const char *wrong;
};

static void done(struct disk_req *r)
{
    struct request *q = r->owner;
    struct lane *l = q->lane;

    if (r->result < 0)
        l->wrong = strerror(-r->result);
    else if (r->op == DISK_READ && memcmp(q->buf, l->oracle + q->block * BLOCK, BLOCK))
        l->wrong = "reads something else";
    q->busy = false;
    if (r->op != DISK_FLUSH)
        l->in_flight[q->block] = false;
    l->done++;
}

static void start(struct lane *l, struct disk_queue *q, struct request *r)
{
    unsigned op = (unsigned)(base_rand(&l->seed) % 16);
    uint8_t *now;

    do
        r->block = base_rand(&l->seed) % (BLOCKS / THREADS) * THREADS + l->number;
    while (l->in_flight[r->block]);
    now = l->oracle + r->block * BLOCK;
    r->iov = (struct iovec){r->buf, BLOCK};
    r->lane = l;
    r->busy = true;
    r->r = (struct disk_req){.iov = &r->iov, .niov = 1, .off = r->block * BLOCK, .len = BLOCK,
                             .done = done, .owner = r};
    if (op < 6) {
        r->r.op = DISK_READ;
    } else if (op == 6) {
        r->r.op = DISK_ZERO;
        r->r.flags = base_rand(&l->seed) & 1 ? DISK_REQ_MAY_UNMAP : 0;
        memset(now, 0, BLOCK);
    } else if (op == 7 && base_rand(&l->seed) % 8 == 0) {
        r->r.op = DISK_FLUSH;
        r->r.off = r->r.len = 0;
    } else {
        r->r.op = DISK_WRITE;
        memset(r->buf, (int)base_rand(&l->seed), BLOCK);
        memcpy(r->buf, &l->seed, 8);
        memcpy(now, r->buf, BLOCK);
        if (base_rand(&l->seed) % 64 == 0)
            r->r.flags = DISK_REQ_FUA;
    }
    if (r->r.op == DISK_WRITE || r->r.op == DISK_ZERO)
        l->touched[r->block] = true;
    if (r->r.op != DISK_FLUSH)
        l->in_flight[r->block] = true;
    disk_submit(q, &r->r);
}

static void *lane_run(void *arg)
{
    struct lane *l = arg;
    struct disk_queue *q = disk_queue_new(l->d);
    unsigned started = 0;

    while (started < OPS && !l->wrong) {
        for (unsigned i = 0; i < DEPTH; i++)
            if (!l->requests[i].busy) {
                start(l, q, &l->requests[i]);
                started++;
            }
        disk_wait(q);
    }
    while (l->done < started && disk_wait(q))
        ;
    if (l->done != started)
        l->wrong = "requests got lost";
    disk_queue_free(q);
    return NULL;
}

static const char *run_lanes(struct disk *d, uint8_t *oracle, bool *touched, uint64_t seed)
{
    struct lane *lanes = calloc(THREADS, sizeof *lanes);
    pthread_t threads[THREADS];
    const char *wrong = NULL;
    uint8_t *now = malloc(SIZE);

    for (unsigned i = 0; i < THREADS; i++) {
        lanes[i] = (struct lane){.d = d, .number = i, .seed = seed + i, .oracle = oracle,
                                 .touched = touched};
        pthread_create(&threads[i], NULL, lane_run, &lanes[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong = wrong ? wrong : lanes[i].wrong;
    }
    if (!wrong && (disk_read(d, 0, now, SIZE) < 0 || memcmp(now, oracle, SIZE)))
        wrong = "the image differs in the end";
    free(lanes);
    free(now);
    return wrong;
}

/* ---- not in the page cache ------------------------------------------- */

static void drop_cache(const char *path)
{
    int fd = open(path, O_RDONLY);

    if (fd >= 0) {
        fsync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static const char *read_cold(struct disk *d, uint8_t *oracle)
{
    struct lane *l = calloc(1, sizeof *l);
    struct disk_queue *q = disk_queue_new(d);
    struct request *requests = calloc(BLOCKS, sizeof *requests);
    const char *wrong;

    l->oracle = oracle;
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct request *r = &requests[i];

        *r = (struct request){.lane = l, .block = (i * 1021u) % BLOCKS};
        r->iov = (struct iovec){r->buf, BLOCK};
        r->r = (struct disk_req){.op = DISK_READ, .iov = &r->iov, .niov = 1, .len = BLOCK,
                                 .off = r->block * BLOCK, .done = done, .owner = r};
        disk_submit(q, &r->r);
    }
    while (l->done < BLOCKS && disk_wait(q))
        ;
    wrong = l->done < BLOCKS ? "requests got lost" : l->wrong;
    disk_queue_free(q);
    free(requests);
    free(l);
    return wrong;
}

/* ---- dirty bitmaps --------------------------------------------------- */

static const char *right_bits(struct disk *d, const bool *touched, uint32_t grain)
{
    uint64_t start = 0, len = 0;
    uint32_t per = grain / BLOCK;

    for (uint64_t b = 0; b < BLOCKS; b += per) {
        bool want = false, dirty;

        for (uint32_t i = 0; i < per; i++)
            want |= touched[b + i];
        if (b * BLOCK >= start + len && disk_bitmap_next(d, "model", b * BLOCK, &start, &len, NULL))
            return "the bitmap cannot be read";
        if (!len)
            start = SIZE;
        dirty = b * BLOCK >= start;
        if (dirty != want)
            return dirty ? "what nobody wrote is dirty" : "what was written is not dirty";
    }
    return NULL;
}

static const struct {
    const char *name;
    struct disk_create_options o;
    size_t meta_cache;
    uint32_t bitmap; /* granularity; 0: none */
} variants[] = {
    {"raw", {.format = "raw"}, 0},
    {"default", {0}, 0},
    {"extended", {.extended_l2 = DISK_ON}, 0},
    {"overlay", {.backing = "base.raw", .backing_format = "raw"}, 0},
    {"overlay 64k", {.backing = "base.raw", .backing_format = "raw", .extended_l2 = DISK_OFF}, 0},
    {"512, small cache", {.cluster_size = 512}, 1},
    {"4k, refcount 1", {.cluster_size = 4096, .refcount_bits = 1}, 1},
    {"lazy", {.lazy_refcounts = DISK_ON}, 0},
    {"data file", {.data_file = "m.data"}, 0},
    {"bitmap 1k", {0}, 0, 1024},
    {"bitmap 8k, 512, small cache", {.cluster_size = 512}, 1, 8192},
};

static void test_variant(size_t i, uint64_t seed)
{
    struct disk_create_options o = variants[i].o;
    struct disk_open_options how = {.meta_cache = variants[i].meta_cache, .format = o.format};
    uint8_t *oracle = calloc(1, SIZE);
    bool touched[BLOCKS] = {0};
    struct base_text error = {0};
    const char *wrong = NULL;
    struct disk *d = NULL;

    unlink("m.data");
    if (o.backing) {
        FILE *f = fopen("base.raw", "w");

        for (unsigned b = 0; b < SIZE / 2; b += 4)
            memcpy(oracle + b, &(uint32_t){(uint32_t)base_rand(&seed)}, 4);
        fwrite(oracle, 1, SIZE, f);
        fclose(f);
    }
    o.size = SIZE;
    o.overwrite = true;
    if (disk_create("m.img", &o, &error) < 0 || disk_open("m.img", &how, &d, &error) < 0)
        wrong = error.data;
    if (!wrong && variants[i].bitmap &&
        disk_bitmap_add(d, "model", variants[i].bitmap, &error) < 0)
        wrong = error.data;
    wrong = wrong ? wrong : run_lanes(d, oracle, touched, seed);
    if (d && disk_close_result(d) < 0 && !wrong)
        wrong = "closing failed";
    drop_cache("m.img");
    drop_cache("base.raw");
    how.read_only = true;
    d = NULL;
    if (!wrong && disk_open("m.img", &how, &d, &error) < 0)
        wrong = error.data;
    wrong = wrong ? wrong : read_cold(d, oracle);
    if (!wrong && variants[i].bitmap)
        wrong = right_bits(d, touched, variants[i].bitmap);
    disk_close(d);
    if (!wrong && !o.format && system("qemu-img check -q m.img"))
        wrong = "qemu-img check finds something";
    if (wrong)
        printf("not ok - %s: %s\n# seed %llu\n", variants[i].name, wrong,
               (unsigned long long)seed);
    else
        printf("ok - %s\n", variants[i].name);
    failed += wrong != NULL;
    base_text_free(&error);
    free(oracle);
}

int main(void)
{
    const char *given = getenv("ISOMER_SEED"), *only = getenv("ISOMER_ONLY");
    uint64_t seed = given ? strtoull(given, NULL, 0) : base_now_ns();

    printf("# ISOMER_SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < BASE_ARRAY_SIZE(variants); i++)
        if (!only || !strcmp(only, variants[i].name))
            test_variant(i, seed + i);
    return failed != 0;
}
