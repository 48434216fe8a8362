/* disk_luks.c: LUKS 1 headers: read, check, open, make. SPDX-License-Identifier: Apache-2.0
 *
 * Specification: LUKS On-Disk Format 1.2.3. The header's 592 bytes name cipher and hash and have
 * eight slots; each slot holds the master key, split into 4000 stripes and encrypted under a key
 * derived from one passphrase. A digest of the master key tells whether a passphrase was right.
 *
 * What we make is what QEMU makes: aes-256-xts-plain64, sha256, key slots of 504 sectors from
 * sector 8 on, payload behind the eighth.
 *
 * Numbers in a header come from whoever made the image, so all are bounded before use.
 */
#include "disk/disk_luks.h"

#include "disk/disk_luks_key.h"

enum {
    HEADER_BYTES = 592,
    SLOT_AT = 208,
    SLOT_BYTES = 48,
    SLOT_ACTIVE = 0x00ac71f3,
    SLOT_INACTIVE = 0x0000dead,
    SALT = 32,
    DIGEST = 20,
    /* The number of the specification; another would be memory and hashing time without end. */
    STRIPES = 4000,
    SLOT_ALIGN = 4096,
    FIRST_SLOT = 4096,
    MADE_KEY = 64,
    MAX_PASSPHRASE = 1024,
};

/* A passphrase try costs as many hashes: 10^8 are about a minute. Stops a header that keeps who
 * opens it busy for hours; cryptsetup's own default is 1 to 5 million. */
#define MAX_ITERATIONS 100000000u
/* What cryptsetup requires at least; a try must not be cheap. */
#define MIN_ITERATIONS 1000u

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

struct luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[SALT];
    uint64_t off; /* bytes */
};

struct luks_header {
    char cipher[33], mode[33], hash[33], uuid[41];
    uint64_t payload;
    uint32_t key_len;
    uint8_t digest[DIGEST], salt[SALT];
    uint32_t iterations;
    struct luks_slot slot[DISK_LUKS_SLOTS];
};

/* ---- the header's bytes ---------------------------------------------- */

static void get_text(char *to, const uint8_t *from, size_t n)
{
    memcpy(to, from, n);
    to[n] = 0;
}

static void parse(const uint8_t *p, struct luks_header *h)
{
    get_text(h->cipher, p + 8, 32);
    get_text(h->mode, p + 40, 32);
    get_text(h->hash, p + 72, 32);
    h->payload = (uint64_t)disk_be32(p + 104) * LUKS_SECTOR;
    h->key_len = disk_be32(p + 108);
    memcpy(h->digest, p + 112, DIGEST);
    memcpy(h->salt, p + 132, SALT);
    h->iterations = disk_be32(p + 164);
    get_text(h->uuid, p + 168, 40);
    for (unsigned i = 0; i < DISK_LUKS_SLOTS; i++) {
        const uint8_t *q = p + SLOT_AT + i * SLOT_BYTES;
        struct luks_slot *s = &h->slot[i];

        s->active = disk_be32(q) == SLOT_ACTIVE;
        s->iterations = disk_be32(q + 4);
        memcpy(s->salt, q + 8, SALT);
        s->off = (uint64_t)disk_be32(q + 40) * LUKS_SECTOR;
    }
}

static void format(const struct luks_header *h, uint8_t *p)
{
    memcpy(p, magic, sizeof magic);
    disk_put_be16(p + 6, 1);
    memcpy(p + 8, h->cipher, 32);
    memcpy(p + 40, h->mode, 32);
    memcpy(p + 72, h->hash, 32);
    disk_put_be32(p + 104, (uint32_t)(h->payload / LUKS_SECTOR));
    disk_put_be32(p + 108, h->key_len);
    memcpy(p + 112, h->digest, DIGEST);
    memcpy(p + 132, h->salt, SALT);
    disk_put_be32(p + 164, h->iterations);
    memcpy(p + 168, h->uuid, 40);
    for (unsigned i = 0; i < DISK_LUKS_SLOTS; i++) {
        uint8_t *q = p + SLOT_AT + i * SLOT_BYTES;
        const struct luks_slot *s = &h->slot[i];

        disk_put_be32(q, s->active ? SLOT_ACTIVE : SLOT_INACTIVE);
        disk_put_be32(q + 4, s->iterations);
        memcpy(q + 8, s->salt, SALT);
        disk_put_be32(q + 40, (uint32_t)(s->off / LUKS_SECTOR));
        disk_put_be32(q + 44, STRIPES);
    }
}

