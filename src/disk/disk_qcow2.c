/* disk_qcow2.c: the qcow2 driver: open, close, map, info. SPDX-License-Identifier: Apache-2.0
 *
 * disk_qcow2.h says how the parts belong together and which rules they keep.
 */
#include "disk/disk_qcow2.h"

#include <unistd.h>

enum { META_CACHE = 32 << 20, CLUSTER_CACHE = 64 << 20, MIN_TABLES = 16 };

static int q2_probe(const uint8_t *head, size_t n, uint64_t length)
{
    uint32_t version = disk_be32(head + 4);

    return disk_be32(head) == Q2_MAGIC && version >= 2 ? 100 : 0;
}

/* ---- open ------------------------------------------------------------ */

static int open_data_file(struct q2 *q, struct base_text *error)
{
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_DATA_FILE);
    struct disk *d = q->d;
    char *path;
    int r;

    q->data = q->file;
    if (!(q->h.incompatible & Q2_DATA_FILE))
        return 0;
    if (!e)
        return disk_error(error, -EINVAL, d->path, "it has a data file but does not name it");
    path = disk_resolve(d->path, (char *)e->data, d->o.folders, "data file", error);
    if (!path)
        return errno ? -errno : -EINVAL;
    r = disk_file_open(path, d->read_only ? 0 : DISK_FILE_WRITE, d->o.file_ops, d->o.file_context,
                       &q->data, error);
    free(path);
    if (r < 0) {
        q->data = q->file;
        return r;
    }
    if (q->data->ino && q->data->dev == q->file->dev && q->data->ino == q->file->ino)
        return disk_error(error, -EINVAL, d->path, "it names itself as its data file");
    return d->o.no_lock ? 0 : disk_file_lock(q->data, d->read_only ? DISK_LOCK_READ
                                                                   : DISK_LOCK_WRITE, error);
}

/* The LUKS header that an extension names. */
static int open_crypt(struct q2 *q, struct base_text *error)
{
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_CRYPTO);
    struct disk *d = q->d;
    uint64_t off, len;

    if (q->h.crypt_method != Q2_CRYPT_LUKS)
        return disk_error(error, -ENOTSUP, d->path,
                          "it has the old encryption, which is no protection: convert it with "
                          "qemu-img");
    if (!e || e->len < 16)
        return disk_error(error, -EINVAL, d->path, "it is encrypted but has no LUKS header");
    off = disk_be64(e->data);
    len = disk_be64(e->data + 8);
    if (!off || off & (q->cluster_size - 1) || off > DISK_MAX_SIZE || len > Q2_MAX_LUKS)
        return disk_error(error, -EINVAL, d->path, "the place of its LUKS header makes no sense");
    if (!q2_own(q, off, len, Q2_OWN_OTHER, 0))
        return disk_error(error, -EINVAL, d->path, "its LUKS header overlaps other metadata");
    return disk_luks_open(d, off, len, &q->crypt, &q->luks, error);
}

static void q2_init(struct q2 *q, struct disk *d)
{
    q->d = d;
    q->file = q->data = d->file;
    for (int i = 0; i < Q2_STRIPES; i++)
        pthread_mutex_init(&q->stripe[i], NULL);
    pthread_mutex_init(&q->commit_lock, NULL);
    pthread_mutex_init(&q->load_lock, NULL);
    pthread_mutex_init(&q->alloc_lock, NULL);
    pthread_mutex_init(&q->owner_lock, NULL);
    pthread_mutex_init(&q->bitmap_lock, NULL);
    pthread_rwlock_init(&q->map_lock, NULL);
}

static void q2_free_state(struct q2 *q)
{
    q2_tables_free(q);
    q2_bitmaps_free(&q->bitmaps);
    q2_cache_free(q->cache);
    if (q->crypt)
        q->crypt->free(q->crypt);
    if (q->data != q->file)
        disk_file_close(q->data);
    for (size_t i = 0; i < q->ext.len; i++)
        free(q->ext.data[i].data);
    base_vec_free(&q->ext);
    q->d->state = NULL;
    free(q);
}

/* Bits that say what a writer must look after, and we do not; and a refcount that was not kept. */
static int begin_writing(struct q2 *q, struct base_text *error)
{
    struct disk_check_result result = {0};
    struct disk *d = q->d;
    int r = 0;

    if (q->h.incompatible & Q2_CORRUPT)
        return disk_error(error, -EIO, d->path,
                          "it is marked corrupt, so nothing is written to it: repair it "
                          "(isomer disk check --repair), or open it read-only");
    if (q->h.incompatible & Q2_DIRTY) {
        r = q2_check(d, DISK_REPAIR_ALL, &result);
        if (!r && (result.corruptions > result.corruptions_fixed || result.errors))
            r = -EIO;
        if (r < 0)
            return disk_error(error, r, d->path, "it was not closed and cannot be repaired: %s",
                              strerror(-r));
    }
    if (q->h.autoclear & ~(uint64_t)Q2_AUTOCLEAR_KNOWN ||
        (!(q->h.autoclear & Q2_BITMAPS) && q2_ext_find(q, Q2_EXT_BITMAPS))) {
        q->h.autoclear &= Q2_AUTOCLEAR_KNOWN;
        if (!(q->h.autoclear & Q2_BITMAPS)) /* someone wrote who does not know them */
            q2_ext_set(q, Q2_EXT_BITMAPS, NULL, 0);
        r = q2_header_write(q);
        if (r < 0)
            disk_error(error, r, d->path, "its header cannot be written: %s", strerror(-r));
    }
    return r;
}

