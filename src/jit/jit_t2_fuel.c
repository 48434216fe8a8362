/* jit_t2_fuel.c: tier 2 with a limit, to find the region and the pass that are wrong.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     REGIONS[:PASS[:REWRITES]]
 *
 * Regions are counted in the order in which they are asked for; behind the first REGIONS none
 * is made. In the last of those, passes behind PASS are left out (but for those that later stages
 * need), and PASS makes its first REWRITES rewrites only. So what is compiled with one limit is
 * what is compiled with the one before, and one thing more: a failure that comes and goes with
 * the limit can be halved down to one rewrite (tools/t2_bisect.py).
 *
 * For that the same must happen in each run: with a limit tier 2 has no thread and no share of the
 * time that it may take. What remains is the program's own: threads, signals, the clock.
 *
 * With a limit only the last region is dumped, and with it what each pass did.
 */
#include "jit/jit_t2.h"

#include <ctype.h>

static bool wrong(const char *text, const char *why)
{
    base_error("ISOMER_T2_FUEL=%s: %s (REGIONS[:PASS[:REWRITES]], e.g. 12:gvn:3)", text, why);
    return false;
}

/* A number at *p, which ends the text or a part of it. */
static bool number(const char **p, uint64_t *n)
{
    if (!isdigit((unsigned char)**p))
        return false;
    for (*n = 0; isdigit((unsigned char)**p); ++*p)
        *n = *n > UINT32_MAX ? *n : *n * 10 + (uint64_t)(**p - '0');
    return **p == ':' || !**p;
}

bool jit_t2_fuel_read(struct jit_t2_fuel *fuel, const char *text)
{
    const char *p = text;
    uint64_t n;
    char name[32];
    *fuel = (struct jit_t2_fuel){.set = text, .rewrites = UINT64_MAX};
    if (!text)
        return true;
    if (!number(&p, &n))
        return wrong(text, "REGIONS is not a number");
    fuel->regions = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    if (!*p++)
        return true;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(p, ":"), p);
    fuel->last = opt_find(name);
    if (!fuel->last)
        return wrong(text, "no such pass (see: isomer ir opt --pass=?)");
    p += strlen(name);
    if (!*p++)
        return true;
    return (number(&p, &fuel->rewrites) && !*p) || wrong(text, "REWRITES is not a number");
}

/* ---- the last region ------------------------------------------------- */

static void report(void *ctx, const struct opt_pass *pass, const struct ir_func *f)
{
    const struct jit *j = ctx;
    const struct jit_t2_fuel *fuel = &j->p->t2->fuel;
    uint64_t had = pass == fuel->last ? fuel->rewrites : UINT64_MAX;
    fprintf(j->cfg.dump_file, "; pass %s: %llu rewrites\n", pass->name,
            (unsigned long long)(had - f->fuel));
    fflush(j->cfg.dump_file);
}

/* Before anything is done with it: that may end in an assertion. */
static void show_formed(const struct jit *j, const struct jit_t2_job *job)
{
    struct base_text text = {0};
    base_text_printf(&text, "; region %u of tier 2, at %#llx\n", job->number,
                     (unsigned long long)jit_pc_of_key(job->key));
    if (strchr(j->cfg.dump, 'i'))
        ir_print(job->ir, &text);
    fputs(text.data, j->cfg.dump_file);
    fflush(j->cfg.dump_file);
    base_text_free(&text);
}

void jit_t2_fuel_config(struct jit *j, const struct jit_t2_job *job, struct opt_config *cfg)
{
    const struct jit_t2 *t = j->p->t2;
    if (!jit_t2_is_last(t, job))
        return;
    cfg->last = t->fuel.last;
    cfg->rewrites = t->fuel.rewrites;
    if (!j->cfg.dump)
        return;
    show_formed(j, job);
    cfg->after = report;
    cfg->ctx = j;
}
