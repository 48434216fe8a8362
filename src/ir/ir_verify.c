/* ir_verify.c: checks every rule of the IR. SPDX-License-Identifier: Apache-2.0
 *
 * Four steps, each relying on the ones before:
 *  1. constants: kind, type and value agree;
 *  2. every instruction for itself: operation, type, aux, operands that exist, come before it
 *     and have the right types;
 *  3. structure: blocks end once, PHIs match predecessors, what can fault has an IMARK and
 *     comes before its guest instruction's PUTs;
 *  4. for functions of several blocks: definitions dominate uses.
 * The first violation is reported with the text of the instruction.
 */
#include "ir/ir_priv.h"

#include <inttypes.h>
#include <stdlib.h>

struct ir_verifier {
    const struct ir_func *f;
    struct base_text *error;
    ir_ref at; /* instruction being checked, or IR_NIL */
};

static bool ir_bad(struct ir_verifier *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool ir_bad(struct ir_verifier *v, const char *fmt, ...)
{
    va_list ap;

    if (!v->error) return false;
    if (v->at) {
        base_text_printf(v->error, "'");
        ir_print_ins(v->f, v->at, v->error);
        base_text_printf(v->error, "'");
        if (!ir_is_const(v->at) && v->f->ins[v->at].ty == IR_NONE)
            base_text_printf(v->error, " (instruction %" PRIu32 ")", v->at - IR_BIAS);
        base_text_printf(v->error, ": ");
    }
    va_start(ap, fmt);
    base_text_vprintf(v->error, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- constants ------------------------------------------------------- */

static bool ir_check_const(struct ir_verifier *v, ir_ref r)
{
    const struct ir_ins *i = &v->f->ins[r];

    v->at = r;
    if (i->op >= IR_OP_COUNT || ir_ops[i->op].cls != IR_CLASS_K)
        return ir_bad(v, "operation %u among the constants", i->op);
    if (i->ty >= IR_TYPE_COUNT || !(ir_ops[i->op].types >> i->ty & 1))
        return ir_bad(v, "type %s is not allowed here", ir_type_name(i->ty));
    if (i->aux || i->c) return ir_bad(v, "unused field is not 0");
    if (ir_kval(v->f, r) & ~ir_mask(i->ty)) return ir_bad(v, "bits above the type are set");
    return true;
}

/* ---- single instructions --------------------------------------------- */

static const char ir_operand_name[3] = {'a', 'b', 'c'};

static bool ir_check_ref(struct ir_verifier *v, ir_ref r, unsigned want, char operand)
{
    unsigned type;

    if (!ir_valid(v->f, r)) return ir_bad(v, "operand %c is missing or out of range", operand);
    if (!ir_is_const(r) && r >= v->at)
        return ir_bad(v, "operand %c is not defined before", operand);
    type = ir_ty(v->f, r);
    if (type == IR_NONE) return ir_bad(v, "operand %c has no value", operand);
    if (want != IR_NONE && type != want)
        return ir_bad(v, "operand %c has type %s, %s wanted", operand, ir_type_name(type),
                      ir_type_name(want));
    return true;
}

static bool ir_check_operands(struct ir_verifier *v, const struct ir_ins *i)
{
    const uint32_t operand[3] = {i->a, i->b, i->c};
    const struct ir_func *f = v->f;

    for (unsigned n = 0; n < 3; n++) {
        char name = ir_operand_name[n];
        bool optional = i->op == IR_HELPER || (i->op == IR_EXIT && n == 1);

        switch (ir_ops[i->op].opd[n]) {
        case IR_OPD__:
            if (operand[n]) return ir_bad(v, "unused operand %c is not 0", name);
            break;
        case IR_OPD_R:
        case IR_OPD_A:
        case IR_OPD_I:
        case IR_OPD_C:
            if (optional && operand[n] == IR_NIL) break;
            if (!ir_check_ref(v, operand[n], ir_operand_type(f, i, n), name)) return false;
            break;
        case IR_OPD_S:
            if (operand[n] >= ir_nslots(f))
                return ir_bad(v, "slot %" PRIu32 " out of range", operand[n]);
            break;
        case IR_OPD_B:
            if (operand[n] < IR_BIAS || operand[n] >= f->nins || f->ins[operand[n]].op != IR_BLOCK)
                return ir_bad(v, "operand %c is not a block", name);
            break;
        default: /* literals, extra: with the operation */ break;
        }
    }
    return true;
}

/* aux must be what its words can say */
static bool ir_check_aux(struct ir_verifier *v, const struct ir_ins *i)
{
    const struct ir_aux_word *w = ir_aux_words(i->op);
    unsigned got = 0, choices = 0, met = 0;

    if (!(ir_ops[i->op].flags & IR_F_AUX) && i->aux) return ir_bad(v, "aux is not 0");
    for (; w && w->word; w++) {
        choices |= w->always ? w->mask : 0;
        if ((i->aux & w->mask) == w->value) {
            got |= w->value;
            met |= w->always ? w->mask : 0;
        }
    }
    if (ir_aux_words(i->op) && (got != i->aux || met != choices))
        return ir_bad(v, "aux %u has no meaning", i->aux);
    if (i->op != IR_SC && i->aux & IR_SC_CONSTRAINED && ir_aux_words(i->op) == ir_aux_words(IR_SC))
        return ir_bad(v, "only sc can be constrained");
    if (i->op == IR_LD && (i->aux & IR_SEQ_CST) == IR_RELEASE)
        return ir_bad(v, "a load cannot release");
    if (i->op == IR_ST && (i->aux & IR_SEQ_CST) == IR_ACQUIRE)
        return ir_bad(v, "a store cannot acquire");
    if (i->op == IR_HELPER && v->f->guest && i->aux >= v->f->guest->nhelpers)
        return ir_bad(v, "the guest has no helper %u", i->aux);
    return true;
}

/* Relations between types that the table cannot say. Operands are valid. */
static bool ir_check_types(struct ir_verifier *v, const struct ir_ins *i)
{
    const struct ir_func *f = v->f;
    unsigned ta = ir_valid(f, i->a) ? ir_ty(f, i->a) : IR_NONE;
    unsigned ba = ta < IR_TYPE_COUNT ? ir_bits(ta) : 0, bits = ir_bits(i->ty), tb;

    switch (i->op) {
    case IR_SEXT:
    case IR_ZEXT:
        if (!ir_is_int(ta) || ba >= bits)
            return ir_bad(v, "%s is not a narrower integer type", ir_type_name(ta));
        break;
    case IR_TRUNC:
        if (!ir_is_int(ta) || ba <= bits)
            return ir_bad(v, "%s is not a wider integer type", ir_type_name(ta));
        break;
    case IR_BITCAST:
        if (ba != bits || ta == IR_REF || i->ty == IR_REF)
            return ir_bad(v, "%s is not of the same width, or a reference", ir_type_name(ta));
        break;
    case IR_CMP:
        if (!ir_is_int(ta) && !(ta == IR_REF && i->aux <= IR_NE))
            return ir_bad(v, "%s cannot be compared so", ir_type_name(ta));
        break;
    case IR_FCMP:
    case IR_FCLASS:
    case IR_FCVTFF:
    case IR_FCVTFI:
        if (!ir_is_float(ta))
            return ir_bad(v, "operand a has type %s, a float wanted", ir_type_name(ta));
        if (i->op == IR_FCVTFI && bits < 32) return ir_bad(v, "converts to i32 or i64 only");
        if (i->op == IR_FCVTFF && ta == i->ty) return ir_bad(v, "converts to the same type");
        break;
    case IR_FCVTIF:
        if (ta != IR_I32 && ta != IR_I64)
            return ir_bad(v, "operand a has type %s, i32 or i64 wanted", ir_type_name(ta));
        break;
    case IR_FCVTMOD:
        if (ta != IR_F64) return ir_bad(v, "operand a has type %s, f64 wanted", ir_type_name(ta));
        break;
    case IR_FBOX:
        if (i->ty != IR_F64 || (ta != IR_F16 && ta != IR_F32))
            return ir_bad(v, "boxes f16 or f32 into f64 only");
        break;
    case IR_FUNBOX:
    case IR_FLOW:
        if (ta != IR_F64 || i->ty == IR_F64) return ir_bad(v, "takes f16 or f32 out of f64 only");
        break;
    case IR_SC:
        tb = ir_ty(f, i->b);
        if (tb != IR_I32 && tb != IR_I64)
            return ir_bad(v, "operand b has type %s, i32 or i64 wanted", ir_type_name(tb));
        break;
    case IR_LR:
        if (bits < 32) return ir_bad(v, "loads i32 or i64 only");
        break;
    case IR_ST:
        tb = ir_ty(f, i->c);
        if (!(ir_ops[IR_LD].types >> tb & 1))
            return ir_bad(v, "type %s cannot be stored", ir_type_name(tb));
        break;
    case IR_FLSET:
    case IR_RMSET:
        if (!ir_is_int(ta) || ta == IR_I1)
            return ir_bad(v, "operand a has type %s, an integer wanted", ir_type_name(ta));
        break;
    default: break;
    }
    return true;
}

static bool ir_check_special(struct ir_verifier *v, const struct ir_ins *i)
{
    const struct ir_func *f = v->f;

    switch (i->op) {
    case IR_IMARK:
        if (i->c || !i->aux) return ir_bad(v, "length 0");
        break;
    case IR_GET:
        if (i->ty != ir_slot_type(f, i->a))
            return ir_bad(v, "the slot has type %s", ir_type_name(ir_slot_type(f, i->a)));
        break;
    case IR_PUT:
        if (i->c && !ir_check_ref(v, i->c, ir_slot_type(f, i->a), 'c')) return false;
        break;
    case IR_EXIT:
        if ((i->aux == IR_EXIT_CALL) != (i->b != IR_NIL))
            return ir_bad(v, "a call, and only a call, has a return address");
        break;
    case IR_SIDE:
    case IR_TRAP: {
        ir_ref place = i->op == IR_SIDE ? i->b : i->a;

        if (f->ins[place].op != IR_KADDR)
            return ir_bad(v, "the place must be a constant guest address");
        break;
    }
    case IR_PHI:
        if (!i->b || i->a > f->nextra || i->b > (f->nextra - i->a) / 2)
            return ir_bad(v, "operand list out of range");
        break;
    default: break;
    }
    return true;
}

static bool ir_check_ins(struct ir_verifier *v, ir_ref r)
{
    const struct ir_ins *i = &v->f->ins[r];

    v->at = r;
    if (i->op >= IR_OP_COUNT) return ir_bad(v, "no such operation");
    if (ir_ops[i->op].cls == IR_CLASS_K) return ir_bad(v, "constant among the instructions");
    if (i->ty >= IR_TYPE_COUNT || !(ir_ops[i->op].types >> i->ty & 1))
        return ir_bad(v, "type %s is not allowed here", ir_type_name(i->ty));
    return ir_check_operands(v, i) && ir_check_aux(v, i) && ir_check_types(v, i) &&
           ir_check_special(v, i);
}

/* ---- structure ------------------------------------------------------- */

static bool ir_is_end(unsigned op)
{
    return op == IR_JMP || op == IR_BR || op == IR_EXIT || op == IR_TRAP;
}

/* A helper faults only if it touches guest memory. */
static bool ir_may_fault(const struct ir_func *f, const struct ir_ins *i)
{
    if (i->op == IR_HELPER) return f->guest && f->guest->helpers[i->aux].effects & IR_HELPER_MEM;
    return ir_ops[i->op].flags & IR_F_FAULT;
}

static bool ir_check_order(struct ir_verifier *v)
{
    const struct ir_func *f = v->f;
    bool ended = false, phis = false, marked = false, put = false;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];

        v->at = r;
        if (i->op == IR_BLOCK) {
            if (!ended)
                return ir_bad(v, "the block before does not end with jmp, br, exit or trap");
            ended = marked = put = false;
            phis = true;
            continue;
        }
        if (ended) return ir_bad(v, "instruction after the end of its block");
        if (i->op == IR_PHI && !phis) return ir_bad(v, "phi is not first in its block");
        phis &= i->op == IR_PHI;
        ended = ir_is_end(i->op);
        if (i->op == IR_IMARK) {
            marked = true;
            put = false;
        }
        put |= i->op == IR_PUT;
        if (ir_may_fault(f, i)) {
            if (!marked) return ir_bad(v, "may fault, but no imark of its block is before it");
            if (put) return ir_bad(v, "may fault after a put of the same guest instruction");
        }
    }
    v->at = IR_NIL;
    return ended || ir_bad(v, "the function does not end with jmp, br, exit or trap");
}

/* ---- blocks ---------------------------------------------------------- */

/* The graph of blocks. Blocks are numbered in order of position, 0 is the entry. */
struct ir_graph {
    unsigned n;
    ir_ref *first;   /* BLOCK of each, IR_NIL for the entry */
    uint32_t *succ;  /* two each, or UINT32_MAX */
    uint32_t *idom;  /* immediate dominator */
    uint32_t *post;  /* postorder number, UINT32_MAX if unreachable */
    uint32_t *order; /* blocks by falling postorder number */
    uint32_t *of;    /* block of each instruction, by ref - IR_BIAS */
    unsigned norder;
};

static void ir_graph_free(struct ir_graph *g)
{
    free(g->first);
    free(g->succ);
    free(g->idom);
    free(g->post);
    free(g->order);
    free(g->of);
}

static void ir_graph_new(struct ir_graph *g, const struct ir_func *f)
{
    unsigned count = f->nins - IR_BIAS, b = 0;

    g->of = base_alloc((count + 1) * sizeof *g->of);
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        b += f->ins[r].op == IR_BLOCK;
        g->of[r - IR_BIAS] = b;
    }
    g->n = b + 1;
    g->first = base_zalloc(g->n * sizeof *g->first);
    g->succ = base_alloc(2 * g->n * sizeof *g->succ);
    g->idom = base_alloc(g->n * sizeof *g->idom);
    g->post = base_alloc(g->n * sizeof *g->post);
    g->order = base_alloc(g->n * sizeof *g->order);
    memset(g->succ, 0xff, 2 * g->n * sizeof *g->succ);
    memset(g->idom, 0xff, g->n * sizeof *g->idom);
    memset(g->post, 0xff, g->n * sizeof *g->post);
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        uint32_t *succ = g->succ + 2 * g->of[r - IR_BIAS];

        if (i->op == IR_BLOCK) g->first[g->of[r - IR_BIAS]] = r;
        if (i->op == IR_JMP) succ[0] = g->of[i->a - IR_BIAS];
        if (i->op == IR_BR) {
            succ[0] = g->of[i->b - IR_BIAS];
            if (i->c != i->b) succ[1] = g->of[i->c - IR_BIAS];
        }
    }
}

