/* disk_luks_key.c: the cryptography of LUKS 1: PBKDF2, the anti-forensic splitter, AES-XTS.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Specification: LUKS On-Disk Format 1.2.3, sections 2.3 (AF splitter) and 2.4; IEEE 1619 (XTS).
 *
 * A payload context holds a stack of libcrypto contexts with the key schedule made: a thread takes
 * one, or makes one if all are taken, so that threads never wait for each other's sectors.
 */
#include "disk/disk_luks_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* ---- hashes ---------------------------------------------------------- */

static const EVP_MD *hash_find(const char *hash)
{
    static const char *const known[] = {"sha1", "sha256", "sha384", "sha512"};

    for (unsigned i = 0; i < BASE_ARRAY_SIZE(known); i++)
        if (!strcmp(hash, known[i]))
            return EVP_get_digestbyname(hash);
    return NULL;
}

bool luks_hash_known(const char *hash)
{
    return hash_find(hash) != NULL;
}

int luks_random(uint8_t *buf, size_t len)
{
    return RAND_priv_bytes(buf, (int)len) == 1 ? 0 : -EIO;
}

void luks_wipe(void *buf, size_t len)
{
    OPENSSL_cleanse(buf, len);
}

int luks_pbkdf2(const char *hash, const uint8_t *pass, size_t pass_len, const uint8_t *salt,
                size_t salt_len, uint32_t iterations, uint8_t *key, size_t key_len)
{
    return PKCS5_PBKDF2_HMAC((const char *)pass, (int)pass_len, salt, (int)salt_len,
                             (int)iterations, hash_find(hash), (int)key_len, key) == 1 ? 0 : -EIO;
}

/* Doubles a trial until it takes long enough to be measured. */
uint32_t luks_pbkdf2_iterations(const char *hash, size_t key_len, unsigned ms)
{
    static const uint8_t pass[16], salt[32];
    uint8_t key[LUKS_MAX_KEY];
    const uint64_t enough = 20 * 1000 * 1000;

    for (uint32_t n = 1 << 12;; n *= 2) {
        uint64_t t = base_thread_cpu_ns();

        if (luks_pbkdf2(hash, pass, sizeof pass, salt, sizeof salt, n, key, key_len))
            return n;
        t = base_thread_cpu_ns() - t;
        if (t >= enough || n >= 1u << 24)
            return (uint32_t)((double)n * ms * 1e6 / (double)(t + 1));
    }
}

/* ---- anti-forensic splitter ------------------------------------------ */

/* H1 of section 2.4: each block of a digest's length becomes the hash of its number and itself. */
static int af_diffuse(const EVP_MD *md, uint8_t *block, size_t len)
{
    size_t step = (size_t)EVP_MD_get_size(md);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE], number[4];
    int ok = c != NULL;

    for (size_t at = 0, i = 0; ok && at < len; at += step, i++) {
        size_t n = len - at < step ? len - at : step;

        disk_put_be32(number, (uint32_t)i);
        ok = EVP_DigestInit_ex(c, md, NULL) && EVP_DigestUpdate(c, number, sizeof number) &&
             EVP_DigestUpdate(c, block + at, n) && EVP_DigestFinal_ex(c, digest, NULL);
        memcpy(block + at, digest, n);
    }
    EVP_MD_CTX_free(c);
    luks_wipe(digest, sizeof digest);
    return ok ? 0 : -EIO;
}

static void xor_into(uint8_t *to, const uint8_t *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] ^= from[i];
}

/* What all stripes but the last come to. */
static int af_fold(const EVP_MD *md, const uint8_t *in, size_t key_len, uint32_t stripes,
                   uint8_t *key)
{
    int r = 0;

    memset(key, 0, key_len);
    for (uint32_t i = 0; !r && i + 1 < stripes; i++) {
        xor_into(key, in + i * key_len, key_len);
        r = af_diffuse(md, key, key_len);
    }
    return r;
}

int luks_af_split(const char *hash, const uint8_t *key, size_t key_len, uint32_t stripes,
                  uint8_t *out)
{
    uint8_t *last = out + (stripes - 1) * key_len;
    int r = luks_random(out, (stripes - 1) * key_len);

    if (!r)
        r = af_fold(hash_find(hash), out, key_len, stripes, last);
    if (!r)
        xor_into(last, key, key_len);
    return r;
}

