/* fuzz_image.c: images as inputs. SPDX-License-Identifier: Apache-2.0
 *
 * In binary: "FuzzDisk", then records: a kind (one byte), a number (eight), a length (four, content
 * only), content. Records are carried out in their order; what is cut off or unknown ends them.
 */
#include "fuzz_image.h"

static const char magic[8] = "FuzzDisk";
enum { MAGIC = sizeof magic, HEAD = 13 };
enum { KIND_BASE = 'b', KIND_SIZE = 's', KIND_SEED = 'r', KIND_PUT = 'p' };

/* ---- records --------------------------------------------------------- */

struct record {
    uint8_t kind;
    uint64_t number;
    const uint8_t *data;
    uint32_t len;
};

static bool next_record(const uint8_t **p, size_t *n, struct record *r)
{
    if (*n < HEAD)
        return false;
    r->kind = **p;
    memcpy(&r->number, *p + 1, 8);
    memcpy(&r->len, *p + 9, 4);
    r->data = *p + HEAD;
    if (r->len > *n - HEAD)
        r->len = (uint32_t)(*n - HEAD);
    *p += HEAD + r->len;
    *n -= HEAD + r->len;
    return true;
}

static bool add_record(struct fuzz_image *im, uint8_t kind, uint64_t number, const void *data,
                       size_t len)
{
    uint8_t *p = im->data + im->n;
    uint32_t n = (uint32_t)len;

    if (im->max - im->n < HEAD + len)
        return false;
    p[0] = kind;
    memcpy(p + 1, &number, 8);
    memcpy(p + 9, &n, 4);
    if (len)
        memcpy(p + HEAD, data, len);
    im->n += HEAD + len;
    return true;
}

static void carry_out(const struct record *r, uint64_t *seed)
{
    switch (r->kind) {
    case KIND_BASE: fuzz_base_load((unsigned)(r->number % fuzz_base_count())); break;
    case KIND_SIZE: fuzz_fs_truncate(FUZZ_IMAGE, r->number); break;
    case KIND_SEED: *seed = r->number; break;
    case KIND_PUT: fuzz_fs_write(FUZZ_IMAGE, r->number, r->data, r->len); break;
    default: break;
    }
}

/* ---- text ------------------------------------------------------------ */

