"""bench_os.py: the operating system's side. SPDX-License-Identifier: Apache-2.0

os/o_NAME.c are small programs that time themselves (os/os.h): system calls, signals,
processes, threads, and how threads scale. Their second line says

    /* bench: group=GROUP [starts=yes] n=N quick=N tiny=N */

Beside them, where `tools/riscv-root.sh --set long` was run, node, java and go, and a parallel
make of a C project whose compilers are all emulated.
"""

import platform
import re
import subprocess
import sys

import bench_programs
from bench_measure import (BENCH, TOP, WORK, BenchError, build, compile_to, find_roots, newer,
                           warn)
from bench_report import Goal, Result, number, table

TRIPLET, GCC = bench_programs.TRIPLET, bench_programs.GCC
SOURCES = BENCH / "os"
MADE = WORK / "os"
BATCHES = 10
# Relative to native, CPU time.
NATIVE_GOALS = {"syscalls": 1.3, "signals": 3.0}
# Relative to QEMU.
QEMU_GOALS = {"languages": 0.5, "build": 1 / 3}
# How often native's speed-up by 2 or 4 threads may be the emulator's: 1 and what measuring
# twice differs by.
SCALING_GOAL = 1.2
UNITS = {"syscalls": ("ns", 1e9), "signals": ("ns", 1e9), "processes": ("us", 1e6),
         "threads": ("us", 1e6), "scaling": ("ns", 1e9), "languages": ("ms", 1e3),
         "build": ("ms", 1e3)}

GO_HELLO = 'package main\n\nfunc main() { println("hello") }\n'
GO_JOB = r"""package main

import (
    "fmt"
    "sort"
    "strings"
    "sync"
)

type node struct{ l, r *node }

func tree(d int) *node {
    if d == 0 {
        return &node{}
    }
    return &node{tree(d - 1), tree(d - 1)}
}

func (n *node) count() int {
    if n.l == nil {
        return 1
    }
    return 1 + n.l.count() + n.r.count()
}

func main() {
    ch := make(chan int, 16)
    var wg sync.WaitGroup
    for i := 0; i < 500; i++ {
        wg.Add(1)
        go func(i int) { defer wg.Done(); ch <- i * i }(i)
    }
    go func() { wg.Wait(); close(ch) }()
    sum := 0
    for v := range ch {
        sum += v
    }
    m := map[string]int{}
    for i := 0; i < 100000; i++ {
        m[fmt.Sprint(i%1000)] += i
    }
    var words []string
    for k := range m {
        words = append(words, k)
    }
    sort.Strings(words)
    nodes := 0
    for i := 0; i < 4; i++ {
        nodes += tree(15).count()
    }
    fmt.Println(sum, nodes, len(strings.Join(words, ",")))
}
"""
NODE_JOB = """
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
const m = new Map();
for (let i = 0; i < 200000; i++) m.set('k' + i % 1000, i);
const a = Array.from({ length: 50000 }, (_, i) => (i * 7919) % 50021).sort((x, y) => x - y);
const text = JSON.stringify(a), words = text.match(/[0-9]+7/g).length;
console.log(fib(25), m.size, words, JSON.parse(text).length);
"""
JAVA_HELLO = """public class Hello {
    public static void main(String[] args) { System.out.println("hello"); }
}
"""
JAVA_JOB = """import java.util.*;
import java.util.concurrent.*;

public class Job {
    static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
    public static void main(String[] args) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(2);
        List<Future<Long>> all = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            final int k = i;
            all.add(pool.submit(() -> {
                long s = fib(22);
                Map<String, Integer> m = new TreeMap<>();
                for (int j = 0; j < 30000; j++) m.merge("k" + j * k % 1000, j, Integer::sum);
                for (int v : m.values()) s += v;
                return s;
            }));
        }
        for (Future<Long> f : all) System.out.println(f.get());
        pool.shutdown();
    }
}
"""
JAVA = {"native": "/usr/lib/jvm/java-21-openjdk-amd64/bin/",
        "guest": "/usr/lib/jvm/java-21-openjdk-riscv64/bin/"}
JAVA_FLAGS = ["-XX:TieredStopAtLevel=1", "-Xmx128m", "-XX:+UseSerialGC", "-cp"]


def os_unit(result, seconds):
    return None if seconds is None else seconds * UNITS[result.group][1]


class OsResult(Result):
    """A row with elapsed time beside CPU time; `basis` is the one its goals are about."""

    def __init__(self, name, group, basis="cpu"):
        super().__init__(name, group)
        self.basis = basis
        self.wall = {}

    def time(self, machine, basis=None):
        if machine in self.failed:
            return None
        return (self.cpu if (basis or self.basis) == "cpu" else self.wall).get(machine)

    def relative(self, machine, to, basis=None):
        own, other = self.time(machine, basis), self.time(to, basis)
        return own / other if own is not None and other else None

    def as_dict(self):
        return {**super().as_dict(), "wall": self.wall, "basis": self.basis}


