/* opt_layout.c: blocks in the order every later pass counts on.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Reverse post-order, so that a value's block stands before the blocks it
 * dominates, and each loop contiguous, so that "in the loop" is a range: blocks are
 * taken in reverse post-order, and a header brings all of its loop with it. What is
 * moved behind a loop by that is only what the loop exits to.
 *
 * Blocks that cannot be reached are dropped. A graph that is not reducible is given
 * up: the former does not make any.
 */
#include "opt/opt_priv.h"

struct opt_layout {
    const struct opt_cfg *c;
    unsigned *order, n;    /* reverse post-order */
    unsigned *place;       /* of each block in it; OPT_NONE: not reached */
    unsigned *idom;        /* by place */
    unsigned *out, nout;   /* the order to come */
    uint64_t *member;      /* by header's place: bit set of places */
    unsigned words;
    bool *done;            /* by place */
};

/* Depth first, with a stack of its own: a block and which successor is next. */
static void opt_order(struct opt_layout *l, struct base_arena *arena)
{
    unsigned n = l->c->n, *stack = base_arena_alloc(arena, 2 * n * sizeof *stack), top = 0;
    unsigned *post = base_arena_alloc(arena, n * sizeof *post), npost = 0;
    bool *seen = base_arena_alloc(arena, n);

    memset(seen, 0, n);
    stack[top++] = 0;
    stack[top++] = 0;
    seen[0] = true;
    while (top) {
        unsigned b = stack[top - 2], e = stack[top - 1]++;
        const struct opt_block *k = &l->c->block[b];

        if (e == k->nsucc) {
            post[npost++] = b;
            top -= 2;
        } else {
            /* the last successor first: the first then follows its block */
            unsigned s = k->succ[k->nsucc - 1 - e];

            if (seen[s])
                continue;
            seen[s] = true;
            stack[top++] = s;
            stack[top++] = 0;
        }
    }
    for (unsigned b = 0; b < n; b++)
        l->place[b] = OPT_NONE;
    while (npost) {
        l->place[post[npost - 1]] = l->n;
        l->order[l->n++] = post[--npost];
    }
}

static unsigned opt_meet(const struct opt_layout *l, unsigned a, unsigned b)
{
    while (a != b) {
        while (a > b)
            a = l->idom[a];
        while (b > a)
            b = l->idom[b];
    }
    return a;
}

/* Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm. */
static void opt_dominators(struct opt_layout *l)
{
    bool change = true;

    for (unsigned p = 0; p < l->n; p++)
        l->idom[p] = p ? OPT_NONE : 0;
    while (change) {
        change = false;
        for (unsigned p = 1; p < l->n; p++) {
            const struct opt_block *k = &l->c->block[l->order[p]];
            unsigned d = OPT_NONE;

            for (unsigned e = 0; e < k->npred; e++) {
                unsigned q = l->place[k->pred[e]];

                if (q != OPT_NONE && l->idom[q] != OPT_NONE)
                    d = d == OPT_NONE ? q : opt_meet(l, d, q);
            }
            change |= d != l->idom[p];
            l->idom[p] = d;
        }
    }
}

/* Members of the loops, from their back edges upwards; false: an edge goes back to
 * what does not dominate it. */
static bool opt_loops(struct opt_layout *l, struct base_arena *arena)
{
    unsigned *work = base_arena_alloc(arena, (l->n + 1) * sizeof *work);

    l->words = (l->n + 63) / 64;
    l->member = base_arena_alloc(arena, l->n * l->words * sizeof *l->member);
    memset(l->member, 0, l->n * l->words * sizeof *l->member);
    for (unsigned p = 0; p < l->n; p++) {
        const struct opt_block *k = &l->c->block[l->order[p]];

        for (unsigned e = 0; e < k->nsucc; e++) {
            unsigned h = l->place[k->succ[e]], n = 0, d = p;
            uint64_t *m = l->member + h * l->words;

            if (h > p)
                continue;
            while (d > h)
                d = l->idom[d];
            if (d != h)
                return false;
            m[h / 64] |= 1ull << h % 64;
            if (!(m[p / 64] >> p % 64 & 1))
                work[n++] = p;
            m[p / 64] |= 1ull << p % 64;
            while (n) {
                const struct opt_block *b = &l->c->block[l->order[work[--n]]];

                for (unsigned i = 0; i < b->npred; i++) {
                    unsigned o = l->place[b->pred[i]];

                    if (o == OPT_NONE || (m[o / 64] >> o % 64 & 1))
                        continue;
                    m[o / 64] |= 1ull << o % 64;
                    work[n++] = o;
                }
            }
        }
    }
    return true;
}

