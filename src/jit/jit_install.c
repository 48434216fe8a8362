/* jit_install.c: from the compiler's output to a region that runs; linking.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A region's memory:
 *
 *   hot area    code
 *   cold area   code | link stub of each exit | stub of each deopt record
 *
 * An exit's jump or call first goes to its link stub, which leaves to the run loop
 * with the exit's number. Linking points the jump itself at the target region;
 * where the jump's field cannot be written in one piece, the link stub has a
 * jump in front that is pointed there instead. Unlinking puts back what was
 * there. Every region keeps a list of the exits that are linked to it.
 */
#include "jit/jit_priv.h"

static struct jit_exit *exit_at(const struct jit *j, uint32_t n)
{
    return jit_table_at(&j->p->exits, n, sizeof(struct jit_exit));
}

static const uint8_t *rx_at(const struct jit *j, uint32_t off) { return j->p->cache.rx + off; }

/* ---- layout ---------------------------------------------------------- */

enum { MAX_EXITS = 1024 };

struct layout {
    size_t hot, cold;    /* offsets in the cache */
    uint32_t stubs;      /* offset of the first link stub in the cold section */
    uint32_t cold_len;
    uint32_t ndeopts, nexits;
    uint8_t sites[MAX_EXITS]; /* jumps of each exit; NEEDS_JUMP: stub has one, too */
};
enum { NEEDS_JUMP = 0x80 };

/* In lockstep a region's jump to itself must leave, too: one more exit. */
static bool self_exit_wanted(const struct jit *j, const struct jit_code *c)
{
    if (!j->cfg.lockstep && !j->cfg.no_link)
        return false;
    for (size_t i = 0; i < c->relocs.len; i++)
        if (c->relocs.data[i].kind == JIT_RELOC_PC32_REGION)
            return true;
    return false;
}

static bool layout(const struct jit *j, const struct jit_code *c, struct layout *l)
{
    const struct jit_cache *m = &j->p->cache;
    l->ndeopts = 0;
    l->nexits = (uint32_t)c->exits.len + self_exit_wanted(j, c);
    if (l->nexits > MAX_EXITS)
        return false;
    memset(l->sites, 0, l->nexits);
    l->hot = BASE_ALIGN_UP(m->hot, (size_t)16);
    for (size_t i = 0; i < c->relocs.len; i++) {
        const struct jit_reloc *r = &c->relocs.data[i];
        l->ndeopts += r->kind == JIT_RELOC_PC32_DEOPT || r->kind == JIT_RELOC_PC32_HOT;
        if (r->kind != JIT_RELOC_PC32_EXIT)
            continue;
        /* A second jump for one exit: only the stub's own serves both. Where
         * cold code will be is not known yet. */
        if (l->sites[r->target]++ || r->section == JIT_COLD ||
            !j->host->patchable(m->rx + l->hot + r->off))
            l->sites[r->target] |= NEEDS_JUMP;
    }
    l->stubs = BASE_ALIGN_UP(c->len[JIT_COLD], 8);
    l->cold_len = l->stubs;
    for (size_t i = 0; i < l->nexits; i++) /* those with jumps come first */
        l->cold_len += (uint32_t)(l->sites[i] & NEEDS_JUMP
                                      ? BASE_ALIGN_UP(j->host->link_stub_size_jump, (size_t)8)
                                      : j->host->link_stub_size);
    l->cold_len += l->ndeopts * (uint32_t)j->host->link_stub_size;
    if (l->hot + c->len[JIT_HOT] + l->cold_len + 16 > m->cold)
        return false;
    l->cold = BASE_ALIGN_DOWN(m->cold - l->cold_len, (size_t)16);
    return true;
}

static bool fits(struct jit *j, const struct jit_code *c, struct layout *l)
{
    struct jit_priv *p = j->p;
    return layout(j, c, l) && jit_table_room(&p->regions, 1) &&
           jit_table_room(&p->exits, l->nexits) && jit_table_room(&p->deopts, l->ndeopts);
}

/* ---- relocation ------------------------------------------------------ */

static void put32(uint8_t *rw, const uint8_t *rx, const uint8_t *target)
{
    int32_t rel = (int32_t)(target - (rx + 4));
    memcpy(rw, &rel, 4);
}

struct installer {
    struct jit *j;
    const struct jit_code *c;
    struct jit_region *r;
    const uint8_t *sec[2];   /* where the sections run */
    const uint8_t *stubs;    /* next free stub */
    const uint8_t *self;     /* lockstep: link stub of the jump to itself */
};

