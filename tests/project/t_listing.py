#!/usr/bin/env python3
"""t_listing.py: our code beside gcc's, by source line. SPDX-License-Identifier: Apache-2.0"""

import os
import re
import shutil
import subprocess
from pathlib import Path

TOP = Path(os.environ["TOP"])
PROGRAM = r"""
#include <stdio.h>
int main(void)
{
    unsigned long s = 0, x = 88172645463325252ul;
    for (int i = 0; i < 40000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        s += x;
    }
    printf("%lx\n", s);
    return 0;
}
"""


def counts():
    """Whether perf works here."""
    return shutil.which("perf") and subprocess.run(
        ["perf", "record", "-q", "-e", "task-clock", "-o", "perf.data", "true"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def check(name, ok, out):
    print(f"ok - {name}" if ok else f"not ok - {name}: {out[-600:]}", flush=True)


def main():
    if not shutil.which("riscv64-linux-gnu-gcc") or not counts():
        print("skip - listing: no cross compiler, or perf may not count here")
        return
    Path("hot.c").write_text(PROGRAM)
    got = subprocess.run([TOP / "tools/listing.py", "--isomer", os.environ["ISOMER"], "--ir", "hot.c"],
                         capture_output=True, text=True, timeout=200)
    out = got.stdout + got.stderr
    head = re.search(r"^tier 2, region 0x\w+: (\d+) % of the samples", out, re.M)
    check("finds the region", got.returncode == 0 and head and int(head[1]) > 60, out)
    line = out.partition("hot.c:7: x ^= x << 13;\n")[2].partition("\n\n")[0]
    rows = [[c.strip() for c in row.split("|")] for row in line.splitlines()]
    check("a line's code side by side", rows and all(len(r) > 1 for r in rows) and
          any("slli" in r[0] for r in rows) and any("shl" in r[1] for r in rows) and
          any("sh" in r[-1] and "13" in r[-1] or "0xd" in r[-1] for r in rows), out)
    check("the region's IR", re.search(r"= shl\.i64 %\d+, 13", out), out)


main()
