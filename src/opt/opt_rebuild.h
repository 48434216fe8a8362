/* opt_rebuild.h: a pass that writes the function anew. SPDX-License-Identifier: Apache-2.0
 *
 * The source is walked in order; each instruction is offered to the pass, and copied through the
 * folding builder if the pass does not want it. References are translated through a map; jumps
 * and the operands of PHIs are set at the end.
 */
#ifndef ISOMER_OPT_REBUILD_H
#define ISOMER_OPT_REBUILD_H

#include "ir/ir.h"

struct opt_rebuild {
    const struct ir_func *src;
    struct ir_func *dst; /* empty at first */
    void *ctx;           /* the pass's own, for the functions below */
    /* Builds old instruction r and says what it became (opt_rebuild_set), or returns false. */
    bool (*ins)(struct opt_rebuild *b, void *ctx, ir_ref r);
    /* Called once in each block where values that go with its PHIs and GETs can be made: before
     * the first other instruction. NULL: nothing to do. first: the block's first instruction. */
    void (*settle)(struct opt_rebuild *b, void *ctx, ir_ref first);
    /* What new PHI `phi`, made by opt_rebuild_phi from old PHI r, has for old operand v; NULL:
     * what v became. May make constants only. */
    ir_ref (*operand)(struct opt_rebuild *b, void *ctx, ir_ref r, ir_ref v);
    ir_ref *map; /* by old ref - src->nk: the new one */
    struct opt_rebuilt_phi {
        ir_ref from, to;
        bool own; /* made by opt_rebuild_phi */
    } *phis;
    unsigned nphis;
};

static inline ir_ref opt_rebuild_map(const struct opt_rebuild *b, ir_ref r)
{
    ir_ref v = r ? b->map[r - b->src->nk] : IR_NIL;

    BASE_ASSERT(!r || v);
    return v;
}
static inline void opt_rebuild_set(struct opt_rebuild *b, ir_ref r, ir_ref v)
{
    b->map[r - b->src->nk] = v;
}

/* Copies old instruction r as it is. */
void opt_rebuild_copy(struct opt_rebuild *b, ir_ref r);
/* A PHI of another type in the place of old PHI r; the map is the pass's to set (settle). */
ir_ref opt_rebuild_phi(struct opt_rebuild *b, ir_ref r, unsigned type);
/* Does it all. Returns NULL, or the reason it could not: dst has no more room. */
const char *opt_rebuild_run(struct opt_rebuild *b, struct base_arena *arena);

#endif
