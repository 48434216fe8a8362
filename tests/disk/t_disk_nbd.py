#!/usr/bin/env python3
"""t_disk_nbd.py: the NBD server, against libnbd, QEMU and raw bytes. SPDX-License-Identifier: Apache-2.0"""

import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.environ["TESTS"], "disk"))
sys.dont_write_bytecode = True

from disk_test import (Server, content, disk, fails, has, main, must, must_json, peer, read_file, run,
                       wait_for, write_file)

MIB = 1 << 20
OPT = b"IHAVEOPT"


class Client:
    """The protocol by hand: for what well-behaved clients do not send."""

    def __init__(self, path="s", flags=3):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(10)
        self.s.connect(path)
        assert self.read(18) == b"NBDMAGIC" + OPT + struct.pack(">H", 3)
        self.s.sendall(struct.pack(">I", flags))

    def read(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def option(self, kind, data=b""):
        self.s.sendall(OPT + struct.pack(">II", kind, len(data)) + data)

    def reply(self, kind):
        magic, option, what, n = struct.unpack(">QIII", self.read(20))
        assert magic == 0x3e889045565a9 and option == kind, (hex(magic), option)
        return what, self.read(n)

    def go(self, structured=True, context=False):
        if structured:
            self.option(8)
            assert self.reply(8) == (1, b"")
        if context:
            name = b"base:allocation"
            self.option(10, struct.pack(">III", 0, 1, len(name)) + name)
            assert self.reply(10) == (4, struct.pack(">I", 1) + name)
            assert self.reply(10) == (1, b"")
        self.option(7, struct.pack(">IH", 0, 0))
        what, data = self.reply(7)
        self.size, self.flags = struct.unpack(">QH", data[2:12])
        while what != 1:
            what, data = self.reply(7)
        return self

    def request(self, kind, off=0, n=0, flags=0, data=b"", cookie=7):
        self.s.sendall(struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, off, n) + data)

    def simple(self, n=0):
        magic, error, cookie = struct.unpack(">IIQ", self.read(16))
        assert magic == 0x67446698, hex(magic)
        return error, cookie, self.read(n) if not error else b""

    def chunk(self, last=True):
        magic, flags, kind, cookie, n = struct.unpack(">IHHQI", self.read(20))
        assert magic == 0x668e33ef and flags == last, (hex(magic), flags)
        data = self.read(n)
        return kind, struct.unpack(">I", data[:4])[0] if kind == 32769 else data

    def closed(self):
        try:
            return self.s.recv(1) == b""
        except ConnectionError:
            return True


# ---- peers -------------------------------------------------------------------------------


def case_nbdinfo():
    write_file("a.raw", content(5 * MIB))
    with Server("-t", "-f", "raw", "-k", "s", "a.raw", "-x", "name", "--description", "text") as s:
        assert s.uri == "nbd+unix:///name?socket=s"
        got = json.loads(peer("nbdinfo", "--json", s.uri))
        e = got["exports"][0]
        assert got["protocol"] == "newstyle-fixed" and got["structured"]
        assert e["export-size"] == 5 * MIB and e["can_multi_conn"] and e["can_fua"]
        assert e["contexts"] == ["base:allocation"] and not e["is_read_only"]
        listed = json.loads(peer("nbdinfo", "--json", "--list", "nbd+unix:///?socket=s"))
        assert listed["exports"][0]["export-name"] == "name"
        assert listed["exports"][0]["description"] == "text"
        assert run("nbdinfo", "nbd+unix:///other?socket=s")[0] != 0


