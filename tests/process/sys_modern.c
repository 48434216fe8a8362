/* sys_modern.c: calls that Linux has got since 5.0, namespaces, other processes'
 * memory. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <linux/futex.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#define SYS_futex_wait 455
#endif

static int status_of(pid_t pid)
{
    int st = 0;

    waitpid(pid, &st, __WALL);
    return st;
}

static void pidfds(void)
{
    struct pollfd p = {.events = POLLIN};
    siginfo_t si = {0};
    pid_t pid;
    int fd, pipes[2], got;

    fflush(stdout);
    pid = fork();
    if (!pid)
        for (;;)
            pause();
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    OK("pidfd_open", fd);
    RES("pidfd_open bad", syscall(SYS_pidfd_open, 999999, 0));
    RES("pidfd_open flags", syscall(SYS_pidfd_open, pid, 0x1000));
    RES("pidfd_send_signal 0", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    RES("pidfd_send_signal bad", syscall(SYS_pidfd_send_signal, 1, SIGTERM, NULL, 0));
    p.fd = fd;
    RES("poll alive", poll(&p, 1, 0));
    RES("pidfd_send_signal", syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
    RES("poll dead", poll(&p, 1, 5000));
    RES("waitid P_PIDFD", waitid(3, (id_t)fd, &si, WEXITED));
    SAY("waitid", "%d %d", si.si_code, si.si_status);
    RES("send to none", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    close(fd);
    fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    RES("pipe", pipe(pipes));
    got = (int)syscall(SYS_pidfd_getfd, fd, pipes[1], 0);
    OK("pidfd_getfd", got);
    RES("write", write(got, "x", 1));
    RES("pidfd_getfd bad", syscall(SYS_pidfd_getfd, fd, 999, 0));
}

static void openings(void)
{
    struct open_how how = {.flags = O_RDONLY | O_DIRECTORY, .resolve = RESOLVE_BENEATH};
    char more[64] = {0};

    mkdir("dir", 0777);
    symlink("/etc", "out");
    OK("openat2", syscall(SYS_openat2, AT_FDCWD, "dir", &how, sizeof how));
    RES("openat2 leaves", syscall(SYS_openat2, AT_FDCWD, "out", &how, sizeof how));
    RES("openat2 dotdot", syscall(SYS_openat2, AT_FDCWD, "dir/../..", &how, sizeof how));
    how.resolve = RESOLVE_NO_SYMLINKS;
    RES("openat2 link", syscall(SYS_openat2, AT_FDCWD, "out", &how, sizeof how));
    RES("openat2 small", syscall(SYS_openat2, AT_FDCWD, "dir", &how, 8));
    memcpy(more, &how, sizeof how);
    OK("openat2 larger", syscall(SYS_openat2, AT_FDCWD, "dir", more, sizeof more));
    more[40] = 1;
    RES("openat2 unknown", syscall(SYS_openat2, AT_FDCWD, "dir", more, sizeof more));
    how.flags = ~0ull;
    RES("openat2 flags", syscall(SYS_openat2, AT_FDCWD, "dir", &how, sizeof how));
    RES("openat2 pointer", syscall(SYS_openat2, AT_FDCWD, "dir", 8, sizeof how));
    RES("faccessat2", syscall(SYS_faccessat2, AT_FDCWD, "out", F_OK, AT_SYMLINK_NOFOLLOW));
    RES("close_range bad", syscall(SYS_close_range, 20, 10, 0));
    dup2(1, 120);
    RES("close_range", syscall(SYS_close_range, 110, 130, 0));
    RES("closed", fcntl(120, F_GETFD));
    dup2(1, 120);
    RES("close_range cloexec", syscall(SYS_close_range, 110, 130, 4));
    RES("cloexec", fcntl(120, F_GETFD));
}

static void memory(void)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char text[] = "other words", got[32] = "";
    struct iovec here = {got, 11}, there = {text, 11}, bad = {(void *)8, 11};

    RES("mseal flags", syscall(SYS_mseal, page, 4096, 1));
    RES("mseal unaligned", syscall(SYS_mseal, page + 1, 4096, 0));
    RES("mseal", syscall(SYS_mseal, page, 4096, 0));
    RES("munmap sealed", munmap(page, 4096));
    RES("mprotect sealed", mprotect(page, 4096, PROT_READ));
    RES("map over sealed",
        (long)mmap(page, 4096, PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    page[0] = 1;
    RES("munmap behind", munmap(page + 4096, 4096));
    RES("process_vm_readv", process_vm_readv(getpid(), &here, 1, &there, 1, 0));
    SAY("read", "%s", got);
    RES("process_vm_readv bad", process_vm_readv(getpid(), &here, 1, &bad, 1, 0));
    RES("process_vm_readv local bad", process_vm_readv(getpid(), &bad, 1, &there, 1, 0));
    RES("process_vm_readv none", process_vm_readv(999999, &here, 1, &there, 1, 0));
    memcpy(got, "new", 3);
    RES("process_vm_writev", process_vm_writev(getpid(), &here, 1, &there, 1, 0));
    SAY("written", "%s", text);
    RES("process_madvise", syscall(SYS_process_madvise, -1, &here, 1, MADV_COLD, 0));
    RES("memfd_create", memfd_create("m", MFD_CLOEXEC) > 2);
    RES("memfd flags", memfd_create("m", 0x8000));
}

static uint32_t words[3];
static void *waker(void *arg)
{
    usleep(20000);
    __atomic_store_n(&words[1], 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &words[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return arg;
}

static void futexes(void)
{
    struct {
        uint64_t value, addr;
        uint32_t flags, pad;
    } v[3] = {{0, (uint64_t)&words[0], 2 | 128, 0}, {0, (uint64_t)&words[1], 2 | 128, 0},
              {0, (uint64_t)&words[2], 2 | 128, 0}};
    struct timespec past = {0, 1};
    pthread_t t;

    pthread_create(&t, NULL, waker, NULL);
    RES("futex_waitv", syscall(SYS_futex_waitv, v, 3, 0, NULL, 0));
    pthread_join(t, NULL);
    RES("futex_waitv changed", syscall(SYS_futex_waitv, v, 3, 0, NULL, 0));
    v[1].value = 1;
    RES("futex_waitv timeout", syscall(SYS_futex_waitv, v, 3, 0, &past, CLOCK_MONOTONIC));
    RES("futex_waitv none", syscall(SYS_futex_waitv, v, 0, 0, NULL, 0));
    v[0].pad = 1;
    RES("futex_waitv pad", syscall(SYS_futex_waitv, v, 3, 0, NULL, 0));
    RES("futex_wake", syscall(SYS_futex_wake, &words[0], 0xfffffffful, 1, 2 | 128));
    RES("futex_wait changed",
        syscall(SYS_futex_wait, &words[1], 0, 0xfffffffful, 2 | 128, NULL, 0));
}

static pthread_mutex_t pi;
static int counted;
static void *count_pi(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&pi);
        counted++;
        pthread_mutex_unlock(&pi);
    }
    return arg;
}
static void *die_with_it(void *arg)
{
    pthread_mutex_lock(&pi);
    return arg;
}

/* Priority inheritance, and an owner that ends. */
static void pi_futexes(void)
{
    pthread_mutexattr_t attr;
    pthread_t t[2];

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    RES("pi protocol", pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
    RES("pi init", pthread_mutex_init(&pi, &attr));
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, count_pi, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    SAY("pi counted", "%d", counted);
    pthread_create(&t[0], NULL, die_with_it, NULL);
    pthread_join(t[0], NULL);
    RES("pi owner died", pthread_mutex_lock(&pi) == EOWNERDEAD);
    RES("pi consistent", pthread_mutex_consistent(&pi));
    RES("pi unlock", pthread_mutex_unlock(&pi));
    words[0] = 0;
    RES("lock_pi", syscall(SYS_futex, &words[0], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    SAY("owner", "%d", words[0] == (uint32_t)syscall(SYS_gettid));
    RES("lock_pi again", syscall(SYS_futex, &words[0], FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    RES("unlock_pi", syscall(SYS_futex, &words[0], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    RES("unlock_pi again", syscall(SYS_futex, &words[0], FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
}

static void landlock_child(void)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);

    OK("ruleset", fd);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    RES("restrict", syscall(SYS_landlock_restrict_self, fd, 0));
    RES("open forbidden", open("/etc/passwd", O_RDONLY));
}

static void namespaces_child(void)
{
    int fd;

    mkdir("root", 0777);
    RES("unshare", unshare(CLONE_NEWNS | CLONE_NEWUTS));
    RES("sethostname", sethostname("elsewhere", 9));
    RES("private", mount(NULL, "/tmp/..", NULL, MS_REC | MS_PRIVATE, NULL));
    RES("mount", mount("none", "root", "tmpfs", 0, "size=64k"));
    RES("chdir", chdir("root"));
    mkdir("old", 0777);
    RES("pivot_root", syscall(SYS_pivot_root, ".", "old"));
    RES("inside", access("/old/etc", F_OK));
    RES("outside", access("/etc", F_OK));
    RES("umount2", umount2("/old", MNT_DETACH));
    RES("gone", access("/old/etc", F_OK));
    RES("setns bad", setns(1, 0));
    RES("unshare bad", unshare(0x1));
    fd = open("/proc/self/ns/uts", O_RDONLY);
    RES("no proc", fd);
}

static void executing(void)
{
    char *args[] = {"name", "child", NULL};
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        syscall(SYS_execveat, fd, "", args, environ, AT_EMPTY_PATH);
        _exit(1);
    }
    SAY("execveat", "%x", status_of(pid));
    RES("execveat bad", syscall(SYS_execveat, -1, "", args, environ, AT_EMPTY_PATH));
    RES("execveat none", syscall(SYS_execveat, AT_FDCWD, "not-there", args, environ, 0));
    RES("execveat flags", syscall(SYS_execveat, AT_FDCWD, "x", args, environ, 0x8000));
}

static void clones(void)
{
    struct clone_args a = {.exit_signal = SIGCHLD};
    int pidfd = -1, parent = 0;
    pid_t pid;

    fflush(stdout);
    a.flags = CLONE_PIDFD | CLONE_PARENT_SETTID;
    a.pidfd = (uint64_t)&pidfd;
    a.parent_tid = (uint64_t)&parent;
    pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
    if (!pid)
        _exit(4);
    SAY("clone3", "%d %d %x", pidfd > 2, parent == pid, status_of(pid));
    a.flags = CLONE_THREAD;
    RES("clone3 thread", syscall(SYS_clone3, &a, sizeof a));
    a.flags = CLONE_SIGHAND;
    RES("clone3 sighand", syscall(SYS_clone3, &a, sizeof a));
    a.flags = CLONE_NEWNS | CLONE_FS;
    RES("clone3 newns fs", syscall(SYS_clone3, &a, sizeof a));
    RES("clone3 small", syscall(SYS_clone3, &a, 32));
    a.flags = 0;
    a.stack = 0x10000;
    RES("clone3 stack", syscall(SYS_clone3, &a, sizeof a));
    a.stack = 0;
    a.exit_signal = 99;
    RES("clone3 signal", syscall(SYS_clone3, &a, sizeof a));
    a.exit_signal = 0;
    a.flags = CLONE_NEWUTS;
    fflush(stdout);
    pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
    if (!pid)
        _exit(sethostname("x", 1) ? 1 : 0);
    SAY("clone3 newuts", "%x", status_of(pid));
}

/* What a kernel without them says, or what this one does: no program may crash. */
static void personalities(void)
{
    int old = personality(0xffffffff);

    RES("personality", personality((unsigned long)old | ADDR_NO_RANDOMIZE) == old);
    RES("personality 2", (personality(0xffffffff) & ADDR_NO_RANDOMIZE) != 0);
    personality((unsigned long)old);
}

/* A page that is there only when the first access asks for it. */
static int fault_fd;
static char *lazy;

static void *fill(void *arg)
{
    struct uffd_msg m;
    struct uffdio_copy c = {.src = (uint64_t)arg, .len = 4096};

    if (read(fault_fd, &m, sizeof m) != sizeof m)
        return NULL;
    SAY("userfault", "%d %lld", m.event == UFFD_EVENT_PAGEFAULT,
        (long long)m.arg.pagefault.address - (long long)lazy);
    c.dst = m.arg.pagefault.address & ~4095ull;
    RES("UFFDIO_COPY", ioctl(fault_fd, UFFDIO_COPY, &c));
    return NULL;
}

static void userfaults(void)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    static char page[4096] __attribute__((aligned(4096))) = "filled";
    pthread_t t;

    RES("userfaultfd bad", syscall(SYS_userfaultfd, 0x40));
    fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    OK("userfaultfd", fault_fd);
    if (fault_fd < 0)
        return;
    RES("UFFDIO_API", ioctl(fault_fd, UFFDIO_API, &api));
    lazy = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r.range.start = (uint64_t)lazy;
    r.range.len = 8192;
    RES("UFFDIO_REGISTER", ioctl(fault_fd, UFFDIO_REGISTER, &r));
    pthread_create(&t, NULL, fill, page);
    char first = *(volatile char *)(lazy + 4096);
    pthread_join(t, NULL);
    SAY("page", "%c", first);
    munmap(lazy, 8192);
    close(fault_fd);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "child"))
        return 6;
    pidfds();
    openings();
    memory();
    futexes();
    pi_futexes();
    in_child(landlock_child);
    if (!geteuid())
        in_child(namespaces_child);
    executing();
    clones();
    personalities();
    userfaults();
    return 0;
}
