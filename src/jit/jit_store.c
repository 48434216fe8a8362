/* jit_store.c: stored translations: what is kept for which file, what of it is used.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     jit_translate --> jit_store_take: range of the pc -> file -> slots -> record
 *           |                 sum, numbers, guest bytes right?  -> moved, installed
 *           | no
 *           +--> formed, compiled --> jit_store_keep: a new record of the file
 *
 *     at the end, or before another program:  jit_store_next, _merge -> the caller writes a file
 *
 * Why: of what a short process does 60 % is translating, and the next process translates the same.
 * A region from the store costs a tenth.
 *
 * One record for a position is enough: which way code was come to first decides how long its
 * region is and whether its entries are counted, so it is a matter of luck in any case. Only where
 * a loop's head is wanted (it is made anew when somebody jumps back to it) a record of a head is
 * asked for, and takes the place of one that is not; so does one of other guest bytes.
 *
 * Modes that change or show how code is made (lockstep, forced exits, dumps, ...) use no store.
 */
#include "jit/jit_store.h"

#include <link.h>
#include <sys/mman.h>
#include <time.h>

struct store_file {
    uint64_t id;
    const char *data;            /* what is there, or NULL */
    const jit_store_slot *slots;
    uint32_t mask;               /* slots less 1 */
    uint64_t size;
    jit_store_bytes fresh;       /* new records, one behind the other */
    jit_store_slot *fresh_slots; /* a table like that of the file; NULL: none yet */
    uint32_t fresh_mask, nfresh;
    uint64_t saved;              /* bytes of fresh that were asked for */
    uint64_t used;               /* bytes of data's records since it was let go */
};
struct store_range {
    uint64_t start, len, offset;
    uint32_t file;
};
struct jit_store {
    uint64_t key;
    BASE_VEC(struct store_file) files;
    BASE_VEC(struct store_range) ranges;
    uint32_t last;               /* the range that was asked for last */
    jit_store_bytes moved;       /* copy of a record for another address */
};

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

/* ---- slots ----------------------------------------------------------- */

/* Positions near each other are in neighbouring slots, see bucket_of. */
static uint32_t slot_of(uint64_t at, uint32_t mask)
{
    return (uint32_t)(base_hash64(at >> 6) << 5 | (at >> 1 & 31)) & mask;
}

/* The record for position at, among those from base on in size bytes; NULL: none. Only its
 * header is known to be there. */
static const struct jit_record *slots_find(const jit_store_slot *slots, uint32_t mask,
                                           const char *base, uint64_t size, uint64_t at)
{
    uint64_t tag = base_hash64(at) >> 32;
    uint32_t i = slot_of(at, mask);
    for (unsigned n = 0; n < JIT_STORE_PROBES && slots[i]; n++, i = (i + 1) & mask) {
        uint64_t where = (slots[i] & UINT32_MAX) * 8;
        const struct jit_record *r = (const struct jit_record *)(base + where);
        if (slots[i] >> 32 == tag && where + sizeof *r <= size && r->at == at &&
            r->size >= sizeof *r && r->size <= JIT_STORE_RECORD_MAX && r->size <= size - where)
            return r;
    }
    return NULL;
}

/* False: no free slot is near. Of two records at the same position the later stays. */
static bool slots_put(jit_store_slot *slots, uint32_t mask, const char *base, uint64_t at,
                      uint64_t where)
{
    uint32_t i = slot_of(at, mask);
    for (unsigned n = 0; n < JIT_STORE_PROBES; n++, i = (i + 1) & mask) {
        const char *there = base + (slots[i] & UINT32_MAX) * 8;
        if (slots[i] && (!base || ((const struct jit_record *)there)->at != at))
            continue;
        slots[i] = base_hash64(at) >> 32 << 32 | where / 8;
        return true;
    }
    return false;
}

/* ---- files and ranges ------------------------------------------------ */

static struct store_file *file_of(const struct jit_store *s, uint64_t id)
{
    for (size_t i = 0; i < s->files.len; i++)
        if (s->files.data[i].id == id)
            return &s->files.data[i];
    return NULL;
}

bool jit_store_knows(struct jit *j, uint64_t id)
{
    pthread_mutex_lock(&j->p->lock);
    bool known = !j->p->store || file_of(j->p->store, id);
    pthread_mutex_unlock(&j->p->lock);
    return known;
}

static uint64_t header_sum(const struct jit_store_header *h)
{
    const uint64_t *w = (const uint64_t *)h;
    uint64_t sum = 0;
    for (; w < &h->sum; w++)
        sum = base_hash64(sum ^ *w);
    return sum;
}

