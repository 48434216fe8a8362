/* rv_guest.c: RV64 as a guest of the engine. SPDX-License-Identifier: Apache-2.0 */
#include "rv_lift.h"

#include <sched.h>

/* ---- state ------------------------------------------------------------------ */

#define XS(n, name) [RV_X0 + n] = {name, IR_I64, offsetof(struct rv_state, x) + 8 * n}
#define FS(n, name) [RV_F0 + n] = {name, IR_F64, offsetof(struct rv_state, f) + 8 * n}
static const struct ir_slot slots[RV_SLOTS] = {
    XS(0, "zero"), XS(1, "ra"),   XS(2, "sp"),   XS(3, "gp"),   XS(4, "tp"),   XS(5, "t0"),
    XS(6, "t1"),   XS(7, "t2"),   XS(8, "s0"),   XS(9, "s1"),   XS(10, "a0"),  XS(11, "a1"),
    XS(12, "a2"),  XS(13, "a3"),  XS(14, "a4"),  XS(15, "a5"),  XS(16, "a6"),  XS(17, "a7"),
    XS(18, "s2"),  XS(19, "s3"),  XS(20, "s4"),  XS(21, "s5"),  XS(22, "s6"),  XS(23, "s7"),
    XS(24, "s8"),  XS(25, "s9"),  XS(26, "s10"), XS(27, "s11"), XS(28, "t3"),  XS(29, "t4"),
    XS(30, "t5"),  XS(31, "t6"),  FS(0, "ft0"),  FS(1, "ft1"),  FS(2, "ft2"),  FS(3, "ft3"),
    FS(4, "ft4"),  FS(5, "ft5"),  FS(6, "ft6"),  FS(7, "ft7"),  FS(8, "fs0"),  FS(9, "fs1"),
    FS(10, "fa0"), FS(11, "fa1"), FS(12, "fa2"), FS(13, "fa3"), FS(14, "fa4"), FS(15, "fa5"),
    FS(16, "fa6"), FS(17, "fa7"), FS(18, "fs2"), FS(19, "fs3"), FS(20, "fs4"), FS(21, "fs5"),
    FS(22, "fs6"), FS(23, "fs7"), FS(24, "fs8"), FS(25, "fs9"), FS(26, "fs10"),
    FS(27, "fs11"), FS(28, "ft8"), FS(29, "ft9"), FS(30, "ft10"), FS(31, "ft11"),
};

/* By falling use in compiled programs: the first eleven are 82 % of all
 * operands. */
static const uint8_t hot_int[] = {
    RV_A5, RV_A4, RV_A3, RV_A0, RV_S0, RV_SP,  RV_A2,  RV_A1, RV_S1, RV_RA, RV_A7,
    RV_A6, RV_T1, RV_S2, RV_S3, RV_S4, RV_T3,  RV_T0,  RV_T4, RV_S5, RV_S6, RV_T5,
    RV_T6, RV_T2, RV_S7, RV_S8, RV_S9, RV_S10, RV_S11, RV_GP, RV_TP};
#define F(n) (RV_F0 + (n))
static const uint8_t hot_fp[] = {
    F(15), F(14), F(10), F(13), F(11), F(12), F(16), F(17), F(0),  F(1),  F(8),
    F(9),  F(2),  F(3),  F(4),  F(5),  F(6),  F(7),  F(18), F(19), F(20), F(21),
    F(22), F(23), F(24), F(25), F(26), F(27), F(28), F(29), F(30), F(31)};
#undef F

void rv_state_init(struct rv_state *s, uint64_t pc)
{
    memset(s, 0, sizeof *s);
    s->pc = pc;
    s->res.addr = 1;
}

static unsigned mode(const void *state)
{
    const struct rv_state *s = state;
    unsigned rm = s->fp.rm & 7;
    return rm < IR_RMM ? RV_MODE_PLAIN : rm == IR_RMM ? RV_MODE_RMM : RV_MODE_BAD_RM;
}

/* ---- helpers ------------------------------------------------------------------ */

static uint64_t help_time(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    return base_now_ns();
}

static uint64_t help_yield(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    sched_yield();
    return 0;
}

