/* cli.h: the table of sub-commands and what is made from it. SPDX-License-Identifier: Apache-2.0
 *
 * One table (cli_table.c) describes every sub-command: it drives parsing (cli_parse.c), help
 * text, the manual page and the shell completion (cli_help.c, cli_gen.c). To add a
 * sub-command: one file with its handler, one entry in the table. A sub-command may have a table
 * of its own below it (isomer disk snapshot create); what is said here holds for each level.
 */
#ifndef CLI_H
#define CLI_H

#include "isomer/disk.h"
#include "isomer/isomer.h"

#include <stddef.h>

/* The name by which binfmt_misc starts us: a link to isomer. */
#define CLI_INTERPRETER "isomer-riscv64"
#define CLI_BINFMT_DIR "/proc/sys/fs/binfmt_misc"

struct cli_binfmt {
    const char *flags, *interpreter; /* of the registration; NULL: default */
    const char *root;                /* write files below it, NULL: register */
    const char *dir;                 /* where binfmt_misc is mounted */
    bool replace, user;
    bool dynamic;                    /* found out: not fit for a chroot */
};

/* What all options of all sub-commands write into. */
struct cli_args {
    struct isomer_run_options run;
    struct cli_binfmt binfmt;
    struct isomer_disk_options disk;
    struct isomer_ir_options ir;
    bool json; /* doctor */
    char **env;     /* environment of the guest: own array, borrowed strings */
    size_t env_len; /* without the final NULL */
};

enum cli_type {
    CLI_FLAG,      /* bool: set */
    CLI_STRING,    /* const char *: the value */
    CLI_WORD,      /* const char *: one of the words of `arg`, a|b|c */
    CLI_WORD_MAY,  /* the same with an optional =WORD, "" without it */
    CLI_LIST,      /* const char **: values, ends with NULL */
    CLI_SIZE,      /* uint64_t: isomer_parse_size, not 0 unless `value` is CLI_ZERO_TOO */
    CLI_NUMBER,    /* uint64_t: a plain number, also 0 */
    CLI_SEED,      /* uint64_t: a number, and seed_given */
    CLI_TEST,      /* bool: set; an optional =SEED as CLI_SEED */
    CLI_ENGINE,    /* enum isomer_engine: `value` of the option */
    CLI_ENV_SET,   /* VAR=VALUE into the environment */
    CLI_ENV_UNSET, /* VAR out of it */
};

enum { CLI_ZERO_TOO = 1 };

struct cli_option {
    const char *name;      /* long name, without dashes */
    char letter;           /* short name or 0 */
    enum cli_type type;
    size_t offset;         /* of the field in struct cli_args */
    int value;             /* CLI_ENGINE: what to store; see CLI_SIZE */
    const char *arg;       /* name of the value in help, or NULL */
    const char *help;      /* one or two sentences */
};

struct cli_command {
    const char *name;
    const char *summary;              /* one line, no full stop */
    const char *usage;                /* what follows the options */
    const char *text;                 /* a paragraph for help and manual */
    const struct cli_option *options; /* ends with an empty entry; or NULL */
    int min_args, max_args;           /* positional arguments; max -1: any number */
    const char *words;                /* completion of the first argument, or NULL: files */
    int (*handler)(struct cli_args *args, int argc, char **argv);
    const struct cli_command *commands; /* below this one, or NULL */
    isomer_disk_command *disk;          /* instead of handler; options go anywhere */
};

/* Long enough for the words of any command, "disk snapshot create". */
enum { CLI_PATH = 64 };

/* A name and what it means: environment variables, exit statuses, examples. */
struct cli_note {
    const char *name, *help;
};

extern const struct cli_command cli_commands[]; /* all end with an empty entry */
extern const struct cli_command cli_disk_commands[];
extern const struct cli_note cli_environment[];
extern const struct cli_note cli_exits[];
extern const struct cli_note cli_examples[];

/* Follows the words of argv down the tables. Returns the command, its words in path (CLI_PATH) and
 * how many words that took; or NULL after one line. A command that only has others below it is
 * returned if the words end there. */
const struct cli_command *cli_find(int argc, char **argv, char *path, int *words);
/* Calls fn for every command with its words, parents before their children; `leaves`: not for those
 * that only have others below them. */
void cli_each(void (*fn)(void *context, const char *path, const struct cli_command *command),
              void *context, bool leaves);
bool cli_takes_value(const struct cli_option *option); /* must have one */
bool cli_may_take_value(const struct cli_option *option);

/* Parses options up to the first argument that is none (or "--"). Returns the index of the
 * first positional argument, or -1 after one line about what is wrong. */
int cli_parse(const struct cli_command *command, const char *path, struct cli_args *args, int argc,
              char **argv);

/* One line to stderr, prefixed "isomer: "; returns ISOMER_EXIT_USAGE. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

void cli_print_overview(FILE *out);
void cli_print_command(FILE *out, const char *path, const struct cli_command *command);
void cli_print_man(FILE *out);
void cli_print_completion(FILE *out);

/* Reads ISOMER_DUMP and ISOMER_DUMP_FILE. Returns 0 or an exit status. */
int cli_read_environment(struct cli_args *args);

int cli_run(struct cli_args *args, int argc, char **argv);
int cli_explain(struct cli_args *args, int argc, char **argv);
int cli_ir_check(struct cli_args *args, int argc, char **argv);
int cli_ir_print(struct cli_args *args, int argc, char **argv);
int cli_ir_run(struct cli_args *args, int argc, char **argv);
int cli_ir_opt(struct cli_args *args, int argc, char **argv);
int cli_binfmt(struct cli_args *args, int argc, char **argv);
int cli_doctor(struct cli_args *args, int argc, char **argv);
/* Starts isomer-disk, which has the commands below `disk`. Returns an exit status if it cannot. */
int cli_disk(int argc, char **argv);
int cli_help(struct cli_args *args, int argc, char **argv);
int cli_version(struct cli_args *args, int argc, char **argv);

/* main() under the name CLI_INTERPRETER. */
int cli_interpreter(struct cli_args *args, int argc, char **argv);
/* Who starts riscv64 programs: NULL and a text that it is us, or why not. */
const char *cli_binfmt_state(const char *dir, char *text, size_t size);

#endif
