/* jit_gen.c: random guest programs for tests of code generators (jit_gen.h).
 * SPDX-License-Identifier: Apache-2.0
 *
 * An instruction reads slots, computes in its own pool of values, may access memory or the
 * FP environment once, and PUTs results. Like a real guest's it can be executed again from
 * its start until that access is done, which forced exits rely on. Values reach other
 * instructions through slots only; GET forwarding makes long-lived values of them.
 */
#include "jit_gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- guest ----------------------------------------------------------- */

static struct ir_slot jg_slots[JG_SLOTS];
static const uint8_t jg_hot_int[] = {3,  9,  0,  1, 7, 12, 2, 15, JG_COUNTER, 18, 5, 8, 20, 22};
static const uint8_t jg_hot_fp[] = {JG_INT + 2, JG_INT + 0, JG_INT + 5,  JG_INT + 1,  JG_INT + 9,
                                    JG_INT + 3, JG_INT + 7, JG_INT + 11, JG_INT + 13, JG_INT + 4,
                                    JG_INT + 6, JG_INT + 8, JG_INT + 10, JG_INT + 12};

static struct jit_vcpu *jg_running;
static bool jg_polls;
static const struct jg_program *jg_now;
static uint64_t jg_base;

static uint64_t jg_sum(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    return a + 2 * b + 3 * c;
}
static uint64_t jg_bump(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    struct jg_state *s = state;

    s->x[3] += a;            /* pinned in most guests */
    s->x[4] ^= b + s->x[9];  /* in none */
    s->f[2] ^= c;
    s->fp.flags |= a & 31;
    return s->x[0] + s->x[11] + s->f[1] + s->fp.flags;
}
static uint64_t jg_touch(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    return b + *(volatile uint64_t *)(uintptr_t)a;
}
static uint64_t jg_both(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    struct jg_state *s = state;
    uint64_t v = *(volatile uint64_t *)(uintptr_t)a;

    s->x[9] = v;
    s->x[10] = b;
    return v ^ c;
}
static uint64_t jg_poke(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    if (jg_polls)
        jit_poll_request(jg_running);
    return a;
}
enum { JG_SUM, JG_BUMP, JG_TOUCH, JG_BOTH, JG_POKE, JG_HELPERS };
static const struct ir_helper jg_helpers[JG_HELPERS] = {
    {"sum", jg_sum, 0},
    {"bump", jg_bump, IR_HELPER_STATE},
    {"touch", jg_touch, IR_HELPER_MEM},
    {"both", jg_both, IR_HELPER_MEM | IR_HELPER_STATE},
    {"poke", jg_poke, 0}};

static bool jg_lift(struct ir_func *f, uint64_t pc, const uint8_t *bytes, size_t avail,
                    struct ir_flow *w);

struct ir_guest jg_guest(unsigned nhot_int, unsigned nhot_fp)
{
    for (unsigned i = 0; i < JG_SLOTS; i++) {
        bool fp = i >= JG_INT;

        snprintf(jg_slots[i].name, sizeof jg_slots[i].name, "%c%u", fp ? 'f' : 'x',
                 fp ? i - JG_INT : i);
        jg_slots[i].type = fp ? IR_F64 : IR_I64;
        jg_slots[i].offset = (uint16_t)(8 * i);
    }
    return (struct ir_guest){
        .name = "random",
        .slots = jg_slots,
        .nslots = JG_SLOTS,
        .hot_int = jg_hot_int,
        .nhot_int = nhot_int < sizeof jg_hot_int ? nhot_int : sizeof jg_hot_int,
        .hot_fp = jg_hot_fp,
        .nhot_fp = nhot_fp < sizeof jg_hot_fp ? nhot_fp : sizeof jg_hot_fp,
        .state_size = sizeof(struct jg_state),
        .pc_offset = offsetof(struct jg_state, pc),
        .fpenv_offset = offsetof(struct jg_state, fp),
        .res_offset = offsetof(struct jg_state, res),
        .helpers = jg_helpers,
        .nhelpers = JG_HELPERS,
        .max_len = 4,
        .lift = jg_lift,
    };
}

/* ---- choices --------------------------------------------------------- */

enum { JG_POOL = 16 };

struct jg {
    struct ir_func *f;
    uint64_t rand;
    ir_ref pool[IR_TYPE_COUNT][JG_POOL];
    unsigned n[IR_TYPE_COUNT];
    uint64_t pc;
};

static unsigned jg_pick(struct jg *g, unsigned n) { return (unsigned)(base_rand(&g->rand) % n); }

static uint64_t jg_edge(uint64_t *seed, unsigned bits)
{
    uint64_t r = base_rand(seed), x = base_rand(seed);

    switch (r % 12) {
    case 0: return 0;
    case 1: return 1;
    case 2: return UINT64_MAX;
    case 3: return 1ull << (bits - 1);
    case 4: return (1ull << (bits - 1)) - 1;
    case 5: return 1ull << (x % bits);
    case 6: return (1ull << (x % bits)) - 1;
    case 7: return (uint64_t)(int64_t)(int32_t)(1u << (x % 32));
    case 8: return -(x % 300);
    case 9: return x % 300;
    default: return x;
    }
}

