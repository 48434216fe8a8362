/* disk_compress.c: clusters, smaller: deflate and zstd. SPDX-License-Identifier: Apache-2.0
 *
 * Deflate is libdeflate's, which works on whole buffers and is two to three times as fast as zlib
 * at both ends. It cannot give what it has of a stream that was cut off or that holds more than was
 * asked for; both are readable in QEMU, so zlib has a second look at what libdeflate refuses.
 *
 * QEMU writes deflate with a window of 4 KiB. Ours goes back up to 32 KiB, which the format allows
 * (RFC 1951) and QEMU reads: it inflates a cluster by one call into one buffer, and the window only
 * matters between calls.
 *
 * Where only the first part of a cluster is wanted, ISA-L inflates up to there, if it was there
 * when this was built: it stops at a byte that it is told, which libdeflate cannot, and is as fast.
 * What it refuses goes the other way again, so that what is damaged does not depend on it.
 */
#include "disk/disk_compress.h"

#include <errno.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#ifdef DISK_ISAL
#include <isa-l/igzip_lib.h>
#endif

/* On documents, scripts and object files 3 to 8 % smaller than what QEMU writes (zlib's default
 * with a window of 4 KiB), in a third to half of its time. */
enum { DEFLATE_LEVEL = 5, ZSTD_LEVEL = 3 };

/* A zstd frame says how much memory reading it takes: a cluster is at most 2 MiB, and the strongest
 * usual level asks for 8. Stops a frame of some bytes that makes each reader allocate gigabytes. */
enum { ZSTD_MAX_WINDOW_LOG = 24 };

struct contexts {
    struct libdeflate_compressor *deflate;
    struct libdeflate_decompressor *inflate;
    ZSTD_CCtx *zstd;
    ZSTD_DCtx *unzstd;
#ifdef DISK_ISAL
    struct inflate_state *begin;
#endif
    void *scratch[DISK_SCRATCHES];
    size_t cap[DISK_SCRATCHES];
};

/* ---- contexts of a thread -------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void contexts_free(void *p)
{
    struct contexts *c = p;

    libdeflate_free_compressor(c->deflate);
    libdeflate_free_decompressor(c->inflate);
    ZSTD_freeCCtx(c->zstd);
    ZSTD_freeDCtx(c->unzstd);
#ifdef DISK_ISAL
    free(c->begin);
#endif
    for (int i = 0; i < DISK_SCRATCHES; i++)
        free(c->scratch[i]);
    free(c);
}

static void make_key(void)
{
    BASE_ASSERT(pthread_key_create(&key, contexts_free) == 0);
}

static struct contexts *contexts(void)
{
    struct contexts *c;

    pthread_once(&once, make_key);
    c = pthread_getspecific(key);
    if (!c) {
        c = base_zalloc(sizeof *c);
        pthread_setspecific(key, c);
    }
    return c;
}

/* At most two of the largest cluster (2 MiB) for each thread; fresh memory for each cluster would
 * cost more page faults than reading it from the page cache. */
void *disk_scratch(enum disk_scratch which, size_t n)
{
    struct contexts *c = contexts();

    if (c->cap[which] < n) {
        free(c->scratch[which]);
        c->scratch[which] = base_alloc(n);
        c->cap[which] = n;
    }
    return c->scratch[which];
}

/* ---- compress -------------------------------------------------------- */

/* Random-looking bytes cost a deflate compressor as much as text does, for nothing. They are
 * told by two marks that deflate lives on, both absent: values that are more frequent than others,
 * and strings that come again. */
enum { SAMPLE_BITS = 12, SAMPLE_EVERY = 16, WORD = 8 };

/* Pearson's chi-square of the bytes' frequencies is 255 on average in random data, above 400 once
 * in ten million times; a deviation that saves a hundredth of a bit for a byte has 1000 in 64 KiB.
 */
static bool bytes_even(const uint8_t *p, size_t n)
{
    uint32_t count[4][256] = {0};
    uint64_t squares = 0;
    size_t i;

    for (i = 0; i + 4 <= n; i += 4) {
        count[0][p[i]]++;
        count[1][p[i + 1]]++;
        count[2][p[i + 2]]++;
        count[3][p[i + 3]]++;
    }
    for (; i < n; i++)
        count[0][p[i]]++;
    for (i = 0; i < 256; i++) {
        uint64_t c = count[0][i] + count[1][i] + count[2][i] + count[3][i];

        squares += c * c;
    }
    return squares * 256 / n < n + 500;
}

/* Of sixteen words the one whose first byte says so, so that both of two equal strings give the
 * same ones; the same word twice is no chance. */
static bool words_recur(const uint8_t *p, size_t n)
{
    uint32_t last[1 << SAMPLE_BITS] = {0}; /* where a word was, plus 1 */

    for (size_t i = 0; i + WORD <= n; i++) {
        uint64_t w, before;
        uint32_t h;

        if (p[i] % SAMPLE_EVERY)
            continue;
        memcpy(&w, p + i, WORD);
        h = (uint32_t)(w * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SAMPLE_BITS));
        if (last[h]) {
            memcpy(&before, p + last[h] - 1, WORD);
            if (before == w)
                return true;
        }
        last[h] = (uint32_t)i + 1;
    }
    return false;
}

