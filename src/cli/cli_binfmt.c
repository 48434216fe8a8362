/* cli_binfmt.c: isomer binfmt, and being started by it. SPDX-License-Identifier: Apache-2.0
 *
 * Linux's binfmt_misc starts a program of its choice for files that begin with a given
 * magic. Ours is the name isomer-riscv64, a link to isomer: by argv[0] we know that the
 * kernel calls. What it hands over depends on the flags of the registration:
 *
 *   O  the file, already open, in AT_EXECFD (it need not be readable to us)
 *   C  as O, and credentials are the file's: set-user-ID works; AT_SECURE is the guest's
 *   P  the argv[0] of the execve() behind the path; AT_FLAGS has a bit that says so
 *   F  nothing, but isomer-riscv64 is opened when registered, so it is found from within a
 *      chroot or another mount namespace (which is why it should be linked statically)
 */
#include "cli/cli.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRY CLI_INTERPRETER /* also the name of the registration */
/* systemd registers in the order of names, and the kernel asks the last one first: this name
 * comes after qemu-riscv64.conf. */
#define CONF_FILE "usr/lib/binfmt.d/riscv64-isomer.conf"

/* The first 20 bytes of a riscv64 program: ELF64, little-endian, version 1, OSABI 0 (System V)
 * to 3 (Linux), ET_EXEC or ET_DYN, machine 243. The rest of e_ident is padding, which Linux
 * does not look at. */
enum { HEAD = 20, AT_FLAGS_ARGV0_KEPT = 1 };
static const unsigned char magic[HEAD] = {0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0,
                                          0,    0,   0,   0,   0, 0, 2, 0, 0xf3, 0};
static const unsigned char mask[HEAD] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, 0, 0,
                                        0,    0,    0,    0,    0,    0,    0xfe, 0xff, 0xff, 0xff};

/* ---- started by the kernel ------------------------------------------------------------- */

int cli_interpreter(struct cli_args *args, int argc, char **argv)
{
    unsigned long fd;
    char *path;
    int status;

    if (argc < 2)
        return cli_error("usage: " ENTRY " PROGRAM [ARGUMENT...] (the kernel's binfmt_misc starts "
                         "this; see: isomer help binfmt)");
    status = cli_read_environment(args);
    if (status)
        return status;
    errno = 0;
    fd = getauxval(AT_EXECFD);
    args->run.program_fd = errno ? -1 : (int)fd;
    args->run.argv0_kept = getauxval(AT_FLAGS) & AT_FLAGS_ARGV0_KEPT;
    args->run.interpreter = args->run.program_fd >= 0 || args->run.argv0_kept;
    if (!args->run.interpreter && !strchr(argv[1], '/')) { /* no flags, or by hand: a path */
        path = malloc(strlen(argv[1]) + 3);
        if (!path)
            return cli_error("no memory");
        sprintf(path, "./%s", argv[1]);
        args->run.argv0 = argv[1];
        argv[1] = path;
    }
    return isomer_run(&args->run, argc - 1, argv + 1, args->env);
}

/* ---- what is registered ---------------------------------------------------------------- */

struct entry {
    char name[NAME_MAX + 1], interpreter[PATH_MAX], flags[16];
    bool enabled, is_riscv64;
};

static int failed(const char *what, int error)
{
    cli_error("binfmt: %s: %s", what, strerror(error));
    return ISOMER_EXIT_FAILURE;
}

static size_t from_hex(const char *text, unsigned char *out, size_t max)
{
    size_t n = 0;
    unsigned byte;

    while (n < max && sscanf(text + 2 * n, "%2x", &byte) == 1)
        out[n++] = (unsigned char)byte;
    return n;
}

/* Would the kernel take this entry for a riscv64 program? */
static bool matches(unsigned long offset, const char *magic_hex, const char *mask_hex)
{
    unsigned char want[128], bits[128], file[256] = {0};
    size_t n = from_hex(magic_hex, want, sizeof want);

    memset(bits, 0xff, sizeof bits);
    from_hex(mask_hex, bits, sizeof bits);
    memcpy(file, magic, HEAD);
    for (size_t i = 0; i < n; i++)
        if (offset + i >= sizeof file || ((file[offset + i] ^ want[i]) & bits[i]))
            return false;
    return n > 0;
}

static bool read_entry(const char *dir, const char *name, struct entry *e)
{
    char path[PATH_MAX], line[PATH_MAX + 32], magic_hex[300] = "", mask_hex[300] = "";
    unsigned long offset = 0;
    FILE *f;

    memset(e, 0, sizeof *e);
    snprintf(e->name, sizeof e->name, "%s", name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "re");
    if (!f)
        return false;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "enabled") == 0)
            e->enabled = true;
        sscanf(line, "interpreter %4095[^\n]", e->interpreter);
        sscanf(line, "flags: %15s", e->flags);
        sscanf(line, "offset %lu", &offset);
        sscanf(line, "magic %299s", magic_hex);
        sscanf(line, "mask %299s", mask_hex);
    }
    fclose(f);
    e->is_riscv64 = matches(offset, magic_hex, mask_hex);
    return true;
}

