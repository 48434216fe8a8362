/* fuzz_disk_mutate.c: images changed where it hurts. SPDX-License-Identifier: Apache-2.0
 *
 * A change is a place and a value. Places are fields of headers and entries of tables, found as a
 * reader finds them, so that each change builds on what the ones before left; values are what the
 * place says with a little more or less, ends, other tables' places, flags, and huge numbers. Now
 * and then plain bytes, or a file cut off or longer. Checksums are put right afterwards, mostly:
 * else they would be all that is ever tested.
 */
#include "fuzz_disk.h"

struct place {
    uint64_t off;
    unsigned width; /* bytes: 1, 2, 4, 8 */
    bool big;       /* endian */
};

static uint64_t get(uint64_t off, unsigned width, bool big)
{
    uint8_t b[8] = {0};
    uint64_t v = 0;

    fuzz_fs_read(FUZZ_IMAGE, off, b, width);
    for (unsigned i = 0; i < width; i++)
        v |= (uint64_t)b[i] << 8 * (big ? width - 1 - i : i);
    return v;
}

static void put(struct fuzz_image *im, struct place p, uint64_t v)
{
    uint8_t b[8];

    for (unsigned i = 0; i < p.width; i++)
        b[i] = (uint8_t)(v >> 8 * (p.big ? p.width - 1 - i : i));
    fuzz_image_put(im, p.off, b, p.width);
}

static uint64_t some(uint64_t *seed, uint64_t n)
{
    return n ? base_rand(seed) % n : 0;
}

/* Near the begin more often than not: tables are mostly empty behind it. */
static uint64_t early(uint64_t *seed, uint64_t n)
{
    return some(seed, some(seed, 4) ? (n < 12 ? n : 12) : n);
}

/* One of n fields: pairs of offset and width. */
static struct place field(uint64_t *seed, uint64_t at, const uint16_t (*f)[2], size_t n, bool big)
{
    size_t i = some(seed, n);

    return (struct place){at + f[i][0], f[i][1], big};
}
#define FIELD(seed, at, list, big) field(seed, at, list, BASE_ARRAY_SIZE(list), big)

/* ---- qcow2 ----------------------------------------------------------- */

#define OFFSET UINT64_C(0x00fffffffffffe00)

static const uint16_t q2_fields[][2] = {
    {4, 4}, {8, 8}, {16, 4}, {20, 4}, {24, 8}, {32, 4}, {36, 4}, {40, 8}, {48, 8}, {56, 4},
    {60, 4}, {64, 8}, {72, 8}, {79, 1}, {80, 8}, {88, 8}, {95, 1}, {96, 4}, {100, 4}, {104, 1},
};
static const uint16_t luks_fields[][2] = {
    {6, 2}, {8, 1}, {40, 1}, {72, 1}, {104, 4}, {108, 4}, {112, 1}, {164, 4}, {208, 4}, {212, 4},
    {248, 4}, {252, 4}, {256, 4}, {260, 4}, {296, 4}, {300, 4}, {304, 4}, {344, 4},
};

static unsigned q2_bits(void)
{
    unsigned bits = (unsigned)get(20, 4, true);

    return bits >= 9 && bits <= 21 ? bits : 16;
}

/* Where the n-th header extension begins, and its type. */
static uint64_t q2_extension(uint64_t n, uint32_t *type)
{
    uint64_t at = get(4, 4, true) == 2 ? 72 : get(100, 4, true), i = 0;

    for (; at < 65536; at += 8 + BASE_ALIGN_UP(get(at + 4, 4, true), 8)) {
        *type = (uint32_t)get(at, 4, true);
        if (!*type || i++ == n)
            break;
    }
    return at;
}

static uint64_t q2_find_extension(uint32_t wanted)
{
    uint32_t type = 1;

    for (uint64_t n = 0; n < 16 && type; n++) {
        uint64_t at = q2_extension(n, &type);

        if (type == wanted)
            return at + 8;
    }
    return 0;
}

/* An entry of a snapshot's table, the n-th. */
static uint64_t q2_snapshot(uint64_t n)
{
    uint64_t at = get(64, 8, true);

    for (; n; n--)
        at += BASE_ALIGN_UP(40 + get(at + 36, 4, true) % 4096 + get(at + 12, 2, true) +
                            get(at + 14, 2, true), 8);
    return at;
}

