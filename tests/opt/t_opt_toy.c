/* t_opt_toy.c: the optimiser takes a stack machine's cost away, too.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Programs for the machine of opt_toy.h are run by the machine itself, as IR, and as optimised IR;
 * variables, memory and, at the end, the stack must agree. Nothing in src/opt knows what a guest
 * is: so the stack's traffic must be gone from the loops, as sign extensions are from RISC-V's.
 */
#include "opt_toy.h"

#include "ir/ir_priv.h"
#include "opt/opt.h"

#include <stdlib.h>

/* ---- assembler ------------------------------------------------------- */

struct toy_text {
    const char *name;
    unsigned count;
    uint8_t code[TOY_LEN * 64];
    unsigned loop_at_most; /* operations of the innermost loop that compute or touch memory */
};

static void toy_i(struct toy_text *t, unsigned op, unsigned depth, int k)
{
    uint8_t *i = t->code + TOY_LEN * t->count++;

    i[0] = (uint8_t)op;
    i[1] = (uint8_t)depth;
    i[2] = (uint8_t)k;
}

/* variable = variable + k */
static void toy_step(struct toy_text *t, unsigned var, int k)
{
    toy_i(t, TOY_LOAD, 0, (int)var);
    toy_i(t, TOY_PUSH, 1, k);
    toy_i(t, TOY_ADD, 2, 0);
    toy_i(t, TOY_STORE, 1, (int)var);
}

/* v1 = the sum of the first v0 words of memory */
static void toy_sum(struct toy_text *t)
{
    t->name = "sum";
    t->loop_at_most = 7; /* index masked, widened, scaled, added; load; sum; count */
    toy_i(t, TOY_PUSH, 0, 0);
    toy_i(t, TOY_STORE, 1, 1);
    toy_i(t, TOY_PUSH, 0, 0);
    toy_i(t, TOY_STORE, 1, 2);
    toy_i(t, TOY_LOAD, 0, 1); /* 4: the loop */
    toy_i(t, TOY_LOAD, 1, 2);
    toy_i(t, TOY_FETCH, 2, 0);
    toy_i(t, TOY_ADD, 2, 0);
    toy_i(t, TOY_STORE, 1, 1);
    toy_step(t, 2, 1);
    toy_i(t, TOY_LOAD, 0, 2);
    toy_i(t, TOY_LOAD, 1, 0);
    toy_i(t, TOY_LESS, 2, 0);
    toy_i(t, TOY_PUSH, 1, 0);
    toy_i(t, TOY_SAME, 2, 0);
    toy_i(t, TOY_UNLESS, 1, 4);
    toy_i(t, TOY_STOP, 0, 0);
}

/* v1 = v0 factorial */
static void toy_factorial(struct toy_text *t)
{
    t->name = "factorial";
    t->loop_at_most = 3;
    toy_i(t, TOY_PUSH, 0, 1);
    toy_i(t, TOY_STORE, 1, 1);
    toy_i(t, TOY_LOAD, 0, 1); /* 2: the loop */
    toy_i(t, TOY_LOAD, 1, 0);
    toy_i(t, TOY_MUL, 2, 0);
    toy_i(t, TOY_STORE, 1, 1);
    toy_step(t, 0, -1);
    toy_i(t, TOY_LOAD, 0, 0);
    toy_i(t, TOY_PUSH, 1, 0);
    toy_i(t, TOY_SAME, 2, 0);
    toy_i(t, TOY_UNLESS, 1, 2);
    toy_i(t, TOY_STOP, 0, 0);
}

/* Each word i below v0 becomes i * i if it was below v3, else v3 - 1. */
static void toy_squares(struct toy_text *t)
{
    t->name = "squares";
    t->loop_at_most = 13;
    toy_i(t, TOY_PUSH, 0, 0);
    toy_i(t, TOY_STORE, 1, 2);
    toy_i(t, TOY_LOAD, 0, 2); /* 2: the loop */
    toy_i(t, TOY_FETCH, 1, 0);
    toy_i(t, TOY_LOAD, 1, 3);
    toy_i(t, TOY_LESS, 2, 0);
    toy_i(t, TOY_UNLESS, 1, 13);
    toy_i(t, TOY_LOAD, 0, 2);
    toy_i(t, TOY_LOAD, 1, 2);
    toy_i(t, TOY_LOAD, 2, 2);
    toy_i(t, TOY_MUL, 3, 0);
    toy_i(t, TOY_KEEP, 2, 0);
    toy_i(t, TOY_JUMP, 0, 18);
    toy_i(t, TOY_LOAD, 0, 2); /* 13 */
    toy_i(t, TOY_LOAD, 1, 3);
    toy_i(t, TOY_PUSH, 2, 1);
    toy_i(t, TOY_SUB, 3, 0);
    toy_i(t, TOY_KEEP, 2, 0);
    toy_step(t, 2, 1); /* 18 */
    toy_i(t, TOY_LOAD, 0, 2);
    toy_i(t, TOY_LOAD, 1, 0);
    toy_i(t, TOY_SAME, 2, 0);
    toy_i(t, TOY_UNLESS, 1, 2);
    toy_i(t, TOY_STOP, 0, 0);
}

