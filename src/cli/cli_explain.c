/* cli_explain.c: isomer explain. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

int cli_explain(struct cli_args *args, int argc, char **argv)
{
    return isomer_explain(&args->run, argv[0], argc > 1 ? argv[1] : NULL, stdout);
}
