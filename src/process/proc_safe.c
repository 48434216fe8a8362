/* proc_safe.c: host system calls for the guest, interruptible without a race.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A guest signal arrives as a host signal, whose handler queues it and sets
 * poll. If the thread is just about to enter a system call that may block, the
 * check of poll and the syscall instruction must be one step, or the signal
 * waits until the call ends by itself. They are made one step by the handler:
 * a thread between proc_safe_begin and proc_safe_end (the syscall instruction
 * included: the kernel sets pc back onto it to restart a call) is moved to a
 * return of -PROC_ERESTARTSYS. Once the instruction has been passed, pc is
 * proc_safe_end and the result stands. Calls that translated code makes by itself
 * (struct jit_calls) are treated in the same way; they are then left to us.
 */
#include "process/proc_priv.h"

#include <ucontext.h>

extern const char proc_safe_begin[], proc_safe_end[], proc_safe_interrupted[];

/* A system call's six, from the array at r11. */
#define ARGUMENTS                  \
    "    movq (%r11), %rdi\n"      \
    "    movq 8(%r11), %rsi\n"     \
    "    movq 16(%r11), %rdx\n"    \
    "    movq 24(%r11), %r10\n"    \
    "    movq 32(%r11), %r8\n"     \
    "    movq 40(%r11), %r9\n"

__asm__(".text\n"
        ".hidden proc_safe_call, proc_plain_call\n"
        ".hidden proc_safe_begin, proc_safe_end, proc_safe_interrupted\n"
        ".globl proc_safe_call, proc_plain_call\n"
        ".globl proc_safe_begin, proc_safe_end, proc_safe_interrupted\n"
        ".type proc_safe_call, @function\n"
        ".type proc_plain_call, @function\n"
        "proc_safe_call:\n"
        "    movq %rdi, %rcx\n"
        "    movq %rsi, %rax\n"
        "    movq %rdx, %r11\n"
        ARGUMENTS
        "proc_safe_begin:\n"
        "    cmpl $0, (%rcx)\n"
        "    jne proc_safe_interrupted\n"
        "    syscall\n"
        "proc_safe_end:\n"
        "    ret\n"
        "proc_safe_interrupted:\n"
        "    movq $-512, %rax\n"
        "    ret\n"
        "proc_plain_call:\n"
        "    movq %rdi, %rax\n"
        "    movq %rsi, %r11\n"
        ARGUMENTS
        "    syscall\n"
        "    ret\n");

_Static_assert(PROC_ERESTARTSYS == 512, "the value above");

long proc_syscall(struct proc_thread *t, long nr, uint64_t a0, uint64_t a1, uint64_t a2,
                  uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t args[6] = {a0, a1, a2, a3, a4, a5};

    return proc_safe_call(&t->vcpu->poll, nr, args);
}

long proc_raw(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t args[6] = {a0, a1, a2, a3, a4, a5};

    return proc_plain_call(nr, args);
}

void proc_safe_rewind(void *ucontext)
{
    greg_t *g = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
    uint64_t pc = (uint64_t)g[REG_RIP];

    if (pc >= (uint64_t)proc_safe_begin && pc < (uint64_t)proc_safe_end)
        g[REG_RIP] = (greg_t)(uint64_t)proc_safe_interrupted;
    else if (proc_self)
        jit_rewind_call(proc_self->proc->jit, ucontext);
}
