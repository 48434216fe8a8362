# rv_insn_gen.py: programs that run every instruction over edge values. SPDX-License-Identifier: Apache-2.0
"""Makes assembly for static programs without libc, one for each group of instructions. A program
writes 8-byte results to standard output; blocks() says which bytes belong to which instruction,
and describe() what each result is, so that a difference can be named.

Instruction words come from spec/rv64.isa, so any assembler for RV64GC will do.

Registers of the harness: s9 output, s10 s11 s6 operand tables, s8 s7 s5 their ends.
"""
import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
import gen_rv  # noqa: E402

M64 = (1 << 64) - 1
INT = [0, 1, 2, 7, 31, 32, 63, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000,
       0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, M64, M64 - 1,
       0x0123456789abcdef, 0xfedcba9876543210, 0xffffffff80000000]
INT_FEW = [0, 1, 0x80000000, 0x7fffffff, 0xffffffff80000000, 0x8000000000000000, M64,
           0x0123456789abcdef, 0xdeadbeefcafebabe]
IMM12 = [-2048, -1366, -1, 0, 1, 5, 31, 63, 255, 1365, 2047]


def f64(x):
    return struct.unpack('<Q', struct.pack('<d', x))[0]


def f32(x):
    return struct.unpack('<I', struct.pack('<f', x))[0] | 0xffffffff00000000


def f16(x):
    return struct.unpack('<H', struct.pack('<e', x))[0] | 0xffffffffffff0000


FP = {
    'd': [f64(0.0), f64(-0.0), f64(1.0), f64(-1.5), f64(2.5), f64(0.1), 1, 0x8000000000000001,
          0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0xffefffffffffffff,
          0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001,
          0xfff8000000001234, f64(2147483647.5), f64(-2147483648.75), f64(4294967295.5),
          f64(9.3e18), f64(-9223372036854775808.0), f64(1e300), f64(1.5e-160), f64(0.5),
          0x3fefffffffffffff, 0x3ff0000000000001, f64(18446744073709549568.0), f64(65519.9),
          f64(3.4028235677973366e38), f64(1.1754943508222874e-38), f64(6e-8)],
    's': [f32(0.0), f32(-0.0), f32(1.0), f32(-1.5), f32(2.5), f32(0.1), 0xffffffff00000001,
          0xffffffff80000001, 0xffffffff007fffff, 0xffffffff00800000, 0xffffffff7f7fffff,
          0xffffffffff7fffff, 0xffffffff7f800000, 0xffffffffff800000, 0xffffffff7fc00000,
          0xffffffff7f800001, 0xffffffffffc01234, f32(2147483648.0), f32(-2147483648.0),
          f32(4294967040.0), f32(9.2e18), f32(1e30), f32(1e-20), f32(0.5), 0xffffffff3f7fffff,
          0xffffffff3f800001, f32(65519.0), f32(65520.0), f32(6e-8), f32(16777215.0),
          0x000000003f800000, 0x7ff8000000000000],
    'h': [f16(0.0), f16(-0.0), f16(1.0), f16(-1.5), f16(2.5), f16(0.1), 0xffffffffffff0001,
          0xffffffffffff8001, 0xffffffffffff03ff, 0xffffffffffff0400, 0xffffffffffff7bff,
          0xfffffffffffffbff, 0xffffffffffff7c00, 0xfffffffffffffc00, 0xffffffffffff7e00,
          0xffffffffffff7c01, 0xfffffffffffffe12, f16(0.5), f16(2049.0 - 1), f16(6.1e-5),
          0xffffffffffff3bff, 0xffffffffffff3c01, f16(65504.0 / 2), f16(1e-3), f16(300.0),
          0x0000000000003c00, 0xffffffff00003c00, 0x7ff8000000000000],
}
FP_FEW = {t: [v[0], v[1], v[2], v[3], v[5], v[6], v[9], v[10], v[12], v[14], v[15]]
          for t, v in FP.items()}

YOUNG = {'Zfa', 'Zacas', 'Zicond', 'Zimop', 'Zcmop', 'Zcb', 'Zicboz', 'Zicbom', 'Zawrs',
         'Zihintntl'}  # what qemu 7.2 does not know


