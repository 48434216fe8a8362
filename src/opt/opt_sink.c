/* opt_sink.c: what is only put into a slot is computed behind the join.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A PHI that nothing but PUTs uses carries what a fault may have to show: in loops, what the round
 * before has left in a temporary. If all its operands are the same operation with the same
 * constant, the operation is done behind a PHI of its operands, which often are carried anyway:
 *
 *     %5 = phi [b1 %1], [b2 %8]              %5 = phi [b1 %1], [b2 %8]
 *     %6 = phi [b1 %3], [b2 %9]       ->     %7 = shl.i32 %5, 26
 *     put s4, %6                             put s4, %7
 *     %9 = shl.i32 %8, 26                    %9 = shl.i32 %8, 26    (if somebody uses it)
 *
 * Not so if it is the step of a counter: the loop has that anyway, and can give up the value
 * before.
 *
 * PHIs that have come to be the same become one on the way.
 *
 * A value that only PUTs use costs nothing in hot code: who reads a state map does the operation
 * (the code generator's recipes), and so do exits in cold code. The operation in the loop goes
 * when it has no use left.
 *
 * Requires and keeps: state-SSA form.
 */
#include "opt/opt_priv.h"

enum { OPT_SINK_LAYERS = 4 }; /* operations one upon the other */

struct opt_sink {
    const struct ir_func *f;
    uint8_t *used;   /* by an instruction that is no PUT; by ref - IR_BIAS */
    uint8_t *layers; /* of PHIs: operations that sink */
    uint8_t *twin;   /* PHIs that are as another one was */
    ir_ref *same;    /* of those: the old PHI that carries what they are of, or IR_NIL */
    ir_ref *made;    /* or the new one */
};

/* An extension that only PUTs use is no use: backwards, so that this is known. */
static void opt_sink_uses(struct opt_sink *x)
{
    for (ir_ref r = IR_BIAS; r < x->f->nins; r++) {
        const struct ir_ins *i = &x->f->ins[r];

        for (uint32_t n = 0; i->op == IR_PHI && n < i->b; n++) {
            ir_ref o = x->f->extra[i->a + 2 * n + 1];

            if (!ir_is_const(o)) x->used[o - IR_BIAS] = true;
        }
    }
    for (ir_ref r = x->f->nins; r-- > IR_BIAS;) {
        const struct ir_ins *i = &x->f->ins[r];
        const uint32_t v[3] = {i->a, i->b, i->c};

        if (i->op == IR_PUT || ((i->op == IR_SEXT || i->op == IR_ZEXT) && !x->used[r - IR_BIAS]))
            continue;
        for (unsigned n = 0; n < 3; n++)
            if (opt_is_ref(i->op, n) && !ir_is_const(v[n])) x->used[v[n] - IR_BIAS] = true;
    }
}

/* Operand n of PHI i without its outermost operations. */
static ir_ref opt_sink_operand(const struct ir_func *f, const struct ir_ins *i, uint32_t n,
                               unsigned layers)
{
    ir_ref v = f->extra[i->a + 2 * n + 1];

    while (layers--) v = f->ins[v].a;
    return v;
}

/* No PHI is an i1. */
static bool opt_sink_is_op(const struct ir_func *f, const struct ir_ins *i)
{
    if (opt_is_ref(i->op, 0) && f->ins[i->a].ty == IR_I1) return false;
    switch (i->op) {
    case IR_SEXT:
    case IR_ZEXT:
    case IR_TRUNC: return !ir_is_const(i->a);
    case IR_ADD:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_SHL:
    case IR_SHR:
    case IR_SAR: return !ir_is_const(i->a) && ir_is_const(i->b) && f->ins[i->b].op == IR_KI;
    default: return false;
    }
}

/* Are operations a and b the same, but for what they are of? */
static bool opt_sink_alike(const struct ir_func *f, const struct ir_ins *a, const struct ir_ins *b)
{
    return a->op == b->op && a->ty == b->ty && a->aux == b->aux &&
           f->ins[a->a].ty == f->ins[b->a].ty &&
           (!opt_is_ref(a->op, 1) || a->b == b->b || ir_kval(f, a->b) == ir_kval(f, b->b));
}

/* How many operations all operands of PHI i have in common. */
static unsigned opt_sink_depth(const struct ir_func *f, const struct ir_ins *i)
{
    for (unsigned depth = 0; depth < OPT_SINK_LAYERS; depth++) {
        ir_ref first = opt_sink_operand(f, i, 0, depth);

        for (uint32_t n = 0; n < i->b; n++) {
            ir_ref v = opt_sink_operand(f, i, n, depth);

            if (ir_is_const(v) || !opt_sink_is_op(f, &f->ins[v]) ||
                !opt_sink_alike(f, &f->ins[v], &f->ins[first]))
                return depth;
        }
    }
    return OPT_SINK_LAYERS;
}

/* Will PHI p be there as it is? */
static bool opt_sink_stays(const struct opt_sink *x, ir_ref p)
{
    return !x->twin[p - IR_BIAS] &&
           (x->used[p - IR_BIAS] || !opt_sink_depth(x->f, &x->f->ins[p]));
}

