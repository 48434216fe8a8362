/* opt_bytes.c: words that are loaded in bytes. SPDX-License-Identifier: Apache-2.0
 *
 * Compilers for strict alignment read a word in pieces and put it together:
 *
 *     %1 = ld.i8 [%0]                           %1 = ld.i16.again [%0]
 *     %2 = ld.i8 [%0 + 1]                ->     %4 = zext.i32 %1
 *     %4 = zext %1 | zext %2 << 8
 *
 * Forward over the values goes what each of their bytes is: zero, a byte of some load, a copy of
 * the sign below it, or not known. A value whose low 2, 4 or 8 bytes follow each other in memory,
 * in either order, is a *root*: its loads become one, where the first of them stood. What else was
 * computed of these bytes alone (the parts of the word, which state maps may ask for) becomes a
 * shift and a mask of the word; most of it nobody wants any more.
 *
 * That is exact, since
 *  - the pieces are plain loads at one base, in one block, with no store, effect or poll between;
 *  - the word's load is marked (IR_LD_AGAIN): if it faults, for it reaches what a later piece would
 *    have, nothing has happened yet, and the guest's instructions are executed one by one;
 *  - a load at another base between the pieces would change places with one, and if both read the
 *    same byte that can be seen (RVWMO, rule 2). It must not be there, unless it is a piece of
 *    another word. Such words are a *bundle*: all are loaded where the first piece stood, and then
 *    again, but for the last one. If that gives the same, all bytes were in memory at one time, and
 *    any order of the pieces could have found them; if not, somebody else writes there at this
 *    moment, and the guest's loads are left to tier 1:
 *
 *     %1 = ld.i32.acq.again [%0]
 *     %2 = ld.i32.acq.again [%9]
 *     %3 = ld.i32.acq.again [%0]
 *     side %1 != %3 -> the pc here
 *
 * Requires: state-SSA form.
 */
#include "opt/opt_priv.h"

#include <stdlib.h>

enum { OB_BYTES = 8 };

/* What a byte of a value is: one of these, or the ref of a load of a byte. */
enum { OB_UNKNOWN, OB_ZERO, OB_SIGN, OB_LOAD };
typedef uint32_t ob_value[OB_BYTES];

struct ob_word {
    ir_ref first, last; /* of its pieces */
    ir_ref base;
    int32_t disp;  /* of its lowest address */
    unsigned size; /* bytes */
    bool big;      /* the lowest address has the highest byte */
    bool dropped;  /* it cannot be one load */
    unsigned next; /* of its bundle, or 0 */
    ir_ref at;     /* the first word of a bundle: in place of which load all are made */
    ir_ref made;   /* in the new function, as i64 if it has 8 bytes, else i32 */
};

enum { OB_BUNDLE = 4 }; /* words in one */

struct ob {
    const struct ir_func *f;
    const struct opt_cfg *cfg;
    ob_value *byte;       /* by ref - IR_BIAS */
    uint32_t *of;         /* by ref - IR_BIAS: of which word the load is a piece, or 0 */
    uint32_t *head;       /* the same: the first word of the bundle that is loaded there, or 0 */
    struct ob_word *word; /* from 1 on */
    unsigned nwords;
};

static bool ob_is_load(uint32_t b)
{
    return b >= OB_LOAD;
}

/* ---- what the bytes of a value are -------------------------------------- */

static void ob_fill(ob_value v, unsigned from, uint32_t with)
{
    for (unsigned n = from; n < OB_BYTES; n++) v[n] = with;
}

static unsigned ob_size(const struct ob *x, ir_ref r)
{
    unsigned ty = ir_ty(x->f, r);

    return ir_is_int(ty) && ty != IR_I128 ? ir_type_bits(ty) / 8 : 0;
}

static void ob_get(const struct ob *x, ir_ref r, ob_value v)
{
    if (!ir_is_const(r)) {
        memcpy(v, x->byte[r - IR_BIAS], sizeof(ob_value));
        return;
    }
    for (unsigned n = 0; n < OB_BYTES; n++)
        v[n] = x->f->ins[r].op == IR_KI && !(ir_kval(x->f, r) >> 8 * n & 0xff) ? OB_ZERO
                                                                               : OB_UNKNOWN;
}

