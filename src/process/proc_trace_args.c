/* proc_trace_args.c: arguments of system calls as text.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The kinds of spec/linux_riscv64.syscalls say what an argument is: a
 * descriptor, a path, a pointer. Where a name for a value, or a look behind a
 * pointer, makes the line readable, the table shapes[] below refines that:
 * one letter for each argument, '-' leaves it as the spec has it. Lower-case
 * letters stand for what the call fills in (written after it).
 */
#include "process/proc_debug.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define U(x) ((unsigned long long)(x))

enum {
    MAX_STRING = 32,  /* bytes of data shown, as strace's -s */
    MAX_PATH = 1024,
    MAX_ITEMS = 32    /* of an array */
};

/* ---- names of values ------------------------------------------------- */

struct name {
    uint64_t value;
    const char *name;
};
#define N(x) {x, #x}

static const struct name prots[] = {N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC),
                                    N(PROT_GROWSDOWN), {0, "PROT_NONE"}};
static const struct name maps[] = {
    N(MAP_FIXED), N(MAP_ANONYMOUS), N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_LOCKED),
    N(MAP_NORESERVE), N(MAP_POPULATE), N(MAP_NONBLOCK), N(MAP_STACK), N(MAP_HUGETLB),
    {0x100000, "MAP_FIXED_NOREPLACE"}, {0, "0"}};
/* riscv64 has the generic values of open's flags, which are those of x86-64
 * but for O_LARGEFILE (none is 0x8000 there). */
static const struct name opens[] = {
    N(O_CREAT), N(O_EXCL), N(O_NOCTTY), N(O_TRUNC), N(O_APPEND), N(O_NONBLOCK), N(O_SYNC),
    N(O_DSYNC), N(O_ASYNC), N(O_DIRECT), {0100000, "O_LARGEFILE"}, N(O_TMPFILE), N(O_DIRECTORY),
    N(O_NOFOLLOW), N(O_NOATIME), N(O_CLOEXEC), N(O_PATH), {0, ""}};
static const struct name clones[] = {
    N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND), N(CLONE_PIDFD), N(CLONE_PTRACE),
    N(CLONE_VFORK), N(CLONE_PARENT), N(CLONE_THREAD), N(CLONE_NEWNS), N(CLONE_SYSVSEM),
    N(CLONE_SETTLS), N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID), N(CLONE_DETACHED),
    N(CLONE_UNTRACED), N(CLONE_CHILD_SETTID), N(CLONE_NEWCGROUP), N(CLONE_NEWUTS),
    N(CLONE_NEWIPC), N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET), N(CLONE_IO),
    {0x100000000ull, "CLONE_CLEAR_SIGHAND"}, {0x200000000ull, "CLONE_INTO_CGROUP"}, {0, ""}};
static const struct name ats[] = {
    N(AT_SYMLINK_NOFOLLOW), N(AT_SYMLINK_FOLLOW), N(AT_NO_AUTOMOUNT), N(AT_EMPTY_PATH),
    {0x200, "AT_REMOVEDIR"}, {0, "0"}};
static const struct name accesses[] = {{4, "R_OK"}, {2, "W_OK"}, {1, "X_OK"}, {0, "F_OK"}};
static const struct name whences[] = {{0, "SEEK_SET"}, {1, "SEEK_CUR"}, {2, "SEEK_END"},
                                      {3, "SEEK_DATA"}, {4, "SEEK_HOLE"}, {0, NULL}};
static const struct name fcntls[] = {
    N(F_DUPFD), N(F_GETFD), N(F_SETFD), N(F_GETFL), N(F_SETFL), N(F_GETLK), N(F_SETLK),
    N(F_SETLKW), N(F_SETOWN), N(F_GETOWN), {1030, "F_DUPFD_CLOEXEC"}, {1031, "F_SETPIPE_SZ"},
    {1032, "F_GETPIPE_SZ"}, {1033, "F_ADD_SEALS"}, {1034, "F_GET_SEALS"}, {36, "F_OFD_GETLK"},
    {37, "F_OFD_SETLK"}, {38, "F_OFD_SETLKW"}, {0, NULL}};
