/* base_softfp.c: reference floating point on integers. SPDX-License-Identifier: Apache-2.0 */

/*
 * One implementation serves all formats. An operand is unpacked into a sign, an exponent e and a
 * significand m with its leading one at bit 63, subnormals included:
 *
 *     value = (-1)^sign * (m / 2^63) * 2^e
 *
 * Operations work on that form and hand an equally normalised result to round_pack, the one place
 * that rounds, detects overflow and underflow, and packs.
 *
 * The widest significand has 53 bits, so the low 11 bits of an unpacked m are zero. Whatever an
 * operation shifts out below bit 0 is or-ed ("jammed") into bit 0: bits below the half-way bit
 * matter only as "zero or not", and bit 0 stays below it as long as at least two spare bits remain
 * after normalisation. Each operation says why they do.
 *
 * Source: IEEE 754-2019 sections 4, 6 and 7; the RISC-V unprivileged specification for what those
 * leave open (see the header).
 */
#include "base/base_softfp.h"

typedef unsigned __int128 u128;

struct sf_fmt {
    int ebits; /* width of the exponent field */
    int mbits; /* width of the fraction field */
    int bias;
    int emax; /* the exponent field of infinities and NaNs */
};

static const struct sf_fmt formats[] = {
    [SF_F16] = {5, 10, 15, 31},
    [SF_F32] = {8, 23, 127, 255},
    [SF_F64] = {11, 52, 1023, 2047},
};

/* Kinds are bits so that the or of the operands' kinds tells whether any is special. */
enum {
    K_FIN = 0, /* finite and not zero */
    K_ZERO = 1,
    K_INF = 2,
    K_NAN = 4,
    K_SNAN = 8, /* always together with K_NAN */
};

struct sf_num {
    uint64_t m; /* bit 63 set; undefined unless K_FIN */
    int32_t e;
    uint8_t sign;
    uint8_t kind;
};

/* ---- packing and unpacking ---- */

static inline uint64_t sign_bit(const struct sf_fmt *f)
{
    return 1ull << (f->ebits + f->mbits);
}

static inline uint64_t value_mask(const struct sf_fmt *f)
{
    return (sign_bit(f) << 1) - 1;
}

static inline uint64_t pack_zero(const struct sf_fmt *f, int sign)
{
    return sign ? sign_bit(f) : 0;
}

static inline uint64_t pack_inf(const struct sf_fmt *f, int sign)
{
    return pack_zero(f, sign) | (uint64_t)f->emax << f->mbits;
}

static inline uint64_t pack_nan(const struct sf_fmt *f)
{
    return (uint64_t)(2 * f->emax + 1) << (f->mbits - 1);
}

/* The result of an operation with a NaN operand; `kinds` is the or of the operands' kinds. */
static inline uint64_t result_nan(const struct sf_fmt *f, int kinds, struct sf_env *e)
{
    if (kinds & K_SNAN) e->flags |= SF_NV;
    return pack_nan(f);
}

static inline uint64_t invalid(const struct sf_fmt *f, struct sf_env *e)
{
    e->flags |= SF_NV;
    return pack_nan(f);
}

static inline struct sf_num unpack(const struct sf_fmt *f, uint64_t a)
{
    uint64_t frac = a << (63 - f->mbits) & ~(1ull << 63);
    int field = a >> f->mbits & f->emax;
    struct sf_num n = {frac | 1ull << 63, field - f->bias, (a & sign_bit(f)) != 0, K_FIN};

    if (field == f->emax) {
        if (!frac)
            n.kind = K_INF;
        else
            n.kind = frac >> 62 ? K_NAN : K_NAN | K_SNAN;
    } else if (field == 0) {
        if (!frac) {
            n.kind = K_ZERO;
        } else {
            int shift = __builtin_clzll(frac);
            n.m = frac << shift;
            n.e = 1 - f->bias - shift;
        }
    }
    return n;
}

static inline uint64_t shift_right_jam(uint64_t m, int n)
{
    if (n == 0) return m;
    return n > 63 ? m != 0 : m >> n | (m << (64 - n) != 0);
}

static inline u128 shift_right_jam128(u128 m, int n)
{
    if (n == 0) return m;
    return n > 127 ? m != 0 : m >> n | (m << (128 - n) != 0);
}

/* What to add to a magnitude before cutting off the bits in `mask` (a row of ones from bit 0).
 * Right for all modes but for a tie under RNE, which must then be made even. */
