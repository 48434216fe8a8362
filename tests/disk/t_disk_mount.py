#!/usr/bin/env python3
"""t_disk_mount.py: a disk as a file, through FUSE. SPDX-License-Identifier: Apache-2.0"""

import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["TESTS"], "disk"))
sys.dont_write_bytecode = True

from disk_test import (ISOMER, content, disk, fails, has, main, must, peer, read_file, run,
                       wait_for, write_file)

MIB = 1 << 20


class Mount:
    def __init__(self, *argv):
        os.makedirs("m", exist_ok=True)
        self.process = subprocess.Popen([ISOMER, "disk", "mount", "--foreground", *argv, "m"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for(lambda: os.path.exists("m/disk") or self.process.poll() is not None)

    def __enter__(self):
        assert os.path.exists("m/disk"), self.process.stderr.read().decode()
        return self

    def __exit__(self, *_):
        run("fusermount3", "-u", "m")
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(10)
        if sys.exc_info()[0] is None:
            assert status == 0, status


def can_mount():
    write_file("probe.raw", bytes(4096))
    try:
        with Mount("-r", "probe.raw"):
            return True
    except AssertionError:
        return False


def case_read_and_write():
    data = bytearray(content(8 * MIB + 512))
    write_file("a.raw", bytes(data))
    must("convert", "a.raw", "a.qcow2")
    rng = random.Random(4)
    with Mount("a.qcow2"):
        assert os.listdir("m") == ["disk"] and os.path.getsize("m/disk") == len(data)
        assert read_file("m/disk") == bytes(data)
        with open("m/disk", "r+b", buffering=0) as f:
            for _ in range(200):
                off, n = rng.randrange(len(data) - 70000), rng.randrange(1, 70000)
                block = rng.randbytes(n)
                f.seek(off)
                assert f.write(block) == n
                data[off:off + n] = block
            os.fsync(f.fileno())
        assert read_file("m/disk") == bytes(data)
        status, _, err = disk("resize", "a.qcow2", "9M")
        assert status == 1 and "in use by process" in err
    peer("qemu-img", "check", "a.qcow2")
    must("convert", "a.qcow2", "b.raw")
    assert read_file("b.raw") == bytes(data)


def case_what_the_file_cannot():
    write_file("a.raw", bytes(MIB))
    with Mount("-f", "raw", "a.raw"):
        for what in (lambda: os.truncate("m/disk", 5), lambda: open("m/new", "w"),
                     lambda: os.unlink("m/disk"), lambda: os.rename("m/disk", "m/x")):
            try:
                what()
                raise AssertionError("it can")
            except OSError:
                pass
        with open("m/disk", "r+b", buffering=0) as f:
            f.seek(MIB - 10)
            assert f.write(bytes(20)) == 10
            try:
                f.write(b"x")
                raise AssertionError("written behind the end")
            except OSError as e:
                assert e.errno == 28, e


def case_punch():
    write_file("a.raw", b"x" * MIB)
    must("convert", "-f", "raw", "a.raw", "a.qcow2")
    with Mount("a.qcow2"):
        peer("fallocate", "-p", "-o", "65536", "-l", "131072", "m/disk")
        peer("fallocate", "-z", "-n", "-o", "524288", "-l", "4096", "m/disk")
    want = bytearray(b"x" * MIB)
    want[65536:196608] = bytes(131072)
    want[524288:528384] = bytes(4096)
    must("convert", "a.qcow2", "b.raw")
    assert read_file("b.raw") == bytes(want)
    assert any(not e["data"] for e in __import__("json").loads(must("map", "--json", "a.qcow2")))


def case_read_only():
    write_file("a.raw", content(MIB))
    with Mount("-r", "a.raw"):
        assert read_file("m/disk") == read_file("a.raw")
        try:
            open("m/disk", "r+b").close()
            raise AssertionError("it can be written")
        except OSError:
            pass


def case_in_the_background():
    write_file("a.raw", content(MIB))
    os.mkdir("m")
    assert must("mount", "-f", "raw", "a.raw", "m").strip() == "m/disk"
    try:
        with open("m/disk", "r+b") as f:
            f.write(b"hello")
    finally:
        peer("fusermount3", "-u", "m")
    assert wait_for(lambda: disk("resize", "-f", "raw", "a.raw", "2M")[0] == 0)
    assert read_file("a.raw")[:5] == b"hello"


def case_errors():
    write_file("a.raw", bytes(MIB))
    fails(2, "is no folder", "mount", "a.raw", "nowhere")
    os.mkdir("m")
    fails(1, "No such file", "mount", "nothing", "m")
    fails(1, "format raw", "mount", "a.raw", "m")


if __name__ == "__main__":
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or not has("fusermount3") or not can_mount():
        print("skip - all: no FUSE here")
        sys.exit(0)
    sys.exit(main(globals()))
