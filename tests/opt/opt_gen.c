/* opt_gen.c: regions for tests of the optimiser (opt_gen.h). SPDX-License-Identifier: Apache-2.0
 *
 * Choices are read from bytes, and zeros once they are used up, so that a fuzzer's small changes
 * make small changes and a shrinker can cut. What comes out is what a former makes of a guest's
 * code: a guest instruction reads slots, computes, and puts; blocks know each other's values
 * through slots only. Instructions are shaped like RISC-V's, whose cost the passes take away:
 * 32-bit results sign-extended into 64-bit slots, boxed floats, shift pairs, compares into slots.
 *
 * Control is structured: sequences, diamonds, arms that leave, loops that count in a slot nobody
 * else writes (x10 to x12 by depth, their limits in x13 to x15), with `break` and `continue`.
 * x9 points into the memory and is rarely written.
 */
#include "opt_gen.h"

#include "ir/ir_priv.h"

#include <stdlib.h>

/* ---- guest ----------------------------------------------------------- */

struct og_state {
    uint64_t x[16], f[8], pc;
    struct ir_fpenv fpenv;
    struct ir_reservation res;
};

#define OG_X(n)                                                                                    \
    {                                                                                              \
        "x" #n, IR_I64, offsetof(struct og_state, x) + 8 * (n)                                     \
    }
#define OG_F(n)                                                                                    \
    {                                                                                              \
        "f" #n, IR_F64, offsetof(struct og_state, f) + 8 * (n)                                     \
    }
static const struct ir_slot og_slots[] = {
    OG_X(0), OG_X(1), OG_X(2),  OG_X(3),  OG_X(4),  OG_X(5),  OG_X(6),  OG_X(7),
    OG_X(8), OG_X(9), OG_X(10), OG_X(11), OG_X(12), OG_X(13), OG_X(14), OG_X(15),
    OG_F(0), OG_F(1), OG_F(2),  OG_F(3),  OG_F(4),  OG_F(5),  OG_F(6),  OG_F(7)};
static const uint8_t og_hot_int[] = {9, 0, 1, 2, 3, 10, 4, 5, 11, 6, 7, 12};
static const uint8_t og_hot_fp[] = {16, 17, 18, 19, 20};

enum { OG_F0 = 16, OG_NX = 10, OG_NF = 8, OG_BASE = 9, OG_COUNT = 10, OG_LIMIT = 13 };

static uint64_t og_sum(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    (void)state;
    return a + 2 * b + 3 * c;
}

static const struct ir_helper og_helpers[] = {{"sum", og_sum, 0}, {"touch", og_sum, IR_HELPER_MEM}};

const struct ir_guest opt_test_guest = {
    .name = "opt-test",
    .slots = og_slots,
    .nslots = BASE_ARRAY_SIZE(og_slots),
    .hot_int = og_hot_int,
    .nhot_int = BASE_ARRAY_SIZE(og_hot_int),
    .hot_fp = og_hot_fp,
    .nhot_fp = BASE_ARRAY_SIZE(og_hot_fp),
    .state_size = sizeof(struct og_state),
    .pc_offset = offsetof(struct og_state, pc),
    .fpenv_offset = offsetof(struct og_state, fpenv),
    .res_offset = offsetof(struct og_state, res),
    .helpers = og_helpers,
    .nhelpers = BASE_ARRAY_SIZE(og_helpers),
    .max_len = 4,
};

/* ---- choices --------------------------------------------------------- */

enum { OG_REFS = 64, OG_INS = 1500, OG_DEPTH = 3 };

/* A place that jumps lead to: before it is placed, who jumps there. */
struct og_label {
    ir_ref block;
    unsigned n;
    struct {
        ir_ref jump;
        uint8_t operand; /* 0 a, 1 b, 2 c */
    } refs[OG_REFS];
};

struct og_loop {
    struct og_loop *outer;
    struct og_label *exit, *next; /* break, continue */
};

struct og {
    struct ir_func *f;
    const uint8_t *p, *end;
    uint64_t pc;
    unsigned depth, nloops; /* of bodies, of loops */
    struct og_loop *loop;   /* the innermost */
    bool over;              /* the current block has ended */
};

static unsigned og_byte(struct og *g)
{
    return g->p < g->end ? *g->p++ : 0;
}
static unsigned og_pick(struct og *g, unsigned n)
{
    return og_byte(g) % n;
}

static uint64_t og_number(struct og *g)
{
    static const uint64_t edges[] = {0,          1,          2,          0xffffffffffffffff,
                                     0x7fffffff, 0x80000000, 0xffffffff, 0xffffffff80000000,
                                     31,         32,         63,         64,
                                     0xff,       0xffff,     3,          0x8000000000000000};
    unsigned how = og_byte(g);

    if (how < 96) return edges[how % 16];
    if (how < 160) return (uint64_t)(int64_t)(int8_t)og_byte(g);
    if (how < 224) return (uint64_t)(int64_t)(int16_t)(og_byte(g) << 8 | how);
    return base_hash64(og_byte(g)) >> how % 61;
}

