/* ir_fold.c: simplification of pure operations as they are built.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: one operation of class P whose operands are already simplified. Output: a reference
 * to something equal, often older. Each rule looks at most one definition deep (two for the
 * shift pairs), so the cost is bounded and small; a rule that makes another operation ends by
 * folding that one.
 *
 * Rules for changing it:
 *  - the result must equal ir_eval's for every operand (tests/ir/t_ir_fold.c tries);
 *  - operations that accrue flags are only shared (CSE), never removed: an unused one still
 *    raises its flags;
 *  - a KADDR is a place in the guest's code or data that may be relocated in a stored
 *    translation: its number must not leak into a KI. Only adding a constant to it folds;
 *    hence the helpers below see constants of kind KI and KF only;
 *  - prefer what needs fewer host instructions, then what shortens live ranges. Narrowing a
 *    comparison of extended values does neither: both forms then stay alive.
 *
 * Canonical forms, which the rules rely on: a lone constant of a commutative operation or a
 * comparison is b; SUB of a constant is ADD; constant shift amounts are below the width;
 * a comparison with ZEXT of an i1 is the i1 or its opposite.
 */
#include "ir/ir_priv.h"

/* ---- helpers --------------------------------------------------------- */

/* True for a constant whose value may be used. */
static inline bool ir_kb(const struct ir_func *f, ir_ref r)
{
    return ir_is_const(r) && f->ins[r].op <= IR_KF;
}
static inline bool ir_zero(const struct ir_func *f, ir_ref r)
{
    return ir_kb(f, r) && ir_kval(f, r) == 0;
}
static inline bool ir_pow2(uint64_t k)
{
    return k && !(k & (k - 1));
}

static inline ir_ref ir_fold2(struct ir_func *f, unsigned op, unsigned ty, ir_ref a, ir_ref b)
{
    return ir_fold(f, ir_head(op, ty, 0), a, b, 0);
}
static inline ir_ref ir_fold1(struct ir_func *f, unsigned op, unsigned ty, ir_ref a)
{
    return ir_fold(f, ir_head(op, ty, 0), a, 0, 0);
}

/* An upper bound of the bits of r that may be set, one definition deep. */
static uint64_t ir_known_mask(const struct ir_func *f, ir_ref r)
{
    const struct ir_ins *i = &f->ins[r];
    uint64_t all = ir_mask(i->ty);

    switch (i->op) {
    case IR_KI: return ir_kval(f, r);
    case IR_ZEXT: return ir_mask(ir_ty(f, i->a));
    case IR_AND: return ir_kb(f, i->b) ? ir_kval(f, i->b) : all;
    case IR_SHR: return ir_kb(f, i->b) ? all >> (ir_kval(f, i->b) & 63) : all;
    default: return all;
    }
}

/* ---- constants ------------------------------------------------------- */

/* All operands are constants. Returns IR_NIL if one of them is not to be looked at. */
static __attribute__((noinline)) ir_ref ir_fold_const(struct ir_func *f, uint32_t head, ir_ref a,
                                                      ir_ref b, ir_ref c)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff;

    if (op == IR_SEL) return ir_kval(f, a) ? b : c;
    if (!ir_kb(f, a) || (b && !ir_kb(f, b)) || (c && !ir_kb(f, c))) return IR_NIL;
    return ir_kbits(f, ty,
                    ir_eval(op, ty, ir_ty(f, a), head >> 16, ir_kval(f, a), b ? ir_kval(f, b) : 0,
                            c ? ir_kval(f, c) : 0, NULL));
}

/* ---- addition -------------------------------------------------------- */

static ir_ref ir_fold_add_k(struct ir_func *f, unsigned ty, ir_ref a, ir_ref b)
{
    const struct ir_ins *i = &f->ins[a];
    uint64_t k = ir_kval(f, b);

    if (k == 0) return a;
    if (i->op == IR_KADDR) return ir_kaddr(f, ir_kval(f, a) + k);
    if (i->op == IR_ADD && ir_is_const(i->b)) {
        ir_ref x = i->a;

        if (f->ins[i->b].op == IR_KADDR) {
            b = ir_kaddr(f, ir_kval(f, i->b) + k);
        } else {
            b = ir_ki(f, ty, ir_kval(f, i->b) + k);
            if (ir_kval(f, b) == 0) return x;
        }
        a = x;
    }
    return ir_cse(f, ir_head(IR_ADD, ty, 0), a, b, 0, 0);
}

