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
exit $failed
