/* opt_verify.c: the rules of state-SSA form, checked. SPDX-License-Identifier: Apache-2.0 */
#include "opt/opt_priv.h"

/* GETs stand in the entry block, before its PUTs. */
static bool opt_verify_gets(const struct ir_func *f, struct base_text *error)
{
    bool before = true;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        if (f->ins[r].op == IR_BLOCK || f->ins[r].op == IR_PUT)
            before = false;
        if (f->ins[r].op == IR_GET && !before) {
            base_text_printf(error, "%%%u: a GET behind the entry", r - IR_BIAS);
            return false;
        }
    }
    return true;
}

bool opt_verify_order(const struct opt_cfg *c, struct base_text *error)
{
    for (unsigned b = 1; b < c->n; b++) {
        bool forward = false;

        for (unsigned p = 0; p < c->block[b].npred; p++)
            forward |= c->block[b].pred[p] < b;
        if (forward)
            continue;
        base_text_printf(error, "%%%u: block without a predecessor before it",
                         c->block[b].first - IR_BIAS);
        return false;
    }
    for (unsigned b = 0; b < c->n; b++)
        for (unsigned e = 0; e < c->block[b].nsucc; e++)
            if (!(c->block[b].succ[e] > b) && !opt_dominates(c, c->block[b].succ[e], b)) {
                base_text_printf(error, "%%%u: jumps back to what does not dominate it",
                                 c->block[b].last - IR_BIAS);
                return false;
            }
    return true;
}

struct opt_state {
    ir_ref slot[IR_MAX_SLOTS];
};

/* What slots hold at the end of block b, entered with what its first forward predecessor ends
 * with; the PUTs at its head say where that does not agree with others. */
static void opt_state_of(const struct ir_func *f, const struct opt_cfg *c, unsigned b,
                         struct opt_state *end)
{
    const struct opt_block *k = &c->block[b];

    memset(&end[b], 0, sizeof end[b]);
    for (unsigned p = 0; p < k->npred; p++) {
        if (k->pred[p] >= b)
            continue;
        end[b] = end[k->pred[p]];
        break;
    }
    for (ir_ref r = k->first; r <= k->last; r++)
        if (f->ins[r].op == IR_PUT)
            end[b].slot[f->ins[r].a] = f->ins[r].b;
}

/* A GET's slot has its own value: the entry value, as if it had not been PUT. */
static ir_ref opt_state_value(const struct ir_func *f, ir_ref v, unsigned slot)
{
    return v && !ir_is_const(v) && f->ins[v].op == IR_GET && f->ins[v].a == slot ? IR_NIL : v;
}

static bool opt_verify_slots(const struct ir_func *f, const struct opt_cfg *c,
                             struct base_arena *arena, struct base_text *error)
{
    struct opt_state *end = base_arena_alloc(arena, c->n * sizeof *end);
    opt_slots *live = opt_live_slots(f, c, arena);

    for (unsigned b = 0; b < c->n; b++)
        opt_state_of(f, c, b, end);
    for (unsigned b = 1; b < c->n; b++) {
        const struct opt_block *k = &c->block[b];
        opt_slots put = {0, 0};
        ir_ref r = k->first + 1;

        for (; f->ins[r].op == IR_PHI || f->ins[r].op == IR_PUT; r++)
            if (f->ins[r].op == IR_PUT)
                put[f->ins[r].a >> 6] |= 1ull << (f->ins[r].a & 63);
        for (unsigned s = 0; s < ir_nslots(f); s++) {
            ir_ref want = opt_state_value(f, end[k->pred[0]].slot[s], s);

            if (!(live[b][s >> 6] >> (s & 63) & 1) || (put[s >> 6] >> (s & 63) & 1))
                continue;
            for (unsigned p = 1; p < k->npred; p++) {
                if (opt_state_value(f, end[k->pred[p]].slot[s], s) == want)
                    continue;
                base_text_printf(error, "%%%u: slot %u differs by predecessor and is not PUT",
                                 k->first - IR_BIAS, s);
                return false;
            }
        }
    }
    return true;
}

bool opt_verify(const struct ir_func *f, struct base_text *error)
{
    struct base_arena arena;
    bool ok = ir_verify(f, error);

    base_arena_init(&arena);
    if (ok) {
        const struct opt_cfg *c = opt_cfg_new(f, &arena);

        ok = opt_verify_order(c, error) && opt_verify_gets(f, error) &&
             opt_verify_slots(f, c, &arena, error);
    }
    base_arena_free(&arena);
    return ok;
}
