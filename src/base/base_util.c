/* base_util.c: errors, memory, text and time. SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- errors ---------------------------------------------------------- */

static void base_vreport(const char *prefix, const char *fmt, va_list ap)
{
    char line[1024];
    size_t n = (size_t)snprintf(line, sizeof line, "%s", prefix);
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);

    if (m > 0)
        n += (size_t)m;
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    /* one write, so that lines of several threads do not mix */
    if (write(STDERR_FILENO, line, n) < 0)
        return;
}

void base_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    base_vreport("isomer: ", fmt, ap);
    va_end(ap);
}

void base_bug(const char *file, int line, const char *fmt, ...)
{
    char prefix[256];
    va_list ap;

    snprintf(prefix, sizeof prefix, "isomer: internal error at %s:%d: ", file, line);
    va_start(ap, fmt);
    base_vreport(prefix, fmt, ap);
    va_end(ap);
    abort();
}

/* ---- memory ---------------------------------------------------------- */

static void *base_checked(void *p, size_t size)
{
    if (!p && size) {
        base_error("out of memory allocating %zu bytes", size);
        _exit(125);
    }
    return p;
}

void *base_alloc(size_t size) { return base_checked(malloc(size), size); }
void *base_zalloc(size_t size) { return base_checked(calloc(1, size), size); }
void *base_realloc(void *p, size_t size) { return base_checked(realloc(p, size), size); }

char *base_strdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(base_alloc(n), s, n);
}

struct base_chunk {
    struct base_chunk *next;
    size_t size;
    _Alignas(16) char data[];
};

enum { BASE_CHUNK_MIN = 64 * 1024 };

/* One call for all pages of a range that will be written costs a fraction of a
 * fault for each. */
static void base_populate(void *p, size_t size)
{
#ifdef MADV_POPULATE_WRITE
    uintptr_t from = BASE_ALIGN_UP((uintptr_t)p, (uintptr_t)4096);
    uintptr_t to = BASE_ALIGN_DOWN((uintptr_t)p + size, (uintptr_t)4096);

    if (from < to)
        madvise((void *)from, to - from, MADV_POPULATE_WRITE);
#endif
}

void base_arena_init(struct base_arena *a) { memset(a, 0, sizeof *a); }

static void base_arena_use(struct base_arena *a, struct base_chunk *c)
{
    a->cur = c;
    a->p = c->data;
    a->end = c->data + c->size;
}

void *base_arena_alloc(struct base_arena *a, size_t size)
{
    char *p;

    size = BASE_ALIGN_UP(size, 16);
    while ((size_t)(a->end - a->p) < size) {
        if (a->cur && a->cur->next) {
            base_arena_use(a, a->cur->next);
            continue;
        }
        size_t n = size > BASE_CHUNK_MIN ? size : BASE_CHUNK_MIN;
        struct base_chunk *c = base_alloc(sizeof *c + n);

        base_populate(c, sizeof *c + n);
        c->next = NULL;
        c->size = n;
        if (a->cur)
            a->cur->next = c;
        else
            a->first = c;
        base_arena_use(a, c);
    }
    p = a->p;
    a->p += size;
    return p;
}

void base_arena_reset(struct base_arena *a)
{
    if (a->first)
        base_arena_use(a, a->first);
}

void base_arena_free(struct base_arena *a)
{
    for (struct base_chunk *c = a->first, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    memset(a, 0, sizeof *a);
}

void base_text_vprintf(struct base_text *t, const char *fmt, va_list ap)
{
    for (;;) {
        va_list again;
        size_t room = t->cap - t->len;
        int n;

        va_copy(again, ap);
        n = vsnprintf(t->data ? t->data + t->len : NULL, room, fmt, again);
        va_end(again);
        BASE_ASSERT(n >= 0);
        if ((size_t)n < room) {
            t->len += (size_t)n;
            return;
        }
        t->cap = (t->cap + (size_t)n + 64) * 2;
        t->data = base_realloc(t->data, t->cap);
    }
}

void base_text_printf(struct base_text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    base_text_vprintf(t, fmt, ap);
    va_end(ap);
}

void base_text_append(struct base_text *t, const void *data, size_t n)
{
    if (t->len + n >= t->cap) {
        t->cap = (t->len + n + 1) * 2;
        t->data = base_realloc(t->data, t->cap);
    }
    if (n)
        memcpy(t->data + t->len, data, n);
    t->len += n;
    t->data[t->len] = 0;
}

void base_text_free(struct base_text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

/* ---- time ------------------------------------------------------------ */

static uint64_t base_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t base_now_ns(void) { return base_clock(CLOCK_MONOTONIC); }
uint64_t base_thread_cpu_ns(void) { return base_clock(CLOCK_THREAD_CPUTIME_ID); }

uint64_t base_process_cpu_ns(void) { return base_clock(CLOCK_PROCESS_CPUTIME_ID); }
