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

static void dump_section(struct jit *j, const struct jit_region *r, unsigned section,
                         bool maps, struct base_text *out)
{
    const uint8_t *code = section == JIT_HOT ? r->code : r->cold;
    uint32_t len = section == JIT_HOT ? r->hot_len : r->cold_len;
    for (uint32_t at = 0; at < len;) {
        char text[160] = "";
        unsigned n = 0;
        if (j->host->disasm)
            n = j->host->disasm(text, sizeof text, code + at, len - at,
                                (uint64_t)(uintptr_t)code + at);
        if (n == 0) {
            n = 1;
            snprintf(text, sizeof text, ".byte 0x%02x", code[at]);
        }
        base_text_printf(out, "  %5x  ", at);
        for (unsigned k = 0; k < n; k++)
            base_text_printf(out, "%02x", code[at + k]);
        base_text_printf(out, "%*s%s\n", n < 11 ? 22 - 2 * (int)n : 1, "", text);
        for (unsigned k = 0; maps && k < r->npoints; k++) {
            if (r->points[k].off == at && r->points[k].section == section) {
                base_text_printf(out, "%*s; ", 31, "");
                jit_map_print(j, &r->maps, r->points[k].map, out);
            }
        }
        at += n;
    }
}

/* ---- regions --------------------------------------------------------- */

void jit_dump_region(struct jit *j, FILE *out, const char *what, const struct ir_func *f,
                     const struct jit_region *r)
{
    struct base_text t = {0};
    base_text_printf(&t, "region %#llx: %u guest instructions", (unsigned long long)r->key,
                     r->nguest);
    if (r->code)
        base_text_printf(&t, ", %u + %u host bytes at %p", r->hot_len, r->cold_len,
                         (const void *)r->code);
    base_text_printf(&t, "\n");
    if (strchr(what, 'g'))
        dump_guest(j, r->range, r->nranges, &t);
    if (strchr(what, 'i') || strchr(what, 'o'))
        ir_print(f, &t);
    if (r->code && (strchr(what, 'h') || strchr(what, 'm'))) {
        bool maps = strchr(what, 'm');
        dump_section(j, r, JIT_HOT, maps, &t);
        base_text_printf(&t, "  cold:\n");
        dump_section(j, r, JIT_COLD, maps, &t);
    }
    base_text_printf(&t, "\n");
    fputs(t.data, out);
    fflush(out);
    base_text_free(&t);
}

int jit_explain(struct jit *j, uint64_t pc, FILE *out)
{
    struct jit_priv *p = j->p;
    pthread_mutex_lock(&p->lock);
    struct jit_region *r = jit_translate(j, NULL, jit_key(pc, 0));
    if (r) {
        struct ir_func *f = ir_func_new(j->cfg.guest);
        if (jit_form_into(j, f, pc, 0, 0))
            jit_dump_region(j, out, "gihm", f, r);
        ir_func_free(f);
    }
    pthread_mutex_unlock(&p->lock);
    return r ? 0 : -1;
}

/* ---- statistics ------------------------------------------------------ */

static void line(FILE *out, const char *name, uint64_t n)
{
    fprintf(out, "%-24s %12llu\n", name, (unsigned long long)n);
}

void jit_print_stats(const struct jit *j, FILE *out)
{
    static const char *const trap[IR_TRAP_COUNT] = {
        [IR_TRAP_SYSCALL] = "exits: system call", [IR_TRAP_BREAK] = "exits: breakpoint",
        [IR_TRAP_ILLEGAL] = "exits: illegal",     [IR_TRAP_FENCEI] = "exits: fence.i",
        [IR_TRAP_ALIGN] = "exits: misaligned",    [IR_TRAP_FETCH] = "exits: no code"};
    const struct jit_stats *s = &j->stats;
    const struct jit_priv *p = j->p;
    uint64_t ns = s->lift_ns + s->compile_ns;
    double insns = s->guest_insns ? (double)s->guest_insns : 1;
    fprintf(out, "translate: %llu guest instructions, %llu us, %.3f us/insn\n",
            (unsigned long long)s->guest_insns, (unsigned long long)(ns / 1000),
            (double)ns / 1000 / insns);
    fprintf(out, "translate: lift %.3f us/insn, compile %.3f us/insn\n",
            (double)s->lift_ns / 1000 / insns, (double)s->compile_ns / 1000 / insns);
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
        line(out, trap[i], s->exits_trap[i]);
    line(out, "interpreted", s->interpreted);
    line(out, "compiles given up", s->gave_up);
    for (size_t i = 0; i < p->give_up_reason.len; i++)
        fprintf(out, "  %8llu %s\n", (unsigned long long)p->give_up_count.data[i],
                p->give_up_reason.data[i]);
}
