/* x64_t1.c: tier 1 for x86-64: one backward pass from IR to machine code.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: a region (straight-line IR, one block, ended by EXIT or TRAP).
 * Output: hot and cold bytes, relocations, exits, fault points, state maps.
 *
 * The pass walks from the last instruction to the first. At the end stands the
 * region convention: each pinned slot's last value must be in its home
 * register. That asks for values; asking gives a value a register; where the
 * walk reaches a value's definition, the instruction is emitted into that
 * register and its operands are asked for. A pure value nobody asked for is
 * dead and costs nothing. Emission being backwards too, code is in front of
 * what uses it, and everything ahead in program order is already known: who
 * uses a value, whether its NaN must be canonical, which register it should be
 * in.
 *
 * Guest state. A PUT to a pinned slot emits nothing: it only changes what the
 * slot's value is above it (t->cur). A PUT to any other slot is a store, unless
 * another PUT follows with no point between at which the state must be exact.
 * At such points (t->snaps: side exits, polls, what may fault) x64_map or
 * x64_convention asks for the present value of each pinned slot.
 *
 * Side exits put the state into the convention in cold code; what may fault
 * has a state map instead and costs nothing.
 *
 * Rules for changing this: emit only moves between a compare and its jump;
 * ask for operands (x64_use) before temporaries (x64_temp), and for both
 * before cold code (it comes back behind what they evict); lock what an
 * instruction holds; a definition's register is free once x64_def returned,
 * so lock it if a later operand must not share it.
 */
#include "host/x64/x64_t2.h"

#include <stdlib.h>

/* ---- sections and relocations ---------------------------------------- */

void x64_section(struct x64_t1 *t, int sec)
{
    uint8_t *p;

    if (t->sec == sec)
        return;
    p = t->out.p;
    t->out.p = t->other;
    t->other = p;
    t->sec = sec;
}

void x64_reloc(struct x64_t1 *t, unsigned kind, unsigned target, uint32_t addend)
{
    base_vec_push(&t->c->relocs,
                  ((struct jit_reloc){.off = x64_off(t), .section = (uint8_t)t->sec,
                                      .kind = (uint8_t)kind, .target = (uint16_t)target,
                                      .addend = addend}));
}

/* The same for a field behind the first two bytes of the instruction that was just emitted: REX and
 * opcode, or opcode and ModRM. */
static void x64_reloc_inside(struct x64_t1 *t, unsigned kind, uint32_t addend)
{
    x64_reloc(t, kind, 0, addend);
    t->c->relocs.data[t->c->relocs.len - 1].off -= 2;
}

static void x64_rel32(struct x64_t1 *t, unsigned kind, unsigned target, uint32_t addend)
{
    x64_d(&t->out, 0);
    x64_reloc(t, kind, target, addend);
}

void x64_jcc(struct x64_t1 *t, unsigned cc, unsigned kind, unsigned target, uint32_t addend)
{
    x64_rel32(t, kind, target, addend);
    x64_b(&t->out, 0x80 | cc);
    x64_b(&t->out, 0x0f);
}

void x64_jcc_short(struct x64_t1 *t, unsigned cc, const uint8_t *target)
{
    ptrdiff_t rel = target - t->out.p;

    BASE_ASSERT(rel >= 0 && rel < 128);
    x64_b(&t->out, (unsigned)rel);
    x64_b(&t->out, 0x70 | cc);
}

void x64_jmp(struct x64_t1 *t, unsigned kind, unsigned target, uint32_t addend)
{
    x64_rel32(t, kind, target, addend);
    x64_b(&t->out, 0xe9);
}

void x64_call(struct x64_t1 *t, unsigned kind, unsigned target)
{
    x64_rel32(t, kind, target, 0);
    x64_b(&t->out, 0xe8);
}

void x64_point(struct x64_t1 *t, unsigned map)
{
    base_vec_push(&t->c->points,
                  ((struct jit_point){.off = x64_off(t), .section = (uint8_t)t->sec,
                                      .map = (uint16_t)map}));
}

void x64_cold_begin(struct x64_t1 *t)
{
    uint32_t back = x64_off(t);

    x64_log_mute(t, true); /* a detour that gives the same */
    x64_section(t, JIT_COLD);
    x64_jmp(t, JIT_RELOC_PC32_SECTION, JIT_HOT, back);
}

uint32_t x64_cold_end(struct x64_t1 *t)
{
    uint32_t label = x64_off(t);

    x64_log_mute(t, false);
    x64_section(t, JIT_HOT);
    return label;
}

/* Literals are laid out at the end of the compile; until then the relocation's
 * addend is the literal's index. */
enum { X64_RELOC_LITERAL = 0x80 };

