#!/usr/bin/env python3
# t_gdb.py: --gdb with gdb-multiarch at the other end. SPDX-License-Identifier: Apache-2.0
"""Scripts of GDB commands, and what must be found in what they print. The program is
c/dbg_gdb.c, static and dynamic, by the code generator and by the interpreter."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ISOMER = os.environ["ISOMER"]
HERE = Path(__file__).resolve().parent
CROSS = "riscv64-linux-gnu-gcc"
SYSROOT = "/usr/riscv64-linux-gnu"
SOCKET = "gdb.sock"


def case(name, why=None):
    print(f"not ok - {name}: {why}" if why else f"ok - {name}")


def start(options, args):
    """The emulator, once it waits for a debugger."""
    Path(SOCKET).unlink(missing_ok=True)
    p = subprocess.Popen([ISOMER, "run", "--gdb", "unix:" + SOCKET, *options, *args],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    p.stderr.readline()  # "waiting for gdb": the socket's name is there before it listens
    return p


def finish(p):
    try:
        out, err = p.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
        err += "\ntime limit"
    return p.returncode, out, err


def session(commands, program, options=(), args=(), interrupt=0):
    """Output of gdb, and status and output of the program."""
    Path("commands").write_text("set pagination off\nset confirm off\nset breakpoint pending on\n"
                                f"target remote {SOCKET}\n" + commands)
    p = start(options, [program, *args])
    g = subprocess.Popen(["gdb-multiarch", "-nx", "-batch", "-x", "commands", program],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    if interrupt:
        time.sleep(interrupt)
        g.send_signal(signal.SIGINT)
    try:
        text = g.communicate(timeout=100)[0]
    except subprocess.TimeoutExpired:
        g.kill()
        text = g.communicate()[0] + "\ntime limit of gdb"
    return text, *finish(p)


def expect(name, text, wants):
    """All of the patterns, in this order."""
    at = 0
    for label, want in wants:
        m = re.compile(want, re.M).search(text, at)
        case(f"{name}: {label}", None if m else f"{want!r} is not in {text[-1500:]!r}")
        at = m.end() if m else at


def tour(name, program, options):
    text, status, out, err = session("""
break leaf
continue
continue
print n
print $fa0
backtrace
info threads
finish
delete
watch watched
continue
delete
rwatch counter
continue
delete
awatch text
tbreak child_runs
info auxv
print $fcsr
set var $fcsr = 0x23
print $frm
print $fflags
set var $fcsr = 0
set var scale = 2.5
set var text = "after"
handle SIGUSR1 stop print pass
continue
continue
delete
stepi
continue
""", program, options)
    expect(name, text, [
        ("breakpoint", r"hit Breakpoint 1, leaf \(n=0, d=0\)"),
        ("again", r"hit Breakpoint 1, leaf \(n=1, d=1.5\)"),
        ("variable", r"^\$1 = 1$"),
        ("float register", r"double = 1\.5"),
        ("backtrace", r"#1 .* middle \(n=.*\n#2 .* main "),
        ("thread list", r"^\* 1 +Thread \d+ .*\n +2 +Thread \d+ "),
        ("finish", r"Value returned is \$\d+ = 3"),
        ("watchpoint", r"hit Hardware watchpoint \d+: watched\n\nOld value = 0\nNew value = 3"),
        ("read watchpoint", r"hit Hardware read watchpoint \d+: counter\n\nValue = 1"),
        ("auxiliary vector", r"AT_HWCAP .* 0x112d"),
        ("and its path", r'AT_EXECFN .*"'),
        ("rounding mode", r"= 1\n\$\d+ = 3"),
        ("signal", r"received signal SIGUSR1"),
        ("access watchpoint", r"hit Hardware access \(read/write\) watchpoint \d+: text"),
        ("exit code", r"Inferior 1 .* exited with code 052"),
    ])
    case(f"{name}: status", None if status == 42 else (status, err))
    # the child's counter is its own; 6 of middle, 10 of the handler
    case(f"{name}: memory was written", None if out.startswith("after 16 ") else out)
    case(f"{name}: the child runs by itself", None if out.endswith("child 9\n") else out)


def main():
    if not shutil.which(CROSS) or not shutil.which("gdb-multiarch"):
        print(f"skip - gdb: no {CROSS} or no gdb-multiarch (tools/setup.sh installs them)")
        return
    flags = ["-D_GNU_SOURCE", "-g", "-O1", "-pthread", str(HERE / "c" / "dbg_gdb.c")]
    subprocess.run([CROSS, *flags, "-static", "-o", "static"], check=True)
    subprocess.run([CROSS, *flags, "-o", "dynamic"], check=True)
    tour("static", "./static", [])
    tour("dynamic", "./dynamic", ["-L", SYSROOT])
    tour("interpreter", "./static", ["--interpreter"])

    text, status, out, _ = session("handle SIGUSR1 nostop noprint pass\ncontinue\nbt 1\n"
                                   "set var forever = 0\ncontinue\n", "./static", args=["x"],
                                   interrupt=2)
    expect("interrupt", text, [("in a loop", "received signal SIGINT"), ("exit code", "code 052")])
    case("interrupt: status", None if status == 42 else status)
    text, status, _, _ = session("signal SIGTERM\n", "./static")
    expect("signal to the program", text, [("seen", "terminated with signal SIGTERM")])
    case("signal to the program: status", None if status == -15 else status)
    text, status, out, _ = session("break leaf\ncontinue\ndetach\n", "./static")
    case("detach: it goes on", None if status == 42 and out.startswith("before") else
         (status, out, text))
    text, status, _, _ = session("break leaf\ncontinue\nkill\n", "./static")
    case("kill", None if status == -9 else status)
    text, status, out, _ = session("""
