/* x64_host.c: the x86-64 host as the engine sees it; its CPU features.
 * SPDX-License-Identifier: Apache-2.0
 *
 * x86-64-v2 is required; everything else is found with CPUID at start and can be
 * taken away (--cpu-features=-avx2), which is how the fallbacks are tested. In a
 * virtual machine each CPUID is an exit to the hypervisor (some 30 us): the C
 * library has executed them all and has the results.
 */
#include "host/x64/x64.h"
#include "host/x64/x64_emit.h"
#include "host/x64/x64_stubs.h"

#include <cpuid.h>
#if defined __GLIBC__ && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define X64_GLIBC_CPUID
#endif

#ifdef X64_CAPSTONE
#include <capstone/capstone.h>
#include <dlfcn.h>
#endif

/* ---- features -------------------------------------------------------- */

enum { OS_NONE, OS_AVX = 0x06, OS_AVX512 = 0xe6 }; /* bits of XCR0 it needs */

static const struct feature {
    const char *name;
    uint32_t bit;
    uint32_t leaf;
    enum { R_EBX, R_ECX } reg;
    uint32_t mask;
    uint32_t xcr0;
    uint32_t needs;
} features[] = {
    {"avx", X64_CPU_AVX, 1, R_ECX, 1u << 28, OS_AVX, 0},
    {"avx2", X64_CPU_AVX2, 7, R_EBX, 1u << 5, OS_AVX, X64_CPU_AVX},
    {"bmi1", X64_CPU_BMI1, 7, R_EBX, 1u << 3, OS_NONE, 0},
    {"bmi2", X64_CPU_BMI2, 7, R_EBX, 1u << 8, OS_NONE, 0},
    {"lzcnt", X64_CPU_LZCNT, 0x80000001u, R_ECX, 1u << 5, OS_NONE, 0},
    {"fma", X64_CPU_FMA, 1, R_ECX, 1u << 12, OS_AVX, X64_CPU_AVX},
    {"f16c", X64_CPU_F16C, 1, R_ECX, 1u << 29, OS_AVX, X64_CPU_AVX},
    {"pclmul", X64_CPU_PCLMUL, 1, R_ECX, 1u << 1, OS_NONE, 0},
    /* F, DQ, BW, VL */
    {"avx512", X64_CPU_AVX512, 7, R_EBX, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, OS_AVX512,
     X64_CPU_AVX | X64_CPU_AVX2},
};

/* What "bmi" means is what everybody means. */
static bool same_name(const struct feature *f, const char *s, size_t n)
{
    if (n == 3 && memcmp(s, "bmi", 3) == 0)
        return f->bit == X64_CPU_BMI1;
    return strlen(f->name) == n && memcmp(f->name, s, n) == 0;
}

static uint32_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}

struct cpuid {
    uint32_t c1, b7, ce; /* leaf 1 ecx, leaf 7 ebx, leaf 0x80000001 ecx */
};

static struct cpuid cpuid(void)
{
    struct cpuid id = {0};
#ifdef X64_GLIBC_CPUID
    id.c1 = __x86_get_cpuid_feature_leaf(CPUID_INDEX_1)->cpuid_array[2];
    id.b7 = __x86_get_cpuid_feature_leaf(CPUID_INDEX_7)->cpuid_array[1];
    id.ce = __x86_get_cpuid_feature_leaf(CPUID_INDEX_80000001)->cpuid_array[2];
#else
    uint32_t a, b, c, d;
    __get_cpuid(1, &a, &b, &id.c1, &d);
    __get_cpuid_count(7, 0, &a, &id.b7, &c, &d);
    __get_cpuid(0x80000001u, &a, &b, &id.ce, &d);
#endif
    return id;
}

static uint32_t detect(bool *v2)
{
    /* SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT */
    const uint32_t need = 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23;
    const struct cpuid id = cpuid();
    uint32_t found = 0;
    *v2 = (id.c1 & need) == need;
    uint32_t os = id.c1 >> 27 & 1 ? xcr0() : 0;
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];
        uint32_t word = f->leaf == 1 ? id.c1 : f->leaf == 7 ? id.b7 : id.ce;
        if ((word & f->mask) == f->mask && (os & f->xcr0) == f->xcr0 &&
            (found & f->needs) == f->needs)
            found |= f->bit;
    }
    return found;
}

static int change(struct jit *j, const char *item, size_t n, uint32_t host)
{
    bool add = *item == '+';
    if (n && (*item == '+' || *item == '-')) {
        for (unsigned i = 0; i < BASE_ARRAY_SIZE(features); i++) {
            const struct feature *f = &features[i];
            if (!same_name(f, item + 1, n - 1))
                continue;
            if (add && !(host & f->bit)) {
                base_error("this processor has no %s: leave +%s out", f->name, f->name);
                return -1;
            }
            j->cpu = add ? j->cpu | f->bit | f->needs : j->cpu & ~f->bit;
            return 0;
        }
    }
    base_error("'%.*s' is not a CPU feature; known, after + or -: avx avx2 bmi1 bmi2 lzcnt fma "
               "f16c pclmul avx512, and 'all'",
               (int)n, item);
    return -1;
}

