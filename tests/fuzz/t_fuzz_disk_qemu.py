#!/usr/bin/env python3
"""t_fuzz_disk_qemu.py: does qemu-img check agree on damaged images? SPDX-License-Identifier: Apache-2.0

Images that t_fuzz_disk makes are written to a file, and both checks say "clean" (leaks are no
damage), "damaged", or refuse the image. What differs must be one of the known differences:
 - qemu-img calls an entry without the flag COPIED damage where its refcount is one; here it is a
   leak, since it costs a copy and nothing else;
 - qemu-img takes a table's entry that has flags but no place for one that names the header;
 - entries of a data file that name another place than their own, and data that lies in metadata
   whose refcount says two, are damage here and nothing to qemu-img.
The long form only; SEEDS images from FUZZ_SEED (1) on.
"""

import os
import subprocess
import sys

ISOMER = os.environ["ISOMER"]
FUZZER = os.path.join(os.environ["BUILD"], "tests/fuzz/t_fuzz_disk")
SEEDS = int(os.environ.get("FUZZ_RUNS", "3000"))
FIRST = int(os.environ.get("FUZZ_SEED", "1"))
LIMIT = 30


def run(*argv):
    done = subprocess.run(argv, capture_output=True, timeout=LIMIT)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def write_image(text, path):
    """The image that a text of the corpus tells; False if not all of it is there, or no qcow2."""
    image = bytearray()
    with open(text) as f:
        for line in f:
            words = line.split()
            if words[0] == "base":
                return False
            if words[0] == "size":
                size = int(words[1], 16)
                image = (image + bytes(size))[:size]
            elif words[0].startswith("0x"):
                at, data = int(words[0], 16), bytes.fromhex(words[1])
                image[at:at + len(data)] = data
    with open(path, "wb") as f:
        f.write(image)
    return image[:4] == b"QFI\xfb"


def by_qemu():
    status, out = run("qemu-img", "check", "-f", "qcow2", "image")
    return {0: "clean", 3: "clean", 2: "damaged"}.get(status, "refused"), out


def by_isomer():
    status, out = run(ISOMER, "disk", "check", "-f", "qcow2", "image")
    if "DAMAGED" in out:
        return "damaged", out
    return ("clean" if "no errors" in out else "refused"), out


def known(qemu, ours):
    """Is that difference one of those above?"""
    if qemu[0] == "damaged" and ours[0] == "clean":
        errors = [line for line in qemu[1].split("\n") if line.startswith("ERROR")]
        flags = all("OFLAG_COPIED" in line for line in errors)
        return flags or "offset 0x" in qemu[1]
    return qemu[0] == "clean" and ours[0] == "damaged" and (
        "names another cluster's place" in ours[1] or "metadata" in ours[1])


def others():
    """What images name."""
    for name, size in ("base.raw", 96 << 10), ("data.raw", 500 << 10):
        with open(name, "wb") as f:
            f.truncate(size)
    run(ISOMER, "disk", "create", "base.qcow2", "120K")


def main():
    counts, differences = {}, []
    others()
    for seed in range(FIRST, FIRST + SEEDS):
        run(FUZZER, "save", str(seed), "text")
        if not write_image("text", "image"):
            continue
        qemu, ours = by_qemu(), by_isomer()
        counts[qemu[0], ours[0]] = counts.get((qemu[0], ours[0]), 0) + 1
        if "refused" in (qemu[0], ours[0]) or qemu[0] == ours[0] or known(qemu, ours):
            continue
        differences.append(seed)
        print(f"not ok - t_fuzz_disk seed {seed}: qemu-img: {qemu[0]}, here {ours[0]}")
        print(f"# {qemu[1][:200]!r}\n# {ours[1][:200]!r}")
    for pair, n in sorted(counts.items()):
        print(f"# qemu-img {pair[0]}, here {pair[1]}: {n}")
    if not differences:
        print(f"ok - {sum(counts.values())} images, made from seed {FIRST} on")
    return bool(differences)


if __name__ == "__main__":
    if run("sh", "-c", "command -v qemu-img")[0]:
        print("skip - no qemu-img")
        sys.exit(0)
    sys.exit(main())
