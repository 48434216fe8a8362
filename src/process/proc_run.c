/* proc_run.c: isomer_run() and isomer_explain(). SPDX-License-Identifier: Apache-2.0 */
#include "process/proc_debug.h"
#include "process/proc_ptrace.h"
#include "process/proc_seccomp.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Bounds on a hostile file's symbol table (isomer explain). */
enum { RUN_MAX_SYMBOLS = 1 << 22, RUN_MAX_STRINGS = 1 << 28 };

/* ---- the VM ---------------------------------------------------------- */

/* Descriptors of ours go as high as the limit permits: low numbers are the
 * guest's, who counts on getting the lowest. */
int proc_high_fd(int fd)
{
    struct rlimit rl;
    int min = 900, high;

    if (fd < 0)
        return fd;
    if (!getrlimit(RLIMIT_NOFILE, &rl) && rl.rlim_cur < 1024)
        min = rl.rlim_cur > 16 ? (int)rl.rlim_cur - 16 : 3;
    high = fcntl(fd, F_DUPFD_CLOEXEC, min);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

static int run_sysroot(struct proc *p, const char *dir)
{
    char real[PATH_MAX];

    p->sysroot_fd = -1;
    if (!dir || !*dir)
        return 0;
    if (!realpath(dir, real)) {
        base_error("-L %s: %s", dir, strerror(errno));
        return ISOMER_EXIT_NOT_FOUND;
    }
    if (!strcmp(real, "/"))
        return 0;
    p->sysroot_fd = proc_high_fd(open(real, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (p->sysroot_fd < 0) {
        base_error("-L %s: %s", dir, strerror(errno));
        return ISOMER_EXIT_CANNOT_RUN;
    }
    p->sysroot = base_strdup(real);
    return 0;
}

static FILE *run_dump_file(const char *name)
{
    char path[PATH_MAX];
    size_t n = 0;
    FILE *f;
    int fd;

    if (!name)
        return stderr;
    for (; *name && n + 16 < sizeof path; name++) {
        if (name[0] == '%' && name[1] == 'p') {
            n += (size_t)snprintf(path + n, 16, "%d", (int)getpid());
            name++;
        } else {
            path[n++] = *name;
        }
    }
    path[n] = 0;
    fd = proc_high_fd(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    f = fd < 0 ? NULL : fdopen(fd, "a");
    if (!f)
        base_error("%s: %s", path, strerror(errno));
    return f;
}

static bool run_tier2(const struct isomer_run_options *o, enum jit_tier2 *out)
{
    static const char *const names[] = {
        [JIT_TIER2_OFF] = "off",
        [JIT_TIER2_ON] = "on",
        [JIT_TIER2_SYNC] = "sync",
        [JIT_TIER2_ALWAYS] = "always",
    };

    *out = JIT_TIER2_ON;
    if (!o->tier2)
        return true;
    for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
        if (!strcmp(o->tier2, names[i])) {
            *out = (enum jit_tier2)i;
            return true;
        }
    }
    base_error("--tier2=%s: off, on, sync or always", o->tier2);
    return false;
}

/* A guest program: everything made ready but its memory. NULL: *status. */
static struct proc *run_new(const struct isomer_run_options *o, int *status)
{
    struct proc *p = base_zalloc(sizeof *p);
    struct jit_config cfg = {
        .guest = &rv64_guest,
        .features = o->cpu_features,
        .cache_size = o->cache_size,
        .interpreter = o->engine == ISOMER_ENGINE_INTERPRETER,
        .lockstep = o->engine == ISOMER_ENGINE_LOCKSTEP,
        .deopt_always = o->test_deopt,
        .random_ra = o->test_ra,
        .no_link = o->no_link,
        .store = proc_store_wanted(o),
        .store_check = secure_getenv("ISOMER_TRANSLATIONS_CHECK") != NULL,
        .t2_fuel = o->tier2_fuel,
        .stats = o->stats,
        .seed = o->seed,
        .syscall = proc_loop_syscall,
        .calls = &p->direct,
        .fetch = o->gdb ? proc_gdb_fetch : proc_mem_fetch,
        .translated = o->perf ? proc_perf_region : NULL,
        .ctx = p,
    };
    char letters[5];
    size_t n = 0;

    p->opt = o;
    *status = ISOMER_EXIT_USAGE;
    if (o->perf && strcmp(o->perf, "map")) {
        base_error("--perf=%s: only map is there", o->perf);
        return NULL;
    }
    if (!run_tier2(o, &cfg.tier2))
        return NULL;
    p->verbose = getenv("ISOMER_DEBUG") != NULL;
    proc_self_init(p);
    *status = run_sysroot(p, o->sysroot);
    if (*status)
        return NULL;
    if (o->dump & ISOMER_DUMP_GUEST)
        letters[n++] = 'g';
    if (o->dump & ISOMER_DUMP_IR)
        letters[n++] = 'i';
    if (o->dump & ISOMER_DUMP_IR_OPT)
        letters[n++] = 'o';
    if (o->dump & ISOMER_DUMP_HOST)
        letters[n++] = 'h';
    letters[n] = 0;
    *status = ISOMER_EXIT_FAILURE;
    if (n) {
        cfg.dump = base_strdup(letters);
        cfg.dump_file = run_dump_file(o->dump_file);
        if (!cfg.dump_file)
            return NULL;
    }
    if (!o->seed_given && (o->test_deopt || o->test_ra)) {
        cfg.seed = base_hash64(base_now_ns() ^ (uint64_t)getpid()) & 0xffffffff;
        fprintf(stderr, "isomer: seed %llu\n", (unsigned long long)cfg.seed);
    }
    proc_calls_direct(p, &p->direct);
    p->jit = jit_new(&cfg);
    if (!p->jit)
        return NULL;
    proc_store_init(p);
    return p;
}

/* ---- finding the program --------------------------------------------- */

static const char *run_env(char **envp, const char *name)
{
    size_t n = strlen(name);

    for (; *envp; envp++)
        if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

/* Looks name up as a shell does; out: guest path. False: not there. */
static bool run_search(struct proc *p, const char *name, char **envp, char *out)
{
    const char *path = run_env(envp, "PATH");
    char host[PATH_MAX];

    if (!path)
        path = "/usr/local/bin:/usr/bin:/bin";
    for (;;) {
        size_t n = strcspn(path, ":");
        struct stat st;

        if ((size_t)snprintf(out, PATH_MAX, "%.*s%s%s", (int)n, path, n ? "/" : "", name) <
                PATH_MAX &&
            proc_path_str(p, out, host, PROC_PATH_LOOKUP) == 0 && !access(host, X_OK) &&
            !stat(host, &st) && S_ISREG(st.st_mode))
            return true;
        path += n;
        if (!*path++)
            return false;
    }
}

static long run_pread(void *ctx, void *buf, uint64_t offset, size_t n)
{
    return pread(*(int *)ctx, buf, n, (off_t)offset);
}

/* Says why name cannot be run, with what its file tells beyond that. */
static void run_complain(struct proc *p, const char *name, const char *why)
{
    static struct proc_elf_plan plan;
    char host[PATH_MAX];
    uint8_t head[PROC_HEAD_SIZE + 1];
    char *interp, *arg;
    int fd = -1;
    ssize_t n = -1;

    if (proc_path_str(p, name, host, PROC_PATH_LOOKUP) == 0)
        fd = open(host, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0)
        n = pread(fd, head, PROC_HEAD_SIZE, 0);
    switch (n < 0 ? PROC_FILE_UNKNOWN : proc_file_kind(head, (size_t)n)) {
    case PROC_FILE_OTHER_ELF:
        base_error("%s: %s (%s)", name, why, proc_elf_machine_name(head, (size_t)n));
        break;
    case PROC_FILE_SCRIPT:
        if (proc_script_line((char *)head, (size_t)n, &interp, &arg))
            base_error("%s: %s (%s)", name, why, interp);
        else
            base_error("%s: %s", name, why);
        break;
    case PROC_FILE_RISCV64:
        if (!proc_elf_plan(&plan, (uint64_t)lseek(fd, 0, SEEK_END), run_pread, &fd) &&
            plan.interp[0])
            base_error("%s: %s (%s)", name, why, plan.interp);
        else
            base_error("%s: %s", name, why);
        break;
    default: base_error("%s: %s", name, why); break;
    }
    if (fd >= 0)
        close(fd);
}

static int run_resolve(struct proc *p, const char *name, char **argv, char **envp,
                       struct proc_program *prog)
{
    char path[PATH_MAX];
    const char *why = NULL;
    int r;

    if (!strchr(name, '/')) {
        if (!run_search(p, name, envp, path)) {
            base_error("%s: not found in PATH", name);
            return ISOMER_EXIT_NOT_FOUND;
        }
        name = path;
    }
    r = proc_exec_resolve(p, name, argv, prog, &why);
    if (!r)
        return 0;
    run_complain(p, name, why ? why : strerror(-r));
    return r == -ENOENT || r == -ENOTDIR ? ISOMER_EXIT_NOT_FOUND : ISOMER_EXIT_CANNOT_RUN;
}

/* Started by the kernel: argv[0] is the file's path as the kernel had it, and
 * behind it is the guest's argv, with its own argv[0] or without. */
static int run_given(struct proc *p, char **argv, struct proc_program *prog)
{
    const struct isomer_run_options *o = p->opt;
    int r = proc_exec_given(o->program_fd, argv[0], argv + (o->argv0_kept && argv[1]), prog);

    if (!r)
        return 0;
    run_complain(p, argv[0], strerror(-r));
    return r == -ENOENT ? ISOMER_EXIT_NOT_FOUND : ISOMER_EXIT_CANNOT_RUN;
}

/* The name that ps shows. */
static void run_set_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    prctl(PR_SET_NAME, slash ? slash + 1 : path, 0, 0, 0);
}

int isomer_run(const struct isomer_run_options *o, int argc, char **argv, char **envp)
{
    struct proc_program prog = {.fd = -1};
    struct proc_start start;
    struct proc_thread *t;
    char **args = base_alloc((size_t)(argc + 1) * sizeof *args);
    int status;
    struct proc *p = run_new(o, &status);

    if (!p)
        return status;
    memcpy(args, argv, (size_t)(argc + 1) * sizeof *args);
    proc_exec_environment(envp);
    if (o->argv0)
        args[0] = (char *)o->argv0;
    if (o->interpreter)
        status = run_given(p, args, &prog);
    else
        status = run_resolve(p, argv[0], args, envp, &prog);
    if (status)
        return status;
    if (o->sandbox.on)
        status = proc_sandbox(p, &prog, prog.execfn);
    if (status)
        return status;
    if (prog.kind == PROC_FILE_HOST) {
        int r = proc_exec_host(p, &prog, envp);

        base_error("%s: %s", prog.path, strerror(-r));
        return ISOMER_EXIT_CANNOT_RUN;
    }
    status = proc_load(p, prog.fd, prog.path, prog.execfn, prog.argv, envp, &start);
    close(prog.fd);
    if (status)
        return status;
    if (!o->interpreter) /* else the kernel has set it */
        run_set_name(p->exe);
    t = proc_thread_first(p);
    t->rv->pc = start.pc;
    t->rv->x[RV_SP] = start.sp;
    status = proc_debug_start(t);
    if (status)
        return status;
    if (proc_seccomp_take(t) < 0) {
        base_error("%s: the filters of system calls handed on to it are damaged", p->exe);
        return ISOMER_EXIT_CANNOT_RUN;
    }
    proc_tracee_start(t);
    proc_loop(t);
}

/* ---- explain --------------------------------------------------------- */

static void *run_read(int fd, uint64_t offset, uint64_t size)
{
    void *data = base_alloc(size ? size : 1);

    if (pread(fd, data, size, (off_t)offset) == (ssize_t)size)
        return data;
    free(data);
    return NULL;
}

/* Address of function name in the symbol table section s, 0: not there. */
static uint64_t run_symbol_in(int fd, const Elf64_Shdr *s, const Elf64_Shdr *strings,
                              const char *name)
{
    Elf64_Sym *sym;
    char *str;
    uint64_t found = 0;

    if (s->sh_size > RUN_MAX_SYMBOLS * sizeof *sym || strings->sh_size > RUN_MAX_STRINGS)
        return 0;
    sym = run_read(fd, s->sh_offset, s->sh_size);
    str = run_read(fd, strings->sh_offset, strings->sh_size);
    for (size_t i = 0; sym && str && i < s->sh_size / sizeof *sym && !found; i++) {
        size_t n = strlen(name) + 1;

        if (sym[i].st_shndx != SHN_UNDEF && sym[i].st_name < strings->sh_size &&
            strings->sh_size - sym[i].st_name >= n && !memcmp(str + sym[i].st_name, name, n))
            found = sym[i].st_value;
    }
    free(sym);
    free(str);
    return found;
}

static uint64_t run_symbol(int fd, const char *name)
{
    Elf64_Ehdr h;
    Elf64_Shdr *s;
    uint64_t found = 0;

    if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || h.e_shentsize != sizeof *s)
        return 0;
    s = run_read(fd, h.e_shoff, h.e_shnum * sizeof *s);
    for (unsigned i = 0; s && i < h.e_shnum && !found; i++)
        if ((s[i].sh_type == SHT_SYMTAB || s[i].sh_type == SHT_DYNSYM) && s[i].sh_link < h.e_shnum)
            found = run_symbol_in(fd, &s[i], &s[s[i].sh_link], name);
    free(s);
    return found;
}

int isomer_explain(const struct isomer_run_options *o, const char *program, const char *where,
                   FILE *out)
{
    char *argv[] = {(char *)program, NULL}, *none[] = {NULL}, *end;
    struct proc_program prog = {.fd = -1};
    struct proc_start start;
    struct isomer_run_options afresh = *o;
    uint64_t pc, bias;
    int status;
    struct proc *p;

    afresh.translations = "off"; /* what is shown is made here */
    p = run_new(&afresh, &status);

    if (!p)
        return status;
    status = run_resolve(p, program, argv, environ, &prog);
    if (status)
        return status;
    if (prog.kind != PROC_FILE_RISCV64) {
        base_error("%s: not a riscv64 program", prog.path);
        return ISOMER_EXIT_CANNOT_RUN;
    }
    status = proc_load(p, prog.fd, prog.path, prog.execfn, prog.argv, none, &start);
    if (status)
        return status;
    bias = p->bias;
    if (!where) {
        pc = p->entry;
    } else if (!strncmp(where, "0x", 2)) {
        pc = strtoull(where, &end, 16);
        if (*end) {
            base_error("%s: not an address", where);
            return ISOMER_EXIT_USAGE;
        }
        if (bias && pc < bias)
            pc += bias;
    } else {
        pc = run_symbol(prog.fd, where);
        if (!pc) {
            base_error("%s: no symbol %s (has it been stripped?)", program, where);
            return ISOMER_EXIT_FAILURE;
        }
        pc += bias;
    }
    close(prog.fd);
    return jit_explain(p->jit, pc, out) ? ISOMER_EXIT_FAILURE : ISOMER_EXIT_OK;
}
