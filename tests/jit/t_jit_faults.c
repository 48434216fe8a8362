/* t_jit_faults.c: the state at a fault is exact. SPDX-License-Identifier: Apache-2.0
 *
 *     t_jit_faults [seed [programs]]
 *
 * Programs full of loads, stores and atomics run once for each of these, which then is the
 * one whose address is in memory that faults. What jit_run returns and every slot, the FP
 * flags and memory at that point must be what the interpreter has when it arrives there one
 * guest instruction at a time.
 */
#include "jit_gen.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name, *features;
    bool random;
    uint8_t hot_int, hot_fp;
} configs[] = {
    {"code", NULL, 0, 12, 14},
    {"random registers", NULL, 1, 12, 14},
    {"few pins", NULL, 1, 4, 3},
    {"-all", "-all", 1, 12, 14},
};
enum { NCONFIGS = BASE_ARRAY_SIZE(configs) };

int main(int argc, char **argv)
{
    bool long_run = getenv("TEST_LONG") && atoi(getenv("TEST_LONG"));
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 4711;
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : long_run ? 100000 : 600;
    static struct jg_result want, got;
    struct ir_guest guests[NCONFIGS], plain = jg_guest(0, 0);
    struct jit_vcpu *machine[NCONFIGS], *reference;
    uint64_t base = 0x5a731200000, s = seed, faults = 0, others = 0;
    unsigned failures = 0;

    jg_init();
    reference = jg_machine(
        &(struct jit_config){.guest = &plain, .interpreter = true, .max_insns = 1});
    for (unsigned c = 0; c < NCONFIGS; c++) {
        guests[c] = jg_guest(configs[c].hot_int, configs[c].hot_fp);
        machine[c] = jg_machine(&(struct jit_config){.guest = &guests[c],
                                                     .features = configs[c].features,
                                                     .random_ra = configs[c].random,
                                                     .seed = seed});
    }
    printf("seed %llu\n", (unsigned long long)seed);
    while (n-- && failures < 10) {
        struct jg_program p = {.seed = base_rand(&s), .memory = true};

        p.n = 3 + (unsigned)(p.seed >> 32) % 24;
        for (unsigned k = 1; k + 1 < p.n; k++) {
            if (!jg_is_memory(&p, k))
                continue;
            p.fault = (int)k;
            base += 0x1000;
            jg_run(reference, &p, base, &want);
            *(want.stop == JIT_STOP_FAULT && want.state.pc == base + 4 * k ? &faults : &others) +=
                1;
            for (unsigned c = 0; c < NCONFIGS; c++) {
                struct base_text what = {0}, text = {0};

                if (!machine[c])
                    continue;
                jg_run(machine[c], &p, base, &got);
                jg_compare(&want, &got, &what);
                if (what.len) {
                    jg_print(&p, &text);
                    printf("not ok - %s, program %#llx of %u, fault at %u\n%s%s", configs[c].name,
                           (unsigned long long)p.seed, p.n, k, what.data, text.data);
                    failures++;
                }
                base_text_free(&what);
                base_text_free(&text);
            }
        }
    }
    if (faults < others)
        printf("not ok - only %llu of %llu runs reached their fault\n",
               (unsigned long long)faults, (unsigned long long)(faults + others));
    if (!failures)
        printf("ok - %llu faults, %llu other ends\n", (unsigned long long)faults,
               (unsigned long long)others);
    return failures != 0 || faults < others;
}
