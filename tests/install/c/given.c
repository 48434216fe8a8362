/* given.c: what a program was given by who started it. SPDX-License-Identifier: Apache-2.0
 *
 * usage: given [exec N]: prints; then N more times by execve of itself under a made-up argv[0].
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char exe[4096] = "", name[16], count[16];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    int left = argc > 2 ? atoi(argv[2]) : 0;

    (void)n;
    prctl(PR_GET_NAME, name);
    for (int i = 0; i < argc; i++)
        printf("argv[%d]=%s ", i, argv[i]);
    printf("execfn=%s exe=%s comm=%s ", (char *)getauxval(AT_EXECFN),
           strrchr(exe, '/') ? strrchr(exe, '/') : exe, name);
    printf("uid=%d euid=%d auid=%lu aeuid=%lu secure=%lu lowest=%d\n", (int)getuid(),
           (int)geteuid(), getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_SECURE), dup(0));
    fflush(stdout);
    if (left <= 0)
        return 0;
    snprintf(count, sizeof count, "%d", left - 1);
    execl((char *)getauxval(AT_EXECFN), "made up", "exec", count, NULL);
    printf("exec: %s\n", strerror(errno));
    return 1;
}
