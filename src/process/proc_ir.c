/* proc_ir.c: isomer_ir_tool(). SPDX-License-Identifier: Apache-2.0
 *
 * The tools for IR text know no guest; here is where guests have names.
 */
#include "guest/rv64/rv.h"
#include "isomer/isomer.h"
#include "opt/opt.h"

int isomer_ir_tool(const struct isomer_ir_options *o, const char *verb, const char *file, FILE *out)
{
    const struct ir_guest *guest = o->guest && !strcmp(o->guest, "rv64") ? &rv64_guest : NULL;
    const struct opt_tool t = {guest, o->passes, o->stop_after, o->each};

    if (!strcmp(verb, "opt"))
        return opt_tool(&t, file, out);
    return ir_tool(verb, file, guest, out);
}