handle SIGUSR1 nostop noprint pass
break leaf if n == 3
continue
catch exec
continue
info threads
continue
bt
delete
continue
""", "./static", args=["x", "exec"])
    expect("execve", text, [("before it", r"hit Breakpoint 1, leaf \(n=3"),
                            ("told", r"exec'd .*/static"),
                            ("one thread", r"^\* 1 +Thread \d+ [^\n]*\n(?! +2 )"),
                            ("breakpoint in the new program", r"hit Breakpoint 1, leaf \(n=3"),
                            ("exit code", "code 052")])
    case("execve: status", None if status == 42 and "child 9" in out else (status, out))
    text, status, out, _ = session("print *(int *)0x10\n", "./static")
    expect("bad address", text, [("refused", "Cannot access memory at address 0x10")])
    text, status, out, _ = session("""
handle SIGUSR1 nostop noprint pass
break leaf
continue
delete
print leaf(3, 1.5)
advance middle
set scheduler-locking on
stepi
next
set scheduler-locking off
dump binary memory stack $sp $sp+512
restore stack binary $sp
tbreak child_runs
set follow-fork-mode parent
set var counter = 0
continue
""", "./static")
    expect("more commands", text, [("call", r"^\$1 = 7$"), ("advance", r"^middle \(n="),
                                   ("stepi and next", r"^25\t"),
                                   ("restore", r"Restoring .*file stack"),
                                   ("exit code", "code 052")])
    case("more commands: status", None if status == 42 and out.startswith("before") else
         (status, out, text))
    text, status, _, _ = session("handle SIGUSR1 nostop noprint pass\n"
                                 "watch *(long *)0x100\ncontinue\n", "./static")
    expect("watch what is not mapped", text, [("it runs on", "code 052")])
    case("watch what is not mapped: status", None if status == 42 else status)
    p = start([], ["./static"])
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(SOCKET)
        s.sendall(b"+$mffffffffffffffff,8#00$m3fffffffff,ffffffff#00$Mzz#00$#00$p999#00$vCont;#00"
                  b"$qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff#00$Z0#00$X#00"
                  b"$vFile:pread:ffff,ffffffffffffffff,0#00$Hgffff#00$G#00$Z9,,#00" + b"$" + b"a" * 70000)
    case("garbage, then gone: it goes on", None if finish(p)[0] == 42 else p.returncode)


main()
