/* t_opt_random.c: the optimiser does not change what a region does.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     t_opt_random [seed [rounds]]
 *
 * Random regions (opt_gen.h) before and after each pass. One that fails is shrunk; its bytes are
 * shown for a file in tests/fuzz/opt.
 */
#include "opt_check.h"

#include <stdlib.h>

enum { T_BYTES = 700 };

static void t_report(uint64_t seed, uint8_t *bytes, size_t n)
{
    struct base_text why = {0};

    n = opt_check_shrink(bytes, n);
    opt_check(bytes, n, &why);
    printf("not ok - t_opt_random %llu 1: %s\nbytes (hex):\n", (unsigned long long)seed, why.data);
    for (size_t i = 0; i < n; i++) printf("%02x%s", bytes[i], i % 32 == 31 ? "\n" : "");
    printf("\n");
    base_text_free(&why);
}

int main(int argc, char **argv)
{
    const char *longer = getenv("TEST_LONG");
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : base_now_ns() % 1000000000;
    unsigned rounds = argc > 2            ? (unsigned)strtoul(argv[2], NULL, 0)
                      : longer && *longer ? 200000
                                          : 1500;
    unsigned failed = 0;

    for (unsigned n = 0; n < rounds && failed < 3; n++) {
        uint64_t s = seed + n;
        uint8_t bytes[T_BYTES];
        size_t len = base_rand(&s) % sizeof bytes;
        struct base_text why = {0};

        for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)base_rand(&s);
        if (!opt_check(bytes, len, &why)) {
            failed++;
            t_report(seed + n, bytes, len);
        }
        base_text_free(&why);
    }
    if (!failed)
        printf("ok - %u random regions from seed %llu\n", rounds, (unsigned long long)seed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
