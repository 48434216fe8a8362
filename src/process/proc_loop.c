/* proc_loop.c: runs a guest thread; ends the process. SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_debug.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static long loop_watched(struct proc_thread *t)
{
    const uint64_t *x = t->rv->x;
    const uint64_t args[6] = {x[RV_A0], x[RV_A1], x[RV_A2], x[RV_A3], x[RV_A4], x[RV_A5]};

    return proc_debug_call(t, x[RV_A7], args);
}

/* The call at pc was made and gave r. */
static void loop_result(struct proc_thread *t, long r)
{
    uint64_t *x = t->rv->x;

    if (base_unlikely(r == -EINTR && t->debug.kicked) && !proc_signal_taken(t))
        r = -PROC_ERESTARTSYS; /* a tracer has come: no signal of the guest's */
    if (t->no_advance) {
        t->no_advance = false;
    } else if (r == -PROC_ERESTARTSYS) {
        t->restart = true;
    } else {
        x[RV_A0] = (uint64_t)r;
        t->rv->pc += 4;
    }
    if (base_unlikely(t->vcpu->poll || t->restart))
        proc_signal_deliver(t);
}

static void loop_syscall(struct proc_thread *t)
{
    const uint64_t *x = t->rv->x;

    loop_result(t, base_unlikely(t->proc->debug) ? loop_watched(t)
                                                 : proc_dispatch(t, x[RV_A7], x + RV_A0));
}

void proc_loop_called(struct jit_vcpu *v, long result) { loop_result(v->owner, result); }

bool proc_loop_syscall(struct jit_vcpu *v)
{
    struct proc_thread *t = v->owner;

    if (base_unlikely(t->proc->debug)) /* the debugger sees jit_run return */
        return false;
    loop_syscall(t);
    return true;
}

/* Fault of an access, or of a fetch, at addr. */
static void loop_segv(struct proc_thread *t, int code, uint64_t addr)
{
    if (addr < t->proc->map.stack_low && proc_mem_grow_stack(t->proc, addr))
        return;
    proc_signal_force(t, SIGSEGV, code, addr);
}

static void loop_trap(struct proc_thread *t)
{
    struct proc_vma v;
    uint64_t pc = t->rv->pc;

    switch (t->vcpu->stop.trap) {
    case IR_TRAP_SYSCALL: loop_syscall(t); break;
    case IR_TRAP_BREAK: proc_signal_force(t, SIGTRAP, TRAP_BRKPT, pc); break;
    case IR_TRAP_ILLEGAL: proc_signal_force(t, SIGILL, ILL_ILLOPC, pc); break;
    case IR_TRAP_ALIGN:
        /* info is unused: the address is not told; the kernel gives it */
        proc_signal_force(t, SIGBUS, BUS_ADRALN, t->vcpu->stop.addr);
        break;
    case IR_TRAP_FETCH:
        if (!proc_mem_find(t->proc, pc, &v))
            loop_segv(t, SEGV_MAPERR, pc);
        else if (v.prot & PROT_EXEC) /* mapped, but the file ends before */
            proc_signal_force(t, SIGBUS, BUS_ADRERR, pc);
        else
            loop_segv(t, SEGV_ACCERR, pc);
        break;
    default: base_bug(__FILE__, __LINE__, "trap %u", t->vcpu->stop.trap);
    }
}

_Noreturn void proc_loop(struct proc_thread *t)
{
    for (;;) {
        switch (base_unlikely(t->proc->debug) ? proc_debug_run(t) : jit_run(t->vcpu)) {
        case JIT_STOP_TRAP: loop_trap(t); break;
        case JIT_STOP_POLL: proc_signal_deliver(t); break;
        case JIT_STOP_STEP: break;
        case JIT_STOP_FAULT:
            if (t->vcpu->stop.sig == SIGSEGV)
                loop_segv(t, t->vcpu->stop.code, t->vcpu->stop.addr);
            else
                proc_signal_force(t, t->vcpu->stop.sig, t->vcpu->stop.code, t->vcpu->stop.addr);
            break;
        }
    }
}

/* ---- end ------------------------------------------------------------- */

void proc_print_stats(struct proc *p)
{
    if (p->opt && p->opt->stats)
        jit_print_stats(p->jit, stderr);
    fflush(NULL);
}

_Noreturn void proc_exit_group(struct proc *p, int status)
{
    if (!atomic_exchange(&p->exiting, 1)) {
        proc_store_save(p);
        proc_print_stats(p);
        proc_debug_exit(p, status);
    }
    for (;;)
        proc_raw(SYS_exit_group, (uint64_t)(status & 0xff), 0, 0, 0, 0, 0);
}

_Noreturn void proc_exit_signal(struct proc *p, int sig)
{
    struct sigaction act = {.sa_handler = SIG_DFL};
    struct rlimit none = {0, 0};
    sigset_t set;

    if (!atomic_exchange(&p->exiting, 1))
        proc_print_stats(p);
    setrlimit(RLIMIT_CORE, &none); /* a core would be of the emulator */
    sigaction(sig, &act, NULL);
    sigemptyset(&set);
    sigaddset(&set, sig);
    raise(sig);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    for (;;)
        proc_raw(SYS_exit_group, 128 + (uint64_t)sig, 0, 0, 0, 0, 0);
}
