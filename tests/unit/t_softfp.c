/* t_softfp.c: checks base_softfp against the host's FPU. SPDX-License-Identifier: Apache-2.0 */

/*
 * Three oracles, none of which shares a method with the code under test:
 *
 *   vectors  rows from the specifications' own sentences, on every host;
 *   SSE      f32 and f64 under RNE, RTZ, RDN and RUP: result and flags of one instruction executed
 *            between ldmxcsr and stmxcsr in one asm, so that no compiler can move it out. x86
 *            detects tininess after rounding, as RISC-V does; NaN results are made canonical here;
 *   x87      everything else goes through a long double rounded to odd (truncated, last bit set if
 *            inexact). With 64 bits of precision and 15 of exponent that holds enough to round to
 *            any of the three formats as if from the exact value. f16 comes out of it by
 *            vcvtps2ph. RMM differs from RNE in ties only, and a tie is where the long double
 *            is the mean of the results under RDN and RUP.
 *
 * Flags under RMM are those under RNE: an overflow or underflow that hinges on a tie has an odd
 * fraction of all ones on its near side, so that RNE rounds it away from zero as well.
 *
 * Usage: t_softfp [seed [random cases per operation]]
 */
#include "base/base_softfp.h"

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum op {
    ADD, SUB, MUL, DIV, SQRT, FMA, CVT, FROM_INT, TO_INT, TO_INT_MOD, ROUND, ROUNDNX,
    MIN, MAX, MINM, MAXM, EQ, LT, LE, LTQ, LEQ, CLASS
};

static const char *const op_names[] = {
    "add", "sub", "mul", "div", "sqrt", "fma", "convert", "from integer", "to integer",
    "to integer modulo", "round", "round exact", "min", "max", "minm", "maxm", "eq", "lt", "le",
    "ltq", "leq", "class",
};
static const char *const type_names[] = {"f16", "f32", "f64"};
static const int ebits[] = {5, 8, 11}, mbits[] = {10, 23, 52};

struct args {
    enum op op;
    enum sf_type t;   /* of the result, or of the operands if the result is no float */
    enum sf_type src; /* CVT: type of the operand */
    int bits;         /* FROM_INT, TO_INT */
    bool is_signed;   /* FROM_INT, TO_INT */
    uint32_t rm;
    uint64_t a, b, c;
};

struct result {
    uint64_t v;
    uint32_t flags;
};

static struct result run(const struct args *x)
{
    struct sf_env e = {0, x->rm};
    enum sf_type t = x->t;
    uint64_t a = x->a, b = x->b, v = 0;

    switch (x->op) {
    case ADD: v = sf_add(t, a, b, &e); break;
    case SUB: v = sf_sub(t, a, b, &e); break;
    case MUL: v = sf_mul(t, a, b, &e); break;
    case DIV: v = sf_div(t, a, b, &e); break;
    case SQRT: v = sf_sqrt(t, a, &e); break;
    case FMA: v = sf_fma(t, a, b, x->c, &e); break;
    case CVT: v = sf_to_f(x->src, t, a, &e); break;
    case FROM_INT: v = sf_from_int(t, a, x->bits, x->is_signed, &e); break;
    case TO_INT: v = sf_to_int(t, a, x->bits, x->is_signed, &e); break;
    case TO_INT_MOD: v = sf_to_int_mod(a, &e); break;
    case ROUND: v = sf_round(t, a, &e, false); break;
    case ROUNDNX: v = sf_round(t, a, &e, true); break;
    case MIN: v = sf_min(t, a, b, &e); break;
    case MAX: v = sf_max(t, a, b, &e); break;
    case MINM: v = sf_minm(t, a, b, &e); break;
    case MAXM: v = sf_maxm(t, a, b, &e); break;
    case EQ: v = (uint64_t)sf_eq(t, a, b, &e); break;
    case LT: v = (uint64_t)sf_lt(t, a, b, &e); break;
    case LE: v = (uint64_t)sf_le(t, a, b, &e); break;
    case LTQ: v = (uint64_t)sf_ltq(t, a, b, &e); break;
    case LEQ: v = (uint64_t)sf_leq(t, a, b, &e); break;
    case CLASS: v = sf_classify(t, a); break;
    }
    return (struct result){v, e.flags};
}

/* ---- reporting ---- */

static long cases, group_cases;
static int failed_groups;
static char why[400]; /* the first failure of the group, or empty */

static void compare(const struct args *x, struct result want)
{
    struct result got = run(x);
    cases++;
    group_cases++;
    if ((got.v == want.v && got.flags == want.flags) || why[0])
        return;
    snprintf(why, sizeof(why),
             "%s %s a=%#llx b=%#llx c=%#llx src=%s bits=%d signed=%d rm=%u: "
             "got %#llx flags %#x, want %#llx flags %#x",
             type_names[x->t], op_names[x->op], (unsigned long long)x->a, (unsigned long long)x->b,
             (unsigned long long)x->c, type_names[x->src], x->bits, x->is_signed, x->rm,
             (unsigned long long)got.v, got.flags, (unsigned long long)want.v, want.flags);
}

static void end_group(const char *type, const char *name)
{
    if (!group_cases && !why[0])
        snprintf(why, sizeof(why), "no case was run");
    if (why[0]) {
        printf("not ok - softfp %s %s: %s\n", type, name, why);
        failed_groups++;
    } else {
        printf("ok - softfp %s %s (%ld cases)\n", type, name, group_cases);
    }
    group_cases = 0;
    why[0] = 0;
}

/* ---- formats, written out apart from the code under test ---- */