/* amocas.q on the pairs rd and rs2; the address is aligned and writable. */
#ifdef __x86_64__
__attribute__((target("cx16")))
#endif
static uint64_t help_amocas_q(void *state, uint64_t addr, uint64_t rd, uint64_t rs2)
{
    struct rv_state *s = state;
    typedef unsigned __int128 u128;
    u128 *p = (u128 *)(uintptr_t)addr;
    /* a pair that starts at x0 reads as zero */
    u128 expected = rd ? (u128)s->x[rd + 1] << 64 | s->x[rd] : 0;
    u128 value = rs2 ? (u128)s->x[rs2 + 1] << 64 | s->x[rs2] : 0;
    u128 old = __sync_val_compare_and_swap(p, expected, value);
    if (rd) {
        s->x[rd] = (uint64_t)old;
        s->x[rd + 1] = (uint64_t)(old >> 64);
    }
    return 0;
}

const struct ir_helper rv_helpers[RV_HELPER_COUNT] = {
    [RV_HELPER_TIME] = {"rv_time", help_time, 0},
    [RV_HELPER_YIELD] = {"rv_yield", help_yield, 0},
    [RV_HELPER_AMOCAS_Q] = {"rv_amocas_q", help_amocas_q, IR_HELPER_MEM | IR_HELPER_STATE},
};

/* ---- lifting -------------------------------------------------------------------- */

typedef void lifter(struct rv_lift *l);

/* spec/rv64.isa lists operations by extension; ranges follow its order. */
static lifter *const lifters[RV_OP_COUNT] = {
    [RV_ILLEGAL] = rv_lift_illegal,
    [RV_LUI ... RV_BGEU] = rv_lift_int,
    [RV_LB ... RV_SD] = rv_lift_mem,
    [RV_ADDI ... RV_SRAW] = rv_lift_int,
    [RV_FENCE] = rv_lift_mem,
    [RV_FENCE_I ... RV_MOP_RR] = rv_lift_sys,
    [RV_MUL ... RV_REMUW] = rv_lift_int,
    [RV_LR_W ... RV_AMOCAS_Q] = rv_lift_mem,
    [RV_SH1ADD ... RV_CZERO_NEZ] = rv_lift_bit,
    [RV_CBO_CLEAN ... RV_FSW] = rv_lift_mem,
    [RV_FMADD_S ... RV_FCVT_S_LU] = rv_lift_fp,
    [RV_FLD ... RV_FSD] = rv_lift_mem,
    [RV_FMADD_D ... RV_FCVT_D_S] = rv_lift_fp,
    [RV_FLH ... RV_FSH] = rv_lift_mem,
    [RV_FMADD_H ... RV_FCVTMOD_W_D] = rv_lift_fp,
};

static bool lift(struct ir_func *f, uint64_t pc, const uint8_t *bytes, size_t avail,
                 struct ir_flow *flow)
{
    struct rv_lift l;
    unsigned len = rv_fetch(bytes, avail, &l.word);
    if (!len)
        return false;
    rv_decode_word(l.word, len, &l.in);
    l.f = f;
    l.pc = pc;
    l.flow = flow;
    *flow = (struct ir_flow){.kind = IR_FLOW_NEXT, .len = (uint8_t)len, .link_slot = -1};
    lifters[l.in.op](&l);
    return true;
}

const struct ir_guest rv64_guest = {
    .name = "rv64",
    .slots = slots,
    .nslots = RV_SLOTS,
    .hot_int = hot_int,
    .nhot_int = BASE_ARRAY_SIZE(hot_int),
    .hot_fp = hot_fp,
    .nhot_fp = BASE_ARRAY_SIZE(hot_fp),
    .state_size = sizeof(struct rv_state),
    .pc_offset = offsetof(struct rv_state, pc),
    .fpenv_offset = offsetof(struct rv_state, fp),
    .res_offset = offsetof(struct rv_state, res),
    .helpers = rv_helpers,
    .nhelpers = RV_HELPER_COUNT,
    .max_len = 4,
    .mode = mode,
    .lift = lift,
    .disasm = rv_disasm,
};
