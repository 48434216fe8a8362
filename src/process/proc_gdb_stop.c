/* proc_gdb_stop.c: how guest threads run under a debugger.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Breakpoints. The guest's memory is left alone: jit_config.fetch, asked for
 * code to translate, gives an ebreak where a breakpoint is, and otherwise no
 * more bytes than up to the next one, so that regions end there. Setting one
 * forgets the regions that had the place; then translated code runs at full
 * speed and traps exactly there. A thread that steps sees the code as it is.
 *
 * Watchpoints. While there is one, all threads go instruction by instruction,
 * and each access is decoded before it is made: slow, and exact to the byte.
 * What a system call writes is found by comparing.
 *
 * All-stop: the first thread with news makes all others park and wakes the
 * server (proc_gdb.c), which lets them go on when gdb says so. A breakpoint
 * that a second thread hits meanwhile is forgotten, since it will be hit again;
 * a signal or a watchpoint waits and is told later.
 */
#include "process/proc_gdb.h"

#include <sys/mman.h>
#include <unistd.h>

struct gdb *proc_gdb;

/* This thread makes a step: fetch shows the code as it is. */
static _Thread_local bool bypass __attribute__((tls_model("initial-exec")));

/* ---- break- and watchpoints ------------------------------------------ */

static bool is_break(const struct gdb_point *b) { return b->type <= GDB_HW_BREAK; }

static void forget_code(struct gdb *g, const struct gdb_point *b)
{
    if (is_break(b)) /* a region may hold only the end of an instruction before */
        jit_invalidate(g->p->jit, b->addr - 2, 6);
}

bool proc_gdb_point_add(struct gdb *g, enum gdb_point_type type, uint64_t addr, uint64_t len)
{
    struct gdb_point b = {.addr = addr, .len = len, .type = type};
    unsigned i = 0;

    /* Not proc_read_guest(): the server's thread takes no signal, so a fault would end all. What
     * cannot be read is watched all the same, and counts as zeros. */
    if (pread(g->mem_fd, b.old, len < sizeof b.old ? len : sizeof b.old, (off_t)addr) < 0)
        memset(b.old, 0, sizeof b.old);
    pthread_mutex_lock(&g->points_lock);
    while (i < g->npoints && (g->point[i].addr != addr || g->point[i].type != type ||
                              g->point[i].len != len))
        i++;
    if (i == GDB_POINTS) {
        pthread_mutex_unlock(&g->points_lock);
        return false;
    }
    if (i == g->npoints) {
        g->point[g->npoints++] = b;
        g->nwatch += !is_break(&b);
    }
    pthread_mutex_unlock(&g->points_lock);
    forget_code(g, &b);
    return true;
}

void proc_gdb_point_remove(struct gdb *g, enum gdb_point_type type, uint64_t addr, uint64_t len)
{
    struct gdb_point b = {.addr = addr, .len = len, .type = type};

    pthread_mutex_lock(&g->points_lock);
    for (unsigned i = 0; i < g->npoints; i++) {
        if (g->point[i].addr != addr || g->point[i].type != type || g->point[i].len != len)
            continue;
        g->point[i] = g->point[--g->npoints];
        g->nwatch -= !is_break(&b);
        break;
    }
    pthread_mutex_unlock(&g->points_lock);
    forget_code(g, &b);
}

void proc_gdb_points_clear(struct gdb *g)
{
    while (g->npoints) {
        struct gdb_point b = g->point[0];

        proc_gdb_point_remove(g, b.type, b.addr, b.len);
    }
}

static bool break_at(struct gdb *g, uint64_t pc)
{
    bool found = false;

    if (!g->npoints)
        return false;
    pthread_mutex_lock(&g->points_lock);
    for (unsigned i = 0; i < g->npoints; i++)
        found |= is_break(&g->point[i]) && g->point[i].addr == pc;
    pthread_mutex_unlock(&g->points_lock);
    return found;
}

size_t proc_gdb_fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable)
{
    static const uint8_t c_ebreak[2] = {0x02, 0x90};
    struct gdb *g = proc_gdb;
    size_t n = proc_mem_fetch(ctx, pc, bytes, writable);

    if (!n || !g || bypass || !g->npoints)
        return n;
    pthread_mutex_lock(&g->points_lock);
    for (unsigned i = 0; i < g->npoints; i++) {
        const struct gdb_point *b = &g->point[i];

        if (!is_break(b) || b->addr < pc || b->addr >= pc + n)
            continue;
        if (b->addr == pc) {
            *bytes = c_ebreak;
            n = sizeof c_ebreak;
        } else {
            n = b->addr - pc;
        }
    }
    pthread_mutex_unlock(&g->points_lock);
    return n;
}

/* ---- accesses -------------------------------------------------------- */

struct access {
    uint64_t addr, len; /* len 0: none */
    bool read, write;
};