class Program:
    """Assembly of one group, and where its results are."""

    def __init__(self):
        self.text, self.tables, self.blocks = [], {}, []
        self.labels = 0
        self.words = 0
        self.repeat = [1]
        self.fixes = []       # see reference()

    def reference(self, out):
        """QEMU's results, put right where QEMU 11.1 is known to be wrong: it drops the flags of
        fround if the result is not used, and x0 does not read as zero behind amocas to x0.
        A fix is the number of a result and its value, or the number of another as a list."""
        out = bytearray(out)
        for at, v in self.fixes:
            right = out[v[0] * 8:v[0] * 8 + 8] if isinstance(v, list) else struct.pack('<Q', v)
            out[at * 8:at * 8 + 8] = right
        return bytes(out)

    def emit(self, *lines):
        self.text += lines

    def insn(self, ins, **fields):
        self.emit(f'.{"word" if ins.width == 32 else "half"} {ins.encode(**fields):#x}')

    def label(self):
        self.labels += 1
        return f'.L{self.labels}'

    def table(self, values):
        key = tuple(values)
        return self.tables.setdefault(key, f'table{len(self.tables)}')

    def begin(self, name):
        self.blocks.append([name, self.words, []])
        lab = f'block{len(self.blocks)}'
        self.emit(f'{lab}:')

    def note(self, what, values, per):
        """The results of the coming loops: what they are, over which tables."""
        self.blocks[-1][2].append((self.words, what, values, per))

    def store(self, *regs):
        for r in regs:
            self.emit(f'sd {r}, 0(s9)', 'addi s9, s9, 8')
            self.words += self.repeat[-1]

    def loop(self, table, ptr, end):
        """Context: the lines emitted inside run for each value of the table."""
        return Loop(self, table, ptr, end)

    def describe(self, index):
        """Block name and a description of result number index."""
        for name, start, notes in reversed(self.blocks):
            if start <= index:
                for at, what, values, per in reversed(notes):
                    if at <= index:
                        k = (index - at) // per
                        ops = []
                        for v in reversed(values):
                            ops.append(f'{v[k % len(v)]:#x}')
                            k //= len(v)
                        return name, f'{what} of {", ".join(reversed(ops))}, ' \
                                     f'result {(index - at) % per}'
                return name, ''
        return '?', ''

    def source(self):
        out = ['.option nopic', '.option norvc', '.option norelax', '.text', '.globl _start', '_start:',
               'la s9, out', 'fscsr x0']
        out += self.text
        out += ['la a1, out', 'sub s9, s9, a1',
                '1: li a0, 1', 'mv a2, s9', 'li a7, 64', 'ecall', 'blez a0, 2f',
                'add a1, a1, a0', 'sub s9, s9, a0', 'bnez s9, 1b', 'li a0, 0', 'j 3f',
                '2: li a0, 1', '3: li a7, 93', 'ecall', '.data', '.balign 64']
        for values, name in self.tables.items():
            out.append(f'{name}:')
            out += [f'.dword {v & M64:#x}' for v in values]
            out.append(f'{name}_end:')
        rnd = random.Random(5)
        out += ['.balign 4096', 'mem:']
        out += [f'.dword {rnd.getrandbits(64):#x}' for _ in range(1024)]
        out += ['.bss', '.balign 64', 'out:', f'.skip {self.words * 8 + 64}']
        return '\n'.join(out) + '\n'


class Loop:
    def __init__(self, p, values, ptr, end):
        self.p, self.values, self.ptr, self.end = p, values, ptr, end

    def __enter__(self):
        p = self.p
        name = p.table(self.values)
        p.emit(f'la {self.ptr}, {name}', f'la {self.end}, {name}_end')
        self.lab = p.label()
        p.emit(f'{self.lab}:')
        p.repeat.append(p.repeat[-1] * len(self.values))

    def __exit__(self, *exc):
        p = self.p
        p.emit(f'addi {self.ptr}, {self.ptr}, 8', f'bne {self.ptr}, {self.end}, {self.lab}')
        p.repeat.pop()


# Registers: the hot ones live in host registers, the others (x28..) in memory.
RRR = [(12, 10, 11), (10, 10, 11), (11, 10, 11), (12, 10, 10), (12, 0, 11), (12, 10, 0),
       (0, 10, 11), (28, 29, 30), (15, 28, 10), (31, 31, 31)]
RR = [(12, 10), (10, 10), (12, 0), (0, 10), (28, 29), (15, 30), (31, 31)]


