/* proc_mem.c: the guest's memory map. SPDX-License-Identifier: Apache-2.0
 *
 * Guest addresses are host addresses, so a guest mapping is a host mapping at
 * the same place; this file decides where it goes and remembers what the guest
 * was promised. Everything below PROC_TASK_SIZE is the guest's, everything
 * above is ours and of the kernel: no request reaches over the border.
 *
 * The map (sorted array of struct proc_vma) exists because the host cannot
 * answer three questions: which addresses the guest believes free (placement
 * must be that of a riscv64 kernel: top-down below the stack), which pages are
 * executable to the guest (PROT_EXEC is never given to the host mapping: guest
 * code is data to us, and must be readable), and what /proc/self/maps says.
 *
 * Order of locks: the jit calls proc_mem_fetch with its lock held, and we take
 * ours in there; so jit_invalidate is called only after our lock is released.
 */
#include "process/proc_priv.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum {
    MAP_GENERIC_32BIT = 0x40, /* x86 only: means nothing to the guest */
    PROT_GUEST = PROT_READ | PROT_WRITE | PROT_EXEC
};
/* mmap's bottom-up area, used when the top-down one is full. */
#define MEM_UNMAPPED_BASE BASE_ALIGN_DOWN(PROC_TASK_SIZE / 3, PROC_PAGE)
/* Room kept for the stack's growth: kernel's MIN_GAP and MAX_GAP. */
#define MEM_MIN_GAP (128ull << 20)
#define MEM_MAX_GAP (PROC_TASK_SIZE / 6 * 5)

/* Under AddressSanitizer (which must run with protect_shadow_gap=0) the guest's
 * address space is a range that the sanitizer has mapped and does not use but
 * for the shadow of guest addresses: that stays its own, the rest is taken. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
enum { MEM_ASAN = 1 };
const char *__asan_default_options(void);
/* Faults are the guest's, and what lives at exit is meant to. */
const char *__asan_default_options(void)
{
    return "protect_shadow_gap=0:detect_leaks=0:use_sigaltstack=0:handle_segv=0:handle_sigbus=0:"
           "handle_sigfpe=0:handle_sigill=0:handle_abort=0:allow_user_segv_handler=1";
}
#else
enum { MEM_ASAN = 0 };
#endif
#define MEM_ASAN_START 0x7fff7000ull
#define MEM_ASAN_END (0x7fff8000ull + (PROC_TASK_SIZE >> 3))

/* ---- the sorted array ------------------------------------------------ */

