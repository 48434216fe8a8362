/* proc_copy.c: copies from and to guest memory that never crash.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A guest pointer may point anywhere, and another thread may unmap it while it
 * is read, so it cannot be checked beforehand. The copy loops below are plain
 * machine code between two labels; when one faults, the SIGSEGV handler sees
 * that the pc is between them and sends it to the fix-up, which returns
 * -EFAULT. No state, no cost when nothing faults.
 */
#include "process/proc_priv.h"

#include <ucontext.h>

/* rdi to, rsi from, rdx bytes: 0 or -EFAULT */
long proc_copy_bytes(void *to, const void *from, size_t n);
/* rdi to, rsi from, rdx room: length without NUL, room if none, -EFAULT */
long proc_copy_string(char *to, const char *from, size_t room);
extern const char proc_copy_begin[], proc_copy_end[], proc_copy_fixup[];

__asm__(".text\n"
        ".hidden proc_copy_bytes, proc_copy_string\n"
        ".hidden proc_copy_begin, proc_copy_end, proc_copy_fixup\n"
        ".globl proc_copy_bytes, proc_copy_string\n"
        ".globl proc_copy_begin, proc_copy_end, proc_copy_fixup\n"
        ".type proc_copy_bytes, @function\n"
        ".type proc_copy_string, @function\n"
        "proc_copy_begin:\n"
        "proc_copy_bytes:\n"
        "    movq %rdx, %rcx\n"
        "    cmpq $64, %rdx\n"
        "    ja 2f\n"
        "    shrq $3, %rcx\n"
        "    jz 4f\n"
        "1:  movq (%rsi), %rax\n"
        "    movq %rax, (%rdi)\n"
        "    addq $8, %rsi\n"
        "    addq $8, %rdi\n"
        "    decq %rcx\n"
        "    jnz 1b\n"
        "4:  movl %edx, %ecx\n"
        "    andl $7, %ecx\n"
        "2:  rep movsb\n"
        "    xorl %eax, %eax\n"
        "    ret\n"
        "proc_copy_string:\n"
        "    xorl %eax, %eax\n"
        "1:  cmpq %rdx, %rax\n"
        "    jae 3f\n"
        "    movzbl (%rsi,%rax), %ecx\n"
        "    movb %cl, (%rdi,%rax)\n"
        "    testl %ecx, %ecx\n"
        "    jz 3f\n"
        "    incq %rax\n"
        "    jmp 1b\n"
        "3:  ret\n"
        "proc_copy_end:\n"
        "proc_copy_fixup:\n"
        "    movq $-14, %rax\n"
        "    ret\n");

long proc_read_guest(void *dst, uint64_t src, size_t n)
{
    if (!proc_guest_range(src, n))
        return -EFAULT;
    return proc_copy_bytes(dst, (const void *)src, n);
}

long proc_write_guest(uint64_t dst, const void *src, size_t n)
{
    if (!proc_guest_range(dst, n))
        return -EFAULT;
    return proc_copy_bytes((void *)dst, src, n);
}

long proc_read_string(char *dst, uint64_t src, size_t size)
{
    size_t room = size;
    long n;

    if (src >= PROC_TASK_SIZE)
        return -EFAULT;
    if (room > PROC_TASK_SIZE - src)
        room = PROC_TASK_SIZE - src;
    n = proc_copy_string(dst, (const char *)src, room);
    if (n >= 0 && (size_t)n == room)
        return room < size ? -EFAULT : -ENAMETOOLONG;
    return n;
}

bool proc_copy_fault(void *ucontext)
{
    greg_t *g = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
    uint64_t pc = (uint64_t)g[REG_RIP];

    if (pc < (uint64_t)proc_copy_begin || pc >= (uint64_t)proc_copy_end)
        return false;
    g[REG_RIP] = (greg_t)(uint64_t)proc_copy_fixup;
    return true;
}
