/* k_vm_switch.c: a stack machine with one switch. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=interp quick=15 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum op {
    PUSH,
    LOAD,
    STORE,
    ADD,
    SUB,
    MUL,
    MOD,
    AND,
    XOR,
    SHR,
    LESS,
    EQUAL,
    JUMP,
    JUMP_ZERO,
    DUP,
    DROP,
    AGET,
    ASET,
    CALL,
    RETURN,
    HALT
};

/*
 * for (n = 2; n < limit; n++)
 *     for (p = 2; p * p <= n && n % p; p++) ;     -> counts primes in v2
 *     v3 = mix(v3, n)                             -> a subroutine
 */
/* clang-format off */
static const int32_t program[] = {
    /*  0 */ PUSH, 2, STORE, 0,
    /*  4 */ LOAD, 0, LOAD, 4, LESS, JUMP_ZERO, 68,
    /* 11 */ PUSH, 2, STORE, 1,
    /* 15 */ LOAD, 0, LOAD, 1, DUP, MUL, LESS, JUMP_ZERO, 33,
    /* 24 */ LOAD, 2, PUSH, 1, ADD, STORE, 2, JUMP, 50,
    /* 33 */ LOAD, 0, LOAD, 1, MOD, JUMP_ZERO, 50,
    /* 40 */ LOAD, 1, PUSH, 1, ADD, STORE, 1, JUMP, 15, HALT,
    /* 50 */ LOAD, 3, LOAD, 0, CALL, 69, STORE, 3,
    /* 58 */ LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4, HALT,
    /* 68 */ HALT,
    /* 69 */ STORE, 5, PUSH, 31, MUL, LOAD, 5, XOR, DUP, PUSH, 7, SHR, ADD,
    /* 82 */ DUP, LOAD, 5, PUSH, 15, AND, ASET, LOAD, 5, PUSH, 3, ADD, PUSH, 15, AND,
    /* 97 */ AGET, XOR, RETURN,
};

/* clang-format on */
static uint64_t array[16];

__attribute__((noinline)) static void run(uint64_t *v)
{
    uint64_t stack[64], *sp = stack, t;
    int32_t back[16];
    int depth = 0;
    const int32_t *pc = program;

    for (;;) {
        switch (*pc++) {
        case PUSH: *sp++ = (uint64_t)(int64_t)*pc++; break;
        case LOAD: *sp++ = v[*pc++]; break;
        case STORE: v[*pc++] = *--sp; break;
        case ADD: sp--, sp[-1] += sp[0]; break;
        case SUB: sp--, sp[-1] -= sp[0]; break;
        case MUL: sp--, sp[-1] *= sp[0]; break;
        case MOD: sp--, sp[-1] %= sp[0]; break;
        case AND: sp--, sp[-1] &= sp[0]; break;
        case XOR: sp--, sp[-1] ^= sp[0]; break;
        case SHR: sp--, sp[-1] >>= sp[0]; break;
        case LESS: sp--, sp[-1] = sp[-1] < sp[0]; break;
        case EQUAL: sp--, sp[-1] = sp[-1] == sp[0]; break;
        case JUMP: pc = program + *pc; break;
        case JUMP_ZERO: pc = *--sp ? pc + 1 : program + *pc; break;
        case DUP: t = sp[-1], *sp++ = t; break;
        case DROP: sp--; break;
        case AGET: sp[-1] = array[sp[-1]]; break;
        case ASET: sp -= 2, array[sp[1]] = sp[0]; break;
        case CALL: back[depth++] = (int32_t)(pc + 1 - program), pc = program + *pc; break;
        case RETURN: pc = program + back[--depth]; break;
        case HALT: return;
        }
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 80;
    uint64_t sum = 0;

    for (long r = 0; r <= rounds; r++) {
        uint64_t v[6] = {0, 0, 0, (uint64_t)r, r ? 12000 : 300, 0};
        run(v);
        sum = sum * 31 + (v[2] ^ v[3]);
    }
    printf("vm_switch %016llx\n", (unsigned long long)sum);
    return 0;
}
