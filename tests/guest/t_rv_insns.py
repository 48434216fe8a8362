#!/usr/bin/env python3
# t_rv_insns.py: every instruction over edge values. SPDX-License-Identifier: Apache-2.0
"""Programs made by rv_insn_gen.py run in every mode of the emulator. Their results must have the
digests in rv_insns.expect; those come from QEMU (`make bless` with a QEMU that knows all the
extensions, 10.0 or later). The QEMU at hand is run as well, on what it knows: it must agree, and
says what the right result was where ours differs.
"""
import hashlib
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import rv_insn_gen  # noqa: E402
from rv_common import GCC, QEMU, TOP, have, isomer_modes, run, skip, verdict, work_dir  # noqa: E402

EXPECT = TOP / 'tests/guest/rv_insns.expect'
BLESS = os.environ.get('TEST_BLESS') == '1'
ONLY = os.environ.get('RV_GROUP')
CPUS = ['max', 'rv64,zba=on,zbb=on,zbc=on,zbs=on,zbkb=on,Zfh=on', 'rv64']


def qemu_command(probe):
    """QEMU with as many extensions as it has; None without QEMU."""
    if not have(QEMU):
        return None
    for cpu in CPUS:
        if run([QEMU, '-cpu', cpu, str(probe)])[0] == 0:
            return [QEMU, '-cpu', cpu]
    return None


def build(work, group, program):
    name = group.replace(' ', '-')
    src, exe = work / f'{name}.s', work / name
    src.write_text(program.source())
    status, _, err = run([GCC, '-march=rv64gc', '-mabi=lp64d', '-static', '-nostdlib',
                          '-Wl,--no-relax', '-Wl,-z,noexecstack', str(src), '-o', str(exe)])
    if status:
        raise SystemExit(f'{group}: {err.decode(errors="replace")[:2000]}')
    return exe


def digests(program, out):
    """Instruction -> digest of its results."""
    return {name: hashlib.sha256(block_bytes(program, name, out)[1]).hexdigest()[:16]
            for name, _, _ in program.blocks}


def read_expect():
    if not EXPECT.exists():
        return {}
    lines = (x.rsplit(' ', 1) for x in EXPECT.read_text().splitlines() if x and x[0] != '#')
    return {name: digest for name, digest in lines}


def block_bytes(program, name, out):
    for i, (n, start, _) in enumerate(program.blocks):
        if n == name:
            end = program.blocks[i + 1][1] if i + 1 < len(program.blocks) else program.words
            return start * 8, out[start * 8:end * 8]
    return 0, b''


def check(group, program, mode, result, expect, reference):
    status, out, err = result
    if len(out) != program.words * 8:
        tail = err.decode(errors='replace').strip().splitlines()[-1:]
        at = program.describe(len(out) // 8)[0] if out else 'nothing'
        verdict(f'{group}, {mode}', f'status {status}, {len(out)} of {program.words * 8} bytes '
                f'({at}) {" ".join(tail)}')
        return
    for name, digest in digests(program, out).items():
        want = expect.get(f'{group} {name}')
        why = ''
        if want is None:
            why = 'no expectation: bless'
        elif want != digest:
            why = 'another digest than expected'
            if reference and len(reference) == len(out):
                start, mine = block_bytes(program, name, out)
                _, right = block_bytes(program, name, reference)
                for i in range(0, len(mine), 8):
                    if mine[i:i + 8] != right[i:i + 8]:
                        why = (f'{program.describe((start + i) // 8)[1]}: '
                               f'{int.from_bytes(mine[i:i + 8], "little"):#x}, QEMU '
                               f'{int.from_bytes(right[i:i + 8], "little"):#x}')
                        break
        verdict(f'{name}, {mode}', why)


def main():
    if not have(GCC):
        skip('instructions', f'no {GCC}')
        return
    work = work_dir()
    programs = {g: p for g, p in rv_insn_gen.programs(TOP / 'spec/rv64.isa').items()
                if not ONLY or ONLY == g}
    with ThreadPoolExecutor(2) as pool:
        exes = dict(zip(programs, pool.map(lambda g: build(work, g, programs[g]), programs)))
        probe = work / 'probe.s'
        probe.write_text('.globl _start\n_start: li a0, 0\nli a7, 93\necall\n')
        run([GCC, '-nostdlib', '-static', str(probe), '-o', str(work / 'probe')])
        qemu = qemu_command(work / 'probe')
        reference = {}
        if qemu:
            for g, r in zip(programs, pool.map(lambda g: run(qemu + [str(exes[g])], 120),
                                               programs)):
                if len(r[1]) == programs[g].words * 8:
                    reference[g] = programs[g].reference(r[1])
        # QEMU does not give these to user mode, as Linux does; nothing changes but a2
        if 'Zicbom' in programs:
            reference['Zicbom'] = struct.pack('<QQ', 1, 1)
        expect = read_expect()
        if BLESS:
            missing = [g for g in programs if g not in reference]
            if missing or ONLY:
                raise SystemExit(f'bless: QEMU does not know {", ".join(missing)}')
            lines = [f'{g} {n} {d}' for g in programs
                     for n, d in digests(programs[g], reference[g]).items()]
            EXPECT.write_text('# rv_insns.expect: digests of results, by t_rv_insns.py. '
                              'SPDX-License-Identifier: Apache-2.0\n' + '\n'.join(lines) + '\n')
            verdict('blessed', '')
            return
        for g, out in reference.items():
            wrong = [n for n, d in digests(programs[g], out).items()
                     if expect.get(f'{g} {n}') != d]
            if wrong:
                print(f'# QEMU at hand differs from what is expected: {g} {" ".join(wrong)}')
        print(f'# QEMU knows {len(reference)} of {len(programs)} groups')
        for mode, prefix in isomer_modes().items():
            results = pool.map(lambda g: run(prefix + [str(exes[g])], 120), programs)
            for g, r in zip(programs, results):
                check(g, programs[g], mode, r, expect, reference.get(g))


main()
