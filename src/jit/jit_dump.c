/* jit_dump.c: regions, maps and statistics as text. SPDX-License-Identifier: Apache-2.0
 *
 * Letters of a dump: g guest code, i IR as lifted, o IR as given to the code
 * generator (the same in tier 1), h host code, m maps of its points.
 */
#include "jit/jit_priv.h"

/* ---- guest code ------------------------------------------------------ */

static void dump_guest(struct jit *j, const struct jit_range *range, unsigned n,
                       struct base_text *out)
{
    const struct ir_guest *g = j->cfg.guest;
    for (unsigned i = 0; i < n; i++) {
        uint64_t pc = range[i].start, end = pc + range[i].len;
        while (pc < end) {
            const uint8_t *bytes;
            bool writable;
            char text[128] = "?";
            size_t avail = j->cfg.fetch(j->cfg.ctx, pc, &bytes, &writable);
            unsigned len = avail && g->disasm ? g->disasm(text, sizeof text, pc, bytes, avail) : 0;
            if (len == 0) {
                base_text_printf(out, "%10llx  (%u bytes)\n", (unsigned long long)pc,
                                 (unsigned)(end - pc));
                break;
            }
            base_text_printf(out, "%10llx  ", (unsigned long long)pc);
            for (unsigned k = len; k-- > 0;)
                base_text_printf(out, "%02x", bytes[k]);
            base_text_printf(out, "%*s%s\n", 10 - 2 * (int)len, "", text);
            pc += len;
        }
    }
}

/* ---- host code ------------------------------------------------------- */

/* The host instruction at code[at]: its text; returns its length. */
static unsigned host_insn(struct jit *j, const uint8_t *code, uint32_t at, uint32_t len,
                          char *text, size_t size)
{
    unsigned n = 0;
    if (j->host->disasm)
        n = j->host->disasm(text, size, code + at, len - at, (uint64_t)(uintptr_t)code + at);
    if (n == 0) {
        n = 1;
        snprintf(text, size, ".byte 0x%02x", code[at]);
    }
    return n;
}

/* marks: of the hot section, the last first; or NULL. */
static void dump_section(struct jit *j, const struct jit_region *r, unsigned section,
                         bool maps, const struct jit_code *marks, struct base_text *out)
{
    size_t mark = marks && section == JIT_HOT ? marks->marks.len : 0;
    const uint8_t *code = section == JIT_HOT ? r->code : r->cold;
    uint32_t len = section == JIT_HOT ? r->hot_len : r->cold_code;
    struct jit_maps m = jit_maps_of(r);
    for (uint32_t at = 0; at < len;) {
        char text[160];
        unsigned n = host_insn(j, code, at, len, text, sizeof text);
        for (; mark && marks->marks.data[mark - 1].off <= at; mark--)
            base_text_printf(out, "  ; %#llx\n",
                             (unsigned long long)marks->marks.data[mark - 1].pc);
        base_text_printf(out, "  %5x  ", at);
        for (unsigned k = 0; k < n; k++)
            base_text_printf(out, "%02x", code[at + k]);
        base_text_printf(out, "%*s%s\n", n < 11 ? 22 - 2 * (int)n : 1, "", text);
        for (unsigned k = 0; maps && k < r->npoints; k++) {
            if (jit_points(r)[k].off == at && jit_points(r)[k].section == section) {
                base_text_printf(out, "%*s; ", 31, "");
                jit_map_print(j, &m, jit_points(r)[k].map, out);
            }
        }
        at += n;
    }
}

static void dump_exits(struct jit *j, const struct jit_region *r, struct base_text *out)
{
    for (uint32_t i = 0; i < r->nexits; i++) {
        const struct jit_exit *e = jit_table_at(&j->p->exits, r->exit_first + i, sizeof *e);
        base_text_printf(out, "  exit %u at %#llx: %s %#llx%s\n", i,
                         (unsigned long long)(uintptr_t)(j->p->cache.rx + e->stub),
                         e->kind == JIT_EXIT_TRAPPED ? "trap at" : "to", (unsigned long long)e->key,
                         e->linked ? ", linked" : "");
    }
}

