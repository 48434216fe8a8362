/* opt_strip.c: string loops, many rounds at once. SPDX-License-Identifier: Apache-2.0
 *
 * A loop that copies, fills, compares or searches (opt_strip_find.c) is given a way round itself:
 * after some rounds, when its pointer has come to a mark, STRIP does as many of the rounds to come
 * as it may (docs/ir.md), and the loop goes on behind them.
 *
 *     b1: %p = phi [..], [b1 %n]         b1: %p = phi [..], [b2 %n], [b3 %p], [b4 %q]
 *         put a0, %p                         %m = phi [.. first], [b2 %m], [b3 ..], [b4 ..]
 *         %v = ld.i8 [%p]                    put a0, %p
 *         %n = add %p, 1             ->      br (cmp.eq %p, %m), b3, b2
 *         br (cmp.ne %v, 0), b1, b9      b2: as before, to b1 or b9
 *                                        b3: %k = strip.find.by1 %p, 0, -1
 *                                            br (cmp.eq %k, 0), b1, b4
 *                                        b4: %q = add %p, %k; jmp b1
 *
 * The loop remains the truth: it does the last round, and whatever the strip stops at: one that
 * leaves the loop, that faults, whose source overlaps. Behind a strip each PHI has what it would
 * have: counters are moved on; what is made of the last round's loads is made again of PEEKs, and
 * mostly nobody wants it but the state, which a fault in the next round could show.
 *
 * Most loops are short, so they do their first rounds by themselves, at the cost of the comparison
 * with the mark. (Some must: what a round uses may be what the one before loaded.) With few
 * rounds left, if the number is known, or if something else does not hold that must (guards), there
 * is no strip.
 *
 * Requires: state-SSA form, loops contiguous. Keeps it: the new blocks stand behind the latch.
 */
#include "opt/opt_strip.h"

enum { EDGE_FEW, EDGE_NONE, EDGE_DONE, EDGES };

/* A loop being rebuilt. References are the new function's unless it says old. */
struct opt_stripped {
    struct opt_strip l;
    ir_ref top, body;       /* BLOCKs of the header and of what was behind its PHIs */
    ir_ref mark;            /* PHI */
    ir_ref test;            /* the header's BR */
    ir_ref few, none, done; /* BR, BR, JMP to the header; few: IR_NIL if there is none */
    ir_ref from[EDGES];     /* BLOCKs that these are in */
    ir_ref next_mark[EDGES];
    ir_ref start;           /* BLOCK where the strip begins */
    ir_ref pairs[2 * 16];   /* mark's: old blocks and new values, from outside */
    unsigned npairs;
    ir_ref value[OPT_STRIP_PHIS]; /* of the carried, behind the strip */
};

struct opt_strips {
    struct opt_stripped *loop[OPT_STRIP_LOOPS];
    unsigned n;
    struct opt_again {
        ir_ref v, is;
        unsigned back;
    } memo[2 * OPT_STRIP_NODES];
    unsigned nmemo;
};

/* ---- small pieces ---------------------------------------------------- */

static ir_ref opt_i64(struct ir_func *f, uint64_t v)
{
    return ir_ki(f, IR_I64, v);
}

static ir_ref opt_times(struct ir_func *f, ir_ref v, uint64_t by)
{
    uint64_t size = (int64_t)by < 0 ? 0 - by : by;

    if (size & (size - 1)) return ir_op2(f, IR_MUL, IR_I64, v, opt_i64(f, by));
    v = ir_op2(f, IR_SHL, IR_I64, v, opt_i64(f, (unsigned)__builtin_ctzll(size)));
    return size == by ? v : ir_op1(f, IR_NEG, IR_I64, v);
}

/* The form's value as the header has its terms. */
static ir_ref opt_form_value(struct opt_rebuild *b, const struct opt_form *form)
{
    struct ir_func *f = b->dst;
    ir_ref sum = IR_NIL;

    for (unsigned n = 0; n < form->n; n++) {
        ir_ref v = opt_times(f, opt_rebuild_map(b, form->term[n].v), form->term[n].by);

        sum = sum ? ir_op2(f, IR_ADD, IR_I64, sum, v) : v;
    }
    if (!sum) return opt_i64(f, form->disp);
    return ir_op2(f, IR_ADD, IR_I64, sum, opt_i64(f, form->disp));
}