static inline uint64_t round_addend(uint32_t rm, int sign, uint64_t mask)
{
    switch (rm) {
    case SF_RTZ: return 0;
    case SF_RDN: return sign ? mask : 0;
    case SF_RUP: return sign ? 0 : mask;
    default: return (mask >> 1) + 1;
    }
}

/* Round and pack (-1)^sign * (m / 2^63) * 2^exp. m has bit 63 set; bit 0 may be sticky. */
static uint64_t round_pack(const struct sf_fmt *f, int sign, int exp, uint64_t m, struct sf_env *e)
{
    int cut = 63 - f->mbits;
    uint64_t mask = (1ull << cut) - 1;
    uint64_t add = round_addend(e->rm, sign, mask);
    int field = exp + f->bias;
    bool tiny = false;

    if (field < 1) {
        /* Tiny unless rounding with an unbounded exponent reaches the least normal number. That
         * takes a fraction of all ones, where a tie goes up under RNE as well. */
        tiny = field < 0 || m < -add || !add;
        m = shift_right_jam(m, 1 - field);
        field = 1;
    }
    uint64_t low = m & mask;
    uint64_t kept = (m >> cut) + ((low + add) >> cut);
    if (low) {
        if (e->rm == SF_RNE && low == add) kept &= ~1ull;
        e->flags |= tiny ? SF_NX | SF_UF : SF_NX;
    }
    /* The leading one of `kept` adds one to the field, and a carry out of it another. */
    uint64_t r = ((uint64_t)(field - 1) << f->mbits) + kept;
    if (r >= pack_inf(f, 0)) {
        e->flags |= SF_NX | SF_OF;
        r = pack_inf(f, 0) - !add; /* modes that never add here stop at the greatest finite */
    }
    return r | pack_zero(f, sign);
}

/* ---- addition ---- */

/* The sign of an exact zero that is the sum of x and -x (IEEE 754-2019 section 6.3). */
static inline uint64_t cancelled(const struct sf_fmt *f, const struct sf_env *e)
{
    return pack_zero(f, e->rm == SF_RDN);
}

static uint64_t add_special(const struct sf_fmt *f, struct sf_num x, struct sf_num y, uint64_t a,
                            uint64_t b, struct sf_env *e)
{
    if ((x.kind | y.kind) & K_NAN) return result_nan(f, x.kind | y.kind, e);
    if (x.kind == K_INF) {
        if (y.kind == K_INF && x.sign != y.sign) return invalid(f, e);
        return pack_inf(f, x.sign);
    }
    if (y.kind == K_INF) return pack_inf(f, y.sign);
    if (x.kind != K_ZERO) return a;
    if (y.kind != K_ZERO || x.sign == y.sign) return b;
    return cancelled(f, e);
}

/* Both significands move to bit 62 to leave room for the carry, which leaves 10 zero bits below
 * them. If the exponents differ by two or more, a difference loses at most one leading bit; if
 * they differ by less, nothing is shifted out. */
uint64_t sf_add(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    const struct sf_fmt *f = &formats[t];
    a &= value_mask(f);
    b &= value_mask(f);
    struct sf_num x = unpack(f, a), y = unpack(f, b);

    if (x.kind | y.kind) return add_special(f, x, y, a, b, e);
    if (x.e < y.e || (x.e == y.e && x.m < y.m)) {
        struct sf_num swap = x;
        x = y;
        y = swap;
    }
    uint64_t big = x.m >> 1, small = shift_right_jam(y.m >> 1, x.e - y.e);
    uint64_t sum = x.sign == y.sign ? big + small : big - small;
    if (!sum) return cancelled(f, e);
    int shift = __builtin_clzll(sum);
    return round_pack(f, x.sign, x.e + 1 - shift, sum << shift, e);
}

uint64_t sf_sub(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return sf_add(t, a, b ^ sign_bit(&formats[t]), e);
}

/* ---- multiplication, division, square root ---- */

uint64_t sf_mul(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    const struct sf_fmt *f = &formats[t];
    struct sf_num x = unpack(f, a), y = unpack(f, b);
    int sign = x.sign ^ y.sign, kinds = x.kind | y.kind;

    if (kinds) {
        if (kinds & K_NAN) return result_nan(f, kinds, e);
        if (kinds == (K_INF | K_ZERO)) return invalid(f, e);
        return kinds & K_INF ? pack_inf(f, sign) : pack_zero(f, sign);
    }
    u128 p = (u128)x.m * y.m; /* leading one at bit 126 or 127 */
    uint64_t m = (uint64_t)(p >> 64) | ((uint64_t)p != 0);
    int shift = __builtin_clzll(m);
    return round_pack(f, sign, x.e + y.e + 1 - shift, m << shift, e);
}

