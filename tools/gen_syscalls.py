#!/usr/bin/env python3
# gen_syscalls.py: system-call table of the process VM. SPDX-License-Identifier: Apache-2.0
"""Reads spec/linux_riscv64.syscalls (the format is described there) and prints C:
`decl` the prototypes of the handlers, `table` the initialisers of proc_calls[], `direct` those
of the table of calls that translated code makes by itself."""

import sys

HOWS = ("pass", "block", "call", "nosys", "perm")
LETTERS = "iuxfdptmogslnF-"
FIRST_COMMON = 424  # from here on every machine has the same numbers


def fail(path, line, why):
    sys.exit("%s:%d: %s" % (path, line, why))


def read(path):
    calls, seen = [], set()
    for n, line in enumerate(open(path), 1):
        line = line.split("#")[0].split()
        if not line:
            continue
        if len(line) != 4:
            fail(path, n, "want: number name how arguments")
        number, name, how, args = int(line[0]), line[1], line[2], line[3]
        if how not in HOWS:
            fail(path, n, "no way '%s'" % how)
        args = "" if args == "-" else args
        if len(args) > 6 or any(c not in LETTERS for c in args):
            fail(path, n, "bad arguments '%s'" % args)
        if number in seen or not 0 <= number < 512:
            fail(path, n, "number %d is out of range or there twice" % number)
        seen.add(number)
        calls.append((number, name, how, args))
    return calls


def bits(args, letters):
    return sum(1 << i for i, c in enumerate(args) if c in letters)


def main():
    path, what = sys.argv[1:3]
    calls = read(path)
    print("/* made by tools/gen_syscalls.py from spec/linux_riscv64.syscalls */")
    for number, name, how, args in calls:
        if what == "decl":
            if how == "call":
                print("PROC_SYS(%s);" % name)
            elif how in ("pass", "block") and number >= FIRST_COMMON:
                print("#ifndef __NR_%s\n#define __NR_%s %d\n#endif" % (name, name, number))
            continue
        host = "__NR_" + name if how in ("pass", "block") else "-1"
        pointers, paths = bits(args, "ptsln"), bits(args, "sln")
        if what == "direct":
            if host != "-1":
                print("    [%d] = {%s + 1, 0x%x, 0x%x}," % (number, host, pointers, paths))
            continue
        fields = ['"%s"' % name, '"%s"' % args]
        fields += [".fn = proc_sys_%s" % name if how == "call" else ".fn = 0"]
        fields += [".host_nr = %s" % host, ".error = %s" % ("EPERM" if how == "perm" else "ENOSYS"),
                   ".nargs = %d" % len(args), ".blocks = %d" % (how == "block")]
        fields += [".ptrs = 0x%x" % pointers, ".paths = 0x%x" % paths,
                   ".nofollow = 0x%x" % bits(args, "l"), ".maybe = 0x%x" % bits(args, "n"),
                   ".flags_arg = %d" % max(args.find("F"), 0)]
        print("    [%d] = {%s}," % (number, ", ".join(fields)))


if __name__ == "__main__":
    main()
