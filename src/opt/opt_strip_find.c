/* opt_strip_find.c: which loops are string loops. SPDX-License-Identifier: Apache-2.0
 *
 * The loop is one chain of blocks with exits on the way. All of it must be understood:
 *
 *   addresses    change by one amount each round, the stride, whose bytes the accesses of a round
 *                cover without gaps: a window that moves. Loads may run ahead of it
 *   stores       all of one value from outside (fill), or of what was loaded at one distance
 *                (copy)
 *   conditions   compare what counts (a limit), or say that the loop goes on if each byte that
 *                was loaded is not a value from outside, or is one, or is what another place has;
 *                words at a time with the usual tricks
 *
 * What is understood is what suffices: a condition under which no exit is taken in a round. That a
 * value from outside is what a trick needs (0x8080.. for one) is a guard that is computed
 * when the time has come.
 */
#include "opt/opt_strip.h"

/* What a condition says about the bytes of a source. */
enum opt_says { OPT_SAYS_NOT_ZERO = 1, OPT_SAYS_NOT = 2, OPT_SAYS_IS = 4, OPT_SAYS_SAME = 8 };
struct opt_said {
    unsigned what;
    struct opt_source a, b; /* b: SAME */
    ir_ref pattern;
};

struct opt_find {
    struct opt_strip *l;
    struct opt_said said[OPT_STRIP_ITEMS];
    unsigned nsaid;
};

static bool opt_say(struct opt_find *x, unsigned what, const struct opt_source *a,
                    const struct opt_source *b, ir_ref pattern)
{
    if (x->nsaid == OPT_STRIP_ITEMS) return false;
    x->said[x->nsaid].what = what;
    x->said[x->nsaid].a = *a;
    if (b) x->said[x->nsaid].b = *b;
    x->said[x->nsaid++].pattern = pattern;
    return true;
}

static bool opt_from_outside(const struct opt_strip *l, ir_ref v)
{
    const struct opt_carried *c;

    if (!opt_strip_inside(l, v)) return true;
    c = opt_strip_carried(l, v);
    return c && c->how == OPT_CARRY_SAME;
}

/* ---- words with a zero byte ------------------------------------------ */

/* What v is the AND of. */
static unsigned opt_leaves(const struct ir_func *f, ir_ref v, ir_ref *leaf, unsigned n)
{
    if (n > 6) return n;
    if (f->ins[v].op == IR_AND && f->ins[v].ty == IR_I64) {
        n = opt_leaves(f, f->ins[v].a, leaf, n);
        return opt_leaves(f, f->ins[v].b, leaf, n);
    }
    leaf[n++] = v;
    return n;
}

/* w, or w ^ pattern, has no zero byte. */
static bool opt_word_said(struct opt_find *x, ir_ref w)
{
    const struct ir_ins *i = &x->l->f->ins[w];
    struct opt_source s;

    if (i->op == IR_XOR) {
        ir_ref from = opt_from_outside(x->l, i->b) ? i->a : i->b, p = i->a ^ i->b ^ from;

        return opt_from_outside(x->l, p) && opt_source_of(x->l, from, &s) && s.width == 8 &&
               opt_say(x, OPT_SAYS_NOT, &s, NULL, p);
    }
    return opt_source_of(x->l, w, &s) && s.width == 8 &&
           opt_say(x, OPT_SAYS_NOT_ZERO, &s, NULL, IR_NIL);
}

/* (w + 0xfefe..ff) & ~w among the n leaves, which are taken away. */
static bool opt_borrows(struct opt_find *x, ir_ref *leaf, unsigned *n)
{
    const struct ir_func *f = x->l->f;

    for (unsigned k = 0; k < *n; k++) {
        ir_ref w = f->ins[leaf[k]].op == IR_NOT ? f->ins[leaf[k]].a : IR_NIL;

        for (unsigned m = 0; w && m < *n; m++) {
            const struct ir_ins *i = &f->ins[leaf[m]];
            ir_ref less = i->a == w ? i->b : i->a;

            if (i->op != IR_ADD || (i->a != w && i->b != w) || !opt_from_outside(x->l, less))
                continue;
            if (!opt_strip_guard(x->l, (struct opt_guard){.how = OPT_GUARD_IS, .a = less,
                                                          .k = 0xfefefefefefefeff}) ||
                !opt_word_said(x, w))
                return false;
            leaf[k > m ? k : m] = leaf[--*n];
            leaf[k > m ? m : k] = leaf[--*n];
            return true;
        }
    }
    return false;
}

