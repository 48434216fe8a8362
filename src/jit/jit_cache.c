/* jit_cache.c: memory for code, writable at one address and executable at
 * another. SPDX-License-Identifier: Apache-2.0
 *
 * Shared anonymous memory, mapped twice without a descriptor: those are the
 * guest's, who may have used them up, and a limit on file sizes does not count.
 * Hot code grows up from the stubs, cold code (slow paths and link stubs) grows
 * down from the end; pages never touched cost nothing.
 *
 * Fork. Both mappings are shared mappings, so after a fork parent and child run
 * from the same memory. That is fine as long as neither writes. A counter in a
 * page that is shared as well tells how many processes use the memory; whoever
 * wants to write while it is above one first copies what is used to memory of
 * its own, maps that over the same two addresses and leaves. A child that
 * executes another program at once thus costs nothing if it says so
 * (jit_detach), and one copy by the parent if it does not. Only a user's own
 * fork adds users, so "I am the only one" stays true once seen.
 */
#include "jit/jit_store.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* The same from a file, where mremap does not make second mappings (valgrind's,
 * for one). */
static bool new_memory_file(size_t size, void **rw, void **rx)
{
    int fd = memfd_create("isomer-code", MFD_CLOEXEC);
    *rw = *rx = MAP_FAILED;
    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)size) == 0) {
        *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        *rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    }
    close(fd);
    return *rw != MAP_FAILED && *rx != MAP_FAILED;
}

/* Memory at *rw, and the same at *rx. */
static bool new_memory(size_t size, void **rw, void **rx)
{
    *rx = MAP_FAILED;
    *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0);
    if (*rw == MAP_FAILED)
        return false;
    *rx = mremap(*rw, 0, size, MREMAP_MAYMOVE); /* of length 0: a second mapping */
    if (*rx != MAP_FAILED && mprotect(*rx, size, PROT_READ | PROT_EXEC) == 0)
        return true;
    munmap(*rw, size);
    if (*rx != MAP_FAILED)
        munmap(*rx, size);
    return new_memory_file(size, rw, rx);
}

static _Atomic(uint32_t) *new_users(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    _Atomic(uint32_t) *users = p;
    atomic_store(users, 1);
    return users;
}

int jit_cache_init(struct jit *j)
{
    struct jit_cache *c = &j->p->cache;
    size_t size = j->cfg.cache_size ? j->cfg.cache_size : (size_t)JIT_PARAM_cache_kib << 10;
    if (size < 32 << 10)
        size = 32 << 10;
    if (size > (size_t)1 << 30)
        size = (size_t)1 << 30; /* everything within reach of a rel32 */
    c->size = size = BASE_ALIGN_UP(size, (size_t)4096);
    void *rw, *rx;
    if (!new_memory(size, &rw, &rx)) {
        base_error("cannot map a code cache of %zu KiB: %s; try a smaller --cache-size", size >> 10,
                   strerror(errno));
        return -1;
    }
    c->rw = rw;
    c->rx = rx;
    c->cold = c->cold_ready = size;
    return 0;
}

void jit_cache_free(struct jit *j)
{
    struct jit_cache *c = &j->p->cache;
    if (!c->rw)
        return;
    munmap(c->rw, c->size);
    munmap((void *)c->rx, c->size);
    if (c->users) {
        atomic_fetch_sub(c->users, 1);
        munmap((void *)c->users, 4096);
    }
}

static void populate(uint8_t *from, size_t n)
{
#ifdef MADV_POPULATE_WRITE
    madvise(from, n, MADV_POPULATE_WRITE);
#else
    (void)from, (void)n;
#endif
}

static void copy_part(struct jit_cache *c, uint8_t *to, size_t from, size_t end)
{
    if (from == end)
        return;
    size_t page = BASE_ALIGN_DOWN(from, (size_t)4096);
    populate(to + page, BASE_ALIGN_UP(end, (size_t)4096) - page);
    memcpy(to + from, c->rw + from, end - from);
}

/* Own memory at the same addresses, with the used parts copied if copy. */
static void leave_shared(struct jit_cache *c, bool copy)
{
    const int over = MREMAP_MAYMOVE | MREMAP_FIXED;
    void *rw, *rx;
    _Atomic(uint32_t) *users = new_users();
    bool ok = users && new_memory(c->size, &rw, &rx);
    if (ok) {
        copy_part(c, rw, 0, copy ? c->hot : c->hot_start);
        if (copy)
            copy_part(c, rw, c->cold, c->size);
    }
    /* Other threads of ours may run here: the new bytes are the same, and a
     * mapping is replaced in one step. */
    if (!ok || mremap(rx, c->size, c->size, over, c->rx) == MAP_FAILED ||
        mremap(rw, c->size, c->size, over, c->rw) == MAP_FAILED) {
        base_error("no memory for a copy of the code cache after a fork: %s", strerror(errno));
        _exit(1);
    }
    atomic_fetch_sub(c->users, 1);
    munmap((void *)c->users, 4096);
    c->users = users;
}

