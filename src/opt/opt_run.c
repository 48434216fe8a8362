/* opt_run.c: the passes in their order. SPDX-License-Identifier: Apache-2.0 */
#include "opt/opt_priv.h"

#include <stdlib.h>

const struct opt_pass opt_passes[] = {
    {"layout", "blocks in reverse post-order, loops contiguous, unreachable ones dropped",
     opt_layout_pass, true, false, false},
    {"peel", "a first round by itself for a loop at the entry", opt_peel_pass, true, false, false},
    {"decided", "slots whose values a branch tells", opt_decided_pass, true, false, false},
    {"ssa", "slots become values, PHIs where they meet", opt_ssa_pass, true, false, false},
    {"gvn", "equal values once, known conditions", opt_gvn_pass, false, true, false},
    {"relayout", "layout again: branches may have become jumps",
     opt_layout_pass, false, false, false},
    {"mem", "loads of what memory is known to hold", opt_mem_pass, false, false, false},
    {"regvn", "gvn again: conditions known by what memory holds", opt_gvn_pass, false, true, true},
    {"relayout2", "and layout", opt_layout_pass, false, false, true},
    {"strip", "string loops many rounds at once", opt_strip_pass, false, false, false},
    {"bytes", "words that are loaded in bytes", opt_bytes_pass, false, false, false},
    {"fp", "floats without their boxes", opt_fp_pass, false, false, false},
    {"flags", "comparisons that leave no flags", opt_flags_pass, false, false, false},
    {"width", "integers as wide as they need to be", opt_width_pass, false, false, false},
    {"strength", "cheaper ways to say the same", opt_strength_pass, false, false, false},
    {"sink", "what is only put into a slot, behind the join", opt_sink_pass, false, false, false},
    {"dce", "what nobody sees is dropped", opt_dce_pass, false, false, false},
    {NULL, NULL, NULL, false, false, false},
};

const struct opt_pass *opt_find(const char *name)
{
    for (const struct opt_pass *p = opt_passes; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

struct opt {
    struct ir_func *f[2];
    struct base_arena arena;
};

struct opt *opt_new(const struct ir_guest *guest)
{
    struct opt *o = base_zalloc(sizeof *o);

    o->f[0] = ir_func_new(guest);
    o->f[1] = ir_func_new(guest);
    base_arena_init(&o->arena);
    return o;
}

void opt_free(struct opt *o)
{
    if (!o)
        return;
    ir_func_free(o->f[0]);
    ir_func_free(o->f[1]);
    base_arena_free(&o->arena);
    free(o);
}

/* What p must leave: early passes valid IR, from "ssa" on state-SSA form. */
static bool opt_is_good(const struct opt_pass *p, const struct ir_func *f, struct base_text *error)
{
    if (p->loose)
        return true;
    return p->early && strcmp(p->name, "ssa") != 0 ? ir_verify(f, error) : opt_verify(f, error);
}

const char *opt_run_pass(const struct opt_pass *p, struct ir_func *dst, const struct ir_func *src,
                         struct base_arena *arena, struct base_text *error)
{
    const char *why;

    base_arena_reset(arena);
    dst->key = src->key;
    dst->mode = src->mode;
    dst->nguest = src->nguest;
    why = p->run(dst, src, arena);
    if (why)
        return why;
    return error && !opt_is_good(p, dst, error) ? "breaks a rule" : NULL;
}

_Noreturn static void opt_bug(const struct opt_pass *p, const struct ir_func *f, const char *what)
{
    struct base_text text = {0};

    ir_print(f, &text);
    fputs(text.data, stderr);
    base_bug(__FILE__, __LINE__, "pass %s: %s", p->name, what);
}

/* Is p to be run? after_loose: the pass before it leaves work for it. */
static bool opt_wanted(const struct opt_config *cfg, const struct opt_pass *p, bool after_loose)
{
    if (p->early)
        return true;
    if (cfg->last && p > cfg->last)
        return after_loose;
    return !(cfg->skip >> (p - opt_passes) & 1);
}

/* Is there a branch whose condition is a constant? */
static bool opt_decided(const struct ir_func *f)
{
    for (ir_ref r = IR_BIAS; r < f->nins; r++)
        if (f->ins[r].op == IR_BR && ir_is_const(f->ins[r].a)) return true;
    return false;
}

const char *opt_run(struct opt *o, const struct ir_func *src, const struct opt_config *cfg,
                    struct ir_func **out)
{
    unsigned which = 0;
    bool loose = false, decided = false;

    for (const struct opt_pass *p = opt_passes; p->name; p++) {
        struct ir_func *dst = o->f[which];
        struct base_text error = {0};
        const char *why;

        if (!opt_wanted(cfg, p, loose))
            continue;
        if (p->decided && !decided && !(decided = opt_decided(src)))
            continue;
        ir_func_reset(dst);
        dst->sample = cfg->sample;
        if (cfg->last == p)
            dst->fuel = cfg->rewrites;
        why = opt_run_pass(p, dst, src, &o->arena, cfg->verify ? &error : NULL);
        if (error.data)
            opt_bug(p, dst, error.data);
        if (why)
            return why;
        if (cfg->after)
            cfg->after(cfg->ctx, p, dst);
        loose = p->loose;
        src = dst;
        which ^= 1;
    }
    *out = o->f[which ^ 1];
    return NULL;
}
