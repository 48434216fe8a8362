/* opt_toy.c: a stack machine, as a second guest (opt_toy.h). SPDX-License-Identifier: Apache-2.0
 *
 * What docs/adding-a-guest.md asks for, as small as it gets: state, slots, a lifter. The former
 * is simpler than a real one: a program is short, so all of it becomes one function.
 */
#include "opt_toy.h"

#include "ir/ir_priv.h"

/* ---- the guest ------------------------------------------------------- */

#define TOY_V(n)                                                                                   \
    {                                                                                              \
        "v" #n, IR_I32, offsetof(struct toy_state, v) + 4 * (n)                                    \
    }
#define TOY_T(n)                                                                                   \
    {                                                                                              \
        "t" #n, IR_I32, offsetof(struct toy_state, t) + 4 * (n)                                    \
    }
static const struct ir_slot toy_slots[] = {TOY_V(0),
                                           TOY_V(1),
                                           TOY_V(2),
                                           TOY_V(3),
                                           TOY_V(4),
                                           TOY_V(5),
                                           TOY_V(6),
                                           TOY_V(7),
                                           TOY_T(0),
                                           TOY_T(1),
                                           TOY_T(2),
                                           TOY_T(3),
                                           TOY_T(4),
                                           TOY_T(5),
                                           TOY_T(6),
                                           TOY_T(7),
                                           {"memory", IR_I64, offsetof(struct toy_state, memory)}};
enum { TOY_T0 = TOY_VARS, TOY_MEMORY = TOY_VARS + TOY_STACK };

static void toy_push(struct ir_func *f, unsigned depth, ir_ref v)
{
    BASE_ASSERT(depth < TOY_STACK);
    ir_put(f, TOY_T0 + depth, v);
}
static ir_ref toy_at(struct ir_func *f, unsigned depth)
{
    return ir_get(f, TOY_T0 + depth);
}

/* The address of the word with the index on the stack. */
static ir_ref toy_address(struct ir_func *f, unsigned depth)
{
    ir_ref i = ir_op2(f, IR_AND, IR_I32, toy_at(f, depth), ir_ki(f, IR_I32, TOY_WORDS - 1));

    i = ir_op2(f, IR_SHL, IR_I64, ir_op1(f, IR_ZEXT, IR_I64, i), ir_ki(f, IR_I64, 2));
    return ir_op2(f, IR_ADD, IR_I64, ir_get(f, TOY_MEMORY), i);
}

static void toy_two(struct ir_func *f, unsigned op, unsigned depth)
{
    ir_ref a = toy_at(f, depth - 2);

    toy_push(f, depth - 2, ir_op2(f, op, IR_I32, a, toy_at(f, depth - 1)));
}

static void toy_compare(struct ir_func *f, unsigned cc, unsigned depth)
{
    ir_ref a = toy_at(f, depth - 2);

    toy_push(f, depth - 2, ir_op1(f, IR_ZEXT, IR_I32, ir_cmp(f, cc, a, toy_at(f, depth - 1))));
}

static bool toy_lift(struct ir_func *f, uint64_t pc, const uint8_t *bytes, size_t avail,
                     struct ir_flow *flow)
{
    unsigned depth, k;

    if (avail < TOY_LEN) return false;
    depth = bytes[1];
    k = bytes[2];
    *flow = (struct ir_flow){IR_FLOW_NEXT, TOY_LEN, 0, -1, IR_NIL, IR_NIL};
    switch (bytes[0]) {
    case TOY_PUSH: toy_push(f, depth, ir_ki(f, IR_I32, (uint64_t)(int8_t)k)); break;
    case TOY_LOAD: toy_push(f, depth, ir_get(f, k)); break;
    case TOY_STORE: ir_put(f, k, toy_at(f, depth - 1)); break;
    case TOY_ADD: toy_two(f, IR_ADD, depth); break;
    case TOY_SUB: toy_two(f, IR_SUB, depth); break;
    case TOY_MUL: toy_two(f, IR_MUL, depth); break;
    case TOY_LESS: toy_compare(f, IR_LTS, depth); break;
    case TOY_SAME: toy_compare(f, IR_EQ, depth); break;
    case TOY_FETCH:
        toy_push(f, depth - 1, ir_ld(f, IR_I32, IR_AS_GUEST, toy_address(f, depth - 1), 0));
        break;
    case TOY_KEEP: ir_st(f, IR_AS_GUEST, toy_address(f, depth - 2), 0, toy_at(f, depth - 1)); break;
    case TOY_UNLESS:
        flow->kind = IR_FLOW_BRANCH;
        flow->cond = ir_cmp(f, IR_EQ, toy_at(f, depth - 1), ir_ki(f, IR_I32, 0));
        flow->target = ir_kaddr(f, TOY_LEN * k);
        break;
    case TOY_JUMP:
        flow->kind = IR_FLOW_JUMP;
        flow->target = ir_kaddr(f, TOY_LEN * k);
        break;
    case TOY_STOP:
        flow->kind = IR_FLOW_TRAP;
        ir_emit(f, IR_TRAP, IR_NONE, IR_TRAP_SYSCALL, ir_kaddr(f, pc), 0, 0);
        break;
    default:
        flow->kind = IR_FLOW_TRAP;
        ir_emit(f, IR_TRAP, IR_NONE, IR_TRAP_ILLEGAL, ir_kaddr(f, pc), bytes[0], 0);
        break;
    }
    return true;
}

