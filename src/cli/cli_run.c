/* cli_run.c: isomer run. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    const char *letters = secure_getenv("ISOMER_DUMP");

    args->run.dump_file = secure_getenv("ISOMER_DUMP_FILE");
    args->run.tier2_fuel = secure_getenv("ISOMER_T2_FUEL");
    if (!args->run.translations)
        args->run.translations = secure_getenv("ISOMER_TRANSLATIONS");
    if (!args->run.sysroot) {
        const char *dir = secure_getenv("ISOMER_SYSROOT");

        if (dir && access(dir, F_OK) == 0) /* not in a chroot that has it no more */
            args->run.sysroot = dir;
    }
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
    if ((args->run.sandbox.read || args->run.sandbox.write || args->run.sandbox.net) &&
        !args->run.sandbox.on)
        return cli_error("run: --allow-* mean nothing without --sandbox");
    return isomer_run(&args->run, argc, argv, args->env);
}
