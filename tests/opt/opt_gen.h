/* opt_gen.h: regions for tests of the optimiser. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_TESTS_OPT_GEN_H
#define ISOMER_TESTS_OPT_GEN_H

#include "ir/ir.h"

/* Slots x0..x15 (i64) and f0..f7 (f64); helpers 0 sum: a + 2b + 3c, 1 touch: sum, said to touch
 * guest memory. */
extern const struct ir_guest opt_test_guest;

/* Any bytes make a function in the form that a former gives to opt_run: blocks that pass values
 * through slots only, reducible, loops that end. Equal bytes, equal functions; f is new or
 * reset. */
void opt_gen(struct ir_func *f, const uint8_t *bytes, size_t n);

/* The same: string loops (opt_gen_string.c). Some bytes make opt_gen call it. */
void opt_gen_string(struct ir_func *f, const uint8_t *bytes, size_t n);

/* What a run of a function left behind. */
enum { OPT_GEN_RAM = 0x1000 };
struct opt_gen_world {
    _Alignas(16) uint8_t state[512];
    uint8_t ram[OPT_GEN_RAM]; /* at 0x1000 */
    struct ir_end end;
};

/* Runs f from a state and memory drawn from seed. Some seeds ask for attention (poll), from the
 * start or when a number of stores has been done. */
void opt_gen_run(const struct ir_func *f, uint64_t seed, struct opt_gen_world *w);

/* How two runs differ, as text; nothing if they do not, or if one is only the first part: it ended
 * by a fault after which the guest's instructions are to be done one by one. */
void opt_gen_differ(const struct opt_gen_world *a, const struct opt_gen_world *b,
                    struct base_text *out);

#endif
