/* x64_mem.c: tier 1, memory and atomics. SPDX-License-Identifier: Apache-2.0
 *
 * Guest addresses are host addresses. Everything here may fault: the state map
 * is made after the operands have their registers, and the registers that a
 * sequence writes before its faulting instruction are locked by then, so that
 * no value of the map is in them. Misaligned atomics leave through the map and
 * are dealt with by the interpreter.
 *
 * x86 orders all but a store before a later load, so acquire and release cost
 * nothing and only a fence of that kind is an instruction.
 */
#include "host/x64/x64_t1.h"

/* ---- addresses ------------------------------------------------------- */

static struct x64_mem x64_address(struct x64_t1 *t, ir_ref a, int32_t disp)
{
    struct ir_ins *i = x64_ins(t, a);

    /* base + index << k, if nothing else wants the sum */
    if (!ir_is_const(a) && i->op == IR_ADD && t->val[a].reg == X64_NONE && t->val[a].uses == 1 &&
        !ir_is_const(i->b) && !(t->val[a].flags & X64_V_SPILL)) {
        struct x64_mem m = {.disp = disp};
        struct ir_ins *s = x64_ins(t, i->b);
        unsigned k;

        /* a map that needs the sum would compute it all the same */
        for (uint64_t w = t->watch; w; w &= w - 1)
            if (t->cur[__builtin_ctzll(w)] == a)
                return x64_at(x64_use(t, a), disp);
        if (s->op == IR_SHL && ir_is_const(s->b) && t->val[i->b].reg == X64_NONE &&
            (k = (unsigned)ir_kval(t->f, s->b)) <= 3) {
            m.scale = (uint8_t)k;
            m.index = (uint8_t)x64_use(t, s->a);
        } else {
            m.index = (uint8_t)x64_use(t, i->b);
        }
        m.base = (uint8_t)x64_use(t, i->a);
        return m;
    }
    return x64_at(x64_use(t, a), disp);
}

/* ---- loads and stores ------------------------------------------------ */

static void x64_fload(struct x64_t1 *t, unsigned ty, unsigned d, struct x64_mem m)
{
    uint32_t op = X64_OP(1, ty == IR_F64 ? 3 : 2, 0x10); /* movsd, movss */

    if (ty == IR_F16) { /* pinsrw d, [m], 0 */
        x64_b(&t->out, 0);
        x64_rm(&t->out, X64_OP(1, 1, 0xc4), 0, d, m);
    } else if (x64_cpu(t, X64_CPU_AVX)) {
        x64_vrm(&t->out, op, 0, d, 0, m);
    } else {
        x64_rm(&t->out, op, 0, d, m);
    }
}

static void x64_fstore(struct x64_t1 *t, unsigned ty, struct x64_mem m, unsigned s)
{
    uint32_t op = X64_OP(1, ty == IR_F64 ? 3 : 2, 0x11);

    if (ty == IR_F16) { /* pextrw [m], s, 0 */
        x64_b(&t->out, 0);
        x64_rm(&t->out, X64_OP(3, 1, 0x15), 0, s, m);
    } else if (x64_cpu(t, X64_CPU_AVX)) {
        x64_vrm(&t->out, op, 0, s, 0, m);
    } else {
        x64_rm(&t->out, op, 0, s, m);
    }
}

static void x64_iload(struct x64_t1 *t, unsigned ty, bool sext, unsigned d, struct x64_mem m)
{
    switch (ty) {
    case IR_I8: x64_rm(&t->out, X64_OP(1, 0, sext ? 0xbe : 0xb6), sext, d, m); break;
    case IR_I16: x64_rm(&t->out, X64_OP(1, 0, sext ? 0xbf : 0xb7), sext, d, m); break;
    case IR_I32: x64_rm(&t->out, sext ? 0x63 : 0x8b, sext, d, m); break;
    default: x64_rm(&t->out, 0x8b, 1, d, m); break;
    }
}