static ir_ref ir_fold_add(struct ir_func *f, unsigned ty, ir_ref a, ir_ref b)
{
    const struct ir_ins *i;

    if (ir_is_const(a) && !(ir_is_const(b) && f->ins[b].op == IR_KI)) {
        ir_ref t = a;

        a = b;
        b = t;
    }
    if (ir_kb(f, b)) return ir_fold_add_k(f, ty, a, b);
    i = &f->ins[a];
    if (ir_is_const(b) && i->op == IR_ADD && ir_kb(f, i->b)) { /* (x + k) + kaddr */
        ir_ref x = i->a;

        b = ir_kaddr(f, ir_kval(f, b) + ir_kval(f, i->b));
        a = x;
    }
    return ir_cse(f, ir_head(IR_ADD, ty, 0), a, b, 0, 0);
}

static ir_ref ir_fold_sub(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b)
{
    unsigned ty = head >> 8 & 0xff;

    if (a == b) return ir_ki(f, ty, 0);
    if (ir_kb(f, b)) return ir_fold_add_k(f, ty, a, ir_ki(f, ty, 0 - ir_kval(f, b)));
    if (ir_zero(f, a)) return ir_fold1(f, IR_NEG, ty, b);
    return ir_cse(f, head, a, b, 0, 0);
}

/* ---- multiplication, division ---------------------------------------- */

static ir_ref ir_fold_muldiv(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff;
    uint64_t k;

    if (ir_is_const(a) && !ir_kb(f, b) && ir_ops[op].flags & IR_F_COMM) {
        ir_ref t = a;

        a = b;
        b = t;
    }
    if (!ir_kb(f, b)) return ir_cse(f, head, a, b, 0, 0);
    k = ir_kval(f, b);
    switch (op) {
    case IR_MUL:
        if (k == 0) return b;
        if (k == 1) return a;
        if (ir_pow2(k))
            return ir_fold2(f, IR_SHL, ty, a, ir_ki(f, ty, (unsigned)__builtin_ctzll(k)));
        break;
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU:
        if (k == 0) return b;
        break;
    case IR_DIVU:
        if (ir_pow2(k))
            return ir_fold2(f, IR_SHR, ty, a, ir_ki(f, ty, (unsigned)__builtin_ctzll(k)));
        /* fall through */
    case IR_DIVS:
        if (k == 0) return ir_ki(f, ty, ~(uint64_t)0);
        if (k == 1) return a;
        break;
    case IR_REMU:
        if (ir_pow2(k)) return ir_fold2(f, IR_AND, ty, a, ir_ki(f, ty, k - 1));
        /* fall through */
    default:
        if (k == 0) return a;
        if (k == 1) return ir_ki(f, ty, 0);
        break;
    }
    return ir_cse(f, head, a, b, 0, 0);
}

/* ---- logic ----------------------------------------------------------- */

/* An i1 that is the opposite of a. */
static ir_ref ir_fold_not1(struct ir_func *f, uint32_t head, ir_ref a, ir_ref one)
{
    const struct ir_ins *i = &f->ins[a];

    if (i->op == IR_CMP)
        return ir_cse(f, ir_head(IR_CMP, IR_I1, ir_cc_opposite(i->aux)), i->a, i->b, 0, 0);
    if (i->op == IR_XOR && ir_is_k(f, i->b, 1)) return i->a;
    return ir_cse(f, head, a, one, 0, 0);
}

