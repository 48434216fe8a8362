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

/* The bits of the instruction at bytes[0..avail); returns its length, 0 if it is
 * cut off. */
static inline unsigned rv_fetch(const uint8_t *bytes, size_t avail, uint32_t *word)
{
    uint32_t w = 0;
    if (base_likely(avail >= 4))
        memcpy(&w, bytes, 4);
    else if (avail >= 2)
        w = bytes[0] | (uint32_t)bytes[1] << 8;
    else
        return 0;
    bool full = (w & 3) == 3;
    *word = full ? w : w & 0xffff;
    return !full ? 2 : avail >= 4 ? 4 : 0;
}

static inline void rv_decode_word(uint32_t word, unsigned len, struct rv_insn *in)
{
    if (len == 2)
        rv_decode16(word, in);
    else
        rv_decode32(word, in);
}

/* Decodes bytes[0..avail); returns the length, 0 if the instruction is cut
 * off. What is not an instruction decodes to RV_ILLEGAL. */
static inline unsigned rv_decode(const uint8_t *bytes, size_t avail, struct rv_insn *in)
{
    uint32_t word;
    unsigned len = rv_fetch(bytes, avail, &word);
    if (len)
        rv_decode_word(word, len, in);
    return len;
}

/* Text in the style of objdump -M no-aliases; returns the length or 0. */
unsigned rv_disasm(char *text, size_t size, uint64_t pc, const uint8_t *bytes, size_t avail);
extern const char *const rv_xnames[32], *const rv_fnames[32];

#endif