# ---- programs that time themselves ------------------------------------------------------


class Micro:
    def __init__(self, source):
        self.source = source
        self.name = source.stem.removeprefix("o_")
        found = re.search(r"/\* bench: group=(\w+)( starts=yes)? n=(\d+) quick=(\d+) tiny=(\d+) \*/",
                          source.read_text())
        if not found or found[1] not in UNITS:
            raise BenchError(f"{source}: no valid 'bench:' line")
        self.group, self.starts = found[1], bool(found[2])
        self.n = {"full": found[3], "quick": found[4], "tiny": found[5]}

    def compile(self):
        for machine in ("native", "riscv64"):
            compile_micro(self.source, machine)

    def command(self, machine, scale):
        args = [self.n[scale], str(BATCHES)]
        if self.starts:
            args.append(str(started_program(machine)))
        suffix = "native" if machine.is_native else "riscv64"
        return {"argv": machine.argv(MADE / f"{self.source.stem}.{suffix}", args)}


def compile_micro(source, machine):
    MADE.mkdir(parents=True, exist_ok=True)
    compiler = "gcc" if machine == "native" else f"{TRIPLET}-gcc"
    target = MADE / f"{source.stem}.{machine}"
    if not newer(target, source, SOURCES / "os.h", SOURCES / "os_scale.h"):
        compile_to(target, [compiler, "-O2", "-static", "-pthread", source])
    return target


def started_program(machine):
    """What o_vfork and o_spawn start: for an emulator that starts no children, a stand-in."""
    guest = compile_micro(SOURCES / "os_true.c", "native" if machine.is_native else "riscv64")
    if machine.starts_children:
        return guest
    stand_in = MADE / f"os_true-{machine.name}"
    if not newer(stand_in, BENCH / "bench_wrap.c"):
        compile_to(stand_in, ["gcc", "-O2", "-static", f'-DEMULATOR="{machine.command[0]}"',
                              '-DROOT="/"', BENCH / "bench_wrap.c"])
        link = stand_in.with_name(stand_in.name + ".to")
        link.unlink(missing_ok=True)
        link.symlink_to(guest)
    return stand_in


def all_micros():
    micros = [Micro(path) for path in sorted(SOURCES.glob("o_*.c"))]
    order = list(UNITS)
    return sorted(micros, key=lambda m: (order.index(m.group), m.name))


