/* x64_stubs.c: the fixed code around translated code: entry, exits, lookup,
 * slow calls; link stubs and patching. SPDX-License-Identifier: Apache-2.0
 *
 * Inside translated code
 *
 *   rbp             vcpu->state + JIT_STATE_BIAS
 *   rsp             shadow stack
 *   pinned          rbx rsi rdi r8..r15 and xmm3..xmm15, see x64_host.c
 *   rax rcx rdx     scratch at region boundaries; rax: key of an indirect jump
 *   xmm0..xmm2      scratch at region boundaries
 *   MXCSR           the guest's flags and rounding mode, exceptions masked
 *
 * Host stack while inside, from host_sp up: the vCPU, r15 r14 r13 r12 rbp rbx, the
 * return address of enter(). It is 16-aligned, so a stub may call C from there.
 *
 * The stubs are written once per VM, at start: fewer than a thousand bytes.
 */
#include "host/x64/x64.h"
#include "host/x64/x64_emit.h"
#include "host/x64/x64_stubs.h"

#include <ucontext.h>

/* ---- forward emission ------------------------------------------------ */

/* The encoder writes backwards; a stub is written one instruction after another:
 * each into the end of a small buffer, and from there to its place. */
struct writer {
    struct jit *j;
    uint8_t *rw;
    const uint8_t *rx; /* where rw runs */
    uint8_t buf[32];
    struct x64_out o;
};

static void put(struct writer *w)
{
    size_t n = (size_t)(w->buf + sizeof w->buf - w->o.p);
    memcpy(w->rw, w->o.p, n);
    w->rw += n;
    w->rx += n;
    w->o.p = w->buf + sizeof w->buf;
}
#define I(call) ((call), put(w))
#define O (&w->o)

static void rel32(struct writer *w, unsigned op, const uint8_t *target)
{
    unsigned len = op > 0xff ? 6 : 5;
    x64_d(O, (uint32_t)(target - (w->rx + len)));
    x64_b(O, op & 0xff);
    if (op > 0xff)
        x64_b(O, op >> 8);
    put(w);
}
static void jmp(struct writer *w, const uint8_t *target) { rel32(w, 0xe9, target); }

static struct x64_mem field(size_t offset)
{
    return (struct x64_mem){RBP, X64_NONE, 0, (int32_t)offset - JIT_STATE_BIAS};
}
#define V(name) field(offsetof(struct jit_vcpu, name))

static void load64(struct writer *w, unsigned d, struct x64_mem m) { I(x64_rm(O, 0x8b, 1, d, m)); }
static void store64(struct writer *w, struct x64_mem m, unsigned s) { I(x64_rm(O, 0x89, 1, s, m)); }
static void load_x(struct writer *w, unsigned d, struct x64_mem m)
{
    I(x64_rm(O, X64_OP(1, 2, 0x7e), 0, d, m)); /* movq */
}
static void store_x(struct writer *w, struct x64_mem m, unsigned s)
{
    I(x64_rm(O, X64_OP(1, 1, 0xd6), 0, s, m));
}
static void ldmxcsr(struct writer *w, struct x64_mem m)
{
    I(x64_rm(O, X64_OP(1, 0, 0xae), 0, 2, m));
}
static void stmxcsr(struct writer *w, struct x64_mem m)
{
    I(x64_rm(O, X64_OP(1, 0, 0xae), 0, 3, m));
}
static void push(struct writer *w, unsigned r)
{
    x64_b(O, 0x50 | (r & 7));
    if (r & 8)
        x64_b(O, 0x41);
    put(w);
}
static void pop(struct writer *w, unsigned r)
{
    x64_b(O, 0x58 | (r & 7));
    if (r & 8)
        x64_b(O, 0x41);
    put(w);
}
static void ret(struct writer *w) { I(x64_b(O, 0xc3)); }

/* ---- pieces ---------------------------------------------------------- */

enum { INTEGERS = 1, FLOATS = 2, BOTH = 3 };

