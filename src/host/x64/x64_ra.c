/* x64_ra.c: tier 1's registers. SPDX-License-Identifier: Apache-2.0
 *
 * Allocation runs backwards with emission: a value gets its register at its
 * last use (the first one seen) and gives it back where it is defined. So a
 * register is free above the definition, and no live ranges are computed.
 *
 * Entry values. Before a slot's first PUT its value is the one the region was
 * entered with, in the slot's home register (pinned) or in the state. The
 * entry value of a pinned slot is a value like any other (ref entry[slot]); it
 * is defined at the region's top, where it is in its home. A slot that the
 * region never PUTs keeps its home register occupied from top to bottom.
 *
 * Eviction emits the value's reload at the present point (the code after it
 * finds the value in the register again) and leaves the value without a
 * register above. What reloads from: constants are made anew; the entry value
 * of an unpinned slot is still in the state as long as no PUT lies above;
 * the entry value of a pinned slot is stored to its state slot at the top
 * (X64_V_HOME); a value that an unpinned slot holds here is read from there,
 * and the PUT that wrote it is a store (put_wanted); any other value is stored
 * to a spill slot where it is defined (X64_V_SPILL). Reloads are moves and
 * keep the flags.
 */
#include "host/x64/x64_t2.h"

/* ---- plain moves ----------------------------------------------------- */

void x64_mov_reg(struct x64_t1 *t, unsigned d, unsigned s)
{
    if (d == s)
        return;
    x64_log(t, X64_E_MOVE, d, s, 0, 0);
    if (d < XMM0)
        x64_mov(&t->out, 1, d, s);
    else if (x64_cpu(t, X64_CPU_AVX))
        x64_vrr(&t->out, X64_OP(1, 0, 0x28), 0, d, 0, s); /* vmovaps */
    else
        x64_rr(&t->out, X64_OP(1, 0, 0x28), 0, d, s);
}

void x64_load_state(struct x64_t1 *t, unsigned reg, struct x64_mem m)
{
    x64_log(t, X64_E_LOAD, reg, 0, 0, m.disp);
    if (t->t2)
        t->t2->spilled[t->t2->cur]++;
    if (reg < XMM0)
        x64_rm(&t->out, 0x8b, 1, reg, m);
    else if (x64_cpu(t, X64_CPU_AVX))
        x64_vrm(&t->out, X64_OP(1, 2, 0x7e), 0, reg, 0, m); /* vmovq */
    else
        x64_rm(&t->out, X64_OP(1, 2, 0x7e), 0, reg, m);
}

void x64_store_state(struct x64_t1 *t, struct x64_mem m, unsigned reg)
{
    x64_log(t, X64_E_STORE, reg, 0, 0, m.disp);
    if (t->t2)
        t->t2->spilled[t->t2->cur]++;
    if (reg < XMM0)
        x64_rm(&t->out, 0x89, 1, reg, m);
    else if (x64_cpu(t, X64_CPU_AVX))
        x64_vrm(&t->out, X64_OP(1, 1, 0xd6), 0, reg, 0, m); /* vmovq */
    else
        x64_rm(&t->out, X64_OP(1, 1, 0xd6), 0, reg, m);
}

/* Keeps the flags. Guest addresses have relocation records. */
static void x64_mov_const(struct x64_t1 *t, unsigned reg, ir_ref k)
{
    uint64_t v = ir_kval(t->f, k);

    if (x64_ins(t, k)->op != IR_KADDR) {
        x64_mov_imm(&t->out, reg, v);
        return;
    }
    if (v <= UINT32_MAX) {
        x64_d(&t->out, (uint32_t)v);
        x64_reloc(t, JIT_RELOC_ABS32_GUEST, 0, 0);
    } else {
        x64_q(&t->out, v);
        x64_reloc(t, JIT_RELOC_ABS64_GUEST, 0, 0);
    }
    x64_b(&t->out, 0xb8 | (reg & 7));
    if (v > UINT32_MAX || reg >= 8)
        x64_b(&t->out, 0x40 | (v > UINT32_MAX) << 3 | reg >> 3);
}

void x64_load_const(struct x64_t1 *t, unsigned reg, ir_ref k)
{
    uint64_t v = ir_kval(t->f, k);

    x64_log(t, X64_E_CONST, reg, 0, k, 0);
    if (reg < XMM0)
        x64_mov_const(t, reg, k);
    else
        x64_op_literal(t, X64_OP(1, 2, 0x7e), reg, v); /* (v)movq */
}

