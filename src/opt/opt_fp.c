/* opt_fp.c: floats without their boxes. SPDX-License-Identifier: Apache-2.0
 *
 * A guest with 64-bit floating-point registers keeps a narrower float in a box: ones above its bits
 * (FBOX). Taking it out again checks the box (FUNBOX: the canonical NaN if it is none). Inside a
 * block the builder cancels the two; across blocks a PHI of f64 is between them:
 *
 *     %p = phi.f64 [.. %b0], [.. %b]          %p = phi.f32 [.. %x0], [.. %x]
 *     put fs, %p                              put fs, fbox(%p)
 *     %v = funbox.f32 %p                ->
 *     %x = fadd.f32 %v, %y                    %x = fadd.f32 %p, %y
 *     %b = fbox.f64 %x                        %b = fbox.f64 %x
 *
 * A value is *boxed* if it is an FBOX, a constant that looks like one, or a PHI or SEL of boxed
 * values of one type (optimistically: loops). A boxed PHI or SEL becomes narrow unless somebody
 * needs the box itself: a store or move of all 64 bits; then too, if a loop before it makes the
 * boxes, so that one behind the loop is made instead. PUT does not count: a host with state maps
 * makes the box in its cold code. Where the box stays, FUNBOX becomes FLOW, which has no check.
 *
 * Bits that pass through an integer: what is stored through a BITCAST is stored as it is.
 *
 * Requires: state-SSA form. Keeps it: a PUT behind a PHI may then put the PHI's box.
 */
#include "opt/opt_priv.h"

struct opt_fp {
    struct opt_rebuild *b;
    const struct ir_func *f;
    const struct opt_cfg *cfg;
    uint8_t *inner; /* by ref - IR_BIAS: the type in the box; OPT_FP_ANY, OPT_FP_NONE */
    bool *wide;     /* by ref - IR_BIAS: the box itself is needed */
    ir_ref *narrow; /* by ref - IR_BIAS: what is in the box, in the new function */
};
enum { OPT_FP_NONE = 0, OPT_FP_ANY = 255 }; /* no box; not seen yet */

/* ---- what is boxed --------------------------------------------------- */

static unsigned opt_fp_inner(const struct opt_fp *x, ir_ref r)
{
    if (!ir_is_const(r)) return x->inner[r - IR_BIAS];
    if (x->f->ins[r].op != IR_KF || ir_ty(x->f, r) != IR_F64) return OPT_FP_NONE;
    if (ir_kval(x->f, r) >> 16 == 0xffffffffffff) return IR_F16;
    return ir_kval(x->f, r) >> 32 == 0xffffffff ? IR_F32 : OPT_FP_NONE;
}

/* An f16 in its box looks like an f32 in its box, too; types do not mix all the same. */
static unsigned opt_fp_meet(unsigned a, unsigned b)
{
    return a == OPT_FP_ANY ? b : b == OPT_FP_ANY || a == b ? a : OPT_FP_NONE;
}

static unsigned opt_fp_of(const struct opt_fp *x, ir_ref r)
{
    const struct ir_ins *i = &x->f->ins[r];
    unsigned inner = OPT_FP_ANY;

    switch (i->op) {
    case IR_FBOX: return ir_ty(x->f, i->a);
    case IR_SEL: return opt_fp_meet(opt_fp_inner(x, i->b), opt_fp_inner(x, i->c));
    case IR_PHI:
        for (unsigned n = 0; n < i->b; n++)
            inner = opt_fp_meet(inner, opt_fp_inner(x, x->f->extra[i->a + 2 * n + 1]));
        return inner;
    default: return OPT_FP_NONE;
    }
}

/* Returns whether anything is boxed but FBOX themselves. */
static bool opt_fp_find(struct opt_fp *x)
{
    bool changed = true, found = false;

    memset(x->inner, OPT_FP_ANY, x->f->nins - IR_BIAS);
    while (changed) {
        changed = found = false;
        for (ir_ref r = IR_BIAS; r < x->f->nins; r++) {
            unsigned now = ir_ty(x->f, r) == IR_F64 ? opt_fp_of(x, r) : OPT_FP_NONE;

            changed |= now != x->inner[r - IR_BIAS];
            x->inner[r - IR_BIAS] = (uint8_t)now;
            found |= now != OPT_FP_NONE && x->f->ins[r].op != IR_FBOX;
        }
    }
    return found;
}