static void ob_extend(const struct ob *x, const struct ir_ins *i, ob_value v)
{
    unsigned from = ob_size(x, i->a);
    uint32_t top;

    if (!from) return; /* of an i1 */
    ob_get(x, i->a, v);
    top = i->op == IR_ZEXT ? (uint32_t)OB_ZERO : v[from - 1];
    ob_fill(v, from, ob_is_load(top) ? (uint32_t)OB_SIGN : top);
}

/* By whole bytes. */
static void ob_shift(const struct ob *x, const struct ir_ins *i, unsigned size, ob_value v)
{
    unsigned by = ir_is_const(i->b) ? (unsigned)ir_kval(x->f, i->b) : 1;
    ob_value a;

    if (by % 8 || by >= 8 * size) return;
    by /= 8;
    ob_get(x, i->a, a);
    for (unsigned n = 0; n < size; n++) {
        if (i->op == IR_SHL)
            v[n] = n >= by ? a[n - by] : (uint32_t)OB_ZERO;
        else
            v[n] = n + by < size ? a[n + by] : (uint32_t)OB_ZERO;
    }
    if (v[0] == OB_SIGN) ob_fill(v, 0, OB_UNKNOWN); /* of what is not there any more */
}

/* Two that have no bit in common, or bytes at least. */
static void ob_join(const struct ob *x, const struct ir_ins *i, ob_value v)
{
    bool apart = true;
    ob_value a, b;

    ob_get(x, i->a, a);
    ob_get(x, i->b, b);
    for (unsigned n = 0; n < OB_BYTES; n++) apart &= a[n] == OB_ZERO || b[n] == OB_ZERO;
    if (i->op == IR_ADD && !apart) return; /* it carries */
    for (unsigned n = 0; n < OB_BYTES; n++) {
        if (a[n] == OB_ZERO || b[n] == OB_ZERO) v[n] = a[n] == OB_ZERO ? b[n] : a[n];
        /* a sign is that of the byte below it, and all copies are of one */
        if (v[n] == OB_SIGN && (!n || (v[n - 1] != OB_SIGN && !ob_is_load(v[n - 1]))))
            v[n] = OB_UNKNOWN;
    }
}

static void ob_mask(const struct ob *x, const struct ir_ins *i, ob_value v)
{
    uint64_t k;
    ob_value a;

    if (!ir_is_const(i->b) || x->f->ins[i->b].op != IR_KI) return;
    k = ir_kval(x->f, i->b);
    ob_get(x, i->a, a);
    for (unsigned n = 0; n < OB_BYTES; n++, k >>= 8) {
        if (!(k & 0xff))
            v[n] = OB_ZERO;
        else if ((k & 0xff) == 0xff && a[n] != OB_SIGN)
            v[n] = a[n];
    }
}

static void ob_bytes(const struct ob *x, ir_ref r, ob_value v)
{
    const struct ir_ins *i = &x->f->ins[r];
    unsigned size = ob_size(x, r);

    ob_fill(v, 0, OB_UNKNOWN);
    if (!size) return;
    switch (i->op) {
    case IR_LD:
        if (i->ty == IR_I8 && i->aux == IR_AS_GUEST) v[0] = r;
        break;
    case IR_ZEXT:
    case IR_SEXT: ob_extend(x, i, v); break;
    case IR_TRUNC: ob_get(x, i->a, v); break;
    case IR_SHL:
    case IR_SHR: ob_shift(x, i, size, v); break;
    case IR_OR:
    case IR_XOR:
    case IR_ADD: ob_join(x, i, v); break;
    case IR_AND: ob_mask(x, i, v); break;
    default: break;
    }
    ob_fill(v, size, OB_ZERO);
}

/* ---- words -------------------------------------------------------------- */