/* Index of the first mapping that ends above addr (len if none). */
static size_t mem_index(const struct proc_map *m, uint64_t addr)
{
    size_t lo = 0, hi = m->len;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (m->vma[mid].end <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool mem_is_free(const struct proc_map *m, uint64_t start, uint64_t end)
{
    size_t i = mem_index(m, start);

    return i == m->len || m->vma[i].start >= end;
}

/* Makes room for n entries at i. */
static void mem_open(struct proc_map *m, size_t i, size_t n)
{
    if (m->len + n > m->cap) {
        m->cap = (m->len + n) * 2 + 32;
        m->vma = base_realloc(m->vma, m->cap * sizeof *m->vma);
    }
    if (m->len > i)
        memmove(m->vma + i + n, m->vma + i, (m->len - i) * sizeof *m->vma);
    m->len += n;
}

static void mem_close(struct proc_map *m, size_t i, size_t n)
{
    if (m->len > i + n)
        memmove(m->vma + i, m->vma + i + n, (m->len - i - n) * sizeof *m->vma);
    m->len -= n;
}

/* Makes addr a border between mappings; returns the index of what begins there. */
static size_t mem_split(struct proc_map *m, uint64_t addr)
{
    size_t i = mem_index(m, addr);

    if (i < m->len && m->vma[i].start < addr) {
        mem_open(m, i, 1);
        m->vma[i] = m->vma[i + 1];
        m->vma[i].end = addr;
        m->vma[++i].start = addr;
    }
    return i;
}

static bool mem_alike(const struct proc_vma *a, const struct proc_vma *b)
{
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags &&
           a->name == b->name;
}

static void mem_merge(struct proc_map *m, size_t from, size_t to)
{
    size_t i = from ? from - 1 : 0;

    while (i + 1 < m->len && i <= to) {
        if (mem_alike(&m->vma[i], &m->vma[i + 1])) {
            m->vma[i].end = m->vma[i + 1].end;
            mem_close(m, i + 1, 1);
            if (to)
                to--;
        } else {
            i++;
        }
    }
}

/* Forgets [start, end); true if any of it was executable. */
static bool mem_clear(struct proc_map *m, uint64_t start, uint64_t end)
{
    size_t i = mem_split(m, start), j = mem_split(m, end);
    bool exec = false;

    for (size_t k = i; k < j; k++)
        exec |= (m->vma[k].prot & PROT_EXEC) != 0;
    mem_close(m, i, j - i);
    return exec;
}

static void mem_insert(struct proc_map *m, const struct proc_vma *v)
{
    size_t i = mem_index(m, v->start);

    mem_open(m, i, 1);
    m->vma[i] = *v;
    mem_merge(m, i, i);
}

static bool mem_any_exec(const struct proc_map *m, uint64_t start, uint64_t end)
{
    for (size_t i = mem_index(m, start); i < m->len && m->vma[i].start < end; i++)
        if (m->vma[i].prot & PROT_EXEC)
            return true;
    return false;
}

static void mem_lock(struct proc *p) { pthread_mutex_lock(&p->map.lock); }
static void mem_unlock(struct proc *p) { pthread_mutex_unlock(&p->map.lock); }

static void mem_invalidate(struct proc *p, bool exec, uint64_t addr, uint64_t len)
{
    if (exec && p->jit)
        jit_invalidate(p->jit, addr, len);
}

/* Protection of the host mapping that serves a guest protection. */
static int mem_host_prot(int prot)
{
    int host = prot & (PROT_READ | PROT_WRITE);

    if (prot & (PROT_EXEC | PROT_WRITE)) /* writable implies readable on RISC-V */
        host |= PROT_READ;
    return host;
}

/* ---- placement ------------------------------------------------------- */

/* Highest free range of len bytes below the stack, else the lowest above
 * MEM_UNMAPPED_BASE, as a riscv64 kernel places mappings. 0: none. */
static uint64_t mem_find_free(const struct proc_map *m, uint64_t len)
{
    uint64_t top = m->mmap_base, low = PROC_MIN_ADDR;

    for (size_t i = mem_index(m, m->mmap_base - 1) + 1; i-- > 0;) {
        const struct proc_vma *v;

        if (i >= m->len || m->vma[i].start >= top)
            continue;
        v = &m->vma[i];
        if (v->end < top && top - v->end >= len)
            return top - len;
        if (v->start < top)
            top = v->start;
    }
    if (top >= low && top - low >= len)
        return top - len;
    low = MEM_UNMAPPED_BASE;
    for (size_t i = mem_index(m, low); i < m->len; i++) {
        if (m->vma[i].start > low && m->vma[i].start - low >= len)
            return low;
        low = m->vma[i].end;
    }
    return low < PROC_TASK_SIZE && PROC_TASK_SIZE - low >= len ? low : 0;
}

uint64_t proc_mem_find_free(struct proc *p, uint64_t len)
{
    uint64_t addr;

    mem_lock(p);
    addr = mem_find_free(&p->map, BASE_ALIGN_UP(len, PROC_PAGE));
    mem_unlock(p);
    return addr;
}

/* Where a request goes: address, or -errno. len is whole pages. */
static int64_t mem_place(const struct proc_map *m, uint64_t addr, uint64_t len, int flags)
{
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (addr % PROC_PAGE)
            return -EINVAL;
        if (!proc_guest_range(addr, len))
            return -ENOMEM;
        if (addr < PROC_MIN_ADDR)
            return -EPERM;
        if (MEM_ASAN && addr < MEM_ASAN_END && addr + len > MEM_ASAN_START)
            return -ENOMEM;
        if ((flags & MAP_FIXED_NOREPLACE) && !mem_is_free(m, addr, addr + len))
            return -EEXIST;
        return (int64_t)addr;
    }
    addr = BASE_ALIGN_DOWN(addr, PROC_PAGE);
    if (addr && addr < PROC_MIN_ADDR)
        addr = PROC_MIN_ADDR;
    if (addr && proc_guest_range(addr, len) && mem_is_free(m, addr, addr + len))
        return (int64_t)addr;
    addr = mem_find_free(m, len);
    return addr ? (int64_t)addr : -ENOMEM;
}

/* ---- changes --------------------------------------------------------- */

/* Makes the host mapping. Where the map says the place is free, nothing of
 * ours may be lost there either: the kernel is asked not to replace. */
static int64_t mem_host_map(const struct proc_map *m, uint64_t addr, uint64_t len, int prot,
                            int flags, int fd, uint64_t offset)
{
    int how = !MEM_ASAN && mem_is_free(m, addr, addr + len) ? MAP_FIXED_NOREPLACE : MAP_FIXED;
    int64_t r;

    flags &= ~(MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_GENERIC_32BIT | MAP_GROWSDOWN);
    r = proc_raw(SYS_mmap, addr, len, (uint64_t)mem_host_prot(prot), (uint64_t)(flags | how),
                 (uint64_t)fd, offset);
    if (r < 0)
        return r == -EEXIST ? -ENOMEM : r;
    if ((uint64_t)r != addr) { /* a kernel that does not know NOREPLACE */
        munmap((void *)r, len);
        return -ENOMEM;
    }
    return r;
}

int64_t proc_mem_map(struct proc *p, uint64_t addr, uint64_t len, int prot, int flags, int fd,
                     uint64_t offset, const char *name)
{
    struct proc_map *m = &p->map;
    bool exec = false;
    int64_t r;

    if (!len)
        return -EINVAL;
    if (len > PROC_TASK_SIZE)
        return -ENOMEM;
    if (prot & ~(PROT_GUEST | PROT_GROWSDOWN | PROT_GROWSUP | 8 /* PROT_SEM */))
        return -EINVAL;
    len = BASE_ALIGN_UP(len, PROC_PAGE);
    prot &= PROT_GUEST;
    mem_lock(p);
    r = mem_place(m, addr, len, flags);
    if (r >= 0)
        r = mem_host_map(m, (uint64_t)r, len, prot, flags, fd, offset);
    if (r >= 0) {
        struct proc_vma v = {(uint64_t)r, (uint64_t)r + len, prot,
                             flags & (MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS), name};

        exec = mem_clear(m, v.start, v.end);
        mem_insert(m, &v);
    }
    mem_unlock(p);
    if (r < 0)
        return r;
    mem_invalidate(p, exec, (uint64_t)r, len);
    if (fd >= 0 && (prot & PROT_EXEC) && !(prot & PROT_WRITE) && (flags & MAP_PRIVATE))
        proc_store_map(p, (uint64_t)r, len, fd, offset);
    return r;
}

void proc_mem_record(struct proc *p, uint64_t addr, uint64_t len, int prot, int flags)
{
    struct proc_vma v = {addr, addr + BASE_ALIGN_UP(len, PROC_PAGE), prot & PROT_GUEST, flags,
                         NULL};
    bool exec;

    mem_lock(p);
    exec = mem_clear(&p->map, v.start, v.end);
    mem_insert(&p->map, &v);
    mem_unlock(p);
    mem_invalidate(p, exec, v.start, v.end - v.start);
}

long proc_mem_unmap(struct proc *p, uint64_t addr, uint64_t len)
{
    bool exec = false;
    long r = 0;

    if (addr % PROC_PAGE || !len || !proc_guest_range(addr, len))
        return -EINVAL;
    len = BASE_ALIGN_UP(len, PROC_PAGE);
    mem_lock(p);
    /* What the map does not hold is not the guest's to unmap. */
    if (!mem_is_free(&p->map, addr, addr + len))
        r = proc_raw(SYS_munmap, addr, len, 0, 0, 0, 0);
    if (r >= 0)
        exec = mem_clear(&p->map, addr, addr + len);
    mem_unlock(p);
    mem_invalidate(p, exec, addr, len);
    return r;
}

/* True if [start, end) is mapped without holes. */
static bool mem_is_mapped(const struct proc_map *m, uint64_t start, uint64_t end)
{
    for (size_t i = mem_index(m, start); start < end; i++) {
        if (i == m->len || m->vma[i].start > start)
            return false;
        start = m->vma[i].end;
    }
    return true;
}

long proc_mem_protect(struct proc *p, uint64_t addr, uint64_t len, int prot)
{
    struct proc_map *m = &p->map;
    bool exec = false;
    long r;

    if (addr % PROC_PAGE || (prot & ~(PROT_GUEST | PROT_GROWSDOWN | PROT_GROWSUP | 8)))
        return -EINVAL;
    if (!len)
        return 0;
    if (!proc_guest_range(addr, len))
        return -ENOMEM;
    len = BASE_ALIGN_UP(len, PROC_PAGE);
    prot &= PROT_GUEST;
    mem_lock(p);
    r = -ENOMEM;
    if (mem_is_mapped(m, addr, addr + len))
        r = proc_raw(SYS_mprotect, addr, len, (uint64_t)mem_host_prot(prot), 0, 0, 0);
    if (r >= 0) {
        size_t i = mem_split(m, addr), j = mem_split(m, addr + len);

        for (size_t k = i; k < j; k++) {
            exec |= (m->vma[k].prot & PROT_EXEC) != 0;
            m->vma[k].prot = prot;
        }
        mem_merge(m, i, j);
    }
    mem_unlock(p);
    mem_invalidate(p, exec, addr, len);
    return r;
}

uint64_t proc_mem_brk(struct proc *p, uint64_t addr)
{
    struct proc_map *m = &p->map;
    uint64_t old_end, new_end, r;
    bool shrink = false;

    mem_lock(p);
    old_end = BASE_ALIGN_UP(m->brk, PROC_PAGE);
    new_end = BASE_ALIGN_UP(addr, PROC_PAGE);
    if (addr >= m->brk_start && addr < PROC_TASK_SIZE) {
        if (new_end > old_end) {
            struct proc_vma v = {old_end, new_end, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, "[heap]"};

            if (mem_is_free(m, old_end, new_end + PROC_PAGE) &&
                mem_host_map(m, old_end, new_end - old_end, v.prot, v.flags, -1, 0) >= 0) {
                mem_insert(m, &v);
                m->brk = addr;
            }
        } else {
            shrink = new_end < old_end;
            m->brk = addr;
        }
    }
    r = m->brk;
    mem_unlock(p);
    if (shrink)
        proc_mem_unmap(p, new_end, old_end - new_end);
    return r;
}

/* Moves or resizes within one mapping; addresses are checked and locked. */
static int64_t mem_remap(struct proc_map *m, uint64_t addr, uint64_t old_len, uint64_t new_len,
                         int flags, uint64_t new_addr)
{
    size_t i = mem_index(m, addr);
    uint64_t span = old_len ? old_len : new_len;
    struct proc_vma v;
    int64_t r;

    if (i == m->len || m->vma[i].start > addr)
        return -EFAULT;
    v = m->vma[i];
    if (v.end < addr + old_len)
        return -EFAULT;
    if (!(flags & MREMAP_FIXED)) {
        bool stay = !(flags & MREMAP_DONTUNMAP) && old_len && addr + new_len <= PROC_TASK_SIZE &&
                    mem_is_free(m, addr + old_len, addr + new_len);

        if (stay && v.end == addr + old_len) {
            r = proc_raw(SYS_mremap, addr, old_len, new_len, 0, 0, 0);
            if (r >= 0) {
                m->vma[i].end = addr + new_len;
                mem_merge(m, i, i);
                return r;
            }
        }
        if (!(flags & MREMAP_MAYMOVE))
            return -ENOMEM;
        new_addr = mem_find_free(m, new_len);
        if (!new_addr)
            return -ENOMEM;
    }
    r = proc_raw(SYS_mremap, addr, old_len, new_len,
                 (uint64_t)(flags | MREMAP_MAYMOVE | MREMAP_FIXED), new_addr, 0);
    if (r < 0)
        return r;
    v.start = new_addr;
    v.end = new_addr + new_len;
    mem_clear(m, v.start, v.end);
    if (old_len && !(flags & MREMAP_DONTUNMAP))
        mem_clear(m, addr, addr + span);
    mem_insert(m, &v);
    return r;
}

int64_t proc_mem_remap(struct proc *p, uint64_t addr, uint64_t old_len, uint64_t new_len, int flags,
                       uint64_t new_addr)
{
    struct proc_map *m = &p->map;
    bool exec;
    int64_t r;

    if (addr % PROC_PAGE || !new_len || (flags & ~7) || !proc_guest_range(addr, old_len) ||
        new_len > PROC_TASK_SIZE)
        return -EINVAL;
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE))
        return -EINVAL;
    old_len = BASE_ALIGN_UP(old_len, PROC_PAGE);
    new_len = BASE_ALIGN_UP(new_len, PROC_PAGE);
    if ((flags & MREMAP_DONTUNMAP) && old_len != new_len)
        return -EINVAL;
    if (flags & MREMAP_FIXED) {
        if (new_addr % PROC_PAGE || !proc_guest_range(new_addr, new_len) ||
            (new_addr < addr + old_len && addr < new_addr + new_len))
            return -EINVAL;
        if (new_addr < PROC_MIN_ADDR)
            return -EPERM;
    }
    if (new_len <= old_len && !(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
        struct proc_vma v;

        if (!proc_mem_find(p, addr, &v))
            return -EFAULT;
        if (new_len < old_len)
            r = proc_mem_unmap(p, addr + new_len, old_len - new_len);
        else
            r = 0;
        return r < 0 ? r : (int64_t)addr;
    }
    mem_lock(p);
    exec = mem_any_exec(m, addr, addr + old_len) ||
           ((flags & MREMAP_FIXED) && mem_any_exec(m, new_addr, new_addr + new_len));
    r = mem_remap(m, addr, old_len, new_len, flags, new_addr);
    mem_unlock(p);
    if (exec) {
        mem_invalidate(p, true, addr, old_len);
        if (r >= 0)
            mem_invalidate(p, true, (uint64_t)r, new_len);
    }
    return r;
}

