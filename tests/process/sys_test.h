/* sys_test.h: for programs that run natively and emulated; both must print the
 * same. A line is "case: what came out". SPDX-License-Identifier: Apache-2.0 */
#ifndef SYS_TEST_H
#define SYS_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* case: value, or the name of errno if value is -1 */
#define RES(name, call)                                             \
    do {                                                            \
        long res_ = (long)(call);                                   \
        if (res_ == -1)                                             \
            printf("%s: %s\n", name, strerrorname_np(errno));       \
        else                                                        \
            printf("%s: %ld\n", name, res_);                        \
        fflush(stdout);                                             \
    } while (0)
/* the same, but only whether it worked (the value differs between runs) */
#define OK(name, call)                                              \
    do {                                                            \
        long res_ = (long)(call);                                   \
        printf("%s: %s\n", name, res_ == -1 ? strerrorname_np(errno) : "ok"); \
        fflush(stdout);                                             \
    } while (0)
#define SAY(name, ...)                                              \
    do {                                                            \
        printf("%s: ", name);                                       \
        printf(__VA_ARGS__);                                        \
        printf("\n");                                               \
        fflush(stdout);                                             \
    } while (0)

/* Runs f in a child; its exit status, or 1000 + the signal that ended it. */
static inline int in_child(void (*f)(void))
{
    int st;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        f();
        _exit(0);
    }
    waitpid(pid, &st, 0);
    return WIFEXITED(st) ? WEXITSTATUS(st) : 1000 + WTERMSIG(st);
}

#endif