/* Rounds times step, of a counter or a form, to go on with. */
static ir_ref opt_moved(struct ir_func *f, ir_ref v, ir_ref rounds, uint64_t step)
{
    return step ? ir_op2(f, IR_ADD, IR_I64, v, opt_times(f, rounds, step)) : v;
}

/* Rounds of the loop that cost as much as a strip does, however short. */
static uint64_t opt_strip_dear(const struct opt_strip *l)
{
    unsigned insns = l->insns / 4 + 1, accesses = (l->nloads + l->nstores) / 2 + 1;

    return OPT_PARAM_strip_cost / (insns > accesses ? insns : accesses) + 1;
}

/* ---- whether it pays ------------------------------------------------- */

/* Old value v where the region is entered, by the sample of its slots. */
static bool opt_sampled(const struct opt_strip *l, const uint64_t *sample, ir_ref v, unsigned depth,
                        uint64_t *is)
{
    const struct ir_ins *i = &l->f->ins[v];
    uint64_t a, b;

    if (ir_is_const(v)) {
        *is = ir_kval(l->f, v);
        return true;
    }
    switch (depth ? i->op : IR_BLOCK) {
    case IR_GET: *is = sample[i->a]; return i->ty == IR_I64;
    case IR_PHI: /* what it is at first */
        return opt_sampled(l, sample, l->f->extra[i->a + 1], depth - 1, is);
    case IR_ADD:
        if (i->ty != IR_I64 || !opt_sampled(l, sample, i->a, depth - 1, &a) ||
            !opt_sampled(l, sample, i->b, depth - 1, &b))
            return false;
        *is = a + b;
        return true;
    default: return false;
    }
}

static bool opt_form_sampled(const struct opt_strip *l, const uint64_t *sample,
                             const struct opt_form *form, uint64_t *is)
{
    *is = form->disp;
    for (unsigned n = 0; n < form->n; n++) {
        uint64_t v;

        if (!opt_sampled(l, sample, form->term[n].v, 4, &v)) return false;
        *is += v * form->term[n].by;
    }
    return true;
}

/* A loop that was seen to be very short is left alone: the mark costs something, and a long one
 * would have been seen with more rounds left. */
static bool opt_strip_pays(const struct opt_strip *l, const uint64_t *sample)
{
    const uint64_t least = OPT_PARAM_strip_seen;

    for (unsigned n = 0; sample && n < l->nlimits; n++) {
        const struct opt_limit *limit = &l->limit[n];
        uint64_t step = limit->x.step - limit->y.step, x, y;

        if (!opt_form_sampled(l, sample, &limit->x, &x) ||
            !opt_form_sampled(l, sample, &limit->y, &y))
            continue;
        if ((int64_t)step < 0 ? (x - y) / (0 - step) < least : (y - x) / step < least) return false;
    }
    return true;
}

/* ---- how many rounds ------------------------------------------------- */

/* x - y for cc NE, else what x may still move. */
static ir_ref opt_limit_rounds(struct opt_rebuild *b, const struct opt_limit *limit)
{
    struct ir_func *f = b->dst;
    uint64_t step = limit->x.step - limit->y.step;
    uint64_t size = (int64_t)step < 0 ? 0 - step : step;
    ir_ref x = opt_form_value(b, &limit->x), y = opt_form_value(b, &limit->y), n;

    n = (int64_t)step < 0 ? ir_op2(f, IR_SUB, IR_I64, x, y) : ir_op2(f, IR_SUB, IR_I64, y, x);
    if (size & (size - 1))
        n = ir_op2(f, IR_DIVU, IR_I64, n, opt_i64(f, size));
    else
        n = ir_op2(f, IR_SHR, IR_I64, n, opt_i64(f, (unsigned)__builtin_ctzll(size)));
    if (limit->cc == IR_NE) return n;
    return ir_emit(f, IR_SEL, IR_I64, 0, ir_cmp(f, limit->cc, x, y), n, opt_i64(f, 0));
}

static ir_ref opt_strip_rounds(struct opt_rebuild *b, const struct opt_strip *l)
{
    ir_ref n = opt_i64(b->dst, UINT64_MAX);

    for (unsigned k = 0; k < l->nlimits; k++) {
        ir_ref more = opt_limit_rounds(b, &l->limit[k]);

        n = k ? ir_op2(b->dst, IR_MINU, IR_I64, n, more) : more;
    }
    return n;
}

