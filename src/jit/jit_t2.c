/* jit_t2.c: tier 2: what is hot, and what becomes of it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tier 1 counts all its backward branches together (jit_vcpu.ticks), and every so many
 * one is looked at. Where they went often is hot: the vCPU forms the region that begins
 * there at once, for it can deal with faults of guest memory, and knows the mode. What
 * a hot loop calls is tried after it. The rest needs no guest memory and is done by a
 * thread (or, in test modes and where there is none, here):
 *
 *   vCPU    form --> job
 *   thread           optimise, generate code
 *   thread           (lock) dead? no: install, link, forget the old region
 *
 * While a job is on its way it is treated like a region when guest code changes:
 * the job remembers its bytes' hash, and what has changed is not installed.
 *
 * The old region is unlinked and gone from lookups, its exits in other regions lead
 * to the new one; vCPUs in it leave by their next exit or poll.
 */
#include "jit/jit_t2.h"

/* ---- keys ------------------------------------------------------------ */

static void keys_grow(struct jit_t2 *t);

static struct jit_t2_key *key_slot(struct jit_t2 *t, uint64_t key)
{
    uint32_t i = (uint32_t)base_hash64(key) & t->key_mask;
    while (t->keys[i].key && t->keys[i].key != key)
        i = (i + 1) & t->key_mask;
    return &t->keys[i];
}

/* What is known about a key, which is never 0 here: nothing can be executed there. */
static struct jit_t2_key *key_of(struct jit_t2 *t, uint64_t key)
{
    struct jit_t2_key *k = key_slot(t, key);
    if (k->key)
        return k;
    if (++t->nkeys * 2 > t->key_mask) {
        keys_grow(t);
        k = key_slot(t, key);
    }
    k->key = key;
    return k;
}

static void keys_grow(struct jit_t2 *t)
{
    struct jit_t2_key *old = t->keys;
    uint32_t n = t->key_mask + 1;
    t->key_mask = 2 * n - 1;
    t->keys = base_zalloc(2 * (size_t)n * sizeof *t->keys);
    for (uint32_t i = 0; i < n; i++)
        if (old[i].key)
            *key_slot(t, old[i].key) = old[i];
    free(old);
}

/* ---- compiling ------------------------------------------------------- */

static void give_up(struct jit *j, const char *why)
{
    jit_gave_up(j, 2, why ? why : "no reason given");
}

/* The copy that a job has becomes a function again. */
static void unpack(struct ir_func *f, const struct ir_func *from)
{
    ir_func_reset(f);
    memcpy(f->ins + from->nk, from->ins + from->nk, (from->nins - from->nk) * sizeof *f->ins);
    f->nk = from->nk;
    f->nins = from->nins;
    f->mode = from->mode;
    f->key = from->key;
    f->nguest = from->nguest;
    memcpy(f->put_mask, from->put_mask, sizeof f->put_mask);
}

static bool checked(const struct jit *j)
{
#ifdef BASE_CHECKS
    return true;
#endif
    return j->cfg.lockstep || j->cfg.deopt_always || j->cfg.random_ra ||
           j->cfg.tier2 == JIT_TIER2_ALWAYS;
}

/* A mistake of the optimiser's that no test has found yet costs a region, not the program. */
static bool valid(const struct ir_func *f)
{
    struct base_text error = {0};
    bool ok = opt_verify(f, &error);
    base_text_free(&error);
    return ok;
}