/* Do the low w->size bytes of v follow each other in memory? */
static bool ob_row(const struct ob *x, const ob_value v, struct ob_word *w)
{
    const struct ir_ins *low, *next;
    int64_t step;

    if (!ob_is_load(v[0]) || !ob_is_load(v[1])) return false;
    low = &x->f->ins[v[0]];
    next = &x->f->ins[v[1]];
    step = (int64_t)(int32_t)next->b - (int32_t)low->b;
    if (step != 1 && step != -1) return false;
    for (unsigned n = 0; n < w->size; n++) {
        const struct ir_ins *i = &x->f->ins[v[n]];

        if (!ob_is_load(v[n]) || i->a != low->a || x->of[v[n] - IR_BIAS]) return false;
        if ((int32_t)i->b != (int32_t)low->b + step * (int64_t)n) return false;
    }
    w->base = low->a;
    w->big = step < 0;
    w->disp = (int32_t)(w->big ? x->f->ins[v[w->size - 1]].b : low->b);
    return true;
}

/* Is value r a word? The longest whose pieces nobody has taken before. */
static void ob_root(struct ob *x, ir_ref r)
{
    const uint32_t *v = x->byte[r - IR_BIAS];

    for (unsigned size = 8; size >= 2; size /= 2) {
        struct ob_word w = {.size = size, .first = v[0], .last = v[0]};

        if (size < OB_BYTES && v[size] != OB_ZERO && v[size] != OB_SIGN) continue;
        if (!ob_row(x, v, &w)) continue;
        for (unsigned n = 1; n < size; n++) {
            w.first = v[n] < w.first ? v[n] : w.first;
            w.last = v[n] > w.last ? v[n] : w.last;
        }
        if (opt_block_of(x->cfg, w.first) != opt_block_of(x->cfg, w.last)) continue;
        x->word[++x->nwords] = w;
        for (unsigned n = 0; n < size; n++) x->of[v[n] - IR_BIAS] = x->nwords;
        return;
    }
}

/* ---- bundles ------------------------------------------------------------ */

struct ob_bundle {
    unsigned word[OB_BUNDLE], n;
    ir_ref first, last;
};

/* The word that load r is a piece of, if there is to be one. */
static unsigned ob_word_of(const struct ob *x, ir_ref r)
{
    unsigned w = x->of[r - IR_BIAS];

    return w && !x->word[w].dropped ? w : 0;
}

static bool ob_add(struct ob *x, struct ob_bundle *k, unsigned number)
{
    const struct ob_word *w = &x->word[number];

    for (unsigned n = 0; n < k->n; n++)
        if (k->word[n] == number) return true;
    if (k->n == OB_BUNDLE || w->at) return false;
    k->word[k->n++] = number;
    k->first = w->first < k->first ? w->first : k->first;
    k->last = w->last > k->last ? w->last : k->last;
    return true;
}

/* May r stand between the first and the last piece of bundle k? If it is a piece of another word,
 * that becomes one of k's. */
static bool ob_may_pass(struct ob *x, struct ob_bundle *k, ir_ref r)
{
    const struct ir_ins *i = &x->f->ins[r];
    const struct ob_word *w = &x->word[k->word[0]];
    int64_t ahead;

    switch (i->op) {
    case IR_IMARK:
    case IR_PUT:
    case IR_SIDE: return true;
    case IR_LD:
        if (i->aux != IR_AS_GUEST) return false;
        if (ob_word_of(x, r)) return ob_add(x, k, ob_word_of(x, r));
        /* beside the word, and surely not the same bytes */
        ahead = (int64_t)(int32_t)i->b - w->disp;
        return k->n == 1 && i->a == w->base &&
               (ahead >= w->size || ahead + ir_type_bits(i->ty) / 8 <= 0);
    default: return ir_ops[i->op].cls == IR_CLASS_P;
    }
}

/* The words that have to be loaded together with word k->word[0]; false: it cannot be. */
static bool ob_bundle(struct ob *x, struct ob_bundle *k)
{
    for (unsigned before = 0; before != k->n;) { /* again with what has come to it */
        before = k->n;
        for (ir_ref r = k->first; r < k->last; r++)
            if (!ob_may_pass(x, k, r)) return false;
    }
    for (unsigned n = 0; n < k->n; n++)
        if (x->word[k->word[n]].base >= k->first) return false;
    return true;
}

