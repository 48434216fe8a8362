/* t_opt_text.c: runs the test files of passes. SPDX-License-Identifier: Apache-2.0
 *
 *     t_opt_text [--bless] [file.ir...]     without files: $TESTS/opt/ and its *.ir
 *
 * The form is that of src/ir/ir_case.h, with one section of its own:
 *
 *     --- opt PASS...      what the passes, in this order, make of the input
 *
 * "none" only builds the function anew: what a pass must not change has the same text after it
 * as after "none". --bless (or TEST_BLESS=1) writes what is true into the files. What comes out is
 * run, too, and must do what the input does.
 */
#include "opt_gen.h"

#include "ir/ir_case.h"
#include "ir/ir_priv.h"
#include "opt/opt.h"

#include <glob.h>
#include <stdlib.h>

enum { T_RUNS = 16 };

static bool t_bless;
static unsigned t_failed;

static void t_result(bool ok, const char *file, const char *name, const char *what)
{
    printf("%s - %s: %s: %s%s\n", ok ? "ok" : "not ok", file, name, what,
           ok ? "" : ": differs, see above");
    t_failed += !ok;
}

/* ---- one section ----------------------------------------------------- */

/* Runs both from some states. */
static void t_compare(const struct ir_func *f, const struct ir_func *g, struct base_text *out)
{
    static struct opt_gen_world a, b;
    struct base_text text = {0};

    for (unsigned seed = 0; seed < T_RUNS && !text.data; seed++) {
        opt_gen_run(f, seed, &a);
        opt_gen_run(g, seed, &b);
        opt_gen_differ(&a, &b, &text);
    }
    if (text.data) base_text_printf(out, IR_CASE_BROKEN ": does something else: %s", text.data);
    base_text_free(&text);
}

/* Applies one pass to *f, which is replaced. */
static bool t_pass(struct ir_func **f, const char *name, struct base_text *out)
{
    const struct opt_pass *p = opt_find(name);
    struct ir_func *dst = ir_func_new((*f)->guest);
    struct base_arena arena;
    const char *why = NULL;

    base_arena_init(&arena);
    if (p)
        why = p->run(dst, *f, &arena);
    else if (strcmp(name, "none") == 0)
        ir_copy(dst, *f);
    else
        why = "there is no such pass";
    base_arena_free(&arena);
    ir_func_free(*f);
    *f = dst;
    if (why) base_text_printf(out, IR_CASE_BROKEN ": %s: %s\n", name, why);
    return !why;
}

static void t_opt(const struct ir_case *c, const char *head, struct base_text *out)
{
    struct ir_func *before = ir_func_new(&opt_test_guest), *f = ir_func_new(&opt_test_guest);
    const char *input = c->input;
    char words[512], *save = NULL;
    struct base_text error = {0};
    bool ok = ir_parse(before, &input, &error) == 0 && ir_verify(before, &error);

    if (!ok) base_text_printf(out, IR_CASE_BROKEN ": %s\n", error.data);
    f->flags |= IR_FLAG_NOFOLD;
    if (ok) ir_copy(f, before);
    snprintf(words, sizeof words, "%s", head);
    strtok_r(words, " ", &save);
    for (char *name; ok && (name = strtok_r(NULL, " ", &save));) ok = t_pass(&f, name, out);
    if (ok && !ir_verify(f, &error)) base_text_printf(out, IR_CASE_BROKEN ": %s\n", error.data);
    if (ok) ir_print(f, out);
    if (ok) t_compare(before, f, out);
    base_text_free(&error);
    ir_func_free(before);
    ir_func_free(f);
}

static void t_actual(const struct ir_case *c, unsigned n, struct base_text *out)
{
    if (strncmp(c->section[n].head, "opt ", 4) == 0)
        t_opt(c, c->section[n].head, out);
    else
        ir_case_actual(c, n, &opt_test_guest, out);
}

/* ---- one file -------------------------------------------------------- */

static bool t_same(const struct ir_section *s, const char *actual)
{
    return strlen(actual) == s->len && memcmp(actual, s->body, s->len) == 0;
}

static void t_case(const struct ir_case *c, const char *file, struct base_text *blessed)
{
    if (blessed->len > 1 && strcmp(blessed->data + blessed->len - 2, "\n\n") != 0)
        base_text_printf(blessed, "\n");
    base_text_printf(blessed, "%.*s", (int)(c->input + c->input_len - c->start), c->start);
    for (unsigned n = 0; n < c->nsections; n++) {
        const struct ir_section *s = &c->section[n];
        struct base_text actual = {0};
        bool ok;

        t_actual(c, n, &actual);
        ok = (t_bless || t_same(s, actual.data)) && !strstr(actual.data, IR_CASE_BROKEN);
        if (!ok) printf("%s:%u: %s: '%s' gives\n%s", file, c->line, c->name, s->head, actual.data);
        t_result(ok, file, c->name, s->head);
        base_text_printf(blessed, "--- %s\n%s", s->head, actual.data);
        base_text_free(&actual);
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
        t_case(&c, file, &blessed);
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
    const char *tests = getenv("TESTS"), *bless = getenv("TEST_BLESS");
    char pattern[4096];
    glob_t g = {0};
    int files = 1;

    t_bless = bless && *bless;
    if (argc > 1 && strcmp(argv[1], "--bless") == 0) {
        t_bless = true;
        files = 2;
    }
    if (argc > files) {
        for (int i = files; i < argc; i++) t_file(argv[i]);
        return t_failed ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    snprintf(pattern, sizeof pattern, "%s/opt/*.ir", tests ? tests : "tests");
    if (glob(pattern, 0, NULL, &g) != 0) {
        printf("not ok - no files at %s\n", pattern);
        return EXIT_FAILURE;
    }
    for (size_t n = 0; n < g.gl_pathc; n++) t_file(g.gl_pathv[n]);
    globfree(&g);
    return t_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
