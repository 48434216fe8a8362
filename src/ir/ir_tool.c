/* ir_tool.c: checks, prints and runs files of IR text. SPDX-License-Identifier: Apache-2.0
 *
 * A file is a sequence of functions, or a test file (ir_case.h) whose cases have a function
 * and its expectations.
 */
#include "ir/ir_case.h"
#include "ir/ir_priv.h"
#include "isomer/isomer.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

struct ir_tool {
    const char *file;
    FILE *out;
    bool print, run;
    unsigned bad; /* functions or expectations that are wrong */
};

/* ---- test files ------------------------------------------------------ */

/* The message a case expects instead of a function that verifies, or NULL. */
static const struct ir_section *ir_tool_error(const struct ir_case *c)
{
    for (unsigned n = 0; n < c->nsections; n++)
        if (strcmp(c->section[n].head, "error") == 0) return &c->section[n];
    return NULL;
}

static void ir_tool_section(struct ir_tool *t, const struct ir_case *c, unsigned n)
{
    const struct ir_section *s = &c->section[n];
    struct base_text actual = {0};

    ir_case_actual(c, n, NULL, &actual);
    fprintf(t->out, "--- %s\n%s", s->head, actual.data);
    if (actual.len != s->len || memcmp(actual.data, s->body, s->len) != 0) {
        base_error("%s: case '%s': '%s' expects otherwise", t->file, c->name, s->head);
        t->bad++;
    }
    base_text_free(&actual);
}

static void ir_tool_case(struct ir_tool *t, const struct ir_case *c)
{
    struct base_text text = {0};

    if (c->guest) /* tests of the builder bring their own guest */
        return;
    if (t->run) {
        bool named = false;

        for (unsigned n = 0; n < c->nsections; n++) {
            if (strncmp(c->section[n].head, "run", 3) != 0) continue;
            if (!named) fprintf(t->out, "=== %s\n", c->name);
            named = true;
            ir_tool_section(t, c, n);
        }
        return;
    }
    if (ir_case_normal(c->input, NULL, &text)) {
        if (t->print) fprintf(t->out, "=== %s\n%s", c->name, text.data);
    } else if (!ir_tool_error(c)) {
        base_error("%s: case '%s': %.*s", t->file, c->name, (int)strcspn(text.data, "\n"),
                   text.data);
        t->bad++;
    }
    base_text_free(&text);
}

static void ir_tool_cases(struct ir_tool *t, const char *p)
{
    struct base_text error = {0};
    struct ir_case c;
    unsigned line = 1;

    while (ir_case_next(&p, &line, &c, &error)) ir_tool_case(t, &c);
    if (error.data) {
        base_error("%s: %s", t->file, error.data);
        t->bad++;
    }
    base_text_free(&error);
}

/* ---- plain files ----------------------------------------------------- */

static const char *ir_tool_name(const char *file)
{
    return strcmp(file, "-") == 0 ? "standard input" : file;
}

static char *ir_tool_read(const char *file)
{
    char *text = ir_case_read(file);

    if (!text) base_error("cannot read %s: %s", file, strerror(errno));
    return text;
}

static bool ir_tool_is_cases(const char *text)
{
    return strncmp(text, "===", 3) == 0 || strstr(text, "\n===");
}

static const char *ir_tool_skip(const char *p)
{
    for (;;) {
        while (isspace((unsigned char)*p)) p++;
        if (*p != ';') return p;
        p += strcspn(p, "\n");
    }
}

static unsigned ir_tool_line(const char *text, const char *p)
{
    unsigned line = 1;

    for (; text < p; text++) line += *text == '\n';
    return line;
}

/* Each function of a text; false, after a line, at the first that is wrong. */
static bool ir_tool_text(const char *name, const char *text, struct ir_func *f, ir_tool_fn *fn,
                         void *ctx)
{
    const char *p = ir_tool_skip(text);
    struct base_text error = {0};
    bool all = *p;

    if (!*p) base_error("%s: no function in the file", name);
    while (*p) {
        unsigned line = ir_tool_line(text, p);
        bool parsed = ir_parse(f, &p, &error) == 0, good = parsed && ir_verify(f, &error);

        if (!good) base_error("%s: function at line %u: %s", name, line, error.data);
        all &= good && fn(ctx, f, line);
        base_text_free(&error);
        if (!parsed) break; /* where the next function begins is not known */
        p = ir_tool_skip(p);
    }
    return all;
}

int ir_tool_each(const char *file, const struct ir_guest *guest, ir_tool_fn *fn, void *ctx)
{
    char *text = ir_tool_read(file);
    struct ir_func *f;
    bool ok;

    if (!text) return ISOMER_EXIT_FAILURE;
    f = ir_func_new(guest);
    if (ir_tool_is_cases(text))
        base_error("%s: a file of test cases; functions are wanted", ir_tool_name(file));
    ok = !ir_tool_is_cases(text) && ir_tool_text(ir_tool_name(file), text, f, fn, ctx);
    ir_func_free(f);
    free(text);
    return ok ? ISOMER_EXIT_OK : ISOMER_EXIT_FAILURE;
}

static bool ir_tool_show(void *ctx, struct ir_func *f, unsigned line)
{
    const struct ir_tool *t = ctx;
    struct base_text out = {0};

    (void)line;
    if (!t->print) return true;
    ir_print(f, &out);
    fputs(out.data, t->out);
    base_text_free(&out);
    return true;
}

/* ---- entry point ----------------------------------------------------- */

int ir_tool(const char *verb, const char *file, const struct ir_guest *guest, FILE *out)
{
    struct ir_tool t = {.file = ir_tool_name(file), .out = out};
    struct ir_func *f = ir_func_new(guest);
    char *text;

    t.print = strcmp(verb, "print") == 0;
    t.run = strcmp(verb, "run") == 0;
    text = ir_tool_read(file);
    if (!text) {
        t.bad++;
    } else if (ir_tool_is_cases(text)) {
        ir_tool_cases(&t, text);
    } else if (t.run) {
        base_error("%s: no case states what it expects of a run", t.file);
        t.bad++;
    } else {
        t.bad += !ir_tool_text(t.file, text, f, ir_tool_show, &t);
    }
    ir_func_free(f);
    free(text);
    return t.bad ? ISOMER_EXIT_FAILURE : ISOMER_EXIT_OK;
}
