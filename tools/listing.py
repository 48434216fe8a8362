#!/usr/bin/env python3
"""listing.py: our host code of a hot region beside gcc's for the same source lines.
SPDX-License-Identifier: Apache-2.0

usage: tools/listing.py [--top N] [--least PERCENT] [--isomer FILE] [--ir] SOURCE.c [ARGUMENT...]

Compiles SOURCE.c for the guest and for this machine (-O2 -g, as bench/run does), runs both under
perf, and prints the regions that take most of the time: for each source line, in the order in
which the region has them, three columns of guest instructions, our host code, and gcc's host
code of that line. Numbers are shares of the program's samples in per cent; what stands in front of
the first guest instruction (moves at the entry) and cold code that was hit come last. --ir prints
the region's IR, too. Needs perf, and a processor that lets it count.
"""

import argparse
import bisect
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

CROSS = "riscv64-linux-gnu-"
GUEST, HOST = 34, 52


def say(*command, **more):
    got = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace", **more)
    if got.returncode:
        sys.exit(f"listing.py: {command[0]} fails with status {got.returncode}")
    return got.stdout


def samples_of(data):
    """Samples by address of a file of perf's."""
    text = say("perf", "script", "-i", data, "-F", "ip", stderr=subprocess.DEVNULL)
    return Counter(int(word, 16) for word in text.split())


def samples(command, env=None):
    """Samples by address of a run."""
    say("perf", "record", "-q", "-e", "task-clock", "-F", "2000", "-o", "perf.data", *command,
        env={**os.environ, **(env or {})}, stderr=subprocess.DEVNULL)
    return samples_of("perf.data")


# ---- source lines --------------------------------------------------------------------------

def lines_of(tool, program, addresses):
    """file:line of each address, the innermost function's."""
    got = subprocess.run([tool + "addr2line", "-e", program], text=True, stdout=subprocess.PIPE,
                         input="\n".join(map(hex, addresses)), check=True)
    return [re.sub(r" \(discriminator.*", "", line).rsplit("/", 1)[-1]
            for line in got.stdout.splitlines()]


def instructions(program, tool=""):
    """Address and text of all instructions of a program."""
    found = []
    for line in say(tool + "objdump", "-d", "--no-show-raw-insn", "-M", "intel" if not tool else
                    "no-aliases", program).splitlines():
        m = re.match(r"^\s+([0-9a-f]+):\s+(.*)$", line)
        if m:
            found.append((int(m[1], 16), re.sub(r"\s+", " ", m[2].split(" #")[0].split("<")[0])))
    return found


# ---- our side ------------------------------------------------------------------------------

class Region:
    """A region of a dump with letters g, o and h."""

    def __init__(self, text):
        head = re.match(r"(tier 2 )?region (0x[0-9a-f]+): (\d+) guest instructions, \d+ \+ \d+ "
                        r"host bytes at (0x[0-9a-f]+)", text)
        self.tier, self.pc = 2 if head[1] else 1, int(head[2], 16)
        self.base = int(head[4], 16)
        self.ir = "".join(re.findall(r"^func .*?^}$", text, re.M | re.S))
        self.guest = {int(m[1], 16): re.sub(r"\s+", " ", m[2]) for m in
                      re.finditer(r"^ +([0-9a-f]+)  [0-9a-f]+ +(\S.*)$", text.split("func ")[0], re.M)}
        self.code, self.cold = [], []  # address, guest pc or None, text
        pc = None
        hot, _, cold = text.split("func ")[-1].partition("  cold:\n")
        for line in hot.splitlines():
            mark = re.match(r"^  ; (0x[0-9a-f]+)$", line)
            code = re.match(r"^ +([0-9a-f]+)  ([0-9a-f]+) +(\S.*)$", line)
            if mark:
                pc = int(mark[1], 16)
            elif code:
                self.code.append((self.base + int(code[1], 16), pc, code[3]))
        self.end = self.code[-1][0] + 16 if self.code else self.base


def regions(text):
    parts = re.split(r"^; (?=(?:tier 2 )?region 0x\w+: )", text, flags=re.M)[1:]
    found = [Region(p) for p in parts if " host bytes at " in p[:200]]
    return sorted(found, key=lambda r: r.base)


