"""bench_disk.py: virtual disks beside qemu-img. SPDX-License-Identifier: Apache-2.0

Each case is done by qemu-img (or qemu-nbd) and by `isomer disk`, alternately, on images in memory
(tmpfs), so that it is the programs that are measured. "Random" places are a stride of 257 pages,
which qemu-img bench can do, too. Cost is CPU time, all threads and the kernel's work for them
included; elapsed time is beside it, and counts where the point is to use all cores. Other load on
the machine makes elapsed times of one side longer than of the other (who has more threads gets
more of a processor), so the shortest run counts, and an idle machine is needed to judge by it.
"""

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench_measure import BenchError, warn
from bench_report import Goal, Result, number, table

STRIDE = ["-s", "4096", "-S", "1052672"]
SIDES = ("qemu", "isomer")


class DiskResult(Result):
    """A row: cost of both sides for the same work. goal: at most so much of QEMU's."""

    def __init__(self, name, goal, basis="cpu", unit=1):
        super().__init__(name, "disk")
        self.goal, self.basis, self.unit = goal, basis, unit
        self.wall = {}

    def share(self, basis):
        cost = self.cpu if basis == "cpu" else self.wall
        if self.failed or any(side not in cost for side in SIDES):
            return None
        return cost["isomer"] / cost["qemu"] if cost["qemu"] else None

    def as_dict(self):
        return {**super().as_dict(), "wall": self.wall, "unit": self.unit, "basis": self.basis}


class Images:
    """A folder in memory with the images that the cases want."""

    def __init__(self, bench, isomer, quick):
        self.bench, self.isomer = bench, str(isomer)
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="isomer-bench-", dir=shm))
        self.size = (256 if quick else 1024) << 20
        self.count = 40000 if quick else 200000
        self.writes = 4000 if quick else 16000

    def path(self, name):
        return str(self.folder / name)

    def remove(self, *names):
        for name in names:
            Path(self.path(name)).unlink(missing_ok=True)

    def qemu(self, *argv):
        done = subprocess.run(["qemu-img", *map(str, argv)], capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"qemu-img {argv[0]}: {done.stderr.strip()}")

    def source(self, name="src.raw", text_part=0.5, random_part=0.25):
        """Half text such as programs are made of, a quarter random, a quarter hole."""
        path = Path(self.path(name))
        if path.exists():
            return str(path)
        rng, texts = random.Random(1), []
        for folder in ("/usr/include", "/usr/share/perl", "/usr/lib/python3", "/usr/bin"):
            for file in sorted(Path(folder).rglob("*"))[:4000]:
                if file.is_file() and sum(map(len, texts)) < 48 << 20:
                    texts.append(file.read_bytes()[:1 << 20])
        text = b"".join(texts) or b"nothing here " * 100000
        with open(path, "wb") as f:
            for at in range(0, self.size, 1 << 20):
                kind = rng.random()
                f.seek(at)
                if kind < text_part:
                    start = rng.randrange(max(1, len(text) - (1 << 20)))
                    f.write(text[start:start + (1 << 20)])
                elif kind < text_part + random_part:
                    f.write(rng.randbytes(1 << 20))
            f.truncate(self.size)
        return str(path)

    def converted(self, name, *options, source=None):
        if not Path(self.path(name)).exists():
            self.qemu("convert", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", *options,
                      source or self.source(), self.path(name))
        return self.path(name)


# ---- what is measured --------------------------------------------------------------------


def bench_both(images, fmt, path, depth, count, write=False, engine="io_uring", step=None):
    """The same requests by both; for writes the image is made anew by `fresh` each time."""
    stride = ["-s", "4096", "-S", str(step)] if step else STRIDE
    common = ["-f", fmt, "-c", str(count), "-d", str(depth), *stride, *(["-w"] if write else [])]
    return {"qemu": ["qemu-img", "bench", "-t", "writeback", "-i", engine, *common, path],
            "isomer": [images.isomer, "disk", "bench", *common, path]}


