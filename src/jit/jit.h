/* jit.h: between IR and machine code: regions, code cache, linking, state
 * maps, the run loop. SPDX-License-Identifier: Apache-2.0
 *
 *   guest code --form--> IR region --host->compile--> jit_code --install--> cache
 *                          |                                        |
 *                      interpreter                       run: enter, exit, link
 *
 * One struct jit per virtual machine (shared by its threads), one struct
 * jit_vcpu per guest thread. The host part (src/host/x64) is reached through
 * struct jit_host only.
 *
 * Region convention. At every region boundary the guest's hottest slots are in
 * fixed host registers (pin_gpr, pin_fpr), all others at their offset in the
 * state; the FP flags are in the host's FP status register.
 *
 * Shadow stack. While translated code runs, the host stack pointer is a
 * private stack that holds only host return addresses: a guest call is a host
 * call, a guest return a host ret with the guest's return target in the target
 * register; the landing behind the call compares it with the address it stands
 * for and otherwise goes to the indirect-jump stub. Dropping entries is always
 * correct, so overflow resets the stack and freed code resets all of them.
 */
#ifndef ISOMER_JIT_H
#define ISOMER_JIT_H

#include "ir/ir.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

/* ---- state maps ------------------------------------------------------ */

/* Host registers as saved by a fault or by the deopt stub. */
struct jit_regs {
    uint64_t gpr[16];
    uint64_t fpr[32]; /* low 64 bits */
};

/* Where a slot's value is, at one point in host code. Slots that a map does not
 * list are at home: in their pinned register, or else in the state. */
enum jit_loc {
    JIT_LOC_GPR,   /* host integer register n */
    JIT_LOC_FPR,   /* host FP register n, low 64 bits */
    JIT_LOC_STATE, /* in the state, as slot n (read before any is written) */
    JIT_LOC_SPILL, /* vcpu->spill[n] */
    JIT_LOC_CONST, /* the value itself */
    JIT_LOC_ADDR   /* the same, a guest address that moves with its code */
};
/* What is to be done to the value found there. */
enum jit_how {
    JIT_HOW_COPY,
    JIT_HOW_SEXT32, /* low 32 bits, sign-extended */
    JIT_HOW_ZEXT32,
    JIT_HOW_ZEXT8,
    JIT_HOW_BOX32,  /* NaN-box the low 32 bits */
    JIT_HOW_CANON64,/* f64: any NaN becomes the canonical one */
    JIT_HOW_BOXCANON32 /* f32: canonicalise, then box */
};
/* ... before that: a pure IR operation with a constant, for what only maps want. */
struct jit_recipe {
    uint8_t op, ty; /* op 0: none */
    uint64_t k;     /* operand b; a is what is found there, and has ty too */
};

/* ---- the vCPU -------------------------------------------------------- */

enum {
    JIT_STATE_MAX = 768,
    JIT_STATE_BIAS = 128,    /* the state register points here into the state */
    JIT_LOOKUP_BITS = 12,
    JIT_VICTIM_BITS = 9,
    JIT_VICTIM_SHIFT = 12,   /* key bits that are mixed into the index of a victim */
    JIT_HOT_BITS = 10,       /* counters of loops and entries, for tier 2 */
    JIT_QUIET = 1 << 16,     /* places known to need none */
    JIT_SPILLS = 250,
    JIT_LOCKSTEP_STRIP = 3,  /* rounds of a strip in lockstep, at most */
    JIT_SHADOW_SIZE = 1 << 20 /* bytes of shadow stack, a guard page below */
};

struct jit_lookup {
    uint64_t key;     /* region key; 0 (entry 0: 1) = empty: never one of its keys */
    const void *code;
};

struct jit;
struct jit_region;

