/* jit_run.c: the run loop: find or make the region at the pc, run it, act on how
 * it left. SPDX-License-Identifier: Apache-2.0
 *
 *        +--> poll? ---------------------------------------> JIT_STOP_POLL
 *        |    region at pc: hash, else form, compile, install -> FETCH trap
 *        |                         or, met first, form and interpret
 *        |    run: translated code (from region to region on its own)
 *        |         or the interpreter (one region)
 *        |    exit: direct  link it to its target ----+
 *        +---------- miss    fill the lookup table ---+
 *                    deopt   state from its map; poll, or one instruction
 *                            in the interpreter (forced exits)
 *                    call    cfg.syscall, then on ----+
 *                    trap, fault ----------------------> the caller
 *
 * The exit stubs call jit_next where they stand, on the host's stack above the
 * frame of enter(), and jump to the code it returns: the loop goes round without
 * returning from anything. A processor predicts returns from a stack of the
 * calls it has seen, and the guest's calls are on it; unwinding to a loop in C
 * and entering again would spoil all of the guest's next returns (getppid from
 * a function two calls deep: 250 ns with, 205 without, 120 native).
 *
 * While in_code is set, regions and exit numbers stay valid; it is dropped
 * before every wait for the lock (jit_priv.h has the whole protocol).
 */
#include "jit/jit_store.h"

#include <sched.h>

_Thread_local struct jit_vcpu *jit_current;

/* ---- in_code --------------------------------------------------------- */

static void wait_for_flush(struct jit *j)
{
    pthread_mutex_lock(&j->p->lock);
    pthread_mutex_unlock(&j->p->lock);
}

void jit_code_begin(struct jit_vcpu *v)
{
    struct jit_priv *p = v->jit->p;
    for (;;) {
        __atomic_store_n(&v->in_code, 1, __ATOMIC_RELAXED);
        if (base_unlikely(p->fences))
            atomic_thread_fence(memory_order_seq_cst);
        atomic_signal_fence(memory_order_seq_cst);
        if (base_likely(!atomic_load(&p->flush_pending)))
            return;
        jit_code_end(v);
        wait_for_flush(v->jit);
    }
}

/* ---- translation ----------------------------------------------------- */

void jit_gave_up(struct jit *j, unsigned tier, const char *why)
{
    struct jit_reasons *r = &j->p->gave_up[tier - 1];
    j->stats.gave_up += tier == 1;
    for (size_t i = 0; i < r->why.len; i++) {
        if (strcmp(r->why.data[i], why) == 0) {
            r->count.data[i]++;
            return;
        }
    }
    base_vec_push(&r->why, why);
    base_vec_push(&r->count, 1);
}

/* Forming reads guest memory, which may fault (a mapping behind the end of its
 * file): then there is nothing to fetch. */
static bool form_guarded(struct jit *j, struct jit_vcpu *self, struct ir_func *f, uint64_t pc,
                         unsigned mode, unsigned max_insns, unsigned max_sides)
{
    if (!self)
        return jit_form_into(j, f, pc, mode, max_insns, max_sides);
    struct jit_thread *t = jit_thread_of(self);
    if (sigsetjmp(t->landing, j->host == NULL)) {
        t->forming = 0;
        j->p->formed.fetch_info = 0;
        return false;
    }
    t->forming = 1;
    bool ok = jit_form_into(j, f, pc, mode, max_insns, max_sides);
    t->forming = 0;
    return ok;
}

/* Compiles p->func and installs it; NULL: gave up. */
static struct jit_region *compile(struct jit *j, struct jit_vcpu *self, uint64_t key)
{
    struct jit_code *c = &j->p->code;
    c->relocs.len = c->exits.len = c->points.len = c->map_bytes.len = c->map_start.len = 0;
    c->marks.len = 0;
    c->gave_up = NULL;
    if (j->host->compile(j, j->p->func, c) != 0) {
        jit_gave_up(j, 1, c->gave_up ? c->gave_up : "no reason given");
        return NULL;
    }
    struct jit_region *r = jit_install_flush(j, self, key, c, &j->p->formed);
    if (!r)
        jit_gave_up(j, 1, "region larger than the code cache");
    return r;
}

