/* opt_decided.c: what a branch says about slots. SPDX-License-Identifier: Apache-2.0
 *
 * A guest without flags compares into a register and branches on that. What the register holds is
 * then known on either way, but somebody may see it there:
 *
 *     %1 = fcmp.lt %8, %9                      %1 = fcmp.lt %8, %9
 *     %2 = zext.i64 %1                         %2 = zext.i64 %1
 *     put a5, %2                               put a5, %2
 *     imark 0x1004, 2                          imark 0x1004, 2
 *                                     ->       put a5, 1
 *     side %1 -> 0x2000                        side %1 -> 0x2000
 *                                              put a5, 0
 *     imark 0x1006, 4                          imark 0x1006, 4
 *     %3 = ld.i64 [%7]                         %3 = ld.i64 [%7]
 *
 * Nobody wants %2 then, and a host need not compare once for a value and once for the branch. A
 * SIDE is left with what the PUT before it says and passed with what the one behind it says. With a
 * BR the PUT is at the start of what only it leads to.
 *
 * It is done where the value was PUT in the block of the branch.
 *
 * Requires: slots as they come from the former (before opt_ssa, which places PHIs of what blocks
 * end with).
 */
#include "opt/opt_priv.h"

struct opt_decided {
    const struct ir_func *f;
    const struct opt_cfg *c;
    struct opt_decided_put {
        unsigned slot;
        ir_ref v;
    } put[IR_MAX_SLOTS]; /* what the block has PUT so far that extends a condition */
    unsigned n;
};

/* What a condition is the opposite of, as often as it is. */
static ir_ref opt_decided_base(const struct ir_func *f, ir_ref c, bool *negated)
{
    *negated = false;
    while (!ir_is_const(c) && f->ins[c].op == IR_XOR && ir_is_k(f, f->ins[c].b, 1)) {
        *negated = !*negated;
        c = f->ins[c].a;
    }
    return c;
}

/* Comparisons that are each other's opposite: the builder makes them of an XOR with 1. */
static bool opt_decided_opposite(const struct ir_func *f, ir_ref a, ir_ref b)
{
    const struct ir_ins *i = &f->ins[a], *j = &f->ins[b];

    if (ir_is_const(a) || ir_is_const(b) || i->op != IR_CMP || j->op != IR_CMP) return false;
    return i->a == j->a && i->b == j->b && i->aux == ir_cc_opposite(j->aux);
}

/* Value v if condition c is `holds`: the constant in *k, or false. */
static bool opt_decided_value(const struct ir_func *f, ir_ref v, ir_ref c, bool holds, uint64_t *k)
{
    const struct ir_ins *i = &f->ins[v];
    bool not_v, not_c, opposite;
    ir_ref a = opt_decided_base(f, i->a, &not_v), b = opt_decided_base(f, c, &not_c);

    opposite = opt_decided_opposite(f, a, b);
    if (ir_is_const(b) || (a != b && !opposite)) return false;
    holds ^= not_v ^ not_c ^ opposite;
    *k = i->op == IR_SEXT ? -(uint64_t)holds : holds;
    return true;
}

/* ---- the block so far ------------------------------------------------ */

static bool opt_decided_extends(const struct ir_func *f, ir_ref v)
{
    const struct ir_ins *i = &f->ins[v];

    return !ir_is_const(v) && (i->op == IR_ZEXT || i->op == IR_SEXT) && i->ty == IR_I64 &&
           !ir_is_const(i->a) && ir_ty(f, i->a) == IR_I1;
}

static void opt_decided_note(struct opt_decided *x, const struct ir_ins *put)
{
    unsigned k = 0;

    while (k < x->n && x->put[k].slot != put->a) k++;
    if (k < x->n) x->put[k] = x->put[--x->n];
    if (opt_decided_extends(x->f, put->b))
        x->put[x->n++] = (struct opt_decided_put){put->a, put->b};
}

/* Does condition c tell one of them? */
static bool opt_decided_tells(const struct opt_decided *x, ir_ref c)
{
    bool tells = false;
    uint64_t k;

    for (unsigned n = 0; n < x->n; n++) tells |= opt_decided_value(x->f, x->put[n].v, c, true, &k);
    return tells;
}

static void opt_decided_say(struct opt_decided *x, struct ir_func *dst, ir_ref c, bool holds)
{
    uint64_t k;

    for (unsigned n = 0; n < x->n; n++)
        if (opt_decided_value(x->f, x->put[n].v, c, holds, &k))
            ir_put(dst, x->put[n].slot, ir_ki(dst, IR_I64, k));
}

/* The block that begins at r is led to by one edge of a branch: what was PUT before that. */
static bool opt_decided_enter(struct opt_decided *x, ir_ref r, ir_ref *c, bool *holds)
{
    unsigned b = opt_block_of(x->c, r), from;
    const struct ir_ins *br;

    x->n = 0;
    if (!b || x->c->block[b].npred != 1) return false;
    from = x->c->block[b].pred[0];
    br = &x->f->ins[x->c->block[from].last];
    if (br->op != IR_BR || br->b == br->c) return false;
    for (ir_ref p = x->c->block[from].first; p < x->c->block[from].last; p++)
        if (x->f->ins[p].op == IR_PUT) opt_decided_note(x, &x->f->ins[p]);
    *c = br->a;
    *holds = opt_block_at(x->c, br->b) == b;
    return opt_decided_tells(x, *c);
}

/* ---- the pass -------------------------------------------------------- */

static bool opt_decided_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_decided *x = ctx;
    const struct ir_ins *i = &b->src->ins[r];
    bool holds;
    ir_ref c;

    switch (i->op) {
    case IR_BLOCK:
        opt_rebuild_copy(b, r);
        if (opt_decided_enter(x, r, &c, &holds) && opt_may(b->dst))
            opt_decided_say(x, b->dst, c, holds);
        x->n = 0;
        return true;
    case IR_SIDE:
        if (!opt_decided_tells(x, i->a) || !opt_may(b->dst)) return false;
        opt_decided_say(x, b->dst, i->a, true);
        opt_rebuild_copy(b, r);
        opt_decided_say(x, b->dst, i->a, false);
        return true;
    case IR_PUT: opt_decided_note(x, i); return false;
    default: return false;
    }
}

const char *opt_decided_pass(struct ir_func *dst, const struct ir_func *src,
                             struct base_arena *arena)
{
    struct opt_decided *x = base_arena_alloc(arena, sizeof *x);
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = x, .ins = opt_decided_ins};

    x->f = src;
    x->c = opt_cfg_edges(src, arena);
    x->n = 0;
    return opt_rebuild_run(&b, arena);
}
