/* disk_cmd.h: what the commands of `isomer disk` share. Private to src/disk.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef DISK_CMD_H
#define DISK_CMD_H

#include "disk/disk_driver.h"
#include "disk/disk_json.h"
#include "isomer/disk.h"

/* Prints the line in *error (or that of result, if there is none) and frees it. Returns
 * ISOMER_EXIT_FAILURE. */
int disk_cmd_fail(struct base_text *error, const char *path, int result);
/* One line about an argument; returns ISOMER_EXIT_USAGE. */
int disk_cmd_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Open options as the command line says them. *o refers to *options. */
void disk_cmd_open_options(const struct isomer_disk_options *options, struct disk_open_options *o);
/* Opens an image under these options with another format (NULL: found out). Returns NULL after one
 * line. */
struct disk *disk_cmd_open(const struct isomer_disk_options *options, const char *path,
                           const char *format, bool write);
/* Opens for reading, at the snapshot that options name, in which case *below is the image itself:
 * close both, that one last. */
struct disk *disk_cmd_open_state(const struct isomer_disk_options *options, const char *path,
                                 struct disk **below);
/* Closes what was written to; says what went wrong. Returns status, or a failure. */
int disk_cmd_close(struct disk *d, int status);

/* What all of create, convert and split say about a new image. False after one line. */
bool disk_cmd_create_options(const struct isomer_disk_options *options, const char *format,
                             struct disk_create_options *c);
bool disk_cmd_geometry(const char *text, struct disk_geometry *g);

/* "1.5 GiB"; in buf, which has DISK_SIZE_TEXT bytes. */
enum { DISK_SIZE_TEXT = 32 };
const char *disk_size_text(uint64_t bytes, char *buf);

/* ---- progress -------------------------------------------------------- */

struct disk_progress {
    bool off, terminal, shown;
    const char *what;
    uint64_t begin, last; /* ns */
};

/* Begins to show how far `what` is, and lets SIGINT, SIGTERM and SIGHUP stop it cleanly. */
void disk_progress_begin(struct disk_progress *p, const char *what, bool off);
/* A disk_progress_fn: context is the struct disk_progress. */
int disk_progress_step(void *context, uint64_t done, uint64_t all);
void disk_progress_end(struct disk_progress *p);
/* Did one of these signals come? */
bool disk_progress_stopped(void);

/* ---- parts ----------------------------------------------------------- */

struct disk_convert {
    struct disk *src, *dst;
    uint64_t src_off;    /* dst's first byte is that of src */
    uint64_t len;
    uint64_t sparse;     /* shortest run of zeros left out; 0: none */
    bool compress;
    bool over_backing;   /* dst reads as something already: write what differs */
    uint64_t written;    /* out: bytes that were written */
    disk_progress_fn *progress;
    void *progress_context;
};
/* Copies on all cores. dst must read as zero unless over_backing. */
int disk_convert_run(struct disk_convert *c, struct base_text *error);

/* 0: the same in [0, len); 1: they differ at *at; or -errno. */
int disk_compare_run(struct disk *a, struct disk *b, uint64_t len, uint64_t *at,
                     disk_progress_fn *progress, void *context);
/* Does [off, off + len) read as zero? 1: no, at *at. */
int disk_compare_zero(struct disk *d, uint64_t off, uint64_t len, uint64_t *at);
bool disk_is_zero(const void *p, size_t len);

/* A new image that gets its name when it is complete: made under a temporary name. */
struct disk_new {
    char *path, *temporary;
    struct disk *disk;
    struct disk_file *old; /* locks what will be replaced */
    const struct disk_open_options *o;
};
/* src: what it will be filled from; if that is the very file that is replaced, src's own lock is
 * enough. May be NULL. *o must live until the end. */
int disk_new_begin(struct disk_new *n, const char *path, const struct disk_create_options *c,
                   const struct disk_open_options *o, const struct disk *src,
                   struct base_text *error);
/* Flushes, renames, flushes the folder. Closes the disk either way. verify: called with the image
 * opened again for reading, before it gets its name; may be NULL. */
int disk_new_end(struct disk_new *n, int (*verify)(void *context, struct disk *d),
                 void *context, struct base_text *error);
void disk_new_abandon(struct disk_new *n);

#endif