static bool header_sound(const struct jit_store *s, const void *data, uint64_t size)
{
    const struct jit_store_header *h = data;
    return data && size >= sizeof *h && h->magic == JIT_STORE_MAGIC &&
           h->version == JIT_STORE_VERSION && h->key == s->key && h->size == size &&
           h->sum == header_sum(h) && h->nslots && !(h->nslots & (h->nslots - 1)) &&
           h->nslots <= (size - sizeof *h) / sizeof(jit_store_slot) &&
           size / 8 <= UINT32_MAX;
}

void jit_store_file(struct jit *j, uint64_t id, const void *data, size_t size)
{
    struct jit_store *s = j->p->store;
    struct store_file f = {.id = id};
    if (!s)
        return;
    if (header_sound(s, data, size)) {
        const struct jit_store_header *h = data;
        f.data = data;
        f.size = size;
        f.slots = (const jit_store_slot *)(h + 1);
        f.mask = h->nslots - 1;
    }
    pthread_mutex_lock(&j->p->lock);
    if (!file_of(s, id))
        base_vec_push(&s->files, f);
    pthread_mutex_unlock(&j->p->lock);
}

void jit_store_map(struct jit *j, uint64_t id, uint64_t start, uint64_t len, uint64_t offset)
{
    struct jit_store *s = j->p->store;
    if (!s)
        return;
    pthread_mutex_lock(&j->p->lock);
    const struct store_file *f = file_of(s, id);
    if (f) {
        jit_store_forget(j, start, len);
        struct store_range r = {start, len, offset, (uint32_t)(f - s->files.data)};
        base_vec_push(&s->ranges, r);
    }
    pthread_mutex_unlock(&j->p->lock);
}

void jit_store_forget(struct jit *j, uint64_t start, uint64_t len)
{
    struct jit_store *s = j->p->store;
    size_t n = s ? s->ranges.len : 0, keep = 0;
    for (size_t i = 0; i < n; i++) {
        struct store_range r = s->ranges.data[i], end = r;
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
    if (!s)
        return;
    memmove(s->ranges.data + keep, s->ranges.data + n,
            (s->ranges.len - n) * sizeof *s->ranges.data);
    s->ranges.len = keep + s->ranges.len - n;
}

static const struct store_range *range_at(struct jit_store *s, uint64_t pc)
{
    const struct store_range *r = s->ranges.data;
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

static const struct jit_record *find(const struct store_file *f, uint64_t at)
{
    const struct jit_record *r = NULL;
    if (f->fresh_slots)
        r = slots_find(f->fresh_slots, f->fresh_mask, (const char *)f->fresh.data, f->fresh.len,
                       at);
    if (!r && f->data)
        r = slots_find(f->slots, f->mask, f->data, f->size, at);
    return r;
}

static const struct jit_record *find_key(const struct jit *j, uint64_t key,
                                         const struct store_range **range)
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
    const struct store_range *range =
        s && !jit_mode_of_key(key) ? range_at(s, jit_pc_of_key(key)) : NULL;
    return range && s->files.data[range->file].data;
}

/* Places that tier 2 has done with are not counted any more; a record's may be. */
static bool counts_in_vain(const struct jit *j, const struct jit_record *r,
                           const struct jit_parts *p, uint64_t pc)
{
    if (!r->counted && !r->rounds)
        return false;
    for (unsigned i = 0; i < r->nrelocs; i++)
        if (p->relocs[i].kind == JIT_RELOC_COUNTER &&
            jit_quiet(j, pc + (uint64_t)(int32_t)p->relocs[i].addend))
            return true;
    return false;
}

static bool compare_bytes(const struct jit_record *r, const struct jit_parts *p,
                          const struct store_range *range, uint64_t pc)
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
                       const struct jit_parts *p, const struct store_range *range, uint64_t pc)
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
static void used(struct store_file *f, const struct jit_record *r)
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
    region->head = r->head;
    region->counted = r->counted;
    region->nguest = r->nguest;
    j->stats.stored++;
    j->stats.stored_insns += r->nguest;
    return region;
}

struct jit_region *jit_store_take(struct jit *j, struct jit_vcpu *self, uint64_t key, bool back)
{
    const struct store_range *range;
    const struct jit_record *r = find_key(j, key, &range);
    uint64_t pc = jit_pc_of_key(key);
    struct jit_parts p;
    if (!r || (back && !r->head) || j->cfg.store_check)
        return NULL;
    if (jit_record_sum(r) != r->sum || !jit_record_parts(r, &p)) {
        j->stats.store_bad++;
        return NULL;
    }
    if (counts_in_vain(j, r, &p, pc) || !same_bytes(j, self, r, &p, range, pc))
        return NULL;
    const struct jit_record *there = r->pc == pc ? r : moved(j->p->store, r, pc, &p);
    struct jit_region *region = there ? install(j, self, key, there, &p) : NULL;
    used(&j->p->store->files.data[range->file], r);
    return region;
}

