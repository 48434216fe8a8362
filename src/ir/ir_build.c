/* ir_build.c: the builder: what ir_emit does with each class of operation.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The builder is on the hot path of translation (some hundred cycles per guest instruction
 * for everything), so:
 *  - nothing is allocated and nothing is cleared between functions: the CSE table is
 *    direct-mapped and tagged with a generation, and an entry that was overwritten is a lost
 *    chance, not an error;
 *  - a pure operation goes through ir_fold, which ends in ir_cse; the rest is here.
 *
 * What may be found again by ir_cse is bounded from below by an instruction after which the
 * value could differ: last_mem for loads, last_fp for operations that accrue flags or use the
 * dynamic rounding mode (accruing is idempotent and sticky, so the earlier one stands for
 * both), nothing for the others. BLOCK forgets everything.
 *
 * Slots: cur[s] is the value the slot holds if a PUT wrote it, entry[s] the GET that read what
 * it held before; a helper that touches slots makes both unknown.
 */
#include "ir/ir_priv.h"

void ir_forget_slots(struct ir_func *f)
{
    memset(f->cur, 0, sizeof f->cur);
    memset(f->entry, 0, sizeof f->entry);
}

void ir_forget_values(struct ir_func *f)
{
    if (base_unlikely(++f->cse_gen == 0)) {
        memset(f->cse, 0, sizeof f->cse);
        f->cse_gen = 1;
    }
}

ir_ref ir_cse(struct ir_func *f, uint32_t head, uint32_t a, uint32_t b, uint32_t c, ir_ref min)
{
    uint64_t w0 = head | (uint64_t)a << 32, w1 = b | (uint64_t)c << 32, old[2];
    unsigned h = (unsigned)((w0 * 0x9e3779b97f4a7c15u + (w1 ^ w1 >> 32) * 0xbf58476d1ce4e5b9u) >>
                            56);
    ir_ref r;

    if (f->cse[h].gen == f->cse_gen) {
        r = IR_BIAS + f->cse[h].ref_off;
        memcpy(old, &f->ins[r], sizeof old);
        if (old[0] == w0 && old[1] == w1 && r >= min) return r;
    }
    r = ir_append(f, head, a, b, c);
    f->cse[h].gen = f->cse_gen;
    f->cse[h].ref_off = (uint16_t)(r - IR_BIAS);
    return r;
}

/* ---- slots ----------------------------------------------------------- */

ir_ref ir_get(struct ir_func *f, unsigned slot)
{
    ir_ref r;

    BASE_DASSERT(slot < ir_nslots(f));
    if (f->flags & IR_FLAG_NOFOLD)
        return ir_append(f, ir_head(IR_GET, ir_slot_type(f, slot), 0), slot, 0, 0);
    r = f->cur[slot];
    if (r) return r;
    r = f->entry[slot];
    if (r) return r;
    r = ir_append(f, ir_head(IR_GET, ir_slot_type(f, slot), 0), slot, 0, 0);
    f->entry[slot] = r;
    return r;
}

void ir_put(struct ir_func *f, unsigned slot, ir_ref v)
{
    ir_ref old;

    BASE_DASSERT(slot < ir_nslots(f) && ir_ty(f, v) == ir_slot_type(f, slot));
    if (base_unlikely(f->flags & IR_FLAG_NOFOLD)) {
        ir_append(f, ir_head(IR_PUT, IR_NONE, 0), slot, v, IR_NIL);
        return;
    }
    old = f->cur[slot];
    if (v == old || (!old && v == f->entry[slot])) return;
    ir_append(f, ir_head(IR_PUT, IR_NONE, 0), slot, v, old);
    f->cur[slot] = v;
    f->put_mask[slot >> 6] |= (uint64_t)1 << (slot & 63);
}

void ir_imark(struct ir_func *f, uint64_t pc, unsigned len)
{
    ir_append(f, ir_head(IR_IMARK, IR_NONE, len), (uint32_t)pc, (uint32_t)(pc >> 32), 0);
}

/* ---- memory ---------------------------------------------------------- */

/* Moves a constant addend of the address into the displacement if it still fits. Addition of
 * constants is a chain of one link at most, so looking once is enough. */
static inline void ir_fold_address(struct ir_func *f, ir_ref *a, uint32_t *disp)
{
    const struct ir_ins *i = &f->ins[*a];
    int64_t sum;

    if (i->op != IR_ADD || !ir_is_const(i->b) || f->ins[i->b].op != IR_KI) return;
    if (__builtin_add_overflow((int64_t)ir_kval(f, i->b), (int64_t)(int32_t)*disp, &sum) ||
        sum != (int32_t)sum)
        return;
    *a = i->a;
    *disp = (uint32_t)sum;
}

enum { IR_LOOK_BACK = 24 }; /* instructions, for the stores that a load meets */

/* The 32 bits that were just stored at a + disp, or IR_NIL: by one store, none since that could
 * have changed them, and no load: what that sees may be newer (RVWMO, rule 12), and so must be
 * what is loaded now. */