void x64_op_literal(struct x64_t1 *t, uint32_t op, unsigned reg, uint64_t v)
{
    unsigned n = 0;

    while (n < t->nlit && t->lit[n] != v)
        n++;
    if (n == t->nlit) {
        if (n == X64_MAX_LITS) {
            t->gave_up = "too many literals";
            n = 0;
        } else {
            t->lit[t->nlit++] = v;
        }
    }
    x64_rel32(t, X64_RELOC_LITERAL, JIT_COLD, n);
    x64_b(&t->out, (reg & 7) << 3 | 5);
    if (x64_cpu(t, X64_CPU_AVX))
        x64_vex(&t->out, op, 0, reg & 15, 0, 0, 0);
    else
        x64_opcode(&t->out, op, (reg & 15) >> 3 << 2);
}

void x64_force_deopt(struct x64_t1 *t, unsigned map)
{
    if (base_likely(!t->j->cfg.deopt_always))
        return;
    x64_jcc(t, CC_E, JIT_RELOC_PC32_DEOPT, map, 0);
    x64_rm(&t->out, 0xff, 0, 1, x64_vcpu(X64_VCPU_DISP(deopt_count))); /* dec dword */
}

/* ---- slow calls ------------------------------------------------------ */

/* The return address of the call emitted next has a map. What stands there may
 * fault itself and have another: then they are kept apart. */
static void x64_return_point(struct x64_t1 *t, unsigned map)
{
    const struct jit_point *last = &t->c->points.data[t->c->points.len - 1];

    if (t->c->points.len && last->off == x64_off(t) && last->section == t->sec)
        x64_b(&t->out, 0x90);
    x64_point(t, map);
}

static bool x64_is_ref(unsigned opd)
{
    return opd == IR_OPD_R || opd == IR_OPD_A || opd == IR_OPD_I || opd == IR_OPD_C;
}

static ir_ref x64_slow_arg(const struct ir_ins *i, unsigned k)
{
    const uint32_t arg[3] = {i->a, i->b, i->c};

    return x64_is_ref(ir_ops[i->op].opd[k]) ? arg[k] : IR_NIL;
}

void x64_slow_args(struct x64_t1 *t, const struct ir_ins *i)
{
    for (unsigned k = 0; k < 3; k++) {
        ir_ref r = x64_slow_arg(i, k);

        if (r == IR_NIL)
            continue;
        if (x64_ref_fp(t, r))
            t->val[r].flags |= X64_V_CANON;
        if (!x64_is_number(t, r))
            x64_use(t, r);
    }
}

void x64_slow_call(struct x64_t1 *t, const struct ir_ins *i, unsigned d, int stub, int map)
{
    unsigned aty = IR_I64;
    int32_t arg_disp = X64_VCPU_DISP(slow_arg), op_disp = X64_VCPU_DISP(slow_op);

    if (ir_ops[i->op].cls == IR_CLASS_P)
        aty = x64_ins(t, i->a)->ty;
    if (d != X64_NONE) {
        x64_log_mute(t, true); /* d may be an argument's, whose use is noted already */
        x64_load_state(t, d, x64_vcpu(X64_VCPU_DISP(slow_result)));
        x64_log_mute(t, false);
    }
    if (map >= 0)
        x64_return_point(t, (unsigned)map);
    if (stub >= 0) /* else the caller has emitted the call */
        x64_call(t, JIT_RELOC_PC32_STUB, (unsigned)stub);
    x64_mov_mi(&t->out, 0, x64_vcpu(op_disp + 4), i->aux);
    x64_mov_mi(&t->out, 0, x64_vcpu(op_disp),
               (int32_t)(i->op | (uint32_t)i->ty << 8 | aty << 16));
    for (unsigned k = 0; k < 3; k++) {
        ir_ref r = x64_slow_arg(i, k);
        struct x64_mem m = x64_vcpu(arg_disp + 8 * (int32_t)k);

        if (r == IR_NIL) {
            if (i->op == IR_HELPER) /* absent: reads as 0 */
                x64_mov_mi(&t->out, 1, m, 0);
            continue;
        }
        if (k == 2 && t->fma_again) {
            x64_mov_mi(&t->out, 0, x64_vcpu(m.disp + 4), 0x7ff80000);
            x64_mov_mi(&t->out, 0, m, i->ty == IR_F64 ? 0 : 0x7fc00000);
            continue;
        }
        if (x64_is_number(t, r)) {
            uint64_t v = ir_kval(t->f, r);

            x64_mov_mi(&t->out, 0, x64_vcpu(m.disp + 4), (int32_t)(v >> 32));
            x64_mov_mi(&t->out, 0, m, (int32_t)v);
        } else {
            if (t->val[r].reg == X64_NONE)
                r = x64_src(t, r); /* as the caller read it */
            x64_store_state(t, m, t->val[r].reg);
        }
    }
}

