/* rv_lift_sys.c: traps, CSRs, hints. SPDX-License-Identifier: Apache-2.0 */
#include "rv_lift.h"

enum { CSR_FFLAGS = 0x001, CSR_FRM = 0x002, CSR_FCSR = 0x003 };
enum { CSR_CYCLE = 0xc00, CSR_TIME = 0xc01, CSR_INSTRET = 0xc02 };

static void trap(struct rv_lift *l, unsigned code, uint64_t pc, uint32_t info)
{
    ir_emit(l->f, IR_TRAP, IR_NONE, code, ir_kaddr(l->f, pc), info, 0);
    l->flow->kind = IR_FLOW_TRAP;
}

void rv_lift_illegal(struct rv_lift *l)
{
    trap(l, IR_TRAP_ILLEGAL, l->pc, l->word);
}

/* ---- CSRs ------------------------------------------------------------------ */

static ir_ref csr_read(struct rv_lift *l, uint32_t csr)
{
    struct ir_func *f = l->f;
    if (csr == CSR_FFLAGS)
        return ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0);
    if (csr == CSR_FRM)
        return ir_emit(f, IR_RMGET, IR_I64, 0, 0, 0, 0);
    if (csr == CSR_FCSR) {
        ir_ref rm = ir_emit(f, IR_RMGET, IR_I64, 0, 0, 0, 0);
        ir_ref flags = ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0);
        return ir_op2(f, IR_OR, IR_I64, ir_op2(f, IR_SHL, IR_I64, rm, rv_k(l, 5)), flags);
    }
    return ir_emit(f, IR_HELPER, IR_I64, RV_HELPER_TIME, rv_k(l, 0), rv_k(l, 0), rv_k(l, 0));
}

/* A new rounding mode may change how the code behind is to be translated:
 * the region ends. */
static void csr_write(struct rv_lift *l, uint32_t csr, ir_ref v)
{
    struct ir_func *f = l->f;
    if (csr != CSR_FRM)
        ir_emit(f, IR_FLSET, IR_NONE, 0, ir_op2(f, IR_AND, IR_I64, v, rv_k(l, 31)), 0, 0);
    if (csr == CSR_FFLAGS)
        return;
    if (csr == CSR_FCSR)
        v = ir_op2(f, IR_SHR, IR_I64, v, rv_k(l, 5));
    ir_emit(f, IR_RMSET, IR_NONE, 0, ir_op2(f, IR_AND, IR_I64, v, rv_k(l, 7)), 0, 0);
    l->flow->reform = 1;
}

/* csrrs and csrrc with x0 or a constant 0 do not write, csrrw to x0 does not
 * read (Zicsr). */
static void csr_access(struct rv_lift *l, bool constant, unsigned kind)
{
    uint32_t csr = (uint32_t)l->in.imm;
    bool write = kind == RV_CSRRW || l->in.rs1 != 0;
    bool counter = csr >= CSR_CYCLE && csr <= CSR_INSTRET;
    if (!(csr >= CSR_FFLAGS && csr <= CSR_FCSR) && !(counter && !write)) {
        rv_lift_illegal(l);
        return;
    }
    ir_ref src = constant ? rv_k(l, l->in.rs1) : rv_x(l, l->in.rs1);
    ir_ref old = IR_NIL;
    if (kind != RV_CSRRW || l->in.rd)
        old = csr_read(l, csr);
    if (write) {
        ir_ref v = src;
        if (kind == RV_CSRRS)
            v = ir_op2(l->f, IR_OR, IR_I64, old, src);
        else if (kind == RV_CSRRC)
            v = ir_op2(l->f, IR_AND, IR_I64, old, ir_op1(l->f, IR_NOT, IR_I64, src));
        csr_write(l, csr, v);
    }
    if (l->in.rd)
        rv_put(l, old);
}

/* ---- dispatch ----------------------------------------------------------------- */

void rv_lift_sys(struct rv_lift *l)
{
    switch (l->in.op) {
    case RV_ECALL: trap(l, IR_TRAP_SYSCALL, l->pc, 0); break;
    case RV_EBREAK: trap(l, IR_TRAP_BREAK, l->pc, 0); break;
    case RV_FENCE_I: trap(l, IR_TRAP_FENCEI, l->pc + l->in.len, 0); break;
    case RV_WRS_NTO:
    case RV_WRS_STO:
        /* waiting may end at any time; giving up the processor is a good wait */
        ir_emit(l->f, IR_HELPER, IR_I64, RV_HELPER_YIELD, rv_k(l, 0), rv_k(l, 0), rv_k(l, 0));
        break;
    case RV_CSRRW: csr_access(l, false, RV_CSRRW); break;
    case RV_CSRRS: csr_access(l, false, RV_CSRRS); break;
    case RV_CSRRC: csr_access(l, false, RV_CSRRC); break;
    case RV_CSRRWI: csr_access(l, true, RV_CSRRW); break;
    case RV_CSRRSI: csr_access(l, true, RV_CSRRS); break;
    case RV_CSRRCI: csr_access(l, true, RV_CSRRC); break;
    case RV_MOP_R:
    case RV_MOP_RR: rv_put(l, rv_k(l, 0)); break;
    default: rv_lift_illegal(l); break;
    }
}
