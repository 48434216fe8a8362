/* x64_fp.c: tier 1, floating point on SSE and AVX, bit-exact.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The exception flags stay sticky in MXCSR, whose rounding field mirrors the
 * guest's dynamic rounding mode; so an operation with the dynamic mode is one
 * instruction. Differences between IR (RISC-V) and x86 are all in results that
 * are NaN or out of range, and are put right in cold code:
 *
 *  - a NaN result must be canonical, but arithmetic and compares do not care:
 *    only where a value escapes (store, sign operation, bit copy, exit) the
 *    user sets X64_V_CANON and the definition tests its result (ucomis, jp);
 *    a state map canonicalises by itself;
 *  - x86's FMA does not raise invalid for inf * 0 + qNaN: a NaN result is
 *    computed again by the reference, unless the product cannot be that;
 *  - minimum and maximum of equal or unordered operands: by the reference;
 *  - conversions to integers that x86 answers with its indefinite value: by
 *    the reference, which saturates. x86 has raised only what is right then.
 *
 * Static rounding modes other than the dynamic one, and f16 arithmetic, go
 * through the reference (x64_emit_slow). A float narrower than 64 bits has
 * garbage above its width in the register.
 */
#include "host/x64/x64_t1.h"

/* ---- flags and rounding ---------------------------------------------- */

/* Guest flags NX UF OF DZ NV and MXCSR's IE DE ZE OE UE PE. */
uint32_t x64_flags_from_mxcsr(uint32_t m)
{
    return (m >> 5 & 1) | (m >> 3 & 2) | (m >> 1 & 4) | (m << 1 & 8) | (m << 4 & 16);
}

uint32_t x64_flags_to_mxcsr(uint32_t f)
{
    return (f & 1) << 5 | (f & 2) << 3 | (f & 4) << 1 | (f & 8) >> 1 | (f & 16) >> 4;
}

uint32_t x64_round_to_mxcsr(uint32_t rm)
{
    /* What the host has no mode for is not done by it. */
    static const uint8_t rc[8] = {[IR_RTZ] = 3, [IR_RDN] = 1, [IR_RUP] = 2};

    return rc[rm & 7];
}

void x64_vcpu_init(struct jit_vcpu *v)
{
    static const uint64_t k[X64_K_COUNT] = {
        [X64_K_SIGN64] = 1ull << 63,         [X64_K_SIGN32] = 1ull << 31,
        [X64_K_ABS64] = ~(1ull << 63),       [X64_K_ABS32] = ~(1ull << 31),
        [X64_K_BOX32] = 0xffffffffull << 32, [X64_K_NAN64] = 0x7ff8ull << 48,
        [X64_K_NAN32] = 0x7fc00000,
    };
    uint8_t *flags = (uint8_t *)v->host_const[X64_K_FLAGS];
    uint8_t *unflags = (uint8_t *)v->host_const[X64_K_UNFLAGS];
    uint8_t *round = (uint8_t *)v->host_const[X64_K_ROUND];

    for (unsigned n = 0; n < X64_K_COUNT; n++)
        v->host_const[n][0] = v->host_const[n][1] = k[n];
    for (unsigned n = 0; n < 64; n++)
        flags[n] = (uint8_t)x64_flags_from_mxcsr(n);
    for (unsigned n = 0; n < 32; n++)
        unflags[n] = (uint8_t)x64_flags_to_mxcsr(n);
    for (unsigned n = 0; n < 8; n++)
        round[n] = (uint8_t)x64_round_to_mxcsr(n);
    v->host_const[X64_K_VERSIONS][0] = (uintptr_t)ir_res.version;
}

/* ---- helpers --------------------------------------------------------- */

/* scalar operation of the float type: f2 (sd) or f3 (ss) prefix */
static uint32_t x64_sop(unsigned ty, unsigned byte)
{
    return X64_OP(1, ty == IR_F64 ? 3u : 2u, byte);
}
/* packed-type operation: 66 prefix for f64 */
static uint32_t x64_pop(unsigned ty, unsigned byte)
{
    return X64_OP(1, ty == IR_F64 ? 1u : 0u, byte);
}

/* d = a op b for a three-operand AVX or two-operand SSE instruction; for SSE
 * the caller has seen to it that b is not d. */