const struct ir_guest toy_guest = {
    .name = "toy",
    .slots = toy_slots,
    .nslots = BASE_ARRAY_SIZE(toy_slots),
    .state_size = sizeof(struct toy_state),
    .pc_offset = offsetof(struct toy_state, pc),
    .fpenv_offset = offsetof(struct toy_state, fpenv),
    .res_offset = offsetof(struct toy_state, res),
    .max_len = TOY_LEN,
    .lift = toy_lift,
};

/* ---- the former ------------------------------------------------------ */

/* A jump whose block may not be there yet. */
struct toy_fixup {
    ir_ref jump;
    unsigned to;
    bool fall; /* operand c of BR */
};

/* Blocks begin where something jumps to, and behind branches. */
static void toy_leaders(const uint8_t *program, unsigned count, bool *leader)
{
    leader[0] = true;
    for (unsigned n = 0; n < count; n++) {
        const uint8_t *i = program + TOY_LEN * n;

        if (i[0] != TOY_JUMP && i[0] != TOY_UNLESS) continue;
        leader[i[2]] = leader[n + 1] = true;
    }
}

static void toy_instruction(struct ir_func *f, const uint8_t *program, unsigned n, bool last,
                            struct toy_fixup *fix, unsigned *nfix)
{
    struct ir_flow flow;
    unsigned to = program[TOY_LEN * n + 2];

    ir_imark(f, TOY_LEN * n, TOY_LEN);
    if ((program[TOY_LEN * n] == TOY_JUMP || program[TOY_LEN * n] == TOY_UNLESS) && to <= n)
        ir_emit(f, IR_POLL, IR_NONE, 0, 0, 0, 0);
    toy_guest.lift(f, TOY_LEN * n, program + TOY_LEN * n, TOY_LEN, &flow);
    if (flow.kind == IR_FLOW_BRANCH) {
        ir_ref r = ir_emit(f, IR_BR, IR_NONE, 0, flow.cond, 0, 0);

        fix[(*nfix)++] = (struct toy_fixup){r, to, false};
        fix[(*nfix)++] = (struct toy_fixup){r, n + 1, true};
    } else if (flow.kind == IR_FLOW_JUMP || (flow.kind == IR_FLOW_NEXT && last)) {
        fix[(*nfix)++] = (struct toy_fixup){ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0),
                                            flow.kind == IR_FLOW_JUMP ? to : n + 1, false};
    }
}

void toy_form(struct ir_func *f, const uint8_t *program, unsigned count)
{
    bool leader[TOY_MAX + 1] = {0};
    ir_ref block[TOY_MAX + 1] = {0};
    struct toy_fixup fix[2 * TOY_MAX + 1];
    unsigned nfix = 0;

    toy_leaders(program, count, leader);
    fix[nfix++] = (struct toy_fixup){ir_emit(f, IR_JMP, IR_NONE, 0, 0, 0, 0), 0, false};
    for (unsigned n = 0; n < count; n++) {
        if (leader[n]) block[n] = ir_emit(f, IR_BLOCK, IR_NONE, 0, 0, 0, 0);
        toy_instruction(f, program, n, leader[n + 1], fix, &nfix);
    }
    for (unsigned k = 0; k < nfix; k++) {
        struct ir_ins *i = &f->ins[fix[k].jump];

        *(i->op == IR_JMP ? &i->a : fix[k].fall ? &i->c : &i->b) = block[fix[k].to];
    }
}

/* ---- the machine itself ---------------------------------------------- */

void toy_run(struct toy_state *s, const uint8_t *program, int32_t memory[TOY_WORDS])
{
    for (unsigned n = 0;;) {
        const uint8_t *i = program + TOY_LEN * n;
        int32_t *top = s->t + i[1]; /* the next free cell */

        s->pc = TOY_LEN * n++;
        switch (i[0]) {
        case TOY_PUSH: top[0] = (int8_t)i[2]; break;
        case TOY_LOAD: top[0] = s->v[i[2]]; break;
        case TOY_STORE: s->v[i[2]] = top[-1]; break;
        case TOY_ADD: top[-2] += top[-1]; break;
        case TOY_SUB: top[-2] -= top[-1]; break;
        case TOY_MUL: top[-2] *= top[-1]; break;
        case TOY_LESS: top[-2] = top[-2] < top[-1]; break;
        case TOY_SAME: top[-2] = top[-2] == top[-1]; break;
        case TOY_FETCH: top[-1] = memory[top[-1] & (TOY_WORDS - 1)]; break;
        case TOY_KEEP: memory[top[-2] & (TOY_WORDS - 1)] = top[-1]; break;
        case TOY_JUMP: n = i[2]; break;
        case TOY_UNLESS:
            if (!top[-1]) n = i[2];
            break;
        default: return;
        }
    }
}
