/* disk_qcow2_compress.c: compressed clusters, and a cache of what was in them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Reading 4 KiB of a compressed cluster costs decompressing all of it, so what was decompressed
 * is kept: a set-associative cache under the L2 entry, which says where the cluster lies and how
 * long it is. An entry means the same for as long as a request can have seen it (disk_qcow2.h), and
 * is forgotten here when it is given to other data.
 */
#include "disk/disk_compress.h"
#include "disk/disk_qcow2.h"

enum { CACHE_WAYS = 8, CACHE_LOCKS = 16 };

struct slot {
    uint64_t key; /* an L2 entry; 0: free */
    uint64_t stamp;
    uint8_t *data;
};
struct q2_cache {
    size_t sets, size; /* size: of a cluster */
    pthread_mutex_t lock[CACHE_LOCKS];
    _Atomic uint64_t clock;
    struct slot slots[];
};

struct q2_cache *q2_cache_new(size_t bytes, size_t cluster_size)
{
    size_t sets = bytes / cluster_size / CACHE_WAYS;
    struct q2_cache *c;

    sets = sets ? sets : 1;
    c = base_zalloc(sizeof *c + sets * CACHE_WAYS * sizeof c->slots[0]);
    c->sets = sets;
    c->size = cluster_size;
    for (int i = 0; i < CACHE_LOCKS; i++)
        pthread_mutex_init(&c->lock[i], NULL);
    return c;
}

void q2_cache_free(struct q2_cache *c)
{
    for (size_t i = 0; c && i < c->sets * CACHE_WAYS; i++)
        free(c->slots[i].data);
    free(c);
}

static struct slot *set_of(struct q2_cache *c, uint64_t key, pthread_mutex_t **lock)
{
    size_t set = base_hash64(key) % c->sets;

    *lock = &c->lock[set % CACHE_LOCKS];
    return &c->slots[set * CACHE_WAYS];
}

static bool cache_get(struct q2_cache *c, uint64_t key, size_t skip, size_t len,
                      struct disk_slice s)
{
    pthread_mutex_t *lock;
    struct slot *set = set_of(c, key, &lock);
    bool hit = false;

    pthread_mutex_lock(lock);
    for (int i = 0; i < CACHE_WAYS && !hit; i++) {
        if (set[i].key != key)
            continue;
        hit = true;
        set[i].stamp = ++c->clock;
        disk_slice_put(s, set[i].data + skip, len);
    }
    pthread_mutex_unlock(lock);
    return hit;
}

/* Takes data over; returns what is to be freed. */
static uint8_t *cache_put(struct q2_cache *c, uint64_t key, uint8_t *data)
{
    pthread_mutex_t *lock;
    struct slot *set = set_of(c, key, &lock), *oldest = set;
    uint8_t *old;

    pthread_mutex_lock(lock);
    for (int i = 0; i < CACHE_WAYS; i++) {
        if (set[i].key == key) {
            oldest = &set[i];
            break;
        }
        if (set[i].stamp < oldest->stamp)
            oldest = &set[i];
    }
    old = oldest->data;
    *oldest = (struct slot){key, ++c->clock, data};
    pthread_mutex_unlock(lock);
    return old;
}

void q2_cache_forget(struct q2_cache *c, uint64_t key)
{
    pthread_mutex_t *lock;
    struct slot *set = set_of(c, key, &lock);

    pthread_mutex_lock(lock);
    for (int i = 0; i < CACHE_WAYS; i++)
        if (set[i].key == key)
            set[i].key = set[i].stamp = 0;
    pthread_mutex_unlock(lock);
}

/* ---- reading --------------------------------------------------------- */

int q2_read_packed(struct q2 *q, uint64_t entry, size_t skip, size_t len, struct disk_slice s)
{
    uint64_t off, packed;
    uint8_t *in, *out;
    int r;

    if (cache_get(q->cache, entry, skip, len, s))
        return 0;
    q2_packed_range(q, entry, &off, &packed);
    in = base_alloc(packed);
    out = base_alloc(q->cluster_size);
    r = disk_file_read(q->file, off, in, packed);
    if (!r)
        r = disk_decompress(q->h.compression, in, packed, out, q->cluster_size);
    free(in);
    if (!r) {
        disk_slice_put(s, out + skip, len);
        out = cache_put(q->cache, entry, out);
    }
    free(out);
    return r;
}

/* The same without waiting: from the cache, or from bytes that the page cache has. */
bool q2_try_packed(struct q2 *q, uint64_t entry, size_t skip, size_t len, struct disk_slice s)
{
    uint64_t off, packed;
    struct disk_slice flat;
    struct iovec iov;
    uint8_t *out;
    int r;

    if (cache_get(q->cache, entry, skip, len, s))
        return true;
    q2_packed_range(q, entry, &off, &packed);
    iov = (struct iovec){base_alloc(packed), packed};
    flat = (struct disk_slice){&iov, 1, 0};
    r = disk_file_try_readv(q->file, off, packed, flat);
    if (r < 0) {
        free(iov.iov_base);
        return false;
    }
    out = base_alloc(q->cluster_size);
    r = disk_decompress(q->h.compression, iov.iov_base, packed, out, q->cluster_size);
    free(iov.iov_base);
    if (!r) {
        disk_slice_put(s, out + skip, len);
        out = cache_put(q->cache, entry, out);
    }
    free(out);
    return !r;
}

/* ---- writing --------------------------------------------------------- */

static int pack(struct q2 *q, const uint8_t *data, uint8_t *out, size_t *n)
{
    *n = disk_compress(q->h.compression, data, q->cluster_size, out, q->cluster_size - 1);
    return *n ? 0 : -E2BIG;
}

/* The stripe lock is held; off is a cluster's begin. -E2BIG: to be written plainly. */
int q2_write_packed(struct q2 *q, uint64_t off, size_t len, struct disk_slice s)
{
    uint64_t cluster = off >> q->cluster_bits, l1 = q2_l1_index(q, cluster), host;
    uint8_t *data = base_zalloc(q->cluster_size), *out = base_alloc(q->cluster_size);
    struct q2_table *t;
    uint64_t entry, old = 0, bitmap, sectors;
    size_t n;
    int r;

    disk_slice_get(s, data, len);
    r = pack(q, data, out, &n);
    free(data);
    host = r ? 0 : q2_alloc_packed(q, n, &r);
    if (!r && !q2_data_ok(q, host, n))
        r = q2_corrupt(q, "data would be written over metadata at 0x%llx",
                       (unsigned long long)host);
    if (!r && (r = disk_file_write(q->file, host, out, n)) < 0)
        q2_ref_add(q, host, n, -1);
    free(out);
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
