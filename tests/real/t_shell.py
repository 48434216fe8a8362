#!/usr/bin/env python3
"""t_shell.py: bash and dash scripts, alone and with many children. SPDX-License-Identifier: Apache-2.0"""

import real

# Builtins only: what the shell itself does.
BUILTIN = {
    "arithmetic": "for ((i=0;i<200;i++)); do ((s+=i*i%7)); done; echo $s $((2**62)) $((-7/2)) "
                  "$((0xff)) $((36#zz)) $((1<<63))",
    "arrays": "a=(x y 'z w'); a+=(q); a[9]=n; echo ${#a[@]} ${!a[@]} \"${a[@]}\"; "
              "declare -A h=([k]=v [j]=u); for k in k j; do echo $k=${h[$k]}; done",
    "strings": "s=/usr/lib/libfoo.so.1; echo ${s##*/} ${s%%.*} ${s/foo/bar} ${s^^} ${#s} "
               "${s:5:3} ${s: -1} ${u-unset} ${u:=set} $u",
    "regex": "[[ abc123def =~ ([a-z]+)([0-9]+) ]] && echo ${BASH_REMATCH[@]}; "
             "[[ foo == f* ]] && echo glob",
    "functions": "fib() { local n=$1; if ((n<2)); then echo $n; else "
                 "echo $(( $(fib $((n-1))) + $(fib $((n-2))) )); fi; }; fib 7",
    "here documents": "read -r a b <<X\none two three\nX\necho $a-$b; while read l; do echo [$l]; "
                      "done <<< $'l1\\nl2'",
    "traps": "trap 'echo usr1' USR1; trap 'echo bye' EXIT; kill -USR1 $$; echo after; exit 3",
    "printf": "printf '%5.2f|%-8s|%08d|%q|%b\\n' 3.14159 ab 42 'a b' 'x\\ty'",
    "glob": "touch a1 a2 b1; echo a* ?1 [!a]*; shopt -s nullglob; echo z*; shopt -s extglob; "
            "echo !(a*)",
    "brace": "echo {1..10} {a..e..2} x{1,2}{y,z}",
    "case and select": "for w in apple bat 42; do case $w in a*) echo A;; *[0-9]) echo N;& "
                       "b*) echo B;; esac; done",
    "syntax error": "if then",
    "command not found": "no-such-command-here; echo $?",
    "errexit": "set -e; false; echo not reached",
    "nounset": "set -u; echo $nothing",
    "readonly": "readonly r=1; r=2; echo $?",
    "eval and indirection": "x=y; y=z; eval echo \\$$x ${!x}; declare -n r=x; r=q; echo $x",
    "mapfile": "mapfile -t m < <(printf '%s\\n' c a b); echo ${#m[@]} ${m[1]}",
    "set and shift": "set -- a b c; shift; echo $# $* ; getopts xy: o -y v; echo $o $OPTARG",
    "subshell status": "(exit 7); echo $?; ! true; echo $?; true | false | true; "
                       "echo ${PIPESTATUS[@]}",
    "large loop": "for i in {1..3000}; do x=$x$i; done; echo ${#x}",
}

