/* t_jit.c: the engine on a toy guest: state maps, regions, calls, faults, polls,
 * changed code, flushes, threads. SPDX-License-Identifier: Apache-2.0
 *
 * The guest has eight i64 registers and four-byte instructions (op, d, s, i).
 * Every program runs in each mode: interpreter, compiled, lockstep, forced exits,
 * random registers, tiny code cache.
 */
#include "jit/jit_priv.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ADDI, ADD, MUL, LD, ST, BNE, JMP, CALL, RET, JR, TRAP, FENCEI, BAD };
enum { SP = 6, LINK = 7 };

struct toy {
    uint64_t r[8], pc;
    struct ir_fpenv fp;
    struct ir_reservation res;
};

static int failures;
#define CHECK(c, ...)                                  \
    do {                                               \
        if (!(c)) {                                    \
            printf("not ok - %s:%d %s: ", __func__, __LINE__, #c); \
            printf(__VA_ARGS__);                       \
            printf("\n");                              \
            failures++;                                \
        }                                              \
    } while (0)

/* ---- the guest ------------------------------------------------------- */

#define SLOT(n) {"r" #n, IR_I64, 8 * n}
static const struct ir_slot slots[] = {SLOT(0), SLOT(1), SLOT(2), SLOT(3),
                                       SLOT(4), SLOT(5), SLOT(6), SLOT(7)};
static const uint8_t hot[] = {0, 1, 6, 7, 2, 3}; /* 4 and 5 stay in memory */

static void trap(struct ir_func *f, unsigned code, uint64_t pc, struct ir_flow *w)
{
    ir_emit(f, IR_TRAP, IR_NONE, code, ir_kaddr(f, pc), 0, 0);
    w->kind = IR_FLOW_TRAP;
}

static bool lift(struct ir_func *f, uint64_t pc, const uint8_t *p, size_t avail, struct ir_flow *w)
{
    if (avail < 4)
        return false;
    unsigned d = p[1] & 7, s = p[2] & 7;
    int8_t imm = (int8_t)p[3];
    int16_t far = (int16_t)(p[2] | p[3] << 8);
    *w = (struct ir_flow){.kind = IR_FLOW_NEXT, .len = 4, .link_slot = -1};
    switch (p[0]) {
    case ADDI:
        ir_put(f, d, ir_op2(f, IR_ADD, IR_I64, ir_get(f, s), ir_ki(f, IR_I64, (uint64_t)imm)));
        break;
    case ADD:
        ir_put(f, d, ir_op2(f, IR_ADD, IR_I64, ir_get(f, d), ir_get(f, s)));
        break;
    case MUL:
        ir_put(f, d, ir_op2(f, IR_MUL, IR_I64, ir_get(f, d), ir_get(f, s)));
        break;
    case LD:
        ir_put(f, d, ir_ld(f, IR_I64, IR_AS_GUEST, ir_get(f, s), imm * 8));
        break;
    case ST:
        ir_st(f, IR_AS_GUEST, ir_get(f, s), imm * 8, ir_get(f, d));
        break;
    case BNE:
        w->kind = IR_FLOW_BRANCH;
        w->cond = ir_cmp(f, IR_NE, ir_get(f, d), ir_get(f, s));
        w->target = ir_kaddr(f, pc + (uint64_t)(imm * 4));
        break;
    case JMP:
        w->kind = IR_FLOW_JUMP;
        w->target = ir_kaddr(f, pc + (uint64_t)(far * 4));
        break;
    case CALL:
        w->kind = IR_FLOW_CALL;
        w->link_slot = LINK;
        w->target = ir_kaddr(f, pc + (uint64_t)(far * 4));
        break;
    case RET:
        w->kind = IR_FLOW_RET;
        w->target = ir_get(f, LINK);
        break;
    case JR:
        w->kind = IR_FLOW_JUMP;
        w->target = ir_get(f, s);
        break;
    case TRAP:
        trap(f, IR_TRAP_SYSCALL, pc, w);
        break;
    case FENCEI:
        trap(f, IR_TRAP_FENCEI, pc + 4, w);
        break;
    default:
        trap(f, IR_TRAP_ILLEGAL, pc, w);
    }
    return true;
}

static const struct ir_guest guest = {.name = "toy",
                                      .slots = slots,
                                      .nslots = 8,
                                      .hot_int = hot,
                                      .nhot_int = sizeof hot,
                                      .state_size = sizeof(struct toy),
                                      .pc_offset = offsetof(struct toy, pc),
                                      .fpenv_offset = offsetof(struct toy, fp),
                                      .res_offset = offsetof(struct toy, res),
                                      .max_len = 4,
                                      .lift = lift};

/* ---- running --------------------------------------------------------- */

enum { CODE = 1 << 20 };
static uint8_t *code; /* guest code, writable */

static size_t fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable)
{
    uint64_t at = pc - (uint64_t)(uintptr_t)code;
    if (at >= CODE)
        return 0;
    *bytes = code + at;
    *writable = true;
    return CODE - at;
}

