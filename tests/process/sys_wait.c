/* sys_wait.c: futexes. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <linux/futex.h>
#include <pthread.h>
#include <time.h>

static uint32_t word, other;
/* What a register may hold that a call does not use: no address of a guest. */
static const long junk = (long)0xdeadbeefcafef000;

static long futex(void *w, int op, long v, long a3, void *w2, long v3)
{
    return syscall(SYS_futex, w, op, v, a3, w2, v3);
}

static void *waiter(void *arg)
{
    (void)arg;
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 7)
        futex(&word, FUTEX_WAIT, 7, 0, (void *)junk, junk);
    return NULL;
}

static void unused_arguments(void)
{
    struct timespec soon = {0, 1000000};
    pthread_t t;

    RES("wake nobody, junk in unused arguments",
        futex(&word, FUTEX_WAKE, 1, junk, (void *)junk, junk));
    RES("wake private, junk",
        futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, junk, (void *)junk, junk));
    RES("wake bitset, junk", futex(&word, FUTEX_WAKE_BITSET, 1, junk, (void *)junk, 1));
    RES("wait other value, junk", futex(&word, FUTEX_WAIT, 1, 0, (void *)junk, junk));
    RES("wait timeout, junk", futex(&word, FUTEX_WAIT, 0, (long)&soon, (void *)junk, junk));
    RES("requeue of nobody", futex(&word, FUTEX_CMP_REQUEUE, 1, 1, &other, 0));
    RES("unlock pi, junk", futex(&word, FUTEX_UNLOCK_PI, 1, junk, (void *)junk, junk));
    RES("trylock pi, junk", futex(&word, FUTEX_TRYLOCK_PI, 1, junk, (void *)junk, junk));
    word = 7;
    pthread_create(&t, NULL, waiter, NULL);
    usleep(20000);
    __atomic_store_n(&word, 8, __ATOMIC_SEQ_CST);
    RES("wake one", futex(&word, FUTEX_WAKE, 1, junk, (void *)junk, junk));
    pthread_join(t, NULL);
}

static void errors(void)
{
    word = 0;
    RES("wait, bad timeout", futex(&word, FUTEX_WAIT, 0, junk, NULL, 0));
    RES("wait, bad word", futex((void *)junk, FUTEX_WAIT, 0, 0, NULL, 0));
    RES("wait, unaligned", futex((char *)&word + 1, FUTEX_WAIT, 0, 0, NULL, 0));
    RES("wait bitset without bits", futex(&word, FUTEX_WAIT_BITSET, 0, 0, NULL, 0));
    RES("requeue, bad word", futex(&word, FUTEX_CMP_REQUEUE, 1, 1, (void *)junk, 0));
    RES("wake op, bad word", futex(&word, FUTEX_WAKE_OP, 1, 1, (void *)junk, 0));
    RES("no such operation", futex(&word, 100, 1, 1, NULL, 0));
}

static void wake_op(void)
{
    word = other = 5;
    RES("wake op", futex(&word, FUTEX_WAKE_OP, 1, 1, &other,
                         FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)));
    RES("other word", other);
}

static void requeue(void)
{
    word = 0;
    RES("requeue value changed", futex(&word, FUTEX_CMP_REQUEUE, 1, 1, &other, 1));
    RES("requeue nobody", futex(&word, FUTEX_REQUEUE, 1, 1, &other, junk));
}

int main(void)
{
    unused_arguments();
    errors();
    wake_op();
    requeue();
    return 0;
}
