/* opt_gen_string.c: string loops for tests of the optimiser (opt_gen.h).
 * SPDX-License-Identifier: Apache-2.0
 *
 * One to three loops in a row that copy, fill, search or compare the memory, in the shapes that C
 * libraries and compilers make of them: by bytes and words, unrolled, upwards and downwards, what
 * a round stores loaded by the round before, words shifted together, words with a zero byte; and
 * now and then with something in them that is not as it should be. Places lie near each other, and
 * near the end of the memory.
 *
 * Slots: x1 and x2 the pointers, x3 the limit, x4 and x5 constants of a trick, x6 the value looked
 * for or stored, x7, x8 and x10 to x15 what is loaded, x0 anything.
 */
#include "opt_gen.h"

#include "ir/ir_priv.h"

enum { OS_A = 1, OS_B, OS_LIMIT, OS_K1, OS_K2, OS_VALUE, OS_BASE = 9 };
enum os_kind {
    OS_COPY, OS_AHEAD, OS_FUNNEL, OS_FILL, OS_COPYZ, OS_FIND, OS_SPAN, OS_WORDS, OS_MATCH, OS_KINDS
};

struct os {
    struct ir_func *f;
    const uint8_t *p, *end;
    uint64_t pc;
    ir_ref top;
    unsigned ty, width, unroll;
    int64_t step;
    bool zext, odd, zero, match_zero;
};

static unsigned os_pick(struct os *g, unsigned n)
{
    return (g->p < g->end ? *g->p++ : 0) % n;
}

static void os_imark(struct os *g)
{
    ir_imark(g->f, g->pc, 4);
    g->pc += 4;
}

static void os_set(struct os *g, unsigned slot, ir_ref v)
{
    os_imark(g);
    ir_put(g->f, slot, v);
}

static ir_ref os_number(struct os *g, uint64_t v)
{
    return ir_ki(g->f, IR_I64, v);
}

static ir_ref os_sum(struct os *g, unsigned slot, uint64_t by)
{
    return ir_op2(g->f, IR_ADD, IR_I64, ir_get(g->f, slot), os_number(g, by));
}

static unsigned os_temp(unsigned k)
{
    static const uint8_t slot[] = {7, 8, 10, 11, 12, 13, 14, 15};

    return slot[k % 8];
}

static void os_side(struct os *g, ir_ref cond)
{
    ir_emit(g->f, IR_SIDE, IR_NONE, 0, cond, ir_kaddr(g->f, 0x40000 + g->pc), 0);
}

/* ---- guest instructions ---------------------------------------------- */

static void os_load(struct os *g, unsigned slot, unsigned base, int32_t disp)
{
    ir_ref v;

    os_imark(g);
    v = ir_ld(g->f, g->ty, IR_AS_GUEST, ir_get(g->f, base), disp);
    if (g->ty != IR_I64) v = ir_op1(g->f, g->zext ? IR_ZEXT : IR_SEXT, IR_I64, v);
    ir_put(g->f, slot, v);
}

static void os_store(struct os *g, unsigned slot, unsigned base, int32_t disp)
{
    ir_ref v;

    os_imark(g);
    v = ir_get(g->f, slot);
    if (g->ty != IR_I64) v = ir_op1(g->f, IR_TRUNC, g->ty, v);
    ir_st(g->f, IR_AS_GUEST, ir_get(g->f, base), disp, v);
}

static void os_leave_if(struct os *g, unsigned cc, ir_ref a, ir_ref b)
{
    os_imark(g);
    os_side(g, ir_cmp(g->f, cc, a, b));
}

/* Leaves if the word in slot, or its difference from a pattern, has a zero byte. */
static void os_leave_if_zero_byte(struct os *g, unsigned slot, bool pattern)
{
    struct ir_func *f = g->f;
    ir_ref w = ir_get(f, slot), v;

    if (pattern) w = ir_op2(f, IR_XOR, IR_I64, w, ir_get(f, OS_VALUE));
    v = ir_op2(f, IR_AND, IR_I64, ir_op2(f, IR_ADD, IR_I64, w, ir_get(f, OS_K1)),
               ir_op1(f, IR_NOT, IR_I64, w));
    v = ir_op2(f, IR_AND, IR_I64, v, ir_get(f, OS_K2));
    os_leave_if(g, IR_NE, v, os_number(g, 0));
}

/* ---- rounds ---------------------------------------------------------- */

/* Where access k of a round is. */
static int32_t os_at(const struct os *g, unsigned k)
{
    unsigned n = g->step < 0 ? g->unroll - 1 - k : k;

    return (int32_t)(n * g->width) + (g->odd && k == 1 ? 1 : 0);
}