/* ---- operands -------------------------------------------------------- */

static ir_ref og_x(struct og *g)
{
    unsigned how = og_byte(g);

    if (how % 16 == 15) return ir_ki(g->f, IR_I64, og_number(g));
    return ir_get(g->f, how % 13); /* counters too */
}
static ir_ref og_w(struct og *g)
{
    return ir_op1(g->f, IR_TRUNC, IR_I32, og_x(g));
}
static ir_ref og_fp(struct og *g, unsigned ty)
{
    ir_ref v = ir_get(g->f, OG_F0 + og_pick(g, OG_NF));

    return ty == IR_F64 ? v : ir_op1(g->f, IR_FUNBOX, ty, v);
}

static void og_put(struct og *g, ir_ref v)
{
    unsigned how = og_byte(g), slot = how % OG_NX;

    if (slot == OG_BASE && how < 220) slot = 1;
    switch (ir_ty(g->f, v)) {
    case IR_I64: break;
    case IR_F64: ir_put(g->f, OG_F0 + how % OG_NF, v); return;
    case IR_F16:
    case IR_F32: ir_put(g->f, OG_F0 + how % OG_NF, ir_op1(g->f, IR_FBOX, IR_F64, v)); return;
    case IR_I1: v = ir_op1(g->f, IR_ZEXT, IR_I64, v); break;
    default: v = ir_op1(g->f, IR_SEXT, IR_I64, v); break;
    }
    ir_put(g->f, slot, v);
}

/* Mostly inside the memory. */
static ir_ref og_address(struct og *g)
{
    struct ir_func *f = g->f;
    ir_ref base = ir_get(f, OG_BASE), x;
    unsigned how = og_byte(g);

    switch (how % 8) {
    case 0:
    case 1:
    case 2: return base;
    case 3: return how == 3 + 8 * 31 ? og_x(g) : base;
    case 4: /* a counter, scaled */
        x = ir_get(f, OG_COUNT + how / 8 % 3);
        x = ir_op2(f, IR_AND, IR_I64, x, ir_ki(f, IR_I64, 15));
        return ir_op2(f, IR_ADD, IR_I64, base, ir_op2(f, IR_SHL, IR_I64, x, ir_ki(f, IR_I64, 3)));
    case 5: /* a zero-extended index */
        x = ir_op1(f, IR_ZEXT, IR_I64, ir_op1(f, IR_TRUNC, IR_I8, og_x(g)));
        return ir_op2(f, IR_ADD, IR_I64, ir_op2(f, IR_SHL, IR_I64, x, ir_ki(f, IR_I64, how / 64)),
                      base);
    case 6: /* a 32-bit index */
        x = ir_op2(f, IR_AND, IR_I32, og_w(g), ir_ki(f, IR_I32, 63));
        return ir_op2(f, IR_ADD, IR_I64, base, ir_op1(f, IR_SEXT, IR_I64, x));
    default: return ir_op2(f, IR_ADD, IR_I64, base, ir_ki(f, IR_I64, how));
    }
}

static int32_t og_disp(struct og *g)
{
    unsigned how = og_byte(g);

    return how == 255 ? 0x7fff : (int32_t)(how % 8) * 8 + (how > 200 ? (int32_t)how % 7 : 0) - 16;
}

/* ---- guest instructions ---------------------------------------------- */

