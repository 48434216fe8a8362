/* disk_lock.c: who may open an image. SPDX-License-Identifier: Apache-2.0
 *
 * Open-file-description locks, which belong to the open file and so to a disk, not to the process.
 * The bytes are QEMU's (block/file-posix.c, raw_apply_lock_bytes): whoever uses a permission holds
 * a read lock on byte 100 + permission; whoever will not share it, on byte 200 + permission.
 * Read locks never collide; each side takes its own and then looks (F_OFD_GETLK for a write lock)
 * whether anyone holds the opposite. So Isomer and QEMU keep each other out of one image.
 *
 * The kernel does not say who holds such a lock; /proc/PID/fdinfo does, for the processes that we
 * may look into.
 */
#include "disk/disk_driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { LOCK_USED = 100, LOCK_NOT_SHARED = 200 };
enum { PERM_READ = 1 << 0, PERM_WRITE = 1 << 1, PERM_RESIZE = 1 << 3, PERMS = 5 };

static int lock_byte(int fd, off_t byte, short type, int command, bool *taken)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    if (fcntl(fd, command, &l) < 0)
        return -errno;
    if (taken)
        *taken = l.l_type != F_UNLCK;
    return 0;
}

/* ---- who holds it ---------------------------------------------------- */

/* Does that fdinfo tell of a lock on our bytes of the file? */
static bool info_has_lock(const char *path, const char *file)
{
    FILE *f = fopen(path, "re");
    char line[256];
    bool found = false;

    while (f && !found && fgets(line, sizeof line, f)) {
        unsigned long from, to;
        char *at = strstr(line, file);

        if (strncmp(line, "lock:", 5) || !strstr(line, "OFDLCK") || !at)
            continue;
        if (sscanf(at + strlen(file), " %lu %lu", &from, &to) == 2)
            found = to >= LOCK_USED && from < LOCK_NOT_SHARED + PERMS;
    }
    if (f)
        fclose(f);
    return found;
}

static bool process_has_lock(const char *pid, const char *file)
{
    char path[64 + 512];
    bool found = false;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%.20s/fdinfo", pid);
    dir = opendir(path);
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        snprintf(path, sizeof path, "/proc/%.20s/fdinfo/%.255s", pid, e->d_name);
        found = e->d_name[0] != '.' && info_has_lock(path, file);
    }
    if (dir)
        closedir(dir);
    return found;
}

/* Writes "process 123 (name)" or what is known. */
static void say_holder(struct disk_file *f, struct base_text *error)
{
    char file[64], self[24], path[64], name[64] = "";
    DIR *dir = opendir("/proc");

    snprintf(file, sizeof file, " %02x:%02x:%lu", major(f->dev), minor(f->dev),
             (unsigned long)f->ino);
    snprintf(self, sizeof self, "%d", (int)getpid());
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || !process_has_lock(e->d_name, file))
            continue;
        if (!strcmp(e->d_name, self))
            continue; /* reported last: our own lock of this attempt is among them */
        snprintf(path, sizeof path, "/proc/%.20s/comm", e->d_name);
        FILE *comm = fopen(path, "re");
        if (comm && fgets(name, sizeof name, comm))
            name[strcspn(name, "\n")] = 0;
        if (comm)
            fclose(comm);
        base_text_printf(error, "process %.20s (%s)", e->d_name, name);
        closedir(dir);
        return;
    }
    if (dir)
        closedir(dir);
    base_text_printf(error, "this process, or one that cannot be looked into");
}

/* ---- taking it ------------------------------------------------------- */

int disk_file_lock(struct disk_file *f, enum disk_lock lock, struct base_text *error)
{
    unsigned used = lock == DISK_LOCK_WRITE ? PERM_READ | PERM_WRITE | PERM_RESIZE : PERM_READ;
    unsigned alone = PERM_WRITE | PERM_RESIZE; /* nobody else may do that meanwhile */
    bool taken = false;
    int r = 0;

    if (lock == DISK_LOCK_NONE || f->fd < 0)
        return 0;
    for (unsigned p = 0; p < PERMS && !r; p++) {
        if (used & 1u << p)
            r = lock_byte(f->fd, LOCK_USED + p, F_RDLCK, F_OFD_SETLK, NULL);
        if (!r && alone & 1u << p)
            r = lock_byte(f->fd, LOCK_NOT_SHARED + p, F_RDLCK, F_OFD_SETLK, NULL);
    }
    for (unsigned p = 0; p < PERMS && !r && !taken; p++) {
        if (used & 1u << p)
            r = lock_byte(f->fd, LOCK_NOT_SHARED + p, F_WRLCK, F_OFD_GETLK, &taken);
        if (!r && !taken && alone & 1u << p)
            r = lock_byte(f->fd, LOCK_USED + p, F_WRLCK, F_OFD_GETLK, &taken);
    }
    if (r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP)
        return 0; /* a file system without locks */
    if (r < 0)
        return disk_error(error, r, f->path, "cannot be locked: %s", strerror(-r));
    if (!taken)
        return 0;
    if (error) {
        base_text_printf(error, "%s: in use by ", f->path);
        say_holder(f, error);
        base_text_printf(error, "; %s must close it first",
                         lock == DISK_LOCK_WRITE ? "who else has it open" : "who writes it");
    }
    return -EAGAIN;
}
