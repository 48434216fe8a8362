/* ir_print.c: IR as text. SPDX-License-Identifier: Apache-2.0
 *
 * What is printed reads back the same (ir_parse.c; the grammar is in docs/ir.md). Numbers of
 * values and blocks are positions, so a function has one text only. It also prints broken
 * functions, for the verifier's messages.
 */
#include "ir/ir_priv.h"

#include <inttypes.h>

/* ---- aux ------------------------------------------------------------- */

#define IR_RM_WORDS                                                                                \
    {"rne", 7, IR_RNE, true}, {"rtz", 7, IR_RTZ, true}, {"rdn", 7, IR_RDN, true},                  \
        {"rup", 7, IR_RUP, true}, {"rmm", 7, IR_RMM, true},                                        \
    {                                                                                              \
        "dyn", 7, IR_RM_DYN, true                                                                  \
    }
#define IR_MEM_WORDS                                                                               \
    {"state", 15, IR_AS_STATE, false}, {"field", 15, IR_AS_FIELD, false},                          \
        {"elem", 15, IR_AS_ELEM, false}, {"internal", 15, IR_AS_INTERNAL, false},                  \
        {"acq", IR_SEQ_CST, IR_ACQUIRE, false}, {"rel", IR_SEQ_CST, IR_RELEASE, false},            \
    {                                                                                              \
        "seqcst", IR_SEQ_CST, IR_SEQ_CST, false                                                    \
    }
#define IR_AMO_WORD(word, op)                                                                      \
    {                                                                                              \
        word, 15 << IR_AMO_SHIFT, (op) << IR_AMO_SHIFT, true                                       \
    }
#define IR_CC_WORD(word, cc, mask)                                                                 \
    {                                                                                              \
        word, mask, cc, true                                                                       \
    }

static const struct ir_aux_word ir_cmp_words[] = {{"eq", 0xffff, IR_EQ, true},
                                                  {"ne", 0xffff, IR_NE, true},
                                                  {"lts", 0xffff, IR_LTS, true},
                                                  {"les", 0xffff, IR_LES, true},
                                                  {"gts", 0xffff, IR_GTS, true},
                                                  {"ges", 0xffff, IR_GES, true},
                                                  {"ltu", 0xffff, IR_LTU, true},
                                                  {"leu", 0xffff, IR_LEU, true},
                                                  {"gtu", 0xffff, IR_GTU, true},
                                                  {"geu", 0xffff, IR_GEU, true},
                                                  {NULL, 0, 0, false}};
static const struct ir_aux_word ir_fcmp_words[] = {
    {"eq", 15, IR_EQ, true},
    {"lt", 15, IR_LTS, true},
    {"le", 15, IR_LES, true},
    {"signal", IR_FCMP_SIGNAL | IR_FCMP_SILENT, IR_FCMP_SIGNAL, false},
    {"silent", IR_FCMP_SIGNAL | IR_FCMP_SILENT, IR_FCMP_SILENT, false},
    {NULL, 0, 0, false}};
static const struct ir_aux_word ir_rm_words[] = {IR_RM_WORDS, {NULL, 0, 0, false}};
static const struct ir_aux_word ir_fma_words[] = {
    IR_RM_WORDS,
    {"negprod", IR_FMA_NEG_PROD, IR_FMA_NEG_PROD, false},
    {"negadd", IR_FMA_NEG_ADD, IR_FMA_NEG_ADD, false},
    {NULL, 0, 0, false}};
static const struct ir_aux_word ir_fmin_words[] = {{"nan", IR_FMIN_NAN, IR_FMIN_NAN, false},
                                                   {NULL, 0, 0, false}};
static const struct ir_aux_word ir_fcvt_words[] = {
    IR_RM_WORDS, {"u", IR_FCVT_UNSIGNED, IR_FCVT_UNSIGNED, false}, {NULL, 0, 0, false}};
static const struct ir_aux_word ir_fround_words[] = {
    IR_RM_WORDS, {"exact", IR_FROUND_EXACT, IR_FROUND_EXACT, false}, {NULL, 0, 0, false}};
