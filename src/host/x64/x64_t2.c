/* x64_t2.c: tier 2 for x86-64: a control-flow region to machine code.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: a function in state-SSA form (docs/tier2.md): blocks in reverse post-
 * order, loops contiguous, PHIs, GETs in the entry block only. Output as tier 1.
 *
 * Blocks are emitted from the last to the first, each backwards, by tier 1's
 * instruction selection (x64_t1.c has the essay). What is new is what happens
 * between blocks:
 *
 *  - At a block's top stands which values are in which registers (in[b]); a value
 *    that is needed there and has none is in memory, where its definition above
 *    stores it (or can be made anew: a constant).
 *  - A block's end takes over what its successor begins with: values of the likely
 *    successor (the one in the loop, else the next) get just those registers, a
 *    PHI's register becomes its operand's. What does not fit is moved at the edge:
 *    behind the jump for the likely successor, in cold code for the other.
 *  - A header is emitted after its latch, so what it begins with is assumed
 *    (assume[b]); its top has the moves from what was assumed to what came out.
 *    Emission is repeated with the latter as the assumption: the moves vanish,
 *    what the loop does not use leaves the registers, what it does stays in them.
 *    The first pass assumes nothing. A PHI that was assumed not to be needed and
 *    is makes the pass void (again).
 *
 * Registers are given up by next use: the victim is the value whose previous use
 * (the next, seen backwards) is farthest up. Slots are not stored inside a region
 * at all (x64_t2_out.c).
 *
 * Rules for changing this: nothing at an edge may evict, for the other edge would
 * not see the reload; only moves that keep the flags stand between a compare and
 * its jump, edges behind it included.
 */
#include "host/x64/x64_t2.h"

#include <stdlib.h>

/* ---- choosing a register --------------------------------------------- */

/* A constant is given up for a value used this much earlier. */
enum { X64_CONST_BONUS = 12 };

/* Where the value's last use above this point is, or its definition. */
uint32_t x64_t2_previous(struct x64_t1 *t, ir_ref r)
{
    struct x64_t2 *x = t->t2;
    uint32_t *head;

    if (r >= X64_ENTRY)
        return 0;
    head = &x->use_head[X64_USE_OF(r)];
    while (*head && x->use[*head].at >= t->at)
        *head = x->use[*head].next;
    if (*head)
        return x->use[*head].at;
    return ir_is_const(r) || x64_ins(t, r)->op == IR_GET ? 0 : r;
}

/* Registers that are left for what a loop computes. */
enum { X64_LEFT = 1, X64_LEFT_IN_LOOP = 5 };

bool x64_t2_may_take(struct x64_t1 *t, ir_ref r)
{
    const struct x64_block *k = &t->t2->block[t->t2->cur];
    uint32_t cls = x64_ref_fp(t, r) ? (uint32_t)X64_FPRS : X64_GPRS;
    int left = X64_LEFT;

    if (k->depth && x64_t2_previous(t, r) < t->t2->block[k->loop].first)
        left = X64_LEFT_IN_LOOP;
    return __builtin_popcount(t->free & cls & ~t->lock) > left;
}

unsigned x64_t2_victim(struct x64_t1 *t, uint32_t mask)
{
    unsigned best = X64_NONE;
    uint32_t best_cost = UINT32_MAX;

    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned reg = (unsigned)__builtin_ctz(m);
        ir_ref r = t->owner[reg];
        uint32_t cost;

        if (r == IR_NIL)
            continue;
        cost = x64_t2_previous(t, r);
        if (ir_is_const(r)) /* made anew more cheaply than loaded */
            cost -= cost < IR_BIAS + X64_CONST_BONUS ? cost : X64_CONST_BONUS;
        if (cost < best_cost) {
            best_cost = cost;
            best = reg;
        }
    }
    return best;
}

/* ---- registers at a block's border ------------------------------------ */

