/* opt_strip.h: what the files of opt_strip share. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_OPT_STRIP_H
#define ISOMER_OPT_STRIP_H

#include "opt/opt_priv.h"

enum {
    OPT_STRIP_LOOPS = 8,   /* of a function */
    OPT_STRIP_PHIS = 40,   /* of a header */
    OPT_STRIP_TERMS = 4,
    OPT_STRIP_ITEMS = 40,  /* loads; stores; conditions of a kind */
    OPT_STRIP_GUARDS = 8,
    OPT_STRIP_BACK = 2,    /* rounds that a value may reach back */
    OPT_STRIP_NODES = 400  /* operations of a round computed again */
};

/* A value that changes by the same amount each round: disp and the terms, header PHIs that count
 * and values from outside the loop, times a factor. */
struct opt_form {
    struct {
        ir_ref v;
        uint64_t by;
    } term[OPT_STRIP_TERMS];
    unsigned n;
    uint64_t disp, step;
};

/* What a value is in memory: width bytes at the form; with shift, those of the two words there that
 * a shift right by it and one left by unshift bring together. */
struct opt_source {
    struct opt_form at;
    unsigned width;
    ir_ref shift, unshift;
};

/* How a header's PHI changes from round to round. */
enum opt_carry { OPT_CARRY_OTHER, OPT_CARRY_SAME, OPT_CARRY_COUNTS, OPT_CARRY_COUNTS32 };
struct opt_carried {
    ir_ref phi, next; /* its operand from the latch */
    enum opt_carry how;
    uint64_t step;
};

/* An exit that is not taken as long as the relation holds. */
struct opt_limit {
    unsigned cc;
    struct opt_form x, y;
};
/* For it to be what it looks like, a must be k (or, with how, in the range that is named there). */
enum opt_guard_how { OPT_GUARD_IS, OPT_GUARD_ALIGNED, OPT_GUARD_SHIFT, OPT_GUARD_UNSHIFT,
                     OPT_GUARD_EXTENDED };
struct opt_guard {
    enum opt_guard_how how;
    ir_ref a, b;
    uint64_t k;
    unsigned op, type; /* EXTENDED */
    struct opt_form at; /* ALIGNED */
};

/* A loop and what it does. */
struct opt_strip {
    const struct ir_func *f;
    const struct opt_cfg *c;
    unsigned head, latch;
    struct opt_carried carried[OPT_STRIP_PHIS];
    unsigned ncarried;
    const struct opt_carried *pointer; /* counter whose value says when it is time */
    ir_ref load[OPT_STRIP_ITEMS], store[OPT_STRIP_ITEMS];
    unsigned nloads, nstores, insns;
    struct opt_limit limit[4];
    unsigned nlimits;
    struct opt_guard guard[OPT_STRIP_GUARDS];
    unsigned nguards;
    unsigned reach; /* how many rounds ago values were made that this relies on */
    /* the result */
    unsigned aux;
    struct opt_form a, b;   /* of the operation; b: if a place */
    ir_ref pattern, shift;  /* b, if a value (IR_NIL: 0); what is added to b, in bits */
    unsigned width;         /* bytes of the pattern, again and again */
    bool finds;             /* nothing says beforehand how many rounds there are */
};

static inline unsigned opt_strip_size(const struct opt_strip *l)
{
    return ir_strip_bytes(l->aux);
}
static inline bool opt_strip_inside(const struct opt_strip *l, ir_ref r)
{
    return !ir_is_const(r) && opt_block_of(l->c, r) >= l->head && opt_block_of(l->c, r) <= l->latch;
}

/* opt_strip_form.c */
const struct opt_carried *opt_strip_carried(const struct opt_strip *l, ir_ref r);
bool opt_strip_carries(struct opt_strip *l);
bool opt_form_of(struct opt_strip *l, ir_ref v, struct opt_form *f);
bool opt_form_alike(const struct opt_form *a, const struct opt_form *b); /* but for disp */
bool opt_source_of(struct opt_strip *l, ir_ref v, struct opt_source *s);
bool opt_strip_guard(struct opt_strip *l, struct opt_guard g);
/* Can the value of v, computed in the last round of several, be had behind them? */
bool opt_strip_again(struct opt_strip *l, ir_ref v, unsigned back, unsigned *nodes);

/* opt_strip_find.c: is the loop between blocks head and latch one? */
bool opt_strip_find(struct opt_strip *l);

#endif
