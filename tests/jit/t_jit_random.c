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
    bool tier2;
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
    {"tier 2", NULL, 0, 0, 0, 0, 12, 14, 0, 0, 1},
    {"tier 2, random registers", NULL, 1, 0, 0, 0, 12, 14, 0, 0, 1},
    {"tier 2, forced exits, few pins", NULL, 1, 1, 0, 0, 3, 2, 0, 0, 1},
    {"tier 2, lockstep", NULL, 0, 0, 1, 0, 12, 14, 0, 0, 1},
    {"tier 2, -all, lockstep", "-all", 1, 0, 1, 0, 7, 4, 0, 0, 1},
    {"tier 2, tiny cache", NULL, 0, 0, 0, 0, 12, 14, 0, 48 << 10, 1},
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
                             .tier2 = c->tier2 ? JIT_TIER2_ALWAYS : JIT_TIER2_OFF,
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

/* ---- what once failed ------------------------------------------------ */

/* Guest instructions as IR; each text is run twice in a row from several states. Addresses are
 * relative to the program. */
static const struct {
    const char *name, *text;
} fixed[] = {
    {"absent operands of a helper are 0",
     "func { imark 0, 4\n %1 = get.i64 x5\n %2 = helper.i64 #0, %1, %1, %1\n put x6, %2\n"
     " imark 4, 4\n %3 = get.i64 x22\n %4 = helper.i64 #0, %3, _, _\n put x7, %4\n"
     " imark 8, 4\n %5 = get.i64 x22\n %6 = helper.i64 #1, %5, _, _\n put x8, %6\n"
     " exit.jump 0x40\n}"},
    {"fma with four operands and no pinned slot",
     "func { imark 0, 4\n %1 = get.f64 f16\n %2 = get.f64 f17\n %3 = get.f64 f18\n"
     " %4 = fma.f64.dyn %1, %2, %3\n put f19, %4\n exit.jump 0x40\n}"},
    {"a value across a helper that changes the state",
     "func { imark 0, 4\n %1 = get.i64 x3\n %2 = get.f64 f2\n %3 = get.i64 x4\n"
     " %4 = add.i64 %1, %3\n %5 = helper.i64 #1, 0x123.i64, 0x456.i64, 0x789.i64\n"
     " put x5, %1\n put x6, %4\n put f3, %2\n put x8, %5\n exit.jump 0x40\n}"},
    {"a helper that faults, then a return",
     "func { imark 0, 4\n %1 = get.i64 x5\n %2 = and.i64 %1, 1\n %3 = cmp.ne %2, 0\n"
     " side %3 -> 0x80\n"
     " imark 4, 4\n %4 = helper.i64 #2, 0x20003000.i64, _, _\n put x6, %4\n exit.jump 0x40\n"
     " imark 0x80, 4\n %5 = get.i64 x7\n %6 = and.i64 %5, 0xffffffffffe\n exit.ret %6\n}"},
    {"a store behind a helper that faults",
     "func { imark 0, 4\n put x7, 1\n"
     " imark 4, 4\n %1 = helper.i64 #2, 0x20003000.i64, _, _\n put x7, 2\n"
     " imark 8, 4\n %2 = get.i64 x9\n st.i64 [0x20000000], %2\n put x7, 3\n"
     " exit.jump 0x40\n}"},
    {"a NaN that is unboxed",
     "func { imark 0, 4\n %1 = fsub.f64.dyn 0x7ff0000000000000, 0x7ff0000000000000\n"
     " %2 = funbox.f32 %1\n %3 = fbox.f64 %2\n put f17, %3\n %4 = flow.f32 %1\n"
     " %5 = fbox.f64 %4\n put f16, %5\n"
     " %6 = fadd.f64.dyn 0xffffffffffff8000, 0xffffffffffff8000\n %7 = funbox.f32 %6\n"
     " %8 = fbox.f64 %7\n put f2, %8\n %9 = flow.f32 %6\n %10 = bitcast.i32 %9\n"
     " %11 = sext.i64 %10\n put x3, %11\n exit.jump 0x40\n}"},
    {"flags of a compare are there before its branch",
     "func { imark 0, 4\n flset 0.i64\n"
     " imark 4, 4\n %1 = get.f64 f16\n %2 = fcmp.lt.signal %1, 0x7ff8000000000000.f64\n"
     " %3 = zext.i64 %2\n put x5, %3\n"
     " imark 8, 4\n %4 = flget.i64\n put x6, %4\n"
     " imark 12, 4\n %5 = get.i64 x5\n %6 = cmp.ne %5, 0\n side %6 -> 0x40\n"
     " exit.jump 0x48\n}"},
    {"flags of a compare are there when what follows faults",
     "func { imark 0, 4\n flset 0.i64\n"
     " imark 4, 4\n %1 = get.f64 f16\n %2 = fcmp.lt.signal %1, 0x7ff8000000000000.f64\n"
     " %3 = zext.i64 %2\n put x5, %3\n"
     " imark 8, 4\n st.i64 [0x20003000], 0.i64\n"
     " imark 12, 4\n %5 = get.i64 x5\n %6 = cmp.ne %5, 0\n side %6 -> 0x40\n"
     " exit.jump 0x48\n}"},
    {"flags of a compare are set before they are cleared",
     "func { imark 0, 4\n %1 = get.f64 f16\n %2 = fcmp.lt.signal %1, 0x7ff8000000000000.f64\n"
     " flset 0.i64\n %3 = get.i64 x7\n %4 = get.i64 x8\n %5 = sel.i64 %2, %3, %4\n put x9, %5\n"
     " exit.jump 0x48\n}"},
    {"a fused product of infinity and zero is invalid, whatever is added; a square never is",
     "func { imark 0, 4\n flset 0.i64\n"
     " imark 4, 4\n %1 = fsqrt.f64.dyn 0x7ff8000000000001.f64\n put f2, %1\n"
     " imark 8, 4\n %2 = get.f64 f16\n %3 = get.f64 f2\n"
     " %4 = fma.f64.dyn %2, %2, %3\n put f3, %4\n"
     " imark 12, 4\n %5 = get.f64 f17\n %6 = get.f64 f2\n"
     " %7 = fma.f64.dyn 0x3ff8000000000000.f64, %5, %6\n put f16, %7\n"
     " imark 16, 4\n %8 = flget.i64\n put x6, %8\n"
     " imark 20, 4\n %9 = get.f64 f2\n"
     " %10 = fma.f64.dyn 0.f64, 0x7ff0000000000000.f64, %9\n put f17, %10\n"
     " imark 24, 4\n %11 = flget.i64\n put x7, %11\n exit.jump 0x40\n}"},
    {"a NaN of arithmetic as a factor",
     "func { imark 0, 4\n flset 0.i64\n"
     " imark 4, 4\n %1 = fsub.f64.dyn 0x7ff0000000000000.f64, 0x7ff0000000000000.f64\n"
     " put f18, %1\n"
     " imark 8, 4\n %2 = get.f64 f16\n %3 = get.f64 f18\n"
     " %4 = fma.f64.dyn.negprod %3, %2, %2\n put f3, %4\n"
     " imark 12, 4\n %5 = get.f64 f16\n %6 = get.f64 f18\n"
     " %7 = fma.f64.dyn %5, %5, %6\n put f2, %7\n"
     " imark 16, 4\n %8 = get.f64 f2\n st.f64 [0x20000000], %8\n exit.jump 0x40\n}"},
    {"flags written back as they were read: nothing new, new ones, and another rounding mode",
     "func { imark 0, 4\n flset 1.i64\n"
     " imark 4, 4\n %1 = flget.i64\n put x5, %1\n"
     " imark 8, 4\n %2 = get.f64 f16\n %3 = fdiv.f64.dyn %2, 0x4008000000000000.f64\n"
     " put f17, %3\n"
     " imark 12, 4\n %4 = get.i64 x5\n %5 = and.i64 %4, 31\n flset %5\n"
     " imark 16, 4\n %6 = flget.i64\n put x6, %6\n"
     " imark 20, 4\n %7 = get.f64 f16\n %8 = fdiv.f64.dyn %7, 0.f64\n put f18, %8\n"
     " imark 24, 4\n %9 = get.i64 x6\n flset %9\n"
     " imark 28, 4\n %10 = flget.i64\n put x7, %10\n"
     " imark 32, 4\n rmset 1.i64\n"
     " imark 36, 4\n %11 = get.i64 x7\n flset %11\n"
     " imark 40, 4\n %12 = get.f64 f16\n %13 = fdiv.f64.dyn %12, 0x4008000000000000.f64\n"
     " put f19, %13\n"
     " imark 44, 4\n rmset 0.i64\n"
     " imark 48, 4\n %14 = get.i64 x5\n flset %14\n exit.jump 0x40\n}"},
    {"a conversion that evicts a home, out of range",
     "func { imark 0, 4\n %1 = get.f64 f16\n %2 = get.f64 f17\n %3 = get.f64 f18\n"
     " %4 = fsub.f64.dyn %1, %2\n %5 = fmul.f64.dyn %4, %3\n %6 = fadd.f64.dyn %5, %1\n"
     " %7 = fcvtfi.i64.rdn 0x7ff0000000000000.f64\n %8 = fcvtfi.i32.rup %5\n"
     " put x3, %7\n %9 = sext.i64 %8\n put x4, %9\n put f16, %6\n put f17, %5\n"
     " put f18, %4\n exit.jump 0x40\n}"},
};

