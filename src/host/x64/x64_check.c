/* x64_check.c: tier 2, an independent check of register allocation and state maps.
 * SPDX-License-Identifier: Apache-2.0
 *
 * While code is emitted, what is done to registers and to places in the state is
 * logged by the few functions that do it. Afterwards the log is read in program
 * order (it was written backwards) as an abstract machine: each register, spill
 * slot and slot's place has the values (refs) that are known to be in it. Nothing
 * of the allocator's own books is looked at. Checked is
 *
 *   USE   the register has the value the instruction wants
 *   MAP   every slot can be had from where the map says, or is at home
 *   EXIT  every slot is at home where the region is left
 *
 * What slots hold is found anew from the PUTs. Blocks are gone through until what
 * they are entered with does not change: what is in a place at a block's top is what
 * all edges bring there. At an edge a PHI gets the tags of its operand; a definition
 * takes its value's old tags (of the last round of a loop) away everywhere.
 */
#include "host/x64/x64_t2.h"

#include <stdlib.h>

struct x64_log_entry {
    uint8_t kind, reg, reg2, how;
    uint32_t a;
    int64_t b;
    ir_ref at; /* the instruction being emitted, or its block's terminator */
};

struct x64_log {
    BASE_VEC(struct x64_log_entry) e;
    unsigned mute;
};

/* ---- logging --------------------------------------------------------- */

void x64_log_event(struct x64_t1 *t, unsigned kind, unsigned reg, unsigned reg2, unsigned how,
                   uint32_t a, int64_t b)
{
    if (t->log->mute)
        return;
    base_vec_push(&t->log->e,
                  ((struct x64_log_entry){(uint8_t)kind, (uint8_t)reg, (uint8_t)reg2, (uint8_t)how,
                                          a, b, t->at}));
}

void x64_log_mute(struct x64_t1 *t, bool mute)
{
    if (base_unlikely(t->log != NULL))
        t->log->mute += mute ? 1u : -1u;
}

void x64_log_begin(struct x64_t1 *t)
{
    const struct jit_config *cfg = &t->j->cfg;
    bool wanted = cfg->lockstep || cfg->deopt_always || cfg->random_ra;

#ifdef BASE_CHECKS
    wanted = true;
#endif
    t->log = wanted ? base_zalloc(sizeof *t->log) : NULL;
}

void x64_log_reset(struct x64_t1 *t)
{
    if (t->log)
        t->log->e.len = t->log->mute = 0;
}

void x64_log_end(struct x64_t1 *t)
{
    if (!t->log)
        return;
    base_vec_free(&t->log->e);
    free(t->log);
    t->log = NULL;
}

/* ---- the abstract machine -------------------------------------------- */

enum { TAGS = 64, /* in one place; a constant can be the operand of many PHIs */
       SPILL0 = X64_NREGS, PLACE0 = SPILL0 + JIT_SPILLS, SAVED = PLACE0 + IR_MAX_SLOTS,
       PLACES };

struct x64_tags {
    ir_ref ref[TAGS];
    uint8_t n, how; /* how: what was done to it since */
};

struct x64_machine {
    struct x64_tags at[PLACES]; /* registers, spill slots, slots' places */
    bool known;                 /* some edge has been here */
};

struct x64_checker {
    struct x64_t1 *t;
    struct x64_machine now, *in; /* in: by block */
    ir_ref slot[IR_MAX_SLOTS];   /* present value, IR_NIL: entry value */
    ir_ref put;                  /* PUTs before this have been done */
    bool complain, change;
};

static int x64_place(const struct x64_t1 *t, int64_t disp)
{
    int64_t spill = disp - X64_VCPU_DISP(spill);

    if (disp == X64_VCPU_DISP(slow_result)) /* a scratch register is saved there */
        return SAVED;
    if (spill >= 0 && spill < 8 * JIT_SPILLS)
        return SPILL0 + (int)(spill / 8);
    for (unsigned s = 0; s < t->f->guest->nslots; s++)
        if (x64_slot_mem(t, s).disp == disp)
            return PLACE0 + (int)s;
    return -1;
}

static bool x64_has(const struct x64_tags *g, ir_ref r)
{
    for (unsigned n = 0; n < g->n; n++)
        if (g->ref[n] == r)
            return true;
    return false;
}

static void x64_tag(struct x64_tags *g, ir_ref r)
{
    if (!x64_has(g, r) && g->n < TAGS)
        g->ref[g->n++] = r;
}

