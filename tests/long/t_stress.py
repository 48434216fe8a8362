#!/usr/bin/env python3
"""t_stress.py: stress-ng's stressors, verified. SPDX-License-Identifier: Apache-2.0

usage: t_stress.py [STRESSOR...]

Each runs for a second with --verify, natively and emulated. What the native one does to its end
the emulated one must, too; what natively finds no resources, or fails, counts for nothing. A
stressor that the riscv64 build does not have (it is made of x86 instructions) is left out. One
that differs gets a second try of three seconds: some need a while before they have done anything.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import long
import real

LIMIT = 90
PASSED, NO_RESOURCE, NOT_THERE = 0, 3, 4
# What is not to be done to the machine that tests run on.
NOT_HERE = {
    "its clock, its processors, its modules, its power": "clock cpu-online module watchdog "
    "softlockup sysfs dev dev-shm smi msr pci rtc rdrand resched cpu-sched",
    "its memory": "bigheap oom-pipe swap brk stack stackmmap vma mlockmany physpage rmap sysinval "
    "bad-altstack pagemove ksm munmap physmmap memhotplug resources",
    "its file systems, its network, its users": "loop binderfs fiemap quota ramfs rawdev rawsock "
    "rawpkt rawudp ping-sock netdev netlink-task hdd iomix mount fanotify chroot umount bind-mount",
    "forks without end": "forkheavy spawn zombie fork vfork vforkmany daemon idle-page cgroup",
    "systems that are described by tables of the host": "cpuid x86cpuid x86syscall tsc efivar acpi "
    "apparmor ipsec-mb vnni waitcpu",
}
# What is known not to pass, with the reason (docs/programs.md).
KNOWN = {
    "userfaultfd": "a signal for a thread that waits for a missing page comes when the page has come",
}


def stressors():
    got = subprocess.run(real.native_command(["/usr/bin/stress-ng", "--stressors"]),
                         stdout=subprocess.PIPE, text=True, check=True)
    excluded = {name for names in NOT_HERE.values() for name in names.split()}
    return [name for name in got.stdout.split() if name not in excluded]


def run(command, name, seconds):
    """Exit status, or a word; and what it said."""
    where = Path.cwd() / "stress"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(mode=0o777)
    argv = ["/usr/bin/stress-ng", f"--{name}", "1", "--timeout", str(seconds), "--verify",
            "--temp-path", ".", "--oom-avoid"]
    with subprocess.Popen(command(argv), cwd=where, env=real.ENV, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as p:
        try:
            text = p.communicate(timeout=LIMIT)[0]
            status = p.returncode
        except subprocess.TimeoutExpired:
            status, text = "no end", b""
        try:  # what it has left
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if status == "no end":
            p.communicate()
    return status, text.decode(errors="replace")


def compare(name):
    if run(real.native_command, name, 1)[0] != PASSED:
        return
    for seconds in (1, 3):
        status, text = run(real.emulated_command, name, seconds)
        if status == PASSED:
            print(f"ok - {name}", flush=True)
            return
        if status == NOT_THERE:
            return
    if name in KNOWN:
        print(f"skip - {name}: {KNOWN[name]}", flush=True)
        return
    wrong = [line for line in text.splitlines() if "fail" in line or "error" in line.lower()]
    print(f"not ok - {name}: status {status}: {' | '.join((wrong or text.splitlines())[-3:])}",
          flush=True)


def main():
    long.need_twin()
    for name in sys.argv[1:] or stressors():
        compare(name)
    shutil.rmtree("stress", ignore_errors=True)


main()
