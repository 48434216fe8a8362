#!/usr/bin/env python3
"""t_programs.py: build tools, servers, language implementations. SPDX-License-Identifier: Apache-2.0"""

import os

import long

WHEN = {"GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
        "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "n",
        "GIT_CONFIG_KEY_1": "user.email", "GIT_CONFIG_VALUE_1": "a@b"}


def port(case):
    """One that another test here does not use."""
    return 18000 + (os.getpid() * 7 + case) % 9000


def git():
    long.shell("git", """
        export HOME=$PWD; git init -qb main .
        for i in 1 2 3; do seq $i 50 >f$i; git add .; git commit -qm c$i; done
        git checkout -qb x HEAD~1; echo z >>f1; git commit -qam z; git merge -qm m main
        git log --graph --stat; git blame f1 | tail -2; git diff main x; git gc -q; git fsck
        git clone -q . clone && git -C clone rev-parse HEAD; git grep -n z
        git rebase -q main; git log --oneline; git bundle create -q b HEAD; git bundle verify -q b
        rm -rf clone .git b""", env=WHEN)


def builds():
    long.shell("cmake, ninja, ctest", """
        cmake -G Ninja -B b . | grep -v -e '^-- .*s)$' -e written; ninja -C b; ./b/m
        cd b && ctest | grep -v sec; cd .. && rm -rf b""", files={
            "CMakeLists.txt": "cmake_minimum_required(VERSION 3.20)\nproject(p C CXX)\n"
                              "add_library(l a.c)\nadd_executable(m m.cpp)\n"
                              "target_link_libraries(m l)\nenable_testing()\nadd_test(t m)\n",
            "a.c": "int f(int x) { return x * 2; }\n",
            "m.cpp": '#include <iostream>\nextern "C" int f(int);\nint main() {\n'
                     "std::cout << f(21) << std::endl;\n"
                     "try { throw 3; } catch (int x) { std::cout << x << std::endl; }\n}\n"})
    sources = {f"f{i}.c": f"int f{i}(int x) {{ return x + {i}; }}\n" for i in range(40)}
    long.shell("make -j2", "make -s -j2 && ./m; echo $?; rm -f *.o m", files={
        **sources, "m.c": "int f7(int);\nint main(void) { return f7(1) != 8; }\n",
        "Makefile": "m: $(patsubst %.c,%.o,$(wildcard *.c))\n\tgcc -o $@ $^\n"})


