/* x64_carry.c: sums with a carry. SPDX-License-Identifier: Apache-2.0
 *
 * A guest without flags makes a carry by a comparison, "the sum is less than what was added", as
 * a number and adds that:
 *
 *     %3 = cmp.ltu.i64 %1, %2
 *     %4 = zext.i64 %3              cmp r1, r2
 *     %5 = add.i64 %0, %4           adc r0, 0
 *
 * and takes a borrow away by sbb. The comparison is made where its result is added, so its
 * operands have to be there still; it is done if nothing else wants the number, a map between the
 * two above all: else it would be computed for that, and the comparison made twice.
 */
#include "host/x64/x64_t2.h"

enum { X64_CARRY_FAR = 32 }; /* instructions between, at most */

/* Nobody has asked for r, which one instruction uses. */
static bool x64_carry_alone(const struct x64_t1 *t, ir_ref r)
{
    const struct x64_val *v = &t->val[r];

    return v->reg == X64_NONE && v->uses == 1 && !(v->flags & X64_V_SPILL);
}

/* Can anything see r in a slot? Often it is the one that the sum goes to. */
static bool x64_carry_seen(const struct x64_t1 *t, ir_ref r)
{
    int slot = -1;

    for (ir_ref k = r + 1; k < t->at || slot >= 0; k++) {
        const struct ir_ins *i = x64_ins(t, k);

        if (k - r > X64_CARRY_FAR || k == t->f->nins)
            return true;
        if (i->op == IR_PUT && i->b == r && slot >= 0)
            return true; /* in two slots */
        if (i->op == IR_PUT && i->b == r)
            slot = (int)i->a;
        else if (i->op == IR_PUT && (int)i->a == slot)
            slot = -1;
        if (i->op == IR_BLOCK || (slot >= 0 && ((ir_ops[i->op].flags & IR_F_FAULT) ||
                                                i->op == IR_SIDE || i->op == IR_POLL ||
                                                i->op == IR_HELPER)))
            return true;
    }
    return false;
}

static bool x64_is_carry(const struct x64_t1 *t, ir_ref r)
{
    const struct ir_ins *z = x64_ins(t, r), *c = x64_ins(t, z->a);
    unsigned ty;

    if (ir_is_const(r) || z->op != IR_ZEXT || ir_is_const(z->a) || c->op != IR_CMP ||
        c->aux != IR_LTU || !x64_carry_alone(t, r) || !x64_carry_alone(t, z->a))
        return false;
    ty = x64_ins(t, c->a)->ty;
    return (ty == IR_I32 || ty == IR_I64) && !x64_carry_seen(t, r);
}

bool x64_carry(struct x64_t1 *t, unsigned alu, unsigned d, int w, ir_ref x, ir_ref r)
{
    unsigned rx;

    if (ir_is_const(x) || x == r || !x64_is_carry(t, r))
        return false;
    rx = x64_use_in(t, x, d);
    x64_alu_ri(&t->out, alu, w, d, 0);
    x64_mov_reg(t, d, rx); /* a move keeps the flags */
    t->lock |= 1u << d;
    x64_emit_compare(t, x64_ins(t, r)->a);
    return true;
}
