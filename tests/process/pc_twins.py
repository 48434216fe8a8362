"""pc_twins.py: one C program, compiled for both machines, run natively and emulated.
SPDX-License-Identifier: Apache-2.0

The program prints "ok - case" or "not ok - case" lines, and others that must be equal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ISOMER = os.environ["ISOMER"]
CROSS = "riscv64-linux-gnu-gcc"
SYSROOT = "/usr/riscv64-linux-gnu"
FLAGS = ["-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-pthread", "-lm"]
SECONDS = 120

# name, options of isomer, whether the program is static
MODES = [
    ("static", [], True),
    ("dynamic", ["-L", SYSROOT], False),
    ("interpreter", ["--interpreter"], True),
    ("deopt", ["--test-deopt", "--seed=1"], True),
    ("tier2", ["--tier2=on"], True),
    ("tier2-always", ["--tier2=always"], True),
]


def run(command, directory):
    """Runs it in an empty directory: status and lines."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    try:
        p = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, timeout=SECONDS,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as late:
        return "time limit", (late.stdout or b"").decode(errors="replace").splitlines()
    return p.returncode, p.stdout.decode(errors="replace").splitlines()


def compare(mode, want, got):
    """A line for each case of `want`."""
    have = list(got[1])
    for line in want[1]:
        name = line.split(" - ", 1)[1] if line.startswith("ok - ") else line
        if line in have:
            have.remove(line)
            print(f"ok - {mode}: {name}")
        else:
            print(f"not ok - {mode}: {name}: not printed")
    if have or want[0] != got[0]:
        print(f"not ok - {mode}: status {got[0]}, natively {want[0]}; unexpected: {have[:6]}")


def main(name, more=()):
    """All modes of tests/process/c/pc_NAME.c, and more of them."""
    source = HERE / "c" / f"pc_{name}.c"
    if not shutil.which(CROSS):
        print(f"skip - {name}: no {CROSS}")
        return
    here = Path.cwd()
    native, static, dynamic = (here / f"{name}.{x}" for x in ("host", "static", "dynamic"))
    for exe, command in ((native, ["gcc"]), (static, [CROSS, "-static"]), (dynamic, [CROSS])):
        subprocess.run([*command, "-o", exe, source, *FLAGS], check=True)
    want = run([native], here / "native.dir")
    if want[0] != 0 or any(line.startswith("not ok") for line in want[1]):
        print(f"not ok - native: status {want[0]}: "
              f"{[line for line in want[1] if line.startswith('not ok')]}")
        sys.exit(1)
    for mode, options, is_static in [*MODES, *more]:
        exe = static if is_static else dynamic
        compare(mode, want, run([ISOMER, "run", *options, exe], here / f"{mode}.dir"))
