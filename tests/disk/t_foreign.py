#!/usr/bin/env python3
# t_foreign.py: VMDK, VHDX and VDI that qemu-img made. SPDX-License-Identifier: Apache-2.0
import os
import struct

import disk_peers as p

p.need("qemu-img")
SIZE = 9 << 20 | 512 * 77
DATA = p.content(SIZE)
open("raw", "wb").write(DATA)
BIG = [("vmdk", "monolithicSparse"), ("vmdk", "streamOptimized"), ("vdi", ""), ("vhdx", "dynamic")]


def make(fmt, sub, size=SIZE, data=True):
    name = f"{fmt}-{sub.replace('=', '')}.{fmt}"
    opts = ["-o", f"subformat={sub}"] if sub and "=" not in sub else ["-o", sub] if sub else []
    if data:
        p.run("qemu-img", "convert", "-f", "raw", "-O", fmt, *opts, "raw", name)
    else:
        p.run("qemu-img", "create", "-f", fmt, *opts, name, str(size))
    return name


def reads(fmt, sub):
    """All bytes, and the map where it says zero or none."""
    name = make(fmt, sub)
    want = DATA
    got = p.tool("cat", name, "-")[1]
    if fmt == "vhdx":
        want += bytes(len(got) - len(want))
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        return f"{len(got)} bytes, other ones from {at} on"
    at = 0
    for line in p.tool("map", name, fmt)[1].decode().split("\n")[:-1]:
        off, n, kind, _ = line.split()
        if int(off) != at:
            return f"the map has a gap at {at}"
        at += int(n)
        if kind != "data" and any(want[int(off):at]):
            return f"the map says {kind} where there is data: {line}"
    return None if at == len(want) else f"the map ends at {at}"


def empty(fmt, sub, size):
    """Large and empty: its size, and zeros."""
    name = make(fmt, sub, size, data=False)
    info = p.tool("info", name, "-")[1].decode()
    if f"format: {fmt}\nsize: {size}\n" not in info:
        return info
    lines = p.tool("map", name, fmt)[1].decode().strip().split("\n")
    return None if all(line.split()[2] != "data" for line in lines) else lines[0]


def patched(source, at, raw, pattern):
    data = bytearray(open(source, "rb").read(4 << 20))
    data[at:at + len(raw)] = raw
    open("bad", "wb").write(data)
    return p.refused(["cat", "bad", source.split(".")[-1]], pattern)


def every_field(source, begin, end, step):
    """Whatever 32 bits of a header say: an answer within bounds, or one line."""
    data = open(source, "rb").read(4 << 20)
    for at in range(begin, end, step):
        for value in (0, 1, 0x7fffffff, 0xffffffff, 0x10000000):
            bad = bytearray(data)
            struct.pack_into("<I", bad, at, value)
            open("bad", "wb").write(bad)
            status, _, message = p.tool("info", "bad", source.split(".")[-1], ok=False)
            if status not in (0, 1) or (status == 1 and message.count("\n")):
                return f"at {at:#x} {value:#x}: exit status {status}: {message[:200]}"
    return None


def cut(source):
    """Cut off anywhere: an error or zeros, never a crash."""
    data = open(source, "rb").read(4 << 20)
    for n in list(range(0, 4096, 511)) + [65536, 65536 * 3 + 100, 1 << 20, (1 << 20) + 70000]:
        open("bad", "wb").write(data[:n])
        status, _, message = p.tool("cat", "bad", source.split(".")[-1], ok=False)
        if status not in (0, 1) or (status == 1 and message.count("\n")):
            return f"at {n}: exit status {status}: {message[:200]}"
    return None


def descriptor(text, pattern):
    open("bad", "w").write("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n" + text)
    return p.refused(["info", "bad", "vmdk"], pattern)


def flat_in_pieces():
    """Extents with an offset, zeros and sparse ones, in one row."""
    make("vmdk", "monolithicSparse")
    open("piece", "wb").write(DATA[:1 << 20])
    open("bad", "w").write(
        '# Disk DescriptorFile\nversion=1\ncreateType="custom"\nRW 512 FLAT "piece" 1024\n'
        f'RW 100 ZERO\nRW {SIZE // 512} SPARSE "vmdk-monolithicSparse.vmdk"\n')
    want = DATA[1 << 19:(1 << 19) + (1 << 18)] + bytes(51200) + DATA
    return None if p.tool("cat", "bad", "-")[1] == want else "other bytes"