static void verify(const struct ir_func *f)
{
    struct base_text error = {0};
    if (!ir_verify(f, &error)) {
        struct base_text text = {0};
        ir_print(f, &text);
        base_bug(__FILE__, __LINE__, "formed region is not valid IR: %s\n%s", error.data,
                 text.data);
    }
}

/* --stats: CPU time, for on a busy machine the clock says nothing. Reading it is a
 * system call, so it is read for one region in sixteen (not the first, which
 * also makes the compiler's buffers), and what a reading costs is measured and
 * taken away. */
enum { SAMPLE_EVERY = 16, SAMPLE_AT = 5 };

struct sample {
    bool on;
    uint64_t cost, start, formed;
};

static struct sample sample_begin(const struct jit *j)
{
    struct sample s = {.on = j->cfg.stats && j->stats.regions % SAMPLE_EVERY == SAMPLE_AT};
    if (base_unlikely(s.on)) {
        uint64_t t = base_thread_cpu_ns();
        s.start = base_thread_cpu_ns();
        s.cost = s.start - t;
    }
    return s;
}

static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static void sample_end(struct jit *j, const struct sample *s, unsigned insns)
{
    uint64_t end = base_thread_cpu_ns();
    j->stats.lift_ns += less(s->formed - s->start, s->cost);
    j->stats.compile_ns += less(end - s->formed, s->cost);
    j->stats.timed_insns += insns;
}

struct jit_region *jit_translate(struct jit *j, struct jit_vcpu *self, uint64_t key,
                                 enum jit_came came)
{
    struct jit_priv *p = j->p;
    struct jit_region *r = jit_find(p, key);
    if (r)
        return r;
    if (p->store && (r = jit_store_take(j, self, key))) {
        jit_take_place(j, r, NULL);
        return r;
    }
    bool loop = came == JIT_CAME_BACK || came == JIT_CAME_LOOKUP;
    struct ir_func *f = p->func;
    unsigned mode = self ? jit_mode_of(self) : 0;
    struct sample sample = sample_begin(j);
    if (!form_guarded(j, self, f, key ^ (uint64_t)mode << 60, mode, 0,
                      loop ? JIT_PARAM_max_sides_loop : JIT_PARAM_max_sides))
        return NULL;
    if (base_unlikely(sample.on))
        sample.formed = base_thread_cpu_ns();
    if (j->cfg.lockstep || j->cfg.deopt_always || j->cfg.random_ra)
        verify(f);
    bool called = came == JIT_CAME_CALLED && j->cfg.tier2 == JIT_TIER2_ALWAYS;
    p->code.quiet = called && jit_quiet(j, jit_pc_of_key(key));
    p->code.count_entry = called && !p->code.quiet;
    if (p->compiles)
        r = compile(j, self, key);
    if (!r)
        r = jit_region_new(j, &p->formed, key, 0);
    r->counted = p->code.count_entry && r->code;
    if (!r->code || j->cfg.lockstep) {
        r->ir = jit_ir_copy(f);
        base_vec_push(&p->irs, r->ir);
        r->once = jit_ir_once(f, j->cfg.guest);
    }
    r->nguest = (uint16_t)f->nguest;
    if (p->store && r->code)
        jit_store_keep(j, r);
    jit_take_place(j, r, NULL);
    j->stats.ir_ins += f->nins - IR_BIAS;
    if (base_unlikely(sample.on))
        sample_end(j, &sample, f->nguest);
    if (j->cfg.dump && !j->cfg.t2_fuel)
        jit_dump_region(j, j->cfg.dump_file, j->cfg.dump, f, r, &j->p->code);
    return r;
}

/* One function is kept: rarely are two threads at it at once. */
static void first_done(struct jit_priv *p, struct ir_func *f)
{
    f = atomic_exchange(&p->first_func, f);
    if (f)
        ir_func_free(f);
}

static uint64_t *met_word(struct jit_priv *p, uint64_t key)
{
    return &p->met[base_hash64(key) % JIT_MET / 64];
}
static uint64_t met_bit(uint64_t key) { return 1ull << base_hash64(key) % 64; }
static bool met(struct jit_priv *p, uint64_t key)
{
    return __atomic_load_n(met_word(p, key), __ATOMIC_RELAXED) & met_bit(key);
}