struct jit_vcpu {
    _Alignas(64) uint8_t state[JIT_STATE_MAX]; /* the guest's, laid out by it */
    /* what generated code and stubs touch */
    volatile uint32_t poll;   /* non-zero: leave at the next safe point */
    volatile uint32_t ticks;  /* counted down by tier 1's backward branches: a sample is due */
    uint32_t exit_id;         /* which exit was taken (JIT_EXIT_*) */
    uint32_t fp_kept;         /* FP status as a FLGET found it, for a FLSET to come */
    uint64_t exit_arg;        /* indirect miss: the key looked for */
    uint32_t mxcsr;           /* guest FP status while outside */
    uint32_t host_mxcsr;
    uint64_t shadow_sp;       /* shadow stack pointer while outside */
    uint64_t host_sp;         /* host stack pointer while inside */
    uint32_t deopt_count;     /* --test-deopt: counts down to a forced exit */
    uint32_t in_code;         /* 1 inside translated code or its slow calls */
    uint32_t in_strip;        /* 1: a fault ends the strip, and nothing else */
    uint32_t chained;         /* exits ask jit_next for code instead of leaving */
    uint32_t flushes;         /* changes before and after a flush: odd while one is made */
    uint64_t calls;           /* system calls that stub CALL has made */
    /* slow call: op | ty<<8 | aty<<16 | aux<<32; arguments of integer type
     * aty may have garbage above its width */
    uint64_t slow_op;
    uint64_t slow_arg[3];
    uint64_t slow_result;
    uint64_t slow_ret;        /* return address into translated code, else 0 */
    uint64_t spill[JIT_SPILLS];
    _Alignas(16) uint64_t host_const[16][2]; /* the host's, see vcpu_init */
    struct jit_regs regs;     /* dump of the deopt stub and of slow calls */
    struct jit_lookup lookup[1 << JIT_LOOKUP_BITS];
    struct jit_lookup victim[1 << JIT_VICTIM_BITS]; /* what has lost its place there to another */
    uint32_t hot[1 << JIT_HOT_BITS]; /* counted down by exits of tier 2, see jit_hot_at */
    /* what only C touches */
    struct jit *jit;
    void *shadow_base;        /* lowest usable address */
    uint64_t shadow_top;
    uint64_t flush_seen;      /* jit->flush_count this vCPU has passed */
    struct jit_vcpu *next;    /* list of the VM's vCPUs */
    void *owner;              /* the caller's */
    int stopped;              /* why jit_next gave no code */
    bool again;               /* JIT_EXIT_FAULT: it says nothing, see jit_point */
    /* result of jit_run */
    struct jit_stop_info {
        uint32_t trap, info;      /* JIT_STOP_TRAP */
        int sig, code;            /* JIT_STOP_FAULT: host signal and si_code */
        uint64_t addr;            /* JIT_STOP_FAULT: address accessed */
    } stop;
};

/* The counter of a tier-2 exit, by something that tells it from others. */
static inline unsigned jit_hot_at(uint64_t what)
{
    return (unsigned)(base_hash64(what) >> (64 - JIT_HOT_BITS));
}

/* ---- what a host's code generator produces --------------------------- */

enum jit_section { JIT_HOT, JIT_COLD };

enum jit_reloc_kind {
    JIT_RELOC_PC32_SECTION, /* rel32 to offset addend of section target */
    JIT_RELOC_PC32_STUB,    /* rel32 to host stub number target */
    JIT_RELOC_PC32_EXIT,    /* rel32 of exit number target: patchable link */
    JIT_RELOC_PC32_EXIT_STUB, /* rel32 to the exit's own stub, never linked
                               (leaves to the run loop with this exit's id) */
    JIT_RELOC_PC32_DEOPT,   /* rel32 to a stub that leaves by state map target*/
    JIT_RELOC_PC32_HOT,     /* the same: the ticks have run out */
    JIT_RELOC_PC32_REGION,  /* rel32 to this region's own entry */
    JIT_RELOC_ABS64_GUEST,  /* 64-bit guest address (value already there) */
    JIT_RELOC_ABS32_GUEST,  /* the same in 32 bits, zero-extended */
    JIT_RELOC_COUNTER,      /* nothing to place: ticks are counted here for the guest
                             * address addend bytes from the region's */
    JIT_RELOC_COUNT
};
struct jit_reloc {
    uint32_t off;      /* of the field, in its section */
    uint8_t section, kind;
    uint16_t target;
    uint32_t addend;
};