/* v is 0, so no byte of a word is. */
static bool opt_no_zero(struct opt_find *x, ir_ref v)
{
    const struct ir_func *f = x->l->f;
    ir_ref leaf[8], part[8];
    unsigned n = opt_leaves(f, v, leaf, 0), high = 0, np;

    if (n != 2 && n != 3) return false;
    while (high < n && !opt_from_outside(x->l, leaf[high])) high++;
    if (high == n || !opt_strip_guard(x->l, (struct opt_guard){.how = OPT_GUARD_IS, .a = leaf[high],
                                                               .k = 0x8080808080808080}))
        return false;
    leaf[high] = leaf[--n];
    if (n == 2) return opt_borrows(x, leaf, &n) && n == 0;
    if (f->ins[leaf[0]].op != IR_OR) return false;
    np = opt_leaves(f, f->ins[leaf[0]].a, part, 0);
    if (np != 2 || !opt_borrows(x, part, &np)) return false;
    np = opt_leaves(f, f->ins[leaf[0]].b, part, 0);
    return np == 2 && opt_borrows(x, part, &np);
}

/* ---- other conditions on what was loaded ----------------------------- */

/* Do the two values come from memory in the same way? */
static bool opt_same_way(const struct ir_func *f, ir_ref a, ir_ref b)
{
    for (;;) {
        const struct ir_ins *i = &f->ins[a], *j = &f->ins[b];

        if (i->ty != j->ty) return false;
        if (i->op != IR_TRUNC && i->op != IR_ZEXT && i->op != IR_SEXT) return true;
        if (i->op != j->op) return false;
        a = i->a;
        b = j->a;
    }
}

static bool opt_equal_said(struct opt_find *x, ir_ref a, ir_ref b)
{
    struct opt_source s, t;

    return opt_same_way(x->l->f, a, b) && opt_source_of(x->l, a, &s) &&
           opt_source_of(x->l, b, &t) && s.width == t.width &&
           opt_say(x, OPT_SAYS_SAME, &s, &t, IR_NIL);
}

/* v is 0: a difference. */
static bool opt_no_difference(struct opt_find *x, ir_ref v)
{
    const struct ir_func *f = x->l->f;

    while (f->ins[v].op == IR_SEXT || f->ins[v].op == IR_TRUNC) v = f->ins[v].a;
    return (f->ins[v].op == IR_SUB || f->ins[v].op == IR_XOR) &&
           opt_equal_said(x, f->ins[v].a, f->ins[v].b);
}

/* a, loaded, is always (or never) v, which is from outside. */
static bool opt_value_said(struct opt_find *x, ir_ref a, ir_ref v, bool is)
{
    const struct ir_func *f = x->l->f;
    const struct ir_ins *i = &f->ins[a];
    struct opt_source s;
    bool extended = i->op == IR_ZEXT || i->op == IR_SEXT;

    if (!opt_source_of(x->l, a, &s) || s.shift) return false;
    if (!is && s.width != 1) return false;
    if (!is && ir_is_k(f, v, 0)) return opt_say(x, OPT_SAYS_NOT_ZERO, &s, NULL, IR_NIL);
    if (is && i->ty == IR_I64 && s.width < 8) {
        if (!extended || ir_type_bits(f->ins[i->a].ty) != 8 * s.width) return false;
        if (!opt_strip_guard(x->l, (struct opt_guard){.how = OPT_GUARD_EXTENDED, .a = v,
                                                      .op = i->op, .type = f->ins[i->a].ty}))
            return false;
    } else if (is && 8 * s.width != ir_type_bits(i->ty)) {
        return false;
    }
    return opt_say(x, is ? OPT_SAYS_IS : OPT_SAYS_NOT, &s, NULL, v);
}

static bool opt_is_zero(const struct ir_func *f, ir_ref v)
{
    return ir_is_const(v) && f->ins[v].op == IR_KI && ir_kval(f, v) == 0;
}

