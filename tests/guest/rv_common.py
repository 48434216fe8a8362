# rv_common.py: what the instruction tests share. SPDX-License-Identifier: Apache-2.0
"""Emulators under test, and the reference.

ISOMER is the command under test. RV_EMULATORS, if set, replaces its modes: lines or ';' between
"name=command", for work on the guest without the rest of the project, as in
RV_EMULATORS='one=build/tests/guest/rv_run -v;many=build/tests/guest/rv_run -n 40'.
"""
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

TOP = Path(os.environ.get('TOP', Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get('BUILD', TOP / 'build'))
LONG = os.environ.get('TEST_LONG') == '1'
GCC = os.environ.get('RISCV64_GCC', 'riscv64-linux-gnu-gcc')
QEMU = os.environ.get('QEMU', 'qemu-riscv64')
SEED = os.environ.get('RV_SEED', '1')


def isomer_modes():
    """Name -> command prefix of every way to run a program."""
    given = os.environ.get('RV_EMULATORS')
    if given:
        pairs = (e.split('=', 1) for e in given.replace(';', '\n').splitlines() if e.strip())
        return {name.strip(): shlex.split(cmd) for name, cmd in pairs}
    isomer = os.environ.get('ISOMER', str(BUILD / 'src/cli/isomer'))
    run = [isomer, 'run']
    return {'tier 1': run,
            'interpreter': run + ['--interpreter'],
            'deopt': run + [f'--test-deopt={SEED}'],
            'random allocation': run + [f'--test-ra={SEED}'],
            'plain processor': run + ['--cpu-features=-avx512,-avx2,-bmi'],
            'no links': run + ['--no-link']}


def work_dir():
    """A folder of this test's own for what it builds."""
    return Path(tempfile.mkdtemp(prefix='rv-', dir=os.environ.get('TMPDIR')))


def have(command):
    return subprocess.run(['which', command], capture_output=True).returncode == 0


def run(cmd, timeout=60, **kw):
    """Exit status, output and errors; a status below zero is a signal, None the time limit."""
    try:
        p = subprocess.run(cmd, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL,
                           **kw)
        return p.returncode, p.stdout, p.stderr
    except subprocess.TimeoutExpired as e:
        return None, e.stdout or b'', e.stderr or b''


def verdict(name, why):
    """Prints the line of a case; why is empty if it passed."""
    print(f'not ok - {name}: {why}' if why else f'ok - {name}', flush=True)


def skip(name, why):
    print(f'skip - {name}: {why}', flush=True)
