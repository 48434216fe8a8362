/* disk_qcow2_compress.c: compressed clusters, and a cache of what was in them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Reading 4 KiB of a compressed cluster costs decompressing all that is before them, so what was
 * decompressed is kept: a set-associative cache under the L2 entry, which says where the cluster
 * lies and how long it is. An entry means the same for as long as a request can have seen it
 * (disk_qcow2.h), and is forgotten here when it is given to other data.
 *
 * The first request for a cluster decompresses it as far as it asks, and keeps nothing but its
 * name. Who comes for a name that is still known decompresses and keeps all of it. So requests all
 * over a disk larger than the cache, or one pass over it, neither pay for what nobody reads nor
 * drive out what is read often.
 *
 * What of a damaged cluster can be read is what comes before the place where its stream breaks off,
 * in whatever pieces and order it is read; only asking for what is behind is an error. Deflate has
 * no checksum: most damage breaks nothing off, and no reader can know of it.
 */
#include "disk/disk_compress.h"
#include "disk/disk_qcow2.h"

enum { CACHE_WAYS = 8, CACHE_SEEN = 8, CACHE_LOCKS = 16 };

struct slot {
    uint64_t key; /* an L2 entry; 0: free */
    uint64_t stamp;
    uint8_t *data;
};
struct set {
    struct slot slots[CACHE_WAYS];
    uint64_t seen[CACHE_SEEN]; /* keys of the last that were not kept */
    unsigned next;             /* of seen, to be overwritten */
};
struct q2_cache {
    size_t nsets, size; /* size: of a cluster */
    pthread_mutex_t lock[CACHE_LOCKS];
    _Atomic uint64_t clock;
    struct set sets[];
};

struct q2_cache *q2_cache_new(size_t bytes, size_t cluster_size)
{
    size_t nsets = bytes / cluster_size / CACHE_WAYS;
    struct q2_cache *c;

    nsets = nsets ? nsets : 1;
    c = base_zalloc(sizeof *c + nsets * sizeof c->sets[0]);
    c->nsets = nsets;
    c->size = cluster_size;
    for (int i = 0; i < CACHE_LOCKS; i++)
        pthread_mutex_init(&c->lock[i], NULL);
    return c;
}

void q2_cache_free(struct q2_cache *c)
{
    for (size_t i = 0; c && i < c->nsets; i++)
        for (int k = 0; k < CACHE_WAYS; k++)
            free(c->sets[i].slots[k].data);
    free(c);
}

static struct set *set_of(struct q2_cache *c, uint64_t key, pthread_mutex_t **lock)
{
    size_t set = base_hash64(key) % c->nsets;

    *lock = &c->lock[set % CACHE_LOCKS];
    return &c->sets[set];
}

static bool seen_before(const struct set *set, uint64_t key)
{
    for (int i = 0; i < CACHE_SEEN; i++)
        if (set->seen[i] == key)
            return true;
    return false;
}

/* *keep: no hit, but this is worth to be kept. */
static bool cache_get(struct q2_cache *c, uint64_t key, size_t skip, size_t len,
                      struct disk_slice s, bool *keep)
{
    pthread_mutex_t *lock;
    struct set *set = set_of(c, key, &lock);
    bool hit = false;

    pthread_mutex_lock(lock);
    for (int i = 0; i < CACHE_WAYS && !hit; i++) {
        if (set->slots[i].key != key)
            continue;
        hit = true;
        set->slots[i].stamp = ++c->clock;
        disk_slice_put(s, set->slots[i].data + skip, len);
    }
    *keep = !hit && seen_before(set, key);
    if (!hit && !*keep)
        set->seen[set->next++ % CACHE_SEEN] = key;
    pthread_mutex_unlock(lock);
    return hit;
}

/* Takes data over; returns what is to be freed. */
static uint8_t *cache_put(struct q2_cache *c, uint64_t key, uint8_t *data)
{
    pthread_mutex_t *lock;
    struct set *set = set_of(c, key, &lock);
    struct slot *oldest = set->slots;
    uint8_t *old;

    pthread_mutex_lock(lock);
    for (int i = 0; i < CACHE_WAYS; i++) {
        if (set->slots[i].key == key) {
            oldest = &set->slots[i];
            break;
        }
        if (set->slots[i].stamp < oldest->stamp)
            oldest = &set->slots[i];
    }
    old = oldest->data;
    *oldest = (struct slot){key, ++c->clock, data};
    pthread_mutex_unlock(lock);
    return old;
}

void q2_cache_forget(struct q2_cache *c, uint64_t key)
{
    pthread_mutex_t *lock;
    struct set *set = set_of(c, key, &lock);

    pthread_mutex_lock(lock);
    for (int i = 0; i < CACHE_WAYS; i++)
        if (set->slots[i].key == key)
            set->slots[i].key = set->slots[i].stamp = 0;
    pthread_mutex_unlock(lock);
}

/* ---- reading --------------------------------------------------------- */

/* All of the cluster, for the cache, too. */
static int unpack_and_keep(struct q2 *q, uint64_t entry, const uint8_t *in, size_t packed,
                           size_t skip, size_t len, struct disk_slice s)
{
    uint8_t *out = base_alloc(q->cluster_size);
    int r = disk_decompress(q->h.compression, in, packed, out, q->cluster_size);

    if (!r)
        disk_slice_put(s, out + skip, len);
    free(r < 0 ? out : cache_put(q->cache, entry, out));
    return r;
}

