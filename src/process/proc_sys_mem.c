/* proc_sys_mem.c: system calls on memory. SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_priv.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif

PROC_SYS(brk) { return (long)proc_mem_brk(t->proc, a[0]); }

PROC_SYS(mmap)
{
    int flags = (int)a[3];

    if (a[5] % PROC_PAGE)
        return -EINVAL;
    return proc_mem_map(t->proc, a[0], a[1], (int)a[2], flags,
                        flags & MAP_ANONYMOUS ? -1 : (int)a[4], a[5], NULL);
}

PROC_SYS(munmap) { return proc_mem_unmap(t->proc, a[0], a[1]); }
PROC_SYS(mprotect) { return proc_mem_protect(t->proc, a[0], a[1], (int)a[2]); }

PROC_SYS(pkey_mprotect)
{
    /* no protection keys on RISC-V: only "none" and the one that all pages have */
    return (int)a[3] == -1 || !(int)a[3] ? proc_mem_protect(t->proc, a[0], a[1], (int)a[2])
                                         : -EINVAL;
}

PROC_SYS(mremap) { return proc_mem_remap(t->proc, a[0], a[1], a[2], (int)a[3], a[4]); }

PROC_SYS(madvise)
{
    long r;

    if (!proc_guest_range(a[0], a[1]))
        return a[0] % PROC_PAGE ? -EINVAL : -ENOMEM;
    r = proc_raw(SYS_madvise, a[0], a[1], a[2], 0, 0, 0);
    switch ((int)a[2]) {
    case MADV_DONTNEED:
    case MADV_REMOVE:
    case MADV_FREE:
        if (t->proc->jit && proc_mem_has_exec(t->proc, a[0], a[1]))
            jit_invalidate(t->proc->jit, a[0], a[1]);
        break;
    case MADV_DONTFORK: /* would tear a hole into the child's map */
    case MADV_DOFORK:
    default:
        break;
    }
    return r;
}

PROC_SYS(mseal)
{
    /* Sealing binds the emulator as well, which never changes a mapping but
     * for the guest; so it may be had as the kernel gives it. */
    if (!proc_guest_range(a[0], a[1]))
        return -ENOMEM;
    return proc_raw(462, a[0], a[1], a[2], 0, 0, 0);
}

/* ---- System V shared memory ------------------------------------------ */

/* Claims size bytes at addr (0: anywhere) for a segment; address or -errno. */
static int64_t mem_shm_claim(struct proc *p, uint64_t addr, uint64_t size, int flags)
{
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    int64_t r;

    if (addr % PROC_PAGE && !(flags & SHM_RND))
        return -EINVAL;
    if (!addr)
        return flags & SHM_REMAP ? -EINVAL : proc_mem_map(p, 0, size, PROT_NONE, how, -1, 0, NULL);
    how |= flags & SHM_REMAP ? MAP_FIXED : 0x100000 /* MAP_FIXED_NOREPLACE */;
    r = proc_mem_map(p, BASE_ALIGN_DOWN(addr, PROC_PAGE), size, PROT_NONE, how, -1, 0, NULL);
    return r < 0 ? -EINVAL : r;
}

PROC_SYS(shmat)
{
    struct shmid_ds ds;
    int flags = (int)a[2];
    int64_t addr;
    uint64_t size;
    long r = proc_raw(SYS_shmctl, a[0], IPC_STAT, (uint64_t)&ds, 0, 0, 0);

    if (r < 0)
        return r;
    size = BASE_ALIGN_UP(ds.shm_segsz, PROC_PAGE);
    addr = mem_shm_claim(t->proc, a[1], size, flags);
    if (addr < 0)
        return addr;
    r = proc_raw(SYS_shmat, a[0], (uint64_t)addr, (uint64_t)((flags & ~SHM_EXEC) | SHM_REMAP), 0, 0,
                 0);
    if (r < 0)
        proc_mem_unmap(t->proc, (uint64_t)addr, size);
    else
        proc_mem_record(t->proc, (uint64_t)addr, size,
                        PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) |
                            (flags & SHM_EXEC ? PROT_EXEC : 0),
                        MAP_SHARED | PROC_VMA_SHM);
    return r;
}

PROC_SYS(shmdt)
{
    struct proc_vma v;
    long r;

    if (!proc_mem_find(t->proc, a[0], &v) || v.start != a[0] || !(v.flags & PROC_VMA_SHM))
        return -EINVAL;
    r = proc_raw(SYS_shmdt, a[0], 0, 0, 0, 0, 0);
    if (r >= 0)
        proc_mem_unmap(t->proc, v.start, v.end - v.start);
    return r;
}

/* semid64_ds: x86-64 has an unused word behind each time. */
struct sem_generic {
    struct ipc_perm perm;
    int64_t otime, ctime;
    uint64_t nsems, unused[2];
};

PROC_SYS(semctl)
{
    struct semid_ds host;
    struct sem_generic g;
    int cmd = (int)a[2];
    long r;

    switch (cmd & ~0x100 /* IPC_64 */) {
    case IPC_STAT:
    case SEM_STAT:
    case 20: /* SEM_STAT_ANY */
        r = proc_raw(SYS_semctl, a[0], a[1], (uint64_t)cmd, (uint64_t)&host, 0, 0);
        if (r < 0)
            return r;
        memset(&g, 0, sizeof g);
        g.perm = host.sem_perm;
        g.otime = host.sem_otime;
        g.ctime = host.sem_ctime;
        g.nsems = host.sem_nsems;
        return proc_write_guest(a[3], &g, sizeof g) < 0 ? -EFAULT : r;
    case IPC_SET:
        if (proc_read_guest(&g, a[3], sizeof g) < 0)
            return -EFAULT;
        memset(&host, 0, sizeof host);
        host.sem_perm = g.perm;
        return proc_raw(SYS_semctl, a[0], a[1], (uint64_t)cmd, (uint64_t)&host, 0, 0);
    default:
        return proc_raw(SYS_semctl, a[0], a[1], (uint64_t)cmd, a[3], 0, 0);
    }
}

/* Other pages of the same file at the same addresses: the map stays as it is. */
PROC_SYS(remap_file_pages)
{
    long r;

    if (!proc_guest_range(a[0], a[1]))
        return -EINVAL;
    r = proc_raw(SYS_remap_file_pages, a[0], a[1], a[2], a[3], a[4], 0);
    if (!r && proc_mem_has_exec(t->proc, a[0], a[1]))
        jit_invalidate(t->proc->jit, a[0], a[1]);
    return r;
}

/* Of a range that cannot be mapped these say what they say of one that is not,
 * which is how ZGC finds out the size of an address space. */
PROC_SYS(msync)
{
    if (a[0] % PROC_PAGE)
        return -EINVAL;
    if (!proc_guest_range(a[0], a[1]))
        return -ENOMEM;
    return proc_syscall(t, SYS_msync, a[0], a[1], a[2], 0, 0, 0);
}

PROC_SYS(mincore)
{
    (void)t;
    if (a[0] % PROC_PAGE)
        return -EINVAL;
    if (!proc_guest_range(a[0], a[1]))
        return -ENOMEM;
    return a[2] >= PROC_TASK_SIZE ? -EFAULT : proc_raw(SYS_mincore, a[0], a[1], a[2], 0, 0, 0);
}
