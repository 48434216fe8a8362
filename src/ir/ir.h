/* ir.h: the intermediate representation. SPDX-License-Identifier: Apache-2.0
 *
 * Typed SSA in one array of 16-byte instructions. A reference (ir_ref) is an
 * index into it: constants grow down from IR_BIAS, instructions up, so the two
 * are told apart by one compare and a pass walks memory linearly. References
 * to instructions point backwards, PHI operands excepted.
 *
 * Rules that hold for every function (ir_verify checks them):
 *  - types are exact: no implicit truncation or extension;
 *  - effects (class S, E, L on memory, G, C) keep their program order; pure
 *    instructions may move freely between their operands and their uses;
 *    operations that accrue FP flags are pure, and keep their place only
 *    relative to FLGET, FLSET, RMSET, HELPER and region exits;
 *  - guest state is exact by position: at any instruction the guest's slots
 *    hold what the PUTs before it wrote, and the guest's pc is that of the
 *    IMARK before it. This is the state map: an instruction that may fault
 *    (flag FAULT), a SIDE, an EXIT and a TRAP need nothing else;
 *  - hence a lifter PUTs a guest instruction's results after everything in it
 *    that can fault;
 *  - a region (straight-line function) is one block that ends with EXIT or
 *    TRAP; a general function begins each further block with BLOCK, ends each
 *    with JMP, BR, EXIT or TRAP, and has its PHIs first in a block;
 *  - GET reads a slot's value at that position.
 *
 * The folding builder (ir_emit) may return an existing reference or a constant
 * instead of a new instruction. docs/ir.md is the normative description.
 */
#ifndef ISOMER_IR_H
#define ISOMER_IR_H

#include "base/base.h"
#include "base/base_softfp.h"

/* ---- operations and types -------------------------------------------- */

enum ir_op {
#define OP(name, ...) IR_##name,
#include "ir/ir_ops.h"
#undef OP
    IR_OP_COUNT
};

enum ir_type {
    IR_NONE, IR_I1, IR_I8, IR_I16, IR_I32, IR_I64, IR_I128,
    IR_F16, IR_F32, IR_F64,
    IR_V128, IR_V256, IR_V512, /* reserved: vectors */
    IR_REF,                    /* garbage-collected reference, never an i64 */
    IR_TYPE_COUNT
};

static inline bool ir_is_int(unsigned t) { return t >= IR_I1 && t <= IR_I128; }
static inline bool ir_is_float(unsigned t) { return t >= IR_F16 && t <= IR_F64; }
/* Width in bits: i1 is 1, ref is 64. */
unsigned ir_type_bits(unsigned type);
const char *ir_type_name(unsigned type);

enum ir_class {
    IR_CLASS_K, IR_CLASS_P, IR_CLASS_L, IR_CLASS_S, IR_CLASS_G, IR_CLASS_C, IR_CLASS_E
};
enum ir_operand {
    IR_OPD__, IR_OPD_R, IR_OPD_A, IR_OPD_I, IR_OPD_C, IR_OPD_L, IR_OPD_S, IR_OPD_B, IR_OPD_X
};
enum { IR_F_COMM = 1, IR_F_FAULT = 2, IR_F_AUX = 4, IR_F_FLAGS = 8 };

struct ir_op_info {
    const char *name;     /* lower-case text form */
    uint8_t cls;          /* enum ir_class */
    uint8_t opd[3];       /* enum ir_operand of a, b, c */
    uint8_t flags;        /* IR_F_* */
    uint8_t latency;
    uint32_t types;       /* bit set of allowed result types */
};
extern const struct ir_op_info ir_ops[IR_OP_COUNT];

typedef uint32_t ir_ref;
enum { IR_BIAS = 0x8000 }; /* 32768 constants at most */
#define IR_NIL ((ir_ref)0)
static inline bool ir_is_const(ir_ref r) { return r < IR_BIAS; }

