/* jit_form.c: the region former: guest instructions to one IR region.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A region is a superblock: one entry, and control leaves it at side exits and
 * at its end. From the entry pc on, instructions are lifted one after another:
 *
 *   forward branch     SIDE to the target, the fall-through continues
 *   backward branch    POLL, SIDE to the target, EXIT to the fall-through
 *   forward jump       is followed: the target continues the region
 *   backward jump      POLL, EXIT
 *   call, return, indirect jump, trap: EXIT or TRAP
 *
 * Every cycle of guest code contains a backward transfer or an indirect one,
 * so every cycle polls (indirect ones in the stub that looks the target up). A
 * POLL is like an instruction that faults: it stands before anything that its
 * guest instruction PUTs.
 *
 * The region ends early, with an EXIT to the next pc, at the limits in
 * jit_priv.h, where the code that would follow has a region already, and where
 * tier 2 begins. Most code runs once or never, and what lies behind a second
 * branch rather never: regions are short, but those entered by a backward jump
 * or an indirect one, for they are loops and the cases of interpreters.
 */
#include "jit/jit_priv.h"

/* ---- reading guest code ---------------------------------------------- */

static bool window_at(struct jit_reader *r, uint64_t pc)
{
    if (pc - r->start < r->len)
        return true;
    const uint8_t *bytes;
    bool writable = false;
    size_t n = r->j->cfg.fetch(r->j->cfg.ctx, pc, &bytes, &writable);
    if (n == 0)
        return false;
    r->start = pc;
    r->bytes = bytes;
    r->len = n;
    r->inner = n < r->j->cfg.guest->max_len ? 0 : n - r->j->cfg.guest->max_len + 1;
    r->writable |= writable;
    return true;
}

/* At the end of a window the bytes behind it are appended, so that an instruction
 * may lie across. */
static __attribute__((noinline)) size_t bytes_at_edge(struct jit_reader *r, uint64_t pc,
                                                      const uint8_t **bytes)
{
    if (!window_at(r, pc))
        return 0;
    size_t at = pc - r->start, n = r->len - at, max = r->j->cfg.guest->max_len;
    *bytes = r->bytes + at;
    if (n >= max || max > sizeof r->seam)
        return n;
    memcpy(r->seam, *bytes, n);
    while (n < max && window_at(r, pc + n)) {
        size_t more = r->len < max - n ? r->len : max - n;
        memcpy(r->seam + n, r->bytes, more);
        n += more;
    }
    *bytes = r->seam;
    return n;
}

/* Bytes at pc: a pointer and how many; 0: nothing there. */
static inline size_t bytes_at(struct jit_reader *r, uint64_t pc, const uint8_t **bytes)
{
    size_t at = pc - r->start;
    if (base_unlikely(at >= r->inner))
        return bytes_at_edge(r, pc, bytes);
    *bytes = r->bytes + at;
    return r->len - at;
}

size_t jit_reader_at(struct jit_reader *r, uint64_t pc, const uint8_t **bytes)
{
    return bytes_at(r, pc, bytes);
}

static uint64_t hash_bytes(uint64_t h, const uint8_t *p, size_t n)
{
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    for (; n; p++, n--) {
        h = (h ^ *p) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return h;
}

/* The hash of ranges, byte after byte as they come: by words from the start of a
 * range, whatever the pieces are. */
struct hasher {
    uint64_t h;
    unsigned fill;
    uint8_t word[8];
};

static void hash_more(struct hasher *s, const uint8_t *bytes, size_t n)
{
    while (n && (s->fill || n < 8)) {
        s->word[s->fill++] = *bytes++;
        n--;
        if (s->fill == 8) {
            s->h = hash_bytes(s->h, s->word, 8);
            s->fill = 0;
        }
    }
    s->h = hash_bytes(s->h, bytes, n & ~(size_t)7);
    bytes += n & ~(size_t)7;
    for (n &= 7; n; n--)
        s->word[s->fill++] = *bytes++;
}

static void hash_range_end(struct hasher *s)
{
    s->h = hash_bytes(s->h, s->word, s->fill);
    s->fill = 0;
}

bool jit_hash_ranges(struct jit *j, const struct jit_range *r, unsigned n, uint64_t *hash)
{
    struct hasher s = {0};
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = r[i].start, end = at + r[i].len;
        while (at < end) {
            const uint8_t *bytes;
            bool writable;
            size_t got = j->cfg.fetch(j->cfg.ctx, at, &bytes, &writable);
            if (got == 0)
                return false;
            if (got > end - at)
                got = end - at;
            at += got;
            hash_more(&s, bytes, got);
        }
        hash_range_end(&s);
    }
    *hash = s.h;
    return true;
}

/* ---- forming --------------------------------------------------------- */

enum { RESERVED_MAX = 64 }; /* IR instructions from an LR to its SC */

