#!/usr/bin/env python3
# t_riscv_tests.py: the user-level tests of riscv-tests. SPDX-License-Identifier: Apache-2.0
"""Builds the 168 tests rv64u{i,m,a,f,d,c,zfh,zba,zbb,zbc,zbs,zbkb} (and those of Zicond) from
the checkout in ISOMER_RISCV_TESTS with the environment in env/, and runs each in every mode.
"""
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rv_common import GCC, TOP, have, isomer_modes, run, skip, verdict, work_dir  # noqa: E402

GROUPS = {'ui': 54, 'um': 13, 'ua': 19, 'uf': 11, 'ud': 12, 'uc': 1, 'uzfh': 11, 'uzba': 8,
          'uzbb': 24, 'uzbc': 3, 'uzbs': 8, 'uzbkb': 4, 'uzicond': 2}
MARCH = 'rv64gc_zba_zbb_zbc_zbs_zbkb_zfh'
WRITABLE_TEXT = {'fence_i', 'rvc'}  # they write to text: one writable segment


def build(isa, group, name, work):
    out = work / f'rv64{group}-{name}'
    cmd = [GCC, f'-march={MARCH}', '-mabi=lp64d', '-static', '-nostdlib', '-nostartfiles',
           '-mcmodel=medany', '-Wl,--no-relax', '-Wl,--build-id=none', '-Wl,-z,noexecstack',
           '-I', str(TOP / 'tests/guest/env'), '-I', str(isa / 'macros/scalar'),
           str(isa / f'rv64{group}/{name}.S'), '-o', str(out)]
    if group == 'uzicond' and not zicond_known(work):
        cmd.insert(1, '-DISOMER_OLD_ZICOND')
    if name in WRITABLE_TEXT:
        cmd.append('-Wl,--omagic')
    status, _, err = run(cmd)
    return (out, '') if status == 0 else (None, err.decode(errors='replace').strip()[-300:])


def zicond_known(work, cache={}):
    if 'known' not in cache:
        src = work / 'zicond.S'
        src.write_text('czero.eqz a0, a0, a0\n')
        cache['known'] = run([GCC, '-march=rv64gc_zicond', '-c', str(src), '-o',
                              str(work / 'zicond.o')])[0] == 0
    return cache['known']


def main():
    where = os.environ.get('ISOMER_RISCV_TESTS')
    if not where or not Path(where, 'isa/rv64ui').is_dir():
        skip('riscv-tests', 'ISOMER_RISCV_TESTS is not a checkout of riscv-tests: all 168 user-'
             'level conformance tests are left out')
        return
    if not have(GCC):
        skip('riscv-tests', f'no {GCC}')
        return
    isa, work = Path(where) / 'isa', work_dir()
    zicond_known(work)
    names = [(g, p.stem) for g in GROUPS for p in sorted((isa / f'rv64{g}').glob('*.S'))]
    for g, n in GROUPS.items():
        have_n = sum(1 for x in names if x[0] == g)
        if have_n < n:
            verdict(f'rv64{g} is complete', f'{have_n} of {n} tests')
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda x: build(isa, *x, work), names))
        for (g, name), (_, why) in zip(names, built):
            if why:
                verdict(f'rv64{g}-{name} builds', why)
        for mode, prefix in isomer_modes().items():
            runs = pool.map(lambda b: run(prefix + [str(b[0])], 60) if b[0] else None, built)
            for (g, name), got in zip(names, runs):
                if got is None:
                    continue
                status, _, err = got
                tail = err.decode(errors='replace').strip().splitlines()[-1:]
                why = ('' if status == 0 else 'does not end' if status is None else
                       f'case {status}' if 0 < status < 124 else
                       f'status {status} {" ".join(tail)}')
                verdict(f'rv64{g}-{name}, {mode}', why)


main()
