/* jit_region.c: what regions there are: hash by key, index by guest page, tables
 * by host address; forgetting regions and flushing everything.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A forgotten region is unlinked (nothing jumps to it any more) and is gone from
 * the hash and from every vCPU's lookup table, but its code stays where it is:
 * a vCPU may be in it or have it on its shadow stack. Memory comes back with the
 * next flush, which happens outside all translated code.
 *
 * A vCPU fills its lookup table without the lock, so forgetting and filling can
 * cross: the filler stores the entry and then looks at region->dead, forgetting
 * stores dead and then clears the entry, each with a fence between.
 */
#include "jit/jit_store.h"

#include <sched.h>

/* ---- tables ---------------------------------------------------------- */

void *jit_table_push(struct jit_table *t, size_t size)
{
    BASE_ASSERT(jit_table_room(t, 1));
    uint32_t n = t->count;
    if (!t->chunk[n / JIT_CHUNK])
        t->chunk[n / JIT_CHUNK] = base_alloc(size * JIT_CHUNK);
    /* Readers in signal handlers look at the count first. */
    __atomic_store_n(&t->count, n + 1, __ATOMIC_RELEASE);
    return jit_table_at(t, n, size);
}

static void table_free(struct jit_table *t)
{
    for (unsigned i = 0; i < JIT_CHUNKS && t->chunk[i]; i++)
        free(t->chunk[i]);
}

/* ---- hash by key ----------------------------------------------------- */

/* Chains of regions. A reference to a region has the top bits of its key's hash
 * above its address, so that looking for what is not there (the former does,
 * for every side exit) hardly ever reads a region. */
enum { TAG_SHIFT = 48 };

/* The bucket of a key. Keys that are near each other are in one cache line of
 * the table, for what is looked up is mostly near what was looked up before. */
static uint64_t block_hash(uint64_t key) { return base_hash64(key >> 6); }
static uint32_t bucket_of(uint64_t h, uint64_t key, uint32_t mask)
{
    return (uint32_t)(h << 5 | (key >> 1 & 31)) & mask;
}

static struct jit_region *region_of(uint64_t ref)
{
    return (struct jit_region *)(uintptr_t)(ref & ((1ull << TAG_SHIFT) - 1));
}

static struct jit_bucket_table *bucket_table(uint32_t size, struct jit_bucket_table *older)
{
    struct jit_bucket_table *t = base_zalloc(sizeof *t + size * sizeof t->bucket[0]);
    t->mask = size - 1;
    t->older = older;
    return t;
}

struct jit_region *jit_find(const struct jit_priv *p, uint64_t key)
{
    uint64_t h = block_hash(key);
    struct jit_bucket_table *t = atomic_load_explicit(&p->hash, memory_order_acquire);
    uint64_t ref =
        atomic_load_explicit(&t->bucket[bucket_of(h, key, t->mask)], memory_order_acquire);
    while (ref) {
        struct jit_region *r = region_of(ref);
        if ((ref ^ h) >> TAG_SHIFT == 0 && r->key == key)
            return r;
        ref = atomic_load_explicit(&r->next, memory_order_acquire);
    }
    return NULL;
}

static void hash_insert(struct jit_bucket_table *t, struct jit_region *r)
{
    uint64_t h = block_hash(r->key);
    _Atomic(uint64_t) *b = &t->bucket[bucket_of(h, r->key, t->mask)];
    atomic_store_explicit(&r->next, atomic_load_explicit(b, memory_order_relaxed),
                          memory_order_release);
    atomic_store_explicit(b, (uint64_t)(uintptr_t)r | h >> TAG_SHIFT << TAG_SHIFT,
                          memory_order_release);
}

/* Readers that are in a chain of the old table may be led into one of the new
 * table by a changed next; they then miss what is there and ask with the lock
 * held. Chains of the new table only ever lead to older members of themselves,
 * so no reader goes round. */
