#!/bin/sh
# t_cli.sh: options, errors and generated text of the command. SPDX-License-Identifier: Apache-2.0
set -u

# check NAME STATUS PATTERN ARGUMENT...: exit status, and a line of output that matches. What
# goes wrong must be said in exactly one line.
check() {
    name=$1 want=$2 pattern=$3
    shift 3
    "$ISOMER" "$@" >out 2>err </dev/null
    got=$?
    if [ $got -ne "$want" ]; then
        echo "not ok - $name: exit status $got, not $want: $(head -n 1 err)"
    elif [ "$want" -ne 0 ] && { [ "$(wc -l <err)" -ne 1 ] || ! grep -q '^isomer: ' err; }; then
        echo "not ok - $name: not one line 'isomer: ...' but: $(cat err)"
    elif ! cat out err | grep -q -e "$pattern"; then
        echo "not ok - $name: nothing like '$pattern' in: $(cat out err | head -n 3)"
    else
        echo "ok - $name"
    fi
}

check version 0 '^isomer [0-9]' version
check --version 0 '^isomer [0-9]' --version
check overview 0 '^  run ' help
check --help 0 '^  explain ' --help
check "help of a command" 0 '--sysroot=DIR' help run
check "command --help" 0 '--sysroot=DIR' run --help
for c in run explain ir help version; do
    check "help $c" 0 "usage: isomer $c" help $c
done
check "help of a command below" 0 'usage: isomer disk snapshot create' help disk snapshot create
check "command below --help" 0 '--tls-cert=FILE' disk serve --help
check "no such command below" 2 "no command 'disk fly'" disk fly
check "no command below" 2 'which command' disk snapshot
check "no such command" 2 "no command 'walk'" walk
check "no such help" 2 "no command 'walk'" help walk
check "no program" 2 'usage: isomer run' run
check "too many arguments" 2 'usage: isomer explain' explain a b c
check "no such long option" 2 'no option --wings' run --wings x
check "no such short option" 2 'no option -Q' run -Q x
check "value missing" 2 'needs a value: DIR' run -L
check "value unwanted" 2 'takes no value' run --stats=1 x
check "size zero" 2 'is not a SIZE' run --cache-size=0 x
check "size with rubbish" 2 'is not a SIZE' run --cache-size=4Q x
check "size too big" 2 'is not a SIZE' run --cache-size=99999999999G x
check "bad seed" 2 'is not a SEED' run --test-ra=-1 x
check "bad assignment" 2 'is not a VAR=VALUE' run -E =x x
check "bad ir verb" 2 "no command 'ir eat'" ir eat x
check "bad guest of ir" 2 "'z80' is none of" ir check --guest=z80 x
check "program not found" 127 'no-such-program' run ./no-such-program
check "program not found in PATH" 127 'no-such-program' run no-such-program
: >empty
check "not executable" 126 'empty' run ./empty
chmod +x empty
check "a directory" 126 'isomer: ' run /
check "text of no format" 126 'isomer: ' run ./empty
ISOMER_DUMP=gx
export ISOMER_DUMP
check "bad dump letter" 2 "no stage 'x'" run ./empty
unset ISOMER_DUMP

# What is generated has every command and option in it.
"$ISOMER" --dump-man >isomer.1
"$ISOMER" --dump-completion >completion
for word in $("$ISOMER" help run | sed -n 's/^ .*--\([a-z0-9-]*\).*/\1/p'); do
    if grep -q -e "--$word" completion &&
        grep -q -e "$(printf '%s' "--$word" | sed 's/-/\\\\-/g')" isomer.1; then
        echo "ok - --$word in manual and completion"
    else
        echo "not ok - --$word in manual and completion: missing"
    fi
done
if command -v bash >/dev/null; then
    words=$(bash -c '. ./completion; COMP_WORDS=(isomer run --test); COMP_CWORD=2; _isomer 2>/dev/null
        echo "${COMPREPLY[*]}"')
    [ "$words" = "--test-deopt --test-ra" ] && echo "ok - completion of options" ||
        echo "not ok - completion of options: $words"
    words=$(bash -c '. ./completion; COMP_WORDS=(isomer ex); COMP_CWORD=1; _isomer
        echo "${COMPREPLY[*]}"')
    [ "$words" = explain ] && echo "ok - completion of commands" ||
        echo "not ok - completion of commands: $words"
    words=$(bash -c '. ./completion; COMP_WORDS=(isomer disk snapshot ""); COMP_CWORD=3
        _isomer; echo "${COMPREPLY[*]}"')
    [ "$words" = "create list delete revert" ] && echo "ok - completion of commands below" ||
        echo "not ok - completion of commands below: $words"
    words=$(bash -c '. ./completion; COMP_WORDS=(isomer disk snapshot create --j); COMP_CWORD=4
        _isomer 2>/dev/null; echo "${COMPREPLY[*]}"')
    [ "$words" = --json ] && echo "ok - completion of options below" ||
        echo "not ok - completion of options below: $words"
else
    echo "skip - completion: no bash"
fi