static bool opt_said_by(struct opt_find *x, unsigned cc, ir_ref a, ir_ref b)
{
    const struct ir_func *f = x->l->f;
    unsigned nguards = x->l->nguards, nsaid = x->nsaid;

    if (cc != IR_EQ && cc != IR_NE) return false;
    if (cc == IR_EQ && f->ins[a].op == IR_ORCB && ir_is_k(f, b, UINT64_MAX))
        return opt_word_said(x, f->ins[a].a);
    if (cc == IR_EQ && opt_is_zero(f, b)) {
        if (opt_no_zero(x, a) || opt_no_difference(x, a)) return true;
        x->l->nguards = nguards;
        x->nsaid = nsaid;
    }
    if (opt_from_outside(x->l, b)) return opt_value_said(x, a, b, cc == IR_EQ);
    if (opt_from_outside(x->l, a)) return opt_value_said(x, b, a, cc == IR_EQ);
    return cc == IR_EQ && opt_equal_said(x, a, b);
}

/* ---- limits ---------------------------------------------------------- */

/* The loop goes on while x cc y, both of which are forms. */
static bool opt_limit_by(struct opt_strip *l, unsigned cc, struct opt_form x, struct opt_form y)
{
    struct opt_form swap = x;

    if (x.step == y.step && (cc == IR_EQ || cc == IR_NE || !x.step)) return true; /* for ever */
    if (cc == IR_EQ || l->nlimits == BASE_ARRAY_SIZE(l->limit)) return false;
    if (cc != IR_NE) {
        if (x.step && y.step) return false;
        if (!x.step) {
            x = y;
            y = swap;
            cc = ir_cc_swapped(cc);
        }
        bool up = cc == IR_LTS || cc == IR_LES || cc == IR_LTU || cc == IR_LEU;

        if (up != ((int64_t)x.step > 0)) return false;
    }
    l->limit[l->nlimits++] = (struct opt_limit){cc, x, y};
    return true;
}

static bool opt_condition(struct opt_find *x, ir_ref cond, bool goes_on)
{
    const struct ir_func *f = x->l->f;
    const struct ir_ins *i = &f->ins[cond];
    struct opt_form a, b;
    unsigned cc;

    if (opt_from_outside(x->l, cond)) return true; /* as it was in the rounds before */
    if (i->op == IR_XOR && ir_is_k(f, i->b, 1)) return opt_condition(x, i->a, !goes_on);
    if (i->op != IR_CMP) return false;
    cc = goes_on ? i->aux : ir_cc_opposite(i->aux);
    if (opt_form_of(x->l, i->a, &a) && opt_form_of(x->l, i->b, &b))
        return opt_limit_by(x->l, cc, a, b);
    return opt_said_by(x, cc, i->a, i->b);
}

/* ---- the body -------------------------------------------------------- */

static bool opt_strip_ins(struct opt_find *x, ir_ref r)
{
    struct opt_strip *l = x->l;
    const struct ir_ins *i = &l->f->ins[r];

    switch (i->op) {
    case IR_IMARK: l->insns++; return true;
    case IR_BLOCK:
    case IR_PHI:
    case IR_PUT:
    case IR_POLL:
    case IR_JMP:
    case IR_BR: return true;
    case IR_SIDE: return opt_condition(x, i->a, false);
    case IR_LD:
        if (i->aux != IR_AS_GUEST || l->nloads == OPT_STRIP_ITEMS) return false;
        l->load[l->nloads++] = r;
        return true;
    case IR_ST:
        if (i->aux != IR_AS_GUEST || l->nstores == OPT_STRIP_ITEMS) return false;
        l->store[l->nstores++] = r;
        return true;
    default: return ir_ops[i->op].cls == IR_CLASS_P && !(ir_ops[i->op].flags & IR_F_FLAGS);
    }
}