def languages():
    long.shell("rustc", "rustc -O a.rs -o a && ./a 2>/dev/null; rm -f a", files={"a.rs": r"""
        use std::{sync::*, thread};
        fn main() {
            let c = Arc::new(Mutex::new(0u64));
            let h: Vec<_> = (0..8).map(|i| { let c = c.clone();
                thread::spawn(move || for j in 0..10000 { *c.lock().unwrap() += j * i }) }).collect();
            for x in h { x.join().unwrap() }
            println!("{}", c.lock().unwrap());
            println!("{}", std::panic::catch_unwind(|| { let v: Vec<i32> = vec![]; v[0] }).is_err());
        }"""})
    long.shell("ocaml", "ocamlopt a.ml -o a && ./a; ocamlc a.ml -o b && ./b; ocaml a.ml; "
               "rm -f a b *.o *.cm*", files={"a.ml": r"""
        let rec f n = if n < 2 then n else f (n-1) + f (n-2)
        let rec g n = 1 + g (n+1)
        let () =
          Printf.printf "%d %f\n" (f 25) (sqrt 2.0);
          let l = List.init 100000 (fun i -> i*i) in
          Gc.full_major (); print_int (List.fold_left (+) 0 l); print_newline ();
          (try ignore (List.hd []) with Failure s -> print_endline s);
          (try ignore (g 0) with Stack_overflow -> print_endline "overflow");
          let work i = Domain.spawn (fun () ->
            let s = ref 0 in for j = 0 to 1000000 do s := !s + j*i done; Gc.minor (); !s) in
          List.iter (fun d -> Printf.printf "%d\n" (Domain.join d)) (List.init 4 work)
        """})
    long.shell("ghc", """
        cp -rL /usr/lib/ghc/lib/package.conf.d db; ghc-pkg recache --package-db=$PWD/db
        GHC_PACKAGE_PATH=$PWD/db ghc -v0 -O -threaded a.hs -o a && ./a +RTS -N2
        rm -rf db a a.o a.hi""", files={"a.hs": r"""
import Control.Concurrent
main = do
  let work i = do { v <- newEmptyMVar; _ <- forkIO (putMVar v (sum [1..i*1000::Int])); return v }
  vs <- mapM work [1..50]
  xs <- mapM takeMVar vs
  print (sum xs)
  print (2^200 `mod` 10007)
"""})
    long.shell("ruby", "ruby a.rb; ruby --yjit -e 'def f(n)=n<2?n:f(n-1)+f(n-2); p f(22)' 2>&1 "
               "| tail -1", files={"a.rb": r"""
        p 4.times.map { |i| Thread.new { (1..100000).sum * i } }.map(&:value), `echo hi`
        pid = fork { exit 3 }; Process.wait pid; p $?.exitstatus
        GC.stress = true; p (1..20).map { |x| x.to_s * 2 }.join; GC.stress = false
        f = Fiber.new { Fiber.yield 1; 2 }; p f.resume, f.resume
        def r(n) = r(n + 1) + 1
        begin; r(0); rescue SystemStackError; puts :overflow; end
        trap(:USR1) { puts :usr1 }; Process.kill(:USR1, $$); sleep 0.1
        r, w = IO.pipe; w.puts 5; p r.gets, 10**40, Math.sin(1)"""})
    long.shell("php", "php8.4 a.php", files={"a.php": r"""<?php
        function f($n) { return $n < 2 ? $n : f($n - 1) + f($n - 2); }
        echo f(22), PHP_EOL, md5(serialize(range(1, 1000))), PHP_EOL;
        var_dump(preg_match("/(a+)b/", "xaab", $m), $m);
        $p = pcntl_fork(); if (!$p) exit(4);
        pcntl_waitpid($p, $s); var_dump(pcntl_wexitstatus($s));"""})
    long.shell("tcl", "tclsh a.tcl", files={"a.tcl": r"""
        puts [expr {2**100}]; after 10 {puts x; set d 1}; vwait d; puts [exec echo hi]
        set s [socket -server {apply {{c a p} {puts $c hello; close $c}}} 0]
        set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]
        fileevent $c readable {puts [gets $::c]; set e 1}; vwait e"""})
    long.shell("erlang", "export HOME=$PWD; erl -noshell -eval \"$(cat a.erl)\"; rm -f .erlang.cookie",
               files={"a.erl": r"""
        P = self(), [spawn(fun() -> P ! {I, lists:sum(lists:seq(1, I * 1000))} end)
                     || I <- lists:seq(1, 300)],
        io:format("~p~n", [lists:sum([receive {_, X} -> X end || _ <- lists:seq(1, 300)])]), halt()."""})


def servers():
    long.shell("redis, its benchmark", f"""
        R="redis-cli -p {port(0)}"
        redis-server --port {port(0)} --save '' --dir . >log 2>&1 & P=$!
        for i in $(seq 200); do $R ping >/dev/null 2>&1 && break; sleep .1; done
        $R set a 1; $R incr a; $R lpush l 1 2 3; $R save; $R bgsave; sleep 1
        $R eval 'local s = 0 for i = 1, 100000 do s = s + i end return s' 0
        redis-benchmark -p {port(0)} -n 10000 -c 20 -q -t set,get,lpush,mset --threads 2 |
            tr '\\r' '\\n' | grep -c 'requests per second,'
        $R shutdown nosave; wait $P; echo $?; grep -i crash log; rm -f log dump.rdb""")
    long.shell("nginx, wrk", f"""
        mkdir -p www t logs; echo hello >www/index.html; head -c 300000 /dev/zero >www/big
        sed -i "s,PWD,$PWD,g" n.conf; U=http://127.0.0.1:{port(1)}
        nginx -p $PWD -c n.conf 2>/dev/null & P=$!
        for i in $(seq 200); do curl -s $U/ >/dev/null && break; sleep .1; done
        curl -s $U/; curl -s $U/big | md5sum; curl -sI $U/none | head -1
        wrk -t2 -c20 -d3s $U/ >w; grep -c Requests/sec w; grep -E 'Socket errors|Non-2xx' w
        kill -HUP $P; sleep 1; curl -s $U/; kill -QUIT $P; wait $P; echo $?
        rm -rf logs t w n.conf""", files={"n.conf": f"""
        worker_processes 2; daemon off; pid t/pid; error_log logs/e; user root;
        events {{ worker_connections 128; }}
        http {{ access_log off; client_body_temp_path t/b; proxy_temp_path t/p;
            fastcgi_temp_path t/f; uwsgi_temp_path t/u; scgi_temp_path t/s;
            server {{ listen 127.0.0.1:{port(1)}; root PWD/www; gzip on; }} }}
        """})
    long.shell("rsync and its daemon", f"""
        mkdir -p a/b; seq 10000 >a/f; echo x >a/b/y; ln -s f a/l; rsync -a a/ c/
        echo 3 >>a/f; rsync -ai --delete a/ c/; rsync -aiz --checksum a/ c/
        printf 'port={port(2)}\\nuse chroot=no\\n[m]\\npath=%s/a\\n' $PWD >conf
        rsync --daemon --no-detach --config=conf & P=$!; sleep 2
        rsync -a rsync://127.0.0.1:{port(2)}/m/ d/; diff -r a d && echo same
        kill $P; rm -rf *""")
    if os.getuid() == 0: # sshd changes its user
        long.shell("openssh server and client", f"""
            for k in k hk; do ssh-keygen -q -t ed25519 -N '' -f $k; done; chmod 600 k.pub
            ssh-keygen -q -t rsa -b 2048 -N '' -f r; mkdir -p /run/sshd
            printf 'Port {port(3)}\\nListenAddress 127.0.0.1\\nHostKey %s/hk\\nAuthorizedKeysFile %s/k.pub\\nStrictModes no\\nUsePAM no\\nPidFile none\\n' $PWD $PWD >conf
            /usr/sbin/sshd -D -e -f conf >log 2>&1 & P=$!; sleep 3
            S="ssh -q -o StrictHostKeyChecking=no -o UserKnownHostsFile=h -i k -p {port(3)} root@127.0.0.1"
            $S 'echo in; uname -s'; seq 100000 | $S md5sum; $S 'exit 7'; echo $?
            kill $P; wait $P; rm -f *""")