static const struct ir_aux_word ir_mem_words[] = {
    IR_MEM_WORDS,
    {"constrained", IR_SC_CONSTRAINED, IR_SC_CONSTRAINED, false},
    {NULL, 0, 0, false}};
static const struct ir_aux_word ir_ld_words[] = {
    IR_MEM_WORDS, {"again", IR_LD_AGAIN, IR_LD_AGAIN, false}, {NULL, 0, 0, false}};
static const struct ir_aux_word ir_amo_words[] = {IR_AMO_WORD("swap", IR_AMO_SWAP),
                                                  IR_AMO_WORD("add", IR_AMO_ADD),
                                                  IR_AMO_WORD("xor", IR_AMO_XOR),
                                                  IR_AMO_WORD("and", IR_AMO_AND),
                                                  IR_AMO_WORD("or", IR_AMO_OR),
                                                  IR_AMO_WORD("mins", IR_AMO_MINS),
                                                  IR_AMO_WORD("maxs", IR_AMO_MAXS),
                                                  IR_AMO_WORD("minu", IR_AMO_MINU),
                                                  IR_AMO_WORD("maxu", IR_AMO_MAXU),
                                                  IR_MEM_WORDS,
                                                  {NULL, 0, 0, false}};
static const struct ir_aux_word ir_fence_words[] = {{"pr", IR_FENCE_PR, IR_FENCE_PR, false},
                                                    {"pw", IR_FENCE_PW, IR_FENCE_PW, false},
                                                    {"sr", IR_FENCE_SR, IR_FENCE_SR, false},
                                                    {"sw", IR_FENCE_SW, IR_FENCE_SW, false},
                                                    {NULL, 0, 0, false}};
static const struct ir_aux_word ir_side_words[] = {{"taken", 1, 1, false}, {NULL, 0, 0, false}};
static const struct ir_aux_word ir_exit_words[] = {{"jump", 0xffff, IR_EXIT_JUMP, true},
                                                   {"call", 0xffff, IR_EXIT_CALL, true},
                                                   {"ret", 0xffff, IR_EXIT_RET, true},
                                                   {NULL, 0, 0, false}};
static const struct ir_aux_word ir_trap_words[] = {{"syscall", 0xffff, IR_TRAP_SYSCALL, true},
                                                   {"break", 0xffff, IR_TRAP_BREAK, true},
                                                   {"illegal", 0xffff, IR_TRAP_ILLEGAL, true},
                                                   {"fencei", 0xffff, IR_TRAP_FENCEI, true},
                                                   {"align", 0xffff, IR_TRAP_ALIGN, true},
                                                   {"fetch", 0xffff, IR_TRAP_FETCH, true},
                                                   {NULL, 0, 0, false}};

#define IR_STRIP_WORD(word, kind)                                                                  \
    {                                                                                              \
        word, IR_STRIP_KIND, kind, true                                                            \
    }
#define IR_BY_WORD(word, log)                                                                      \
    {                                                                                              \
        word, 7 << IR_STRIP_SHIFT, (log) << IR_STRIP_SHIFT, true                                   \
    }
static const struct ir_aux_word ir_strip_words[] = {
    IR_STRIP_WORD("fill", IR_STRIP_FILL),
    IR_STRIP_WORD("copy", IR_STRIP_COPY),
    IR_STRIP_WORD("copyz", IR_STRIP_COPYZ),
    IR_STRIP_WORD("find", IR_STRIP_FIND),
    IR_STRIP_WORD("findz", IR_STRIP_FINDZ),
    IR_STRIP_WORD("span", IR_STRIP_SPAN),
    IR_STRIP_WORD("match", IR_STRIP_MATCH),
    IR_STRIP_WORD("matchz", IR_STRIP_MATCHZ),
    IR_BY_WORD("by1", 0),
    IR_BY_WORD("by2", 1),
    IR_BY_WORD("by4", 2),
    IR_BY_WORD("by8", 3),
    IR_BY_WORD("by16", 4),
    IR_BY_WORD("by32", 5),
    IR_BY_WORD("by64", 6),
    IR_BY_WORD("by128", 7),
    {"back", IR_STRIP_BACK, IR_STRIP_BACK, false},
    {"ahead8", 3 << 8, IR_STRIP_AHEAD8, false},
    {"ahead16", 3 << 8, IR_STRIP_AHEAD16, false},
    {NULL, 0, 0, false}};