void x64_emit_slow(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    unsigned d = x64_def(t, r, ir_is_float(i->ty) ? (uint32_t)X64_FPRS : X64_GPRS);

    x64_slow_args(t, i);
    x64_slow_call(t, i, d, JIT_STUB_SLOW, -1);
}

/* ---- exits ----------------------------------------------------------- */

unsigned x64_exit(struct x64_t1 *t, unsigned kind, bool call, uint64_t key)
{
    base_vec_push(&t->c->exits,
                  ((struct jit_exit_out){.kind = (uint8_t)kind, .is_call = call,
                                         .is_back = !call && key <= x64_pc(t), .key = key}));
    return (unsigned)t->c->exits.len - 1;
}

uint64_t x64_key(const struct x64_t1 *t, ir_ref target)
{
    return ir_kval(t->f, target) | (uint64_t)t->f->mode << 60;
}

/* Jump if the condition holds; kind, target, addend as in x64_jcc. */
void x64_jcond(struct x64_t1 *t, struct x64_cond c, unsigned kind, unsigned target,
                      uint32_t addend)
{
    if (c.parity == 2) {
        x64_jcc(t, CC_P, kind, target, addend);
        x64_jcc(t, c.cc, kind, target, addend);
        return;
    }
    x64_jcc(t, c.cc, kind, target, addend);
    if (c.parity == 1) { /* jp over the jump */
        x64_b(&t->out, 6);
        x64_b(&t->out, 0x70 | CC_P);
    }
}