/* ---- keeping --------------------------------------------------------- */

/* Is r what the compiler gives for what p->formed says, when nothing is quiet? */
static bool typical(const struct jit *j, const struct jit_region *r)
{
    const struct jit_code *c = &j->p->code;
    bool counter = false;
    if (j->cfg.tier2 == JIT_TIER2_OFF)
        return true;
    for (size_t i = 0; i < c->relocs.len; i++)
        counter |= c->relocs.data[i].kind == JIT_RELOC_COUNTER;
    return counter ? true : !c->count_rounds && !jit_quiet(j, jit_pc_of_key(r->key));
}

static bool in_range(const struct jit_formed *d, const struct store_range *range)
{
    for (unsigned i = 0; i < d->nranges; i++) {
        uint64_t off = d->range[i].start - range->start;
        if (off >= range->len || d->range[i].len > range->len - off)
            return false;
    }
    return true;
}

static void fresh_grow(struct store_file *f)
{
    uint32_t n = f->fresh_slots ? (f->fresh_mask + 1) * 2 : 256;
    free(f->fresh_slots);
    f->fresh_slots = base_zalloc(n * sizeof *f->fresh_slots);
    f->fresh_mask = n - 1;
    for (uint64_t where = 0; where < f->fresh.len;) {
        const struct jit_record *r = (const struct jit_record *)(f->fresh.data + where);
        slots_put(f->fresh_slots, f->fresh_mask, (const char *)f->fresh.data, r->at, where);
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
    if (a->head != kept->head || a->counted != kept->counted || a->rounds != kept->rounds ||
        a->nranges != kept->nranges || a->nbytes != kept->nbytes || a->nguest != kept->nguest ||
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

static void keep_in(struct jit *j, struct store_file *f, const struct jit_region *r, uint64_t at)
{
    const struct jit_record *old = find(f, at);
    uint64_t start = f->fresh.len;
    bool anew = old && !still(old, &j->p->formed);
    bool there = old && !anew && (old->head || !r->head);
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
        slots_put(f->fresh_slots, f->fresh_mask, (const char *)f->fresh.data, at, start);
    f->nfresh++;
    j->stats.store_kept++;
    j->stats.store_bytes += f->fresh.len - start;
}

void jit_store_keep(struct jit *j, const struct jit_region *r)
{
    struct jit_store *s = j->p->store;
    uint64_t pc = jit_pc_of_key(r->key);
    const struct store_range *range = s ? range_at(s, pc) : NULL;
    if (range && typical(j, r) && in_range(&j->p->formed, range))
        keep_in(j, &s->files.data[range->file], r, pc - range->start + range->offset);
}

void jit_store_fork_child(struct jit *j)
{
    struct jit_store *s = j->p->store;
    for (size_t i = 0; s && i < s->files.len; i++)
        s->files.data[i].saved = s->files.data[i].fresh.len;
}

/* ---- for the caller to write ----------------------------------------- */

/* The process is about to end: who holds the lock for long (it waits for a page, say) is not waited
 * for. */
static bool lock_soon(struct jit *j)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    return pthread_mutex_timedlock(&j->p->lock, &until) == 0;
}

bool jit_store_next(struct jit *j, uint32_t *n, uint64_t *id)
{
    const struct jit_store *s = j->p->store;
    bool found = false;
    if (!s || !lock_soon(j))
        return false;
    while (!found && *n < s->files.len) {
        const struct store_file *f = &s->files.data[(*n)++];
        uint64_t fresh = f->fresh.len - f->saved;
        found = fresh >= JIT_STORE_FRESH_MIN && fresh >= f->size / JIT_STORE_FRESH_SHARE;
        *id = f->id;
    }
    pthread_mutex_unlock(&j->p->lock);
    return found;
}

/* Two passes over the same records in the same order: the first makes the slots, the second gives
 * the records out, so that nothing is in memory twice. */
struct merge {
    const struct store_file *f;
    const char *data;          /* the old; records from..size */
    const jit_store_slot *slots;
    uint32_t mask;
    uint64_t from, size;
    jit_store_slot *out;       /* the new slots */
    uint32_t out_mask, count;
    uint64_t len, gained;      /* bytes in all, and of what is new */
    struct jit_store_put put;
    const char *run;           /* second pass: records that follow each other, not given yet */
    uint64_t run_len;
    bool ok;
};

typedef void merge_step(struct merge *m, const struct jit_record *r, bool fresh);

static const struct jit_record *fresh_at(const struct merge *m, uint64_t at)
{
    return slots_find(m->f->fresh_slots, m->f->fresh_mask, (const char *)m->f->fresh.data,
                      m->f->fresh.len, at);
}
static const struct jit_record *old_at(const struct merge *m, uint64_t at)
{
    return m->slots ? slots_find(m->slots, m->mask, m->data, m->size, at) : NULL;
}

/* Does a new record take the place of the old one? */
static bool beats(const struct jit_record *fresh, const struct jit_record *old)
{
    return fresh && old && (fresh->anew || (fresh->head && !old->head));
}

static void merge_run(struct merge *m, const struct jit_record *r, bool fresh)
{
    (void)fresh;
    if (m->run + m->run_len == (const char *)r) {
        m->run_len += r->size;
        return;
    }
    m->ok = m->ok && (!m->run_len || m->put.fn(m->put.ctx, m->run, m->run_len));
    m->run = (const char *)r;
    m->run_len = r->size;
}

static void merge_slot(struct merge *m, const struct jit_record *r, bool fresh)
{
    (void)fresh;
    slots_put(m->out, m->out_mask, NULL, r->at, m->len);
    m->len += r->size;
}

static void merge_count(struct merge *m, const struct jit_record *r, bool fresh)
{
    m->count++;
    m->gained += fresh ? r->size : 0;
}

/* The old ones, then those of the new that nobody else has written meanwhile. What makes no sense
 * among the old ends them. */
static void merge_each(struct merge *m, merge_step *step)
{
    for (uint64_t at = m->from; m->size - at >= sizeof(struct jit_record);) {
        const struct jit_record *r = (const struct jit_record *)(m->data + at);
        if (r->size < sizeof *r || r->size % 8 || r->size > m->size - at)
            break;
        if (!beats(fresh_at(m, r->at), r))
            step(m, r, false);
        at += r->size;
    }
    for (uint64_t at = 0; at < m->f->fresh.len;) {
        const struct jit_record *r = (const struct jit_record *)(m->f->fresh.data + at);
        const struct jit_record *old = old_at(m, r->at);
        if (fresh_at(m, r->at) == r && (!old || beats(r, old)))
            step(m, r, true);
        at += r->size;
    }
}

static void merge_old(struct merge *m, const struct jit_store *s, const void *data, uint64_t size)
{
    const struct jit_store_header *h = data;
    if (!header_sound(s, data, size))
        return;
    m->data = data;
    m->size = size;
    m->slots = (const jit_store_slot *)(h + 1);
    m->mask = h->nslots - 1;
    m->from = sizeof *h + h->nslots * sizeof *m->slots;
}

/* Header and slots; a table at most half full. */
static void merge_head(struct merge *m, const struct jit_store *s)
{
    struct jit_store_header h = {.magic = JIT_STORE_MAGIC, .version = JIT_STORE_VERSION,
                                 .nslots = 256, .key = s->key, .count = m->count};
    while (h.nslots < m->count * 2)
        h.nslots *= 2;
    m->out = base_zalloc(h.nslots * sizeof *m->out);
    m->out_mask = h.nslots - 1;
    m->len = sizeof h + h.nslots * sizeof *m->out;
    merge_each(m, merge_slot);
    h.size = m->len;
    h.sum = header_sum(&h);
    m->ok = m->put.begin(m->put.ctx, m->len) && m->put.fn(m->put.ctx, &h, sizeof h) &&
            m->put.fn(m->put.ctx, m->out, h.nslots * sizeof *m->out);
    free(m->out);
}

bool jit_store_merge(struct jit *j, uint64_t id, const void *data, size_t size,
                     struct jit_store_put put)
{
    struct jit_store *s = j->p->store;
    struct merge m = {.put = put};
    if (!s || !lock_soon(j))
        return false;
    struct store_file *f = file_of(s, id);
    if (f && f->fresh_slots) {
        m.f = f;
        merge_old(&m, s, data, size);
        merge_each(&m, merge_count);
        if (m.gained >= JIT_STORE_FRESH_MIN)
            merge_head(&m, s);
        if (m.ok) {
            merge_each(&m, merge_run);
            m.ok = m.ok && m.put.fn(m.put.ctx, m.run, m.run_len);
        }
        f->saved = f->fresh.len;
    }
    pthread_mutex_unlock(&j->p->lock);
    return m.ok;
}