static uint64_t exp_max(enum sf_type t) { return (1u << ebits[t]) - 1; }
static uint64_t make(enum sf_type t, int sign, uint64_t exp, uint64_t frac)
{
    return (uint64_t)sign << (ebits[t] + mbits[t]) | exp << mbits[t] |
           (frac & ((1ull << mbits[t]) - 1));
}
static uint64_t canonical(enum sf_type t)
{
    return make(t, 0, exp_max(t), 1ull << (mbits[t] - 1));
}
static uint64_t frac_of(enum sf_type t, uint64_t a) { return a & ((1ull << mbits[t]) - 1); }
static uint64_t exp_of(enum sf_type t, uint64_t a) { return a >> mbits[t] & exp_max(t); }
static int sign_of(enum sf_type t, uint64_t a) { return a >> (ebits[t] + mbits[t]) & 1; }
static bool nan_p(enum sf_type t, uint64_t a)
{
    return exp_of(t, a) == exp_max(t) && frac_of(t, a);
}
static bool snan_p(enum sf_type t, uint64_t a)
{
    return nan_p(t, a) && !(a >> (mbits[t] - 1) & 1);
}
static bool inf_p(enum sf_type t, uint64_t a)
{
    return exp_of(t, a) == exp_max(t) && !frac_of(t, a);
}
static bool zero_p(enum sf_type t, uint64_t a) { return !exp_of(t, a) && !frac_of(t, a); }

/* ---- vectors ---- */

#define ONE64 0x3ff0000000000000
#define QNAN64 0x7ff8000000000000
#define SNAN64 0x7ff0000000000001
#define INF64 0x7ff0000000000000
#define NEG64 0x8000000000000000

