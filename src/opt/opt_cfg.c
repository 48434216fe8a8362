/* opt_cfg.c: blocks, edges, dominators, loops. SPDX-License-Identifier: Apache-2.0 */
#include "opt/opt_priv.h"

static void opt_find_blocks(struct opt_cfg *c, const struct ir_func *f, struct base_arena *arena)
{
    unsigned n = 0;

    for (ir_ref r = IR_BIAS; r < f->nins; r++)
        n += r == IR_BIAS || f->ins[r].op == IR_BLOCK;
    c->block = base_arena_alloc(arena, n * sizeof *c->block);
    memset(c->block, 0, n * sizeof *c->block);
    c->of = base_arena_alloc(arena, (f->nins - IR_BIAS + 1) * sizeof *c->of);
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        if (r == IR_BIAS || f->ins[r].op == IR_BLOCK)
            c->block[c->n++].first = r;
        c->of[r - IR_BIAS] = c->n - 1;
        c->block[c->n - 1].last = r;
    }
}

struct opt_cfg *opt_cfg_edges(const struct ir_func *f, struct base_arena *arena)
{
    struct opt_cfg *c = base_arena_alloc(arena, sizeof *c);
    unsigned *pred;

    memset(c, 0, sizeof *c);
    opt_find_blocks(c, f, arena);
    for (unsigned b = 0; b < c->n; b++) {
        struct opt_block *k = &c->block[b];
        const struct ir_ins *i = &f->ins[k->last];

        if (i->op == IR_JMP)
            k->succ[k->nsucc++] = c->of[i->a - IR_BIAS];
        if (i->op == IR_BR) {
            k->succ[k->nsucc++] = c->of[i->b - IR_BIAS];
            if (i->c != i->b)
                k->succ[k->nsucc++] = c->of[i->c - IR_BIAS];
        }
        for (unsigned e = 0; e < k->nsucc; e++)
            c->block[k->succ[e]].npred++;
        k->loop = OPT_NONE;
    }
    pred = base_arena_alloc(arena, 2 * c->n * sizeof *pred);
    for (unsigned b = 0; b < c->n; b++) {
        c->block[b].pred = pred;
        pred += c->block[b].npred;
        c->block[b].npred = 0;
    }
    for (unsigned b = 0; b < c->n; b++) {
        for (unsigned e = 0; e < c->block[b].nsucc; e++) {
            struct opt_block *s = &c->block[c->block[b].succ[e]];

            s->pred[s->npred++] = b;
        }
    }
    return c;
}

static unsigned opt_common(const struct opt_cfg *c, unsigned a, unsigned b)
{
    while (a != b) {
        while (a > b)
            a = c->block[a].idom;
        while (b > a)
            b = c->block[b].idom;
    }
    return a;
}

struct opt_cfg *opt_cfg_new(const struct ir_func *f, struct base_arena *arena)
{
    struct opt_cfg *c = opt_cfg_edges(f, arena);

    /* forward predecessors decide: in a reducible graph a header dominates its latches */
    for (unsigned b = 1; b < c->n; b++) {
        struct opt_block *k = &c->block[b];
        bool first = true;

        for (unsigned p = 0; p < k->npred; p++) {
            if (k->pred[p] >= b) {
                k->header = true;
                if (k->pred[p] > k->latch)
                    k->latch = k->pred[p];
                continue;
            }
            k->idom = first ? k->pred[p] : opt_common(c, k->idom, k->pred[p]);
            first = false;
        }
    }
    /* the last block that goes back may be a header in it, whose loop ends later */
    for (unsigned h = c->n; h--;)
        for (unsigned b = h + 1; c->block[h].header && b <= c->block[h].latch; b++)
            if (c->block[b].header && c->block[b].latch > c->block[h].latch)
                c->block[h].latch = c->block[b].latch;
    for (unsigned h = 0; h < c->n; h++) {
        for (unsigned b = h; c->block[h].header && b <= c->block[h].latch; b++) {
            c->block[b].depth++;
            c->block[b].loop = h;
        }
    }
    return c;
}
