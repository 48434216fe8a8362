/* x64_strip.c: STRIP: rounds of string loops with vectors. SPDX-License-Identifier: Apache-2.0
 *
 * docs/ir.md says what the operation means. This is called by JIT_STUB_STRIP with the arguments
 * in the vCPU, as a slow call's, and leaves the number of rounds in slow_result. The stub keeps the
 * registers that C may change, and of the vectors 0 to 5 alone: so nothing here is compiled to
 * vector instructions but what stands in asm below, in two versions: AVX2, SSE2.
 *
 * Faults. What the guest may not access ends the operation: jit_handle_fault sends the thread to
 * the end of the stub, and slow_result is what had been done. The loop that follows takes the
 * fault itself, if it gets there. So that it is exact
 *  - nothing is loaded from a page of which the loop itself would not load something next: a
 *    search loads aligned vectors, which do not cross pages, a comparison stops at the end of
 *    either page;
 *  - nothing is stored before all pages of the piece are known to be accessible: the piece is at
 *    most X64_PIECE long, so there are two at most. That a page can be written is found out by
 *    an atomic OR of 0, once a page. (Another thread may take a page away in the middle: then the
 *    loop stores some bytes again.)
 *
 * Each byte is stored once, by stores of up to 32 bytes, so others may see neighbours in any order:
 * RVWMO says nothing about the order of plain stores to different places. No aligned eight bytes
 * are torn: x86 splits a vector at lines only.
 *
 * A copy loads 64 bytes before it stores them; places are 64 bytes apart at least.
 */
#include "host/x64/x64_stubs.h"

#pragma GCC target("general-regs-only")

enum { X64_PIECE = 2048, X64_PAGE = 4096 };

/* All is compiled twice, so that what the processor has is not asked again and again. */
#define X64_BOTH static inline __attribute__((always_inline))

struct x64_strip {
    struct jit_vcpu *v;
    uint64_t a, b, n;
    unsigned bytes, shift, ahead;
    bool back;
};

/* ---- vectors --------------------------------------------------------- */

#define X64_ASM(text, ...) __asm__ volatile(text : __VA_ARGS__)

X64_BOTH void x64_copy64(uint64_t d, uint64_t s, bool avx2)
{
    if (avx2)
        X64_ASM("vmovdqu (%1), %%ymm0\n\tvmovdqu 32(%1), %%ymm1\n\t"
                "vmovdqu %%ymm0, (%0)\n\tvmovdqu %%ymm1, 32(%0)",
                : "r"(d), "r"(s) : "memory");
    else
        X64_ASM("movdqu (%1), %%xmm0\n\tmovdqu 16(%1), %%xmm1\n\t"
                "movdqu 32(%1), %%xmm2\n\tmovdqu 48(%1), %%xmm3\n\t"
                "movdqu %%xmm0, (%0)\n\tmovdqu %%xmm1, 16(%0)\n\t"
                "movdqu %%xmm2, 32(%0)\n\tmovdqu %%xmm3, 48(%0)",
                : "r"(d), "r"(s) : "memory");
}

X64_BOTH void x64_copy16(uint64_t d, uint64_t s, bool avx2)
{
    if (avx2)
        X64_ASM("vmovdqu (%1), %%xmm0\n\tvmovdqu %%xmm0, (%0)", : "r"(d), "r"(s) : "memory");
    else
        X64_ASM("movdqu (%1), %%xmm0\n\tmovdqu %%xmm0, (%0)", : "r"(d), "r"(s) : "memory");
}

/* Vectors 0 and 1 become the pattern, 2 zero. */
X64_BOTH void x64_pattern(uint64_t p, bool avx2)
{
    if (avx2)
        X64_ASM("vmovq %0, %%xmm0\n\tvpbroadcastq %%xmm0, %%ymm0\n\tvmovdqa %%ymm0, %%ymm1\n\t"
                "vpxor %%xmm2, %%xmm2, %%xmm2", : "r"(p));
    else
        X64_ASM("movq %0, %%xmm0\n\tpunpcklqdq %%xmm0, %%xmm0\n\tmovdqa %%xmm0, %%xmm1\n\t"
                "pxor %%xmm2, %%xmm2", : "r"(p));
}