enum jit_exit_kind {
    JIT_EXIT_DIRECT,   /* key known; site jumps or calls there once linked */
    JIT_EXIT_TRAPPED,  /* gives trap to the caller of jit_run; pc = key */
};
struct jit_exit_out {
    uint8_t kind;      /* enum jit_exit_kind */
    uint8_t is_call, is_back; /* is_back: the target is not behind the jump */
    uint8_t is_landing;       /* from behind a call, where it returns to */
    uint16_t trap;     /* enum ir_trap */
    uint32_t info;
    uint64_t key;      /* target key, or the pc a trap is at */
    uint16_t counter;  /* tier 2: number + 1 of the counter it counts down, or 0 */
};

/* A point in the code that may fault, by offset of the instruction (or of the
 * return address of a slow call), and its map. */
struct jit_point {
    uint32_t off;
    uint8_t section;
    uint8_t again; /* 1: of an access that is several of the guest's (IR_LD_AGAIN) */
    uint16_t map;
};

/* Where the code of a guest instruction begins in the hot section. */
struct jit_mark {
    uint64_t pc;
    uint32_t off;
};

struct jit_code {
    const uint8_t *bytes[2]; /* by section; owned by the compiler's scratch */
    uint32_t len[2];
    BASE_VEC(struct jit_reloc) relocs;
    BASE_VEC(struct jit_exit_out) exits;
    BASE_VEC(struct jit_point) points;
    BASE_VEC(uint8_t) map_bytes;  /* encoded maps */
    BASE_VEC(uint32_t) map_start; /* map number -> offset in map_bytes */
    BASE_VEC(struct jit_mark) marks; /* if wanted, in order of the code */
    bool want_marks;
    bool quiet;                   /* some place was not counted for it is quiet, see jit_quiet */
    bool count_entry;             /* wanted: entries count, too (--tier2=always) */
    unsigned most_spills;         /* wanted, tier 2: gives up where there are more loads and stores
                                   * of spilled values to 100 guest instructions; 0: never */
    const char *gave_up;          /* reason, or NULL */
};

/* Maps are written by the compiler in one go each: begin, add.., end. pc is
 * the guest pc of the map's instruction. end returns the map's number. */
void jit_map_begin(struct jit_code *c, uint64_t pc);
void jit_map_add(struct jit_code *c, unsigned slot, enum jit_loc loc, enum jit_how how,
                 uint64_t n);
void jit_map_add_recipe(struct jit_code *c, unsigned slot, enum jit_loc loc, enum jit_how how,
                        uint64_t n, struct jit_recipe recipe);
unsigned jit_map_end(struct jit_code *c);

/* ---- what a host is -------------------------------------------------- */

enum { JIT_STUB_EXIT, JIT_STUB_INDIRECT, JIT_STUB_RETMISS, JIT_STUB_DEOPT, JIT_STUB_SLOW,
       JIT_STUB_SLOW_STATE, JIT_STUB_ENTER, JIT_STUB_ABANDON, JIT_STUB_LINK_EXIT,
       JIT_STUB_LINK_DEOPT, JIT_STUB_CALL, JIT_STUB_STRIP, JIT_STUB_STRIP_FAULT,
       JIT_STUB_COUNT };