/* As much as is asked for; a whole cluster goes where it is wanted at once. */
static int unpack_part(struct q2 *q, const uint8_t *in, size_t packed, size_t skip, size_t len,
                       struct disk_slice s)
{
    size_t size = q->cluster_size;
    uint8_t *flat = len == size ? disk_slice_flat(s, len) : NULL;
    uint8_t *out = flat ? flat : disk_scratch(DISK_SCRATCH_OUT, size);
    ssize_t n = disk_decompress_begin(q->h.compression, in, packed, out, size, skip + len);

    if (n >= 0 && !flat)
        disk_slice_put(s, out + skip, len);
    return n < 0 ? (int)n : 0;
}

static int unpack(struct q2 *q, uint64_t entry, const uint8_t *in, size_t packed, size_t skip,
                  size_t len, struct disk_slice s, bool keep)
{
    if (keep && !unpack_and_keep(q, entry, in, packed, skip, len, s))
        return 0;
    return unpack_part(q, in, packed, skip, len, s);
}

int q2_read_packed(struct q2 *q, uint64_t entry, size_t skip, size_t len, struct disk_slice s)
{
    uint64_t off, packed;
    uint8_t *in;
    bool keep;
    int r;

    if (cache_get(q->cache, entry, skip, len, s, &keep))
        return 0;
    q2_packed_range(q, entry, &off, &packed);
    in = disk_scratch(DISK_SCRATCH_IN, packed);
    r = disk_file_read(q->file, off, in, packed);
    return r < 0 ? r : unpack(q, entry, in, packed, skip, len, s, keep);
}

/* The same without waiting: from the cache, or from bytes that the page cache has. */
bool q2_try_packed(struct q2 *q, uint64_t entry, size_t skip, size_t len, struct disk_slice s)
{
    uint64_t off, packed;
    struct iovec iov;
    bool keep;
    int r;

    if (cache_get(q->cache, entry, skip, len, s, &keep))
        return true;
    q2_packed_range(q, entry, &off, &packed);
    iov = (struct iovec){disk_scratch(DISK_SCRATCH_IN, packed), packed};
    r = disk_file_try_readv(q->file, off, packed, (struct disk_slice){&iov, 1, 0});
    return !r && !unpack(q, entry, iov.iov_base, packed, skip, len, s, keep);
}

/* ---- writing --------------------------------------------------------- */

static int pack(struct q2 *q, size_t len, struct disk_slice s, uint8_t *out, size_t *n)
{
    uint8_t *data = len == q->cluster_size ? disk_slice_flat(s, len) : NULL;

    if (!data) { /* in pieces, or the disk's last cluster: what is behind its end is zero */
        data = disk_scratch(DISK_SCRATCH_IN, q->cluster_size);
        disk_slice_get(s, data, len);
        memset(data + len, 0, q->cluster_size - len);
    }
    *n = disk_compress(q->h.compression, data, q->cluster_size, out, q->cluster_size - 1);
    return *n ? 0 : -E2BIG;
}

/* The stripe lock is held; off is a cluster's begin. -E2BIG: to be written plainly. */
int q2_write_packed(struct q2 *q, uint64_t off, size_t len, struct disk_slice s)
{
    uint64_t cluster = off >> q->cluster_bits, l1 = q2_l1_index(q, cluster), host;
    uint8_t *out = disk_scratch(DISK_SCRATCH_OUT, q->cluster_size);
    struct q2_table *t;
    uint64_t entry, old = 0, bitmap, sectors;
    size_t n;
    int r;

    r = pack(q, len, s, out, &n);
    host = r ? 0 : q2_alloc_packed(q, n, &r);
    if (!r && !q2_data_ok(q, host, n))
        r = q2_corrupt(q, "data would be written over metadata at 0x%llx",
                       (unsigned long long)host);
    if (!r && (r = disk_file_write(q->file, host, out, n)) < 0)
        q2_ref_add(q, host, n, -1);
    if (r < 0)
        return r;
    sectors = ((host + n - 1) >> 9) - (host >> 9);
    entry = host | sectors << (62 - (q->cluster_bits - 8)) | Q2_COMPRESSED;
    q2_cache_forget(q->cache, entry);
    do {
        pthread_rwlock_wrlock(&q->map_lock);
        r = q2_l2_for_write(q, l1, &t);
        if (!r) {
            q2_entry_get(q, cluster, &old, &bitmap);
            q2_entry_put(q, t, cluster, entry, 0);
        }
        pthread_rwlock_unlock(&q->map_lock);
    } while (r == -EAGAIN && !(r = q2_load_l2(q, l1)) && (r = -EAGAIN));
    if (r < 0) {
        q2_ref_add(q, host, n, -1);
    } else if (old & Q2_COMPRESSED) {
        uint64_t at, size;

        q2_packed_range(q, old, &at, &size);
        q2_free(q, at, size, false);
    } else if (old & Q2_OFFSET_MASK) {
        q2_free(q, old & Q2_OFFSET_MASK, q->cluster_size, false);
    }
    return r;
}
