/* o_read.c: reading one byte from /dev/zero. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=syscalls n=50000 quick=10000 tiny=50 */
#include "os.h"
#include <fcntl.h>
#include <unistd.h>

static int zero;

static void batch(long n)
{
    char c = 1;

    for (long i = 0; i < n; i++)
        if (read(zero, &c, 1) != 1 || c)
            os_die("read");
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    zero = open("/dev/zero", O_RDONLY);
    if (zero < 0)
        os_die("/dev/zero");
    os_measure("read", batch);
    return 0;
}
