/* rv_lift.h: what the lifters share. Private to the guest. SPDX-License-Identifier: Apache-2.0
 *
 * A lifter is naive: it writes what the manual says, and leaves constants,
 * identities and repetition to the folding builder. What it must do itself:
 *  - PUT a result only after everything in the instruction that can fault;
 *  - never PUT x0;
 *  - read all registers it needs before the PUT (rd may be a source).
 */
#ifndef ISOMER_RV_LIFT_H
#define ISOMER_RV_LIFT_H

#include "rv.h"
#include "rv_insn.h"

struct rv_lift {
    struct ir_func *f;
    struct rv_insn in;
    uint64_t pc;
    uint32_t word; /* the bits, for the illegal-instruction trap */
    struct ir_flow *flow;
};

/* Facts that translation depends on (ir_guest.mode). */
enum rv_mode { RV_MODE_PLAIN, RV_MODE_RMM, RV_MODE_BAD_RM };

enum rv_helper { RV_HELPER_TIME, RV_HELPER_YIELD, RV_HELPER_AMOCAS_Q, RV_HELPER_COUNT };

void rv_lift_int(struct rv_lift *l);
void rv_lift_bit(struct rv_lift *l);
void rv_lift_mem(struct rv_lift *l);
void rv_lift_fp(struct rv_lift *l);
void rv_lift_sys(struct rv_lift *l);

/* The region ends with an illegal-instruction trap at this instruction. */
void rv_lift_illegal(struct rv_lift *l);

extern const struct ir_helper rv_helpers[RV_HELPER_COUNT];

static inline ir_ref rv_k(struct rv_lift *l, uint64_t v)
{
    return ir_ki(l->f, IR_I64, v);
}
static inline ir_ref rv_k32(struct rv_lift *l, uint32_t v)
{
    return ir_ki(l->f, IR_I32, v);
}
static inline ir_ref rv_imm(struct rv_lift *l)
{
    return rv_k(l, (uint64_t)(int64_t)l->in.imm);
}
static inline ir_ref rv_x(struct rv_lift *l, unsigned r)
{
    return r ? ir_get(l->f, RV_X0 + r) : rv_k(l, 0);
}
/* The low 32 bits of a register. */
static inline ir_ref rv_w(struct rv_lift *l, unsigned r)
{
    return ir_op1(l->f, IR_TRUNC, IR_I32, rv_x(l, r));
}
static inline void rv_put(struct rv_lift *l, ir_ref v)
{
    if (l->in.rd)
        ir_put(l->f, RV_X0 + l->in.rd, v);
}
/* rd gets a narrower value, sign or zero extended. */
static inline void rv_put_sext(struct rv_lift *l, ir_ref v)
{
    if (l->in.rd)
        rv_put(l, ir_op1(l->f, IR_SEXT, IR_I64, v));
}
static inline void rv_put_zext(struct rv_lift *l, ir_ref v)
{
    if (l->in.rd)
        rv_put(l, ir_op1(l->f, IR_ZEXT, IR_I64, v));
}

#endif
