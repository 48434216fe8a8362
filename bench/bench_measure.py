"""bench_measure.py: machines, runs and their cost. SPDX-License-Identifier: Apache-2.0

A *machine* is a way to run a guest program: natively (its native twin), under QEMU, under
isomer, or under another emulator that takes "-L ROOT PROGRAM ARGUMENT...". Every run goes
through tools/native_root.c, which reports CPU time and resident memory of the program and
its children alone; the cost of the harness and of entering a root are not in it.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
TOP = BENCH.parent
CACHE = Path(os.environ.get("ISOMER_CACHE") or
             Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isomer")
WORK = CACHE / "bench"
RUN_LIMIT = 600  # seconds; a run that takes longer has failed


class BenchError(Exception):
    """Something the user can put right: one clear line."""


def build(command, what):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise BenchError(f"cannot build {what}: {first}")


def compile_to(target, command):
    """Adds "-o FILE" to a compiler's command; target appears only when it is whole."""
    part = target.with_name(f"{target.name}.{os.getpid()}")
    build([*command, "-o", part], target.name)
    part.rename(target)


def newer(target, *sources):
    """Whether target is there and not older than any source."""
    return target.exists() and all(s.stat().st_mtime <= target.stat().st_mtime for s in sources)


def find_roots():
    """The two Debian roots of tools/riscv-root.sh, or None where they were not fetched."""
    done = subprocess.run([TOP / "tools/riscv-root.sh", "--print"], capture_output=True, text=True)
    if done.returncode:
        return None
    roots = dict(line.split("=", 1) for line in done.stdout.split())
    return {name: Path(path) for name, path in roots.items()}


def runner():
    done = subprocess.run([TOP / "tools/native.sh", "--path"], capture_output=True, text=True)
    if done.returncode:
        raise BenchError("cannot build tools/native_root.c: " + done.stderr.strip())
    return done.stdout.strip()


class Machine:
    def __init__(self, name, command):
        self.name = name        # column of the table
        self.command = command  # words before "PROGRAM ARGUMENT..."; None: native
        self.is_native = command is None
        # Only ours starts guest children by itself; the others need bench_wrap.c.
        self.starts_children = self.is_native or name == "isomer"

    def argv(self, program, args, root=None):
        if self.is_native:
            return [str(program), *args]
        sysroot = ["-L", str(root)] if root else []
        return [*self.command, *sysroot, str(program), *args]


def find_machines(names, isomer):
    """Machines for the names, and the names of those that are not there."""
    machines, missing = [Machine("native", None)], []
    for name in names:
        if name == "isomer":
            path = isomer if isomer and os.access(isomer, os.X_OK) else None
            command = [str(path), "run"] if path else None
        else:
            path = shutil.which(name)
            command = [path] if path else None
            name = "qemu" if name == "qemu-riscv64" else Path(name).name
        if command:
            machines.append(Machine(name, command))
        else:
            missing.append(name)
    return machines, missing


class Run:
    """What one run cost and gave."""

    def __init__(self, cpu, wall, rss, output, status, stderr):
        self.cpu, self.wall, self.rss, self.output = cpu, wall, rss, output
        self.status, self.stderr = status, stderr


class Bench:
    """Runs commands in a scratch directory under a fixed, small environment."""

    def __init__(self):
        WORK.mkdir(parents=True, exist_ok=True)
        self.scratch = WORK / "scratch"
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        self.runner = runner()
        self.report = self.scratch / ".report"
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.scratch), "LC_ALL": "C",
                            "TMPDIR": str(self.scratch), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}

    def run(self, argv, native_root=None, stdin=None, output_file=None, env=None):
        command = [self.runner, "-t", str(self.report)]
        if native_root:
            command.append(str(native_root))
        command += ["--", *argv]
        out, err = self.scratch / ".out", self.scratch / ".err"
        self.report.write_text("")
        with open(stdin or os.devnull, "rb") as i, open(out, "wb") as o, open(err, "wb") as e:
            process = subprocess.Popen(command, stdin=i, stdout=o, stderr=e, cwd=self.scratch,
                                       env={**self.environment, **(env or {})},
                                       start_new_session=True)
            try:
                status = process.wait(RUN_LIMIT)
            except subprocess.TimeoutExpired:
                status = "timeout"
            finally:
                if process.returncode is None:  # or interrupted: nothing stays behind
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        words = self.report.read_text().split()
        user, system, wall, rss = (float(w) for w in words) if len(words) == 4 else (0, 0, 0, 0)
        output = out.read_bytes()
        if output_file:
            made = self.scratch / output_file
            output += made.read_bytes() if made.exists() else b"no output file"
            made.unlink(missing_ok=True)
        if len(output) > 4096:
            output = hashlib.sha256(output).hexdigest().encode()
        stderr = err.read_text(errors="replace")
        return Run(user + system, wall, rss / 1024, output, status, stderr)


def warn(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)
