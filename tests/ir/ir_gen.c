/* ir_gen.c: IR for tests (ir_gen.h). SPDX-License-Identifier: Apache-2.0
 *
 * The generator reads its choices from bytes, and zeros once they are used up, so that a
 * fuzzer's small changes make small changes. It keeps a pool of values of each type; operands
 * come from there or are constants with interesting bits. Control flow is structured: plain
 * guest instructions, diamonds with PHIs, and loops that count down from a small constant.
 */
#include "ir_gen.h"

#include "ir/ir_priv.h"

#include <stdlib.h>

/* ---- guest ----------------------------------------------------------- */

struct gen_state {
    uint64_t x[8], f[4], pc;
    struct ir_fpenv fpenv;
    struct ir_reservation res;
};

#define GEN_INT(n)                                                                                 \
    {                                                                                              \
        "x" #n, IR_I64, offsetof(struct gen_state, x) + 8 * (n)                                    \
    }
#define GEN_FP(n)                                                                                  \
    {                                                                                              \
        "f" #n, IR_F64, offsetof(struct gen_state, f) + 8 * (n)                                    \
    }
static const struct ir_slot gen_slots[] = {GEN_INT(0), GEN_INT(1), GEN_INT(2), GEN_INT(3),
                                           GEN_INT(4), GEN_INT(5), GEN_INT(6), GEN_INT(7),
                                           GEN_FP(0),  GEN_FP(1),  GEN_FP(2),  GEN_FP(3)};

static uint64_t gen_sum(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    (void)state;
    return a + 2 * b + 3 * c;
}

static uint64_t gen_bump(void *state, uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    ((struct gen_state *)state)->x[1] += a;
    return 0;
}

static const struct ir_helper gen_helpers[] = {
    {"sum", gen_sum, 0}, {"bump", gen_bump, IR_HELPER_STATE}, {"touch", gen_sum, IR_HELPER_MEM}};

const struct ir_guest ir_test_guest = {
    .name = "test",
    .slots = gen_slots,
    .nslots = BASE_ARRAY_SIZE(gen_slots),
    .state_size = sizeof(struct gen_state),
    .pc_offset = offsetof(struct gen_state, pc),
    .fpenv_offset = offsetof(struct gen_state, fpenv),
    .res_offset = offsetof(struct gen_state, res),
    .helpers = gen_helpers,
    .nhelpers = BASE_ARRAY_SIZE(gen_helpers),
    .max_len = 4,
};

/* ---- choices --------------------------------------------------------- */

enum { GEN_POOL = 24, GEN_LIMIT = 600, GEN_DEPTH = 3 };

struct gen_pool {
    ir_ref v[GEN_POOL];
    unsigned n;
};

struct gen {
    struct ir_func *f;
    const uint8_t *p, *end;
    struct gen_pool pool[IR_TYPE_COUNT];
    ir_ref block; /* IR_NIL: the entry */
    uint64_t pc;
    unsigned depth;
};

static unsigned gen_byte(struct gen *g)
{
    return g->p < g->end ? *g->p++ : 0;
}
static unsigned gen_pick(struct gen *g, unsigned n)
{
    return gen_byte(g) % n;
}

static uint64_t gen_u64(struct gen *g)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8; i++) v = v << 8 | gen_byte(g);
    return v;
}