X64_BOTH void x64_fill64(uint64_t d, bool avx2)
{
    if (avx2)
        X64_ASM("vmovdqu %%ymm0, (%0)\n\tvmovdqu %%ymm0, 32(%0)", : "r"(d) : "memory");
    else
        X64_ASM("movdqu %%xmm0, (%0)\n\tmovdqu %%xmm0, 16(%0)\n\t"
                "movdqu %%xmm0, 32(%0)\n\tmovdqu %%xmm0, 48(%0)", : "r"(d) : "memory");
}

X64_BOTH void x64_fill16(uint64_t d, bool avx2)
{
    if (avx2)
        X64_ASM("vmovdqu %%xmm0, (%0)", : "r"(d) : "memory");
    else
        X64_ASM("movdqu %%xmm0, (%0)", : "r"(d) : "memory");
}

/* Bytes of a vector that are the pattern's; with zero, that or 0. */
X64_BOTH uint32_t x64_equal(uint64_t s, bool zero, bool avx2)
{
    uint32_t m;

    if (avx2 && zero)
        X64_ASM("vmovdqa (%1), %%ymm3\n\tvpxor %%ymm3, %%ymm1, %%ymm4\n\t"
                "vpminub %%ymm3, %%ymm4, %%ymm4\n\tvpcmpeqb %%ymm4, %%ymm2, %%ymm4\n\t"
                "vpmovmskb %%ymm4, %0", "=r"(m) : "r"(s) : "memory");
    else if (avx2)
        X64_ASM("vpcmpeqb (%1), %%ymm1, %%ymm4\n\tvpmovmskb %%ymm4, %0",
                "=r"(m) : "r"(s) : "memory");
    else if (zero)
        X64_ASM("movdqa (%1), %%xmm3\n\tmovdqa %%xmm3, %%xmm4\n\tpxor %%xmm1, %%xmm4\n\t"
                "pminub %%xmm3, %%xmm4\n\tpcmpeqb %%xmm2, %%xmm4\n\tpmovmskb %%xmm4, %0",
                "=r"(m) : "r"(s) : "memory");
    else
        X64_ASM("movdqa (%1), %%xmm4\n\tpcmpeqb %%xmm1, %%xmm4\n\tpmovmskb %%xmm4, %0",
                "=r"(m) : "r"(s) : "memory");
    return m;
}

/* Has some byte of four vectors what x64_equal looks for (with is: some what it does not)? */
X64_BOTH bool x64_any(uint64_t s, bool zero, bool is, bool avx2)
{
    uint32_t m;

    if (is) { /* the vectors differ from the pattern */
        if (avx2)
            X64_ASM("vpxor (%1), %%ymm1, %%ymm3\n\tvpxor 32(%1), %%ymm1, %%ymm4\n\t"
                    "vpor %%ymm3, %%ymm4, %%ymm3\n\tvpxor 64(%1), %%ymm1, %%ymm4\n\t"
                    "vpor %%ymm3, %%ymm4, %%ymm3\n\tvpxor 96(%1), %%ymm1, %%ymm4\n\t"
                    "vpor %%ymm3, %%ymm4, %%ymm3\n\tvpcmpeqb %%ymm3, %%ymm2, %%ymm3\n\t"
                    "vpmovmskb %%ymm3, %0", "=r"(m) : "r"(s) : "memory");
        else
            return true;
        return m != UINT32_MAX;
    }
    if (avx2 && zero)
        X64_ASM("vmovdqa (%1), %%ymm3\n\tvpxor %%ymm3, %%ymm1, %%ymm4\n\t"
                "vpminub %%ymm3, %%ymm4, %%ymm5\n\tvmovdqa 32(%1), %%ymm3\n\t"
                "vpxor %%ymm3, %%ymm1, %%ymm4\n\tvpminub %%ymm3, %%ymm4, %%ymm4\n\t"
                "vpminub %%ymm4, %%ymm5, %%ymm5\n\tvmovdqa 64(%1), %%ymm3\n\t"
                "vpxor %%ymm3, %%ymm1, %%ymm4\n\tvpminub %%ymm3, %%ymm4, %%ymm4\n\t"
                "vpminub %%ymm4, %%ymm5, %%ymm5\n\tvmovdqa 96(%1), %%ymm3\n\t"
                "vpxor %%ymm3, %%ymm1, %%ymm4\n\tvpminub %%ymm3, %%ymm4, %%ymm4\n\t"
                "vpminub %%ymm4, %%ymm5, %%ymm5\n\tvpcmpeqb %%ymm5, %%ymm2, %%ymm5\n\t"
                "vpmovmskb %%ymm5, %0", "=r"(m) : "r"(s) : "memory");
    else if (avx2)
        X64_ASM("vpcmpeqb (%1), %%ymm1, %%ymm3\n\tvpcmpeqb 32(%1), %%ymm1, %%ymm4\n\t"
                "vpor %%ymm3, %%ymm4, %%ymm3\n\tvpcmpeqb 64(%1), %%ymm1, %%ymm4\n\t"
                "vpcmpeqb 96(%1), %%ymm1, %%ymm5\n\tvpor %%ymm4, %%ymm5, %%ymm4\n\t"
                "vpor %%ymm3, %%ymm4, %%ymm3\n\tvpmovmskb %%ymm3, %0",
                "=r"(m) : "r"(s) : "memory");
    else
        return true;
    return m != 0;
}

