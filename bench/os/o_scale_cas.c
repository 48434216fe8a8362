/* o_scale_cas.c: threads that compare and swap one word. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=scaling n=2000000 quick=400000 tiny=400 */
/* RISC-V's compilers make a loop with lr and sc of it. The result does not depend on who came
 * first: adding is the same in every order. */
#include "os_scale.h"

static uint64_t sum;

static void *work(void *number)
{
    uint64_t x = (uint64_t)(intptr_t)number;

    for (long i = scale_share(); i > 0; i--) {
        uint64_t old = __atomic_load_n(&sum, __ATOMIC_RELAXED);

        x = scale_private(x);
        while (!__atomic_compare_exchange_n(&sum, &old, old + (x & 0xff), 0,
                                            __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    scale_work = work;
    scale_all(scale_batch);
    printf("sum %llu\n", (unsigned long long)sum);
    return 0;
}