static void os_copies(struct os *g, bool zero)
{
    bool together = os_pick(g, 2);

    for (unsigned k = 0; k < g->unroll; k++) {
        os_load(g, os_temp(k), OS_B, os_at(g, k));
        if (zero && os_pick(g, 2)) os_leave_if(g, IR_EQ, ir_get(g->f, os_temp(k)), os_number(g, 0));
        if (!together || g->unroll > 8) os_store(g, os_temp(k), OS_A, os_at(g, k));
        if (zero) os_leave_if(g, IR_EQ, ir_get(g->f, os_temp(k)), os_number(g, 0));
    }
    for (unsigned k = 0; together && g->unroll <= 8 && k < g->unroll; k++)
        os_store(g, os_temp(k), OS_A, os_at(g, k));
}

/* x7 and x8 in turn have the word that the round before (or the one before it) loaded. */
static void os_copies_ahead(struct os *g, bool funnel)
{
    int32_t next = g->step < 0 ? -8 : 8;
    struct ir_func *f = g->f;

    for (unsigned k = 0; k < g->unroll; k++) {
        unsigned here = 7 + k % 2, there = 7 + (k + 1) % 2;

        os_load(g, there, OS_B, os_at(g, k) + next);
        if (funnel) {
            unsigned low = g->step < 0 ? there : here, high = g->step < 0 ? here : there;
            ir_ref l = ir_op2(f, IR_SHR, IR_I64, ir_get(f, low), ir_get(f, OS_K1));
            ir_ref h = ir_op2(f, IR_SHL, IR_I64, ir_get(f, high), ir_get(f, OS_K2));

            os_set(g, 10, os_pick(g, 2) ? ir_op2(f, IR_OR, IR_I64, l, h)
                                        : ir_op2(f, IR_OR, IR_I64, h, l));
        }
        os_store(g, funnel ? 10 : here, OS_A, os_at(g, k));
    }
}

static void os_searches(struct os *g, unsigned kind)
{
    struct ir_func *f = g->f;
    bool pattern = os_pick(g, 3) > 0;

    for (unsigned k = 0; k < g->unroll; k++) {
        unsigned slot = os_temp(k);

        os_load(g, slot, OS_B, os_at(g, k));
        if (kind == OS_WORDS) {
            os_leave_if_zero_byte(g, slot, pattern);
            if (g->zero) os_leave_if_zero_byte(g, slot, false);
        } else {
            os_leave_if(g, kind == OS_SPAN ? IR_NE : IR_EQ, ir_get(f, slot), ir_get(f, OS_VALUE));
            if (g->zero) os_leave_if(g, IR_EQ, ir_get(f, slot), os_number(g, 0));
        }
    }
}

static void os_matches(struct os *g)
{
    struct ir_func *f = g->f;

    for (unsigned k = 0; k < g->unroll; k++) {
        ir_ref a, b;

        os_load(g, 7, OS_A, os_at(g, k));
        os_load(g, 8, OS_B, os_at(g, k));
        a = ir_get(f, 7);
        b = ir_get(f, 8);
        if (g->odd && g->ty != IR_I64) {
            a = ir_op2(f, IR_SUB, IR_I32, ir_op1(f, IR_TRUNC, IR_I32, a),
                       ir_op1(f, IR_TRUNC, IR_I32, b));
            os_set(g, 0, ir_op1(f, IR_SEXT, IR_I64, a));
            os_leave_if(g, IR_NE, ir_get(f, 0), os_number(g, 0));
        } else {
            os_leave_if(g, IR_NE, a, b);
        }
        if (!g->match_zero) continue;
        if (g->width == 8)
            os_leave_if_zero_byte(g, 7 + os_pick(g, 2), false);
        else
            os_leave_if(g, IR_EQ, ir_get(f, 7), os_number(g, 0));
    }
}

/* ---- loops ----------------------------------------------------------- */

/* What the loop needs in slots. */
static void os_before(struct os *g, unsigned kind, unsigned *limit)
{
    static const uint64_t values[] = {0, 0xff, 0x61, 0x6161616161616161, 0xffffffffffffffff, 0x100};
    uint64_t a = os_pick(g, 255) * 4 + os_pick(g, 9), b = os_pick(g, 255) * 4 + os_pick(g, 9);
    unsigned s = 8 * (1 + os_pick(g, 7)), rounds = os_pick(g, 3) ? os_pick(g, 200) : os_pick(g, 9);
    bool trick = kind == OS_FUNNEL, off = os_pick(g, 16) == 15;

    if (kind == OS_MATCH && os_pick(g, 2)) b = a;
    if (os_pick(g, 8) == 7) b = a + 0x600;
    if (os_pick(g, 8) == 7) a = b + os_pick(g, 160);
    os_set(g, OS_A, os_sum(g, OS_BASE, g->step < 0 ? a + 512 : a));
    os_set(g, OS_B, os_sum(g, OS_BASE, g->step < 0 ? b + 512 : b));
    if (kind == OS_FUNNEL)
        os_set(g, OS_B, ir_op2(g->f, IR_AND, IR_I64, ir_get(g->f, OS_B),
                               os_number(g, ~(uint64_t)(off ? 0 : 7))));
    *limit = os_pick(g, 4);
    os_set(g, OS_LIMIT, *limit ? os_sum(g, OS_B, (uint64_t)g->step * (rounds + 1))
                               : os_number(g, 2 * (uint64_t)(rounds + 1)));
    os_set(g, OS_K1, os_number(g, trick ? s + (off ? 3 : 0) : 0xfefefefefefefeff));
    os_set(g, OS_K2, os_number(g, trick ? 64 - s : off ? 0x80808080 : 0x8080808080808080));
    os_set(g, OS_VALUE, os_number(g, values[os_pick(g, 6)]));
    if (kind == OS_AHEAD || kind == OS_FUNNEL)
        os_load(g, 7, OS_B, os_at(g, 0));
}