const struct ir_aux_word *ir_aux_words(unsigned op)
{
    switch (op) {
    case IR_CMP: return ir_cmp_words;
    case IR_FCMP: return ir_fcmp_words;
    case IR_FADD:
    case IR_FSUB:
    case IR_FMUL:
    case IR_FDIV:
    case IR_FSQRT:
    case IR_FCVTFF: return ir_rm_words;
    case IR_FMA: return ir_fma_words;
    case IR_FMIN:
    case IR_FMAX: return ir_fmin_words;
    case IR_FCVTFI:
    case IR_FCVTIF: return ir_fcvt_words;
    case IR_FROUND: return ir_fround_words;
    case IR_LD: return ir_ld_words;
    case IR_ST:
    case IR_CAS:
    case IR_LR:
    case IR_SC: return ir_mem_words;
    case IR_AMO: return ir_amo_words;
    case IR_FENCE: return ir_fence_words;
    case IR_STRIP: return ir_strip_words;
    case IR_SIDE: return ir_side_words;
    case IR_EXIT: return ir_exit_words;
    case IR_TRAP: return ir_trap_words;
    default: return NULL;
    }
}

static void ir_print_aux(const struct ir_ins *i, struct base_text *out)
{
    const struct ir_aux_word *first = ir_aux_words(i->op);
    unsigned got = 0, always = 0, met = 0;

    if (i->op == IR_IMARK || i->op == IR_HELPER) /* printed among the operands */
        return;
    for (const struct ir_aux_word *w = first; w && w->word; w++) {
        always |= w->always ? w->mask : 0;
        if ((i->aux & w->mask) == w->value) {
            got |= w->value;
            met |= w->always ? w->mask : 0;
        }
    }
    if (got != i->aux || met != always) { /* not an encoding that has a name */
        base_text_printf(out, ".aux%u", i->aux);
        return;
    }
    for (const struct ir_aux_word *w = first; w && w->word; w++)
        if ((i->aux & w->mask) == w->value) base_text_printf(out, ".%s", w->word);
}

/* ---- operands -------------------------------------------------------- */

unsigned ir_operand_type(const struct ir_func *f, const struct ir_ins *i, unsigned n)
{
    switch (ir_ops[i->op].opd[n]) {
    case IR_OPD_R: return i->ty;
    case IR_OPD_I: return IR_I64;
    case IR_OPD_C: return IR_I1;
    case IR_OPD_A:
        if ((i->op == IR_CMP || i->op == IR_FCMP) && n == 1)
            return ir_valid(f, i->a) ? ir_ty(f, i->a) : IR_NONE;
        if (i->op == IR_PUT && i->a < ir_nslots(f)) return ir_slot_type(f, i->a);
        return IR_NONE;
    default: return IR_NONE;
    }
}

static void ir_print_int(unsigned type, uint64_t v, struct base_text *out)
{
    int64_t s = type == IR_I1 ? (int64_t)v : ir_sval(type, v);

    if (s > -65536 && s < 65536)
        base_text_printf(out, "%" PRId64, s);
    else
        base_text_printf(out, "0x%" PRIx64, v);
}

/* want: the type the place asks for; place: a place for guest addresses, where KADDR is what
 * a bare number means. */
static void ir_print_ref(const struct ir_func *f, ir_ref r, unsigned want, bool place,
                         struct base_text *out)
{
    const struct ir_ins *i;

