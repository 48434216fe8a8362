/* disk_tool.c: the library of disks by hand, for scripts. SPDX-License-Identifier: Apache-2.0
 *
 * usage: disk_tool VERB IMAGE [ARGUMENT...]; see the table below. FORMAT "-" finds out. The
 * passphrase of encrypted images is $DISK_PASSWORD. Results on standard output, one line
 * "disk_tool: ..." and exit status 1 for what the library refuses.
 */
#include "disk/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct base_text why;

static int password(void *context, const char *path, uint8_t *buf, size_t cap)
{
    const char *p = getenv("DISK_PASSWORD");

    if (!p || strlen(p) > cap)
        return -EACCES;
    memcpy(buf, p, strlen(p));
    return (int)strlen(p);
}

static int fail(int r)
{
    fprintf(stderr, "disk_tool: %s\n", why.len ? why.data : strerror(-r));
    return 1;
}

static int open_image(char **v, bool writable, struct disk **d)
{
    struct disk_open_options o = {.format = strcmp(v[1], "-") ? v[1] : NULL,
                                  .read_only = !writable, .password = password};

    return disk_open(v[0], &o, d, &why);
}

/* ---- verbs: v[0] is the image ---------------------------------------- */

static void option(struct disk_create_options *o, const char *arg)
{
    char *value = strchr(arg, '=');

    BASE_ASSERT(value);
    *value++ = 0;
    if (!strcmp(arg, "encrypt"))
        o->encrypt = atoi(value), o->pbkdf_ms = 20;
    else if (!strcmp(arg, "cluster"))
        o->cluster_size = (uint32_t)strtoul(value, NULL, 0);
    else if (!strcmp(arg, "extl2"))
        o->extended_l2 = atoi(value) ? DISK_ON : DISK_OFF;
    else if (!strcmp(arg, "version"))
        o->version = (unsigned)atoi(value);
    else if (!strcmp(arg, "refcount"))
        o->refcount_bits = (unsigned)atoi(value);
    else if (!strcmp(arg, "compression"))
        o->compression = strcmp(value, "zstd") ? DISK_ZLIB : DISK_ZSTD;
    else if (!strcmp(arg, "backing"))
        o->backing = value;
    else if (!strcmp(arg, "backing_format"))
        o->backing_format = value;
    else if (!strcmp(arg, "data_file"))
        o->data_file = value;
    else if (!strcmp(arg, "subformat"))
        o->subformat = value;
    else
        base_bug(__FILE__, __LINE__, "option %s", arg);
}

/* create IMAGE FORMAT SIZE [OPTION=VALUE...] */
static int do_create(char **v, int n)
{
    struct disk_create_options o = {.format = v[1], .size = strtoull(v[2], NULL, 0),
                                    .size_set = true, .password = password, .pbkdf_ms = 20};

    for (int i = 3; i < n; i++)
        option(&o, v[i]);
    return disk_create(v[0], &o, &why);
}

/* info IMAGE FORMAT */
static int do_info(char **v, int n)
{
    struct disk_info i;
    struct disk *d;
    int r = open_image(v, false, &d);

    if (r)
        return r;
    r = disk_get_info(d, &i);
    printf("format: %s\nsize: %llu\nsnapshots: %u\nbitmaps: %u\nencrypted: %d\ncompressed: %d\n",
           i.format, (unsigned long long)i.size, i.snapshots, i.bitmaps, i.encrypted,
           i.compressed);
    printf("geometry: %u/%u/%u\n", i.geometry.cylinders, i.geometry.heads, i.geometry.sectors);
    for (unsigned k = 0; k < i.nfacts; k++)
        if (i.facts[k].type == DISK_FACT_TEXT)
            printf("%s: %s\n", i.facts[k].name, i.facts[k].text);
        else
            printf("%s: %llu\n", i.facts[k].name, (unsigned long long)i.facts[k].number);
    disk_close(d);
    return r;
}

/* cat IMAGE FORMAT: all of it */
static int do_cat(char **v, int n)
{
    static uint8_t buf[1 << 20];
    struct disk *d;
    int r = open_image(v, false, &d);

    if (r)
        return r;
    for (uint64_t off = 0; !r && off < disk_size(d);) {
        size_t len = disk_size(d) - off < sizeof buf ? disk_size(d) - off : sizeof buf;

        r = disk_read(d, off, buf, len);
        if (!r && fwrite(buf, 1, len, stdout) != len)
            r = -EIO;
        off += len;
    }
    disk_close(d);
    return r;
}

/* map IMAGE FORMAT: "off len kind depth" lines */
static int do_map(char **v, int n)
{
    static const char *const kinds[] = {"none", "zero", "data"};
    struct disk_extent e;
    struct disk *d;
    int r = open_image(v, false, &d);

    if (r)
        return r;
    for (uint64_t off = 0; !r && off < disk_size(d); off += e.len) {
        r = disk_map(d, off, disk_size(d) - off, &e);
        if (!r)
            printf("%llu %llu %s %u\n", (unsigned long long)off, (unsigned long long)e.len,
                   kinds[e.kind], e.depth);
    }
    disk_close(d);
    return r;
}

/* write IMAGE FORMAT [OFFSET LENGTH BYTE]... */
static int do_write(char **v, int n)
{
    struct disk *d;
    int r = open_image(v, true, &d), closed;

    if (r)
        return r;
    for (int i = 2; !r && i + 2 < n; i += 3) {
        size_t len = strtoull(v[i + 1], NULL, 0);
        uint8_t *buf = base_alloc(len);

        memset(buf, (int)strtoul(v[i + 2], NULL, 0), len);
        r = disk_write(d, strtoull(v[i], NULL, 0), buf, len);
        free(buf);
    }
    closed = disk_close_result(d);
    return r ? r : closed;
}

