#!/usr/bin/env python3
"""bench_gen_c.py: writes a C file for compilers to work on. SPDX-License-Identifier: Apache-2.0

usage: bench_gen_c.py LINES [SEED] >FILE

About LINES lines that need no header and are the same for the same arguments: two thirds
declarations, as the preprocessor leaves of system headers, and one third code: tables,
structures, loops over arrays, parsers with large switches, hash tables, lists, bit fiddling
and floating point, in functions that call each other, so that a compiler at -O2 finds work
of the usual kinds (inlining, loops, jump tables, register pressure).
"""

import random
import sys


def rnd_expr(r, names, depth):
    if depth == 0 or r.random() < 0.25:
        return r.choice(names) if r.random() < 0.7 else str(r.randint(0, 999))
    op = r.choice(["+", "-", "*", "^", "&", "|", "+", "-", ">>", "<<"])
    left = rnd_expr(r, names, depth - 1)
    if op in (">>", "<<"):
        return f"(({left}) {op} {r.randint(1, 15)})"
    return f"({left} {op} {rnd_expr(r, names, depth - 1)})"


def rnd_call(r, n):
    """A call of one of the functions before number n, or a constant."""
    if n < 4:
        return str(r.randint(1, 99))
    k = max(0, n - r.randint(1, 40))
    return f"f{k}(s, a ^ {r.randint(1, 63)}, b)"


def gen_struct(r, n):
    out = [f"struct rec{n} {{"]
    for i in range(r.randint(4, 9)):
        kind = r.choice(["int", "unsigned", "long", "short", "unsigned char", "double", "u32"])
        out.append(f"    {kind} m{i};")
    out += [f"    struct rec{n} *next;", "    u32 cell[8];", "};"]
    return out


def gen_table(r, n):
    out = [f"static const u32 table{n}[64] = {{"]
    for _ in range(8):
        out.append("    " + ", ".join(f"0x{r.getrandbits(32):08x}u" for _ in range(8)) + ",")
    return out + ["};"]


def body_arith(r, n):
    out = []
    for i in range(r.randint(6, 14)):
        out.append(f"    u32 v{i} = {rnd_expr(r, ['a', 'b'] + [f'v{j}' for j in range(i)], 3)};")
    last = len(out) - 1
    out.append(f"    if (v{last} > v0)")
    out.append(f"        s->acc += v{last};")
    out.append(f"    else if (v{last // 2} & {1 << r.randint(0, 9)})")
    out.append(f"        s->acc ^= {rnd_call(r, n)};")
    out.append(f"    return v{last} ^ v{last // 2};")
    return out