static uint64_t gen_bits(struct gen *g, unsigned type)
{
    unsigned bits = ir_bits(type), how = gen_byte(g);
    uint64_t sign = (uint64_t)1 << (bits - 1);

    if (ir_is_float(type) && how & 0x80) { /* 1.0, infinity, NaNs, smallest, largest */
        static const uint64_t f64[] = {0x3ff0000000000000, 0x7ff0000000000000, 0x7ff8000000000000,
                                       0x7ff0000000000001, 0x0000000000000001, 0x7fefffffffffffff,
                                       0xffffffff3f800000, 0xfff0000000000000};
        static const uint64_t f32[] = {0x3f800000, 0x7f800000, 0x7fc00000, 0x7f800001,
                                       1,          0x7f7fffff, 0xc2280000, 0xff800000};
        static const uint64_t f16[] = {0x3c00, 0x7c00, 0x7e00, 0x7c01, 1, 0x7bff, 0xd140, 0xfc00};

        return (type == IR_F64 ? f64 : type == IR_F32 ? f32 : f16)[how & 7];
    }
    switch (how & 15) {
    case 0: return 0;
    case 1: return 1;
    case 2: return ~(uint64_t)0;
    case 3: return sign;
    case 4: return sign - 1;
    case 5: return (uint64_t)1 << gen_pick(g, bits);
    case 6: return ((uint64_t)1 << gen_pick(g, bits)) - 1;
    case 7: return 0xffffffff;
    case 8: return 0x7fffffff;
    case 9: return 0xff;
    case 10: return bits - 1;
    case 11: return (uint64_t) - (int64_t)gen_byte(g);
    case 12: return gen_u64(g);
    default: return gen_byte(g);
    }
}

static ir_ref gen_const(struct gen *g, unsigned type)
{
    if (type == IR_I64 && gen_pick(g, 16) == 15) return ir_kaddr(g->f, 0x10000 + 8 * gen_byte(g));
    return ir_kbits(g->f, type, gen_bits(g, type) & ir_mask(type));
}

static void gen_add(struct gen *g, ir_ref r)
{
    struct gen_pool *p = &g->pool[ir_ty(g->f, r)];

    if (p->n < GEN_POOL)
        p->v[p->n++] = r;
    else
        p->v[r % GEN_POOL] = r;
}

static ir_ref gen_derive(struct gen *g, unsigned type);

static ir_ref gen_value(struct gen *g, unsigned type)
{
    struct gen_pool *p = &g->pool[type];
    unsigned how = gen_byte(g);

    if (how % 8 == 7) return gen_const(g, type);
    if (p->n) return p->v[p->n - 1 - how / 8 % p->n];
    return gen_derive(g, type);
}

/* There is no value of the type yet: makes one from a slot. */
static ir_ref gen_derive(struct gen *g, unsigned type)
{
    ir_ref r = ir_get(g->f, gen_pick(g, 8));

    switch (type) {
    case IR_I64: break;
    case IR_I1: r = ir_cmp(g->f, IR_LTS, r, ir_get(g->f, gen_pick(g, 8))); break;
    case IR_F16:
    case IR_F32:
    case IR_F64:
        if (type != IR_F64) r = ir_op1(g->f, IR_TRUNC, type == IR_F16 ? IR_I16 : IR_I32, r);
        r = ir_op1(g->f, IR_BITCAST, type, r);
        break;
    default: r = ir_op1(g->f, IR_TRUNC, type, r); break;
    }
    gen_add(g, r);
    return r;
}

static unsigned gen_type(struct gen *g, uint32_t allowed)
{
    unsigned type = gen_pick(g, IR_F64 + 1);

    if (allowed >> IR_I64 & 1 && type < IR_I8) /* mostly the common one */
        return IR_I64;
    while (!(allowed >> type & 1)) type = (type + 1) % (IR_F64 + 1);
    return type;
}

/* ---- pure operations ------------------------------------------------- */

enum {
    GEN_FLT = 1 << IR_F16 | 1 << IR_F32 | 1 << IR_F64,
    GEN_INT = 1 << IR_I8 | 1 << IR_I16 | 1 << IR_I32 | 1 << IR_I64
};

