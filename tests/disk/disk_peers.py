# disk_peers.py: what tests of image formats share. SPDX-License-Identifier: Apache-2.0
"""Runs disk_tool and Debian's tools, compares what a disk holds, and counts cases."""

import os
import random
import shutil
import subprocess
import sys

TOOL = os.path.join(os.environ["BUILD"], "tests", "disk", "disk_tool")
failures = 0


def need(*programs):
    """Skips the test if a peer is not there."""
    for p in programs:
        if not shutil.which(p):
            print(f"skip - all: no {p}")
            sys.exit(77)


def run(*args, ok=True, data=None, env=None):
    """Runs a program; returns (status, output, last line of its messages)."""
    got = subprocess.run([str(a) for a in args], input=data, capture_output=True, timeout=120,
                         env=dict(os.environ, **(env or {})))
    message = got.stderr.decode(errors="replace").strip()
    if ok and got.returncode:
        raise RuntimeError(f"{' '.join(map(str, args[:5]))}: {message}")
    return got.returncode, got.stdout, message


def tool(*args, **kw):
    return run(TOOL, *args, **kw)


def case(name, f, *args):
    """One case: f returns None or what is wrong."""
    global failures
    try:
        why = f(*args)
    except (RuntimeError, subprocess.TimeoutExpired, OSError, AssertionError) as e:
        why = str(e) or repr(e)
    if why:
        failures += 1
        print(f"not ok - {name}: {why}", flush=True)
    else:
        print(f"ok - {name}", flush=True)


def refused(args, pattern, **kw):
    """None if disk_tool refuses with one line that has pattern."""
    status, _, message = tool(*args, ok=False, **kw)
    if status != 1:
        return f"exit status {status}: {message[:300]}"
    if "\n" in message or pattern not in message:
        return f"nothing like '{pattern}': {message[:300]}"
    return None


def content(size, seed=1):
    """Bytes of a disk: text, noise, repeats and holes."""
    r = random.Random(seed)
    out = bytearray(size)
    for off in range(0, size, 16384):
        kind = r.randrange(4)
        n = min(16384, size - off)
        if kind == 1:
            out[off:off + n] = r.randbytes(n)
        elif kind == 2:
            out[off:off + n] = (b"cylinder %d head " % off * (n // 10 + 1))[:n]
        elif kind == 3:
            out[off + n // 3:off + n // 2] = bytes([off >> 14 & 255 or 1]) * (n // 2 - n // 3)
    return bytes(out)


def done():
    sys.exit(1 if failures else 0)
