/* disk_cmd_info.c: isomer disk info, check, map. SPDX-License-Identifier: Apache-2.0
 *
 * Keys that qemu-img has too are named as it names them.
 */
#include "disk/disk_cmd.h"

/* ---- info ------------------------------------------------------------ */

/* As qemu-img says it. */
static void bitmaps_json(struct disk_json *j, const struct disk_bitmap *list, unsigned n)
{
    disk_json_array(j, "bitmaps");
    for (unsigned i = 0; i < n; i++) {
        disk_json_object(j, NULL);
        disk_json_string(j, "name", list[i].name);
        disk_json_number(j, "granularity", list[i].granularity);
        disk_json_array(j, "flags");
        if (list[i].in_use)
            disk_json_string(j, NULL, "in-use");
        if (list[i].enabled)
            disk_json_string(j, NULL, "auto");
        disk_json_end(j);
        disk_json_end(j);
    }
    disk_json_end(j);
}

static void bitmaps_text(const struct disk_bitmap *list, unsigned n)
{
    char grain[DISK_SIZE_TEXT];

    for (unsigned i = 0; i < n; i++)
        printf("  %-18s %s, %s%s\n", "bitmap", list[i].name,
               disk_size_text(list[i].granularity, grain),
               list[i].in_use ? ", in use or not closed" : list[i].enabled ? "" : ", disabled");
}

static void info_json(struct disk_json *j, const char *path, const struct disk_info *i,
                      const struct disk_bitmap *bitmaps, unsigned n)
{
    disk_json_object(j, NULL);
    disk_json_string(j, "filename", path);
    disk_json_string(j, "format", i->format);
    disk_json_number(j, "virtual-size", i->size);
    disk_json_number(j, "file-size", i->file_size);
    disk_json_number(j, "actual-size", i->allocated);
    if (i->cluster_size)
        disk_json_number(j, "cluster-size", i->cluster_size);
    if (i->subcluster_size && i->subcluster_size != i->cluster_size)
        disk_json_number(j, "subcluster-size", i->subcluster_size);
    disk_json_object(j, "geometry");
    disk_json_number(j, "cylinders", i->geometry.cylinders);
    disk_json_number(j, "heads", i->geometry.heads);
    disk_json_number(j, "sectors", i->geometry.sectors);
    disk_json_bool(j, "stored", i->geometry_stored);
    disk_json_end(j);
    disk_json_bool(j, "dirty-flag", i->dirty);
    disk_json_bool(j, "corrupt", i->corrupt);
    disk_json_bool(j, "encrypted", i->encrypted);
    disk_json_bool(j, "compressed", i->compressed);
    if (i->backing)
        disk_json_string(j, "backing-filename", i->backing);
    if (i->backing_format)
        disk_json_string(j, "backing-filename-format", i->backing_format);
    if (i->data_file)
        disk_json_string(j, "data-file", i->data_file);
    disk_json_number(j, "snapshots", i->snapshots);
    disk_json_number(j, "bitmaps", i->bitmaps);
    disk_json_object(j, "format-specific");
    for (unsigned k = 0; k < i->nfacts; k++) {
        const struct disk_fact *f = &i->facts[k];

        if (f->type == DISK_FACT_NUMBER)
            disk_json_number(j, f->name, f->number);
        else if (f->type == DISK_FACT_BOOL)
            disk_json_bool(j, f->name, f->number);
        else
            disk_json_string(j, f->name, f->text);
    }
    if (n)
        bitmaps_json(j, bitmaps, n);
    disk_json_end(j);
    disk_json_end(j);
}

static void info_size(const char *name, uint64_t v)
{
    char text[DISK_SIZE_TEXT];

    printf("  %-18s %s (%llu bytes)\n", name, disk_size_text(v, text), (unsigned long long)v);
}

static void info_text(const char *path, const struct disk_info *i)
{
    printf("%s\n  %-18s %s\n", path, "format", i->format);
    info_size("size", i->size);
    info_size("on the host", i->allocated);
    if (i->cluster_size)
        info_size("cluster", i->cluster_size);
    if (i->subcluster_size && i->subcluster_size != i->cluster_size)
        info_size("subcluster", i->subcluster_size);
    printf("  %-18s %u cylinders, %u heads, %u sectors%s\n", "geometry", i->geometry.cylinders,
           i->geometry.heads, i->geometry.sectors, i->geometry_stored ? "" : " (guessed)");
    if (i->backing)
        printf("  %-18s %s (%s)\n", "backing file", i->backing,
               i->backing_format ? i->backing_format : "format not stated");
    if (i->data_file)
        printf("  %-18s %s\n", "data file", i->data_file);
    if (i->snapshots)
        printf("  %-18s %u\n", "snapshots", i->snapshots);
    if (i->encrypted)
        printf("  %-18s yes\n", "encrypted");
    if (i->dirty)
        printf("  %-18s in use, or not closed: reference counts may be wrong\n", "dirty");
    if (i->corrupt)
        printf("  %-18s yes: isomer disk check --repair\n", "corrupt");
    for (unsigned n = 0; n < i->nfacts; n++) {
        const struct disk_fact *f = &i->facts[n];

        if (f->type == DISK_FACT_NUMBER)
            printf("  %-18s %llu\n", f->name, (unsigned long long)f->number);
        else
            printf("  %-18s %s\n", f->name,
                   f->type == DISK_FACT_TEXT ? f->text : f->number ? "yes" : "no");
    }
}