/* A PHI of the block that has what PHI r is of after `depth` operations. */
static ir_ref opt_sink_same(const struct opt_sink *x, ir_ref r, unsigned depth)
{
    const struct ir_func *f = x->f;
    const struct ir_ins *i = &f->ins[r];
    unsigned ty = f->ins[depth ? opt_sink_operand(f, i, 0, depth) : r].ty;
    ir_ref p = r;

    while (f->ins[p - 1].op == IR_PHI) p--;
    for (; f->ins[p].op == IR_PHI; p++) {
        const struct ir_ins *o = &f->ins[p];
        uint32_t n = 0;

        if (p == r || o->b != i->b || o->ty != ty) continue;
        while (n < i->b && f->extra[o->a + 2 * n] == f->extra[i->a + 2 * n] &&
               f->extra[o->a + 2 * n + 1] == opt_sink_operand(f, i, n, depth))
            n++;
        if (n == i->b && opt_sink_stays(x, p)) return p;
    }
    return IR_NIL;
}

/* Is one of the operations the next value of what it is of, which a loop carries? The value before
 * would live beside it then, and be copied in each round. */
static bool opt_sink_steps(const struct ir_func *f, const struct ir_ins *i, unsigned depth)
{
    for (uint32_t n = 0; n < i->b; n++) {
        for (unsigned d = 0; d < depth; d++) {
            ir_ref v = opt_sink_operand(f, i, n, d);
            const struct ir_ins *of = &f->ins[f->ins[v].a];

            for (uint32_t m = 0; of->op == IR_PHI && m < of->b; m++)
                if (f->extra[of->a + 2 * m + 1] == v) return true;
        }
    }
    return false;
}

static bool opt_sink_phi(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct opt_sink *x = ctx;
    const struct ir_ins *i = &x->f->ins[r];
    ir_ref twin, same = IR_NIL;
    unsigned depth;

    if (i->op != IR_PHI || !i->b) return false;
    twin = opt_sink_same(x, r, 0);
    if (twin && twin < r && opt_may(b->dst)) {
        opt_rebuild_set(b, r, opt_rebuild_map(b, twin));
        x->twin[r - IR_BIAS] = true;
        return true;
    }
    if (x->used[r - IR_BIAS]) return false;
    depth = opt_sink_depth(x->f, i);
    for (unsigned d = depth; d && !same; d--)
        if ((same = opt_sink_same(x, r, d))) depth = d;
    if (!depth || (!same && opt_sink_steps(x->f, i, depth)) || !opt_may(b->dst)) return false;
    x->layers[r - IR_BIAS] = (uint8_t)depth;
    x->same[r - IR_BIAS] = same;
    if (!same)
        x->made[r - IR_BIAS] =
            opt_rebuild_phi(b, r, x->f->ins[opt_sink_operand(x->f, i, 0, depth)].ty);
    return true;
}

static ir_ref opt_sink_new_operand(struct opt_rebuild *b, void *ctx, ir_ref r, ir_ref v)
{
    const struct opt_sink *x = ctx;

    for (unsigned n = x->layers[r - IR_BIAS]; n--;) v = x->f->ins[v].a;
    return opt_rebuild_map(b, v);
}

/* The operations of PHI r, the innermost first, on v. */
static ir_ref opt_sink_build(struct opt_rebuild *b, const struct opt_sink *x, ir_ref r, ir_ref v)
{
    for (unsigned n = x->layers[r - IR_BIAS]; n--;) {
        const struct ir_ins *i = &x->f->ins[opt_sink_operand(x->f, &x->f->ins[r], 0, n)];
        ir_ref k = opt_is_ref(i->op, 1) ? opt_rebuild_map(b, i->b) : IR_NIL;

        v = ir_emit(b->dst, i->op, i->ty, i->aux, v, k, IR_NIL);
    }
    return v;
}

static void opt_sink_settle(struct opt_rebuild *b, void *ctx, ir_ref first)
{
    struct opt_sink *x = ctx;

    for (ir_ref r = first; r < x->f->nins; r++) {
        unsigned op = x->f->ins[r].op;

        if (op == IR_BLOCK || op == IR_GET) continue;
        if (op != IR_PHI) return;
        if (!x->layers[r - IR_BIAS]) continue;
        ir_ref same = x->same[r - IR_BIAS];
        ir_ref v = same ? opt_rebuild_map(b, same) : x->made[r - IR_BIAS];

        opt_rebuild_set(b, r, opt_sink_build(b, x, r, v));
    }
}

const char *opt_sink_pass(struct ir_func *dst, const struct ir_func *src, struct base_arena *arena)
{
    size_t n = src->nins - IR_BIAS + 1;
    struct opt_sink x = {.f = src};
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = &x, .ins = opt_sink_phi,
                            .settle = opt_sink_settle, .operand = opt_sink_new_operand};

    x.used = base_arena_alloc(arena, n);
    x.layers = base_arena_alloc(arena, n);
    x.same = base_arena_alloc(arena, n * sizeof *x.same);
    x.made = base_arena_alloc(arena, n * sizeof *x.made);
    memset(x.used, 0, n);
    x.twin = base_arena_alloc(arena, n);
    memset(x.layers, 0, n);
    memset(x.twin, 0, n);
    memset(x.same, 0, n * sizeof *x.same);
    memset(x.made, 0, n * sizeof *x.made);
    opt_sink_uses(&x);
    return opt_rebuild_run(&b, arena);
}