def loads(p, rd, **regs):
    """Loads operand registers from the loop pointers and sets rd to a marker."""
    if rd and rd not in regs.values():
        p.emit(f'li x{rd}, 0x5a5')
    for ptr, r in regs.items():
        if r:
            p.emit(f'ld x{r}, 0({ptr})')


# ---- integer -----------------------------------------------------------------

def int_rr(p, ins):
    p.begin(ins.name)
    for rd, rs1, rs2 in RRR:
        p.note(f'x{rd}, x{rs1}, x{rs2}', [INT, INT], 1)
        with p.loop(INT, 's10', 's8'), p.loop(INT, 's11', 's7'):
            loads(p, rd, s10=rs1, s11=rs2)
            p.insn(ins, rd=rd, rs1=rs1, rs2=rs2)
            p.store(f'x{rd}')
    rnd = random.Random(ins.match)
    for _ in range(12):
        a, b = rnd.choice(INT), rnd.choice(INT)
        p.note('constants', [[a], [b]], 1)
        p.emit(f'li a0, {a:#x}', f'li a1, {b:#x}')
        p.insn(ins, rd=12, rs1=10, rs2=11)
        p.store('a2')


def int_ri(p, ins, imms):
    p.begin(ins.name)
    for rd, rs1 in RR:
        for imm in imms if rd == 12 and rs1 else imms[:3]:
            p.note(f'x{rd}, x{rs1}, {imm}', [INT], 1)
            with p.loop(INT, 's10', 's8'):
                loads(p, rd, s10=rs1)
                p.insn(ins, rd=rd, rs1=rs1, imm=imm)
                p.store(f'x{rd}')


def int_unary(p, ins):
    p.begin(ins.name)
    for rd, rs1 in RR:
        p.note(f'x{rd}, x{rs1}', [INT], 1)
        with p.loop(INT, 's10', 's8'):
            loads(p, rd, s10=rs1)
            p.insn(ins, rd=rd, rs1=rs1)
            p.store(f'x{rd}')


def upper(p, ins):
    p.begin(ins.name)
    for rd in (12, 28, 0):
        for imm in (0, 0x1000, 0x7ffff000, 0x80000000, 0xfffff000, 0x12345000):
            p.note(f'x{rd}, {imm:#x}', [], 1)
            p.insn(ins, rd=rd, imm=imm)
            p.store(f'x{rd}')


def branch(p, ins):
    p.begin(ins.name)
    for rs1, rs2 in ((10, 11), (10, 10), (10, 0), (0, 11), (28, 30), (28, 10)):
        p.note(f'x{rs1}, x{rs2}, forward and back', [INT, INT], 2)
        with p.loop(INT, 's10', 's8'), p.loop(INT, 's11', 's7'):
            loads(p, 0, s10=rs1, s11=rs2)
            a, b = p.label(), p.label()
            p.emit('li a2, 1')
            p.insn(ins, rs1=rs1, rs2=rs2, imm=8)
            p.emit('li a2, 0', 'li a3, 2', f'j {a}', 'addi a3, a3, 5', f'j {b}', f'{a}:')
            p.insn(ins, rs1=rs1, rs2=rs2, imm=-8)
            p.emit(f'{b}:')
            p.store('a2', 'a3')


def jumps(p, ins):
    p.begin(ins.name)
    for rd in (0, 1, 5, 12, 28):
        p.note(f'link x{rd}', [], 2)
        p.emit('li a3, 1', f'li x{rd or 12}, 7')
        if ins.name == 'jal':
            p.insn(ins, rd=rd, imm=8)
            p.emit('li a3, 0')
            p.store('a3', f'x{rd}')
            continue
        p.emit(f'li x{rd or 12}, 7')
        for rs1, imm in ((10, 0), (10, -16), (1, 0), (5, 9), (30, 2047), (rd or 31, -3)):
            p.note(f'link x{rd}, through x{rs1} {imm}', [], 2)
            lab = p.label()
            p.emit(f'la x{rs1}, {lab} - ({imm})', 'li a3, 1')
            p.insn(ins, rd=rd, rs1=rs1, imm=imm)
            p.emit('li a3, 0', f'{lab}:')
            p.store('a3', f'x{rd}')
    # calls and returns, nested, with the wrong return address once
    p.note('call and return', [], 3)
    f, g, h, end = (p.label() for _ in range(4))
    p.emit('li a2, 0', f'call {f}', 'addi a2, a2, 1', f'la t6, {h}', f'j {end}',
           f'{f}: mv t2, ra', f'call {g}', 'addi a2, a2, 16', 'mv ra, t2', 'ret',
           f'{g}: addi a2, a2, 256', 'ret',
           f'{h}: addi a2, a2, 1024', f'j {end}_',
           f'{end}: call {g}', 'mv ra, t6', 'ret', f'{end}_:')
    p.store('a2', 'ra', 't2')


