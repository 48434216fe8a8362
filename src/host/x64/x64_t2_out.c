/* x64_t2_out.c: tier 2, state maps and exits. SPDX-License-Identifier: Apache-2.0
 *
 * Inside a region no slot is written, but for what is spilled to its place (x64_t2_cells.c). So
 * an exit has to bring everything home, in cold code:
 *
 *   stores    unpinned slots that were PUT, from wherever their values are,
 *             while all registers are as they were
 *   moves     pinned slots into their home registers, all at once
 *   fixes     what is left to do to a home: extend, box, make a NaN canonical
 *
 * A store must not overwrite what a later store or move reads: a place in the
 * state that is both is copied to a spill slot first.
 *
 * What nothing in the region wants may be made there from its operand: a recipe (x64_t2_recipe.c),
 * an extension.
 */
#include "host/x64/x64_t2.h"

/* ---- where a value is ------------------------------------------------ */

static bool x64_t2_may_alloc(struct x64_t1 *t, ir_ref r, bool final)
{
    if (final)
        return true;
    return !(t->val[r].flags & (X64_V_SPILL | X64_V_HOME)) &&
           !(x64_entry_slot(t, r) >= 0 && !(t->pinned >> x64_entry_slot(t, r) & 1)) &&
           x64_t2_may_take(t, r);
}

/* Where r can be had here; sees to it that it is there. An exit can not make a
 * NaN in memory canonical: exit true has that done where it is defined. */
struct x64_where x64_t2_where(struct x64_t1 *t, ir_ref r, bool final, bool exit)
{
    struct x64_where w = {.slot = -1};
    enum jit_how how = JIT_HOW_COPY;

    if (!ir_is_const(r) && r < X64_ENTRY)
        r = x64_t2_strip(t, r, &how, &w.recipe);
    if (ir_is_const(r)) {
        w.kind = X64_MOVE_CONST;
        w.how = (uint8_t)how;
        w.k = r;
        return w;
    }
    if (t->val[r].reg == X64_NONE && x64_t2_may_alloc(t, r, final))
        x64_try_alloc(t, r);
    w.reg = t->val[r].reg;
    if (w.reg == X64_NONE) {
        w.kind = X64_MOVE_MEM;
        w.disp = x64_backing(t, r, &w.slot).disp;
        w.spill = t->val[r].spill;
        if (exit && x64_t2_noncanon(t, r)) {
            t->val[r].flags |= X64_V_CANON;
            if (x64_ins(t, r)->op == IR_PHI) {
                *x64_prop(t->t2, r) |= X64_P_CANON;
                t->t2->again = true;
            }
        }
    }
    if (x64_t2_noncanon(t, r))
        how = how == JIT_HOW_BOX32 ? JIT_HOW_BOXCANON32 : JIT_HOW_CANON64;
    w.how = (uint8_t)how;
    return w;
}

/* Is it in the place of the slot in the state, as it is to be? */
static bool x64_t2_at_home(unsigned slot, struct x64_where w)
{
    return w.kind == X64_MOVE_MEM && w.slot == (int)slot && w.how == JIT_HOW_COPY && !w.recipe;
}

/* ---- maps ------------------------------------------------------------ */

static void x64_t2_map_add(struct x64_t1 *t, unsigned slot, unsigned loc, struct x64_where w,
                           uint64_t n)
{
    if (base_unlikely(t->log != NULL))
        x64_log_event(t, X64_E_MAP, slot, loc, w.how, w.recipe, (int64_t)n);
    if (w.recipe)
        jit_map_add_recipe(t->c, slot, loc, w.how, n, x64_t2_jit_recipe(t, w.recipe));
    else
        jit_map_add(t->c, slot, loc, w.how, n);
}

