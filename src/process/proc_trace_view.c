/* proc_trace_view.c: what a tracer sees in /proc of its tracees.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Debuggers read /proc/PID/exe, auxv, maps and cmdline of what they debug. The
 * host's files there tell of the tracee's emulator. Its struct proc says what
 * the guest in it is; it is read from its memory, with all that it points to
 * and those files show, and then looks as if it were our own (proc_fake.c).
 */
#include "process/proc_ptrace.h"

#include <limits.h>
#include <stdlib.h>

enum {
    VIEW_STRINGS = 4096,      /* bounds on what a tracee says of itself: arguments, */
    VIEW_STRING = 128 << 10,  /* bytes of one, */
    VIEW_MAPPINGS = 1 << 16   /* mappings */
};

struct proc_trace_view {
    struct base_arena arena;
    struct proc p;
    pid_t pid;
};

/* A string of the tracee; NULL: none, or it cannot be read. */
static char *view_string(struct proc_trace_view *v, const char *theirs)
{
    char buf[256], *copy;
    struct base_text text = {0};
    uint64_t at = (uint64_t)theirs;

    if (!theirs)
        return NULL;
    while (text.len < VIEW_STRING) {
        size_t n = sizeof buf - at % sizeof buf; /* never over the end of a page */
        size_t len;

        if (proc_trace_read(v->pid, buf, at, n) < 0)
            break;
        len = strnlen(buf, n);
        base_text_append(&text, buf, len);
        at += n;
        if (len < n)
            break;
    }
    copy = base_arena_alloc(&v->arena, text.len + 1);
    memcpy(copy, text.len ? text.data : "", text.len);
    copy[text.len] = 0;
    base_text_free(&text);
    return copy;
}

static char **view_strings(struct proc_trace_view *v, char **theirs)
{
    char **list = base_arena_alloc(&v->arena, (VIEW_STRINGS + 1) * sizeof *list);
    size_t n = 0;

    while (n < VIEW_STRINGS) {
        char *one = NULL;

        if (!theirs || proc_trace_read(v->pid, &one, (uint64_t)(theirs + n), sizeof one) < 0 ||
            !one)
            break;
        list[n++] = view_string(v, one);
    }
    list[n] = NULL;
    return list;
}

static void view_map(struct proc_trace_view *v, struct proc_map *m)
{
    size_t len = m->len < VIEW_MAPPINGS ? m->len : VIEW_MAPPINGS;
    struct proc_vma *vma = base_arena_alloc(&v->arena, (len + 1) * sizeof *vma);

    if (proc_trace_read(v->pid, vma, (uint64_t)m->vma, len * sizeof *vma) < 0)
        len = 0;
    for (size_t i = 0; i < len; i++)
        vma[i].name = view_string(v, vma[i].name);
    m->vma = vma;
    m->len = m->cap = len;
    pthread_mutex_init(&m->lock, NULL);
}

struct proc_trace_view *proc_trace_view_new(pid_t pid, struct proc **p)
{
    struct proc_trace_view *v = base_zalloc(sizeof *v);

    v->pid = pid;
    if (!proc_trace_proc(pid, &v->p)) {
        free(v);
        return NULL;
    }
    base_arena_init(&v->arena);
    v->p.exe = view_string(v, v->p.exe);
    v->p.sysroot = view_string(v, v->p.sysroot);
    v->p.argv = view_strings(v, v->p.argv);
    v->p.envp = view_strings(v, v->p.envp);
    if (v->p.auxv_len > sizeof v->p.auxv)
        v->p.auxv_len = 0;
    view_map(v, &v->p.map);
    *p = &v->p;
    return v;
}

void proc_trace_view_free(struct proc_trace_view *v)
{
    base_arena_free(&v->arena);
    free(v);
}

bool proc_trace_exe(const char *path, bool without_sysroot, char *buf, size_t size)
{
    struct proc_trace_view *v;
    struct proc *p;
    char *end;
    long pid;

    if (strncmp(path, "/proc/", 6))
        return false;
    pid = strtol(path + 6, &end, 10);
    if (pid <= 0 || strcmp(end, "/exe"))
        return false;
    v = proc_trace_view_new((pid_t)pid, &p);
    if (!v)
        return false;
    snprintf(buf, size, "%s", without_sysroot ? proc_guest_exe(p) : p->exe);
    proc_trace_view_free(v);
    return true;
}
