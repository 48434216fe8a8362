#!/usr/bin/env python3
# t_rv_random.py: random programs against QEMU. SPDX-License-Identifier: Apache-2.0
"""Structured random programs: straight code of integer, bit, floating-point and memory
instructions with forward branches, loops, calls, computed jumps and rounding-mode changes. After
each part all registers, fcsr and the memory are written out. What QEMU writes is right; without
QEMU the modes are compared with the first. RV_SEED and RV_PROGRAMS choose others.
"""
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
import gen_rv  # noqa: E402
from rv_common import (GCC, LONG, QEMU, SEED, TOP, have, isomer_modes, run, skip, verdict,  # noqa
                       work_dir)

# What QEMU 7.2 has and has right (its ctzw is not).
EXTENSIONS = {'I', 'M', 'A', 'F', 'D', 'Zba', 'Zbb', 'Zbc', 'Zbs', 'Zbkb', 'Zfh', 'Zfhmin'}
CPUS = ['max', 'rv64,zba=on,zbb=on,zbc=on,zbs=on,zbkb=on,Zfh=on']
AVOID = {'lui', 'auipc', 'jal', 'jalr', 'fence', 'ecall', 'ebreak', 'ctzw', 'lr.w', 'lr.d', 'sc.w',
         'sc.d'}
# x8 output, x9 memory, x18 x19 loop counters, x20 saved ra; the others are free
FREE = [1, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]
MEMORY = 2048
PARTS = 12
PART_WORDS = 32 + 32 + 1 + MEMORY // 8
EDGE = [0, 1, -1, 1 << 63, (1 << 63) - 1, 0x80000000, 0x7fffffff, 0xffffffff80000000, 0xff,
        0x3ff0000000000000, 0xffffffff3f800000, 0xffffffff7fc00000, 0x7ff0000000000000,
        0xffffffffffff3c00, 0x0010000000000000, 0xffffffff00000001]