static uint64_t jg_float(uint64_t *seed, unsigned type)
{
    static const uint16_t top64[] = {0x3ff0, 0x4000, 0x7ff0, 0x7ff8, 0x0000, 0x0010, 0x7fe0, 0x3fe0,
                                     0x43e0, 0x43f0, 0x41e0, 0x41f0, 0x3ff8, 0x4008, 0x3810, 0x36a0,
                                     0x47ef, 0x7ff4, 0x0350, 0x4340};
    static const uint16_t top32[] = {0x3f80, 0x4000, 0x7f80, 0x7fc0, 0x0000, 0x0080, 0x7f00, 0x3f00,
                                     0x5f00, 0x5f80, 0x4f00, 0x4f80, 0x3fc0, 0x4040, 0x7fa0,
                                     0x7f7f};
    static const uint16_t top16[] = {0x3c00, 0x4000, 0x7c00, 0x7e00, 0, 0x0400, 0x7800, 0x7bff};
    uint64_t r = base_rand(seed), low = base_rand(seed), sign = r >> 32 & 1;

    if (type == IR_F16)
        return (r >> 8 & 3 ? top16[r % 8] : low & 0x7fff) | sign << 15;
    if (type == IR_F32) {
        low = r >> 8 & 1 ? low & 0xffff : r >> 9 & 3 ? 0 : r >> 12 & 1;
        return (uint64_t)top32[(r >> 40) % BASE_ARRAY_SIZE(top32)] << 16 | sign << 31 | low;
    }
    low = r >> 8 & 1 ? low & 0xffffffffffff : r >> 9 & 3 ? 0 : r >> 12 & 1;
    return (uint64_t)top64[(r >> 40) % BASE_ARRAY_SIZE(top64)] << 48 | sign << 63 | low;
}

/* What a floating-point slot may hold: an f64, a boxed f32 or f16, or anything. */
static uint64_t jg_slot_bits(uint64_t *seed)
{
    switch (base_rand(seed) % 8) {
    case 0: return jg_float(seed, IR_F16) | ~0xffffull;
    case 1:
    case 2: return jg_float(seed, IR_F32) | 0xffffffffull << 32;
    case 3: return base_rand(seed);
    default: return jg_float(seed, IR_F64);
    }
}

static ir_ref jg_const(struct jg *g, unsigned type)
{
    unsigned bits = ir_type_bits(type);
    uint64_t v;

    if (ir_is_float(type))
        return ir_kf(g->f, type, jg_float(&g->rand, type));
    v = jg_edge(&g->rand, bits) & ~0ull >> (64 - bits);
    if (type == IR_I64 && jg_pick(g, 12) == 0)
        return ir_kaddr(g->f, v);
    return ir_ki(g->f, type, v);
}

static ir_ref jg_add(struct jg *g, ir_ref r)
{
    unsigned ty = ir_ty(g->f, r);

    if (g->n[ty] < JG_POOL)
        g->pool[ty][g->n[ty]++] = r;
    else
        g->pool[ty][jg_pick(g, JG_POOL)] = r;
    return r;
}

static ir_ref jg_get(struct jg *g, bool fp)
{
    return ir_get(g->f, fp ? JG_INT + jg_pick(g, JG_FP) : jg_pick(g, JG_INT));
}

static ir_ref jg_value(struct jg *g, unsigned type);

static ir_ref jg_derive(struct jg *g, unsigned type)
{
    struct ir_func *f = g->f;
    unsigned how = jg_pick(g, 4);

    switch (type) {
    case IR_I64: return jg_get(g, false);
    case IR_F64: return how ? jg_get(g, true)
                            : ir_op1(f, IR_BITCAST, type, jg_get(g, false));
    case IR_I1:
        if (how == 0)
            return ir_op1(f, IR_TRUNC, type, jg_value(g, IR_I64));
        return ir_cmp(f, jg_pick(g, 10), jg_value(g, IR_I64), jg_value(g, IR_I64));
    case IR_F16:
    case IR_F32:
        if (how == 0)
            return ir_op1(f, IR_BITCAST, type,
                          ir_op1(f, IR_TRUNC, type == IR_F16 ? IR_I16 : IR_I32,
                                 jg_get(g, false)));
        return ir_op1(f, how == 1 ? IR_FLOW : IR_FUNBOX, type, jg_get(g, true));
    default: return ir_op1(f, IR_TRUNC, type, jg_get(g, false));
    }
}

static ir_ref jg_value(struct jg *g, unsigned type)
{
    unsigned how = jg_pick(g, 8);

    if (how == 0)
        return jg_const(g, type);
    if (how > 2 && g->n[type])
        return g->pool[type][jg_pick(g, g->n[type])];
    return jg_add(g, jg_derive(g, type));
}

/* ---- pure operations ------------------------------------------------- */

static unsigned jg_int_type(struct jg *g, bool narrow)
{
    unsigned how = jg_pick(g, 16);

    if (narrow && how < 2)
        return how ? IR_I8 : IR_I16;
    return how < 7 ? IR_I32 : IR_I64;
}
static unsigned jg_fp_type(struct jg *g)
{
    unsigned how = jg_pick(g, 16);

    return how == 0 ? IR_F16 : how < 7 ? IR_F32 : IR_F64;
}
static unsigned jg_rm(struct jg *g)
{
    return jg_pick(g, 4) ? (unsigned)IR_RM_DYN : jg_pick(g, 5);
}

