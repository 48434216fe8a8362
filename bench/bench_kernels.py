"""bench_kernels.py: the kernels, compiled for both machines. SPDX-License-Identifier: Apache-2.0

Each kernels/k_NAME.c says in its second line

    /* bench: group=GROUP quick=N tiny=N */

Without an argument a kernel runs for about 0.35 seconds natively; quick is about a fifth of
that; tiny is for tests. A line of its output that begins with "bits" depends on whether the
compiler contracted multiplications and additions, so it is compared between emulators
alone; all other lines must be as native's.
"""

import re

from bench_measure import BENCH, WORK, BenchError, compile_to, newer

NATIVE_CC = ["gcc", "-O2"]
GUEST_CC = ["riscv64-linux-gnu-gcc", "-O2", "-static"]
GROUPS = ["int", "calls", "virtual", "interp", "branchy", "memory", "string", "fp"]


class Kernel:
    def __init__(self, source):
        self.source = source
        self.name = source.stem.removeprefix("k_")
        found = re.search(r"/\* bench: group=(\w+) quick=(\d+) tiny=(\d+) \*/", source.read_text())
        if not found or found[1] not in GROUPS:
            raise BenchError(f"{source}: no valid 'bench:' line")
        self.group = found[1]
        self.scales = {"full": None, "quick": found[2], "tiny": found[3]}
        self.native = WORK / "kernels" / f"{self.name}.native"
        self.guest = WORK / "kernels" / f"{self.name}.riscv64"

    def compile(self):
        self.native.parent.mkdir(parents=True, exist_ok=True)
        for compiler, target in ((NATIVE_CC, self.native), (GUEST_CC, self.guest)):
            if not newer(target, self.source):
                compile_to(target, [*compiler, self.source, "-lm"])

    def arguments(self, scale):
        return [] if self.scales[scale] is None else [self.scales[scale]]


def all_kernels():
    kernels = [Kernel(path) for path in sorted((BENCH / "kernels").glob("k_*.c"))]
    return sorted(kernels, key=lambda k: (GROUPS.index(k.group), k.name))


def split_output(output):
    """Lines that must be as native's, and lines that must be the same in all emulators."""
    lines = output.decode(errors="replace").splitlines()
    bits = [line for line in lines if line.startswith("bits")]
    return [line for line in lines if not line.startswith("bits")], bits
