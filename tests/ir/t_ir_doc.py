#!/usr/bin/env python3
"""t_ir_doc.py: docs/ir.md against the tables. SPDX-License-Identifier: Apache-2.0

Every operation of src/ir/ir_ops.h has exactly one row, with its class, types, operands and
flags, and every row is an operation; every word of aux that the printer knows occurs in the
document as `word`, and every example of the text form names an operation.
"""

import os
import re
import sys
from pathlib import Path

TOP = Path(os.environ.get("TOP") or Path(__file__).resolve().parents[2])
OP = re.compile(r'^OP\((\w+),\s*"(\w+)",\s*(\w),\s*(\w+),\s*(\w),\s*(\w),\s*(\w),\s*([\w|]+),', re.M)
ROW = re.compile(r"^\| `(\w+)` \| (\w) \| (\w+) \| ([^|]+) \| ([^|]+) \| (.+) \|$", re.M)
failed = 0


def result(ok, name, why=""):
    global failed
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + ("" if ok else f": {why}"))


def table_row(match):
    _, text, cls, types, a, b, c, flags = match.groups()
    operands = [a, b, c]
    while operands and operands[-1] == "_":
        operands.pop()
    return text, (cls, types, ", ".join(operands) or "-",
                  "-" if flags == "0" else flags.replace("|", ", "))


def main():
    doc = (TOP / "docs/ir.md").read_text()
    ops = dict(table_row(m) for m in OP.finditer((TOP / "src/ir/ir_ops.h").read_text()))
    lines = (TOP / "src/ir/ir_ops.h").read_text()
    result(len(ops) == len(re.findall(r"^OP\(", lines, re.M)), "the table reads",
           "some OP line has another form")
    rows = {}
    for m in ROW.finditer(doc):
        result(m[1] not in rows, f"{m[1]} has one row", "described twice")
        rows[m[1]] = (m[2], m[3], m[4], m[5])
        result(len(m[6]) >= 3, f"{m[1]} is explained", "no meaning")
    for name, row in ops.items():
        result(rows.get(name) == row, f"{name} as in the table",
               f"table {row}, document {rows.get(name)}")
    for name in rows:
        result(name in ops, f"{name} exists", "not in the table")

    printer = (TOP / "src/ir/ir_print.c").read_text()
    words = set(re.findall(r'\{"(\w+)", (?:0x)?\w+[^{}]*,\s*(?:true|false)\}', printer))
    words |= set(re.findall(r'_WORD\("(\w+)"', printer))
    result(len(words) > 50, "words of aux were found", f"only {len(words)}")
    for word in sorted(words):
        result(re.search(rf"`{word}`", doc) is not None, f"word {word}", "not in the document")
    return 1 if failed else 0


sys.exit(main())
