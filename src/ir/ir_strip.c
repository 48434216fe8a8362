/* ir_strip.c: STRIP in the interpreter. SPDX-License-Identifier: Apache-2.0
 *
 * Round by round and byte by byte, which is what the operation means; how many rounds are done
 * is the executor's choice, so doing none where an access could end the process is right, too.
 */
#include "ir/ir_priv.h"

struct ir_rounds {
    const struct ir_mem *mem;
    unsigned kind, bytes, ahead;
    bool back, copies, stores;
    uint64_t a, b;
};

static uint64_t ir_strip_at(const struct ir_rounds *x, uint64_t base, uint64_t round)
{
    return x->back ? base - round * x->bytes : base + round * x->bytes;
}

static bool ir_strip_load(const struct ir_rounds *x, uint64_t addr, uint8_t *byte)
{
    uint64_t v;

    if (!x->mem->load(x->mem->ctx, addr, 1, &v)) return false;
    *byte = (uint8_t)v;
    return true;
}

/* A byte that stays what it is: may it be written? */
static bool ir_strip_writable(const struct ir_rounds *x, uint64_t addr)
{
    uint64_t v;

    return x->mem->load(x->mem->ctx, addr, 1, &v) && x->mem->store(x->mem->ctx, addr, 1, v);
}

/* Loads what round k loads: its own bytes and those ahead; does the loop go on behind it? */
static bool ir_strip_looks(const struct ir_rounds *x, uint64_t k, uint8_t *p)
{
    bool pair = x->kind == IR_STRIP_MATCH || x->kind == IR_STRIP_MATCHZ;
    uint64_t from = ir_strip_at(x, x->copies ? x->b : x->a, k);
    uint8_t other = 0, want, beyond;

    for (unsigned j = 0; j < x->ahead; j++) {
        uint64_t off = x->back ? ~(uint64_t)j : x->bytes + j;

        if (!ir_strip_load(x, from + off, &beyond)) return false;
        if (pair && !ir_strip_load(x, ir_strip_at(x, x->b, k) + off, &beyond)) return false;
    }
    for (unsigned j = 0; j < x->bytes; j++) {
        if (x->kind != IR_STRIP_FILL && !ir_strip_load(x, from + j, &p[j])) return false;
        if (pair && !ir_strip_load(x, ir_strip_at(x, x->b, k) + j, &other)) return false;
        want = (uint8_t)(x->b >> (8 * (j % 8)));
        switch (x->kind) {
        case IR_STRIP_FILL: p[j] = want; break;
        case IR_STRIP_COPYZ:
            if (p[j] == 0) return false;
            break;
        case IR_STRIP_FIND:
        case IR_STRIP_FINDZ:
            if (p[j] == want || (x->kind == IR_STRIP_FINDZ && p[j] == 0)) return false;
            break;
        case IR_STRIP_SPAN:
            if (p[j] != want) return false;
            break;
        case IR_STRIP_MATCH:
        case IR_STRIP_MATCHZ:
            if (p[j] != other || (x->kind == IR_STRIP_MATCHZ && p[j] == 0)) return false;
            break;
        }
    }
    for (unsigned j = 0; x->stores && j < x->bytes; j++)
        if (!ir_strip_writable(x, ir_strip_at(x, x->a, k) + j)) return false;
    return true;
}

uint64_t ir_strip_run(const struct ir_mem *mem, unsigned aux, uint64_t a, uint64_t b, uint64_t n)
{
    struct ir_rounds x = {.mem = mem,
                         .kind = aux & IR_STRIP_KIND,
                         .bytes = ir_strip_bytes(aux),
                         .ahead = ir_strip_ahead(aux),
                         .back = aux & IR_STRIP_BACK,
                         .a = a,
                         .b = b};
    uint64_t apart = ir_strip_apart(aux), k = 0;
    uint8_t p[128];

    x.copies = x.kind == IR_STRIP_COPY || x.kind == IR_STRIP_COPYZ;
    x.stores = x.copies || x.kind == IR_STRIP_FILL;
    if (!mem || !mem->strips || n < 2 || (x.copies && (a - b < apart || b - a < apart)) ||
        !ir_strip_looks(&x, 0, p) || !ir_strip_looks(&x, 1, p)) /* never a single one */
        return 0;
    for (; k < n && ir_strip_looks(&x, k, p); k++)
        for (unsigned j = 0; x.stores && j < x.bytes; j++)
            mem->store(mem->ctx, ir_strip_at(&x, a, k) + j, 1, p[j]);
    return k;
}
