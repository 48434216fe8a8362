/* ir_case.c: files of IR text with expectations (ir_case.h). SPDX-License-Identifier: Apache-2.0 */
#include "ir/ir_case.h"

#include "ir/ir_priv.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- reading --------------------------------------------------------- */

char *ir_case_read(const char *file)
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "rb");
    struct base_text t = {0};
    char buffer[4096];
    size_t n;

    if (!in) return NULL;
    base_text_printf(&t, "%s", "");
    errno = 0;
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
        base_text_printf(&t, "%.*s", (int)n, buffer);
    if (ferror(in)) {
        base_text_free(&t);
        if (!errno) errno = EIO;
    }
    if (in != stdin) fclose(in);
    return t.data;
}

static const char *ir_line_end(const char *p)
{
    const char *end = strchr(p, '\n');

    return end ? end + 1 : p + strlen(p);
}

/* Moves to the next line that begins with "===" or "---", or to the end. */
static const char *ir_case_ruler(const char *p, unsigned *line)
{
    while (*p && strncmp(p, "===", 3) != 0 && strncmp(p, "---", 3) != 0) {
        p = ir_line_end(p);
        ++*line;
    }
    return p;
}

/* The rest of a ruler's line, without blanks around it. */
static void ir_case_title(const char *p, char *title, size_t size)
{
    size_t n;

    p += 3;
    p += strspn(p, " \t");
    n = strcspn(p, "\r\n");
    while (n && isblank((unsigned char)p[n - 1])) n--;
    snprintf(title, size, "%.*s", (int)(n < size ? n : size - 1), p);
}

bool ir_case_next(const char **text, unsigned *line, struct ir_case *c, struct base_text *error)
{
    const char *p = *text;
    char *at;

    while (*p && strncmp(p, "===", 3) != 0) {
        p = ir_line_end(p);
        ++*line;
    }
    if (!*p) return false;
    memset(c, 0, sizeof *c);
    c->start = p;
    ir_case_title(p, c->name, sizeof c->name);
    at = strstr(c->name, " @guest");
    if (at) {
        c->guest = true;
        *at = 0;
    }
    c->input = ir_line_end(p);
    c->line = ++*line;
    p = ir_case_ruler(c->input, line);
    c->input_len = (size_t)(p - c->input);
    while (strncmp(p, "---", 3) == 0) {
        struct ir_section *s = &c->section[c->nsections];

        if (c->nsections++ == IR_CASE_SECTIONS) {
            base_text_printf(error, "line %u: case '%s' has too many sections", *line, c->name);
            return false;
        }
        ir_case_title(p, s->head, sizeof s->head);
        s->body = ir_line_end(p);
        ++*line;
        p = ir_case_ruler(s->body, line);
        s->len = (size_t)(p - s->body);
        while (s->len > 1 && s->body[s->len - 1] == '\n' && s->body[s->len - 2] == '\n')
            s->len--; /* empty lines set cases apart */
        if (s->len == 1) s->len = 0;
    }
    *text = p;
    return true;
}

/* ---- text ------------------------------------------------------------ */

/* Parses and verifies input; false with the message in *out. */
static bool ir_case_load(struct ir_func *f, const char *input, struct base_text *out)
{
    struct base_text why = {0};
    bool ok = true;

    if (ir_parse(f, &input, &why) < 0) {
        base_text_printf(out, "parse: %s\n", why.data);
        ok = false;
    } else if (!ir_verify(f, &why)) {
        base_text_printf(out, "verify: %s\n", why.data);
        ok = false;
    }
    base_text_free(&why);
    return ok;
}

bool ir_case_normal(const char *input, const struct ir_guest *guest, struct base_text *out)
{
    struct ir_func *f = ir_func_new(guest);
    struct base_text again = {0};
    bool ok = ir_case_load(f, input, out);

    if (ok) {
        ir_print(f, out);
        ok = ir_case_load(f, out->data, &again);
        if (ok) ir_print(f, &again);
        if (!ok || strcmp(again.data, out->data) != 0) {
            base_text_printf(out, IR_CASE_BROKEN ": reads back as\n%s", again.data);
            ok = false;
        }
    }
    base_text_free(&again);
    ir_func_free(f);
    return ok;
}

