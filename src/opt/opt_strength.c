/* opt_strength.c: cheaper ways to say the same. SPDX-License-Identifier: Apache-2.0
 *
 * What compilers write for a machine that lacks an instruction, put back into the one operation:
 *
 *     x << n | x >> (w - n)                     rol x, n
 *     x << n | x >> -n                          rol x, n    (n a value)
 *     x << n >> n                               x & (ones >> n), if the mask is 31 bits at most
 *     (x << n) < 0,  (x << n) >= 0              x & bit == 0 or not: a test of one bit
 *     x >> n & 1 == 0 or not                    the same
 *     x & 0xffffffff                            zext (trunc.i32 x): no host has that constant short
 *     x & -c,  x & (c - 1)                      sel c, x, 0;  sel c, 0, x    (c an i1 as a number)
 *     sel c, x, 0 | sel c, 0, y                 sel c, x, y
 *     sel a < b, a, b                           min a, b; and the like
 *     mul x, y; ...; mulhu x, y                 the high half behind the low one: one instruction
 *
 * One definition deep or two, while the function is built anew; so a rule sees operands that are
 * simplified already. A rule must not need more instructions than it replaces when the replaced
 * ones stay because something else uses them.
 *
 * Requires: nothing. Keeps state-SSA form.
 */
#include "opt/opt_priv.h"

struct opt_strength {
    struct opt_rebuild *b;
    struct ir_func *f; /* the new function */
};

/* ---- looking at definitions ------------------------------------------ */

static const struct ir_ins *opt_def(const struct ir_func *f, ir_ref r)
{
    return &f->ins[r];
}
static bool opt_is_k(const struct ir_func *f, ir_ref r)
{
    return ir_is_const(r) && r && f->ins[r].op == IR_KI;
}
/* r is op of something and a constant, which goes into *k. */
static bool opt_is_op_k(const struct ir_func *f, ir_ref r, unsigned op, uint64_t *k)
{
    const struct ir_ins *i = opt_def(f, r);

    if (ir_is_const(r) || i->op != op || !opt_is_k(f, i->b)) return false;
    *k = ir_kval(f, i->b);
    return true;
}
static uint64_t opt_ones(unsigned ty)
{
    return ~(uint64_t)0 >> (64 - ir_type_bits(ty));
}

/* ---- rotations ------------------------------------------------------- */

/* b is minus a, modulo the width: how far the other half is shifted. */
static bool opt_is_opposite(const struct ir_func *f, ir_ref a, ir_ref b, unsigned bits)
{
    const struct ir_ins *i = opt_def(f, b);

    if (ir_is_const(b)) return false;
    if (i->op == IR_NEG) return i->a == a;
    return i->op == IR_SUB && i->b == a && opt_is_k(f, i->a) &&
           (ir_kval(f, i->a) & (bits - 1)) == 0;
}

/* left << n, right >> the rest, of one value. */
static ir_ref opt_rotation(struct ir_func *f, unsigned op, unsigned ty, ir_ref left, ir_ref right)
{
    const struct ir_ins *l = opt_def(f, left), *r = opt_def(f, right);
    unsigned bits = ir_type_bits(ty);

    if (ir_is_const(left) || ir_is_const(right) || l->op != IR_SHL || r->op != IR_SHR ||
        l->a != r->a)
        return IR_NIL;
    if (opt_is_k(f, l->b) && opt_is_k(f, r->b)) {
        if (ir_kval(f, l->b) + ir_kval(f, r->b) != bits) return IR_NIL;
        return ir_op2(f, IR_ROL, ty, l->a, l->b);
    }
    if (op != IR_OR) return IR_NIL; /* by 0 both halves are all of it */
    if (opt_is_opposite(f, l->b, r->b, bits)) return ir_op2(f, IR_ROL, ty, l->a, l->b);
    if (opt_is_opposite(f, r->b, l->b, bits)) return ir_op2(f, IR_ROR, ty, r->a, r->b);
    return IR_NIL;
}

/* ---- conditions as numbers ------------------------------------------- */

/* The i1 that r is the number of (1 or 0), or IR_NIL. */
static ir_ref opt_as_condition(const struct ir_func *f, ir_ref r)
{
    const struct ir_ins *i = opt_def(f, r);

    return !ir_is_const(r) && i->op == IR_ZEXT && ir_ty(f, i->a) == IR_I1 ? i->a : IR_NIL;
}