static bool x64_load(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    bool fp = ir_is_float(i->ty);
    unsigned d, map = 0;
    struct x64_mem m;

    if (!fp && (i->ty < IR_I8 || i->ty > IR_I64) && i->ty != IR_REF)
        return false;
    d = x64_def(t, r, fp ? (uint32_t)X64_FPRS : X64_GPRS);
    m = x64_address(t, i->a, (int32_t)i->b);
    if (i->op == IR_LD)
        map = x64_map(t);
    if (fp)
        x64_fload(t, i->ty, d, m);
    else
        x64_iload(t, i->ty, t->val[r].flags & X64_V_SEXT, d, m);
    if (i->op != IR_LD)
        return true; /* PEEK: does not fault */
    x64_point(t, map);
    if (i->aux & IR_LD_AGAIN)
        t->c->points.data[t->c->points.len - 1].again = 1;
    x64_force_deopt(t, map);
    return true;
}

static ir_ref x64_store_src(struct x64_t1 *t, ir_ref c)
{
    const struct ir_ins *i = x64_ins(t, c);

    if (ir_is_const(c))
        return c;
    if (ir_is_int(i->ty))
        return x64_src(t, c);
    if (i->op == IR_FLOW && t->val[c].reg == X64_NONE)
        return i->a; /* the low bits of the register */
    return c;
}

static bool x64_store(struct x64_t1 *t, struct ir_ins *i)
{
    unsigned ty = x64_ins(t, i->c)->ty, s = X64_NONE, x = X64_NONE, map;
    ir_ref c = x64_store_src(t, i->c);
    bool fp = ir_is_float(ty), late = fp && x64_canon_late(t, c);
    struct x64_mem m;
    int32_t imm = 0;

    if (!fp && (ty < IR_I8 || ty > IR_I64) && ty != IR_REF)
        return false;
    if (fp && !late)
        t->val[c].flags |= X64_V_CANON;
    if ((i->aux & IR_SEQ_CST) == IR_SEQ_CST) {
        x64_b(&t->out, 0xf0); /* mfence */
        x64_b(&t->out, 0xae);
        x64_b(&t->out, 0x0f);
    }
    m = x64_address(t, i->a, (int32_t)i->b);
    if (fp || !x64_imm32(t, c, ty == IR_I64, &imm))
        s = x64_use(t, c);
    if (late)
        x = x64_temp(t, (uint32_t)X64_FPRS);
    map = x64_map(t);
    if (fp) {
        x64_fstore(t, ty, m, late ? x : s);
    } else if (s == X64_NONE) {
        if (ty == IR_I8) {
            x64_b(&t->out, (unsigned)imm);
            x64_rm(&t->out, 0xc6, 0, 0, m);
        } else if (ty == IR_I16) {
            x64_b(&t->out, (unsigned)imm >> 8);
            x64_b(&t->out, (unsigned)imm);
            x64_rm(&t->out, X64_OP(0, 1, 0xc7), 0, 0, m);
        } else {
            x64_mov_mi(&t->out, ty == IR_I64, m, imm);
        }
    } else if (ty == IR_I8) {
        x64_rm8(&t->out, 0x88, s, m);
    } else if (ty == IR_I16) {
        x64_rm(&t->out, X64_OP(0, 1, 0x89), 0, s, m);
    } else {
        x64_rm(&t->out, 0x89, ty != IR_I32, s, m);
    }
    x64_point(t, map);
    x64_force_deopt(t, map);
    if (late)
        x64_canon_copy(t, ty, x, s);
    return true;
}

/* ---- atomics --------------------------------------------------------- */

/* Leaves by the map if the address in reg is not a multiple of size. */
static void x64_check_aligned(struct x64_t1 *t, unsigned reg, unsigned size, unsigned map)
{
    if (size > 1) {
        x64_jcc(t, CC_NE, JIT_RELOC_PC32_DEOPT, map, 0);
        x64_test_ri(&t->out, 0, reg, (int32_t)size - 1);
    }
    x64_force_deopt(t, map);
}