/* ---- checks ---------------------------------------------------------- */

static unsigned t_failed;

static void t_result(bool ok, const struct toy_text *t, const char *what, const char *more)
{
    printf("%s - %s: %s%s%s\n", ok ? "ok" : "not ok", t->name, what, ok ? "" : ": ",
           ok ? "" : more);
    t_failed += !ok;
}

struct toy_world {
    struct toy_state s;
    int32_t memory[TOY_WORDS];
};

static void t_begin(struct toy_world *w, int32_t count)
{
    memset(w, 0, sizeof *w);
    w->s.v[0] = count;
    w->s.v[3] = 100;
    for (int i = 0; i < TOY_WORDS; i++) w->memory[i] = 7 * i - 50;
}

static bool t_same(const struct toy_text *t, const struct ir_func *f)
{
    static struct toy_world want, got;
    struct ir_end end;

    for (int32_t count = 1; count <= 40; count++) {
        t_begin(&want, count);
        t_begin(&got, count);
        toy_run(&want.s, t->code, want.memory);
        got.s.memory = (uintptr_t)got.memory;
        ir_interp(f, &got.s, NULL, NULL, &end);
        got.s.memory = 0;
        if (end.kind != IR_END_TRAP || memcmp(&want.s.v, &got.s.v, sizeof want.s.v) != 0 ||
            memcmp(want.s.t, got.s.t, sizeof want.s.t) != 0 ||
            memcmp(want.memory, got.memory, sizeof want.memory) != 0)
            return false;
    }
    return true;
}

static bool t_counts(const struct ir_func *f, ir_ref r)
{
    const struct ir_ins *i = &f->ins[r];

    /* what only a state map wants is not computed where the loop runs */
    for (ir_ref k = r + 1; k < f->nins; k++) {
        const struct ir_ins *u = &f->ins[k];

        if (u->op == IR_PHI || u->op == IR_PUT) continue;
        for (unsigned n = 0; n < 3; n++)
            if (ir_ops[u->op].opd[n] >= IR_OPD_R && ir_ops[u->op].opd[n] <= IR_OPD_C &&
                (n == 0   ? u->a
                 : n == 1 ? u->b
                          : u->c) == r)
                return ir_ops[i->op].cls == IR_CLASS_P;
    }
    return i->op == IR_LD || i->op == IR_ST;
}

/* Operations of the loop that the last back edge closes. */
static unsigned t_loop(const struct ir_func *f)
{
    ir_ref head = IR_NIL, latch = IR_NIL;
    unsigned n = 0;

    for (ir_ref r = IR_BIAS; r < f->nins; r++) {
        const struct ir_ins *i = &f->ins[r];
        ir_ref to = i->op == IR_JMP                            ? i->a
                    : i->op == IR_BR && (i->b < r || i->c < r) ? (i->b < r ? i->b : i->c)
                                                               : IR_NIL;

        if (to == IR_NIL || to > r) continue;
        head = to;
        latch = r;
    }
    for (ir_ref r = head; head && r < latch; r++) n += t_counts(f, r);
    return n;
}

static void t_program(void (*write)(struct toy_text *t))
{
    struct toy_text t = {0};
    struct ir_func *f = ir_func_new(&toy_guest), *better = NULL;
    struct opt *o = opt_new(&toy_guest);
    const struct opt_config cfg = {.verify = true};
    struct base_text text = {0};
    const char *why;

    write(&t);
    toy_form(f, t.code, t.count);
    t_result(ir_verify(f, &text), &t, "is valid IR", text.data);
    t_result(t_same(&t, f), &t, "does what the machine does", "it does not");
    why = opt_run(o, f, &cfg, &better);
    t_result(!why, &t, "is optimised", why);
    if (!why) {
        unsigned n = t_loop(better);

        t_result(t_same(&t, better), &t, "does so when optimised", "it does not");
        if (n > t.loop_at_most) ir_print(better, &text);
        printf("%s: %u operations in the loop\n", t.name, n);
        t_result(n && n <= t.loop_at_most, &t, "has a short loop", text.data);
    }
    base_text_free(&text);
    opt_free(o);
    ir_func_free(f);
}

int main(void)
{
    t_program(toy_sum);
    t_program(toy_factorial);
    t_program(toy_squares);
    return t_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
