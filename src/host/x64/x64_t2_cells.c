/* x64_t2_cells.c: tier 2, places in memory that values of one slot share.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Much of what a large region computes is looked at by nobody but state maps: the slots of the
 * guest that are dead in truth. Such values have no register, and if each had a spill slot of its
 * own, every join of the region would copy a dozen PHIs from place to place, and every exit a dozen
 * slots home. So what is put into a slot is spilled to the slot's *cell*: a PHI and its operands
 * are in one place then, and the edge has nothing to do. If nobody wants what the slot was entered
 * with once it is overwritten, the cell is the slot's place in the state, and exits have nothing to
 * do either.
 *
 * A cell has one owner at each point: the value of the slot that was defined last. A value may use
 * the cell if it owns it wherever it is wanted: as an operand, by an edge, or by a map, that is as
 * long as some slot holds it or what is made of it. That is found out once, going forward over the
 * blocks:
 *
 *  - a value becomes the owner where it is defined, and the PUT must follow before any map;
 *  - what it takes the cell from must not be held by another slot;
 *  - where predecessors end with different owners, or a loop has others inside, there is none.
 *
 * Whoever is found wanted while another owns its cell loses it and is spilled elsewhere.
 * Instruction selection may want an operand later than where the IR has its use (a comparison's at
 * the jump), so that is looked at once more where a place is read; then the pass is void.
 */
#include "host/x64/x64_t2.h"

enum { X64_CHAIN = 6 }; /* steps from a slot's value to what a map may begin with */

struct x64_cells {
    struct x64_t1 *t;
    ir_ref cur[IR_MAX_SLOTS]; /* what slots hold */
    ir_ref *own;              /* of the present block: owner of each slot's cell, or IR_NIL */
    ir_ref pending[IR_MAX_SLOTS]; /* owners whose PUT is still to come */
    unsigned npending;
    bool looked;              /* at what slots hold where the block begins */
};

static unsigned x64_cell_of(const struct x64_t1 *t, ir_ref r)
{
    return r >= X64_ENTRY ? r - X64_ENTRY : ir_is_const(r) ? X64_NONE : t->t2->cell[r - IR_BIAS];
}

static void x64_cell_lost(struct x64_t1 *t, ir_ref r)
{
    int slot = x64_entry_slot(t, r);

    if (slot >= 0) /* it stays in its place, which is nobody else's then */
        t->t2->state_cells &= ~(1ull << slot);
    else
        t->t2->cell[r - IR_BIAS] = X64_NONE;
}

/* r is wanted here. */
static void x64_cell_want(struct x64_cells *c, ir_ref r)
{
    unsigned cell = x64_cell_of(c->t, r);

    if (cell != X64_NONE && c->own[cell] != r)
        x64_cell_lost(c->t, r);
}

/* What a map may begin with to give r: r's operand if r is an extension or an operation with a
 * constant, else IR_NIL. */
static ir_ref x64_chain(const struct x64_t1 *t, ir_ref r)
{
    const struct ir_ins *i;

    if (r >= X64_ENTRY || ir_is_const(r))
        return IR_NIL;
    i = x64_ins(t, r);
    switch (i->op) {
    case IR_SEXT:
    case IR_ZEXT:
    case IR_TRUNC:
    case IR_FBOX: return i->a;
    case IR_ADD:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_SHL:
    case IR_SHR:
    case IR_SAR: return ir_is_const(i->b) ? i->a : IR_NIL;
    default: return IR_NIL;
    }
}

/* A map wants slot value r. */
static void x64_cell_want_slot(struct x64_cells *c, ir_ref r)
{
    for (unsigned n = 0; r != IR_NIL && n < X64_CHAIN; n++, r = x64_chain(c->t, r))
        x64_cell_want(c, r);
}

static bool x64_made_of(const struct x64_t1 *t, ir_ref r, ir_ref of)
{
    for (unsigned n = 0; r != IR_NIL && n < X64_CHAIN; n++, r = x64_chain(t, r))
        if (r == of)
            return true;
    return false;
}

/* ---- which cell ------------------------------------------------------- */

