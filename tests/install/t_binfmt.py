#!/usr/bin/env python3
# t_binfmt.py: registering with binfmt_misc, and being started by it.
# SPDX-License-Identifier: Apache-2.0
"""What is written is checked in a folder that stands for binfmt_misc; what the kernel does then,
in a user namespace with a binfmt_misc of its own (Linux 6.7): a program must see what its twin
for this machine sees, natively started."""

import os
import shutil
import subprocess
from pathlib import Path

from install import CROSS, HERE, ISOMER, ROOT, check, run, skip, small_root, static_isomer

LINK = str(Path(ISOMER).parent / "isomer-riscv64")
MAGIC = (r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00:"
         r"\xff\xff\xff\xff\xff\xff\xff\xfc\x00\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff")
QEMU = """enabled
interpreter /usr/libexec/qemu-binfmt/riscv64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200f300
mask ffffffffffffff00fffffffffffffffffeffffff
"""


def fake(name):
    folder = Path(name)
    folder.mkdir()
    for entry in ("register", "status"):
        (folder / entry).write_text("")
    return folder


def expect(name, args, want, word, lines=1):
    status, out, err = run(ISOMER, "binfmt", *args)
    good = status == want and word in out + err
    if want:
        good = good and (not err or err.count("\n") == lines and err.startswith("isomer: "))
    check(name, good, f"{status} {out!r} {err!r}")


def registration():
    folder = fake("plain")
    at = f"--binfmt-dir={folder}"
    expect("status before", ["status", at], 1, "not registered")
    expect("install", ["install", at], 0, "")
    line = (folder / "register").read_text()
    check("line for the kernel", line == f":isomer-riscv64:M::{MAGIC}:{LINK}:POCF\n", line)
    expect("flags", ["install", at, "--flags=P"], 0, "")
    check("line with flags", (folder / "register").read_text().startswith(
        f":isomer-riscv64:M::{MAGIC}:{LINK}:P\n"))
    expect("bad flags", ["install", at, "--flags=PX"], 2, "'PX'")
    expect("bad verb", ["eat", at], 2, "'eat'")
    expect("no verb", [], 2, "install, remove, status")
    expect("no such interpreter", ["install", at, "--interpreter=/nowhere/x"], 2, "/nowhere/x")
    expect("relative interpreter", ["install", at, "--interpreter=x"], 2, "absolute")
    expect("remove what is not there", ["remove", at], 1, "not registered")
    expect("not mounted", ["install", "--binfmt-dir=/nowhere"], 1,
           "mount -t binfmt_misc" if "binfmt_misc" in Path("/proc/filesystems").read_text()
           else "modprobe binfmt_misc")
    expect("not mounted, status", ["status", "--binfmt-dir=/nowhere"], 1, "binfmt_misc")


def others():
    folder = fake("qemu")
    at = f"--binfmt-dir={folder}"
    (folder / "qemu-riscv64").write_text(QEMU)
    (folder / "python").write_text("enabled\ninterpreter /usr/bin/python3\nflags: \noffset 0\n"
                                   "magic 6f0d0d0a\n")
    expect("status with QEMU", ["status", at], 1, "qemu-riscv64: also registered")
    expect("QEMU is there", ["install", at], 1, "--replace")
    check("nothing was written", (folder / "register").read_text() == "")
    expect("replace", ["install", at, "--replace"], 0, "")
    check("QEMU is removed", (folder / "qemu-riscv64").read_text() == "-1")
    check("others are not", (folder / "python").read_text().startswith("enabled"))
    check("replace registers", MAGIC in (folder / "register").read_text())


def package():
    root = Path("pkg").resolve()
    conf = root / "usr/lib/binfmt.d/riscv64-isomer.conf"
    expect("files for a package", ["install", "--root", root], 0, "")
    text = conf.read_text()
    check("binfmt.d file", text == f":isomer-riscv64:M::{MAGIC}:/usr/bin/isomer-riscv64:POCF\n",
          text)
    expect("remove the file", ["remove", "--root", root], 0, "")
    check("file is gone", not conf.exists())


def inside(isomer, options, command, cwd=None):
    return run(isomer, "binfmt", "--user", *options, "--", "sh", "-c", command, cwd=cwd)


def twins(isomer, name, options, command, native, guest, uid_free=True):
    want = run("sh", "-c", command, cwd=native)[1]
    status, got, err = inside(isomer, options, command, cwd=guest)
    got = got.replace(str(guest), str(native))
    if not uid_free:  # user 0 there
        want = want.replace(f"uid={os.getuid()}", "uid=0")
    check(name, bool(want) and got == want, f"want {want!r}, got {got!r}, {err[:200]!r}")


