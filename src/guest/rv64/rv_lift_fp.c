/* rv_lift_fp.c: F, D, Zfh, Zfa. SPDX-License-Identifier: Apache-2.0
 *
 * A floating-point slot is an f64 whose raw bits are the register. Narrower
 * operands are taken with FUNBOX (what is not NaN-boxed reads as the
 * canonical NaN) and results put with FBOX; moves and stores, which look at
 * the low bits only, use FLOW. Rounding: a static mode goes into aux; the
 * dynamic mode is IR_RM_DYN while frm is 0 to 3. The other values of frm are
 * part of the region key (rv_guest.c, mode): for RMM, which no host has, the
 * operation is emitted with that mode, and for a reserved value every
 * instruction that uses it is illegal.
 */
#include "rv_lift.h"

/* ---- registers ----------------------------------------------------------- */

static ir_ref get_f(struct rv_lift *l, unsigned r, unsigned ty)
{
    ir_ref v = ir_get(l->f, RV_F0 + r);
    return ty == IR_F64 ? v : ir_op1(l->f, IR_FUNBOX, ty, v);
}

static void put_f(struct rv_lift *l, unsigned ty, ir_ref v)
{
    ir_put(l->f, RV_F0 + l->in.rd, ty == IR_F64 ? v : ir_op1(l->f, IR_FBOX, IR_F64, v));
}

static unsigned int_type(unsigned fty)
{
    return fty == IR_F16 ? IR_I16 : fty == IR_F32 ? IR_I32 : IR_I64;
}

/* Aux of the instruction's rounding mode; false after an illegal trap. */
static bool rounding(struct rv_lift *l, unsigned *aux)
{
    *aux = l->in.rm;
    if (l->in.rm != IR_RM_DYN || l->f->mode == RV_MODE_PLAIN)
        return true;
    if (l->f->mode == RV_MODE_RMM) {
        *aux = IR_RMM;
        return true;
    }
    rv_lift_illegal(l);
    return false;
}

/* ---- arithmetic ----------------------------------------------------------- */

static void arith(struct rv_lift *l, unsigned op, unsigned ty)
{
    unsigned rm;
    if (!rounding(l, &rm))
        return;
    put_f(l, ty, ir_emit(l->f, op, ty, rm, get_f(l, l->in.rs1, ty), get_f(l, l->in.rs2, ty), 0));
}

/* One operand; bits are or-ed into aux. */
static void arith1(struct rv_lift *l, unsigned op, unsigned ty, unsigned bits)
{
    unsigned rm;
    if (!rounding(l, &rm))
        return;
    put_f(l, ty, ir_emit(l->f, op, ty, rm | bits, get_f(l, l->in.rs1, ty), 0, 0));
}

static void fused(struct rv_lift *l, unsigned ty, unsigned bits)
{
    unsigned rm;
    if (!rounding(l, &rm))
        return;
    put_f(l, ty, ir_emit(l->f, IR_FMA, ty, rm | bits, get_f(l, l->in.rs1, ty),
                         get_f(l, l->in.rs2, ty), get_f(l, l->in.rs3, ty)));
}

static void min_max(struct rv_lift *l, unsigned op, unsigned ty, unsigned aux)
{
    put_f(l, ty, ir_emit(l->f, op, ty, aux, get_f(l, l->in.rs1, ty), get_f(l, l->in.rs2, ty), 0));
}

static void compare(struct rv_lift *l, unsigned ty, unsigned aux)
{
    rv_put_zext(l, ir_emit(l->f, IR_FCMP, IR_I1, aux, get_f(l, l->in.rs1, ty),
                           get_f(l, l->in.rs2, ty), 0));
}

/* ---- signs, moves ----------------------------------------------------------- */

static void sign_inject(struct rv_lift *l, unsigned ty, bool invert)
{
    ir_ref a = get_f(l, l->in.rs1, ty);
    if (l->in.rs1 == l->in.rs2) { /* fmv, fneg */
        put_f(l, ty, invert ? ir_op1(l->f, IR_FNEG, ty, a) : a);
        return;
    }
    ir_ref b = get_f(l, l->in.rs2, ty);
    if (invert)
        b = ir_op1(l->f, IR_FNEG, ty, b);
    put_f(l, ty, ir_op2(l->f, IR_FCPYSGN, ty, a, b));
}