/* PUTs give their values cells; what only extends does not, if nobody computes with it. */
static void x64_cells_give(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;

    memset(x->cell, X64_NONE, t->f->nins - IR_BIAS);
    memset(x->took, X64_NONE, t->f->nins - IR_BIAS);
    for (ir_ref r = IR_BIAS; r < t->f->nins; r++) {
        const struct ir_ins *i = x64_ins(t, r);
        ir_ref v = i->b;

        if (i->op == IR_GET)
            x->cell[r - IR_BIAS] = (uint8_t)i->a;
        if (i->op != IR_PUT || ir_is_const(v))
            continue;
        while (x64_ins(t, v)->op == IR_SEXT || x64_ins(t, v)->op == IR_ZEXT ||
               x64_ins(t, v)->op == IR_TRUNC || x64_ins(t, v)->op == IR_FBOX) {
            ir_ref a = x64_ins(t, v)->a;

            if (t->val[v].uses > 0 || ir_is_const(a))
                break;
            v = a;
        }
        if (x->cell[v - IR_BIAS] == X64_NONE)
            x->cell[v - IR_BIAS] = (uint8_t)i->a;
    }
}

/* Slots whose cells get an owner in each block. */
static void x64_cells_changed(const struct x64_t1 *t, uint64_t *changed)
{
    const struct x64_t2 *x = t->t2;

    for (unsigned b = 0; b < x->nblocks; b++) {
        changed[b] = 0;
        for (ir_ref r = x->block[b].first; r <= x->block[b].last; r++)
            if (x64_ins(t, r)->op != IR_GET && x->cell[r - IR_BIAS] != X64_NONE)
                changed[b] |= 1ull << x->cell[r - IR_BIAS];
    }
}

/* ---- the walk --------------------------------------------------------- */

/* What all slots hold is wanted: a map may come. */
static void x64_cells_look(struct x64_cells *c)
{
    if (!c->looked)
        for (uint64_t s = c->t->t2->slots; s; s &= s - 1)
            x64_cell_want_slot(c, c->cur[__builtin_ctzll(s)]);
    c->looked = true;
}

static void x64_cells_put(struct x64_cells *c, const struct ir_ins *i)
{
    unsigned kept = 0;

    c->cur[i->a] = i->b;
    x64_cell_want_slot(c, i->b);
    for (unsigned n = 0; n < c->npending; n++) {
        ir_ref v = c->pending[n];

        if (x64_cell_of(c->t, v) != i->a)
            c->pending[kept++] = v;
        else if (!x64_made_of(c->t, i->b, v))
            x64_cell_lost(c->t, v);
    }
    c->npending = kept;
}

/* A map: those whose PUT has not come have taken a cell too early. */
static void x64_cells_map(struct x64_cells *c)
{
    x64_cells_look(c);
    for (unsigned n = 0; n < c->npending; n++)
        if (x64_cell_of(c->t, c->pending[n]) != X64_NONE)
            x64_cell_lost(c->t, c->pending[n]);
    c->npending = 0;
}

static void x64_cells_define(struct x64_cells *c, ir_ref r, unsigned cell)
{
    ir_ref old = c->own[cell];

    x64_cells_look(c);
    for (uint64_t s = c->t->t2->slots & ~(1ull << cell); old && s; s &= s - 1)
        if (x64_made_of(c->t, c->cur[__builtin_ctzll(s)], old))
            x64_cell_lost(c->t, old);
    c->own[cell] = r;
    c->t->t2->took[r - IR_BIAS] = (uint8_t)cell;
    c->t->t2->before[r - IR_BIAS] = old;
    if (c->npending < IR_MAX_SLOTS)
        c->pending[c->npending++] = r;
    else
        x64_cell_lost(c->t, r);
}

static void x64_cells_ins(struct x64_cells *c, ir_ref r)
{
    const struct ir_ins *i = x64_ins(c->t, r);
    unsigned refs = i->op == IR_PUT ? 0 : c->t->refs[i->op];
    unsigned cell = c->t->t2->cell[r - IR_BIAS];

    if (i->op == IR_PHI) {
        if (cell != X64_NONE)
            c->own[cell] = r;
        return;
    }
    if (refs & 1)
        x64_cell_want(c, i->a);
    if (refs & 2)
        x64_cell_want(c, i->b);
    if (refs & 4)
        x64_cell_want(c, i->c);
    if (i->op == IR_PUT)
        x64_cells_put(c, i);
    else if ((ir_ops[i->op].flags & IR_F_FAULT) || i->op == IR_SIDE)
        x64_cells_map(c);
    if (cell != X64_NONE && i->op != IR_GET)
        x64_cells_define(c, r, cell);
}

