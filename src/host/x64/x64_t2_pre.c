/* x64_t2_pre.c: tier 2, what is found out before emission.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Blocks come in reverse post-order with loops contiguous, so an edge that does
 * not go forward is a back edge and leads to a header.
 *
 * NaNs. A float that arithmetic made may be a NaN other than the canonical one
 * (x64_makes_nans); who lets its bits be seen has it made canonical where it is
 * defined. A PHI is such a value if an operand is. If another operand is a NaN
 * that must be kept as it is (a load, say), the two cannot be told apart behind
 * the PHI: then, or if somebody asks for a canonical PHI, its operands are made
 * canonical where they are defined.
 */
#include "host/x64/x64_t2.h"

/* ---- blocks ---------------------------------------------------------- */

static bool x64_t2_blocks(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    const struct ir_func *f = t->f;

    x->nblocks = 0;
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        if (r != IR_BIAS && f->ins[r].op != IR_BLOCK)
            continue;
        if (x->nblocks == X64_MAX_BLOCKS) {
            t->gave_up = "too many blocks";
            return false;
        }
        if (x->nblocks)
            x->block[x->nblocks - 1].last = r - 1;
        x->block_of[r - IR_BIAS] = (uint16_t)x->nblocks;
        x->block[x->nblocks++] = (struct x64_block){.first = r};
    }
    x->block[x->nblocks - 1].last = f->nins - 1;
    return true;
}

static void x64_t2_edges(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;

    x->loops = false;
    for (unsigned b = 0; b < x->nblocks; b++) {
        struct x64_block *k = &x->block[b];
        const struct ir_ins *i = x64_ins(t, k->last);

        if (i->op == IR_JMP) {
            k->succ[k->nsucc++] = x->block_of[i->a - IR_BIAS];
        } else if (i->op == IR_BR) {
            k->succ[k->nsucc++] = x->block_of[i->b - IR_BIAS];
            k->succ[k->nsucc++] = x->block_of[i->c - IR_BIAS];
        }
        for (unsigned n = 0; n < k->nsucc; n++) {
            unsigned h = k->succ[n];

            if (h > b)
                continue;
            x->loops = x->block[h].header = true;
            x->latch[h] = (uint16_t)b;
        }
    }
    for (unsigned h = 0; h < x->nblocks; h++) {
        for (unsigned b = h; x->block[h].header && b <= x->latch[h]; b++) {
            x->block[b].depth++;
            x->block[b].loop = (uint16_t)h;
        }
    }
}

/* ---- slots ----------------------------------------------------------- */

/* Each slot's value at the end of each block, and in each PUT what it held before.
 * What a block is entered with is what any forward predecessor ends with: where
 * they differ, the block begins with a PUT. */
static bool x64_t2_slots(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    unsigned nslots = t->f->guest->nslots;
    bool seen[X64_MAX_BLOCKS] = {true};

    x->slots = 0;
    memset(x->end[0], 0, sizeof x->end[0]);
    for (unsigned b = 0; b < x->nblocks; b++) {
        struct x64_block *k = &x->block[b];

        if (!seen[b]) {
            t->gave_up = "block without a forward predecessor";
            return false;
        }
        for (ir_ref r = k->first; r <= k->last; r++) {
            struct ir_ins *i = x64_ins(t, r);

            if (i->op == IR_PUT) {
                i->c = x->end[b][i->a];
                x->end[b][i->a] = i->b;
                x->slots |= 1ull << i->a;
            } else if (i->op == IR_GET && b != 0) {
                t->gave_up = "slot read behind the entry";
                return false;
            } else if (i->op == IR_HELPER &&
                       (t->f->guest->helpers[i->aux].effects & IR_HELPER_STATE)) {
                t->gave_up = "helper that changes the state";
                return false;
            }
        }
        for (unsigned n = 0; n < k->nsucc; n++) {
            if (k->succ[n] <= b || seen[k->succ[n]])
                continue;
            seen[k->succ[n]] = true;
            memcpy(x->end[k->succ[n]], x->end[b], nslots * sizeof x->end[0][0]);
        }
    }
    return true;
}

