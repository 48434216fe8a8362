/* fuzz_decoder.c: any bytes as RV64 code. SPDX-License-Identifier: Apache-2.0
 *
 * Every string of bytes must disassemble, lift to IR that the verifier accepts,
 * and mean the same as one region as it does instruction by instruction: the
 * folding builder, value forwarding and the state at faults are checked by the
 * interpreter on both. Memory is 4 KiB that repeats; every eighth page of the
 * address space refuses access.
 *
 * Input: one byte of settings, 8 of seed for the registers, then code.
 */
#include "fuzz.h"

#include "ir/ir_case.h"
#include "rv_insn.h"
#include "rv_region.h"

enum { CODE_MAX = 512, MEMORY = 4096, HEAD = 9 };
static const uint64_t CODE_AT = 0x10000;

struct machine {
    struct rv_state s;
    uint8_t memory[MEMORY];
    struct ir_end end;
};

/* ---- memory ------------------------------------------------------------------ */

static bool refuses(uint64_t addr)
{
    return (addr >> 12 & 7) == 3;
}

static bool mem_load(void *ctx, uint64_t addr, unsigned size, uint64_t *v)
{
    struct machine *m = ctx;
    *v = 0;
    for (unsigned i = 0; i < size; i++) {
        if (refuses(addr + i))
            return false;
        *v |= (uint64_t)m->memory[(addr + i) % MEMORY] << 8 * i;
    }
    return true;
}

static bool mem_store(void *ctx, uint64_t addr, unsigned size, uint64_t v)
{
    struct machine *m = ctx;
    if (refuses(addr) || refuses(addr + size - 1))
        return false;
    for (unsigned i = 0; i < size; i++)
        m->memory[(addr + i) % MEMORY] = (uint8_t)(v >> 8 * i);
    return true;
}

static bool mem_rmw(void *ctx, uint64_t addr, unsigned size, int op, uint64_t v,
                    uint64_t expected, uint64_t *old)
{
    if (!mem_load(ctx, addr, size, old))
        return false;
    if (op >= 0)
        return mem_store(ctx, addr, size, ir_case_amo(op, 8 * size, *old, v));
    return *old != expected || mem_store(ctx, addr, size, v);
}

/* ---- one input ----------------------------------------------------------------- */

/* Instructions whose result is not a function of the state, or which reach
 * memory other than through the callbacks. */
static bool runs(const uint8_t *code, size_t size)
{
    struct rv_insn in;
    for (size_t at = 0; at < size;) {
        unsigned len = rv_decode(code + at, size - at, &in);
        if (!len)
            return true;
        if (in.op == RV_AMOCAS_Q)
            return false;
        if (in.op >= RV_CSRRW && in.op <= RV_CSRRCI && in.imm >= 0xc00 && in.imm <= 0xc02)
            return false;
        at += len;
    }
    return true;
}

static void report(const struct ir_func *f, const char *why)
{
    struct base_text t = {0};
    if (f)
        ir_print(f, &t);
    fprintf(stderr, "%s\n%s", why, t.data ? t.data : "");
    abort();
}

static void verify(const struct ir_func *f)
{
    struct base_text error = {0};
    if (!ir_verify(f, &error))
        report(f, error.data);
    base_text_free(&error);
}

static void set_up(struct machine *m, uint8_t settings, uint64_t seed)
{
    static const uint64_t edge[] = {
        0, 1, ~0ull, 1ull << 63, ~0ull >> 1, 0x80000000, 0x7fffffff, 0xffffffff80000000,
        0x7ff0000000000000, 0xfff8000000000000, 0xffffffff7fc00000, 0xffffffff3f800000,
        0xffffffffffff3c00, 0x3ff0000000000000, 0xffffffff00000001, 0x0000000100000001};
    memset(m, 0, sizeof *m);
    rv_state_init(&m->s, CODE_AT);
    for (unsigned i = 1; i < 32; i++) {
        uint64_t r = base_rand(&seed);
        m->s.x[i] = r & 1 ? edge[r >> 1 & 15] : r & 2 ? r & ~0x3007ull : r;
    }
    for (unsigned i = 0; i < 32; i++) {
        uint64_t r = base_rand(&seed);
        m->s.f[i] = r & 1 ? edge[r >> 1 & 15] : r & 2 ? r | 0xffffffff00000000u : r;
    }
    for (unsigned i = 0; i < MEMORY; i += 8) {
        uint64_t r = base_rand(&seed);
        memcpy(m->memory + i, &r, 8);
    }
    m->s.fp.rm = settings & 7;
    m->s.fp.flags = settings >> 3 & 31;
}

static bool same(const struct machine *a, const struct machine *b)
{
    struct rv_state s = a->s, t = b->s;
    s.res.version = t.res.version = 0; /* of the process, not of the hart */
    return !memcmp(&s, &t, sizeof s) && !memcmp(a->memory, b->memory, MEMORY) &&
           a->end.kind == b->end.kind && a->end.trap == b->end.trap &&
           a->end.target == b->end.target && a->end.fault_addr == b->end.fault_addr;
}

