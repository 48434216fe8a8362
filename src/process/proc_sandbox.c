/* proc_sandbox.c: a guest program that reaches only what was named.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The guest shares this process with the emulator and must be assumed to have
 * taken it over: nothing here may rest on the translation of system calls. So
 * the kernel keeps the fence, and it is up before the first guest instruction:
 *
 *   Landlock   opens, executes, creates, removes, renames, truncates and device
 *              ioctls only below the paths that are named; no TCP; no signals,
 *              ptrace or abstract sockets to processes outside
 *   seccomp    what Landlock leaves open: sockets of every kind, changes of
 *              modes, owners, times and attributes (Landlock does not look at
 *              them), System V and POSIX queues, keys, watching directories,
 *              namespaces, mounts, terminal injection, io_uring
 *   the rest   no_new_privs, and no capabilities
 *
 * All of it is inherited, over fork and execve, so children need nothing. Ours
 * to allow besides what the user names: this executable and its libraries
 * (children start it anew), the program, the -L directory, and /dev/null, zero,
 * random, urandom. What cannot be had is an error: there is no weaker sandbox.
 *
 * Not hidden: whether a path exists, and stat() of it; descriptors that the
 * caller left open.
 */
#include "process/proc_priv.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <link.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Landlock -------------------------------------------------------- */

/* linux/landlock.h of ABI 6, which headers may be too old for. */
enum {
    LL_ABI = 6,
    LL_EXECUTE = 1 << 0, LL_WRITE_FILE = 1 << 1, LL_READ_FILE = 1 << 2, LL_READ_DIR = 1 << 3,
    LL_REMOVE_DIR = 1 << 4, LL_REMOVE_FILE = 1 << 5, LL_MAKE_CHAR = 1 << 6, LL_MAKE_DIR = 1 << 7,
    LL_MAKE_REG = 1 << 8, LL_MAKE_SOCK = 1 << 9, LL_MAKE_FIFO = 1 << 10, LL_MAKE_BLOCK = 1 << 11,
    LL_MAKE_SYM = 1 << 12, LL_REFER = 1 << 13, LL_TRUNCATE = 1 << 14, LL_IOCTL_DEV = 1 << 15,
    LL_ALL = (1 << 16) - 1,
    LL_NET_TCP = 3,  /* bind, connect */
    LL_SCOPE_ALL = 3, /* abstract sockets, signals */
    LL_READ = LL_EXECUTE | LL_READ_FILE | LL_READ_DIR,
    LL_WRITE = LL_ALL & ~(LL_MAKE_CHAR | LL_MAKE_BLOCK),
    LL_OF_FILES = LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | LL_TRUNCATE | LL_IOCTL_DEV,
    LL_VERSION = 1,
    LL_PATH_BENEATH = 1,
    LL_NR_CREATE = 444, LL_NR_ADD = 445, LL_NR_RESTRICT = 446
};
struct ll_ruleset {
    uint64_t fs, net, scoped;
};
struct ll_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static int sandbox_fail(const char *what, int error)
{
    base_error("--sandbox: %s: %s", what, strerror(error));
    return ISOMER_EXIT_CANNOT_RUN;
}

static int allow_fd(int rules, int fd, uint64_t access)
{
    struct ll_beneath rule = {.allowed = access, .parent_fd = fd};
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode))
        rule.allowed &= LL_OF_FILES;
    return (int)syscall(LL_NR_ADD, rules, LL_PATH_BENEATH, &rule, 0);
}

static int allow_path(int rules, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC), r, error;

    if (fd < 0)
        return -1;
    r = allow_fd(rules, fd, access);
    error = errno;
    close(fd);
    errno = error;
    return r;
}

static int allow_list(int rules, const char **paths, uint64_t access)
{
    for (; paths && *paths; paths++)
        if (allow_path(rules, *paths, access) < 0)
            return sandbox_fail(*paths, errno);
    return 0;
}

