#!/usr/bin/env python3
"""lint.py: rules of the source tree. SPDX-License-Identifier: Apache-2.0

usage: tools/lint.py [FOLDER]

Checks the files that git knows (those of FOLDER, a tree without git, in its own tests):
who includes whom, length of files and lines, the first line, unfinished promises, names of
one machine. Prints one line each, "file:line: what"; exit status 1 if there is any.
"""

import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

# Who may include whom; a folder includes itself, and everyone base. A change here is a
# change of the architecture (docs/architecture.md).
MAY_INCLUDE = {
    "base": set(),
    "disk": {"base", "isomer"},
    "ir": {"base", "isomer"},
    "opt": {"ir", "base", "isomer"},
    "jit": {"opt", "ir", "base"},
    "host": {"jit", "ir", "base"},
    "guest": {"ir", "base"},
    "process": {"guest", "jit", "opt", "ir", "base", "isomer"},
    "cli": {"isomer"},
    "isomer": set(),
}
# Headers that are not the one a folder shows to others, but may be included all the same:
# parts of that one header.
SHOWN_ALSO = {"ir/ir_ops.h"}
# The optimiser works on the IR as src/ir itself does.
INSIDERS = {"opt": {"ir/ir_priv.h"}}
# The one file that knows which hosts there are may include their headers.
MEETING_POINTS = {"src/process": {"host"}}

MAX_LINES = 1500
MAX_COLUMNS = 100
# Nothing that a person wrote is as large; a disk image or a log of a run is.
MAX_BYTES = 256 * 1024
# What stands in the top folder, so that what a run leaves there is noticed.
TOP_FILES = {".clang-format", ".editorconfig", ".gitignore", "LICENSE", "Makefile", "README.md",
             "meson.build", "meson_options.txt"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
PROMISE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE = re.compile(r"(?<![\w.$}/-])/(work|farm|root|home/\w+)/[\w.]")
# perf itself says where its maps are.
TEMPORARY = re.compile(r"(?<![\w$}/.-])/tmp/(?!perf-)[a-z]")


class Lint:
    """Collects what is wrong with a tree."""

    def __init__(self, top):
        self.top = top
        self.found = 0
        self.hosts = registry_hosts()

    def complain(self, path, line, text):
        self.found += 1
        print(f"{path}:{line}: {text}")

    def files(self):
        got = subprocess.run(["git", "-C", str(self.top), "ls-files", "-co", "--exclude-standard"],
                             capture_output=True, text=True)
        if got.returncode == 0 and (self.top / ".git").exists():
            names = got.stdout.splitlines()
        else:
            names = [str(p.relative_to(self.top)) for p in self.top.rglob("*") if p.is_file()]
        return sorted(n for n in names if (self.top / n).is_file())

    def check_file(self, name):
        if (self.top / name).stat().st_size > MAX_BYTES:
            self.complain(name, 1, f"more than {MAX_BYTES >> 10} KiB: what a run left?")
            return
        if "/" not in name and name not in TOP_FILES:
            self.complain(name, 1, "not one of the files of the top folder: what a run left?")
        try:
            text = (self.top / name).read_text()
        except UnicodeDecodeError:
            return
        lines = text.split("\n")
        is_c = name.endswith((".c", ".h"))
        if is_c or name.endswith((".py", ".sh")):
            self.check_first_line(name, lines)
            if len(lines) > MAX_LINES:
                self.complain(name, len(lines), f"{len(lines)} lines: that is two files")
        for number, line in enumerate(lines, 1):
            self.check_line(name, number, line, is_c)

    def check_first_line(self, name, lines):
        # After the line for the interpreter; a purpose may take a second line.
        head = lines[1:4] if lines[0].startswith("#!") else lines[:3]
        if not any("SPDX-License-Identifier: Apache-2.0" in h for h in head):
            self.complain(name, 1, "the first line must have name, purpose and "
                                   "SPDX-License-Identifier: Apache-2.0")
        elif Path(name).name + ":" not in " ".join(head) + ":":
            self.complain(name, 1, f"the first line must begin with the file's name: "
                                   f"{Path(name).name}:")

    def check_line(self, name, number, line, is_c):
        source = name.startswith(("src/", "include/"))
        if is_c:
            include = INCLUDE.match(line)
            if include and source:
                self.check_include(name, number, include[1])
            if len(line) > MAX_COLUMNS and number > 1:
                self.complain(name, number, f"{len(line)} columns, {MAX_COLUMNS} are the end")
            if "\t" in line:
                self.complain(name, number, "a tab: indent with spaces")
        if source and PROMISE.search(line):
            self.complain(name, number, "a promise left in the code: do it, or file an issue")
        if name in ("tools/lint.py", "LICENSE"):
            return
        if MACHINE.search(line) or (source and TEMPORARY.search(line)):
            self.complain(name, number, "a path of one machine")
        for host in self.hosts:
            if host in line:
                self.complain(name, number, "names a package registry's host: read it from the "
                                            "machine at run time")

    def check_include(self, name, number, included):
        folder = layer(name)
        target = included.split("/")[0]
        if included.endswith(".gen.h"):
            return  # made by the folder's own generator, in its build folder
        if "/" not in included:
            if not (self.top / name).with_name(included).exists():
                self.complain(name, number, f'"{included}": write "folder/header.h"')
            return
        if target not in MAY_INCLUDE:
            self.complain(name, number, f"unknown folder {target}/")
            return
        place = "/".join(name.split("/")[:2])
        allowed = MAY_INCLUDE.get(folder, set()) | MEETING_POINTS.get(place, set())
        own = name.startswith("src/" + "/".join(included.split("/")[:-1]) + "/")
        if target != folder and target not in allowed:
            self.complain(name, number, f"{folder} may not include {target}")
        elif folder in ("guest", "host") and target == folder and not own:
            self.complain(name, number, f"one {folder} may not include another")
        elif target != folder and target != "isomer" and target != "base" \
                and included not in SHOWN_ALSO | INSIDERS.get(folder, set()) \
                and not is_front(included):
            self.complain(name, number, f"{included} is private to {target}")


def layer(name):
    """The folder of the rule that a file belongs to."""
    parts = name.split("/")
    return "isomer" if parts[0] == "include" or len(parts) == 2 else parts[1]


def is_front(included):
    """A folder shows the header that is named after it: ir/ir.h, guest/rv64/rv64.h, rv.h."""
    parts = included.split("/")
    return parts[-1] in (parts[-2] + ".h", parts[-2].rstrip("0123456789") + ".h")


def registry_hosts():
    """Hosts of this machine's package sources; Debian's home page in a text is no registry."""
    hosts = {"deb." + "debian.org", "security." + "debian.org", "ports." + "debian.org",
             "registry." + "npmjs.org", "files.python" + "hosted.org"}
    places = [Path("/etc/apt/sources.list")]
    if Path("/etc/apt/sources.list.d").is_dir():
        places += Path("/etc/apt/sources.list.d").glob("*")
    for path in places:
        try:
            hosts.update(re.findall(r"https?://([^/\s]+)", path.read_text()))
        except (OSError, UnicodeDecodeError):
            pass
    return hosts


def main():
    lint = Lint(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TOP)
    for name in lint.files():
        lint.check_file(name)
    return 1 if lint.found else 0


if __name__ == "__main__":
    sys.exit(main())
