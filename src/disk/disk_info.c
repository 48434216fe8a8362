/* disk_info.c: what is known about an open disk. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_driver.h"

#include <sys/stat.h>

enum { SECTOR = 512 };

/* Above these a disk cannot be told by cylinders (ATA/ATAPI-5, 6.2.1). */
enum { ATA_CYLINDERS = 16383, ATA_HEADS = 16, ATA_SECTORS = 63 };

struct disk_geometry disk_geometry_guess(uint64_t size)
{
    struct disk_geometry g = {.heads = ATA_HEADS, .sectors = ATA_SECTORS};
    uint64_t cylinders = size / SECTOR / (ATA_HEADS * ATA_SECTORS);

    g.cylinders = cylinders > ATA_CYLINDERS ? ATA_CYLINDERS : cylinders < 2 ? 2
                                                            : (uint32_t)cylinders;
    return g;
}

static struct disk_fact *add_fact(struct disk_info *i, const char *name)
{
    struct disk_fact *f = &i->facts[i->nfacts];

    BASE_ASSERT(i->nfacts < DISK_MAX_FACTS);
    i->nfacts++;
    *f = (struct disk_fact){.name = name};
    return f;
}

void disk_fact_number(struct disk_info *i, const char *name, uint64_t v)
{
    struct disk_fact *f = add_fact(i, name);

    f->type = DISK_FACT_NUMBER;
    f->number = v;
}

void disk_fact_bool(struct disk_info *i, const char *name, bool v)
{
    struct disk_fact *f = add_fact(i, name);

    f->type = DISK_FACT_BOOL;
    f->number = v;
}

void disk_fact_text(struct disk_info *i, const char *name, const char *v)
{
    struct disk_fact *f = add_fact(i, name);

    f->type = DISK_FACT_TEXT;
    snprintf(f->text, sizeof f->text, "%s", v);
}

int disk_get_info(struct disk *d, struct disk_info *info)
{
    struct stat st;
    int r;

    *info = (struct disk_info){
        .format = d->drv->name,
        .size = d->size,
        .geometry = d->geometry,
        .geometry_stored = d->geometry.sectors != 0,
        .read_only = d->read_only,
        .backing = d->backing_name,
        .backing_format = d->backing_format,
    };
    if (!info->geometry_stored)
        info->geometry = disk_geometry_guess(d->size);
    r = disk_file_length(d->file, &info->file_size);
    info->allocated = info->file_size;
    if (d->file->fd >= 0 && !fstat(d->file->fd, &st))
        info->allocated = (uint64_t)st.st_blocks * SECTOR;
    return !r && d->drv->info ? d->drv->info(d, info) : r;
}