def postgres():
    """It will not run as root: there it gets another user, in a namespace or (natively, in a
    chroot, there may be no such namespace) for good."""
    long.shell("postgresql, its benchmark", """
        export PATH=/usr/lib/postgresql/17/bin:$PATH LC_ALL=C TZ=UTC PGUSER=pg PGDATABASE=postgres
        D=$(mktemp -d); mv in.sh $D; AS=
        if [ $(id -u) = 0 ]; then
            AS="unshare -U --map-user=65534 --map-group=65534"
            $AS true 2>/dev/null || {
                AS="setpriv --reuid 65534 --regid 65534 --clear-groups"; chown -R 65534:65534 $D; }
        fi
        cd $D; PGHOST=$D $AS bash in.sh; rm -r $D""", files={"in.sh": """
        export PGHOST=$PWD
        initdb -D $PWD/data -A trust -E UTF8 --no-sync -U pg >init 2>&1; echo $?
        postgres -D $PWD/data -k $PWD -h '' >log 2>&1 & P=$!
        for i in $(seq 300); do pg_isready -q && break; sleep .1; done
        psql -c 'select count(*), sum(i), md5(string_agg(i::text, chr(44)))
                 from generate_series(1, 20000) i'
        pgbench -q -i -s 1 2>/dev/null
        pgbench -c 4 -j 2 -t 100 2>/dev/null | grep -E 'processed|failed'
        psql -Atc 'select (select sum(abalance) from pgbench_accounts) = sum(delta), count(*)
                   from pgbench_history'
        psql -qAtc 'set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0;
                    set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
                    select sum(aid), count(distinct bid) from pgbench_accounts'
        psql -c 'select 1 / 0' -c 'select no_such' 2>&1
        kill -INT $P; wait $P; echo $?; grep -E 'PANIC|terminated by signal' log"""})


def packages():
    long.shell("dpkg builds, installs, removes", """
        mkdir -p c/var/lib/dpkg/info c/var/lib/dpkg/updates; : >c/var/lib/dpkg/status; chmod 755 p/DEBIAN/postinst
        dpkg-deb -b p x.deb; dpkg --root=c --force-script-chrootless -i x.deb; dpkg --root=c -l xx | tail -1
        cat c/usr/share/x/f; dpkg --root=c --force-script-chrootless -r xx; rm -rf c x.deb""", files={
            "p/DEBIAN/control": "Package: xx\nVersion: 1.0\nArchitecture: all\nMaintainer: n <a@b>\n"
                                "Description: d\n",
            "p/DEBIAN/postinst": "#!/bin/sh\necho configured $1\n", "p/usr/share/x/f": "hello\n"})


def main():
    long.need_twin()
    for part in (git, builds, languages, servers, postgres, packages):
        part()


main()
