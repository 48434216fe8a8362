/* opt_ssa.c: from slots to values: state-SSA form. SPDX-License-Identifier: Apache-2.0
 *
 *     b1:                            b1:
 *         %2 = get.i64 a0                %9 = phi.i64 [entry %1], [b1 %3]
 *         %3 = add.i64 %2, 1             put a0, %9
 *         put a0, %3               ->    %3 = add.i64 %9, 1
 *         ...                            put a0, %3
 *         br %c, b1, b7                  br %c, b1, b7
 *
 * Input: blocks laid out (opt_layout), values passed between them through slots.
 * Output: state-SSA form. GETs only in the entry block; what a slot holds at a
 * block's start is known without a GET: where predecessors differ, and somebody can
 * see the slot, there is a PHI and a PUT of it directly behind the PHIs.
 *
 * Blocks are walked in order, so a block's forward predecessors are done before it.
 * A header gets a PHI for each visible slot that its loop PUTs; those that turn out
 * to be one value are removed (Braun et al., Simple and Efficient Construction of
 * SSA Form, section 3.1).
 *
 * A slot is visible if a GET or a point at which the state must be exact may come
 * before the next PUT: a temporary that a loop overwrites before any access to
 * memory needs no PHI.
 */
#include "opt/opt_priv.h"

/* ---- visible slots --------------------------------------------------- */

static void opt_local_slots(const struct ir_func *f, const struct opt_block *k, opt_slots gen,
                            opt_slots put)
{
    gen[0] = gen[1] = put[0] = put[1] = 0;
    for (ir_ref r = k->first; r <= k->last; r++) {
        const struct ir_ins *i = &f->ins[r];
        uint64_t bit = 1ull << (i->a & 63);
        unsigned w = i->a >> 6 & 1;

        if (i->op == IR_PUT)
            put[w] |= bit;
        else if (i->op == IR_GET)
            gen[w] |= bit & ~put[w];
        else if (opt_sees_slots(i))
            gen[0] |= ~put[0], gen[1] |= ~put[1];
    }
}

opt_slots *opt_live_slots(const struct ir_func *f, const struct opt_cfg *c,
                          struct base_arena *arena)
{
    opt_slots *gen = base_arena_alloc(arena, 3 * c->n * sizeof *gen), *put = gen + c->n;
    opt_slots *live = put + c->n;
    bool change = true;

    for (unsigned b = 0; b < c->n; b++) {
        opt_local_slots(f, &c->block[b], gen[b], put[b]);
        live[b][0] = gen[b][0];
        live[b][1] = gen[b][1];
    }
    while (change) {
        change = false;
        for (unsigned b = c->n; b--;) {
            const struct opt_block *k = &c->block[b];

            for (unsigned w = 0; w < 2; w++) {
                uint64_t out = 0, was = live[b][w];

                for (unsigned e = 0; e < k->nsucc; e++)
                    out |= live[k->succ[e]][w];
                live[b][w] |= out & ~put[b][w];
                change |= live[b][w] != was;
            }
        }
    }
    return live;
}

/* ---- construction ---------------------------------------------------- */

struct opt_ssa {
    struct ir_func *dst;
    const struct ir_func *src;
    const struct opt_cfg *c;
    opt_slots *live, *loop_puts;  /* by block; by header: PUT in its loop */
    ir_ref *map;                  /* by old ref - src->nk */
    ir_ref *out;                  /* by block and slot */
    ir_ref *phi;                  /* the same: PHIs to be completed */
    unsigned nslots;
    bool used[IR_MAX_SLOTS];
    ir_ref cur[IR_MAX_SLOTS];
};

static bool opt_bit(const opt_slots s, unsigned slot)
{
    return s[slot >> 6] >> (slot & 63) & 1;
}

static void opt_ssa_loop_puts(struct opt_ssa *x)
{
    for (unsigned h = 0; h < x->c->n; h++) {
        x->loop_puts[h][0] = x->loop_puts[h][1] = 0;
        if (!x->c->block[h].header)
            continue;
        for (ir_ref r = x->c->block[h].first; r <= x->c->block[x->c->block[h].latch].last; r++)
            if (x->src->ins[r].op == IR_PUT)
                x->loop_puts[h][x->src->ins[r].a >> 6] |= 1ull << (x->src->ins[r].a & 63);
    }
}

/* The entry block begins with a GET of each slot that is used anywhere. */
static void opt_ssa_entry(struct opt_ssa *x)
{
    for (ir_ref r = IR_BIAS; r < x->src->nins; r++)
        if (x->src->ins[r].op == IR_GET || x->src->ins[r].op == IR_PUT)
            x->used[x->src->ins[r].a] = true;
    for (unsigned s = 0; s < x->nslots; s++)
        x->cur[s] = x->used[s] ? ir_get(x->dst, s) : IR_NIL;
}

