/* jit_t2_form.c: tier 2, from a graph of guest code to IR.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What comes out (docs/tier2.md has the contract): an entry block that jumps to the
 * head's, then a block for each guest basic block, in reverse post-order. Values
 * pass from block to block through slots only. An edge to a block is a JMP or BR,
 * one out of the region a SIDE or EXIT. A block from which an edge goes back polls
 * right behind the IMARK of its last instruction, so every cycle polls, before
 * anything of that instruction is done.
 *
 * An inlined call is the PUT of its link and a JMP; the return compares its target
 * with the address behind the call, which the optimiser mostly sees to be equal,
 * and otherwise leaves by EXIT.
 *
 * A guard of an indirect jump or call compares the target with one of the usual ones;
 * where it is none of them tier 1 does the instruction: a side exit, which counts, so that
 * the region is made anew with other targets. (At the head, where that would lead back here,
 * the region is left as by the instruction.) Each guard reads the target anew, for it is a
 * block of its own.
 *
 * Of a function that is inlined in part some ways leave the region in its middle. They
 * do by EXIT.call, as if it were called there: the host's stack of calls then has the
 * one that was inlined, when the function returns.
 */
#include "jit/jit_t2.h"

struct t2_form {
    struct t2_graph *g;
    struct ir_func *f;
    ir_ref block[T2_BLOCKS];            /* BLOCK instructions */
    struct { ir_ref at; uint8_t field; uint16_t to; } fix[3 * T2_BLOCKS];
    unsigned nfixes;
    const char *why;
};

/* ---- edges ----------------------------------------------------------- */

/* Operand field (0: a, 1: b, 2: c) of the instruction at is block to. */
static void to_block(struct t2_form *m, ir_ref at, unsigned field, unsigned to)
{
    m->fix[m->nfixes].at = at;
    m->fix[m->nfixes].field = (uint8_t)field;
    m->fix[m->nfixes++].to = (uint16_t)to;
}

static void jump(struct t2_form *m, unsigned to)
{
    to_block(m, ir_emit(m->f, IR_JMP, IR_NONE, 0, 0, 0, 0), 0, to);
}

static void leave(struct t2_form *m, unsigned kind, ir_ref target, ir_ref ret)
{
    ir_emit(m->f, IR_EXIT, IR_NONE, kind, target, ret, 0);
}

/* To pc, which is outside, from instruction i. */
static void leave_to(struct t2_form *m, const struct t2_insn *i, uint64_t pc)
{
    const struct t2_ctx *c = &m->g->ctx[i->ctx];
    if (c->partial)
        leave(m, IR_EXIT_CALL, ir_kaddr(m->f, pc), ir_kaddr(m->f, c->ret));
    else
        leave(m, IR_EXIT_JUMP, ir_kaddr(m->f, pc), IR_NIL);
}

static void jump_or_leave(struct t2_form *m, const struct t2_insn *i, unsigned to, uint64_t pc)
{
    if (to != T2_NONE)
        jump(m, to);
    else
        leave_to(m, i, pc);
}

static void side(struct t2_form *m, ir_ref cond, uint64_t pc)
{
    ir_emit(m->f, IR_SIDE, IR_NONE, 0, cond, ir_kaddr(m->f, pc), 0);
}

/* ---- ends of blocks -------------------------------------------------- */

/* Ends the block by a branch to block to and to an exit to pc: if cond is as said. */
static void branch_or_leave(struct t2_form *m, const struct t2_insn *i, ir_ref cond, unsigned to,
                            uint64_t pc, bool leave_if)
{
    struct ir_func *f = m->f;
    ir_ref r = ir_emit(f, IR_BR, IR_NONE, 0, cond, 0, 0);
    to_block(m, r, leave_if ? 2 : 1, to);
    ir_ref out = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    *(leave_if ? &f->ins[r].b : &f->ins[r].c) = out;
    leave_to(m, i, pc);
}

static void end_branch(struct t2_form *m, const struct t2_block *b, const struct t2_insn *i,
                       ir_ref cond)
{
    struct ir_func *f = m->f;
    unsigned next = b->succ[0], taken = b->succ[1];
    uint64_t behind = i->pc + i->len;
    bool partial = m->g->ctx[i->ctx].partial; /* and what is not new is left on purpose */
    if (taken == T2_NONE && next != T2_NONE && partial && i->taken != T2_NONE) {
        branch_or_leave(m, i, cond, next, i->target, true);
    } else if (taken == T2_NONE) {
        side(m, cond, i->target);
        jump_or_leave(m, i, next, behind);
    } else if (next == T2_NONE && ((partial && i->next != T2_NONE) ||
                                   m->g->block[taken].order <= b->order)) {
        /* back to a loop's head, or out: the head is what the jump should lead to */
        branch_or_leave(m, i, cond, taken, behind, false);
    } else if (next == T2_NONE) {
        side(m, ir_op2(f, IR_XOR, IR_I1, cond, ir_ki(f, IR_I1, 1)), behind);
        jump(m, taken);
    } else if (next == taken) {
        jump(m, next);
    } else {
        ir_ref r = ir_emit(f, IR_BR, IR_NONE, 0, cond, 0, 0);
        to_block(m, r, 1, taken);
        to_block(m, r, 2, next);
    }
}

