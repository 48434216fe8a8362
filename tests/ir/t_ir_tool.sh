#!/bin/sh
# t_ir_tool.sh: `isomer ir`. SPDX-License-Identifier: Apache-2.0
failed=0

result() { # STATUS NAME
    if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; failed=1; fi
}

"$ISOMER" ir check "$TESTS"/ir/*.ir >out 2>&1 && [ ! -s out ]
result $? "check accepts the test files"

"$ISOMER" ir run "$TESTS"/ir/ir_ops.ir >out 2>err && [ ! -s err ] && grep -q '^exit.call 0x12345$' out
result $? "run gives what the file expects"

sed 's/^s4=0x4000000000000000$/s4=0x5/' "$TESTS"/ir/ir_ops.ir >wrong.ir
! "$ISOMER" ir run wrong.ir >out 2>err && [ "$(wc -l <err)" = 2 ] &&
    grep -q "^isomer: wrong.ir: case 'products'" err
result $? "run says which expectation is wrong"

printf 'func {\n    %%7 = get.i64 s1 ; x\n    exit.ret %%7\n}\nfunc { trap.break 0x4\n}\n' >two.ir
printf 'func {\n    %%0 = get.i64 s1\n    exit.ret %%0\n}\nfunc {\n    trap.break 0x4\n}\n' >expected
"$ISOMER" ir print two.ir >out && cmp out expected && "$ISOMER" ir print - <out | cmp - expected
result $? "print normalises, and reads what it prints"

printf 'func {\n    exit.ret 0x1\n}\n\nfunc {\n    put s1, 2\n}\n' >open.ir
! "$ISOMER" ir check open.ir 2>err && [ "$(cat err)" = \
    "isomer: open.ir: function at line 5: the function does not end with jmp, br, exit or trap" ]
result $? "check says where and why"

"$ISOMER" ir check absent.ir 2>err
[ $? = 1 ] && [ "$(cat err)" = "isomer: cannot read absent.ir: No such file or directory" ]
result $? "a missing file"

: >empty.ir
! "$ISOMER" ir check empty.ir 2>err && [ "$(cat err)" = "isomer: empty.ir: no function in the file" ]
result $? "an empty file"
! "$ISOMER" ir run two.ir 2>err && grep -q "no case states" err
result $? "run of functions without expectations"

# A loop as a former makes it, in the names of a guest.
cat >loop.ir <<'END'
func {
    jmp b1
b1:
  imark 0x1000, 4
    %3 = get.i64 a0
    %4 = trunc.i32 %3
    %5 = add.i32 %4, 1
    %6 = sext.i64 %5
    put a0, %6
  imark 0x1004, 4
    poll
    %9 = get.i64 a1
    %10 = cmp.ne %6, %9
    br %10, b1, b11
b11:
    exit.jump 0x1008
}
END
"$ISOMER" ir opt --guest=rv64 loop.ir >all && grep -q '= phi.i32 ' all && "$ISOMER" ir check --guest=rv64 all
result $? "opt runs all passes"
"$ISOMER" ir opt --guest=rv64 all | cmp - all
result $? "opt takes what it has made"
"$ISOMER" ir opt --guest=rv64 --pass=layout,ssa loop.ir >ssa && grep -q '= phi.i64 ' ssa &&
    "$ISOMER" ir opt --guest=rv64 --stop-after=ssa --pass=layout,ssa,gvn loop.ir | cmp - ssa
result $? "opt runs the passes that are named, up to one"
"$ISOMER" ir opt --guest=rv64 --pass=layout,peel,ssa loop.ir >peeled
"$ISOMER" ir opt --guest=rv64 --pass=width:0 peeled >none && ! grep -q 'phi.i32' none &&
    "$ISOMER" ir opt --guest=rv64 --pass=width peeled | grep -q 'phi.i32'
result $? "opt stops a pass after some rewrites"
[ "$("$ISOMER" ir opt --guest=rv64 --each --pass=layout,ssa loop.ir | grep '^;')" = "; after layout
; after ssa" ]
result $? "opt shows what each pass leaves"

refuses() { # STATUS MESSAGE OPTION...
    status=$1 message=$2
    shift 2
    "$ISOMER" ir opt --guest=rv64 "$@" >out 2>err
    [ $? = "$status" ] && [ ! -s out ] && [ "$(cat err)" = "isomer: $message" ]
    result $? "opt $*"
}
names="$("$ISOMER" ir opt --pass=? loop.ir 2>&1 | sed 's/.*there are //')"
refuses 2 "ir opt: no pass 'fold'; there are $names" --pass=layout,fold loop.ir
refuses 2 "ir opt: --pass=gvn:x: 'x' is not a number of rewrites" --pass=gvn:x loop.ir
refuses 2 "ir opt: --stop-after=dce: not one of the passes that are run" --stop-after=dce --pass=layout loop.ir
refuses 1 "loop.ir: function at line 1: dce: it is not in state-SSA form: run layout,ssa before" --pass=layout,dce loop.ir
refuses 1 "ssa: function at line 1: ssa: it makes PHIs and cannot have them" --pass=ssa ssa
refuses 1 "$TESTS/opt/opt_gvn.ir: a file of test cases; functions are wanted" "$TESTS/opt/opt_gvn.ir"
exit $failed
