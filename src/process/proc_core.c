/* proc_core.c: core dumps of the guest. SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_debug.h"

void proc_core_dump(struct proc_thread *t, int sig, const siginfo_t *info) {}
