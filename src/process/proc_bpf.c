/* proc_bpf.c: classic BPF as filters of system calls use it. SPDX-License-Identifier: Apache-2.0
 *
 * A program is an array of struct sock_filter with an accumulator, an index
 * register and 16 words of scratch memory. Jumps go forward only, so it ends. Its
 * input is struct seccomp_data, read in aligned words. What is accepted is what
 * Linux accepts: bpf_check_classic(), check_load_and_stores() and
 * seccomp_check_filter() of net/core/filter.c and kernel/seccomp.c.
 */
#include "process/proc_seccomp.h"

#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

/* ---- may it run? ----------------------------------------------------- */

/* Is the operation one that filters may use, with an operand that makes sense? */
static bool op_good(const struct sock_filter *f, size_t pc, size_t len)
{
    switch (f->code) {
    case BPF_LD | BPF_W | BPF_ABS: return f->k < sizeof(struct seccomp_data) && !(f->k & 3);
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_ALU | BPF_NEG:
    case BPF_ALU | BPF_ADD | BPF_K:
    case BPF_ALU | BPF_ADD | BPF_X:
    case BPF_ALU | BPF_SUB | BPF_K:
    case BPF_ALU | BPF_SUB | BPF_X:
    case BPF_ALU | BPF_MUL | BPF_K:
    case BPF_ALU | BPF_MUL | BPF_X:
    case BPF_ALU | BPF_AND | BPF_K:
    case BPF_ALU | BPF_AND | BPF_X:
    case BPF_ALU | BPF_OR | BPF_K:
    case BPF_ALU | BPF_OR | BPF_X:
    case BPF_ALU | BPF_XOR | BPF_K:
    case BPF_ALU | BPF_XOR | BPF_X:
    case BPF_ALU | BPF_DIV | BPF_X:
    case BPF_ALU | BPF_LSH | BPF_X:
    case BPF_ALU | BPF_RSH | BPF_X: return true;
    case BPF_ALU | BPF_DIV | BPF_K: return f->k != 0;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K: return f->k < 32;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX: return f->k < BPF_MEMWORDS;
    case BPF_JMP | BPF_JA: return f->k < len - pc - 1;
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X: return pc + f->jt + 1 < len && pc + f->jf + 1 < len;
    default: return false;
    }
}

/* Is every word of scratch memory stored before it is loaded, on all ways? */
static bool memory_good(const struct sock_filter *f, size_t len)
{
    uint16_t stored_at[BPF_MAXINSNS], stored = 0;

    memset(stored_at, 0xff, len * sizeof *stored_at);
    for (size_t pc = 0; pc < len; pc++, f++) {
        stored &= stored_at[pc];
        switch (f->code) {
        case BPF_ST:
        case BPF_STX: stored |= (uint16_t)(1u << f->k); break;
        case BPF_LD | BPF_MEM:
        case BPF_LDX | BPF_MEM:
            if (!(stored & 1u << f->k))
                return false;
            break;
        case BPF_JMP | BPF_JA:
            stored_at[pc + 1 + f->k] &= stored;
            stored = 0xffff;
            break;
        default:
            if (BPF_CLASS(f->code) != BPF_JMP)
                break;
            stored_at[pc + 1 + f->jt] &= stored;
            stored_at[pc + 1 + f->jf] &= stored;
            stored = 0xffff;
        }
    }
    return true;
}

bool proc_bpf_good(const struct sock_filter *f, size_t len)
{
    if (!len || len > BPF_MAXINSNS)
        return false;
    for (size_t pc = 0; pc < len; pc++)
        if (!op_good(&f[pc], pc, len))
            return false;
    return BPF_CLASS(f[len - 1].code) == BPF_RET && memory_good(f, len);
}

/* ---- running --------------------------------------------------------- */

/* A division by X = 0 ends the program with 0; the caller sees to it. */
static uint32_t alu(unsigned op, uint32_t a, uint32_t b)
{
    switch (op) {
    case BPF_ADD: return a + b;
    case BPF_SUB: return a - b;
    case BPF_MUL: return a * b;
    case BPF_DIV: return a / b;
    case BPF_AND: return a & b;
    case BPF_OR: return a | b;
    case BPF_XOR: return a ^ b;
    case BPF_LSH: return a << (b & 31);
    case BPF_RSH: return a >> (b & 31);
    default: return -a; /* BPF_NEG */
    }
}

static bool holds(unsigned op, uint32_t a, uint32_t b)
{
    switch (op) {
    case BPF_JEQ: return a == b;
    case BPF_JGT: return a > b;
    case BPF_JGE: return a >= b;
    default: return (a & b) != 0; /* BPF_JSET */
    }
}

uint32_t proc_bpf_run(const struct sock_filter *f, const struct seccomp_data *data)
{
    uint32_t a = 0, x = 0, mem[BPF_MEMWORDS];

    for (;; f++) {
        uint32_t b = BPF_SRC(f->code) == BPF_X ? x : f->k;

        switch (BPF_CLASS(f->code)) {
        case BPF_LD:
            if (BPF_MODE(f->code) == BPF_ABS)
                memcpy(&a, (const uint8_t *)data + f->k, sizeof a);
            else
                a = BPF_MODE(f->code) == BPF_MEM   ? mem[f->k]
                    : BPF_MODE(f->code) == BPF_LEN ? sizeof *data
                                                   : f->k;
            break;
        case BPF_LDX:
            x = BPF_MODE(f->code) == BPF_MEM   ? mem[f->k]
                : BPF_MODE(f->code) == BPF_LEN ? sizeof *data
                                               : f->k;
            break;
        case BPF_ST: mem[f->k] = a; break;
        case BPF_STX: mem[f->k] = x; break;
        case BPF_ALU:
            if (BPF_OP(f->code) == BPF_DIV && !b)
                return 0;
            a = alu(BPF_OP(f->code), a, b);
            break;
        case BPF_JMP:
            if (BPF_OP(f->code) == BPF_JA)
                f += f->k;
            else
                f += holds(BPF_OP(f->code), a, b) ? f->jt : f->jf;
            break;
        case BPF_RET: return BPF_RVAL(f->code) == BPF_A ? a : f->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(f->code) == BPF_TAX)
                x = a;
            else
                a = x;
        }
    }
}
