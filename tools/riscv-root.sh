#!/bin/sh
# riscv-root.sh: fetch the Debian programs that tests, demo and bench run. SPDX-License-Identifier: Apache-2.0
#
# Two roots of the same Debian release, so that output and time are compared between the
# same versions of the same programs:
#   riscv64   what the emulator runs (isomer run -L)
#   native    the same packages for this machine (tools/native.sh), and its cross compiler
#
# They are fetched by apt with its own lists, cache and an empty status, so nothing is
# installed on this machine and no root rights are needed. The mirror is the one that this
# machine's own apt sources name; packages are checked against the archive keyring that is
# already here. Packages are unpacked, their maintainer scripts are never run; what those
# would have done and programs need (alternatives, byte code) is done below.
#
# usage: tools/riscv-root.sh [--set long] [--print | --force]
#   prints  riscv64=DIR  and  native=DIR  once both are there; does nothing when they are.
#   --set long  another pair: all of the usual one and large programs (tests/long)
#   --print  does not fetch: fails if they are not there
#   --force  fetches them again
# The cache is ${ISOMER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/isomer}.
set -eu

. "$(dirname "$0")/debian.sh"

# A change of this list or of what is done to a root must change the number, which is part
# of the directory's name.
generation=1
generation_long=1
set=

# In both roots, one line per reason.
packages="
    base-files base-passwd libc-bin
    bash dash coreutils sed grep findutils diffutils debianutils hostname
    gawk bc perl lua5.4 sqlite3 python3
    tar gzip bzip2 xz-utils zstd openssl
    gcc gcc-14 cpp libc6-dev binutils make
    file util-linux procps ncurses-base tzdata
"
# What the set "long" has beyond that.
packages_long="
    git cmake ninja-build rsync openssh-client openssh-server ca-certificates curl
    golang-go nodejs npm openjdk-21-jdk-headless rustc ghc ocaml-nox
    libpython3.13-testsuite python3-pip python3-venv tcl ruby php-cli erlang-base
    redis-server redis-tools postgresql-17 nginx-light wrk
    stress-ng strace gdb iproute2 netcat-openbsd psmisc time
    g++ g++-14 libffi-dev zlib1g-dev pkg-config
    apt dpkg debootstrap passwd adduser
"
# Makes, on this machine, the object files that the riscv64 gcc must make under emulation.
packages_native="gcc-14-riscv64-linux-gnu binutils-riscv64-linux-gnu"

