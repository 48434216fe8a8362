/* ir_ops.h: the table of IR operations, from which everything else is made.
 * SPDX-License-Identifier: Apache-2.0
 *
 * OP(NAME, text, class, types, opa, opb, opc, flags, latency, unit)
 *
 *  class    K constant   P pure   L load   S store   G guard (may leave the
 *           region)   C control   E effect (ordered against other effects)
 *  types    which result types are allowed: none, int (i8..i64), i1, i64,
 *           flt (f16..f64), any (int, flt, ref), bit (i1, int)
 *  operand  _ none, R ref of the result's type, A ref of any type, I ref of
 *           type i64 (an address), C ref of type i1, L literal, S slot,
 *           B block, X index into the extra array
 *  flags    COMM  operands a and b commute
 *           FAULT may fault: has a state map (the PUTs before it, the pc of
 *                 the IMARK before it)
 *           AUX   aux is part of the operation's identity (see ir.h)
 *           FLAGS accrues floating-point exception flags
 *  latency  cycles, for schedulers; unit: alu mul div mem fp fpdiv br none
 *
 * The meaning of each is in docs/ir.md, which a test checks against this table.
 */

/* constants: the value is in (a, b) as low and high 32 bits */
OP(KI,      "ki",      K, bit,  L, L, _, 0,          0, none)
OP(KF,      "kf",      K, flt,  L, L, _, 0,          0, none)
OP(KADDR,   "kaddr",   K, i64,  L, L, _, 0,          0, none)
OP(KREF,    "kref",    K, ref,  L, L, _, 0,          0, none)

/* control */
OP(IMARK,   "imark",   E, none, L, L, _, AUX,        0, none)
OP(BLOCK,   "block",   C, none, _, _, _, 0,          0, none)
OP(PHI,     "phi",     C, any,  X, L, _, 0,          0, none)
OP(JMP,     "jmp",     C, none, B, _, _, 0,          1, br)
OP(BR,      "br",      C, none, C, B, B, 0,          1, br)
OP(SIDE,    "side",    G, none, C, I, _, AUX,        1, br)
OP(EXIT,    "exit",    C, none, I, I, _, AUX,        1, br)
OP(TRAP,    "trap",    C, none, I, L, _, AUX,        1, br)
OP(POLL,    "poll",    G, none, _, _, _, FAULT,      1, br)

/* guest state */
OP(GET,     "get",     L, any,  S, _, _, 0,          1, mem)
OP(PUT,     "put",     S, none, S, A, L, 0,          1, mem)

/* integers; shift amounts are taken modulo the width */
OP(ADD,     "add",     P, int,  R, R, _, COMM,       1, alu)
OP(SUB,     "sub",     P, int,  R, R, _, 0,          1, alu)
OP(MUL,     "mul",     P, int,  R, R, _, COMM,       3, mul)
OP(MULHS,   "mulhs",   P, int,  R, R, _, COMM,       4, mul)
OP(MULHU,   "mulhu",   P, int,  R, R, _, COMM,       4, mul)
OP(MULHSU,  "mulhsu",  P, int,  R, R, _, 0,          5, mul)
OP(DIVS,    "divs",    P, int,  R, R, _, 0,         20, div)
OP(DIVU,    "divu",    P, int,  R, R, _, 0,         20, div)
OP(REMS,    "rems",    P, int,  R, R, _, 0,         20, div)
OP(REMU,    "remu",    P, int,  R, R, _, 0,         20, div)
OP(AND,     "and",     P, bit,  R, R, _, COMM,       1, alu)
OP(OR,      "or",      P, bit,  R, R, _, COMM,       1, alu)
OP(XOR,     "xor",     P, bit,  R, R, _, COMM,       1, alu)
OP(NOT,     "not",     P, int,  R, _, _, 0,          1, alu)
OP(NEG,     "neg",     P, int,  R, _, _, 0,          1, alu)
OP(SHL,     "shl",     P, int,  R, R, _, 0,          1, alu)
OP(SHR,     "shr",     P, int,  R, R, _, 0,          1, alu)
OP(SAR,     "sar",     P, int,  R, R, _, 0,          1, alu)
OP(ROL,     "rol",     P, int,  R, R, _, 0,          1, alu)
OP(ROR,     "ror",     P, int,  R, R, _, 0,          1, alu)
OP(SEXT,    "sext",    P, int,  A, _, _, 0,          1, alu)
OP(ZEXT,    "zext",    P, int,  A, _, _, 0,          1, alu)
OP(TRUNC,   "trunc",   P, bit,  A, _, _, 0,          0, alu)
OP(BSWAP,   "bswap",   P, int,  R, _, _, 0,          1, alu)
OP(BREV8,   "brev8",   P, int,  R, _, _, 0,          4, alu)
OP(ORCB,    "orcb",    P, int,  R, _, _, 0,          4, alu)
OP(CLZ,     "clz",     P, int,  R, _, _, 0,          3, alu)
OP(CTZ,     "ctz",     P, int,  R, _, _, 0,          3, alu)
OP(POPC,    "popc",    P, int,  R, _, _, 0,          3, alu)
OP(CLMUL,   "clmul",   P, int,  R, R, _, COMM,       4, mul)
OP(CLMULH,  "clmulh",  P, int,  R, R, _, COMM,       4, mul)
OP(MINS,    "mins",    P, int,  R, R, _, COMM,       2, alu)
OP(MAXS,    "maxs",    P, int,  R, R, _, COMM,       2, alu)
OP(MINU,    "minu",    P, int,  R, R, _, COMM,       2, alu)
OP(MAXU,    "maxu",    P, int,  R, R, _, COMM,       2, alu)
OP(CMP,     "cmp",     P, i1,   A, A, _, AUX,        1, alu)
OP(SEL,     "sel",     P, any,  C, R, R, 0,          1, alu)
OP(BITCAST, "bitcast", P, any,  A, _, _, 0,          1, alu)