/* ---- who needs the box ----------------------------------------------- */

/* A PHI behind a loop that makes the boxes: one box here instead of one in each round. */
static bool opt_fp_box_later(const struct opt_fp *x, ir_ref r)
{
    const struct ir_ins *i = &x->f->ins[r];
    unsigned depth = x->cfg->block[opt_block_of(x->cfg, r)].depth;

    for (unsigned n = 0; i->op == IR_PHI && n < i->b; n++) {
        ir_ref v = x->f->extra[i->a + 2 * n + 1];

        if (!ir_is_const(v) && x->f->ins[v].op == IR_FBOX &&
            x->cfg->block[opt_block_of(x->cfg, v)].depth > depth)
            return true;
    }
    return false;
}

static bool opt_fp_becomes_narrow(const struct opt_fp *x, ir_ref r)
{
    unsigned op = x->f->ins[r].op;

    return (op == IR_PHI || op == IR_SEL) && x->inner[r - IR_BIAS] != OPT_FP_NONE &&
           (!x->wide[r - IR_BIAS] || opt_fp_box_later(x, r));
}

static bool opt_fp_mark(struct opt_fp *x, ir_ref r)
{
    if (ir_is_const(r) || !r || x->wide[r - IR_BIAS] || ir_ty(x->f, r) != IR_F64) return false;
    x->wide[r - IR_BIAS] = true;
    return true;
}

/* Marks what instruction r needs whole; true if something new. */
static bool opt_fp_uses(struct opt_fp *x, ir_ref r)
{
    const struct ir_ins *i = &x->f->ins[r];
    bool changed = false;

    if (i->op == IR_PUT || opt_fp_becomes_narrow(x, r)) return false;
    if (i->op == IR_FUNBOX || i->op == IR_FLOW)
        return opt_fp_inner(x, i->a) != i->ty && opt_fp_mark(x, i->a);
    if (i->op == IR_PHI) {
        for (unsigned n = 0; n < i->b; n++)
            changed |= opt_fp_mark(x, x->f->extra[i->a + 2 * n + 1]);
        return changed;
    }
    for (unsigned n = 0; n < 3; n++) {
        unsigned kind = ir_ops[i->op].opd[n];

        if (kind >= IR_OPD_R && kind <= IR_OPD_I)
            changed |= opt_fp_mark(x, n == 0 ? i->a : n == 1 ? i->b : i->c);
    }
    return changed;
}

static void opt_fp_spread(struct opt_fp *x)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (ir_ref r = x->f->nins; r-- > IR_BIAS;) changed |= opt_fp_uses(x, r);
    }
}

static void opt_fp_decide(struct opt_fp *x)
{
    bool changed = false;

    opt_fp_spread(x);
    for (ir_ref r = IR_BIAS; r < x->f->nins; r++)
        if (opt_fp_becomes_narrow(x, r) && !opt_may(x->b->dst)) changed |= opt_fp_mark(x, r);
    if (changed) opt_fp_spread(x);
}

/* ---- building -------------------------------------------------------- */

/* What is in the box of old value r. */
static ir_ref opt_fp_take(struct opt_fp *x, ir_ref r, unsigned ty)
{
    ir_ref v = ir_is_const(r) ? IR_NIL : x->narrow[r - IR_BIAS];

    return v ? v : ir_op1(x->b->dst, IR_FLOW, ty, opt_rebuild_map(x->b, r));
}

static void opt_fp_remember(struct opt_fp *x, ir_ref r, ir_ref v)
{
    x->narrow[r - IR_BIAS] = v;
    opt_rebuild_set(x->b, r, ir_op1(x->b->dst, IR_FBOX, IR_F64, v));
}