/* Saves or loads the pinned slots of these classes. */
static void pinned(struct writer *w, bool store, int which)
{
    struct jit *j = w->j;
    const struct ir_guest *g = j->cfg.guest;
    for (unsigned s = 0; s < g->nslots; s++) {
        struct x64_mem m = field(offsetof(struct jit_vcpu, state) + g->slots[s].offset);
        if ((which & INTEGERS) && j->pin_gpr[s] >= 0)
            (store ? store64(w, m, (unsigned)j->pin_gpr[s])
                   : load64(w, (unsigned)j->pin_gpr[s], m));
        if ((which & FLOATS) && j->pin_fpr[s] >= 0)
            (store ? store_x(w, m, XMM0 + (unsigned)j->pin_fpr[s])
                   : load_x(w, XMM0 + (unsigned)j->pin_fpr[s], m));
    }
}

static void dump_regs(struct writer *w)
{
    for (unsigned r = 0; r < 16; r++)
        store64(w, field(offsetof(struct jit_vcpu, regs.gpr) + 8 * r), r);
    for (unsigned r = 0; r < 16; r++)
        store_x(w, field(offsetof(struct jit_vcpu, regs.fpr) + 8 * r), XMM0 + r);
}

static void undump_regs(struct writer *w)
{
    for (unsigned r = 0; r < 16; r++)
        if (r != RSP && r != RBP)
            load64(w, r, field(offsetof(struct jit_vcpu, regs.gpr) + 8 * r));
    for (unsigned r = 0; r < 16; r++)
        load_x(w, XMM0 + r, field(offsetof(struct jit_vcpu, regs.fpr) + 8 * r));
}

static const unsigned saved[] = {RBX, RBP, R12, R13, R14, R15};

/* rsp = host_sp: the way out of enter(). */
static void leave_host(struct writer *w)
{
    pop(w, RAX); /* the vCPU */
    for (unsigned i = BASE_ARRAY_SIZE(saved); i-- > 0;)
        pop(w, saved[i]);
    ret(w);
}

/* shadow_sp is there already. */
static void to_host_stack(struct writer *w)
{
    stmxcsr(w, V(mxcsr));
    load64(w, RSP, V(host_sp));
    ldmxcsr(w, V(host_mxcsr));
}

/* ---- the stubs ------------------------------------------------------- */

/* Runs the code at rax with the vCPU in rbp. */
static void into_code(struct writer *w)
{
    ldmxcsr(w, V(mxcsr));
    load64(w, RSP, V(shadow_sp));
    pinned(w, false, BOTH);
    I((x64_b(O, 0xe0), x64_b(O, 0xff))); /* jmp rax */
}

/* The end of every exit: asks for the next code where it stands, so that the
 * host's prediction of returns still has the guest's calls; leaves if there is
 * none. */
static void go_on(struct writer *w)
{
    to_host_stack(w);
    I(x64_alu_mi(O, ALU_CMP, 0, V(chained), 0));
    uint8_t *alone = w->rw;
    rel32(w, 0x0f84, w->rx);
    I(x64_lea(O, 1, RDI, (struct x64_mem){RBP, X64_NONE, 0, -JIT_STATE_BIAS}));
    I(x64_mov_imm64(O, RAX, (uint64_t)(uintptr_t)jit_next));
    I((x64_b(O, 0xd0), x64_b(O, 0xff))); /* call rax */
    I(x64_test_rr(O, 1, RAX, RAX));
    uint8_t *none = w->rw;
    rel32(w, 0x0f84, w->rx);
    into_code(w);
    uint8_t *sites[] = {alone, none};
    for (unsigned i = 0; i < 2; i++) {
        int32_t rel = (int32_t)(w->rw - (sites[i] + 6));
        memcpy(sites[i] + 2, &rel, 4);
    }
    leave_host(w);
}

static void go_on_or_leave(struct writer *w)
{
    store64(w, V(shadow_sp), RSP);
    go_on(w);
}

static void stub_enter(struct writer *w)
{
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(saved); i++)
        push(w, saved[i]);
    push(w, RDI);
    I(x64_lea(O, 1, RBP, (struct x64_mem){RDI, X64_NONE, 0, JIT_STATE_BIAS}));
    I(x64_mov(O, 1, RAX, RSI));
    stmxcsr(w, V(host_mxcsr));
    store64(w, V(host_sp), RSP);
    into_code(w);
}

