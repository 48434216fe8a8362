#!/usr/bin/env python3
# t_sandbox.py: programs that try to get out of --sandbox. SPDX-License-Identifier: Apache-2.0
"""hostile.c, as a guest program and as a program of this machine: the latter is what a guest
could do that has taken over the emulator, for the fence is the kernel's. Each case must give
what LIST says in the sandbox; the run without one shows that the case would work."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ISOMER = os.environ["ISOMER"]
ROOT = os.environ.get("ISOMER_ROOT_RISCV64", "")
CROSS = "riscv64-linux-gnu-gcc"

OK = {"path of secret", "symlink", "read readable", "create in writable", "write writable",
      "ftruncate writable", "mkdir in writable", "rmdir in writable", "write /dev/null",
      "stream pair", "send through it", "signal to itself", "own limit", "fork"}
NET = {"tcp", "connect", "udp"}
# Not possible without a sandbox either, everywhere or where tests run: root or not, file
# system, calls that the emulator does not have.
MAY_FAIL_OUTSIDE = {"ptrace parent", "device in writable", "setxattr secret", "raw", "mount",
                    "user namespace", "chroot", "setns", "hostname", "bpf", "io_uring",
                    "become root again", "type for the user", "memory of parent", "hard link to "
                    "secret", "chown secret", "environment of parent", "limit of parent"}


def check(name, good, why=""):
    print(f"ok - {name}" if good else f"not ok - {name}: {why}")


def run(args, cwd):
    p = subprocess.run(args, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60, text=True, errors="replace")
    return p.returncode, p.stdout, p.stderr


def cases(text):
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)


class Place:
    """A secret, a directory to read and one to write, and a listener."""

    def __init__(self):
        self.top = Path(tempfile.mkdtemp(dir=os.getcwd()))
        (self.top / "secret").write_text("a secret of some length\n")
        for name in ("readable", "writable"):
            (self.top / name).mkdir()
        (self.top / "readable/file").write_text("readable\n")
        self.listener = socket.create_server(("127.0.0.1", 0))

    def args(self):
        return [str(self.top / n) for n in ("secret", "readable", "writable")] + \
            [str(self.listener.getsockname()[1])]

    def options(self):
        return ["--sandbox", "--allow-read", str(self.top / "readable"),
                f"--allow-write={self.top / 'writable'}"]


def hostile(what, exe, extra=(), allowed=frozenset()):
    place = Place()
    status, out, err = run([ISOMER, "run", *place.options(), *extra, exe, *place.args()], place.top)
    got = cases(out)
    if len(got) < 50 or status:
        check(f"{what}: runs", False, f"status {status}, {len(got)} cases, {err[:200]}")
        return
    for name, result in got.items():
        good = (result == "ok") == (name in OK | allowed)
        check(f"{what}: {name}", good, result)
    check(f"{what}: type for the user fails in the sandbox", got["type for the user"] == "EPERM",
          got["type for the user"])
    secret = (place.top / "secret").read_text()
    check(f"{what}: secret is whole", secret == "a secret of some length\n", secret)


def control(what, args):
    place = Place()
    _, out, err = run([*args, *place.args()], place.top)
    got = cases(out)
    bad = [n for n, r in got.items() if r != "ok" and n not in MAY_FAIL_OUTSIDE]
    check(f"{what}: all is possible without a sandbox", len(got) >= 50 and not bad,
          f"{bad} {err[:200]}")


def programs():
    """Programs of a riscv64 root, with libraries and children."""
    place = Place()
    base = [ISOMER, "run", *place.options(), "-L", ROOT, "/usr/bin/bash", "-c"]
    status, out, err = run([*base, "cat readable/file; ls readable; cp readable/file writable/c; "
                            "cat writable/c; cat < secret"], place.top)
    check("shell in a sandbox", out == "readable\nfile\nreadable\n" and status == 1 and
          "ermission denied" in err, f"{status} {out} {err[:300]}")
    status, out, err = run([*base, "exec 3<>/dev/tcp/127.0.0.1/9; echo $?"], place.top)
    check("shell without network", "Operation not permitted" in err, f"{out} {err[:300]}")
    status, out, err = run([*base, "cat /proc/self/maps"], place.top)
    check("its own map of memory", "[stack]" in out and "[heap]" in out and status == 0,
          f"{out[:200]} {err[:200]}")
    script = place.top / "script"
    script.write_text("#!/usr/bin/bash\necho it runs; cat secret\n")
    script.chmod(0o755)
    status, out, err = run([ISOMER, "run", "--sandbox", "-L", ROOT, "./script"], place.top)
    check("script in a sandbox", out == "it runs\n" and status == 1, f"{status} {out} {err[:300]}")


def errors(exe):
    place = Place()
    for name, args, want, word in (
            ("path that is not there", ["--sandbox", "--allow-read", "nowhere"], 126, "nowhere"),
            ("allowing without a sandbox", ["--allow-net"], 2, "--sandbox")):
        status, _, err = run([ISOMER, "run", *args, exe, *place.args()], place.top)
        check(name, status == want and word in err and err.startswith("isomer: ") and
              err.count("\n") == 1, f"{status} {err}")


def main():
    if not shutil.which(CROSS):
        print(f"skip - sandbox: no {CROSS}")
        return
    exes = {"guest": CROSS, "taken over": "gcc"}
    for what, cc in exes.items():
        exe = Path.cwd() / what.replace(" ", "-")
        subprocess.run([cc, "-O1", "-w", "-static", "-o", exe, HERE / "c/hostile.c"], check=True)
        exes[what] = str(exe)
    status, _, err = run([ISOMER, "run", "--sandbox", exes["guest"]], os.getcwd())
    if status == 126 and "Landlock" in err:
        print(f"skip - sandbox: {err.strip()}")
        return
    for what, exe in exes.items():
        hostile(what, exe)
        control(what, [ISOMER, "run", exe])
    hostile("with network", exes["guest"], ["--allow-net"], NET)
    errors(exes["guest"])
    if ROOT:
        programs()
    else:
        print("skip - programs in a sandbox: no riscv64 root")


main()