static const struct name hows[] = {N(SIG_BLOCK), N(SIG_UNBLOCK), N(SIG_SETMASK), {0, NULL}};
static const struct name advices[] = {
    N(MADV_NORMAL), N(MADV_RANDOM), N(MADV_SEQUENTIAL), N(MADV_WILLNEED), N(MADV_DONTNEED),
    N(MADV_FREE), N(MADV_REMOVE), N(MADV_DONTFORK), N(MADV_DOFORK), N(MADV_MERGEABLE),
    N(MADV_HUGEPAGE), N(MADV_NOHUGEPAGE), N(MADV_DONTDUMP), N(MADV_DODUMP), N(MADV_WIPEONFORK),
    N(MADV_KEEPONFORK), N(MADV_COLD), N(MADV_PAGEOUT), {0, NULL}};
static const struct name clocks[] = {
    N(CLOCK_REALTIME), N(CLOCK_MONOTONIC), N(CLOCK_PROCESS_CPUTIME_ID),
    N(CLOCK_THREAD_CPUTIME_ID), N(CLOCK_MONOTONIC_RAW), N(CLOCK_REALTIME_COARSE),
    N(CLOCK_MONOTONIC_COARSE), N(CLOCK_BOOTTIME), {0, NULL}};
static const struct name futexes[] = {
    N(FUTEX_WAIT), N(FUTEX_WAKE), N(FUTEX_REQUEUE), N(FUTEX_CMP_REQUEUE), N(FUTEX_WAKE_OP),
    N(FUTEX_LOCK_PI), N(FUTEX_UNLOCK_PI), N(FUTEX_TRYLOCK_PI), N(FUTEX_WAIT_BITSET),
    N(FUTEX_WAKE_BITSET), N(FUTEX_WAIT_REQUEUE_PI), N(FUTEX_CMP_REQUEUE_PI), {0, NULL}};
static const struct name families[] = {N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_INET6),
                                       N(AF_NETLINK), N(AF_PACKET), {0, NULL}};
static const struct name socktypes[] = {N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW),
                                        N(SOCK_SEQPACKET), {0, NULL}};
static const struct name limits[] = {
    {0, "RLIMIT_CPU"}, {1, "RLIMIT_FSIZE"}, {2, "RLIMIT_DATA"}, {3, "RLIMIT_STACK"},
    {4, "RLIMIT_CORE"}, {5, "RLIMIT_RSS"}, {6, "RLIMIT_NPROC"}, {7, "RLIMIT_NOFILE"},
    {8, "RLIMIT_MEMLOCK"}, {9, "RLIMIT_AS"}, {10, "RLIMIT_LOCKS"}, {11, "RLIMIT_SIGPENDING"},
    {12, "RLIMIT_MSGQUEUE"}, {13, "RLIMIT_NICE"}, {14, "RLIMIT_RTPRIO"}, {15, "RLIMIT_RTTIME"},
    {0, NULL}};
static const struct name sa_flags[] = {
    {SA_NOCLDSTOP, "SA_NOCLDSTOP"}, {SA_NOCLDWAIT, "SA_NOCLDWAIT"}, {SA_SIGINFO, "SA_SIGINFO"},
    {SA_ONSTACK, "SA_ONSTACK"}, {SA_RESTART, "SA_RESTART"}, {SA_NODEFER, "SA_NODEFER"},
    {0x80000000u, "SA_RESETHAND"}, {0, "0"}};
static const struct name waits[] = {N(WNOHANG), N(WUNTRACED), N(WCONTINUED), N(WEXITED),
                                    N(WNOWAIT), {0, "0"}};
static const struct name remaps[] = {{1, "MREMAP_MAYMOVE"}, {2, "MREMAP_FIXED"},
                                     {4, "MREMAP_DONTUNMAP"}, {0, "0"}};
static const struct name randoms[] = {{1, "GRND_NONBLOCK"}, {2, "GRND_RANDOM"},
                                      {4, "GRND_INSECURE"}, {0, "0"}};
static const struct name epolls[] = {{1, "EPOLL_CTL_ADD"}, {2, "EPOLL_CTL_DEL"},
                                     {3, "EPOLL_CTL_MOD"}, {0, NULL}};

static const char *name_of(const struct name *list, uint64_t value)
{
    for (; list->name; list++)
        if (list->value == value)
            return list->name;
    return NULL;
}

static void put_name(struct base_text *out, const struct name *list, uint64_t value)
{
    const char *name = name_of(list, value);

    if (name)
        base_text_printf(out, "%s", name);
    else
        base_text_printf(out, "%#llx /* ??? */", U(value));
}

/* Bits of a list that ends with value 0 and the name of no bits at all. first:
 * something stands there already. */