static void stub_exit(struct writer *w)
{
    pinned(w, true, BOTH);
    go_on_or_leave(w);
}

/* The jne at site leads to what is written next. */
static void jne_here(struct writer *w, uint8_t *site)
{
    int32_t rel = (int32_t)(w->rw - (site + 6));

    memcpy(site + 2, &rel, 4);
}

/* Jumps to the code of the key in rax if it is at index rcx / 2 of the table; else the jne
 * returned is taken. */
static uint8_t *jump_by_table(struct writer *w, size_t table)
{
    struct x64_mem key = field(table + offsetof(struct jit_lookup, key));
    struct x64_mem code = field(table + offsetof(struct jit_lookup, code));
    key.index = code.index = RCX;
    key.scale = code.scale = 3;
    I(x64_rm(O, 0x39, 1, RAX, key)); /* cmp [key], rax */
    uint8_t *missed = w->rw;
    rel32(w, 0x0f85, w->rx);
    I(x64_rm(O, 0xff, 0, 4, code)); /* jmp [code] */
    return missed;
}

static void stub_indirect(struct writer *w)
{
    I(x64_mov(O, 0, RCX, RAX));
    I(x64_alu_ri(O, ALU_AND, 0, RCX, ((1 << JIT_LOOKUP_BITS) - 1) << 1));
    I(x64_alu_mi(O, ALU_CMP, 0, V(poll), 0));
    uint8_t *polled = w->rw;
    rel32(w, 0x0f85, w->rx);
    jne_here(w, jump_by_table(w, offsetof(struct jit_vcpu, lookup)));
    I(x64_mov(O, 1, RCX, RAX));
    I(x64_shift_i(O, SH_SHR, 1, RCX, JIT_VICTIM_SHIFT));
    I(x64_alu_rr(O, ALU_XOR, 1, RCX, RAX));
    I(x64_alu_ri(O, ALU_AND, 0, RCX, ((1 << JIT_VICTIM_BITS) - 1) << 1));
    uint8_t *missed = jump_by_table(w, offsetof(struct jit_vcpu, victim));
    jne_here(w, polled);
    jne_here(w, missed);
    store64(w, V(exit_arg), RAX);
    I(x64_mov_mi(O, 0, V(exit_id), JIT_EXIT_MISS));
    jmp(w, w->j->stub[JIT_STUB_EXIT]);
}

/* Bottom of the shadow stack: this address was popped and goes back there. */
static void stub_retmiss(struct writer *w)
{
    const uint8_t *self = w->rx;
    /* lea rcx, [rip + self] */
    x64_d(O, (uint32_t)(self - (w->rx + 7)));
    x64_b(O, 0x0d);
    x64_b(O, 0x8d);
    x64_b(O, 0x48);
    put(w);
    push(w, RCX);
    jmp(w, w->j->stub[JIT_STUB_INDIRECT]);
}

/* link: by a link stub, whose call pushed the address of the id. */
static void stub_deopt(struct writer *w, bool link)
{
    if (link)
        I(x64_rm(O, 0x8f, 0, 0, V(exit_arg))); /* pop */
    dump_regs(w);
    if (link) {
        load64(w, RAX, V(exit_arg));
        I(x64_rm(O, 0x8b, 0, RAX, (struct x64_mem){RAX, X64_NONE, 0, 0}));
        I(x64_rm(O, 0x89, 0, RAX, V(exit_id)));
    }
    go_on_or_leave(w);
}

static void stub_link_exit(struct writer *w)
{
    pop(w, RCX);
    I(x64_rm(O, 0x8b, 0, RCX, (struct x64_mem){RCX, X64_NONE, 0, 0}));
    I(x64_rm(O, 0x89, 0, RCX, V(exit_id)));
    stub_exit(w);
}

