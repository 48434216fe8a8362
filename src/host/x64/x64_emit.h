/* x64_emit.h: x86-64 instruction encoder that writes backwards.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tier 1 emits from the last instruction to the first, so every function here
 * puts its instruction in front of what is there: *--p for each byte, the last
 * byte first. An instruction is at most 15 bytes; the caller keeps room.
 *
 * Source: Intel SDM volume 2. Operands are given as (reg, rm) of ModRM; an
 * opcode is OP(map, pp, byte) with map 0 (one byte), 1 (0f), 2 (0f 38),
 * 3 (0f 3a) and pp 0 (none), 1 (66), 2 (f3), 3 (f2).
 */
#ifndef ISOMER_X64_EMIT_H
#define ISOMER_X64_EMIT_H

#include "base/base.h"

enum x64_reg {
    RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15,
    XMM0, XMM1, XMM2, XMM3, XMM4, XMM5, XMM6, XMM7, XMM8, XMM9, XMM10, XMM11, XMM12, XMM13,
    XMM14, XMM15,
    X64_NREGS,
    X64_NONE = 255
};

/* Condition codes as in Jcc/SETcc/CMOVcc; cc ^ 1 negates. */
enum x64_cc {
    CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE,
    CC_LE, CC_G
};

#define X64_OP(map, pp, byte) ((map) << 16 | (pp) << 8 | (byte))

/* A memory operand: [base + index * 2^scale + disp]; base or index X64_NONE:
 * none. */
struct x64_mem {
    uint8_t base, index, scale;
    int32_t disp;
};

/* Whoever writes several bytes works on a copy (a register to the compiler: a
 * byte written might, for all it knows, be one of the pointer's). */
struct x64_out {
    uint8_t *p;
};

static inline void x64_b(struct x64_out *o, unsigned b) { *--o->p = (uint8_t)b; }
static inline void x64_d(struct x64_out *o, uint32_t v)
{
    o->p -= 4;
    memcpy(o->p, &v, 4);
}
static inline void x64_q(struct x64_out *o, uint64_t v)
{
    o->p -= 8;
    memcpy(o->p, &v, 8);
}

/* Opcode bytes and prefixes; rex is the low four bits W R X B, force a REX
 * prefix for byte registers sil.. by passing 0x40. */
static inline void x64_opcode(struct x64_out *o, uint32_t op, unsigned rex)
{
    static const uint8_t prefix[4] = {0, 0x66, 0xf3, 0xf2};

    x64_b(o, op & 0xff);
    switch (op >> 16) {
    case 1: x64_b(o, 0x0f); break;
    case 2: x64_b(o, 0x38); x64_b(o, 0x0f); break;
    case 3: x64_b(o, 0x3a); x64_b(o, 0x0f); break;
    }
    if (rex)
        x64_b(o, 0x40 | rex);
    if ((op >> 8) & 3)
        x64_b(o, prefix[(op >> 8) & 3]);
}

/* op reg, rm (registers) */
static inline void x64_rr(struct x64_out *o, uint32_t op, int w, unsigned reg, unsigned rm)
{
    struct x64_out l = *o;

    reg &= 15;
    rm &= 15;
    x64_b(&l, 0xc0 | (reg & 7) << 3 | (rm & 7));
    x64_opcode(&l, op, (unsigned)w << 3 | (reg >> 3) << 2 | rm >> 3);
    *o = l;
}
/* the same where rm or reg is a byte register: spl.. need a REX prefix */
static inline void x64_rr8(struct x64_out *o, uint32_t op, unsigned reg, unsigned rm)
{
    unsigned rex = (reg >> 3) << 2 | rm >> 3;

    x64_b(o, 0xc0 | (reg & 7) << 3 | (rm & 7));
    x64_opcode(o, op, rex ? rex : ((reg >= 4 || rm >= 4) ? 0x40 : 0));
}

