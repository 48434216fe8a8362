/* proc_perf.c: --perf=map: names for perf of what was translated.
 * SPDX-License-Identifier: Apache-2.0
 *
 * perf looks for names of code that is in no file in /tmp/perf-PID.map: a line
 * "address size name" for each region. The name is the guest function's with
 * the offset in it, if the file that the guest code was mapped from has
 * symbols, else the guest address. A child of a fork runs what its parent has
 * translated, so its file begins as a copy.
 */
#include "process/proc_debug.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- symbols --------------------------------------------------------- */

struct symbol {
    uint64_t start, size; /* addresses as they run */
    const char *name;     /* in the mapped file */
};
struct module {
    uint64_t start, end;
    BASE_VEC(struct symbol) symbols;
};
static BASE_VEC(struct module) modules; /* the jit's lock is held */

static int by_start(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static bool inside(uint64_t offset, uint64_t n, uint64_t size)
{
    return offset <= size && n <= size - offset;
}

/* Functions of one symbol table; nothing in the file is trusted. */
static void add_table(struct module *m, const uint8_t *file, uint64_t size, const Elf64_Shdr *s,
                      const Elf64_Shdr *strings, uint64_t bias)
{
    const char *text = (const char *)file + strings->sh_offset;

    if (!inside(s->sh_offset, s->sh_size, size) || (s->sh_offset & 7) || !strings->sh_size ||
        !inside(strings->sh_offset, strings->sh_size, size) || text[strings->sh_size - 1])
        return;
    for (uint64_t i = 0; i < s->sh_size / sizeof(Elf64_Sym); i++) {
        const Elf64_Sym *y = (const Elf64_Sym *)(file + s->sh_offset) + i;

        if (ELF64_ST_TYPE(y->st_info) == STT_FUNC && y->st_shndx != SHN_UNDEF &&
            y->st_name < strings->sh_size && text[y->st_name])
            base_vec_push(&m->symbols, ((struct symbol){y->st_value + bias, y->st_size,
                                                        text + y->st_name}));
    }
}

/* start: where the page at offset of the file is mapped. */
static void read_symbols(struct module *m, const uint8_t *file, uint64_t size, uint64_t start,
                         uint64_t offset)
{
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)file;
    const Elf64_Shdr *s;
    const Elf64_Phdr *p;
    uint64_t bias = 0;

    if (size < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_machine != EM_RISCV ||
        !inside(h->e_phoff, h->e_phnum * sizeof *p, size) || (h->e_phoff & 7) ||
        !inside(h->e_shoff, h->e_shnum * sizeof *s, size) || (h->e_shoff & 7))
        return;
    p = (const Elf64_Phdr *)(file + h->e_phoff);
    for (unsigned i = 0; i < h->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && offset >= BASE_ALIGN_DOWN(p[i].p_offset, PROC_PAGE) &&
            offset < p[i].p_offset + p[i].p_filesz)
            bias = start - (p[i].p_vaddr - p[i].p_offset + offset);
    s = (const Elf64_Shdr *)(file + h->e_shoff);
    for (unsigned i = 0; i < h->e_shnum; i++)
        if ((s[i].sh_type == SHT_SYMTAB || s[i].sh_type == SHT_DYNSYM) && s[i].sh_link < h->e_shnum)
            add_table(m, file, size, &s[i], &s[s[i].sh_link], bias);
    if (m->symbols.len)
        qsort(m->symbols.data, m->symbols.len, sizeof *m->symbols.data, by_start);
}

/* The file is kept mapped: names point into it. */
static void open_module(struct module *m, const char *path, uint64_t offset)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size) {
        void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (file != MAP_FAILED)
            read_symbols(m, file, (uint64_t)st.st_size, m->start, offset);
    }
    close(fd);
}

/* The mapping that holds pc; one that is not of a file has no symbols. */
static const struct module *module_at(uint64_t pc)
{
    struct module m = {.start = pc, .end = pc + 1};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *f;

    for (size_t i = 0; i < modules.len; i++)
        if (pc >= modules.data[i].start && pc < modules.data[i].end)
            return &modules.data[i];
    f = fopen("/proc/self/maps", "re");
    while (f && (n = getline(&line, &cap, f)) > 0) {
        unsigned long long start, end, offset;
        int at = 0;

        line[n - 1] = 0;
        if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &at) < 3 ||
            pc < start || pc >= end)
            continue;
        m.start = start;
        m.end = end;
        if (line[at] == '/')
            open_module(&m, line + at, offset);
        break;
    }
    if (f)
        fclose(f);
    free(line);
    base_vec_push(&modules, m);
    return &modules.data[modules.len - 1];
}

static void name_of(uint64_t pc, char *out, size_t size)
{
    const struct module *m = module_at(pc);
    size_t low = 0, high = m->symbols.len;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (m->symbols.data[mid].start <= pc)
            low = mid + 1;
        else
            high = mid;
    }
    if (low) {
        const struct symbol *s = &m->symbols.data[low - 1];
        uint64_t at = pc - s->start;

        if (!at) {
            snprintf(out, size, "%s", s->name);
            return;
        }
        if (at < s->size) {
            snprintf(out, size, "%s+%#llx", s->name, (unsigned long long)at);
            return;
        }
    }
    snprintf(out, size, "guest_%#llx", (unsigned long long)pc);
}

/* ---- the file -------------------------------------------------------- */

static FILE *open_map(pid_t pid, pid_t parent)
{
    char path[64], buf[4096];
    FILE *f, *old = NULL;
    int fd, high;
    size_t n;

    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)pid);
    unlink(path); /* of an older process with that number, maybe not ours */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return NULL;
    high = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    if (high >= 0) {
        close(fd);
        fd = high;
    }
    f = fdopen(fd, "w");
    if (parent) {
        snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)parent);
        old = fopen(path, "re");
    }
    while (f && old && (n = fread(buf, 1, sizeof buf, old)) > 0)
        fwrite(buf, 1, n, f);
    if (old)
        fclose(old);
    return f;
}

void proc_perf_region(void *ctx, uint64_t pc, const uint8_t *const code[2], const uint32_t len[2])
{
    static FILE *file;
    static pid_t owner;
    char name[256];
    pid_t pid = getpid();

    (void)ctx;
    if (pid != owner) {
        if (file)
            fclose(file);
        file = open_map(pid, owner);
        owner = pid;
    }
    if (!file)
        return;
    name_of(pc, name, sizeof name);
    fprintf(file, "%llx %x %s\n", (unsigned long long)(uintptr_t)code[0], len[0], name);
    if (len[1])
        fprintf(file, "%llx %x %s [cold]\n", (unsigned long long)(uintptr_t)code[1], len[1], name);
    fflush(file);
}
