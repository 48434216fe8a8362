/* jit_store.c: stored translations: what is kept for which file, what of it is used.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     jit_translate --> jit_store_take: range of the pc -> file -> slots -> record
 *           |                 sum, numbers, guest bytes right?  -> moved, installed
 *           | no
 *           +--> formed, compiled --> jit_store_keep: a new record of the file
 *
 *     at the end, or before another program:  jit_store_next, _merge (jit_store_merge.c)
 *
 * Why: of what a short process does 60 % is translating, and the next process translates the same.
 * A region from the store costs a tenth.
 *
 * One record for a position is enough: which way code was come to first decides how long its
 * region is, so it is a matter of luck in any case. Only one of other guest bytes takes its place.
 *
 * Modes that change or show how code is made (lockstep, forced exits, dumps, ...) use no store.
 */
#include "jit/jit_store.h"

#include <link.h>
#include <sys/mman.h>

/* ---- on or off ------------------------------------------------------- */

/* A hash of the build id that the linker has given the running program; 0: none. */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        const char *p = (const char *)info->dlpi_addr + ph->p_vaddr;
        const char *end = p + ph->p_memsz;
        while (ph->p_type == PT_NOTE && end - p > (ptrdiff_t)sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *n = (const ElfW(Nhdr) *)p;
            const char *desc = p + sizeof *n + BASE_ALIGN_UP(n->n_namesz, 4u);
            uint64_t *h = out, w[2];
            if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && n->n_descsz >= sizeof w &&
                !memcmp(p + sizeof *n, "GNU", 4)) {
                memcpy(w, desc, sizeof w);
                *h = base_hash64(w[0] ^ base_hash64(w[1]));
            }
            p = desc + BASE_ALIGN_UP(n->n_descsz, 4u);
        }
    }
    return 1; /* the program itself comes first */
}

void jit_store_init(struct jit *j)
{
    const struct jit_config *c = &j->cfg;
    uint64_t build = 0;
    if (!c->store || !j->p->compiles || c->lockstep || c->deopt_always || c->random_ra ||
        c->no_link || c->max_insns || c->dump || c->tier2 == JIT_TIER2_ALWAYS)
        return;
    dl_iterate_phdr(find_build_id, &build);
    if (!build)
        return;
    j->p->store = base_zalloc(sizeof *j->p->store);
    j->p->store->key = base_hash64(build ^ j->cpu ^ (uint64_t)(c->tier2 != JIT_TIER2_OFF) << 32 ^
                                   (uint64_t)(j->cfg.calls != NULL) << 33);
}

void jit_store_free(struct jit *j)
{
    struct jit_store *s = j->p->store;
    if (!s)
        return;
    for (size_t i = 0; i < s->files.len; i++) {
        base_vec_free(&s->files.data[i].fresh);
        free(s->files.data[i].fresh_slots);
    }
    base_vec_free(&s->files);
    base_vec_free(&s->ranges);
    base_vec_free(&s->moved);
    free(s);
}

bool jit_store_on(const struct jit *j, uint64_t *key)
{
    if (j->p->store)
        *key = j->p->store->key;
    return j->p->store != NULL;
}

/* ---- files and ranges ------------------------------------------------ */

struct jit_store_file *jit_store_file_of(const struct jit_store *s, uint64_t id)
{
    for (size_t i = 0; i < s->files.len; i++)
        if (s->files.data[i].id == id)
            return &s->files.data[i];
    return NULL;
}

bool jit_store_knows(struct jit *j, uint64_t id)
{
    pthread_mutex_lock(&j->p->lock);
    bool known = !j->p->store || jit_store_file_of(j->p->store, id);
    pthread_mutex_unlock(&j->p->lock);
    return known;
}

void jit_store_file(struct jit *j, uint64_t id, const void *data, size_t size)
{
    struct jit_store *s = j->p->store;
    struct jit_store_file f = {.id = id};
    if (!s)
        return;
    if (jit_store_sound(s, data, size)) {
        const struct jit_store_header *h = data;
        f.data = data;
        f.size = size;
        f.slots = (const jit_store_slot *)(h + 1);
        f.mask = h->nslots - 1;
    }
    pthread_mutex_lock(&j->p->lock);
    if (!jit_store_file_of(s, id))
        base_vec_push(&s->files, f);
    pthread_mutex_unlock(&j->p->lock);
}

void jit_store_map(struct jit *j, uint64_t id, uint64_t start, uint64_t len, uint64_t offset)
{
    struct jit_store *s = j->p->store;
    if (!s)
        return;
    pthread_mutex_lock(&j->p->lock);
    const struct jit_store_file *f = jit_store_file_of(s, id);
    if (f) {
        jit_store_forget(j, start, len);
        struct jit_store_range r = {start, len, offset, (uint32_t)(f - s->files.data)};
        base_vec_push(&s->ranges, r);
    }
    pthread_mutex_unlock(&j->p->lock);
}

