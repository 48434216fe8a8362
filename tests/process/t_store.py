#!/usr/bin/env python3
# t_store.py: stored translations. SPDX-License-Identifier: Apache-2.0
"""What the second run does is what the first did, with hardly anything translated; whatever was done
to the store, to the program's file or to the directory in between."""

import os
import random
import re
import resource
import shutil
import stat
import subprocess
import time
from pathlib import Path

ISOMER = os.environ["ISOMER"]
HERE = Path(__file__).resolve().parent
CROSS = "riscv64-linux-gnu-gcc"
SYSROOT = "/usr/riscv64-linux-gnu"
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
DAMAGED = 150


def case(name, why=None):
    print(f"not ok - {name}: {why}" if why else f"ok - {name}", flush=True)


def compile_step(path, step, *flags):
    subprocess.run([CROSS, "-D_GNU_SOURCE", "-O2", "-Wall", f"-DSTEP={step}", *flags,
                    str(HERE / "c/sto_work.c"), "-o", path], check=True)


def run(program, *args, store="store", options=(), env=None, **more):
    return subprocess.run([ISOMER, "run", "-L", SYSROOT, f"--translations={store}", *options,
                           program, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=100,
                          env={**os.environ, **(env or {})}, **more)


def numbers(p):
    """regions used, guest instructions translated, damaged records, compared ones."""
    def of(pattern):
        return sum(int(x) for x in re.findall(pattern, p.stderr))

    return (of(r"stored: regions used +(\d+)"), of(r"translate: (\d+) guest"),
            of(r"stored: damaged +(\d+)"), of(r"stored: compared +(\d+)"))


def files():
    return sorted(p for p in Path("store").iterdir() if not p.name.startswith("."))


def same(name, p, want):
    wrong = p.returncode or p.stdout != want
    case(name, wrong and f"status {p.returncode}, {p.stdout!r}, not {want!r}; {p.stderr[-300:]}")


def warm_and_cold():
    off = run("./one", store="off")
    cold = run("./one", options=["--stats"])
    same("the first run", cold, off.stdout)
    warm = run("./one", options=["--stats"])
    same("the second run", warm, off.stdout)
    for _ in range(2):  # what was met once only is stored by now
        warm = run("./one", options=["--stats"])
    used, made, bad, _ = numbers(warm)
    before = numbers(cold)[1]
    case("the second run translates nearly nothing",
         None if used > 500 and made < before / 10 and not bad else
         f"{used} regions used, {made} instructions translated, first {before}; {bad} damaged")
    mode = [oct(p.stat().st_mode & 0o777) for p in [Path("store"), *files()]]
    case("nobody else may read or write it",
         None if mode[0] == "0o700" and set(mode[1:]) == {"0o600"} else mode)
    return off.stdout


def other_addresses(want):
    """Another program, whose library lies elsewhere; everything compared with what is made now."""
    check = {"ISOMER_TRANSLATIONS_CHECK": "1"}
    p = run("./one", options=["--stats"], env=check)
    same("checked", p, want)
    case("checked: compared", None if numbers(p)[3] > 500 else numbers(p))
    for flags in (["-no-pie"], ["-static"], ["-lm", "-Wl,--no-as-needed", "-ldl", "-lpthread"]):
        name = "checked: " + " ".join(flags)
        compile_step("other", 7, *flags)
        alone = run("./other", store="off")
        for _ in range(2):
            p = run("./other", options=["--stats"])
        same(name, p, alone.stdout)
        used = numbers(p)[0]
        p = run("./other", options=["--stats"], env=check)
        case(name + ": same code", None if p.returncode == 0 and numbers(p)[3] > 300 and used > 300
             else f"status {p.returncode}, {numbers(p)}; {p.stderr[-200:]}")


def changed_file():
    """The same inode, size and time, and other code in it."""
    for step in (1, 2):
        compile_step(f"step{step}", step)
    shutil.copy("step1", "program")
    was = os.stat("program")
    for i in range(2):
        first = run("./program")
    data = Path("step2").read_bytes()
    case("two programs of one size", None if len(data) == was.st_size else "not of one size")
    with open("program", "r+b") as f:
        f.write(data)
    os.utime("program", ns=(was.st_atime_ns, was.st_mtime_ns))
    want = run("./step2", store="off").stdout
    same("a file that changed and does not show it", run("./program"), want)
    for _ in range(2):
        p = run("./program", options=["--stats"])
    case("... and is stored anew", None if numbers(p)[1] < 500 else numbers(p))
    case("... and gives something else", "the same" if first.stdout == want else None)


def damaged(want):
    rng = random.Random(SEED)
    good = {p: p.read_bytes() for p in files()}
    wrong = []
    bad = 0
    for n in range(DAMAGED):
        for path, data in good.items():
            data = bytearray(data)
            how = rng.randrange(4)
            for _ in range(0 if how == 3 else 1 + rng.randrange(200)):
                at = rng.randrange(64 if how == 0 else len(data))
                data[at] = rng.randrange(256) if how == 1 else data[at] ^ 1 << rng.randrange(8)
            if how == 3:
                del data[rng.randrange(len(data)):]
            path.write_bytes(data)
        p = run("./one", options=["--stats"])
        bad += numbers(p)[2]
        if p.returncode or p.stdout != want:
            wrong.append((n, p.returncode, p.stderr[-200:]))
        for path, data in good.items():
            path.write_bytes(data)
    case(f"{DAMAGED} times damaged, seed {SEED}", wrong[:3] or None)
    case("some of it was noticed", None if bad else "nothing")


def directory(want):
    def unused(name, store, **more):
        p = run("./one", store=store, options=["--stats"], **more)
        same(name, p, want)
        case(name + ": not used", numbers(p)[0] and f"{numbers(p)[0]} regions used")

    os.chmod("store", 0o770)
    unused("others may write to the directory", "store")
    os.chmod("store", 0o700)
    os.symlink("store", "link")
    unused("a link", "link")
    for p in files():
        p.chmod(0o620)
    unused("others may write to the files", "store")
    for p in files():
        p.chmod(0o600)
    if os.geteuid() == 0:
        os.chown("store", 1234, 1234)
        unused("somebody else's", "store")
        os.chown("store", 0, 0)
    unused("a file is no directory", "one")
    unused("nowhere", "/nowhere/store")
    p = run("./one", store="new", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                                         (4096, 4096)))
    same("a limit on file sizes", p, want)
    p = run("./one", store="masked", preexec_fn=lambda: os.umask(0o777))
    same("a mask of all bits", p, want)
    Path("readonly").mkdir(mode=0o500)
    same("a directory that cannot be written to", run("./one", store="readonly"), want)


