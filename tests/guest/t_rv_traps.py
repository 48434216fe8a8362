#!/usr/bin/env python3
# t_rv_traps.py: the state a guest's signal handler sees. SPDX-License-Identifier: Apache-2.0
"""Instructions that trap, in the middle of code that changes registers: the handler must find the
right signal, code, address, pc, and every register as the instructions before left it. Nothing
behind the trap may have happened. The reference is QEMU; without it what the manual and Linux
say about signal and pc is checked.
"""
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
import gen_rv  # noqa: E402
from rv_common import GCC, QEMU, TOP, have, isomer_modes, run, skip, verdict, work_dir  # noqa: E402

SIGILL, SIGTRAP, SIGBUS, SIGSEGV = 4, 5, 7, 11
RECORD = 36  # words: signal, code, address, pc, x1 to x31, fcsr
GREGS = 176  # of struct ucontext

ILLEGAL = {
    'all zeros': '.half 0', 'all ones': '.word 0xffffffff', 'c.addiw to x0': '.half 0x2001',
    'c.lui 0': '.half 0x6501', 'c.addi16sp 0': '.half 0x6101', 'c.jr x0': '.half 0x8002',
    'c.lwsp to x0': '.half 0x4002', 'rm 5': '.word 0x00c5d553', 'rm 6': '.word 0x00c5e553',
    'wfi? no: mret': '.word 0x30200073', 'sret': '.word 0x10200073',
    'sfence.vma': '.word 0x12000073', 'load 7': '.word 0x0005f503', 'store 4': '.word 0x00a5c023',
    'csr write to cycle': '.word 0xc0051073', 'machine csr': '.word 0x30002573',
    'no csr': '.word 0x00502573', 'custom-0': '.word 0x0000000b',
    'slliw 32': '.word 0x0205151b', 'fadd.q': '.word 0x06c5f553',
}


class Program:
    def __init__(self):
        self.out, self.cases = [], []

    def case(self, name, *trap, signal, before=()):
        """One trap among other instructions; at is where the pc must be."""
        n = len(self.cases)
        self.cases.append((name, signal))
        self.out += [
            f'la s1, resume{n}', f'li s11, {n}', 'li t0, 0x1111', 'li t1, 0x2222', 'li t2, 0x3333',
            'li a0, 5', 'li a1, 7', 'li a2, 9', 'li a3, 11', 'li a4, 0x123456789abcdef',
            'li a5, -1', 'li a6, 3', 'li a7, 2', 'li s2, 17', 'li s3, 19', 'li t3, 23',
            'li t4, 29', 'li t5, 31', 'fsflags x0', f'j start{n}', '.balign 4', f'start{n}:',
            # values that are still in host registers when the trap comes
            'add a0, a0, a1', 'mul a2, a2, a0', 'addiw a5, a5, 1', 'sub t3, t4, a2',
            'fcvt.d.l fa0, a2', 'fcvt.d.l fa1, a0', 'fdiv.d fa2, fa0, fa1', 'lui s4, 0x12345',
            'auipc s5, 0', 'xor s3, s3, s2', 'sltu a6, a6, s2']
        self.out += before
        self.out += [f'trap{n}:'] + list(trap)
        self.out += ['li a0, 0xbad', 'li a2, 0xbad', 'li t3, 0xbad', 'fdiv.d fa2, fa2, fa2',
                     'j bad', f'resume{n}:']

    def source(self):
        head = ['.option nopic', '.option norelax', '.option norvc', '.text', '.globl _start',
                '_start:', 'la s0, out']
        for sig in (SIGILL, SIGTRAP, SIGBUS, SIGSEGV):
            head += [f'li a0, {sig}', 'la a1, action', 'li a2, 0', 'li a3, 8', 'li a7, 134',
                     'ecall']
        tail = ['la a1, out', 'sub s0, s0, a1', '1: li a0, 1', 'mv a2, s0', 'li a7, 64', 'ecall',
                'blez a0, bad', 'add a1, a1, a0', 'sub s0, s0, a0', 'bnez s0, 1b', 'li a0, 0',
                'li a7, 93', 'ecall', 'bad: mv a0, s11', 'li a7, 93', 'ecall',
                'handler:', f'ld t0, {GREGS + 8 * 8}(a2)',  # s0 of the interrupted code
                'sd a0, 0(t0)', 'lw t1, 8(a1)', 'sd t1, 8(t0)', 'ld t1, 16(a1)', 'sd t1, 16(t0)']
        for i in range(32):
            tail += [f'ld t1, {GREGS + 8 * i}(a2)', f'sd t1, {24 + 8 * i}(t0)']
        tail += ['frcsr t1', 'sd x0, 280(t0)', 'addi t1, t0, 288',
                 f'sd t1, {GREGS + 8 * 8}(a2)', f'ld t1, {GREGS + 8 * 9}(a2)',
                 f'sd t1, {GREGS}(a2)', 'ret',
                 '.data', '.balign 8', 'action: .dword handler, 4, 0, 0', 'data: .dword 1, 2, 3, 4',
                 '.bss', '.balign 64', f'out: .skip {len(self.cases) * RECORD * 8 + 64}']
        return '\n'.join(head + self.out + tail) + '\n'


