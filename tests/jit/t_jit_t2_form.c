/* t_jit_t2_form.c: which regions tier 2 forms from hand-made guest code.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A guest of a few instructions, given as words: "add", "br N" (to instruction N if a
 * register is not 0), "jmp N", "call N", "ret", "ind" (an indirect jump), "icall" (an
 * indirect call), "trap", "zero" (a register), "brz N" (a branch if that is not 0), "mode"
 * (nothing behind it fits). What the region at a place is made of is written as one word
 * for each block, in order:
 *
 *     0-2:1,3    instructions 0 to 2; the blocks at place 1 and 3 of the list follow:
 *                falling through, taken; - is outside
 *     7-8@1:-,4  the same in the first inlined call
 *
 * Each region's IR must also be valid, and in state-SSA form after the optimiser.
 */
#include "jit/jit_t2.h"

#include <stdio.h>

enum { BASE = 0x10000, RA = 0, COUNT, FLAG, TARGET, ZERO, NSLOTS, MAX = 64 };

static struct {
    char op;
    unsigned to;
} program[MAX];
static uint32_t bytes[MAX];
static unsigned length;

/* ---- the guest ------------------------------------------------------- */

static ir_ref at(struct ir_func *f, unsigned n) { return ir_kaddr(f, BASE + 4 * (uint64_t)n); }

static ir_ref not_zero(struct ir_func *f, unsigned slot)
{
    return ir_cmp(f, IR_NE, ir_get(f, slot), ir_ki(f, IR_I64, 0));
}

static bool lift(struct ir_func *f, uint64_t pc, const uint8_t *code, size_t avail,
                 struct ir_flow *w)
{
    unsigned n = (unsigned)(pc - BASE) / 4;

    if (avail < 4)
        return false;
    *w = (struct ir_flow){.kind = IR_FLOW_NEXT, .len = 4, .link_slot = -1};
    switch (program[n].op) {
    case 'a':
        ir_put(f, COUNT, ir_op2(f, IR_ADD, IR_I64, ir_get(f, COUNT), ir_ki(f, IR_I64, 1)));
        break;
    case 'z': ir_put(f, ZERO, ir_ki(f, IR_I64, 0)); break;
    case 'm': w->reform = true; break;
    case 'b':
    case 'B':
        w->kind = IR_FLOW_BRANCH;
        w->cond = not_zero(f, program[n].op == 'b' ? FLAG : ZERO);
        w->target = at(f, program[n].to);
        break;
    case 'j':
    case 'c':
        w->kind = program[n].op == 'j' ? IR_FLOW_JUMP : IR_FLOW_CALL;
        w->link_slot = program[n].op == 'j' ? -1 : RA;
        w->target = at(f, program[n].to);
        break;
    case 'r':
        w->kind = IR_FLOW_RET;
        w->target = ir_op2(f, IR_AND, IR_I64, ir_get(f, RA), ir_ki(f, IR_I64, ~1ull));
        break;
    case 'i':
    case 'I':
        w->kind = program[n].op == 'i' ? IR_FLOW_JUMP : IR_FLOW_CALL;
        w->link_slot = program[n].op == 'i' ? -1 : RA;
        w->target = ir_get(f, TARGET);
        break;
    default:
        w->kind = IR_FLOW_TRAP;
        ir_emit(f, IR_TRAP, IR_NONE, IR_TRAP_BREAK, ir_kaddr(f, pc), 0, 0);
    }
    return true;
}

static const struct ir_slot slots[NSLOTS] = {{"ra", IR_I64, 0},
                                             {"count", IR_I64, 8},
                                             {"flag", IR_I64, 16},
                                             {"target", IR_I64, 24},
                                             {"zero", IR_I64, 32}};
static const uint8_t hot_slots[] = {COUNT, FLAG, RA};
static const struct ir_guest guest = {.name = "words",
                                      .slots = slots,
                                      .nslots = NSLOTS,
                                      .hot_int = hot_slots,
                                      .nhot_int = BASE_ARRAY_SIZE(hot_slots),
                                      .state_size = 128,
                                      .pc_offset = 64,
                                      .fpenv_offset = 72,
                                      .res_offset = 80,
                                      .max_len = 4,
                                      .lift = lift};

