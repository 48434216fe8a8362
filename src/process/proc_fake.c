/* proc_fake.c: files of /proc that would show the emulator instead of the
 * guest. SPDX-License-Identifier: Apache-2.0
 *
 * An open() of one of them gives an anonymous file with the contents that a
 * riscv64 kernel would show. Names and offsets of mappings come from the host's
 * own list, since guest mappings are host mappings; what is above the guest's
 * address space is left out, and protections are the guest's.
 */
#include "process/proc_ptrace.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The host's own file, of the process at dir (/proc/PID). */
static FILE *fake_open_host(const char *dir, const char *name)
{
    char path[96];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return fopen(path, "re");
}

/* ---- maps ------------------------------------------------------------ */

static void fake_maps_line(struct base_text *out, const struct proc_vma *v, uint64_t start,
                           uint64_t end, uint64_t offset, const char *dev_ino, const char *name)
{
    size_t before = out->len;

    base_text_printf(out, "%08llx-%08llx %c%c%c%c %08llx %s", (unsigned long long)start,
                     (unsigned long long)end, v->prot & PROT_READ ? 'r' : '-',
                     v->prot & PROT_WRITE ? 'w' : '-', v->prot & PROT_EXEC ? 'x' : '-',
                     v->flags & MAP_SHARED ? 's' : 'p', (unsigned long long)offset, dev_ino);
    if (v->name)
        name = v->name;
    if (*name)
        base_text_printf(out, "%*s %s", (int)(before + 72 - out->len), "", name);
    base_text_printf(out, "\n");
}

/* One line of the host's: cut at the borders of the guest's mappings. */
static void fake_maps_host_line(struct proc *p, struct base_text *out, const char *line)
{
    unsigned long long start, end, offset;
    char prot[8], dev[16], ino[24], dev_ino[48];
    int at = 0;

    if (sscanf(line, "%llx-%llx %7s %llx %15s %23s %n", &start, &end, prot, &offset, dev, ino,
               &at) < 6)
        return;
    snprintf(dev_ino, sizeof dev_ino, "%s %s", dev, ino);
    while (start < end && start < PROC_TASK_SIZE) {
        struct proc_vma v;
        uint64_t stop;

        if (!proc_mem_find(p, start, &v)) {
            start += PROC_PAGE;
            offset += PROC_PAGE;
            continue;
        }
        stop = v.end < end ? v.end : end;
        fake_maps_line(out, &v, start, stop, strcmp(ino, "0") ? offset : 0, dev_ino, line + at);
        offset += stop - start;
        start = stop;
    }
}

/* What we know ourselves, without files' names and offsets. */
static long fake_maps_own(struct proc *p, struct base_text *out)
{
    pthread_mutex_lock(&p->map.lock);
    for (size_t i = 0; i < p->map.len; i++)
        fake_maps_line(out, &p->map.vma[i], p->map.vma[i].start, p->map.vma[i].end, 0, "00:00 0",
                       "");
    pthread_mutex_unlock(&p->map.lock);
    return 0;
}

static long fake_maps(struct proc *p, const char *dir, struct base_text *out)
{
    FILE *f = fake_open_host(dir, "maps");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    if (!f && errno == EACCES) /* a sandbox: C libraries look up their stack here */
        return fake_maps_own(p, out);
    if (!f)
        return -errno;
    while ((n = getline(&line, &cap, f)) > 0) {
        line[n - 1] = 0;
        fake_maps_host_line(p, out, line);
    }
    free(line);
    fclose(f);
    return 0;
}

/* smaps: the host's blocks of the guest's mappings, headline as in maps. */
static long fake_smaps(struct proc *p, const char *dir, struct base_text *out)
{
    FILE *f = fake_open_host(dir, "smaps");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool shown = false;

    if (!f)
        return -errno;
    while ((n = getline(&line, &cap, f)) > 0) {
        unsigned long long start, end;

        if (sscanf(line, "%llx-%llx ", &start, &end) == 2) {
            shown = start < PROC_TASK_SIZE;
            if (shown) {
                line[n - 1] = 0;
                fake_maps_host_line(p, out, line);
            }
        } else if (shown) {
            base_text_printf(out, "%s", line);
        }
    }
    free(line);
    fclose(f);
    return 0;
}

/* ---- other files ----------------------------------------------------- */

static long fake_auxv(struct proc *p, const char *dir, struct base_text *out)
{
    (void)dir;
    base_text_append(out, p->auxv, p->auxv_len);
    return 0;
}

static long fake_cmdline(struct proc *p, const char *dir, struct base_text *out)
{
    (void)dir;
    for (char **v = p->argv; *v; v++)
        base_text_append(out, *v, strlen(*v) + 1);
    return 0;
}

static long fake_environ(struct proc *p, const char *dir, struct base_text *out)
{
    (void)dir;
    for (char **v = p->envp; *v; v++)
        base_text_append(out, *v, strlen(*v) + 1);
    return 0;
}

static long fake_cpuinfo(struct base_text *out)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    for (long i = 0; i < cpus; i++)
        base_text_printf(out,
                         "processor\t: %ld\n"
                         "hart\t\t: %ld\n"
                         "isa\t\t: %s\n"
                         "mmu\t\t: sv39\n"
                         "uarch\t\t: isomer\n"
                         "mvendorid\t: 0x0\n"
                         "marchid\t\t: 0x0\n"
                         "mimpid\t\t: 0x0\n"
                         "hart isa\t: %s\n\n",
                         i, i, RV64_ISA, RV64_ISA);
    return 0;
}

