/* disk_luks_key.h: the cryptography of LUKS 1. SPDX-License-Identifier: Apache-2.0
 *
 * Private to disk_luks*.c. Everything goes through OpenSSL's libcrypto. Functions return 0 or
 * -EIO when libcrypto refuses.
 */
#ifndef ISOMER_DISK_LUKS_KEY_H
#define ISOMER_DISK_LUKS_KEY_H

#include "disk/disk_driver.h"

enum { LUKS_SECTOR = 512, LUKS_MAX_KEY = 64 };

/* sha1, sha256, sha384, sha512: the hashes that QEMU and cryptsetup make headers with. */
bool luks_hash_known(const char *hash);

int luks_pbkdf2(const char *hash, const uint8_t *pass, size_t pass_len, const uint8_t *salt,
                size_t salt_len, uint32_t iterations, uint8_t *key, size_t key_len);
/* How many iterations take `ms` for a key of key_len bytes. */
uint32_t luks_pbkdf2_iterations(const char *hash, size_t key_len, unsigned ms);

/* The anti-forensic splitter: key_len bytes as `stripes` times as many, and back. */
int luks_af_split(const char *hash, const uint8_t *key, size_t key_len, uint32_t stripes,
                  uint8_t *out);
int luks_af_merge(const char *hash, const uint8_t *in, size_t key_len, uint32_t stripes,
                  uint8_t *key);

/* AES-XTS with key_len 32 or 64 (two keys); sectors are numbered from off / 512, in 64 bits,
 * little-endian (plain64). */
struct disk_crypt *luks_crypt_new(const uint8_t *key, size_t key_len);

int luks_random(uint8_t *buf, size_t len);
void luks_wipe(void *buf, size_t len);

#endif