/* Shared libraries of ours, and the dynamic linker; none if we are static. */
static int allow_library(struct dl_phdr_info *info, size_t size, void *rules)
{
    (void)size;
    if (info->dlpi_name && info->dlpi_name[0] == '/')
        return allow_path(*(int *)rules, info->dlpi_name, LL_EXECUTE | LL_READ_FILE) < 0;
    return 0;
}

static int allow_ourselves(struct proc *p, int rules)
{
    int r = p->self_fd >= 0 ? allow_fd(rules, p->self_fd, LL_EXECUTE | LL_READ_FILE)
                            : allow_path(rules, "/proc/self/exe", LL_EXECUTE | LL_READ_FILE);

    if (r < 0 || dl_iterate_phdr(allow_library, &rules))
        return sandbox_fail("the emulator's own files", errno);
    return 0;
}

static int allow_devices(int rules)
{
    static const char *const source[] = {"/dev/zero", "/dev/random", "/dev/urandom"};

    if (allow_path(rules, "/dev/null", LL_READ_FILE | LL_WRITE_FILE) < 0 && errno != ENOENT)
        return sandbox_fail("/dev/null", errno);
    for (size_t i = 0; i < BASE_ARRAY_SIZE(source); i++)
        if (allow_path(rules, source[i], LL_READ_FILE) < 0 && errno != ENOENT)
            return sandbox_fail(source[i], errno);
    return 0;
}

static int ruleset(struct proc *p, const struct proc_program *prog, const char *name, int *out)
{
    const struct isomer_sandbox *o = &p->opt->sandbox;
    struct ll_ruleset attr = {LL_ALL, o->net ? 0 : LL_NET_TCP, LL_SCOPE_ALL};
    long abi = syscall(LL_NR_CREATE, NULL, 0, LL_VERSION);
    char script[PATH_MAX];
    int status, rules;

    if (abi < 0) {
        base_error("--sandbox: this kernel has no Landlock: %s", errno == EOPNOTSUPP
                       ? "it is turned off (boot with lsm=landlock,...)"
                       : "it needs Linux 6.12 with CONFIG_SECURITY_LANDLOCK");
        return ISOMER_EXIT_CANNOT_RUN;
    }
    if (abi < LL_ABI) {
        base_error("--sandbox: this kernel's Landlock has ABI %ld; %d is needed (Linux 6.12)", abi,
                   LL_ABI);
        return ISOMER_EXIT_CANNOT_RUN;
    }
    rules = (int)syscall(LL_NR_CREATE, &attr, sizeof attr, 0);
    if (rules < 0)
        return sandbox_fail("Landlock", errno);
    *out = rules;
    status = allow_ourselves(p, rules);
    if (!status)
        status = allow_devices(rules);
    if (!status && allow_fd(rules, prog->fd, LL_READ) < 0)
        status = sandbox_fail(prog->path, errno);
    /* a script is read by its interpreter */
    if (!status && proc_path_str(p, name, script, PROC_PATH_LOOKUP) == 0)
        allow_path(rules, script, LL_EXECUTE | LL_READ_FILE);
    if (!status && p->sysroot && allow_path(rules, p->sysroot, LL_READ) < 0)
        status = sandbox_fail(p->sysroot, errno);
    if (!status)
        status = allow_list(rules, o->read, LL_READ);
    return status ? status : allow_list(rules, o->write, LL_WRITE);
}

/* ---- seccomp --------------------------------------------------------- */

enum {
    BPF_MAX = 512,
    LAST_KNOWN = 469, /* file_setattr: what is newer was not thought of */
    /* calls that headers may be too old for */
    NR_FCHMODAT2 = 452, NR_SETXATTRAT = 463, NR_REMOVEXATTRAT = 466, NR_OPEN_TREE_ATTR = 467,
    NR_FILE_SETATTR = 469, NR_MOUNT_SETATTR = 442, NR_PIDFD_GETFD = 438, NR_QUOTACTL_FD = 443,
    NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                     CLONE_NEWPID | CLONE_NEWNET,
    NEW_TIME = 0x80 /* CLONE_NEWTIME; in clone() it is part of the signal */
};

