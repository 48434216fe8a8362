#!/usr/bin/env python3
"""t_disk_cmd.py: the commands of `isomer disk`, and their errors. SPDX-License-Identifier: Apache-2.0"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["TESTS"], "disk"))
sys.dont_write_bytecode = True

from disk_test import (content, disk, fails, has, main, must, must_json, peer, read_file, run,
                       write_file)

MIB = 1 << 20


def qcow2():
    """Is the format there?"""
    return "qcow2" in disk("create", "-f", "nothing", "x", "1M")[2]


# ---- sizes and arguments -----------------------------------------------------------------


def case_sizes():
    for text, size in (("1536", 1536), ("10M", 10 * MIB), ("1.5G", 3 << 29), ("0.5k", 512),
                       ("2KiB", 2048), ("3mb", 3 * MIB), ("1.5T", 3 << 39), ("0", 0), ("7B", 7)):
        must("create", "-f", "raw", "a.raw", text, "--force")
        assert os.path.getsize("a.raw") == size, (text, os.path.getsize("a.raw"))


def case_sizes_that_are_none():
    for text in ("10Q", "", "M", "1..5G", "1.G", ".5G", "1.5", "-1", "1e3", "0x10", "10 M", "16E",
                 "99999999999999999999", "1MM", "1bb", "5E5"):
        fails(2, "is not a size" if not text.startswith("-") else "", "create", "-f", "raw",
              "a.raw", text)
        assert not os.path.exists("a.raw"), text


def case_arguments():
    fails(2, "which command", )
    fails(2, "no command 'disk fly'", "fly")
    fails(2, "no command 'disk snapshot fly'", "snapshot", "fly", "x")
    fails(2, "which command", "snapshot")
    fails(2, "usage: isomer disk create", "create")
    fails(2, "usage: isomer disk snapshot create", "snapshot", "create", "x")
    fails(2, "no option --wings", "info", "x", "--wings")
    fails(2, "none of on|off", "create", "x", "1M", "--extended-l2=yes")
    fails(2, "none of leaks|all", "check", "x", "--repair=some")
    fails(2, "how large", "create", "-f", "raw", "x")
    fails(2, "is not a geometry", "create", "x", "1M", "--geometry=1,2")
    fails(2, "is not a geometry", "create", "x", "1M", "--geometry=1,256,3")
    fails(2, "no images of format 'zip'", "create", "-f", "zip", "x", "1M")
    fails(1, "No such file", "info", "nothing")
    fails(1, "No such file", "convert", "nothing", "x")
    fails(2, "is not a NUMBER", "split", "x", "y", "--parts=many")


def case_options_anywhere():
    must("create", "a.raw", "1M", "-f", "raw")
    must("create", "--force", "a.raw", "--format=raw", "--", "1M")
    assert must_json("info", "-f", "raw", "a.raw")["virtual-size"] == MIB


def case_help():
    for words in ("disk", "disk create", "disk snapshot", "disk snapshot create", "disk serve"):
        out = run(os.environ["ISOMER"], "help", *words.split())[1].decode()
        assert f"usage: isomer {words}" in out, words
        assert run(os.environ["ISOMER"], *words.split(), "--help")[1].decode() == out, words
    man = run(os.environ["ISOMER"], "--dump-man")[1].decode()
    assert ".SS isomer disk snapshot delete" in man and "tls\\-cert" in man


# ---- create, info ------------------------------------------------------------------------


def case_create_does_not_replace():
    write_file("a.raw", b"precious")
    fails(1, "--force", "create", "-f", "raw", "a.raw", "1M")
    assert read_file("a.raw") == b"precious"
    must("create", "-f", "raw", "--force", "a.raw", "1M")
    assert os.listdir(".") == ["a.raw"], os.listdir(".")


def case_info():
    must("create", "-f", "raw", "a.raw", "504M")
    info = must_json("info", "a.raw")
    assert info["geometry"] == {"cylinders": 1024, "heads": 16, "sectors": 63, "stored": False}
    assert info["format"] == "raw" and info["virtual-size"] == 504 * MIB
    assert "1024 cylinders, 16 heads, 63 sectors (guessed)" in must("info", "a.raw")
    assert len(must_json("info", "a.raw", "a.raw")) == 2


def case_geometry():
    if not qcow2():
        return "no qcow2"
    must("create", "a.qcow2", "--geometry=615,4,17")
    info = must_json("info", "a.qcow2")
    assert info["virtual-size"] == 615 * 4 * 17 * 512
    if not info["geometry"]["stored"]:
        return "qcow2 does not store a geometry"
    assert info["geometry"] == {"cylinders": 615, "heads": 4, "sectors": 17, "stored": True}
    must("convert", "a.qcow2", "b.qcow2")
    assert must_json("info", "b.qcow2")["geometry"] == info["geometry"]
    peer("qemu-img", "check", "a.qcow2")


def case_names_that_json_must_escape():
    name = 'a"\\\n\x01ü.raw'
    must("create", "-f", "raw", name, "1M")
    assert must_json("info", name)["filename"] == name
    with open(os.fsencode("b\udcff.raw"), "wb") as f:
        f.truncate(512)
    assert must_json("info", os.fsencode("b\udcff.raw").decode("utf-8", "surrogateescape"))[
        "filename"] == "b\ufffd.raw"


# ---- resize, check, map ------------------------------------------------------------------


def case_resize():
    must("create", "-f", "raw", "a.raw", "10M")
    must("resize", "-f", "raw", "a.raw", "+2M")
    assert os.path.getsize("a.raw") == 12 * MIB
    fails(1, "--shrink", "resize", "-f", "raw", "a.raw", "-4M")
    must("resize", "-f", "raw", "a.raw", "-4M", "--shrink")
    assert os.path.getsize("a.raw") == 8 * MIB
    fails(2, "is no size", "resize", "-f", "raw", "a.raw", "-9M")
    fails(2, "is not a size", "resize", "-f", "raw", "a.raw", "+")
    fails(1, "format raw", "resize", "a.raw", "9M")


def case_resize_with_tables_longer_than_a_refcount_block_counts():
    """Clusters in a row that several refcount blocks count."""
    must("create", "--cluster-size=512", "a.qcow2", "10M")
    for size in ("600M", "3G", "30G"):
        must("resize", "a.qcow2", size)
        peer("qemu-io", "-c", "write -P 5 500M 1M", "a.qcow2")
        must("snapshot", "create", "a.qcow2", size)
        peer("qemu-img", "check", "-q", "a.qcow2")


def case_bitmaps():
    must("create", "a.qcow2", "10M")
    must("bitmap", "add", "a.qcow2", "one", "4K")
    must("bitmap", "add", "-g", "1M", "--disabled", "a.qcow2", "off")
    fails(1, "power of two", "bitmap", "add", "-g", "5K", "a.qcow2", "x")
    fails(1, "power of two", "bitmap", "add", "-g", "4G", "a.qcow2", "x")
    peer("qemu-io", "-c", "write 1M 6k", "a.qcow2")
    listed = must_json("bitmap", "list", "a.qcow2")
    assert [(b["name"], b["granularity"], b["recording"], b["dirty-bytes"]) for b in listed] == \
        [("one", 4096, True, 8192), ("off", MIB, False, 0)], listed
    info = must_json("info", "a.qcow2")
    theirs = json.loads(peer("qemu-img", "info", "--output=json", "a.qcow2"))
    ours = info["format-specific"]["bitmaps"]
    assert ours == theirs["format-specific"]["data"]["bitmaps"], ours
    assert "off, 1 MiB, disabled" in must("info", "a.qcow2")
    must("convert", "--bitmaps", "-c", "a.qcow2", "b.qcow2")
    assert must_json("bitmap", "list", "b.qcow2") == listed
    peer("qemu-img", "check", "-q", "b.qcow2")
    must("bitmap", "merge", "-b", "b.qcow2", "a.qcow2", "off", "one")
    assert must_json("bitmap", "list", "a.qcow2")[1]["dirty-bytes"] == MIB
    must("create", "c.qcow2", "11M")
    must("bitmap", "add", "c.qcow2", "one")
    fails(1, "another size", "bitmap", "merge", "-b", "c.qcow2", "a.qcow2", "off", "one")
    fails(1, "raw", "convert", "--bitmaps", "a.qcow2", "x.raw")
    must("snapshot", "create", "b.qcow2", "s")
    fails(2, "--bitmaps and -s", "convert", "--bitmaps", "-s", "s", "b.qcow2", "x.qcow2")
    assert not os.path.exists("x.raw") and not os.path.exists("x.qcow2")


def case_bitmaps_that_were_not_closed():
    must("create", "a.qcow2", "10M")
    for name in ("bad", "good"):
        must("bitmap", "add", "a.qcow2", name)
    raw = bytearray(read_file("a.qcow2"))
    at = raw.find(b"bad")
    while at >= 0: # an old directory may lie there, too
        raw[at - 9] |= 1
        at = raw.find(b"bad", at + 1)
    write_file("a.qcow2", raw)
    fails(1, "bad was not closed", "convert", "--bitmaps", "a.qcow2", "b.qcow2")
    fails(1, "bad was not closed", "resize", "a.qcow2", "20M")
    must("convert", "--bitmaps", "--skip-broken-bitmaps", "a.qcow2", "b.qcow2")
    assert [b["name"] for b in must_json("bitmap", "list", "b.qcow2")] == ["good"]
    assert "in use or not closed" in must("info", "a.qcow2")
    must("bitmap", "remove", "a.qcow2", "bad")
    must("resize", "a.qcow2", "20M")
    peer("qemu-img", "check", "-q", "a.qcow2")


def case_check():
    if not qcow2():
        return "no qcow2"
    must("create", "a.qcow2", "10M")
    assert "no errors" in must("check", "a.qcow2")
    got = must_json("check", "a.qcow2")
    assert got["corruptions"] == got["leaks"] == got["check-errors"] == 0
    peer("qemu-io", "-c", "write -P 5 0 1M", "a.qcow2")
    raw = bytearray(read_file("a.qcow2"))
    at = int.from_bytes(raw[48:56], "big")
    block = int.from_bytes(raw[at:at + 8], "big")
    raw[block:block + 2] = b"\0\0"  # the header's own refcount
    write_file("a.qcow2", bytes(raw))
    status, out, _ = disk("check", "a.qcow2", "--json")
    assert status == 1 and json.loads(out)["corruptions"] >= 1, out
    must("check", "a.qcow2", "--repair")
    assert must_json("check", "a.qcow2")["corruptions"] == 0
    peer("qemu-img", "check", "a.qcow2")
    peer("qemu-io", "-c", "read -P 5 0 1M", "a.qcow2")


def case_map():
    data = bytes(MIB) + b"x" * MIB + bytes(MIB)
    with open("a.raw", "wb") as f:
        f.seek(MIB)
        f.write(data[MIB:2 * MIB])
        f.truncate(3 * MIB)
    got = must_json("map", "-f", "raw", "a.raw")
    assert sum(e["length"] for e in got) == 3 * MIB
    assert [e["data"] for e in got] == [False, True, False], got
    want = json.loads(peer("qemu-img", "map", "--output=json", "-f", "raw", "a.raw"))
    assert [(e["start"], e["length"], e["data"]) for e in want] == \
        [(e["start"], e["length"], e["data"]) for e in got]
    assert len(must("map", "a.raw").splitlines()) == 4


# ---- convert -----------------------------------------------------------------------------


def case_convert_raw():
    data = content(5 * MIB + 1536)
    write_file("a.raw", data)
    got = must_json("convert", "a.raw", "b.raw", "--verify")
    assert got["verified"] and got["virtual-size"] == len(data)
    assert read_file("b.raw") == data
    assert os.stat("b.raw").st_blocks * 512 < len(data)
    must("convert", "-q", "-S", "0", "a.raw", "c.raw")
    assert read_file("c.raw") == data
    assert os.stat("c.raw").st_blocks * 512 >= len(data)
    assert sorted(os.listdir(".")) == ["a.raw", "b.raw", "c.raw"]


def case_preallocate():
    """Each of qemu-img's words, for a raw and a qcow2 image: how much room is taken."""
    for word, raw, thick in (("off", 0, 0), ("metadata", 0, 0), ("falloc", 4 * MIB, 4 * MIB),
                             ("full", 4 * MIB, 4 * MIB)):
        must("create", "-f", "raw", f"--preallocate={word}", f"{word}.raw", "4M")
        must("create", f"--preallocate={word}", f"{word}.qcow2", "4M")
        for name, least in ((f"{word}.raw", raw), (f"{word}.qcow2", thick)):
            taken = os.stat(name).st_blocks * 512
            assert least <= taken < least + MIB, (name, taken)
        peer("qemu-img", "check", f"{word}.qcow2")
        peer("qemu-img", "compare", "-f", "raw", f"{word}.raw", f"{word}.qcow2")


