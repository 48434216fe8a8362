/* t_jit_random.c: random programs in code against the interpreter.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     t_jit_random [seed [programs [config]]]
 *
 * Each program runs one guest instruction at a time in the interpreter, and in code in every
 * configuration; states, FP flags, memory and the way the run ended must agree. A failure is
 * shrunk and printed as IR text with the seed that makes it. Programs that once failed are
 * kept in `fixed` below.
 */
#include "jit_gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct config {
    const char *name, *features;
    bool random, deopt, lockstep, interpreter;
    uint8_t hot_int, hot_fp;
    uint8_t max_insns;
    size_t cache;
} configs[] = {
    {"code", NULL, 0, 0, 0, 0, 12, 14, 0, 0},
    {"random registers", NULL, 1, 0, 0, 0, 12, 14, 0, 0},
    {"few pins", NULL, 1, 0, 0, 0, 3, 2, 0, 0},
    {"no pins", NULL, 0, 0, 0, 0, 0, 0, 0, 0},
    {"forced exits", NULL, 0, 1, 0, 0, 12, 14, 0, 0},
    {"forced exits, random", "-avx512", 1, 1, 0, 0, 7, 4, 0, 0},
    {"-avx512", "-avx512", 0, 0, 0, 0, 12, 14, 0, 0},
    {"-avx2,-bmi", "-avx512,-avx2,-bmi1,-bmi2", 1, 0, 0, 0, 12, 14, 0, 0},
    {"-avx,-fma", "-avx", 0, 0, 0, 0, 12, 14, 0, 0},
    {"-all", "-all", 0, 0, 0, 0, 12, 14, 0, 0},
    {"-all, random", "-all", 1, 0, 0, 0, 5, 6, 0, 0},
    {"-all, forced exits", "-all", 1, 1, 0, 0, 12, 14, 0, 0},
    {"short regions", NULL, 0, 0, 0, 0, 12, 14, 3, 0},
    {"lockstep", NULL, 0, 0, 1, 0, 12, 14, 0, 0},
    {"tiny cache", NULL, 0, 0, 0, 0, 12, 14, 0, 48 << 10},
};
enum { NCONFIGS = BASE_ARRAY_SIZE(configs) };

static struct ir_guest guests[NCONFIGS], plain;
static const struct config reference_config = {.name = "reference", .interpreter = true,
                                               .max_insns = 1};
static unsigned now_config;
static const struct jg_program *now_program;
static uint64_t now_seed;
static struct jit_vcpu *machines[NCONFIGS], *reference;
static uint64_t next_base = 0x5a731200000; /* no result of arithmetic */
static unsigned failures;

static struct jit_vcpu *machine_of(const struct config *c, struct ir_guest *g, uint64_t seed)
{
    struct jit_config cfg = {.guest = g,
                             .features = c->features,
                             .cache_size = c->cache,
                             .deopt_always = c->deopt,
                             .random_ra = c->random,
                             .lockstep = c->lockstep,
                             .interpreter = c->interpreter,
                             .max_insns = c->max_insns,
                             .seed = seed,
                             .dump = getenv("ISOMER_DUMP")};

    *g = jg_guest(c->hot_int, c->hot_fp);
    return jg_machine(&cfg);
}

/* Runs p in a process and machines of its own, which may crash; what differs is appended to
 * *out. Returns false if something does. */
static bool agrees(unsigned c, const struct jg_program *p, struct base_text *out)
{
    char buffer[4096];
    ssize_t n;
    int fd[2], status;

    if (pipe(fd) != 0)
        return true;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        static struct jg_result want, got;
        struct base_text what = {0};
        struct ir_guest g;
        struct jit_vcpu *v = machine_of(&configs[c], &g, 1);

        signal(SIGABRT, SIG_DFL);
        dup2(fd[1], 2); /* "internal error" */
        jg_run(machine_of(&reference_config, &plain, 1), p, next_base, &want);
        for (unsigned n = configs[c].deopt ? 300 : 1; n && !what.len; n--) {
            jg_run(v, p, next_base, &got);
            jg_compare(&want, &got, &what);
        }
        if (what.len && write(fd[1], what.data, what.len) < 0)
            _exit(2);
        _exit(what.len != 0);
    }
    close(fd[1]);
    while ((n = read(fd[0], buffer, sizeof buffer)) > 0)
        base_text_printf(out, "%.*s", (int)n, buffer);
    close(fd[0]);
    waitpid(child, &status, 0);
    return status == 0;
}