struct form {
    struct jit *j;
    struct ir_func *f;
    struct jit_reader reader;
    uint64_t pc;
    unsigned insns, max_insns, jumps, sides, max_sides;
    bool grow; /* not a single instruction: the hash is asked */
    bool keep; /* what is lifted is also copied to formed.bytes, for the store */
    struct hasher hash;            /* of instructions that the guest may write */
    unsigned hashed, hash_range;   /* how many, in which range the last was */
    uint8_t copy[32];              /* of the instruction */
};

static bool covered(const struct jit_formed *d, uint64_t pc)
{
    for (unsigned i = 0; i < d->nranges; i++)
        if (pc - d->range[i].start < d->range[i].len)
            return true;
    return false;
}

static bool has_region(const struct form *m, uint64_t pc)
{
    return m->grow && jit_find(m->j->p, jit_key(pc, m->f->mode)) != NULL;
}

static void exit_to(struct ir_func *f, unsigned kind, ir_ref target, ir_ref ret)
{
    ir_emit(f, IR_EXIT, IR_NONE, kind, target, ret, 0);
}

static void poll_if_backward(struct form *m, ir_ref target)
{
    if (ir_is_const(target) && ir_kval(m->f, target) <= m->pc)
        ir_emit(m->f, IR_POLL, IR_NONE, 0, 0, 0, 0);
}

/* Goes on at target inside the region if that is allowed, else leaves. */
static bool follow(struct form *m, ir_ref target)
{
    struct jit_formed *d = &m->j->p->formed;
    uint64_t to = ir_kval(m->f, target);
    if (to > m->pc && m->jumps < JIT_PARAM_max_jumps && m->insns < m->max_insns &&
        !ir_func_full(m->f) && !covered(d, to) && !has_region(m, to)) {
        m->jumps++;
        d->range[d->nranges++] = (struct jit_range){to, 0};
        m->pc = to;
        return true;
    }
    exit_to(m->f, IR_EXIT_JUMP, target, IR_NIL);
    return false;
}

/* Is an LR the last that reached memory? Then its SC should come into the same region:
 * only there does it show that nothing is between the two (rv_lift_mem.c). */
static bool reserved(const struct form *m)
{
    const struct ir_func *f = m->f;
    return f->last_mem >= IR_BIAS && f->ins[f->last_mem].op == IR_LR &&
           f->nins - f->last_mem < RESERVED_MAX;
}

/* Acts on the control flow of the instruction at m->pc. Returns true if the
 * region continues at m->pc, false if it has ended. */
static bool flow(struct form *m, const struct ir_flow *w)
{
    struct ir_func *f = m->f;
    uint64_t next = m->pc + w->len;
    unsigned kind = w->kind;
    ir_ref target = w->target;
    if (kind == IR_FLOW_BRANCH && ir_is_const(w->cond))
        kind = ir_kval(f, w->cond) ? IR_FLOW_JUMP : IR_FLOW_NEXT;
    switch (kind) {
    case IR_FLOW_NEXT:
        if (w->reform) {
            m->j->p->formed.reform = true;
            exit_to(f, IR_EXIT_JUMP, ir_kaddr(f, next), IR_NIL);
            return false;
        }
        m->pc = next;
        return true;
    case IR_FLOW_BRANCH: {
        bool back = ir_kval(f, target) <= m->pc;
        poll_if_backward(m, target);
        ir_emit(f, IR_SIDE, IR_NONE, back, w->cond, target, 0);
        m->pc = next;
        if (back || ((++m->sides >= m->max_sides || has_region(m, next)) && !reserved(m))) {
            exit_to(f, IR_EXIT_JUMP, ir_kaddr(f, next), IR_NIL);
            return false;
        }
        return true;
    }
    case IR_FLOW_JUMP:
        poll_if_backward(m, target);
        if (w->kind == IR_FLOW_JUMP && w->link_slot >= 0)
            ir_put(f, (unsigned)w->link_slot, ir_kaddr(f, next));
        if (ir_is_const(target))
            return follow(m, target);
        exit_to(f, IR_EXIT_JUMP, target, IR_NIL);
        return false;
    case IR_FLOW_CALL:
        poll_if_backward(m, target);
        if (w->link_slot >= 0)
            ir_put(f, (unsigned)w->link_slot, ir_kaddr(f, next));
        exit_to(f, IR_EXIT_CALL, target, ir_kaddr(f, next));
        return false;
    case IR_FLOW_RET:
        exit_to(f, IR_EXIT_RET, target, IR_NIL);
        return false;
    default: /* the lifter emitted TRAP */
        return false;
    }
}

/* Of what others may be writing a copy is lifted and hashed: if it is not what is
 * there when the writer says that code has changed, it will show. So it is of what is to be
 * stored: a file may be written to by another process. */
static size_t keep_bytes(struct form *m, const uint8_t **bytes, size_t avail)
{
    size_t n = m->j->cfg.guest->max_len;
    if (n > avail)
        n = avail;
    if (n > sizeof m->copy)
        n = sizeof m->copy;
    memcpy(m->copy, *bytes, n);
    *bytes = m->copy;
    return n;
}

