/* disk_cmd_chain.c: isomer disk commit, rebase. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_cmd.h"

static void print_chain(const struct isomer_disk_options *o, const char *path, const char *verb,
                        const char *file)
{
    struct disk_json j = {0};

    if (o->json) {
        disk_json_object(&j, NULL);
        disk_json_string(&j, "filename", path);
        disk_json_string(&j, verb, file);
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    } else if (!o->quiet) {
        printf("%s: %s %s\n", path, verb, file ? file : "nothing");
    }
}

int isomer_disk_commit(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk *d = disk_cmd_open(o, argv[0], o->format, true);
    struct base_text error = {0};
    struct disk_progress progress;
    char *backing;
    int r, status;

    if (!d)
        return ISOMER_EXIT_FAILURE;
    backing = disk_backing(d) ? base_strdup(disk_path(disk_backing(d))) : NULL;
    disk_progress_begin(&progress, argv[0], o->quiet || o->json);
    r = disk_commit(d, disk_progress_step, &progress, &error);
    disk_progress_end(&progress);
    status = disk_cmd_close(d, r < 0 ? disk_cmd_fail(&error, argv[0], r) : ISOMER_EXIT_OK);
    if (status == ISOMER_EXIT_OK)
        print_chain(o, argv[0], "committed to", backing);
    free(backing);
    return status;
}

/* -u -F FORMAT alone states the format of the backing file there is. */
static char *new_backing(const struct isomer_disk_options *o, struct disk *d)
{
    struct disk_info info;

    if (o->backing)
        return base_strdup(o->backing);
    if (o->unsafe && o->backing_format && !disk_get_info(d, &info) && info.backing)
        return base_strdup(info.backing);
    return NULL;
}

/* The backing file may be gone already when only its name is to change. */
int isomer_disk_rebase(const struct isomer_disk_options *o, int argc, char **argv)
{
    struct disk_open_options open;
    struct base_text error = {0};
    struct disk_progress progress;
    struct disk *d;
    char *backing;
    int r, status;

    disk_cmd_open_options(o, &open);
    open.no_backing = o->unsafe;
    r = disk_open(argv[0], &open, &d, &error);
    if (r < 0)
        return disk_cmd_fail(&error, argv[0], r);
    disk_progress_begin(&progress, argv[0], o->quiet || o->json);
    backing = new_backing(o, d);
    r = disk_rebase(d, backing, o->backing_format, o->unsafe, disk_progress_step, &progress,
                    &error);
    disk_progress_end(&progress);
    status = disk_cmd_close(d, r < 0 ? disk_cmd_fail(&error, argv[0], r) : ISOMER_EXIT_OK);
    if (status == ISOMER_EXIT_OK)
        print_chain(o, argv[0], "backing file is now", backing && *backing ? backing : NULL);
    free(backing);
    return status;
}
