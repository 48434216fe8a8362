#!/usr/bin/env python3
# t_gdb_fuzz.py: packets that no debugger sends. SPDX-License-Identifier: Apache-2.0
"""Packets of the remote protocol, changed at random, are thrown at --gdb. Whatever comes, the
emulator neither dies nor stops answering. Two kinds of session:

memory   what reads and writes registers and memory; the program stands still all the time. At
         the end it still answers, and is killed when it is asked.
running  what sets points and lets the program run, but changes nothing that it could notice. At
         the end it is let go, and prints and exits as it does without a debugger.

The seed is printed; FUZZ_SEED repeats it."""

import os
import random
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

ISOMER = os.environ["ISOMER"]
HERE = Path(__file__).resolve().parent
CROSS = "riscv64-linux-gnu-gcc"
SOCKET = "fuzz.sock"
PACKETS = 4000
LONGEST = 20000  # at packets without end the server lets the program go
SESSIONS = 3
READ = [b"?", b"g", b"p20", b"p44", b"m10000,40", b"m3ffffff000,1000", b"qC", b"qSupported:exec-events+",
        b"qfThreadInfo", b"qsThreadInfo", b"qAttached", b"qSymbol::", b"Hg-1", b"Hc0", b"T1",
        b"qXfer:features:read:target.xml:0,ffb", b"qXfer:auxv:read::0,1000",
        b"qXfer:exec-file:read:1:0,100", b"qXfer:threads:read::0,1000", b"vCont?", b"vMustReplyEmpty",
        b"vFile:setfs:0", b"vFile:open:2f6574632f686f737473,0,0", b"vFile:pread:1,100,0",
        b"vFile:fstat:1", b"vFile:close:1", b"vFile:readlink:2f", b"QPassSignals:e;10;14"]
WRITE = [b"G" + b"0" * 1064, b"P0=1122334455667788", b"P43=ff", b"M78000,4:01020304",
         b"X78000,4:abcd", b"X78000,0:", b"Z0,10400,2", b"z0,10400,2", b"Z2,78000,8"]
RUN = [b"vCont;c", b"vCont;s", b"vCont;s:1;c", b"vCont;s:-1;c:p1.1", b"c", b"s", b"Z0,10400,2",
       b"Z1,10402,4", b"z0,10400,2", b"Z2,78000,8", b"z2,78000,8", b"Z3,78000,1", b"Z4,3fffffe000,1000",
       b"z3,78000,1", b"z4,3fffffe000,1000"]
NUMBERS = [b"0", b"1", b"ffffffffffffffff", b"fffffffffffffffe", b"3fffffffff", b"4000000000",
           b"7fffffff", b"80000000", b"-", b"-1", b",", b";", b":", b"", b"8000000000000000", b"}"]


def change(dice, packet):
    """The packet, or something like it."""
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        at = dice.randrange(len(packet) + 1)
        to = dice.randrange(at, len(packet) + 1)
        packet = dice.choice((
            packet[:at], packet[:at] + dice.choice(NUMBERS) + packet[to:],
            packet[:at] + dice.randbytes(dice.randrange(1, 5)) + packet[at:],
            packet[:to] + packet[at:to] * dice.randrange(1, 40) + packet[to:]))
    return packet.replace(b"#", b"").replace(b"$", b"")


def allowed(packet, kind):
    """Ends and signals are no accidents; what runs must not have been written to."""
    if packet[:1] in (b"k", b"D", b"C", b"S") or packet[:5] == b"vKill":
        return False
    if len(packet) > LONGEST:
        return False
    if kind == "memory":
        return packet[:1] not in (b"c", b"s") and packet[:6] != b"vCont;"
    if packet[:12] == b"QPassSignals":  # a signal that stops and is not passed on is noticed
        return False
    return packet[:1] not in (b"G", b"P", b"M", b"X") and not (
        packet[:6] == b"vCont;" and (b"C" in packet or b"S" in packet))


def frame(packet, dice=None):
    if dice and dice.random() < 0.02:  # a wrong sum, none, or half of it
        return b"$" + packet + dice.choice((b"#00", b"#zz", b"#", b""))
    return b"$" + packet + b"#%02x" % (sum(packet) & 255)


def drain(s, answers):
    try:
        while data := s.recv(65536):
            answers.append(data)
    except OSError:
        pass


def throw(s, kind, dice):
    kinds = READ + (WRITE if kind == "memory" else RUN * 2)
    try:
        for _ in range(PACKETS):
            packet = change(dice, dice.choice(kinds))
            if allowed(packet, kind):
                s.sendall(frame(packet, dice))
            if kind == "running" and dice.random() < 0.2:
                s.sendall(b"\x03")
        s.sendall(b"#00" + frame(b"qC"))
        if kind == "memory":
            s.sendall(frame(b"k"))
        else:
            s.sendall(b"\x03" + frame(b"D"))
    except OSError:
        pass  # the program came to its end


def connect(s):
    """The socket's name is there a moment before it listens."""
    for _ in range(1000):
        try:
            s.connect(SOCKET)
            return
        except OSError:
            time.sleep(0.01)


def session(kind, dice):
    """Status, output, errors and answers."""
    Path(SOCKET).unlink(missing_ok=True)
    p = subprocess.Popen([ISOMER, "run", "--gdb", "unix:" + SOCKET, "./fuzzed"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    answers = []
    with socket.socket(socket.AF_UNIX) as s:
        connect(s)
        s.settimeout(60)
        reader = threading.Thread(target=drain, args=(s, answers))
        reader.start()
        if dice.random() < 0.7:
            s.sendall(frame(b"QStartNoAckMode"))
        s.sendall(frame(b"QPassSignals:" + b";".join(b"%x" % i for i in range(1, 79) if i != 5)))
        throw(s, kind, dice)
        try:
            out, err = p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
            err += b" time limit"
        s.close()
        reader.join()
    return p.returncode, out, err, b"".join(answers)


def main():
    if not shutil.which(CROSS):
        print(f"skip - debugger's packets: no {CROSS}")
        return
    seed = int(os.environ.get("FUZZ_SEED", time.time_ns() % 1000000))
    print(f"FUZZ_SEED={seed}")
    dice = random.Random(seed)
    subprocess.run([CROSS, "-D_GNU_SOURCE", "-g", "-O1", "-pthread", "-static", "-o", "fuzzed",
                    HERE / "c" / "dbg_gdb.c"], check=True)
    plain = subprocess.run([ISOMER, "run", "./fuzzed"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    for kind in ("memory", "running"):
        for n in range(SESSIONS):
            status, out, err, answers = session(kind, dice)
            why = None
            if kind == "memory" and (status != -9 or b"$QC" not in answers):
                why = "it did not live until it was killed"
            if kind == "running" and (status, out) != (plain.returncode, plain.stdout):
                why = "the program noticed"
            if why:
                why += f": status {status}, {out[-200:]!r}, {err[-300:]!r}, {answers[-100:]!r}"
            print(f"not ok - {kind} {n + 1}: {why}" if why else f"ok - {kind} {n + 1}", flush=True)


main()