static unsigned base_number(const char *name)
{
    for (unsigned i = 0; i < fuzz_base_count(); i++)
        if (!strcmp(fuzz_base_name(i), name))
            return i;
    return 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t from_hex(const char *hex, uint8_t *to)
{
    size_t n = 0;

    for (; digit(hex[0]) >= 0 && digit(hex[1]) >= 0; hex += 2)
        to[n++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
    return n;
}

static void line_to_record(const char *line, struct fuzz_image *im)
{
    char name[FUZZ_BASE_NAME] = "";
    unsigned long long number;
    uint8_t bytes[4096];
    int at = 0;

    if (sscanf(line, "base %39s", name) == 1)
        add_record(im, KIND_BASE, base_number(name), NULL, 0);
    else if (sscanf(line, "seed 0x%llx", &number) == 1)
        add_record(im, KIND_SEED, number, NULL, 0);
    else if (sscanf(line, "size 0x%llx", &number) == 1)
        add_record(im, KIND_SIZE, number, NULL, 0);
    else if (sscanf(line, "0x%llx %n", &number, &at) == 1 && at && strlen(line + at) <= 8192)
        add_record(im, KIND_PUT, number, bytes, from_hex(line + at, bytes));
}

static void parse_text(const uint8_t *data, size_t n, struct fuzz_image *im)
{
    char *text = base_alloc(n + 1), *save = NULL;

    memcpy(text, data, n);
    text[n] = 0;
    memcpy(im->data, magic, MAGIC);
    im->n = MAGIC;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        line_to_record(line, im);
    free(text);
}

struct text_lines { struct base_text *to; };

/* Rows of 32 bytes that are not all zero. */
static void page_text(void *context, uint64_t off, const uint8_t *page, size_t n)
{
    struct text_lines *t = context;

    for (size_t at = 0; at < n; at += 32) {
        size_t len = n - at < 32 ? n - at : 32;

        while (len && !page[at + len - 1])
            len--;
        if (!len)
            continue;
        base_text_printf(t->to, "0x%llx ", (unsigned long long)(off + at));
        for (size_t i = 0; i < len; i++)
            base_text_printf(t->to, "%02x", page[at + i]);
        base_text_printf(t->to, "\n");
    }
}

/* What lies above an image that text must not contain. */
static void put_text(const uint8_t *data, size_t n, struct base_text *to)
{
    struct record r;

    for (const uint8_t *p = data + MAGIC, *end = data + n; p < end;) {
        size_t left = (size_t)(end - p);

        if (!next_record(&p, &left, &r))
            break;
        if (r.kind == KIND_BASE)
            base_text_printf(to, "base %s\n",
                             fuzz_base_name((unsigned)(r.number % fuzz_base_count())));
        if (r.kind == KIND_SIZE)
            base_text_printf(to, "size 0x%llx\n", (unsigned long long)r.number);
        for (uint32_t at = 0; r.kind == KIND_PUT && at < r.len; at += 32) {
            base_text_printf(to, "0x%llx ", (unsigned long long)(r.number + at));
            for (uint32_t i = at; i < r.len && i < at + 32; i++)
                base_text_printf(to, "%02x", r.data[i]);
            base_text_printf(to, "\n");
        }
    }
}

static bool names_large_base(const uint8_t *data, size_t n)
{
    struct record r;
    size_t left = n - MAGIC;
    const uint8_t *p = data + MAGIC;
    bool large = false;

    while (next_record(&p, &left, &r))
        if (r.kind == KIND_BASE)
            large = fuzz_base_large((unsigned)(r.number % fuzz_base_count()));
    return large;
}

void fuzz_image_text(const uint8_t *data, size_t n, struct base_text *to)
{
    uint64_t seed = fuzz_image_load(data, n);
    struct text_lines t = {to};

    base_text_printf(to, "# \n");
    if (n >= MAGIC && !memcmp(data, magic, MAGIC) && names_large_base(data, n)) {
        put_text(data, n, to);
    } else {
        base_text_printf(to, "size 0x%llx\n", (unsigned long long)fuzz_fs_length(FUZZ_IMAGE));
        fuzz_fs_each(FUZZ_IMAGE, page_text, &t);
    }
    base_text_printf(to, "seed 0x%llx\n", (unsigned long long)seed);
}

/* ---- inputs ---------------------------------------------------------- */

static bool is_text(const uint8_t *data, size_t n)
{
    return n > 2 && !memcmp(data, "# ", 2) && data[2] != 'D'; /* a VMDK descriptor begins so */
}

/* What FUZZ_IMAGE was made from last; making an input leaves it so. */
static struct { uint8_t data[4096]; size_t n; uint64_t seed; } last;

static void remember(const uint8_t *data, size_t n, uint64_t seed)
{
    last.n = n <= sizeof last.data ? n : 0;
    if (last.n)
        memcpy(last.data, data, n);
    last.seed = seed;
    fuzz_fs_settle(FUZZ_IMAGE);
}

uint64_t fuzz_image_load(const uint8_t *data, size_t n)
{
    struct fuzz_image im = {.max = 0};
    const uint8_t *all = data;
    uint64_t seed = n, all_n = n;
    struct record r;

    if (n && n == last.n && !memcmp(data, last.data, n) && !fuzz_fs_changed(FUZZ_IMAGE))
        return last.seed;
    last.n = 0;
    if (n <= MAGIC || memcmp(data, magic, MAGIC) || data[MAGIC] != KIND_BASE) {
        fuzz_base_load(0); /* all but the image, which begins empty */
        fuzz_fs_truncate(FUZZ_IMAGE, 0);
    }
    if (is_text(data, n)) {
        im = (struct fuzz_image){base_alloc(FUZZ_INPUT_MAX), 0, FUZZ_INPUT_MAX};
        parse_text(data, n, &im);
        data = im.data;
        n = im.n;
    }
    if (n < MAGIC || memcmp(data, magic, MAGIC)) {
        fuzz_fs_write(FUZZ_IMAGE, 0, data, n);
        return seed;
    }
    data += MAGIC;
    n -= MAGIC;
    while (next_record(&data, &n, &r))
        carry_out(&r, &seed);
    free(im.data);
    remember(all, all_n, seed);
    return seed;
}

void fuzz_image_begin(struct fuzz_image *im, bool keep, uint64_t base)
{
    uint8_t *copy;

    if (!keep) {
        memcpy(im->data, magic, MAGIC);
        im->n = MAGIC;
        add_record(im, KIND_BASE, base % fuzz_base_count(), NULL, 0);
    } else if (im->n < MAGIC || memcmp(im->data, magic, MAGIC)) {
        size_t n = im->n;

        copy = base_alloc(n + 1);
        memcpy(copy, im->data, n);
        if (is_text(copy, n)) {
            parse_text(copy, n, im);
        } else {
            memcpy(im->data, magic, MAGIC);
            im->n = MAGIC;
            add_record(im, KIND_PUT, 0, copy, n);
        }
        free(copy);
    }
    fuzz_image_load(im->data, im->n);
}

bool fuzz_image_put(struct fuzz_image *im, uint64_t off, const void *p, size_t n)
{
    return fuzz_fs_write(FUZZ_IMAGE, off, p, n) && add_record(im, KIND_PUT, off, p, n);
}

void fuzz_image_resize(struct fuzz_image *im, uint64_t size)
{
    fuzz_fs_truncate(FUZZ_IMAGE, size);
    add_record(im, KIND_SIZE, size, NULL, 0);
}

void fuzz_image_seed(struct fuzz_image *im, uint64_t seed)
{
    if (add_record(im, KIND_SEED, seed, NULL, 0))
        remember(im->data, im->n, seed);
}