static size_t fetch(void *ctx, uint64_t pc, const uint8_t **code, bool *writable)
{
    if (pc < BASE || pc >= BASE + 4 * (uint64_t)length)
        return 0;
    *code = (const uint8_t *)bytes + (pc - BASE);
    *writable = true;
    return BASE + 4 * (uint64_t)length - pc;
}

/* "add; br 0; ret" */
static void assemble(const char *text)
{
    length = 0;
    while (*text) {
        char op[8] = "";
        unsigned to = 0;
        int n = 0;

        sscanf(text, " %7[a-z] %u%n", op, &to, &n);
        BASE_ASSERT(op[0] && length < MAX);
        program[length].op = !strcmp(op, "brz") ? 'B' : !strcmp(op, "icall") ? 'I' : op[0];
        program[length++].to = to;
        text = strchr(text, ';') ? strchr(text, ';') + 1 : "";
    }
}

/* ---- what came out --------------------------------------------------- */

static void succ(const struct t2_graph *g, unsigned b, struct base_text *out)
{
    if (b == T2_NONE)
        base_text_printf(out, "-");
    else
        base_text_printf(out, "%u", g->block[b].order);
}

static void describe(const struct t2_graph *g, struct base_text *out)
{
    for (unsigned k = 0; k < g->norder; k++) {
        const struct t2_block *b = &g->block[g->order[k]];
        const struct t2_insn *first = &g->insn[b->first], *last = &g->insn[b->last];

        base_text_printf(out, "%s%u-%u", k ? " " : "", (unsigned)(first->pc - BASE) / 4,
                         (unsigned)(last->pc - BASE) / 4);
        if (first->ctx)
            base_text_printf(out, "@%u", first->ctx);
        base_text_printf(out, ":");
        succ(g, b->succ[0], out);
        base_text_printf(out, ",");
        succ(g, b->succ[1], out);
    }
}

static bool valid(const struct ir_func *f, struct opt *opt, struct base_text *why)
{
    const struct opt_config cfg = {.verify = true};
    struct ir_func *out;
    const char *gave_up;

    if (!ir_verify(f, why))
        return false;
    gave_up = opt_run(opt, f, &cfg, &out);
    if (gave_up)
        base_text_printf(why, "optimiser: %s", gave_up);
    return !gave_up && opt_verify(out, why);
}

static bool check(const char *name, const char *text, unsigned from, const char *executed,
                  const char *want, const char *seen)
{
    const struct jit_config cfg = {.guest = &guest,
                                   .tier2 = executed ? JIT_TIER2_SYNC : JIT_TIER2_ALWAYS,
                                   .fetch = fetch};
    struct jit *j = jit_new(&cfg);
    struct jit_formed formed;
    struct base_text got = {0}, why = {0};
    struct opt *opt = opt_new(&guest);
    const char *gave_up;
    unsigned n;

    assemble(text);
    pthread_mutex_lock(&j->p->lock);
    for (int len; executed && sscanf(executed, " %u%n", &n, &len) == 1; executed += len)
        jit_translate(j, NULL, BASE + 4 * (uint64_t)n, JIT_CAME_LOOKUP);
    unsigned to;
    for (int len; seen && sscanf(seen, " %u:%u%n", &n, &to, &len) == 2; seen += len)
        jit_t2_went(j->p->t2, BASE + 4 * (uint64_t)n, BASE + 4 * (uint64_t)to);
    struct t2_graph *g = &j->p->t2->graph;
    gave_up = jit_t2_form(j, g, j->p->t2->func, &formed, BASE + 4 * (uint64_t)from, 0);
    if (gave_up)
        base_text_printf(&got, "%s", gave_up);
    else
        describe(g, &got);
    bool ok = !strcmp(got.data, want) && (gave_up || valid(j->p->t2->func, opt, &why));
    if (ok)
        printf("ok - %s\n", name);
    else
        printf("not ok - %s: %s, not %s %s\n", name, got.data, want, why.data ? why.data : "");
    pthread_mutex_unlock(&j->p->lock);
    opt_free(opt);
    jit_free(j);
    base_text_free(&got);
    base_text_free(&why);
    return ok;
}

