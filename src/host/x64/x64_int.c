/* x64_int.c: tier 1, integer operations. SPDX-License-Identifier: Apache-2.0
 *
 * Integer values narrower than 64 bits have garbage above their width, except
 * i1, which is 0 or 1 in 32 bits. Operations on i8 and i16 that look at high
 * bits are left to the slow call: no guest lifts to them so far.
 */
#include "host/x64/x64_t2.h"

/* ---- helpers --------------------------------------------------------- */

static int x64_w(unsigned ty) { return ty == IR_I64 || ty == IR_REF; }

/* An operand that is an unpinned slot's entry value and not in a register can
 * be read from the state where it is. */
static bool x64_state_operand(const struct x64_t1 *t, ir_ref r, struct x64_mem *m)
{
    const struct ir_ins *i;

    if (ir_is_const(r) || t->val[r].reg != X64_NONE || t->val[r].uses != 1)
        return false;
    i = &t->f->ins[r];
    if (i->op != IR_GET || (t->pinned >> i->a & 1) || (t->val[r].flags & X64_V_SPILL))
        return false;
    if (t->t2 ? x64_t2_in_loop(t) : t->cur[i->a] != IR_NIL)
        return false;
    *m = x64_slot_mem(t, i->a);
    return true;
}

/* d = a op [m], a slot's place in the state */
static void x64_alu_state(struct x64_t1 *t, unsigned alu, int w, unsigned d, ir_ref a,
                          struct x64_mem m)
{
    unsigned ra = x64_use_in(t, a, d);

    x64_alu_rm(&t->out, alu, w, d, m);
    x64_mov_reg(t, d, ra);
}

/* d = a op b for two-address instructions: puts a into d (in front of what is
 * emitted next) and returns b's register. a takes d itself if it can; a
 * commutative operation may swap. The moves are emitted by x64_two_done. */
struct x64_two {
    uint8_t d, a, b;
};
static struct x64_two x64_two(struct x64_t1 *t, unsigned d, ir_ref a, ir_ref b, bool comm)
{
    struct x64_two o = {.d = (uint8_t)d};

    if (comm && t->val[a].reg != X64_NONE && t->val[b].reg == X64_NONE && !ir_is_const(b)) {
        ir_ref s = a;
        a = b;
        b = s;
    }
    o.a = (uint8_t)x64_use_in(t, a, d);
    if (o.a != d)
        t->lock |= 1u << d;
    o.b = (uint8_t)x64_use(t, b);
    return o;
}
static void x64_two_done(struct x64_t1 *t, struct x64_two o) { x64_mov_reg(t, o.d, o.a); }

static unsigned x64_def_int(struct x64_t1 *t, ir_ref r) { return x64_def(t, r, X64_GPRS); }

/* ---- add, subtract, logic -------------------------------------------- */

/* add as lea: d = a + (b << scale) + disp */
static bool x64_add_lea(struct x64_t1 *t, unsigned d, int w, ir_ref a, ir_ref b)
{
    struct ir_ins *i = x64_ins(t, b);
    unsigned k;

    if (ir_is_const(b) || ir_is_const(a))
        return false;
    if (i->op != IR_SHL || t->val[b].reg != X64_NONE || t->val[b].uses != 1 ||
        !ir_is_const(i->b) || (t->val[b].flags & X64_V_SPILL))
        return false;
    k = (unsigned)ir_kval(t->f, i->b);
    if (k == 0 || k > 3)
        return false;
    unsigned ra = x64_use(t, x64_src(t, a)), rb = x64_use(t, x64_src(t, i->a));

    x64_lea(&t->out, w, d, (struct x64_mem){(uint8_t)ra, (uint8_t)rb, (uint8_t)k, 0});
    return true;
}

