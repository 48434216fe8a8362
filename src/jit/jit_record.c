/* jit_record.c: one stored translation: making, checking and moving it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The layout is in jit_store.h. Everything here works on a record's own bytes;
 * where records are and which of them is wanted is jit_store.c's.
 */
#include "jit/jit_store.h"

_Static_assert(sizeof(struct jit_record) % 8 == 0 && sizeof(struct jit_record_exit) % 8 == 0 &&
                   sizeof(struct jit_reloc) % 4 == 0 && sizeof(struct jit_point) == 8,
               "arrays follow each other without gaps");

/* ---- sums ------------------------------------------------------------ */

/* Two lanes, for one waits for its multiplications. */
uint64_t jit_record_sum(const struct jit_record *r)
{
    const char *p = (const char *)r + sizeof r->sum, *end = (const char *)r + r->size;
    const uint64_t k = 0x9e3779b97f4a7c15u;
    uint64_t a = r->size, b = k;
    for (; end - p >= 16; p += 16) {
        uint64_t w[2];
        memcpy(w, p, 16);
        a = (a ^ w[0]) * k;
        b = (b ^ w[1]) * k;
        a ^= a >> 29;
        b ^= b >> 31;
    }
    if (p < end) {
        uint64_t w;
        memcpy(&w, p, 8);
        a = (a ^ w) * k;
    }
    return base_hash64(a ^ b * k);
}

/* ---- parts ----------------------------------------------------------- */

/* The next n elements of an array of a record, and past them. */
static const void *part(const char **at, size_t n, size_t size)
{
    const void *p = *at;
    *at += n * size;
    return p;
}

static size_t parts_size(const struct jit_record *r)
{
    return sizeof *r + r->nexits * sizeof(struct jit_record_exit) +
           r->nranges * sizeof(struct jit_record_range) + r->npoints * sizeof(struct jit_point) +
           r->nrelocs * sizeof(struct jit_reloc) + r->nmaps * sizeof(uint32_t) + r->nbytes +
           r->nmaps_bytes + (size_t)r->len[0] + r->len[1];
}

static void find_parts(const struct jit_record *r, struct jit_parts *p)
{
    const char *at = (const char *)(r + 1);
    p->exits = part(&at, r->nexits, sizeof *p->exits);
    p->ranges = part(&at, r->nranges, sizeof *p->ranges);
    p->points = part(&at, r->npoints, sizeof *p->points);
    p->relocs = part(&at, r->nrelocs, sizeof *p->relocs);
    p->map_start = part(&at, r->nmaps, sizeof *p->map_start);
    p->bytes = part(&at, r->nbytes, 1);
    p->maps = part(&at, r->nmaps_bytes, 1);
    p->code[JIT_HOT] = part(&at, r->len[JIT_HOT], 1);
    p->code[JIT_COLD] = part(&at, r->len[JIT_COLD], 1);
}

static bool reloc_sound(const struct jit_record *r, const struct jit_reloc *x)
{
    uint32_t size = x->kind == JIT_RELOC_ABS64_GUEST ? 8 : 4;
    if (x->section > JIT_COLD || r->len[x->section] < size || x->off > r->len[x->section] - size)
        return false;
    switch (x->kind) {
    case JIT_RELOC_PC32_SECTION: return x->target <= JIT_COLD && x->addend <= r->len[x->target];
    case JIT_RELOC_PC32_STUB: return x->target < JIT_STUB_COUNT;
    case JIT_RELOC_PC32_EXIT:
    case JIT_RELOC_PC32_EXIT_STUB: return x->target < r->nexits;
    case JIT_RELOC_PC32_DEOPT:
    case JIT_RELOC_PC32_HOT: return x->target < r->nmaps;
    default: return x->kind < JIT_RELOC_COUNT;
    }
}

static bool arrays_sound(const struct jit_record *r, const struct jit_parts *p)
{
    size_t nbytes = 0;
    for (unsigned i = 0; i < r->nrelocs; i++)
        if (!reloc_sound(r, &p->relocs[i]))
            return false;
    for (unsigned i = 0; i < r->npoints; i++)
        if (p->points[i].section > JIT_COLD || p->points[i].map >= r->nmaps ||
            p->points[i].off > r->len[p->points[i].section])
            return false;
    for (unsigned i = 0; i < r->nexits; i++)
        if (p->exits[i].kind > JIT_EXIT_TRAPPED || p->exits[i].trap >= IR_TRAP_COUNT)
            return false;
    for (unsigned i = 0; i < r->nmaps; i++)
        if (p->map_start[i] >= r->nmaps_bytes)
            return false;
    for (unsigned i = 0; i < r->nranges; i++)
        nbytes += p->ranges[i].len;
    return nbytes == r->nbytes && r->nranges && p->ranges[0].start == 0;
}

bool jit_record_parts(const struct jit_record *r, struct jit_parts *p)
{
    if (r->nranges > JIT_RANGES || r->nbytes > JIT_FORMED_BYTES || !r->len[JIT_HOT] ||
        r->len[JIT_HOT] > r->size || r->len[JIT_COLD] > r->size || r->nmaps_bytes > r->size ||
        (r->nmaps && r->nmaps_bytes < sizeof r->pc) ||
        BASE_ALIGN_UP(parts_size(r), (size_t)8) != r->size)
        return false;
    find_parts(r, p);
    return arrays_sound(r, p);
}

