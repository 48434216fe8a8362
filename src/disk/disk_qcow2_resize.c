/* disk_qcow2_resize.c: another size, another backing file, nothing in it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * All behind the closed gate. A larger L1 table is written at a new place and named by the header
 * before the old one is given back. Shrinking first drops what is behind the new end, so that
 * growing again shows zeros there.
 */
#include "disk/disk_qcow2.h"

/* ---- the L1 table ---------------------------------------------------- */

/* Writes L1 with n entries to a new place; header fields change, the header is not written. */
static int move_l1(struct q2 *q, uint32_t n)
{
    uint64_t bytes = BASE_ALIGN_UP(n * 8ull, q->cluster_size), old = q->h.l1_off;
    uint64_t old_bytes = q->h.l1_size * 8ull, off, words;
    uint64_t *be;
    int r;

    off = q2_alloc(q, bytes >> q->cluster_bits, NULL, &r);
    if (!off)
        return r;
    r = q2_commit(q, true); /* the refcounts of the new place before anything names it */
    if (!r && !q2_own(q, off, bytes, Q2_OWN_L1, 0))
        r = q2_corrupt(q, "free cluster at 0x%llx is metadata", (unsigned long long)off);
    if (r < 0)
        return r;
    be = base_zalloc(bytes);
    for (uint32_t i = 0; i < q->h.l1_size && i < n; i++)
        be[i] = __builtin_bswap64(q->l1[i]);
    r = q2_write_meta(q, off, be, bytes, Q2_OWN_L1, 0);
    free(be);
    r = r ? r : disk_file_sync(q->file);
    if (r < 0) {
        q2_disown(q, off, bytes);
        q2_unalloc(q, off, bytes);
        return r;
    }
    q->l1 = base_realloc(q->l1, (n + 1ull) * 8);
    q->l2 = base_realloc(q->l2, (n + 1ull) * sizeof *q->l2);
    if (n > q->h.l1_size) {
        memset(q->l1 + q->h.l1_size, 0, (n - q->h.l1_size) * 8ull);
        memset(q->l2 + q->h.l1_size, 0, (n - q->h.l1_size) * sizeof *q->l2);
    }
    words = (BASE_ALIGN_UP(n * 8ull, Q2_PIECE) / Q2_PIECE + 63) / 64 + 1;
    free(q->l1_dirty);
    q->l1_dirty = base_zalloc(words * 8);
    q->l1_dirty_any = false;
    q->h.l1_off = off;
    q->h.l1_size = n;
    if (old_bytes) {
        q2_disown(q, old, old_bytes);
        q2_free(q, old, old_bytes, false); /* falls with the commit after the header */
    }
    return 0;
}

static uint64_t l1_needed(struct q2 *q, uint64_t size)
{
    uint64_t per = UINT64_C(1) << (q->cluster_bits + q->l2_bits);

    return size / per + (size % per != 0);
}

/* ---- resize ---------------------------------------------------------- */

static int zero_tail(struct disk *d, uint64_t from, uint64_t to)
{
    int r = 0;

    while (from < to && !r) {
        uint64_t n = to - from < 1u << 30 ? to - from : 1u << 30;

        r = d->drv->zero(d, from, n, DISK_REQ_MAY_UNMAP);
        from += n;
    }
    return r;
}

/* Before the gate is closed: what is behind the new end is dropped, and the rest of the last
 * cluster is zero, as new bytes must be. */
static int drop_tail(struct disk *d, uint64_t size)
{
    return size < d->size ? zero_tail(d, size, d->size) : 0;
}

static int set_size(struct q2 *q, uint64_t size)
{
    uint64_t need = l1_needed(q, size), before = q->h.size;
    int r = q2_commit_all(q);

    r = r ? r : q2_bitmaps_mark_all(q); /* before the header has a size that they do not */
    if (!r && need > q->h.l1_size) {
        /* half as much again, so that growing step by step does not copy each time */
        uint64_t n = need + need / 2;

        r = move_l1(q, (uint32_t)(n > Q2_MAX_L1_BYTES / 8 ? Q2_MAX_L1_BYTES / 8 : n));
    }
    if (r < 0)
        return r;
    q->h.size = size;
    r = q2_header_write(q);
    if (r < 0) {
        q->h.size = before;
        return r;
    }
    q->d->size = size;
    for (size_t i = 0; i < q->bitmaps.len; i++)
        q2_bitmap_resize(q, q->bitmaps.data[i], size);
    return q2_commit_all(q);
}

