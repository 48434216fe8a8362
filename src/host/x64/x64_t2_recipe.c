/* x64_t2_recipe.c: tier 2, values that are made where they are asked for.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Much of what guest code computes is dead but for the faults that may come: the halves of a
 * rotation, an index that has been scaled. A value that only slots want is not computed in hot
 * code if it can be had from what is there: maps and exits then begin with its operand and
 * do the rest themselves. Two steps, either may be missing:
 *
 *     recipe  an operation with a constant     %3 = shl.i32 %1, 26
 *     how     an extension or a box            %4 = sext.i64 %3     put s4, %4
 *
 * The recipe is worth it if its value is not computed for somebody else, for then its operand
 * is alive in its place; or if the operand is in a register or has a place here anyway.
 */
#include "host/x64/x64_t2.h"

/* Does an instruction of the region compute with r? An extension that itself nobody wants is
 * none. */
static bool x64_t2_computed(const struct x64_t1 *t, ir_ref r)
{
    const struct x64_t2 *x = t->t2;

    for (uint32_t n = x->use_first[X64_USE_OF(r)]; n; n = x->use[n].next) {
        ir_ref at = x->use[n].at;
        unsigned op = x64_ins(t, at)->op;

        if ((op != IR_SEXT && op != IR_ZEXT) || t->val[at].uses ||
            t->val[at].reg != X64_NONE || (t->val[at].flags & X64_V_SPILL))
            return true;
    }
    return false;
}

static bool x64_t2_is_recipe(const struct x64_t1 *t, ir_ref r)
{
    const struct ir_ins *i = x64_ins(t, r);
    int32_t imm;

    if (i->ty != IR_I32 && i->ty != IR_I64)
        return false;
    switch (i->op) {
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
        if (!x64_is_number(t, i->b))
            return false;
        break;
    case IR_ADD:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
        if (!ir_is_const(i->b) || !x64_imm32(t, i->b, i->ty == IR_I64, &imm))
            return false;
        break;
    default: return false;
    }
    return !ir_is_const(x64_src(t, i->a));
}

/* Is r, which has no register and no place here, to be made from its operand? */
static bool x64_t2_cooked(const struct x64_t1 *t, ir_ref r)
{
    if (t->val[r].reg != X64_NONE || (t->val[r].flags & X64_V_SPILL) || !x64_t2_is_recipe(t, r))
        return false;
    const struct x64_val *a = &t->val[x64_src(t, x64_ins(t, r)->a)];
    return a->reg != X64_NONE || (a->flags & X64_V_SPILL) || !x64_t2_computed(t, r);
}

/* An extension or a box that nobody computed: its operand, and what to do. */
static ir_ref x64_t2_unextended(const struct x64_t1 *t, ir_ref r, enum jit_how *how)
{
    const struct ir_ins *i = x64_ins(t, r);
    unsigned from;
    ir_ref a;

    if (t->val[r].reg != X64_NONE || (t->val[r].flags & X64_V_SPILL))
        return r;
    if (i->op != IR_SEXT && i->op != IR_ZEXT && i->op != IR_FBOX)
        return r;
    a = ir_is_int(x64_ins(t, i->a)->ty) ? x64_src(t, i->a) : i->a;
    if (ir_is_const(a))
        return r;
    from = x64_ins(t, i->a)->ty;
    if (i->op == IR_FBOX && from == IR_F32)
        *how = JIT_HOW_BOX32;
    else if (i->op == IR_SEXT && i->ty == IR_I64 && from == IR_I32)
        *how = JIT_HOW_SEXT32;
    else if (i->op == IR_ZEXT && i->ty == IR_I64 && (from == IR_I32 || from == IR_I1))
        *how = JIT_HOW_ZEXT32;
    else if (i->op == IR_ZEXT && i->ty == IR_I64 && from == IR_I8)
        *how = JIT_HOW_ZEXT8;
    else
        return r;
    return a;
}

ir_ref x64_t2_strip(const struct x64_t1 *t, ir_ref r, enum jit_how *how, ir_ref *recipe)
{
    ir_ref a = x64_t2_unextended(t, r, how);

    *recipe = IR_NIL;
    /* the operation's type must be what is extended: not what a TRUNC in between is of */
    if (a != r && (*how == JIT_HOW_BOX32 || *how == JIT_HOW_ZEXT8 || a != x64_ins(t, r)->a ||
                   x64_ins(t, a)->ty != IR_I32))
        return a;
    if (a >= X64_ENTRY || ir_is_const(a) || !x64_t2_cooked(t, a))
        return a;
    *recipe = a;
    return x64_src(t, x64_ins(t, a)->a);
}

struct jit_recipe x64_t2_jit_recipe(const struct x64_t1 *t, ir_ref recipe)
{
    const struct ir_ins *i = x64_ins(t, recipe);

    return (struct jit_recipe){.op = i->op, .ty = i->ty, .k = ir_kval(t->f, i->b)};
}

/* ---- emission --------------------------------------------------------- */

/* The operation as one of x86's with an immediate: a shift (/digit of c1), else an ALU one. */
static bool x64_t2_shift(const struct ir_ins *i, unsigned *digit)
{
    switch (i->op) {
    case IR_SHL: *digit = SH_SHL; return true;
    case IR_SHR: *digit = SH_SHR; return true;
    case IR_SAR: *digit = SH_SAR; return true;
    case IR_ROL: *digit = SH_ROL; return true;
    case IR_ADD: *digit = ALU_ADD; return false;
    case IR_AND: *digit = ALU_AND; return false;
    case IR_OR: *digit = ALU_OR; return false;
    default: *digit = ALU_XOR; return false;
    }
}

static unsigned x64_t2_amount(const struct x64_t1 *t, const struct ir_ins *i)
{
    return (unsigned)ir_kval(t->f, i->b) & (i->ty == IR_I64 ? 63 : 31);
}

void x64_t2_cook_reg(struct x64_t1 *t, unsigned reg, ir_ref recipe)
{
    const struct ir_ins *i = x64_ins(t, recipe);
    int w = i->ty == IR_I64;
    unsigned digit;

    x64_log(t, X64_E_COOK, reg, 0, recipe, 0);
    if (x64_t2_shift(i, &digit))
        x64_shift_i(&t->out, digit, w, reg, x64_t2_amount(t, i));
    else
        x64_alu_ri(&t->out, digit, w, reg, (int32_t)ir_kval(t->f, i->b));
}

void x64_t2_cook_mem(struct x64_t1 *t, struct x64_mem m, ir_ref recipe)
{
    const struct ir_ins *i = x64_ins(t, recipe);
    int w = i->ty == IR_I64;
    unsigned digit;

    if (x64_t2_shift(i, &digit)) {
        x64_b(&t->out, x64_t2_amount(t, i));
        x64_rm(&t->out, 0xc1, w, digit, m);
    } else {
        x64_alu_mi(&t->out, digit, w, m, (int32_t)ir_kval(t->f, i->b));
    }
}
