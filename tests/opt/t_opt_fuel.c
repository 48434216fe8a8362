/* t_opt_fuel.c: the optimiser with a limit on rewrites. SPDX-License-Identifier: Apache-2.0
 *
 *     t_opt_fuel [seed [rounds]]
 *
 * Random regions (opt_gen.h): a pass that may make N rewrites makes N, or all that it would if
 * those are fewer; what comes out obeys the rules and does what the region does. So does what is
 * left when the passes behind one are left out.
 */
#include "opt_gen.h"

#include "ir/ir_priv.h"
#include "opt/opt.h"

#include <stdlib.h>

enum { T_BYTES = 500, T_RUNS = 3, T_STEPS = 12 };

struct t_fuel {
    const struct ir_func *f;
    struct opt *o;
    uint64_t seed;
    struct opt_gen_world want[T_RUNS];
    struct opt_config cfg;
    uint64_t used; /* by cfg.last */
    unsigned past; /* passes behind it that were run though they need not */
    struct base_text why;
};

static void t_after(void *ctx, const struct opt_pass *pass, const struct ir_func *f)
{
    struct t_fuel *x = ctx;

    if (pass == x->cfg.last) x->used = x->cfg.rewrites - f->fuel;
    x->past += pass > x->cfg.last && !pass->early && !(pass[-1].loose && pass[-1].run);
}

/* Runs with at most n rewrites of the last pass; false: *why says what is wrong. */
static bool t_limit(struct t_fuel *x, uint64_t n)
{
    static struct opt_gen_world got;
    struct ir_func *out;

    x->cfg.rewrites = n;
    x->used = 0;
    x->past = 0;
    if (opt_run(x->o, x->f, &x->cfg, &out)) return true; /* too large */
    opt_verify(out, &x->why);
    for (unsigned k = 0; k < T_RUNS && !x->why.data; k++) {
        opt_gen_run(out, x->seed + k, &got);
        opt_gen_differ(&x->want[k], &got, &x->why);
    }
    if (x->used > n) base_text_printf(&x->why, "%llu rewrites", (unsigned long long)x->used);
    if (x->past) base_text_printf(&x->why, "%u passes too many", x->past);
    return !x->why.data;
}

/* 0, 1, 2, ... rewrites of one pass, in steps if it makes many. */
static bool t_pass(struct t_fuel *x, const struct opt_pass *p)
{
    bool ok, exact = strcmp(p->name, "fp") != 0 && strcmp(p->name, "width") != 0;
    uint64_t all, n = 0;

    x->cfg.last = p;
    ok = t_limit(x, UINT64_MAX);
    all = x->used;
    for (; ok && n <= all; n += all / T_STEPS + 1) {
        ok = t_limit(x, n);
        if (ok && exact && x->used != n) {
            base_text_printf(&x->why, "%llu of %llu rewrites", (unsigned long long)x->used,
                             (unsigned long long)all);
            ok = false;
        }
    }
    if (!ok)
        printf("not ok - seed %llu, %s with %llu rewrites: %s\n", (unsigned long long)x->seed,
               p->name, (unsigned long long)x->cfg.rewrites, x->why.data);
    return ok;
}

static bool t_region(struct t_fuel *x, uint64_t seed, struct ir_func *f)
{
    uint8_t bytes[T_BYTES];
    uint64_t s = seed;
    size_t n = base_rand(&s) % sizeof bytes;
    bool ok = true;

    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)base_rand(&s);
    ir_func_reset(f);
    opt_gen(f, bytes, n);
    x->f = f;
    x->seed = seed;
    for (unsigned k = 0; k < T_RUNS; k++) opt_gen_run(f, seed + k, &x->want[k]);
    for (const struct opt_pass *p = opt_passes; ok && p->name; p++) ok = t_pass(x, p);
    base_text_free(&x->why);
    return ok;
}

int main(int argc, char **argv)
{
    const char *longer = getenv("TEST_LONG");
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : base_now_ns() % 1000000000;
    unsigned rounds = argc > 2            ? (unsigned)strtoul(argv[2], NULL, 0)
                      : longer && *longer ? 5000
                                          : 60;
    struct ir_func *f = ir_func_new(&opt_test_guest);
    struct t_fuel *x = base_zalloc(sizeof *x);
    bool ok = true;

    x->o = opt_new(&opt_test_guest);
    x->cfg = (struct opt_config){.after = t_after, .ctx = x};
    for (unsigned n = 0; ok && n < rounds; n++) ok = t_region(x, seed + n, f);
    if (ok)
        printf("ok - limits on the passes of %u regions from seed %llu\n", rounds,
               (unsigned long long)seed);
    opt_free(x->o);
    ir_func_free(f);
    free(x);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