/* The next entry for riscv64 programs that is (ours) or is not of our name. */
static bool find_entry(const char *dir, bool ours, struct entry *e)
{
    struct dirent *d;
    bool found = false;
    DIR *list;

    if (ours)
        return read_entry(dir, ENTRY, e);
    list = opendir(dir);
    while (list && !found && (d = readdir(list)))
        found = d->d_name[0] != '.' && strcmp(d->d_name, "register") != 0 &&
                strcmp(d->d_name, "status") != 0 && strcmp(d->d_name, ENTRY) != 0 &&
                read_entry(dir, d->d_name, e) && e->is_riscv64 && e->enabled;
    if (list)
        closedir(list);
    return found;
}

static bool kernel_has_binfmt(void)
{
    FILE *f = fopen("/proc/filesystems", "re");
    char line[128];
    bool found = false;

    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, "binfmt_misc") != NULL;
    if (f)
        fclose(f);
    return found;
}

/* 0, or an exit status after a line about why there is no binfmt_misc in dir. */
static int check_mounted(const char *dir)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/register", dir);
    if (access(path, F_OK) == 0)
        return 0;
    if (errno == EACCES)
        return failed(path, errno);
    if (access("/proc/filesystems", F_OK) < 0)
        cli_error("binfmt: /proc is not mounted (mount -t proc proc /proc)");
    else if (kernel_has_binfmt())
        cli_error("binfmt: binfmt_misc is not mounted (as root: mount -t binfmt_misc binfmt_misc "
                  "%s)", dir);
    else
        cli_error("binfmt: this kernel has no binfmt_misc (as root: modprobe binfmt_misc; or it "
                  "is built without CONFIG_BINFMT_MISC)");
    return ISOMER_EXIT_FAILURE;
}

const char *cli_binfmt_state(const char *dir, char *text, size_t size)
{
    struct entry e;
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/register", dir);
    if (access(path, F_OK) < 0)
        return access("/proc/filesystems", F_OK) < 0 ? "cannot be looked for without /proc"
               : kernel_has_binfmt() ? "is not mounted" : "is not in this kernel";
    if (find_entry(dir, true, &e) && e.enabled) {
        snprintf(text, size, "%.200s starts riscv64 programs (flags %s)", e.interpreter, e.flags);
        return NULL;
    }
    if (find_entry(dir, false, &e)) {
        snprintf(text, size, "gives riscv64 programs to %.100s (%.100s)", e.name, e.interpreter);
        return text;
    }
    return "has nothing registered for riscv64 programs";
}

/* ---- registering ----------------------------------------------------------------------- */

static int write_text(const char *path, const char *text, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644), error = 0;

    if (fd < 0)
        return errno;
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        error = errno;
    if (close(fd) < 0 && !error)
        error = errno;
    return error;
}

/* isomer-riscv64 beside this executable. */
static const char *own_interpreter(char *path, size_t size)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe);

    if (n < 0 || (size_t)n + sizeof ENTRY > size) {
        snprintf(path, size, "/usr/bin/" ENTRY);
        return path;
    }
    while (n && exe[n - 1] != '/')
        n--;
    memcpy(path, exe, (size_t)n);
    strcpy(path + n, ENTRY);
    return path;
}

static bool has_elf_interpreter(const char *path)
{
    Elf64_Ehdr h;
    Elf64_Phdr ph;
    bool found = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h)
        for (unsigned i = 0; i < h.e_phnum && !found; i++)
            found = pread(fd, &ph, sizeof ph, (off_t)(h.e_phoff + i * sizeof ph)) ==
                        (ssize_t)sizeof ph && ph.p_type == PT_INTERP;
    if (fd >= 0)
        close(fd);
    return found;
}