/* x & m, where m is all ones or zeros by a condition. */
static ir_ref opt_mask(struct ir_func *f, unsigned ty, ir_ref x, ir_ref m)
{
    const struct ir_ins *i = opt_def(f, m);
    ir_ref c = IR_NIL, zero;
    bool opposite = false;

    if (ir_is_const(m)) return IR_NIL;
    if (i->op == IR_NEG) c = opt_as_condition(f, i->a);
    if (i->op == IR_SEXT && ir_ty(f, i->a) == IR_I1) c = i->a;
    if (i->op == IR_ADD && opt_is_k(f, i->b) && ir_kval(f, i->b) == opt_ones(ty)) {
        c = opt_as_condition(f, i->a);
        opposite = true;
    }
    if (!c) return IR_NIL;
    zero = ir_ki(f, ty, 0);
    return ir_emit(f, IR_SEL, ty, 0, c, opposite ? zero : x, opposite ? x : zero);
}

/* One of two: sel c, x, 0 with sel c, 0, y. */
static ir_ref opt_either(struct ir_func *f, unsigned ty, ir_ref a, ir_ref b)
{
    const struct ir_ins *i = opt_def(f, a), *j = opt_def(f, b);

    if (ir_is_const(a) || ir_is_const(b) || i->op != IR_SEL || j->op != IR_SEL || i->a != j->a)
        return IR_NIL;
    if (ir_is_k(f, i->c, 0) && ir_is_k(f, j->b, 0))
        return ir_emit(f, IR_SEL, ty, 0, i->a, i->b, j->c);
    if (ir_is_k(f, i->b, 0) && ir_is_k(f, j->c, 0))
        return ir_emit(f, IR_SEL, ty, 0, i->a, j->b, i->c);
    return IR_NIL;
}

static ir_ref opt_extreme(struct ir_func *f, unsigned ty, ir_ref c, ir_ref x, ir_ref y)
{
    const struct ir_ins *i = opt_def(f, c);
    unsigned cc = i->aux, op;
    bool less;

    if (ir_is_const(c) || i->op != IR_CMP || !ir_is_int(ty)) return IR_NIL;
    if (!(i->a == x && i->b == y) && !(i->a == y && i->b == x)) return IR_NIL;
    less = cc == IR_LTS || cc == IR_LES || cc == IR_LTU || cc == IR_LEU;
    if (cc <= IR_NE) return IR_NIL;
    less ^= i->a == y; /* y < x ? x : y */
    op = cc >= IR_LTU ? (less ? IR_MINU : IR_MAXU) : (less ? IR_MINS : IR_MAXS);
    return ir_op2(f, op, ty, x, y);
}

/* ---- tests of one bit ------------------------------------------------ */

/* Of the low 31, which an instruction's own constant reaches. */
static ir_ref opt_test(struct ir_func *f, unsigned ty, ir_ref x, unsigned bit, bool set)
{
    ir_ref v;

    if (bit > 30) return IR_NIL;
    v = ir_op2(f, IR_AND, ty, x, ir_ki(f, ty, (uint64_t)1 << bit));
    return ir_cmp(f, set ? IR_NE : IR_EQ, v, ir_ki(f, ty, 0));
}

static ir_ref opt_compare(struct ir_func *f, unsigned cc, ir_ref a, ir_ref b)
{
    unsigned ty = ir_ty(f, a), bits = ir_type_bits(ty);
    uint64_t n, k;

    if (!opt_is_k(f, b) || ir_kval(f, b) != 0) return IR_NIL;
    if ((cc == IR_LTS || cc == IR_GES) && opt_is_op_k(f, a, IR_SHL, &n) && n)
        return opt_test(f, ty, opt_def(f, a)->a, bits - 1 - (unsigned)n, cc == IR_LTS);
    if (cc <= IR_NE && opt_is_op_k(f, a, IR_AND, &k) && k == 1 &&
        opt_is_op_k(f, opt_def(f, a)->a, IR_SHR, &n))
        return opt_test(f, ty, opt_def(f, opt_def(f, a)->a)->a, (unsigned)n, cc == IR_NE);
    return IR_NIL;
}