static void x64_add(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = x64_w(i->ty);
    unsigned d = x64_def_int(t, r), ra, rb;
    ir_ref a = x64_src(t, i->a), b = x64_src(t, i->b);
    struct x64_mem m;
    int32_t imm;

    if (x64_imm32(t, b, w, &imm)) {
        if (x64_state_operand(t, a, &m)) {
            x64_alu_ri(&t->out, ALU_ADD, w, d, imm);
            x64_rm(&t->out, 0x8b, w, d, m);
            return;
        }
        ra = x64_use_in(t, a, d);
        if (ra == d)
            x64_alu_ri(&t->out, ALU_ADD, w, d, imm);
        else
            x64_lea(&t->out, w, d, x64_at(ra, imm));
        return;
    }
    if (x64_carry(t, ALU_ADC, d, w, a, i->b) || x64_carry(t, ALU_ADC, d, w, b, i->a))
        return;
    if (x64_add_lea(t, d, w, i->a, i->b) || x64_add_lea(t, d, w, i->b, i->a))
        return;
    if (x64_state_operand(t, b, &m)) {
        x64_alu_state(t, ALU_ADD, w, d, a, m);
        return;
    }
    ra = x64_use_in(t, a, d);
    rb = ra == d ? x64_use(t, b) : x64_use_in(t, b, d);
    if (ra == d)
        x64_alu_rr(&t->out, ALU_ADD, w, d, rb);
    else if (rb == d)
        x64_alu_rr(&t->out, ALU_ADD, w, d, ra);
    else
        x64_lea(&t->out, w, d, (struct x64_mem){(uint8_t)ra, (uint8_t)rb, 0, 0});
}

static void x64_sub(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = x64_w(i->ty);
    unsigned d = x64_def_int(t, r);
    ir_ref a = x64_src(t, i->a), b = x64_src(t, i->b);
    struct x64_mem m;
    struct x64_two o;

    if (x64_state_operand(t, b, &m) && !ir_is_const(a)) {
        x64_alu_state(t, ALU_SUB, w, d, a, m);
        return;
    }
    if (ir_is_k(t->f, a, 0)) {
        unsigned rb = x64_use_in(t, b, d);

        x64_rr(&t->out, 0xf7, w, 3, d); /* neg */
        x64_mov_reg(t, d, rb);
        return;
    }
    if (x64_carry(t, ALU_SBB, d, w, a, i->b))
        return;
    o = x64_two(t, d, a, b, false);
    x64_alu_rr(&t->out, ALU_SUB, w, d, o.b);
    x64_two_done(t, o);
}

static void x64_logic(struct x64_t1 *t, ir_ref r, struct ir_ins *i, unsigned alu)
{
    int w = x64_w(i->ty);
    unsigned d, ra;
    ir_ref a = i->a, b = i->b;
    struct x64_mem m;
    struct x64_two o;
    int32_t imm;

    d = x64_def_int(t, r);
    if (i->ty != IR_I1)
        a = x64_src(t, a), b = x64_src(t, b);
    if (alu == ALU_AND && x64_cpu(t, X64_CPU_BMI1) && !ir_is_const(b)) {
        for (int k = 0; k < 2; k++) { /* andn d, ~x, y */
            ir_ref x = k ? b : a, y = k ? a : b;
            struct ir_ins *n = x64_ins(t, x);

            if (ir_is_const(x) || n->op != IR_NOT || t->val[x].reg != X64_NONE ||
                t->val[x].uses != 1 || (t->val[x].flags & X64_V_SPILL))
                continue;
            unsigned rx = x64_use(t, x64_src(t, n->a)), ry = x64_use(t, y);

            x64_vrr(&t->out, X64_OP(2, 0, 0xf2), w, d, rx, ry);
            return;
        }
    }
    if (alu == ALU_AND && x64_is_number(t, b)) {
        uint64_t v = ir_kval(t->f, b);

        if (v == 0xff || v == 0xffff || v == 0xffffffff) {
            ra = x64_use_in(t, a, d);
            if (v == 0xff)
                x64_movzx8(&t->out, d, ra);
            else if (v == 0xffff)
                x64_rr(&t->out, X64_OP(1, 0, 0xb7), 0, d, ra);
            else
                x64_mov(&t->out, 0, d, ra);
            return;
        }
        if (v <= INT32_MAX)
            w = 0; /* the result's high half is zero anyway */
    }
    if (x64_imm32(t, b, w, &imm)) {
        ra = x64_use_in(t, a, d);
        x64_alu_ri(&t->out, alu, w, d, imm);
        x64_mov_reg(t, d, ra);
        return;
    }
    if (i->ty != IR_I1 && x64_state_operand(t, b, &m)) {
        x64_alu_state(t, alu, w, d, a, m);
        return;
    }
    o = x64_two(t, d, a, b, true);
    x64_alu_rr(&t->out, alu, w, d, o.b);
    x64_two_done(t, o);
}

static void x64_unary(struct x64_t1 *t, ir_ref r, struct ir_ins *i, unsigned ext)
{
    unsigned d = x64_def_int(t, r), ra = x64_use_in(t, x64_src(t, i->a), d);

    x64_rr(&t->out, 0xf7, x64_w(i->ty), ext, d);
    x64_mov_reg(t, d, ra);
}

