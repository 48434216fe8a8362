/* disk_blocks.h: what formats that are only read have in common.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ISOMER_DISK_BLOCKS_H
#define ISOMER_DISK_BLOCKS_H

#include "disk/disk_driver.h"

/* Reads through the driver's map(): data from d->file at host_off, the rest zero or from the
 * backing file. Not for drivers whose map() says compressed. */
int disk_blocks_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s);

static inline uint16_t disk_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t disk_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t disk_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#endif