static ir_ref ir_fold_logic_k(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff;
    const struct ir_ins *i = &f->ins[a];
    uint64_t k = ir_kval(f, b), all = ir_mask(ty), known;

    switch (op) {
    case IR_AND:
        known = ir_known_mask(f, a);
        if ((k & known) == known) return a;
        if ((k & known) == 0) return ir_ki(f, ty, 0);
        break;
    case IR_OR:
        if (k == 0) return a;
        if (k == all) return b;
        break;
    default:
        if (k == 0) return a;
        if (ty == IR_I1) return ir_fold_not1(f, head, a, b);
        if (k == all) return ir_fold1(f, IR_NOT, ty, a);
        break;
    }
    if (i->op == op && ir_kb(f, i->b)) { /* (x op k1) op k2 */
        uint64_t k1 = ir_kval(f, i->b);

        return ir_fold2(f, op, ty, i->a,
                        ir_ki(f, ty,
                              op == IR_AND  ? k & k1
                              : op == IR_OR ? k | k1
                                            : k ^ k1));
    }
    return ir_cse(f, head, a, b, 0, 0);
}

static ir_ref ir_fold_logic(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b)
{
    if (a == b) return (head & 0xff) == IR_XOR ? ir_ki(f, head >> 8 & 0xff, 0) : a;
    if (ir_is_const(a) && !ir_kb(f, b)) {
        ir_ref t = a;

        a = b;
        b = t;
    }
    if (ir_kb(f, b)) return ir_fold_logic_k(f, head, a, b);
    return ir_cse(f, head, a, b, 0, 0);
}

/* ---- shifts ---------------------------------------------------------- */

/* Shift pairs that are an extension of the low part: (x << s1) >> s2 with s2 <= s1 and the
 * part of a type's width. RISC-V without Zba extends, and scales indices, that way. */
static ir_ref ir_fold_shift_pair(struct ir_func *f, unsigned op, unsigned ty, ir_ref x, unsigned s1,
                                 unsigned s2)
{
    unsigned width = ir_bits(ty) - s1;
    unsigned part = width == 32 ? IR_I32 : width == 16 ? IR_I16 : width == 8 ? IR_I8 : IR_NONE;
    ir_ref r;

    if (part == IR_NONE || s2 > s1) return IR_NIL;
    r = ir_fold1(f, IR_TRUNC, part, x);
    r = ir_fold1(f, op == IR_SHR ? IR_ZEXT : IR_SEXT, ty, r);
    return s1 == s2 ? r : ir_fold2(f, IR_SHL, ty, r, ir_ki(f, ty, s1 - s2));
}

static ir_ref ir_fold_shift(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff, bits = ir_bits(ty), s, s1;
    const struct ir_ins *i;

    if (!ir_kb(f, b)) {
        i = &f->ins[b];
        if (i->op == IR_AND && ir_kb(f, i->b) && (ir_kval(f, i->b) & (bits - 1)) == bits - 1)
            b = i->a; /* the amount is taken modulo the width anyway */
        return ir_zero(f, a) ? a : ir_cse(f, head, a, b, 0, 0);
    }
    s = (unsigned)ir_kval(f, b) & (bits - 1);
    if (s == 0) return a;
    i = &f->ins[a];
    if ((i->op == op || i->op == IR_SHL) && op != IR_ROL && op != IR_ROR && ir_kb(f, i->b)) {
        ir_ref x = i->a, r;

        s1 = (unsigned)ir_kval(f, i->b);
        if (i->op == op) {
            s += s1;
            if (s >= bits && op != IR_SAR) return ir_ki(f, ty, 0);
            return ir_cse(f, head, x, ir_ki(f, ty, s < bits ? s : bits - 1), 0, 0);
        }
        r = ir_fold_shift_pair(f, op, ty, x, s1, s);
        if (r) return r;
    }
    if (op == IR_SHR && i->op == IR_ZEXT && s >= ir_bits(ir_ty(f, i->a))) return ir_ki(f, ty, 0);
    if (ir_kval(f, b) != s) b = ir_ki(f, ty, s);
    return ir_cse(f, head, a, b, 0, 0);
}

/* ---- extension, truncation ------------------------------------------- */

