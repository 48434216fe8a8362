/* disk_qcow2_rebuild.c: all refcounts anew, for the check. SPDX-License-Identifier: Apache-2.0
 *
 * Blocks and table come behind the last used cluster. They count themselves, too, so how many there
 * must be is found by trying. They reach the file with the next commit: first the new blocks and
 * the table, then the header that names it.
 */
#include "disk/disk_qcow2.h"

static void forget_refcounts(struct q2 *q)
{
    BASE_VEC(uint64_t) gone = {0};

    for (size_t i = 0; i < q->blocks.len; i++) {
        q->ndirty -= q->blocks.data[i]->dirty_any;
        free(q->blocks.data[i]->data);
        free(q->blocks.data[i]);
    }
    q->blocks.len = q->spare.len = 0;
    q->dropped.len = q->waiting.len = q->later.len = 0;
    q->packed = 0;
    /* taking one away moves others: first all, then away */
    for (uint64_t i = 0; q->owner && i <= q->owner_mask; i++)
        if (q->owner[i].kind == Q2_OWN_REFBLOCK || q->owner[i].kind == Q2_OWN_REFTABLE)
            base_vec_push(&gone, q->owner[i].cluster);
    for (size_t i = 0; i < gone.len; i++)
        q2_disown(q, gone.data[i] << q->cluster_bits, 1);
    base_vec_free(&gone);
}

/* Clusters behind the first `first`: refcount blocks, then the table. */
static void size_of(const struct q2 *q, uint64_t first, uint64_t *blocks, uint64_t *table)
{
    uint64_t per = UINT64_C(1) << q->ref_bits, need;

    *blocks = *table = 0;
    for (;;) {
        need = (first + *blocks + *table + per - 1) / per;
        if (need <= *blocks && need * 8 <= *table << q->cluster_bits)
            return;
        *blocks = need;
        *table = (need * 8 + q->cluster_size - 1) >> q->cluster_bits;
    }
}

static bool make_block(struct q2 *q, const uint32_t *count, uint64_t first, uint64_t i,
                       uint64_t end)
{
    uint64_t per = UINT64_C(1) << q->ref_bits, off = (first + i) << q->cluster_bits;
    struct q2_table *b = q2_table_new(q, off, (uint32_t)i, true);

    for (uint64_t k = i * per; k < (i + 1) * per && k < end; k++) {
        uint64_t n = k < first ? count[k] : 1;

        q2_ref_store(b->data, q->ref_order, k - i * per, n < q2_ref_max(q) ? n : q2_ref_max(q));
    }
    base_vec_push(&q->blocks, b);
    q->rb[i] = b;
    q->rt[i] = off;
    q2_table_dirty(q, b, 0, (uint32_t)q->cluster_size);
    return q2_own(q, off, q->cluster_size, Q2_OWN_REFBLOCK, (uint32_t)i);
}

int q2_rebuild_refcounts(struct q2 *q, const uint32_t *count, uint64_t clusters)
{
    uint64_t first = clusters, blocks, table;

    while (first && !count[first - 1])
        first--;
    size_of(q, first, &blocks, &table);
    if (table << q->cluster_bits > Q2_MAX_REFTABLE_BYTES)
        return -EFBIG;
    forget_refcounts(q);
    free(q->rt);
    free(q->rb);
    q->rt_entries = table << (q->cluster_bits - 3);
    q->rt = base_zalloc(q->rt_entries * 8);
    q->rb = base_zalloc(q->rt_entries * sizeof *q->rb);
    for (uint64_t i = 0; i < blocks; i++)
        if (!make_block(q, count, first, i, first + blocks + table))
            return -EIO;
    q->h.reftable_off = (first + blocks) << q->cluster_bits;
    q->h.reftable_clusters = (uint32_t)table;
    if (!q2_own(q, q->h.reftable_off, q->rt_entries * 8, Q2_OWN_REFTABLE, 0))
        return -EIO;
    q->rt_dirty = q->rt_moved = true;
    q->rt_old_off = q->rt_old_len = 0;
    q->end = q->scan_end = first + blocks + table;
    q->scan = 1;
    return 0;
}
