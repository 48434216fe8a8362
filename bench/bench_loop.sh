#!/bin/sh
# bench_loop.sh: some hundred short processes, as a configure script has. SPDX-License-Identifier: Apache-2.0
#
# usage: bench_loop.sh DIRECTORY ROUNDS
# CC names the compiler, which makes riscv64 objects on every machine; MACHINE is what
# uname -m must say, so that an emulator that starts the host's programs is found out.
# Works in DIRECTORY and prints what it found. Each round starts about 20 processes, one of
# them the compiler in every tenth round.
set -eu
dir=$1 rounds=$2
cd "$dir"
rm -f conf*
export LC_ALL=C
if [ "$(uname -m)" != "$MACHINE" ]; then
    echo "bench_loop: the programs are not those of a $MACHINE" >&2
    exit 1
fi
: >confdefs.h
i=0
while [ "$i" -lt "$rounds" ]; do
    name=$(expr "x_func_$i" : 'x_\(.*\)')
    upper=$(echo "$name" | tr 'a-z' 'A-Z')
    cat >conftest.c <<EOF
#define HAVE_$upper 1
int $name(int x) { return x * $i + 1; }
int main(void) { return $name(3) == 0; }
EOF
    cat confdefs.h conftest.c >conftest.all
    if grep "HAVE_$upper" conftest.all >/dev/null; then
        sed -e "s/HAVE_/WITH_/" -e 's/ 1$/ 2/' conftest.all >conftest.sed
        head -n 1 conftest.sed >>confdefs.h
    fi
    lines=$(wc -l <conftest.sed)
    lines=$(expr $lines + 0)
    if test -r conftest.c && test "$lines" -gt 2; then
        base=$(basename "/usr/include/$name.h" .h)
        where=$(dirname "/usr/include/$name.h")
        echo "$base in $where: $lines" >>config.out
    fi
    sort conftest.all | uniq -c | awk '{ n += $1 } END { print n }' >conftest.n
    read -r count <conftest.n
    cp conftest.c conftest.old
    if cmp -s conftest.c conftest.old; then rm -f conftest.old; fi
    if [ $((i % 10)) = 0 ]; then
        $CC -c conftest.c -o conftest.o
        test -s conftest.o
        echo "compiled $count for$(od -An -tu1 -j18 -N1 conftest.o)" >>config.out
    fi
    mkdir -p conf.dir && mv conftest.sed conf.dir/ && rm -rf conf.dir
    i=$((i + 1))
done
cat config.out confdefs.h | cksum
rm -rf conf*
