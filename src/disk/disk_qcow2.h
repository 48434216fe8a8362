/* disk_qcow2.h: qcow2 images from inside. Private to disk_qcow2_*.c.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The format is QEMU's docs/interop/qcow2.txt; its words are used here. Functions begin with q2_.
 *
 *   disk_qcow2.c         the driver: open, close, info
 *   disk_qcow2_header.c  header and its extensions
 *   disk_qcow2_meta.c    tables in memory, which clusters are metadata
 *   disk_qcow2_commit.c  tables to the file, in an order that survives a power loss
 *   disk_qcow2_alloc.c   refcounts: allocate, free
 *   disk_qcow2_map.c     what an L2 entry says
 *   disk_qcow2_tree.c    everything below an L1 table, for snapshots
 *   disk_qcow2_read.c, _write.c, _compress.c   requests
 *   disk_qcow2_create.c, _check.c, _rebuild.c, _resize.c, _snapshot.c
 *   disk_qcow2_bitmap.c, _change.c, _store.c   dirty bitmaps
 *
 * Rules that a change must keep
 *  - Metadata is changed in memory only, and reaches the file in q2_commit() only, in this order,
 *    each step on the medium before the next: data and refcounts, refcount table, L2 tables, L1
 *    table, then the refcounts of what was dropped. So a crash leaves leaks, never corruption.
 *  - A refcount falls (q2_free) only when the metadata that dropped the cluster is on the medium
 * and
 *    every request that could have looked it up before is over (q2_enter, q2_leave).
 *  - A cluster that becomes visible in an L2 entry has its data written before.
 *  - Nothing is written over a cluster that is in q->owner as something else; whoever finds that it
 *    would be calls q2_corrupt().
 *
 * Locks, outermost first; none is needed behind the gate (q2_close_gate).
 *    bitmap_lock  a dirty bitmap is being read or marked
 *    stripe[]     one guest cluster is being allocated, copied or dropped
 *    commit_lock  one commit at a time
 *    load_lock    one table is being read
 *    map_lock     L1 and L2: shared to look up, exclusive to change. Never across I/O on
 *                 data
 *    alloc_lock   refcounts and lists of free clusters
 *    owner_lock   q->owner
 */
#ifndef ISOMER_DISK_QCOW2_H
#define ISOMER_DISK_QCOW2_H

#include "disk/disk_driver.h"
#include "disk/disk_luks.h"

/* ---- numbers of the format, bounds ----------------------------------- */

#define Q2_MAGIC 0x514649fbu /* "QFI\xfb" */
#define Q2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define Q2_COPIED (UINT64_C(1) << 63)     /* refcount is one: may be written in place */
#define Q2_COMPRESSED (UINT64_C(1) << 62)
#define Q2_ZERO UINT64_C(1)               /* reads as zero (without subclusters) */

enum { Q2_MIN_CLUSTER_BITS = 9, Q2_MAX_CLUSTER_BITS = 21 }; /* stops shifts out of range */
enum { Q2_MAX_REFCOUNT_ORDER = 6 };
enum { Q2_MAX_L1_BYTES = 32 << 20 };       /* stops a header from asking for all memory */
enum { Q2_MAX_REFTABLE_BYTES = 8 << 20 };  /* the same */
enum { Q2_MAX_SNAPSHOTS = 65536 };         /* the same */
enum { Q2_MAX_LUKS = 64 << 20 };           /* eight slots need 2 MiB: stops endless ownership */
enum { Q2_CRYPT_LUKS = 2 };
enum { Q2_MAX_EXTENSION = 1 << 20 };       /* the same, for one header extension */
enum { Q2_MAX_BACKING_NAME = 1023 };       /* the specification's limit */
enum { Q2_V2_HEADER = 72, Q2_V3_HEADER = 104, Q2_OUR_HEADER = 112 };
/* QEMU's limits: stop directories and bitmaps that fill all memory, and shifts out of range. */
enum { Q2_MAX_BITMAPS = 65535, Q2_MAX_BITMAP_DIRECTORY = 64 << 20, Q2_MAX_BITMAP_BYTES = 512 << 20,
       Q2_MAX_BITMAP_NAME = 1023, Q2_MIN_GRANULARITY = 9, Q2_MAX_GRANULARITY = 31,
       Q2_DEFAULT_GRANULARITY = 64 << 10 };