bool jit_t2_compile(struct jit *j, struct jit_t2_job *job)
{
    struct jit_t2 *t = j->p->t2;
    struct jit_code *c = &t->code;
    struct opt_config cfg = {.verify = checked(j), .sample = job->sampled ? job->sample : NULL};
    uint64_t start = base_thread_cpu_ns();
    if (!t->opt)
        t->opt = opt_new(j->cfg.guest);
    if (!t->work)
        t->work = ir_func_new(j->cfg.guest);
    unpack(t->work, job->ir);
    jit_t2_fuel_config(j, job, &cfg);
    c->relocs.len = c->exits.len = c->points.len = c->map_bytes.len = c->map_start.len = 0;
    c->marks.len = 0;
    c->gave_up = opt_run(t->opt, t->work, &cfg, &t->out);
    if (!c->gave_up && !cfg.verify && !valid(t->out))
        c->gave_up = "tier 2: a pass made a mistake";
    uint64_t formed = base_thread_cpu_ns();
    j->stats.t2_opt_ns += formed - start;
    c->most_spills = job->formed.doubtful ? JIT_PARAM_t2_spills : 0;
    bool good = !c->gave_up && j->host->compile2(j, &t->scratch, t->out, c) == 0;
    j->stats.t2_code_ns += base_thread_cpu_ns() - formed;
    j->stats.t2_timed += job->ir->nguest;
    return good;
}

/* ---- installing ------------------------------------------------------ */

static void dump(struct jit *j, const struct jit_t2_job *job, const struct jit_region *r)
{
    char letters[8];
    size_t n = 0;
    if (strchr(j->cfg.dump, 'i') && !j->p->t2->fuel.set) {
        struct base_text text = {0};
        ir_print(job->ir, &text);
        fprintf(j->cfg.dump_file, "; tier 2 region %#llx as formed:\n%s",
                (unsigned long long)job->key, text.data);
        base_text_free(&text);
    }
    for (const char *p = j->cfg.dump; *p && n + 1 < sizeof letters; p++)
        if (*p != 'i')
            letters[n++] = *p;
    letters[n] = 0;
    jit_dump_region(j, j->cfg.dump_file, letters, j->p->t2->out, r, &j->p->t2->code);
}

static bool install(struct jit *j, struct jit_t2_job *job)
{
    struct jit_t2 *t = j->p->t2;
    struct jit_region *old = jit_find(j->p, job->key);
    struct jit_region *r = jit_install(j, job->key, &t->code, &job->formed);
    if (!r)
        return false;
    r->tier = 2;
    r->nguest = (uint16_t)job->ir->nguest;
    if (j->cfg.lockstep) {
        r->ir = jit_ir_copy(t->out);
        base_vec_push(&j->p->irs, r->ir);
        r->once = jit_ir_once(t->out, j->cfg.guest);
    }
    jit_take_place(j, r, old);
    jit_cut(j, r);
    j->stats.t2_regions++;
    j->stats.t2_insns += r->nguest;
    j->stats.t2_bytes += r->hot_len;
    if (j->cfg.dump && (!t->fuel.set || jit_t2_is_last(t, job)))
        dump(j, job, r);
    return true;
}

void jit_t2_finish(struct jit *j, struct jit_t2_job *job, bool good)
{
    struct jit_t2 *t = j->p->t2;
    struct jit_t2_key *k = key_of(t, job->key);
    k->pending = false;
    if (!good) {
        give_up(j, t->code.gave_up);
        if (job->formed.doubtful)
            k->tries = JIT_PARAM_t2_tries;
    } else if (job->dead) {
        give_up(j, "its code has changed");
    } else if (!install(j, job)) {
        give_up(j, "no room in the code cache");
    }
    free(job->ir);
    free(job);
}

/* ---- what is hot ----------------------------------------------------- */

/* Forms the region into t->func; faults of guest memory are an answer, too. */
static const char *form_guarded(struct jit_vcpu *v, uint64_t pc, unsigned mode)
{
    struct jit_t2 *t = v->jit->p->t2;
    struct jit_thread *self = jit_thread_of(v);
    const char *why;
    if (sigsetjmp(self->landing, 0)) {
        self->forming = 0;
        return "code cannot be read";
    }
    self->forming = 1;
    why = jit_t2_form(v->jit, &t->graph, t->func, &t->formed, pc, mode);
    self->forming = 0;
    return why;
}

static void verify(const struct ir_func *f)
{
    struct base_text error = {0}, text = {0};
    if (ir_verify(f, &error))
        return;
    ir_print(f, &text);
    base_bug(__FILE__, __LINE__, "formed region is not valid IR: %s\n%s", error.data, text.data);
}

