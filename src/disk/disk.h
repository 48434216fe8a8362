/* disk.h: virtual disks in host files, behind one small asynchronous interface.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A disk is an array of bytes that lives in a host file in one of several formats (raw, qcow2,
 * ...), with everything below it: the chain of backing files that hold what it has not written
 * itself, and an external data file.
 *
 * Two ways in. The synchronous calls (disk_read, ...) may be made from any thread at any time. A
 * queue takes requests without waiting for them: one thread at a time uses a queue, a disk may
 * have many. A request that the page cache can answer is done before disk_submit() returns, the
 * others by the kernel (io_uring) or by a pool of threads; either way `done` is called from
 * disk_poll() or disk_wait(), never from within disk_submit().
 *
 * Two requests in flight at once that touch the same bytes have no order. What was written is safe
 * on the medium when a flush that was submitted after its completion has completed.
 *
 * Results are 0 or a negative errno. Where there is a `struct base_text *error`, a failure leaves
 * one line there: what, why and how to put it right.
 */
#ifndef ISOMER_DISK_H
#define ISOMER_DISK_H

#include "base/base.h"

#include <sys/uio.h>

struct disk;           /* an open image with all that is below it */
struct disk_queue;     /* one submitter */
struct disk_file_ops;  /* disk_file.h: how host files are reached; tests replace it */

/* The largest disk: offsets stay positive as int64_t with room for the arithmetic of every format.
 * Stops sizes in a header that make sums wrap. */
#define DISK_MAX_SIZE (UINT64_C(1) << 62)

/* ---- open and close -------------------------------------------------- */

/* Asks for a passphrase: writes at most cap bytes, returns how many, or -errno. */
typedef int disk_password_fn(void *context, const char *path, uint8_t *buf, size_t cap);

struct disk_open_options {
    const char *format;     /* NULL: find out. A raw image must be named as such to be written */
    bool read_only;
    bool no_backing;        /* leave the backing file closed; what it holds reads as zero */
    bool no_lock;           /* look at an image that someone else may be writing (read only) */
    bool no_repair;         /* for check: do not repair refcounts although the dirty bit is set */
    size_t meta_cache;      /* bytes for tables of each image, 0: a default */
    size_t cluster_cache;   /* bytes for decompressed clusters, 0: a default */
    disk_password_fn *password;
    void *password_context;
    /* Folders in which backing and data files may lie, closed by NULL. The folder of the image
     * itself is always one; "/" allows all. */
    const char *const *folders;
    const struct disk_file_ops *file_ops; /* NULL: host files */
    void *file_context;                   /* for file_ops */
};

int disk_open(const char *path, const struct disk_open_options *o, struct disk **d,
              struct base_text *error);
/* Flushes and frees; all queues must have been freed. Returns the first error that was met. */
int disk_close_result(struct disk *d);
void disk_close(struct disk *d); /* the same, for who has flushed; d may be NULL */

uint64_t disk_size(const struct disk *d);
const char *disk_format(const struct disk *d);
const char *disk_path(const struct disk *d);
bool disk_is_read_only(const struct disk *d);
struct disk *disk_backing(const struct disk *d); /* NULL: none */

/* ---- requests -------------------------------------------------------- */

enum disk_op { DISK_READ, DISK_WRITE, DISK_ZERO, DISK_DISCARD, DISK_FLUSH };

enum disk_req_flag {
    DISK_REQ_FUA = 1,        /* on the medium when it is done */
    DISK_REQ_MAY_UNMAP = 2,  /* DISK_ZERO: space may be given back */
    DISK_REQ_COMPRESSED = 4, /* DISK_WRITE: whole clusters, stored compressed where that is less */
};

struct disk_req {
    uint8_t op;    /* enum disk_op */
    uint8_t flags; /* enum disk_req_flag */
    int niov;      /* read, write: buffers whose lengths add up to len */
    const struct iovec *iov;
    uint64_t off, len; /* bytes, any alignment */
    int result;        /* 0 or -errno, valid when done is called */
    void (*done)(struct disk_req *r);
    void *owner;
    struct { /* private */
        struct disk_req *next;
        struct disk_queue *queue;
        uint64_t a, b;
        void *p;
    } priv;
};

struct disk_queue *disk_queue_new(struct disk *d);
void disk_queue_free(struct disk_queue *q); /* waits for what is in flight */
/* The request and its buffers belong to the queue until done() is called. */
void disk_submit(struct disk_queue *q, struct disk_req *r);
/* Calls done() of what is finished; returns how many. disk_wait() waits for at least one if any is
 * in flight. done() may submit more. */