static void x64_f3(struct x64_t1 *t, uint32_t op, unsigned d, unsigned a, unsigned b)
{
    if (x64_cpu(t, X64_CPU_AVX)) {
        x64_vrr(&t->out, op, 0, d, a & 15, b);
        return;
    }
    x64_rr(&t->out, op, 0, d, b);
    x64_mov_reg(t, d, a);
}
static void x64_f3m(struct x64_t1 *t, uint32_t op, unsigned d, unsigned a, struct x64_mem m)
{
    if (x64_cpu(t, X64_CPU_AVX)) {
        x64_vrm(&t->out, op, 0, d, a & 15, m);
        return;
    }
    x64_rm(&t->out, op, 0, d, m);
    x64_mov_reg(t, d, a);
}
/* d = op a (SSE encodings that overwrite d wholly or that AVX merges) */
static void x64_f2(struct x64_t1 *t, uint32_t op, unsigned d, unsigned a)
{
    if (x64_cpu(t, X64_CPU_AVX))
        x64_vrr(&t->out, op, 0, d, a & 15, a);
    else
        x64_rr(&t->out, op, 0, d, a);
}

/* The value read as a float of its type: a FLOW nobody computed is the low
 * bits of its source (in which a NaN's payload shows). */
static ir_ref x64_fsrc(const struct x64_t1 *t, ir_ref r)
{
    const struct ir_ins *i;

    if (ir_is_const(r) || t->val[r].reg != X64_NONE)
        return r;
    i = x64_ins(t, r);
    if (i->op != IR_FLOW)
        return r;
    t->val[i->a].flags |= X64_V_CANON;
    return i->a;
}
static ir_ref x64_escaping(struct x64_t1 *t, ir_ref r)
{
    t->val[r].flags |= X64_V_CANON;
    r = x64_fsrc(t, r);
    t->val[r].flags |= X64_V_CANON;
    return r;
}

static void x64_ucomis(struct x64_t1 *t, unsigned ty, unsigned a, unsigned b, bool signalling)
{
    uint32_t op = x64_pop(ty, signalling ? 0x2f : 0x2e);

    if (x64_cpu(t, X64_CPU_AVX))
        x64_vrr(&t->out, op, 0, a, 0, b);
    else
        x64_rr(&t->out, op, 0, a, b);
}

/* Behind the definition of an escaping value: a NaN becomes the canonical. */
static void x64_canon(struct x64_t1 *t, ir_ref r, unsigned d)
{
    unsigned ty = x64_ins(t, r)->ty;
    uint32_t label;

    if (!(t->val[r].flags & X64_V_CANON))
        return;
    x64_cold_begin(t);
    x64_load_state(t, d, x64_const(ty == IR_F64 ? X64_K_NAN64 : X64_K_NAN32));
    label = x64_cold_end(t);
    x64_jcc_cold(t, CC_P, label);
    x64_ucomis(t, ty, d, d, false);
}

void x64_canon_copy(struct x64_t1 *t, unsigned ty, unsigned x, unsigned s)
{
    uint32_t label;

    x64_cold_begin(t);
    x64_load_state(t, x, x64_const(ty == IR_F64 ? X64_K_NAN64 : X64_K_NAN32));
    label = x64_cold_end(t);
    x64_jcc_cold(t, CC_P, label);
    x64_ucomis(t, ty, x, x, false);
    x64_mov_reg(t, x, s);
}

static unsigned x64_def_fp(struct x64_t1 *t, ir_ref r) { return x64_def(t, r, (uint32_t)X64_FPRS); }

/* True where the rounding mode is the one in MXCSR. */
static bool x64_rm_dyn(const struct ir_ins *i) { return (i->aux & 7) == IR_RM_DYN; }

static struct x64_mem x64_mxcsr(void) { return x64_vcpu(X64_VCPU_DISP(mxcsr)); }
static struct x64_mem x64_kept(void) { return x64_vcpu(X64_VCPU_DISP(fp_kept)); }
static void x64_stmxcsr(struct x64_t1 *t, struct x64_mem m)
{
    x64_rm(&t->out, X64_OP(1, 0, 0xae), 0, 3, m);
}
static void x64_ldmxcsr(struct x64_t1 *t, struct x64_mem m)
{
    x64_rm(&t->out, X64_OP(1, 0, 0xae), 0, 2, m);
}

static bool x64_fty(unsigned ty) { return ty == IR_F32 || ty == IR_F64; }

/* ---- arithmetic ------------------------------------------------------ */

