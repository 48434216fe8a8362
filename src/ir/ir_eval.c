/* ir_eval.c: the value of every pure operation. SPDX-License-Identifier: Apache-2.0
 *
 * This is the reference: constant folding and the interpreter both come here, and code
 * generators are tested against it. Everything is total: there is a result for every input.
 * A value is its bits in the low end of a uint64_t with zeros above; floating point is done in
 * integers by base_softfp, so nothing depends on the host's floating-point state.
 */
#include "ir/ir_priv.h"

static enum sf_type ir_sf(unsigned type)
{
    return type == IR_F16 ? SF_F16 : type == IR_F32 ? SF_F32 : SF_F64;
}

static uint64_t ir_sign_bit(unsigned type)
{
    return (uint64_t)1 << (ir_bits(type) - 1);
}

/* ---- integers -------------------------------------------------------- */

/* RISC-V's division: by zero gives all ones, and the dividend as the remainder; the one signed
 * overflow gives the dividend and 0. */
static uint64_t ir_eval_div(unsigned op, unsigned ty, uint64_t a, uint64_t b)
{
    int64_t sa = ir_sval(ty, a), sb = ir_sval(ty, b);

    switch (op) {
    case IR_DIVU: return b ? a / b : ir_mask(ty);
    case IR_REMU: return b ? a % b : a;
    case IR_DIVS: return !sb ? ir_mask(ty) : sb == -1 ? 0 - a : (uint64_t)(sa / sb);
    default: return !sb ? a : sb == -1 ? 0 : (uint64_t)(sa % sb);
    }
}

static uint64_t ir_eval_mulh(unsigned op, unsigned ty, uint64_t a, uint64_t b)
{
    unsigned bits = ir_bits(ty);
    __int128 x = ir_sval(ty, a), y = ir_sval(ty, b);

    if (op == IR_MULHU) return (uint64_t)((unsigned __int128)a * b >> bits);
    if (op == IR_MULHSU) y = (__int128)(unsigned __int128)b;
    return (uint64_t)(x * y >> bits);
}

static uint64_t ir_eval_shift(unsigned op, unsigned ty, uint64_t a, uint64_t b)
{
    unsigned bits = ir_bits(ty), n = (unsigned)b & (bits - 1);

    switch (op) {
    case IR_SHL: return a << n;
    case IR_SHR: return a >> n;
    case IR_SAR: return (uint64_t)(ir_sval(ty, a) >> n);
    case IR_ROR: n = (bits - n) & (bits - 1); break;
    default: break;
    }
    return n ? a << n | a >> (bits - n) : a;
}

static uint64_t ir_eval_clmul(unsigned op, unsigned ty, uint64_t a, uint64_t b)
{
    unsigned __int128 r = 0;

    for (unsigned i = 0; i < ir_bits(ty); i++)
        if (b >> i & 1) r ^= (unsigned __int128)a << i;
    return (uint64_t)(op == IR_CLMULH ? r >> ir_bits(ty) : r);
}

static uint64_t ir_eval_bytes(unsigned op, unsigned ty, uint64_t a)
{
    uint64_t r = 0;
    unsigned bits = ir_bits(ty);

    for (unsigned i = 0; i < bits; i += 8) {
        uint64_t byte = a >> i & 0xff, v = 0;

        if (op == IR_BSWAP) {
            r |= byte << (bits - 8 - i);
            continue;
        }
        if (op == IR_ORCB)
            v = byte ? 0xff : 0;
        else
            for (unsigned k = 0; k < 8; k++) v |= (byte >> k & 1) << (7 - k);
        r |= v << i;
    }
    return r;
}

static uint64_t ir_eval_count(unsigned op, unsigned ty, uint64_t a)
{
    unsigned bits = ir_bits(ty);

    if (op == IR_POPC) return (uint64_t)__builtin_popcountll(a);
    if (!a) return bits;
    if (op == IR_CTZ) return (uint64_t)__builtin_ctzll(a);
    return (uint64_t)__builtin_clzll(a) - (64 - bits);
}

static bool ir_eval_cmp(unsigned cc, unsigned ty, uint64_t a, uint64_t b)
{
    unsigned bits = ir_bits(ty);
    int64_t sa = base_sext(a, bits), sb = base_sext(b, bits);

    switch (cc) {
    case IR_EQ: return a == b;
    case IR_NE: return a != b;
    case IR_LTS: return sa < sb;
    case IR_LES: return sa <= sb;
    case IR_GTS: return sa > sb;
    case IR_GES: return sa >= sb;
    case IR_LTU: return a < b;
    case IR_LEU: return a <= b;
    case IR_GTU: return a > b;
    default: return a >= b;
    }
}

/* ---- floating point -------------------------------------------------- */

static uint64_t ir_eval_fma(unsigned ty, unsigned aux, uint64_t a, uint64_t b, uint64_t c,
                            struct sf_env *e)
{
    /* Flipping a NaN's sign does not show: NaN results are canonical. */
    if (aux & IR_FMA_NEG_PROD) a ^= ir_sign_bit(ty);
    if (aux & IR_FMA_NEG_ADD) c ^= ir_sign_bit(ty);
    return sf_fma(ir_sf(ty), a, b, c, e);
}

static uint64_t ir_eval_fcmp(enum sf_type t, unsigned aux, uint64_t a, uint64_t b, struct sf_env *e)
{
    bool signal = aux & IR_FCMP_SIGNAL;

    switch (aux & 15) {
    case IR_EQ:
        if (signal) /* for its flag */
            sf_le(t, a, b, e);
        return (uint64_t)sf_eq(t, a, b, e);
    case IR_LTS: return (uint64_t)(signal ? sf_lt(t, a, b, e) : sf_ltq(t, a, b, e));
    default: return (uint64_t)(signal ? sf_le(t, a, b, e) : sf_leq(t, a, b, e));
    }
}

