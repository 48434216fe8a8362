/* o_fork.c: fork, exit and wait. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=processes n=100 quick=20 tiny=3 */
#include "os.h"
#include <sys/wait.h>
#include <unistd.h>

static void batch(long n)
{
    for (long i = 0; i < n; i++) {
        pid_t child = fork();
        int status;

        if (child == 0)
            _exit(7);
        if (child < 0 || waitpid(child, &status, 0) != child)
            os_die("fork");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
            exit(1);
    }
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    os_measure("fork", batch);
    return 0;
}