struct ir_ins {
    uint8_t op, ty;
    uint16_t aux;
    uint32_t a, b, c;
};

/* ---- aux encodings --------------------------------------------------- */

/* CMP (integers) and FCMP (quiet unless IR_FCMP_SIGNAL is or-ed in) */
enum ir_cc { IR_EQ, IR_NE, IR_LTS, IR_LES, IR_GTS, IR_GES, IR_LTU, IR_LEU, IR_GTU, IR_GEU };
/* cc of a CMP whose operands are exchanged; cc that holds when this one does not. */
static inline unsigned ir_cc_swapped(unsigned cc)
{
    static const uint8_t to[] = {IR_EQ,  IR_NE,  IR_GTS, IR_GES, IR_LTS,
                                 IR_LES, IR_GTU, IR_GEU, IR_LTU, IR_LEU};
    return to[cc];
}
static inline unsigned ir_cc_opposite(unsigned cc)
{
    static const uint8_t to[] = {IR_NE,  IR_EQ,  IR_GES, IR_GTS, IR_LES,
                                 IR_LTS, IR_GEU, IR_GTU, IR_LEU, IR_LTU};
    return to[cc];
}
/* FCMP uses EQ, LTS, LES. A signalling NaN raises NV; SIGNAL: any does; SILENT: none. */
enum { IR_FCMP_SIGNAL = 16, IR_FCMP_SILENT = 32 };

/* rounding mode in aux & 7 (RISC-V numbering) of FADD..FMA, FCVT*, FROUND */
enum ir_rm { IR_RNE, IR_RTZ, IR_RDN, IR_RUP, IR_RMM, IR_RM_DYN = 7 };
/* FMA: value is (±(a*b)) ± c */
enum { IR_FMA_NEG_PROD = 8, IR_FMA_NEG_ADD = 16 };
enum { IR_FMIN_NAN = 8 };     /* FMIN, FMAX: NaN if either is NaN (Zfa) */
enum { IR_FCVT_UNSIGNED = 8 };/* FCVTFI, FCVTIF: the integer is unsigned */
enum { IR_FROUND_EXACT = 8 }; /* FROUND: raise NX when not exact */

/* LD, ST, AMO, CAS, LR, SC: alias class in bits 0..3, ordering in bits 4..5,
 * AMO operation in bits 8..11, SC_CONSTRAINED and LD_AGAIN in bit 12. Loads and stores are
 * naturally unaligned-capable; atomics fault (IR_FAULT_ALIGN) if misaligned.*/
enum ir_alias { IR_AS_GUEST, IR_AS_STATE, IR_AS_FIELD, IR_AS_ELEM, IR_AS_INTERNAL };
enum ir_order { IR_RELAXED = 0, IR_ACQUIRE = 1 << 4, IR_RELEASE = 2 << 4, IR_SEQ_CST = 3 << 4 };
enum ir_amo {
    IR_AMO_SWAP, IR_AMO_ADD, IR_AMO_XOR, IR_AMO_AND, IR_AMO_OR,
    IR_AMO_MINS, IR_AMO_MAXS, IR_AMO_MINU, IR_AMO_MAXU
};
#define IR_AMO_SHIFT 8
/* SC whose LR precedes it in a constrained loop (RISC-V A extension, 14.3):
 * comparing by value is exact. Otherwise a version is compared as well. */
enum { IR_SC_CONSTRAINED = 1 << 12 };
/* LD that is several of the guest's: a fault of it says nothing, the guest's instructions are to be
 * executed one by one from its IMARK on (struct ir_end, again). */
enum { IR_LD_AGAIN = 1 << 12 };
/* FENCE: sets of predecessor and successor accesses */
enum { IR_FENCE_PR = 1, IR_FENCE_PW = 2, IR_FENCE_SR = 4, IR_FENCE_SW = 8 };