def hottest(found, counts, top, least):
    starts = [r.base for r in found]
    hits, total = Counter(), sum(counts.values())
    for address, n in counts.items():
        k = bisect.bisect_right(starts, address) - 1
        if k >= 0 and address < found[k].end:
            hits[k] += n
    return [(found[k], n) for k, n in hits.most_common(top) if 100 * n >= least * total]


# ---- printing ------------------------------------------------------------------------------

def share(n, total):
    return f"{100 * n / total:5.1f}" if n * 200 >= total else "     "


def columns(left, middle, right):
    for n in range(max(len(left), len(middle), len(right))):
        cell = [c[n] if n < len(c) else "" for c in (left, middle, right)]
        print(f"  {cell[0]:{GUEST}.{GUEST}} | {cell[1]:{HOST}.{HOST}} | {cell[2]}".rstrip())


def print_region(region, hits, counts, native, source):
    total, ntotal = sum(counts.values()), sum(native["counts"].values())
    order, host, guest = [], defaultdict(list), defaultdict(list)
    pcs = list(region.guest) or sorted({pc for _, pc, _ in region.code if pc})
    line_of = dict(zip(pcs, lines_of(CROSS, "guest", pcs)))
    for pc in pcs:
        line = line_of[pc]
        if line not in order:
            order.append(line)
        guest[line].append(region.guest.get(pc, hex(pc)))
    for address, pc, text in region.code:
        host[line_of.get(pc)].append(f"{share(counts[address], total)} {text}")
    theirs = defaultdict(list)
    for (address, text), line in zip(native["code"], native["lines"]):
        if line in order:
            theirs[line].append(f"{share(native['counts'][address], ntotal)} {text}")
    ours = sum(map(len, host.values()))
    print(f"tier {region.tier}, region {region.pc:#x}: {100 * hits / total:.0f} % of the samples, "
          f"{len(pcs)} guest instructions, {ours} host; gcc's for these lines: "
          f"{sum(map(len, theirs.values()))}, {100 * native_share(native, order):.0f} % of its samples")
    for line in order:
        name, _, number = line.rpartition(":")
        text = source.get(name, {}).get(int(number) if number.isdigit() else 0, "").strip()
        print(f"\n{line}: {text}")
        columns(guest[line], host[line], theirs[line])
    if host[None]:
        print("\nat the entry, or for no guest instruction")
        columns([], host[None], [])
    print()


def native_share(native, order):
    lines = dict(zip((a for a, _ in native["code"]), native["lines"]))
    total = sum(native["counts"].values())
    return sum(n for a, n in native["counts"].items() if lines.get(a) in order) / (total or 1)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:])
    parser.add_argument("--top", type=int, default=3)
    parser.add_argument("--least", type=float, default=5)
    parser.add_argument("--isomer", default=str(Path(__file__).parent.parent / "build/src/cli/isomer"))
    parser.add_argument("--ir", action="store_true")
    parser.add_argument("source")
    parser.add_argument("arguments", nargs="*")
    args = parser.parse_args()
    path = Path(args.source).resolve()
    isomer = str(Path(args.isomer).resolve())
    source = {path.name: dict(enumerate(path.read_text().splitlines(), 1))}
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        say("gcc", "-O2", "-g", "-no-pie", "-w", "-o", "native", str(path), "-lm")
        say(CROSS + "gcc", "-O2", "-g", "-static", "-w", "-o", "guest", str(path), "-lm")
        counts = samples([isomer, "run", "./guest", *args.arguments],
                         {"ISOMER_DUMP": "goh", "ISOMER_DUMP_FILE": "dump"})
        native = {"counts": samples(["./native", *args.arguments]), "code": instructions("native")}
        native["lines"] = lines_of("", "native", [a for a, _ in native["code"]])
        shown = hottest(regions(Path("dump").read_text()), counts, args.top, args.least)
        for region, hits in shown:
            print_region(region, hits, counts, native, source)
            if args.ir:
                print(region.ir)
        if not shown:
            print(f"no region takes that much of the time ({sum(counts.values())} samples)")


if __name__ == "__main__":
    main()
