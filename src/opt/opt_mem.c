/* opt_mem.c: loads of what is known. SPDX-License-Identifier: Apache-2.0
 *
 * Forward over the blocks in reverse post-order goes a small table of *facts*: at this address
 * (an SSA value plus a displacement) memory holds that value, because it was loaded or stored
 * there. A load whose bytes a fact has becomes the fact's value, or part of it. At a join only what
 * all predecessors agree on stays; what comes over a back edge is not known when a header is
 * reached, so a header begins with nothing.
 *
 * A load whose bytes were stored in pieces is put together from them. Compilers for strict
 * alignment write memcpy(&v, p, 4) as loads and stores of four bytes and a load of the word; no
 * host forwards four stores to one load, it waits until all have reached the cache:
 *
 *     st.i8 [%1], %2                         st.i8 [%1], %2
 *     st.i8 [%1 + 1], %3             ->      st.i8 [%1 + 1], %3
 *     %4 = ld.i16 [%1]                       %4 = zext %2 | zext %3 << 8
 *
 * All pieces must be stores of this thread, with no load among them: a load that is made between
 * two of them may see what another thread stored after it had overwritten the first, and if it is
 * what the second piece comes from, the word must not be older than that (RVWMO, rule 12). For the
 * same reason no piece may be one that was loaded from there. (And if all were there is nothing to
 * wait for.)
 *
 * What ends a fact:
 *  - a store that may touch its bytes: anything but one at the same SSA base, or at constant
 *    addresses, that lies beside it;
 *  - atomics, fences, acquiring loads, helpers: they order memory, or write it;
 *  - POLL: a signal handler may run, and a loop that waits for another thread must see it. As every
 *    loop polls, no load is ever answered by an earlier turn of its loop.
 *
 * Guest memory is shared with other threads. A load that takes the value of an older one with none
 * of the above between is one of the orders that the memory models of both machines allow (two
 * loads of one address in a row may see one value), and one behind a store sees the thread's own.
 *
 * A load that was removed cannot have faulted: the older access touched all of its bytes. Stores
 * stay.
 *
 * Requires: state-SSA form.
 */
#include "opt/opt_priv.h"

enum {
    OPT_MEM_FACTS = 32, /* of one block: the youngest stay */
    OPT_MEM_PIECES = 8  /* of one load */
};

struct opt_fact {
    ir_ref base; /* IR_NIL: the address is disp alone */
    int64_t disp;
    ir_ref value;
    uint8_t type;
    bool stored; /* and nothing was loaded since */
};
struct opt_facts {
    struct opt_fact v[OPT_MEM_FACTS];
    unsigned n;
};

struct opt_mem {
    const struct ir_func *f;
    const struct opt_cfg *cfg;
    struct opt_facts *out; /* by block: at its end */
    struct opt_facts now;
    struct opt_known { /* by ref - IR_BIAS: what a load can take */
        ir_ref value;
        uint8_t skip; /* bits below it in value */
        ir_ref *piece; /* or all its pieces, from the lowest on */
        unsigned npieces;
    } * known;
    struct base_arena *arena;
};

static unsigned opt_mem_size(unsigned type)
{
    return ir_type_bits(type) / 8;
}

/* The place of LD or ST i: constant addresses are all displacement. */
static struct opt_fact opt_mem_place(const struct ir_func *f, const struct ir_ins *i)
{
    struct opt_fact p = {i->a, (int32_t)i->b, i->c, i->ty, i->op == IR_ST};

    if (i->op == IR_ST) p.type = (uint8_t)ir_ty(f, i->c);
    if (ir_is_const(i->a)) {
        p.base = IR_NIL;
        p.disp += (int64_t)ir_kval(f, i->a);
    }
    return p;
}

/* ---- the table ------------------------------------------------------- */

static void opt_facts_remove(struct opt_facts *t, unsigned k)
{
    t->n--;
    memmove(&t->v[k], &t->v[k + 1], (t->n - k) * sizeof t->v[0]);
}

static void opt_facts_add(struct opt_facts *t, struct opt_fact fact)
{
    if (t->n == OPT_MEM_FACTS) opt_facts_remove(t, 0);
    t->v[t->n++] = fact;
}

