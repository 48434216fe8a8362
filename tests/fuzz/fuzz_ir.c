/* fuzz_ir.c: fuzz target of the IR. SPDX-License-Identifier: Apache-2.0
 *
 * Builder, verifier, text form and interpreter: an input that begins with "func" is IR text, to be
 * refused with a reason or to be right; any other makes a valid function (tests/ir/ir_gen.h), which
 * must behave the same folded and over its text.
 */
#include "fuzz.h"

#include "ir_gen.h"

static bool fuzz_one(const uint8_t *data, size_t n, struct base_text *why)
{
    char *text;
    bool ok;

    if (n < 4 || memcmp(data, "func", 4) != 0) return ir_gen_check(data, n, why);
    text = base_alloc(n + 1);
    memcpy(text, data, n);
    text[n] = 0;
    ok = ir_gen_check_text(text, why);
    free(text);
    return ok;
}

const struct fuzz_target fuzz_target = {
    .name = "ir",
    .max = 4096,
    .runs = 5000,
    .runs_long = 1000000,
    .one = fuzz_one,
};