/* ---- bounds ---------------------------------------------------------- */

static bool iterations_good(uint32_t n)
{
    return n >= 1 && n <= MAX_ITERATIONS;
}

static uint64_t slot_bytes(const struct luks_header *h)
{
    return BASE_ALIGN_UP((uint64_t)h->key_len * STRIPES, LUKS_SECTOR);
}

/* Key material lies between header and payload, and no slot in another: a key that is encrypted
 * with itself, or read from the payload, is not one that this header was made with. */
static bool slot_good(const struct luks_header *h, unsigned i, uint64_t len)
{
    const struct luks_slot *s = &h->slot[i];
    uint64_t n = slot_bytes(h);

    if (!s->active)
        return true;
    if (!iterations_good(s->iterations) || s->off < HEADER_BYTES || s->off > len ||
        n > len - s->off || s->off + n > h->payload)
        return false;
    for (unsigned j = 0; j < i; j++)
        if (h->slot[j].active && s->off < h->slot[j].off + n && h->slot[j].off < s->off + n)
            return false;
    return true;
}

static int check(struct disk *d, const struct luks_header *h, uint64_t len,
                 struct base_text *error)
{
    if (strcmp(h->cipher, "aes") || strcmp(h->mode, "xts-plain64"))
        return disk_error(error, -ENOTSUP, d->path,
                          "it is encrypted with %s-%s, and only aes-xts-plain64 is known here: "
                          "convert it with qemu-img", h->cipher, h->mode);
    if (!luks_hash_known(h->hash))
        return disk_error(error, -ENOTSUP, d->path,
                          "its LUKS header uses the hash %s, which is not known here: convert it "
                          "with qemu-img", h->hash);
    if (h->key_len != 32 && h->key_len != 64)
        return disk_error(error, -EINVAL, d->path, "its LUKS header is damaged: a key of %u bytes",
                          h->key_len);
    if (!iterations_good(h->iterations))
        return disk_error(error, -EINVAL, d->path,
                          "its LUKS header is damaged: %u iterations (up to %u are taken)",
                          h->iterations, MAX_ITERATIONS);
    for (unsigned i = 0; i < DISK_LUKS_SLOTS; i++)
        if (!slot_good(h, i, len))
            return disk_error(error, -EINVAL, d->path,
                              "its LUKS header is damaged: key slot %u overlaps something or has "
                              "%u iterations (up to %u are taken)", i, h->slot[i].iterations,
                              MAX_ITERATIONS);
    return 0;
}

static int read_header(struct disk *d, uint64_t at, uint64_t len, struct luks_header *h,
                       struct base_text *error)
{
    uint8_t p[HEADER_BYTES];
    int r = len < HEADER_BYTES ? -EINVAL : disk_file_read(d->file, at, p, sizeof p);

    if (r == -EINVAL || (!r && memcmp(p, magic, sizeof magic)))
        return disk_error(error, -EINVAL, d->path, "there is no LUKS header where one should be");
    if (r < 0)
        return disk_error(error, r, d->path, "its LUKS header cannot be read: %s", strerror(-r));
    if (disk_be16(p + 6) != 1)
        return disk_error(error, -ENOTSUP, d->path,
                          "its LUKS header has version %u, and only 1 is known here: convert it "
                          "with cryptsetup", disk_be16(p + 6));
    parse(p, h);
    return check(d, h, len, error);
}

/* ---- open ------------------------------------------------------------ */

static int key_is_right(const struct luks_header *h, const uint8_t *key)
{
    uint8_t digest[DIGEST];
    int r = luks_pbkdf2(h->hash, key, h->key_len, h->salt, SALT, h->iterations, digest, DIGEST);

    return r < 0 ? r : !memcmp(digest, h->digest, DIGEST);
}

