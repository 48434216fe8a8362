#!/usr/bin/env python3
"""t_lint.py: the tree keeps its rules, and breaking one is seen. SPDX-License-Identifier: Apache-2.0"""

import os
import subprocess
import sys
from pathlib import Path

LINT = Path(os.environ["TOP"]) / "tools/lint.py"
HEAD = "/* x.c: a file. SPDX-License-Identifier: Apache-2.0 */\n"


def case(name, good, why=""):
    print(f"ok - {name}" if good else f"not ok - {name}: {why}")


def broken(name, path, text, expected):
    """Lints a tree of one file and expects one complaint."""
    top = Path("tree-" + name.replace(" ", "-"))
    (top / path).parent.mkdir(parents=True, exist_ok=True)
    (top / path).write_text(text.replace("x.c", Path(path).name))
    got = subprocess.run([LINT, top], capture_output=True, text=True)
    lines = got.stdout.splitlines()
    case(name, len(lines) == 1 and expected in lines[0] and got.returncode == 1, got.stdout)


def main():
    got = subprocess.run([LINT], capture_output=True, text=True)
    case("the tree is clean", got.returncode == 0 and not got.stdout, "")
    sys.stdout.write(got.stdout)

    include = HEAD + '#include "%s"\n'
    broken("guest includes host", "src/guest/rv64/rv_a.c", include % "host/x64/x64.h",
           "guest may not include host")
    broken("base includes ir", "src/base/base_a.c", include % "ir/ir.h",
           "base may not include ir")
    broken("cli includes process", "src/cli/cli_a.c", include % "process/process.h",
           "cli may not include process")
    broken("one guest includes another", "src/guest/rv64/rv_b.c", include % "guest/a64/a64.h",
           "one guest may not include another")
    broken("private header", "src/process/proc_a.c", include % "jit/jit_cache.h", "private to jit")
    broken("no licence line", "src/base/base_b.c", "int a;\n", "SPDX")
    broken("wrong name in first line", "src/base/base_c.c", HEAD.replace("x.c", "y.c"),
           "file's name")
    broken("too long", "src/base/base_d.c", HEAD + "int a;\n" * 1500, "two files")
    broken("too wide", "src/base/base_e.c", HEAD + "int " + "a" * 100 + ";\n", "columns")
    broken("a promise", "src/base/base_f.c", HEAD + "/* TO" + "DO: this */\n", "promise")
    broken("a path of a machine", "src/base/base_g.c", HEAD + 'char *a = "/ro' + 'ot/x";\n',
           "path of one machine")
    broken("a registry", "src/base/base_h.c", HEAD + "/* deb.debian" + ".org */\n", "registry")
    broken("a log of a run", "errors.log", "one line\n", "top folder")
    broken("a disk image", "tests/disk/a.raw", "\n" * 300000, "KiB")


main()