/* ---- making ---------------------------------------------------------- */

static bool fits(const struct jit_region *r, const struct jit_code *c, const struct jit_formed *d)
{
    return !d->writable && !d->reform && !jit_mode_of_key(r->key) && r->code && r->tier == 1 &&
           d->nbytes <= JIT_FORMED_BYTES && d->nranges <= JIT_RANGES &&
           c->relocs.len <= UINT16_MAX && c->points.len <= UINT16_MAX &&
           c->exits.len <= UINT16_MAX && c->map_start.len <= UINT16_MAX &&
           c->map_bytes.len <= JIT_STORE_RECORD_MAX && c->len[0] <= JIT_STORE_RECORD_MAX &&
           c->len[1] <= JIT_STORE_RECORD_MAX;
}

static void add(jit_store_bytes *out, const void *data, size_t n)
{
    if (out->len + n > out->cap) {
        out->cap = (out->len + n) * 2;
        out->data = base_realloc(out->data, out->cap);
    }
    if (n)
        memcpy(out->data + out->len, data, n);
    out->len += n;
}

static void add_exits(jit_store_bytes *out, const struct jit_code *c)
{
    for (size_t i = 0; i < c->exits.len; i++) {
        const struct jit_exit_out *o = &c->exits.data[i];
        struct jit_record_exit e = {.key = o->key, .info = o->info, .trap = o->trap,
                                    .kind = o->kind};
        e.flags = (uint8_t)(o->is_call | o->is_back << 1 | o->is_landing << 2);
        add(out, &e, sizeof e);
    }
}

static void add_ranges(jit_store_bytes *out, const struct jit_formed *d, uint64_t pc)
{
    for (unsigned i = 0; i < d->nranges; i++) {
        struct jit_record_range g = {(int32_t)(d->range[i].start - pc), d->range[i].len};
        add(out, &g, sizeof g);
    }
}

bool jit_record_make(jit_store_bytes *out, uint64_t at, uint64_t key,
                     const struct jit_region *r, const struct jit_code *c,
                     const struct jit_formed *d)
{
    static const char zero[8];
    size_t start = out->len;
    uint64_t pc = jit_pc_of_key(key);
    if (!fits(r, c, d))
        return false;
    struct jit_record h = {.at = at,
                           .pc = pc,
                           .len = {c->len[0], c->len[1]},
                           .nmaps_bytes = (uint32_t)c->map_bytes.len,
                           .nrelocs = (uint16_t)c->relocs.len,
                           .npoints = (uint16_t)c->points.len,
                           .nexits = (uint16_t)c->exits.len,
                           .nranges = (uint16_t)d->nranges,
                           .nmaps = (uint16_t)c->map_start.len,
                           .nbytes = (uint16_t)d->nbytes,
                           .nguest = r->nguest,
                           .counted = r->counted};
    h.size = (uint32_t)BASE_ALIGN_UP(parts_size(&h), (size_t)8);
    if (h.size > JIT_STORE_RECORD_MAX)
        return false;
    add(out, &h, sizeof h);
    add_exits(out, c);
    add_ranges(out, d, pc);
    add(out, c->points.data, c->points.len * sizeof *c->points.data);
    add(out, c->relocs.data, c->relocs.len * sizeof *c->relocs.data);
    add(out, c->map_start.data, c->map_start.len * sizeof *c->map_start.data);
    add(out, d->bytes, d->nbytes);
    add(out, c->map_bytes.data, c->map_bytes.len);
    add(out, c->bytes[JIT_HOT], c->len[JIT_HOT]);
    add(out, c->bytes[JIT_COLD], c->len[JIT_COLD]);
    add(out, zero, start + h.size - out->len);
    return true;
}

/* ---- moving ---------------------------------------------------------- */

static bool move_field(struct jit_record *r, const struct jit_reloc *x, uint8_t *field,
                       uint64_t delta)
{
    uint64_t v = 0;
    switch (x->kind) {
    case JIT_RELOC_ABS64_GUEST:
        memcpy(&v, field, 8);
        v += delta;
        memcpy(field, &v, 8);
        return true;
    case JIT_RELOC_ABS32_GUEST:
        memcpy(&v, field, 4);
        v += delta;
        memcpy(field, &v, 4);
        return v <= UINT32_MAX;
    default: return true;
    }
}

bool jit_record_move(struct jit_record *r, uint64_t pc)
{
    struct jit_parts p;
    uint64_t delta = pc - r->pc;
    find_parts(r, &p);
    for (unsigned i = 0; i < r->nexits; i++)
        ((struct jit_record_exit *)p.exits)[i].key += delta;
    for (unsigned i = 0; i < r->nrelocs; i++) {
        const struct jit_reloc *x = &p.relocs[i];
        if (!move_field(r, x, (uint8_t *)p.code[x->section] + x->off, delta))
            return false;
    }
    if (r->nmaps) {
        uint64_t first;
        memcpy(&first, p.maps, sizeof first);
        first += delta;
        memcpy((uint8_t *)p.maps, &first, sizeof first);
    }
    r->pc = pc;
    return true;
}