/* What slot s holds at the start of block b; true: a PHI is needed for that. */
static bool opt_ssa_enter(struct opt_ssa *x, unsigned b, unsigned s)
{
    const struct opt_block *k = &x->c->block[b];
    ir_ref v = IR_NIL;
    bool differ = k->header && opt_bit(x->loop_puts[b], s);

    for (unsigned p = 0; p < k->npred; p++) {
        ir_ref o = k->pred[p] < b ? x->out[k->pred[p] * x->nslots + s] : IR_NIL;

        if (k->pred[p] >= b)
            continue;
        differ |= v != IR_NIL && o != v;
        v = v ? v : o;
    }
    x->cur[s] = v;
    return differ && opt_bit(x->live[b], s);
}

static void opt_ssa_begin(struct opt_ssa *x, unsigned b)
{
    const struct opt_block *k = &x->c->block[b];
    uint32_t pairs[2 * 64] = {0};
    ir_ref *phi = x->phi + b * x->nslots;

    x->map[k->first - x->src->nk] = ir_append(x->dst, ir_head(IR_BLOCK, IR_NONE, 0), 0, 0, 0);
    for (unsigned s = 0; s < x->nslots; s++) {
        phi[s] = IR_NIL;
        if (!x->used[s] || !opt_ssa_enter(x, b, s))
            continue;
        phi[s] = ir_phi(x->dst, ir_slot_type(x->src, s), pairs, 0);
        x->cur[s] = phi[s];
    }
    for (unsigned s = 0; s < x->nslots; s++)
        if (phi[s])
            ir_append(x->dst, ir_head(IR_PUT, IR_NONE, 0), s, phi[s], IR_NIL);
}

static void opt_ssa_ins(struct opt_ssa *x, ir_ref r)
{
    struct ir_ins i = x->src->ins[r];
    uint32_t *v[3] = {&i.a, &i.b, &i.c};
    ir_ref to;

    if (i.op == IR_GET) {
        x->map[r - x->src->nk] = x->cur[i.a];
        return;
    }
    if (i.op == IR_PUT)
        i.c = IR_NIL;
    for (unsigned n = 0; n < 3; n++)
        if (opt_is_ref(i.op, n) && *v[n])
            *v[n] = x->map[*v[n] - x->src->nk];
    if (i.op == IR_PUT)
        x->cur[i.a] = i.b;
    /* through the builder where it can fold: operands are other ones now */
    if (ir_ops[i.op].cls == IR_CLASS_P || i.op == IR_LD || i.op == IR_ST)
        to = ir_emit(x->dst, i.op, i.ty, i.aux, i.a, i.b, i.c);
    else
        to = ir_append(x->dst, ir_head(i.op, i.ty, i.aux), i.a, i.b, i.c);
    if (i.op == IR_AMO || i.op == IR_CAS || i.op == IR_LR || i.op == IR_SC || i.op == IR_FENCE ||
        i.op == IR_HELPER)
        x->dst->last_mem = to; /* as the builder does */
    if (i.op == IR_FLGET || i.op == IR_FLSET || i.op == IR_RMSET || i.op == IR_HELPER)
        x->dst->last_fp = to;
    x->map[r - x->src->nk] = to;
}

static void opt_ssa_complete(struct opt_ssa *x)
{
    struct ir_func *f = x->dst;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        struct ir_ins *i = &f->ins[r];

        if (i->op == IR_JMP)
            i->a = x->map[i->a - x->src->nk];
        if (i->op == IR_BR) {
            i->b = x->map[i->b - x->src->nk];
            i->c = x->map[i->c - x->src->nk];
        }
    }
    for (unsigned b = 0; b < x->c->n; b++) {
        const struct opt_block *k = &x->c->block[b];
        BASE_ASSERT(k->npred <= OPT_PARAM_max_blocks);
        uint32_t pair[2 * OPT_PARAM_max_blocks];

        for (unsigned s = 0; b && s < x->nslots; s++) {
            ir_ref phi = x->phi[b * x->nslots + s];

            if (!phi)
                continue;
            for (unsigned p = 0; p < k->npred; p++) {
                unsigned q = k->pred[p];

                pair[2 * p] = q ? x->map[x->c->block[q].first - x->src->nk] : IR_NIL;
                pair[2 * p + 1] = x->out[q * x->nslots + s];
            }
            f->ins[phi].a = ir_extra(f, pair, k->npred);
            f->ins[phi].b = k->npred;
        }
    }
}

/* ---- PHIs that are one value ------------------------------------------ */