/* ---- cases ----------------------------------------------------------- */

static const struct {
    const char *name, *text;
    unsigned from;
    const char *executed; /* heads of regions there are; NULL: everything was run */
    const char *want;
    const char *seen; /* where indirect jumps and calls went: "from:to" */
} cases[] = {
    {"a loop of one block", "add; br 0; trap", 0, NULL, "0-1:-,0"},
    {"code before and behind a loop is outside", "add; add; br 1; add; trap", 1, NULL, "1-2:-,0"},
    {"a loop with if and else", "br 3; add; jmp 4; add; br 0; trap", 0, NULL,
     "0-0:2,1 3-3:3,- 1-2:-,3 4-4:-,0"},
    {"nested loops", "add; add; br 1; br 0; trap", 0, NULL, "0-0:1,- 1-2:2,1 3-3:-,0"},
    {"the inner loop alone", "add; add; br 1; br 0; trap", 1, NULL,
     "1-2:-,0"},
    {"a function: all that can be reached", "br 3; add; ret; add; ret", 0, NULL,
     "0-0:2,1 3-4:-,- 1-2:-,-"},
    {"a call is inlined, its return folds", "add; call 4; br 0; trap; add; ret", 0, NULL,
     "0-1:-,1 4-5@1:-,2 2-2:-,0"},
    {"two calls of one function", "call 4; call 4; br 0; trap; add; ret", 0, NULL,
     "0-0:-,1 4-5@1:-,2 1-1:-,3 4-5@2:-,4 2-2:-,0"},
    {"a call in a call", "call 3; br 0; trap; call 5; ret; add; ret", 0, NULL,
     "0-0:-,1 3-3@1:-,2 5-6@2:-,3 4-4@1:-,4 1-1:-,0"},
    {"recursion is not inlined", "call 3; br 0; trap; call 3; ret", 0, NULL, "0-0:-,-"},
    {"of a function that calls itself what returns is inlined",
     "br 2; ret; add; call 0; add; call 0; ret", 0, NULL,
     "0-0:8,1 2-3:-,2 0-0@1:3,- 1-1@1:-,4 4-5:-,5 0-0@2:6,- 1-1@2:-,7 6-6:-,- 1-1:-,-"},
    {"the way that calls leaves, the other stays in the loop",
     "call 3; br 0; trap; br 5; ret; call 8; ret; "
     "trap; trap", 0, NULL,
     "0-0:-,1 3-3@1:2,- 4-4@1:-,3 1-1:-,0"},
    {"nor what calls one of which a part would be",
     "call 3; br 0; trap; call 5; ret; br 7; ret; call 9; ret; trap", 0, NULL,
     "0-0:-,-"},
    {"what never returns is not inlined", "call 3; br 0; trap; add; call 3; jmp 3", 0, NULL,
     "0-0:-,-"},
    {"nor what jumps indirectly", "call 3; br 0; trap; ind; ret", 0, NULL, "0-0:-,-"},
    {"an indirect jump is an exit", "br 2; ind; br 0; trap", 0, NULL, "0-0:-,1 2-2:-,0"},
    {"two ways into a loop: one is cut", "br 3; add; add; add; br 1; br 0; trap", 0, NULL,
     "0-0:1,2 1-2:2,- 3-4:3,- 5-5:-,0"},
    {"what changes the mode is not inside", "br 2; mode; br 0; trap", 0, NULL,
     "0-0:-,1 2-2:-,0"},
    {"nothing at the head", "mode; trap", 0, NULL, "tier 2: nothing at the head for it"},
    {"never executed: outside", "add; br 4; add; br 0; add; jmp 0", 0, "0",
     "0-3:-,0"},
    {"executed: inside", "add; br 4; add; br 0; add; jmp 0", 0, "0 4",
     "0-1:1,2 2-3:2,0 4-5:-,0"},
    {"a condition known in its block alone", "zero; br 4; brz 4; br 0; trap", 0, "0",
     "0-3:-,0"},
    {"the same, of a branch inside", "zero; br 4; brz 0; br 0; trap", 0, "0",
     "0-2:1,0 3-3:-,0"},
    {"an indirect jump that goes to one place", "ind; trap; add; br 0; trap", 0, NULL,
     "0-0:-,1 2-3:-,0", "0:2"},
    {"an indirect jump as in a switch: back to it", "ind; trap; add; jmp 0; add; jmp 0", 0, NULL,
     "0-0:2,1 4-5:-,0 0-0:-,3 2-3:-,0", "0:4 0:2 0:4"},
    {"an indirect call is inlined", "add; icall; br 0; trap; add; ret", 0, NULL,
     "0-1:-,1 4-5@1:-,2 2-2:-,0", "1:4"},
    {"an indirect call with two targets", "icall; br 0; trap; add; ret; zero; ret", 0, NULL,
     "0-0:2,1 5-6@1:-,4 0-0:-,3 3-4@2:-,4 1-1:-,0", "0:5 0:5 0:3"},
    {"one of which cannot be inlined", "icall; br 0; trap; add; ret; call 3; jmp 5", 0, NULL,
     "0-0:-,1 3-4@1:-,2 1-1:-,0", "0:5 0:3"},
    {"a function that calls indirectly", "call 3; br 0; trap; icall; ret; add; ret", 0, NULL,
     "0-0:-,1 3-3@1:-,2 5-6@2:-,3 4-4@1:-,4 1-1:-,0", "3:5"},
    {"a function that jumps indirectly", "call 3; br 0; trap; ind; trap; add; ret", 0, NULL,
     "0-0:-,1 3-3@1:-,2 5-6@1:-,3 1-1:-,0", "3:5"},
    {"an indirect call of itself", "icall; ret", 0, NULL, "0-0:-,-", "0:0"},
    {"an indirect jump that was seen to go to its own place", "ind; trap", 0, NULL, "0-0:-,0",
     "0:0"},
    {"what goes to many places", "ind; add; add; add; add; add; add; add; add; add; jmp 0", 0, NULL,
     "0-0:-,-", "0:1 0:2 0:3 0:4 0:5 0:6 0:7 0:8 0:9 0:9"},
    {"never executed: no guard", "icall; br 0; trap; add; ret; zero; ret", 0, "0 1 5",
     "0-0:-,1 5-6@1:-,2 1-1:-,0", "0:5 0:3"},
};