def make(isa):
    p = Program()
    for name, text in ILLEGAL.items():
        p.case(f'illegal: {name}', text, signal=SIGILL)
    p.case('invalid dynamic rounding mode', 'fadd.d fa0, fa1, fa2, dyn', signal=SIGILL,
           before=['fsrmi 5', 'nop'])
    p.out += ['fsrmi 0']
    p.case('static mode under an invalid dynamic one', 'ebreak', signal=SIGTRAP,
           before=['fsrmi 7', 'fadd.d fa0, fa1, fa1, rtz', 'fsrmi 0'])
    p.case('ebreak', 'ebreak', signal=SIGTRAP)
    p.case('c.ebreak', '.half 0x9002', '.half 1', signal=SIGTRAP)
    for i in isa:
        if i.operands in ('d,o(s)', 'D,o(s)', 't,o(s)', 'T,o(s)') and i.name != 'jalr' and \
                i.ext in 'IFD':
            for rd, rs1 in ((12, 10), (10, 10), (0, 10)):
                w = i.encode(rd=rd, rs2=rd, rs1=rs1, imm=-16)
                p.case(f'{i.name} x{rd}, no memory', f'.word {w:#x}', signal=SIGSEGV,
                       before=['li a0, 0x1010'])
        elif i.name.startswith(('amo', 'lr')) and i.ext == 'A':
            w = i.encode(rd=12, rs1=10, rs2=0 if i.name[0] == 'l' else 11)
            p.case(f'{i.name}, no memory', f'.word {w:#x}', signal=SIGSEGV,
                   before=['li a0, 0x1010'])
            p.case(f'{i.name}, misaligned', f'.word {w:#x}', signal=SIGBUS,
                   before=['la a0, data + 2'])
    p.case('store to text', 'sw a5, 0(a0)', signal=SIGSEGV, before=['la a0, _start'])
    p.case('address beyond user space', 'ld a5, 0(a0)', signal=SIGSEGV,
           before=['li a0, 0x4000000000000000'])
    return p


# QEMU gives no address for one that no host program can have; Linux does.
QEMU_WRONG = {'address beyond user space'}


def text_of(record):
    names = ['signal', 'code', 'address', 'pc'] + [f'x{i}' for i in range(1, 32)]
    return {n: v for n, v in zip(names, record)}


def check(p, mode, got, want):
    status, out, err = got
    size = RECORD * 8
    for n, (name, signal) in enumerate(p.cases):
        rec = out[n * size:(n + 1) * size]
        if len(rec) < size:
            verdict(f'{name}, {mode}', f'status {status} {err.decode(errors="replace")[-200:]}')
            return
        mine = text_of(struct.unpack(f'<{RECORD}Q', rec))
        why = '' if mine['signal'] == signal else f'signal {mine["signal"]}, not {signal}'
        if want and not why:
            right = text_of(struct.unpack(f'<{RECORD}Q', want[n * size:(n + 1) * size]))
            diff = [k for k in mine if mine[k] != right[k] and k not in ('x2', 'x3', 'x4')]
            if name in QEMU_WRONG:
                diff = [k for k in diff if k not in ('signal', 'code', 'address')]
            why = ', '.join(f'{k} {mine[k]:#x}, QEMU {right[k]:#x}' for k in diff[:4])
        verdict(f'{name}, {mode}', why)


def main():
    if not have(GCC):
        skip('traps', f'no {GCC}')
        return
    work = work_dir()
    p = make(gen_rv.parse(TOP / 'spec/rv64.isa')[0])
    src, exe = work / 'traps.s', work / 'traps'
    src.write_text(p.source())
    status, _, err = run([GCC, '-march=rv64gc', '-mabi=lp64d', '-static', '-nostdlib',
                          '-Wl,--no-relax', '-Wl,-z,noexecstack', str(src), '-o', str(exe)])
    if status:
        raise SystemExit(err.decode(errors='replace')[:2000])
    want = None
    if have(QEMU):
        status, want, _ = run([QEMU, str(exe)])
        if len(want) != len(p.cases) * RECORD * 8:
            print(f'# QEMU: status {status}, {len(want)} bytes')
            want = None
    for mode, prefix in isomer_modes().items():
        check(p, mode, run(prefix + [str(exe)]), want)


main()
