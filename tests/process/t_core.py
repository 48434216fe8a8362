#!/usr/bin/env python3
# t_core.py: core dumps of the guest. SPDX-License-Identifier: Apache-2.0
"""The core of a program that dies is what gdb-multiarch can read: the backtrace, threads,
registers, variables, files; there is none if the limit or the signal says so."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

ISOMER = os.environ["ISOMER"]
HERE = Path(__file__).resolve().parent
CROSS = "riscv64-linux-gnu-gcc"
SYSROOT = "/usr/riscv64-linux-gnu"


def case(name, why=None):
    print(f"not ok - {name}: {why}" if why else f"ok - {name}")


def run(options, program, how, limit, env=None):
    """Status, and the cores it left."""
    for old in Path(".").glob("core*"):
        old.unlink()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    p = subprocess.run([ISOMER, "run", *options, program, how], timeout=120,
                       stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (limit, hard)))
    return p.returncode, sorted(str(p) for p in Path(".").glob("core*"))


def gdb(program, core, commands):
    args = [a for c in ["set sysroot " + SYSROOT, f"core {core}", *commands] for a in ("-ex", c)]
    p = subprocess.run(["gdb-multiarch", "-nx", "-batch", "-ex", "set pagination off", *args,
                        program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, timeout=100)
    return p.stdout


def look(name, program, core):
    text = gdb(program, core, ["bt", "p global", "p $fa0", "p $_siginfo.si_signo",
                               "p $_siginfo._sifields._sigfault.si_addr", "info auxv",
                               "thread apply all bt"])
    for label, want in {
        "signal": "terminated with signal SIGSEGV",
        "where": "crash (p=p@entry=0x8, d=d@entry=2.5)",
        "caller": "in outer (n=n@entry=2)",
        "variable": "= 78",
        "float register": "double = 2.5",
        "siginfo": "= 11",
        "fault address": "(void *) 0x8",
        "auxiliary vector": "AT_HWCAP",
        "sleeping thread": "in sleeper (arg=",
        "running thread": "looper (arg=",
    }.items():
        case(f"{name}: {label}", None if want in text else f"no {want!r} in {text[-1500:]!r}")


def main():
    if not shutil.which(CROSS) or not shutil.which("gdb-multiarch"):
        print(f"skip - core: no {CROSS} or no gdb-multiarch (tools/setup.sh installs them)")
        return
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0:
        print("skip - core: the hard limit on cores is 0")
        return
    flags = ["-D_GNU_SOURCE", "-g", "-O1", "-pthread", str(HERE / "c" / "dbg_core.c")]
    subprocess.run([CROSS, *flags, "-static", "-o", "static"], check=True)
    subprocess.run([CROSS, *flags, "-o", "dynamic"], check=True)
    big = hard
    for name, options, program in (("static", [], "./static"),
                                   ("dynamic", ["-L", SYSROOT], "./dynamic"),
                                   ("interpreter", ["--interpreter"], "./static")):
        status, cores = run(options, program, "segv", big)
        case(f"{name}: status", None if status == -11 else status)
        case(f"{name}: one core", None if len(cores) == 1 else cores)
        if len(cores) == 1:
            look(name, program, cores[0])
    for how, number in (("abort", 6), ("quit", 3)):
        status, cores = run([], "./static", how, big)
        case(f"{how}: status", None if status == -number else status)
        case(f"{how}: one core", None if len(cores) == 1 else cores)
        text = gdb("./static", cores[0], ["bt"]) if cores else ""
        case(f"{how}: backtrace", None if "in main (argc" in text else text)
    status, cores = run([], "./static", "term", big)
    case("a signal that leaves none", None if status == -15 and not cores else (status, cores))
    status, cores = run([], "./static", "segv", 0)
    case("limit 0: none", None if status == -11 and not cores else (status, cores))
    if hard == -1 or hard > 20000:
        status, cores = run([], "./static", "segv", 20000)
        case("limit 20000", None if cores and os.path.getsize(cores[0]) == 20000 else cores)
    status, cores = run([], "./static", "fork", big)
    text = gdb("./static", cores[0], ["bt", "info threads"]) if cores else ""
    case("child of a fork", None if "d=d@entry=3.75" in text and "  2  " not in text else text)
    status, cores = run([], "./static", "segv", big, {"ISOMER_CORE": "core-of-%e"})
    case("ISOMER_CORE", None if cores == ["core-of-static"] else cores)


main()
