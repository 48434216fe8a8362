/* base.h: what every folder may use: sizes, arena, errors, bit helpers.
 * SPDX-License-Identifier: Apache-2.0
 *
 * No policy lives here. Anything with an idea of guests, hosts or files
 * belongs elsewhere.
 */
#ifndef ISOMER_BASE_H
#define ISOMER_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BASE_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BASE_ALIGN_UP(x, a) (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define BASE_ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define base_likely(x) __builtin_expect(!!(x), 1)
#define base_unlikely(x) __builtin_expect(!!(x), 0)

/* ---- errors ---------------------------------------------------------- */

/* Prints "isomer: <message>\n" to stderr in one write: what, why, how to put
 * it right. For what the user or the environment did wrong. */
void base_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Our own bug: prints file, line and message, then aborts. */
_Noreturn void base_bug(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Assertion that stays on in all builds where it is not on a hot path. */
#define BASE_ASSERT(c) \
    (base_likely(c) ? (void)0 : base_bug(__FILE__, __LINE__, "%s", #c))

/* Assertion for hot paths: on in builds with sanitizers and with -Dchecks. */
#ifdef BASE_CHECKS
#define BASE_DASSERT(c) BASE_ASSERT(c)
#else
#define BASE_DASSERT(c) ((void)0)
#endif

/* ---- memory ---------------------------------------------------------- */

/* malloc and friends that never return NULL: out of memory ends the process
 * with one clear line. Free with free(). */
void *base_alloc(size_t size);
void *base_zalloc(size_t size);
void *base_realloc(void *p, size_t size);
char *base_strdup(const char *s);

/* Bump allocator: everything is freed at once by reset or free. Chunks are
 * kept over a reset, so a compile allocates nothing in the steady state. */
struct base_arena {
    struct base_chunk *first, *cur;
    char *p, *end;
};
void base_arena_init(struct base_arena *a);
void *base_arena_alloc(struct base_arena *a, size_t size); /* 16-aligned */
void base_arena_reset(struct base_arena *a);
void base_arena_free(struct base_arena *a);

/* Growing array: BASE_VEC(int) v = {0}; base_vec_push(&v, 3); v.data[0]. */
#define BASE_VEC(T)                                                            \
    struct {                                                                   \
        T *data;                                                               \
        size_t len, cap;                                                       \
    }
#define base_vec_push(v, x)                                                    \
    do {                                                                       \
        if ((v)->len == (v)->cap) {                                            \
            (v)->cap = (v)->cap ? (v)->cap * 2 : 16;                           \
            (v)->data = base_realloc((v)->data, (v)->cap * sizeof *(v)->data); \
        }                                                                      \
        (v)->data[(v)->len++] = (x);                                           \
    } while (0)
#define base_vec_free(v) (free((v)->data), (v)->data = NULL, (v)->len = (v)->cap = 0)

/* Text buffer that grows; begins as {0}; data is always NUL-terminated once
 * written. printf, and append for n bytes of any kind, add to its end; free
 * leaves it as it began. */
struct base_text {
    char *data;
    size_t len, cap;
};
void base_text_printf(struct base_text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void base_text_vprintf(struct base_text *t, const char *fmt, va_list ap);
void base_text_append(struct base_text *t, const void *data, size_t n);
void base_text_free(struct base_text *t);

/* ---- bits ------------------------------------------------------------ */

static inline int64_t base_sext(uint64_t v, unsigned bits)
{
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}
static inline uint64_t base_zext(uint64_t v, unsigned bits)
{
    return v << (64 - bits) >> (64 - bits);
}
/* Finaliser of splitmix64: a cheap, well mixed hash of one word. */
static inline uint64_t base_hash64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
/* Deterministic generator for seeds and tests (splitmix64). */
static inline uint64_t base_rand(uint64_t *seed)
{
    return base_hash64(*seed += 0x9e3779b97f4a7c15u);
}

/* ---- time ------------------------------------------------------------ */

uint64_t base_now_ns(void);        /* monotonic */
uint64_t base_thread_cpu_ns(void); /* CPU time of the calling thread */
uint64_t base_process_cpu_ns(void); /* of all threads, those that have ended too */

#endif