void jit_cache_write_begin(struct jit *j)
{
    struct jit_cache *c = &j->p->cache;
    if (base_unlikely(c->users && atomic_load(c->users) > 1))
        leave_shared(c, true);
}

/* A fault for each page, once in either mapping, would cost as much as making
 * the code, so pages come in POPULATE at a time: written ones by asking for
 * them, and then the kernel maps their neighbours at the first execution. What
 * is behind is executed, and written to only by linking: it leaves the writable
 * mapping again (the pages stay), for it would count as resident twice. */
enum { POPULATE = 64 << 10, BEHIND = 1 << 20 };

void jit_cache_reserve(struct jit *j, size_t hot, size_t cold)
{
    struct jit_cache *c = &j->p->cache;
    if (base_unlikely(hot > c->hot_ready)) {
        size_t to = BASE_ALIGN_UP(hot, (size_t)POPULATE);
        to = to < c->size ? to : c->size;
        size_t from = BASE_ALIGN_DOWN(c->hot_ready, (size_t)4096);
        populate(c->rw + from, to - from);
        c->hot_ready = to;
        if (to % BEHIND == 0 && to >= 2 * (size_t)BEHIND)
            madvise(c->rw + to - 2 * (size_t)BEHIND, BEHIND, MADV_DONTNEED);
    }
    if (base_unlikely(cold < c->cold_ready)) {
        size_t to = BASE_ALIGN_DOWN(cold, (size_t)POPULATE);
        populate(c->rw + to, c->cold_ready - to);
        c->cold_ready = to;
        size_t used = c->size - to;
        if (used % BEHIND == 0 && used >= 2 * (size_t)BEHIND)
            madvise(c->rw + to + BEHIND, BEHIND, MADV_DONTNEED);
    }
}

/* ---- fork ------------------------------------------------------------ */

void jit_fork_prepare(struct jit *j)
{
    struct jit_cache *c = &j->p->cache;
    pthread_mutex_lock(&j->p->lock);
    jit_t2_pause(j);
    if (!c->rw)
        return;
    if (!c->users)
        c->users = new_users();
    if (!c->users) {
        base_error("no memory for a fork: %s", strerror(errno));
        _exit(1);
    }
    atomic_fetch_add(c->users, 1); /* for the child */
}

void jit_fork_parent(struct jit *j)
{
    jit_t2_resume(j);
    pthread_mutex_unlock(&j->p->lock);
}

void jit_fork_failed(struct jit *j)
{
    if (j->p->cache.users)
        atomic_fetch_sub(j->p->cache.users, 1);
    jit_fork_parent(j);
}

void jit_fork_child(struct jit *j, struct jit_vcpu *v)
{
    struct jit_priv *p = j->p;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->lockstep, NULL);
    struct jit_vcpu *next;
    for (struct jit_vcpu *o = p->vcpus; o; o = next) {
        next = o->next;
        if (o != v) {
            o->jit = NULL; /* not in the list: free only */
            jit_vcpu_free(o);
        }
    }
    p->vcpus = v;
    v->next = NULL;
    atomic_store(&p->flush_pending, 0);
    jit_first_again(j);
    jit_store_fork_child(j);
    jit_t2_fork_child(j);
}

void jit_detach(struct jit *j)
{
    struct jit_cache *c = &j->p->cache;
    pthread_mutex_lock(&j->p->lock);
    jit_t2_pause(j);
    pthread_mutex_unlock(&j->p->lock);
    if (c->users)
        atomic_fetch_sub(c->users, 1);
}

void jit_attach(struct jit *j, struct jit_vcpu *v)
{
    struct jit_cache *c = &j->p->cache;
    pthread_mutex_lock(&j->p->lock);
    jit_t2_resume(j);
    if (c->users) { /* the others may have written meanwhile: start again with nothing */
        atomic_fetch_add(c->users, 1);
        jit_flush(j, v);
        leave_shared(c, false);
    }
    pthread_mutex_unlock(&j->p->lock);
}