# ---- memory --------------------------------------------------------------------

def mem_load(p, ins, fp):
    p.begin(ins.name)
    for rd, rs1 in ((12, 10), (10, 10), (28, 29), (0, 10)):
        if fp and rd in (0, 10):
            continue
        for off in range(0, 17):
            for imm in ((0, -2048, 2047) if off < 9 else (-3,)):
                p.note(f'offset {off}, displacement {imm}, x{rd}', [], 1)
                p.emit(f'la x{rs1}, mem + {64 + off} - ({imm})')
                p.insn(ins, rd=rd, rs1=rs1, imm=imm)
                if fp:
                    p.emit(f'fmv.x.d a3, f{rd}')
                p.store('a3' if fp else f'x{rd}')
    p.note('across pages', [], 1)
    p.emit('la a0, mem + 4095')
    p.insn(ins, rd=12, rs1=10, imm=0)
    if fp:
        p.emit('fmv.x.d a2, f12')
    p.store('a2')


def mem_store(p, ins, fp):
    p.begin(ins.name)
    for rs2, rs1 in ((11, 10), (10, 10), (0, 10), (29, 30)):
        if fp and rs2 in (0, 10):
            continue
        for off in list(range(9)) + [15, 4095 - 128]:
            for imm in (0, -2048, 2047):
                p.note(f'x{rs2}, offset {off}, displacement {imm}', [INT_FEW], 3)
                with p.loop(INT_FEW, 's10', 's8'):
                    p.emit(f'la a3, mem + {(120 + off) & ~7}', 'li a4, 0x77', 'sd a4, 0(a3)',
                           'sd a4, 8(a3)', 'sd a4, 16(a3)')
                    if rs2:
                        p.emit(f'ld x{rs2}, 0(s10)')
                    if fp:
                        p.emit(f'fmv.d.x f{rs2}, x{rs2}')
                    p.emit(f'la x{rs1}, mem + {128 + off} - ({imm})')
                    p.insn(ins, rs2=rs2, rs1=rs1, imm=imm)
                    p.emit('ld a4, 0(a3)', 'ld a5, 8(a3)', 'ld a6, 16(a3)')
                    p.store('a4', 'a5', 'a6')


def atomic(p, ins):
    p.begin(ins.name)
    wide = ins.name.endswith('.d')
    cas = ins.name.startswith('amocas')
    for rd, rs2, rs1 in ((12, 11, 13), (11, 11, 13), (13, 11, 13), (0, 11, 13), (12, 0, 13),
                         (28, 29, 30), (12, 13, 13)):
        for q, off in ((0, 0), (3, 0 if wide else 4)) if rd == 12 and rs2 == 11 else ((1, 8),):
            p.note(f'x{rd}, x{rs2}, (x{rs1}), aq/rl {q}', [INT_FEW, INT_FEW], 2)
            if cas and not rd:
                p.fixes += [(p.words + 2 * k, 0) for k in range(len(INT_FEW) ** 2)]
            with p.loop(INT_FEW, 's10', 's8'), p.loop(INT_FEW, 's11', 's7'):
                p.emit(f'la a3, mem + {256 + off}', 'ld a4, 0(s10)',
                       f's{"d" if wide else "w"} a4, 0(a3)')
                if rd and not cas:
                    p.emit(f'li x{rd}, 0x5a5')
                elif rd:  # what is compared: equal every second time
                    p.emit('srli a5, s11, 3', 'andi a5, a5, 1', f'mv x{rd}, a4', 'beqz a5, 1f',
                           f'addi x{rd}, x{rd}, 1', '1:')
                if rs2:
                    p.emit(f'ld x{rs2}, 0(s11)')
                p.emit(f'la x{rs1}, mem + {256 + off}')
                p.insn(ins, rd=rd, rs1=rs1, rs2=rs2, q=q)
                p.emit(f'la a4, mem + {(256 + off) & ~7}', 'ld a4, 0(a4)')
                p.store(f'x{rd}', 'a4')


