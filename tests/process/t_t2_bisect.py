#!/usr/bin/env python3
"""t_t2_bisect.py: limits on tier 2, and the tool that uses them. SPDX-License-Identifier: Apache-2.0

What fails here is not a bug but a script that says so: it looks at the limit it is run with, and at
what was compiled with that.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ISOMER = os.environ["ISOMER"]
TOP = Path(os.environ["TOP"])
CROSS = "riscv64-linux-gnu-gcc"

# Five loops that are hot one behind the other; the third has two rotations.
PROGRAM = r"""
#include <stdio.h>
static unsigned a[256];
#define LOOP __attribute__((noinline)) static unsigned
LOOP one(unsigned n) { unsigned s = 0; for (unsigned i = 0; i < n; i++) s = s * 3 + a[i & 255]; return s; }
LOOP two(unsigned n) { unsigned s = 1; for (unsigned i = 0; i < n; i++) s ^= s << 5 ^ i; return s; }
LOOP three(unsigned n)
{
    unsigned s = 1, t = 2;
    for (unsigned i = 0; i < n; i++) {
        s = (s << 7 | s >> 25) + i;
        t = (t << 11 | t >> 21) ^ s;
    }
    return s ^ t;
}
LOOP four(unsigned n) { unsigned s = 0; for (unsigned i = 0; i < n; i++) s += i % 7; return s; }
LOOP five(unsigned n) { unsigned s = 0; for (unsigned i = 0; i < n; i++) a[i & 255] += s++; return s; }
int main(void)
{
    unsigned s = 0;
    s += one(100000); s += two(100000); s += three(100000); s += four(100000); s += five(100000);
    printf("%u\n", s);
    return 0;
}
"""

# Fails from region 2 on.
REGION = r"""
import os, subprocess, sys
subprocess.run([sys.argv[1], "run", "./program"])
sys.exit(int(os.environ["ISOMER_T2_FUEL"].split(":")[0]) >= 2)
"""
# Fails from the region with two rotations on, if it has the second: of a PASS, with too few
# rewrites of it, no region of the same number would.
REWRITE = r"""
import os, re, subprocess, sys
subprocess.run([sys.argv[1], "run", "./program"])
try:
    text = open(os.environ["ISOMER_DUMP_FILE"]).read()
except FileNotFoundError:
    text = ""
n, wanted = int(os.environ["ISOMER_T2_FUEL"].split(":")[0]), int(sys.argv[2])
sys.exit(n > wanted or n == wanted and text.split("func ")[-1].count("rol.") >= 2)
"""


def check(name, ok, why=""):
    print(f"ok - {name}" if ok else f"not ok - {name}: {why}", flush=True)


def run(fuel, *options, dump=None):
    env = {**os.environ, "ISOMER_T2_FUEL": fuel}
    if dump:
        Path(dump).unlink(missing_ok=True)
        env.update(ISOMER_DUMP="o", ISOMER_DUMP_FILE=dump)
    got = subprocess.run([ISOMER, "run", *options, "./program"], env=env, capture_output=True,
                         text=True, timeout=60)
    return got.returncode, got.stdout, got.stderr


def regions(fuel):
    found = re.search(r"^tier 2: regions +(\d+)", run(fuel, "--stats")[2], re.M)
    return int(found[1]) if found else -1


def counts():
    most = regions("1000000")
    check("five loops make five regions", most == 5, f"{most}")
    got = [regions(str(n)) for n in range(most + 2)]
    check("as many regions as the limit says", got == [*range(most + 1), most], f"{got}")
    good = run("0")
    for n in range(1, most + 1):
        check(f"the same result with {n}", run(str(n)) == good, "differs")


def rotations():
    """The region that has them, and its dump's list of passes; checks the number of rewrites."""
    for number in range(1, 6):
        run(str(number), dump="dump")
        text = Path("dump").read_text()
        if "rol." in text:
            break
    passes = dict(re.findall(r"^; pass (\w+): (\d+) rewrites$", text, re.M))
    most = int(passes["strength"])
    got = []
    for n in range(most + 2):
        run(f"{number}:strength:{n}", dump="dump")
        text = Path("dump").read_text()
        got.append((re.search(r"^; pass strength: (\d+)", text, re.M)[1],
                    text.split("func ")[-1].count("rol.")))
    want = [str(min(n, most)) for n in range(most + 2)]
    check("two rotations in two copies of a loop", most == 4, text[:300])
    check("as many rewrites as the limit says", [g[0] for g in got] == want, f"{got}, not {want}")
    check("passes behind the last are left out", "pass dce" not in text, text[:300])
    check("only that region is dumped", text.count("func ") == 1, text[:300])
    return number


def wrong():
    for fuel, why in (("x", "REGIONS is not a number"), ("3:four", "no such pass"),
                      ("3:gvn:x", "REWRITES is not a number"), ("3x", "REGIONS is not a number")):
        status, _, err = run(fuel)
        check(f"limit {fuel}", status == 1 and err.count("\n") == 1 and why in err, err)


def bisect(name, script, *more):
    Path(f"{name}.py").write_text(script)
    got = subprocess.run([TOP / "tools/t2_bisect.py", sys.executable, f"{name}.py", ISOMER, *more],
                         capture_output=True, text=True, timeout=250)
    return got.returncode, got.stdout + got.stderr


def tool(number):
    status, out = bisect("region", REGION)
    check("finds the region", status == 0 and "found: region 2, at 0x" in out and "none of the" in out,
          out[-500:])
    status, out = bisect("rewrite", REWRITE, str(number))
    check("finds the rewrite", status == 0 and
          re.search(rf"found: region {number}, at 0x\w+; pass strength, rewrite 2$", out, re.M), out[-800:])
    check("shows what it did", re.search(r"^\+ .*= rol\.", out, re.M), out[-800:])
    status, out = bisect("good", "import sys\nsys.exit(0)\n")
    check("says that there is nothing", status == 1 and "not found" in out, out[-500:])


def main():
    if not shutil.which(CROSS):
        print(f"skip - limits on tier 2: no {CROSS}")
        return
    Path("program.c").write_text(PROGRAM)
    subprocess.run([CROSS, "-O2", "-static", "-fno-tree-vectorize", "-o", "program", "program.c"],
                   check=True)
    counts()
    number = rotations()
    wrong()
    tool(number)


main()