static const uint8_t *deopt_stub(struct installer *s, uint32_t map, bool hot)
{
    struct jit *j = s->j;
    uint32_t n = j->p->deopts.count;
    struct jit_deopt *d = jit_table_push(&j->p->deopts, sizeof *d);
    *d = (struct jit_deopt){s->r, map, hot};
    const uint8_t *at = s->stubs;
    s->stubs += j->host->link_stub(j, jit_rw(j, at), at, JIT_EXIT_DEOPT | n, true, false);
    return at;
}

static void relocate(struct installer *s, const struct jit_reloc *r)
{
    struct jit *j = s->j;
    const uint8_t *site = s->sec[r->section] + r->off, *target;
    struct jit_exit *e;
    switch ((enum jit_reloc_kind)r->kind) {
    case JIT_RELOC_PC32_SECTION:
        target = s->sec[r->target] + r->addend;
        break;
    case JIT_RELOC_PC32_STUB:
        target = j->stub[r->target];
        break;
    case JIT_RELOC_PC32_EXIT:
        e = exit_at(j, s->r->exit_first + r->target);
        target = rx_at(j, e->stub);
        e->site = (uint32_t)(site - j->p->cache.rx);
        break;
    case JIT_RELOC_PC32_EXIT_STUB:
        e = exit_at(j, s->r->exit_first + r->target);
        target = rx_at(j, e->stub) + (e->by_stub ? j->host->link_stub_skip : 0);
        break;
    case JIT_RELOC_PC32_DEOPT:
    case JIT_RELOC_PC32_HOT:
        target = deopt_stub(s, r->target, r->kind == JIT_RELOC_PC32_HOT);
        break;
    case JIT_RELOC_PC32_REGION:
        target = s->self ? s->self : s->sec[JIT_HOT];
        break;
    default: /* of the guest: it is there already */
        return;
    }
    put32(jit_rw(j, site), site, target);
}

static void make_exit(struct installer *s, uint32_t n, const struct jit_exit_out *o, bool jump)
{
    struct jit *j = s->j;
    struct jit_exit *e = exit_at(j, n);
    *e = (struct jit_exit){.key = o->key,
                           .stub = (uint32_t)(s->stubs - j->p->cache.rx),
                           .next = JIT_NO_EXIT,
                           .info = o->info,
                           .trap = o->trap,
                           .kind = o->kind,
                           .mode = (uint8_t)(s->r->key >> 60),
                           .by_stub = jump,
                           .counter = o->counter,
                           .back = o->is_back,
                           .call = o->is_call || o->is_landing,
                           .fixed = s->r->reform || o->kind != JIT_EXIT_DIRECT};
    s->stubs += j->host->link_stub(j, jit_rw(j, s->stubs), s->stubs, n, false, jump);
    if (jump)
        s->stubs = (const uint8_t *)BASE_ALIGN_UP((uintptr_t)s->stubs, 8);
}

/* Stubs with a jump are aligned, so they come before those without. */
static void make_exits(struct installer *s, const struct layout *l)
{
    struct jit *j = s->j;
    const struct jit_code *c = s->c;
    const struct jit_exit_out self = {.kind = JIT_EXIT_DIRECT, .key = s->r->key};
    for (uint32_t i = 0; i < l->nexits; i++)
        jit_table_push(&j->p->exits, sizeof(struct jit_exit));
    for (int jump = 1; jump >= 0; jump--)
        for (uint32_t i = 0; i < l->nexits; i++)
            if (!!(l->sites[i] & NEEDS_JUMP) == jump)
                make_exit(s, s->r->exit_first + i, i < c->exits.len ? &c->exits.data[i] : &self,
                          jump);
    if (l->nexits > c->exits.len)
        s->self = rx_at(j, exit_at(j, s->r->exit_first + l->nexits - 1)->stub);
}

/* ---- installing ------------------------------------------------------ */

/* Points, maps and their offsets live behind the region's record. */
static struct jit_region *record(struct jit *j, uint64_t key, const struct jit_code *c,
                                 const struct jit_formed *d)
{
    size_t points = c->points.len * sizeof *c->points.data;
    size_t starts = c->map_start.len * sizeof *c->map_start.data;
    struct jit_region *r = jit_region_new(j, d, key, points + starts + c->map_bytes.len);
    r->npoints = (uint32_t)c->points.len;
    r->nmaps = (uint32_t)c->map_start.len;
    char *at = (char *)jit_points(r);
    if (points)
        memcpy(at, c->points.data, points);
    if (starts)
        memcpy(at + points, c->map_start.data, starts);
    if (c->map_bytes.len)
        memcpy(at + points + starts, c->map_bytes.data, c->map_bytes.len);
    return r;
}