static unsigned og_of(struct og *g, const uint8_t *list, unsigned n)
{
    return list[og_pick(g, n)];
}
#define OG_OF(g, ...) og_of(g, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static ir_ref og_alu(struct og *g, unsigned how)
{
    struct ir_func *f = g->f;
    ir_ref a, b, c;
    unsigned n, op;

    switch (how) {
    case 0: return ir_op2(f, IR_ADD, IR_I64, og_x(g), ir_ki(f, IR_I64, og_number(g)));
    case 1:
        op = OG_OF(g, IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_MUL);
        a = og_x(g);
        return ir_op2(f, op, IR_I64, a, og_x(g));
    case 2:
        op = OG_OF(g, IR_ADD, IR_SUB, IR_MUL, IR_AND, IR_OR, IR_XOR);
        a = og_w(g);
        return ir_op2(f, op, IR_I32, a, og_w(g));
    case 3: return ir_op2(f, IR_ADD, IR_I32, og_w(g), ir_ki(f, IR_I32, og_number(g)));
    case 4: return og_w(g); /* sext.w */
    case 5:
        op = OG_OF(g, IR_SHL, IR_SHR, IR_SAR, IR_ROR);
        a = og_x(g);
        return ir_op2(f, op, IR_I64, a, ir_ki(f, IR_I64, og_byte(g) & 63));
    case 6:
        op = OG_OF(g, IR_SHL, IR_SHR, IR_SAR, IR_ROL);
        a = og_w(g);
        n = og_byte(g);
        return ir_op2(f, op, IR_I32, a, n & 128 ? og_w(g) : ir_ki(f, IR_I32, n & 31));
    case 7: /* zext.w, zext.h, scaled indices by two shifts */
        a = ir_op2(f, IR_SHL, IR_I64, og_x(g), ir_ki(f, IR_I64, 32 + 16 * og_pick(g, 2)));
        op = OG_OF(g, IR_SHR, IR_SAR);
        return ir_op2(f, op, IR_I64, a, ir_ki(f, IR_I64, 32 - og_pick(g, 4)));
    case 8:
        a = og_x(g);
        return ir_cmp(f, OG_OF(g, IR_LTS, IR_LTU, IR_EQ, IR_NE, IR_GES), a, og_x(g));
    case 9: return ir_ki(f, IR_I64, og_number(g));
    case 10: /* a rotation of 32 bits in three */
        a = og_w(g);
        n = 1 + og_pick(g, 31);
        if (n % 4 == 0) { /* by a value, which may be 0 */
            b = ir_op2(f, IR_AND, IR_I32, og_w(g), ir_ki(f, IR_I32, n));
            c = ir_op2(f, IR_SHR, IR_I32, a, ir_op1(f, IR_NEG, IR_I32, b));
            b = ir_op2(f, IR_SHL, IR_I32, a, b);
            return ir_op2(f, OG_OF(g, IR_OR, IR_ADD, IR_XOR), IR_I32, b, c);
        }
        b = ir_op2(f, IR_SHL, IR_I32, a, ir_ki(f, IR_I32, n));
        c = ir_op2(f, IR_SHR, IR_I32, a, ir_ki(f, IR_I32, og_pick(g, 8) ? 32 - n : n));
        return ir_op2(f, OG_OF(g, IR_OR, IR_ADD, IR_XOR), IR_I32, b, c);
    case 11:
        op = OG_OF(g, IR_DIVS, IR_DIVU, IR_REMS, IR_REMU);
        a = og_w(g);
        return ir_op2(f, op, IR_I32, a, og_pick(g, 4) ? ir_ki(f, IR_I32, og_number(g)) : og_w(g));
    case 12:
        op = OG_OF(g, IR_DIVS, IR_DIVU, IR_REMS, IR_REMU, IR_MULHS, IR_MULHU, IR_MULHSU);
        a = og_x(g);
        return ir_op2(f, op, IR_I64, a, og_pick(g, 4) ? ir_ki(f, IR_I64, og_number(g)) : og_x(g));
    case 13: /* by a condition */
        a = ir_cmp(f, OG_OF(g, IR_LTS, IR_LTU, IR_EQ, IR_NE), og_x(g), og_x(g));
        b = og_x(g);
        return ir_emit(f, IR_SEL, IR_I64, 0, a, b, og_pick(g, 2) ? ir_ki(f, IR_I64, 0) : og_x(g));
    case 14: /* the same without: a mask */
        a = ir_op1(f, IR_ZEXT, IR_I64, ir_cmp(f, OG_OF(g, IR_LTS, IR_LTU), og_x(g), og_x(g)));
        a = ir_op1(f, IR_NEG, IR_I64, a);
        return ir_op2(f, IR_AND, IR_I64, og_x(g), a);
    case 15: /* least or greatest by comparison */
        a = og_x(g);
        b = og_x(g);
        c = ir_cmp(f, OG_OF(g, IR_LTS, IR_LTU, IR_GES, IR_GTU), a, b);
        return og_pick(g, 2) ? ir_emit(f, IR_SEL, IR_I64, 0, c, a, b)
                             : ir_emit(f, IR_SEL, IR_I64, 0, c, b, a);
    case 16: /* bits from the middle */
        a = ir_op2(f, IR_SHR, IR_I64, og_x(g), ir_ki(f, IR_I64, og_byte(g) & 63));
        return ir_op2(f, IR_AND, IR_I64, a, ir_ki(f, IR_I64, og_number(g)));
    case 17:
        op = OG_OF(g, IR_MINS, IR_MAXS, IR_MINU, IR_MAXU, IR_CLMUL);
        a = og_x(g);
        return ir_op2(f, op, IR_I64, a, og_x(g));
    case 18:
        op = OG_OF(g, IR_CLZ, IR_CTZ, IR_POPC, IR_BSWAP, IR_ORCB, IR_NOT, IR_NEG, IR_BREV8);
        return og_pick(g, 2) ? ir_op1(f, op, IR_I64, og_x(g)) : ir_op1(f, op, IR_I32, og_w(g));
    case 19: return ir_kaddr(f, 0x10000 + 8 * og_byte(g));
    case 20: /* two halves */
        a = ir_op1(f, IR_ZEXT, IR_I64, og_w(g));
        b = ir_op2(f, IR_SHL, IR_I64, og_x(g), ir_ki(f, IR_I64, og_pick(g, 4) ? 32 : 8));
        return ir_op2(f, OG_OF(g, IR_OR, IR_ADD), IR_I64, a, b);
    default: /* a shifted addend, as Zba has */
        n = og_pick(g, 4);
        a = og_pick(g, 2) ? og_x(g) : ir_op1(f, IR_ZEXT, IR_I64, og_w(g));
        return ir_op2(f, IR_ADD, IR_I64, ir_op2(f, IR_SHL, IR_I64, a, ir_ki(f, IR_I64, n)),
                      og_x(g));
    }
}
enum { OG_ALU = 22 };