/* ---- regions --------------------------------------------------------- */

void jit_dump_region(struct jit *j, FILE *out, const char *what, const struct ir_func *f,
                     const struct jit_region *r, const struct jit_code *marks)
{
    struct base_text t = {0};
    base_text_printf(&t, "; %sregion %#llx: %u guest instructions", r->tier == 2 ? "tier 2 " : "",
                     (unsigned long long)r->key, r->nguest);
    if (r->code)
        base_text_printf(&t, ", %u + %u host bytes at %p", r->hot_len, r->cold_len,
                         (const void *)r->code);
    base_text_printf(&t, "\n");
    if (strchr(what, 'g'))
        dump_guest(j, jit_ranges(r), r->nranges, &t);
    if (strchr(what, 'i') || strchr(what, 'o'))
        ir_print(f, &t);
    if (r->code && (strchr(what, 'h') || strchr(what, 'm'))) {
        bool maps = strchr(what, 'm');
        dump_section(j, r, JIT_HOT, maps, marks, &t);
        base_text_printf(&t, "  cold:\n");
        dump_section(j, r, JIT_COLD, maps, NULL, &t);
        dump_exits(j, r, &t);
    }
    base_text_printf(&t, "\n");
    fputs(t.data, out);
    fflush(out);
    base_text_free(&t);
}

/* ---- side by side ---------------------------------------------------- */

enum { GUEST_WIDTH = 38, IR_WIDTH = 44, EXPLAIN_REGIONS = 32 };

/* Next line of *p up to end, without its newline; false: none left. */
static bool next_line(const char **p, const char *end, const char **line, int *len)
{
    if (*p >= end)
        return false;
    *line = *p;
    const char *nl = memchr(*p, '\n', (size_t)(end - *p));
    *len = (int)((nl ? nl : end) - *p);
    *p = nl ? nl + 1 : end;
    return true;
}

/* One guest instruction: guest and IR text (whole lines), host code [from, to). */
static void three_columns(struct jit *j, const struct jit_region *r, const struct base_text *guest,
                          const char *ir, const char *ir_end, uint32_t from, uint32_t to, FILE *out)
{
    const char *g = guest->data, *g_end = g ? g + guest->len : g, *line;
    int len;
    while (g < g_end || ir < ir_end || from < to) {
        char host[160] = "";
        if (!next_line(&g, g_end, &line, &len))
            len = 0, line = "";
        fprintf(out, "%-*.*s|", GUEST_WIDTH, len, line);
        if (!next_line(&ir, ir_end, &line, &len))
            len = 0, line = "";
        fprintf(out, " %-*.*s|", IR_WIDTH, len, line);
        if (from < to)
            from += host_insn(j, r->code, from, to, host, sizeof host);
        fprintf(out, " %s\n", host);
    }
}

/* Start of the IR text of the instruction behind the imark of pc, and its end. */
static const char *ir_of(const struct base_text *ir, uint64_t pc, unsigned len, const char **end)
{
    char mark[64];
    snprintf(mark, sizeof mark, "imark 0x%llx, %u\n", (unsigned long long)pc, len);
    const char *p = strstr(ir->data, mark);
    if (!p)
        return *end = ir->data + ir->len;
    p += strlen(mark);
    *end = strstr(p, "imark 0x");
    if (!*end)
        *end = strstr(p, "}\n");
    while (*end > p && (*end)[-1] != '\n') /* the indent of the next line */
        --*end;
    return p;
}