def case_convert_of_all_kinds():
    if not qcow2():
        return "no qcow2"
    data = content(4 * MIB + 512, 7)
    write_file("a.raw", data)
    for n, options in enumerate((["-c"], ["-c", "--compression=zstd"], [], ["--extended-l2=on"],
                                 ["--cluster-size=4K"], ["-c", "--cluster-size=2M"],
                                 ["--qcow2-version=2"], ["--lazy-refcounts"],
                                 ["--refcount-bits=1"], ["--preallocate=metadata"],
                                 ["--cluster-size=512", "-c"])):
        name = f"{n}.qcow2"
        must("convert", "-f", "raw", "a.raw", name, "--verify", *options)
        peer("qemu-img", "check", name)
        peer("qemu-img", "compare", "-f", "raw", "a.raw", name)
        must("convert", name, f"{n}.raw")
        assert read_file(f"{n}.raw") == data, options


def case_convert_what_qemu_made():
    if not qcow2():
        return "no qcow2"
    data = content(4 * MIB, 8)
    write_file("a.raw", data)
    for n, options in enumerate((["-c"], ["-c", "-o", "compression_type=zstd"], [],
                                 ["-o", "extended_l2=on"], ["-o", "compat=0.10"])):
        peer("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, "a.raw", f"{n}.qcow2")
        must("convert", f"{n}.qcow2", f"{n}.raw")
        assert read_file(f"{n}.raw") == data, options


def case_convert_onto_itself():
    if not qcow2():
        return "no qcow2"
    data = content(4 * MIB, 9)
    write_file("a.raw", data)
    must("convert", "a.raw", "a.qcow2")
    must("convert", "-c", "a.qcow2", "a.qcow2")
    must("convert", "a.qcow2", "b.raw")
    assert read_file("b.raw") == data


def case_convert_over_a_backing_file():
    if not qcow2():
        return "no qcow2"
    base = content(4 * MIB, 10)
    data = bytearray(base)
    data[1000:1010] = b"0123456789"
    data[MIB:2 * MIB] = bytes(MIB)
    write_file("base.raw", base)
    write_file("a.raw", bytes(data))
    must("convert", "-f", "raw", "a.raw", "a.qcow2", "-b", "base.raw", "-F", "raw")
    assert must_json("info", "a.qcow2")["backing-filename"] == "base.raw"
    peer("qemu-img", "compare", "-f", "raw", "a.raw", "a.qcow2")
    peer("qemu-img", "check", "a.qcow2")
    assert os.path.getsize("a.qcow2") < 3 * MIB
    fails(2, "do not go together", "convert", "-f", "raw", "a.raw", "b.qcow2", "-b", "base.raw",
          "-F", "raw", "-c")


def case_convert_leaves_the_old_one_alone():
    write_file("a.raw", content(MIB))
    write_file("b.raw", b"old")
    os.mkdir("dir")
    fails(2, "no images of format", "convert", "a.raw", "b.raw", "-O", "zip")
    fails(2, "no images of format 'vmdk'", "convert", "a.raw", "x.vmdk")
    fails(1, "no plain file", "convert", "a.raw", "dir", "-O", "raw")
    fails(1, "/dev/full", "convert", "a.raw", "/dev/full", "-O", "raw")
    fails(2, "is not a SIZE", "convert", "a.raw", "b.raw", "-S", "none")
    assert read_file("b.raw") == b"old"
    assert sorted(os.listdir(".")) == ["a.raw", "b.raw", "dir"], os.listdir(".")


def case_convert_to_a_full_disk():
    if os.getuid() != 0:
        return "needs root to mount a small tmpfs"
    os.mkdir("small")
    if run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", "small")[0] != 0:
        return "cannot mount"
    try:
        write_file("a.raw", os.urandom(4 * MIB))
        write_file("small/b.raw", b"old")
        fails(1, "No space left", "convert", "a.raw", "small/b.raw")
        assert os.listdir("small") == ["b.raw"] and read_file("small/b.raw") == b"old"
    finally:
        run("umount", "small")


def case_compare():
    data = bytearray(content(3 * MIB))
    write_file("a.raw", bytes(data))
    write_file("b.raw", bytes(data) + bytes(MIB))
    assert must_json("compare", "a.raw", "b.raw") == {"identical": True}
    status, out, _ = disk("compare", "--strict", "a.raw", "b.raw", "--json")
    assert status == 1 and json.loads(out)["differs"] == "size"
    data[2 * MIB + 77] ^= 1
    write_file("c.raw", bytes(data))
    status, out, _ = disk("compare", "a.raw", "c.raw", "--json")
    assert status == 1 and json.loads(out) == {"identical": False, "differs": "content",
                                               "offset": 2 * MIB + 77}
    write_file("d.raw", read_file("a.raw") + bytes(MIB - 1) + b"x")
    status, out, _ = disk("compare", "d.raw", "a.raw", "--json")
    assert status == 1 and json.loads(out)["offset"] == 4 * MIB - 1
    fails(2, "No such file", "compare", "a.raw", "nothing")


# ---- split -------------------------------------------------------------------------------


def case_split():
    data = content(5 * MIB + 512)
    write_file("a.raw", data)
    got = must_json("split", "a.raw", "p", "-n", "3", "-O", "raw")
    assert b"".join(read_file(p["filename"]) for p in got) == data
    assert [p["source-offset"] for p in got] == [0, got[0]["virtual-size"],
                                                 2 * got[0]["virtual-size"]]
    got = must_json("split", "a.raw", "q", "--size", "2M", "-O", "raw")
    assert [p["virtual-size"] for p in got] == [2 * MIB] * 3
    assert b"".join(read_file(p["filename"]) for p in got) == data + bytes(MIB - 512)
    fails(1, "--force", "split", "a.raw", "q", "--size", "2M", "-O", "raw")
    fails(2, "into what", "split", "a.raw", "r", "-O", "raw")
    fails(2, "do not hold", "split", "a.raw", "r", "-n", "2", "--size=1M", "-O", "raw")
    fails(2, "are possible", "split", "a.raw", "r", "--size=512", "-O", "raw")


def case_split_by_a_layout():
    data = content(5 * MIB)
    write_file("a.raw", data)
    write_file("layout", b"# name size geometry\nboot 1M 2,16,63\n\nroot 2M\ndata rest\n")
    got = must_json("split", "a.raw", "p", "--layout=layout", "-O", "raw")
    assert [p["filename"] for p in got] == ["p-boot.raw", "p-root.raw", "p-data.raw"]
    assert (got[0]["cylinders"], got[0]["heads"], got[0]["sectors"]) == (2, 16, 63)
    assert b"".join(read_file(p["filename"]) for p in got) == data
    for bad, why in ((b"boot 1M 9,16,63\n", ":1:"), (b"boot\n", ":1:"), (b"a 1M\nb x\n", ":2:"),
                     (b"../a 5M\n", ":1:"), (b"a 1M\n", "the source has")):
        write_file("layout", bad)
        fails(2, why, "split", "a.raw", "q", "--layout=layout", "-O", "raw")


def case_split_a_folder():
    os.makedirs("in/sub/deep")
    files = {"a": b"first", "sub/b": os.urandom(70000), "sub/deep/" + "n" * 150: b"long",
             "empty": b"", "sub/c": content(300000)}
    for name, data in files.items():
        write_file("in/" + name, data)
    os.symlink("a", "in/link")
    os.chmod("in/a", 0o751)
    got = must_json("split", "in/", "p", "-n", "2", "-O", "raw")
    assert 1 <= len(got) <= 3, got
    os.mkdir("out")
    for part in got:
        peer("tar", "-C", "out", "-xf", part["filename"])
    for name, data in files.items():
        assert read_file("out/" + name) == data, name
    assert os.readlink("out/link") == "a" and os.stat("out/a").st_mode & 0o777 == 0o751
    fails(2, "does not fit", "split", "in", "q", "--size=100K", "-O", "raw")
    fails(2, "by --parts or --size", "split", "in", "q", "-O", "raw")


# ---- chains and snapshots ----------------------------------------------------------------


def case_commit():
    if not qcow2():
        return "no qcow2"
    base = content(2 * MIB, 3)
    write_file("base.raw", base)
    must("create", "-b", "base.raw", "-F", "raw", "a.qcow2")
    peer("qemu-io", "-c", "write -P 9 1M 70000", "-c", "write -z 64k 64k", "a.qcow2")
    want = bytearray(base)
    want[MIB:MIB + 70000] = b"\x09" * 70000
    want[65536:131072] = bytes(65536)
    must("commit", "a.qcow2")
    assert read_file("base.raw") == bytes(want)
    peer("qemu-img", "check", "a.qcow2")
    assert all(e["depth"] == 1 or not e["present"] for e in must_json("map", "a.qcow2"))
    fails(1, "no backing file", "commit", "base.raw", "-f", "raw")


def case_rebase():
    if not qcow2():
        return "no qcow2"
    write_file("one.raw", content(2 * MIB, 4))
    write_file("two.raw", content(2 * MIB, 5))
    must("create", "-b", "one.raw", "-F", "raw", "a.qcow2")
    peer("qemu-io", "-c", "write -P 9 1M 5000", "a.qcow2")
    must("convert", "a.qcow2", "want.raw")
    must("rebase", "a.qcow2", "-b", "two.raw", "-F", "raw")
    peer("qemu-img", "check", "a.qcow2")
    peer("qemu-img", "compare", "-f", "raw", "want.raw", "a.qcow2")
    assert must_json("info", "a.qcow2")["backing-filename"] == "two.raw"
    must("rebase", "a.qcow2")
    os.remove("two.raw")
    peer("qemu-img", "compare", "-f", "raw", "want.raw", "a.qcow2")
    os.rename("one.raw", "three.raw")
    must("create", "-b", "three.raw", "-F", "raw", "b.qcow2")
    os.rename("three.raw", "four.raw")
    fails(1, "three.raw", "map", "b.qcow2")
    must("rebase", "-u", "b.qcow2", "-b", "four.raw", "-F", "raw")
    must("map", "b.qcow2")


def case_rebase_of_what_is_mostly_hole():
    """Data in one chain, the other, both, and nowhere; a walk over all of it would not end."""
    if not qcow2():
        return "no qcow2"
    for name, at in (("one.qcow2", ("1G", "3T")), ("two.qcow2", ("2G", "3T"))):
        must("create", name, "4T" if name == "one.qcow2" else "3500G")
        for k, place in enumerate(at):
            peer("qemu-io", "-c", f"write -P {len(name) + k} {place} 100k", name)
    must("create", "-b", "one.qcow2", "-F", "qcow2", "a.qcow2")
    peer("qemu-io", "-c", "write -z 5G 64k", "-c", "write -P 4 2G 4k", "a.qcow2")
    must("rebase", "a.qcow2", "-b", "two.qcow2", "-F", "qcow2")
    peer("qemu-img", "check", "a.qcow2")
    peer("qemu-io", "-c", "read -P 9 1G 100k", "-c", "read -P 4 2G 4k",
         "-c", "read -P 0 2147487744 96k", "-c", "read -P 0 5G 64k",
         "-c", "read -P 10 3T 100k", "-c", "read -P 0 3600G 1M", "a.qcow2")
    assert must_json("info", "a.qcow2")["actual-size"] < 2 * MIB


def case_snapshots():
    if not qcow2():
        return "no qcow2"
    must("create", "a.qcow2", "4M")
    status, _, err = disk("snapshot", "create", "a.qcow2", "zero")
    if status and "no internal snapshots" in err:
        return "qcow2 snapshots are not there"
    assert status == 0, err
    for n in (1, 2, 3):
        peer("qemu-io", "-c", f"write -P {n} {n - 1}M 1M", "a.qcow2")
        must("snapshot", "create", "a.qcow2", f"s{n}")
    assert [s["name"] for s in must_json("snapshot", "list", "a.qcow2")] == ["zero", "s1", "s2",
                                                                             "s3"]
    must("snapshot", "delete", "a.qcow2", "s2")
    must("snapshot", "revert", "a.qcow2", "s1")
    peer("qemu-img", "check", "a.qcow2")
    peer("qemu-io", "-c", "read -P 1 0 1M", "-c", "read -P 0 1M 3M", "a.qcow2")
    must("convert", "-s", "s3", "a.qcow2", "s3.raw")
    assert read_file("s3.raw") == b"".join(bytes([n]) * MIB for n in (1, 2, 3, 0))
    fails(1, "nothing", "snapshot", "delete", "a.qcow2", "nothing")
    must("snapshot", "delete", "a.qcow2", "zero")
    must("snapshot", "delete", "a.qcow2", "s1")
    must("snapshot", "delete", "a.qcow2", "s3")
    assert must_json("snapshot", "list", "a.qcow2") == []
    assert must_json("check", "a.qcow2")["leaks"] == 0


# ---- locks, encryption, bench ------------------------------------------------------------


def case_in_use():
    from disk_test import Server
    write_file("a.raw", content(MIB))
    with Server("-f", "raw", "-t", "-k", "s", "a.raw"):
        fails(1, "in use by process", "resize", "-f", "raw", "a.raw", "2M")
        fails(1, "in use by process", "convert", "a.raw", "b.raw")
        fails(1, "in use by process", "convert", "-U", "a.raw", "a.raw")
        must("convert", "-U", "a.raw", "c.raw")
        assert run("qemu-io", "-f", "raw", "-c", "write 0 512", "a.raw")[0] == 1
    must("convert", "a.raw", "b.raw")


def case_encrypted():
    write_file("key", b"secret\n")
    status, _, err = disk("create", "--encrypt", "--password-file=key", "a.qcow2", "4M")
    if status:
        return err.strip()[:100]
    data = content(4 * MIB)
    write_file("a.raw", data)
    must("convert", "a.raw", "a.qcow2", "--encrypt", "--password-file=key")
    must("convert", "a.qcow2", "b.raw", "--password-file=key")
    assert read_file("b.raw") == data
    write_file("wrong", b"guess")
    assert disk("convert", "a.qcow2", "c.raw", "--password-file=wrong")[0] == 1
    assert not os.path.exists("c.raw")
    return None


def case_pipes_are_not_waited_for():
    os.mkfifo("pipe")
    must("create", "-f", "raw", "base.raw", "1M")
    must("create", "-b", "base.raw", "-F", "raw", "top.qcow2")
    os.remove("base.raw")
    os.mkfifo("base.raw")
    must("create", "--data-file=data.raw", "data.qcow2", "1M")
    os.remove("data.raw")
    os.mkfifo("data.raw")
    for name in "pipe", "top.qcow2", "data.qcow2":
        fails(1, "not a plain file", "map", name, limit=10)
        fails(1, "not a plain file", "convert", name, "-O", "raw", "to.raw", limit=10)
    fails(1, "not a plain file", "info", "/dev/null", limit=10)
    fails(1, "directory", "info", ".", limit=10)


def case_bench():
    must("create", "-f", "raw", "a.raw", "4M")
    assert "Run completed in" in must("bench", "-f", "raw", "a.raw", "-c", "1000", "-d", "8")
    got = must_json("bench", "-f", "raw", "-w", "--pattern=65", "-c", "1024", "-d", "4", "a.raw",
                    "--flush-interval=100")
    assert got["requests"] == 1024 and read_file("a.raw")[:MIB * 3] == b"A" * (3 * MIB)
    must("bench", "-f", "raw", "a.raw", "--random", "--queues=2", "-c", "1001", "-s", "3000")
    fails(2, "larger than the disk", "bench", "-f", "raw", "a.raw", "-s", "5M")
    fails(2, "one byte", "bench", "-f", "raw", "-w", "--pattern=256", "a.raw")
    fails(1, "No such file", "bench", "nothing")


if __name__ == "__main__":
    if not has("qemu-img"):
        print("skip - all: no qemu-img")
        sys.exit(0)
    sys.exit(main(globals()))
