#!/usr/bin/env python3
"""t_gcc.py: riscv64 gcc makes the same object files as its twin. SPDX-License-Identifier: Apache-2.0

The twin is the cross compiler of the same version in the native root: what it makes of the
same preprocessed file must be the same to the bit. Preprocessing is compared too, with the
riscv64 headers given to both.
"""

import os
import sys

import real

CROSS = "/usr/bin/riscv64-linux-gnu-gcc-14"
OURS = "/usr/bin/riscv64-linux-gnu-gcc-14"
LEVELS = ["-O0", "-O1", "-O2", "-O3", "-Os", "-O2 -fPIC -g0 -ffast-math",
          "-O2 -march=rv64gc_zba_zbb_zbs", "-O3 -funroll-loops -fno-inline"]
OWN = ["src/base/base_util.c", "src/ir/ir_build.c", "src/ir/ir_fold.c", "src/base/base_softfp.c"]


def headers(root):
    """The riscv64 headers, under the name they have for one side."""
    return ["-nostdinc", *(word for place in ("lib/gcc/riscv64-linux-gnu/14/include",
                                             "include/riscv64-linux-gnu", "include")
                           for word in ("-isystem", f"{root}/usr/{place}"))]


def preprocessed(path, flags=()):
    """Text of a C file after the native cross preprocessor with the guest's headers."""
    argv = [CROSS, "-E", "-P", *flags, *headers(real.RISCV), str(path)]
    got = real.Outcome(real.native_command(argv), real.Path.cwd() / "case", {}, b"", {})
    if got.status != 0:
        print(f"not ok - preprocess {path.name}: {real.show(got.err)}")
        return None
    return got.out


def compile_all(sources):
    for path in sources:
        text = preprocessed(path, ["-D_GNU_SOURCE", f"-I{real.TOP}/src", f"-I{real.TOP}/include"])
        if text is None:
            continue
        big = len(text) > 60000
        for level in (["-O2"] if big else LEVELS):
            flags = ["-std=gnu17", "-w", *level.split(), "-c", "x.c", "-o", "x.o"]
            real.same(f"gcc {level} {path.name}", [OURS, *flags], native=[CROSS, *flags],
                      files={"x.c": text})


def driver(folder):
    """Other things a driver does, and what went wrong said in the same words."""
    def both(name, *argv, **more):
        real.same(name, [OURS, *argv], native=[CROSS, *argv], **more)

    for path in sorted(folder.glob("*.c")):
        text = path.read_bytes()
        real.same(f"gcc -E {path.name}", [OURS, "-E", "-P", *headers(""), "x.c"],
                  native=[CROSS, "-E", "-P", *headers(real.RISCV), "x.c"], files={"x.c": text})
    both("gcc -S", "-O2", "-S", "x.c", files={"x.c": "int f(int a) { return a * 10 + 1; }\n"})
    both("gcc -g", "-O1", "-g", "-c", "x.c", "-fdebug-prefix-map=.=.", "-gno-record-gcc-switches",
         files={"x.c": "struct s { int a; char *b; }; int f(struct s *p) { return p->a; }\n"})
    both("gcc error", "-c", "x.c", files={"x.c": "int f( { return y; }\n"}, status=1)
    both("gcc warnings", "-Wall", "-Wextra", "-O2", "-c", "x.c", files={
        "x.c": "int f(int a, unsigned b) { int c; if (a < b) c = 1; return c; }\n"})
    both("gcc no input", "no-such-file.c", status=1)


def programs(folder):
    """Compiled, linked and run by the guest: the output is the native program's."""
    for path in sorted(folder.glob("*.c")):
        text = path.read_bytes()
        script = "gcc -O2 -w -ffp-contract=off x.c -o x -lm && ./x; echo $?; rm -f x"
        real.shell(f"gcc and run {path.name}", script, files={"x.c": text})
        script = "gcc -O1 -w -ffp-contract=off -static x.c -o x -lm && ./x 1+1; echo $?; rm -f x"
        real.shell(f"gcc -static and run {path.name}", script, files={"x.c": text})


def main():
    real.require_roots()
    if not real.enterable():
        print("skip - gcc: the native root cannot be entered here (no namespaces)")
        return 0
    folder = real.Path(os.environ["TESTS"]) / "real/c"
    compile_all(sorted(folder.glob("*.c")))
    compile_all(p for p in (real.TOP / name for name in OWN) if p.exists())
    driver(folder)
    programs(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
