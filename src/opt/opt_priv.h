/* opt_priv.h: what the passes share. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_OPT_PRIV_H
#define ISOMER_OPT_PRIV_H

#include "ir/ir_priv.h"
#include "opt/opt.h"

/* PARAM(name, value, meaning): every limit of the optimiser. */
#define OPT_PARAMS(PARAM)                                                        \
    PARAM(max_blocks, 512, "blocks of a function")                               \
    PARAM(peel_insns, 256, "guest instructions of a loop whose first round is "  \
                           "taken apart")                                        \
    PARAM(strip_cost, 40, "cycles that a strip costs, however short")             \
    PARAM(strip_seen, 8, "rounds: a loop seen with fewer left is no string loop")   \
    PARAM(strip_again, 32, "rounds behind a strip until the next is tried")      \
    PARAM(strip_vain, 256, "rounds behind one that did nothing")
enum {
#define OPT_PARAM(name, value, text) OPT_PARAM_##name = value,
    OPT_PARAMS(OPT_PARAM)
#undef OPT_PARAM
};

/* ---- control flow (opt_cfg.c) ---------------------------------------- */

struct opt_block {
    ir_ref first, last;     /* its BLOCK (or the first instruction), its terminator */
    unsigned succ[2], nsucc;
    unsigned *pred, npred;
    unsigned depth;         /* of loops around it */
    bool header;
    unsigned loop;          /* header of the innermost loop around it, OPT_NONE */
    unsigned latch;         /* header: last block of its loop */
    unsigned idom;          /* immediate dominator; the entry's is itself */
};
#define OPT_NONE UINT32_MAX

struct opt_cfg {
    struct opt_block *block;
    unsigned n;
    uint32_t *of; /* block of each instruction, by ref - IR_BIAS */
};

/* Blocks and edges of f, in the order they stand. With ordered (opt_layout has been
 * there) dominators and loops as well: an edge that does not go forward leads to a
 * header, and a loop is contiguous. */
struct opt_cfg *opt_cfg_edges(const struct ir_func *f, struct base_arena *arena);
struct opt_cfg *opt_cfg_new(const struct ir_func *f, struct base_arena *arena);
/* Are f's blocks ordered, that is? */
bool opt_verify_order(const struct opt_cfg *c, struct base_text *error);
static inline unsigned opt_block_of(const struct opt_cfg *c, ir_ref r)
{
    return c->of[r - IR_BIAS];
}
/* Of a BLOCK as jumps and PHIs name it; IR_NIL is the entry. */
static inline unsigned opt_block_at(const struct opt_cfg *c, ir_ref b)
{
    return b ? c->of[b - IR_BIAS] : 0;
}
static inline bool opt_dominates(const struct opt_cfg *c, unsigned a, unsigned b)
{
    while (b > a)
        b = c->block[b].idom;
    return a == b;
}
/* How often a block runs, as a guess: eight times for each loop around it. */
static inline uint64_t opt_frequency(const struct opt_cfg *c, unsigned b)
{
    unsigned d = c->block[b].depth;

    return (uint64_t)1 << 3 * (d > 8 ? 8 : d);
}

/* ---- building -------------------------------------------------------- */

static inline ir_ref ir_phi(struct ir_func *f, unsigned ty, const uint32_t *pairs, unsigned n)
{
    uint32_t at = ir_extra(f, pairs, n);

    return ir_append(f, ir_head(IR_PHI, ty, 0), at, n, 0);
}
/* Constant r of src in dst. */
static inline ir_ref ir_k_copy(struct ir_func *dst, const struct ir_func *src, ir_ref r)
{
    return ir_k(dst, src->ins[r].op, src->ins[r].ty, ir_kval(src, r));
}
static inline bool opt_is_ref(unsigned op, unsigned n)
{
    unsigned kind = ir_ops[op].opd[n];

    return kind >= IR_OPD_R && kind <= IR_OPD_C;
}

#include "opt/opt_rebuild.h"

/* To be asked before each rewrite, when all else speaks for it: may it be made? A pass that
 * is told no leaves the place as it is, and must still be right (opt_config.rewrites). */
static inline bool opt_may(struct ir_func *dst)
{
    if (base_unlikely(!dst->fuel))
        return false;
    dst->fuel--;
    return true;
}
/* The same before the pass knows what to build: would opt_may say yes? */
static inline bool opt_might(const struct ir_func *dst)
{
    return dst->fuel != 0;
}

/* The whole state must be exact here. */
static inline bool opt_sees_slots(const struct ir_ins *i)
{
    return (ir_ops[i->op].flags & IR_F_FAULT) || i->op == IR_SIDE || i->op == IR_EXIT ||
           i->op == IR_TRAP;
}

/* Slots that some way out of the function, a GET, or a point at which the state must be exact
 * can see before they are PUT again: by block, at its start, two words of bits. */
typedef uint64_t opt_slots[2];
opt_slots *opt_live_slots(const struct ir_func *f, const struct opt_cfg *c,
                          struct base_arena *arena);

/* ---- passes, one file each ------------------------------------------- */

typedef const char *opt_pass_fn(struct ir_func *dst, const struct ir_func *src,
                                struct base_arena *arena);
opt_pass_fn opt_layout_pass, opt_peel_pass, opt_decided_pass, opt_ssa_pass, opt_gvn_pass,
    opt_mem_pass, opt_strip_pass, opt_bytes_pass, opt_fp_pass, opt_flags_pass, opt_width_pass,
    opt_strength_pass, opt_sink_pass, opt_dce_pass;

#endif