static ir_ref og_float(struct og *g, unsigned how)
{
    struct ir_func *f = g->f;
    unsigned ty = og_pick(g, 3) == 2 ? IR_F64 : IR_F32, ity = ty == IR_F64 ? IR_I64 : IR_I32;
    unsigned rm = og_pick(g, 8) ? (unsigned)IR_RM_DYN : og_pick(g, 5), op;
    ir_ref a, b;

    switch (how) {
    case 0:
    case 1:
        op = OG_OF(g, IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV);
        a = og_fp(g, ty);
        return ir_emit(f, op, ty, rm, a, og_fp(g, ty), 0);
    case 2:
        a = og_fp(g, ty);
        b = og_fp(g, ty);
        return ir_emit(f, IR_FMA, ty, rm | OG_OF(g, 0, 8, 16, 24), a, b, og_fp(g, ty));
    case 3:
        a = og_fp(g, ty);
        op = OG_OF(g, IR_EQ, IR_LTS | IR_FCMP_SIGNAL, IR_LES | IR_FCMP_SILENT);
        return ir_emit(f, IR_FCMP, IR_I1, op, a, og_fp(g, ty), 0);
    case 4: return ir_emit(f, IR_FCVTFF, ty, rm, og_fp(g, ty == IR_F64 ? IR_F32 : IR_F64), 0, 0);
    case 5: return ir_emit(f, IR_FCVTIF, ty, rm, og_pick(g, 2) ? og_w(g) : og_x(g), 0, 0);
    case 6:
        return ir_emit(f, IR_FCVTFI, og_pick(g, 2) ? IR_I32 : IR_I64, rm | OG_OF(g, 0, 8),
                       og_fp(g, ty), 0, 0);
    case 7: /* to an integer slot, bit by bit */
        a = ir_get(f, OG_F0 + og_pick(g, OG_NF));
        if (ty != IR_F64) a = ir_op1(f, IR_FLOW, ty, a);
        return ir_op1(f, IR_BITCAST, ity, a);
    case 8: return ir_op1(f, IR_BITCAST, ty, ty == IR_F64 ? og_x(g) : og_w(g));
    case 9: a = og_fp(g, ty); return ir_op2(f, IR_FCPYSGN, ty, a, og_fp(g, ty));
    case 10: return ir_op1(f, OG_OF(g, IR_FNEG, IR_FABS), ty, og_fp(g, ty));
    case 11:
        op = OG_OF(g, IR_FMIN, IR_FMAX);
        a = og_fp(g, ty);
        return ir_emit(f, op, ty, 0, a, og_fp(g, ty), 0);
    case 12: return og_fp(g, ty); /* a move through a box */
    case 13: return ir_emit(f, IR_FSQRT, ty, rm, og_fp(g, ty), 0, 0);
    case 14: return ir_op1(f, IR_FCLASS, IR_I64, og_fp(g, ty));
    default: return ir_kf(f, ty, ty == IR_F64 ? og_number(g) << 48 : og_number(g) << 20);
    }
}
enum { OG_FLOAT = 16 };

static void og_imark(struct og *g)
{
    ir_imark(g->f, g->pc, 4);
    g->pc += 4;
}

static void og_memory(struct og *g, unsigned how)
{
    static const uint8_t types[] = {IR_I64, IR_I32, IR_I8, IR_I16, IR_F32, IR_F64, IR_I32, IR_I64};
    struct ir_func *f = g->f;
    unsigned ty = types[how % 8];
    ir_ref a = og_address(g), v;

    if (how / 8 % 2) { /* a store of a slot's low part */
        v = ir_is_float(ty) ? ir_get(f, OG_F0 + og_pick(g, OG_NF)) : og_x(g);
        if (ty == IR_F32)
            v = ir_op1(f, IR_FLOW, ty, v);
        else if (ir_is_int(ty) && ty != IR_I64)
            v = ir_op1(f, IR_TRUNC, ty, v);
        ir_st(f, IR_AS_GUEST, a, og_disp(g), v);
        return;
    }
    v = ir_ld(f, ty, how == 18 ? IR_ACQUIRE : 0, a, og_disp(g));
    if (ir_is_int(ty) && ty != IR_I64 && og_pick(g, 3) == 2) v = ir_op1(f, IR_ZEXT, IR_I64, v);
    og_put(g, v);
}

