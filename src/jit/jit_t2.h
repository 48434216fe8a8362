/* jit_t2.h: what the files of tier 2 share. SPDX-License-Identifier: Apache-2.0
 *
 *   jit_t2_graph.c  what guest code a region is made of: blocks and edges
 *   jit_t2_site.c   where indirect jumps and calls go
 *   jit_t2_form.c   from there to IR
 *   jit_t2.c        what is hot, jobs, installing
 *   jit_t2_thread.c the thread that compiles
 */
#ifndef ISOMER_JIT_T2_H
#define ISOMER_JIT_T2_H

#include "jit/jit_priv.h"
#include "opt/opt.h"

/* ---- jit_t2_graph.c -------------------------------------------------- */

enum {
    T2_INSNS = JIT_PARAM_t2_insns,
    T2_BLOCKS = JIT_PARAM_t2_blocks,
    T2_CALLS = JIT_PARAM_t2_calls,
    T2_HASH = 4096,       /* a power of two, more than T2_INSNS */
    T2_PROBES = 64,       /* functions looked at for inlining */
    T2_NONE = 0xffff      /* no instruction, no block: outside the region */
};

_Static_assert((int)T2_INSNS < (int)T2_HASH, "room to find out that it is not there");

struct t2_insn {
    uint64_t pc;
    uint64_t target;      /* BRANCH, direct JUMP and CALL; guard: what is compared with */
    uint16_t ctx;         /* which inlined call it belongs to, 0: none */
    uint16_t callee;      /* CALL: context of the inlined function, or 0 */
    uint16_t next, taken; /* instructions; T2_NONE: not in the region */
    uint16_t block;       /* leaders: theirs */
    uint8_t len, kind;    /* enum ir_flow_kind */
    bool leader, direct;
    bool guard;           /* indirect JUMP or CALL: to target it is inside, else see next */
    bool floats;          /* computes with them */
};

/* An inlined call; 0 is the region itself. */
struct t2_ctx {
    uint64_t callee, ret;
    uint16_t parent;
    uint8_t depth;
    bool partial;
};

/* A function that was looked at for inlining. */
struct t2_probe {
    uint64_t pc;
    uint16_t insns; /* of it and of all it calls; 0: not to be inlined */
    bool partial;   /* only the ways on which it calls nothing but what is inlined */
};

struct t2_block {
    uint16_t first, last; /* instructions */
    uint16_t succ[2];     /* blocks: of last's next and taken; T2_NONE */
    uint16_t order;       /* reverse post-order; T2_NONE: not in the region */
    uint16_t idom;        /* by order */
    bool reaches;         /* the region's head can be reached from here */
};

struct t2_graph {
    struct jit *j;
    struct ir_func *scratch;
    struct jit_reader reader;
    unsigned mode, max_insns;
    struct t2_insn insn[T2_INSNS];
    unsigned ninsns;
    struct t2_ctx ctx[T2_CALLS];
    unsigned nctxs;
    struct t2_block block[T2_BLOCKS];
    unsigned nblocks;
    uint16_t order[T2_BLOCKS]; /* blocks in reverse post-order */
    unsigned norder;
    bool loop;                 /* the head is one: what cannot reach it is left out */
    bool cyclic;               /* there is a loop in it */
    bool watch;                /* those will be watched: no region before */
    unsigned unknown;          /* indirect jumps and calls that were not watched long enough */
    uint16_t hash[T2_HASH];    /* instruction by context and pc, +1 */
    struct { uint64_t pc; uint16_t ctx; } start[3 * T2_INSNS];
    unsigned nstarts;
    struct t2_probe probe[T2_PROBES];
    unsigned nprobes;
};

/* Finds the region at pc (lock held). NULL, or why there is none. */
const char *jit_t2_graph(struct t2_graph *g, uint64_t pc);
/* Does an edge go back from the end of b? */
bool jit_t2_latch(const struct t2_graph *g, const struct t2_block *b);
/* Is the instruction at pc in it? */
bool jit_t2_inside(const struct t2_graph *g, uint64_t pc);
/* Lifts the instruction at pc to the end of f, IMARK included; with poll, one
 * stands behind that. False: not there, or not for tier 2 (f is as before). */
bool jit_t2_lift(struct t2_graph *g, struct ir_func *f, uint64_t pc, bool poll,
                 struct ir_flow *w);

/* ---- jit_t2_site.c --------------------------------------------------- */

/* Where an indirect jump or call was seen to go. */
struct jit_t2_site {
    uint64_t key;              /* its own; 0: free */
    uint32_t all;              /* times it was seen */
    uint32_t ntargets;
    struct jit_t2_target { uint64_t pc; uint32_t count; } target[JIT_PARAM_t2_targets];
};
enum { T2_SITES = 1024 };

/* The indirect jump or call at key went to pc (lock held). */
void jit_t2_went(struct jit_t2 *t, uint64_t key, uint64_t pc);
/* What it did until now weighs less than what it will do. False: nothing is known of it. */
bool jit_t2_fade(struct jit_t2 *t, uint64_t key);
/* Its usual targets, the most usual first; 0: it was never seen, or goes anywhere, or it would have
 * to be compared with more than `most` of them on average. *seen: often enough to be sure. */