void jit_store_forget(struct jit *j, uint64_t start, uint64_t len)
{
    struct jit_store *s = j->p->store;
    size_t n = s ? s->ranges.len : 0, keep = 0;
    if (!n)
        return;
    for (size_t i = 0; i < n; i++) {
        struct jit_store_range r = s->ranges.data[i], end = r;
        if (!(r.start - start < len || start - r.start < r.len)) {
            s->ranges.data[keep++] = r;
            continue;
        }
        end.start = start + len;
        if (r.start < start) { /* what is in front stays */
            s->ranges.data[keep] = r;
            s->ranges.data[keep++].len = start - r.start;
        }
        if (r.start + r.len <= end.start || end.start < start)
            continue;
        end.len = r.start + r.len - end.start;
        end.offset += end.start - r.start;
        if (keep <= i)
            s->ranges.data[keep++] = end;
        else /* in two: what is behind goes last */
            base_vec_push(&s->ranges, end);
    }
    memmove(s->ranges.data + keep, s->ranges.data + n,
            (s->ranges.len - n) * sizeof *s->ranges.data);
    s->ranges.len = keep + s->ranges.len - n;
}

static const struct jit_store_range *range_at(struct jit_store *s, uint64_t pc)
{
    const struct jit_store_range *r = s->ranges.data;
    if (s->last < s->ranges.len && pc - r[s->last].start < r[s->last].len)
        return &r[s->last];
    for (size_t i = 0; i < s->ranges.len; i++) {
        if (pc - r[i].start < r[i].len) {
            s->last = (uint32_t)i;
            return &r[i];
        }
    }
    return NULL;
}

/* ---- using ----------------------------------------------------------- */

static const struct jit_record *find(const struct jit_store_file *f, uint64_t at)
{
    const struct jit_record *r = NULL;
    if (f->fresh_slots)
        r = jit_slots_find(f->fresh_slots, f->fresh_mask, (const char *)f->fresh.data, f->fresh.len,
                       at);
    if (!r && f->data)
        r = jit_slots_find(f->slots, f->mask, f->data, f->size, at);
    return r;
}

static const struct jit_record *find_key(const struct jit *j, uint64_t key,
                                         const struct jit_store_range **range)
{
    struct jit_store *s = j->p->store;
    uint64_t pc = jit_pc_of_key(key);
    if (!s || jit_mode_of_key(key) || !(*range = range_at(s, pc)))
        return NULL;
    return find(&s->files.data[(*range)->file], pc - (*range)->start + (*range)->offset);
}

bool jit_store_serves(const struct jit *j, uint64_t key)
{
    struct jit_store *s = j->p->store;
    const struct jit_store_range *range =
        s && !jit_mode_of_key(key) ? range_at(s, jit_pc_of_key(key)) : NULL;
    return range && s->files.data[range->file].data;
}

/* Places that tier 2 has done with are not counted any more; a record's may be. */
static bool counts_in_vain(const struct jit *j, const struct jit_record *r,
                           const struct jit_parts *p, uint64_t pc)
{
    for (unsigned i = 0; i < r->nrelocs; i++)
        if (p->relocs[i].kind == JIT_RELOC_COUNTER &&
            jit_quiet(j, pc + (uint64_t)(int32_t)p->relocs[i].addend))
            return true;
    return false;
}

/* Does r's code run through where a region of tier 2 begins? */
static bool passes_head(const struct jit *j, const struct jit_record *r,
                        const struct jit_parts *p, uint64_t pc)
{
    for (unsigned i = 0; i < r->nranges && j->p->any_head; i++) {
        uint64_t first = i == 0 ? 2 : 0; /* it may begin there */
        if (p->ranges[i].len > first &&
            jit_head_among(j, pc + (uint64_t)(int64_t)p->ranges[i].start + first,
                           p->ranges[i].len - first, 0))
            return true;
    }
    return false;
}

static bool compare_bytes(const struct jit_record *r, const struct jit_parts *p,
                          const struct jit_store_range *range, uint64_t pc)
{
    const uint8_t *bytes = p->bytes;
    for (unsigned i = 0; i < r->nranges; i++) {
        uint64_t start = pc + (uint64_t)(int64_t)p->ranges[i].start, len = p->ranges[i].len;
        if (start - range->start >= range->len || len > range->len - (start - range->start) ||
            memcmp((const void *)(uintptr_t)start, bytes, len))
            return false;
        bytes += len;
    }
    return true;
}

/* Are the guest bytes at pc those of the record? Within range they can be read, if the file has
 * not become shorter. */
