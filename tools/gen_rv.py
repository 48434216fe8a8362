#!/usr/bin/env python3
# gen_rv.py: decoder and disassembly tables of the RV64 guest from spec/rv64.isa.
# SPDX-License-Identifier: Apache-2.0
"""Reads the table (its form is described in its first lines) and writes C:

  gen_rv.py spec/rv64.isa ops     enumerators and the shape of a decoded instruction
  gen_rv.py spec/rv64.isa decode  rv_decode(): nested switches on the fields that tell
                                  the candidates apart, then one compare for the rest
  gen_rv.py spec/rv64.isa names   names and operand forms for the disassembler
  gen_rv.py spec/rv64.isa table   masks for the test of the decoder
  gen_rv.py spec/rv64.isa list    name, extension, mask and match of every line

The tests import it as a module: parse() and Insn.encode() make instruction words for
assemblers that do not know a mnemonic yet.
"""
import re
import sys

REG = {'d': 7, 's': 15, 't': 20, 'r': 27}  # where registers are in 32 bits
FIELD_BITS = {'d': 5, 's': 5, 't': 5, 'r': 5, 'd2': 5, 't2': 5, 'm': 3, 'q': 2, 'i': 12,
              'S': 7, 's5': 5, 'B': 7, 'b5': 5, 'u': 20, 'j': 20, 'h6': 6, 'h5': 5,
              'csr': 12, 'z': 5, 'fen': 12, "d'": 3, "s'": 3, "t'": 3}
IMM = {  # field that names the form of the immediate -> C expression
    'i': '(int32_t)w >> 20',
    'S': '((int32_t)w >> 25) * 32 | (int32_t)(w >> 7 & 31)',
    'B': '((int32_t)w >> 31) * 4096 | (int32_t)((w << 4 & 0x800) | (w >> 20 & 0x7e0) | '
         '(w >> 7 & 0x1e))',
    'u': '(int32_t)(w & 0xfffff000)',
    'j': '((int32_t)w >> 31) * 0x100000 | (int32_t)((w & 0xff000) | (w >> 9 & 0x800) | '
         '(w >> 20 & 0x7fe))',
    'h6': 'w >> 20 & 63',
    'h5': 'w >> 20 & 31',
    'csr': 'w >> 20',
    'fen': 'w >> 20',
}


class Insn:
    def __init__(self, name, width, bits, operands, ext, line):
        self.name, self.width, self.operands, self.ext = name, width, operands, ext
        self.line = line
        self.mask = self.match = 0
        self.fields = []            # (token, lowest bit, bits)
        self.imm_bits = []          # 16 bits: (bit of the immediate, bit of the word)
        self.expand = None
        self.conds = []
        self.signed = self.alias = False
        self.const_imm = None
        pos = width
        for tok in bits.split():
            if re.fullmatch('[01]+', tok):
                pos -= len(tok)
                self.mask |= ((1 << len(tok)) - 1) << pos
                self.match |= int(tok, 2) << pos
            elif re.fullmatch(r'x\d+', tok):
                pos -= int(tok[1:])
            elif tok[0] == '[':
                for part in tok[1:-1].split('|'):
                    hi, _, lo = part.partition(':')
                    for bit in range(int(hi), int(lo or hi) - 1, -1):
                        pos -= 1
                        self.imm_bits.append((bit, pos))
            elif tok in FIELD_BITS:
                pos -= FIELD_BITS[tok]
                self.fields.append((tok, pos, FIELD_BITS[tok]))
                if tok in ('d2', 't2'):
                    self.mask |= 1 << pos
            else:
                raise SystemExit(f'line {line}: unknown token "{tok}"')
        if pos != 0:
            raise SystemExit(f'line {line}: {name} has {width - pos} bits')

    @property
    def enum(self):
        return 'RV_' + self.name.upper().replace('.', '_')

    def has(self, tok):
        return any(f[0] == tok for f in self.fields)

    def encode(self, **v):
        """The instruction's word; v gives rd, rs1, rs2, rs3, rm, q, imm."""
        w = self.match
        imm = v.get('imm', 0)
        for bit, pos in self.imm_bits:
            w |= (imm >> bit & 1) << pos
        val = {'d': v.get('rd', 0), 'd2': v.get('rd', 0), 's': v.get('rs1', 0),
               't': v.get('rs2', 0), 't2': v.get('rs2', 0), 'r': v.get('rs3', 0),
               'm': v.get('rm', 0), 'q': v.get('q', 0), 'z': v.get('rs1', 0), 'i': imm,
               'S': imm >> 5, 's5': imm, 'u': imm >> 12, 'h6': imm, 'h5': imm, 'csr': imm,
               'fen': imm, 'B': (imm >> 12 & 1) << 6 | (imm >> 5 & 63),
               'b5': (imm >> 1 & 15) << 1 | (imm >> 11 & 1),
               'j': (imm >> 20 & 1) << 19 | (imm >> 1 & 1023) << 9 | (imm >> 11 & 1) << 8 |
                    (imm >> 12 & 255)}
        for tok in 'dst':
            val[tok + "'"] = val[tok] - 8
        for tok, pos, n in self.fields:
            w |= (val[tok] & ((1 << n) - 1)) << pos
        return w


