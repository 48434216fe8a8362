#!/usr/bin/env python3
"""t_t2_loops.py: the size of the kernels' hot loops in tier 2 is the expected one.
SPDX-License-Identifier: Apache-2.0

loops.txt has a line for each innermost loop of bench/kernels that tier 2 compiles when the
kernel runs at its quick scale: guest instructions of a round, host instructions of one, and
how many of these load (the poll is one), store and branch. A change of code quality is a
readable diff. TEST_BLESS=1 rewrites the file. It holds for the compiler that its first lines
name, and for the host features that all processors of today have; elsewhere nothing is compared.
"""
import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(os.environ["TOP"])
sys.path[:0] = [str(TOP / "bench"), str(TOP / "tools")]
sys.dont_write_bytecode = True

import bench_kernels  # noqa: E402
import listing  # noqa: E402

EXPECT = Path(__file__).resolve().parent / "loops.txt"
HEAD = """# The kernels' innermost loops in tier 2, one round: made and compared by t_t2_loops.py.
# compiler: %s
# kernel       loop                      guest  host load store branch
"""
# A matter of chance: what was entered when a loop is formed, and which targets came first.
VARIES = {"lz", "virtual", "qsort"}
# Found if the machine is busy, and then as the file says.
SOMETIMES = {("matmul_f32", "main+0x138")}
TIMES = 4
NEEDS = {"avx2", "bmi1", "bmi2", "fma", "abm"}


def compiler():
    return subprocess.run([bench_kernels.GUEST_CC[0], "--version"], capture_output=True,
                          text=True, check=True).stdout.splitlines()[0]


def why_not():
    """Why the file says nothing about this machine, or None."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split()
    if not NEEDS <= set(flags):
        return "the processor lacks " + ", ".join(sorted(NEEDS - set(flags)))
    made = re.search(r"^# compiler: (.*)$", EXPECT.read_text(), re.M)[1] if EXPECT.exists() else ""
    if made != compiler() and os.environ.get("TEST_BLESS") != "1":
        return f"made with {made}, here is {compiler()}"
    return None


# ---- loops of a region ----------------------------------------------------------------------

def loops(region):
    """Innermost loops as slices of region.code: what is jumped back to, up to the jump."""
    place = {address: n for n, (address, _, _) in enumerate(region.code)}
    ends = {}
    for n, (_, _, text) in enumerate(region.code):
        jump = re.match(r"j\w+\s+0x([0-9a-f]+)$", text)
        head = place.get(int(jump[1], 16)) if jump else None
        if head is not None and head <= n:
            ends[head] = n
    return [region.code[head:end + 1] for head, end in sorted(ends.items())
            if not any(head < other <= end for other in ends)]


def guest_count(region, loop):
    """Guest instructions of a loop. Those that need no code go with the one before."""
    everywhere, here = {pc for _, pc, _ in region.code}, {pc for _, pc, _ in loop}
    count, inside = 0, False
    for pc in region.guest:
        inside = pc in here or (inside and pc not in everywhere)
        count += inside
    return count


def line(kernel, where, region, loop):
    loads = stores = branches = 0
    for _, _, text in loop:
        name, _, operands = text.partition(" ")
        first, _, rest = operands.partition(",")
        if name.startswith("j") or name in ("call", "ret"):
            branches += 1
        elif name == "lea" or "[" not in operands or name.startswith(("nop", "prefetch")):
            continue
        elif "[" in rest or name in ("cmp", "test", "push") or name.startswith("vucom"):
            loads += 1
        else:
            stores += 1
            loads += not re.match(r"v?mov|set|vextract|vpextr|stmxcsr", name)
    return (f"{kernel:14} {where:25} {guest_count(region, loop):5} {len(loop):5} {loads:4} "
            f"{stores:5} {branches:6}")


# ---- kernels --------------------------------------------------------------------------------

def functions(kernel):
    """(address, name) of the functions that the kernel's source defines, by address."""
    own = set(re.findall(r"^\w[\w *]*?\b(\w+)\([^;{]*\)\n\{", kernel.source.read_text(), re.M))
    table = []
    for row in listing.say(listing.CROSS + "nm", "-n", str(kernel.guest)).splitlines():
        address, kind, name = row.split()[-3:] if len(row.split()) == 3 else ("0", "?", "")
        if kind in "tT" and not name.startswith((".", "$")):
            table.append((int(address, 16), name if name.split(".")[0] in own else None))
    return table


def measure(kernel):
    table = functions(kernel)
    dump = Path(f"{kernel.name}.dump")
    subprocess.run([os.environ["ISOMER"], "run", "--tier2=sync", "--cpu-features=-avx512",
                    kernel.guest, *kernel.arguments("quick")], check=True, timeout=120,
                   stdout=subprocess.DEVNULL,
                   env={**os.environ, "ISOMER_DUMP": "goh", "ISOMER_DUMP_FILE": str(dump)})
    text = dump.read_text()
    if " mov " not in text:
        return None
    found = re.split(r"^; (?=(?:tier 2 )?region 0x\w+: )", text, flags=re.M)[1:]
    last = {r.pc: r for r in map(listing.Region, found) if r.tier == 2}  # formed anew: the last
    rows = []
    for pc, region in sorted(last.items()):
        for loop in loops(region):
            at = min(p for _, p, _ in loop if p)
            address, name = max((f for f in table if f[0] <= at), default=(0, None))
            if name:
                rows.append(line(kernel.name, f"{name}+{at - address:#x}", region, loop))
    return sorted(set(rows))


def expected(kernel):
    return [row for row in EXPECT.read_text().splitlines() if row.split()[:1] == [kernel.name]]


def measure_until(kernel, want, times):
    """Now and then a kernel has a region more, by when it was found: another time it has not."""
    for _ in range(times):
        rows = measure(kernel)
        if rows is None:
            break
        rows = with_sometimes(rows, want)
        if rows == want:
            break
    return rows


def with_sometimes(rows, want):
    """With the rows of `want` that need not be there, where nothing is found at that place."""
    found = {tuple(row.split()[:2]) for row in rows}
    return sorted({*rows, *(row for row in want if (key := tuple(row.split()[:2])) in SOMETIMES
                            and key not in found)})


def main():
    why = why_not()
    have = []
    bless = os.environ.get("TEST_BLESS") == "1"
    for kernel in [] if why else bench_kernels.all_kernels():
        if kernel.name in VARIES:
            continue
        kernel.compile()
        want = expected(kernel)
        rows = measure_until(kernel, want, 1 if bless else TIMES)
        if rows is None:
            why = "this build has no disassembler"
            break
        have += rows
    if why:
        print(f"skip - hot loops: {why}")
        return 0
    text = HEAD % compiler() + "\n".join(have) + "\n"
    if bless:
        EXPECT.write_text(text)
    want = EXPECT.read_text()
    print(*difflib.unified_diff(want.splitlines(), text.splitlines(), "loops.txt", "now", n=0,
                                lineterm=""), sep="\n")
    print("ok - hot loops" if want == text else
          "not ok - hot loops: other code; if that is meant, make bless (or TEST_BLESS=1)")
    return want != text


if __name__ == "__main__":
    sys.exit(main())
