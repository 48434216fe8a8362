/* jit_vm.c: a virtual machine and its vCPUs: making and freeing them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "jit/jit_store.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Absent in a build without a code generator for this machine. */
#pragma weak jit_host_native

enum { GUARD = 4096 };

static const struct jit_host *native_host(void)
{
    return &jit_host_native ? jit_host_native : NULL;
}

/* ---- the VM ---------------------------------------------------------- */

static int init_host(struct jit *j)
{
    struct jit_priv *p = j->p;
    struct jit_cache *c = &p->cache;
    if (j->host->init(j, j->cfg.features) != 0)
        return -1;
    if (!p->compiles)
        return 0;
    if (jit_cache_init(j) != 0)
        return -1;
    size_t n = j->host->make_stubs(j, c->rw, c->rx, c->size);
    c->hot_start = c->hot = BASE_ALIGN_UP(n, (size_t)64);
    p->shadow_bottom = (uint64_t)(uintptr_t)j->stub[JIT_STUB_RETMISS];
    return 0;
}

/* Does the kernel put barriers into other threads (jit_order_others)? */
static bool can_order(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void jit_order_others(const struct jit *j)
{
    if (j->p->fences)
        return;
    BASE_ASSERT(can_order()); /* for this process, too, if that was made by a fork */
    long failed = syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    BASE_ASSERT(!failed);
}

void jit_first_again(struct jit *j)
{
    const struct jit_config *c = &j->cfg;
    memset(j->p->met, 0, sizeof j->p->met);
    /* not if code is what is looked at */
    if (j->p->compiles && !c->lockstep && !c->deopt_always && !c->random_ra && !c->no_link &&
        c->tier2 != JIT_TIER2_ALWAYS && !c->dump && !c->translated)
        j->p->first_left = JIT_PARAM_first;
}

struct jit *jit_new(const struct jit_config *cfg)
{
    struct jit *j = base_zalloc(sizeof *j);
    j->p = base_zalloc(sizeof *j->p);
    j->cfg = *cfg;
    j->host = native_host();
    j->rand = cfg->seed;
    if (!j->cfg.dump_file)
        j->cfg.dump_file = stderr;
    BASE_ASSERT(cfg->guest->state_size <= JIT_STATE_MAX);
    memset(j->pin_gpr, -1, sizeof j->pin_gpr);
    memset(j->pin_fpr, -1, sizeof j->pin_fpr);
    pthread_mutex_init(&j->p->lock, NULL);
    pthread_mutex_init(&j->p->lockstep, NULL);
    j->p->compiles = j->host && !cfg->interpreter;
    j->p->short_calls = j->p->compiles && cfg->syscall && !cfg->lockstep;
    j->p->fences = !can_order();
    if (!j->p->short_calls || j->p->fences)
        j->cfg.calls = NULL;
    jit_first_again(j);
    j->p->func = ir_func_new(cfg->guest);
    j->p->code.want_marks = cfg->dump && strchr(cfg->dump, 'h');
    jit_regions_init(j);
    if (j->host && init_host(j) != 0) {
        jit_free(j);
        return NULL;
    }
    jit_store_init(j);
    if (!jit_t2_init(j)) {
        jit_free(j);
        return NULL;
    }
    return j;
}

void jit_free(struct jit *j)
{
    struct jit_priv *p = j->p;
    jit_t2_free(j);
    while (p->vcpus)
        jit_vcpu_free(p->vcpus);
    jit_store_free(j);
    jit_regions_free(j);
    jit_cache_free(j);
    ir_func_free(p->func);
    if (p->first_func)
        ir_func_free(p->first_func);
    base_vec_free(&p->code.relocs);
    base_vec_free(&p->code.exits);
    base_vec_free(&p->code.points);
    base_vec_free(&p->code.map_bytes);
    base_vec_free(&p->code.map_start);
    base_vec_free(&p->code.marks);
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(p->gave_up); i++) {
        base_vec_free(&p->gave_up[i].why);
        base_vec_free(&p->gave_up[i].count);
    }
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->lockstep);
    free(j->host_scratch);
    free(p);
    free(j);
}

/* ---- vCPUs ----------------------------------------------------------- */

/* The shadow stack and its guard page. Its top word stays: the address that a
 * return without a call goes to. */
static bool make_shadow(struct jit_vcpu *v)
{
    char *m = mmap(NULL, GUARD + JIT_SHADOW_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED)
        return false;
    mprotect(m, GUARD, PROT_NONE);
    v->shadow_base = m + GUARD;
    v->shadow_top = (uint64_t)(uintptr_t)m + GUARD + JIT_SHADOW_SIZE - 64;
    *(uint64_t *)(uintptr_t)v->shadow_top = v->jit->p->shadow_bottom;
    v->shadow_sp = v->shadow_top;
    return true;
}

struct jit_vcpu *jit_vcpu_new(struct jit *j)
{
    /* Mapped, not allocated: most of the lookup table is never touched. */
    struct jit_thread *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (t == MAP_FAILED) {
        base_error("no memory for a vCPU: %s", strerror(errno));
        return NULL;
    }
    struct jit_vcpu *v = &t->v;
    v->jit = j;
    v->lookup[0].key = v->victim[0].key = 1;
    if (j->p->compiles && !make_shadow(v)) {
        base_error("no memory for a shadow stack: %s", strerror(errno));
        munmap(t, sizeof *t);
        return NULL;
    }
    if (j->host && j->host->vcpu_init)
        j->host->vcpu_init(v);
    t->seed = j->cfg.seed;
    if (j->cfg.deopt_always)
        v->deopt_count = 1 + (uint32_t)(base_rand(&t->seed) % JIT_PARAM_deopt_every);
    jit_t2_vcpu_init(v);
    pthread_mutex_lock(&j->p->lock);
    v->flush_seen = j->p->flush_count;
    v->next = j->p->vcpus;
    j->p->vcpus = v;
    pthread_mutex_unlock(&j->p->lock);
    return v;
}

void jit_vcpu_free(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    if (j) {
        pthread_mutex_lock(&j->p->lock);
        struct jit_vcpu **at = &j->p->vcpus;
        while (*at != v)
            at = &(*at)->next;
        *at = v->next;
        j->stats.exits_trap[IR_TRAP_SYSCALL] += v->calls;
        pthread_mutex_unlock(&j->p->lock);
    }
    struct jit_thread *t = jit_thread_of(v);
    if (v->shadow_base)
        munmap((char *)v->shadow_base - GUARD, GUARD + JIT_SHADOW_SIZE);
    if (t->single)
        ir_func_free(t->single);
    jit_lockstep_free(t);
    if (jit_current == v)
        jit_current = NULL;
    munmap(t, sizeof *t);
}
