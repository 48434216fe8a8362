/* fuzz_wrap.c: what the library asks of the C library and of chance, watched.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The linker puts these in front of the calls of their names (--wrap) in our own objects: memory is
 * counted, lines on standard error are looked at instead of printed, keys come from no chance and
 * cost no time.
 */
#include "fuzz_disk.h"

#include <malloc.h>

/* ---- memory ---------------------------------------------------------- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static _Atomic int64_t now, most;

static void *count(void *p)
{
    int64_t all;

    if (p) {
        now += (int64_t)malloc_usable_size(p);
        all = now;
        if (all > most)
            most = all;
    }
    return p;
}

void *__wrap_malloc(size_t n)
{
    return count(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return count(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (p)
        now -= (int64_t)malloc_usable_size(p);
    return count(__real_realloc(p, n));
}

void __wrap_free(void *p)
{
    if (p)
        now -= (int64_t)malloc_usable_size(p);
    __real_free(p);
}

/* ---- messages -------------------------------------------------------- */

static struct base_text bad_line;

bool fuzz_line_is_clear(const char *line)
{
    size_t n = strlen(line);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            return false;
    return n > 0 && n < 2000;
}

void __wrap_base_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void __wrap_base_error(const char *fmt, ...)
{
    struct base_text line = {0};
    va_list ap;

    va_start(ap, fmt);
    base_text_vprintf(&line, fmt, ap);
    va_end(ap);
    if (!bad_line.len && !fuzz_line_is_clear(line.data))
        base_text_append(&bad_line, line.data, line.len);
    base_text_free(&line);
}

void fuzz_wrap_reset(void)
{
    now = 0;
    most = 0;
    base_text_free(&bad_line);
}

size_t fuzz_memory_peak(void)
{
    return (size_t)most;
}

const char *fuzz_bad_line(void)
{
    return bad_line.data;
}

/* ---- failures ------------------------------------------------------- */

bool fuzz_fail(struct fuzz_use *u, const char *fmt, ...)
{
    va_list ap;

    if (u->why->len)
        return false;
    va_start(ap, fmt);
    base_text_vprintf(u->why, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- keys ------------------------------------------------------------ */

enum { FEW_ITERATIONS = 100 };

int __real_luks_pbkdf2(const char *hash, const void *pass, size_t pass_len, const void *salt,
                       size_t salt_len, uint32_t iterations, uint8_t *to, size_t len);
int __wrap_luks_pbkdf2(const char *hash, const void *pass, size_t pass_len, const void *salt,
                       size_t salt_len, uint32_t iterations, uint8_t *to, size_t len);
uint32_t __wrap_luks_pbkdf2_iterations(const char *hash, size_t key_len, unsigned ms);
int __wrap_luks_random(uint8_t *buf, size_t len);

/* That a header may ask for a minute's work is known and bounded; here it would be a hang. */
int __wrap_luks_pbkdf2(const char *hash, const void *pass, size_t pass_len, const void *salt,
                       size_t salt_len, uint32_t iterations, uint8_t *to, size_t len)
{
    if (iterations > FEW_ITERATIONS)
        iterations = FEW_ITERATIONS;
    return __real_luks_pbkdf2(hash, pass, pass_len, salt, salt_len, iterations, to, len);
}

uint32_t __wrap_luks_pbkdf2_iterations(const char *hash, size_t key_len, unsigned ms)
{
    return FEW_ITERATIONS;
}

int __wrap_luks_random(uint8_t *buf, size_t len)
{
    static uint64_t seed = 1;

    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)base_rand(&seed);
    return 0;
}

/* The last stripe is the key, the others are nothing: thousands of hashes less for each slot. */
int __wrap_luks_af_split(const char *hash, const uint8_t *key, size_t key_len, uint32_t stripes,
                         uint8_t *out);
int __wrap_luks_af_merge(const char *hash, const uint8_t *in, size_t key_len, uint32_t stripes,
                         uint8_t *key);

int __wrap_luks_af_split(const char *hash, const uint8_t *key, size_t key_len, uint32_t stripes,
                         uint8_t *out)
{
    memset(out, 0, key_len * (stripes - 1));
    memcpy(out + key_len * (stripes - 1), key, key_len);
    return 0;
}

int __wrap_luks_af_merge(const char *hash, const uint8_t *in, size_t key_len, uint32_t stripes,
                         uint8_t *key)
{
    memcpy(key, in + key_len * (stripes - 1), key_len);
    return 0;
}
