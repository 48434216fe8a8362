/* proc_sys_misc.c: identity of the machine, time, prctl, instruction cache.
 * SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_priv.h"
#include "process/proc_seccomp.h"

#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <time.h>

/* ---- namespaces ------------------------------------------------------ */

/* Into some namespaces a process may go only while it has one thread: ours is not the guest's. */
static long misc_alone(struct proc_thread *t, long nr, uint64_t a, uint64_t b)
{
    if (!t->proc->threads->next)
        jit_single_threaded(t->proc->jit);
    return proc_raw(nr, a, b, 0, 0, 0, 0);
}

PROC_SYS(unshare) { return misc_alone(t, SYS_unshare, a[0], 0); }

PROC_SYS(setns) { return misc_alone(t, SYS_setns, a[0], a[1]); }

/* ---- the machine ----------------------------------------------------- */

PROC_SYS(uname)
{
    struct utsname u;
    long r = proc_raw(SYS_uname, (uint64_t)&u, 0, 0, 0, 0, 0);

    if (r < 0)
        return r;
    memset(u.machine, 0, sizeof u.machine);
    strcpy(u.machine, "riscv64");
    return proc_write_guest(a[0], &u, sizeof u);
}

/* Linux Documentation/arch/riscv/hwprobe.rst */
enum {
    HWPROBE_MVENDORID, HWPROBE_MARCHID, HWPROBE_MIMPID, HWPROBE_BASE_BEHAVIOR,
    HWPROBE_IMA_EXT_0, HWPROBE_CPUPERF_0, HWPROBE_ZICBOZ_BLOCK_SIZE,
    HWPROBE_HIGHEST_VIRT_ADDRESS, HWPROBE_TIME_CSR_FREQ, HWPROBE_MISALIGNED_SCALAR_PERF
};
enum { HWPROBE_BASE_IMA = 1, HWPROBE_MISALIGNED_FAST = 3, HWPROBE_WHICH_CPUS = 1 };
#define HWPROBE_EXT(n) (1ull << (n))
#define HWPROBE_EXTENSIONS                                                             \
    (HWPROBE_EXT(0) /* F, D */ | HWPROBE_EXT(1) /* C */ | HWPROBE_EXT(3) /* Zba */ |   \
     HWPROBE_EXT(4) /* Zbb */ | HWPROBE_EXT(5) /* Zbs */ | HWPROBE_EXT(6) /* Zicboz */ | \
     HWPROBE_EXT(7) /* Zbc */ | HWPROBE_EXT(8) /* Zbkb */ | HWPROBE_EXT(27) /* Zfh */ | \
     HWPROBE_EXT(28) /* Zfhmin */ | HWPROBE_EXT(29) /* Zihintntl */ |                  \
     HWPROBE_EXT(32) /* Zfa */ | HWPROBE_EXT(34) /* Zacas */ | HWPROBE_EXT(35) /* Zicond */ | \
     HWPROBE_EXT(36) /* Zihintpause */ | HWPROBE_EXT(42) /* Zimop */ |                 \
     HWPROBE_EXT(43) /* Zca */ | HWPROBE_EXT(44) /* Zcb */ | HWPROBE_EXT(45) /* Zcd */ | \
     HWPROBE_EXT(47) /* Zcmop */ | HWPROBE_EXT(48) /* Zawrs */)

struct misc_probe {
    int64_t key;
    uint64_t value;
};

static void misc_probe(struct misc_probe *p)
{
    p->value = 0;
    switch (p->key) {
    case HWPROBE_MVENDORID:
    case HWPROBE_MARCHID:
    case HWPROBE_MIMPID: break;
    case HWPROBE_BASE_BEHAVIOR: p->value = HWPROBE_BASE_IMA; break;
    case HWPROBE_IMA_EXT_0: p->value = HWPROBE_EXTENSIONS; break;
    case HWPROBE_CPUPERF_0:
    case HWPROBE_MISALIGNED_SCALAR_PERF: p->value = HWPROBE_MISALIGNED_FAST; break;
    case HWPROBE_ZICBOZ_BLOCK_SIZE: p->value = RV64_CBO_BLOCK; break;
    case HWPROBE_HIGHEST_VIRT_ADDRESS: p->value = PROC_TASK_SIZE - PROC_PAGE; break;
    default: p->key = -1; break;
    }
}

