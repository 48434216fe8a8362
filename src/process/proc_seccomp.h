/* proc_seccomp.h: filters of system calls. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_PROC_SECCOMP_H
#define ISOMER_PROC_SECCOMP_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct proc_thread;
struct seccomp_data;

/* ---- classic BPF (proc_bpf.c) ---------------------------------------- */

/* Would Linux accept it as a filter of system calls? */
bool proc_bpf_good(const struct sock_filter *f, size_t len);
/* What it returns for a call; f is good. */
uint32_t proc_bpf_run(const struct sock_filter *f, const struct seccomp_data *data);

/* ---- filters of a thread (proc_seccomp.c) ---------------------------- */

/* What a thread may not do; shared, and released when the last has gone. */
struct proc_seccomp;
struct proc_seccomp *proc_seccomp_share(struct proc_seccomp *s);
void proc_seccomp_free(struct proc_seccomp *s);
/* Before call nr is made: true: it is. False: it is not, *result is what comes of it. */
bool proc_seccomp_allows(struct proc_thread *t, uint64_t nr, const uint64_t *args, long *result);
/* PR_SET_SECCOMP and PR_GET_SECCOMP. */
long proc_seccomp_prctl(struct proc_thread *t, uint64_t mode, uint64_t program);
long proc_seccomp_mode(const struct proc_thread *t);
unsigned proc_seccomp_filters(const struct proc_thread *t);
/* Around an execve of ourselves: hands the filters on. 0 or -errno. */
long proc_seccomp_hand_over(const struct proc_thread *t);
void proc_seccomp_keep(void);
/* In the new program: takes them. 0 or -errno. */
long proc_seccomp_take(struct proc_thread *t);

#endif