/* The line for the kernel's register file, and for binfmt.d. */
static int make_line( struct cli_args *args, char *line, size_t size)
{
    const char *flags = args->binfmt.flags ? args->binfmt.flags : "POCF";
    const char *path = args->binfmt.interpreter;
    char own[PATH_MAX];
    size_t n;

    if (flags[strspn(flags, "POCF")])
        return cli_error("binfmt: --flags: '%s' has others than P, O, C and F", flags);
    if (!path)
        path = args->binfmt.root ? "/usr/bin/" ENTRY : own_interpreter(own, sizeof own);
    if (*path != '/' || strchr(path, ':') || strlen(path) > 127)
        return cli_error("binfmt: '%s' cannot be registered: it must be an absolute path of at "
                         "most 127 bytes, without ':'", path);
    n = (size_t)snprintf(line, size, ":" ENTRY ":M::");
    for (int i = 0; i < HEAD; i++)
        n += (size_t)snprintf(line + n, size - n, "\\x%02x", magic[i]);
    n += (size_t)snprintf(line + n, size - n, ":");
    for (int i = 0; i < HEAD; i++)
        n += (size_t)snprintf(line + n, size - n, "\\x%02x", mask[i]);
    snprintf(line + n, size - n, ":%s:%s\n", path, flags);
    if (args->binfmt.root)
        return 0;
    if (access(path, X_OK) < 0)
        return cli_error("binfmt: %s: %s (it is a link to isomer: ln -s isomer %s)", path,
                         strerror(errno), path);
    args->binfmt.dynamic = strchr(flags, 'F') && has_elf_interpreter(path);
    return 0;
}

static int remove_entry(const char *dir, const char *name)
{
    char path[PATH_MAX];
    int error;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    error = write_text(path, "-1", O_TRUNC);
    if (error == EACCES || error == EPERM) {
        cli_error("binfmt: only root may remove %s (sudo isomer binfmt ...)", path);
        return ISOMER_EXIT_FAILURE;
    }
    return error ? failed(path, error) : 0;
}

static int do_register( struct cli_args *args, const char *dir)
{
    char line[512], path[PATH_MAX];
    struct entry e;
    int status = make_line(args, line, sizeof line), error;

    if (!status)
        status = check_mounted(dir);
    if (!status && find_entry(dir, false, &e) && !args->binfmt.replace) {
        cli_error("binfmt: %s is registered for riscv64 programs already (%s); --replace removes "
                  "it until the next boot", e.name, e.interpreter);
        return ISOMER_EXIT_FAILURE;
    }
    while (!status && args->binfmt.replace && find_entry(dir, false, &e))
        status = remove_entry(dir, e.name);
    if (!status && find_entry(dir, true, &e))
        status = remove_entry(dir, ENTRY);
    if (status)
        return status;
    snprintf(path, sizeof path, "%s/register", dir);
    error = write_text(path, line, 0);
    if (error == EACCES || error == EPERM) {
        cli_error("binfmt: only root may register programs (sudo isomer binfmt install; without "
                  "root: isomer binfmt --user)");
        return ISOMER_EXIT_FAILURE;
    }
    if (!error && args->binfmt.dynamic)
        cli_error("binfmt: warning: isomer is linked dynamically and will not start in a chroot "
                  "(build with: meson setup -Dstatic=true)");
    return error ? failed(path, error) : 0;
}

/* ---- files for a package ---------------------------------------------------------------- */

static int conf_path(const char *root, char *path, size_t size, bool make)
{
    size_t n = (size_t)snprintf(path, size, "%s/" CONF_FILE, root);

    if (n >= size)
        return failed(root, ENAMETOOLONG);
    for (size_t i = 1; make && i < n; i++) {
        if (path[i] != '/')
            continue;
        path[i] = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return failed(path, errno);
        path[i] = '/';
    }
    return 0;
}

static int install_conf( struct cli_args *args)
{
    char line[512], path[PATH_MAX];
    int status = make_line(args, line, sizeof line), error;

    if (!status)
        status = conf_path(args->binfmt.root, path, sizeof path, true);
    if (status)
        return status;
    error = write_text(path, line, O_CREAT | O_TRUNC);
    return error ? failed(path, error) : 0;
}

static int remove_conf(const struct cli_args *args)
{
    char path[PATH_MAX];
    int status = conf_path(args->binfmt.root, path, sizeof path, false);

    if (!status && unlink(path) < 0)
        status = failed(path, errno);
    return status;
}

/* ---- in a user namespace ---------------------------------------------------------------- */

/* Writes /proc/PID/WHAT. */
static int write_map(pid_t pid, const char *what, const char *text)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    return write_text(path, text, 0);
}

/* All ids that we have, each as itself. */
static int map_all(pid_t pid, const char *what)
{
    char path[64], line[128], text[4096];
    size_t n = 0;
    unsigned long inside, outside, count;
    FILE *f;

    snprintf(path, sizeof path, "/proc/self/%s", what);
    f = fopen(path, "re");
    if (!f)
        return errno;
    while (fgets(line, sizeof line, f) && n + 64 < sizeof text)
        if (sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3)
            n += (size_t)snprintf(text + n, sizeof text - n, "%lu %lu %lu\n", inside, inside,
                                  count);
    fclose(f);
    return write_map(pid, what, text);
}