static void put_bits(struct base_text *out, const struct name *list, uint64_t value, bool first)
{
    for (; list->value; list++) {
        if ((value & list->value) != list->value)
            continue;
        base_text_printf(out, "%s%s", first ? "" : "|", list->name);
        value &= ~list->value;
        first = false;
    }
    if (value)
        base_text_printf(out, "%s%#llx", first ? "" : "|", U(value));
    else if (first)
        base_text_printf(out, "%s", *list->name ? list->name : "0");
}

const char *proc_trace_signame(int sig, char *buf, size_t size)
{
    const char *name = sig > 0 && sig < 32 ? sigabbrev_np(sig) : NULL;

    if (name)
        snprintf(buf, size, "SIG%s", name);
    else if (sig == 32)
        snprintf(buf, size, "SIGRTMIN");
    else if (sig > 32 && sig <= PROC_NSIG)
        snprintf(buf, size, "SIGRT_%d", sig - 32);
    else
        snprintf(buf, size, "%d", sig);
    return buf;
}

void proc_trace_siginfo(struct base_text *out, const siginfo_t *info)
{
    static const struct {
        int sig;
        struct name code;
    } codes[] = {{SIGSEGV, N(SEGV_MAPERR)}, {SIGSEGV, N(SEGV_ACCERR)}, {SIGBUS, N(BUS_ADRALN)},
                 {SIGBUS, N(BUS_ADRERR)}, {SIGILL, N(ILL_ILLOPC)}, {SIGTRAP, N(TRAP_BRKPT)},
                 {SIGCHLD, N(CLD_EXITED)}, {SIGCHLD, N(CLD_KILLED)}, {SIGCHLD, N(CLD_DUMPED)},
                 {SIGCHLD, N(CLD_STOPPED)}, {SIGCHLD, N(CLD_CONTINUED)}};
    static const struct name sent[] = {{(uint64_t)SI_QUEUE, "SI_QUEUE"}, N(SI_USER),
                                       {(uint64_t)SI_TKILL, "SI_TKILL"}, {0x80, "SI_KERNEL"},
                                       {(uint64_t)SI_TIMER, "SI_TIMER"}, {0, NULL}};
    const char *code = NULL;
    char name[16];

    for (size_t i = 0; i < BASE_ARRAY_SIZE(codes); i++)
        if (codes[i].sig == info->si_signo && codes[i].code.value == (uint64_t)info->si_code)
            code = codes[i].code.name;
    if (!code)
        for (const struct name *s = sent; s->name && !code; s++)
            if (s->value == (uint64_t)(int64_t)info->si_code)
                code = s->name;
    base_text_printf(out, "{si_signo=%s, si_code=",
                     proc_trace_signame(info->si_signo, name, sizeof name));
    if (code)
        base_text_printf(out, "%s", code);
    else
        base_text_printf(out, "%d", info->si_code);
    if (info->si_signo == SIGCHLD && info->si_code > 0)
        base_text_printf(out, ", si_pid=%d, si_uid=%u, si_status=%d", (int)info->si_pid,
                         (unsigned)info->si_uid, info->si_status);
    else if (info->si_code > 0 && (PROC_SYNC_SIGNALS & proc_sigbit(info->si_signo)))
        base_text_printf(out, ", si_addr=%#llx", U(info->si_addr));
    else if (info->si_code <= 0 && info->si_code != SI_TIMER)
        base_text_printf(out, ", si_pid=%d, si_uid=%u", (int)info->si_pid,
                         (unsigned)info->si_uid);
    base_text_printf(out, "}");
}

/* ---- memory ---------------------------------------------------------- */

static void put_quoted(struct base_text *out, const uint8_t *s, size_t n, bool cut)
{
    base_text_printf(out, "\"");
    for (size_t i = 0; i < n; i++) {
        static const char plain[] = "\t\n\v\f\r", letter[] = "tnvfr";
        const char *at = s[i] ? strchr(plain, s[i]) : NULL;

        if (at)
            base_text_printf(out, "\\%c", letter[at - plain]);
        else if (s[i] == '"' || s[i] == '\\')
            base_text_printf(out, "\\%c", s[i]);
        else if (s[i] >= 32 && s[i] < 127)
            base_text_printf(out, "%c", s[i]);
        else if (i + 1 < n && s[i + 1] >= '0' && s[i + 1] <= '7')
            base_text_printf(out, "\\%03o", s[i]);
        else
            base_text_printf(out, "\\%o", s[i]);
    }
    base_text_printf(out, cut ? "\"..." : "\"");
}