/* A type for operand a of an operation whose result has the type ty. */
static unsigned gen_type_a(struct gen *g, unsigned op, unsigned ty)
{
    switch (op) {
    case IR_SEXT:
    case IR_ZEXT: return IR_I1 + gen_pick(g, ty - IR_I1);
    case IR_TRUNC: return ty + 1 + gen_pick(g, IR_I64 - ty);
    case IR_CMP: return gen_type(g, GEN_INT);
    case IR_BITCAST:
        switch (ty) {
        case IR_I16: return IR_F16;
        case IR_I32: return IR_F32;
        case IR_I64: return IR_F64;
        case IR_F16: return IR_I16;
        case IR_F32: return IR_I32;
        case IR_F64: return IR_I64;
        default: return ty;
        }
    case IR_FCMP:
    case IR_FCLASS:
    case IR_FCVTFI: return gen_type(g, GEN_FLT);
    case IR_FCVTFF: return ty == IR_F64 ? IR_F32 : IR_F64;
    case IR_FCVTIF: return gen_pick(g, 2) ? IR_I64 : IR_I32;
    case IR_FBOX: return gen_pick(g, 2) ? IR_F32 : IR_F16;
    case IR_FCVTMOD:
    case IR_FUNBOX:
    case IR_FLOW: return IR_F64;
    default: return ty;
    }
}

static unsigned gen_aux(struct gen *g, unsigned op)
{
    const struct ir_aux_word *w = ir_aux_words(op);
    unsigned aux = 0, n = 0;

    if (!w) return 0;
    while (w[n].word) n++;
    for (unsigned k = 0; k < 2; k++) { /* one choice each, some switches */
        const struct ir_aux_word *x = &w[gen_pick(g, n)];

        aux = (aux & ~x->mask) | x->value;
    }
    for (const struct ir_aux_word *x = w; x->word; x++) { /* every choice made? */
        bool met = !x->always;

        for (const struct ir_aux_word *y = w; y->word; y++)
            met |= y->mask == x->mask && (aux & y->mask) == y->value;
        if (!met) aux = (aux & ~x->mask) | x->value;
    }
    return aux;
}

static void gen_pure(struct gen *g, unsigned op)
{
    const struct ir_op_info *info = &ir_ops[op];
    uint32_t types = info->types & ~(1u << IR_REF);
    ir_ref v[3] = {0};
    unsigned ty, ta;

    if (op == IR_SEXT || op == IR_ZEXT) types = GEN_INT;
    if (op == IR_TRUNC) types &= ~(1u << IR_I64);
    if (op == IR_FCVTFI) types = 1 << IR_I32 | 1 << IR_I64;
    if (op == IR_FUNBOX || op == IR_FLOW) types &= ~(1u << IR_F64);
    if (op == IR_FBOX) types = 1 << IR_F64;
    ty = gen_type(g, types);
    ta = gen_type_a(g, op, ty);
    for (unsigned n = 0; n < 3; n++) {
        unsigned kind = info->opd[n];

        if (kind != IR_OPD__)
            v[n] = gen_value(g, kind == IR_OPD_A ? ta : kind == IR_OPD_C ? IR_I1 : ty);
    }
    gen_add(g, ir_emit(g->f, op, ty, gen_aux(g, op), v[0], v[1], v[2]));
}

/* ---- effects --------------------------------------------------------- */

/* Mostly inside the memory at 0x1000. */
static ir_ref gen_address(struct gen *g)
{
    ir_ref a = gen_value(g, IR_I64);
    unsigned how = gen_byte(g);

    if (how % 32 == 7) return a;
    a = ir_op2(g->f, IR_AND, IR_I64, a, ir_ki(g->f, IR_I64, how % 4 ? 0x7f8 : 0x7ff));
    return ir_op2(g->f, IR_ADD, IR_I64, a, ir_ki(g->f, IR_I64, 0x1000 + how));
}

static uint32_t gen_disp(struct gen *g)
{
    unsigned how = gen_byte(g);

    return how % 16 ? how / 16 * 8 : (uint32_t)gen_bits(g, IR_I32);
}

static void gen_helper(struct gen *g)
{
    unsigned ty = gen_type(g, GEN_INT);
    ir_ref a = gen_value(g, IR_I64), b = gen_value(g, IR_I64), c = gen_value(g, IR_I64);

    gen_add(g, ir_emit(g->f, IR_HELPER, ty, gen_pick(g, BASE_ARRAY_SIZE(gen_helpers)), a,
                       gen_pick(g, 2) ? b : IR_NIL, c));
}