def atomic_q(p, ins):
    p.begin(ins.name)
    for rd, rs2, rs1 in ((12, 14, 10), (28, 30, 10), (12, 12, 10), (0, 14, 10), (12, 0, 10)):
        for same in (0, 1):
            p.note(f'x{rd}, x{rs2}, equal {same}', [INT_FEW], 4)
            if not rd:
                p.fixes += [(p.words + 4 * k + i, 0) for k in range(len(INT_FEW)) for i in (0, 1)]
            with p.loop(INT_FEW, 's10', 's8'):
                p.emit('la a0, mem + 512', 'ld a1, 0(s10)', 'sd a1, 0(a0)', 'not a1, a1',
                       'sd a1, 8(a0)')
                if rd:
                    p.emit(f'ld x{rd}, 0(a0)', f'addi x{rd + 1}, a1, {0 if same else 1}')
                if rs2 and rs2 != rd:
                    p.emit(f'li x{rs2}, 0x1234', f'li x{rs2 + 1}, -5')
                p.insn(ins, rd=rd, rs1=rs1, rs2=rs2, q=3)
                p.emit('la a4, mem + 512', 'ld a5, 0(a4)', 'ld a6, 8(a4)')
                p.store(f'x{rd}', f'x{rd + 1 if rd else 0}', 'a5', 'a6')


def lr_sc(p, isa):
    for sz in 'wd':
        lr, sc = isa[f'lr.{sz}'], isa[f'sc.{sz}']
        p.begin(f'lr.{sz} sc.{sz}')
        p.emit('la a0, mem + 768', 'la t4, mem + 1024')
        for rd, q in ((12, 0), (28, 3), (0, 1)):
            p.note('pair', [INT_FEW], 3)
            with p.loop(INT_FEW, 's10', 's8'):
                p.emit('ld a1, 0(s10)', 'sd a1, 0(a0)', 'li a3, 9')
                p.insn(lr, rd=rd, rs1=10, q=q)
                p.emit('addi a1, a1, 1')
                p.insn(sc, rd=13, rs1=10, rs2=11, q=q)
                p.emit('ld a4, 0(a0)')
                p.store(f'x{rd}', 'a3', 'a4')
        p.note('sc without lr, sc twice, sc to another address, changed value, load between',
               [], 8)
        p.emit('sd x0, 0(a0)', 'sd x0, 0(t4)', 'li a1, 5')
        p.insn(lr, rd=12, rs1=10)
        p.insn(sc, rd=13, rs1=10, rs2=11)
        p.insn(sc, rd=14, rs1=10, rs2=11)
        p.store('a3', 'a4')
        p.insn(lr, rd=12, rs1=29)
        p.insn(sc, rd=13, rs1=10, rs2=11)
        p.store('a3')
        p.insn(lr, rd=12, rs1=10)
        p.emit('li a5, 77', 'sd a5, 0(a0)')
        p.insn(sc, rd=13, rs1=10, rs2=11)
        p.emit('ld a4, 0(a0)')
        p.store('a3', 'a4')
        p.insn(lr, rd=12, rs1=10)
        p.emit('ld a4, 8(a0)', 'ld a6, 0(a0)')
        p.insn(sc, rd=13, rs1=10, rs2=11)
        p.emit('ld a4, 0(a0)')
        p.store('a3', 'a4', 'a6')


def fences(p, isa):
    p.begin('fence')
    for imm in (0x0ff, 0x033, 0x833, 0x010, 0x023, 0x031, 0x012, 0x0f0, 0x00f):
        p.emit('la a0, mem + 64', f'li a1, {imm}', 'sd a1, 0(a0)')
        p.insn(isa['fence'], imm=imm)
        p.emit('ld a2, 0(a0)')
        p.store('a2')
    p.begin('fence.i')
    p.insn(isa['fence.i'])
    p.store('a2')


def cache_block(p, ins):
    p.begin(ins.name)
    for off in (0, 1, 63, 64, 100):
        p.note(f'offset {off}', [], 26)
        p.emit('la a3, mem + 2048', 'li a4, -1')
        p.emit(*[f'sd a4, {i * 8}(a3)' for i in range(26)])
        p.emit(f'addi a0, a3, {off}')
        p.insn(ins, rs1=10)
        for i in range(26):
            p.emit(f'ld a4, {i * 8}(a3)')
            p.store('a4')


# ---- floating point --------------------------------------------------------------

