#!/usr/bin/env python3
"""t_python.py: Python's own tests pass as they do natively. SPDX-License-Identifier: Apache-2.0

usage: t_python.py [MODULE...]

A case is a module. What a test gives natively it must give emulated; a test that does not
pass natively here counts for nothing. Tests that differ are run twice before they count:
some of them depend on time.
"""

import re
import subprocess
import sys
from pathlib import Path

import long
import real

MODULES = ("int long float math cmath complex struct str bytes unicodedata re json decimal fractions "
           "statistics random hashlib zlib lzma bz2 "
           "threading threadsignals thread queue signal subprocess socket mmap select selectors epoll poll "
           "asyncio concurrent_futures multiprocessing_fork multiprocessing_spawn "
           "multiprocessing_forkserver os posix posixpath time datetime faulthandler ctypes "
           "fcntl io fileio file tempfile shutil pathlib glob resource pty pwd grp "
           "ssl sqlite3 pickle array memoryview memoryio gc weakref generators coroutines "
           "exceptions sys sysconfig dict set list tuple sort heapq itertools functools "
           "contextlib inspect compile ast dis marshal import runpy venv platform locale "
           "eintr wait3 wait4 fork1 pipes popen httpservers urllib2_localnet ftplib smtplib "
           "socketserver xmlrpc sched timeit tracemalloc capi embed gdb").split()
LIMIT = 1500  # seconds for a module
# Ends by luck, natively as well: it interrupts a recursion that doubles.
IGNORED = ["test_print_exception_gh_102056"]
# Of a test: name (where) ... what, with anything it prints in between.
LINE = re.compile(r"^(test\w*) \(([\w.]+)\)(?:.*\n)??.*?\.\.\. ", re.M)
RESULT = re.compile(r"(?:^|\.\.\. |\s)(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)$",
                    re.M)


def results(text):
    """What each test gave, by its full name."""
    got, starts = {}, list(LINE.finditer(text))
    for this, following in zip(starts, starts[1:] + [None]):
        part = text[this.end():following.start() if following else len(text)]
        found = RESULT.search("... " + part)
        got[this[2]] = found[1].split()[0] if found else "none"
    return got


def run(module, command, extra=()):
    directory = Path.cwd() / "python"
    subprocess.run(["rm", "-rf", directory], check=False)
    directory.mkdir()
    argv = ["/usr/bin/python3", "-m", "test", "-v", "-u",
            "all,-network,-urlfetch,-largefile,-cpu,-gui,-walltime",
            "--timeout", "300", *(a for i in IGNORED for a in ("-i", i)), *extra, f"test_{module}"]
    env = {**real.ENV, "HOME": str(directory), "TMPDIR": str(directory)}
    try:
        got = subprocess.run(command(argv), cwd=directory, env=env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
        text = got.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        text = (late.stdout or b"").decode(errors="replace") + "\nno end\n"
    return results(text), text


def compare(module):
    want, text = run(module, real.native_command)
    if "No module named" in text and not want:
        print(f"skip - {module}: not a module of this version")
        return
    good = {k for k, v in want.items() if v == "ok"}
    got, text = run(module, real.emulated_command)
    bad = sorted(k for k in good if got.get(k) != "ok")
    if bad:
        names = [a for k in bad[:50] for a in ("-m", k.rsplit(".", 1)[-1])]
        again, text = run(module, real.emulated_command, names)
        bad = [k for k in bad if again.get(k) != "ok"]
        got.update(again)
    Path(f"{module}.log").write_text(text)
    shown = ", ".join(f"{k} {got.get(k, 'missing')}" for k in bad[:12])
    skipped = sum(1 for k in good if got.get(k) == "skipped")
    if bad:
        print(f"not ok - python test_{module}: {len(bad)} of {len(good)} ({skipped} skipped): {shown}",
              flush=True)
    else:
        print(f"ok - python test_{module} ({len(good)} tests)", flush=True)


def main():
    long.need_twin()
    for module in sys.argv[1:] or MODULES:
        compare(module)


main()
