/* isomer_version.c: the version, from meson.build. SPDX-License-Identifier: Apache-2.0 */
#include "isomer/isomer.h"

const char *isomer_version(void)
{
    return ISOMER_VERSION;
}