/* ModRM, SIB and displacement of a memory operand. */
static inline void x64_modrm_mem(struct x64_out *o, unsigned reg, struct x64_mem m)
{
    unsigned mod;

    reg = (reg & 7) << 3;
    if (m.base == X64_NONE) { /* index only: always with disp32 */
        x64_d(o, (uint32_t)m.disp);
        x64_b(o, (unsigned)m.scale << 6 | (m.index & 7u) << 3 | RBP);
        x64_b(o, reg | 4);
        return;
    }
    if (m.disp == 0 && (m.base & 7) != RBP) {
        mod = 0;
    } else if (m.disp == (int8_t)m.disp) {
        mod = 0x40;
        x64_b(o, (unsigned)m.disp);
    } else {
        mod = 0x80;
        x64_d(o, (uint32_t)m.disp);
    }
    if (m.index != X64_NONE) {
        x64_b(o, (unsigned)m.scale << 6 | (m.index & 7u) << 3 | (m.base & 7u));
        x64_b(o, mod | reg | 4);
    } else if ((m.base & 7) == RSP) {
        x64_b(o, 0x24);
        x64_b(o, mod | reg | 4);
    } else {
        x64_b(o, mod | reg | (m.base & 7u));
    }
}
static inline unsigned x64_rex_mem(unsigned reg, struct x64_mem m)
{
    unsigned x = m.index != X64_NONE ? (unsigned)m.index >> 3 & 1 : 0;

    return ((reg & 15) >> 3) << 2 | x << 1 | (m.base != X64_NONE ? m.base >> 3 : 0);
}
/* op reg, [mem] */
static inline void x64_rm(struct x64_out *o, uint32_t op, int w, unsigned reg, struct x64_mem m)
{
    struct x64_out l = *o;

    x64_modrm_mem(&l, reg, m);
    x64_opcode(&l, op, (unsigned)w << 3 | x64_rex_mem(reg, m));
    *o = l;
}
/* op reg8, [mem] (stores of a byte register) */
static inline void x64_rm8(struct x64_out *o, uint32_t op, unsigned reg, struct x64_mem m)
{
    unsigned rex = x64_rex_mem(reg, m);

    x64_modrm_mem(o, reg, m);
    x64_opcode(o, op, rex ? rex : (reg >= 4 ? 0x40 : 0));
}

/* VEX: op reg, vvvv, rm */
static inline void x64_vex(struct x64_out *o, uint32_t op, int w, unsigned reg, unsigned x,
                           unsigned b, unsigned vvvv)
{
    unsigned map = op >> 16, pp = op >> 8 & 3;

    x64_b(o, op & 0xff);
    x64_b(o, (unsigned)w << 7 | (~vvvv & 15) << 3 | pp);
    x64_b(o, (reg & 8 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) | map);
    x64_b(o, 0xc4);
}
static inline void x64_vrr(struct x64_out *o, uint32_t op, int w, unsigned reg, unsigned vvvv,
                           unsigned rm)
{
    reg &= 15;
    rm &= 15;
    x64_b(o, 0xc0 | (reg & 7) << 3 | (rm & 7));
    if (op >> 16 == 1 && !w && !(rm & 8)) { /* two-byte form */
        x64_b(o, op & 0xff);
        x64_b(o, (reg & 8 ? 0 : 0x80) | (~vvvv & 15) << 3 | (op >> 8 & 3));
        x64_b(o, 0xc5);
        return;
    }
    x64_vex(o, op, w, reg, 0, rm & 8, vvvv);
}
static inline void x64_vrm(struct x64_out *o, uint32_t op, int w, unsigned reg, unsigned vvvv,
                           struct x64_mem m)
{
    struct x64_out l = *o;

    x64_modrm_mem(&l, reg, m);
    x64_vex(&l, op, w, reg & 15, m.index != X64_NONE && (m.index & 8), m.base & 8, vvvv);
    *o = l;
}

/* ---- common instructions --------------------------------------------- */

enum x64_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum x64_shift { SH_ROL, SH_ROR, SH_SHL = 4, SH_SHR, SH_SAR = 7 };

