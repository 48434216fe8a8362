/* opt_peel.c: a loop's first round by itself. SPDX-License-Identifier: Apache-2.0
 *
 * A region that begins with a loop begins with registers of which nothing is known: a 32-bit
 * counter may have anything in its upper half, a float register may hold no float. After one
 * round it is known what they hold: the extension of what the loop computed, a box. So the loop is
 * copied; the copy runs once and goes on in the loop:
 *
 *     entry -> H -> .. -> L        entry -> H' -> .. -> L'
 *              ^          |                             |
 *              +----------+                  H <--------+
 *                                            ^ .. -> L
 *                                            +-------+
 *
 * Every PHI of H then has two operands that the loop has made, and opt_width and opt_fp find them
 * narrow. What does not change in the loop has been computed in the copy, where opt_gvn finds it.
 *
 * It is done for the loop that the entry jumps to, if there is no loop in it, it is not long, and
 * it carries something that is narrower than its slot. With loops in it the first round can be most
 * of what runs, and leaves it at many places. There an inner loop of one block may have its first
 * round taken apart, each time that it is entered: if it makes boxes of floats, which the slots it
 * is entered with need not be. (For integers that is not worth the code.)
 *
 * Requires: blocks laid out, values passed between blocks in slots only (before opt_ssa), so that
 * blocks can be copied one by one. The exception are blocks that only leave, which may use
 * values of the block that leads to them: those that only the loop leads to are copied with it.
 */
#include "opt/opt_priv.h"

struct opt_peel {
    const struct ir_func *f;
    const struct opt_cfg *c;
    unsigned head, latch; /* the loop: these blocks and what lies between */
    ir_ref *copy;         /* by block - head: its copy's BLOCK, IR_NIL: not copied */
    ir_ref from, to;      /* the copy's instructions */
};

/* ---- whether --------------------------------------------------------- */

/* A value that is less than a slot's width tells. */
static bool opt_peel_narrow(const struct ir_func *f, ir_ref v)
{
    unsigned op = f->ins[v].op;

    return !ir_is_const(v) && (op == IR_SEXT || op == IR_ZEXT || op == IR_FBOX);
}

/* Makes the loop of one block a box that it puts into a slot? Ways out behind it would be copied
 * into the loops around it: then it is not done. */
static bool opt_peel_inner(const struct opt_peel *p)
{
    const struct opt_block *k = &p->c->block[p->head];
    bool boxes = false;

    if (!k->header || k->latch != p->head || k->depth < 2 ||
        p->c->n >= OPT_PARAM_max_blocks || p->f->nins - IR_BIAS > IR_MAX_INS / 2)
        return false;
    for (unsigned n = 0; n < k->nsucc; n++)
        if (p->c->block[k->succ[n]].nsucc == 0) return false;
    for (ir_ref r = k->first; r <= k->last; r++) {
        const struct ir_ins *i = &p->f->ins[r];

        boxes |= i->op == IR_PUT && !ir_is_const(i->b) && p->f->ins[i->b].op == IR_FBOX;
    }
    return boxes;
}

/* Slots that the loop reads, and that it PUTs something narrow to. */
static void opt_peel_slots(const struct opt_peel *p, opt_slots read, opt_slots narrow)
{
    read[0] = read[1] = narrow[0] = narrow[1] = 0;
    for (ir_ref r = p->c->block[p->head].first; r <= p->c->block[p->latch].last; r++) {
        const struct ir_ins *i = &p->f->ins[r];

        if (i->op == IR_GET) read[i->a >> 6] |= 1ull << (i->a & 63);
        if (i->op == IR_PUT && opt_peel_narrow(p->f, i->b))
            narrow[i->a >> 6] |= 1ull << (i->a & 63);
    }
}