static void opt_place(struct opt_layout *l, unsigned p)
{
    const uint64_t *m = l->member + p * l->words;

    if (l->done[p])
        return;
    l->done[p] = true;
    l->out[l->nout++] = l->order[p];
    if (!(m[p / 64] >> p % 64 & 1))
        return; /* no header */
    for (unsigned q = p + 1; q < l->n; q++)
        if (m[q / 64] >> q % 64 & 1)
            opt_place(l, q);
}

/* ---- moving ---------------------------------------------------------- */

static void opt_move_block(struct ir_func *dst, const struct ir_func *src, ir_ref *map,
                           const struct opt_layout *l, unsigned b)
{
    const struct opt_block *k = &l->c->block[b];

    for (ir_ref r = k->first; r <= k->last; r++) {
        struct ir_ins i = src->ins[r];
        uint32_t *v[3] = {&i.a, &i.b, &i.c};

        if (i.op == IR_PHI) {
            i.a = ir_extra(dst, src->extra + i.a, i.b);
        } else {
            if (i.op == IR_PUT)
                i.c = IR_NIL;
            for (unsigned n = 0; n < 3; n++)
                if (opt_is_ref(i.op, n) && *v[n])
                    *v[n] = map[*v[n] - src->nk];
        }
        map[r - src->nk] = ir_append(dst, ir_head(i.op, i.ty, i.aux), i.a, i.b, i.c);
    }
}

/* A PHI loses what came from blocks that are gone. */
static void opt_move_phi(struct ir_func *dst, const struct ir_func *src, const ir_ref *map,
                         const struct opt_layout *l, struct ir_ins *i)
{
    uint32_t n = 0, *pair = dst->extra + i->a;

    for (uint32_t k = 0; k < i->b; k++) {
        ir_ref from = pair[2 * k], v = pair[2 * k + 1];

        if (l->place[opt_block_at(l->c, from)] == OPT_NONE)
            continue;
        pair[2 * n] = from ? map[from - src->nk] : IR_NIL;
        pair[2 * n++ + 1] = map[v - src->nk];
    }
    i->b = n;
}

const char *opt_layout_pass(struct ir_func *dst, const struct ir_func *src,
                                   struct base_arena *arena)
{
    struct opt_layout l = {.c = opt_cfg_edges(src, arena)};
    ir_ref *map = base_arena_alloc(arena, (src->nins - src->nk + 1) * sizeof *map);
    unsigned *all = base_arena_alloc(arena, 4 * l.c->n * sizeof *all);

    if (l.c->n > OPT_PARAM_max_blocks)
        return "too many blocks";
    l.order = all;
    l.place = all + l.c->n;
    l.idom = all + 2 * l.c->n;
    l.out = all + 3 * l.c->n;
    l.done = base_arena_alloc(arena, l.c->n);
    memset(l.done, 0, l.c->n);
    opt_order(&l, arena);
    opt_dominators(&l);
    if (!opt_loops(&l, arena))
        return "irreducible control flow";
    for (unsigned p = 0; p < l.n; p++)
        opt_place(&l, p);

    for (ir_ref r = src->nk; r < IR_BIAS; r++)
        map[r - src->nk] = ir_k_copy(dst, src, r);
    for (unsigned n = 0; n < l.nout; n++)
        opt_move_block(dst, src, map, &l, l.out[n]);
    for (ir_ref r = IR_BIAS; r < dst->nins; r++) {
        struct ir_ins *i = &dst->ins[r];

        if (i->op == IR_JMP)
            i->a = map[i->a - src->nk];
        if (i->op == IR_BR) {
            i->b = map[i->b - src->nk];
            i->c = map[i->c - src->nk];
        }
        if (i->op == IR_PHI)
            opt_move_phi(dst, src, map, &l, i);
    }
    return NULL;
}

