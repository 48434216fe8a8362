#!/usr/bin/env python3
# t_gdb_storm.py: a debugger that never leaves a program alone. SPDX-License-Identifier: Apache-2.0
"""A client of the remote protocol interrupts, steps, sets break- and watchpoints at random while
the hardest programs of the signal and thread tests run. They must not notice: same output, same
status as without it. The seed is printed; STORM_SEED repeats it."""

import os
import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

ISOMER = os.environ["ISOMER"]
HERE = Path(__file__).resolve().parent
CROSS = "riscv64-linux-gnu-gcc"
SOCKET = "storm.sock"
ROUNDS = 60
PATIENCE = 30


class Ended(Exception):
    """The program is over."""


class Client:
    """One session of the protocol."""

    def __init__(self, dice):
        self.dice, self.buf, self.stops = dice, b"", 0
        self.s = socket.socket(socket.AF_UNIX)
        for _ in range(1000):
            try:
                self.s.connect(SOCKET)
                break
            except OSError:
                time.sleep(0.01)
        self.command("qSupported")
        self.want("QStartNoAckMode", "OK")
        # the programs' signals are none of the debugger's business; SIGTRAP is
        self.want("QPassSignals:" + ";".join("%x" % i for i in range(1, 79) if i != 5), "OK")

    def send(self, text):
        data = text.encode()
        self.s.sendall(b"$" + data + b"#%02x" % (sum(data) & 255))

    def receive(self, seconds=PATIENCE):
        self.s.settimeout(seconds)
        while True:
            m = re.search(rb"\$([^#]*)#..", self.buf)
            if m:
                self.buf = self.buf[m.end():]
                return m.group(1).decode()
            data = self.s.recv(65536)
            if not data:
                raise Ended("closed")
            self.buf += data

    def command(self, text):
        self.send(text)
        return self.receive()

    def want(self, text, answer):
        got = self.command(text)
        assert got == answer, (text, got)

    def go(self, how, seconds):
        """Lets it run until it stops by itself or time is up."""
        self.send("vCont;" + how)
        try:
            reply = self.receive(seconds)
        except TimeoutError:
            self.s.sendall(b"\x03")
            reply = self.receive()
        if reply[0] in "WX":
            raise Ended(reply)
        self.stops += 1

    def round(self):
        dice = self.dice
        self.go("c", dice.random() * 0.02 + 0.001)
        thread = dice.choice(self.command("qfThreadInfo")[1:].split(","))
        self.want("Hg" + thread, "OK")
        assert len(self.command("g")) == (65 * 8 + 3 * 4) * 2
        for _ in range(dice.randrange(6)):
            self.go("s:" + thread + dice.choice(["", ";c"]), 0.1)
        if dice.random() < 0.4:
            pc = int.from_bytes(bytes.fromhex(self.command("p20")), "little")
            points = [f"0,{pc:x},2", f"{dice.randrange(2, 5)},{0x78000 + dice.randrange(4096) * 8:x},8"]
            points = points[:dice.randrange(1, 3)]
            for p in points:
                self.want("Z" + p, "OK")
            self.go("c", 0.05)
            for p in points:
                self.want("z" + p, "OK")


def storm(name, options, dice):
    run = [ISOMER, "run", *options]
    plain = subprocess.run([*run, f"./{name}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, timeout=120)
    p = subprocess.Popen([*run, "--gdb", "unix:" + SOCKET, f"./{name}"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not Path(SOCKET).exists() and p.poll() is None:
        time.sleep(0.01)
    why = None
    try:
        client = Client(dice)
        for _ in range(ROUNDS):
            client.round()
        client.want("D", "OK")
    except Ended:
        pass
    except (TimeoutError, AssertionError, OSError) as e:
        why = repr(e)
    try:
        out = p.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        p.kill()
        out, why = p.communicate()[0], why or "hangs"
    label = " ".join([name, *options])
    print(f"{label}: {client.stops} stops")
    if not why and p.returncode != plain.returncode:
        why = f"status {p.returncode}, not {plain.returncode}"
    if not why and sorted(out.splitlines()) != sorted(plain.stdout.splitlines()):
        why = f"output differs: {out!r}"
    if not why and client.stops < 20:
        why = f"only {client.stops} stops"
    print(f"not ok - {label}: {why}" if why else f"ok - {label}")


def main():
    if not shutil.which(CROSS):
        print(f"skip - debugger's storm: no {CROSS}")
        return
    seed = int(os.environ.get("STORM_SEED", time.time_ns() % 1000000))
    print(f"STORM_SEED={seed}")
    dice = random.Random(seed)
    for name in ("signal", "thread", "storm"):
        subprocess.run([CROSS, "-D_GNU_SOURCE", "-O2", "-pthread", "-static", "-w", "-o", name,
                        HERE / "c" / f"pc_{name}.c"], check=True)
        storm(name, [], dice)
    storm("signal", ["--interpreter"], dice)
    storm("storm", ["--test-deopt", "--seed=1"], dice)


main()