static ir_ref jg_pure_int(struct jg *g)
{
    static const uint8_t ops[] = {
        IR_ADD,   IR_ADD,  IR_ADD,   IR_SUB,  IR_MUL,    IR_MULHS, IR_MULHU, IR_MULHSU, IR_DIVS,
        IR_DIVU,  IR_REMS, IR_REMU,  IR_AND,  IR_AND,    IR_OR,    IR_XOR,   IR_NOT,    IR_NEG,
        IR_SHL,   IR_SHL,  IR_SHR,   IR_SAR,  IR_ROL,    IR_ROR,   IR_BSWAP, IR_BREV8,  IR_ORCB,
        IR_CLZ,   IR_CTZ,  IR_POPC,  IR_CLMUL, IR_CLMULH, IR_MINS, IR_MAXS,  IR_MINU,   IR_MAXU};
    unsigned op = ops[jg_pick(g, sizeof ops)], ty = jg_int_type(g, true);
    ir_ref a = jg_value(g, ty), b = IR_NIL;

    if (ir_ops[op].opd[1] == IR_OPD_R)
        b = (op == IR_SHL && jg_pick(g, 2)) ? ir_ki(g->f, ty, jg_pick(g, 4)) : jg_value(g, ty);
    return ir_emit(g->f, op, ty, 0, a, b, 0);
}

static ir_ref jg_pure_width(struct jg *g)
{
    static const uint8_t wider[] = {IR_I8, IR_I16, IR_I32, IR_I64};
    unsigned to, from;

    switch (jg_pick(g, 5)) {
    case 0: /* the usual ones */
        return ir_op1(g->f, jg_pick(g, 3) ? IR_SEXT : IR_ZEXT, IR_I64, jg_value(g, IR_I32));
    case 1:
        to = jg_pick(g, 4);
        from = jg_pick(g, to + 1);
        return ir_op1(g->f, jg_pick(g, 2) ? IR_SEXT : IR_ZEXT, wider[to],
                      jg_value(g, from ? wider[from - 1] : IR_I1));
    case 2:
        to = jg_pick(g, 4);
        return ir_op1(g->f, IR_TRUNC, to ? wider[to - 1] : IR_I1,
                      jg_value(g, wider[to + jg_pick(g, 4 - to)]));
    case 3:
        return ir_op2(g->f, IR_AND + jg_pick(g, 3), IR_I1, jg_value(g, IR_I1),
                      jg_pick(g, 2) ? ir_ki(g->f, IR_I1, 1) : jg_value(g, IR_I1));
    default:
        to = jg_int_type(g, true);
        return ir_cmp(g->f, jg_pick(g, 10), jg_value(g, to), jg_value(g, to));
    }
}

static ir_ref jg_pure_sel(struct jg *g)
{
    unsigned ty = jg_pick(g, 5) ? jg_int_type(g, true) : jg_pick(g, 3) ? jg_fp_type(g) : IR_I1;

    if (ty == IR_I1)
        ty = IR_I64;
    return ir_emit(g->f, IR_SEL, ty, 0, jg_value(g, IR_I1), jg_value(g, ty), jg_value(g, ty));
}

static ir_ref jg_pure_arith(struct jg *g)
{
    static const uint8_t ops[] = {IR_FADD, IR_FADD, IR_FSUB, IR_FMUL, IR_FMUL, IR_FDIV,
                                  IR_FSQRT, IR_FMA, IR_FMA, IR_FMIN, IR_FMAX, IR_FROUND};
    unsigned op = ops[jg_pick(g, sizeof ops)], ty = jg_fp_type(g), aux = jg_rm(g);
    ir_ref v[3] = {0};

    for (unsigned k = 0; k < 3; k++)
        if (ir_ops[op].opd[k] == IR_OPD_R)
            v[k] = jg_value(g, ty);
    if (op == IR_FMA)
        aux |= jg_pick(g, 4) * IR_FMA_NEG_PROD;
    else if (op == IR_FMIN || op == IR_FMAX)
        aux = jg_pick(g, 3) ? 0 : IR_FMIN_NAN;
    else if (op == IR_FROUND && jg_pick(g, 2))
        aux |= IR_FROUND_EXACT;
    return ir_emit(g->f, op, ty, aux, v[0], v[1], v[2]);
}

