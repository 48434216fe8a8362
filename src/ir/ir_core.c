/* ir_core.c: functions, constants, and the tables of types and operations.
 * SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir_priv.h"

#include <stdatomic.h>
#include <stdlib.h>

struct ir_res_table ir_res;
_Static_assert((int)offsetof(struct ir_res_table, watched) -
                   (int)offsetof(struct ir_res_table, version) == IR_RES_WATCHED, "as code has it");

/* An SC that has looked at watched before it was set has bumped nothing, and its store
 * may have come after an LR whose SC will compare: so every version changes once. Whoever
 * comes meanwhile waits for that. */
void ir_res_watch(void)
{
    static _Atomic uint32_t done;
    if (base_likely(atomic_load(&done)))
        return;
    if (atomic_exchange(&ir_res.watched, 1)) {
        while (!atomic_load(&done))
            ;
        return;
    }
    for (unsigned i = 0; i < IR_RES_VERSIONS; i++)
        atomic_fetch_add(&ir_res.version[i], 1);
    atomic_store(&done, 1);
}

/* ---- tables ---------------------------------------------------------- */

enum {
    T_none = 1 << IR_NONE,
    T_i1 = 1 << IR_I1,
    T_i64 = 1 << IR_I64,
    T_int = 1 << IR_I8 | 1 << IR_I16 | 1 << IR_I32 | 1 << IR_I64,
    T_flt = 1 << IR_F16 | 1 << IR_F32 | 1 << IR_F64,
    T_bit = T_i1 | T_int,
    T_ref = 1 << IR_REF,
    T_any = T_int | T_flt | T_ref
};
/* the table's words for flags, as enumerators that can be or-ed */
enum { COMM = IR_F_COMM, FAULT = IR_F_FAULT, AUX = IR_F_AUX, FLAGS = IR_F_FLAGS };

const struct ir_op_info ir_ops[IR_OP_COUNT] = {
#define OP(NAME, text, cls, types, a, b, c, flags, latency, unit)                                  \
    [IR_##NAME] = {text,  IR_CLASS_##cls, {IR_OPD_##a, IR_OPD_##b, IR_OPD_##c},                    \
                   flags, latency,        T_##types},
#include "ir/ir_ops.h"
#undef OP
};

const uint8_t ir_type_bits_table[IR_TYPE_COUNT] = {
    [IR_I1] = 1,   [IR_I8] = 8,   [IR_I16] = 16, [IR_I32] = 32,   [IR_I64] = 64, [IR_I128] = 128,
    [IR_F16] = 16, [IR_F32] = 32, [IR_F64] = 64, [IR_V128] = 128, [IR_REF] = 64,
};

unsigned ir_type_bits(unsigned type)
{
    BASE_ASSERT(type < IR_TYPE_COUNT);
    if (type == IR_V256 || type == IR_V512) /* do not fit a byte */
        return type == IR_V256 ? 256 : 512;
    return ir_type_bits_table[type];
}

const char *ir_type_name(unsigned type)
{
    static const char *const names[IR_TYPE_COUNT] = {
        "none", "i1",  "i8",  "i16",  "i32",  "i64",  "i128",
        "f16",  "f32", "f64", "v128", "v256", "v512", "ref",
    };

    return type < IR_TYPE_COUNT ? names[type] : "?";
}

/* ---- functions ------------------------------------------------------- */

struct ir_func *ir_func_new(const struct ir_guest *guest)
{
    struct ir_func *f = base_zalloc(sizeof *f);

    BASE_ASSERT(!guest || guest->nslots <= IR_MAX_SLOTS);
    f->guest = guest;
    f->base = base_alloc((IR_MAX_CONSTS + IR_MAX_INS) * sizeof *f->base);
    f->ins = (struct ir_ins *)((uintptr_t)f->base - (IR_BIAS - IR_MAX_CONSTS) * sizeof *f->base);
    ir_func_reset(f);
    return f;
}

void ir_func_reset(struct ir_func *f)
{
    f->nk = f->nins = IR_BIAS;
    f->nextra = 0;
    f->flags = f->mode = f->nguest = 0;
    f->key = 0;
    f->sample = NULL;
    f->fuel = UINT64_MAX;
    f->put_mask[0] = f->put_mask[1] = 0;
    ir_forget_slots(f);
    f->last_mem = f->last_fp = 0;
    ir_forget_values(f);
}

void ir_func_free(struct ir_func *f)
{
    if (!f) return;
    free(f->extra);
    free(f->base);
    free(f);
}

void ir_overflow(const struct ir_func *f)
{
    base_bug(__FILE__, __LINE__, "function at key 0x%llx exceeds %d instructions or %d constants",
             (unsigned long long)f->key, IR_MAX_INS, IR_MAX_CONSTS);
}

uint32_t ir_extra(struct ir_func *f, const uint32_t *pairs, unsigned n)
{
    uint32_t at = f->nextra;

    if (f->cap_extra - at < 2 * n) {
        f->cap_extra = (at + 2 * n) * 2;
        f->extra = base_realloc(f->extra, f->cap_extra * sizeof *f->extra);
    }
    if (n) memcpy(f->extra + at, pairs, 2 * n * sizeof *pairs);
    f->nextra = at + 2 * n;
    return at;
}

/* ---- constants ------------------------------------------------------- */

/* Equal constants usually share one reference; after a collision in the hash they may not, so
 * compare constants by value. The hash is never emptied: an entry is good if it lies within
 * nk..IR_BIAS and what is there compares equal, whichever function made it. */
ir_ref ir_k(struct ir_func *f, unsigned op, unsigned type, uint64_t v)
{
    unsigned h = (unsigned)((v * 0x9e3779b97f4a7c15u) >> 56) ^ type;
    ir_ref r = IR_BIAS - f->khash[h];
    uint32_t head = ir_head(op, type, 0), old;

    if (r >= f->nk && r < IR_BIAS) {
        memcpy(&old, &f->ins[r], 4);
        if (old == head && ir_kval(f, r) == v) return r;
    }
    r = f->nk - 1;
    if (base_unlikely(r < IR_BIAS - IR_MAX_CONSTS)) ir_overflow(f);
    f->nk = r;
    f->ins[r] = ir_make(head, (uint32_t)v, (uint32_t)(v >> 32), 0);
    f->khash[h] = (uint16_t)(IR_BIAS - r);
    return r;
}

ir_ref ir_ki(struct ir_func *f, unsigned type, uint64_t v)
{
    return ir_k(f, IR_KI, type, v & ir_mask(type));
}

ir_ref ir_kf(struct ir_func *f, unsigned type, uint64_t bits)
{
    return ir_k(f, IR_KF, type, bits & ir_mask(type));
}

ir_ref ir_kaddr(struct ir_func *f, uint64_t guest_address)
{
    return ir_k(f, IR_KADDR, IR_I64, guest_address);
}
