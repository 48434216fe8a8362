/* cli_main.c: the `isomer` command. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

/* The guest's environment begins as ours. */
static bool copy_environment(struct cli_args *args, char **envp)
{
    while (envp[args->env_len])
        args->env_len++;
    args->env = malloc((args->env_len + 1) * sizeof *args->env);
    if (args->env)
        memcpy(args->env, envp, (args->env_len + 1) * sizeof *args->env);
    return args->env != NULL;
}

/* What the build asks for, and the options everyone tries. Returns whether it was one. */
static bool top_option(const char *text)
{
    if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0)
        cli_print_overview(stdout);
    else if (strcmp(text, "--version") == 0 || strcmp(text, "-V") == 0)
        cli_version(NULL, 0, NULL);
    else if (strcmp(text, "--dump-man") == 0)
        cli_print_man(stdout);
    else if (strcmp(text, "--dump-completion") == 0)
        cli_print_completion(stdout);
    else
        return false;
    return true;
}

/* Whether --help is asked for before the first positional argument. */
static bool wants_help(int argc, char **argv)
{
    return argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int main(int argc, char **argv, char **envp)
{
    const struct cli_command *command;
    struct cli_args args = {0};
    int first, status;

    if (argc && strcmp(base_name(argv[0]), CLI_INTERPRETER) == 0)
        return copy_environment(&args, envp) ? cli_interpreter(&args, argc, argv)
                                             : cli_error("no memory");
    if (argc < 2) {
        cli_print_overview(stderr);
        return ISOMER_EXIT_USAGE;
    }
    if (top_option(argv[1]))
        return ISOMER_EXIT_OK;
    command = cli_find(argv[1]);
    if (!command)
        return cli_error("no command '%s' (see: isomer help)", argv[1]);
    argc -= 2;
    argv += 2;
    if (wants_help(argc, argv)) {
        cli_print_command(stdout, command);
        return ISOMER_EXIT_OK;
    }
    if (!copy_environment(&args, envp))
        return cli_error("no memory");
    first = cli_parse(command, &args, argc, argv);
    status = first < 0 ? ISOMER_EXIT_USAGE : command->handler(&args, argc - first, argv + first);
    free(args.env);
    return status;
}
