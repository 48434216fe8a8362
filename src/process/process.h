/* process.h: what the process VM shows to the rest of the tree.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The process VM runs one Linux program made for riscv64 inside this process:
 * isomer_run() of include/isomer/isomer.h is its entry. Other folders (the
 * tests) see here only the parts that work on plain data: what a file is, and
 * the plan by which an ELF image is mapped.
 */
#ifndef ISOMER_PROCESS_H
#define ISOMER_PROCESS_H

#include "base/base.h"

/* ---- what a file is -------------------------------------------------- */

enum proc_file_kind {
    PROC_FILE_UNKNOWN,   /* no program of any known kind: ENOEXEC */
    PROC_FILE_RISCV64,   /* ELF64, little-endian, RISC-V: ET_EXEC or ET_DYN */
    PROC_FILE_HOST,      /* ELF of this machine (x86-64 or i386) */
    PROC_FILE_OTHER_ELF, /* ELF of another machine, or not a program */
    PROC_FILE_SCRIPT     /* starts with "#!" */
};
/* Judges by the first bytes of a file (PROC_HEAD_SIZE are enough). */
enum { PROC_HEAD_SIZE = 256 };
enum proc_file_kind proc_file_kind(const uint8_t *head, size_t len);
/* "x86-64", "ARM", ... of an ELF header; for messages. */
const char *proc_elf_machine_name(const uint8_t *head, size_t len);

/* Splits the "#!interpreter argument" line in head, in place (head must have
 * room for one more byte). *arg is NULL if there is none. False: malformed. */
bool proc_script_line(char *head, size_t len, char **interp, char **arg);

/* ---- ELF plan -------------------------------------------------------- */

/* Bounds on what a hostile file controls. */
enum {
    PROC_ELF_MAX_PHDRS = 256,      /* time and stack spent on headers */
    PROC_ELF_MAX_SEGMENTS = 64,    /* mappings made for one image */
    PROC_ELF_MAX_INTERP = 4096     /* length of the interpreter's path */
};
#define PROC_ELF_MAX_SPAN (1ull << 37) /* address space one image may claim */
#define PROC_PAGE 4096ull

struct proc_elf_segment {
    uint64_t vaddr, memsz;   /* as in the file */
    uint64_t offset, filesz; /* file part (may be empty) */
    uint64_t map_start;      /* page-aligned first address */
    uint64_t map_file_end;   /* page-aligned end of the file-backed part */
    uint64_t map_end;        /* page-aligned end of the whole */
    int prot;                /* PROT_* */
};
struct proc_elf_plan {
    bool is_dyn;             /* ET_DYN: may go anywhere */
    bool exec_stack;         /* PT_GNU_STACK with PF_X */
    uint64_t entry;          /* all addresses before the load bias is added */
    uint64_t low, high;      /* page-aligned span of all segments */
    uint64_t align;          /* largest PT_LOAD alignment, at least a page */
    uint64_t phdr;           /* address of the program headers, 0: not mapped */
    unsigned phnum;
    unsigned nseg;
    struct proc_elf_segment seg[PROC_ELF_MAX_SEGMENTS];
    char interp[PROC_ELF_MAX_INTERP]; /* "" if none */
};
/* Reads a file through callback read(ctx, buf, offset, n), which returns bytes
 * read. Checks every field; returns NULL and the plan, or why not. */
typedef long (*proc_elf_read)(void *ctx, void *buf, uint64_t offset, size_t n);
const char *proc_elf_plan(struct proc_elf_plan *plan, uint64_t file_size, proc_elf_read read,
                          void *ctx);

#endif