static void check_fixed(unsigned k)
{
    struct ir_func *f = ir_func_new(&plain);
    struct base_text error = {0};
    const char *text = fixed[k].text;
    bool ok = true;

    if (ir_parse(f, &text, &error) != 0) {
        printf("not ok - %s: %s\n", fixed[k].name, error.data);
        failures++;
        return;
    }
    for (uint64_t seed = 1; seed <= 20 && ok; seed++) {
        struct jg_program p = {.seed = seed / 2 * 77 + seed % 2, .fault = -1, .text = f};

        ok = check(&p, -1, fixed[k].name);
    }
    ir_func_free(f);
    if (ok)
        printf("ok - %s\n", fixed[k].name);
}

/* Programs drawn from a seed that failed; what they need is control flow, which text has not. */
static const struct {
    const char *name;
    uint64_t seed;
} kept[] = {
    {"a return from an inlined function that does more", 0x3c6ef372fe94f83d},
    {"the same, longer", 0x731d2549e2f6d8ff},
};

/* ---- what may fail --------------------------------------------------- */

static struct jg_program draw(uint64_t *seed, uint64_t *shape)
{
    uint64_t r = base_rand(shape);

    return (struct jg_program){.seed = base_rand(seed),
                               .n = 2 + (unsigned)(r % (r >> 32 & 3 ? 12 : JG_MAX - 2)),
                               .memory = r >> 40 & 1,
                               .fault = -1};
}

