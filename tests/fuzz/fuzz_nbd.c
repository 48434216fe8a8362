/* fuzz_nbd.c: any bytes as what an NBD client sends. SPDX-License-Identifier: Apache-2.0
 *
 * The first byte of an input chooses the disk (raw or qcow2, in memory) and what the server allows,
 * the rest is sent, and then the client says no more. The server must come to an end, answer
 * nothing but what the protocol knows, allocate no more than its bounds say, and leave the disk
 * sound. Inputs are made as sessions that make sense, and are then changed.
 */
#include "fuzz_disk.h"

#include "disk/disk_nbd.h"

#include <sys/socket.h>
#include <unistd.h>

/* What a client may make us keep, one more request, and the disk itself. */
#define MAX_MEMORY ((size_t)NBD_MAX_BUFFERED + NBD_MAX_PAYLOAD + (16 << 20))
/* Ends long sessions: 8 KiB are less than 300 requests, of at most the disk's size each. */
enum { INPUT_MAX = 8 << 10 };

/* ---- the other end --------------------------------------------------- */

struct answers {
    int fd;
    uint8_t head[256]; /* how they begin */
    size_t n;          /* bytes in all */
};

static void *take_answers(void *context)
{
    struct answers *a = context;
    uint8_t buf[64 << 10];
    ssize_t n;

    while ((n = read(a->fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n && a->n + (size_t)i < sizeof a->head; i++)
            a->head[a->n + (size_t)i] = buf[i];
        a->n += (size_t)n;
    }
    return NULL;
}

static bool hello_is_good(const struct answers *a)
{
    return a->n >= 18 && disk_be64(a->head) == NBD_MAGIC &&
           disk_be64(a->head + 8) == NBD_OPTION_MAGIC;
}

/* ---- one session ----------------------------------------------------- */

static void serve(struct nbd_server *s, int fd)
{
    struct nbd_client *c = base_zalloc(sizeof *c);

    c->server = s;
    c->stream.fd = fd;
    if (nbd_negotiate(c) == 0)
        nbd_transmission(c);
    free(c);
}

static void run_session(struct nbd_server *s, const uint8_t *data, size_t n, struct answers *a)
{
    pthread_t thread;
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0 ||
        write(fd[1], data, n) != (ssize_t)n || shutdown(fd[1], SHUT_WR) < 0)
        abort();
    *a = (struct answers){.fd = fd[1]};
    if (pthread_create(&thread, NULL, take_answers, a))
        abort();
    serve(s, fd[0]);
    close(fd[0]);
    pthread_join(thread, NULL);
    close(fd[1]);
}

static bool is_sound(struct fuzz_use *u)
{
    struct disk_open_options o = {.format = "qcow2", .read_only = true, .file_ops = &fuzz_fs_ops};
    struct disk_check_result c = {0};
    struct disk *d;
    int r;

    if (disk_open(fuzz_fs_path(FUZZ_IMAGE), &o, &d, NULL) < 0)
        return fuzz_fail(u, "the disk cannot be opened any more");
    r = disk_check(d, DISK_REPAIR_NONE, &c);
    disk_close(d);
    return !r && !c.corruptions && !c.errors && !c.leaks
               ? true : fuzz_fail(u, "the disk is not sound any more");
}

static unsigned base_by_name(const char *name)
{
    unsigned i = 0;

    while (strcmp(fuzz_base_name(i), name))
        i++;
    return i;
}

static bool fuzz_one(const uint8_t *data, size_t n, struct base_text *why)
{
    bool qcow2 = n && data[0] & 1, read_only = n && data[0] & 2;
    struct disk_open_options o = {.format = qcow2 ? "qcow2" : "raw", .read_only = read_only,
                                  .file_ops = &fuzz_fs_ops, .meta_cache = 64 << 10,
                                  .cluster_cache = 256 << 10};
    struct nbd_server s = {.name = n && data[0] & 4 ? "disk" : "", .description = "fuzz",
                           .read_only = read_only, .preferred = 4096,
                           .tls_required = n && data[0] >= 0xf0};
    struct fuzz_use u = {.why = why};
    struct answers a;

    fuzz_base_load(base_by_name(qcow2 ? "qcow2-512" : "raw"));
    fuzz_wrap_reset();
    fuzz_fs_counts.changes = 0;
    if (disk_open(fuzz_fs_path(FUZZ_IMAGE), &o, &s.disk, NULL) < 0)
        return fuzz_fail(&u, "the disk cannot be opened");
    run_session(&s, n ? data + 1 : data, n ? n - 1 : 0, &a);
    if (disk_close_result(s.disk) < 0)
        return fuzz_fail(&u, "the disk cannot be closed");
    if (!hello_is_good(&a))
        return fuzz_fail(&u, "no hello");
    if (fuzz_memory_peak() > MAX_MEMORY)
        return fuzz_fail(&u, "%zu MiB of memory", fuzz_memory_peak() >> 20);
    if (read_only && fuzz_fs_counts.changes)
        return fuzz_fail(&u, "a disk served for reading was changed");
    return !qcow2 || is_sound(&u);
}