static bool x64_farith(struct x64_t1 *t, ir_ref r, struct ir_ins *i, unsigned byte, bool comm)
{
    unsigned d, ra, rb;
    ir_ref a = x64_fsrc(t, i->a), b = x64_fsrc(t, i->b);

    if (!x64_fty(i->ty) || !x64_rm_dyn(i))
        return false;
    d = x64_def_fp(t, r);
    x64_canon(t, r, d);
    if (x64_cpu(t, X64_CPU_AVX)) {
        ra = x64_use_in(t, a, d);
        rb = x64_use_in(t, b, d);
    } else {
        if (comm && t->val[a].reg != X64_NONE && t->val[b].reg == X64_NONE) {
            ir_ref s = a;
            a = b;
            b = s;
        }
        ra = x64_use_in(t, a, d);
        if (ra != d)
            t->lock |= 1u << d;
        rb = x64_use(t, b);
    }
    x64_f3(t, x64_sop(i->ty, byte), d, ra, rb);
    return true;
}

static bool x64_fsqrt(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d;

    if (!x64_fty(i->ty) || !x64_rm_dyn(i))
        return false;
    d = x64_def_fp(t, r);
    x64_canon(t, r, d);
    x64_f2(t, x64_sop(i->ty, 0x51), d, x64_use(t, x64_fsrc(t, i->a)));
    return true;
}

/* Cold: the operation again by the reference, whose result d takes. */
static uint32_t x64_again(struct x64_t1 *t, struct ir_ins *i, unsigned d)
{
    x64_cold_begin(t);
    x64_slow_call(t, i, d, JIT_STUB_SLOW, -1);
    return x64_cold_end(t);
}

/* Can a times b be infinity times zero? Not a square, nor with a number other than zero. */
static bool x64_may_be_inf_by_0(const struct x64_t1 *t, const struct ir_ins *i)
{
    uint64_t v;

    if (i->a == i->b)
        return false;
    for (int k = 0; k < 2; k++) {
        ir_ref r = k ? i->b : i->a;

        if (!x64_is_number(t, r))
            continue;
        v = i->ty == IR_F64 ? ir_kval(t->f, r) << 1 : ir_kval(t->f, r) << 33;
        if (v && v < (i->ty == IR_F64 ? 0xffeull << 52 : 0xffull << 56))
            return false;
    }
    return true;
}

/* Is FMA i a step of a sum that a loop carries? Then whether there is a NaN is better seen by the
 * factors, which are there early: behind the sum, a test of each round would wait for all rounds
 * before it and fill the processor's queue. */
static bool x64_in_chain(const struct x64_t1 *t, const struct ir_ins *i)
{
    ir_ref c = i->c;

    if (!t->t2 || !x64_cpu(t, X64_CPU_AVX512) || !x64_may_be_inf_by_0(t, i))
        return false;
    for (unsigned depth = 0; depth < 8 && !ir_is_const(c) && x64_ins(t, c)->op == IR_FMA; depth++)
        c = x64_ins(t, c)->c;
    return !ir_is_const(c) && x64_t2_is_header_phi(t, c);
}

bool x64_makes_nans(const struct x64_t1 *t, const struct ir_ins *i)
{
    switch (i->op) {
    case IR_FADD:
    case IR_FSUB:
    case IR_FMUL:
    case IR_FDIV:
    case IR_FSQRT:
    case IR_FROUND:
    case IR_FCVTFF: return true;
    case IR_FMA: return !x64_may_be_inf_by_0(t, i) || x64_in_chain(t, i);
    default: return false;
    }
}

/* EVEX on registers with all exceptions suppressed: op reg, v, rm; v is 0 where there is none. */
static void x64_evex_sae(struct x64_t1 *t, unsigned op, unsigned pp, unsigned w, unsigned reg,
                         unsigned v, unsigned rm)
{
    reg &= 15;
    rm &= 15;
    x64_b(&t->out, 0xc0 | (reg & 7) << 3 | (rm & 7));
    x64_b(&t->out, op);
    x64_b(&t->out, 0x18);
    x64_b(&t->out, w << 7 | (~v & 15) << 3 | 4 | pp);
    x64_b(&t->out, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | 0x10 | 1);
    x64_b(&t->out, 0x62);
}

/* Register x = a * b, raising nothing: {rn-sae}. */
static void x64_evex_mul(struct x64_t1 *t, unsigned ty, unsigned x, unsigned a, unsigned b)
{
    x64_evex_sae(t, 0x59, ty == IR_F64 ? 3 : 2, ty == IR_F64, x, a, b);
}

