/* k_mandelbrot.c: the Mandelbrot set, double precision. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=fp quick=500 tiny=20 */
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 200 };

int main(int argc, char **argv)
{
    int size = argc > 1 ? atoi(argv[1]) : 1500;
    long inside = 0, turns = 0;

    for (int row = 0; row < size; row++) {
        for (int col = 0; col < size; col++) {
            double cr = 3.0 * col / size - 2.1, ci = 2.6 * row / size - 1.3;
            double r = 0, i = 0;
            int n = 0;
            while (n < LIMIT && r * r + i * i <= 4.0) {
                double t = r * r - i * i + cr;
                i = 2 * r * i + ci;
                r = t;
                n++;
            }
            turns += n;
            inside += n == LIMIT;
        }
    }
    printf("mandelbrot %.1f%%\nbits %ld %ld\n", 100.0 * inside / size / size, inside, turns);
    return 0;
}
