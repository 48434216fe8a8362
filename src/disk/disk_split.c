/* disk_split.c: isomer disk split: one large disk into several small ones.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The parts are planned first, all of them, so that nothing is written if they do not fit; then
 * each is made as a convert would make it. Together they hold exactly the source: `cat` of the raw
 * parts is the source, padded with zeros to the last part's end.
 */
#include "disk/disk_split.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

/* ---- parts ----------------------------------------------------------- */

struct split_part *split_add(struct split *s, const char *name, size_t name_len)
{
    struct base_text path = {0};

    base_vec_push(&s->parts, (struct split_part){0});
    if (name)
        base_text_printf(&path, "%s-%.*s.%s", s->prefix, (int)name_len, name, s->format);
    else
        base_text_printf(&path, "%s-%02zu.%s", s->prefix, s->parts.len, s->format);
    s->parts.data[s->parts.len - 1].path = path.data;
    return &s->parts.data[s->parts.len - 1];
}

int split_begin(struct split *s, const struct split_part *p, uint64_t size, struct disk_new *n,
                struct base_text *error)
{
    struct disk_create_options c;

    disk_cmd_create_options(s->o, s->format, &c); /* checked by the caller */
    c.size = size;
    c.size_set = true;
    if (p->geometry.sectors)
        c.geometry = p->geometry;
    return disk_new_begin(n, p->path, &c, &s->open, NULL, error);
}

static uint64_t geometry_size(const struct disk_geometry *g)
{
    return (uint64_t)g->cylinders * g->heads * g->sectors * SECTOR;
}

/* ---- plans ----------------------------------------------------------- */

static int plan_equal(struct split *s, uint64_t size)
{
    uint64_t step = s->o->part_size, n = s->o->parts;

    if (!step)
        step = BASE_ALIGN_UP((size + n - 1) / n, (uint64_t)SECTOR);
    if (!n)
        n = (size + step - 1) / step;
    if (!n || n > SPLIT_MAX_PARTS)
        return disk_cmd_usage("disk split: that would be %llu disks; 1 to %d are possible",
                              (unsigned long long)n, SPLIT_MAX_PARTS);
    if (n * step < size)
        return disk_cmd_usage("disk split: %llu disks of %llu bytes do not hold %llu bytes",
                              (unsigned long long)n, (unsigned long long)step,
                              (unsigned long long)size);
    for (uint64_t i = 0; i < n; i++) {
        struct split_part *p = split_add(s, NULL, 0);

        p->off = i * step < size ? i * step : size;
        p->len = step;
        if (!s->o->part_size && p->len > size - p->off) /* equal parts: the last may be shorter */
            p->len = size - p->off;
    }
    return ISOMER_EXIT_OK;
}

/* A line of the layout: NAME SIZE [C,H,S]. A size of "rest" is what is left. */
static bool plan_line(struct split *s, char *line, uint64_t *off, uint64_t size)
{
    char *save, *name = strtok_r(line, " \t\n", &save), *text = strtok_r(NULL, " \t\n", &save);
    char *geometry = strtok_r(NULL, " \t\n", &save);
    struct split_part *p;
    uint64_t len;

    if (!name || *name == '#')
        return true;
    if (!text || strchr(name, '/') || s->parts.len >= SPLIT_MAX_PARTS)
        return false;
    if (strcmp(text, "rest") == 0)
        len = *off < size ? size - *off : 0;
    else if (!isomer_parse_size(text, &len))
        return false;
    p = split_add(s, name, strlen(name));
    p->off = *off < size ? *off : size;
    p->len = len;
    *off += len;
    return len && (!geometry || (disk_cmd_geometry(geometry, &p->geometry) &&
                                 geometry_size(&p->geometry) <= len));
}

static int plan_layout(struct split *s, const char *path, uint64_t size)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    uint64_t off = 0;
    unsigned number = 0;
    int status = ISOMER_EXIT_OK;

    if (!f)
        return disk_cmd_usage("disk split: %s: %s", path, strerror(errno));
    while (status == ISOMER_EXIT_OK && getline(&line, &cap, f) >= 0) {
        number++;
        if (!plan_line(s, line, &off, size))
            status = disk_cmd_usage("disk split: %s:%u: not NAME SIZE [C,H,S], with a geometry "
                                    "that fits in the size", path, number);
    }
    fclose(f);
    free(line);
    if (status == ISOMER_EXIT_OK && off < size)
        status = disk_cmd_usage("disk split: %s: the disks hold %llu bytes, the source has %llu",
                                path, (unsigned long long)off, (unsigned long long)size);
    return status;
}

