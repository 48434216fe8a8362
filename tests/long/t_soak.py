#!/usr/bin/env python3
"""t_soak.py: large programs for an hour at once, under load. SPDX-License-Identifier: Apache-2.0

A Go, a Node.js and a Java program work in rounds, beside a parallel build that starts again and
again: threads, collectors, code made at run time, thousands of processes. Each round gives the
value that the native twin gives. Watched meanwhile: that every one makes progress, and that
memory, descriptors and threads do not grow. SOAK_SECONDS (default 3600) says how long."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import long
import real

SECONDS = int(os.environ.get("SOAK_SECONDS", "3600"))
# No round takes so long even where other work takes the machine.
PATIENCE = 600
# Memory of the last third may be that much more than the most of the middle one: what a collector
# leaves for later, and code of a program that still finds new paths.
GROWTH, GROWTH_KB = 1.25, 48 << 10

GO = r"""
package main

import (
    "fmt"
    "os"
    "runtime"
    "sort"
    "sync"
    "time"
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
func round() uint64 {
    var wg sync.WaitGroup
    out := make([]uint64, 8)
    ch := make(chan uint64, 4)
    for i := range out {
        wg.Add(1)
        go func() {
            defer wg.Done()
            x := uint64(i)
            for j := 0; j < 2000000; j++ { // only a signal stops this
                x = x*6364136223846793005 + 1442695040888963407
            }
            out[i] = x + uint64(tree(12).count())
            ch <- x
            time.Sleep(time.Millisecond)
        }()
    }
    sum := uint64(0)
    for range out {
        sum += <-ch
    }
    wg.Wait()
    m := map[string]int{}
    for i := 0; i < 20000; i++ {
        m[fmt.Sprint(i%777)] += i
    }
    var keys []string
    for k := range m {
        keys = append(keys, k)
    }
    sort.Strings(keys)
    func() {
        defer func() { recover() }()
        var p *node
        p.l = nil
    }()
    return sum + uint64(m[keys[100]])
}
func main() {
    runtime.GOMAXPROCS(4)
    for {
        fmt.Println("round", round())
        if _, err := os.Stat("stop"); err == nil {
            return
        }
    }
}
"""
NODE = r"""
const { Worker, isMainThread, parentPort } = require('worker_threads'), fs = require('fs');
function work(n) {
    const f = new Function('x', `let s = ${n}; for (let i = 0; i < 20000; i++) s = (s * 31 + x + i) | 0; return s;`);
    const m = new Map(); let s = 0;
    for (let i = 0; i < 20000; i++) m.set('k' + i % 500, { v: i });
    for (const [k, o] of m) s = (s + k.length * o.v) | 0;
    const a = Float64Array.from({ length: 2000 }, (_, i) => Math.sqrt(i)).sort();
    return (s + f(n) + JSON.stringify([...a].slice(0, 50)).length) | 0;
}
if (!isMainThread) {
    parentPort.postMessage(work(3));
} else (async () => {
    do {
        let s = 0;
        for (let i = 0; i < 10; i++) s = (s + work(i)) | 0;
        s += await new Promise((ok, no) => new Worker(__filename).on('message', ok).on('error', no));
        console.log('round', s);
    } while (!fs.existsSync('stop'));
})();
"""
JAVA = r"""
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Soak {
    static long part(int k) {
        TreeMap<String, Long> m = new TreeMap<>();
        for (int i = 0; i < 20000; i++) m.merge("k" + i * k % 997, (long) i, Long::sum);
        long s = 0;
        for (var e : m.entrySet()) s = s * 31 + e.getKey().hashCode() + e.getValue();
        for (int i = 0; i < 200; i++) {
            String t = i % 50 == 0 ? null : "x";
            try { s += t.length(); } catch (NullPointerException e) { s += 1000; }
        }
        return s;
    }
    public static void main(String[] a) throws Exception {
        do {
            ExecutorService pool = Executors.newFixedThreadPool(3);
            List<Future<Long>> all = new ArrayList<>();
            for (int i = 1; i <= 6; i++) { final int k = i; all.add(pool.submit(() -> part(k))); }
            long s = 0;
            for (var f : all) s += f.get();
            pool.shutdown();
            try (var e = Executors.newVirtualThreadPerTaskExecutor()) {
                var fs = IntStream.range(0, 50).mapToObj(i -> e.submit(() -> { Thread.sleep(1); return i; })).toList();
                for (var f : fs) s += f.get();
            }
            s += IntStream.range(0, 20000).parallel().mapToObj(Integer::toString).mapToInt(String::hashCode).sum();
            System.out.println("round " + s);
        } while (!new java.io.File("stop").exists());
    }
}
"""
MAKEFILE = """O = $(patsubst %.c,%.o,$(wildcard u*.c))
all: $(O) ; @cat $(O) | cksum
%.o: %.c ; @gcc -O1 -c -o $@ $<
"""
MAKE = "while :; do rm -f *.o; echo round $(make -s -j2) || exit 1; [ -e stop ] && exit 0; done"
UNIT = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct s%(n)d { struct s%(n)d *next; char name[%(n)d + 9]; long v; };
long f%(n)d(struct s%(n)d *s, long k)
{
    for (; s; s = s->next)
        switch (k %% 5) {
        case 0: k += s->v * %(n)d; break;
        case 1: k ^= (long)strlen(s->name); break;
        case 3: k = k << 3 | s->v %% 7; break;
        default: printf("%%ld\\n", k); k /= 3;
        }
    return k;
}
"""


def build_project(where):
    where.mkdir()
    (where / "Makefile").write_text(MAKEFILE)
    for n in range(12):
        (where / f"u{n}.c").write_text(UNIT % {"n": n + 1})


def prepare():
    """Sources and what is made of them, by the native twins where that is the same."""
    for name in ("go", "node", "java"):
        Path(name).mkdir()
    build_project(Path("make"))
    Path("go/x.go").write_text(GO)
    Path("go/go.mod").write_text("module x\n\ngo 1.24\n")
    Path("node/x.js").write_text(NODE)
    Path("java/Soak.java").write_text(JAVA)
    go = ("export GOCACHE=$PWD/.cache GOPROXY=off GOTOOLCHAIN=local HOME=$PWD; go build -o native . && "
          "GOARCH=riscv64 go build -o riscv64 .")
    subprocess.run(real.native_command(["/usr/bin/bash", "-c", go]), cwd="go", check=True,
                   env=real.ENV)
    subprocess.run(real.native_command([long.JAVA["native"] + "/javac", "Soak.java"]), cwd="java",
                   check=True, env=real.ENV)


def java(machine):
    return [f"{long.JAVA[machine]}/java", "-Xmx192m", "-XX:+UseSerialGC", "-cp", ".", "Soak"]


# By name: the native command and the guest's. make's objects are not the same on both: no twin.
PROGRAMS = {
    "go": (["./native"], ["./riscv64"]),
    "node": (["/usr/bin/node", "--max-old-space-size=128", "x.js"],) * 2,
    "java": (java("native"), java("riscv64")),
    "make": (None, ["/usr/bin/bash", "-c", MAKE]),
}


class Soaked:
    def __init__(self, name):
        self.name, self.where = name, Path(name).resolve()
        self.rounds, self.bad, self.last, self.samples = 0, [], time.time(), []
        native, argv = PROGRAMS[name]
        self.want = self.native_round(native) if native else None
        self.errors = open(f"{name}.err", "wb")
        self.process = subprocess.Popen(real.emulated_command(argv), cwd=self.where, env=real.ENV,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.errors, start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def native_round(self, argv):
        (self.where / "stop").touch()
        done = subprocess.run(real.native_command(argv), cwd=self.where, env=real.ENV,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        (self.where / "stop").unlink()
        return done.stdout.decode().strip()

    def read(self):
        for line in self.process.stdout:
            text = line.decode(errors="replace").strip()
            self.want = self.want or text
            if text != self.want and len(self.bad) < 3:
                self.bad.append(text)
            self.rounds += 1
            self.last = time.time()

    def sample(self):
        """KiB resident, descriptors, threads of the emulator's process."""
        proc = Path(f"/proc/{self.process.pid}")
        try:
            status = (proc / "status").read_text()
            found = [int(re.search(rf"^{k}:\s+(\d+)", status, re.M)[1]) for k in ("VmRSS", "Threads")]
            self.samples.append((found[0], len(os.listdir(proc / "fd")), found[1]))
        except (OSError, TypeError):
            pass

    def growth(self):
        """What grew from the middle third to the last, or None."""
        third = len(self.samples) // 3
        if not third:
            return "no samples"
        middle, last = self.samples[third:2 * third], self.samples[2 * third:]
        for k, (what, factor, more) in enumerate((("KiB", GROWTH, GROWTH_KB), ("descriptors", 1, 8),
                                                  ("threads", 1, 8))):
            before, after = (max(s[k] for s in part) for part in (middle, last))
            if after > before * factor + more:
                return f"{before} to {after} {what}"
        return None

    def stuck(self):
        return self.process.poll() is None and time.time() - self.last > PATIENCE

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def watch(all_of_them):
    end, pause = time.time() + SECONDS, min(5, SECONDS / 60)
    while time.time() < end and all(p.process.poll() is None and not p.stuck() for p in all_of_them):
        time.sleep(pause)
        for p in all_of_them:
            p.sample()
    for p in all_of_them:
        (p.where / "stop").touch()
    deadline = time.time() + PATIENCE
    for p in all_of_them:
        try:
            p.process.wait(max(0, deadline - time.time()))
        except subprocess.TimeoutExpired:
            pass


def judge(p):
    status = p.process.poll()
    p.end()
    p.reader.join(10)
    p.errors.close()
    errors = Path(f"{p.name}.err").read_text(errors="replace")[-300:]
    most = max((s[0] for s in p.samples), default=0) >> 10
    print(f"{p.name}: {p.rounds} rounds, at most {most} MiB", flush=True)
    for name, good, why in (
            ("ends when asked", status == 0, f"hangs {errors!r}" if status is None else
             f"status {status} {errors!r}"),
            ("every round as natively", p.rounds > 1 and not p.bad, f"{p.bad} not {p.want}"),
            ("nothing grows", p.growth() is None, p.growth())):
        print(f"ok - {p.name}: {name}" if good else f"not ok - {p.name}: {name}: {why}", flush=True)


def main():
    long.need_twin()
    print(f"SOAK_SECONDS={SECONDS}", flush=True)
    prepare()
    soaked = []
    try:
        soaked += [Soaked(name) for name in PROGRAMS]
        watch(soaked)
        for p in soaked:
            judge(p)
    finally:
        for p in soaked:
            p.end()
        shutil.rmtree("go", ignore_errors=True)


main()