/* Makes a region for k, if not 0 only if target is inside; returns why not. */
static const char *request(struct jit_vcpu *v, struct jit_t2_key *k, uint64_t target)
{
    struct jit *j = v->jit;
    struct jit_t2 *t = j->p->t2;
    uint64_t start = base_thread_cpu_ns();
    const char *why = form_guarded(v, jit_pc_of_key(k->key), jit_mode_of_key(k->key));
    uint64_t ns = base_thread_cpu_ns() - start;
    j->stats.t2_form_ns += ns;
    if (why && jit_t2_not_yet(why)) {
        k->watched++;
        t->watch = true;
        return why;
    }
    t->useless_ns += why ? ns : 0;
    if (!why && target && !jit_t2_inside(&t->graph, target)) {
        k->stays++; /* no try, but not for ever: a region has many exits */
        return "exit that would stay one";
    }
    k->tries++;
    if (why)
        return why;
    if (checked(j))
        verify(t->func);
    struct jit_t2_job *job = base_zalloc(sizeof *job);
    job->key = k->key;
    job->number = ++t->njobs_made;
    job->ir = jit_ir_copy(t->func);
    job->formed = t->formed;
    job->sampled = !target;
    for (unsigned s = 0; s < j->cfg.guest->nslots; s++)
        job->sample[s] = jit_slot_read(&j->cfg.guest->slots[s], v->state);
    k->pending = true;
    if (j->cfg.tier2 != JIT_TIER2_ON || !jit_t2_submit(j, job))
        jit_t2_finish(j, job, jit_t2_compile(j, job));
    return NULL;
}

/* How long until it is asked for again: an exit costs as much as some hundred rounds. */
enum { SOON = JIT_HOT_MOST, NEVER = 0x7fffffff };

/* What became no region counts several times over. Of few samples it is not known what part of
 * the whole they are. */
enum { T2_DEAR = 4, T2_FEW = 16, T2_CALLEES = 4 /* tried at a sample */ };

/* Weights of samples: one more for so many bytes, up to where; and how many times the share of what
 * is hot there is for what is still hotter. */
enum { T2_LINE = 64, T2_FAR = 4096, T2_MOST = 4 };

/* With --tier2=sync there are so many times more samples, and what is seen is as much as
 * counted: it hardly depends on chance what is found. */
enum { T2_OFTEN = 20 };

/* Has tier 2 taken its share? A program with very many places that are just hot would
 * pay more for regions than they give back. What is a good part of all that is seen (hot: how
 * good a part, see hotness) will earn more than it costs, however short the program has run. */
static bool spent(const struct jit *j, unsigned hot)
{
    const struct jit_stats *s = &j->stats;
    uint64_t ns = s->t2_form_ns + s->t2_opt_ns + s->t2_code_ns + T2_DEAR * j->p->t2->useless_ns;
    uint64_t first = (hot ? JIT_PARAM_t2_first_us_hot : JIT_PARAM_t2_first_us) * 1000ull;
    unsigned share = hot ? JIT_PARAM_t2_share_hot * hot : JIT_PARAM_t2_share;
    if (j->p->t2->fuel.set || j->p->t2->unlimited)
        return false; /* the same each time */
    if (j->cfg.tier2 == JIT_TIER2_ALWAYS || ns < first)
        return false;
    return ns - first > base_process_cpu_ns() / 100 * share;
}

/* Branches are counted, but it is time that counts: a branch that goes back by a thousand
 * instructions stands for more of it than one that goes back by four. */
static uint32_t weight_of(uint64_t from, uint64_t to, bool call)
{
    uint64_t back = call ? 0 : from - to;
    return 1 + (uint32_t)(back < T2_FAR ? back : T2_FAR) / T2_LINE;
}

/* How good a part of all samples is of k's key: 0, not t2_part; at most T2_MOST times that. */
static unsigned hotness(const struct jit_t2 *t, const struct jit_t2_key *k)
{
    uint64_t all = t->samples < T2_FEW ? t->weight * T2_FEW / (t->samples + 1) : t->weight;
    uint64_t part = k->weight * (uint64_t)JIT_PARAM_t2_part / (all + 1);
    return part < T2_MOST ? (unsigned)part : T2_MOST;
}