static void gen_effect(struct gen *g)
{
    struct ir_func *f = g->f;
    unsigned op = IR_LD + gen_pick(g, IR_FENCE - IR_LD + 3), ty, aux;
    ir_ref a, b;

    if (op > IR_FENCE) {
        if (op == IR_FENCE + 1)
            gen_helper(g);
        else
            gen_add(g, ir_emit(f, IR_LD, IR_I64, 0, gen_address(g), gen_disp(g), 0));
        return;
    }
    aux = gen_aux(g, op);
    if (op != IR_SC) aux &= ~(unsigned)IR_SC_CONSTRAINED;
    if ((op == IR_LD && (aux & IR_SEQ_CST) == IR_RELEASE) ||
        (op == IR_ST && (aux & IR_SEQ_CST) == IR_ACQUIRE))
        aux &= ~(unsigned)IR_SEQ_CST;
    if (op == IR_FENCE) {
        ir_emit(f, op, IR_NONE, aux, 0, 0, 0);
        return;
    }
    ty = gen_type(g, op == IR_LD || op == IR_ST   ? (uint32_t)(GEN_INT | GEN_FLT)
                     : op == IR_LR || op == IR_SC ? (uint32_t)(1 << IR_I32 | 1 << IR_I64)
                                                  : (uint32_t)GEN_INT);
    a = gen_address(g);
    b = gen_value(g, ty);
    switch (op) {
    case IR_LD: gen_add(g, ir_emit(f, op, ty, aux, a, gen_disp(g), 0)); break;
    case IR_ST: ir_emit(f, op, IR_NONE, aux, a, gen_disp(g), b); break;
    case IR_CAS: gen_add(g, ir_emit(f, op, ty, aux, a, b, gen_value(g, ty))); break;
    case IR_LR: gen_add(g, ir_emit(f, op, ty, aux, a, 0, 0)); break;
    case IR_SC: gen_add(g, ir_emit(f, op, IR_I64, aux, a, b, 0)); break;
    default: gen_add(g, ir_emit(f, op, ty, aux, a, b, 0)); break;
    }
}

static void gen_fpenv(struct gen *g)
{
    struct ir_func *f = g->f;

    switch (gen_pick(g, 4)) {
    case 0: gen_add(g, ir_emit(f, IR_FLGET, IR_I64, 0, 0, 0, 0)); break;
    case 1: ir_emit(f, IR_FLSET, IR_NONE, 0, gen_value(g, IR_I64), 0, 0); break;
    case 2: gen_add(g, ir_emit(f, IR_RMGET, IR_I32, 0, 0, 0, 0)); break;
    default: ir_emit(f, IR_RMSET, IR_NONE, 0, ir_ki(f, IR_I64, gen_pick(g, 5)), 0, 0); break;
    }
}

/* ---- guest instructions and control ---------------------------------- */

