/* x64_t1.h: private header of the tier-1 code generator.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One backward pass over a region's IR does dead-code elimination, fusion,
 * register allocation and emission (see x64_t1.c for the essay). Parts:
 *   x64_ra.c   registers: allocation, eviction, parallel moves, the region's
 *              convention at top and bottom, state maps
 *   x64_int.c  integer operations
 *   x64_mem.c  loads, stores, atomics
 *   x64_fp.c   floating point
 *   x64_t1.c   control flow, exits, the pass itself
 */
#ifndef ISOMER_X64_T1_H
#define ISOMER_X64_T1_H

#include "host/x64/x64.h"
#include "host/x64/x64_emit.h"
#include "jit/jit.h"

enum {
    X64_HOT_MAX = 512 * 1024, /* scratch for one region's code */
    X64_COLD_MAX = 512 * 1024,
    X64_ROOM = 4096,          /* less than this left: give up */
    X64_MAX_LITS = 256,
    X64_GPRS = 0x0000ffcf,    /* all but rsp, rbp */
    X64_FPRS = (int)0xffff0000u,
    X64_FP_SCRATCH = 7 << XMM0, /* never pinned */
    X64_ENTRY = IR_BIAS + IR_MAX_INS,
    X64_REFS_STATE = 8        /* in refs: GET, PUT or HELPER */
};

/* What is known of one value (indexed by ref; slots' entry values that no GET
 * names have pseudo refs X64_ENTRY + slot). */
struct x64_val {
    uint8_t reg;   /* enum x64_reg or X64_NONE */
    uint8_t hint;  /* register it would like */
    uint8_t flags; /* X64_V_* */
    uint8_t spill; /* index into vcpu->spill if X64_V_SPILL; a slot's number if X64_V_CELL */
    uint16_t uses; /* by instructions, PUT excepted; saturates */
    uint16_t pad;
};
enum {
    X64_V_SPILL = 1, /* must be stored to its spill slot where it is defined */
    X64_V_HOME = 2,  /* entry value: must be stored to its state slot at entry */
    X64_V_CANON = 4, /* FP: NaN must be canonical where it is defined */
    X64_V_SEXT = 8,  /* load: sign-extend to 64 bits */
    X64_V_FUSED = 16, /* FCMP: done by the jump that uses it */
    X64_V_CELL = 32   /* tier 2: spilled to the place of a slot in the state */
};

struct x64_t1 {
    struct x64_out out; /* of the current section */
    struct jit *j;
    struct ir_func *f;
    struct jit_code *c;
    int sec;            /* enum jit_section being written */
    uint8_t *other;     /* write pointer of the other section */
    uint8_t *buf[2], *end[2];
    struct x64_val *val;
    uint8_t refs[IR_OP_COUNT]; /* which operands are refs, bits 0..2; X64_REFS_STATE */
    uint32_t free;      /* bit set of free registers */
    uint32_t given;     /* registers given to a value since the bottom */
    uint32_t lock;      /* registers the current instruction uses */
    ir_ref owner[X64_NREGS];
    ir_ref cur[IR_MAX_SLOTS];   /* each slot's value here; IR_NIL: entry value */
    ir_ref entry[IR_MAX_SLOTS]; /* ref of each slot's entry value */
    uint64_t pinned;    /* slots with a register, as far as the region has use
                           for their class */
    uint64_t pinned_class[2]; /* integer, FP */
    bool fp;            /* the region has FP values or uses pinned FP slots */
    uint8_t home[64];   /* register of each pinned slot */
    int8_t slot_of[X64_NREGS]; /* and back; -1 */
    uint64_t touched;   /* slots that a GET or PUT of the region names */
    /* as a region begins in which nothing is touched, without and with FP:
     * every home register holds its slot's entry value */
    uint32_t free0[2];
    ir_ref owner0[2][X64_NREGS];
    ir_ref entry0[IR_MAX_SLOTS];
    struct x64_val val0[IR_MAX_SLOTS];
    uint64_t watch;     /* pinned slots that may not be at home */
    uint32_t snaps;     /* points passed at which the state must be exact */
    uint32_t put_seen[IR_MAX_SLOTS];
    uint64_t put_wanted; /* slots whose next PUT above must be a store */
    unsigned nspill;
    ir_ref at;          /* instruction being emitted */
    uint64_t lit[X64_MAX_LITS];
    unsigned nlit;
    bool barrier;       /* there is a helper that may change the state */
    bool fma_again;     /* slow call: c reads as a NaN (x64_fma) */
    ir_ref flags_kept;  /* FLGET whose status a FLSET behind it wants (x64_flset), or IR_NIL */
    const char *gave_up;
    struct x64_log *log; /* what is done to registers, for x64_check.c, or NULL */
    struct x64_t2 *t2;  /* compiling a control-flow region (x64_t2.h), else NULL */
};