/* ---- running --------------------------------------------------------- */

enum { IR_RAM_BASE = 0x1000, IR_RAM_SIZE = 0x1000, IR_STATE_MAX = 4096 };

struct ir_world {
    const struct ir_guest *guest;
    uint8_t ram[IR_RAM_SIZE];
    _Alignas(8) uint8_t state[IR_STATE_MAX];
    uint32_t poll;
    struct ir_end end;
};

static bool ir_world_has(uint64_t addr, unsigned size)
{
    return addr >= IR_RAM_BASE && addr <= IR_RAM_BASE + IR_RAM_SIZE - size;
}

static bool ir_world_load(void *ctx, uint64_t addr, unsigned size, uint64_t *v)
{
    struct ir_world *w = ctx;

    if (!ir_world_has(addr, size)) return false;
    *v = 0;
    memcpy(v, w->ram + (addr - IR_RAM_BASE), size);
    return true;
}

static bool ir_world_store(void *ctx, uint64_t addr, unsigned size, uint64_t v)
{
    struct ir_world *w = ctx;

    if (!ir_world_has(addr, size)) return false;
    memcpy(w->ram + (addr - IR_RAM_BASE), &v, size);
    return true;
}

/* Written apart from the interpreter's own, so that each checks the other. */
uint64_t ir_case_amo(int op, unsigned bits, uint64_t old, uint64_t v)
{
    int64_t so = base_sext(old, bits), sv = base_sext(v, bits);

    switch (op) {
    case IR_AMO_SWAP: return v;
    case IR_AMO_ADD: return old + v;
    case IR_AMO_XOR: return old ^ v;
    case IR_AMO_AND: return old & v;
    case IR_AMO_OR: return old | v;
    case IR_AMO_MINS: return so < sv ? old : v;
    case IR_AMO_MAXS: return so > sv ? old : v;
    case IR_AMO_MINU: return old < v ? old : v;
    default: return old > v ? old : v;
    }
}

static bool ir_world_rmw(void *ctx, uint64_t addr, unsigned size, int op, uint64_t v,
                         uint64_t expected, uint64_t *old)
{
    if (!ir_world_load(ctx, addr, size, old)) return false;
    if (op < 0) return *old != expected || ir_world_store(ctx, addr, size, v);
    return ir_world_store(ctx, addr, size, ir_case_amo(op, 8 * size, *old, v));
}

static struct ir_fpenv *ir_world_fpenv(struct ir_world *w)
{
    return (void *)(w->state + (w->guest ? w->guest->fpenv_offset : (uint32_t)IR_NOGUEST_FPENV));
}
static struct ir_reservation *ir_world_res(struct ir_world *w)
{
    return (void *)(w->state + (w->guest ? w->guest->res_offset : (uint32_t)IR_NOGUEST_RES));
}

static int ir_world_slot(const struct ir_world *w, const char *name)
{
    char *end;
    long n;

    for (unsigned s = 0; w->guest && s < w->guest->nslots; s++)
        if (strncmp(name, w->guest->slots[s].name, sizeof w->guest->slots[s].name) == 0)
            return (int)s;
    if (w->guest || name[0] != 's') return -1;
    n = strtol(name + 1, &end, 10);
    return *end || n < 0 || n >= IR_MAX_SLOTS ? -1 : (int)n;
}

static unsigned ir_world_offset(const struct ir_world *w, unsigned slot)
{
    return w->guest ? w->guest->slots[slot].offset : 8 * slot;
}

/* mADDRESS=HEXBYTES */
static bool ir_world_poke(struct ir_world *w, const char *name, const char *bytes)
{
    uint64_t addr = strtoull(name + 1, NULL, 16);

    for (; *bytes; bytes += 2, addr++) {
        unsigned v;

        if (!ir_world_has(addr, 1) || sscanf(bytes, "%2x", &v) != 1 || !bytes[1]) return false;
        w->ram[addr - IR_RAM_BASE] = (uint8_t)v;
    }
    return true;
}