static ir_ref jg_pure_fp(struct jg *g)
{
    static const uint8_t cmp[] = {IR_EQ, IR_LTS, IR_LES};
    static const uint8_t how[] = {0, IR_FCMP_SIGNAL, IR_FCMP_SILENT};
    struct ir_func *f = g->f;
    unsigned ty = jg_fp_type(g), to;

    switch (jg_pick(g, 14)) {
    case 0:
    case 1:
        return ir_emit(f, IR_FCMP, IR_I1, cmp[jg_pick(g, 3)] | how[jg_pick(g, 3)],
                       jg_value(g, ty), jg_value(g, ty), 0);
    case 2: return ir_op1(f, jg_pick(g, 2) ? IR_FNEG : IR_FABS, ty, jg_value(g, ty));
    case 3: return ir_op2(f, IR_FCPYSGN, ty, jg_value(g, ty), jg_value(g, ty));
    case 4: return ir_op1(f, IR_FCLASS, IR_I64, jg_value(g, ty));
    case 5:
    case 6:
        to = ty == IR_F16 ? IR_F32 + jg_pick(g, 2) : ty == IR_F32 ? IR_F64 : IR_F32;
        return ir_emit(f, IR_FCVTFF, to, jg_rm(g), jg_value(g, ty), 0, 0);
    case 7:
    case 8:
        return ir_emit(f, IR_FCVTFI, jg_int_type(g, false),
                       (jg_pick(g, 2) ? IR_RTZ : jg_rm(g)) | (jg_pick(g, 2) ? IR_FCVT_UNSIGNED : 0),
                       jg_value(g, ty), 0, 0);
    case 9:
    case 10:
        return ir_emit(f, IR_FCVTIF, ty, jg_rm(g) | (jg_pick(g, 2) ? IR_FCVT_UNSIGNED : 0),
                       jg_value(g, jg_int_type(g, false)), 0, 0);
    case 11: return ir_op1(f, IR_FCVTMOD, IR_I64, jg_value(g, IR_F64));
    case 12:
        if (ty == IR_F64)
            return ir_op1(f, IR_BITCAST, IR_I64, jg_value(g, ty));
        if (jg_pick(g, 2))
            return ir_op1(f, IR_BITCAST, ty == IR_F32 ? IR_I32 : IR_I16, jg_value(g, ty));
        return ir_op1(f, IR_FBOX, IR_F64, jg_value(g, ty));
    default:
        to = jg_pick(g, 3) ? IR_F32 : IR_F16;
        return ir_op1(f, jg_pick(g, 3) ? IR_FUNBOX : IR_FLOW, to, jg_value(g, IR_F64));
    }
}

static void jg_pure(struct jg *g)
{
    unsigned how = jg_pick(g, 16);

    jg_add(g, how < 6    ? jg_pure_int(g)
              : how < 8  ? jg_pure_width(g)
              : how < 9  ? jg_pure_sel(g)
              : how < 12 ? jg_pure_arith(g)
                         : jg_pure_fp(g));
}

/* ---- memory ---------------------------------------------------------- */

static ir_ref jg_address(struct jg *g, bool faults, unsigned size)
{
    struct ir_func *f = g->f;
    unsigned how = jg_pick(g, 16);
    ir_ref a = jg_value(g, IR_I64), b;
    uint64_t where, mask;

    if (jg_now->fault >= 0) /* this one only */
        how = 3 + how % 9;
    where = JG_BUFFER + (faults || how == 0 ? JG_NONE : how == 1 ? JG_READ : 0);
    mask = 0x7ff & (how < 12 ? ~(uint64_t)(size - 1) : ~0ull);

    if (how == 2 && !faults) /* somewhere or other, perhaps behind the end */
        mask = 0x3ff8;
    a = ir_op2(f, IR_AND, IR_I64, a, ir_ki(f, IR_I64, mask));
    if (jg_pick(g, 4) == 0) { /* base + index << k */
        b = ir_op2(f, IR_AND, IR_I64, jg_value(g, IR_I64), ir_ki(f, IR_I64, 0x1f));
        b = ir_op2(f, IR_SHL, IR_I64, b, ir_ki(f, IR_I64, 3));
        a = ir_op2(f, IR_ADD, IR_I64, ir_op2(f, IR_ADD, IR_I64, a, ir_ki(f, IR_I64, where)), b);
    } else {
        a = ir_op2(f, IR_ADD, IR_I64, a, ir_ki(f, IR_I64, where));
    }
    return jg_add(g, a);
}

static unsigned jg_order(struct jg *g, unsigned op)
{
    static const uint16_t order[] = {IR_RELAXED, IR_ACQUIRE, IR_RELEASE, IR_SEQ_CST};
    unsigned o = jg_pick(g, 3) ? 0 : order[jg_pick(g, 4)];

    return (op == IR_LD && o == IR_RELEASE) || (op == IR_ST && o == IR_ACQUIRE) ? 0 : o;
}

static void jg_plain(struct jg *g, bool faults, bool store)
{
    static const uint8_t types[] = {IR_I8,  IR_I16, IR_I32, IR_I64, IR_I32,
                                    IR_I64, IR_F16, IR_F32, IR_F64, IR_F64};
    struct ir_func *f = g->f;
    unsigned ty = types[jg_pick(g, sizeof types)], size = ir_type_bits(ty) / 8;
    uint32_t disp = jg_pick(g, 3) ? jg_pick(g, 16) * 8 : 0;
    ir_ref a = jg_address(g, faults, size), v;

    if (store) {
        ir_emit(f, IR_ST, IR_NONE, jg_order(g, IR_ST), a, disp, jg_value(g, ty));
        return;
    }
    v = jg_add(g, ir_emit(f, IR_LD, ty, jg_order(g, IR_LD), a, disp, 0));
    if (ir_is_int(ty) && ty != IR_I64 && jg_pick(g, 4))
        jg_add(g, ir_op1(f, jg_pick(g, 2) ? IR_SEXT : IR_ZEXT, IR_I64, v));
}