static void put_pointer(struct base_text *out, uint64_t addr)
{
    if (addr)
        base_text_printf(out, "%#llx", U(addr));
    else
        base_text_printf(out, "NULL");
}

/* True, and the bytes in to; else the pointer is written. */
static bool look(struct base_text *out, uint64_t addr, void *to, size_t n)
{
    if (addr && proc_read_guest(to, addr, n) == 0)
        return true;
    put_pointer(out, addr);
    return false;
}

static void put_string(struct base_text *out, uint64_t addr, size_t max)
{
    char text[MAX_PATH + 1];
    long n = addr ? proc_read_string(text, addr, max + 1) : -EFAULT;

    if (n == -ENAMETOOLONG && proc_read_guest(text, addr, max) == 0)
        put_quoted(out, (uint8_t *)text, max, true);
    else if (n < 0)
        put_pointer(out, addr);
    else
        put_quoted(out, (uint8_t *)text, (size_t)n, false);
}

static void put_data(struct base_text *out, uint64_t addr, uint64_t n)
{
    uint8_t data[MAX_STRING];
    size_t shown = n < sizeof data ? n : sizeof data;

    if (look(out, addr, data, shown))
        put_quoted(out, data, shown, n > shown);
}

static void put_argv(struct base_text *out, uint64_t addr, bool count)
{
    uint64_t p, n = 0;

    if (!look(out, addr, &p, 8))
        return;
    if (count) {
        while (proc_read_guest(&p, addr + 8 * n, 8) == 0 && p)
            n++;
        base_text_printf(out, "%#llx /* %llu var%s */", U(addr), U(n), n == 1 ? "" : "s");
        return;
    }
    base_text_printf(out, "[");
    for (; proc_read_guest(&p, addr + 8 * n, 8) == 0 && p; n++) {
        base_text_printf(out, "%s", n ? ", " : "");
        if (n == MAX_ITEMS) {
            base_text_printf(out, "...");
            break;
        }
        put_string(out, p, MAX_STRING);
    }
    base_text_printf(out, "]");
}

static void put_sigset(struct base_text *out, uint64_t set)
{
    const char *between = "";
    char name[16];

    if (set == ~0ull) {
        base_text_printf(out, "~[]");
        return;
    }
    /* most of them: those that are not there are fewer */
    if (__builtin_popcountll(set) > 40) {
        base_text_printf(out, "~");
        set = ~set;
    }
    base_text_printf(out, "[");
    for (int sig = 1; sig <= PROC_NSIG; sig++) {
        if (!(set & proc_sigbit(sig)))
            continue;
        proc_trace_signame(sig, name, sizeof name);
        base_text_printf(out, "%s%s", between, name + 3);
        between = " ";
    }
    base_text_printf(out, "]");
}

static void put_iovecs(struct base_text *out, uint64_t addr, uint64_t n, long limit)
{
    struct iovec v;

    if (!look(out, addr, &v, n ? sizeof v : 0))
        return;
    base_text_printf(out, "[");
    for (uint64_t i = 0; i < n; i++) {
        if (i == MAX_ITEMS || proc_read_guest(&v, addr + i * sizeof v, sizeof v) < 0) {
            base_text_printf(out, ", ...");
            break;
        }
        base_text_printf(out, "%s{iov_base=", i ? ", " : "");
        put_data(out, (uint64_t)v.iov_base,
                 limit >= 0 && (uint64_t)limit < v.iov_len ? (uint64_t)limit : v.iov_len);
        if (limit >= 0)
            limit -= (uint64_t)limit < v.iov_len ? limit : (long)v.iov_len;
        base_text_printf(out, ", iov_len=%llu}", U(v.iov_len));
    }
    base_text_printf(out, "]");
}

static void put_sockaddr(struct base_text *out, uint64_t addr, uint64_t len)
{
    struct sockaddr_storage s = {0};
    const struct sockaddr_in *in = (void *)&s;
    const uint8_t *ip = (void *)&in->sin_addr;

    if (len > sizeof s)
        len = sizeof s;
    if (len < 2 || !look(out, addr, &s, len))
        return;
    base_text_printf(out, "{sa_family=");
    put_name(out, families, s.ss_family);
    if (s.ss_family == AF_INET) {
        base_text_printf(out, ", sin_port=htons(%u), sin_addr=inet_addr(\"%u.%u.%u.%u\")",
                         ntohs(in->sin_port), ip[0], ip[1], ip[2], ip[3]);
    } else if (s.ss_family == AF_UNIX) {
        const char *path = ((struct sockaddr_un *)&s)->sun_path;

        base_text_printf(out, ", sun_path=%s", *path ? "" : "@");
        put_quoted(out, (const uint8_t *)path + !*path, strnlen(path + !*path, len - 2 - !*path),
                   false);
    }
    base_text_printf(out, "}");
}

