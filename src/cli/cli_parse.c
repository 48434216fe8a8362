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

bool cli_takes_value(const struct cli_option *option)
{
    return option->type != CLI_FLAG && option->type != CLI_ENGINE && option->type != CLI_TEST;
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

static bool parse_size(const char *text, uint64_t *value)
{
    const char *end;
    int shift = 0;

    if (!parse_number(text, &end, value))
        return false;
    if (*end == 'K' || *end == 'k')
        shift = 10;
    else if (*end == 'M' || *end == 'm')
        shift = 20;
    else if (*end == 'G' || *end == 'g')
        shift = 30;
    if (shift)
        end++;
    if (*end || *value == 0 || *value > UINT64_MAX >> shift)
        return false;
    *value <<= shift;
    return true;
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
    case CLI_LIST:
        return list_add(field, value);
    case CLI_SIZE:
        return parse_size(value, field);
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

/* Parses argv[i]; returns the index of the next argument, or -1. */
static int parse_option(const struct cli_command *command, struct cli_args *args, int argc,
                        char **argv, int i)
{
    bool is_long = argv[i][1] == '-';
    char *text = argv[i] + (is_long ? 2 : 1);
    const struct cli_option *option = find_option(command, text, is_long);
    char *value = NULL;

    if (!option) {
        cli_error("%s: no option %s (see: isomer help %s)", command->name, argv[i],
                  command->name);
        return -1;
    }
    if (is_long)
        value = strchr(text, '=') ? strchr(text, '=') + 1 : NULL;
    else if (text[1])
        value = text + 1;
    if (!cli_takes_value(option) && value && option->type != CLI_TEST) {
        cli_error("%s: option --%s takes no value", command->name, option->name);
        return -1;
    }
    i++;
    if (cli_takes_value(option) && !value) {
        if (i >= argc) {
            cli_error("%s: option --%s needs a value: %s", command->name, option->name,
                      option->arg);
            return -1;
        }
        value = argv[i++];
    }
    if (!store(option, args, value)) {
        cli_error("%s: option --%s: '%s' is not a %s", command->name, option->name, value,
                  option->arg);
        return -1;
    }
    return i;
}

int cli_parse(const struct cli_command *command, struct cli_args *args, int argc, char **argv)
{
    int i = 0, count;

    while (i < argc && argv[i][0] == '-' && argv[i][1]) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        i = parse_option(command, args, argc, argv, i);
        if (i < 0)
            return -1;
    }
    count = argc - i;
    if (count < command->min_args || (command->max_args >= 0 && count > command->max_args)) {
        cli_error("usage: isomer %s%s %s (see: isomer help %s)", command->name,
                  command->options ? " [OPTION...]" : "", command->usage, command->name);
        return -1;
    }
    return i;
}