static ir_ref opt_guard_fails(struct opt_rebuild *b, const struct opt_guard *g)
{
    struct ir_func *f = b->dst;
    ir_ref a = g->a ? opt_rebuild_map(b, g->a) : opt_form_value(b, &g->at), v;

    switch (g->how) {
    case OPT_GUARD_ALIGNED:
        return ir_cmp(f, IR_NE, ir_op2(f, IR_AND, IR_I64, a, opt_i64(f, 7)), opt_i64(f, 0));
    case OPT_GUARD_SHIFT: /* 8, 16, .. 56: a rotation by 3 to the right makes 1 to 7 of it */
        v = ir_op2(f, IR_ROR, IR_I64, a, opt_i64(f, 3));
        v = ir_op2(f, IR_ADD, IR_I64, v, opt_i64(f, UINT64_MAX));
        return ir_cmp(f, IR_GEU, v, opt_i64(f, 7));
    case OPT_GUARD_UNSHIFT:
        v = ir_op2(f, IR_ADD, IR_I64, a, opt_rebuild_map(b, g->b));
        return ir_cmp(f, IR_NE, v, opt_i64(f, 64));
    case OPT_GUARD_EXTENDED:
        v = ir_op1(f, g->op, IR_I64, ir_op1(f, IR_TRUNC, g->type, a));
        return ir_cmp(f, IR_NE, a, v);
    default: return ir_cmp(f, IR_NE, a, opt_i64(f, g->k));
    }
}

static ir_ref opt_either(struct ir_func *f, ir_ref a, ir_ref b)
{
    return a ? ir_op2(f, IR_OR, IR_I1, a, b) : b;
}

/* Is there nothing to be gained, or is the loop not what it looks like? IR_NIL: there is, it is. */
static ir_ref opt_strip_skips(struct opt_rebuild *b, const struct opt_strip *l, ir_ref rounds)
{
    struct ir_func *f = b->dst;
    unsigned kind = l->aux & IR_STRIP_KIND;
    uint64_t least = opt_strip_dear(l), apart = ir_strip_apart(l->aux);
    ir_ref skip = IR_NIL, v;

    if (l->nlimits) skip = ir_cmp(f, IR_LTU, rounds, opt_i64(f, least < 2 ? 2 : least));
    for (unsigned k = 0; k < l->nguards; k++)
        skip = opt_either(f, skip, opt_guard_fails(b, &l->guard[k]));
    if (kind != IR_STRIP_COPY && kind != IR_STRIP_COPYZ) return skip;
    v = ir_op2(f, IR_SUB, IR_I64, opt_form_value(b, &l->a), opt_form_value(b, &l->b));
    v = ir_op2(f, IR_ADD, IR_I64, v, opt_i64(f, apart - 1));
    return opt_either(f, skip, ir_cmp(f, IR_LTU, v, opt_i64(f, 2 * apart - 1)));
}

/* ---- the strip ------------------------------------------------------- */

/* The pattern's low bytes over and over, as far as a round asks for them. */
static ir_ref opt_strip_repeated(struct opt_rebuild *b, const struct opt_strip *l)
{
    static const uint64_t ones[] = {[1] = 0x0101010101010101, [2] = 0x0001000100010001,
                                    [4] = 0x0000000100000001};
    static const uint8_t type[] = {[1] = IR_I8, [2] = IR_I16, [4] = IR_I32};
    struct ir_func *f = b->dst;
    ir_ref v;

    if (!l->pattern) return opt_i64(f, 0);
    v = opt_rebuild_map(b, l->pattern);
    if (l->width < 8) {
        if (ir_type_bits(ir_ty(f, v)) > 8 * l->width) v = ir_op1(f, IR_TRUNC, type[l->width], v);
        v = ir_op1(f, IR_ZEXT, IR_I64, v);
    }
    if (l->width < 8 && l->width < opt_strip_size(l))
        v = ir_op2(f, IR_MUL, IR_I64, v, opt_i64(f, ones[l->width]));
    return v;
}