static int info_one(const struct isomer_disk_options *o, struct disk *d, struct disk_json *j)
{
    struct disk_bitmap *bitmaps;
    struct disk_info info;
    unsigned n;
    int r = disk_get_info(d, &info);

    if (r < 0)
        return disk_cmd_fail(NULL, disk_path(d), r);
    if (disk_bitmap_list(d, &bitmaps, &n) < 0)
        n = 0;
    if (o->json) {
        info_json(j, disk_path(d), &info, bitmaps, n);
    } else {
        info_text(disk_path(d), &info);
        bitmaps_text(bitmaps, n);
    }
    free(bitmaps);
    return ISOMER_EXIT_OK;
}

/* Looking needs neither the backing files nor the passphrase where the format can do without. */
static struct disk *open_to_look(const struct isomer_disk_options *o, const char *path)
{
    struct disk_open_options open;
    struct base_text error = {0};
    struct disk *d;
    int r;

    disk_cmd_open_options(o, &open);
    open.read_only = open.no_lock = true;
    open.no_backing = !o->chain;
    open.no_repair = true;
    r = disk_open(path, &open, &d, &error);
    if (r < 0) {
        disk_cmd_fail(&error, path, r);
        return NULL;
    }
    return d;
}

/* One image is one object, several are an array. */
int isomer_disk_info(const struct isomer_disk_options *o, int argc, char **argv)
{
    bool list = o->json && (argc > 1 || o->chain);
    struct disk_json j = {0};
    int status = ISOMER_EXIT_OK;

    if (list)
        disk_json_array(&j, NULL);
    for (int i = 0; i < argc; i++) {
        struct disk *d = open_to_look(o, argv[i]);

        if (!d) {
            status = ISOMER_EXIT_FAILURE;
            continue;
        }
        for (struct disk *at = d; at; at = o->chain ? disk_backing(at) : NULL)
            if (info_one(o, at, &j))
                status = ISOMER_EXIT_FAILURE;
        disk_close(d);
    }
    if (list)
        disk_json_end(&j);
    if (j.text.len)
        disk_json_print(&j, stdout);
    return status;
}

/* ---- check ----------------------------------------------------------- */

static void check_finding(void *context, const char *line)
{
    FILE *out = context;

    if (out)
        fprintf(out, "%s\n", line);
}

static void check_json(struct disk_json *j, const char *path, const struct disk_check_result *c)
{
    disk_json_object(j, NULL);
    disk_json_string(j, "filename", path);
    disk_json_number(j, "corruptions", c->corruptions);
    disk_json_number(j, "corruptions-fixed", c->corruptions_fixed);
    disk_json_number(j, "leaks", c->leaks);
    disk_json_number(j, "leaks-fixed", c->leaks_fixed);
    disk_json_number(j, "check-errors", c->errors);
    disk_json_number(j, "total-clusters", c->clusters);
    disk_json_number(j, "allocated-clusters", c->allocated);
    disk_json_number(j, "compressed-clusters", c->compressed);
    disk_json_number(j, "fragmented-clusters", c->fragmented);
    disk_json_number(j, "image-end-offset", c->image_end);
    disk_json_end(j);
}

static void check_text(const char *path, const struct disk_check_result *c)
{
    unsigned long long corruptions = c->corruptions - c->corruptions_fixed;
    unsigned long long leaks = c->leaks - c->leaks_fixed, errors = c->errors;

    if (c->corruptions_fixed || c->leaks_fixed)
        printf("%s: repaired: %llu of %llu corruptions, %llu of %llu leaked clusters\n", path,
               (unsigned long long)c->corruptions_fixed, (unsigned long long)c->corruptions,
               (unsigned long long)c->leaks_fixed, (unsigned long long)c->leaks);
    if (corruptions || errors)
        printf("%s: DAMAGED: %llu corruptions, %llu places that cannot be read%s\n", path,
               corruptions, errors,
               corruptions ? "; make a copy, then: isomer disk check --repair" : "");
    if (leaks)
        printf("%s: %llu leaked clusters: space that is lost until isomer disk check "
               "--repair=leaks\n", path, leaks);
    if (!corruptions && !errors)
        printf("%s: no errors; %llu of %llu clusters in use, %llu compressed\n", path,
               (unsigned long long)c->allocated, (unsigned long long)c->clusters,
               (unsigned long long)c->compressed);
}

