/* o_scale_add.c: threads that add to one word. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=scaling n=2000000 quick=400000 tiny=400 */
#include "os_scale.h"

static uint64_t sum, seen;

static void *work(void *number)
{
    uint64_t x = (uint64_t)(intptr_t)number;

    for (long i = scale_share(); i > 0; i--) {
        x = scale_private(x);
        __atomic_fetch_add(&sum, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_fetch_xor(&seen, x, __ATOMIC_RELAXED);
    return NULL;
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    scale_work = work;
    scale_all(scale_batch);
    printf("sum %llu, %llx\n", (unsigned long long)sum, (unsigned long long)seen);
    return 0;
}
