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
    bool decided; /* only if there is a branch on a constant */
};
/* In the order in which opt_run applies them; ends with an empty entry. */
extern const struct opt_pass opt_passes[];
const struct opt_pass *opt_find(const char *name);

struct opt_config {
    uint64_t skip;      /* bit set of passes, by their place in the table, left out */
    /* Bisecting: passes behind `last` are left out, but for those without which the result is
     * not in state-SSA form, and `last` itself makes its first `rewrites` rewrites only. What
     * a rewrite is the pass says (opt_may). NULL: all of them. */
    const struct opt_pass *last;
    uint64_t rewrites;
    /* What the slots held when the region was found hot, by slot, or NULL: a hint at how often
     * its loop goes round. */
    const uint64_t *sample;
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

/* Runs one pass over src, which is not changed, into dst, which is empty. NULL, or why not. With
 * error, a result that is not what the pass must leave is a reason, too, and what is wrong in
 * *error. */
const char *opt_run_pass(const struct opt_pass *p, struct ir_func *dst, const struct ir_func *src,
                         struct base_arena *arena, struct base_text *error);

/* For developers: `isomer ir opt` (opt_tool.c). */
struct opt_tool {
    const struct ir_guest *guest; /* whose slots the file names, or NULL: s0, s1, ... */
    const char *passes;           /* "gvn,dce:3", or NULL: all */
    const char *stop_after;       /* the last one to be run, or NULL */
    bool each;                    /* print what each leaves */
};
/* Reads the functions of a file ("-": standard input), runs passes over each, verifies and
 * prints the result. An exit status, after a line about what is wrong. */
int opt_tool(const struct opt_tool *t, const char *file, FILE *out);

/* Is f in state-SSA form (and valid IR)? False with what and where in *error. */
bool opt_verify(const struct ir_func *f, struct base_text *error);

#endif
