/* pc_check.h: what the test programs for both machines share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PC_CHECK_H
#define PC_CHECK_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int check_failed;

static inline void check(const char *name, int good)
{
    printf("%s - %s\n", good ? "ok" : "not ok", name);
    check_failed += !good;
}

static inline int check_end(void)
{
    fflush(stdout);
    return check_failed != 0;
}

#endif