    if (r == IR_NIL) {
        base_text_printf(out, "_");
        return;
    }
    if (!ir_valid(f, r)) {
        base_text_printf(out, "%%?%" PRIu32, r);
        return;
    }
    i = &f->ins[r];
    if (!ir_is_const(r)) {
        base_text_printf(out, "%%%" PRIu32, r - IR_BIAS);
        return;
    }
    switch (i->op) {
    case IR_KADDR:
        base_text_printf(out, place ? "0x%" PRIx64 : "@0x%" PRIx64, ir_kval(f, r));
        return;
    case IR_KI: ir_print_int(i->ty, ir_kval(f, r), out); break;
    default: base_text_printf(out, "0x%" PRIx64, ir_kval(f, r)); break;
    }
    if (i->ty != want || place) base_text_printf(out, ".%s", ir_type_name(i->ty));
}

static void ir_print_block(ir_ref r, struct base_text *out)
{
    if (r == IR_NIL)
        base_text_printf(out, "entry");
    else
        base_text_printf(out, "b%" PRIu32, r - IR_BIAS);
}

static void ir_print_slot(const struct ir_func *f, unsigned slot, struct base_text *out)
{
    if (f->guest && slot < f->guest->nslots)
        base_text_printf(out, "%.8s", f->guest->slots[slot].name);
    else
        base_text_printf(out, "s%u", slot);
}

static void ir_print_phi(const struct ir_func *f, const struct ir_ins *i, struct base_text *out)
{
    for (uint32_t n = 0; n < i->b; n++) {
        uint64_t at = (uint64_t)i->a + 2 * n;

        if (at + 2 > f->nextra) {
            base_text_printf(out, " [?]");
            return;
        }
        base_text_printf(out, n ? ", [" : " [");
        ir_print_block(f->extra[at], out);
        base_text_printf(out, " ");
        ir_print_ref(f, f->extra[at + 1], i->ty, false, out);
        base_text_printf(out, "]");
    }
}

/* "[address + displacement]", the displacement for LD, ST and PEEK only */
static void ir_print_address(const struct ir_func *f, const struct ir_ins *i, struct base_text *out)
{
    int32_t disp = i->op == IR_LD || i->op == IR_ST || i->op == IR_PEEK ? (int32_t)i->b : 0;

    base_text_printf(out, " [");
    ir_print_ref(f, i->a, IR_I64, false, out);
    if (disp)
        base_text_printf(out, " %c %" PRId64, disp < 0 ? '-' : '+',
                         disp < 0 ? -(int64_t)disp : (int64_t)disp);
    base_text_printf(out, "]");
}

/* Operands of the operations that have a form of their own; false: the plain list. */
static bool ir_print_special(const struct ir_func *f, const struct ir_ins *i, struct base_text *out)
{
    switch (i->op) {
    case IR_IMARK: base_text_printf(out, " 0x%" PRIx64 ", %u", ir_imark_pc(i), i->aux); return true;
    case IR_PHI: ir_print_phi(f, i, out); return true;
    case IR_PUT:
        base_text_printf(out, " ");
        ir_print_slot(f, i->a, out);
        base_text_printf(out, ", ");
        ir_print_ref(f, i->b, ir_operand_type(f, i, 1), false, out);
        if (i->c) {
            base_text_printf(out, ", was ");
            ir_print_ref(f, i->c, ir_operand_type(f, i, 1), false, out);
        }
        return true;
    case IR_SIDE:
        base_text_printf(out, " ");
        ir_print_ref(f, i->a, IR_I1, false, out);
        base_text_printf(out, " -> ");
        ir_print_ref(f, i->b, IR_I64, true, out);
        return true;
    case IR_EXIT:
    case IR_TRAP:
        base_text_printf(out, " ");
        ir_print_ref(f, i->a, IR_I64, true, out);
        if (i->b && i->op == IR_TRAP) base_text_printf(out, ", 0x%" PRIx32, i->b);
        if (i->b && i->op == IR_EXIT) {
            base_text_printf(out, " ret ");
            ir_print_ref(f, i->b, IR_I64, true, out);
        }
        return true;
    case IR_LD:
    case IR_PEEK:
    case IR_LR: ir_print_address(f, i, out); return true;
    case IR_ST:
        ir_print_address(f, i, out);
        base_text_printf(out, ", ");
        ir_print_ref(f, i->c, ir_valid(f, i->c) ? ir_ty(f, i->c) : IR_NONE, false, out);
        return true;
    case IR_AMO:
    case IR_CAS:
    case IR_SC:
        ir_print_address(f, i, out);
        base_text_printf(out, ", ");
        ir_print_ref(f, i->b, ir_operand_type(f, i, 1), false, out);
        if (i->op == IR_CAS) {
            base_text_printf(out, ", ");
            ir_print_ref(f, i->c, i->ty, false, out);
        }
        return true;
    case IR_HELPER:
        base_text_printf(out, " #%u, ", i->aux);
        ir_print_ref(f, i->a, IR_NONE, false, out);
        base_text_printf(out, ", ");
        ir_print_ref(f, i->b, IR_NONE, false, out);
        base_text_printf(out, ", ");
        ir_print_ref(f, i->c, IR_NONE, false, out);
        if (f->guest && i->aux < f->guest->nhelpers)
            base_text_printf(out, " ; %s", f->guest->helpers[i->aux].name);
        return true;
    default: return false;
    }
}