def body_loop(r, n):
    t = r.randint(0, n // 12)
    return [
        "    u32 sum = a;",
        f"    for (int i = 0; i < {r.randint(8, 64)}; i++) {{",
        f"        sum += s->work[(i * {r.randint(1, 9)} + b) & 255] * table{t}[i & 63];",
        f"        if ((sum & {r.randint(1, 31)}) == {r.randint(0, 3)})",
        f"            s->work[(sum >> {r.randint(1, 9)}) & 255] = {rnd_expr(r, ['sum', 'a', 'b'], 2)};",
        f"        else if (s->work[i & 255] > sum)",
        f"            sum = (sum << {r.randint(1, 7)}) | (sum >> {r.randint(17, 25)});",
        "    }",
        f"    for (u32 *p = s->work, *end = p + {r.randint(40, 255)}; p < end; p++)",
        f"        *p = (*p >> {r.randint(1, 5)}) + (sum ^ *p);",
        f"    return sum + {rnd_call(r, n)};",
    ]


def body_switch(r, n):
    out = ["    u32 state = a & 15, x = b;", f"    for (int i = 0; i < {r.randint(10, 40)}; i++) {{",
           "        switch (state) {"]
    for k in range(r.randint(8, 16)):
        out.append(f"        case {k}:")
        out.append(f"            x = {rnd_expr(r, ['x', 'a', 'b', 'state'], 2)};")
        out.append(f"            state = x & {r.randint(1, 15)} ? {r.randint(0, 15)} : {r.randint(0, 15)};")
        if r.random() < 0.3:
            out.append(f"            s->acc += {rnd_call(r, n)};")
        out.append("            break;")
    out += ["        default:", f"            x += {r.randint(3, 99)};",
            f"            state = (state + {r.randint(1, 14)}) & 15;", "            break;",
            "        }", "    }", "    return x + state;"]
    return out


def body_text(r, n):
    return [
        "    const char *p = s->text + (a & 63);",
        "    u32 hash = b, words = 0, number = 0;",
        "    while (*p) {",
        "        if (*p >= '0' && *p <= '9')",
        f"            number = number * 10 + (u32)(*p - '0') % {r.randint(7, 99)};",
        "        else if (*p == ' ' || *p == '\\t')",
        "            words++;",
        f"        else if (*p == '\\\\' && p[1])",
        "            p++;",
        "        else",
        f"            hash = (hash ^ (unsigned char)*p) * {r.randint(3, 9999) * 2 + 1}u;",
        "        p++;",
        "    }",
        f"    s->count[hash & 31] += words;",
        f"    return hash + number + {rnd_call(r, n)};",
    ]


def body_list(r, n):
    k = r.randint(0, n // 10)
    return [
        f"    struct rec{k} pool[12], *head = 0, *p;",
        "    for (int i = 0; i < 12; i++) {",
        "        pool[i].next = head;",
        f"        pool[i].m0 = a + i * {r.randint(1, 77)};",
        f"        pool[i].cell[i & 7] = b >> (i & 7);",
        "        head = &pool[i];",
        "    }",
        "    u32 best = 0;",
        "    for (p = head; p; p = p->next) {",
        f"        u32 key = (u32)p->m0 * {r.randint(3, 999)}u;",
        "        if (key > best)",
        "            best = key;",
        f"        else if (p->next && (u32)p->next->m0 < key >> {r.randint(1, 9)})",
        "            p->next = p->next->next;",
        "    }",
        f"    return best ^ {rnd_call(r, n)};",
    ]


def body_float(r, n):
    return [
        f"    double x = a & 1023, y = b & 255, z = {r.randint(1, 9)}.{r.randint(10, 99)};",
        f"    for (int i = 0; i < {r.randint(4, 30)}; i++) {{",
        f"        double t = x * {r.random():.4f} + y * z;",
        f"        y = t > {r.randint(10, 99)}.5 ? y - x * 0.25 : y + {r.random():.3f};",
        "        x = (t - x) / (1.0 + z * z);",
        f"        z += s->real[i & 15] - {r.random():.5f};",
        "        s->real[(i + 3) & 15] = x + y;",
        "    }",
        f"    return (u32)(long)(x + y) + {rnd_call(r, n)};",
    ]


def body_bits(r, n):
    return [
        "    u64 x = (u64)a << 32 | b;",
        f"    x ^= x >> {r.randint(7, 33)};",
        f"    x *= 0x{r.getrandbits(63) | 1:x}ull;",
        f"    x ^= x << {r.randint(7, 33)};",
        "    u32 ones = 0;",
        "    for (u64 m = x; m; m &= m - 1)",
        "        ones++;",
        f"    s->flag{r.randint(0, 3)} = ones > {r.randint(20, 40)};",
        f"    if (s->flag{r.randint(0, 3)} && !s->flag{r.randint(0, 3)})",
        f"        x += {rnd_call(r, n)};",
        "    return (u32)(x >> 16) + ones;",
    ]


BODIES = [body_arith, body_loop, body_switch, body_text, body_list, body_float, body_bits]

HEAD = """typedef unsigned int u32;
typedef unsigned long long u64;
struct state {
    u32 acc, work[256], count[32];
    double real[16];
    char text[128];
    unsigned flag0 : 1, flag1 : 1, flag2 : 1, flag3 : 1;
};""".split("\n")


def gen_header(r, n):
    """What system headers leave after preprocessing: declarations, most of them unused."""
    out = [f"typedef struct header{n} header{n}_t;", f"struct header{n} {{"]
    out += [f"    {r.choice(['int', 'long', 'char *', 'void *', 'u64'])} field{i};"
            for i in range(r.randint(3, 8))]
    out += ["};", "enum {"] + [f"    CONSTANT_{n}_{i}," for i in range(r.randint(2, 12))] + ["};"]
    for i in range(r.randint(4, 12)):
        out.append(f"extern {r.choice(['int', 'void *', 'u32', 'double'])} library_{n}_{i}"
                   f"(header{n}_t *a, const char *name, {r.choice(['int', 'u64', 'double'])} b);")
    return out + [f"static inline u32 get_{n}(const header{n}_t *h)", "{",
                  f"    return (u32)(u64)h->field{r.randint(0, 2)} >> {r.randint(0, 9)};", "}", ""]


def main():
    lines = int(sys.argv[1])
    r = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    out = HEAD[:]
    n = 0
    while len(out) < lines * 2 // 3:
        out += gen_header(r, n)
        n += 1
    n = 0
    while len(out) < lines - 20:
        if n % 12 == 0:
            out += gen_table(r, n // 12)
        if n % 10 == 0:
            out += gen_struct(r, n // 10)
        linkage = "" if r.random() < 0.7 else "static "
        out += [f"{linkage}u32 f{n}(struct state *s, u32 a, u32 b)", "{"]
        out += r.choice(BODIES)(r, n) + ["}"]
        n += 1
    out += ["u32 (*const all[])(struct state *, u32, u32) = {"]
    for i in range(0, n, 10):
        out.append("    " + " ".join(f"f{k}," for k in range(i, min(i + 10, n))))
    print("\n".join(out + ["};"]))


if __name__ == "__main__":
    main()
