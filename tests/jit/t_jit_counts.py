#!/usr/bin/env python3
"""t_jit_counts.py: the host code of small guest snippets is the expected one.
SPDX-License-Identifier: Apache-2.0

counts/*.txt hold cases: "case NAME", the guest's assembly (each line with its code in
hexadecimal behind '#'), then the host instructions, hot and cold, with their counts. The first
line of a file names the host features to take away. TEST_BLESS=1 rewrites the expectations,
and assembles new lines with riscv64-linux-gnu-as: a case is added by writing its assembly.
"""
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get('BUILD', HERE.parents[1] / 'build'))
BLESS = os.environ.get('TEST_BLESS') == '1'
TOOLS = os.environ.get('RISCV64_PREFIX', 'riscv64-linux-gnu-')
MARCH = 'rv64imafdc_zicsr_zifencei_zba_zbb_zbc_zbs'


class Case:
    """Guest lines as (assembly, hexadecimal or None) and the expected text."""

    def __init__(self, name):
        self.name, self.guest, self.want = name, [], []

    def hex(self):
        return ''.join(code or '' for _, code in self.guest)

    def text(self):
        lines = [f'case {self.name}']
        lines += [f'    {asm:32}# {code}' if code else f'    {asm}' for asm, code in self.guest]
        return '\n'.join(lines + self.want)


def load(path):
    """The file's comment lines, its features, and its cases."""
    head, cases, features = [], [], ''
    for line in path.read_text().splitlines():
        if not cases and not line.startswith('case '):
            head.append(line)
            if line.startswith('features '):
                features = line.split()[1]
        elif line.startswith('case '):
            cases.append(Case(line[5:]))
        elif line.strip() and (cases[-1].want or re.match(r'(hot|cold) \d|gave up', line)):
            cases[-1].want.append(line)
        elif line.strip():
            asm, _, code = line.strip().partition('#')
            cases[-1].guest.append((asm.strip(), code.strip() or None))
    return '\n'.join(head).strip(), '' if features == 'all' else features, cases


def assemble(case):
    """Fills in the code of every line; labels are lines of their own."""
    with tempfile.TemporaryDirectory() as tmp:
        src, obj = Path(tmp, 'a.s'), Path(tmp, 'a.o')
        text = ['.option norelax', '.option arch, +zacas' if 'amocas' in case.text() else '']
        for n, (asm, _) in enumerate(case.guest):
            text += [f'mark{n}:' if not asm.endswith(':') else '', asm]
        src.write_text('\n'.join(text + [f'mark{len(case.guest)}:', '']))
        subprocess.run([TOOLS + 'as', f'-march={MARCH}', '-o', obj, src], check=True)
        subprocess.run([TOOLS + 'objcopy', '-O', 'binary', '-j', '.text', obj, Path(tmp, 'b')],
                       check=True)
        code = Path(tmp, 'b').read_bytes()
        nm = subprocess.run([TOOLS + 'nm', obj], check=True, capture_output=True, text=True)
    at = {m[2]: int(m[1], 16) for m in re.finditer(r'^(\w+) . (mark\d+)$', nm.stdout, re.M)}
    marks = [n for n, (asm, _) in enumerate(case.guest) if not asm.endswith(':')]
    ends = [at[f'mark{n}'] for n in marks[1:]] + [at[f'mark{len(case.guest)}']]
    for n, end in zip(marks, ends):
        case.guest[n] = (case.guest[n][0], code[at[f'mark{n}']:end].hex())


def host_code(features, cases):
    """The text of each case, or None: cannot be had here."""
    r = subprocess.run([BUILD / 'tests/jit/jit_counts'] + ([features] if features else []),
                       input=''.join(c.hex() + '\n' for c in cases), capture_output=True,
                       text=True)
    if r.returncode == 77:
        return None, r.stderr.strip()
    if r.returncode:
        return None, f'status {r.returncode}: {r.stderr.strip()}'
    return [t.splitlines() for t in r.stdout.split('\n\n')[:len(cases)]], ''


def main():
    failed = False
    if not (BUILD / 'tests/jit/jit_counts').exists():
        print('skip - counts: no code generator for this machine')
        return 0
    for path in sorted((HERE / 'counts').glob('*.txt')):
        head, features, cases = load(path)
        if BLESS:
            for case in cases:
                if any(not c and not a.endswith(':') for a, c in case.guest):
                    assemble(case)
        got, why = host_code(features, cases)
        if got is None:
            skip = not why.startswith('status')
            print(f'{"skip" if skip else "not ok"} - {path.stem}: {why}')
            failed |= not skip
            continue
        for case, text in zip(cases, got):
            if BLESS:
                case.want = text
            if case.want == text:
                print(f'ok - {path.stem}: {case.name}')
                continue
            failed = True
            print(f'not ok - {path.stem}: {case.name}: other host code')
            for line in difflib.unified_diff(case.want, text, 'expected', 'now', lineterm='', n=9):
                print('   ', line)
        if BLESS:
            path.write_text(head + '\n\n' + '\n\n'.join(c.text() for c in cases) + '\n')
    return failed


sys.exit(main())
