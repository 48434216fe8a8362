/* jit_t2_graph.c: tier 2, which guest code a region is made of.
 * SPDX-License-Identifier: Apache-2.0
 *
 * From the head on guest code is explored, nearest first, instruction by
 * instruction, along every edge that was ever taken. What was is known for
 * nothing: tier 1 makes code at the first execution, so a branch whose target has
 * no region was never taken, and such an edge leaves the region.
 *
 *   explore   instructions, by (context, pc); those that something else than the
 *             one before leads to are leaders. A small function that was called is
 *             a context of its own (inlined once per call), and its returns lead
 *             to behind the call. Of a function that calls what cannot be inlined,
 *             or is long, or is the one that calls, the ways without that are taken:
 *             half of the calls of a recursive function only return
 *             An indirect jump or call is a chain of guards, one for each of its
 *             usual targets (jit_t2_site.c) that can be inside: instructions of the
 *             same address, each of which compares and leads on to the next
 *   blocks    from leader to leader
 *   prune     a loop's region is what can reach its head: the loop, whatever is in
 *             it, and nothing behind it. Seen from here a loop around it goes
 *             through the head, too, but it begins at a lower address, and what is
 *             there is left out. Where the head closes no loop, all is kept
 *   reduce    an edge that goes back to a block which does not dominate its source
 *             would be a second way into a loop: it leaves the region instead
 *
 * The lifter says how an instruction passes control on; what it emits here is
 * thrown away, and jit_t2_form.c lifts again what is left.
 */
#include "jit/jit_t2.h"

/* ---- lifting --------------------------------------------------------- */

/* Helpers that change the state, and a changed rounding mode: not in tier 2. Nor LR and
 * SC: between them is a branch, and only in a region of tier 1, which goes through it,
 * shows that the pair is constrained; what is not makes every SC dearer (ir_res_watch). */
static bool foreign(const struct ir_func *f, ir_ref from)
{
    for (ir_ref r = from; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        if (i->op == IR_RMSET || i->op == IR_LR || i->op == IR_SC)
            return true;
        if (i->op == IR_HELPER && (f->guest->helpers[i->aux].effects & IR_HELPER_STATE))
            return true;
    }
    return false;
}