static void x64_t2_map_slot(struct x64_t1 *t, unsigned slot)
{
    ir_ref r = x64_slot_value(t, slot);
    bool pinned = t->pinned >> slot & 1;
    struct x64_where w;

    if (r == t->entry[slot] && (!pinned || t->val[r].reg == t->home[slot]))
        return;
    w = x64_t2_where(t, r, false, false);
    if (!pinned && x64_t2_at_home(slot, w))
        return;
    switch (w.kind) {
    case X64_MOVE_CONST:
        x64_t2_map_add(t, slot, x64_ins(t, w.k)->op == IR_KADDR ? JIT_LOC_ADDR : JIT_LOC_CONST,
                       w, ir_kval(t->f, w.k));
        break;
    case X64_MOVE_MEM:
        x64_t2_map_add(t, slot, w.slot < 0 ? JIT_LOC_SPILL : JIT_LOC_STATE, w,
                       w.slot < 0 ? w.spill : (unsigned)w.slot);
        break;
    default:
        if (pinned && w.reg == t->home[slot] && w.how == JIT_HOW_COPY && !w.recipe)
            break;
        x64_t2_map_add(t, slot, w.reg < XMM0 ? JIT_LOC_GPR : JIT_LOC_FPR, w,
                       w.reg < XMM0 ? w.reg : w.reg - XMM0);
    }
}

unsigned x64_t2_map(struct x64_t1 *t, uint64_t pc)
{
    jit_map_begin(t->c, pc);
    x64_log(t, X64_E_MAP_END, 0, 0, 0, 0);
    for (uint64_t s = t->t2->slots; s; s &= s - 1)
        x64_t2_map_slot(t, (unsigned)__builtin_ctzll(s));
    return jit_map_end(t->c);
}

/* ---- what an exit has to do ------------------------------------------ */

static void x64_t2_fix(struct x64_t1 *t, unsigned reg, struct x64_where w)
{
    if (w.how != JIT_HOW_COPY || w.recipe)
        t->t2->fix[t->t2->nfix++] = (struct x64_fix){(uint8_t)reg, w.how, w.recipe};
}

/* Values whose home is free go there first: most need no move then. */
static void x64_t2_homes(struct x64_t1 *t, bool final)
{
    if (t->j->cfg.random_ra && !final)
        return;
    for (uint64_t s = t->pinned & t->t2->slots; s; s &= s - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(s);
        ir_ref r = x64_slot_value(t, slot), recipe;
        enum jit_how how;

        if (!ir_is_const(r) && r < X64_ENTRY)
            r = x64_t2_strip(t, r, &how, &recipe);
        if (!ir_is_const(r) && t->val[r].reg == X64_NONE &&
            (t->free & ~t->lock & 1u << t->home[slot]) &&
            (final || (!(t->val[r].flags & (X64_V_SPILL | X64_V_HOME)) && x64_t2_may_take(t, r))))
            x64_give(t, r, t->home[slot]);
    }
}

static void x64_t2_put(struct x64_t1 *t, unsigned slot, struct x64_where w)
{
    struct x64_t2 *x = t->t2;

    x->put[x->nput++] = (struct x64_put){.disp = x64_slot_mem(t, slot).disp,
                                         .kind = w.kind,
                                         .how = w.how,
                                         .reg = w.reg,
                                         .k = w.k,
                                         .from = w.disp,
                                         .recipe = w.recipe};
}