struct x64_mem x64_spill_mem(unsigned n)
{
    return x64_vcpu(X64_VCPU_DISP(spill) + 8 * (int32_t)n);
}

struct x64_mem x64_place_mem(const struct x64_t1 *t, const struct x64_val *v)
{
    return v->flags & X64_V_CELL ? x64_slot_mem(t, v->spill) : x64_spill_mem(v->spill);
}

/* ---- ownership ------------------------------------------------------- */

static uint32_t x64_class(const struct x64_t1 *t, ir_ref r)
{
    return x64_ref_fp(t, r) ? (uint32_t)X64_FPRS : X64_GPRS;
}

void x64_give(struct x64_t1 *t, ir_ref r, unsigned reg)
{
    BASE_DASSERT(t->free >> reg & 1);
    t->free &= ~(1u << reg);
    t->given |= 1u << reg;
    t->owner[reg] = r;
    t->val[r].reg = (uint8_t)reg;
}

void x64_free(struct x64_t1 *t, ir_ref r)
{
    unsigned reg = t->val[r].reg;

    if (reg == X64_NONE)
        return;
    t->free |= 1u << reg;
    t->owner[reg] = IR_NIL;
    t->val[r].reg = X64_NONE;
}

/* Slot whose entry value r is, or -1. */
int x64_entry_slot(const struct x64_t1 *t, ir_ref r)
{
    if (r >= X64_ENTRY)
        return (int)(r - X64_ENTRY);
    if (!ir_is_const(r) && x64_ins(t, r)->op == IR_GET)
        return (int)x64_ins(t, r)->a;
    return -1;
}

unsigned x64_new_spill(struct x64_t1 *t)
{
    if (t->nspill == JIT_SPILLS) {
        t->gave_up = "out of spill slots";
        return 0;
    }
    return t->nspill++;
}

/* The unpinned slot that holds r here, or -1. */
static int x64_slot_holding(const struct x64_t1 *t, ir_ref r)
{
    uint64_t unpinned = t->touched & ~t->pinned;

    if (t->barrier) /* touched is not known by segment */
        return -1;
    for (; unpinned; unpinned &= unpinned - 1) {
        int slot = __builtin_ctzll(unpinned);

        if (t->cur[slot] == r)
            return slot;
    }
    return -1;
}

/* Where value r (not a constant) can be had from memory here, and sees to it
 * that it is put there: *slot is the slot whose place in the state it is, or
 * -1 for its spill slot. */
struct x64_mem x64_backing(struct x64_t1 *t, ir_ref r, int *slot)
{
    struct x64_val *v = &t->val[r];

    if (t->t2)
        x64_t2_want_place(t, r);
    *slot = x64_entry_slot(t, r);
    if (*slot >= 0 && (t->pinned >> *slot & 1)) {
        v->flags |= X64_V_HOME;
        t->watch |= 1ull << *slot;
        return x64_slot_mem(t, (unsigned)*slot);
    }
    if (v->flags & X64_V_SPILL) {
        *slot = v->flags & X64_V_CELL ? v->spill : -1;
        return x64_place_mem(t, v);
    }
    if (*slot >= 0 && (t->t2 || t->cur[*slot] == IR_NIL))
        return x64_slot_mem(t, (unsigned)*slot);
    if (t->t2) {
        x64_t2_give_place(t, r);
        *slot = v->flags & X64_V_CELL ? v->spill : -1;
        return x64_place_mem(t, v);
    }
    *slot = x64_slot_holding(t, r);
    if (*slot >= 0) { /* its PUT lies above and must be a store */
        t->put_wanted |= 1ull << *slot;
        return x64_slot_mem(t, (unsigned)*slot);
    }
    v->flags |= X64_V_SPILL;
    v->spill = (uint8_t)x64_new_spill(t);
    return x64_spill_mem(v->spill);
}

void x64_evict_reg(struct x64_t1 *t, unsigned reg)
{
    ir_ref r = t->owner[reg];
    int slot;

    if (ir_is_const(r))
        x64_load_const(t, reg, r);
    else
        x64_load_state(t, reg, x64_backing(t, r, &slot));
    x64_free(t, r);
}