/* The quotient of two numbers in [1, 2) lies in (1/2, 2): 63 or 64 bits of it, and the remainder
 * as the sticky bit. */
uint64_t sf_div(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    const struct sf_fmt *f = &formats[t];
    struct sf_num x = unpack(f, a), y = unpack(f, b);
    int sign = x.sign ^ y.sign, kinds = x.kind | y.kind;

    if (kinds) {
        if (kinds & K_NAN) return result_nan(f, kinds, e);
        if (x.kind == y.kind) return invalid(f, e); /* 0 / 0 or inf / inf */
        if (x.kind == K_ZERO || y.kind == K_INF) return pack_zero(f, sign);
        if (y.kind == K_ZERO && x.kind == K_FIN) e->flags |= SF_DZ;
        return pack_inf(f, sign);
    }
    u128 n = (u128)x.m << 63;
    uint64_t q = (uint64_t)(n / y.m);
    uint64_t m = q | (q * y.m != (uint64_t)n);
    int shift = __builtin_clzll(m);
    return round_pack(f, sign, x.e - y.e - shift, m << shift, e);
}

/* Square root of n, bit by bit; *rem gets what is left over. */
static uint32_t isqrt64(uint64_t n, uint64_t *rem)
{
    uint64_t root = 0;
    for (uint64_t bit = 1ull << 62; bit; bit >>= 2) {
        uint64_t trial = root + bit;
        uint64_t take = -(uint64_t)(n >= trial);
        n -= trial & take;
        root = (root >> 1) + (bit & take);
    }
    *rem = n;
    return (uint32_t)root;
}

/* Square root of n >= 2^126, jammed. From the root s of the upper half and its remainder, a
 * division by 2s gives the lower half of the root, at most one too large (P. Zimmermann,
 * "Karatsuba Square Root", 1999). */
static uint64_t isqrt128_jam(u128 n)
{
    uint64_t rem;
    uint64_t s = isqrt64((uint64_t)(n >> 64), &rem); /* 2^31 <= s, rem <= 2s < 2^33 */
    u128 top = (u128)rem << 32 | (uint32_t)((uint64_t)n >> 32);
    uint64_t q = (uint64_t)(top / (2 * s)); /* at most 2^32 */
    uint64_t u = (uint64_t)(top - (u128)q * (2 * s));
    __int128 left = (__int128)((u128)u << 32 | (uint32_t)n) - (__int128)((u128)q * q);
    uint64_t root = (s << 32) + q; /* may wrap to 0 for 2^64; then the correction follows */
    if (left < 0)
        return (root - 1) | 1; /* not exact: for a square the division yields its very root */
    return root | (left != 0);
}

uint64_t sf_sqrt(enum sf_type t, uint64_t a, struct sf_env *e)
{
    const struct sf_fmt *f = &formats[t];
    struct sf_num x = unpack(f, a);

    if (x.kind & K_NAN) return result_nan(f, x.kind, e);
    if (x.kind == K_ZERO) return pack_zero(f, x.sign);
    if (x.sign) return invalid(f, e);
    if (x.kind == K_INF) return pack_inf(f, 0);
    int odd = x.e & 1;
    return round_pack(f, 0, (x.e - odd) / 2, isqrt128_jam((u128)x.m << (63 + odd)), e);
}

/* ---- fused multiply-add ---- */

/* As sf_add in twice the width: product and addend with their leading ones at bit 126. A product
 * has at most 106 bits, so all of it is kept, and the argument of sf_add holds. */
