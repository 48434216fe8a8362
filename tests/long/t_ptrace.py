#!/usr/bin/env python3
"""t_ptrace.py: riscv64's strace and gdb inside Isomer. SPDX-License-Identifier: Apache-2.0

Tracer and tracee are both emulated. What must be seen is written here: natively the calls, the
addresses and the registers have other names."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import long

ISOMER = os.environ["ISOMER"]
CROSS = "riscv64-linux-gnu-gcc"
PROGRAM = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
int global = 3;
int add(int a, int b)
{
    global += a;
    return a + b;
}
void *thread(void *p) { return (void *)(long)add(100, 1); }
int main(int argc, char **argv)
{
    pthread_t t;
    printf("%d\n", add(1, 2));
    pthread_create(&t, 0, thread, 0);
    pthread_join(t, 0);
    raise(SIGUSR1);
    if (argc > 1)
        *(volatile int *)16 = 1;
    return 5;
}
"""
GDB = """set pagination off
set debuginfod enabled off
set confirm off
break add
run
backtrace
print b
next
print global
info auxv
continue
backtrace 1
watch global
continue
delete
print global = 9
handle SIGUSR1 stop nopass
continue
continue
print $_siginfo.si_signo
detach
"""


THREADS = r"""
#include <pthread.h>
#include <unistd.h>
static volatile long n;
void *spin(void *p) { for (;;) n++; }
void *naps(void *p) { for (;;) usleep(1000); }
int main(void)
{
    pthread_t t;
    pthread_create(&t, 0, spin, 0);
    pthread_create(&t, 0, naps, 0);
    sleep(60);
    return 3;
}
"""
ATTACH = """set pagination off
set debuginfod enabled off
thread apply all backtrace 1
break usleep
continue
stepi
info threads
delete
detach
"""


def emulated(*argv, **more):
    p = subprocess.run([ISOMER, "run", "-L", long.RISCV, f"{long.RISCV}/usr/bin/{argv[0]}",
                        *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=200, text=True, errors="replace",
                       env=dict(os.environ, HOME=os.getcwd()), **more)
    return p.returncode, p.stdout


def expect(name, text, *patterns):
    """Every pattern in its order."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.M).search(text, at)
        if not found:
            print(text[-3000:])
            print(f"not ok - {name}: no {pattern!r} after {text[:at][-60:]!r}")
            return
        at = found.end()
    print(f"ok - {name}")


def strace():
    Path("a").write_text("x\n")
    _, out = emulated("strace", "-o", "log", "cat", "a")
    expect("strace", out + Path("log").read_text(), r"^x$", r"^execve\(.*cat.*\) += 0$",
           r'^openat\(AT_FDCWD, "a", O_RDONLY\) += 3$', r'^read\(3, "x\\n", \d+\) += 2$',
           r'^write\(1, "x\\n", 2\) += 2$', r"^\+\+\+ exited with 0 \+\+\+$")
    _, out = emulated("strace", "-f", "-o", "log", "bash", "-c",
                      "trap 'echo got' USR1; kill -USR1 $$; (exit 3); sh -c 'kill -9 $$'")
    expect("strace -f", out + Path("log").read_text(), "^got$", r"--- SIGUSR1 \{si_signo=SIGUSR1",
           "clone", r"\+\+\+ exited with 3", "SIGCHLD", r"\+\+\+ killed by SIGKILL \+\+\+")
    with subprocess.Popen([ISOMER, "run", f"-L{long.RISCV}", f"{long.RISCV}/usr/bin/sleep", "3"],
                          env=os.environ) as sleeper:
        _, out = emulated("strace", "-p", str(sleeper.pid))
    expect("strace -p", out, "clock_nanosleep", r"\+\+\+ exited with 0 \+\+\+")


def counts():
    """strace -c. Not of a program that asks riscv_hwprobe: strace 6.13 has no name for it and dies
    of that, as it does natively of a number that is a hole in its table (docs/programs.md)."""
    if not shutil.which(CROSS):
        return
    Path("w.c").write_text("#include <unistd.h>\nint main(void) { write(1, 0, 1); return !getppid(); }\n")
    subprocess.run([CROSS, "-w", "-static", "-o", "w", "w.c"], check=True)
    _, out = emulated("strace", "-c", "-o", "log", "./w")
    expect("strace -c", "\n".join(sorted(Path("log").read_text().splitlines())),
           r"^ +[\d.]+ +[\d.]+ +\d+ +1 +1 write$", r" 1 +getppid$")


def gdb():
    if not shutil.which(CROSS):
        print(f"skip - gdb: no {CROSS}")
        return
    Path("p.c").write_text(PROGRAM)
    subprocess.run([CROSS, "-g", "-pthread", "-o", "p", "p.c"], check=True)
    Path("commands").write_text(GDB)
    _, out = emulated("gdb", "-nx", "-batch", "-x", "commands", "--args", "./p", "x")
    expect("gdb", out, r"^Breakpoint 1, add \(a=1, b=2\)", r"^#1 .* in main \(argc=2", r"^\$1 = 2$",
           r"^\$2 = 4$", "AT_EXECFN.*/p", r"hit Breakpoint 1, add \(a=100, b=1\)",
           "^New value = 104", r"^\$3 = 9$", "received signal SIGUSR1", "received signal SIGSEGV",
           r"^\$4 = 11$")


def attach():
    if not shutil.which(CROSS):
        return
    Path("t.c").write_text(THREADS)
    subprocess.run([CROSS, "-g", "-w", "-static", "-pthread", "-o", "t", "t.c"], check=True)
    Path("attach").write_text(ATTACH)
    with subprocess.Popen([ISOMER, "run", "./t"]) as program:
        _, out = emulated("gdb", "-nx", "-batch", "-x", "attach", "-p", str(program.pid))
        alive = program.poll() is None
        program.kill()
    expect("gdb -p", out + f"alive {alive}", r"^Thread 3", r"hit Breakpoint 1, .*usleep",
           r"spin \(p=0x0\)", "detached", "alive True")


def main():
    strace()
    counts()
    gdb()
    attach()


if __name__ == "__main__":
    main()
