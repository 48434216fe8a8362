#!/usr/bin/env python3
# t_perf.py: --perf=map. SPDX-License-Identifier: Apache-2.0
"""The map is there, sane, names functions; and perf, where it may be used, shows them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ISOMER = os.environ["ISOMER"]
CROSS = "riscv64-linux-gnu-gcc"
SOURCE = """
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile unsigned sum;
__attribute__((noinline)) void busy_work(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        sum = sum * 5 + i;
}
int main(void)
{
    busy_work(200000000);
    if (!fork()) {
        printf("%d\\n", (int)getpid());
        return 0;
    }
    wait(NULL);
    return 0;
}
"""


def case(name, why=None):
    print(f"not ok - {name}: {why}" if why else f"ok - {name}")


def main():
    if not shutil.which(CROSS):
        print(f"skip - perf: no {CROSS}")
        return
    Path("busy.c").write_text(SOURCE)
    subprocess.run([CROSS, "-O1", "-static", "-o", "busy", "busy.c"], check=True)
    p = subprocess.Popen([ISOMER, "run", "--perf=map", "./busy"], stdout=subprocess.PIPE,
                         text=True)
    child = p.communicate(timeout=100)[0].strip()
    case("status", None if p.returncode == 0 else p.returncode)
    path = Path(f"/tmp/perf-{p.pid}.map")
    lines = path.read_text().splitlines() if path.exists() else []
    bad = [l for l in lines if not re.fullmatch(r"[0-9a-f]{6,16} [1-9a-f][0-9a-f]* \S+( \[cold\])?", l)]
    case("map: lines", None if len(lines) > 50 and not bad else (len(lines), bad[:3]))
    spans = sorted((int(a, 16), int(n, 16)) for a, n in (l.split()[:2] for l in lines))
    over = [a for a, b in zip(spans, spans[1:]) if a[0] + a[1] > b[0]]
    case("map: nothing overlaps", None if not over else over[:3])
    names = {l.split()[2].split("+")[0] for l in lines}
    case("map: functions", None if {"main", "busy_work"} <= names else sorted(names)[:50])
    other = Path(f"/tmp/perf-{child}.map")
    inherited = other.read_text() if other.exists() else ""
    case("child: its own map", None if "busy_work" in inherited and "getpid" in inherited else child)
    for f in (path, other):
        f.unlink(missing_ok=True)
    perf = shutil.which("perf")
    record = [perf, "record", "-q", "-e", "cpu-clock", "-o", "perf.data", ISOMER, "run",
              "--perf=map", "./busy"]
    if not perf or subprocess.run(record, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode:
        print("skip - perf: no perf here, or it may not record")
        return
    report = subprocess.run([perf, "report", "-i", "perf.data", "--stdio", "--sort", "symbol"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    case("perf names the function", None if re.search(r"^ +\d\d\.\d+% .*busy_work", report, re.M)
         else report[:1500])
    for f in Path("/tmp").glob("perf-*.map"):
        if f.stat().st_mtime > Path("perf.data").stat().st_ctime - 60 and "busy_work" in f.read_text():
            f.unlink()


main()
