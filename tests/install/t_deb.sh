#!/bin/sh
# t_deb.sh: the Debian package: made, looked into, installed. SPDX-License-Identifier: Apache-2.0
set -u

check() { # NAME COMMAND...
    name=$1
    shift
    if "$@" >log 2>&1; then echo "ok - $name"; else echo "not ok - $name: $(tail -n 2 log)"; fi
}
built=$TOP/build-static
if ! [ -s "$built/src/cli/isomer.1" ]; then
    echo "skip - Debian package: no static build (make static)"
    exit
fi
if ! command -v dpkg-deb >/dev/null; then
    echo "skip - Debian package: no dpkg-deb"
    exit
fi
deb=$("$TOP/tools/make-deb.sh" --built "$built" --output "$PWD/one") || exit 1
again=$("$TOP/tools/make-deb.sh" --built "$built" --output "$PWD/two") || exit 1
check "the same bytes again" cmp "$deb" "$again"

# ---- what lintian would look at first
dpkg-deb -I "$deb" >info
dpkg-deb -c "$deb" >contents
dpkg-deb --ctrl-tarfile "$deb" | tar -tv >control
for field in Package Version Architecture Maintainer Section Priority Description \
    Installed-Size; do
    check "field $field" grep -q "^ $field: [^@]" info
done
for file in usr/bin/isomer usr/bin/isomer-riscv64 usr/share/man/man1/isomer.1.gz \
    usr/share/bash-completion/completions/isomer usr/lib/binfmt.d/riscv64-isomer.conf \
    usr/share/doc/isomer/copyright usr/share/doc/isomer/changelog.gz; do
    check "has /$file" grep -Eq " \./$file( |\$)" contents
done
check "all owned by root" test -z "$(grep -v ' root/root ' contents)"
check "nothing in /usr/local" test -z "$(grep usr/local contents)"
check "nothing others may write" test -z "$(grep -E '^[^l].......w' contents)"
check "scripts may be executed" test "$(grep -Ec '^-rwxr-xr-x .*(postinst|prerm)$' control)" = 2
dpkg-deb -x "$deb" files
dpkg-deb -e "$deb" files/DEBIAN
check "sums are right" sh -c 'cd files && md5sum --quiet -c DEBIAN/md5sums'
check "scripts parse" sh -n files/DEBIAN/postinst files/DEBIAN/prerm
check "static" sh -c '! readelf -lW files/usr/bin/isomer | grep -q INTERP'
check "stripped" sh -c '! readelf -SW files/usr/bin/isomer | grep -q debug_info'
check "link" test "$(readlink files/usr/bin/isomer-riscv64)" = isomer
check "man page" sh -c 'gzip -dc files/usr/share/man/man1/isomer.1.gz | grep -q "^.TH ISOMER 1"'

# ---- installed into a root of its own; scripts know that it is not the system's
if [ "$(id -u)" -ne 0 ]; then
    echo "skip - installing: not root"
    exit
fi
mkdir -p root/var/lib/dpkg/updates root/var/lib/dpkg/info
: >root/var/lib/dpkg/status
into="dpkg --root=$PWD/root --force-script-chrootless --log=/dev/null"
check "install" $into -i "$deb"
check "is installed" grep -q 'Status: install ok installed' root/var/lib/dpkg/status
check "it runs" sh -c "chroot root /usr/bin/isomer version | grep -q '^isomer [0-9]'"
check "verify" $into --verify isomer
check "upgrade" $into -i "$again"
check "remove" $into -P isomer
check "nothing is left" test -z "$(find root/usr -type f -o -type l 2>/dev/null)"