uint64_t sf_fma(enum sf_type t, uint64_t a, uint64_t b, uint64_t c, struct sf_env *e)
{
    const struct sf_fmt *f = &formats[t];
    struct sf_num x = unpack(f, a), y = unpack(f, b), z = unpack(f, c);
    int sign = x.sign ^ y.sign, kinds = x.kind | y.kind;

    if (kinds | z.kind) {
        if (kinds == (K_INF | K_ZERO)) return invalid(f, e); /* even if c is a quiet NaN */
        if ((kinds | z.kind) & K_NAN) return result_nan(f, kinds | z.kind, e);
        if (kinds & K_INF)
            return z.kind == K_INF && z.sign != sign ? invalid(f, e) : pack_inf(f, sign);
        if (z.kind == K_INF) return pack_inf(f, z.sign);
        if (kinds) {
            if (z.kind == K_ZERO && z.sign != sign) return cancelled(f, e);
            return c & value_mask(f);
        }
    }
    u128 p = (u128)x.m * y.m;
    int exp = x.e + y.e + (int)(p >> 127);
    p >>= (int)(p >> 127);
    if (z.kind != K_ZERO) {
        u128 w = (u128)z.m << 63;
        int d = exp - z.e;
        if (d >= 0) {
            w = shift_right_jam128(w, d);
        } else {
            p = shift_right_jam128(p, -d);
            exp = z.e;
        }
        if (sign == z.sign) {
            p += w;
        } else if (p >= w) {
            p -= w;
        } else {
            p = w - p;
            sign = z.sign;
        }
        if (!p) return cancelled(f, e);
    }
    uint64_t hi = (uint64_t)(p >> 64);
    int shift = hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)p);
    p <<= shift;
    return round_pack(f, sign, exp + 1 - shift, (uint64_t)(p >> 64) | ((uint64_t)p != 0), e);
}

/* ---- comparison, minimum, maximum ---- */

/* An integer that orders as the number does, with -0 just below +0. */
static inline int64_t order(enum sf_type t, uint64_t a)
{
    int unused = 63 - formats[t].ebits - formats[t].mbits;
    int64_t v = (int64_t)(a << unused);
    return v < 0 ? v ^ INT64_MAX : v;
}

static inline bool both_zero(enum sf_type t, uint64_t a, uint64_t b)
{
    return !((a | b) & (value_mask(&formats[t]) >> 1));
}

/* Raises what a comparison must; true if unordered. */
static inline bool unordered(enum sf_type t, uint64_t a, uint64_t b, bool quiet, struct sf_env *e)
{
    if (!sf_is_nan(t, a) && !sf_is_nan(t, b)) return false;
    if (!quiet || sf_is_snan(t, a) || sf_is_snan(t, b)) e->flags |= SF_NV;
    return true;
}

static inline int less(enum sf_type t, uint64_t a, uint64_t b, bool quiet, struct sf_env *e)
{
    return !unordered(t, a, b, quiet, e) && order(t, a) < order(t, b) && !both_zero(t, a, b);
}

static inline int less_equal(enum sf_type t, uint64_t a, uint64_t b, bool quiet, struct sf_env *e)
{
    return !unordered(t, a, b, quiet, e) && (order(t, a) <= order(t, b) || both_zero(t, a, b));
}

int sf_eq(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return !unordered(t, a, b, true, e) && (order(t, a) == order(t, b) || both_zero(t, a, b));
}

int sf_lt(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return less(t, a, b, false, e);
}

int sf_le(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return less_equal(t, a, b, false, e);
}

int sf_ltq(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return less(t, a, b, true, e);
}

int sf_leq(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return less_equal(t, a, b, true, e);
}

static inline uint64_t pick(enum sf_type t, uint64_t a, uint64_t b, bool greatest, bool number,
                            struct sf_env *e)
{
    const struct sf_fmt *f = &formats[t];
    bool first = (order(t, a) < order(t, b)) != greatest;

    if (unordered(t, a, b, true, e)) {
        bool a_nan = sf_is_nan(t, a);
        if (!number || (a_nan && sf_is_nan(t, b))) return pack_nan(f);
        first = !a_nan;
    }
    return (first ? a : b) & value_mask(f);
}

uint64_t sf_min(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return pick(t, a, b, false, true, e);
}

uint64_t sf_max(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return pick(t, a, b, true, true, e);
}

uint64_t sf_minm(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return pick(t, a, b, false, false, e);
}

uint64_t sf_maxm(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e)
{
    return pick(t, a, b, true, false, e);
}

/* ---- conversion ---- */

uint64_t sf_to_f(enum sf_type from, enum sf_type to, uint64_t a, struct sf_env *e)
{
    const struct sf_fmt *f = &formats[to];
    struct sf_num x = unpack(&formats[from], a);

    if (x.kind == K_FIN) return round_pack(f, x.sign, x.e, x.m, e);
    if (x.kind & K_NAN) return result_nan(f, x.kind, e);
    return x.kind == K_INF ? pack_inf(f, x.sign) : pack_zero(f, x.sign);
}

/* The magnitude of the finite x (exponent below 64) rounded to an integer. It cannot wrap: with a
 * fraction to round, x has 53 significant bits at most and so is below 2^53. */
