/* pc_bytes.c: words that are loaded in bytes, which tier 2 makes one load: what faults in the middle,
 * what others write meanwhile. Compiled for both machines, run natively and emulated; what only the
 * guest's registers can show is taken for granted natively. SPDX-License-Identifier: Apache-2.0 */
#include "pc_check.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { PAGE = 4096, PAGES = 16 };

static uint8_t *ram; /* PAGES pages, and one that cannot be accessed */
static volatile uint64_t fault_at;
#ifdef __riscv
static uint64_t reg[32];
#endif
static volatile uint64_t result;
static sigjmp_buf back;
static volatile int open_it; /* the page is opened, and the loop goes on */

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    fault_at = (uint64_t)(uintptr_t)info->si_addr;
#ifdef __riscv
    for (int n = 0; n < 32; n++)
        reg[n] = ((ucontext_t *)context)->uc_mcontext.__gregs[n];
#else
    (void)context;
#endif
    if (!open_it)
        siglongjmp(back, 1);
    open_it = 0;
    mprotect(ram + PAGES * PAGE, PAGE, PROT_READ | PROT_WRITE);
}

static uint32_t word_at(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The sum of the words from p on, four bytes apart, n of them. */
static uint64_t __attribute__((noinline)) sum_of(const uint8_t *p, uint64_t n)
{
#ifdef __riscv
    register const uint8_t *a0 __asm__("a0") = p;
    register uint64_t a5 __asm__("a5") = 0, a6 __asm__("a6") = n;

    __asm__ volatile("1: li a1, -1\n li a2, -2\n li a3, -3\n li a4, -4\n"
                     "lbu a1, 1(a0)\n lbu a2, 0(a0)\n slli a1, a1, 8\n or a1, a1, a2\n"
                     "lbu a3, 2(a0)\n slli a3, a3, 16\n or a3, a3, a1\n"
                     "lbu a4, 3(a0)\n slliw a4, a4, 24\n or a4, a4, a3\n"
                     "add a5, a5, a4\n addi a0, a0, 4\n addi a6, a6, -1\n bnez a6, 1b\n"
                     : "+r"(a0), "+r"(a5), "+r"(a6)
                     :
                     : "a1", "a2", "a3", "a4", "memory");
    return a5;
#else
    uint64_t sum = 0;

    for (; n--; p += 4)
        sum += (uint64_t)(int64_t)(int32_t)word_at(p);
    return sum;
#endif
}

/* Up to the word whose bytes from `missing` on are not there. */
static void faults(int missing)
{
    const uint8_t *start = ram + (-missing & 3), *bad = ram + PAGES * PAGE - missing;
    char name[64];
    volatile int good = 1;

    for (volatile int round = 0; round < 4; round++) {
        if (!sigsetjmp(back, 1)) {
            result = sum_of(start, PAGES * PAGE);
            good = 0;
        }
#ifdef __riscv
        uint64_t sum = 0;
        const uint8_t *p = start;

        for (; p < bad; p += 4)
            sum += (uint64_t)(int64_t)(int32_t)word_at(p);
        good &= reg[10] == (uint64_t)(uintptr_t)bad && reg[15] == sum;
        good &= fault_at == (uint64_t)(uintptr_t)(bad + (missing < 2 ? 1 : missing));
        if (missing < 2)
            good &= reg[11] == -1ull && reg[12] == -2ull;
        else
            good &= reg[11] == (uint64_t)(bad[0] | bad[1] << 8) && reg[12] == bad[0];
        if (missing < 3)
            good &= reg[13] == -3ull;
        else
            good &= reg[13] == (uint64_t)(bad[0] | bad[1] << 8 | bad[2] << 16);
        good &= reg[14] == -4ull;
#else
        (void)bad;
#endif
    }
    snprintf(name, sizeof name, "a fault with %d bytes of the word there", missing);
    check(name, good);
}

static void goes_on(void)
{
    uint64_t sum = 0, got;
    uint64_t n = (PAGES + 1) * PAGE / 4 - 1;

    memset(ram + PAGES * PAGE - 3, 0x55, 3);
    open_it = 1;
    got = sum_of(ram + 1, n);
    for (uint64_t k = 0; k < n; k++)
        sum += (uint64_t)(int64_t)(int32_t)word_at(ram + 1 + 4 * k);
    check("a page is there after the fault", got == sum && !open_it);
    mprotect(ram + PAGES * PAGE, PAGE, PROT_NONE);
}

/* ---- two words whose bytes are loaded in turns ---------------------------- */

/* Counts the words at p and q, one byte apart from round to round, that are alike. */
static uint64_t __attribute__((noinline)) alike(const uint8_t *p, const uint8_t *q, uint64_t n)
{
    uint64_t found = 0;

    for (; n--; p++, q++)
        found += word_at(p) == word_at(q);
    return found;
}

static void pairs(void)
{
    volatile int good = 1;

    for (unsigned n = 0; n < PAGES * PAGE; n++)
        ram[n] = (uint8_t)(n % 7 * (n / 1000 % 2));
    for (unsigned apart = 0; apart < 12; apart++) {
        uint64_t n = PAGES * PAGE - 16, want = 0;

        for (uint64_t k = 0; k < n; k++)
            want += memcmp(ram + k, ram + k + apart, 4) == 0;
        good &= alike(ram, ram + apart, n) == want;
    }
    check("words at two places, overlapping too", good);
    if (!sigsetjmp(back, 1)) {
        result = alike(ram, ram + PAGE, PAGES * PAGE);
        good = 0;
    }
    check("the second of them is not there",
          good && fault_at >= (uint64_t)(uintptr_t)(ram + PAGES * PAGE) &&
              fault_at < (uint64_t)(uintptr_t)(ram + PAGES * PAGE) + 4);
}

/* Of two loads of one byte the later one must not find the older value. The byte is counted up,
 * once in each epoch. */
static atomic_uint epoch, ready;

enum { EPOCHS = 60, LOOKS = 3000 };

static void *count_up(void *arg)
{
    volatile uint8_t *p = arg;

    for (unsigned e = 1; e <= EPOCHS; e++) {
        ready = e;
        while (epoch < e)
            sched_yield();
        for (unsigned n = 1; n < 256; n++) {
            *p = (uint8_t)n;
            for (volatile unsigned wait = 0; wait < 20; wait++)
                ;
        }
    }
    return NULL;
}

static uint64_t __attribute__((noinline)) older(const uint8_t *p, const uint8_t *q, uint64_t n)
{
    uint64_t bad = 0;

#ifdef __riscv
    while (n--) {
        uint64_t p0, p1, q0, q1;

        __asm__ volatile("lbu %2, 0(%5)\n lbu %0, 0(%4)\n lbu %1, 1(%4)\n lbu %3, 1(%5)\n"
                         "slli t0, %1, 8\n or t0, t0, %0\n slli t1, %3, 8\n or t1, t1, %2\n"
                         : "=&r"(p0), "=&r"(p1), "=&r"(q0), "=&r"(q1)
                         : "r"(p), "r"(q)
                         : "t0", "t1", "memory");
        bad += p1 < q0;
        bad += !p0 && !q1; /* both are used */
    }
#else
    const volatile uint8_t *vp = p, *vq = q;

    while (n--) {
        uint8_t q0 = vq[0], p1 = vp[1];

        bad += p1 < q0;
    }
#endif
    return bad;
}

static void races(void)
{
    uint64_t bad = 0;
    pthread_t t;

    memset(ram, 1, 16);
    pthread_create(&t, NULL, count_up, ram + 5);
    for (unsigned e = 1; e <= EPOCHS; e++) {
        while (ready < e)
            sched_yield();
        ram[5] = 0;
        epoch = e;
        bad += older(ram + 4, ram + 5, LOOKS);
    }
    pthread_join(t, NULL);
    check("no byte is older than one loaded before", !bad);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    ram = mmap(NULL, (PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
               0);
    mprotect(ram + PAGES * PAGE, PAGE, PROT_NONE);
    for (unsigned n = 0; n < PAGES * PAGE; n++)
        ram[n] = (uint8_t)(n * 37 + n / 251);
    sigaction(SIGSEGV, &sa, NULL);
    for (int missing = 0; missing < 4; missing++)
        faults(missing);
    goes_on();
    pairs();
    races();
    return check_end();
}
