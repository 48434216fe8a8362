"""long.py: large programs under Isomer and natively. SPDX-License-Identifier: Apache-2.0

The cases of tests/real with the pair of roots that `tools/riscv-root.sh --set long` makes.
Only `make check-long` runs them. docs/programs.md lists what they found.
"""

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(os.environ["TOP"])


def long_roots():
    """Environment of the roots; nothing if they were not fetched."""
    got = subprocess.run([TOP / "tools/riscv-root.sh", "--set", "long", "--print"],
                         capture_output=True, text=True)
    return dict(line.split("=", 1) for line in got.stdout.splitlines() if "=" in line)


_roots = long_roots()
os.environ["ISOMER_ROOT_RISCV64"] = _roots.get("riscv64", "")
os.environ["ISOMER_ROOT_NATIVE"] = _roots.get("native", "")
sys.path.insert(0, str(TOP / "tests/real"))

import real  # noqa: E402 (it reads the environment)

real.TIMEOUT = 1200
real.require_roots()

NATIVE = real.NATIVE
RISCV = real.RISCV
JAVA = {"native": "/usr/lib/jvm/java-21-openjdk-amd64/bin",
        "riscv64": "/usr/lib/jvm/java-21-openjdk-riscv64/bin"}


def need_twin():
    """All of these start others of their root: without a twin there is nothing to compare."""
    if not real.enterable():
        print("skip - large programs: the native root cannot be entered here (no namespaces)")
        sys.exit(0)


def same(name, argv, **more):
    real.same(name, argv, starts=True, **more)


def shell(name, script, **more):
    """A script for bash; $J is where Java's commands are (the path names the machine)."""
    argv = ["/usr/bin/bash", "-c", script]
    native = None
    if "$J/" in script:
        argv[2] = f"J={JAVA['riscv64']}; {script}"
        native = ["/usr/bin/bash", "-c", f"J={JAVA['native']}; {script}"]
    same(name, argv, native=native, **more)
