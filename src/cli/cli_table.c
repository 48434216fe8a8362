/* cli_table.c: what the `isomer` command can do. SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <string.h>

#define RUN(field) offsetof(struct cli_args, run.field)

#define OPTION_SYSROOT                                                                            \
    {"sysroot", 'L', CLI_STRING, RUN(sysroot), 0, "DIR",                                          \
     "Look up absolute paths of the guest under DIR first: its dynamic linker, libraries and "    \
     "programs."}
#define OPTION_CPU_FEATURES                                                                       \
    {"cpu-features", 0, CLI_STRING, RUN(cpu_features), 0, "LIST",                                 \
     "Generate code as if this host lacked features, e.g. -avx512,-avx2,-bmi."}
#define OPTION_END {NULL, 0, CLI_FLAG, 0, 0, NULL, NULL}

static const struct cli_option run_options[] = {
    OPTION_SYSROOT,
    {"env", 'E', CLI_ENV_SET, 0, 0, "VAR=VALUE", "Set a variable in the guest's environment."},
    {"unset", 'U', CLI_ENV_UNSET, 0, 0, "VAR",
     "Remove a variable from the guest's environment."},
    {"argv0", '0', CLI_STRING, RUN(argv0), 0, "NAME", "Give the guest NAME as its argv[0]."},
    {"stats", 0, CLI_FLAG, RUN(stats), 0, NULL,
     "When the program ends, print what was translated, how long it took, the use of the code "
     "cache, and exits by reason."},
    {"cache-size", 0, CLI_SIZE, RUN(cache_size), 0, "SIZE",
     "Size of the code cache (K, M or G may follow the number)."},
    OPTION_CPU_FEATURES,
    {"sandbox", 0, CLI_FLAG, RUN(sandbox.on), 0, NULL,
     "No files and no network for the program and its children, but itself, the -L directory "
     "and what is allowed below. Needs Linux 6.12."},
    {"allow-read", 0, CLI_LIST, RUN(sandbox.read), 0, "PATH",
     "Sandbox: files that may be read and executed; a directory stands for all below it. May "
     "be repeated."},
    {"allow-write", 0, CLI_LIST, RUN(sandbox.write), 0, "PATH",
     "Sandbox: files that may also be changed, made and removed. May be repeated."},
    {"allow-net", 0, CLI_FLAG, RUN(sandbox.net), 0, NULL, "Sandbox: TCP and UDP."},
    {"gdb", 0, CLI_STRING, RUN(gdb), 0, "PORT|unix:PATH",
     "Wait for GDB (gdb-multiarch: target remote :PORT) before the first instruction, and let it "
     "debug the program."},
    {"perf", 0, CLI_STRING, RUN(perf), 0, "map",
     "map: write /tmp/perf-PID.map, from which perf knows what guest function the generated code "
     "belongs to."},
    {"trace", 0, CLI_STRING, RUN(trace), 0, "WHAT",
     "syscalls: print each system call and signal of the program and its children, as strace "
     "does."},
    {"trace-file", 0, CLI_STRING, RUN(trace_file), 0, "FILE",
     "Print that to FILE instead of standard error; >>FILE is appended to."},
    {"interpreter", 0, CLI_ENGINE, RUN(engine), ISOMER_ENGINE_INTERPRETER, NULL,
     "Interpret the IR and generate no code."},
    {"lockstep", 0, CLI_ENGINE, RUN(engine), ISOMER_ENGINE_LOCKSTEP, NULL,
     "Run generated code and the interpreter side by side and stop at the first difference."},
    {"no-link", 0, CLI_FLAG, RUN(no_link), 0, NULL,
     "Do not link regions to each other: every exit returns to the dispatcher."},
    {"translations", 0, CLI_STRING, RUN(translations), 0, "DIR|off",
     "Keep translations of the program's files in DIR for the next run, or nowhere. The default is "
     "/dev/shm/isomer-UID: memory, gone at the next boot. A directory that others may write to is "
     "not used."},
    {"tier2", 0, CLI_STRING, RUN(tier2), 0, "off|on|sync|always",
     "When hot code is optimised: never, on a thread of its own (the default), by the thread that "
     "runs it, or (a test mode) everything at once."},
    {"test-deopt", 0, CLI_TEST, RUN(test_deopt), 0, "SEED",
     "Test mode: take every exit and fault through its state map."},
    {"test-ra", 0, CLI_TEST, RUN(test_ra), 0, "SEED",
     "Test mode: allocate registers at random."},
    {"seed", 0, CLI_SEED, 0, 0, "SEED",
     "Seed of random choices; one that is drawn is printed."},
    OPTION_END,
};

#define BINFMT(field) offsetof(struct cli_args, binfmt.field)

static const struct cli_option binfmt_options[] = {
    {"flags", 0, CLI_STRING, BINFMT(flags), 0, "POCF",
     "What the kernel hands over: P argv[0], O the open file, C credentials of the file (set-"
     "user-ID), F keep isomer open, so that it is found in a chroot. Default: all."},
    {"interpreter", 0, CLI_STRING, BINFMT(interpreter), 0, "PATH",
     "Register PATH, a link to isomer named " CLI_INTERPRETER ". Default: the one beside isomer."},
    {"replace", 0, CLI_FLAG, BINFMT(replace), 0, NULL,
     "install: remove others that are registered for riscv64 programs, such as QEMU."},
    {"root", 0, CLI_STRING, BINFMT(root), 0, "DIR",
     "install, remove: only the file for systemd, DIR/usr/lib/binfmt.d/riscv64-isomer.conf. It "
     "counts from the next boot, or systemctl restart systemd-binfmt."},
    {"user", 0, CLI_FLAG, BINFMT(user), 0, NULL,
     "Run COMMAND (default: a shell) in a user namespace that has a registration of its own. "
     "Needs no root, but Linux 6.7."},
    {"binfmt-dir", 0, CLI_STRING, BINFMT(dir), 0, "DIR",
     "Where binfmt_misc is mounted. Default: " CLI_BINFMT_DIR "."},
    OPTION_END,
};

static const struct cli_option doctor_options[] = {
    {"json", 0, CLI_FLAG, offsetof(struct cli_args, json), 0, NULL, "Print JSON."},
    OPTION_END,
};

static const struct cli_option explain_options[] = {
    OPTION_SYSROOT,
    OPTION_CPU_FEATURES,
    OPTION_END,
};

#define IR(field) offsetof(struct cli_args, ir.field)
#define OPTION_GUEST                                                                              \
    {"guest", 0, CLI_WORD, IR(guest), 0, "none|rv64",                                             \
     "Whose names slots have: rv64 for dumps of a program; none (the default): s0, s1, ..."}

static const struct cli_option ir_options[] = {
    OPTION_GUEST,
    OPTION_END,
};

static const struct cli_option ir_opt_options[] = {
    OPTION_GUEST,
    {"pass", 0, CLI_STRING, IR(passes), 0, "NAME,...",
     "Only these passes, in this order. NAME:N stops NAME after its first N rewrites."},
    {"stop-after", 0, CLI_STRING, IR(stop_after), 0, "NAME", "No pass behind this one."},
    {"each", 0, CLI_FLAG, IR(each), 0, NULL, "Print what each pass leaves, not only the last."},
    OPTION_END,
};

static const struct cli_command ir_commands[] = {
    {"check", "parse and verify", "FILE...", NULL, ir_options, 1, -1, NULL, cli_ir_check},
    {"print", "write the text back in its normal form", "FILE...", NULL, ir_options, 1, -1, NULL,
     cli_ir_print},
    {"run", "interpret what states its expectations", "FILE...", NULL, ir_options, 1, -1, NULL,
     cli_ir_run},
    {"opt", "run the optimiser's passes and verify what they leave", "FILE...",
     "Without options all of tier 2's passes in their order; docs/tier2.md lists them.",
     ir_opt_options, 1, -1, NULL, cli_ir_opt},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

const struct cli_command cli_commands[] = {
    {"run", "run a RISC-V Linux program", "PROGRAM [ARGUMENT...]",
     "Runs PROGRAM, a path or a name that is looked up in PATH, with the files, terminal and "
     "exit status it would have as a native process. Programs that it starts run in the same "
     "way, whether they are RISC-V programs, programs of this host or scripts.",
     run_options, 1, -1, NULL, cli_run},
    {"explain", "show guest code, IR and host code of one place", "PROGRAM [FUNCTION|ADDRESS]",
     "Translates without running, beginning at a function, at an address (0x...), or at the "
     "entry point, and prints each guest instruction beside the IR and the host code it became.",
     explain_options, 1, 2, NULL, cli_explain},
    {"ir", "check, print, interpret or optimise files of IR text", "COMMAND [OPTION...] FILE...",
     "The file - is standard input. Dumps of IR are files that these read.", NULL, 1, -1, NULL,
     NULL, ir_commands},
    {"binfmt", "let the kernel start riscv64 programs through isomer",
     "install|remove|status | --user [-- COMMAND [ARGUMENT...]]",
     "Registers isomer with the kernel's binfmt_misc: riscv64 programs then start like any "
     "other, in a chroot or container too. status exits with 1 if isomer is not registered.",
     binfmt_options, 0, -1, "install remove status", cli_binfmt},
    {"doctor", "say what this machine allows and how to fix what is missing", "",
     "Looks at what isomer needs or can use. Each line is ok, warn or fail, the last two with "
     "what can be done. The exit status is 1 if any is fail.",
     doctor_options, 0, 0, "", cli_doctor},
    {"disk", "make, inspect, convert and serve virtual disks", "COMMAND [OPTION...] [ARGUMENT...]",
     "Virtual disks in host files: raw, qcow2 and what others use. Sizes are bytes, or numbers "
     "with K, M, G or T (10G, 1.5T). Options may stand anywhere.",
     NULL, 1, -1, NULL, NULL, cli_disk_commands},
    {"help", "explain a command", "[COMMAND...]", NULL, NULL, 0, 3, "@commands", cli_help},
    {"version", "print the version", "", NULL, NULL, 0, 0, "", cli_version},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL},
};

const struct cli_note cli_environment[] = {
    {"ISOMER_SYSROOT", "The same as -L, also when the kernel starts isomer (isomer binfmt)."},
    {"ISOMER_TRANSLATIONS", "The same as --translations, also when the kernel starts isomer."},
    {"ISOMER_TRANSLATIONS_CHECK",
     "If set: everything is translated all the same and compared with what was kept. A difference "
     "ends the program with a message."},
    {"ISOMER_DUMP",
     "Letters of the stages to print as text: g guest code, i IR as lifted, o IR as given to "
     "the code generator, h host code."},
    {"ISOMER_DUMP_FILE",
     "The file that dumps are appended to instead of standard error; %p stands for the process "
     "number."},
    {"ISOMER_T2_FUEL",
     "REGIONS[:PASS[:REWRITES]]: only the first so many regions are compiled in tier 2, in the "
     "last of them no pass behind PASS is run, and PASS makes its first so many rewrites only. "
     "Dumps show that last region alone. For tools/t2_bisect.py, see docs/debugging.md."},
    {"ISOMER_CORE",
     "Name of core dumps of the program, if the limit on their size (ulimit -c) permits any; %p "
     "stands for the process number, %e for the program. Default: core.%p."},
    {NULL, NULL},
};

const struct cli_note cli_exits[] = {
    {"any other", "The exit status of the program; if a signal ended it, the same signal ends "
                  "isomer."},
    {"1", "isomer explain, ir: the input is wrong; binfmt, doctor: something is missing or "
          "failed; disk: an image or the environment is to blame, or compare found a difference."},
    {"2", "An option or argument makes no sense."},
    {"126", "The program is not executable here: wrong format, wrong architecture, damaged."},
    {"127", "The program, or the dynamic linker it asks for, was not found."},
    {NULL, NULL},
};

const struct cli_note cli_examples[] = {
    {"isomer run ./hello", "Run a static program."},
    {"isomer run -L ~/riscv64-root /bin/bash -c 'uname -m'",
     "Run a shell from a RISC-V root file system."},
    {"ISOMER_DUMP=io isomer run ./hello", "Print the IR of every region, as lifted and as "
                                          "optimised."},
    {"isomer run --sandbox --allow-write=out ./tool", "Run a program that may change nothing but "
                                                      "the directory out."},
    {"isomer binfmt --user -- chroot ~/riscv64-root", "Enter a RISC-V root file system without "
                                                      "being root."},
    {"isomer explain ./hello main", "Show what became of a function."},
    {"isomer disk create -b base.qcow2 vm.qcow2", "A disk that begins as base.qcow2 and keeps only "
                                                  "what is changed."},
    {"isomer disk convert -c vm.raw vm.qcow2", "Compress a disk."},
    {"isomer disk serve -k vm.sock vm.qcow2", "Let NBD clients use a disk."},
    {NULL, NULL},
};

/* ---- along the tables ------------------------------------------------------------------- */

