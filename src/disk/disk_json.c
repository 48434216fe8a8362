/* disk_json.c: JSON as it is written. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_json.h"

#include <stdlib.h>

/* How many bytes of v are one well-formed UTF-8 character above ASCII (RFC 3629), or 0. A file name
 * can be any bytes, JSON only Unicode. */
static unsigned utf8_length(const unsigned char *v)
{
    unsigned n = v[0] >= 0xf0 ? 4 : v[0] >= 0xe0 ? 3 : 2;

    if (v[0] < 0xc2 || v[0] > 0xf4)
        return 0;
    for (unsigned i = 1; i < n; i++)
        if ((v[i] & 0xc0) != 0x80)
            return 0;
    if ((v[0] == 0xe0 && v[1] < 0xa0) || (v[0] == 0xed && v[1] > 0x9f) ||
        (v[0] == 0xf0 && v[1] < 0x90) || (v[0] == 0xf4 && v[1] > 0x8f))
        return 0;
    return n;
}

static void put_string(struct base_text *t, const char *v)
{
    base_text_append(t, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)v; *p; p++) {
        unsigned n = *p >= 0x80 ? utf8_length(p) : 1;

        if (*p == '"' || *p == '\\') {
            base_text_printf(t, "\\%c", *p);
        } else if (*p < 0x20 || !n) {
            base_text_printf(t, "\\u%04x", *p < 0x80 ? *p : 0xfffd);
        } else {
            base_text_append(t, p, n);
            p += n - 1;
        }
    }
    base_text_append(t, "\"", 1);
}

static void put_key(struct disk_json *j, const char *key)
{
    if (j->depth) {
        base_text_printf(&j->text, "%s\n%*s", j->open[j->depth - 1].any ? "," : "",
                         (int)j->depth * 2, "");
        j->open[j->depth - 1].any = true;
    }
    if (key) {
        put_string(&j->text, key);
        base_text_append(&j->text, ": ", 2);
    }
}

static void open_with(struct disk_json *j, const char *key, char opening, char closing)
{
    BASE_ASSERT(j->depth < DISK_JSON_DEPTH);
    put_key(j, key);
    base_text_append(&j->text, &opening, 1);
    j->open[j->depth].close = closing;
    j->open[j->depth++].any = false;
}

void disk_json_object(struct disk_json *j, const char *key)
{
    open_with(j, key, '{', '}');
}

void disk_json_array(struct disk_json *j, const char *key)
{
    open_with(j, key, '[', ']');
}

void disk_json_end(struct disk_json *j)
{
    BASE_ASSERT(j->depth);
    j->depth--;
    if (j->open[j->depth].any)
        base_text_printf(&j->text, "\n%*s", (int)j->depth * 2, "");
    base_text_append(&j->text, &j->open[j->depth].close, 1);
}

void disk_json_number(struct disk_json *j, const char *key, uint64_t v)
{
    put_key(j, key);
    base_text_printf(&j->text, "%llu", (unsigned long long)v);
}

void disk_json_real(struct disk_json *j, const char *key, double v)
{
    put_key(j, key);
    base_text_printf(&j->text, "%.6f", v);
}

void disk_json_bool(struct disk_json *j, const char *key, bool v)
{
    put_key(j, key);
    base_text_printf(&j->text, "%s", v ? "true" : "false");
}

void disk_json_string(struct disk_json *j, const char *key, const char *v)
{
    put_key(j, key);
    if (v)
        put_string(&j->text, v);
    else
        base_text_printf(&j->text, "null");
}

void disk_json_print(struct disk_json *j, FILE *out)
{
    BASE_ASSERT(!j->depth);
    fprintf(out, "%s\n", j->text.data);
    base_text_free(&j->text);
}
