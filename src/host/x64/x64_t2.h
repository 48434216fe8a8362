/* x64_t2.h: private header of the tier-2 code generator.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tier 2 compiles control-flow regions with tier 1's instruction selection and
 * allocator; x64_t2.c has the essay. Parts:
 *   x64_t2.c      blocks, edges, loop headers, the passes
 *   x64_t2_pre.c  what is known before: blocks, slots' values, NaNs, uses
 *   x64_t2_out.c  state maps and exits
 *   x64_t2_cells.c   places in memory that values of one slot share
 *   x64_t2_recipe.c  values that are made where they are asked for
 * What is 0 or empty in tier 1 is in struct x64_t2, reached by t->t2.
 */
#ifndef ISOMER_X64_T2_H
#define ISOMER_X64_T2_H

#include "host/x64/x64_t1.h"

enum {
    X64_MAX_BLOCKS = 512,
    X64_GOOD_PASSES = 4, /* over a region with loops, unless one more is needed */
    X64_MAX_PASSES = 8,
    X64_PUTS = IR_MAX_SLOTS + 64,
    X64_FIXES = X64_NREGS,
    X64_USES = IR_MAX_INS + IR_MAX_CONSTS
};
#define X64_USE_OF(r) ((r) - (IR_BIAS - IR_MAX_CONSTS))

/* By value, kept from pass to pass unless X64_P_ONCE. */
enum {
    X64_P_NEEDED = 1, /* PHI: something asked for it in the last pass */
    X64_P_CANON = 2,  /* PHI: its operands must be canonical NaNs */
    X64_P_NC = 4,     /* float that may be a NaN that is not the canonical one */
    X64_P_RAW = 8     /* PHI: may be a NaN that must be kept as it is */
};

struct x64_block {
    ir_ref first, last;    /* its BLOCK (or first instruction), its terminator */
    uint16_t succ[2];
    uint8_t nsucc, depth;  /* of loops around it */
    uint16_t loop;         /* header of the innermost */
    bool header;
    uint32_t label;        /* of its top, once emitted */
};

/* A place in memory that gets a value at an exit or at an edge. */
struct x64_put {
    int32_t disp;          /* of the place, from the state register */
    uint8_t kind;          /* X64_MOVE_* */
    uint8_t how;           /* enum jit_how */
    uint8_t reg;
    ir_ref k;
    int32_t from;          /* X64_MOVE_MEM */
    ir_ref recipe;         /* see x64_t2_recipe.c; IR_NIL: none */
};

/* What is to be done to a home register after the moves of an exit. */
struct x64_fix {
    uint8_t reg, how;
    ir_ref recipe;
};

struct x64_use_node {
    uint32_t at, next;
};

struct x64_t2 {
    struct x64_block block[X64_MAX_BLOCKS];
    unsigned nblocks, cur;
    uint32_t spilled[X64_MAX_BLOCKS]; /* loads and stores of spilled values, exits apart */
    uint32_t kept;                 /* registers that the present loop's header assumes */
    uint16_t block_of[IR_MAX_INS]; /* of BLOCK instructions, by ref - IR_BIAS */
    ir_ref in[X64_MAX_BLOCKS][X64_NREGS];     /* registers at its top */
    ir_ref assume[X64_MAX_BLOCKS][X64_NREGS]; /* headers: what a back edge brings */
    ir_ref end[X64_MAX_BLOCKS][IR_MAX_SLOTS]; /* slots' values; IR_NIL: entry value */
    uint8_t prop[IR_MAX_INS];      /* X64_P_*, by ref - IR_BIAS */
    uint8_t cell[IR_MAX_INS];      /* slot whose cell the value may use, or X64_NONE; the same */
    /* see x64_t2_cells.c: owners at the end of each block; whose cell a definition took and from
     * whom, by ref - IR_BIAS; owners at the point that is being emitted */
    ir_ref own[X64_MAX_BLOCKS][IR_MAX_SLOTS], before[IR_MAX_INS], own_now[IR_MAX_SLOTS];
    uint8_t took[IR_MAX_INS];
    uint64_t state_cells;          /* slots whose cell is their place in the state */
    uint8_t cell_spill[IR_MAX_SLOTS]; /* the others': spill slot, or X64_NONE */
    uint16_t latch[X64_MAX_BLOCKS];   /* headers: the last */
    /* uses of each value, the last first, by X64_USE_OF */
    uint32_t use_first[X64_USES], use_head[X64_USES];
    struct x64_use_node use[4 * IR_MAX_INS];
    unsigned nuses;
    uint64_t slots;                /* that maps and exits look at */
    BASE_VEC(struct { uint32_t reloc; uint16_t block; }) back; /* jumps to tops to come */
    struct x64_put put[X64_PUTS];
    unsigned nput, ncopy;          /* copies stand first */
    struct x64_fix fix[X64_FIXES];
    unsigned nfix;
    bool loops, again;             /* again: this pass was not consistent */
    bool changed;                  /* a header's registers were not as assumed */
};