/* Is it to be looked at whether k's key becomes a region? */
static bool seen_enough(const struct jit_t2 *t, struct jit_t2_key *k, bool call)
{
    k->seen++;
    return k->seen >= (call ? JIT_PARAM_t2_called : JIT_PARAM_t2_seen) *
                          (t->unlimited ? (unsigned)T2_OFTEN : 1);
}

static void note(struct jit_t2 *t, uint64_t pc)
{
    if (t->ncallees < BASE_ARRAY_SIZE(t->callee))
        t->callee[t->ncallees++] = jit_key(pc, t->graph.mode);
}

/* What is called on each round of a hot loop (the graph's, just made) is hot, and so is what
 * follows the call: no branch that goes back need show it. */
static void note_callees(struct jit_t2 *t)
{
    const struct t2_graph *g = &t->graph;
    for (unsigned k = 0; k < g->norder; k++) {
        const struct t2_insn *i = &g->insn[g->block[g->order[k]].last];
        if (i->kind != IR_FLOW_CALL || i->callee)
            continue;
        note(t, i->pc + i->len);
        if (i->direct)
            note(t, i->target);
    }
}

/* One of those that were noted becomes a region. */
static void try_callee(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    struct jit_t2 *t = j->p->t2;
    if (!t->ncallees || t->njobs >= JIT_PARAM_t2_queue || jit_t2_dry(t) || spent(j, 1))
        return;
    struct jit_t2_key *k = key_of(t, t->callee[--t->ncallees]);
    const struct jit_region *r = jit_find(j->p, k->key);
    if (!r || r->tier == 2 || k->pending || k->tries)
        return;
    const char *why = request(v, k, 0);
    note_callees(t);
    if (!why)
        return;
    give_up(j, why);
    k->tries = JIT_PARAM_t2_tries;
}

/* Is the vCPU to be followed from k's key, if it is not known where code there jumps to? */
static bool may_watch(const struct jit *j, const struct jit_t2_key *k)
{
    const struct jit_t2 *t = j->p->t2;
    return k->watched < JIT_PARAM_t2_watches &&
           (hotness(t, k) || t->unlimited || j->cfg.tier2 == JIT_TIER2_ALWAYS);
}

/* False: nothing more is to be learnt there. */
static bool sample(struct jit_vcpu *v, uint64_t key, uint32_t weight, bool call)
{
    struct jit *j = v->jit;
    struct jit_t2 *t = j->p->t2;
    const struct jit_region *r = jit_find(j->p, key);
    struct jit_t2_key *k = key_of(t, key);
    if (r && r->tier == 2)
        return false; /* tier 1 leads there */
    k->weight += weight;
    if (j->cfg.tier2 != JIT_TIER2_ALWAYS && !seen_enough(t, k, call))
        return true;
    if (k->pending || t->njobs >= JIT_PARAM_t2_queue || spent(j, hotness(t, k)) ||
        (k->waits && !may_watch(j, k)))
        return true;
    if (k->tries >= JIT_PARAM_t2_tries || jit_t2_dry(t))
        return false;
    t->graph.watch = may_watch(j, k);
    const char *why = request(v, k, 0);
    t->graph.watch = k->waits = false;
    if (why && jit_t2_not_yet(why))
        return true;
    note_callees(t);
    if (why)
        give_up(j, why);
    k->waits = why && jit_t2_for_good(why) && t->graph.unknown && k->watched < JIT_PARAM_t2_watches;
    if (why && jit_t2_for_good(why) && !k->waits) {
        k->tries = JIT_PARAM_t2_tries;
        return false;
    }
    return true;
}

/* Nothing more is to be learnt from the branch at pc. */
static void be_quiet(struct jit *j, uint64_t pc, uint64_t region)
{
    uint64_t h = base_hash64(pc) % JIT_QUIET;
    struct jit_region *r = jit_find(j->p, region);
    j->quiet[h / 64] |= 1ull << h % 64;
    if (r && r->tier == 1)
        jit_replace(j, r);
}

