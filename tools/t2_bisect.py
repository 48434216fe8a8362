#!/usr/bin/env python3
"""t2_bisect.py: which region and which rewrite of tier 2 make a command fail?
SPDX-License-Identifier: Apache-2.0

usage: tools/t2_bisect.py [--timeout SECONDS] [--] COMMAND [ARGUMENT...]

COMMAND runs isomer, by itself or somewhere below it. It is run with ISOMER_T2_FUEL set to more or
less (src/jit/jit_t2_fuel.c says what that means). A run is good if it ends as the one without
tier 2 does: the same exit status, signal or timeout, and the same standard output. What is
found is printed: the region, the pass, the number of its rewrite, and the IR without and with it.
The exit status is 0 if something was found.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MOST = 2**32 - 1
LENGTH = 40
# Without these a region cannot be compiled at all.
NEEDED = ("layout", "ssa")


class Command:
    """A command that is run with different limits."""

    def __init__(self, argv, timeout, directory):
        self.argv, self.timeout = argv, timeout
        self.dump = Path(directory) / "dump"
        self.runs = 0
        self.known = {}
        self.good = self.run(self.limit(0))

    def limit(self, regions, name=None, rewrites=None):
        """Padded to one length: where the guest's stack is must not depend on it."""
        rest = (f":{name}" if name else "") + (f":{rewrites}" if rewrites is not None else "")
        return str(regions).zfill(LENGTH - len(rest)) + rest

    def run(self, limit):
        self.runs += 1
        self.dump.unlink(missing_ok=True)
        env = {**os.environ, "ISOMER_T2_FUEL": limit, "ISOMER_DUMP": "io",
               "ISOMER_DUMP_FILE": str(self.dump)}
        try:
            got = subprocess.run(self.argv, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 timeout=self.timeout)
        except subprocess.TimeoutExpired as late:
            return "timeout", late.stdout
        except OSError as error:
            sys.exit(f"t2_bisect.py: {self.argv[0]}: {error.strerror}")
        return got.returncode, got.stdout

    def fails(self, *limit):
        text = self.limit(*limit)
        if text not in self.known:
            self.known[text] = self.run(text) != self.good
            print(f"  {text.lstrip('0') or '0'}: {'fails' if self.known[text] else 'good'}",
                  flush=True)
        return self.known[text]

    def dumped(self, *limit):
        """What the last region became: its passes with their rewrites, and its IR."""
        self.run(self.limit(*limit))
        text = self.dump.read_text() if self.dump.exists() else ""
        start = text.rfind("; region ")
        text = text[max(start, 0):]
        passes = re.findall(r"^; pass (\w+): (\d+) rewrites", text, re.M)
        where = re.search(r"; region \d+ of tier 2, at (0x[0-9a-f]+)", text)
        done = "\n; tier 2 region " in text  # else what it was formed as is all there is
        ir = text.rpartition("\nfunc ")[2].split("\n; ")[0] if done else ""
        return where[1] if where else "an unknown place", passes, ir


def first(fails, most=MOST):
    """The least n > 0 for which fails(n), if it does for large n and not for 0."""
    low, high = 0, 1
    while high < most and not fails(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return high


def find_pass(command, region):
    """Its name, or None: it is none of the passes."""
    names = [name for name, _ in command.dumped(region)[1]]
    if not names:
        return None
    if command.fails(region, "ssa"):
        early = [n for n in names[:names.index("ssa")] if n not in NEEDED]
        return next((n for n in early if not command.fails(region, n, 0)), None)
    return next((n for n in names[names.index("ssa") + 1:] if command.fails(region, n)), None)


def show(command, region, name, rewrite):
    ir = [command.dumped(region, name, n)[2].splitlines() for n in (rewrite - 1, rewrite)]
    if not all(ir):
        print("the compile ends before there is code: see its IR with ISOMER_DUMP=i and isomer ir opt")
        return
    print("\n".join(difflib.unified_diff(*ir, f"{name}:{rewrite - 1}", f"{name}:{rewrite}",
                                         lineterm="", n=4)))


def bisect(command):
    if not command.fails(MOST):
        print("not found: with limits, and so without the thread, it does not fail")
        return 1
    region = first(lambda n: command.fails(n))
    where = command.dumped(region)[0]
    name = find_pass(command, region)
    if not name:
        print(f"found: region {region}, at {where}; none of the passes that can be left out: "
              "what forms it, layout, ssa, or the code generator")
    elif command.fails(region, name, 0):
        print(f"found: region {region}, at {where}; pass {name}, before its first rewrite: what the "
              "builder folds there")
    else:
        most = int(dict(command.dumped(region, name)[1]).get(name, MOST))
        rewrite = first(lambda n: command.fails(region, name, n), most)
        print(f"found: region {region}, at {where}; pass {name}, rewrite {rewrite}")
        show(command, region, name, rewrite)
    if command.run(command.limit(region)) == command.good or \
            command.run(command.limit(region - 1)) != command.good:
        print("but: it is not the same in each run")
        return 1
    return 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    argv = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not argv:
        parser.error("which command?")
    with tempfile.TemporaryDirectory() as directory:
        command = Command(argv, args.timeout, directory)
        status = bisect(command)
        print(f"{command.runs} runs")
        return status


if __name__ == "__main__":
    sys.exit(main())