/* ---- sessions -------------------------------------------------------- */

struct session {
    uint8_t *data;
    size_t n, max;
};

static uint64_t some(uint64_t *seed, uint64_t n)
{
    return base_rand(seed) % n;
}

static void put(struct session *s, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i-- && s->n < s->max;)
        s->data[s->n++] = (uint8_t)(v >> 8 * i);
}

static void put_text(struct session *s, const char *text)
{
    for (; *text; text++)
        put(s, (uint8_t)*text, 1);
}

static uint64_t edge(uint64_t *seed)
{
    static const uint64_t edges[] = {0, 1, 511, 512, 4096, 16384, 16385, 65536, 204800, 512000,
                                     1 << 20, 32 << 20, (32 << 20) + 1, 0x7fffffff, 0xfffffffe,
                                     0xffffffff, UINT64_C(1) << 62, UINT64_MAX};

    return edges[some(seed, BASE_ARRAY_SIZE(edges))];
}

/* The data of an option as it should be: a name, and what comes behind it. */
static void put_option(struct session *s, uint32_t kind, uint64_t *seed)
{
    static const char *const names[] = {"", "disk", "other"};
    static const char *const queries[] = {"base:allocation", "base:", "qemu:dirty", ""};
    const char *name = names[some(seed, 3)];
    unsigned n = (unsigned)some(seed, 4);
    struct session body = {base_alloc(1024), 0, 1024};

    if (kind == NBD_OPT_EXPORT_NAME) {
        put_text(&body, name);
    } else if (kind == NBD_OPT_INFO || kind == NBD_OPT_GO) {
        put(&body, strlen(name), 4);
        put_text(&body, name);
        put(&body, n, 2);
        for (unsigned i = 0; i < n; i++)
            put(&body, some(seed, 5), 2);
    } else if (kind == NBD_OPT_LIST_META_CONTEXT || kind == NBD_OPT_SET_META_CONTEXT) {
        put(&body, strlen(name), 4);
        put_text(&body, name);
        put(&body, n, 4);
        for (unsigned i = 0; i < n; i++) {
            const char *query = queries[some(seed, 4)];

            put(&body, strlen(query), 4);
            put_text(&body, query);
        }
    }
    put(s, NBD_OPTION_MAGIC, 8);
    put(s, kind, 4);
    put(s, some(seed, 12) ? body.n : edge(seed), 4);
    for (size_t i = 0; i < body.n; i++)
        put(s, body.data[i], 1);
    free(body.data);
}

static void put_request(struct session *s, uint64_t *seed)
{
    uint16_t command = (uint16_t)some(seed, some(seed, 8) ? 8 : 65536);
    uint64_t off = some(seed, 3) ? some(seed, 600 << 10) : edge(seed);
    uint32_t len = (uint32_t)(some(seed, 3) ? some(seed, 2000) : edge(seed));

    put(s, NBD_REQUEST_MAGIC, 4);
    put(s, some(seed, 3) ? 0 : some(seed, 32), 2);
    put(s, command, 2);
    put(s, base_rand(seed), 8);
    put(s, off, 8);
    put(s, len, 4);
    for (uint32_t i = 0; command == NBD_CMD_WRITE && i < len && i < 3000; i++)
        put(s, i & 0xff, 1);
}

static size_t fuzz_make(uint8_t *data, size_t n, size_t max, uint64_t *seed)
{
    struct session s = {data, 0, max};

    if (n && !some(seed, 4))
        return fuzz_mutate(data, n, max, seed);
    put(&s, some(seed, 16) ? some(seed, 8) : some(seed, 256), 1);
    put(&s, some(seed, 8) ? some(seed, 4) : base_rand(seed), 4);
    if (some(seed, 2))
        put_option(&s, NBD_OPT_STRUCTURED_REPLY, seed);
    for (uint64_t i = some(seed, 5); i; i--)
        put_option(&s, (uint32_t)some(seed, 12), seed);
    put_option(&s, some(seed, 4) ? NBD_OPT_GO : NBD_OPT_EXPORT_NAME, seed);
    for (uint64_t i = some(seed, 24); i; i--)
        put_request(&s, seed);
    return some(seed, 3) ? s.n : fuzz_mutate(data, s.n, max, seed);
}

static void fuzz_begin(void)
{
    fuzz_fs_begin();
    fuzz_base_begin();
}

const struct fuzz_target fuzz_target = {
    .name = "nbd",
    .max = INPUT_MAX,
    .runs = 2000,
    .runs_long = 500000,
    .begin = fuzz_begin,
    .one = fuzz_one,
    .make = fuzz_make,
};