static int q2_open(struct disk *d, struct base_text *error)
{
    struct q2 *q = base_zalloc(sizeof *q);
    uint64_t length = 0;
    size_t meta = d->o.meta_cache ? d->o.meta_cache : META_CACHE;
    int r;

    d->state = q;
    q2_init(q, d);
    r = q2_header_read(q, error);
    if (!r && q->h.crypt_method)
        r = open_crypt(q, error);
    r = r ? r : open_data_file(q, error);
    r = r ? r : q2_tables_open(q, error);
    r = r ? r : disk_file_length(q->file, &length);
    if (r < 0) {
        q2_free_state(q);
        return r;
    }
    d->size = q->h.size;
    q->max_tables = meta >> q->cluster_bits > MIN_TABLES ? meta >> q->cluster_bits : MIN_TABLES;
    q->cache = q2_cache_new(d->o.cluster_cache ? d->o.cluster_cache : CLUSTER_CACHE,
                            q->cluster_size);
    q->end = q->scan_end = (length + q->cluster_size - 1) >> q->cluster_bits;
    q->scan = 1;
    if (!d->read_only && !d->o.no_repair)
        r = begin_writing(q, error);
    if (!r && q2_bitmaps_open(q) < 0 && !d->read_only && !d->o.no_repair)
        r = disk_error(error, q->bitmaps_result, d->path,
                       "its dirty bitmaps make no sense, so they cannot be kept: isomer disk check "
                       "--repair removes them");
    if (r < 0)
        q2_free_state(q);
    return r;
}

/* A whole last cluster is expected by some; nobody else writes any more. */
static int round_length(struct q2 *q)
{
    uint64_t length, end = q->end << q->cluster_bits;
    int r = q->file->regular ? disk_file_length(q->file, &length) : 1;

    if (!r && length < end)
        r = disk_file_truncate(q->file, end);
    return r < 0 ? r : 0;
}

static int q2_close(struct disk *d)
{
    struct q2 *q = d->state;
    int r = 0;

    if (!d->read_only && !d->failed) {
        r = q2_commit_all(q);
        if (!r && (r = q2_bitmaps_store(q)) < 0)
            base_error("%s: its dirty bitmaps cannot be stored and are of no use any more: %s; the "
                       "data is safe", d->path, strerror(-r));
        r = r ? r : q2_commit_all(q);
        r = r ? r : round_length(q);
        if (!r && q->h.incompatible & Q2_DIRTY && !d->o.no_repair) {
            q->h.incompatible &= ~(uint64_t)Q2_DIRTY;
            r = q2_header_write(q);
        }
    }
    q2_free_state(q);
    return r;
}

static int q2_flush(struct disk *d)
{
    return q2_commit(d->state, false);
}

/* ---- map, place ------------------------------------------------------ */

static int q2_map(struct disk *d, uint64_t off, uint64_t len, struct disk_extent *e)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_enter(q);
    struct q2_run run;
    int r = q2_lookup(q, off, len, &run);

    q2_leave(users);
    if (r < 0)
        return r;
    e->len = run.len;
    e->kind = run.type == Q2_UNALLOCATED ? DISK_UNALLOCATED
              : run.type == Q2_ZEROES    ? DISK_ZEROES
                                         : DISK_DATA;
    e->compressed = run.type == Q2_PACKED;
    e->has_host_off = run.type == Q2_DATA && !q->crypt;
    e->host_off = run.host;
    if (q->data != q->file)
        e->path = q->data->path;
    return 0;
}

static int q2_place(struct disk *d, uint64_t off, uint64_t len, bool write, struct disk_place *p)
{
    struct q2 *q = d->state;
    struct q2_run run;
    int r = -EAGAIN;

    if (q->crypt || !(p->users = q2_try_enter(q)))
        return -EAGAIN;
    if (!pthread_rwlock_tryrdlock(&q->map_lock)) {
        r = q2_find(q, off, len, &run);
        pthread_rwlock_unlock(&q->map_lock);
    }
    if (!r && (run.type == Q2_PACKED || (write && (run.type != Q2_DATA || !run.writable ||
                                                   !q2_data_ok(q, run.host, run.len)))))
        r = -EAGAIN;
    if (!r && write && q->recording != Q2_RECORD_NONE) { /* marking would wait */
        r = q->recording == Q2_RECORD_MARK ? -EAGAIN : q2_bitmap_record(q, off, run.len);
    }
    if (r < 0) {
        q2_leave(p->users);
        return -EAGAIN;
    }
    p->file = q->data;
    p->off = run.host;
    p->len = run.len;
    p->zero = run.type == Q2_ZEROES;
    return run.type == Q2_UNALLOCATED;
}