static struct disk *open_to_check(const struct isomer_disk_options *o, const char *path)
{
    struct disk_open_options open;
    struct base_text error = {0};
    struct disk *d;
    int r;

    disk_cmd_open_options(o, &open);
    open.read_only = !o->repair;
    open.no_lock = o->shared && !o->repair;
    open.no_backing = open.no_repair = true;
    r = disk_open(path, &open, &d, &error);
    if (r < 0) {
        disk_cmd_fail(&error, path, r);
        return NULL;
    }
    return d;
}

static int check_one(const struct isomer_disk_options *o, const char *path, struct disk_json *j)
{
    enum disk_repair repair = !o->repair ? DISK_REPAIR_NONE
                              : strcmp(o->repair, "leaks") == 0 ? DISK_REPAIR_LEAKS
                                                                : DISK_REPAIR_ALL;
    struct disk_check_result c = {.report = check_finding};
    struct disk *d = open_to_check(o, path);
    int r, status = ISOMER_EXIT_OK;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    c.context = o->quiet ? NULL : o->json ? stderr : stdout;
    r = disk_check(d, repair, &c);
    if (r < 0)
        status = disk_cmd_fail(NULL, path, r);
    else if (c.corruptions > c.corruptions_fixed || c.errors)
        status = ISOMER_EXIT_FAILURE;
    if (r == 0 && o->json)
        check_json(j, path, &c);
    else if (r == 0 && !o->quiet)
        check_text(path, &c);
    if (o->repair)
        return disk_cmd_close(d, status);
    disk_close(d);
    return status;
}

int isomer_disk_check(const struct isomer_disk_options *o, int argc, char **argv)
{
    bool list = o->json && argc > 1;
    struct disk_json j = {0};
    int status = ISOMER_EXIT_OK;

    if (list)
        disk_json_array(&j, NULL);
    for (int i = 0; i < argc; i++)
        if (check_one(o, argv[i], &j))
            status = ISOMER_EXIT_FAILURE;
    if (list)
        disk_json_end(&j);
    if (j.text.len)
        disk_json_print(&j, stdout);
    return status;
}

/* ---- map ------------------------------------------------------------- */

static void map_json(struct disk_json *j, const struct disk_extent *e)
{
    disk_json_object(j, NULL);
    disk_json_number(j, "start", e->off);
    disk_json_number(j, "length", e->len);
    disk_json_number(j, "depth", e->depth);
    disk_json_bool(j, "present", e->kind != DISK_UNALLOCATED);
    disk_json_bool(j, "zero", e->kind != DISK_DATA);
    disk_json_bool(j, "data", e->kind == DISK_DATA);
    disk_json_bool(j, "compressed", e->compressed);
    if (e->has_host_off) {
        disk_json_number(j, "offset", e->host_off);
        disk_json_string(j, "filename", e->path);
    }
    disk_json_end(j);
}

static void map_text(const struct disk_extent *e)
{
    static const char *const kinds[] = {"unallocated", "zero", "data"};

    printf("%#16llx %#14llx  %-11s", (unsigned long long)e->off, (unsigned long long)e->len,
           e->compressed ? "compressed" : kinds[e->kind]);
    if (e->has_host_off)
        printf(" %#16llx", (unsigned long long)e->host_off);
    if (e->kind == DISK_DATA && e->path)
        printf("%s  %s", e->has_host_off ? "" : "                 ", e->path);
    putchar('\n');
}

int isomer_disk_map(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *below, *d = disk_cmd_open_state(o, argv[0], &below);
    struct disk_json j = {0};
    struct disk_extent e;
    int r = 0;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    if (o->json)
        disk_json_array(&j, NULL);
    else
        printf("%16s %14s  %-11s %16s  %s\n", "offset", "length", "what", "in the file", "file");
    for (uint64_t off = 0; off < disk_size(d) && !r; off += e.len) {
        r = disk_map(d, off, disk_size(d) - off, &e);
        if (!r && o->json)
            map_json(&j, &e);
        else if (!r)
            map_text(&e);
    }
    if (o->json) {
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    }
    disk_close(d);
    disk_close(below);
    return r < 0 ? disk_cmd_fail(NULL, argv[0], r) : ISOMER_EXIT_OK;
}
