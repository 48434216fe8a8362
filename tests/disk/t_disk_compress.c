/* t_disk_compress.c: compressed clusters: both ways, as zlib makes them, damaged.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "disk/disk_compress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>

enum { N = 65536 };

static const int types[] = {DISK_ZLIB, DISK_ZSTD, DISK_ZLIB_WRAPPED};
static const char *const names[] = {"deflate", "zstd", "zlib"};
static int failures;

static void result(const char *what, const char *type, bool good)
{
    printf("%s - %s: %s\n", good ? "ok" : "not ok", type, what);
    failures += !good;
}

/* kind 0: zeros, 1: words, 2: chance */
static void fill(uint8_t *p, size_t n, int kind, uint64_t seed)
{
    memset(p, 0, n);
    for (size_t i = 0; kind && i < n; i++)
        p[i] = (uint8_t)(kind == 2 ? base_rand(&seed) : "cylinder head "[i % 14] + i / 999);
}

static bool both_ways(int type, int kind, size_t n)
{
    static _Thread_local uint8_t in[N], packed[N + 4096], out[N];
    size_t got;

    fill(in, n, kind, n);
    got = disk_compress(type, in, n, packed, sizeof packed);
    memset(packed + got, 0xa5, sizeof packed - got); /* what comes behind it in its last sector */
    memset(out, 0xee, n);
    return got && !disk_decompress(type, packed, sizeof packed, out, n) && !memcmp(in, out, n);
}

/* What does not become smaller says so, and never writes behind the room it has. */
static bool no_room(int type)
{
    static uint8_t in[N], out[N + 1];

    fill(in, N, 2, 1);
    out[N - 1] = 0x5a;
    return !disk_compress(type, in, N, out, N - 1) && out[N - 1] == 0x5a;
}

/* Every bit of the first bytes flipped, every length: the answer may be wrong, not the memory. */
static bool damaged(int type)
{
    static uint8_t in[4096], packed[8192], out[4096];
    size_t n;
    int refused = 0;

    fill(in, sizeof in, 1, 1);
    n = disk_compress(type, in, sizeof in, packed, sizeof packed);
    for (unsigned bit = 0; bit < 8 * n; bit++) {
        packed[bit / 8] ^= 1u << bit % 8;
        refused += disk_decompress(type, packed, n, out, sizeof out) != 0;
        packed[bit / 8] ^= 1u << bit % 8;
    }
    for (size_t i = 0; i < n / 2; i++)
        if (!disk_decompress(type, packed, i, out, sizeof out))
            return false;
    return refused > 0;
}

static bool too_short(int type)
{
    static uint8_t in[1000], packed[2000], out[1001];
    size_t n;

    fill(in, sizeof in, 1, 1);
    n = disk_compress(type, in, sizeof in, packed, sizeof packed);
    return disk_decompress(type, packed, n, out, sizeof out) == -EIO;
}

/* QEMU's window and strategy; and streams that hold more than is asked for, or lack their end. */
static bool from_zlib(size_t cut, size_t ask)
{
    static uint8_t in[N], packed[N], out[N];
    z_stream z = {.next_in = in, .avail_in = N, .next_out = packed, .avail_out = N};

    fill(in, N, 1, 3);
    deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return !disk_decompress(DISK_ZLIB, packed, z.total_out - cut, out, ask) &&
           !memcmp(in, out, ask);
}

/* Memory that ends where a page begins that nobody may touch. */
static uint8_t *guarded(size_t n)
{
    size_t all = BASE_ALIGN_UP(n, 4096) + 4096;
    uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + all - 4096, 4096, PROT_NONE) < 0)
        abort();
    return p + all - 4096 - n;
}

/* The first part, of any length: the same bytes, and none touched outside of the buffers. */
static bool first_part(int type, int kind)
{
    static uint8_t in[N], packed[N + 4096];
    size_t n, steps[] = {1, 2, 511, 4096, 4097, 30000, N - N / 8 - 1, N - N / 8, N - 1, N};
    uint8_t *from, *out = guarded(N);

    fill(in, N, kind, 5);
    n = disk_compress(type, in, N, packed, sizeof packed);
    from = memcpy(guarded(n), packed, n);
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(steps); i++) {
        ssize_t got;

        memset(out, 0xee, N);
        got = disk_decompress_begin(type, from, n, out, N, steps[i]);
        if (got < (ssize_t)steps[i] || got > N || memcmp(in, out, (size_t)got) != 0)
            return false;
        for (size_t k = (size_t)got; k < N; k++)
            if (out[k] != 0xee)
                return false;
    }
    return true;
}

