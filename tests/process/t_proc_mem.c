/* t_proc_mem.c: the guest's memory map against a model of one entry a page, and
 * checked copies. SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_priv.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 48, STEPS = 20000 };
#define BASE 0x1200000000ull

static struct proc vm;
static int model[PAGES]; /* guest protection, -1: free */
static int failures;

static void case_is(const char *name, bool ok, const char *why)
{
    if (ok)
        printf("ok - %s\n", name);
    else
        printf("not ok - %s: %s\n", name, why);
    failures += !ok;
}

static void on_fault(int sig, siginfo_t *info, void *uc)
{
    if (!proc_copy_fault(uc)) {
        static const char text[] = "not ok - fault outside of a checked copy\n";

        if (write(1, text, sizeof text - 1) < 0)
            _exit(2);
        _exit(1);
    }
}

/* Is every page as the model says, in the map and on the host? */
static bool agrees(void)
{
    for (int i = 0; i < PAGES; i++) {
        uint64_t at = BASE + (uint64_t)i * PROC_PAGE;
        struct proc_vma v;
        uint8_t byte = 1;
        bool mapped = proc_mem_find(&vm, at, &v);

        if (mapped != (model[i] >= 0) || (mapped && v.prot != model[i]))
            return false;
        if ((proc_read_guest(&byte, at, 1) == 0) != (model[i] > 0))
            return false;
        if (model[i] >= 0 && proc_mem_has_exec(&vm, at, 1) != !!(model[i] & PROT_EXEC))
            return false;
    }
    for (size_t i = 1; i < vm.map.len; i++) {
        const struct proc_vma *a = &vm.map.vma[i - 1], *b = &vm.map.vma[i];

        if (a->start >= a->end || a->end > b->start)
            return false;
        if (a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->name == b->name)
            return false; /* not merged */
    }
    return true;
}

static bool all_mapped(int from, int n)
{
    for (int i = from; i < from + n; i++)
        if (model[i] < 0)
            return false;
    return true;
}

static const char *step(uint64_t *seed)
{
    static const int prots[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
                                PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC};
    uint64_t r = base_rand(seed), at;
    int from = (int)(r % PAGES), n = 1 + (int)(r >> 8 & 0xff) % 12, prot = prots[(r >> 16) % 5];
    int kind = (int)(r >> 24 & 3);
    int64_t got;

    if (n > PAGES - from)
        n = PAGES - from;
    at = BASE + (uint64_t)from * PROC_PAGE;
    switch (kind) {
    case 0:
        got = proc_mem_map(&vm, at, (uint64_t)n * PROC_PAGE, prot,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, NULL);
        for (int i = from; i < from + n; i++)
            model[i] = prot;
        return got == (int64_t)at ? NULL : "mmap";
    case 1:
        got = proc_mem_unmap(&vm, at, (uint64_t)n * PROC_PAGE);
        for (int i = from; i < from + n; i++)
            model[i] = -1;
        return got == 0 ? NULL : "munmap";
    case 2:
        got = proc_mem_protect(&vm, at, (uint64_t)n * PROC_PAGE, prot);
        if (all_mapped(from, n))
            for (int i = from; i < from + n; i++)
                model[i] = prot;
        return (got == 0) == all_mapped(from, n) ? NULL : "mprotect";
    default:
        got = proc_mem_map(&vm, at, (uint64_t)n * PROC_PAGE, prot,
                           MAP_PRIVATE | MAP_ANONYMOUS | 0x100000, -1, 0, NULL);
        for (int i = from; i < from + n; i++)
            if (model[i] >= 0)
                return got == -EEXIST ? NULL : "mmap noreplace";
        for (int i = from; i < from + n; i++)
            model[i] = prot;
        return got == (int64_t)at ? NULL : "mmap free";
    }
}

static void against_model(void)
{
    uint64_t seed = getenv("TEST_SEED") ? strtoull(getenv("TEST_SEED"), NULL, 0) : 1;
    char why[80];

    for (int i = 0; i < PAGES; i++)
        model[i] = -1;
    for (int i = 0; i < STEPS; i++) {
        const char *wrong = step(&seed);

        if (wrong || !agrees()) {
            snprintf(why, sizeof why, "step %d: %s", i, wrong ? wrong : "map and model differ");
            case_is("against a model", false, why);
            return;
        }
    }
    case_is("against a model", true, "");
    proc_mem_unmap(&vm, BASE, PAGES * PROC_PAGE);
}

static int64_t map(uint64_t addr, uint64_t pages, int prot, int flags)
{
    return proc_mem_map(&vm, addr, pages * PROC_PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
                        0, NULL);
}

static void placement(void)
{
    int64_t a = map(0, 4, PROT_READ, 0), b = map(0, 2, PROT_READ, 0);

    case_is("top-down",
            a > 0 && b == a - 2 * (int64_t)PROC_PAGE && a + 4 * 4096 <= (int64_t)vm.map.mmap_base,
            "not below each other");
    proc_mem_unmap(&vm, (uint64_t)a, 4 * PROC_PAGE);
    case_is("fills the highest hole", map(0, 3, PROT_READ, 0) == a + (int64_t)PROC_PAGE,
            "elsewhere");
    case_is("not above the border",
            map(PROC_TASK_SIZE - PROC_PAGE, 2, PROT_READ, MAP_FIXED) == -ENOMEM, "granted");
    case_is("not over the emulator",
            map((uint64_t)&vm & ~0xfffull, 1, PROT_READ, MAP_FIXED) == -ENOMEM, "granted");
    case_is("hint above is no hint", map(1ull << 40, 1, PROT_READ, 0) > 0, "refused");
    case_is("page zero", map(0, 1, PROT_READ, MAP_FIXED) == -EPERM, "granted");
    case_is("no room", map(0, (PROC_TASK_SIZE >> 12) - 1, PROT_READ, MAP_NORESERVE) == -ENOMEM,
            "granted");
    case_is("unmap of us", proc_mem_unmap(&vm, (uint64_t)&vm & ~0xfffull, PROC_PAGE) == -EINVAL,
            "granted");
    case_is("protect of us",
            proc_mem_protect(&vm, (uint64_t)&vm & ~0xfffull, PROC_PAGE, PROT_NONE) == -ENOMEM,
            "granted");
}