static void stub_slow(struct writer *w, bool state)
{
    dump_regs(w);
    pop(w, RAX); /* not a guest's return: must not stay if the call faults */
    store64(w, V(slow_ret), RAX);
    if (state)
        pinned(w, true, BOTH);
    store64(w, V(shadow_sp), RSP);
    to_host_stack(w);
    I(x64_lea(O, 1, RDI, (struct x64_mem){RBP, X64_NONE, 0, -JIT_STATE_BIAS}));
    I(x64_mov_imm64(O, RAX, (uint64_t)(uintptr_t)jit_slow_call));
    I((x64_b(O, 0xd0), x64_b(O, 0xff))); /* call rax */
    ldmxcsr(w, V(mxcsr));
    load64(w, RSP, V(shadow_sp));
    load64(w, RAX, V(slow_ret));
    push(w, RAX);
    I(x64_mov_mi(O, 1, V(slow_ret), 0));
    undump_regs(w);
    if (state)
        pinned(w, false, BOTH);
    ret(w);
}

/* ---- system calls ---------------------------------------------------- */

/* A jump whose target is not known yet, and its target. */
static uint8_t *jcc_ahead(struct writer *w, unsigned cc)
{
    rel32(w, 0x0f80 | cc, w->rx);
    return w->rw;
}
static void lands_here(struct writer *w, uint8_t *from)
{
    int32_t rel = (int32_t)(w->rw - from);
    memcpy(from - 4, &rel, 4);
}

static const uint8_t call_arg[6] = {RDI, RSI, RDX, R10, R8, R9}; /* of the host's kernel */

static struct x64_mem slot_mem(const struct writer *w, unsigned slot)
{
    return field(offsetof(struct jit_vcpu, state) + w->j->cfg.guest->slots[slot].offset);
}

/* Jumps to leave if the call is not one to make here; else its number is in eax, the
 * arguments are in their registers. Slots are in the state. Returns how many jumps. */
static unsigned call_wanted(struct writer *w, uint8_t **leave)
{
    const struct jit_calls *c = w->j->cfg.calls;
    struct x64_mem row = {RAX, R11, 2, 0}, limited = row, paths = row;
    unsigned n = 0;
    _Static_assert(sizeof(struct jit_call) == 4, "the scale of row");
    limited.disp = offsetof(struct jit_call, pointers);
    paths.disp = offsetof(struct jit_call, paths);
    load64(w, R11, slot_mem(w, c->number));
    for (unsigned k = 0; k < 6; k++)
        load64(w, call_arg[k], slot_mem(w, c->arg[k]));
    I(x64_mov_imm64(O, RAX, c->limit - 1));
    I(x64_alu_rr(O, ALU_XOR, 0, RCX, RCX));
    for (unsigned k = 6; k-- > 0;) { /* bit k of cl: argument k is above the limit */
        I(x64_alu_rr(O, ALU_CMP, 1, RAX, call_arg[k]));
        I(x64_alu_rr(O, ALU_ADC, 0, RCX, RCX));
    }
    I(x64_alu_ri(O, ALU_CMP, 1, R11, (int32_t)c->count));
    leave[n++] = jcc_ahead(w, CC_AE);
    I(x64_mov_imm64(O, RAX, (uint64_t)(uintptr_t)c->table));
    I(x64_rm8(O, 0x84, RCX, limited)); /* test [limited], cl */
    leave[n++] = jcc_ahead(w, CC_NE);
    if (c->no_paths) {
        I((x64_b(O, 0), x64_rm(O, 0x80, 0, ALU_CMP, paths))); /* cmp byte */
        leave[n++] = jcc_ahead(w, CC_NE);
    }
    I(x64_mov_imm64(O, RCX, (uint64_t)(uintptr_t)c->off));
    I(x64_alu_mi(O, ALU_CMP, 0, (struct x64_mem){RCX, X64_NONE, 0, 0}, 0));
    leave[n++] = jcc_ahead(w, CC_NE);
    I(x64_rm(O, X64_OP(1, 0, 0xbf), 0, RAX, row)); /* movsx eax, word [host] */
    I(x64_alu_ri(O, ALU_SUB, 0, RAX, 1));
    leave[n++] = jcc_ahead(w, CC_S);
    I(x64_rm(O, 0x8b, 0, RBX, V(flushes)));
    I((x64_d(O, 1), x64_b(O, 0xc3), x64_b(O, 0xf7))); /* test ebx, 1 */
    leave[n++] = jcc_ahead(w, CC_NE);
    return n;
}