/* The cheapest to take away: constants, then what is in the state anyway, then
 * what was defined longest ago. */
static unsigned x64_victim(struct x64_t1 *t, uint32_t mask)
{
    unsigned best = X64_NONE;
    uint32_t best_cost = UINT32_MAX;

    if (t->t2)
        return x64_t2_victim(t, mask);
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned reg = (unsigned)__builtin_ctz(m);
        ir_ref r = t->owner[reg];
        int slot;
        uint32_t cost;

        if (r == IR_NIL)
            continue; /* not this region's to use */
        if (ir_is_const(r)) {
            cost = 0;
        } else if ((slot = x64_entry_slot(t, r)) >= 0) {
            cost = (t->pinned >> slot & 1) ? 2 : 1;
        } else {
            cost = r;
        }
        if (cost < best_cost) {
            best_cost = cost;
            best = reg;
        }
    }
    return best;
}

static unsigned x64_pick(struct x64_t1 *t, uint32_t m)
{
    if (base_unlikely(t->j->cfg.random_ra)) {
        unsigned n = (unsigned)(base_rand(&t->j->rand) % (unsigned)__builtin_popcount(m));

        while (n--)
            m &= m - 1;
    }
    return (unsigned)__builtin_ctz(m);
}

static unsigned x64_take(struct x64_t1 *t, uint32_t cls)
{
    uint32_t m = t->free & cls & ~t->lock;

    if (!m) {
        unsigned victim = x64_victim(t, cls & ~t->free & ~t->lock);

        if (victim == X64_NONE)
            base_bug(__FILE__, __LINE__, "no register to evict at %%%u", t->at - IR_BIAS);
        x64_evict_reg(t, victim);
        return victim;
    }
    if (t->t2 && (m & ~t->t2->kept))
        m &= ~t->t2->kept;
    return x64_pick(t, m);
}

unsigned x64_alloc(struct x64_t1 *t, ir_ref r)
{
    struct x64_val *v = &t->val[r];
    unsigned reg = v->hint;

    if (reg == X64_NONE || !(t->free & ~t->lock & 1u << reg) ||
        (base_unlikely(t->j->cfg.random_ra) && (base_rand(&t->j->rand) & 3) == 0))
        reg = x64_take(t, x64_class(t, r));
    if (!(t->free >> reg & 1))
        base_bug(__FILE__, __LINE__, "register %u taken twice", reg);
    x64_give(t, r, reg);
    /* an entry value that is not at home is missed there by later points */
    int slot = x64_entry_slot(t, r);
    if (slot >= 0 && (t->pinned >> slot & 1) && (int)reg != x64_home(t, (unsigned)slot))
        t->watch |= 1ull << slot;
    return reg;
}

unsigned x64_temp(struct x64_t1 *t, uint32_t cls)
{
    unsigned reg = x64_take(t, cls);

    t->lock |= 1u << reg;
    x64_log(t, X64_E_CLOBBER, reg, 0, 0, 0);
    return reg;
}

void x64_clear_reg(struct x64_t1 *t, unsigned reg)
{
    ir_ref r = t->owner[reg];
    uint32_t cls = reg < XMM0 ? X64_GPRS : (uint32_t)X64_FPRS;
    uint32_t m = t->free & cls & ~t->lock & ~(1u << reg);

    t->lock |= 1u << reg;
    if (t->free >> reg & 1) {
        x64_log(t, X64_E_CLOBBER, reg, 0, 0, 0);
        return;
    }
    if (!m || ir_is_const(r)) {
        x64_evict_reg(t, reg);
    } else {
        unsigned to = x64_pick(t, m);
        int slot = x64_entry_slot(t, r);

        x64_mov_reg(t, reg, to);
        x64_free(t, r);
        x64_give(t, r, to);
        if (slot >= 0 && (t->pinned >> slot & 1))
            t->watch |= 1ull << slot;
    }
    x64_log(t, X64_E_CLOBBER, reg, 0, 0, 0);
}

/* The register in which the instruction's result is wanted (a scratch one if
 * nobody wants it), free from here up; emits the stores an evicted value
 * needs. */
