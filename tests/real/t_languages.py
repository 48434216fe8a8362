#!/usr/bin/env python3
"""t_languages.py: gawk, perl, lua, sqlite3, bc, python3. SPDX-License-Identifier: Apache-2.0"""

import real

NUMBERS = "".join(f"{(i * 7919) % 1009} {chr(97 + i % 26)} {i * 0.37:.3f}\n" for i in range(2000))
FILES = {"numbers": NUMBERS, "text": real.sample(60000)}

AWK = {
    "sums": '{ s += $1; t[$2] += $3 } END { print s; n = asorti(t, k); '
            'for (i = 1; i <= n; i++) printf "%s %.4f\\n", k[i], t[k[i]] }',
    "floating point": 'BEGIN { for (i = 1; i < 40; i++) printf "%.17g %.17g %.17g %.17g %e\\n", '
                      'sin(i), exp(i), log(i), atan2(i, 3), sqrt(i) ^ i }',
    "strings": '{ gsub(/[0-9]+/, "<&>"); x = toupper($2) substr($0, 3, 5); '
               'if (match(x, /[A-C]/)) print x, RSTART, index($0, "."), length(x) }',
    "split and sprintf": '{ n = split($0, a, /[ .]/); printf "%s-%05d-%x\\n", a[n], $1, $1 }',
    "random": 'BEGIN { srand(42); for (i = 0; i < 50; i++) print rand(), int(rand() * 100) }',
    "bits": 'BEGIN { print and(12, 10), or(12, 10), xor(12, 10), lshift(1, 40), compl(5) }',
    "getline and system": 'BEGIN { while (("seq 5" | getline x) > 0) s += x; print s; '
                          'print system("exit 3"); print strftime("%F %T", 86400, 1) }',
    "word count": '{ for (i = 1; i <= NF; i++) c[$i]++ } END { PROCINFO["sorted_in"] = '
                  '"@ind_str_asc"; for (w in c) if (c[w] > 60) print w, c[w] }',
}

PERL = {
    "regular expressions": 'while (<>) { print "$2:$1\\n" if /^(\\d+) ([a-e])/; } '
                           'my $s = "aXbXc"; (my $t = $s) =~ s/X(.)/<$1>/g; print "$t\\n"; '
                           'print join("|", "a1b22c333" =~ /(\\d+)/g), "\\n"; '
                           'print "bal\\n" if "((x)(y))" =~ /^(\\((?:[^()]|(?1))*\\))$/;',
    "hashes and sorting": 'my %h; while (<>) { my @f = split; push @{$h{$f[1]}}, $f[0]; } '
                          'for (sort keys %h) { print "$_ ", join(",", (sort { $a <=> $b } '
                          '@{$h{$_}})[0..5]), "\\n" }',
    "floating point": 'printf "%.17g %.17g %.17g\\n", sin($_), exp($_ / 3), $_ ** 0.5 for 1..40; '
                      'print 0.1 + 0.2, " ", 1e308 * 10, " ", -17 % 5, " ", 7.5 % 4, "\\n"; '
                      'print 9**9**9 / 9**9**9, "\\n"',
    "big integers": 'use Math::BigInt; my $f = Math::BigInt->new(1); $f *= $_ for 1..60; '
                    'print "$f\\n"; print Math::BigInt->new(2)->bpow(300), "\\n"',
    "pack": 'print unpack("H*", pack("nNvVqQdfw", 1, 2, 3, 4, -5, 6, 1.5, 2.5, 300)), "\\n"; '
            'print unpack("%32C*", "checksum" x 100), "\\n"',
    "closures and objects": 'package P; sub new { bless {v => $_[1]}, $_[0] } sub v { $_[0]{v} } '
                            'package Q; our @ISA = ("P"); sub v { 2 * $_[0]->SUPER::v() } '
                            'package main; print Q->new(21)->v, "\\n"; my @c = map { my $n = $_; '
                            'sub { $n++ } } 1..3; print $_->(), $_->(), "\\n" for @c',
    "digests": 'use Digest::MD5 "md5_hex"; use Digest::SHA "sha512_hex"; '
               'use MIME::Base64; print md5_hex("a" x 1000), sha512_hex("b" x 1000), '
               'encode_base64(join "", map chr, 0..255)',
    "sprintf and sort": 'print map { sprintf "%-10s|%+5d|%#x|%e\\n", $_ x 3, ord, ord, ord } '
                        'sort { $b cmp $a } "a".."m"',
    "local and eval": 'my $r = eval { die {code => 7} }; print $@->{code}, "\\n"; '
                      'eval "1 +"; print $@ ? "syntax\\n" : "none\\n"; $SIG{ALRM} = '
                      'sub { die "alarm\\n" }; eval { alarm 1; select undef, undef, undef, 5 }; '
                      'print $@',
    "fork and pipe": 'pipe my $r, my $w; my $p = fork; if (!$p) { print $w "child\\n"; exit 3 } '
                     'close $w; print <$r>; waitpid $p, 0; print $? >> 8, "\\n"; '
                     'print `echo back; exit 2`, $? >> 8, "\\n"',
    "unicode": 'use utf8; use open ":std", ":utf8"; my $s = "Grüße, 世界"; print length $s, uc $s, '
               '"\\n"; print join(" ", map { sprintf "%x", ord } split //, $s), "\\n"',
    "die": 'die "the end\\n"',
}