static void sign_xor(struct rv_lift *l, unsigned ty)
{
    ir_ref a = get_f(l, l->in.rs1, ty);
    if (l->in.rs1 == l->in.rs2) { /* fabs */
        put_f(l, ty, ir_op1(l->f, IR_FABS, ty, a));
        return;
    }
    unsigned ity = int_type(ty);
    uint64_t sign = 1ull << (ir_type_bits(ty) - 1);
    ir_ref b = ir_op1(l->f, IR_BITCAST, ity, get_f(l, l->in.rs2, ty));
    b = ir_op2(l->f, IR_AND, ity, b, ir_ki(l->f, ity, sign));
    a = ir_op2(l->f, IR_XOR, ity, ir_op1(l->f, IR_BITCAST, ity, a), b);
    put_f(l, ty, ir_op1(l->f, IR_BITCAST, ty, a));
}

static void move_to_int(struct rv_lift *l, unsigned ty)
{
    ir_ref v = ir_get(l->f, RV_F0 + l->in.rs1);
    if (ty == IR_F64) {
        rv_put(l, ir_op1(l->f, IR_BITCAST, IR_I64, v));
        return;
    }
    v = ir_op1(l->f, IR_FLOW, ty, v);
    rv_put_sext(l, ir_op1(l->f, IR_BITCAST, int_type(ty), v));
}

static void move_from_int(struct rv_lift *l, unsigned ty)
{
    ir_ref v = rv_x(l, l->in.rs1);
    if (ty != IR_F64)
        v = ir_op1(l->f, IR_TRUNC, int_type(ty), v);
    put_f(l, ty, ir_op1(l->f, IR_BITCAST, ty, v));
}

static void classify(struct rv_lift *l, unsigned ty)
{
    rv_put(l, ir_op1(l->f, IR_FCLASS, IR_I64, get_f(l, l->in.rs1, ty)));
}

/* ---- conversions ------------------------------------------------------------ */

/* To an integer; 32-bit results are sign extended, unsigned ones too. */
static void to_int(struct rv_lift *l, unsigned ty, unsigned ity, unsigned bits)
{
    unsigned rm;
    if (!rounding(l, &rm))
        return;
    ir_ref v = ir_emit(l->f, IR_FCVTFI, ity, rm | bits, get_f(l, l->in.rs1, ty), 0, 0);
    if (ity == IR_I64)
        rv_put(l, v);
    else
        rv_put_sext(l, v);
}

static void from_int(struct rv_lift *l, unsigned ty, unsigned ity, unsigned bits)
{
    unsigned rm;
    if (!rounding(l, &rm))
        return;
    ir_ref v = ity == IR_I64 ? rv_x(l, l->in.rs1) : rv_w(l, l->in.rs1);
    put_f(l, ty, ir_emit(l->f, IR_FCVTIF, ty, rm | bits, v, 0, 0));
}

static void convert(struct rv_lift *l, unsigned to, unsigned from)
{
    unsigned rm;
    if (!rounding(l, &rm))
        return;
    put_f(l, to, ir_emit(l->f, IR_FCVTFF, to, rm, get_f(l, l->in.rs1, from), 0, 0));
}

/* ---- fli ---------------------------------------------------------------------- */

/* The constants of fli (Zfa, "Load-Immediate Instructions") as f64; entry 1
 * is the smallest normal number of each format. */
static const double fli_values[32] = {
    -1.0, 0,     0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625, 0.125, 0.25,    0.3125,  0.375,
    0.4375, 0.5, 0.625,   0.75,    0.875,  1.0,    1.25,   1.5,   1.75,    2.0,     2.5,
    3.0,  4.0,   8.0,     16.0,    128.0,  256.0,  0x1p15, 0x1p16, __builtin_inf(), 0};

static void load_constant(struct rv_lift *l, unsigned ty)
{
    enum sf_type t = ty == IR_F16 ? SF_F16 : ty == IR_F32 ? SF_F32 : SF_F64;
    unsigned n = l->in.rs1;
    uint64_t bits;
    if (n == 1) {
        bits = ty == IR_F16 ? 0x0400 : ty == IR_F32 ? 0x00800000 : 0x0010000000000000;
    } else if (n == 31) {
        bits = sf_canonical_nan(t);
    } else {
        struct sf_env env = {0};
        memcpy(&bits, &fli_values[n], sizeof bits);
        bits = sf_to_f(SF_F64, t, bits, &env);
    }
    put_f(l, ty, ir_kf(l->f, ty, bits));
}

/* ---- dispatch ------------------------------------------------------------------ */

#define EACH(name, call)                                                       \
    case RV_##name##_H: { enum { T = IR_F16 }; call; break; }                  \
    case RV_##name##_S: { enum { T = IR_F32 }; call; break; }                  \
    case RV_##name##_D: { enum { T = IR_F64 }; call; break; }