/* ---- shifts ---------------------------------------------------------- */

static void x64_shift(struct x64_t1 *t, ir_ref r, struct ir_ins *i, unsigned sh)
{
    static const uint32_t bmi2[8] = {[SH_SHL] = X64_OP(2, 1, 0xf7), [SH_SHR] = X64_OP(2, 3, 0xf7),
                                     [SH_SAR] = X64_OP(2, 2, 0xf7)};
    int w = x64_w(i->ty);
    unsigned d, ra, rb;
    ir_ref a = x64_src(t, i->a), b = x64_src(t, i->b);

    if (ir_is_const(b)) {
        unsigned n = (unsigned)ir_kval(t->f, b) & (w ? 63 : 31);

        d = x64_def_int(t, r);
        ra = x64_use_in(t, a, d);
        if ((sh == SH_ROL || sh == SH_ROR) && ra != d && x64_cpu(t, X64_CPU_BMI2)) {
            x64_b(&t->out, sh == SH_ROR ? n : (w ? 64 : 32) - n);
            x64_vrr(&t->out, X64_OP(3, 3, 0xf0), w, d, 0, ra); /* rorx */
            return;
        }
        if (sh == SH_SHL && ra != d && n <= 3 && n) {
            x64_lea(&t->out, w, d,
                    (struct x64_mem){X64_NONE, (uint8_t)ra, (uint8_t)n, 0});
            return;
        }
        x64_shift_i(&t->out, sh, w, d, n);
        x64_mov_reg(t, d, ra);
        return;
    }
    if (bmi2[sh] && x64_cpu(t, X64_CPU_BMI2)) {
        d = x64_def_int(t, r);
        ra = x64_use(t, a);
        rb = x64_use(t, b);
        x64_vrr(&t->out, bmi2[sh], w, d, rb, ra);
        return;
    }
    /* count in cl; the result is moved out of the way of rcx */
    d = x64_def_int(t, r);
    t->lock |= 1u << d;
    if (d != RCX)
        x64_clear_reg(t, RCX);
    unsigned x = d;

    if (d == RCX) {
        x = x64_temp(t, X64_GPRS);
        x64_mov_reg(t, RCX, x);
    }
    t->lock |= 1u << RCX | 1u << x;
    ra = x64_use(t, a);
    rb = x64_use(t, b);
    x64_rr(&t->out, 0xd3, w, sh, x);
    x64_mov_reg(t, x, ra);
    x64_mov_reg(t, RCX, rb);
}

/* ---- multiply, divide ------------------------------------------------ */

/* Clears rax and rdx of what they hold, for mul and div; locks them and d. */
static void x64_take_rax_rdx(struct x64_t1 *t, unsigned d)
{
    t->lock |= 1u << d;
    if (d != RAX)
        x64_clear_reg(t, RAX);
    if (d != RDX)
        x64_clear_reg(t, RDX);
    t->lock |= 1u << RAX | 1u << RDX;
}

enum { X64_PAIR_FAR = 32 };

/* Tier 2: MUL and MULHU of the same operands are one MULX where the later of them (r)
 * stands, if nothing between wants the other. */
static bool x64_mul_pair(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned op = i->op == IR_MUL ? IR_MULHU : IR_MUL, lo, hi, d[2];
    ir_ref other = r;

    if (!t->t2 || !x64_cpu(t, X64_CPU_BMI2) || i->ty != IR_I64 || ir_is_const(i->b))
        return false;
    do {
        struct ir_ins *o = x64_ins(t, --other);

        if (o->op == IR_BLOCK || other == IR_BIAS || r - other > X64_PAIR_FAR)
            return false;
        if (o->op == op && o->ty == IR_I64 && ((o->a == i->a && o->b == i->b) ||
                                               (o->a == i->b && o->b == i->a)))
            break;
    } while (true);
    if (t->val[other].reg == X64_NONE || (t->val[other].flags & X64_V_SPILL) ||
        x64_t2_previous(t, other) != other)
        return false;
    d[0] = x64_def(t, r, X64_GPRS);
    t->lock |= 1u << d[0];
    d[1] = x64_def(t, other, X64_GPRS);
    t->lock |= 1u << d[1];
    lo = d[i->op != IR_MUL];
    hi = d[i->op == IR_MUL];
    if (d[0] != RDX && d[1] != RDX)
        x64_clear_reg(t, RDX);
    t->lock = (t->lock & ~(1u << d[0] | 1u << d[1])) | 1u << RDX;
    unsigned ra = x64_use(t, i->a), rb = x64_use(t, i->b);

    x64_vrr(&t->out, X64_OP(2, 3, 0xf6), 1, hi, lo, rb); /* mulx hi, lo, rb */
    x64_mov_reg(t, RDX, ra);
    return true;
}