/* Code that runs once is not worth compiling, and two thirds of what a program begins
 * with does not run again: there, what is met for the first time is formed and
 * interpreted (lock held); here is the function, for first_run. NULL: it is to be
 * compiled. So is the head of a loop (the caller's business), LR and SC, see
 * ir_res_watch, and what is or will be stored. Later most code runs again, and would be
 * formed twice. */
static struct ir_func *first_met(struct jit_vcpu *v, uint64_t key)
{
    struct jit *j = v->jit;
    struct jit_priv *p = j->p;
    if (met(p, key))
        return NULL;
    *met_word(p, key) |= met_bit(key);
    if (jit_find(p, key) || jit_store_serves(j, key))
        return NULL;
    atomic_fetch_sub(&p->first_left, 1);
    struct ir_func *f = atomic_exchange(&p->first_func, NULL);
    if (!f)
        f = ir_func_new(j->cfg.guest);
    if (form_guarded(j, v, f, jit_pc_of_key(key), jit_mode_of_key(key), 0,
                     JIT_PARAM_max_sides_loop) &&
        !jit_ir_once(f, j->cfg.guest))
        return f;
    first_done(p, f);
    return NULL;
}

/* The region at key with in_code set; NULL: nothing to fetch, in_code clear.
 * An exit number given in from is linked to it and tells how it came here; else came
 * does. *first: no region, but a function that is to be interpreted. */
static struct jit_region *acquire(struct jit_vcpu *v, uint64_t key, uint32_t from,
                                  enum jit_came came, struct ir_func **first)
{
    struct jit *j = v->jit;
    struct jit_priv *p = j->p;
    if (from == JIT_NO_EXIT) {
        jit_code_begin(v);
        struct jit_region *r = jit_find(p, key);
        if (r)
            return r;
    }
    if (from != JIT_NO_EXIT) {
        const struct jit_exit *e = jit_table_at(&p->exits, from, sizeof *e);
        came = e->back ? JIT_CAME_BACK : e->call ? JIT_CAME_CALLED : JIT_CAME_ON;
    }
    uint64_t count = p->flush_count;
    jit_code_end(v);
    pthread_mutex_lock(&p->lock);
    if (p->first_left && first && came != JIT_CAME_BACK)
        *first = first_met(v, key);
    struct jit_region *r = first && *first ? NULL : jit_translate(j, v, key, came);
    if (r) {
        if (from != JIT_NO_EXIT && count == p->flush_count)
            jit_link(j, from, r);
        __atomic_store_n(&v->in_code, 1, __ATOMIC_SEQ_CST);
    } else {
        v->stop.info = p->formed.fetch_info;
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* What was at a place in the lookup table and makes room. It may be forgotten meanwhile. */
static void keep_victim(struct jit_vcpu *v, struct jit_lookup old)
{
    if (old.key < 2) /* nothing */
        return;
    struct jit_lookup *e = jit_victim_of(v, old.key);
    e->code = old.code;
    __atomic_store_n(&e->key, old.key, __ATOMIC_SEQ_CST);
    atomic_thread_fence(memory_order_seq_cst);
    const struct jit_region *r = jit_find(v->jit->p, old.key);
    if (!r || r->code != old.code || atomic_load(&((struct jit_region *)r)->dead))
        __atomic_store_n(&e->key, 1, __ATOMIC_SEQ_CST);
}

static void fill_lookup(struct jit_vcpu *v, const struct jit_region *r)
{
    struct jit_lookup *e = jit_lookup_of(v, r->key);
    if (!r->code || v->jit->cfg.lockstep)
        return;
    if (e->key != r->key)
        keep_victim(v, *e);
    e->code = r->code;
    __atomic_store_n(&e->key, r->key, __ATOMIC_SEQ_CST);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&((struct jit_region *)r)->dead))
        __atomic_store_n(&e->key, 1, __ATOMIC_SEQ_CST);
}

/* ---- the interpreter ------------------------------------------------- */

