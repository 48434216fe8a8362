/* opt_gvn.c: equal values are computed once. SPDX-License-Identifier: Apache-2.0
 *
 * The builder shares equal pure operations within a block. This pass does so over
 * the dominator tree: blocks come in an order in which a block's dominators stand
 * before it, so one table by value serves, and an entry counts where its block
 * dominates. What a block's condition says is known in the blocks that only its edge
 * leads to: there the condition is a constant.
 *
 *     b1: %3 = funbox.f32 %1        b1: %3 = funbox.f32 %1
 *         br %2, b4, b9                 br %2, b4, b9
 *     b4: %5 = funbox.f32 %1   ->   b4: (%5 is %3; %2 is 1)
 *
 * Since it goes through the folding builder, it also folds what earlier passes made
 * foldable, branches on constants among it; blocks that are cut off by that are
 * dropped by opt_layout.
 *
 * Operations that accrue floating-point flags stay: what they accrue is wanted where
 * they stand.
 */
#include "opt/opt_priv.h"

enum { GVN_BUCKETS = 1024 };

struct opt_gvn {
    struct ir_func *dst;
    const struct opt_cfg *c;
    unsigned block;         /* present one, by the old function's numbers */
    ir_ref cond[OPT_PARAM_max_blocks]; /* old condition known in a block, or IR_NIL */
    uint8_t known[OPT_PARAM_max_blocks];
    struct opt_gvn_entry {
        ir_ref r;
        uint32_t block, next;
    } *entry;
    uint32_t bucket[GVN_BUCKETS], n;
};

static uint32_t opt_gvn_hash(const struct ir_ins *i)
{
    uint64_t h = ir_head(i->op, i->ty, i->aux) | (uint64_t)i->a << 32;

    return (uint32_t)(base_hash64(h ^ base_hash64(i->b | (uint64_t)i->c << 32)) % GVN_BUCKETS);
}

/* The value of the instruction just added (the last), if a dominating one is equal. */
static ir_ref opt_gvn_find(struct opt_gvn *g, ir_ref r)
{
    const struct ir_ins *i = &g->dst->ins[r];
    uint32_t h = opt_gvn_hash(i);

    for (uint32_t k = g->bucket[h]; k; k = g->entry[k].next) {
        const struct ir_ins *o = &g->dst->ins[g->entry[k].r];

        if (memcmp(o, i, sizeof *o) == 0 && opt_dominates(g->c, g->entry[k].block, g->block))
            return g->entry[k].r;
    }
    g->entry[++g->n] = (struct opt_gvn_entry){r, g->block, g->bucket[h]};
    g->bucket[h] = g->n;
    return IR_NIL;
}

/* Is old value r a condition that the way here has decided? */
static bool opt_gvn_known(const struct opt_gvn *g, ir_ref r, bool *value)
{
    for (unsigned b = g->block; b; b = g->c->block[b].idom) {
        if (g->cond[b] != r)
            continue;
        *value = g->known[b];
        return true;
    }
    return false;
}

static bool opt_gvn_branch(struct opt_rebuild *b, struct opt_gvn *g, const struct ir_ins *i)
{
    bool value;
    ir_ref c = opt_rebuild_map(b, i->a);

    if (ir_is_const(c))
        value = ir_kval(b->dst, c);
    else if (!opt_gvn_known(g, i->a, &value) || !opt_may(b->dst))
        return false;
    ir_emit(b->dst, IR_JMP, IR_NONE, 0, value ? i->b : i->c, 0, 0);
    return true;
}

static bool opt_gvn_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_gvn *g = ctx;
    const struct ir_ins *i = &b->src->ins[r];
    const struct ir_op_info *op = &ir_ops[i->op];
    ir_ref before = b->dst->nins, to, same;

    if (i->op == IR_BLOCK)
        g->block = opt_block_of(g->c, r);
    if (i->op == IR_BR)
        return opt_gvn_branch(b, g, i);
    if (op->cls != IR_CLASS_P || (op->flags & IR_F_FLAGS))
        return false;
    opt_rebuild_copy(b, r);
    to = opt_rebuild_map(b, r);
    if (to != before || b->dst->nins != before + 1)
        return true; /* folded, or more than one */
    same = opt_gvn_find(g, to);
    if (same && opt_may(b->dst)) {
        /* taken back, and so that the builder's table does not find it there */
        b->dst->nins = before;
        memset(&b->dst->ins[before], 0, sizeof b->dst->ins[before]);
        opt_rebuild_set(b, r, same);
    }
    return true;
}

/* The condition that holds in a block because of the one edge that leads to it. */
static void opt_gvn_conditions(struct opt_gvn *g, const struct ir_func *src)
{
    for (unsigned b = 1; b < g->c->n; b++) {
        const struct opt_block *k = &g->c->block[b];
        const struct ir_ins *i;

        g->cond[b] = IR_NIL;
        if (k->npred != 1)
            continue;
        i = &src->ins[g->c->block[k->pred[0]].last];
        if (i->op != IR_BR || i->b == i->c)
            continue;
        g->cond[b] = i->a;
        g->known[b] = opt_block_at(g->c, i->b) == b;
    }
}

/* A PHI must not have operands from blocks that do not jump here any more: where a
 * branch became a jump, its other target's PHIs lose one. */
static void opt_gvn_cut(struct ir_func *f, struct base_arena *arena)
{
    struct opt_cfg *c = opt_cfg_edges(f, arena);

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        struct ir_ins *i = &f->ins[r];
        const struct opt_block *k = &c->block[opt_block_of(c, r)];
        uint32_t n = 0, *pair = f->extra + i->a;

        if (i->op != IR_PHI)
            continue;
        for (uint32_t o = 0; o < i->b; o++) {
            bool comes = false;

            for (unsigned p = 0; p < k->npred; p++)
                comes |= k->pred[p] == opt_block_at(c, pair[2 * o]);
            if (!comes)
                continue;
            pair[2 * n] = pair[2 * o];
            pair[2 * n++ + 1] = pair[2 * o + 1];
        }
        i->b = n;
    }
}

const char *opt_gvn_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    struct opt_gvn *g = base_arena_alloc(arena, sizeof *g);
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = g, .ins = opt_gvn_ins};
    const char *why;

    memset(g->bucket, 0, sizeof g->bucket);
    g->dst = dst;
    g->n = 0;
    g->block = 0;
    g->c = opt_cfg_new(src, arena);
    g->entry = base_arena_alloc(arena, (src->nins - IR_BIAS + 2) * sizeof *g->entry);
    opt_gvn_conditions(g, src);
    why = opt_rebuild_run(&b, arena);
    if (!why)
        opt_gvn_cut(dst, arena);
    return why;
}