static void ir_print_operands(const struct ir_func *f, const struct ir_ins *i,
                              struct base_text *out)
{
    const uint32_t operand[3] = {i->a, i->b, i->c};

    if (ir_print_special(f, i, out)) return;
    for (unsigned n = 0; n < 3; n++) {
        unsigned kind = ir_ops[i->op].opd[n];

        if (kind == IR_OPD__) break;
        base_text_printf(out, n ? ", " : " ");
        if (kind == IR_OPD_S)
            ir_print_slot(f, operand[n], out);
        else if (kind == IR_OPD_B)
            ir_print_block(operand[n], out);
        else
            ir_print_ref(f, operand[n], ir_operand_type(f, i, n), false, out);
    }
}

/* ---- entry points ---------------------------------------------------- */

void ir_print_ins(const struct ir_func *f, ir_ref r, struct base_text *out)
{
    const struct ir_ins *i = &f->ins[r];

    if (i->op >= IR_OP_COUNT) {
        base_text_printf(out, "%%%" PRIu32 " = ?op%u", r - IR_BIAS, i->op);
        return;
    }
    if (i->op == IR_BLOCK) {
        ir_print_block(r, out);
        base_text_printf(out, ":");
        return;
    }
    if (ir_is_const(r)) {
        base_text_printf(out, "%s.%s 0x%" PRIx64, ir_ops[i->op].name, ir_type_name(i->ty),
                         ir_kval(f, r));
        return;
    }
    if (i->ty != IR_NONE) base_text_printf(out, "%%%" PRIu32 " = ", r - IR_BIAS);
    base_text_printf(out, "%s", ir_ops[i->op].name);
    if (i->op == IR_ST)
        base_text_printf(out, ".%s", ir_type_name(ir_valid(f, i->c) ? ir_ty(f, i->c) : IR_NONE));
    else if (ir_shows_type(i->op))
        base_text_printf(out, ".%s", ir_type_name(i->ty));
    ir_print_aux(i, out);
    ir_print_operands(f, i, out);
}

void ir_print(const struct ir_func *f, struct base_text *out)
{
    base_text_printf(out, "func");
    if (f->key) base_text_printf(out, " key=0x%" PRIx64, f->key);
    if (f->mode) base_text_printf(out, " mode=%" PRIu32, f->mode);
    if (f->nguest) base_text_printf(out, " nguest=%" PRIu32, f->nguest);
    base_text_printf(out, " {\n");
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        unsigned op = f->ins[r].op;

        /* guest instructions and blocks structure the text */
        base_text_printf(out, op == IR_BLOCK ? "" : op == IR_IMARK ? "  " : "    ");
        ir_print_ins(f, r, out);
        base_text_printf(out, "\n");
    }
    base_text_printf(out, "}\n");
}
