/* rv.h: the RV64 guest: its state, and its entry into the IR.
 * SPDX-License-Identifier: Apache-2.0
 *
 * User-mode RISC-V, little-endian: RV64IMAFDC and what RVA22 and RVA23 ask of
 * user mode, vectors aside (the list is RV64_ISA below and spec/rv64.isa).
 * Source: The RISC-V Instruction Set Manual, Volume I.
 */
#ifndef ISOMER_RV_H
#define ISOMER_RV_H

#include "ir/ir.h"

/* One hart. x[0] is always zero: nothing writes it. f[] holds raw registers:
 * narrower values are NaN-boxed (D extension, "NaN Boxing of Narrower
 * Values"). fcsr is fp: fflags in fp.flags, frm in fp.rm. */
struct rv_state {
    uint64_t x[32];
    uint64_t f[32];
    uint64_t pc;
    struct ir_fpenv fp;
    struct ir_reservation res;
};
_Static_assert(offsetof(struct rv_state, x) == 0, "x is reached without displacement");
_Static_assert(sizeof(struct rv_state) <= 1024, "the engine adds its own fields behind");

/* Slots: integer registers, then floating-point registers. */
enum { RV_X0 = 0, RV_F0 = 32, RV_SLOTS = 64 };

/* Integer registers by their ABI names. */
enum rv_reg {
    RV_ZERO, RV_RA, RV_SP, RV_GP, RV_TP, RV_T0, RV_T1, RV_T2,
    RV_S0, RV_S1, RV_A0, RV_A1, RV_A2, RV_A3, RV_A4, RV_A5,
    RV_A6, RV_A7, RV_S2, RV_S3, RV_S4, RV_S5, RV_S6, RV_S7,
    RV_S8, RV_S9, RV_S10, RV_S11, RV_T3, RV_T4, RV_T5, RV_T6
};

extern const struct ir_guest rv64_guest;

/* A hart at reset: registers zero, round to nearest even, no reservation. */
void rv_state_init(struct rv_state *s, uint64_t pc);

/* fcsr as the CSR reads: frm in bits 5..7, fflags in bits 0..4. */
static inline uint32_t rv_fcsr(const struct rv_state *s)
{
    return (s->fp.rm & 7) << 5 | (s->fp.flags & 31);
}
static inline void rv_set_fcsr(struct rv_state *s, uint32_t v)
{
    s->fp.flags = v & 31;
    s->fp.rm = v >> 5 & 7;
}

/* What programs are told: the isa line of /proc/cpuinfo, and AT_HWCAP. */
#define RV64_ISA                                                               \
    "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintntl_"  \
    "zihintpause_zimop_zaamo_zacas_zalrsc_zawrs_zfa_zfh_zfhmin_zca_zcb_zcd_"   \
    "zcmop_zba_zbb_zbc_zbkb_zbs"
#define RV64_HWCAP_BIT(letter) (1ul << ((letter) - 'a'))
#define RV64_HWCAP                                                             \
    (RV64_HWCAP_BIT('i') | RV64_HWCAP_BIT('m') | RV64_HWCAP_BIT('a') |         \
     RV64_HWCAP_BIT('f') | RV64_HWCAP_BIT('d') | RV64_HWCAP_BIT('c'))
enum { RV64_CBO_BLOCK = 64 }; /* bytes of cbo.zero and of cbo.clean */

#endif