static const struct {
    struct args x;
    struct result want;
} vectors[] = {
    /* "the canonical NaN", whatever sign and payload the operands have */
    {{ADD, SF_F64, .a = 0xfff8000000001234, .b = ONE64}, {QNAN64, 0}},
    {{ADD, SF_F32, .a = 0xff812345, .b = 0}, {0x7fc00000, SF_NV}},
    {{CVT, SF_F16, SF_F64, .a = 0xfff8000000001234}, {0x7e00, 0}},
    {{SQRT, SF_F16, .a = 0xbc00}, {0x7e00, SF_NV}},
    {{SQRT, SF_F64, .a = NEG64}, {NEG64, 0}},
    {{DIV, SF_F32, .a = 0x3f800000, .b = 0x80000000}, {0xff800000, SF_DZ}},
    /* "invalid ... even when the addend is a quiet NaN" */
    {{FMA, SF_F64, .a = INF64, .b = 0, .c = QNAN64}, {QNAN64, SF_NV}},
    {{FMA, SF_F32, .a = 0x80000000, .b = 0x7f800000, .c = 0x7fc00000}, {0x7fc00000, SF_NV}},
    /* exact cancellation: -0 under RDN alone */
    {{SUB, SF_F64, .rm = SF_RDN, .a = ONE64, .b = ONE64}, {NEG64, 0}},
    {{SUB, SF_F64, .rm = SF_RMM, .a = ONE64, .b = ONE64}, {0, 0}},
    {{FMA, SF_F16, .rm = SF_RDN, .a = 0x3c00, .b = 0x3c00, .c = 0xbc00}, {0x8000, 0}},
    /* ties: 1 + 2^-53 to even, and away */
    {{ADD, SF_F64, .rm = SF_RNE, .a = ONE64, .b = 0x3ca0000000000000}, {ONE64, SF_NX}},
    {{ADD, SF_F64, .rm = SF_RMM, .a = ONE64, .b = 0x3ca0000000000000}, {ONE64 + 1, SF_NX}},
    {{MUL, SF_F16, .rm = SF_RMM, .a = 1, .b = 0x3800}, {1, SF_NX | SF_UF}},
    {{MUL, SF_F16, .rm = SF_RNE, .a = 1, .b = 0x3800}, {0, SF_NX | SF_UF}},
    /* tininess after rounding: (1 - 2^-12) * 2^-14 is not tiny in f16, (1 - 2^-11) * 2^-14 is */
    {{CVT, SF_F16, SF_F32, .rm = SF_RNE, .a = 0x387ff000}, {0x0400, SF_NX}},
    {{CVT, SF_F16, SF_F32, .rm = SF_RNE, .a = 0x387fe000}, {0x0400, SF_NX | SF_UF}},
    {{CVT, SF_F16, SF_F32, .rm = SF_RTZ, .a = 0x387ff000}, {0x03ff, SF_NX | SF_UF}},
    /* overflow: infinity or the greatest finite, by mode and sign */
    {{CVT, SF_F16, SF_F32, .rm = SF_RMM, .a = 0x477ff000}, {0x7c00, SF_NX | SF_OF}},
    {{CVT, SF_F16, SF_F32, .rm = SF_RDN, .a = 0x7f000000}, {0x7bff, SF_NX | SF_OF}},
    {{CVT, SF_F16, SF_F32, .rm = SF_RDN, .a = 0xff000000}, {0xfc00, SF_NX | SF_OF}},
    {{FROM_INT, SF_F16, .bits = 64, .rm = SF_RTZ, .a = ~0ull}, {0x7bff, SF_NX | SF_OF}},
    {{FROM_INT, SF_F16, .bits = 64, .is_signed = true, .a = ~0ull}, {0xbc00, 0}},
    {{FROM_INT, SF_F64, .bits = 32, .is_signed = true, .a = 0xffffffff80000000},
     {0xc1e0000000000000, 0}},
    {{FROM_INT, SF_F64, .bits = 32, .a = 0xdeadbeef80000000}, {0x41e0000000000000, 0}},
    /* "Domains of float-to-integer conversions and behavior for invalid inputs" */
    {{TO_INT, SF_F64, .bits = 32, .is_signed = true, .a = QNAN64}, {0x7fffffff, SF_NV}},
    {{TO_INT, SF_F64, .bits = 64, .is_signed = true, .a = SNAN64}, {INT64_MAX, SF_NV}},
    {{TO_INT, SF_F64, .bits = 32, .a = QNAN64 | NEG64}, {0xffffffff, SF_NV}},
    {{TO_INT, SF_F64, .bits = 64, .a = INF64}, {~0ull, SF_NV}},
    {{TO_INT, SF_F64, .bits = 64, .a = INF64 | NEG64}, {0, SF_NV}},
    {{TO_INT, SF_F64, .bits = 32, .is_signed = true, .a = INF64 | NEG64}, {0x80000000, SF_NV}},
    {{TO_INT, SF_F32, .bits = 32, .rm = SF_RTZ, .a = 0xbf666666}, {0, SF_NX}},
    {{TO_INT, SF_F32, .bits = 32, .rm = SF_RDN, .a = 0xbf666666}, {0, SF_NV}},
    {{TO_INT, SF_F16, .bits = 32, .is_signed = true, .rm = SF_RMM, .a = 0xc100},
     {0xfffffffd, SF_NX}},
    {{TO_INT, SF_F16, .bits = 32, .is_signed = true, .rm = SF_RNE, .a = 0xc100},
     {0xfffffffe, SF_NX}},
    /* Zfa: fcvtmod.w.d of 2^32 + 2^31 + 1, of -1.5, 2^84 + 2^32 + 2^31 ..., inf */
    {{TO_INT_MOD, SF_F64, .a = 0x41f8000000100000}, {0xffffffff80000001, SF_NV}},
    {{TO_INT_MOD, SF_F64, .rm = SF_RDN, .a = 0xbff8000000000000}, {~0ull, SF_NX}},
    {{TO_INT_MOD, SF_F64, .a = 0x4340000000000001}, {2, SF_NV}},
    {{TO_INT_MOD, SF_F64, .a = 0x4520000000000001}, {0xffffffff80000000, SF_NV}},
    {{TO_INT_MOD, SF_F64, .a = 0x4530000000000001}, {0, SF_NV}},
    {{TO_INT_MOD, SF_F64, .a = INF64}, {0, SF_NV}},
    {{TO_INT_MOD, SF_F64, .a = QNAN64}, {0, SF_NV}},
    {{TO_INT_MOD, SF_F64, .a = 0xc1e0000000000000}, {0xffffffff80000000, 0}},
    /* Zfa: fround keeps the sign of zero and raises no NX; froundnx does */
    {{ROUND, SF_F64, .a = 0xbfe0000000000000}, {NEG64, 0}},
    {{ROUNDNX, SF_F64, .rm = SF_RMM, .a = 0xbfe0000000000000}, {ONE64 | NEG64, SF_NX}},
    {{ROUND, SF_F32, .a = 0xff800001}, {0x7fc00000, SF_NV}},
    /* fmin, fmax, fminm, fmaxm */
    {{MIN, SF_F64, .a = 0, .b = NEG64}, {NEG64, 0}},
    {{MAX, SF_F64, .a = NEG64, .b = 0}, {0, 0}},
    {{MIN, SF_F64, .a = QNAN64, .b = ONE64}, {ONE64, 0}},
    {{MAX, SF_F64, .a = ONE64, .b = SNAN64}, {ONE64, SF_NV}},
    {{MAX, SF_F64, .a = QNAN64 | NEG64, .b = QNAN64 | NEG64}, {QNAN64, 0}},
    {{MINM, SF_F64, .a = ONE64, .b = QNAN64 | 1}, {QNAN64, 0}},
    {{MAXM, SF_F64, .a = ONE64, .b = SNAN64}, {QNAN64, SF_NV}},
    /* comparisons */
    {{EQ, SF_F64, .a = 0, .b = NEG64}, {1, 0}},
    {{EQ, SF_F64, .a = QNAN64, .b = QNAN64}, {0, 0}},
    {{EQ, SF_F64, .a = SNAN64, .b = 0}, {0, SF_NV}},
    {{LT, SF_F64, .a = QNAN64, .b = 0}, {0, SF_NV}},
    {{LTQ, SF_F64, .a = QNAN64, .b = 0}, {0, 0}},
    {{LE, SF_F64, .a = 0, .b = NEG64}, {1, 0}},
    {{LT, SF_F64, .a = NEG64, .b = 0}, {0, 0}},
    {{LEQ, SF_F64, .a = 0, .b = SNAN64}, {0, SF_NV}},
    /* fclass, bits 0 to 9; bits above the format do not matter */
    {{CLASS, SF_F16, .a = 0xfc00}, {1 << 0, 0}},
    {{CLASS, SF_F16, .a = 0x8400}, {1 << 1, 0}},
    {{CLASS, SF_F16, .a = 0x83ff}, {1 << 2, 0}},
    {{CLASS, SF_F16, .a = 0x8000}, {1 << 3, 0}},
    {{CLASS, SF_F16, .a = 0x10000}, {1 << 4, 0}},
    {{CLASS, SF_F32, .a = 0x007fffff}, {1 << 5, 0}},
    {{CLASS, SF_F32, .a = 0x00800000}, {1 << 6, 0}},
    {{CLASS, SF_F32, .a = 0x7f800000}, {1 << 7, 0}},
    {{CLASS, SF_F64, .a = SNAN64}, {1 << 8, 0}},
    {{CLASS, SF_F64, .a = QNAN64 | NEG64}, {1 << 9, 0}},
};