/* Bytes at p are written. Addresses wrap, so distances do, too. */
static void opt_facts_kill(struct opt_facts *t, const struct opt_fact *p)
{
    for (unsigned k = t->n; k-- > 0;) {
        const struct opt_fact *old = &t->v[k];
        uint64_t ahead = (uint64_t)p->disp - (uint64_t)old->disp;
        bool apart = old->base == p->base && ahead >= opt_mem_size(old->type) &&
                     0 - ahead >= opt_mem_size(p->type);

        if (!apart) opt_facts_remove(t, k);
    }
}

/* A fact that has all bytes of p, so that a shift and a cast make the value of them. */
static const struct opt_fact *opt_facts_find(const struct opt_facts *t, const struct opt_fact *p)
{
    for (unsigned k = t->n; k-- > 0;) {
        const struct opt_fact *old = &t->v[k];
        uint64_t ahead = (uint64_t)p->disp - (uint64_t)old->disp;

        if (old->base != p->base) continue;
        if (ahead == 0 && opt_mem_size(old->type) == opt_mem_size(p->type)) return old;
        if (ir_is_int(old->type) && ir_is_int(p->type) && ahead < 8 &&
            ahead + opt_mem_size(p->type) <= opt_mem_size(old->type))
            return old;
    }
    return NULL;
}

/* The youngest store of an integer that begins at p and is at most `most` bytes long. */
static const struct opt_fact *opt_facts_piece(const struct opt_facts *t, const struct opt_fact *p,
                                              unsigned most)
{
    for (unsigned k = t->n; k-- > 0;) {
        const struct opt_fact *old = &t->v[k];

        if (old->stored && old->base == p->base && old->disp == p->disp &&
            ir_is_int(old->type) && opt_mem_size(old->type) <= most)
            return old;
    }
    return NULL;
}

/* The pieces that p's bytes were stored in, from the lowest on. Returns how many, or 0: some were
 * not. */
static unsigned opt_facts_pieces(const struct opt_facts *t, const struct opt_fact *p,
                                 ir_ref piece[OPT_MEM_PIECES])
{
    unsigned left = opt_mem_size(p->type), n = 0;
    struct opt_fact at = *p;

    if (!ir_is_int(p->type)) return 0;
    while (left) {
        const struct opt_fact *old = opt_facts_piece(t, &at, left);

        if (!old) return 0;
        piece[n++] = old->value;
        left -= opt_mem_size(old->type);
        at.disp = (int64_t)((uint64_t)at.disp + opt_mem_size(old->type));
    }
    return n;
}

static bool opt_fact_same(const struct opt_fact *a, const struct opt_fact *b)
{
    return a->base == b->base && a->disp == b->disp && a->value == b->value && a->type == b->type;
}

/* What both know. */
static void opt_facts_meet(struct opt_facts *t, const struct opt_facts *with)
{
    for (unsigned k = t->n; k-- > 0;) {
        bool both = false;

        for (unsigned n = 0; n < with->n; n++) {
            if (!opt_fact_same(&t->v[k], &with->v[n])) continue;
            t->v[k].stored &= with->v[n].stored;
            both = true;
        }
        if (!both) opt_facts_remove(t, k);
    }
}

/* ---- instructions ---------------------------------------------------- */

static void opt_mem_load(struct opt_mem *m, ir_ref r)
{
    struct opt_fact p = opt_mem_place(m->f, &m->f->ins[r]);
    const struct opt_fact *old = opt_facts_find(&m->now, &p);
    struct opt_known *known = &m->known[r - IR_BIAS];
    ir_ref piece[OPT_MEM_PIECES];
    unsigned npieces = old ? 0 : opt_facts_pieces(&m->now, &p, piece);

    for (unsigned k = 0; k < m->now.n; k++) m->now.v[k].stored = false;
    if (m->f->ins[r].aux != IR_AS_GUEST) { /* ordered, or of another kind */
        m->now.n = 0;
        return;
    }
    if (old) {
        known->value = old->value;
        known->skip = (uint8_t)(8 * (uint64_t)(p.disp - old->disp));
        return;
    }
    known->npieces = npieces;
    if (npieces) {
        known->piece = base_arena_alloc(m->arena, sizeof piece);
        memcpy(known->piece, piece, sizeof piece);
    }
    p.value = r;
    opt_facts_add(&m->now, p);
}

