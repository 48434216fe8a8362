#!/bin/sh
# t_install.sh: what `make install` puts where. SPDX-License-Identifier: Apache-2.0
set -u

if ! meson install -C "$BUILD" --no-rebuild --quiet --destdir "$PWD/to" >log 2>&1; then
    echo "not ok - install: $(tail -n 1 log)"
    exit
fi
prefix=to$(meson introspect --buildoptions "$BUILD" | tr '{' '\n' |
    sed -n 's/.*"name": "prefix", "value": "\([^"]*\)".*/\1/p')
for file in bin/isomer bin/isomer-disk share/man/man1/isomer.1 include/isomer/isomer.h \
    include/isomer/disk.h \
    share/bash-completion/completions/isomer.bash; do
    if [ -s "$prefix/$file" ]; then echo "ok - $file"; else echo "not ok - $file: missing"; fi
done
extra=$(find to -type f | wc -l)
[ "$(readlink "$prefix/bin/isomer-riscv64")" = isomer ] && echo "ok - bin/isomer-riscv64" ||
    echo "not ok - bin/isomer-riscv64: no link"
[ "$extra" -eq 6 ] && echo "ok - nothing else" || echo "not ok - nothing else: $extra files"
[ "$("$prefix/bin/isomer" version)" = "$("$ISOMER" version)" ] && echo "ok - it runs" ||
    echo "not ok - it runs: no"
# The public header stands alone, in C and as C++ sees it.
echo '#include <isomer/isomer.h>' >x.c
${CC:-cc} -std=c99 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" x.c &&
    echo "ok - header compiles as C99" || echo "not ok - header compiles as C99: no"