static const struct mode {
    const char *name;
    bool interpreter, lockstep, deopt, random;
    size_t cache;
} modes[] = {{"interpreter", true, 0, 0, 0, 0},
             {"code", 0, 0, 0, 0, 0},
             {"lockstep", 0, true, 0, 0, 0},
             {"deopt", 0, 0, true, 0, 0},
             {"lockstep, deopt", 0, true, true, 0, 0},
             {"random", 0, 0, 0, true, 0},
             {"tiny cache", 0, 0, 0, 0, 32 << 10},
             {"tiny cache, deopt", 0, 0, true, 0, 32 << 10}};

static struct jit *new_jit(const struct mode *m)
{
    struct jit_config c = {.guest = &guest,
                           .interpreter = m->interpreter,
                           .lockstep = m->lockstep,
                           .deopt_always = m->deopt,
                           .random_ra = m->random,
                           .cache_size = m->cache,
                           .seed = 42,
                           .fetch = fetch};
    return jit_new(&c);
}

static struct toy *toy_of(struct jit_vcpu *v) { return (struct toy *)v->state; }

static _Thread_local struct jit_vcpu *running;

static void on_fault(int sig, siginfo_t *info, void *uc)
{
    if (!running || !jit_handle_fault(running, sig, info, uc)) {
        signal(sig, SIG_DFL);
    }
}

static void handlers(void)
{
    static _Thread_local char stack[65536];
    stack_t ss = {.ss_size = sizeof stack, .ss_sp = stack};
    sigaltstack(&ss, NULL);
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}

static unsigned at;
static void insn(unsigned op, unsigned d, unsigned s, int imm)
{
    uint8_t b[4] = {(uint8_t)op, (uint8_t)d, (uint8_t)s, (uint8_t)imm};
    memcpy(code + at, b, 4);
    at += 4;
}
static void far_insn(unsigned op, int words)
{
    insn(op, 0, (unsigned)words & 255, words >> 8);
}

static enum jit_stop run(struct jit_vcpu *v, unsigned start)
{
    running = v;
    toy_of(v)->pc = (uint64_t)(uintptr_t)code + start;
    return jit_run(v);
}

#define EXPECT_TRAP(v, stop, what)                                                   \
    CHECK(stop == JIT_STOP_TRAP && (v)->stop.trap == (what), "%s: stop %d trap %u", \
          m->name, stop, (v)->stop.trap)

/* ---- tests ----------------------------------------------------------- */

static void t_maps(void)
{
    struct jit j = {.cfg.guest = &guest};
    struct jit_code c = {0};
    struct jit_regs regs = {0};
    uint64_t spill[JIT_SPILLS] = {0};
    struct toy s = {.r = {100, 101, 102, 103, 104, 105, 106, 107}};
    memset(j.pin_gpr, -1, sizeof j.pin_gpr);
    memset(j.pin_fpr, -1, sizeof j.pin_fpr);
    for (unsigned i = 0; i < 4; i++)
        j.pin_gpr[i] = (int8_t)(i + 8);
    for (unsigned i = 0; i < 16; i++)
        regs.gpr[i] = 0xf00000000ull + i;
    regs.fpr[9] = 0x7ff4000000000001;
    spill[63] = 0x80000001;
    jit_map_begin(&c, 0x10000);
    CHECK(jit_map_end(&c) == 0, "number");
    jit_map_begin(&c, 0xfff0);
    jit_map_add(&c, 0, JIT_LOC_STATE, JIT_HOW_COPY, 0);
    jit_map_add(&c, 1, JIT_LOC_CONST, JIT_HOW_COPY, 0x8000000000000000);
    jit_map_add(&c, 4, JIT_LOC_SPILL, JIT_HOW_SEXT32, 63);
    jit_map_add(&c, 5, JIT_LOC_FPR, JIT_HOW_CANON64, 9);
    jit_map_add(&c, 6, JIT_LOC_GPR, JIT_HOW_ZEXT8, 8);
    jit_map_add(&c, 7, JIT_LOC_GPR, JIT_HOW_BOX32, 10);
    jit_map_add(&c, 2, JIT_LOC_STATE, JIT_HOW_COPY, 3); /* though 3 is overwritten */
    jit_map_add(&c, 3, JIT_LOC_STATE, JIT_HOW_COPY, 2);
    CHECK(jit_map_end(&c) == 1, "number");
    struct jit_maps maps = {c.map_bytes.data, c.map_start.data, (uint32_t)c.map_start.len};
    CHECK(jit_map_pc(&maps, 1) == 0xfff0 && jit_map_pc(&maps, 0) == 0x10000, "pc");
    CHECK(jit_map_apply(&j, &maps, 1, &regs, spill, &s) == 0xfff0 && s.pc == 0xfff0, "pc");
    static const uint64_t want[8] = {100, 0x8000000000000000, 103, 102,
                                     (uint64_t)-0x7fffffff, 0x7ff8000000000000, 8,
                                     0xffffffff0000000a};
    for (unsigned i = 0; i < 8; i++)
        CHECK(s.r[i] == want[i], "slot %u: %llx", i, (unsigned long long)s.r[i]);
    base_vec_free(&c.map_bytes);
    base_vec_free(&c.map_start);
}