/* Behind the FMA: cold code is to compute it again if d is a NaN (chain: if the product is). */
static void x64_fma_test(struct x64_t1 *t, struct ir_ins *i, unsigned d, unsigned ra, unsigned rb,
                         bool chain)
{
    unsigned x = d;
    uint32_t label;

    t->lock |= 1u << d;
    if (chain)
        x = x64_temp(t, (uint32_t)X64_FPRS);
    t->fma_again = true;
    label = x64_again(t, i, d);
    t->fma_again = false;
    x64_jcc_cold(t, CC_P, label);
    x64_ucomis(t, i->ty, x, x, false);
    if (chain)
        x64_evex_mul(t, i->ty, x, ra, rb);
}

/* What x86 leaves out (invalid, for infinity times zero and a NaN) is computed again with a NaN for
 * c: the value and c's part in the flags are right already, and it depends on a and b only. So c
 * may be overwritten. Which NaNs a and b are does not matter to either. */
static bool x64_fma(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    bool again = x64_may_be_inf_by_0(t, i);
    unsigned d, ra, rb, rc, op = 0xb9; /* vfmadd231: d = a * b + d */

    if (!x64_fty(i->ty) || !x64_rm_dyn(i) || !x64_cpu(t, X64_CPU_FMA))
        return false;
    d = x64_def_fp(t, r);
    if (!again)
        x64_canon(t, r, d);
    t->lock |= 1u << d; /* a and b are needed when c is in it */
    ra = x64_use(t, i->a);
    rb = x64_use(t, i->b);
    t->lock &= ~(1u << d);
    rc = x64_use_in(t, x64_fsrc(t, i->c), d);
    if (i->aux & IR_FMA_NEG_PROD)
        op += 4;
    if (i->aux & IR_FMA_NEG_ADD)
        op += 2;
    if (again)
        x64_fma_test(t, i, d, ra, rb, !(t->val[r].flags & X64_V_CANON) && x64_in_chain(t, i));
    x64_vrr(&t->out, X64_OP(2, 1, op), i->ty == IR_F64, d, ra & 15, rb);
    x64_mov_reg(t, d, rc);
    return true;
}

static bool x64_fminmax(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d, ra, rb;
    uint32_t label;

    if (!x64_fty(i->ty) || (i->aux & IR_FMIN_NAN))
        return false;
    d = x64_def_fp(t, r);
    t->lock |= 1u << d;
    ra = x64_use(t, i->a);
    rb = x64_use(t, i->b);
    label = x64_again(t, i, d);
    x64_f3(t, x64_sop(i->ty, i->op == IR_FMIN ? 0x5d : 0x5f), d, ra, rb);
    x64_jcc_cold(t, CC_E, label); /* equal or unordered */
    x64_ucomis(t, i->ty, ra, rb, false);
    return true;
}

static bool x64_fround(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    static const uint8_t mode[8] = {[IR_RTZ] = 3, [IR_RDN] = 1, [IR_RUP] = 2, [IR_RM_DYN] = 4};
    unsigned rm = i->aux & 7, d, ra;
    uint32_t op;

    if (!x64_fty(i->ty) || rm == IR_RMM)
        return false;
    d = x64_def_fp(t, r);
    x64_canon(t, r, d);
    ra = x64_use(t, x64_fsrc(t, i->a));
    op = X64_OP(3, 1, i->ty == IR_F64 ? 0x0b : 0x0a);
    x64_b(&t->out, mode[rm] | ((i->aux & IR_FROUND_EXACT) ? 0 : 8));
    x64_f2(t, op, d, ra);
    return true;
}

/* ---- compare --------------------------------------------------------- */

/* A comparison that raises nothing: without such an instruction, MXCSR is put back as it was if
 * there was a NaN. */
static void x64_silent_compare(struct x64_t1 *t, unsigned ty, unsigned a, unsigned b)
{
    uint32_t label;

    if (x64_cpu(t, X64_CPU_AVX512)) {
        x64_evex_sae(t, 0x2e, ty == IR_F64, ty == IR_F64, a, 0, b);
        return;
    }
    x64_cold_begin(t);
    x64_ldmxcsr(t, x64_mxcsr());
    label = x64_cold_end(t);
    x64_jcc_cold(t, CC_P, label);
    x64_ucomis(t, ty, a, b, false);
    x64_stmxcsr(t, x64_mxcsr());
}