static void ob_bundles(struct ob *x)
{
    for (unsigned number = 1; number <= x->nwords; number++) {
        struct ob_word *w = &x->word[number];
        struct ob_bundle k = {{number}, 1, w->first, w->last};

        if (w->at || w->dropped) continue;
        if (!ob_bundle(x, &k)) {
            w->dropped = true;
            continue;
        }
        for (unsigned n = 0; n < k.n; n++) {
            x->word[k.word[n]].at = k.first;
            x->word[k.word[n]].next = n + 1 < k.n ? k.word[n + 1] : 0;
        }
        x->head[k.first - IR_BIAS] = number;
    }
}

/* ---- building ----------------------------------------------------------- */

/* Which byte of the word, counted as its value has them, load r is. */
static int ob_index(const struct ob *x, const struct ob_word *w, ir_ref r)
{
    int n = (int32_t)x->f->ins[r].b - w->disp;

    return w->big ? (int)w->size - 1 - n : n;
}

static ir_ref ob_shifted(struct ir_func *f, ir_ref v, int by)
{
    unsigned ty = ir_ty(f, v);

    if (!by) return v;
    return ir_op2(f, by > 0 ? IR_SHR : IR_SHL, ty, v, ir_ki(f, ty, 8 * (unsigned)abs(by)));
}

static ir_ref ob_load(struct opt_rebuild *b, const struct ob_word *w, unsigned order)
{
    unsigned ty = w->size == 8 ? IR_I64 : w->size == 4 ? IR_I32 : IR_I16;

    return ir_ld(b->dst, ty, IR_AS_GUEST | IR_LD_AGAIN | order, opt_rebuild_map(b, w->base),
                 w->disp);
}

/* The guest's pc of the instruction that r belongs to. */
static uint64_t ob_pc(const struct ir_func *f, ir_ref r)
{
    while (f->ins[r].op != IR_IMARK) r--;
    return ir_imark_pc(&f->ins[r]);
}

/* The bundle in the place of load r. */
static void ob_make(struct opt_rebuild *b, struct ob *x, ir_ref r)
{
    struct ir_func *f = b->dst;
    unsigned first = x->head[r - IR_BIAS];
    unsigned order = x->word[first].next ? IR_ACQUIRE : IR_RELAXED;

    for (unsigned n = first; n; n = x->word[n].next)
        x->word[n].made = ob_load(b, &x->word[n], order);
    for (unsigned n = first; x->word[n].next; n = x->word[n].next)
        ir_emit(f, IR_SIDE, IR_NONE, 0,
                ir_cmp(f, IR_NE, x->word[n].made, ob_load(b, &x->word[n], order)),
                ir_kaddr(f, ob_pc(b->src, r)), 0);
    for (unsigned n = first; n; n = x->word[n].next) {
        struct ob_word *w = &x->word[n];

        if (w->size == 2) w->made = ir_op1(f, IR_ZEXT, IR_I32, w->made);
        if (w->big) w->made = ir_op1(f, IR_BSWAP, ir_ty(f, w->made), w->made);
        if (w->big && w->size == 2) w->made = ob_shifted(f, w->made, 2);
    }
}

static bool ob_build_load(struct opt_rebuild *b, struct ob *x, ir_ref r)
{
    struct ob_word *w;

    if (x->head[r - IR_BIAS] && opt_may(b->dst)) ob_make(b, x, r);
    if (!ob_word_of(x, r)) return false;
    w = &x->word[ob_word_of(x, r)];
    if (!w->made) return false;
    opt_rebuild_set(b, r, ir_op1(b->dst, IR_TRUNC, IR_I8,
                                 ob_shifted(b->dst, w->made, ob_index(x, w, r))));
    return true;
}

/* The word whose bytes alone are in v, with zeros; *by: how far down they are. NULL: others are, or
 * it is one byte as it was loaded. */
static struct ob_word *ob_alone(const struct ob *x, const ob_value v, int *by)
{
    struct ob_word *w = NULL;
    unsigned beyond = 0;

    for (int n = 0; n < OB_BYTES; n++) {
        uint32_t of;

        if (v[n] == OB_ZERO) continue;
        beyond |= (unsigned)n;
        if (!ob_is_load(v[n]) || !(of = ob_word_of(x, v[n]))) return NULL;
        if (!w) {
            w = &x->word[of];
            *by = ob_index(x, w, v[n]) - n;
        }
        if (w != &x->word[of] || ob_index(x, w, v[n]) - n != *by) return NULL;
    }
    return w && w->made && beyond ? w : NULL;
}

