#!/usr/bin/env python3
# t_bitmap.py: dirty bitmaps, QEMU's and ours. SPDX-License-Identifier: Apache-2.0
import json
import os
import random
import signal
import struct
import subprocess
import time

import disk_peers as p

p.need("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo")
SIZE = 200 << 20 | 512 * 3


def made(cluster, granularity):
    """Written by QEMU through a bitmap; the runs as it should have them."""
    p.run("rm", "-f", "b.qcow2")
    p.run("qemu-img", "create", "-f", "qcow2", "-o", f"cluster_size={cluster}", "b.qcow2", SIZE)
    p.run("qemu-img", "bitmap", "--add", "-g", granularity, "b.qcow2", "one")
    p.run("qemu-img", "bitmap", "--add", "--disable", "-g", granularity, "b.qcow2", "off")
    dirty = set()
    io = []
    for off, n in ((0, 512), (3 << 20, 300000), (150 << 20, 4096), (SIZE - 512, 512)):
        io += ["-c", f"write -P 7 {off} {n}"]
        dirty |= set(range(off // granularity, (off + n - 1) // granularity + 1))
    p.run("qemu-io", "-f", "qcow2", *io, "b.qcow2")
    listed = p.tool("bitmap", "b.qcow2", "qcow2", "list")[1].decode()
    total = sum(min(granularity, SIZE - i * granularity) for i in dirty)
    if listed != f"one {granularity} auto {total}\noff {granularity} 0\n":
        return listed
    got = set()
    for line in p.tool("bitmap", "b.qcow2", "qcow2", "dirty", "one")[1].decode().splitlines():
        start, n = map(int, line.split())
        got |= set(range(start // granularity, (start + n - 1) // granularity + 1))
    if got != dirty:
        return f"{len(got)} pieces dirty, not {len(dirty)}"
    return "something" if p.tool("bitmap", "b.qcow2", "qcow2", "dirty", "off")[1] else None


def absent():
    return p.refused(["bitmap", "b.qcow2", "qcow2", "dirty", "two"], "no bitmap two")


def directory():
    """Offset of the directory in the file."""
    data = open("b.qcow2", "rb").read(4096)
    at = struct.unpack_from(">I", data, 100)[0]
    while True:
        kind, n = struct.unpack_from(">II", data, at)
        if kind == 0x23852875:
            return struct.unpack_from(">Q", data, at + 24)[0]
        at += 8 + (n + 7) // 8 * 8


def in_use():
    data = bytearray(open("b.qcow2", "rb").read())
    data[directory() + 15] |= 1
    open("bad.qcow2", "wb").write(data)
    return p.refused(["bitmap", "bad.qcow2", "qcow2", "dirty", "one"], "was not closed")


def damaged():
    """Each byte of an entry at its extremes: an answer, or one line."""
    data = open("b.qcow2", "rb").read()
    at = directory()
    for i in range(24):
        for value in (0, 0x7f, 0xff):
            bad = bytearray(data)
            bad[at + i] = value
            open("bad.qcow2", "wb").write(bad)
            status, _, message = p.tool("bitmap", "bad.qcow2", "qcow2", "dirty", "one", ok=False)
            if status not in (0, 1) or "\n" in message:
                return f"byte {i}: {status} {message[:200]}"
    return None


def pieces(runs, granularity):
    return {i for off, n in runs for i in range(off // granularity, (off + n - 1) // granularity + 1)}


def ours(image, name, granularity):
    """Pieces that are dirty, as we read them."""
    lines = p.tool("bitmap", image, "qcow2", "dirty", name)[1].decode().splitlines()
    return pieces((map(int, line.split()) for line in lines), granularity)


def flags(image):
    """Bitmaps by name, as QEMU lists them."""
    info = json.loads(p.run("qemu-img", "info", "-U", "--output=json", image)[1])
    listed = info["format-specific"]["data"].get("bitmaps", [])
    return {b["name"]: sorted(b["flags"]) for b in listed}


def nbd(server, uri, context):
    """Runs that the server says are dirty; ends it."""
    try:
        for _ in range(100):
            if os.path.exists("nbd.sock"):
                break
            time.sleep(0.05)
        out = p.run("nbdinfo", "--json", f"--map={context}", uri)[1]
        return [(e["offset"], e["length"]) for e in json.loads(out) if e["type"]]
    finally:
        server.terminate()
        server.wait(20)
        if os.path.exists("nbd.sock"):
            os.unlink("nbd.sock")


def theirs(image, name, granularity):
    """The same, as QEMU reads them."""
    server = subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-B", name, "-k",
                               os.path.abspath("nbd.sock"), image])
    return pieces(nbd(server, "nbd+unix:///?socket=nbd.sock", f"qemu:dirty-bitmap:{name}"),
                  granularity)


def sound(image):
    """None if neither check finds anything."""
    status, out, message = p.run("qemu-img", "check", image, ok=False)
    if status:
        return (out.decode() + message)[:300]
    out = p.tool("check", image, "qcow2")[1].decode()
    return None if out == "corruptions: 0\nleaks: 0\n" else out


def turns(cluster, granularity, seed):
    """We and QEMU write in turn; each must know what the other wrote."""
    rng = random.Random(seed)
    p.run("rm", "-f", "t.qcow2")
    p.run("qemu-img", "create", "-f", "qcow2", "-o", f"cluster_size={cluster}", "t.qcow2", SIZE)
    p.tool("bitmap", "t.qcow2", "qcow2", "add", "ours", granularity)
    p.run("qemu-img", "bitmap", "--add", "-g", granularity, "t.qcow2", "theirs")
    p.tool("bitmap", "t.qcow2", "qcow2", "add", "off", granularity)
    p.tool("bitmap", "t.qcow2", "qcow2", "disable", "off")
    dirty = set()
    for step in range(8):
        runs = []
        for _ in range(rng.randrange(1, 6)):
            off = rng.randrange(SIZE - 512)
            runs.append((off, rng.randrange(1, min(SIZE - off, rng.choice((600, 300000))) + 1)))
        if step % 2:
            p.tool("write", "t.qcow2", "qcow2", *(x for off, n in runs for x in (off, n, step)))
        else:
            io = [f"write -P {step} {off} {n}" for off, n in runs]
            p.run("qemu-io", "-f", "qcow2", *(x for c in io for x in ("-c", c)), "t.qcow2")
        dirty |= pieces(runs, granularity)
        wrong = sound("t.qcow2")
        if wrong:
            return f"step {step}: {wrong}"
        for name in ("ours", "theirs"):
            if ours("t.qcow2", name, granularity) != dirty:
                return f"step {step}: {name} is not what was written"
    if theirs("t.qcow2", "ours", granularity) != dirty:
        return "QEMU reads another one"
    if ours("t.qcow2", "off", granularity):
        return "one that is disabled has recorded"
    if flags("t.qcow2") != {"ours": ["auto"], "theirs": ["auto"], "off": []}:
        return str(flags("t.qcow2"))
    return changes(granularity, dirty)


def changes(granularity, dirty):
    """merge, clear, enable, remove, by us."""
    p.tool("bitmap", "t.qcow2", "qcow2", "merge", "off", "ours")
    if ours("t.qcow2", "off", granularity) != dirty or theirs("t.qcow2", "off",
                                                             granularity) != dirty:
        return "merge"
    p.tool("bitmap", "t.qcow2", "qcow2", "clear", "ours")
    p.tool("bitmap", "t.qcow2", "qcow2", "enable", "off")
    p.tool("bitmap", "t.qcow2", "qcow2", "disable", "theirs")
    p.tool("write", "t.qcow2", "qcow2", 5 << 20, 1 << 20, 9)
    more = pieces([(5 << 20, 1 << 20)], granularity)
    got = [theirs("t.qcow2", n, granularity) for n in ("ours", "off", "theirs")]
    if got != [more, dirty | more, dirty]:
        return f"after clear: {[len(g) for g in got]}"
    p.tool("bitmap", "t.qcow2", "qcow2", "remove", "off")
    if flags("t.qcow2") != {"ours": ["auto"], "theirs": []}:
        return str(flags("t.qcow2"))
    wrong = sound("t.qcow2")
    if wrong:
        return wrong
    for name in ("ours", "theirs"):
        p.tool("bitmap", "t.qcow2", "qcow2", "remove", name)
    return sound("t.qcow2") or (str(flags("t.qcow2")) if flags("t.qcow2") else None)


def fresh(size=SIZE, *options):
    p.run("rm", "-f", "f.qcow2")
    p.run("qemu-img", "create", "-f", "qcow2", *options, "f.qcow2", size)
    p.tool("bitmap", "f.qcow2", "qcow2", "add", "one", 65536)


def looking():
    """A writer that writes nothing leaves the file as it was."""
    fresh()
    before = open("f.qcow2", "rb").read()
    p.tool("write", "f.qcow2", "qcow2")
    return None if open("f.qcow2", "rb").read() == before else "the file has changed"


def killed():
    """In use while a writer is there; of no use after kill -9, for QEMU, too."""
    fresh()
    server = subprocess.Popen([os.environ["ISOMER"], "disk", "serve", "-t", "-k", "k.sock",
                               "f.qcow2"], stdout=subprocess.PIPE)
    uri = server.stdout.readline().decode().strip()
    before = flags("f.qcow2")
    p.run("qemu-io", "-f", "raw", "-c", "write 1M 64k", uri)
    during = flags("f.qcow2")
    server.send_signal(signal.SIGKILL)
    server.wait(20)
    if before != {"one": ["auto"]} or during != {"one": ["auto", "in-use"]}:
        return f"{before}, then {during}"
    for verb in ("clear", "disable"):
        wrong = p.refused(["bitmap", "f.qcow2", "qcow2", verb, "one"], "says nothing")
        if wrong:
            return wrong
    if not p.run("qemu-img", "bitmap", "--clear", "f.qcow2", "one", ok=False)[0]:
        return "QEMU clears it"
    p.tool("write", "f.qcow2", "qcow2", 0, 512, 1)
    if flags("f.qcow2") != during:
        return "writing changes it"
    p.tool("bitmap", "f.qcow2", "qcow2", "remove", "one")
    p.tool("check", "f.qcow2", "qcow2", "all")
    return sound("f.qcow2")


def resized():
    fresh(SIZE, "-o", "cluster_size=512")
    p.tool("bitmap", "f.qcow2", "qcow2", "add", "off", 512)
    p.tool("bitmap", "f.qcow2", "qcow2", "disable", "off")
    p.tool("bitmap", "f.qcow2", "qcow2", "merge", "off", "one")
    p.tool("write", "f.qcow2", "qcow2", 0, 512, 1, 100 << 20, 1 << 20, 2)
    for size in (SIZE * 3, 100 << 20 | 65536, 700 << 20):
        p.run(os.environ["ISOMER"], "disk", "resize", "--shrink", "f.qcow2", size)
        keep = {i for i in pieces([(0, 512), (100 << 20, 1 << 20)], 65536) if i * 65536 < size}
        if size < SIZE:
            cut = keep
        want = keep if size >= SIZE * 3 and size != 700 << 20 else cut
        if theirs("f.qcow2", "one", 65536) != want or ours("f.qcow2", "one", 65536) != want:
            return f"at {size}: {len(ours('f.qcow2', 'one', 65536))}, not {len(want)}"
        if sound("f.qcow2"):
            return sound("f.qcow2")
        p.run("qemu-io", "-f", "qcow2", "-c", "write 0 512", "f.qcow2")
    p.run("qemu-img", "resize", "f.qcow2", "1G")
    return sound("f.qcow2")


def snapshots():
    """They do not touch bitmaps; going back to one is refused, as by QEMU."""
    fresh()
    p.tool("write", "f.qcow2", "qcow2", 1 << 20, 512, 1)
    p.tool("snapshot", "f.qcow2", "qcow2", "create", "s")
    p.tool("write", "f.qcow2", "qcow2", 2 << 20, 512, 1)
    if not p.run("qemu-img", "snapshot", "-a", "s", "f.qcow2", ok=False)[0]:
        return "QEMU reverts"
    wrong = p.refused(["snapshot", "f.qcow2", "qcow2", "revert", "s"], "dirty bitmaps")
    if wrong:
        return wrong
    p.tool("snapshot", "f.qcow2", "qcow2", "delete", "s")
    if theirs("f.qcow2", "one", 65536) != {16, 32}:
        return "bits"
    return sound("f.qcow2")


def chain():
    """commit writes to the backing file, whose bitmap records that; the overlay's says what it said.
    A rebase that keeps the content may only say more."""
    isomer = os.environ["ISOMER"]
    fresh()
    p.run("mv", "f.qcow2", "base.qcow2")
    p.run("rm", "-f", "top.qcow2", "other.qcow2")
    p.run(isomer, "disk", "create", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2")
    p.tool("bitmap", "top.qcow2", "qcow2", "add", "top", 65536)
    p.tool("write", "top.qcow2", "qcow2", 3 << 20, 70000, 5)
    if ours("base.qcow2", "one", 65536):
        return "recorded below"
    p.run(isomer, "disk", "commit", "top.qcow2")
    if theirs("base.qcow2", "one", 65536) != {48, 49} or ours("top.qcow2", "top", 65536) != {48, 49}:
        return "commit"
    p.run("qemu-img", "create", "-f", "qcow2", "other.qcow2", SIZE)
    p.run(isomer, "disk", "rebase", "-b", "other.qcow2", "-F", "qcow2", "top.qcow2")
    if not ours("top.qcow2", "top", 65536) >= {48, 49}:
        return "rebase"
    return sound("base.qcow2") or sound("top.qcow2")


def converted():
    """By us and by QEMU, with all bitmaps."""
    fresh()
    p.tool("write", "f.qcow2", "qcow2", 3 << 20, 70000, 5)
    p.tool("bitmap", "f.qcow2", "qcow2", "add", "off", 4096)
    p.tool("bitmap", "f.qcow2", "qcow2", "disable", "off")
    p.tool("bitmap", "f.qcow2", "qcow2", "merge", "off", "one")
    p.run(os.environ["ISOMER"], "disk", "convert", "--bitmaps", "--cluster-size=512", "f.qcow2",
          "c1.qcow2")
    p.run("qemu-img", "convert", "--bitmaps", "-O", "qcow2", "f.qcow2", "c2.qcow2")
    for image in ("c1.qcow2", "c2.qcow2"):
        if flags(image) != {"one": ["auto"], "off": []} or \
                theirs(image, "one", 65536) != {48, 49} or \
                ours(image, "off", 4096) != set(range(48 * 16, 50 * 16)):
            return f"{image}: {flags(image)}"
        if sound(image):
            return sound(image)
    return None


def unaware():
    """Who does not know bitmaps has taken the autoclear bit away: they are leaks."""
    fresh()
    p.tool("write", "f.qcow2", "qcow2", 0, 512, 1)
    data = bytearray(open("f.qcow2", "rb").read())
    data[95] &= ~1
    open("f.qcow2", "wb").write(data)
    if p.tool("bitmap", "f.qcow2", "qcow2", "list")[1]:
        return "still listed"
    p.tool("write", "f.qcow2", "qcow2", 0, 512, 1)
    p.tool("bitmap", "f.qcow2", "qcow2", "add", "one", 512)
    if flags("f.qcow2") != {"one": ["auto"]}:
        return str(flags("f.qcow2"))
    p.tool("check", "f.qcow2", "qcow2", "all")
    return sound("f.qcow2")


def senseless():
    """A directory that makes no sense: readable, not writable, repaired by removing it."""
    fresh()
    p.tool("write", "f.qcow2", "qcow2", 0, 512, 1)
    p.run("cp", "f.qcow2", "b.qcow2")
    data = bytearray(open("f.qcow2", "rb").read())
    data[directory() + 16] = 7
    open("f.qcow2", "wb").write(data)
    p.tool("cat", "f.qcow2", "qcow2")
    wrong = p.refused(["write", "f.qcow2", "qcow2", 0, 512, 1], "check --repair")
    isomer = os.environ["ISOMER"]
    if wrong or not p.run(isomer, "disk", "check", "f.qcow2", ok=False)[0]:
        return wrong or "check finds nothing"
    p.run(isomer, "disk", "check", "--repair", "f.qcow2")
    return sound("f.qcow2") or (str(flags("f.qcow2")) if flags("f.qcow2") else None)


def bounds():
    """Names and granularities that cannot be."""
    fresh()
    for args, words in ((["add", "one"], "already"), (["add", "x", 100], "power of two"),
                        (["add", "x", 256], "power of two"), (["add", "n" * 1024], "1023"),
                        (["add", ""], "1023"), (["merge", "one", "x"], "no bitmap x"),
                        (["remove", "x"], "no bitmap x")):
        wrong = p.refused(["bitmap", "f.qcow2", "qcow2", *args], words)
        if wrong:
            return wrong
    p.run("qemu-img", "create", "-f", "qcow2", "-o", "compat=0.10", "old.qcow2", "1M")
    return p.refused(["bitmap", "old.qcow2", "qcow2", "add", "x"], "version 2")


for c, g in ((65536, 65536), (65536, 4096), (4096, 512), (2 << 20, 1 << 20)):
    p.case(f"clusters of {c}, granularity {g}", made, c, g)
p.case("no such bitmap", absent)
p.case("in use", in_use)
made(4096, 65536)
p.case("damaged directory", damaged)
for i, (c, g) in enumerate(((65536, 65536), (4096, 512), (512, 65536), (2 << 20, 4096))):
    p.case(f"in turn: clusters of {c}, granularity {g}", turns, c, g, i)
p.case("a writer that does not write", looking)
p.case("kill -9", killed)
p.case("resize", resized)
p.case("snapshots", snapshots)
p.case("commit, rebase", chain)
p.case("convert", converted)
p.case("written by who does not know them", unaware)
p.case("senseless directory", senseless)
p.case("bounds", bounds)
p.done()