def case_nbdcopy_both_ways():
    data = content(20 * MIB + 512, 3)
    write_file("a.raw", data)
    must("create", "b.qcow2", str(len(data)))
    with Server("-t", "-k", "s", "b.qcow2") as s:
        peer("nbdcopy", "--connections=4", "a.raw", s.uri)
        peer("nbdcopy", "--connections=4", "--requests=64", s.uri, "c.raw")
        peer("nbdcopy", "--no-extents", "--request-size=33554432", s.uri, "d.raw")
    assert read_file("c.raw") == data and read_file("d.raw") == data
    peer("qemu-img", "check", "b.qcow2")
    peer("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "a.raw", "b.qcow2")


def case_qemu():
    must("create", "a.qcow2", "64M")
    with Server("-t", "-k", "s", "a.qcow2") as s:
        peer("qemu-io", "-f", "raw", "-c", "write -P 7 1000 700000", "-c", "write -f -P 8 5M 64k",
             "-c", "write -z 100k 100k", "-c", "write -z -u 5M 4k", "-c", "discard 20M 1M",
             "-c", "flush", "-c", "read -P 7 1000 50000", "-c", "read -P 0 100k 100k",
             "-c", "read -P 0 5M 4k", "-c", "read -P 8 5124k 60k", s.uri)
        peer("qemu-img", "convert", "-f", "raw", "-O", "raw", "-m", "16", "-W", s.uri, "c.raw")
        assert "64 MiB" in peer("qemu-img", "info", s.uri)
        extents = json.loads(peer("qemu-img", "map", "--output=json", "-f", "raw", s.uri))
        assert not extents[-1]["data"] and extents[-1]["zero"], extents
    peer("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "c.raw", "a.qcow2")
    peer("qemu-img", "check", "a.qcow2")


def case_extents():
    with open("a.raw", "wb") as f:
        f.truncate(4 * MIB)
        f.seek(MIB)
        f.write(b"x" * MIB)
    with Server("-t", "-f", "raw", "-k", "s", "a.raw") as s:
        got = [(e["offset"], e["length"], e["type"] & 2)
               for e in json.loads(peer("nbdinfo", "--json", "--map", s.uri))]
        assert got == [(0, MIB, 2), (MIB, MIB, 0), (2 * MIB, 2 * MIB, 2)], got


def case_many_clients_write_at_once():
    must("create", "a.qcow2", "32M")
    with Server("-t", "-k", "s", "a.qcow2"):
        def work(n, failed):
            rng = random.Random(n)
            c, want = Client().go(structured=n % 2 == 0), {}
            for i in range(400):
                off = (rng.randrange(8192 // 4) * 4 + n) * 4096
                data = bytes([rng.randrange(1, 256)]) * 4096
                c.request(1, off, 4096, data=data, flags=rng.choice([0, 0, 1]))
                error = c.chunk()[0] if n % 2 == 0 else c.simple()[0]
                if error:
                    failed.append(error)
                want[off] = data
            for off, data in want.items():
                c.request(0, off, 4096)
                got = c.chunk()[1][8:] if n % 2 == 0 else c.simple(4096)[2]
                if got != data:
                    failed.append(off)
            c.request(2)

        failed = []
        threads = [threading.Thread(target=work, args=(n, failed)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed, failed[:5]
    peer("qemu-img", "check", "a.qcow2")


def case_the_last_client_ends_it():
    write_file("a.raw", bytes(MIB))
    s = Server("-f", "raw", "-k", "s", "a.raw")
    peer("nbdinfo", "--size", s.uri)
    assert wait_for(lambda: s.process.poll() == 0), "still running"
    assert not os.path.exists("s")


def case_read_only():
    data = content(MIB)
    write_file("a.raw", data)
    with Server("-t", "-r", "-k", "s", "a.raw") as s:
        assert json.loads(peer("nbdinfo", "--json", s.uri))["exports"][0]["is_read_only"]
        c = Client().go(structured=False)
        assert c.flags & 2
        c.request(1, 0, 512, data=bytes(512))
        assert c.simple()[0] == 1
        c.request(4, 0, 512)
        assert c.simple()[0] == 1
        c.request(0, 0, 512)
        assert c.simple(512) == (0, 7, data[:512])
        c.s.close()
    assert read_file("a.raw") == data


def case_tcp():
    data = content(MIB)
    write_file("a.raw", data)
    with Server("-t", "-f", "raw", "-p", "0", "a.raw") as s:
        assert s.uri.startswith("nbd://127.0.0.1:"), s.uri
        peer("nbdcopy", s.uri, "b.raw")
        port = s.uri.rstrip("/").split(":")[-1]
        fails(1, "Address already in use", "serve", "-r", "-p", port, "a.raw", "-U")
    assert read_file("b.raw") == data


# ---- TLS ---------------------------------------------------------------------------------


def certificates():
    """A certificate authority, a server's and a client's certificate, as libnbd wants them."""
    def openssl(*argv):
        peer("openssl", *argv)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca-key.pem", "-out",
            "ca-cert.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}-key.pem", "-out",
                f"{name}.csr", "-subj", "/CN=localhost")
        write_file("ext", b"subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem",
                "-CAcreateserial", "-out", f"{name}-cert.pem", "-days", "2", "-extfile", "ext")


def case_tls():
    if not has("openssl"):
        return "no openssl"
    data = content(3 * MIB)
    write_file("a.raw", data)
    certificates()
    with Server("-t", "-r", "-p", "0", "a.raw", "--tls-cert=server-cert.pem",
                "--tls-key=server-key.pem", "--tls-ca=ca-cert.pem", "--tls-required") as s:
        assert s.uri.startswith("nbds://"), s.uri
        port = s.uri.rstrip("/").split(":")[-1]
        uri = f"nbds://localhost:{port}/?tls-certificates={os.getcwd()}"
        status, _, err = run("nbdcopy", uri, "b.raw")
        if status and "TLS" in err and "not" in err and "support" in err:
            return "this libnbd has no TLS"
        assert status == 0, err
        assert read_file("b.raw") == data
        assert run("nbdinfo", f"nbd://localhost:{port}")[0] != 0  # without TLS
        os.remove("client-cert.pem")
        assert run("nbdinfo", uri)[0] != 0  # without a certificate


def case_tls_is_asked_for_before_anything_else():
    write_file("a.raw", bytes(MIB))
    certificates()
    with Server("-t", "-r", "-k", "s", "a.raw", "--tls-cert=server-cert.pem",
                "--tls-key=server-key.pem", "--tls-required"):
        c = Client()
        for kind in (3, 6, 7, 8, 9, 10):
            c.option(kind, struct.pack(">IH", 0, 0) if kind in (6, 7) else b"")
            assert c.reply(kind)[0] == 0x80000005, kind
        c.option(1)
        assert c.closed()
        c = Client()  # what comes in clear behind STARTTLS must not count as protected
        c.s.sendall(OPT + struct.pack(">II", 5, 0) + OPT + struct.pack(">II", 3, 0))
        assert c.closed()


def case_tls_arguments():
    write_file("a.raw", bytes(512))
    fails(2, "TLS needs", "serve", "-r", "a.raw", "--tls-cert=x")
    fails(2, "TLS needs", "serve", "-r", "a.raw", "--tls-required")
    fails(1, "TLS: x", "serve", "-r", "a.raw", "--tls-cert=x", "--tls-key=y")


# ---- the protocol, wrong and at its edges ------------------------------------------------


def case_options():
    write_file("a.raw", bytes(MIB))
    with Server("-t", "-f", "raw", "-k", "s", "a.raw", "-x", "e"):
        c = Client()
        c.option(77, b"what")
        assert c.reply(77)[0] == 0x80000001  # unknown
        c.option(5)
        assert c.reply(5)[0] == 0x80000002  # no TLS here
        c.option(3, b"x")
        assert c.reply(3)[0] == 0x80000003
        c.option(10, struct.pack(">II", 0, 0))
        assert c.reply(10)[0] == 0x80000003  # structured replies come first
        c.option(7, struct.pack(">IH", 5, 0))
        assert c.reply(7)[0] == 0x80000003  # the name is longer than the option
        c.option(7, struct.pack(">I", 3) + b"foo" + struct.pack(">H", 0))
        assert c.reply(7)[0] == 0x80000006
        c.option(6, struct.pack(">I", 1) + b"e" + struct.pack(">HHHHH", 4, 1, 2, 3, 99))
        infos = {}
        while True:
            what, data = c.reply(6)
            if what == 1:
                break
            infos[struct.unpack(">H", data[:2])[0]] = data[2:]
        assert infos[1] == b"e" and infos[3] == struct.pack(">III", 1, 4096, 32 << 20)
        assert sorted(infos) == [0, 1, 3], infos
        c.s.sendall(OPT + struct.pack(">II", 9, 20000) + bytes(20000))
        assert c.reply(9)[0] == 0x80000009  # too big, and skipped
        c.option(8)
        assert c.reply(8) == (1, b"")
        c.option(10, struct.pack(">III", 0, 1, 100))
        assert c.reply(10)[0] == 0x80000003
        c.option(9, struct.pack(">II", 0, 0))
        assert c.reply(9) == (4, bytes(4) + b"base:allocation") and c.reply(9) == (1, b"")
        c.option(2)
        assert c.reply(2) == (1, b"") and c.closed()


def case_old_export_name():
    write_file("a.raw", bytes(MIB))
    with Server("-t", "-f", "raw", "-k", "s", "a.raw"):
        c = Client(flags=1)
        c.option(1)
        assert c.read(134) == struct.pack(">QH", MIB, 0x1 | 4 | 8 | 0x20 | 0x40 | 0x100) + bytes(124)
        c.request(0, 0, 16)
        assert c.simple(16) == (0, 7, bytes(16))
        c = Client(flags=3)
        c.option(1, b"other")
        assert c.closed()


def case_wrong_requests():
    write_file("a.raw", bytes(MIB))
    with Server("-t", "-f", "raw", "-k", "s", "a.raw"):
        c = Client().go()
        for kind, off, n, error in ((0, MIB, 1, 22), (0, MIB - 1, 2, 22), (0, 1 << 63, 512, 22),
                                    (0, 0, 0, 22), (0, 0, (32 << 20) + 1, 75), (1, MIB - 1, 2, 28),
                                    (4, MIB, 512, 22), (6, MIB, 512, 28), (7, 0, 512, 22),
                                    (99, 0, 0, 22), (0, (1 << 64) - 1, 1, 22)):
            c.request(kind, off, n, data=bytes(n) if kind == 1 else b"")
            assert c.chunk() == (32769, error), (kind, off, n)
        c.request(3)
        assert c.chunk() == (0, b"")
        c.s.sendall(b"\0" * 28)  # no magic
        assert c.closed()
        for bad in (b"", b"x" * 3, b"GET / HTTP/1.1\r\n\r\n" * 4, OPT + struct.pack(">II", 7, 1 << 31)):
            c = Client()
            c.s.sendall(bad)
            c.s.shutdown(socket.SHUT_WR)
            while c.s.recv(4096):
                pass
        c = Client(flags=0xff)
        assert c.closed()
        Client().go().request(0, 0, 512)  # the server lives


def case_block_status():
    must("create", "a.qcow2", "64M")
    peer("qemu-io", "-c", "write 1M 64k", "-c", "write 3M 64k", "a.qcow2")
    with Server("-t", "-k", "s", "a.qcow2"):
        c = Client().go(context=True)
        c.request(7, 0, 64 * MIB)
        kind, data = c.chunk()
        extents = struct.unpack(f">{len(data) // 4 - 1}I", data[4:])
        assert kind == 5 and data[:4] == struct.pack(">I", 1)
        assert extents == (MIB, 3, 65536, 0, 2 * MIB - 65536, 3, 65536, 0, 61 * MIB - 65536, 3), extents
        c.request(7, 0, 64 * MIB, flags=8)
        assert c.chunk() == (5, struct.pack(">III", 1, MIB, 3))


def case_dirty_bitmaps():
    """A context for each; they change while they are served."""
    must("create", "a.qcow2", "64M")
    for name in ("one", "two"):
        must("bitmap", "add", "-g", "4K", "a.qcow2", name)
    must("bitmap", "disable", "a.qcow2", "two")
    with Server("-t", "-k", "s", "a.qcow2") as server:
        c = Client()
        c.option(8)
        assert c.reply(8) == (1, b"")
        for query, n in ((b"qemu:", 2), (b"qemu:dirty-bitmap:", 2), (b"qemu:dirty-bitmap:one", 1),
                         (b"qemu:dirty", 0), (b"qemu:dirty-bitmap:on", 0), (b"base:", 1)):
            c.option(9, struct.pack(">III", 0, 1, len(query)) + query)
            for _ in range(n):
                assert c.reply(9)[0] == 4, query
            assert c.reply(9) == (1, b""), query
        names = [b"base:allocation", b"qemu:dirty-bitmap:one", b"qemu:dirty-bitmap:two"]
        c.option(10, struct.pack(">II", 0, 3)
                 + b"".join(struct.pack(">I", len(n)) + n for n in reversed(names)))
        for i, name in enumerate(names):
            assert c.reply(10) == (4, struct.pack(">I", i + 1) + name)
        assert c.reply(10) == (1, b"")
        c.go(structured=False)
        c.request(1, MIB, 5000, data=bytes(5000))
        assert c.chunk() == (0, b"")
        c.request(7, 0, 4 * MIB)
        want = [(MIB, 3, 65536, 0, 3 * MIB - 65536, 3), (MIB, 0, 8192, 1, 3 * MIB - 8192, 0),
                (4 * MIB, 0)]
        for i, extents in enumerate(want):
            kind, data = c.chunk(last=i == 2)
            assert (kind, data) == (5, struct.pack(f">{len(extents) + 1}I", i + 1, *extents)), i
        c.request(7, MIB + 100, 4 * MIB, flags=8)
        for i in range(3):
            kind, data = c.chunk(last=i == 2)
            assert len(data) == 12, (i, data)
        assert data[4:8] == struct.pack(">I", 4 * MIB)
        c.request(2)
        got = json.loads(peer("nbdinfo", "--json", "--map=qemu:dirty-bitmap:one", server.uri))
        assert [(e["offset"], e["length"], e["type"]) for e in got] == \
            [(0, MIB, 0), (MIB, 8192, 1), (MIB + 8192, 63 * MIB - 8192, 0)], got
    got = must_json("bitmap", "list", "a.qcow2")
    assert [(b["name"], b["dirty-bytes"], b["in-use"]) for b in got] == \
        [("one", 8192, False), ("two", 0, False)], got


def case_many_in_flight():
    data = content(16 * MIB, 5)
    write_file("a.raw", data)
    with Server("-t", "-f", "raw", "-k", "s", "a.raw"):
        c = Client().go(structured=False)
        rng = random.Random(1)
        asked = [(n, rng.randrange(15 * MIB), rng.choice([512, 4096, 100000])) for n in range(2000)]
        sender = threading.Thread(target=lambda: [c.request(0, off, n, cookie=i)
                                                  for i, off, n in asked])
        sender.start()
        left = {i: (off, n) for i, off, n in asked}
        while left:
            magic, error, cookie = struct.unpack(">IIQ", c.read(16))
            off, n = left.pop(cookie)
            assert not error and c.read(n) == data[off:off + n]
        sender.join()


def case_a_client_that_vanishes():
    write_file("a.raw", bytes(4 * MIB))
    with Server("-t", "-f", "raw", "-k", "s", "a.raw"):
        for n in range(20):
            c = Client().go()
            c.request(1, 0, MIB, data=bytes(1000 * n))  # less than announced
            c.request(0, 0, MIB)
            c.s.close()
        c = Client().go()
        c.request(0, 0, 512)
        assert c.chunk() == (1, bytes(8) + bytes(512))


def case_a_socket_left_behind():
    write_file("a.raw", bytes(MIB))
    s = Server("-t", "-f", "raw", "-k", "s", "a.raw")
    status, _, err = disk("serve", "-r", "-U", "-k", "s", "a.raw")
    assert status == 1 and "in use" in err, err
    s.process.kill()
    s.process.wait()
    assert os.path.exists("s")
    with Server("-t", "-f", "raw", "-k", "s", "a.raw") as s:
        peer("nbdinfo", "--size", s.uri)
    write_file("f", b"file")
    fails(1, "f: ", "serve", "-r", "-k", "f", "a.raw")
    assert read_file("f") == b"file"


def case_arguments():
    write_file("a.raw", bytes(MIB))
    fails(2, "is not a port", "serve", "-r", "-p", "70000", "a.raw")
    fails(2, "is not a port", "serve", "-r", "-p", "x", "a.raw")
    fails(2, "characters", "serve", "-r", "a.raw", "-x", "n" * 5000)
    fails(2, "at most", "serve", "-r", "a.raw", "-e", "100000")
    fails(1, "at most 107", "serve", "-r", "a.raw", "-k", "n" * 200)
    fails(1, "format raw", "serve", "a.raw", "-k", "s")


def case_a_snapshot():
    must("create", "a.qcow2", "4M")
    if disk("snapshot", "create", "a.qcow2", "one")[0]:
        return "qcow2 snapshots are not there"
    peer("qemu-io", "-c", "write -P 3 0 1M", "a.qcow2")
    with Server("-t", "-s", "one", "-k", "s", "a.qcow2") as s:
        peer("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 4M", s.uri)
    return None


if __name__ == "__main__":
    if not has("nbdinfo") or not has("qemu-io"):
        print("skip - all: no nbdinfo or qemu-io")
        sys.exit(0)
    sys.exit(main(globals()))