static void x64_side(struct x64_t1 *t, struct ir_ins *i)
{
    struct x64_move m[X64_NREGS];
    ir_ref cmp;
    struct x64_cond c;
    unsigned n;

    if (t->t2 && !t->j->cfg.deopt_always) {
        x64_t2_side(t, i);
        return;
    }
    if (base_unlikely(t->j->cfg.deopt_always)) {
        unsigned map = x64_map_pc(t, ir_kval(t->f, i->b));

        c = x64_cond_of(t, i->a, false, &cmp);
        x64_jcond(t, c, JIT_RELOC_PC32_DEOPT, map, 0);
        x64_emit_compare(t, cmp);
        return;
    }
    t->snaps++;
    n = x64_convention(t, m, false);
    unsigned e = x64_exit(t, JIT_EXIT_DIRECT, false, x64_key(t, i->b));

    c = x64_cond_of(t, i->a, false, &cmp);
    if (n) {
        uint32_t label;

        x64_section(t, JIT_COLD);
        x64_jmp(t, JIT_RELOC_PC32_EXIT, e, 0);
        x64_moves(t, m, n);
        label = x64_off(t);
        x64_section(t, JIT_HOT);
        x64_jcond(t, c, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
    } else {
        x64_jcond(t, c, JIT_RELOC_PC32_EXIT, e, 0);
    }
    x64_emit_compare(t, cmp);
}

/* target in rax, with the mode bits of a key */
static void x64_target_in_rax(struct x64_t1 *t, ir_ref target)
{
    unsigned reg;

    if (t->f->mode) {
        x64_alu_rr(&t->out, ALU_OR, 1, RAX, RCX);
        x64_mov_imm(&t->out, RCX, (uint64_t)t->f->mode << 60);
        t->lock |= 1u << RCX;
    }
    t->lock &= ~(1u << RAX);
    if (ir_is_const(target)) {
        x64_load_const(t, RAX, target);
        return;
    }
    reg = t->val[target].reg;
    if (reg == X64_NONE && (t->free >> RAX & 1)) {
        x64_give(t, target, RAX);
        reg = RAX;
    } else if (reg == X64_NONE) {
        reg = x64_use(t, target);
    }
    x64_mov_reg(t, RAX, reg);
}

/* Landing behind a call: rax is the key returned to. */
static void x64_landing(struct x64_t1 *t, ir_ref ret)
{
    uint64_t key = x64_key(t, ret);

    unsigned e = x64_exit(t, JIT_EXIT_DIRECT, false, key);

    t->c->exits.data[e].is_landing = true;
    x64_jmp(t, JIT_RELOC_PC32_EXIT, e, 0);
    x64_jcc(t, CC_NE, JIT_RELOC_PC32_STUB, JIT_STUB_INDIRECT, 0);
    x64_alu_rr(&t->out, ALU_CMP, 1, RAX, RDX);
    x64_mov_imm64(&t->out, RDX, key);
    if (!t->f->mode)
        x64_reloc_inside(t, JIT_RELOC_ABS64_GUEST, 0);
}

/* The inline probe of the vCPU's lookup table; jmp (4) or call (2) /r */
static void x64_probe(struct x64_t1 *t, unsigned ext, unsigned kind, unsigned target,
                      uint32_t addend)
{
    struct x64_mem m = {RBP, RCX, 3, X64_VCPU_DISP(lookup)};
    struct x64_mem code = m;

    code.disp += 8;
    x64_rm(&t->out, 0xff, 0, ext, code);
    x64_jcc(t, CC_NE, kind, target, addend);
    x64_rm(&t->out, 0x3b, 1, RAX, m); /* cmp rax, [entry] */
    x64_alu_ri(&t->out, ALU_AND, 0, RCX, ((1 << JIT_LOOKUP_BITS) - 1) << 1);
    x64_mov(&t->out, 0, RCX, RAX);
    x64_jcc(t, CC_NE, kind, target, addend);
    x64_alu_mi(&t->out, ALU_CMP, 0, x64_vcpu(X64_VCPU_DISP(poll)), 0);
}

static void x64_jump_indirect(struct x64_t1 *t, ir_ref target)
{
    struct x64_move m[X64_NREGS];
    unsigned n;

    x64_probe(t, 4, JIT_RELOC_PC32_STUB, JIT_STUB_INDIRECT, 0);
    t->lock = 1u << RAX | 1u << RCX;
    n = x64_convention(t, m, true);
    x64_moves(t, m, n);
    x64_target_in_rax(t, target);
    x64_t2_puts(t);
}

static void x64_call_exit(struct x64_t1 *t, struct ir_ins *i)
{
    struct x64_move m[X64_NREGS];
    unsigned n;
    bool direct = ir_is_const(i->a);

    x64_landing(t, i->b);
    if (direct) {
        x64_call(t, JIT_RELOC_PC32_EXIT, x64_exit(t, JIT_EXIT_DIRECT, true, x64_key(t, i->a)));
    } else {
        uint32_t label;

        x64_cold_begin(t);
        x64_call(t, JIT_RELOC_PC32_STUB, JIT_STUB_INDIRECT);
        label = x64_cold_end(t);
        x64_probe(t, 2, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
    }
    t->lock = direct ? 0 : 1u << RAX | 1u << RCX;
    n = x64_convention(t, m, true);
    x64_moves(t, m, n);
    if (!direct)
        x64_target_in_rax(t, i->a);
    x64_t2_puts(t);
}

static void x64_ret_exit(struct x64_t1 *t, ir_ref target)
{
    struct x64_move m[X64_NREGS];
    unsigned n;

    x64_b(&t->out, 0xc3);
    t->lock = 1u << RAX | 1u << RCX;
    n = x64_convention(t, m, true);
    x64_moves(t, m, n);
    x64_target_in_rax(t, target);
    x64_t2_puts(t);
}

/* A jump to a known address, with the side exit before it if there is one (the
 * usual end of a region): both leave in the same state, so the moves are done
 * once, between the compare and the jumps. Returns how many instructions
 * before the exit were dealt with. */
static unsigned x64_jump_exit(struct x64_t1 *t, ir_ref at, struct ir_ins *i)
{
    struct x64_move m[X64_NREGS];
    struct ir_ins *prev = x64_ins(t, at - 1);
    bool both = at > IR_BIAS && prev->op == IR_SIDE && !t->j->cfg.deopt_always && !t->t2;
    unsigned n, e = x64_exit(t, JIT_EXIT_DIRECT, false, x64_key(t, i->a));
    struct x64_cond c = {0};
    ir_ref cmp = IR_NIL;

    x64_jmp(t, JIT_RELOC_PC32_EXIT, e, 0);
    n = x64_convention(t, m, true);
    if (both) {
        t->at = at - 1;
        c = x64_cond_of(t, prev->a, false, &cmp);
        e = x64_exit(t, JIT_EXIT_DIRECT, false, x64_key(t, prev->b));
        x64_jcond(t, c, JIT_RELOC_PC32_EXIT, e, 0);
    }
    x64_moves(t, m, n);
    x64_t2_puts(t);
    if (both)
        x64_emit_compare(t, cmp);
    return both;
}

/* A system call by stub CALL, which finds the pc in the state and returns if it could
 * make the call. */
static void x64_syscall(struct x64_t1 *t, ir_ref pc)
{
    struct x64_move m[X64_NREGS];
    uint64_t next = x64_key(t, pc) + t->j->cfg.calls->length;
    unsigned n, e = x64_exit(t, JIT_EXIT_DIRECT, false, next);

    x64_jmp(t, JIT_RELOC_PC32_EXIT, e, 0);
    x64_call(t, JIT_RELOC_PC32_STUB, JIT_STUB_CALL);
    x64_store_state(t, x64_vcpu((int32_t)t->f->guest->pc_offset - JIT_STATE_BIAS), RAX);
    t->lock = 1u << RAX;
    n = x64_convention(t, m, true);
    x64_moves(t, m, n);
    x64_load_const(t, RAX, pc);
    x64_t2_puts(t);
}

static void x64_trap(struct x64_t1 *t, struct ir_ins *i)
{
    struct x64_move m[X64_NREGS];
    unsigned n, e = x64_exit(t, JIT_EXIT_TRAPPED, false, x64_key(t, i->a));

    t->c->exits.data[e].trap = i->aux;
    t->c->exits.data[e].info = i->b;
    x64_jmp(t, JIT_RELOC_PC32_EXIT_STUB, e, 0);
    n = x64_convention(t, m, true);
    x64_moves(t, m, n);
    x64_t2_puts(t);
}

static unsigned x64_leave_by(struct x64_t1 *t, ir_ref at, struct ir_ins *i)
{
    if (i->op == IR_TRAP) {
        if (i->aux == IR_TRAP_SYSCALL && t->j->stub[JIT_STUB_CALL])
            x64_syscall(t, i->a);
        else
            x64_trap(t, i);
        return 0;
    }
    switch (i->aux) {
    case IR_EXIT_CALL: x64_call_exit(t, i); return 0;
    case IR_EXIT_RET: x64_ret_exit(t, i->a); return 0;
    default:
        if (ir_is_const(i->a))
            return x64_jump_exit(t, at, i);
        x64_jump_indirect(t, i->a);
        return 0;
    }
}

unsigned x64_leave_region(struct x64_t1 *t, ir_ref at, struct ir_ins *i)
{
    unsigned n;

    t->snaps++;
    x64_log(t, X64_E_END, 0, 0, 0, 0);
    n = x64_leave_by(t, at, i);
    x64_log(t, X64_E_EXIT, 0, 0, 0, 0);
    return n;
}

/* ---- state ----------------------------------------------------------- */

static void x64_store_value(struct x64_t1 *t, struct x64_mem m, ir_ref v)
{
    int32_t imm;

    if (ir_is_const(v) && !x64_ref_fp(t, v) && x64_imm32(t, v, 1, &imm))
        x64_mov_mi(&t->out, 1, m, imm);
    else
        x64_store_state(t, m, x64_use(t, v));
}

static void x64_put(struct x64_t1 *t, struct ir_ins *i)
{
    unsigned slot = i->a;
    ir_ref v = i->b;

    if (t->t2) {
        /* what the slot holds is stored where the region is left */
    } else if (t->pinned >> slot & 1) {
        if (t->val[v].hint == X64_NONE)
            t->val[v].hint = (uint8_t)x64_home(t, slot);
    } else if (t->put_seen[slot] != t->snaps || (slot < 64 && (t->put_wanted >> slot & 1))) {
        t->put_seen[slot] = t->snaps;
        t->put_wanted &= ~(1ull << (slot & 63));
        if (x64_ref_fp(t, v))
            t->val[v].flags |= X64_V_CANON;
        x64_store_value(t, x64_slot_mem(t, slot), v);
    }
    t->cur[slot] = i->c;
}

static void x64_get(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    if (t->pinned >> i->a & 1)
        return; /* an entry value: defined at the top */
    if (t->val[r].reg == X64_NONE && !(t->val[r].flags & X64_V_SPILL))
        return;
    x64_load_state(t, x64_def(t, r, ir_is_float(i->ty) ? (uint32_t)X64_FPRS : X64_GPRS),
                   x64_slot_mem(t, i->a));
}

/* No slot touched: entry values are the pseudo refs, with the wish to be home. */
void x64_untouched(struct x64_t1 *t)
{
    unsigned nslots = t->f->guest->nslots;

    memset(t->cur, 0, nslots * sizeof *t->cur);
    memcpy(t->entry, t->entry0, nslots * sizeof *t->entry);
    memcpy(&t->val[X64_ENTRY], t->val0, nslots * sizeof *t->val);
}

/* A GET of a pinned slot is its entry value. */
void x64_entry_get(struct x64_t1 *t, ir_ref r, unsigned slot)
{
    t->entry[slot] = r;
    if ((t->pinned_class[0] | t->pinned_class[1]) >> slot & 1)
        t->val[r].hint = t->home[slot];
}

/* Slot values and entry refs as they are just before instruction at, a helper
 * that may change the state. */
static void x64_segment(struct x64_t1 *t, ir_ref at)
{
    x64_untouched(t);
    t->touched = UINT64_MAX;
    for (ir_ref r = at; r-- > IR_BIAS;) {
        struct ir_ins *i = x64_ins(t, r);

        if (i->op == IR_GET)
            x64_entry_get(t, r, i->a);
        else if (i->op == IR_PUT && t->cur[i->a] == IR_NIL)
            t->cur[i->a] = i->b;
        else if (i->op == IR_HELPER &&
                 (t->f->guest->helpers[i->aux].effects & IR_HELPER_STATE))
            break;
    }
}

static void x64_helper(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    uint32_t effects = t->f->guest->helpers[i->aux].effects;
    bool wanted = t->val[r].reg != X64_NONE || (t->val[r].flags & X64_V_SPILL);
    unsigned d = X64_NONE;

    if (!(effects & IR_HELPER_STATE)) {
        int map = -1;

        if (wanted)
            d = x64_def(t, r, ir_is_float(i->ty) ? (uint32_t)X64_FPRS : X64_GPRS);
        x64_slow_args(t, i);
        if (effects & IR_HELPER_MEM)
            map = (int)x64_map(t);
        x64_slow_call(t, i, d, JIT_STUB_SLOW, map);
        if (map >= 0)
            x64_force_deopt(t, (unsigned)map);
        return;
    }
    if (wanted) {
        d = x64_def(t, r, ir_is_float(i->ty) ? (uint32_t)X64_FPRS : X64_GPRS);
        x64_load_state(t, d, x64_vcpu(X64_VCPU_DISP(slow_result)));
    }
    x64_region_top(t);
    t->snaps++;
    x64_segment(t, r);
    x64_region_bottom(t);
    struct x64_move m[X64_NREGS];
    unsigned n = x64_convention(t, m, true);

    /* in the convention the map says that all is at home */
    jit_map_begin(t->c, x64_pc(t));
    x64_return_point(t, jit_map_end(t->c));
    x64_call(t, JIT_RELOC_PC32_STUB, JIT_STUB_SLOW_STATE);
    x64_moves(t, m, n);
    t->lock = 0;
    x64_slow_args(t, i);
    x64_slow_call(t, i, X64_NONE, -1, -1);
}

/* Every so many backward branches of tier 1 one is looked at, so that tier 2 hears of what
 * is hot. It is one counter for all: there is always a line of the cache for it. */
static void x64_tick(struct x64_t1 *t, unsigned map, uint64_t pc)
{
    x64_jcc(t, CC_S, JIT_RELOC_PC32_HOT, map, 0);
    x64_alu_mi(&t->out, ALU_SUB, 0, x64_vcpu(X64_VCPU_DISP(ticks)), 1);
    x64_reloc_inside(t, JIT_RELOC_COUNTER,
                     (uint32_t)(pc - (t->f->key ^ (uint64_t)t->f->mode << 60)));
}

void x64_count_exit(struct x64_t1 *t, unsigned e)
{
    struct jit_exit_out *out = &t->c->exits.data[e];
    unsigned n = jit_hot_at(out->key * 3 + t->f->key);

    out->counter = (uint16_t)(n + 1);
    x64_jcc(t, CC_S, JIT_RELOC_PC32_EXIT_STUB, e, 0);
    x64_alu_mi(&t->out, ALU_SUB, 0, x64_vcpu(X64_VCPU_DISP(hot) + 4 * (int32_t)n), 1);
}

static void x64_count_entry(struct x64_t1 *t)
{
    uint64_t pc = t->f->key ^ (uint64_t)t->f->mode << 60;

    jit_map_begin(t->c, pc); /* all is at home */
    x64_tick(t, jit_map_end(t->c), pc);
}

/* A run of a region in lockstep ends after so many polls at the latest. */
static void x64_t2_bound(struct x64_t1 *t, unsigned map)
{
    if (base_likely(!t->j->cfg.lockstep))
        return;
    x64_jcc(t, CC_E, JIT_RELOC_PC32_DEOPT, map, 0);
    x64_rm(&t->out, 0xff, 0, 1, x64_vcpu(X64_VCPU_DISP(deopt_count))); /* dec dword */
}

static void x64_poll(struct x64_t1 *t)
{
    unsigned map = x64_map(t);

    if (t->t2) {
        x64_t2_bound(t, map);
    } else if (t->j->cfg.tier2 && !jit_quiet(t->j, x64_pc(t))) {
        x64_tick(t, map, x64_pc(t)); /* who sets the poll flag makes them run out */
        return;
    } else if (t->j->cfg.tier2) {
        t->c->quiet = true;
    }
    x64_jcc(t, CC_NE, JIT_RELOC_PC32_DEOPT, map, 0);
    x64_alu_mi(&t->out, ALU_CMP, 0, x64_vcpu(X64_VCPU_DISP(poll)), 0);
}

/* ---- the pass -------------------------------------------------------- */

/* One walk forwards: uses, marks, and each slot's last value and entry ref. */
static void x64_prepass(struct x64_t1 *t)
{
    struct ir_func *f = t->f;
    const struct x64_val none = {.reg = X64_NONE, .hint = X64_NONE};
    uint64_t slots = 0;
    bool fp = false;

    for (ir_ref r = f->nk; r < IR_BIAS; r++)
        t->val[r] = none;
    x64_untouched(t);
    t->barrier = false;
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        unsigned refs = t->refs[i->op];

        t->val[r] = none;
        fp |= ir_is_float(i->ty);
        if (refs & X64_REFS_STATE) {
            if (i->op == IR_PUT) {
                t->cur[i->a] = i->b;
                slots |= 1ull << (i->a & 63);
                continue;
            }
            if (i->op == IR_GET) {
                x64_entry_get(t, r, i->a);
                slots |= 1ull << (i->a & 63);
                continue;
            }
            if (f->guest->helpers[i->aux].effects & IR_HELPER_STATE) {
                x64_untouched(t);
                slots = UINT64_MAX;
                t->barrier = true;
            }
        }
        if (refs & 1)
            t->val[i->a].uses++;
        if (refs & 2)
            t->val[i->b].uses++;
        if (refs & 4)
            t->val[i->c].uses++;
    }
    t->fp = fp || (slots & t->pinned_class[1]);
    t->pinned = t->pinned_class[0] | (t->fp ? t->pinned_class[1] : 0);
    t->touched = slots;
}

/* A value of before a helper that may change the state is used behind it: the
 * helper is the end of all entry values, so this is left to the interpreter. */
static bool x64_crosses(const struct x64_t1 *t)
{
    const struct ir_func *f = t->f;
    ir_ref barrier = IR_NIL;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        const uint32_t v[3] = {i->a, i->b, i->c};

        if (i->op == IR_HELPER && (f->guest->helpers[i->aux].effects & IR_HELPER_STATE)) {
            barrier = r;
            continue;
        }
        for (unsigned k = 0; k < (i->op == IR_PUT ? 2 : 3); k++) {
            unsigned o = ir_ops[i->op].opd[k];

            if ((o == IR_OPD_R || o == IR_OPD_A || o == IR_OPD_I || o == IR_OPD_C) &&
                !ir_is_const(v[k]) && v[k] < barrier)
                return true;
        }
    }
    return false;
}

