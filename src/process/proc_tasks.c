/* proc_tasks.c: threads of a process as /proc shows them. SPDX-License-Identifier: Apache-2.0
 *
 * The emulator may have a thread that is none of the guest's: tier 2's. The kernel
 * lists it in /proc/PID/task and counts it in status and stat. Here it is taken out
 * again. In the own process a task that is not a guest's thread is not shown (the
 * first one always is: it stays until the process ends). Of other processes only
 * their threads' names are known.
 *
 * A listing is recognised by what getdents64 gave: a name that is a number, in a
 * directory of procfs called task. So a listing of any other directory costs one
 * look at one name.
 */
#include "process/proc_ptrace.h"
#include "process/proc_seccomp.h"
#include "process/proc_signal.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIER2_NAME "isomer-tier2"

/* ---- whose thread is it ---------------------------------------------- */

static bool is_guests(struct proc *p, pid_t tid)
{
    bool found = tid == getpid();

    pthread_mutex_lock(&p->threads_lock);
    for (struct proc_thread *t = p->threads; t && !found; t = t->next)
        found = t->tid == tid;
    pthread_mutex_unlock(&p->threads_lock);
    return found;
}

/* The thread called name in the directory dir/task. */
static bool is_hidden(const char *task, const char *name)
{
    char path[96], comm[32] = "", own[32];
    FILE *f;

    snprintf(own, sizeof own, "/proc/%d/task", (int)getpid());
    if (!strcmp(task, own))
        return !is_guests(proc_self->proc, atoi(name));
    snprintf(path, sizeof path, "%s/%s/comm", task, name);
    f = fopen(path, "re");
    if (!f)
        return false;
    if (!fgets(comm, sizeof comm, f))
        comm[0] = 0;
    fclose(f);
    return !strcmp(comm, TIER2_NAME "\n") && proc_trace_is_ours(atoi(name));
}

/* ---- listing --------------------------------------------------------- */

/* Is fd the directory /proc/PID/task? Its name in buf then. */
static bool is_task_dir(int fd, char *buf, size_t size)
{
    static const char tail[] = "/task";
    struct statfs fs;
    char link[32];
    ssize_t n;

    if (fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, buf, size - 1);
    if (n < (ssize_t)sizeof tail)
        return false;
    buf[n] = 0;
    return !strncmp(buf, "/proc/", 6) && !strcmp(buf + n - (sizeof tail - 1), tail);
}

enum {
    LISTED_MAX = 64 << 10, /* bytes of entries that are looked through */
    ENTRY_HEAD = offsetof(struct dirent64, d_name),
    FIRST_BYTES = 96       /* holds ".", ".." and the beginning of another */
};

/* The entry at *at, which is moved behind it; NULL: no more. The guest may have
 * changed them meanwhile. */
static struct dirent64 *next_entry(uint8_t *entries, size_t n, size_t *at)
{
    struct dirent64 *d = (void *)(entries + *at);

    if (n - *at <= ENTRY_HEAD || d->d_reclen <= ENTRY_HEAD)
        return NULL;
    *at += d->d_reclen;
    return d;
}

/* Is a number the first name that is not "." or ".."? */
static bool begins_with_number(uint64_t addr, size_t n)
{
    _Alignas(struct dirent64) uint8_t first[FIRST_BYTES + sizeof(struct dirent64)] = {0};
    struct dirent64 *d;
    size_t at = 0;

    n = n < FIRST_BYTES ? n : FIRST_BYTES;
    if (proc_read_guest(first, addr, n) < 0)
        return false;
    do
        d = at < n ? next_entry(first, n, &at) : NULL;
    while (d && d->d_name[0] == '.');
    return d && isdigit((unsigned char)d->d_name[0]);
}

/* Takes what is hidden out of n bytes of entries; how many are left. */
static size_t filter(const char *task, uint8_t *entries, size_t n)
{
    size_t left = 0, at = 0;
    struct dirent64 *d;

    while (at < n && (d = next_entry(entries, n, &at)) && at <= n) {
        size_t len = d->d_reclen;

        if (isdigit((unsigned char)d->d_name[0]) && is_hidden(task, d->d_name))
            continue;
        memmove(entries + left, d, len);
        left += len;
    }
    return left;
}