/* Moves and stores that read a place which a store writes read a copy of it. */
void x64_t2_hazards(struct x64_t1 *t, struct x64_move *m, unsigned n)
{
    struct x64_t2 *x = t->t2;
    unsigned nput = x->nput;
    struct x64_put copy[X64_NREGS];
    unsigned ncopy = 0;

    for (unsigned k = 0; k < nput; k++) {
        int32_t disp = x->put[k].disp, to = 0;
        bool read = false;

        for (unsigned o = 0; o < nput && !read; o++)
            read = o != k && x->put[o].kind == X64_MOVE_MEM && x->put[o].from == disp;
        for (unsigned o = 0; o < n && !read; o++)
            read = m[o].kind == X64_MOVE_MEM && m[o].disp == disp;
        if (!read)
            continue;
        if (ncopy == BASE_ARRAY_SIZE(copy) || nput + ncopy + 1 >= X64_PUTS) {
            t->gave_up = "too many slots exchanged at an exit";
            return;
        }
        to = x64_spill_mem(x64_new_spill(t)).disp;
        copy[ncopy++] = (struct x64_put){.disp = to, .kind = X64_MOVE_MEM, .from = disp};
        for (unsigned o = 0; o < nput; o++)
            if (x->put[o].kind == X64_MOVE_MEM && x->put[o].from == disp)
                x->put[o].from = to;
        for (unsigned o = 0; o < n; o++)
            if (m[o].kind == X64_MOVE_MEM && m[o].disp == disp)
                m[o].disp = to;
    }
    /* the copies come first */
    memmove(x->put + ncopy, x->put, nput * sizeof *x->put);
    memcpy(x->put, copy, ncopy * sizeof *copy);
    x->nput = nput + ncopy;
    x->ncopy = ncopy;
}

/* A home register's value is put right in place (from the last to the first step). */
static void x64_t2_emit_how(struct x64_t1 *t, const struct x64_fix *f)
{
    bool avx = x64_cpu(t, X64_CPU_AVX);
    const uint8_t *done;

    if (base_unlikely(t->log != NULL))
        x64_log_event(t, X64_E_FIX, f->reg, 0, f->how, 0, 0);
    switch (f->how) {
    case JIT_HOW_COPY: return;
    case JIT_HOW_SEXT32: x64_rr(&t->out, 0x63, 1, f->reg, f->reg); return;
    case JIT_HOW_ZEXT32: x64_mov(&t->out, 0, f->reg, f->reg); return;
    case JIT_HOW_ZEXT8: x64_movzx8(&t->out, f->reg, f->reg); return;
    }
    if (f->how != JIT_HOW_CANON64) { /* orps */
        if (avx)
            x64_vrm(&t->out, X64_OP(1, 0, 0x56), 0, f->reg, f->reg & 15,
                    x64_const(X64_K_BOX32));
        else
            x64_rm(&t->out, X64_OP(1, 0, 0x56), 0, f->reg, x64_const(X64_K_BOX32));
    }
    if (f->how == JIT_HOW_BOX32)
        return;
    done = t->out.p;
    x64_log_mute(t, true);
    x64_load_state(t, f->reg,
                   x64_const(f->how == JIT_HOW_CANON64 ? X64_K_NAN64 : X64_K_NAN32));
    x64_log_mute(t, false);
    x64_jcc_short(t, CC_NP, done);
    uint32_t op = X64_OP(1, f->how == JIT_HOW_CANON64 ? 1u : 0u, 0x2e); /* ucomis */

    if (avx)
        x64_vrr(&t->out, op, 0, f->reg, 0, f->reg);
    else
        x64_rr(&t->out, op, 0, f->reg, f->reg);
}

static void x64_t2_emit_fix(struct x64_t1 *t, const struct x64_fix *f)
{
    x64_t2_emit_how(t, f);
    if (f->recipe)
        x64_t2_cook_reg(t, f->reg, f->recipe);
}

