/* t_jit_t2_random.c: control-flow regions drawn at random, compiled by tier 2's code
 * generator and compared with the interpreter. SPDX-License-Identifier: Apache-2.0
 *
 * usage: t_jit_t2_random [SEED [COUNT]]
 *
 * A function in state-SSA form is made by nesting straight code, if, and counted loops; each
 * slot's value is known while it is made, so PHIs are made where values meet. It is run by
 * ir_interp and as code, from the same state and memory, and everything must agree: slots,
 * memory, floating-point flags, and where it was left. Accesses now and then fault, so state
 * maps are compared, too.
 */
#include "jit/jit_priv.h"
#include "jit_gen.h"

#include <sys/mman.h>

enum { POOL = 24, BODY_MAX = 12, DEPTH_MAX = 3 };

struct gen {
    struct ir_func *f;
    uint64_t rand;
    ir_ref cur[JG_SLOTS];
    ir_ref block;            /* the present one; IR_NIL: the entry */
    ir_ref pool[IR_TYPE_COUNT][POOL];
    unsigned n[IR_TYPE_COUNT];
    uint64_t pc;
    unsigned blocks, loops;
};

static unsigned pick(struct gen *g, unsigned n) { return (unsigned)(base_rand(&g->rand) % n); }

/* ---- values ---------------------------------------------------------- */

static ir_ref constant(struct gen *g, unsigned ty)
{
    static const uint64_t odd[] = {0, 1, 2, 3, 7, 255, 0x7fffffff, 0x80000000, ~0ull,
                                   1ull << 63, 0x123456789abcdef0};
    static const uint64_t f64[] = {0, 0x3ff0000000000000, 0x7ff0000000000000, 0x7ff8000000001234,
                                   0x8000000000000000, 0x4008000000000000};
    static const uint32_t f32[] = {0, 0x3f800000, 0x7f800000, 0xffc12345, 0x80000000, 0x40490fdb};

    if (ty == IR_F64)
        return ir_kf(g->f, ty, f64[pick(g, BASE_ARRAY_SIZE(f64))]);
    if (ty == IR_F32)
        return ir_kf(g->f, ty, f32[pick(g, BASE_ARRAY_SIZE(f32))]);
    uint64_t v = pick(g, 2) ? odd[pick(g, BASE_ARRAY_SIZE(odd))] : pick(g, 4096);

    return ir_ki(g->f, ty, ir_type_bits(ty) == 64 ? v : base_zext(v, ir_type_bits(ty)));
}

static void note(struct gen *g, ir_ref r)
{
    unsigned ty = ir_ty(g->f, r);

    if (ir_is_const(r))
        return;
    if (g->n[ty] == POOL)
        g->pool[ty][pick(g, POOL)] = r;
    else
        g->pool[ty][g->n[ty]++] = r;
}

static ir_ref slot_value(struct gen *g, unsigned slot) { return g->cur[slot]; }

static ir_ref value(struct gen *g, unsigned ty)
{
    if (g->n[ty] && pick(g, 4))
        return g->pool[ty][pick(g, g->n[ty])];
    switch (ty) {
    case IR_I64:
        return pick(g, 8) ? slot_value(g, pick(g, JG_INT)) : constant(g, ty);
    case IR_F64:
        return pick(g, 8) ? slot_value(g, JG_INT + pick(g, JG_FP)) : constant(g, ty);
    case IR_I32:
        return pick(g, 5) ? ir_op1(g->f, IR_TRUNC, IR_I32, value(g, IR_I64)) : constant(g, ty);
    case IR_F32:
        return pick(g, 5) ? ir_op1(g->f, IR_FUNBOX, IR_F32, slot_value(g, JG_INT + pick(g, JG_FP)))
                          : constant(g, ty);
    default: return constant(g, ty);
    }
}

