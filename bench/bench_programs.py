"""bench_programs.py: real programs with fixed work. SPDX-License-Identifier: Apache-2.0

The programs are Debian's, the same version for both machines (tools/riscv-root.sh); the
compilers are one gcc, native as a cross compiler, so that their output must be the same
byte for byte. Input is made here and is the same every time.
"""

import platform
import random
import shutil
import subprocess
import sys

from bench_measure import BENCH, TOP, WORK, build, compile_to, newer

TRIPLET = "riscv64-linux-gnu"
GCC = "14"
THIRD = 1 / 3  # "at least three times faster than QEMU"

PYTHON = """
import json, re
def work(n):
    table = {}
    for i in range(n):
        key = 'k%d' % (i * 7919 % 1009)
        table.setdefault(key, []).append(i)
    text = json.dumps(table, sort_keys=True)
    words = re.findall(r'k[0-9]+', text)
    grid = [[(i * j) % 7 for j in range(60)] for i in range(60)]
    total = sum(sum(row) for row in zip(*grid))
    return len(text), len(words), total, sum(len(v) for v in json.loads(text).values())
class Node:
    def __init__(self, depth):
        self.left = Node(depth - 1) if depth else None
        self.right = Node(depth - 1) if depth else None
    def check(self):
        return 1 + (self.left.check() + self.right.check() if self.left else 0)
print(work(@1), Node(@2).check(), sum(x * x for x in range(@3)) % 1000003)
"""

LUA = """
local n = @1
local t, s = {}, 0
for i = 1, n do t[i] = (i * 7919) % 10007 end
table.sort(t)
for i = 1, n do s = (s * 31 + t[i]) % 1000000007 end
local words = {}
for i = 1, n // 4 do words[#words + 1] = string.format('%05d-%x', i, i * i) end
local text = table.concat(words, ' ')
local count = 0
for w in text:gmatch('%x+%-f') do count = count + #w end
local function fib(k) return k < 2 and k or fib(k - 1) + fib(k - 2) end
local x = 0.0
for i = 1, n * 4 do x = x + 1 / (i * i) end
print(s, #text, count, fib(@2), string.format('%.9f', x))
"""

SQL = """
create table t(id integer primary key, a integer, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < @1)
    insert into t select i, i * 7919 % 10007, 'row ' || (i * 31 % 997), i / 7.0 from n;
create index t_a on t(a);
create index t_b on t(b, a);
select count(*), sum(a), round(sum(c), 3) from t where b like 'row 1%';
select b, count(*), max(a) from t group by b order by 3 desc, 1 limit 5;
select count(*) from t x join t y on x.a = y.id where x.id % 5 = 0;
update t set c = c + a where id % 3 = 0;
delete from t where a < 500;
select count(*), round(sum(c), 3), min(b), max(b) from t;
"""

# A number of 2048 bits for openssl's prime test: all its work is big-number arithmetic.
PRIME_HEX = ("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E34"
             "04DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6"
             "F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A6916"
             "3FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C"
             "32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA95"
             "6AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF")

HELLO = '#include <stdio.h>\nint main(void)\n{\n    puts("hello");\n    return 0;\n}\n'


def fill(text, *values):
    """Puts values in the places of @1, @2, ..."""
    for i, value in enumerate(values, 1):
        text = text.replace(f"@{i}", str(value))
    return text


def make_input(path, size):
    """Text with repetitions and some noise, as logs and sources have."""
    if path.exists() and path.stat().st_size == size:
        return
    r = random.Random(2)
    words = ["".join(r.choices("abcdefghijklmnopqrstuvwxyz", k=r.randint(2, 10)))
             for _ in range(3000)]
    weights = [1 / (i + 3) for i in range(len(words))]
    parts, have = [], 0
    while have < size:
        line = " ".join(r.choices(words, weights, k=r.randint(4, 14)))
        if r.random() < 0.2:
            line += f" {r.getrandbits(64):x}"
        parts.append(line + "\n")
        have += len(parts[-1])
    path.write_bytes("".join(parts).encode()[:size])