# Children: fork, exec, pipes, signals, redirections.
CHILDREN = {
    "pipeline": "seq 1 500 | grep 7 | sed s/7/x/ | sort -r | head -5 | tr x Y",
    "long pipeline": "echo hi | cat | cat | cat | cat | cat | cat | cat | cat",
    "command substitution": "a=$(seq 3); b=`basename /x/y`; echo \"$a\" $b $(dirname $(echo /p/q))",
    "background and wait": "sleep 0.05 & p=$!; (sleep 0.02; exit 5) & wait $!; echo $?; "
                           "wait $p; echo $?",
    "kill a child": "sleep 30 & kill $!; wait $! 2>/dev/null; echo $?; "
                    "sleep 30 & kill -9 $!; wait $! 2>/dev/null; echo $?",
    "child killed by signal": "exec 2>/dev/null; bash -c 'kill -SEGV $$'; echo $?; "
                              "bash -c 'kill -TERM $$'; echo $?",
    "broken pipe": "yes | head -n 1; echo ${PIPESTATUS[@]}",
    "exec": "exec echo replaced",
    "exec of a script": "printf '#!/bin/sh\\necho script $0 $1\\n' >s; chmod +x s; ./s arg; "
                        "printf '#!/usr/bin/env bash\\necho ${BASH_VERSION%%%%.*}\\n' >t; "
                        "chmod +x t; ./t",
    "script without #!": "echo 'echo plain $1' >s; chmod +x s; ./s x",
    "script with an argument": "printf '#!/bin/sed -nf\\n2p\\n' >s; chmod +x s; seq 3 | ./s",
    "not executable": "echo >f; ./f; echo $?; ./no; echo $?; /; echo $?; "
                      "printf '\\177ELFrubbish' >e; chmod +x e; ./e 2>/dev/null; echo $?",
    "exit status": "sh -c 'exit 300'; echo $?; test 1 -gt 2; echo $?",
    "redirections": "{ echo out; echo err >&2; } >o 2>e; cat e o; exec 3>f; echo three >&3; "
                    "exec 3>&-; cat f; echo app >>f; wc -l <f; ls no 2>&1 | wc -l",
    "process substitution": "diff <(seq 3) <(seq 2 4); echo $?",
    "here document to a child": "cat <<X | tr a-z A-Z\nsome $((1+1)) text\nX",
    "environment": "FOO=bar env | grep ^FOO; export A=1; sh -c 'echo $A'; env -i /usr/bin/env",
    "environment for the C library": "export A=1 LD_PRELOAD=./none.so LD_LIBRARY_PATH=/none Z=2 "
                                     "GLIBC_TUNABLES=glibc.malloc.check=0 MALLOC_PERTURB_=7; "
                                     "env; printf '\\1' >c; export X=$(cat c)x; env | tail -n 9",
    "find and xargs": "mkdir -p d/{a,b,c}; touch d/{a,b,c}/f{1,2}; find d -type f | sort | "
                      "xargs -n 2 echo; find d -name f1 -exec rm {} +; find d -type f | sort",
    "archives": "mkdir d; seq 100 >d/x; tar --sort=name --mtime=@0 --owner=0 --group=0 -cf - d | "
                "gzip -n | tee a.tgz | gunzip | tar -tvf - --full-time | sed 's/ .* / /'; "
                "mkdir e; tar -C e -xzf a.tgz; diff -r d e/d && echo same",
    "configure-like": "for h in stdio stdlib string unistd nothing; do "
                      "if test -f /usr/include/$h.h; then r=yes; else r=no; fi; "
                      "echo \"checking for $h.h... $r\"; "
                      "echo \"$h\" | sed 's/[a-z]/x/g' | tr x Z | cat >>log; done; "
                      "sort log | uniq -c; expr 1 + 2; basename $(pwd)/foo.c .c",
    "make": "printf 'all: b\\n\\t@cat b\\nb: a\\n\\t@sed s/1/2/ a >b\\na:\\n\\t@echo 1 >a\\n' >Makefile; "
            "make; make -j2 -B; make nothing; echo $?",
    "ulimit and umask": "umask 027; touch f; mkdir d; stat -c %a f d; ulimit -n 100; ulimit -n",
    "many processes": "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/echo $i; done; "
                      "for i in 1 2 3 4 5; do (echo sub $i); done",
    "cd and relative programs": "mkdir p; cp /bin/echo p/; cd p; ./echo here; cd ..; p/echo there; rm p/echo",
    "named pipe": "mkfifo p; (echo through >p) & cat p; wait",
    "job control": "set -m; sleep 0.05 & jobs | wc -l; fg >/dev/null; echo $?",
    "timeout": "exec 2>/dev/null; timeout 0.2 sleep 9; echo $?; timeout -s KILL 0.2 sleep 9; echo $?",
    "coproc": "coproc { while read l; do echo got $l; done; }; echo x >&${COPROC[1]}; "
              "read a <&${COPROC[0]}; echo $a; kill $COPROC_PID",
}

DASH = {
    "dash loop": "i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i",
    "dash pipeline": "seq 20 | while read n; do echo $((n*n)); done | tail -3",
    "dash here document": "cat <<X\n$0 $((6*7))\nX",
    "dash trap": "trap 'echo t' TERM; kill -TERM $$; echo done",
}


def main():
    real.require_roots()
    for name, script in {**BUILTIN, **CHILDREN}.items():
        real.shell(f"bash: {name}", script, status=None)
    for name, script in DASH.items():
        real.same(name, ["/usr/bin/dash", "-c", script])


main()