/* ---- questions ------------------------------------------------------- */

bool proc_mem_find(struct proc *p, uint64_t addr, struct proc_vma *out)
{
    size_t i;
    bool found;

    mem_lock(p);
    i = mem_index(&p->map, addr);
    found = i < p->map.len && p->map.vma[i].start <= addr;
    if (found)
        *out = p->map.vma[i];
    mem_unlock(p);
    return found;
}

bool proc_mem_has_exec(struct proc *p, uint64_t addr, uint64_t len)
{
    bool exec;

    mem_lock(p);
    exec = proc_guest_range(addr, len) && mem_any_exec(&p->map, addr, addr + len);
    mem_unlock(p);
    return exec;
}

/* A file mapping may reach beyond the end of its file: touching such a page is
 * a SIGBUS that must be the guest's, so a page is tried by a checked read. */
static bool mem_readable(uint64_t addr)
{
    uint8_t byte;

    return proc_read_guest(&byte, addr, 1) == 0;
}

size_t proc_mem_fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable)
{
    struct proc *p = ctx;
    struct proc_map *m = &p->map;
    uint64_t end = pc;

    mem_lock(p);
    for (size_t i = mem_index(m, pc); i < m->len; i++) {
        const struct proc_vma *v = &m->vma[i];

        if (v->start > end || !(v->prot & PROT_EXEC))
            break;
        if (end == pc)
            *writable = (v->prot & PROT_WRITE) != 0 || (v->flags & MAP_SHARED) != 0;
        else if (*writable != ((v->prot & PROT_WRITE) != 0 || (v->flags & MAP_SHARED) != 0))
            break;
        end = v->end;
    }
    mem_unlock(p);
    if (end == pc)
        return 0;
    /* A region never needs more than two pages. */
    if (end > BASE_ALIGN_DOWN(pc, PROC_PAGE) + 2 * PROC_PAGE)
        end = BASE_ALIGN_DOWN(pc, PROC_PAGE) + 2 * PROC_PAGE;
    if (!mem_readable(pc))
        return 0;
    if (end > BASE_ALIGN_UP(pc + 1, PROC_PAGE) && !mem_readable(BASE_ALIGN_UP(pc + 1, PROC_PAGE)))
        end = BASE_ALIGN_UP(pc + 1, PROC_PAGE);
    *bytes = (const uint8_t *)pc;
    return end - pc;
}