static void test_vectors(void)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        compare(&vectors[i].x, vectors[i].want);
    for (enum sf_type t = SF_F16; t <= SF_F64; t++) {
        uint64_t q = make(t, 1, exp_max(t), 1ull << (mbits[t] - 1)), s = make(t, 0, exp_max(t), 1);
        bool fine = sf_canonical_nan(t) == canonical(t) && sf_is_nan(t, q) && sf_is_nan(t, s) &&
                    !sf_is_snan(t, q) && sf_is_snan(t, s) && !sf_is_nan(t, s - 1) &&
                    !sf_is_snan(t, s - 1) && !sf_is_nan(t, 0);
        if (!fine)
            snprintf(why, sizeof(why), "NaN predicates of %s", type_names[t]);
    }
    struct sf_env e = {SF_DZ, SF_RNE};
    sf_div(SF_F64, ONE64, 0x4008000000000000, &e);
    if (e.flags != (SF_DZ | SF_NX))
        snprintf(why, sizeof(why), "flags do not accrue");
    end_group("all", "vectors");
}

#if defined(__x86_64__)
#include <cpuid.h>

/* ---- SSE oracle ---- */

static bool have_fma, have_f16c;

static void probe_cpu(void)
{
    unsigned a, b, c = 0, d;
    if (__get_cpuid(1, &a, &b, &c, &d) && (c & 1u << 27)) {
        have_fma = c >> 12 & 1;
        have_f16c = c >> 29 & 1;
    }
}

/* All exceptions masked, no flags; the rounding control for RNE, RTZ, RDN and RUP. */
static const uint32_t mxcsr_of[] = {0x1f80, 0x7f80, 0x3f80, 0x5f80};

static uint32_t flags_of(uint32_t csr)
{
    return (csr & 1 ? SF_NV : 0) | (csr & 4 ? SF_DZ : 0) | (csr & 8 ? SF_OF : 0) |
           (csr & 16 ? SF_UF : 0) | (csr & 32 ? SF_NX : 0);
}

#define HOST(name, ret, insn, ...)                                                                 \
    {                                                                                              \
        uint32_t out, normal = 0x1f80;                                                             \
        __asm__ volatile("ldmxcsr %[in]\n\t" insn "\n\tstmxcsr %[out]\n\tldmxcsr %[normal]"        \
                         : [r] "+x"(r), [out] "=m"(out)                                            \
                         : [in] "m"(*csr), [normal] "m"(normal), __VA_ARGS__);                     \
        *csr = out;                                                                                \
        return r;                                                                                  \
    }
#define HOST2(name, type, insn)                                                                    \
    static type name(type r, type b, uint32_t *csr) HOST(name, type, insn " %[b], %[r]", [b] "x"(b))

HOST2(add32, float, "addss")
HOST2(sub32, float, "subss")
HOST2(mul32, float, "mulss")
HOST2(div32, float, "divss")
HOST2(sqrt32, float, "sqrtss")
HOST2(add64, double, "addsd")
HOST2(sub64, double, "subsd")
HOST2(mul64, double, "mulsd")
HOST2(div64, double, "divsd")
HOST2(sqrt64, double, "sqrtsd")
static float fma32(float r, float b, float c, uint32_t *csr)
    HOST(fma32, float, "vfmadd213ss %[c], %[b], %[r]", [b] "x"(b), [c] "x"(c))
static double fma64(double r, double b, double c, uint32_t *csr)
    HOST(fma64, double, "vfmadd213sd %[c], %[b], %[r]", [b] "x"(b), [c] "x"(c))
static double cvt32to64(double r, float b, uint32_t *csr)
    HOST(cvt32to64, double, "cvtss2sd %[b], %[r]", [b] "x"(b))
static float cvt64to32(float r, double b, uint32_t *csr)
    HOST(cvt64to32, float, "cvtsd2ss %[b], %[r]", [b] "x"(b))
static float cvt32to16(float r, float b, uint32_t *csr)
    HOST(cvt32to16, float, "vcvtps2ph $4, %[b], %[r]", [b] "x"(b))

static float f32(uint64_t a)
{
    uint32_t w = (uint32_t)a;
    float f;
    memcpy(&f, &w, 4);
    return f;
}

static double f64(uint64_t a)
{
    double f;
    memcpy(&f, &a, 8);
    return f;
}

static uint64_t bits32(float f)
{
    uint32_t w;
    memcpy(&w, &f, 4);
    return w;
}

static uint64_t bits64(double f)
{
    uint64_t w;
    memcpy(&w, &f, 8);
    return w;
}

static bool sse_result(const struct args *x, struct result *res)
{
    uint32_t csr = mxcsr_of[x->rm];
    uint64_t v;

    if (x->t == SF_F32) {
        float a = f32(x->a), b = f32(x->b), c = f32(x->c), r;
        switch (x->op) {
        case ADD: r = add32(a, b, &csr); break;
        case SUB: r = sub32(a, b, &csr); break;
        case MUL: r = mul32(a, b, &csr); break;
        case DIV: r = div32(a, b, &csr); break;
        case SQRT: r = sqrt32(0, a, &csr); break;
        case FMA: r = fma32(a, b, c, &csr); break;
        default: r = cvt64to32(0, f64(x->a), &csr); break;
        }
        v = bits32(r);
    } else {
        double a = f64(x->a), b = f64(x->b), c = f64(x->c), r;
        switch (x->op) {
        case ADD: r = add64(a, b, &csr); break;
        case SUB: r = sub64(a, b, &csr); break;
        case MUL: r = mul64(a, b, &csr); break;
        case DIV: r = div64(a, b, &csr); break;
        case SQRT: r = sqrt64(0, a, &csr); break;
        case FMA: r = fma64(a, b, c, &csr); break;
        default: r = cvt32to64(0, f32(x->a), &csr); break;
        }
        v = bits64(r);
    }
    *res = (struct result){nan_p(x->t, v) ? canonical(x->t) : v, flags_of(csr)};
    return true;
}

/* ---- x87 oracle ---- */