unsigned x64_def(struct x64_t1 *t, ir_ref r, uint32_t cls)
{
    struct x64_val *v = &t->val[r];
    unsigned reg = v->reg;

    if (reg == X64_NONE)
        reg = x64_take(t, cls);
    else
        x64_free(t, r);
    if (v->flags & X64_V_SPILL)
        x64_store_state(t, x64_place_mem(t, v), reg);
    if (t->t2)
        x64_t2_cells_pass(t, r);
    x64_log(t, X64_E_DEF, reg, 0, r, 0);
    return reg;
}

/* ---- parallel moves -------------------------------------------------- */

static void x64_emit_move(struct x64_t1 *t, const struct x64_move *m)
{
    switch (m->kind) {
    case X64_MOVE_REG: x64_mov_reg(t, m->dst, m->src); break;
    case X64_MOVE_CONST: x64_load_const(t, m->dst, m->k); break;
    case X64_MOVE_MEM: x64_load_state(t, m->dst, x64_vcpu(m->disp)); break;
    }
}

static void x64_swap(struct x64_t1 *t, unsigned a, unsigned b)
{
    x64_log(t, X64_E_SWAP, a, b, 0, 0);
    if (a < XMM0) {
        x64_rr(&t->out, 0x87, 1, a, b); /* xchg */
        return;
    }
    for (int k = 0; k < 3; k++) /* three exclusive ors; symmetric backwards */
        x64_rr(&t->out, X64_OP(1, 0, 0x57), 0, k == 1 ? b : a, k == 1 ? a : b);
}

/* A register of reg's class that nobody has here and no move names, or X64_NONE. */
static unsigned x64_spare(const struct x64_t1 *t, const struct x64_move *m, unsigned n,
                          unsigned reg)
{
    uint32_t spare = t->free & ~t->lock & (reg < XMM0 ? X64_GPRS : (uint32_t)X64_FPRS);

    for (unsigned i = 0; i < n; i++) {
        spare &= ~(1u << m[i].dst);
        if (m[i].kind == X64_MOVE_REG)
            spare &= ~(1u << m[i].src);
    }
    return spare ? (unsigned)__builtin_ctz(spare) : X64_NONE;
}

/* Emits the n moves as if done at once; keeps the flags. The program order is
 * worked out forwards, then emitted from its end. */
void x64_moves(struct x64_t1 *t, struct x64_move *m, unsigned n)
{
    struct { uint8_t swap, a, b; } seq[2 * X64_NREGS];
    unsigned nseq = 0, nreg = 0, order[X64_NREGS];
    uint8_t src[X64_NREGS]; /* by index into order: present place of the value */

    for (unsigned i = 0; i < n; i++) {
        if (m[i].kind != X64_MOVE_REG)
            x64_emit_move(t, &m[i]); /* these come last */
        else if (m[i].dst != m[i].src)
            order[nreg] = i, src[nreg++] = m[i].src;
    }
    for (unsigned left = nreg; left;) {
        bool progress = false;

        for (unsigned i = 0; i < nreg; i++) {
            unsigned d, k;

            if (order[i] == UINT32_MAX)
                continue;
            d = m[order[i]].dst;
            for (k = 0; k < nreg; k++)
                if (k != i && order[k] != UINT32_MAX && src[k] == d)
                    break;
            if (k < nreg)
                continue;
            seq[nseq].swap = 0, seq[nseq].a = (uint8_t)d, seq[nseq++].b = src[i];
            order[i] = UINT32_MAX;
            left--;
            progress = true;
        }
        if (progress || !left)
            continue;
        for (unsigned i = 0; i < nreg; i++) { /* only cycles are left */
            if (order[i] == UINT32_MAX)
                continue;
            uint8_t d = m[order[i]].dst, s = src[i];
            unsigned spare = x64_spare(t, m, n, d);
            if (spare != X64_NONE) { /* moves are free, an exchange is not */
                seq[nseq].swap = 0, seq[nseq].a = (uint8_t)spare, seq[nseq++].b = d;
                for (unsigned k = 0; k < nreg; k++)
                    if (order[k] != UINT32_MAX && src[k] == d)
                        src[k] = (uint8_t)spare;
                break;
            }
            seq[nseq].swap = 1, seq[nseq].a = d, seq[nseq++].b = s;
            order[i] = UINT32_MAX;
            left--;
            for (unsigned k = 0; k < nreg; k++) {
                if (order[k] == UINT32_MAX)
                    continue;
                if (src[k] == d)
                    src[k] = s;
                else if (src[k] == s)
                    src[k] = d;
                if (src[k] == m[order[k]].dst)
                    order[k] = UINT32_MAX, left--;
            }
            break;
        }
    }
    while (nseq--) {
        if (seq[nseq].swap)
            x64_swap(t, seq[nseq].a, seq[nseq].b);
        else
            x64_mov_reg(t, seq[nseq].a, seq[nseq].b);
    }
}