static void put_stat(struct base_text *out, uint64_t addr)
{
    static const struct name types[] = {N(S_IFREG), N(S_IFDIR), N(S_IFCHR), N(S_IFBLK),
                                        N(S_IFIFO), N(S_IFLNK), N(S_IFSOCK), {0, NULL}};
    uint32_t mode;
    uint64_t size;

    /* riscv64's struct stat: st_mode at 16, st_size at 48 */
    if (!look(out, addr + 16, &mode, 4) || proc_read_guest(&size, addr + 48, 8) < 0)
        return;
    base_text_printf(out, "{st_mode=");
    put_name(out, types, mode & S_IFMT);
    base_text_printf(out, "|%#o, st_size=%llu, ...}", mode & 07777, U(size));
}

static void put_action(struct base_text *out, uint64_t addr)
{
    struct proc_action act;

    if (!look(out, addr, &act, sizeof act))
        return;
    base_text_printf(out, "{sa_handler=");
    if (act.handler <= PROC_SIG_IGN)
        base_text_printf(out, act.handler ? "SIG_IGN" : "SIG_DFL");
    else
        base_text_printf(out, "%#llx", U(act.handler));
    base_text_printf(out, ", sa_mask=");
    put_sigset(out, act.mask);
    base_text_printf(out, ", sa_flags=");
    put_bits(out, sa_flags, act.flags & 0xffffffffu, true);
    base_text_printf(out, "}");
}

static void put_limit(struct base_text *out, const char *name, uint64_t v)
{
    if (v == ~0ull)
        base_text_printf(out, "%s=RLIM64_INFINITY", name);
    else if (v && v % 1024 == 0)
        base_text_printf(out, "%s=%llu*1024", name, U(v / 1024));
    else
        base_text_printf(out, "%s=%llu", name, U(v));
}

static void put_wait(struct base_text *out, uint64_t addr)
{
    int status;
    char name[16];

    if (!look(out, addr, &status, sizeof status))
        return;
    if (WIFEXITED(status))
        base_text_printf(out, "[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        base_text_printf(out, "[{WIFSIGNALED(s) && WTERMSIG(s) == %s}]",
                         proc_trace_signame(WTERMSIG(status), name, sizeof name));
    else
        base_text_printf(out, "[%#x]", (unsigned)status);
}

static void put_polls(struct base_text *out, uint64_t addr, uint64_t n)
{
    static const struct name events[] = {N(POLLIN), N(POLLPRI), N(POLLOUT), N(POLLERR),
                                         N(POLLHUP), N(POLLNVAL), {0, "0"}};
    struct pollfd f;

    if (!look(out, addr, &f, n ? sizeof f : 0))
        return;
    base_text_printf(out, "[");
    for (uint64_t i = 0; i < n && i < MAX_ITEMS; i++) {
        if (proc_read_guest(&f, addr + i * sizeof f, sizeof f) < 0)
            break;
        base_text_printf(out, "%s{fd=%d, events=", i ? ", " : "", f.fd);
        put_bits(out, events, (uint16_t)f.events, true);
        base_text_printf(out, "}");
    }
    base_text_printf(out, "]");
}

static void put_clone_args(struct base_text *out, uint64_t addr, uint64_t size)
{
    struct clone_args c = {0};
    char name[16];

    if (!look(out, addr, &c, size < sizeof c ? size : sizeof c))
        return;
    base_text_printf(out, "{flags=");
    put_bits(out, clones, c.flags, true);
    if (c.flags & CLONE_CHILD_SETTID || c.flags & CLONE_CHILD_CLEARTID)
        base_text_printf(out, ", child_tid=%#llx", U(c.child_tid));
    if (c.flags & CLONE_PARENT_SETTID)
        base_text_printf(out, ", parent_tid=%#llx", U(c.parent_tid));
    base_text_printf(out, ", exit_signal=%s",
                     c.exit_signal ? proc_trace_signame((int)c.exit_signal, name, sizeof name)
                                   : "0");
    if (c.stack)
        base_text_printf(out, ", stack=%#llx, stack_size=%#llx", U(c.stack), U(c.stack_size));
    if (c.flags & CLONE_SETTLS)
        base_text_printf(out, ", tls=%#llx", U(c.tls));
    base_text_printf(out, "}");
}