static ir_ref condition(struct gen *g)
{
    if (pick(g, 5) == 0) {
        unsigned ty = pick(g, 2) ? IR_F64 : IR_F32;
        static const uint8_t cc[] = {IR_EQ, IR_LTS, IR_LES};
        static const uint8_t how[] = {0, IR_FCMP_SIGNAL, IR_FCMP_SILENT};

        return ir_emit(g->f, IR_FCMP, IR_I1, cc[pick(g, 3)] | how[pick(g, 3)],
                       value(g, ty), value(g, ty), 0);
    }
    unsigned ty = pick(g, 3) ? IR_I64 : IR_I32;

    return ir_cmp(g->f, pick(g, 10), value(g, ty), pick(g, 2) ? value(g, ty) : constant(g, ty));
}

static void mark(struct gen *g)
{
    g->pc += 4;
    ir_imark(g->f, g->pc, 4);
}

static ir_ref address(struct gen *g)
{
    uint64_t mask = pick(g, 40) ? JG_RAM - 16 : 0x7ff0; /* beyond: faults */
    ir_ref index = ir_op2(g->f, IR_AND, IR_I64, value(g, IR_I64), ir_ki(g->f, IR_I64, mask));

    if (pick(g, 3) == 0)
        index = ir_op2(g->f, IR_SHL, IR_I64,
                       ir_op2(g->f, IR_AND, IR_I64, value(g, IR_I64), ir_ki(g->f, IR_I64, 255)),
                       ir_ki(g->f, IR_I64, pick(g, 4)));
    return ir_op2(g->f, IR_ADD, IR_I64, index, ir_kaddr(g->f, JG_BUFFER));
}

static const uint8_t int2[] = {IR_ADD, IR_ADD, IR_SUB, IR_MUL, IR_AND, IR_OR, IR_XOR, IR_SHL,
                               IR_SHR, IR_SAR, IR_ROL, IR_ROR, IR_MINS, IR_MAXU, IR_DIVS, IR_REMU};
static const uint8_t fp2[] = {IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV, IR_FADD, IR_FMUL, IR_FMIN};

static ir_ref pure(struct gen *g)
{
    struct ir_func *f = g->f;
    unsigned k = pick(g, 20), ity = pick(g, 2) ? IR_I64 : IR_I32,
             fty = pick(g, 2) ? IR_F64 : IR_F32;

    if (k == 0) { /* both halves of a product */
        ir_ref a = value(g, IR_I64), b = value(g, IR_I64), lo = ir_op2(f, IR_MUL, IR_I64, a, b);

        note(g, lo);
        return ir_op2(f, IR_MULHU, IR_I64, pick(g, 2) ? a : b, pick(g, 2) ? b : a);
    }
    if (k < 8)
        return ir_op2(f, int2[pick(g, sizeof int2)], ity, value(g, ity), value(g, ity));
    if (k < 10)
        return ir_op1(f, pick(g, 3) ? IR_SEXT : IR_ZEXT, IR_I64, value(g, IR_I32));
    if (k < 11) {
        ir_ref c = condition(g);

        return ir_emit(f, IR_SEL, ity, 0, c, value(g, ity), value(g, ity));
    }
    if (k < 12)
        return ir_op1(f, IR_SEXT, IR_I64, condition(g));
    if (k < 17) {
        unsigned op = fp2[pick(g, sizeof fp2)];

        return ir_emit(f, op, fty, op == IR_FMIN ? 0 : IR_RM_DYN, value(g, fty), value(g, fty), 0);
    }
    if (k == 17)
        return ir_emit(f, IR_FMA, fty, IR_RM_DYN, value(g, fty), value(g, fty), value(g, fty));
    if (k == 18)
        return ir_op1(f, pick(g, 2) ? IR_FNEG : IR_FABS, fty, value(g, fty));
    return pick(g, 2) ? ir_op1(f, IR_BITCAST, IR_I64, value(g, IR_F64))
                      : ir_emit(f, IR_FCVTIF, fty, IR_RM_DYN, value(g, ity), 0, 0);
}

static void put(struct gen *g)
{
    bool fp = pick(g, 2);
    unsigned slot = fp ? JG_INT + pick(g, JG_FP) : pick(g, JG_INT);
    ir_ref v;

    if (fp)
        v = pick(g, 2) ? value(g, IR_F64) : ir_op1(g->f, IR_FBOX, IR_F64, value(g, IR_F32));
    else
        v = pick(g, 2) ? value(g, IR_I64)
                       : ir_op1(g->f, pick(g, 4) ? IR_SEXT : IR_ZEXT, IR_I64, value(g, IR_I32));
    ir_emit(g->f, IR_PUT, IR_NONE, 0, slot, v, 0);
    g->cur[slot] = v;
}

