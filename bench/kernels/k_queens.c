/* k_queens.c: queens on a board, counted by backtracking. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=calls quick=11 tiny=7 */
#include <stdio.h>
#include <stdlib.h>

enum { MAX = 16 };
static int column[MAX], size;

static int attacked(int row, int c)
{
    for (int r = 0; r < row; r++) {
        int d = column[r] - c;
        if (d == 0 || d == row - r || d == r - row) return 1;
    }
    return 0;
}

__attribute__((noinline, noclone)) static long place(int row)
{
    long found = 0;

    if (row == size) return 1;
    for (int c = 0; c < size; c++) {
        if (!attacked(row, c)) {
            column[row] = c;
            found += place(row + 1);
        }
    }
    return found;
}

__attribute__((noinline, noclone)) static long place_bits(unsigned all, unsigned columns,
                                                          unsigned left, unsigned right)
{
    unsigned room = all & ~(columns | left | right);
    long found = columns == all;

    while (room) {
        unsigned bit = room & -room;
        room ^= bit;
        found += place_bits(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return found;
}

int main(int argc, char **argv)
{
    size = argc > 1 ? atoi(argv[1]) : 12;
    printf("queens %ld %ld\n", place(0), place_bits((1u << (size + 2)) - 1, 0, 0, 0));
    return 0;
}
