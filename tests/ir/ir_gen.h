/* ir_gen.h: IR for tests. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_TESTS_IR_GEN_H
#define ISOMER_TESTS_IR_GEN_H

#include "ir/ir.h"

/* Slots x0..x7 (i64) and f0..f3 (f64); helpers 0 sum: a + 2b + 3c, 1 bump: x1 += a, 2 touch:
 * sum, said to touch guest memory. */
extern const struct ir_guest ir_test_guest;

/* Any bytes make a valid function (f is new or reset); equal bytes the same one. */
void ir_gen(struct ir_func *f, const uint8_t *bytes, size_t n);

/* Makes a function and checks that it verifies; that its text reads back the same; that it
 * verifies after folding; and that it does the same folded as it does as it is, from a state
 * drawn from the bytes as well. Returns false with the reason and the texts in *why. */
bool ir_gen_check(const uint8_t *bytes, size_t n, struct base_text *why);

/* The same for a text, which must be refused with a reason or be right. */
bool ir_gen_check_text(const char *input, struct base_text *why);

#endif
