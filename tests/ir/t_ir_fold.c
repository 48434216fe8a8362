/* t_ir_fold.c: folding does not change what a function does. SPDX-License-Identifier: Apache-2.0
 *
 *     t_ir_fold [seed [rounds]]
 *
 * Random functions (ir_gen.h) are checked as written and folded. First, every pure operation
 * by itself with operands of every shape the folding rules look at, on edge values: the rules
 * are few enough to try them all.
 */
#include "ir_gen.h"

#include "ir/ir_priv.h"

#include <stdlib.h>

static unsigned t_failed;

/* ---- every operation ------------------------------------------------- */

static const uint64_t t_edges[] = {0,
                                   1,
                                   2,
                                   7,
                                   31,
                                   32,
                                   63,
                                   64,
                                   0x7f,
                                   0x80,
                                   0xff,
                                   0x7fff,
                                   0x8000,
                                   0xffff,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0x7fffffffffffffff,
                                   0x8000000000000000,
                                   0xffffffffffffffff,
                                   0xfffffffffffffffe,
                                   0xffffffff80000000,
                                   0x123456789abcdef0};

/* Operand shapes: plain, constants, and the definitions that rules look through. */
enum { T_SHAPES = 19 };

static ir_ref t_shape(struct ir_func *f, unsigned shape, unsigned ty, ir_ref x, uint64_t k)
{
    unsigned bits = ir_bits(ty);
    ir_ref kr = ir_ki(f, ty, k), narrow;

    switch (shape) {
    case 0: return x;
    case 1: return kr;
    case 2: return ir_op2(f, IR_ADD, ty, x, kr);
    case 3: return ir_op2(f, IR_AND, ty, x, kr);
    case 4: return ir_op2(f, IR_OR, ty, x, kr);
    case 5: return ir_op2(f, IR_XOR, ty, x, kr);
    case 6: return ir_op2(f, IR_SHL, ty, x, kr);
    case 7: return ir_op2(f, IR_SHR, ty, x, kr);
    case 8: return ir_op2(f, IR_SAR, ty, x, kr);
    case 9: return ir_op1(f, IR_NOT, ty, x);
    case 10: return ir_op1(f, IR_NEG, ty, x);
    case 11: return ir_op2(f, IR_SUB, ty, x, ir_op1(f, IR_NOT, ty, x));
    case 12: return ir_op1(f, IR_ZEXT, ty, ir_cmp(f, IR_LTU, x, kr));
    case 13: return ir_op1(f, IR_BSWAP, ty, x);
    case 17: return ty == IR_I64 ? ir_kaddr(f, k) : kr;
    case 18:
        return ir_op2(f, IR_ADD, ty, kr,
                      ty == IR_I64 ? ir_op2(f, IR_ADD, ty, x, ir_kaddr(f, 64)) : x);
    default:
        if (bits == 8) return x;
        narrow = ir_op1(f, IR_TRUNC, shape == 16 && bits > 16 ? IR_I16 : IR_I8, x);
        return ir_op1(f, shape == 14 ? IR_SEXT : IR_ZEXT, ty, narrow);
    }
}

/* op on two shaped operands in f; results of other types are widened to i64. */
static ir_ref t_build(struct ir_func *f, unsigned op, unsigned ty, unsigned aux, unsigned shapes,
                      uint64_t k)
{
    ir_ref x = ir_get(f, 0), y = ir_get(f, 1), r;

    if (ty != IR_I64) {
        x = ir_op1(f, IR_TRUNC, ty, x);
        y = ir_op1(f, IR_TRUNC, ty, y);
    }
    x = t_shape(f, shapes % T_SHAPES, ty, x, k);
    if (ir_ops[op].opd[1] != IR_OPD__) y = t_shape(f, shapes / T_SHAPES, ty, y, k);
    switch (op) {
    case IR_SEXT:
    case IR_ZEXT:
    case IR_TRUNC: /* aux: how far down to go first */
        if (IR_I1 + aux >= ty) aux = 0;
        r = ir_op1(f, IR_TRUNC, IR_I1 + aux, x);
        if (op != IR_TRUNC) r = ir_op1(f, op, ty, r);
        break;
    case IR_CMP: r = ir_cmp(f, aux, x, y); break;
    case IR_SEL: r = ir_emit(f, op, ty, 0, ir_cmp(f, aux, x, y), x, y); break;
    default: r = ir_emit(f, op, ty, 0, x, ir_ops[op].opd[1] ? y : IR_NIL, 0); break;
    }
    return ir_ty(f, r) == IR_I64 ? r : ir_op1(f, IR_ZEXT, IR_I64, r);
}