unsigned disk_poll(struct disk_queue *q);
unsigned disk_wait(struct disk_queue *q);
/* Readable when something may be there for disk_poll(), which also clears it. What was done within
 * disk_submit() does not make it readable: poll once after submitting, before going to sleep. */
int disk_queue_fd(struct disk_queue *q);

/* Synchronous, from any thread. */
int disk_read(struct disk *d, uint64_t off, void *buf, size_t len);
int disk_write(struct disk *d, uint64_t off, const void *buf, size_t len);
int disk_readv(struct disk *d, uint64_t off, const struct iovec *iov, int niov);
int disk_writev(struct disk *d, uint64_t off, const struct iovec *iov, int niov, unsigned flags);
int disk_zero(struct disk *d, uint64_t off, uint64_t len, unsigned flags);
int disk_discard(struct disk *d, uint64_t off, uint64_t len);
int disk_flush(struct disk *d);

/* ---- where data is --------------------------------------------------- */

enum disk_kind {
    DISK_UNALLOCATED, /* nowhere in the chain: reads as zero */
    DISK_ZEROES,      /* an image of the chain says zero */
    DISK_DATA,
};

struct disk_extent {
    uint64_t off, len;  /* the longest run of one kind that begins at off, within what was asked */
    enum disk_kind kind;
    unsigned depth;     /* 0: this image, 1: its backing file, ... */
    bool compressed;
    bool has_host_off;  /* data lies in `path` at host_off, byte by byte */
    uint64_t host_off;
    const char *path;   /* of the file at that depth; lives as long as the disk */
};

int disk_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e);

/* ---- facts ----------------------------------------------------------- */

struct disk_geometry {
    uint32_t cylinders, heads, sectors; /* sectors of 512 bytes a track; 0: not known */
};
/* What a device reports for a disk of that size if nothing else is known: the translation that
 * INT 13h and ATA use, at most 16383/16/63 or 1024/255/63. */
struct disk_geometry disk_geometry_guess(uint64_t size);

enum { DISK_MAX_FACTS = 32 };
struct disk_fact { /* one thing a format has to say about an image */
    const char *name; /* as a JSON key: "refcount-bits" */
    enum { DISK_FACT_NUMBER, DISK_FACT_BOOL, DISK_FACT_TEXT } type;
    uint64_t number;
    char text[128];
};

struct disk_info {
    const char *format;
    uint64_t size;      /* of the disk */
    uint64_t file_size; /* length of the host file */
    uint64_t allocated; /* bytes that the host file occupies */
    uint32_t cluster_size, subcluster_size; /* 0: the format has none */
    struct disk_geometry geometry;
    bool geometry_stored;                   /* in the image; else guessed */
    bool read_only, dirty, corrupt, encrypted, compressed;
    const char *backing, *backing_format; /* as written in the image; NULL: none */
    const char *data_file;
    unsigned snapshots, bitmaps;
    struct disk_fact facts[DISK_MAX_FACTS];
    unsigned nfacts;
};
/* Strings live as long as the disk, or until the next change of what they say. */
int disk_get_info(struct disk *d, struct disk_info *info);

/* ---- create ---------------------------------------------------------- */

enum disk_prealloc { DISK_PREALLOC_OFF, DISK_PREALLOC_METADATA, DISK_PREALLOC_FULL };
enum disk_tristate { DISK_DEFAULT, DISK_ON, DISK_OFF };
enum disk_compression { DISK_ZLIB = 0, DISK_ZSTD = 1 }; /* numbers of the qcow2 header */

struct disk_create_options {
    const char *format;    /* NULL: qcow2 */
    uint64_t size;         /* 0 with a backing file: its size */
    bool size_set;         /* a size of 0 is meant */
    bool overwrite;        /* replace what is there; otherwise -EEXIST */
    struct disk_geometry geometry; /* all 0: not stored */
    const char *backing, *backing_format; /* as they will stand in the image */
    const char *data_file;                /* external data file, created if it is not there */
    bool data_file_raw;
    enum disk_prealloc prealloc;
    unsigned version;       /* qcow2: 2, 3; 0: 3 */
    uint32_t cluster_size;  /* 0: the format's default */
    unsigned refcount_bits; /* 0: 16 */
    enum disk_tristate extended_l2; /* default: on for overlays */
    enum disk_tristate lazy_refcounts;
    enum disk_compression compression;
    bool encrypt;           /* LUKS with what the password callback says */
    unsigned pbkdf_ms;      /* time a passphrase guess shall cost, 0: 1000 */
    disk_password_fn *password;
    void *password_context;
    const char *subformat;  /* VMDK, VHDX, VDI: a variant */
    const char *const *folders;           /* as in disk_open_options, for the backing file */
    const struct disk_file_ops *file_ops;
    void *file_context;
};
/* The image appears under its name complete and flushed, or not at all. */
int disk_create(const char *path, const struct disk_create_options *o, struct base_text *error);

