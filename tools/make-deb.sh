#!/bin/sh
# make-deb.sh: makes the Debian package. SPDX-License-Identifier: Apache-2.0
#
# usage: tools/make-deb.sh [--built DIR] [--output DIR]
#
# Packs the static build in DIR (made by `make static`; default build-static) and prints the
# package's path. The same commit and compiler give the same bytes. Who signs for it is taken
# from DEBFULLNAME and DEBEMAIL.
set -eu
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
built=$top/build-static
output=$PWD

fail() { printf 'make-deb: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
    case $1 in
    --built) built=$2 ;;
    --output) output=$2 ;;
    *) fail "usage: tools/make-deb.sh [--built DIR] [--output DIR]" ;;
    esac
    shift 2 || fail "usage: tools/make-deb.sh [--built DIR] [--output DIR]"
done
for tool in dpkg-deb meson strip gzip md5sum; do
    command -v $tool >/dev/null || fail "$tool is missing"
done
exe=$built/src/cli/isomer
[ -x "$exe" ] || fail "no $exe (make static)"
if readelf -lW "$exe" | grep -q INTERP; then
    fail "$exe is not static (make static)"
fi

: "${SOURCE_DATE_EPOCH:=$(git -C "$top" log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH
version=$("$exe" version | cut -d' ' -f2)
arch=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-Isomer maintainers} <${DEBEMAIL:-maintainers@isomer.invalid}>"
# what is linked statically: the C library, and what isomer-disk uses
built_using=$(dpkg-query -W -f '${source:Package} (= ${source:Version}), ' libc6-dev libfuse3-dev \
    libssl-dev zlib1g-dev libdeflate-dev libzstd-dev liburing-dev)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"

# ---- what meson installs, where a package has it
meson install -C "$built" --no-rebuild --quiet --destdir "$stage/to" >"$stage/log" 2>&1 ||
    fail "meson install: $(tail -n 1 "$stage/log")"
root=$stage/root
mkdir -p "$root/usr/bin" "$root/usr/share/doc/isomer" "$root/DEBIAN"
bin=$(find "$stage/to" -name isomer -path '*/bin/isomer')
cp -P "$bin" "$bin-riscv64" "$bin-disk" "$root/usr/bin/"
cp -r "${bin%/bin/isomer}/share/." "$root/usr/share/"
strip --strip-all --remove-section=.comment "$root/usr/bin/isomer" "$root/usr/bin/isomer-disk"
gzip -9n "$root/usr/share/man/man1/isomer.1"
ln -s isomer.1.gz "$root/usr/share/man/man1/isomer-riscv64.1.gz"
mv "$root/usr/share/bash-completion/completions/isomer.bash" \
    "$root/usr/share/bash-completion/completions/isomer"

# ---- documentation, registration
cp "$top/packaging/copyright" "$root/usr/share/doc/isomer/copyright"
cp "$top/docs/install.md" "$root/usr/share/doc/isomer/"
{
    printf 'isomer (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * Version %s.\n\n' "$version"
    printf ' -- %s  %s\n' "$maintainer" "$(LC_ALL=C date -uRd "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$root/usr/share/doc/isomer/changelog.gz"
"$exe" binfmt install --root "$root"

# ---- control
size=$(du -sk --apparent-size "$root/usr" | cut -f1)
sed -e "s|@VERSION@|$version|; s|@ARCH@|$arch|; s|@MAINTAINER@|$maintainer|; s|@SIZE@|$size|" \
    -e "s|@BUILT_USING@|${built_using%, }|" "$top/packaging/control.in" >"$root/DEBIAN/control"
for script in postinst prerm; do
    cp "$top/packaging/$script" "$root/DEBIAN/$script"
    chmod 755 "$root/DEBIAN/$script"
done
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$output"
deb=$output/isomer_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >"$stage/log" 2>&1 ||
    fail "dpkg-deb: $(tail -n 1 "$stage/log")"
echo "$deb"
