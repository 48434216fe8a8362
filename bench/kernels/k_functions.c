/* k_functions.c: 512 functions that call each other. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=branchy quick=80000 tiny=200 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A call graph over some hundred KiB of code: each function does a little work with
 * constants of its own and calls one of two others, to a given depth.
 */
#define PROTO(a, b, c) static uint32_t f##a##b##c(uint32_t x, int depth);
#define DEFINE(a, b, c)                                                                            \
    __attribute__((noinline, noclone)) static uint32_t f##a##b##c(uint32_t x, int depth)           \
    {                                                                                              \
        enum { N = 0##a##b##c };                                                                   \
        x = x * (N * 4u + 1) + (N ^ 0x2a5);                                                        \
        if (x & 1u << (N % 17 + 8))                                                                \
            cell[(x >> 5) & 511] ^= x << (N % 5);                                                  \
        else                                                                                       \
            x += cell[(x >> 3) & 511] >> (N % 9);                                                  \
        if (depth <= 0) return x ^ N;                                                              \
        if (x & 1u << (N % 13))                                                                    \
            x += f##b##c##a(x ^ N * 91u, depth - 1);                                               \
        else                                                                                       \
            x ^= f##c##a##b(x + N * 17u, depth - 2);                                               \
        if ((x & 0x700) == (N & 7) << 8) x += f##c##b##a(x >> 1, depth - 4);                       \
        return x + NEXT_##c(a, b)(x, depth - 6 - (int)(x & 3));                                    \
    }
/* Neighbours by the last digit, so that the graph is connected. */
#define NEXT_0(a, b) f##a##b##1
#define NEXT_1(a, b) f##b##a##2
#define NEXT_2(a, b) f##3##a##b
#define NEXT_3(a, b) f##a##4##b
#define NEXT_4(a, b) f##5##b##a
#define NEXT_5(a, b) f##b##6##a
#define NEXT_6(a, b) f##a##b##7
#define NEXT_7(a, b) f##a##0##b

#define ROW(M, a, b)                                                                               \
    M(a, b, 0) M(a, b, 1) M(a, b, 2) M(a, b, 3) M(a, b, 4) M(a, b, 5) M(a, b, 6) M(a, b, 7)
#define PLANE(M, a)                                                                                \
    ROW(M, a, 0)                                                                                   \
    ROW(M, a, 1) ROW(M, a, 2) ROW(M, a, 3) ROW(M, a, 4) ROW(M, a, 5) ROW(M, a, 6) ROW(M, a, 7)
#define ALL(M)                                                                                     \
    PLANE(M, 0) PLANE(M, 1) PLANE(M, 2) PLANE(M, 3) PLANE(M, 4) PLANE(M, 5) PLANE(M, 6) PLANE(M, 7)

static uint32_t cell[512];
ALL(PROTO)
ALL(DEFINE)

#define ENTRY(a, b, c) f##a##b##c,
static uint32_t (*const entry[512])(uint32_t, int) = {ALL(ENTRY)};

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 400000;
    uint32_t hash = 1;

    for (long r = 0; r < rounds; r++) hash = hash * 31 + entry[r * 7 & 511](hash + (uint32_t)r, 14);
    for (int i = 0; i < 512; i++) hash = hash * 31 + cell[i];
    printf("functions %08x\n", hash);
    return 0;
}
