/* k_fib.c: doubly recursive Fibonacci numbers. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=calls quick=36 tiny=20 */
#include <stdio.h>
#include <stdlib.h>

/* One call for each addition: without the attribute gcc inlines several levels. */
__attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))
static unsigned long fib(
    unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 39;

    printf("fib %lu\n", fib(n));
    return 0;
}