/* ---- which argument is what ------------------------------------------ */

/* W data to be read, next argument: its length     w data filled in: result bytes
 * V argument vector   E environment   S signal set (s: filled in)   A action (a)
 * T timespec (t)      I iovecs, next: how many (i) N socket address, next: length
 * k stat              L struct rlimit (l)          j wait status    y string filled in
 * P prot  M map flags  C clone flags  K clone_args  F AT flags  Q access  H whence
 * D fcntl command  G mask how  B madvise  Z clock  X futex op  Y family  U socket type
 * R resource  O wait options  J mremap flags  $ getrandom flags  * epoll op
 * 2 two descriptors filled in  3 open flags without a mode  4 poll array  o mode only with O_CREAT
 * p pointer written after the call */
static const struct {
    const char *name, *shape;
} shapes[] = {
    {"read", "-w-"}, {"write", "-W-"}, {"pread64", "-w-"}, {"pwrite64", "-W-"},
    {"readv", "-i-"}, {"writev", "-I-"}, {"preadv", "-i-"}, {"pwritev", "-I-"},
    {"openat", "---o"}, {"faccessat", "--Q"}, {"faccessat2", "--QF"}, {"lseek", "--H"},
    {"fcntl", "-D-"}, {"mmap", "--PM-x"}, {"mprotect", "--P"}, {"mremap", "---J-"},
    {"madvise", "--B"}, {"clone", "C----"}, {"clone3", "K-"}, {"unshare", "C"},
    {"execve", "-VE"}, {"execveat", "--VEF"}, {"rt_sigaction", "-Aa-"},
    {"rt_sigprocmask", "GSs-"}, {"rt_sigpending", "s-"}, {"rt_sigsuspend", "S-"},
    {"rt_sigtimedwait", "SpT-"}, {"clock_gettime", "Zt"}, {"clock_getres", "Zt"},
    {"clock_nanosleep", "Z-Tp"}, {"nanosleep", "Tp"}, {"futex", "-X-T--"}, {"bind", "-N-"},
    {"connect", "-N-"}, {"socket", "YU-"}, {"socketpair", "YU-2"}, {"pipe2", "23"}, {"dup3", "--3"},
    {"sendto", "-W---N-"}, {"recvfrom", "-w----"}, {"newfstatat", "--kF"}, {"fstat", "-k"},
    {"statx", "--F-p"}, {"prlimit64", "-RLl"}, {"getrlimit", "Rl"}, {"setrlimit", "RL"},
    {"wait4", "-jOp"}, {"readlinkat", "--w-"}, {"getcwd", "y-"}, {"getrandom", "w-$"},
    {"epoll_ctl", "-*--"}, {"epoll_pwait", "-p--S-"}, {"ppoll", "4-TS-"}, {"unlinkat", "--F"},
    {"fchownat", "----F"}, {"uname", "p"}, {"sysinfo", "p"}, {"times", "p"}, {"getdents64", "-p-"},
    {"gettimeofday", "pp"}, {"getrusage", "-p"}, {"statfs", "-p"}, {"fstatfs", "-p"},
    {"memfd_create", "--"}, {"riscv_hwprobe", "p----"}, {"sched_getaffinity", "--p"},
    {"getresuid", "ppp"}, {"getresgid", "ppp"}, {"accept", "-pp"}, {"accept4", "-pp-"},
    {"getsockname", "-pp"}, {"getpeername", "-pp"}, {"getsockopt", "---pp"},
    {"clock_settime", "ZT"}, {"timerfd_create", "Z-"}, {"sigaltstack", "-p"},
};

static char shape_of(const struct proc_call *c, unsigned i)
{
    for (size_t n = 0; n < BASE_ARRAY_SIZE(shapes); n++)
        if (!strcmp(shapes[n].name, c->name))
            return i < strlen(shapes[n].shape) ? shapes[n].shape[i] : '-';
    return '-';
}

bool proc_trace_is_out(const struct proc_call *c, unsigned i)
{
    return strchr("wsatikljyp2", shape_of(c, i)) != NULL;
}

unsigned proc_trace_nargs(const struct proc_call *c, const uint64_t *args)
{
    unsigned n = c->nargs;

    if (!strcmp(c->name, "openat") && !(args[2] & (O_CREAT | 020000000)))
        return 3;
    if (!strcmp(c->name, "mremap") && !(args[3] & 2))
        return 4;
    if (!strcmp(c->name, "fcntl") && (args[1] == F_GETFD || args[1] == F_GETFL))
        return 2;
    if (!strcmp(c->name, "futex") && ((args[1] & 127) == FUTEX_WAKE))
        return 3;
    if (!strcmp(c->name, "futex") && ((args[1] & 127) == FUTEX_WAIT))
        return 4;
    return n;
}

