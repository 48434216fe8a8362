/* disk_json.h: JSON as it is written. Private to src/disk. SPDX-License-Identifier: Apache-2.0
 *
 * Objects and arrays are opened with their key (NULL inside an array and for the outermost) and
 * closed with disk_json_end; the text is complete when all are closed.
 */
#ifndef DISK_JSON_H
#define DISK_JSON_H

#include "base/base.h"

enum { DISK_JSON_DEPTH = 16 };

struct disk_json {
    struct base_text text;
    unsigned depth;
    struct {
        char close;
        bool any;
    } open[DISK_JSON_DEPTH];
};

void disk_json_object(struct disk_json *j, const char *key);
void disk_json_array(struct disk_json *j, const char *key);
void disk_json_end(struct disk_json *j);
void disk_json_number(struct disk_json *j, const char *key, uint64_t v);
void disk_json_real(struct disk_json *j, const char *key, double v);
void disk_json_bool(struct disk_json *j, const char *key, bool v);
void disk_json_string(struct disk_json *j, const char *key, const char *v); /* NULL: null */
void disk_json_print(struct disk_json *j, FILE *out); /* and frees */

#endif