enum { Q2_STRIPES = 64, Q2_PIECE = 4096, Q2_PIECE_WORDS = 8 };

enum q2_incompatible {
    Q2_DIRTY = 1, Q2_CORRUPT = 2, Q2_DATA_FILE = 4, Q2_COMPRESSION = 8, Q2_EXTENDED_L2 = 16,
    Q2_INCOMPATIBLE_KNOWN = 31,
};
enum { Q2_LAZY_REFCOUNTS = 1 };
enum q2_autoclear { Q2_BITMAPS = 1, Q2_DATA_FILE_RAW = 2, Q2_AUTOCLEAR_KNOWN = 3 };

enum q2_extension_type {
    Q2_EXT_END = 0,
    Q2_EXT_BACKING_FORMAT = (int)0xe2792aca,
    Q2_EXT_FEATURES = 0x6803f857,
    Q2_EXT_BITMAPS = 0x23852875,
    Q2_EXT_CRYPTO = 0x0537be77,
    Q2_EXT_DATA_FILE = 0x44415441,
    Q2_EXT_GEOMETRY = 0x49734743, /* ours, "IsGC": cylinders, heads, sectors, 32 bits each */
};

struct q2_header { /* as in the file, host byte order */
    uint32_t version;
    uint64_t backing_off;
    uint32_t backing_len, cluster_bits;
    uint64_t size;
    uint32_t crypt_method, l1_size;
    uint64_t l1_off, reftable_off;
    uint32_t reftable_clusters, snapshots;
    uint64_t snapshots_off;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order, header_length;
    uint8_t compression;
};

struct q2_extension { /* any but the end; kept and written back whether known or not */
    uint32_t type, len;
    uint8_t *data;
};

/* ---- the image in memory --------------------------------------------- */

/* A table of one cluster: L2 or refcount block. `data` is as in the file. */
struct q2_table {
    uint64_t off;
    uint32_t index;     /* in the L1 or the refcount table */
    bool refcounts;
    bool dirty_any;
    bool busy;          /* being committed: must not be evicted */
    _Atomic bool used;  /* since the clock's hand came by */
    uint64_t dirty[Q2_PIECE_WORDS]; /* pieces of Q2_PIECE bytes */
    uint8_t *data;
};

/* Who owns a metadata cluster: kinds of the map q->owner. */
enum q2_owner {
    Q2_FREE, Q2_OWN_HEADER, Q2_OWN_L1, Q2_OWN_L2, Q2_OWN_REFTABLE, Q2_OWN_REFBLOCK,
    Q2_OWN_SNAPSHOTS, Q2_OWN_BITMAPS, /* directory, tables, bits */
    Q2_OWN_OTHER /* LUKS header, inactive L1 */
};

struct q2_free { /* a cluster range given back */
    uint64_t off, len;
    bool punch; /* its content is not wanted any more: give the host its space */
};
typedef BASE_VEC(struct q2_free) q2_frees;

struct q2_spare { uint64_t cluster; bool zero; };

enum { Q2_BITMAP_IN_USE = 1, Q2_BITMAP_AUTO = 2, Q2_BITMAP_EXTRA_OK = 4 };
struct q2_bitmap { /* a persistent dirty bitmap */
    char *name;
    uint64_t table;          /* where that lies, and how many entries it has */
    uint32_t entries, flags; /* as in the file, but for our own mark */
    uint32_t extra_len;
    uint8_t *extra;          /* kept as it is */
    unsigned bits;           /* granularity */
    uint64_t count;          /* bits for the size of the disk */
    _Atomic uint64_t *words; /* NULL: not in memory. Whole clusters; 0 behind count */
    bool unusable;           /* IN_USE when it was opened, or extra data not known */
    bool marked;             /* IN_USE by us: what is in memory is right, and stored at close */
    bool wanted;             /* for a moment: to be marked */
};
typedef BASE_VEC(struct q2_bitmap *) q2_bitmaps;

