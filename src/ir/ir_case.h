/* ir_case.h: files of IR text with expectations. SPDX-License-Identifier: Apache-2.0
 *
 *     === name            a case; "=== name @guest" asks for the reader's test guest
 *     func { ... }        the input
 *     --- fold            what the folding builder makes of it, as text
 *     --- run s1=5 ...    what a run from that state changes, and how it ends
 *     --- error           the parser's or the verifier's message
 *
 * A run starts with slots, memory and flags 0. Its settings are slot=number, rm=number,
 * flags=number, poll=1, and mADDRESS=HEXBYTES for memory, which is 4 KiB at 0x1000; anything
 * else faults. The function is run as written and folded, and the results must agree.
 */
#ifndef ISOMER_IR_CASE_H
#define ISOMER_IR_CASE_H

#include "ir/ir.h"

enum { IR_CASE_SECTIONS = 16 };

struct ir_section {
    char head[512];   /* "fold", "run s1=5", "error" */
    const char *body; /* in the file's text */
    size_t len;       /* without empty lines at the end */
};

struct ir_case {
    char name[64];
    bool guest;        /* asks for a guest */
    const char *start; /* its "===" line */
    const char *input; /* parse from here */
    size_t input_len;
    unsigned line; /* of the input's first line, from 1 */
    unsigned nsections;
    struct ir_section section[IR_CASE_SECTIONS];
};

/* Reads the next case from *text on; *line counts lines. False at the end, or with *error set
 * on bad form. */
bool ir_case_next(const char **text, unsigned *line, struct ir_case *c, struct base_text *error);

/* What section n says when it is true of this program. A text that begins with IR_CASE_BROKEN
 * is never to be taken for an expectation. guest: for cases that ask for one, else unused. */
#define IR_CASE_BROKEN "BROKEN"
void ir_case_actual(const struct ir_case *c, unsigned n, const struct ir_guest *guest,
                    struct base_text *out);

/* Parse, verify, print, parse and print again. Returns true and the normalised text in *out,
 * or false and the message; a case whose text changes over the round trip is false, too. */
bool ir_case_normal(const char *input, const struct ir_guest *guest, struct base_text *out);

/* What an AMO (enum ir_amo) of so many bits makes of old and v; for memory callbacks. */
uint64_t ir_case_amo(int op, unsigned bits, uint64_t old, uint64_t v);

/* The whole of a file ("-": standard input), NUL-terminated, to be freed; NULL with errno. */
char *ir_case_read(const char *file);

#endif
