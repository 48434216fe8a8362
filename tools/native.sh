#!/bin/sh
# native.sh: run the native twin of an emulated program. SPDX-License-Identifier: Apache-2.0
#
# usage: tools/native.sh [--root DIR] [--time FILE] PROGRAM [ARGUMENT...]
#
# PROGRAM runs with the native root of tools/riscv-root.sh as its root directory and the
# directories of this machine that the root lacks (home, /tmp, ...) at their usual places.
# Where no namespace may be made, the root's own dynamic linker starts the program: enough
# for one program, not for those that start others.
# --time FILE writes "user system wall maxrss" (seconds, KiB) of the program alone.
# --path prints the helper that does it (tools/native_root.c), for callers that run many.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${ISOMER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/isomer}
root=${ISOMER_ROOT_NATIVE:-}
report=
path_only=

while [ $# -gt 0 ]; do
    case $1 in
    --root) root=$2; shift 2 ;;
    --time) report=$2; shift 2 ;;
    --path) path_only=1; shift ;;
    --) shift; break ;;
    *) break ;;
    esac
done

helper=$cache/bin/native-root
if [ ! -x "$helper" ] || [ "$here/native_root.c" -nt "$helper" ]; then
    mkdir -p "$cache/bin"
    ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$helper.$$" "$here/native_root.c"
    mv "$helper.$$" "$helper"
fi
if [ -n "$path_only" ]; then
    echo "$helper"
    exit 0
fi
if [ $# -eq 0 ]; then
    echo "usage: tools/native.sh [--root DIR] [--time FILE] PROGRAM [ARGUMENT...]" >&2
    exit 2
fi
if [ -z "$root" ]; then
    root=$("$here/riscv-root.sh" --print | sed -n 's/^native=//p')
    [ -n "$root" ] || exit 1
fi

if "$helper" "$root" -- /bin/true 2>/dev/null; then
    exec "$helper" ${report:+-t "$report"} "$root" -- "$@"
fi
program=$1
shift
case $program in
/*) ;;
*) program=/usr/bin/$program ;;
esac
[ -e "$root$program" ] && program=$root$program
libs=$root/usr/lib/x86_64-linux-gnu
exec "$helper" ${report:+-t "$report"} -- "$root/usr/lib64/ld-linux-x86-64.so.2" \
    --library-path "$libs:$root/usr/lib" --argv0 "$program" "$program" "$@"