/* ---- the region's convention ----------------------------------------- */

static void x64_escape(struct x64_t1 *t, ir_ref r)
{
    t->val[r].flags |= X64_V_CANON;
}

/* A free register for r if there is one, else r will be had from memory. */
bool x64_try_alloc(struct x64_t1 *t, ir_ref r)
{
    if (!(t->free & ~t->lock & x64_class(t, r)))
        return false;
    x64_alloc(t, r);
    return true;
}

unsigned x64_convention(struct x64_t1 *t, struct x64_move *m, bool final)
{
    unsigned n = 0;
    uint32_t homes = 0;

    if (t->t2)
        return x64_t2_convention(t, m, final);
    /* values whose home is free go there first: most need no move then */
    for (uint64_t w = t->watch; w; w &= w - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(w);
        ir_ref r = x64_slot_value(t, slot);
        int home = x64_home(t, slot);

        homes |= 1u << home;
        if (!ir_is_const(r) && t->val[r].reg == X64_NONE && (t->free & ~t->lock & 1u << home) &&
            (final || !(t->val[r].flags & (X64_V_SPILL | X64_V_HOME))) &&
            !(t->j->cfg.random_ra && !final))
            x64_give(t, r, (unsigned)home);
    }
    for (uint64_t w = t->watch; w; w &= w - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(w);
        ir_ref r = x64_slot_value(t, slot);
        struct x64_val *v = &t->val[r];
        unsigned home = (unsigned)x64_home(t, slot);

        x64_escape(t, r);
        if (ir_is_const(r)) {
            m[n++] = (struct x64_move){.dst = (uint8_t)home, .kind = X64_MOVE_CONST, .k = r};
            continue;
        }
        if (v->reg == X64_NONE && !x64_try_alloc(t, r)) {
            int from;

            m[n++] = (struct x64_move){.dst = (uint8_t)home, .kind = X64_MOVE_MEM,
                                       .disp = x64_backing(t, r, &from).disp};
            continue;
        }
        if (v->reg != home)
            m[n++] = (struct x64_move){.dst = (uint8_t)home, .kind = X64_MOVE_REG, .src = v->reg};
    }
    return n;
}

void x64_region_bottom(struct x64_t1 *t)
{
    /* a region without FP leaves the FP homes alone */
    t->free = t->free0[t->fp];
    memcpy(t->owner, t->owner0[t->fp], sizeof t->owner);
    t->lock = 0;
    t->given = 0;
    t->watch = 0;
    for (uint64_t p = t->pinned & t->touched; p; p &= p - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(p), home = t->home[slot];

        if (t->cur[slot] || (t->f->put_mask[0] >> slot & 1)) {
            t->watch |= 1ull << slot;
            t->free |= 1u << home;
            t->owner[home] = IR_NIL;
            t->val[t->entry[slot]].reg = X64_NONE;
        } else {
            t->owner[home] = t->entry[slot];
            t->val[t->entry[slot]].reg = (uint8_t)home;
        }
    }
}

_Noreturn static void x64_live_at_top(const struct x64_t1 *t, ir_ref r)
{
    struct base_text text = {0};

    ir_print(t->f, &text);
    fputs(text.data, stderr);
    base_bug(__FILE__, __LINE__, "%%%u is live at the top of region %#llx", r - IR_BIAS,
             (unsigned long long)t->f->key);
}

