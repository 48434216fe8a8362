/* cli_absent.c: clear answers for parts that are not built. SPDX-License-Identifier: Apache-2.0
 *
 * A build may lack a folder (a host without a code generator, a checkout of some folders
 * only). These definitions are weak: where the part is there, its own are used.
 */
#include "isomer/isomer.h"

static int cli_absent(const char *what)
{
    fprintf(stderr, "isomer: %s is not in this build\n", what);
    return ISOMER_EXIT_CANNOT_RUN;
}

__attribute__((weak)) int isomer_run(const struct isomer_run_options *options, int argc,
                                     char **argv, char **envp)
{
    (void)options, (void)argc, (void)argv, (void)envp;
    return cli_absent("running programs");
}

__attribute__((weak)) int isomer_explain(const struct isomer_run_options *options,
                                         const char *program, const char *where, FILE *out)
{
    (void)options, (void)program, (void)where, (void)out;
    return cli_absent("explaining programs");
}

__attribute__((weak)) void isomer_translations(const char *translations,
                                               struct isomer_translations *out)
{
    (void)translations;
    *out = (struct isomer_translations){.why = "running programs is not in this build"};
}

__attribute__((weak)) int isomer_ir_tool(const struct isomer_ir_options *options,
                                         const char *verb, const char *file, FILE *out)
{
    (void)options, (void)verb, (void)file, (void)out;
    return cli_absent("the IR tool");
}
