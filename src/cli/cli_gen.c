/* cli_gen.c: manual page and shell completion from the table. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <string.h>

/* ---- manual page: man(7) macros -------------------------------------------------------- */

/* Text of a troff line: a backslash, a dash that is to be copied, and a leading dot would
 * mean something else. */
static void man_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void man_notes(FILE *out, const char *title, const struct cli_note *notes)
{
    fprintf(out, ".SH %s\n", title);
    for (; notes->name; notes++) {
        fputs(".TP\n.B ", out);
        man_text(out, notes->name);
        fputc('\n', out);
        man_text(out, notes->help);
        fputc('\n', out);
    }
}

static void man_option(FILE *out, const struct cli_option *option)
{
    bool optional = !cli_takes_value(option);

    fputs(".TP\n", out);
    if (option->letter)
        fprintf(out, "\\fB\\-%c\\fR%s%s%s, ", option->letter, option->arg ? " \\fI" : "",
                option->arg ? option->arg : "", option->arg ? "\\fR" : "");
    fputs("\\fB\\-\\-", out);
    man_text(out, option->name);
    fputs("\\fR", out);
    if (option->arg)
        fprintf(out, "%s\\fI%s\\fR%s", optional ? "[=" : "=", option->arg, optional ? "]" : "");
    fputc('\n', out);
    man_text(out, option->help);
    fputc('\n', out);
}

static void man_synopsis(void *context, const char *path, const struct cli_command *c)
{
    fprintf(context, "%s.B isomer %s\n", c == cli_commands ? "" : ".br\n", path);
    fprintf(context, "%s%s\n", c->options ? "[OPTION...] " : "", *c->usage ? c->usage : "\\&");
}

static void man_command(void *context, const char *path, const struct cli_command *c)
{
    fprintf(context, ".SS isomer %s\n", path);
    man_text(context, c->text ? c->text : c->summary);
    fputs(c->text ? "\n" : ".\n", context);
    for (const struct cli_option *o = c->options; o && o->name; o++)
        man_option(context, o);
}

void cli_print_man(FILE *out)
{
    fprintf(out,
            ".TH ISOMER 1 \"\" \"Isomer %s\" \"User Commands\"\n"
            ".SH NAME\nisomer \\- run software made for one machine on another\n"
            ".SH SYNOPSIS\n",
            isomer_version());
    cli_each(man_synopsis, out, true);
    fputs(".SH DESCRIPTION\nIsomer translates programs of another machine into code of this one "
          "while they run.\n.SH COMMANDS\n",
          out);
    cli_each(man_command, out, false);
    man_notes(out, "ENVIRONMENT", cli_environment);
    man_notes(out, "EXIT STATUS", cli_exits);
    man_notes(out, "EXAMPLES", cli_examples);
}

/* ---- completion for bash --------------------------------------------------------------- */

static void completion_names(FILE *out, const struct cli_command *table)
{
    for (const char *separator = ""; table->name; table++, separator = " ")
        fprintf(out, "%s%s", separator, table->name);
}

/* What may stand behind the words of a command. `at`: how many words those are. */
static void completion_case(void *context, const char *path, const struct cli_command *command)
{
    const char *separator = "";
    int at = 1;
    FILE *out = context;

    for (const char *p = path; *p; p++)
        at += *p == ' ';
    fprintf(out, "    '%s '*)\n        at=%d options='", path, at);
    for (const struct cli_option *o = command->options; o && o->name; o++) {
        fprintf(out, "%s--%s%s", separator, o->name, cli_takes_value(o) ? "=" : "");
        separator = " ";
    }
    fputs("'\n        words='", out);
    if (command->commands)
        completion_names(out, command->commands);
    else if (command->words && strcmp(command->words, "@commands") == 0)
        completion_names(out, cli_commands);
    else if (command->words)
        fputs(command->words, out);
    fprintf(out, "'\n        files=%s ;;&\n",
            command->max_args == 0 || command->commands ||
            (command->words && command->max_args == 1) ? "" : "1");
}

void cli_print_completion(FILE *out)
{
    fputs("# bash completion for isomer, made from its table of commands\n"
          "_isomer() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} options= words= files= at=0\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          out);
    completion_names(out, cli_commands);
    /* the longest command that matches is the last that does */
    fputs("' -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    case \"${COMP_WORDS[*]:1:COMP_CWORD-1} \" in\n",
          out);
    cli_each(completion_case, out, false);
    fputs("    *) ;;\n"
          "    esac\n"
          "    case $cur in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
          "        [[ ${COMPREPLY-} == *= ]] && compopt -o nospace\n"
          "        return ;;\n"
          "    esac\n"
          "    if [ -n \"$words\" ] && [ \"$COMP_CWORD\" -eq $((at + 1)) ]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    elif [ -n \"$files\" ]; then\n"
          "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _isomer isomer\n",
          out);
}
