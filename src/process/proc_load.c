/* proc_load.c: puts a program into guest memory. SPDX-License-Identifier: Apache-2.0
 *
 * What a riscv64 kernel does in execve(): map the image and its interpreter by
 * their plans (proc_elf.c), the vDSO, the stack with arguments, environment and
 * auxiliary vector. Placement follows Linux without randomisation: a position-
 * independent program at two thirds of the address space, its break behind it,
 * the stack at the top, everything else top-down below the stack.
 */
#include "process/proc_priv.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOAD_DYN_BASE BASE_ALIGN_DOWN(PROC_TASK_SIZE / 3 * 2, PROC_PAGE)
/* Arguments and environment together, as in Linux: a quarter of the stack. */
#define LOAD_MAX_ARGS (PROC_STACK_SIZE / 4)
enum {
    LOAD_EXIT_CANNOT_RUN = ISOMER_EXIT_CANNOT_RUN,
    LOAD_AUX_MAX = 32,
    LOAD_AT_MINSIGSTKSZ = 51,
    /* Size of a signal frame without vectors: AT_MINSIGSTKSZ of a kernel. */
    LOAD_MINSIGSTKSZ = 2048
};

struct load_image {
    struct proc_elf_plan plan;
    const char *path;
    int fd;
    uint64_t bias;
};

static long load_read(void *ctx, void *buf, uint64_t offset, size_t n)
{
    const struct load_image *im = ctx;

    return pread(im->fd, buf, n, (off_t)offset);
}

static int load_refuse(const struct load_image *im, const char *why)
{
    base_error("%s: %s", im->path, why);
    return LOAD_EXIT_CANNOT_RUN;
}

/* ---- images ---------------------------------------------------------- */

static int load_plan(struct load_image *im)
{
    struct stat st;
    const char *why;

    if (fstat(im->fd, &st) || !S_ISREG(st.st_mode))
        return load_refuse(im, "not a regular file");
    why = proc_elf_plan(&im->plan, (uint64_t)st.st_size, load_read, im);
    return why ? load_refuse(im, why) : 0;
}

static int64_t load_map_segment(struct proc *p, const struct load_image *im,
                                const struct proc_elf_segment *s)
{
    static const uint8_t zero[PROC_PAGE];
    uint64_t b = im->bias, tail = s->vaddr + s->filesz;
    /* Only the first and the last part of a page that the file does not give
     * is zeroed, and only if the program can see a difference. */
    bool pad = s->memsz > s->filesz && s->filesz && tail % PROC_PAGE;
    int64_t r = 0;

    if (s->map_file_end > s->map_start) {
        r = proc_mem_map(p, b + s->map_start, s->map_file_end - s->map_start,
                         pad ? s->prot | PROT_WRITE : s->prot, MAP_PRIVATE | MAP_FIXED, im->fd,
                         BASE_ALIGN_DOWN(s->offset, PROC_PAGE), NULL);
        if (r >= 0 && pad)
            r = proc_write_guest(b + tail, zero, PROC_PAGE - tail % PROC_PAGE);
        if (r >= 0 && pad && !(s->prot & PROT_WRITE))
            r = proc_mem_protect(p, b + s->map_start, s->map_file_end - s->map_start, s->prot);
    }
    if (r >= 0 && s->map_end > s->map_file_end)
        r = proc_mem_map(p, b + s->map_file_end, s->map_end - s->map_file_end, s->prot,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, NULL);
    return r;
}

/* Claims the whole span of the image, so that nothing lies between segments. */
static int load_claim(struct proc *p, struct load_image *im, uint64_t base)
{
    const struct proc_elf_plan *e = &im->plan;
    uint64_t span = e->high - e->low, at = e->low;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    int64_t r;

    if (e->is_dyn && base) {
        at = BASE_ALIGN_DOWN(base, e->align) + e->low % e->align;
    } else if (e->is_dyn) {
        at = proc_mem_find_free(p, span + e->align);
        if (!at) {
            base_error("%s: no room of %llu bytes for it in the address space", im->path,
                       (unsigned long long)span);
            return LOAD_EXIT_CANNOT_RUN;
        }
        /* top-down: as high in what was found as alignment permits */
        at = BASE_ALIGN_DOWN(at + e->align, e->align) + e->low % e->align;
    }
    r = proc_mem_map(p, at, span, PROT_NONE, flags, -1, 0, NULL);
    if (r < 0) {
        base_error("%s: no memory at 0x%llx, where it must be loaded: %s%s", im->path,
                   (unsigned long long)at, strerror((int)-r),
                   r == -EPERM ? " (see vm.mmap_min_addr)" : "");
        return LOAD_EXIT_CANNOT_RUN;
    }
    im->bias = at - e->low;
    return 0;
}