static void hash_grow(struct jit_priv *p)
{
    struct jit_bucket_table *old = p->hash;
    struct jit_bucket_table *t = bucket_table((old->mask + 1) * 4, old);
    for (uint32_t i = 0; i <= old->mask; i++) {
        uint64_t next;
        for (uint64_t ref = old->bucket[i]; ref; ref = next) {
            next = region_of(ref)->next;
            hash_insert(t, region_of(ref));
        }
    }
    atomic_store_explicit(&p->hash, t, memory_order_release);
}

static void hash_remove(struct jit_priv *p, struct jit_region *r)
{
    struct jit_bucket_table *t = p->hash;
    _Atomic(uint64_t) *at = &t->bucket[bucket_of(block_hash(r->key), r->key, t->mask)];
    while (*at && region_of(*at) != r)
        at = &region_of(*at)->next;
    if (*at) {
        atomic_store_explicit(at, r->next, memory_order_release);
        p->nhash--;
    }
}

/* ---- index by guest page --------------------------------------------- */

static struct jit_page *page_slot(struct jit_priv *p, uint64_t number)
{
    uint32_t i = (uint32_t)base_hash64(number) & p->page_mask;
    while (p->pages[i].first && p->pages[i].number != number)
        i = (i + 1) & p->page_mask;
    return &p->pages[i];
}

static void pages_grow(struct jit_priv *p)
{
    struct jit_page *old = p->pages;
    uint32_t n = p->page_mask + 1;
    p->page_mask = n * 2 - 1;
    p->pages = base_zalloc((size_t)n * 2 * sizeof *p->pages);
    for (uint32_t i = 0; i < n; i++)
        if (old[i].first)
            *page_slot(p, old[i].number) = old[i];
    free(old);
}

static void page_add(struct jit_priv *p, uint64_t number, struct jit_region *r)
{
    struct jit_page *s = page_slot(p, number);
    if (s->first && s->first->region == r)
        return; /* two ranges of r on one page */
    struct jit_page_node *n = base_arena_alloc(&p->arena, sizeof *n);
    *n = (struct jit_page_node){r, s->first};
    if (!s->first)
        p->npages++;
    s->number = number;
    s->first = n;
    if (p->npages * 4 > p->page_mask * 3)
        pages_grow(p);
}

static void index_region(struct jit_priv *p, struct jit_region *r)
{
    for (unsigned i = 0; i < r->nranges; i++) {
        uint64_t first = jit_ranges(r)[i].start >> JIT_PAGE_BITS;
        uint64_t last = (jit_ranges(r)[i].start + jit_ranges(r)[i].len - 1) >> JIT_PAGE_BITS;
        for (uint64_t n = first; n <= last; n++)
            page_add(p, n, r);
    }
}

/* ---- making regions -------------------------------------------------- */

struct jit_region *jit_region_new(struct jit *j, const struct jit_formed *d, uint64_t key,
                                  size_t extra)
{
    struct jit_region *r =
        base_arena_alloc(&j->p->arena, sizeof *r + d->nranges * sizeof *d->range + extra);
    memset(r, 0, sizeof *r);
    r->key = key;
    r->tier = 1;
    r->hash = d->hash;
    r->in_links = JIT_NO_EXIT;
    r->nranges = (uint8_t)d->nranges;
    memcpy(jit_ranges(r), d->range, d->nranges * sizeof *d->range);
    r->writable = d->writable;
    r->reform = d->reform;
    return r;
}

void jit_region_publish(struct jit *j, struct jit_region *r)
{
    struct jit_priv *p = j->p;
    if (r->writable)
        base_vec_push(&p->writable, r);
    index_region(p, r);
    hash_insert(p->hash, r);
    p->nhash++;
    if (p->nhash * 2 > ((struct jit_bucket_table *)p->hash)->mask)
        hash_grow(p);
    j->stats.regions++;
    j->stats.guest_insns += r->nguest;
    if (j->cfg.translated && r->code)
        j->cfg.translated(j->cfg.ctx, jit_pc_of_key(r->key),
                          (const uint8_t *const[2]){r->code, r->cold},
                          (const uint32_t[2]){r->hot_len, r->cold_len});
}