/* Pinned slots that a call and what is around it leave in no register: the kernel
 * changes rcx and r11 only. */
static void pinned_after_call(struct writer *w)
{
    const struct jit *j = w->j;
    uint32_t lost = 1u << RAX | 1u << RCX | 1u << R11 | 1u << RBX;
    for (unsigned k = 0; k < 6; k++)
        lost |= 1u << call_arg[k];
    for (unsigned s = 0; s < j->cfg.guest->nslots; s++)
        if (s != j->cfg.calls->result && j->pin_gpr[s] >= 0 && (lost >> j->pin_gpr[s] & 1))
            load64(w, (unsigned)j->pin_gpr[s], slot_mem(w, s));
}

/* A system call that needs no C (struct jit_calls). What the floating-point registers
 * and MXCSR hold the kernel keeps; the integer slots are put into the state, so that
 * the call can be left to C at any time: before the syscall instruction by a signal's
 * handler (jit_rewind_call), behind it by poll. As in jit_run.c in_code is clear while
 * the thread may wait, and set again before it looks whether a flush came (the flush
 * sees to the order of the two, jit_priv.h), which takes the code it would return to:
 * flushes (kept in rbx) is then another, and shadow_sp, which is without our return
 * address, is not ours to write any more. */
static void stub_call(struct writer *w)
{
    struct jit *j = w->j;
    const struct jit_calls *c = j->cfg.calls;
    uint8_t *leave[8], *again, *flushed, *polled, *to_c;
    I(x64_lea(O, 1, RCX, (struct x64_mem){RSP, X64_NONE, 0, 8}));
    store64(w, V(shadow_sp), RCX);
    pinned(w, true, INTEGERS);
    unsigned n = call_wanted(w, leave);
    I(x64_mov_mi(O, 0, V(in_code), 0));
    j->call_begin = w->rx;
    I(x64_alu_mi(O, ALU_CMP, 0, V(poll), 0));
    again = jcc_ahead(w, CC_NE);
    I((x64_b(O, 0x05), x64_b(O, 0x0f))); /* syscall */
    j->call_end = w->rx;
    I(x64_mov_mi(O, 0, V(in_code), 1));
    I(x64_rm(O, 0x3b, 0, RBX, V(flushes))); /* cmp */
    flushed = jcc_ahead(w, CC_NE);
    I(x64_rm(O, 0xff, 1, 0, V(calls))); /* inc */
    I(x64_alu_mi(O, ALU_CMP, 0, V(poll), 0));
    polled = jcc_ahead(w, CC_NE);
    if (j->pin_gpr[c->result] >= 0)
        I(x64_mov(O, 1, (unsigned)j->pin_gpr[c->result], RAX));
    else
        store64(w, slot_mem(w, c->result), RAX);
    pinned_after_call(w);
    ret(w);
    lands_here(w, flushed);
    I(x64_rm(O, 0xff, 1, 0, V(calls)));
    lands_here(w, polled);
    store64(w, V(exit_arg), RAX);
    I(x64_mov_mi(O, 0, V(exit_id), JIT_EXIT_CALLED));
    rel32(w, 0xe9, w->rx);
    to_c = w->rw;
    while (n-- > 0)
        lands_here(w, leave[n]);
    lands_here(w, again);
    j->call_again = w->rx;
    I(x64_mov_mi(O, 0, V(exit_id), JIT_EXIT_CALL));
    lands_here(w, to_c);
    pinned(w, true, FLOATS);
    go_on(w);
}

/* x64_strip's caller: other registers stay as they are, so what the ABI lets C change is kept here,
 * and of the vectors those that it uses. A fault ends it as well: the C code's frame is left, with
 * the registers that it should have restored. MXCSR stays the guest's: nothing there computes. */
static const uint8_t strip_gprs[] = {RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11};
static const uint8_t strip_kept[] = {RBX, R12, R13, R14, R15};
enum { STRIP_FPRS = 6 };

