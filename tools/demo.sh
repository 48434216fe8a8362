#!/bin/bash
# demo.sh: what Isomer is for, in half a minute. SPDX-License-Identifier: Apache-2.0
#
# usage: tools/demo.sh ISOMER
#
# Runs riscv64 programs of Debian, each beside its native twin of the same version. CPU time
# is of the program and all its children. Fails if a program fails or prints something else
# than its twin.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
isomer=$(realpath "${1:?usage: tools/demo.sh ISOMER}")
riscv=${ISOMER_ROOT_RISCV64:-$("$top/tools/riscv-root.sh" --print | sed -n 's/^riscv64=//p')}
native=${ISOMER_ROOT_NATIVE:-$("$top/tools/riscv-root.sh" --print | sed -n 's/^native=//p')}
helper=$("$top/tools/native.sh" --path)
[ -n "$riscv" ] && [ -n "$native" ] && [ -x "$helper" ] || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$top"/demo/* "$work"
cd "$work" || exit 1
export PATH=/usr/bin:/usr/sbin LC_ALL=C HOME=/
failed=0
enterable=1
"$helper" "$native" -- /bin/true 2>/dev/null || enterable=

# cpu FILE: user and system seconds, summed
cpu() { awk '{ printf "%.3f", $1 + $2 }' "$1"; }

# show WHAT TWIN PROGRAM ARGUMENT...: one program, both ways. TWIN says how to run it natively
# when that is not the same command ("=").
show() {
    local what=$1 twin=$2 status ours theirs
    shift 2
    printf '\n\033[1m%s\033[0m\n$ isomer run -L RISCV64-ROOT %s\n' "$what" "$*"
    [ "$twin" = = ] && twin=$*
    # shellcheck disable=SC2086 # the twin is words
    "$helper" -t t.native "$native" -- $twin >out.native 2>&1 </dev/null
    "$helper" -t t.isomer -- "$isomer" run -L "$riscv" "$@" >out.isomer 2>&1 </dev/null
    status=$?
    sed 's/^/    /' out.isomer
    if [ $status -ne 0 ]; then
        echo "    exit status $status"
        failed=1
        return
    fi
    ours=$(cpu t.isomer) theirs=$(cpu t.native)
    if [ -z "$enterable" ]; then
        echo "  emulated $ours s (no native twin: no namespaces may be made here)"
        return
    fi
    if ! cmp -s <(sed 's/riscv64/MACHINE/' out.isomer) <(sed 's/x86_64/MACHINE/' out.native); then
        echo "    the native program prints something else:"
        sed 's/^/    /' out.native
        failed=1
    fi
    awk -v a="$ours" -v b="$theirs" 'BEGIN {
        printf("  emulated %.3f s, native %.3f s: %.1f times\n", a, b, (b > 0 ? a / b : 0)) }'
}

show "A riscv64 shell, its pipes and children" = /usr/bin/bash primes.sh
show "A riscv64 gcc compiles, assembles and links a program" \
    "/usr/bin/gcc -O2 queens.c -o queens-native -lm" \
    /usr/bin/gcc -O2 queens.c -o queens -lm
show "The program it made" "./queens-native" ./queens
show "A riscv64 Python" = /usr/bin/python3 words.py
echo
if [ $failed -ne 0 ]; then
    echo "demo: failed" >&2
    exit 1
fi
echo "Try it: $isomer run -L $riscv /usr/bin/bash"
