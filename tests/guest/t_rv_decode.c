/* t_rv_decode.c: the generated decoder against its table. SPDX-License-Identifier: Apache-2.0
 *
 * The decoder is a tree of switches; here the same table is searched line by
 * line. Operands are checked against a second reading of the manual's figure
 * of immediate formats; illegal encodings that the manual names are listed.
 *
 * Usage: t_rv_decode [random words]
 */
#include "rv_insn.h"

#include <stdlib.h>

static const struct line {
    uint16_t op;
    const char *name;
    uint32_t mask, match;
    int has_rm;
} lines[] = {
#include "rv_table.gen.h"
};

static unsigned failures;

static void fail(const char *test, uint32_t w, const char *why)
{
    if (failures++ < 20)
        printf("not ok - %s: %08x: %s\n", test, w, why);
}

static uint16_t search(uint32_t w)
{
    for (size_t i = 0; i < BASE_ARRAY_SIZE(lines); i++) {
        const struct line *l = &lines[i];
        unsigned rm = w >> 12 & 7;
        if ((w & l->mask) == l->match)
            return l->has_rm && (rm == 5 || rm == 6) ? RV_ILLEGAL : l->op;
    }
    return RV_ILLEGAL;
}

static void check_word(uint32_t w)
{
    struct rv_insn in;
    memset(&in, 0xa5, sizeof in);
    rv_decode32(w, &in);
    uint16_t want = search(w);
    if (in.op != want)
        fail("tree", w, "another operation than the table's");
    else if (in.len != 4)
        fail("tree", w, "length");
    else if (in.rd != (w >> 7 & 31) || in.rs1 != (w >> 15 & 31) || in.rs2 != (w >> 20 & 31))
        fail("tree", w, "registers");
}

static void check_tree(uint64_t n)
{
    uint64_t seed = 42;
    for (uint64_t i = 0; i < n; i++)
        check_word((uint32_t)base_rand(&seed) | 3);
    /* words near each instruction: every single bit turned */
    for (size_t i = 0; i < BASE_ARRAY_SIZE(lines); i++)
        for (unsigned k = 0; k < 64; k++) {
            uint32_t w = ((uint32_t)base_rand(&seed) & ~lines[i].mask) | lines[i].match;
            check_word(w);
            for (unsigned b = 2; b < 32; b++)
                check_word(w ^ 1u << b);
        }
}

/* ---- immediates ------------------------------------------------------------- */

static void check_imm(const char *name, uint32_t w, uint16_t op, int32_t imm)
{
    struct rv_insn in;
    uint8_t b[4] = {(uint8_t)w, (uint8_t)(w >> 8), (uint8_t)(w >> 16), (uint8_t)(w >> 24)};
    unsigned len = rv_decode(b, 4, &in);
    if (len != ((w & 3) == 3 ? 4u : 2u) || in.op != op || in.imm != imm) {
        printf("# %s: op %u imm %d, want %u %d\n", name, in.op, in.imm, op, imm);
        fail("immediates", w, name);
    }
}

/* Bits scattered as the manual's figures number them. */
static uint32_t scatter(uint32_t imm, const char *bits, unsigned at)
{
    uint32_t w = 0;
    for (const char *p = bits; *p;) {
        char *end;
        unsigned b = (unsigned)strtoul(p, &end, 10);
        w |= (imm >> b & 1) << at--;
        p = *end ? end + 1 : end;
    }
    return w;
}