/* An entry of an L1 table or of an L2 table below it. */
static struct place q2_mapping(uint64_t *seed, uint64_t l1, uint64_t n)
{
    unsigned bytes = get(79, 1, true) & 16 ? 16 : 8;
    struct place p = {l1 + 8 * early(seed, n), 8, true};
    uint64_t l2 = get(p.off, 8, true) & OFFSET;

    if (!l2 || !some(seed, 4))
        return p;
    p.off = l2 + bytes * early(seed, (UINT64_C(1) << q2_bits()) / bytes);
    if (bytes == 16 && some(seed, 3) == 0)
        p.off += 8;
    return p;
}

static struct place q2_refcount(uint64_t *seed)
{
    struct place p = {get(48, 8, true) + 8 * early(seed, 64), 8, true};
    uint64_t block = get(p.off, 8, true);

    if (!block || !some(seed, 4))
        return p;
    p.off = block + early(seed, UINT64_C(1) << q2_bits());
    p.width = 1u << some(seed, 4);
    return p;
}

static struct place q2_bitmap(uint64_t *seed)
{
    static const uint16_t directory[][2] = {{0, 8}, {8, 4}, {12, 4}, {16, 1}, {17, 1}, {18, 2},
                                            {20, 4}, {24, 1}};
    static const uint16_t extension[][2] = {{0, 4}, {4, 4}, {8, 8}, {16, 8}};
    uint64_t at = q2_find_extension(0x23852875), dir;

    if (!at || !some(seed, 4))
        return at ? FIELD(seed, at, extension, true) : FIELD(seed, 0, q2_fields, true);
    dir = get(at + 16, 8, true);
    if (some(seed, 2))
        return FIELD(seed, dir, directory, true);
    return (struct place){get(dir, 8, true) + 8 * early(seed, 16), 8, true};
}

static struct place q2_place(uint64_t *seed)
{
    static const uint16_t snapshot[][2] = {{0, 8}, {8, 4}, {12, 2}, {14, 2}, {32, 4}, {36, 4},
                                           {40, 8}, {48, 8}, {56, 8}, {64, 1}};
    uint64_t snapshots = get(60, 4, true) % 8, at;
    uint32_t type;

    switch (some(seed, 16)) {
    case 0: case 1: case 2: return FIELD(seed, 0, q2_fields, true);
    case 3: case 4:
        at = q2_extension(some(seed, 6), &type);
        return (struct place){at + 4 * early(seed, 8), 1u << some(seed, 4), true};
    case 5:
        return (struct place){get(8, 8, true) + early(seed, 64), 1, true};
    case 6: case 7: case 8:
        if (snapshots)
            return FIELD(seed, q2_snapshot(some(seed, snapshots)), snapshot, true);
        return q2_mapping(seed, get(40, 8, true), get(36, 4, true));
    case 9:
        at = q2_snapshot(some(seed, snapshots));
        return q2_mapping(seed, get(at, 8, true), get(at + 8, 4, true));
    case 10: case 11: return q2_refcount(seed);
    case 12:
        at = q2_find_extension(0x0537be77);
        return at ? FIELD(seed, get(at, 8, true), luks_fields, true) : q2_bitmap(seed);
    case 13: return q2_bitmap(seed);
    default: return q2_mapping(seed, get(40, 8, true), get(36, 4, true));
    }
}

/* ---- the others ------------------------------------------------------ */

static struct place vdi_place(uint64_t *seed)
{
    static const uint16_t fields[][2] = {{0x40, 4}, {0x44, 4}, {0x4c, 4}, {0x154, 4}, {0x158, 4},
        {0x15c, 4}, {0x160, 4}, {0x164, 4}, {0x168, 4}, {0x170, 8}, {0x178, 4}, {0x17c, 4},
        {0x180, 4}, {0x184, 4}};

    if (some(seed, 3))
        return FIELD(seed, 0, fields, false);
    return (struct place){get(0x154, 4, false) + 4 * early(seed, get(0x180, 4, false)), 4, false};
}

static struct place vmdk_place(uint64_t *seed)
{
    static const uint16_t fields[][2] = {{4, 4}, {8, 4}, {12, 8}, {20, 8}, {28, 8}, {36, 8},
        {44, 4}, {48, 8}, {56, 8}, {64, 8}, {72, 1}, {73, 4}, {77, 2}};
    uint64_t directory = get(56, 8, false) * 512, table, length = fuzz_fs_length(FUZZ_IMAGE);

