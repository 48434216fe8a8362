/* disk_cmd_convert.c: isomer disk convert, compare. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_cmd.h"

/* ---- convert --------------------------------------------------------- */

/* A name that ends in a format means that one, also where it cannot be written: better an error
 * than a .vmdk that is none. */
static const char *format_of_name(const char *path)
{
    const char *dot = strrchr(path, '.');

    if (dot && (!strcmp(dot, ".raw") || !strcmp(dot, ".img")))
        return "raw";
    for (unsigned i = 0; dot && disk_format_name(i); i++)
        if (!strcmp(dot + 1, disk_format_name(i)))
            return disk_format_name(i);
    return "qcow2";
}

static int verify(void *context, struct disk *d)
{
    struct disk *src = context;
    uint64_t at;
    int r = disk_compare_run(src, d, disk_size(src), &at, NULL, NULL);

    return r == 1 ? -EIO : r;
}

/* Before anything is copied: can they be? False after one line. */
static bool may_copy_bitmaps(const struct isomer_disk_options *o, struct disk *src,
                             const char *format)
{
    struct base_text error = {0};
    struct disk_bitmap *list;
    unsigned n;
    int r = disk_bitmap_list(src, &list, &n);

    if (r < 0)
        disk_error(&error, r, disk_path(src), "its dirty bitmaps cannot be read: %s",
                   strerror(-r));
    else if (n && !disk_driver_find(format)->bitmap_add)
        r = disk_error(&error, -ENOTSUP, disk_path(src),
                       "images of format %s have no bitmaps: leave out --bitmaps", format);
    for (unsigned i = 0; i < n && !r; i++)
        if (list[i].in_use && !o->skip_broken_bitmaps)
            r = disk_error(&error, -EUCLEAN, disk_path(src),
                           "bitmap %.200s was not closed: remove it (isomer disk bitmap remove), "
                           "or leave it out (--skip-broken-bitmaps)", list[i].name);
    free(list);
    if (r < 0)
        disk_cmd_fail(&error, disk_path(src), r);
    return !r;
}

static int copy_bitmaps(struct disk *src, struct disk *dst, struct base_text *error)
{
    struct disk_bitmap *list;
    unsigned n;
    int r = disk_bitmap_list(src, &list, &n);

    for (unsigned i = 0; i < n && !r; i++) {
        const char *name = list[i].name;

        if (list[i].in_use)
            continue;
        r = disk_bitmap_add(dst, name, list[i].granularity, error);
        r = r ? r : disk_bitmap_merge(dst, name, src, name, error);
        if (!r && !list[i].enabled)
            r = disk_bitmap_enable(dst, name, false, error);
    }
    free(list);
    return r;
}

static int convert_to(const struct isomer_disk_options *o, struct disk *src, const char *path,
                      const struct disk_create_options *c, struct disk_convert *v)
{
    struct disk_open_options open;
    struct base_text error = {0};
    struct disk_progress progress;
    struct disk_new n;
    int r;

    disk_cmd_open_options(o, &open);
    r = disk_new_begin(&n, path, c, &open, src, &error);
    if (r < 0)
        return disk_cmd_fail(&error, path, r);
    v->dst = n.disk;
    v->over_backing = disk_backing(n.disk) != NULL;
    v->progress = disk_progress_step;
    v->progress_context = &progress;
    disk_progress_begin(&progress, path, o->quiet || o->json);
    r = disk_convert_run(v, &error);
    disk_progress_end(&progress);
    if (!r && o->bitmaps)
        r = copy_bitmaps(src, n.disk, &error);
    if (r < 0)
        disk_new_abandon(&n);
    else
        r = disk_new_end(&n, o->verify ? verify : NULL, src, &error);
    return r < 0 ? disk_cmd_fail(&error, path, r) : ISOMER_EXIT_OK;
}

static int print_converted(const struct isomer_disk_options *o, const char *path,
                           const struct disk_convert *v, uint64_t begin)
{
    double seconds = (double)(base_now_ns() - begin) / 1e9;
    char size[DISK_SIZE_TEXT], written[DISK_SIZE_TEXT];
    struct disk_json j = {0};

    if (o->json) {
        disk_json_object(&j, NULL);
        disk_json_string(&j, "filename", path);
        disk_json_number(&j, "virtual-size", v->len);
        disk_json_number(&j, "written", v->written);
        disk_json_bool(&j, "verified", o->verify);
        disk_json_real(&j, "seconds", seconds);
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    } else if (!o->quiet) {
        printf("%s: %s, %s of data, in %.1f s%s\n", path, disk_size_text(v->len, size),
               disk_size_text(v->written, written), seconds, o->verify ? ", verified" : "");
    }
    return ISOMER_EXIT_OK;
}

