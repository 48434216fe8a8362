/* jit_lockstep.c: every region twice: interpreter, then code, and compare.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter goes first, with stores logged; what it did is kept and taken
 * back; then the code runs from the same state. Registers, FP status, next pc
 * and every byte the interpreter stored must agree. Regions that cannot be taken
 * back (atomics, helpers with effects) are not compared.
 *
 * A region of tier 2 may be a loop: it is left at its poll after a few rounds, through
 * the map there.
 *
 * Together with forced exits this checks state maps: what the map of the exit
 * gives must be what the interpreter has when it arrives at the map's pc one
 * guest instruction at a time.
 */
#include "jit/jit_priv.h"

struct store {
    uint64_t addr;
    uint8_t old[8], new[8];
    unsigned size;
};

struct jit_undo {
    unsigned polls; /* how many more may be passed */
    BASE_VEC(struct store) log;
};

void jit_lockstep_free(struct jit_thread *t)
{
    if (t->undo)
        base_vec_free(&t->undo->log);
    free(t->undo);
    t->undo = NULL;
}

/* ---- memory with a log ----------------------------------------------- */

static bool do_load(void *ctx, uint64_t addr, unsigned size, uint64_t *value)
{
    *value = 0;
    memcpy(value, (const void *)(uintptr_t)addr, size);
    return true;
}

static bool do_store(void *ctx, uint64_t addr, unsigned size, uint64_t value)
{
    struct jit_undo *u = ctx;
    struct store s = {.addr = addr, .size = size};
    BASE_ASSERT(size <= sizeof s.old);
    memcpy(s.old, (const void *)(uintptr_t)addr, size);
    memcpy((void *)(uintptr_t)addr, &value, size); /* may fault: before the log */
    base_vec_push(&u->log, s);
    return true;
}

static bool do_rmw(void *ctx, uint64_t addr, unsigned size, int op, uint64_t value,
                   uint64_t expected, uint64_t *old)
{
    base_bug(__FILE__, __LINE__, "atomic operation in lockstep");
}

static bool do_poll(void *ctx)
{
    struct jit_undo *u = ctx;
    return u->polls == 0 || --u->polls == 0;
}

/* Keeps what is in memory now as new and puts back what was there before. */
static void swap_new_old(struct jit_undo *u)
{
    for (size_t i = u->log.len; i-- > 0;) {
        struct store *s = &u->log.data[i];
        memcpy(s->new, (const void *)(uintptr_t)s->addr, s->size);
    }
    for (size_t i = u->log.len; i-- > 0;) {
        struct store *s = &u->log.data[i];
        memcpy((void *)(uintptr_t)s->addr, s->old, s->size);
    }
}

/* ---- comparing ------------------------------------------------------- */

static bool differ(struct jit_vcpu *v, const uint8_t *want, uint64_t pc, struct base_text *out)
{
    const struct ir_guest *g = v->jit->cfg.guest;
    const struct jit_undo *u = jit_thread_of(v)->undo;
    uint64_t want_pc;
    memcpy(&want_pc, want + g->pc_offset, 8);
    if (pc != want_pc)
        base_text_printf(out, "pc: interpreter %#llx, code %#llx\n", (unsigned long long)want_pc,
                         (unsigned long long)pc);
    for (unsigned i = 0; i < g->nslots; i++) {
        uint64_t a = jit_slot_read(&g->slots[i], want);
        uint64_t b = jit_slot_read(&g->slots[i], v->state);
        if (a != b)
            base_text_printf(out, "%s: interpreter %#llx, code %#llx\n", g->slots[i].name,
                             (unsigned long long)a, (unsigned long long)b);
    }
    struct ir_fpenv a, b;
    memcpy(&a, want + g->fpenv_offset, sizeof a);
    b = *jit_env_of(v);
    v->jit->host->fp_store(v, &b);
    if (a.flags != b.flags || a.rm != b.rm)
        base_text_printf(out, "fp flags, rm: interpreter %u %u, code %u %u\n", a.flags, a.rm,
                         b.flags, b.rm);
    for (size_t i = 0; i < u->log.len; i++) {
        const struct store *s = &u->log.data[i];
        if (memcmp((const void *)(uintptr_t)s->addr, s->new, s->size) != 0)
            base_text_printf(out, "memory at %#llx, %u bytes differ\n",
                             (unsigned long long)s->addr, s->size);
    }
    return out->len != 0;
}