/* 1: the passphrase fits the slot, key is filled; 0: it does not. */
static int try_slot(struct disk *d, uint64_t at, const struct luks_header *h, unsigned i,
                    const uint8_t *pass, size_t pass_len, uint8_t *key)
{
    const struct luks_slot *s = &h->slot[i];
    size_t n = slot_bytes(h);
    uint8_t derived[LUKS_MAX_KEY], *split = base_alloc(n);
    struct disk_crypt *c = NULL;
    int r = luks_pbkdf2(h->hash, pass, pass_len, s->salt, SALT, s->iterations, derived,
                        h->key_len);

    if (!r && !(c = luks_crypt_new(derived, h->key_len)))
        r = -EIO;
    r = r ? r : disk_file_read(d->file, at + s->off, split, n);
    r = r ? r : c->decrypt(c, 0, split, n);
    r = r ? r : luks_af_merge(h->hash, split, h->key_len, STRIPES, key);
    r = r ? r : key_is_right(h, key);
    if (c)
        c->free(c);
    luks_wipe(derived, sizeof derived);
    luks_wipe(split, n);
    free(split);
    return r;
}

static int ask(const char *path, disk_password_fn *password, void *context, uint8_t *pass,
               struct base_text *error)
{
    int n;

    if (!password)
        return disk_error(error, -EACCES, path, "it is encrypted: say where its passphrase is");
    n = password(context, path, pass, MAX_PASSPHRASE);
    return n < 0 ? disk_error(error, n, path, "its passphrase is not to be had: %s", strerror(-n))
                 : n;
}

static int find_key(struct disk *d, uint64_t at, const struct luks_header *h, uint8_t *key,
                    struct base_text *error)
{
    uint8_t pass[MAX_PASSPHRASE];
    int n = ask(d->path, d->o.password, d->o.password_context, pass, error), r = 0;

    if (n < 0)
        return n;
    for (unsigned i = 0; !r && i < DISK_LUKS_SLOTS; i++)
        if (h->slot[i].active)
            r = try_slot(d, at, h, i, pass, (size_t)n, key);
    luks_wipe(pass, sizeof pass);
    if (r < 0)
        return disk_error(error, r, d->path, "its key slots cannot be read: %s", strerror(-r));
    return r ? 0 : disk_error(error, -EACCES, d->path, "wrong passphrase: it fits no key slot");
}

static void tell(const struct luks_header *h, struct disk_luks_info *info)
{
    *info = (struct disk_luks_info){.payload = h->payload, .iterations = h->iterations};
    snprintf(info->cipher, sizeof info->cipher, "%s-%u-%s", h->cipher, h->key_len * 8 / 2,
             h->mode);
    snprintf(info->hash, sizeof info->hash, "%.31s", h->hash);
    snprintf(info->uuid, sizeof info->uuid, "%.39s", h->uuid);
    for (unsigned i = 0; i < DISK_LUKS_SLOTS; i++) {
        info->slot[i].active = h->slot[i].active;
        info->slot[i].iterations = h->slot[i].iterations;
        info->slot[i].off = h->slot[i].off;
    }
}

int disk_luks_read_info(struct disk *d, uint64_t at, uint64_t len, struct disk_luks_info *info,
                        struct base_text *error)
{
    struct luks_header h;
    int r = read_header(d, at, len, &h, error);

    if (!r)
        tell(&h, info);
    return r;
}

int disk_luks_open(struct disk *d, uint64_t at, uint64_t len, struct disk_crypt **c,
                   struct disk_luks_info *info, struct base_text *error)
{
    struct luks_header h;
    uint8_t key[LUKS_MAX_KEY];
    int r = read_header(d, at, len, &h, error);

    if (!r)
        r = find_key(d, at, &h, key, error);
    if (!r) {
        tell(&h, info);
        *c = luks_crypt_new(key, h.key_len);
        if (!*c)
            r = disk_error(error, -EIO, d->path, "libcrypto refuses its key");
    }
    luks_wipe(key, sizeof key);
    return r;
}

void disk_luks_facts(const struct disk_luks_info *info, struct disk_info *to)
{
    static const char *const names[DISK_LUKS_SLOTS] = {
        "key-slot-0", "key-slot-1", "key-slot-2", "key-slot-3",
        "key-slot-4", "key-slot-5", "key-slot-6", "key-slot-7",
    };
    char text[64];

    to->encrypted = true;
    disk_fact_text(to, "encryption", "LUKS");
    disk_fact_text(to, "cipher", info->cipher);
    disk_fact_text(to, "hash", info->hash);
    disk_fact_text(to, "luks-uuid", info->uuid);
    disk_fact_number(to, "payload-offset", info->payload);
    for (unsigned i = 0; i < DISK_LUKS_SLOTS; i++) {
        if (!info->slot[i].active)
            continue;
        snprintf(text, sizeof text, "active, %u iterations", info->slot[i].iterations);
        disk_fact_text(to, names[i], text);
    }
}

