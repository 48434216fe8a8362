/* o_spawn.c: posix_spawn of a small static program. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=processes starts=yes n=40 quick=10 tiny=2 */
#include "os.h"
#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>

static char *program;

static void batch(long n)
{
    char *args[] = {"true", NULL}, *environment[] = {NULL};

    for (long i = 0; i < n; i++) {
        pid_t child;
        int status;

        errno = posix_spawn(&child, program, NULL, NULL, args, environment);
        if (errno || waitpid(child, &status, 0) != child)
            os_die(program);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fprintf(stderr, "%s: wait status 0x%x\n", program, (unsigned)status);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    program = argc > 3 ? argv[3] : "";
    os_measure("spawn", batch);
    return 0;
}
