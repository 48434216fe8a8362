/* k_vm_goto.c: a register machine with computed goto. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=interp quick=1000000 tiny=500 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum op { LI, MOV, ADD, ADDI, SUB, MULI, XOR, ANDI, SHRI, BLT, BNE, LD, ST, HALT };
struct ins {
    uint8_t op, d, a, b;
    int32_t imm;
};

/* clang-format off */
/* r0 counts to r1; r2 is a generator; array cells are counted and the largest moves up. */
static const struct ins program[] = {
    {LI, 0, 0, 0, 0},       /*  0 */
    {LI, 2, 0, 0, 12345},   /*  1 */
    {MULI, 2, 2, 0, 25173}, /*  2: loop */
    {ADDI, 2, 2, 0, 13849}, /*  3 */
    {ANDI, 2, 2, 0, 0xffff},/*  4 */
    {SHRI, 3, 2, 0, 8},     /*  5 */
    {LD, 4, 3, 0, 0},       /*  6 */
    {ADDI, 4, 4, 0, 1},     /*  7 */
    {ST, 4, 3, 0, 0},       /*  8 */
    {BLT, 0, 4, 5, 11},     /*  9: not above the largest so far */
    {MOV, 5, 4, 0, 0},      /* 10 */
    {ANDI, 6, 3, 0, 7},     /* 11 */
    {LI, 7, 0, 0, 0},       /* 12 */
    {ADD, 8, 8, 6, 0},      /* 13: inner loop, r6 + 1 turns */
    {XOR, 8, 8, 2, 0},      /* 14 */
    {SUB, 9, 8, 7, 0},      /* 15 */
    {ADDI, 7, 7, 0, 1},     /* 16 */
    {BLT, 0, 7, 6, 13},     /* 17 */
    {ADDI, 0, 0, 0, 1},     /* 18 */
    {BNE, 0, 0, 1, 2},      /* 19 */
    {HALT, 0, 0, 0, 0},     /* 20 */
};

/* clang-format on */
static uint64_t array[256];

#define NEXT                                                                                       \
    do {                                                                                           \
        i = pc++;                                                                                  \
        goto *label[i->op];                                                                        \
    } while (0)

__attribute__((noinline)) static void run(uint64_t *r)
{
    static const void *const label[] = {
        &&li,   &&mov,  &&add, &&addi, &&sub, &&muli, &&xor,
        &&andi, &&shri, &&blt, &&bne,  &&ld,  &&st,   &&halt,
    };
    const struct ins *pc = program, *i;

    NEXT;
    /* clang-format off */
li:   r[i->d] = (uint64_t)(int64_t)i->imm; NEXT;
mov:  r[i->d] = r[i->a]; NEXT;
add:  r[i->d] = r[i->a] + r[i->b]; NEXT;
addi: r[i->d] = r[i->a] + (uint64_t)(int64_t)i->imm; NEXT;
sub:  r[i->d] = r[i->a] - r[i->b]; NEXT;
muli: r[i->d] = r[i->a] * (uint64_t)(int64_t)i->imm; NEXT;
xor:  r[i->d] = r[i->a] ^ r[i->b]; NEXT;
andi: r[i->d] = r[i->a] & (uint64_t)(int64_t)i->imm; NEXT;
shri: r[i->d] = r[i->a] >> i->imm; NEXT;
blt:  if (r[i->a] < r[i->b]) pc = program + i->imm; NEXT;
bne:  if (r[i->a] != r[i->b]) pc = program + i->imm; NEXT;
ld:   r[i->d] = array[r[i->a] & 255]; NEXT;
st:   array[r[i->a] & 255] = r[i->d]; NEXT;
halt: return;
    /* clang-format on */
}

int main(int argc, char **argv)
{
    uint64_t r[16] = {0}, sum = 0;

    r[1] = argc > 1 ? strtoull(argv[1], 0, 10) : 5500000;
    run(r);
    for (int i = 0; i < 16; i++) sum = sum * 31 + r[i];
    for (int i = 0; i < 256; i++) sum = sum * 31 + array[i];
    printf("vm_goto %016llx\n", (unsigned long long)sum);
    return 0;
}
