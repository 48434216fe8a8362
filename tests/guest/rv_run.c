/* rv_run.c: runs a static test program on the IR interpreter. SPDX-License-Identifier: Apache-2.0
 *
 * Usage: rv_run [-n N] [-v] PROGRAM
 *
 * Just enough of a machine for the instruction tests without the process VM:
 * segments at their addresses, a stack, the system calls write and exit.
 * Regions are up to N guest instructions (default 1: the lifter alone; more:
 * the folding builder across instructions too). -v verifies each region.
 */
#include "rv_region.h"

#include <elf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STACK = 1 << 20, PAGE = 4096 };

static void die(const char *why, const char *what)
{
    fprintf(stderr, "rv_run: %s: %s\n", what, why);
    exit(125);
}

static uint64_t load(const char *path)
{
    FILE *in = fopen(path, "rb");
    Elf64_Ehdr eh;
    if (!in || fread(&eh, sizeof eh, 1, in) != 1 || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
        eh.e_machine != EM_RISCV || eh.e_type != ET_EXEC)
        die("not a static RISC-V program", path);
    for (unsigned i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;
        fseek(in, (long)(eh.e_phoff + i * sizeof ph), SEEK_SET);
        if (fread(&ph, sizeof ph, 1, in) != 1)
            die("truncated", path);
        if (ph.p_type != PT_LOAD || !ph.p_memsz)
            continue;
        uint64_t lo = BASE_ALIGN_DOWN(ph.p_vaddr, PAGE);
        uint64_t hi = BASE_ALIGN_UP(ph.p_vaddr + ph.p_memsz, PAGE);
        if (mmap((void *)lo, hi - lo, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            die("cannot map", path);
        fseek(in, (long)ph.p_offset, SEEK_SET);
        if (fread((void *)ph.p_vaddr, 1, ph.p_filesz, in) != ph.p_filesz)
            die("truncated", path);
    }
    fclose(in);
    return eh.e_entry;
}

static void system_call(struct rv_state *s)
{
    uint64_t *x = s->x;
    switch (x[RV_A7]) {
    case 64: x[RV_A0] = (uint64_t)write((int)x[RV_A0], (void *)x[RV_A1], x[RV_A2]); break;
    case 93:
    case 94: exit((int)x[RV_A0]);
    default: x[RV_A0] = (uint64_t)-38; break;
    }
    s->pc += 4;
}

int main(int argc, char **argv)
{
    unsigned max = 1;
    bool verify = false;
    for (int c; (c = getopt(argc, argv, "n:v")) != -1;) {
        if (c == 'n')
            max = (unsigned)atoi(optarg);
        else if (c == 'v')
            verify = true;
        else
            return 125;
    }
    if (optind >= argc)
        die("no program", "usage");
    struct rv_state s;
    struct ir_end end;
    uint64_t pc;
    struct ir_func *f = ir_func_new(&rv64_guest);
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    rv_state_init(&s, load(argv[optind]));
    s.x[RV_SP] = (uint64_t)(stack + STACK - 256);
    for (;;) {
        struct base_text error = {0};
        rv_region_form(f, &s, max, (const uint8_t *)s.pc, SIZE_MAX, &pc);
        if (verify && !ir_verify(f, &error)) {
            ir_print(f, &error);
            die(error.data, "verifier");
        }
        ir_interp(f, &s, NULL, NULL, &end);
        if (end.kind != IR_END_TRAP)
            continue;
        if (end.trap == IR_TRAP_SYSCALL)
            system_call(&s);
        else if (end.trap != IR_TRAP_FENCEI) {
            fprintf(stderr, "rv_run: trap %u at %lx, info %x\n", end.trap, (unsigned long)s.pc,
                    end.info);
            return 124;
        }
    }
}