static ir_ref opt_strip_operand_b(struct opt_rebuild *b, const struct opt_strip *l)
{
    struct ir_func *f = b->dst;
    unsigned kind = l->aux & IR_STRIP_KIND;
    ir_ref v;

    if (kind != IR_STRIP_COPY && kind != IR_STRIP_COPYZ && kind != IR_STRIP_MATCH &&
        kind != IR_STRIP_MATCHZ)
        return opt_strip_repeated(b, l);
    v = opt_form_value(b, &l->b);
    if (!l->shift) return v;
    return ir_op2(f, IR_ADD, IR_I64, v,
                  ir_op2(f, IR_SHR, IR_I64, opt_rebuild_map(b, l->shift), opt_i64(f, 3)));
}

/* ---- values behind it ------------------------------------------------ */

static ir_ref opt_strip_value(struct opt_rebuild *b, struct opt_strips *x, struct opt_strip *l,
                              ir_ref v, unsigned back, ir_ref rounds);

static ir_ref opt_strip_value_of(struct opt_rebuild *b, struct opt_strips *x, struct opt_strip *l,
                                 ir_ref v, unsigned back, ir_ref rounds)
{

    struct ir_func *f = b->dst;
    const struct ir_ins *i = &l->f->ins[v];
    uint32_t operand[3] = {i->a, i->b, i->c};
    ir_ref ago = ir_op2(f, IR_ADD, IR_I64, rounds, opt_i64(f, 0 - (uint64_t)back));
    struct opt_form form;

    if (i->op == IR_PHI) {
        const struct opt_carried *c = opt_strip_carried(l, v);

        if (c->how == OPT_CARRY_OTHER)
            return opt_strip_value(b, x, l, c->next, back + 1, rounds);
        v = opt_rebuild_map(b, v);
        if (c->how != OPT_CARRY_COUNTS32) return opt_moved(f, v, ago, c->step);
        v = ir_op2(f, IR_ADD, IR_I32, ir_op1(f, IR_TRUNC, IR_I32, v),
                   ir_op1(f, IR_TRUNC, IR_I32, opt_times(f, ago, c->step)));
        return ir_op1(f, IR_SEXT, IR_I64, v);
    }
    if (i->op == IR_LD) {
        opt_form_of(l, i->a, &form);
        return ir_emit(f, IR_PEEK, i->ty, 0, opt_moved(f, opt_form_value(b, &form), ago, form.step),
                       i->b, 0);
    }
    for (unsigned n = 0; n < 3; n++)
        if (opt_is_ref(i->op, n) && operand[n])
            operand[n] = opt_strip_value(b, x, l, operand[n], back, rounds);
    return ir_emit(f, i->op, i->ty, i->aux, operand[0], operand[1], operand[2]);
}

/* What v, an old value, was in the round that many before the strip's end. */
static ir_ref opt_strip_value(struct opt_rebuild *b, struct opt_strips *x, struct opt_strip *l,
                              ir_ref v, unsigned back, ir_ref rounds)
{
    ir_ref is;

    if (!opt_strip_inside(l, v)) return opt_rebuild_map(b, v);
    for (unsigned n = 0; n < x->nmemo; n++)
        if (x->memo[n].v == v && x->memo[n].back == back) return x->memo[n].is;
    is = opt_strip_value_of(b, x, l, v, back, rounds);
    if (x->nmemo < BASE_ARRAY_SIZE(x->memo)) x->memo[x->nmemo++] = (struct opt_again){v, is, back};
    return is;
}

/* ---- the blocks ------------------------------------------------------ */

static ir_ref opt_strip_mark(struct ir_func *f, const struct opt_strip *l, ir_ref pointer,
                             uint64_t rounds)
{
    return ir_op2(f, IR_ADD, IR_I64, pointer, opt_i64(f, rounds * l->pointer->step));
}

static ir_ref opt_block(struct ir_func *f)
{
    return ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
}

/* A jump whose targets are set at the end; any old block will do for now. */
static ir_ref opt_branch(struct ir_func *f, const struct opt_strip *l, ir_ref cond)
{
    ir_ref any = l->c->block[l->head].first;

    return ir_emit(f, IR_BR, IR_NONE, 0, cond, any, any);
}

