/* o_getppid.c: the cheapest system call. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=syscalls n=50000 quick=10000 tiny=50 */
#include "os.h"
#include <unistd.h>

static void batch(long n)
{
    pid_t parent = getppid();

    for (long i = 0; i < n; i++)
        if (getppid() != parent)
            exit(1);
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    os_measure("getppid", batch);
    return 0;
}
