/* opt_toy.h: a stack machine, as a second guest. SPDX-License-Identifier: Apache-2.0
 *
 * A program for it is an array of instructions of three bytes: operation, depth of the stack
 * before it, operand. Cells are 32 bits and are slots: eight variables v0.. and a stack t0..;
 * there is no register, no flag and no 64-bit number in it but the address of its memory.
 */
#ifndef ISOMER_TESTS_OPT_TOY_H
#define ISOMER_TESTS_OPT_TOY_H

#include "ir/ir.h"

enum toy_op {
    TOY_PUSH,  /* operand, sign-extended */
    TOY_LOAD,  /* variable */
    TOY_STORE, /* variable */
    TOY_ADD,
    TOY_SUB,
    TOY_MUL,
    TOY_LESS, /* signed: 1 or 0 */
    TOY_SAME,
    TOY_FETCH,  /* index -> memory[index & mask], words */
    TOY_KEEP,   /* index, value -> */
    TOY_JUMP,   /* to instruction operand */
    TOY_UNLESS, /* condition -> ; jumps if it is 0 */
    TOY_STOP,
    TOY_OPS
};
enum { TOY_LEN = 3, TOY_VARS = 8, TOY_STACK = 8, TOY_WORDS = 64, TOY_MAX = 256 };

struct toy_state {
    int32_t v[TOY_VARS], t[TOY_STACK];
    uint64_t memory; /* its address */
    uint64_t pc;
    struct ir_fpenv fpenv;
    struct ir_reservation res;
};
extern const struct ir_guest toy_guest;

/* The program, which ends with TOY_STOP, as one function of several blocks; f is new. */
void toy_form(struct ir_func *f, const uint8_t *program, unsigned count);

/* Runs it as the manual of the machine would say. */
void toy_run(struct toy_state *s, const uint8_t *program, int32_t memory[TOY_WORDS]);

#endif