static int convert_open(const struct isomer_disk_options *o, struct disk *src, const char *path)
{
    struct disk_convert v = {.src = src, .len = disk_size(src), .compress = o->compress};
    const char *format = o->output_format ? o->output_format : format_of_name(path);
    uint64_t begin = base_now_ns();
    struct disk_create_options c;
    int status;

    v.sparse = 4096;
    if (o->sparse && !isomer_parse_size(o->sparse, &v.sparse))
        return disk_cmd_usage("disk convert: option --sparse: '%s' is not a SIZE", o->sparse);
    if (o->compress && o->backing)
        return disk_cmd_usage("disk convert: -c and -b do not go together: what differs from the "
                              "backing file is parts of clusters");
    if (o->bitmaps && o->snapshot)
        return disk_cmd_usage("disk convert: --bitmaps and -s do not go together: bitmaps are of "
                              "the disk as it is now");
    if (!disk_cmd_create_options(o, format, &c))
        return ISOMER_EXIT_USAGE;
    if (o->bitmaps && !may_copy_bitmaps(o, src, format))
        return ISOMER_EXIT_FAILURE;
    c.size = v.len;
    c.size_set = true;
    if (!c.geometry.sectors) {
        struct disk_info info;

        if (!disk_get_info(src, &info) && info.geometry_stored)
            c.geometry = info.geometry;
    }
    status = convert_to(o, src, path, &c, &v);
    return status ? status : print_converted(o, path, &v, begin);
}

int isomer_disk_convert(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *below, *src = disk_cmd_open_state(o, argv[0], &below);
    int status;

    if (!src)
        return ISOMER_EXIT_FAILURE;
    status = convert_open(o, src, argv[1]);
    disk_close(src);
    disk_close(below);
    return status;
}

/* ---- compare --------------------------------------------------------- */

/* Is the same allocated? Sets *at where not. */
static int same_map(struct disk *a, struct disk *b, uint64_t len, uint64_t *at)
{
    struct disk_extent ea, eb;
    uint64_t n;
    int r = 0;

    for (uint64_t off = 0; off < len && !r; off += n) {
        r = disk_map(a, off, len - off, &ea);
        if (!r)
            r = disk_map(b, off, len - off, &eb);
        n = ea.len < eb.len ? ea.len : eb.len;
        if (!r && (ea.kind == DISK_UNALLOCATED) != (eb.kind == DISK_UNALLOCATED)) {
            *at = off;
            r = 1;
        }
    }
    return r;
}

/* Returns 0, 1 or -errno; *what says what differs. */
static int compare(const struct isomer_disk_options *o, struct disk *a, struct disk *b,
                   const char **what, uint64_t *at)
{
    uint64_t len = disk_size(a) < disk_size(b) ? disk_size(a) : disk_size(b);
    struct disk *longer = disk_size(a) > len ? a : b;
    struct disk_progress progress;
    int r;

    *what = "size";
    *at = len;
    if (o->strict && disk_size(a) != disk_size(b))
        return 1;
    *what = "content";
    disk_progress_begin(&progress, "compare", o->quiet || o->json);
    r = disk_compare_run(a, b, len, at, disk_progress_step, &progress);
    disk_progress_end(&progress);
    if (!r && disk_size(longer) > len)
        r = disk_compare_zero(longer, len, disk_size(longer) - len, at);
    if (!r && o->strict) {
        *what = "allocation";
        r = same_map(a, b, len, at);
    }
    return r;
}

static void print_compared(const struct isomer_disk_options *o, int r, const char *what,
                           uint64_t at)
{
    struct disk_json j = {0};

    if (o->json) {
        disk_json_object(&j, NULL);
        disk_json_bool(&j, "identical", r == 0);
        if (r) {
            disk_json_string(&j, "differs", what);
            disk_json_number(&j, "offset", at);
        }
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    } else if (r) {
        printf("They differ in %s at %llu (%#llx).\n", what, (unsigned long long)at,
               (unsigned long long)at);
    } else if (!o->quiet) {
        printf("They are the same.\n");
    }
}

/* Not the status that says they differ; as cmp, diff and qemu-img do. */
enum { COMPARE_IMPOSSIBLE = 2 };

int isomer_disk_compare(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *a = disk_cmd_open(o, argv[0], o->format, false), *b = NULL;
    const char *what;
    uint64_t at;
    int r;

    if (a)
        b = disk_cmd_open(o, argv[1], o->backing_format, false);
    if (!a || !b) {
        disk_close(a);
        return COMPARE_IMPOSSIBLE;
    }
    r = compare(o, a, b, &what, &at);
    disk_close(a);
    disk_close(b);
    if (r < 0) {
        disk_cmd_fail(NULL, argv[0], r);
        return COMPARE_IMPOSSIBLE;
    }
    print_compared(o, r, what, at);
    return r ? ISOMER_EXIT_FAILURE : ISOMER_EXIT_OK;
}
