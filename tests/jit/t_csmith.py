#!/usr/bin/env python3
"""t_csmith.py: C programs drawn at random, natively and emulated. SPDX-License-Identifier: Apache-2.0

usage: t_csmith.py [SEED [COUNT]]

csmith makes programs without undefined behaviour that print checksums of their variables. Each is
compiled for both machines and called some dozens of times, so that its loops and functions become
hot; all modes must print what the native program prints. (Before each call its variables get what
they began with: what they end with may be pointers to what is gone.) The two compilers may differ
in what C leaves open, as in what a number that is too large for an integer becomes: what differs
from the native program but not from QEMU, where that is, is said and does not count. Without arguments `make check`
takes a few seeds that are always the same, `make check-long` several hundred that begin anywhere.
"""

import os
import re
import shutil
import subprocess
import sys
import time

ISOMER = os.environ["ISOMER"]
CROSS = "riscv64-linux-gnu-gcc"
HEADERS = "/usr/include/csmith"
LONG = bool(os.environ.get("TEST_LONG"))
FIXED = (101, 106, 114, 125)
COUNT = 400
# A program that takes longer than that natively tells too little for its time.
NATIVE_SECONDS = 0.4
SECONDS = 120
SHAPES = ([], ["--float"], ["--max-funcs", "20"], ["--no-pointers"],
          ["--max-block-depth", "8", "--max-expr-complexity", "4"], ["--no-bitfields"],
          ["--no-jumps", "--max-array-dim", "2"], ["--inline-function"])
LEVELS = ("-O1", "-O2", "-O3")
MODES = {
    "tier2=off": ["--tier2=off"],
    "tier2=sync": ["--tier2=sync"],
    "tier2=on": [],
    "tier2=always": ["--tier2=always"],
    "deopt": ["--tier2=always", "--test-deopt", "--seed={seed}"],
    "random registers": ["--tier2=always", "--test-ra", "--seed={seed}"],
    "lockstep": ["--tier2=always", "--lockstep"],
}
# How often main is called; what is slow gets less to do.
CALLS = {"deopt": 3, "lockstep": 3}
OFTEN = 60

DRIVER = """
#include <stdlib.h>
#include <string.h>
extern char __start_variables[], __stop_variables[];
int program(int argc, char **argv);
int main(int argc, char **argv)
{
    char *none[] = {argv[0], NULL};
    size_t size = (size_t)(__stop_variables - __start_variables);
    char *first = malloc(size);
    memcpy(first, __start_variables, size);
    for (int n = atoi(argv[argc - 1]); n > 0; n--) {
        memcpy(__start_variables, first, size);
        program(1, none);
    }
    return 0;
}
"""
# All variables in one section.
ONE_SECTION = ["-fno-pie", "-fno-common", "-fno-zero-initialized-in-bss"]


def run(command, seconds):
    try:
        got = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "time limit"
    return got.returncode, got.stdout


def generate(seed):
    shape = SHAPES[seed % len(SHAPES)]
    try:
        got = subprocess.run(["csmith", "--seed", str(seed), "--concise", *shape], timeout=30,
                             capture_output=True, text=True)
    except subprocess.TimeoutExpired:  # for some seeds it finds no end
        return False
    text, n = re.subn(r"\bint main ?\(int argc, char ?\* ?argv\[\]\)",
                      "int program(int argc, char *argv[])", got.stdout)
    for name, source in (("program.c", text), ("driver.c", DRIVER)):
        with open(name, "w") as out:
            out.write(source)
    return n == 1


def compiled(seed):
    """Both programs, or why not."""
    level = LEVELS[seed // len(SHAPES) % len(LEVELS)]
    for prefix, name, more in (("", "native", []),
                               ("riscv64-linux-gnu-", "guest", ["-msmall-data-limit=0"])):
        flags = [level, "-w", "-fsigned-char", "-ffp-contract=off", *ONE_SECTION, *more]
        for command in (["gcc", *flags, "-I", HEADERS, "-c", "program.c"],
                        ["objcopy", "--rename-section", ".data=variables", "program.o"],
                        ["gcc", *flags, "-static", "-o", name, "driver.c", "program.o", "-lm"]):
            got = subprocess.run([prefix + command[0], *command[1:]], capture_output=True,
                                 text=True, timeout=120)
            if got.returncode:
                return f"{prefix}{command[0]}: {got.stderr[:200]}"
    return None


def qemu_too(got, calls):
    """Does QEMU run the program to the same end?"""
    return bool(shutil.which("qemu-riscv64")) and got != "time limit" and \
        run(["qemu-riscv64", "./guest", str(calls)], SECONDS) == got


def check(seed):
    """False: natively it tells nothing."""
    if not generate(seed):
        return False
    why = compiled(seed)
    if why:
        print(f"not ok - csmith seed {seed}: {why}", flush=True)
        return True
    if run(["./native", "1"], NATIVE_SECONDS) == "time limit":
        return False
    often = OFTEN
    while run(["./native", str(often)], NATIVE_SECONDS) == "time limit":
        often = often // 2 or 1
    bad = []
    for mode, options in MODES.items():
        calls = min(often, CALLS.get(mode, often))
        want = run(["./native", str(calls)], SECONDS)
        options = [o.format(seed=seed) for o in options]
        got = run([ISOMER, "run", *options, "./guest", str(calls)], SECONDS)
        if got == want:
            continue
        if qemu_too(got, calls):
            print(f"seed {seed}, {mode}: as under QEMU, not as natively", flush=True)
        else:
            bad.append(f"{mode}: {str(got)[:120]}, natively {str(want)[:120]}")
    if bad:
        print(f"not ok - csmith seed {seed}: {'; '.join(bad)}", flush=True)
    return True


def main():
    for tool in ("csmith", "gcc", CROSS):
        if not shutil.which(tool):
            print(f"skip - csmith: no {tool}")
            return
    seeds = FIXED
    if len(sys.argv) > 1 or LONG:
        first = int(sys.argv[1]) if len(sys.argv) > 1 else time.time_ns() % 1000000000
        seeds = range(first, first + (int(sys.argv[2]) if len(sys.argv) > 2 else
                                      COUNT if LONG else 1))
    print(f"seeds {seeds[0]} to {seeds[-1]}", flush=True)
    told = sum(check(seed) for seed in seeds)
    print(f"ok - {told} of {len(seeds)} programs told something" if told else
          "not ok - csmith: no program told anything")


main()