/* Is a branch's target the address pc? */
static ir_ref goes_to(struct t2_form *m, ir_ref target, uint64_t pc)
{
    struct ir_func *f = m->f;
    const struct ir_ins *t = &f->ins[target];
    if (!ir_is_const(target) && t->op == IR_AND && ir_is_const(t->b) &&
        (pc & ir_kval(f, t->b)) == pc)
        target = t->a; /* without its low bits: compared before */
    return ir_cmp(f, IR_EQ, target, ir_kaddr(f, pc));
}

/* The link of instruction i, if it sets one. */
static void put_link(struct t2_form *m, const struct t2_insn *i, const struct ir_flow *w)
{
    if (w->link_slot >= 0)
        ir_put(m->f, (unsigned)w->link_slot, ir_kaddr(m->f, i->pc + i->len));
}

/* A block that does what instruction i would do; false: it is not there any more. */
static bool leave_by(struct t2_form *m, const struct t2_insn *i)
{
    struct ir_func *f = m->f;
    struct ir_flow w = {0};
    const struct t2_ctx *c = &m->g->ctx[i->ctx];
    if (!jit_t2_lift(m->g, f, i->pc, false, &w))
        return false;
    if (i->kind != IR_FLOW_RET)
        put_link(m, i, &w);
    if (i->kind == IR_FLOW_CALL)
        leave(m, IR_EXIT_CALL, w.target, ir_kaddr(f, i->pc + i->len));
    else if (i->kind == IR_FLOW_JUMP && i->ctx)
        leave(m, IR_EXIT_CALL, w.target, ir_kaddr(f, c->ret));
    else
        leave(m, i->kind == IR_FLOW_RET ? IR_EXIT_RET : IR_EXIT_JUMP, w.target, IR_NIL);
    return true;
}

/* To the guard's target, on which the link is set; else to the next guard, or out. */
static void end_guard(struct t2_form *m, const struct t2_block *b, const struct t2_insn *i,
                      const struct ir_flow *w)
{
    struct ir_func *f = m->f;
    ir_ref same = goes_to(m, w->target, i->target), r;
    if (ir_is_const(same) && ir_kval(f, same)) {
        put_link(m, i, w);
        jump(m, b->succ[1]);
        return;
    }
    if (b->succ[0] == T2_NONE && i->pc != m->g->insn[0].pc) {
        side(m, ir_op2(f, IR_XOR, IR_I1, same, ir_ki(f, IR_I1, 1)), i->pc);
        put_link(m, i, w);
        jump(m, b->succ[1]);
        return;
    }
    r = ir_emit(f, IR_BR, IR_NONE, 0, same, 0, 0);
    if (w->link_slot >= 0) {
        f->ins[r].b = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
        put_link(m, i, w);
        jump(m, b->succ[1]);
    } else {
        to_block(m, r, 1, b->succ[1]);
    }
    if (b->succ[0] != T2_NONE) {
        to_block(m, r, 2, b->succ[0]);
        return;
    }
    f->ins[r].c = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    bool there = leave_by(m, i);
    BASE_ASSERT(there);
}

/* Returns from an inlined function: to the block behind the call if it is there
 * that the guest returns to. */
static void end_return(struct t2_form *m, const struct t2_block *b, const struct t2_insn *i,
                       ir_ref target)
{
    struct ir_func *f = m->f;
    if (b->succ[1] == T2_NONE) {
        leave(m, IR_EXIT_RET, target, IR_NIL);
        return;
    }
    uint64_t ret = m->g->ctx[i->ctx].ret;
    ir_ref same = goes_to(m, target, ret);
    if (ir_is_const(same) && ir_kval(f, same)) {
        jump(m, b->succ[1]);
        return;
    }
    ir_ref r = ir_emit(f, IR_BR, IR_NONE, 0, same, 0, 0);
    to_block(m, r, 1, b->succ[1]);
    f->ins[r].c = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    bool there = leave_by(m, i); /* in a block of its own its target is to be read again */
    BASE_ASSERT(there);
}