FREGS = [(12, 10, 11, 13), (10, 10, 11, 12), (11, 10, 11, 11), (12, 10, 10, 10),
         (28, 29, 30, 31), (15, 28, 10, 29)]


def fp_operands(ins):
    """Tables of the operands: letter in the operand form -> format of its values."""
    parts = ins.name.split('.')
    fmt = parts[-1]
    if ins.name.startswith('fcvt') and len(parts) == 3:
        source = {'w': 'i', 'wu': 'i', 'l': 'i', 'lu': 'i'}.get(parts[2], parts[2])
        return [('S' if source != 'i' else 's', source)]
    if ins.name.startswith('fmv.'):
        return [('S', parts[2] if parts[2] != 'w' else 's')] if parts[1] == 'x' else [('s', 'i')]
    if ins.name.startswith('fcvtmod'):
        return [('S', 'd')]
    if ins.name.startswith('fli'):
        return []
    return [(c, fmt) for c in ins.operands.replace(',', '') if c in 'STR']


def fp_values(fmt, few):
    if fmt == 'i':
        return INT
    return FP_FEW[fmt] if few else FP[fmt]


def fp_case(p, ins, ops, regs, rm, few, dead=False):
    fd, *fs = regs
    to_int = ins.operands[0] == 'd'
    tables = [fp_values(fmt, few) for _, fmt in ops]
    ptrs = [('s10', 's8'), ('s11', 's7'), ('s6', 's5')]
    p.note(f'rm {rm}, registers {regs}' + (', result not used' if dead else ''), tables,
           1 if dead else 2)

    def body():
        if not to_int:
            p.emit(f'fmv.d.x f{fd}, x0')
        for (letter, _), r, (ptr, _) in zip(ops, fs, ptrs):
            p.emit(f'ld x{r}, 0({ptr})' if letter == 's' else f'fld f{r}, 0({ptr})')
        p.emit('fsflags x0')
        p.insn(ins, rd=fd, rs1=fs[0], rs2=fs[1], rs3=fs[2], rm=rm)
        if dead:
            p.emit(f'li x{fd}, 0' if to_int else f'fmv.d.x f{fd}, x0', 'frflags a4')
            p.store('a4')
            return
        p.emit('frflags a4')
        if not to_int:
            p.emit(f'fmv.x.d a5, f{fd}')
        p.store(f'x{fd}' if to_int and fd != 14 else 'a5', 'a4')

    def nest(k):
        if k == len(tables):
            body()
            return
        with p.loop(tables[k], *ptrs[k]):
            nest(k + 1)
    nest(0)


def fp(p, ins):
    ops = fp_operands(ins)
    p.begin(ins.name)
    if not ops:
        for n in range(32):
            p.note(f'constant {n}', [], 1)
            p.insn(ins, rd=12, rs1=n)
            p.emit('fmv.x.d a2, f12')
            p.store('a2')
        return
    has_rm = ins.has('m')
    few = len(ops) > 2
    dynamic = 0
    for rm in range(5) if has_rm else (0,):
        fp_case(p, ins, ops, FREGS[0], rm, few)
    if has_rm:
        for frm in range(5):
            p.emit(f'fsrmi {frm}')
            dynamic = dynamic if frm else p.words
            fp_case(p, ins, ops, FREGS[0], 7, few or len(ops) > 1)
            p.emit('fsrmi 0')
    for regs in FREGS[1:]:
        if ops[0][0] == 's' or ins.operands[0] == 'd':
            regs = (regs[0], regs[1], 30, 31)
        fp_case(p, ins, ops, regs, 7 if has_rm else 0, True)
    if ins.name.startswith('fround'):
        fmt = ops[0][1]
        p.fixes += [(p.words + k, [dynamic + 2 * FP[fmt].index(v) + 1])
                    for k, v in enumerate(FP_FEW[fmt])]
    fp_case(p, ins, ops, FREGS[0], 7 if has_rm else 0, True, dead=True)


# ---- CSRs ----------------------------------------------------------------------------