unsigned x64_t2_convention(struct x64_t1 *t, struct x64_move *m, bool final)
{
    struct x64_t2 *x = t->t2;
    unsigned n = 0;

    x->nput = x->ncopy = x->nfix = 0;
    x64_t2_homes(t, final);
    for (uint64_t s = x->slots; s; s &= s - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(s), home = t->home[slot];
        ir_ref r = x64_slot_value(t, slot);
        struct x64_where w;

        if (!(t->pinned >> slot & 1)) {
            if (r == t->entry[slot])
                continue;
            w = x64_t2_where(t, r, final, true);
            if (!x64_t2_at_home(slot, w))
                x64_t2_put(t, slot, w);
            continue;
        }
        w = x64_t2_where(t, r, final, true);
        x64_t2_fix(t, home, w);
        if (w.kind == X64_MOVE_REG && w.reg == home)
            continue;
        m[n++] = (struct x64_move){.dst = (uint8_t)home, .kind = w.kind, .src = w.reg, .k = w.k,
                                   .disp = w.disp};
    }
    x64_t2_hazards(t, m, n);
    for (unsigned k = 0; k < x->nfix; k++)
        x64_t2_emit_fix(t, &x->fix[k]);
    return n;
}

/* ---- stores ---------------------------------------------------------- */

static struct x64_mem x64_high(struct x64_mem m)
{
    m.disp += 4;
    return m;
}

/* The same for a place: what is done to the value that was stored there. */
static void x64_t2_put_recipe(struct x64_t1 *t, const struct x64_put *p)
{
    struct x64_mem m = x64_vcpu(p->disp);
    const uint8_t *done = t->out.p;

    if (base_unlikely(t->log != NULL))
        x64_log_event(t, X64_E_FIX_PLACE, 0, 0, p->how, p->recipe, p->disp);
    switch (p->how) {
    case JIT_HOW_COPY: break;
    case JIT_HOW_SEXT32:
        x64_mov_mi(&t->out, 0, x64_high(m), -1);
        x64_jcc_short(t, CC_NS, done);
        x64_alu_mi(&t->out, ALU_CMP, 0, m, 0);
        x64_mov_mi(&t->out, 0, x64_high(m), 0);
        break;
    case JIT_HOW_ZEXT32: x64_mov_mi(&t->out, 0, x64_high(m), 0); break;
    default: BASE_ASSERT(!"an extension");
    }
    x64_t2_cook_mem(t, m, p->recipe);
    x64_store_state(t, m, p->reg);
}

/* A value in a register; needs no other register. May change the flags. */
static void x64_t2_put_reg(struct x64_t1 *t, const struct x64_put *p)
{
    struct x64_mem m = x64_vcpu(p->disp);
    const uint8_t *done = t->out.p;

    if (p->recipe) {
        x64_t2_put_recipe(t, p);
        return;
    }
    if (base_unlikely(t->log != NULL) && p->how != JIT_HOW_COPY)
        x64_log_event(t, X64_E_STORE, p->reg, 0, p->how, 0, p->disp);
    switch (p->how) {
    case JIT_HOW_COPY: x64_store_state(t, m, p->reg); return;
    case JIT_HOW_SEXT32: /* mov [m], r; mov [m + 4], 0; test r; jns done; mov [m + 4], -1 */
        x64_mov_mi(&t->out, 0, x64_high(m), -1);
        x64_jcc_short(t, CC_NS, done);
        x64_test_rr(&t->out, 0, p->reg, p->reg);
        x64_mov_mi(&t->out, 0, x64_high(m), 0);
        x64_rm(&t->out, 0x89, 0, p->reg, m);
        return;
    case JIT_HOW_ZEXT32:
        x64_mov_mi(&t->out, 0, x64_high(m), 0);
        x64_rm(&t->out, 0x89, 0, p->reg, m);
        return;
    case JIT_HOW_ZEXT8:
        x64_rm8(&t->out, 0x88, p->reg, m);
        x64_mov_mi(&t->out, 1, m, 0);
        return;
    }
    if (p->how == JIT_HOW_BOX32) {
        x64_mov_mi(&t->out, 0, x64_high(m), -1);
    } else { /* jnp done; the canonical NaN over it */
        bool f64 = p->how == JIT_HOW_CANON64;
        uint32_t op = X64_OP(1, f64 ? 1u : 0u, 0x2e);

        if (f64)
            x64_mov_mi(&t->out, 0, x64_high(m), 0x7ff80000);
        x64_mov_mi(&t->out, 0, m, f64 ? 0 : 0x7fc00000);
        x64_jcc_short(t, CC_NP, done);
        if (x64_cpu(t, X64_CPU_AVX))
            x64_vrr(&t->out, op, 0, p->reg, 0, p->reg);
        else
            x64_rr(&t->out, op, 0, p->reg, p->reg);
        if (!f64)
            x64_mov_mi(&t->out, 0, x64_high(m), -1);
    }
    x64_log_mute(t, true);
    x64_store_state(t, m, p->reg);
    x64_log_mute(t, false);
}

