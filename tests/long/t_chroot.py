#!/usr/bin/env python3
"""t_chroot.py: a Debian system, installed and used. SPDX-License-Identifier: Apache-2.0

debootstrap's second stage, apt with its sandbox user and maintainer scripts, Debian's source
packages and a parallel build, all in a chroot whose every program the kernel starts through
binfmt_misc: in a user namespace, where debootstrap has to be told that devices cannot be made
(container=lxc). Needs root for the owners of files, the static build, debootstrap and a mirror.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(os.environ["TOP"])
sys.path.insert(0, str(TOP / "tests/install"))
from install import check, skip, static_isomer  # noqa: E402

LIMIT = 1800
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The suite, and what the archive also calls it (see tools/riscv-root.sh).
NAMES = ("trixie", "stable")
PACKAGES = "gcc g++ libc6-dev make dpkg-dev git python3"
ENTER = """root=$1; shift
for d in proc dev sys; do mount --rbind /$d $root/$d; done
cd /; exec chroot $root /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \\
    LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive /bin/sh -c "$1" """
BUILD = r"""
set -e; cd /tmp; mkdir b; cd b; apt-get source -qq --download-only lua5.4 >/dev/null 2>&1
dpkg-source -x *.dsc src >/dev/null 2>&1; cd src/src
echo '#define DEB_HOST_MULTIARCH "riscv64-linux-gnu"' >lua5.4-deb-multiarch.h
cat >mf <<'M'
C = $(filter-out lua.c luac.c,$(wildcard *.c))
lua: lua.o $(C:.c=.o) ; gcc -o $@ $^ -lm -ldl
%.o: %.c ; gcc -std=gnu99 -O2 -DLUA_COMPAT_5_3 -DLUA_USE_LINUX -c -o $@ $<
M
make -s -j2 -f mf lua
./lua -e 'local t={} for i=1,1000 do t[i]=(i*7919)%1009 end table.sort(t) print(_VERSION,t[500])'
"""
USES = [
    ("git", "cd /tmp; git init -q g; cd g; git config user.email a@b; git config user.name a;"
     "echo x >x; git add x; git commit -qm m; git log --format=%s; git fsck 2>&1", "m\n"),
    ("python3", "python3 -c 'import ssl, sqlite3, subprocess as s;"
     "print(s.check_output([\"uname\", \"-m\"]))'", "b'riscv64\\n'\n"),
    ("a user of its own", "useradd -m u && su u -c 'id -un; cd; touch f; stat -c %U f'; "
     "userdel -r u 2>/dev/null", "u\nu\n"),
    ("dpkg --verify", "dpkg --verify; dpkg --audit", ""),
    ("apt remove", "apt-get -qq purge -y git >/dev/null 2>&1; dpkg -s git >/dev/null 2>&1; echo $?",
     "1\n"),
]


class Root:
    def __init__(self, isomer, where):
        self.user, self.where = [isomer, "binfmt", "--user", "--"], where

    def command(self, argv, log):
        with open(log, "wb") as out:
            try:
                return subprocess.run([str(x) for x in argv], stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=subprocess.STDOUT, timeout=LIMIT).returncode
            except subprocess.TimeoutExpired:
                return "no end"

    def run(self, name, script, want=None):
        log = f"{re.sub(r'[^a-z]+', '-', name)}.log"
        start = time.time()
        status = self.command([*self.user, "sh", "-c", ENTER, "x", self.where, script], log)
        text = Path(log).read_text(errors="replace")
        good = status == 0 if want is None else text == want
        check(f"{name} ({time.time() - start:.0f} s)", good, f"status {status}: {text[-400:]!r}")
        return good


def mirrors():
    got = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)",
                          "Created-By: Packages"], capture_output=True, text=True)
    found = [x.split()[0] for x in got.stdout.splitlines() if x.endswith(" main")]
    return list(dict.fromkeys(found))


def first_stage(root):
    """Fetches; returns the mirror and suite, or None."""
    script = Path("/usr/share/debootstrap/scripts/sid")
    for mirror in mirrors():
        for name in NAMES:
            shutil.rmtree(root.where, ignore_errors=True)
            if root.command(["debootstrap", "--arch=riscv64", "--foreign", "--variant=minbase",
                             f"--keyring={KEYS}", name, root.where, mirror, script],
                            "first-stage.log") == 0:
                return mirror, name
    return None


def main():
    isomer = static_isomer()
    for good, why in ((isomer, "no static build (make static)"),
                      (os.getuid() == 0, "not root: a root's files have many owners"),
                      (shutil.which("debootstrap"), "no debootstrap")):
        if not good:
            skip("Debian in a chroot", why)
            return
    root = Root(isomer, Path("root").resolve())
    if root.command([*root.user, "true"], "user.log"):
        skip("Debian in a chroot", Path("user.log").read_text())
        return
    source = first_stage(root)
    if not source:
        skip("Debian in a chroot", Path("first-stage.log").read_text()[-200:])
        return
    os.chmod(".", 0o755)
    start = time.time()
    status = root.command([*root.user, "env", "container=lxc", "chroot", root.where,
                           "/debootstrap/debootstrap", "--second-stage"], "second-stage.log")
    check(f"debootstrap's second stage ({time.time() - start:.0f} s)", status == 0,
          Path("second-stage.log").read_text()[-400:])
    (root.where / "etc/apt/sources.list").write_text(
        "".join(f"{kind} {source[0]} {source[1]} main\n" for kind in ("deb", "deb-src")))
    shutil.copy("/etc/resolv.conf", root.where / "etc/resolv.conf")
    if root.run("apt update", "apt-get update") and \
            root.run("apt install", f"apt-get install -y --no-install-recommends {PACKAGES}"):
        root.run("source package, make -j2", BUILD, "Lua 5.4\t505\n")
        for name, script, want in USES:
            root.run(name, script, want)
    shutil.rmtree(root.where)


main()
