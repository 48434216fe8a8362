"""real.py: run a riscv64 program under Isomer and its native twin. SPDX-License-Identifier: Apache-2.0

Both run in the same directory (emptied in between) with the same environment and input.
Compared are standard output, standard error, exit status or signal, and every file left.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(os.environ["TOP"])
ISOMER = os.environ["ISOMER"]
FLAGS = os.environ.get("ISOMER_FLAGS", "").split()
RISCV = os.environ.get("ISOMER_ROOT_RISCV64", "")
NATIVE = os.environ.get("ISOMER_ROOT_NATIVE", "")
TIMEOUT = 240
SHOWN = 300  # characters of a difference

ENV = {
    "PATH": "/usr/bin:/usr/sbin", "HOME": "/", "LC_ALL": "C", "TZ": "UTC", "TERM": "dumb",
    "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80",
}

# What the sanitizer build needs to see; the guest sees it too.
SANITIZER = {k: v for k, v in os.environ.items()
             if k in ("ASAN_OPTIONS", "UBSAN_OPTIONS") and "TEST_ASAN" in os.environ}

# Programs whose work is to start others, or that need files at places built in.
STARTERS = {"bash", "dash", "make", "gcc", "riscv64-linux-gnu-gcc-14", "env", "diff3", "xargs",
            "find", "nice", "timeout", "file"}

_helper = []
# Whether the native root can be entered. Where no namespace may be made (a container without
# the right to), its dynamic linker starts a single program; those that start others have no
# twin then and their cases are left out.
_enterable = []


def require_roots():
    """Without the programs there is nothing to test."""
    if not RISCV or not NATIVE:
        print("skip - real programs: not fetched (make setup)")
        sys.exit(0)


def native_helper():
    if not _helper:
        got = subprocess.run([TOP / "tools/native.sh", "--path"], stdout=subprocess.PIPE,
                             text=True, check=True)
        _helper.append(got.stdout.strip())
        probe = subprocess.run([_helper[0], NATIVE, "--", "/bin/true"], stderr=subprocess.DEVNULL)
        _enterable.append(probe.returncode == 0)
    return _helper[0]


def enterable():
    native_helper()
    return _enterable[0]


def native_command(argv):
    if enterable():
        return [native_helper(), NATIVE, "--", *argv]
    libs = f"{NATIVE}/usr/lib/x86_64-linux-gnu:{NATIVE}/usr/lib"
    return [f"{NATIVE}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", libs,
            "--argv0", argv[0], NATIVE + argv[0], *argv[1:]]


def native_env():
    """Where programs that are started by hand find their own files."""
    if enterable():
        return {}
    perl = [f"{NATIVE}/usr/{d}" for d in ("lib/x86_64-linux-gnu/perl-base", "share/perl/5.40",
                                         "lib/x86_64-linux-gnu/perl/5.40")]
    return {"PYTHONHOME": f"{NATIVE}/usr", "PERL5LIB": ":".join(perl)}


def emulated_command(argv, flags=()):
    return [ISOMER, "run", *FLAGS, *flags, "-L", RISCV, *argv]


class Outcome:
    """What a program did."""

    def __init__(self, command, directory, files, stdin, env):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            os.utime(path, (1e9, 1e9))
        try:
            got = subprocess.run(command, cwd=directory, input=stdin, env={**ENV, **env},
                                 capture_output=True, timeout=TIMEOUT)
            self.status, self.out, self.err = got.returncode, got.stdout, got.stderr
        except subprocess.TimeoutExpired as late:
            self.status, self.out, self.err = "none", late.stdout or b"", late.stderr or b""
        self.files = {}
        for path in sorted(directory.rglob("*")):
            name = str(path.relative_to(directory))
            if path.is_symlink():
                self.files[name] = "link to " + os.readlink(path)
            elif path.is_file():
                mode = path.stat().st_mode & 0o7777
                self.files[name] = f"{mode:o} " + hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                self.files[name] = "directory"


def show(data):
    return data.decode(errors="backslashreplace")


def difference(native, ours):
    """The first thing that differs, as one line; None if nothing does."""
    if native.status != ours.status:
        return f"status {ours.status}, native {native.status}; {show(ours.err)[-SHOWN:]!r}"
    for what, a, b in (("output", native.out, ours.out), ("errors", native.err, ours.err)):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            start = max(0, at - 40)
            return (f"{what} differ at byte {at}: {show(b[start:at + SHOWN])!r}, "
                    f"native {show(a[start:at + SHOWN])!r}")
    for name in sorted(set(native.files) | set(ours.files)):
        if native.files.get(name) != ours.files.get(name):
            return f"file {name}: {ours.files.get(name)}, native {native.files.get(name)}"
    return None


def same(name, argv, files=None, stdin=b"", env=None, native=None, flags=(), status=0,
         starts=False):
    """One case: argv under Isomer does what it (or `native`) does natively. The native twin
    must end with `status`, or the case tests nothing (None: whatever it is). starts: it
    starts other programs of the root."""
    directory = Path.cwd() / "case"
    stdin = stdin.encode() if isinstance(stdin, str) else stdin
    files = files or {}
    env = env or {}
    if not enterable() and (starts or Path(argv[0]).name in STARTERS):
        print(f"skip - {name}: the native root cannot be entered here (no namespaces)")
        return
    want = Outcome(native_command(native or argv), directory, files, stdin,
                   {**env, **native_env()})
    if status is not None and want.status != status:
        print(f"not ok - {name}: the native twin gives {want.status}: {show(want.err)[:SHOWN]!r}")
        return
    got = Outcome(emulated_command(argv, flags), directory, files, stdin, {**SANITIZER, **env})
    why = difference(want, got)
    print(f"not ok - {name}: {why}" if why else f"ok - {name}", flush=True)


def shell(name, script, **more):
    """One case: a script for bash, whose commands are children of the emulated shell."""
    same(name, ["/usr/bin/bash", "-c", script], **more)


def sample(size, seed=1):
    """Bytes that compress somewhat: words from a small dictionary, the same each time."""
    words = [hashlib.md5(str(i).encode()).hexdigest()[:3 + i % 9] for i in range(500)]
    state, out, length = seed, [], 0
    while length < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        word = words[(state >> 33) % 500 % (1 + (state >> 50) % 500)]
        out.append(word)
        length += len(word) + 1
    text = " ".join(out)
    lines = [text[i:i + 70] for i in range(0, len(text), 70)]
    return ("\n".join(lines)[:size - 1] + "\n").encode()