/* STRIP: whole rounds of a loop over memory at once (docs/ir.md): what is done in bits 0..3, the
 * binary logarithm of a round's bytes in 4..6, whether rounds go down, and how many bytes further
 * than a round's own the loop loads. Pieces of memory nearer to each other than
 * ir_strip_apart are left to the loop. */
enum ir_strip {
    IR_STRIP_FILL, IR_STRIP_COPY, IR_STRIP_COPYZ, IR_STRIP_FIND, IR_STRIP_FINDZ, IR_STRIP_SPAN,
    IR_STRIP_MATCH, IR_STRIP_MATCHZ
};
enum { IR_STRIP_KIND = 15, IR_STRIP_SHIFT = 4, IR_STRIP_BACK = 1 << 7, IR_STRIP_AHEAD8 = 1 << 8,
       IR_STRIP_AHEAD16 = 2 << 8 };
static inline unsigned ir_strip_bytes(unsigned aux) { return 1u << (aux >> IR_STRIP_SHIFT & 7); }
static inline unsigned ir_strip_ahead(unsigned aux) { return (aux >> 8 & 3) * 8; }
static inline unsigned ir_strip_apart(unsigned aux) { return 64 + 3 * ir_strip_bytes(aux); }

/* EXIT aux: a = target (a KADDR if direct), b = return address for calls */
enum ir_exit { IR_EXIT_JUMP, IR_EXIT_CALL, IR_EXIT_RET };
/* SIDE: leaves to b (a KADDR) if a is true; aux: 1 = expected to be taken */
/* TRAP aux: why the region gives control to the VM; a = the pc (KADDR) the
 * guest is at: that of the instruction itself, FENCEI: of the next; b = info */
enum ir_trap {
    IR_TRAP_SYSCALL,    /* ecall */
    IR_TRAP_BREAK,      /* ebreak */
    IR_TRAP_ILLEGAL,    /* info: instruction bits */
    IR_TRAP_FENCEI,     /* code written before must be seen after */
    IR_TRAP_ALIGN,      /* misaligned atomic; info unused */
    IR_TRAP_FETCH,      /* nothing executable at the pc */
    IR_TRAP_COUNT
};

/* ---- constants, floating-point environment --------------------------- */

/* Executors keep the guest's FP environment here, inside the guest state. */
struct ir_fpenv {
    uint32_t flags; /* accrued: NX 1, UF 2, OF 4, DZ 8, NV 16 */
    uint32_t rm;    /* dynamic rounding mode, enum ir_rm; 5..7 invalid */
};

/* ---- what a guest is ------------------------------------------------- */

struct ir_func;

struct ir_slot {
    char name[8];
    uint8_t type;    /* enum ir_type: i64 or f64 for RV64 */
    uint16_t offset; /* bytes from the start of the guest state */
};

/* Helper called by HELPER: state is the guest state; returns the result.
 * It may fault on guest memory only if HELPER_MEM is set, and it then must
 * not have changed anything before. */
struct ir_helper {
    const char *name;
    uint64_t (*fn)(void *state, uint64_t a, uint64_t b, uint64_t c);
    uint32_t effects; /* IR_HELPER_* */
};
enum { IR_HELPER_MEM = 1, IR_HELPER_STATE = 2 }; /* touches guest memory; reads or writes slots */

/* How one guest instruction passes control on. */
enum ir_flow_kind {
    IR_FLOW_NEXT,    /* falls through to pc + len */
    IR_FLOW_JUMP,    /* to target (a ref; KADDR if direct) */
    IR_FLOW_BRANCH,  /* to target (KADDR) if cond, else pc + len */
    IR_FLOW_CALL,    /* to target; link_slot gets pc + len, a return follows */
    IR_FLOW_RET,     /* to target, by the guest's return convention */
    IR_FLOW_TRAP     /* TRAP was emitted by the lifter; region ends */
};
struct ir_flow {
    uint8_t kind;        /* enum ir_flow_kind */
    uint8_t len;         /* bytes of the instruction */
    uint8_t reform;      /* NEXT: the region must end here (state that
                            translation depends on may have changed) */
    int16_t link_slot;   /* slot that receives pc + len, or -1 */
    ir_ref cond, target;
};