/* Bytes of the vectors at a and b that are the same, and with zero not 0. */
X64_BOTH uint32_t x64_same(uint64_t a, uint64_t b, bool zero, bool avx2)
{
    uint32_t m, z = 0;

    if (avx2 && zero)
        X64_ASM("vmovdqu (%1), %%ymm3\n\tvpcmpeqb (%2), %%ymm3, %%ymm4\n\t"
                "vpminub %%ymm3, %%ymm4, %%ymm4\n\tvpcmpeqb %%ymm4, %%ymm2, %%ymm4\n\t"
                "vpmovmskb %%ymm4, %0\n\tnotl %0", "=r"(m) : "r"(a), "r"(b) : "memory");
    else if (avx2)
        X64_ASM("vmovdqu (%1), %%ymm3\n\tvpcmpeqb (%2), %%ymm3, %%ymm4\n\tvpmovmskb %%ymm4, %0",
                "=r"(m) : "r"(a), "r"(b) : "memory");
    else
        X64_ASM("movdqu (%1), %%xmm3\n\tmovdqu (%2), %%xmm4\n\tpcmpeqb %%xmm3, %%xmm4\n\t"
                "pmovmskb %%xmm4, %0", "=r"(m) : "r"(a), "r"(b) : "memory");
    if (zero && !avx2)
        X64_ASM("pcmpeqb %%xmm2, %%xmm3\n\tpmovmskb %%xmm3, %0", "=r"(z) : : "memory");
    return m & ~z;
}

/* Are all bytes of two vectors so? */
X64_BOTH bool x64_all_same(uint64_t a, uint64_t b, bool zero, bool avx2)
{
    uint32_t m;

    if (!avx2) return false;
    if (zero)
        X64_ASM("vmovdqu (%1), %%ymm3\n\tvpcmpeqb (%2), %%ymm3, %%ymm4\n\t"
                "vpminub %%ymm3, %%ymm4, %%ymm5\n\tvmovdqu 32(%1), %%ymm3\n\t"
                "vpcmpeqb 32(%2), %%ymm3, %%ymm4\n\tvpminub %%ymm3, %%ymm4, %%ymm4\n\t"
                "vpminub %%ymm4, %%ymm5, %%ymm4\n\tvpcmpeqb %%ymm4, %%ymm2, %%ymm4\n\t"
                "vpmovmskb %%ymm4, %0\n\tnotl %0", "=r"(m) : "r"(a), "r"(b) : "memory");
    else
        X64_ASM("vmovdqu (%1), %%ymm3\n\tvpcmpeqb (%2), %%ymm3, %%ymm4\n\t"
                "vmovdqu 32(%1), %%ymm3\n\tvpcmpeqb 32(%2), %%ymm3, %%ymm5\n\t"
                "vpand %%ymm4, %%ymm5, %%ymm4\n\tvpmovmskb %%ymm4, %0",
                "=r"(m) : "r"(a), "r"(b) : "memory");
    return m == UINT32_MAX;
}

/* ---- single accesses ------------------------------------------------- */

#define X64_COPY(letter, type)                                                                     \
    do {                                                                                           \
        type x64_word;                                                                             \
        X64_ASM("mov" letter " (%1), %0", "=&r"(x64_word) : "r"(s) : "memory");                    \
        X64_ASM("mov" letter " %1, (%0)", : "r"(d), "r"(x64_word) : "memory");                     \
    } while (0)