static ir_ref ir_fold_ext(struct ir_func *f, uint32_t head, ir_ref a)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff;
    const struct ir_ins *i = &f->ins[a];
    unsigned sign;

    switch (i->op) {
    case IR_ZEXT: /* its top bit is 0: either extension adds zeros */
        return ir_cse(f, ir_head(IR_ZEXT, ty, 0), i->a, 0, 0, 0);
    case IR_SEXT:
        if (op == IR_SEXT) return ir_cse(f, head, i->a, 0, 0, 0);
        break;
    case IR_TRUNC:
        /* back to x if x has nothing above what was kept */
        if (ir_ty(f, i->a) != ty) break;
        sign = op == IR_SEXT;
        if (ir_known_mask(f, i->a) <= ir_mask(i->ty) >> sign) return i->a;
        break;
    default: break;
    }
    return ir_cse(f, head, a, 0, 0, 0);
}

static ir_ref ir_fold_trunc(struct ir_func *f, uint32_t head, ir_ref a)
{
    unsigned ty = head >> 8 & 0xff, src;
    const struct ir_ins *i = &f->ins[a];

    switch (i->op) {
    case IR_TRUNC: return ir_fold1(f, IR_TRUNC, ty, i->a);
    case IR_SEXT:
    case IR_ZEXT:
        src = ir_ty(f, i->a);
        if (src == ty) return i->a;
        /* Of a narrower source it stays a truncation: a host reads it from
         * the extended value for nothing, another extension would cost. */
        if (ir_bits(src) > ir_bits(ty)) return ir_fold1(f, IR_TRUNC, ty, i->a);
        break;
    case IR_AND:
        if (ir_kb(f, i->b) && (ir_kval(f, i->b) & ir_mask(ty)) == ir_mask(ty))
            return ir_fold1(f, IR_TRUNC, ty, i->a);
        break;
    default: break;
    }
    return ir_cse(f, head, a, 0, 0, 0);
}

/* ---- comparison, selection ------------------------------------------- */

static ir_ref ir_fold_cmp_k(struct ir_func *f, unsigned cc, ir_ref a, ir_ref b)
{
    const struct ir_ins *i = &f->ins[a];
    uint64_t k = ir_kval(f, b);

    if (k == 1 && (cc == IR_LTU || cc == IR_GEU)) {
        cc = cc == IR_LTU ? IR_EQ : IR_NE;
        k = 0;
        b = ir_ki(f, i->ty, 0);
    }
    if (k == 0) {
        switch (cc) {
        case IR_LTU: return ir_ki(f, IR_I1, 0);
        case IR_GEU: return ir_ki(f, IR_I1, 1);
        case IR_GTU: cc = IR_NE; break;
        case IR_LEU: cc = IR_EQ; break;
        default: break;
        }
        if (cc <= IR_NE && (i->op == IR_SUB || i->op == IR_XOR) && !ir_is_const(i->b))
            return ir_fold(f, ir_head(IR_CMP, IR_I1, cc), i->a, i->b, 0);
    }
    if (cc <= IR_NE && i->op == IR_ZEXT && ir_ty(f, i->a) == IR_I1) {
        if (k > 1) return ir_ki(f, IR_I1, cc == IR_NE);
        if ((cc == IR_NE) == (k == 0)) return i->a;
        return ir_fold2(f, IR_XOR, IR_I1, i->a, ir_ki(f, IR_I1, 1));
    }
    return ir_cse(f, ir_head(IR_CMP, IR_I1, cc), a, b, 0, 0);
}

static ir_ref ir_fold_cmp(struct ir_func *f, unsigned cc, ir_ref a, ir_ref b)
{
    /* conditions that hold for equal operands */
    enum { REFLEXIVE = 1 << IR_EQ | 1 << IR_LES | 1 << IR_GES | 1 << IR_LEU | 1 << IR_GEU };

    if (a == b) return ir_ki(f, IR_I1, REFLEXIVE >> cc & 1);
    if (ir_is_const(a) && !ir_is_const(b)) {
        ir_ref t = a;

        a = b;
        b = t;
        cc = ir_cc_swapped(cc);
    }
    if (ir_kb(f, b) && !ir_is_const(a)) return ir_fold_cmp_k(f, cc, a, b);
    return ir_cse(f, ir_head(IR_CMP, IR_I1, cc), a, b, 0, 0);
}