/* One guest instruction. */
static void instruction(struct gen *g)
{
    static const uint8_t mem[] = {IR_I8, IR_I16, IR_I32, IR_I32, IR_I64, IR_I64, IR_F32, IR_F64};
    struct ir_func *f = g->f;

    mark(g);
    for (unsigned n = pick(g, 4); n; n--)
        note(g, pure(g));
    switch (pick(g, 8)) {
    case 0: {
        unsigned ty = mem[pick(g, sizeof mem)];
        ir_ref v = ir_ld(f, ty, IR_AS_GUEST, address(g), (int32_t)pick(g, 16));

        if (ty == IR_I8 || ty == IR_I16)
            v = ir_op1(f, pick(g, 2) ? IR_SEXT : IR_ZEXT, IR_I64, v);
        note(g, v);
        break;
    }
    case 1: {
        unsigned ty = mem[2 + pick(g, sizeof mem - 2)];

        ir_st(f, IR_AS_GUEST, address(g), (int32_t)pick(g, 16), value(g, ty));
        break;
    }
    case 2:
        if (pick(g, 3) == 0) {
            ir_ref rare = ir_cmp(f, IR_EQ,
                                 ir_op2(f, IR_AND, IR_I64, value(g, IR_I64),
                                        ir_ki(f, IR_I64, 127)),
                                 ir_ki(f, IR_I64, 77));

            ir_emit(f, IR_SIDE, IR_NONE, 0, rare, ir_kaddr(f, 0x100000 + g->pc), 0);
        }
        break;
    case 3:
        if (pick(g, 10) == 0)
            note(g, ir_op1(f, IR_ZEXT, IR_I64, ir_emit(f, IR_FLGET, IR_I32, 0, 0, 0, 0)));
        break;
    }
    for (unsigned n = pick(g, 4); n; n--)
        put(g);
}

/* ---- control --------------------------------------------------------- */

/* Values made in a branch do not dominate what comes after it. */
static void pool_back(struct gen *g, ir_ref limit)
{
    for (unsigned ty = 0; ty < IR_TYPE_COUNT; ty++) {
        unsigned n = 0;

        for (unsigned k = 0; k < g->n[ty]; k++)
            if (g->pool[ty][k] < limit)
                g->pool[ty][n++] = g->pool[ty][k];
        g->n[ty] = n;
    }
}

static ir_ref begin_block(struct gen *g)
{
    g->blocks++;
    return g->block = ir_emit(g->f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
}

static ir_ref phi(struct gen *g, unsigned ty, ir_ref b0, ir_ref v0, ir_ref b1, ir_ref v1)
{
    struct ir_func *f = g->f;
    uint32_t at = f->nextra;

    if (f->nextra + 4 > f->cap_extra) {
        f->cap_extra = f->cap_extra ? 2 * f->cap_extra : 256;
        f->extra = base_realloc(f->extra, f->cap_extra * sizeof *f->extra);
    }
    f->extra[at] = b0, f->extra[at + 1] = v0, f->extra[at + 2] = b1, f->extra[at + 3] = v1;
    f->nextra += 4;
    return ir_emit(f, IR_PHI, ty, 0, at, 2, 0);
}

static void sequence(struct gen *g, unsigned depth);

static void branch(struct gen *g, unsigned depth)
{
    struct ir_func *f = g->f;
    ir_ref before[JG_SLOTS], then[JG_SLOTS], br, jmp, end_then, end_else, limit;

    mark(g);
    br = ir_emit(f, IR_BR, IR_NONE, 0, condition(g), 0, 0);
    limit = f->nins;
    memcpy(before, g->cur, sizeof before);
    f->ins[br].b = begin_block(g);
    sequence(g, depth + 1);
    end_then = g->block;
    jmp = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);
    memcpy(then, g->cur, sizeof then);
    memcpy(g->cur, before, sizeof before);
    pool_back(g, limit);
    f->ins[br].c = begin_block(g);
    if (pick(g, 3))
        sequence(g, depth + 1);
    end_else = g->block;
    ir_ref jmp2 = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);

    pool_back(g, limit);
    f->ins[jmp].a = f->ins[jmp2].a = begin_block(g);
    ir_ref joined[JG_SLOTS];

    for (unsigned s = 0; s < JG_SLOTS; s++)
        joined[s] = then[s] == g->cur[s] ? IR_NIL
                                         : phi(g, s < JG_INT ? IR_I64 : IR_F64, end_then, then[s],
                                               end_else, g->cur[s]);
    for (unsigned s = 0; s < JG_SLOTS; s++) {
        if (!joined[s])
            continue;
        ir_emit(f, IR_PUT, IR_NONE, 0, s, joined[s], 0);
        g->cur[s] = joined[s];
    }
}