static void end_block(struct t2_form *m, const struct t2_block *b, const struct t2_insn *i,
                      const struct ir_flow *w)
{
    struct ir_func *f = m->f;
    uint64_t behind = i->pc + i->len;
    if (i->guard && b->succ[1] != T2_NONE) {
        end_guard(m, b, i, w);
        return;
    }
    if (i->guard && b->succ[0] != T2_NONE) { /* its target turned out to be outside */
        jump(m, b->succ[0]);
        return;
    }
    if (i->kind == IR_FLOW_JUMP || i->kind == IR_FLOW_CALL)
        put_link(m, i, w);
    switch (i->kind) {
    case IR_FLOW_NEXT: jump_or_leave(m, i, b->succ[0], behind); return;
    case IR_FLOW_BRANCH: end_branch(m, b, i, w->cond); return;
    case IR_FLOW_JUMP:
        if (i->direct)
            jump_or_leave(m, i, b->succ[1], i->target);
        else if (i->ctx)
            leave(m, IR_EXIT_CALL, w->target, ir_kaddr(f, m->g->ctx[i->ctx].ret));
        else
            leave(m, IR_EXIT_JUMP, w->target, IR_NIL);
        return;
    case IR_FLOW_CALL:
        if (b->succ[1] != T2_NONE)
            jump(m, b->succ[1]);
        else
            leave(m, IR_EXIT_CALL, w->target, ir_kaddr(f, behind));
        return;
    case IR_FLOW_RET: end_return(m, b, i, w->target); return;
    default: return; /* the lifter emitted TRAP */
    }
}

/* ---- blocks ---------------------------------------------------------- */

/* With other instructions before it in its block one may fold otherwise than it
 * did when the graph was made. */
static bool as_before(struct ir_func *f, const struct t2_insn *i, const struct ir_flow *w)
{
    if (w->len != i->len)
        return false;
    bool was = i->kind == IR_FLOW_NEXT || (i->kind == IR_FLOW_JUMP && i->direct);
    if (i->kind == IR_FLOW_BRANCH) /* a condition that is known now is one, too */
        return w->kind == IR_FLOW_BRANCH || w->kind == IR_FLOW_NEXT || w->kind == IR_FLOW_JUMP;
    if (w->kind == IR_FLOW_BRANCH && was) /* it was known then: see known_branch */
        return true;
    return w->kind == i->kind && (!i->direct || ir_is_const(w->target));
}

/* The condition of a branch was known where the graph was made, coming from code
 * before that is now in another block; the way it did not go leaves. */
static void known_branch(struct t2_form *m, const struct t2_insn *i, struct ir_flow *w)
{
    struct ir_func *f = m->f;
    if (i->kind == IR_FLOW_NEXT)
        side(m, w->cond, ir_kval(f, w->target));
    else
        side(m, ir_op2(f, IR_XOR, IR_I1, w->cond, ir_ki(f, IR_I1, 1)), i->pc + i->len);
    w->link_slot = -1;
}

static bool emit_block(struct t2_form *m, unsigned n)
{
    struct t2_graph *g = m->g;
    struct ir_func *f = m->f;
    const struct t2_block *b = &g->block[n];
    m->block[n] = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    for (unsigned k = b->first;; k = g->insn[k].next) {
        const struct t2_insn *i = &g->insn[k];
        bool last = k == b->last;
        struct ir_flow w;
        if (ir_func_full(f)) {
            m->why = "tier 2: region too large";
            return false;
        }
        if (!jit_t2_lift(g, f, i->pc, last && jit_t2_latch(g, b), &w) || !as_before(f, i, &w)) {
            m->why = "tier 2: an instruction folds in two ways";
            return false;
        }
        if (i->kind == IR_FLOW_BRANCH && w.kind != IR_FLOW_BRANCH)
            w.cond = ir_ki(f, IR_I1, w.kind == IR_FLOW_JUMP);
        else if (i->kind != IR_FLOW_BRANCH && w.kind == IR_FLOW_BRANCH)
            known_branch(m, i, &w);
        if (last) {
            end_block(m, b, i, &w);
            return true;
        }
        if (i->kind == IR_FLOW_BRANCH)
            side(m, w.cond, i->target);
    }
}

static bool emit(struct t2_form *m)
{
    struct t2_graph *g = m->g;
    struct ir_func *f = m->f;
    m->nfixes = 0;
    jump(m, 0);
    for (unsigned k = 0; k < g->norder; k++)
        if (!emit_block(m, g->order[k]))
            return false;
    for (unsigned k = 0; k < m->nfixes; k++) {
        struct ir_ins *i = &f->ins[m->fix[k].at];
        *(m->fix[k].field == 0 ? &i->a : m->fix[k].field == 1 ? &i->b : &i->c) =
            m->block[m->fix[k].to];
    }
    return true;
}