/* Numbers reachable blocks in postorder, without recursion. */
static void ir_graph_walk(struct ir_graph *g)
{
    uint32_t *stack = base_alloc(g->n * sizeof *stack), depth = 0, number = 0;
    uint8_t *next = base_zalloc(g->n);
    bool *seen = base_zalloc(g->n * sizeof *seen);

    stack[depth++] = 0;
    seen[0] = true;
    while (depth) {
        uint32_t b = stack[depth - 1], to;

        if (next[b] == 2) {
            g->post[b] = number++;
            depth--;
            continue;
        }
        to = g->succ[2 * b + next[b]++];
        if (to != UINT32_MAX && !seen[to]) {
            seen[to] = true;
            stack[depth++] = to;
        }
    }
    g->norder = number;
    for (uint32_t b = 0; b < g->n; b++)
        if (g->post[b] != UINT32_MAX) g->order[number - 1 - g->post[b]] = b;
    free(stack);
    free(next);
    free(seen);
}

static uint32_t ir_graph_meet(const struct ir_graph *g, uint32_t a, uint32_t b)
{
    while (a != b) {
        while (g->post[a] < g->post[b]) a = g->idom[a];
        while (g->post[b] < g->post[a]) b = g->idom[b];
    }
    return a;
}

/* Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm. Pushes along successors. */
static void ir_graph_dominators(struct ir_graph *g)
{
    bool changed = true;

    g->idom[0] = 0;
    while (changed) {
        changed = false;
        for (unsigned k = 0; k < g->norder; k++) {
            uint32_t b = g->order[k];

            for (unsigned e = 0; e < 2; e++) {
                uint32_t to = g->succ[2 * b + e], dom;

                if (to == UINT32_MAX || to == 0) continue;
                dom = g->idom[to] == UINT32_MAX ? b : ir_graph_meet(g, g->idom[to], b);
                changed |= dom != g->idom[to];
                g->idom[to] = dom;
            }
        }
    }
}

