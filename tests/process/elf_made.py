"""elf_made.py: small ELF files, good and hostile. SPDX-License-Identifier: Apache-2.0

CASES maps a name to (file, what must happen): an exit status of the program, or a part of the
error line. `python3 elf_made.py FOLDER` writes them all: the corpus of the ELF fuzzer."""

import struct
import sys
from pathlib import Path

RISCV = 243
LOAD, DYNAMIC, INTERP, STACK = 1, 2, 3, 0x6474E551
X, W, R = 1, 2, 4
PAGE = 4096
BASE = 0x10000
TOP = 1 << 38


def insns(*words):
    return b"".join(struct.pack("<I", w) for w in words)


def li(reg, value):
    """addi reg, zero, value"""
    return 0x13 | reg << 7 | (value & 0xFFF) << 20


ECALL = 0x73
EXIT42 = insns(li(10, 42), li(17, 93), ECALL)


def phdr(kind, flags, offset, vaddr, filesz, memsz=None, align=PAGE):
    return struct.pack("<IIQQQQQQ", kind, flags, offset, vaddr, vaddr, filesz,
                       filesz if memsz is None else memsz, align)


def elf(phdrs, code=EXIT42, entry=None, kind=2, machine=RISCV, flags=5, phoff=64, phentsize=56,
        phnum=None, cls=2, data=1, version=1, magic=b"\x7fELF", at=0x200, size=None, base=BASE):
    """A file with its program headers behind the header and code at offset `at`."""
    head = magic + bytes([cls, data, version]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, base + at if entry is None else entry,
                        phoff, 0, flags, 64, phentsize, len(phdrs) if phnum is None else phnum,
                        0, 0, 0)
    body = head + b"".join(phdrs)
    body = body.ljust(at, b"\0") + code
    return body if size is None else body[:size].ljust(size, b"\0")


def text(filesz=0x200 + len(EXIT42), **kw):
    return phdr(LOAD, R | X, 0, BASE, filesz, **kw)


def data_bss():
    """Exit status 42 if the bss behind the data is zero, in its page and beyond."""
    code = insns(0x00020537, 0x22850513,  # lui a0, 0x20; addi a0, a0, 0x228: the end of the data
                 0x00053583, 0x00001637, 0x00C50533, 0x00053603,  # ld a1; a0 += 0x1000; ld a2
                 0x00C5E533, 0x02A50513, li(17, 93), ECALL)  # a0 = (a1 | a2) + 42
    n = len(code)
    return elf([text(filesz=0x200 + n), phdr(LOAD, R | W, 0x200, 0x20200, n, 0x3000)], code)


def interp(path, **kw):
    path = path + b"\0"
    return elf([phdr(INTERP, R, 0x200, BASE + 0x200, len(path), align=1), text(filesz=0x300)],
               path.ljust(0x100, b"\0") + EXIT42, entry=BASE + 0x300, **kw)