/* A sample costs some microseconds, all that it needs being out of the caches: there are ever
 * fewer of them. And not always the same, or of two branches that take turns one would never
 * be seen. */
uint32_t jit_t2_period(struct jit_vcpu *v)
{
    struct jit_thread *self = jit_thread_of(v);
    if (v->jit->cfg.tier2 == JIT_TIER2_ALWAYS || !v->jit->p->t2)
        return 0;
    uint32_t mean = JIT_PARAM_t2_hot + self->sampled * (JIT_PARAM_t2_hot / JIT_PARAM_t2_early);
    if (mean > JIT_PARAM_t2_rarely)
        mean = JIT_PARAM_t2_rarely;
    if (v->jit->p->t2->unlimited)
        mean = JIT_PARAM_t2_hot / T2_OFTEN;
    return mean / 2 + (uint32_t)(base_rand(&self->periods) % mean);
}

bool jit_t2_sample(struct jit_vcpu *v, uint64_t pc, uint64_t from, uint64_t region, bool call)
{
    struct jit *j = v->jit;
    bool watch;
    pthread_mutex_lock(&j->p->lock);
    uint32_t weight = weight_of(from, pc, call);
    j->p->t2->samples++;
    j->p->t2->weight += weight;
    jit_thread_of(v)->sampled += jit_thread_of(v)->sampled < JIT_PARAM_t2_rarely;
    for (unsigned n = 0; n < T2_CALLEES; n++)
        try_callee(v);
    if (!sample(v, jit_key(pc, jit_mode_of(v)), weight, call))
        be_quiet(j, from, region);
    watch = j->p->t2->watch;
    j->p->t2->watch = false;
    pthread_mutex_unlock(&j->p->lock);
    return watch;
}

void jit_t2_watched(struct jit_vcpu *v, const struct jit_went *went, unsigned n, uint64_t ns)
{
    struct jit *j = v->jit;
    pthread_mutex_lock(&j->p->lock);
    for (unsigned i = 0; i < n; i++)
        jit_t2_went(j->p->t2, went[i].key, went[i].pc);
    j->stats.t2_form_ns += ns;
    pthread_mutex_unlock(&j->p->lock);
}

/* May a region be made in the place of r, k's, now? */
static bool may_renew(const struct jit *j, const struct jit_t2_key *k, const struct jit_region *r)
{
    return r && r->tier == 2 && k->stays < JIT_PARAM_t2_tries && k->tries < JIT_PARAM_t2_tries &&
           !jit_t2_dry(j->p->t2);
}

static bool too_busy(const struct jit *j, const struct jit_t2_key *k)
{
    return k->pending || j->p->t2->njobs >= JIT_PARAM_t2_queue || spent(j, hotness(j->p->t2, k));
}

bool jit_t2_missed(struct jit_vcpu *v, uint64_t key, uint64_t target)
{
    struct jit *j = v->jit;
    pthread_mutex_lock(&j->p->lock);
    const struct jit_t2_key *k = key_of(j->p->t2, key);
    bool missed = may_renew(j, k, jit_find(j->p, key)) && !too_busy(j, k) &&
                  jit_t2_fade(j->p->t2, target);
    pthread_mutex_unlock(&j->p->lock);
    return missed;
}

uint32_t jit_t2_exit_hot(struct jit_vcpu *v, uint64_t key, uint64_t target)
{
    struct jit *j = v->jit;
    pthread_mutex_lock(&j->p->lock);
    struct jit_t2_key *k = key_of(j->p->t2, key);
    struct jit_region *r = jit_find(j->p, key);
    const char *why = NULL;
    uint32_t n = NEVER;
    if (too_busy(j, k))
        n = SOON;
    else if (may_renew(j, k, r))
        why = request(v, k, jit_pc_of_key(target));
    if (why)
        jit_gave_up(j, 2, why);
    if (why && jit_t2_fade(j->p->t2, target)) /* guards that always miss are worse than none */
        jit_replace(j, r);
    pthread_mutex_unlock(&j->p->lock);
    return n;
}