/* fill IMAGE FORMAT [compressed]: standard input, from the begin on */
static int do_fill(char **v, int n)
{
    static uint8_t buf[1 << 20];
    struct iovec iov = {buf, 0};
    struct disk *d;
    int r = open_image(v, true, &d), closed;

    if (r)
        return r;
    for (uint64_t off = 0; !r && (iov.iov_len = fread(buf, 1, sizeof buf, stdin)) > 0;
         off += iov.iov_len)
        r = disk_writev(d, off, &iov, 1, n > 2 ? DISK_REQ_COMPRESSED : 0);
    closed = disk_close_result(d);
    return r ? r : closed;
}

/* check IMAGE FORMAT [REPAIR] */
static void report(void *context, const char *line)
{
    printf("%s\n", line);
}

static int do_check(char **v, int n)
{
    struct disk_check_result c = {.report = report};
    struct disk *d;
    int r = open_image(v, n > 2, &d);

    if (r)
        return r;
    r = disk_check(d, n > 2 ? DISK_REPAIR_ALL : DISK_REPAIR_NONE, &c);
    printf("corruptions: %llu\nleaks: %llu\n", (unsigned long long)c.corruptions,
           (unsigned long long)c.leaks);
    disk_close(d);
    return r;
}

/* snapshot IMAGE FORMAT list|create|delete|revert|cat [NAME] */
static int do_snapshot(char **v, int n)
{
    struct disk_snapshot *list;
    struct disk *d;
    unsigned count;
    int r = open_image(v, strcmp(v[2], "list") && strcmp(v[2], "cat"), &d), closed;

    if (r)
        return r;
    if (!strcmp(v[2], "list")) {
        r = disk_snapshot_list(d, &list, &count);
        for (unsigned i = 0; !r && i < count; i++)
            printf("%s %s %llu\n", list[i].id, list[i].name, (unsigned long long)list[i].size);
        free(list);
    } else if (!strcmp(v[2], "create")) {
        r = disk_snapshot_create(d, v[3], &why);
    } else if (!strcmp(v[2], "delete")) {
        r = disk_snapshot_delete(d, v[3], &why);
    } else {
        r = disk_snapshot_revert(d, v[3], &why);
    }
    closed = disk_close_result(d);
    return r ? r : closed;
}

/* bitmap IMAGE FORMAT list|add|remove|clear|enable|disable|merge|dirty [NAME] [GRANULARITY|FROM] */
static int bitmap_dirty(struct disk *d, const char *name)
{
    uint64_t start, len;
    int r;

    for (uint64_t off = 0; !(r = disk_bitmap_next(d, name, off, &start, &len, &why)) && len;
         off = start + len)
        printf("%llu %llu\n", (unsigned long long)start, (unsigned long long)len);
    return r;
}

static int bitmap_list(struct disk *d)
{
    struct disk_bitmap *list;
    unsigned count;
    int r = disk_bitmap_list(d, &list, &count);

    for (unsigned i = 0; !r && i < count; i++)
        printf("%s %u%s%s %llu\n", list[i].name, list[i].granularity,
               list[i].enabled ? " auto" : "", list[i].in_use ? " in-use" : "",
               (unsigned long long)list[i].dirty);
    free(list);
    return r;
}

static int do_bitmap(char **v, int n)
{
    const char *verb = v[2];
    struct disk *d;
    int r = open_image(v, strcmp(verb, "list") && strcmp(verb, "dirty"), &d), closed;

    if (r)
        return r;
    if (!strcmp(verb, "list"))
        r = bitmap_list(d);
    else if (!strcmp(verb, "dirty"))
        r = bitmap_dirty(d, v[3]);
    else if (!strcmp(verb, "add"))
        r = disk_bitmap_add(d, v[3], n > 4 ? (uint32_t)atoi(v[4]) : 0, &why);
    else if (!strcmp(verb, "remove"))
        r = disk_bitmap_remove(d, v[3], &why);
    else if (!strcmp(verb, "clear"))
        r = disk_bitmap_clear(d, v[3], &why);
    else if (!strcmp(verb, "merge"))
        r = disk_bitmap_merge(d, v[3], d, v[4], &why);
    else
        r = disk_bitmap_enable(d, v[3], !strcmp(verb, "enable"), &why);
    closed = disk_close_result(d);
    return r ? r : closed;
}

static const struct {
    const char *name;
    int (*run)(char **v, int n);
    int min;
} verbs[] = {
    {"create", do_create, 3}, {"info", do_info, 2},         {"cat", do_cat, 2},
    {"map", do_map, 2},       {"write", do_write, 2},       {"fill", do_fill, 2},
    {"check", do_check, 2},   {"snapshot", do_snapshot, 3}, {"bitmap", do_bitmap, 3},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc > 1 && i < BASE_ARRAY_SIZE(verbs); i++)
        if (!strcmp(argv[1], verbs[i].name) && argc - 2 >= verbs[i].min) {
            int r = verbs[i].run(argv + 2, argc - 2);

            return r ? fail(r) : 0;
        }
    fprintf(stderr, "usage: disk_tool VERB IMAGE FORMAT [ARGUMENT...]\n");
    return 2;
}
