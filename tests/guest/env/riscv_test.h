/* riscv_test.h: environment of riscv-tests for user mode. SPDX-License-Identifier: Apache-2.0
 *
 * The tests come with environments for bare machines; this one makes each a
 * Linux program: exit status 0 if it passes, else the number of the case.
 */
#ifndef ISOMER_RISCV_TEST_H
#define ISOMER_RISCV_TEST_H

#define TESTNUM gp

/* Mnemonics that older assemblers lack. */
#ifdef ISOMER_OLD_ZICOND
.macro czero.eqz rd, rs1, rs2
    .insn r 0x33, 5, 7, \rd, \rs1, \rs2
.endm
.macro czero.nez rd, rs1, rs2
    .insn r 0x33, 7, 7, \rd, \rs1, \rs2
.endm
#endif

#define RVTEST_RV64U
#define RVTEST_RV64UF .macro init; fscsr x0; .endm

#define RVTEST_CODE_BEGIN                                                      \
    .text;                                                                     \
    .globl _start;                                                             \
_start:                                                                        \
    li TESTNUM, 0;

#define RVTEST_CODE_END unimp

#define RVTEST_PASS                                                            \
    fence;                                                                     \
    li a0, 0;                                                                  \
    li a7, 93;                                                                 \
    ecall

#define RVTEST_FAIL                                                            \
    fence;                                                                     \
    andi a0, TESTNUM, 127;                                                     \
    bnez a0, 90f;                                                              \
    li a0, 126;                                                                \
90: li a7, 93;                                                                 \
    ecall

#define EXTRA_DATA
#define RVTEST_DATA_BEGIN .align 4;
#define RVTEST_DATA_END

#endif
