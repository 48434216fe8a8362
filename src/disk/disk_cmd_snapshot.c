/* disk_cmd_snapshot.c: isomer disk snapshot, bitmap. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_cmd.h"

#include <time.h>

/* Says what was done, as JSON or not at all. */
static int done(const struct isomer_disk_options *o, const char *verb, char **argv, int argc)
{
    struct disk_json j = {0};

    if (!o->json)
        return ISOMER_EXIT_OK;
    disk_json_object(&j, NULL);
    disk_json_string(&j, "filename", argv[0]);
    disk_json_string(&j, verb, argc > 1 ? argv[1] : NULL);
    disk_json_end(&j);
    disk_json_print(&j, stdout);
    return ISOMER_EXIT_OK;
}

/* One change of an image by a function of disk.h that takes a name. */
typedef int change_fn(struct disk *d, const struct isomer_disk_options *o, char **argv, int argc,
                      struct base_text *error);

static int change(const struct isomer_disk_options *o, int argc, char **argv, const char *verb,
                  change_fn *fn)
{
    struct disk *d = disk_cmd_open(o, argv[0], o->format, true);
    struct base_text error = {0};
    int r, status;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    r = fn(d, o, argv, argc, &error);
    status = disk_cmd_close(d, r < 0 ? disk_cmd_fail(&error, argv[0], r) : ISOMER_EXIT_OK);
    return status ? status : done(o, verb, argv, argc);
}

/* ---- snapshots ------------------------------------------------------- */

static int snapshot_create(struct disk *d, const struct isomer_disk_options *o, char **argv,
                           int argc, struct base_text *error)
{
    return disk_snapshot_create(d, argv[1], error);
}

static int snapshot_delete(struct disk *d, const struct isomer_disk_options *o, char **argv,
                           int argc, struct base_text *error)
{
    return disk_snapshot_delete(d, argv[1], error);
}

static int snapshot_revert(struct disk *d, const struct isomer_disk_options *o, char **argv,
                           int argc, struct base_text *error)
{
    return disk_snapshot_revert(d, argv[1], error);
}

int isomer_disk_snapshot_create(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "created", snapshot_create);
}

int isomer_disk_snapshot_delete(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "deleted", snapshot_delete);
}

int isomer_disk_snapshot_revert(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "reverted", snapshot_revert);
}

static void snapshots_json(const struct disk_snapshot *list, unsigned n)
{
    struct disk_json j = {0};

    disk_json_array(&j, NULL);
    for (unsigned i = 0; i < n; i++) {
        disk_json_object(&j, NULL);
        disk_json_string(&j, "id", list[i].id);
        disk_json_string(&j, "name", list[i].name);
        disk_json_number(&j, "virtual-size", list[i].size);
        disk_json_number(&j, "vm-state-size", list[i].vm_state_size);
        disk_json_number(&j, "date-sec", list[i].seconds);
        disk_json_number(&j, "date-nsec", list[i].nanoseconds);
        disk_json_number(&j, "vm-clock-nsec", list[i].vm_clock_ns);
        disk_json_end(&j);
    }
    disk_json_end(&j);
    disk_json_print(&j, stdout);
}

static void snapshots_text(const struct disk_snapshot *list, unsigned n)
{
    char when[32], size[DISK_SIZE_TEXT];

    if (n)
        printf("%-5s %-24s %-20s %s\n", "id", "name", "taken", "size of the disk");
    for (unsigned i = 0; i < n; i++) {
        time_t t = (time_t)list[i].seconds;
        struct tm tm;

        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
        printf("%-5s %-24s %-20s %s\n", list[i].id, list[i].name, when,
               disk_size_text(list[i].size, size));
    }
}

int isomer_disk_snapshot_list(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *d = disk_cmd_open(o, argv[0], o->format, false);
    struct disk_snapshot *list;
    unsigned n;
    int r;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    r = disk_snapshot_list(d, &list, &n);
    if (r == 0 && o->json)
        snapshots_json(list, n);
    else if (r == 0)
        snapshots_text(list, n);
    if (r == 0)
        free(list);
    disk_close(d);
    return r < 0 ? disk_cmd_fail(NULL, argv[0], r) : ISOMER_EXIT_OK;
}

/* ---- bitmaps --------------------------------------------------------- */