/* ---- images ---------------------------------------------------------- */

struct part_progress {
    struct disk_progress *p;
    uint64_t before, all;
};

static int part_step(void *context, uint64_t done, uint64_t all)
{
    struct part_progress *p = context;

    return disk_progress_step(p->p, p->before + done, p->all);
}

static int write_part(struct split *s, struct disk *src, const struct split_part *p,
                      struct part_progress *progress)
{
    uint64_t there = disk_size(src) - p->off;
    struct disk_convert v = {.src = src, .src_off = p->off, .len = p->len < there ? p->len : there,
                             .sparse = 4096, .compress = s->o->compress, .progress = part_step,
                             .progress_context = progress};
    struct base_text error = {0};
    struct disk_new n;
    int r = split_begin(s, p, p->len, &n, &error);

    if (r < 0)
        return disk_cmd_fail(&error, p->path, r);
    v.dst = n.disk;
    r = disk_convert_run(&v, &error);
    if (r < 0)
        disk_new_abandon(&n);
    else
        r = disk_new_end(&n, NULL, NULL, &error);
    progress->before += v.len;
    return r < 0 ? disk_cmd_fail(&error, p->path, r) : ISOMER_EXIT_OK;
}

static int refuse_existing(const struct split *s)
{
    for (size_t i = 0; i < s->parts.len && !s->o->force; i++) {
        if (access(s->parts.data[i].path, F_OK) == 0) {
            base_error("%s: is there already: choose another prefix, or say --force",
                       s->parts.data[i].path);
            return ISOMER_EXIT_FAILURE;
        }
    }
    return ISOMER_EXIT_OK;
}

static int split_image(struct split *s, const char *path, struct disk_progress *progress)
{
    const struct isomer_disk_options *o = s->o;
    struct part_progress part = {.p = progress};
    struct disk *src;
    int status;

    if (!o->parts && !o->part_size && !o->layout)
        return disk_cmd_usage("disk split: into what? (--parts, --size or --layout)");
    src = disk_cmd_open(o, path, o->format, false);
    if (!src)
        return ISOMER_EXIT_FAILURE;
    part.all = disk_size(src);
    status = o->layout ? plan_layout(s, o->layout, part.all) : plan_equal(s, part.all);
    if (status == ISOMER_EXIT_OK)
        status = refuse_existing(s);
    for (size_t i = 0; i < s->parts.len && status == ISOMER_EXIT_OK; i++)
        status = write_part(s, src, &s->parts.data[i], &part);
    disk_close(src);
    return status;
}

/* ---- the command ----------------------------------------------------- */

static void print_parts(const struct split *s)
{
    char size[DISK_SIZE_TEXT];
    struct disk_json j = {0};

    if (s->o->json)
        disk_json_array(&j, NULL);
    for (size_t i = 0; i < s->parts.len; i++) {
        const struct split_part *p = &s->parts.data[i];
        struct disk_geometry g = p->geometry.sectors ? p->geometry : disk_geometry_guess(p->len);

        if (!s->o->json) {
            printf("%s: %s, geometry %u,%u,%u\n", p->path, disk_size_text(p->len, size),
                   g.cylinders, g.heads, g.sectors);
            continue;
        }
        disk_json_object(&j, NULL);
        disk_json_string(&j, "filename", p->path);
        disk_json_number(&j, "virtual-size", p->len);
        disk_json_number(&j, "source-offset", p->off);
        disk_json_number(&j, "cylinders", g.cylinders);
        disk_json_number(&j, "heads", g.heads);
        disk_json_number(&j, "sectors", g.sectors);
        disk_json_end(&j);
    }
    if (s->o->json) {
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    }
}

int isomer_disk_split(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct split s = {.o = o, .prefix = argv[1],
                      .format = o->output_format ? o->output_format : "qcow2"};
    struct disk_create_options c;
    struct disk_progress progress;
    struct stat st;
    int status;

    if (!disk_cmd_create_options(o, s.format, &c))
        return ISOMER_EXIT_USAGE;
    disk_cmd_open_options(o, &s.open);
    disk_progress_begin(&progress, "split", o->quiet || o->json);
    if (stat(argv[0], &st) == 0 && S_ISDIR(st.st_mode))
        status = split_folder(&s, argv[0], &progress);
    else
        status = split_image(&s, argv[0], &progress);
    disk_progress_end(&progress);
    if (status == ISOMER_EXIT_OK && (o->json || !o->quiet))
        print_parts(&s);
    for (size_t i = 0; i < s.parts.len; i++)
        free(s.parts.data[i].path);
    base_vec_free(&s.parts);
    return status;
}