/* Takes away instructions as long as it still fails. */
static void shrink(unsigned c, struct jg_program *p)
{
    struct base_text text = {0};

    for (unsigned again = 0; again < 2; again++) {
        for (unsigned k = 0; k < p->n && k < 64; k++) {
            struct jg_program q = *p;

            q.skip |= 1ull << k;
            if (q.skip != p->skip && !agrees(c, &q, &text))
                *p = q;
        }
    }
    base_text_free(&text);
}

static void report(unsigned c, const struct jg_program *p, const char *name,
                   const struct base_text *seen)
{
    struct base_text what = {0}, text = {0};
    struct jg_program q = *p;
    bool again = !agrees(c, p, &what);

    if (again && !q.text) {
        shrink(c, &q);
        base_text_free(&what);
        what = (struct base_text){0};
        agrees(c, &q, &what);
    }
    if (!q.text)
        jg_print(&q, &text);
    if (!again && seen)
        base_text_printf(&text, "was:\n%s", seen->data);
    printf("not ok - %s, %s\nt_jit_random %#llx 1 %u (skip %#llx, fault %d)\n%s%s", name,
           configs[c].name, (unsigned long long)now_seed, c, (unsigned long long)q.skip, p->fault,
           again ? what.data ? what.data : "" : "  (not by itself)\n", text.data ? text.data : "");
    base_text_free(&what);
    base_text_free(&text);
    failures++;
}

static void on_abort(int sig)
{
    report(now_config, now_program, "crash", NULL);
    fflush(stdout);
    _exit(1);
}

/* Runs p everywhere (or in the one configuration only). */
static bool check(const struct jg_program *p, int only, const char *name)
{
    static struct jg_result want, got;
    unsigned before = failures;

    next_base += 0x1000;
    jg_run(reference, p, next_base, &want);
    for (unsigned c = 0; c < NCONFIGS; c++) {
        struct base_text what = {0};

        if (!machines[c] || (only >= 0 && (unsigned)only != c))
            continue;
        now_config = c;
        now_program = p;
        jg_run(machines[c], p, next_base, &got);
        jg_compare(&want, &got, &what);
        if (what.len)
            report(c, p, name, &what);
        base_text_free(&what);
        if (failures != before) /* enough of this one */
            return false;
    }
    return true;
}

static struct jg_program draw(uint64_t *seed, uint64_t *shape)
{
    uint64_t r = base_rand(shape);

    return (struct jg_program){.seed = base_rand(seed),
                               .n = 2 + (unsigned)(r % (r >> 32 & 3 ? 12 : JG_MAX - 2)),
                               .memory = r >> 40 & 1,
                               .fault = -1};
}

int main(int argc, char **argv)
{
    bool long_run = getenv("TEST_LONG") && atoi(getenv("TEST_LONG"));
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20261123;
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : long_run ? 400000 : 1500;
    int only = argc > 3 ? atoi(argv[3]) : -1;

    setvbuf(stdout, NULL, _IOLBF, 0);
    jg_init();
    signal(SIGABRT, on_abort);
    reference = machine_of(&reference_config, &plain, seed);
    for (unsigned c = 0; c < NCONFIGS; c++)
        machines[c] = machine_of(&configs[c], &guests[c], seed + c);
    printf("seed %llu\n", (unsigned long long)seed);
    for (uint64_t s = seed; n && failures < 10; n--) {
        uint64_t shape = s ^ 0x5555;
        now_seed = s;
        struct jg_program p = draw(&s, &shape);

        check(&p, only, "random");
    }
    for (unsigned c = 0; c < NCONFIGS; c++)
        if (machines[c] && machines[c]->jit->stats.gave_up) {
            printf("not ok - %s: gave up %llu times\n", configs[c].name,
                   (unsigned long long)machines[c]->jit->stats.gave_up);
            failures++;
        }
    if (!failures)
        printf("ok - random programs, seed %llu\n", (unsigned long long)seed);
    return failures != 0;
}
