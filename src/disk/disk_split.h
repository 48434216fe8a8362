/* disk_split.h: what the files of `isomer disk split` share. Private to src/disk.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef DISK_SPLIT_H
#define DISK_SPLIT_H

#include "disk/disk_cmd.h"

/* Stops a mistyped size from filling a folder. */
enum { SPLIT_MAX_PARTS = 1024 };

struct split_part {
    char *path;
    uint64_t off, len;             /* of the source; of a folder: len only */
    struct disk_geometry geometry; /* all 0: not stored */
    unsigned first, nfiles;        /* of a folder: which of its files */
};

struct split {
    const struct isomer_disk_options *o;
    const char *prefix, *format;
    struct disk_open_options open;
    BASE_VEC(struct split_part) parts;
};

/* Adds a part called PREFIX-NAME.FORMAT, or PREFIX-NUMBER.FORMAT if name is NULL. */
struct split_part *split_add(struct split *s, const char *name, size_t name_len);
/* Makes the new image of a part; the caller fills and ends it. */
int split_begin(struct split *s, const struct split_part *p, uint64_t size, struct disk_new *n,
                struct base_text *error);

/* A folder: plans the parts and writes them as tar archives. Returns an exit status. */
int split_folder(struct split *s, const char *folder, struct disk_progress *progress);

#endif