unsigned jit_t2_targets(struct jit_t2 *t, uint64_t key, uint64_t pc[JIT_PARAM_t2_targets],
                        unsigned most, bool *seen);

/* ---- jit_t2_form.c --------------------------------------------------- */

/* Is it a reason that will not go away? */
bool jit_t2_for_good(const char *why);
/* Is the vCPU to be followed before there can be a region? */
bool jit_t2_not_yet(const char *why);
/* Forms the tier-2 region at pc into f, what it is made from into d (lock held).
 * NULL, or why there is none. */
const char *jit_t2_form(struct jit *j, struct t2_graph *g, struct ir_func *f,
                        struct jit_formed *d, uint64_t pc, unsigned mode);

/* ---- jit_t2.c -------------------------------------------------------- */

/* A region to be compiled: formed, not yet installed. */
struct jit_t2_job {
    struct jit_t2_job *next;
    uint64_t key;
    struct ir_func *ir;   /* from jit_ir_copy */
    struct jit_formed formed;
    uint32_t number;      /* from 1, in the order they were asked for */
    bool dead;            /* its code has changed: not to be installed */
    bool sampled;         /* the guest was at the region's head when it was formed: */
    uint64_t sample[IR_MAX_SLOTS]; /* its slots */
};

/* ISOMER_T2_FUEL, for bisecting (jit_t2_fuel.c). */
struct jit_t2_fuel {
    bool set;
    uint32_t regions;            /* jobs that are made */
    const struct opt_pass *last; /* of the last one's passes; NULL: all */
    uint64_t rewrites;           /* of that pass */
};

/* What tier 2 knows about a key. */
struct jit_t2_key {
    uint64_t key;         /* 0: free */
    uint32_t seen;        /* times that a branch was seen to go there */
    uint32_t weight;      /* of these samples */
    uint8_t tries;        /* regions made, or given up */
    uint8_t stays;        /* exits for which it was looked at anew, and would have stayed */
    uint8_t watched;      /* times that the vCPU was followed from there */
    bool waits;           /* hot enough to be watched it may become a region */
    bool pending;         /* a job is on its way */
};

struct jit_t2 {
    struct t2_graph graph;
    struct jit_t2_fuel fuel;
    bool unlimited;            /* --tier2=sync: whatever it takes, and so the same each time */
    uint32_t njobs_made;
    struct ir_func *func;      /* the former's */
    struct jit_formed formed;
    uint64_t useless_ns;       /* taken by forming what became no region */
    bool watch;                /* the vCPU is to be followed */
    uint64_t samples;          /* branches that were looked at */
    uint64_t weight;           /* of them all */
    uint64_t callee[16];       /* keys of functions that hot loops call */
    unsigned ncallees;
    struct jit_t2_site site[T2_SITES]; /* hash */
    struct jit_t2_key *keys;   /* hash */
    uint32_t key_mask, nkeys;
    /* The compiler's: of the thread, or in sync mode of who has the lock. */
    struct ir_func *work;
    struct ir_func *out;       /* the optimiser's result, until its next run */
    struct opt *opt;
    void *scratch;
    struct jit_code code;
    /* Jobs, under p->lock: those that wait, the one being compiled. */
    struct jit_t2_job *first, **last, *now;
    unsigned njobs;
    /* The thread. */
    bool started, joinable;
    bool stop;
    pthread_t thread;
    int pid;                   /* of the process that it belongs to */
    unsigned paused;           /* fork: no new job */
    pthread_cond_t more, idle; /* with p->lock */
};

/* Compiles the job (with the lock in sync mode, without it in the thread); true if
 * there is code to install. Then, with the lock: installs it if so, and frees it. */
bool jit_t2_compile(struct jit *j, struct jit_t2_job *job);
void jit_t2_finish(struct jit *j, struct jit_t2_job *job, bool good);

/* ---- jit_t2_fuel.c --------------------------------------------------- */

/* Reads text (NULL: no limit). False, with an error line printed: not of that form. */
bool jit_t2_fuel_read(struct jit_t2_fuel *fuel, const char *text);
/* No further region is to be made. */
static inline bool jit_t2_dry(const struct jit_t2 *t)
{
    return t->fuel.set && t->njobs_made >= t->fuel.regions;
}
/* Is it the one that is looked at? */
static inline bool jit_t2_is_last(const struct jit_t2 *t, const struct jit_t2_job *job)
{
    return t->fuel.set && job->number == t->fuel.regions;
}
/* Limits the passes of the last region, and says what they did if it is dumped. */
void jit_t2_fuel_config(struct jit *j, const struct jit_t2_job *job, struct opt_config *cfg);

/* ---- jit_t2_thread.c ------------------------------------------------- */

/* Gives the job to the thread, which is started if it is not there (lock held).
 * False: none can be. */
bool jit_t2_submit(struct jit *j, struct jit_t2_job *job);
void jit_t2_thread_init(struct jit_t2 *t);
void jit_t2_thread_end(struct jit *j);

#endif
