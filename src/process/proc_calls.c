/* proc_calls.c: the table of system calls, and what is common to all of them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Guest pointers are host pointers, and nearly all structures of riscv64 Linux
 * are those of x86-64 Linux, so most calls go to the kernel as they are; the
 * table says which. Two things are done to every call: a pointer above the
 * guest's address space (it would be ours) becomes one that is nobody's, so that
 * the kernel says EFAULT when it comes to it; and paths are redirected into the
 * sysroot.
 */
#include "process/proc_priv.h"
#include "process/proc_seccomp.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>

const struct proc_call proc_calls[PROC_CALL_MAX] = {
#include "proc_table.gen.h"
};

static const struct jit_call direct[PROC_CALL_MAX] = {
#include "proc_direct.gen.h"
};

void proc_calls_direct(const struct proc *p, struct jit_calls *out)
{
    *out = (struct jit_calls){
        .table = direct,
        .count = PROC_CALL_MAX,
        .no_paths = p->sysroot != NULL,
        .number = RV_A7,
        .result = RV_A0,
        .arg = {RV_A0, RV_A1, RV_A2, RV_A3, RV_A4, RV_A5},
        .length = 4,
        .limit = PROC_TASK_SIZE,
        .off = &p->debug,
        .done = proc_loop_called,
    };
}

static long calls_host(struct proc_thread *t, const struct proc_call *c, const uint64_t *a)
{
    if (c->blocks)
        return proc_safe_call(&t->vcpu->poll, c->host_nr, a);
    return proc_plain_call(c->host_nr, a);
}

/* A call with paths, while there is a sysroot. */
static long calls_redirected(struct proc_thread *t, const struct proc_call *c, const uint64_t *args)
{
    char path[2][PATH_MAX];
    uint64_t a[6];
    unsigned used = 0;

    memcpy(a, args, sizeof a);
    for (unsigned i = 0; i < 6; i++) {
        bool follow = !(c->nofollow >> i & 1);
        long r;

        if (!(c->paths >> i & 1) || !a[i])
            continue;
        if ((c->maybe >> i & 1) && (a[c->flags_arg] & AT_SYMLINK_NOFOLLOW))
            follow = false;
        BASE_ASSERT(used < 2);
        r = proc_path(t->proc, a[i], path[used], follow ? PROC_PATH_LOOKUP : PROC_PATH_CREATE);
        if (r == -EFAULT) { /* unless the kernel finds something else wrong before */
            a[i] |= PROC_FAR;
            continue;
        }
        if (r < 0)
            return r;
        a[i] = (uint64_t)path[used++];
    }
    return calls_host(t, c, a);
}

/* Pointers that are not the guest's, moved to the kernel's half. */
static void calls_far(const struct proc_call *c, const uint64_t *a, uint64_t *far)
{
    for (unsigned i = 0; i < 6; i++) {
        far[i] = a[i];
        if ((c->ptrs >> i & 1) && a[i] >= PROC_TASK_SIZE)
            far[i] |= PROC_FAR;
    }
}

static void calls_unknown(struct proc_thread *t, uint64_t nr, const char *name)
{
    static _Atomic uint8_t named[PROC_CALL_MAX];

    if (t->proc->verbose && (nr >= PROC_CALL_MAX || !atomic_exchange(&named[nr], 1)))
        base_error("system call %llu (%s) is not there: ENOSYS", (unsigned long long)nr, name);
}

long proc_dispatch(struct proc_thread *t, uint64_t nr, const uint64_t *a)
{
    const struct proc_call *c;
    uint64_t far[6];
    long r;

    if (base_unlikely(t->seccomp) && !proc_seccomp_allows(t, nr, a, &r))
        return r;
    if (nr >= PROC_CALL_MAX || !proc_calls[nr].name) {
        calls_unknown(t, nr, "unknown");
        return -ENOSYS;
    }
    c = &proc_calls[nr];
    for (unsigned ptrs = c->ptrs; ptrs; ptrs &= ptrs - 1)
        if (base_unlikely(a[__builtin_ctz(ptrs)] >= PROC_TASK_SIZE)) {
            calls_far(c, a, far);
            a = far;
            break;
        }
    if (c->fn) { /* which may change the registers that a may point to */
        const uint64_t args[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};

        return c->fn(t, args);
    }
    if (c->host_nr < 0) {
        if (c->error == ENOSYS)
            calls_unknown(t, nr, c->name);
        return -(long)c->error;
    }
    if (base_unlikely(c->paths && t->proc->sysroot))
        return calls_redirected(t, c, a);
    return calls_host(t, c, a);
}