static const struct cli_command *find_in(const struct cli_command *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

const struct cli_command *cli_find(int argc, char **argv, char *path, int *words)
{
    const struct cli_command *table = cli_commands, *found = NULL, *next;

    path[0] = 0;
    for (*words = 0; *words < argc && table && argv[*words][0] != '-'; ++*words) {
        next = find_in(table, argv[*words]);
        if (!next) {
            cli_error("no command '%s%s%s' (see: isomer help%s%s)", path, *path ? " " : "",
                      argv[*words], *path ? " " : "", path);
            return NULL;
        }
        found = next;
        snprintf(path + strlen(path), CLI_PATH - strlen(path), "%s%s", *path ? " " : "",
                 found->name);
        table = found->commands;
    }
    return found;
}

static void each_in(const struct cli_command *table, const char *prefix,
                    void (*fn)(void *, const char *, const struct cli_command *), void *context,
                    bool leaves)
{
    char path[2 * CLI_PATH];

    for (; table->name; table++) {
        snprintf(path, sizeof path, "%.*s%s%s", CLI_PATH, prefix, *prefix ? " " : "", table->name);
        if (!leaves || !table->commands)
            fn(context, path, table);
        if (table->commands)
            each_in(table->commands, path, fn, context, leaves);
    }
}

void cli_each(void (*fn)(void *context, const char *path, const struct cli_command *command),
              void *context, bool leaves)
{
    each_in(cli_commands, "", fn, context, leaves);
}