static bool ir_dominates(const struct ir_graph *g, uint32_t a, uint32_t b)
{
    while (g->post[b] < g->post[a]) b = g->idom[b];
    return a == b;
}

/* The value must be available at the end of block `where` (for PHIs), or in it before v->at. */
static bool ir_check_dominance(struct ir_verifier *v, const struct ir_graph *g, ir_ref r,
                               uint32_t where, char operand)
{
    if (ir_is_const(r) || ir_dominates(g, g->of[r - IR_BIAS], where)) return true;
    return ir_bad(v, "operand %c is not defined on every way here", operand);
}

static bool ir_check_phi(struct ir_verifier *v, const struct ir_graph *g, const struct ir_ins *i)
{
    const struct ir_func *f = v->f;
    uint32_t here = g->of[v->at - IR_BIAS], preds = 0;

    for (uint32_t b = 0; b < g->n; b++)
        preds += g->succ[2 * b] == here || g->succ[2 * b + 1] == here;
    if (preds != i->b)
        return ir_bad(v, "%" PRIu32 " operands, but the block has %" PRIu32 " predecessors", i->b,
                      preds);
    for (uint32_t n = 0; n < i->b; n++) {
        ir_ref from = f->extra[i->a + 2 * n], value = f->extra[i->a + 2 * n + 1];
        uint32_t b = 0;

        if (from != IR_NIL) {
            if (from < IR_BIAS || from >= f->nins || f->ins[from].op != IR_BLOCK)
                return ir_bad(v, "operand %" PRIu32 " does not name a block", n);
            b = g->of[from - IR_BIAS];
        }
        if (g->succ[2 * b] != here && g->succ[2 * b + 1] != here)
            return ir_bad(v, "operand %" PRIu32 " names a block that is no predecessor", n);
        for (uint32_t m = 0; m < n; m++)
            if (f->extra[i->a + 2 * m] == from)
                return ir_bad(v, "operand %" PRIu32 " names a block twice", n);
        if (!ir_valid(f, value) || ir_ty(f, value) != i->ty)
            return ir_bad(v, "operand %" PRIu32 " is not a value of type %s", n,
                          ir_type_name(i->ty));
        if (!ir_check_dominance(v, g, value, b, (char)('0' + n % 10))) return false;
    }
    return true;
}

