#!/usr/bin/env python3
# t_luks.py: LUKS against cryptsetup and qemu-img. SPDX-License-Identifier: Apache-2.0
import os
import struct

import disk_peers as p

p.need("qemu-img", "cryptsetup")
PASS = "open sesame"
ENV = {"DISK_PASSWORD": PASS}
SIZE = 1 << 20
DATA = p.content(SIZE)


def qemu_secret():
    return ["--object", f"secret,id=s,data={PASS}"]


def image(name):
    return f"driver=luks,key-secret=s,file.filename={name}"


def ours():
    """We make it; cryptsetup and qemu-img open it."""
    p.tool("create", "o.luks", "luks", SIZE, env=ENV)
    p.tool("fill", "o.luks", "luks", data=DATA, env=ENV)
    dump = p.run("cryptsetup", "luksDump", "o.luks")[1].decode()
    for want in ("aes", "xts-plain64", "sha256", "Key Slot 0: ENABLED", "Key Slot 7: DISABLED"):
        if want not in dump:
            return f"luksDump has no {want}"
    p.run("cryptsetup", "open", "--test-passphrase", "o.luks", data=PASS.encode())
    if p.run("cryptsetup", "open", "--test-passphrase", "o.luks", data=b"no", ok=False)[0] == 0:
        return "another passphrase opens it"
    p.run("qemu-img", "convert", *qemu_secret(), "--image-opts", image("o.luks"), "-O", "raw",
          "o.raw")
    return None if open("o.raw", "rb").read() == DATA else "qemu-img reads other data"


def odd_writes():
    """Parts of sectors; qemu-img judges."""
    want = bytearray(DATA)
    args = []
    for off, n, byte in ((1, 3, 7), (511, 2, 8), (1000, 70000, 9), (SIZE - 5, 5, 10)):
        want[off:off + n] = bytes([byte]) * n
        args += [off, n, byte]
    p.tool("write", "o.luks", "luks", *args, env=ENV)
    p.run("qemu-img", "convert", *qemu_secret(), "--image-opts", image("o.luks"), "-O", "raw",
          "o.raw")
    return None if open("o.raw", "rb").read() == want else "qemu-img reads other data"


def theirs(alg, hash_alg):
    """qemu-img makes it; we read and write it."""
    open("t.raw", "wb").write(DATA)
    for _ in range(5):  # on a busy machine its clock is too coarse for it, now and then
        status, _, message = p.run(
            "qemu-img", "create", *qemu_secret(), "-f", "luks", "-o",
            f"key-secret=s,cipher-alg={alg},hash-alg={hash_alg},iter-time=50", "t.luks",
            str(SIZE), ok=False)
        if status == 0:
            break
    else:
        return message
    p.run("qemu-img", "convert", *qemu_secret(), "-n", "-f", "raw", "--target-image-opts", "t.raw",
          image("t.luks"))
    if p.tool("cat", "t.luks", "-", env=ENV)[1] != DATA:
        return "we read other data"
    return None


def cryptsetup_made(bits, hash_alg):
    open("c.luks", "wb").truncate(4 << 20)
    p.run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--cipher", "aes-xts-plain64",
          "--key-size", str(bits), "--hash", hash_alg, "--pbkdf-force-iterations", "1000",
          "c.luks",
          data=PASS.encode())
    p.tool("write", "c.luks", "luks", 0, 4096, 0x41, env=ENV)
    p.run("qemu-io", "-r", *qemu_secret(), "--image-opts", "-c", "read -P 0x41 0 4096",
          image("c.luks"))
    info = p.tool("info", "c.luks", "luks", env=ENV)[1].decode()
    return None if f"aes-{bits // 2}-xts-plain64" in info and "key-slot-0: active" in info else info


def second_slot():
    """A key in slot 5 only."""
    open("s.luks", "wb").truncate(4 << 20)
    p.run("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations",
          "1000", "--key-slot", "5", "s.luks", data=PASS.encode())
    info = p.tool("info", "s.luks", "luks", env=ENV)[1].decode()
    return None if "key-slot-5: active" in info and "key-slot-0" not in info else info


def patched(at, raw, pattern):
    """A header with other bytes at `at` is refused with a message."""
    data = bytearray(open("o.luks", "rb").read())
    data[at:at + len(raw)] = raw
    open("bad.luks", "wb").write(data)
    return p.refused(["info", "bad.luks", "luks"], pattern, env=ENV)


def cut():
    open("bad.luks", "wb").write(open("o.luks", "rb").read()[:300])
    return p.refused(["info", "bad.luks", "luks"], "no LUKS header", env=ENV)


