/* sys_code.c: code that is made, changed, moved and replaced while the program
 * runs. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PAGE 4096ul
#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

typedef int (*fn)(void);

/* A function that returns n. */
static void put(void *at, int n)
{
#ifdef __riscv
    uint32_t code[2] = {0x13 | 10 << 7 | (uint32_t)n << 20, 0x8067}; /* li a0, n; ret */
#else
    uint8_t code[6] = {0xb8, (uint8_t)n, (uint8_t)(n >> 8), 0, 0, 0xc3};
#endif
    memcpy(at, code, sizeof code);
    __builtin___clear_cache(at, (char *)at + sizeof code);
}

static void *make(size_t pages, int prot)
{
    return mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *volatile target;
static void call_target(void) { _exit(((fn)target)()); }

static void changing(void)
{
    char *m = make(2, RWX);
    long sum = 0;

    for (int i = 0; i < 1000; i++) {
        put(m, i);
        for (int k = 0; k < 3; k++)
            sum += ((fn)m)();
    }
    SAY("changed in place", "%ld", sum);
    sum = 0;
    for (int i = 0; i < 300; i++) {
        mprotect(m, PAGE, PROT_READ | PROT_WRITE);
        put(m, i);
        mprotect(m, PAGE, PROT_READ | PROT_EXEC);
        sum += ((fn)m)();
    }
    SAY("write xor execute", "%ld", sum);
    sum = 0;
    for (int i = 0; i < 300; i++) {
        munmap(m, PAGE);
        m = mmap(m, PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        put(m, i);
        sum += ((fn)m)();
    }
    SAY("mapped anew", "%ld", sum);
    target = m;
    mprotect(m, PAGE, PROT_READ | PROT_WRITE);
    RES("not executable", in_child(call_target));
    mprotect(m, PAGE, PROT_READ | PROT_EXEC);
    RES("executable", in_child(call_target));
    munmap(m, PAGE);
    RES("unmapped", in_child(call_target));
}

static void moving(void)
{
    char *m = make(1, RWX), *to = make(1, RWX), *n;

    put(m, 7);
    SAY("before", "%d", ((fn)m)());
    put(to, 8);
    SAY("other", "%d", ((fn)to)());
    n = mremap(m, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    SAY("moved", "%d %d", n == to, ((fn)to)());
    target = m;
    RES("old place", in_child(call_target));
    madvise(to, PAGE, MADV_DONTNEED);
    target = to;
    RES("zeroed", in_child(call_target) > 1000);
}

static void files(void)
{
    int fd = open("code", O_RDWR | O_CREAT | O_TRUNC, 0700), sum = 0;
    char *rw, *rx;

    if (ftruncate(fd, PAGE))
        return;
    rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    for (int i = 0; i < 200; i++) {
        put(rw, i);
        __builtin___clear_cache(rx, rx + 16);
        sum += ((fn)rx)();
    }
    SAY("two mappings", "%d", sum);
    put(rw, 99);
    RES("exec from a file", (rx = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0),
                             ((fn)rx)()));
    target = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    target = (char *)target + PAGE;
    RES("beyond the file", in_child(call_target));
}

/* ---- between threads ------------------------------------------------- */

static char *shared;
static _Atomic int want, seen, stop;

static void *caller(void *arg)
{
    while (!stop)
        if (want != seen) {
            int n = want;

            __builtin___clear_cache(shared, shared + 16);
            seen = ((fn)shared)() == n ? n : -1;
        }
    return NULL;
}

static void threads(void)
{
    pthread_t t;
    int bad = 0;

    shared = make(1, RWX);
    pthread_create(&t, NULL, caller, NULL);
    for (int i = 1; i < 500; i++) {
        put(shared, i);
        want = i;
        while (seen != i && seen != -1)
            ;
        bad += seen == -1;
    }
    stop = 1;
    pthread_join(t, NULL);
    SAY("another thread", "%d", bad);
}

static void child(void)
{
    put(shared, 55);
    _exit(((fn)shared)());
}

int main(void)
{
    char *m;

    changing();
    moving();
    files();
    threads();
    put(shared, 44);
    RES("in a child", in_child(child));
    RES("in the parent", ((fn)shared)());
    m = make(2, RWX);
    put(m + PAGE - 4, 77); /* over the border of two pages */
    RES("over a border", ((fn)(m + PAGE - 4))());
    put(m + PAGE - 4, 78);
    RES("over a border 2", ((fn)(m + PAGE - 4))());
    for (int i = 0; i < 200; i++)
        put(m + 16 * i, i);
    RES("many", ((fn)(m + 16 * 150))() + ((fn)(m + 16 * 10))());
    return 0;
}
