/* rv_decode.c: the generated decoder. SPDX-License-Identifier: Apache-2.0 */
#include "rv_insn.h"

#include "rv_decode.gen.h"