/* What PHIs behind block b want at its end. */
static void x64_cells_edges(struct x64_cells *c, unsigned b)
{
    const struct x64_t1 *t = c->t;
    const struct x64_block *k = &t->t2->block[b];
    ir_ref from = b ? k->first : IR_NIL;

    for (unsigned n = 0; n < k->nsucc; n++)
        for (ir_ref r = t->t2->block[k->succ[n]].first + 1; x64_ins(t, r)->op == IR_PHI; r++)
            for (uint32_t m = 0; m < x64_ins(t, r)->b; m++)
                if (t->f->extra[x64_ins(t, r)->a + 2 * m] == from)
                    x64_cell_want(c, t->f->extra[x64_ins(t, r)->a + 2 * m + 1]);
}

static void x64_cells_block(struct x64_cells *c, unsigned b)
{
    struct x64_t1 *t = c->t;
    struct x64_t2 *x = t->t2;
    const struct x64_block *k = &x->block[b];

    for (unsigned s = 0; s < t->f->guest->nslots; s++)
        c->cur[s] = x->end[b][s];
    for (ir_ref r = k->last; r-- > k->first;) /* back to its top */
        if (x64_ins(t, r)->op == IR_PUT)
            c->cur[x64_ins(t, r)->a] = x64_ins(t, r)->c;
    for (unsigned s = 0; s < t->f->guest->nslots; s++)
        if (c->cur[s] == IR_NIL)
            c->cur[s] = t->entry[s];
    c->own = x->own[b];
    c->npending = 0;
    c->looked = false;
    for (ir_ref r = k->first; r <= k->last; r++)
        x64_cells_ins(c, r);
    x64_cells_map(c);
    x64_cells_edges(c, b);
}

void x64_t2_cells(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    unsigned nslots = t->f->guest->nslots;
    struct x64_cells c = {.t = t};
    bool seen[X64_MAX_BLOCKS] = {true};
    uint64_t changed[X64_MAX_BLOCKS];

    x->state_cells = UINT64_MAX;
    x64_cells_give(t);
    x64_cells_changed(t, changed);
    memcpy(x->own[0], t->entry, nslots * sizeof x->own[0][0]);
    for (unsigned b = 0; b < x->nblocks; b++) {
        const struct x64_block *k = &x->block[b];

        for (unsigned in = b; k->header && in < x->nblocks && in <= x->latch[b]; in++)
            for (uint64_t s = changed[in]; s; s &= s - 1)
                x->own[b][__builtin_ctzll(s)] = IR_NIL;
        x64_cells_block(&c, b);
        for (unsigned n = 0; n < k->nsucc; n++) {
            unsigned to = k->succ[n];

            if (to <= b)
                continue;
            if (!seen[to])
                memcpy(x->own[to], x->own[b], nslots * sizeof x->own[b][0]);
            for (unsigned s = 0; s < nslots; s++)
                if (x->own[to][s] != x->own[b][s])
                    x->own[to][s] = IR_NIL;
            seen[to] = true;
        }
    }
}

/* ---- while code is emitted ---------------------------------------------- */

void x64_t2_cells_enter(struct x64_t1 *t, unsigned b)
{
    memcpy(t->t2->own_now, t->t2->own[b], sizeof t->t2->own_now);
}

void x64_t2_want_place(struct x64_t1 *t, ir_ref r)
{
    unsigned cell = x64_cell_of(t, r);

    if (cell == X64_NONE || t->t2->own_now[cell] == r)
        return;
    if (x64_entry_slot(t, r) >= 0 && !(t->t2->state_cells >> cell & 1))
        return; /* nobody else's anyway */
    x64_cell_lost(t, r);
    t->t2->again = true;
}

void x64_t2_give_place(struct x64_t1 *t, ir_ref r)
{
    struct x64_t2 *x = t->t2;
    struct x64_val *v = &t->val[r];
    unsigned cell = x64_cell_of(t, r);

    v->flags |= X64_V_SPILL;
    if (cell == X64_NONE) {
        v->spill = (uint8_t)x64_new_spill(t);
    } else if (x->state_cells >> cell & 1) {
        v->flags |= X64_V_CELL;
        v->spill = (uint8_t)cell;
    } else {
        if (x->cell_spill[cell] == X64_NONE)
            x->cell_spill[cell] = (uint8_t)x64_new_spill(t);
        v->spill = x->cell_spill[cell];
    }
}
