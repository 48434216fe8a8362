/* disk.h: the commands of `isomer disk`. SPDX-License-Identifier: Apache-2.0
 *
 * One function for each command, as the table of the command line names them. Each takes the
 * positional arguments that follow its options, prints its answer to standard output (JSON if asked
 * for) and what is wrong in one line to standard error, and returns an exit status: ISOMER_EXIT_OK,
 * ISOMER_EXIT_FAILURE if an image or the environment is to blame, ISOMER_EXIT_USAGE for an argument
 * that makes no sense. They are in the program isomer-disk, which `isomer disk` starts, so that
 * compression and TLS libraries cost a start of `isomer run` nothing.
 */
#ifndef ISOMER_DISK_COMMANDS_H
#define ISOMER_DISK_COMMANDS_H

#include "isomer/isomer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the options of all disk commands say. All zero is the default; strings and lists (which end
 * with NULL) belong to the caller. */
struct isomer_disk_options {
    bool json, quiet;
    bool force;              /* replace what is there */
    bool shared;             /* look at an image that is in use */
    const char *format;      /* of the image or the source; NULL: found out */
    const char *output_format; /* NULL: by the name's ending, else qcow2 */
    const char *backing, *backing_format;
    const char **folders;    /* more folders in which backing files may lie */
    const char *password_file;
    const char *snapshot;    /* convert, compare, map, serve: this internal snapshot */

    /* create, convert, split */
    uint64_t cluster_size, refcount_bits, version;
    const char *geometry;    /* CYLINDERS,HEADS,SECTORS */
    const char *prealloc, *extended_l2, *compression, *subformat, *data_file;
    bool data_file_raw, lazy_refcounts, encrypt;

    bool compress;           /* convert, split */
    const char *sparse;      /* convert: shortest run of zeros that becomes a hole */
    bool verify;             /* convert: read back and compare */
    bool bitmaps;            /* convert: dirty bitmaps, too */
    bool skip_broken_bitmaps; /* convert: but not those that were not closed */
    bool chain;              /* info: the backing files, too */
    const char *repair;      /* check: "" or "all", or "leaks"; NULL: only look */
    bool shrink;             /* resize */
    bool unsafe;             /* rebase */
    bool strict;             /* compare: allocation and size, too */
    uint64_t granularity;    /* bitmap add; 0: 64 KiB */
    bool disabled;           /* bitmap add */
    const char *source;      /* bitmap merge: from this image; NULL: the same */
    const char *layout;      /* split: a file that says which disks */
    uint64_t parts, part_size; /* split */

    /* serve, mount */
    bool read_only, persistent, tls_required, foreground;
    const char *socket, *address, *port, *name, *description;
    const char *tls_cert, *tls_key, *tls_ca;
    uint64_t max_clients;

    /* bench */
    uint64_t count, depth, offset, buffer_size, step, flush_interval, pattern, seed, queues;
    bool write, random;
};

typedef int isomer_disk_command(const struct isomer_disk_options *options, int argc, char **argv);

isomer_disk_command isomer_disk_create, isomer_disk_info, isomer_disk_check, isomer_disk_convert,
    isomer_disk_resize, isomer_disk_snapshot_create, isomer_disk_snapshot_list,
    isomer_disk_snapshot_delete, isomer_disk_snapshot_revert, isomer_disk_commit,
    isomer_disk_rebase, isomer_disk_map, isomer_disk_compare, isomer_disk_split, isomer_disk_serve,
    isomer_disk_mount, isomer_disk_bench, isomer_disk_bitmap_list, isomer_disk_bitmap_add,
    isomer_disk_bitmap_remove, isomer_disk_bitmap_clear, isomer_disk_bitmap_enable,
    isomer_disk_bitmap_disable, isomer_disk_bitmap_merge;

#ifdef __cplusplus
}
#endif
#endif
