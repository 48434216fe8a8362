/* opt_width.c: integers as wide as they need to be. SPDX-License-Identifier: Apache-2.0
 *
 * A guest with 64-bit registers keeps a 32-bit variable sign-extended: each operation on it is an
 * i32 operation, a SEXT, a PUT; logic on two such values is i64; a loop carries it in an i64 PHI.
 * Only exits, and uses that are 64 bits wide, need the extension. This pass makes i32 of what is
 * i32 in truth:
 *
 *     %p = phi.i64 [.. %e], [.. %s]         %p = phi.i32 [.. %x], [.. %n]
 *     put s, %p                             put s, sext(%p)
 *     %n = add.i32 (trunc %p), 1      ->    %n = add.i32 %p, 1
 *     %s = sext.i64 %n                      %s = sext.i64 %n
 *     %c = cmp.lts %s, (sext %y)            %c = cmp.lts %n, %y
 *
 * The SEXTs that stay are for the state: a host that keeps state maps extends in its cold code, so
 * they cost nothing where the loop runs.
 *
 * Which values become narrow. A candidate is an i64 operation whose low 32 bits depend on its
 * operands' low 32 bits only, and that is the extension of those (opt_range.c says: s <= 32, or
 * u <= 32, a ZEXT then), or whose upper bits nobody asks for. Each use is narrow (TRUNC, an operand
 * of a narrow operation, a comparison of two that are extensions), of the state (PUT), or wide
 * (addresses and all others). A candidate with wide uses is given up, which makes its own uses
 * wide, unless extending its result is cheaper than extending what goes into it; last instruction
 * first, and again until nothing changes.
 *
 * On the way: extensions of what is extended already, masks that mask nothing, comparisons that
 * the ranges decide.
 *
 * Requires: state-SSA form. Keeps it: a PUT behind a PHI may then put the PHI's extension.
 */
#include "opt/opt_priv.h"
#include "opt/opt_range.h"

struct opt_width {
    struct opt_rebuild *b;
    const struct ir_func *f;
    const struct opt_cfg *cfg;
    struct opt_range *ranges;
    uint8_t *how;   /* by ref - IR_BIAS: OPT_W_* */
    ir_ref *narrow; /* by ref - IR_BIAS: its low 32 bits in the new function, or IR_NIL */
};
enum {
    OPT_W_NARROW = 1, /* is computed in 32 bits */
    OPT_W_WIDE = 2,   /* somebody needs all 64 */
    OPT_W_LOW = 4,    /* a narrow PHI needs its low bits at the end of a block */
    OPT_W_PUT = 8     /* the state has it */
};

static uint8_t *opt_width_how(struct opt_width *w, ir_ref r)
{
    return &w->how[r - IR_BIAS];
}
static struct opt_range opt_width_range(const struct opt_width *w, ir_ref r)
{
    return opt_range(w->f, w->ranges, r);
}
static bool opt_width_is_signed(const struct opt_width *w, ir_ref r)
{
    return opt_width_range(w, r).s <= 32;
}
static bool opt_width_is_unsigned(const struct opt_width *w, ir_ref r)
{
    return opt_width_range(w, r).u <= 32;
}
/* All 64 bits follow from the low 32. */
static bool opt_width_derivable(const struct opt_width *w, ir_ref r)
{
    return opt_width_is_signed(w, r) || opt_width_is_unsigned(w, r);
}

/* ---- candidates ------------------------------------------------------ */

static bool opt_width_k(const struct ir_func *f, ir_ref r)
{
    return ir_is_const(r) && f->ins[r].op == IR_KI;
}

/* The low 32 bits of the result are this operation on its operands' low 32 bits. */
static bool opt_width_closed(const struct opt_width *w, const struct ir_ins *i)
{
    const struct ir_func *f = w->f;

    switch (i->op) {
    case IR_PHI:
    case IR_ADD:
    case IR_SUB:
    case IR_MUL:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_NOT:
    case IR_NEG:
    case IR_SEL: return true;
    case IR_SHL: return opt_width_k(f, i->b) && ir_kval(f, i->b) < 32;
    case IR_SHR: return opt_width_k(f, i->b) && opt_width_is_unsigned(w, i->a);
    case IR_SAR: return opt_width_k(f, i->b) && opt_width_is_signed(w, i->a);
    case IR_MINS:
    case IR_MAXS:
    case IR_DIVS:
    case IR_REMS: return opt_width_is_signed(w, i->a) && opt_width_is_signed(w, i->b);
    case IR_MINU:
    case IR_MAXU: /* sign extension keeps the order of unsigned numbers, too */
        return (opt_width_is_signed(w, i->a) && opt_width_is_signed(w, i->b)) ||
               (opt_width_is_unsigned(w, i->a) && opt_width_is_unsigned(w, i->b));
    case IR_DIVU:
    case IR_REMU: return opt_width_is_unsigned(w, i->a) && opt_width_is_unsigned(w, i->b);
    default: return false;
    }
}