/* Everything still in a register is an entry value or a constant. */
void x64_region_top(struct x64_t1 *t)
{
    struct x64_move m[X64_NREGS];
    unsigned n = 0;

    for (uint32_t u = ~t->free & t->given; u; u &= u - 1) {
        unsigned reg = (unsigned)__builtin_ctz(u);
        ir_ref r = t->owner[reg];
        int slot = t->slot_of[reg];

        if (slot >= 0 && r == t->entry[slot])
            continue; /* at home */
        if (r == IR_NIL)
            continue;
        if (ir_is_const(r)) {
            m[n++] = (struct x64_move){.dst = (uint8_t)reg, .kind = X64_MOVE_CONST, .k = r};
        } else {
            slot = x64_entry_slot(t, r);
            if (slot < 0 || !(t->pinned >> slot & 1))
                x64_live_at_top(t, r);
            if (x64_home(t, (unsigned)slot) != (int)reg)
                m[n++] = (struct x64_move){.dst = (uint8_t)reg, .kind = X64_MOVE_REG,
                                           .src = (uint8_t)x64_home(t, (unsigned)slot)};
        }
        t->val[r].reg = X64_NONE;
    }
    if (n)
        x64_moves(t, m, n);
    for (uint64_t p = t->watch; p; p &= p - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(p);
        struct x64_val *v = &t->val[t->entry[slot]];

        if (v->flags & X64_V_HOME) {
            x64_store_state(t, x64_slot_mem(t, slot), (unsigned)x64_home(t, slot));
            v->flags &= (uint8_t)~X64_V_HOME;
        }
    }
}

/* ---- state maps ------------------------------------------------------ */

/* NaN canonicalisation and boxing of a value that only the map needs are left
 * to the reader of the map. */
static enum jit_how x64_map_how(const struct x64_t1 *t, ir_ref *r)
{
    const struct ir_ins *i;

    if (*r >= X64_ENTRY || ir_is_const(*r))
        return JIT_HOW_COPY;
    i = x64_ins(t, *r);
    if (i->op == IR_SEXT && i->ty == IR_I64 && t->val[*r].reg == X64_NONE &&
        x64_ins(t, i->a)->ty == IR_I32 && t->val[i->a].reg != X64_NONE &&
        !(t->val[*r].flags & X64_V_SPILL)) {
        *r = i->a;
        return JIT_HOW_SEXT32;
    }
    if (i->ty == IR_F64 && x64_makes_nans(t, i) && !(t->val[*r].flags & X64_V_CANON))
        return JIT_HOW_CANON64;
    return JIT_HOW_COPY;
}

unsigned x64_map_pc(struct x64_t1 *t, uint64_t pc)
{
    if (t->t2)
        return x64_t2_map(t, pc);
    jit_map_begin(t->c, pc);
    for (uint64_t w = t->watch; w; w &= w - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(w);
        ir_ref r = x64_slot_value(t, slot);
        enum jit_how how;
        struct x64_val *v = &t->val[r];

        /* at home, which is where most are, and canonical */
        if (v->reg == t->home[slot] && (v->reg < XMM0 || (v->flags & X64_V_CANON)))
            continue;
        if (ir_is_const(r)) {
            jit_map_add(t->c, slot,
                        x64_ins(t, r)->op == IR_KADDR ? JIT_LOC_ADDR : JIT_LOC_CONST,
                        JIT_HOW_COPY, ir_kval(t->f, r));
            continue;
        }
        how = x64_map_how(t, &r);
        v = &t->val[r];
        if (v->reg == X64_NONE && !(v->flags & (X64_V_SPILL | X64_V_HOME)))
            x64_try_alloc(t, r);
        if (v->reg == X64_NONE) {
            int from;

            x64_backing(t, r, &from);
            if (from < 0)
                jit_map_add(t->c, slot, JIT_LOC_SPILL, how, v->spill);
            else
                jit_map_add(t->c, slot, JIT_LOC_STATE, how, (unsigned)from);
        } else if (v->reg >= XMM0) {
            if (how != JIT_HOW_COPY || (int)v->reg != x64_home(t, slot))
                jit_map_add(t->c, slot, JIT_LOC_FPR, how, v->reg - XMM0);
        } else if (how != JIT_HOW_COPY || (int)v->reg != x64_home(t, slot)) {
            jit_map_add(t->c, slot, JIT_LOC_GPR, how, v->reg);
        }
    }
    t->snaps++;
    return jit_map_end(t->c);
}

/* Less than one instruction in three asks, and its IMARK is near. */
uint64_t x64_pc(const struct x64_t1 *t)
{
    for (ir_ref r = t->at; r >= IR_BIAS; r--)
        if (x64_ins(t, r)->op == IR_IMARK)
            return ir_imark_pc(x64_ins(t, r));
    return 0;
}

unsigned x64_map(struct x64_t1 *t) { return x64_map_pc(t, x64_pc(t)); }
