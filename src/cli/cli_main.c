/* cli_main.c: the `isomer` command. SPDX-License-Identifier: Apache-2.0 */
#include "isomer/isomer.h"

#include <string.h>

int main(int argc, char **argv, char **envp)
{
    struct isomer_run_options options = {0};

    if (argc >= 3 && strcmp(argv[1], "run") == 0)
        return isomer_run(&options, argc - 2, argv + 2, envp);
    fprintf(stderr, "isomer: usage: isomer run PROGRAM [ARGUMENT...]\n");
    return ISOMER_EXIT_USAGE;
}