static void print_states(struct jit_vcpu *v, const uint8_t *before, const uint8_t *want,
                         struct base_text *out)
{
    const struct ir_guest *g = v->jit->cfg.guest;
    base_text_printf(out, "%-8s %18s %18s %18s\n", "slot", "before", "interpreter", "code");
    for (unsigned i = 0; i < g->nslots; i++)
        base_text_printf(out, "%-8s %#18llx %#18llx %#18llx\n", g->slots[i].name,
                         (unsigned long long)jit_slot_read(&g->slots[i], before),
                         (unsigned long long)jit_slot_read(&g->slots[i], want),
                         (unsigned long long)jit_slot_read(&g->slots[i], v->state));
}

static void complain(struct jit_vcpu *v, const struct jit_region *r, const uint8_t *before,
                     const uint8_t *want, const char *diff)
{
    FILE *out = v->jit->cfg.dump_file;
    struct base_text states = {0};
    print_states(v, before, want, &states);
    fprintf(out, "lockstep: region at %#llx differs\n%s\n%s\n", (unsigned long long)r->key, diff,
            states.data);
    jit_dump_region(v->jit, out, "gihm", r->ir, r, NULL);
    fflush(out);
    base_bug(__FILE__, __LINE__, "code and interpreter disagree at %#llx: %s",
             (unsigned long long)r->key, diff);
}

/* ---- maps ------------------------------------------------------------ */

/* Interprets one guest instruction; false: it did not end normally. */
static bool step(struct jit_vcpu *v, const struct ir_mem *mem)
{
    struct jit_priv *p = v->jit->p;
    struct jit_thread *t = jit_thread_of(v);
    struct ir_end end = {0};
    if (!t->single)
        t->single = ir_func_new(v->jit->cfg.guest);
    pthread_mutex_lock(&p->lock);
    bool ok = jit_form_into(v->jit, t->single, *jit_pc_of(v), jit_mode_of(v), 1, 1);
    pthread_mutex_unlock(&p->lock);
    if (!ok)
        return false;
    jit_interpret(v, t->single, mem, &end);
    *jit_pc_of(v) = end.target;
    return end.kind == IR_END_EXIT;
}

/* Compares what the code left (got) with the interpreter's present state. */
static bool same_as(struct jit_vcpu *v, const uint8_t *got, uint32_t got_mxcsr, uint64_t pc,
                    struct base_text *diff)
{
    struct jit_undo *u = jit_thread_of(v)->undo;
    uint8_t want[JIT_STATE_MAX];
    uint32_t mxcsr = v->mxcsr;
    memcpy(want, v->state, sizeof want);
    memcpy(v->state, got, sizeof want);
    v->mxcsr = got_mxcsr;
    for (size_t i = 0; i < u->log.len; i++) {
        struct store *s = &u->log.data[i];
        memcpy(s->new, (const void *)(uintptr_t)s->addr, s->size);
    }
    diff->len = 0;
    bool same = !differ(v, want, pc, diff);
    memcpy(v->state, want, sizeof want);
    v->mxcsr = mxcsr;
    return same;
}

/* Rounds of a loop that code may do: it polls in each, but for those of strips, which come
 * after another round at the earliest. The interpreter does no strips here. */
static unsigned most_rounds(void)
{
    return (JIT_PARAM_t2_polls + 1) * (1 + JIT_LOCKSTEP_STRIP);
}