/* Is it an integer in a register that is extended, or made from what is there? */
static bool x64_t2_put_made(const struct x64_put *p)
{
    return p->kind == X64_MOVE_REG && (p->recipe || p->how == JIT_HOW_SEXT32 ||
                                       p->how == JIT_HOW_ZEXT32 || p->how == JIT_HOW_ZEXT8);
}

/* Needs no register? Without one an extension is two stores, and a sign one a branch that nobody
 * can predict; of what is in s itself it has to be. A constant is stored in one piece: it may be
 * loaded soon, and what comes from two stores waits until both and all before them are in the
 * cache. */
static bool x64_t2_put_alone(const struct x64_t1 *t, const struct x64_put *p, unsigned s)
{
    uint64_t v;

    if (x64_t2_put_made(p))
        return p->reg == s;
    if (p->kind != X64_MOVE_CONST || x64_ins(t, p->k)->op == IR_KADDR)
        return p->kind == X64_MOVE_REG;
    v = ir_kval(t->f, p->k);
    return (int64_t)v == (int32_t)v;
}

/* What is made from a register, in s. */
static void x64_t2_put_from(struct x64_t1 *t, const struct x64_put *p, unsigned s)
{
    struct x64_mem m = x64_vcpu(p->disp);

    if (p->recipe) {
        x64_store_state(t, m, s);
        x64_t2_emit_fix(t, &(struct x64_fix){(uint8_t)s, p->how, p->recipe});
        x64_mov_reg(t, s, p->reg);
        return;
    }
    if (base_unlikely(t->log != NULL))
        x64_log_event(t, X64_E_STORE, p->reg, 0, p->how, 0, p->disp);
    x64_rm(&t->out, 0x89, 1, s, m);
    if (p->how == JIT_HOW_SEXT32)
        x64_rr(&t->out, 0x63, 1, s, p->reg);
    else if (p->how == JIT_HOW_ZEXT32)
        x64_mov(&t->out, 0, s, p->reg);
    else
        x64_movzx8(&t->out, s, p->reg);
}

/* The rest, by way of the scratch register s. */
static void x64_t2_put_by(struct x64_t1 *t, const struct x64_put *p, unsigned s)
{
    struct x64_mem m = x64_vcpu(p->disp), from = x64_vcpu(p->from);

    if (p->kind == X64_MOVE_REG) {
        x64_t2_put_from(t, p, s);
        return;
    }
    if (p->recipe) {
        x64_store_state(t, m, s);
        x64_t2_emit_fix(t, &(struct x64_fix){(uint8_t)s, p->how, p->recipe});
        x64_load_state(t, s, from);
        return;
    }
    if (base_unlikely(t->log != NULL) && p->kind == X64_MOVE_MEM)
        x64_log_event(t, X64_E_COPY, 0, 0, p->how, (uint32_t)p->from, p->disp);
    else
        x64_log(t, X64_E_STORE_CONST, 0, 0, p->k, p->disp);
    x64_log_mute(t, true);
    if (p->how == JIT_HOW_BOX32)
        x64_mov_mi(&t->out, 0, x64_high(m), -1);
    x64_rm(&t->out, 0x89, p->how != JIT_HOW_BOX32, s, m);
    if (p->kind == X64_MOVE_CONST)
        x64_load_const(t, s, p->k);
    x64_log_mute(t, false);
    if (p->kind == X64_MOVE_CONST)
        return;
    switch (p->how) {
    case JIT_HOW_SEXT32: x64_rm(&t->out, 0x63, 1, s, from); break;
    case JIT_HOW_ZEXT32:
    case JIT_HOW_BOX32: x64_rm(&t->out, 0x8b, 0, s, from); break;
    case JIT_HOW_ZEXT8: x64_rm(&t->out, X64_OP(1, 0, 0xb6), 0, s, from); break;
    default:
        BASE_ASSERT(p->how == JIT_HOW_COPY);
        x64_rm(&t->out, 0x8b, 1, s, from);
    }
}

