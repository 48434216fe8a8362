/* proc_signal_frame.c: the riscv64 signal frame and the alternate stack.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Layout: arch/riscv/kernel/signal.c and include/uapi/asm/{ucontext,sigcontext,
 * ptrace}.h of Linux. The last 8 bytes of the floating-point union are the
 * header of an extension record (Linux 6.5 and later); magic 0 and size 0 end
 * the list, so a later vector record goes behind the struct.
 */
#include "process/proc_signal.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif
enum { RV_MINSIGSTKSZ = 2048 };

struct frame_fp {
    uint64_t f[32];
    uint32_t fcsr;
    uint32_t unused[64];
    uint32_t reserved;           /* must be zero */
    uint32_t hdr_magic, hdr_size;
};
struct frame {
    uint8_t info[PROC_SIGINFO_SIZE];
    uint64_t uc_flags, uc_link;
    uint64_t ss_sp;
    uint32_t ss_flags, pad;
    uint64_t ss_size;
    uint64_t sigmask;
    uint8_t unused[128];         /* sigset_t may grow to 1024 bits; alignment */
    uint64_t regs[32];           /* pc, x1..x31 */
    struct frame_fp fp;
};
_Static_assert(offsetof(struct frame, regs) == 128 + 176, "uc_mcontext is 16-aligned");
_Static_assert(offsetof(struct frame_fp, hdr_magic) == 520, "struct __riscv_extra_ext_header");
_Static_assert(sizeof(struct frame_fp) == 528, "union __riscv_fp_state");
_Static_assert(sizeof(struct frame) == 1088, "struct rt_sigframe");

/* ---- alternate stack ------------------------------------------------- */

static bool on_alt_stack(const struct proc_thread_signals *s, uint64_t sp)
{
    if (s->alt_flags & SS_AUTODISARM)
        return false;
    return sp > s->alt_sp && sp - s->alt_sp <= s->alt_size;
}

uint32_t proc_altstack_state(const struct proc_thread *t, uint64_t sp)
{
    if (!t->sig->alt_size)
        return SS_DISABLE;
    return on_alt_stack(t->sig, sp) ? SS_ONSTACK : 0;
}

int proc_altstack_set(struct proc_thread *t, uint64_t ss_sp, uint32_t flags, uint64_t size,
                      uint64_t sp)
{
    struct proc_thread_signals *s = t->sig;
    uint32_t mode = flags & ~SS_AUTODISARM;

    if (s->alt_size && on_alt_stack(s, sp))
        return -EPERM;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
        return -EINVAL;
    if (mode == SS_DISABLE) {
        ss_sp = size = 0;
    } else if (size < RV_MINSIGSTKSZ) {
        return -ENOMEM;
    }
    s->alt_sp = ss_sp;
    s->alt_size = size;
    s->alt_flags = flags;
    return 0;
}

/* ---- push and pop ---------------------------------------------------- */

/* Where the frame goes; 0 if the alternate stack would overflow. */
static uint64_t frame_address(const struct proc_thread *t, const struct proc_action *act)
{
    const struct proc_thread_signals *s = t->sig;
    uint64_t sp = t->rv->x[2];

    if (s->alt_size && on_alt_stack(s, sp)) {
        if (!on_alt_stack(s, sp - sizeof(struct frame)))
            return 0;
    } else if ((act->flags & SA_ONSTACK) && s->alt_size) {
        sp = s->alt_sp + s->alt_size;
    }
    return (sp - sizeof(struct frame)) & ~15ull;
}

int proc_frame_push(struct proc_thread *t, const struct proc_action *act, const siginfo_t *info,
                    uint64_t old_mask)
{
    struct proc_thread_signals *s = t->sig;
    struct rv_state *rv = t->rv;
    uint64_t at = frame_address(t, act);
    struct frame f;

    memset(&f, 0, sizeof f);
    memcpy(f.info, info, sizeof f.info);
    f.ss_sp = s->alt_sp;
    f.ss_size = s->alt_size;
    f.ss_flags = s->alt_size ? s->alt_flags : SS_DISABLE;
    f.sigmask = old_mask;
    f.regs[0] = rv->pc;
    for (int i = 1; i < 32; i++)
        f.regs[i] = rv->x[i];
    for (int i = 0; i < 32; i++)
        f.fp.f[i] = rv->f[i];
    f.fp.fcsr = rv->fp.flags | rv->fp.rm << 5;
    if (!at)
        return -EFAULT;
    /* The stack grows on demand in the kernel; ours is asked to. */
    if (proc_write_guest(at, &f, sizeof f) < 0 &&
        (!proc_mem_grow_stack(t->proc, at) || proc_write_guest(at, &f, sizeof f) < 0))
        return -EFAULT;
    if (s->alt_flags & SS_AUTODISARM) {
        s->alt_sp = s->alt_size = 0;
        s->alt_flags = SS_DISABLE;
    }
    rv->x[1] = t->proc->sigtramp;
    rv->x[2] = at;
    rv->x[10] = (uint64_t)info->si_signo;
    rv->x[11] = at;
    rv->x[12] = at + offsetof(struct frame, uc_flags);
    rv->pc = act->handler;
    return 0;
}