static const int host_rounding[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

static long double wide(enum sf_type t, uint64_t a)
{
    if (t == SF_F64)
        return f64(a);
    if (t == SF_F32)
        return f32(a);
    int exp = (int)exp_of(t, a);
    int frac = (int)frac_of(t, a);
    float v = exp == 31 ? (frac ? NAN : INFINITY)
                        : exp ? (float)ldexp(frac | 1 << 10, exp - 25) : (float)frac * 0x1p-24f;
    return sign_of(t, a) ? -v : v;
}

/* Rounds the inexact w to odd. */
static long double make_odd(long double w)
{
    union {
        long double w;
        uint64_t m;
    } u = {w};
    u.m |= 1;
    return u.w;
}

static long double compute(const struct args *x)
{
    enum sf_type from = x->op == CVT ? x->src : x->t;
    volatile long double a = 0, b = 0, c = 0, w;

    if (x->op == FROM_INT) {
        uint64_t v = x->bits == 32 ? (uint32_t)x->a : x->a;
        if (!x->is_signed)
            return v;
        return x->bits == 32 ? (int32_t)v : (int64_t)v;
    }
    a = wide(from, x->a);
    b = wide(from, x->b);
    c = wide(from, x->c);
    feclearexcept(FE_ALL_EXCEPT);
    switch (x->op) {
    case ADD: w = a + b; break;
    case SUB: w = a - b; break;
    case MUL: w = a * b; break;
    case DIV: w = a / b; break;
    case SQRT: w = sqrtl(a); break;
    case FMA: w = fmal(a, b, c); break;
    default: w = a; break;
    }
    return w;
}

/* The result of x, not rounded to x->t but to odd; flags are NV and DZ. A zero has the sign that
 * x->rm gives it. */
static long double compute_odd(const struct args *x, uint32_t *flags)
{
    fesetround(x->rm == SF_RDN ? FE_DOWNWARD : FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    long double w = compute(x);
    if (fetestexcept(FE_INEXACT)) {
        fesetround(FE_TOWARDZERO);
        w = make_odd(compute(x));
    }
    *flags = (fetestexcept(FE_INVALID) ? SF_NV : 0) | (fetestexcept(FE_DIVBYZERO) ? SF_DZ : 0);
    fesetround(FE_TONEAREST);
    return w;
}

/* Round w, which may be rounded to odd, to t. */
static struct result narrow(enum sf_type t, uint32_t rm, long double w)
{
    volatile long double from = w;
    volatile double d = 0;
    volatile float f = 0;
    uint64_t v = 0;
    uint32_t csr = 0;

    fesetround(host_rounding[t == SF_F16 ? (uint32_t)SF_RTZ : rm]);
    feclearexcept(FE_ALL_EXCEPT);
    if (t == SF_F64)
        d = (double)from;
    else
        f = (float)from;
    int raised = fetestexcept(FE_INEXACT | FE_OVERFLOW | FE_UNDERFLOW);
    fesetround(FE_TONEAREST);
    if (t == SF_F16) {
        csr = mxcsr_of[rm];
        float odd = raised & FE_INEXACT ? f32(bits32(f) | 1) : f;
        v = bits32(cvt32to16(0, odd, &csr)) & 0xffff;
        return (struct result){v, flags_of(csr)};
    }
    v = t == SF_F64 ? bits64(d) : bits32(f);
    uint32_t flags = raised & FE_INEXACT ? SF_NX : 0;
    flags |= raised & FE_OVERFLOW ? SF_OF : 0;
    flags |= raised & FE_UNDERFLOW ? SF_UF : 0;
    return (struct result){v, flags};
}

static bool any_nan(const struct args *x, bool *signalling)
{
    enum sf_type t = x->op == CVT ? x->src : x->t;
    if (x->op == FROM_INT)
        return *signalling = false;
    bool two = x->op != SQRT && x->op != CVT, three = x->op == FMA;
    *signalling = snan_p(t, x->a) || (two && snan_p(t, x->b)) || (three && snan_p(t, x->c));
    return nan_p(t, x->a) || (two && nan_p(t, x->b)) || (three && nan_p(t, x->c));
}

static struct result x87_result(const struct args *x)
{
    bool signalling;
    uint32_t flags;

    if (any_nan(x, &signalling))
        return (struct result){canonical(x->t), signalling ? SF_NV : 0};
    long double w = compute_odd(x, &flags);
    if (isnan(w))
        return (struct result){canonical(x->t), flags};
    struct result r = narrow(x->t, x->rm, w);
    r.flags |= flags;
    return r;
}

/* A value of t, infinities taken as the power of two that follows the greatest finite value. */
static long double bound(enum sf_type t, uint64_t a)
{
    if (!inf_p(t, a))
        return wide(t, a);
    long double v = ldexpl(1, 1 << (ebits[t] - 1));
    return sign_of(t, a) ? -v : v;
}

/* The result and flags that base_softfp should give for an arithmetic operation or conversion. */
static struct result arith_result(const struct args *x)
{
    struct result r;
    uint32_t flags;

    if (x->rm == SF_RMM) {
        struct args down = *x, up = *x, even = *x;
        down.rm = SF_RDN;
        up.rm = SF_RUP;
        even.rm = SF_RNE;
        r = arith_result(&even);
        if (!(r.flags & SF_NX))
            return r;
        uint64_t lo = arith_result(&down).v, hi = arith_result(&up).v;
        even.rm = SF_RTZ;
        long double mean = (bound(x->t, lo) + bound(x->t, hi)) / 2;
        if (compute_odd(&even, &flags) == mean)
            r.v = mean < 0 ? lo : hi;
        return r;
    }
    bool sse = x->t != SF_F16 && x->op != FROM_INT && (x->op != CVT || x->src + x->t == 3);
    if (!sse || (x->op == FMA && !have_fma) || !sse_result(x, &r))
        r = x87_result(x);
    bool inf_times_zero = (inf_p(x->t, x->a) && zero_p(x->t, x->b)) ||
                          (inf_p(x->t, x->b) && zero_p(x->t, x->a));
    if (x->op == FMA && inf_times_zero)
        r.flags |= SF_NV; /* x86 does not if c is a quiet NaN */
    return r;
}

/* x rounded to an integral value. */
static long double integral(long double x, uint32_t rm)
{
    if (rm == SF_RMM) {
        long double t = truncl(x);
        return fabsl(x - t) >= 0.5L ? t + copysignl(1, x) : t;
    }
    volatile long double from = x, to;
    fesetround(host_rounding[rm]);
    to = rintl(from);
    fesetround(FE_TONEAREST);
    return to;
}

static struct result to_int_result(const struct args *x)
{
    uint64_t max = x->bits == 32 ? (x->is_signed ? INT32_MAX : UINT32_MAX)
                                 : (x->is_signed ? INT64_MAX : UINT64_MAX);
    uint64_t min = x->is_signed ? max + 1 : 0; /* its low `bits` */
    if (nan_p(x->t, x->a))
        return (struct result){max, SF_NV};
    long double v = wide(x->t, x->a), r = integral(v, x->rm);
    if (r > (long double)max)
        return (struct result){max, SF_NV};
    if (r < -(long double)min)
        return (struct result){min, SF_NV};
    uint64_t bits = r < 0 ? -(uint64_t)-r : (uint64_t)r;
    return (struct result){x->bits == 32 ? (uint32_t)bits : bits, r != v ? SF_NX : 0};
}

static struct result to_int_mod_result(const struct args *x)
{
    if (nan_p(SF_F64, x->a) || inf_p(SF_F64, x->a))
        return (struct result){0, SF_NV};
    long double v = f64(x->a), r = truncl(v);
    uint32_t flags = r > INT32_MAX || r < INT32_MIN ? SF_NV : r != v ? SF_NX : 0;
    int64_t rest = (int64_t)fmodl(r, 0x1p32L);
    return (struct result){(uint64_t)(int64_t)(int32_t)(uint32_t)(uint64_t)rest, flags};
}

static struct result round_result(const struct args *x)
{
    if (nan_p(x->t, x->a))
        return (struct result){canonical(x->t), snan_p(x->t, x->a) ? SF_NV : 0};
    long double v = wide(x->t, x->a), r = integral(v, x->rm);
    return (struct result){narrow(x->t, SF_RNE, r).v, x->op == ROUNDNX && r != v ? SF_NX : 0};
}

static struct result minmax_result(const struct args *x)
{
    enum sf_type t = x->t;
    bool a_nan = nan_p(t, x->a), b_nan = nan_p(t, x->b);
    uint32_t flags = snan_p(t, x->a) || snan_p(t, x->b) ? SF_NV : 0;
    long double a = wide(t, x->a), b = wide(t, x->b);
    bool greatest = x->op == MAX || x->op == MAXM;
    bool less = a == b ? sign_of(t, x->a) > sign_of(t, x->b) : a < b;

    if ((a_nan && b_nan) || ((a_nan || b_nan) && (x->op == MINM || x->op == MAXM)))
        return (struct result){canonical(t), flags};
    if (a_nan || b_nan)
        return (struct result){a_nan ? x->b : x->a, flags};
    return (struct result){less != greatest ? x->a : x->b, flags};
}

static struct result compare_result(const struct args *x)
{
    enum sf_type t = x->t;
    long double a = wide(t, x->a), b = wide(t, x->b);
    bool quiet = x->op != LT && x->op != LE;

    if (nan_p(t, x->a) || nan_p(t, x->b))
        return (struct result){0, !quiet || snan_p(t, x->a) || snan_p(t, x->b) ? SF_NV : 0};
    return (struct result){x->op == EQ ? a == b : x->op == LT || x->op == LTQ ? a < b : a <= b, 0};
}

static void check(const struct args *x)
{
    switch (x->op) {
    case TO_INT: compare(x, to_int_result(x)); break;
    case TO_INT_MOD: compare(x, to_int_mod_result(x)); break;
    case ROUND:
    case ROUNDNX: compare(x, round_result(x)); break;
    case MIN:
    case MAX:
    case MINM:
    case MAXM: compare(x, minmax_result(x)); break;
    case EQ:
    case LT:
    case LE:
    case LTQ:
    case LEQ: compare(x, compare_result(x)); break;
    default: compare(x, arith_result(x)); break;
    }
}

/* ---- operands ---- */

static uint64_t rng_state;

static uint64_t rnd(void)
{
    rng_state += 0x9e3779b97f4a7c15;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

#define MAX_EDGES 80
static uint64_t edges[3][MAX_EDGES];
static int edge_count[3];

static void make_edges(enum sf_type t)
{
    int m = mbits[t], bias = (int)exp_max(t) / 2, n = 0;
    uint64_t one = make(t, 0, bias, 0), ones = make(t, 0, 0, ~0ull);
    uint64_t inf = make(t, 0, exp_max(t), 0);
    uint64_t list[] = {
        0, 1, 2, 3, ones / 2, ones / 2 + 1, ones - 1, ones, ones + 1, ones + 2, /* subnormals */
        make(t, 0, 1, ~0ull), make(t, 0, 2, 0), make(t, 0, 2, 1),
        one, one + 1, one - 1, one + 2, make(t, 0, bias, 1ull << (m - 1)), make(t, 0, bias, ~0ull),
        make(t, 0, bias - 1, 0), make(t, 0, bias - 1, 1), make(t, 0, bias - 2, ~0ull),
        make(t, 0, bias + 1, 0), make(t, 0, bias + 1, 1ull << (m - 1)),
        make(t, 0, bias - m, 0), make(t, 0, bias - m - 1, 0), make(t, 0, bias - m - 1, 1),
        make(t, 0, bias + m, 1), make(t, 0, bias + m - 1, 1), make(t, 0, bias + m - 1, ~0ull),
        inf - 1, inf - 2, make(t, 0, exp_max(t) - 1, 0), make(t, 0, exp_max(t) - 2, ~0ull),
        inf, canonical(t), canonical(t) + 1, inf + 1,
    };
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]) && n + 2 <= MAX_EDGES; i++) {
        edges[t][n++] = list[i];
        edges[t][n++] = list[i] | make(t, 1, 0, 0);
    }
    edge_count[t] = n;
}

