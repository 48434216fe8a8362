/* base_softfp.h: reference floating point on integers. SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SOFTFP_H
#define BASE_SOFTFP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * IEEE 754-2019 binary16, binary32 and binary64 under the conventions of the RISC-V unprivileged
 * specification (chapters "F", "D", "Zfh" and "Zfa"):
 *   - every NaN that is a result is the canonical one (F, "NaN Generation and Propagation");
 *   - tininess is detected after rounding (F, "Subnormal Arithmetic");
 *   - subnormals are neither flushed on input nor on output.
 *
 * A value is its bits in the low end of a uint64_t. Bits above the format are ignored in arguments
 * and zero in results: NaN boxing is the caller's business. No function touches the host's
 * floating-point state or any global; all are safe from any thread and deterministic on any host.
 */
enum sf_type { SF_F16, SF_F32, SF_F64 };

/* Rounding modes and flags have the numbers of the fcsr fields frm and fflags (F, "Floating-Point
 * Control and Status Register"). */
enum sf_rm { SF_RNE, SF_RTZ, SF_RDN, SF_RUP, SF_RMM };
enum sf_flag { SF_NX = 1, SF_UF = 2, SF_OF = 4, SF_DZ = 8, SF_NV = 16 };

struct sf_env {
    uint32_t flags; /* accrued: functions set bits of enum sf_flag, never clear one */
    uint32_t rm;    /* an enum sf_rm; reserved values must have been rejected by the caller */
};

/* Arithmetic, rounded by e->rm (F, "Single-Precision Floating-Point Computational Instructions").
 * sf_fma is a * b + c with one rounding; fmsub, fnmadd and fnmsub flip operands' signs. An
 * infinity times zero raises NV even when c is a quiet NaN. */
uint64_t sf_add(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
uint64_t sf_sub(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
uint64_t sf_mul(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
uint64_t sf_div(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
uint64_t sf_sqrt(enum sf_type t, uint64_t a, struct sf_env *e);
uint64_t sf_fma(enum sf_type t, uint64_t a, uint64_t b, uint64_t c, struct sf_env *e);

/* fmin, fmax (F): IEEE 754-2019 minimumNumber, maximumNumber. -0 is below +0, one NaN gives the
 * other operand, two NaNs the canonical NaN; a signalling NaN raises NV in any case. */
uint64_t sf_min(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
uint64_t sf_max(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);

/* fminm, fmaxm (Zfa, "Minimum and Maximum Instructions"): as above, but any NaN gives the
 * canonical NaN. */
uint64_t sf_minm(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
uint64_t sf_maxm(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);

/* feq, flt, fle (F, "Floating-Point Compare Instructions"): 0 or 1, 0 if unordered. sf_eq raises
 * NV for signalling NaNs, sf_lt and sf_le for all NaNs. sf_ltq and sf_leq are fltq and fleq (Zfa,
 * "Comparison Instructions"): as quiet as sf_eq. */
int sf_eq(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
int sf_lt(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
int sf_le(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
int sf_ltq(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);
int sf_leq(enum sf_type t, uint64_t a, uint64_t b, struct sf_env *e);

/* From one format to another, fcvt.fmt.fmt (D, Zfh). A NaN becomes the canonical NaN of `to`. */
uint64_t sf_to_f(enum sf_type from, enum sf_type to, uint64_t a, struct sf_env *e);

/* fcvt.{w,wu,l,lu}.fmt (F, "Single-Precision Floating-Point Conversion and Move Instructions"):
 * `bits` is 32 or 64. Out of range after rounding gives the nearest limit, a NaN the greatest
 * value, both with NV and without NX. The result of 32 bits is zero extended: fcvt.w and fcvt.wu
 * both sign extend it, in the caller. */
uint64_t sf_to_int(enum sf_type t, uint64_t a, int bits, bool is_signed, struct sf_env *e);

/* fcvt.fmt.{w,wu,l,lu} (F): of v only the low `bits` (32 or 64) count. Zero gives +0. */
uint64_t sf_from_int(enum sf_type t, uint64_t v, int bits, bool is_signed, struct sf_env *e);

/* fround, and froundnx if `exact` (Zfa, "Round-to-Integer Instructions"): to an integral value in
 * the same format, sign kept for zero results. Only with `exact` does it raise NX. */
uint64_t sf_round(enum sf_type t, uint64_t a, struct sf_env *e, bool exact);

/* fcvtmod.w.d (Zfa, "Modular Convert-to-Integer Instruction"): a binary64 truncated whatever e->rm,
 * modulo 2^32, sign extended to 64 bits; 0 for infinities and NaNs. Flags are those of fcvt.w.d of
 * the same operand with rtz. */
uint64_t sf_to_int_mod(uint64_t a, struct sf_env *e);

/* fclass (F, "Single-Precision Floating-Point Classify Instruction"): the mask with one bit set, 0
 * for -inf, 1 negative normal, 2 negative subnormal, 3 -0, 4 +0, 5 positive subnormal, 6 positive
 * normal, 7 +inf, 8 signalling NaN, 9 quiet NaN. */
uint32_t sf_classify(enum sf_type t, uint64_t a);

bool sf_is_nan(enum sf_type t, uint64_t a);
bool sf_is_snan(enum sf_type t, uint64_t a);

/* The positive quiet NaN with only the top bit of the fraction set. */
uint64_t sf_canonical_nan(enum sf_type t);

#endif
