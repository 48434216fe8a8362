#!/usr/bin/env python3
"""t_coreutils.py: coreutils and their kin, one program a case. SPDX-License-Identifier: Apache-2.0"""

import shlex

import real

TEXT = real.sample(20000)
NUMBERS = "".join(f"{(i * 7919) % 1009} {chr(97 + i % 26)} {i}\n" for i in range(800))
FILES = {"text": TEXT, "numbers": NUMBERS, "empty": "", "dir/one": "1\n", "dir/two": "22\n",
         "a.csv": "k1,a\nk2,b\nk3,c\n", "b.csv": "k1,x\nk3,y\nk4,z\n", "zero": bytes(1000),
         "bin": bytes(range(256)) * 20}

# A command; after < the file that is its input, after | its status where it is not 0.
CASES = r"""
true
false | 1
echo hello world
echo -e 'a\tb\x41'
printf '%s-%d-%x-%e-%g\n' abc 42 255 3.25 1e100
printf '%.20f\n' 0.1
cat text numbers
cat -A bin
tac numbers
rev text
head -n 7 text
head -c 1234 bin
tail -n 5 text
tail -c 99 bin
wc text numbers bin
wc -L text
nl text
fold -w 33 text
fmt -w 50 text
pr -l 30 -h title text
expand numbers
unexpand -a numbers
cut -d, -f2 a.csv
cut -c 3-9 text
paste a.csv b.csv
join -t, a.csv b.csv
join -t, -a 1 -a 2 a.csv b.csv
comm a.csv b.csv
uniq -c a.csv
sort numbers
sort -n numbers
sort -k2,2 -k1,1nr numbers
sort -R --random-source=bin numbers
sort -u -t, -k1,1 a.csv b.csv
shuf --random-source=text -n 20 numbers
tsort numbers
factor 18446744073709551615 340282366920938463463374607431768211455 1000000007
seq 1 3 100
seq -f %.3f 0 0.1 2
seq -w 8 12
expr 6 * 7
expr abcdef : '.*\(cd\)'
numfmt --to=iec 1023 1024 1234567890
numfmt --from=si 1K 2.5M 3G
od -A x -t x1z bin
od -t f8 bin
od -t d2 -j 100 -N 200 bin
base64 bin
base32 bin
basenc --base16 bin
md5sum text bin numbers
sha1sum text bin numbers
sha224sum text
sha256sum text bin numbers
sha384sum text
sha512sum text bin numbers
b2sum text bin
cksum text bin
cksum -a sm3 text
cksum -a sha3 text | 1
sum text
sum -s text
ls dir
ls -1 --size-of | 2
ls -d dir text
ls no-such-file | 2
stat -c %n:%s:%F:%a text dir empty
du -b dir/one
basename /a/b/c.txt .txt
dirname /a/b/c.txt
readlink -f dir/../text
realpath -m /a/../b/./c
pathchk -p ok/name
mktemp -u --suffix=x -p /nowhere fixed | 1
test -f text
test -d text | 1
[ 3 -lt 4 ]
date -u -d @1234567890
date -u -d 2024-02-29T12:34:56 +%Y-%j-%U-%a-%s
date --date=tomorrow-rubbish | 1
env -i A=1 B=2
printenv HOME
id -u
whoami
nproc --ignore=100000
pwd
sleep 0.01
timeout 5 true
timeout 0.2 sleep 10 | 124
nice -n 3 nice
split -n 3 -d text part
split -l 100 numbers num
csplit -s numbers 100 200 300
dd if=bin of=copy bs=100 count=7 skip=3 status=none
dd if=text of=upper conv=ucase status=none
cp text text2
cp -r dir dir2
cp --sparse=always zero holes
mv text moved
ln -s text soft
ln text hard
mkdir -p x/y/z
mkdir -m 700 private
rmdir dir | 1
rm -r dir
rm no-such | 1
touch -d @1000000000 empty
chmod 640 text
chmod u+x,g-w text
truncate -s 77 text
install -m 750 text installed
mkfifo fifo -m 600
shred -n 1 --random-source=text -s 100 numbers
tr a-z A-Z < text
tr -d '\n' < text
tr -s [:alnum:] < text
tee out < text
ptx -w 60 a.csv
dircolors -p
users
grep abc text | 1
grep -c . text
grep -n -E '([0-9a-f])\1' text
grep -P '^\d+\s[aeiou]' numbers
grep -o -w '[0-9]*' numbers
grep -r 1 dir
grep 'bad[' text | 2
sed 's/a/<&>/g' text
sed -n 10,20p text
sed -n $= text
sed -E 's/([0-9]+) ([a-z])/\2:\1/' numbers
sed -i s/e/E/g text
sed 'y/abc/xyz/;s/x*$/!/' text
diff a.csv b.csv | 1
diff -u a.csv b.csv | 1
diff -y -W 40 a.csv b.csv | 1
diff -r dir dir
cmp text bin | 1
cmp -l a.csv b.csv | 1
diff3 a.csv a.csv b.csv
find dir -type f -name o*
find . -size +4k -printf '%f:%s:%m\n'
find dir -exec echo {} ';'
xargs -n 3 echo < numbers
xargs -P 2 -n 100 true < numbers
bc -l < sums
gzip -9 -n -k text
gzip -1 -n -k numbers
gzip -t text | 1
bzip2 -k text
tar -cf a.tar --sort=name --mtime=@0 --owner=0 --group=0 --mode=644 text dir
file text bin a.csv zero
strings bin
size text | 3
getopt -o ab: --long long -- -a -b 1 --long rest
rev < a.csv
kill -l
cat no-such-file | 1
"""


def main():
    real.require_roots()
    files = dict(FILES, sums="scale=30\n4*a(1)\ne(1)\n2^200\n7/3\ns(1)+c(1)\nsqrt(2)\n")
    for line in CASES.strip().splitlines():
        command, _, status = line.partition(" | ")
        command, _, source = command.partition(" < ")
        argv = shlex.split(command)
        stdin = files[source] if source else b""
        want = int(status) if status else 0
        real.same(line, ["/usr/bin/" + argv[0]] + argv[1:], files=files, stdin=stdin,
                  status=want)


main()
