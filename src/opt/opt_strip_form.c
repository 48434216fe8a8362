/* opt_strip_form.c: values of a loop as sums of what counts; where in memory values come from.
 * SPDX-License-Identifier: Apache-2.0 */
#include "opt/opt_strip.h"

/* ---- what the header carries ----------------------------------------- */

static ir_ref opt_strip_operand(const struct opt_strip *l, ir_ref phi, unsigned block)
{
    const struct ir_ins *i = &l->f->ins[phi];

    for (uint32_t n = 0; n < i->b; n++)
        if (opt_block_at(l->c, l->f->extra[i->a + 2 * n]) == block)
            return l->f->extra[i->a + 2 * n + 1];
    return IR_NIL;
}

/* v without what constants add to it. */
static ir_ref opt_strip_less(const struct ir_func *f, ir_ref v, uint64_t *sum)
{
    while (f->ins[v].op == IR_ADD && ir_is_const(f->ins[v].b) &&
           f->ins[f->ins[v].b].op == IR_KI) {
        *sum += ir_kval(f, f->ins[v].b);
        v = f->ins[v].a;
    }
    return v;
}

static void opt_strip_carry(const struct opt_strip *l, struct opt_carried *c)
{
    const struct ir_func *f = l->f;
    const struct ir_ins *i = &f->ins[c->next];
    ir_ref v;

    c->how = OPT_CARRY_OTHER;
    c->step = 0;
    if (f->ins[c->phi].ty != IR_I64) {
        if (c->next == c->phi) c->how = OPT_CARRY_SAME;
        return;
    }
    if (opt_strip_less(f, c->next, &c->step) == c->phi) {
        c->how = c->step ? OPT_CARRY_COUNTS : OPT_CARRY_SAME;
        return;
    }
    c->step = 0;
    if (i->op != IR_SEXT || f->ins[i->a].ty != IR_I32) return;
    v = opt_strip_less(f, i->a, &c->step);
    if (f->ins[v].op == IR_TRUNC && f->ins[v].a == c->phi) c->how = OPT_CARRY_COUNTS32;
}

bool opt_strip_carries(struct opt_strip *l)
{
    ir_ref r = l->c->block[l->head].first + 1;

    l->ncarried = 0;
    for (; l->f->ins[r].op == IR_PHI; r++) {
        struct opt_carried *c = &l->carried[l->ncarried];

        if (l->ncarried == OPT_STRIP_PHIS) return false;
        c->phi = r;
        c->next = opt_strip_operand(l, r, l->latch);
        if (!c->next) return false;
        opt_strip_carry(l, c);
        l->ncarried++;
    }
    return true;
}

const struct opt_carried *opt_strip_carried(const struct opt_strip *l, ir_ref r)
{
    for (unsigned n = 0; n < l->ncarried; n++)
        if (l->carried[n].phi == r) return &l->carried[n];
    return NULL;
}

/* ---- forms ----------------------------------------------------------- */

static bool opt_form_term(struct opt_form *f, ir_ref v, uint64_t by)
{
    unsigned k = 0;

    while (k < f->n && f->term[k].v != v) k++;
    if (k == OPT_STRIP_TERMS) return false;
    if (k == f->n) {
        f->term[f->n].v = v;
        f->term[f->n++].by = 0;
    }
    f->term[k].by += by;
    if (!f->term[k].by) f->term[k] = f->term[--f->n];
    return true;
}

/* Adds v, as the round sees it, times by. rounds: how many more a PHI may go back. */
static bool opt_form_add(struct opt_strip *l, struct opt_form *f, ir_ref v, uint64_t by,
                         unsigned rounds, unsigned depth)
{
    const struct ir_ins *i = &l->f->ins[v];
    const struct opt_carried *c;
    uint64_t before;

    if (depth > 16 || i->ty != IR_I64) return false;
    if (i->op == IR_KI) {
        f->disp += by * ir_kval(l->f, v);
        return true;
    }
    if (!opt_strip_inside(l, v)) return opt_form_term(f, v, by);
    switch (i->op) {
    case IR_ADD:
    case IR_SUB:
        return opt_form_add(l, f, i->a, by, rounds, depth + 1) &&
               opt_form_add(l, f, i->b, i->op == IR_ADD ? by : 0 - by, rounds, depth + 1);
    case IR_SHL:
        return l->f->ins[i->b].op == IR_KI &&
               opt_form_add(l, f, i->a, by << (ir_kval(l->f, i->b) & 63), rounds, depth + 1);
    case IR_PHI: break;
    default: return false;
    }
    c = opt_strip_carried(l, v);
    if (!c || c->how == OPT_CARRY_COUNTS32) return false;
    if (c->how != OPT_CARRY_OTHER) {
        f->step += by * c->step;
        return opt_form_term(f, v, by);
    }
    /* what the round before made of what counts: a step less than what this one makes of it */
    if (!rounds) return false;
    if (l->reach < OPT_STRIP_BACK + 1 - rounds) l->reach = OPT_STRIP_BACK + 1 - rounds;
    before = f->step;
    if (!opt_form_add(l, f, c->next, by, rounds - 1, depth + 1)) return false;
    f->disp -= f->step - before;
    return true;
}