class Generator:
    def __init__(self, seed, wide, narrow):
        self.rnd = random.Random(seed)
        usable = [i for i in wide if i.ext in EXTENSIONS and i.name not in AVOID]
        self.plain = [i for i in usable if i.operands in ('d,s,t', 'd,s', 'd,s,i', 'd,s,>')]
        self.loads = [i for i in usable if i.operands in ('d,o(s)', 'D,o(s)')]
        self.stores = [i for i in usable if i.operands in ('t,o(s)', 'T,o(s)')]
        self.fp = [i for i in usable if i.name[0] == 'f' and i not in self.loads + self.stores]
        self.amo = [i for i in usable if i.name.startswith('amo')]
        self.short = [i for i in narrow if i.ext == 'Zca' and i.expand[0] in
                      ('addi', 'addiw', 'srli', 'srai', 'andi', 'sub', 'xor', 'or', 'and', 'subw',
                       'addw', 'slli', 'add') and 'sp' not in i.operands and i.operands]
        self.free = FREE
        self.labels = 0
        self.out = []

    def label(self):
        self.labels += 1
        return f'.L{self.labels}'

    def emit(self, *lines):
        self.out += lines

    def reg(self):
        """Few registers at a time, so that instructions depend on each other."""
        r = self.rnd
        return r.choice(self.near) if r.random() < 0.8 else r.choice(self.free + [0])

    def word(self, ins, **v):
        self.emit(f'.word {ins.encode(**v):#x} # {ins.name}')

    def rm(self):
        return self.rnd.choice([7, 7, 7, 0, 1, 2, 3, 4])

    def instruction(self):
        r = self.rnd
        kind = r.choices(['plain', 'short', 'load', 'store', 'fp', 'amo', 'const', 'csr', 'lrsc'],
                         [36, 12, 9, 9, 20, 3, 5, 2, 1])[0]
        if kind == 'plain':
            i = r.choice(self.plain)
            imm = r.randrange(-2048, 2048) if i.has('i') else r.randrange(64)
            if i.name == 'slliw' or i.has('h5'):
                imm &= 31
            self.word(i, rd=self.reg(), rs1=self.reg(), rs2=self.reg(), imm=imm)
        elif kind == 'short':
            i = r.choice(self.short)
            low = [x for x in self.free if 8 <= x <= 15]
            d = r.choice(low)
            imm = r.randrange(1, 32)
            self.emit(f'.half {i.encode(rd=d, rs2=r.choice(low), imm=imm):#x} # {i.name}')
        elif kind in ('load', 'store'):
            i = r.choice(self.loads if kind == 'load' else self.stores)
            base, imm = 9, r.randrange(0, MEMORY - 8)
            if r.random() < 0.7:
                imm &= ~7
            if r.random() < 0.3:  # a computed address
                base = r.choice(self.free)
                self.emit(f'andi x{base}, x{self.reg()}, 0x3f8', f'add x{base}, x{base}, x9')
                imm = r.randrange(0, 1000)
            self.word(i, rd=self.reg(), rs1=base, rs2=self.reg(), imm=imm)
        elif kind == 'fp':
            i = r.choice(self.fp)
            f = [r.choice(self.fnear) if r.random() < 0.8 else r.randrange(32) for _ in range(4)]
            x = self.reg()
            to_int, from_int = i.operands[0] == 'd', ',s' in i.operands
            self.word(i, rd=x if to_int else f[0], rs1=x if from_int else f[1], rs2=f[2],
                      rs3=f[3], rm=self.rm())
        elif kind == 'amo':
            i = r.choice(self.amo)
            base = r.choice(self.free)
            self.emit(f'addi x{base}, x9, {r.randrange(0, MEMORY - 8) & ~7}')
            self.word(i, rd=self.reg(), rs1=base, rs2=self.reg(), q=r.randrange(4))
        elif kind == 'const':
            self.emit(f'li x{r.choice(self.free)}, {r.choice(EDGE + [r.getrandbits(64)]):#x}')
        elif kind == 'lrsc':
            a, b = r.sample(self.free, 2)
            w = r.choice('wd')
            lab = self.label()
            self.emit(f'addi x{a}, x9, {r.randrange(0, MEMORY - 8) & ~7}', f'{lab}:',
                      f'lr.{w} x{b}, (x{a})', f'addi x{b}, x{b}, 3', f'sc.{w} x{b}, x{b}, (x{a})',
                      f'bnez x{b}, {lab}')
        else:
            self.emit(r.choice([f'fsrmi {r.randrange(5)}', f'frflags x{r.choice(self.free)}',
                                f'frcsr x{r.choice(self.free)}', f'fsflagsi {r.randrange(32)}',
                                f'frrm x{r.choice(self.free)}']))

    def body(self, depth, size):
        r = self.rnd
        n = 0
        while n < size:
            self.near = r.sample(self.free, 5)
            self.fnear = r.sample(range(32), 5)
            run_length = r.randrange(1, 9)
            for _ in range(run_length):
                self.instruction()
            n += run_length
            what = r.random()
            if what < 0.3:  # forward branch over a few
                lab = self.label()
                self.emit(f'{r.choice(["beq", "bne", "blt", "bge", "bltu", "bgeu"])} '
                          f'x{self.reg()}, x{self.reg()}, {lab}')
                for _ in range(r.randrange(0, 5)):
                    self.instruction()
                self.emit(f'{lab}:')
            elif what < 0.45 and depth < 2:  # loop
                lab, counter = self.label(), 18 + depth
                self.emit(f'li x{counter}, {r.choice([1, 2, 3, 20])}', f'{lab}:')
                self.body(depth + 1, r.randrange(3, 12))
                self.emit(f'addi x{counter}, x{counter}, -1', f'bnez x{counter}, {lab}')
                n += 8
            elif what < 0.6:
                self.emit(f'call function{r.randrange(6)}')
            elif what < 0.68:  # a jump through a table
                a, b, end = r.choice(self.free), r.choice(self.free), self.label()
                cases = [self.label() for _ in range(4)]
                table = self.label()
                self.emit(f'andi x{a}, x{self.reg()}, 3', f'slli x{a}, x{a}, 3',
                          f'la x{b if b != a else 31}, {table}' if b != a or a != 31 else
                          f'la x30, {table}')
                t = (b if b != a else 31) if b != a or a != 31 else 30
                self.emit(f'add x{t}, x{t}, x{a}', f'ld x{t}, 0(x{t})', f'jr x{t}')
                for c in cases:
                    self.emit(f'{c}:')
                    self.instruction()
                    self.emit(f'j {end}')
                self.emit(f'{end}:', '.pushsection .rodata', '.balign 8', f'{table}:')
                self.emit(*[f'.dword {c}' for c in cases], '.popsection')

    def dump(self):
        for i in range(1, 32):
            self.emit(f'sd x{i}, {8 * i}(x8)')
        self.emit('frcsr x5', 'sd x5, 0(x8)')
        self.emit(*[f'fsd f{i}, {256 + 8 * i}(x8)' for i in range(32)])
        self.emit('addi x8, x8, 512', 'sd x20, 0(x8)', 'addi x8, x8, 8', 'mv x5, x9',
                  f'addi x6, x9, {MEMORY // 2}', f'addi x6, x6, {MEMORY // 2}',
                  '1: ld x7, 0(x5)', 'sd x7, 0(x8)', 'addi x5, x5, 8', 'addi x8, x8, 8',
                  'bne x5, x6, 1b')

    def source(self):
        r = self.rnd
        self.emit('.option nopic', '.option norelax', '.option norvc', '.text', '.globl _start',
                  '_start: la x8, out', 'la x9, memory', 'li x2, 0', 'li x3, 0', 'li x4, 0', 'li x18, 0', 'li x19, 0', 'li x20, 0',
                  'fscsr x0')
        for i in FREE:
            self.emit(f'li x{i}, {r.choice(EDGE + [r.getrandbits(64)]):#x}')
        for i in range(32):
            self.emit(f'li x5, {r.choice(EDGE + [r.getrandbits(64)]):#x}', f'fmv.d.x f{i}, x5')
        for _ in range(PARTS):
            self.body(0, 60)
            self.dump()
        self.emit('la a1, out', 'sub s0, s0, a1', '2: li a0, 1', 'mv a2, s0', 'li a7, 64',
                  'ecall', 'blez a0, 3f', 'add a1, a1, a0', 'sub s0, s0, a0', 'bnez s0, 2b',
                  '3: snez a0, s0', 'li a7, 93', 'ecall')
        for i in range(6):  # leaves, and one that calls
            self.emit(f'function{i}:')
            if i == 5:
                self.emit('mv x20, ra')
            self.near, self.fnear = r.sample(FREE[1:], 5), r.sample(range(32), 5)
            self.free = [x for x in FREE if x != 1]
            for _ in range(r.randrange(1, 8)):
                self.instruction()
            self.free = FREE
            if i == 5:
                self.emit('call function0', 'mv ra, x20')
            self.emit('ret')
        self.emit('.data', '.balign 64', 'memory:')
        self.emit(*[f'.dword {r.getrandbits(64):#x}' for _ in range(MEMORY // 8)])
        self.emit('.bss', '.balign 64', f'out: .skip {PARTS * PART_WORDS * 8}')
        return '\n'.join(self.out) + '\n'


def build(work, seed, tables):
    src, exe = work / f'p{seed}.s', work / f'p{seed}'
    src.write_text(Generator(seed, *tables).source())
    status, _, err = run([GCC, '-march=rv64gc', '-mabi=lp64d', '-static', '-nostdlib',
                          '-Wl,--no-relax', '-Wl,-z,noexecstack', str(src), '-o', str(exe)])
    if status:
        raise SystemExit(f'seed {seed}: {err.decode(errors="replace")[:2000]}')
    return exe


def place(index):
    part, w = divmod(index, PART_WORDS)
    what = ('fcsr' if w == 0 else f'x{w}' if w < 32 else f'f{w - 32}' if w < 64 else
            'x20' if w == 64 else f'memory + {8 * (w - 65)}')
    return f'part {part}, {what}'


def difference(want, got):
    for i in range(0, min(len(want), len(got)), 8):
        if want[i:i + 8] != got[i:i + 8]:
            return (f'{place(i // 8)}: {int.from_bytes(got[i:i + 8], "little"):#x}, not '
                    f'{int.from_bytes(want[i:i + 8], "little"):#x}')
    return '' if len(want) == len(got) else f'{len(got)} bytes, not {len(want)}'


def main():
    if not have(GCC):
        skip('random programs', f'no {GCC}')
        return
    work = work_dir()
    tables = gen_rv.parse(TOP / 'spec/rv64.isa')
    count = int(os.environ.get('RV_PROGRAMS', '400' if LONG else '24'))
    first = int(SEED) * 1000
    seeds = range(first, first + count)
    print(f'# seeds {first} to {first + count - 1} (RV_SEED={SEED} RV_PROGRAMS={count})')
    modes = isomer_modes()
    qemu = None
    with ThreadPoolExecutor(2) as pool:
        exes = list(pool.map(lambda s: build(work, s, tables), seeds))
        if have(QEMU):
            for cpu in CPUS:
                if run([QEMU, '-cpu', cpu, str(exes[0])])[0] == 0:
                    qemu = [QEMU, '-cpu', cpu]
                    break
        if not qemu:
            print(f'# no {QEMU} that runs these: the modes are compared with each other')
        name, prefix = ('QEMU', qemu) if qemu else next(iter(modes.items()))
        wants = list(pool.map(lambda e: run(prefix + [str(e)]), exes))
        for mode, prefix in modes.items():
            gots = pool.map(lambda e: run(prefix + [str(e)]), exes)
            for seed, want, got in zip(seeds, wants, gots):
                why = difference(want[1], got[1])
                if want[0] != got[0]:
                    why = f'status {got[0]}, {name} {want[0]} ' + why + \
                          got[2].decode(errors='replace')[-200:]
                elif len(want[1]) != PARTS * PART_WORDS * 8:
                    why = f'{name} wrote {len(want[1])} bytes'
                verdict(f'program {seed}, {mode}', why)


main()