void jit_interpret(struct jit_vcpu *v, const struct ir_func *f, const struct ir_mem *mem,
                   struct ir_end *end)
{
    struct jit_thread *t = jit_thread_of(v);
    bool fp = v->jit->p->compiles;
    if (fp)
        v->jit->host->fp_store(v, jit_env_of(v));
    v->jit->stats.interpreted++;
    if (sigsetjmp(t->landing, v->jit->host == NULL) == 0) {
        t->interp = 1;
        ir_interp(f, v->state, mem, v->jit->cfg.lockstep ? NULL : &v->poll, end);
    } else {
        end->kind = IR_END_FAULT;
        end->target = *jit_pc_of(v);
    }
    t->interp = 0;
    if (fp)
        v->jit->host->fp_load(v, jit_env_of(v));
}

/* ---- slow calls ------------------------------------------------------ */

/* Registers have garbage above a value's width. */
static uint64_t narrow(uint64_t v, unsigned type)
{
    unsigned bits = ir_type_bits(type);
    return bits >= 64 || bits == 0 ? v : base_zext(v, bits);
}

void jit_slow_call(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    unsigned op = v->slow_op & 0xff, ty = v->slow_op >> 8 & 0xff, aty = v->slow_op >> 16 & 0xff;
    unsigned aux = (unsigned)(v->slow_op >> 32);
    const uint64_t *a = v->slow_arg;
    if (op == IR_HELPER) {
        BASE_ASSERT(aux < j->cfg.guest->nhelpers);
        j->host->fp_store(v, jit_env_of(v));
        v->slow_result = j->cfg.guest->helpers[aux].fn(v->state, a[0], a[1], a[2]);
        j->host->fp_load(v, jit_env_of(v));
        return;
    }
    struct ir_fpenv env = *jit_env_of(v); /* the dynamic rounding mode is there */
    j->host->fp_store(v, &env);
    /* the operands behind the first are of its type, SEL's of the result's */
    unsigned bty = op == IR_SEL ? ty : aty;
    v->slow_result = ir_eval(op, ty, aty, aux, narrow(a[0], aty), narrow(a[1], bty),
                             narrow(a[2], bty), &env);
    j->host->fp_load(v, &env);
}

/* ---- exits ----------------------------------------------------------- */

enum { GO_ON = -1 };

static int stop_trap(struct jit_vcpu *v, unsigned trap, uint32_t info)
{
    jit_code_end(v);
    v->jit->stats.exits_trap[trap]++;
    if (trap == IR_TRAP_FENCEI) {
        jit_code_changed(v->jit, 0, UINT64_MAX);
        return GO_ON;
    }
    v->stop.trap = trap;
    v->stop.info = info;
    return JIT_STOP_TRAP;
}

static int stop_fault(struct jit_vcpu *v)
{
    jit_code_end(v);
    v->jit->stats.exits_fault++;
    return JIT_STOP_FAULT;
}

static int after_interp(struct jit_vcpu *v, const struct ir_end *end)
{
    *jit_pc_of(v) = end->target;
    if (end->kind == IR_END_TRAP)
        return stop_trap(v, end->trap, end->info);
    if (end->kind == IR_END_FAULT)
        return stop_fault(v);
    return GO_ON; /* POLL: the loop looks at the flag */
}

/* Code that was met for the first time (first_met); *came: how it went on. */
static int first_run(struct jit_vcpu *v, struct ir_func *f, enum jit_came *came)
{
    struct ir_end end = {0};
    jit_interpret(v, f, NULL, &end);
    if (end.kind == IR_END_EXIT && end.exit_kind == IR_EXIT_CALL)
        *came = JIT_CAME_CALLED;
    else if (end.kind == IR_END_EXIT && end.exit_kind == IR_EXIT_JUMP)
        *came = end.target <= jit_pc_of_key(f->key) ? JIT_CAME_BACK : JIT_CAME_ON;
    first_done(v->jit->p, f);
    return after_interp(v, &end);
}

/* One instruction by the interpreter, whatever regions there are. */
static int single_step(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    struct jit_thread *t = jit_thread_of(v);
    struct ir_end end = {0};
    jit_code_end(v);
    if (!t->single)
        t->single = ir_func_new(j->cfg.guest);
    pthread_mutex_lock(&j->p->lock);
    bool ok = form_guarded(j, v, t->single, *jit_pc_of(v), jit_mode_of(v), 1, 1);
    uint32_t info = j->p->formed.fetch_info;
    pthread_mutex_unlock(&j->p->lock);
    if (!ok)
        return stop_trap(v, IR_TRAP_FETCH, info);
    jit_interpret(v, t->single, NULL, &end);
    return after_interp(v, &end);
}