static void jg_atomic(struct jg *g, bool faults)
{
    struct ir_func *f = g->f;
    unsigned ty = jg_int_type(g, false), order = jg_order(g, IR_AMO);
    ir_ref a = jg_address(g, faults, ir_type_bits(ty) / 8), v;

    switch (jg_pick(g, 4)) {
    case 0:
    case 1:
        v = ir_emit(f, IR_AMO, ty, order | jg_pick(g, 9) << IR_AMO_SHIFT, a, jg_value(g, ty), 0);
        break;
    case 2:
        v = ir_emit(f, IR_CAS, ty, order, a, jg_value(g, ty), jg_value(g, ty));
        break;
    default:
        if (jg_pick(g, 2)) { /* at a place where an SC may meet it */
            unsigned where = faults ? JG_NONE : 8 * jg_pick(g, 2);

            a = ir_op2(f, IR_ADD, IR_I64, ir_ki(f, IR_I64, JG_BUFFER + where),
                       ir_op2(f, IR_AND, IR_I64, jg_get(g, false), ir_ki(f, IR_I64, 0)));
        }
        if (jg_pick(g, 2)) {
            v = ir_emit(f, IR_LR, ty, order, a, 0, 0);
        } else {
            v = ir_emit(f, IR_SC, IR_I64, order | (jg_pick(g, 2) ? IR_SC_CONSTRAINED : 0), a,
                        jg_value(g, ty), 0);
            ty = IR_I64;
        }
    }
    if (jg_pick(g, 3)) /* wanted */
        jg_add(g, ty == IR_I64 ? v : ir_op1(f, IR_SEXT, IR_I64, v));
}

/* ---- other effects --------------------------------------------------- */

static void jg_helper(struct jg *g, bool faults)
{
    struct ir_func *f = g->f;
    unsigned n = jg_pick(g, JG_HELPERS);
    ir_ref a = jg_value(g, IR_I64);

    if (jg_helpers[n].effects & IR_HELPER_MEM || faults) {
        if (!(jg_helpers[n].effects & IR_HELPER_MEM))
            n = JG_TOUCH;
        a = jg_address(g, faults, 8);
    }
    a = ir_emit(f, IR_HELPER, IR_I64, n, a, jg_pick(g, 3) ? jg_value(g, IR_I64) : IR_NIL,
                jg_pick(g, 3) ? jg_value(g, IR_I64) : IR_NIL);
    if (jg_helpers[n].effects & IR_HELPER_STATE) /* no value lives across it */
        memset(g->n, 0, sizeof g->n);
    if (jg_pick(g, 3))
        jg_add(g, a);
}

static void jg_fpenv(struct jg *g)
{
    struct ir_func *f = g->f;

    switch (jg_pick(g, 4)) {
    case 0: jg_add(g, ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0)); break;
    case 1: ir_emit(f, IR_FLSET, IR_NONE, 0, jg_value(g, IR_I64), 0, 0); break;
    case 2: jg_add(g, ir_emit(f, IR_RMGET, IR_I64, 0, 0, 0, 0)); break;
    default:
        ir_emit(f, IR_RMSET, IR_NONE, 0,
                ir_op2(f, IR_AND, IR_I64, jg_value(g, IR_I64), ir_ki(f, IR_I64, 3)), 0, 0);
        break;
    }
}

/* ---- instructions ---------------------------------------------------- */

enum jg_kind { JG_PURE, JG_LOAD, JG_STORE, JG_ATOMIC, JG_HELPER, JG_FPENV, JG_FENCE, JG_BRANCH,
               JG_CALL, JG_RET, JG_JUMP, JG_LOOP, JG_TRAP };

/* The first random numbers of an instruction decide its kind. */
static enum jg_kind jg_kind_of(const struct jg_program *p, unsigned k, uint64_t *rand)
{
    static const uint8_t usual[] = {JG_LOAD,  JG_LOAD,   JG_STORE, JG_STORE,  JG_ATOMIC, JG_HELPER,
                                    JG_FPENV, JG_BRANCH, JG_BRANCH, JG_FENCE};
    static const uint8_t memory[] = {JG_LOAD, JG_LOAD, JG_STORE, JG_STORE, JG_ATOMIC, JG_ATOMIC};
    uint64_t r;

