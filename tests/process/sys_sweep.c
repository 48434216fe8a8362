/* sys_sweep.c: every call of the table with arguments that make no sense: what is refused, and
 * with which error. SPDX-License-Identifier: Apache-2.0
 *
 * Each in a process of its own, which may be killed by what it has done. That every call of
 * spec/linux_riscv64.syscalls is here or has a reason not to be is checked by t_syscalls.py. */
#include "sys_test.h"

#include <sys/resource.h>
#include <sys/time.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#ifndef SYS_landlock_add_rule
#define SYS_landlock_add_rule 445
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#endif
#ifndef SYS_futex_wait
#define SYS_futex_wait 455
#endif
#ifndef SYS_futex_requeue
#define SYS_futex_requeue 456
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif
#ifndef SYS_lsm_get_self_attr
#define SYS_lsm_get_self_attr 459
#endif
#ifndef SYS_lsm_set_self_attr
#define SYS_lsm_set_self_attr 460
#endif
#ifndef SYS_lsm_list_modules
#define SYS_lsm_list_modules 461
#endif

#define CALLS \
    CALL(io_setup) CALL(io_destroy) CALL(io_submit) CALL(io_cancel) CALL(io_getevents) \
    CALL(setxattr) CALL(lsetxattr) CALL(fsetxattr) CALL(getxattr) CALL(lgetxattr) \
    CALL(fgetxattr) CALL(listxattr) CALL(llistxattr) CALL(flistxattr) CALL(removexattr) \
    CALL(lremovexattr) CALL(fremovexattr) CALL(getcwd) CALL(eventfd2) CALL(epoll_create1) \
    CALL(epoll_ctl) CALL(dup) CALL(dup3) CALL(fcntl) CALL(inotify_init1) \
    CALL(inotify_add_watch) CALL(inotify_rm_watch) CALL(ioctl) CALL(ioprio_set) \
    CALL(ioprio_get) CALL(flock) CALL(mknodat) CALL(mkdirat) CALL(unlinkat) CALL(symlinkat) \
    CALL(linkat) CALL(mount) CALL(statfs) CALL(fstatfs) CALL(truncate) CALL(ftruncate) \
    CALL(fallocate) CALL(faccessat) CALL(chdir) CALL(fchdir) CALL(chroot) CALL(fchmod) \
    CALL(fchmodat) CALL(fchownat) CALL(fchown) CALL(openat) CALL(close) CALL(pipe2) \
    CALL(quotactl) CALL(getdents64) CALL(lseek) CALL(read) CALL(write) CALL(readv) \
    CALL(readlinkat) CALL(newfstatat) CALL(statx) CALL(writev) CALL(pread64) CALL(pwrite64) \
    CALL(preadv) CALL(pwritev) CALL(sendfile) CALL(pselect6) CALL(signalfd4) CALL(vmsplice) \
    CALL(splice) CALL(tee) CALL(fstat) CALL(sync) CALL(fsync) CALL(fdatasync) \
    CALL(sync_file_range) CALL(timerfd_create) CALL(timerfd_settime) CALL(timerfd_gettime) \
    CALL(utimensat) CALL(capget) CALL(capset) CALL(personality) CALL(waitid) \
    CALL(set_tid_address) CALL(unshare) CALL(futex) CALL(set_robust_list) \
    CALL(get_robust_list) CALL(nanosleep) CALL(getitimer) CALL(setitimer) CALL(timer_create) \
    CALL(timer_gettime) CALL(timer_getoverrun) CALL(timer_settime) CALL(timer_delete) \
    CALL(clock_settime) CALL(clock_gettime) CALL(clock_getres) CALL(clock_nanosleep) \
    CALL(syslog) CALL(ptrace) CALL(sched_setparam) CALL(sched_setscheduler) \
    CALL(sched_getscheduler) CALL(sched_getparam) CALL(sched_setaffinity) \
    CALL(sched_getaffinity) CALL(sched_yield) CALL(sched_get_priority_max) \
    CALL(sched_get_priority_min) CALL(sched_rr_get_interval) CALL(tkill) CALL(tgkill) \
    CALL(sigaltstack) CALL(rt_sigsuspend) CALL(rt_sigprocmask) CALL(rt_sigpending) \
    CALL(rt_sigtimedwait) CALL(rt_sigqueueinfo) CALL(setpriority) CALL(getpriority) \
    CALL(setregid) CALL(setgid) CALL(setreuid) CALL(setuid) CALL(setresuid) CALL(getresuid) \
    CALL(setresgid) CALL(getresgid) CALL(setfsuid) CALL(setfsgid) CALL(times) CALL(setpgid) \
    CALL(getpgid) CALL(getsid) CALL(setsid) CALL(getgroups) CALL(setgroups) CALL(uname) \
    CALL(getrlimit) CALL(setrlimit) CALL(getrusage) CALL(umask) CALL(prctl) CALL(getcpu) \
    CALL(gettimeofday) CALL(adjtimex) CALL(getpid) CALL(getppid) CALL(getuid) CALL(geteuid) \
    CALL(getgid) CALL(getegid) CALL(gettid) CALL(sysinfo) CALL(mq_open) CALL(mq_unlink) \
    CALL(mq_timedsend) CALL(mq_timedreceive) CALL(mq_notify) CALL(mq_getsetattr) CALL(msgget) \
    CALL(msgctl) CALL(msgrcv) CALL(msgsnd) CALL(semget) CALL(semctl) CALL(semtimedop) \
    CALL(semop) CALL(shmget) CALL(shmctl) CALL(shmat) CALL(shmdt) CALL(socket) \
    CALL(socketpair) CALL(bind) CALL(listen) CALL(accept) CALL(connect) CALL(getsockname) \
    CALL(getpeername) CALL(sendto) CALL(recvfrom) CALL(setsockopt) CALL(getsockopt) \
    CALL(shutdown) CALL(sendmsg) CALL(recvmsg) CALL(readahead) CALL(mremap) CALL(add_key) \
    CALL(request_key) CALL(keyctl) CALL(mmap) CALL(fadvise64) CALL(mprotect) CALL(msync) \
    CALL(mlock) CALL(munlock) CALL(mlockall) CALL(munlockall) CALL(mincore) CALL(madvise) \
    CALL(remap_file_pages) CALL(mbind) CALL(get_mempolicy) CALL(set_mempolicy) \
    CALL(migrate_pages) CALL(move_pages) CALL(rt_tgsigqueueinfo) CALL(accept4) CALL(recvmmsg) \
    CALL(wait4) CALL(prlimit64) CALL(fanotify_init) CALL(fanotify_mark) \
    CALL(name_to_handle_at) CALL(open_by_handle_at) CALL(clock_adjtime) CALL(syncfs) \
    CALL(setns) CALL(sendmmsg) CALL(process_vm_readv) CALL(process_vm_writev) CALL(kcmp) \
    CALL(sched_setattr) CALL(sched_getattr) CALL(renameat2) CALL(seccomp) CALL(getrandom) \
    CALL(memfd_create) CALL(userfaultfd) CALL(membarrier) CALL(mlock2) CALL(copy_file_range) \
    CALL(preadv2) CALL(pwritev2) CALL(pkey_mprotect) CALL(io_pgetevents) CALL(open_tree) \
    CALL(move_mount) CALL(fsopen) CALL(fsconfig) CALL(fsmount) CALL(fspick) CALL(pidfd_open) \
    CALL(close_range) CALL(openat2) CALL(pidfd_getfd) CALL(faccessat2) CALL(process_madvise) \
    CALL(mount_setattr) CALL(quotactl_fd) CALL(landlock_create_ruleset) \
    CALL(landlock_add_rule) CALL(landlock_restrict_self) CALL(memfd_secret) \
    CALL(process_mrelease) CALL(futex_waitv) CALL(set_mempolicy_home_node) CALL(cachestat) \
    CALL(fchmodat2) CALL(futex_wake) CALL(futex_wait) CALL(futex_requeue) CALL(statmount) \
    CALL(listmount) CALL(lsm_get_self_attr) CALL(lsm_set_self_attr) CALL(lsm_list_modules)

