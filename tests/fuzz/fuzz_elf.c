/* fuzz_elf.c: any bytes as an ELF file or a script. SPDX-License-Identifier: Apache-2.0
 *
 * The plan made of any file must keep what the loader relies on: ascending
 * segments that do not overlap, inside file and address space, congruent with
 * their file offsets, an interpreter that is a string.
 */
#include "fuzz.h"

#include "process/process.h"

#define TASK_SIZE (1ull << 38)
#define CHECK(c) ((c) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #c), abort()))

struct file {
    const uint8_t *data;
    size_t size;
};

static long read_file(void *ctx, void *buf, uint64_t offset, size_t n)
{
    const struct file *f = ctx;

    if (offset >= f->size)
        return 0;
    if (n > f->size - offset)
        n = f->size - offset;
    memcpy(buf, f->data + offset, n);
    return (long)n;
}

static void check_segment(const struct proc_elf_plan *p, unsigned i, size_t size)
{
    const struct proc_elf_segment *s = &p->seg[i];

    CHECK(s->memsz && s->filesz <= s->memsz);
    CHECK(s->vaddr < TASK_SIZE && s->memsz <= TASK_SIZE - s->vaddr);
    CHECK(!s->filesz || (s->offset <= size && s->filesz <= size - s->offset));
    CHECK(!s->filesz || s->vaddr % PROC_PAGE == s->offset % PROC_PAGE);
    CHECK(s->map_start % PROC_PAGE == 0 && s->map_end % PROC_PAGE == 0);
    CHECK(s->map_start <= s->vaddr && s->vaddr + s->memsz <= s->map_end);
    CHECK(s->map_start <= s->map_file_end && s->map_file_end <= s->map_end);
    CHECK(s->map_file_end % PROC_PAGE == 0);
    CHECK(!s->filesz || s->map_file_end >= s->vaddr + s->filesz);
    CHECK(s->map_start >= p->low && s->map_end <= p->high);
    CHECK(!i || s->vaddr >= s[-1].vaddr + s[-1].memsz);
    CHECK(!(s->prot & ~7));
}

static void check_plan(const uint8_t *data, size_t size)
{
    static struct proc_elf_plan plan;
    struct file f = {data, size};
    const char *why = proc_elf_plan(&plan, size, read_file, &f);

    if (why) {
        CHECK(*why);
        return;
    }
    CHECK(proc_file_kind(data, size) == PROC_FILE_RISCV64);
    CHECK(plan.nseg && plan.nseg <= PROC_ELF_MAX_SEGMENTS);
    CHECK(plan.low < plan.high && plan.high <= TASK_SIZE);
    CHECK(plan.high - plan.low <= PROC_ELF_MAX_SPAN);
    CHECK(plan.align >= PROC_PAGE && !(plan.align & (plan.align - 1)));
    CHECK(plan.entry < TASK_SIZE && plan.phdr < TASK_SIZE);
    CHECK(memchr(plan.interp, 0, sizeof plan.interp));
    for (unsigned i = 0; i < plan.nseg; i++)
        check_segment(&plan, i, size);
}

static void check_script(const uint8_t *data, size_t size)
{
    char *head, *interp, *arg;
    size_t n = size < PROC_HEAD_SIZE ? size : PROC_HEAD_SIZE;

    proc_elf_machine_name(data, n);
    if (proc_file_kind(data, n) != PROC_FILE_SCRIPT)
        return;
    head = malloc(n + 1);
    memcpy(head, data, n);
    if (proc_script_line(head, n, &interp, &arg)) {
        CHECK(interp > head && interp + strlen(interp) <= head + n && *interp);
        CHECK(!strpbrk(interp, " \t\n"));
        CHECK(!arg || (arg > interp && arg + strlen(arg) <= head + n && *arg));
    }
    free(head);
}

static bool fuzz_one(const uint8_t *data, size_t size, struct base_text *why)
{
    check_plan(data, size);
    check_script(data, size);
    return true;
}

/* Changes a few numbers of an input: bytes, words to edge values, the length. */
static size_t fuzz_make(uint8_t *to, size_t size, size_t max, uint64_t *seed)
{
    static const uint64_t edge[] = {0, 1, 0xfff, 0x1000, 0x1001, 1ull << 37, 1ull << 38,
                                    ~0ull, 1ull << 63, 0x7fffffff, 0xffffffff, 56};

    for (uint64_t n = 1 + base_rand(seed) % 4; n && size > 8; n--) {
        uint64_t r = base_rand(seed);
        size_t head = size < 0x200 ? size : 0x200, at = (r >> 8) % (head - 7);

        switch (r % 4) {
        case 0: to[at] = (uint8_t)(r >> 40); break;
        case 1: memcpy(to + (at & ~7ull), &edge[(r >> 40) % BASE_ARRAY_SIZE(edge)], 8); break;
        case 2: memcpy(to + (at & ~3ull), &edge[(r >> 40) % BASE_ARRAY_SIZE(edge)], 4); break;
        default: size = (r >> 60) ? size : (r >> 20) % size; break;
        }
    }
    return size;
}

const struct fuzz_target fuzz_target = {
    .name = "elf",
    .max = 1 << 16,
    .runs = 200000,
    .runs_long = 20000000,
    .one = fuzz_one,
    .make = fuzz_make,
};