static void x64_mul(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = x64_w(i->ty);
    unsigned d;
    ir_ref a = x64_src(t, i->a), b = x64_src(t, i->b);
    struct x64_two o;
    int32_t imm;

    if (x64_mul_pair(t, r, i))
        return;
    d = x64_def_int(t, r);

    if (x64_imm32(t, b, w, &imm)) {
        unsigned ra = x64_use_in(t, a, d);

        x64_d(&t->out, (uint32_t)imm);
        x64_rr(&t->out, 0x69, w, d, ra);
        return;
    }
    o = x64_two(t, d, a, b, true);
    x64_rr(&t->out, X64_OP(1, 0, 0xaf), w, d, o.b);
    x64_two_done(t, o);
}

/* High half of the 64-bit product: rdx:rax = rax * operand. */
static void x64_mulh(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d, ra, rb;

    if (i->op == IR_MULHU && x64_mul_pair(t, r, i))
        return;
    d = x64_def_int(t, r);

    if (i->op == IR_MULHU && x64_cpu(t, X64_CPU_BMI2)) {
        t->lock |= 1u << d;
        if (d != RDX)
            x64_clear_reg(t, RDX);
        t->lock |= 1u << RDX;
        ra = x64_use(t, i->a);
        rb = x64_use(t, i->b);
        x64_vrr(&t->out, X64_OP(2, 3, 0xf6), 1, d, d, rb); /* mulx d, d, rb */
        x64_mov_reg(t, RDX, ra);
        return;
    }
    x64_take_rax_rdx(t, d);
    ra = x64_use(t, i->a);
    rb = x64_use(t, i->b);
    if (i->op == IR_MULHSU) { /* unsigned product - (a < 0 ? b : 0) */
        unsigned s = x64_temp(t, X64_GPRS);

        x64_mov_reg(t, d, RDX);
        x64_alu_rr(&t->out, ALU_SUB, 1, RDX, s);
        x64_alu_rr(&t->out, ALU_AND, 1, s, rb);
        x64_shift_i(&t->out, SH_SAR, 1, s, 63);
        x64_mov_reg(t, s, ra);
        x64_rr(&t->out, 0xf7, 1, 4, rb);
        x64_mov_reg(t, RAX, ra);
        return;
    }
    x64_mov_reg(t, d, RDX);
    x64_rr(&t->out, 0xf7, 1, i->op == IR_MULHU ? 4 : 5, rb);
    x64_mov_reg(t, RAX, ra);
}

/* Division by a constant that is neither 0 nor -1 needs no checks; otherwise
 * one compare sends both cases to cold code. */