static int load_image(struct proc *p, struct load_image *im, uint64_t base)
{
    int status = load_claim(p, im, base);
    uint64_t end = 0;

    if (status)
        return status;
    for (unsigned i = 0; i < im->plan.nseg; i++) {
        const struct proc_elf_segment *s = &im->plan.seg[i];
        int64_t r = load_map_segment(p, im, s);

        if (r < 0) {
            base_error("%s: cannot map segment %u: %s", im->path, i, strerror((int)-r));
            return LOAD_EXIT_CANNOT_RUN;
        }
        /* holes are the guest's to use */
        if (i && s->map_start > end)
            proc_mem_unmap(p, im->bias + end, s->map_start - end);
        end = s->map_end;
    }
    return 0;
}

/* ---- stack ----------------------------------------------------------- */

/* The stack as it is filled, from the top down. */
struct load_stack {
    uint64_t sp;
    long error;
};

static uint64_t load_push(struct load_stack *s, const void *data, size_t n, size_t align)
{
    s->sp = BASE_ALIGN_DOWN(s->sp - n, (uint64_t)align);
    if (!s->error)
        s->error = proc_write_guest(s->sp, data, n);
    return s->sp;
}

static uint64_t load_push_string(struct load_stack *s, const char *text)
{
    return load_push(s, text, strlen(text) + 1, 1);
}

static size_t load_count(char **v)
{
    size_t n = 0;

    while (v[n])
        n++;
    return n;
}

static size_t load_bytes(char **v)
{
    size_t n = 0;

    for (; *v; v++)
        n += strlen(*v) + 1 + sizeof(uint64_t);
    return n;
}

static void load_auxv(struct proc *p, const struct load_image *im, const struct load_image *interp,
                      uint64_t execfn, uint64_t random, Elf64_auxv_t *a)
{
    const struct proc_elf_plan *e = &im->plan;
    const struct {
        uint64_t type, value;
    } list[] = {
        {AT_SYSINFO_EHDR, p->vdso},
        {AT_HWCAP, RV64_HWCAP},
        {AT_PAGESZ, PROC_PAGE},
        {AT_CLKTCK, (uint64_t)sysconf(_SC_CLK_TCK)},
        {AT_PHDR, e->phdr ? im->bias + e->phdr : 0},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, e->phnum},
        {AT_BASE, interp ? interp->bias : 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, im->bias + e->entry},
        {AT_UID, getauxval(AT_UID)},
        {AT_EUID, getauxval(AT_EUID)},
        {AT_GID, getauxval(AT_GID)},
        {AT_EGID, getauxval(AT_EGID)},
        {AT_SECURE, getauxval(AT_SECURE)},
        {AT_RANDOM, random},
        {AT_EXECFN, execfn},
        {LOAD_AT_MINSIGSTKSZ, LOAD_MINSIGSTKSZ},
        {AT_NULL, 0},
    };
    _Static_assert(BASE_ARRAY_SIZE(list) <= LOAD_AUX_MAX, "");
    _Static_assert(sizeof(Elf64_auxv_t) * LOAD_AUX_MAX <= sizeof p->auxv, "");

    for (size_t i = 0; i < BASE_ARRAY_SIZE(list); i++) {
        a[i].a_type = list[i].type;
        a[i].a_un.a_val = list[i].value;
    }
    p->auxv_len = BASE_ARRAY_SIZE(list) * sizeof *a;
    memcpy(p->auxv, a, p->auxv_len);
}

static int load_stack(struct proc *p, const struct load_image *im, const struct load_image *interp,
                      char **argv, char **envp, uint64_t *sp)
{
    struct proc_map *m = &p->map;
    size_t argc = load_count(argv), envc = load_count(envp), n = 0;
    struct load_stack s = {m->stack_top - sizeof(uint64_t), 0};
    uint8_t random[16];
    Elf64_auxv_t aux[LOAD_AUX_MAX];
    uint64_t execfn, *words, random_at;
    int64_t r;

    if (load_bytes(argv) + load_bytes(envp) > LOAD_MAX_ARGS)
        return load_refuse(im, "argument list too long");
    r = proc_mem_map(p, m->stack_low, m->stack_top - m->stack_low,
                     PROT_READ | PROT_WRITE | (im->plan.exec_stack ? PROT_EXEC : 0),
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0,
                     "[stack]");
    if (r < 0)
        return load_refuse(im, "no memory for its stack");
    words = base_alloc((argc + envc + 3) * sizeof *words + sizeof aux);
    execfn = load_push_string(&s, p->execfn);
    for (size_t i = envc; i-- > 0;)
        words[argc + 2 + i] = load_push_string(&s, envp[i]);
    for (size_t i = argc; i-- > 0;)
        words[1 + i] = load_push_string(&s, argv[i]);
    p->arg_start = argc ? words[1] : s.sp;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        memset(random, 0x5a, sizeof random);
    random_at = load_push(&s, random, sizeof random, 16);
    load_auxv(p, im, interp, execfn, random_at, aux);
    words[0] = argc;
    words[1 + argc] = 0;
    words[2 + argc + envc] = 0;
    n = (argc + envc + 3) * sizeof *words;
    memcpy((char *)words + n, aux, p->auxv_len);
    *sp = load_push(&s, words, n + p->auxv_len, 16);
    free(words);
    return s.error ? load_refuse(im, "cannot write its stack") : 0;
}

