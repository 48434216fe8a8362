/* opt_range.c: how many bits of each integer matter. SPDX-License-Identifier: Apache-2.0
 *
 * For every integer value two numbers: it is the sign extension of its low `s` bits, and it is
 * below 2^u as an unsigned number. With s = 32 a 64-bit value is one that a 32-bit instruction
 * of a 64-bit guest left in its register; with u = 8 it is a byte.
 *
 * A forward analysis over the blocks in order, optimistic at PHIs: an input that has not been seen
 * counts as nothing. Numbers only grow, and a PHI that goes on growing jumps to the next size of
 * register, then to its whole width, so the passes over the function are few.
 */
#include "opt/opt_range.h"

enum { OPT_RANGE_SLOW = 3, OPT_RANGE_STOP = 12 }; /* passes after which PHIs jump, and give up */

static struct opt_range opt_range_of_k(unsigned bits, uint64_t v)
{
    int64_t sv = base_sext(v, bits);
    uint64_t magnitude = (uint64_t)(sv < 0 ? ~sv : sv);
    struct opt_range r;

    r.s = (uint8_t)(magnitude ? 65 - __builtin_clzll(magnitude) : 1);
    r.u = (uint8_t)(v ? 64 - __builtin_clzll(v) : 0);
    return r;
}

struct opt_range opt_range(const struct ir_func *f, const struct opt_range *ranges, ir_ref r)
{
    unsigned bits = ir_type_bits(f->ins[r].ty);

    if (!ir_is_const(r)) return ranges[r - IR_BIAS];
    if (f->ins[r].op != IR_KI) return (struct opt_range){(uint8_t)bits, (uint8_t)bits};
    return opt_range_of_k(bits, ir_kval(f, r));
}

/* ---- one operation --------------------------------------------------- */

static unsigned opt_most(unsigned a, unsigned b)
{
    return a > b ? a : b;
}
static unsigned opt_least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The constant amount of a shift, or -1. */
static int opt_range_amount(const struct ir_func *f, const struct ir_ins *i, unsigned bits)
{
    if (!ir_is_const(i->b) || f->ins[i->b].op != IR_KI) return -1;
    return (int)(ir_kval(f, i->b) & (bits - 1));
}

static void opt_range_shift(const struct ir_func *f, const struct ir_ins *i, struct opt_range a,
                            unsigned bits, unsigned *s, unsigned *u)
{
    int by = opt_range_amount(f, i, bits);
    unsigned n = by < 0 ? 0 : (unsigned)by;

    switch (i->op) {
    case IR_SHL:
        if (by < 0) return;
        *s = a.s + n;
        *u = a.u + n;
        break;
    case IR_SHR:
        *u = a.u > n ? a.u - n : 0;
        if (n == 0) *s = a.u < bits ? a.s : bits;
        break;
    default: /* SAR */
        *s = a.s > n ? a.s - n : 1;
        if (a.u < bits) *u = a.u > n ? a.u - n : 0;
        break;
    }
}

/* A division by a constant that is neither 0 nor -1 does not make numbers longer. */
static void opt_range_divide(const struct ir_func *f, const struct ir_ins *i, struct opt_range a,
                             unsigned bits, unsigned *s, unsigned *u)
{
    bool plain = ir_is_const(i->b) && f->ins[i->b].op == IR_KI && ir_kval(f, i->b) != 0;
    uint64_t k = plain ? ir_kval(f, i->b) : 0;

    switch (i->op) {
    case IR_DIVU:
        if (plain) *u = a.u;
        break;
    case IR_REMU: *u = plain ? opt_least(a.u, opt_range_of_k(bits, k - 1).u) : a.u; break;
    case IR_DIVS: *s = plain && base_sext(k, bits) != -1 ? a.s : a.s + 1u; break;
    default: *s = a.s; break; /* REMS */
    }
}

/* Of operations with two operands; s and u hold the type's width before. */
static void opt_range_two(const struct ir_func *f, const struct ir_ins *i, struct opt_range a,
                          struct opt_range b, unsigned bits, unsigned *s, unsigned *u)
{
    switch (i->op) {
    case IR_ADD:
        *s = opt_most(a.s, b.s) + 1;
        *u = opt_most(a.u, b.u) + 1;
        break;
    case IR_SUB: *s = opt_most(a.s, b.s) + 1; break;
    case IR_MUL:
        *s = a.s + b.s;
        *u = a.u + b.u;
        break;
    case IR_AND:
        *s = opt_most(a.s, b.s);
        *u = opt_least(a.u, b.u);
        break;
    case IR_OR:
    case IR_XOR:
    case IR_MINS:
    case IR_MAXS:
    case IR_MAXU:
        *s = opt_most(a.s, b.s);
        *u = opt_most(a.u, b.u);
        break;
    case IR_MINU:
        *s = opt_most(a.s, b.s);
        *u = opt_least(a.u, b.u);
        break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR: opt_range_shift(f, i, a, bits, s, u); break;
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: opt_range_divide(f, i, a, bits, s, u); break;
    default: break;
    }
}