static void x64_untag(struct x64_tags *g, ir_ref r)
{
    for (unsigned n = 0; n < g->n; n++)
        if (g->ref[n] == r)
            g->ref[n--] = g->ref[--g->n];
}

_Noreturn static void x64_wrong(const struct x64_checker *c, const struct x64_log_entry *e,
                                const char *what, unsigned place, ir_ref want)
{
    const struct x64_tags *g = &c->now.at[place];
    struct base_text text = {0}, has = {0};

    for (unsigned n = 0; n < g->n; n++)
        base_text_printf(&has, " %%%d", (int)(g->ref[n] - IR_BIAS));
    ir_print(c->t->f, &text); /* longer than a message can be */
    fputs(text.data, stderr);
    base_bug(__FILE__, __LINE__,
             "allocation: %s: at %%%d place %u should have %%%d, has%s (how %u, %u)", what,
             (int)(e->at - IR_BIAS), place, (int)(want - IR_BIAS), has.data ? has.data : " nothing",
             g->how, e->how);
}

/* Is v, a slot's value, in the place, if what is there is treated as how says? */
static bool x64_holds(const struct x64_checker *c, const struct x64_tags *g, unsigned how, ir_ref v)
{
    const struct x64_t1 *t = c->t;
    const struct ir_ins *i;

    if (how == JIT_HOW_CANON64)
        how = JIT_HOW_COPY;
    if (how == JIT_HOW_BOXCANON32)
        how = JIT_HOW_BOX32;
    if (g->how != JIT_HOW_COPY && how != JIT_HOW_COPY)
        return false;
    how |= g->how;
    if (how == JIT_HOW_COPY)
        return x64_has(g, v);
    if (v >= X64_ENTRY || ir_is_const(v))
        return false;
    i = x64_ins(t, v);
    if (i->op != (how == JIT_HOW_SEXT32 ? IR_SEXT : how == JIT_HOW_BOX32 ? IR_FBOX : IR_ZEXT))
        return false;
    for (ir_ref a = i->a;; a = x64_ins(t, a)->a) {
        if (x64_has(g, a))
            return true;
        if (ir_is_const(a) || x64_ins(t, a)->op != IR_TRUNC)
            return false;
    }
}

/* What g is once recipe r has been done to it: r, if r's operand is in it. */
static struct x64_tags x64_cooked(const struct x64_checker *c, const struct x64_tags *g, ir_ref r)
{
    const struct x64_t1 *t = c->t;
    struct x64_tags out = {0};

    for (ir_ref a = x64_ins(t, r)->a; g->how == JIT_HOW_COPY; a = x64_ins(t, a)->a) {
        if (x64_has(g, a)) {
            x64_tag(&out, r);
            break;
        }
        if (ir_is_const(a) || x64_ins(t, a)->op != IR_TRUNC)
            break;
    }
    return out;
}

static ir_ref x64_present(const struct x64_checker *c, unsigned slot)
{
    return c->slot[slot] ? c->slot[slot] : c->t->entry[slot];
}

/* PUTs of the block up to instruction r are done. */
static void x64_puts_until(struct x64_checker *c, ir_ref r)
{
    for (; c->put < r; c->put++)
        if (x64_ins(c->t, c->put)->op == IR_PUT)
            c->slot[x64_ins(c->t, c->put)->a] = x64_ins(c->t, c->put)->b;
}

static unsigned x64_home_place(const struct x64_t1 *t, unsigned slot)
{
    return t->pinned >> slot & 1 ? t->home[slot] : PLACE0 + slot;
}

/* ---- maps and exits -------------------------------------------------- */

