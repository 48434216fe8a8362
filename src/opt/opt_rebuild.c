/* opt_rebuild.c: a pass that writes the function anew. SPDX-License-Identifier: Apache-2.0 */
#include "opt/opt_priv.h"

static void opt_rebuild_note(struct opt_rebuild *b, ir_ref from, ir_ref to, bool own)
{
    b->phis[b->nphis++] = (struct opt_rebuilt_phi){from, to, own};
}

/* PHIs get the old list for a start; the builder never shares them. */
ir_ref opt_rebuild_phi(struct opt_rebuild *b, ir_ref r, unsigned type)
{
    const struct ir_ins *i = &b->src->ins[r];
    ir_ref to = ir_phi(b->dst, type, b->src->extra + i->a, i->b);

    opt_rebuild_note(b, r, to, true);
    return to;
}

static ir_ref opt_rebuild_operand(const struct opt_rebuild *b, const struct ir_ins *i, unsigned n,
                                  uint32_t v)
{
    unsigned kind = ir_ops[i->op].opd[n];

    return kind >= IR_OPD_R && kind <= IR_OPD_C ? opt_rebuild_map(b, v) : v;
}

void opt_rebuild_copy(struct opt_rebuild *b, ir_ref r)
{
    const struct ir_ins *i = &b->src->ins[r];
    struct ir_func *f = b->dst;
    ir_ref to = IR_NIL, x, y, z;

    switch (i->op) {
    case IR_IMARK: ir_imark(f, ir_imark_pc(i), i->aux); break;
    case IR_GET: to = ir_get(f, i->a); break;
    case IR_PUT: ir_put(f, i->a, opt_rebuild_map(b, i->b)); break;
    case IR_PHI:
        to = ir_phi(f, i->ty, b->src->extra + i->a, i->b);
        opt_rebuild_note(b, r, to, false);
        break;
    default:
        x = opt_rebuild_operand(b, i, 0, i->a);
        y = opt_rebuild_operand(b, i, 1, i->b);
        z = opt_rebuild_operand(b, i, 2, i->c);
        to = ir_emit(f, i->op, i->ty, i->aux, x, y, z);
        break;
    }
    opt_rebuild_set(b, r, to);
}

static void opt_rebuild_jumps(struct opt_rebuild *b)
{
    for (ir_ref r = IR_BIAS; r < b->dst->nins; r++) {
        struct ir_ins *i = &b->dst->ins[r];

        if (i->op == IR_JMP) i->a = opt_rebuild_map(b, i->a);
        if (i->op != IR_BR) continue;
        i->b = opt_rebuild_map(b, i->b);
        i->c = opt_rebuild_map(b, i->c);
    }
}

static void opt_rebuild_phis(struct opt_rebuild *b)
{
    for (unsigned k = 0; k < b->nphis; k++) {
        const struct opt_rebuilt_phi *p = &b->phis[k];
        const struct ir_ins *i = &b->src->ins[p->from];

        for (unsigned n = 0; n < i->b; n++) {
            const uint32_t *from = b->src->extra + i->a + 2 * n;
            ir_ref v = p->own && b->operand ? b->operand(b, b->ctx, p->from, from[1])
                                            : opt_rebuild_map(b, from[1]);
            uint32_t *to = b->dst->extra + b->dst->ins[p->to].a + 2 * n;

            to[0] = from[0] ? opt_rebuild_map(b, from[0]) : IR_NIL;
            to[1] = v;
        }
    }
}

const char *opt_rebuild_run(struct opt_rebuild *b, struct base_arena *arena)
{
    const struct ir_func *src = b->src;
    ir_ref first = IR_BIAS;
    bool settled = false;
    unsigned nphis = 0;

    b->map = base_arena_alloc(arena, (src->nins - src->nk + 1) * sizeof *b->map);
    memset(b->map, 0, (src->nins - src->nk) * sizeof *b->map);
    for (ir_ref r = IR_BIAS; r < src->nins; r++) nphis += src->ins[r].op == IR_PHI;
    b->phis = base_arena_alloc(arena, (nphis + 1) * sizeof *b->phis);
    b->nphis = 0;
    b->dst->mode = src->mode;
    b->dst->key = src->key;
    b->dst->nguest = src->nguest;
    for (ir_ref r = src->nk; r < IR_BIAS; r++) opt_rebuild_set(b, r, ir_k_copy(b->dst, src, r));
    for (ir_ref r = IR_BIAS; r < src->nins; r++) {
        unsigned op = src->ins[r].op;

        if (ir_func_full(b->dst)) return "too many values";
        if (op == IR_BLOCK) {
            first = r;
            settled = false;
        }
        if (!settled && op != IR_BLOCK && op != IR_PHI && op != IR_GET) {
            settled = true;
            if (b->settle) b->settle(b, b->ctx, first);
        }
        if (!b->ins(b, b->ctx, r)) opt_rebuild_copy(b, r);
    }
    opt_rebuild_jumps(b);
    opt_rebuild_phis(b);
    return NULL;
}
