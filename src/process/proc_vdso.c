/* proc_vdso.c: the page of code that a kernel gives to every program.
 * SPDX-License-Identifier: Apache-2.0
 *
 * On riscv64 a signal handler returns through __vdso_rt_sigreturn: there is no
 * sa_restorer. The page is a complete shared object, so that C libraries find
 * the time functions by name (version LINUX_4.15), and debuggers and unwinders
 * the symbol they know a signal frame by. Each function is its system call.
 *
 * The image is put together here, at start, from the table of functions.
 */
#include "process/proc_priv.h"

#include <elf.h>
#include <sys/mman.h>

static const struct vdso_function {
    const char *name;
    uint16_t nr;
} vdso_functions[] = {
    {"__vdso_rt_sigreturn", 139},   {"__vdso_gettimeofday", 169}, {"__vdso_clock_gettime", 113},
    {"__vdso_clock_getres", 114},   {"__vdso_getcpu", 168},       {"__vdso_flush_icache", 259},
    {"__vdso_riscv_hwprobe", 258},
};
enum {
    VDSO_FUNCTIONS = BASE_ARRAY_SIZE(vdso_functions),
    VDSO_SYMBOLS = VDSO_FUNCTIONS + 2, /* none, the version's own */
    VDSO_CODE_SIZE = 16,               /* of each function */
    VDSO_STRINGS = 512
};
static const char vdso_soname[] = "linux-vdso.so.1", vdso_version[] = "LINUX_4.15";

/* Everything but the code; the code is behind it, in the same page. */
struct vdso_image {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[3];
    Elf64_Dyn dynamic[10];
    Elf64_Sym sym[VDSO_SYMBOLS];
    uint32_t hash[2 + 1 + VDSO_SYMBOLS]; /* one bucket: a list of all */
    Elf64_Versym versym[VDSO_SYMBOLS + VDSO_SYMBOLS % 2];
    struct {
        Elf64_Verdef def;
        Elf64_Verdaux aux;
    } verdef[2];
    char str[VDSO_STRINGS];
    _Alignas(16) uint32_t code[VDSO_FUNCTIONS][VDSO_CODE_SIZE / 4];
};
_Static_assert(sizeof(struct vdso_image) <= PROC_PAGE, "one page");
#define VDSO_AT(field) offsetof(struct vdso_image, field)

static uint32_t vdso_hash(const char *name)
{
    uint32_t h = 0;

    for (; *name; name++) {
        uint32_t g;

        h = (h << 4) + (uint8_t)*name;
        g = h & 0xf0000000;
        h ^= g >> 24;
        h &= ~g;
    }
    return h;
}

/* Adds a string; returns its offset. */
static uint32_t vdso_string(struct vdso_image *v, size_t *used, const char *text)
{
    size_t at = *used, n = strlen(text) + 1;

    BASE_ASSERT(at + n <= VDSO_STRINGS);
    memcpy(v->str + at, text, n);
    *used += n;
    return (uint32_t)at;
}

static void vdso_headers(struct vdso_image *v, size_t used, uint32_t soname)
{
    const Elf64_Dyn dynamic[] = {
        {DT_HASH, {VDSO_AT(hash)}},
        {DT_STRTAB, {VDSO_AT(str)}},
        {DT_SYMTAB, {VDSO_AT(sym)}},
        {DT_STRSZ, {used}},
        {DT_SYMENT, {sizeof(Elf64_Sym)}},
        {DT_SONAME, {soname}},
        {DT_VERSYM, {VDSO_AT(versym)}},
        {DT_VERDEF, {VDSO_AT(verdef)}},
        {DT_VERDEFNUM, {2}},
        {DT_NULL, {0}},
    };
    _Static_assert(sizeof dynamic == sizeof v->dynamic, "");

    memcpy(v->dynamic, dynamic, sizeof dynamic);
    memcpy(v->ehdr.e_ident, ELFMAG, SELFMAG);
    v->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    v->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
    v->ehdr.e_ident[EI_VERSION] = EV_CURRENT;
    v->ehdr.e_type = ET_DYN;
    v->ehdr.e_machine = 243;
    v->ehdr.e_version = EV_CURRENT;
    v->ehdr.e_phoff = VDSO_AT(phdr);
    v->ehdr.e_flags = 5; /* RVC, double-float ABI */
    v->ehdr.e_ehsize = sizeof v->ehdr;
    v->ehdr.e_phentsize = sizeof v->phdr[0];
    v->ehdr.e_phnum = 2;
    v->phdr[0] = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0, 0, 0, sizeof *v, sizeof *v, PROC_PAGE};
    v->phdr[1] = (Elf64_Phdr){PT_DYNAMIC, PF_R, VDSO_AT(dynamic), VDSO_AT(dynamic),
                              VDSO_AT(dynamic), sizeof v->dynamic, sizeof v->dynamic, 8};
}