/* KADDRs are 64 bits: what adds them is an address. */
static bool opt_width_has_kaddr(const struct ir_func *f, const struct ir_ins *i)
{
    if (i->op == IR_PHI) {
        for (unsigned n = 0; n < i->b; n++) {
            ir_ref v = f->extra[i->a + 2 * n + 1];

            if (ir_is_const(v) && f->ins[v].op != IR_KI) return true;
        }
        return false;
    }
    return (ir_is_const(i->a) && !opt_width_k(f, i->a)) ||
           (i->b && ir_is_const(i->b) && !opt_width_k(f, i->b)) ||
           (i->c && ir_is_const(i->c) && !opt_width_k(f, i->c));
}

/* ---- uses ------------------------------------------------------------ */

static bool opt_width_compares_narrow(const struct opt_width *w, const struct ir_ins *i)
{
    if (opt_width_is_signed(w, i->a) && opt_width_is_signed(w, i->b)) return true;
    return opt_width_is_unsigned(w, i->a) && opt_width_is_unsigned(w, i->b);
}

/* What r is, if it is the extension of the low bits of what is extended already. */
static ir_ref opt_width_same(const struct opt_width *w, ir_ref r)
{
    for (;;) {
        const struct ir_ins *i = &w->f->ins[r], *t;

        if (ir_is_const(r) || (i->op != IR_SEXT && i->op != IR_ZEXT) || ir_is_const(i->a)) return r;
        t = &w->f->ins[i->a];
        if (t->op != IR_TRUNC || t->ty != IR_I32 || ir_is_const(t->a) || i->ty != IR_I64) return r;
        if (i->op == IR_SEXT ? !opt_width_is_signed(w, t->a) : !opt_width_is_unsigned(w, t->a))
            return r;
        r = t->a;
    }
}

static void opt_width_use(struct opt_width *w, ir_ref r, uint8_t how)
{
    if (!r || ir_is_const(r) || ir_ty(w->f, r) != IR_I64) return;
    *opt_width_how(w, r) |= how;
    if (how != OPT_W_LOW) r = opt_width_same(w, r);
    if (!ir_is_const(r)) *opt_width_how(w, r) |= how;
}

/* What instruction r asks of its operands. */
static void opt_width_uses(struct opt_width *w, ir_ref r)
{
    const struct ir_ins *i = &w->f->ins[r];
    bool narrow = *opt_width_how(w, r) & OPT_W_NARROW;

    switch (i->op) {
    case IR_PHI:
        for (unsigned n = 0; n < i->b; n++)
            opt_width_use(w, w->f->extra[i->a + 2 * n + 1], narrow ? OPT_W_LOW : OPT_W_WIDE);
        return;
    case IR_PUT:
        opt_width_use(w, i->b, opt_width_derivable(w, i->b) ? OPT_W_PUT : OPT_W_WIDE);
        return;
    case IR_TRUNC: return;
    case IR_CMP:
        if (ir_ty(w->f, i->a) != IR_I64 || opt_width_compares_narrow(w, i)) return;
        break;
    default:
        if (narrow) return;
        break;
    }
    for (unsigned n = 0; n < 3; n++) {
        unsigned kind = ir_ops[i->op].opd[n];

        if (kind >= IR_OPD_R && kind <= IR_OPD_I)
            opt_width_use(w, n == 0 ? i->a : n == 1 ? i->b : i->c, OPT_W_WIDE);
    }
}

/* ---- the decision ---------------------------------------------------- */

/* An extension that costs something: a load extends by itself, what is extended already stays. */
static bool opt_width_is_extension(const struct opt_width *w, ir_ref r)
{
    const struct ir_ins *i = &w->f->ins[r], *t;

    if (ir_is_const(r) || (i->op != IR_SEXT && i->op != IR_ZEXT)) return false;
    t = &w->f->ins[i->a];
    return t->ty == IR_I32 && t->op != IR_LD && !(w->how[r - IR_BIAS] & OPT_W_WIDE);
}