bool disk_looks_random(const void *in, size_t n)
{
    return n >= 4096 && bytes_even(in, n) && !words_recur(in, n);
}

static size_t zstd_pack(struct contexts *c, const void *in, size_t n, void *out, size_t cap)
{
    size_t got;

    if (!c->zstd && !(c->zstd = ZSTD_createCCtx()))
        return 0;
    got = ZSTD_compressCCtx(c->zstd, out, cap, in, n, ZSTD_LEVEL);
    return ZSTD_isError(got) ? 0 : got;
}

size_t disk_compress(int type, const void *in, size_t n, void *out, size_t cap)
{
    struct contexts *c = contexts();

    if (type == DISK_ZSTD)
        return zstd_pack(c, in, n, out, cap);
    if (cap < n && disk_looks_random(in, n))
        return 0;
    if (!c->deflate && !(c->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL)))
        return 0;
    if (type == DISK_ZLIB_WRAPPED)
        return libdeflate_zlib_compress(c->deflate, in, n, out, cap);
    return libdeflate_deflate_compress(c->deflate, in, n, out, cap);
}

/* ---- decompress ------------------------------------------------------ */

static int zlib_unpack(int type, const void *in, size_t in_len, void *out, size_t n)
{
    z_stream z = {.next_in = (void *)in, .avail_in = (uInt)in_len,
                  .next_out = out, .avail_out = (uInt)n};
    int r;

    if (inflateInit2(&z, type == DISK_ZLIB_WRAPPED ? MAX_WBITS : -MAX_WBITS) != Z_OK)
        return -ENOMEM;
    r = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return (r == Z_STREAM_END || r == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int zstd_unpack(struct contexts *c, const void *in, size_t in_len, void *out, size_t n)
{
    ZSTD_inBuffer from = {in, in_len, 0};
    ZSTD_outBuffer to = {out, n, 0};

    if (!c->unzstd) {
        if (!(c->unzstd = ZSTD_createDCtx()))
            return -ENOMEM;
        ZSTD_DCtx_setParameter(c->unzstd, ZSTD_d_windowLogMax, ZSTD_MAX_WINDOW_LOG);
    }
    ZSTD_DCtx_reset(c->unzstd, ZSTD_reset_session_only);
    while (to.pos < n) {
        size_t before = to.pos + from.pos;
        size_t r = ZSTD_decompressStream(c->unzstd, &to, &from);

        if (ZSTD_isError(r) || to.pos + from.pos == before)
            return -EIO;
    }
    return 0;
}

int disk_decompress(int type, const void *in, size_t in_len, void *out, size_t n)
{
    struct contexts *c = contexts();
    enum libdeflate_result r;
    size_t used;

    if (type == DISK_ZSTD)
        return zstd_unpack(c, in, in_len, out, n);
    if (!c->inflate && !(c->inflate = libdeflate_alloc_decompressor()))
        return -ENOMEM;
    if (type == DISK_ZLIB_WRAPPED)
        r = libdeflate_zlib_decompress_ex(c->inflate, in, in_len, out, n, &used, NULL);
    else
        r = libdeflate_deflate_decompress_ex(c->inflate, in, in_len, out, n, &used, NULL);
    return r == LIBDEFLATE_SUCCESS ? 0 : zlib_unpack(type, in, in_len, out, n);
}

/* ---- decompress the first part --------------------------------------- */

#ifdef DISK_ISAL
static bool inflate_begin(struct contexts *c, const void *in, size_t in_len, void *out, size_t want)
{
    struct inflate_state *s = c->begin;
    int r;

    if (!s)
        c->begin = s = base_alloc(sizeof *s);
    isal_inflate_init(s);
    s->crc_flag = ISAL_DEFLATE;
    s->next_in = (void *)in;
    s->avail_in = (uint32_t)in_len;
    s->next_out = out;
    s->avail_out = (uint32_t)want;
    r = isal_inflate_stateless(s);
    return (r == ISAL_OUT_OVERFLOW || r == ISAL_DECOMP_OK) && !s->avail_out;
}
enum { STOPS_FAST = true };
#else
static bool inflate_begin(struct contexts *c, const void *in, size_t in_len, void *out, size_t want)
{
    return !zlib_unpack(DISK_ZLIB, in, in_len, out, want);
}
enum { STOPS_FAST = false };
#endif

/* Close to the end libdeflate is faster with all of it. Zstd has one block for a cluster: nothing
 * of it is there before all of it is.
 *
 * A stream that breaks off has what comes before that in either order, so that what can be read of
 * it does not depend on what was read before. */
ssize_t disk_decompress_begin(int type, const void *in, size_t in_len, void *out, size_t n,
                              size_t want)
{
    bool first = STOPS_FAST && want < n - n / 8;
    int r;

    if (type == DISK_ZLIB && first && inflate_begin(contexts(), in, in_len, out, want))
        return (ssize_t)want;
    r = disk_decompress(type, in, in_len, out, n);
    if (!r)
        return (ssize_t)n;
    if (type == DISK_ZLIB && !first && inflate_begin(contexts(), in, in_len, out, want))
        return (ssize_t)want;
    return r;
}