void jit_regions_init(struct jit *j)
{
    struct jit_priv *p = j->p;
    p->hash = bucket_table(1024, NULL);
    p->page_mask = 63;
    p->pages = base_zalloc(64 * sizeof *p->pages);
    base_arena_init(&p->arena);
}

static void free_irs(struct jit_priv *p)
{
    for (size_t i = 0; i < p->irs.len; i++)
        free(p->irs.data[i]);
    p->irs.len = 0;
}

void jit_regions_free(struct jit *j)
{
    struct jit_priv *p = j->p;
    struct jit_bucket_table *older;
    for (struct jit_bucket_table *t = p->hash; t; t = older) {
        older = t->older;
        free(t);
    }
    free_irs(p);
    base_vec_free(&p->irs);
    base_vec_free(&p->writable);
    free(p->pages);
    base_arena_free(&p->arena);
    table_free(&p->regions);
    table_free(&p->exits);
    table_free(&p->deopts);
}

/* ---- by host address ------------------------------------------------- */

/* Compiled regions are in the table by rising hot address and so by falling
 * cold address. */
const struct jit_region *jit_region_by_code(const struct jit *j, uint64_t pc)
{
    const struct jit_table *t = &j->p->regions;
    uint32_t lo = 0, hi = __atomic_load_n(&t->count, __ATOMIC_ACQUIRE);
    bool hot = pc - (uint64_t)(uintptr_t)j->p->cache.rx < j->p->cache.hot;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct jit_region *r =
            *(struct jit_region **)jit_table_at(t, mid, sizeof(struct jit_region *));
        uint64_t start = (uint64_t)(uintptr_t)(hot ? r->code : r->cold);
        uint32_t len = hot ? r->hot_len : r->cold_len;
        if (pc - start < len || (pc == start + len && len))
            return r;
        if ((pc < start) == hot)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const struct jit_point *jit_point_by_code(const struct jit_region *r, uint64_t pc)
{
    uint64_t hot = pc - (uint64_t)(uintptr_t)r->code;
    uint64_t cold = pc - (uint64_t)(uintptr_t)r->cold;
    const struct jit_point *at = jit_points(r), *end = at + r->npoints;
    for (; at < end; at++)
        if (at->off == (at->section == JIT_HOT ? hot : cold))
            return at;
    return NULL;
}

/* ---- forgetting ------------------------------------------------------ */

static void forget(struct jit *j, struct jit_region *r)
{
    struct jit_priv *p = j->p;
    if (atomic_load(&r->dead))
        return;
    hash_remove(p, r);
    atomic_store(&r->dead, true);
    atomic_thread_fence(memory_order_seq_cst);
    for (struct jit_vcpu *v = p->vcpus; v; v = v->next) {
        struct jit_lookup *e[] = {jit_lookup_of(v, r->key), jit_victim_of(v, r->key)};
        for (unsigned n = 0; n < 2; n++)
            if (__atomic_load_n(&e[n]->key, __ATOMIC_SEQ_CST) == r->key)
                __atomic_store_n(&e[n]->key, 1, __ATOMIC_SEQ_CST);
    }
    jit_unlink(j, r);
}

/* The guest code of r is not what it was. */
static void invalidate(struct jit *j, struct jit_region *r)
{
    forget(j, r);
    j->stats.invalidated++;
    if (r->tier == 2) { /* what comes in its place may become hot */
        memset(j->quiet, 0, sizeof j->quiet);
        j->p->invalidated2++;
    }
}

void jit_replace(struct jit *j, struct jit_region *old) { forget(j, old); }

static bool overlaps(const struct jit_region *r, uint64_t start, uint64_t len)
{
    const struct jit_range *g = jit_ranges(r);
    for (unsigned i = 0; i < r->nranges; i++)
        if (g[i].start - start < len || start - g[i].start < g[i].len)
            return true;
    return false;
}

bool jit_covered(struct jit *j, uint64_t pc)
{
    struct jit_page *s = page_slot(j->p, pc >> JIT_PAGE_BITS);
    for (struct jit_page_node *n = s->first; n; n = n->next)
        if (!atomic_load(&n->region->dead) && overlaps(n->region, pc, 1))
            return true;
    return false;
}

/* ---- where tier 2 begins --------------------------------------------- */

bool jit_head_among(const struct jit *j, uint64_t pc, uint64_t len, unsigned mode)
{
    for (uint64_t end = pc + len; pc < end; pc += 2) {
        uint64_t at = pc / 2 % JIT_HEADS;
        if (!(j->p->heads[at / 64] >> at % 64 & 1))
            continue;
        const struct jit_region *r = jit_find(j->p, jit_key(pc, mode));
        if (r && r->tier == 2)
            return true;
    }
    return false;
}

/* Who runs into a loop from above would go round once in tier 1, and be in tier 2 from the second
 * round on only. */
void jit_cut(struct jit *j, const struct jit_region *r)
{
    struct jit_priv *p = j->p;
    uint64_t pc = jit_pc_of_key(r->key), at = pc / 2 % JIT_HEADS;
    p->heads[at / 64] |= 1ull << at % 64;
    p->any_head = true;
    for (struct jit_page_node *n = page_slot(p, pc >> JIT_PAGE_BITS)->first; n; n = n->next) {
        struct jit_region *o = n->region;
        if (o->tier == 1 && o->key != r->key && jit_mode_of_key(o->key ^ r->key) == 0 &&
            !atomic_load(&o->dead) && overlaps(o, pc, 1))
            forget(j, o);
    }
}

/* ---- forgetting what has changed -------------------------------------- */

/* Forgets what on this page overlaps the range (and, if changed_only, has other
 * bytes now), and drops nodes of dead regions. */
static void forget_on_page(struct jit *j, struct jit_page *s, uint64_t start, uint64_t len,
                           bool changed_only)
{
    struct jit_page_node **at = &s->first;
    while (*at) {
        struct jit_region *r = (*at)->region;
        if (!atomic_load(&r->dead) && overlaps(r, start, len)) {
            uint64_t h;
            bool same = changed_only && r->writable &&
                        jit_hash_ranges(j, jit_ranges(r), r->nranges, &h) && h == r->hash;
            if (!same)
                invalidate(j, r);
        }
        /* The first node stays: an empty slot would cut probe sequences. */
        if (atomic_load(&r->dead) && at != &s->first)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
}

static void forget_range(struct jit *j, uint64_t start, uint64_t len, bool changed_only)
{
    struct jit_priv *p = j->p;
    jit_t2_forget(j, start, len, changed_only);
    if (len == 0 || p->npages == 0)
        return;
    uint64_t first = start >> JIT_PAGE_BITS, last = (start + len - 1) >> JIT_PAGE_BITS;
    if (last < first)
        last = UINT64_MAX >> JIT_PAGE_BITS;
    if (last - first < p->page_mask) {
        for (uint64_t n = first; n <= last; n++) {
            struct jit_page *s = page_slot(p, n);
            if (s->first)
                forget_on_page(j, s, start, len, changed_only);
        }
        return;
    }
    for (uint32_t i = 0; i <= p->page_mask; i++)
        if (p->pages[i].first && p->pages[i].number - first <= last - first)
            forget_on_page(j, &p->pages[i], start, len, changed_only);
}

void jit_invalidate(struct jit *j, uint64_t start, uint64_t len)
{
    pthread_mutex_lock(&j->p->lock);
    jit_store_forget(j, start, len);
    forget_range(j, start, len, false);
    pthread_mutex_unlock(&j->p->lock);
}

/* ---- other vCPUs ------------------------------------------------------ */

/* All but self leave code, and stay outside until let_in (lock held). */
static void drive_out(struct jit *j, const struct jit_vcpu *self)
{
    struct jit_priv *p = j->p;
    atomic_store(&p->flush_pending, 1);
    for (struct jit_vcpu *v = p->vcpus; v; v = v->next)
        __atomic_fetch_add(&v->flushes, 1, __ATOMIC_SEQ_CST);
    jit_order_others(j);
    /* Who is outside now will see that before going in. */
    for (struct jit_vcpu *v = p->vcpus; v; v = v->next)
        if (v != self && __atomic_load_n(&v->in_code, __ATOMIC_SEQ_CST))
            __atomic_fetch_or(&v->poll, 2, __ATOMIC_SEQ_CST);
    for (struct jit_vcpu *v = p->vcpus; v; v = v->next)
        while (v != self && __atomic_load_n(&v->in_code, __ATOMIC_SEQ_CST)) {
            v->ticks = 0; /* again and again: v may be in the middle of counting them */
            sched_yield();
        }
}

static void let_in(struct jit *j)
{
    for (struct jit_vcpu *v = j->p->vcpus; v; v = v->next) {
        __atomic_fetch_add(&v->flushes, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_and(&v->poll, ~2u, __ATOMIC_SEQ_CST);
    }
    atomic_store(&j->p->flush_pending, 0);
}

/* ---- code that changes ------------------------------------------------ */

/* Who is in a region of tier 2 would go on in code that it has inside, until it polls: others that
 * learn of the change before that would see it undone. */
void jit_code_changed(struct jit *j, uint64_t start, uint64_t len)
{
    struct jit_priv *p = j->p;
    pthread_mutex_lock(&p->lock);
    if (len != UINT64_MAX) {
        uint64_t before = p->invalidated2;
        forget_range(j, start, len, true);
        if (p->invalidated2 != before && p->vcpus && p->vcpus->next) {
            drive_out(j, jit_current);
            let_in(j);
        }
    } else { /* everything: what could not be written has not changed */
        size_t keep = 0;
        jit_t2_forget(j, 0, UINT64_MAX, true);
        for (size_t i = 0; i < p->writable.len; i++) {
            struct jit_region *r = p->writable.data[i];
            uint64_t h;
            if (!atomic_load(&r->dead) &&
                !(jit_hash_ranges(j, jit_ranges(r), r->nranges, &h) && h == r->hash))
                invalidate(j, r);
            if (!atomic_load(&r->dead))
                p->writable.data[keep++] = r;
        }
        p->writable.len = keep;
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- flush ----------------------------------------------------------- */

static void clear_lookup(struct jit_vcpu *v)
{
    memset(v->lookup, 0, sizeof v->lookup);
    memset(v->victim, 0, sizeof v->victim);
    v->lookup[0].key = v->victim[0].key = 1; /* key 0 is that of a null function pointer */
}

void jit_flush(struct jit *j, struct jit_vcpu *self)
{
    struct jit_priv *p = j->p;
    drive_out(j, self);
    atomic_fetch_add(&p->flush_count, 1);
    for (struct jit_vcpu *v = p->vcpus; v; v = v->next) {
        clear_lookup(v);
        v->shadow_sp = v->shadow_top;
        v->flush_seen = p->flush_count;
    }
    struct jit_bucket_table *t = p->hash;
    memset((void *)t->bucket, 0, (t->mask + 1) * sizeof t->bucket[0]);
    p->nhash = 0;
    memset(p->pages, 0, (p->page_mask + 1) * sizeof *p->pages);
    p->npages = 0;
    p->writable.len = 0;
    free_irs(p);
    base_arena_reset(&p->arena);
    p->regions.count = p->exits.count = p->deopts.count = 0;
    p->cache.hot = p->cache.hot_start;
    p->cache.cold = p->cache.size;
    j->stats.flushes++;
    jit_t2_flushed(j);
    memset(p->heads, 0, sizeof p->heads);
    p->any_head = false;
    let_in(j);
}