/* For listings: the code of the instruction at pc begins here. */
static void x64_mark(struct x64_t1 *t, uint64_t pc)
{
    const uint8_t *at = t->sec == JIT_HOT ? t->out.p : t->other;

    base_vec_push(&t->c->marks,
                  ((struct jit_mark){.pc = pc, .off = (uint32_t)(t->end[JIT_HOT] - at)}));
}

void x64_instruction(struct x64_t1 *t, ir_ref r, struct ir_ins *i)
{
    t->lock = 0;
    t->at = r;
    switch (i->op) {
    case IR_IMARK:
        if (base_unlikely(t->c->want_marks))
            x64_mark(t, ir_imark_pc(i));
        if (t->out.p - t->buf[t->sec] < X64_ROOM || t->other - t->buf[!t->sec] < X64_ROOM)
            t->gave_up = "region too large";
        return;
    case IR_PUT: x64_put(t, i); return;
    case IR_GET: x64_get(t, r, i); return;
    case IR_SIDE: x64_side(t, i); return;
    case IR_POLL: x64_poll(t); return;
    case IR_HELPER: x64_helper(t, r, i); return;
    }
    if (ir_ops[i->op].cls == IR_CLASS_P) {
        struct x64_val *v = &t->val[r];

        /* dead, unless it accrues flags and no fused compare has done so */
        if (v->reg == X64_NONE && !(v->flags & X64_V_SPILL) &&
            (!(ir_ops[i->op].flags & IR_F_FLAGS) || (v->flags & X64_V_FUSED)))
            return;
        if (x64_emit_int(t, r, i) || x64_emit_fp(t, r, i))
            return;
        x64_emit_slow(t, r, i);
        return;
    }
    if (x64_emit_mem(t, r, i) || x64_emit_fp(t, r, i))
        return;
    t->gave_up = "operation without a code generator";
}