/* ---- tier 1 ends where tier 2 begins ----------------------------------- */

static unsigned insns_at(struct jit *j, unsigned n)
{
    return jit_translate(j, NULL, BASE + 4 * (uint64_t)n, JIT_CAME_LOOKUP)->nguest;
}

static bool check_cut(void)
{
    const struct jit_config cfg = {.guest = &guest, .tier2 = JIT_TIER2_SYNC, .fetch = fetch};
    struct jit *j = jit_new(&cfg);
    const struct jit_formed loop = {.nranges = 1, .range = {{BASE + 8, 8}}};

    assemble("add; add; add; br 2; add; trap");
    pthread_mutex_lock(&j->p->lock);
    unsigned before = insns_at(j, 0), behind = insns_at(j, 4);
    struct jit_region *r = jit_region_new(j, &loop, BASE + 8, 0);
    r->tier = 2;
    jit_region_publish(j, r);
    jit_cut(j, r);
    bool gone = !jit_find(j->p, BASE), kept = jit_find(j->p, BASE + 16);
    unsigned after = insns_at(j, 0), same = insns_at(j, 2);
    pthread_mutex_unlock(&j->p->lock);
    jit_free(j);
    bool ok = before == 4 && behind == 2 && gone && kept && after == 2 && same == 0;
    printf("%sok - tier 1 ends where tier 2 begins: %u %u %u instructions, %d %d\n",
           ok ? "" : "not ", before, behind, after, gone, kept);
    return ok;
}

int main(void)
{
    unsigned failed = !check_cut();

    for (unsigned i = 0; i < BASE_ARRAY_SIZE(cases); i++)
        failed += !check(cases[i].name, cases[i].text, cases[i].from, cases[i].executed,
                         cases[i].want, cases[i].seen);
    return failed != 0;
}
