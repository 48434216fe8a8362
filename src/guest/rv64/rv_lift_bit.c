/* rv_lift_bit.c: Zba, Zbb, Zbc, Zbs, Zbkb, Zicond. SPDX-License-Identifier: Apache-2.0 */
#include "rv_lift.h"

static ir_ref op2(struct rv_lift *l, unsigned op, ir_ref a, ir_ref b)
{
    return ir_op2(l->f, op, IR_I64, a, b);
}

static void rr(struct rv_lift *l, unsigned op)
{
    rv_put(l, op2(l, op, rv_x(l, l->in.rs1), rv_x(l, l->in.rs2)));
}

/* rd = (rs1 << n) + rs2; of the .uw forms rs1 is its low 32 bits. */
static void shift_add(struct rv_lift *l, unsigned n, bool uw)
{
    ir_ref a = uw ? ir_op1(l->f, IR_ZEXT, IR_I64, rv_w(l, l->in.rs1)) : rv_x(l, l->in.rs1);
    if (n)
        a = op2(l, IR_SHL, a, rv_k(l, n));
    rv_put(l, op2(l, IR_ADD, a, rv_x(l, l->in.rs2)));
}

/* rd = rs1 op ~rs2 */
static void with_not(struct rv_lift *l, unsigned op)
{
    ir_ref b = ir_op1(l->f, IR_NOT, IR_I64, rv_x(l, l->in.rs2));
    rv_put(l, op2(l, op, rv_x(l, l->in.rs1), b));
}

static void unary(struct rv_lift *l, unsigned op)
{
    rv_put(l, ir_op1(l->f, op, IR_I64, rv_x(l, l->in.rs1)));
}

static void count_w(struct rv_lift *l, unsigned op)
{
    rv_put_zext(l, ir_op1(l->f, op, IR_I32, rv_w(l, l->in.rs1)));
}

static void rotate_w(struct rv_lift *l, unsigned op, ir_ref by)
{
    rv_put_sext(l, ir_op2(l->f, op, IR_I32, rv_w(l, l->in.rs1), by));
}

static void single_bit(struct rv_lift *l, unsigned op, ir_ref index)
{
    ir_ref a = rv_x(l, l->in.rs1);
    ir_ref bit = op2(l, IR_SHL, rv_k(l, 1), index);
    if (op == IR_AND)
        bit = ir_op1(l->f, IR_NOT, IR_I64, bit);
    rv_put(l, op2(l, op, a, bit));
}

static void bit_extract(struct rv_lift *l, ir_ref index)
{
    ir_ref v = op2(l, IR_SHR, rv_x(l, l->in.rs1), index);
    rv_put(l, op2(l, IR_AND, v, rv_k(l, 1)));
}

/* clmulr: bits 126 to 63 of the product. */
static void clmul_reversed(struct rv_lift *l)
{
    ir_ref a = rv_x(l, l->in.rs1), b = rv_x(l, l->in.rs2);
    ir_ref hi = op2(l, IR_SHL, op2(l, IR_CLMULH, a, b), rv_k(l, 1));
    ir_ref lo = op2(l, IR_SHR, op2(l, IR_CLMUL, a, b), rv_k(l, 63));
    rv_put(l, op2(l, IR_OR, hi, lo));
}

/* ---- Zbkb --------------------------------------------------------------- */

static void pack(struct rv_lift *l)
{
    ir_ref lo = ir_op1(l->f, IR_ZEXT, IR_I64, rv_w(l, l->in.rs1));
    rv_put(l, op2(l, IR_OR, lo, op2(l, IR_SHL, rv_x(l, l->in.rs2), rv_k(l, 32))));
}

static void pack_h(struct rv_lift *l)
{
    ir_ref lo = op2(l, IR_AND, rv_x(l, l->in.rs1), rv_k(l, 0xff));
    ir_ref hi = op2(l, IR_AND, rv_x(l, l->in.rs2), rv_k(l, 0xff));
    rv_put(l, op2(l, IR_OR, lo, op2(l, IR_SHL, hi, rv_k(l, 8))));
}

/* packw; with rs2 = x0 it is zext.h, which is what compilers use it for. */
static void pack_w(struct rv_lift *l)
{
    ir_ref lo = ir_op1(l->f, IR_TRUNC, IR_I16, rv_x(l, l->in.rs1));
    if (!l->in.rs2) {
        rv_put_zext(l, lo);
        return;
    }
    ir_ref hi = ir_op2(l->f, IR_SHL, IR_I32, rv_w(l, l->in.rs2), rv_k32(l, 16));
    rv_put_sext(l, ir_op2(l->f, IR_OR, IR_I32, ir_op1(l->f, IR_ZEXT, IR_I32, lo), hi));
}