void x64_layout(struct x64_t1 *t)
{
    struct jit_code *c = t->c;
    uint32_t lit_off[X64_MAX_LITS];

    x64_section(t, JIT_COLD);
    for (unsigned n = 0; n < t->nlit; n++) {
        x64_q(&t->out, t->lit[n]);
        lit_off[n] = x64_off(t);
    }
    c->len[JIT_COLD] = x64_off(t);
    c->bytes[JIT_COLD] = t->out.p;
    x64_section(t, JIT_HOT);
    c->len[JIT_HOT] = x64_off(t);
    c->bytes[JIT_HOT] = t->out.p;
    /* offsets from the end become offsets from the start */
    for (size_t n = 0; n < c->relocs.len; n++) {
        struct jit_reloc *r = &c->relocs.data[n];

        r->off = c->len[r->section] - r->off;
        if (r->kind == X64_RELOC_LITERAL) {
            r->kind = JIT_RELOC_PC32_SECTION;
            r->addend = lit_off[r->addend];
        }
        if (r->kind == JIT_RELOC_PC32_SECTION)
            r->addend = c->len[r->target] - r->addend;
    }
    for (size_t n = 0; n < c->points.len; n++)
        c->points.data[n].off = c->len[c->points.data[n].section] - c->points.data[n].off;
    for (size_t n = 0; n < c->marks.len; n++)
        c->marks.data[n].off = c->len[JIT_HOT] - c->marks.data[n].off;
}