static struct access compressed_access(uint32_t c)
{
    static const uint8_t size[8] = {0, 8, 4, 8, 0, 8, 4, 8};
    unsigned f = c >> 13 & 7;
    struct access a = {0};

    if ((c & 3) == 1)
        return a;
    if ((c & 3) == 0 && f == 4) { /* Zcb */
        unsigned op = c >> 10 & 7;

        if (op > 3)
            return a;
        a.len = op & 1 ? 2 : 1;
        a.write = op >= 2;
    } else {
        a.len = size[f];
        a.write = f >= 5;
    }
    a.read = a.len && !a.write;
    return a;
}

/* What the instruction at the pc is going to do. */
static struct access next_access(const struct proc_thread *t)
{
    struct access a = {0};
    uint16_t half[2] = {0, 0};
    uint32_t insn;

    if (proc_read_guest(&half[0], t->rv->pc, 2) < 0)
        return a;
    if ((half[0] & 3) != 3) {
        a = compressed_access(half[0]);
    } else if (proc_read_guest(&half[1], t->rv->pc + 2, 2) == 0) {
        insn = half[0] | (uint32_t)half[1] << 16;
        switch (insn & 0x7f) {
        case 0x03: case 0x07: a.read = true; break;
        case 0x23: case 0x27: a.write = true; break;
        case 0x2f:
            a.read = insn >> 27 != 3;  /* all but sc */
            a.write = insn >> 27 != 2; /* all but lr */
            break;
        case 0x0f:
            if ((insn >> 12 & 7) != 2 || insn >> 20 != 4)
                return a;
            a = (struct access){proc_fault_address(t) & ~(uint64_t)(RV64_CBO_BLOCK - 1),
                                RV64_CBO_BLOCK, false, true}; /* cbo.zero */
            return a;
        default: return a;
        }
        a.len = 1ull << (insn >> 12 & 3);
        if ((insn & 0x7f) == 0x2f && (insn >> 12 & 7) == 4)
            a.len = 16; /* amocas.q */
    }
    if (a.len)
        a.addr = proc_fault_address(t);
    return a;
}

/* The watchpoint that an access touches, or NULL. */
static const struct gdb_point *watch_hit(struct gdb *g, const struct access *a,
                                         struct gdb_point *hit)
{
    const struct gdb_point *found = NULL;

    pthread_mutex_lock(&g->points_lock);
    for (unsigned i = 0; i < g->npoints && !found; i++) {
        const struct gdb_point *b = &g->point[i];

        if (is_break(b) || !a->len || a->addr >= b->addr + b->len || b->addr >= a->addr + a->len)
            continue;
        if (b->type == GDB_AWATCH || (b->type == GDB_WATCH && a->write) ||
            (b->type == GDB_RWATCH && a->read)) {
            *hit = *b;
            found = hit;
        }
    }
    pthread_mutex_unlock(&g->points_lock);
    return found;
}

/* A watchpoint on writes whose memory is not what it was. */
static const struct gdb_point *watch_changed(struct gdb *g, struct gdb_point *hit)
{
    const struct gdb_point *found = NULL;

    pthread_mutex_lock(&g->points_lock);
    for (unsigned i = 0; i < g->npoints; i++) {
        struct gdb_point *b = &g->point[i];
        uint8_t now[sizeof b->old];
        size_t n = b->len < sizeof now ? b->len : sizeof now;

        if (b->type != GDB_WATCH || proc_read_guest(now, b->addr, n) < 0 || !memcmp(now, b->old, n))
            continue;
        memcpy(b->old, now, n);
        *hit = *b;
        found = hit;
    }
    pthread_mutex_unlock(&g->points_lock);
    return found;
}

/* ---- stopping -------------------------------------------------------- */

/* Tells the debugger and waits until it lets t go on. must: not if another
 * thread was first (then false). */
static bool report(struct proc_thread *t, const struct gdb_event *e, bool must)
{
    struct gdb *g = proc_gdb;
    uint64_t pc = t->rv->pc;

    pthread_mutex_lock(&g->lock);
    while (g->stopped && g->connected) {
        pthread_mutex_unlock(&g->lock);
        if (!must)
            return false;
        proc_debug_park(t);
        pthread_mutex_lock(&g->lock);
    }
    if (!g->connected) {
        pthread_mutex_unlock(&g->lock);
        return false;
    }
    t->debug.step = t->debug.stepped = 0;
    g->stopped = true;
    g->event = *e;
    g->event.tid = t->tid;
    atomic_fetch_or(&t->proc->debug, PROC_DEBUG_STOP);
    pthread_mutex_unlock(&g->lock);
    if (write(g->event_fd, &(uint64_t){1}, 8) < 0)
        base_bug(__FILE__, __LINE__, "eventfd: %s", strerror(errno));
    proc_debug_park(t);
    if (t->rv->pc != pc)
        t->restart = false; /* gdb sent it elsewhere */
    return true;
}

