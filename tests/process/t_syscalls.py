#!/usr/bin/env python3
# t_syscalls.py: system calls, native against emulated. SPDX-License-Identifier: Apache-2.0
"""Compiles each sys_*.c for both machines, runs both and compares line by line. A line is
"case: result". Also with isomer started without a sysroot and with one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ISOMER = os.environ["ISOMER"]
CROSS = "riscv64-linux-gnu-gcc"
SYSROOT = "/usr/riscv64-linux-gnu"


def run(cmd, cwd):
    cwd.mkdir()
    p = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=120)
    return p.returncode, p.stdout.decode(errors="replace").splitlines()


def compare(what, want, got):
    """Lines of `want` in order; each is a case."""
    for i, line in enumerate(want[1]):
        name = f"{what}: {line.split(':')[0]}"
        have = got[1][i] if i < len(got[1]) else "(nothing)"
        if have == line:
            print(f"ok - {name}")
        else:
            print(f"not ok - {name}: native '{line}', emulated '{have}'")
    if want[0] == got[0] and len(want[1]) == len(got[1]):
        print(f"ok - {what}: status")
    else:
        print(f"not ok - {what}: status {got[0]} instead of {want[0]}, "
              f"{len(got[1])} lines instead of {len(want[1])}: {got[1][len(want[1]):][:3]}")


# Calls that sys_sweep.c does not make, and why.
NOT_SWEPT = {
    "ends or changes the machine or the session": "vhangup reboot sethostname setdomainname swapon "
    "swapoff umount2 pivot_root acct settimeofday kill",
    "what it does with nonsense is not to be compared": "exit exit_group rt_sigreturn clone clone3 "
    "execve execveat brk munmap mseal",
    "not there on x86-64": "riscv_hwprobe riscv_flush_icache restart_syscall",
}


def table():
    """Every call that is made is in sys_sweep.c, or has a reason not to be."""
    swept = set(re.findall(r"CALL\((\w+)\)", (HERE / "sys_sweep.c").read_text()))
    excused = {name for names in NOT_SWEPT.values() for name in names.split()}
    missing = []
    for line in (HERE.parent.parent / "spec/linux_riscv64.syscalls").read_text().splitlines():
        words = line.split("#")[0].split()
        if words and words[2] not in ("nosys", "perm") and words[1] not in swept | excused:
            missing.append(words[1])
    print(f"not ok - every call has a test: {missing}" if missing else "ok - every call has a test")


def main():
    table()
    if not shutil.which(CROSS):
        print(f"skip - system calls: no {CROSS}")
        return
    top = Path.cwd()
    for source in sorted(HERE.glob("sys_*.c")):
        name = source.stem
        flags = ["-O1", "-w", "-pthread", str(source), "-lrt", "-lutil"]
        native, static, dynamic = (top / f"{name}.{x}" / name for x in ("host", "rv", "rvd"))
        for exe, cc in ((native, ["gcc"]), (static, [CROSS, "-static"]), (dynamic, [CROSS])):
            exe.parent.mkdir()
            subprocess.run([*cc, "-o", str(exe), *flags], check=True)
        want = run([native, "arg"], top / f"{name}.1")
        if len(want[1]) < 20:
            print(f"not ok - {name}: printed {len(want[1])} lines natively")
        compare(f"{name} static", want, run([ISOMER, "run", static, "arg"], top / f"{name}.2"))
        compare(f"{name} dynamic", want,
                run([ISOMER, "run", "-L", SYSROOT, dynamic, "arg"], top / f"{name}.3"))


if __name__ == "__main__":
    main()