/* Less: the operands are swapped so that "above" is false when unordered. */
void x64_emit_fcompare(struct x64_t1 *t, ir_ref cmp)
{
    struct ir_ins *i = x64_ins(t, cmp);
    unsigned ra = x64_use(t, x64_fsrc(t, i->a)), rb = x64_use(t, x64_fsrc(t, i->b));
    unsigned ty = x64_ins(t, i->a)->ty;
    bool swap = (i->aux & 15) != IR_EQ;

    t->val[cmp].flags |= X64_V_FUSED;
    if (i->aux & IR_FCMP_SILENT)
        x64_silent_compare(t, ty, swap ? rb : ra, swap ? ra : rb);
    else
        x64_ucomis(t, ty, swap ? rb : ra, swap ? ra : rb, i->aux & IR_FCMP_SIGNAL);
}

/* ---- signs, bits, boxes ---------------------------------------------- */

static bool x64_fsign(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    bool f64 = i->ty == IR_F64;
    unsigned d, ra, rb, x;

    if (!x64_fty(i->ty))
        return false;
    d = x64_def_fp(t, r);
    if (i->op == IR_FNEG || i->op == IR_FABS) {
        bool neg = i->op == IR_FNEG;
        unsigned k = neg ? (f64 ? X64_K_SIGN64 : X64_K_SIGN32) : (f64 ? X64_K_ABS64 : X64_K_ABS32);

        ra = x64_use_in(t, x64_escaping(t, i->a), d);
        x64_f3m(t, X64_OP(1, 0, neg ? 0x57 : 0x54), d, ra, x64_const(k));
        return true;
    }
    t->lock |= 1u << d;
    ra = x64_use(t, x64_escaping(t, i->a));
    rb = x64_use(t, x64_escaping(t, i->b));
    x = x64_temp(t, (uint32_t)X64_FPRS);
    x64_f3(t, X64_OP(1, 0, 0x56), d, d, x); /* orps */
    x64_f3m(t, X64_OP(1, 0, 0x54), x, rb, x64_const(f64 ? X64_K_SIGN64 : X64_K_SIGN32));
    x64_f3m(t, X64_OP(1, 0, 0x54), d, ra, x64_const(f64 ? X64_K_ABS64 : X64_K_ABS32));
    return true;
}

static bool x64_box(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d, ra;

    if (x64_ins(t, i->a)->ty != IR_F32)
        return false;
    d = x64_def_fp(t, r);
    ra = x64_use_in(t, x64_escaping(t, i->a), d);
    x64_f3m(t, X64_OP(1, 0, 0x56), d, ra, x64_const(X64_K_BOX32)); /* orps */
    return true;
}

static bool x64_unbox(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d, ra, x;
    uint32_t label;

    if (i->ty != IR_F32)
        return false;
    d = x64_def_fp(t, r);
    t->val[i->a].flags |= X64_V_CANON;
    ra = x64_use_in(t, i->a, d);
    x = x64_temp(t, X64_GPRS);
    x64_cold_begin(t);
    x64_load_state(t, d, x64_const(X64_K_NAN32));
    label = x64_cold_end(t);
    x64_jcc_cold(t, CC_NE, label);
    x64_alu_ri(&t->out, ALU_ADD, 0, x, 1); /* high half all ones? */
    x64_shift_i(&t->out, SH_SHR, 1, x, 32);
    x64_rr(&t->out, X64_OP(1, 1, 0x7e), 1, ra, x);
    x64_mov_reg(t, d, ra);
    return true;
}

static bool x64_low(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d = x64_def_fp(t, r);

    t->val[i->a].flags |= X64_V_CANON;
    x64_mov_reg(t, d, x64_use_in(t, i->a, d));
    return true;
}

static bool x64_bitcast(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned from = x64_ins(t, i->a)->ty, d, ra;
    int w = ir_type_bits(i->ty) == 64;

    if (ir_is_float(i->ty) == ir_is_float(from)) {
        d = x64_def(t, r, ir_is_float(i->ty) ? (uint32_t)X64_FPRS : X64_GPRS);
        x64_mov_reg(t, d, x64_use_in(t, i->a, d));
        return true;
    }
    if (ir_is_float(i->ty)) {
        d = x64_def_fp(t, r);
        ra = x64_use(t, x64_src(t, i->a));
        x64_rr(&t->out, X64_OP(1, 1, 0x6e), w, d, ra);
        return true;
    }
    d = x64_def(t, r, X64_GPRS);
    ra = x64_use(t, x64_escaping(t, i->a));
    x64_rr(&t->out, X64_OP(1, 1, 0x7e), w, ra, d);
    return true;
}

