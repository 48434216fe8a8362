/* opt_tool.c: `isomer ir opt`: passes over a file of IR text. SPDX-License-Identifier: Apache-2.0
 *
 * For developers: a dump, or what somebody wrote, goes through the passes that are named, and comes
 * out as text that can be read again. Passes are given in any order, so each is asked first whether
 * it may have what the one before it left: a mistake in the command is a line, not an assertion.
 */
#include "isomer/isomer.h"
#include "opt/opt_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum { OPT_TOOL_PASSES = 64 };

struct opt_tool_run {
    const struct opt_tool *t;
    const char *file;
    FILE *out;
    struct opt_tool_step {
        const struct opt_pass *pass;
        uint64_t rewrites;
    } step[OPT_TOOL_PASSES];
    unsigned nsteps;
    struct ir_func *f, *next;
    struct base_arena arena;
};

/* ---- which passes ---------------------------------------------------- */

static void opt_tool_names(struct base_text *out)
{
    for (const struct opt_pass *p = opt_passes; p->name; p++)
        base_text_printf(out, "%s%s", p == opt_passes ? "" : ", ", p->name);
}

static const struct opt_pass *opt_tool_find(const char *name)
{
    const struct opt_pass *p = opt_find(name);
    struct base_text names = {0};

    if (p)
        return p;
    opt_tool_names(&names);
    base_error("ir opt: no pass '%s'; there are %s", name, names.data);
    base_text_free(&names);
    return NULL;
}

/* NAME or NAME:REWRITES */
static bool opt_tool_step(struct opt_tool_run *x, const char *word, size_t len)
{
    char name[64], *colon, *end;
    struct opt_tool_step *s = &x->step[x->nsteps];

    if (x->nsteps == OPT_TOOL_PASSES || len >= sizeof name) {
        base_error("ir opt: --pass: at most %d names of passes", OPT_TOOL_PASSES);
        return false;
    }
    snprintf(name, sizeof name, "%.*s", (int)len, word);
    colon = strchr(name, ':');
    s->rewrites = UINT64_MAX;
    if (colon) {
        *colon++ = 0;
        errno = 0;
        s->rewrites = strtoull(colon, &end, 10);
        if (!isdigit((unsigned char)*colon) || *end || errno) {
            base_error("ir opt: --pass=%s:%s: '%s' is not a number of rewrites", name, colon,
                       colon);
            return false;
        }
    }
    s->pass = opt_tool_find(name);
    x->nsteps += s->pass != NULL;
    return s->pass;
}

static bool opt_tool_steps(struct opt_tool_run *x)
{
    const struct opt_pass *last = NULL;
    const char *p = x->t->passes;

    if (x->t->stop_after && !(last = opt_tool_find(x->t->stop_after)))
        return false;
    for (const struct opt_pass *all = opt_passes; !p && all->name; all++)
        x->step[x->nsteps++] = (struct opt_tool_step){all, UINT64_MAX};
    while (p) {
        size_t n = strcspn(p, ",");

        if (!opt_tool_step(x, p, n))
            return false;
        p = p[n] ? p + n + 1 : NULL;
    }
    for (unsigned n = 0; last && n < x->nsteps; n++) {
        if (x->step[n].pass != last)
            continue;
        x->nsteps = n + 1;
        return true;
    }
    if (last)
        base_error("ir opt: --stop-after=%s: not one of the passes that are run", last->name);
    return !last;
}

/* ---- may a pass have it? --------------------------------------------- */

static bool opt_tool_has_phis(const struct ir_func *f)
{
    for (ir_ref r = IR_BIAS; r < f->nins; r++)
        if (f->ins[r].op == IR_PHI)
            return true;
    return false;
}

static bool opt_tool_is_ssa(const struct ir_func *f)
{
    struct base_text error = {0};
    bool is = opt_verify(f, &error);

    base_text_free(&error);
    return is;
}

static bool opt_tool_laid_out(struct opt_tool_run *x)
{
    struct base_text error = {0};
    bool is;

    base_arena_reset(&x->arena);
    is = opt_verify_order(opt_cfg_new(x->f, &x->arena), &error);
    base_text_free(&error);
    return is;
}

/* Why p must not have x->f, or NULL. */
static const char *opt_tool_unfit(struct opt_tool_run *x, const struct opt_pass *p)
{
    if (p->run == opt_layout_pass)
        return NULL;
    if (p->early && opt_tool_has_phis(x->f))
        return "it makes PHIs and cannot have them";
    if (!opt_tool_laid_out(x))
        return "its blocks are not laid out: run layout (behind gvn: relayout) before";
    return p->early || opt_tool_is_ssa(x->f)
               ? NULL
               : "it is not in state-SSA form: run layout,ssa before";
}

/* ---- one function ---------------------------------------------------- */

/* Runs a step over x->f, and leaves the result there. */
static bool opt_tool_pass(struct opt_tool_run *x, const struct opt_tool_step *s, unsigned line)
{
    struct base_text error = {0};
    const char *why = opt_tool_unfit(x, s->pass);
    struct ir_func *f = x->f;

    if (!why) {
        ir_func_reset(x->next);
        x->next->fuel = s->rewrites;
        why = opt_run_pass(s->pass, x->next, f, &x->arena, &error);
        x->f = x->next;
        x->next = f;
    }
    if (why)
        base_error("%s: function at line %u: %s: %s%s%s", x->file, line, s->pass->name, why,
                   error.data ? ": " : "", error.data ? error.data : "");
    base_text_free(&error);
    return !why;
}

static void opt_tool_print(const struct opt_tool_run *x, const struct opt_pass *p)
{
    struct base_text text = {0};

    if (p)
        base_text_printf(&text, "; after %s\n", p->name);
    ir_print(x->f, &text);
    fputs(text.data, x->out);
    base_text_free(&text);
}

static bool opt_tool_function(void *ctx, struct ir_func *f, unsigned line)
{
    struct opt_tool_run *x = ctx;
    bool phis;

    ir_func_reset(x->f);
    x->f->flags |= IR_FLAG_NOFOLD;
    ir_copy(x->f, f);
    phis = opt_tool_has_phis(f);
    for (unsigned n = 0; n < x->nsteps; n++) {
        if (!x->t->passes && phis && x->step[n].pass->early && n)
            continue; /* it has been through these */
        if (!opt_tool_pass(x, &x->step[n], line))
            return false;
        if (x->t->each)
            opt_tool_print(x, x->step[n].pass);
    }
    if (!x->t->each)
        opt_tool_print(x, NULL);
    return true;
}

/* ---- entry point ----------------------------------------------------- */

int opt_tool(const struct opt_tool *t, const char *file, FILE *out)
{
    struct opt_tool_run x = {.t = t, .out = out};
    int status;

    x.file = strcmp(file, "-") == 0 ? "standard input" : file;
    if (!opt_tool_steps(&x))
        return ISOMER_EXIT_USAGE;
    x.f = ir_func_new(t->guest);
    x.next = ir_func_new(t->guest);
    base_arena_init(&x.arena);
    status = ir_tool_each(file, t->guest, opt_tool_function, &x);
    base_arena_free(&x.arena);
    ir_func_free(x.f);
    ir_func_free(x.next);
    return status;
}
