/* t_jit_record.c: records of stored translations. SPDX-License-Identifier: Apache-2.0
 *
 *     t_jit_record [seed [mutations]]
 *
 * A record gives back what it was made of, moves there and back, and is refused when a number in
 * it cannot be right. Last, records damaged at random: whatever passes must lie inside its bytes
 * (the build with sanitizers sees to that), with a sum that is right, too.
 */
#include "jit/jit_store.h"

#include <stdio.h>
#include <stdlib.h>

enum { AT = 0x1234, PC = 0x10400, MUTATIONS = 20000 };

static unsigned failures;

static void check(const char *name, bool ok)
{
    if (!ok)
        failures++;
    printf("%sok - %s\n", ok ? "" : "not ", name);
}

/* ---- a region -------------------------------------------------------- */

static const uint8_t hot[32] = {0x48, 0xb8}, cold[13] = {0xe9};
static const uint64_t key = PC;

static void put(uint8_t *field, uint64_t v, size_t n) { memcpy(field, &v, n); }

static void example(jit_store_bytes *out)
{
    struct jit_region r = {.key = key, .tier = 1, .counted = 1, .nguest = 3, .code = (void *)hot};
    struct jit_formed d = {.nranges = 2, .nbytes = 10,
                           .range = {{PC, 6}, {PC - 64, 4}}, .bytes = "0123456789"};
    struct jit_code c = {.len = {sizeof hot, sizeof cold}};
    uint8_t code[sizeof hot];

    memcpy(code, hot, sizeof hot);
    put(code + 2, PC + 0x100, 8);
    put(code + 12, PC + 0x200, 4);
    c.bytes[JIT_HOT] = code;
    c.bytes[JIT_COLD] = cold;
    base_vec_push(&c.exits, ((struct jit_exit_out){.key = PC + 6, .is_back = 1}));
    base_vec_push(&c.exits, ((struct jit_exit_out){.kind = JIT_EXIT_TRAPPED, .key = PC + 8,
                                                   .trap = 1, .info = 7}));
    base_vec_push(&c.relocs, ((struct jit_reloc){2, JIT_HOT, JIT_RELOC_ABS64_GUEST, 0, 0}));
    base_vec_push(&c.relocs, ((struct jit_reloc){12, JIT_HOT, JIT_RELOC_ABS32_GUEST, 0, 0}));
    base_vec_push(&c.relocs, ((struct jit_reloc){20, JIT_HOT, JIT_RELOC_PC32_EXIT, 1, 0}));
    base_vec_push(&c.relocs, ((struct jit_reloc){1, JIT_COLD, JIT_RELOC_PC32_SECTION, 0, 9}));
    base_vec_push(&c.relocs, ((struct jit_reloc){6, JIT_COLD, JIT_RELOC_PC32_DEOPT, 1, 0}));
    base_vec_push(&c.points, ((struct jit_point){.off = 5, .section = JIT_COLD, .map = 1}));
    jit_map_begin(&c, PC);
    jit_map_end(&c);
    jit_map_begin(&c, PC + 4);
    jit_map_end(&c);
    check("a record is made", jit_record_make(out, AT, key, &r, &c, &d));
    base_vec_free(&c.exits);
    base_vec_free(&c.relocs);
    base_vec_free(&c.points);
    base_vec_free(&c.map_bytes);
    base_vec_free(&c.map_start);
}

static struct jit_record *copy_of(const struct jit_record *r)
{
    return memcpy(base_zalloc(r->size), r, r->size);
}

/* ---- what it says, where it goes ------------------------------------- */

static uint64_t word(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    memcpy(&v, p, n);
    return v;
}

static void says(const struct jit_record *r)
{
    struct jit_parts p;

    check("its numbers are", jit_record_parts(r, &p));
    check("position, pc and flags", r->at == AT && r->pc == PC && r->counted &&
                                        r->nguest == 3);
    check("exits", r->nexits == 2 && p.exits[0].key == PC + 6 && p.exits[0].flags == 2 &&
                       p.exits[1].kind == JIT_EXIT_TRAPPED && p.exits[1].info == 7);
    check("guest bytes", r->nranges == 2 && p.ranges[1].start == -64 &&
                             !memcmp(p.bytes, "0123456789", 10));
    check("code", word(p.code[JIT_HOT] + 2, 8) == PC + 0x100 &&
                      !memcmp(p.code[JIT_COLD], cold, sizeof cold));
}

static void moves(const struct jit_record *r)
{
    const uint64_t delta = 0x7000;
    struct jit_record *copy = copy_of(r);
    struct jit_parts p;

    check("it moves", jit_record_move(copy, PC + delta) && jit_record_parts(copy, &p));
    check("... exits", p.exits[0].key == PC + 6 + delta && p.exits[1].key == PC + 8 + delta);
    check("... addresses in code", word(p.code[JIT_HOT] + 2, 8) == PC + 0x100 + delta &&
                                       word(p.code[JIT_HOT] + 12, 4) == PC + 0x200 + delta);
    check("... the pc of its maps", word(p.maps, 8) == PC + delta);
    check("... and back", jit_record_move(copy, PC) && !memcmp(copy, r, r->size));
    check("not where an address does not fit", !jit_record_move(copy, PC + (1ull << 32)));
    free(copy);
}