static bool same_bytes(struct jit *j, struct jit_vcpu *self, const struct jit_record *r,
                       const struct jit_parts *p, const struct jit_store_range *range, uint64_t pc)
{
    struct jit_thread *t = self ? jit_thread_of(self) : NULL;
    if (t && sigsetjmp(t->landing, j->host == NULL)) {
        t->forming = 0;
        return false;
    }
    if (t)
        t->forming = 1;
    bool same = compare_bytes(r, p, range, pc);
    if (t)
        t->forming = 0;
    return same;
}

/* r's code as the compiler would give it, in the VM's own vectors where it differs. */
static void as_code(struct jit *j, const struct jit_record *r, const struct jit_parts *p,
                    struct jit_code *c)
{
    BASE_VEC(struct jit_exit_out) exits = {0};
    memset(c, 0, sizeof *c);
    memcpy(&exits, &j->p->code.exits, sizeof exits);
    exits.len = 0;
    for (unsigned i = 0; i < r->nexits; i++) {
        const struct jit_record_exit *e = &p->exits[i];
        struct jit_exit_out o = {.kind = e->kind, .is_call = e->flags & 1,
                                 .is_back = e->flags >> 1 & 1, .is_landing = e->flags >> 2 & 1,
                                 .trap = e->trap, .info = e->info, .key = e->key};
        base_vec_push(&exits, o);
    }
    memcpy(&j->p->code.exits, &exits, sizeof exits);
    memcpy(&c->exits, &exits, sizeof exits);
    for (int i = 0; i < 2; i++) {
        c->bytes[i] = p->code[i];
        c->len[i] = r->len[i];
    }
    c->relocs.data = (struct jit_reloc *)p->relocs;
    c->relocs.len = r->nrelocs;
    c->points.data = (struct jit_point *)p->points;
    c->points.len = r->npoints;
    c->map_bytes.data = (uint8_t *)p->maps;
    c->map_bytes.len = r->nmaps_bytes;
    c->map_start.data = (uint32_t *)p->map_start;
    c->map_start.len = r->nmaps;
}

static void as_formed(const struct jit_record *r, const struct jit_parts *p, struct jit_formed *d)
{
    jit_formed_reset(d);
    for (unsigned i = 0; i < r->nranges; i++)
        d->range[i] = (struct jit_range){r->pc + (uint64_t)(int64_t)p->ranges[i].start,
                                         p->ranges[i].len};
    d->nranges = r->nranges;
}

/* A copy of r for code at pc, with its parts; NULL: it cannot be there. */
static const struct jit_record *moved(struct jit_store *s, const struct jit_record *r, uint64_t pc,
                                      struct jit_parts *p)
{
    if (s->moved.cap < r->size) {
        s->moved.cap = r->size * 2;
        s->moved.data = base_realloc(s->moved.data, s->moved.cap);
    }
    struct jit_record *copy = (struct jit_record *)s->moved.data;
    memcpy(copy, r, r->size);
    return jit_record_move(copy, pc) && jit_record_parts(copy, p) ? copy : NULL;
}

/* A record is used once, and those behind it come next: its pages need not stay resident. */
static void used(struct jit_store_file *f, const struct jit_record *r)
{
    f->used += r->size;
    if (f->used < JIT_STORE_RESIDENT || (uintptr_t)f->data % 4096)
        return;
    madvise((void *)f->data, f->size, MADV_DONTNEED);
    f->used = 0;
}

static struct jit_region *install(struct jit *j, struct jit_vcpu *self, uint64_t key,
                                  const struct jit_record *r, const struct jit_parts *p)
{
    struct jit_code c;
    as_code(j, r, p, &c);
    as_formed(r, p, &j->p->formed);
    struct jit_region *region = jit_install_flush(j, self, key, &c, &j->p->formed);
    if (!region)
        return NULL;
    region->counted = r->counted;
    region->nguest = r->nguest;
    j->stats.stored++;
    j->stats.stored_insns += r->nguest;
    return region;
}

struct jit_region *jit_store_take(struct jit *j, struct jit_vcpu *self, uint64_t key)
{
    const struct jit_store_range *range;
    const struct jit_record *r = find_key(j, key, &range);
    uint64_t pc = jit_pc_of_key(key);
    struct jit_parts p;
    if (!r || j->cfg.store_check)
        return NULL;
    if (jit_record_sum(r) != r->sum || !jit_record_parts(r, &p)) {
        j->stats.store_bad++;
        return NULL;
    }
    if (counts_in_vain(j, r, &p, pc) || passes_head(j, r, &p, pc) ||
        !same_bytes(j, self, r, &p, range, pc))
        return NULL;
    const struct jit_record *there = r->pc == pc ? r : moved(j->p->store, r, pc, &p);
    struct jit_region *region = there ? install(j, self, key, there, &p) : NULL;
    used(&j->p->store->files.data[range->file], r);
    return region;
}

/* ---- keeping --------------------------------------------------------- */