static void fetching(void)
{
    const uint8_t *bytes = NULL;
    bool writable = false;
    size_t n;

    map(BASE, 1, PROT_READ | PROT_EXEC, MAP_FIXED);
    map(BASE + PROC_PAGE, 1, PROT_READ | PROT_WRITE, MAP_FIXED);
    n = proc_mem_fetch(&vm, BASE + 4090, &bytes, &writable);
    case_is("fetch ends with the code", n == 6 && bytes == (void *)(BASE + 4090) && !writable,
            "wrong");
    case_is("no fetch from data", proc_mem_fetch(&vm, BASE + PROC_PAGE, &bytes, &writable) == 0,
            "bytes");
    case_is("no fetch from nowhere", proc_mem_fetch(&vm, BASE - 2, &bytes, &writable) == 0,
            "bytes");
    proc_mem_protect(&vm, BASE + PROC_PAGE, PROC_PAGE, PROT_EXEC);
    n = proc_mem_fetch(&vm, BASE + 4090, &bytes, &writable);
    case_is("fetch over two mappings", n == 6 + PROC_PAGE, "wrong length");
    case_is("execute-only can be read by us", bytes[100] == 0, "");
    proc_mem_protect(&vm, BASE, PROC_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    n = proc_mem_fetch(&vm, BASE, &bytes, &writable);
    case_is("writable code", n == PROC_PAGE && writable, "wrong");
    proc_mem_unmap(&vm, BASE, 2 * PROC_PAGE);
}

static void breaks(void)
{
    uint64_t b = BASE + 0x123, r;

    vm.map.brk_start = vm.map.brk = b;
    map(BASE, 1, PROT_READ | PROT_WRITE, MAP_FIXED);
    case_is("brk asks", proc_mem_brk(&vm, 0) == b, "");
    case_is("brk grows", proc_mem_brk(&vm, b + 10 * PROC_PAGE) == b + 10 * PROC_PAGE, "");
    case_is("brk is memory", proc_write_guest(b + 9 * PROC_PAGE, "x", 1) == 0, "");
    map(BASE + 20 * PROC_PAGE, 1, PROT_READ, MAP_FIXED);
    r = proc_mem_brk(&vm, b + 30 * PROC_PAGE);
    case_is("brk stops at a mapping", r == b + 10 * PROC_PAGE, "");
    case_is("brk shrinks", proc_mem_brk(&vm, b) == b, "");
    case_is("and is gone", proc_write_guest(b + 9 * PROC_PAGE, "x", 1) == -EFAULT, "");
    case_is("brk below", proc_mem_brk(&vm, BASE - 1) == b, "");
    proc_mem_unmap(&vm, BASE, 40 * PROC_PAGE);
}

static void copies(void)
{
    char buf[8192];
    uint64_t end = BASE + PROC_PAGE;
    bool ok = true;

    map(BASE, 1, PROT_READ | PROT_WRITE, MAP_FIXED);
    for (size_t n = 0; n < 200; n++) {
        memset(buf, (int)n, sizeof buf);
        ok &= proc_write_guest(end - n, buf, n) == 0;
        memset(buf, 0, sizeof buf);
        ok &= proc_read_guest(buf + 1, end - n, n) == 0 && buf[0] == 0 && buf[n + 1] == 0;
        for (size_t i = 0; i < n; i++)
            ok &= buf[1 + i] == (char)n;
        ok &= proc_read_guest(buf, end - n, n + 1) == -EFAULT;
        ok &= proc_write_guest(end - n, buf, n + 1) == -EFAULT;
    }
    case_is("copies of every length, up to the edge", ok, "");
    case_is("wraps", proc_read_guest(buf, ~0ull - 2, 8) == -EFAULT, "");
    case_is("not ours", proc_read_guest(buf, (uint64_t)buf, 8) == -EFAULT, "");
    case_is("non-canonical", proc_write_guest(1ull << 60, buf, 8) == -EFAULT, "");
    memcpy((char *)end - 6, "hello", 6);
    case_is("string", proc_read_string(buf, end - 6, 100) == 5 && !strcmp(buf, "hello"), "");
    case_is("string without room", proc_read_string(buf, end - 6, 5) == -ENAMETOOLONG, "");
    memcpy((char *)end - 6, "hello!", 6);
    case_is("string without end", proc_read_string(buf, end - 6, 100) == -EFAULT, "");
    case_is("string at the border", proc_read_string(buf, PROC_TASK_SIZE - 1, 100) == -EFAULT, "");
    proc_mem_unmap(&vm, BASE, PROC_PAGE);
}

int main(void)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
    proc_mem_init(&vm, 8 << 20);
    placement();
    fetching();
    breaks();
    copies();
    against_model();
    return failures != 0;
}
