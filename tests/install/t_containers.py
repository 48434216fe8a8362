#!/usr/bin/env python3
# t_containers.py: programs that make containers, around riscv64 ones.
# SPDX-License-Identifier: Apache-2.0
"""A small riscv64 root entered by unshare, bubblewrap, crun, runc and podman, each as a machine
where Isomer is registered would: here in a user namespace with a binfmt_misc of its own. Nested
user namespaces ask the same one. Each must start a program, and that one others, by the kernel.
What is not installed is skipped; docs/install.md says what each needs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from install import ISOMER, ROOT, check, run, skip, small_root, static_isomer

SCRIPT = 'uname -m; sh -c "uname -m; exit 5"; echo $?; readlink /proc/self/exe'
WANT = "riscv64\nriscv64\n5\n/usr/bin/readlink\n"
# crun 1.8 and podman want one kind of control groups; a namespace may mount its own view.
UNIFIED = ["unshare", "-mC", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "x"]


class Places:
    def __init__(self, isomer):
        self.user = [isomer, "binfmt", "--user", "--"]
        self.root = small_root(Path("root").resolve(), None)

    def within(self, name, tool, args, before=(), want=WANT):
        if not shutil.which(tool):
            skip(name, f"no {tool}")
            return
        status, out, err = run(*self.user, *before, tool, *args)
        check(name, out == want and status == 0, f"status {status}: {out!r} {err[-300:]!r}")


def bundle(where, places):
    """A bundle of the OCI runtime specification as `spec --rootless` makes it. With no user
    namespace of its own, device files would have to be made, which is not allowed in one."""
    where.mkdir()
    maps = [{"containerID": 0, "hostID": 0, "size": 1}]
    spaces = ["pid", "ipc", "uts", "mount", "user"]
    config = {
        "ociVersion": "1.0.0",
        "process": {"args": ["/bin/sh", "-c", SCRIPT], "cwd": "/", "noNewPrivileges": True,
                    "env": ["PATH=/usr/bin:/bin"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": str(places.root)},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}],
        "linux": {"namespaces": [{"type": t} for t in spaces],
                  "uidMappings": maps, "gidMappings": maps},
    }
    (where / "config.json").write_text(json.dumps(config))
    return where


def podman(places):
    """An image made of the root, a step of a build in it, and a run. --uidmap gives the container a user
    namespace of its own, for the same reason."""
    top = Path("podman").resolve()
    base = ["podman", "--root", top / "root", "--runroot", top / "run", "--storage-driver", "vfs",
            "--cgroup-manager", "cgroupfs"]
    for name in ("podman", "crun"):
        if not shutil.which(name):
            skip("podman", f"no {name}")
            return
    tar = subprocess.run(["tar", "-C", places.root, "-c", "."], stdout=subprocess.PIPE, check=True)
    made = subprocess.run([str(x) for x in [*base, "import", "-", "riscv64:small"]],
                          input=tar.stdout, capture_output=True)
    if made.returncode:
        skip("podman", made.stderr.decode(errors="replace"))
        return
    recipe = Path("Containerfile")
    recipe.write_text('FROM riscv64:small\nRUN uname -m >/tmp/arch; sh -c "cat /tmp/arch"\n')
    status, out, err = run(*places.user, *UNIFIED, *base, "build", "--isolation", "chroot", "-f",
                           recipe, "-t", "built", ".")
    check("podman build", "\nriscv64\n" in "\n" + out and status == 0, f"{status} {out} {err[-300:]}")
    limits = [f"--ulimit={name}={n}:{n}" for name, n in (("nofile", 1024), ("nproc", 1000))]
    maps = ["--uidmap=0:0:1000", "--gidmap=0:0:1000"] if os.getuid() == 0 else []
    status, out, err = run(*places.user, *UNIFIED, *base, "run", "--rm", "--cgroups=disabled",
                           "--network=none", *limits, *maps, "localhost/built", "/bin/sh", "-c",
                           "cat /tmp/arch; " + SCRIPT)
    check("podman run", out == "riscv64\n" + WANT and status == 0, f"{status} {out!r} {err[-300:]}")


def main():
    isomer = static_isomer()
    if not (isomer and ROOT):
        skip("containers", "no static build (make static) or no riscv64 root")
        return
    status, _, err = run(isomer, "binfmt", "--user", "--", "true")
    if status:
        skip("containers", err)
        return
    places = Places(isomer)
    shell = ["/bin/sh", "-c", SCRIPT]
    places.within("unshare", "unshare", ["-mpf", "--mount-proc=/proc", f"--root={places.root}",
                                         *shell])
    places.within("unshare with a user namespace", "unshare",
                  ["-Urmpf", "--mount-proc=/proc", f"--root={places.root}", *shell])
    inside = ["--proc", "/proc", "--dev", "/dev", *shell]
    places.within("bubblewrap", "bwrap", ["--bind", places.root, "/", *inside])
    places.within("bubblewrap, all unshared", "bwrap",
                  ["--unshare-all", "--unshare-user", "--cap-drop", "ALL", "--ro-bind", places.root,
                   "/", *inside])
    state = Path("state").resolve()
    for tool, options in (("crun", ["--cgroup-manager=disabled"]), ("runc", ["--rootless", "true"])):
        at = bundle(Path(tool).resolve(), places)
        places.within(tool, tool, ["--root", state / tool, *options, "run", "--bundle", at,
                                   f"isomer-{os.getpid()}"], UNIFIED if tool == "crun" else ())
    podman(places)


main()
