/* fuzz_disk_commands.c: what changes an image as a whole, in any order. SPDX-License-Identifier: Apache-2.0
 *
 * Resize, commit, rebase, snapshots, with writes between them: on a sound image, which must stay
 * sound and keep its first bytes, and on a damaged one, which is opened for writing as it is. There
 * nothing is promised but an end, bounds and one clear line for each error.
 */
#include "fuzz_disk.h"

enum { COMMANDS = 8, HEAD = 4 << 10, MAX_STEPS = 500 };

struct session {
    struct fuzz_use *u;
    struct disk *d;
    bool sound, failed;
    size_t n; /* of head */
    uint8_t head[HEAD];
    unsigned steps;
};

static uint64_t some(struct session *s, uint64_t n)
{
    return n ? base_rand(&s->u->seed) % n : 0;
}

/* An image may say that it has petabytes: whoever waits for a command may stop it. */
static int progress(void *context, uint64_t done, uint64_t all)
{
    struct session *s = context;

    return ++s->steps > MAX_STEPS;
}

static int resize(struct session *s, struct base_text *error)
{
    uint64_t size = disk_size(s->d), to = size;

    switch (some(s, 4)) {
    case 0: to = size + some(s, 1 << 20); break;
    case 1: to = some(s, UINT64_MAX); break;
    case 2: to = HEAD + some(s, 2 << 20); break;
    default: to = size - some(s, size / 4 + 1);
    }
    if (s->sound && to < HEAD)
        to = HEAD;
    return disk_resize(s->d, to, some(s, 4) ? DISK_RESIZE_SHRINK : 0, error);
}

static int rebase(struct session *s, struct base_text *error)
{
    static const char *const names[] = {NULL, "base.raw", "base.qcow2", "image", "nowhere",
                                        "base.raw"};
    static const char *const formats[] = {NULL, "raw", "qcow2", "qcow2", "raw", "qcow2"};
    uint64_t i = some(s, 6);

    /* unsafe changes what it reads, as it says */
    return disk_rebase(s->d, names[i], formats[i], !s->sound && some(s, 2), progress, s, error);
}

static int snapshot(struct session *s, struct base_text *error)
{
    struct disk_snapshot *list;
    uint64_t what = some(s, 4);
    char id[64] = "1";
    unsigned n;
    int r = disk_snapshot_list(s->d, &list, &n);

    if (!r && n)
        memcpy(id, list[some(s, n)].id, sizeof id);
    if (!r)
        free(list);
    if (what < 2)
        return disk_snapshot_create(s->d, what ? "one" : "another", error);
    return what == 2 ? disk_snapshot_delete(s->d, id, error)
                     : disk_snapshot_revert(s->d, id, error);
}

static int write_some(struct session *s)
{
    static uint8_t buf[HEAD];
    uint64_t size = disk_size(s->d), n = 1 + some(s, HEAD), off = some(s, size);

    for (size_t i = 0; i < n; i++)
        buf[i] = (uint8_t)base_rand(&s->u->seed);
    n = n < size - off ? n : size - off;
    return size ? disk_write(s->d, off, buf, (size_t)n) : 0;
}

/* What follows may change what is there: it is read anew. */
static void look(struct session *s)
{
    s->n = disk_size(s->d) < HEAD ? (size_t)disk_size(s->d) : HEAD;
    s->failed = s->failed || (s->n && disk_read(s->d, 0, s->head, s->n) < 0);
}

static bool holds(struct session *s, const char *what)
{
    static uint8_t now[HEAD];

    if (!s->sound || s->failed)
        return true;
    if (disk_read(s->d, 0, now, s->n) < 0 || memcmp(now, s->head, s->n) != 0)
        return fuzz_fail(s->u, "after %s the first bytes are others", what);
    return true;
}

static bool command(struct session *s)
{
    struct base_text error = {0};
    const char *what;
    bool own_words = true, ok = true;
    int r;

    s->steps = 0;
    switch (some(s, 5)) {
    case 0: what = "resize"; r = resize(s, &error); break;
    case 1: what = "commit"; r = disk_commit(s->d, progress, s, &error); break;
    case 2: what = "rebase"; r = rebase(s, &error); break;
    case 3: what = "snapshot"; r = snapshot(s, &error); break;
    default: what = "write"; r = write_some(s); own_words = false;
    }
    if (getenv("FUZZ_TRACE"))
        fprintf(stderr, "# %s: %d %s\n", what, r, error.len ? error.data : "");
    if (r < 0 && own_words && (!error.len || !fuzz_line_is_clear(error.data)))
        ok = fuzz_fail(s->u, "%s: no clear line for error %d", what, -r);
    s->failed = s->failed || (r < 0 && !own_words);
    if (ok && !r && own_words && strcmp(what, "snapshot") != 0)
        ok = holds(s, what);
    base_text_free(&error);
    look(s);
    return ok;
}

static bool still_sound(struct session *s)
{
    struct disk_check_result c = {0};
    int r = disk_check(s->d, DISK_REPAIR_NONE, &c);

    if (r || c.corruptions || c.errors)
        return fuzz_fail(s->u, "after commands: check %d, %llu corruptions, %llu errors", r,
                         (unsigned long long)c.corruptions, (unsigned long long)c.errors);
    return true;
}

static bool open_copy(struct session *s, bool write)
{
    struct disk_open_options o = {.format = "qcow2", .read_only = !write, .no_repair = !write,
                                  .file_ops = &fuzz_fs_ops, .password = fuzz_password,
                                  .meta_cache = 64 << 10, .cluster_cache = 256 << 10};

    return disk_open(fuzz_fs_path(FUZZ_COPY), &o, &s->d, NULL) == 0;
}

bool fuzz_use_commands(struct fuzz_use *u, bool sound)
{
    struct session s = {.u = u, .sound = sound};
    bool ok = true;

    if (!open_copy(&s, true))
        return true;
    look(&s);
    for (unsigned i = 0; i < COMMANDS && ok; i++)
        ok = command(&s);
    disk_close(s.d);
    if (ok && sound) {
        if (!open_copy(&s, false))
            return fuzz_fail(u, "after commands it cannot be opened");
        ok = still_sound(&s);
        disk_close(s.d);
    }
    return ok;
}