static void x64_lock_prefix(struct x64_t1 *t) { x64_b(&t->out, 0xf0); }

/* lock cmpxchg [ra], s: compares with rax */
static void x64_cmpxchg(struct x64_t1 *t, int w, unsigned ra, unsigned s, unsigned map)
{
    x64_rm(&t->out, X64_OP(1, 0, 0xb1), w, s, x64_at(ra, 0));
    x64_lock_prefix(t);
    x64_point(t, map);
}

/* Clears rax of what it holds, for an instruction that uses it; locks d. */
static void x64_take_rax(struct x64_t1 *t, unsigned d)
{
    t->lock |= 1u << d;
    if (d != RAX)
        x64_clear_reg(t, RAX);
    t->lock |= 1u << RAX;
}

static void x64_amo_loop(struct x64_t1 *t, ir_ref r, struct ir_ins *i, unsigned op)
{
    static const uint8_t take_b[] = {[IR_AMO_MINS] = CC_G, [IR_AMO_MAXS] = CC_L,
                                     [IR_AMO_MINU] = CC_A, [IR_AMO_MAXU] = CC_B};
    static const uint8_t alu[] = {[IR_AMO_XOR] = ALU_XOR, [IR_AMO_AND] = ALU_AND,
                                  [IR_AMO_OR] = ALU_OR};
    int w = i->ty == IR_I64;
    unsigned d = x64_def(t, r, X64_GPRS), ra, rb, tmp, map;
    uint8_t *after;

    x64_take_rax(t, d);
    ra = x64_use(t, i->a);
    rb = x64_use(t, x64_src(t, i->b));
    tmp = x64_temp(t, X64_GPRS);
    map = x64_map(t);
    x64_mov_reg(t, d, RAX);
    after = t->out.p;
    x64_b(&t->out, 0);
    x64_b(&t->out, 0x75); /* jne: again with the value that was there */
    x64_cmpxchg(t, w, ra, tmp, map);
    if (op >= IR_AMO_MINS) {
        x64_rr(&t->out, X64_OP(1, 0, 0x40 | take_b[op]), w, tmp, rb);
        x64_alu_rr(&t->out, ALU_CMP, w, RAX, rb);
    } else {
        x64_alu_rr(&t->out, alu[op], w, tmp, rb);
    }
    x64_mov(&t->out, 1, tmp, RAX);
    after[-1] = (uint8_t)(t->out.p - after);
    x64_rm(&t->out, 0x8b, w, RAX, x64_at(ra, 0));
    x64_point(t, map);
    x64_check_aligned(t, ra, w ? 8 : 4, map);
}

static bool x64_amo(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned op = i->aux >> IR_AMO_SHIFT & 15, d, ra, rb, map;
    int w = i->ty == IR_I64;
    bool wanted = t->val[r].reg != X64_NONE || (t->val[r].flags & X64_V_SPILL);

    if (i->ty != IR_I64 && i->ty != IR_I32)
        return false;
    if (!wanted && op >= IR_AMO_ADD && op <= IR_AMO_OR) { /* lock op [ra], rb */
        static const uint8_t alu[] = {[IR_AMO_ADD] = ALU_ADD, [IR_AMO_XOR] = ALU_XOR,
                                      [IR_AMO_AND] = ALU_AND, [IR_AMO_OR] = ALU_OR};

        ra = x64_use(t, i->a);
        rb = x64_use(t, x64_src(t, i->b));
        map = x64_map(t);
        x64_rm(&t->out, (uint32_t)alu[op] << 3 | 1, w, rb, x64_at(ra, 0));
        x64_lock_prefix(t);
        x64_point(t, map);
        x64_check_aligned(t, ra, w ? 8 : 4, map);
        return true;
    }
    if (op != IR_AMO_SWAP && op != IR_AMO_ADD) {
        x64_amo_loop(t, r, i, op);
        return true;
    }
    d = x64_def(t, r, X64_GPRS);
    t->lock |= 1u << d;
    ra = x64_use(t, i->a);
    rb = x64_use(t, x64_src(t, i->b));
    map = x64_map(t);
    x64_rm(&t->out, op == IR_AMO_SWAP ? 0x87 : X64_OP(1, 0, 0xc1), w, d, x64_at(ra, 0));
    if (op == IR_AMO_ADD)
        x64_lock_prefix(t);
    x64_point(t, map);
    x64_mov_reg(t, d, rb);
    x64_check_aligned(t, ra, w ? 8 : 4, map);
    return true;
}