/* Follows the vCPU for a while, to see where indirect jumps and calls go. */
static int watch(struct jit_vcpu *v)
{
    struct jit_went went[JIT_PARAM_t2_watch];
    unsigned n = 0;
    int stop = GO_ON;
    uint64_t start = base_thread_cpu_ns();
    for (unsigned i = 0; i < JIT_PARAM_t2_watch && stop == GO_ON && !v->poll; i++) {
        uint64_t key = jit_key(*jit_pc_of(v), jit_mode_of(v));
        stop = single_step(v);
        if (stop != GO_ON)
            break;
        const struct ir_func *f = jit_thread_of(v)->single;
        const struct ir_ins *e = &f->ins[f->nins - 1];
        if (e->op == IR_EXIT && e->aux != IR_EXIT_RET && !ir_is_const(e->a))
            went[n++] = (struct jit_went){key, *jit_pc_of(v)};
    }
    jit_t2_watched(v, went, n, base_thread_cpu_ns() - start);
    return stop;
}

/* Does f, one instruction, end in a call? */
static bool is_call(const struct ir_func *f)
{
    const struct ir_ins *i = &f->ins[f->nins - 1];
    return i->op == IR_EXIT && i->aux == IR_EXIT_CALL;
}

/* Counters are shared by their hash. */
static uint32_t at_most(uint32_t n) { return n < JIT_HOT_MOST ? n : JIT_HOT_MOST; }

/* The ticks have run out, at a branch or call that goes back: where that goes may be hot.
 * (With --tier2=always at the entry of a function, too.) */
static int after_tick(struct jit_vcpu *v, const struct jit_region *r, bool entry)
{
    uint64_t region = r->key;
    uint64_t pc = *jit_pc_of(v);
    int stop = GO_ON;
    v->jit->stats.exits_hot++;
    jit_code_end(v);
    bool call = entry;
    if (!entry) {
        stop = single_step(v);
        call = is_call(jit_thread_of(v)->single);
    }
    v->ticks = jit_t2_period(v);
    if (stop == GO_ON && (entry || *jit_pc_of(v) <= pc))
        if (jit_t2_sample(v, *jit_pc_of(v), pc, region, call))
            stop = watch(v);
    return stop;
}

static int after_deopt(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    const struct jit_deopt *d =
        jit_table_at(&j->p->deopts, v->exit_id & ~(uint32_t)JIT_EXIT_DEOPT, sizeof *d);
    struct jit_maps maps = jit_maps_of(d->region);
    jit_map_apply(j, &maps, d->map, &v->regs, v->spill, v->state);
    if (v->poll)
        return GO_ON; /* the loop stops there */
    if (d->hot)
        return after_tick(v, d->region, d->region->counted && d->map == d->region->nmaps - 1);
    j->stats.exits_deopt++;
    v->deopt_count = 1 + (uint32_t)(base_rand(&jit_thread_of(v)->seed) % JIT_PARAM_deopt_every);
    return single_step(v);
}

uint64_t jit_exit_pc(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    if (v->exit_id == JIT_EXIT_FAULT)
        return *jit_pc_of(v);
    if (v->exit_id == JIT_EXIT_MISS)
        return v->exit_arg ^ (uint64_t)jit_mode_of(v) << 60;
    const struct jit_exit *e = jit_table_at(&j->p->exits, v->exit_id, sizeof *e);
    return j->cfg.guest->mode ? e->key ^ (uint64_t)e->mode << 60 : e->key;
}

/* An exit of tier 2 that was taken often. */
static int after_hot_exit(struct jit_vcpu *v, const struct jit_exit *e)
{
    struct jit *j = v->jit;
    const struct jit_region *r =
        jit_region_by_code(j, (uint64_t)(uintptr_t)(j->p->cache.rx + e->stub));
    uint64_t key = r->key, target = e->key;
    uint32_t *counter = &v->hot[e->counter - 1];
    j->stats.exits_hot++;
    jit_code_end(v);
    int stop = jit_t2_missed(v, key, target) ? watch(v) : GO_ON;
    *counter = at_most(jit_t2_exit_hot(v, key, target));
    return stop;
}