/* ---- NaNs ------------------------------------------------------------ */

bool x64_t2_is_header_phi(const struct x64_t1 *t, ir_ref r)
{
    if (x64_ins(t, r)->op != IR_PHI)
        return false;
    while (x64_ins(t, r)->op == IR_PHI)
        r--;
    return t->t2->block[t->t2->block_of[r - IR_BIAS]].header;
}

static unsigned x64_t2_depth_of(const struct x64_t2 *x, ir_ref r)
{
    unsigned b = 0;

    while (x->block[b].last < r)
        b++;
    return x->block[b].depth;
}

bool x64_canon_late(const struct x64_t1 *t, ir_ref r)
{
    const struct x64_t2 *x = t->t2;
    const struct ir_ins *i = x64_ins(t, r);
    unsigned here;

    if (!x || !x64_t2_noncanon(t, r))
        return false;
    here = x->block[x->cur].depth;
    for (uint32_t n = 0; i->op == IR_PHI && n < i->b; n++) {
        ir_ref v = t->f->extra[i->a + 2 * n + 1];

        if (!ir_is_const(v) && x64_t2_depth_of(x, v) > here)
            return true;
    }
    return x64_t2_depth_of(x, r) > here;
}

/* What NaNs may value o, no PHI, be? Other operations that accrue flags make canonical ones. */
static uint8_t x64_t2_nans_of(const struct x64_t1 *t, ir_ref o)
{
    const struct ir_ins *i = &t->f->ins[o];

    if (x64_makes_nans(t, i))
        return X64_P_NC;
    return ir_ops[i->op].flags & IR_F_FLAGS ? 0 : X64_P_RAW;
}

/* Properties of a PHI from its operands; true if they changed. */
static bool x64_t2_phi_nans(struct x64_t1 *t, ir_ref r)
{
    uint8_t *p = x64_prop(t->t2, r), was = *p;
    const struct ir_ins *i = x64_ins(t, r);

    for (uint32_t n = 0; n < i->b; n++) {
        ir_ref o = t->f->extra[i->a + 2 * n + 1];

        if (ir_is_const(o)) {
            uint64_t v = ir_kval(t->f, o);
            bool nan = i->ty == IR_F64 ? (v << 1) > 0xffe0000000000000u
                                       : (uint32_t)(v << 1) > 0xff000000u;

            *p |= nan ? X64_P_RAW : 0;
        } else if (x64_ins(t, o)->op == IR_PHI) {
            *p |= *x64_prop(t->t2, o) & (X64_P_NC | X64_P_RAW);
        } else {
            *p |= x64_t2_nans_of(t, o);
        }
    }
    if ((*p & X64_P_NC) && (*p & (X64_P_RAW | X64_P_CANON))) {
        *p = (uint8_t)((*p | X64_P_CANON | X64_P_RAW) & ~X64_P_NC);
    } else if (*p & X64_P_CANON) {
        *p |= X64_P_RAW;
    }
    return *p != was;
}

static void x64_t2_nans(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    const struct ir_func *f = t->f;
    bool change = false, phis = false;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];

        *x64_prop(x, r) &= (uint8_t)~(X64_P_NC | X64_P_RAW);
        if (!ir_is_float(i->ty))
            continue;
        if (x64_makes_nans(t, i))
            *x64_prop(x, r) |= X64_P_NC;
        phis |= i->op == IR_PHI;
    }
    change = phis;
    while (change) {
        change = false;
        for (ir_ref r = IR_BIAS; r < f->nins; r++)
            if (f->ins[r].op == IR_PHI && ir_is_float(f->ins[r].ty))
                change |= x64_t2_phi_nans(t, r);
    }
    for (ir_ref r = IR_BIAS; phis && r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];

        if (i->op != IR_PHI || !ir_is_float(i->ty) || !(*x64_prop(x, r) & X64_P_CANON))
            continue;
        for (uint32_t n = 0; n < i->b; n++) {
            ir_ref o = f->extra[i->a + 2 * n + 1];

            if (x64_t2_noncanon(t, o))
                t->val[o].flags |= X64_V_CANON;
        }
    }
}

/* ---- uses ------------------------------------------------------------ */

