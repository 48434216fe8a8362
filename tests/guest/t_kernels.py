#!/usr/bin/env python3
"""t_kernels.py: the benchmark kernels as tests. SPDX-License-Identifier: Apache-2.0

Each kernel of bench/kernels runs at its smallest scale in every mode of the emulator; its
output must be as native's, and its "bits" lines (which depend on the guest compiler's use
of fused multiplication and addition) as those of qemu-riscv64 on the same executable. The
long form also runs the quick scale. Seeds are random and printed; TEST_SEED repeats one.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

TOP = Path(os.environ["TOP"])
sys.path.insert(0, str(TOP / "bench"))
sys.dont_write_bytecode = True

import bench_kernels  # noqa: E402

ISOMER = os.environ["ISOMER"]
FLAGS = os.environ.get("ISOMER_FLAGS", "").split()
QEMU = os.environ.get("QEMU", "qemu-riscv64")
SEED = os.environ.get("TEST_SEED") or str(random.randrange(1, 1 << 31))
LIMIT = 120

# Mode -> options. Lockstep and the interpreter run the smallest scale only.
MODES = {
    "tier1": [],
    "no-link": ["--no-link"],
    "deopt": [f"--test-deopt={SEED}"],
    "ra": [f"--test-ra={SEED}"],
    "deopt+ra": [f"--test-deopt={SEED}", f"--test-ra={SEED}"],
    "x86-64-v2": ["--cpu-features=-avx512,-avx2,-bmi"],
    "tiny-cache": ["--cache-size=256K"],
    "lockstep": ["--lockstep"],
    "tier2": ["--tier2=on"],
    "tier2-sync": ["--tier2=sync"],
    "tier2-always": ["--tier2=always", "--cache-size=1M"],
    "tier2-lockstep": ["--tier2=sync", "--lockstep"],
    "tier2-deopt+ra": ["--tier2=sync", f"--test-deopt={SEED}", f"--test-ra={SEED}"],
    "interpreter": ["--interpreter"],
}
SLOW = {"lockstep", "interpreter", "deopt", "deopt+ra", "no-link", "tier2-lockstep",
        "tier2-deopt+ra"}


def run(command):
    """(output, why it failed or None)"""
    try:
        done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return b"", f"takes more than {LIMIT} s"
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        return done.stdout, f"status {done.returncode}: {last[:160]}"
    return done.stdout, None


def verdict(have, why, want, bits):
    """Why this output is wrong, or None."""
    if why:
        return why
    lines, own_bits = bench_kernels.split_output(have)
    if lines != want:
        return f"{' '.join(lines)!r}, native {' '.join(want)!r}"
    if own_bits != bits:
        return f"{' '.join(own_bits)!r}, qemu {' '.join(bits)!r}"
    return None


def check(kernel, scale, modes):
    failed = 0
    arguments = kernel.arguments(scale)
    native, native_why = run([kernel.native, *arguments])
    qemu, qemu_why = run([QEMU, kernel.guest, *arguments])
    want, _ = bench_kernels.split_output(native)
    same, bits = bench_kernels.split_output(qemu)
    trouble = native_why or qemu_why or (None if same == want else "qemu differs from native")
    for mode in modes:
        name = f"{kernel.name} {scale} {mode}"
        why = trouble
        if not why:
            have, why = run([ISOMER, "run", *FLAGS, *MODES[mode], kernel.guest, *arguments])
            why = verdict(have, why, want, bits)
        if why:
            failed += 1
            print(f"not ok - {name}: {why} (seed {SEED})", flush=True)
        else:
            print(f"ok - {name}", flush=True)
    return failed


def main():
    words = sys.argv[1:]
    failed = 0
    print(f"seed {SEED}")
    for kernel in bench_kernels.all_kernels():
        if words and kernel.name not in words:
            continue
        kernel.compile()
        failed += check(kernel, "tiny", MODES)
        if os.environ.get("TEST_LONG"):
            failed += check(kernel, "quick", [m for m in MODES if m not in SLOW])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
