/* opt_check.c: a region before and after the optimiser (opt_check.h).
 * SPDX-License-Identifier: Apache-2.0 */
#include "opt_check.h"

#include "ir/ir_priv.h"

#include <stdlib.h>

enum { OC_RUNS = 6 };

struct oc {
    const struct ir_func *before;
    struct ir_func *last; /* what the pass before left */
    uint64_t seed;
    struct opt_gen_world want[OC_RUNS], got;
    const char *alone; /* the pass that runs alone, or NULL */
    struct base_text *why;
    bool failed;
};

/* A pass and its input and output are to blame. */
static void oc_blame(struct oc *x, const struct opt_pass *pass, const struct ir_func *f,
                     const char *what, const char *more)
{
    x->failed = true;
    base_text_printf(x->why, "pass %s%s: %s: %s\nbefore it:\n", pass->name,
                     x->alone ? ", alone" : "", what, more ? more : "");
    ir_print(x->last->nins > IR_BIAS ? x->last : x->before, x->why);
    base_text_printf(x->why, "after it:\n");
    ir_print(f, x->why);
}

static bool oc_is_raw(const struct opt_pass *p)
{
    return p->early && strcmp(p->name, "ssa") != 0;
}

static void oc_after(void *ctx, const struct opt_pass *pass, const struct ir_func *f)
{
    struct oc *x = ctx;
    struct base_text text = {0};

    if (x->failed) return;
    if (!pass->loose && !(oc_is_raw(pass) ? ir_verify(f, &text) : opt_verify(f, &text)))
        oc_blame(x, pass, f, "breaks a rule", text.data);
    for (unsigned k = 0; k < OC_RUNS && !x->failed; k++) {
        opt_gen_run(f, x->seed + k, &x->got);
        opt_gen_differ(&x->want[k], &x->got, &text);
        if (text.data) oc_blame(x, pass, f, "does something else", text.data);
    }
    base_text_free(&text);
    ir_func_reset(x->last);
    x->last->flags |= IR_FLAG_NOFOLD;
    ir_copy(x->last, f);
}

static bool oc_run(struct oc *x, struct opt *o, uint64_t skip)
{
    struct opt_config cfg = {.skip = skip, .after = oc_after, .ctx = x};
    struct ir_func *out;

    ir_func_reset(x->last);
    opt_run(o, x->before, &cfg, &out);
    return !x->failed;
}

/* All, and each alone: with the early ones, and what cleans up behind it. */
static bool oc_all(struct oc *x, struct opt *o)
{
    uint64_t all = 0, relayout = 0;
    unsigned n = 0;

    if (!oc_run(x, o, 0)) return false;
    for (const struct opt_pass *p = opt_passes; p->name; p++, n++) {
        all |= (uint64_t)1 << n;
        if (strncmp(p->name, "relayout", 8) == 0) relayout |= (uint64_t)1 << n;
    }
    for (unsigned k = 0; k < n; k++) {
        if (opt_passes[k].early) continue;
        x->alone = opt_passes[k].name;
        if (!oc_run(x, o, all & ~((uint64_t)1 << k) & ~(opt_passes[k].loose ? relayout : 0)))
            return false;
    }
    return true;
}

bool opt_check(const uint8_t *bytes, size_t n, struct base_text *why)
{
    struct ir_func *f = ir_func_new(&opt_test_guest);
    struct oc *x = base_zalloc(sizeof *x);
    struct opt *o = opt_new(&opt_test_guest);
    bool ok;

    x->before = f;
    x->last = ir_func_new(&opt_test_guest);
    x->seed = 1;
    x->why = why;
    for (size_t i = 0; i < n; i++) x->seed = x->seed * 31 + bytes[i];
    opt_gen(f, bytes, n);
    ok = ir_verify(f, why);
    for (unsigned k = 0; ok && k < OC_RUNS; k++) opt_gen_run(f, x->seed + k, &x->want[k]);
    ok = ok && oc_all(x, o);
    opt_free(o);
    ir_func_free(x->last);
    ir_func_free(f);
    free(x);
    return ok;
}

/* ---- shrinking ------------------------------------------------------- */

static bool oc_fails(const uint8_t *bytes, size_t n)
{
    struct base_text why = {0};
    bool ok = opt_check(bytes, n, &why);

    base_text_free(&why);
    return !ok;
}

size_t opt_check_shrink(uint8_t *bytes, size_t n)
{
    uint8_t *try = base_alloc(n + 1);

    for (size_t piece = n / 2; piece; piece /= 2)
        for (size_t at = 0; at + piece <= n;) {
            memcpy(try, bytes, at);
            memcpy(try + at, bytes + at + piece, n - at - piece);
            if (oc_fails(try, n - piece)) {
                n -= piece;
                memcpy(bytes, try, n);
            } else {
                at += piece;
            }
        }
    for (size_t at = 0; at < n; at++) {
        uint8_t was = bytes[at];

        bytes[at] = 0;
        if (was && !oc_fails(bytes, n)) bytes[at] = was;
    }
    free(try);
    return n;
}