LUA = {
    "numbers": 'for i = 1, 30 do print(math.sin(i), i // 7, i % -7, i / 3, 2 ^ i, i << i) end '
               'print(math.maxinteger + 1 == math.mininteger, 1e15, 0x7fp-3, 10 // 0.0)',
    "strings": 'for w in ("the quick brown fox"):gmatch("%a+") do io.write(w:upper():reverse(), '
               '" ") end print(("x"):rep(5, ","), ("%5.2f|%q|%x"):format(3.14159, "a\\nb", 255)) '
               'print(string.pack("<i4d", 7, 1.5):byte(1, -1))',
    "tables": 'local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1009 end table.sort(t) '
              'print(table.concat(t, ",", 1, 50), #t, select("#", table.unpack(t, 1, 99)))',
    "closures and metatables": 'local V = {} V.__index = V V.__add = function(a, b) return '
                               'setmetatable({x = a.x + b.x}, V) end local v = setmetatable({x = 1}, '
                               'V) + setmetatable({x = 2}, V) print(v.x)',
    "coroutines": 'local function gen(n) return coroutine.wrap(function() for i = 1, n do '
                  'coroutine.yield(i * i) end end) end for v in gen(10) do io.write(v, " ") end',
    "errors": 'print(select(2, pcall(error, {code = 1})).code) print(select(2, pcall(function() local x = nil; '
              'return x.y end))) print(load("x ="))',
    "garbage": 'local t for i = 1, 200000 do t = {i, tostring(i)} end collectgarbage() print(t[2])',
    "n-queens": 'local function q(n, r, c, d, e) if r > n then return 1 end local s = 0 for i = 1, '
                'n do if not (c[i] or d[r + i] or e[r - i]) then c[i], d[r + i], e[r - i] = true, '
                'true, true s = s + q(n, r + 1, c, d, e) c[i], d[r + i], e[r - i] = nil end end '
                'return s end print(q(7, 1, {}, {}, {}))',
}

SQL = {
    "tables and joins": "create table a(i integer primary key, t text, r real); "
                        "with recursive n(x) as (select 1 union all select x + 1 from n limit 2000) "
                        "insert into a select x, 'name' || x % 17, x * 0.37 from n; "
                        "create index k on a(t); select t, count(*), sum(r), avg(r), min(i) from a "
                        "group by t order by 3 desc; select x.i, y.t from a x join a y on "
                        "x.i = y.i * 3 where x.t = y.t limit 20; explain query plan select * from "
                        "a where t = 'name3';",
    "window functions": "with recursive n(x) as (select 1 union all select x + 1 from n limit 50) "
                        "select x, sum(x) over (order by x rows 3 preceding), rank() over "
                        "(order by x % 7), lag(x, 2) over (order by x) from n;",
    "json": "select json_extract('{\"a\":[1,2,{\"b\":\"c\"}]}', '$.a[2].b'), "
            "json_group_array(value) from json_each('[3,1,2]');",
    "floating point": "select 1.0/3, round(2.567, 2), 1e300*1e10, cast('12.5x' as real), "
                      "printf('%.15g %e', 0.1, 12345.678), 9223372036854775807 + 1;",
    "transactions": "create table t(x unique); begin; insert into t values (1); rollback; "
                    "insert into t values (2); insert or ignore into t values (2); "
                    "select count(*), total(x) from t; pragma integrity_check;",
    "full text": "create virtual table f using fts5(b); insert into f values ('the quick fox'), "
                 "('lazy dogs'), ('quick dogs'); select * from f where f match 'quick NOT fox';",
    "error": "select * from nowhere;",
}