def parse(path):
    """Returns (32-bit instructions, 16-bit instructions)."""
    wide, narrow = [], []
    for n, line in enumerate(open(path), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        col = [c.strip() for c in line.split('|')]
        # the bar also stands inside brackets: put those columns together again
        joined = []
        for c in col:
            if joined and joined[-1].count('[') > joined[-1].count(']'):
                joined[-1] += '|' + c
            else:
                joined.append(c)
        if len(joined) == 4:
            wide.append(Insn(joined[0], 32, joined[1], joined[2], joined[3], n))
        elif len(joined) == 6:
            ins = Insn(joined[0], 16, joined[1], joined[4], joined[5], n)
            ins.expand = joined[3].split()
            for cond in joined[2].split():
                if cond in ('u', 's'):
                    ins.signed = cond == 's'
                elif cond == 'alias':
                    ins.alias = True
                elif cond[0] == '=':
                    ins.const_imm = int(cond[1:])
                else:
                    ins.conds.append(cond.split('!='))
            narrow.append(ins)
        else:
            raise SystemExit(f'{path}:{n}: {len(joined)} columns')
    for i, a in enumerate(wide):
        for b in wide[i + 1:]:
            both = a.mask & b.mask
            if a.match & both == b.match & both:
                raise SystemExit(f'{path}: {a.name} and {b.name} overlap')
    names = {i.name for i in wide}
    for c in narrow:
        if c.expand[0] not in names:
            raise SystemExit(f'{path}:{c.line}: no instruction {c.expand[0]}')
    return wide, narrow


# ---- 32 bits -------------------------------------------------------------

SPLITS = [(2, 5), (12, 3), (25, 7), (27, 5), (26, 6), (25, 2), (20, 5), (20, 12), (28, 4)]


def leaf(ins, known, out, ind):
    pad = '    ' * ind
    rest = ins.mask & ~known
    cond = []
    if rest:
        cond.append(f'(w & 0x{rest:x}) == 0x{ins.match & rest:x}')
    if ins.has('m'):
        cond.append('rv_rm_valid(w)')
    body = [f'in->op = {ins.enum};']
    for tok in IMM:
        if ins.has(tok):
            body.append(f'in->imm = {IMM[tok]};')
    if ins.has('m'):
        body.append('in->rm = w >> 12 & 7;')
    if ins.has('q'):
        body.append('in->rm = w >> 25 & 3;')
    if ins.has('r'):
        body.append('in->rs3 = w >> 27;')
    body.append('return;')
    if cond:
        out.append(f'{pad}if ({" && ".join(cond)}) {{')
        out += [f'{pad}    {b}' for b in body]
        out.append(f'{pad}}}')
    else:
        out += [f'{pad}{b}' for b in body]


def tree(cands, known, out, ind):
    """Emits code that tells cands apart; falls through if none matches."""
    pad = '    ' * ind
    for pos, n in SPLITS:
        m = ((1 << n) - 1) << pos
        if known & m or len(cands) < 2:
            continue
        if all(c.mask & m == m for c in cands) and len({c.match & m for c in cands}) > 1:
            out.append(f'{pad}switch (w >> {pos} & {(1 << n) - 1}) {{')
            for v in sorted({c.match >> pos & ((1 << n) - 1) for c in cands}):
                out.append(f'{pad}case {v}:')
                sub = [c for c in cands if c.match >> pos & ((1 << n) - 1) == v]
                tree(sub, known | m, out, ind + 1)
                if not out[-1].strip() == 'return;':
                    out.append(f'{pad}    break;')
            out.append(f'{pad}}}')
            return
    for c in cands:
        leaf(c, known, out, ind)


# ---- 16 bits -------------------------------------------------------------

def narrow_imm(c):
    """C expression of the immediate: runs of bits that move together."""
    if c.const_imm is not None:
        return str(c.const_imm)
    if not c.imm_bits:
        return '0'
    runs = {}
    for bit, pos in c.imm_bits:
        runs.setdefault(bit - pos, 0)
        runs[bit - pos] |= 1 << bit
    top = max(b for b, _ in c.imm_bits)
    parts = []
    for shift, mask in sorted(runs.items()):
        move = f'w << {shift}' if shift > 0 else f'w >> {-shift}' if shift < 0 else 'w'
        parts.append(f'({move} & 0x{mask:x})')
    expr = ' | '.join(parts)
    if c.signed:
        # the sign is in bit 12 of the word in every form
        assert dict(c.imm_bits)[top] == 12, c.name
        return f'(int32_t)({" | ".join(parts)}) - (int32_t)((w >> 12 & 1) << {top + 1})'
    return expr


def narrow_reg(c, r):
    if r == '-':
        return '0'
    if r.isdigit():
        return r
    for tok, pos, n in c.fields:
        if tok == r:
            return f'w >> {pos} & 31'
        if tok == r + "'":
            return f'8 + (w >> {pos} & 7)'
    raise SystemExit(f'line {c.line}: no field {r}')


def narrow_chain(narrow, action, out):
    out.append('    switch ((w & 3) << 3 | (w >> 13 & 7)) {')
    keys = sorted({((c.match & 3) << 3 | c.match >> 13) for c in narrow})
    for k in keys:
        out.append(f'    case {k}:')
        for c in narrow:
            if ((c.match & 3) << 3 | c.match >> 13) != k:
                continue
            rest = c.mask & ~0xe003
            cond = [f'(w & 0x{rest:x}) == 0x{c.match & rest:x}'] if rest else []
            for what, val in c.conds:
                if what == 'imm':
                    m = sum(1 << p for _, p in c.imm_bits)
                    cond.append(f'(w & 0x{m:x}) != {val}')
                else:
                    cond.append(f'({narrow_reg(c, what)}) != {val}')
            if cond:
                out.append(f'        if ({" && ".join(cond)}) {{')
                out += [f'            {a}' for a in action(c)]
                out.append('        }')
            else:
                out += [f'        {a}' for a in action(c)]
                break
        if not out[-1].strip().startswith('return'):
            out.append('        break;')
    out.append('    }')


# ---- output --------------------------------------------------------------

HEAD = '/* Made by tools/gen_rv.py from spec/rv64.isa: do not edit. */'


def emit_ops(wide):
    out = [HEAD, 'enum rv_op {', '    RV_ILLEGAL,']
    out += [f'    {i.enum},' for i in wide]
    out += ['    RV_OP_COUNT', '};']
    return out


def emit_decode(wide, narrow):
    out = [HEAD, '',
           'static inline bool rv_rm_valid(uint32_t w)', '{',
           '    return !(0x60u >> (w >> 12 & 7) & 1);', '}', '',
           'void rv_decode32(uint32_t w, struct rv_insn *in)', '{',
           '    in->len = 4;',
           '    in->rd = w >> 7 & 31;',
           '    in->rs1 = w >> 15 & 31;',
           '    in->rs2 = w >> 20 & 31;']
    tree([i for i in wide], 3, out, 1)
    out += ['    in->op = RV_ILLEGAL;', '    in->imm = (int32_t)w;', '}', '']

    def act(c):
        op = next(i for i in wide if i.name == c.expand[0])
        rd, rs1, rs2 = (narrow_reg(c, r) for r in c.expand[1:4])
        # an expansion with a register the form lacks still reads as that form
        return [f'in->op = {op.enum};', f'in->rd = {rd};', f'in->rs1 = {rs1};',
                f'in->rs2 = {rs2};', f'in->imm = {narrow_imm(c)};', 'return;']
    out += ['void rv_decode16(uint32_t w, struct rv_insn *in)', '{', '    in->len = 2;']
    narrow_chain([c for c in narrow if not c.alias], act, out)
    out += ['    in->op = RV_ILLEGAL;', '    in->imm = (int32_t)(w & 0xffff);', '}']
    return out


def emit_names(wide, narrow):
    out = [HEAD, '', 'static const struct rv_form rv_forms32[RV_OP_COUNT] = {']
    for i in wide:
        out.append(f'    [{i.enum}] = {{"{i.name}", "{i.operands}"}},')
    out += ['};', '', 'static const struct rv_form rv_forms16[] = {']
    for c in narrow:
        out.append(f'    {{"{c.name}", "{c.operands}"}},')
    out += ['};', '', 'static int rv_form16(uint32_t w)', '{']
    narrow_chain(narrow, lambda c: [f'return {narrow.index(c)};'], out)
    out += ['    return -1;', '}']
    return out


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    wide, narrow = parse(sys.argv[1])
    what = sys.argv[2]
    if what == 'ops':
        out = emit_ops(wide)
    elif what == 'decode':
        out = emit_decode(wide, narrow)
    elif what == 'names':
        out = emit_names(wide, narrow)
    elif what == 'table':
        out = [HEAD] + [f'{{{i.enum}, "{i.name}", 0x{i.mask:08x}, 0x{i.match:08x}, '
                        f'{int(i.has("m"))}}},' for i in wide]
    elif what == 'list':
        out = [f'{i.name:12} {i.ext:10} {i.mask:0{i.width // 4}x} {i.match:0{i.width // 4}x}'
               for i in wide + narrow]
    else:
        raise SystemExit(__doc__)
    print('\n'.join(out))


if __name__ == '__main__':
    main()