def kernel(isomer):
    native, guest = Path("native").resolve(), Path("guest").resolve()
    for folder, cc in ((native, "gcc"), (guest, CROSS)):
        folder.mkdir(mode=0o755)
        subprocess.run([cc, "-w", "-O1", "-static", "-o", folder / "given", HERE / "c/given.c"],
                       check=True)
        script = folder / "script"
        script.write_text("#! ./given\n")
        script.chmod(0o755)
        shutil.copy(folder / "given", folder / "hidden")
        (folder / "hidden").chmod(0o111)
    free = os.getuid() == 0
    for flags in ("POCF", "PF", "POC"):
        twins(isomer, f"flags {flags}", [f"--flags={flags}"], "./given a b", native, guest, free)
        twins(isomer, f"flags {flags}: exec", [f"--flags={flags}"], "./given exec 2", native, guest,
              free)
    twins(isomer, "argv[0]", [], "bash -c \"exec -a '' ./given\"", native, guest, free)
    twins(isomer, "script", [], "./script x 1; PATH=. script y", native, guest, free)
    twins(isomer, "status", [], "./given; (exit 3); echo $?", native, guest, free)
    twins(isomer, "file that may only be executed", [], "./hidden exec 1", native, guest, free)
    for flags in ("", "O", "F"):
        status, out, err = inside(isomer, [f"--flags={flags}"], "./given a", cwd=guest)
        check(f"flags '{flags}' keep the path", out.startswith("argv[0]=./given argv[1]=a "),
              out + err)
    line = f":other:M::{MAGIC}:{shutil.which('true')}:"
    status, out, err = inside(isomer, [], f"printf '%s\\n' '{line}' >/proc/sys/fs/binfmt_misc/register;"
                              f"./given; {isomer} binfmt status; {isomer} binfmt install; "
                              f"{isomer} binfmt install --replace; {isomer} binfmt status; ./given",
                              cwd=guest)
    lines = out.splitlines()
    check("the last one registered is asked", len(lines) == 4 and "other: also" in lines[1], out)
    check("install sees another", "other is registered" in err and "--replace" in err, err)
    check("replaced", len(lines) == 4 and "registered" in lines[2] and
          lines[3].startswith("argv[0]=./given"), out + err)
    if ROOT:
        env = {**os.environ, "ISOMER_SYSROOT": ROOT}
        status, out, err = run(isomer, "binfmt", "--user", "--", f"{ROOT}/usr/bin/bash", "-c",
                               f"uname -m; {guest}/given exec 1", env=env)
        check("ISOMER_SYSROOT", out.startswith("riscv64\nargv[0]") and out.count("\n") == 3 and
              "argv[0]=made up" in out, out + err)
    if free:
        twins(isomer, "file that its user may not read", [],
              "setpriv --reuid=1234 --regid=1234 --clear-groups ./given exec 1 | sed 's/exe=[^ ]*//';"
              "setpriv --reuid=1234 --regid=1234 --clear-groups sh -c './hidden exec 1' | "
              "sed 's/exe=[^ ]*//'", native, guest)
        for folder in (native, guest):
            os.chown(folder / "hidden", 1234, 1234)
            (folder / "hidden").chmod(0o4755)
        os.chmod(".", 0o755)
        twins(isomer, "set-user-ID", [], "./hidden exec 1", native, guest)
        status, out, err = inside(isomer, ["--flags=PF"], "./hidden", cwd=guest)
        check("set-user-ID needs C", "euid=0" in out and "secure=0" in out, out + err)
    else:
        skip("set-user-ID", "not root")
    return guest


def systemd(isomer):
    """What is in binfmt.d, given to the program that reads it at boot."""
    tool = "/lib/systemd/systemd-binfmt"
    if not Path(tool).exists():
        skip("systemd-binfmt", f"no {tool}")
        return
    root = Path("systemd").resolve()
    link = Path(isomer).resolve().parent / "isomer-riscv64"
    expect("file for systemd", ["install", "--root", root, "--interpreter", link], 0, "")
    conf = root / "usr/lib/binfmt.d/riscv64-isomer.conf"
    status, out, err = inside(isomer, [], f"{isomer} binfmt remove && {tool} {conf} && "
                              f"{isomer} binfmt status && {tool} --unregister; {isomer} binfmt status")
    lines = out.splitlines()
    check("systemd-binfmt registers it", len(lines) == 2 and "flags POCF" in lines[0] and
          str(link) in lines[0], out + err)
    check("systemd-binfmt removes it", len(lines) == 2 and "not registered" in lines[1], out + err)


def main():
    registration()
    others()
    package()
    static = static_isomer()
    isomer = static or ISOMER
    status, out, err = run(isomer, "binfmt", "--user", "--", "true")
    if status:
        skip("started by the kernel", err)
        return
    if not shutil.which(CROSS):
        skip("started by the kernel", f"no {CROSS}")
        return
    status, out, err = inside(isomer, [], f"{isomer} binfmt status && {isomer} binfmt remove && "
                              f"{isomer} binfmt status; {isomer} binfmt install --flags=OC && "
                              f"{isomer} binfmt status")
    lines = out.split("\n")
    check("status, remove, install again", status == 0 and "flags POCF" in lines[0] and
          "not registered" in lines[1] and "flags OC" in lines[2], out + err)
    status, out, err = run(isomer, "binfmt", "--user", "--", "/nowhere")
    check("no such command", status == 127 and "/nowhere" in err, f"{status} {err}")
    systemd(isomer)
    kernel(isomer)
    if not (static and ROOT):
        skip("in a chroot", "no static build (make static) or no riscv64 root")
        return
    root = small_root(Path("root").resolve(), None)
    for proc in (False, True):
        mount = f"mount --rbind /proc {root}/proc && " if proc else ""
        status, out, err = inside(isomer, [], f"{mount} exec chroot {root} /bin/sh -c 'uname -m; "
                                  "sh -c \"uname -m; exit 5\"; echo $?; readlink /proc/self/exe'")
        want = "riscv64\nriscv64\n5\n/usr/bin/readlink\n"
        check(f"chroot with{'' if proc else 'out'} /proc", out == want, f"{out!r} {err[:300]!r}")


main()
