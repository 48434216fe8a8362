#!/usr/bin/env python3
# t_snapshot.py: internal snapshots, ours and QEMU's. SPDX-License-Identifier: Apache-2.0
import itertools
import random

import disk_peers as p

p.need("qemu-img", "qemu-io")
SIZE = 6 << 20
OPTIONS = [(), ("cluster=4096",), ("cluster=2097152",), ("extl2=1",), ("version=2",),
           ("refcount=4",), ("refcount=64", "cluster=512"), ("compression=zstd",)]


def sound(name):
    status, out, message = p.run("qemu-img", "check", name, ok=False)
    if status:
        return f"qemu-img check: {out.decode()[:300]} {message}"
    got = p.tool("check", name, "qcow2")[1].decode()
    return None if "corruptions: 0\nleaks: 0\n" in got else got


def holds(name, want):
    if p.tool("cat", name, "qcow2")[1] != want:
        return "we read other data"
    p.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, "out.raw")
    return None if open("out.raw", "rb").read() == want else "qemu-img reads other data"


def change(name, data, r):
    """Some writes at random by one of the two; returns what the disk holds then."""
    data, args, io = bytearray(data), [], []
    for _ in range(6):
        n = r.choice((512, 4096, 70144, 300032))
        off = r.randrange(0, SIZE - n) & ~511
        byte = r.randrange(1, 256)
        data[off:off + n] = bytes([byte]) * n
        args += [off, n, byte]
        io += ["-c", f"write -P {byte} {off} {n}"]
    if r.random() < 0.5:
        p.tool("write", name, "qcow2", *args)
    else:
        p.run("qemu-io", "-f", "qcow2", *io, name)
    return bytes(data)


def snapshot(name, verb, which, r):
    if r.random() < 0.5:
        p.tool("snapshot", name, "qcow2", verb, which)
    else:
        flag = {"create": "-c", "delete": "-d", "revert": "-a"}[verb]
        p.run("qemu-img", "snapshot", flag, which, name)


def story(options, seed):
    """Create, write, revert and delete at random, each by us or by QEMU; the check is clean after
    each step and every state reads as it was."""
    r, name, kept = random.Random(seed), "s.qcow2", {}
    p.run("rm", "-f", name)
    p.tool("create", name, "qcow2", SIZE, *options)
    now = p.content(SIZE, seed)
    packed = ["compressed"] if seed % 2 and "refcount=4" not in options else []
    p.tool("fill", name, "qcow2", *packed, data=now)
    for step in range(12):
        verb = r.choice(("create", "write", "write", "revert", "delete"))
        if verb == "create" and len(kept) < 2:
            which = f"snap {step}"
            snapshot(name, verb, which, r)
            kept[which] = now
        elif verb == "write":
            now = change(name, now, r)
        elif verb == "revert" and kept:
            which = r.choice(sorted(kept))
            snapshot(name, verb, which, r)
            now = kept[which]
        elif verb == "delete" and kept:
            which = r.choice(sorted(kept))
            snapshot(name, verb, which, r)
            del kept[which]
        why = sound(name) or holds(name, now)
        if why:
            return f"step {step}, {verb}: {why}"
    return None


def any_order(order):
    """Three snapshots, deleted in this order; what is left stays whole."""
    name, kept, r = "o.qcow2", {}, random.Random(1)
    p.run("rm", "-f", name)
    p.tool("create", name, "qcow2", SIZE)
    now = p.content(SIZE, 7)
    p.tool("fill", name, "qcow2", data=now)
    for s in "abc":
        p.tool("snapshot", name, "qcow2", "create", s)
        kept[s] = now
        now = change(name, now, r)
    for s in order:
        p.tool("snapshot", name, "qcow2", "delete", s)
        del kept[s]
        why = sound(name) or holds(name, now)
        for k in kept:
            p.run("qemu-img", "convert", "-l", k, "-f", "qcow2", "-O", "raw", name, "out.raw")
            if open("out.raw", "rb").read() != kept[k]:
                why = why or f"snapshot {k} has changed"
        if why:
            return f"after {s}: {why}"
    return None


def names():
    name = "o.qcow2"
    p.tool("snapshot", name, "qcow2", "create", "first")
    out = p.tool("snapshot", name, "qcow2", "list")[1].decode()
    theirs = p.run("qemu-img", "snapshot", "-l", name)[1].decode()
    if "first" not in out or "first" not in theirs:
        return f"{out} {theirs}"
    return (p.refused(["snapshot", name, "qcow2", "create", "first"], "already") or
            p.refused(["snapshot", name, "qcow2", "delete", "none"], "no snapshot none") or
            p.refused(["snapshot", name, "qcow2", "revert", "none"], "no snapshot none") or
            p.refused(["snapshot", name, "qcow2", "create", ""], "1 to 255"))


def too_narrow():
    p.tool("create", "n.qcow2", "qcow2", SIZE, "refcount=1")
    p.tool("write", "n.qcow2", "qcow2", 0, 4096, 1)
    return p.refused(["snapshot", "n.qcow2", "qcow2", "create", "a"], "too narrow") or \
        sound("n.qcow2")


def other_size():
    """Reverting brings back the size, too."""
    p.tool("create", "z.qcow2", "qcow2", SIZE)
    p.tool("write", "z.qcow2", "qcow2", 0, 4096, 1)
    p.tool("snapshot", "z.qcow2", "qcow2", "create", "small")
    p.run("qemu-img", "resize", "z.qcow2", "64M")
    p.tool("write", "z.qcow2", "qcow2", 50 << 20, 4096, 2)
    p.tool("snapshot", "z.qcow2", "qcow2", "revert", "small")
    return sound("z.qcow2") or holds("z.qcow2", bytes([1]) * 4096 + bytes(SIZE - 4096))


for i, o in enumerate(OPTIONS):
    for k in range(2):
        p.case(f"story {' '.join(o) or 'default'} {k}", story, o, 2 * i + k)
for o in itertools.permutations("abc"):
    p.case(f"delete in order {''.join(o)}", any_order, o)
p.case("names", names)
p.case("refcounts of one bit", too_narrow)
p.case("another size", other_size)
p.done()