/* Fail with EPERM, whatever their arguments. */
static const int denied[] = {
    /* metadata, which Landlock does not guard */
    SYS_chmod, SYS_fchmod, SYS_fchmodat, NR_FCHMODAT2, SYS_chown, SYS_fchown, SYS_lchown,
    SYS_fchownat, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr,
    SYS_fremovexattr, NR_SETXATTRAT, NR_REMOVEXATTRAT, NR_FILE_SETATTR, SYS_utime, SYS_utimes,
    SYS_futimesat, SYS_utimensat,
    /* what leads around paths */
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_inotify_init, SYS_inotify_init1,
    SYS_fanotify_init, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree,
    NR_OPEN_TREE_ATTR, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, NR_MOUNT_SETATTR,
    SYS_setns, SYS_quotactl, NR_QUOTACTL_FD, SYS_swapon, SYS_swapoff, SYS_acct,
    /* other processes */
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, NR_PIDFD_GETFD, SYS_kcmp,
    SYS_migrate_pages, SYS_move_pages, SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop,
    SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl, SYS_mq_open,
    SYS_mq_unlink, SYS_add_key, SYS_request_key, SYS_keyctl,
    /* the machine */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_sethostname,
    SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex,
    SYS_iopl, SYS_ioperm, SYS_vhangup, SYS_syslog, SYS_modify_ldt,
};

/* Without --allow-net also these; with it socket() is looked at. */
static const int denied_net[] = {SYS_socket, SYS_connect, SYS_bind, SYS_listen, SYS_accept,
                                 SYS_accept4};

struct filter {
    struct sock_filter code[BPF_MAX];
    unsigned n;
};

static void emit(struct filter *f, unsigned code, uint32_t k, unsigned jt, unsigned jf)
{
    BASE_ASSERT(f->n < BPF_MAX);
    f->code[f->n++] = (struct sock_filter){(uint16_t)code, (uint8_t)jt, (uint8_t)jf, k};
}

static void fail_with(struct filter *f, int error)
{
    emit(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error, 0, 0);
}

static void load(struct filter *f, size_t offset)
{
    emit(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void load_arg(struct filter *f, unsigned i)
{
    load(f, offsetof(struct seccomp_data, args) + 8 * i); /* low half: little-endian */
}

/* if (A == k) fail: like the two below, two instructions */
static void fail_if(struct filter *f, uint32_t k, int error)
{
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
    fail_with(f, error);
}

/* if (A != k) fail */
static void fail_if_other(struct filter *f, uint32_t k, int error)
{
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, k, 1, 0);
    fail_with(f, error);
}

/* if (A & k) fail */
static void fail_if_bits(struct filter *f, uint32_t k, int error)
{
    emit(f, BPF_JMP | BPF_JSET | BPF_K, k, 0, 1);
    fail_with(f, error);
}

/* Begins what is done for call nr (A holds the number); end_case() ends it:
 * what has not failed there is allowed. */
static unsigned begin_case(struct filter *f, int nr)
{
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 0);
    return f->n - 1;
}

