/* proc_elf.c: what a file is, and how an ELF image is to be mapped.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Nothing here touches memory other than its own: the file is read through a
 * callback and the result is a plan, so that fuzzers and tests reach every
 * line without mapping anything. A file may be hostile; each number in it is
 * checked before use, by a rule that is named where it is applied:
 *
 *   count of program headers   PROC_ELF_MAX_PHDRS     time, stack
 *   count of segments          PROC_ELF_MAX_SEGMENTS  mappings
 *   length of interpreter      PROC_ELF_MAX_INTERP    stack
 *   span of the image          PROC_ELF_MAX_SPAN      claims all addresses
 *   alignment                  PROC_ELF_MAX_ALIGN     bias out of the address space
 *   offset + size              in the file            SIGBUS while loading
 *   address + size             no wrap, ascending     overlap: later segment hides earlier
 *
 * Source: System V ABI chapter 5, RISC-V ELF psABI, Linux fs/binfmt_elf.c for
 * what a kernel accepts.
 */
#include "process/process.h"

#include <elf.h>
#include <sys/mman.h>

#ifndef EM_RISCV
#define EM_RISCV 243
#endif
#define PROC_ELF_MAX_ALIGN (1ull << 30)
#define PROC_ELF_TASK_SIZE (1ull << 38)
enum { ELF_RISCV_RVE = 8 };

/* ---- what a file is -------------------------------------------------- */

static bool elf_is(const uint8_t *h, size_t len)
{
    return len >= 20 && !memcmp(h, ELFMAG, SELFMAG);
}

static unsigned elf_machine(const uint8_t *h)
{
    return h[EI_DATA] == ELFDATA2MSB ? h[18] << 8 | h[19] : h[19] << 8 | h[18];
}

static unsigned elf_type(const uint8_t *h)
{
    return h[EI_DATA] == ELFDATA2MSB ? h[16] << 8 | h[17] : h[17] << 8 | h[16];
}

enum proc_file_kind proc_file_kind(const uint8_t *h, size_t len)
{
    if (len >= 2 && h[0] == '#' && h[1] == '!')
        return PROC_FILE_SCRIPT;
    if (!elf_is(h, len))
        return PROC_FILE_UNKNOWN;
    if (h[EI_DATA] != ELFDATA2LSB || (elf_type(h) != ET_EXEC && elf_type(h) != ET_DYN))
        return PROC_FILE_OTHER_ELF;
    if (elf_machine(h) == EM_RISCV && h[EI_CLASS] == ELFCLASS64)
        return PROC_FILE_RISCV64;
    if (elf_machine(h) == EM_X86_64 || elf_machine(h) == EM_386)
        return PROC_FILE_HOST;
    return PROC_FILE_OTHER_ELF;
}

const char *proc_elf_machine_name(const uint8_t *h, size_t len)
{
    static const struct {
        uint16_t machine;
        const char *name;
    } names[] = {
        {EM_386, "x86 (32 bits)"}, {EM_X86_64, "x86-64"}, {EM_ARM, "ARM"},
        {EM_AARCH64, "AArch64"},   {EM_PPC64, "POWER"},   {EM_PPC, "PowerPC"},
        {EM_S390, "S/390"},        {EM_MIPS, "MIPS"},     {EM_SPARCV9, "SPARC"},
        {258, "LoongArch"},        {EM_68K, "m68k"},      {EM_IA_64, "IA-64"},
    };

    if (!elf_is(h, len))
        return "no machine";
    if (elf_machine(h) == EM_RISCV)
        return h[EI_CLASS] == ELFCLASS64 ? "RISC-V 64" : "RISC-V 32";
    for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
        if (names[i].machine == elf_machine(h))
            return names[i].name;
    return "an unknown machine";
}

bool proc_script_line(char *head, size_t len, char **interp, char **arg)
{
    char *end, *p;

    *interp = *arg = NULL;
    if (len < 3 || head[0] != '#' || head[1] != '!')
        return false;
    head[len] = 0;
    end = memchr(head, '\n', len);
    if (!end && len >= PROC_HEAD_SIZE) {
        /* The line was cut off. As in Linux that is fine as long as the
         * interpreter's own path is whole: some white space follows it. */
        p = head + 2 + strspn(head + 2, " \t");
        if (!strpbrk(p, " \t"))
            return false;
    }
    if (!end)
        end = head + len;
    while (end > head + 2 && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = 0;
    p = head + 2 + strspn(head + 2, " \t");
    if (!*p)
        return false;
    *interp = p;
    p += strcspn(p, " \t");
    if (*p) {
        *p++ = 0;
        p += strspn(p, " \t");
        if (*p)
            *arg = p;
    }
    return true;
}

/* ---- the plan -------------------------------------------------------- */

static const char *elf_check_header(const Elf64_Ehdr *h, uint64_t file_size)
{
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB)
        return "not a 64-bit little-endian ELF file";
    if (h->e_machine != EM_RISCV)
        return "not made for RISC-V";
    if (h->e_ident[EI_VERSION] != EV_CURRENT)
        return "unknown ELF version";
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
        return "not an executable (an object file or a core dump?)";
    if (h->e_flags & ELF_RISCV_RVE)
        return "made for RV64E, which has half the registers";
    if (h->e_phentsize != sizeof(Elf64_Phdr))
        return "program headers of an unknown size";
    if (h->e_phnum == 0)
        return "no program headers";
    if (h->e_phnum > PROC_ELF_MAX_PHDRS)
        return "too many program headers";
    if (h->e_phoff > file_size || file_size - h->e_phoff < h->e_phnum * sizeof(Elf64_Phdr))
        return "program headers beyond the end of the file (truncated?)";
    if (h->e_phoff % 8)
        return "program headers are misaligned";
    if (h->e_entry >= PROC_ELF_TASK_SIZE)
        return "entry point outside the address space";
    return NULL;
}