/* ---- small helpers --------------------------------------------------- */

#define X64_VCPU_DISP(field) ((int32_t)offsetof(struct jit_vcpu, field) - JIT_STATE_BIAS)

static inline struct x64_mem x64_at(unsigned base, int32_t disp)
{
    return (struct x64_mem){(uint8_t)base, X64_NONE, 0, disp};
}
static inline struct x64_mem x64_vcpu(int32_t disp) { return x64_at(RBP, disp); }
/* One of the vCPU's constants (enum x64_const). */
static inline struct x64_mem x64_const(unsigned k)
{
    return x64_vcpu(X64_VCPU_DISP(host_const) + 16 * (int32_t)k);
}
static inline struct x64_mem x64_slot_mem(const struct x64_t1 *t, unsigned slot)
{
    return x64_vcpu((int32_t)t->f->guest->slots[slot].offset - JIT_STATE_BIAS);
}
static inline struct ir_ins *x64_ins(const struct x64_t1 *t, ir_ref r) { return &t->f->ins[r]; }
static inline bool x64_cpu(const struct x64_t1 *t, uint32_t feature)
{
    return (t->j->cpu & feature) != 0;
}
static inline bool x64_ref_fp(const struct x64_t1 *t, ir_ref r)
{
    unsigned ty = r >= X64_ENTRY ? t->f->guest->slots[r - X64_ENTRY].type : t->f->ins[r].ty;

    return ir_is_float(ty);
}
static inline int x64_home(const struct x64_t1 *t, unsigned slot) { return t->home[slot]; }
/* Operand reading: a TRUNC that nobody computed is its source (low bits). */
static inline ir_ref x64_src(const struct x64_t1 *t, ir_ref r)
{
    while (t->f->ins[r].op == IR_TRUNC && t->val[r].reg == X64_NONE && t->f->ins[r].ty != IR_I1)
        r = t->f->ins[r].a;
    return r;
}
/* A constant that may be written out as it is; guest addresses may not (they
 * go through x64_load_const, which relocates them). */
static inline bool x64_is_number(const struct x64_t1 *t, ir_ref r)
{
    return ir_is_const(r) && t->f->ins[r].op != IR_KADDR;
}
static inline bool x64_imm32(const struct x64_t1 *t, ir_ref r, int w, int32_t *imm)
{
    uint64_t v;

    if (!x64_is_number(t, r))
        return false;
    v = ir_kval(t->f, r);
    *imm = (int32_t)v;
    return !w || (int64_t)v == (int32_t)v;
}

/* ---- x64_check.c ----------------------------------------------------- */

/* What the allocator does, in the order of emission. USE, DEF: value a is (comes to be) in
 * reg; RETAG: reg, which has a, has what b is from here on; the others speak of machine
 * words: reg = reg2, reg <-> reg2, reg = constant a, reg = [disp], [disp] = reg, [disp] =
 * constant a, [disp] = [b], each extended as how says. */
enum x64_event {
    X64_E_USE, X64_E_DEF, X64_E_RETAG, X64_E_MOVE, X64_E_SWAP, X64_E_CONST, X64_E_LOAD,
    X64_E_STORE, X64_E_STORE_CONST, X64_E_COPY, X64_E_CLOBBER, X64_E_FIX,
    X64_E_COOK, X64_E_FIX_PLACE,        /* recipe a is done to reg; to [disp], and then how */
    X64_E_MAP, X64_E_MAP_END,           /* slot reg is at b by (reg2, recipe a, how) */
    X64_E_EDGE, X64_E_EXIT, X64_E_END,  /* a way out begins; to block a; ends */
    X64_E_TOP                           /* of block a */
};
void x64_log_event(struct x64_t1 *t, unsigned kind, unsigned reg, unsigned reg2, unsigned how,
                   uint32_t a, int64_t b);
void x64_log_mute(struct x64_t1 *t, bool mute);
static inline void x64_log(struct x64_t1 *t, unsigned kind, unsigned reg, unsigned reg2,
                           uint32_t a, int64_t b)
{
    if (base_unlikely(t->log != NULL))
        x64_log_event(t, kind, reg, reg2, JIT_HOW_COPY, a, b);
}

/* ---- x64_ra.c -------------------------------------------------------- */

