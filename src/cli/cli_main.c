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

/* One command: its own --help, options, handler. */
static int run_command(const struct cli_command *command, const char *path,
                       struct cli_args *args, int argc, char **argv)
{
    int first = cli_parse(command, path, args, argc, argv);

    if (first < 0)
        return ISOMER_EXIT_USAGE;
    argc -= first;
    argv += first;
    return command->disk ? command->disk(&args->disk, argc, argv)
                         : command->handler(args, argc, argv);
}

int main(int argc, char **argv, char **envp)
{
    const struct cli_command *command;
    struct cli_args args = {0};
    char path[CLI_PATH];
    int words, status;

    if (argc && strcmp(base_name(argv[0]), CLI_INTERPRETER) == 0)
        return copy_environment(&args, envp) ? cli_interpreter(&args, argc, argv)
                                             : cli_error("no memory");
    if (argc < 2) {
        cli_print_overview(stderr);
        return ISOMER_EXIT_USAGE;
    }
    if (top_option(argv[1]))
        return ISOMER_EXIT_OK;
    if (argv[1][0] == '-')
        return cli_error("no option %s before a command (see: isomer help)", argv[1]);
    command = cli_find(argc - 1, argv + 1, path, &words);
    if (!command)
        return ISOMER_EXIT_USAGE;
    if (wants_help(argc - 1 - words, argv + 1 + words)) {
        cli_print_command(stdout, path, command);
        return ISOMER_EXIT_OK;
    }
    if (command->commands)
        return cli_error("%s: which command? (see: isomer help %s)", path, path);
    if (!command->handler && !command->disk)
        return cli_disk(argc, argv);
    if (!copy_environment(&args, envp))
        return cli_error("no memory");
    status = run_command(command, path, &args, argc - 1 - words, argv + 1 + words);
    free(args.env);
    return status;
}