/* The map whose entries are e[0..n), in any order. */
static void x64_check_map(struct x64_checker *c, const struct x64_log_entry *e, size_t n)
{
    const struct x64_t1 *t = c->t;

    for (uint64_t s = t->t2->slots; s; s &= s - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(s), how = JIT_HOW_COPY;
        unsigned place = x64_home_place(t, slot);
        ir_ref v = x64_present(c, slot), recipe = IR_NIL;
        struct x64_tags g;

        for (size_t k = 0; k < n; k++) {
            if (e[k].reg != slot)
                continue;
            how = e[k].how;
            recipe = e[k].a;
            switch (e[k].reg2) {
            case JIT_LOC_GPR: place = (unsigned)e[k].b; break;
            case JIT_LOC_FPR: place = XMM0 + (unsigned)e[k].b; break;
            case JIT_LOC_STATE: place = PLACE0 + (unsigned)e[k].b; break;
            case JIT_LOC_SPILL: place = SPILL0 + (unsigned)e[k].b; break;
            default:
                place = PLACES;
                if (!ir_is_const(v) || ir_kval(t->f, v) != (uint64_t)e[k].b)
                    x64_wrong(c, e, "constant in a map", 0, v);
            }
        }
        if (place == PLACES)
            continue;
        g = recipe ? x64_cooked(c, &c->now.at[place], recipe) : c->now.at[place];
        if (!x64_holds(c, &g, how, v))
            x64_wrong(c, e, "map", place, v);
    }
}

static void x64_check_exit(struct x64_checker *c, const struct x64_log_entry *e)
{
    for (uint64_t s = c->t->t2->slots; s; s &= s - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(s), place = x64_home_place(c->t, slot);

        if (!x64_holds(c, &c->now.at[place], JIT_HOW_COPY, x64_present(c, slot)))
            x64_wrong(c, e, "exit", place, x64_present(c, slot));
    }
}

/* ---- edges ----------------------------------------------------------- */

/* What this edge brings to block s, met with what others do. */
static void x64_check_edge(struct x64_checker *c, unsigned b, unsigned s)
{
    const struct x64_t1 *t = c->t;
    const struct x64_t2 *x = t->t2;
    ir_ref first = x->block[s].first + 1, from = b ? x->block[b].first : IR_NIL, end = first;
    struct x64_machine *in = &c->in[s];

    while (x64_ins(t, end)->op == IR_PHI)
        end++;
    for (unsigned p = 0; p < PLACES; p++) {
        struct x64_tags g = c->now.at[p], out = {.how = g.how};

        for (unsigned n = 0; n < g.n; n++)
            if (!(g.ref[n] >= first && g.ref[n] < end))
                x64_tag(&out, g.ref[n]);
        for (ir_ref r = first; r < end; r++) {
            const struct ir_ins *i = x64_ins(t, r);

            for (uint32_t n = 0; n < i->b; n++)
                if (t->f->extra[i->a + 2 * n] == from &&
                    x64_has(&g, t->f->extra[i->a + 2 * n + 1]))
                    x64_tag(&out, r);
        }
        if (g.how != JIT_HOW_COPY)
            out.n = out.how = 0;
        if (!in->known) {
            in->at[p] = out;
            c->change = true;
            continue;
        }
        for (unsigned n = 0; n < in->at[p].n; n++) {
            if (x64_has(&out, in->at[p].ref[n]))
                continue;
            x64_untag(&in->at[p], in->at[p].ref[n--]);
            c->change = true;
        }
    }
    in->known = true;
}

/* ---- one event ------------------------------------------------------- */

static void x64_store_to(struct x64_checker *c, int64_t disp, struct x64_tags g)
{
    int to = x64_place(c->t, disp);

    if (to >= 0)
        c->now.at[to] = g;
}

static struct x64_tags x64_done(struct x64_tags g, unsigned how)
{
    if (how == JIT_HOW_CANON64)
        how = JIT_HOW_COPY;
    if (how == JIT_HOW_BOXCANON32)
        how = JIT_HOW_BOX32;
    if (how != JIT_HOW_COPY && g.how != JIT_HOW_COPY)
        g.n = 0;
    g.how |= (uint8_t)how;
    return g;
}