static void strip_end(struct writer *w)
{
    if (w->j->cpu & X64_CPU_AVX2)
        I((x64_b(O, 0x77), x64_b(O, 0xf8), x64_b(O, 0xc5))); /* vzeroupper */
    for (unsigned r = 0; r < STRIP_FPRS; r++)
        load_x(w, XMM0 + r, field(offsetof(struct jit_vcpu, regs.fpr) + 8 * r));
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(strip_gprs); i++)
        load64(w, strip_gprs[i], field(offsetof(struct jit_vcpu, regs.gpr) + 8 * strip_gprs[i]));
    load64(w, RSP, V(shadow_sp));
    I(x64_mov_mi(O, 0, V(in_strip), 0));
    ret(w);
}

static void stub_strip(struct writer *w)
{
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(strip_gprs); i++)
        store64(w, field(offsetof(struct jit_vcpu, regs.gpr) + 8 * strip_gprs[i]), strip_gprs[i]);
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(strip_kept); i++)
        store64(w, field(offsetof(struct jit_vcpu, regs.gpr) + 8 * strip_kept[i]), strip_kept[i]);
    for (unsigned r = 0; r < STRIP_FPRS; r++)
        store_x(w, field(offsetof(struct jit_vcpu, regs.fpr) + 8 * r), XMM0 + r);
    I(x64_mov_mi(O, 0, V(in_strip), 1));
    store64(w, V(shadow_sp), RSP);
    load64(w, RSP, V(host_sp));
    I(x64_lea(O, 1, RDI, (struct x64_mem){RBP, X64_NONE, 0, -JIT_STATE_BIAS}));
    I(x64_mov_imm64(O, RAX, (uint64_t)(uintptr_t)x64_strip));
    I((x64_b(O, 0xd0), x64_b(O, 0xff))); /* call rax */
    strip_end(w);
}

static void stub_strip_fault(struct writer *w)
{
    load64(w, RBP, (struct x64_mem){RSP, X64_NONE, 0, 0});
    I(x64_lea(O, 1, RBP, (struct x64_mem){RBP, X64_NONE, 0, JIT_STATE_BIAS}));
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(strip_kept); i++)
        load64(w, strip_kept[i], field(offsetof(struct jit_vcpu, regs.gpr) + 8 * strip_kept[i]));
    strip_end(w);
}

/* rsp = host_sp by set_ucontext; the state is complete already. */
static void stub_abandon(struct writer *w)
{
    load64(w, RAX, (struct x64_mem){RSP, X64_NONE, 0, 0});
    ldmxcsr(w, (struct x64_mem){RAX, X64_NONE, 0, offsetof(struct jit_vcpu, host_mxcsr)});
    leave_host(w);
}

size_t x64_make_stubs(struct jit *j, uint8_t *rw, const uint8_t *rx, size_t room)
{
    struct writer writer = {.j = j, .rw = rw, .rx = rx}, *w = &writer;
    w->o.p = w->buf + sizeof w->buf;
    BASE_ASSERT(room >= 8192);
    for (int s = 0; s < JIT_STUB_COUNT; s++) {
        while ((uintptr_t)w->rx & 15)
            I(x64_b(O, 0xcc));
        j->stub[s] = w->rx;
        switch (s) {
        case JIT_STUB_EXIT: stub_exit(w); break;
        case JIT_STUB_INDIRECT: stub_indirect(w); break;
        case JIT_STUB_RETMISS: stub_retmiss(w); break;
        case JIT_STUB_DEOPT: stub_deopt(w, false); break;
        case JIT_STUB_LINK_DEOPT: stub_deopt(w, true); break;
        case JIT_STUB_LINK_EXIT: stub_link_exit(w); break;
        case JIT_STUB_SLOW: stub_slow(w, false); break;
        case JIT_STUB_SLOW_STATE: stub_slow(w, true); break;
        case JIT_STUB_ENTER: stub_enter(w); break;
        case JIT_STUB_ABANDON: stub_abandon(w); break;
        case JIT_STUB_CALL:
            if (j->cfg.calls)
                stub_call(w);
            else
                j->stub[s] = NULL;
            break;
        case JIT_STUB_STRIP: stub_strip(w); break;
        case JIT_STUB_STRIP_FAULT: stub_strip_fault(w); break;
        }
    }
    return (size_t)(w->rw - rw);
}