/* A word stored in pieces, one of which may be missing, and then loaded. */
static void og_pieces(struct og *g)
{
    static const uint8_t types[] = {IR_I16, IR_I32, IR_I64}, parts[] = {IR_I8, IR_I16, IR_I32};
    struct ir_func *f = g->f;
    ir_ref a = og_address(g);
    int32_t disp = og_disp(g), at = 0;
    unsigned ty = types[og_pick(g, 3)], missing = og_pick(g, 16);
    int32_t size = (int32_t)ir_type_bits(ty) / 8;

    for (unsigned n = 0; at < size; n++) {
        unsigned part = parts[og_pick(g, 3)];

        if (at + (int32_t)ir_type_bits(part) / 8 > size) part = IR_I8;
        if (n != missing)
            ir_st(f, IR_AS_GUEST, a, disp + at, ir_op1(f, IR_TRUNC, part, og_x(g)));
        at += (int32_t)ir_type_bits(part) / 8;
        og_imark(g);
    }
    og_put(g, ir_ld(f, ty, 0, a, disp));
}

/* A comparison with the flags saved around it, and now and then something else. */
static void og_quiet(struct og *g)
{
    struct ir_func *f = g->f;
    unsigned ty = OG_OF(g, IR_F32, IR_F64), what = og_pick(g, 8);
    ir_ref a = ir_emit(f, IR_FADD, ty, IR_RM_DYN, og_fp(g, ty), og_fp(g, ty), 0), flags, b;

    b = og_pick(g, 4) ? ir_kf(f, ty, 0) : og_fp(g, ty);
    flags = ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0);
    og_put(g, flags);
    og_imark(g);
    if (what == 0) og_put(g, ir_emit(f, IR_FMUL, ty, IR_RM_DYN, a, a, 0));
    og_put(g, ir_emit(f, IR_FCMP, IR_I1, IR_LTS | IR_FCMP_SIGNAL, a, b, 0));
    og_imark(g);
    if (what == 1) og_put(g, ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0));
    ir_emit(f, IR_FLSET, IR_NONE, 0, what == 2 ? og_x(g) : flags, 0, 0);
}

/* A word loaded in bytes and put together, in one of both orders, signed or not, by OR or by sums;
 * something may stand between, or a byte be another than it should. */
static void og_bytes(struct og *g)
{
    struct ir_func *f = g->f;
    unsigned n = 2 + og_pick(g, 7), how = og_byte(g), odd = og_pick(g, 64);
    ir_ref a = og_address(g), all = IR_NIL, other = og_address(g), sum = IR_NIL;
    int32_t disp = og_disp(g);

    for (unsigned k = 0; k < n; k++) {
        unsigned at = how & 1 ? n - 1 - k : k, shift = 8 * k;
        ir_ref v;

        if (k == odd) at ^= 1;
        if (k + 8 == odd) a = og_address(g);
        og_imark(g);
        if (k + 16 == odd) og_memory(g, og_byte(g) % 56);
        og_imark(g);
        v = ir_ld(f, IR_I8, IR_AS_GUEST, a, disp + (int32_t)at);
        v = ir_op1(f, k + 24 == odd ? IR_SEXT : IR_ZEXT, IR_I64, v);
        og_put(g, v);
        og_imark(g);
        if (k == 3 && n == 4 && how & 2) {
            v = ir_op1(f, IR_TRUNC, IR_I32, v);
            v = ir_op2(f, IR_SHL, IR_I32, v, ir_ki(f, IR_I32, shift));
            v = ir_op1(f, IR_SEXT, IR_I64, v);
        } else {
            v = ir_op2(f, IR_SHL, IR_I64, v, ir_ki(f, IR_I64, k + 32 == odd ? shift + 1 : shift));
        }
        all = all ? ir_op2(f, how & 4 ? IR_ADD : how & 8 ? IR_XOR : IR_OR, IR_I64, all, v) : v;
        og_put(g, all);
        if (!(how & 16)) continue;
        og_imark(g);
        v = ir_op1(f, IR_ZEXT, IR_I64, ir_ld(f, IR_I8, IR_AS_GUEST, other, disp + (int32_t)k));
        v = ir_op2(f, IR_SHL, IR_I64, v, ir_ki(f, IR_I64, shift));
        sum = sum ? ir_op2(f, IR_OR, IR_I64, sum, v) : v;
        og_put(g, sum);
    }
    og_imark(g);
}