static bool t_compare(struct ir_func *plain, struct ir_func *folded, uint64_t a, uint64_t b)
{
    uint64_t state[2][IR_NOGUEST_SIZE / 8] = {{a, b}, {a, b}};
    const struct ir_mem mem = {0};
    struct ir_end end;

    ir_interp(plain, state[0], &mem, NULL, &end);
    ir_interp(folded, state[1], &mem, NULL, &end);
    return state[0][2] == state[1][2];
}

static void t_one(struct ir_func *f[2], unsigned op, unsigned ty, unsigned aux, unsigned shapes,
                  uint64_t k)
{
    static unsigned turn;

    for (unsigned n = 0; n < 2; n++) {
        ir_func_reset(f[n]);
        f[n]->flags = n ? 0 : IR_FLAG_NOFOLD;
        ir_put(f[n], 2, t_build(f[n], op, ty, aux, shapes, k));
        ir_emit(f[n], IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(f[n], 0), 0, 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        uint64_t a = t_edges[turn++ % BASE_ARRAY_SIZE(t_edges)];
        uint64_t b = t_edges[(turn * 7 + turn / 23) % BASE_ARRAY_SIZE(t_edges)];

        if (!t_compare(f[0], f[1], a, b) && t_failed++ < 20) {
            struct base_text text = {0};

            ir_print(f[0], &text);
            ir_print(f[1], &text);
            printf("not ok - %s: differs on 0x%llx, 0x%llx\n%s", ir_ops[op].name,
                   (unsigned long long)a, (unsigned long long)b, text.data);
            base_text_free(&text);
        }
    }
}

static void t_op(unsigned op)
{
    struct ir_func *f[2] = {ir_func_new(NULL), ir_func_new(NULL)};
    unsigned failed = t_failed, conditions = op == IR_CMP || op == IR_SEL ? IR_GEU + 1
                                             : op == IR_SEXT || op == IR_ZEXT || op == IR_TRUNC ? 4
                                                                                                : 1;
    unsigned both = ir_ops[op].opd[1] != IR_OPD__ ? T_SHAPES * T_SHAPES : T_SHAPES;

    for (unsigned ty = IR_I8; ty <= IR_I64; ty++)
        for (unsigned shapes = 0; shapes < both; shapes++)
            for (unsigned aux = 0; aux < conditions; aux++)
                for (unsigned k = 0; k < BASE_ARRAY_SIZE(t_edges); k += 1 + (conditions > 1) * 2)
                    t_one(f, op, ty, aux, shapes, t_edges[k]);
    ir_func_free(f[0]);
    ir_func_free(f[1]);
    if (t_failed == failed) printf("ok - every shape of %s\n", ir_ops[op].name);
}

/* ---- random functions ------------------------------------------------ */

static void t_random(uint64_t seed, unsigned rounds)
{
    uint8_t bytes[400];
    unsigned failed = t_failed;

    for (unsigned n = 0; n < rounds; n++) {
        uint64_t s = seed + n;
        size_t len = base_rand(&s) % sizeof bytes;
        struct base_text why = {0};

        for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)base_rand(&s);
        if (!ir_gen_check(bytes, len, &why) && t_failed++ < failed + 3)
            printf("not ok - t_ir_fold %llu 1: %s", (unsigned long long)(seed + n), why.data);
        base_text_free(&why);
    }
    if (t_failed == failed)
        printf("ok - %u random functions from seed %llu\n", rounds, (unsigned long long)seed);
}

int main(int argc, char **argv)
{
    const char *longer = getenv("TEST_LONG");
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : base_now_ns() % 1000000000;
    unsigned rounds = argc > 2            ? (unsigned)strtoul(argv[2], NULL, 0)
                      : longer && *longer ? 1000000
                                          : 5000;

    if (argc <= 1)
        for (unsigned op = 0; op < IR_OP_COUNT; op++)
            if (ir_ops[op].cls == IR_CLASS_P && ir_ops[op].types >> IR_I8 & 1 && op != IR_BITCAST &&
                op != IR_FCVTFI)
                t_op(op);
    t_op(IR_CMP);
    t_random(seed, rounds);
    return t_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