enum q2_recording {
    Q2_RECORD_NONE,
    Q2_RECORD_MARK, /* what records must be marked in the file before the first change */
    Q2_RECORD_ON,
};

struct q2 {
    struct disk *d;
    struct disk_file *file;      /* d->file: metadata, and data if no other is named */
    struct disk_file *data;      /* where data is */
    struct q2_header h;
    BASE_VEC(struct q2_extension) ext;
    unsigned cluster_bits, entry_bytes, l2_bits, sub_bits, subs, ref_order, ref_bits;
    uint64_t cluster_size;
    bool extended, lazy, raw_data, no_backing_data;
    struct disk_crypt *crypt;    /* LUKS: tweak by host offset */
    struct disk_luks_info luks;

    pthread_mutex_t stripe[Q2_STRIPES];
    pthread_mutex_t commit_lock, load_lock, alloc_lock, owner_lock;
    pthread_rwlock_t map_lock;
    _Atomic unsigned epoch, users[2];
    _Atomic bool gate_closed;

    /* map_lock */
    uint64_t *l1;                /* host byte order */
    struct q2_table **l2;        /* by L1 index; NULL: not in memory */
    uint64_t *l1_dirty;          /* pieces */
    bool l1_dirty_any;
    struct q2_own { uint64_t cluster; uint32_t kind, index; } *owner; /* open addressing */
    uint64_t owner_mask, owner_count;
    BASE_VEC(struct q2_table *) tables; /* L2 */
    size_t hand, max_tables;
    _Atomic unsigned ndirty;     /* tables */

    /* alloc_lock */
    uint64_t *rt;                /* refcount table, host byte order */
    struct q2_table **rb;
    BASE_VEC(struct q2_table *) blocks; /* refcount blocks */
    uint64_t rt_entries;
    bool rt_dirty, rt_moved;
    uint64_t rt_old_off, rt_old_len;
    uint64_t end;                /* clusters from here on were never used */
    uint64_t scan, scan_end;     /* free ones between are found by looking */
    BASE_VEC(struct q2_spare) spare; /* free, refcount 0, not in [scan, scan_end) */
    uint64_t packed;             /* where the next compressed cluster may begin; 0: nowhere */
    q2_frees dropped;            /* since the last commit */
    q2_frees waiting;            /* dropped on the medium, requests of the old epoch may be on it */
    q2_frees later;              /* to wait next */
    unsigned waiting_epoch;

    struct q2_cache *cache;      /* decompressed clusters */

    /* changed behind the gate; bits by atomic operations */
    q2_bitmaps bitmaps;
    int bitmaps_result;          /* why they cannot be read */
    _Atomic unsigned recording;  /* enum q2_recording */
    pthread_mutex_t bitmap_lock; /* one is being read or marked */
};

/* ---- header (disk_qcow2_header.c) ------------------------------------ */

int q2_header_read(struct q2 *q, struct base_text *error);
/* Writes header, extensions and backing name, and waits for the medium. */
int q2_header_write(struct q2 *q);
struct q2_extension *q2_ext_find(struct q2 *q, uint32_t type);
void q2_ext_set(struct q2 *q, uint32_t type, const void *data, uint32_t len); /* NULL: remove */
/* The header cluster with all that belongs into it. -ENOSPC: does not fit. */
int q2_header_build(struct q2 *q, uint8_t *buf, size_t size);
void q2_set_features_table(struct q2 *q);

/* ---- tables (disk_qcow2_meta.c) -------------------------------------- */

int q2_tables_open(struct q2 *q, struct base_text *error); /* reads L1 and refcount table */
void q2_tables_free(struct q2 *q);
/* The L2 table of an L1 index into memory; no lock held. 0 even if there is none. */
int q2_load_l2(struct q2 *q, uint64_t index);
/* Under map_lock exclusive: the table for writing, new or copied where need be. -EAGAIN: not in
 * memory, load it and try again. */