/* A host fault in code, which was abandoned. */
static int after_fault(struct jit_vcpu *v)
{
    return v->again ? single_step(v) : stop_fault(v);
}

/* Acts on exit_id; *from is the exit to link if it is a direct one. */
static int after_code(struct jit_vcpu *v, uint32_t *from)
{
    struct jit *j = v->jit;
    if (v->exit_id == JIT_EXIT_FAULT)
        return after_fault(v);
    if (v->exit_id == JIT_EXIT_MISS) {
        *jit_pc_of(v) = jit_exit_pc(v);
        j->stats.exits_miss++;
        if (v->poll)
            return GO_ON;
        /* What a direct exit led to first has code, and was not met. */
        if (j->p->first_left && !met(j->p, v->exit_arg) && !jit_find(j->p, v->exit_arg))
            return GO_ON;
        struct jit_region *r = acquire(v, v->exit_arg, JIT_NO_EXIT, JIT_CAME_LOOKUP, NULL);
        if (!r)
            return stop_trap(v, IR_TRAP_FETCH, v->stop.info);
        fill_lookup(v, r);
        return GO_ON;
    }
    if (v->exit_id & JIT_EXIT_DEOPT)
        return after_deopt(v);
    const struct jit_exit *e = jit_table_at(&j->p->exits, v->exit_id, sizeof *e);
    *jit_pc_of(v) = jit_exit_pc(v);
    if (e->kind == JIT_EXIT_TRAPPED)
        return stop_trap(v, e->trap, e->info);
    j->stats.exits_direct++;
    if (base_unlikely(e->counter && (int32_t)v->hot[e->counter - 1] < 0))
        return after_hot_exit(v, e); /* and what e says may be gone */
    *from = v->exit_id;
    return GO_ON;
}

/* ---- the loop -------------------------------------------------------- */

static int poll_wanted(struct jit_vcpu *v)
{
    jit_code_end(v);
    if ((int32_t)v->ticks <= 0)
        v->ticks = jit_t2_period(v);
    if (v->poll & 1) {
        __atomic_fetch_and(&v->poll, ~1u, __ATOMIC_SEQ_CST);
        v->jit->stats.exits_poll++;
        return JIT_STOP_POLL;
    }
    wait_for_flush(v->jit);
    __atomic_fetch_and(&v->poll, ~2u, __ATOMIC_SEQ_CST);
    return GO_ON;
}

/* In lockstep one vCPU runs at a time. Waiting with in_code set must not keep a
 * flush from happening: false, and the loop lets it. */
static bool lockstep_enter(struct jit_vcpu *v)
{
    while (pthread_mutex_trylock(&v->jit->p->lockstep) != 0) {
        if (v->poll)
            return false;
        sched_yield();
    }
    return true;
}

/* One region without code, or in lockstep. */
static int run_apart(struct jit_vcpu *v, const struct jit_region *r, uint32_t *from)
{
    if (!r->code) {
        struct ir_end end = {0};
        jit_interpret(v, r->ir, NULL, &end);
        return after_interp(v, &end);
    }
    if (!lockstep_enter(v))
        return GO_ON;
    if (r->once)
        jit_enter(v, r);
    else
        jit_lockstep(v, r);
    pthread_mutex_unlock(&v->jit->p->lockstep);
    return after_code(v, from);
}

void jit_enter(struct jit_vcpu *v, const struct jit_region *r)
{
    v->jit->host->enter(v, r->code);
}

/* Acts on a system call that an exit of code stands for. */
static bool called_as(struct jit_vcpu *v, unsigned trap, uint32_t info)
{
    struct jit *j = v->jit;
    jit_code_end(v);
    j->stats.exits_trap[trap]++;
    v->stop.trap = trap;
    v->stop.info = info;
    j->host->fp_store(v, jit_env_of(v));
    bool on = j->cfg.syscall(v);
    j->host->fp_load(v, jit_env_of(v));
    return on;
}