static int apply(struct jit *j, const char *text)
{
    uint32_t host = j->cpu;
    while (text && *text) {
        size_t n = strcspn(text, ",");
        if (n == 4 && memcmp(text, "-all", 4) == 0)
            j->cpu = 0;
        else if (n == 4 && memcmp(text, "+all", 4) == 0)
            j->cpu = host;
        else if (n && change(j, text, n, host) != 0)
            return -1;
        text += n + (text[n] == ',');
    }
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(features); i++)
        if ((j->cpu & features[i].needs) != features[i].needs)
            j->cpu &= ~features[i].bit;
    return 0;
}

/* ---- pins ------------------------------------------------------------ */

static const uint8_t pin_gprs[] = {RBX, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15};
static const uint8_t pin_fprs[] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static int init(struct jit *j, const char *text)
{
    const struct ir_guest *g = j->cfg.guest;
    bool v2;
    j->cpu = detect(&v2);
    if (!v2) {
        base_error("this processor is older than x86-64-v2 (SSE4.2, POPCNT, CMPXCHG16B); "
                   "use --interpreter");
        return j->cfg.interpreter ? 0 : -1;
    }
    for (unsigned i = 0; i < g->nhot_int && i < BASE_ARRAY_SIZE(pin_gprs); i++)
        j->pin_gpr[g->hot_int[i]] = (int8_t)pin_gprs[i];
    for (unsigned i = 0; i < g->nhot_fp && i < BASE_ARRAY_SIZE(pin_fprs); i++)
        j->pin_fpr[g->hot_fp[i]] = (int8_t)pin_fprs[i];
    return apply(j, text);
}

/* ---- disassembly for dumps ------------------------------------------- */

#ifdef X64_CAPSTONE
/* Loaded when the first dump asks for it: linking it would cost every start. */
static struct {
    bool tried;
    csh handle;
    cs_insn *insn;
    bool (*iter)(csh, const uint8_t **, size_t *, uint64_t *, cs_insn *);
} cap;

static void load_capstone(void)
{
    cap.tried = true;
    void *lib = dlopen("libcapstone.so." X64_CAPSTONE, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return;
    cs_err (*open)(cs_arch, cs_mode, csh *);
    cs_insn *(*alloc)(csh);
    *(void **)&open = dlsym(lib, "cs_open");
    *(void **)&alloc = dlsym(lib, "cs_malloc");
    *(void **)&cap.iter = dlsym(lib, "cs_disasm_iter");
    if (open && alloc && cap.iter && open(CS_ARCH_X86, CS_MODE_64, &cap.handle) == CS_ERR_OK)
        cap.insn = alloc(cap.handle);
}

/* What capstone does not know: comparisons and products with {sae}, of registers. */
static unsigned disasm_sae(char *text, size_t size, const uint8_t *code, size_t avail)
{
    char ty;
    int reg, rm;

    if (avail < 6 || code[0] != 0x62 || code[3] != 0x18 || code[5] < 0xc0)
        return 0;
    ty = code[2] & 0x80 ? 'd' : 's';
    reg = (code[5] >> 3 & 7) | (~code[1] >> 4 & 8);
    rm = (code[5] & 7) | (~code[1] >> 2 & 8);
    if (code[4] == 0x2e)
        snprintf(text, size, "vucomis%c xmm%d, xmm%d, {sae}", ty, reg, rm);
    else if (code[4] == 0x59)
        snprintf(text, size, "vmuls%c   xmm%d, xmm%d, xmm%d, {rn-sae}", ty, reg,
                 ~code[2] >> 3 & 15, rm);
    else
        return 0;
    return 6;
}

static unsigned disasm(char *text, size_t size, const uint8_t *code, size_t avail, uint64_t pc)
{
    unsigned sae = disasm_sae(text, size, code, avail);

    if (sae)
        return sae;
    if (!cap.tried)
        load_capstone();
    if (!cap.insn || !cap.iter(cap.handle, &code, &avail, &pc, cap.insn))
        return 0;
    snprintf(text, size, "%-8s%s%s", cap.insn->mnemonic, *cap.insn->op_str ? " " : "",
             cap.insn->op_str);
    return cap.insn->size;
}
#else
static unsigned disasm(char *text, size_t size, const uint8_t *code, size_t avail, uint64_t pc)
{
    return 0;
}
#endif

/* ---- the table ------------------------------------------------------- */

static const struct jit_host host = {
    .name = "x86-64",
    .init = init,
    .vcpu_init = x64_vcpu_init,
    .make_stubs = x64_make_stubs,
    .compile = x64_compile,
    .compile2 = x64_compile2,
    .enter = x64_enter,
    .patch = x64_patch,
    .link_stub = x64_link_stub,
    .patchable = x64_patchable,
    .link_stub_size = X64_LINK_STUB,
    .link_stub_size_jump = X64_LINK_STUB_JUMP,
    .link_stub_field = 1,
    .link_stub_skip = X64_LINK_SKIP,
    .regs_from_ucontext = x64_regs_from_ucontext,
    .pc_of_ucontext = x64_pc_of_ucontext,
    .sp_of_ucontext = x64_sp_of_ucontext,
    .set_ucontext = x64_set_ucontext,
    .fp_load = x64_fp_load,
    .fp_store = x64_fp_store,
    .abandon_code = x64_abandon_code,
    .disasm = disasm,
};

const struct jit_host *const jit_host_native = &host;
