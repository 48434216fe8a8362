/* cli_help.c: isomer help, isomer version. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <string.h>

#define HELP_WIDTH 79

/* Prints words from column `at` on, broken at HELP_WIDTH, later lines indented. */
static void print_words(FILE *out, const char *text, int at, int indent)
{
    while (*text) {
        int length = (int)strcspn(text, " ");

        if (at > indent && at + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", length, text);
        at += length;
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* A name in its own column and its explanation beside it, or below if the name is long. */
static void print_entry(FILE *out, const char *name, const char *help, int column)
{
    int at = fprintf(out, "  %s", name);

    if (at + 2 > column) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", column - at, "");
    print_words(out, help, column, column);
}

static void option_name(const struct cli_option *option, char *text, size_t size)
{
    bool must = cli_takes_value(option);
    char letter[8] = "    ";

    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(text, size, "%s--%s%s%s%s", letter, option->name,
             !option->arg ? "" : must ? "=" : "[=", option->arg ? option->arg : "",
             option->arg && !must ? "]" : "");
}

static void print_notes(FILE *out, const char *title, const struct cli_note *notes, int column)
{
    fprintf(out, "\n%s:\n", title);
    for (; notes->name; notes++)
        print_entry(out, notes->name, notes->help, column);
}

void cli_print_overview(FILE *out)
{
    fprintf(out, "Isomer %s runs software made for one machine on another.\n\n"
                 "usage: isomer COMMAND [OPTION...] [ARGUMENT...]\n\n",
            isomer_version());
    for (const struct cli_command *command = cli_commands; command->name; command++)
        print_entry(out, command->name, command->summary, 12);
    fprintf(out, "\n`isomer help COMMAND` explains a command; `man isomer` has it all.\n");
}

static void print_commands(FILE *out, const struct cli_command *table)
{
    fputs("\nCommands:\n", out);
    for (; table->name; table++)
        print_entry(out, table->name, table->summary, 12);
}

void cli_print_command(FILE *out, const char *path, const struct cli_command *command)
{
    char name[80];

    fprintf(out, "isomer %s: %s\n\nusage: isomer %s%s %s\n", path, command->summary, path,
            command->options ? " [OPTION...]" : "", command->usage);
    if (command->text) {
        fputc('\n', out);
        print_words(out, command->text, 0, 0);
    }
    if (command->commands)
        print_commands(out, command->commands);
    if (command->options)
        fputs("\nOptions:\n", out);
    for (const struct cli_option *o = command->options; o && o->name; o++) {
        option_name(o, name, sizeof name);
        print_entry(out, name, o->help, 28);
    }
    if (command->handler == cli_run) {
        print_notes(out, "Environment", cli_environment, 20);
        print_notes(out, "Exit status", cli_exits, 14);
    }
}

int cli_help(struct cli_args *args, int argc, char **argv)
{
    const struct cli_command *command;
    char path[CLI_PATH];
    int words;

    (void)args;
    if (argc == 0) {
        cli_print_overview(stdout);
        return ISOMER_EXIT_OK;
    }
    command = cli_find(argc, argv, path, &words);
    if (!command)
        return ISOMER_EXIT_USAGE;
    if (words < argc)
        return cli_error("help: %s has no command '%s'", path, argv[words]);
    cli_print_command(stdout, path, command);
    return ISOMER_EXIT_OK;
}

int cli_version(struct cli_args *args, int argc, char **argv)
{
    (void)args, (void)argc, (void)argv;
    printf("isomer %s\n", isomer_version());
    return ISOMER_EXIT_OK;
}