/* A PHI with wide uses: does it save more extensions than the one it needs? */
static bool opt_width_phi_pays(const struct opt_width *w, ir_ref r)
{
    const struct ir_ins *i = &w->f->ins[r];
    uint64_t saved = 0, cost = opt_frequency(w->cfg, opt_block_of(w->cfg, r));

    for (unsigned n = 0; n < i->b; n++) {
        ir_ref from = w->f->extra[i->a + 2 * n], v = w->f->extra[i->a + 2 * n + 1];

        if (opt_width_is_extension(w, v))
            saved += opt_frequency(w->cfg, opt_block_at(w->cfg, from));
    }
    return saved > cost;
}

/* Operand r would have to be extended if the operation were wide. */
static bool opt_width_extends(const struct opt_width *w, ir_ref r)
{
    if (!r || ir_is_const(r) || ir_ty(w->f, r) != IR_I64) return false;
    r = opt_width_same(w, r);
    if (ir_is_const(r) || w->how[r - IR_BIAS] & OPT_W_WIDE) return false;
    return w->how[r - IR_BIAS] & OPT_W_NARROW || opt_width_is_extension(w, r);
}

/* Another operation with wide uses: rather extend its result than its operands. Not what scales an
 * index: an address does that for nothing. */
static bool opt_width_pays(const struct opt_width *w, ir_ref r)
{
    const struct ir_ins *i = &w->f->ins[r];

    if (i->op == IR_PHI) return opt_width_phi_pays(w, r);
    if (i->op == IR_SHL) return false;
    return opt_width_extends(w, i->a) || opt_width_extends(w, i->b) || opt_width_extends(w, i->c);
}

static bool opt_width_stays(const struct opt_width *w, ir_ref r)
{
    if (!(w->how[r - IR_BIAS] & OPT_W_WIDE)) return true;
    return opt_width_derivable(w, r) && opt_width_pays(w, r);
}

/* Takes candidates back until what is left agrees. */
static void opt_width_settle_uses(struct opt_width *w)
{
    const struct ir_func *f = w->f;
    bool changed = true;

    while (changed) {
        changed = false;
        for (ir_ref r = IR_BIAS; r < f->nins; r++) *opt_width_how(w, r) &= OPT_W_NARROW;
        /* those of PHIs first: their uses lie behind, or at the ends of blocks */
        for (ir_ref r = IR_BIAS; r < f->nins; r++)
            if (f->ins[r].op == IR_PHI) opt_width_uses(w, r);
        for (ir_ref r = f->nins; r-- > IR_BIAS;) {
            uint8_t *how = opt_width_how(w, r);

            if (*how & OPT_W_NARROW && !opt_width_stays(w, r)) {
                *how &= (uint8_t)~OPT_W_NARROW;
                changed = true;
            }
            opt_width_uses(w, r);
        }
    }
}

static void opt_width_decide(struct opt_width *w)
{
    const struct ir_func *f = w->f;
    bool changed = false;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];

        if (i->ty == IR_I64 && opt_width_closed(w, i) && !opt_width_has_kaddr(f, i))
            *opt_width_how(w, r) = OPT_W_NARROW;
    }
    opt_width_settle_uses(w);
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        if (!(*opt_width_how(w, r) & OPT_W_NARROW) || opt_may(w->b->dst)) continue;
        *opt_width_how(w, r) &= (uint8_t)~OPT_W_NARROW;
        changed = true;
    }
    if (changed) opt_width_settle_uses(w);
}

/* ---- building -------------------------------------------------------- */

/* The low 32 bits of old value r. */
static ir_ref opt_width_low(struct opt_width *w, ir_ref r)
{
    struct ir_func *dst = w->b->dst;
    ir_ref v;

    if (ir_is_const(r)) {
        if (opt_width_k(w->f, r)) return ir_ki(dst, IR_I32, ir_kval(w->f, r));
        return ir_op1(dst, IR_TRUNC, IR_I32, opt_rebuild_map(w->b, r));
    }
    v = w->narrow[r - IR_BIAS];
    return v ? v : ir_op1(dst, IR_TRUNC, IR_I32, opt_rebuild_map(w->b, r));
}

/* The 64 bits of old value r, whose low 32 are v. Where either extension is right, zeros: a host's
 * 32-bit operation may have put them there. */