static void x64_pins(struct x64_t1 *t)
{
    const struct jit *j = t->j;

    memset(t->slot_of, -1, sizeof t->slot_of);
    memset(t->owner0, 0, sizeof t->owner0);
    t->pinned_class[0] = t->pinned_class[1] = 0;
    t->free0[0] = X64_GPRS | X64_FP_SCRATCH;
    t->free0[1] = X64_GPRS | (uint32_t)X64_FPRS;
    for (unsigned s = 0; s < j->cfg.guest->nslots && s < 64; s++) {
        bool fp = j->pin_fpr[s] >= 0;
        unsigned home = (unsigned)(fp ? XMM0 + j->pin_fpr[s] : j->pin_gpr[s]);

        t->entry0[s] = X64_ENTRY + s;
        t->val0[s] = (struct x64_val){.reg = X64_NONE, .hint = X64_NONE};
        if (!fp && j->pin_gpr[s] < 0)
            continue;
        t->home[s] = (uint8_t)home;
        t->slot_of[home] = (int8_t)s;
        t->pinned_class[fp] |= 1ull << s;
        t->val0[s].reg = t->val0[s].hint = (uint8_t)home;
        for (unsigned with_fp = fp; with_fp < 2; with_fp++) {
            t->free0[with_fp] &= ~(1u << home);
            t->owner0[with_fp][home] = X64_ENTRY + s;
        }
    }
}