static void x64_t2_clear(struct x64_t1 *t)
{
    for (unsigned reg = 0; reg < X64_NREGS; reg++) {
        if (t->owner[reg] != IR_NIL)
            t->val[t->owner[reg]].reg = X64_NONE;
        t->owner[reg] = IR_NIL;
    }
    t->free = t->free0[t->fp] | (t->fp ? (uint32_t)X64_FPRS : 0) | X64_GPRS;
    t->lock = 0;
    t->given = UINT32_MAX;
    t->watch = t->t2->slots;
}

static bool x64_t2_is_phi_of(const struct x64_t1 *t, ir_ref r, unsigned b)
{
    const struct x64_block *k = &t->t2->block[b];

    return !ir_is_const(r) && r > k->first && r <= k->last && x64_ins(t, r)->op == IR_PHI;
}

/* PHI r's operand for the edge from block b. */
static ir_ref x64_t2_operand(const struct x64_t1 *t, ir_ref r, unsigned b)
{
    const struct ir_ins *i = x64_ins(t, r);
    ir_ref from = b ? t->t2->block[b].first : IR_NIL;

    for (uint32_t n = 0; n < i->b; n++)
        if (t->f->extra[i->a + 2 * n] == from)
            return t->f->extra[i->a + 2 * n + 1];
    base_bug(__FILE__, __LINE__, "phi %%%u has no operand for block %u", r - IR_BIAS, b);
}

/* What block s begins with, as far as it is known. */
static const ir_ref *x64_t2_top(const struct x64_t2 *x, unsigned b, unsigned s)
{
    return s <= b || x->block[s].header ? x->assume[s] : x->in[s];
}

/* Is PHI r of block s in memory at its top? Marks it so if it is to be. */
static bool x64_t2_phi_in_memory(struct x64_t1 *t, ir_ref r, const ir_ref *top)
{
    struct x64_val *v = &t->val[r];

    for (unsigned reg = 0; reg < X64_NREGS; reg++)
        if (top[reg] == r)
            return false;
    if (!(v->flags & X64_V_SPILL) && (*x64_prop(t->t2, r) & X64_P_NEEDED))
        x64_t2_give_place(t, r);
    return v->flags & X64_V_SPILL;
}

/* The moves of one edge. */
struct x64_edge {
    struct x64_move m[X64_NREGS];
    unsigned n;
    struct x64_put put[X64_PUTS];
    unsigned nput, ncopy;
    bool leaves; /* a loop */
};

static void x64_t2_edge_move(struct x64_edge *e, unsigned reg, struct x64_where w)
{
    if (w.kind == X64_MOVE_REG && w.reg == reg)
        return;
    e->m[e->n++] = (struct x64_move){.dst = (uint8_t)reg, .kind = w.kind, .src = w.reg, .k = w.k,
                                     .disp = w.disp};
}

/* Value r (of this block) is to be in reg behind the edge. A constant that a PHI
 * gets is made there; others are values like all, or loops would make them anew. */
static void x64_t2_bring(struct x64_t1 *t, struct x64_edge *e, unsigned reg, ir_ref r, bool phi)
{
    struct x64_where w = {.kind = X64_MOVE_CONST, .k = r};
    bool take = !e->leaves || x64_t2_may_take(t, r);

    if (ir_is_const(r)) {
        if (!phi && take && t->val[r].reg == X64_NONE && (t->free >> reg & 1))
            x64_give(t, r, reg);
        if (t->val[r].reg != X64_NONE) {
            w.kind = X64_MOVE_REG;
            w.reg = t->val[r].reg;
        }
    } else {
        if (t->val[r].reg == X64_NONE && take && (t->free >> reg & 1))
            x64_give(t, r, reg);
        else if (t->val[r].reg == X64_NONE && take)
            x64_try_alloc(t, r);
        w.kind = X64_MOVE_REG;
        w.reg = t->val[r].reg;
        if (w.reg == X64_NONE) {
            w.kind = X64_MOVE_MEM;
            w.disp = x64_backing(t, r, &w.slot).disp;
        }
    }
    x64_t2_edge_move(e, reg, w);
}