/* Root maps all ids, which only a process outside may do: a child that waits until we are in. */
static int enter_as_root(void)
{
    int go[2], status = 0, error = 0;
    pid_t parent = getpid(), child;
    char byte = 0;

    if (pipe2(go, O_CLOEXEC) < 0)
        return errno;
    child = fork();
    if (child < 0)
        return errno;
    if (child == 0) {
        close(go[1]);
        _exit(read(go[0], &byte, 1) != 1 || map_all(parent, "uid_map") ||
              map_all(parent, "gid_map"));
    }
    close(go[0]);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        error = errno;
    else if (write(go[1], &byte, 1) != 1)
        error = EIO;
    close(go[1]);
    waitpid(child, &status, 0);
    return error ? error : status ? EPERM : 0;
}

static int enter_as_user(void)
{
    char uid[32], gid[32];
    int error;

    snprintf(uid, sizeof uid, "0 %u 1", (unsigned)geteuid());
    snprintf(gid, sizeof gid, "0 %u 1", (unsigned)getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return errno;
    error = write_map(getpid(), "setgroups", "deny");
    if (!error)
        error = write_map(getpid(), "uid_map", uid);
    return error ? error : write_map(getpid(), "gid_map", gid);
}

static int run_in_namespace( struct cli_args *args, const char *dir, int argc, char **argv)
{
    char *shell[] = {getenv("SHELL") ? getenv("SHELL") : "/bin/sh", NULL};
    char **command = argc ? argv : shell;
    struct utsname u;
    int error = geteuid() == 0 ? enter_as_root() : enter_as_user(), status;

    if (error) {
        cli_error("binfmt: --user: no user namespace: %s%s", strerror(error),
                  error == ENOSPC ? " (see user.max_user_namespaces)"
                  : error == EPERM ? " (in a chroot none can be made: start it outside; else see "
                                     "kernel.unprivileged_userns_clone, "
                                     "kernel.apparmor_restrict_unprivileged_userns)" : "");
        return ISOMER_EXIT_FAILURE;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return failed("--user: mount namespace", errno);
    if (mount("binfmt_misc", dir, "binfmt_misc", 0, NULL) < 0) {
        error = errno;
        uname(&u);
        cli_error("binfmt: --user: cannot mount binfmt_misc on %s: %s%s%s%s", dir, strerror(error),
                  error == EPERM ? " (needs Linux 6.7; this is " : "", error == EPERM ? u.release
                  : "", error == EPERM ? ")" : "");
        return ISOMER_EXIT_FAILURE;
    }
    status = do_register(args, dir);
    if (status)
        return status;
    execvp(command[0], command);
    error = errno;
    cli_error("binfmt: %s: %s", command[0], strerror(error));
    return error == ENOENT ? ISOMER_EXIT_NOT_FOUND : ISOMER_EXIT_CANNOT_RUN;
}

/* ---- the command ----------------------------------------------------------------------- */

static int print_status(const char *dir)
{
    struct entry e;
    int status = check_mounted(dir);
    bool ours = !status && find_entry(dir, true, &e);

    if (status)
        return status;
    if (ours)
        printf("%s: %s, interpreter %s, flags %s\n", ENTRY, e.enabled ? "registered" : "disabled",
               e.interpreter, e.flags);
    else
        printf("%s: not registered\n", ENTRY);
    ours = ours && e.enabled;
    if (find_entry(dir, false, &e))
        printf("%s: also registered for riscv64 programs, interpreter %s\n", e.name,
               e.interpreter);
    return ours ? ISOMER_EXIT_OK : ISOMER_EXIT_FAILURE;
}

int cli_binfmt(struct cli_args *args, int argc, char **argv)
{
    char *own[] = {"binfmt"}, path[CLI_PATH];
    int words;
    struct cli_command rest = *cli_find(1, own, path, &words);
    const char *dir, *verb = argc ? argv[0] : "";
    struct entry e;

    if (!args->binfmt.user && argc) { /* options may follow the verb */
        rest.min_args = rest.max_args = 0;
        if (cli_parse(&rest, path, args, argc - 1, argv + 1) < 0)
            return ISOMER_EXIT_USAGE;
    }
    dir = args->binfmt.dir ? args->binfmt.dir : CLI_BINFMT_DIR;
    if (args->binfmt.user)
        return run_in_namespace(args, dir, argc, argv);
    if (strcmp(verb, "install") == 0)
        return args->binfmt.root ? install_conf(args) : do_register(args, dir);
    if (strcmp(verb, "remove") == 0) {
        int status = args->binfmt.root ? remove_conf(args) : check_mounted(dir);

        if (status || args->binfmt.root)
            return status;
        if (find_entry(dir, true, &e))
            return remove_entry(dir, ENTRY);
        cli_error("binfmt: " ENTRY " is not registered");
        return ISOMER_EXIT_FAILURE;
    }
    if (strcmp(verb, "status") == 0)
        return print_status(dir);
    return cli_error("binfmt: '%s' is none of install, remove, status", verb);
}