static inline void x64_store(uint64_t d, uint64_t p, unsigned size)
{
    switch (size) {
    case 8: X64_ASM("movq %1, (%0)", : "r"(d), "r"(p) : "memory"); break;
    case 4: X64_ASM("movl %1, (%0)", : "r"(d), "r"((uint32_t)p) : "memory"); break;
    case 2: X64_ASM("movw %1, (%0)", : "r"(d), "r"((uint16_t)p) : "memory"); break;
    default: X64_ASM("movb %1, (%0)", : "r"(d), "q"((uint8_t)p) : "memory"); break;
    }
}

static inline uint8_t x64_byte(uint64_t s)
{
    uint8_t b;

    X64_ASM("movb (%1), %0", "=q"(b) : "r"(s) : "memory");
    return b;
}

static inline void x64_may_write(uint64_t d)
{
    X64_ASM("lock orb $0, (%0)", : "r"(d) : "memory", "cc");
}

static inline bool x64_one_page(uint64_t first, uint64_t last)
{
    return (first ^ last) < X64_PAGE;
}

/* ---- stores ---------------------------------------------------------- */

/* Less than 32 bytes, upwards by falling size or, to come to a multiple of 32, rising. */
X64_BOTH void x64_copy_few(uint64_t d, uint64_t s, uint64_t len, bool avx2)
{
    if (len & 16) {
        x64_copy16(d, s, avx2);
        d += 16, s += 16;
    }
    if (len & 8) {
        X64_COPY("q", uint64_t);
        d += 8, s += 8;
    }
    if (len & 4) {
        X64_COPY("l", uint32_t);
        d += 4, s += 4;
    }
    if (len & 2) {
        X64_COPY("w", uint16_t);
        d += 2, s += 2;
    }
    if (len & 1) X64_COPY("b", uint8_t);
}

/* Stores across cache lines cost twice: the middle is stored at multiples of 32. */
X64_BOTH void x64_copy_up(uint64_t d, uint64_t s, uint64_t len, bool avx2)
{
    uint64_t first = -d & 31;

    if (len >= 128) {
        x64_copy_few(d, s, first, avx2);
        d += first, s += first, len -= first;
    }
    for (; len >= 64; len -= 64, d += 64, s += 64) x64_copy64(d, s, avx2);
    if (len & 32) {
        x64_copy16(d, s, avx2);
        x64_copy16(d + 16, s + 16, avx2);
        d += 32, s += 32;
    }
    x64_copy_few(d, s, len & 31, avx2);
}

/* From the end down; d and s are the ends. */
X64_BOTH void x64_copy_down(uint64_t d, uint64_t s, uint64_t len, bool avx2)
{
    uint64_t first = d & 31;

    if (len >= 128) {
        d -= first, s -= first, len -= first;
        x64_copy_few(d, s, first, avx2);
    }
    for (; len >= 64; len -= 64) d -= 64, s -= 64, x64_copy64(d, s, avx2);
    for (; len >= 16; len -= 16) d -= 16, s -= 16, x64_copy16(d, s, avx2);
    d -= len, s -= len;
    x64_copy_few(d, s, len, avx2);
}

X64_BOTH void x64_fill_few(uint64_t d, uint64_t p, uint64_t len, bool avx2)
{
    if (len & 16) {
        x64_fill16(d, avx2);
        d += 16;
    }
    for (unsigned size = 8; size; size /= 2) {
        if (!(len & size)) continue;
        x64_store(d, p, size);
        d += size;
    }
}

/* p is eight bytes of what is stored over and over, vector 0 the same. */
X64_BOTH void x64_fill_up(uint64_t d, uint64_t p, uint64_t len, bool avx2)
{
    uint64_t first = -d & 31;

    if (len >= 128 && (!(first & 7) || p == (p << 8 | p >> 56))) {
        x64_fill_few(d, p, first, avx2);
        d += first, len -= first;
    }
    for (; len >= 64; len -= 64, d += 64) x64_fill64(d, avx2);
    if (len & 32) {
        x64_fill16(d, avx2);
        x64_fill16(d + 16, avx2);
        d += 32;
    }
    x64_fill_few(d, p, len & 31, avx2);
}

/* The pattern as eight bytes, whatever a round has. */
static uint64_t x64_eight(const struct x64_strip *x)
{
    switch (x->bytes) {
    case 1: return (x->b & 0xff) * 0x0101010101010101u;
    case 2: return (x->b & 0xffff) * 0x0001000100010001u;
    case 4: return (x->b & 0xffffffff) * 0x0000000100000001u;
    default: return x->b;
    }
}