int q2_l2_for_write(struct q2 *q, uint64_t index, struct q2_table **t);
struct q2_table *q2_table_new(struct q2 *q, uint64_t off, uint32_t index, bool refcounts);
void q2_table_dirty(struct q2 *q, struct q2_table *t, uint32_t at, uint32_t len);
void q2_table_drop(struct q2 *q, struct q2_table *t);
void q2_l1_set(struct q2 *q, uint64_t index, uint64_t value);
/* Metadata clusters: false if someone else owns it. */
bool q2_own(struct q2 *q, uint64_t off, uint64_t len, enum q2_owner kind, uint32_t index);
void q2_disown(struct q2 *q, uint64_t off, uint64_t len);
enum q2_owner q2_owner_of(struct q2 *q, uint64_t off, uint32_t *index);
/* Data is about to be written there. False: not with metadata; says so by q2_corrupt. */
bool q2_data_ok(struct q2 *q, uint64_t off, uint64_t len);
/* Calls for each internal snapshot's L1; before: owns snapshot table and L1s. */
typedef int q2_snapshot_fn(struct q2 *q, void *context, uint32_t index, uint64_t l1_off,
                           uint32_t l1_size);
int q2_each_snapshot(struct q2 *q, uint64_t *table_len, q2_snapshot_fn *fn, void *context);
/* A commit is due because of memory; no lock held but a stripe. */
int q2_commit_if_full(struct q2 *q);

/* ---- commit (disk_qcow2_commit.c) ------------------------------------ */