static void check_immediates(void)
{
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        uint32_t r = (uint32_t)base_rand(&seed);
        int32_t v = (int32_t)base_sext(r, 12);
        check_imm("I", 0x00000013 | scatter((uint32_t)v, "11,10,9,8,7,6,5,4,3,2,1,0", 31),
                  RV_ADDI, v);
        check_imm("S", 0x00000023 | scatter((uint32_t)v, "11,10,9,8,7,6,5", 31) |
                           scatter((uint32_t)v, "4,3,2,1,0", 11), RV_SB, v);
        v = (int32_t)base_sext(r, 13) & ~1;
        check_imm("B", 0x00000063 | scatter((uint32_t)v, "12,10,9,8,7,6,5", 31) |
                           scatter((uint32_t)v, "4,3,2,1,11", 11), RV_BEQ, v);
        v = (int32_t)(r & 0xfffff000);
        check_imm("U", 0x00000037 | (uint32_t)v, RV_LUI, v);
        v = (int32_t)base_sext(r, 21) & ~1;
        check_imm("J", 0x0000006f | scatter((uint32_t)v,
                  "20,10,9,8,7,6,5,4,3,2,1,11,19,18,17,16,15,14,13,12", 31), RV_JAL, v);
        /* 16 bits: the tables of the chapter "C" */
        v = (int32_t)base_sext(r, 12) & ~1;
        check_imm("c.j", 0xa001 | scatter((uint32_t)v, "11,4,9,8,10,6,7,3,2,1,5", 12), RV_JAL, v);
        v = (int32_t)base_sext(r, 9) & ~1;
        check_imm("c.beqz", 0xc001 | scatter((uint32_t)v, "8,4,3", 12) |
                                scatter((uint32_t)v, "7,6,2,1,5", 6), RV_BEQ, v);
        v = (int32_t)base_sext(r, 6);
        check_imm("c.li", 0x4501 | scatter((uint32_t)v, "5", 12) |
                              scatter((uint32_t)v, "4,3,2,1,0", 6), RV_ADDI, v);
        if (v)
            check_imm("c.lui", 0x6501 | scatter((uint32_t)v, "5", 12) |
                                   scatter((uint32_t)v, "4,3,2,1,0", 6), RV_LUI, v * 4096);
        v = (int32_t)base_sext(r, 10) & ~15;
        if (v)
            check_imm("c.addi16sp", 0x6101 | scatter((uint32_t)v, "9", 12) |
                                        scatter((uint32_t)v, "4,6,8,7,5", 6), RV_ADDI, v);
        v = (int32_t)(r & 0x3fc);
        if (v)
            check_imm("c.addi4spn", 0x0000 | scatter((uint32_t)v, "5,4,9,8,7,6,2,3", 12),
                      RV_ADDI, v);
        v = (int32_t)(r & 0x7c);
        check_imm("c.lw", 0x4000 | scatter((uint32_t)v, "5,4,3", 12) |
                              scatter((uint32_t)v, "2,6", 6), RV_LW, v);
        v = (int32_t)(r & 0xf8);
        check_imm("c.sd", 0xe000 | scatter((uint32_t)v, "5,4,3", 12) |
                              scatter((uint32_t)v, "7,6", 6), RV_SD, v);
        v = (int32_t)(r & 0xfc);
        check_imm("c.lwsp", 0x4502 | scatter((uint32_t)v, "5", 12) |
                                scatter((uint32_t)v, "4,3,2,7,6", 6), RV_LW, v);
        check_imm("c.swsp", 0xc002 | scatter((uint32_t)v, "5,4,3,2,7,6", 12), RV_SW, v);
        v = (int32_t)(r & 0x1f8);
        check_imm("c.ldsp", 0x6502 | scatter((uint32_t)v, "5", 12) |
                                scatter((uint32_t)v, "4,3,8,7,6", 6), RV_LD, v);
        check_imm("c.fsdsp", 0xa002 | scatter((uint32_t)v, "5,4,3,8,7,6", 12), RV_FSD, v);
    }
}

/* ---- illegal encodings ---------------------------------------------------------- */