/* Does rounds [k, k + rounds) if all of their pages can be accessed. */
X64_BOTH void x64_piece(const struct x64_strip *x, uint64_t k, uint64_t rounds, bool fill,
                        bool avx2)
{
    uint64_t len = rounds << x->shift, off = k << x->shift, d, s;

    d = x->back ? x->a - off - len + x->bytes : x->a + off;
    s = x->back ? x->b - off - len + x->bytes : x->b + off;
    if (!fill) {
        uint64_t lo = x->back ? s - x->ahead : s, hi = x->back ? s + len : s + len + x->ahead;

        if (!x64_one_page(lo, hi - 1)) (void)x64_byte(x->back ? lo : hi - 1);
    }
    if (!x64_one_page(d, d + len - 1)) {
        x64_may_write(d);
        x64_may_write(d + len - 1);
    }
    if (fill)
        x64_fill_up(d, x64_eight(x), len, avx2);
    else if (x->back)
        x64_copy_down(d + len, s + len, len, avx2);
    else
        x64_copy_up(d, s, len, avx2);
}

X64_BOTH void x64_stores(struct x64_strip *x, bool fill, bool avx2)
{
    uint64_t piece = X64_PIECE >> x->shift;

    if (fill) x64_pattern(x64_eight(x), avx2);
    for (uint64_t k = 0; k < x->n && !x->v->poll;) {
        uint64_t rounds = x->n - k < piece ? x->n - k : piece;

        x64_piece(x, k, rounds, fill, avx2);
        k += rounds;
        x->v->slow_result = k;
    }
}

/* ---- searches -------------------------------------------------------- */

/* len bytes are what is looked for. Rounds of which everything that the loop has loaded is
 * known to be readable. */
static inline void x64_report(const struct x64_strip *x, uint64_t len)
{
    uint64_t k = len >> x->shift, less = (x->ahead + x->bytes - 1) >> x->shift;

    k = k > less ? k - less : 0;
    x->v->slow_result = k < 2 ? 0 : k;
}

/* Bytes from a on, len at most, that do not end the loop; what vectors 1 and 2 have says which do.
 * notes: progress is reported. */
X64_BOTH uint64_t x64_search(const struct x64_strip *x, uint64_t a, uint64_t len, bool zero,
                             bool is, bool notes, bool avx2)
{
    const unsigned width = avx2 ? 32 : 16;
    const uint32_t all = avx2 ? UINT32_MAX : 0xffff, flip = is ? all : 0;
    uint64_t p = a & ~(uint64_t)(width - 1);
    uint32_t m = (x64_equal(p, zero, avx2) ^ flip) & all << (a & (width - 1));

    while (!m) {
        p += width;
        if (p - a >= len) return len;
        if (!(p & (X64_PAGE - 1))) {
            if (notes) x64_report(x, p - a);
            if (x->v->poll) return p - a;
        }
        if (!(p & (4 * width - 1)))
            while (!x64_any(p, zero, is, avx2)) {
                p += 4 * width;
                if (p - a >= len) return len;
                if (p & (X64_PAGE - 1)) continue;
                if (notes) x64_report(x, p - a);
                if (x->v->poll) return p - a;
            }
        m = x64_equal(p, zero, avx2) ^ flip;
    }
    p += (unsigned)__builtin_ctz(m);
    return p - a < len ? p - a : len;
}

X64_BOTH void x64_find(struct x64_strip *x, bool zero, bool is, bool avx2)
{
    uint64_t eight = x64_eight(x);

    /* its first byte belongs to a */
    if (x->a & 7) eight = eight << 8 * (x->a & 7) | eight >> (64 - 8 * (x->a & 7));
    x64_pattern(eight, avx2);
    x64_report(x, x64_search(x, x->a, x->n << x->shift, zero, is, true, avx2));
}

static inline uint64_t x64_room(uint64_t p)
{
    return X64_PAGE - (p & (X64_PAGE - 1));
}

