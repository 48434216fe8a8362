/* disk_formats.c: the formats there are. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_driver.h"

enum { PROBE_BYTES = 4096 };

extern const struct disk_driver disk_luks;
extern const struct disk_driver disk_qcow2;
extern const struct disk_driver disk_raw;
extern const struct disk_driver disk_vdi;
extern const struct disk_driver disk_vhdx;
extern const struct disk_driver disk_vmdk;

/* raw last: everything is raw if it is nothing else. */
const struct disk_driver *const disk_drivers[] = {
    &disk_luks,
    &disk_qcow2,
    &disk_vmdk,
    &disk_vhdx,
    &disk_vdi,
    &disk_raw,
    NULL,
};

const struct disk_driver *disk_driver_find(const char *name)
{
    for (unsigned i = 0; disk_drivers[i]; i++)
        if (!strcmp(disk_drivers[i]->name, name))
            return disk_drivers[i];
    return NULL;
}

const struct disk_driver *disk_driver_probe(struct disk_file *f, int *result)
{
    const struct disk_driver *best = NULL;
    uint8_t head[PROBE_BYTES];
    uint64_t length;
    int score = 0;

    *result = disk_file_length(f, &length);
    if (!*result)
        *result = disk_file_read(f, 0, head, sizeof head);
    if (*result < 0)
        return NULL;
    for (unsigned i = 0; disk_drivers[i]; i++) {
        int s = disk_drivers[i]->probe ? disk_drivers[i]->probe(head, sizeof head, length) : 0;

        if (s > score) {
            score = s;
            best = disk_drivers[i];
        }
    }
    return best;
}

const char *disk_probe(const char *path, int *result)
{
    const struct disk_driver *drv = NULL;
    struct disk_file *f;

    *result = disk_file_open(path, 0, NULL, NULL, &f, NULL);
    if (*result < 0)
        return NULL;
    drv = disk_driver_probe(f, result);
    disk_file_close(f);
    return drv ? drv->name : NULL;
}

const char *disk_format_name(unsigned i)
{
    return disk_drivers[i] ? disk_drivers[i]->name : NULL;
}

static bool format_can(const char *name, unsigned what)
{
    const struct disk_driver *drv = disk_driver_find(name);

    return drv && drv->can & what;
}

bool disk_format_can_write(const char *name)
{
    return format_can(name, DISK_CAN_WRITE);
}

bool disk_format_can_create(const char *name)
{
    return format_can(name, DISK_CAN_CREATE);
}