def reads(images):
    raw, count = images.source(), images.count
    plain = images.converted("plain.qcow2")
    small = images.converted("zlib.qcow2", "-c")
    yield "read 4K raw, depth 1", 1.0, bench_both(images, "raw", raw, 1, count), None, count
    yield "read 4K qcow2, depth 1", 1.0, bench_both(images, "qcow2", plain, 1, count), None, count
    yield ("read 4K qcow2, depth 32", 1 / 1.2, bench_both(images, "qcow2", plain, 32, count), None,
           count)
    yield ("read 4K compressed, depth 1", 1 / 5,
           bench_both(images, "qcow2", small, 1, count // 4), None, count // 4)
    yield from first_reads(images)


def first_reads(images):
    """Each request meets a compressed cluster that none has met before: no cache has it. The step
    is the golden section of the disk, which comes back to a cluster as late as any, and some pages,
    so that all parts of a cluster are read alike."""
    clusters = images.size >> 16
    source, count = images.source("text.raw", 1, 0), clusters * 5 // 8
    step = (int(clusters * 0.618034) << 16) + 5 * 4096
    for kind, goal in (("zlib", 1 / 5), ("zstd", 1 / 1.5)):
        path = images.converted(f"text-{kind}.qcow2", "-c", "-o", f"compression_type={kind}",
                                source=source)
        yield (f"read 4K {kind}, not cached", goal,
               bench_both(images, "qcow2", path, 1, count, step=step), None, count)


def writes(images):
    path = images.path("new.qcow2")
    base = images.source()

    def fresh(side):
        images.remove("new.qcow2")
        images.qemu("create", "-q", "-f", "qcow2", path, images.size)

    def overlay(side):
        images.remove("new.qcow2")
        if side == "qemu":
            images.qemu("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", path)
        else:
            subprocess.run([images.isomer, "disk", "create", "-b", base, "-F", "raw", path],
                           check=True, stdout=subprocess.DEVNULL)

    def snapshot(side):
        images.remove("new.qcow2")
        images.qemu("create", "-q", "-f", "qcow2", path, images.size)
        images.qemu("bench", "-w", "-f", "qcow2", "-t", "writeback", "-c", images.writes, "-d", 32,
                    *STRIDE, path)
        images.qemu("snapshot", "-c", "s", path)

    for depth in (1, 32):
        both = bench_both(images, "qcow2", path, depth, images.writes, write=True,
                          engine="threads")
        yield f"first write 4K qcow2, depth {depth}", 1 / 2, both, fresh, images.writes
    both = bench_both(images, "qcow2", path, 1, images.writes, write=True, engine="threads")
    yield "first write 4K, default overlay", 1 / 2, both, overlay, images.writes
    yield "rewrite 4K after a snapshot", 1 / 3, both, snapshot, images.writes


def converts(images):
    source = images.source()

    def fresh(side):
        images.remove("out")

    def both(qemu, ours):
        return {"qemu": ["qemu-img", "convert", "-W", "-m", "16", *qemu, source, images.path("out")],
                "isomer": [images.isomer, "disk", "convert", "-q", *ours, source,
                           images.path("out")]}

    for name, goal, qemu, ours in (
            ("convert raw to qcow2", 1 / 1.2, [], []),
            ("convert raw to zlib", 1 / 3, ["-c"], ["-c"]),
            ("convert raw to zstd", 1 / 1.5, ["-c", "-o", "compression_type=zstd"],
             ["-c", "--compression=zstd"])):
        yield (name, goal, both(["-f", "raw", "-O", "qcow2", *qemu],
                                ["-f", "raw", "-O", "qcow2", *ours]), fresh, 1)
    small = images.converted("zlib.qcow2", "-c")
    yield ("convert zlib to raw", 1.0,
           {"qemu": ["qemu-img", "convert", "-W", "-m", "16", "-O", "raw", small,
                     images.path("out")],
            "isomer": [images.isomer, "disk", "convert", "-q", "-O", "raw", small,
                       images.path("out")]}, fresh, 1)


def overlays(images):
    base, path = images.converted("plain.qcow2"), images.path("overlay.qcow2")

    def fresh(side):
        images.remove("overlay.qcow2")

    yield ("create an overlay", None,
           {"qemu": ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path],
            "isomer": [images.isomer, "disk", "create", "-b", base, "-F", "qcow2", path]}, fresh, 1)


# ---- an NBD server's cost ----------------------------------------------------------------


def server_cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(images, side, fmt, image, depth, count, processors):
    """One client's requests; CPU seconds of the server alone, and elapsed ones."""
    path = images.path("socket")
    images.remove("socket")
    argv = {"qemu": ["qemu-nbd", "-t", "-f", fmt, "-k", path, "--cache=writeback",
                     "--aio=io_uring", image],
            "isomer": [images.isomer + "-disk", "disk", "serve", "-t", "-f", fmt, "-k", path,
                       image]}[side]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)  # children have it, too
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while not Path(path).exists():
            if time.monotonic() > end or server.poll() is not None:
                raise BenchError(f"{argv[0]} does not serve")
            time.sleep(0.01)
        begin = time.monotonic()
        images.qemu("bench", "-f", "raw", "-c", count, "-d", depth, *STRIDE,
                    f"nbd+unix:///?socket={path}")
        wall = time.monotonic() - begin
        return server_cpu(server.pid), wall
    finally:
        os.sched_setaffinity(0, before)
        server.terminate()
        server.wait()