static bool x64_cas(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = i->ty == IR_I64;
    unsigned d, ra, rb, rc, map;

    if (i->ty != IR_I64 && i->ty != IR_I32)
        return false;
    d = x64_def(t, r, X64_GPRS);
    x64_take_rax(t, d);
    ra = x64_use(t, i->a);
    rb = x64_use(t, x64_src(t, i->b));
    rc = x64_use(t, x64_src(t, i->c));
    map = x64_map(t);
    x64_mov_reg(t, d, RAX);
    x64_cmpxchg(t, w, ra, rc, map);
    x64_mov_reg(t, RAX, rb);
    x64_check_aligned(t, ra, w ? 8 : 4, map);
    return true;
}

static struct x64_mem x64_res(const struct x64_t1 *t, size_t field)
{
    return x64_vcpu((int32_t)t->f->guest->res_offset + (int32_t)field - JIT_STATE_BIAS);
}

/* y = ir_res.version, x = index of the address in ra; gives the element. */
static struct x64_mem x64_version(struct x64_t1 *t, unsigned ra, unsigned x, unsigned y)
{
    x64_rm(&t->out, 0x8b, 1, y, x64_const(X64_K_VERSIONS));
    x64_alu_ri(&t->out, ALU_AND, 0, x, IR_RES_VERSIONS - 1);
    x64_shift_i(&t->out, SH_SHR, 1, x, 3);
    x64_mov_reg(t, x, ra);
    return (struct x64_mem){(uint8_t)y, (uint8_t)x, 2, 0};
}

static bool x64_lr(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    int w = i->ty == IR_I64;
    unsigned d, ra, x, y, map;

    if (i->ty != IR_I64 && i->ty != IR_I32)
        return false;
    d = x64_def(t, r, X64_GPRS);
    t->lock |= 1u << d;
    ra = x64_use(t, i->a);
    x = x64_temp(t, X64_GPRS);
    y = x64_temp(t, X64_GPRS);
    map = x64_map(t);
    /* the version is read before the value */
    x64_store_state(t, x64_res(t, offsetof(struct ir_reservation, version)), x);
    x64_store_state(t, x64_res(t, offsetof(struct ir_reservation, value)), d);
    x64_store_state(t, x64_res(t, offsetof(struct ir_reservation, addr)), ra);
    x64_rm(&t->out, 0x8b, w, d, x64_at(ra, 0));
    x64_point(t, map);
    x64_rm(&t->out, 0x8b, 0, x, (struct x64_mem){(uint8_t)y, (uint8_t)x, 2, 0});
    x64_version(t, ra, x, y);
    x64_check_aligned(t, ra, w ? 8 : 4, map);
    return true;
}

/* The version at y[x] is another now. */
static void x64_bump(struct x64_t1 *t, unsigned x, unsigned y)
{
    x64_rm(&t->out, 0xff, 0, 0, (struct x64_mem){(uint8_t)y, (uint8_t)x, 2, 0}); /* inc */
    x64_lock_prefix(t);
}

