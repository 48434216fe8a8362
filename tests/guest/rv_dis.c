/* rv_dis.c: disassembles a file of instructions. SPDX-License-Identifier: Apache-2.0
 *
 * Usage: rv_dis FILE [ADDRESS]: lines "address<tab>text". For t_rv_disasm.py.
 */
#include "rv.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    FILE *in = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!in) {
        fprintf(stderr, "usage: rv_dis FILE [ADDRESS]\n");
        return 2;
    }
    uint64_t pc = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    uint8_t *data = NULL;
    size_t size = 0, cap = 0;
    for (int c; (c = getc(in)) != EOF;) {
        if (size == cap)
            data = base_realloc(data, cap = cap ? cap * 2 : 65536);
        data[size++] = (uint8_t)c;
    }
    fclose(in);
    for (size_t at = 0; at < size;) {
        char text[96];
        unsigned len = rv64_guest.disasm(text, sizeof text, pc + at, data + at, size - at);
        if (!len)
            break;
        printf("%lx\t%s\n", (unsigned long)(pc + at), text);
        at += len;
    }
    free(data);
    return 0;
}
