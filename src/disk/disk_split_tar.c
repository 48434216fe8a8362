/* disk_split_tar.c: the files of a folder, spread over disks as tar archives.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A guest of any kind reads a tar archive straight from a disk (tar -xf /dev/vdb), with no file
 * system to agree on. Entries are ustar (POSIX.1-1988), names that do not fit have a GNU 'L' entry
 * before them and sizes of 8 GiB or more are in GNU's base 256. Whole files are spread, in
 * the order of their names, the folders that they are in are repeated on each disk.
 */
#include "disk/disk_split.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 512, COPY = 1 << 20, END = 2 * BLOCK };

struct tar_file {
    char *name;  /* below the folder */
    struct stat st;
    char *link;  /* of a symbolic link */
};

struct tar {
    BASE_VEC(struct tar_file) files;
    size_t folder_len;
    int failed;
};

/* ---- what there is --------------------------------------------------- */

static struct tar *collecting; /* nftw has no context */

static int collect(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct tar *t = collecting;
    struct tar_file f = {.st = *st};
    char link[4096];

    if (!ftw->level || (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISLNK(st->st_mode)))
        return 0; /* the folder itself; sockets, pipes and devices do not travel */
    if (type == FTW_DNR || type == FTW_NS) {
        base_error("%s: cannot be read", path);
        t->failed = 1;
        return 1;
    }
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(path, link, sizeof link - 1);

        if (n < 0)
            return 0;
        link[n] = 0;
        f.link = base_strdup(link);
    }
    f.name = base_strdup(path + t->folder_len + 1);
    base_vec_push(&t->files, f);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tar_file *)a)->name, ((const struct tar_file *)b)->name);
}

static uint64_t padded(uint64_t len)
{
    return BASE_ALIGN_UP(len, (uint64_t)BLOCK);
}

/* Bytes that an entry takes in an archive. */
static uint64_t entry_size(const struct tar_file *f)
{
    size_t name = strlen(f->name) + S_ISDIR(f->st.st_mode), link = f->link ? strlen(f->link) : 0;
    uint64_t size = BLOCK;

    if (name > 100)
        size += BLOCK + padded(name + 1);
    if (link > 100)
        size += BLOCK + padded(link + 1);
    return size + (S_ISREG(f->st.st_mode) ? padded((uint64_t)f->st.st_size) : 0);
}

/* ---- entries --------------------------------------------------------- */

struct writer {
    struct disk *d;
    uint64_t off;
    uint8_t *buf;
    struct base_text *error;
};

static int put(struct writer *w, const void *data, size_t len)
{
    int r = disk_write(w->d, w->off, data, len);

    w->off += padded(len); /* the disk is zero already */
    return r < 0 ? disk_error(w->error, r, disk_path(w->d), "%s", strerror(-r)) : 0;
}

static void octal(char *field, size_t size, uint64_t v)
{
    if (v >> 3 * (size - 1)) { /* GNU: a binary number with the first bit set */
        for (size_t i = size; i-- > 1; v >>= 8)
            field[i] = (char)v;
        field[0] = (char)0x80;
        return;
    }
    snprintf(field, size, "%0*llo", (int)size - 1, (unsigned long long)v);
}

static int put_header(struct writer *w, const char *name, const struct stat *st, char type,
                      uint64_t size, const char *link)
{
    char h[BLOCK] = {0};
    unsigned sum = 0;

    strncpy(h, name, 100);
    octal(h + 100, 8, st->st_mode & 07777);
    octal(h + 108, 8, st->st_uid);
    octal(h + 116, 8, st->st_gid);
    octal(h + 124, 12, size);
    octal(h + 136, 12, st->st_mtime < 0 ? 0 : (uint64_t)st->st_mtime);
    memset(h + 148, ' ', 8);
    h[156] = type;
    if (link)
        strncpy(h + 157, link, 100);
    memcpy(h + 257, "ustar  ", 8);
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    return put(w, h, BLOCK);
}

/* The name of the next entry is too long for its field. */
static int put_long(struct writer *w, char type, const char *text)
{
    static const struct stat none;
    int r = 0;

    if (strlen(text) > 100)
        r = put_header(w, "././@LongLink", &none, type, strlen(text) + 1, NULL);
    return !r && strlen(text) > 100 ? put(w, text, strlen(text) + 1) : r;
}

/* A file that changes while it is read keeps the size that its header says. */
static int put_content(struct writer *w, const char *path, uint64_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r = 0;
    uint64_t end = w->off + padded(size);

    if (fd < 0)
        return disk_error(w->error, -errno, path, "%s", strerror(errno));
    while (size && !r) {
        ssize_t n = read(fd, w->buf, size < COPY ? (size_t)size : COPY);

        if (n < 0)
            r = disk_error(w->error, -errno, path, "%s", strerror(errno));
        if (n <= 0)
            break;
        r = disk_is_zero(w->buf, (size_t)n) ? 0 : disk_write(w->d, w->off, w->buf, (size_t)n);
        if (r < 0)
            disk_error(w->error, r, disk_path(w->d), "%s", strerror(-r));
        w->off += (size_t)n;
        size -= (size_t)n;
    }
    close(fd);
    w->off = end;
    return r;
}

