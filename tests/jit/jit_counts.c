/* jit_counts.c: host code of small guest snippets, without addresses.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     jit_counts FEATURES <lines "HEX"
 *
 * For t_jit_counts.py. Each line is guest code in hexadecimal; it is translated as a region at
 * 0x10000 and printed as "hot N" and "cold N" with the instructions below each, then an empty
 * line. Relocated operands and places in the vCPU appear by name, so that the text changes
 * only when the code does. Exit status 77: this processor lacks a feature, or there is no
 * disassembler.
 */
#include "jit/jit.h"
#include "rv.h"

#include <stdio.h>
#include <stdlib.h>

enum { PC = 0x10000 };

static uint8_t code[4096];
static size_t code_len;

static size_t fetch(void *ctx, uint64_t pc, const uint8_t **bytes, bool *writable)
{
    uint64_t at = pc - PC;

    if (at >= code_len)
        return 0;
    *bytes = code + at;
    *writable = false;
    return code_len - at;
}

/* ---- names ----------------------------------------------------------- */

static void vcpu_name(char *name, size_t size, long disp)
{
    static const struct {
        const char *name;
        size_t at, size, unit;
    } fields[] = {
#define FIELD(f, unit) {#f, offsetof(struct jit_vcpu, f), sizeof((struct jit_vcpu *)0)->f, unit}
        FIELD(poll, 0),      FIELD(exit_id, 0),     FIELD(mxcsr, 0),  FIELD(slow_op, 4),
        FIELD(slow_arg, 8),  FIELD(slow_result, 0), FIELD(spill, 8),  FIELD(host_const, 16),
        FIELD(lookup, 8),
#undef FIELD
    };
    size_t at = (size_t)(disp + JIT_STATE_BIAS);

    for (unsigned s = 0; s < rv64_guest.nslots; s++)
        if (rv64_guest.slots[s].offset == at) {
            snprintf(name, size, "%s", rv64_guest.slots[s].name);
            return;
        }
    if (at >= rv64_guest.fpenv_offset && at < rv64_guest.fpenv_offset + 8) {
        snprintf(name, size, at & 4 ? "frm" : "fflags");
        return;
    }
    if (at - rv64_guest.res_offset < sizeof(struct ir_reservation)) {
        static const char *const part[] = {"addr", "value", "version"};

        snprintf(name, size, "res.%s", part[(at - rv64_guest.res_offset) / 8]);
        return;
    }
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(fields); i++)
        if (at - fields[i].at < fields[i].size) {
            if (fields[i].unit)
                snprintf(name, size, "%s.%zu", fields[i].name,
                         (at - fields[i].at) / fields[i].unit);
            else
                snprintf(name, size, "%s", fields[i].name);
            return;
        }
    snprintf(name, size, "vcpu+%zu", at);
}

/* "[rbp + 0x10]" becomes "[a0]", "[rbp + rcx*8 + 0x40]" "[poll + rcx*8]" */
static void name_places(char *text, size_t size)
{
    char out[256], name[32];
    char *p = strstr(text, "[rbp"), *end = p ? strchr(p, ']') : NULL, *sign;

    if (!end)
        return;
    for (sign = end; sign > p && *sign != '+' && *sign != '-'; sign--)
        ;
    if (sign == p || sign[2] < '0' || sign[2] > '9')
        return;
    vcpu_name(name, sizeof name, strtol(sign + 2, NULL, 0) * (*sign == '-' ? -1 : 1));
    snprintf(out, sizeof out, "%.*s[%s%.*s%s", (int)(p - text), text, name,
             (int)(sign - 1 - (p + 4)), p + 4, end);
    snprintf(text, size, "%s", out);
}

struct labels {
    uint32_t at[2][256];
    unsigned n[2];
};

static unsigned label(struct labels *l, unsigned section, uint32_t at)
{
    unsigned n = 0;

    while (n < l->n[section] && l->at[section][n] != at)
        n++;
    if (n == l->n[section] && n < 256)
        l->at[section][l->n[section]++] = at;
    return n;
}