/* r0 = sum of 1..1000 */
static void t_loop(const struct mode *m)
{
    struct jit *j = new_jit(m);
    struct jit_vcpu *v = jit_vcpu_new(j);
    at = 0;
    insn(ADD, 0, 1, 0);
    insn(ADDI, 1, 1, -1);
    insn(BNE, 1, 2, -2);
    insn(TRAP, 0, 0, 0);
    toy_of(v)->r[1] = 1000;
    enum jit_stop stop = run(v, 0);
    EXPECT_TRAP(v, stop, IR_TRAP_SYSCALL);
    CHECK(toy_of(v)->r[0] == 500500, "%s: %llu", m->name, (unsigned long long)toy_of(v)->r[0]);
    CHECK(toy_of(v)->pc == (uint64_t)(uintptr_t)code + 12, "%s: pc", m->name);
    jit_free(j);
}

/* f(n): r1 = n; r0 += 1 in each call; deeper than the shadow stack */
static void t_calls(const struct mode *m)
{
    struct jit *j = new_jit(m);
    struct jit_vcpu *v = jit_vcpu_new(j);
    uint64_t depth = m->lockstep || m->interpreter || m->deopt ? 3000 : 300000;
    size_t size = (depth + 16) * 8;
    char *stack = malloc(size);
    at = 0;
    far_insn(CALL, 2); /* 0 */
    insn(TRAP, 0, 0, 0);
    insn(ADDI, 0, 0, 1); /* 8: f */
    insn(ADDI, 1, 1, -1);
    insn(ADDI, 6, 6, -8);
    insn(ST, 7, 6, 0);
    insn(BNE, 1, 2, 2);
    far_insn(JMP, 2);
    far_insn(CALL, -6);
    insn(LD, 7, 6, 0);
    insn(ADDI, 6, 6, 8);
    insn(ADDI, 3, 3, 2);
    insn(RET, 0, 0, 0);
    for (unsigned again = 0; again < 2; again++) {
        toy_of(v)->r[6] = (uint64_t)(uintptr_t)(stack + size);
        toy_of(v)->r[1] = depth;
        toy_of(v)->r[0] = toy_of(v)->r[3] = 0;
        enum jit_stop stop = run(v, 0);
        EXPECT_TRAP(v, stop, IR_TRAP_SYSCALL);
        CHECK(toy_of(v)->r[0] == depth && toy_of(v)->r[3] == 2 * depth, "%s: %llu %llu", m->name,
              (unsigned long long)toy_of(v)->r[0], (unsigned long long)toy_of(v)->r[3]);
        CHECK(toy_of(v)->r[6] == (uint64_t)(uintptr_t)(stack + size), "%s: sp", m->name);
    }
    free(stack);
    jit_free(j);
}

