/* jit_store_merge.c: the block of a guest file: its table, its header, and making a new one.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     old block + new records --> counted --> header, slots --> the records, those that follow
 *                                             each other at once
 *
 * The caller writes a file of it (jit_store_next, _merge). The old block is read anew before, so
 * that what others have written meanwhile stays; of two who write at once one loses what it had.
 * What is to be written is not put together in memory: records are given from where they are.
 */
#include "jit/jit_store.h"

#include <time.h>

/* ---- slots ----------------------------------------------------------- */

/* Positions near each other are in neighbouring slots, see bucket_of. */
static uint32_t slot_of(uint64_t at, uint32_t mask)
{
    return (uint32_t)(base_hash64(at >> 6) << 5 | (at >> 1 & 31)) & mask;
}

const struct jit_record *jit_slots_find(const jit_store_slot *slots, uint32_t mask,
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

bool jit_slots_put(jit_store_slot *slots, uint32_t mask, const char *base, uint64_t at,
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

/* ---- header ---------------------------------------------------------- */

static uint64_t header_sum(const struct jit_store_header *h)
{
    const uint64_t *w = (const uint64_t *)h;
    uint64_t sum = 0;
    for (; w < &h->sum; w++)
        sum = base_hash64(sum ^ *w);
    return sum;
}

bool jit_store_sound(const struct jit_store *s, const void *data, uint64_t size)
{
    const struct jit_store_header *h = data;
    return data && size >= sizeof *h && h->magic == JIT_STORE_MAGIC &&
           h->version == JIT_STORE_VERSION && h->key == s->key && h->size == size &&
           h->sum == header_sum(h) && h->nslots && !(h->nslots & (h->nslots - 1)) &&
           h->nslots <= (size - sizeof *h) / sizeof(jit_store_slot) &&
           size / 8 <= UINT32_MAX;
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
        const struct jit_store_file *f = &s->files.data[(*n)++];
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
    const struct jit_store_file *f;
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
    return jit_slots_find(m->f->fresh_slots, m->f->fresh_mask, (const char *)m->f->fresh.data,
                      m->f->fresh.len, at);
}
static const struct jit_record *old_at(const struct merge *m, uint64_t at)
{
    return m->slots ? jit_slots_find(m->slots, m->mask, m->data, m->size, at) : NULL;
}

/* Does a new record take the place of the old one? */
static bool beats(const struct jit_record *fresh, const struct jit_record *old)
{
    return fresh && old && fresh->anew;
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
    jit_slots_put(m->out, m->out_mask, NULL, r->at, m->len);
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
    if (!jit_store_sound(s, data, size))
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
    struct jit_store_file *f = jit_store_file_of(s, id);
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
