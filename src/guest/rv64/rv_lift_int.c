/* rv_lift_int.c: I and M: arithmetic, jumps and branches. SPDX-License-Identifier: Apache-2.0 */
#include "rv_lift.h"

/* ---- register and immediate arithmetic -------------------------------- */

static void op_rr(struct rv_lift *l, unsigned op)
{
    rv_put(l, ir_op2(l->f, op, IR_I64, rv_x(l, l->in.rs1), rv_x(l, l->in.rs2)));
}

static void op_ri(struct rv_lift *l, unsigned op)
{
    rv_put(l, ir_op2(l->f, op, IR_I64, rv_x(l, l->in.rs1), rv_imm(l)));
}

static void op_rr_w(struct rv_lift *l, unsigned op)
{
    rv_put_sext(l, ir_op2(l->f, op, IR_I32, rv_w(l, l->in.rs1), rv_w(l, l->in.rs2)));
}

static void op_ri_w(struct rv_lift *l, unsigned op)
{
    rv_put_sext(l, ir_op2(l->f, op, IR_I32, rv_w(l, l->in.rs1), rv_k32(l, (uint32_t)l->in.imm)));
}

static void set_less(struct rv_lift *l, unsigned cc, ir_ref b)
{
    rv_put_zext(l, ir_cmp(l->f, cc, rv_x(l, l->in.rs1), b));
}

/* ---- control ----------------------------------------------------------- */

static void branch(struct rv_lift *l, unsigned cc)
{
    ir_ref cond = ir_cmp(l->f, cc, rv_x(l, l->in.rs1), rv_x(l, l->in.rs2));
    if (ir_is_const(cond)) {
        if (!ir_kval(l->f, cond))
            return;
        l->flow->kind = IR_FLOW_JUMP;
    } else {
        l->flow->kind = IR_FLOW_BRANCH;
        l->flow->cond = cond;
    }
    l->flow->target = ir_kaddr(l->f, l->pc + (uint64_t)(int64_t)l->in.imm);
}

static bool is_link(unsigned r)
{
    return r == RV_RA || r == RV_T0;
}

static void jump(struct rv_lift *l)
{
    unsigned rd = l->in.rd;
    l->flow->kind = is_link(rd) ? IR_FLOW_CALL : IR_FLOW_JUMP;
    if (rd)
        l->flow->link_slot = (int16_t)(RV_X0 + rd);
    l->flow->target = ir_kaddr(l->f, l->pc + (uint64_t)(int64_t)l->in.imm);
}

/* The return-address hints of the manual's table "Return-address stack
 * prediction hints"; a return with an offset is no return by convention. */
static void jump_register(struct rv_lift *l)
{
    unsigned rd = l->in.rd, rs1 = l->in.rs1;
    if (is_link(rd))
        l->flow->kind = IR_FLOW_CALL;
    else if (!rd && is_link(rs1) && l->in.imm == 0)
        l->flow->kind = IR_FLOW_RET;
    else
        l->flow->kind = IR_FLOW_JUMP;
    if (rd)
        l->flow->link_slot = (int16_t)(RV_X0 + rd);
    if (!rs1) { /* a direct jump to the lowest or highest addresses */
        l->flow->target = ir_kaddr(l->f, (uint64_t)(int64_t)l->in.imm & ~1ull);
        return;
    }
    ir_ref t = ir_op2(l->f, IR_ADD, IR_I64, rv_x(l, rs1), rv_imm(l));
    l->flow->target = ir_op2(l->f, IR_AND, IR_I64, t, rv_k(l, ~1ull));
    if (ir_is_const(l->flow->target))
        l->flow->target = ir_kaddr(l->f, ir_kval(l->f, l->flow->target));
}

/* ---- dispatch ---------------------------------------------------------- */

void rv_lift_int(struct rv_lift *l)
{
    switch (l->in.op) {
    case RV_LUI: rv_put(l, rv_imm(l)); break;
    case RV_AUIPC:
        if (l->in.rd)
            rv_put(l, ir_kaddr(l->f, l->pc + (uint64_t)(int64_t)l->in.imm));
        break;
    case RV_JAL: jump(l); break;
    case RV_JALR: jump_register(l); break;
    case RV_BEQ: branch(l, IR_EQ); break;
    case RV_BNE: branch(l, IR_NE); break;
    case RV_BLT: branch(l, IR_LTS); break;
    case RV_BGE: branch(l, IR_GES); break;
    case RV_BLTU: branch(l, IR_LTU); break;
    case RV_BGEU: branch(l, IR_GEU); break;
    case RV_ADDI: op_ri(l, IR_ADD); break;
    case RV_SLTI: set_less(l, IR_LTS, rv_imm(l)); break;
    case RV_SLTIU: set_less(l, IR_LTU, rv_imm(l)); break;
    case RV_XORI: op_ri(l, IR_XOR); break;
    case RV_ORI: op_ri(l, IR_OR); break;
    case RV_ANDI: op_ri(l, IR_AND); break;
    case RV_SLLI: op_ri(l, IR_SHL); break;
    case RV_SRLI: op_ri(l, IR_SHR); break;
    case RV_SRAI: op_ri(l, IR_SAR); break;
    case RV_ADD: op_rr(l, IR_ADD); break;
    case RV_SUB: op_rr(l, IR_SUB); break;
    case RV_SLL: op_rr(l, IR_SHL); break;
    case RV_SLT: set_less(l, IR_LTS, rv_x(l, l->in.rs2)); break;
    case RV_SLTU: set_less(l, IR_LTU, rv_x(l, l->in.rs2)); break;
    case RV_XOR: op_rr(l, IR_XOR); break;
    case RV_SRL: op_rr(l, IR_SHR); break;
    case RV_SRA: op_rr(l, IR_SAR); break;
    case RV_OR: op_rr(l, IR_OR); break;
    case RV_AND: op_rr(l, IR_AND); break;
    case RV_ADDIW: op_ri_w(l, IR_ADD); break;
    case RV_SLLIW: op_ri_w(l, IR_SHL); break;
    case RV_SRLIW: op_ri_w(l, IR_SHR); break;
    case RV_SRAIW: op_ri_w(l, IR_SAR); break;
    case RV_ADDW: op_rr_w(l, IR_ADD); break;
    case RV_SUBW: op_rr_w(l, IR_SUB); break;
    case RV_SLLW: op_rr_w(l, IR_SHL); break;
    case RV_SRLW: op_rr_w(l, IR_SHR); break;
    case RV_SRAW: op_rr_w(l, IR_SAR); break;
    case RV_MUL: op_rr(l, IR_MUL); break;
    case RV_MULH: op_rr(l, IR_MULHS); break;
    case RV_MULHSU: op_rr(l, IR_MULHSU); break;
    case RV_MULHU: op_rr(l, IR_MULHU); break;
    case RV_DIV: op_rr(l, IR_DIVS); break;
    case RV_DIVU: op_rr(l, IR_DIVU); break;
    case RV_REM: op_rr(l, IR_REMS); break;
    case RV_REMU: op_rr(l, IR_REMU); break;
    case RV_MULW: op_rr_w(l, IR_MUL); break;
    case RV_DIVW: op_rr_w(l, IR_DIVS); break;
    case RV_DIVUW: op_rr_w(l, IR_DIVU); break;
    case RV_REMW: op_rr_w(l, IR_REMS); break;
    case RV_REMUW: op_rr_w(l, IR_REMU); break;
    default: rv_lift_illegal(l); break;
    }
}
