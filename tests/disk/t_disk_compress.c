/* t_disk_compress.c: compressed clusters: both ways, as zlib makes them, damaged.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "disk/disk_compress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
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
        result("no room", names[t], no_room(types[t]));
        result("damaged", names[t], damaged(types[t]));
        result("holds too little", names[t], too_short(types[t]));
    }
    result("QEMU's parameters", "deflate", from_zlib(0, N));
    result("more in it than asked for", "deflate", from_zlib(0, N - 512));
    result("its last byte cut off", "deflate", from_zlib(1, N - 512));
    result("from four threads", "all", threads());
    return failures != 0;
}