static void x64_div(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = x64_w(i->ty);
    bool is_signed = i->op == IR_DIVS || i->op == IR_REMS;
    bool rem = i->op == IR_REMS || i->op == IR_REMU;
    ir_ref a = x64_src(t, i->a), b = x64_src(t, i->b);
    unsigned d = x64_def_int(t, r), result = rem ? RDX : RAX, ra, rb, tmp = X64_NONE;
    bool checks = true;
    uint32_t label = 0;

    if (ir_is_const(b)) {
        int64_t v = base_sext(ir_kval(t->f, b), w ? 64 : 32);

        checks = v == 0 || (is_signed && v == -1);
    }
    x64_take_rax_rdx(t, d);
    ra = x64_use(t, a);
    rb = x64_use(t, b);
    if (is_signed && checks)
        tmp = x64_temp(t, X64_GPRS);
    x64_mov_reg(t, d, result);
    if (checks) {
        /* cold: b is 0 or (signed) -1; rax holds a */
        x64_cold_begin(t);
        if (is_signed && !rem) {
            /* -a for -1, -1 for 0: neg rax; test b; jnz over; mov rax, -1 */
            x64_mov_imm(&t->out, RAX, UINT64_MAX);
            x64_b(&t->out, 7);
            x64_b(&t->out, 0x75);
            x64_test_rr(&t->out, w, rb, rb);
            x64_rr(&t->out, 0xf7, w, 3, RAX);
        } else if (is_signed) {
            /* 0 for -1, a for 0: xor edx,edx; test b; jnz over; mov rdx,rax */
            x64_mov(&t->out, 1, RDX, RAX);
            x64_b(&t->out, 3);
            x64_b(&t->out, 0x75);
            x64_test_rr(&t->out, w, rb, rb);
            x64_alu_rr(&t->out, ALU_XOR, 0, RDX, RDX);
        } else if (rem) {
            x64_mov(&t->out, 1, RDX, RAX);
        } else {
            x64_mov_imm(&t->out, RAX, UINT64_MAX);
        }
        label = x64_cold_end(t);
    }
    x64_rr(&t->out, 0xf7, w, is_signed ? 7 : 6, rb);
    if (is_signed) {
        x64_b(&t->out, 0x99); /* cdq, cqo */
        if (w)
            x64_b(&t->out, 0x48);
    } else {
        x64_alu_rr(&t->out, ALU_XOR, 0, RDX, RDX);
    }
    if (checks && is_signed) {
        x64_jcc_cold(t, CC_BE, label);
        x64_alu_ri(&t->out, ALU_CMP, w, tmp, 1);
        x64_lea(&t->out, w, tmp, x64_at(rb, 1));
    } else if (checks) {
        x64_jcc_cold(t, CC_E, label);
        x64_test_rr(&t->out, w, rb, rb);
    }
    x64_mov_reg(t, RAX, ra);
}

/* ---- width ----------------------------------------------------------- */

/* i32 operations whose instruction clears the high half of its register. */
static bool x64_zero_extended(unsigned op)
{
    switch (op) {
    case IR_ADD:
    case IR_SUB:
    case IR_MUL:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_NOT:
    case IR_NEG:
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPC: return true;
    default: return false;
    }
}

static void x64_extend(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    ir_ref a = i->a;
    struct ir_ins *ai = x64_ins(t, a);
    unsigned from = ai->ty, d, ra;
    bool is_signed = i->op == IR_SEXT;
    struct x64_mem m;

    if (from != IR_I1 && !ir_is_const(a) && ai->op == IR_LD && t->val[a].uses == 1 &&
        t->val[a].reg == X64_NONE && t->val[r].reg != X64_NONE &&
        !(t->val[r].flags & X64_V_SPILL)) {
        /* the load extends: it takes over the register */
        unsigned reg = t->val[r].reg;

        x64_free(t, r);
        x64_give(t, a, reg);
        x64_log(t, X64_E_RETAG, reg, 0, a, r);
        t->val[a].flags |= is_signed ? X64_V_SEXT : 0;
        return;
    }
    d = x64_def_int(t, r);
    if (from == IR_I32 && t->val[a].uses == 1 && x64_state_operand(t, x64_src(t, a), &m)) {
        x64_rm(&t->out, is_signed ? 0x63 : 0x8b, is_signed, d, m);
        return;
    }
    ra = x64_use_in(t, from == IR_I1 ? a : x64_src(t, a), d);
    if (from == IR_I1) {
        if (is_signed)
            x64_rr(&t->out, 0xf7, 1, 3, d); /* neg */
        x64_mov_reg(t, d, ra);
    } else if (from == IR_I8) {
        if (is_signed)
            x64_rr(&t->out, X64_OP(1, 0, 0xbe), 1, d, ra);
        else if (ra != d || ai->op != IR_LD)
            x64_movzx8(&t->out, d, ra);
    } else if (from == IR_I16) {
        x64_rr(&t->out, X64_OP(1, 0, is_signed ? 0xbf : 0xb7), is_signed, d, ra);
    } else if (is_signed) {
        x64_rr(&t->out, 0x63, 1, d, ra); /* movsxd */
    } else if (ra != d || !x64_zero_extended(ai->op)) {
        x64_mov(&t->out, 0, d, ra);
    }
}

static void x64_trunc(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d = x64_def_int(t, r), ra = x64_use_in(t, x64_src(t, i->a), d);

    if (i->ty == IR_I1)
        x64_alu_ri(&t->out, ALU_AND, 0, d, 1);
    x64_mov_reg(t, d, ra);
}

/* ---- conditions ------------------------------------------------------ */

static const uint8_t x64_int_cc[] = {
    [IR_EQ] = CC_E,   [IR_NE] = CC_NE,  [IR_LTS] = CC_L, [IR_LES] = CC_LE, [IR_GTS] = CC_G,
    [IR_GES] = CC_GE, [IR_LTU] = CC_B,  [IR_LEU] = CC_BE, [IR_GTU] = CC_A, [IR_GEU] = CC_AE,
};

