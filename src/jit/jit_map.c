/* jit_map.c: state maps: where guest slots are at one point of host code.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A map lists only what is not at home (home: the slot's pinned register, or
 * else its place in the state). Most points have short lists, and there are
 * many points, so a map is bytes:
 *
 *     pc      first map of a region: 8 bytes; others: signed varint, the
 *             difference to the first map's pc
 *     entry*  slot (1 byte), location | how << 4 (1 byte), operand (varint;
 *             signed for constants and for addresses, which count from the
 *             first map's pc); if bit 3 of how is set, a recipe: IR operation,
 *             type (1 byte each), constant (signed varint)
 *     0xff
 *
 * An entry may name another slot's place in the state, so all are read before
 * any is written.
 */
#include "jit/jit_priv.h"

enum { MAP_END = 0xff, MAP_RECIPE = 8 };

/* ---- writing --------------------------------------------------------- */

/* Maps are most of what a compile writes besides code: begin makes room for the
 * longest one, so that the bytes go in without further questions. */
enum { MAP_MAX = 16 + IR_MAX_SLOTS * 24 };

static void put_byte(struct jit_code *c, unsigned b)
{
    c->map_bytes.data[c->map_bytes.len++] = (uint8_t)b;
}

static void put_varint(struct jit_code *c, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put_byte(c, (unsigned)v | 0x80);
    put_byte(c, (unsigned)v);
}

static uint64_t zigzag(uint64_t v) { return v << 1 ^ (uint64_t)((int64_t)v >> 63); }
static uint64_t unzigzag(uint64_t v) { return v >> 1 ^ -(v & 1); }

static uint64_t first_pc(const uint8_t *bytes)
{
    uint64_t pc;
    memcpy(&pc, bytes, sizeof pc);
    return pc;
}

void jit_map_begin(struct jit_code *c, uint64_t pc)
{
    base_vec_push(&c->map_start, (uint32_t)c->map_bytes.len);
    if (base_unlikely(c->map_bytes.cap - c->map_bytes.len < MAP_MAX)) {
        c->map_bytes.cap = c->map_bytes.cap * 2 + MAP_MAX;
        c->map_bytes.data = base_realloc(c->map_bytes.data, c->map_bytes.cap);
    }
    if (c->map_start.len == 1) {
        memcpy(c->map_bytes.data, &pc, sizeof pc);
        c->map_bytes.len = sizeof pc;
    } else {
        put_varint(c, zigzag(pc - first_pc(c->map_bytes.data)));
    }
}

void jit_map_add(struct jit_code *c, unsigned slot, enum jit_loc loc, enum jit_how how, uint64_t n)
{
    BASE_DASSERT(slot < IR_MAX_SLOTS);
    put_byte(c, slot);
    put_byte(c, (unsigned)loc | (unsigned)how << 4);
    if (loc == JIT_LOC_ADDR) /* so that a region's maps say in one place where it lies */
        n -= first_pc(c->map_bytes.data);
    put_varint(c, loc >= JIT_LOC_CONST ? zigzag(n) : n);
}

void jit_map_add_recipe(struct jit_code *c, unsigned slot, enum jit_loc loc, enum jit_how how,
                        uint64_t n, struct jit_recipe recipe)
{
    jit_map_add(c, slot, loc, how | MAP_RECIPE, n);
    put_byte(c, recipe.op);
    put_byte(c, recipe.ty);
    put_varint(c, zigzag(recipe.k));
}

unsigned jit_map_end(struct jit_code *c)
{
    put_byte(c, MAP_END);
    return (unsigned)c->map_start.len - 1;
}

/* ---- reading --------------------------------------------------------- */

static uint64_t get_varint(const uint8_t **p)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
}

static uint64_t start_of(const struct jit_maps *m, unsigned n, const uint8_t **p)
{
    BASE_ASSERT(n < m->count);
    uint64_t first = first_pc(m->bytes + m->start[0]);
    *p = m->bytes + m->start[n];
    if (n == 0) {
        *p += 8;
        return first;
    }
    return first + unzigzag(get_varint(p));
}

uint64_t jit_map_pc(const struct jit_maps *m, unsigned n)
{
    const uint8_t *p;
    return start_of(m, n, &p);
}

struct entry {
    unsigned slot, loc, how;
    uint64_t n;
    struct jit_recipe recipe;
};

static bool next_entry(const struct jit_maps *m, const uint8_t **p, struct entry *e)
{
    e->slot = *(*p)++;
    if (e->slot == MAP_END)
        return false;
    unsigned b = *(*p)++;
    e->loc = b & 15;
    e->how = b >> 4;
    e->n = get_varint(p);
    if (e->loc >= JIT_LOC_CONST)
        e->n = unzigzag(e->n);
    if (e->loc == JIT_LOC_ADDR)
        e->n += first_pc(m->bytes + m->start[0]);
    e->recipe.op = 0;
    if (e->how & MAP_RECIPE) {
        e->how &= ~(unsigned)MAP_RECIPE;
        e->recipe.op = *(*p)++;
        e->recipe.ty = *(*p)++;
        e->recipe.k = unzigzag(get_varint(p));
    }
    return true;
}

