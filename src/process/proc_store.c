/* proc_store.c: where stored translations are: the directory, a file for each guest file, and who
 * may write them. SPDX-License-Identifier: Apache-2.0
 *
 * What is in such a file, and why a wrong one can only be useless, says src/jit/jit_store.h. Here:
 *
 *  - The directory is /dev/shm/isomer-UID (if that is memory: gone at the next boot, and never part
 *    of a container's image) or what --translations names. It, and each file in it, is used only if
 *    it belongs to the effective user and nobody else may write to it; links are not followed.
 *  - A file's name is a hash of the guest file's identity (device, inode, size, time of change) and
 *    of what else code depends on. It is mapped for reading and its descriptor closed: a program
 *    never sees it.
 *  - It is never changed. Whoever has something new writes another one and renames it, at the end
 *    of the program or when it becomes another one. Of two who do so at once one loses what it had.
 *  - Nothing that goes wrong here is the program's business: then there is no store.
 *
 * Off where the program is of another user than who started it (set-user-ID), in the sandbox, and
 * where a debugger has to see its breakpoints.
 */
#include "process/proc_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define STORE_MEMORY "/dev/shm"
#define STORE_DEFAULT STORE_MEMORY "/isomer-"
#define STORE_TEMPORARY ".new-"

enum {
    STORE_SHARE = 4,                 /* of its file system at most one part in so many */
    STORE_MAX_MIB = 128,             /* and so much */
    STORE_FILE_SHARE = 2,            /* one file: one part in so many of that */
    STORE_USED_AFTER = 600,          /* s: how exactly its time says when it was used last */
    STORE_ABANDONED_AFTER = 60       /* s: then a temporary file is one whose writer was killed */
};

struct proc_store {
    char dir[PATH_MAX]; /* absolute */
    bool memory;        /* the default: only where it is memory */
    uint64_t key;
    uid_t user;
};

bool proc_store_wanted(const struct isomer_run_options *o)
{
    return !getauxval(AT_SECURE) && !o->sandbox.on && !o->gdb &&
           (!o->translations || strcmp(o->translations, "off") != 0);
}

static void store_where(struct proc_store *s, const char *translations)
{
    char cwd[PATH_MAX] = "";
    int n;

    s->user = geteuid();
    s->memory = !translations;
    if (!translations)
        n = snprintf(s->dir, sizeof s->dir, STORE_DEFAULT "%u", (unsigned)s->user);
    else if (translations[0] == '/')
        n = snprintf(s->dir, sizeof s->dir, "%s", translations);
    else /* the program may go elsewhere */
        n = snprintf(s->dir, sizeof s->dir, "%s/%s", getcwd(cwd, sizeof cwd) ? cwd : "",
                     translations);
    if (n >= (int)sizeof s->dir)
        s->dir[0] = 0; /* too long for a path: there is no such directory */
}

void proc_store_init(struct proc *p)
{
    uint64_t key;

    if (!jit_store_on(p->jit, &key))
        return;
    p->store = base_zalloc(sizeof *p->store);
    p->store->key = key;
    store_where(p->store, p->opt->translations);
}

const char *proc_store_option(const struct proc *p)
{
    return p->opt->translations && p->store ? p->store->dir : p->opt->translations;
}

/* ---- the directory --------------------------------------------------- */