static ir_ref ir_fold_sel(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b, ir_ref c)
{
    unsigned ty = head >> 8 & 0xff;
    const struct ir_ins *i = &f->ins[a];

    if (b == c) return b;
    if (ir_is_const(a)) return ir_kval(f, a) ? b : c;
    if (i->op == IR_XOR && ir_is_k(f, i->b, 1)) { /* the opposite condition */
        ir_ref t = b;

        b = c;
        c = t;
        a = i->a;
    }
    if (ir_is_int(ty) && ir_kb(f, b) && ir_kb(f, c)) {
        uint64_t kb = ir_kval(f, b), kc = ir_kval(f, c);

        if (kb == 1 && kc == 0) return ir_fold1(f, IR_ZEXT, ty, a);
        if (kb == 0 && kc == 1)
            return ir_fold1(f, IR_ZEXT, ty, ir_fold2(f, IR_XOR, IR_I1, a, ir_ki(f, IR_I1, 1)));
    }
    return ir_cse(f, head, a, b, c, 0);
}

/* ---- one operand ----------------------------------------------------- */

static ir_ref ir_fold_unary(struct ir_func *f, uint32_t head, ir_ref a)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff;
    const struct ir_ins *i = &f->ins[a];

    switch (op) {
    case IR_NOT:
    case IR_NEG:
    case IR_FNEG:
    case IR_BSWAP:
    case IR_BREV8:
        if (i->op == op) return i->a;
        if (op == IR_NEG && i->op == IR_SUB) return ir_fold2(f, IR_SUB, ty, i->b, i->a);
        break;
    case IR_FABS:
        if (i->op == IR_FABS) return a;
        if (i->op == IR_FNEG) return ir_cse(f, head, i->a, 0, 0, 0);
        break;
    case IR_BITCAST:
        if (i->ty == ty) return a;
        if (i->op == IR_BITCAST) return ir_fold1(f, op, ty, i->a);
        break;
    case IR_FUNBOX: /* a value boxed from the same type is there unchanged */
    case IR_FLOW:
        if (i->op == IR_FBOX && ir_ty(f, i->a) == ty) return i->a;
        break;
    default: break;
    }
    return ir_cse(f, head, a, 0, 0, 0);
}

/* ---- entry point ----------------------------------------------------- */

ir_ref ir_fold(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b, ir_ref c)
{
    unsigned op = head & 0xff, ty = head >> 8 & 0xff;

    if (base_unlikely(!((a | b | c) & IR_BIAS)) && !(ir_ops[op].flags & IR_F_FLAGS)) {
        ir_ref r = ir_fold_const(f, head, a, b, c);

        if (r) return r;
    }
    switch (op) {
    case IR_ADD: return ir_fold_add(f, ty, a, b);
    case IR_SUB: return ir_fold_sub(f, head, a, b);
    case IR_MUL:
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU:
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: return ir_fold_muldiv(f, head, a, b);
    case IR_AND:
    case IR_OR:
    case IR_XOR: return ir_fold_logic(f, head, a, b);
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: return ir_fold_shift(f, head, a, b);
    case IR_SEXT:
    case IR_ZEXT: return ir_fold_ext(f, head, a);
    case IR_TRUNC: return ir_fold_trunc(f, head, a);
    case IR_NOT:
    case IR_NEG:
    case IR_BSWAP:
    case IR_BREV8:
    case IR_BITCAST:
    case IR_FNEG:
    case IR_FABS:
    case IR_FUNBOX:
    case IR_FLOW: return ir_fold_unary(f, head, a);
    case IR_CMP: return ir_fold_cmp(f, head >> 16, a, b);
    case IR_SEL: return ir_fold_sel(f, head, a, b, c);
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU:
        if (a == b) return a;
        /* fall through */
    case IR_CLMUL:
    case IR_CLMULH:
        if (ir_is_const(a) && !ir_kb(f, b)) return ir_cse(f, head, b, a, 0, 0);
        return ir_cse(f, head, a, b, 0, 0);
    case IR_FCPYSGN: return a == b ? a : ir_cse(f, head, a, b, 0, 0);
    default: return ir_cse(f, head, a, b, c, ir_ops[op].flags & IR_F_FLAGS ? f->last_fp : 0);
    }
}