void x64_enter(struct jit_vcpu *v, const void *code)
{
    typedef void enter(struct jit_vcpu *, const void *);
    ((enter *)(uintptr_t)v->jit->stub[JIT_STUB_ENTER])(v, code);
}

const void *x64_abandon_code(struct jit *j) { return j->stub[JIT_STUB_ABANDON]; }

/* ---- link stubs ------------------------------------------------------ */

/*      jmp rel32     if asked for: to the next line, or to where it is linked
 *      call stub     LINK_EXIT or LINK_DEOPT, which pops the address of
 *      .long id
 *
 * There are about three for every region, so they are short and written without
 * the encoder. */
static uint8_t *put_rel32(uint8_t *rw, const uint8_t *rx, unsigned op, const uint8_t *target)
{
    uint32_t rel = (uint32_t)(target - (rx + 5));
    rw[0] = (uint8_t)op;
    memcpy(rw + 1, &rel, 4);
    return rw + 5;
}

size_t x64_link_stub(struct jit *j, uint8_t *rw, const uint8_t *rx, uint32_t id, bool deopt,
                     bool jump)
{
    const uint8_t *stub = j->stub[deopt ? JIT_STUB_LINK_DEOPT : JIT_STUB_LINK_EXIT];
    uint8_t *p = rw;
    if (jump)
        p = put_rel32(p, rx, 0xe9, rx + X64_LINK_SKIP);
    p = put_rel32(p, rx + (p - rw), 0xe8, stub);
    memcpy(p, &id, 4);
    return (size_t)(p + 4 - rw);
}

/* Not across two cache lines: another thread might see half of it. */
bool x64_patchable(const uint8_t *site_rx) { return ((uintptr_t)site_rx & 63) <= 60; }

void x64_patch(uint8_t *site_rw, const uint8_t *site_rx, const uint8_t *target)
{
    __atomic_store_n((uint32_t *)(void *)site_rw, (uint32_t)(target - (site_rx + 4)),
                     __ATOMIC_RELEASE);
}

/* ---- signal contexts ------------------------------------------------- */

void x64_regs_from_ucontext(struct jit_regs *r, uint32_t *fpstatus, const void *uc)
{
    static const int greg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                 REG_R12, REG_R13, REG_R14, REG_R15};
    const mcontext_t *m = &((const ucontext_t *)uc)->uc_mcontext;
    for (unsigned i = 0; i < 16; i++) {
        r->gpr[i] = (uint64_t)m->gregs[greg[i]];
        memcpy(&r->fpr[i], &m->fpregs->_xmm[i], 8);
    }
    *fpstatus = m->fpregs->mxcsr;
}

uint64_t x64_pc_of_ucontext(const void *uc)
{
    return (uint64_t)((const ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
}

uint64_t x64_sp_of_ucontext(const void *uc)
{
    return (uint64_t)((const ucontext_t *)uc)->uc_mcontext.gregs[REG_RSP];
}

void x64_set_ucontext(void *uc, uint64_t pc, uint64_t sp)
{
    mcontext_t *m = &((ucontext_t *)uc)->uc_mcontext;
    m->gregs[REG_RIP] = (greg_t)pc;
    m->gregs[REG_RSP] = (greg_t)sp;
    m->gregs[REG_EFL] &= ~0x400l; /* C code expects the direction flag clear */
}

/* ---- floating-point status ------------------------------------------- */

void x64_fp_load(struct jit_vcpu *v, const struct ir_fpenv *env)
{
    const uint8_t *flags = (const uint8_t *)v->host_const[X64_K_UNFLAGS];
    const uint8_t *round = (const uint8_t *)v->host_const[X64_K_ROUND];

    v->mxcsr = 0x1f80u | flags[env->flags & 31] | (uint32_t)round[env->rm & 7] << 13;
}

void x64_fp_store(const struct jit_vcpu *v, struct ir_fpenv *env)
{
    env->flags = ((const uint8_t *)v->host_const[X64_K_FLAGS])[v->mxcsr & 63];
}
