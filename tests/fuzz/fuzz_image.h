/* fuzz_image.h: images as inputs: sparse, in bytes and as text. SPDX-License-Identifier: Apache-2.0
 *
 * An input names an image to begin with (one of those made at the start, or an empty file), a
 * length, a seed for what is done with it, and pieces of content. The corpus has it as text:
 *
 *     # a comment: what this found
 *     base qcow2-512-snapshot
 *     seed 0x17
 *     size 0x3200
 *     0x18 00ff00ff
 *
 * and what the fuzzer makes has the same in binary. Bytes that are neither are the image itself.
 */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include "fuzz_fs.h"

enum { FUZZ_INPUT_MAX = 512 << 10 };
enum { FUZZ_BASE_NAME = 40 };

/* Puts the input into FUZZ_IMAGE; the others are as at the start. Returns the seed. */
uint64_t fuzz_image_load(const uint8_t *data, size_t n);

/* The same as a list of changes, to be added to. */
struct fuzz_image {
    uint8_t *data; /* at most max bytes */
    size_t n, max;
};
/* Begins with a base (by number, any) or with the input that is in im->data; loads it. */
void fuzz_image_begin(struct fuzz_image *im, bool keep, uint64_t base);
/* Changes FUZZ_IMAGE and the input; false: no room for more. */
bool fuzz_image_put(struct fuzz_image *im, uint64_t off, const void *p, size_t n);
void fuzz_image_resize(struct fuzz_image *im, uint64_t size);
void fuzz_image_seed(struct fuzz_image *im, uint64_t seed);

/* FUZZ_IMAGE as text. */
void fuzz_image_text(const uint8_t *data, size_t n, struct base_text *to);

/* Makes the bases (fuzz_base.c). */
void fuzz_base_begin(void);
unsigned fuzz_base_count(void);
const char *fuzz_base_name(unsigned i);
void fuzz_base_load(unsigned i); /* into FUZZ_IMAGE, FUZZ_BASE_*, FUZZ_DATA */
/* Chance decides that (a key); a text must name it instead of telling its bytes. */
bool fuzz_base_large(unsigned i);
/* Answers every question for a passphrase. */
int fuzz_password(void *context, const char *path, uint8_t *buf, size_t cap);

#endif