say() { printf 'riscv-root: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

root_dir() { printf '%s/%s%s-%s-%s' "$cache" "$suite" "$set" "$1" "$generation"; }
have_root() { [ -e "$(root_dir "$1")/.complete" ]; }
print_roots() {
    printf 'riscv64=%s\nnative=%s\n' "$(root_dir riscv64)" "$(root_dir amd64)"
}

prepare_state() {
    state=$1 mirror=$2 name=$3
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/cache"
    : >"$state/status"
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$name" >"$state/sources.list"
}

is_suite() { grep -qs "^Codename: $suite\$" "$1"/lists/*Release; }

# Finds the first mirror that has the suite for the architecture; leaves lists in the state.
update_lists() {
    arch=$1 state=$2
    for mirror in $(mirrors | awk '!seen[$0]++'); do
        for name in "$suite" "$alias"; do
            rm -rf "$state"
            prepare_state "$state" "$mirror" "$name"
            if apt_for "$arch" "$state" -o APT::Update::Error-Mode=any update 2>"$work/errors" &&
                is_suite "$state"; then
                return 0
            fi
            sed 's/^/riscv-root: apt: /' "$work/errors" >>"$work/all-errors"
        done
    done
    cat "$work/all-errors" >&2
    return 1
}

# The same for the set "long".
finish_long() {
    echo '127.0.0.1 localhost' >"$1/etc/hosts"
    echo 'sshd:x:100:65534::/run/sshd:/usr/sbin/nologin' >>"$1/etc/passwd"
    {
        for what in passwd group shadow networks protocols services; do echo "$what: files"; done
        echo 'hosts: files dns'
    } >"$1/etc/nsswitch.conf"
}

# What maintainer scripts would have done, as far as programs here need it.
finish_root() {
    root=$1
    link() { [ -e "$root/$2" ] || [ ! -e "$root/usr/bin/$1" ] || ln -s "$1" "$root/$2"; }
    rm -f "$root/usr/bin/awk"
    link gawk usr/bin/awk
    link lua5.4 usr/bin/lua
    link luac5.4 usr/bin/luac
    link gcc usr/bin/cc
    link which.debianutils usr/bin/which
    link g++ usr/bin/c++
    link php8.4 usr/bin/php
    [ -e "$root/etc/passwd" ] || cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    [ -e "$root/etc/group" ] || cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    [ -z "$set" ] || finish_long "$root"
    mkdir -p "$root/tmp" "$root/proc" "$root/dev" "$root/sys" "$root/root" "$root/home"
    rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/info"
}

# Fetches and unpacks into $work/ARCH; nothing shows in the cache before all is there.
fetch_root() {
    arch=$1 root=$work/$1 state=$work/apt-$1
    shift
    say "fetching Debian $suite programs for $arch"
    update_lists "$arch" "$state" ||
        die "no Debian archive with $suite/$arch can be reached; this once, the network is needed"
    apt_for "$arch" "$state" --download-only install "$@" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die "apt could not fetch the $arch packages"
    }
    for d in bin sbin lib lib64; do
        mkdir -p "$root/usr/$d"
        ln -s "usr/$d" "$root/$d"
    done
    for deb in "$state"/archives/*.deb; do
        dpkg-deb -x "$deb" "$root" || die "cannot unpack ${deb##*/}"
        basename "$deb" >>"$root/.packages"
    done
    finish_root "$root"
    rm -rf "$state"
}

# Byte code of Python's library, as the package's scripts would have made: the same files in
# both roots, so that neither pays for compiling what the other has.
byte_code() {
    native=$1 riscv=$2
    if "$(dirname "$0")/native.sh" --root "$native" /usr/bin/python3 -c pass 2>/dev/null; then
        "$(dirname "$0")/native.sh" --root "$native" /usr/bin/python3 -m compileall -q \
            --invalidation-mode unchecked-hash /usr/lib/python3.13 /usr/lib/python3 >/dev/null || true
        (cd "$native" && find usr/lib/python3* -name '*.pyc' -print0 | tar -cf - --null -T -) |
            tar -xf - -C "$riscv"
    else
        say "the native root cannot be entered here: Python's byte code is not prepared"
    fi
}

publish() {
    rm -rf "$2"
    mv "$1" "$2"
    date -u +%Y-%m-%d >"$2/.complete"
}

if [ "${1-}" = --set ]; then
    [ "${2-}" = long ] || die "there is no set '${2-}', only 'long'"
    set=-long generation=$generation_long packages="$packages $packages_long"
    shift 2
fi
case ${1-} in
--print)
    { have_root riscv64 && have_root amd64; } || die "no programs in $cache yet: run 'make ${set:+long-}roots'"
    print_roots
    exit 0
    ;;
--force) rm -rf "$(root_dir riscv64)" "$(root_dir amd64)" ;;
'') ;;
*) die "usage: tools/riscv-root.sh [--set long] [--print | --force]" ;;
esac

if have_root riscv64 && have_root amd64; then
    print_roots
    exit 0
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "apt-get and dpkg-deb are needed (any Debian has them)"
[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
work=$cache/fetch.$$
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# shellcheck disable=SC2086 # the lists are words
fetch_root riscv64 $packages
# shellcheck disable=SC2086
fetch_root amd64 $packages $packages_native
byte_code "$work/amd64" "$work/riscv64"
publish "$work/riscv64" "$(root_dir riscv64)"
publish "$work/amd64" "$(root_dir amd64)"
print_roots