/* Can FCMP cmp be done here, where its result is used? Its exception flags must
 * be there for whatever looks at them in between. */
static bool x64_fcmp_here(const struct x64_t1 *t, ir_ref cmp)
{
    if (t->at - cmp > 64)
        return false;
    for (ir_ref r = cmp + 1; r < t->at; r++) {
        const struct ir_ins *i = x64_ins(t, r);

        if ((ir_ops[i->op].flags & IR_F_FAULT) || i->op == IR_SIDE || i->op == IR_FLGET ||
            i->op == IR_FLSET || i->op == IR_RMSET || i->op == IR_BLOCK)
            return false;
    }
    return x64_ins(t, x64_ins(t, cmp)->a)->ty != IR_F16;
}

/* The flags' condition for i1 value cond, and the instruction that sets them
 * (a CMP or FCMP, or any i1 value: tested against zero). */
struct x64_cond x64_cond_of(struct x64_t1 *t, ir_ref cond, bool negate, ir_ref *cmp)
{
    struct x64_cond c = {.cc = CC_NE};
    struct ir_ins *i = x64_ins(t, cond);

    while (!ir_is_const(cond) && i->op == IR_XOR && ir_is_k(t->f, i->b, 1)) {
        negate = !negate;
        cond = i->a;
        i = x64_ins(t, cond);
    }
    *cmp = cond;
    if (!ir_is_const(cond) && i->op == IR_CMP && x64_ins(t, i->a)->ty >= IR_I32 &&
        x64_ins(t, i->a)->ty <= IR_I64) {
        c.cc = x64_int_cc[i->aux];
    } else if (!ir_is_const(cond) && i->op == IR_FCMP && x64_fcmp_here(t, cond)) {
        if ((i->aux & 15) == IR_EQ)
            return (struct x64_cond){.cc = negate ? CC_NE : CC_E, .parity = negate ? 2 : 1};
        c.cc = (i->aux & 15) == IR_LTS ? CC_A : CC_AE; /* operands swapped */
    }
    c.cc ^= negate;
    return c;
}

void x64_emit_compare(struct x64_t1 *t, ir_ref cmp)
{
    struct ir_ins *i = x64_ins(t, cmp);
    ir_ref a, b;
    struct x64_mem m;
    int32_t imm;
    int w;

    if (!ir_is_const(cmp) && i->op == IR_FCMP && x64_fcmp_here(t, cmp)) {
        x64_emit_fcompare(t, cmp);
        return;
    }
    if (ir_is_const(cmp) || i->op != IR_CMP || x64_ins(t, i->a)->ty < IR_I32) {
        unsigned r = x64_use(t, cmp);

        x64_test_rr(&t->out, 0, r, r);
        return;
    }
    w = x64_w(x64_ins(t, i->a)->ty);
    a = x64_src(t, i->a);
    b = x64_src(t, i->b);
    if (x64_imm32(t, b, w, &imm)) {
        struct ir_ins *ai = x64_ins(t, a);

        if (imm == 0 && !ir_is_const(a) && ai->op == IR_AND && t->val[a].reg == X64_NONE &&
            t->val[a].uses == 1 && (i->aux == IR_EQ || i->aux == IR_NE) &&
            !(t->val[a].flags & X64_V_SPILL)) { /* test x, mask */
            ir_ref x = x64_src(t, ai->a), y = x64_src(t, ai->b);

            if (x64_imm32(t, y, w, &imm) && (!w || imm >= 0)) {
                x64_test_ri(&t->out, 0, x64_use(t, x), imm);
                return;
            }
            if (!ir_is_const(y)) {
                unsigned rx = x64_use(t, x);

                x64_test_rr(&t->out, w, rx, x64_use(t, y));
                return;
            }
            imm = 0;
        }
        if (x64_state_operand(t, a, &m)) {
            x64_alu_mi(&t->out, ALU_CMP, w, m, imm);
            return;
        }
        unsigned ra = x64_use(t, a);

        if (imm == 0)
            x64_test_rr(&t->out, w, ra, ra);
        else
            x64_alu_ri(&t->out, ALU_CMP, w, ra, imm);
        return;
    }
    unsigned ra = x64_use(t, a);

    if (x64_state_operand(t, b, &m))
        x64_alu_rm(&t->out, ALU_CMP, w, ra, m);
    else
        x64_alu_rr(&t->out, ALU_CMP, w, ra, x64_use(t, b));
}