static uint64_t random_frac(enum sf_type t)
{
    uint64_t r = rnd(), f = rnd();
    switch (r & 3) {
    case 0: return f;
    case 1: return f << (mbits[t] - (r >> 2) % mbits[t]);               /* few leading bits */
    case 2: return (f & 1 ? ~0ull : 0) << (r >> 2) % mbits[t] ^ f >> 63; /* a run of ones */
    default: return 1ull << (r >> 2) % mbits[t] | (f & 3);
    }
}

static uint64_t random_exp(enum sf_type t)
{
    uint64_t r = rnd(), max = exp_max(t);
    switch (r & 3) {
    case 0: return (r >> 2) % (max + 1);
    case 1: return (r >> 2) % 3;
    case 2: return max - 1 - (r >> 2) % 3;
    default: return max / 2 - 4 + (r >> 2) % 9;
    }
}

static uint64_t random_value(enum sf_type t)
{
    uint64_t r = rnd();
    if (r % 16 == 0)
        return edges[t][(r >> 4) % edge_count[t]];
    return make(t, r >> 63, random_exp(t), random_frac(t));
}

/* An exponent field near `e`. */
static uint64_t near(enum sf_type t, int e, int distance)
{
    e += (int)(rnd() % (2 * distance + 1)) - distance;
    return e < 0 ? 0 : e >= (int)exp_max(t) ? exp_max(t) - 1 : (uint64_t)e;
}