/* Results are PUT after everything that can fault. */
static void gen_instruction(struct gen *g)
{
    struct ir_func *f = g->f;
    unsigned body = 1 + gen_pick(g, 6), puts;

    ir_imark(f, g->pc, 4);
    g->pc += 4;
    if (gen_pick(g, 8) == 1) ir_emit(f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    gen_add(g, ir_get(f, gen_pick(g, BASE_ARRAY_SIZE(gen_slots))));
    while (body--) {
        unsigned how = gen_byte(g), op = IR_ADD + how % (IR_HELPER - IR_ADD);

        if (how >= 240)
            gen_effect(g);
        else if (how >= 236)
            gen_fpenv(g);
        else if (ir_ops[op].cls == IR_CLASS_P)
            gen_pure(g, op);
        else
            gen_effect(g);
    }
    for (puts = gen_pick(g, 3); puts; puts--) {
        unsigned slot = gen_pick(g, BASE_ARRAY_SIZE(gen_slots));

        ir_put(f, slot, gen_value(g, gen_slots[slot].type));
    }
    if (gen_pick(g, 16) == 1)
        ir_emit(f, IR_SIDE, IR_NONE, gen_pick(g, 2), gen_value(g, IR_I1),
                ir_kaddr(f, 0x20000 + 4 * gen_byte(g)), 0);
}

static void gen_body(struct gen *g);

static ir_ref gen_block(struct gen *g)
{
    return g->block = ir_emit(g->f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
}

static ir_ref gen_phi(struct gen *g, unsigned type, const uint32_t pairs[4])
{
    return ir_append(g->f, ir_head(IR_PHI, type, 0), ir_extra(g->f, pairs, 2), 2, 0);
}

static void gen_diamond(struct gen *g)
{
    struct gen_pool *before = base_alloc(sizeof g->pool);
    struct ir_func *f = g->f;
    ir_ref br, ends[2], jumps[2], values[2][2], join;

    br = ir_emit(f, IR_BR, IR_NONE, 0, gen_value(g, IR_I1), 0, 0);
    memcpy(before, g->pool, sizeof g->pool);
    for (unsigned arm = 0; arm < 2; arm++) {
        ir_ref first = gen_block(g);

        *(arm ? &f->ins[br].c : &f->ins[br].b) = first;
        gen_body(g);
        values[arm][0] = gen_value(g, IR_I64);
        values[arm][1] = gen_value(g, IR_F64);
        ends[arm] = g->block;
        jumps[arm] = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);
        memcpy(g->pool, before, sizeof g->pool);
    }
    join = gen_block(g);
    f->ins[jumps[0]].a = f->ins[jumps[1]].a = join;
    for (unsigned k = 0; k < 2; k++) {
        const uint32_t pairs[4] = {ends[0], values[0][k], ends[1], values[1][k]};

        gen_add(g, gen_phi(g, k ? IR_F64 : IR_I64, pairs));
    }
    free(before);
}

static void gen_loop(struct gen *g)
{
    struct ir_func *f = g->f;
    ir_ref from = g->block, head, jump, phi[3], next, cond;
    uint32_t init[3];

    init[0] = ir_ki(f, IR_I64, 1 + gen_pick(g, 4));
    init[1] = gen_value(g, IR_I64);
    init[2] = gen_value(g, IR_I64);
    jump = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);
    head = gen_block(g);
    f->ins[jump].a = head;
    for (unsigned k = 0; k < 3; k++) {
        const uint32_t pairs[4] = {from, init[k], 0, 0};

        phi[k] = gen_phi(g, IR_I64, pairs);
    }
    gen_add(g, phi[1]);
    gen_add(g, phi[2]);
    gen_body(g);
    next = ir_op2(f, IR_ADD, IR_I64, phi[0], ir_ki(f, IR_I64, ~(uint64_t)0));
    cond = ir_cmp(f, IR_NE, next, ir_ki(f, IR_I64, 0));
    for (unsigned k = 0; k < 3; k++) { /* the values may be each other */
        uint32_t *pair = f->extra + f->ins[phi[k]].a + 2;

        pair[1] = k == 0 ? next : gen_value(g, IR_I64);
        pair[0] = g->block;
    }
    jump = ir_emit(f, IR_BR, IR_NONE, 0, cond, head, 0);
    f->ins[jump].c = gen_block(g);
}

static void gen_body(struct gen *g)
{
    unsigned n = 1 + gen_pick(g, 4);

    g->depth++;
    while (n-- && g->f->nins < IR_BIAS + GEN_LIMIT) {
        unsigned how = gen_byte(g);

        if (how % 16 == 5 && g->depth < GEN_DEPTH)
            gen_diamond(g);
        else if (how % 16 == 9 && g->depth < GEN_DEPTH)
            gen_loop(g);
        else
            gen_instruction(g);
    }
    g->depth--;
}

