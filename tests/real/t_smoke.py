#!/usr/bin/env python3
"""t_smoke.py: one small job for each of the programs. SPDX-License-Identifier: Apache-2.0

The first to run by hand, and the ones that the sanitizer build runs.
"""

import real

PROGRAMS = {
    "true": ["true"],
    "false": ["false"],
    "echo": ["echo", "hello"],
    "cat": ["cat", "text"],
    "sort": ["sort", "text"],
    "sha256sum": ["sha256sum", "text"],
    "ls": ["ls", "-a", "/usr/include/asm-generic", "no-such"],
    "dash": ["dash", "-c", "i=0; while [ $i -lt 50 ]; do i=$((i+1)); done; echo $i"],
    "bash": ["bash", "-c", "for i in {1..20}; do a+=($((i*i))); done; echo ${a[@]}"],
    "pipeline": ["bash", "-c", "seq 30 | grep 3 | wc -l; (exit 3); echo $?"],
    "signal": ["bash", "-c", "trap 'echo caught' TERM; kill $$; kill -9 $$"],
    "gawk": ["gawk", "{ n += NF } END { print n, sqrt(n) }", "text"],
    "perl": ["perl", "-e", "print join(',', map { $_ ** 2 } 1..9), \"\\n\""],
    "lua": ["lua5.4", "-e", "print(#'abc', 7 // 2, 2 ^ 0.5)"],
    "sqlite3": ["sqlite3", ":memory:", "select 6 * 7, sqlite_version();"],
    "xz": ["xz", "-k", "text"],
    "zstd": ["zstd", "-qk", "text"],
    "openssl": ["openssl", "dgst", "-sha512", "text"],
    "bc": ["bc", "-l", "sum"],
    "python3": ["python3", "-c", "print(sum(i * i for i in range(1000)), 2**100, 1 / 3)"],
    "tar": ["tar", "-cf", "a.tar", "--mtime=@0", "--owner=0", "--group=0", "--mode=644", "text"],
    "make": ["make", "-n", "-f", "/dev/null"],
    "gcc": ["gcc", "--version"],
}


def main():
    real.require_roots()
    files = {"text": real.sample(5000), "sum": "e(1)\n"}
    for name, argv in PROGRAMS.items():
        real.same(name, ["/usr/bin/" + argv[0], *argv[1:]], files=files, status=None)


main()