static void opt_strip_blocks(struct opt_rebuild *b, struct opt_strips *x, struct opt_stripped *s)
{
    struct opt_strip *l = &s->l;
    struct ir_func *f = b->dst;
    ir_ref pointer, rounds, skip, k;

    s->start = s->from[EDGE_NONE] = opt_block(f);
    pointer = opt_rebuild_map(b, l->pointer->phi);
    rounds = opt_strip_rounds(b, l);
    skip = opt_strip_skips(b, l, rounds);
    if (skip) {
        s->from[EDGE_FEW] = s->start;
        s->next_mark[EDGE_FEW] = opt_strip_mark(f, l, pointer, OPT_PARAM_strip_vain);
        s->few = opt_branch(f, l, skip);
        s->from[EDGE_NONE] = opt_block(f);
    }
    s->next_mark[EDGE_NONE] = opt_strip_mark(f, l, pointer, OPT_PARAM_strip_vain);
    k = ir_emit(f, IR_STRIP, IR_I64, l->aux, opt_form_value(b, &l->a),
                opt_strip_operand_b(b, l), rounds);
    s->none = opt_branch(f, l, ir_cmp(f, IR_EQ, k, opt_i64(f, 0)));
    s->from[EDGE_DONE] = opt_block(f);
    x->nmemo = 0;
    for (unsigned n = 0; n < l->ncarried; n++) {
        const struct opt_carried *c = &l->carried[n];

        s->value[n] = c->how == OPT_CARRY_OTHER ? opt_strip_value(b, x, l, c->next, 1, k)
                                                : opt_strip_value(b, x, l, c->phi, 0, k);
    }
    pointer = opt_strip_value(b, x, l, l->pointer->phi, 0, k);
    s->next_mark[EDGE_DONE] = opt_strip_mark(f, l, pointer, OPT_PARAM_strip_again);
    s->done = ir_emit(f, IR_JMP, IR_NONE, 0, l->c->block[l->head].first, 0, 0);
}

static void opt_strip_top(struct opt_rebuild *b, struct opt_stripped *s)
{
    struct ir_func *f = b->dst;

    s->test = opt_branch(f, &s->l,
                         ir_cmp(f, IR_EQ, opt_rebuild_map(b, s->l.pointer->phi), s->mark));
    s->body = opt_block(f);
}

/* At the end of a block in front of the loop: where its mark will be. */
static void opt_strip_enter(struct opt_rebuild *b, struct opt_stripped *s, unsigned block)
{
    const struct opt_strip *l = &s->l;
    const struct ir_ins *phi = &l->f->ins[l->pointer->phi];
    uint64_t first = opt_strip_dear(l);

    if (!l->nlimits) first *= 2; /* as much again is to come, for all one knows */
    if (first < l->reach) first = l->reach;
    for (uint32_t n = 0; n < phi->b; n++) {
        const uint32_t *pair = l->f->extra + phi->a + 2 * n;

        if (opt_block_at(l->c, pair[0]) != block) continue;
        s->pairs[2 * s->npairs] = pair[0];
        s->pairs[2 * s->npairs++ + 1] =
            opt_strip_mark(b->dst, l, opt_rebuild_map(b, pair[1]), first);
    }
}

/* ---- walking --------------------------------------------------------- */

static bool opt_strip_leads_to(const struct opt_strip *l, unsigned block)
{
    const struct opt_block *k = &l->c->block[block];

    return (block < l->head || block > l->latch) &&
           (k->succ[0] == l->head || (k->nsucc > 1 && k->succ[1] == l->head)) && k->nsucc;
}

static bool opt_strip_each(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_strips *x = ctx;
    const struct ir_ins *i = &b->src->ins[r];

    for (unsigned n = 0; n < x->n; n++) {
        struct opt_stripped *s = x->loop[n];
        const struct opt_strip *l = &s->l;
        unsigned block = opt_block_of(l->c, r);
        const struct opt_block *k = &l->c->block[block];

        if (r == l->c->block[l->head].first) {
            uint32_t none[2] = {IR_NIL, IR_NIL};

            opt_rebuild_copy(b, r);
            s->top = opt_rebuild_map(b, r);
            s->mark = ir_phi(b->dst, IR_I64, none, 1);
            return true;
        }
        if (block == l->head && !s->body && i->op != IR_PHI && i->op != IR_PUT) opt_strip_top(b, s);
        if (r == k->last && opt_strip_leads_to(l, block)) opt_strip_enter(b, s, block);
    }
    for (unsigned n = 0; n < x->n; n++) {
        struct opt_stripped *s = x->loop[n];

        if (r != s->l.c->block[s->l.latch].last) continue;
        opt_rebuild_copy(b, r);
        opt_strip_blocks(b, x, s);
        return true;
    }
    return false;
}

/* ---- joining --------------------------------------------------------- */