int q2_commit(struct q2 *q, bool refcounts_too);
/* The same, until nothing dropped is left over. Behind the gate. */
int q2_commit_all(struct q2 *q);
/* The image is damaged: sets the corrupt bit, stops writes, says so. Returns -EIO. */
int q2_corrupt(struct q2 *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* All metadata writes: checks who owns the clusters. */
int q2_write_meta(struct q2 *q, uint64_t off, const void *buf, size_t len, enum q2_owner kind,
                  uint32_t index);

/* Requests in flight. */
_Atomic unsigned *q2_enter(struct q2 *q);     /* waits while the gate is closed */
_Atomic unsigned *q2_try_enter(struct q2 *q); /* NULL while it is */
static inline void q2_leave(_Atomic unsigned *users)
{
    atomic_fetch_sub(users, 1);
}
/* No request is in flight and none begins: for what changes the image as a whole. */
void q2_close_gate(struct q2 *q);
void q2_open_gate(struct q2 *q);

/* ---- refcounts (disk_qcow2_alloc.c) ---------------------------------- */

/* n clusters in a row, refcount 1; 0 and -errno in *result. *zero: they read as zero. */
uint64_t q2_alloc(struct q2 *q, uint64_t n, bool *zero, int *result);
/* Where len bytes of a compressed cluster go. */
uint64_t q2_alloc_packed(struct q2 *q, uint64_t len, int *result);
/* The metadata that named it is changed (in memory): falls by one after the commit. */
void q2_free(struct q2 *q, uint64_t off, uint64_t len, bool punch);
/* Allocated, but never became visible. */
void q2_unalloc(struct q2 *q, uint64_t off, uint64_t n);
/* For each cluster that [off, off+len) touches, at once. alloc_lock is taken. */
int q2_ref_add(struct q2 *q, uint64_t off, uint64_t len, int64_t delta);
int q2_ref_get(struct q2 *q, uint64_t cluster, uint64_t *count);
int q2_apply_frees(struct q2 *q, q2_frees *list); /* alloc_lock held */
uint64_t q2_ref_max(const struct q2 *q); /* what a refcount can say */
uint64_t q2_ref_load(const void *block, unsigned order, uint64_t i);
void q2_ref_store(void *block, unsigned order, uint64_t i, uint64_t v);

/* ---- trees (disk_qcow2_tree.c), for snapshots; all behind the gate ---- */

/* For everything that an L1 table (host byte order) leads to: L2 tables and data. At once. All or
 * nothing; -ERANGE: refcounts are too narrow for one more. */
int q2_tree_add(struct q2 *q, const uint64_t *l1, uint64_t n, int delta);
/* COPIED flags of the active tables, in memory: all off; those on whose cluster is used once. */
int q2_tree_unflag(struct q2 *q);
int q2_tree_flag(struct q2 *q);

/* All of them, as counted by cluster, behind the last that is used; the caller commits. */
int q2_rebuild_refcounts(struct q2 *q, const uint32_t *count, uint64_t clusters);

/* ---- mapping (disk_qcow2_map.c) -------------------------------------- */

enum q2_type {
    Q2_UNALLOCATED, /* look into the backing file */
    Q2_ZEROES,
    Q2_DATA,
    Q2_PACKED,      /* compressed */
};
struct q2_run { /* bytes of one type that lie together */
    enum q2_type type;
    uint64_t len;
    uint64_t host;   /* Q2_DATA: of the first byte. Q2_PACKED: the L2 entry */
    bool writable;   /* Q2_DATA: refcount is one */
};
/* Under map_lock. -EAGAIN: the table is not in memory. -EIO: corrupt. */
int q2_find(struct q2 *q, uint64_t off, uint64_t len, struct q2_run *run);
/* The same with loading; takes the locks. */
int q2_lookup(struct q2 *q, uint64_t off, uint64_t len, struct q2_run *run);
/* One L2 entry; under map_lock. -EAGAIN as above. No table: zeros. */
int q2_entry_get(struct q2 *q, uint64_t cluster, uint64_t *entry, uint64_t *bitmap);
void q2_entry_put(struct q2 *q, struct q2_table *t, uint64_t cluster, uint64_t entry,
                  uint64_t bitmap);
/* Host range of a compressed cluster. */
void q2_packed_range(const struct q2 *q, uint64_t entry, uint64_t *off, uint64_t *len);
bool q2_entry_ok(struct q2 *q, uint64_t cluster, uint64_t entry, uint64_t bitmap);

static inline uint64_t q2_l1_index(const struct q2 *q, uint64_t cluster)
{
    return cluster >> q->l2_bits;
}
static inline uint64_t q2_cluster_of(const struct q2 *q, uint64_t off)
{
    return off >> q->cluster_bits;
}
static inline uint64_t q2_in_cluster(const struct q2 *q, uint64_t off)
{
    return off & (q->cluster_size - 1);
}

/* ---- requests -------------------------------------------------------- */

int q2_read(struct disk *d, uint64_t off, size_t len, struct disk_slice s);
int q2_write(struct disk *d, uint64_t off, size_t len, struct disk_slice s, unsigned flags);
int q2_zero(struct disk *d, uint64_t off, uint64_t len, unsigned flags);
int q2_discard(struct disk *d, uint64_t off, uint64_t len);
/* Within q2_enter. */
int q2_read_inside(struct q2 *q, uint64_t off, size_t len, struct disk_slice s);
/* Data with its encryption; host is in q->data. */
int q2_data_read(struct q2 *q, uint64_t host, size_t len, struct disk_slice s);
int q2_data_write(struct q2 *q, uint64_t host, size_t len, struct disk_slice s);
int q2_read_packed(struct q2 *q, uint64_t entry, size_t skip, size_t len, struct disk_slice s);
bool q2_try_packed(struct q2 *q, uint64_t entry, size_t skip, size_t len, struct disk_slice s);
int q2_write_packed(struct q2 *q, uint64_t off, size_t len, struct disk_slice s);
struct q2_cache *q2_cache_new(size_t bytes, size_t cluster_size);
void q2_cache_free(struct q2_cache *c);
/* What that L2 entry names is something else from now on. */
void q2_cache_forget(struct q2_cache *c, uint64_t entry);

/* ---- dirty bitmaps (disk_qcow2_bitmap.c, _change.c, _store.c) ---------- */

/* Reads the directory, and for a writer what records. An error keeps a writer from opening. */
int q2_bitmaps_open(struct q2 *q);
void q2_bitmaps_free(q2_bitmaps *list);
void q2_bitmap_free(struct q2_bitmap *b);
/* Where header and autoclear bit say that the directory is; false: there is none. */
bool q2_bitmap_place(struct q2 *q, uint64_t *off, uint64_t *size, uint32_t *n);
/* The directory in the file; -EINVAL: makes no sense. Lists nothing then. */
int q2_bitmap_directory(struct q2 *q, q2_bitmaps *list);
/* Its table, host byte order; *table is NULL after an error. */
int q2_bitmap_table(struct q2 *q, const struct q2_bitmap *b, uint64_t **table);
void q2_bitmap_append(struct base_text *t, const struct q2_bitmap *b); /* its directory entry */
struct q2_bitmap *q2_bitmap_find(const q2_bitmaps *list, const char *name);
/* The same with an error; usable: one that can be relied on. */
int q2_bitmap_named(struct q2 *q, const char *name, struct q2_bitmap **b, struct base_text *error);
int q2_bitmap_usable(struct q2 *q, const char *name, struct q2_bitmap **b,
                     struct base_text *error);
int q2_bitmap_load(struct q2 *q, struct q2_bitmap *b);
/* For a disk of that size: bits; entries of the table, UINT64_MAX if it gets too large. */
uint64_t q2_bitmap_bits(uint64_t size, unsigned bits);
uint64_t q2_bitmap_entries(const struct q2 *q, uint64_t count);
_Atomic uint64_t *q2_bitmap_room(uint64_t bytes);
void q2_bitmap_set(struct q2_bitmap *b, uint64_t off, uint64_t len);
void q2_bitmap_resize(struct q2 *q, struct q2_bitmap *b, uint64_t size); /* in memory, loaded */

/* Within q2_enter, before anything changes: [off, off + len) will. */
int q2_bitmap_record(struct q2 *q, uint64_t off, uint64_t len);
static inline int q2_record(struct q2 *q, uint64_t off, uint64_t len)
{
    return q->recording ? q2_bitmap_record(q, off, len) : 0;
}
int q2_bitmap_mark(struct q2 *q); /* those that record, in the file */
void q2_bitmap_state(struct q2 *q); /* sets q->recording */
/* For who changes the list, or one: room in the file; it is free with the next commit; the list as
 * it is in memory; a bitmap in memory, marked in the file. */
int q2_bitmap_new_place(struct q2 *q, uint64_t len, uint64_t *off);
void q2_bitmap_give_back(struct q2 *q, uint64_t off, uint64_t len);
int q2_bitmap_list_anew(struct q2 *q);
int q2_bitmap_mark_one(struct q2 *q, struct q2_bitmap *b);
/* What was marked goes to the file. Behind the gate, or at close. */
int q2_bitmaps_store(struct q2 *q);
/* Resizing: may they get that size? Then, behind the gate: all in memory and marked. */
int q2_bitmaps_may_resize(struct q2 *q, uint64_t size, struct base_text *error);
int q2_bitmaps_mark_all(struct q2 *q);

int q2_bitmap_list(struct disk *d, struct disk_bitmap **list, unsigned *n);
int q2_bitmap_next(struct disk *d, const char *name, uint64_t off, uint64_t *start, uint64_t *len,
                   struct base_text *error);
int q2_bitmap_add(struct disk *d, const char *name, uint32_t granularity,
                  struct base_text *error);
int q2_bitmap_remove(struct disk *d, const char *name, struct base_text *error);
int q2_bitmap_clear(struct disk *d, const char *name, struct base_text *error);
int q2_bitmap_enable(struct disk *d, const char *name, bool on, struct base_text *error);
int q2_bitmap_merge(struct disk *d, const char *into, struct disk *src, const char *from,
                    struct base_text *error);

/* Before the first change of refcounts: with lazy refcounts sets the dirty bit. */
int q2_begin_change(struct q2 *q);

int q2_create(struct disk_file *f, const struct disk_create_options *o, struct base_text *error);
int q2_check(struct disk *d, enum disk_repair repair, struct disk_check_result *r);
int q2_resize(struct disk *d, uint64_t size, unsigned flags, struct base_text *error);
int q2_set_backing(struct disk *d, const char *name, const char *format, struct base_text *error);
int q2_make_empty(struct disk *d);

int q2_snapshot_list(struct disk *d, struct disk_snapshot **list, unsigned *n);
int q2_snapshot_create(struct disk *d, const char *name, struct base_text *error);
int q2_snapshot_delete(struct disk *d, const char *name, struct base_text *error);
int q2_snapshot_revert(struct disk *d, const char *name, struct base_text *error);
int q2_snapshot_open(struct disk *d, const char *name, struct disk **s, struct base_text *error);

#endif
