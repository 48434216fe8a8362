# install.py: what the tests of this folder share. SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
ISOMER = os.environ["ISOMER"]
ROOT = os.environ.get("ISOMER_ROOT_RISCV64", "")
CROSS = "riscv64-linux-gnu-gcc"


def check(name, good, why=""):
    print(f"ok - {name}" if good else f"not ok - {name}: {why}", flush=True)


def skip(name, why):
    print(f"skip - {name}: {' '.join(why.split())[:300]}", flush=True)


def run(*args, cwd=None, env=None):
    """Exit status, output, errors."""
    p = subprocess.run([str(a) for a in args], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100, text=True,
                       errors="replace")
    return p.returncode, p.stdout, p.stderr


def is_static(exe):
    return "INTERP" not in run("readelf", "-lW", exe)[1]


def static_isomer():
    """The static build (make static), or None."""
    for exe in (Path(ISOMER), TOP / "build-static/src/cli/isomer"):
        if exe.exists() and is_static(exe):
            return exe
    return None


def small_root(where, isomer):
    """A riscv64 root with a shell and little else, and isomer as its one foreign file."""
    lib = Path("usr/lib/riscv64-linux-gnu")
    for folder in ("usr/bin", lib, "proc", "tmp", "other"):
        (where / folder).mkdir(parents=True)
    for link in ("bin", "lib"):
        (where / link).symlink_to(f"usr/{link}")
    for name in ("bin/bash", "bin/uname", "bin/readlink", "bin/ls", "bin/cat", "sbin/chroot",
                 "bin/true"):
        shutil.copy(f"{ROOT}/usr/{name}", where / "usr/bin")
    (where / "usr/bin/sh").symlink_to("bash")
    for name in ("libc.so.6", "libtinfo.so.6", "libselinux.so.1", "libpcre2-8.so.0",
                 "libcap.so.2"):
        if Path(f"{ROOT}/{lib}/{name}").exists():
            shutil.copy(f"{ROOT}/{lib}/{name}", where / lib / name)
    shutil.copy(f"{ROOT}/{lib}/ld-linux-riscv64-lp64d.so.1", where / "usr/lib")
    if isomer:
        shutil.copy(isomer, where / "isomer")
    return where
