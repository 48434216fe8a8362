#!/usr/bin/env python3
# t_rv_disasm.py: the disassembler against objdump. SPDX-License-Identifier: Apache-2.0
"""Random words and the text sections of real programs, disassembled by both.

What objdump of binutils 2.40 does not know, or writes in another way, is listed below; for
everything else the text must be the same. Seed: RV_SEED.
"""
import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

TOP = Path(os.environ.get('TOP', Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get('BUILD', TOP / 'build'))
sys.path.insert(0, str(TOP / 'tools'))
import gen_rv  # noqa: E402

OBJDUMP = 'riscv64-linux-gnu-objdump'
ARCH = ('rv64gc_zba_zbb_zbc_zbs_zbkb_zfh_zicbom_zicboz_zicsr_zifencei_zihintpause_zawrs')
# Extensions binutils 2.40 has no mnemonics for.
YOUNG = {'Zfa', 'Zacas', 'Zicond', 'Zimop', 'Zcmop', 'Zcb', 'Zihintntl'}
# objdump wants these with one rounding mode (the result is exact), we with any.
EXACT = {'fcvt.d.w', 'fcvt.d.wu', 'fcvt.d.s', 'fcvt.d.h', 'fcvt.s.h', 'fcvt.s.w'}
# What objdump knows and user mode does not have.
PRIVILEGED = {'sret', 'mret', 'uret', 'dret', 'wfi', 'sfence.vma', 'sfence.vm', 'cbo.inval'}


def normal(text):
    """One spelling for what both say."""
    text = re.sub(r'\s*[#<].*', '', text).strip()
    text = re.sub(r'\s+', ' ', text)
    name, _, ops = text.partition(' ')
    if name.startswith('csr'):                 # names of CSRs differ with the privileged version
        part = ops.split(',')
        if len(part) == 3:
            part[1] = 'csr'
        ops = ','.join(part)
    if name == 'c.nop':                        # c.nop is c.addi zero
        name, ops = 'c.addi', 'zero,' + (ops or '0')
    if name.startswith('c.ntl.'):
        ops = 'zero,' + {'p1': 'sp', 'pall': 'gp', 's1': 'tp', 'all': 't0'}[name[6:]]
        name = 'c.add'
    if name in ('c.srli', 'c.srai', 'c.slli') and ops.endswith(',0x0'):
        name += '64'                           # the hint's name of RV128
        ops = ops[:-4]
    if name in ('pause', 'fence.tso'):
        return 'fence'
    if name in ('fence',):
        return 'fence'
    if name == 'zext.h':
        name, ops = 'packw', ops + ',zero'
    if name in ('ori', 'prefetch.i', 'prefetch.r', 'prefetch.w') and \
            (name != 'ori' or ops.startswith('zero,')):
        return 'ori hint'
    return f'{name} {ops}'.strip()


def objdump(path, work):
    """Address -> text; the section is made without mapping symbols, so all of it is code."""
    asm, obj, out = work / 'empty.s', work / 'empty.o', work / 'code.o'
    asm.write_text('.text\n')
    subprocess.run(['riscv64-linux-gnu-as', f'-march={ARCH}', '-o', obj, asm], check=True)
    subprocess.run(['riscv64-linux-gnu-objcopy', f'--update-section=.text={path}', obj, out],
                   check=True)
    text = subprocess.run([OBJDUMP, '-d', '-z', '-M', 'no-aliases', out], check=True,
                          capture_output=True, text=True).stdout
    lines = {}
    for line in text.splitlines():
        m = re.match(r'\s*([0-9a-f]+):\t([0-9a-f ]+)\t(.*)', line)
        if m:
            lines[int(m[1], 16)] = m[3]
    return lines


def compare(name, path, work, insns):
    ours = {}
    tool = BUILD / 'tests/guest/rv_dis'
    for line in subprocess.run([tool, path], check=True, capture_output=True,
                               text=True).stdout.splitlines():
        addr, _, text = line.partition('\t')
        ours[int(addr, 16)] = text
    theirs = objdump(path, work)
    young = {i.name for i in insns if i.ext in YOUNG}
    same, newer, bad = 0, 0, []
    for addr in sorted(ours.keys() & theirs.keys()):
        a, b = normal(ours[addr]), normal(theirs[addr])
        word = ours[addr].split()[0]
        unknown = re.match(r'\.([0-9]byte|short|word|insn)', b)
        if a == b or a.startswith('.') and unknown:
            same += 1
        elif ours[addr].endswith('0x6101'):     # c.addi16sp with 0 is reserved
            newer += 1
        elif unknown and (word in EXACT or word.startswith('fence') or any(word == y or word.startswith(y + '.')
                                               for y in young)):
            newer += 1
        elif a.startswith('.') and (b.split()[0] in PRIVILEGED or b.split()[0].startswith(
                ('hfence', 'sfence', 'hinval', 'sinval', 'hlv', 'hsv', 'prefetch')) or
                b.split()[0].endswith('.q') or '.q.' in b.split()[0] or
                re.search(r'unknown', b) or b.split()[0] in ('flq', 'fsq')):
            newer += 1
        else:
            bad.append(f'{addr:#x}: "{a}", objdump "{b}"')
    print(f'# {name}: {same} the same, {newer} beyond objdump, {len(bad)} differ')
    if bad:
        print(f'not ok - {name}: ' + '; '.join(bad[:int(os.environ.get('RV_SHOW', '6'))]))
    elif same < 100:
        print(f'not ok - {name}: only {same} instructions')
    else:
        print(f'ok - {name}')


def random_words(path, insns, seed):
    rnd = random.Random(seed)
    data = b''
    for i in insns:
        for _ in range(24):
            w = rnd.getrandbits(i.width) & ~i.mask | i.match
            data += struct.pack('<I' if i.width == 32 else '<H', w)
    for _ in range(20000):
        w = rnd.getrandbits(32) | 3
        if w & 0x1c != 0x1c:                   # longer than 32 bits
            data += struct.pack('<I', w)
    for w in range(0, 0x10000):
        if w & 3 != 3:
            data += struct.pack('<H', w)
    path.write_bytes(data + b'\x01\0' * 4)


def main():
    work = Path(os.environ.get('TMPDIR', '/tmp'))
    if subprocess.run(['which', OBJDUMP], capture_output=True).returncode:
        print(f'skip - disassembler: no {OBJDUMP}')
        return
    wide, narrow = gen_rv.parse(TOP / 'spec/rv64.isa')
    seed = int(os.environ.get('RV_SEED', '1'))
    print(f'# seed {seed}')
    path = work / 'random.bin'
    random_words(path, wide + narrow, seed)
    compare('random words', path, work, wide + narrow)
    root = os.environ.get('ISOMER_ROOT_RISCV64', '')
    real = [Path(root, p) for p in ('usr/bin/bash', 'bin/bash', 'usr/bin/perl')] if root else []
    real += [Path('/usr/riscv64-linux-gnu/lib/libc.so.6'),
             Path('/usr/riscv64-linux-gnu/lib/libm.so.6')]
    for elf in real:
        if elf.is_file():
            text = work / 'text.bin'
            subprocess.run(['riscv64-linux-gnu-objcopy', '-O', 'binary', '-j', '.text', elf,
                            text], check=True)
            compare(f'.text of {elf.name}', text, work, wide + narrow)


main()