static void explain_region(struct jit *j, const struct jit_region *r, FILE *out)
{
    const struct jit_code *c = &j->p->code;
    struct base_text ir = {0};
    ir_print(j->p->func, &ir);
    fprintf(out, "region 0x%llx: %u guest instructions, %u host bytes, %u cold\n",
            (unsigned long long)r->key, r->nguest, r->hot_len, r->cold_len);
    size_t m = c->marks.len; /* backwards: the generator goes from the last to the first */
    if (m && c->marks.data[m - 1].off)
        three_columns(j, r, &(struct base_text){0}, NULL, NULL, 0, c->marks.data[m - 1].off, out);
    for (unsigned i = 0; i < r->nranges; i++) {
        uint64_t pc = jit_ranges(r)[i].start, end = pc + jit_ranges(r)[i].len;
        while (pc < end && m) {
            struct base_text guest = {0};
            uint64_t next = m > 1 ? c->marks.data[m - 2].pc : end;
            if (next <= pc || next > end)
                next = end;
            struct jit_range one = {pc, (uint32_t)(next - pc)};
            dump_guest(j, &one, 1, &guest);
            const char *ir_end, *ir_text = ir_of(&ir, pc, one.len, &ir_end);
            three_columns(j, r, &guest, ir_text, ir_end, c->marks.data[m - 1].off,
                          m > 1 ? c->marks.data[m - 2].off : r->hot_len, out);
            base_text_free(&guest);
            pc = next;
            m--;
        }
    }
    struct base_text rest = {0};
    struct jit_maps maps = jit_maps_of(r);
    base_text_printf(&rest, "  cold:\n");
    dump_section(j, r, JIT_COLD, true, NULL, &rest);
    dump_exits(j, r, &rest);
    for (uint32_t i = 0; i < r->npoints; i++) {
        base_text_printf(&rest, "  fault at %s+%x: ",
                         jit_points(r)[i].section == JIT_HOT ? "hot" : "cold",
                         jit_points(r)[i].off);
        jit_map_print(j, &maps, jit_points(r)[i].map, &rest);
    }
    fprintf(out, "%s\n", rest.data);
    base_text_free(&rest);
    base_text_free(&ir);
}

/* The region at pc, then those that it leads to by jumps. */
int jit_explain(struct jit *j, uint64_t pc, FILE *out)
{
    struct jit_priv *p = j->p;
    uint64_t queue[EXPLAIN_REGIONS] = {jit_key(pc, 0)};
    unsigned n = 1;
    pthread_mutex_lock(&p->lock);
    p->code.want_marks = true;
    for (unsigned i = 0; i < n; i++) {
        p->code.exits.len = 0;
        struct jit_region *r = jit_translate(j, NULL, queue[i], JIT_CAME_LOOKUP);
        if (!r && i == 0)
            n = 0;
        if (!r)
            continue;
        if (r->code)
            explain_region(j, r, out);
        else
            jit_dump_region(j, out, "gi", p->func, r, NULL);
        for (size_t k = 0; k < p->code.exits.len && n < EXPLAIN_REGIONS; k++) {
            const struct jit_exit_out *e = &p->code.exits.data[k];
            bool known = e->kind != JIT_EXIT_DIRECT || e->is_call;
            for (unsigned q = 0; q < n; q++)
                known |= queue[q] == e->key;
            if (!known)
                queue[n++] = e->key;
        }
    }
    p->code.want_marks = false;
    pthread_mutex_unlock(&p->lock);
    return n ? 0 : -1;
}

/* ---- statistics ------------------------------------------------------ */

static void line(FILE *out, const char *name, uint64_t n)
{
    fprintf(out, "%-24s %12llu\n", name, (unsigned long long)n);
}

static void print_reasons(FILE *out, const struct jit_reasons *r)
{
    for (size_t i = 0; i < r->why.len; i++)
        fprintf(out, "  %8llu %s\n", (unsigned long long)r->count.data[i], r->why.data[i]);
}

