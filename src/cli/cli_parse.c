/* cli_parse.c: options as the table describes them. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int cli_error(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    fputs("isomer: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return ISOMER_EXIT_USAGE;
}

bool cli_may_take_value(const struct cli_option *option)
{
    return option->type != CLI_FLAG && option->type != CLI_ENGINE;
}

bool cli_takes_value(const struct cli_option *option)
{
    return cli_may_take_value(option) && option->type != CLI_TEST && option->type != CLI_WORD_MAY;
}

/* ---- values ---------------------------------------------------------------------------- */

static bool parse_number(const char *text, const char **end, uint64_t *value)
{
    char *stop;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &stop, 0);
    *end = stop;
    return errno == 0;
}

/* Whether text is one of the words of list, a|b|c. */
static bool is_word(const char *text, const char *list)
{
    size_t length = strlen(text);

    for (; *list; list += strcspn(list, "|"), list += *list == '|')
        if (strcspn(list, "|") == length && strncmp(list, text, length) == 0)
            return true;
    return false;
}

static bool parse_whole(const char *text, uint64_t *value)
{
    const char *end;

    return parse_number(text, &end, value) && !*end;
}

static bool parse_seed(const char *text, struct cli_args *args)
{
    const char *end;

    if (!parse_number(text, &end, &args->run.seed) || *end)
        return false;
    args->run.seed_given = true;
    return true;
}

/* ---- environment of the guest ---------------------------------------------------------- */

static void env_unset(struct cli_args *args, const char *name, size_t length)
{
    size_t kept = 0;

    for (size_t i = 0; i < args->env_len; i++)
        if (strncmp(args->env[i], name, length) != 0 || args->env[i][length] != '=')
            args->env[kept++] = args->env[i];
    args->env_len = kept;
    args->env[kept] = NULL;
}

static bool env_set(struct cli_args *args, char *assignment)
{
    char *equals = strchr(assignment, '=');
    char **grown;

    if (!equals || equals == assignment)
        return false;
    env_unset(args, assignment, (size_t)(equals - assignment));
    grown = realloc(args->env, (args->env_len + 2) * sizeof *grown);
    if (!grown)
        return false;
    args->env = grown;
    args->env[args->env_len++] = assignment;
    args->env[args->env_len] = NULL;
    return true;
}

static bool list_add(const char ***list, const char *value)
{
    size_t n = 0;
    const char **grown;

    while (*list && (*list)[n])
        n++;
    grown = realloc(*list, (n + 2) * sizeof *grown);
    if (!grown)
        return false;
    grown[n] = value;
    grown[n + 1] = NULL;
    *list = grown;
    return *value;
}

/* ---- options --------------------------------------------------------------------------- */

static bool store(const struct cli_option *option, struct cli_args *args, char *value)
{
    void *field = (char *)args + option->offset;

    switch (option->type) {
    case CLI_FLAG:
        *(bool *)field = true;
        return true;
    case CLI_STRING:
        *(const char **)field = value;
        return true;
    case CLI_WORD:
    case CLI_WORD_MAY:
        *(const char **)field = value ? value : "";
        return !value || is_word(value, option->arg);
    case CLI_LIST:
        return list_add(field, value);
    case CLI_SIZE:
        return isomer_parse_size(value, field) &&
               (*(uint64_t *)field || option->value == CLI_ZERO_TOO);
    case CLI_NUMBER:
        return parse_whole(value, field);
    case CLI_SEED:
        return parse_seed(value, args);
    case CLI_TEST:
        *(bool *)field = true;
        return !value || parse_seed(value, args);
    case CLI_ENGINE:
        *(enum isomer_engine *)field = (enum isomer_engine)option->value;
        return true;
    case CLI_ENV_SET:
        return env_set(args, value);
    case CLI_ENV_UNSET:
        env_unset(args, value, strlen(value));
        return *value && !strchr(value, '=');
    }
    return false;
}

static const struct cli_option *find_option(const struct cli_command *command, const char *text,
                                            bool is_long)
{
    size_t length = strcspn(text, "=");

    for (const struct cli_option *o = command->options; o && o->name; o++) {
        if (is_long && strncmp(o->name, text, length) == 0 && !o->name[length])
            return o;
        if (!is_long && o->letter && o->letter == text[0])
            return o;
    }
    return NULL;
}

static int bad_value(const char *path, const struct cli_option *option, const char *value)
{
    if (option->type == CLI_WORD || option->type == CLI_WORD_MAY)
        cli_error("%s: option --%s: '%s' is none of %s", path, option->name, value, option->arg);
    else
        cli_error("%s: option --%s: '%s' is not a %s", path, option->name, value, option->arg);
    return -1;
}

/* Parses argv[i]; returns the index of the next argument, or -1. */
static int parse_option(const struct cli_command *command, const char *path,
                        struct cli_args *args, int argc, char **argv, int i)
{
    bool is_long = argv[i][1] == '-';
    char *text = argv[i] + (is_long ? 2 : 1);
    const struct cli_option *option = find_option(command, text, is_long);
    char *value = NULL;

    if (!option) {
        cli_error("%s: no option %s (see: isomer help %s)", path, argv[i], path);
        return -1;
    }
    if (is_long)
        value = strchr(text, '=') ? strchr(text, '=') + 1 : NULL;
    else if (text[1])
        value = text + 1;
    if (!cli_may_take_value(option) && value) {
        cli_error("%s: option --%s takes no value", path, option->name);
        return -1;
    }
    i++;
    if (cli_takes_value(option) && !value) {
        if (i >= argc) {
            cli_error("%s: option --%s needs a value: %s", path, option->name, option->arg);
            return -1;
        }
        value = argv[i++];
    }
    return store(option, args, value) ? i : bad_value(path, option, value);
}

/* A disk command's size may be -1G; only what follows a dash as a letter is an option. */
static bool is_option(const struct cli_command *command, const char *text)
{
    return text[0] == '-' && text[1] && !(command->disk && text[1] >= '0' && text[1] <= '9');
}

int cli_parse(const struct cli_command *command, const char *path, struct cli_args *args, int argc,
              char **argv)
{
    int i = 0, count = 0;
    bool options = true;

    /* positional arguments are moved to the front of what has been read */
    while (i < argc && (options || command->disk)) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            i++;
        } else if (options && is_option(command, argv[i])) {
            i = parse_option(command, path, args, argc, argv, i);
            if (i < 0)
                return -1;
        } else if (command->disk) {
            argv[count++] = argv[i++];
        } else {
            break;
        }
    }
    if (command->disk) {
        i = argc - count;
        memmove(argv + i, argv, (size_t)count * sizeof *argv);
    }
    count = argc - i;
    if (count < command->min_args || (command->max_args >= 0 && count > command->max_args)) {
        cli_error("usage: isomer %s%s %s (see: isomer help %s)", path,
                  command->options ? " [OPTION...]" : "", command->usage, path);
        return -1;
    }
    return i;
}