def elsewhere():
    """A relative name is meant from where isomer was started, whatever the program does then."""
    shell = "/usr/bin/sh"
    root = os.environ.get("ISOMER_ROOT_RISCV64")
    if not root:
        print("skip - another directory: no Debian root")
        return
    here = os.getcwd()
    Path("away").mkdir()
    p = subprocess.run([ISOMER, "run", "-L", root, "--translations=near", shell, "-c",
                        f"cd {here}/away && exec {shell} -c 'echo there'"],
                       capture_output=True, text=True, timeout=100)
    same("another directory", p, "there\n")
    case("... and nothing is kept in it", None if any(Path("near").iterdir()) and
         not any(Path("away").iterdir()) else "not in the first")


def not_memory(want):
    """/dev/shm of a root on disk: what is kept there would be in its image."""
    Path("shm").mkdir()
    if subprocess.run(["stat", "-f", "-c", "%T", "."], capture_output=True,
                      text=True).stdout.strip() == "tmpfs":
        print("skip - /dev/shm on disk: the scratch directory is none")
        return
    p = subprocess.run(["unshare", "-m", "sh", "-c", "mount --bind shm /dev/shm && exec \"$@\"", "sh",
                        ISOMER, "run", "-L", SYSROOT, "./one"], capture_output=True, text=True,
                       timeout=100, env={k: v for k, v in os.environ.items()
                                         if k != "ISOMER_TRANSLATIONS"})
    if p.returncode:
        print("skip - /dev/shm on disk: cannot mount it")
        return
    same("/dev/shm on disk", p, want)
    case("... is not used", None if not any(Path("shm").iterdir()) else "but it is")


def killed(want):
    """At any time, also while a file is written."""
    rng = random.Random(SEED)
    took = time.monotonic()
    run("./one", store="fresh")
    took = time.monotonic() - took
    for _ in range(20):
        shutil.rmtree("fresh", ignore_errors=True)
        p = subprocess.Popen([ISOMER, "run", "-L", SYSROOT, "--translations=fresh", "./one"],
                             stdout=subprocess.DEVNULL)
        try:
            p.wait(took * rng.uniform(0.5, 1.1))
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        again = run("./one", store="fresh", options=["--stats"])
        if again.returncode or again.stdout != want or numbers(again)[2]:
            case("killed at any time", f"{again.stdout!r}, {numbers(again)}")
            return
    case("killed at any time")


def left_over():
    new = Path("store/.new-1-1")
    new.write_bytes(b"x" * 5000)
    os.utime(new, (time.time() - 1000,) * 2)
    for p in files():
        p.unlink()
    run("./one")
    case("what a killed writer left goes", "still there" if new.exists() else None)


def at_once(want):
    shutil.rmtree("store")
    many = [subprocess.Popen([ISOMER, "run", "-L", SYSROOT, "--translations=store", "./one", "3",
                              "again"], stdout=subprocess.PIPE, text=True) for _ in range(12)]
    wrong = [out for out in (p.communicate(timeout=100)[0] for p in many)
             if sorted(out.splitlines()) != sorted(want.splitlines() * 2)]
    case("twelve at once, and their children", wrong[:2] or None)
    rest = [p.name for p in Path("store").iterdir() if p.name.startswith(".")]
    case("... leave nothing half written", rest or None)
    same("... and what they left is good", run("./one"), want)


def small_file_system(want):
    """Full, or nearly."""
    Path("full").mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", "full"],
                           stderr=subprocess.DEVNULL)
    if mount.returncode:
        print("skip - a full file system: cannot mount one")
        return
    try:
        for _ in range(2):
            same("a full file system", run("./one", store="full"), want)
        case("... keeps its files within a quarter of it",
             None if sum(p.stat().st_size for p in Path("full").iterdir()) <= 16384 else "not")
    finally:
        subprocess.run(["umount", "full"], check=True)


def main():
    if not shutil.which(CROSS):
        print(f"skip - store: no {CROSS}")
        return
    compile_step("one", 1)
    want = warm_and_cold()
    other_addresses(want)
    changed_file()
    damaged(want)
    directory(want)
    elsewhere()
    not_memory(want)
    killed(want)
    left_over()
    small_file_system(want)
    at_once(want)


main()
