#!/usr/bin/env python3
"""t_suites.py: programs' own tests pass as they do natively. SPDX-License-Identifier: Apache-2.0

usage: t_suites.py [SUITE [WORD...]]

The tests of Debian's source packages, run on the packaged programs: perl, coreutils, grep, sed,
gawk, make. A case is a test file: where it reports single results (TAP), each one that passes
natively must pass emulated; else its exit status counts. One that fails natively counts for nothing.
What differs is run twice more before it counts: some depend on time.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import long
import real

LIMIT = 600  # seconds for a test file
SKIPPED = 77  # a GNU test's status if it cannot do its work, with less memory for one
RESULT = re.compile(r"^(not )?ok (\d+)(.*)$", re.M)
MACHINE = re.compile(r"(x86_64|riscv64)-linux-gnu")


def sources(package):
    """The unpacked upstream source."""
    got = subprocess.run([real.TOP / "tools/debian-source.sh", package], stdout=subprocess.PIPE,
                         text=True)
    return Path(got.stdout.strip()) if got.returncode == 0 else None


class Machine:
    """One of the two, with its own copy of a suite."""

    def __init__(self, name, command, root, suite, source):
        self.command, self.root, self.name = command, Path(root), name
        self.top = Path.cwd() / name / suite
        shutil.rmtree(self.top, ignore_errors=True)
        self.top.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", source, self.top], check=True)

    def run(self, argv, cwd, env, stdin=None):
        """Status and what was printed."""
        env = {**real.ENV, "HOME": str(self.top), "TMPDIR": str(self.top / "tmp"), **env}
        (self.top / "tmp").mkdir(exist_ok=True)
        try:
            got = subprocess.run(self.command(argv), cwd=cwd, env=env,
                                 stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=LIMIT, start_new_session=True)
            return got.returncode, got.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            return "no end", (late.stdout or b"").decode(errors="replace")


# ---- suites: prepare(machine), tests(machine), start(machine, test) -> status, text ----------


class Perl:
    """t/ and lib/ on the installed perl, whose library stands in the place of the built one."""
    directories = "base cmd comp io re uni mro op lib class".split()

    def prepare(self, m):
        version = "5.40"
        lib = m.top / "lib"
        for part in m.root.glob(f"usr/lib/*/perl/{version}"), m.root.glob(f"usr/share/perl/{version}"):
            for source in part:
                subprocess.run(["cp", "-aL", f"{source}/.", lib], check=True)
        base = next(m.root.glob("usr/lib/*/perl-base"))
        subprocess.run(["cp", "-aL", f"{base}/.", lib], check=True)

    def tests(self, m):
        found = [p for d in self.directories for p in (m.top / "t" / d).glob("*.t")]
        found += list((m.top / "lib").glob("*.t"))
        return sorted(str(p.relative_to(m.top)) for p in found)

    def start(self, m, test):
        cwd = m.top / "t"
        argv = ["/usr/bin/perl", "-I../lib", f"../{test}" if test.startswith("lib/") else test[2:]]
        return m.run(argv, cwd, {"PERL_CORE": "1", "PERL_UNICODE": "", "PERL_HASH_SEED": "0",
                                "PERL_RAND_SEED": "1"})


class Gnu:
    """Tests of the kind of coreutils: one program each, which sources init.sh; 77 is skipped."""

    def __init__(self, folder, programs, more=None):
        self.folder, self.programs, self.more = folder, programs, more or {}

    def prepare(self, m):
        bin = m.top / "src"
        bin.mkdir(exist_ok=True)
        names = [n for n in self.programs if (m.root / "usr/bin" / n).exists()]
        for name in names:
            shutil.copy(m.root / "usr/bin" / name, bin / name)
        self.built = " ".join(names)
        (m.top / "lib").mkdir(exist_ok=True)
        (m.top / "lib/config.h").touch()
        (m.top / "config.h").touch()

    def tests(self, m):
        found = [p for p in (m.top / self.folder).rglob("*")
                 if p.suffix in (".sh", ".pl") and os.access(p, os.X_OK) and p.name != "init.sh"]
        if self.folder == "tests" and self.programs == ["grep", "egrep", "fgrep"]:
            found += [p for p in (m.top / "tests").iterdir()
                      if p.is_file() and os.access(p, os.X_OK) and not p.suffix]
        return sorted(str(p.relative_to(m.top)) for p in set(found))

    def start(self, m, test):
        top = str(m.top)
        inside = self.more.get("inside")  # tests are started in their own folder
        cwd = m.top / self.folder if inside else m.top
        src = "." if inside else (self.folder if self.more.get("srcdir") else ".")
        env = {
            "abs_top_builddir": top, "abs_top_srcdir": top,
            "abs_srcdir": f"{top}/{self.folder}" if inside else top,
            "srcdir": src, "top_srcdir": ".." if inside else ".", "built_programs": self.built,
            "fail": "0", "host_os": "linux-gnu", "host_triplet": "x-unknown-linux-gnu",
            "CONFIG_HEADER": f"{top}/config.h", "CC": "cc", "AWK": "gawk", "EGREP": "grep -E",
            "EXEEXT": "", "MAKE": "make", "PERL": "perl", "SHELL": "/bin/sh", "VERSION": "0",
            "PACKAGE_VERSION": "0", "LOCALE_FR": "none", "LOCALE_FR_UTF8": "none",
            "CU_TEST_NAME": "x", "GREP_TEST_NAME": "x", "PCRE_WORKS": "1", "stderr_fileno_": "9",
            "RUN_EXPENSIVE_TESTS": "no", "PATH": f"{top}/src:/usr/bin:/usr/sbin:/bin",
        }
        name = str(Path(test).relative_to(self.folder)) if inside else test
        first = (m.top / test).read_bytes()[:100]
        if b"perl" in first.split(b"\n")[0]:
            modules = "." if inside else self.folder
            how = (f"exec perl -w -I {modules} -MCuSkip -MCoreutils "
                   f"-M'CuTmpdir qw({Path(test).name})' ./{name}")
        else:
            how = f"exec sh ./{name}"
        return m.run(["/bin/sh", "-c", how + " 9>&2"], cwd, env)


class Gawk:
    """NAME.awk with NAME.in as input, or none."""
    # Says what a name server does, which the native root does not know.
    ignored = {"nonfatal1.awk"}

    def prepare(self, m):
        pass

    def tests(self, m):
        return sorted(f"test/{p.name}" for p in (m.top / "test").glob("*.awk")
                      if p.name not in self.ignored and p.with_suffix(".ok").exists())

    def start(self, m, test):
        path = m.top / test
        data = path.with_suffix(".in")
        with open(data if data.exists() else "/dev/null", "rb") as stdin:
            # some, run without their arguments, print for ever
            status, text = m.run(["/usr/bin/bash", "-c", f"timeout 20 gawk -f {path.name} | head -c "
                                  "200000; echo ${PIPESTATUS[0]}"], m.top / "test", {}, stdin)
        return 0, f"{status}\n" + text.replace(str(m.top), "")

    exact = True  # what is printed is compared


class Make:
    """The driver runs one script at a time."""

    def prepare(self, m):
        (m.top / "tests/work").mkdir(exist_ok=True)

    def tests(self, m):
        scripts = (m.top / "tests/scripts").rglob("*")
        return sorted(str(p.relative_to(m.top / "tests/scripts")) for p in scripts if p.is_file())

    def start(self, m, test):
        status, text = m.run(["/usr/bin/perl", "./run_make_tests.pl", "-srcdir", "..", "-make",
                              "/usr/bin/make", test], m.top / "tests", {})
        return (0 if re.search(r"\d+ Tests? in \d+ Categor\w+ Complete.*No Failures", text) else
                status or 1), text


COREUTILS = """[ arch b2sum base32 base64 basename basenc cat chcon chgrp chmod chown chroot cksum comm cp
csplit cut date dd df dir dircolors dirname du echo env expand expr factor false fmt fold groups head
hostid id install join link ln logname ls md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt
od paste pathchk pinky pr printenv printf ptx pwd readlink realpath rm rmdir runcon seq sha1sum sha224sum
sha256sum sha384sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync tac tail tee test
timeout touch tr true truncate tsort tty uname unexpand uniq unlink users vdir wc who whoami yes""".split()

SUITES = {
    "perl": ("perl", Perl()),
    "coreutils": ("coreutils", Gnu("tests", COREUTILS)),
    "grep": ("grep", Gnu("tests", ["grep", "egrep", "fgrep"], {"inside": True})),
    "sed": ("sed", Gnu("testsuite", ["sed"])),
    "gawk": ("gawk", Gawk()),
    "make": ("make-dfsg", Make()),
}


# ---- comparing --------------------------------------------------------------------------------


def passed(status, text, exact):
    """Names of what passed."""
    if exact:
        return {text}
    results = {f"{n}{MACHINE.sub('ARCH', name).split('#')[0].rstrip()}"
               for bad, n, name in RESULT.findall(text) if not bad}
    return results | {"status"} if status == 0 else results


def shorten(names):
    names = sorted(names)
    return ", ".join(n[:60] for n in names[:4]) + (f", {len(names) - 4} more" if names[4:] else "")


def compare(suite, kind, test, native, ours):
    exact = getattr(kind, "exact", False)
    want = passed(*kind.start(native, test), exact)
    if not want:
        return 0
    for attempt in range(3):
        status, text = kind.start(ours, test)
        missing = want - passed(status, text, exact)
        if not missing:
            return len(want)
        if status == SKIPPED:
            print(f"skip - {suite} {test}: {text.strip().splitlines()[-1][:100]}", flush=True)
            return 0
        if attempt:  # is it natively so each time?
            want &= passed(*kind.start(native, test), exact)
    log = Path(f"{suite}-{test.replace('/', '-')}.log")
    log.write_text(text)
    print(f"not ok - {suite} {test}: {len(missing)} of {len(want)}, status {status}: "
          f"{'other output' if exact else shorten(missing)}", flush=True)
    return 0


def run(suite, words):
    package, kind = SUITES[suite]
    source = sources(package)
    if not source:
        print(f"skip - {suite}: the source package cannot be fetched")
        return
    native = Machine("native", real.native_command, real.NATIVE, suite, source)
    ours = Machine("riscv64", real.emulated_command, real.RISCV, suite, source)
    for m in (native, ours):
        kind.prepare(m)
    total = files = 0
    for test in kind.tests(native):
        if words and not any(w in test for w in words):
            continue
        n = compare(suite, kind, test, native, ours)
        total += n
        files += n > 0
    print(f"ok - {suite}: {files} files, {total} results as natively", flush=True)


def main():
    long.need_twin()
    for suite in sys.argv[1:2] or SUITES:
        run(suite, sys.argv[2:])


main()
