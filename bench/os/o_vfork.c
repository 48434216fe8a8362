/* o_vfork.c: vfork and exec of a small static program. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=processes starts=yes n=40 quick=10 tiny=2 */
#include "os.h"
#include <sys/wait.h>
#include <unistd.h>

static const char *program;

static void start(void)
{
    pid_t child = vfork();
    int status;

    if (child == 0) {
        execl(program, "true", (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        os_die("vfork");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s: wait status 0x%x\n", program, (unsigned)status);
        exit(1);
    }
}

static void batch(long n)
{
    for (long i = 0; i < n; i++)
        start();
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    program = argc > 3 ? argv[3] : "";
    os_measure("vfork", batch);
    return 0;
}
