/* fuzz.h: what all fuzz programs share: inputs from files, inputs made from a seed.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     t_fuzz_NAME                          the corpus $TESTS/fuzz/NAME, then inputs made from it
 *     t_fuzz_NAME FILE or FOLDER...        these only
 *     t_fuzz_NAME seed N                   the input made from seed N
 *     t_fuzz_NAME save N FILE              writes it, to go into the corpus
 *
 * FUZZ_SEED is the seed of the first input made (default: 1, the clock in the long form; each next
 * one has the next number), FUZZ_RUNS says how many, FUZZ_SECONDS when to stop, FUZZ_SLOW from
 * how many milliseconds on an input is told of. Whatever goes wrong, a crash too, is a line with
 * the seed.
 *
 * With clang -fsanitize=fuzzer and -DFUZZ_LIBFUZZER (meson setup -Dfuzz=true) the same programs are
 * libFuzzer targets, which find their way by coverage.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "base/base.h"

#include <stdlib.h>

struct fuzz_target {
    const char *name;   /* of the corpus */
    size_t max;         /* bytes of an input */
    uint64_t runs, runs_long;
    unsigned seconds;   /* that one input may take at most; 0: 20 */
    /* Before the first input. */
    void (*begin)(void);
    /* False: what should hold does not, *why says what. */
    bool (*one)(const uint8_t *data, size_t n, struct base_text *why);
    /* Optional, else fuzz_mutate(): changes an input; n may be 0 (nothing is there: makes one).
     * Returns the new length, at most max. */
    size_t (*make)(uint8_t *data, size_t n, size_t max, uint64_t *seed);
    /* Optional: an input as the bytes that are to be kept in the corpus. */
    void (*save)(const uint8_t *data, size_t n, struct base_text *to);
};
/* The one of the program. */
extern const struct fuzz_target fuzz_target;

/* A few changes of bytes, or a piece put elsewhere, or cut off. */
size_t fuzz_mutate(uint8_t *data, size_t n, size_t max, uint64_t *seed);

#endif