struct ir_guest {
    const char *name;
    const struct ir_slot *slots;
    unsigned nslots;
    const uint8_t *hot_int; /* slots by falling use, integer class */
    unsigned nhot_int;
    const uint8_t *hot_fp;  /* the same, floating-point class */
    unsigned nhot_fp;
    uint32_t state_size;    /* bytes */
    uint32_t pc_offset;     /* u64 in the state */
    uint32_t fpenv_offset;  /* struct ir_fpenv in the state */
    uint32_t res_offset;    /* struct ir_reservation in the state */
    const struct ir_helper *helpers;
    unsigned nhelpers;
    unsigned max_len;       /* bytes of the longest instruction */
    /* Facts about the state that translation depends on (0 normally); part
     * of a region's key, bits 60..63. */
    unsigned (*mode)(const void *state);
    /* Lift the instruction at pc (bytes[0..avail) are readable; avail >= 2).
     * Emits IR; the caller has emitted IMARK. An instruction cut off by avail
     * returns false (a fetch fault at pc + avail). An illegal one lifts to
     * TRAP. Fills all of *flow. */
    bool (*lift)(struct ir_func *f, uint64_t pc, const uint8_t *bytes, size_t avail,
                 struct ir_flow *flow);
    /* Text of the instruction at bytes; returns its length (0: cut off). */
    unsigned (*disasm)(char *text, size_t size, uint64_t pc, const uint8_t *bytes, size_t avail);
};

/* LR/SC reservation of one vCPU. addr = 1 means none (never aligned). */
struct ir_reservation {
    uint64_t addr, value, version;
};
/* Versions of unconstrained reservations, hashed by address. Shared by all executors.
 * Once watched is not 0, every successful SC bumps its entry, behind its store and
 * after it has looked at watched. Until then nobody compares versions, and a constrained
 * SC need not touch a second word that all threads fight for. */
enum { IR_RES_VERSIONS = 1024, IR_RES_WATCHED = -64 }; /* offset of watched from version */
struct ir_res_table {
    _Alignas(64) _Atomic uint32_t watched;
    _Alignas(64) _Atomic uint32_t version[IR_RES_VERSIONS];
};
extern struct ir_res_table ir_res;
/* From now on versions are compared: before code for an SC that is not constrained is
 * made, and in the interpreter. What is reserved already is lost. Any thread. */
void ir_res_watch(void);
static inline uint32_t ir_res_hash(uint64_t addr)
{
    return (uint32_t)(addr >> 3) & (IR_RES_VERSIONS - 1);
}

/* ---- functions (regions) --------------------------------------------- */

enum { IR_MAX_SLOTS = 96, IR_MAX_INS = 8192, IR_MAX_CONSTS = 2048 };
enum { IR_CSE_BUCKETS = 256 };
enum { IR_FLAG_NOFOLD = 1 }; /* ir_emit appends verbatim (parser) */

