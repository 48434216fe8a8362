#!/usr/bin/env python3
# t_bitmap.py: dirty bitmaps that QEMU made, read. SPDX-License-Identifier: Apache-2.0
import struct

import disk_peers as p

p.need("qemu-img", "qemu-io")
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


for c, g in ((65536, 65536), (65536, 4096), (4096, 512), (2 << 20, 1 << 20)):
    p.case(f"clusters of {c}, granularity {g}", made, c, g)
p.case("no such bitmap", absent)
p.case("in use", in_use)
made(4096, 65536)
p.case("damaged directory", damaged)
p.done()