/* ---- what it was made from -------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct jit_range *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* Byte ranges of the instructions in the region, and how many there are. */
static bool ranges(const struct t2_graph *g, struct jit_formed *d, uint32_t *ninsns)
{
    struct jit_range all[T2_INSNS];
    unsigned n = 0;
    for (unsigned k = 0; k < g->norder; k++) {
        const struct t2_block *b = &g->block[g->order[k]];
        for (unsigned i = b->first;; i = g->insn[i].next) {
            all[n++] = (struct jit_range){g->insn[i].pc, g->insn[i].len};
            if (i == b->last)
                break;
        }
    }
    *ninsns = n;
    qsort(all, n, sizeof *all, by_start);
    for (unsigned k = 0; k < n; k++) {
        struct jit_range *last = d->nranges ? &d->range[d->nranges - 1] : NULL;
        uint64_t end = all[k].start + all[k].len;
        if (last && all[k].start <= last->start + last->len) {
            if (end > last->start + last->len)
                last->len = (uint32_t)(end - last->start);
        } else if (d->nranges == JIT_RANGES_T2) {
            return false;
        } else {
            d->range[d->nranges++] = all[k];
        }
    }
    return true;
}

/* ---- entry ----------------------------------------------------------- */

static const char no_gain[] = "no loop and no call in it";
static const char too_many[] = "tier 2: more blocks than it is good at";
static const char unknown[] = "tier 2: where it jumps to is to be seen first";

bool jit_t2_for_good(const char *why) { return why == no_gain || why == too_many; }
bool jit_t2_not_yet(const char *why) { return why == unknown; }

/* With loops in loops and many joins values may be moved about more than tier 1 does; floats gain
 * by far more than that, having no boxes inside. */
static bool is_good_at(const struct t2_graph *g)
{
    bool guards = false;
    if (g->nblocks <= JIT_PARAM_t2_good || g->norder <= JIT_PARAM_t2_small ||
        (!g->cyclic && g->norder <= JIT_PARAM_t2_good_tree) ||
        g->j->cfg.tier2 == JIT_TIER2_ALWAYS)
        return true;
    for (unsigned k = 0; k < g->norder; k++) {
        const struct t2_block *b = &g->block[g->order[k]];
        for (unsigned i = b->first;; i = g->insn[i].next) {
            if (g->insn[i].floats)
                return true;
            guards |= g->insn[i].guard;
            if (i == b->last)
                break;
        }
    }
    return guards && g->norder <= JIT_PARAM_t2_good_guards;
}

/* Straight code and side exits are what tier 1 is as good at. */
static bool is_worth_it(const struct t2_graph *g)
{
    bool worth = g->loop || g->j->cfg.tier2 == JIT_TIER2_ALWAYS;
    for (unsigned k = 0; k < g->norder && !worth; k++) {
        const struct t2_block *b = &g->block[g->order[k]];
        worth = jit_t2_latch(g, b) || g->insn[b->first].ctx;
    }
    return worth;
}

static const char *form(struct jit *j, struct t2_graph *g, struct ir_func *f,
                        struct jit_formed *d, uint64_t pc, unsigned mode)
{
    struct t2_form m = {.g = g, .f = f};
    g->j = j;
    g->mode = mode;
    const char *why = jit_t2_graph(g, pc);
    if (why)
        return why;
    if (g->unknown && g->watch)
        return unknown;
    if (!is_worth_it(g))
        return no_gain;
    bool good = is_good_at(g);
    if (!good && g->norder > JIT_PARAM_t2_try)
        return too_many;
    ir_func_reset(f);
    f->mode = mode;
    f->key = jit_key(pc, mode);
    jit_formed_reset(d);
    d->doubtful = !good;
    if (!ranges(g, d, &f->nguest))
        return "tier 2: code in too many places";
    d->writable = g->reader.writable;
    uint64_t after = 0;
    if (d->writable && !jit_hash_ranges(j, d->range, d->nranges, &d->hash))
        return "tier 2: code is gone";
    if (!emit(&m))
        return m.why;
    /* Others may be writing it: what was lifted is what the hash is of. */
    if (d->writable &&
        (!jit_hash_ranges(j, d->range, d->nranges, &after) || after != d->hash))
        return "tier 2: code changes";
    return NULL;
}

const char *jit_t2_form(struct jit *j, struct t2_graph *g, struct ir_func *f,
                        struct jit_formed *d, uint64_t pc, unsigned mode)
{
    const char *why = NULL;
    for (g->max_insns = T2_INSNS; g->max_insns >= T2_INSNS / 8; g->max_insns /= 2) {
        why = form(j, g, f, d, pc, mode);
        if (!why || jit_t2_for_good(why) || jit_t2_not_yet(why) || g->ninsns < g->max_insns / 2)
            break;
    }
    return why;
}