static void check_map(struct jit_vcpu *v, const struct jit_region *r, const uint8_t *before,
                      uint32_t mxcsr)
{
    struct jit *j = v->jit;
    struct jit_undo *u = jit_thread_of(v)->undo;
    const struct jit_deopt *d =
        jit_table_at(&j->p->deopts, v->exit_id & ~(uint32_t)JIT_EXIT_DEOPT, sizeof *d);
    uint8_t raw[JIT_STATE_MAX], got[JIT_STATE_MAX], want[JIT_STATE_MAX] = {0};
    uint32_t got_mxcsr = v->mxcsr;
    struct base_text diff = {0};
    bool agree = false;
    memcpy(raw, v->state, sizeof raw);
    struct jit_maps maps = jit_maps_of(d->region);
    uint64_t pc = jit_map_apply(j, &maps, d->map, &v->regs, v->spill, v->state);
    struct ir_mem mem = {u, do_load, do_store, do_rmw, NULL};
    memcpy(got, v->state, sizeof got);
    memcpy(v->state, before, sizeof got);
    v->mxcsr = mxcsr;
    j->host->fp_store(v, jit_env_of(v)); /* the map may be that of the first instruction */
    swap_new_old(u); /* what the code stored is taken back */
    u->log.len = 0;
    uint64_t flushes = j->p->flush_count;
    jit_code_end(v);
    /* A side exit's map has the pc of its target, which may be in the region:
     * the first arrival there need not be the one. */
    unsigned limit = r->nguest * (r->tier == 2 ? most_rounds() : 1);
    for (unsigned n = 0; n <= limit && !agree; n++) {
        if (*jit_pc_of(v) == pc) {
            memcpy(want, v->state, sizeof want);
            agree = same_as(v, got, got_mxcsr, pc, &diff);
        }
        if (!agree && !step(v, &mem))
            break;
    }
    jit_code_begin(v);
    if (flushes != j->p->flush_count)
        base_bug(__FILE__, __LINE__, "lockstep: the code cache is too small for several threads");
    memcpy(v->state, agree ? raw : got, sizeof got); /* the map is to be applied again */
    v->mxcsr = got_mxcsr;
    if (!agree) {
        if (!diff.len)
            base_text_printf(&diff, "the interpreter does not get there\n");
        base_text_printf(&diff, "in map %u for pc %#llx\n", d->map, (unsigned long long)pc);
        complain(v, r, before, want, diff.data);
    }
    base_text_free(&diff);
}

/* Tier 1 has counted enough and left. Its poll stands behind what its instruction
 * computes, so flags may have accrued that the map's place has not got yet. */
static bool is_hot(struct jit_vcpu *v)
{
    const struct jit_deopt *d =
        jit_table_at(&v->jit->p->deopts, v->exit_id & ~(uint32_t)JIT_EXIT_DEOPT, sizeof *d);
    return d->hot;
}

/* ---- entry ----------------------------------------------------------- */

void jit_lockstep(struct jit_vcpu *v, const struct jit_region *r)
{
    struct jit_thread *t = jit_thread_of(v);
    uint8_t before[JIT_STATE_MAX], want[JIT_STATE_MAX];
    struct ir_end end = {0};
    uint32_t mxcsr = v->mxcsr;
    if (!t->undo)
        t->undo = base_zalloc(sizeof *t->undo);
    t->undo->log.len = 0;
    /* A loop goes round a few times only: code leaves by a counter of its polls, and
     * the interpreter a little later, so that code is not too early either. */
    t->undo->polls = most_rounds();
    if (r->tier == 2 && !v->jit->cfg.deopt_always)
        v->deopt_count = 1 + (uint32_t)(base_rand(&t->seed) % JIT_PARAM_t2_polls);
    struct ir_mem mem = {t->undo, do_load, do_store, do_rmw, do_poll};
    memcpy(before, v->state, sizeof before);
    jit_interpret(v, r->ir, &mem, &end);
    swap_new_old(t->undo);
    *jit_pc_of(v) = end.target;
    memcpy(want, v->state, sizeof want);
    memcpy(v->state, before, sizeof before);
    v->mxcsr = mxcsr;
    jit_enter(v, r);
    if (v->exit_id == JIT_EXIT_MISS && v->poll)
        return;
    if (v->exit_id != JIT_EXIT_MISS && (v->exit_id & JIT_EXIT_DEOPT)) {
        if (v->poll == 0 && !is_hot(v))
            check_map(v, r, before, mxcsr);
        return;
    }
    if (v->exit_id == JIT_EXIT_FAULT && v->again)
        return; /* it goes on one by one from there */
    struct base_text diff = {0};
    if (differ(v, want, jit_exit_pc(v), &diff))
        complain(v, r, before, want, diff.data);
    base_text_free(&diff);
}