static const char *elf_add_segment(struct proc_elf_plan *plan, const Elf64_Phdr *ph,
                                   uint64_t file_size)
{
    struct proc_elf_segment *s;

    if (ph->p_filesz > ph->p_memsz)
        return "a segment is larger in the file than in memory";
    if (!ph->p_memsz)
        return NULL;
    if (plan->nseg == PROC_ELF_MAX_SEGMENTS)
        return "too many segments";
    if (ph->p_vaddr >= PROC_ELF_TASK_SIZE || ph->p_memsz > PROC_ELF_TASK_SIZE - ph->p_vaddr)
        return "a segment lies outside the address space";
    if (ph->p_filesz && (ph->p_offset > file_size || ph->p_filesz > file_size - ph->p_offset))
        return "a segment reaches beyond the end of the file (truncated?)";
    if (ph->p_filesz && (ph->p_vaddr ^ ph->p_offset) % PROC_PAGE)
        return "a segment's address and file offset disagree within the page";
    if (ph->p_align > 1 && (ph->p_align & (ph->p_align - 1)))
        return "a segment's alignment is not a power of two";
    if (ph->p_align > PROC_ELF_MAX_ALIGN)
        return "a segment's alignment is too large";
    s = &plan->seg[plan->nseg];
    if (plan->nseg && ph->p_vaddr < s[-1].vaddr + s[-1].memsz)
        return "segments overlap or are out of order";
    s->vaddr = ph->p_vaddr;
    s->memsz = ph->p_memsz;
    s->offset = ph->p_offset;
    s->filesz = ph->p_filesz;
    s->map_start = BASE_ALIGN_DOWN(ph->p_vaddr, PROC_PAGE);
    s->map_end = BASE_ALIGN_UP(ph->p_vaddr + ph->p_memsz, PROC_PAGE);
    s->map_file_end =
        ph->p_filesz ? BASE_ALIGN_UP(ph->p_vaddr + ph->p_filesz, PROC_PAGE) : s->map_start;
    s->prot = (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
              (ph->p_flags & PF_X ? PROT_EXEC : 0);
    if (ph->p_align > plan->align)
        plan->align = ph->p_align;
    plan->nseg++;
    return NULL;
}

static const char *elf_read_interp(struct proc_elf_plan *plan, const Elf64_Phdr *ph,
                                   uint64_t file_size, proc_elf_read read, void *ctx)
{
    if (plan->interp[0])
        return NULL; /* as a kernel: the first one counts */
    if (ph->p_filesz < 2 || ph->p_filesz > sizeof plan->interp)
        return "the interpreter's path is empty or too long";
    if (ph->p_offset > file_size || ph->p_filesz > file_size - ph->p_offset)
        return "the interpreter's path lies beyond the end of the file (truncated?)";
    if (read(ctx, plan->interp, ph->p_offset, ph->p_filesz) != (long)ph->p_filesz)
        return "the interpreter's path cannot be read";
    if (plan->interp[ph->p_filesz - 1] || !plan->interp[0])
        return "the interpreter's path is not a string";
    return NULL;
}

/* Where the program headers are in memory: in the segment that has them. */
static uint64_t elf_phdr_address(const struct proc_elf_plan *plan, const Elf64_Ehdr *h)
{
    for (unsigned i = 0; i < plan->nseg; i++) {
        const struct proc_elf_segment *s = &plan->seg[i];

        if (h->e_phoff >= s->offset && h->e_phoff - s->offset < s->filesz)
            return s->vaddr + (h->e_phoff - s->offset);
    }
    return 0;
}

const char *proc_elf_plan(struct proc_elf_plan *plan, uint64_t file_size, proc_elf_read read,
                          void *ctx)
{
    Elf64_Phdr ph[PROC_ELF_MAX_PHDRS];
    Elf64_Ehdr h;
    const char *why = NULL;

    memset(plan, 0, offsetof(struct proc_elf_plan, seg));
    plan->interp[0] = 0;
    plan->align = PROC_PAGE;
    if (file_size < sizeof h || read(ctx, &h, 0, sizeof h) != (long)sizeof h)
        return "too short for an ELF header (truncated?)";
    if (memcmp(h.e_ident, ELFMAG, SELFMAG))
        return "not an ELF file";
    why = elf_check_header(&h, file_size);
    if (why)
        return why;
    if (read(ctx, ph, h.e_phoff, h.e_phnum * sizeof *ph) != (long)(h.e_phnum * sizeof *ph))
        return "the program headers cannot be read";
    for (unsigned i = 0; i < h.e_phnum && !why; i++) {
        if (ph[i].p_type == PT_LOAD)
            why = elf_add_segment(plan, &ph[i], file_size);
        else if (ph[i].p_type == PT_INTERP)
            why = elf_read_interp(plan, &ph[i], file_size, read, ctx);
        else if (ph[i].p_type == PT_GNU_STACK)
            plan->exec_stack = (ph[i].p_flags & PF_X) != 0;
    }
    if (why)
        return why;
    if (!plan->nseg)
        return "nothing to load in it";
    plan->low = plan->seg[0].map_start;
    plan->high = plan->seg[plan->nseg - 1].map_end;
    if (plan->high - plan->low > PROC_ELF_MAX_SPAN)
        return "its segments are too far apart";
    plan->is_dyn = h.e_type == ET_DYN;
    plan->entry = h.e_entry;
    plan->phnum = h.e_phnum;
    plan->phdr = elf_phdr_address(plan, &h);
    return NULL;
}