static void end_case(struct filter *f, unsigned at)
{
    emit(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    BASE_ASSERT(f->n - at - 1 < 256);
    f->code[at].jf = (uint8_t)(f->n - at - 1);
}

static void filter_sockets(struct filter *f, bool net)
{
    unsigned at;

    for (size_t i = 0; i < BASE_ARRAY_SIZE(denied_net) && !net; i++)
        fail_if(f, (uint32_t)denied_net[i], EPERM);
    /* A datagram socket of a pair could still be sent from to any path. */
    at = begin_case(f, SYS_socketpair);
    load_arg(f, 1);
    emit(f, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 2, 0);
    fail_if_other(f, SOCK_SEQPACKET, EPERM);
    load_arg(f, 0);
    fail_if_other(f, AF_UNIX, EPERM);
    end_case(f, at);
    if (!net)
        return;
    at = begin_case(f, SYS_socket);
    load_arg(f, 0);
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 2, 0);
    fail_if_other(f, AF_INET6, EPERM);
    load_arg(f, 1);
    emit(f, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
    emit(f, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 2, 0);
    fail_if_other(f, SOCK_DGRAM, EPERM);
    end_case(f, at);
}

/* Input into the caller's terminal; file systems' own, which may create files
 * or change attributes through a descriptor that is open for reading. */
static void filter_ioctl(struct filter *f)
{
    enum { IOCTL_TYPE = 0xff00, BTRFS = 0x9400, FS = 'f' << 8, XFS = 'X' << 8 };
    unsigned at = begin_case(f, SYS_ioctl);

    load_arg(f, 1);
    fail_if(f, TIOCSTI, EPERM);
    fail_if(f, TIOCLINUX, EPERM);
    fail_if(f, TIOCSETD, EPERM);
    emit(f, BPF_ALU | BPF_AND | BPF_K, IOCTL_TYPE, 0, 0);
    fail_if(f, BTRFS, ENOTTY);
    fail_if(f, FS, ENOTTY);
    fail_if(f, XFS, ENOTTY);
    end_case(f, at);
}

/* Calls that change another process unless argument i is 0, ourselves. */
static void filter_pids(struct filter *f)
{
    static const struct {
        int nr, arg;
    } calls[] = {
        {SYS_prlimit64, 0},        {SYS_sched_setscheduler, 0}, {SYS_sched_setparam, 0},
        {SYS_sched_setattr, 0},    {SYS_sched_setaffinity, 0},  {SYS_setpriority, 1},
        {SYS_ioprio_set, 1},
    };
    unsigned at;

    for (size_t i = 0; i < BASE_ARRAY_SIZE(calls); i++) {
        at = begin_case(f, calls[i].nr);
        load_arg(f, (unsigned)calls[i].arg);
        fail_if_other(f, 0, EPERM);
        if (calls[i].arg) { /* which: of a process, not of all of a user */
            load_arg(f, 0);
            fail_if_other(f, calls[i].nr == SYS_ioprio_set ? 1 : 0, EPERM);
        }
        end_case(f, at);
    }
}

static int restrict_calls(bool net)
{
    static struct filter f;
    struct sock_fprog prog;
    unsigned at;

    load(&f, offsetof(struct seccomp_data, arch));
    emit(&f, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    emit(&f, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    load(&f, offsetof(struct seccomp_data, nr));
    emit(&f, BPF_JMP | BPF_JGT | BPF_K, LAST_KNOWN, 0, 1); /* x32 too */
    fail_with(&f, ENOSYS);
    for (size_t i = 0; i < BASE_ARRAY_SIZE(denied); i++)
        fail_if(&f, (uint32_t)denied[i], EPERM);
    fail_if(&f, SYS_clone3, ENOSYS); /* flags are in memory: C libraries fall back */
    at = begin_case(&f, SYS_clone);
    load_arg(&f, 0);
    fail_if_bits(&f, NEW_NAMESPACES, EPERM);
    end_case(&f, at);
    at = begin_case(&f, SYS_unshare);
    load_arg(&f, 0);
    fail_if_bits(&f, NEW_NAMESPACES | NEW_TIME, EPERM);
    end_case(&f, at);
    filter_sockets(&f, net);
    filter_ioctl(&f);
    filter_pids(&f);
    emit(&f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    prog = (struct sock_fprog){(unsigned short)f.n, f.code};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0)
        return sandbox_fail("seccomp", errno);
    return 0;
}

/* ---- the whole ------------------------------------------------------- */

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    if (syscall(SYS_capset, &head, none) < 0)
        return sandbox_fail("dropping capabilities", errno);
    return 0;
}

int proc_sandbox(struct proc *p, const struct proc_program *prog, const char *name)
{
    int rules = -1, status = ruleset(p, prog, name, &rules);

    if (!status && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        status = sandbox_fail("no_new_privs", errno);
    if (!status)
        status = drop_capabilities();
    if (!status && syscall(LL_NR_RESTRICT, rules, 0) < 0)
        status = sandbox_fail("Landlock", errno);
    if (rules >= 0)
        close(rules);
    return status ? status : restrict_calls(p->opt->sandbox.net);
}