static const struct {
    uint32_t w;
    const char *why;
} illegal[] = {
    {0x0000, "all zeros is illegal by definition"},
    {0x0004 & 0x1c, "c.addi4spn with a zero immediate is reserved"},
    {0x8c40, "quadrant 0, funct3 100, not Zcb"},
    {0x9c00, "quadrant 0, funct3 100, not Zcb"},
    {0x2001, "c.addiw to x0 is reserved"},
    {0x6101, "c.addi16sp with a zero immediate is reserved"},
    {0x6001, "c.lui with a zero immediate is reserved"},
    {0x6501, "c.lui with a zero immediate is reserved"},
    {0x9cf9, "reserved in Zcb"},
    {0x9cfd, "reserved in Zcb"},
    {0x4002, "c.lwsp to x0 is reserved"},
    {0x6002, "c.ldsp to x0 is reserved"},
    {0x8002, "c.jr x0 is reserved"},
    {0xffffffff, "all ones"},
    {0x0000001f, "longer than 32 bits"},
    {0x0000003f, "longer than 48 bits"},
    {0x00003003 | 7 << 12, "load, funct3 111"},
    {0x00004023, "store, funct3 100"},
    {0x00002063, "branch, funct3 010"},
    {0x02001013 | 1 << 26, "slli, shift of 64 and more"},
    {0x0200101b, "slliw, shift of 32 and more"},
    {0x4200501b, "sraiw, shift of 32 and more"},
    {0x00001067, "jalr, funct3 001"},
    {0x101024af | 1 << 20, "lr.w with rs2"},
    {0x0000502f, "amo, funct3 101"},
    {0x2800402f | 1 << 7, "amocas.q, odd rd"},
    {0x2810402f, "amocas.q, odd rs2"},
    {0x00005053, "fadd.s, rm 5"},
    {0x00006053, "fadd.s, rm 6"},
    {0x00005043, "fmadd.s, rm 5"},
    {0x06000053, "fadd.q: no quadruple precision"},
    {0x10500073, "wfi: privileged"},
    {0x10200073, "sret: privileged"},
    {0x30200073, "mret: privileged"},
    {0x12000073, "sfence.vma: privileged"},
    {0x0000200f, "cbo.inval is not for user mode"},
    {0x00004073, "hypervisor load"},
    {0x00000057, "vector"},
    {0x00000007, "vector load"},
    {0x0000006b, "reserved opcode"},
    {0x0000000b, "custom-0"},
};

static void check_illegal(void)
{
    for (size_t i = 0; i < BASE_ARRAY_SIZE(illegal); i++) {
        uint32_t w = illegal[i].w;
        uint8_t b[4] = {(uint8_t)w, (uint8_t)(w >> 8), (uint8_t)(w >> 16), (uint8_t)(w >> 24)};
        struct rv_insn in;
        if (!rv_decode(b, 4, &in) || in.op != RV_ILLEGAL)
            fail("illegal", w, illegal[i].why);
    }
}

/* Every 16-bit word decodes, and has text. */
static void check_narrow(void)
{
    unsigned legal = 0;
    for (uint32_t w = 0; w < 0x10000; w++) {
        if ((w & 3) == 3)
            continue;
        uint8_t b[2] = {(uint8_t)w, (uint8_t)(w >> 8)};
        struct rv_insn in;
        char text[64] = "";
        if (rv_decode(b, 2, &in) != 2 || in.len != 2 || in.op >= RV_OP_COUNT)
            fail("16 bits", w, "no decoding");
        legal += in.op != RV_ILLEGAL;
        if (rv_disasm(text, sizeof text, 0, b, 2) != 2 || !text[0])
            fail("16 bits", w, "no text");
        if ((in.op == RV_ILLEGAL) != (!strncmp(text, ".2byte", 6) || !strcmp(text, "c.unimp")))
            fail("16 bits", w, "text and decoding disagree");
        if (in.op != RV_ILLEGAL && (in.rd > 31 || in.rs1 > 31 || in.rs2 > 31))
            fail("16 bits", w, "register number");
    }
    printf("# %u of 49152 16-bit words are instructions\n", legal);
}

static void check_short(void)
{
    static const uint8_t b[4] = {0x13};
    struct rv_insn in;
    if (rv_decode(b, 0, &in) || rv_decode(b, 1, &in) || rv_decode(b, 2, &in) ||
        rv_decode(b, 3, &in))
        fail("cut off", b[0], "decoded");
    if (rv_decode(b, 4, &in) != 4)
        fail("cut off", b[0], "not decoded");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"immediates", check_immediates},
                 {"illegal", check_illegal},
                 {"16 bits", check_narrow},
                 {"cut off", check_short}};
    unsigned before = failures;
    check_tree(argc > 1 ? strtoull(argv[1], NULL, 0) : 2000000);
    if (failures == before)
        printf("ok - tree\n");
    for (size_t i = 0; i < BASE_ARRAY_SIZE(tests); i++) {
        before = failures;
        tests[i].run();
        if (failures == before)
            printf("ok - %s\n", tests[i].name);
    }
    return failures != 0;
}
