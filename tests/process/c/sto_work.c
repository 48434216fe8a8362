/* sto_work.c: work for t_store.py; STEP makes programs that differ in an instruction or two.
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t step(uint64_t x) { return x * 31 + STEP; }

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Sorting, formatting, floats, a table of functions: code with all kinds of exits. */
static void work(unsigned rounds)
{
    static uint64_t v[500];
    uint64_t x = 1;
    char text[64];

    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < 500; i++)
            v[i] = x = step(x);
        qsort(v, 500, sizeof *v, compare);
        x ^= v[250];
    }
    snprintf(text, sizeof text, "%.9g %llx", (double)x / 3, (unsigned long long)x);
    puts(text);
}

static void descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;
    unsigned n = 0;

    while (d && (e = readdir(d)))
        n += e->d_name[0] != '.';
    printf("%u descriptors\n", n);
}

/* The library's function at two addresses: what is stored of one serves the other. */
static void library(void)
{
    void *m = mmap(NULL, 1 << 24, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *lib = dlopen("libm.so.6", RTLD_NOW);
    double (*f)(double) = lib ? (double (*)(double))dlsym(lib, "cbrt") : NULL;

    munmap(m, 1 << 24);
    printf("%.17g\n", f ? f(5 + STEP) : 0.0);
}

/* Text that is written to and back: the first answer is the patched one's. */
static void patched(void)
{
    uintptr_t page = (uintptr_t)step & ~(uintptr_t)4095;
    uint32_t old, patch = 0x00008067; /* ret: a0 as it came */
    uint64_t (*volatile f)(uint64_t) = step;
    uint64_t a, b;

    memcpy(&old, (void *)(uintptr_t)step, 4);
    if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC))
        exit(3);
    memcpy((void *)(uintptr_t)step, &patch, 4);
    __builtin___clear_cache((char *)(uintptr_t)step, (char *)(uintptr_t)step + 4);
    a = f(7);
    memcpy((void *)(uintptr_t)step, &old, 4);
    __builtin___clear_cache((char *)(uintptr_t)step, (char *)(uintptr_t)step + 4);
    mprotect((void *)page, 8192, PROT_READ | PROT_EXEC);
    b = f(7);
    printf("%llu %llu\n", (unsigned long long)a, (unsigned long long)b);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 3;

    work(rounds);
    descriptors();
    library();
    patched();
    if (argc > 2 && fork() == 0)
        execl("/proc/self/exe", argv[0], argv[1], NULL);
    return 0;
}