static void os_round(struct os *g, unsigned kind)
{
    switch (kind) {
    case OS_COPY: os_copies(g, false); break;
    case OS_COPYZ: os_copies(g, true); break;
    case OS_AHEAD: os_copies_ahead(g, false); break;
    case OS_FUNNEL: os_copies_ahead(g, true); break;
    case OS_FILL:
        for (unsigned k = 0; k < g->unroll; k++) os_store(g, OS_VALUE, OS_A, os_at(g, k));
        break;
    case OS_MATCH: os_matches(g); break;
    default: os_searches(g, kind); break;
    }
}

/* The loop's end: moves the pointers on and decides. */
static ir_ref os_after(struct os *g, unsigned kind, unsigned limit)
{
    bool search = kind >= OS_COPYZ;

    os_set(g, OS_A, os_sum(g, OS_A, (uint64_t)g->step));
    os_set(g, OS_B, os_sum(g, OS_B, (uint64_t)g->step));
    if (!limit) os_set(g, OS_LIMIT, os_sum(g, OS_LIMIT, ~(uint64_t)1));
    os_imark(g);
    ir_emit(g->f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    if (!limit) return ir_cmp(g->f, IR_NE, ir_get(g->f, OS_LIMIT), os_number(g, 0));
    if (limit == 1 && search) return IR_NIL; /* what is found ends it, or a fault */
    if (limit == 2)
        return ir_cmp(g->f, g->step < 0 ? IR_GTU : IR_LTU, ir_get(g->f, OS_B),
                      ir_get(g->f, OS_LIMIT));
    return ir_cmp(g->f, IR_NE, ir_get(g->f, OS_B), ir_get(g->f, OS_LIMIT));
}

static void os_loop(struct os *g)
{
    static const uint8_t types[] = {IR_I8, IR_I8, IR_I16, IR_I32, IR_I64, IR_I64};
    unsigned kind = os_pick(g, OS_KINDS), limit;
    ir_ref entry, top, cond, br;

    g->ty = types[os_pick(g, 6)];
    if (kind == OS_AHEAD || kind == OS_FUNNEL || kind == OS_WORDS) g->ty = IR_I64;
    g->width = ir_type_bits(g->ty) / 8;
    g->unroll = os_pick(g, 3) ? 1u << os_pick(g, 4) : 1;
    if ((kind == OS_AHEAD || kind == OS_FUNNEL) && g->unroll == 1) g->unroll = 2;
    g->step = (int64_t)g->width * g->unroll;
    if (os_pick(g, 3) == 2) g->step = -g->step;
    g->zext = os_pick(g, 2);
    g->odd = os_pick(g, 12) == 11;
    g->zero = os_pick(g, 3) == 2;
    g->match_zero = os_pick(g, 2);
    os_before(g, kind, &limit);
    entry = ir_emit(g->f, IR_JMP, IR_NONE, 0, 0, 0, 0);
    top = ir_emit(g->f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    g->f->ins[entry].a = top;
    os_round(g, kind);
    cond = os_after(g, kind, limit);
    if (!cond) { /* for ever: some other way out must be seen to lead on */
        cond = ir_cmp(g->f, IR_NE, ir_get(g->f, OS_B), os_number(g, 1));
    }
    br = ir_emit(g->f, IR_BR, IR_NONE, 0, cond, top, 0);
    g->f->ins[br].c = ir_emit(g->f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
}

void opt_gen_string(struct ir_func *f, const uint8_t *bytes, size_t n)
{
    struct os g = {.f = f, .p = bytes, .end = bytes + n};
    ir_ref entry = ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0);

    g.pc = f->key = 0x10000;
    f->ins[entry].a = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
    for (unsigned loops = 1 + os_pick(&g, 3); loops; loops--) os_loop(&g);
    os_imark(&g);
    ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(f, 0x30000), 0, 0);
}