/* Bytes changed by chance: refused or filled, nothing touched outside of the buffers, and what is
 * said to be there does not depend on how it is decompressed. */
static bool damaged_part(int type, unsigned rounds)
{
    static uint8_t in[N], packed[N + 4096];
    size_t n;
    uint64_t seed = 7;
    uint8_t *from, *out = guarded(N), *all = guarded(N);

    fill(in, N, 1, 5);
    n = disk_compress(type, in, N, packed, sizeof packed);
    from = guarded(n);
    for (unsigned i = 0; i < rounds; i++) {
        size_t want = 1 + base_rand(&seed) % N;
        ssize_t got;

        memcpy(from, packed, n);
        for (unsigned k = 0; k < 1 + i % 3; k++)
            from[base_rand(&seed) % (i & 1 ? 100 : n)] = (uint8_t)base_rand(&seed);
        got = disk_decompress_begin(type, from, n, out, N, want);
        if (got < 0 ? got != -EIO : got < (ssize_t)want)
            return false;
        if (got > 0 && !disk_decompress(type, from, n, all, N) && memcmp(out, all, want) != 0)
            return false;
    }
    return true;
}

/* A stream that breaks off: what comes before is there, however much is asked for first. */
static bool breaks_off(void)
{
    static uint8_t in[N], packed[N], out[N];
    size_t n, k;

    fill(in, N, 1, 5);
    for (size_t i = 0; i < N; i += 3) /* so that there are many blocks */
        in[i] = (uint8_t)(i * i >> 7);
    n = disk_compress(DISK_ZLIB, in, N, packed, sizeof packed) * 63 / 64;
    if (disk_decompress(DISK_ZLIB, packed, n, out, N) != -EIO)
        return false;
    for (k = N; k && disk_decompress_begin(DISK_ZLIB, packed, n, out, N, k) < 0; k -= 512)
        ;
    for (size_t i = 512; i <= k; i += 512)
        if (disk_decompress_begin(DISK_ZLIB, packed, n, out, N, i) < (ssize_t)i ||
            memcmp(in, out, i) != 0)
            return false;
    return k > N - N / 8 && k < N;
}

/* Nothing that deflate would make smaller is taken for random. */
static bool random_looks(void)
{
    static uint8_t in[N], out[N];
    bool good = true;

    fill(in, N, 1, 1);
    good &= !disk_looks_random(in, N);
    fill(in, N, 2, 1);
    good &= disk_looks_random(in, N) && !disk_looks_random(in, 512);
    memcpy(in + 40000, in + 9001, 300); /* a string that comes again, within the window */
    good &= !disk_looks_random(in, N) && disk_compress(DISK_ZLIB, in, N, out, N - 1) > 0;
    fill(in, N, 2, 2);
    for (size_t i = 0; i < N; i += 8) /* one value more often: Huffman's part */
        in[i] = 7;
    good &= !disk_looks_random(in, N) && disk_compress(DISK_ZLIB, in, N, out, N - 1) > 0;
    return good;
}

static void *worker(void *arg)
{
    for (int i = 0; i < 30; i++)
        if (!both_ways(types[i % 3], i / 3 % 3, 4096 + (size_t)i * 512))
            return arg;
    return NULL;
}

static bool threads(void)
{
    pthread_t t[4];
    void *bad, *any = NULL;

    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, worker, t);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &bad);
        any = bad ? bad : any;
    }
    return !any;
}

int main(void)
{
    for (int t = 0; t < 3; t++) {
        for (int kind = 0; kind < 3; kind++) {
            result("small, both ways", names[t], both_ways(types[t], kind, 512));
            result("large, both ways", names[t], both_ways(types[t], kind, N));
        }
        for (int kind = 0; kind < 3; kind++)
            result("first part", names[t], first_part(types[t], kind));
        result("first part, damaged", names[t], damaged_part(types[t], 3000));
        result("no room", names[t], no_room(types[t]));
        result("damaged", names[t], damaged(types[t]));
        result("holds too little", names[t], too_short(types[t]));
    }
    result("QEMU's parameters", "deflate", from_zlib(0, N));
    result("more in it than asked for", "deflate", from_zlib(0, N - 512));
    result("its last byte cut off", "deflate", from_zlib(1, N - 512));
    result("breaks off", "deflate", breaks_off());
    result("what looks random", "deflate", random_looks());
    result("from four threads", "all", threads());
    return failures != 0;
}