/* stat: the host's, with the addresses and sizes that tell of the emulator
 * replaced. Fields count behind the name, which may contain anything. */
static long fake_stat(struct proc *p, const char *dir, struct base_text *out)
{
    char buf[1024], *at, *end;
    FILE *f = fake_open_host(dir, "stat");
    size_t n;
    int field = 3;

    if (!f)
        return -errno;
    n = fread(buf, 1, sizeof buf - 1, f);
    fclose(f);
    if (!n)
        return -ESRCH; /* it has ended since */
    buf[n] = 0;
    at = strrchr(buf, ')');
    if (!at || !at[1])
        return -EIO;
    at += 2;
    base_text_printf(out, "%.*s", (int)(at - buf), buf);
    for (; *at && *at != '\n'; at = *end ? end + 1 : end, field++) {
        uint64_t value = 0;
        bool ours = true;

        end = at + strcspn(at, " \n");
        switch (field) {
        case 20: ours = (value = proc_tasks_count(dir)) > 0; break;
        case 26: value = p->map.start_code; break;
        case 27: value = p->map.end_code; break;
        case 28: value = p->map.stack_start; break;
        case 47: value = p->map.brk_start; break;
        case 48: value = p->arg_start; break;
        case 29: case 30: case 45: case 46: case 49: case 50: case 51: break;
        default: ours = false; break;
        }
        if (ours)
            base_text_printf(out, "%llu", (unsigned long long)value);
        else
            base_text_printf(out, "%.*s", (int)(end - at), at);
        base_text_printf(out, *end == ' ' ? " " : "\n");
    }
    return 0;
}

/* ---- open ------------------------------------------------------------ */

/* Rest of path behind /proc/self/, /proc/PID/ or /proc/PID/task/TID/, or NULL. *pid:
 * whose; 0: our own. */
static const char *fake_part(const char *path, pid_t *pid)
{
    static const char task[] = "task/";
    char *end;
    size_t n;

    *pid = 0;
    path += strlen("/proc/");
    if (!strncmp(path, "self/", 5)) {
        path += 5;
    } else if (!strncmp(path, "thread-self/", 12)) {
        return path + 12;
    } else {
        *pid = (pid_t)strtol(path, &end, 10);
        if (end == path || *end != '/')
            return NULL;
        path = end + 1;
        if (*pid == getpid())
            *pid = 0;
    }
    if (!strncmp(path, task, sizeof task - 1)) {
        path += sizeof task - 1;
        n = strspn(path, "0123456789");
        return n && path[n] == '/' ? path + n + 1 : NULL;
    }
    return path;
}

/* Its name tells what it stands for, in another program that inherits it, too. */
#define FAKE_NAME "isomer:"

static long fake_file(const char *path, const struct base_text *text, int flags)
{
    char name[128];
    int fd;
    ssize_t n = 0;

    if ((flags & O_ACCMODE) != O_RDONLY)
        return -EACCES;
    snprintf(name, sizeof name, FAKE_NAME "%s", path);
    fd = memfd_create(name, flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < text->len; at += (size_t)n) {
        n = write(fd, text->data + at, text->len - at);
        if (n <= 0) {
            close(fd);
            return -EIO;
        }
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static const struct fake_maker {
    const char *name;
    long (*make)(struct proc *p, const char *dir, struct base_text *out);
} makers[] = {
    {"maps", fake_maps},       {"smaps", fake_smaps},     {"auxv", fake_auxv},
    {"cmdline", fake_cmdline}, {"environ", fake_environ}, {"stat", fake_stat},
    {"status", proc_tasks_status},
};

/* Makes the file of a process or thread: 0, or -errno. */
static long fake_make(struct proc_thread *t, const struct fake_maker *m, pid_t pid, const char *dir,
                      struct base_text *out)
{
    struct proc_trace_view *view;
    struct proc *p;
    long r;

    if (!pid)
        return m->make(t->proc, dir, out);
    view = proc_trace_view_new(pid, &p);
    if (!view)
        return -ENOSYS;
    r = m->make(p, dir, out);
    proc_trace_view_free(view);
    return r;
}

long proc_fake_open(struct proc_thread *t, const char *path, int flags)
{
    struct base_text text = {0};
    pid_t pid;
    const char *part = fake_part(path, &pid);
    char dir[64];
    long r = -ENOSYS;

    if (part) /* without the last slash */
        snprintf(dir, sizeof dir, "%.*s", (int)(part - path) - 1, path);
    if (!strcmp(path, "/proc/cpuinfo"))
        r = fake_cpuinfo(&text);
    for (size_t i = 0; part && i < BASE_ARRAY_SIZE(makers); i++)
        if (!strcmp(part, makers[i].name))
            r = fake_make(t, &makers[i], pid, dir, &text);
    if (r == 0)
        r = fake_file(path, &text, flags);
    base_text_free(&text);
    return r;
}

bool proc_fake_path(int fd, char *path, size_t size)
{
    static const char prefix[] = "/memfd:" FAKE_NAME, suffix[] = " (deleted)";
    char link[32], name[256];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof name - 1);
    if (n <= (ssize_t)(sizeof prefix + sizeof suffix) || n >= (ssize_t)sizeof name - 1 ||
        strncmp(name, prefix, sizeof prefix - 1))
        return false;
    name[n - (ssize_t)(sizeof suffix - 1)] = 0;
    snprintf(path, size, "%s", name + sizeof prefix - 1);
    return true;
}