    if (directory > length && length > 1024) /* a footer has the place */
        directory = get(length - 1024 + 56, 8, false) * 512;
    switch (some(seed, 8)) {
    case 0: case 1: case 2: return FIELD(seed, 0, fields, false);
    case 3: return FIELD(seed, length > 1024 ? length - 1024 : 0, fields, false);
    case 4: return (struct place){get(28, 8, false) * 512 + some(seed, 600), 1, false};
    case 5: return (struct place){directory + 4 * early(seed, 64), 4, false};
    default:
        table = get(directory + 4 * early(seed, 4), 4, false) * 512 + 4 * early(seed, 512);
        if (some(seed, 3))
            return (struct place){table, 4, false};
        /* a grain's marker */
        return (struct place){get(table, 4, false) * 512 + 4 * some(seed, 4), 4, false};
    }
}

#define KIB UINT64_C(1024)

static struct place vhdx_place(uint64_t *seed)
{
    static const uint16_t header[][2] = {{0, 4}, {8, 8}, {48, 4}, {64, 2}, {66, 2}, {68, 4},
                                         {72, 8}};
    static const uint16_t regions[][2] = {{0, 4}, {8, 4}, {16, 8}, {32, 8}, {40, 4}, {44, 4},
                                          {48, 8}, {64, 8}, {72, 4}, {76, 4}};
    static const uint16_t log[][2] = {{0, 4}, {8, 4}, {12, 4}, {16, 8}, {24, 4}, {32, 8}, {48, 8},
                                      {56, 8}, {64, 4}, {68, 4}, {72, 8}, {80, 8}, {88, 8}};
    uint64_t at[2] = {get(192 * KIB + 32, 8, false), get(192 * KIB + 64, 8, false)};
    uint64_t where = at[some(seed, 2)];

    switch (some(seed, 8)) {
    case 0: return FIELD(seed, (64 + 64 * some(seed, 2)) * KIB, header, false);
    case 1: return FIELD(seed, (192 + 64 * some(seed, 2)) * KIB, regions, false);
    case 2: return FIELD(seed, get(64 * KIB + 72, 8, false) + 4096 * early(seed, 256), log, false);
    case 3: case 4: return (struct place){where + 4 * some(seed, 64), 4, false};
    case 5: return (struct place){where + 64 * KIB + 4 * some(seed, 16), 4, false};
    default: return (struct place){where + 8 * early(seed, 64), 8, false};
    }
}

static struct place any_place(uint64_t *seed)
{
    uint64_t length = fuzz_fs_length(FUZZ_IMAGE);

    return (struct place){some(seed, some(seed, 2) && length > 1024 ? 1024 : length),
                          1u << some(seed, 4), some(seed, 2)};
}

/* ---- checksums ------------------------------------------------------- */

static uint32_t crc32c(const uint8_t *p, size_t n)
{
    static uint32_t table[256];
    uint32_t crc = ~0u;

    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = table[i] >> 1 ^ (0x82f63b78u & -(table[i] & 1));
    }
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

static void vhdx_sum(struct fuzz_image *im, uint64_t at, size_t n)
{
    uint8_t *p = base_alloc(n);

    fuzz_fs_read(FUZZ_IMAGE, at, p, n);
    memset(p + 4, 0, 4);
    put(im, (struct place){at + 4, 4, false}, crc32c(p, n));
    free(p);
}

static void vhdx_sums(struct fuzz_image *im)
{
    uint64_t log = get(64 * KIB + 72, 8, false), len = get(64 * KIB + 68, 4, false);

    for (uint64_t i = 0; i < 2; i++) {
        vhdx_sum(im, (64 + 64 * i) * KIB, 4096);
        vhdx_sum(im, (192 + 64 * i) * KIB, 64 * KIB);
    }
    for (uint64_t at = log; at < log + len && at < log + 64 * 4096; at += 4096) {
        uint64_t n = get(at + 8, 4, false);

        if (get(at, 4, false) == 0x65676f6c && n >= 64 && n <= 64 * KIB) /* "loge" */
            vhdx_sum(im, at, (size_t)n);
    }
}

/* ---- values ---------------------------------------------------------- */