class Case:
    """One program with its arguments; machines differ in what `variant` puts in place."""

    def __init__(self, name, program, args, **more):
        self.name = name
        self.program = program            # path in a root, or an absolute path by machine
        self.args = args                  # list, or function of the variant
        self.mean_of = more.get("mean_of", 0)        # start-up: mean of so many runs
        self.few = more.get("few", False)            # long: at most three runs
        self.output_file = more.get("output_file")   # compared besides standard output
        self.children = more.get("children", False)  # starts other guest programs
        self.by_machine = more.get("by_machine")     # (native, guest) programs that differ
        self.env = more.get("env", lambda variant: {})
        self.own = more.get("own", False)            # programs are paths of this machine
        self.stats = more.get("stats", False)        # a case for the cost of translation
        self.target = more.get("target")             # (kind, limit) of the goals


class Programs:
    """Prepares inputs, wrappers and the list of cases."""

    def __init__(self, roots, quick):
        self.roots = roots
        self.quick = quick
        self.data = WORK / "data"
        self.data.mkdir(parents=True, exist_ok=True)

    def size(self, full, quick):
        return quick if self.quick else full

    def prepare(self):
        data = self.data
        make_input(data / "text", 4 << 20)
        make_input(data / "medium", 2 << 20)
        make_input(data / "small", 1 << 20)
        with open(data / "blob", "wb") as f:
            text = (data / "text").read_bytes()
            for _ in range(self.size(16, 2)):
                f.write(text)
        generator = BENCH / "bench_gen_c.py"
        for name, lines in (("big.c", 8500), ("mid.c", 3000)):
            target = data / name
            if not newer(target, generator):
                with open(target, "w") as f:
                    subprocess.run([sys.executable, generator, str(lines)], stdout=f, check=True)
        hello = data / "hello.c"
        if not hello.exists():
            hello.write_text(HELLO)
        for name, compiler in (("native", "gcc"), ("riscv64", f"{TRIPLET}-gcc")):
            for kind, flag in (("static", ["-static"]), ("dynamic", [])):
                target = data / f"hello-{kind}.{name}"
                if not newer(target, hello):
                    compile_to(target, [compiler, "-O2", *flag, hello])
        native = [TOP / "tools/native.sh", "--root", self.roots["native"]]
        for command in (["xz", "-6", "-k", "-f"], ["zstd", "-q", "-9", "-k", "-f"]):
            packed = data / {"xz": "text.xz", "zstd": "text.zst"}[command[0]]
            if not newer(packed, data / "text"):
                build([*native, *command, data / "text"], packed.name)

    def wrappers(self, machine):
        """A directory of stand-ins for an emulator that cannot start children."""
        root = self.roots["riscv64"]
        where = WORK / f"wrap-{machine.name}"
        template = where / ".wrap"
        source = BENCH / "bench_wrap.c"
        if newer(template, source):
            return where
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        build(["gcc", "-O2", "-static", f'-DEMULATOR="{machine.command[0]}"', f'-DROOT="{root}"',
               "-o", template, source], "bench_wrap.c")
        compilers = root / f"usr/libexec/gcc/{TRIPLET}/{GCC}"
        found = list((root / "usr/bin").iterdir())
        found += [compilers / name for name in ("cc1", "collect2", "lto-wrapper")]
        for program in found:
            wrapper = where / program.name
            if program.resolve().is_file() and not wrapper.exists():
                wrapper.hardlink_to(template)
                (where / f"{program.name}.to").symlink_to(program)
        return where

    def cases(self):
        data, size = self.data, self.size
        script = data / "loop.sh"
        shutil.copy(BENCH / "bench_loop.sh", script)
        cc1_flags = ["-quiet", "-O2", "-march=rv64gc", "-mabi=lp64d"]
        cross = f"/usr/libexec/gcc-cross/{TRIPLET}/{GCC}/cc1"

        def loop_env(variant):
            cc = {"native": f"{TRIPLET}-gcc-{GCC}", "wrapped": f"gcc -B{variant.wrap}/"}
            path = f"{variant.wrap}:/usr/bin" if variant.wrap else "/usr/bin"
            machine = platform.machine() if variant.kind == "native" else "riscv64"
            return {"CC": cc.get(variant.kind, "gcc"), "PATH": path, "MACHINE": machine}

        def gcc_args(variant):
            b = [f"-B{variant.wrap}/"] if variant.wrap else []
            return [*b, "-O2", "-c", str(data / "mid.c"), "-o", "mid.o"]

        return [
            Case("hello static", "hello-static", [], own=True, mean_of=20, target=("ms", 3)),
            Case("hello dynamic", "hello-dynamic", [], own=True, mean_of=20, target=("ms", 8)),
            Case("python3 -c pass", "/usr/bin/python3", ["-c", "pass"], mean_of=10,
                 target=("ms", 100)),
            Case("openssl sha256", "/usr/bin/openssl", ["dgst", "-sha256", str(data / "blob")],
                 target=("qemu", THIRD)),
            Case("openssl pbkdf2", "/usr/bin/openssl",
                 ["kdf", "-keylen", "32", "-kdfopt", "digest:SHA512", "-kdfopt", "pass:secret",
                  "-kdfopt", "salt:pepper", "-kdfopt", f"iter:{size(400000, 50000)}", "PBKDF2"],
                 target=("qemu", THIRD)),
            Case("openssl prime", "/usr/bin/openssl",
                 ["prime", "-hex", "-checks", str(size(64, 8)), PRIME_HEX],
                 target=("qemu", THIRD)),
            Case("xz -6", "/usr/bin/xz",
                 ["-T1", "-6", "-c", str(data / size("medium", "small"))], few=True,
                 target=("qemu", THIRD)),
            Case("xz -d", "/usr/bin/xz", ["-d", "-T1", "-c", str(data / "text.xz")],
                 target=("qemu", THIRD)),
            Case("zstd -12", "/usr/bin/zstd",
                 ["-q", "-12", "--single-thread", "-c",
                  str(data / size("text", "small"))], target=("qemu", THIRD)),
            Case("zstd -d", "/usr/bin/zstd", ["-q", "-d", "-c", str(data / "text.zst")],
                 target=("qemu", THIRD)),
            Case("sqlite3", "/usr/bin/sqlite3", [":memory:", fill(SQL, size(60000, 10000))],
                 target=("qemu", THIRD)),
            Case("python3", "/usr/bin/python3",
                 ["-c", fill(PYTHON, size(60000, 10000), size(14, 11), size(800000, 100000))],
                 target=("qemu", THIRD)),
            Case("lua", "/usr/bin/lua", ["-e", fill(LUA, size(150000, 30000), size(27, 22))],
                 target=("ratio", 3.5)),
            Case(f"cc1 -O2, {size(8500, 3000)} lines", f"/usr/libexec/gcc/{TRIPLET}/{GCC}/cc1",
                 [*cc1_flags, str(data / size("big.c", "mid.c")), "-o", "out.s"],
                 by_machine=cross, output_file="out.s", few=True, stats=True,
                 target=("ratio", 4)),
            Case("gcc -O2 -c, 3000 lines", "/usr/bin/gcc", gcc_args, children=True, few=True,
                 by_machine=f"/usr/bin/{TRIPLET}-gcc-{GCC}", output_file="mid.o"),
            Case("configure-like loop", "/usr/bin/sh",
                 [str(script), ".", str(size(20, 10))], children=True, few=True, env=loop_env,
                 target=("ratio", 6)),
        ]


class Variant:
    """How a case runs on one machine: what its arguments and environment depend on."""

    def __init__(self, machine, wrap):
        self.kind = "native" if machine.is_native else "wrapped" if wrap else "guest"
        self.wrap = wrap


def command_of(case, machine, programs):
    """(argv, native root or None, environment) of a case on a machine."""
    roots = programs.roots
    wrap = None
    if case.children and not machine.starts_children:
        wrap = programs.wrappers(machine)
    variant = Variant(machine, wrap)
    args = case.args(variant) if callable(case.args) else case.args
    env = case.env(variant)
    if case.own:
        suffix = "native" if machine.is_native else "riscv64"
        program = programs.data / f"{case.program}.{suffix}"
        dynamic = "dynamic" in case.program
        root = roots["riscv64"] if dynamic else None
        native_root = roots["native"] if dynamic and machine.is_native else None
        return machine.argv(program, args, root), native_root, env
    if machine.is_native:
        return machine.argv(case.by_machine or case.program, args), roots["native"], env
    root = roots["riscv64"]
    return machine.argv(f"{root}{case.program}", args, root), None, env