/* The PHI gets its new predecessors: as it is where nothing was done. */
static void opt_strip_phi(struct ir_func *f, struct opt_stripped *s, ir_ref phi, ir_ref done)
{
    uint32_t pairs[2 * (16 + EDGES)], n = f->ins[phi].b;

    memcpy(pairs, f->extra + f->ins[phi].a, 2 * n * sizeof *pairs);
    for (unsigned e = s->few ? EDGE_FEW : EDGE_NONE; e < EDGES; e++, n++) {
        pairs[2 * n] = s->from[e];
        pairs[2 * n + 1] = e == EDGE_DONE ? done : phi;
        if (phi == s->mark) pairs[2 * n + 1] = s->next_mark[e];
    }
    f->ins[phi].a = ir_extra(f, pairs, n);
    f->ins[phi].b = n;
}

/* The mark's list, and what the header's BR leads to. */
static void opt_strip_join_mark(struct opt_rebuild *b, struct opt_stripped *s)
{
    struct ir_func *f = b->dst;

    f->ins[s->test].b = s->start;
    f->ins[s->test].c = s->body;
    for (unsigned n = 0; n < s->npairs; n++)
        if (s->pairs[2 * n]) s->pairs[2 * n] = opt_rebuild_map(b, s->pairs[2 * n]);
    s->pairs[2 * s->npairs] = opt_rebuild_map(b, s->l.c->block[s->l.latch].first);
    s->pairs[2 * s->npairs++ + 1] = s->mark;
    f->ins[s->mark].a = ir_extra(f, s->pairs, s->npairs);
    f->ins[s->mark].b = s->npairs;
    opt_strip_phi(f, s, s->mark, IR_NIL);
}

static void opt_strip_join(struct opt_rebuild *b, struct opt_stripped *s)
{
    struct ir_func *f = b->dst;
    struct opt_strip *l = &s->l;

    if (s->few) {
        f->ins[s->few].b = s->top;
        f->ins[s->few].c = s->from[EDGE_NONE];
    }
    f->ins[s->none].b = s->top;
    f->ins[s->none].c = s->from[EDGE_DONE];
    opt_strip_join_mark(b, s);
    for (unsigned n = 0; n < l->ncarried; n++)
        opt_strip_phi(f, s, opt_rebuild_map(b, l->carried[n].phi), s->value[n]);
}

/* What came from the header comes from what is now behind its PHIs. */
static void opt_strip_rename(struct ir_func *f, const struct opt_strips *x)
{
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];

        for (uint32_t n = 0; i->op == IR_PHI && n < i->b; n++)
            for (unsigned k = 0; k < x->n; k++)
                if (f->extra[i->a + 2 * n] == x->loop[k]->top)
                    f->extra[i->a + 2 * n] = x->loop[k]->body;
    }
}

/* ---- the pass -------------------------------------------------------- */

static bool opt_strip_loop(const struct opt_cfg *c, unsigned head)
{
    const struct opt_block *k = &c->block[head];
    unsigned back = 0;

    for (unsigned n = 0; n < k->npred; n++) back += k->pred[n] >= head;
    return head && k->header && back == 1 && k->npred <= 12;
}

const char *opt_strip_pass(struct ir_func *dst, const struct ir_func *src,
                           struct base_arena *arena)
{
    const struct opt_cfg *c = opt_cfg_new(src, arena);
    struct opt_strips *x = base_arena_alloc(arena, sizeof *x);
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = x, .ins = opt_strip_each};
    struct opt_stripped *s = NULL;
    const char *why;

    x->n = 0;
    for (unsigned h = 1; h < c->n && x->n < OPT_STRIP_LOOPS; h++) {
        if (!opt_strip_loop(c, h)) continue;
        if (!s) s = base_arena_alloc(arena, sizeof *s);
        memset(s, 0, sizeof *s);
        s->l.f = src;
        s->l.c = c;
        s->l.head = h;
        s->l.latch = c->block[h].latch;
        if (!opt_strip_find(&s->l) || !opt_strip_pays(&s->l, dst->sample) || !opt_may(dst))
            continue;
        x->loop[x->n++] = s;
        s = NULL;
    }
    why = opt_rebuild_run(&b, arena);
    if (why) return why;
    for (unsigned n = 0; n < x->n; n++) opt_strip_join(&b, x->loop[n]);
    opt_strip_rename(dst, x);
    return NULL;
}
