/* cli_ir.c: isomer ir. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int ir_files(struct cli_args *args, const char *verb, int argc, char **argv)
{
    int worst = ISOMER_EXIT_OK;

    for (int i = 0; i < argc; i++) {
        int status = isomer_ir_tool(&args->ir, verb, argv[i], stdout);

        if (status > worst)
            worst = status;
    }
    return worst;
}

int cli_ir_check(struct cli_args *args, int argc, char **argv)
{
    return ir_files(args, "check", argc, argv);
}

int cli_ir_print(struct cli_args *args, int argc, char **argv)
{
    return ir_files(args, "print", argc, argv);
}

int cli_ir_run(struct cli_args *args, int argc, char **argv)
{
    return ir_files(args, "run", argc, argv);
}

int cli_ir_opt(struct cli_args *args, int argc, char **argv)
{
    return ir_files(args, "opt", argc, argv);
}
