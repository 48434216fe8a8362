/* cli_run.c: isomer run. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

int cli_read_environment(struct cli_args *args)
{
    static const struct {
        char letter;
        unsigned stage;
    } stages[] = {
        {'g', ISOMER_DUMP_GUEST},
        {'i', ISOMER_DUMP_IR},
        {'o', ISOMER_DUMP_IR_OPT},
        {'h', ISOMER_DUMP_HOST},
    };
    const char *letters = getenv("ISOMER_DUMP");

    args->run.dump_file = getenv("ISOMER_DUMP_FILE");
    for (; letters && *letters; letters++) {
        size_t i = 0;

        while (i < sizeof stages / sizeof stages[0] && stages[i].letter != *letters)
            i++;
        if (i == sizeof stages / sizeof stages[0])
            return cli_error("ISOMER_DUMP: no stage '%c' (g guest code, i IR as lifted, o IR as "
                             "optimised, h host code)",
                             *letters);
        args->run.dump |= stages[i].stage;
    }
    return 0;
}

int cli_run(struct cli_args *args, int argc, char **argv)
{
    int status = cli_read_environment(args);

    if (status)
        return status;
    return isomer_run(&args->run, argc, argv, args->env);
}
