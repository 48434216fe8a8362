/* ir_priv.h: what the files of src/ir share among themselves. SPDX-License-Identifier: Apache-2.0
 */
#ifndef ISOMER_IR_PRIV_H
#define ISOMER_IR_PRIV_H

#include "ir/ir.h"

extern const uint8_t ir_type_bits_table[IR_TYPE_COUNT];

/* Inline twin of ir_type_bits for the hot path. */
static inline unsigned ir_bits(unsigned type)
{
    return ir_type_bits_table[type];
}

/* All ones of an integer type. */
static inline uint64_t ir_mask(unsigned type)
{
    return ~(uint64_t)0 >> (64 - ir_bits(type));
}

/* Sign-extends a value of an integer type to 64 bits. */
static inline int64_t ir_sval(unsigned type, uint64_t v)
{
    return base_sext(v, ir_bits(type));
}

/* op, type and aux in one word, so that the builder's functions take their
 * arguments in registers; it is also the first word of struct ir_ins. */
static inline uint32_t ir_head(unsigned op, unsigned ty, unsigned aux)
{
    return op | ty << 8 | aux << 16;
}

static inline struct ir_ins ir_make(uint32_t head, uint32_t a, uint32_t b, uint32_t c)
{
    return (struct ir_ins){(uint8_t)head, (uint8_t)(head >> 8), (uint16_t)(head >> 16), a, b, c};
}

/* The function is full although ir_func_full was there to ask: our bug. */
_Noreturn void ir_overflow(const struct ir_func *f);

/* Adds an instruction as it is. */
static inline ir_ref ir_append(struct ir_func *f, uint32_t head, uint32_t a, uint32_t b, uint32_t c)
{
    ir_ref r = f->nins;

    if (base_unlikely(r >= IR_BIAS + IR_MAX_INS)) ir_overflow(f);
    f->ins[r] = ir_make(head, a, b, c);
    f->nins = r + 1;
    return r;
}

/* Returns an equal instruction at or after `min`, else adds one. Only for operations whose
 * value does not depend on anything that changed after `min`. */
ir_ref ir_cse(struct ir_func *f, uint32_t head, uint32_t a, uint32_t b, uint32_t c, ir_ref min);

/* Simplifies one class P operation; ends in ir_cse if there is nothing to simplify. */
ir_ref ir_fold(struct ir_func *f, uint32_t head, ir_ref a, ir_ref b, ir_ref c);

/* A constant of any kind (op one of KI, KF, KADDR, KREF); v is masked by the caller. */
ir_ref ir_k(struct ir_func *f, unsigned op, unsigned type, uint64_t v);

/* A constant of kind KI or KF, as the type asks. */
static inline ir_ref ir_kbits(struct ir_func *f, unsigned type, uint64_t v)
{
    return ir_k(f, ir_is_float(type) ? IR_KF : IR_KI, type, v);
}

/* Forgets what the slots hold and all instructions CSE knows (at BLOCK). */
void ir_forget_slots(struct ir_func *f);
void ir_forget_values(struct ir_func *f);

/* Adds n (predecessor block, value) pairs to the extra array; returns the index for PHI.a.
 * The entry block, which has no BLOCK, is IR_NIL. */
uint32_t ir_extra(struct ir_func *f, const uint32_t *pairs, unsigned n);

/* ---- guest or none --------------------------------------------------- */

/* Where things are in the state when a function has no guest: 96 slots of i64 named s0..s95,
 * then pc, fpenv and reservation. */
enum {
    IR_NOGUEST_PC = 8 * IR_MAX_SLOTS,
    IR_NOGUEST_FPENV = IR_NOGUEST_PC + 8,
    IR_NOGUEST_RES = IR_NOGUEST_FPENV + 8,
    IR_NOGUEST_SIZE = IR_NOGUEST_RES + 24
};

static inline unsigned ir_nslots(const struct ir_func *f)
{
    return f->guest ? f->guest->nslots : IR_MAX_SLOTS;
}
static inline unsigned ir_slot_type(const struct ir_func *f, unsigned slot)
{
    return f->guest ? f->guest->slots[slot].type : IR_I64;
}
static inline unsigned ir_slot_offset(const struct ir_func *f, unsigned slot)
{
    return f->guest ? f->guest->slots[slot].offset : 8 * slot;
}

/* ---- text form (ir_print.c), shared with parser and verifier --------- */

/* One word of an operation's aux: `aux & mask == value` prints ".word". A word whose value is
 * 0 prints only if `always` (it is one of a choice that is always spelled out). */
struct ir_aux_word {
    const char *word;
    uint16_t mask, value;
    bool always;
};
/* The words of op's aux, ending with word NULL; NULL if it has none. */
const struct ir_aux_word *ir_aux_words(unsigned op);

/* The type that operand n (0..2) of an instruction must have, or IR_NONE if any will do (or if
 * it is not a reference). Tolerates broken instructions. */
unsigned ir_operand_type(const struct ir_func *f, const struct ir_ins *i, unsigned n);

/* True if r is within the function. */
static inline bool ir_valid(const struct ir_func *f, ir_ref r)
{
    return r >= f->nk && r < f->nins;
}

/* The text form shows the result's type only where there is a choice. */
static inline bool ir_shows_type(unsigned op)
{
    return ir_ops[op].types & (ir_ops[op].types - 1);
}

/* Prints one instruction without indentation and newline. */
void ir_print_ins(const struct ir_func *f, ir_ref r, struct base_text *out);

/* ---- files of text (ir_tool.c) --------------------------------------- */

/* Called for each function of a file ("-": standard input) that is well formed; line is where it
 * begins. False: it is wrong, and the caller has been told. */
typedef bool ir_tool_fn(void *ctx, struct ir_func *f, unsigned line);
/* An exit status, after a line if the file or a function is wrong. */
int ir_tool_each(const char *file, const struct ir_guest *guest, ir_tool_fn *fn, void *ctx);

/* ---- interpreter ------------------------------------------------------ */

/* STRIP (ir_strip.c): how many rounds were done. */
uint64_t ir_strip_run(const struct ir_mem *mem, unsigned aux, uint64_t a, uint64_t b, uint64_t n);

/* ---- copying (ir_copy.c) --------------------------------------------- */

/* Builds src anew in dst, which is empty and has the same guest: through the folding builder
 * unless dst has IR_FLAG_NOFOLD. src must be verified. */
void ir_copy(struct ir_func *dst, const struct ir_func *src);

#endif