static void t_fault(const struct mode *m)
{
    struct jit *j = new_jit(m);
    struct jit_vcpu *v = jit_vcpu_new(j);
    uint64_t word = 7;
    at = 0;
    insn(ADDI, 0, 0, 1);
    insn(ADDI, 5, 0, 5);
    insn(LD, 1, 3, 0);
    insn(ADDI, 0, 0, 2);
    insn(ST, 0, 4, 1); /* faults */
    insn(ADDI, 0, 0, 4);
    insn(TRAP, 0, 0, 0);
    for (unsigned again = 0; again < 100; again++) {
        struct toy *t = toy_of(v);
        memset(t->r, 0, sizeof t->r);
        t->r[3] = (uint64_t)(uintptr_t)&word;
        t->r[4] = 4096;
        enum jit_stop stop = run(v, 0);
        CHECK(stop == JIT_STOP_FAULT && v->stop.sig == SIGSEGV && v->stop.addr == 4104,
              "%s: stop %d addr %llx", m->name, stop, (unsigned long long)v->stop.addr);
        CHECK(t->pc == (uint64_t)(uintptr_t)code + 16 && t->r[0] == 3 && t->r[5] == 6 &&
                  t->r[1] == 7,
              "%s: %llx %llu %llu", m->name, (unsigned long long)t->pc - (uintptr_t)code,
              (unsigned long long)t->r[0], (unsigned long long)t->r[5]);
    }
    /* nothing to fetch */
    toy_of(v)->pc = 0;
    enum jit_stop stop = jit_run(v);
    EXPECT_TRAP(v, stop, IR_TRAP_FETCH);
    CHECK(toy_of(v)->pc == 0, "%s: pc", m->name);
    /* by an indirect jump, twice: null is no entry of the lookup table */
    at = 64;
    insn(JR, 0, 0, 0);
    for (unsigned again = 0; again < 2; again++) {
        toy_of(v)->r[0] = 0;
        stop = run(v, 64);
        EXPECT_TRAP(v, stop, IR_TRAP_FETCH);
        CHECK(toy_of(v)->pc == 0, "%s: pc", m->name);
    }
    jit_free(j);
}

/* Code that is rewritten: seen after FENCEI or jit_code_changed, not before. */
static void t_change(const struct mode *m)
{
    struct jit *j = new_jit(m);
    struct jit_vcpu *v = jit_vcpu_new(j);
    at = 0;
    far_insn(CALL, 4);
    insn(FENCEI, 0, 0, 0);
    far_insn(CALL, 2);
    insn(TRAP, 0, 0, 0);
    insn(ADDI, 0, 0, 1); /* 16 */
    insn(RET, 0, 0, 0);
    for (int i = 1; i < 20; i++) {
        code[16 + 3] = (uint8_t)i;
        if (i & 1)
            jit_code_changed(j, (uint64_t)(uintptr_t)code + 16, 4);
        else
            jit_invalidate(j, (uint64_t)(uintptr_t)code + 16, 1);
        toy_of(v)->r[0] = 0;
        enum jit_stop stop = run(v, 0);
        EXPECT_TRAP(v, stop, IR_TRAP_SYSCALL);
        CHECK(toy_of(v)->r[0] == 2u * (unsigned)i, "%s: %d: %llu", m->name, i,
              (unsigned long long)toy_of(v)->r[0]);
    }
    /* FENCEI alone: rewritten by the guest itself */
    at = 64;
    far_insn(CALL, 5); /* 64 -> 84 */
    insn(ST, 5, 4, 0);
    insn(FENCEI, 0, 0, 0);
    far_insn(CALL, 2);
    insn(TRAP, 0, 0, 0);
    at = 84;
    insn(ADDI, 0, 0, 1);
    insn(RET, 0, 0, 0);
    uint64_t word;
    memcpy(&word, code + 84, 8);
    struct toy *t = toy_of(v);
    t->r[4] = (uint64_t)(uintptr_t)code + 84;
    t->r[5] = (word & ~0xff000000ull) | 10 << 24;
    t->r[0] = 0;
    enum jit_stop stop = run(v, 64);
    EXPECT_TRAP(v, stop, IR_TRAP_SYSCALL);
    CHECK(t->r[0] == 11, "%s: %llu", m->name, (unsigned long long)t->r[0]);
    jit_free(j);
}

/* Thousands of regions in a chain, run twice: flushes when the cache is small. */
static void make_chain(unsigned n)
{
    at = 4096;
    for (unsigned i = 0; i < n; i++) {
        insn(ADDI, 0, 0, 1);
        insn(ADDI, 5, 5, 3);
        insn(BNE, 5, 0, 2);
        insn(ADDI, 0, 0, 100);
        far_insn(CALL, 1);
    }
    insn(BNE, 1, 2, 2);
    insn(TRAP, 0, 0, 0);
    insn(ADDI, 1, 1, -1);
    insn(JR, 0, 3, 0);
}

