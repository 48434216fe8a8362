#!/usr/bin/env python3
# t_trace.py: --trace=syscalls against strace. SPDX-License-Identifier: Apache-2.0
"""One program, natively under strace and emulated: the same lines, addresses and process numbers
aside. Calls that only one of the machines has are few and written down here."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ISOMER = os.environ["ISOMER"]
HERE = Path(__file__).resolve().parent
CROSS = "riscv64-linux-gnu-gcc"


def case(name, why=None):
    print(f"not ok - {name}: {why}" if why else f"ok - {name}")


def build(compiler, out):
    subprocess.run([compiler, "-D_GNU_SOURCE", "-O1", "-w", "-static", "-o", out,
                    HERE / "c" / "dbg_trace.c"], check=True)


def normal(line):
    """What is equal on both machines."""
    line = re.sub(r" += ", " = ", line)
    line = re.sub(r"0x[0-9a-f]+", "ADDR", line)
    line = re.sub(r"si_(pid|uid)=\d+", r"si_\1=N", line)
    line = re.sub(r"^(getpid\(\) = |kill\()\d+", r"\1N", line)
    line = re.sub(r"SA_RESTORER\|", "", line)
    line = re.sub(r", sa_restorer=ADDR", "", line)
    return re.sub(r"rt_sigreturn\(.*\)", "rt_sigreturn()", line)


def window(lines):
    """The lines between the two marks."""
    at = [i for i, line in enumerate(lines) if line.startswith("mkdirat(-5")]
    return [normal(line) for line in lines[at[0]:at[1] + 1]] if len(at) == 2 else lines


def main():
    if not shutil.which(CROSS):
        print(f"skip - trace: no {CROSS}")
        return
    build(CROSS, "guest")
    p = subprocess.run([ISOMER, "run", "--trace=syscalls", "--trace-file", "trace", "./guest"])
    lines = Path("trace").read_text().splitlines()
    got = window(lines)
    case("status", None if p.returncode == 3 else p.returncode)
    case("begins with execve", None if lines[0].startswith('execve("./guest", ["./guest"], ') else
         lines[0])
    case("ends with exit", None if lines[-2:] == ["exit_group(3) = ?", "+++ exited with 3 +++"] or
         normal(lines[-2]) == "exit_group(3) = ?" and lines[-1] == "+++ exited with 3 +++"
         else lines[-2:])
    want = 'writev(5, [{iov_base="ab", iov_len=2}, {iov_base="\\n\\"\\\\\\1\\0012", iov_len=6}], 2) = 8'
    case("vectors", None if want in got else got)
    want = 'write(5, "01234567890123456789012345678901"..., 40) = 40'
    case("long data is cut", None if want in got else got)
    strace = shutil.which("strace")
    if strace and shutil.which("gcc"):
        build("gcc", "host")
        subprocess.run([strace, "-o", "strace.out", "./host"])
        native = window(Path("strace.out").read_text().splitlines())
        for want in native:
            case(f"as strace: {want}", None if want in got else "not there")
        case("as strace: order", None if native == got else "differs")
    else:
        print("skip - trace: no strace to compare with")
    p = subprocess.run([ISOMER, "run", "--trace=syscalls", "./guest", "x"],
                       stderr=subprocess.PIPE, text=True)
    case("dies by its signal", None if p.returncode == -15 else p.returncode)
    err = p.stderr
    for name, want in {
        "clone": r"^\[pid (\d+)\] clone\(CLONE_CHILD_CLEARTID\|CLONE_CHILD_SETTID\|SIGCHLD, ",
        "child": r"^\[pid \d+\] \+\+\+ exited with 7 \+\+\+$",
        "wait": r"\[\{WIFEXITED\(s\) && WEXITSTATUS\(s\) == 7\}\], 0, NULL\) += \d+$",
        "signal": r"^\[pid \d+\] --- SIGTERM \{si_signo=SIGTERM, si_code=SI_TKILL, si_pid=\d+",
        "killed": r"^\[pid \d+\] \+\+\+ killed by SIGTERM \+\+\+$",
    }.items():
        case(f"processes: {name}", None if re.search(want, err, re.M) else err[-2000:])
    p = subprocess.run([ISOMER, "run", "--trace=files", "./guest"], stderr=subprocess.PIPE,
                       text=True)
    case("wrong word", None if p.returncode == 2 and p.stderr.count("\n") == 1 else p.stderr)


main()