/* One way through, from the header to the latch, and out of it on the way. */
static bool opt_strip_body(struct opt_find *x)
{
    struct opt_strip *l = x->l;

    for (unsigned b = l->head; b <= l->latch; b++) {
        const struct opt_block *k = &l->c->block[b];
        const struct ir_ins *end = &l->f->ins[k->last];
        unsigned next = b == l->latch ? l->head : b + 1;

        if (b != l->head && (k->header || k->npred != 1)) return false;
        for (ir_ref r = k->first; r <= k->last; r++)
            if (!opt_strip_ins(x, r)) return false;
        if (end->op == IR_JMP && k->succ[0] == next) continue;
        if (end->op != IR_BR || end->b == end->c) return false;
        bool on = opt_block_at(l->c, end->b) == next;
        unsigned out = opt_block_at(l->c, on ? end->c : end->b);

        if ((!on && opt_block_at(l->c, end->c) != next) || (out >= l->head && out <= l->latch))
            return false;
        if (!opt_condition(x, end->a, on)) return false;
    }
    return true;
}

/* ---- windows --------------------------------------------------------- */

/* Some bytes of each round: where the first is, and whether none is there twice. */
struct opt_window {
    struct opt_source at;
    uint64_t bytes, end;     /* how many, counted and by the last */
    struct { uint64_t disp; unsigned width; } part[OPT_STRIP_ITEMS];
    unsigned n;
    bool any, alike;
};

static void opt_window_add(struct opt_window *w, const struct opt_source *s, unsigned width)
{
    uint64_t disp = s->at.disp, end = disp + width;

    if (w->n == OPT_STRIP_ITEMS) {
        w->alike = false;
        return;
    }
    if (!w->any) {
        w->at = *s;
        w->end = end;
        w->any = w->alike = true;
    }
    w->alike &= opt_form_alike(&w->at.at, &s->at) && w->at.shift == s->shift &&
                w->at.unshift == s->unshift;
    if ((int64_t)(disp - w->at.at.disp) < 0) w->at.at.disp = disp;
    if ((int64_t)(end - w->end) > 0) w->end = end;
    for (unsigned k = 0; k < w->n; k++)
        w->alike &= disp - w->part[k].disp >= w->part[k].width &&
                    w->part[k].disp - disp >= width;
    w->part[w->n].disp = disp;
    w->part[w->n++].width = width;
    w->bytes += width;
}

/* It is what a round moves by. */
static bool opt_window_whole(const struct opt_window *w, uint64_t step)
{
    uint64_t size = (int64_t)step < 0 ? 0 - step : step;

    return w->alike && w->at.at.step == step && w->bytes == size &&
           w->end - w->at.at.disp == size;
}

static bool opt_strip_stride(struct opt_strip *l, uint64_t step)
{
    uint64_t size = (int64_t)step < 0 ? 0 - step : step;

    if (!size || size > 128 || (size & (size - 1))) return false;
    l->aux = (unsigned)__builtin_ctzll(size) << IR_STRIP_SHIFT |
             ((int64_t)step < 0 ? (unsigned)IR_STRIP_BACK : 0);
    return true;
}

/* A load that runs ahead of window w; *ahead: the most so far. False: not of this window. */
static bool opt_strip_covered(const struct opt_strip *l, const struct opt_window *w,
                              const struct opt_source *s, unsigned *ahead)
{
    int64_t size = (int64_t)opt_strip_size(l), low = (int64_t)(s->at.disp - w->at.at.disp);
    int64_t high = low + s->width, more;

    if (!opt_form_alike(&w->at.at, &s->at)) return false;
    if (w->at.shift && !(l->aux & IR_STRIP_BACK)) high -= 8; /* bytes of the word behind, too */
    if (w->at.shift && (l->aux & IR_STRIP_BACK)) high -= 8;
    more = l->aux & IR_STRIP_BACK ? -low : high - size;
    if (l->aux & IR_STRIP_BACK ? high > 2 * size : low < -size) return false;
    if (more > 16) return false;
    if (more > (int64_t)*ahead) *ahead = more > 8 ? 16 : 8;
    return true;
}

static bool opt_strip_loads(struct opt_strip *l, const struct opt_window *w,
                            const struct opt_window *other)
{
    unsigned ahead = 0;

    for (unsigned n = 0; n < l->nloads; n++) {
        struct opt_source s;

        if (!opt_source_of(l, l->load[n], &s)) return false;
        if (!opt_strip_covered(l, w, &s, &ahead) &&
            !(other->any && opt_strip_covered(l, other, &s, &ahead)))
            return false;
    }
    l->aux |= ahead == 8 ? IR_STRIP_AHEAD8 : ahead == 16 ? IR_STRIP_AHEAD16 : 0;
    return true;
}