static bool x64_sc(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned ty = x64_ins(t, i->b)->ty, d, ra, rb, x, y, map;
    int w = ty == IR_I64;
    const uint8_t *done;

    if (ty != IR_I64 && ty != IR_I32)
        return false;
    d = x64_def(t, r, X64_GPRS);
    t->lock |= 1u << d;
    if (d == RAX) { /* the result must survive the compare */
        d = x64_temp(t, X64_GPRS & ~(1u << RAX));
        x64_mov_reg(t, RAX, d);
    } else {
        x64_clear_reg(t, RAX);
    }
    t->lock |= 1u << RAX;
    ra = x64_use(t, i->a);
    rb = x64_use(t, x64_src(t, i->b));
    x = x64_temp(t, X64_GPRS);
    y = x64_temp(t, X64_GPRS);
    map = x64_map(t);
    x64_mov_mi(&t->out, 1, x64_res(t, offsetof(struct ir_reservation, addr)), 1);
    done = t->out.p;
    if (i->aux & IR_SC_CONSTRAINED) {
        uint32_t label;

        x64_cold_begin(t);
        x64_bump(t, x, y);
        x64_version(t, ra, x, y);
        label = x64_cold_end(t);
        x64_jcc(t, CC_NE, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
        x64_alu_mi(&t->out, ALU_CMP, 0, x64_at(y, IR_RES_WATCHED), 0);
        x64_rm(&t->out, 0x8b, 1, y, x64_const(X64_K_VERSIONS));
    } else {
        ir_res_watch();
        x64_bump(t, x, y);
    }
    x64_mov_imm(&t->out, d, 0);
    x64_jcc_short(t, CC_NE, done);
    x64_cmpxchg(t, w, ra, rb, map);
    x64_load_state(t, RAX, x64_res(t, offsetof(struct ir_reservation, value)));
    if (!(i->aux & IR_SC_CONSTRAINED)) {
        x64_jcc_short(t, CC_NE, done);
        x64_alu_rm(&t->out, ALU_CMP, 0, RAX,
                   x64_res(t, offsetof(struct ir_reservation, version)));
        x64_rm(&t->out, 0x8b, 0, RAX, (struct x64_mem){(uint8_t)y, (uint8_t)x, 2, 0});
        x64_version(t, ra, x, y);
    }
    x64_jcc_short(t, CC_NE, done);
    x64_alu_rm(&t->out, ALU_CMP, 1, ra, x64_res(t, offsetof(struct ir_reservation, addr)));
    x64_mov_imm(&t->out, d, 1);
    x64_check_aligned(t, ra, w ? 8 : 4, map);
    return true;
}

static void x64_fence(struct x64_t1 *t, unsigned sets)
{
    if (!(sets & IR_FENCE_PW) || !(sets & IR_FENCE_SR))
        return;
    x64_b(&t->out, 0); /* lock or dword [rsp], 0: cheaper than mfence */
    x64_b(&t->out, 0x24);
    x64_b(&t->out, 0x0c);
    x64_b(&t->out, 0x83);
    x64_lock_prefix(t);
}

/* Rounds of a loop at once: x64_strip.c. */
static bool x64_strips(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d = x64_def(t, r, X64_GPRS);

    x64_slow_args(t, i);
    x64_slow_call(t, i, d, JIT_STUB_STRIP, -1);
    return true;
}

bool x64_emit_mem(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    switch (i->op) {
    case IR_LD:
    case IR_PEEK: return x64_load(t, r, i);
    case IR_STRIP: return x64_strips(t, r, i);
    case IR_ST: return x64_store(t, i);
    case IR_AMO: return x64_amo(t, r, i);
    case IR_CAS: return x64_cas(t, r, i);
    case IR_LR: return x64_lr(t, r, i);
    case IR_SC: return x64_sc(t, r, i);
    case IR_FENCE: x64_fence(t, i->aux); return true;
    default: return false;
    }
}