/* Where a value is to be had at an exit, an edge or for a map. */
struct x64_where {
    uint8_t kind;   /* X64_MOVE_* */
    uint8_t how;    /* enum jit_how */
    uint8_t reg;
    ir_ref k;       /* X64_MOVE_CONST */
    ir_ref recipe;  /* what is to be done to it before that, or IR_NIL */
    int slot;       /* X64_MOVE_MEM: the slot whose place it is, or -1 */
    unsigned spill; /* else the spill slot */
    int32_t disp;
};

static inline uint8_t *x64_prop(struct x64_t2 *x, ir_ref r) { return &x->prop[r - IR_BIAS]; }

/* May r be a NaN here that is not the canonical one and should be? */
static inline bool x64_t2_noncanon(const struct x64_t1 *t, ir_ref r)
{
    return r < X64_ENTRY && !ir_is_const(r) && (*x64_prop(t->t2, r) & X64_P_NC) &&
           !(t->val[r].flags & X64_V_CANON);
}

/* x64_t2_pre.c: false: gave up. */
bool x64_t2_prepare(struct x64_t1 *t);
void x64_t2_values(struct x64_t1 *t); /* before each pass */

/* x64_t2_out.c */
unsigned x64_t2_convention(struct x64_t1 *t, struct x64_move *m, bool final);
unsigned x64_t2_map(struct x64_t1 *t, uint64_t pc);
void x64_t2_side(struct x64_t1 *t, struct ir_ins *i);
uint32_t x64_t2_side_exit(struct x64_t1 *t, struct ir_ins *i);
void x64_t2_hazards(struct x64_t1 *t, struct x64_move *m, unsigned n);
void x64_t2_emit_puts(struct x64_t1 *t);
/* Where r can be had here; sees to it that it is there. final: any free register may be
 * taken; exit: for an exit, not for a map. */
struct x64_where x64_t2_where(struct x64_t1 *t, ir_ref r, bool final, bool exit);
/* Emits the stores that x64_t2_convention found out; nothing in tier 1. */
static inline void x64_t2_puts(struct x64_t1 *t)
{
    if (base_unlikely(t->t2 != NULL))
        x64_t2_emit_puts(t);
}

/* x64_t2_cells.c */
void x64_t2_cells(struct x64_t1 *t); /* once, when entry values and uses are known */
void x64_t2_give_place(struct x64_t1 *t, ir_ref r); /* r gets X64_V_SPILL and its place */

void x64_t2_want_place(struct x64_t1 *t, ir_ref r); /* r is read from its place here */
void x64_t2_cells_enter(struct x64_t1 *t, unsigned b); /* emission begins with the end of b */
/* Emission has passed r. */
static inline void x64_t2_cells_pass(struct x64_t1 *t, ir_ref r)
{
    struct x64_t2 *x = t->t2;

    if (x->took[r - IR_BIAS] != X64_NONE)
        x->own_now[x->took[r - IR_BIAS]] = x->before[r - IR_BIAS];
}

/* x64_t2_recipe.c */
/* What r is made of where a map or an exit asks for it, if nobody computed it: the operand of an
 * extension or box (*how), and below it of an operation with a constant (*recipe); else r. */
ir_ref x64_t2_strip(const struct x64_t1 *t, ir_ref r, enum jit_how *how, ir_ref *recipe);
struct jit_recipe x64_t2_jit_recipe(const struct x64_t1 *t, ir_ref recipe);
/* In program order: the recipe's operation, in place. Changes the flags. */
void x64_t2_cook_reg(struct x64_t1 *t, unsigned reg, ir_ref recipe);
void x64_t2_cook_mem(struct x64_t1 *t, struct x64_mem m, ir_ref recipe);

/* x64_check.c: in test builds and modes what the last pass did is logged and checked; a
 * mistake ends the process with a message. Else these do nothing. */
void x64_log_begin(struct x64_t1 *t);
void x64_log_reset(struct x64_t1 *t);
void x64_check(struct x64_t1 *t);
void x64_log_end(struct x64_t1 *t);

/* x64_t2.c */
/* Where r is used last above this point; its definition if nowhere, 0 for entry values. */
uint32_t x64_t2_previous(struct x64_t1 *t, ir_ref r);
unsigned x64_t2_victim(struct x64_t1 *t, uint32_t mask);
static inline bool x64_t2_in_loop(const struct x64_t1 *t)
{
    return t->t2->block[t->t2->cur].depth > 0;
}
/* May r, which nothing here computes with, take a free register? Not the last ones, and fewer
 * if the loop does not use it: what has none is had from memory. */
bool x64_t2_may_take(struct x64_t1 *t, ir_ref r);

#endif
