/* jit_step.c: one guest instruction at a time, for debuggers.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The instruction at the pc is formed anew each time and interpreted: no region
 * is looked up or made, so nothing that a debugger hides from or shows to
 * jit_config.fetch while it steps is remembered.
 */
#include "jit/jit_priv.h"

/* Forms the instruction at the pc into t->single; false: nothing to fetch. */
static bool form_one(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    struct jit_thread *t = jit_thread_of(v);
    volatile bool ok = false;

    if (!t->single)
        t->single = ir_func_new(j->cfg.guest);
    pthread_mutex_lock(&j->p->lock);
    v->stop.info = 0;
    if (!sigsetjmp(t->landing, j->host == NULL)) {
        t->forming = 1;
        ok = jit_form_into(j, t->single, *jit_pc_of(v), jit_mode_of(v), 1, 1);
        if (!ok)
            v->stop.info = j->p->formed.fetch_info;
    }
    t->forming = 0;
    pthread_mutex_unlock(&j->p->lock);
    return ok;
}

static enum jit_stop trapped(struct jit_vcpu *v, unsigned trap)
{
    v->jit->stats.exits_trap[trap]++;
    v->stop.trap = trap;
    return JIT_STOP_TRAP;
}

/* The poll flag is set: true if that is for the caller. */
static bool polled(struct jit_vcpu *v)
{
    if (v->poll & 1) {
        __atomic_fetch_and(&v->poll, ~1u, __ATOMIC_SEQ_CST);
        return true;
    }
    pthread_mutex_lock(&v->jit->p->lock); /* a flush waits for us */
    pthread_mutex_unlock(&v->jit->p->lock);
    __atomic_fetch_and(&v->poll, ~2u, __ATOMIC_SEQ_CST);
    return false;
}

static enum jit_stop step(struct jit_vcpu *v)
{
    for (;;) {
        struct ir_end end = {0};

        if (v->poll && polled(v))
            return JIT_STOP_POLL;
        if (!form_one(v))
            return trapped(v, IR_TRAP_FETCH);
        jit_interpret(v, jit_thread_of(v)->single, NULL, &end);
        *jit_pc_of(v) = end.target;
        switch (end.kind) {
        case IR_END_POLL: continue; /* it was set in between */
        case IR_END_FAULT: return JIT_STOP_FAULT;
        case IR_END_TRAP:
            if (end.trap == IR_TRAP_FENCEI) {
                jit_code_changed(v->jit, 0, UINT64_MAX);
                return JIT_STOP_STEP;
            }
            v->stop.info = end.info;
            return trapped(v, end.trap);
        default: return JIT_STOP_STEP;
        }
    }
}

enum jit_stop jit_step(struct jit_vcpu *v)
{
    struct jit *j = v->jit;
    enum jit_stop stop;

    jit_current = v;
    if (j->p->compiles)
        j->host->fp_load(v, jit_env_of(v));
    stop = step(v);
    if (j->p->compiles)
        j->host->fp_store(v, jit_env_of(v));
    return stop;
}