def geometry():
    info = p.tool("info", make("vmdk", "monolithicSparse"), "vmdk")[1].decode()
    return None if "/16/63" in info and "variant: monolithicSparse" in info else info


for s in ("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
          "streamOptimized"):
    p.case(f"vmdk {s}", reads, "vmdk", s)
for s in ("dynamic", "fixed", "block_size=1M", "block_size=32M"):
    p.case(f"vhdx {s}", reads, "vhdx", s)
for s in ("", "static=on"):
    p.case(f"vdi {s or 'dynamic'}", reads, "vdi", s)
for f, s in BIG:
    p.case(f"{f} {s} of 1 TiB, empty", empty, f, s, 1 << 40)
    make(f, s)
p.case("vmdk over extents of all kinds", flat_in_pieces)
p.case("vmdk geometry", geometry)

V, S = "vmdk-monolithicSparse.vmdk", "vmdk-streamOptimized.vmdk"
p.case("vmdk: every field", every_field, V, 4, 80, 4)
p.case("vmdk stream: every field", every_field, S, 4, 80, 4)
p.case("vdi: every field", every_field, "vdi-.vdi", 0x40, 0x190, 4)
p.case("vhdx: every field of the metadata", every_field, "vhdx-dynamic.vhdx", 2 << 20,
       (2 << 20) + 256, 4)
for n in (V, S, "vdi-.vdi", "vhdx-dynamic.vhdx"):
    p.case(f"{n} cut off", cut, n)
p.case("vmdk version", patched, V, 4, b"\x09\0\0\0", "version 9")
p.case("vmdk grain", patched, V, 20, b"\x03\0\0\0", "grains")
p.case("vmdk grain table", patched, V, 44, b"\0\x10\0\0", "grain tables")
p.case("vmdk capacity", patched, V, 12, b"\xff" * 8, "larger than a disk")
p.case("vdi version", patched, "vdi-.vdi", 0x44, b"\0\0\2\0", "version 2.0")
p.case("vdi differencing", patched, "vdi-.vdi", 0x4c, b"\4\0\0\0", "differencing")
p.case("vdi blocks", patched, "vdi-.vdi", 0x180, b"\xff\xff\xff\x7f", "2^27")
p.case("vdi size", patched, "vdi-.vdi", 0x170, b"\xff" * 7 + b"\x0f", "its size")
p.case("vhdx checksum of the headers", patched, "vhdx-dynamic.vhdx", 65536 + 100,
       bytes([9]) * (65536 + 100), "headers")
p.case("vhdx region tables", patched, "vhdx-dynamic.vhdx", 192 << 10, b"x" * (128 << 10), "region")
p.case("descriptor: way out", descriptor, 'RW 1 FLAT "../raw" 0\n', "own folder")
p.case("descriptor: absolute", descriptor, 'RW 1 FLAT "/etc/passwd" 0\n', "own folder")
p.case("descriptor: not there", descriptor, 'RW 1 FLAT "gone" 0\n', "gone")
p.case("descriptor: itself", descriptor, 'RW 1 SPARSE "bad"\n', "no sparse extent")
p.case("descriptor: too short", descriptor, 'RW 99999 FLAT "raw" 0\n', "shorter")
p.case("descriptor: offset", descriptor, 'RW 1 FLAT "raw" 18446744073709551615\n', "shorter")
p.case("descriptor: kind", descriptor, 'RW 1 VMFS "raw"\n', "VMFS")
p.case("descriptor: size", descriptor, "RW 99999999999999999 ZERO\n", "makes no sense")
p.case("descriptor: nothing", descriptor, "", "no extent")
os.symlink("/etc/passwd", "link")
p.case("descriptor: a link out of the folder", descriptor, 'RW 1 FLAT "link" 0\n', "allowed")
os.mkfifo("fifo")
p.case("descriptor: no plain file", descriptor, 'RW 1 FLAT "fifo" 0\n', "plain file")
p.done()
