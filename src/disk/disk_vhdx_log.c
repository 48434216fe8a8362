/* disk_vhdx_log.c: the log of a VHDX image, replayed in memory. SPDX-License-Identifier: Apache-2.0
 *
 * [MS-VHDX] 2.3. A writer puts changes of tables into a ring of 4 KiB sectors before it makes them,
 * so an image that was not closed is only right together with its log. It is open for reading here:
 * the changes are kept in memory and laid over whatever is read.
 *
 * The ring holds entries of this log and remains of older ones. An entry is whole if its checksum
 * is right and its log GUID is that of the header; entries whose sequence numbers follow each other
 * are a sequence; it is valid if the tail that its last entry names is the begin of one of its
 * entries. The valid one with the highest number counts (2.3.3), from that tail on. A last entry
 * that is torn is not whole, so the sequence ends before it: what it would have changed was not
 * begun. If none is valid the image is damaged, as is a file that has become shorter than it was.
 */
#include "disk/disk_vhdx.h"

enum { SECTOR = 4096, ENTRY_HEAD = 64, DESCRIPTOR = 32, LOG_UNIT = 1 << 20 };
/* Hyper-V and QEMU make 1 MiB; stops a header from taking all memory. */
enum { MAX_LOG = 64 << 20 };
/* Times the log: stops checksums over entries that lie in each other. */
enum { MAX_SUMS = 16 };

/* ---- checksums ------------------------------------------------------- */

uint32_t vhdx_crc32c(const uint8_t *p, size_t n)
{
    uint32_t table[256], crc = ~0u;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = table[i] >> 1 ^ (0x82f63b78u & -(table[i] & 1));
    }
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

bool vhdx_sum_good(uint8_t *p, size_t n)
{
    uint32_t sum = disk_le32(p + 4);
    bool good;

    memset(p + 4, 0, 4);
    good = vhdx_crc32c(p, n) == sum;
    memcpy(p + 4, &sum, 4);
    return good;
}

/* ---- entries --------------------------------------------------------- */

struct ring {
    uint8_t *data; /* twice, so that entries that go over the end lie in one piece */
    uint64_t len, summed;
    const uint8_t *guid;
};

struct sequence {
    uint64_t first, last;  /* where these entries begin */
    uint64_t count;
    uint64_t number, tail; /* what the last one says */
};

static uint64_t entry_length(const uint8_t *e)
{
    return disk_le32(e + 8);
}

/* Descriptors, and a data sector for each that needs one (2.3.1.2 to 2.3.1.4). */
static bool descriptors_good(const uint8_t *e)
{
    uint64_t n = disk_le32(e + 24), number = disk_le64(e + 16), data;

    data = BASE_ALIGN_UP(ENTRY_HEAD + n * DESCRIPTOR, UINT64_C(4096));
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *at = e + ENTRY_HEAD + i * DESCRIPTOR, *sector = e + data;
        uint64_t off = disk_le64(at + 16), zeros = disk_le64(at + 8);

        if (disk_le64(at + 24) != number || off % SECTOR || off > DISK_MAX_SIZE)
            return false;
        if (!memcmp(at, "zero", 4)) {
            if (zeros % SECTOR || zeros > DISK_MAX_SIZE)
                return false;
            continue;
        }
        if (memcmp(at, "desc", 4) || data + SECTOR > entry_length(e) || memcmp(sector, "data", 4) ||
            disk_le32(sector + 4) != number >> 32 ||
            disk_le32(sector + SECTOR - 4) != (uint32_t)number)
            return false;
        data += SECTOR;
    }
    return true;
}

/* Is there a whole entry of this log? */
static bool entry_good(struct ring *g, uint64_t at)
{
    uint8_t *e = g->data + at;
    uint64_t len = entry_length(e), n = disk_le32(e + 24);

    if (memcmp(e, "loge", 4) || len < SECTOR || len % SECTOR || len > g->len ||
        memcmp(e + 32, g->guid, 16) || !disk_le64(e + 16) || disk_le32(e + 12) % SECTOR ||
        disk_le32(e + 12) >= g->len || ENTRY_HEAD + n * DESCRIPTOR > len)
        return false;
    g->summed += len;
    return g->summed <= g->len * MAX_SUMS && vhdx_sum_good(e, len) && descriptors_good(e);
}

/* The sequence that begins at `at`; returns where the next may begin. */
static uint64_t follow(struct ring *g, uint64_t at, struct sequence *s)
{
    uint64_t head = at, length = 0;

    *s = (struct sequence){.first = at};
    while (length < g->len && entry_good(g, head)) {
        const uint8_t *e = g->data + head;

        if (s->count && disk_le64(e + 16) != s->number + 1)
            break;
        length += entry_length(e);
        if (length > g->len) /* it would lie in the sequence's own begin */
            break;
        s->number = disk_le64(e + 16);
        s->tail = disk_le32(e + 12);
        s->last = head;
        s->count++;
        head = (head + entry_length(e)) % g->len;
    }
    return head;
}

static uint64_t next_entry(const struct ring *g, uint64_t at)
{
    return (at + entry_length(g->data + at)) % g->len;
}