/* ---- conversions ----------------------------------------------------- */

static bool x64_fcvt_ff(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned from = x64_ins(t, i->a)->ty, d;

    if (!x64_fty(i->ty) || !x64_fty(from) || from == i->ty)
        return false;
    if (i->ty == IR_F32 && !x64_rm_dyn(i))
        return false; /* widening is exact in any mode */
    d = x64_def_fp(t, r);
    x64_canon(t, r, d);
    x64_f2(t, x64_sop(from, 0x5a), d, x64_use(t, x64_fsrc(t, i->a)));
    return true;
}

/* EVEX scalar conversion between an unsigned integer register and xmm; both
 * ways reg is the destination. */
static void x64_evex_usi(struct x64_t1 *t, unsigned ty, unsigned byte, int w, unsigned reg,
                         unsigned vvvv, unsigned rm)
{
    reg &= 15;
    rm &= 15;
    x64_b(&t->out, 0xc0 | (reg & 7) << 3 | (rm & 7));
    x64_b(&t->out, byte);
    x64_b(&t->out, 0x08);
    x64_b(&t->out, (unsigned)w << 7 | (~vvvv & 15) << 3 | 4 | (ty == IR_F64 ? 3 : 2));
    x64_b(&t->out, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | 0x10 | 1);
    x64_b(&t->out, 0x62);
}

/* x = a rounded to an integral value, by static mode rm; exceptions: whether
 * an inexact result is to be flagged. */
static void x64_round(struct x64_t1 *t, unsigned ty, unsigned x, unsigned a, unsigned rm,
                      bool exceptions)
{
    x64_b(&t->out, x64_round_to_mxcsr(rm) | (exceptions ? 0 : 8));
    x64_f2(t, X64_OP(3, 1, ty == IR_F64 ? 0x0b : 0x0a), x, a);
}

static bool x64_fcvt_fi(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned from = x64_ins(t, i->a)->ty, rm = i->aux & 7, d, ra, x = X64_NONE;
    bool is_unsigned = i->aux & IR_FCVT_UNSIGNED, trunc = rm == IR_RTZ;
    bool rounds = rm == IR_RNE || rm == IR_RDN || rm == IR_RUP;
    int w = i->ty == IR_I64;
    uint32_t label;

    if (!x64_fty(from) || (i->ty != IR_I64 && i->ty != IR_I32) || rm == IR_RMM ||
        (is_unsigned && !x64_cpu(t, X64_CPU_AVX512)) || (is_unsigned && rounds))
        return false;
    d = x64_def(t, r, X64_GPRS);
    ra = x64_use(t, i->a);
    if (rounds)
        x = x64_temp(t, (uint32_t)X64_FPRS);
    label = x64_again(t, i, d);
    if (rounds) {
        /* Out of range is invalid only, never inexact too; but only an f64
         * can be both integral-less and out of the range of an i32. */
        bool twice = from == IR_F64 && !w;

        if (twice)
            x64_round(t, from, x, ra, rm, true);
        x64_jcc_cold(t, CC_O, label);
        x64_alu_ri(&t->out, ALU_CMP, w, d, 1);
        x64_rr(&t->out, x64_sop(from, 0x2c), w, d, x);
        x64_round(t, from, x, ra, rm, !twice);
    } else if (is_unsigned) {
        x64_jcc_cold(t, CC_E, label);
        x64_alu_ri(&t->out, ALU_CMP, w, d, -1);
        x64_evex_usi(t, from, trunc ? 0x78 : 0x79, w, d, 0, ra);
    } else {
        x64_jcc_cold(t, CC_O, label); /* minimum - 1 overflows */
        x64_alu_ri(&t->out, ALU_CMP, w, d, 1);
        x64_rr(&t->out, x64_sop(from, trunc ? 0x2c : 0x2d), w, d, ra);
    }
    return true;
}

