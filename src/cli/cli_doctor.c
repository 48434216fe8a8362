/* cli_doctor.c: isomer doctor: what this machine allows. SPDX-License-Identifier: Apache-2.0
 *
 * Each check tries the thing itself where it can, rather than to read what a setting says:
 * containers and security modules refuse what settings allow.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/platform/x86.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum level { OK, WARN, FAIL };

struct doctor {
    bool json, any;
    unsigned failed, warned;
};

#define GUEST_END (1ull << 38) /* guest addresses are host addresses below it */

/* ---- printing -------------------------------------------------------------------------- */

static void print_json(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", *text);
        else
            putchar(*text);
    }
    putchar('"');
}

/* remedy: what to do, NULL for ok. */
__attribute__((format(printf, 5, 6))) static void report(struct doctor *d, enum level level,
                                                         const char *name, const char *remedy,
                                                         const char *format, ...)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    char text[600];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    d->failed += level == FAIL;
    d->warned += level == WARN;
    if (!d->json) {
        printf("%-4s  %-13s %s\n", words[level], name, text);
        if (level != OK && remedy)
            printf("%20s-> %s\n", "", remedy);
        return;
    }
    printf("%s\n    {\"check\": \"%s\", \"result\": \"%s\", \"text\": ", d->any ? "," : "", name,
           words[level]);
    d->any = true;
    print_json(text);
    if (level != OK && remedy) {
        printf(", \"remedy\": ");
        print_json(remedy);
    }
    putchar('}');
}

/* ---- help for checks ------------------------------------------------------------------- */

/* The number in a file of /proc/sys, or fallback. */
static long long setting(const char *path, long long fallback)
{
    FILE *f = fopen(path, "re");
    long long value;

    if (!f)
        return fallback;
    if (fscanf(f, "%lld", &value) != 1)
        value = fallback;
    fclose(f);
    return value;
}