/* Can the compare's operands be read without register d? Constants and what is in a register
 * already can; others want a free one each. */
static bool x64_spares(const struct x64_t1 *t, ir_ref cmp, unsigned d)
{
    const struct ir_ins *i = x64_ins(t, cmp);
    const ir_ref v[2] = {i->a, i->b};
    unsigned want = 0;

    if (ir_is_const(cmp) || i->op != IR_CMP)
        return false;
    for (unsigned n = 0; n < 2; n++) {
        ir_ref r = x64_src(t, v[n]);

        want += (ir_is_const(r) ? !x64_is_number(t, r) || ir_kval(t->f, r) > INT32_MAX
                                : t->val[r].reg == X64_NONE);
    }
    return want <= (unsigned)__builtin_popcount(t->free & X64_GPRS & ~t->lock & ~(1u << d));
}

/* An i1 value of CMP or FCMP wanted in a register: setcc writes one byte, the others are cleared
 * in front of the compare, which costs no time, or behind, which costs a cycle. */
void x64_cmp_value(struct x64_t1 *t, ir_ref r)
{
    unsigned d = x64_def_int(t, r);
    ir_ref cmp;
    struct x64_cond c;

    t->lock |= 1u << d; /* setcc writes it after the compare has read */
    c = x64_cond_of(t, r, false, &cmp);
    if (c.parity) { /* equal and ordered */
        unsigned x = x64_temp(t, X64_GPRS);

        x64_alu_rr(&t->out, ALU_AND, 0, d, x);
        x64_movzx8(&t->out, d, d);
        x64_setcc(&t->out, CC_NP, x);
        x64_setcc(&t->out, c.cc, d);
    } else if (x64_spares(t, cmp, d)) {
        x64_setcc(&t->out, c.cc, d);
        x64_emit_compare(t, cmp);
        x64_alu_rr(&t->out, ALU_XOR, 0, d, d);
        return;
    } else {
        x64_movzx8(&t->out, d, d);
        x64_setcc(&t->out, c.cc, d);
    }
    t->lock &= ~(1u << d);
    x64_emit_compare(t, cmp);
}

static void x64_sel(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = x64_w(i->ty);
    unsigned d = x64_def_int(t, r), rb, rc;
    ir_ref b = i->b, c = i->c, cmp;
    struct x64_cond cc;

    t->lock |= 1u << d;
    cc = x64_cond_of(t, i->a, false, &cmp);
    if (i->ty != IR_I1)
        b = x64_src(t, b), c = x64_src(t, c);
    rb = x64_use(t, b); /* value if true */
    if (!cc.parity) {
        t->lock &= ~(1u << d);
        rc = x64_use_in(t, c, d);
        x64_rr(&t->out, X64_OP(1, 0, 0x40 | cc.cc), w, d, rb);
        x64_mov_reg(t, d, rc); /* a move keeps the flags */
        t->lock |= 1u << d;
        x64_emit_compare(t, cmp);
        return;
    }
    rc = x64_use(t, c); /* value if false */
    if (cc.parity == 1) {
        /* true if equal and ordered: start with true, move false if not */
        x64_rr(&t->out, X64_OP(1, 0, 0x40 | CC_P), w, d, rc);
        x64_rr(&t->out, X64_OP(1, 0, 0x40 | CC_NE), w, d, rc);
        x64_mov_reg(t, d, rb);
    } else {
        x64_rr(&t->out, X64_OP(1, 0, 0x40 | CC_P), w, d, rb);
        x64_rr(&t->out, X64_OP(1, 0, 0x40 | CC_NE), w, d, rb);
        x64_mov_reg(t, d, rc);
    }
    x64_emit_compare(t, cmp);
}

static void x64_minmax(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    static const uint8_t cc[] = {CC_L, CC_G, CC_B, CC_A}; /* MINS MAXS MINU MAXU */
    int w = x64_w(i->ty);
    unsigned d = x64_def_int(t, r), ra, rb;

    t->lock |= 1u << d;
    ra = x64_use(t, x64_src(t, i->a));
    rb = x64_use(t, x64_src(t, i->b));
    x64_rr(&t->out, X64_OP(1, 0, 0x40 | cc[i->op - IR_MINS]), w, d, ra);
    x64_mov_reg(t, d, rb);
    x64_alu_rr(&t->out, ALU_CMP, w, ra, rb);
}

