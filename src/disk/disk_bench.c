/* disk_bench.c: isomer disk bench. SPDX-License-Identifier: Apache-2.0
 *
 * What qemu-img bench does, with its options: a number of requests of one size, some in flight,
 * each a step behind the one before. The image is used through queues, as a device would.
 */
#include "disk/disk_cmd.h"

#include <sys/resource.h>

enum { MAX_BENCH_DEPTH = 4096, MAX_BENCH_QUEUES = 64 };

struct bench {
    struct disk *disk;
    const struct isomer_disk_options *o;
    uint64_t count, size, step, places;
    unsigned depth;
};

struct lane { /* one thread with its queue */
    struct bench *b;
    struct disk_queue *queue;
    uint64_t left, at, seed, since_flush;
    unsigned flying, flushing;
    int result;
    struct slot {
        struct disk_req req;
        struct iovec iov;
    } *slots;
    struct disk_req flush;
};

static uint64_t wrap(const struct bench *b, uint64_t at)
{
    uint64_t last = disk_size(b->disk) - b->size;

    return last ? at % last : 0;
}

static uint64_t next_place(struct lane *l)
{
    uint64_t at = l->at;

    if (l->b->o->random)
        return base_rand(&l->seed) % l->b->places * l->b->size;
    l->at = wrap(l->b, at + l->b->step);
    return at;
}

static void done(struct disk_req *r);

static void flush_done(struct disk_req *r)
{
    struct lane *l = r->owner;

    l->flushing--;
    if (r->result < 0 && !l->result)
        l->result = r->result;
}

static void submit(struct lane *l, struct disk_req *r)
{
    struct bench *b = l->b;

    r->off = next_place(l);
    l->left--;
    l->flying++;
    disk_submit(l->queue, r);
    if (b->o->flush_interval && ++l->since_flush >= b->o->flush_interval && !l->flushing) {
        l->since_flush = 0;
        l->flushing++;
        l->flush = (struct disk_req){.op = DISK_FLUSH, .done = flush_done, .owner = l};
        disk_submit(l->queue, &l->flush);
    }
}

static void done(struct disk_req *r)
{
    struct lane *l = r->owner;

    l->flying--;
    if (r->result < 0 && !l->result)
        l->result = r->result;
    if (l->left && !l->result)
        submit(l, r);
}

static void *run_lane(void *context)
{
    struct lane *l = context;
    struct bench *b = l->b;

    for (unsigned i = 0; i < b->depth && l->left; i++)
        submit(l, &l->slots[i].req);
    while (l->flying || l->flushing)
        disk_wait(l->queue);
    return NULL;
}

static void lane_init(struct lane *l, struct bench *b, unsigned index, unsigned lanes)
{
    *l = (struct lane){.b = b, .queue = disk_queue_new(b->disk),
                       .left = b->count / lanes + (index < b->count % lanes),
                       .seed = (b->o->seed ? b->o->seed : 1) + index};
    l->at = wrap(b, b->o->offset + b->count / lanes * index * b->step);
    l->slots = base_zalloc(b->depth * sizeof *l->slots);
    for (unsigned i = 0; i < b->depth; i++) {
        struct slot *s = &l->slots[i];

        s->iov = (struct iovec){aligned_alloc(4096, BASE_ALIGN_UP(b->size, 4096)), b->size};
        if (!s->iov.iov_base)
            abort();
        memset(s->iov.iov_base, (int)b->o->pattern, b->size);
        s->req = (struct disk_req){.op = b->o->write ? DISK_WRITE : DISK_READ, .niov = 1,
                                   .iov = &s->iov, .len = b->size, .done = done, .owner = l};
    }
}

static void lane_free(struct lane *l)
{
    disk_queue_free(l->queue);
    for (unsigned i = 0; i < l->b->depth; i++)
        free(l->slots[i].iov.iov_base);
    free(l->slots);
}

static int run(struct bench *b, unsigned lanes)
{
    struct lane *l = base_zalloc(lanes * sizeof *l);
    pthread_t threads[MAX_BENCH_QUEUES];
    unsigned n = 0;
    int r = 0;

    for (unsigned i = 0; i < lanes; i++)
        lane_init(&l[i], b, i, lanes);
    while (n + 1 < lanes && !pthread_create(&threads[n], NULL, run_lane, &l[n + 1]))
        n++;
    if (n + 1 < lanes)
        r = -EAGAIN;
    run_lane(&l[0]);
    while (n)
        pthread_join(threads[--n], NULL);
    for (unsigned i = 0; i < lanes; i++) {
        r = r ? r : l[i].result;
        lane_free(&l[i]);
    }
    free(l);
    return r;
}

static void print_bench(const struct bench *b, double seconds, double cpu)
{
    double rate = seconds > 0 ? (double)b->count / seconds : 0;
    char bytes[DISK_SIZE_TEXT];
    struct disk_json j = {0};

    if (!b->o->json) {
        printf("Run completed in %.3f seconds.\n%.0f requests/s, %s/s, %.2f us of CPU a request\n",
               seconds, rate, disk_size_text((uint64_t)(rate * (double)b->size), bytes),
               cpu / (double)b->count * 1e6);
        return;
    }
    disk_json_object(&j, NULL);
    disk_json_number(&j, "requests", b->count);
    disk_json_number(&j, "depth", b->depth);
    disk_json_number(&j, "buffer-size", b->size);
    disk_json_real(&j, "seconds", seconds);
    disk_json_real(&j, "cpu-seconds", cpu);
    disk_json_real(&j, "requests-per-second", rate);
    disk_json_end(&j);
    disk_json_print(&j, stdout);
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int check_options(const struct bench *b, unsigned lanes)
{
    if (b->o->depth > MAX_BENCH_DEPTH || lanes > MAX_BENCH_QUEUES)
        return disk_cmd_usage("disk bench: at most %d requests in flight and %d queues",
                              MAX_BENCH_DEPTH, MAX_BENCH_QUEUES);
    if (!b->size || b->size > disk_size(b->disk) || b->size > 1 << 30)
        return disk_cmd_usage("disk bench: a request of %llu bytes is larger than the disk or 1G",
                              (unsigned long long)b->size);
    if (b->o->pattern > 255)
        return disk_cmd_usage("disk bench: the pattern is one byte, at most 255");
    if (!b->count)
        return disk_cmd_usage("disk bench: no requests");
    return ISOMER_EXIT_OK;
}

int isomer_disk_bench(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct bench b = {.o = o, .count = o->count ? o->count : 75000,
                      .size = o->buffer_size ? o->buffer_size : 4096,
                      .depth = o->depth ? (unsigned)o->depth : 64};
    unsigned lanes = o->queues ? (unsigned)o->queues : 1;
    uint64_t begin;
    double cpu;
    int r, status;

    b.disk = disk_cmd_open(o, argv[0], o->format, o->write);
    if (!b.disk)
        return ISOMER_EXIT_FAILURE;
    b.step = o->step ? o->step : b.size;
    status = check_options(&b, lanes);
    if (status) {
        disk_close(b.disk);
        return status;
    }
    b.places = disk_size(b.disk) / b.size;
    cpu = cpu_seconds();
    begin = base_now_ns();
    r = run(&b, lanes);
    if (r == 0)
        print_bench(&b, (double)(base_now_ns() - begin) / 1e9, cpu_seconds() - cpu);
    return disk_cmd_close(b.disk, r < 0 ? disk_cmd_fail(NULL, argv[0], r) : ISOMER_EXIT_OK);
}