static void load_limits(struct proc *p)
{
    struct rlimit rl;
    uint64_t limit = PROC_STACK_SIZE;

    if (!getrlimit(RLIMIT_STACK, &rl))
        limit = rl.rlim_cur;
    if (limit > PROC_TASK_SIZE / 6 * 5)
        limit = PROC_TASK_SIZE / 6 * 5;
    if (limit < LOAD_MAX_ARGS * 2)
        limit = LOAD_MAX_ARGS * 2;
    limit = BASE_ALIGN_DOWN(limit, PROC_PAGE);
    proc_mem_init(p, limit);
    p->map.stack_low = p->map.stack_top - (limit < PROC_STACK_SIZE ? limit : PROC_STACK_SIZE);
}

/* ---- the whole ------------------------------------------------------- */

static int load_interp(struct proc *p, const struct load_image *im, struct load_image *interp)
{
    char path[PATH_MAX];
    uint8_t head[PROC_HEAD_SIZE];
    long r = proc_path_str(p, im->plan.interp, path, PROC_PATH_LOOKUP);
    ssize_t n;
    int status;

    interp->path = im->plan.interp;
    interp->fd = r < 0 ? (int)r : open(path, O_RDONLY | O_CLOEXEC);
    if (interp->fd < 0) {
        base_error("%s: its interpreter %s: %s%s", im->path, im->plan.interp,
                   r < 0 ? strerror((int)-r) : strerror(errno),
                   p->opt->sandbox.on && errno == EACCES
                   ? " (allow it and the libraries: --allow-read)"
                   : p->sysroot ? "" : " (name the riscv64 root with -L)");
        return LOAD_EXIT_CANNOT_RUN;
    }
    n = pread(interp->fd, head, sizeof head, 0);
    if (n < 0 || proc_file_kind(head, (size_t)n) != PROC_FILE_RISCV64) {
        base_error("%s: its interpreter %s is not a riscv64 program", im->path, im->plan.interp);
        status = LOAD_EXIT_CANNOT_RUN;
    } else {
        status = load_plan(interp);
    }
    if (!status && interp->plan.is_dyn == false)
        status = load_image(p, interp, interp->plan.low);
    else if (!status)
        status = load_image(p, interp, 0);
    close(interp->fd);
    return status;
}

int proc_load(struct proc *p, int fd, const char *path, const char *execfn, char **argv,
              char **envp, struct proc_start *start)
{
    struct load_image *im = base_zalloc(2 * sizeof *im), *interp = im + 1;
    struct proc_map *m = &p->map;
    bool has_interp;
    int status;

    p->exe = base_strdup(path);
    p->execfn = base_strdup(execfn);
    p->argv = argv;
    p->envp = envp;
    load_limits(p);
    im->fd = fd;
    im->path = path;
    status = load_plan(im);
    has_interp = !status && im->plan.interp[0];
    if (!status)
        status = load_image(p, im, LOAD_DYN_BASE);
    if (!status) {
        p->bias = im->bias;
        p->entry = im->bias + im->plan.entry;
        m->start_code = im->bias + im->plan.low;
        m->end_code = im->bias + im->plan.high;
        m->brk_start = m->brk = im->bias + im->plan.high;
    }
    if (!status && has_interp)
        status = load_interp(p, im, interp);
    if (!status)
        status = proc_vdso_map(p);
    if (!status)
        status = load_stack(p, im, has_interp ? interp : NULL, argv, envp, &start->sp);
    if (!status)
        m->stack_start = start->sp;
    if (!status)
        start->pc = has_interp ? interp->bias + interp->plan.entry : im->bias + im->plan.entry;
    free(im);
    return status;
}
