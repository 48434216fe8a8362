/* native_root.c: run a program inside a native root. SPDX-License-Identifier: Apache-2.0
 *
 * usage: native-root [-t FILE] [ROOT] -- PROGRAM [ARGUMENT...]
 *
 * The native twins of the emulated programs need their own C library, so they run with ROOT
 * as their root directory, in a mount namespace of their own; whoever may not make one gets there
 * through a user namespace. Everything of the host that ROOT does not have itself (home,
 * tmp, proc, dev, the directory of the project) is visible at its usual place, so that both
 * twins see the same files under the same names.
 *
 * -t FILE writes "user system wall maxrss" (seconds, KiB) of the program and its children:
 * what it cost without the cost of getting there. Exit status as of the program, or 125 if
 * the root cannot be entered.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_CANNOT_ENTER 125

static void die(const char *what)
{
    fprintf(stderr, "native-root: %s: %s\n", what, strerror(errno));
    exit(EXIT_CANNOT_ENTER);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    ssize_t length = (ssize_t)strlen(text);

    if (fd < 0 || write(fd, text, (size_t)length) != length)
        die(path);
    close(fd);
}

/* Directories that belong to the root; all others of the host are shown inside it. */
static bool of_root(const char *name)
{
    static const char *const own[] = {".",   "..",  "usr", "bin",  "sbin", "lib",   "lib32",
                                      "lib64", "libx32", "etc", "var", "boot", "lost+found"};

    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(name, own[i]) == 0)
            return true;
    return false;
}

static void show_host(const char *root)
{
    DIR *dir = opendir("/");
    struct dirent *entry;
    char from[512], to[4096];
    struct stat st;

    if (!dir)
        die("/");
    while ((entry = readdir(dir))) {
        if (of_root(entry->d_name))
            continue;
        snprintf(from, sizeof from, "/%s", entry->d_name);
        snprintf(to, sizeof to, "%s/%s", root, entry->d_name);
        if (lstat(from, &st) != 0 || !S_ISDIR(st.st_mode))
            continue;
        mkdir(to, 0755);
        if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) != 0 && errno != ENOENT &&
            errno != EACCES && errno != EPERM)
            die(to);
    }
    closedir(dir);
}

/* Whether what is mounted at `place` is shared with other namespaces (proc(5), mountinfo:
 * the fifth field is the place, optional fields follow up to "-"). */
static bool is_shared(const char *place)
{
    FILE *list = fopen("/proc/self/mountinfo", "re");
    char line[8192], at[4096];
    bool shared = false;

    if (!list)
        return true;
    while (fgets(line, sizeof line, list))
        if (sscanf(line, "%*s %*s %*s %*s %4095s", at) == 1 && strcmp(at, place) == 0)
            shared = strstr(line, " shared:") != NULL;
    fclose(list);
    return shared;
}

/* Nothing mounted from here on may be seen outside. Inside a chroot "/" is no mount that
 * could be made private; then the root becomes one, if that stays inside. */
static void make_private(const char *root)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return;
    if (errno != EINVAL || mount(root, root, NULL, MS_BIND | MS_REC, NULL) != 0)
        die("cannot make mounts private");
    if (is_shared(root)) {
        umount2(root, MNT_DETACH);
        errno = EINVAL;
        die("cannot make mounts private");
    }
}

static void enter(const char *root)
{
    char cwd[4096], map[64];
    unsigned uid = geteuid(), gid = getegid();

    if (!getcwd(cwd, sizeof cwd))
        die("current directory");
    if (uid != 0 || unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWNS | CLONE_NEWUSER) != 0)
            die("cannot make a mount namespace");
        write_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "%u %u 1", uid, uid);
        write_file("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "%u %u 1", gid, gid);
        write_file("/proc/self/gid_map", map);
    }
    make_private(root);
    show_host(root);
    if (chroot(root) != 0)
        die(root);
    setenv("PATH", "/usr/bin:/usr/sbin", 1); /* the host's may lead out of the root */
    if (chdir(cwd) != 0 && chdir("/") != 0)
        die("/");
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Runs argv, writes its cost, and ends as it ended. */
static int timed(FILE *report, char **argv)
{
    double start = now();
    pid_t child = fork();
    struct rusage use;
    int status;

    if (child < 0)
        die("fork");
    if (child == 0) {
        execvp(argv[0], argv);
        _exit(errno == ENOENT ? 127 : 126);
    }
    signal(SIGINT, SIG_IGN);
    if (waitpid(child, &status, 0) < 0)
        die("wait");
    getrusage(RUSAGE_CHILDREN, &use);
    fprintf(report, "%.6f %.6f %.6f %ld\n", seconds(use.ru_utime), seconds(use.ru_stime),
            now() - start, use.ru_maxrss);
    fclose(report);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
        return 128 + WTERMSIG(status);
    }
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    FILE *report = NULL;
    const char *root = NULL;
    int i = 1;

    if (i + 1 < argc && strcmp(argv[i], "-t") == 0) {
        report = fopen(argv[i + 1], "we");
        if (!report)
            die(argv[i + 1]);
        i += 2;
    }
    if (i < argc && strcmp(argv[i], "--") != 0)
        root = argv[i++];
    if (i + 1 >= argc || strcmp(argv[i], "--") != 0) {
        fprintf(stderr, "usage: native-root [-t FILE] [ROOT] -- PROGRAM [ARGUMENT...]\n");
        return EXIT_CANNOT_ENTER;
    }
    argv += i + 1;
    if (root)
        enter(root);
    if (report)
        return timed(report, argv);
    execvp(argv[0], argv);
    fprintf(stderr, "native-root: %s: %s\n", argv[0], strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