static bool ir_world_set(struct ir_world *w, char *setting)
{
    char *value = strchr(setting, '=');
    int slot;
    uint64_t v;

    if (!value) return false;
    *value++ = 0;
    v = strtoull(value, NULL, 0);
    if (strcmp(setting, "rm") == 0)
        ir_world_fpenv(w)->rm = (uint32_t)v;
    else if (strcmp(setting, "flags") == 0)
        ir_world_fpenv(w)->flags = (uint32_t)v;
    else if (strcmp(setting, "poll") == 0)
        w->poll = (uint32_t)v;
    else if (setting[0] == 'm')
        return ir_world_poke(w, setting, value);
    else if ((slot = ir_world_slot(w, setting)) >= 0)
        memcpy(w->state + ir_world_offset(w, (unsigned)slot), &v, 8);
    else
        return false;
    return true;
}

/* Settings of "run a=b c=d"; false with the bad one in *out. */
static bool ir_world_new(struct ir_world *w, const struct ir_guest *guest, const char *head,
                         struct base_text *out)
{
    char words[512], *save = NULL;

    memset(w, 0, sizeof *w);
    w->guest = guest;
    ir_world_res(w)->addr = 1;
    snprintf(words, sizeof words, "%s", head);
    strtok_r(words, " ", &save);
    for (char *s; (s = strtok_r(NULL, " ", &save));)
        if (!ir_world_set(w, s)) {
            base_text_printf(out, IR_CASE_BROKEN ": setting '%s' makes no sense\n", s);
            return false;
        }
    return true;
}

static void ir_world_print_end(const struct ir_world *w, struct base_text *out)
{
    static const char *const exits[] = {"jump", "call", "ret"};
    static const char *const traps[] = {"syscall", "break", "illegal", "fencei", "align", "fetch"};
    const struct ir_end *e = &w->end;

    switch (e->kind) {
    case IR_END_EXIT:
        base_text_printf(out, "exit.%s 0x%" PRIx64 "\n", exits[e->exit_kind], e->target);
        break;
    case IR_END_TRAP:
        base_text_printf(out, "trap.%s 0x%" PRIx64, traps[e->trap], e->target);
        if (e->info) base_text_printf(out, ", 0x%" PRIx32, e->info);
        base_text_printf(out, "\n");
        break;
    case IR_END_POLL: base_text_printf(out, "poll 0x%" PRIx64 "\n", e->target); break;
    default:
        base_text_printf(out, "fault 0x%" PRIx64 ", address 0x%" PRIx64 "\n", e->target,
                         e->fault_addr);
        break;
    }
}

/* What differs from before, and the end. */
static void ir_world_print(struct ir_world *w, struct ir_world *before, struct base_text *out)
{
    unsigned nslots = w->guest ? w->guest->nslots : (unsigned)IR_MAX_SLOTS;
    uint32_t pc = w->guest ? w->guest->pc_offset : (uint32_t)IR_NOGUEST_PC;

    for (unsigned s = 0; s < nslots; s++) {
        uint64_t v;

        memcpy(&v, w->state + ir_world_offset(w, s), 8);
        if (memcmp(&v, before->state + ir_world_offset(w, s), 8) == 0) continue;
        if (w->guest)
            base_text_printf(out, "%.8s", w->guest->slots[s].name);
        else
            base_text_printf(out, "s%u", s);
        base_text_printf(out, "=0x%" PRIx64 "\n", v);
    }
    for (unsigned a = 0; a < IR_RAM_SIZE; a += 8) {
        if (memcmp(w->ram + a, before->ram + a, 8) == 0) continue;
        base_text_printf(out, "m%x=", IR_RAM_BASE + a);
        for (unsigned k = 0; k < 8; k++) base_text_printf(out, "%02x", w->ram[a + k]);
        base_text_printf(out, "\n");
    }
    if (ir_world_fpenv(w)->flags != ir_world_fpenv(before)->flags)
        base_text_printf(out, "flags=%" PRIu32 "\n", ir_world_fpenv(w)->flags);
    if (ir_world_fpenv(w)->rm != ir_world_fpenv(before)->rm)
        base_text_printf(out, "rm=%" PRIu32 "\n", ir_world_fpenv(w)->rm);
    if (ir_world_res(w)->addr != 1)
        base_text_printf(out, "reserved=0x%" PRIx64 "\n", ir_world_res(w)->addr);
    ir_world_print_end(w, out);
    if (memcmp(w->state + pc, &w->end.target, 8) != 0)
        base_text_printf(out, IR_CASE_BROKEN ": the state's pc is not the end's target\n");
}