/* What keeps its place: atomics, fences, flags, helpers. */
static void og_effect(struct og *g)
{
    struct ir_func *f = g->f;
    ir_ref a;

    switch (og_pick(g, 9)) {
    case 0:
        a = ir_op2(f, IR_AND, IR_I64, og_address(g), ir_ki(f, IR_I64, ~(uint64_t)3));
        og_put(g, ir_emit(f, IR_AMO, IR_I32, IR_AMO_ADD << IR_AMO_SHIFT, a, og_w(g), 0));
        break;
    case 1:
        a = ir_op2(f, IR_AND, IR_I64, og_address(g), ir_ki(f, IR_I64, ~(uint64_t)7));
        og_put(g, ir_emit(f, IR_CAS, IR_I64, 0, a, og_x(g), og_x(g)));
        break;
    case 2: og_put(g, ir_emit(f, IR_LR, IR_I64, 0, ir_get(f, OG_BASE), 0, 0)); break;
    case 3:
        og_put(g, ir_emit(f, IR_SC, IR_I64, IR_SC_CONSTRAINED, ir_get(f, OG_BASE), og_x(g), 0));
        break;
    case 4: ir_emit(f, IR_FENCE, IR_NONE, 15, 0, 0, 0); break;
    case 5: og_put(g, ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0)); break;
    case 6: ir_emit(f, IR_FLSET, IR_NONE, 0, og_x(g), 0, 0); break;
    case 7: og_quiet(g); break;
    default:
        a = og_x(g);
        og_put(g, ir_emit(f, IR_HELPER, IR_I64, og_pick(g, 2), a, og_x(g), 0));
        break;
    }
}

static void og_instruction(struct og *g)
{
    unsigned how = og_byte(g);

    og_imark(g);
    if (how < 128)
        og_put(g, og_alu(g, how % OG_ALU));
    else if (how < 180)
        og_put(g, og_float(g, how % OG_FLOAT));
    else if (how < 236)
        og_memory(g, how - 180);
    else if (how < 239)
        og_pieces(g);
    else if (how < 244)
        og_bytes(g);
    else
        og_effect(g);
}

/* ---- control --------------------------------------------------------- */

static void og_refer(struct og *g, struct og_label *l, ir_ref jump, unsigned operand)
{
    struct ir_ins *i = &g->f->ins[jump];

    if (l->block) {
        *(operand == 0 ? &i->a : operand == 1 ? &i->b : &i->c) = l->block;
        return;
    }
    BASE_ASSERT(l->n < OG_REFS);
    l->refs[l->n].jump = jump;
    l->refs[l->n++].operand = (uint8_t)operand;
}

static void og_jump(struct og *g, struct og_label *l)
{
    og_refer(g, l, ir_emit(g->f, IR_JMP, IR_NONE, 0, 0, 0, 0), 0);
    g->over = true;
}

static void og_branch(struct og *g, ir_ref cond, struct og_label *yes, struct og_label *no)
{
    ir_ref r = ir_emit(g->f, IR_BR, IR_NONE, 0, cond, 0, 0);

    og_refer(g, yes, r, 1);
    og_refer(g, no, r, 2);
    g->over = true;
}

/* The label's block begins; the one before goes on there. Nothing may lead there: then what
 * follows is not to be made. */
