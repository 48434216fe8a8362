/* proc_core.c: core dumps of the guest. SPDX-License-Identifier: Apache-2.0
 *
 * A core that the host's kernel would write shows the emulator. So the guest's
 * death by a signal is taken over (proc_debug_catches), its threads are parked,
 * and an ELF core file of a riscv64 process is written by hand as fs/binfmt_elf.c
 * of Linux does it: notes with the registers of each thread, auxiliary vector,
 * names of mapped files, then the mappings. Pages that are all zero or cannot
 * be read become holes in the file. Then the host process dies by the same
 * signal with its own core switched off; the flag "core dumped" in its wait
 * status is the only thing that cannot be had.
 */
#include "process/proc_debug.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CORE_CHUNK = 64 << 10, CORE_MAX_PHDRS = 65000, CORE_MAX_FILES = 16384 };

/* ---- notes ----------------------------------------------------------- */

/* struct elf_prstatus, elf_prpsinfo of riscv64 (include/linux/elfcore.h). */
struct core_prstatus {
    int32_t signo, code, error;
    int16_t cursig, pad;
    uint64_t sigpend, sighold;
    int32_t pid, ppid, pgrp, sid;
    uint64_t times[8];
    uint64_t regs[32]; /* pc, x1..x31 */
    int32_t fpvalid, pad2;
};
_Static_assert(sizeof(struct core_prstatus) == 376, "as gdb reads it");
struct core_psinfo {
    char state, sname, zombie, nice, pad[4];
    uint64_t flags;
    uint32_t uid, gid;
    int32_t pid, ppid, pgrp, sid;
    char fname[16], args[80];
};
_Static_assert(sizeof(struct core_psinfo) == 136, "as gdb reads it");
struct core_fpregs {
    uint64_t f[32];
    uint32_t fcsr, pad;
};

static void append(struct base_text *out, const void *data, size_t n)
{
    if (out->len + n + 1 > out->cap) {
        out->cap = (out->len + n + 1) * 2;
        out->data = base_realloc(out->data, out->cap);
    }
    memcpy(out->data + out->len, data, n);
    out->len += n;
}

static void note(struct base_text *out, uint32_t type, const void *data, size_t n)
{
    Elf64_Nhdr h = {.n_namesz = 5, .n_descsz = (uint32_t)n, .n_type = type};
    static const char zero[4];

    append(out, &h, sizeof h);
    append(out, "CORE\0\0\0", 8);
    append(out, data, n);
    append(out, zero, (0 - n) & 3);
}

static void note_thread(struct base_text *out, const struct proc_thread *t, int sig, bool first,
                        const siginfo_t *info)
{
    struct core_prstatus s;
    struct core_fpregs f;

    memset(&s, 0, sizeof s);
    memset(&f, 0, sizeof f);
    s.signo = s.cursig = (int16_t)sig;
    s.sighold = t->sig->mask;
    s.pid = t->tid;
    s.ppid = getppid();
    s.pgrp = getpgrp();
    s.sid = getsid(0);
    s.regs[0] = t->rv->pc;
    for (int i = 1; i < 32; i++)
        s.regs[i] = t->rv->x[i];
    s.fpvalid = 1;
    for (int i = 0; i < 32; i++)
        f.f[i] = t->rv->f[i];
    f.fcsr = rv_fcsr(t->rv);
    note(out, NT_PRSTATUS, &s, sizeof s);
    note(out, NT_FPREGSET, &f, sizeof f);
    if (first)
        note(out, NT_SIGINFO, info, PROC_SIGINFO_SIZE);
}

static void note_process(struct base_text *out, const struct proc *p)
{
    struct core_psinfo s;
    const char *name = strrchr(p->exe, '/');
    size_t n = 0;

    memset(&s, 0, sizeof s);
    s.sname = 'R';
    s.uid = getuid();
    s.gid = getgid();
    s.pid = getpid();
    s.ppid = getppid();
    s.pgrp = getpgrp();
    s.sid = getsid(0);
    snprintf(s.fname, sizeof s.fname, "%s", name ? name + 1 : p->exe);
    for (char **a = p->argv; *a && n < sizeof s.args - 1; a++) {
        n += (size_t)snprintf(s.args + n, sizeof s.args - n, "%s%s", n ? " " : "", *a);
    }
    note(out, NT_PRPSINFO, &s, sizeof s);
    note(out, NT_AUXV, p->auxv, p->auxv_len);
}