/* Is r what the compiler gives for what p->formed says, when nothing is quiet and it meets no
 * region of tier 2? */
static bool typical(const struct jit *j)
{
    const struct jit_code *c = &j->p->code;
    return j->cfg.tier2 == JIT_TIER2_OFF || !(c->quiet || j->p->formed.cut);
}

static bool in_range(const struct jit_formed *d, const struct jit_store_range *range)
{
    for (unsigned i = 0; i < d->nranges; i++) {
        uint64_t off = d->range[i].start - range->start;
        if (off >= range->len || d->range[i].len > range->len - off)
            return false;
    }
    return true;
}

static void fresh_grow(struct jit_store_file *f)
{
    uint32_t n = f->fresh_slots ? (f->fresh_mask + 1) * 2 : 256;
    free(f->fresh_slots);
    f->fresh_slots = base_zalloc(n * sizeof *f->fresh_slots);
    f->fresh_mask = n - 1;
    for (uint64_t where = 0; where < f->fresh.len;) {
        const struct jit_record *r = (const struct jit_record *)(f->fresh.data + where);
        jit_slots_put(f->fresh_slots, f->fresh_mask, (const char *)f->fresh.data, r->at, where);
        where += r->size;
    }
}

/* Of two records, that of the same region made now (a) and what was kept: the same code? Only if
 * they are of the same instructions: where a region ends depends on what regions there were. */
static void check(struct jit *j, const struct jit_record *a, const struct jit_record *kept)
{
    struct jit_parts pa, pk;
    BASE_ASSERT(jit_record_sum(kept) == kept->sum && jit_record_parts(kept, &pk));
    BASE_ASSERT(jit_record_parts(a, &pa));
    if (a->counted != kept->counted || a->nranges != kept->nranges ||
        a->nbytes != kept->nbytes || a->nguest != kept->nguest ||
        memcmp(pa.ranges, pk.ranges, a->nranges * sizeof *pa.ranges) ||
        memcmp(pa.bytes, pk.bytes, a->nbytes))
        return;
    kept = moved(j->p->store, kept, a->pc, &pk);
    if (kept)
        ((struct jit_record *)kept)->anew = a->anew;
    if (!kept || (a->pc ^ kept->pc) >> 32) /* encoded otherwise */
        return;
    j->stats.store_checked++;
    size_t i = sizeof a->sum;
    while (i < a->size && i < kept->size && ((const char *)a)[i] == ((const char *)kept)[i])
        i++;
    if (i < a->size || i < kept->size)
        base_bug(__FILE__, __LINE__,
                 "a stored translation of 0x%llx is not what is made of it now: byte %zu of %u, %u",
                 (unsigned long long)a->pc, i, a->size, kept->size);
}

/* Was old made of what is in memory now, as far as both regions go? */
static bool still(const struct jit_record *old, const struct jit_formed *d)
{
    struct jit_parts p;
    unsigned n = old->nbytes < d->nbytes ? old->nbytes : d->nbytes;
    return jit_record_parts(old, &p) && !memcmp(p.bytes, d->bytes, n);
}

static void keep_in(struct jit *j, struct jit_store_file *f, const struct jit_region *r,
                    uint64_t at)
{
    const struct jit_record *old = find(f, at);
    uint64_t start = f->fresh.len;
    bool anew = old && !still(old, &j->p->formed);
    bool there = old && !anew;
    if (there && !j->cfg.store_check)
        return;
    if (start > JIT_STORE_FRESH_MAX ||
        !jit_record_make(&f->fresh, at, r->key, r, &j->p->code, &j->p->formed))
        return;
    struct jit_record *made = (struct jit_record *)(f->fresh.data + start);
    made->anew = anew;
    made->sum = jit_record_sum(made);
    if (j->cfg.store_check && (old = find(f, at)))
        check(j, made, old);
    if (there) {
        f->fresh.len = start;
        return;
    }
    if (!f->fresh_slots || f->nfresh * 2 > f->fresh_mask)
        fresh_grow(f);
    else
        jit_slots_put(f->fresh_slots, f->fresh_mask, (const char *)f->fresh.data, at, start);
    f->nfresh++;
    j->stats.store_kept++;
    j->stats.store_bytes += f->fresh.len - start;
}

void jit_store_keep(struct jit *j, const struct jit_region *r)
{
    struct jit_store *s = j->p->store;
    uint64_t pc = jit_pc_of_key(r->key);
    const struct jit_store_range *range = s ? range_at(s, pc) : NULL;
    if (range && typical(j) && in_range(&j->p->formed, range))
        keep_in(j, &s->files.data[range->file], r, pc - range->start + range->offset);
}

void jit_store_fork_child(struct jit *j)
{
    struct jit_store *s = j->p->store;
    for (size_t i = 0; s && i < s->files.len; i++)
        s->files.data[i].saved = s->files.data[i].fresh.len;
}
