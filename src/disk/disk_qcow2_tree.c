/* disk_qcow2_tree.c: all that an L1 table leads to, for snapshots.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A snapshot is a copy of the L1 table, and a refcount more for everything below it. In which order
 * that is done decides what a power loss leaves:
 *
 *   create   q2_tree_unflag(): no cluster may be written in place any more; commit
 *            q2_tree_add(+1); commit
 *            L1 copy, snapshot table, header
 *   delete   snapshot table, header
 *            q2_tree_add(-1); commit
 *            q2_tree_flag(): what is ours alone again may be written in place; commit
 *
 * A COPIED flag that is missing costs a copy, a refcount too high costs space; neither costs data.
 * All behind the closed gate, after q2_commit_all().
 */
#include "disk/disk_qcow2.h"

/* ---- refcounts ------------------------------------------------------- */

/* Down: with the next commit, and the host gets the space of what nothing uses any more. */
static int ref_change(struct q2 *q, uint64_t off, uint64_t len, int delta, bool packed)
{
    if (delta > 0)
        return q2_ref_add(q, off, len, delta);
    q2_free(q, off, len, !packed);
    return 0;
}

static int entry_add(struct q2 *q, uint64_t entry, int delta)
{
    uint64_t off = entry & Q2_OFFSET_MASK, len = q->cluster_size;

    if (entry & Q2_COMPRESSED)
        q2_packed_range(q, entry, &off, &len);
    else if (!off || q->data != q->file)
        return 0;
    else if (off & (q->cluster_size - 1))
        return q2_corrupt(q, "a data cluster at 0x%llx does not begin at a cluster",
                          (unsigned long long)off);
    return ref_change(q, off, len, delta, entry & Q2_COMPRESSED);
}

/* Data of one L2 table, entries [first, last); *done: how many were changed. */
static int l2_add(struct q2 *q, const uint8_t *l2, uint64_t n, int delta, uint64_t *done)
{
    int r = 0;

    for (*done = 0; *done < n && !r; *done += !r)
        r = entry_add(q, disk_be64(l2 + *done * q->entry_bytes), delta);
    return r;
}

/* The table itself and its data. A failure half way is taken back. */
static int table_add(struct q2 *q, uint64_t off, uint8_t *l2, int delta)
{
    uint64_t done, undone;
    int r;

    if (off & (q->cluster_size - 1))
        return q2_corrupt(q, "an L2 table at 0x%llx does not begin at a cluster",
                          (unsigned long long)off);
    r = disk_file_read(q->file, off, l2, q->cluster_size);
    if (r < 0)
        return r;
    r = l2_add(q, l2, UINT64_C(1) << q->l2_bits, delta, &done);
    if (!r)
        r = ref_change(q, off, q->cluster_size, delta, false);
    if (r < 0)
        l2_add(q, l2, done, -delta, &undone);
    return r;
}

int q2_tree_add(struct q2 *q, const uint64_t *l1, uint64_t n, int delta)
{
    uint8_t *l2 = base_alloc(q->cluster_size);
    uint64_t i;
    int r = 0;

    for (i = 0; i < n && !r; i += !r)
        if (l1[i] & Q2_OFFSET_MASK)
            r = table_add(q, l1[i] & Q2_OFFSET_MASK, l2, delta);
    while (r < 0 && i-- > 0)
        if (l1[i] & Q2_OFFSET_MASK)
            table_add(q, l1[i] & Q2_OFFSET_MASK, l2, -delta);
    free(l2);
    return r;
}

/* ---- COPIED ---------------------------------------------------------- */

/* Should the flag of that entry be set? */
static int flag_wanted(struct q2 *q, uint64_t entry, bool set, bool *want)
{
    uint64_t count = 0;
    int r = set ? q2_ref_get(q, (entry & Q2_OFFSET_MASK) >> q->cluster_bits, &count) : 0;

    *want = set && count == 1;
    return r;
}

static int table_flags(struct q2 *q, uint64_t i, bool set)
{
    struct q2_table *t;
    int r = q2_load_l2(q, i);

    if (r < 0 || !(t = q->l2[i]))
        return r;
    for (uint64_t e = 0; e < UINT64_C(1) << q->l2_bits && !r; e++) {
        uint64_t cluster = (i << q->l2_bits) + e, entry, bitmap;
        bool want;

        q2_entry_get(q, cluster, &entry, &bitmap);
        if (entry & Q2_COMPRESSED || !(entry & Q2_OFFSET_MASK) || q->data != q->file)
            continue;
        r = flag_wanted(q, entry, set, &want);
        if (!r && want != !!(entry & Q2_COPIED))
            q2_entry_put(q, t, cluster, entry ^ Q2_COPIED, bitmap);
    }
    return r;
}

static int tree_flags(struct q2 *q, bool set)
{
    int r = 0;

    for (uint64_t i = 0; i < q->h.l1_size && !r; i++) {
        bool want;

        if (!(q->l1[i] & Q2_OFFSET_MASK))
            continue;
        r = table_flags(q, i, set);
        r = r ? r : flag_wanted(q, q->l1[i], set, &want);
        if (!r && want != !!(q->l1[i] & Q2_COPIED))
            q2_l1_set(q, i, q->l1[i] ^ Q2_COPIED);
        r = r ? r : q2_commit_if_full(q);
    }
    return r;
}

int q2_tree_unflag(struct q2 *q)
{
    return tree_flags(q, false);
}

int q2_tree_flag(struct q2 *q)
{
    return tree_flags(q, true);
}