U64 = (1 << 64) - 1
CASES = {
    "good": (elf([text()]), 42),
    "good-dyn": (elf([phdr(LOAD, R | X, 0, 0, 0x200 + len(EXIT42))], kind=3, entry=0x200), 42),
    "good-bss": (data_bss(), 42),
    "good-dyn-aligned": (elf([phdr(LOAD, R | X, 0, 0, 0x200 + len(EXIT42), align=1 << 21)], kind=3,
                             entry=0x200), 42),
    "good-empty-segment": (elf([text(), phdr(LOAD, R | W, 0, 0x30000, 0, 0)]), 42),
    "good-anonymous-segment": (elf([text(), phdr(LOAD, R | W, 0, 0x30000, 0, 0x5000)]), 42),
    "good-stack-header": (elf([text(), phdr(STACK, R | W | X, 0, 0, 0, 0)]), 42),
    "empty": (b"", "neither an ELF"),
    "text": (b"hello, this is no program\n", "neither an ELF"),
    "magic-only": (b"\x7fELF", "ELF"),
    "half-header": (elf([text()])[:40], "truncated"),
    "header-only": (elf([text()])[:64], "truncated"),
    "class-32": (elf([text()], cls=1), "RISC-V 32"),
    "big-endian": (elf([text()], data=2), "no riscv64 program"),
    "x86": (elf([text()], machine=62, cls=2), None),
    "aarch64": (elf([text()], machine=183), "AArch64"),
    "unknown-machine": (elf([text()], machine=9999), "unknown machine"),
    "object-file": (elf([text()], kind=1), "program"),
    "core-file": (elf([text()], kind=4), "program"),
    "version": (elf([text()], version=7), "version"),
    "rve": (elf([text()], flags=8), "RV64E"),
    "phentsize": (elf([text()], phentsize=32), "program headers"),
    "no-phdrs": (elf([]), "no program headers"),
    "phnum-huge": (elf([text()], phnum=0xFFFF), "too many"),
    "phoff-beyond": (elf([text()], phoff=1 << 40), "truncated"),
    "phoff-wraps": (elf([text()], phoff=U64 - 8), "truncated"),
    "phoff-odd": (elf([text()], phoff=65), "misaligned"),
    "nothing-to-load": (elf([phdr(STACK, R | W, 0, 0, 0, 0)]), "nothing to load"),
    "all-empty": (elf([phdr(LOAD, R, 0, BASE, 0, 0)]), "nothing to load"),
    "entry-outside": (elf([text()], entry=1 << 40), "entry point"),
    "segment-beyond-file": (elf([text(filesz=0x10000)]), "truncated"),
    "segment-offset-wraps": (elf([phdr(LOAD, R, U64 - 0xFFF, BASE, 0x2000)]), "truncated"),
    "filesz-over-memsz": (elf([text(filesz=0x100, memsz=0x80)]), "larger in the file"),
    "vaddr-wraps": (elf([phdr(LOAD, R | W, 0, U64 - 0xFFF, 0, 0x2000)]), "outside"),
    "memsz-wraps": (elf([text(memsz=U64)]), "outside"),
    "segment-over-us": (elf([phdr(LOAD, R | W, 0, 0x7FFFF0000000, 0, 0x1000)]), "outside"),
    "segment-at-border": (elf([phdr(LOAD, R | W, 0, TOP - 0x1000, 0, 0x1001)]), "outside"),
    "span-huge": (elf([text(), phdr(LOAD, R | W, 0, TOP - 0x2000, 0, 0x1000)]), "too far apart"),
    "bss-huge": (elf([text(memsz=(1 << 37) + 1)]), "too far apart"),
    "overlap": (elf([text(memsz=0x3000), phdr(LOAD, R | W, 0, BASE + 0x2000, 0, 0x1000)]),
                "overlap"),
    "out-of-order": (elf([phdr(LOAD, R | W, 0, 0x40000, 0, 0x1000), text()]), "overlap"),
    "incongruent": (elf([phdr(LOAD, R | X, 0x100, BASE, 0x80)]), "disagree"),
    "align-odd": (elf([text(align=0x3000)]), "power of two"),
    "align-huge": (elf([text(align=1 << 62)]), "alignment"),
    "many-segments": (elf([phdr(LOAD, R, 0, BASE + i * PAGE, 0, 16) for i in range(100)], at=0x2000),
                      "too many segments"),
    "page-zero": (elf([phdr(LOAD, R | X, 0, 0, 0x200)], entry=0x200, base=0), "no memory at 0x0"),
    "interp-missing": (interp(b"/no/such/ld.so"), "/no/such/ld.so"),
    "interp-empty": (interp(b""), "interpreter"),
    "interp-long": (elf([phdr(INTERP, R, 0x200, BASE, 5000), text()], bytes(5000)), "too long"),
    "interp-unterminated": (elf([phdr(INTERP, R, 0x200, BASE, 4), text()]), "not a string"),
    "interp-beyond": (elf([phdr(INTERP, R, 1 << 40, BASE, 40), text()]), "truncated"),
    "interp-is-text": (interp(b"/etc/passwd"), "not a riscv64 program"),
    "interp-is-native": (interp(b"/bin/sh"), "not a riscv64 program"),
    "interp-is-folder": (interp(b"/tmp"), "dynamic linker"),
    "script-empty": (b"#!\n", "names no interpreter"),
    "script-spaces": (b"#!   \t \n", "names no interpreter"),
    "script-missing": (b"#!/no/such/interpreter -x\n", "/no/such/interpreter"),
    "script-long": (b"#!/" + b"a" * 300 + b"\n", "names no interpreter"),
}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for name, (data, _) in CASES.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
