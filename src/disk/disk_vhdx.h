/* disk_vhdx.h: what the files of the VHDX format share. Private to disk_vhdx*.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef DISK_VHDX_H
#define DISK_VHDX_H

#include "disk/disk_blocks.h"

/* What a log says of the file: bytes that are other ones, in the order in which they were written.
 * Empty for an image that was closed. */
struct vhdx_patch {
    uint64_t off, len;
    uint8_t *data; /* NULL: zeros */
};
struct vhdx_log {
    BASE_VEC(struct vhdx_patch) patches;
    uint64_t length; /* of the file, at least */
};

uint32_t vhdx_crc32c(const uint8_t *p, size_t n);
/* Of a block whose checksum is in its bytes 4 to 7, which count as zero. */
bool vhdx_sum_good(uint8_t *p, size_t n);

/* Replays the log that a header with a log GUID names, in memory. */
int vhdx_log_read(struct disk *d, const uint8_t *header, struct vhdx_log *log,
                  struct base_text *error);
void vhdx_log_free(struct vhdx_log *log);
/* Does the log say anything of that range? */
bool vhdx_log_touches(const struct vhdx_log *log, uint64_t off, uint64_t len);
/* Bytes of the file as they are after the replay. */
int vhdx_file_read(struct disk *d, const struct vhdx_log *log, uint64_t off, void *buf, size_t len);

#endif