static uint64_t cook(const struct jit_recipe *r, uint64_t v)
{
    uint64_t mask = ir_type_bits(r->ty) == 64 ? UINT64_MAX : (1ull << ir_type_bits(r->ty)) - 1;
    return ir_eval(r->op, r->ty, r->ty, 0, v & mask, r->k & mask, 0, NULL);
}

static uint64_t adjust(unsigned how, uint64_t v)
{
    switch (how) {
    case JIT_HOW_SEXT32:
        return (uint64_t)(int64_t)(int32_t)v;
    case JIT_HOW_ZEXT32:
        return (uint32_t)v;
    case JIT_HOW_ZEXT8:
        return (uint8_t)v;
    case JIT_HOW_BOX32:
        return v | 0xffffffff00000000u;
    case JIT_HOW_CANON64:
        return (v & 0x7fffffffffffffffu) > 0x7ff0000000000000u ? 0x7ff8000000000000u : v;
    case JIT_HOW_BOXCANON32:
        if ((v & 0x7fffffff) > 0x7f800000)
            v = 0x7fc00000;
        return v | 0xffffffff00000000u;
    default:
        return v;
    }
}

static void write_slot(const struct ir_slot *s, void *state, uint64_t v)
{
    memcpy((char *)state + s->offset, &v, (ir_type_bits(s->type) + 7) / 8);
}

uint64_t jit_map_apply(const struct jit *j, const struct jit_maps *m, unsigned n,
                       const struct jit_regs *regs, const uint64_t *spill, void *state)
{
    const struct ir_guest *g = j->cfg.guest;
    const uint8_t *list, *p;
    uint64_t pc = start_of(m, n, &list), listed[2] = {0, 0}, value[IR_MAX_SLOTS];
    struct entry e;
    for (p = list; next_entry(m, &p, &e);) {
        uint64_t v = e.n;
        switch (e.loc) {
        case JIT_LOC_GPR: v = regs->gpr[e.n & 15]; break;
        case JIT_LOC_FPR: v = regs->fpr[e.n & 31]; break;
        case JIT_LOC_STATE: v = jit_slot_read(&g->slots[e.n], state); break;
        case JIT_LOC_SPILL: v = spill[e.n % JIT_SPILLS]; break;
        default: break;
        }
        if (e.recipe.op)
            v = cook(&e.recipe, v);
        value[e.slot] = adjust(e.how, v);
        listed[e.slot >> 6] |= 1ull << (e.slot & 63);
    }
    for (unsigned s = 0; s < g->nslots; s++) {
        if (listed[s >> 6] >> (s & 63) & 1)
            continue;
        if (j->pin_gpr[s] >= 0)
            write_slot(&g->slots[s], state, regs->gpr[j->pin_gpr[s]]);
        else if (j->pin_fpr[s] >= 0)
            write_slot(&g->slots[s], state, regs->fpr[j->pin_fpr[s]]);
    }
    for (p = list; next_entry(m, &p, &e);)
        write_slot(&g->slots[e.slot], state, value[e.slot]);
    memcpy((char *)state + g->pc_offset, &pc, sizeof pc);
    return pc;
}

void jit_map_print(const struct jit *j, const struct jit_maps *m, unsigned n,
                   struct base_text *out)
{
    static const char *const how[] = {"", ":sext32", ":zext32", ":zext8", ":box32", ":canon64",
                                      ":boxcanon32"};
    static const char *const loc[] = {"r", "x", "state", "spill", "", "@"};
    const uint8_t *p;
    struct entry e;
    base_text_printf(out, "map %u pc 0x%llx", n, (unsigned long long)start_of(m, n, &p));
    while (next_entry(m, &p, &e)) {
        base_text_printf(out, " %s=%s", j->cfg.guest->slots[e.slot].name, loc[e.loc]);
        if (e.loc == JIT_LOC_STATE)
            base_text_printf(out, ".%s", j->cfg.guest->slots[e.n].name);
        else
            base_text_printf(out, e.loc == JIT_LOC_CONST ? "0x%llx" : "%lld", (long long)e.n);
        if (e.recipe.op)
            base_text_printf(out, ":%s.%u:%lld", ir_ops[e.recipe.op].name,
                             ir_type_bits(e.recipe.ty), (long long)e.recipe.k);
        base_text_printf(out, "%s", how[e.how]);
    }
    base_text_printf(out, "\n");
}