static bool ir_case_run(const struct ir_func *f, const char *head, struct base_text *out)
{
    struct ir_world *w = base_alloc(2 * sizeof *w), *before = w + 1;
    const struct ir_mem mem = {w, ir_world_load, ir_world_store, ir_world_rmw, NULL, true};
    bool ok = ir_world_new(w, f->guest, head, out);

    if (ok) {
        *before = *w;
        ir_interp(f, w->state, &mem, &w->poll, &w->end);
        ir_world_print(w, before, out);
    }
    free(w);
    return ok;
}

static bool ir_case_runnable(const struct ir_func *f, struct base_text *out)
{
    for (ir_ref r = IR_BIAS; r < f->nins; r++)
        if (f->ins[r].op == IR_HELPER && !f->guest) {
            base_text_printf(out, IR_CASE_BROKEN ": a helper needs a guest to run\n");
            return false;
        }
    if (f->guest && f->guest->state_size > IR_STATE_MAX) {
        base_text_printf(out, IR_CASE_BROKEN ": the guest's state is too large\n");
        return false;
    }
    return true;
}

/* ---- sections -------------------------------------------------------- */

static void ir_case_fold(const struct ir_func *folded, struct base_text *out)
{
    struct base_text why = {0};

    ir_print(folded, out);
    if (!ir_verify(folded, &why)) {
        struct base_text broken = {0};

        base_text_printf(&broken, IR_CASE_BROKEN ": verify: %s\n%s", why.data, out->data);
        base_text_free(out);
        *out = broken;
    }
    base_text_free(&why);
}

void ir_case_actual(const struct ir_case *c, unsigned n, const struct ir_guest *guest,
                    struct base_text *out)
{
    const char *head = c->section[n].head;
    struct ir_func *f, *folded;
    struct base_text other = {0};

    if (c->guest && !guest) {
        base_text_printf(out, IR_CASE_BROKEN ": the case asks for a guest\n");
        return;
    }
    f = ir_func_new(c->guest ? guest : NULL);
    folded = ir_func_new(f->guest);
    if (!ir_case_load(f, c->input, out)) goto done;
    ir_copy(folded, f);
    if (strcmp(head, "fold") == 0) {
        ir_case_fold(folded, out);
    } else if (strcmp(head, "run") == 0 || strncmp(head, "run ", 4) == 0) {
        if (!ir_case_runnable(f, out) || !ir_case_run(f, head, out)) goto done;
        ir_case_run(folded, head, &other);
        if (strcmp(out->data, other.data) != 0)
            base_text_printf(&other, "the above: folded; as written:\n%s", out->data);
        if (strcmp(out->data, other.data) != 0) {
            base_text_free(out);
            base_text_printf(out, IR_CASE_BROKEN ": folding changes the result\n%s", other.data);
        }
    } else if (strcmp(head, "error") == 0) {
        base_text_printf(out, IR_CASE_BROKEN ": there is no error\n");
    } else {
        base_text_printf(out, IR_CASE_BROKEN ": section '%s' makes no sense\n", head);
    }
done:
    base_text_free(&other);
    ir_func_free(f);
    ir_func_free(folded);
}