static bool x64_fcvt_if(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned from = x64_ins(t, i->a)->ty, d, ra, x, tmp = X64_NONE;
    bool is_unsigned = i->aux & IR_FCVT_UNSIGNED;
    uint32_t label = 0;
    bool checked = !(i->ty == IR_F64 && from == IR_I32) && !x64_rm_dyn(i);

    if (!x64_fty(i->ty) || (from != IR_I64 && from != IR_I32) || (checked && is_unsigned) ||
        (is_unsigned && from == IR_I64 && !x64_cpu(t, X64_CPU_AVX512)))
        return false;
    d = x64_def_fp(t, r);
    t->lock |= 1u << d;
    ra = x64_use(t, x64_src(t, i->a));
    if (checked) {
        tmp = x64_temp(t, X64_GPRS);
        label = x64_again(t, i, d);
    }
    if (is_unsigned && from == IR_I64) {
        x64_evex_usi(t, i->ty, 0x7b, 1, d, d & 15, ra);
    } else if (is_unsigned) {
        x = x64_temp(t, X64_GPRS);
        if (x64_cpu(t, X64_CPU_AVX))
            x64_vrr(&t->out, x64_sop(i->ty, 0x2a), 1, d, d & 15, x);
        else
            x64_rr(&t->out, x64_sop(i->ty, 0x2a), 1, d, x);
        x64_mov(&t->out, 0, x, ra);
    } else if (x64_cpu(t, X64_CPU_AVX)) {
        x64_vrr(&t->out, x64_sop(i->ty, 0x2a), from == IR_I64, d, d & 15, ra);
    } else {
        x64_rr(&t->out, x64_sop(i->ty, 0x2a), from == IR_I64, d, ra);
    }
    /* the conversion merges into d: no dependence on its old value */
    if (x64_cpu(t, X64_CPU_AVX))
        x64_vrr(&t->out, X64_OP(1, 0, 0x57), 0, d, d & 15, d);
    else
        x64_rr(&t->out, X64_OP(1, 0, 0x57), 0, d, d);
    if (checked) {
        /* small enough to be exact in any mode (a >> significand bits is 0 or
         * -1), else by the reference */
        int w = from == IR_I64;

        x64_jcc_cold(t, CC_A, label);
        x64_alu_ri(&t->out, ALU_CMP, w, tmp, 1);
        x64_alu_ri(&t->out, ALU_ADD, w, tmp, 1);
        x64_shift_i(&t->out, SH_SAR, w, tmp, i->ty == IR_F64 ? 53 : 24);
        x64_mov_reg(t, tmp, ra);
    }
    return true;
}

/* ---- environment ----------------------------------------------------- */

/* x = table[x] */
static void x64_byte_table(struct x64_t1 *t, unsigned x, unsigned k)
{
    struct x64_mem m = x64_const(k);

    m.index = (uint8_t)x;
    x64_rm(&t->out, X64_OP(1, 0, 0xb6), 0, x, m);
}

static void x64_flget(struct x64_t1 *t, ir_ref r)
{
    bool keep = t->flags_kept == r;
    struct x64_mem m = keep ? x64_kept() : x64_mxcsr();
    unsigned d;

    if (t->val[r].reg != X64_NONE || t->val[r].flags & X64_V_SPILL) {
        d = x64_def(t, r, X64_GPRS);
        x64_byte_table(t, d, X64_K_FLAGS);
        x64_alu_ri(&t->out, ALU_AND, 0, d, 63);
        x64_rm(&t->out, 0x8b, 0, d, m);
    } else if (!keep) {
        return;
    }
    x64_stmxcsr(t, m);
    if (keep)
        t->flags_kept = IR_NIL;
}

/* Replaces the bits of MXCSR outside keep by x (shifted into place). */
static void x64_mxcsr_bits(struct x64_t1 *t, unsigned x, int32_t keep)
{
    unsigned y = x64_temp(t, X64_GPRS);

    x64_ldmxcsr(t, x64_mxcsr());
    x64_rm(&t->out, 0x89, 0, y, x64_mxcsr());
    x64_alu_rr(&t->out, ALU_OR, 0, y, x);
    x64_alu_ri(&t->out, ALU_AND, 0, y, keep);
    x64_rm(&t->out, 0x8b, 0, y, x64_mxcsr());
    x64_stmxcsr(t, x64_mxcsr());
}