/* EXIT:     exit_id is set; convention holds: saves it all, asks jit_next or
 *           returns from enter
 * INDIRECT: target key in the target register (rax), convention holds: looks
 *           it up in vcpu->lookup and jumps; miss or poll: leaves with
 *           exit_id = JIT_EXIT_MISS, exit_arg = key
 * RETMISS:  bottom of the shadow stack; restores itself, goes to INDIRECT
 * DEOPT:    exit_id holds JIT_EXIT_DEOPT | n: dumps registers, leaves
 * SLOW:     called with slow_op and slow_arg set: evaluates it in C (pure
 *           operations through ir_eval, HELPER through the guest's table);
 *           preserves every register, result in slow_result
 * SLOW_STATE: the same with the convention held: the state is complete in
 *           memory during the call and pinned registers are loaded anew
 * CALL:     called with the convention held and the state's pc at a system call:
 *           makes it as jit_config.calls says and returns, or leaves with exit_id
 *           = JIT_EXIT_CALL (not made) or JIT_EXIT_CALLED (exit_arg = result; what
 *           comes of it is for the caller of the engine). NULL: there are no calls
 * ENTER, ABANDON: the host's own, for enter() and abandon_code(); LINK_EXIT,
 * LINK_DEOPT: EXIT and DEOPT as link stubs go there */
enum {
    JIT_EXIT_CALLED = 0x7ffffffc,
    JIT_EXIT_CALL = 0x7ffffffd,
    JIT_EXIT_MISS = 0x7fffffff, /* 0x7ffffffe is JIT_EXIT_FAULT in jit_priv.h */
    JIT_EXIT_DEOPT = 1u << 31 /* | index of a deopt record */
};

struct jit_host {
    const char *name;
    /* CPU features: detect, then apply "-avx2,+bmi" style text (may be NULL).
     * Returns 0 or -1 with an error line printed. Fills pins. */
    int (*init)(struct jit *j, const char *features);
    /* Emits the stubs at rw (runs at rx), fills jit->stub[]; returns bytes. */
    size_t (*make_stubs)(struct jit *j, uint8_t *rw, const uint8_t *rx, size_t room);
    /* Compiles region f into c. Returns 0, or -1 with c->gave_up. */
    int (*compile)(struct jit *j, struct ir_func *f, struct jit_code *c);
    /* The same in tier 2: f has blocks and is in state-SSA form (docs/tier2.md). Any
     * thread, with a *scratch of its own: NULL at first, free()d in the end. */
    int (*compile2)(struct jit *j, void **scratch, struct ir_func *f, struct jit_code *c);
    /* Fills host_const of a new vCPU. */
    void (*vcpu_init)(struct jit_vcpu *v);
    /* Runs code until it leaves: at its first exit, or, if v->chained, at the
     * first after which jit_next gives no code to go on with. */
    void (*enter)(struct jit_vcpu *v, const void *code);
    /* Sets the rel32 at a patchable site to reach target (rw: where to write). */
    void (*patch)(uint8_t *site_rw, const uint8_t *site_rx, const uint8_t *target);
    /* The link stub of an exit (or, if deopt, of a deopt record): sets exit_id
     * to id and goes to its stub. With jump: a jump comes first that only
     * leads on, until patch() of its field (at link_stub_field) changes that;
     * rx must then be 8-aligned. Returns bytes written, as link_stub_size. */
    size_t (*link_stub)(struct jit *j, uint8_t *rw, const uint8_t *rx, uint32_t id, bool deopt,
                        bool jump);
    size_t link_stub_size, link_stub_size_jump;
    size_t link_stub_field; /* offset of the rel32 of the jump in front */
    size_t link_stub_skip;  /* offset behind that jump */
    /* Can patch() write a rel32 there? */
    bool (*patchable)(const uint8_t *site_rx);
    /* Host registers from and to a signal's ucontext. */
    void (*regs_from_ucontext)(struct jit_regs *r, uint32_t *fpstatus, const void *uc);
    uint64_t (*pc_of_ucontext)(const void *uc);
    uint64_t (*sp_of_ucontext)(const void *uc);
    void (*set_ucontext)(void *uc, uint64_t pc, uint64_t sp);
    /* FP status register <-> ir_fpenv. */
    void (*fp_load)(struct jit_vcpu *v, const struct ir_fpenv *env); /* -> v->mxcsr */
    void (*fp_store)(const struct jit_vcpu *v, struct ir_fpenv *env);
    /* Where a fault handler sends a thread so that enter() returns without
     * saving the convention (the state was restored from a map). */
    const void *(*abandon_code)(struct jit *j);
    /* Text of the host instruction at code (for dumps); returns its length. */
    unsigned (*disasm)(char *text, size_t size, const uint8_t *code, size_t avail, uint64_t pc);
};
/* The host this build runs on; NULL: interpreter only. */
extern const struct jit_host *const jit_host_native;