int proc_frame_pop(struct proc_thread *t, uint64_t *mask)
{
    struct rv_state *rv = t->rv;
    uint64_t at = rv->x[2];
    struct frame f;

    if ((at & 15) || proc_read_guest(&f, at, sizeof f) < 0 || f.fp.reserved)
        return -EFAULT;
    rv->pc = f.regs[0];
    for (int i = 1; i < 32; i++)
        rv->x[i] = f.regs[i];
    for (int i = 0; i < 32; i++)
        rv->f[i] = f.fp.f[i];
    rv->fp.flags = f.fp.fcsr & 31;
    rv->fp.rm = f.fp.fcsr >> 5 & 7;
    rv->res.addr = 1; /* an SC after the handler must fail */
    *mask = f.sigmask & ~PROC_UNBLOCKABLE;
    proc_altstack_set(t, f.ss_sp, f.ss_flags, f.ss_size, rv->x[2]);
    return 0;
}

/* ---- address of a faulting access ------------------------------------ */

/* Compressed loads and stores: fields by RISC-V unprivileged, chapter "C". */
static uint64_t compressed_address(const struct rv_state *rv, uint32_t c)
{
    uint64_t base = rv->x[8 + (c >> 7 & 7)], sp = rv->x[2];
    uint64_t off_w = (c >> 10 & 7) << 3 | (c >> 6 & 1) << 2 | (c >> 5 & 1) << 6;
    uint64_t off_d = (c >> 10 & 7) << 3 | (c >> 5 & 3) << 6;

    switch ((c & 3) << 3 | (c >> 13 & 7)) {
    case 0 << 3 | 2: case 0 << 3 | 6: return base + off_w;
    case 0 << 3 | 1: case 0 << 3 | 3: case 0 << 3 | 5: case 0 << 3 | 7: return base + off_d;
    case 0 << 3 | 4: /* Zcb: byte and half-word forms */
        if (c >> 10 & 1)
            return base + (c >> 5 & 1) * 2;
        return base + ((c >> 6 & 1) | (c >> 5 & 1) << 1);
    case 2 << 3 | 2: return sp + ((c >> 12 & 1) << 5 | (c >> 4 & 7) << 2 | (c >> 2 & 3) << 6);
    case 2 << 3 | 1: case 2 << 3 | 3:
        return sp + ((c >> 12 & 1) << 5 | (c >> 5 & 3) << 3 | (c >> 2 & 7) << 6);
    case 2 << 3 | 6: return sp + ((c >> 9 & 15) << 2 | (c >> 7 & 3) << 6);
    case 2 << 3 | 5: case 2 << 3 | 7: return sp + ((c >> 10 & 7) << 3 | (c >> 7 & 7) << 6);
    default: return 0;
    }
}

uint64_t proc_fault_address(const struct proc_thread *t)
{
    const struct rv_state *rv = t->rv;
    uint16_t half[2] = {0, 0};
    uint32_t insn;

    if (proc_read_guest(&half[0], rv->pc, 2) < 0)
        return rv->pc;
    if ((half[0] & 3) != 3)
        return compressed_address(rv, half[0]);
    if (proc_read_guest(&half[1], rv->pc + 2, 2) < 0)
        return rv->pc;
    insn = half[0] | (uint32_t)half[1] << 16;
    switch (insn & 0x7f) {
    case 0x03: case 0x07: /* loads */
        return rv->x[insn >> 15 & 31] + (uint64_t)base_sext(insn >> 20, 12);
    case 0x23: case 0x27: /* stores */
        return rv->x[insn >> 15 & 31] +
               (uint64_t)base_sext((insn >> 25) << 5 | (insn >> 7 & 31), 12);
    case 0x2f: case 0x0f: /* atomics, cache block operations */
        return rv->x[insn >> 15 & 31];
    default:
        return 0;
    }
}