/* Bytes, len at most, in which a and b agree. */
X64_BOTH uint64_t x64_agree(const struct x64_strip *x, uint64_t len, bool zero, bool avx2)
{
    const unsigned width = avx2 ? 32 : 16;
    const uint32_t all = avx2 ? UINT32_MAX : 0xffff;
    uint64_t done = 0;

    while (done < len) {
        uint64_t a = x->a + done, b = x->b + done, room = len - done;

        room = room < x64_room(a) ? room : x64_room(a);
        room = room < x64_room(b) ? room : x64_room(b);
        while (room >= 2 * width && x64_all_same(a, b, zero, avx2))
            room -= 2 * width, a += 2 * width, b += 2 * width;
        for (; room >= width; room -= width, a += width, b += width) {
            uint32_t m = x64_same(a, b, zero, avx2) ^ all;

            if (m) return a - x->a + (unsigned)__builtin_ctz(m);
        }
        if (len - (a - x->a) < width) return a - x->a; /* the loop is as fast */
        for (; room; room--, a++, b++) {
            uint8_t byte = x64_byte(a);

            if (byte != x64_byte(b) || (zero && !byte)) return a - x->a;
        }
        done = a - x->a;
        x64_report(x, done);
        if (x->v->poll) break;
    }
    return done;
}

X64_BOTH void x64_match(struct x64_strip *x, bool zero, bool avx2)
{
    x64_pattern(0, avx2);
    x64_report(x, x64_agree(x, x->n << x->shift, zero, avx2));
}

/* Copies up to the zero: what is looked at ahead of the stores is not theirs. */
X64_BOTH void x64_copy_zero(struct x64_strip *x, bool avx2)
{
    uint64_t n = x->n, apart = x->a - x->b;
    uint64_t piece = (apart < X64_PIECE ? apart : X64_PIECE) >> x->shift, k = 0, found;

    while (k < n && !x->v->poll) {
        uint64_t rounds = n - k < piece ? n - k : piece;

        x64_pattern(0, avx2);
        found = x64_search(x, x->b + (k << x->shift), rounds << x->shift, false, false, false,
                           avx2) >> x->shift;
        if (k + found < 2) return;
        if (found) x64_piece(x, k, found, false, avx2);
        k += found;
        x->v->slow_result = k;
        if (found < rounds) return;
    }
}

/* ---- entry ----------------------------------------------------------- */

X64_BOTH void x64_strip_by(struct x64_strip *x, unsigned kind, bool avx2)
{
    switch (kind) {
    case IR_STRIP_FILL: x64_stores(x, true, avx2); break;
    case IR_STRIP_COPY: x64_stores(x, false, avx2); break;
    case IR_STRIP_COPYZ:
        if (!x->back && !x->ahead) x64_copy_zero(x, avx2);
        break;
    default:
        if (x->back) break;
        if (kind == IR_STRIP_FIND)
            x64_find(x, false, false, avx2);
        else if (kind == IR_STRIP_FINDZ)
            x64_find(x, true, false, avx2);
        else if (kind == IR_STRIP_SPAN)
            x64_find(x, false, true, avx2);
        else if (kind == IR_STRIP_MATCH)
            x64_match(x, false, avx2);
        else
            x64_match(x, true, avx2);
        break;
    }
}

static __attribute__((noinline)) void x64_strip_sse2(struct x64_strip *x, unsigned kind)
{
    x64_strip_by(x, kind, false);
}

void x64_strip(struct jit_vcpu *v)
{
    unsigned aux = (unsigned)(v->slow_op >> 32), kind = aux & IR_STRIP_KIND;
    struct x64_strip x = {.v = v,
                          .a = v->slow_arg[0],
                          .b = v->slow_arg[1],
                          .n = v->slow_arg[2],
                          .bytes = ir_strip_bytes(aux),
                          .shift = aux >> IR_STRIP_SHIFT & 7,
                          .ahead = ir_strip_ahead(aux),
                          .back = aux & IR_STRIP_BACK};
    uint64_t apart = ir_strip_apart(aux), most = (uint64_t)1 << 40;
    bool copies = kind == IR_STRIP_COPY || kind == IR_STRIP_COPYZ;

    v->slow_result = 0;
    if (x.n > most) x.n = most;
    if (base_unlikely(v->jit->cfg.lockstep) && x.n > JIT_LOCKSTEP_STRIP) x.n = JIT_LOCKSTEP_STRIP;
    if (x.n < 2 || (copies && (x.a - x.b < apart || x.b - x.a < apart))) return;
    if (v->jit->cpu & X64_CPU_AVX2)
        x64_strip_by(&x, kind, true);
    else
        x64_strip_sse2(&x, kind);
}