static void loop(struct gen *g, unsigned depth)
{
    struct ir_func *f = g->f;
    ir_ref in = g->block, header, phis[JG_SLOTS] = {0}, count, next, i32phi = 0, f32phi = 0;

    g->loops++;
    ir_ref c0 = ir_ki(f, IR_I64, 1 + pick(g, 12)), i0 = value(g, IR_I32), f0 = value(g, IR_F32);
    ir_ref jmp = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);

    header = begin_block(g);
    f->ins[jmp].a = header;
    count = phi(g, IR_I64, in, c0, 0, 0);
    i32phi = phi(g, IR_I32, in, i0, 0, 0);
    f32phi = phi(g, IR_F32, in, f0, 0, 0);
    for (unsigned s = 0; s < JG_SLOTS; s++)
        phis[s] = phi(g, s < JG_INT ? IR_I64 : IR_F64, in, g->cur[s], 0, 0);
    for (unsigned s = 0; s < JG_SLOTS; s++) {
        ir_emit(f, IR_PUT, IR_NONE, 0, s, phis[s], 0);
        g->cur[s] = phis[s];
    }
    note(g, i32phi);
    note(g, f32phi);
    sequence(g, depth + 1);
    mark(g);
    ir_emit(f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    next = ir_op2(f, IR_SUB, IR_I64, count, ir_ki(f, IR_I64, 1));
    ir_ref i1 = value(g, IR_I32), f1 = value(g, IR_F32);
    ir_ref again = ir_cmp(f, IR_NE, next, ir_ki(f, IR_I64, 0)), latch = g->block;
    ir_ref br = ir_emit(f, IR_BR, IR_NONE, 0, again, header, 0);
    ir_ref all[3 + JG_SLOTS] = {count, i32phi, f32phi}, last[3 + JG_SLOTS] = {next, i1, f1};

    memcpy(all + 3, phis, sizeof phis);
    memcpy(last + 3, g->cur, sizeof g->cur);
    for (unsigned k = 0; k < 3 + JG_SLOTS; k++) {
        uint32_t *o = f->extra + f->ins[all[k]].a;

        o[2] = latch;
        o[3] = last[k];
    }
    f->ins[br].c = begin_block(g);
}

static void sequence(struct gen *g, unsigned depth)
{
    for (unsigned n = 1 + pick(g, 4); n; n--) {
        unsigned k = pick(g, 10);

        if (depth < DEPTH_MAX && k == 0 && g->blocks < 30)
            branch(g, depth);
        else if (depth < DEPTH_MAX && k <= 2 && g->blocks < 30)
            loop(g, depth);
        else
            for (unsigned i = 1 + pick(g, BODY_MAX / 2); i; i--)
                instruction(g);
    }
}

/* PHIs of loops that nothing changes are folded, as SSA construction would: else every slot
 * is live in every loop, which also happens, so only now and then. */
