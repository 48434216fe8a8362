/* ir_interp.c: the interpreter, the reference of what IR means. SPDX-License-Identifier: Apache-2.0
 *
 * Values live in an array on the stack, indexed by reference; everything else is in the
 * guest's state. Memory reached directly may fault, and the fault's signal handler may leave by
 * siglongjmp: nothing but the stack is owned here, the state holds exactly what the PUTs
 * before the access wrote, and its pc is that of the last IMARK.
 *
 * Common operations are spelled out; the rest goes to ir_eval, which says what they mean.
 */
#include "ir/ir_priv.h"

#include <stdatomic.h>

struct ir_run {
    const struct ir_func *f;
    const struct ir_mem *mem;
    struct ir_end *end;
    char *state;
    uint64_t *v; /* values; v[r] for references, constants included */
    uint64_t pc; /* of the last IMARK */
    struct ir_fpenv *fpenv;
    struct ir_reservation *res;
    uint64_t *state_pc;
};

/* ---- ends ------------------------------------------------------------ */

static void ir_end_at(struct ir_run *x, unsigned kind, uint64_t target)
{
    memset(x->end, 0, sizeof *x->end);
    x->end->kind = (uint8_t)kind;
    x->end->target = target;
    *x->state_pc = target;
}

static bool ir_end_fault(struct ir_run *x, uint64_t addr)
{
    ir_end_at(x, IR_END_FAULT, x->pc);
    x->end->fault_addr = addr;
    return false;
}

static bool ir_end_align(struct ir_run *x, uint64_t addr)
{
    ir_end_at(x, IR_END_TRAP, x->pc);
    x->end->trap = IR_TRAP_ALIGN;
    x->end->fault_addr = addr;
    return false;
}

/* ---- plain memory ---------------------------------------------------- */

static uint64_t ir_load_direct(uint64_t addr, unsigned size)
{
    const void *p = (const void *)(uintptr_t)addr;
    uint8_t b;
    uint16_t h;
    uint32_t w;
    uint64_t d;

    switch (size) {
    case 1: memcpy(&b, p, 1); return b;
    case 2: memcpy(&h, p, 2); return h;
    case 4: memcpy(&w, p, 4); return w;
    default: memcpy(&d, p, 8); return d;
    }
}

static void ir_store_direct(uint64_t addr, unsigned size, uint64_t v)
{
    void *p = (void *)(uintptr_t)addr;

    switch (size) {
    case 1: memcpy(p, &v, 1); break;
    case 2: memcpy(p, &v, 2); break;
    case 4: memcpy(p, &v, 4); break;
    default: memcpy(p, &v, 8); break;
    }
}

static bool ir_do_load(struct ir_run *x, uint64_t addr, unsigned size, uint64_t *v)
{
    if (x->mem && x->mem->load)
        return x->mem->load(x->mem->ctx, addr, size, v) || ir_end_fault(x, addr);
    *v = ir_load_direct(addr, size);
    return true;
}

static bool ir_do_ld(struct ir_run *x, const struct ir_ins *i, uint64_t *v)
{
    unsigned order = i->aux & IR_SEQ_CST;

    if (order == IR_SEQ_CST) atomic_thread_fence(memory_order_seq_cst);
    if (!ir_do_load(x, x->v[i->a] + (uint64_t)(int32_t)i->b, ir_bits(i->ty) / 8, v)) {
        x->end->again = i->aux & IR_LD_AGAIN;
        return false;
    }
    if (order) atomic_thread_fence(memory_order_acquire);
    return true;
}

static bool ir_do_st(struct ir_run *x, const struct ir_ins *i)
{
    uint64_t addr = x->v[i->a] + (uint64_t)(int32_t)i->b, v = x->v[i->c];
    unsigned size = ir_bits(ir_ty(x->f, i->c)) / 8, order = i->aux & IR_SEQ_CST;

    if (order) atomic_thread_fence(memory_order_release);
    if (x->mem && x->mem->store) {
        if (!x->mem->store(x->mem->ctx, addr, size, v)) return ir_end_fault(x, addr);
    } else {
        ir_store_direct(addr, size, v);
    }
    if (order == IR_SEQ_CST) atomic_thread_fence(memory_order_seq_cst);
    return true;
}

