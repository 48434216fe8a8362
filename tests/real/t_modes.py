#!/usr/bin/env python3
"""t_modes.py: real programs in every test mode of the engine. SPDX-License-Identifier: Apache-2.0

Each mode changes how code is made or left, never what it does: state maps on every exit,
registers at random, a code cache that overflows all the time, no links, hosts that lack
features, the interpreter, and generated code against the interpreter. Seeds are drawn
afresh each time and printed; TEST_SEED repeats one.
"""

import os
import random

import real

SEED = int(os.environ.get("TEST_SEED", random.randrange(1, 2**32)))

MODES = {
    "interpreter": ["--interpreter"],
    "lockstep": ["--lockstep"],
    "deopt": [f"--test-deopt={SEED}"],
    "random registers": [f"--test-ra={SEED}"],
    "both": [f"--test-deopt={SEED}", f"--test-ra={SEED}"],
    "tiny cache": ["--cache-size=256K"],
    "tiny cache, deopt": ["--cache-size=256K", f"--test-deopt={SEED}"],
    "no links": ["--no-link"],
    "tier 2": ["--tier2=on"],
    "tier 2 at once": ["--tier2=always"],
    "tier 2 at once, tiny cache": ["--tier2=always", "--cache-size=512K"],
    "tier 2, deopt": ["--tier2=sync", f"--test-deopt={SEED}", f"--test-ra={SEED}"],
    "no BMI": ["--cpu-features=-bmi"],
    "plain x86-64-v2": ["--cpu-features=-avx512,-avx2,-bmi,-fma"],
}
SLOW = {"interpreter", "lockstep"}

TEXT = real.sample(30000)
FILES = {"text": TEXT}

PROGRAMS = {
    "bash": (["/usr/bin/bash", "-c", "for ((i=0;i<300;i++)); do x=$((x*31+i)); a[i%7]=$x; done; "
              "echo $x ${a[@]}; printf '%.3f %s\\n' 2.5 ${x:0:4}"], b""),
    "pipeline": (["/usr/bin/bash", "-c", "seq 50 | sort -r | head -n 3 | tr 1 x; ls no; echo $?"],
                 b""),
    "sha256sum": (["/usr/bin/sha256sum", "text"], b""),
    "sort": (["/usr/bin/sort", "-u", "text"], b""),
    "gawk": (["/usr/bin/gawk", "{ n += length($0); s += sin(n) } END { print n; printf "
              "\"%.15g\\n\", s }", "text"], b""),
    "lua": (["/usr/bin/lua5.4", "-"], b"local t = {} for i = 1, 500 do t[i] = (i * 7919) % 503 end "
            b"table.sort(t) print(table.concat(t, ',')) print(math.pi ^ 3, pcall(error, 'x'))"),
    "perl": (["/usr/bin/perl", "-e", "my %h; $h{$_ % 7} .= chr(65 + $_ % 26) for 1..200; print "
              "map \"$_ $h{$_}\\n\", sort keys %h; printf '%.10g', exp(1.5)"], b""),
    "xz": (["/usr/bin/xz", "-k0", "text"], b""),
    "sqlite3": (["/usr/bin/sqlite3"], b"select sum(value), avg(value * 1.5) from "
                b"generate_series(1, 300);"),
}
ONLY_FAST = {"python3": (["/usr/bin/python3", "-S", "-c",
                          "print(sorted(hash(x) % 101 for x in range(0, 3000, 7))[::40], 2**90)"],
                         b"")}


def main():
    real.require_roots()
    for mode, flags in MODES.items():
        programs = PROGRAMS if mode in SLOW else {**PROGRAMS, **ONLY_FAST}
        for name, (argv, stdin) in programs.items():
            seed = f" seed {SEED}" if any(str(SEED) in f for f in flags) else ""
            real.same(f"{mode}: {name}{seed}", argv, files=FILES, stdin=stdin, flags=flags,
                      status=None)


main()
