/* jit_gen.h: random guest programs for tests of code generators.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A guest whose instructions are IR drawn from a seed: the instruction at a pc is always the
 * same IR, whatever region it is lifted into, so that one instruction at a time in the
 * interpreter is the reference for regions of any shape in code.
 */
#ifndef ISOMER_TESTS_JIT_GEN_H
#define ISOMER_TESTS_JIT_GEN_H

#include "jit/jit.h"

enum { JG_INT = 24, JG_FP = 20, JG_SLOTS = JG_INT + JG_FP, JG_MAX = 40 };
/* Slots that only the generator writes: the loop counter, the number of jumps to addresses that
 * were computed. Both bound what a program can do: it ends. */
enum { JG_COUNTER = JG_INT - 1, JG_HOPS = JG_INT - 2, JG_FREE = JG_INT - 2 };

struct jg_state {
    uint64_t x[JG_INT], f[JG_FP], pc;
    struct ir_fpenv fp;
    struct ir_reservation res;
};

/* Private memory: two pages that can be used, one that can only be read, one that faults. */
enum { JG_PAGE = 4096, JG_RAM = 2 * JG_PAGE, JG_READ = JG_RAM, JG_NONE = JG_RAM + JG_PAGE };
#define JG_BUFFER 0x20000000ull

/* A program: either drawn from a seed, or IR text of guest instructions. */
struct jg_program {
    uint64_t seed;
    unsigned n;             /* instructions, four bytes each */
    uint64_t skip;          /* bit set of instructions that do nothing (shrinking) */
    int fault;              /* instruction whose access faults, or -1 */
    bool memory;            /* mostly loads, stores and atomics */
    struct ir_func *text;   /* or NULL */
};

/* What a run ended with. */
struct jg_result {
    struct jg_state state;
    int stop;               /* enum jit_stop */
    unsigned trap, info;
    int sig;
    uint64_t addr;
    uint8_t ram[JG_RAM];
};

/* The guest with so many pinned slots of either class asked for. */
struct ir_guest jg_guest(unsigned nhot_int, unsigned nhot_fp);

/* Maps the memory, installs fault handlers; once. */
void jg_init(void);

/* A machine that runs programs; cfg says the rest. NULL if the host cannot. */
struct jit_vcpu *jg_machine(const struct jit_config *cfg);
void jg_machine_free(struct jit_vcpu *v);

/* Runs p from a state drawn from its seed; each call uses new guest addresses if fresh,
 * which must be the same for two runs that are compared. */
void jg_run(struct jit_vcpu *v, const struct jg_program *p, uint64_t base, struct jg_result *r);

/* True if instruction k of p accesses memory. */
bool jg_is_memory(const struct jg_program *p, unsigned k);

/* What differs, as text; empty if nothing. */
void jg_compare(const struct jg_result *want, const struct jg_result *got, struct base_text *out);

/* The program's IR, one instruction at a time, as text that is a program again. */
void jg_print(const struct jg_program *p, struct base_text *out);

#endif