PROC_SYS(getdents64)
{
    char task[64];
    uint8_t *copy;
    long n;

    do {
        n = proc_raw(SYS_getdents64, a[0], a[1], a[2], 0, 0, 0);
        if (n <= 0 || n > LISTED_MAX || !begins_with_number(a[1], (size_t)n) ||
            !is_task_dir((int)a[0], task, sizeof task))
            return n;
        copy = base_zalloc((size_t)n + 1); /* 0 behind the last name */
        if (!proc_read_guest(copy, a[1], (size_t)n)) {
            n = (long)filter(task, copy, (size_t)n);
            proc_write_guest(a[1], copy, (size_t)n);
        }
        free(copy);
    } while (!n); /* 0 would be the end */
    return n;
}

/* ---- counts and masks ------------------------------------------------ */

unsigned proc_tasks_count(const char *dir)
{
    char path[96], task[64];
    unsigned shown = 0;
    struct dirent *d;
    DIR *list;

    snprintf(path, sizeof path, "%s/task", dir);
    list = opendir(path);
    if (!list) { /* it is a thread's: its siblings */
        snprintf(path, sizeof path, "%s/..", dir);
        list = opendir(path);
    }
    if (!list)
        return 0;
    if (is_task_dir(dirfd(list), task, sizeof task))
        while ((d = readdir(list)))
            shown += isdigit((unsigned char)d->d_name[0]) && !is_hidden(task, d->d_name);
    closedir(list);
    return shown;
}

/* The host always has handlers for what an instruction can raise. */
static uint64_t guest_set(struct proc_thread *t, const char *which, uint64_t set)
{
    bool caught = !strcmp(which, "SigCgt");

    if (!strcmp(which, "SigPnd"))
        return set | proc_signal_taken(t);
    if (!strcmp(which, "SigBlk"))
        return t->sig->mask;
    if (!caught && strcmp(which, "SigIgn"))
        return set;
    set &= ~PROC_SYNC_SIGNALS;
    for (int sig = 1; sig <= PROC_NSIG; sig++) {
        uint64_t h = t->sig->table->action[sig].handler;

        if ((PROC_SYNC_SIGNALS & proc_sigbit(sig)) &&
            (caught ? h > PROC_SIG_IGN : h == PROC_SIG_IGN))
            set |= proc_sigbit(sig);
    }
    return set;
}

/* The host knows nothing of the guest's filters. */
static bool seccomp_line(struct proc *p, pid_t tid, const char *line, struct base_text *out)
{
    bool known = false;

    pthread_mutex_lock(&p->threads_lock);
    for (struct proc_thread *t = p->threads; t && !known; t = t->next)
        if (t->tid == tid && t->seccomp) {
            known = true;
            if (line[7] == ':')
                base_text_printf(out, "Seccomp:\t%ld\n", proc_seccomp_mode(t));
            else
                base_text_printf(out, "Seccomp_filters:\t%u\n", proc_seccomp_filters(t));
        }
    pthread_mutex_unlock(&p->threads_lock);
    return known;
}

/* One line of status that speaks of the emulator; false: it does not. */
static bool status_line(struct proc *p, const char *dir, pid_t tid, const char *line,
                        struct base_text *out)
{
    unsigned long long value;
    char name[16];
    bool known = false;

    if (!strncmp(line, "x86_", 4))
        return true;
    if (!strncmp(line, "Threads:", 8)) {
        unsigned n = proc_tasks_count(dir);

        if (n)
            base_text_printf(out, "Threads:\t%u\n", n);
        return n > 0;
    }
    if (!strncmp(line, "Seccomp", 7))
        return seccomp_line(p, tid, line, out);
    if (sscanf(line, "%6[SigPndBlkICt]: %llx", name, &value) != 2)
        return false;
    pthread_mutex_lock(&p->threads_lock);
    for (struct proc_thread *t = p->threads; t && !known; t = t->next)
        if (t->tid == tid) {
            known = true;
            value = guest_set(t, name, value);
        }
    pthread_mutex_unlock(&p->threads_lock);
    base_text_printf(out, "%s:\t%016llx\n", name, value);
    return true;
}

long proc_tasks_status(struct proc *p, const char *dir, struct base_text *out)
{
    char path[96], *line = NULL;
    size_t cap = 0;
    pid_t tid = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/status", dir);
    f = fopen(path, "re");
    if (!f)
        return -errno;
    while (getline(&line, &cap, f) > 0) {
        if (!strncmp(line, "Pid:", 4))
            tid = atoi(line + 4);
        if (p != proc_self->proc || !status_line(p, dir, tid, line, out))
            base_text_append(out, line, strlen(line));
    }
    free(line);
    fclose(f);
    return 0;
}
