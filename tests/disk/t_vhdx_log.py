#!/usr/bin/env python3
# t_vhdx_log.py: VHDX images that were not closed. SPDX-License-Identifier: Apache-2.0
#
# Logs are made here by the specification ([MS-VHDX] 2.3). What they should give is computed here,
# too, and qemu-img check -r all replays a copy of each: three ways to the same bytes.
import shutil
import struct

import disk_peers as p

p.need("qemu-img")
MIB, SIZE = 1 << 20, 8 << 20
DATA = p.content(SIZE, 3)
GUID, OTHER = bytes(range(1, 17)), bytes(range(2, 18))
TABLE = []


def crc32c(data):
    if not TABLE:
        for i in range(256):
            for _ in range(8):
                i = i >> 1 ^ (0x82f63b78 if i & 1 else 0)
            TABLE.append(i)
    crc = 0xffffffff
    for b in data:
        crc = crc >> 8 ^ TABLE[(crc ^ b) & 255]
    return crc ^ 0xffffffff


def summed(block):
    """A block with its checksum in bytes 4 to 7."""
    block[4:8] = bytes(4)
    struct.pack_into("<I", block, 4, crc32c(block))
    return block


def entry(number, tail, changes, guid=GUID, flushed=0, last=0):
    """changes: (offset, 4 KiB of data) or (offset, length of zeros)."""
    sectors = [c[1] for c in changes if isinstance(c[1], bytes)]
    head = (64 + 32 * len(changes) + 4095) // 4096 * 4096
    e = bytearray(head)
    struct.pack_into("<4sIIIQII16sQQ", e, 0, b"loge", 0, head + 4096 * len(sectors), tail, number,
                     len(changes), 0, guid, flushed, last)
    for i, (off, what) in enumerate(changes):
        if isinstance(what, bytes):
            struct.pack_into("<4s4s8sQQ", e, 64 + 32 * i, b"desc", what[-4:], what[:8], off, number)
        else:
            struct.pack_into("<4sIQQQ", e, 64 + 32 * i, b"zero", 0, what, off, number)
    for s in sectors:
        e += struct.pack("<4sI", b"data", number >> 32) + s[8:-4]
        e += struct.pack("<I", number & 0xffffffff)
    return bytes(summed(e))


class Image:
    """An image of 8 blocks, and what it would be."""

    def __init__(self):
        self.file = bytearray(open("base.vhdx", "rb").read())
        regions = [struct.unpack_from("<16sQII", self.file, (192 << 10) + 16 + 32 * i)
                   for i in range(2)]
        self.bat = next(r[1] for r in regions if r[0][:4] == b"\x66\x77\xc2\x2d")
        header = self.header()
        self.log, self.log_length = struct.unpack_from("<Q", header, 72)[0], \
            struct.unpack_from("<I", header, 68)[0]
        self.table = bytearray(self.file[self.bat:self.bat + 4096])

    def header(self):
        both = [self.file[at:at + 4096] for at in (64 << 10, 128 << 10)]
        return max(both, key=lambda h: struct.unpack_from("<Q", h, 8)[0])

    def host(self, block):
        return struct.unpack_from("<Q", self.table, 8 * block)[0] >> 20 << 20

    def without(self, *blocks):
        """The sector of the BAT, these blocks being zero."""
        for b in blocks:
            struct.pack_into("<Q", self.table, 8 * b, 2)
        return self.bat, bytes(self.table)

    def put(self, at, data):
        """Into the ring."""
        for i in range(0, len(data), 4096):
            off = self.log + (at + i) % self.log_length
            self.file[off:off + 4096] = data[i:i + 4096]
        return (at + len(data)) % self.log_length

    def save(self, name, guid=GUID, **fields):
        for at in (64 << 10, 128 << 10):
            h = self.file[at:at + 4096]
            h[48:64] = guid
            for field, off in (("version", 64), ("length", 68), ("offset", 72)):
                if field in fields:
                    struct.pack_into("<H" if off == 64 else "<I", h, off, fields[field])
            self.file[at:at + 4096] = summed(h)
        open(name, "wb").write(self.file)


def same(image, want):
    """We read it, without changing it, and QEMU after a repair, as what it should be."""
    image.save("log.vhdx")
    got = p.tool("cat", "log.vhdx", "-")[1]
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        return f"{len(got)} bytes, other ones from {at:#x} on"
    if open("log.vhdx", "rb").read() != image.file:
        return "the file has changed"
    shutil.copy("log.vhdx", "copy.vhdx")
    p.run("qemu-img", "check", "-r", "all", "copy.vhdx")
    p.run("qemu-img", "convert", "-f", "vhdx", "-O", "raw", "copy.vhdx", "copy.raw")
    return None if open("copy.raw", "rb").read() == want else "QEMU reads something else"


def holes(*blocks):
    want = bytearray(DATA)
    for b in blocks:
        want[b * MIB:(b + 1) * MIB] = bytes(MIB)
    return want


def one():
    im = Image()
    im.put(0, entry(7 << 40 | 9, 0, [im.without(2)]))
    return same(im, bytes(holes(2)))