struct x64_t1 *x64_scratch(struct jit *j, size_t more)
{
    /* one block: the struct, what more is wanted, values, two code buffers */
    size_t nval = IR_BIAS + IR_MAX_INS + IR_MAX_SLOTS;
    size_t size = sizeof(struct x64_t1) + more + nval * sizeof(struct x64_val) +
                  X64_HOT_MAX + X64_COLD_MAX;
    struct x64_t1 *t = base_alloc(size);
    uint8_t *p = (uint8_t *)(t + 1) + more;

    t->t2 = NULL;
    t->log = NULL;
    t->val = (struct x64_val *)p;
    p += nval * sizeof(struct x64_val);
    t->buf[JIT_HOT] = p;
    t->end[JIT_HOT] = t->buf[JIT_COLD] = p + X64_HOT_MAX;
    t->end[JIT_COLD] = t->buf[JIT_COLD] + X64_COLD_MAX;
    t->j = j;
    for (unsigned op = 0; op < IR_OP_COUNT; op++) {
        t->refs[op] = 0;
        for (unsigned k = 0; k < 3; k++)
            t->refs[op] |= (uint8_t)(x64_is_ref(ir_ops[op].opd[k]) << k);
        if (op == IR_PUT || op == IR_GET || op == IR_HELPER)
            t->refs[op] |= X64_REFS_STATE;
    }
    x64_pins(t);
    return t;
}

void x64_start(struct x64_t1 *t, struct ir_func *f, struct jit_code *c)
{
    t->f = f;
    t->c = c;
    t->sec = JIT_HOT;
    t->out.p = t->end[JIT_HOT];
    t->other = t->end[JIT_COLD];
    t->snaps = 0;
    memset(t->put_seen, 0, f->guest->nslots * sizeof *t->put_seen);
    t->put_wanted = 0;
    t->nspill = t->nlit = 0;
    t->lock = 0;
    t->fma_again = false;
    t->flags_kept = IR_NIL;
    t->gave_up = NULL;
}

int x64_compile(struct jit *j, struct ir_func *f, struct jit_code *c)
{
    struct x64_t1 *t = j->host_scratch;
    ir_ref r = f->nins;

    if (!t)
        t = j->host_scratch = x64_scratch(j, 0);
    x64_start(t, f, c);
    x64_prepass(t);
    if (base_unlikely(t->barrier) && x64_crosses(t)) {
        c->gave_up = "value across a helper that changes the state";
        return -1;
    }
    t->at = --r;
    x64_region_bottom(t);
    r -= x64_leave_region(t, r, x64_ins(t, r));
    while (r > IR_BIAS && !t->gave_up) {
        r--;
        x64_instruction(t, r, x64_ins(t, r));
    }
    t->lock = 0;
    if (!t->gave_up)
        x64_region_top(t);
    if (c->count_entry && !t->gave_up)
        x64_count_entry(t);
    c->gave_up = t->gave_up;
    if (t->gave_up)
        return -1;
    x64_layout(t);
    return 0;
}