static bool ir_check_uses(struct ir_verifier *v, const struct ir_graph *g)
{
    const struct ir_func *f = v->f;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        const uint32_t operand[3] = {i->a, i->b, i->c};
        uint32_t here = g->of[r - IR_BIAS];

        v->at = r;
        if (i->op == IR_BLOCK && g->post[here] == UINT32_MAX)
            return ir_bad(v, "the block is never reached");
        if (i->op == IR_PHI) {
            if (!ir_check_phi(v, g, i)) return false;
            continue;
        }
        for (unsigned n = 0; n < 3; n++) {
            unsigned kind = ir_ops[i->op].opd[n];

            if (kind >= IR_OPD_R && kind <= IR_OPD_C && kind != IR_OPD_L &&
                !ir_check_dominance(v, g, operand[n], here, ir_operand_name[n]))
                return false;
        }
    }
    return true;
}

/* ---- entry point ----------------------------------------------------- */

bool ir_verify(const struct ir_func *f, struct base_text *error)
{
    struct ir_verifier v = {f, error, IR_NIL};
    struct ir_graph g = {0};
    bool ok, blocks = false;

    if (f->nk > IR_BIAS || f->nk < IR_BIAS - IR_MAX_CONSTS || f->nins < IR_BIAS ||
        f->nins > IR_BIAS + IR_MAX_INS)
        return ir_bad(&v, "limits exceeded");
    for (ir_ref r = f->nk; r < IR_BIAS; r++)
        if (!ir_check_const(&v, r)) return false;
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        if (!ir_check_ins(&v, r)) return false;
        blocks |= f->ins[r].op == IR_BLOCK || f->ins[r].op == IR_PHI;
    }
    if (!ir_check_order(&v)) return false;
    if (!blocks) return true;
    ir_graph_new(&g, f);
    ir_graph_walk(&g);
    ir_graph_dominators(&g);
    ok = ir_check_uses(&v, &g);
    ir_graph_free(&g);
    return ok;
}