static void prune(struct gen *g)
{
    struct ir_func *f = g->f;

    for (bool change = true; change;) {
        change = false;
        for (ir_ref r = IR_BIAS; r < f->nins; r++) {
            struct ir_ins *i = &f->ins[r];
            ir_ref same = IR_NIL;
            bool trivial = i->op == IR_PHI;

            for (uint32_t n = 0; trivial && n < i->b; n++) {
                ir_ref o = f->extra[i->a + 2 * n + 1];

                if (o == r || o == same)
                    continue;
                trivial = same == IR_NIL;
                same = o;
            }
            if (!trivial || same == IR_NIL)
                continue;
            change = true;
            for (ir_ref u = IR_BIAS; u < f->nins; u++) {
                struct ir_ins *k = &f->ins[u];
                uint32_t *v[3] = {&k->a, &k->b, &k->c};

                if (k->op == IR_PHI) {
                    for (uint32_t n = 0; n < k->b; n++)
                        if (f->extra[k->a + 2 * n + 1] == r)
                            f->extra[k->a + 2 * n + 1] = same;
                    continue;
                }
                for (unsigned o = 0; o < 3; o++) {
                    unsigned opd = ir_ops[k->op].opd[o];

                    if ((opd == IR_OPD_R || opd == IR_OPD_A || opd == IR_OPD_I ||
                         opd == IR_OPD_C) && *v[o] == r)
                        *v[o] = same;
                }
            }
            i->op = IR_IMARK; /* dropped below */
            i->aux = 0xffff;
        }
    }
    ir_ref *map = base_zalloc(f->nins * sizeof *map), to = IR_BIAS;

    for (ir_ref r = f->nk; r < IR_BIAS; r++)
        map[r] = r;
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        if (f->ins[r].op == IR_IMARK && f->ins[r].aux == 0xffff)
            continue;
        map[r] = to;
        f->ins[to++] = f->ins[r];
    }
    f->nins = to;
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        struct ir_ins *k = &f->ins[r];
        uint32_t *v[3] = {&k->a, &k->b, &k->c};

        if (k->op == IR_PUT)
            k->c = 0;
        for (unsigned o = 0; o < 3; o++) {
            unsigned opd = ir_ops[k->op].opd[o];

            if (opd == IR_OPD_R || opd == IR_OPD_A || opd == IR_OPD_I || opd == IR_OPD_C ||
                opd == IR_OPD_B)
                *v[o] = map[*v[o]];
        }
        for (uint32_t n = 0; k->op == IR_PHI && n < 2 * k->b; n++)
            f->extra[k->a + n] = map[f->extra[k->a + n]];
    }
    free(map);
}

static void generate(struct ir_func *f, const struct ir_guest *guest, uint64_t seed)
{
    struct gen g = {.f = f, .rand = seed, .pc = 0x10000};

    ir_func_reset(f);
    f->key = 0x10000;
    f->nguest = 100;
    for (unsigned s = 0; s < JG_SLOTS; s++)
        g.cur[s] = ir_get(f, s);
    ir_ref jmp = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);

    f->ins[jmp].a = begin_block(&g);
    sequence(&g, 0);
    mark(&g);
    for (unsigned n = pick(&g, 6); n; n--)
        put(&g);
    switch (pick(&g, 4)) {
    case 0: { /* an address is even, and has room for a mode above */
        ir_ref to = ir_op2(f, IR_AND, IR_I64, value(&g, IR_I64), ir_ki(f, IR_I64, 0xfffffffffffe));

        ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_RET, to, 0, 0);
        break;
    }
    case 1: ir_emit(f, IR_TRAP, IR_NONE, IR_TRAP_SYSCALL, ir_kaddr(f, g.pc), 0, 0); break;
    default: ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(f, 0x900000), 0, 0);
    }
    prune(&g);
}

/* ---- running --------------------------------------------------------- */

struct outcome {
    struct jg_state state;
    uint8_t ram[JG_RAM];
    int fault;
};

static bool mem_ok(uint64_t addr, unsigned size, bool write)
{
    return addr >= JG_BUFFER && addr + size <= JG_BUFFER + (write ? JG_RAM : JG_RAM + JG_PAGE);
}
static bool do_load(void *ctx, uint64_t addr, unsigned size, uint64_t *v)
{
    if (!mem_ok(addr, size, false))
        return false;
    *v = 0;
    memcpy(v, (void *)(uintptr_t)addr, size);
    return true;
}
static bool do_store(void *ctx, uint64_t addr, unsigned size, uint64_t v)
{
    if (!mem_ok(addr, size, true))
        return false;
    memcpy((void *)(uintptr_t)addr, &v, size);
    return true;
}
static bool do_rmw(void *ctx, uint64_t addr, unsigned size, int op, uint64_t v, uint64_t expected,
                   uint64_t *old)
{
    return false;
}