/* Operands whose sums cancel and whose products, quotients and sums come out near the ends of the
 * range, or just beside each other. */
static void random_operands(struct args *x)
{
    enum sf_type t = x->t;
    int m = mbits[t], bias = (int)exp_max(t) / 2;
    x->a = random_value(x->op == CVT ? x->src : t);
    x->b = random_value(t);
    x->c = random_value(t);
    int ea = (int)exp_of(t, x->a);
    uint64_t r = rnd(), sign = r >> 63;

    switch (r & 7) {
    case 0: x->b = make(t, sign, near(t, ea, 2), random_frac(t)); break;
    case 1: x->b = make(t, sign, near(t, ea, m + 3), random_frac(t)); break;
    case 2: x->b = make(t, sign, near(t, bias - ea, m), random_frac(t)); break;
    case 3: x->b = make(t, sign, near(t, ea + bias, m), random_frac(t)); break;
    case 4: x->b = make(t, sign, near(t, 3 * bias - ea, 2), random_frac(t)); break;
    case 5: x->b = x->a + (r >> 8) % 5 - 2; break;
    default: break;
    }
    x->b &= make(t, 1, exp_max(t), ~0ull);
    if (x->op != FMA || (r >> 8 & 3) == 0)
        return;
    struct sf_env e = {0, (r >> 10 & 1) ? SF_RDN : SF_RUP};
    uint64_t p = sf_mul(t, x->a, x->b, &e) ^ make(t, r >> 11 & 1, 0, 0);
    int ep = (int)exp_of(t, p);
    switch (r >> 12 & 3) {
    case 0: x->c = p; break;
    case 1: x->c = make(t, sign, near(t, ep, 2), random_frac(t)); break;
    case 2: x->c = make(t, sign, near(t, ep, 2 * m + 4), random_frac(t)); break;
    default: x->c = make(t, sign, near(t, ep + m, 3), random_frac(t)); break;
    }
}

static uint64_t random_int(void)
{
    uint64_t r = rnd(), v = rnd() >> (r & 63);
    switch (r >> 6 & 3) {
    case 0: return v;
    case 1: return -v;
    case 2: return (1ull << (r >> 8 & 63)) + (v & 7) - 4;
    default: return (v & 0xfff) << (r >> 8 & 63) | (r >> 63);
    }
}

/* ---- groups ---- */

static void for_modes(struct args *x)
{
    for (x->rm = SF_RNE; x->rm <= SF_RMM; x->rm++)
        check(x);
}

static void test_op(enum sf_type t, enum op op, long count)
{
    struct args x = {.op = op, .t = t};
    const uint64_t *edge = edges[t];
    int n = edge_count[t];
    bool rounds = op <= FMA;

    for (int i = 0; i < n; i++) {
        x.a = edge[i];
        if (op == SQRT)
            for_modes(&x);
        for (int j = 0; j < n && op != SQRT; j++) {
            x.b = edge[j];
            if (op != FMA && rounds) {
                for_modes(&x);
            } else if (!rounds) {
                check(&x);
            } else {
                /* all triples, modes in turn */
                for (int k = 0; k < n; k++) {
                    x.c = edge[k];
                    x.rm = (uint32_t)(i + j + k + (int)(rng_state % 5)) % 5;
                    check(&x);
                }
            }
        }
    }
    for (long i = 0; i < count; i++) {
        random_operands(&x);
        x.rm = (uint32_t)(rnd() % 5);
        check(&x);
    }
    end_group(type_names[t], op_names[op]);
}