/* A store of a float's bits as an integer. */
static bool opt_fp_store(struct opt_fp *x, ir_ref r)
{
    const struct ir_ins *i = &x->f->ins[r], *v = &x->f->ins[i->c];

    if (ir_is_const(i->c) || v->op != IR_BITCAST || !opt_may(x->b->dst)) return false;
    ir_st(x->b->dst, i->aux, opt_rebuild_map(x->b, i->a), (int32_t)i->b,
          opt_rebuild_map(x->b, v->a));
    return true;
}

/* Old value r is boxed and stays in its box: what is in there, too, for narrow PHIs. */
static void opt_fp_open(struct opt_fp *x, ir_ref r)
{
    x->narrow[r - IR_BIAS] = opt_fp_take(x, r, x->inner[r - IR_BIAS]);
}

static bool opt_fp_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_fp *x = ctx;
    const struct ir_ins *i = &x->f->ins[r];
    unsigned inner;
    ir_ref c, v;

    switch (i->op) {
    case IR_PHI:
        if (!opt_fp_becomes_narrow(x, r)) return false;
        x->narrow[r - IR_BIAS] = opt_rebuild_phi(b, r, x->inner[r - IR_BIAS]);
        return true;
    case IR_SEL:
        inner = x->inner[r - IR_BIAS];
        if (inner == OPT_FP_NONE) return false;
        if (!opt_fp_becomes_narrow(x, r)) {
            opt_rebuild_copy(b, r);
            opt_fp_open(x, r);
            return true;
        }
        c = opt_rebuild_map(b, i->a);
        v = opt_fp_take(x, i->b, inner);
        opt_fp_remember(x, r, ir_emit(b->dst, IR_SEL, inner, 0, c, v, opt_fp_take(x, i->c, inner)));
        return true;
    case IR_FUNBOX:
    case IR_FLOW:
        if (opt_fp_inner(x, i->a) != i->ty || !opt_may(b->dst)) return false;
        opt_rebuild_set(b, r, opt_fp_take(x, i->a, i->ty));
        return true;
    case IR_ST: return opt_fp_store(x, r);
    default: return false;
    }
}

static void opt_fp_settle(struct opt_rebuild *b, void *ctx, ir_ref first)
{
    struct opt_fp *x = ctx;

    for (ir_ref r = first; r < x->f->nins; r++) {
        const struct ir_ins *i = &x->f->ins[r];

        if (i->op == IR_BLOCK) continue;
        if (i->op != IR_PHI) return;
        if (x->narrow[r - IR_BIAS])
            opt_rebuild_set(b, r, ir_op1(b->dst, IR_FBOX, IR_F64, x->narrow[r - IR_BIAS]));
        else if (x->inner[r - IR_BIAS] != OPT_FP_NONE)
            opt_fp_open(x, r);
    }
}

/* What a narrow PHI has: out of the box it is where the box is made. */
static ir_ref opt_fp_operand(struct opt_rebuild *b, void *ctx, ir_ref r, ir_ref v)
{
    struct opt_fp *x = ctx;
    ir_ref box;

    if (!ir_is_const(v) && x->narrow[v - IR_BIAS]) return x->narrow[v - IR_BIAS];
    box = opt_rebuild_map(b, v);
    if (ir_is_const(box)) return ir_kf(b->dst, x->inner[r - IR_BIAS], ir_kval(b->dst, box));
    BASE_ASSERT(b->dst->ins[box].op == IR_FBOX);
    return b->dst->ins[box].a;
}

const char *opt_fp_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    unsigned n = src->nins - IR_BIAS;
    struct opt_fp x = {.f = src, .cfg = opt_cfg_new(src, arena)};
    struct opt_rebuild b = {.src = src,
                            .dst = dst,
                            .ctx = &x,
                            .ins = opt_fp_ins,
                            .settle = opt_fp_settle,
                            .operand = opt_fp_operand};

    x.b = &b;
    x.inner = base_arena_alloc(arena, n + 1);
    x.wide = base_arena_alloc(arena, n + 1);
    x.narrow = base_arena_alloc(arena, (n + 1) * sizeof *x.narrow);
    memset(x.wide, 0, n);
    memset(x.narrow, 0, n * sizeof *x.narrow);
    opt_fp_find(&x);
    opt_fp_decide(&x);
    return opt_rebuild_run(&b, arena);
}