static void start(struct jg_state *s, uint64_t seed)
{
    uint8_t *ram = (uint8_t *)(uintptr_t)JG_BUFFER;
    static const uint64_t f[] = {0x3ff8000000000000, 0xffffffff3f800000, 0xffffffff7fc00000,
                                 0x7ff8000000000001, 0xffffffffc0a00000, 0x0010000000000000,
                                 0x7ff0000000000000, 0xffffffff00000001, 0xffffffffffa00000};

    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < JG_INT; i++)
        s->x[i] = base_rand(&seed) >> base_rand(&seed) % 64;
    for (unsigned i = 0; i < JG_FP; i++)
        s->f[i] = base_rand(&seed) % 3 ? f[base_rand(&seed) % BASE_ARRAY_SIZE(f)]
                                       : base_rand(&seed);
    s->res.addr = 1;
    s->pc = 0x10000;
    for (unsigned i = 0; i < JG_RAM; i += 8) {
        uint64_t v = base_rand(&seed);

        if (i % 32 == 0)
            v = f[v % BASE_ARRAY_SIZE(f)];
        memcpy(ram + i, &v, 8);
    }
}

static void interpret(const struct ir_func *f, uint64_t seed, struct outcome *o)
{
    struct ir_mem mem = {NULL, do_load, do_store, do_rmw};
    struct ir_end end = {0};

    start(&o->state, seed);
    ir_interp(f, &o->state, &mem, NULL, &end);
    o->state.pc = end.target;
    o->fault = end.kind == IR_END_FAULT;
    memcpy(o->ram, (void *)(uintptr_t)JG_BUFFER, JG_RAM);
}

static void run_code(struct jit_vcpu *v, const struct jit_region *r, uint64_t seed,
                     struct outcome *o)
{
    struct jit *j = v->jit;

    start((struct jg_state *)v->state, seed);
    v->poll = 0;
    v->chained = 0;
    jit_current = v;
    j->host->fp_load(v, jit_env_of(v));
    jit_code_begin(v);
    jit_enter(v, r);
    jit_code_end(v);
    if (v->exit_id != JIT_EXIT_FAULT && v->exit_id != JIT_EXIT_MISS &&
        (v->exit_id & JIT_EXIT_DEOPT)) {
        printf("not ok - left through a map\n");
        exit(1);
    }
    *jit_pc_of(v) = jit_exit_pc(v);
    j->host->fp_store(v, jit_env_of(v));
    o->fault = v->exit_id == JIT_EXIT_FAULT;
    memcpy(&o->state, v->state, sizeof o->state);
    memcpy(o->ram, (void *)(uintptr_t)JG_BUFFER, JG_RAM);
}

static bool differ(const struct outcome *want, const struct outcome *got, struct base_text *out)
{
    const struct jg_state *w = &want->state, *g = &got->state;

#define FIELD(name, a, b) \
    if ((a) != (b)) \
    base_text_printf(out, "  " name ": want %#llx, got %#llx\n", (unsigned long long)(a), \
                     (unsigned long long)(b))
    FIELD("fault", want->fault, got->fault);
    FIELD("pc", w->pc, g->pc);
    FIELD("flags", w->fp.flags, g->fp.flags);
#undef FIELD
    for (unsigned i = 0; i < JG_INT + JG_FP; i++) {
        uint64_t a = i < JG_INT ? w->x[i] : w->f[i - JG_INT];
        uint64_t b = i < JG_INT ? g->x[i] : g->f[i - JG_INT];

        if (a != b)
            base_text_printf(out, "  %c%u: want %#llx, got %#llx\n", i < JG_INT ? 'x' : 'f',
                             i < JG_INT ? i : i - JG_INT, (unsigned long long)a,
                             (unsigned long long)b);
    }
    for (unsigned i = 0; i < JG_RAM; i++)
        if (want->ram[i] != got->ram[i]) {
            base_text_printf(out, "  memory at %#x: want %#x, got %#x\n", i, want->ram[i],
                             got->ram[i]);
            break;
        }
    return out->len != 0;
}