/* ---- what happens meanwhile ------------------------------------------ */

static void forget_job(struct jit *j, struct jit_t2_job *job, uint64_t start, uint64_t len,
                       bool changed_only)
{
    const struct jit_formed *d = &job->formed;
    uint64_t h;
    for (unsigned i = 0; i < d->nranges; i++) {
        if (d->range[i].start - start >= len && start - d->range[i].start >= d->range[i].len)
            continue;
        if (!changed_only || (d->writable && !(jit_hash_ranges(j, d->range, d->nranges, &h) &&
                                               h == d->hash)))
            job->dead = true;
        return;
    }
}

void jit_t2_forget(struct jit *j, uint64_t start, uint64_t len, bool changed_only)
{
    struct jit_t2 *t = j->p->t2;
    if (!t)
        return;
    for (struct jit_t2_job *job = t->first; job; job = job->next)
        forget_job(j, job, start, len, changed_only);
    if (t->now)
        forget_job(j, t->now, start, len, changed_only);
}

void jit_t2_flushed(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    if (!t)
        return;
    memset(t->keys, 0, ((size_t)t->key_mask + 1) * sizeof *t->keys);
    t->nkeys = t->ncallees = 0;
    t->samples = t->weight = 0;
    memset(j->quiet, 0, sizeof j->quiet);
}

/* ---- beginning and end ----------------------------------------------- */

bool jit_t2_init(struct jit *j)
{
    struct jit_config *cfg = &j->cfg;
    struct jit_t2_fuel fuel;
    bool sync = cfg->tier2 == JIT_TIER2_SYNC;
    if (!jit_t2_fuel_read(&fuel, cfg->t2_fuel))
        return false;
    if (!j->p->compiles || !j->host->compile2)
        cfg->tier2 = JIT_TIER2_OFF;
    if (cfg->tier2 == JIT_TIER2_OFF)
        return true;
    if (cfg->tier2 == JIT_TIER2_ON &&
        (cfg->lockstep || cfg->deopt_always || cfg->random_ra || fuel.set))
        cfg->tier2 = JIT_TIER2_SYNC; /* the same from the same seed */
    struct jit_t2 *t = j->p->t2 = base_zalloc(sizeof *t);
    t->func = ir_func_new(cfg->guest);
    t->graph.scratch = ir_func_new(cfg->guest);
    t->key_mask = 255;
    t->keys = base_zalloc((t->key_mask + 1) * sizeof *t->keys);
    t->last = &t->first;
    t->fuel = fuel;
    t->unlimited = sync;
    t->code.want_marks = j->p->code.want_marks;
    jit_t2_thread_init(t);
    return true;
}

void jit_t2_vcpu_init(struct jit_vcpu *v)
{
    enum jit_tier2 how = v->jit->cfg.tier2;
    if (how == JIT_TIER2_OFF)
        return;
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(v->hot); i++)
        v->hot[i] = how == JIT_TIER2_ALWAYS ? 0 : JIT_PARAM_t2_hot;
    v->ticks = jit_t2_period(v);
}

void jit_t2_free(struct jit *j)
{
    struct jit_t2 *t = j->p->t2;
    if (!t)
        return;
    jit_t2_thread_end(j);
    for (struct jit_t2_job *job = t->first, *next; job; job = next) {
        next = job->next;
        free(job->ir);
        free(job);
    }
    ir_func_free(t->func);
    ir_func_free(t->graph.scratch);
    ir_func_free(t->work);
    opt_free(t->opt);
    free(t->scratch);
    base_vec_free(&t->code.relocs);
    base_vec_free(&t->code.exits);
    base_vec_free(&t->code.points);
    base_vec_free(&t->code.map_bytes);
    base_vec_free(&t->code.map_start);
    base_vec_free(&t->code.marks);
    free(t->keys);
    free(t);
    j->p->t2 = NULL;
}