/* In program order: copies (all from memory, at the list's start), stores that
 * need no register, then the others. The flags are lost only by what an exit asks
 * for (how); at edges they are kept. */
void x64_t2_emit_puts(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    uint32_t free = t->free & X64_GPRS;
    unsigned s = free ? (unsigned)__builtin_ctz(free) : RDX;
    bool by = false;
    unsigned ncopy = x->ncopy;

    for (unsigned k = 0; k < x->nput; k++)
        by |= !x64_t2_put_alone(t, &x->put[k], s);
    if (by && !free)
        x64_load_state(t, s, x64_vcpu(X64_VCPU_DISP(slow_result)));
    for (unsigned k = ncopy; k < x->nput; k++)
        if (!x64_t2_put_alone(t, &x->put[k], s))
            x64_t2_put_by(t, &x->put[k], s);
    for (unsigned k = ncopy; k < x->nput; k++) {
        const struct x64_put *p = &x->put[k];

        if (!x64_t2_put_alone(t, p, s))
            continue;
        if (p->kind == X64_MOVE_REG) {
            x64_t2_put_reg(t, p);
        } else {
            x64_log(t, X64_E_STORE_CONST, 0, 0, p->k, p->disp);
            x64_mov_mi(&t->out, 1, x64_vcpu(p->disp), (int32_t)ir_kval(t->f, p->k));
        }
    }
    if (by && !free && ncopy)
        x64_load_state(t, s, x64_vcpu(X64_VCPU_DISP(slow_result)));
    for (unsigned k = 0; k < ncopy; k++)
        x64_t2_put_by(t, &x->put[k], s);
    if (by && !free)
        x64_store_state(t, x64_vcpu(X64_VCPU_DISP(slow_result)), s);
    x->nput = x->ncopy = 0;
}

/* ---- side exits ------------------------------------------------------ */

/* The code of a side exit, in the cold section; returns its label. */
uint32_t x64_t2_side_exit(struct x64_t1 *t, struct ir_ins *i)
{
    struct x64_move m[X64_NREGS];
    uint32_t label, spilled = t->t2->spilled[t->t2->cur];
    unsigned n, e;

    e = x64_exit(t, JIT_EXIT_DIRECT, false, x64_key(t, i->b));
    x64_section(t, JIT_COLD);
    x64_log(t, X64_E_END, 0, 0, 0, 0);
    x64_jmp(t, JIT_RELOC_PC32_EXIT, e, 0);
    x64_count_exit(t, e);
    n = x64_convention(t, m, false);
    x64_moves(t, m, n);
    x64_t2_emit_puts(t);
    t->t2->spilled[t->t2->cur] = spilled;
    x64_log(t, X64_E_EXIT, 0, 0, 0, 0);
    label = x64_off(t);
    x64_section(t, JIT_HOT);
    return label;
}

void x64_t2_side(struct x64_t1 *t, struct ir_ins *i)
{
    uint32_t label = x64_t2_side_exit(t, i);
    ir_ref cmp;
    struct x64_cond c = x64_cond_of(t, i->a, false, &cmp);

    x64_jcond(t, c, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
    x64_emit_compare(t, cmp);
}
