/* ir_parse.c: IR from text. SPDX-License-Identifier: Apache-2.0
 *
 * Reads what ir_print prints (the grammar is in docs/ir.md), and appends instructions as
 * written, without folding. The parser checks form only: that names, types and aux words
 * exist, that values are defined before they are used, and that constants fit their type;
 * everything else is left to ir_verify. Values and blocks may have any numbers below
 * IR_MAX_INS; the printer shows positions.
 *
 * Forward references (to blocks, and to values in PHIs) stay numbers until the end of the
 * function, when ir_resolve replaces them.
 */
#include "ir/ir_priv.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct ir_parser {
    struct ir_func *f;
    const char *p;
    unsigned line;
    struct base_text *error;
    ir_ref value[IR_MAX_INS]; /* of %N */
    ir_ref block[IR_MAX_INS]; /* of bN */
};

/* Marks a forward reference in the extra array; real references are below. */
enum { IR_FORWARD = 1u << 30 };

static bool ir_fail(struct ir_parser *x, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool ir_fail(struct ir_parser *x, const char *fmt, ...)
{
    va_list ap;

    if (!x->error) return false;
    base_text_printf(x->error, "line %u: ", x->line);
    va_start(ap, fmt);
    base_text_vprintf(x->error, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- words ----------------------------------------------------------- */

/* Skips blanks and comments within the line. */
static void ir_blanks(struct ir_parser *x)
{
    while (*x->p == ' ' || *x->p == '\t' || *x->p == '\r') x->p++;
    if (*x->p == ';')
        while (*x->p && *x->p != '\n') x->p++;
}

static void ir_blank_lines(struct ir_parser *x)
{
    for (ir_blanks(x); *x->p == '\n'; ir_blanks(x)) {
        x->p++;
        x->line++;
    }
}

static bool ir_accept(struct ir_parser *x, const char *s)
{
    size_t n = strlen(s);

    ir_blanks(x);
    if (strncmp(x->p, s, n) != 0) return false;
    /* a word must not go on */
    if (isalnum((unsigned char)s[n - 1]) && (isalnum((unsigned char)x->p[n]) || x->p[n] == '_'))
        return false;
    x->p += n;
    return true;
}

static bool ir_expect(struct ir_parser *x, const char *s)
{
    return ir_accept(x, s) ||
           ir_fail(x, "'%s' expected at '%.*s'", s,
                   (int)strcspn(x->p, "\n") > 20 ? 20 : (int)strcspn(x->p, "\n"), x->p);
}

/* A word of letters, digits and '_' of at most size - 1 characters. */
static bool ir_word(struct ir_parser *x, char *word, size_t size)
{
    size_t n = 0;

    while (isalnum((unsigned char)x->p[n]) || x->p[n] == '_') n++;
    if (n == 0 || n >= size) return false;
    memcpy(word, x->p, n);
    word[n] = 0;
    x->p += n;
    return true;
}

static bool ir_number(struct ir_parser *x, uint64_t *v, bool *negative)
{
    char *end;

    ir_blanks(x);
    *negative = *x->p == '-';
    if (*negative) x->p++;
    if (!isdigit((unsigned char)*x->p)) return ir_fail(x, "number expected");
    errno = 0;
    *v = strtoull(x->p, &end, x->p[0] == '0' && x->p[1] == 'x' ? 16 : 10);
    if (errno) return ir_fail(x, "number too large");
    x->p = end;
    return true;
}

static bool ir_unsigned(struct ir_parser *x, uint64_t *v, uint64_t max)
{
    bool negative;

    if (!ir_number(x, v, &negative)) return false;
    if (negative || *v > max)
        return ir_fail(x, "number out of range, at most 0x%" PRIx64 " here", max);
    return true;
}

static unsigned ir_type_named(const char *word)
{
    for (unsigned t = IR_I1; t < IR_TYPE_COUNT; t++)
        if (strcmp(word, ir_type_name(t)) == 0) return t;
    return IR_NONE;
}

/* ---- references ------------------------------------------------------ */

/* %N; forward: a number not defined yet is fine and returned marked. */
static bool ir_parse_value(struct ir_parser *x, bool forward, uint32_t *r)
{
    uint64_t n;

    if (!ir_unsigned(x, &n, IR_MAX_INS - 1)) return false;
    if (x->value[n]) {
        *r = x->value[n];
        return true;
    }
    if (!forward) return ir_fail(x, "%%%" PRIu64 " is not defined before", n);
    *r = IR_FORWARD | (uint32_t)n;
    return true;
}

/* Constants can come without bound from a file: they must not end in ir_overflow. */
static bool ir_const_room(struct ir_parser *x)
{
    return x->f->nk > IR_BIAS - IR_MAX_CONSTS || ir_fail(x, "too many constants");
}

/* A constant; want and place as for the printer. */
static bool ir_parse_const(struct ir_parser *x, unsigned want, bool place, uint32_t *r)
{
    bool negative, kaddr = ir_accept(x, "@");
    char word[8];
    uint64_t v, mask;
    unsigned type = want;

    if (!ir_number(x, &v, &negative) || !ir_const_room(x)) return false;
    if (*x->p == '.') {
        x->p++;
        if (!ir_word(x, word, sizeof word) || !(type = ir_type_named(word)))
            return ir_fail(x, "type expected after '.'");
        place = false;
    }
    if (kaddr || place) {
        if (negative) return ir_fail(x, "negative guest address");
        *r = ir_kaddr(x->f, v);
        return true;
    }
    if (type == IR_NONE) return ir_fail(x, "a constant needs its type here, as in 1.i64");
    if (!ir_is_float(type) && type != IR_REF && (!ir_is_int(type) || type == IR_I128))
        return ir_fail(x, "no constants of type %s", ir_type_name(type));
    mask = ir_mask(type);
    if (negative ? v > (mask >> 1) + 1 || type == IR_I1 : v > mask)
        return ir_fail(x, "constant does not fit %s", ir_type_name(type));
    v = (negative ? 0 - v : v) & mask;
    *r = ir_k(x->f, type == IR_REF ? IR_KREF : ir_is_float(type) ? IR_KF : IR_KI, type, v);
    return true;
}

static bool ir_parse_ref(struct ir_parser *x, unsigned want, bool place, uint32_t *r)
{
    ir_blanks(x);
    if (*x->p == '%') {
        x->p++;
        return ir_parse_value(x, false, r);
    }
    if (ir_accept(x, "_")) {
        *r = IR_NIL;
        return true;
    }
    return ir_parse_const(x, want, place, r);
}

/* bN, left as a marked number, or "entry" */
static bool ir_parse_label(struct ir_parser *x, uint32_t *r)
{
    uint64_t n;

    if (ir_accept(x, "entry")) {
        *r = IR_NIL;
        return true;
    }
    if (*x->p != 'b') return ir_fail(x, "block expected");
    x->p++;
    if (!ir_unsigned(x, &n, IR_MAX_INS - 1)) return false;
    *r = IR_FORWARD | (uint32_t)n;
    return true;
}

static bool ir_parse_slot(struct ir_parser *x, uint32_t *slot)
{
    const struct ir_guest *g = x->f->guest;
    char word[16];

    ir_blanks(x);
    if (!ir_word(x, word, sizeof word)) return ir_fail(x, "slot expected");
    if (g) {
        for (unsigned s = 0; s < g->nslots; s++)
            if (strncmp(word, g->slots[s].name, sizeof g->slots[s].name) == 0) {
                *slot = s;
                return true;
            }
    } else if (word[0] == 's' && isdigit((unsigned char)word[1])) {
        char *end;
        unsigned long n = strtoul(word + 1, &end, 10);

        if (!*end && n < IR_MAX_SLOTS) {
            *slot = (uint32_t)n;
            return true;
        }
    }
    return ir_fail(x, "no slot is named '%s'", word);
}

/* ---- operands -------------------------------------------------------- */

static bool ir_parse_phi(struct ir_parser *x, struct ir_ins *i)
{
    uint32_t n = 0, at = x->f->nextra, pair[2];

    do {
        if (!ir_expect(x, "[") || !ir_parse_label(x, &pair[0])) return false;
        ir_blanks(x);
        if (*x->p == '%') {
            x->p++;
            if (!ir_parse_value(x, true, &pair[1])) return false;
        } else if (!ir_parse_const(x, i->ty, false, &pair[1])) {
            return false;
        }
        if (!ir_expect(x, "]")) return false;
        ir_extra(x->f, pair, 1);
        n++;
    } while (ir_accept(x, ","));
    i->a = at;
    i->b = n;
    return true;
}

static bool ir_parse_address(struct ir_parser *x, struct ir_ins *i)
{
    bool minus;
    uint64_t v;

    if (!ir_expect(x, "[") || !ir_parse_ref(x, IR_I64, false, &i->a)) return false;
    if (i->op == IR_LD || i->op == IR_ST || i->op == IR_PEEK) {
        minus = ir_accept(x, "-");
        if (minus || ir_accept(x, "+")) {
            if (!ir_unsigned(x, &v, (uint64_t)INT32_MAX + minus)) return false;
            i->b = (uint32_t)(minus ? 0 - v : v);
        }
    }
    return ir_expect(x, "]");
}

/* ", ref" */
static bool ir_parse_next(struct ir_parser *x, unsigned want, uint32_t *r)
{
    return ir_expect(x, ",") && ir_parse_ref(x, want, false, r);
}

static bool ir_parse_helper(struct ir_parser *x, struct ir_ins *i)
{
    uint64_t n;

    if (!ir_expect(x, "#") || !ir_unsigned(x, &n, 0xffff)) return false;
    i->aux = (uint16_t)n;
    return ir_parse_next(x, IR_NONE, &i->a) && ir_parse_next(x, IR_NONE, &i->b) &&
           ir_parse_next(x, IR_NONE, &i->c);
}

static bool ir_parse_imark(struct ir_parser *x, struct ir_ins *i)
{
    uint64_t pc, len;

    if (!ir_unsigned(x, &pc, UINT64_MAX) || !ir_expect(x, ",") || !ir_unsigned(x, &len, 0xffff))
        return false;
    i->a = (uint32_t)pc;
    i->b = (uint32_t)(pc >> 32);
    i->aux = (uint16_t)len;
    return true;
}

static bool ir_parse_plain(struct ir_parser *x, struct ir_ins *i)
{
    uint32_t *operand[3] = {&i->a, &i->b, &i->c};

    for (unsigned n = 0; n < 3; n++) {
        unsigned kind = ir_ops[i->op].opd[n];
        bool ok;

        if (kind == IR_OPD__) break;
        if (n && !ir_expect(x, ",")) return false;
        if (kind == IR_OPD_S)
            ok = ir_parse_slot(x, operand[n]);
        else if (kind == IR_OPD_B)
            ir_blanks(x), ok = ir_parse_label(x, operand[n]);
        else
            ok = ir_parse_ref(x, ir_operand_type(x->f, i, n), false, operand[n]);
        if (!ok) return false;
    }
    return true;
}

/* stored: for ST, the type named after the operation */
static bool ir_parse_operands(struct ir_parser *x, struct ir_ins *i, unsigned stored)
{
    uint64_t v;

    switch (i->op) {
    case IR_IMARK: return ir_parse_imark(x, i);
    case IR_PHI: return ir_parse_phi(x, i);
    case IR_PUT:
        if (!ir_parse_slot(x, &i->a) || !ir_parse_next(x, ir_slot_type(x->f, i->a), &i->b))
            return false;
        if (!ir_accept(x, ",")) return true;
        return ir_expect(x, "was") && ir_parse_ref(x, ir_slot_type(x->f, i->a), false, &i->c);
    case IR_SIDE:
        return ir_parse_ref(x, IR_I1, false, &i->a) && ir_expect(x, "->") &&
               ir_parse_ref(x, IR_I64, true, &i->b);
    case IR_EXIT:
        if (!ir_parse_ref(x, IR_I64, true, &i->a)) return false;
        return !ir_accept(x, "ret") || ir_parse_ref(x, IR_I64, true, &i->b);
    case IR_TRAP:
        if (!ir_parse_ref(x, IR_I64, true, &i->a)) return false;
        if (!ir_accept(x, ",")) return true;
        if (!ir_unsigned(x, &v, UINT32_MAX)) return false;
        i->b = (uint32_t)v;
        return true;
    case IR_LD:
    case IR_PEEK:
    case IR_LR: return ir_parse_address(x, i);
    case IR_ST:
        if (!ir_parse_address(x, i) || !ir_parse_next(x, stored, &i->c)) return false;
        if (ir_valid(x->f, i->c) && ir_ty(x->f, i->c) != stored)
            return ir_fail(x, "st.%s of a value of type %s", ir_type_name(stored),
                           ir_type_name(ir_ty(x->f, i->c)));
        return true;
    case IR_AMO:
    case IR_SC:
        return ir_parse_address(x, i) && ir_parse_next(x, ir_operand_type(x->f, i, 1), &i->b);
    case IR_CAS:
        return ir_parse_address(x, i) && ir_parse_next(x, i->ty, &i->b) &&
               ir_parse_next(x, i->ty, &i->c);
    case IR_HELPER: return ir_parse_helper(x, i);
    default: return ir_parse_plain(x, i);
    }
}

/* ---- instructions ---------------------------------------------------- */

static bool ir_parse_aux_word(struct ir_parser *x, struct ir_ins *i, const char *word)
{
    const struct ir_aux_word *w = ir_aux_words(i->op);

    if (strncmp(word, "aux", 3) == 0 && isdigit((unsigned char)word[3])) {
        i->aux = (uint16_t)strtoul(word + 3, NULL, 10);
        return true;
    }
    for (; w && w->word; w++)
        if (strcmp(word, w->word) == 0) {
            i->aux = (uint16_t)((i->aux & ~w->mask) | w->value);
            return true;
        }
    return ir_fail(x, "'%s' has no '.%s'", ir_ops[i->op].name, word);
}

static bool ir_parse_op(struct ir_parser *x, struct ir_ins *i, unsigned *type)
{
    char word[16];
    unsigned op = 0;

    ir_blanks(x);
    if (!ir_word(x, word, sizeof word)) return ir_fail(x, "operation expected");
    while (op < IR_OP_COUNT && strcmp(word, ir_ops[op].name) != 0) op++;
    if (op == IR_OP_COUNT || op == IR_BLOCK || ir_ops[op].cls == IR_CLASS_K)
        return ir_fail(x, "no operation is named '%s'", word);
    i->op = (uint8_t)op;
    *type = IR_NONE;
    while (*x->p == '.') {
        unsigned t;

        x->p++;
        if (!ir_word(x, word, sizeof word)) return ir_fail(x, "word expected after '.'");
        t = ir_type_named(word);
        if (t && *type == IR_NONE && (ir_shows_type(op) || op == IR_ST))
            *type = t;
        else if (!ir_parse_aux_word(x, i, word))
            return false;
    }
    if (!ir_shows_type(op) && op != IR_ST) /* the only one there is */
        *type = (unsigned)__builtin_ctz(ir_ops[op].types);
    else if (*type == IR_NONE)
        return ir_fail(x, "'%s' needs a type", ir_ops[op].name);
    return true;
}

static bool ir_parse_block(struct ir_parser *x)
{
    uint64_t n;

    x->p++;
    if (!ir_unsigned(x, &n, IR_MAX_INS - 1) || !ir_expect(x, ":")) return false;
    if (x->block[n]) return ir_fail(x, "block b%" PRIu64 " is defined twice", n);
    x->block[n] = ir_append(x->f, ir_head(IR_BLOCK, IR_NONE, 0), 0, 0, 0);
    return true;
}

static bool ir_parse_line(struct ir_parser *x)
{
    struct ir_ins i = {0};
    uint64_t n = IR_MAX_INS;
    unsigned type = IR_NONE;
    ir_ref r;

    if (x->f->nins >= IR_BIAS + IR_MAX_INS) return ir_fail(x, "too many instructions");
    if (x->p[0] == 'b' && isdigit((unsigned char)x->p[1])) return ir_parse_block(x);
    if (*x->p == '%') {
        x->p++;
        if (!ir_unsigned(x, &n, IR_MAX_INS - 1) || !ir_expect(x, "=")) return false;
        if (x->value[n]) return ir_fail(x, "%%%" PRIu64 " is defined twice", n);
    }
    if (!ir_parse_op(x, &i, &type)) return false;
    i.ty = (uint8_t)(i.op == IR_ST ? IR_NONE : type);
    if ((i.ty != IR_NONE) != (n < IR_MAX_INS))
        return ir_fail(x, i.ty ? "'%s' has a result, '%%N =' expected" : "'%s' has no result",
                       ir_ops[i.op].name);
    if (!ir_parse_operands(x, &i, type)) return false;
    r = ir_append(x->f, ir_head(i.op, i.ty, i.aux), i.a, i.b, i.c);
    if (n < IR_MAX_INS) x->value[n] = r;
    return true;
}

/* ---- functions ------------------------------------------------------- */

static bool ir_parse_head(struct ir_parser *x)
{
    uint64_t v;

    ir_blank_lines(x);
    if (!ir_expect(x, "func")) return false;
    for (;;) {
        if (ir_accept(x, "key=")) {
            if (!ir_unsigned(x, &x->f->key, UINT64_MAX)) return false;
        } else if (ir_accept(x, "mode=")) {
            if (!ir_unsigned(x, &v, UINT32_MAX)) return false;
            x->f->mode = (uint32_t)v;
        } else if (ir_accept(x, "nguest=")) {
            if (!ir_unsigned(x, &v, UINT32_MAX)) return false;
            x->f->nguest = (uint32_t)v;
        } else {
            return ir_expect(x, "{");
        }
    }
}

static bool ir_resolve_ref(struct ir_parser *x, const ir_ref *map, char kind, uint32_t *r)
{
    uint32_t n = *r & ~(uint32_t)IR_FORWARD;

    if (!(*r & IR_FORWARD)) return true;
    if (!map[n]) return ir_fail(x, "%c%" PRIu32 " is not defined in this function", kind, n);
    *r = map[n];
    return true;
}

static bool ir_resolve(struct ir_parser *x)
{
    struct ir_func *f = x->f;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        struct ir_ins *i = &f->ins[r];

        if (i->op == IR_JMP && !ir_resolve_ref(x, x->block, 'b', &i->a)) return false;
        if (i->op == IR_BR &&
            (!ir_resolve_ref(x, x->block, 'b', &i->b) || !ir_resolve_ref(x, x->block, 'b', &i->c)))
            return false;
    }
    for (uint32_t n = 0; n < f->nextra; n++)
        if (!ir_resolve_ref(x, n & 1 ? x->value : x->block, n & 1 ? '%' : 'b', &f->extra[n]))
            return false;
    return true;
}

static bool ir_parse_body(struct ir_parser *x)
{
    for (;;) {
        ir_blank_lines(x);
        if (ir_accept(x, "}")) return ir_resolve(x);
        if (!*x->p) return ir_fail(x, "'}' expected at the end");
        if (!ir_parse_line(x)) return false;
        ir_blanks(x);
        if (*x->p != '\n' && *x->p != '}' && *x->p)
            return ir_fail(x, "end of line expected at '%.*s'", (int)strcspn(x->p, "\n"), x->p);
    }
}

int ir_parse(struct ir_func *f, const char **text, struct base_text *error)
{
    struct ir_parser *x = base_zalloc(sizeof *x);
    bool ok;

    ir_func_reset(f);
    f->flags |= IR_FLAG_NOFOLD;
    x->f = f;
    x->p = *text;
    x->line = 1;
    x->error = error;
    ok = ir_parse_head(x) && ir_parse_body(x);
    *text = x->p;
    free(x);
    return ok ? 0 : -1;
}