struct jit_region *jit_install(struct jit *j, uint64_t key, const struct jit_code *c,
                               const struct jit_formed *d)
{
    struct jit_priv *p = j->p;
    struct layout l;
    if (!fits(j, c, &l))
        return NULL;
    jit_cache_write_begin(j);
    jit_cache_reserve(j, l.hot + c->len[JIT_HOT], l.cold);
    struct jit_region *r = record(j, key, c, d);
    struct installer s = {.j = j, .c = c, .r = r};
    size_t hot = l.hot, cold = l.cold;
    s.sec[JIT_HOT] = r->code = p->cache.rx + hot;
    s.sec[JIT_COLD] = r->cold = p->cache.rx + cold;
    s.stubs = r->cold + l.stubs;
    r->hot_len = c->len[JIT_HOT];
    r->cold_len = l.cold_len;
    r->cold_code = c->len[JIT_COLD];
    memcpy(p->cache.rw + hot, c->bytes[JIT_HOT], c->len[JIT_HOT]);
    if (c->len[JIT_COLD])
        memcpy(p->cache.rw + cold, c->bytes[JIT_COLD], c->len[JIT_COLD]);
    r->exit_first = p->exits.count;
    r->nexits = (uint16_t)l.nexits;
    make_exits(&s, &l);
    for (size_t i = 0; i < c->relocs.len; i++)
        relocate(&s, &c->relocs.data[i]);
    p->cache.hot = hot + c->len[JIT_HOT];
    p->cache.cold = cold;
    *(struct jit_region **)jit_table_push(&p->regions, sizeof r) = r;
    j->stats.host_bytes += c->len[JIT_HOT];
    j->stats.cold_bytes += l.cold_len;
    return r;
}

struct jit_region *jit_install_flush(struct jit *j, struct jit_vcpu *self, uint64_t key,
                                     const struct jit_code *c, const struct jit_formed *d)
{
    struct jit_region *r = jit_install(j, key, c, d);
    if (r)
        return r;
    jit_flush(j, self);
    return jit_install(j, key, c, d);
}

/* ---- linking --------------------------------------------------------- */

void jit_link(struct jit *j, uint32_t exit, struct jit_region *to)
{
    struct jit_exit *e = exit_at(j, exit);
    if (e->fixed || e->linked || !to->code || !e->site || j->cfg.lockstep || j->cfg.no_link ||
        atomic_load(&to->dead))
        return;
    jit_cache_write_begin(j);
    const uint8_t *site =
        rx_at(j, e->by_stub ? e->stub + (uint32_t)j->host->link_stub_field : e->site);
    j->host->patch(jit_rw(j, site), site, to->code);
    e->linked = true;
    e->next = to->in_links;
    to->in_links = exit;
    j->stats.links++;
}

/* Links r's exits whose targets are there already. */
static void link_new(struct jit *j, const struct jit_region *r)
{
    for (uint32_t i = 0; i < r->nexits; i++) {
        const struct jit_exit *e = exit_at(j, r->exit_first + i);
        if (!e->fixed) {
            struct jit_region *to = jit_find(j->p, e->key);
            if (to)
                jit_link(j, r->exit_first + i, to);
        }
    }
}

void jit_unlink(struct jit *j, struct jit_region *to)
{
    uint32_t n = to->in_links;
    if (n != JIT_NO_EXIT)
        jit_cache_write_begin(j);
    while (n != JIT_NO_EXIT) {
        struct jit_exit *e = exit_at(j, n);
        if (e->by_stub) {
            const uint8_t *at = rx_at(j, e->stub) + j->host->link_stub_field;
            j->host->patch(jit_rw(j, at), at, rx_at(j, e->stub) + j->host->link_stub_skip);
        } else {
            const uint8_t *at = rx_at(j, e->site);
            j->host->patch(jit_rw(j, at), at, rx_at(j, e->stub));
        }
        e->linked = false;
        n = e->next;
        j->stats.unlinks++;
    }
    to->in_links = JIT_NO_EXIT;
}

/* Exits and lookups that led to old lead to its successor. */
static void relink(struct jit *j, struct jit_region *old, struct jit_region *to)
{
    uint32_t n = old->in_links;
    jit_unlink(j, old);
    while (n != JIT_NO_EXIT) {
        uint32_t next = exit_at(j, n)->next;
        jit_link(j, n, to);
        n = next;
    }
}

void jit_take_place(struct jit *j, struct jit_region *r, struct jit_region *old)
{
    jit_region_publish(j, r);
    if (old) {
        relink(j, old, r);
        jit_replace(j, old);
    }
    link_new(j, r);
}
