/* fuzz_opt.c: fuzz target of the optimiser. SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes make a region of several blocks in the form that a former gives (tests/opt/opt_gen.h),
 * which must keep the rules and do the same after each pass (tests/opt/opt_check.h).
 */
#include "fuzz.h"

#include "opt_check.h"

static bool fuzz_one(const uint8_t *data, size_t n, struct base_text *why)
{
    return opt_check(data, n, why);
}

const struct fuzz_target fuzz_target = {
    .name = "opt",
    .max = 4096,
    .runs = 1000,
    .runs_long = 200000,
    .one = fuzz_one,
};
