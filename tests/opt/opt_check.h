/* opt_check.h: a region before and after the optimiser. SPDX-License-Identifier: Apache-2.0 */
#ifndef ISOMER_TESTS_OPT_CHECK_H
#define ISOMER_TESTS_OPT_CHECK_H

#include "opt_gen.h"
#include "opt/opt.h"

/* Makes a region of the bytes (opt_gen.h), and runs it before and after each pass: of all of them
 * in their order, and of each alone. After each the rules must hold, and the interpreter must do
 * the same from several states. False with what, where and the texts in *why. */
bool opt_check(const uint8_t *bytes, size_t n, struct base_text *why);

/* Makes bytes for which opt_check fails fewer and simpler, as long as it fails. Returns how many
 * are left. */
size_t opt_check_shrink(uint8_t *bytes, size_t n);

#endif
