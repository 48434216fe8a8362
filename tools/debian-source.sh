#!/bin/sh
# debian-source.sh: fetch the upstream source of a Debian package. SPDX-License-Identifier: Apache-2.0
#
# For tests that run programs' own tests. Like tools/riscv-root.sh: by apt with lists and cache of its
# own, from the mirror that this machine's apt sources name, kept outside of the repository.
#
# usage: tools/debian-source.sh PACKAGE
#   prints the directory with the unpacked upstream source (no patches of Debian's)
set -eu

[ $# -eq 1 ] || { echo "usage: debian-source.sh PACKAGE" >&2; exit 2; }
. "$(dirname "$0")/debian.sh"

dir=$cache/source-$suite/$1
if [ ! -e "$dir/.complete" ]; then
    rm -rf "$dir" && mkdir -p "$dir/down"
    cd "$dir/down"
    state=$cache/source-$suite/apt
    for mirror in $(mirrors); do
        mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/cache"
        : >"$state/status"
        printf 'deb-src [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" \
            >"$state/sources.list"
        apt_for amd64 "$state" update >/dev/null 2>&1 || continue
        # The upstream source alone: a mirror may have dropped what a newer revision replaced.
        line=$(apt_for amd64 "$state" source --print-uris "$1" 2>/dev/null |
            grep -E '\.orig\.tar\.[a-z0-9]+ ' | head -n 1) || continue
        # shellcheck disable=SC2086 # 'URI' file size hash
        set -- "$1" $line
        uri=${2#\'} uri=${uri%\'}
        /usr/lib/apt/apt-helper download-file "$uri" "$3" "$5" >/dev/null 2>&1 && break
    done
    [ -e "${3:-}" ] || { echo "debian-source: no source of $1 can be fetched" >&2; exit 1; }
    tar -xf "$3" -C "$dir"
    rm -rf "$dir/down"
    touch "$dir/.complete"
fi
for source in "$dir"/*/; do
    printf '%s\n' "${source%/}"
done