static ir_ref ir_stored_word(struct ir_func *f, ir_ref a, int64_t disp)
{
    for (ir_ref r = f->nins; r-- > IR_BIAS && f->nins - r <= IR_LOOK_BACK;) {
        const struct ir_ins *i = &f->ins[r];
        unsigned cls = ir_ops[i->op].cls;
        int64_t at = (int32_t)i->b;

        if (i->op == IR_BLOCK || i->op == IR_POLL || (cls == IR_CLASS_E && i->op != IR_IMARK) ||
            (cls == IR_CLASS_L && i->op != IR_GET))
            return IR_NIL;
        if (i->op != IR_ST) continue;
        if (i->a != a || i->aux) return IR_NIL;
        if (at == disp && ir_ty(f, i->c) == IR_I32) return i->c;
        if (at == disp && ir_ty(f, i->c) == IR_F32) return ir_op1(f, IR_BITCAST, IR_I32, i->c);
        if (at < disp + 4 && disp < at + 8) return IR_NIL;
    }
    return IR_NIL;
}

/* A load of 64 bits that have just been stored in two halves, as gcc puts a structure of floats
 * together that is passed in integer registers: out of what was stored. A processor forwards one
 * store to a load, and waits if there are two. */
static ir_ref ir_emit_ld_halves(struct ir_func *f, ir_ref a, uint32_t disp)
{
    int64_t at = (int32_t)disp;
    ir_ref lo, hi;

    if (f->nins - f->last_mem > IR_LOOK_BACK || f->last_mem < IR_BIAS || at + 4 > INT32_MAX)
        return IR_NIL;
    if (f->ins[f->last_mem].op != IR_ST || f->ins[f->last_mem].a != a) return IR_NIL;
    lo = ir_stored_word(f, a, at);
    hi = lo ? ir_stored_word(f, a, at + 4) : IR_NIL;
    if (!hi) return IR_NIL;
    hi = ir_op2(f, IR_SHL, IR_I64, ir_op1(f, IR_ZEXT, IR_I64, hi), ir_ki(f, IR_I64, 32));
    return ir_op2(f, IR_OR, IR_I64, hi, ir_op1(f, IR_ZEXT, IR_I64, lo));
}

static ir_ref ir_emit_ld(struct ir_func *f, uint32_t head, ir_ref a, uint32_t disp)
{
    ir_ref r;

    ir_fold_address(f, &a, &disp);
    if (head == ir_head(IR_LD, IR_I64, 0) && (r = ir_emit_ld_halves(f, a, disp))) return r;
    if (base_likely(!(head >> 16 & IR_SEQ_CST))) return ir_cse(f, head, a, disp, 0, f->last_mem);
    r = ir_append(f, head, a, disp, 0);
    f->last_mem = r + 1; /* nothing before an acquire is as good as after it */
    return r;
}

static ir_ref ir_emit_helper(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b, ir_ref c)
{
    ir_ref r = ir_append(f, head, a, b, c);
    unsigned number = head >> 16;

    f->last_mem = f->last_fp = r;
    if (!f->guest || number >= f->guest->nhelpers ||
        f->guest->helpers[number].effects & IR_HELPER_STATE)
        ir_forget_slots(f);
    return r;
}

/* ---- entry point ----------------------------------------------------- */

ir_ref ir_emit(struct ir_func *f, unsigned op, unsigned type, unsigned aux, uint32_t a, uint32_t b,
               uint32_t c)
{
    uint32_t head = ir_head(op, type, aux);

    if (base_unlikely(f->flags & IR_FLAG_NOFOLD)) return ir_append(f, head, a, b, c);
    if (base_likely(ir_ops[op].cls == IR_CLASS_P)) return ir_fold(f, head, a, b, c);
    switch (op) {
    case IR_GET: return ir_get(f, a);
    case IR_PUT: ir_put(f, a, b); return IR_NIL;
    case IR_LD: return ir_emit_ld(f, head, a, b);
    case IR_ST: ir_fold_address(f, &a, &b); return f->last_mem = ir_append(f, head, a, b, c);
    case IR_AMO:
    case IR_CAS:
    case IR_LR:
    case IR_SC:
    case IR_STRIP:
    case IR_FENCE: return f->last_mem = ir_append(f, head, a, b, c);
    case IR_FLGET:
    case IR_FLSET:
    case IR_RMSET: return f->last_fp = ir_append(f, head, a, b, c);
    case IR_HELPER: return ir_emit_helper(f, head, a, b, c);
    case IR_SIDE:
        if (ir_is_k(f, a, 0)) /* never taken */
            return IR_NIL;
        return ir_append(f, head, a, b, c);
    case IR_BLOCK:
        ir_forget_slots(f);
        ir_forget_values(f);
        return ir_append(f, head, 0, 0, 0);
    default: return ir_append(f, head, a, b, c);
    }
}