/* The caller's system call without returning to it; false: it wants to. */
static bool called(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    if (!j->cfg.syscall || v->stop.trap != IR_TRAP_SYSCALL)
        return false;
    if (j->p->compiles)
        j->host->fp_store(v, jit_env_of(v));
    bool on = j->cfg.syscall(v);
    if (j->p->compiles)
        j->host->fp_load(v, jit_env_of(v));
    return on;
}

/* Goes on from the pc in the state, or from the exit number from, until there is
 * code to run (in_code is set then) or a reason to stop (v->stopped). */
static const void *next_code(struct jit_vcpu *v, int stop, uint32_t from)
{
    const struct jit *j = v->jit;
    enum jit_came came = JIT_CAME_LOOKUP;
    for (;;) {
        if (stop == JIT_STOP_TRAP && called(v))
            stop = GO_ON;
        if (base_unlikely(stop == GO_ON && v->poll)) {
            stop = poll_wanted(v);
            from = JIT_NO_EXIT; /* a flush may have been */
        }
        if (stop != GO_ON) {
            v->stopped = stop;
            return NULL;
        }
        struct ir_func *first = NULL;
        struct jit_region *r =
            acquire(v, jit_key(*jit_pc_of(v), jit_mode_of(v)), from, came, &first);
        from = JIT_NO_EXIT;
        came = JIT_CAME_LOOKUP;
        if (first) {
            stop = first_run(v, first, &came);
            continue;
        }
        if (base_likely(r && r->code && !j->cfg.lockstep))
            return r->code;
        stop = r ? run_apart(v, r, &from) : stop_trap(v, IR_TRAP_FETCH, v->stop.info);
    }
}

/* The code behind a system call, found where indirect jumps look. */
static const void *behind_call(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    uint64_t key = jit_key(*jit_pc_of(v), jit_mode_of(v));
    const struct jit_lookup *l = jit_lookup_of(v, key);
    if (base_unlikely(v->poll))
        return next_code(v, GO_ON, JIT_NO_EXIT);
    jit_code_begin(v);
    if (base_likely(l->key == key))
        return l->code;
    const struct jit_region *r = jit_find(j->p, key);
    if (!r || !r->code)
        return next_code(v, GO_ON, JIT_NO_EXIT);
    fill_lookup(v, r);
    return r->code;
}

/* A system call by the shortest way: what after_code and next_code would do. */
static const void *next_call(struct jit_vcpu *v, uint32_t info)
{
    if (!called_as(v, IR_TRAP_SYSCALL, info)) {
        v->stopped = JIT_STOP_TRAP;
        return NULL;
    }
    return behind_call(v);
}

/* A system call that stub CALL has made, and the vCPU was asked to stop. */
static const void *next_called(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    jit_code_end(v);
    j->host->fp_store(v, jit_env_of(v));
    j->cfg.calls->done(v, (long)v->exit_arg);
    j->host->fp_load(v, jit_env_of(v));
    return behind_call(v);
}

const void *jit_next(struct jit_vcpu *v)
{
    if (v->exit_id == JIT_EXIT_CALL)
        return next_call(v, 0);
    if (v->exit_id == JIT_EXIT_CALLED)
        return next_called(v);
    if (base_likely(v->exit_id < JIT_EXIT_CALLED) && v->jit->p->short_calls) {
        const struct jit_exit *e = jit_table_at(&v->jit->p->exits, v->exit_id, sizeof *e);
        if (e->kind == JIT_EXIT_TRAPPED && e->trap == IR_TRAP_SYSCALL) {
            *jit_pc_of(v) = jit_exit_pc(v);
            return next_call(v, e->info);
        }
    }
    uint32_t from = JIT_NO_EXIT;
    int stop = after_code(v, &from);
    return next_code(v, stop, from);
}

enum jit_stop jit_run(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    jit_current = v;
    if (j->p->compiles)
        j->host->fp_load(v, jit_env_of(v));
    v->chained = !j->cfg.lockstep;
    for (int stop = GO_ON;;) {
        const void *code = next_code(v, stop, JIT_NO_EXIT);

        if (!code)
            break;
        j->host->enter(v, code);
        if (v->exit_id != JIT_EXIT_FAULT)
            break;
        stop = after_fault(v); /* abandoned: nobody asked jit_next */
    }
    if (j->p->compiles)
        j->host->fp_store(v, jit_env_of(v));
    return (enum jit_stop)v->stopped;
}
