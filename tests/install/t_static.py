#!/usr/bin/env python3
# t_static.py: the static build in a chroot with nothing else. SPDX-License-Identifier: Apache-2.0
"""With and without /proc; children, scripts, and a guest that changes its root."""

from pathlib import Path

from install import ISOMER, ROOT, check, is_static, run, skip, small_root, static_isomer

SHELL = r"""
uname -m
sh -c 'echo child $0 $1' zero one
echo '#!/usr/bin/sh' >/tmp/script; echo 'echo script "$@"; readlink /proc/self/exe' >>/tmp/script
/usr/bin/true; chmod +x /tmp/script 2>/dev/null; sh /tmp/script a b
chroot /other /usr/bin/sh -c 'echo other root; true; uname -m; ls /'
"""
# $0 is isomer, $1 the roots' programs, $2 a root. As debootstrap does to its children.
PROC_GOES = r"""
mount --rbind /proc $2/proc
"$0" run -L $1 /usr/sbin/chroot $2 /usr/bin/sh -c 'sh -c "uname -m; echo >/tmp/ready
    while [ ! -e /tmp/go ]; do :; done; uname -m; true"' &
for i in $(seq 200); do [ -e $2/tmp/ready ] && break; sleep .05; done
umount -l $2/proc; echo >$2/tmp/go; wait
"""
OTHER = "other root\nriscv64\nbin\nlib\nother\nproc\ntmp\nusr\n"


def main():
    exe = static_isomer()
    if not exe:
        skip("static build", "there is none (make static)")
        return
    kind = run("readelf", "-hW", exe)[1]
    check("position-independent", "DYN (" in kind, kind[:200])
    check("no libraries", is_static(exe) and "NEEDED" not in run("readelf", "-dW", exe)[1])
    if not ROOT:
        skip("in a chroot", "no riscv64 root")
        return
    status, _, err = run("unshare", "-Urm", "true")
    if status:
        skip("in a chroot", err)
        return
    root = small_root(Path("root").resolve(), exe)
    small_root(root / "x", None)
    (root / "other").rmdir()
    (root / "x").rename(root / "other")
    for proc in (False, True):
        name = f"chroot with{'' if proc else 'out'} /proc"
        mount = f"mount --rbind /proc {root}/proc && " if proc else ""
        status, out, err = run("unshare", "-Urm", "sh", "-c",
                               f"{mount} exec chroot {root} /isomer run /bin/bash -c \"$0\"", SHELL)
        want = "riscv64\nchild zero one\nscript a b\n/usr/bin/readlink\n" + OTHER
        check(name, out == want and status == 0, f"status {status}: {out!r} {err[:300]!r}")
    status, out, err = run("unshare", "-Urm", "sh", "-c",
                           f"cd {root} && exec chroot . ./isomer run ./bin/bash "
                           "-c 'cd tmp; sh -c \"uname -m\"'")
    check("relative names without /proc", out == "riscv64\n", f"{out!r} {err[:300]!r}")
    status, out, err = run("unshare", "-Urm", "sh", "-c", PROC_GOES, exe, ROOT, root)
    check("/proc goes away", out == "riscv64\nriscv64\n", f"{out!r} {err[:300]!r}")
    status, out, err = run(exe, "doctor")
    check("doctor knows", "isomer is one static file" in out, out)
    status, out, err = run(exe, "run", "-L", ROOT, "/usr/bin/bash", "-c", "uname -m; sh -c 'exit 7'")
    check("outside of a chroot", out == "riscv64\n" and status == 7, f"{status} {out} {err}")


main()