PROC_SYS(riscv_hwprobe)
{
    struct misc_probe p;

    if (a[4] & HWPROBE_WHICH_CPUS) /* all are alike: nothing is filtered out */
        return a[4] == HWPROBE_WHICH_CPUS ? 0 : -EINVAL;
    if (a[4])
        return -EINVAL;
    for (uint64_t i = 0; i < a[1]; i++) {
        uint64_t at = a[0] + i * sizeof p;

        if (proc_read_guest(&p, at, sizeof p) < 0)
            return -EFAULT;
        misc_probe(&p);
        if (proc_write_guest(at, &p, sizeof p) < 0)
            return -EFAULT;
    }
    return 0;
}

PROC_SYS(riscv_flush_icache)
{
    if (a[2] & ~1ull)
        return -EINVAL;
    if (a[1] > a[0] && proc_guest_range(a[0], a[1] - a[0]))
        jit_code_changed(t->proc->jit, a[0], a[1] - a[0]);
    return 0;
}

/* ---- time ------------------------------------------------------------ */

/* Through the C library, which asks the host's vDSO: no kernel entry. */
PROC_SYS(clock_gettime)
{
    struct timespec ts;

    if (clock_gettime((clockid_t)a[0], &ts))
        return -errno;
    return proc_write_guest(a[1], &ts, sizeof ts);
}

PROC_SYS(gettimeofday)
{
    struct timeval tv;

    if (a[1])
        return proc_raw(SYS_gettimeofday, a[0], a[1], 0, 0, 0, 0);
    gettimeofday(&tv, NULL);
    return a[0] ? proc_write_guest(a[0], &tv, sizeof tv) : 0;
}

/* ---- prctl ----------------------------------------------------------- */

#ifndef PR_RISCV_V_SET_CONTROL
#define PR_RISCV_V_SET_CONTROL 69
#define PR_RISCV_V_GET_CONTROL 70
#define PR_RISCV_SET_ICACHE_FLUSH_CTX 71
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

PROC_SYS(prctl)
{
    switch ((int)a[0]) {
    case PR_SET_NAME:
    case PR_GET_NAME:
    case PR_GET_PDEATHSIG:
    case PR_GET_CHILD_SUBREAPER:
    case PR_GET_TSC:
        if (a[1] >= PROC_TASK_SIZE)
            return -EFAULT;
        break;
    case PR_SET_PDEATHSIG:
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_GET_TIMING:
    case PR_SET_TIMING:
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
    case PR_SET_CHILD_SUBREAPER:
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_NO_NEW_PRIVS:
    case PR_SET_THP_DISABLE:
    case PR_GET_THP_DISABLE:
    case PR_CAP_AMBIENT:
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
    case PR_MCE_KILL_GET:
    case PR_SET_PTRACER: break;
    case PR_GET_SECCOMP: return proc_seccomp_mode(t);
    case PR_SET_SECCOMP: return proc_seccomp_prctl(t, a[1], a[2]);
    case PR_SET_VMA: /* names of anonymous mappings */
        if (!proc_guest_range(a[2], a[3]) || a[4] >= PROC_TASK_SIZE)
            return -EINVAL;
        break;
    case PR_RISCV_SET_ICACHE_FLUSH_CTX: /* fence.i works on any hart as it is */
        return 0;
    default: /* PR_SET_MM, other machines' */
        return -EINVAL;
    }
    return proc_raw(SYS_prctl, a[0], a[1], a[2], a[3], a[4], 0);
}