/* Runs a check in a child, which may die of it. Returns its exit status, or -1. */
static int in_child(int (*check)(void))
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core file */
        _exit(check());
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool can_map_at(unsigned long long addr)
{
    void *p = mmap((void *)addr, 4096, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (p == MAP_FAILED)
        return false;
    munmap(p, 4096);
    return (unsigned long long)p == addr;
}

/* ---- processor and kernel -------------------------------------------------------------- */

static void check_kernel(struct doctor *d)
{
    unsigned major = 0, minor = 0;
    struct utsname u;

    uname(&u);
    sscanf(u.release, "%u.%u", &major, &minor);
    if (major > 5 || (major == 5 && minor >= 10))
        report(d, OK, "kernel", NULL, "Linux %s", u.release);
    else
        report(d, WARN, "kernel", "use Linux 5.10 or later", "Linux %s is older than any that is "
               "tested", u.release);
}

/* The C library knows the features already; the compiler's own functions for
 * this would find them out again at every start of the command. */
static void check_cpu(struct doctor *d)
{
    static const char *const want[] = {"avx", "avx2", "bmi", "bmi2", "lzcnt", "fma", "popcnt",
                                       "f16c"};
    bool has[8];
    char yes[128] = "", no[128] = "";
    const char *level = "x86-64 (baseline)";
    bool v2, v3;

    has[0] = CPU_FEATURE_ACTIVE(AVX);
    has[1] = CPU_FEATURE_ACTIVE(AVX2);
    has[2] = CPU_FEATURE_ACTIVE(BMI1);
    has[3] = CPU_FEATURE_ACTIVE(BMI2);
    has[4] = CPU_FEATURE_ACTIVE(LZCNT);
    has[5] = CPU_FEATURE_ACTIVE(FMA);
    has[6] = CPU_FEATURE_ACTIVE(POPCNT);
    has[7] = CPU_FEATURE_ACTIVE(F16C);
    v2 = has[6] && CPU_FEATURE_ACTIVE(SSE4_2);
    v3 = v2 && has[1] && has[2] && has[3] && has[4] && has[5] && has[7];
    if (v3 && CPU_FEATURE_ACTIVE(AVX512F) && CPU_FEATURE_ACTIVE(AVX512VL) &&
        CPU_FEATURE_ACTIVE(AVX512BW) && CPU_FEATURE_ACTIVE(AVX512DQ))
        level = "x86-64-v4";
    else if (v3)
        level = "x86-64-v3";
    else if (v2)
        level = "x86-64-v2";
    for (size_t i = 0; i < sizeof has / sizeof *has; i++) {
        char *list = has[i] ? yes : no;

        snprintf(list + strlen(list), sizeof yes - strlen(list), " %s", want[i]);
    }
    if (v3)
        report(d, OK, "cpu", NULL, "%s:%s", level, yes);
    else
        report(d, WARN, "cpu", "give a virtual machine the host's CPU model, if this is one",
               "%s: programs run, but slower, without%s", level, no);
}

static void check_kvm(struct doctor *d)
{
    if (access("/dev/kvm", R_OK | W_OK) == 0)
        report(d, OK, "kvm", NULL, "/dev/kvm is there (isomer does not need it)");
    else
        report(d, OK, "kvm", NULL, "no /dev/kvm here (isomer does not need it)");
}

/* ---- memory ---------------------------------------------------------------------------- */

static void check_low_addresses(struct doctor *d)
{
    static const unsigned long long at[] = {1ull << 20, 1ull << 30, 1ull << 35, GUEST_END / 4 * 3,
                                            GUEST_END - (1 << 20)};
    long long min = setting("/proc/sys/vm/mmap_min_addr", 65536);
    char line[600];
    FILE *f;

    if (can_map_at(0x10000))
        report(d, OK, "mmap_min", NULL, "programs at fixed addresses (from 0x10000) can be loaded");
    else
        report(d, FAIL, "mmap_min", "as root: sysctl vm.mmap_min_addr=65536",
               "address 0x10000 cannot be mapped (vm.mmap_min_addr is %lld): riscv64 programs "
               "that are not position-independent will not load", min);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        if (can_map_at(at[i]) || errno == EEXIST)
            continue;
        report(d, FAIL, "low-memory", "see the limits and personality below",
               "address 0x%llx cannot be mapped: %s", at[i], strerror(errno));
        return;
    }
    f = fopen("/proc/self/maps", "re");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long start, end;

        if (sscanf(line, "%llx-%llx", &start, &end) == 2 && start < GUEST_END) {
            line[strcspn(line, "\n")] = 0;
            report(d, FAIL, "low-memory", "build isomer position-independent; do not preload "
                   "libraries at fixed addresses", "the guest's addresses are in use: %s", line);
            fclose(f);
            return;
        }
    }
    if (f)
        fclose(f);
    report(d, OK, "low-memory", NULL, "the first 256 GiB of addresses are free for the guest");
}

static void check_personality(struct doctor *d)
{
    int now = personality(0xffffffff);
    int bad = now & (ADDR_LIMIT_32BIT | ADDR_LIMIT_3GB | READ_IMPLIES_EXEC | MMAP_PAGE_ZERO);

    if (now == -1)
        report(d, WARN, "personality", "allow personality() in the container's seccomp profile",
               "it cannot be read: %s", strerror(errno));
    else if (bad)
        report(d, FAIL, "personality", "do not start isomer under setarch with these",
               "%#x limits or changes addresses (setarch?)", (unsigned)now);
    else
        report(d, OK, "personality", NULL, "%s", now & ADDR_NO_RANDOMIZE
               ? "addresses are not random, which is fine" : "nothing unusual");
}

/* One memory, writable at one address and executable at another, as the code cache. */
static int try_double_mapping(void)
{
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
    int fd = memfd_create("doctor", MFD_CLOEXEC);
    unsigned char *rw, *rx;
    int (*fn)(void);

    if (fd < 0)
        return 1;
    if (ftruncate(fd, 4096) < 0)
        return 2;
    rw = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (rw == MAP_FAILED)
        return 2;
    if (rx == MAP_FAILED)
        return 3;
    memcpy(rw, code, sizeof code);
    memcpy(&fn, &rx, sizeof fn);
    return fn() == 42 ? 0 : 4;
}