/* ---- create ---------------------------------------------------------- */

static uint64_t made_slot_bytes(void)
{
    return BASE_ALIGN_UP((uint64_t)MADE_KEY * STRIPES, SLOT_ALIGN);
}

uint64_t disk_luks_area_size(void)
{
    return FIRST_SLOT + DISK_LUKS_SLOTS * made_slot_bytes();
}

static void make_uuid(char *to)
{
    uint8_t b[16];

    luks_random(b, sizeof b);
    b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122: version 4, by chance */
    b[8] = (b[8] & 0x3f) | 0x80;
    for (unsigned i = 0; i < sizeof b; i++)
        to += sprintf(to, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

static uint32_t iterations_for(size_t key_len, unsigned ms)
{
    uint32_t n = luks_pbkdf2_iterations("sha256", key_len, ms);

    return n < MIN_ITERATIONS ? MIN_ITERATIONS : n > MAX_ITERATIONS ? MAX_ITERATIONS : n;
}

static int fill_header(struct luks_header *h, const uint8_t *key, unsigned ms)
{
    int r = luks_random(h->salt, SALT);

    strcpy(h->cipher, "aes");
    strcpy(h->mode, "xts-plain64");
    strcpy(h->hash, "sha256");
    make_uuid(h->uuid);
    h->payload = disk_luks_area_size();
    h->key_len = MADE_KEY;
    /* as QEMU: an eighth of a slot's time, the digest is no help in guessing a random key */
    h->iterations = iterations_for(DIGEST, ms / 8);
    for (unsigned i = 0; !r && i < DISK_LUKS_SLOTS; i++)
        h->slot[i].off = FIRST_SLOT + i * made_slot_bytes();
    return r ? r : luks_pbkdf2(h->hash, key, MADE_KEY, h->salt, SALT, h->iterations, h->digest,
                               DIGEST);
}

static int fill_slot(struct luks_header *h, const uint8_t *key, const uint8_t *pass, size_t len,
                     unsigned ms, uint8_t *area)
{
    struct luks_slot *s = &h->slot[0];
    uint8_t derived[LUKS_MAX_KEY], *split = area + s->off;
    struct disk_crypt *c = NULL;
    int r = luks_random(s->salt, SALT);

    s->active = true;
    s->iterations = iterations_for(MADE_KEY, ms);
    r = r ? r : luks_pbkdf2(h->hash, pass, len, s->salt, SALT, s->iterations, derived, MADE_KEY);
    if (!r && !(c = luks_crypt_new(derived, MADE_KEY)))
        r = -EIO;
    r = r ? r : luks_af_split(h->hash, key, MADE_KEY, STRIPES, split);
    r = r ? r : c->encrypt(c, 0, split, slot_bytes(h));
    if (c)
        c->free(c);
    luks_wipe(derived, sizeof derived);
    return r;
}

int disk_luks_create(const char *path, const struct disk_create_options *o, uint8_t **area,
                     size_t *len, struct base_text *error)
{
    unsigned ms = o->pbkdf_ms ? o->pbkdf_ms : 1000;
    uint8_t pass[MAX_PASSPHRASE], key[MADE_KEY];
    struct luks_header h = {0};
    int n = ask(path, o->password, o->password_context, pass, error), r;

    if (n < 0)
        return n;
    *len = disk_luks_area_size();
    *area = base_zalloc(*len);
    r = luks_random(key, sizeof key);
    r = r ? r : fill_header(&h, key, ms);
    r = r ? r : fill_slot(&h, key, pass, (size_t)n, ms, *area);
    format(&h, *area);
    luks_wipe(pass, sizeof pass);
    luks_wipe(key, sizeof key);
    if (r < 0) {
        free(*area);
        *area = NULL;
        disk_error(error, r, path, "no key could be made: libcrypto has failed");
    }
    return r;
}