def run_servers(options, images, wanted):
    results = []
    count = images.count // 2
    every = os.sched_getaffinity(0)
    for fmt, image in (("raw", images.source()), ("qcow2", images.converted("plain.qcow2"))):
        for depth, processors in ((1, every), (1, {min(every)}), (32, every)):
            name = f"NBD read 4K {fmt}, depth {depth}"
            if processors != every:
                name += ", one processor"
            result = DiskResult(name, 1 / 2, unit=count)
            if not wanted(result.name, "disk"):
                continue
            runs = {side: [] for side in SIDES}
            for _ in range(options.n):
                for side in SIDES:
                    runs[side].append(serve(images, side, fmt, image, depth, count, processors))
            for side in SIDES:
                result.cpu[side] = statistics.median(cpu for cpu, _ in runs[side])
                result.wall[side] = min(wall for _, wall in runs[side])
            show(result)
            results.append(result)
    return results


# ---- all of it ---------------------------------------------------------------------------


def show(result):
    share = result.share(result.basis)
    warn(f"{result.name:32} {number(share)} of QEMU's" if share else
         f"{result.name:32} FAILED ({result.failed})")


def run_case(options, images, result, both, fresh):
    times = {side: [] for side in SIDES}
    for _ in range(options.n):
        for side in SIDES:
            if side in result.failed:
                continue
            if fresh:
                fresh(side)
            run = images.bench.run(both[side])
            if run.status:
                last = (run.stderr.strip().splitlines() or ["no message"])[-1]
                result.failed[side] = f"status {run.status}: {last[:120]}"
            times[side].append((run.cpu, run.wall))
    for side in SIDES:
        if times[side] and side not in result.failed:
            result.cpu[side] = statistics.median(cpu for cpu, _ in times[side])
            result.wall[side] = min(wall for _, wall in times[side])
    show(result)


def run_disk(options, bench, isomer, wanted):
    if not shutil.which("qemu-img") or not os.access(str(isomer) + "-disk", os.X_OK):
        warn("no qemu-img or no isomer-disk: disks are not measured")
        return []
    images = Images(bench, isomer, options.quick)
    results = []
    try:
        for group in (reads, writes, converts, overlays):
            for name, goal, both, fresh, unit in group(images):
                if not wanted(name, "disk"):
                    continue
                basis = "wall" if name in ("convert raw to zlib", "convert raw to zstd",
                                           "create an overlay") else "cpu"
                result = DiskResult(name, goal, basis, unit)
                run_case(options, images, result, both, fresh)
                results.append(result)
        results += run_servers(options, images, wanted)
    finally:
        shutil.rmtree(images.folder, ignore_errors=True)
    return results


def list_disk(wanted):
    for name in ("read 4K", "first write 4K", "rewrite 4K after a snapshot", "convert",
                 "create an overlay", "NBD read 4K"):
        if wanted(name, "disk"):
            print(f"disk      {name}")


def disk_table(results):
    def cost(result, side, values):
        if side in result.failed:
            return "FAILED"
        value = values.get(side)
        if value is None:
            return "-"
        return (f"{value / result.unit * 1e6:.2f} us" if result.unit > 1 else
                f"{value * 1e3:.1f} ms")

    rows = [[r.name, *(cost(r, side, r.cpu) for side in SIDES), number(r.share("cpu")),
             *(cost(r, side, r.wall) for side in SIDES), number(r.share("wall"))] for r in results]
    return table(["disk", "qemu CPU", "isomer CPU", "of qemu's", "qemu elapsed", "isomer elapsed",
                  "of qemu's"], rows)


def disk_goals(results):
    goals = []
    for r in results:
        if r.name == "create an overlay":
            goals.append(Goal("disk: create an overlay, ms", 15, None if r.failed else
                              r.wall.get("isomer", 0) * 1000))
        elif r.goal:
            kind = "CPU" if r.basis == "cpu" else "elapsed"
            goals.append(Goal(f"disk: {r.name}, {kind}, share of QEMU's", r.goal,
                              r.share(r.basis)))
    return goals