/* ---- damage ---------------------------------------------------------- */

/* Each number that something is placed by, with a value that is one too many. */
static void refused(const struct jit_record *good)
{
#define FIELD(f, v) {#f, offsetof(struct jit_record, f), sizeof good->f, v}
    const struct {
        const char *name;
        size_t at, size;
        uint64_t value;
    } fields[] = {
        FIELD(size, good->size + 8), FIELD(size, good->size - 8), FIELD(len[0], 0),
        FIELD(len[0], UINT32_MAX), FIELD(len[1], UINT32_MAX), FIELD(nmaps_bytes, UINT32_MAX),
        FIELD(nmaps_bytes, 0), FIELD(nrelocs, UINT16_MAX), FIELD(npoints, UINT16_MAX),
        FIELD(nexits, UINT16_MAX), FIELD(nranges, JIT_RANGES + 1), FIELD(nranges, 0),
        FIELD(nmaps, UINT16_MAX), FIELD(nbytes, JIT_FORMED_BYTES + 1),
    };
#undef FIELD
    char name[64];
    struct jit_parts p, at;

    for (size_t i = 0; i < BASE_ARRAY_SIZE(fields); i++) {
        struct jit_record *r = copy_of(good);

        memcpy((char *)r + fields[i].at, &fields[i].value, fields[i].size);
        snprintf(name, sizeof name, "refused: %s = %llu", fields[i].name,
                 (unsigned long long)fields[i].value);
        check(name, !jit_record_parts(r, &p));
        free(r);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct jit_record *r = copy_of(good);

        jit_record_parts(r, &at);
        struct jit_reloc *x = (struct jit_reloc *)at.relocs;
        struct jit_point *q = (struct jit_point *)at.points;
        switch (i) {
        case 0: x[0].off = sizeof hot - 7; break;
        case 1: x[1].off = sizeof hot - 3; break;
        case 2: x[2].target = 2; break;
        case 3: x[3].addend = sizeof hot + 1; break;
        case 4: x[4].target = 2; break;
        case 5: x[0].kind = JIT_RELOC_COUNT; break;
        case 6: q->map = 2; break;
        default: ((struct jit_record_range *)at.ranges)[1].len++; break;
        }
        snprintf(name, sizeof name, "refused: array %u", i);
        check(name, !jit_record_parts(r, &p));
        free(r);
    }
}

static bool inside(const struct jit_record *r, const void *p, size_t n)
{
    const char *at = p, *start = (const char *)r;

    return at >= start && n <= r->size && at - start <= (ptrdiff_t)(r->size - n);
}

/* Is all that the parts say in the record? Reads it, so that a sanitizer sees what is not. */
static bool all_inside(const struct jit_record *r, const struct jit_parts *p)
{
    bool in = inside(r, p->exits, r->nexits * sizeof *p->exits) &&
              inside(r, p->maps, r->nmaps_bytes) && inside(r, p->bytes, r->nbytes) &&
              inside(r, p->code[0], r->len[0]) && inside(r, p->code[1], r->len[1]);

    for (unsigned i = 0; in && i < r->nrelocs; i++)
        in = inside(r, p->code[p->relocs[i].section] + p->relocs[i].off, 4);
    for (unsigned i = 0; in && i < r->nmaps; i++)
        in = p->map_start[i] < r->nmaps_bytes;
    return in;
}

static void damaged(const struct jit_record *good, uint64_t seed, unsigned n)
{
    uint64_t s = seed, sum = jit_record_sum(good), taken = 0, unseen = 0, outside = 0;

    for (unsigned i = 0; i < n; i++) {
        struct jit_record *r = copy_of(good);
        struct jit_parts p;
        unsigned changes = 1 + (unsigned)(base_rand(&s) % 4);

        while (changes--) { /* half of them in the header */
            uint64_t w = base_rand(&s);
            size_t most = w & 1 ? sizeof *r : r->size;

            ((uint8_t *)r)[(w >> 8) % most] ^= (uint8_t)(1 + (w >> 40) % 255);
            r->size = good->size; /* the caller has seen to it */
        }
        if (jit_record_sum(r) == sum && memcmp(&r->at, &good->at, good->size - 8))
            unseen++;
        if (jit_record_parts(r, &p)) {
            taken++;
            outside += !all_inside(r, &p);
            jit_record_move(r, base_rand(&s) >> 16);
        }
        free(r);
    }
    printf("seed %llu: %llu of %u pass with a new sum\n", (unsigned long long)seed,
           (unsigned long long)taken, n);
    check("damaged: the sum tells", !unseen);
    check("damaged: what passes is inside", !outside && taken && taken < n);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 4711;
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : MUTATIONS;
    jit_store_bytes bytes = {0};

    example(&bytes);
    const struct jit_record *r = (const struct jit_record *)bytes.data;
    if (!failures) {
        says(r);
        moves(r);
        refused(r);
        damaged(r, seed, n);
    }
    base_vec_free(&bytes);
    return failures != 0;
}