/* Those of which only the first pattern is tried: of two mistakes ours see another one first. */
#define CALLS_ONCE \
    CALL(epoll_pwait) CALL(ppoll) CALL(rt_sigaction) CALL(pidfd_send_signal) CALL(epoll_pwait2)

static const struct {
    const char *name;
    long nr;
    int once;
} calls[] = {
#define CALL(name) {#name, SYS_##name, 0},
    CALLS
#undef CALL
#define CALL(name) {#name, SYS_##name, 1},
    CALLS_ONCE
#undef CALL
};

/* What a call is given: the words in turn. */
static const struct {
    const char *name;
    long a[6];
} patterns[] = {
    {"zeros", {0}},
    {"low", {8, 8, 8, 8, 8, 8}},
    {"no file", {99, 8, 16, 8, 16, 8}},
    {"odd", {-1, 8, -1, 8, -1, 8}},
    {"even", {8, -1, 8, 0, 8, -1}},
    {"few", {0, 1, 2, 3, 4, 5}},
};

static const long *args;
static long number;

static void on_alarm(int sig)
{
    (void)sig;
    write(1, "waits\n", 6);
    _exit(0);
}

/* Without what it could do harm with: no files, no rights. */
static void call(void)
{
    struct itimerval soon = {.it_value = {.tv_usec = 300000}};
    char text[64];
    long r;

    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &soon, NULL);
    r = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    snprintf(text, sizeof text, "%s\n", r == -1 ? strerrorname_np(errno) : r ? "more" : "0");
    write(3, text, strlen(text));
}

int main(void)
{
    dup2(1, 3);
    close(0);
    open("/dev/null", O_RDONLY);
    if (geteuid() == 0) {
        setgid(12345);
        setuid(12345);
    }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (size_t k = 0; k < (calls[i].once ? 1 : sizeof patterns / sizeof *patterns); k++) {
            int status;

            number = calls[i].nr;
            args = patterns[k].a;
            printf("%s of %s: ", calls[i].name, patterns[k].name);
            status = in_child(call);
            if (status)
                printf("%s: status %d\n", calls[i].name, status);
        }
    return 0;
}