static void reloc_name(char *name, size_t size, const struct jit_code *c,
                       const struct jit_reloc *r, struct labels *l)
{
    static const char *const stub[] = {"exit", "indirect", "retmiss", "deopt", "slow",
                                       "slow_state", "enter", "abandon"};

    switch (r->kind) {
    case JIT_RELOC_PC32_SECTION:
        snprintf(name, size, "%c%u", r->target == JIT_HOT ? 'h' : 'c',
                 label(l, r->target, r->addend));
        break;
    case JIT_RELOC_PC32_STUB: snprintf(name, size, "stub.%s", stub[r->target]); break;
    case JIT_RELOC_PC32_EXIT:
        snprintf(name, size, "exit %#llx", (unsigned long long)c->exits.data[r->target].key);
        break;
    case JIT_RELOC_PC32_EXIT_STUB:
        snprintf(name, size, "trap %u", c->exits.data[r->target].trap);
        break;
    case JIT_RELOC_PC32_DEOPT: snprintf(name, size, "map"); break;
    case JIT_RELOC_PC32_REGION: snprintf(name, size, "region"); break;
    default: snprintf(name, size, "guest address"); break;
    }
}

/* ---- printing -------------------------------------------------------- */

static const struct jit_reloc *reloc_in(const struct jit_code *c, unsigned section, uint32_t at,
                                        unsigned n)
{
    for (size_t i = 0; i < c->relocs.len; i++)
        if (c->relocs.data[i].section == section && c->relocs.data[i].off - at < n)
            return &c->relocs.data[i];
    return NULL;
}

static void collect_labels(const struct jit_code *c, struct labels *l)
{
    for (uint32_t want = 0; want <= c->len[0] || want <= c->len[1]; want++)
        for (size_t i = 0; i < c->relocs.len; i++)
            if (c->relocs.data[i].kind == JIT_RELOC_PC32_SECTION &&
                c->relocs.data[i].addend == want)
                label(l, c->relocs.data[i].target, want);
}

static bool print_section(struct jit *j, const struct jit_code *c, unsigned section,
                          struct labels *l)
{
    struct base_text out = {0};
    unsigned count = 0;
    bool ok = true;

    for (uint32_t at = 0; at < c->len[section];) {
        char text[256] = "", name[64];
        const struct jit_reloc *r;
        unsigned n, k;

        for (k = 0; k < l->n[section]; k++)
            if (l->at[section][k] == at)
                base_text_printf(&out, "  %c%u:\n", section == JIT_HOT ? 'h' : 'c', k);
        n = j->host->disasm(text, sizeof text, c->bytes[section] + at, c->len[section] - at, at);
        if (n == 0) {
            ok = at != 0 || section != JIT_HOT;
            break;
        }
        r = reloc_in(c, section, at, n);
        if (r) {
            char *sp = strrchr(text, ' '), *rip = strstr(text, "[rip");

            reloc_name(name, sizeof name, c, r, l);
            if (rip)
                snprintf(rip, sizeof text - (size_t)(rip - text), "[%s]", name);
            else if (sp)
                snprintf(sp + 1, sizeof text - (size_t)(sp + 1 - text), "%s", name);
        }
        name_places(text, sizeof text);
        base_text_printf(&out, "    %s\n", text);
        at += n;
        count++;
    }
    if (count)
        printf("%s %u\n%s", section == JIT_HOT ? "hot" : "cold", count, out.data);
    base_text_free(&out);
    return ok;
}

static bool snippet(struct jit *j, const char *hex)
{
    struct jit_code c = {0};
    struct labels l = {0};
    struct ir_func *f;
    unsigned byte;
    bool ok;

    for (code_len = 0; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        code[code_len++] = (uint8_t)byte;
    f = jit_form(j, PC, rv64_guest.mode(&(struct rv_state){0}));
    if (!f || j->host->compile(j, f, &c) != 0) {
        printf("gave up: %s\n\n", c.gave_up ? c.gave_up : "nothing there");
        return true;
    }
    collect_labels(&c, &l);
    ok = print_section(j, &c, JIT_HOT, &l) && print_section(j, &c, JIT_COLD, &l);
    printf("\n");
    ir_func_free(f);
    base_vec_free(&c.relocs);
    base_vec_free(&c.exits);
    base_vec_free(&c.points);
    base_vec_free(&c.map_bytes);
    base_vec_free(&c.map_start);
    return ok;
}

int main(int argc, char **argv)
{
    static char line[sizeof code * 2 + 2];
    struct jit_config cfg = {.guest = &rv64_guest,
                             .features = argc > 1 ? argv[1] : NULL,
                             .fetch = fetch};
    struct jit *j = jit_new(&cfg);

    if (!j)
        return 77;
    while (fgets(line, sizeof line, stdin))
        if (!snippet(j, line)) {
            fprintf(stderr, "no disassembler\n");
            return 77;
        }
    return 0;
}