bool proc_mem_grow_stack(struct proc *p, uint64_t addr)
{
    struct proc_map *m = &p->map;
    uint64_t start = BASE_ALIGN_DOWN(addr, PROC_PAGE);
    bool grown = false;

    mem_lock(p);
    if (addr < m->stack_low && addr >= m->stack_limit) {
        size_t i = mem_index(m, m->stack_low);

        if (i < m->len && m->vma[i].start == m->stack_low &&
            mem_is_free(m, start - PROC_STACK_GAP, m->stack_low)) {
            struct proc_vma v = m->vma[i];

            v.start = start;
            v.end = m->stack_low;
            if (mem_host_map(m, start, v.end - start, v.prot, v.flags | MAP_NORESERVE, -1, 0) >=
                0) {
                mem_insert(m, &v);
                m->stack_low = start;
                grown = true;
            }
        }
    }
    mem_unlock(p);
    return grown;
}

/* ---- life ------------------------------------------------------------ */

void proc_mem_init(struct proc *p, uint64_t stack_limit)
{
    struct proc_map *m = &p->map;
    uint64_t gap = stack_limit + PROC_STACK_GAP;

    if (stack_limit > MEM_MAX_GAP || gap > MEM_MAX_GAP)
        gap = MEM_MAX_GAP;
    if (gap < MEM_MIN_GAP)
        gap = MEM_MIN_GAP;
    pthread_mutex_init(&m->lock, NULL);
    if (MEM_ASAN) {
        struct proc_vma v = {MEM_ASAN_START, MEM_ASAN_END, PROT_NONE, MAP_PRIVATE, "[sanitizer]"};

        mem_insert(m, &v);
    }
    m->stack_top = PROC_TASK_SIZE - PROC_PAGE;
    m->stack_limit = m->stack_top - (gap > stack_limit ? stack_limit : gap);
    m->mmap_base = BASE_ALIGN_DOWN(m->stack_top - gap - PROC_STACK_GAP, PROC_PAGE);
}

void proc_mem_fork_prepare(struct proc *p) { mem_lock(p); }
void proc_mem_fork_done(struct proc *p) { mem_unlock(p); }