unsigned x64_alloc(struct x64_t1 *t, ir_ref r);
unsigned x64_temp(struct x64_t1 *t, uint32_t cls); /* scratch, locked, until the next instruction*/
void x64_evict_reg(struct x64_t1 *t, unsigned reg);
/* Moves whatever is in reg elsewhere (it is clobbered by what is emitted
 * next, and must be back in reg after it). */
void x64_clear_reg(struct x64_t1 *t, unsigned reg);
unsigned x64_def(struct x64_t1 *t, ir_ref r, uint32_t cls);
void x64_free(struct x64_t1 *t, ir_ref r);
void x64_give(struct x64_t1 *t, ir_ref r, unsigned reg); /* r lives in the free register reg */
void x64_load_const(struct x64_t1 *t, unsigned reg, ir_ref k);
void x64_mov_reg(struct x64_t1 *t, unsigned d, unsigned s);
void x64_load_state(struct x64_t1 *t, unsigned reg, struct x64_mem m);
void x64_store_state(struct x64_t1 *t, struct x64_mem m, unsigned reg);

static inline unsigned x64_use(struct x64_t1 *t, ir_ref r)
{
    unsigned reg = t->val[r].reg;

    if (reg == X64_NONE)
        reg = x64_alloc(t, r);
    t->lock |= 1u << reg;
    x64_log(t, X64_E_USE, reg, 0, r, 0);
    return reg;
}
/* Use with a wish: an unallocated value takes reg if that is free. */
static inline unsigned x64_use_in(struct x64_t1 *t, ir_ref r, unsigned reg)
{
    if (t->val[r].reg == X64_NONE && !ir_is_const(r) &&
        (t->val[r].hint == X64_NONE || !(t->free >> t->val[r].hint & 1)) &&
        (t->free >> reg & 1)) {
        x64_give(t, r, reg);
        t->lock |= 1u << reg;
        x64_log(t, X64_E_USE, reg, 0, r, 0);
        return reg;
    }
    return x64_use(t, r);
}

int x64_entry_slot(const struct x64_t1 *t, ir_ref r); /* slot whose entry value r is, or -1 */
struct x64_mem x64_backing(struct x64_t1 *t, ir_ref r, int *slot);
struct x64_mem x64_spill_mem(unsigned n);
/* Where a value with X64_V_SPILL is stored. */
struct x64_mem x64_place_mem(const struct x64_t1 *t, const struct x64_val *v);
unsigned x64_new_spill(struct x64_t1 *t);
bool x64_try_alloc(struct x64_t1 *t, ir_ref r);
static inline ir_ref x64_slot_value(const struct x64_t1 *t, unsigned slot)
{
    return t->cur[slot] ? t->cur[slot] : t->entry[slot];
}

struct x64_move {
    uint8_t dst;
    uint8_t kind; /* X64_MOVE_* */
    uint8_t src;
    ir_ref k;
    int32_t disp;
};
enum { X64_MOVE_REG, X64_MOVE_CONST, X64_MOVE_MEM };
void x64_moves(struct x64_t1 *t, struct x64_move *m, unsigned n);
/* Fills m with what brings every pinned slot home at this point. */
unsigned x64_convention(struct x64_t1 *t, struct x64_move *m, bool final);
void x64_region_bottom(struct x64_t1 *t); /* registers as at a region's end */
void x64_region_top(struct x64_t1 *t);    /* ... at its entry */
/* State map of this point; keeps the values it needs alive. */
unsigned x64_map(struct x64_t1 *t);
unsigned x64_map_pc(struct x64_t1 *t, uint64_t pc);
uint64_t x64_pc(const struct x64_t1 *t); /* of the guest instruction being emitted */

/* ---- sections, relocations ------------------------------------------- */

void x64_section(struct x64_t1 *t, int sec);
static inline uint32_t x64_off(const struct x64_t1 *t) /* from the section's end */
{
    return (uint32_t)(t->end[t->sec] - t->out.p);
}
/* Records that the rel32 (just emitted at out.p) is to be filled. */
void x64_reloc(struct x64_t1 *t, unsigned kind, unsigned target, uint32_t addend);
void x64_jcc(struct x64_t1 *t, unsigned cc, unsigned kind, unsigned target, uint32_t addend);
/* jcc rel8 to code emitted before, at most 127 bytes on. */
void x64_jcc_short(struct x64_t1 *t, unsigned cc, const uint8_t *target);
void x64_jmp(struct x64_t1 *t, unsigned kind, unsigned target, uint32_t addend);
void x64_call(struct x64_t1 *t, unsigned kind, unsigned target);
/* The instruction at the write pointer (the one emitted last) may fault. Used
 * before a slow call is emitted, it names the call's return address. */
