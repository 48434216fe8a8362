#!/usr/bin/env python3
"""tiers.py: which tier a program's time goes to, and how tier 1's hot regions end.
SPDX-License-Identifier: Apache-2.0

usage: tools/tiers.py [--isomer FILE] [--least PERCENT] [ISOMER-OPTION...] PROGRAM [ARGUMENT...]

Runs `isomer run --stats` with the rest of the line under perf, and prints

 * the shares of the samples in translated code: tier 2; tier 1, by the last instruction of the
   region that was hit (an indirect jump or call is what no region of tier 2 goes on behind); cold
   code and what regions share. Samples elsewhere (the kernel, the translator, which here also
   writes the dump) are counted apart.
 * why tier 2 gave up, counted by key
 * the regions with at least --least per cent of the samples in translated code

For a program of one process. A region whose memory was given to another one counts for that one.
Needs perf, and a processor that lets it count.
"""

import argparse
import bisect
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from listing import samples_of

HEAD = re.compile(r"^; (tier 2 )?region (0x[0-9a-f]+): (\d+) guest instructions, (\d+) \+ (\d+) "
                  r"host bytes at (0x[0-9a-f]+)\n", re.M)
KERNEL = 1 << 63
NEAR = 64 << 20  # the code cache: no more than that around the regions in it


def how_it_ends(last):
    """Of the text of a region's last instruction."""
    op, _, operands = last.partition(" ")
    operands = operands.strip()
    if op in ("c.jr", "c.jalr", "jalr"):
        if op == "c.jr" or operands.startswith("zero"):
            return "return" if re.search(r"\bra\b", operands) else "indirect jump"
        return "indirect call"
    if op == "jal" and operands.startswith("ra"):
        return "call"
    return "branch, or code that was there"


class Region:
    def __init__(self, head, body):
        self.tier, self.pc, self.insns = 2 if head[1] else 1, head[2], int(head[3])
        self.start, self.end = int(head[6], 16), int(head[6], 16) + int(head[4])
        found = re.findall(r"^ *[0-9a-f]+  [0-9a-f]+ +(\S.*)$", body, re.M)
        self.last = re.sub(r"\s+", " ", found[-1]) if found else ""
        self.ends = how_it_ends(self.last) if self.tier == 1 else ""


def regions(text):
    heads = list(HEAD.finditer(text))
    found = {}
    for k, head in enumerate(heads):
        to = heads[k + 1].start() if k + 1 < len(heads) else len(text)
        region = Region(head, text[head.end():to])
        found[region.start] = region
    return [found[start] for start in sorted(found)]


def attribute(found, counts):
    """Samples by region, and by where else they are."""
    starts = [r.start for r in found]
    hits, other = Counter(), Counter()
    for address, n in counts.items():
        k = bisect.bisect_right(starts, address) - 1
        if k >= 0 and address < found[k].end:
            hits[k] += n
        elif address >= KERNEL:
            other["kernel"] += n
        elif starts and starts[0] - NEAR < address < starts[-1] + NEAR:
            other["cold code and what is shared"] += n
        else:
            other["translator"] += n
    return hits, other


def report(found, counts, least):
    hits, other = attribute(found, counts)
    cold = other.pop("cold code and what is shared", 0)
    total = sum(hits.values()) + cold
    print(f"{total} samples in translated code; " +
          ", ".join(f"{n} {where}" for where, n in sorted(other.items())))
    if not total:
        return
    shares = Counter({"cold code and what is shared": cold})
    for k, n in hits.items():
        r = found[k]
        shares["tier 2" if r.tier == 2 else f"tier 1: {r.ends}"] += n
    for what, n in sorted(shares.items()):
        print(f"  {100 * n / total:5.1f} %  {what}")
    print("regions")
    for k, n in hits.most_common():
        if 100 * n < least * total:
            break
        r = found[k]
        print(f"  {100 * n / total:5.1f} %  tier {r.tier}, {r.pc}, {r.insns} instructions"
              f"{', ends with ' + r.last if r.tier == 1 else ''}")


def main():
    args = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    args.add_argument("--isomer", default="isomer")
    args.add_argument("--least", type=float, default=2)
    ours = 1  # what follows is isomer's and the program's
    while ours < len(sys.argv) and sys.argv[ours].partition("=")[0] in ("--isomer", "--least"):
        ours += 1 if "=" in sys.argv[ours] else 2
    command = sys.argv[ours:]
    if not command or "-h" == command[0] or "--help" == command[0]:
        args.print_usage()
        raise SystemExit(2)
    args = args.parse_args(sys.argv[1:ours])
    with tempfile.TemporaryDirectory() as scratch:
        dump, data = Path(scratch, "dump"), Path(scratch, "perf.data")
        got = subprocess.run(
            ["perf", "record", "-q", "-e", "task-clock", "-F", "2000", "-o", data, args.isomer,
             "run", "--stats", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", check=False,
            env={**os.environ, "ISOMER_DUMP": "g", "ISOMER_DUMP_FILE": str(dump)})
        if not dump.exists():
            raise SystemExit(f"tiers.py: nothing was translated: {got.stderr.strip()[-300:]}")
        report(regions(dump.read_text(errors="replace")), samples_of(data), args.least)
    gave_up = got.stderr.partition("tier 2: given up\n")[2]
    if gave_up:
        print("tier 2 gave up\n" + gave_up.rstrip())


if __name__ == "__main__":
    main()