/* Is value o of this block where PHI r behind it will be? If it has no register it shall be. */
static bool x64_t2_in_place(struct x64_t1 *t, ir_ref o, ir_ref r)
{
    const struct x64_val *v = &t->val[o];
    int32_t disp = x64_place_mem(t, &t->val[r]).disp;
    int slot = x64_entry_slot(t, o);

    x64_t2_want_place(t, o);
    if (slot >= 0)
        return !(t->pinned >> slot & 1) && x64_slot_mem(t, (unsigned)slot).disp == disp;
    if (v->reg == X64_NONE && t->t2->cell[o - IR_BIAS] != X64_NONE &&
        t->t2->cell[o - IR_BIAS] == t->t2->cell[r - IR_BIAS])
        x64_backing(t, o, &slot);
    return (v->flags & X64_V_SPILL) && x64_place_mem(t, v).disp == disp;
}

/* PHIs of block s that are in memory. */
static void x64_t2_edge_phis(struct x64_t1 *t, struct x64_edge *e, unsigned b, unsigned s,
                             const ir_ref *top)
{
    for (ir_ref r = t->t2->block[s].first + 1; x64_ins(t, r)->op == IR_PHI; r++) {
        ir_ref o = x64_t2_operand(t, r, b);
        struct x64_put p = {.kind = X64_MOVE_CONST, .k = o};

        if (o == r || !x64_t2_phi_in_memory(t, r, top))
            continue;
        if (e->nput >= X64_PUTS / 2) {
            t->gave_up = "too many values in memory at an edge";
            return;
        }
        p.disp = x64_place_mem(t, &t->val[r]).disp;
        if (!ir_is_const(o)) {
            int slot;

            if (x64_t2_in_place(t, o, r))
                continue;
            if (t->val[o].reg == X64_NONE && (!e->leaves || x64_t2_may_take(t, o)))
                x64_try_alloc(t, o);
            p.kind = X64_MOVE_REG;
            p.reg = t->val[o].reg;
            if (p.reg == X64_NONE) {
                p.kind = X64_MOVE_MEM;
                p.from = x64_backing(t, o, &slot).disp;
            }
        }
        e->put[e->nput++] = p;
    }
}

/* The edge from block b to s: gives registers to what s wants in them (all are
 * free if it is the first edge of its block) and finds the moves. */
static void x64_t2_edge(struct x64_t1 *t, struct x64_edge *e, unsigned b, unsigned s)
{
    struct x64_t2 *x = t->t2;
    const ir_ref *top = x64_t2_top(x, b, s);

    e->n = e->nput = 0;
    e->leaves = x->block[s].depth < x->block[b].depth;
    for (unsigned reg = 0; reg < X64_NREGS; reg++)
        if (top[reg] != IR_NIL && !x64_t2_is_phi_of(t, top[reg], s))
            x64_t2_bring(t, e, reg, top[reg], false);
    for (unsigned reg = 0; reg < X64_NREGS; reg++)
        if (top[reg] != IR_NIL && x64_t2_is_phi_of(t, top[reg], s))
            x64_t2_bring(t, e, reg, x64_t2_operand(t, top[reg], b), true);
    x64_t2_edge_phis(t, e, b, s, top);
    /* a place that is read and written: its reader reads a copy */
    memcpy(x->put, e->put, e->nput * sizeof *e->put);
    x->nput = e->nput;
    x64_t2_hazards(t, e->m, e->n);
    memcpy(e->put, x->put, x->nput * sizeof *e->put);
    e->nput = x->nput;
    e->ncopy = x->ncopy;
    x->nput = x->ncopy = 0;
}

static bool x64_t2_edge_empty(const struct x64_edge *e) { return !e->n && !e->nput; }

static void x64_t2_emit_edge(struct x64_t1 *t, struct x64_edge *e, unsigned s)
{
    struct x64_t2 *x = t->t2;

    x64_log(t, X64_E_END, 0, 0, 0, 0);
    x64_moves(t, e->m, e->n);
    memcpy(x->put, e->put, e->nput * sizeof *e->put);
    x->nput = e->nput;
    x->ncopy = e->ncopy;
    x64_t2_emit_puts(t);
    x64_log(t, X64_E_EDGE, 0, 0, s, 0);
}

