/* opt_flags.c: comparisons that leave no flags. SPDX-License-Identifier: Apache-2.0
 *
 * A guest whose one comparison for "less" is the signalling one makes the quiet comparison of C
 * (isless, and the test for a negative argument before each square root) out of three:
 *
 *     %1 = flget.i64                           %1 = flget.i64
 *     %2 = fcmp.lt.signal %8, 0x0       ->     %2 = fcmp.lt %8, 0x0
 *     flset %1                                 (no flset)
 *     side %2 -> 0x1000                        side %2 -> 0x1000
 *
 * The comparison is a silent one (or a quiet one, if no operand can be a signalling NaN, the one
 * thing that is invalid to that), the flags are at the FLSET what they were at the FLGET, and the
 * FLSET goes. Access to the flags costs a host more than the comparison does.
 *
 * What must hold between FLGET and FLSET, which stand in one block: nothing else has to do with
 * flags, and behind a comparison that may raise some nobody sees them (no access to memory, no way
 * out).
 *
 * Values that are no signalling NaN: what arithmetic made, whatever became of its sign then; a
 * constant that is none; a choice of such.
 *
 * Requires: state-SSA form, keeps it. Behind "fp": a box could have anything in it.
 */
#include "opt/opt_priv.h"

enum { OPT_FLAGS_DEPTH = 4 }; /* of operands looked through */

struct opt_flags {
    const struct ir_func *f;
    bool *change;  /* by ref - IR_BIAS: a comparison to raise nothing, a FLSET to be dropped */
    ir_ref get;    /* the flags are what this FLGET found, but for comparisons */
    ir_ref raises; /* the first of these that may raise some, or IR_NIL */
};

/* ---- signalling NaNs ------------------------------------------------- */

static bool opt_flags_quiet_k(const struct ir_func *f, ir_ref r)
{
    uint64_t v = ir_kval(f, r);

    switch (ir_ty(f, r)) {
    case IR_F64: return v << 1 <= 0xffeull << 52 || v >> 51 & 1;
    case IR_F32: return (uint32_t)v << 1 <= 0xff000000u || v >> 22 & 1;
    default: return false;
    }
}

/* Is r no signalling NaN for certain? */
static bool opt_flags_quiet(const struct ir_func *f, ir_ref r, unsigned depth)
{
    const struct ir_ins *i = &f->ins[r];

    if (ir_is_const(r)) return opt_flags_quiet_k(f, r);
    if (ir_ops[i->op].flags & IR_F_FLAGS) return true;
    if (!depth--) return false;
    switch (i->op) {
    case IR_FNEG:
    case IR_FABS:
    case IR_FCPYSGN: return opt_flags_quiet(f, i->a, depth);
    case IR_SEL: return opt_flags_quiet(f, i->b, depth) && opt_flags_quiet(f, i->c, depth);
    case IR_PHI:
        for (unsigned n = 0; n < i->b; n++)
            if (!opt_flags_quiet(f, f->extra[i->a + 2 * n + 1], depth)) return false;
        return true;
    default: return false;
    }
}

/* ---- what is between FLGET and FLSET --------------------------------- */

/* Does FLSET i write back what x->get read? */
static bool opt_flags_back(const struct opt_flags *x, const struct ir_ins *i)
{
    const struct ir_ins *v = &x->f->ins[i->a];

    if (!x->get || ir_is_const(i->a)) return false;
    return i->a == x->get || (v->op == IR_AND && v->a == x->get && ir_is_k(x->f, v->b, 31));
}

static bool opt_flags_both_quiet(const struct ir_func *f, const struct ir_ins *i)
{
    return opt_flags_quiet(f, i->a, OPT_FLAGS_DEPTH) && opt_flags_quiet(f, i->b, OPT_FLAGS_DEPTH);
}

static bool opt_flags_raises(const struct ir_func *f, const struct ir_ins *i)
{
    if (i->aux & IR_FCMP_SILENT) return false;
    return i->aux & IR_FCMP_SIGNAL || !opt_flags_both_quiet(f, i);
}

static void opt_flags_set(struct opt_flags *x, ir_ref r, struct ir_func *dst)
{
    if (!opt_flags_back(x, &x->f->ins[r]) || !opt_may(dst)) {
        x->get = IR_NIL;
        return;
    }
    x->change[r - IR_BIAS] = true;
    for (ir_ref c = x->raises; c && c < r; c++)
        if (x->f->ins[c].op == IR_FCMP) x->change[c - IR_BIAS] = true;
    x->raises = IR_NIL;
}

static void opt_flags_look(struct opt_flags *x, ir_ref r, struct ir_func *dst)
{
    const struct ir_ins *i = &x->f->ins[r];

    if (i->op == IR_FLGET) {
        x->get = r;
        x->raises = IR_NIL;
    } else if (i->op == IR_FLSET) {
        opt_flags_set(x, r, dst);
    } else if (i->op == IR_FCMP) {
        if (!x->raises && opt_flags_raises(x->f, i)) x->raises = r;
    } else if (i->op == IR_BLOCK || ir_ops[i->op].flags & IR_F_FLAGS || i->op == IR_HELPER ||
               (x->raises && opt_sees_slots(i))) {
        x->get = IR_NIL;
    }
}

/* ---- the pass -------------------------------------------------------- */

static bool opt_flags_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    const struct opt_flags *x = ctx;
    const struct ir_ins *i = &b->src->ins[r];
    unsigned aux;
    ir_ref a, c;

    if (!x->change[r - IR_BIAS]) return false;
    if (i->op == IR_FLSET) return true;
    aux = (i->aux & 15u) | (opt_flags_both_quiet(b->src, i) ? 0u : (unsigned)IR_FCMP_SILENT);
    a = opt_rebuild_map(b, i->a);
    c = opt_rebuild_map(b, i->b);
    opt_rebuild_set(b, r, ir_emit(b->dst, IR_FCMP, i->ty, aux, a, c, IR_NIL));
    return true;
}

const char *opt_flags_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    struct opt_flags x = {.f = src};
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = &x, .ins = opt_flags_ins};

    x.change = base_arena_alloc(arena, src->nins - IR_BIAS + 1);
    memset(x.change, 0, src->nins - IR_BIAS);
    for (ir_ref r = IR_BIAS; r < src->nins; r++) opt_flags_look(&x, r, dst);
    return opt_rebuild_run(&b, arena);
}