def qcow2_image(name):
    return f"driver=qcow2,encrypt.key-secret=s,file.filename={name}"


def qcow2_ours(*options):
    """We make it and write; QEMU reads, writes and checks."""
    p.run("rm", "-f", "o.qcow2")
    p.tool("create", "o.qcow2", "qcow2", SIZE, "encrypt=1", *options, env=ENV)
    p.tool("fill", "o.qcow2", "qcow2", data=DATA[:SIZE // 2], env=ENV)
    p.tool("write", "o.qcow2", "qcow2", 700001, 1234, 0x55, env=ENV)
    want = bytearray(DATA[:SIZE // 2] + bytes(SIZE // 2))
    want[700001:701235] = b"\x55" * 1234
    p.run("qemu-img", "convert", *qemu_secret(), "--image-opts", qcow2_image("o.qcow2"), "-O",
          "raw", "o.raw")
    if open("o.raw", "rb").read() != want:
        return "QEMU reads other data"
    p.run("qemu-io", *qemu_secret(), "--image-opts", "-c", "write -P 9 4096 70000",
          qcow2_image("o.qcow2"))
    p.run("qemu-img", "check", *qemu_secret(), "--image-opts", qcow2_image("o.qcow2"))
    want[4096:74096] = b"\x09" * 70000
    if p.tool("cat", "o.qcow2", "-", env=ENV)[1] != want:
        return "we read other data"
    out = p.tool("check", "o.qcow2", "qcow2", env=ENV)[1].decode()
    return None if "corruptions: 0\nleaks: 0" in out else out


def qcow2_theirs():
    for _ in range(5):
        p.run("rm", "-f", "t.qcow2")
        if p.run("qemu-img", "create", *qemu_secret(), "-f", "qcow2", "-o",
                 "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=50", "t.qcow2",
                 str(SIZE), ok=False)[0] == 0:
            break
    open("t.raw", "wb").write(DATA)
    p.run("qemu-img", "convert", *qemu_secret(), "-n", "-f", "raw", "--target-image-opts", "t.raw",
          qcow2_image("t.qcow2"))
    if p.tool("cat", "t.qcow2", "-", env=ENV)[1] != DATA:
        return "we read other data"
    os.environ["DISK_PASSWORD"] = "mistaken"
    why = p.refused(["info", "t.qcow2", "qcow2"], "wrong passphrase")
    os.environ.pop("DISK_PASSWORD", None)
    return why


p.case("ours", ours)
p.case("qcow2, ours", qcow2_ours)
p.case("qcow2, ours, subclusters", qcow2_ours, "extl2=1")
p.case("qcow2, ours, small clusters", qcow2_ours, "cluster=4096")
p.case("qcow2, theirs", qcow2_theirs)
p.case("parts of sectors", odd_writes)
for a, h in (("aes-128", "sha1"), ("aes-256", "sha512")):
    p.case(f"qemu-img's {a} {h}", theirs, a, h)
for b in (256, 512):
    for h in ("sha1", "sha256", "sha384", "sha512"):
        p.case(f"cryptsetup's {b} {h}", cryptsetup_made, b, h)
p.case("slot 5", second_slot)
os.environ["DISK_PASSWORD"] = "mistaken"
p.case("wrong passphrase", p.refused, ["info", "o.luks", "luks"], "wrong passphrase")
os.environ.pop("DISK_PASSWORD", None)
p.case("no passphrase", p.refused, ["info", "o.luks", "luks"], "passphrase is not to be had")
BE32 = struct.Struct(">I").pack
p.case("version", patched, 6, b"\0\2", "version 2")
p.case("cipher", patched, 8, b"serpent\0", "serpent-xts-plain64")
p.case("mode", patched, 40, b"cbc-plain\0xx", "aes-cbc-plain")
p.case("hash", patched, 72, b"whirlpool\0", "whirlpool")
p.case("key length", patched, 108, BE32(1 << 30), "damaged")
p.case("iterations", patched, 164, BE32(0xffffffff), "iterations")
p.case("iterations of a slot", patched, 212, BE32(0xffffffff), "slot 0")
p.case("slot behind the end", patched, 248, BE32(0xfffffff0), "slot 0")
p.case("slot in the header", patched, 248, BE32(0), "slot 0")
p.case("slot over slot", patched, 256, BE32(0x00ac71f3) + BE32(1000) + bytes(32) + BE32(9), "slot 1")
p.case("cut off", cut)
p.done()