static inline uint64_t round_integer(struct sf_num x, uint32_t rm, bool *inexact)
{
    uint64_t whole = 0, part = 1; /* part / 2^64 is the fraction; below 1/2 it is just sticky */

    if (x.e >= 0) {
        whole = x.m >> (63 - x.e);
        part = x.m << x.e << 1;
    } else if (x.e == -1) {
        part = x.m;
    }
    *inexact = part != 0;
    uint64_t add = round_addend(rm, x.sign, UINT64_MAX);
    bool up = part + add < part;
    if (rm == SF_RNE && part == 1ull << 63) up = whole & 1;
    return whole + up;
}

uint64_t sf_to_int(enum sf_type t, uint64_t a, int bits, bool is_signed, struct sf_env *e)
{
    struct sf_num x = unpack(&formats[t], a);
    uint64_t max = UINT64_MAX >> (64 - bits + is_signed); /* greatest result */
    uint64_t low = is_signed ? max + 1 : 0;               /* magnitude of the least */
    uint64_t v = 0;
    bool inexact = false;

    if (x.kind == K_ZERO) return 0;
    if (x.kind == K_FIN && x.e < 64) {
        v = round_integer(x, e->rm, &inexact);
        if (v <= (x.sign ? low : max)) {
            e->flags |= inexact ? SF_NX : 0;
            v = x.sign ? -v : v;
            return bits == 32 ? (uint32_t)v : v;
        }
    }
    e->flags |= SF_NV;
    return x.sign && !(x.kind & K_NAN) ? low : max;
}

uint64_t sf_from_int(enum sf_type t, uint64_t v, int bits, bool is_signed, struct sf_env *e)
{
    if (bits == 32) v = is_signed ? (uint64_t)(int64_t)(int32_t)v : (uint32_t)v;
    if (!v) return 0;
    int sign = is_signed && v >> 63;
    if (sign) v = -v;
    int shift = __builtin_clzll(v);
    return round_pack(&formats[t], sign, 63 - shift, v << shift, e);
}

uint64_t sf_round(enum sf_type t, uint64_t a, struct sf_env *e, bool exact)
{
    const struct sf_fmt *f = &formats[t];
    struct sf_num x = unpack(f, a);
    bool inexact;

    if (x.kind & K_NAN) return result_nan(f, x.kind, e);
    if (x.kind != K_FIN || x.e >= f->mbits) return a & value_mask(f);
    uint64_t v = round_integer(x, e->rm, &inexact);
    if (inexact && exact) e->flags |= SF_NX;
    if (!v) return pack_zero(f, x.sign);
    int shift = __builtin_clzll(v);
    return round_pack(f, x.sign, 63 - shift, v << shift, e);
}

uint64_t sf_to_int_mod(uint64_t a, struct sf_env *e)
{
    struct sf_num x = unpack(&formats[SF_F64], a);
    struct sf_env toward_zero = {e->flags, SF_RTZ};
    uint64_t v = 0;

    sf_to_int(SF_F64, a, 32, true, &toward_zero);
    e->flags = toward_zero.flags;
    if (x.kind != K_FIN || x.e < 0) return 0;
    if (x.e < 64)
        v = x.m >> (63 - x.e);
    else if (x.e < 96)
        v = x.m << (x.e - 63);
    return (uint64_t)(int64_t)(int32_t)(x.sign ? -v : v);
}

/* ---- classification ---- */

uint32_t sf_classify(enum sf_type t, uint64_t a)
{
    const struct sf_fmt *f = &formats[t];
    struct sf_num x = unpack(f, a);

    if (x.kind & K_NAN) return x.kind & K_SNAN ? 1u << 8 : 1u << 9;
    int rank = 2; /* from zero up: 0 zero, 1 subnormal, 2 normal, 3 infinity */
    if (x.kind == K_ZERO)
        rank = 0;
    else if (x.kind == K_INF)
        rank = 3;
    else if (x.e < 1 - f->bias)
        rank = 1;
    return 1u << (x.sign ? 3 - rank : 4 + rank);
}

bool sf_is_nan(enum sf_type t, uint64_t a)
{
    return (a & (value_mask(&formats[t]) >> 1)) > pack_inf(&formats[t], 0);
}

bool sf_is_snan(enum sf_type t, uint64_t a)
{
    return sf_is_nan(t, a) && !(a >> (formats[t].mbits - 1) & 1);
}

uint64_t sf_canonical_nan(enum sf_type t)
{
    return pack_nan(&formats[t]);
}