static void x64_step(struct x64_checker *c, const struct x64_log_entry *e)
{
    struct x64_tags *at = c->now.at, none = {0}, k = {.n = 1, .ref = {e->a}};
    int from;

    switch (e->kind) {
    case X64_E_USE:
        if (c->complain && (!x64_has(&at[e->reg], e->a) || at[e->reg].how))
            x64_wrong(c, e, "use", e->reg, e->a);
        break;
    case X64_E_DEF:
        for (unsigned p = 0; x64_ins(c->t, e->a)->op != IR_GET && p < PLACES; p++)
            x64_untag(&at[p], e->a);
        at[e->reg] = k;
        break;
    case X64_E_RETAG:
        if (c->complain && !x64_has(&at[e->reg], e->a))
            x64_wrong(c, e, "retag", e->reg, e->a);
        for (unsigned p = 0; p < PLACES; p++)
            x64_untag(&at[p], (ir_ref)e->b);
        x64_tag(&at[e->reg], (ir_ref)e->b);
        break;
    case X64_E_MOVE: at[e->reg] = at[e->reg2]; break;
    case X64_E_SWAP:
        k = at[e->reg];
        at[e->reg] = at[e->reg2];
        at[e->reg2] = k;
        break;
    case X64_E_CONST: at[e->reg] = k; break;
    case X64_E_CLOBBER: at[e->reg] = none; break;
    case X64_E_FIX: at[e->reg] = x64_done(at[e->reg], e->how); break;
    case X64_E_COOK: at[e->reg] = x64_cooked(c, &at[e->reg], e->a); break;
    case X64_E_FIX_PLACE:
        from = x64_place(c->t, e->b);
        if (from >= 0)
            at[from] = x64_done(x64_cooked(c, &at[from], e->a), e->how);
        break;
    case X64_E_LOAD:
        from = x64_place(c->t, e->b);
        at[e->reg] = from < 0 ? none : at[from];
        break;
    case X64_E_STORE: x64_store_to(c, e->b, x64_done(at[e->reg], e->how)); break;
    case X64_E_STORE_CONST: x64_store_to(c, e->b, k); break;
    case X64_E_COPY:
        from = x64_place(c->t, (int32_t)e->a);
        x64_store_to(c, e->b, from < 0 ? none : x64_done(at[from], e->how));
        break;
    }
}

/* ---- the walk -------------------------------------------------------- */

/* Block b's events, from e[n-1] down to e[0]; ways out on a copy of the machine. */
static void x64_check_block(struct x64_checker *c, unsigned b, const struct x64_log_entry *e,
                            size_t n)
{
    const struct x64_t2 *x = c->t->t2;
    struct x64_machine *kept = base_alloc(sizeof *kept);

    c->now = c->in[b];
    c->put = x->block[b].first;
    while (n--) {
        /* an event belongs to the instruction at e->at: what comes before it is done */
        x64_puts_until(c, e[n].at);
        if (e[n].kind == X64_E_MAP) {
            size_t last = n;

            while (e[n].kind == X64_E_MAP)
                n--;
            if (c->complain)
                x64_check_map(c, e + n + 1, last - n);
        } else if (e[n].kind == X64_E_MAP_END) {
            if (c->complain)
                x64_check_map(c, e + n, 0);
        } else if (e[n].kind == X64_E_EDGE || e[n].kind == X64_E_EXIT) {
            const struct x64_log_entry *way = &e[n];

            *kept = c->now;
            while (e[--n].kind != X64_E_END)
                x64_step(c, &e[n]);
            if (way->kind == X64_E_EDGE)
                x64_check_edge(c, b, way->a);
            else if (c->complain)
                x64_check_exit(c, way);
            c->now = *kept;
        } else {
            x64_step(c, &e[n]);
        }
    }
    free(kept);
}

static void x64_check_pass(struct x64_checker *c)
{
    const struct x64_t2 *x = c->t->t2;
    const struct x64_log_entry *e = c->t->log->e.data;
    size_t end = c->t->log->e.len;

    /* the log ends with the TOP of block 0, before it are its events, then the TOP of 1.. */
    for (unsigned b = 0; b < x->nblocks; b++) {
        size_t start = --end;

        BASE_ASSERT(e[end].kind == X64_E_TOP && e[end].a == b);
        while (start && e[start - 1].kind != X64_E_TOP)
            start--;
        memcpy(c->slot, x->end[b], sizeof c->slot);
        for (ir_ref r = x->block[b].last; r-- > x->block[b].first;) /* back to its top */
            if (x64_ins(c->t, r)->op == IR_PUT)
                c->slot[x64_ins(c->t, r)->a] = x64_ins(c->t, r)->c;
        x64_check_block(c, b, e + start, end - start);
        end = start;
    }
}

void x64_check(struct x64_t1 *t)
{
    struct x64_checker c = {.t = t};

    if (!t->log)
        return;
    c.in = base_zalloc(t->t2->nblocks * sizeof *c.in);
    c.in[0].known = true;
    for (unsigned s = 0; s < t->f->guest->nslots; s++)
        x64_tag(&c.in[0].at[x64_home_place(t, s)], t->entry[s]);
    do {
        c.change = false;
        x64_check_pass(&c);
    } while (c.change);
    c.complain = true;
    x64_check_pass(&c);
    free(c.in);
}
