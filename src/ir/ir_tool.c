/* ir_tool.c: checks, prints and runs files of IR text. SPDX-License-Identifier: Apache-2.0
 *
 * A file is a sequence of functions, or a test file (ir_case.h) whose cases have a function
 * and its expectations.
 */
#include "ir/ir_case.h"
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

static void ir_tool_functions(struct ir_tool *t, const char *text)
{
    struct ir_func *f = ir_func_new(NULL);
    const char *p = ir_tool_skip(text);

    if (!*p) {
        base_error("%s: no function in the file", t->file);
        t->bad++;
    }
    while (*p) {
        unsigned line = ir_tool_line(text, p);
        struct base_text out = {0};

        if (ir_parse(f, &p, &out) < 0) { /* where the next function begins is not known */
            base_error("%s: function at line %u: %s", t->file, line, out.data);
            t->bad++;
            base_text_free(&out);
            break;
        }
        if (!ir_verify(f, &out)) {
            base_error("%s: function at line %u: %s", t->file, line, out.data);
            t->bad++;
        } else if (t->print) {
            ir_print(f, &out);
            fputs(out.data, t->out);
        }
        base_text_free(&out);
        p = ir_tool_skip(p);
    }
    ir_func_free(f);
}

/* ---- entry point ----------------------------------------------------- */

int isomer_ir_tool(const char *verb, const char *file, FILE *out)
{
    struct ir_tool t = {.file = strcmp(file, "-") == 0 ? "standard input" : file, .out = out};
    char *text;

    if (strcmp(verb, "print") == 0) {
        t.print = true;
    } else if (strcmp(verb, "run") == 0) {
        t.run = true;
    } else if (strcmp(verb, "check") != 0) {
        base_error("ir: no verb '%s'; there are check, print and run", verb);
        return ISOMER_EXIT_USAGE;
    }
    text = ir_case_read(file);
    if (!text) {
        base_error("cannot read %s: %s", file, strerror(errno));
        return ISOMER_EXIT_FAILURE;
    }
    if (strncmp(text, "===", 3) == 0 || strstr(text, "\n===")) {
        ir_tool_cases(&t, text);
    } else if (t.run) {
        base_error("%s: no case states what it expects of a run", t.file);
        t.bad++;
    } else {
        ir_tool_functions(&t, text);
    }
    free(text);
    return t.bad ? ISOMER_EXIT_FAILURE : ISOMER_EXIT_OK;
}