/* ---- atomics --------------------------------------------------------- */

static uint64_t ir_amo_value(unsigned op, unsigned ty, uint64_t old, uint64_t v)
{
    static const uint8_t as[] = {
        [IR_AMO_ADD] = IR_ADD,   [IR_AMO_XOR] = IR_XOR,   [IR_AMO_AND] = IR_AND,
        [IR_AMO_OR] = IR_OR,     [IR_AMO_MINS] = IR_MINS, [IR_AMO_MAXS] = IR_MAXS,
        [IR_AMO_MINU] = IR_MINU, [IR_AMO_MAXU] = IR_MAXU,
    };

    return op == IR_AMO_SWAP ? v : ir_eval(as[op], ty, ty, 0, old, v, 0, NULL);
}

/* Compare-and-swap; returns what was there. */
static uint64_t ir_cas_direct(uint64_t addr, unsigned size, uint64_t expected, uint64_t v)
{
    void *p = (void *)(uintptr_t)addr;
    uint8_t b = (uint8_t)expected;
    uint16_t h = (uint16_t)expected;
    uint32_t w = (uint32_t)expected;
    uint64_t d = expected;

    switch (size) {
    case 1:
        __atomic_compare_exchange_n((uint8_t *)p, &b, (uint8_t)v, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return b;
    case 2:
        __atomic_compare_exchange_n((uint16_t *)p, &h, (uint16_t)v, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return h;
    case 4:
        __atomic_compare_exchange_n((uint32_t *)p, &w, (uint32_t)v, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return w;
    default:
        __atomic_compare_exchange_n((uint64_t *)p, &d, v, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        return d;
    }
}

/* op: enum ir_amo, or -1 for compare-and-swap. */
static bool ir_do_rmw(struct ir_run *x, uint64_t addr, unsigned ty, int op, uint64_t v,
                      uint64_t expected, uint64_t *old)
{
    unsigned size = ir_bits(ty) / 8;

    if (addr & (size - 1)) return ir_end_align(x, addr);
    if (x->mem && x->mem->rmw)
        return x->mem->rmw(x->mem->ctx, addr, size, op, v, expected, old) || ir_end_fault(x, addr);
    if (op < 0) {
        *old = ir_cas_direct(addr, size, expected, v);
        return true;
    }
    for (uint64_t seen = ir_load_direct(addr, size);; seen = *old) {
        *old = ir_cas_direct(addr, size, seen, ir_amo_value((unsigned)op, ty, seen, v));
        if (*old == seen) return true;
    }
}

static bool ir_do_lr(struct ir_run *x, const struct ir_ins *i, uint64_t *v)
{
    uint64_t addr = x->v[i->a];
    unsigned size = ir_bits(i->ty) / 8;
    uint64_t version;

    if (addr & (size - 1)) return ir_end_align(x, addr);
    ir_res_watch(); /* its SC may be alone in another function */
    /* the version first: an SC between the two then shows */
    version = atomic_load_explicit(&ir_res.version[ir_res_hash(addr)], memory_order_acquire);
    if ((i->aux & IR_SEQ_CST) == IR_SEQ_CST) atomic_thread_fence(memory_order_seq_cst);
    if (!ir_do_load(x, addr, size, v)) return false;
    atomic_thread_fence(memory_order_acquire);
    x->res->addr = addr;
    x->res->value = *v;
    x->res->version = version;
    return true;
}

static bool ir_do_sc(struct ir_run *x, const struct ir_ins *i, uint64_t *failed)
{
    uint64_t addr = x->v[i->a], old, expected;
    unsigned ty = ir_ty(x->f, i->b);
    _Atomic uint32_t *version = &ir_res.version[ir_res_hash(addr)];

    if (addr & (ir_bits(ty) / 8 - 1)) return ir_end_align(x, addr);
    expected = x->res->value & ir_mask(ty);
    *failed = 1;
    ir_res_watch();
    if (x->res->addr == addr &&
        (i->aux & IR_SC_CONSTRAINED || atomic_load(version) == x->res->version)) {
        if (!ir_do_rmw(x, addr, ty, -1, x->v[i->b], expected, &old)) return false;
        if (old == expected) {
            atomic_fetch_add(version, 1);
            *failed = 0;
        }
    }
    x->res->addr = 1;
    return true;
}

static void ir_do_fence(unsigned sets)
{
    if (sets & IR_FENCE_PW && sets & IR_FENCE_SR)
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_acq_rel);
}

/* ---- control --------------------------------------------------------- */

/* The PHIs of block `to` take the values for predecessor `from`, all at once. Returns the
 * first instruction after them. */
static ir_ref ir_enter(struct ir_run *x, ir_ref from, ir_ref to)
{
    const struct ir_func *f = x->f;
    uint64_t inline_tmp[32], *tmp = inline_tmp;
    ir_ref first = to + 1, r = first;
    bool many;

    while (r < f->nins && f->ins[r].op == IR_PHI) r++;
    many = r - first > BASE_ARRAY_SIZE(inline_tmp);
    if (many) /* the array of values has room behind the last instruction for a second copy */
        tmp = x->v + IR_BIAS + IR_MAX_INS;
    for (ir_ref p = first; p < r; p++) {
        const uint32_t *pair = f->extra + f->ins[p].a;

        for (unsigned n = f->ins[p].b; n; n--, pair += 2)
            if (pair[0] == from) tmp[p - first] = x->v[pair[1]];
    }
    memcpy(x->v + first, tmp, (r - first) * sizeof *tmp);
    return r;
}

static inline void ir_do_put(struct ir_run *x, const struct ir_ins *i)
{
    char *p = x->state + ir_slot_offset(x->f, i->a);
    unsigned bits = ir_bits(ir_slot_type(x->f, i->a));

    if (base_likely(bits == 64))
        memcpy(p, &x->v[i->b], 8);
    else
        ir_store_direct((uintptr_t)p, bits / 8, x->v[i->b]);
}

static inline uint64_t ir_do_get(struct ir_run *x, const struct ir_ins *i)
{
    const char *p = x->state + ir_slot_offset(x->f, i->a);
    uint64_t v;

    if (base_unlikely(ir_bits(i->ty) != 64))
        return ir_load_direct((uintptr_t)p, ir_bits(i->ty) / 8);
    memcpy(&v, p, 8);
    return v;
}

static uint64_t ir_do_helper(struct ir_run *x, const struct ir_ins *i)
{
    const struct ir_guest *g = x->f->guest;
    uint64_t a = i->a ? x->v[i->a] : 0, b = i->b ? x->v[i->b] : 0, c = i->c ? x->v[i->c] : 0;

    BASE_ASSERT(g && i->aux < g->nhelpers);
    return g->helpers[i->aux].fn(x->state, a, b, c) & ir_mask(i->ty);
}

static uint64_t ir_do_pure(struct ir_run *x, const struct ir_ins *i)
{
    /* reading v[IR_NIL] of unused operands would be out of the array */
    return ir_eval(i->op, i->ty, ir_ty(x->f, i->a), i->aux, x->v[i->a], i->b ? x->v[i->b] : 0,
                   i->c ? x->v[i->c] : 0, x->fpenv);
}

static void ir_loop(struct ir_run *x, const volatile uint32_t *poll)
{
    const struct ir_func *f = x->f;
    uint64_t *v = x->v;
    ir_ref block = IR_NIL, r = IR_BIAS;

    for (;;) {
        const struct ir_ins *i = &f->ins[r];

        BASE_DASSERT(r < f->nins);
        switch (i->op) {
        case IR_IMARK: *x->state_pc = x->pc = ir_imark_pc(i); break;
        case IR_BLOCK: /* fell into: not in verified functions */
            base_bug(__FILE__, __LINE__, "%%%u: block entered without a jump", r - IR_BIAS);
        case IR_JMP:
            r = ir_enter(x, block, i->a);
            block = i->a;
            continue;
        case IR_BR: {
            ir_ref to = v[i->a] ? i->b : i->c;

            r = ir_enter(x, block, to);
            block = to;
            continue;
        }
        case IR_SIDE:
            if (v[i->a]) {
                ir_end_at(x, IR_END_EXIT, v[i->b]);
                x->end->exit_kind = IR_EXIT_JUMP;
                return;
            }
            break;
        case IR_EXIT:
            ir_end_at(x, IR_END_EXIT, v[i->a]);
            x->end->exit_kind = (uint8_t)i->aux;
            return;
        case IR_TRAP:
            ir_end_at(x, IR_END_TRAP, v[i->a]);
            x->end->trap = i->aux;
            x->end->info = i->b;
            return;
        case IR_POLL:
            if ((poll && *poll) || (x->mem && x->mem->poll && x->mem->poll(x->mem->ctx))) {
                ir_end_at(x, IR_END_POLL, x->pc);
                return;
            }
            break;
        case IR_GET: v[r] = ir_do_get(x, i); break;
        case IR_PUT: ir_do_put(x, i); break;
        case IR_ADD: v[r] = (v[i->a] + v[i->b]) & ir_mask(i->ty); break;
        case IR_SUB: v[r] = (v[i->a] - v[i->b]) & ir_mask(i->ty); break;
        case IR_AND: v[r] = v[i->a] & v[i->b]; break;
        case IR_OR: v[r] = v[i->a] | v[i->b]; break;
        case IR_XOR: v[r] = v[i->a] ^ v[i->b]; break;
        case IR_SEXT: v[r] = (uint64_t)ir_sval(ir_ty(f, i->a), v[i->a]) & ir_mask(i->ty); break;
        case IR_ZEXT: v[r] = v[i->a]; break;
        case IR_TRUNC: v[r] = v[i->a] & ir_mask(i->ty); break;
        case IR_SEL: v[r] = v[v[i->a] ? i->b : i->c]; break;
        case IR_STRIP: v[r] = ir_strip_run(x->mem, i->aux, v[i->a], v[i->b], v[i->c]); break;
        case IR_LD:
        case IR_PEEK:
            if (!ir_do_ld(x, i, &v[r])) return;
            break;
        case IR_ST:
            if (!ir_do_st(x, i)) return;
            break;
        case IR_AMO:
            if (!ir_do_rmw(x, v[i->a], i->ty, i->aux >> IR_AMO_SHIFT & 15, v[i->b], 0, &v[r]))
                return;
            break;
        case IR_CAS:
            if (!ir_do_rmw(x, v[i->a], i->ty, -1, v[i->c], v[i->b], &v[r])) return;
            break;
        case IR_LR:
            if (!ir_do_lr(x, i, &v[r])) return;
            break;
        case IR_SC:
            if (!ir_do_sc(x, i, &v[r])) return;
            break;
        case IR_FENCE: ir_do_fence(i->aux); break;
        case IR_FLGET: v[r] = x->fpenv->flags & 31; break;
        case IR_FLSET: x->fpenv->flags = (uint32_t)v[i->a] & 31; break;
        case IR_RMGET: v[r] = x->fpenv->rm & 7; break;
        case IR_RMSET: x->fpenv->rm = (uint32_t)v[i->a] & 7; break;
        case IR_HELPER: v[r] = ir_do_helper(x, i); break;
        default: v[r] = ir_do_pure(x, i); break;
        }
        r++;
    }
}

/* ---- entry point ----------------------------------------------------- */

void ir_interp(const struct ir_func *f, void *state, const struct ir_mem *mem,
               const volatile uint32_t *poll, struct ir_end *end)
{
    const struct ir_guest *g = f->guest;
    uint64_t values[IR_MAX_CONSTS + 2 * IR_MAX_INS];
    char *s = state;
    struct ir_run x = {
        .f = f,
        .mem = mem,
        .end = end,
        .state = s,
        .v = (uint64_t *)((uintptr_t)values - (IR_BIAS - IR_MAX_CONSTS) * sizeof *values),
        .fpenv = (struct ir_fpenv *)(s + (g ? g->fpenv_offset : (uint32_t)IR_NOGUEST_FPENV)),
        .res = (struct ir_reservation *)(s + (g ? g->res_offset : (uint32_t)IR_NOGUEST_RES)),
        .state_pc = (uint64_t *)(s + (g ? g->pc_offset : (uint32_t)IR_NOGUEST_PC)),
    };

    x.pc = *x.state_pc;
    for (ir_ref r = f->nk; r < IR_BIAS; r++) x.v[r] = ir_kval(f, r);
    ir_loop(&x, poll);
}
