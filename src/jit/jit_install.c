/* jit_install.c: from the compiler's output to a region that runs; linking.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A region's memory:
 *
 *   hot area    code
 *   cold area   code | link stub of each exit | stub of each deopt record
 *
 * An exit's jump or call first goes to its link stub, which stores the exit's
 * number and leaves to the run loop. Linking points the jump itself at the
 * target region; where the jump's field cannot be written in one piece, the
 * jump in front of the link stub is pointed there instead. Unlinking puts back
 * what was there. Every region keeps a list of the exits that are linked to it.
 */
#include "jit/jit_priv.h"

static struct jit_exit *exit_at(const struct jit *j, uint32_t n)
{
    return jit_table_at(&j->p->exits, n, sizeof(struct jit_exit));
}

/* ---- layout ---------------------------------------------------------- */

struct layout {
    uint32_t stubs;      /* offset of the first link stub in the cold section */
    uint32_t cold_len;
    uint32_t ndeopts, nexits;
};

/* In lockstep a region's jump to itself must leave, too: one more exit. */
static bool self_exit_wanted(const struct jit *j)
{
    if (!j->cfg.lockstep)
        return false;
    const struct jit_code *c = &j->p->code;
    for (size_t i = 0; i < c->relocs.len; i++)
        if (c->relocs.data[i].kind == JIT_RELOC_PC32_REGION)
            return true;
    return false;
}

static void layout(const struct jit *j, struct layout *l)
{
    const struct jit_code *c = &j->p->code;
    size_t size = j->host->link_stub_size;
    l->ndeopts = 0;
    for (size_t i = 0; i < c->relocs.len; i++)
        l->ndeopts += c->relocs.data[i].kind == JIT_RELOC_PC32_DEOPT;
    l->nexits = (uint32_t)c->exits.len + self_exit_wanted(j);
    l->stubs = BASE_ALIGN_UP(c->len[JIT_COLD], 8);
    l->cold_len = l->stubs + (uint32_t)((l->nexits + l->ndeopts) * size);
}

bool jit_install_fits(struct jit *j)
{
    struct jit_priv *p = j->p;
    struct layout l;
    layout(j, &l);
    return jit_table_room(&p->regions, 1) && jit_table_room(&p->exits, l.nexits) &&
           jit_table_room(&p->deopts, l.ndeopts) &&
           BASE_ALIGN_UP(p->cache.hot, (size_t)16) + p->code.len[JIT_HOT] + l.cold_len + 32 <=
               p->cache.cold;
}

/* ---- relocation ------------------------------------------------------ */

static void put32(uint8_t *rw, const uint8_t *rx, const uint8_t *target)
{
    int32_t rel = (int32_t)(target - (rx + 4));
    memcpy(rw, &rel, 4);
}

struct installer {
    struct jit *j;
    struct jit_region *r;
    const uint8_t *sec[2];   /* where the sections run */
    const uint8_t *stubs;    /* next free stub */
    const uint8_t *self;     /* lockstep: link stub of the jump to itself */
};

static const uint8_t *deopt_stub(struct installer *s, uint32_t map)
{
    struct jit *j = s->j;
    uint32_t n = j->p->deopts.count;
    struct jit_deopt *d = jit_table_push(&j->p->deopts, sizeof *d);
    *d = (struct jit_deopt){s->r, map};
    const uint8_t *at = s->stubs;
    s->stubs += j->host->link_stub_size;
    j->host->link_stub(j, jit_rw(j, at), at, JIT_EXIT_DEOPT | n, JIT_STUB_DEOPT);
    return at + j->host->link_stub_skip;
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
        target = e->stub;
        /* A second jump for one exit: only the stub's own jump serves both. */
        e->by_stub = e->site != NULL;
        e->site = site;
        break;
    case JIT_RELOC_PC32_EXIT_STUB:
        target = exit_at(j, s->r->exit_first + r->target)->stub + j->host->link_stub_skip;
        break;
    case JIT_RELOC_PC32_DEOPT:
        target = deopt_stub(s, r->target);
        break;
    case JIT_RELOC_PC32_REGION:
        target = s->self ? s->self : s->sec[JIT_HOT];
        break;
    default: /* ABS64_GUEST: guest addresses are host addresses */
        return;
    }
    put32(jit_rw(j, site), site, target);
}

static void make_exit(struct installer *s, const struct jit_exit_out *o)
{
    struct jit *j = s->j;
    uint32_t n = j->p->exits.count;
    struct jit_exit *e = jit_table_push(&j->p->exits, sizeof *e);
    *e = (struct jit_exit){.region = s->r,
                           .key = o->key,
                           .stub = s->stubs,
                           .next = JIT_NO_EXIT,
                           .info = o->info,
                           .trap = o->trap,
                           .kind = o->kind,
                           .is_call = o->is_call};
    j->host->link_stub(j, jit_rw(j, e->stub), e->stub, n, JIT_STUB_EXIT);
    s->stubs += j->host->link_stub_size;
}