static void check_code_cache(struct doctor *d)
{
    static const char *const why[] = {"memfd_create fails", "memory of a memfd cannot be had",
                                      "memory of a memfd cannot be executed",
                                      "code does not run"};
    int r = in_child(try_double_mapping);

    if (r == 0)
        report(d, OK, "code-cache", NULL, "memfd, mapped writable and executable apart, works");
    else
        report(d, FAIL, "code-cache", "allow executable memory: vm.memfd_noexec=0 or 1, SELinux "
               "execmem, systemd MemoryDenyWriteExecute=no", "%s",
               r >= 1 && r <= 4 ? why[r - 1] : "code does not run");
}

static void check_overcommit(struct doctor *d)
{
    long long mode = setting("/proc/sys/vm/overcommit_memory", 0);
    long long maps = setting("/proc/sys/vm/max_map_count", 65530);

    if (mode == 2)
        report(d, WARN, "overcommit", "as root: sysctl vm.overcommit_memory=0",
               "vm.overcommit_memory is 2: programs that reserve much address space (Go, Java, "
               "node) may fail");
    else
        report(d, OK, "overcommit", NULL, "vm.overcommit_memory is %lld", mode);
    if (maps < 65530)
        report(d, WARN, "max_map_count", "as root: sysctl vm.max_map_count=262144",
               "vm.max_map_count is %lld: programs with many mappings may fail", maps);
    else
        report(d, OK, "max_map_count", NULL, "vm.max_map_count is %lld", maps);
}

static void check_limit(struct doctor *d, int which, const char *name, const char *flag,
                        unsigned long long want, enum level level, const char *what)
{
    char remedy[64];
    struct rlimit rl;

    getrlimit((__rlimit_resource_t)which, &rl);
    snprintf(remedy, sizeof remedy, "ulimit -%s %s", flag,
             which == RLIMIT_NOFILE ? "1024" : which == RLIMIT_STACK ? "8192" : "unlimited");
    if (rl.rlim_cur == RLIM_INFINITY)
        report(d, OK, name, NULL, "unlimited");
    else if (rl.rlim_cur >= want)
        report(d, OK, name, NULL, "%llu", (unsigned long long)rl.rlim_cur);
    else
        report(d, level, name, remedy, "%llu is low: %s", (unsigned long long)rl.rlim_cur, what);
}

static void check_limits(struct doctor *d)
{
    check_limit(d, RLIMIT_AS, "ulimit-v", "v", 1ull << 40, WARN,
                "it counts address space, of which emulation reserves much");
    check_limit(d, RLIMIT_STACK, "ulimit-s", "s", 1 << 20, WARN, "it is the guest's stack too");
    check_limit(d, RLIMIT_NOFILE, "ulimit-n", "n", 256, WARN, "isomer keeps a few for itself");
    check_limit(d, RLIMIT_NPROC, "ulimit-u", "u", 64, WARN, "programs may not fork");
}

/* ---- system ---------------------------------------------------------------------------- */

static void check_proc(struct doctor *d)
{
    if (access("/proc/self/exe", F_OK) == 0)
        report(d, OK, "proc", NULL, "/proc is mounted");
    else
        report(d, WARN, "proc", "mount -t proc proc /proc", "/proc is not mounted: programs run, "
               "but many expect it");
}

static void check_static(struct doctor *d)
{
    if (getauxval(AT_BASE) == 0)
        report(d, OK, "static", NULL, "isomer is one static file, fit for chroots");
    else
        report(d, WARN, "static", "build with: meson setup -Dstatic=true",
               "isomer is linked dynamically: it does not start in a chroot of another machine");
}

