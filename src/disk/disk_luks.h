/* disk_luks.h: encryption of payloads by a LUKS 1 header. SPDX-License-Identifier: Apache-2.0
 *
 * The header and its key slots are an area of a host file: of a qcow2 image (crypt_method 2) or the
 * begin of a `luks` image.
 */
#ifndef ISOMER_DISK_LUKS_H
#define ISOMER_DISK_LUKS_H

#include "disk/disk_driver.h"

enum { DISK_LUKS_SLOTS = 8 };

struct disk_luks_info {
    char cipher[80]; /* "aes-256-xts-plain64" */
    char hash[32], uuid[40];
    uint64_t payload; /* bytes from the begin of the header to the payload */
    uint32_t iterations;
    struct {
        bool active;
        uint32_t iterations;
        uint64_t off; /* of the key material, bytes */
    } slot[DISK_LUKS_SLOTS];
};

/* Reads the header at `at` in d->file, which occupies at most len bytes there, asks for the
 * passphrase (d->o.password) and opens the first slot that it fits. *c is freed by c->free. */
int disk_luks_open(struct disk *d, uint64_t at, uint64_t len, struct disk_crypt **c,
                   struct disk_luks_info *info, struct base_text *error);
/* The header alone, without a passphrase. */
int disk_luks_read_info(struct disk *d, uint64_t at, uint64_t len, struct disk_luks_info *info,
                        struct base_text *error);
void disk_luks_facts(const struct disk_luks_info *info, struct disk_info *to);

/* Makes a header with a new key and one slot for o->password: *area (free it) of *len bytes, at
 * whose end the payload of a `luks` image begins. `path` is for messages and the callback. */
int disk_luks_create(const char *path, const struct disk_create_options *o, uint8_t **area,
                     size_t *len, struct base_text *error);
/* Bytes that disk_luks_create() will need. */
uint64_t disk_luks_area_size(void);

#endif
