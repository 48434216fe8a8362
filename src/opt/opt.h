/* opt.h: the optimiser: passes over functions of several blocks.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input is what a region former makes: guest basic blocks joined by JMP, BR and
 * SIDE, which pass values through slots. Output is the same function in state-SSA
 * form (docs/tier2.md), optimised. Nothing here knows a guest or a host.
 */
#ifndef ISOMER_OPT_H
#define ISOMER_OPT_H

#include "ir/ir.h"

/* A pass writes what it makes of src into dst, which is empty. It returns NULL, or
 * the reason it could not; dst is then worthless. */
struct opt_pass {
    const char *name, *what;
    const char *(*run)(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena);
    bool early; /* before state-SSA form; the others need it */
    bool loose; /* may leave blocks that are not reached, for the next pass to drop */
};
/* In the order in which opt_run applies them; ends with an empty entry. */
extern const struct opt_pass opt_passes[];
const struct opt_pass *opt_find(const char *name);

struct opt_config {
    uint64_t skip;      /* bit set of passes, by their place in the table, left out */
    unsigned fuel;      /* how many passes are run, 0: all (bisecting) */
    bool verify;        /* after each pass; a mistake ends the process */
    /* After each pass, if not NULL. */
    void (*after)(void *ctx, const struct opt_pass *pass, const struct ir_func *f);
    void *ctx;
};

/* An optimiser's memory, to be used by one thread at a time. */
struct opt;
struct opt *opt_new(const struct ir_guest *guest);
void opt_free(struct opt *o);

/* Optimises src, which is not changed. Returns the reason it gave up, or NULL and
 * the result in *out, valid until the next run. */
const char *opt_run(struct opt *o, const struct ir_func *src, const struct opt_config *cfg,
                    struct ir_func **out);

/* Is f in state-SSA form (and valid IR)? False with what and where in *error. */
bool opt_verify(const struct ir_func *f, struct base_text *error);

#endif