static int bitmap_add(struct disk *d, const struct isomer_disk_options *o, char **argv,
                      int argc, struct base_text *error)
{
    uint64_t granularity = o->granularity;
    int r;

    if (argc > 2 && !isomer_parse_size(argv[2], &granularity))
        granularity = UINT64_MAX;
    if (granularity > UINT32_MAX)
        return disk_error(error, -EINVAL, argv[0], "a granularity is a power of two from 512 to "
                          "2G");
    r = disk_bitmap_add(d, argv[1], (uint32_t)granularity, error);
    return r || !o->disabled ? r : disk_bitmap_enable(d, argv[1], false, error);
}

static int bitmap_remove(struct disk *d, const struct isomer_disk_options *o, char **argv,
                         int argc, struct base_text *error)
{
    return disk_bitmap_remove(d, argv[1], error);
}

static int bitmap_clear(struct disk *d, const struct isomer_disk_options *o, char **argv,
                        int argc, struct base_text *error)
{
    return disk_bitmap_clear(d, argv[1], error);
}

static int bitmap_enable(struct disk *d, const struct isomer_disk_options *o, char **argv,
                         int argc, struct base_text *error)
{
    return disk_bitmap_enable(d, argv[1], true, error);
}

static int bitmap_disable(struct disk *d, const struct isomer_disk_options *o, char **argv,
                          int argc, struct base_text *error)
{
    return disk_bitmap_enable(d, argv[1], false, error);
}

static int bitmap_merge(struct disk *d, const struct isomer_disk_options *o, char **argv,
                        int argc, struct base_text *error)
{
    struct disk *src = d;
    int r;

    if (o->source) {
        struct disk_open_options open;

        disk_cmd_open_options(o, &open);
        open.format = o->backing_format;
        open.read_only = open.no_backing = true;
        r = disk_open(o->source, &open, &src, error);
        if (r < 0)
            return r;
    }
    r = disk_bitmap_merge(d, argv[1], src, argv[2], error);
    if (src != d)
        disk_close(src);
    return r;
}

int isomer_disk_bitmap_add(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "added", bitmap_add);
}

int isomer_disk_bitmap_remove(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "removed", bitmap_remove);
}

int isomer_disk_bitmap_clear(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "cleared", bitmap_clear);
}

int isomer_disk_bitmap_enable(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "enabled", bitmap_enable);
}

int isomer_disk_bitmap_disable(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "disabled", bitmap_disable);
}

int isomer_disk_bitmap_merge(const struct isomer_disk_options *o, int argc, char **argv)
{
    return change(o, argc, argv, "merged", bitmap_merge);
}

static void bitmaps_json(const struct disk_bitmap *list, unsigned n)
{
    struct disk_json j = {0};

    disk_json_array(&j, NULL);
    for (unsigned i = 0; i < n; i++) {
        disk_json_object(&j, NULL);
        disk_json_string(&j, "name", list[i].name);
        disk_json_number(&j, "granularity", list[i].granularity);
        disk_json_bool(&j, "recording", list[i].enabled);
        disk_json_bool(&j, "in-use", list[i].in_use);
        disk_json_number(&j, "dirty-bytes", list[i].dirty);
        disk_json_end(&j);
    }
    disk_json_end(&j);
    disk_json_print(&j, stdout);
}

static void bitmaps_text(const struct disk_bitmap *list, unsigned n)
{
    char grain[DISK_SIZE_TEXT], dirty[DISK_SIZE_TEXT];

    for (unsigned i = 0; i < n; i++)
        printf("%-24s %s dirty, in units of %s%s%s\n", list[i].name,
               disk_size_text(list[i].dirty, dirty), disk_size_text(list[i].granularity, grain),
               list[i].enabled ? "" : ", disabled",
               list[i].in_use ? ", in use or not closed: says nothing" : "");
}

int isomer_disk_bitmap_list(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *d = disk_cmd_open(o, argv[0], o->format, false);
    struct disk_bitmap *list;
    unsigned n;
    int r;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    r = disk_bitmap_list(d, &list, &n);
    if (r == 0 && o->json)
        bitmaps_json(list, n);
    else if (r == 0)
        bitmaps_text(list, n);
    if (r == 0)
        free(list);
    disk_close(d);
    return r < 0 ? disk_cmd_fail(NULL, argv[0], r) : ISOMER_EXIT_OK;
}