/* Guards of a window that is shifted out of words. */
static bool opt_strip_shifted(struct opt_strip *l, const struct opt_window *w)
{
    if (!w->at.shift) return true;
    return opt_strip_guard(l, (struct opt_guard){.how = OPT_GUARD_SHIFT, .a = w->at.shift}) &&
           opt_strip_guard(l, (struct opt_guard){.how = OPT_GUARD_UNSHIFT, .a = w->at.shift,
                                                 .b = w->at.unshift}) &&
           opt_strip_guard(l, (struct opt_guard){.how = OPT_GUARD_ALIGNED, .at = w->at.at});
}

/* ---- what it is ------------------------------------------------------ */

/* All that is said of bytes, as what the operation ends at: windows of one place. */
static bool opt_strip_says(struct opt_find *x, unsigned what, struct opt_window *w,
                           struct opt_window *b, ir_ref *pattern)
{
    for (unsigned n = 0; n < x->nsaid; n++) {
        struct opt_said *s = &x->said[n];

        if (s->what != what) continue;
        if (w->any && s->pattern != *pattern) return false;
        *pattern = s->pattern;
        opt_window_add(w, &s->a, s->a.width);
        if (what == OPT_SAYS_SAME) opt_window_add(b, &s->b, s->b.width);
    }
    return true;
}

static bool opt_strip_same_place(const struct opt_window *a, const struct opt_window *b)
{
    return opt_form_alike(&a->at.at, &b->at.at) && a->at.at.disp == b->at.at.disp &&
           a->at.shift == b->at.shift;
}

static bool opt_strip_copies(struct opt_find *x, const struct opt_window *zero)
{
    struct opt_strip *l = x->l;
    struct opt_window to = {0}, from = {0}, none = {0};
    struct opt_form apart = {0};

    for (unsigned n = 0; n < l->nstores; n++) {
        const struct ir_ins *i = &l->f->ins[l->store[n]];
        struct opt_source s, d = {.width = ir_type_bits(ir_ty(l->f, i->c)) / 8};

        if (!opt_form_of(l, i->a, &d.at)) return false;
        d.at.disp += (uint64_t)(int64_t)(int32_t)i->b;
        if (!opt_source_of(l, i->c, &s) || d.width > s.width || (s.shift && d.width != 8) ||
            (n && s.at.disp - d.at.disp != apart.disp))
            return false;
        apart.disp = s.at.disp - d.at.disp;
        opt_window_add(&to, &d, d.width);
        opt_window_add(&from, &s, d.width);
    }
    if (!opt_strip_stride(l, to.at.at.step) || !opt_window_whole(&to, to.at.at.step) ||
        !opt_window_whole(&from, to.at.at.step))
        return false;
    l->a = to.at.at;
    l->b = from.at.at;
    l->shift = from.at.shift;
    l->aux |= zero->any ? IR_STRIP_COPYZ : IR_STRIP_COPY;
    if (!opt_strip_shifted(l, &from) || !opt_strip_loads(l, &from, &none)) return false;
    if (!zero->any) return true;
    return !(l->aux & (IR_STRIP_BACK | 3 << 8)) && !from.at.shift &&
           opt_window_whole(zero, to.at.at.step) && opt_strip_same_place(zero, &from);
}

/* v: what is stored, from outside, perhaps of a wider type. */
static bool opt_strip_fills(struct opt_strip *l, ir_ref v)
{
    struct opt_window to = {0};
    ir_ref first = IR_NIL;

    for (unsigned n = 0; n < l->nstores; n++) {
        const struct ir_ins *i = &l->f->ins[l->store[n]];
        struct opt_source d = {.width = ir_type_bits(ir_ty(l->f, i->c)) / 8};

        if (!opt_form_of(l, i->a, &d.at)) return false;
        d.at.disp += (uint64_t)(int64_t)(int32_t)i->b;
        opt_window_add(&to, &d, d.width);
        if (!ir_is_int(ir_ty(l->f, i->c)) || (n && i->c != first)) return false;
        first = i->c;
    }
    l->a = to.at.at;
    l->pattern = v;
    l->width = to.part[0].width;
    return opt_strip_stride(l, to.at.at.step) && opt_window_whole(&to, to.at.at.step);
}