/* ---- Zicond ------------------------------------------------------------- */

static void zero_if(struct rv_lift *l, unsigned cc)
{
    ir_ref c = ir_cmp(l->f, cc, rv_x(l, l->in.rs2), rv_k(l, 0));
    rv_put(l, ir_emit(l->f, IR_SEL, IR_I64, 0, c, rv_k(l, 0), rv_x(l, l->in.rs1)));
}

/* ---- dispatch ----------------------------------------------------------- */

void rv_lift_bit(struct rv_lift *l)
{
    if (!l->in.rd) /* nothing here has an effect but its result */
        return;
    switch (l->in.op) {
    case RV_SH1ADD: shift_add(l, 1, false); break;
    case RV_SH2ADD: shift_add(l, 2, false); break;
    case RV_SH3ADD: shift_add(l, 3, false); break;
    case RV_ADD_UW: shift_add(l, 0, true); break;
    case RV_SH1ADD_UW: shift_add(l, 1, true); break;
    case RV_SH2ADD_UW: shift_add(l, 2, true); break;
    case RV_SH3ADD_UW: shift_add(l, 3, true); break;
    case RV_SLLI_UW:
        rv_put(l, op2(l, IR_SHL, ir_op1(l->f, IR_ZEXT, IR_I64, rv_w(l, l->in.rs1)), rv_imm(l)));
        break;
    case RV_ANDN: with_not(l, IR_AND); break;
    case RV_ORN: with_not(l, IR_OR); break;
    case RV_XNOR: with_not(l, IR_XOR); break;
    case RV_CLZ: unary(l, IR_CLZ); break;
    case RV_CTZ: unary(l, IR_CTZ); break;
    case RV_CPOP: unary(l, IR_POPC); break;
    case RV_CLZW: count_w(l, IR_CLZ); break;
    case RV_CTZW: count_w(l, IR_CTZ); break;
    case RV_CPOPW: count_w(l, IR_POPC); break;
    case RV_SEXT_B:
        rv_put_sext(l, ir_op1(l->f, IR_TRUNC, IR_I8, rv_x(l, l->in.rs1)));
        break;
    case RV_SEXT_H:
        rv_put_sext(l, ir_op1(l->f, IR_TRUNC, IR_I16, rv_x(l, l->in.rs1)));
        break;
    case RV_MAX: rr(l, IR_MAXS); break;
    case RV_MAXU: rr(l, IR_MAXU); break;
    case RV_MIN: rr(l, IR_MINS); break;
    case RV_MINU: rr(l, IR_MINU); break;
    case RV_ROL: rr(l, IR_ROL); break;
    case RV_ROR: rr(l, IR_ROR); break;
    case RV_RORI: rv_put(l, op2(l, IR_ROR, rv_x(l, l->in.rs1), rv_imm(l))); break;
    case RV_ROLW: rotate_w(l, IR_ROL, rv_w(l, l->in.rs2)); break;
    case RV_RORW: rotate_w(l, IR_ROR, rv_w(l, l->in.rs2)); break;
    case RV_RORIW: rotate_w(l, IR_ROR, rv_k32(l, (uint32_t)l->in.imm)); break;
    case RV_ORC_B: unary(l, IR_ORCB); break;
    case RV_REV8: unary(l, IR_BSWAP); break;
    case RV_BREV8: unary(l, IR_BREV8); break;
    case RV_CLMUL: rr(l, IR_CLMUL); break;
    case RV_CLMULH: rr(l, IR_CLMULH); break;
    case RV_CLMULR: clmul_reversed(l); break;
    case RV_BCLR: single_bit(l, IR_AND, rv_x(l, l->in.rs2)); break;
    case RV_BINV: single_bit(l, IR_XOR, rv_x(l, l->in.rs2)); break;
    case RV_BSET: single_bit(l, IR_OR, rv_x(l, l->in.rs2)); break;
    case RV_BEXT: bit_extract(l, rv_x(l, l->in.rs2)); break;
    case RV_BCLRI: single_bit(l, IR_AND, rv_imm(l)); break;
    case RV_BINVI: single_bit(l, IR_XOR, rv_imm(l)); break;
    case RV_BSETI: single_bit(l, IR_OR, rv_imm(l)); break;
    case RV_BEXTI: bit_extract(l, rv_imm(l)); break;
    case RV_PACK: pack(l); break;
    case RV_PACKH: pack_h(l); break;
    case RV_PACKW: pack_w(l); break;
    case RV_CZERO_EQZ: zero_if(l, IR_EQ); break;
    case RV_CZERO_NEZ: zero_if(l, IR_NE); break;
    default: rv_lift_illegal(l); break;
    }
}