static void t_chain(const struct mode *m)
{
    struct jit *j = new_jit(m);
    struct jit_vcpu *v = jit_vcpu_new(j);
    struct toy *t = toy_of(v);
    make_chain(3000);
    t->r[5] = 1;
    t->r[1] = 3;
    t->r[3] = (uint64_t)(uintptr_t)code + 4096;
    enum jit_stop stop = run(v, 4096);
    EXPECT_TRAP(v, stop, IR_TRAP_SYSCALL);
    CHECK(t->r[0] == 12000 && t->r[5] == 36001, "%s: %llu %llu", m->name,
          (unsigned long long)t->r[0], (unsigned long long)t->r[5]);
    CHECK(m->cache == 0 || j->p->compiles == false || j->stats.flushes > 2, "%s: %llu flushes",
          m->name, (unsigned long long)j->stats.flushes);
    jit_free(j);
}

/* Several threads in one VM, and polls. */
static void *thread_main(void *arg)
{
    struct jit_vcpu *v = arg;
    handlers();
    toy_of(v)->r[5] = 1;
    toy_of(v)->r[1] = 20;
    toy_of(v)->r[3] = (uint64_t)(uintptr_t)code + 4096;
    enum jit_stop stop = run(v, 4096);
    bool ok = stop == JIT_STOP_TRAP && toy_of(v)->r[0] == 21 * 700;
    stop = run(v, 0); /* for ever, until polled */
    ok = ok && stop == JIT_STOP_POLL && (v->poll & 1) == 0;
    return (void *)(uintptr_t)ok;
}

static void t_threads(const struct mode *m)
{
    struct jit *j = new_jit(m);
    pthread_t id[4];
    struct jit_vcpu *v[4];
    make_chain(700);
    at = 0;
    insn(ADDI, 0, 0, 1);
    far_insn(JMP, -1);
    for (unsigned i = 0; i < 4; i++) {
        v[i] = jit_vcpu_new(j);
        pthread_create(&id[i], NULL, thread_main, v[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        void *ok;
        while (*(volatile uint64_t *)&toy_of(v[i])->pc < (uintptr_t)code ||
               *(volatile uint64_t *)&toy_of(v[i])->pc >= (uintptr_t)code + 64) {
            usleep(1000);
            if (!__atomic_load_n(&v[i]->in_code, __ATOMIC_SEQ_CST))
                continue;
            jit_code_changed(j, 0, UINT64_MAX);
        }
        usleep(2000);
        jit_poll_request(v[i]);
        pthread_join(id[i], &ok);
        CHECK(ok, "%s: thread %u: r0 %llu", m->name, i, (unsigned long long)toy_of(v[i])->r[0]);
    }
    jit_free(j);
}

/* Parent and child go on with code of their own after a fork. */
static void t_fork(const struct mode *m)
{
    struct jit *j = new_jit(m);
    struct jit_vcpu *v = jit_vcpu_new(j);
    struct toy *t = toy_of(v);
    make_chain(100);
    t->r[5] = 1;
    t->r[3] = (uint64_t)(uintptr_t)code + 4096;
    run(v, 4096);
    for (unsigned round = 0; round < 3; round++) {
        jit_fork_prepare(j);
        pid_t child = fork();
        if (child == 0) {
            jit_fork_child(j, v);
            if (round == 2)
                jit_detach(j), jit_attach(j, v);
        } else {
            jit_fork_parent(j);
        }
        make_chain(child ? 200 : 300);
        jit_code_changed(j, 0, UINT64_MAX);
        memset(t->r, 0, sizeof t->r);
        t->r[5] = 1;
        t->r[1] = 2;
        t->r[3] = (uint64_t)(uintptr_t)code + 4096;
        enum jit_stop stop = run(v, 4096);
        bool ok = stop == JIT_STOP_TRAP && t->r[0] == (child ? 600 : 900);
        if (child == 0)
            _exit(ok ? 0 : 1);
        int status = -1;
        waitpid(child, &status, 0);
        CHECK(ok, "%s: parent: %llu", m->name, (unsigned long long)t->r[0]);
        CHECK(status == 0, "%s: child: status %x", m->name, status);
    }
    jit_free(j);
}

int main(void)
{
    handlers();
    code = mmap(NULL, CODE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    t_maps();
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(modes); i++) {
        const struct mode *m = &modes[i];
        t_loop(m);
        t_calls(m);
        t_fault(m);
        t_change(m);
        t_chain(m);
        t_threads(m);
        t_fork(m);
        printf("%s - jit: %s\n", failures ? "not ok" : "ok", m->name);
    }
    return failures != 0;
}