static int put_entry(struct writer *w, const char *folder, const struct tar_file *f)
{
    bool is_dir = S_ISDIR(f->st.st_mode), is_file = S_ISREG(f->st.st_mode);
    struct base_text name = {0}, path = {0};
    uint64_t size = is_file ? (uint64_t)f->st.st_size : 0;
    int r;

    base_text_printf(&name, "%s%s", f->name, is_dir ? "/" : "");
    base_text_printf(&path, "%s/%s", folder, f->name);
    r = put_long(w, 'L', name.data);
    if (!r && f->link)
        r = put_long(w, 'K', f->link);
    if (!r)
        r = put_header(w, name.data, &f->st, is_dir ? '5' : f->link ? '2' : '0', size, f->link);
    if (!r && size)
        r = put_content(w, path.data, size);
    base_text_free(&name);
    base_text_free(&path);
    return r;
}

/* ---- disks ----------------------------------------------------------- */

static bool is_folder(const struct tar_file *f)
{
    return S_ISDIR(f->st.st_mode);
}

/* How large each disk should be at most so that --parts of them suffice, or --size. */
static uint64_t capacity(const struct split *s, const struct tar *t)
{
    uint64_t files = 0, folders = END, largest = 0;

    if (s->o->part_size)
        return s->o->part_size;
    for (size_t i = 0; i < t->files.len; i++) {
        uint64_t n = entry_size(&t->files.data[i]);

        *(is_folder(&t->files.data[i]) ? &folders : &files) += n;
        largest = n > largest ? n : largest;
    }
    return folders + files / (s->o->parts ? s->o->parts : 1) + largest;
}

static int plan(struct split *s, const struct tar *t)
{
    uint64_t most = capacity(s, t), folders = END;
    struct split_part *p = NULL;

    for (size_t i = 0; i < t->files.len; i++)
        if (is_folder(&t->files.data[i]))
            folders += entry_size(&t->files.data[i]);
    for (size_t i = 0; i < t->files.len; i++) {
        const struct tar_file *f = &t->files.data[i];
        uint64_t n = is_folder(f) ? 0 : entry_size(f);

        if (folders + n > most)
            return disk_cmd_usage("disk split: %s does not fit on a disk of %llu bytes", f->name,
                                  (unsigned long long)most);
        if (!p || p->len + n > most) {
            if (s->parts.len >= SPLIT_MAX_PARTS)
                return disk_cmd_usage("disk split: more than %d disks", SPLIT_MAX_PARTS);
            p = split_add(s, NULL, 0);
            p->first = (unsigned)i;
            p->len = folders;
        }
        p->len += n;
        p->nfiles = (unsigned)i - p->first + 1;
    }
    return s->parts.len ? ISOMER_EXIT_OK : disk_cmd_usage("disk split: the folder is empty");
}

static int write_disk(struct split *s, const char *folder, const struct tar *t,
                      struct split_part *p, struct disk_progress *progress, uint64_t *done,
                      uint64_t all)
{
    uint64_t size = s->o->part_size ? s->o->part_size : p->len;
    struct base_text error = {0};
    struct disk_new n;
    struct writer w = {.buf = base_alloc(COPY), .error = &error};
    int r = split_begin(s, p, size, &n, &error);

    w.d = n.disk;
    for (size_t i = 0; i < t->files.len && !r; i++) {
        const struct tar_file *f = &t->files.data[i];

        if (is_folder(f) || (i >= p->first && i - p->first < p->nfiles))
            r = put_entry(&w, folder, f);
        if (!r && disk_progress_step(progress, *done + w.off, all))
            r = -ECANCELED;
    }
    *done += w.off;
    free(w.buf);
    if (r < 0)
        disk_new_abandon(&n);
    else
        r = disk_new_end(&n, NULL, NULL, &error);
    p->len = size;
    return r < 0 ? disk_cmd_fail(&error, p->path, r) : ISOMER_EXIT_OK;
}

static int write_disks(struct split *s, const char *folder, const struct tar *t,
                       struct disk_progress *progress)
{
    uint64_t done = 0, all = 0;
    int status = ISOMER_EXIT_OK;

    for (size_t i = 0; i < s->parts.len; i++) {
        all += s->parts.data[i].len;
        if (!s->o->force && access(s->parts.data[i].path, F_OK) == 0) {
            base_error("%s: is there already: choose another prefix, or say --force",
                       s->parts.data[i].path);
            return ISOMER_EXIT_FAILURE;
        }
    }
    for (size_t i = 0; i < s->parts.len && status == ISOMER_EXIT_OK; i++)
        status = write_disk(s, folder, t, &s->parts.data[i], progress, &done, all);
    return status;
}

int split_folder(struct split *s, const char *folder, struct disk_progress *progress)
{
    struct tar t = {.folder_len = strlen(folder)};
    int status;

    if (s->o->layout || s->o->compress || (!s->o->parts && !s->o->part_size))
        return disk_cmd_usage("disk split: a folder is split by --parts or --size, without "
                              "--layout and -c");
    while (t.folder_len > 1 && folder[t.folder_len - 1] == '/')
        t.folder_len--;
    collecting = &t;
    if (nftw(folder, collect, 64, FTW_PHYS) < 0 && !t.failed) {
        base_error("%s: %s", folder, strerror(errno));
        t.failed = 1;
    }
    qsort(t.files.data, t.files.len, sizeof *t.files.data, by_name);
    status = t.failed ? ISOMER_EXIT_FAILURE : plan(s, &t);
    if (status == ISOMER_EXIT_OK)
        status = write_disks(s, folder, &t, progress);
    for (size_t i = 0; i < t.files.len; i++) {
        free(t.files.data[i].name);
        free(t.files.data[i].link);
    }
    base_vec_free(&t.files);
    return status;
}