static void show_difference(const struct machine *a, const struct machine *b)
{
    for (unsigned i = 0; i < 32; i++) {
        if (a->s.x[i] != b->s.x[i])
            fprintf(stderr, "%s: %lx, by single instructions %lx\n", rv_xnames[i],
                    (unsigned long)a->s.x[i], (unsigned long)b->s.x[i]);
        if (a->s.f[i] != b->s.f[i])
            fprintf(stderr, "%s: %lx, by single instructions %lx\n", rv_fnames[i],
                    (unsigned long)a->s.f[i], (unsigned long)b->s.f[i]);
    }
    fprintf(stderr, "end %u %u, pc %lx %lx, fcsr %x %x, memory %s\n", a->end.kind, b->end.kind,
            (unsigned long)a->s.pc, (unsigned long)b->s.pc, rv_fcsr(&a->s), rv_fcsr(&b->s),
            memcmp(a->memory, b->memory, MEMORY) ? "differs" : "the same");
}

static bool has_side(const struct ir_func *f)
{
    for (ir_ref r = IR_BIAS; r < f->nins; r++)
        if (f->ins[r].op == IR_SIDE)
            return true;
    return false;
}

static bool fuzz_one(const uint8_t *data, size_t size, struct base_text *why)
{
    static struct machine region, single;
    static struct ir_func *f, *g;
    uint64_t seed, end, unused;
    if (size < HEAD + 2)
        return true;
    memcpy(&seed, data + 1, 8);
    const uint8_t *code = data + HEAD;
    size = size - HEAD < CODE_MAX ? size - HEAD : CODE_MAX;
    if (!f) {
        f = ir_func_new(&rv64_guest);
        g = ir_func_new(&rv64_guest);
    }
    for (size_t at = 0; at < size;) {
        char text[128];
        unsigned len = rv_disasm(text, sizeof text, CODE_AT + at, code + at, size - at);
        if (len > 4 || (len && !text[0]))
            report(NULL, "no text");
        if (rv_disasm(text, 7, CODE_AT + at, code + at, size - at) != len || strlen(text) > 6)
            report(NULL, "text does not fit");
        if (!len)
            break;
        at += len;
    }
    set_up(&region, data[0], seed);
    single = region;
    if (!rv_region_form(f, &region.s, 64, code, size, &end))
        return true;
    verify(f);
    if (!runs(code, size))
        return true;
    const struct ir_mem mem1 = {&region, mem_load, mem_store, mem_rmw};
    const struct ir_mem mem2 = {&single, mem_load, mem_store, mem_rmw};
    ir_interp(f, &region.s, &mem1, NULL, &region.end);
    for (;;) {
        uint64_t pc = single.s.pc;
        size_t at = pc - CODE_AT;
        if (!rv_region_form(g, &single.s, 1, code + at, size - at, &unused))
            break;
        verify(g);
        ir_interp(g, &single.s, &mem2, NULL, &single.end);
        if (single.end.kind != IR_END_EXIT || single.s.pc != unused || single.s.pc == end)
            break;
        /* a taken branch to the next instruction leaves the region as well */
        if (has_side(g) && same(&region, &single))
            break;
    }
    if (!same(&region, &single)) {
        show_difference(&region, &single);
        report(f, "one region and single instructions differ");
    }
    return true;
}

/* ---- inputs ----------------------------------------------------------------------- */

/* Random words with legal opcodes often, registers of a few, addresses that
 * meet: what makes instructions depend on each other. */
static size_t fuzz_make(uint8_t *data, size_t unused, size_t max, uint64_t *seed)
{
    static const uint8_t opcodes[] = {0x03, 0x13, 0x13, 0x33, 0x33, 0x1b, 0x3b, 0x23, 0x2f, 0x53,
                                      0x53, 0x43, 0x07, 0x27, 0x63, 0x73, 0x37, 0x17};
    size_t n = HEAD + 4 + base_rand(seed) % 120;
    uint64_t few = base_rand(seed) & 0x0318c318; /* mask of register bits kept */
    bool narrow = base_rand(seed) & 1;
    for (size_t i = 0; i < HEAD; i++)
        data[i] = (uint8_t)base_rand(seed);
    for (size_t i = HEAD; i < n; i += 2) {
        uint64_t r = base_rand(seed);
        uint32_t w = (uint32_t)(r >> 16);
        if ((r & 3) && i + 4 <= n) {
            if (r & 4)
                w &= (uint32_t)few | ~0x01ff8f80u;
            if ((r >> 3 & 7) < 3)
                w &= ~0xfe000000u; /* the funct7 that most have */
            else if ((r >> 3 & 7) < 5)
                w = (w & ~0xfe000000u) | 0x20000000u << (r >> 6 & 2);
            w = (w & ~0x7fu) | opcodes[(r >> 8) % sizeof opcodes];
            memcpy(data + i, &w, 4);
            i += 2;
        } else {
            w = narrow ? (w & 0xfffc) | (r >> 60) % 3 : 0x4581; /* c.li a1,0 */
            memcpy(data + i, &w, 2);
        }
    }
    return n;
}

const struct fuzz_target fuzz_target = {
    .name = "decoder",
    .max = HEAD + CODE_MAX,
    .runs = 20000,
    .runs_long = 2000000,
    .one = fuzz_one,
    .make = fuzz_make,
};
