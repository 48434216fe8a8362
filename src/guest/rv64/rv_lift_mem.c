/* rv_lift_mem.c: loads, stores, atomics, fences, cache blocks. SPDX-License-Identifier: Apache-2.0
 *
 * LR/SC. A constrained loop (A extension, "Eventual Success of
 * Store-Conditional Instructions") has no other access to memory between LR
 * and SC, so an SC that compares the value loaded with the one in memory
 * cannot be told from one that watches for stores: that is marked
 * IR_SC_CONSTRAINED and is one compare-and-swap. For any other SC a version
 * is compared as well.
 */
#include "rv_lift.h"

enum { CONSTRAINED_MAX = 16 }; /* guest instructions of a constrained loop */

static ir_ref address(struct rv_lift *l)
{
    return rv_x(l, l->in.rs1);
}

static void load(struct rv_lift *l, unsigned ty, unsigned extend)
{
    ir_ref v = ir_ld(l->f, ty, IR_AS_GUEST, address(l), l->in.imm);
    if (!l->in.rd)
        return;
    rv_put(l, extend == IR_OP_COUNT ? v : ir_op1(l->f, extend, IR_I64, v));
}

static void store(struct rv_lift *l, unsigned ty)
{
    ir_ref v = rv_x(l, l->in.rs2);
    if (ty != IR_I64)
        v = ir_op1(l->f, IR_TRUNC, ty, v);
    ir_st(l->f, IR_AS_GUEST, address(l), l->in.imm, v);
}

static void load_fp(struct rv_lift *l, unsigned ty)
{
    ir_ref v = ir_ld(l->f, ty, IR_AS_GUEST, address(l), l->in.imm);
    if (ty != IR_F64)
        v = ir_op1(l->f, IR_FBOX, IR_F64, v);
    ir_put(l->f, RV_F0 + l->in.rd, v);
}

/* The low bits are stored whatever the rest is: no unboxing. */
static void store_fp(struct rv_lift *l, unsigned ty)
{
    ir_ref v = ir_get(l->f, RV_F0 + l->in.rs2);
    if (ty != IR_F64)
        v = ir_op1(l->f, IR_FLOW, ty, v);
    ir_st(l->f, IR_AS_GUEST, address(l), l->in.imm, v);
}

/* ---- atomics ------------------------------------------------------------ */

static unsigned ordering(struct rv_lift *l)
{
    return IR_AS_GUEST | (l->in.rm & 2 ? IR_ACQUIRE : 0) | (l->in.rm & 1 ? IR_RELEASE : 0);
}

static ir_ref operand(struct rv_lift *l, unsigned ty, unsigned r)
{
    return ty == IR_I64 ? rv_x(l, r) : rv_w(l, r);
}

/* rd gets the value that was in memory. */
static void put_old(struct rv_lift *l, unsigned ty, ir_ref old)
{
    if (ty == IR_I64)
        rv_put(l, old);
    else
        rv_put_sext(l, old);
}

static void amo(struct rv_lift *l, unsigned op, unsigned ty)
{
    ir_ref a = address(l), v = operand(l, ty, l->in.rs2);
    put_old(l, ty, ir_emit(l->f, IR_AMO, ty, ordering(l) | op << IR_AMO_SHIFT, a, v, 0));
}

static void load_reserved(struct rv_lift *l, unsigned ty)
{
    put_old(l, ty, ir_emit(l->f, IR_LR, ty, ordering(l), address(l), 0, 0));
}

/* True if this SC's LR is in the same region, for the same address and size,
 * with nothing between that reaches memory. */
static bool constrained(const struct ir_func *f, unsigned ty, ir_ref addr)
{
    unsigned marks = 0;
    for (ir_ref r = f->nins - 1; r > IR_BIAS && marks <= CONSTRAINED_MAX; r--) {
        const struct ir_ins *i = &f->ins[r];
        if (i->op == IR_LR)
            return i->a == addr && i->ty == ty;
        if (i->op == IR_IMARK)
            marks++;
        else if (ir_ops[i->op].cls != IR_CLASS_P && i->op != IR_GET && i->op != IR_PUT &&
                 i->op != IR_SIDE && i->op != IR_POLL)
            return false;
    }
    return false;
}

static void store_conditional(struct rv_lift *l, unsigned ty)
{
    ir_ref a = address(l), v = operand(l, ty, l->in.rs2);
    unsigned aux = ordering(l);
    if (constrained(l->f, ty, a))
        aux |= IR_SC_CONSTRAINED;
    rv_put(l, ir_emit(l->f, IR_SC, IR_I64, aux, a, v, 0));
}

static void compare_and_swap(struct rv_lift *l, unsigned ty)
{
    ir_ref a = address(l);
    ir_ref expected = operand(l, ty, l->in.rd), v = operand(l, ty, l->in.rs2);
    put_old(l, ty, ir_emit(l->f, IR_CAS, ty, ordering(l), a, expected, v));
}

/* 128 bits are beyond the IR's atomics: a helper does it on the registers in
 * the state. What can fault is done before, by an atomic addition of zero:
 * bit 3 of the address moved into bit 0 makes it misaligned if the address is
 * no multiple of 16, and it needs the right to write. */
