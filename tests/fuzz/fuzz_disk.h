/* fuzz_disk.h: the disk fuzzer's own parts. SPDX-License-Identifier: Apache-2.0 */
#ifndef FUZZ_DISK_H
#define FUZZ_DISK_H

#include "fuzz.h"
#include "fuzz_image.h"

/* One more input from another (fuzz_disk_mutate.c). */
size_t fuzz_disk_make(uint8_t *data, size_t n, size_t max, uint64_t *seed);

/* What happens to an image (fuzz_disk_use.c). False: *why says what did not hold. */
struct fuzz_use {
    uint64_t seed;
    unsigned lost; /* clusters with a refcount too high, in the last check */
    bool bitmaps; /* the image has, or is to have */
    struct base_text *why;
};
/* Everything that needs no writing, on FUZZ_IMAGE. *sound: a check was possible and found nothing.
 * *format: NULL if it could not be opened. */
bool fuzz_use_read(struct fuzz_use *u, bool *sound, const char **format);
/* Repairs FUZZ_COPY; *sound: it is now. */
bool fuzz_use_repair(struct fuzz_use *u, bool *sound);
/* Writes to FUZZ_COPY, which is sound, and must stay so. */
bool fuzz_use_write(struct fuzz_use *u);
/* Resize, commit, rebase, snapshots on FUZZ_COPY (fuzz_disk_commands.c). */
bool fuzz_use_commands(struct fuzz_use *u, bool sound);
bool fuzz_fail(struct fuzz_use *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What the library did since the reset (fuzz_wrap.c): the most bytes allocated at one moment, the
 * first line on standard error that is not one clear line, NULL if none. */
void fuzz_wrap_reset(void);
size_t fuzz_memory_peak(void);
const char *fuzz_bad_line(void);
bool fuzz_line_is_clear(const char *line);

#endif