static void opt_mem_store(struct opt_mem *m, ir_ref r)
{
    struct opt_fact p = opt_mem_place(m->f, &m->f->ins[r]);

    if (m->f->ins[r].aux != IR_AS_GUEST) {
        m->now.n = 0;
        return;
    }
    opt_facts_kill(&m->now, &p);
    opt_facts_add(&m->now, p);
}

static void opt_mem_ins(struct opt_mem *m, ir_ref r)
{
    switch (m->f->ins[r].op) {
    case IR_LD: opt_mem_load(m, r); break;
    case IR_ST: opt_mem_store(m, r); break;
    case IR_AMO:
    case IR_CAS:
    case IR_LR:
    case IR_SC:
    case IR_FENCE:
    case IR_HELPER:
    case IR_STRIP:
    case IR_POLL: m->now.n = 0; break;
    default: break;
    }
}

/* ---- blocks ---------------------------------------------------------- */

/* What holds at the block's top. */
static void opt_mem_enter(struct opt_mem *m, unsigned block)
{
    const struct opt_block *b = &m->cfg->block[block];

    m->now.n = 0;
    if (b->header || !b->npred) return;
    m->now = m->out[b->pred[0]];
    for (unsigned n = 1; n < b->npred && m->now.n; n++)
        opt_facts_meet(&m->now, &m->out[b->pred[n]]);
}

/* ---- building -------------------------------------------------------- */

/* Part of a value that memory holds, as the load's type. */
static ir_ref opt_mem_take(struct ir_func *f, ir_ref v, unsigned skip, unsigned ty)
{
    unsigned from = ir_ty(f, v);

    if (skip) v = ir_op2(f, IR_SHR, from, v, ir_ki(f, from, skip));
    if (from == ty) return v;
    if (ir_type_bits(from) == ir_type_bits(ty)) return ir_op1(f, IR_BITCAST, ty, v);
    return ir_op1(f, IR_TRUNC, ty, v);
}

/* A value of type `type` from its pieces; hosts shift words, not halves of them. */
static ir_ref opt_mem_join(struct opt_rebuild *b, const struct opt_known *k, unsigned type)
{
    unsigned ty = type == IR_I64 ? IR_I64 : IR_I32, at = 0;
    ir_ref all = IR_NIL;

    for (unsigned n = 0; n < k->npieces; n++) {
        ir_ref v = opt_rebuild_map(b, k->piece[n]);
        unsigned bits = ir_type_bits(ir_ty(b->dst, v));

        v = ir_op1(b->dst, IR_ZEXT, ty, v);
        if (at) v = ir_op2(b->dst, IR_SHL, ty, v, ir_ki(b->dst, ty, at));
        all = all ? ir_op2(b->dst, IR_OR, ty, all, v) : v;
        at += bits;
    }
    return ty == type ? all : ir_op1(b->dst, IR_TRUNC, type, all);
}

static bool opt_mem_build(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_mem *m = ctx;
    const struct opt_known *k = &m->known[r - IR_BIAS];

    if ((!k->value && !k->npieces) || !opt_may(b->dst)) return false;
    if (k->npieces) {
        opt_rebuild_set(b, r, opt_mem_join(b, k, b->src->ins[r].ty));
        return true;
    }
    opt_rebuild_set(b, r,
                    opt_mem_take(b->dst, opt_rebuild_map(b, k->value), k->skip, b->src->ins[r].ty));
    return true;
}

const char *opt_mem_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    struct opt_mem m = {.f = src, .cfg = opt_cfg_new(src, arena), .arena = arena};
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = &m, .ins = opt_mem_build};
    unsigned n = src->nins - IR_BIAS;

    m.out = base_arena_alloc(arena, m.cfg->n * sizeof *m.out);
    m.known = base_arena_alloc(arena, (n + 1) * sizeof *m.known);
    memset(m.known, 0, n * sizeof *m.known);
    for (unsigned k = 0; k < m.cfg->n; k++) {
        opt_mem_enter(&m, k);
        for (ir_ref r = m.cfg->block[k].first; r <= m.cfg->block[k].last; r++) opt_mem_ins(&m, r);
        m.out[k] = m.now;
    }
    return opt_rebuild_run(&b, arena);
}
