#!/usr/bin/env python3
"""t_tiers.py: which tier the time goes to. SPDX-License-Identifier: Apache-2.0"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

TOP = Path(os.environ["TOP"])
sys.path.insert(0, str(TOP / "tools"))
sys.dont_write_bytecode = True
import tiers  # noqa: E402

# The address of the second region's instruction fills its column.
DUMP = """; region 0x10632: 2 guest instructions, 64 + 16 host bytes at 0x700000000000
     10632  6198      c.ld	a4,0(a1)
     10634  9782      c.jalr	a5

; region 0x2aaaacda40: 1 guest instructions, 32 + 16 host bytes at 0x700000000100
2aaaacda40  8782      c.jr	a5

; tier 2 region 0x10700: 1 guest instructions, 16 + 0 host bytes at 0x700000000200
     10700  8082      c.jr	ra

; region 0x10800: 1 guest instructions, 16 + 0 host bytes at 0x700000000300
     10800  8082      c.jr	ra

"""
ENDS = {"c.jr ra": "return", "jalr zero,0(ra)": "return", "jalr zero,8(a5)": "indirect jump",
        "c.jalr a5": "indirect call", "jalr ra,-16(ra)": "indirect call",
        "jal ra,0x106aa": "call", "jal zero,0x106aa": "branch, or code that was there",
        "bne a0,a1,0x10": "branch, or code that was there"}
# A loop that tier 2 has for itself.
PROGRAM = r"""
#include <stdio.h>
int main(void)
{
    unsigned long x = 88172645463325252ul;
    for (int i = 0; i < 100000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    printf("%lx\n", x);
    return 0;
}
"""


def check(name, ok, out):
    print(f"ok - {name}" if ok else f"not ok - {name}: {str(out)[-600:]}", flush=True)


def of_a_dump():
    found = tiers.regions(DUMP)
    got = [(r.tier, r.ends) for r in found]
    check("regions of a dump, and how they end", got == [
        (1, "indirect call"), (1, "indirect jump"), (2, ""), (1, "return")], got)
    got = {last: tiers.how_it_ends(last) for last in ENDS}
    check("ends of regions", got == ENDS, got)
    base = 0x700000000000
    hits, other = tiers.attribute(found, Counter({
        base: 3, base + 63: 1, base + 64: 5, base + 0x20f: 2, tiers.KERNEL + 8: 7, 0x400000: 9}))
    check("samples by region", hits == {0: 4, 2: 2} and other == {
        "cold code and what is shared": 5, "kernel": 7, "translator": 9}, (hits, other))


def of_a_run():
    able = shutil.which("riscv64-linux-gnu-gcc") and shutil.which("perf") and subprocess.run(
        ["perf", "record", "-q", "-e", "task-clock", "-o", "perf.data", "true"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if not able:
        print("skip - a run: no cross compiler, or perf may not count here")
        return
    Path("hot.c").write_text(PROGRAM)
    subprocess.run(["riscv64-linux-gnu-gcc", "-O2", "-static", "-o", "hot", "hot.c"], check=True)
    got = subprocess.run([TOP / "tools/tiers.py", "--isomer", os.environ["ISOMER"], "--least=5",
                          "./hot"], capture_output=True, text=True, timeout=200)
    out = got.stdout + got.stderr
    share = re.search(r"^ +([\d.]+) %  tier 2$", out, re.M)
    check("a loop of tier 2's", got.returncode == 0 and share and float(share[1]) > 60, out)


of_a_dump()
of_a_run()