void x64_point(struct x64_t1 *t, unsigned map);
/* In test mode: leaves through the map when the counter runs out. */
void x64_force_deopt(struct x64_t1 *t, unsigned map);
/* Out-of-line code: begin switches to the cold section and ends there with a
 * jump back to the hot code at its present point; end returns to the hot
 * section and gives the cold label for the jump into it. */
void x64_cold_begin(struct x64_t1 *t);
uint32_t x64_cold_end(struct x64_t1 *t);
/* jcc to a cold label */
static inline void x64_jcc_cold(struct x64_t1 *t, unsigned cc, uint32_t label)
{
    x64_jcc(t, cc, JIT_RELOC_PC32_SECTION, JIT_COLD, label);
}
/* An 8-byte literal in the cold section as a rip-relative operand of the
 * instruction with the given opcode: op reg, [rip + literal]. */
void x64_op_literal(struct x64_t1 *t, uint32_t op, unsigned reg, uint64_t v);
/* Slow call: d = op(args) evaluated in C, all other registers kept; args are
 * registers or constants. d may be X64_NONE. */
void x64_slow_call(struct x64_t1 *t, const struct ir_ins *i, unsigned d, int stub, int map);
/* Its arguments' registers, allocated and locked (constants need none). */
void x64_slow_args(struct x64_t1 *t, const struct ir_ins *i);

/* ---- x64_t1.c, for tier 2 -------------------------------------------- */

struct x64_t1 *x64_scratch(struct jit *j, size_t more); /* more bytes behind it, for x64_t2 */
void x64_start(struct x64_t1 *t, struct ir_func *f, struct jit_code *c);
void x64_untouched(struct x64_t1 *t);
void x64_entry_get(struct x64_t1 *t, ir_ref r, unsigned slot);
void x64_instruction(struct x64_t1 *t, ir_ref r, struct ir_ins *i);
/* The end of a region (EXIT, TRAP), registers being as the caller set them; returns how many
 * instructions before it were dealt with. */
unsigned x64_leave_region(struct x64_t1 *t, ir_ref at, struct ir_ins *i);
unsigned x64_exit(struct x64_t1 *t, unsigned kind, bool call, uint64_t key);
/* Tier 2: how often exit e is taken is counted here. */
void x64_count_exit(struct x64_t1 *t, unsigned e);
uint64_t x64_key(const struct x64_t1 *t, ir_ref target);
void x64_layout(struct x64_t1 *t);
/* Jump if the condition holds; kind, target, addend as in x64_jcc. */
struct x64_cond;
void x64_jcond(struct x64_t1 *t, struct x64_cond c, unsigned kind, unsigned target,
               uint32_t addend);

/* ---- by kind of operation; false: not one of mine -------------------- */

bool x64_emit_int(struct x64_t1 *t, ir_ref r, struct ir_ins *i);
bool x64_emit_mem(struct x64_t1 *t, ir_ref r, struct ir_ins *i);
bool x64_emit_fp(struct x64_t1 *t, ir_ref r, struct ir_ins *i);
/* Can i's result be a NaN other than the canonical one, unless X64_V_CANON is set? */
bool x64_makes_nans(const struct x64_t1 *t, const struct ir_ins *i);
/* x = float s, a NaN made canonical. */
void x64_canon_copy(struct x64_t1 *t, unsigned ty, unsigned x, unsigned s);
/* x64_t2_pre.c: is r a value that a loop makes and what is not in the loop wants canonical? Better
 * there than in each round. */
bool x64_canon_late(const struct x64_t1 *t, ir_ref r);
/* The same: is r a PHI of a loop's header? */
bool x64_t2_is_header_phi(const struct x64_t1 *t, ir_ref r);
/* Pure operation without inline code: through ir_eval. */
void x64_emit_slow(struct x64_t1 *t, ir_ref r, struct ir_ins *i);

/* Conditions: what must hold in the flags, and the compare before it. */
struct x64_cond {
    uint8_t cc;      /* jump if this ... */
    uint8_t parity;  /* 1: and not parity, 2: or parity */
};
struct x64_cond x64_cond_of(struct x64_t1 *t, ir_ref cond, bool negate, ir_ref *cmp);
void x64_cmp_value(struct x64_t1 *t, ir_ref r);
void x64_emit_compare(struct x64_t1 *t, ir_ref cmp);
/* d = x + r or x - r (ALU_ADC, ALU_SBB) if r is a comparison as a number that the instruction
 * here can make itself (x64_carry.c); false: it cannot. */
bool x64_carry(struct x64_t1 *t, unsigned alu, unsigned d, int w, ir_ref x, ir_ref r);
void x64_emit_fcompare(struct x64_t1 *t, ir_ref cmp);

#endif
