/* jit_fault.c: host faults on behalf of the guest: back to exact guest state.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A guest access may fault in five places:
 *
 *   translated code    the host pc is a point of a region: its map and the
 *                      registers of the ucontext give the guest's state
 *   a slow call        C called from translated code: the same with the
 *                      registers the stub saved and the call's return address
 *   a strip            rounds of a loop at once (docs/ir.md): it ends with what
 *                      was done before
 *   the interpreter    the state in memory is exact already
 *   the former         reading guest bytes: there is nothing to fetch
 *
 * An access that is several of the guest's (opt_bytes.c) reports nothing: the state is that before
 * the first of them, and the interpreter finds out which faults, if any.
 *
 * In the first two the thread is sent to code that returns from enter(), in the
 * third back to the code that called, in the others to a landing that jumps back
 * to where the work began. Everything here runs in a signal handler: no locks, no
 * allocation.
 */
#include "jit/jit_priv.h"

static void landing(void) { siglongjmp(jit_thread_of(jit_current)->landing, 1); }

static void report(struct jit_vcpu *v, int sig, const siginfo_t *info)
{
    v->stop.sig = sig;
    v->stop.code = info->si_code;
    v->stop.addr = (uint64_t)(uintptr_t)info->si_addr;
}

static void go_to_landing(struct jit_vcpu *v, void *uc)
{
    const struct jit_host *h = v->jit->host;
    if (!h) /* the mask was saved with the landing */
        siglongjmp(jit_thread_of(v)->landing, 1);
    /* As if called: below the red zone, a return address' room from aligned. */
    uint64_t sp = ((h->sp_of_ucontext(uc) - 1024) & ~(uint64_t)63) - 8;
    h->set_ucontext(uc, (uint64_t)(uintptr_t)landing, sp);
}

static bool in_shadow_guard(const struct jit_vcpu *v, const siginfo_t *info)
{
    uint64_t at = (uint64_t)(uintptr_t)info->si_addr, base = (uint64_t)(uintptr_t)v->shadow_base;
    return base && at < base && at >= base - 4096;
}

static void abandon(struct jit_vcpu *v, void *uc)
{
    const struct jit_host *h = v->jit->host;
    v->slow_ret = 0;
    v->exit_id = JIT_EXIT_FAULT;
    h->set_ucontext(uc, (uint64_t)(uintptr_t)h->abandon_code(v->jit), v->host_sp);
}

/* In translated code at host address pc (a fault) or in C called from there. */
static bool recover(struct jit_vcpu *v, uint64_t pc, const struct jit_regs *regs)
{
    const struct jit_region *r = jit_region_by_code(v->jit, pc);
    const struct jit_point *at = r ? jit_point_by_code(r, pc) : NULL;
    if (!at)
        return false;
    struct jit_maps maps = jit_maps_of(r);
    jit_map_apply(v->jit, &maps, at->map, regs, v->spill, v->state);
    v->again = at->again;
    return true;
}

/* The check of poll and the syscall instruction must be one step, or what came
 * between them waits until the call ends by itself. */
void jit_rewind_call(struct jit *j, void *uc)
{
    const struct jit_host *h = j->host;
    if (!j->call_begin)
        return;
    uint64_t pc = h->pc_of_ucontext(uc);
    if (pc >= (uint64_t)(uintptr_t)j->call_begin && pc < (uint64_t)(uintptr_t)j->call_end)
        h->set_ucontext(uc, (uint64_t)(uintptr_t)j->call_again, h->sp_of_ucontext(uc));
}

bool jit_handle_fault(struct jit_vcpu *v, int sig, const siginfo_t *info, void *uc)
{
    struct jit *j = v->jit;
    struct jit_thread *t = jit_thread_of(v);
    if (jit_current != v)
        return false;
    if (t->interp || t->forming) {
        if (t->interp)
            report(v, sig, info);
        go_to_landing(v, uc);
        return true;
    }
    if (!j->p->compiles || !v->in_code)
        return false;
    if (v->in_strip) {
        j->host->set_ucontext(uc, (uint64_t)(uintptr_t)j->stub[JIT_STUB_STRIP_FAULT], v->host_sp);
        return true;
    }
    uint64_t pc = j->host->pc_of_ucontext(uc);
    if (jit_in_cache(j, pc)) {
        if (in_shadow_guard(v, info)) {
            j->host->set_ucontext(uc, pc, v->shadow_top);
            return true;
        }
        struct jit_regs regs;
        uint32_t status;
        j->host->regs_from_ucontext(&regs, &status, uc);
        if (!recover(v, pc, &regs))
            return false;
        v->mxcsr = status;
        v->shadow_sp = j->host->sp_of_ucontext(uc);
    } else if (!v->slow_ret || !recover(v, v->slow_ret, &v->regs)) {
        return false;
    }
    report(v, sig, info);
    abandon(v, uc);
    return true;
}