/* A compressed cluster that was decompressed before, or whose bytes the page cache has. */
static int q2_read_now(struct disk *d, uint64_t off, size_t len, struct disk_slice s)
{
    struct q2 *q = d->state;
    _Atomic unsigned *users = q2_try_enter(q);
    struct q2_run run;
    int r = -EAGAIN;

    if (!users)
        return r;
    if (!pthread_rwlock_tryrdlock(&q->map_lock)) {
        r = q2_find(q, off, len, &run);
        pthread_rwlock_unlock(&q->map_lock);
    }
    if (!r && (run.type != Q2_PACKED || run.len != len ||
               !q2_try_packed(q, run.host, q2_in_cluster(q, off), len, s)))
        r = -EAGAIN;
    q2_leave(users);
    return r < 0 ? -EAGAIN : 0;
}

/* Nothing to be read before: unallocated or zero, and around it zero or nothing to be filled. */
static bool q2_prompt(struct disk *d, uint64_t off, size_t len)
{
    struct q2 *q = d->state;
    uint64_t sub = UINT64_C(1) << q->sub_bits, below = d->backing ? (uint64_t)d->backing->size : 0;
    _Atomic unsigned *users = q2_try_enter(q);
    struct q2_run run;
    bool whole = !((off | len) & (sub - 1));
    int r = -EAGAIN;

    if (!users)
        return false;
    if (!pthread_rwlock_tryrdlock(&q->map_lock)) {
        r = q2_find(q, off, len, &run);
        pthread_rwlock_unlock(&q->map_lock);
    }
    q2_leave(users);
    if (r < 0 || run.len < len || q->ndirty >= q->max_tables || q->lazy)
        return false;
    if (run.type == Q2_UNALLOCATED)
        return whole || (off & ~(q->cluster_size - 1)) >= below;
    return run.type == Q2_ZEROES;
}

/* ---- info ------------------------------------------------------------ */

static int q2_info(struct disk *d, struct disk_info *i)
{
    struct q2 *q = d->state;
    struct q2_extension *e = q2_ext_find(q, Q2_EXT_DATA_FILE);

    i->cluster_size = (uint32_t)q->cluster_size;
    i->subcluster_size = q->extended ? 1u << q->sub_bits : 0;
    i->dirty = q->h.incompatible & Q2_DIRTY;
    i->corrupt = q->h.incompatible & Q2_CORRUPT;
    i->snapshots = q->h.snapshots;
    i->bitmaps = (unsigned)q->bitmaps.len;
    i->data_file = e ? (char *)e->data : NULL;
    disk_fact_text(i, "compat", q->h.version == 2 ? "0.10" : "1.1");
    disk_fact_text(i, "compression-type", q->h.compression == DISK_ZSTD ? "zstd" : "zlib");
    disk_fact_number(i, "refcount-bits", 1u << q->ref_order);
    disk_fact_bool(i, "lazy-refcounts", q->lazy);
    disk_fact_bool(i, "extended-l2", q->extended);
    if (q->crypt)
        disk_luks_facts(&q->luks, i);
    if (e)
        disk_fact_bool(i, "data-file-raw", q->h.autoclear & Q2_DATA_FILE_RAW);
    return 0;
}

const struct disk_driver disk_qcow2 = {
    .name = "qcow2",
    .can = DISK_CAN_WRITE | DISK_CAN_CREATE,
    .probe = q2_probe,
    .open = q2_open,
    .close = q2_close,
    .read = q2_read,
    .write = q2_write,
    .zero = q2_zero,
    .discard = q2_discard,
    .flush = q2_flush,
    .map = q2_map,
    .place = q2_place,
    .read_now = q2_read_now,
    .prompt = q2_prompt,
    .create = q2_create,
    .info = q2_info,
    .check = q2_check,
    .resize = q2_resize,
    .set_backing = q2_set_backing,
    .make_empty = q2_make_empty,
    .snapshot_list = q2_snapshot_list,
    .snapshot_create = q2_snapshot_create,
    .snapshot_delete = q2_snapshot_delete,
    .snapshot_revert = q2_snapshot_revert,
    .snapshot_open = q2_snapshot_open,
    .bitmap_list = q2_bitmap_list,
    .bitmap_add = q2_bitmap_add,
    .bitmap_remove = q2_bitmap_remove,
    .bitmap_clear = q2_bitmap_clear,
    .bitmap_enable = q2_bitmap_enable,
    .bitmap_merge = q2_bitmap_merge,
    .bitmap_next = q2_bitmap_next,
};
