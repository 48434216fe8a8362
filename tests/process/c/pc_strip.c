/* pc_strip.c: string loops that are done many rounds at once: what faults, overlaps, is interrupted.
 * Compiled for both machines, run natively and emulated. SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <setjmp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>

#define LOOP __attribute__((noinline, optimize("no-tree-loop-distribute-patterns", \
                                               "no-tree-vectorize")))

enum { PAGE = 4096, PAGES = 8 };

/* ---- loops ----------------------------------------------------------- */

LOOP static void copy_bytes(uint8_t *d, const uint8_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] = s[i];
}

LOOP static void copy_down(uint8_t *d, const uint8_t *s, size_t n)
{
    while (n--)
        d[n] = s[n];
}

typedef uint64_t __attribute__((may_alias)) word;

LOOP static void copy_words(void *d, const void *s, size_t n)
{
    word *to = d;

    for (const word *p = s, *end = p + n; p != end; p++)
        *to++ = *p;
}

/* As C libraries do it: loads first, then stores. */
LOOP static void copy_eight(void *d, const void *s, size_t n)
{
    word *to = d;

    for (const word *p = s, *end = p + 8 * n; p != end; p += 8, to += 8) {
        uint64_t a = p[0], b = p[1], c = p[2], e = p[3], f = p[4], g = p[5], h = p[6], i = p[7];

        to[0] = a, to[1] = b, to[2] = c, to[3] = e, to[4] = f, to[5] = g, to[6] = h, to[7] = i;
    }
}

LOOP static void fill_bytes(uint8_t *d, int v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] = (uint8_t)v;
}

LOOP static size_t length(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

LOOP static const uint8_t *find(const uint8_t *s, int c)
{
    while (*s != c)
        s++;
    return s;
}

LOOP static size_t match(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}

LOOP static void copy_string(char *d, const char *s)
{
    while ((*d++ = *s++))
        ;
}

/* ---- places ---------------------------------------------------------- */

static uint8_t *src, *dst; /* PAGES pages each, between pages that cannot be accessed */

static uint8_t *place(void)
{
    uint8_t *p = mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + PAGE, PAGES * PAGE, PROT_READ | PROT_WRITE) != 0)
        exit(2);
    return p + PAGE;
}

static uint8_t value(size_t i) { return (uint8_t)(1 + i * 7 % 251); }

static void fresh(void)
{
    static uint8_t values[PAGES * PAGE];

    if (!values[0])
        for (size_t i = 0; i < sizeof values; i++)
            values[i] = value(i);
    memcpy(src, values, sizeof values);
    memset(dst, 0xee, sizeof values);
}

/* Until the loops are found hot, and their code is there. */
static void warm(void)
{
    for (unsigned n = 0; n < 120; n++) {
        copy_bytes(dst, src, 1000);
        copy_down(dst, src, 1000);
        copy_words(dst, src, 500);
        copy_eight(dst, src, 200);
        fill_bytes(dst, 3, 1000);
        dst[1000] = 0;
        length((char *)dst);
        find(dst, 0);
        match(dst, dst + 1, 999);
        copy_string((char *)dst + 2000, (char *)dst);
        usleep(n % 10 ? 0 : 1000);
    }
}

/* ---- faults ---------------------------------------------------------- */

static sigjmp_buf out;
static uint8_t *volatile fault;
static volatile bool expected; /* one fault */
static volatile size_t sink;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    fault = info->si_addr;
    if (!expected)
        _exit(4);
    expected = false;
    siglongjmp(out, 1);
}

static void handle(void (*f)(int, siginfo_t *, void *))
{
    struct sigaction act = {.sa_sigaction = f, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &act, NULL);
}

enum { FAR = 904 }; /* bytes before the end of the pages */

static void copy_by(unsigned how, uint8_t *d, const uint8_t *s)
{
    switch (how) {
    case 0: copy_bytes(d, s, 4 * PAGE); break;
    case 1: copy_words(d, s, PAGE); break;
    case 2: copy_eight(d, s, PAGE / 8); break;
    case 3: memcpy(d, s, 4 * PAGE); break;
    default: fill_bytes(d, 7, 4 * PAGE); break;
    }
}

/* Bytes of dst from `from` on that are what was to be copied there from s. */
static size_t stored(const uint8_t *from, const uint8_t *s, size_t max, bool fill)
{
    volatile size_t n = 0;

    while (n < max && from[n] == (fill ? 7 : s[n]))
        n++;
    return n;
}

static void store_faults(void)
{
    static const char *const name[] = {"bytes", "words", "eight words", "memcpy", "fill"};

    for (volatile unsigned how = 0; how < 5; how++) {
        volatile bool good = true;

        for (volatile unsigned k = 0; k < 7 && good; k++) {
            uint8_t *const d = dst + PAGES * PAGE - FAR - 8 * k, *const end = dst + PAGES * PAGE;
            volatile size_t room = FAR + 8 * k;

            fresh();
            expected = true;
            if (sigsetjmp(out, 1) == 0) {
                copy_by(how, d, src + 5 * k);
                good = false;
            }
            if (how < 2 || how == 4) /* nothing is missing, and it is where the loop had come to */
                good &= fault == end && stored(d, src + 5 * k, room, how == 4) == room;
            else
                good &= fault >= end && fault < end + 256 && fault - d >= FAR;
        }
        check(name[how], good);
    }
}

