/* opt_dce.c: what nobody sees is dropped. SPDX-License-Identifier: Apache-2.0
 *
 * Live is what has an effect, and what something live uses: pure values, PHIs and GETs live by
 * their uses only, so that PHIs that use nothing but each other go, too. A PUT has an effect if
 * somebody may see its slot before the next PUT of it: a way out, or a point where the state must
 * be exact. One that is overwritten before is a dead state store.
 *
 *     put t0, %4                  put t1, %5
 *     put t1, %5                  put t0, %7
 *     put t0, %7            ->    side %8 -> 0x1000
 *     side %8 -> 0x1000           (%4 is gone if it was only put)
 *
 * What stays, used or not: loads (they may fault), operations with FLAGS (what they accrue is a
 * result), everything that is ordered.
 *
 * The code generator emits nothing for a value without a use, but counts uses to find out what
 * it can fold into what: a use that is dead makes a load a load of its own. So this pass comes
 * last.
 *
 * Requires: state-SSA form. Keeps it: a slot that is seen in a block was seen by the PUT too.
 */
#include "opt/opt_priv.h"

struct opt_dce {
    const struct ir_func *f;
    uint8_t *live;       /* by ref - IR_BIAS */
    ir_ref *work;        /* live values whose operands are to be looked at */
    unsigned nwork;
};

static void opt_dce_mark(struct opt_dce *d, ir_ref r)
{
    if (ir_is_const(r) || d->live[r - IR_BIAS]) return;
    d->live[r - IR_BIAS] = true;
    d->work[d->nwork++] = r;
}

/* ---- what has an effect ---------------------------------------------- */

static bool opt_dce_by_use(const struct ir_ins *i)
{
    const struct ir_op_info *op = &ir_ops[i->op];

    return (op->cls == IR_CLASS_P && !(op->flags & IR_F_FLAGS)) || i->op == IR_PHI ||
           i->op == IR_GET || i->op == IR_PEEK;
}

/* From a block's end up: `seen` is what somebody may see of the slots from here on. */
static void opt_dce_block(struct opt_dce *d, const struct opt_block *k, opt_slots seen)
{
    for (ir_ref r = k->last + 1; r-- > k->first;) {
        const struct ir_ins *i = &d->f->ins[r];

        if (i->op == IR_PUT) {
            uint64_t bit = 1ull << (i->a & 63), *word = &seen[i->a >> 6];

            if (*word & bit) opt_dce_mark(d, r);
            *word &= ~bit;
            continue;
        }
        if (i->op == IR_GET) seen[i->a >> 6] |= 1ull << (i->a & 63);
        if (opt_sees_slots(i)) seen[0] = seen[1] = ~0ull;
        if (!opt_dce_by_use(i)) opt_dce_mark(d, r);
    }
}

static void opt_dce_roots(struct opt_dce *d, struct base_arena *arena)
{
    const struct opt_cfg *c = opt_cfg_new(d->f, arena);
    opt_slots *live = opt_live_slots(d->f, c, arena);

    for (unsigned b = 0; b < c->n; b++) {
        const struct opt_block *k = &c->block[b];
        opt_slots seen = {0, 0};

        for (unsigned e = 0; e < k->nsucc; e++) {
            seen[0] |= live[k->succ[e]][0];
            seen[1] |= live[k->succ[e]][1];
        }
        opt_dce_block(d, k, seen);
    }
}

/* ---- what that uses -------------------------------------------------- */

static void opt_dce_uses(struct opt_dce *d)
{
    while (d->nwork) {
        const struct ir_ins *i = &d->f->ins[d->work[--d->nwork]];
        const uint32_t v[3] = {i->a, i->b, i->c};

        for (unsigned n = 0; n < 3; n++)
            if (opt_is_ref(i->op, n)) opt_dce_mark(d, v[n]);
        for (uint32_t n = 0; i->op == IR_PHI && n < i->b; n++)
            opt_dce_mark(d, d->f->extra[i->a + 2 * n + 1]);
    }
}

/* What is to go, but may not: users first, so that what they use stays with them. */
static void opt_dce_spare(struct opt_dce *d, struct ir_func *dst)
{
    for (ir_ref r = d->f->nins; r-- > IR_BIAS;) {
        if (d->live[r - IR_BIAS] || opt_may(dst)) continue;
        opt_dce_mark(d, r);
        opt_dce_uses(d);
    }
}

static bool opt_dce_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    const struct opt_dce *d = ctx;

    (void)b;
    return !d->live[r - IR_BIAS];
}

const char *opt_dce_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    unsigned n = src->nins - IR_BIAS;
    struct opt_dce d = {.f = src};
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = &d, .ins = opt_dce_ins};

    d.live = base_arena_alloc(arena, n + 1);
    memset(d.live, 0, n);
    d.work = base_arena_alloc(arena, (n + 1) * sizeof *d.work);
    opt_dce_roots(&d, arena);
    opt_dce_uses(&d);
    opt_dce_spare(&d, dst);
    return opt_rebuild_run(&b, arena);
}