/* ---- the VM ---------------------------------------------------------- */

/* When hot code is optimised. */
enum jit_tier2 {
    JIT_TIER2_OFF,
    JIT_TIER2_ON,    /* on a thread of its own */
    JIT_TIER2_SYNC,  /* by the vCPU that finds it hot */
    JIT_TIER2_ALWAYS /* the same, at once: tests */
};

/* System calls that generated code makes itself: those for which nothing is to be
 * done but to pass the arguments on. Leaving code costs some 40 ns, a cheap call of
 * the kernel no more than 80. */
struct jit_call {
    int16_t host;              /* the host's number + 1; 0: not one of these */
    uint8_t pointers;          /* bit i: argument i is an address */
    uint8_t paths;             /* some of them of file names */
};
struct jit_calls {
    const struct jit_call *table; /* by guest number */
    uint32_t count;
    bool no_paths;             /* those with paths are left to jit_config.syscall */
    uint8_t number, result, arg[6]; /* slots */
    uint8_t length;            /* of the guest's instruction */
    uint64_t limit;            /* addresses from here on are left to it, too */
    const _Atomic(unsigned) *off; /* not zero: all are */
    /* A call was made and gave result, but the vCPU was asked to stop: does what
     * jit_config.syscall does behind the call itself. */
    void (*done)(struct jit_vcpu *v, long result);
};

struct jit_config {
    const struct ir_guest *guest;
    const char *features;      /* host CPU features to change, or NULL */
    size_t cache_size;         /* bytes; 0: default */
    bool interpreter;          /* never compile */
    bool lockstep;             /* each region twice: interpreter, then code */
    bool deopt_always;         /* leave through state maps */
    bool random_ra;            /* random register choices */
    enum jit_tier2 tier2;
    const char *t2_fuel;       /* how far tier 2 goes, see jit_t2_fuel.c; NULL: no limit */
    bool no_link;              /* every exit returns to the run loop */
    bool store;                /* keep and use stored translations, where that makes sense */
    bool store_check;          /* translate in any case, and compare with what is stored */
    bool stats;
    uint64_t seed;
    unsigned max_insns;        /* guest instructions per region; 0: default */
    const char *dump;          /* letters of ISOMER_DUMP or NULL: g i o h */
    FILE *dump_file;
    /* A system call, if not NULL: acts on it and returns true, and the vCPU runs
     * on from the pc in its state; false: jit_run returns. It does what
     * jit_run's caller would, without returning to it: the processor predicts
     * returns by the calls it has seen, the guest's among them. */
    bool (*syscall)(struct jit_vcpu *v);
    const struct jit_calls *calls; /* if syscall is there; NULL: none */
    /* Executable guest bytes from pc on: returns how many (0: none) and where
     * they are on the host; *writable tells whether the guest may write them.
     * Called with the jit's lock held. */
    size_t (*fetch)(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable);
    /* A region was translated: its first guest pc and its code, sections hot and
     * cold (lock held; jit_step makes none). NULL: nobody wants to know. */
    void (*translated)(void *ctx, uint64_t pc, const uint8_t *const code[2], const uint32_t len[2]);
    void *ctx;
};

struct jit_stats {
    uint64_t regions, guest_insns, ir_ins, host_bytes, cold_bytes;
    uint64_t compile_ns, lift_ns, timed_insns; /* CPU time of a sample of the regions, and
                                                  their guest instructions */
    uint64_t t2_regions, t2_insns, t2_bytes, t2_form_ns, t2_opt_ns, t2_code_ns, t2_timed,
        exits_hot; /* tier 2 */
    uint64_t links, unlinks, flushes, invalidated, gave_up;
    uint64_t stored, stored_insns, store_kept, store_bytes, store_bad, store_checked;
    uint64_t exits_direct, exits_miss, exits_miss_known, exits_trap[IR_TRAP_COUNT], exits_poll,
        exits_fault, exits_deopt, interpreted;
};

