#!/usr/bin/env python3
# t_doctor.py: isomer doctor. SPDX-License-Identifier: Apache-2.0
import json
import re
import shutil
from pathlib import Path

from install import ISOMER, check, run, skip, static_isomer


def main():
    status, out, err = run(ISOMER, "doctor")
    lines = [x for x in out.splitlines() if not x.startswith(" ")]
    check("every line has its word", len(lines) > 12 and
          all(re.match(r"(ok  |warn|fail)  \S+ +\S", x) for x in lines), out)
    bad = [i for i, x in enumerate(out.splitlines()) if x.startswith(("warn", "fail"))]
    check("every warning has a remedy", all(out.splitlines()[i + 1].startswith(" " * 20 + "-> ")
                                            for i in bad if i + 1 < len(out.splitlines())), out)
    check("exit status", status == (1 if "\nfail" in "\n" + out else 0), f"{status} {err}")
    status, out, err = run(ISOMER, "doctor", "--json")
    data = json.loads(out)
    check("JSON has the same checks", [c["check"] for c in data["checks"]] ==
          [x.split()[1] for x in lines], out)
    check("JSON names remedies", all(("remedy" in c) == (c["result"] != "ok")
                                     for c in data["checks"]), out)
    status, out, err = run("setarch", "-3", ISOMER, "doctor")
    check("personality is found", status == 1 and "fail  personality" in out, out + err)
    status, out, err = run("sh", "-c", f"ulimit -n 100; ulimit -v 200000000; {ISOMER} doctor")
    check("limits are found", "warn  ulimit-v" in out and "warn  ulimit-n" in out, out + err)

    exe = static_isomer()
    root = Path("root").resolve()
    root.mkdir()
    if exe:
        shutil.copy(exe, root / "isomer")
    status, out, err = run("unshare", "-Ur", "chroot", root, "/isomer", "doctor")
    if not exe or "WARN" not in out.upper():
        skip("in a chroot", err or "no static build (make static)")
        return
    check("in a chroot without /proc", "cannot be looked for without /proc" in out and
          "in a chroot: none can be made" in out and "modprobe" not in out, out)


main()