struct ir_func {
    const struct ir_guest *guest; /* may be NULL in tests: slots s0.. are i64 */
    struct ir_ins *ins;           /* indexed by ref; valid nk..nins-1 */
    ir_ref nk, nins;              /* lowest constant in use; one past the last */
    uint32_t *extra;              /* PHI operand lists */
    uint32_t nextra, cap_extra;
    uint32_t flags;               /* IR_FLAG_* */
    uint32_t mode;                /* guest mode bits this is lifted for */
    uint64_t key;                 /* region key: pc | mode << 60; 0 if none */
    uint32_t nguest;              /* guest instructions lifted */
    const uint64_t *sample;       /* what slots held once at its entry, or NULL (opt.h) */
    uint64_t fuel;                /* rewrites that a pass may still make here (opt.h) */
    /* builder state */
    ir_ref cur[IR_MAX_SLOTS];     /* current value of each slot, IR_NIL: entry */
    ir_ref entry[IR_MAX_SLOTS];   /* GET of the entry value, or IR_NIL */
    uint64_t put_mask[2];         /* slots that were PUT */
    ir_ref last_mem;              /* last store/atomic: loads do not CSE over it */
    uint16_t cse_gen;
    struct { uint16_t gen; uint16_t ref_off; } cse[IR_CSE_BUCKETS];
    struct ir_ins *base;          /* allocation */
    ir_ref last_fp;               /* last FLGET, FLSET, RMSET, HELPER: operations
                                     with FLAGS do not CSE over it */
    uint16_t khash[IR_CSE_BUCKETS]; /* constants: IR_BIAS - ref */
};

/* An empty function for guest (NULL allowed; not copied), the caller's to free;
 * reset makes it empty again, for the same guest. Being out of memory ends the
 * process, here and wherever something is allocated. */
struct ir_func *ir_func_new(const struct ir_guest *guest);
void ir_func_reset(struct ir_func *f);
void ir_func_free(struct ir_func *f);

/* True when the function is near its limits: the region must end. */
static inline bool ir_func_full(const struct ir_func *f)
{
    return f->nins - IR_BIAS > IR_MAX_INS - 256 || f->nk < IR_BIAS - IR_MAX_CONSTS + 128;
}

/* Constants (deduplicated): an integer of the type's low bits, kept zero-extended
 * to 64; a float by its bits; a guest address, which may be relocated and is
 * therefore kept apart from integers. Their value, and whether r is the constant v. */
ir_ref ir_ki(struct ir_func *f, unsigned type, uint64_t v);
ir_ref ir_kf(struct ir_func *f, unsigned type, uint64_t bits);
ir_ref ir_kaddr(struct ir_func *f, uint64_t guest_address);
static inline uint64_t ir_kval(const struct ir_func *f, ir_ref r)
{
    return f->ins[r].a | (uint64_t)f->ins[r].b << 32;
}
static inline bool ir_is_k(const struct ir_func *f, ir_ref r, uint64_t v)
{
    return ir_is_const(r) && r != IR_NIL && ir_kval(f, r) == v;
}

/* The builder: folds constants and identities, finds equal pure instructions
 * (local CSE), forwards PUT to GET. a, b, c and aux are as docs/ir.md says for
 * the operation; operands must be of the right type. Returns the value: a new
 * instruction, an older one or a constant (no meaning if there is none). */
ir_ref ir_emit(struct ir_func *f, unsigned op, unsigned type, unsigned aux, uint32_t a,
               uint32_t b, uint32_t c);
/* The slot's present value; the slot gets v; the guest instruction of len bytes
 * at pc begins. The short forms below are ir_emit. */
ir_ref ir_get(struct ir_func *f, unsigned slot);
void ir_put(struct ir_func *f, unsigned slot, ir_ref v);
void ir_imark(struct ir_func *f, uint64_t pc, unsigned len);
static inline uint64_t ir_imark_pc(const struct ir_ins *i) { return i->a | (uint64_t)i->b << 32; }