/* A narrow value in an f64 register is valid if all bits above are ones. */
static uint64_t ir_eval_unbox(unsigned ty, uint64_t a)
{
    uint64_t ones = ~ir_mask(ty);

    return (a & ones) == ones ? a & ~ones : sf_canonical_nan(ir_sf(ty));
}

static uint64_t ir_eval_fp(unsigned op, unsigned ty, unsigned aty, unsigned aux, uint64_t a,
                           uint64_t b, uint64_t c, struct ir_fpenv *env)
{
    enum sf_type t = ir_sf(ty), at = ir_sf(aty);
    unsigned rm = aux & 7;
    struct sf_env e = {0};
    uint64_t r;

    if (rm == IR_RM_DYN) rm = env->rm;
    e.rm = rm > IR_RMM ? (uint32_t)IR_RNE : rm; /* lifters keep invalid modes away */
    switch (op) {
    case IR_FADD: r = sf_add(t, a, b, &e); break;
    case IR_FSUB: r = sf_sub(t, a, b, &e); break;
    case IR_FMUL: r = sf_mul(t, a, b, &e); break;
    case IR_FDIV: r = sf_div(t, a, b, &e); break;
    case IR_FSQRT: r = sf_sqrt(t, a, &e); break;
    case IR_FMA: r = ir_eval_fma(ty, aux, a, b, c, &e); break;
    case IR_FMIN: r = (aux & IR_FMIN_NAN ? sf_minm : sf_min)(t, a, b, &e); break;
    case IR_FMAX: r = (aux & IR_FMIN_NAN ? sf_maxm : sf_max)(t, a, b, &e); break;
    case IR_FCMP:
        r = ir_eval_fcmp(at, aux, a, b, &e);
        if (aux & IR_FCMP_SILENT) e.flags = 0;
        break;
    case IR_FCVTFF: r = sf_to_f(at, t, a, &e); break;
    case IR_FCVTFI: r = sf_to_int(at, a, (int)ir_bits(ty), !(aux & IR_FCVT_UNSIGNED), &e); break;
    case IR_FCVTIF: r = sf_from_int(t, a, (int)ir_bits(aty), !(aux & IR_FCVT_UNSIGNED), &e); break;
    case IR_FCVTMOD: r = sf_to_int_mod(a, &e); break;
    case IR_FROUND: r = sf_round(t, a, &e, aux & IR_FROUND_EXACT); break;
    default: base_bug(__FILE__, __LINE__, "ir_eval: operation %u is not pure", op);
    }
    env->flags |= e.flags;
    return r;
}

/* ---- entry point ----------------------------------------------------- */

/* High bits of the result may hold anything; the caller masks. */
static uint64_t ir_eval_raw(unsigned op, unsigned ty, unsigned aty, unsigned aux, uint64_t a,
                            uint64_t b, uint64_t c, struct ir_fpenv *env)
{
    switch (op) {
    case IR_ADD: return a + b;
    case IR_SUB: return a - b;
    case IR_MUL: return a * b;
    case IR_MULHS:
    case IR_MULHU:
    case IR_MULHSU: return ir_eval_mulh(op, ty, a, b);
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: return ir_eval_div(op, ty, a, b);
    case IR_AND: return a & b;
    case IR_OR: return a | b;
    case IR_XOR: return a ^ b;
    case IR_NOT: return ~a;
    case IR_NEG: return 0 - a;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: return ir_eval_shift(op, ty, a, b);
    case IR_SEXT: return (uint64_t)ir_sval(aty, a);
    case IR_ZEXT:
    case IR_TRUNC:
    case IR_BITCAST: return a;
    case IR_BSWAP:
    case IR_BREV8:
    case IR_ORCB: return ir_eval_bytes(op, ty, a);
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPC: return ir_eval_count(op, ty, a);
    case IR_CLMUL:
    case IR_CLMULH: return ir_eval_clmul(op, ty, a, b);
    case IR_MINS: return ir_sval(ty, a) < ir_sval(ty, b) ? a : b;
    case IR_MAXS: return ir_sval(ty, a) > ir_sval(ty, b) ? a : b;
    case IR_MINU: return a < b ? a : b;
    case IR_MAXU: return a > b ? a : b;
    case IR_CMP: return ir_eval_cmp(aux, aty, a, b);
    case IR_SEL: return a & 1 ? b : c;
    case IR_FNEG: return a ^ ir_sign_bit(ty);
    case IR_FABS: return a & ~ir_sign_bit(ty);
    case IR_FCPYSGN: return (a & ~ir_sign_bit(ty)) | (b & ir_sign_bit(ty));
    case IR_FCLASS: return sf_classify(ir_sf(aty), a);
    case IR_FBOX: return a | ~ir_mask(aty);
    case IR_FUNBOX: return ir_eval_unbox(ty, a);
    case IR_FLOW: return a;
    default: return ir_eval_fp(op, ty, aty, aux, a, b, c, env);
    }
}

uint64_t ir_eval(unsigned op, unsigned ty, unsigned aty, unsigned aux, uint64_t a, uint64_t b,
                 uint64_t c, struct ir_fpenv *env)
{
    return ir_eval_raw(op, ty, aty, aux, a, b, c, env) & ir_mask(ty);
}