bool opt_form_of(struct opt_strip *l, ir_ref v, struct opt_form *f)
{
    memset(f, 0, sizeof *f);
    return opt_form_add(l, f, v, 1, OPT_STRIP_BACK, 0);
}

bool opt_form_alike(const struct opt_form *a, const struct opt_form *b)
{
    if (a->n != b->n || a->step != b->step) return false;
    for (unsigned n = 0; n < a->n; n++) {
        unsigned k = 0;

        while (k < b->n && (b->term[k].v != a->term[n].v || b->term[k].by != a->term[n].by)) k++;
        if (k == b->n) return false;
    }
    return true;
}

/* ---- sources --------------------------------------------------------- */

static bool opt_source_find(struct opt_strip *l, ir_ref v, struct opt_source *s, unsigned rounds);

/* Two words side by side, shifted together: some bytes of them. */
static bool opt_source_funnel(struct opt_strip *l, const struct ir_ins *i, struct opt_source *s,
                              unsigned rounds)
{
    const struct ir_ins *low = &l->f->ins[i->a], *high = &l->f->ins[i->b];
    struct opt_source other;

    if (low->op == IR_SHL) {
        low = high;
        high = &l->f->ins[i->a];
    }
    if (i->ty != IR_I64 || low->op != IR_SHR || high->op != IR_SHL ||
        opt_strip_inside(l, low->b) || opt_strip_inside(l, high->b) ||
        !opt_source_find(l, low->a, s, rounds) || !opt_source_find(l, high->a, &other, rounds))
        return false;
    if (s->width != 8 || other.width != 8 || s->shift || other.shift ||
        !opt_form_alike(&s->at, &other.at) || other.at.disp != s->at.disp + 8)
        return false;
    s->shift = low->b;
    s->unshift = high->b;
    return true;
}

static bool opt_source_find(struct opt_strip *l, ir_ref v, struct opt_source *s, unsigned rounds)
{
    const struct ir_func *f = l->f;
    const struct ir_ins *i;
    const struct opt_carried *c;

    while (f->ins[v].op == IR_TRUNC || f->ins[v].op == IR_ZEXT || f->ins[v].op == IR_SEXT)
        v = f->ins[v].a;
    i = &f->ins[v];
    if (!opt_strip_inside(l, v)) return false;
    if (i->op == IR_LD) {
        s->shift = s->unshift = IR_NIL;
        s->width = ir_type_bits(i->ty) / 8;
        if (!opt_form_of(l, i->a, &s->at)) return false;
        s->at.disp += (uint64_t)(int64_t)(int32_t)i->b;
        return s->at.step != 0;
    }
    if (i->op == IR_OR) return opt_source_funnel(l, i, s, rounds);
    c = i->op == IR_PHI ? opt_strip_carried(l, v) : NULL;
    if (!c || c->how != OPT_CARRY_OTHER || !rounds) return false;
    if (!opt_source_find(l, c->next, s, rounds - 1)) return false;
    if (l->reach < OPT_STRIP_BACK + 1 - rounds) l->reach = OPT_STRIP_BACK + 1 - rounds;
    s->at.disp -= s->at.step;
    return true;
}

bool opt_source_of(struct opt_strip *l, ir_ref v, struct opt_source *s)
{
    return opt_source_find(l, v, s, OPT_STRIP_BACK);
}

/* ---- the rest -------------------------------------------------------- */

bool opt_strip_guard(struct opt_strip *l, struct opt_guard g)
{
    if (g.how == OPT_GUARD_IS && ir_is_const(g.a))
        return l->f->ins[g.a].op == IR_KI && ir_kval(l->f, g.a) == g.k;
    for (unsigned n = 0; n < l->nguards; n++)
        if (l->guard[n].how == g.how && l->guard[n].a == g.a && l->guard[n].b == g.b &&
            l->guard[n].k == g.k)
            return true;
    if (l->nguards == OPT_STRIP_GUARDS) return false;
    l->guard[l->nguards++] = g;
    return true;
}

bool opt_strip_again(struct opt_strip *l, ir_ref v, unsigned back, unsigned *nodes)
{
    const struct ir_ins *i = &l->f->ins[v];
    const uint32_t operand[3] = {i->a, i->b, i->c};
    const struct opt_carried *c;
    struct opt_form f;

    if (!opt_strip_inside(l, v)) return true;
    if (++*nodes > OPT_STRIP_NODES || back > OPT_STRIP_BACK) return false;
    if (i->op == IR_PHI) {
        c = opt_strip_carried(l, v);
        return c && (c->how != OPT_CARRY_OTHER || opt_strip_again(l, c->next, back + 1, nodes));
    }
    if (i->op == IR_LD) return opt_form_of(l, i->a, &f);
    if (ir_ops[i->op].cls != IR_CLASS_P) return false;
    for (unsigned n = 0; n < 3; n++)
        if (opt_is_ref(i->op, n) && operand[n] && !opt_strip_again(l, operand[n], back, nodes))
            return false;
    return true;
}