int q2_resize(struct disk *d, uint64_t size, unsigned flags, struct base_text *error)
{
    struct q2 *q = d->state;
    uint64_t before = d->size;
    int r;

    if (q->h.version < 3 && q->h.snapshots)
        return disk_error(error, -ENOTSUP, d->path,
                          "version 2 does not keep the size of each snapshot: delete them first");
    if (l1_needed(q, size) > Q2_MAX_L1_BYTES / 8)
        return disk_error(error, -EFBIG, d->path, "too large for its cluster size");
    r = q2_bitmaps_may_resize(q, size, error);
    if (r < 0)
        return r;
    r = drop_tail(d, size);
    if (!r && q->data != q->file && size > before) {
        uint64_t length;

        r = disk_file_length(q->data, &length);
        if (!r && length < size)
            r = disk_file_truncate(q->data, size);
    }
    if (!r) {
        q2_close_gate(q);
        r = set_size(q, size);
        q2_open_gate(q);
    }
    if (!r && q->data != q->file && size < before)
        r = disk_file_truncate(q->data, size);
    /* a backing file longer than the image was must not show in what is new */
    if (!r && size > before && d->backing && d->backing->size > before)
        r = zero_tail(d, before, size < d->backing->size ? size : (uint64_t)d->backing->size);
    if (r < 0)
        return disk_error(error, r, d->path, "cannot be resized: %s", strerror(-r));
    return 0;
}

/* ---- backing file ---------------------------------------------------- */

static void name_backing(struct q2 *q, char *name, char *format)
{
    q->d->backing_name = name;
    q->d->backing_format = format;
    q2_ext_set(q, (uint32_t)Q2_EXT_BACKING_FORMAT, format, format ? (uint32_t)strlen(format) : 0);
}

int q2_set_backing(struct disk *d, const char *name, const char *format, struct base_text *error)
{
    struct q2 *q = d->state;
    char *old_name = d->backing_name, *old_format = d->backing_format;
    int r;

    if (name && strlen(name) > Q2_MAX_BACKING_NAME)
        return disk_error(error, -EINVAL, d->path, "a backing file's name has at most %d bytes",
                          Q2_MAX_BACKING_NAME);
    q2_close_gate(q);
    r = q2_commit_all(q);
    if (!r) {
        name_backing(q, name ? base_strdup(name) : NULL,
                     name && format ? base_strdup(format) : NULL);
        r = q2_header_write(q);
        if (r < 0) { /* it is still the old one that is open, and in the header */
            free(d->backing_name);
            free(d->backing_format);
            name_backing(q, old_name, old_format);
        }
    }
    q2_open_gate(q);
    if (r < 0)
        return disk_error(error, r, d->path, "its header cannot be written: %s", strerror(-r));
    free(old_name);
    free(old_format);
    return 0;
}

/* ---- empty ----------------------------------------------------------- */

/* After a commit into the backing file: everything is unallocated again. */
int q2_make_empty(struct disk *d)
{
    struct q2 *q = d->state;
    int r;

    q2_close_gate(q);
    r = q2_commit_all(q);
    for (uint64_t i = 0; i < q->h.l1_size && !r; i++) {
        uint64_t off = q->l1[i] & Q2_OFFSET_MASK;

        if (!off)
            continue;
        r = q2_load_l2(q, i);
        for (uint64_t e = 0; e < UINT64_C(1) << q->l2_bits && !r; e++) {
            uint64_t entry, bitmap, at, len;

            q2_entry_get(q, (i << q->l2_bits) + e, &entry, &bitmap);
            if (q->data != q->file)
                continue;
            if (entry & Q2_COMPRESSED) {
                q2_packed_range(q, entry, &at, &len);
                q2_free(q, at, len, false);
            } else if (entry & Q2_OFFSET_MASK) {
                q2_free(q, entry & Q2_OFFSET_MASK, q->cluster_size, true);
            }
        }
        if (r < 0)
            break;
        q2_table_drop(q, q->l2[i]);
        q2_l1_set(q, i, 0);
        q2_disown(q, off, q->cluster_size);
        q2_free(q, off, q->cluster_size, true);
    }
    r = r ? r : q2_commit_all(q);
    q2_open_gate(q);
    return r;
}
