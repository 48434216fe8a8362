/* cli_ir.c: isomer ir. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <string.h>

int cli_ir(struct cli_args *args, int argc, char **argv)
{
    int worst = ISOMER_EXIT_OK;

    (void)args;
    if (strcmp(argv[0], "check") != 0 && strcmp(argv[0], "print") != 0 &&
        strcmp(argv[0], "run") != 0)
        return cli_error("ir: '%s' is none of check, print, run", argv[0]);
    for (int i = 1; i < argc; i++) {
        int status = isomer_ir_tool(argv[0], argv[i], stdout);

        if (status > worst)
            worst = status;
    }
    return worst;
}