void rv_lift_fp(struct rv_lift *l)
{
    enum { U = IR_FCVT_UNSIGNED };
    switch (l->in.op) {
    EACH(FADD, arith(l, IR_FADD, T))
    EACH(FSUB, arith(l, IR_FSUB, T))
    EACH(FMUL, arith(l, IR_FMUL, T))
    EACH(FDIV, arith(l, IR_FDIV, T))
    EACH(FSQRT, arith1(l, IR_FSQRT, T, 0))
    EACH(FMADD, fused(l, T, 0))
    EACH(FMSUB, fused(l, T, IR_FMA_NEG_ADD))
    EACH(FNMSUB, fused(l, T, IR_FMA_NEG_PROD))
    EACH(FNMADD, fused(l, T, IR_FMA_NEG_PROD | IR_FMA_NEG_ADD))
    EACH(FSGNJ, sign_inject(l, T, false))
    EACH(FSGNJN, sign_inject(l, T, true))
    EACH(FSGNJX, sign_xor(l, T))
    EACH(FMIN, min_max(l, IR_FMIN, T, 0))
    EACH(FMAX, min_max(l, IR_FMAX, T, 0))
    EACH(FMINM, min_max(l, IR_FMIN, T, IR_FMIN_NAN))
    EACH(FMAXM, min_max(l, IR_FMAX, T, IR_FMIN_NAN))
    EACH(FEQ, compare(l, T, IR_EQ))
    EACH(FLT, compare(l, T, IR_LTS | IR_FCMP_SIGNAL))
    EACH(FLE, compare(l, T, IR_LES | IR_FCMP_SIGNAL))
    EACH(FLTQ, compare(l, T, IR_LTS))
    EACH(FLEQ, compare(l, T, IR_LES))
    EACH(FCLASS, classify(l, T))
    EACH(FCVT_W, to_int(l, T, IR_I32, 0))
    EACH(FCVT_WU, to_int(l, T, IR_I32, U))
    EACH(FCVT_L, to_int(l, T, IR_I64, 0))
    EACH(FCVT_LU, to_int(l, T, IR_I64, U))
    EACH(FROUND, arith1(l, IR_FROUND, T, 0))
    EACH(FROUNDNX, arith1(l, IR_FROUND, T, IR_FROUND_EXACT))
    EACH(FLI, load_constant(l, T))
    case RV_FCVT_H_W: from_int(l, IR_F16, IR_I32, 0); break;
    case RV_FCVT_S_W: from_int(l, IR_F32, IR_I32, 0); break;
    case RV_FCVT_D_W: from_int(l, IR_F64, IR_I32, 0); break;
    case RV_FCVT_H_WU: from_int(l, IR_F16, IR_I32, U); break;
    case RV_FCVT_S_WU: from_int(l, IR_F32, IR_I32, U); break;
    case RV_FCVT_D_WU: from_int(l, IR_F64, IR_I32, U); break;
    case RV_FCVT_H_L: from_int(l, IR_F16, IR_I64, 0); break;
    case RV_FCVT_S_L: from_int(l, IR_F32, IR_I64, 0); break;
    case RV_FCVT_D_L: from_int(l, IR_F64, IR_I64, 0); break;
    case RV_FCVT_H_LU: from_int(l, IR_F16, IR_I64, U); break;
    case RV_FCVT_S_LU: from_int(l, IR_F32, IR_I64, U); break;
    case RV_FCVT_D_LU: from_int(l, IR_F64, IR_I64, U); break;
    case RV_FCVT_S_D: convert(l, IR_F32, IR_F64); break;
    case RV_FCVT_D_S: convert(l, IR_F64, IR_F32); break;
    case RV_FCVT_S_H: convert(l, IR_F32, IR_F16); break;
    case RV_FCVT_H_S: convert(l, IR_F16, IR_F32); break;
    case RV_FCVT_D_H: convert(l, IR_F64, IR_F16); break;
    case RV_FCVT_H_D: convert(l, IR_F16, IR_F64); break;
    case RV_FMV_X_H: move_to_int(l, IR_F16); break;
    case RV_FMV_X_W: move_to_int(l, IR_F32); break;
    case RV_FMV_X_D: move_to_int(l, IR_F64); break;
    case RV_FMV_H_X: move_from_int(l, IR_F16); break;
    case RV_FMV_W_X: move_from_int(l, IR_F32); break;
    case RV_FMV_D_X: move_from_int(l, IR_F64); break;
    case RV_FCVTMOD_W_D:
        rv_put(l, ir_op1(l->f, IR_FCVTMOD, IR_I64, get_f(l, l->in.rs1, IR_F64)));
        break;
    default: rv_lift_illegal(l); break;
    }
}