static void check_kept(unsigned k)
{
    uint64_t seed = kept[k].seed, shape = seed ^ 0x5555;

    now_seed = seed;
    struct jg_program p = draw(&seed, &shape);

    if (check(&p, -1, kept[k].name))
        printf("ok - %s\n", kept[k].name);
}

int main(int argc, char **argv)
{
    bool long_run = getenv("TEST_LONG") && atoi(getenv("TEST_LONG"));
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20261123;
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : long_run ? 400000 : 1500;
    uint64_t gave_up[NCONFIGS];
    int only = argc > 3 ? atoi(argv[3]) : -1;

    setvbuf(stdout, NULL, _IOLBF, 0);
    jg_init();
    signal(SIGABRT, on_abort);
    reference = machine_of(&reference_config, &plain, seed);
    for (unsigned c = 0; c < NCONFIGS; c++)
        machines[c] = machine_of(&configs[c], &guests[c], seed + c);
    printf("seed %llu\n", (unsigned long long)seed);
    for (unsigned k = 0; argc == 1 && k < BASE_ARRAY_SIZE(fixed); k++)
        check_fixed(k);
    for (unsigned k = 0; argc == 1 && k < BASE_ARRAY_SIZE(kept); k++)
        check_kept(k);
    for (unsigned c = 0; c < NCONFIGS; c++)
        gave_up[c] = machines[c] ? machines[c]->jit->stats.gave_up : 0;
    for (uint64_t s = seed; n && failures < 10; n--) {
        uint64_t shape = s ^ 0x5555;
        now_seed = s;
        struct jg_program p = draw(&s, &shape);

        check(&p, only, "random");
    }
    for (unsigned c = 0; c < NCONFIGS; c++)
        if (machines[c] && machines[c]->jit->stats.gave_up > gave_up[c]) {
            printf("not ok - %s: gave up %llu times\n", configs[c].name,
                   (unsigned long long)machines[c]->jit->stats.gave_up);
            failures++;
        }
    if (!failures)
        printf("ok - random programs, seed %llu\n", (unsigned long long)seed);
    return failures != 0;
}