/* ---- jumps between blocks -------------------------------------------- */

/* The relocation just made is to the top of block s. */
static void x64_t2_target(struct x64_t1 *t, unsigned s)
{
    struct x64_t2 *x = t->t2;
    size_t n = t->c->relocs.len - 1;

    if (x->block[s].label == UINT32_MAX) {
        base_vec_push(&x->back, ((__typeof__(x->back.data[0])){(uint32_t)n, (uint16_t)s}));
        return;
    }
    t->c->relocs.data[n].addend = x->block[s].label;
}

static void x64_t2_jmp(struct x64_t1 *t, unsigned b, unsigned s)
{
    if (t->sec == JIT_HOT && s == b + 1 && t->t2->block[s].label == x64_off(t))
        return; /* it is what comes next */
    x64_jmp(t, JIT_RELOC_PC32_SECTION, JIT_HOT, 0);
    x64_t2_target(t, s);
}

static void x64_t2_jcond(struct x64_t1 *t, struct x64_cond c, unsigned s)
{
    size_t n = t->c->relocs.len;

    x64_jcond(t, c, JIT_RELOC_PC32_SECTION, JIT_HOT, 0);
    for (size_t k = t->c->relocs.len; k > n; k--) {
        struct jit_reloc *r = &t->c->relocs.data[k - 1];

        if (t->t2->block[s].label != UINT32_MAX)
            r->addend = t->t2->block[s].label;
        else
            base_vec_push(&t->t2->back, ((__typeof__(t->t2->back.data[0])){(uint32_t)(k - 1),
                                                                           (uint16_t)s}));
    }
}

/* An edge's moves and jump in the cold section; the label is put into *label. */
static uint32_t x64_t2_cold_edge(struct x64_t1 *t, struct x64_edge *e, unsigned b, unsigned s)
{
    uint32_t label;

    x64_section(t, JIT_COLD);
    x64_jmp(t, JIT_RELOC_PC32_SECTION, JIT_HOT, 0);
    x64_t2_target(t, s);
    x64_t2_emit_edge(t, e, s);
    label = x64_off(t);
    x64_section(t, JIT_HOT);
    return label;
}

/* Which successor of a BR is the likely one: that in more loops, then the next. */
static unsigned x64_t2_likely(const struct x64_t2 *x, unsigned b)
{
    const struct x64_block *k = &x->block[b];
    const struct x64_block *s0 = &x->block[k->succ[0]], *s1 = &x->block[k->succ[1]];

    if (s0->depth != s1->depth)
        return s0->depth < s1->depth;
    return k->succ[1] == b + 1;
}