static void hash_copy(struct form *m, const struct jit_formed *d, size_t len)
{
    if (d->nranges != m->hash_range)
        hash_range_end(&m->hash);
    m->hash_range = d->nranges;
    hash_more(&m->hash, m->copy, len);
    m->hashed++;
}

/* Lifts one instruction; false: its bytes are not (all) there. */
static bool lift_one(struct form *m, struct ir_flow *w, uint32_t *got)
{
    const struct ir_guest *g = m->j->cfg.guest;
    const uint8_t *bytes;
    size_t avail = bytes_at(&m->reader, m->pc, &bytes);
    if ((base_unlikely(m->reader.writable) || m->keep) && avail)
        avail = keep_bytes(m, &bytes, avail);
    *got = (uint32_t)avail;
    if (avail < 2)
        return false;
    ir_ref mark = m->f->nins;
    ir_imark(m->f, m->pc, 0);
    if (!g->lift(m->f, m->pc, bytes, avail, w)) {
        m->f->nins = mark;
        return false;
    }
    m->f->ins[mark].aux = w->len; /* not known any earlier */
    return true;
}

/* Appends the instruction to what the store will compare. */
static void add_bytes(const struct form *m, struct jit_formed *d, size_t len)
{
    if (d->nbytes + len <= sizeof d->bytes)
        memcpy(d->bytes + d->nbytes, m->copy, len);
    d->nbytes += (unsigned)len;
}

bool jit_form_into(struct jit *j, struct ir_func *f, uint64_t pc, unsigned mode,
                   unsigned max_insns, unsigned max_sides)
{
    struct jit_formed *d = &j->p->formed;
    struct form m = {.j = j, .f = f, .pc = pc, .max_sides = max_sides,
                     .grow = max_insns != 1, .keep = j->p->store != NULL};
    m.max_insns = max_insns ? max_insns
                  : j->cfg.max_insns ? j->cfg.max_insns
                                     : JIT_PARAM_max_insns;
    m.reader.j = j;
    ir_func_reset(f);
    f->mode = mode;
    f->key = jit_key(pc, mode);
    jit_formed_reset(d);
    d->range[d->nranges++] = (struct jit_range){pc, 0};
    for (;;) {
        struct ir_flow w;
        if (!lift_one(&m, &w, &d->fetch_info)) {
            if (m.insns == 0)
                return false;
            exit_to(f, IR_EXIT_JUMP, ir_kaddr(f, m.pc), IR_NIL);
            break;
        }
        m.insns++;
        d->range[d->nranges - 1].len += w.len;
        if (base_unlikely(m.reader.writable))
            hash_copy(&m, d, w.len);
        if (m.keep)
            add_bytes(&m, d, w.len);
        if (!flow(&m, &w))
            break;
        if (m.grow && jit_head(j, m.pc, mode) && !reserved(&m)) {
            exit_to(f, IR_EXIT_JUMP, ir_kaddr(f, m.pc), IR_NIL);
            d->cut = true;
            break;
        }
        if (m.insns >= m.max_insns || ir_func_full(f)) {
            exit_to(f, IR_EXIT_JUMP, ir_kaddr(f, m.pc), IR_NIL);
            break;
        }
    }
    f->nguest = m.insns;
    d->writable = m.reader.writable;
    hash_range_end(&m.hash);
    d->hash = m.hashed == m.insns ? m.hash.h : 0; /* 0: has always changed */
    if (d->range[d->nranges - 1].len == 0)
        d->nranges--;
    return true;
}

struct ir_func *jit_form(struct jit *j, uint64_t pc, unsigned mode)
{
    struct ir_func *f = ir_func_new(j->cfg.guest);
    pthread_mutex_lock(&j->p->lock);
    bool ok = jit_form_into(j, f, pc, mode, 0, JIT_PARAM_max_sides_loop);
    pthread_mutex_unlock(&j->p->lock);
    if (!ok) {
        ir_func_free(f);
        return NULL;
    }
    return f;
}

/* ---- copies and properties ------------------------------------------- */

struct ir_func *jit_ir_copy(const struct ir_func *f)
{
    size_t n = f->nins - f->nk, extra = f->nextra * sizeof *f->extra;
    struct ir_func *c = base_alloc(sizeof *c + n * sizeof *f->ins + extra);
    memcpy(c, f, sizeof *c);
    struct ir_ins *ins = (struct ir_ins *)(c + 1);
    memcpy(ins, f->ins + f->nk, n * sizeof *ins);
    c->ins = (struct ir_ins *)((uintptr_t)ins - f->nk * sizeof *ins);
    c->base = NULL;
    c->extra = (uint32_t *)(ins + n);
    if (extra)
        memcpy(c->extra, f->extra, extra);
    return c;
}

bool jit_ir_once(const struct ir_func *f, const struct ir_guest *g)
{
    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        switch (f->ins[r].op) {
        case IR_AMO:
        case IR_CAS:
        case IR_LR:
        case IR_SC:
            return true;
        case IR_HELPER:
            if (f->ins[r].aux < g->nhelpers && g->helpers[f->ins[r].aux].effects)
                return true;
            break;
        default:
            break;
        }
    }
    return false;
}
