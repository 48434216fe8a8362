/* disk_cmd_create.c: isomer disk create, resize. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_cmd.h"

enum { SECTOR = 512 };

static bool parse_size(const char *command, const char *text, uint64_t *size)
{
    if (isomer_parse_size(text, size))
        return true;
    disk_cmd_usage("disk %s: '%s' is not a size: bytes, or a number with K, M, G or T", command,
                   text);
    return false;
}

/* A disk that is told by geometry only is as large as that says. */
static bool size_of(int argc, char **argv, struct disk_create_options *c)
{
    const struct disk_geometry *g = &c->geometry;

    if (argc > 1) {
        c->size_set = true;
        return parse_size("create", argv[1], &c->size);
    }
    if (c->backing)
        return true;
    if (!g->sectors) {
        disk_cmd_usage("disk create: how large? (or: what geometry, what backing file?)");
        return false;
    }
    c->size = (uint64_t)g->cylinders * g->heads * g->sectors * SECTOR;
    c->size_set = true;
    return true;
}

static void print_created(const struct isomer_disk_options *o, const char *path,
                          const struct disk_info *i)
{
    struct disk_json j = {0};
    char size[DISK_SIZE_TEXT];

    if (!o->json) {
        printf("%s: %s, %s (%llu bytes)\n", path, i->format, disk_size_text(i->size, size),
               (unsigned long long)i->size);
        return;
    }
    disk_json_object(&j, NULL);
    disk_json_string(&j, "filename", path);
    disk_json_string(&j, "format", i->format);
    disk_json_number(&j, "virtual-size", i->size);
    disk_json_end(&j);
    disk_json_print(&j, stdout);
}

int isomer_disk_create(const struct isomer_disk_options *o, int argc, char **argv)
{
    const char *format = o->format ? o->format : "qcow2";
    struct disk_open_options open = {.no_backing = true, .no_lock = true, .read_only = true};
    struct base_text error = {0};
    struct disk_create_options c;
    struct disk_info info;
    struct disk *d;
    int r;

    if (!disk_cmd_create_options(o, format, &c) || !size_of(argc, argv, &c))
        return ISOMER_EXIT_USAGE;
    r = disk_create(argv[0], &c, &error);
    if (r == -EEXIST && error.len && !o->force) {
        base_text_free(&error);
        base_text_printf(&error, "%s: is there already: choose another name, or say --force",
                         argv[0]);
    }
    if (r < 0)
        return disk_cmd_fail(&error, argv[0], r);
    if (o->encrypt) { /* opening it would need the passphrase once more */
        info = (struct disk_info){.format = format, .size = c.size};
        print_created(o, argv[0], &info);
        return ISOMER_EXIT_OK;
    }
    open.format = format;
    open.folders = o->folders;
    r = disk_open(argv[0], &open, &d, &error);
    if (r < 0)
        return disk_cmd_fail(&error, argv[0], r);
    r = disk_get_info(d, &info);
    if (r == 0)
        print_created(o, argv[0], &info);
    disk_close(d);
    return r < 0 ? disk_cmd_fail(NULL, argv[0], r) : ISOMER_EXIT_OK;
}

/* ---- resize ---------------------------------------------------------- */

/* "10G", or "+1G" and "-1G" from what it is. */
static bool new_size(const char *text, uint64_t old, uint64_t *size)
{
    bool plus = *text == '+', minus = *text == '-';

    if (!parse_size("resize", text + (plus || minus), size))
        return false;
    if ((minus && *size > old) || (plus && *size > DISK_MAX_SIZE - old)) {
        disk_cmd_usage("disk resize: %s from a size of %llu bytes is no size", text,
                       (unsigned long long)old);
        return false;
    }
    *size = minus ? old - *size : plus ? old + *size : *size;
    return true;
}

int isomer_disk_resize(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *d = disk_cmd_open(o, argv[0], o->format, true);
    struct base_text error = {0};
    struct disk_info info = {0};
    uint64_t size;
    int r, status;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    if (!new_size(argv[1], disk_size(d), &size)) {
        disk_close(d);
        return ISOMER_EXIT_USAGE;
    }
    r = disk_resize(d, size, o->shrink ? DISK_RESIZE_SHRINK : 0, &error);
    status = r < 0 ? disk_cmd_fail(&error, argv[0], r) : ISOMER_EXIT_OK;
    if (status == ISOMER_EXIT_OK)
        info = (struct disk_info){.format = disk_format(d), .size = disk_size(d)};
    status = disk_cmd_close(d, status);
    if (status == ISOMER_EXIT_OK)
        print_created(o, argv[0], &info);
    return status;
}