static void check_binfmt(struct doctor *d)
{
    char text[512];
    const char *why = cli_binfmt_state(CLI_BINFMT_DIR, text, sizeof text);

    if (!why)
        report(d, OK, "binfmt", NULL, "%s", text);
    else
        report(d, WARN, "binfmt", strstr(why, "not mounted")
               ? "as root: mount -t binfmt_misc binfmt_misc " CLI_BINFMT_DIR
               : strstr(why, "without /proc") ? "mount -t proc proc /proc"
               : strstr(why, "not in") ? "as root: modprobe binfmt_misc"
               : why == text ? "sudo isomer binfmt install --replace"
               : "sudo isomer binfmt install; or, without root: isomer binfmt --user",
               "the kernel's binfmt_misc %s", why);
}

static int try_user_namespace(void)
{
    return unshare(CLONE_NEWUSER) == 0 ? 0 : errno & 0x7f;
}

static void check_namespaces(struct doctor *d)
{
    int r = in_child(try_user_namespace);

    if (r == 0)
        report(d, OK, "userns", NULL, "user namespaces can be made (isomer binfmt --user)");
    else
        report(d, WARN, "userns", "in a chroot: none can be made, use it outside; else as root: "
               "sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 "
               "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist)",
               "no user namespaces (%s): isomer binfmt --user will not work",
               r > 0 ? strerror(r) : "not allowed");
}

static int try_seccomp(void)
{
    enum { GET_ACTION_AVAIL = 2, RET_ERRNO = 0x50000 };
    unsigned action = RET_ERRNO;

    return syscall(SYS_seccomp, GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : 1;
}

static void check_sandbox(struct doctor *d)
{
    enum { CREATE_RULESET = 444, VERSION = 1, NEEDED = 6 };
    long abi = syscall(CREATE_RULESET, NULL, 0, VERSION);

    if (abi >= NEEDED)
        report(d, OK, "landlock", NULL, "Landlock ABI %ld (isomer run --sandbox)", abi);
    else if (abi > 0)
        report(d, WARN, "landlock", "use Linux 6.12 or later", "Landlock ABI %ld is too old: "
               "--sandbox will not work", abi);
    else
        report(d, WARN, "landlock", errno == EOPNOTSUPP ? "boot with lsm=landlock,..."
               : "use Linux 6.12 or later with CONFIG_SECURITY_LANDLOCK",
               "no Landlock (%s): --sandbox will not work", strerror(errno));
    if (in_child(try_seccomp) == 0)
        report(d, OK, "seccomp", NULL, "filters are there (isomer run --sandbox)");
    else
        report(d, WARN, "seccomp", "use a kernel with CONFIG_SECCOMP_FILTER",
               "no filters: --sandbox will not work");
}

/* Translations kept for the next run. */
static void check_translations(struct doctor *d)
{
    struct isomer_translations t;

    isomer_translations(getenv("ISOMER_TRANSLATIONS"), &t);
    if (!t.why)
        report(d, OK, "translations", NULL, "kept in %s: %u files, %.1f of %.0f MiB", t.dir,
               t.files, (double)t.bytes / (1 << 20), (double)t.room / (1 << 20));
    else
        report(d, WARN, "translations", "ISOMER_TRANSLATIONS=DIR, a directory of your own with "
               "mode 700: short programs start up to twice as fast", "%s%sare not kept: %s", t.dir,
               *t.dir ? ": " : "", t.why);
}

int cli_doctor(struct cli_args *args, int argc, char **argv)
{
    struct doctor d = {.json = args->json};

    (void)argc, (void)argv;
    if (d.json)
        printf("{\"version\": \"%s\", \"checks\": [", isomer_version());
    check_kernel(&d);
    check_cpu(&d);
    check_low_addresses(&d);
    check_personality(&d);
    check_code_cache(&d);
    check_translations(&d);
    check_overcommit(&d);
    check_limits(&d);
    check_proc(&d);
    check_static(&d);
    check_binfmt(&d);
    check_namespaces(&d);
    check_sandbox(&d);
    check_kvm(&d);
    if (d.json)
        printf("\n  ],\n  \"failed\": %u, \"warned\": %u}\n", d.failed, d.warned);
    return d.failed ? ISOMER_EXIT_FAILURE : ISOMER_EXIT_OK;
}