static bool opt_strip_stores(struct opt_find *x)
{
    struct opt_strip *l = x->l;
    struct opt_window zero = {0}, other = {0};
    ir_ref pattern = IR_NIL, v = l->f->ins[l->store[0]].c;

    while (l->f->ins[v].op == IR_TRUNC && opt_strip_inside(l, v)) v = l->f->ins[v].a;
    for (unsigned n = 0; n < x->nsaid; n++)
        if (x->said[n].what != OPT_SAYS_NOT_ZERO) return false;
    if (!opt_strip_says(x, OPT_SAYS_NOT_ZERO, &zero, &other, &pattern)) return false;
    if (!opt_from_outside(l, v)) return opt_strip_copies(x, &zero);
    return !zero.any && !l->nloads && opt_strip_fills(l, v);
}

static bool opt_strip_searches(struct opt_find *x)
{
    struct opt_strip *l = x->l;
    struct opt_window zero = {0}, not= {0}, is = {0}, same = {0}, b = {0}, none = {0}, *w;
    ir_ref pattern = IR_NIL, nil = IR_NIL;

    if (!opt_strip_says(x, OPT_SAYS_NOT, &not, &none, &pattern) ||
        !opt_strip_says(x, OPT_SAYS_IS, &is, &none, &pattern) || (not.any && is.any) ||
        !opt_strip_says(x, OPT_SAYS_NOT_ZERO, &zero, &none, &nil) ||
        !opt_strip_says(x, OPT_SAYS_SAME, &same, &b, &nil))
        return false;
    w = not.any ? &not : is.any ? &is : same.any ? &same : &zero;
    if (!w->any || (same.any && (not.any || is.any)) || (is.any && zero.any) ||
        !opt_strip_stride(l, w->at.at.step) || (l->aux & IR_STRIP_BACK) ||
        !opt_window_whole(w, w->at.at.step) || (same.any && !opt_window_whole(&b, b.at.at.step)) ||
        (same.any && b.at.at.step != same.at.at.step))
        return false;
    if (zero.any && (!opt_window_whole(&zero, w->at.at.step) ||
                     (!opt_strip_same_place(&zero, w) &&
                      !(same.any && opt_strip_same_place(&zero, &b)))))
        return false;
    if ((!same.any && w->at.shift) || (w->at.shift && b.at.shift)) return false;
    if (w->at.shift) { /* the shifted one is b */
        struct opt_window swap = same;

        same = b;
        b = swap;
    }
    l->a = w->at.at;
    l->b = b.at.at;
    l->shift = b.at.shift;
    l->pattern = same.any ? IR_NIL : pattern;
    l->width = w->part[0].width;
    l->aux |= same.any ? (zero.any ? IR_STRIP_MATCHZ : IR_STRIP_MATCH)
              : is.any ? IR_STRIP_SPAN
              : not.any ? (zero.any ? IR_STRIP_FINDZ : IR_STRIP_FIND)
                        : IR_STRIP_FIND;
    return opt_strip_shifted(l, &b) && opt_strip_loads(l, w, same.any ? &b : &none);
}

/* Patterns are i64 or narrower integers. */
static bool opt_strip_pattern(const struct opt_strip *l)
{
    return !l->pattern || ir_is_int(ir_ty(l->f, l->pattern));
}

bool opt_strip_find(struct opt_strip *l)
{
    struct opt_find x = {.l = l};
    unsigned nodes = 0;

    if (!opt_strip_carries(l) || !opt_strip_body(&x)) return false;
    if (!(l->nstores ? opt_strip_stores(&x) : l->nloads && opt_strip_searches(&x))) return false;
    for (unsigned n = 0; n < l->ncarried; n++) {
        const struct opt_carried *c = &l->carried[n];

        if (c->how == OPT_CARRY_COUNTS && !l->pointer) l->pointer = c;
        if (c->how == OPT_CARRY_OTHER && !opt_strip_again(l, c->next, 1, &nodes)) return false;
    }
    l->finds = !l->nlimits;
    return l->pointer && opt_strip_pattern(l) && (!l->nstores || l->nlimits || !l->finds ||
                                                  (l->aux & IR_STRIP_KIND) == IR_STRIP_COPYZ);
}