    *rand = (p->seed ^ (k + 1) * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull + k;
    base_rand(rand);
    r = base_rand(rand);
    if (k == 0) /* where the loop's counter counts */
        return JG_PURE;
    if (k + 1 == p->n)
        return (enum jg_kind)(JG_CALL + r % 6);
    if (p->memory && r % 4)
        return memory[(r >> 8) % sizeof memory];
    if (r % 2)
        return JG_PURE;
    if (r % 64 == 0 && p->fault < 0)
        return JG_CALL + (r >> 8) % 3;
    return usual[(r >> 8) % sizeof usual];
}

bool jg_is_memory(const struct jg_program *p, unsigned k)
{
    uint64_t rand;
    enum jg_kind kind = jg_kind_of(p, k, &rand);

    return kind == JG_LOAD || kind == JG_STORE || kind == JG_ATOMIC || kind == JG_HELPER;
}

static void jg_results(struct jg *g)
{
    static const uint8_t types[] = {IR_I64, IR_I64, IR_I32, IR_I64, IR_F64, IR_F64, IR_F32, IR_I1,
                                    IR_I8,  IR_I16, IR_F16, IR_I32, IR_F64, IR_I64};
    struct ir_func *f = g->f;

    for (unsigned n = 1 + jg_pick(g, 3); n; n--) {
        unsigned ty = types[jg_pick(g, sizeof types)];
        ir_ref v = jg_pick(g, 8) ? jg_value(g, ty) : jg_const(g, ty);

        if (ty == IR_F16 || ty == IR_F32)
            v = ir_op1(f, IR_FBOX, IR_F64, v);
        else if (ty != IR_F64 && ty != IR_I64)
            v = ir_op1(f, jg_pick(g, 3) ? IR_SEXT : IR_ZEXT, IR_I64, v);
        ir_put(f, ir_ty(f, v) == IR_F64 ? JG_INT + jg_pick(g, JG_FP) : jg_pick(g, JG_FREE), v);
    }
}

/* An address that was computed, which may be one that a call left: backwards, so only seven times
 * out of eight. */
static ir_ref jg_anywhere(struct jg *g, unsigned n)
{
    struct ir_func *f = g->f;
    ir_ref even = ir_op2(f, IR_AND, IR_I64, jg_value(g, IR_I64),
                         ir_ki(f, IR_I64, 0xffffffffffffffe));
    ir_ref hops = ir_op2(f, IR_ADD, IR_I64, ir_get(f, JG_HOPS), ir_ki(f, IR_I64, 1));
    ir_ref more = ir_cmp(f, IR_NE, ir_op2(f, IR_AND, IR_I64, hops, ir_ki(f, IR_I64, 7)),
                         ir_ki(f, IR_I64, 0));

    ir_put(f, JG_HOPS, hops);
    return ir_emit(f, IR_SEL, IR_I64, 0, more, even, ir_ki(f, IR_I64, jg_base + 4 * (n + 1)));
}

/* Somewhere in the program, behind it, or anywhere. */
static ir_ref jg_target(struct jg *g, unsigned k, unsigned n, bool direct)
{
    uint64_t to = jg_base + 4 * (k + 1 + jg_pick(g, n - k + 2));

    if (direct)
        return ir_kaddr(g->f, to);
    if (jg_pick(g, 4) == 0)
        return jg_anywhere(g, n);
    return ir_op2(g->f, IR_ADD, IR_I64, ir_ki(g->f, IR_I64, to),
                  ir_op2(g->f, IR_AND, IR_I64, jg_value(g, IR_I64), ir_ki(g->f, IR_I64, 0)));
}

static void jg_control(struct jg *g, enum jg_kind kind, unsigned k, unsigned n, struct ir_flow *w)
{
    struct ir_func *f = g->f;
    ir_ref c;

    switch (kind) {
    case JG_BRANCH:
        w->kind = IR_FLOW_BRANCH;
        w->cond = jg_value(g, IR_I1);
        w->target = jg_target(g, k, n, true);
        break;
    case JG_CALL:
        w->kind = IR_FLOW_CALL;
        w->link_slot = (int16_t)jg_pick(g, 12);
        w->target = jg_target(g, k, n, jg_pick(g, 2));
        break;
    case JG_RET:
        w->kind = IR_FLOW_RET;
        w->target = jg_target(g, k, n, false);
        break;
    case JG_JUMP:
        w->kind = IR_FLOW_JUMP;
        w->target = jg_target(g, k, n, jg_pick(g, 2));
        break;
    case JG_LOOP:
        c = ir_op2(f, IR_AND, IR_I64, ir_get(f, JG_COUNTER), ir_ki(f, IR_I64, 3));
        w->kind = IR_FLOW_BRANCH;
        w->cond = ir_cmp(f, IR_NE, c, ir_ki(f, IR_I64, 0));
        w->target = ir_kaddr(f, jg_base);
        break;
    default:
        ir_emit(f, IR_TRAP, IR_NONE, jg_pick(g, 3), ir_kaddr(f, g->pc), jg_pick(g, 1000), 0);
        w->kind = IR_FLOW_TRAP;
        break;
    }
}

static void jg_instruction(struct jg *g, const struct jg_program *p, unsigned k, struct ir_flow *w)
{
    enum jg_kind kind = jg_kind_of(p, k, &g->rand);
    bool faults = (int)k == p->fault;
    struct ir_func *f = g->f;

    if (k == 0) /* when shrunk, too: it must still end */
        ir_put(f, JG_COUNTER, ir_op2(f, IR_ADD, IR_I64, ir_get(f, JG_COUNTER),
                                     ir_ki(f, IR_I64, ~0ull)));
    if (kind < JG_BRANCH && p->skip >> k & 1)
        return;
    if (k && jg_pick(g, 24) == 0)
        ir_emit(f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    for (unsigned n = jg_pick(g, kind == JG_PURE ? 7 : 4); n; n--)
        jg_pure(g);
    switch (kind) {
    case JG_PURE:
        jg_pure(g);
        break;
    case JG_LOAD:
        jg_plain(g, faults, false);
        break;
    case JG_STORE:
        jg_plain(g, faults, true);
        break;
    case JG_ATOMIC:
        jg_atomic(g, faults);
        break;
    case JG_HELPER:
        jg_helper(g, faults);
        break;
    case JG_FPENV: jg_fpenv(g); break;
    case JG_FENCE: ir_emit(f, IR_FENCE, IR_NONE, 1 + jg_pick(g, 15), 0, 0, 0); break;
    default: jg_control(g, kind, k, p->n, w); return;
    }
    for (unsigned n = jg_pick(g, 3); n; n--)
        jg_pure(g);
    jg_results(g);
}

/* ---- programs in text ------------------------------------------------ */

/* The part of text from the IMARK at pc to the next is appended to f. */
static bool jg_lift_text(struct ir_func *f, const struct ir_func *text, uint64_t pc,
                         struct ir_flow *w)
{
    static ir_ref map[IR_BIAS + IR_MAX_INS];
    ir_ref r = IR_BIAS;

    while (r < text->nins && !(text->ins[r].op == IR_IMARK &&
                               ir_imark_pc(&text->ins[r]) == pc - jg_base))
        r++;
    if (r == text->nins)
        return false;
    for (r++; r < text->nins && text->ins[r].op != IR_IMARK; r++) {
        struct ir_ins i = text->ins[r];
        uint32_t *v[3] = {&i.a, &i.b, &i.c};

        for (unsigned k = 0; k < 3; k++) {
            unsigned opd = ir_ops[i.op].opd[k];
            const struct ir_ins *c = &text->ins[*v[k]];

            if (*v[k] == IR_NIL || !(opd == IR_OPD_R || opd == IR_OPD_A || opd == IR_OPD_I ||
                                     opd == IR_OPD_C))
                continue;
            if (!ir_is_const(*v[k]))
                *v[k] = map[*v[k]];
            else if (c->op == IR_KADDR)
                *v[k] = ir_kaddr(f, jg_base + ir_kval(text, *v[k]));
            else
                *v[k] = (c->op == IR_KF ? ir_kf : ir_ki)(f, c->ty, ir_kval(text, *v[k]));
        }
        if (i.op == IR_GET)
            map[r] = ir_get(f, i.a);
        else if (i.op == IR_PUT)
            ir_put(f, i.a, i.b);
        else
            map[r] = ir_emit(f, i.op, i.ty, i.aux, i.a, i.b, i.c);
        if (ir_ops[i.op].cls == IR_CLASS_C)
            w->kind = IR_FLOW_TRAP;
    }
    return true;
}

static bool jg_lift(struct ir_func *f, uint64_t pc, const uint8_t *bytes, size_t avail,
                    struct ir_flow *w)
{
    struct jg g = {.f = f, .pc = pc};
    unsigned k = (unsigned)((pc - jg_base) / 4);

    *w = (struct ir_flow){.kind = IR_FLOW_NEXT, .len = 4, .link_slot = -1};
    if (jg_now->text && jg_lift_text(f, jg_now->text, pc, w))
        return true;
    if (jg_now->text || k >= jg_now->n || pc & 3) { /* behind the end */
        ir_emit(f, IR_TRAP, IR_NONE, IR_TRAP_BREAK, ir_kaddr(f, pc), 4711, 0);
        w->kind = IR_FLOW_TRAP;
        return true;
    }
    jg_instruction(&g, jg_now, k, w);
    return true;
}

void jg_print(const struct jg_program *p, struct base_text *out)
{
    struct ir_guest guest = jg_guest(0, 0);
    struct ir_func *f = ir_func_new(&guest);
    const struct jg_program *was = jg_now;
    struct ir_flow w;

    jg_now = p;
    jg_base = 0;
    for (unsigned k = 0; k < p->n; k++) {
        ir_func_reset(f);
        ir_imark(f, 4 * k, 4);
        w = (struct ir_flow){.link_slot = -1};
        jg_lift(f, 4 * k, NULL, 4, &w);
        if (p->skip >> k & 1 && w.kind == IR_FLOW_NEXT)
            continue;
        if (w.kind == IR_FLOW_BRANCH && !ir_is_const(w.cond))
            ir_emit(f, IR_SIDE, IR_NONE, 0, w.cond, w.target, 0);
        if (w.link_slot >= 0)
            ir_put(f, (unsigned)w.link_slot, ir_kaddr(f, 4 * k + 4));
        if (w.kind != IR_FLOW_TRAP)
            ir_emit(f, IR_EXIT, IR_NONE,
                    w.kind == IR_FLOW_RET    ? IR_EXIT_RET
                    : w.kind == IR_FLOW_CALL ? IR_EXIT_CALL
                                             : IR_EXIT_JUMP,
                    w.kind == IR_FLOW_NEXT || w.kind == IR_FLOW_BRANCH ? ir_kaddr(f, 4 * k + 4)
                                                                        : w.target,
                    w.kind == IR_FLOW_CALL ? ir_kaddr(f, 4 * k + 4) : IR_NIL, 0);
        ir_print(f, out);
    }
    ir_func_free(f);
    jg_now = was;
}

/* ---- machines -------------------------------------------------------- */

static uint8_t jg_code[4 * (JG_MAX + 8)];

static size_t jg_fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable)
{
    uint64_t at = pc - jg_base;

    if (at >= sizeof jg_code)
        return 0;
    *bytes = jg_code + at;
    *writable = false;
    return sizeof jg_code - at;
}

static void jg_on_fault(int sig, siginfo_t *info, void *uc)
{
    if (!jg_running || !jit_handle_fault(jg_running, sig, info, uc))
        abort();
}

void jg_init(void)
{
    static char stack[4 << 20];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction sa = {.sa_sigaction = jg_on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    void *want = (void *)(uintptr_t)JG_BUFFER;

    sigaltstack(&ss, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    if (mmap(want, JG_NONE + JG_RAM, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0) != want ||
        mprotect(want, JG_RAM, PROT_READ | PROT_WRITE) ||
        mprotect((char *)want + JG_READ, JG_PAGE, PROT_READ)) {
        perror("mmap");
        exit(1);
    }
}

struct jit_vcpu *jg_machine(const struct jit_config *cfg)
{
    struct jit_config c = *cfg;
    struct jit *j;

    c.fetch = jg_fetch;
    j = jit_new(&c);
    return j ? jit_vcpu_new(j) : NULL;
}

void jg_machine_free(struct jit_vcpu *v) { jit_free(v->jit); }

static void jg_start(struct jg_state *s, uint64_t seed)
{
    uint64_t r = seed * 3 + 7;
    uint8_t *ram = (uint8_t *)(uintptr_t)JG_BUFFER;

    base_rand(&r);
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < JG_INT; i++)
        s->x[i] = jg_edge(&r, 64);
    for (unsigned i = 0; i < JG_FP; i++)
        s->f[i] = jg_slot_bits(&r);
    s->fp.flags = base_rand(&r) & base_rand(&r) & 31;
    s->fp.rm = base_rand(&r) & 3;
    for (unsigned i = 0; i < JG_RAM; i += 8) {
        uint64_t v = i % 24 ? base_rand(&r) : jg_slot_bits(&r);

        memcpy(ram + i, &v, 8);
    }
    s->res.addr = 1;
    if (base_rand(&r) % 4 == 0) { /* something is reserved already */
        s->res.addr = JG_BUFFER + 8;
        memcpy(&s->res.value, ram + 8, 8);
    }
    ir_res_watch();
    memset((void *)ir_res.version, 0, sizeof ir_res.version);
}

void jg_run(struct jit_vcpu *v, const struct jg_program *p, uint64_t base, struct jg_result *r)
{
    struct jg_state *s = (struct jg_state *)v->state;

    jg_now = p;
    jg_base = base;
    jg_running = v;
    jg_polls = !v->jit->cfg.lockstep;
    jg_start(s, p->seed);
    s->pc = base;
    v->poll = 0;
    memset(r, 0, sizeof *r);
    do
        r->stop = jit_run(v);
    while (r->stop == JIT_STOP_POLL);
    r->state = *s;
    if (r->stop == JIT_STOP_TRAP) {
        r->trap = v->stop.trap;
        r->info = r->trap == IR_TRAP_ALIGN || r->trap == IR_TRAP_FETCH ? 0 : v->stop.info;
    } else {
        r->sig = v->stop.sig;
        r->addr = v->stop.addr;
    }
    memcpy(r->ram, (void *)(uintptr_t)JG_BUFFER, JG_RAM);
}

static void jg_field(struct base_text *out, const char *name, uint64_t want, uint64_t got)
{
    if (want != got)
        base_text_printf(out, "  %s: %#llx, not %#llx\n", name, (unsigned long long)got,
                         (unsigned long long)want);
}

void jg_compare(const struct jg_result *want, const struct jg_result *got, struct base_text *out)
{
    const struct jg_state *w = &want->state, *g = &got->state;

    jg_field(out, "stop", (uint64_t)want->stop, (uint64_t)got->stop);
    jg_field(out, "trap", want->trap, got->trap);
    jg_field(out, "info", want->info, got->info);
    jg_field(out, "signal", (uint64_t)want->sig, (uint64_t)got->sig);
    jg_field(out, "fault address", want->addr, got->addr);
    jg_field(out, "pc", w->pc, g->pc);
    for (unsigned i = 0; i < JG_INT; i++)
        jg_field(out, jg_slots[i].name, w->x[i], g->x[i]);
    for (unsigned i = 0; i < JG_FP; i++)
        jg_field(out, jg_slots[JG_INT + i].name, w->f[i], g->f[i]);
    jg_field(out, "flags", w->fp.flags, g->fp.flags);
    jg_field(out, "rounding mode", w->fp.rm, g->fp.rm);
    jg_field(out, "reserved address", w->res.addr, g->res.addr);
    jg_field(out, "reserved value", w->res.value, g->res.value);
    for (unsigned i = 0; i < JG_RAM; i += 8)
        if (memcmp(want->ram + i, got->ram + i, 8) != 0)
            base_text_printf(out, "  memory at %#x\n", i);
}