/* ---- installing ------------------------------------------------------ */

/* Points, maps and their offsets live behind the region's record. */
static struct jit_region *record(struct jit *j, uint64_t key)
{
    struct jit_code *c = &j->p->code;
    size_t points = c->points.len * sizeof *c->points.data;
    size_t starts = c->map_start.len * sizeof *c->map_start.data;
    struct jit_region *r = jit_region_new(j, key, points + starts + c->map_bytes.len);
    char *at = (char *)(r + 1);
    r->npoints = (uint32_t)c->points.len;
    r->points = (struct jit_point *)at;
    r->maps.start = (uint32_t *)(at + points);
    r->maps.bytes = (uint8_t *)(at + points + starts);
    r->maps.count = (uint32_t)c->map_start.len;
    if (points)
        memcpy(at, c->points.data, points);
    if (starts)
        memcpy(at + points, c->map_start.data, starts);
    if (c->map_bytes.len)
        memcpy(at + points + starts, c->map_bytes.data, c->map_bytes.len);
    return r;
}

struct jit_region *jit_install(struct jit *j, uint64_t key)
{
    struct jit_priv *p = j->p;
    struct jit_code *c = &p->code;
    struct layout l;
    layout(j, &l);
    jit_cache_write_begin(j);
    struct jit_region *r = record(j, key);
    struct installer s = {.j = j, .r = r};
    size_t hot = BASE_ALIGN_UP(p->cache.hot, (size_t)16);
    size_t cold = BASE_ALIGN_DOWN(p->cache.cold - l.cold_len, (size_t)16);
    s.sec[JIT_HOT] = r->code = p->cache.rx + hot;
    s.sec[JIT_COLD] = r->cold = p->cache.rx + cold;
    s.stubs = r->cold + l.stubs;
    r->hot_len = c->len[JIT_HOT];
    r->cold_len = l.cold_len;
    memcpy(p->cache.rw + hot, c->bytes[JIT_HOT], c->len[JIT_HOT]);
    if (c->len[JIT_COLD])
        memcpy(p->cache.rw + cold, c->bytes[JIT_COLD], c->len[JIT_COLD]);
    r->exit_first = p->exits.count;
    r->nexits = l.nexits;
    for (size_t i = 0; i < c->exits.len; i++)
        make_exit(&s, &c->exits.data[i]);
    if (l.nexits > c->exits.len) {
        s.self = s.stubs;
        make_exit(&s, &(struct jit_exit_out){.kind = JIT_EXIT_DIRECT, .key = key});
    }
    for (size_t i = 0; i < c->relocs.len; i++)
        relocate(&s, &c->relocs.data[i]);
    p->cache.hot = hot + c->len[JIT_HOT];
    p->cache.cold = cold;
    *(struct jit_region **)jit_table_push(&p->regions, sizeof r) = r;
    j->stats.host_bytes += c->len[JIT_HOT];
    j->stats.cold_bytes += l.cold_len;
    return r;
}

/* ---- linking --------------------------------------------------------- */

void jit_link(struct jit *j, uint32_t exit, struct jit_region *to)
{
    struct jit_exit *e = exit_at(j, exit);
    /* After a change of mode the target depends on more than the pc. */
    if (e->kind != JIT_EXIT_DIRECT || e->linked || !to->code || j->cfg.lockstep ||
        e->region->reform || atomic_load(&to->dead))
        return;
    jit_cache_write_begin(j);
    if (!e->site || e->by_stub || !j->host->patch(jit_rw(j, e->site), e->site, to->code)) {
        const uint8_t *at = e->stub + j->host->link_stub_jump;
        e->by_stub = true;
        if (!j->host->patch(jit_rw(j, at), at, to->code))
            return;
    }
    e->linked = to;
    e->next = to->in_links;
    to->in_links = exit;
    j->stats.links++;
}

void jit_unlink(struct jit *j, struct jit_region *to)
{
    uint32_t n = to->in_links;
    if (n != JIT_NO_EXIT)
        jit_cache_write_begin(j);
    while (n != JIT_NO_EXIT) {
        struct jit_exit *e = exit_at(j, n);
        if (e->by_stub) {
            const uint8_t *at = e->stub + j->host->link_stub_jump;
            j->host->patch(jit_rw(j, at), at, e->stub + j->host->link_stub_skip);
        } else {
            j->host->patch(jit_rw(j, e->site), e->site, e->stub);
        }
        e->linked = NULL;
        n = e->next;
        j->stats.unlinks++;
    }
    to->in_links = JIT_NO_EXIT;
}
