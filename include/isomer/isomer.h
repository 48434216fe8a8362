/* isomer.h: the public interface of Isomer. SPDX-License-Identifier: Apache-2.0
 *
 * The `isomer` command is written against this file alone. A function here that fails
 * because of its arguments or the environment prints one line to stderr, prefixed
 * "isomer: ", and returns the exit status a shell would give (ISOMER_EXIT_*).
 */
#ifndef ISOMER_ISOMER_H
#define ISOMER_ISOMER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exit statuses of the command itself; any other is the guest's own. */
enum isomer_exit {
    ISOMER_EXIT_OK = 0,
    ISOMER_EXIT_FAILURE = 1,      /* the verb failed: IR text that does not verify, ... */
    ISOMER_EXIT_USAGE = 2,        /* an option or argument makes no sense */
    ISOMER_EXIT_CANNOT_RUN = 126, /* found, but not a program that can be run here */
    ISOMER_EXIT_NOT_FOUND = 127,  /* the program is not there */
};

/* What stages are printed, one letter each in ISOMER_DUMP. The text of each is what its
 * own parser reads back. */
enum isomer_dump {
    ISOMER_DUMP_GUEST = 1 << 0,  /* g: guest instructions of each region */
    ISOMER_DUMP_IR = 1 << 1,     /* i: IR as lifted */
    ISOMER_DUMP_IR_OPT = 1 << 2, /* o: IR as given to the code generator */
    ISOMER_DUMP_HOST = 1 << 3,   /* h: host code */
};

enum isomer_engine {
    ISOMER_ENGINE_AUTO = 0,    /* generated code where this host has a generator */
    ISOMER_ENGINE_INTERPRETER, /* the IR interpreter only */
    ISOMER_ENGINE_LOCKSTEP,    /* generated code, each region checked by the interpreter */
};

/* What a guest program and its children may reach. Lists end with NULL; NULL is empty. */
struct isomer_sandbox {
    bool on;
    bool net;           /* internet sockets */
    const char **read;  /* files, or directories with all that is below */
    const char **write; /* the same, also to be changed */
};

/* How to run a program. All zero is the default; strings belong to the caller and must
 * live as long as the call. */
struct isomer_run_options {
    const char *sysroot;       /* -L: where absolute guest paths are looked up first, or NULL */
    const char *argv0;         /* -0: argv[0] of the guest, or NULL: the program as named */
    const char *cpu_features;  /* "-avx512,-avx2,-bmi": host features to hide, or NULL */
    enum isomer_engine engine; /* who executes */
    bool stats;                /* print counters to stderr when the program ends */
    bool no_link;              /* leave region exits unpatched: each returns to the dispatcher */
    const char *translations;  /* --translations: where they are kept, "off"; NULL: default */
    const char *tier2;         /* --tier2: when hot code is optimised; NULL: the default */
    bool test_deopt;           /* take every exit and fault through its state map */
    bool test_ra;              /* random register allocation */
    bool seed_given;           /* seed holds one; otherwise one is drawn and printed */
    uint64_t seed;             /* of test_deopt, test_ra and other random choices */
    uint64_t cache_size;       /* bytes of code cache; 0: the default */
    unsigned dump;             /* set of enum isomer_dump */
    bool interpreter;          /* started by the kernel's binfmt_misc to run argv[0] */
    bool argv0_kept;           /* interpreter: argv[1] is the guest's argv[0] */
    int program_fd;            /* interpreter: argv[0] opened by the kernel, or -1 */
    struct isomer_sandbox sandbox;
    const char *trace;         /* --trace: "syscalls" or NULL */
    const char *trace_file;    /* where to; NULL: stderr; ">>..." is appended to */
    const char *gdb;           /* --gdb: port, or "unix:PATH": wait there for a debugger */
    const char *perf;          /* --perf: "map" or NULL: tell perf what code is where */
    const char *dump_file;     /* where dumps go ("%p" stands for the pid); NULL: stderr */
    const char *tier2_fuel;    /* REGIONS[:PASS[:REWRITES]]: how far tier 2 goes, or NULL */
};

/* The version, e.g. "0.1.0". */
const char *isomer_version(void);

/* A size as people write it: bytes, or a number (1.5, too) with K, M, G, T, P or E, powers of 1024,
 * also as KB or KiB. Returns false for anything else and for what 64 bits do not hold. */
bool isomer_parse_size(const char *text, uint64_t *size);

/* Runs the guest program argv[0] with arguments argv[1..argc-1] and environment envp (both
 * NULL-terminated). argv[0] is a path, or a name without '/' that is looked up in the PATH of
 * envp. Returns only if it cannot be run: ISOMER_EXIT_CANNOT_RUN, _NOT_FOUND, or _FAILURE if the
 * environment is to blame. Else this process becomes the guest's and ends with its exit status,
 * or by the signal that it dies of, so that a parent sees what it would see of a native
 * process. Call it once, from a process with one thread: it takes over the low addresses,
 * the signal handlers and the descriptors. */
int isomer_run(const struct isomer_run_options *options, int argc, char **argv, char **envp);

/* Prints guest code, IR and host code side by side for one place of a program: `where` is a
 * function's name, or an address in hexadecimal ("0x10430"), or NULL for the entry point.
 * The program is not run. Returns an exit status. */
int isomer_explain(const struct isomer_run_options *options, const char *program,
                   const char *where, FILE *out);

struct isomer_translations {
    char dir[4096];            /* where translations are stored; "": nowhere */
    unsigned files;            /* how many files there are, */
    uint64_t bytes, room;      /* what they take, and what they may */
    const char *why;           /* why none are stored or used; NULL: they are */
};

/* Where the translations of this user's programs are stored, if translations is what it is in
 * isomer_run_options. Makes the directory if there is none. */
void isomer_translations(const char *translations, struct isomer_translations *out);

struct isomer_ir_options {
    const char *guest;      /* whose slots the text names: "rv64"; NULL or "none": s0, s1, ... */
    const char *passes;     /* opt: names with commas between, NAME:N for its first N rewrites; or
                               NULL: all */
    const char *stop_after; /* opt: the last pass to be run, or NULL */
    bool each;              /* opt: print what each pass leaves */
};

/* A tool for files of IR text ("-": standard input). verb: "check" parses and verifies;
 * "print" does so and prints what was read, normalised; "run" interprets each function that
 * states what it expects and prints results; "opt" runs the optimiser's passes, verifies and
 * prints. Returns an exit status. */
int isomer_ir_tool(const struct isomer_ir_options *options, const char *verb, const char *file,
                   FILE *out);

#ifdef __cplusplus
}
#endif
#endif