def parse_output(output):
    """{label: (elapsed, CPU)} in seconds, and the lines that are the same everywhere."""
    times, rest = {}, []
    for line in output.decode(errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["result"] and len(words) == 4:
            times[words[1]] = (float(words[2]) / 1e9, float(words[3]) / 1e9)
        else:
            rest.append(line)
    return times, rest


def last_line(text):
    return (text.strip().splitlines() or ["no message"])[-1][:120]


def run_micro(bench, micro, machines, runs, scale):
    """Rows of one program: one, or one for each number of threads. The cheapest run counts."""
    micro.compile()
    rows, lines, failed = {}, {}, {}
    for _ in range(runs):
        for m in machines:
            if m.name in failed:
                continue
            run = bench.run(**micro.command(m, scale))
            times, rest = parse_output(run.output)
            if run.status != 0 or not times:
                failed[m.name] = f"status {run.status}: {last_line(run.stderr)}"
                continue
            if rest != lines.setdefault("any", rest):
                failed[m.name] = "output differs from native's"
            for label, (wall, cpu) in times.items():
                row = rows.setdefault(label, new_row(micro, label))
                row.wall[m.name] = min(wall, row.wall.get(m.name, wall))
                row.cpu[m.name] = min(cpu, row.cpu.get(m.name, cpu))
                row.rss[m.name] = max(run.rss, row.rss.get(m.name, 0))
    found = list(rows.values()) or [new_row(micro, "")]
    for row in found:
        row.failed.update(failed)
    return found


def new_row(micro, label):
    if micro.group == "scaling":
        return OsResult(f"{micro.name.removeprefix('scale_')} {label}", micro.group, "wall")
    return OsResult(micro.name, micro.group)


# ---- languages and the build ------------------------------------------------------------


class OsCase:
    """command(machine) is what Bench.run takes; runs: how often, where three are too few."""

    def __init__(self, name, group, command, runs=None):
        self.name, self.group, self.command, self.runs = name, group, command, runs


def long_roots():
    done = subprocess.run([TOP / "tools/riscv-root.sh", "--set", "long", "--print"],
                          capture_output=True, text=True)
    if done.returncode:
        return None
    return dict(line.split("=", 1) for line in done.stdout.split())


def in_root(roots, machine, native, guest, args, env=None):
    if machine.is_native:
        return {"argv": [native, *args], "native_root": roots["native"], "env": env or {}}
    root = roots["riscv64"]
    return {"argv": machine.argv(f"{root}{guest}", args, root), "env": env or {}}


def native_build(roots, command, what, **more):
    env = [f"{key}={value}" for key, value in more.items()]
    build([TOP / "tools/native.sh", "--root", roots["native"], "/usr/bin/env", *env, *command],
          what)


def prepare_languages(roots):
    """The small programs, made natively: byte code, and Go for both machines."""
    where = MADE / "languages"
    where.mkdir(parents=True, exist_ok=True)
    for name, text in (("hello.go", GO_HELLO), ("job.go", GO_JOB), ("job.js", NODE_JOB),
                       ("Hello.java", JAVA_HELLO), ("Job.java", JAVA_JOB)):
        if not (where / name).exists() or (where / name).read_text() != text:
            (where / name).write_text(text)
    for name in ("Hello", "Job"):
        if not newer(where / f"{name}.class", where / f"{name}.java"):
            native_build(roots, [f"{JAVA['native']}javac", "-d", where, where / f"{name}.java"],
                         f"{name}.java")
    for name in ("hello", "job"):
        for suffix, arch in (("native", None), ("riscv64", "riscv64")):
            target = where / f"{name}-go.{suffix}"
            if not newer(target, where / f"{name}.go"):
                native_build(roots, ["/usr/bin/go", "build", "-o", target, where / f"{name}.go"],
                             f"{name}.go", HOME=where, GOCACHE=where / "go-cache", GOFLAGS="",
                             GO111MODULE="off", GOTOOLCHAIN="local", CGO_ENABLED="0",
                             GOARCH=arch or {"x86_64": "amd64", "aarch64": "arm64"}.get(
                                 platform.machine(), platform.machine()))
    return where


def language_cases(roots):
    where = MADE / "languages"

    def node(*args):
        return lambda m: in_root(roots, m, "/usr/bin/node", "/usr/bin/node", list(args))

    def java(name):
        return lambda m: in_root(roots, m, f"{JAVA['native']}java", f"{JAVA['guest']}java",
                                 [*JAVA_FLAGS, str(where), name])

    def go(name):
        return lambda m: {"argv": m.argv(
            where / f"{name}-go.{'native' if m.is_native else 'riscv64'}", [])}

    return [OsCase("node start", "languages", node("-e", "0")),
            OsCase("node job", "languages", node(str(where / "job.js"))),
            OsCase("java start", "languages", java("Hello")),
            OsCase("java job", "languages", java("Job")),
            OsCase("go start", "languages", go("hello"), runs=10),
            OsCase("go job", "languages", go("job"))]


def prepare_project(files, lines):
    """A C project with a makefile; its objects are riscv64's on every machine."""
    where = MADE / f"project-{files}-{lines}"
    where.mkdir(parents=True, exist_ok=True)
    generator = BENCH / "bench_gen_c.py"
    names = [f"part{i}" for i in range(files)]
    for i, name in enumerate(names):
        source = where / f"{name}.c"
        if not newer(source, generator):
            text = subprocess.run([sys.executable, generator, str(lines), str(i + 1)], check=True,
                                  capture_output=True, text=True).stdout
            source.write_text(re.sub(r"\b(f\d+|all)\b", rf"{name}_\1", text))
    objects = " ".join(f"{name}.o" for name in names)
    (where / "Makefile").write_text(
        f"OBJECTS = {objects}\n"
        "all: machine $(OBJECTS)\n\tcat $(OBJECTS) >all.out\n\trm -f $(OBJECTS)\n"
        "machine:\n\t@test \"$$(uname -m)\" = $(MACHINE)\n"
        f"%.o: {where}/%.c\n\t$(CC) -O2 -c $< -o $@\n")
    return where


def build_case(quick):
    roots = find_roots()
    if not roots:
        warn("the Debian programs were not fetched ('make setup'): no parallel make")
        return []
    files, lines = (6, 400) if quick else (16, 600)
    where = prepare_project(files, lines)
    programs = bench_programs.Programs(roots, quick)

    def command(m):
        wrap = None if m.starts_children else programs.wrappers(m)
        cc = f"{TRIPLET}-gcc-{GCC}" if m.is_native else f"gcc -B{wrap}/" if wrap else "gcc"
        uname = platform.machine() if m.is_native else "riscv64"
        args = ["-s", "-j2", "-f", str(where / "Makefile"), f"CC={cc}", f"MACHINE={uname}",
                f"SHELL={wrap or '/usr/bin'}/sh"]
        path = f"{wrap}:/usr/bin" if wrap else "/usr/bin"
        return {**in_root(roots, m, "/usr/bin/make", "/usr/bin/make", args, {"PATH": path}),
                "output_file": "all.out"}

    return [OsCase(f"make -j2, {files} files", "build", command)]


def run_case(bench, case, machines, runs):
    row = OsResult(case.name, case.group)
    want = None
    for _ in range(case.runs or min(runs, 3)):
        for m in machines:
            if m.name in row.failed:
                continue
            run = bench.run(**case.command(m))
            if run.status != 0:
                row.failed[m.name] = f"status {run.status}: {last_line(run.stderr)}"
                continue
            want = run.output if want is None else want
            if run.output != want:
                row.failed[m.name] = "output differs from native's"
            row.cpu[m.name] = min(run.cpu, row.cpu.get(m.name, run.cpu))
            row.wall[m.name] = min(run.wall, row.wall.get(m.name, run.wall))
            row.rss[m.name] = max(run.rss, row.rss.get(m.name, 0))
    return row


# ---- all of it, and its part of the report ----------------------------------------------


def show(row, machines):
    unit = UNITS[row.group][0]
    words = [f"{row.name:24}"]
    for m in machines:
        if m.name in row.failed:
            words.append(f"{m.name} FAILED ({row.failed[m.name]})")
        elif row.time(m.name) is not None:
            ratio = "" if m.is_native else f" x{row.relative(m.name, 'native') or 0:.2f}"
            words.append(f"{m.name} {number(os_unit(row, row.time(m.name)), 1)} {unit}{ratio}")
    print("  ".join(words), file=sys.stderr, flush=True)


def list_os(wanted):
    for micro in all_micros():
        if wanted(micro.name, micro.group):
            print(f"{micro.group:9} {micro.name}")
    for case in language_cases({"native": "", "riscv64": ""}):
        if wanted(case.name, case.group):
            print(f"{case.group:9} {case.name}")
    if wanted("make -j2", "build"):
        print("build     make -j2")


def run_os(options, bench, machines, wanted):
    rows = []
    scale = "quick" if options.quick else "full"

    def add(new):
        for row in new:
            show(row, machines)
            rows.append(row)

    for micro in all_micros():
        if wanted(micro.name, micro.group):
            add(run_micro(bench, micro, machines, options.n, scale))
    roots = long_roots()
    languages = [case for case in language_cases(roots or {}) if wanted(case.name, case.group)]
    if languages and not roots:
        warn("node, java and go were not fetched (tools/riscv-root.sh --set long): left out")
        languages = []
    if languages:
        prepare_languages(roots)
    cases = languages + (build_case(options.quick) if wanted("make -j2", "build") else [])
    for case in cases:
        add([run_case(bench, case, machines, options.n)])
    return rows


def slower_scaling(rows, name, threads):
    """Native's speed-up by so many threads relative to isomer's."""
    by_name = {row.name: row for row in rows}
    one, many = by_name.get(f"{name} t1"), by_name.get(f"{name} t{threads}")
    if not one or not many:
        return None
    times = [row.time(machine) for machine in ("native", "isomer") for row in (one, many)]
    return (times[0] / times[1]) / (times[2] / times[3]) if all(times) else None


def os_goals(rows):
    found = []
    for row in rows:
        if row.group in NATIVE_GOALS:
            found.append(Goal(f"{row.name}, x native, CPU", NATIVE_GOALS[row.group],
                              row.relative("isomer", "native")))
        if row.group in QEMU_GOALS:
            for basis, text in (("cpu", "CPU"), ("wall", "elapsed")):
                found.append(Goal(f"{row.name}, x QEMU, {text}", QEMU_GOALS[row.group],
                                  row.relative("isomer", "qemu", basis)))
    for name in dict.fromkeys(row.name.split()[0] for row in rows if row.group == "scaling"):
        for threads in (2, 4):
            found.append(Goal(f"{name}, {threads} threads: native's speed-up / isomer's",
                              SCALING_GOAL, slower_scaling(rows, name, threads)))
    return found


def os_table(rows, machines):
    others = [m for m in machines if m != "native"]
    head = ["item", "group", "unit"]
    for text in ("CPU", "elapsed"):
        head += [f"native {text}"] + [f"{m} {text}" for m in others]
    head += [f"{m} x" for m in others] + ["isomer / qemu"]
    lines = []
    for r in rows:
        line = [r.name, r.group, UNITS[r.group][0]]
        for basis in ("cpu", "wall"):
            line += ["FAILED" if m in r.failed else number(os_unit(r, r.time(m, basis)), 1)
                     for m in ["native", *others]]
        line += [number(r.relative(m, "native")) for m in others]
        line.append(number(r.relative("isomer", "qemu")))
        lines.append(line)
    return table(head, lines)