int luks_af_merge(const char *hash, const uint8_t *in, size_t key_len, uint32_t stripes,
                  uint8_t *key)
{
    int r = af_fold(hash_find(hash), in, key_len, stripes, key);

    if (!r)
        xor_into(key, in + (stripes - 1) * key_len, key_len);
    return r;
}

/* ---- sectors --------------------------------------------------------- */

/* One direction of one key. */
struct luks_context {
    EVP_CIPHER_CTX *evp;
    struct luks_context *next;
};

struct luks_crypt {
    struct disk_crypt crypt;
    pthread_mutex_t lock; /* of the stacks */
    struct luks_context *spare[2]; /* decrypt, encrypt */
    uint8_t key[LUKS_MAX_KEY];
    size_t key_len;
};

static struct luks_context *context_new(struct luks_crypt *c, bool encrypt)
{
    struct luks_context *x = base_zalloc(sizeof *x);
    const EVP_CIPHER *aes = c->key_len == 64 ? EVP_aes_256_xts() : EVP_aes_128_xts();

    x->evp = EVP_CIPHER_CTX_new();
    if (!x->evp || EVP_CipherInit_ex(x->evp, aes, NULL, c->key, NULL, encrypt) != 1) {
        EVP_CIPHER_CTX_free(x->evp);
        free(x);
        return NULL;
    }
    return x;
}

static struct luks_context *context_take(struct luks_crypt *c, bool encrypt)
{
    struct luks_context *x;

    pthread_mutex_lock(&c->lock);
    x = c->spare[encrypt];
    if (x)
        c->spare[encrypt] = x->next;
    pthread_mutex_unlock(&c->lock);
    return x ? x : context_new(c, encrypt);
}

static void context_give(struct luks_crypt *c, bool encrypt, struct luks_context *x)
{
    pthread_mutex_lock(&c->lock);
    x->next = c->spare[encrypt];
    c->spare[encrypt] = x;
    pthread_mutex_unlock(&c->lock);
}

static int crypt_sectors(struct luks_crypt *c, bool encrypt, uint64_t off, uint8_t *buf, size_t len)
{
    struct luks_context *x = context_take(c, encrypt);
    bool ok = x != NULL;

    BASE_ASSERT(off % LUKS_SECTOR == 0 && len % LUKS_SECTOR == 0);
    for (size_t at = 0; ok && at < len; at += LUKS_SECTOR) {
        uint64_t iv[2] = {(off + at) / LUKS_SECTOR, 0};
        int n;

        ok = EVP_CipherInit_ex(x->evp, NULL, NULL, NULL, (const uint8_t *)iv, encrypt) == 1 &&
             EVP_CipherUpdate(x->evp, buf + at, &n, buf + at, LUKS_SECTOR) == 1;
    }
    if (x)
        context_give(c, encrypt, x);
    return ok ? 0 : -EIO;
}

static int luks_encrypt(struct disk_crypt *c, uint64_t off, uint8_t *buf, size_t len)
{
    return crypt_sectors((struct luks_crypt *)c, true, off, buf, len);
}

static int luks_decrypt(struct disk_crypt *c, uint64_t off, uint8_t *buf, size_t len)
{
    return crypt_sectors((struct luks_crypt *)c, false, off, buf, len);
}

static void luks_crypt_free(struct disk_crypt *crypt)
{
    struct luks_crypt *c = (struct luks_crypt *)crypt;

    for (unsigned i = 0; i < 2; i++)
        for (struct luks_context *x = c->spare[i], *next; x; x = next) {
            next = x->next;
            EVP_CIPHER_CTX_free(x->evp);
            free(x);
        }
    pthread_mutex_destroy(&c->lock);
    luks_wipe(c, sizeof *c);
    free(c);
}

struct disk_crypt *luks_crypt_new(const uint8_t *key, size_t key_len)
{
    struct luks_crypt *c = base_zalloc(sizeof *c);
    struct luks_context *x;

    BASE_ASSERT(key_len == 32 || key_len == 64);
    c->crypt = (struct disk_crypt){luks_encrypt, luks_decrypt, luks_crypt_free};
    pthread_mutex_init(&c->lock, NULL);
    memcpy(c->key, key, key_len);
    c->key_len = key_len;
    /* libcrypto refuses a pair of equal keys when it encrypts: say so now */
    x = context_new(c, true);
    if (!x) {
        luks_crypt_free(&c->crypt);
        return NULL;
    }
    context_give(c, true, x);
    return &c->crypt;
}