static void test_cvt(enum sf_type t, long count)
{
    for (enum sf_type src = SF_F16; src <= SF_F64; src++) {
        struct args x = {.op = CVT, .t = t, .src = src};
        if (src == t)
            continue;
        for (int i = 0; i < edge_count[src]; i++) {
            x.a = edges[src][i];
            for_modes(&x);
        }
        /* around the edges of the target, in the source's terms */
        for (int i = 0; i < edge_count[t] && src > t; i++) {
            struct sf_env e = {0, SF_RNE};
            uint64_t v = sf_to_f(t, src, edges[t][i], &e);
            uint64_t half = 1ull << (mbits[src] - mbits[t] - 1);
            for (int k = -4; k <= 4; k++)
                for (int d = -1; d <= 1; d++) {
                    x.a = (v + (uint64_t)k * half / 2 + (uint64_t)d) &
                          make(src, 1, exp_max(src), ~0ull);
                    for_modes(&x);
                }
        }
        for (long i = 0; i < count; i++) {
            x.a = random_value(src);
            if (i & 1) /* into the range of the other format */
                x.a = make(src, sign_of(src, x.a),
                           near(src, (int)exp_max(src) / 2,
                                ((int)exp_max(t < src ? t : src) / 2 + mbits[t]) + 2),
                           random_frac(src));
            x.rm = (uint32_t)(rnd() % 5);
            check(&x);
        }
    }
    end_group(type_names[t], op_names[CVT]);
}

static void test_from_int(enum sf_type t, long count)
{
    struct args x = {.op = FROM_INT, .t = t};
    for (int k = 0; k < 4; k++) {
        x.bits = k & 1 ? 32 : 64;
        x.is_signed = k & 2;
        for (int i = 0; i < 64; i++)
            for (int d = -3; d <= 3; d++) {
                x.a = (1ull << i) + (uint64_t)d;
                for_modes(&x);
                x.a = -x.a;
                for_modes(&x);
            }
        for (long i = 0; i < count / 4; i++) {
            x.a = random_int();
            x.rm = (uint32_t)(rnd() % 5);
            check(&x);
        }
    }
    end_group(type_names[t], op_names[FROM_INT]);
}

/* Operations on one operand whose interest lies around powers of two and halves. */
static void check_to_int(struct args *x)
{
    if (x->op != TO_INT) {
        for_modes(x);
        return;
    }
    for (int k = 0; k < 4; k++) {
        x->bits = k & 1 ? 32 : 64;
        x->is_signed = k & 2;
        for_modes(x);
    }
}

static void test_to_int(enum sf_type t, enum op op, long count)
{
    struct args x = {.op = op, .t = t};
    int bias = (int)exp_max(t) / 2;

    for (int i = 0; i < edge_count[t]; i++) {
        x.a = edges[t][i];
        check_to_int(&x);
    }
    for (int e = bias - 4; e < bias + 100 && e < (int)exp_max(t); e++)
        for (int d = -3; d <= 3; d++)
            for (int sign = 0; sign < 2; sign++) {
                x.a = make(t, sign, (uint64_t)e, 0) + (uint64_t)d;
                check_to_int(&x);
                x.a = make(t, sign, (uint64_t)e, 1ull << (mbits[t] - 1)) + (uint64_t)d;
                check_to_int(&x);
            }
    for (long i = 0; i < count / 20; i++) {
        uint64_t r = rnd();
        int e = bias - 3 + (int)(r % 72);
        int point = mbits[t] - (e - bias); /* bits below the binary point */
        uint64_t frac = random_frac(t);
        if (r >> 8 & 1 && point > 0 && point <= mbits[t]) /* one half, or close to it */
            frac = (frac >> point << point | 1ull << (point - 1)) + (r >> 9 & 3) - 1;
        x.a = e < (int)exp_max(t) ? make(t, r >> 63, (uint64_t)e, frac) : random_value(t);
        check_to_int(&x);
    }
    end_group(type_names[t], op_names[op]);
}

/* Operations on one f16, all 65536 of it. */
static void test_exhaustive_f16(void)
{
    struct args x = {.op = SQRT, .t = SF_F16};
    for (x.a = 0; x.a < 0x10000; x.a++) {
        x.rm = (uint32_t)(x.a + rng_state) % 5;
        x.op = SQRT;
        check(&x);
        x.op = ROUNDNX;
        check(&x);
        x.op = TO_INT;
        x.bits = x.a & 1 ? 32 : 64;
        x.is_signed = rnd() & 1;
        check(&x);
    }
    end_group("f16", "all operands of sqrt, round and to integer");
}

static void test_against_host(long count)
{
    probe_cpu();
    for (enum sf_type t = SF_F16; t <= SF_F64; t++)
        make_edges(t);
    for (enum sf_type t = have_f16c ? SF_F16 : SF_F32; t <= SF_F64; t++) {
        for (enum op op = ADD; op <= FMA; op++)
            test_op(t, op, count);
        for (enum op op = MIN; op <= LEQ; op++)
            test_op(t, op, count / 8);
        if (have_f16c)
            test_cvt(t, count / 2);
        test_from_int(t, count);
        test_to_int(t, TO_INT, count);
        test_to_int(t, ROUND, count);
        test_to_int(t, ROUNDNX, count);
    }
    test_to_int(SF_F64, TO_INT_MOD, count);
    if (have_f16c)
        test_exhaustive_f16();
    else
        printf("ok - softfp f16 # SKIP this CPU has no F16C\n");
}

#endif

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) << 20 ^ getpid();
    long count = argc > 2 ? atol(argv[2]) : 70000;

    printf("# seed %llu, %ld random cases per operation\n", (unsigned long long)seed, count);
    test_vectors();
#if defined(__x86_64__)
    rng_state = seed;
    test_against_host(count);
#else
    printf("ok - softfp against the host # SKIP needs x86-64\n");
#endif
    printf("# %ld cases\n", cases);
    return failed_groups ? 1 : 0;
}