static uint64_t value(uint64_t *seed, struct place p, unsigned bits, struct place other)
{
    uint64_t v = get(p.off, p.width, p.big), length = fuzz_fs_length(FUZZ_IMAGE);
    uint64_t cluster = UINT64_C(1) << bits;
    static const uint64_t edges[] = {0, 1, 2, 3, 512, 0x7fff, 0xffff, 0x10000, 0x7fffffff,
                                     0xffffffff, 0x100000000, UINT64_C(1) << 62, INT64_MAX,
                                     UINT64_C(1) << 63, UINT64_MAX, OFFSET, 1 << 20, 1 << 22};

    switch (some(seed, 12)) {
    case 0: return v + 1 + some(seed, 3);
    case 1: return v - 1 - some(seed, 3);
    case 2: return v ^ UINT64_C(1) << some(seed, 8 * p.width);
    case 3: return v + cluster * (1 + some(seed, 4));
    case 4: return v - cluster * (1 + some(seed, 4));
    case 5: return v ^ UINT64_C(1) << (some(seed, 2) ? 63 : some(seed, 2) ? 62 : 0);
    case 6: return edges[some(seed, BASE_ARRAY_SIZE(edges))];
    case 7: return get(other.off, other.width, other.big); /* what another entry says */
    case 8: return (v & ~OFFSET) | (p.off & ~(cluster - 1)); /* itself */
    case 9: return (v & ~OFFSET) | (BASE_ALIGN_DOWN(length, cluster) - cluster * some(seed, 3));
    case 10: return (v & ~OFFSET) | some(seed, length / cluster + 4) << bits;
    default: return base_rand(seed) >> some(seed, 64);
    }
}

/* ---- one input ------------------------------------------------------- */

enum kind { ANY, QCOW2, VDI, VMDK, VHDX, LUKS };

static enum kind kind_of(void)
{
    uint64_t head = get(0, 8, false);

    switch (head & 0xffffffff) {
    case 0xfb494651: return QCOW2;
    case 0x564d444b: return VMDK;
    case 0x534b554c: return LUKS;
    case 0x78646876: return VHDX;
    }
    return get(0x40, 4, false) == 0xbeda107f ? VDI : ANY;
}

static struct place place_of(enum kind kind, uint64_t *seed)
{
    switch (kind) {
    case QCOW2: return q2_place(seed);
    case VDI: return vdi_place(seed);
    case VMDK: return vmdk_place(seed);
    case VHDX: return vhdx_place(seed);
    case LUKS: return FIELD(seed, 0, luks_fields, true);
    default: return any_place(seed);
    }
}

static void change(struct fuzz_image *im, enum kind kind, uint64_t *seed)
{
    unsigned bits = kind == QCOW2 ? q2_bits() : kind == VHDX ? 20 : 9;
    struct place p = some(seed, 12) ? place_of(kind, seed) : any_place(seed);
    struct place other = place_of(kind, seed);

    if (some(seed, 24))
        put(im, p, value(seed, p, bits, other));
    else if (some(seed, 2))
        fuzz_image_resize(im, some(seed, fuzz_fs_length(FUZZ_IMAGE) + 1));
    else
        fuzz_image_resize(im, fuzz_fs_length(FUZZ_IMAGE) + some(seed, 1 << 20));
}

/* Of twelve inputs, how many begin with what is there, not with a base: libFuzzer has built up what
 * it gives, the corpus is but a start. */
#ifdef FUZZ_LIBFUZZER
enum { KEPT = 11 };
#else
enum { KEPT = 4 };
#endif

size_t fuzz_disk_make(uint8_t *data, size_t n, size_t max, uint64_t *seed)
{
    struct fuzz_image im = {data, n, max};
    enum kind kind;

    uint64_t base = base_rand(seed) % fuzz_base_count();

    if (fuzz_base_large(base) && some(seed, 4)) /* keys take time */
        base = base_rand(seed) % fuzz_base_count();
    fuzz_image_begin(&im, n && some(seed, 12) < KEPT, base);
    kind = kind_of();
    for (uint64_t i = some(seed, 2) ? 1 : some(seed, 6); i; i--)
        change(&im, kind, seed);
    if (kind == VHDX && some(seed, 16))
        vhdx_sums(&im);
    fuzz_image_seed(&im, base_rand(seed));
    return im.n;
}