/* Moves the begin to the tail that the last entry names. False: no entry begins there. */
static bool from_tail(const struct ring *g, struct sequence *s)
{
    uint64_t at = s->first;

    for (uint64_t i = 0; i < s->count; i++, at = next_entry(g, at))
        if (at == s->tail) {
            s->first = at;
            s->count -= i;
            return true;
        }
    return false;
}

/* 2.3.3: the active sequence; its count is 0 if there is none. */
static struct sequence find_active(struct ring *g)
{
    struct sequence best = {0}, s;
    uint64_t at = 0, next;

    for (;;) {
        next = follow(g, at, &s);
        if (s.count && from_tail(g, &s) && s.number > best.number)
            best = s;
        if (!s.count)
            next = (at + SECTOR) % g->len;
        if (next <= at)
            return best;
        at = next;
    }
}

/* ---- replay ---------------------------------------------------------- */

static void replay_entry(const uint8_t *e, struct vhdx_log *log)
{
    uint64_t n = disk_le32(e + 24);
    const uint8_t *sector = e + BASE_ALIGN_UP(ENTRY_HEAD + n * DESCRIPTOR, UINT64_C(4096));

    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *at = e + ENTRY_HEAD + i * DESCRIPTOR;
        struct vhdx_patch p = {disk_le64(at + 16), SECTOR, NULL};

        if (!memcmp(at, "zero", 4)) {
            p.len = disk_le64(at + 8);
        } else { /* the sector's ends are in the descriptor, its own have signature and number */
            p.data = base_alloc(SECTOR);
            memcpy(p.data, at + 8, 8);
            memcpy(p.data + 8, sector + 8, SECTOR - 12);
            memcpy(p.data + SECTOR - 4, at + 4, 4);
            sector += SECTOR;
        }
        base_vec_push(&log->patches, p);
    }
}

static int replay(struct disk *d, struct ring *g, struct vhdx_log *log, struct base_text *error)
{
    struct sequence s = find_active(g);
    const uint8_t *last = g->data + s.last;
    uint64_t length, at = s.first;
    int r = disk_file_length(d->file, &length);

    if (r < 0)
        return disk_error(error, r, d->path, "its length is not to be had: %s", strerror(-r));
    if (g->summed > g->len * MAX_SUMS)
        return disk_error(error, -EINVAL, d->path, "the entries of its log lie in each other");
    if (!s.count)
        return disk_error(error, -EUCLEAN, d->path,
                          "it was not closed, and nothing in its log is whole: open it with the "
                          "program that made it, or take the log as empty with qemu-img check -r "
                          "all");
    if (disk_le64(last + 48) > length)
        return disk_error(error, -EUCLEAN, d->path,
                          "its log says that it had %llu bytes: it has been cut off",
                          (unsigned long long)disk_le64(last + 48));
    for (uint64_t i = 0; i < s.count; i++, at = next_entry(g, at))
        replay_entry(g->data + at, log);
    log->length = disk_le64(last + 56);
    return 0;
}

int vhdx_log_read(struct disk *d, const uint8_t *header, struct vhdx_log *log,
                  struct base_text *error)
{
    struct ring g = {.len = disk_le32(header + 68), .guid = header + 48};
    uint64_t off = disk_le64(header + 72);
    int r;

    if (disk_le16(header + 64) != 0)
        return disk_error(error, -ENOTSUP, d->path, "its log has version %u, only 0 is known",
                          disk_le16(header + 64));
    if (!g.len || g.len > MAX_LOG || g.len % LOG_UNIT || off < LOG_UNIT || off % LOG_UNIT ||
        off > DISK_MAX_SIZE)
        return disk_error(error, -EINVAL, d->path,
                          "not a valid VHDX image: the place of its log makes no sense");
    g.data = base_alloc(2 * g.len);
    r = disk_file_read(d->file, off, g.data, g.len);
    if (r < 0) {
        disk_error(error, r, d->path, "its log cannot be read: %s", strerror(-r));
    } else {
        memcpy(g.data + g.len, g.data, g.len);
        r = replay(d, &g, log, error);
    }
    free(g.data);
    return r;
}

void vhdx_log_free(struct vhdx_log *log)
{
    for (size_t i = 0; i < log->patches.len; i++)
        free(log->patches.data[i].data);
    base_vec_free(&log->patches);
}

/* ---- reading --------------------------------------------------------- */

bool vhdx_log_touches(const struct vhdx_log *log, uint64_t off, uint64_t len)
{
    for (size_t i = 0; i < log->patches.len; i++) {
        const struct vhdx_patch *p = &log->patches.data[i];

        if (p->off < off + len && off < p->off + p->len)
            return true;
    }
    return false;
}

int vhdx_file_read(struct disk *d, const struct vhdx_log *log, uint64_t off, void *buf, size_t len)
{
    int r = disk_file_read(d->file, off, buf, len);

    for (size_t i = 0; i < log->patches.len && !r; i++) {
        const struct vhdx_patch *p = &log->patches.data[i];
        uint64_t from = p->off > off ? p->off : off;
        uint64_t to = p->off + p->len < off + len ? p->off + p->len : off + len;

        if (from >= to)
            continue;
        if (p->data)
            memcpy((uint8_t *)buf + (from - off), p->data + (from - p->off), to - from);
        else
            memset((uint8_t *)buf + (from - off), 0, to - from);
    }
    return r;
}