static ir_ref opt_width_extend(struct opt_width *w, ir_ref r, ir_ref v)
{
    return ir_op1(w->b->dst, opt_width_is_unsigned(w, r) ? IR_ZEXT : IR_SEXT, IR_I64, v);
}

/* i masks with ones all that may be set in its operand. */
static bool opt_width_masks_nothing(const struct opt_width *w, const struct ir_ins *i)
{
    unsigned bits = opt_width_range(w, i->a).u;

    if (i->op != IR_AND || !opt_width_k(w->f, i->b) || bits > 63) return false;
    return !(~ir_kval(w->f, i->b) & (((uint64_t)1 << bits) - 1));
}

static ir_ref opt_width_narrow(struct opt_width *w, const struct ir_ins *i)
{
    struct ir_func *dst = w->b->dst;
    ir_ref a, b;
    uint64_t k;

    if (opt_width_masks_nothing(w, i)) return opt_width_low(w, i->a);
    switch (i->op) {
    case IR_SEL:
        a = opt_rebuild_map(w->b, i->a);
        b = opt_width_low(w, i->b);
        return ir_emit(dst, IR_SEL, IR_I32, 0, a, b, opt_width_low(w, i->c));
    case IR_SHR:
    case IR_SAR: /* by 32 and more, as 64 bits do it */
        k = ir_kval(w->f, i->b) & 63;
        if (k > 31 && i->op == IR_SHR) return ir_ki(dst, IR_I32, 0);
        a = opt_width_low(w, i->a);
        return ir_op2(dst, i->op, IR_I32, a, ir_ki(dst, IR_I32, k > 31 ? 31 : k));
    default:
        a = opt_width_low(w, i->a);
        return ir_op2(dst, i->op, IR_I32, a, i->b ? opt_width_low(w, i->b) : IR_NIL);
    }
}

/* A comparison of 64 bits that 32 decide. Of two ZEXTs, a signed relation is the unsigned one. */
static ir_ref opt_width_compare(struct opt_width *w, const struct ir_ins *i)
{
    static const uint8_t without_sign[] = {IR_EQ,  IR_NE,  IR_LTU, IR_LEU, IR_GTU,
                                           IR_GEU, IR_LTU, IR_LEU, IR_GTU, IR_GEU};
    bool as_signed = opt_width_is_signed(w, i->a) && opt_width_is_signed(w, i->b);
    ir_ref a = opt_width_low(w, i->a);

    return ir_cmp(w->b->dst, as_signed ? i->aux : without_sign[i->aux], a, opt_width_low(w, i->b));
}

/* What the ranges make of an operation that is not narrow: an older value, or IR_NIL. */
static ir_ref opt_width_identity(struct opt_width *w, const struct ir_ins *i)
{
    const struct ir_func *f = w->f;
    const struct ir_ins *t = &f->ins[i->a];
    unsigned bits;

    switch (i->op) {
    case IR_SEXT:
    case IR_ZEXT: /* of the low bits of something that is extended already */
        if (!ir_is_const(i->a) && i->op == IR_SEXT && t->op != IR_TRUNC &&
            opt_width_range(w, i->a).u < ir_type_bits(t->ty))
            return ir_op1(w->b->dst, IR_ZEXT, i->ty, opt_rebuild_map(w->b, i->a));
        if (ir_is_const(i->a) || t->op != IR_TRUNC || ir_ty(f, t->a) != i->ty) return IR_NIL;
        bits = ir_type_bits(t->ty);
        if (i->op == IR_SEXT ? opt_width_range(w, t->a).s > bits
                             : opt_width_range(w, t->a).u > bits)
            return IR_NIL;
        return opt_rebuild_map(w->b, t->a);
    case IR_AND: return opt_width_masks_nothing(w, i) ? opt_rebuild_map(w->b, i->a) : IR_NIL;
    default: return IR_NIL;
    }
}

static void opt_width_remember(struct opt_width *w, ir_ref r, ir_ref low)
{
    const struct ir_ins *i = &w->f->ins[r];
    struct ir_func *dst = w->b->dst;
    unsigned part = i->op != IR_AND               ? IR_NONE
                    : ir_is_k(w->f, i->b, 0xff)   ? IR_I8
                    : ir_is_k(w->f, i->b, 0xffff) ? IR_I16
                                                  : IR_NONE;

    w->narrow[r - IR_BIAS] = low;
    if (part != IR_NONE && w->how[r - IR_BIAS] & OPT_W_WIDE) {
        /* one step from the part to all 64 bits */
        low = ir_op1(dst, IR_TRUNC, part, opt_width_low(w, i->a));
        opt_rebuild_set(w->b, r, ir_op1(dst, IR_ZEXT, IR_I64, low));
        return;
    }
    opt_rebuild_set(w->b, r, opt_width_extend(w, r, low));
}