static inline ir_ref ir_op2(struct ir_func *f, unsigned op, unsigned ty, ir_ref a, ir_ref b)
{
    return ir_emit(f, op, ty, 0, a, b, 0);
}
static inline ir_ref ir_op1(struct ir_func *f, unsigned op, unsigned ty, ir_ref a)
{
    return ir_emit(f, op, ty, 0, a, 0, 0);
}
static inline ir_ref ir_ld(struct ir_func *f, unsigned ty, unsigned aux, ir_ref addr, int32_t disp)
{
    return ir_emit(f, IR_LD, ty, aux, addr, (uint32_t)disp, 0);
}
static inline void ir_st(struct ir_func *f, unsigned aux, ir_ref addr, int32_t disp, ir_ref v)
{
    ir_emit(f, IR_ST, IR_NONE, aux, addr, (uint32_t)disp, v);
}
static inline ir_ref ir_cmp(struct ir_func *f, unsigned cc, ir_ref a, ir_ref b)
{
    return ir_emit(f, IR_CMP, IR_I1, cc, a, b, 0);
}
static inline unsigned ir_ty(const struct ir_func *f, ir_ref r) { return f->ins[r].ty; }

/* ---- text form ------------------------------------------------------- */

/* Appends f as text that ir_parse reads back the same; base_text_free is the
 * caller's. */
void ir_print(const struct ir_func *f, struct base_text *out);
/* Parses one function from *text on (several may follow each other) into f, which
 * is reset before; moves *text behind it. Returns 0, or -1 with a message "line N: why". Guest slot
 * names are known if f->guest is set. */
int ir_parse(struct ir_func *f, const char **text, struct base_text *error);

/* For developers: `isomer ir` (ir_tool.c). verb: "check", "print" or "run". An exit status, after a
 * line about what is wrong. */
int ir_tool(const char *verb, const char *file, const struct ir_guest *guest, FILE *out);

/* Checks every rule; returns true, or false with what and where in *error. */
bool ir_verify(const struct ir_func *f, struct base_text *error);

/* ---- reference semantics --------------------------------------------- */

/* Value of a pure instruction (class P) on raw operand bits; accrues flags in
 * env (which may be NULL for operations without FLAGS). ty is the result
 * type, aty the type of operand a. Unused high bits of results are zero. */
uint64_t ir_eval(unsigned op, unsigned ty, unsigned aty, unsigned aux, uint64_t a, uint64_t b,
                 uint64_t c, struct ir_fpenv *env);

/* How a run of a function ended. */
enum ir_end_kind {
    IR_END_EXIT,  /* target (and exit kind) */
    IR_END_TRAP,  /* trap code and its info */
    IR_END_POLL,  /* the poll flag was set; state is that before the IMARK's instruction */
    IR_END_FAULT  /* memory access refused by the memory callbacks */
};
struct ir_end {
    uint8_t kind;      /* enum ir_end_kind */
    uint8_t exit_kind; /* enum ir_exit */
    uint16_t trap;
    uint32_t info;
    uint64_t target;   /* next guest pc; TRAP, POLL, FAULT: the pc it is at */
    uint64_t fault_addr;
    bool again;        /* FAULT: of an LD with IR_LD_AGAIN */
};

/* Memory as the interpreter reaches it. NULL callbacks: host addresses are
 * used directly (a fault then is the host's signal; the state in memory is
 * exact, its pc included). A callback returns false to fault. */
struct ir_mem {
    void *ctx;
    bool (*load)(void *ctx, uint64_t addr, unsigned size, uint64_t *v);
    bool (*store)(void *ctx, uint64_t addr, unsigned size, uint64_t v);
    /* read-modify-write: op enum ir_amo, or -1: compare with expected */
    bool (*rmw)(void *ctx, uint64_t addr, unsigned size, int op, uint64_t v, uint64_t expected,
                uint64_t *old);
    /* POLL is reached: does the virtual machine want attention? NULL: see ir_interp */
    bool (*poll)(void *ctx);
    /* load and store report every fault, and need not be told apart by polls: STRIP does what it
     * may; else nothing, which is always right */
    bool strips;
};

/* Interprets f on the guest state (slots at their offsets): the reference
 * semantics. poll may be NULL. The state's pc is kept current at each IMARK
 * and is set to the target at the end. */
void ir_interp(const struct ir_func *f, void *state, const struct ir_mem *mem,
               const volatile uint32_t *poll, struct ir_end *end);

#endif