/* NT_FILE: count, page size, (start, end, offset in pages)..., names. */
static void note_files(struct base_text *out, struct proc *p)
{
    FILE *f = fopen("/proc/self/maps", "re");
    struct base_text table = {0}, names = {0};
    uint64_t head[2] = {0, PROC_PAGE};
    size_t root = p->sysroot ? strlen(p->sysroot) : 0, cap = 0;
    char *line = NULL;
    ssize_t n;

    append(&table, head, sizeof head);
    while (f && head[0] < CORE_MAX_FILES && (n = getline(&line, &cap, f)) > 0) {
        unsigned long long start, end, offset, inode;
        struct proc_vma v;
        const char *name;
        int at = 0;

        line[n - 1] = 0;
        if (sscanf(line, "%llx-%llx %*s %llx %*s %llu %n", &start, &end, &offset, &inode,
                   &at) < 4 ||
            !inode || start >= PROC_TASK_SIZE || !proc_mem_find(p, start, &v))
            continue;
        name = line + at;
        if (root && !strncmp(name, p->sysroot, root) && name[root] == '/')
            name += root;
        append(&table, (uint64_t[3]){start, end, offset / PROC_PAGE}, 24);
        append(&names, name, strlen(name) + 1);
        head[0]++;
    }
    if (f)
        fclose(f);
    free(line);
    memcpy(table.data, head, sizeof head);
    if (names.len)
        append(&table, names.data, names.len);
    note(out, NT_FILE, table.data, table.len);
    base_text_free(&table);
    base_text_free(&names);
}

/* ---- the file -------------------------------------------------------- */

struct core {
    int fd;
    uint64_t limit; /* bytes the file may have */
    bool failed;
};

