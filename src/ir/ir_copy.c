/* ir_copy.c: a function built again through the builder. SPDX-License-Identifier: Apache-2.0
 *
 * What the builder makes of a function that was parsed: tests compare the text, and run both.
 * References are translated through a map; those to blocks and in PHIs may point forward, and
 * are set when everything has its place.
 */
#include "ir/ir_priv.h"

#include <stdlib.h>

struct ir_copier {
    struct ir_func *dst;
    const struct ir_func *src;
    ir_ref *map; /* by ref - src->nk */
};

static ir_ref *ir_copy_at(const struct ir_copier *x, ir_ref r)
{
    return &x->map[r - x->src->nk];
}

static uint32_t ir_copy_operand(const struct ir_copier *x, const struct ir_ins *i, unsigned n,
                                uint32_t v)
{
    switch (ir_ops[i->op].opd[n]) {
    case IR_OPD_R:
    case IR_OPD_A:
    case IR_OPD_I:
    case IR_OPD_C: return v ? *ir_copy_at(x, v) : IR_NIL;
    default: return v; /* blocks are translated at the end */
    }
}

/* A PHI's list is copied as it is and translated at the end. */
static ir_ref ir_copy_phi(struct ir_copier *x, const struct ir_ins *i)
{
    uint32_t at = ir_extra(x->dst, x->src->extra + i->a, i->b);

    return ir_append(x->dst, ir_head(IR_PHI, i->ty, 0), at, i->b, 0);
}

static ir_ref ir_copy_ins(struct ir_copier *x, const struct ir_ins *i)
{
    struct ir_func *f = x->dst;
    uint32_t c;

    switch (i->op) {
    case IR_IMARK: ir_imark(f, ir_imark_pc(i), i->aux); return IR_NIL;
    case IR_PHI: return ir_copy_phi(x, i);
    case IR_GET: return ir_get(f, i->a);
    case IR_PUT: ir_put(f, i->a, *ir_copy_at(x, i->b)); return IR_NIL;
    default:
        c = ir_copy_operand(x, i, 2, i->c);
        return ir_emit(f, i->op, i->ty, i->aux, ir_copy_operand(x, i, 0, i->a),
                       ir_copy_operand(x, i, 1, i->b), c);
    }
}

static uint32_t ir_copy_block(const struct ir_copier *x, uint32_t b)
{
    return b ? *ir_copy_at(x, b) : IR_NIL;
}

void ir_copy(struct ir_func *dst, const struct ir_func *src)
{
    struct ir_copier x = {dst, src, base_zalloc((src->nins - src->nk + 1) * sizeof(ir_ref))};

    dst->mode = src->mode;
    dst->key = src->key;
    dst->nguest = src->nguest;
    for (ir_ref r = src->nk; r < IR_BIAS; r++)
        *ir_copy_at(&x, r) = ir_k(dst, src->ins[r].op, src->ins[r].ty, ir_kval(src, r));
    for (ir_ref r = IR_BIAS; r < src->nins; r++) *ir_copy_at(&x, r) = ir_copy_ins(&x, &src->ins[r]);
    for (ir_ref r = IR_BIAS; r < dst->nins; r++) {
        struct ir_ins *i = &dst->ins[r];

        if (i->op == IR_JMP) i->a = ir_copy_block(&x, i->a);
        if (i->op == IR_BR) {
            i->b = ir_copy_block(&x, i->b);
            i->c = ir_copy_block(&x, i->c);
        }
        if (i->op != IR_PHI) continue;
        for (uint32_t n = 0; n < 2 * i->b; n++)
            dst->extra[i->a + n] = ir_copy_block(&x, dst->extra[i->a + n]);
    }
    free(x.map);
}