static void compare_and_swap_q(struct rv_lift *l)
{
    ir_ref a = address(l);
    ir_ref low = ir_op2(l->f, IR_AND, IR_I64, ir_op2(l->f, IR_SHR, IR_I64, a, rv_k(l, 3)),
                        rv_k(l, 1));
    ir_emit(l->f, IR_AMO, IR_I64, IR_AS_GUEST | IR_SEQ_CST | IR_AMO_ADD << IR_AMO_SHIFT,
            ir_op2(l->f, IR_OR, IR_I64, a, low), rv_k(l, 0), 0);
    ir_emit(l->f, IR_HELPER, IR_I64, RV_HELPER_AMOCAS_Q, a, rv_k(l, l->in.rd),
            rv_k(l, l->in.rs2));
}

/* ---- fences and cache blocks -------------------------------------------- */

/* Devices count as memory here: input as reads, output as writes. */
static unsigned fence_set(unsigned iorw, unsigned r, unsigned w)
{
    return (iorw & 10 ? r : 0) | (iorw & 5 ? w : 0);
}

static void fence(struct rv_lift *l)
{
    unsigned fm = l->in.imm >> 8 & 15;
    unsigned p = fence_set(l->in.imm >> 4 & 15, IR_FENCE_PR, IR_FENCE_PW);
    unsigned s = fence_set(l->in.imm & 15, IR_FENCE_SR, IR_FENCE_SW);
    if (!p || !s) /* pause is such a fence */
        return;
    if (fm == 8 && (l->in.imm & 0xff) == 0x33) { /* fence.tso: all but write to read */
        ir_emit(l->f, IR_FENCE, IR_NONE, IR_FENCE_PR | IR_FENCE_SR | IR_FENCE_SW, 0, 0, 0);
        ir_emit(l->f, IR_FENCE, IR_NONE, IR_FENCE_PR | IR_FENCE_PW | IR_FENCE_SW, 0, 0, 0);
        return;
    }
    ir_emit(l->f, IR_FENCE, IR_NONE, p | s, 0, 0, 0);
}

static void cache_zero(struct rv_lift *l)
{
    ir_ref a = ir_op2(l->f, IR_AND, IR_I64, address(l), rv_k(l, ~(uint64_t)(RV64_CBO_BLOCK - 1)));
    for (int32_t i = 0; i < RV64_CBO_BLOCK; i += 8)
        ir_st(l->f, IR_AS_GUEST, a, i, rv_k(l, 0));
}

/* Memory is coherent, so there is nothing to write back; but the block must
 * be there. */
static void cache_clean(struct rv_lift *l)
{
    ir_ld(l->f, IR_I8, IR_AS_GUEST, address(l), 0);
}

/* ---- dispatch ------------------------------------------------------------ */

#define AMO(name, op)                                                          \
    case RV_##name##_W: amo(l, op, IR_I32); break;                             \
    case RV_##name##_D: amo(l, op, IR_I64); break;

void rv_lift_mem(struct rv_lift *l)
{
    switch (l->in.op) {
    case RV_LB: load(l, IR_I8, IR_SEXT); break;
    case RV_LH: load(l, IR_I16, IR_SEXT); break;
    case RV_LW: load(l, IR_I32, IR_SEXT); break;
    case RV_LD: load(l, IR_I64, IR_OP_COUNT); break;
    case RV_LBU: load(l, IR_I8, IR_ZEXT); break;
    case RV_LHU: load(l, IR_I16, IR_ZEXT); break;
    case RV_LWU: load(l, IR_I32, IR_ZEXT); break;
    case RV_SB: store(l, IR_I8); break;
    case RV_SH: store(l, IR_I16); break;
    case RV_SW: store(l, IR_I32); break;
    case RV_SD: store(l, IR_I64); break;
    case RV_FLH: load_fp(l, IR_F16); break;
    case RV_FLW: load_fp(l, IR_F32); break;
    case RV_FLD: load_fp(l, IR_F64); break;
    case RV_FSH: store_fp(l, IR_F16); break;
    case RV_FSW: store_fp(l, IR_F32); break;
    case RV_FSD: store_fp(l, IR_F64); break;
    case RV_LR_W: load_reserved(l, IR_I32); break;
    case RV_LR_D: load_reserved(l, IR_I64); break;
    case RV_SC_W: store_conditional(l, IR_I32); break;
    case RV_SC_D: store_conditional(l, IR_I64); break;
    AMO(AMOSWAP, IR_AMO_SWAP)
    AMO(AMOADD, IR_AMO_ADD)
    AMO(AMOXOR, IR_AMO_XOR)
    AMO(AMOAND, IR_AMO_AND)
    AMO(AMOOR, IR_AMO_OR)
    AMO(AMOMIN, IR_AMO_MINS)
    AMO(AMOMAX, IR_AMO_MAXS)
    AMO(AMOMINU, IR_AMO_MINU)
    AMO(AMOMAXU, IR_AMO_MAXU)
    case RV_AMOCAS_W: compare_and_swap(l, IR_I32); break;
    case RV_AMOCAS_D: compare_and_swap(l, IR_I64); break;
    case RV_AMOCAS_Q: compare_and_swap_q(l); break;
    case RV_FENCE: fence(l); break;
    case RV_CBO_ZERO: cache_zero(l); break;
    case RV_CBO_CLEAN:
    case RV_CBO_FLUSH: cache_clean(l); break;
    default: rv_lift_illegal(l); break;
    }
}
