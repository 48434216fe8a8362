/* x64_stubs.h: what x64_stubs.c gives to the host table (see struct jit_host).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_X64_STUBS_H
#define ISOMER_X64_STUBS_H

#include "host/x64/x64.h"

enum { X64_LINK_STUB = 9, X64_LINK_SKIP = 5, X64_LINK_STUB_JUMP = X64_LINK_STUB + X64_LINK_SKIP };

size_t x64_make_stubs(struct jit *j, uint8_t *rw, const uint8_t *rx, size_t room);
void x64_enter(struct jit_vcpu *v, const void *code);
const void *x64_abandon_code(struct jit *j);
size_t x64_link_stub(struct jit *j, uint8_t *rw, const uint8_t *rx, uint32_t id, bool deopt,
                     bool jump);
bool x64_patchable(const uint8_t *site_rx);
void x64_patch(uint8_t *site_rw, const uint8_t *site_rx, const uint8_t *target);
void x64_regs_from_ucontext(struct jit_regs *r, uint32_t *fpstatus, const void *uc);
uint64_t x64_pc_of_ucontext(const void *uc);
uint64_t x64_sp_of_ucontext(const void *uc);
void x64_set_ucontext(void *uc, uint64_t pc, uint64_t sp);
void x64_fp_load(struct jit_vcpu *v, const struct ir_fpenv *env);
void x64_fp_store(const struct jit_vcpu *v, struct ir_fpenv *env);

/* x64_strip.c: what JIT_STUB_STRIP calls. */
void x64_strip(struct jit_vcpu *v);

#endif