def several():
    """Three entries; the last one says again what the first did; zeros in the data."""
    im = Image()
    before = (im.bat, bytes(im.table))
    at = im.put(8192, entry(1, 8192, [im.without(2)]))
    at = im.put(at, entry(2, 8192, [(im.host(4) + 8192, 12288), before]))
    im.put(at, entry(3, 8192, [(im.host(5), b"x" * 4096), im.without(6)]))
    want = holes(2, 6)
    want[4 * MIB + 8192:4 * MIB + 20480] = bytes(12288)
    want[5 * MIB:5 * MIB + 4096] = b"x" * 4096
    return same(im, bytes(want))


def many():
    """Descriptors that fill more than a sector (where QEMU 7.2 reads one of them twice)."""
    im = Image()
    changes = [(im.host(1) + 4096 * i, bytes([i]) * 4096) for i in range(130)]
    im.put(0, entry(1 << 33, 0, changes))
    want = bytearray(DATA)
    want[MIB:MIB + 130 * 4096] = b"".join(c[1] for c in changes)
    im.save("log.vhdx")
    return None if p.tool("cat", "log.vhdx", "-")[1] == want else "other bytes"


def around():
    """Over the end of the ring."""
    im = Image()
    start = im.log_length - 4096
    at = im.put(start, entry(5, start, [im.without(1)]))
    im.put(at, entry(6, start, [im.without(3)]))
    return same(im, bytes(holes(1, 3)))


def remains():
    """An older sequence behind, and one of another log with higher numbers."""
    im = Image()
    im.put(65536, entry(3, 65536, [im.without(1)]))
    im.put(131072, entry(99, 131072, [im.without(7)], guid=OTHER))
    im.table[:] = im.file[im.bat:im.bat + 4096]
    im.put(0, entry(4, 0, [im.without(5)]))
    return same(im, bytes(holes(5)))


def from_the_tail():
    """What is before the tail that the last entry names has reached the file already."""
    im = Image()
    at = im.put(0, entry(1, 0, [im.without(1)]))
    im.table[:] = im.file[im.bat:im.bat + 4096]
    im.put(at, entry(2, at, [(im.host(4), 4096)]))
    im.save("log.vhdx")
    want = bytearray(DATA)
    want[4 * MIB:4 * MIB + 4096] = bytes(4096)
    return None if p.tool("cat", "log.vhdx", "-")[1] == want else "other bytes"


def torn(cut):
    """The last entry has not arrived as a whole."""
    im = Image()
    at = im.put(0, entry(1, 0, [im.without(1)]))
    last = bytearray(entry(2, 0, [im.without(2), (im.host(4), b"y" * 4096)]))
    last[cut:cut + 4096] = b"\xaa" * len(last[cut:cut + 4096])
    im.put(at, bytes(last))
    return same(im, bytes(holes(1)))


def refused(pattern, make, fields=None):
    im = Image()
    make(im)
    im.save("bad.vhdx", **(fields or {}))
    return p.refused(["cat", "bad.vhdx", "vhdx"], pattern)


def nothing_whole(im):
    e = bytearray(entry(1, 0, [im.without(1)]))
    e[5000] ^= 1
    im.put(0, bytes(e))


def grown():
    """A block behind the end that the file had, as far as the log says it goes: zeros."""
    im = Image()
    end = (len(im.file) + MIB - 1) // MIB * MIB
    struct.pack_into("<Q", im.table, 8 * 3, end | 6)
    im.put(0, entry(1, 0, [(im.bat, bytes(im.table))], flushed=len(im.file), last=end + MIB))
    im.save("log.vhdx")
    return None if p.tool("cat", "log.vhdx", "-")[1] == holes(3) else "other bytes"


def sum_over_sums(im):
    """Each sector the begin of an entry as long as the ring."""
    for at in range(0, im.log_length, 4096):
        im.put(at, struct.pack("<4sIIIQII16sQQ", b"loge", 1, im.log_length, 0, 1, 0, 0, GUID, 0, 0)
               + bytes(4032))


open("raw", "wb").write(DATA)
p.run("qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", "block_size=1M", "raw", "base.vhdx")
p.case("one entry", one)
p.case("several entries, zeros", several)
p.case("more than a sector of descriptors", many)
p.case("over the end of the ring", around)
p.case("remains of older logs", remains)
p.case("from the tail on", from_the_tail)
p.case("a file that was to grow", grown)
for c in (0, 4096, 8192):
    p.case(f"last entry torn at {c}", torn, c)
p.case("nothing whole", refused, "nothing in its log is whole", nothing_whole)
p.case("empty ring", refused, "nothing in its log is whole", lambda im: None)
p.case("no entry at the tail", refused, "nothing in its log is whole",
       lambda im: im.put(0, entry(1, 4096, [im.without(1)])))
p.case("wrong number in a descriptor", refused, "nothing in its log is whole",
       lambda im: im.put(0, bytes(summed(bytearray(entry(1, 0, [im.without(1)])[:88] + bytes([9])
                                                   + entry(1, 0, [im.without(1)])[89:])))))
p.case("cut off", refused, "cut off",
       lambda im: im.put(0, entry(1, 0, [im.without(1)], flushed=1 << 40)))
p.case("sums of sums", refused, "lie in each other", sum_over_sums)
p.case("version of the log", refused, "version 1", nothing_whole, {"version": 1})
p.case("length of the log", refused, "makes no sense", nothing_whole, {"length": 0xfff00000})
p.case("place of the log", refused, "makes no sense", nothing_whole, {"offset": 4096})
p.done()