/* Shows what was computed: the latest values of each type go to slots. */
static void gen_show(struct gen *g)
{
    struct ir_func *f = g->f;
    unsigned slot = 0;

    for (unsigned type = IR_I1; type <= IR_F64; type++) {
        struct gen_pool *p = &g->pool[type];
        ir_ref r;

        if (!p->n || type == IR_I128) continue;
        r = p->v[p->n - 1];
        if (ir_is_float(type) && type != IR_F64)
            r = ir_op1(f, IR_FBOX, IR_F64, r);
        else if (ir_is_int(type) && type != IR_I64)
            r = ir_op1(f, IR_ZEXT, IR_I64, r);
        ir_put(f, ir_ty(f, r) == IR_F64 ? 8 + slot % 4 : slot % 8, r);
        slot++;
    }
    for (unsigned n = 1; n < g->pool[IR_I64].n && n < 4; n++)
        ir_put(f, 4 + n, g->pool[IR_I64].v[g->pool[IR_I64].n - 1 - n]);
}

void ir_gen(struct ir_func *f, const uint8_t *bytes, size_t n)
{
    struct gen *g = base_zalloc(sizeof *g);

    f->flags |= IR_FLAG_NOFOLD;
    g->f = f;
    g->p = bytes;
    g->end = bytes + n;
    g->pc = 0x10000;
    do gen_body(g);
    while (g->p < g->end && f->nins < IR_BIAS + GEN_LIMIT);
    gen_show(g);
    switch (gen_pick(g, 4)) {
    case 0:
        ir_emit(f, IR_TRAP, IR_NONE, gen_pick(g, IR_TRAP_COUNT), ir_kaddr(f, g->pc), 7, 0);
        break;
    case 1:
    case 2:
        ir_emit(f, IR_EXIT, IR_NONE, gen_pick(g, 2) ? IR_EXIT_JUMP : IR_EXIT_RET,
                gen_value(g, IR_I64), 0, 0);
        break;
    default:
        ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_CALL, ir_kaddr(f, 0x30000), ir_kaddr(f, g->pc), 0);
        break;
    }
    free(g);
}

/* ---- check ----------------------------------------------------------- */

enum { GEN_RAM = 0x1000 };

struct gen_world {
    struct gen_state state;
    uint8_t ram[GEN_RAM];
    struct ir_end end;
};

static bool gen_load(void *ctx, uint64_t addr, unsigned size, uint64_t *v)
{
    struct gen_world *w = ctx;

    if (addr < 0x1000 || addr > 0x1000 + GEN_RAM - size) return false;
    *v = 0;
    memcpy(v, w->ram + (addr - 0x1000), size);
    return true;
}

static bool gen_store(void *ctx, uint64_t addr, unsigned size, uint64_t v)
{
    struct gen_world *w = ctx;

    if (addr < 0x1000 || addr > 0x1000 + GEN_RAM - size) return false;
    memcpy(w->ram + (addr - 0x1000), &v, size);
    return true;
}

static bool gen_rmw(void *ctx, uint64_t addr, unsigned size, int op, uint64_t v, uint64_t expected,
                    uint64_t *old)
{
    static const uint8_t as[] = {0,       IR_ADD,  IR_XOR,  IR_AND, IR_OR,
                                 IR_MINS, IR_MAXS, IR_MINU, IR_MAXU};
    unsigned type = size == 1 ? IR_I8 : size == 2 ? IR_I16 : size == 4 ? IR_I32 : IR_I64;

    if (!gen_load(ctx, addr, size, old)) return false;
    if (op < 0) return *old != expected || gen_store(ctx, addr, size, v);
    if (op != IR_AMO_SWAP) v = ir_eval(as[op], type, type, 0, *old, v, 0, NULL);
    return gen_store(ctx, addr, size, v);
}

