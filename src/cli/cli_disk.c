/* cli_disk.c: `isomer disk` is a program of its own. SPDX-License-Identifier: Apache-2.0
 *
 * What disks need (compression, TLS, FUSE) would cost each start of `isomer run` more than the
 * start itself: libcrypto alone has ten thousands of relocations. So `isomer` knows the commands,
 * for help and completion, and isomer-disk, beside it, has them. Both are made of the same table:
 * in `isomer` the functions behind it are weak names that nothing defines.
 */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define CLI_DISK "isomer-disk"

/* isomer-disk in the folder that isomer itself is in, wherever it was started from. */
static bool program_path(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    char *slash;

    if (n < 0)
        return false;
    path[n] = 0;
    slash = strrchr(path, '/');
    if (!slash || strcmp(slash + 1, CLI_DISK) == 0)
        return false; /* isomer-disk itself would go round in circles */
    slash[1] = 0;
    if (strlen(path) + sizeof CLI_DISK > size)
        return false;
    strcat(path, CLI_DISK);
    return true;
}

int cli_disk(int argc, char **argv)
{
    char path[PATH_MAX];

    (void)argc;
    if (program_path(path, sizeof path))
        execv(path, argv);
    else
        errno = ENOENT;
    if (errno == ENOENT)
        cli_error("virtual disks are not here: %s is missing beside isomer: build or install it, "
                  "too", CLI_DISK);
    else
        cli_error("%s: %s", path, strerror(errno));
    return ISOMER_EXIT_CANNOT_RUN;
}