bool jit_t2_lift(struct t2_graph *g, struct ir_func *f, uint64_t pc, bool poll,
                 struct ir_flow *w)
{
    const uint8_t *bytes;
    size_t avail = jit_reader_at(&g->reader, pc, &bytes);
    ir_ref mark = f->nins;
    if (avail < 2)
        return false;
    ir_imark(f, pc, 0);
    if (poll)
        ir_emit(f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    if (!g->j->cfg.guest->lift(f, pc, bytes, avail, w) || w->reform || foreign(f, mark)) {
        f->nins = mark;
        return false;
    }
    f->ins[mark].aux = w->len;
    if (w->kind == IR_FLOW_BRANCH && ir_is_const(w->cond)) {
        w->kind = ir_kval(f, w->cond) ? IR_FLOW_JUMP : IR_FLOW_NEXT;
        w->link_slot = -1;
    }
    return true;
}

/* Room for one more instruction in the function that is thrown away. */
static void scratch_reset(struct t2_graph *g)
{
    ir_func_reset(g->scratch);
    g->scratch->mode = g->mode;
}

/* ---- what was executed ----------------------------------------------- */

static bool entered(const struct t2_graph *g, uint64_t pc)
{
    return g->j->cfg.tier2 == JIT_TIER2_ALWAYS || jit_find(g->j->p, jit_key(pc, g->mode)) != NULL;
}

/* The same for where a branch falls through: that is mostly inside a region. */
static bool fallen_to(const struct t2_graph *g, uint64_t pc)
{
    return entered(g, pc) || jit_covered(g->j, pc);
}

/* Usual targets of the indirect jump or call at pc. */
static unsigned targets_of(struct t2_graph *g, uint64_t pc, uint64_t target[JIT_PARAM_t2_targets],
                           bool call)
{
    unsigned most = call ? JIT_PARAM_t2_compared : JIT_PARAM_t2_compared_jump;
    bool seen;
    unsigned n;
    if (!g->j->p->t2)
        return 0;
    n = jit_t2_targets(g->j->p->t2, jit_key(pc, g->mode), target, most, &seen);
    g->unknown += !seen;
    return n;
}

/* ---- inlining -------------------------------------------------------- */

/* A function that is looked at: what is left to look at, and what was. */
struct probe {
    uint64_t todo[JIT_PARAM_t2_inline], seen[JIT_PARAM_t2_inline];
    unsigned ntodo, nseen, insns;
    bool returns, partial;
};

static const struct t2_probe *function_of(struct t2_graph *g, uint64_t pc, unsigned depth);

static bool probe_push(const struct t2_graph *g, struct probe *p, uint64_t pc)
{
    if (!entered(g, pc))
        return true;
    if (p->ntodo == JIT_PARAM_t2_inline)
        return false;
    p->todo[p->ntodo++] = pc;
    return true;
}

/* Instructions of what is called at pc, mostly; 0: not to be inlined. */
static unsigned probe_call(struct t2_graph *g, uint64_t pc, bool direct, uint64_t target,
                           unsigned depth)
{
    uint64_t to[JIT_PARAM_t2_targets] = {target};
    unsigned n = direct ? 1 : targets_of(g, pc, to, true), insns = 0;
    for (unsigned k = 0; k < n; k++) {
        const struct t2_probe *c = function_of(g, to[k], depth + 1);
        if (c && c->insns && !c->partial)
            insns += c->insns;
    }
    return insns;
}

static bool probe_jump(struct t2_graph *g, struct probe *p, uint64_t pc)
{
    uint64_t to[JIT_PARAM_t2_targets];
    unsigned n = targets_of(g, pc, to, false);
    for (unsigned k = 0; k < n; k++)
        if (!probe_push(g, p, to[k]))
            return false;
    return n > 0;
}

/* Looks at straight code from pc on. False: it comes to what cannot be inlined. */
static bool probe_walk(struct t2_graph *g, struct probe *p, uint64_t pc, unsigned depth)
{
    scratch_reset(g);
    for (;;) {
        struct ir_flow w;
        for (unsigned i = 0; i < p->nseen; i++)
            if (p->seen[i] == pc)
                return true;
        if (p->nseen == JIT_PARAM_t2_inline || p->insns >= JIT_PARAM_t2_inline ||
            !jit_t2_lift(g, g->scratch, pc, false, &w))
            return false;
        p->seen[p->nseen++] = pc;
        p->insns++;
        bool direct = w.kind != IR_FLOW_NEXT && w.kind != IR_FLOW_TRAP && ir_is_const(w.target);
        uint64_t target = direct ? ir_kval(g->scratch, w.target) : 0;
        switch (w.kind) {
        case IR_FLOW_BRANCH:
            if (!probe_push(g, p, target))
                return false;
            if (!fallen_to(g, pc + w.len))
                return true;
            scratch_reset(g);
            break;
        case IR_FLOW_JUMP:
            if (!direct)
                return probe_jump(g, p, pc);
            pc = target;
            scratch_reset(g);
            continue;
        case IR_FLOW_CALL: {
            unsigned insns = probe_call(g, pc, direct, target, depth);
            if (!insns)
                return false;
            p->insns += insns;
            scratch_reset(g);
            break;
        }
        case IR_FLOW_RET: p->returns = true; return true;
        case IR_FLOW_TRAP: return false;
        default: break;
        }
        pc += w.len;
    }
}

/* What there is to know of the function at pc; NULL: nothing. */
static const struct t2_probe *function_of(struct t2_graph *g, uint64_t pc, unsigned depth)
{
    for (unsigned i = 0; i < g->nprobes; i++)
        if (g->probe[i].pc == pc)
            return &g->probe[i];
    if (depth >= JIT_PARAM_t2_depth || g->nprobes == T2_PROBES || !entered(g, pc))
        return NULL;
    struct t2_probe *of = &g->probe[g->nprobes++];
    *of = (struct t2_probe){.pc = pc}; /* so for who calls it while we look */
    struct probe p = {.todo = {pc}, .ntodo = 1};
    while (p.ntodo)
        if (!probe_walk(g, &p, p.todo[--p.ntodo], depth))
            p.partial = true;
    if (p.returns && p.insns <= JIT_PARAM_t2_inline) {
        of->insns = p.insns;
        of->partial = p.partial;
    }
    return of;
}

/* A context for the call of target that returns to ret; 0: not inlined. Of what is inlined
 * in part the way out of the region knows one call only. */
static unsigned inlined(struct t2_graph *g, unsigned parent, uint64_t target, uint64_t ret)
{
    unsigned depth = g->ctx[parent].depth + 1u;
    if (g->nctxs == T2_CALLS || depth > JIT_PARAM_t2_depth)
        return 0;
    for (unsigned c = parent; c; c = g->ctx[c].parent)
        if (g->ctx[c].callee == target)
            return 0;
    const struct t2_probe *p = function_of(g, target, depth - 1);
    if (!p || !p->insns || (p->partial && parent) || g->ninsns + p->insns > g->max_insns)
        return 0;
    g->ctx[g->nctxs] = (struct t2_ctx){target, ret, (uint16_t)parent, (uint8_t)depth, p->partial};
    return g->nctxs++;
}

/* ---- exploring ------------------------------------------------------- */

static uint16_t *slot_of(struct t2_graph *g, unsigned ctx, uint64_t pc)
{
    uint32_t h = (uint32_t)base_hash64(pc + ctx * 0x9e3779b97f4a7c15u);
    for (;; h++) {
        uint16_t *s = &g->hash[h & (T2_HASH - 1)];
        if (*s == 0 || (g->insn[*s - 1].pc == pc && g->insn[*s - 1].ctx == ctx))
            return s;
    }
}

static unsigned find(struct t2_graph *g, unsigned ctx, uint64_t pc)
{
    uint16_t *s = slot_of(g, ctx, pc);
    return *s ? *s - 1u : T2_NONE;
}

static void push_start(struct t2_graph *g, unsigned ctx, uint64_t pc)
{
    if (g->nstarts < BASE_ARRAY_SIZE(g->start)) {
        g->start[g->nstarts].pc = pc;
        g->start[g->nstarts++].ctx = (uint16_t)ctx;
    }
}

/* Do the last instruction's operations compute with floats? */
static bool floats(const struct ir_func *f)
{
    for (ir_ref r = f->nins - 1; f->ins[r].op != IR_IMARK; r--)
        if (ir_is_float(f->ins[r].ty) && ir_ops[f->ins[r].op].flags & IR_F_FLAGS)
            return true;
    return false;
}

static struct t2_insn *add(struct t2_graph *g, unsigned ctx, uint64_t pc, const struct ir_flow *w)
{
    struct t2_insn *i = &g->insn[g->ninsns++];
    *i = (struct t2_insn){.pc = pc, .ctx = (uint16_t)ctx, .len = w->len, .kind = w->kind,
                          .next = T2_NONE, .taken = T2_NONE};
    i->floats = floats(g->scratch);
    i->direct = w->kind != IR_FLOW_NEXT && w->kind != IR_FLOW_TRAP && ir_is_const(w->target);
    if (i->direct)
        i->target = ir_kval(g->scratch, w->target);
    *slot_of(g, ctx, pc) = (uint16_t)g->ninsns;
    return i;
}

/* True if the instruction whose operations come last has done something already. */
static bool has_effect(const struct ir_func *f)
{
    for (ir_ref r = f->nins - 1; f->ins[r].op != IR_IMARK; r--) {
        enum ir_class cls = ir_ops[f->ins[r].op].cls;
        if (cls != IR_CLASS_K && cls != IR_CLASS_P && f->ins[r].op != IR_GET)
            return true;
    }
    return false;
}

/* The usual targets of an indirect jump or call, each with a guard: i, and further ones. */
static void guard(struct t2_graph *g, struct t2_insn *i)
{
    uint64_t to[JIT_PARAM_t2_targets], behind = i->pc + i->len;
    const struct t2_insn first = *i;
    unsigned n = has_effect(g->scratch) ? 0 : targets_of(g, i->pc, to, i->kind == IR_FLOW_CALL);
    for (unsigned k = 0; k < n; k++) {
        unsigned callee = i->kind == IR_FLOW_CALL ? inlined(g, first.ctx, to[k], behind) : 0;
        if ((i->kind == IR_FLOW_CALL && !callee) || !entered(g, to[k]))
            continue;
        if (i->guard) {
            if (g->ninsns == g->max_insns)
                return;
            i->next = (uint16_t)g->ninsns;
            i = &g->insn[g->ninsns++];
            *i = first;
            i->leader = true;
        }
        i->guard = true;
        i->target = to[k];
        i->callee = (uint16_t)callee;
        i->taken = 0;
        push_start(g, callee ? callee : i->ctx, to[k]);
    }
}

/* What follows instruction i; true: the one behind it. Marks edges inside the
 * region by a value other than T2_NONE. */
static bool follow(struct t2_graph *g, struct t2_insn *i)
{
    uint64_t next = i->pc + i->len;
    switch (i->kind) {
    case IR_FLOW_NEXT: i->next = 0; return true;
    case IR_FLOW_BRANCH:
        if (entered(g, i->target)) {
            i->taken = 0;
            push_start(g, i->ctx, i->target);
        }
        if (!fallen_to(g, next))
            return false;
        i->next = 0;
        return true;
    case IR_FLOW_JUMP:
        if (i->direct) {
            i->taken = 0;
            push_start(g, i->ctx, i->target);
        } else {
            guard(g, i);
        }
        return false;
    case IR_FLOW_CALL:
        if (!i->direct) {
            guard(g, i);
            return false;
        }
        i->callee = (uint16_t)inlined(g, i->ctx, i->target, next);
        if (i->callee) {
            i->taken = 0;
            push_start(g, i->callee, i->target);
        }
        return false;
    case IR_FLOW_RET:
        /* An unexpected address is read by the instruction once more: not what it changed. */
        if (i->ctx && !has_effect(g->scratch)) {
            i->taken = 0;
            push_start(g, g->ctx[i->ctx].parent, g->ctx[i->ctx].ret);
        }
        return false;
    default: return false;
    }
}

static void walk(struct t2_graph *g, unsigned ctx, uint64_t pc)
{
    bool leader = true;
    scratch_reset(g);
    for (;;) {
        unsigned known = find(g, ctx, pc);
        struct ir_flow w;
        if (known != T2_NONE) {
            g->insn[known].leader = true;
            return;
        }
        if (g->ninsns == g->max_insns || !jit_t2_lift(g, g->scratch, pc, false, &w))
            return;
        struct t2_insn *i = add(g, ctx, pc, &w);
        i->leader = leader;
        leader = false;
        if (!follow(g, i))
            return;
        if (w.kind == IR_FLOW_BRANCH || ir_func_full(g->scratch))
            scratch_reset(g);
        pc += w.len;
    }
}

/* Edges as instructions, now that all are there. */
static void resolve(struct t2_graph *g)
{
    for (unsigned k = 0; k < g->ninsns; k++) {
        struct t2_insn *i = &g->insn[k];
        if (i->next != T2_NONE && !i->guard)
            i->next = (uint16_t)find(g, i->ctx, i->pc + i->len);
        if (i->taken == T2_NONE)
            continue;
        if (i->kind == IR_FLOW_RET)
            i->taken = (uint16_t)find(g, g->ctx[i->ctx].parent, g->ctx[i->ctx].ret);
        else
            i->taken = (uint16_t)find(g, i->callee ? i->callee : i->ctx, i->target);
    }
}

/* ---- blocks ---------------------------------------------------------- */

/* A branch out of the region does not end its block, one inside does. */
static bool ends_block(const struct t2_graph *g, const struct t2_insn *i)
{
    return i->next == T2_NONE || i->taken != T2_NONE || g->insn[i->next].leader;
}

static bool make_blocks(struct t2_graph *g)
{
    for (unsigned k = 0; k < g->ninsns; k++) /* both ways of a branch begin a block */
        if (g->insn[k].taken != T2_NONE && g->insn[k].next != T2_NONE)
            g->insn[g->insn[k].next].leader = true;
    for (unsigned k = 0; k < g->ninsns; k++) {
        if (!g->insn[k].leader)
            continue;
        if (g->nblocks == T2_BLOCKS)
            return false;
        g->insn[k].block = (uint16_t)g->nblocks;
        struct t2_block *b = &g->block[g->nblocks++];
        *b = (struct t2_block){.first = (uint16_t)k, .last = (uint16_t)k};
        while (!ends_block(g, &g->insn[b->last]))
            b->last = g->insn[b->last].next;
    }
    for (unsigned k = 0; k < g->nblocks; k++) {
        struct t2_block *b = &g->block[k];
        const struct t2_insn *i = &g->insn[b->last];
        b->succ[0] = i->next == T2_NONE ? T2_NONE : g->insn[i->next].block;
        b->succ[1] = i->taken == T2_NONE ? T2_NONE : g->insn[i->taken].block;
    }
    return true;
}

/* ---- order, reachability, dominators ---------------------------------- */

static void post_order(struct t2_graph *g)
{
    uint16_t stack[T2_BLOCKS];
    uint8_t at[T2_BLOCKS];
    unsigned depth = 0, n = 0;
    for (unsigned k = 0; k < g->nblocks; k++)
        g->block[k].order = T2_NONE;
    stack[depth] = 0;
    at[depth++] = 0;
    g->block[0].order = 0;
    while (depth) {
        unsigned b = stack[depth - 1], k = at[depth - 1]++;
        if (k == 2) {
            g->order[n++] = (uint16_t)b;
            depth--;
            continue;
        }
        unsigned s = g->block[b].succ[k];
        if (s == T2_NONE || g->block[s].order != T2_NONE)
            continue;
        g->block[s].order = 0;
        stack[depth] = (uint16_t)s;
        at[depth++] = 0;
    }
    g->norder = n;
    for (unsigned k = 0; k < n / 2; k++) {
        uint16_t b = g->order[k];
        g->order[k] = g->order[n - 1 - k];
        g->order[n - 1 - k] = b;
    }
    for (unsigned k = 0; k < n; k++)
        g->block[g->order[k]].order = (uint16_t)k;
}

/* Does the block begin before the head, outside of inlined functions? */
static bool is_before(const struct t2_graph *g, const struct t2_block *b)
{
    const struct t2_insn *i = &g->insn[b->first];
    return i->ctx == 0 && i->pc < g->insn[0].pc;
}

/* Marks the blocks from which the head can be reached; false: it closes no loop. */
static bool mark_reaching(struct t2_graph *g)
{
    bool changed = true, closed = false;
    for (unsigned k = 0; k < g->nblocks; k++)
        g->block[k].reaches = false;
    while (changed) {
        changed = false;
        for (unsigned k = g->norder; k-- > 0;) {
            struct t2_block *b = &g->block[g->order[k]];
            for (unsigned n = 0; n < 2 && !b->reaches && !is_before(g, b); n++) {
                unsigned s = b->succ[n];
                if (s == T2_NONE || (s != 0 && !g->block[s].reaches))
                    continue;
                b->reaches = changed = true;
                closed |= s == 0;
            }
        }
    }
    return closed;
}

/* Marks what is not inlined, and of what is the blocks from which it returns. */
static void mark_returning(struct t2_graph *g)
{
    bool changed = true;
    for (unsigned k = 0; k < g->nblocks; k++)
        g->block[k].reaches = g->insn[g->block[k].first].ctx == 0;
    while (changed) {
        changed = false;
        for (unsigned k = g->norder; k-- > 0;) {
            struct t2_block *b = &g->block[g->order[k]];
            for (unsigned n = 0; n < 2 && !b->reaches; n++)
                if (b->succ[n] != T2_NONE && g->block[b->succ[n]].reaches)
                    b->reaches = changed = true;
        }
    }
}

/* Takes edges to blocks that do not reach the head out; true if there were any. */
static bool cut_outside(struct t2_graph *g)
{
    bool cut = false;
    for (unsigned k = 0; k < g->norder; k++) {
        struct t2_block *b = &g->block[g->order[k]];
        for (unsigned n = 0; n < 2; n++)
            if (b->succ[n] != T2_NONE && !g->block[b->succ[n]].reaches) {
                b->succ[n] = T2_NONE;
                cut = true;
            }
    }
    return cut;
}

/* Immediate dominators by order (Cooper, Harvey, Kennedy). */
static unsigned intersect(const struct t2_graph *g, unsigned a, unsigned b)
{
    while (a != b) {
        while (a > b)
            a = g->block[g->order[a]].idom;
        while (b > a)
            b = g->block[g->order[b]].idom;
    }
    return a;
}

static void dominators(struct t2_graph *g)
{
    bool changed = true;
    for (unsigned k = 0; k < g->norder; k++)
        g->block[g->order[k]].idom = k ? T2_NONE : 0;
    while (changed) {
        changed = false;
        for (unsigned k = 0; k < g->norder; k++) {
            const struct t2_block *b = &g->block[g->order[k]];
            for (unsigned n = 0; n < 2; n++) {
                if (b->succ[n] == T2_NONE || b->idom == T2_NONE)
                    continue;
                struct t2_block *s = &g->block[b->succ[n]];
                unsigned d = s->idom == T2_NONE ? k : intersect(g, s->idom, k);
                if (s->order != 0 && d != s->idom) {
                    s->idom = (uint16_t)d;
                    changed = true;
                }
            }
        }
    }
}

static bool dominates(const struct t2_graph *g, unsigned a, unsigned b)
{
    while (b > a)
        b = g->block[g->order[b]].idom;
    return a == b;
}

/* Cuts edges that enter a loop elsewhere than at its header; true if any. */
static bool cut_irreducible(struct t2_graph *g)
{
    bool cut = false;
    dominators(g);
    for (unsigned k = 0; k < g->norder; k++) {
        struct t2_block *b = &g->block[g->order[k]];
        for (unsigned n = 0; n < 2; n++) {
            if (b->succ[n] == T2_NONE)
                continue;
            unsigned to = g->block[b->succ[n]].order;
            if (to <= k && !dominates(g, to, k)) {
                b->succ[n] = T2_NONE;
                cut = true;
            }
        }
    }
    return cut;
}

/* ---- entry ----------------------------------------------------------- */

bool jit_t2_latch(const struct t2_graph *g, const struct t2_block *b)
{
    for (unsigned n = 0; n < 2; n++)
        if (b->succ[n] != T2_NONE && g->block[b->succ[n]].order <= b->order)
            return true;
    return false;
}

const char *jit_t2_graph(struct t2_graph *g, uint64_t pc)
{
    g->ninsns = g->nblocks = g->norder = g->nstarts = g->nprobes = 0;
    g->nctxs = 1;
    g->unknown = 0;
    g->ctx[0] = (struct t2_ctx){0};
    memset(g->hash, 0, sizeof g->hash);
    memset(&g->reader, 0, sizeof g->reader);
    g->reader.j = g->j;
    push_start(g, 0, pc);
    for (unsigned k = 0; k < g->nstarts; k++)
        walk(g, g->start[k].ctx, g->start[k].pc);
    if (g->ninsns == 0)
        return "tier 2: nothing at the head for it";
    resolve(g);
    if (!make_blocks(g))
        return "tier 2: too many blocks";
    post_order(g);
    g->loop = mark_reaching(g);
    for (bool again = true; again;) {
        again = cut_irreducible(g);
        if (again)
            post_order(g);
        g->loop = g->loop && mark_reaching(g);
        if (!g->loop)
            mark_returning(g);
        if (cut_outside(g)) {
            again = true;
            post_order(g);
        }
    }
    g->cyclic = false;
    for (unsigned k = 0; k < g->norder; k++)
        g->cyclic |= jit_t2_latch(g, &g->block[g->order[k]]);
    return NULL;
}

bool jit_t2_inside(const struct t2_graph *g, uint64_t pc)
{
    for (unsigned k = 0; k < g->norder; k++) {
        const struct t2_block *b = &g->block[g->order[k]];
        for (unsigned i = b->first;; i = g->insn[i].next) {
            if (g->insn[i].pc == pc)
                return true;
            if (i == b->last)
                break;
        }
    }
    return false;
}