static void report_watch(struct proc_thread *t, const struct gdb_point *b)
{
    static const char *const names[] = {"swbreak", "hwbreak", "watch", "rwatch", "awatch"};

    report(t, &(struct gdb_event){.sig = SIGTRAP, .reason = names[b->type], .addr = b->addr}, true);
}

int proc_gdb_signal(struct proc_thread *t, siginfo_t *info)
{
    struct gdb *g = proc_gdb;
    int sig = info->si_signo, chosen;

    if (sig == t->debug.quiet) {
        t->debug.quiet = 0;
        return sig;
    }
    if (sig == SIGTRAP && info->si_code == TRAP_BRKPT && break_at(g, t->rv->pc)) {
        report(t, &(struct gdb_event){.sig = SIGTRAP, .reason = "swbreak"}, false);
        return 0; /* once more, as it may be gone now */
    }
    if (g->pass & proc_sigbit(sig))
        return sig;
    if (!report(t, &(struct gdb_event){.sig = sig}, true))
        return sig;
    chosen = t->debug.inject;
    t->debug.inject = 0;
    if (chosen && chosen != sig) {
        memset(info, 0, sizeof *info);
        info->si_signo = chosen;
        info->si_code = SI_USER;
    }
    return chosen;
}

/* ---- running --------------------------------------------------------- */

static enum jit_stop step_once(struct proc_thread *t)
{
    enum jit_stop stop;

    bypass = true;
    stop = jit_step(t->vcpu);
    bypass = false;
    return stop;
}

/* A vfork child runs the same code, but nobody watches it. */
static enum jit_stop run_unwatched(struct proc_thread *t)
{
    enum jit_stop stop = jit_run(t->vcpu);

    while (stop == JIT_STOP_TRAP && t->vcpu->stop.trap == IR_TRAP_BREAK &&
           break_at(proc_gdb, t->rv->pc)) {
        stop = step_once(t);
        if (stop == JIT_STOP_STEP)
            stop = jit_run(t->vcpu);
    }
    return stop;
}

static void inject(struct proc_thread *t)
{
    siginfo_t info;

    memset(&info, 0, sizeof info);
    info.si_signo = t->debug.quiet = t->debug.inject;
    info.si_code = SI_USER;
    info.si_pid = getpid();
    t->debug.inject = 0;
    proc_signal_post(t, info.si_signo, &info);
}

/* One instruction, with an eye on watchpoints; step: stop behind it. */
static bool run_step(struct proc_thread *t, bool step, enum jit_stop *stop)
{
    struct gdb *g = proc_gdb;
    struct gdb_point hit;
    struct access a = {0};

    if (g->nwatch)
        a = next_access(t);
    *stop = step_once(t);
    switch (*stop) {
    case JIT_STOP_POLL: return true; /* and the step is still to be done */
    case JIT_STOP_STEP: break;
    default:
        t->debug.step = 0;
        t->debug.stepped = step ? 1 : 2;
        return true;
    }
    t->debug.step = 0;
    if (a.len && watch_hit(g, &a, &hit)) {
        struct gdb_point ignored;

        watch_changed(g, &ignored);
        report_watch(t, &hit);
    } else if (step) {
        report(t, &(struct gdb_event){.sig = SIGTRAP}, false);
    }
    return false;
}

bool proc_gdb_run(struct proc_thread *t, enum jit_stop *stop)
{
    struct gdb *g = proc_gdb;
    struct gdb_point hit;

    if (t->shares_memory) {
        *stop = run_unwatched(t);
        return true;
    }
    if (t->debug.inject)
        inject(t);
    if (t->debug.stepped) { /* a system call, or another trap, is done */
        unsigned how = t->debug.stepped;

        t->debug.stepped = 0;
        if (g->nwatch && watch_changed(g, &hit))
            report_watch(t, &hit);
        else if (how == 1)
            report(t, &(struct gdb_event){.sig = SIGTRAP}, false);
        return false;
    }
    if (t->debug.step)
        return run_step(t, true, stop);
    if (g->nwatch) {
        if (break_at(g, t->rv->pc)) {
            report(t, &(struct gdb_event){.sig = SIGTRAP, .reason = "swbreak"}, false);
            return false;
        }
        return run_step(t, false, stop);
    }
    *stop = jit_run(t->vcpu);
    return true;
}

void proc_gdb_fork_child(struct proc_thread *t)
{
    struct gdb *g = proc_gdb;

    if (!g)
        return;
    proc_gdb = NULL;
    atomic_fetch_and(&t->proc->debug, ~(unsigned)PROC_DEBUG_GDB);
    pthread_mutex_init(&g->points_lock, NULL);
    proc_gdb_points_clear(g);
    close(g->fd);
    close(g->mem_fd);
    close(g->event_fd);
}
