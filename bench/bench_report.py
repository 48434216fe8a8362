"""bench_report.py: tables, geometric means, goals. SPDX-License-Identifier: Apache-2.0"""

import math

# Goals for the kernels: geometric mean relative to native, by group ("all": over all).
KERNEL_GOALS = {"all": 1.8, "int": 1.4, "fp": 1.7, "calls": 1.6, "virtual": 3.0, "interp": 2.2,
                "branchy": 2.0, "string": 8.0}
TRANSLATION_GOAL = 0.2  # microseconds of CPU per guest instruction


def geomean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


def number(value, digits=2):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.{digits}f}"


def table(head, rows):
    """A Markdown table that also reads well as plain text: first column to the left."""
    rows = [[str(c) for c in row] for row in rows]
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells):
        first = cells[0].ljust(width[0])
        return "| " + " | ".join([first] + [c.rjust(w) for c, w in zip(cells[1:], width[1:])]) + " |"

    rule = "|" + "|".join(["-" * (width[0] + 2)] + ["-" * (w + 1) + ":" for w in width[1:]]) + "|"
    return "\n".join([line(head), rule] + [line(row) for row in rows])


class Result:
    """One row: what an item cost on each machine. goal: (kind, limit), kind "ratio" to native,
    "ms", or "qemu": the share of QEMU's time."""

    def __init__(self, name, group):
        self.name, self.group = name, group
        self.cpu = {}      # machine -> seconds
        self.rss = {}      # machine -> MiB
        self.failed = {}   # machine -> why
        self.goal = None
        self.note = ""

    def ratio(self, machine):
        native = self.cpu.get("native")
        own = self.cpu.get(machine)
        return own / native if native and own is not None and machine not in self.failed else None

    def share(self, machine, other):
        mine, theirs = self.cpu.get(machine), self.cpu.get(other)
        return mine / theirs if mine and theirs and other not in self.failed else None

    def as_dict(self):
        return {"name": self.name, "group": self.group, "cpu": self.cpu, "rss": self.rss,
                "failed": self.failed}


class Goal:
    def __init__(self, text, limit, value):
        self.text, self.limit, self.value = text, limit, value

    @property
    def state(self):
        if self.value is None:
            return "not measured"
        return "reached" if self.value <= self.limit else "MISSED"


def kernel_means(kernels, machine):
    """group -> geometric mean of the ratios that are there; "all" over all kernels."""
    means, groups = {}, {}
    for k in kernels:
        if k.ratio(machine):
            groups.setdefault(k.group, []).append(k.ratio(machine))
            groups.setdefault("all", []).append(k.ratio(machine))
    for group, ratios in groups.items():
        means[group] = geomean(ratios)
    return means


def goals(kernels, programs, translation):
    found = []
    ours = kernel_means(kernels, "isomer")
    for group, limit in KERNEL_GOALS.items():
        name = "all kernels" if group == "all" else f"kernels: {group}"
        found.append(Goal(f"{name}, x native", limit, ours.get(group)))
    both = [k for k in kernels if k.ratio("isomer") and k.ratio("qemu")]
    slower = [k.name for k in both if k.ratio("isomer") > k.ratio("qemu")]
    text = "kernels slower than QEMU" + (f" ({', '.join(slower)})" if slower else "")
    found.append(Goal(text, 0, len(slower) if both else None))
    found.append(Goal("translation, us per guest instruction", TRANSLATION_GOAL, translation))
    for p in programs:
        if p.goal:
            kind, limit = p.goal
            text, value = {"ratio": ("x native", p.ratio("isomer")),
                           "ms": ("ms CPU", 1000 * p.cpu.get("isomer", 0) or None),
                           "qemu": ("share of QEMU's", p.share("isomer", "qemu"))}[kind]
            found.append(Goal(f"{p.name}, {text}", limit,
                              None if "isomer" in p.failed else value))
    both = [r for r in kernels + programs if "isomer" in r.rss and "qemu" in r.rss
            and not r.failed]
    larger = [r.name for r in both if r.rss["isomer"] > r.rss["qemu"]]
    text = "items with more resident memory than QEMU"
    if larger:
        text += f" ({', '.join(larger[:6])}{', ...' if len(larger) > 6 else ''})"
    found.append(Goal(text, 0, len(larger) if both else None))
    return found


def result_table(results, machines, first, with_group):
    others = [m for m in machines if m != "native"]
    head = [first] + (["group"] if with_group else []) + ["native ms"]
    head += [f"{m} x" for m in others] + [f"{m} ms" for m in others]
    head += [f"{m} MiB" for m in machines]
    rows = []
    for r in results:
        row = [r.name] + ([r.group] if with_group else [])
        row.append(number(r.cpu["native"] * 1000, 1) if "native" in r.cpu else "-")
        row += ["FAILED" if m in r.failed else number(r.ratio(m)) for m in others]
        row += [number(r.cpu[m] * 1000, 1) if m in r.cpu else "-" for m in others]
        row += [number(r.rss.get(m), 1) for m in machines]
        rows.append(row)
    return table(head, rows)


def mean_table(kernels, machines):
    others = [m for m in machines if m != "native"]
    means = {m: kernel_means(kernels, m) for m in others}
    groups = list(dict.fromkeys(k.group for k in kernels)) + ["all"]
    rows = [[g, sum(1 for k in kernels if g in (k.group, "all"))] +
            [number(means[m].get(g)) for m in others] +
            [number(KERNEL_GOALS[g], 1) if g in KERNEL_GOALS else ""] for g in groups]
    return table(["geometric mean", "kernels"] + [f"{m} x" for m in others] + ["goal"], rows)


def goal_table(found):
    rows = [[g.text, number(g.limit, 1 if g.limit >= 1 else 2), number(g.value), g.state] for g in found]
    return table(["goal", "at most", "measured", "state"], rows)


def report(head, kernels, programs, machines, translation, more=(), more_goals=()):
    """The whole report as Markdown; more: (title, rows, their table) of other parts."""
    parts = [head]
    if kernels:
        parts += ["## Kernels", result_table(kernels, machines, "kernel", True),
                  mean_table(kernels, machines)]
    if programs:
        parts += ["## Programs", result_table(programs, machines, "program", False)]
    rows = []
    for title, part, text in more:
        rows += part
        if part:
            parts += [f"## {title}", text]
    found = goals(kernels, programs, translation) if kernels or programs else []
    parts += ["## Goals", goal_table([*found, *more_goals])]
    failed = [f"- {r.name}, {m}: {why}" for r in kernels + programs + rows for m, why in r.failed.items()]
    if failed:
        parts += ["## Failures", "\n".join(failed)]
    return "\n\n".join(parts) + "\n"