static void og_place(struct og *g, struct og_label *l)
{
    if (!g->over) og_jump(g, l);
    if (!l->n) return;
    g->over = false;
    l->block = ir_emit(g->f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    for (unsigned n = 0; n < l->n; n++) og_refer(g, l, l->refs[n].jump, l->refs[n].operand);
}

static ir_ref og_condition(struct og *g)
{
    ir_ref a = og_x(g);

    return ir_cmp(g->f, OG_OF(g, IR_EQ, IR_NE, IR_LTS, IR_GES, IR_LTU, IR_GEU), a, og_x(g));
}

static void og_leave(struct og *g)
{
    ir_ref t;

    og_imark(g);
    switch (og_pick(g, 4)) {
    case 0:
        ir_emit(g->f, IR_TRAP, IR_NONE, IR_TRAP_SYSCALL, ir_kaddr(g->f, g->pc - 4), 0, 0);
        break;
    case 1:
        t = ir_op2(g->f, IR_AND, IR_I64, og_x(g), ir_ki(g->f, IR_I64, ~(uint64_t)1));
        ir_emit(g->f, IR_EXIT, IR_NONE, IR_EXIT_RET, t, 0, 0);
        break;
    default:
        ir_emit(g->f, IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(g->f, 0x30000 + g->pc), 0, 0);
        break;
    }
    g->over = true;
}

static void og_body(struct og *g);

static struct og_label *og_label(void)
{
    return base_zalloc(sizeof(struct og_label));
}

static void og_if(struct og *g)
{
    struct og_label *yes = og_label(), *no = og_label(), *join = og_label();
    unsigned how = og_byte(g);
    ir_ref cond;

    og_imark(g);
    cond = og_condition(g);
    og_branch(g, cond, yes, how & 1 ? no : join);
    og_place(g, yes);
    og_body(g);
    if (!g->over && how >= 224)
        og_leave(g);
    else if (!g->over && how >= 192 && g->loop)
        og_jump(g, how & 2 ? g->loop->exit : g->loop->next);
    if (how & 1) {
        if (!g->over) og_jump(g, join);
        og_place(g, no);
        og_body(g);
    }
    og_place(g, join);
    free(yes);
    free(no);
    free(join);
}

/* The loop's step and its condition to go on, in one of the ways that compilers count. */
static ir_ref og_step(struct og *g, unsigned how, unsigned count, unsigned limit, bool first)
{
    struct ir_func *f = g->f;
    ir_ref v = ir_get(f, count);
    uint64_t by = how & 1 ? 1 : ~(uint64_t)0;

    og_imark(g);
    if (how & 2) {
        v = ir_op2(f, IR_ADD, IR_I32, ir_op1(f, IR_TRUNC, IR_I32, v), ir_ki(f, IR_I32, by));
        v = ir_op1(f, IR_SEXT, IR_I64, v);
    } else {
        v = ir_op2(f, IR_ADD, IR_I64, v, ir_ki(f, IR_I64, by));
    }
    ir_put(f, count, v);
    og_imark(g);
    ir_emit(f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    if (first) { /* whatever it was at the entry */
        v = ir_op2(f, IR_AND, IR_I64, v, ir_ki(f, IR_I64, 3));
        return ir_cmp(f, IR_NE, v, ir_ki(f, IR_I64, 0));
    }
    return how & 1 ? ir_cmp(f, how & 4 ? IR_LTS : IR_LTU, v, ir_get(f, limit))
                   : ir_cmp(f, IR_NE, v, ir_ki(f, IR_I64, 0));
}

/* first: the region begins with it, so nothing has set its counter. */
static void og_loop(struct og *g, bool first)
{
    struct og_label *head = og_label(), *next = og_label(), *exit = og_label();
    struct og_loop loop = {g->loop, exit, next};
    unsigned how = og_byte(g), times = 1 + og_pick(g, 4);
    unsigned count = OG_COUNT + g->nloops, limit = OG_LIMIT + g->nloops;

    if (!first) {
        og_imark(g);
        ir_put(g->f, count, ir_ki(g->f, IR_I64, how & 1 ? 0 : times));
        ir_put(g->f, limit, ir_ki(g->f, IR_I64, times));
    }
    g->nloops++;
    g->loop = &loop;
    head->n = 0;
    og_jump(g, head);
    og_place(g, head);
    og_body(g);
    g->loop = loop.outer;
    g->nloops--;
    og_place(g, next);
    if (!g->over) {
        ir_ref cond = og_step(g, how, count, limit, first);

        og_branch(g, cond, head, exit);
    }
    og_place(g, exit);
    free(head);
    free(next);
    free(exit);
}

/* A call that was inlined: the return's target is compared with the known address. */
static void og_call(struct og *g)
{
    struct og_label *back = og_label(), *away = og_label();
    ir_ref ret = ir_kaddr(g->f, 0x50000 + 4 * (uint64_t)g->depth), t;

    og_imark(g);
    ir_put(g->f, 0, ret);
    og_body(g);
    if (!g->over) {
        og_imark(g);
        t = ir_op2(g->f, IR_AND, IR_I64, ir_get(g->f, 0), ir_ki(g->f, IR_I64, ~(uint64_t)1));
        og_branch(g, ir_cmp(g->f, IR_EQ, t, ret), back, away);
        og_place(g, away);
        og_imark(g);
        ir_emit(g->f, IR_EXIT, IR_NONE, IR_EXIT_RET, ir_get(g->f, 0), 0, 0);
        g->over = true;
    }
    og_place(g, back);
    free(back);
    free(away);
}

static void og_side(struct og *g)
{
    og_imark(g);
    ir_emit(g->f, IR_SIDE, IR_NONE, og_pick(g, 2), og_condition(g), ir_kaddr(g->f, 0x40000 + g->pc),
            0);
}

static void og_body(struct og *g)
{
    unsigned n = 1 + og_pick(g, 6);

    g->depth++;
    while (n-- && !g->over && g->f->nins < IR_BIAS + OG_INS) {
        unsigned how = og_byte(g);

        if (how >= 240 && g->depth <= OG_DEPTH && g->nloops < 3)
            og_loop(g, false);
        else if (how >= 215 && g->depth <= OG_DEPTH)
            og_if(g);
        else if (how >= 210 && g->depth <= OG_DEPTH)
            og_call(g);
        else if (how >= 200)
            og_side(g);
        else
            og_instruction(g);
    }
    g->depth--;
}

void opt_gen(struct ir_func *f, const uint8_t *bytes, size_t n)
{
    struct og *g = base_zalloc(sizeof *g);
    struct og_label *first = og_label();

    g->f = f;
    g->p = bytes;
    g->end = bytes + n;
    if (n && bytes[0] >= 160) {
        opt_gen_string(f, bytes + 1, n - 1);
        free(first);
        free(g);
        return;
    }
    g->pc = f->key = 0x10000;
    if (og_pick(g, 3) == 1) {
        og_loop(g, true);
    } else {
        og_jump(g, first);
        og_place(g, first);
    }
    while (!g->over) {
        og_body(g);
        if (g->p == g->end || f->nins >= IR_BIAS + OG_INS) break;
    }
    if (!g->over) og_leave(g);
    free(first);
    free(g);
}

/* ---- running --------------------------------------------------------- */

struct og_run {
    struct opt_gen_world *w;
    uint32_t poll;
    unsigned stores_until_poll; /* 0: never */
};

static bool og_has(uint64_t addr, unsigned size)
{
    return addr >= 0x1000 && addr <= 0x1000 + OPT_GEN_RAM - size;
}

static bool og_do_load(void *ctx, uint64_t addr, unsigned size, uint64_t *v)
{
    struct og_run *x = ctx;

    if (!og_has(addr, size)) return false;
    *v = 0;
    memcpy(v, x->w->ram + (addr - 0x1000), size);
    return true;
}

static bool og_do_store(void *ctx, uint64_t addr, unsigned size, uint64_t v)
{
    struct og_run *x = ctx;

    if (!og_has(addr, size)) return false;
    memcpy(x->w->ram + (addr - 0x1000), &v, size);
    if (x->stores_until_poll && --x->stores_until_poll == 0) x->poll = 1;
    return true;
}

static bool og_do_rmw(void *ctx, uint64_t addr, unsigned size, int op, uint64_t v,
                      uint64_t expected, uint64_t *old)
{
    if (!og_do_load(ctx, addr, size, old)) return false;
    if (op < 0) return *old != expected || og_do_store(ctx, addr, size, v);
    BASE_ASSERT(op == IR_AMO_ADD);
    return og_do_store(ctx, addr, size, *old + v);
}

static uint64_t og_initial(uint64_t *seed)
{
    uint64_t how = base_rand(seed), v = base_rand(seed);

    switch (how % 4) {
    case 0: return v >> (how >> 8 & 63);
    case 1: return (uint64_t)(int64_t)(int32_t)v;
    case 2: return (uint64_t)(int64_t)(int8_t)v;
    default: return v;
    }
}

void opt_gen_run(const struct ir_func *f, uint64_t seed, struct opt_gen_world *w)
{
    struct og_run x = {w, seed % 16 == 7, seed % 4 == 2 ? 1 + (unsigned)(seed / 4 % 5) : 0};
    /* a strip stores without polling */
    const struct ir_mem mem = {&x, og_do_load, og_do_store, og_do_rmw, NULL, !x.stores_until_poll};
    struct og_state *s = (struct og_state *)w->state;
    bool alike = seed % 8 == 5; /* memory in which much is the same */

    _Static_assert(sizeof(struct og_state) <= sizeof w->state, "the state fits");
    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < 16; i++) s->x[i] = og_initial(&seed);
    s->x[OG_BASE] = 0x1400 + (base_rand(&seed) & 0x3f8);
    for (unsigned i = 0; i < 8; i++) {
        static const uint64_t f64[] = {0x3ff0000000000000, 0xffffffff3f800000, 0xffffffffc2280000,
                                       0x7ff8000000000000, 0xffffffff7fc00001, 0x4010000000000000};

        s->f[i] = base_rand(&seed) % 4 ? f64[base_rand(&seed) % 6] : base_rand(&seed);
    }
    s->fpenv.rm = (uint32_t)(base_rand(&seed) % 5);
    s->res.addr = 1;
    for (unsigned i = 0; i < OPT_GEN_RAM; i += 8) {
        uint64_t v = base_rand(&seed);

        if (v % 3 == 0) v = 0xffffffff;
        if (alike && v % 32) v = 0x6161616161616161;
        memcpy(w->ram + i, &v, 8);
    }
    ir_interp(f, w->state, &mem, &x.poll, &w->end);
    s->res.version = 0; /* versions are shared by all runs */
}

void opt_gen_differ(const struct opt_gen_world *a, const struct opt_gen_world *b,
                    struct base_text *out)
{
    const struct og_state *sa = (const void *)a->state, *sb = (const void *)b->state;

    if (memcmp(a, b, sizeof *a) == 0) return;
    if (a->end.again || b->end.again) return; /* the guest's instructions would follow */
    for (unsigned n = 0; n < BASE_ARRAY_SIZE(og_slots); n++) {
        uint64_t va, vb;

        memcpy(&va, a->state + og_slots[n].offset, 8);
        memcpy(&vb, b->state + og_slots[n].offset, 8);
        if (va != vb)
            base_text_printf(out, "%.8s: 0x%llx, 0x%llx\n", og_slots[n].name,
                             (unsigned long long)va, (unsigned long long)vb);
    }
    if (sa->fpenv.flags != sb->fpenv.flags)
        base_text_printf(out, "flags: %u, %u\n", sa->fpenv.flags, sb->fpenv.flags);
    if (memcmp(a->ram, b->ram, sizeof a->ram) != 0) base_text_printf(out, "memory differs\n");
    base_text_printf(out, "end: kind %u at 0x%llx, kind %u at 0x%llx\n", a->end.kind,
                     (unsigned long long)a->end.target, b->end.kind,
                     (unsigned long long)b->end.target);
}