/* Value v, of these bytes, from its word; IR_NIL: it is not only that. */
static ir_ref ob_part(struct ir_func *f, const struct ob *x, const ob_value v, unsigned type)
{
    int by = 0, size;
    uint64_t has = 0, wants = 0;
    struct ob_word *w = ob_alone(x, v, &by);
    bool high = false;
    ir_ref r;

    if (!w) return IR_NIL;
    for (int n = 0; n < OB_BYTES; n++) {
        uint64_t byte = (uint64_t)0xff << 8 * n;

        has |= n + by >= 0 && n + by < (int)w->size ? byte : 0;
        wants |= v[n] != OB_ZERO ? byte : 0;
        high |= n >= 4 && v[n] != OB_ZERO;
    }
    r = w->made;
    size = w->size == 8 ? 8 : 4;
    if (high && size == 4) r = ir_op1(f, IR_ZEXT, IR_I64, r);
    r = ob_shifted(f, r, by);
    if (!high && size == 8) r = ir_op1(f, IR_TRUNC, IR_I32, r);
    if (!high) has &= UINT32_MAX;
    if (has != wants)
        r = ir_op2(f, IR_AND, ir_ty(f, r), r, ir_ki(f, ir_ty(f, r), wants));
    if (ir_ty(f, r) == type) return r;
    return ir_op1(f, ir_type_bits(type) > ir_type_bits(ir_ty(f, r)) ? IR_ZEXT : IR_TRUNC, type, r);
}

static bool ob_build(struct opt_rebuild *b, void *ctx, ir_ref r)
{
    struct ob *x = ctx;
    const struct ir_ins *i = &b->src->ins[r];
    ob_value v;
    bool sign;
    ir_ref to;

    if (!x->nwords) return false;
    if (i->op == IR_LD) return ob_build_load(b, x, r);
    if (ir_ops[i->op].cls != IR_CLASS_P || (i->ty != IR_I32 && i->ty != IR_I64)) return false;
    memcpy(v, x->byte[r - IR_BIAS], sizeof v);
    sign = i->ty == IR_I64 && ob_is_load(v[3]);
    for (unsigned n = 4; n < OB_BYTES; n++) sign &= v[n] == OB_SIGN;
    if (sign) ob_fill(v, 4, OB_ZERO);
    to = ob_part(b->dst, x, v, sign ? IR_I32 : i->ty);
    if (!to) return false;
    opt_rebuild_set(b, r, sign ? ir_op1(b->dst, IR_SEXT, IR_I64, to) : to);
    return true;
}

const char *opt_bytes_pass(struct ir_func *dst, const struct ir_func *src,
                           struct base_arena *arena)
{
    unsigned n = src->nins - IR_BIAS, loads = 0;
    struct ob x = {.f = src};
    struct opt_rebuild b = {.src = src, .dst = dst, .ctx = &x, .ins = ob_build};

    for (ir_ref r = IR_BIAS; r < src->nins; r++)
        loads += src->ins[r].op == IR_LD && src->ins[r].ty == IR_I8;
    x.cfg = opt_cfg_edges(src, arena);
    x.byte = base_arena_alloc(arena, n * sizeof *x.byte);
    x.of = base_arena_alloc(arena, n * sizeof *x.of);
    x.word = base_arena_alloc(arena, (loads / 2 + 1) * sizeof *x.word);
    x.head = base_arena_alloc(arena, n * sizeof *x.head);
    memset(x.of, 0, n * sizeof *x.of);
    memset(x.head, 0, n * sizeof *x.head);
    for (ir_ref r = IR_BIAS; loads > 1 && r < src->nins; r++)
        ob_bytes(&x, r, x.byte[r - IR_BIAS]);
    for (ir_ref r = src->nins; loads > 1 && r-- > IR_BIAS;)
        if (ir_ops[src->ins[r].op].cls == IR_CLASS_P) ob_root(&x, r);
    ob_bundles(&x);
    return opt_rebuild_run(&b, arena);
}
