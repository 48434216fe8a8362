#!/usr/bin/env python3
# t_elf.py: what isomer makes of good and hostile programs. SPDX-License-Identifier: Apache-2.0
"""A bad file gives one line "isomer: ..." and status 126 (127 if something is not there), never
anything else; a good one runs. The files are those of elf_made.py and truncations of a real one."""

import os
import shutil
import subprocess
from pathlib import Path

import elf_made

ISOMER = os.environ["ISOMER"]
CROSS = "riscv64-linux-gnu-gcc"


def run(*args, **kw):
    p = subprocess.run([ISOMER, "run", *map(str, args)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def case(name, why):
    print(f"not ok - {name}: {why}" if why else f"ok - {name}")


def refused(name, got, part, statuses=(126, 127)):
    status, out, err = got
    lines = err.splitlines()
    if status not in statuses:
        return case(name, f"status {status}, stderr {err!r}")
    if len(lines) != 1 or not lines[0].startswith("isomer: ") or out:
        return case(name, f"not one line: {err!r}")
    case(name, None if part in lines[0] else f"'{lines[0]}' does not say '{part}'")


def made():
    for name, (data, want) in elf_made.CASES.items():
        path = Path(name)
        path.write_bytes(data)
        path.chmod(0o755)
        if want is None:  # runs natively: the host judges
            continue
        got = run(f"./{name}")
        if isinstance(want, int):
            case(name, None if got == (want, "", "") else f"{got}")
        else:
            refused(name, got, want)


def names():
    refused("missing file", run("./none"), "No such file", (127,))
    refused("missing in PATH", run("isomer-no-such-program"), "not found", (127,))
    refused("folder", run("./"), "", (126,))
    Path("plain").write_bytes(elf_made.CASES["good"][0])
    Path("plain").chmod(0o644)
    refused("not executable", run("./plain"), "ermission", (126,)) if os.access("plain", os.X_OK) is False \
        else case("not executable", "the system says it is")
    os.mkfifo("fifo", 0o755)
    refused("fifo", run("./fifo"), "", (126,))
    refused("device", run("/dev/null"), "", (126,))
    Path("loop1").symlink_to("loop2")
    Path("loop2").symlink_to("loop1")
    refused("link loop", run("./loop1"), "", (126, 127))
    for i in range(6):
        path = Path(f"script{i}")
        path.write_text(f"#!{Path.cwd()}/script{i + 1}\n")
        path.chmod(0o755)
    Path("script5").write_text(f"#!{Path.cwd()}/script0\n")
    refused("script loop", run("./script0"), "", (126,))
    refused("sysroot missing", run("-L", "/no/such/root", "./good"), "/no/such/root", (127, 126))


def truncated():
    Path("hello.c").write_text('int main(void) { return 0; }\n')
    subprocess.run([CROSS, "-static", "-Os", "-s", "-o", "hello", "hello.c"], check=True)
    data = Path("hello").read_bytes()
    bad = 0
    for cut in range(0, len(data), len(data) // 40):
        Path("cut").write_bytes(data[:cut])
        Path("cut").chmod(0o755)
        status, out, err = run("./cut")
        # what is behind the last segment may be missing
        if not (status == 0 and cut > len(data) // 2):
            bad += status != 126 or not err.startswith("isomer: ") or err.count("\n") != 1
    case("truncated real program", f"{bad} of 40 cuts" if bad else None)


def main():
    made()
    names()
    if shutil.which(CROSS):
        truncated()
    else:
        print(f"skip - truncated real program: no {CROSS}")


main()