static void print_t2(const struct jit *j, FILE *out)
{
    const struct jit_stats *s = &j->stats;
    double n = s->t2_timed ? (double)s->t2_timed * 1000 : 1;
    line(out, "tier 2: regions", s->t2_regions);
    line(out, "tier 2: guest insns", s->t2_insns);
    line(out, "tier 2: host bytes, hot", s->t2_bytes);
    line(out, "tier 2: exits, counter", s->exits_hot);
    fprintf(out, "tier 2: form %.3f, optimise %.3f, code %.3f us/insn\n", (double)s->t2_form_ns / n,
            (double)s->t2_opt_ns / n, (double)s->t2_code_ns / n);
    fprintf(out, "tier 2: given up\n");
    print_reasons(out, &j->p->gave_up[1]);
}

/* System calls made by stub CALL. */
static uint64_t made_in_code(const struct jit_priv *p)
{
    uint64_t n = 0;
    for (const struct jit_vcpu *v = p->vcpus; v; v = v->next)
        n += v->calls;
    return n;
}

void jit_print_stats(const struct jit *j, FILE *out)
{
    static const char *const trap[IR_TRAP_COUNT] = {
        [IR_TRAP_SYSCALL] = "exits: system call", [IR_TRAP_BREAK] = "exits: breakpoint",
        [IR_TRAP_ILLEGAL] = "exits: illegal",     [IR_TRAP_FENCEI] = "exits: fence.i",
        [IR_TRAP_ALIGN] = "exits: misaligned",    [IR_TRAP_FETCH] = "exits: no code"};
    const struct jit_stats *s = &j->stats;
    const struct jit_priv *p = j->p;
    double insns = s->guest_insns ? (double)s->guest_insns : 1;
    uint64_t made = s->guest_insns - s->stored_insns;
    double timed = s->timed_insns ? (double)s->timed_insns : 1;
    double lift = (double)s->lift_ns / 1000 / timed, compile = (double)s->compile_ns / 1000 / timed;
    fprintf(out, "translate: %llu guest instructions, %llu us, %.3f us/insn\n",
            (unsigned long long)made, (unsigned long long)((lift + compile) * (double)made),
            lift + compile);
    fprintf(out, "translate: lift %.3f us/insn, compile %.3f us/insn\n", lift, compile);
    line(out, "regions", s->regions);
    line(out, "IR instructions", s->ir_ins);
    fprintf(out, "%-24s %12llu (%.1f per guest instruction)\n", "host bytes, hot",
            (unsigned long long)s->host_bytes, (double)s->host_bytes / insns);
    fprintf(out, "%-24s %12llu (%.1f per guest instruction)\n", "host bytes, cold",
            (unsigned long long)s->cold_bytes, (double)s->cold_bytes / insns);
    if (p->cache.size)
        fprintf(out, "%-24s %12zu of %zu KiB\n", "cache in use",
                (p->cache.hot + p->cache.size - p->cache.cold) >> 10, p->cache.size >> 10);
    line(out, "links", s->links);
    line(out, "unlinks", s->unlinks);
    line(out, "flushes", s->flushes);
    line(out, "regions forgotten", s->invalidated);
    line(out, "exits: direct", s->exits_direct);
    line(out, "exits: lookup miss", s->exits_miss);
    line(out, "exits: poll", s->exits_poll);
    line(out, "exits: fault", s->exits_fault);
    line(out, "exits: forced", s->exits_deopt);
    for (unsigned i = 0; i < IR_TRAP_COUNT; i++)
        line(out, trap[i], s->exits_trap[i] + (i == IR_TRAP_SYSCALL ? made_in_code(p) : 0));
    line(out, "interpreted", s->interpreted);
    if (p->store) {
        line(out, "stored: regions used", s->stored);
        line(out, "stored: guest insns", s->stored_insns);
        line(out, "stored: regions new", s->store_kept);
        line(out, "stored: bytes new", s->store_bytes);
        line(out, "stored: damaged", s->store_bad);
        line(out, "stored: compared", s->store_checked);
    }
    line(out, "compiles given up", s->gave_up);
    print_reasons(out, &p->gave_up[0]);
    if (j->cfg.tier2)
        print_t2(j, out);
}