static void load_faults(void)
{
    static const char *const name[] = {"bytes", "words", "eight words"};

    for (volatile unsigned how = 0; how < 3; how++) {
        volatile bool good = true;

        for (volatile unsigned k = 0; k < 7 && good; k++) {
            const uint8_t *const s = src + PAGES * PAGE - FAR - 8 * k;
            const uint8_t *const end = src + PAGES * PAGE;
            volatile size_t whole = how == 2 ? (FAR + 8 * k) / 64 * 64 : FAR + 8 * k;

            fresh();
            expected = true;
            if (sigsetjmp(out, 1) == 0) {
                copy_by(how, dst + 3 * k, s);
                good = false;
            }
            good &= fault >= end - 7 && fault <= end + 64;
            good &= stored(dst + 3 * k, s, whole, false) == whole;
            good &= dst[3 * k + whole] == 0xee; /* and nothing more */
        }
        check(name[how], good);
    }
}

/* Searches and comparisons that end with the last byte that may be read. */
static void ends_of_pages(void)
{
    uint8_t *end = src + PAGES * PAGE, *other = dst + PAGES * PAGE;
    bool good = true;

    fresh();
    end[-1] = 0;
    for (unsigned k = 1; k < 300 && good; k += k < 70 ? 1 : 23) {
        good &= length((char *)end - k) == k - 1 && find(end - k, 0) == end - 1;
        good &= strlen((char *)end - k) == k - 1 && memchr(end - k, 0, 5000) == end - 1;
        good &= match(end - k, end - k, k) == k;
        fill_bytes(other - 1000, 9, 1000);
        copy_string((char *)other - k, (char *)end - k);
        good &= match(other - k, end - k, k) == k && other[-(int)k - 1] == 9;
        good &= strcmp((char *)other - k, (char *)end - k) == 0;
        other[-1] = 1; /* and with one that goes on: the other page ends first */
        good &= match(other - k, end - k, k) == k - 1;
    }
    check("strings at the end of a page", good);
    expected = true;
    if (sigsetjmp(out, 1) == 0) {
        sink = (uintptr_t)find(end - 1000, 255);
        check("a search that runs into it", false);
    } else {
        check("a search that runs into it", fault == end);
    }
    expected = true;
    if (sigsetjmp(out, 1) == 0) {
        sink = match(end - 1500, end - 1500, 5000);
        check("a comparison that runs into it", false);
    } else {
        check("a comparison that runs into it", fault == end);
    }
}

/* ---- a handler that makes the page accessible ------------------------ */

static volatile unsigned repaired;

static void on_repair(int sig, siginfo_t *info, void *context)
{
    uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));

    (void)sig, (void)context;
    repaired++;
    if (page < dst || page >= dst + PAGES * PAGE || mprotect(page, PAGE, PROT_READ | PROT_WRITE))
        _exit(3);
}

static void repairs(void)
{
    for (unsigned how = 0; how < 3; how++) {
        bool good;

        fresh();
        repaired = 0;
        mprotect(dst, PAGES * PAGE, how == 1 ? PROT_READ : PROT_NONE);
        handle(on_repair);
        if (how < 2)
            copy_bytes(dst + 1, src + 3, (PAGES - 1) * PAGE);
        else
            copy_down(dst + 1, src + 3, (PAGES - 1) * PAGE);
        good = repaired == PAGES;
        handle(on_fault);
        good &= stored(dst + 1, src + 3, (PAGES - 1) * PAGE, false) == (PAGES - 1) * PAGE;
        check("pages that a handler gives", good);
    }
}

/* ---- overlaps -------------------------------------------------------- */

static void overlaps(void)
{
    static uint8_t want[4096], got[4096];
    bool up = true, down = true, words = true;

    for (int d = -296; d <= 296; d += d < -80 || d > 80 ? 8 : 1) {
        for (unsigned i = 0; i < sizeof want; i++)
            want[i] = got[i] = value(i);
        for (volatile unsigned i = 0; i < 700; i++)
            want[1000 + d + i] = want[1000 + i];
        copy_bytes(got + 1000 + d, got + 1000, 700);
        up &= memcmp(want, got, sizeof want) == 0;
        for (volatile unsigned i = 700; i-- > 0;)
            want[1000 + d + i] = want[1000 + i];
        copy_down(got + 1000 + d, got + 1000, 700);
        down &= memcmp(want, got, sizeof want) == 0;
        if (d % 8)
            continue;
        for (volatile unsigned i = 0; i < 800; i += 8)
            memmove(want + 1000 + d + i, want + 1000 + i, 8);
        copy_words(got + 1000 + d, got + 1000, 100);
        words &= memcmp(want, got, sizeof want) == 0;
    }
    check("overlaps at all distances, upwards", up);
    check("downwards", down);
    check("by words", words);
}

/* ---- signals --------------------------------------------------------- */

static volatile unsigned alarms;

static void on_alarm(int sig)
{
    (void)sig;
    alarms++;
}

static void interrupted(void)
{
    static uint8_t big[1 << 18];
    struct itimerval often = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
    bool good = true;

    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned n = 1; n < 20000 && (alarms < 10 || n < 20); n++) {
        fill_bytes(big, (int)n, sizeof big);
        copy_bytes(big + 1000, big, sizeof big / 2);
        good &= find(big + 1, (int)(n & 255)) == big + 1;
        good &= match(big, big + 1, sizeof big - 1) == sizeof big - 1;
    }
    setitimer(ITIMER_REAL, &off, NULL);
    check("signals come through while much is copied", good && alarms >= 10);
}

int main(void)
{
    src = place();
    dst = place();
    fresh();
    handle(on_fault);
    warm();
    store_faults();
    load_faults();
    ends_of_pages();
    repairs();
    overlaps();
    interrupted();
    return check_end();
}