static bool store_ours(const struct proc_store *s, const struct stat *st)
{
    return st->st_uid == s->user && geteuid() == s->user && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

/* In a tree made for a container or a chroot the directory may be a plain one on disk. */
static bool store_is_memory(const char *dir)
{
    struct statfs fs;

    return !statfs(dir, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* A descriptor, or -1. make: it may be made. */
static int store_dir(const struct proc_store *s, bool make)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;
    int fd;

    if (s->memory && !store_is_memory(STORE_MEMORY))
        return -1;
    fd = open(s->dir, flags);
    if (fd < 0 && make && errno == ENOENT && !mkdir(s->dir, 0700))
        fd = open(s->dir, flags);
    if (fd >= 0 && !fstat(fd, &st) && store_ours(s, &st))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void store_name(char *out, size_t size, uint64_t id)
{
    snprintf(out, size, "%016llx", (unsigned long long)id);
}

/* ---- reading --------------------------------------------------------- */

/* Maps the file for id; NULL: there is none that can be used. */
static void *store_open(const struct proc_store *s, uint64_t id, size_t *size)
{
    int dir = store_dir(s, false), fd = -1;
    void *data = MAP_FAILED;
    char name[32];
    struct stat st;

    if (dir < 0)
        return NULL;
    store_name(name, sizeof name, id);
    fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && store_ours(s, &st) && st.st_size > 0) {
        *size = (size_t)st.st_size;
        data = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (st.st_mtime + STORE_USED_AFTER < time(NULL))
            futimens(fd, NULL);
    }
    if (fd >= 0)
        close(fd);
    close(dir);
    return data == MAP_FAILED ? NULL : data;
}

static uint64_t store_id(const struct proc_store *s, const struct stat *st)
{
    const uint64_t parts[] = {(uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec};
    uint64_t id = s->key;

    for (size_t i = 0; i < BASE_ARRAY_SIZE(parts); i++)
        id = base_hash64(id ^ parts[i]) + i;
    return id;
}

void proc_store_map(struct proc *p, uint64_t addr, uint64_t len, int fd, uint64_t offset)
{
    struct stat st;
    size_t size = 0;
    uint64_t id;
    void *data;

    if (!p->store || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return;
    id = store_id(p->store, &st);
    if (!jit_store_knows(p->jit, id)) {
        data = store_open(p->store, id, &size);
        jit_store_file(p->jit, id, data, size);
    }
    jit_store_map(p->jit, id, addr, len, offset);
}

/* ---- writing --------------------------------------------------------- */

/* What the directory may hold, bytes. */
static uint64_t store_room(int dir)
{
    uint64_t room = (uint64_t)STORE_MAX_MIB << 20;
    struct statvfs v;

    if (fstatvfs(dir, &v))
        return 0;
    if (v.f_frsize * v.f_blocks / STORE_SHARE < room)
        room = v.f_frsize * v.f_blocks / STORE_SHARE;
    return room;
}

struct store_scan {
    uint64_t total;          /* bytes of all files */
    unsigned files;
    char oldest[32];         /* the one that has not been used for longest */
    time_t oldest_time;
};

/* Looks through the directory; what a killed writer has left is removed. */
static void store_look(int dir, const char *but, struct store_scan *scan)
{
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    struct dirent *e;
    struct stat st;

    memset(scan, 0, sizeof *scan);
    while (d && (e = readdir(d))) {
        bool temporary = !strncmp(e->d_name, STORE_TEMPORARY, sizeof STORE_TEMPORARY - 1);

        if (e->d_name[0] == '.' && !temporary)
            continue;
        if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (temporary && st.st_mtime + STORE_ABANDONED_AFTER < time(NULL) &&
            !unlinkat(dir, e->d_name, 0))
            continue;
        scan->total += (uint64_t)st.st_size;
        scan->files++;
        if (temporary || !strcmp(e->d_name, but) || strlen(e->d_name) >= sizeof scan->oldest ||
            (scan->oldest[0] && st.st_mtime >= scan->oldest_time))
            continue;
        strcpy(scan->oldest, e->d_name);
        scan->oldest_time = st.st_mtime;
    }
    if (d)
        closedir(d);
    else if (again >= 0)
        close(again);
}

/* Makes room for a file of size bytes in the place of name: what was not used for longest goes. */
static bool store_make_room(int dir, const char *name, uint64_t size)
{
    uint64_t room = store_room(dir);
    struct store_scan scan;

    for (;;) {
        store_look(dir, name, &scan);
        if (scan.total + size <= room)
            return true;
        if (!scan.oldest[0] || unlinkat(dir, scan.oldest, 0))
            return false;
    }
}

/* A file in the making. */
struct store_writer {
    int dir, fd;
    char name[32], temporary[64];
};

static bool store_begin(void *ctx, uint64_t size)
{
    struct store_writer *w = ctx;
    struct rlimit most;

    /* SIGXFSZ would be the program's end */
    if (!getrlimit(RLIMIT_FSIZE, &most) && most.rlim_cur < size)
        return false;
    if (size > store_room(w->dir) / STORE_FILE_SHARE || !store_make_room(w->dir, w->name, size))
        return false;
    snprintf(w->temporary, sizeof w->temporary, STORE_TEMPORARY "%d-%llx", (int)getpid(),
             (unsigned long long)base_now_ns());
    w->fd = openat(w->dir, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   0600);
    return w->fd >= 0 && !fchmod(w->fd, 0600);
}

static bool store_put(void *ctx, const void *bytes, size_t size)
{
    struct store_writer *w = ctx;
    const char *data = bytes;

    while (size) {
        ssize_t n = write(w->fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static void store_save_one(struct proc *p, int dir, uint64_t id)
{
    struct store_writer w = {.dir = dir, .fd = -1};
    size_t size = 0;
    void *old = store_open(p->store, id, &size);
    bool ok;

    store_name(w.name, sizeof w.name, id);
    ok = jit_store_merge(p->jit, id, old, size,
                         (struct jit_store_put){store_begin, store_put, &w});
    if (w.fd >= 0) {
        if (!ok || renameat(dir, w.temporary, dir, w.name))
            unlinkat(dir, w.temporary, 0);
        close(w.fd);
    }
    if (old)
        munmap(old, size);
}

void proc_store_save(struct proc *p)
{
    uint32_t n = 0;
    uint64_t id;
    int dir = -1, error = errno;

    if (!p->store || geteuid() != p->store->user)
        return;
    while (jit_store_next(p->jit, &n, &id)) {
        if (dir < 0 && (dir = store_dir(p->store, true)) < 0)
            break;
        store_save_one(p, dir, id);
    }
    if (dir >= 0)
        close(dir);
    errno = error;
}

/* ---- telling --------------------------------------------------------- */

void isomer_translations(const char *translations, struct isomer_translations *out)
{
    struct proc_store s = {0};
    struct store_scan scan;
    struct stat st;
    int dir;

    memset(out, 0, sizeof *out);
    if (translations && !strcmp(translations, "off")) {
        out->why = "switched off";
        return;
    }
    store_where(&s, translations);
    snprintf(out->dir, sizeof out->dir, "%s", s.dir);
    dir = store_dir(&s, true);
    if (dir < 0) {
        out->why = s.memory && !store_is_memory(STORE_MEMORY)
                       ? STORE_MEMORY " is not a file system in memory"
                   : stat(s.dir, &st) < 0 ? "it is not there and cannot be made"
                                          : "it is no directory of this user that others may not "
                                            "write to";
        return;
    }
    store_look(dir, "", &scan);
    out->files = scan.files;
    out->bytes = scan.total;
    out->room = store_room(dir);
    close(dir);
}