/* True if it has built the instruction. */
static bool opt_width_ins(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_width *w = ctx;
    const struct ir_ins *i = &w->f->ins[r];
    uint8_t how = w->how[r - IR_BIAS];
    ir_ref v;

    if (i->op == IR_PHI) {
        if (!(how & OPT_W_NARROW)) return false;
        w->narrow[r - IR_BIAS] = opt_rebuild_phi(b, r, IR_I32);
        return true;
    }
    if (how & OPT_W_NARROW) {
        opt_width_remember(w, r, opt_width_narrow(w, i));
        return true;
    }
    if (i->op == IR_TRUNC && ir_ty(w->f, i->a) == IR_I64) {
        v = opt_width_low(w, i->a);
        opt_rebuild_set(b, r, i->ty == IR_I32 ? v : ir_op1(b->dst, IR_TRUNC, i->ty, v));
        return true;
    }
    if (i->op == IR_CMP && ir_ty(w->f, i->a) == IR_I64 && opt_width_compares_narrow(w, i) &&
        opt_may(b->dst)) {
        opt_rebuild_set(b, r, opt_width_compare(w, i));
        return true;
    }
    v = opt_might(b->dst) ? opt_width_identity(w, i) : IR_NIL;
    if (!v || !opt_may(b->dst)) return false;
    opt_rebuild_set(b, r, v);
    return true;
}

/* Behind the PHIs of a block: what their narrow forms are in 64 bits, and the low bits of those
 * that stayed wide and that narrow PHIs want. The entry block's GETs likewise. */
static void opt_width_settle(struct opt_rebuild *b, void *ctx, ir_ref first)
{
    struct opt_width *w = ctx;

    for (ir_ref r = first; r < w->f->nins; r++) {
        const struct ir_ins *i = &w->f->ins[r];
        uint8_t how = w->how[r - IR_BIAS];

        if (i->op == IR_BLOCK) continue;
        if (i->op != IR_PHI && i->op != IR_GET) return;
        if (how & OPT_W_NARROW)
            opt_rebuild_set(b, r, opt_width_extend(w, r, w->narrow[r - IR_BIAS]));
        else if (how & OPT_W_LOW)
            w->narrow[r - IR_BIAS] = opt_width_low(w, r);
    }
}

static ir_ref opt_width_operand(struct opt_rebuild *b, void *ctx, ir_ref r, ir_ref v)
{
    struct opt_width *w = ctx;

    (void)r;
    if (ir_is_const(v)) return ir_ki(b->dst, IR_I32, ir_kval(w->f, v));
    return w->narrow[v - IR_BIAS];
}

/* Each instruction, and right behind it the low bits that a narrow PHI wants of it. */
static bool opt_width_each(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_width *w = ctx;
    const struct ir_ins *i = &w->f->ins[r];

    if (!opt_width_ins(b, ctx, r)) opt_rebuild_copy(b, r);
    if (w->how[r - IR_BIAS] & OPT_W_LOW && !w->narrow[r - IR_BIAS] && i->op != IR_PHI &&
        i->op != IR_GET)
        w->narrow[r - IR_BIAS] = opt_width_low(w, r);
    return true;
}

const char *opt_width_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    unsigned n = src->nins - IR_BIAS;
    struct opt_width w = {
        .f = src, .cfg = opt_cfg_new(src, arena), .ranges = opt_ranges(src, arena)};
    struct opt_rebuild b = {.src = src,
                            .dst = dst,
                            .ctx = &w,
                            .ins = opt_width_each,
                            .settle = opt_width_settle,
                            .operand = opt_width_operand};

    w.b = &b;
    w.how = base_arena_alloc(arena, n + 1);
    w.narrow = base_arena_alloc(arena, (n + 1) * sizeof *w.narrow);
    memset(w.how, 0, n);
    memset(w.narrow, 0, n * sizeof *w.narrow);
    opt_width_decide(&w);
    return opt_rebuild_run(&b, arena);
}