/* memory: a address, b displacement (literal, signed 32 bits) */
OP(LD,      "ld",      L, any,  I, L, _, AUX|FAULT,  4, mem)
OP(ST,      "st",      S, none, I, L, A, AUX|FAULT,  1, mem)
OP(AMO,     "amo",     E, int,  I, R, _, AUX|FAULT, 18, mem)
OP(CAS,     "cas",     E, int,  I, R, R, AUX|FAULT, 18, mem)
OP(LR,      "lr",      E, int,  I, _, _, AUX|FAULT,  4, mem)
OP(SC,      "sc",      E, i64,  I, A, _, AUX|FAULT, 18, mem)
OP(FENCE,   "fence",   E, none, _, _, _, AUX,       18, mem)

/* floating point; aux holds the rounding mode where it matters */
OP(FADD,    "fadd",    P, flt,  R, R, _, COMM|AUX|FLAGS,  4, fp)
OP(FSUB,    "fsub",    P, flt,  R, R, _, AUX|FLAGS,       4, fp)
OP(FMUL,    "fmul",    P, flt,  R, R, _, COMM|AUX|FLAGS,  4, fp)
OP(FDIV,    "fdiv",    P, flt,  R, R, _, AUX|FLAGS,      14, fpdiv)
OP(FSQRT,   "fsqrt",   P, flt,  R, _, _, AUX|FLAGS,      18, fpdiv)
OP(FMA,     "fma",     P, flt,  R, R, R, AUX|FLAGS,       4, fp)
OP(FMIN,    "fmin",    P, flt,  R, R, _, AUX|FLAGS,       4, fp)
OP(FMAX,    "fmax",    P, flt,  R, R, _, AUX|FLAGS,       4, fp)
OP(FCMP,    "fcmp",    P, i1,   A, A, _, AUX|FLAGS,       3, fp)
OP(FNEG,    "fneg",    P, flt,  R, _, _, 0,               1, fp)
OP(FABS,    "fabs",    P, flt,  R, _, _, 0,               1, fp)
OP(FCPYSGN, "fcpysgn", P, flt,  R, R, _, 0,               2, fp)
OP(FCLASS,  "fclass",  P, i64,  A, _, _, 0,               4, fp)
OP(FCVTFF,  "fcvtff",  P, flt,  A, _, _, AUX|FLAGS,       4, fp)
OP(FCVTFI,  "fcvtfi",  P, int,  A, _, _, AUX|FLAGS,       6, fp)
OP(FCVTIF,  "fcvtif",  P, flt,  A, _, _, AUX|FLAGS,       6, fp)
OP(FCVTMOD, "fcvtmod", P, i64,  A, _, _, FLAGS,           6, fp)
OP(FROUND,  "fround",  P, flt,  R, _, _, AUX|FLAGS,       8, fp)
OP(FBOX,    "fbox",    P, flt,  A, _, _, 0,               1, fp)
OP(FUNBOX,  "funbox",  P, flt,  A, _, _, 0,               2, fp)
OP(FLOW,    "flow",    P, flt,  A, _, _, 0,               0, fp)
OP(FLGET,   "flget",   E, int,  _, _, _, 0,               6, fp)
OP(FLSET,   "flset",   E, none, A, _, _, 0,               6, fp)
OP(RMGET,   "rmget",   E, int,  _, _, _, 0,               1, fp)
OP(RMSET,   "rmset",   E, none, A, _, _, 0,               6, fp)

/* calls into the guest's helper table: aux = helper number */
OP(HELPER,  "helper",  E, any,  A, A, A, AUX|FAULT,      30, none)

/* rounds of a loop over memory at once, and what they have read */
OP(STRIP,   "strip",   E, i64,  I, I, I, AUX,       30, mem)
OP(PEEK,    "peek",    L, any,  I, L, _, 0,          4, mem)