PYTHON = {
    "numbers": "print(2**200, 10**50 // 7**20, -7 // 2, 0.1 + 0.2, round(2.5), 1e308 * 10, "
               "complex(1, 2)**3, (0.1).hex(), float('nan'), divmod(-7, 3))",
    "math": "import math\nfor i in range(1, 40): print(math.sin(i), math.exp(i), math.log(i), "
            "math.gamma(i / 3), math.erf(i / 10), math.fma(i, 1.1, -i) if hasattr(math, 'fma') "
            "else 0, math.hypot(i, 3))",
    "collections": "from collections import *\nc = Counter('abracadabra'); print(c.most_common(3)); "
                   "d = defaultdict(list); [d[i % 7].append(i) for i in range(50)]; print(dict(d)); "
                   "print(sorted({i * i % 101 for i in range(60)}), deque(range(9), 4))",
    "classes and exceptions": "class A:\n  def __init__(s, v): s.v = v\n  def __add__(s, o): "
                              "return A(s.v + o.v)\n  def __repr__(s): return f'A({s.v!r})'\n"
                              "print(A(1) + A(2))\ntry:\n  {}['k']\nexcept KeyError as e:\n  "
                              "print(repr(e))\nfinally:\n  print('fin')",
    "generators": "def p():\n  s = []\n  n = 2\n  while 1:\n    if all(n % q for q in s): "
                  "s.append(n); yield n\n    n += 1\nfrom itertools import islice\n"
                  "print(list(islice(p(), 200))[-5:])",
    "regular expressions": "import re\nprint(re.sub(r'(\\w)(\\w+)', r'\\2\\1', 'the quick brown'), "
                           "re.findall(r'(?P<y>\\d{4})-(\\d\\d)', '2024-05 1999-12'), "
                           "re.split(r'[,;]\\s*', 'a, b;c'))",
    "json and struct": "import json, struct\nprint(json.dumps({'a': [1, 2.5, None, True], "
                       "'b': 'é'}, sort_keys=True), json.loads('[1e3, \"\\\\u00e9\"]'), "
                       "struct.pack('<iqdf', 1, -2, 1.5, 2.5).hex())",
    "hashes": "import hashlib, zlib, binascii\nd = bytes(range(256)) * 50\nfor n in ('md5', 'sha1', "
              "'sha256', 'sha512', 'blake2b', 'sha3_256'): print(n, hashlib.new(n, d).hexdigest())\n"
              "print(zlib.crc32(d), zlib.adler32(d), binascii.crc_hqx(d, 0))",
    "compression": "import zlib, bz2, lzma, random\nrandom.seed(5)\nd = bytes(random.choices("
                   "b'abcdefgh ', k=20000))\nfor m in zlib, bz2, lzma:\n  c = m.compress(d); "
                   "print(len(c), m.decompress(c) == d)",
    "random": "import random\nrandom.seed(42)\nprint([random.random() for _ in range(5)], "
              "random.gauss(0, 1), random.sample(range(100), 10), random.getrandbits(200))",
    "decimal and fractions": "from decimal import *\nfrom fractions import Fraction\ngetcontext().prec "
                             "= 60\nprint(Decimal(2).sqrt(), Decimal(1) / 7, Fraction(3, 7) ** 5)",
    "datetime": "from datetime import *\nd = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)\n"
                "print(d.isoformat(), d + timedelta(days=366), d.timestamp(), d.strftime('%A %j'))",
    "threads": "import threading, queue\nq = queue.Queue()\nr = []\ndef w():\n  while (i := q.get()) "
               "is not None: r.append(i * i)\nts = [threading.Thread(target=w) for _ in range(4)]\n"
               "[t.start() for t in ts]\n[q.put(i) for i in range(200)]\n[q.put(None) for _ in ts]\n"
               "[t.join() for t in ts]\nprint(sum(r), len(r))",
    "subprocess": "import subprocess, sys\nprint(subprocess.run(['seq', '3'], capture_output=True)."
                  "stdout, subprocess.run(['sh', '-c', 'exit 4']).returncode)\nprint(subprocess."
                  "check_output([sys.executable, '-c', 'print(6 * 7)']))",
    "multiprocessing": "import multiprocessing as m\nif __name__ == '__main__':\n  m.set_start_method("
                       "'fork')\n  with m.Pool(2) as p: print(p.map(abs, range(-5, 5)))",
    "files": "import os, tempfile, shutil, pathlib\np = pathlib.Path('d/e'); p.mkdir(parents=True)\n"
             "(p / 'f').write_text('x' * 99)\nprint(os.stat(p / 'f').st_size, sorted(os.listdir('d')), "
             "[str(x) for x in pathlib.Path('.').rglob('*') if x.is_file()])\nshutil.copytree('d', 'g')",
    "mmap and sockets": "import mmap, socket\nopen('m', 'wb').write(bytes(8192))\nwith open('m', 'r+b') "
                        "as f:\n  m = mmap.mmap(f.fileno(), 0); m[5000] = 65; m.flush()\nprint(open("
                        "'m', 'rb').read()[5000])\na, b = socket.socketpair(); a.send(b'hi'); "
                        "print(b.recv(9))\nimport select\nprint(select.select([a], [], [], 0.01)[0])",
    "signals": "import signal, os\nr = []\nsignal.signal(signal.SIGUSR1, lambda n, f: r.append(n))\n"
               "os.kill(os.getpid(), signal.SIGUSR1)\nsignal.setitimer(signal.ITIMER_REAL, 0.02)\n"
               "signal.signal(signal.SIGALRM, lambda n, f: r.append(n))\nsignal.pause()\nprint(r)",
    "asyncio": "import asyncio\nasync def f(i):\n  await asyncio.sleep(0.01 * (3 - i)); return i\n"
               "async def m(): print(await asyncio.gather(*map(f, range(3))))\nasyncio.run(m())",
    "recursion limit": "def f(n): return f(n + 1)\ntry: f(0)\nexcept RecursionError: print('deep')",
    "unicode": "import unicodedata\ns = 'Grüße, 世界'\nprint(len(s), s.encode(), s.upper().encode(), "
               "unicodedata.name('é'), ascii(s.casefold()))",
    "ctypes": "import ctypes\nl = ctypes.CDLL(None)\nl.strlen.restype = ctypes.c_size_t\nprint("
              "l.strlen(b'hello'), l.abs(-5))\nc = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER("
              "ctypes.c_int), ctypes.POINTER(ctypes.c_int))(lambda a, b: a[0] - b[0])\na = (ctypes."
              "c_int * 5)(5, 3, 1, 4, 2)\nl.qsort(a, 5, 4, c)\nprint(list(a))",
    "sqlite3": "import sqlite3\nd = sqlite3.connect(':memory:')\nd.execute('create table t(x)')\n"
               "d.executemany('insert into t values (?)', [(i * i,) for i in range(100)])\n"
               "print(d.execute('select sum(x), max(x) from t').fetchall())",
    "ast and dis": "import ast, dis, io\nprint(ast.dump(ast.parse('a = b + 1')))\ndis.dis(compile("
                   "'x * (y + 2)', '', 'eval'))",
    "pickle and copy": "import pickle, copy\no = {'a': [1, (2, 3)], 'b': {4, 5}}\nprint(pickle.loads("
                       "pickle.dumps(o)) == o, pickle.dumps(o, 2)[:20], copy.deepcopy(o) is o)",
    "import many": "import argparse, http.client, xml.etree.ElementTree as E, email, csv, logging, "
                   "unittest, typing, urllib.parse, statistics\nprint(E.fromstring('<a><b c=\"d\"/>"
                   "</a>')[0].attrib, urllib.parse.quote('a b/c'), statistics.stdev([1, 2, 4, 8]))",
    "exit status": "import sys\nsys.exit(5)",
    "exception at top": "raise ValueError('top')",
    "abort": "import os\nos.abort()",
}

BC = {
    "pi": "scale=200\n4*a(1)\n",
    "powers": "2^1000\n3^500%1000007\nsqrt(2*10^40)\n",
    "functions": "define f(n){if(n<2)return n;return f(n-1)+f(n-2)}\nf(16)\n",
}


def main():
    real.require_roots()
    for name, program in AWK.items():
        real.same(f"gawk: {name}", ["/usr/bin/gawk", program, "numbers", "text"], files=FILES)
    for name, program in PERL.items():
        argv = ["/usr/bin/perl", "-Mstrict", "-we", program, "numbers"]
        real.same(f"perl: {name}", argv, files=FILES, status=None)
    for name, program in LUA.items():
        real.same(f"lua: {name}", ["/usr/bin/lua5.4", "-"], stdin=program)
    for name, program in SQL.items():
        real.same(f"sqlite3: {name}", ["/usr/bin/sqlite3", "data.db"], stdin=program, status=None)
    for name, program in BC.items():
        real.same(f"bc: {name}", ["/usr/bin/bc", "-lq"], stdin=program)
    for name, program in PYTHON.items():
        real.same(f"python3: {name}", ["/usr/bin/python3", "-c", program], status=None,
                  starts=name == "subprocess")


main()