static inline void x64_mov(struct x64_out *o, int w, unsigned d, unsigned s)
{
    x64_rr(o, 0x8b, w, d, s);
}
/* Shortest move of a constant; keeps the flags. */
static inline void x64_mov_imm(struct x64_out *o, unsigned d, uint64_t v)
{
    struct x64_out l = *o;

    if (v <= UINT32_MAX) {
        x64_d(&l, (uint32_t)v);
        x64_b(&l, 0xb8 | (d & 7));
        if (d & 8)
            x64_b(&l, 0x41);
    } else if ((int64_t)v == (int32_t)v) {
        x64_d(&l, (uint32_t)v);
        x64_b(&l, 0xc0 | (d & 7));
        x64_opcode(&l, 0xc7, 8 | d >> 3);
    } else {
        x64_q(&l, v);
        x64_b(&l, 0xb8 | (d & 7));
        x64_b(&l, 0x48 | d >> 3);
    }
    *o = l;
}
static inline void x64_mov_imm64(struct x64_out *o, unsigned d, uint64_t v)
{
    x64_q(o, v);
    x64_b(o, 0xb8 | (d & 7));
    x64_b(o, 0x48 | d >> 3);
}
static inline void x64_alu_rr(struct x64_out *o, unsigned alu, int w, unsigned d, unsigned s)
{
    x64_rr(o, alu << 3 | 3, w, d, s);
}
static inline void x64_alu_rm(struct x64_out *o, unsigned alu, int w, unsigned d, struct x64_mem m)
{
    x64_rm(o, alu << 3 | 3, w, d, m);
}
static inline void x64_alu_ri(struct x64_out *o, unsigned alu, int w, unsigned d, int32_t imm)
{
    unsigned rex = (unsigned)w << 3 | d >> 3;

    if (imm == (int8_t)imm) {
        x64_b(o, (unsigned)imm);
        x64_b(o, 0xc0 | alu << 3 | (d & 7));
        x64_opcode(o, 0x83, rex);
    } else {
        x64_d(o, (uint32_t)imm);
        x64_b(o, 0xc0 | alu << 3 | (d & 7));
        x64_opcode(o, 0x81, rex);
    }
}
/* alu [mem], imm */
static inline void x64_alu_mi(struct x64_out *o, unsigned alu, int w, struct x64_mem m, int32_t imm)
{
    if (imm == (int8_t)imm) {
        x64_b(o, (unsigned)imm);
        x64_rm(o, 0x83, w, alu, m);
    } else {
        x64_d(o, (uint32_t)imm);
        x64_rm(o, 0x81, w, alu, m);
    }
}
static inline void x64_test_rr(struct x64_out *o, int w, unsigned a, unsigned b)
{
    x64_rr(o, 0x85, w, b, a);
}
static inline void x64_test_ri(struct x64_out *o, int w, unsigned a, int32_t imm)
{
    x64_d(o, (uint32_t)imm);
    x64_b(o, 0xc0 | (a & 7));
    x64_opcode(o, 0xf7, (unsigned)w << 3 | a >> 3);
}
static inline void x64_shift_i(struct x64_out *o, unsigned sh, int w, unsigned d, unsigned n)
{
    x64_b(o, n);
    x64_b(o, 0xc0 | sh << 3 | (d & 7));
    x64_opcode(o, 0xc1, (unsigned)w << 3 | d >> 3);
}
static inline void x64_lea(struct x64_out *o, int w, unsigned d, struct x64_mem m)
{
    x64_rm(o, 0x8d, w, d, m);
}
static inline void x64_setcc(struct x64_out *o, unsigned cc, unsigned d)
{
    x64_rr8(o, X64_OP(1, 0, 0x90 | cc), 0, d);
}
static inline void x64_movzx8(struct x64_out *o, unsigned d, unsigned s)
{
    x64_rr8(o, X64_OP(1, 0, 0xb6), d, s);
}
/* mov qword [m], imm32 sign-extended (w) or dword [m], imm32 */
static inline void x64_mov_mi(struct x64_out *o, int w, struct x64_mem m, int32_t imm)
{
    x64_d(o, (uint32_t)imm);
    x64_rm(o, 0xc7, w, 0, m);
}

#endif
