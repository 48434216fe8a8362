/* disk_vmdk.h: VMware images from inside. Private to disk_vmdk*.c.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A disk is a row of extents. A sparse extent (disk_vmdk_sparse.c) has a directory of tables that
 * say where each grain is; a flat one is bytes. The descriptor, a text, says which extents there
 * are (disk_vmdk_desc.c); it lies in the first sparse extent or in a file of its own.
 */
#ifndef ISOMER_DISK_VMDK_H
#define ISOMER_DISK_VMDK_H

#include "disk/disk_blocks.h"

enum { VMDK_SECTOR = 512 };
/* Descriptors are some hundred bytes; stops a header or file that asks for gigabytes of text. */
enum { VMDK_MAX_DESCRIPTOR = 64 << 10 };
/* 64 TiB in pieces of 2 GiB would be 32768; each opens a file. */
enum { VMDK_MAX_EXTENTS = 1024 };

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_extent {
    enum vmdk_kind kind;
    uint64_t start, len;     /* in the disk, bytes */
    struct disk_file *file;  /* NULL: zeros */
    uint64_t length;         /* of the file */
    uint64_t off;            /* flat: where it begins in the file */
    /* sparse */
    uint64_t grain;          /* bytes */
    uint32_t tables, per_table;
    uint32_t *directory;
    uint32_t **table;        /* by number; NULL: not read yet */
    bool zero_grains;        /* entry 1 says zero */
    bool compressed, markers;
    uint64_t descriptor_off, descriptor_len; /* bytes; 0: none */
};

struct vmdk {
    BASE_VEC(struct vmdk_extent) extents;
    pthread_mutex_t lock;    /* of tables read, of `unpacked` */
    char variant[64];        /* createType */
    uint8_t *unpacked;       /* the compressed grain that was read last */
    struct disk_file *unpacked_file;
    uint64_t unpacked_at;
};

/* Opens what x->file holds, a sparse extent. x->file is the caller's. */
int vmdk_sparse_open(struct disk *d, struct vmdk_extent *x, struct base_text *error);
void vmdk_sparse_free(struct vmdk_extent *x);
/* Where `off` bytes into the extent are: DISK_DATA at *host (of a compressed grain: its begin), or
 * DISK_UNALLOCATED, DISK_ZEROES. */
int vmdk_sparse_find(struct vmdk *v, struct vmdk_extent *x, uint64_t off, enum disk_kind *kind,
                     uint64_t *host);
/* Fills buf with the whole grain (x->grain bytes) whose compressed form is at host. */
int vmdk_sparse_unpack(struct vmdk_extent *x, uint64_t host, uint8_t *buf);

/* Takes extents, variant and geometry from a descriptor (len bytes, NUL behind it). `self` is the
 * sparse extent it was found in, NULL: it is a file of its own. */
int vmdk_descriptor(struct disk *d, struct vmdk *v, char *text, struct vmdk_extent *self,
                    struct base_text *error);

#endif
