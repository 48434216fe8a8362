/* rv_region.h: forms regions for tests without the engine. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_RV_REGION_H
#define ISOMER_RV_REGION_H

#include "rv.h"

/* Appends the way the instruction passes control on; true if the region ends.
 * A branch becomes a side exit and the fall-through continues. */
static inline bool rv_region_follow(struct ir_func *f, const struct ir_flow *flow, uint64_t pc,
                                    bool last)
{
    uint64_t next = pc + flow->len;
    unsigned kind = flow->kind == IR_FLOW_CALL  ? IR_EXIT_CALL
                    : flow->kind == IR_FLOW_RET ? IR_EXIT_RET
                                                : IR_EXIT_JUMP;
    if (flow->kind == IR_FLOW_TRAP)
        return true;
    if (flow->kind == IR_FLOW_BRANCH) {
        ir_emit(f, IR_SIDE, IR_NONE, 0, flow->cond, flow->target, 0);
    } else if (flow->kind != IR_FLOW_NEXT) {
        ir_ref ret = ir_kaddr(f, next);
        if (flow->link_slot >= 0)
            ir_put(f, (unsigned)flow->link_slot, ret);
        ir_emit(f, IR_EXIT, IR_NONE, kind, flow->target, kind == IR_EXIT_CALL ? ret : IR_NIL, 0);
        return true;
    }
    if (last || flow->reform) {
        ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(f, next), IR_NIL, 0);
        return true;
    }
    return false;
}

/* Lifts up to max instructions from s->pc; code[0..size) is what stands there.
 * False if nothing could be lifted. *end gets the pc behind the last one. */
static inline bool rv_region_form(struct ir_func *f, const struct rv_state *s, unsigned max,
                                  const uint8_t *code, size_t size, uint64_t *end)
{
    struct ir_flow flow;
    uint64_t pc = s->pc;
    ir_func_reset(f);
    f->mode = rv64_guest.mode(s);
    f->key = pc | (uint64_t)f->mode << 60;
    for (unsigned n = 1;; n++) {
        size_t at = pc - s->pc;
        size_t need = at < size && (code[at] & 3) == 3 ? 4 : 2;
        if (size - at < need) {
            if (n == 1)
                return false;
            ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(f, pc), IR_NIL, 0);
            *end = pc;
            return true;
        }
        ir_imark(f, pc, (unsigned)need);
        BASE_ASSERT(rv64_guest.lift(f, pc, code + at, size - at, &flow));
        f->nguest = n;
        *end = pc + flow.len;
        if (rv_region_follow(f, &flow, pc, n >= max || ir_func_full(f)))
            return true;
        pc += flow.len;
    }
}

#endif