static void core_write(struct core *c, uint64_t at, const void *data, size_t n)
{
    const char *s = data;

    if (at >= c->limit || c->failed)
        return;
    if (n > c->limit - at)
        n = c->limit - at;
    while (n) {
        ssize_t done = pwrite(c->fd, s, n, (off_t)at);

        if (done <= 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            c->failed = true;
            return;
        }
        s += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
}

static bool all_zero(const uint8_t *data, size_t n)
{
    return !data[0] && !memcmp(data, data + 1, n - 1);
}

static void write_memory(struct core *c, uint64_t at, const struct proc_vma *v, uint8_t *chunk)
{
    for (uint64_t a = v->start; a < v->end && at + (a - v->start) < c->limit;) {
        size_t n = v->end - a < CORE_CHUNK ? v->end - a : CORE_CHUNK;

        if (proc_read_guest(chunk, a, n) < 0) { /* page by page: some are there */
            n = PROC_PAGE;
            if (proc_read_guest(chunk, a, n) < 0)
                memset(chunk, 0, n);
        }
        if (!all_zero(chunk, n))
            core_write(c, at + (a - v->start), chunk, n);
        a += n;
    }
}

/* Name of the file: ISOMER_CORE with %p (process), %e (program), or core.PID. */
static void core_name(const struct proc *p, char *out, size_t size)
{
    const char *s = secure_getenv("ISOMER_CORE"), *exe = strrchr(p->exe, '/');
    size_t n = 0;

    if (!s || !*s)
        s = "core.%p";
    for (; *s && n + 1 < size; s++) {
        if (s[0] == '%' && s[1] == 'p') {
            n += (size_t)snprintf(out + n, size - n, "%d", (int)getpid());
            s++;
        } else if (s[0] == '%' && s[1] == 'e') {
            n += (size_t)snprintf(out + n, size - n, "%s", exe ? exe + 1 : p->exe);
            s++;
        } else {
            out[n++] = *s;
        }
        if (n >= size)
            n = size - 1;
    }
    out[n] = 0;
}

static uint32_t exe_flags(const struct proc *p)
{
    Elf64_Ehdr h = {0};
    int fd = open(p->exe, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
        h.e_flags = 5; /* compressed instructions, double-precision ABI */
    if (fd >= 0)
        close(fd);
    return h.e_flags;
}

static void all_notes(struct base_text *out, struct proc_thread *t, int sig, const siginfo_t *info)
{
    struct proc *p = t->proc;

    note_process(out, p);
    note_files(out, p);
    note_thread(out, t, sig, true, info);
    if (t->shares_memory) /* a vfork child: one thread, the others are its parent's */
        return;
    pthread_mutex_lock(&p->threads_lock);
    for (struct proc_thread *o = p->threads; o; o = o->next)
        if (o != t)
            note_thread(out, o, sig, false, info);
    pthread_mutex_unlock(&p->threads_lock);
}

static void write_core(struct core *c, struct proc_thread *t, const struct base_text *notes,
                       const struct proc_vma *vma, size_t nvma)
{
    Elf64_Ehdr h = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_RISCV,
        .e_version = EV_CURRENT,
        .e_flags = exe_flags(t->proc),
        .e_ehsize = sizeof h,
        .e_phoff = sizeof h,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(nvma + 1),
    };
    uint64_t at = sizeof h + (nvma + 1) * sizeof(Elf64_Phdr);
    Elf64_Phdr ph = {.p_type = PT_NOTE, .p_offset = at, .p_filesz = notes->len, .p_align = 4};
    uint8_t *chunk = base_alloc(CORE_CHUNK);

    core_write(c, 0, &h, sizeof h);
    core_write(c, sizeof h, &ph, sizeof ph);
    core_write(c, at, notes->data, notes->len);
    at = BASE_ALIGN_UP(at + notes->len, PROC_PAGE);
    for (size_t i = 0; i < nvma && !c->failed; i++) {
        const struct proc_vma *v = &vma[i];
        uint64_t size = v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC) ? v->end - v->start : 0;

        ph = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = at, .p_vaddr = v->start,
                          .p_filesz = size, .p_memsz = v->end - v->start, .p_align = PROC_PAGE};
        ph.p_flags = (v->prot & PROT_READ ? PF_R : 0u) | (v->prot & PROT_WRITE ? PF_W : 0u) |
                     (v->prot & PROT_EXEC ? PF_X : 0u);
        core_write(c, sizeof h + (i + 1) * sizeof ph, &ph, sizeof ph);
        if (size)
            write_memory(c, at, v, chunk);
        at += size;
    }
    if (!c->failed && ftruncate(c->fd, (off_t)(at < c->limit ? at : c->limit)) < 0)
        c->failed = true;
    free(chunk);
}

void proc_core_dump(struct proc_thread *t, int sig, const siginfo_t *info)
{
    struct proc *p = t->proc;
    struct core c = {.fd = -1};
    struct base_text notes = {0};
    struct rlimit rl;
    struct proc_vma *vma;
    char name[PATH_MAX];
    size_t n;

    if (getrlimit(RLIMIT_CORE, &rl) || !rl.rlim_cur)
        return;
    c.limit = rl.rlim_cur;
    core_name(p, name, sizeof name);
    c.fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
    if (c.fd < 0)
        return;
    if (!t->shares_memory)
        proc_debug_stop_others(p, t);
    all_notes(&notes, t, sig, info);
    pthread_mutex_lock(&p->map.lock);
    n = p->map.len < CORE_MAX_PHDRS ? p->map.len : CORE_MAX_PHDRS;
    vma = base_alloc((n + 1) * sizeof *vma);
    memcpy(vma, p->map.vma, n * sizeof *vma);
    pthread_mutex_unlock(&p->map.lock);
    write_core(&c, t, &notes, vma, n);
    p->core_written = !c.failed;
    close(c.fd);
    if (c.failed)
        unlink(name);
    free(vma);
    base_text_free(&notes);
}