static ir_ref opt_same(const ir_ref *same, ir_ref r)
{
    while (!ir_is_const(r) && same[r - IR_BIAS])
        r = same[r - IR_BIAS];
    return r;
}

static bool opt_trivial(const struct ir_func *f, const ir_ref *same, ir_ref r, ir_ref *v)
{
    const struct ir_ins *i = &f->ins[r];

    *v = IR_NIL;
    for (uint32_t n = 0; n < i->b; n++) {
        ir_ref o = opt_same(same, f->extra[i->a + 2 * n + 1]);

        if (o == r || o == *v)
            continue;
        if (*v)
            return false;
        *v = o;
    }
    return *v != IR_NIL;
}

/* Where value r of before has gone to. */
static ir_ref opt_moved(const ir_ref *same, const ir_ref *to, ir_ref r)
{
    r = opt_same(same, r);
    return r < IR_BIAS ? r : to[r - IR_BIAS];
}

/* Which instructions stay: trivial PHIs go, and the PUTs behind them that stood for them. */
static void opt_ssa_stay(struct ir_func *f, const ir_ref *same, ir_ref *to)
{
    ir_ref end = IR_BIAS;
    bool head = false; /* at a block's start: PHIs, then PUTs */

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        bool gone = i->op == IR_PHI && same[r - IR_BIAS];

        head = i->op == IR_BLOCK || (head && (i->op == IR_PHI || i->op == IR_PUT));
        if (head && i->op == IR_PUT && i->b >= IR_BIAS && same[i->b - IR_BIAS])
            gone = true;
        to[r - IR_BIAS] = gone ? IR_NIL : end++;
    }
}

static void opt_ssa_trivial(struct ir_func *f, struct base_arena *arena)
{
    size_t n = f->nins - IR_BIAS;
    ir_ref *same = base_arena_alloc(arena, (n + 1) * sizeof *same);
    ir_ref *to = base_arena_alloc(arena, (n + 1) * sizeof *to), end = IR_BIAS;
    bool change = true;

    memset(same, 0, n * sizeof *same);
    while (change) {
        change = false;
        for (ir_ref r = IR_BIAS; r < f->nins; r++) {
            ir_ref v;

            if (f->ins[r].op == IR_PHI && !same[r - IR_BIAS] && opt_trivial(f, same, r, &v))
                same[r - IR_BIAS] = v, change = true;
        }
    }
    opt_ssa_stay(f, same, to);
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        struct ir_ins i = f->ins[r];
        uint32_t *v[3] = {&i.a, &i.b, &i.c};

        if (!to[r - IR_BIAS])
            continue;
        for (unsigned k = 0; k < 3; k++)
            if ((opt_is_ref(i.op, k) || ir_ops[i.op].opd[k] == IR_OPD_B) && *v[k])
                *v[k] = opt_moved(same, to, *v[k]);
        for (uint32_t k = 0; i.op == IR_PHI && k < 2 * i.b; k++)
            f->extra[i.a + k] = f->extra[i.a + k] ? opt_moved(same, to, f->extra[i.a + k]) : 0;
        f->ins[end++] = i;
    }
    f->nins = end;
}

/* ---- entry point ----------------------------------------------------- */

const char *opt_ssa_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    struct opt_ssa x = {.dst = dst, .src = src, .c = opt_cfg_new(src, arena),
                        .nslots = ir_nslots(src)};
    size_t each = x.c->n * x.nslots;

    x.live = opt_live_slots(src, x.c, arena);
    x.loop_puts = base_arena_alloc(arena, x.c->n * sizeof *x.loop_puts);
    x.map = base_arena_alloc(arena, (src->nins - src->nk + 1) * sizeof *x.map);
    x.out = base_arena_alloc(arena, each * sizeof *x.out);
    x.phi = base_arena_alloc(arena, each * sizeof *x.phi);
    opt_ssa_loop_puts(&x);
    for (ir_ref r = src->nk; r < IR_BIAS; r++)
        x.map[r - src->nk] = ir_k_copy(dst, src, r);
    opt_ssa_entry(&x);
    for (unsigned b = 0; b < x.c->n; b++) {
        const struct opt_block *k = &x.c->block[b];

        if (ir_func_full(dst))
            return "too many values";
        if (b) {
            opt_ssa_begin(&x, b);
            ir_forget_values(dst);
        }
        for (ir_ref r = k->first + (b != 0); r <= k->last; r++)
            opt_ssa_ins(&x, r);
        memcpy(x.out + b * x.nslots, x.cur, x.nslots * sizeof *x.cur);
    }
    opt_ssa_complete(&x);
    opt_ssa_trivial(dst, arena);
    return NULL;
}
