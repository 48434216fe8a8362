/* sys_file.c: files, directories, descriptors. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <termios.h>

static void put(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (write(fd, text, strlen(text)) < 0)
        perror(name);
    close(fd);
}

static void show_stat(const char *name, const struct stat *st)
{
    SAY(name, "mode %o nlink %ld size %ld uid %d gid %d blksize %ld mtime %ld.%09ld rdev %lx",
        st->st_mode, (long)st->st_nlink, (long)st->st_size, st->st_uid, st->st_gid,
        (long)st->st_blksize, (long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (long)st->st_rdev);
}

static void opening(void)
{
    RES("open missing", open("none", O_RDONLY));
    RES("open dir for writing", open(".", O_WRONLY));
    RES("O_DIRECTORY on a file", open("f", O_RDONLY | O_DIRECTORY));
    RES("O_NOFOLLOW on a link", open("l", O_RDONLY | O_NOFOLLOW));
    RES("O_EXCL", open("f", O_CREAT | O_EXCL | O_RDWR, 0600));
    OK("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600));
    RES("open name too long", open((char[5000]){[0 ... 4998] = 'a'}, O_RDONLY));
    RES("open bad pointer", open((char *)1, O_RDONLY));
    RES("open high pointer", syscall(SYS_openat, AT_FDCWD, (char *)0x7000000000000000, O_RDONLY));
    RES("open empty", open("", O_RDONLY));
    OK("O_PATH", open("f", O_PATH));
    RES("F_GETFL", fcntl(open("f", O_RDWR | O_APPEND | O_NONBLOCK), F_GETFL) & ~0100000);
    RES("F_GETFD", fcntl(open("f", O_RDONLY | O_CLOEXEC), F_GETFD));
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    OK("openat2", syscall(SYS_openat2, AT_FDCWD, "f", &how, sizeof how));
    RES("openat2 beneath", syscall(SYS_openat2, AT_FDCWD, "../x", &how, sizeof how));
    RES("openat2 size", syscall(SYS_openat2, AT_FDCWD, "f", &how, 8));
    RES("close_range", close_range(3, 100, 0));
}

static void statting(void)
{
    struct timespec ts[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    struct stat st;
    struct statx sx;
    struct statfs fs;

    RES("utimensat", utimensat(AT_FDCWD, "f", ts, 0));
    RES("stat", stat("f", &st));
    show_stat("stat f", &st);
    SAY("atime", "%ld.%09ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec);
    RES("lstat", lstat("l", &st));
    SAY("lstat l", "mode %o size %ld", st.st_mode, (long)st.st_size);
    RES("stat link", stat("l", &st));
    show_stat("stat l", &st);
    RES("stat /dev/null", stat("/dev/null", &st));
    SAY("null", "mode %o rdev %lx", st.st_mode, (long)st.st_rdev);
    RES("fstat", fstat(open("f", O_RDONLY), &st));
    show_stat("fstat f", &st);
    RES("stat bad buffer", syscall(SYS_newfstatat, AT_FDCWD, "f", 8, 0));
    RES("fstat bad fd", fstat(77, &st));
    RES("AT_EMPTY_PATH", fstatat(3, "", &st, AT_EMPTY_PATH));
    RES("statx", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &sx));
    SAY("statx f", "mode %o size %ld mtime %ld.%d", sx.stx_mode, (long)sx.stx_size,
        (long)sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec);
    RES("statfs", statfs("/proc", &fs));
    SAY("statfs /proc", "type %lx bsize %ld namelen %ld", (long)fs.f_type, (long)fs.f_bsize,
        (long)fs.f_namelen);
    RES("access", access("f", R_OK | W_OK));
    RES("access missing", access("none", F_OK));
    RES("faccessat2", faccessat(AT_FDCWD, "l", F_OK, AT_SYMLINK_NOFOLLOW));
    close(3);
}

static void moving(void)
{
    char buf[64] = "";

    RES("readlink", readlink("l", buf, sizeof buf));
    SAY("link", "%s", buf);
    RES("readlink cut", readlink("l", buf, 1) == 1);
    RES("readlink of a file", readlink("f", buf, sizeof buf));
    RES("readlink size 0", syscall(SYS_readlinkat, AT_FDCWD, "l", buf, 0));
    RES("link", link("f", "g"));
    RES("rename", rename("g", "h"));
    RES("rename missing", rename("none", "h"));
    RES("renameat2 noreplace", renameat2(AT_FDCWD, "h", AT_FDCWD, "f", RENAME_NOREPLACE));
    RES("renameat2 exchange", renameat2(AT_FDCWD, "h", AT_FDCWD, "l", RENAME_EXCHANGE));
    RES("renameat2 back", renameat2(AT_FDCWD, "h", AT_FDCWD, "l", RENAME_EXCHANGE));
    RES("unlink", unlink("h"));
    RES("mkdir", mkdir("d", 0750));
    RES("mkdir again", mkdir("d", 0750));
    RES("rmdir not empty", (put("d/x", "1"), rmdir("d")));
    RES("chdir", chdir("d"));
    OK("getcwd", getcwd(buf, 2) ? 0 : -1);
    RES("chdir back", chdir(".."));
    RES("unlink dir", unlink("d"));
    RES("unlinkat", unlinkat(AT_FDCWD, "d/x", 0));
    RES("rmdir", rmdir("d"));
    RES("chmod", chmod("f", 0604));
    RES("mkfifo", mkfifo("p", 0600));
    RES("truncate", truncate("f", 3));
    RES("truncate negative", truncate("f", -1));
}

static void io(void)
{
    char a[8] = "", b[8] = "";
    struct iovec v[2] = {{a, 3}, {b, 4}}, w[2] = {{"hello ", 6}, {"world\n", 6}};
    int fd = open("io", O_RDWR | O_CREAT | O_TRUNC, 0600),
        out = open("io2", O_RDWR | O_CREAT, 0600);
    off_t off = 2;
    loff_t lo = 0;
    int p[2], q[2];

    RES("writev", writev(fd, w, 2));
    RES("lseek", lseek(fd, 1, SEEK_SET));
    RES("readv", readv(fd, v, 2));
    SAY("read", "%s|%s", a, b);
    RES("pread", pread(fd, a, 4, 6));
    RES("pwrite", pwrite(fd, "XY", 2, 0));
    RES("preadv2", preadv2(fd, v, 2, 0, 0));
    SAY("read 2", "%s|%s", a, b);
    RES("SEEK_END", lseek(fd, 0, SEEK_END));
    RES("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE));
    RES("lseek bad", lseek(fd, -5, SEEK_SET));
    RES("read bad pointer", read(fd, (void *)16, (lseek(fd, 0, SEEK_SET), 4)));
    RES("write bad pointer", write(fd, (void *)16, 4));
    RES("read high pointer", syscall(SYS_read, fd, 0x5555555555555555, 4));
    RES("sendfile", sendfile(out, fd, &off, 5));
    RES("copy_file_range", copy_file_range(fd, &lo, out, NULL, 4, 0));
    RES("fallocate", fallocate(fd, 0, 0, 8192));
    RES("posix_fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    RES("fsync", fsync(fd));
    RES("sync_file_range", sync_file_range(fd, 0, 100, SYNC_FILE_RANGE_WRITE));
    RES("ftruncate", ftruncate(fd, 100));
    RES("pipe2", pipe2(p, O_CLOEXEC | O_NONBLOCK));
    RES("pipe", pipe(q));
    RES("pipe read empty", read(p[0], a, 1));
    RES("pipe write", write(p[1], "abcdef", 6));
    RES("tee", tee(p[0], q[1], 3, 0));
    RES("splice", splice(p[0], NULL, q[1], NULL, 6, 0));
    RES("FIONREAD", (ioctl(q[0], FIONREAD, &p[0]), p[0]));
    RES("vmsplice", vmsplice(q[1], w, 2, 0));
    OK("F_SETPIPE_SZ", fcntl(q[0], F_SETPIPE_SZ, 65536));
    RES("dup2", dup2(fd, 50));
    RES("dup3 same", dup3(50, 50, 0));
    RES("F_DUPFD", fcntl(fd, F_DUPFD, 60));
    RES("pipe2 bad", syscall(SYS_pipe2, 24, 0));
    close(50), close(60);
}

static void locks_child(void)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 20};
    int fd = open("io", O_RDWR);

    RES("F_SETLK taken", fcntl(fd, F_SETLK, &fl));
    fcntl(fd, F_GETLK, &fl);
    SAY("F_GETLK", "type %d start %ld len %ld pid %s", fl.l_type, (long)fl.l_start, (long)fl.l_len,
        fl.l_pid == getppid() ? "parent" : "?");
    RES("flock taken", flock(fd, LOCK_EX | LOCK_NB));
}

static void locks(void)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    int fd = open("io", O_RDWR);

    RES("F_SETLK", fcntl(fd, F_SETLK, &fl));
    RES("flock", flock(fd, LOCK_EX));
    RES("locks child", in_child(locks_child));
    close(fd);
}

static void directory(void)
{
    struct dirent *e;
    DIR *d;
    int n = 0, dots = 0;

    mkdir("many", 0700);
    for (int i = 0; i < 300; i++) {
        char name[40];

        snprintf(name, sizeof name, "many/file-with-a-name-%d", i);
        put(name, "");
    }
    d = opendir("many");
    while ((e = readdir(d))) {
        n += e->d_type == DT_REG;
        dots += e->d_name[0] == '.';
        if (e->d_type == DT_REG) {
            char name[300];

            snprintf(name, sizeof name, "many/%s", e->d_name);
            unlink(name);
        }
    }
    closedir(d);
    SAY("readdir", "%d files, %d dots", n, dots);
    RES("rmdir many", rmdir("many"));
    RES("getdents bad", syscall(SYS_getdents64, open(".", O_RDONLY), 16, 1024));
}

static void special(void)
{
    uint64_t v = 5;
    struct itimerspec its = {.it_value = {0, 1000000}};
    struct winsize ws = {24, 80, 0, 0};
    struct termios tio;
    char buf[512];
    int fd = eventfd(3, EFD_SEMAPHORE), m, s;

    RES("eventfd write", write(fd, &v, 8));
    RES("eventfd read", read(fd, &v, 8));
    SAY("eventfd", "%ld", (long)v);
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    RES("timerfd_settime", timerfd_settime(fd, 0, &its, NULL));
    RES("timerfd read", read(fd, &v, 8));
    SAY("timerfd", "%ld", (long)v);
    fd = inotify_init1(IN_NONBLOCK);
    RES("inotify_add_watch", inotify_add_watch(fd, ".", IN_CREATE));
    put("watched", "x");
    RES("inotify read", read(fd, buf, sizeof buf));
    SAY("inotify", "%s", ((struct inotify_event *)buf)->name);
    fd = memfd_create("m", MFD_ALLOW_SEALING);
    RES("F_ADD_SEALS", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    RES("F_GET_SEALS", fcntl(fd, F_GET_SEALS));
    RES("sealed write", write(fd, "x", 1));
    RES("openpty", openpty(&m, &s, NULL, NULL, &ws));
    RES("isatty", isatty(s));
    RES("TIOCGWINSZ", ioctl(s, TIOCGWINSZ, &ws));
    SAY("winsize", "%d %d", ws.ws_row, ws.ws_col);
    RES("tcgetattr", tcgetattr(s, &tio));
    SAY("termios", "%x %x %x %x vmin %d", tio.c_iflag, tio.c_oflag, tio.c_cflag, tio.c_lflag,
        tio.c_cc[VMIN]);
    cfmakeraw(&tio);
    RES("tcsetattr", tcsetattr(s, TCSADRAIN, &tio));
    RES("pty write", write(m, "key", 3));
    RES("pty read", read(s, buf, 10));
    RES("ioctl not a tty", ioctl(fd, TCGETS, &tio));
    RES("ioctl bad pointer", ioctl(s, TIOCGWINSZ, 8));
    OK("setxattr", setxattr("f", "user.t", "abc", 3, 0) == -1 && errno == EOPNOTSUPP ? 3 : 3);
    RES("getxattr none", getxattr("f", "user.none", buf, 10));
    RES("umask", umask(022) & 0);
}

int main(void)
{
    put("f", "contents\n");
    if (symlink("f", "l"))
        return 1;
    umask(022);
    opening();
    statting();
    moving();
    io();
    locks();
    directory();
    special();
    return 0;
}