/* Kinds of the spec. */
static void put_plain(struct base_text *out, char kind, uint64_t v)
{
    char name[16];

    switch (kind) {
    case 'i': case 'f': base_text_printf(out, "%d", (int)v); break;
    case 'u': base_text_printf(out, "%llu", U(v)); break;
    case 'd':
        if ((int)v == AT_FDCWD)
            base_text_printf(out, "AT_FDCWD");
        else
            base_text_printf(out, "%d", (int)v);
        break;
    case 's': case 'l': case 'n': put_string(out, v, MAX_PATH); break;
    case 't': put_string(out, v, MAX_STRING); break;
    case 'm': base_text_printf(out, v ? "%#o" : "000", (unsigned)v); break;
    case 'o':
        base_text_printf(out, "%s", (v & 3) == 0   ? "O_RDONLY"
                                    : (v & 3) == 1 ? "O_WRONLY"
                                    : (v & 3) == 2 ? "O_RDWR"
                                                   : "O_ACCMODE");
        if (v & ~3ull & 0xffffffff)
            put_bits(out, opens, v & ~3ull & 0xffffffff, false);
        break;
    case 'g': base_text_printf(out, "%s", proc_trace_signame((int)v, name, sizeof name)); break;
    case 'F': put_bits(out, ats, v & 0xffffffff, true); break;
    case 'p': put_pointer(out, v); break;
    default: base_text_printf(out, v ? "%#llx" : "%llu", U(v)); break;
    }
}

static void put_clone_flags(struct base_text *out, uint64_t flags, bool with_signal)
{
    char name[16];
    uint64_t bits = with_signal ? flags & ~(uint64_t)CSIGNAL : flags;

    if (bits || !with_signal)
        put_bits(out, clones, bits, true);
    if (with_signal && (flags & CSIGNAL))
        base_text_printf(out, "%s%s", bits ? "|" : "",
                         proc_trace_signame((int)(flags & CSIGNAL), name, sizeof name));
}

static void put_time(struct base_text *out, uint64_t addr)
{
    struct timespec ts;

    if (look(out, addr, &ts, sizeof ts))
        base_text_printf(out, "{tv_sec=%lld, tv_nsec=%ld}", (long long)ts.tv_sec, ts.tv_nsec);
}

static void put_socktype(struct base_text *out, uint64_t v)
{
    put_name(out, socktypes, v & 15);
    base_text_printf(out, "%s%s", v & SOCK_CLOEXEC ? "|SOCK_CLOEXEC" : "",
                     v & SOCK_NONBLOCK ? "|SOCK_NONBLOCK" : "");
}

/* What lies behind a pointer; ok: the call went well, so it is filled in. */
static bool put_memory(struct base_text *out, char shape, const uint64_t *a, unsigned i, long r)
{
    uint64_t v = a[i], set;
    int fds[2];
    uint64_t rl[2];
    bool ok = r >= 0;

    if (strchr("wsatikljy2", shape) && !ok) {
        put_pointer(out, v);
        return true;
    }
    switch (shape) {
    case 'W': put_data(out, v, a[i + 1]); break;
    case 'w': put_data(out, v, (uint64_t)r); break;
    case 'y': put_string(out, v, MAX_PATH); break;
    case 'V': put_argv(out, v, false); break;
    case 'E': put_argv(out, v, true); break;
    case 'S': case 's':
        if (look(out, v, &set, 8))
            put_sigset(out, set);
        break;
    case 'A': case 'a': put_action(out, v); break;
    case 'T': case 't': put_time(out, v); break;
    case 'I': put_iovecs(out, v, a[i + 1], -1); break;
    case 'i': put_iovecs(out, v, a[i + 1], r); break;
    case 'N': put_sockaddr(out, v, a[i + 1]); break;
    case 'k': put_stat(out, v); break;
    case 'L': case 'l':
        if (!look(out, v, rl, sizeof rl))
            break;
        base_text_printf(out, "{");
        put_limit(out, "rlim_cur", rl[0]);
        put_limit(out, ", rlim_max", rl[1]);
        base_text_printf(out, "}");
        break;
    case 'j':
        if (r > 0)
            put_wait(out, v);
        else
            put_pointer(out, v);
        break;
    case '2':
        if (look(out, v, fds, sizeof fds))
            base_text_printf(out, "[%d, %d]", fds[0], fds[1]);
        break;
    case '4': put_polls(out, v, a[i + 1]); break;
    case 'K': put_clone_args(out, v, a[i + 1]); break;
    default: return false;
    }
    return true;
}