static void vdso_versions(struct vdso_image *v, uint32_t soname, uint32_t version)
{
    for (unsigned i = 0; i < 2; i++) {
        v->verdef[i].def = (Elf64_Verdef){
            .vd_version = 1,
            .vd_flags = i ? 0 : VER_FLG_BASE,
            .vd_ndx = (Elf64_Half)(i + 1),
            .vd_cnt = 1,
            .vd_hash = vdso_hash(i ? vdso_version : vdso_soname),
            .vd_aux = sizeof(Elf64_Verdef),
            .vd_next = i ? 0 : sizeof v->verdef[0],
        };
        v->verdef[i].aux.vda_name = i ? version : soname;
    }
}

static void vdso_build(struct vdso_image *v)
{
    size_t used = 1;
    uint32_t soname, version;

    memset(v, 0, sizeof *v);
    soname = vdso_string(v, &used, vdso_soname);
    version = vdso_string(v, &used, vdso_version);
    v->hash[0] = 1; /* buckets */
    v->hash[1] = VDSO_SYMBOLS;
    for (unsigned i = 0; i < VDSO_FUNCTIONS; i++) {
        const struct vdso_function *f = &vdso_functions[i];

        v->code[i][0] = 0x00000893u | (uint32_t)f->nr << 20; /* li a7, nr */
        v->code[i][1] = 0x00000073;                          /* ecall */
        v->code[i][2] = 0x00008067;                          /* ret */
        v->code[i][3] = 0x00000013;                          /* nop */
        v->sym[i + 1] = (Elf64_Sym){
            .st_name = vdso_string(v, &used, f->name),
            .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
            .st_shndx = 1, /* any that is defined */
            .st_value = VDSO_AT(code) + i * VDSO_CODE_SIZE,
            .st_size = 12,
        };
        v->versym[i + 1] = 2;
        v->hash[3 + i + 1] = i + 2 < VDSO_SYMBOLS - 1 ? i + 2 : 0; /* chain */
    }
    v->sym[VDSO_SYMBOLS - 1] = (Elf64_Sym){
        .st_name = version, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), .st_shndx = SHN_ABS};
    v->versym[VDSO_SYMBOLS - 1] = 2;
    v->hash[2] = 1; /* head of the only bucket */
    vdso_headers(v, used, soname);
    vdso_versions(v, soname, version);
}

int proc_vdso_map(struct proc *p)
{
    struct vdso_image v;
    int64_t at = proc_mem_map(p, 0, PROC_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                              -1, 0, "[vdso]");

    vdso_build(&v);
    if (at < 0 || proc_write_guest((uint64_t)at, &v, sizeof v) < 0 ||
        proc_mem_protect(p, (uint64_t)at, PROC_PAGE, PROT_READ | PROT_EXEC) < 0) {
        base_error("no memory for the vDSO");
        return ISOMER_EXIT_CANNOT_RUN;
    }
    p->vdso = (uint64_t)at;
    p->sigtramp = (uint64_t)at + VDSO_AT(code);
    return 0;
}