/* ---- bits ------------------------------------------------------------ */

static bool x64_bits(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = x64_w(i->ty);
    unsigned d, ra;
    uint32_t op;

    switch (i->op) {
    case IR_CLZ:
        if (!x64_cpu(t, X64_CPU_LZCNT))
            return false;
        op = X64_OP(1, 2, 0xbd);
        break;
    case IR_CTZ:
        if (!x64_cpu(t, X64_CPU_BMI1))
            return false;
        op = X64_OP(1, 2, 0xbc);
        break;
    case IR_POPC: op = X64_OP(1, 2, 0xb8); break;
    case IR_BSWAP:
        d = x64_def_int(t, r);
        ra = x64_use_in(t, x64_src(t, i->a), d);
        x64_b(&t->out, 0xc8 | (d & 7));
        x64_opcode(&t->out, 0x0f, (unsigned)w << 3 | d >> 3);
        x64_mov_reg(t, d, ra);
        return true;
    default: return false;
    }
    d = x64_def_int(t, r);
    ra = x64_use_in(t, x64_src(t, i->a), d);
    x64_rr(&t->out, op, w, d, ra);
    return true;
}

static bool x64_clmul(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d, ra, rb, x, y;

    if (!x64_cpu(t, X64_CPU_PCLMUL) || i->ty != IR_I64)
        return false;
    d = x64_def_int(t, r);
    ra = x64_use(t, i->a);
    rb = x64_use(t, i->b);
    x = x64_temp(t, (uint32_t)X64_FPRS);
    y = x64_temp(t, (uint32_t)X64_FPRS);
    if (i->op == IR_CLMULH) { /* pextrq d, x, 1 */
        x64_b(&t->out, 1);
        x64_rr(&t->out, X64_OP(3, 1, 0x16), 1, x, d);
    } else {
        x64_rr(&t->out, X64_OP(1, 1, 0x7e), 1, x, d);
    }
    x64_b(&t->out, 0);
    x64_rr(&t->out, X64_OP(3, 1, 0x44), 0, x, y); /* pclmulqdq x, y, 0 */
    x64_rr(&t->out, X64_OP(1, 1, 0x6e), 1, y, rb);
    x64_rr(&t->out, X64_OP(1, 1, 0x6e), 1, x, ra);
    return true;
}

/* ---- dispatch -------------------------------------------------------- */

bool x64_emit_int(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    bool wide = i->ty == IR_I64 || i->ty == IR_I32;

    switch (i->op) {
    case IR_SEXT:
    case IR_ZEXT:
        if (!wide)
            return false;
        x64_extend(t, r, i);
        return true;
    case IR_TRUNC: x64_trunc(t, r, i); return true;
    case IR_AND: x64_logic(t, r, i, ALU_AND); return true;
    case IR_OR: x64_logic(t, r, i, ALU_OR); return true;
    case IR_XOR: x64_logic(t, r, i, ALU_XOR); return true;
    case IR_CMP:
        if (x64_ins(t, i->a)->ty < IR_I32)
            return false;
        x64_cmp_value(t, r);
        return true;
    case IR_SEL:
        if (ir_is_float(i->ty))
            return false;
        x64_sel(t, r, i);
        return true;
    }
    if (!wide)
        return false;
    switch (i->op) {
    case IR_ADD: x64_add(t, r, i); return true;
    case IR_SUB: x64_sub(t, r, i); return true;
    case IR_MUL: x64_mul(t, r, i); return true;
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU:
        if (i->ty != IR_I64)
            return false;
        x64_mulh(t, r, i);
        return true;
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: x64_div(t, r, i); return true;
    case IR_NOT: x64_unary(t, r, i, 2); return true;
    case IR_NEG: x64_unary(t, r, i, 3); return true;
    case IR_SHL: x64_shift(t, r, i, SH_SHL); return true;
    case IR_SHR: x64_shift(t, r, i, SH_SHR); return true;
    case IR_SAR: x64_shift(t, r, i, SH_SAR); return true;
    case IR_ROL: x64_shift(t, r, i, SH_ROL); return true;
    case IR_ROR: x64_shift(t, r, i, SH_ROR); return true;
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU: x64_minmax(t, r, i); return true;
    case IR_CLMUL:
    case IR_CLMULH: return x64_clmul(t, r, i);
    default: return x64_bits(t, r, i);
    }
}