struct jit {
    struct jit_config cfg;
    const struct jit_host *host;
    int8_t pin_gpr[IR_MAX_SLOTS]; /* host register of a slot at boundaries, -1 */
    int8_t pin_fpr[IR_MAX_SLOTS];
    uint32_t cpu;                 /* the host's own feature bits */
    uint64_t quiet[JIT_QUIET / 64]; /* places that tier 1 need not count, see jit_quiet */
    const uint8_t *stub[JIT_STUB_COUNT];
    const uint8_t *call_begin, *call_end, *call_again; /* in stub CALL: jit_rewind_call */
    struct jit_stats stats;
    uint64_t rand;                /* random_ra state */
    void *host_scratch;           /* the code generator's, free()d with the jit */
    struct jit_priv *p;           /* src/jit's own */
};

/* Is the place at pc one where tier 2 has done what it could? Counting costs up to a
 * third of a short loop's time. (By hash: another may lose its counter to it.) */
static inline bool jit_quiet(const struct jit *j, uint64_t pc)
{
    uint64_t h = base_hash64(pc) % JIT_QUIET;
    return j->quiet[h / 64] >> h % 64 & 1;
}

/* A VM. cfg is copied; what it points to must outlive the VM. NULL with an
 * error line printed: no memory, a processor that is too old, unknown features.
 * jit_free frees its vCPUs too; none may be running. */
struct jit *jit_new(const struct jit_config *cfg);
void jit_free(struct jit *j);
/* A vCPU with an all-zero state, for the caller to fill (at least the pc); NULL
 * with an error line printed. Any thread may make and free one, not while it
 * runs. */
struct jit_vcpu *jit_vcpu_new(struct jit *j);
void jit_vcpu_free(struct jit_vcpu *v);

/* The child of a fork has one vCPU (v) and must drop the others and remake
 * locks; call jit_fork_prepare before and jit_fork_parent/child after (parent:
 * jit_fork_failed if there is no child). */
void jit_fork_prepare(struct jit *j);
void jit_fork_parent(struct jit *j);
void jit_fork_failed(struct jit *j);
void jit_fork_child(struct jit *j, struct jit_vcpu *v);
/* A process that will run no more translated code (it is about to execve or
 * _exit) says so: whoever shares its code cache by fork need not copy it. If
 * execve fails after all, jit_attach before v runs again. Both optional. */
void jit_detach(struct jit *j);
void jit_attach(struct jit *j, struct jit_vcpu *v);

enum jit_stop {
    JIT_STOP_TRAP,  /* stop.trap, stop.info; state's pc is at the trap. FENCEI
                       never is one: jit_run deals with it itself */
    JIT_STOP_FAULT, /* stop.sig, code, addr; state exact before the instruction */
    JIT_STOP_POLL,  /* poll was set; state exact */
    JIT_STOP_STEP   /* jit_step alone: the instruction is done */
};
/* Runs the vCPU from the pc in its state until something for the caller. The
 * state is complete and exact on return. poll is cleared when it is what
 * JIT_STOP_POLL is returned for. While it runs, the host stack pointer may be
 * the shadow stack: signal handlers must run on an alternate stack. */
enum jit_stop jit_run(struct jit_vcpu *v);
/* The same for exactly one guest instruction, by the interpreter. */
enum jit_stop jit_step(struct jit_vcpu *v);

/* For the host's exit stubs: acts on the exit that was taken and returns the
 * code to run next, or NULL to leave. */
const void *jit_next(struct jit_vcpu *v);

/* Asks v to stop at its next safe point; async-signal-safe, from v's thread: one instruction
 * counts the ticks, so it may be behind that, not in its middle. */
static inline void jit_poll_request(struct jit_vcpu *v)
{
    v->poll = 1;
    v->ticks = 0; /* where branches count them they are the poll */
}