static void x64_t2_branch(struct x64_t1 *t, unsigned b, struct ir_ins *i)
{
    struct x64_t2 *x = t->t2;
    struct x64_block *k = &x->block[b];
    unsigned l = x64_t2_likely(x, b), likely = k->succ[l], other = k->succ[!l];
    struct x64_edge le, oe;
    struct x64_cond c;
    ir_ref cmp;

    x64_t2_edge(t, &le, b, likely);
    x64_t2_edge(t, &oe, b, other);
    c = x64_cond_of(t, i->a, !l, &cmp); /* what must hold to go to other */
    if (x64_t2_edge_empty(&le) && (likely != b + 1) &&
        (other == b + 1 || !x64_t2_edge_empty(&oe))) {
        /* jump to the likely one, then the other edge */
        x64_t2_jmp(t, b, other);
        x64_t2_emit_edge(t, &oe, other);
        x64_t2_emit_edge(t, &le, likely); /* nothing; for the log */
        c = x64_cond_of(t, i->a, l, &cmp);
        x64_t2_jcond(t, c, likely);
    } else {
        x64_t2_jmp(t, b, likely);
        x64_t2_emit_edge(t, &le, likely);
        if (x64_t2_edge_empty(&oe)) {
            x64_t2_emit_edge(t, &oe, other); /* nothing; for the log */
            x64_t2_jcond(t, c, other);
        } else {
            uint32_t label = x64_t2_cold_edge(t, &oe, b, other);

            x64_jcond(t, c, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
        }
    }
    x64_emit_compare(t, cmp);
}

/* A side exit right before a jump to what does not come next, a loop's end: one jump to
 * there, and the exit behind it. */
static bool x64_t2_side_jump(struct x64_t1 *t, unsigned b, struct x64_edge *e)
{
    struct x64_block *k = &t->t2->block[b];
    struct ir_ins *side = x64_ins(t, k->last - 1);
    unsigned s = k->succ[0];
    struct x64_cond c;
    uint32_t label;
    ir_ref cmp;

    if (side->op != IR_SIDE || k->last - 1 <= k->first || s == b + 1 || t->j->cfg.deopt_always)
        return false;
    x64_t2_edge(t, e, b, s);
    if (!x64_t2_edge_empty(e)) {
        x64_t2_jmp(t, b, s);
        x64_t2_emit_edge(t, e, s);
        t->at = k->last - 1;
        x64_t2_side(t, side);
        return true;
    }
    x64_t2_emit_edge(t, e, s); /* nothing; for the log */
    t->at = k->last - 1;
    label = x64_t2_side_exit(t, side);
    x64_jmp(t, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
    c = x64_cond_of(t, side->a, true, &cmp);
    x64_t2_jcond(t, c, s);
    x64_emit_compare(t, cmp);
    return true;
}

/* The end of block b; returns the first of the instructions it dealt with. */
static ir_ref x64_t2_terminator(struct x64_t1 *t, unsigned b)
{
    struct x64_block *k = &t->t2->block[b];
    struct ir_ins *i = x64_ins(t, k->last);
    struct x64_edge e;

    t->at = k->last;
    switch (i->op) {
    case IR_JMP:
        if (x64_t2_side_jump(t, b, &e))
            return k->last - 1;
        x64_t2_edge(t, &e, b, k->succ[0]);
        x64_t2_jmp(t, b, k->succ[0]);
        x64_t2_emit_edge(t, &e, k->succ[0]);
        return k->last;
    case IR_BR: x64_t2_branch(t, b, i); return k->last;
    default: return k->last - x64_leave_region(t, k->last, i);
    }
}

/* ---- tops ------------------------------------------------------------- */

/* A PHI's register becomes what its definition would be: stored if need be. */
static void x64_t2_phi_store(struct x64_t1 *t, ir_ref r, unsigned reg)
{
    if (t->val[r].flags & X64_V_SPILL)
        x64_store_state(t, x64_place_mem(t, &t->val[r]), reg);
}

static void x64_t2_phi_seen(struct x64_t1 *t, ir_ref r)
{
    uint8_t *p = x64_prop(t->t2, r);

    if ((t->val[r].flags & X64_V_CANON) && (*p & X64_P_NC)) {
        *p |= X64_P_CANON; /* its operands have to be: again */
        t->t2->again = true;
    }
    if (t->val[r].reg != X64_NONE || (t->val[r].flags & X64_V_SPILL))
        *p |= X64_P_NEEDED;
}

/* The top of a header: from what was assumed to what is. */
static void x64_t2_header(struct x64_t1 *t, unsigned b)
{
    struct x64_t2 *x = t->t2;
    ir_ref *assumed = x->assume[b], is[X64_NREGS];
    uint8_t at[X64_NREGS]; /* by register: where its value was assumed */
    struct x64_move m[X64_NREGS];
    unsigned n = 0;

    memcpy(is, t->owner, sizeof is);
    memset(at, X64_NONE, sizeof at);
    for (unsigned reg = 0; reg < X64_NREGS; reg++)
        for (unsigned a = 0; is[reg] != IR_NIL && a < X64_NREGS; a++)
            if (assumed[a] == is[reg])
                at[reg] = (uint8_t)a;
    for (unsigned reg = 0; reg < X64_NREGS; reg++) {
        ir_ref r = is[reg];
        int slot;

        if (r == IR_NIL || at[reg] == reg)
            continue;
        m[n] = (struct x64_move){.dst = (uint8_t)reg};
        if (at[reg] != X64_NONE) {
            m[n].kind = X64_MOVE_REG;
            m[n].src = at[reg];
        } else if (ir_is_const(r)) {
            m[n].kind = X64_MOVE_CONST;
            m[n].k = r;
        } else {
            if (x64_t2_is_phi_of(t, r, b) && !(t->val[r].flags & X64_V_SPILL))
                x->again = true; /* assumed not to be needed */
            m[n].kind = X64_MOVE_MEM;
            m[n].disp = x64_backing(t, r, &slot).disp;
        }
        n++;
    }
    x64_moves(t, m, n);
    x->changed |= memcmp(is, assumed, sizeof is) != 0;
    /* PHIs that come in registers and are wanted in memory */
    for (unsigned a = 0; a < X64_NREGS; a++)
        if (assumed[a] != IR_NIL && x64_t2_is_phi_of(t, assumed[a], b))
            x64_t2_phi_store(t, assumed[a], a);
    for (ir_ref r = x->block[b].first + 1; x64_ins(t, r)->op == IR_PHI; r++)
        if ((t->val[r].flags & X64_V_SPILL) && !(*x64_prop(x, r) & X64_P_NEEDED)) {
            *x64_prop(x, r) |= X64_P_NEEDED;
            x->again = true;
        }
    /* its predecessors see what was assumed; in: what to assume next time */
    memcpy(x->in[b], is, sizeof is);
}

static void x64_t2_block_top(struct x64_t1 *t, unsigned b)
{
    struct x64_t2 *x = t->t2;
    struct x64_block *k = &x->block[b];

    t->at = k->first;
    t->lock = 0;
    for (ir_ref r = k->first + 1; x64_ins(t, r)->op == IR_PHI; r++) {
        if (!k->header && t->val[r].reg != X64_NONE)
            x64_t2_phi_store(t, r, t->val[r].reg);
    }
    if (k->header)
        x64_t2_header(t, b);
    else
        memcpy(x->in[b], t->owner, sizeof t->owner);
    for (ir_ref r = k->first + 1; x64_ins(t, r)->op == IR_PHI; r++)
        x64_t2_phi_seen(t, r);
    k->label = x64_off(t);
    x64_log(t, X64_E_TOP, 0, 0, b, 0);
    for (size_t n = 0; n < x->back.len; n++)
        if (x->back.data[n].block == b)
            t->c->relocs.data[x->back.data[n].reloc].addend = k->label;
}

/* The register that values of each slot would like to be in, so that what a slot has on either
 * side of an edge is in one place: the home of pinned slots, and for the others, those used most
 * first, homes of slots that the region leaves alone. */
static void x64_t2_prefer(const struct x64_t1 *t, uint8_t *prefer)
{
    const struct x64_t2 *x = t->t2;
    uint32_t weight[IR_MAX_SLOTS] = {0}, free = X64_GPRS | (t->fp ? (uint32_t)X64_FPRS : 0);
    unsigned nslots = t->f->guest->nslots;

    for (unsigned b = 0; b < x->nblocks; b++) {
        unsigned depth = x->block[b].depth > 3 ? 3 : x->block[b].depth;

        for (ir_ref r = x->block[b].first; r <= x->block[b].last; r++) {
            const struct ir_ins *i = x64_ins(t, r);

            if (i->op == IR_PUT || i->op == IR_GET)
                weight[i->a] += 1u << 3 * depth;
        }
    }
    free &= ~(1u << RAX | 1u << RDX | 7u << XMM0); /* what instructions ask for */
    for (unsigned s = 0; s < nslots; s++) {
        prefer[s] = X64_NONE;
        if (weight[s] && (t->pinned >> s & 1)) {
            prefer[s] = t->home[s];
            free &= ~(1u << t->home[s]);
        }
    }
    for (;;) {
        unsigned best = nslots;
        uint32_t of;

        for (unsigned s = 0; s < nslots; s++)
            if (weight[s] && prefer[s] == X64_NONE && (best == nslots || weight[s] > weight[best]))
                best = s;
        if (best == nslots)
            return;
        weight[best] = 0;
        of = free & (ir_is_float(t->f->guest->slots[best].type) ? (uint32_t)X64_FPRS : X64_GPRS);
        if (!of)
            continue;
        prefer[best] = (uint8_t)__builtin_ctz(of);
        free &= ~(1u << prefer[best]);
    }
}

/* ... and so would what is put into it, and what an extension that only the slot wants is of. */
static void x64_t2_slot_hints(struct x64_t1 *t)
{
    uint8_t prefer[IR_MAX_SLOTS];

    x64_t2_prefer(t, prefer);
    for (ir_ref r = IR_BIAS; r < t->f->nins; r++) {
        const struct ir_ins *i = x64_ins(t, r);
        ir_ref v = i->op == IR_PUT ? i->b : r;
        unsigned reg;

        if (i->op != IR_PUT && i->op != IR_GET)
            continue;
        reg = prefer[i->a];
        for (; reg != X64_NONE && !ir_is_const(v); v = x64_ins(t, v)->a) {
            unsigned op = x64_ins(t, v)->op;

            if (x64_ref_fp(t, v) != (reg >= XMM0))
                break;
            if (t->val[v].hint == X64_NONE)
                t->val[v].hint = (uint8_t)reg;
            if (t->val[v].uses || (op != IR_SEXT && op != IR_ZEXT && op != IR_FBOX))
                break;
        }
    }
}

/* Values that a header is assumed to have in registers want to be there all the time, and so
 * does what its PHIs get; the hints of inner loops count. */
static void x64_t2_hints(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    unsigned deepest = 0;

    x64_t2_slot_hints(t);
    for (unsigned b = 0; b < x->nblocks; b++)
        if (x->block[b].depth > deepest)
            deepest = x->block[b].depth;
    for (unsigned depth = 1; depth <= deepest; depth++) {
        for (unsigned b = 0; b < x->nblocks; b++) {
            if (!x->block[b].header || x->block[b].depth != depth)
                continue;
            for (unsigned reg = 0; reg < X64_NREGS; reg++) {
                ir_ref r = x->assume[b][reg];

                if (r == IR_NIL || ir_is_const(r))
                    continue;
                t->val[r].hint = (uint8_t)reg;
                if (!x64_t2_is_phi_of(t, r, b))
                    continue;
                for (uint32_t n = 0; n < x64_ins(t, r)->b; n++) {
                    ir_ref o = t->f->extra[x64_ins(t, r)->a + 2 * n + 1];

                    if (!ir_is_const(o) && o > r && x64_ins(t, o)->op != IR_PHI)
                        t->val[o].hint = (uint8_t)reg;
                }
            }
        }
    }
}

/* ---- the passes -------------------------------------------------------- */

static void x64_t2_emit_block(struct x64_t1 *t, unsigned b)
{
    struct x64_t2 *x = t->t2;
    struct x64_block *k = &x->block[b];
    ir_ref r;

    x->cur = b;
    x->spilled[b] = 0;
    x->kept = 0;
    for (unsigned reg = 0; k->depth && reg < X64_NREGS; reg++)
        x->kept |= (uint32_t)(x->assume[k->loop][reg] != IR_NIL) << reg;
    x64_t2_clear(t);
    memcpy(t->cur, x->end[b], t->f->guest->nslots * sizeof *t->cur);
    x64_t2_cells_enter(t, b);
    r = x64_t2_terminator(t, b);
    while (r > k->first + (b != 0) && !t->gave_up) {
        r--;
        if (x64_ins(t, r)->op == IR_PHI)
            break;
        x64_instruction(t, r, x64_ins(t, r));
        x64_t2_cells_pass(t, r);
    }
    t->lock = 0;
    if (b && !t->gave_up)
        x64_t2_block_top(t, b);
}

static void x64_t2_pass(struct x64_t1 *t, struct jit_code *c)
{
    struct x64_t2 *x = t->t2;

    c->relocs.len = c->exits.len = c->points.len = c->map_bytes.len = c->map_start.len = 0;
    c->marks.len = 0;
    x64_start(t, t->f, c);
    x64_t2_values(t);
    x64_t2_hints(t);
    x->back.len = 0;
    x64_log_reset(t);
    x->again = x->changed = false;
    for (unsigned b = 0; b < x->nblocks; b++)
        x->block[b].label = UINT32_MAX;
    memset(t->owner, 0, sizeof t->owner);
    for (unsigned b = x->nblocks; b-- && !t->gave_up;)
        x64_t2_emit_block(t, b);
    if (!t->gave_up)
        x64_region_top(t);
    x64_log(t, X64_E_TOP, 0, 0, 0, 0);
}

/* Headers assume what came out; false: nothing would change. */
static void x64_t2_assume(struct x64_t2 *x)
{
    for (unsigned b = 0; b < x->nblocks; b++)
        if (x->block[b].header)
            memcpy(x->assume[b], x->in[b], sizeof x->assume[b]);
}

static struct x64_t1 *x64_t2_scratch(struct jit *j, void **scratch)
{
    size_t more = BASE_ALIGN_UP(sizeof(struct x64_t2), 16);
    struct x64_t1 *t = *scratch;

    if (!t) {
        *scratch = t = x64_scratch(j, more);
        t->t2 = (struct x64_t2 *)(t + 1);
        memset(&t->t2->back, 0, sizeof t->t2->back);
    }
    return t;
}

enum { X64_DEEPEST = 5, X64_LOOP_LOG = 3 }; /* each loop is taken to go round eight times */

/* Are there more loads and stores of spilled values than are wanted? What leaves the region is not
 * counted: tier 1 has to bring the state home, too. */
static bool x64_t2_too_many_spills(const struct x64_t1 *t)
{
    const struct x64_t2 *x = t->t2;
    uint64_t spilled = 0, insns = 0;

    for (unsigned b = 1; t->c->most_spills && b < x->nblocks; b++) {
        const struct x64_block *k = &x->block[b];
        unsigned weight = X64_LOOP_LOG * (k->depth < X64_DEEPEST ? k->depth : X64_DEEPEST);

        for (ir_ref r = k->first; r <= k->last; r++)
            insns += (uint64_t)(x64_ins(t, r)->op == IR_IMARK) << weight;
        if (k->nsucc)
            spilled += (uint64_t)x->spilled[b] << weight;
    }
    return spilled * 100 > insns * t->c->most_spills;
}

int x64_compile2(struct jit *j, void **scratch, struct ir_func *f, struct jit_code *c)
{
    struct x64_t1 *t = x64_t2_scratch(j, scratch);
    struct x64_t2 *x = t->t2;

    x64_start(t, f, c);
    x64_log_begin(t);
    if (x64_t2_prepare(t)) {
        x64_t2_values(t);
        x64_t2_cells(t);
        for (unsigned pass = 1;; pass++) {
            x64_t2_pass(t, c);
            if (t->gave_up || (!x->again && (!x->changed || pass >= X64_GOOD_PASSES)))
                break;
            if (pass == X64_MAX_PASSES) {
                t->gave_up = "registers of a loop did not settle";
                break;
            }
            x64_t2_assume(x);
        }
    }
    if (!t->gave_up && x64_t2_too_many_spills(t))
        t->gave_up = "tier 2: values are moved about more than it pays";
    if (!t->gave_up)
        x64_check(t);
    x64_log_end(t);
    base_vec_free(&x->back);
    c->gave_up = t->gave_up;
    if (t->gave_up)
        return -1;
    x64_layout(t);
    return 0;
}
