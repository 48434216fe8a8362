/* proc_gdb.c: the debugger's server. SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_debug.h"

int proc_gdb_start(struct proc_thread *t) { return 0; }
bool proc_gdb_run(struct proc_thread *t, enum jit_stop *stop)
{
    *stop = jit_run(t->vcpu);
    return true;
}
int proc_gdb_signal(struct proc_thread *t, siginfo_t *info) { return info->si_signo; }
void proc_gdb_end(struct proc *p, int status, int sig) {}
void proc_gdb_fork_child(struct proc_thread *t) {}