/* The FLGET whose flags FLSET r writes back, if MXCSR is still as it was then but for flags. */
static ir_ref x64_flags_of(const struct x64_t1 *t, ir_ref r)
{
    ir_ref get = x64_ins(t, r)->a;

    if (!ir_is_const(get) && x64_ins(t, get)->op == IR_AND && ir_is_k(t->f, x64_ins(t, get)->b, 31))
        get = x64_ins(t, get)->a;
    if (ir_is_const(get) || x64_ins(t, get)->op != IR_FLGET || t->flags_kept)
        return IR_NIL;
    while (--r > get) {
        unsigned op = x64_ins(t, r)->op;

        if (op == IR_BLOCK || op == IR_RMSET || op == IR_HELPER)
            return IR_NIL;
    }
    return get;
}

/* What a FLGET found, back again: mostly nothing was raised since that had not been before, and
 * to look is a quarter of the price of writing. */
static void x64_flags_back(struct x64_t1 *t, ir_ref get)
{
    unsigned x = x64_temp(t, X64_GPRS);
    uint32_t label;

    t->flags_kept = get;
    x64_cold_begin(t);
    x64_ldmxcsr(t, x64_kept());
    label = x64_cold_end(t);
    x64_jcc_cold(t, CC_NE, label);
    x64_alu_rm(&t->out, ALU_CMP, 0, x, x64_kept());
    x64_rm(&t->out, 0x8b, 0, x, x64_mxcsr());
    x64_stmxcsr(t, x64_mxcsr());
}

static void x64_flset(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    ir_ref get = x64_flags_of(t, r);
    unsigned ra, x;

    if (get) {
        x64_flags_back(t, get);
        return;
    }
    ra = x64_use(t, x64_src(t, i->a));
    x = x64_temp(t, X64_GPRS);
    x64_mxcsr_bits(t, x, ~63);
    x64_byte_table(t, x, X64_K_UNFLAGS);
    x64_alu_ri(&t->out, ALU_AND, 0, x, 31);
    x64_mov(&t->out, 0, x, ra);
}

static struct x64_mem x64_rm_mem(const struct x64_t1 *t)
{
    return x64_vcpu((int32_t)(t->f->guest->fpenv_offset + offsetof(struct ir_fpenv, rm)) -
                    JIT_STATE_BIAS);
}

static void x64_rmset(struct x64_t1 *t, struct ir_ins *i)
{
    unsigned ra = x64_use(t, x64_src(t, i->a)), x = x64_temp(t, X64_GPRS);

    x64_mxcsr_bits(t, x, ~0x6000);
    x64_shift_i(&t->out, SH_SHL, 0, x, 13);
    x64_byte_table(t, x, X64_K_ROUND);
    x64_alu_ri(&t->out, ALU_AND, 0, x, 7);
    x64_mov(&t->out, 0, x, ra);
    x64_rm(&t->out, 0x89, 0, ra, x64_rm_mem(t));
}

/* ---- dispatch -------------------------------------------------------- */

bool x64_emit_fp(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    switch (i->op) {
    case IR_FADD: return x64_farith(t, r, i, 0x58, true);
    case IR_FSUB: return x64_farith(t, r, i, 0x5c, false);
    case IR_FMUL: return x64_farith(t, r, i, 0x59, true);
    case IR_FDIV: return x64_farith(t, r, i, 0x5e, false);
    case IR_FSQRT: return x64_fsqrt(t, r, i);
    case IR_FMA: return x64_fma(t, r, i);
    case IR_FMIN:
    case IR_FMAX: return x64_fminmax(t, r, i);
    case IR_FROUND: return x64_fround(t, r, i);
    case IR_FCMP:
        if (!x64_fty(x64_ins(t, i->a)->ty))
            return false;
        x64_cmp_value(t, r);
        return true;
    case IR_FNEG:
    case IR_FABS:
    case IR_FCPYSGN: return x64_fsign(t, r, i);
    case IR_FCVTFF: return x64_fcvt_ff(t, r, i);
    case IR_FCVTFI: return x64_fcvt_fi(t, r, i);
    case IR_FCVTIF: return x64_fcvt_if(t, r, i);
    case IR_FBOX: return x64_box(t, r, i);
    case IR_FUNBOX: return x64_unbox(t, r, i);
    case IR_FLOW: return x64_low(t, r, i);
    case IR_BITCAST: return x64_bitcast(t, r, i);
    case IR_FLGET: x64_flget(t, r); return true;
    case IR_FLSET: x64_flset(t, r, i); return true;
    case IR_RMGET:
        x64_rm(&t->out, 0x8b, 0, x64_def(t, r, X64_GPRS), x64_rm_mem(t));
        return true;
    case IR_RMSET: x64_rmset(t, i); return true;
    default: return false;
    }
}
