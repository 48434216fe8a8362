/* dbg_trace.c: calls whose trace is known. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void handler(int sig) { (void)sig; }

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct iovec v[2] = {{"ab", 2}, {"\n\"\\\1\0012", 6}};
    struct rlimit rl = {64, 64};
    sigset_t set;
    char b[64];
    int fd[2], status;
    void *m;

    (void)argv;
    mkdirat(-5, "begin", 0700);
    openat(AT_FDCWD, "nothing", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    unlinkat(AT_FDCWD, "nothing", 0);
    openat(AT_FDCWD, "nothing", O_RDONLY | O_DIRECTORY);
    pipe2(fd, O_CLOEXEC);
    writev(fd[1], v, 2);
    read(fd[0], b, sizeof b);
    write(fd[1], "0123456789012345678901234567890123456789", 40);
    fcntl(fd[0], F_SETFD, 0);
    fcntl(fd[0], F_GETFD);
    m = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
             0);
    mprotect(m, 4096, PROT_NONE);
    madvise(m, 4096, MADV_DONTNEED);
    munmap(m, 12288);
    sigaction(SIGUSR1, &act, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setrlimit(RLIMIT_CORE, &rl);
    lseek(fd[0], 1, SEEK_CUR);
    mkdirat(-5, "end", 0700);
    if (argc > 1) {
        if (!fork())
            _exit(7);
        wait(&status);
        raise(SIGTERM);
    }
    return 3;
}