static struct jit_region *compile(struct jit_vcpu *v, void **scratch, struct ir_func *f,
                                  const char **why)
{
    struct jit *j = v->jit;
    struct jit_priv *p = j->p;
    struct jit_region *r;

    p->code.want_marks = false;
    if (j->host->compile2(j, scratch, f, &p->code) != 0) {
        *why = p->code.gave_up;
        return NULL;
    }
    pthread_mutex_lock(&p->lock);
    memset(&p->formed, 0, sizeof p->formed);
    p->formed.range[0] = (struct jit_range){0x10000, 4};
    p->formed.nranges = 1;
    r = jit_install(j, f->key, &p->code, &p->formed);
    if (!r) {
        jit_flush(j, v);
        r = jit_install(j, f->key, &p->code, &p->formed);
    }
    if (r)
        jit_region_publish(j, r);
    pthread_mutex_unlock(&p->lock);
    *why = "no room";
    return r;
}

static void on_fault(int sig, siginfo_t *info, void *uc)
{
    if (!jit_current || !jit_handle_fault(jit_current, sig, info, uc)) {
        fprintf(stderr, "fault at an unexpected place\n");
        abort();
    }
}

static unsigned gave_up, regions;

static bool one(struct jit_vcpu *v, void **scratch, struct ir_func *f, uint64_t seed,
                const char *config)
{
    static struct outcome want, got;
    struct base_text diff = {0}, error = {0};
    const char *why;

    generate(f, v->jit->cfg.guest, seed);
    if (!ir_verify(f, &error)) {
        struct base_text text = {0};

        ir_print(f, &text);
        printf("%s\nnot ok - seed %llu: generator: %s\n", text.data, (unsigned long long)seed,
               error.data);
        return false;
    }
    struct jit_region *r = compile(v, scratch, f, &why);

    regions++;
    if (!r) {
        gave_up++;
        if (strcmp(why, "out of spill slots") != 0)
            printf("seed %llu gave up: %s\n", (unsigned long long)seed, why);
        return true;
    }
    for (unsigned n = 0; n < 4; n++) {
        interpret(f, seed * 7 + n, &want);
        run_code(v, r, seed * 7 + n, &got);
        if (differ(&want, &got, &diff)) {
            if (getenv("T2_DUMP"))
                jit_dump_region(v->jit, stdout, "ihm", f, r, NULL);
            printf("%s\nnot ok - seed %llu, run %u, %s\n", diff.data, (unsigned long long)seed, n,
                   config);
            base_text_free(&diff);
            return false;
        }
    }
    return true;
}

static const struct {
    const char *name, *features;
    unsigned hot_int, hot_fp;
    bool random;
} configs[] = {
    {"plain", NULL, 14, 14, false},
    {"no AVX, no BMI", "-avx,-avx2,-bmi,-bmi1,-bmi2,-avx512,-fma", 14, 14, false},
    {"random registers", NULL, 14, 14, true},
    {"few pinned", NULL, 3, 2, false},
};

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 300, failed = 0;

    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    jg_init();
    sigaction(SIGSEGV, &sa, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    for (unsigned c = 0; c < BASE_ARRAY_SIZE(configs); c++) {
        struct ir_guest guest = jg_guest(configs[c].hot_int, configs[c].hot_fp);
        struct jit_config cfg = {.guest = &guest,
                                 .features = c == 1 ? "-avx,-bmi" : configs[c].features,
                                 .random_ra = configs[c].random,
                                 .seed = seed,
                                 .dump_file = stdout,
                                 .cache_size = 8 << 20};
        struct jit_vcpu *v = jg_machine(&cfg);
        struct ir_func *f = ir_func_new(&guest);
        void *scratch = NULL;
        unsigned bad = 0;

        if (!v)
            return 1;
        for (unsigned n = 0; n < count && bad < 3; n++)
            bad += !one(v, &scratch, f, seed * 1000 + n, configs[c].name);
        if (!bad)
            printf("ok - %u regions, %s\n", count, configs[c].name);
        failed += bad;
        free(scratch);
        ir_func_free(f);
        jg_machine_free(v);
    }
    printf("%u regions, %u gave up\n", regions, gave_up);
    return failed != 0;
}
