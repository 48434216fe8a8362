#!/bin/sh
# setup.sh: install what building and testing need. SPDX-License-Identifier: Apache-2.0
#
# usage: tools/setup.sh [--check]
#
# Installs the Debian packages below that are missing: as root without asking, else through
# sudo, saying what. Does not touch apt when all are there, so it works offline from then on.
# --check only says what is missing (exit status 1 if anything is).
set -eu

# group: packages, and why
needed() {
    # To build: compiler, build system.
    echo gcc libc6-dev meson ninja-build pkg-config
    # To print host code in dumps and `isomer explain`; loaded when it is first needed.
    echo libcapstone-dev
    # Virtual disks: I/O, compression, TLS and encryption, a file system in user space.
    echo liburing-dev zlib1g-dev libdeflate-dev libzstd-dev libisal-dev libssl-dev libfuse3-dev
    # Who else reads and writes disks, to test against; to unmount, to make certificates.
    echo qemu-utils libnbd-bin nbdkit cryptsetup-bin fuse3 openssl
    # Generators, lint and the test runner.
    echo python3
    # To make test programs for the guest, and look into them.
    echo gcc-riscv64-linux-gnu libc6-dev-riscv64-cross binutils-riscv64-linux-gnu
    # C programs drawn at random, to compare all modes with.
    echo csmith libcsmith-dev
    # Disk images: asynchronous I/O.
    echo liburing-dev
    # The emulator that tests compare with and the bench measures against.
    echo qemu-user
    # The debugger at the other end of --gdb, and what --trace is compared with.
    echo gdb-multiarch strace
    # To fetch Debian's riscv64 programs (tools/riscv-root.sh) and to unpack them.
    echo apt dpkg debian-archive-keyring tar xz-utils
    # To start riscv64 programs in containers.
    echo bubblewrap crun
    # The sources of riscv-tests, and `.ci/run` in a clone.
    echo git make
}

missing() {
    # shellcheck disable=SC2046
    for p in $(needed); do
        case $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) in
        *' installed') ;;
        *) printf '%s ' "$p" ;;
        esac
    done
}

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v dpkg-query >/dev/null; then
    say "this is not Debian: please install by hand: $(needed | tr '\n' ' ')"
    exit 1
fi
list=$(missing)
if [ -z "$list" ]; then
    exit 0
fi
if [ "${1-}" = --check ]; then
    say "missing: $list"
    exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root='sudo env'
    say "needs these packages and asks sudo to install them: $list"
else
    say "please install as root (there is no sudo): apt-get install $list"
    exit 1
fi

# Lists may never have been fetched (fresh machine) or be too old for the mirror: install,
# and only if that fails, refresh the lists and try again.
install() {
    # shellcheck disable=SC2086
    $as_root ${as_root:+DEBIAN_FRONTEND=noninteractive} apt-get -qq -y --no-install-recommends \
        install $list >"$log" 2>&1
}
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
say "installing $list"
if ! install; then
    # shellcheck disable=SC2086
    $as_root apt-get -qq update >"$log" 2>&1 || true
    install || {
        tail -n 5 "$log" >&2
        say "apt-get could not install the packages above (is the network there?)"
        exit 1
    }
fi
