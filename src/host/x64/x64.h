/* x64.h: the x86-64 host. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_X64_H
#define ISOMER_X64_H

#include "jit/jit.h"

/* jit->cpu: what this processor has beyond x86-64-v2 (SSE4.2, POPCNT, CX16),
 * which is required. */
enum {
    X64_CPU_AVX = 1,
    X64_CPU_AVX2 = 2,
    X64_CPU_BMI1 = 4,   /* andn, tzcnt */
    X64_CPU_BMI2 = 8,   /* shlx, sarx, shrx, rorx, mulx */
    X64_CPU_LZCNT = 16,
    X64_CPU_FMA = 32,
    X64_CPU_F16C = 64,
    X64_CPU_PCLMUL = 128,
    X64_CPU_AVX512 = 256 /* F, DQ, VL, BW */
};

/* Index into jit_vcpu.host_const, 16-byte aligned masks for SSE operands. */
enum x64_const {
    X64_K_SIGN64, X64_K_SIGN32, X64_K_ABS64, X64_K_ABS32, X64_K_BOX32, X64_K_NAN64,
    X64_K_NAN32, X64_K_COUNT,
    /* byte tables: MXCSR flags to IR flags (64), back (32), IR rounding mode to
     * MXCSR.RC (8) */
    X64_K_FLAGS = 8, X64_K_UNFLAGS = 12, X64_K_ROUND = 14,
    X64_K_VERSIONS = 15 /* address of ir_res.version */
};

/* MXCSR flag bits (IE ZE OE UE PE; DE dropped) to IR flags, and back; IR
 * rounding mode to MXCSR.RC (0 where there is none). */
uint32_t x64_flags_from_mxcsr(uint32_t mxcsr);
uint32_t x64_flags_to_mxcsr(uint32_t flags);
uint32_t x64_round_to_mxcsr(uint32_t rm); /* 0..3, unshifted */

/* Tier 1: see x64_t1.c. Struct jit_host's compile. */
int x64_compile(struct jit *j, struct ir_func *f, struct jit_code *c);
/* Tier 2: see x64_t2.c. Struct jit_host's compile2. */
int x64_compile2(struct jit *j, void **scratch, struct ir_func *f, struct jit_code *c);
/* Fills the constants of a new vCPU. Struct jit_host's vcpu_init. */
void x64_vcpu_init(struct jit_vcpu *v);

#endif
