/* fuzz_disk.c: any bytes as a disk image. SPDX-License-Identifier: Apache-2.0
 *
 * An input makes an image in memory (fuzz_image.h). It is opened, read, mapped and checked; a qcow2
 * image is then resized, committed, rebased in a copy; repaired in another, written to, and checked
 * again. What must hold, besides that nothing is read or written where it should not be:
 *   - no input makes us allocate more than MAX_MEMORY, or read more than MAX_READ bytes or
 *     MAX_READS times from the file;
 *   - an image opened for reading is not changed;
 *   - what fails says why in one line without control characters;
 *   - what the map says is so: holes read as zeros, data is where it says;
 *   - after a repair that claims to have fixed everything a check finds nothing, and the image can
 *     be written to;
 *   - what is written to a sound image is there, over snapshots and reverts, and the image is
 *     sound afterwards.
 */
#include "fuzz_disk.h"

/* Two tables of 32 MiB, what stands beside them in memory, and some: no header asks for more. */
#define MAX_MEMORY (UINT64_C(192) << 20)
#define MAX_READS 1000000
#define MAX_READ (UINT64_C(4) << 30)

static bool bounds_kept(struct fuzz_use *u, const char *when)
{
    if (fuzz_memory_peak() > MAX_MEMORY)
        return fuzz_fail(u, "%s: %zu MiB of memory", when, fuzz_memory_peak() >> 20);
    if (fuzz_fs_counts.reads > MAX_READS || fuzz_fs_counts.bytes_read > MAX_READ)
        return fuzz_fail(u, "%s: %llu reads of %llu bytes", when,
                         (unsigned long long)fuzz_fs_counts.reads,
                         (unsigned long long)fuzz_fs_counts.bytes_read);
    if (fuzz_bad_line())
        return fuzz_fail(u, "%s: not one clear line: %s", when, fuzz_bad_line());
    return true;
}

static void reset(void)
{
    fuzz_wrap_reset();
    fuzz_fs_counts = (struct fuzz_fs_counts){0};
}

static bool fuzz_one(const uint8_t *data, size_t n, struct base_text *why)
{
    struct fuzz_use u = {.seed = fuzz_image_load(data, n), .why = why};
    const char *format;
    bool sound, repaired;

    reset();
    if (!fuzz_use_read(&u, &sound, &format) || !bounds_kept(&u, "read"))
        return false;
    if (fuzz_fs_counts.changes)
        return fuzz_fail(&u, "an image opened for reading was changed");
    if (!format || strcmp(format, "qcow2") || (sound && u.seed % 4))
        return true; /* writing takes its time: not always */
    if ((u.seed >> 8) % 2) {
        struct fuzz_use own = u; /* what follows does not depend on it */

        fuzz_fs_copy(FUZZ_COPY, FUZZ_IMAGE);
        reset();
        if (!fuzz_use_commands(&own, sound) || !bounds_kept(&own, "commands"))
            return false;
    }
    fuzz_fs_copy(FUZZ_COPY, FUZZ_IMAGE);
    reset();
    if (!sound && (!fuzz_use_repair(&u, &repaired) || !bounds_kept(&u, "repair")))
        return false;
    if (!sound && !repaired)
        return true;
    reset();
    return fuzz_use_write(&u) && bounds_kept(&u, "write");
}

static void fuzz_begin(void)
{
    fuzz_fs_begin();
    fuzz_base_begin();
}

const struct fuzz_target fuzz_target = {
    .name = "disk",
    .max = FUZZ_INPUT_MAX,
    .runs = 3000,
    .runs_long = 1000000,
    .begin = fuzz_begin,
    .one = fuzz_one,
    .make = fuzz_disk_make,
    .save = fuzz_image_text,
};
