/* opt_range.h: how many bits of integers matter (opt_range.c). SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_OPT_RANGE_H
#define ISOMER_OPT_RANGE_H

#include "ir/ir.h"

/* The value is the sign extension of its low s bits, and below 2^u. */
struct opt_range {
    uint8_t s, u;
};

/* Of all values of f, by ref - IR_BIAS; {0, 0} for what is no integer. */
struct opt_range *opt_ranges(const struct ir_func *f, struct base_arena *arena);
/* Of one value or constant. */
struct opt_range opt_range(const struct ir_func *f, const struct opt_range *ranges, ir_ref r);

#endif