/* ---- check, resize --------------------------------------------------- */

enum disk_repair { DISK_REPAIR_NONE, DISK_REPAIR_LEAKS, DISK_REPAIR_ALL };

struct disk_check_result {
    uint64_t corruptions, corruptions_fixed; /* data is in danger */
    uint64_t leaks, leaks_fixed;             /* space is lost, no more */
    uint64_t errors;                         /* could not be looked at: I/O errors */
    uint64_t clusters, allocated, compressed, fragmented; /* of the disk's size */
    uint64_t image_end;                      /* host offset where used space ends */
    void (*report)(void *context, const char *line); /* each finding; may be NULL */
    void *context;
};
int disk_check(struct disk *d, enum disk_repair repair, struct disk_check_result *r);

enum disk_resize_flag { DISK_RESIZE_SHRINK = 1 /* losing what is behind the end is meant */ };
int disk_resize(struct disk *d, uint64_t size, unsigned flags, struct base_text *error);

/* ---- backing chains -------------------------------------------------- */

/* Called now and then with bytes done and in all; not 0: stop (-ECANCELED). May be NULL. */
typedef int disk_progress_fn(void *context, uint64_t done, uint64_t all);

/* Writes what the image holds into its backing file and leaves the image empty. */
int disk_commit(struct disk *d, disk_progress_fn *progress, void *context,
                struct base_text *error);
/* Changes the backing file; backing NULL or "": none. Safe copies what would read differently;
 * `unsafe` only writes the new name (the content must be the same, or was moved). */
int disk_rebase(struct disk *d, const char *backing, const char *backing_format, bool unsafe,
                disk_progress_fn *progress, void *context, struct base_text *error);

/* ---- internal snapshots ---------------------------------------------- */

struct disk_snapshot {
    char id[64], name[256];
    uint64_t size;         /* of the disk when it was taken */
    uint64_t vm_state_size;
    uint64_t seconds;      /* since 1970 */
    uint32_t nanoseconds;
    uint64_t vm_clock_ns;
    uint64_t icount;       /* UINT64_MAX: none */
};
/* name_or_id: an id is looked for first. The disk may be in use; queues of other threads must go on
 * being polled meanwhile, those of the calling thread be idle. */
int disk_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n); /* free(*list) */
int disk_snapshot_create(struct disk *d, const char *name, struct base_text *error);
int disk_snapshot_delete(struct disk *d, const char *name_or_id, struct base_text *error);
int disk_snapshot_revert(struct disk *d, const char *name_or_id, struct base_text *error);
/* Opens the state of a snapshot for reading, as a disk of its own. */
int disk_snapshot_open(struct disk *d, const char *name_or_id, struct disk **s,
                       struct base_text *error);

/* ---- persistent dirty bitmaps ---------------------------------------- */

struct disk_bitmap {
    char name[1024];
    uint32_t granularity; /* bytes */
    bool enabled;         /* records what is written */
    bool in_use;          /* was not closed: says nothing, can only be removed */
    bool persistent;
    uint64_t dirty;       /* bytes */
};
/* As for snapshots, the disk may be in use. What is changed reaches the file when the disk is
 * closed; until then the file says that the bitmap is in use. */
int disk_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n); /* free(*list) */
int disk_bitmap_add(struct disk *d, const char *name, uint32_t granularity, /* 0: 64 KiB */
                    struct base_text *error);
int disk_bitmap_remove(struct disk *d, const char *name, struct base_text *error);
int disk_bitmap_clear(struct disk *d, const char *name, struct base_text *error);
int disk_bitmap_enable(struct disk *d, const char *name, bool on, struct base_text *error);
/* What `from` of the disk src (which may be d) has is set in `into`, too. */
int disk_bitmap_merge(struct disk *d, const char *into, struct disk *src, const char *from,
                      struct base_text *error);
/* The next dirty run at or after off: *len 0 if there is none. */
int disk_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start,
                     uint64_t *len, struct base_text *error);

/* ---- formats --------------------------------------------------------- */

/* Names of all formats for help and completion: NULL behind the last. */
const char *disk_format_name(unsigned i);
bool disk_format_can_write(const char *name);
bool disk_format_can_create(const char *name);
/* The format that the first bytes of a file say; "raw" if none. NULL and -errno in *result if it
 * cannot be read. */
const char *disk_probe(const char *path, int *result);

#endif