def csr(p, ins):
    p.begin(ins.name)
    imm = ins.has('z')
    for number in (1, 2, 3):
        for first in (0, 0xff, 0x45):
            for rd, rs1 in ((12, 10), (0, 10), (12, 0), (10, 10), (28, 29)):
                for value in (0, 1, 0x1f, 0x15, 0x62, 0xff, M64) if rs1 else (0,):
                    if imm and value > 31:
                        continue
                    p.note(f'csr {number}, was {first:#x}, x{rd}, x{rs1}, {value:#x}', [], 2)
                    p.emit(f'li a5, {first}', 'fscsr a5', f'li x{rd or 12}, 0x5a5')
                    if not imm and rs1:
                        p.emit(f'li x{rs1}, {value:#x}')
                    p.insn(ins, rd=rd, rs1=value if imm else rs1, imm=number)
                    p.emit('frcsr a4')
                    p.store(f'x{rd}', 'a4')
    p.emit('fscsr x0')


# ---- 16 bits ---------------------------------------------------------------------------

def narrow(p, ins):
    p.begin(ins.name)
    op = ins.expand[0]
    imms = sorted(narrow_imms(ins))
    low = any(t.endswith("'") for t, _, _ in ins.fields)
    d, s, t = (12, 10, 11) if low else (28, 29, 30)
    names = [f[0].rstrip("'") for f in ins.fields]
    if op in ('lw', 'ld', 'lbu', 'lhu', 'lh', 'fld'):
        for imm in imms:
            base = 's' in names and f'x{s}' or 'sp'
            p.note(f'displacement {imm}', [], 1)
            p.emit(f'mv t6, {base}', f'la {base}, mem + 2048 - {imm}')
            p.insn(ins, rd=d, rs1=s, imm=imm)
            p.emit(f'mv {base}, t6')
            if op == 'fld':
                p.emit(f'fmv.x.d a5, f{d}')
            p.store('a5' if op == 'fld' else f'x{d}')
            p.emit('.balign 4')
    elif op in ('sb', 'sh', 'sw', 'sd', 'fsd'):
        for imm in imms:
            base = 's' in names and f'x{s}' or 'sp'
            p.note(f'displacement {imm}', [INT_FEW], 1)
            with p.loop(INT_FEW, 's10', 's8'):
                p.emit(f'ld x{t}, 0(s10)', f'fmv.d.x f{t}, x{t}', 'la t5, mem + 2048',
                       'sd x0, 0(t5)', f'ld x{t}, 0(s10)', f'mv t6, {base}',
                       f'la {base}, mem + 2048 - {imm}')
                p.insn(ins, rs1=s, rs2=t, imm=imm)
                p.emit('.balign 4', f'mv {base}, t6', 'la a5, mem + 2048', 'ld a5, 0(a5)')
                p.store('a5')
    elif op in ('beq', 'bne'):
        for imm in (6, -4):
            p.note(f'distance {imm}', [INT], 1)
            with p.loop(INT, 's10', 's8'):
                a = p.label()
                p.emit(f'ld x{s}, 0(s10)', 'li a2, 1')
                if imm > 0:
                    p.insn(ins, rs1=s, imm=imm)
                    p.emit('li a2, 0')
                else:
                    p.emit(f'j {a}', 'addi a2, a2, 9', f'j {a}_', f'{a}:')
                    p.insn(ins, rs1=s, imm=-8)
                    p.emit(f'{a}_:')
                p.store('a2')
                p.emit('.balign 4')
    elif op == 'jal':
        p.emit('li a2, 1')
        p.insn(ins, imm=6)
        p.emit('li a2, 0', '.balign 4')
        p.store('a2')
    elif op == 'jalr':
        lab = p.label()
        p.emit(f'la x{s}, {lab}', 'li a2, 1', 'li ra, 5')
        p.insn(ins, rs1=s)
        p.emit('.balign 4', 'li a2, 0', f'{lab}:')
        p.store('a2', 'ra')
    elif op == 'ebreak':
        p.store('x0')
    elif names or ins.imm_bits:  # arithmetic; the destination is a source as well
        two = 't' in names
        for imm in imms:
            for dd in ((d, 8) if low else (d, 10)):
                p.note(f'x{dd}, immediate {imm}', [INT, INT] if two else [INT], 1)
                target = f'x{dd}' if 'd' in names else 'sp'
                if ins.name == 'c.addi4spn':
                    source = 'sp'
                else:
                    source = target
                with p.loop(INT, 's10', 's8'):
                    def body():
                        p.emit('mv t6, sp', f'ld {source}, 0(s10)')
                        if two:
                            p.emit(f'ld x{t}, 0(s11)')
                        p.insn(ins, rd=dd, rs2=t, imm=imm)
                        p.emit('.balign 4', f'mv a5, {target}', 'mv sp, t6')
                        p.store('a5')
                    if two:
                        with p.loop(INT, 's11', 's7'):
                            body()
                    else:
                        body()
    else:  # nothing happens
        p.note('no effect', [INT_FEW], 2)
        with p.loop(INT_FEW, 's10', 's8'):
            p.emit('ld a0, 0(s10)', 'ld sp, 0(s10)')
            p.insn(ins)
            p.emit('.balign 4')
            p.store('a0', 'sp')