void proc_trace_arg(struct base_text *out, const struct proc_call *c, const uint64_t *a,
                    unsigned i, long r)
{
    uint64_t v = a[i];
    char shape = shape_of(c, i);

    if (put_memory(out, shape, a, i, r))
        return;
    switch (shape) {
    case 'P': put_bits(out, prots, v & 0xffffffff, true); break;
    case 'M':
        base_text_printf(out, "%s", (v & 3) == 3   ? "MAP_SHARED_VALIDATE"
                                    : (v & 3) == 1 ? "MAP_SHARED"
                                    : (v & 3) == 2 ? "MAP_PRIVATE"
                                                   : "0");
        if (v & ~3ull & 0xffffffff)
            put_bits(out, maps, v & ~3ull & 0xffffffff, false);
        break;
    case 'C': put_clone_flags(out, v & 0xffffffff, !strcmp(c->name, "clone")); break;
    case 'F': put_bits(out, ats, v & 0xffffffff, true); break;
    case 'Q': put_bits(out, accesses, v & 0xffffffff, true); break;
    case 'H': put_name(out, whences, v); break;
    case 'D': put_name(out, fcntls, v & 0xffffffff); break;
    case 'G': put_name(out, hows, v & 0xffffffff); break;
    case 'B': put_name(out, advices, v & 0xffffffff); break;
    case 'Z': put_name(out, clocks, v & 0xffffffff); break;
    case 'X':
        put_name(out, futexes, v & 127);
        base_text_printf(out, "%s%s", v & FUTEX_PRIVATE_FLAG ? "_PRIVATE" : "",
                         v & FUTEX_CLOCK_REALTIME ? "|FUTEX_CLOCK_REALTIME" : "");
        break;
    case 'Y': put_name(out, families, v & 0xffffffff); break;
    case 'U': put_socktype(out, v & 0xffffffff); break;
    case 'R': put_name(out, limits, v & 0xffffffff); break;
    case 'O': put_bits(out, waits, v & 0xffffffff, true); break;
    case 'J': put_bits(out, remaps, v & 0xffffffff, true); break;
    case '$': put_bits(out, randoms, v & 0xffffffff, true); break;
    case '*': put_name(out, epolls, v); break;
    case 'o': base_text_printf(out, "%#o", (unsigned)v); break;
    case '3':
        if (v)
            put_bits(out, opens, v & 0xffffffff, true);
        else
            base_text_printf(out, "0");
        break;
    default:
        if (!strcmp(c->name, "brk"))
            put_pointer(out, v);
        else if (i == 0 && (!strcmp(c->name, "mmap") || !strcmp(c->name, "munmap")))
            put_pointer(out, v);
        else
            put_plain(out, c->args[i], v);
        break;
    }
}

void proc_trace_result(struct base_text *out, const struct proc_call *c, const uint64_t *a, long r)
{
    static const char *const addresses[] = {"mmap", "brk", "mremap", "shmat"};

    if (r == -PROC_ERESTARTSYS) {
        base_text_printf(out, " = ? ERESTARTSYS (To be restarted if SA_RESTART is set)");
        return;
    }
    if (r < 0 && r > -4096) {
        const char *name = strerrorname_np((int)-r);

        base_text_printf(out, " = -1 %s (%s)", name ? name : "EUNKNOWN", strerror((int)-r));
        return;
    }
    for (size_t i = 0; i < BASE_ARRAY_SIZE(addresses); i++) {
        if (!strcmp(c->name, addresses[i])) {
            base_text_printf(out, " = %#llx", U(r));
            return;
        }
    }
    base_text_printf(out, " = %ld", r);
    if (!strcmp(c->name, "fcntl") && a[1] == F_GETFD && r)
        base_text_printf(out, r == 1 ? " (flags FD_CLOEXEC)" : " (flags %#lx)", (unsigned long)r);
    if (!strcmp(c->name, "fcntl") && a[1] == F_GETFL) {
        base_text_printf(out, " (flags ");
        put_plain(out, 'o', (uint64_t)r);
        base_text_printf(out, ")");
    }
}