static void x64_t2_use(struct x64_t1 *t, ir_ref r, ir_ref at)
{
    struct x64_t2 *x = t->t2;

    if (r == IR_NIL || x->nuses == BASE_ARRAY_SIZE(x->use))
        return;
    x->use[x->nuses] = (struct x64_use_node){at, x->use_first[X64_USE_OF(r)]};
    x->use_first[X64_USE_OF(r)] = x->nuses++;
}

static void x64_t2_uses(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    const struct ir_func *f = t->f;

    x->nuses = 1; /* 0 ends a list */
    memset(x->use_first, 0, X64_USE_OF(f->nins) * sizeof x->use_first[0]);
    for (unsigned b = 0; b < x->nblocks; b++) {
        struct x64_block *k = &x->block[b];

        for (ir_ref r = k->first; r <= k->last; r++) {
            const struct ir_ins *i = &f->ins[r];
            unsigned refs = i->op == IR_PUT ? 0 : t->refs[i->op];

            if (refs & 1)
                x64_t2_use(t, i->a, r);
            if (refs & 2)
                x64_t2_use(t, i->b, r);
            if (refs & 4)
                x64_t2_use(t, i->c, r);
        }
        for (unsigned n = 0; n < k->nsucc; n++) { /* PHIs use at the end of this block */
            ir_ref from = b ? k->first : IR_NIL;

            for (ir_ref r = x->block[k->succ[n]].first + 1; f->ins[r].op == IR_PHI; r++)
                for (uint32_t m = 0; m < f->ins[r].b; m++)
                    if (f->extra[f->ins[r].a + 2 * m] == from)
                        x64_t2_use(t, f->extra[f->ins[r].a + 2 * m + 1], k->last);
        }
    }
}

/* ---- entry points ---------------------------------------------------- */

bool x64_t2_prepare(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;

    memset(x->prop, 0, t->f->nins - IR_BIAS);
    if (t->f->guest->nslots > 64) {
        t->gave_up = "guest with more than 64 slots";
        return false;
    }
    if (!x64_t2_blocks(t))
        return false;
    x64_t2_edges(t);
    if (!x64_t2_slots(t))
        return false;
    memset(x->assume, 0, x->nblocks * sizeof x->assume[0]);
    x64_t2_uses(t);
    return true;
}

static void x64_t2_count(struct x64_t1 *t, ir_ref r)
{
    if (t->val[r].uses != UINT16_MAX)
        t->val[r].uses++;
}

void x64_t2_values(struct x64_t1 *t)
{
    struct x64_t2 *x = t->t2;
    const struct ir_func *f = t->f;
    const struct x64_val none = {.reg = X64_NONE, .hint = X64_NONE};
    bool fp = false;

    for (ir_ref r = f->nk; r < f->nins; r++)
        t->val[r] = none;
    x64_untouched(t);
    t->barrier = false;
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        unsigned refs = i->op == IR_PUT ? 0 : t->refs[i->op];

        fp |= ir_is_float(i->ty);
        if (i->op == IR_GET) {
            x64_entry_get(t, r, i->a);
            fp |= t->pinned_class[1] >> i->a & 1;
        }
        if (refs & 1)
            x64_t2_count(t, i->a);
        if (refs & 2)
            x64_t2_count(t, i->b);
        if (refs & 4)
            x64_t2_count(t, i->c);
        for (uint32_t n = 0; i->op == IR_PHI && n < i->b; n++)
            x64_t2_count(t, f->extra[i->a + 2 * n + 1]);
    }
    t->fp = fp || (x->slots & t->pinned_class[1]);
    t->pinned = t->pinned_class[0] | (t->fp ? t->pinned_class[1] : 0);
    x->slots |= t->pinned;
    t->touched = UINT64_MAX;
    for (unsigned s = 0; s < f->guest->nslots; s++)
        t->val[t->entry[s]].reg = X64_NONE;
    memset(x->cell_spill, X64_NONE, f->guest->nslots);
    x64_t2_nans(t);
    memcpy(x->use_head, x->use_first, X64_USE_OF(f->nins) * sizeof x->use_head[0]);
}