static struct opt_range opt_range_ins(const struct ir_func *f, const struct opt_range *ranges,
                                      const struct ir_ins *i)
{
    unsigned bits = ir_type_bits(i->ty), s = bits, u = bits;
    struct opt_range a, b;

    switch (i->op) {
    case IR_CMP:
    case IR_FCMP: break;
    case IR_SEXT:
        a = opt_range(f, ranges, i->a);
        s = a.s;
        if (a.u < ir_type_bits(ir_ty(f, i->a))) u = a.u;
        break;
    case IR_ZEXT: u = opt_range(f, ranges, i->a).u; break;
    case IR_TRUNC:
        a = opt_range(f, ranges, i->a);
        s = a.s;
        u = a.u;
        break;
    case IR_NOT: s = opt_range(f, ranges, i->a).s; break;
    case IR_NEG: s = opt_range(f, ranges, i->a).s + 1u; break;
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPC: u = opt_range_of_k(64, bits).u; break;
    case IR_FCLASS: u = 10; break;
    case IR_FCVTMOD: s = 32; break;
    case IR_SC: u = 1; break;
    case IR_SEL:
        a = opt_range(f, ranges, i->b);
        b = opt_range(f, ranges, i->c);
        s = opt_most(a.s, b.s);
        u = opt_most(a.u, b.u);
        break;
    default:
        if (ir_ops[i->op].cls == IR_CLASS_P && ir_ops[i->op].opd[0] == IR_OPD_R &&
            ir_ops[i->op].opd[1] == IR_OPD_R && !ir_ops[i->op].opd[2])
            opt_range_two(f, i, opt_range(f, ranges, i->a), opt_range(f, ranges, i->b), bits, &s,
                          &u);
        break;
    }
    u = opt_least(u, bits);
    if (u < bits) s = opt_least(s, u + 1);
    return (struct opt_range){(uint8_t)opt_least(s, bits), (uint8_t)u};
}

/* ---- PHIs, the whole ------------------------------------------------- */

/* The next size of register, for a number that keeps growing. */
static unsigned opt_range_jump(unsigned now, unsigned was, unsigned bits, unsigned pass)
{
    if (now <= was || pass < OPT_RANGE_SLOW) return now;
    if (pass >= OPT_RANGE_STOP || now > 32) return bits;
    return opt_least(bits, now <= 8 ? 8 : now <= 16 ? 16 : now <= 31 ? 31 : 32);
}

static struct opt_range opt_range_phi(const struct ir_func *f, const struct opt_range *ranges,
                                      ir_ref r, unsigned pass)
{
    const struct ir_ins *i = &f->ins[r];
    const uint32_t *pair = f->extra + i->a;
    unsigned bits = ir_type_bits(i->ty), s = 0, u = 0;
    struct opt_range was = ranges[r - IR_BIAS];

    for (unsigned n = 0; n < i->b; n++) {
        struct opt_range v = opt_range(f, ranges, pair[2 * n + 1]);

        s = opt_most(s, v.s);
        u = opt_most(u, v.u);
    }
    if (was.s) { /* not the first time */
        s = opt_range_jump(s, was.s, bits, pass);
        u = opt_range_jump(u, was.u, bits, pass);
    }
    return (struct opt_range){(uint8_t)s, (uint8_t)u};
}

struct opt_range *opt_ranges(const struct ir_func *f, struct base_arena *arena)
{
    unsigned n = f->nins - IR_BIAS;
    struct opt_range *ranges = base_arena_alloc(arena, (n + 1) * sizeof *ranges);
    bool changed = true;

    memset(ranges, 0, (n + 1) * sizeof *ranges); /* s = 0: not seen */
    for (unsigned pass = 0; changed; pass++) {
        changed = false;
        for (ir_ref r = IR_BIAS; r < f->nins; r++) {
            const struct ir_ins *i = &f->ins[r];
            struct opt_range *at = &ranges[r - IR_BIAS], now;

            if (!ir_is_int(i->ty)) continue;
            now = i->op == IR_PHI ? opt_range_phi(f, ranges, r, pass) : opt_range_ins(f, ranges, i);
            if (now.s < at->s) now.s = at->s;
            if (now.u < at->u) now.u = at->u;
            changed |= now.s != at->s || now.u != at->u;
            *at = now;
        }
    }
    return ranges;
}