/* From the VM's handler of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP on the
 * vCPU's own thread: if the host was in translated code, in a slow call or in
 * the interpreter on behalf of v, recovers the exact guest state and makes
 * jit_run return JIT_STOP_FAULT after the handler returns; true. False: not
 * ours. Also resets an overflown shadow stack (then nothing is reported). */
bool jit_handle_fault(struct jit_vcpu *v, int sig, const siginfo_t *info, void *ucontext);

/* From every handler that has set poll: a thread about to make a system call in
 * generated code is turned back to leave with JIT_EXIT_CALL; one that the kernel would
 * have make it again, too. Async-signal-safe. */
void jit_rewind_call(struct jit *j, void *ucontext);

/* Guest code in [start, start + len) is gone or may have changed (munmap,
 * mprotect, mmap over it): regions there are unlinked and forgotten. */
void jit_invalidate(struct jit *j, uint64_t start, uint64_t len);
/* fence.i: forgets regions in [start, start+len) whose bytes changed. Unless that is everything (a
 * fence.i is for its own hart) no other vCPU executes what was there when it returns. The caller's
 * is not in code. */
void jit_code_changed(struct jit *j, uint64_t start, uint64_t len);

/* ---- stored translations (jit_store.h) --------------------------------- */

/* What tier 1 makes of code that lies in files can be kept for the next process that runs it.
 * The engine knows what is to be kept and what of it can be used (only for the very guest bytes
 * it was made of); the caller knows files and where to keep things. A file's id is a number that
 * is another one when the file is (it may be wrong: then nothing fits). */

/* Is anything kept or used at all? *key: what stored code depends on besides guest code (this
 * build, the processor, settings): it belongs to the file's id. */
bool jit_store_on(const struct jit *j, uint64_t *key);
/* Was jit_store_file called for it? */
bool jit_store_knows(struct jit *j, uint64_t id);
/* data: what jit_store_merge made for that file once, 8-aligned, to stay there as long as the VM
 * (nothing in it is trusted, but it must not get shorter); NULL: there is none. */
void jit_store_file(struct jit *j, uint64_t id, const void *data, size_t size);
/* Guest addresses [start, start + len) show the file from offset on, privately, executable and not
 * writable. Holds until jit_invalidate for them. */
void jit_store_map(struct jit *j, uint64_t id, uint64_t start, uint64_t len, uint64_t offset);
/* Files with translations that are new, one after another: *n is 0 at first. False: no more. */
bool jit_store_next(struct jit *j, uint32_t *n, uint64_t *id);
/* Gives what is to be kept for that file, piece by piece, to put.fn, after put.begin was told how
 * much it is, until one of them returns false: the old (data as above; others may have written
 * it meanwhile) and the new. False: not all was taken, or nothing given, for it is not worth the
 * while. */
struct jit_store_put {
    bool (*begin)(void *ctx, uint64_t size);
    bool (*fn)(void *ctx, const void *bytes, size_t n);
    void *ctx;
};
bool jit_store_merge(struct jit *j, uint64_t id, const void *data, size_t size,
                     struct jit_store_put put);

/* Ends the engine's own thread, if there is one; it begins anew when there is work. For what a
 * process may only do that has one thread; v's is to be the only vCPU. */
void jit_single_threaded(struct jit *j);

/* The C side of the SLOW stubs. */
void jit_slow_call(struct jit_vcpu *v);

/* Counters as "name value" lines, times if cfg.stats was set. */
void jit_print_stats(const struct jit *j, FILE *out);
/* Guest code, IR and host code of the region at pc and of those it leads to, side
 * by side. Returns 0, or -1: there is no code to fetch at pc. Runs nothing. */
int jit_explain(struct jit *j, uint64_t pc, FILE *out);

/* Forms the region at pc as IR (tests, explain): NULL if nothing to fetch. The
 * caller frees it with ir_func_free. */
struct ir_func *jit_form(struct jit *j, uint64_t pc, unsigned mode);

#endif