/* ---- masks ----------------------------------------------------------- */

/* The low bits by a shift there and back. */
static ir_ref opt_low_bits(struct ir_func *f, unsigned ty, ir_ref a, ir_ref b)
{
    uint64_t up;

    if (!opt_is_k(f, b) || !opt_is_op_k(f, a, IR_SHL, &up) || up != ir_kval(f, b)) return IR_NIL;
    if (opt_ones(ty) >> up > 0x7fffffff) return IR_NIL;
    return ir_op2(f, IR_AND, ty, opt_def(f, a)->a, ir_ki(f, ty, opt_ones(ty) >> up));
}

/* ---- both halves of a product ---------------------------------------- */

enum { OPT_PRODUCT_FAR = 64 };

/* The MULHU of what MUL r multiplies that follows in its block, or IR_NIL. */
static ir_ref opt_high_half(const struct ir_func *f, ir_ref r)
{
    const struct ir_ins *i = &f->ins[r];

    if (i->ty != IR_I64 || ir_is_const(i->b)) return IR_NIL;
    for (ir_ref n = r + 1; n < f->nins && n - r < OPT_PRODUCT_FAR; n++) {
        const struct ir_ins *o = &f->ins[n];

        if (o->op == IR_BLOCK) return IR_NIL;
        if (o->op == IR_MULHU && o->ty == i->ty &&
            ((o->a == i->a && o->b == i->b) || (o->a == i->b && o->b == i->a)))
            return n;
    }
    return IR_NIL;
}

/* The high half is built behind the low one; when its turn comes the builder finds it. */
static bool opt_product(struct opt_rebuild *b, ir_ref r)
{
    ir_ref high = opt_high_half(b->src, r);
    const struct ir_ins *i = &b->src->ins[high];

    if (!high || !opt_may(b->dst)) return false;
    opt_rebuild_copy(b, r);
    ir_op2(b->dst, IR_MULHU, IR_I64, opt_rebuild_map(b, i->a), opt_rebuild_map(b, i->b));
    return true;
}

/* ---- the pass -------------------------------------------------------- */

/* What instruction i with new operands a, b, c is better said as, or IR_NIL. */
static ir_ref opt_strength_rule(struct ir_func *f, const struct ir_ins *i, ir_ref a, ir_ref b,
                                ir_ref c)
{
    ir_ref r = IR_NIL;

    switch (i->op) {
    case IR_OR:
    case IR_ADD:
    case IR_XOR:
        r = opt_rotation(f, i->op, i->ty, a, b);
        if (!r) r = opt_rotation(f, i->op, i->ty, b, a);
        if (!r) r = opt_either(f, i->ty, a, b);
        return r;
    case IR_AND: r = opt_mask(f, i->ty, a, b); return r ? r : opt_mask(f, i->ty, b, a);
    case IR_SHR: return opt_low_bits(f, i->ty, a, b);
    case IR_CMP: return opt_compare(f, i->aux, a, b);
    case IR_SEL: return opt_extreme(f, i->ty, a, b, c);
    default: return IR_NIL;
    }
}

static bool opt_strength_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    const struct ir_ins *i = &b->src->ins[r];
    ir_ref v;

    switch (i->op) {
    case IR_MUL: return opt_product(b, r);
    case IR_OR:
    case IR_ADD:
    case IR_XOR:
    case IR_AND:
    case IR_SHR:
    case IR_CMP:
    case IR_SEL: break;
    default: return false;
    }
    if ((i->ty == IR_I1 && i->op != IR_CMP) || !opt_might(b->dst)) return false;
    v = opt_strength_rule(b->dst, i, opt_rebuild_map(b, i->a), opt_rebuild_map(b, i->b),
                          i->c ? opt_rebuild_map(b, i->c) : IR_NIL);
    if (!v || !opt_may(b->dst)) return false;
    opt_rebuild_set(b, r, v);
    return true;
}

const char *opt_strength_pass(struct ir_func *dst, const struct ir_func *src,
                              struct base_arena *arena)
{
    struct opt_rebuild b = {.src = src, .dst = dst, .ins = opt_strength_ins};

    return opt_rebuild_run(&b, arena);
}
