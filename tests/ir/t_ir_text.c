/* t_ir_text.c: runs the IR test files. SPDX-License-Identifier: Apache-2.0
 *
 *     t_ir_text [--bless] [file.ir...]     without files: $TESTS/ir/ and its *.ir
 *
 * The form of the files is in src/ir/ir_case.h. Beside each section's expectation it checks
 * that every input survives printing and parsing, and that every operation of the table
 * occurs in some input. --bless (or TEST_BLESS=1) writes what is true into the files.
 */
#include "ir_gen.h"

#include "ir/ir_case.h"

#include <glob.h>
#include <stdlib.h>

/* ---- one file -------------------------------------------------------- */

static bool t_bless;
static unsigned t_failed;
static bool t_covered[IR_OP_COUNT];

static void t_result(bool ok, const char *file, const char *name, const char *what)
{
    printf("%s - %s:%s%s%s%s\n", ok ? "ok" : "not ok", file, name, *what ? " " : "", what,
           ok ? "" : ": differs, see above");
    t_failed += !ok;
}

static void t_cover(const char *input, const struct ir_guest *guest)
{
    struct ir_func *f = ir_func_new(guest);

    if (ir_parse(f, &input, NULL) == 0)
        for (ir_ref r = f->nk; r < f->nins; r++) t_covered[f->ins[r].op] = true;
    ir_func_free(f);
}

/* Writes the case as it is, its sections as they should be. */
static void t_case_bless(const struct ir_case *c, struct base_text *out)
{
    if (out->len > 1 && strcmp(out->data + out->len - 2, "\n\n") != 0)
        base_text_printf(out, "\n"); /* an empty line sets cases apart */
    base_text_printf(out, "%.*s", (int)(c->input + c->input_len - c->start), c->start);
    for (unsigned n = 0; n < c->nsections; n++) {
        struct base_text actual = {0};

        ir_case_actual(c, n, &ir_test_guest, &actual);
        base_text_printf(out, "--- %s\n%s", c->section[n].head, actual.data);
        base_text_free(&actual);
    }
}

static bool t_same(const struct ir_section *s, const char *actual)
{
    return strlen(actual) == s->len && memcmp(actual, s->body, s->len) == 0;
}

static void t_case(const struct ir_case *c, const char *file)
{
    bool error = false;

    for (unsigned n = 0; n < c->nsections; n++) {
        const struct ir_section *s = &c->section[n];
        struct base_text actual = {0};
        bool ok;

        ir_case_actual(c, n, &ir_test_guest, &actual);
        ok = (t_bless || t_same(s, actual.data)) &&
             strncmp(actual.data, IR_CASE_BROKEN, strlen(IR_CASE_BROKEN)) != 0;
        if (!ok) printf("%s:%u: %s: '%s' gives\n%s", file, c->line, c->name, s->head, actual.data);
        t_result(ok, file, c->name, s->head);
        error |= strcmp(s->head, "error") == 0;
        base_text_free(&actual);
    }
    if (!error) {
        const struct ir_guest *guest = c->guest ? &ir_test_guest : NULL;
        struct base_text text = {0};
        bool ok = ir_case_normal(c->input, guest, &text);

        if (!ok) printf("%s:%u: %s\n%s", file, c->line, c->name, text.data);
        t_result(ok, file, c->name, "reads back");
        t_cover(c->input, guest);
        base_text_free(&text);
    }
}

static void t_file(const char *path)
{
    const char *file = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    char *text = ir_case_read(path);
    struct base_text error = {0}, blessed = {0};
    const char *p = text;
    unsigned line = 1, cases = 0;
    struct ir_case c;

    if (!text) {
        t_result(false, file, "cannot be read", "");
        return;
    }
    while (ir_case_next(&p, &line, &c, &error)) {
        if (!cases++) base_text_printf(&blessed, "%.*s", (int)(c.start - text), text);
        t_case(&c, file);
        t_case_bless(&c, &blessed);
    }
    if (error.data || !cases) {
        printf("%s: %s\n", file, error.data ? error.data : "no case");
        t_result(false, file, "form", "");
    } else if (t_bless && strcmp(blessed.data, text) != 0) {
        FILE *out = fopen(path, "w");

        if (!out || fputs(blessed.data, out) < 0 || fclose(out) != 0)
            t_result(false, file, "cannot be written", "");
    }
    base_text_free(&error);
    base_text_free(&blessed);
    free(text);
}

int main(int argc, char **argv)
{
    const char *bless = getenv("TEST_BLESS"), *tests = getenv("TESTS");
    bool all = true;

    t_bless = bless && *bless;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bless") == 0) {
            t_bless = true;
            continue;
        }
        all = false;
        t_file(argv[i]);
    }
    if (all) {
        char pattern[4096];
        glob_t g = {0};

        snprintf(pattern, sizeof pattern, "%s/ir/*.ir", tests ? tests : "tests");
        if (glob(pattern, 0, NULL, &g) != 0) t_result(false, pattern, "no test files", "");
        for (size_t n = 0; n < g.gl_pathc; n++) t_file(g.gl_pathv[n]);
        globfree(&g);
        for (unsigned op = 0; op < IR_OP_COUNT; op++)
            t_result(t_covered[op], "table", ir_ops[op].name, "occurs in a test");
    }
    return t_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
