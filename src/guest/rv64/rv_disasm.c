/* rv_disasm.c: instruction text. SPDX-License-Identifier: Apache-2.0 */
#include "rv_insn.h"

enum { RM_RNE = 0, RM_DYN = 7 };

struct rv_form {
    const char *name;
    const char *operands;
};

#include "rv_names.gen.h"

const char *const rv_xnames[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
const char *const rv_fnames[32] = {
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6",  "ft7",  "fs0", "fs1", "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7",  "fs2",  "fs3", "fs4", "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};

static const char *const rm_names[8] = {"rne", "rtz", "rdn", "rup", "rmm", "?", "?", "dyn"};
static const char *const fli_names[32] = {
    "-1.0",  "min",   "1.52587890625e-05", "3.0517578125e-05", "0.00390625", "0.0078125",
    "0.0625", "0.125", "0.25", "0.3125", "0.375", "0.4375", "0.5", "0.625", "0.75", "0.875",
    "1.0", "1.25", "1.5", "1.75", "2.0", "2.5", "3.0", "4.0", "8.0", "16.0", "128.0", "256.0",
    "32768.0", "65536.0", "inf", "nan"};

static const char *csr_name(uint32_t csr)
{
    switch (csr) {
    case 0x001: return "fflags";
    case 0x002: return "frm";
    case 0x003: return "fcsr";
    case 0xc00: return "cycle";
    case 0xc01: return "time";
    case 0xc02: return "instret";
    }
    return NULL;
}

struct out {
    char *p;
    size_t left;
};

static void put(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(o->p, o->left, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n < o->left ? (size_t)n : o->left ? o->left - 1 : 0;
    o->p += used;
    o->left -= used;
}

static void put_set(struct out *o, unsigned set)
{
    if (!set) {
        put(o, "unknown");
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        if (set & 8u >> i)
            put(o, "%c", "iorw"[i]);
}

static void put_operand(struct out *o, char c, const struct rv_insn *in, uint64_t pc)
{
    switch (c) {
    case 'd': put(o, "%s", rv_xnames[in->rd]); break;
    case 's': put(o, "%s", rv_xnames[in->rs1]); break;
    case 't': put(o, "%s", rv_xnames[in->rs2]); break;
    case 'D': put(o, "%s", rv_fnames[in->rd]); break;
    case 'S': put(o, "%s", rv_fnames[in->rs1]); break;
    case 'T': put(o, "%s", rv_fnames[in->rs2]); break;
    case 'R': put(o, "%s", rv_fnames[in->rs3]); break;
    case 'i':
    case 'o': put(o, "%d", in->imm); break;
    case '>': put(o, "0x%x", in->imm); break;
    case 'u': put(o, "0x%x", (uint32_t)in->imm >> 12); break;
    case 'p': put(o, "0x%lx", (unsigned long)(pc + (uint64_t)(int64_t)in->imm)); break;
    case 'e':
    case 'm': put(o, "%s", rm_names[in->rm & 7]); break;
    case 'Z': put(o, "%d", in->rs1); break;
    case 'L': put(o, "%s", fli_names[in->rs1 & 31]); break;
    case 'E':
        if (csr_name((uint32_t)in->imm))
            put(o, "%s", csr_name((uint32_t)in->imm));
        else
            put(o, "0x%x", in->imm);
        break;
    case 'F':
        put_set(o, in->imm >> 4 & 15);
        put(o, ",");
        put_set(o, in->imm & 15);
        break;
    default: put(o, "%c", c); break;
    }
}

/* Mnemonics that depend on more than the operation. */
static void put_name(struct out *o, const char *name, const struct rv_insn *in, uint32_t w)
{
    put(o, "%s", name);
    if (in->len == 4 && in->op == RV_MOP_R)
        put(o, ".%u", (w >> 20 & 3) | (w >> 24 & 12) | (w >> 26 & 16));
    else if (in->len == 4 && in->op == RV_MOP_RR)
        put(o, ".%u", (w >> 26 & 3) | (w >> 28 & 4));
    else if (in->op >= RV_LR_W && in->op <= RV_AMOCAS_Q && in->rm)
        put(o, ".%s", in->rm == 3 ? "aqrl" : in->rm == 2 ? "aq" : "rl");
}

unsigned rv_disasm(char *text, size_t size, uint64_t pc, const uint8_t *bytes, size_t avail)
{
    struct rv_insn in = {0};
    struct out o = {text, size};
    unsigned len = rv_decode(bytes, avail, &in);
    if (!len) {
        put(&o, "(cut off)");
        return 0;
    }
    uint32_t w = bytes[0] | (uint32_t)bytes[1] << 8;
    if (len == 4)
        w |= (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    if (in.op == RV_ILLEGAL) {
        put(&o, len == 4 ? ".4byte\t0x%x" : w ? ".2byte\t0x%x" : "c.unimp", w);
        return len;
    }
    if (len == 4 && in.op == RV_FENCE && (w & 0xfffff000u) == 0x83300000u) {
        put(&o, "fence.tso");
        return len;
    }
    const struct rv_form *form = len == 4 ? &rv_forms32[in.op] : &rv_forms16[rv_form16(w)];
    put_name(&o, form->name, &in, w);
    char sep = '\t';
    for (const char *p = form->operands; *p; p++) {
        if (*p == ',') {
            sep = ',';
            continue;
        }
        if ((*p == 'm' && in.rm == RM_DYN) || (*p == 'e' && in.rm == RM_RNE))
            continue; /* what an assembler chooses by itself */
        if (sep)
            put(&o, "%c", sep);
        sep = 0;
        if (!strncmp(p, "rtz", 3) || !strncmp(p, "sp", 2)) {
            size_t n = *p == 'r' ? 3 : 2;
            put(&o, "%.*s", (int)n, p);
            p += n - 1;
            continue;
        }
        put_operand(&o, *p, &in, pc);
    }
    return len;
}