def narrow_imms(ins):
    """Edge values of the scattered immediate."""
    if not ins.imm_bits:
        return {0}
    bits = [b for b, _ in ins.imm_bits]
    top, mask = max(bits), sum(1 << b for b in bits)
    values = {0, mask, 1 << min(bits), 0x5555555555 & mask, mask ^ (1 << top)}
    values |= {1 << b for b in bits}
    if ['imm', '0'] in ins.conds:
        values.discard(0)
    if ins.expand[0] in ('lw', 'ld', 'lbu', 'lhu', 'lh', 'fld', 'sb', 'sh', 'sw', 'sd', 'fsd'):
        return values
    if ins.signed:
        return {v - (1 << top + 1) if v >> top & 1 else v for v in values}
    return values


# ---- groups ------------------------------------------------------------------------------

INT_OPS = {'d,s,t': int_rr, 'd,s': int_unary}
CONTROL = {'jal', 'jalr', 'ecall', 'ebreak', 'wrs.nto', 'wrs.sto', 'fence', 'fence.i'}


def add(p, ins):
    """Appends the tests of one instruction; False if it is tested elsewhere."""
    n = ins.name
    if ins.width == 16:
        narrow(p, ins)
    elif n in ('jal', 'jalr'):
        jumps(p, ins)
    elif n.startswith(('wrs.', 'cbo.clean', 'cbo.flush')):
        p.begin(n)
        p.emit('la a0, mem', 'li a2, 1')
        if n == 'wrs.nto':
            return True  # may wait without end where there is no reservation
        p.insn(ins, rs1=10)
        p.store('a2')
    elif n == 'cbo.zero':
        cache_block(p, ins)
    elif n in CONTROL or n.startswith(('lr.', 'sc.')):
        return False
    elif n == 'amocas.q':
        atomic_q(p, ins)
    elif n.startswith('amo'):
        atomic(p, ins)
    elif n.startswith('csr'):
        csr(p, ins)
    elif ins.operands == 'd,u':
        upper(p, ins)
    elif ins.has('b5'):
        branch(p, ins)
    elif ins.operands in ('d,o(s)', 'D,o(s)'):
        mem_load(p, ins, ins.operands[0] == 'D')
    elif ins.operands in ('t,o(s)', 'T,o(s)'):
        mem_store(p, ins, ins.operands[0] == 'T')
    elif n[0] == 'f':
        fp(p, ins)
    elif ins.operands == 'd,s,i':
        int_ri(p, ins, IMM12)
    elif ins.operands == 'd,s,>':
        int_ri(p, ins, [0, 1, 31] + ([32, 33, 63] if ins.has('h6') else [7, 16]))
    else:
        INT_OPS[ins.operands](p, ins)
    return True


def group_of(ins):
    if ins.width == 16:
        return ins.ext if ins.ext in YOUNG else 'C'
    if ins.ext in YOUNG or ins.ext in ('Zba', 'Zbb', 'Zbc', 'Zbs', 'Zbkb', 'M', 'A'):
        return ins.ext
    if ins.ext == 'Zfhmin':
        return 'Zfh'
    if ins.ext in ('F', 'D', 'Zfh') and ins.has('m') and ins.has('r'):
        return ins.ext + ' fused'
    if ins.ext == 'I' and (ins.has('b5') or ins.has('s5') or ins.operands == 'd,o(s)'):
        return 'I memory and branches' if ins.name != 'jalr' else 'I'
    return ins.ext


def programs(isa_path):
    """Group name -> Program, in the order of the table."""
    wide, narrow_ = gen_rv.parse(isa_path)
    by_name = {i.name: i for i in wide}
    groups = {}
    for ins in wide + narrow_:
        p = groups.setdefault(group_of(ins), Program())
        add(p, ins)
        if ins.name == 'lr.w':
            lr_sc(p, by_name)
        if ins.name == 'fence':
            fences(groups['I'], by_name)
    return {g: p for g, p in groups.items() if p.words}
