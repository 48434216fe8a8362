/* hostile.c: tries to get out of a sandbox. SPDX-License-Identifier: Apache-2.0
 *
 * usage: hostile SECRET READABLE WRITABLE PORT [child]
 *
 * SECRET is a file that was not named, READABLE a directory for reading with a file "file",
 * WRITABLE one for writing, PORT a listener on the loopback. Prints "case: ok" for what could
 * be done, else "case: errno".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void say(const char *name, long r)
{
    if (r >= 0)
        printf("%s: ok\n", name);
    else
        printf("%s: %s\n", name, strerrorname_np(errno));
    fflush(stdout);
}

static int in(const char *dir, const char *name, int flags)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return open(path, flags, 0600);
}

static void files(const char *secret, const char *readable, const char *writable)
{
    char a[4096], b[4096];
    int fd;

    say("read secret", open(secret, O_RDONLY));
    say("write secret", open(secret, O_WRONLY));
    say("truncate secret", truncate(secret, 1));
    snprintf(a, sizeof a, "%s/../secret", readable);
    say("read secret by dots", open(a, O_RDONLY));
    say("path of secret", open(secret, O_PATH));
    snprintf(a, sizeof a, "/proc/self/fd/%d", open(secret, O_PATH));
    say("reopen path of secret", open(a, O_RDONLY));
    snprintf(a, sizeof a, "%s/link", writable);
    say("symlink", symlink(secret, a));
    say("read secret by symlink", open(a, O_RDONLY));
    snprintf(a, sizeof a, "%s/hard", writable);
    say("hard link to secret", link(secret, a));
    unlink(a);
    snprintf(b, sizeof b, "%s/file", readable);
    say("hard link to readable", link(b, a));
    unlink(a);
    say("list /", open("/", O_RDONLY | O_DIRECTORY));
    say("read readable", in(readable, "file", O_RDONLY));
    say("write readable", in(readable, "file", O_WRONLY));
    say("truncate on open", in(readable, "file", O_RDONLY | O_TRUNC));
    say("create in readable", in(readable, "new", O_WRONLY | O_CREAT));
    fd = in(writable, "new", O_RDWR | O_CREAT);
    say("create in writable", fd);
    say("write writable", write(fd, "x", 1));
    say("ftruncate writable", ftruncate(fd, 100));
    snprintf(a, sizeof a, "%s/dir", writable);
    say("mkdir in writable", mkdir(a, 0700));
    say("rmdir in writable", rmdir(a));
    snprintf(a, sizeof a, "%s/node", writable);
    say("device in writable", mknod(a, S_IFCHR | 0600, 0x103));
    unlink(a);
    say("write /dev/null", write(open("/dev/null", O_WRONLY), "x", 1));
    say("chmod secret", chmod(secret, 0600));
    say("chown secret", chown(secret, getuid(), getgid()));
    say("touch secret", utimensat(AT_FDCWD, secret, NULL, 0));
    say("setxattr secret", setxattr(secret, "user.x", "y", 1, 0));
    fd = in(readable, "file", O_RDONLY);
    say("fchmod readable", fchmod(fd, 0600));
    say("inotify", inotify_init1(0));
}

static void network(int port)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
    int fd = socket(AF_INET, SOCK_STREAM, 0), pair[2];

    in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    say("tcp", fd);
    say("connect", connect(fd, (void *)&in4, sizeof in4));
    say("udp", socket(AF_INET, SOCK_DGRAM, 0));
    say("raw", socket(AF_INET, SOCK_RAW, 1));
    say("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
    say("unix", socket(AF_UNIX, SOCK_STREAM, 0));
    say("stream pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    say("send through it", write(pair[0], "x", 1));
    say("datagram pair", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    sendto(fd, "x", 1, 0, (void *)&un, sizeof un);
    say("io_uring", syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == EFAULT ? 0 : -1);
}

static void processes(void)
{
    char path[64];
    struct rlimit limit;
    pid_t pid;
    int status;

    say("signal to parent", kill(getppid(), 0));
    say("signal to itself", kill(getpid(), 0));
    say("ptrace parent", ptrace(PTRACE_SEIZE, getppid(), 0, 0));
    snprintf(path, sizeof path, "/proc/%d/mem", getppid());
    say("memory of parent", open(path, O_RDWR));
    say("own memory by /proc", open("/proc/self/mem", O_RDWR));
    say("environment of parent", (snprintf(path, sizeof path, "/proc/%d/environ", getppid()),
                                  open(path, O_RDONLY)));
    getrlimit(RLIMIT_CORE, &limit);
    say("limit of parent", prlimit(getppid(), RLIMIT_CORE, &limit, NULL));
    say("own limit", setrlimit(RLIMIT_CORE, &limit));
    say("shm", shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    pid = fork();
    if (pid == 0)
        _exit(3);
    waitpid(pid, &status, 0);
    say("fork", WEXITSTATUS(status) == 3 ? 0 : -1);
}

static void machine(const char *writable)
{
    say("mount", mount("none", writable, "tmpfs", 0, NULL));
    umount2(writable, MNT_DETACH);
    say("user namespace", unshare(CLONE_NEWUSER));
    say("chroot", chroot("/"));
    say("setns", syscall(SYS_setns, open("/proc/self/ns/mnt", O_RDONLY), 0));
    say("hostname", sethostname("x", 1));
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
    errno = 0; /* -1 is what a terminal's TIOCSTI gives too: only the reason tells */
    ioctl(0, TIOCSTI, "x");
    printf("type for the user: %s\n", strerrorname_np(errno));
    say("become root again", setuid(0) == 0 && !chown("/", 0, 0) ? 0 : -1);
}

int main(int argc, char **argv)
{
    if (argc > 5) {
        say("child reads secret", open(argv[1], O_RDONLY));
        return 0;
    }
    if (argc < 5)
        return 2;
    files(argv[1], argv[2], argv[3]);
    network(atoi(argv[4]));
    processes();
    machine(argv[3]);
    fflush(stdout);
    execl(argv[0], argv[0], argv[1], argv[2], argv[3], argv[4], "child", NULL);
    say("exec", -1);
    return 1;
}
