/* fuzz_fs.h: host files in memory, and what a disk did to them. SPDX-License-Identifier: Apache-2.0
 *
 * A few files of fixed names, sparse, that disk_file_ops reads and writes instead of the host's.
 * Folder and names are there on the host, too (empty), since paths that an image names are looked
 * up there.
 */
#ifndef FUZZ_FS_H
#define FUZZ_FS_H

#include "disk/disk_driver.h"

enum fuzz_file_name {
    FUZZ_IMAGE,      /* "image": what is being fuzzed */
    FUZZ_BASE_RAW,   /* "base.raw", 96 KiB */
    FUZZ_BASE_QCOW2, /* "base.qcow2" */
    FUZZ_DATA,       /* "data.raw": an external data file, an extent */
    FUZZ_COPY,       /* to work on */
    FUZZ_FILES,
};

/* A file longer than that is never made by an input; writing there is a full disk. */
#define FUZZ_FILE_MAX (UINT64_C(64) << 20)

struct fuzz_fs_counts {
    uint64_t reads, bytes_read; /* calls, and what they gave */
    uint64_t changes;           /* of content or length */
};
extern struct fuzz_fs_counts fuzz_fs_counts;
extern const struct disk_file_ops fuzz_fs_ops;

void fuzz_fs_begin(void);                  /* the folder on the host */
const char *fuzz_fs_path(unsigned file);
uint64_t fuzz_fs_length(unsigned file);
void fuzz_fs_read(unsigned file, uint64_t off, void *buf, size_t n); /* zeros behind the end */
bool fuzz_fs_write(unsigned file, uint64_t off, const void *buf, size_t n);
void fuzz_fs_truncate(unsigned file, uint64_t len);
/* Was it changed, by whomever, since the last fuzz_fs_settle()? */
bool fuzz_fs_changed(unsigned file);
void fuzz_fs_settle(unsigned file);
void fuzz_fs_copy(unsigned to, unsigned from);
/* Calls fn for each page that was ever written, in order. */
void fuzz_fs_each(unsigned file, void (*fn)(void *context, uint64_t off, const uint8_t *page,
                                            size_t n), void *context);

#endif