static bool opt_peel_wanted(const struct opt_peel *p)
{
    ir_ref first = p->c->block[p->head].first, last = p->c->block[p->latch].last;
    opt_slots read, narrow;
    unsigned marks = 0;

    for (unsigned b = p->head + 1; b <= p->latch; b++)
        if (p->c->block[b].header) return false;
    for (ir_ref r = first; r <= last; r++) marks += p->f->ins[r].op == IR_IMARK;
    if (marks > OPT_PARAM_peel_insns || p->f->nins - IR_BIAS + (last - first) > IR_MAX_INS / 2 ||
        p->c->n + p->latch - p->head + 1 > OPT_PARAM_max_blocks)
        return false;
    opt_peel_slots(p, read, narrow);
    return (read[0] & narrow[0]) | (read[1] & narrow[1]);
}

/* Of the loop, or a way out that only the loop leads to. */
static bool opt_peel_member(const struct opt_peel *p, unsigned block)
{
    const struct opt_block *k = &p->c->block[block];

    if (block >= p->head && block <= p->latch) return true;
    for (unsigned n = 0; n < k->npred; n++)
        if (k->pred[n] < p->head || k->pred[n] > p->latch) return false;
    return block > p->latch && k->nsucc == 0;
}

/* ---- how ------------------------------------------------------------- */

static bool opt_peel_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_peel *p = ctx;

    if (r != p->c->block[p->head].first) return false;
    p->from = b->dst->nins;
    for (unsigned n = p->head; n < p->c->n; n++) {
        const struct opt_block *block = &p->c->block[n];

        p->copy[n - p->head] = IR_NIL;
        if (!opt_peel_member(p, n)) continue;
        for (ir_ref k = block->first; k <= block->last; k++) opt_rebuild_copy(b, k);
        p->copy[n - p->head] = opt_rebuild_map(b, block->first);
    }
    p->to = b->dst->nins;
    return false; /* and now the loop itself */
}

static bool opt_peel_none(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    (void)b, (void)ctx, (void)r;
    return false;
}

/* Jumps of the copy stay in it, but for those to the header; others to the header lead to the
 * copy's. `target` is a block of the new function. */
static ir_ref opt_peel_target(const struct opt_peel *p, const struct opt_rebuild *b, ir_ref jump,
                              ir_ref target)
{
    bool in_copy = jump >= p->from && jump < p->to;
    bool in_loop = jump >= p->to && jump <= opt_rebuild_map(b, p->c->block[p->latch].last);

    for (unsigned k = p->head; k < p->c->n; k++) {
        if (!p->copy[k - p->head] || opt_rebuild_map(b, p->c->block[k].first) != target) continue;
        if (k == p->head) return in_copy || in_loop ? target : p->copy[0];
        return in_copy ? p->copy[k - p->head] : target;
    }
    return target;
}

static void opt_peel_jumps(const struct opt_peel *p, const struct opt_rebuild *b)
{
    for (ir_ref r = IR_BIAS; r < b->dst->nins; r++) {
        struct ir_ins *i = &b->dst->ins[r];

        if (i->op == IR_JMP) i->a = opt_peel_target(p, b, r, i->a);
        if (i->op != IR_BR) continue;
        i->b = opt_peel_target(p, b, r, i->b);
        i->c = opt_peel_target(p, b, r, i->c);
    }
}

/* The loop that is to be peeled: p->head and p->latch; false: none. */
static bool opt_peel_find(struct opt_peel *p)
{
    p->head = p->c->block[0].nsucc == 1 ? p->c->block[0].succ[0] : 0;
    p->latch = p->c->block[p->head].latch;
    if (p->head && p->c->block[p->head].header && opt_peel_wanted(p)) return true;
    for (p->head = p->c->n; --p->head > 0;) {
        p->latch = p->head;
        if (opt_peel_inner(p)) return true;
    }
    return false;
}

const char *opt_peel_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    struct opt_peel p = {.f = src, .c = opt_cfg_new(src, arena)};
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = &p, .ins = opt_peel_ins};
    const char *why;
    bool peel = opt_peel_find(&p) && opt_may(dst);

    if (!peel) b.ins = opt_peel_none;
    p.copy = base_arena_alloc(arena, p.c->n * sizeof *p.copy);
    why = opt_rebuild_run(&b, arena);
    if (!why && peel) opt_peel_jumps(&p, &b);
    return why;
}
