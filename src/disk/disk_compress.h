/* disk_compress.h: clusters, smaller. SPDX-License-Identifier: Apache-2.0
 *
 * One call, one cluster, from any thread: each thread has contexts of its own, made when it first
 * needs them and freed when it ends.
 */
#ifndef ISOMER_DISK_COMPRESS_H
#define ISOMER_DISK_COMPRESS_H

#include "disk/disk.h"

/* What a stream looks like: DISK_ZLIB and DISK_ZSTD as in qcow2, where DISK_ZLIB is deflate without
 * a header (RFC 1951); and deflate in zlib's wrapping with a checksum (RFC 1950), as in VMDK. */
enum { DISK_ZLIB_WRAPPED = 2 };

/* Memory for one call's work, of which each thread keeps two: there until the thread asks for the
 * same one again. */
enum disk_scratch { DISK_SCRATCH_IN, DISK_SCRATCH_OUT, DISK_SCRATCHES };
void *disk_scratch(enum disk_scratch which, size_t n);

/* Compresses n bytes into at most cap; returns how many, 0 if they do not fit. */
size_t disk_compress(int type, const void *in, size_t n, void *out, size_t cap);

/* Is it certain enough that deflate would save nothing? A look, an order of magnitude cheaper. */
bool disk_looks_random(const void *in, size_t n);

/* Fills out with exactly n bytes. `in` may be longer than the stream (qcow2 knows its length in
 * sectors only) or end before the stream does, once all n bytes are there. -EIO: damaged, or less
 * than n in it. */
int disk_decompress(int type, const void *in, size_t in_len, void *out, size_t n);

/* The same for who only wants the first `want` bytes of n: stops there if that saves anything.
 * Returns how many bytes of out are filled, at least want; -EIO: not as much can be had. Damage
 * behind what was wanted does not matter, whether it was noticed or not. */
ssize_t disk_decompress_begin(int type, const void *in, size_t in_len, void *out, size_t n,
                              size_t want);

#endif