/* Reservations compare a version that all runs share: start each from the same. */
static void gen_run(const struct ir_func *f, uint64_t seed, struct gen_world *w)
{
    const struct ir_mem mem = {w, gen_load, gen_store, gen_rmw};

    memset(w, 0, sizeof *w);
    for (unsigned i = 0; i < 8; i++) w->state.x[i] = base_rand(&seed) >> (base_rand(&seed) & 63);
    for (unsigned i = 0; i < 4; i++) w->state.f[i] = base_rand(&seed);
    w->state.f[0] = 0x3ff0000000000000;
    w->state.fpenv.rm = (uint32_t)(seed % 5);
    w->state.res.addr = 1;
    for (unsigned i = 0; i < GEN_RAM; i++) w->ram[i] = (uint8_t)base_rand(&seed);
    ir_interp(f, &w->state, &mem, NULL, &w->end);
    w->state.res.version = 0;
}

static bool gen_reads_back(const struct ir_func *f, struct base_text *text)
{
    struct ir_func *again = ir_func_new(f->guest);
    struct base_text second = {0};
    const char *p;
    bool ok;

    ir_print(f, text);
    p = text->data;
    ok = ir_parse(again, &p, &second) == 0;
    if (ok) {
        ir_print(again, &second);
        ok = strcmp(text->data, second.data) == 0;
    }
    if (!ok) base_text_printf(text, "reads back as\n%s", second.data);
    base_text_free(&second);
    ir_func_free(again);
    return ok;
}

/* What is wrong with f, or NULL; the texts in *text, the reason in *message. */
static const char *gen_wrong(const struct ir_func *f, uint64_t seed, bool run,
                             struct base_text *text, struct base_text *message)
{
    struct ir_func *folded = ir_func_new(f->guest);
    struct gen_world *w = base_alloc(2 * sizeof *w);
    const char *what = NULL;

    if (!gen_reads_back(f, text)) what = "does not read back the same";
    ir_copy(folded, f);
    base_text_printf(text, "folded:\n");
    ir_print(folded, text);
    if (!what && !ir_verify(folded, message)) what = "does not verify when folded";
    for (unsigned k = 0; run && !what && k < 3; k++) {
        gen_run(f, seed + k, &w[0]);
        gen_run(folded, seed + k, &w[1]);
        if (memcmp(&w[0], &w[1], sizeof *w) != 0) what = "does something else when folded";
    }
    free(w);
    ir_func_free(folded);
    return what;
}

static bool gen_report(const char *what, struct base_text *text, struct base_text *message,
                       struct base_text *why)
{
    if (what)
        base_text_printf(why, "%s: %s\n%s", what, message->data ? message->data : "",
                         text->data ? text->data : "");
    base_text_free(text);
    base_text_free(message);
    return !what;
}

bool ir_gen_check(const uint8_t *bytes, size_t n, struct base_text *why)
{
    struct ir_func *f = ir_func_new(&ir_test_guest);
    struct base_text text = {0}, message = {0};
    const char *what;
    uint64_t seed = 1;

    for (size_t i = 0; i < n; i++) seed = seed * 31 + bytes[i];
    ir_gen(f, bytes, n);
    what = ir_verify(f, &message) ? gen_wrong(f, seed, true, &text, &message) : "does not verify";
    if (what && !text.data) ir_print(f, &text);
    ir_func_free(f);
    return gen_report(what, &text, &message, why);
}

bool ir_gen_check_text(const char *input, struct base_text *why)
{
    struct ir_func *f = ir_func_new(&ir_test_guest);
    struct base_text text = {0}, message = {0};
    const char *what = NULL;
    bool blocks = false;

    if (ir_parse(f, &input, &message) < 0) {
        if (!message.data) what = "refused without a reason";
    } else if (!ir_verify(f, &message)) {
        ir_print(f, &text); /* broken ones print, too */
        if (!message.data) what = "refused without a reason";
    } else {
        for (ir_ref r = IR_BIAS; r < f->nins; r++) /* loops may not end */
            blocks |= f->ins[r].op == IR_BLOCK;
        what = gen_wrong(f, 1, !blocks, &text, &message);
    }
    ir_func_free(f);
    return gen_report(what, &text, &message, why);
}
