/* rv_insn.h: decoded instructions. Private to the guest. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_RV_INSN_H
#define ISOMER_RV_INSN_H

#include "base/base.h"

#include "rv_ops.gen.h" /* enum rv_op */

/* A 16-bit instruction decodes to the 32-bit one it stands for, so nothing
 * behind the decoder knows compressed forms. Fields that an instruction does
 * not have hold anything. */
struct rv_insn {
    uint16_t op;          /* enum rv_op */
    uint8_t rd, rs1, rs2; /* rs1 is the constant of csrrwi and fli */
    uint8_t rs3;
    uint8_t rm;           /* rounding mode; of atomics: aq in bit 1, rl in bit 0 */
    uint8_t len;
    int32_t imm;          /* of an illegal instruction: its bits */
};

void rv_decode32(uint32_t w, struct rv_insn *in);
void rv_decode16(uint32_t w, struct rv_insn *in);

/* Decodes bytes[0..avail); returns the length, 0 if the instruction is cut
 * off. What is not an instruction decodes to RV_ILLEGAL. */
static inline unsigned rv_decode(const uint8_t *bytes, size_t avail, struct rv_insn *in)
{
    if (avail < 2)
        return 0;
    uint32_t w = bytes[0] | (uint32_t)bytes[1] << 8;
    if ((w & 3) != 3) {
        rv_decode16(w, in);
        return 2;
    }
    if (avail < 4)
        return 0;
    w |= (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    rv_decode32(w, in);
    return 4;
}

/* Text in the style of objdump -M no-aliases; returns the length or 0. */
unsigned rv_disasm(char *text, size_t size, uint64_t pc, const uint8_t *bytes, size_t avail);
extern const char *const rv_xnames[32], *const rv_fnames[32];

#endif
