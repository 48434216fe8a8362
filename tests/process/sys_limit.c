/* sys_limit.c: children of a process at its limits. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Work of several kinds, so that there is code that was not run before. */
static void work(void)
{
    char text[64];
    double d = 0;

    for (int i = 0; i < 1000; i++)
        d += i / 3.0;
    snprintf(text, sizeof text, "%.3f %s", d, strerror(ENOENT));
    _exit((int)strlen(text));
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void sorts(void)
{
    int v[100];

    for (int i = 0; i < 100; i++)
        v[i] = i * 37 % 101;
    qsort(v, 100, sizeof *v, by_value);
    _exit(v[50]);
}

static void no_descriptors(void)
{
    int fds[2], n = 0;
    struct rlimit few = {64, 64};

    setrlimit(RLIMIT_NOFILE, &few);
    while (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0)
        n++;
    while (dup(0) >= 0)
        ;
    RES("no descriptor is left", open("/", O_RDONLY));
    SAY("child without descriptors", "%d", in_child(work));
    SAY("another", "%d", in_child(sorts));
    _exit(0);
}

static void file_size(void)
{
    struct rlimit small = {0, 0};

    setrlimit(RLIMIT_FSIZE, &small);
    SAY("child that may not write files", "%d", in_child(work));
    SAY("another one", "%d", in_child(sorts));
    _exit(0);
}

int main(void)
{
    SAY("limit of descriptors", "%d", in_child(no_descriptors));
    SAY("limit of file sizes", "%d", in_child(file_size));
    for (int i = 0; i < 20; i++)
        SAY("plain child", "%d", in_child(i & 1 ? work : sorts));
    return 0;
}
