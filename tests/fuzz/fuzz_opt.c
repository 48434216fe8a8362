/* fuzz_opt.c: fuzz target of the optimiser. SPDX-License-Identifier: Apache-2.0
 *
 *     t_fuzz_opt [file...]                 without files: the corpus $TESTS/fuzz/opt, then
 *                                          inputs made from it, from a printed seed
 *     t_fuzz_opt seed N                    the inputs made from seed N only
 *
 * Any bytes make a region of several blocks in the form that a former gives (tests/opt/opt_gen.h),
 * which must keep the rules and do the same after each pass (tests/opt/opt_check.h). With clang,
 * -fsanitize=fuzzer -DFUZZ_LIBFUZZER makes a libFuzzer target.
 */
#include "opt_check.h"

#include <glob.h>
#include <stdlib.h>

static bool fuzz_one(const uint8_t *data, size_t n, struct base_text *why)
{
    return opt_check(data, n, why);
}

#ifdef FUZZ_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct base_text why = {0};

    if (!fuzz_one(data, n, &why)) {
        fputs(why.data, stderr);
        abort();
    }
    return 0;
}

#else

enum { FUZZ_MAX = 4096 };

struct fuzz_input {
    uint8_t data[FUZZ_MAX];
    size_t n;
};

static unsigned fuzz_failed;

static bool fuzz_read(const char *path, struct fuzz_input *in)
{
    FILE *file = fopen(path, "rb");

    if (!file) return false;
    in->n = fread(in->data, 1, sizeof in->data, file);
    fclose(file);
    return true;
}

static void fuzz_file(const char *path, struct fuzz_input *in)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct base_text why = {0};
    bool ok = fuzz_read(path, in) && fuzz_one(in->data, in->n, &why);

    printf("%s - %s%s%s\n", ok ? "ok" : "not ok", name, ok ? "" : ": ",
           ok         ? ""
           : why.data ? why.data
                      : "cannot be read");
    fuzz_failed += !ok;
    base_text_free(&why);
}

/* A few changes of bytes, or a piece put elsewhere. */
static void fuzz_mutate(struct fuzz_input *in, uint64_t *seed)
{
    for (unsigned k = 1 + base_rand(seed) % 4; k && in->n; k--) {
        size_t at = base_rand(seed) % in->n, to = base_rand(seed) % in->n, len;

        len = base_rand(seed) % 16;
        if (len > in->n - (at > to ? at : to)) len = in->n - (at > to ? at : to);
        switch (base_rand(seed) % 4) {
        case 0: in->data[at] = (uint8_t)base_rand(seed); break;
        case 1: in->data[at] ^= (uint8_t)(1 << base_rand(seed) % 8); break;
        case 2: memmove(in->data + to, in->data + at, len); break;
        default: in->n = at + 1; break;
        }
    }
}

static void fuzz_made(const struct fuzz_input *corpus, size_t n, uint64_t seed, unsigned rounds)
{
    struct fuzz_input in;

    for (unsigned k = 0; k < rounds; k++) {
        struct base_text why = {0};
        uint64_t s = seed + k;

        in = corpus[base_rand(&s) % n];
        fuzz_mutate(&in, &s);
        if (!fuzz_one(in.data, in.n, &why)) {
            fuzz_failed++;
            printf("not ok - t_fuzz_opt seed %llu: %s\n", (unsigned long long)(seed + k), why.data);
        }
        base_text_free(&why);
    }
    if (!fuzz_failed)
        printf("ok - %u inputs made from seed %llu\n", rounds, (unsigned long long)seed);
}

int main(int argc, char **argv)
{
    const char *tests = getenv("TESTS"), *longer = getenv("TEST_LONG");
    bool one = argc == 3 && strcmp(argv[1], "seed") == 0;
    struct fuzz_input *corpus;
    char pattern[4096];
    glob_t g = {0};

    if (argc > 1 && !one) {
        corpus = base_alloc(sizeof *corpus);
        for (int i = 1; i < argc; i++) fuzz_file(argv[i], corpus);
        free(corpus);
        return fuzz_failed ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    snprintf(pattern, sizeof pattern, "%s/fuzz/opt/*", tests ? tests : "tests");
    if (glob(pattern, 0, NULL, &g) != 0) {
        printf("not ok - no corpus at %s\n", pattern);
        return EXIT_FAILURE;
    }
    corpus = base_alloc(g.gl_pathc * sizeof *corpus);
    for (size_t n = 0; n < g.gl_pathc; n++) {
        if (one)
            fuzz_read(g.gl_pathv[n], &corpus[n]);
        else
            fuzz_file(g.gl_pathv[n], &corpus[n]);
    }
    if (one)
        fuzz_made(corpus, g.gl_pathc, strtoull(argv[2], NULL, 0), 1);
    else
        fuzz_made(corpus, g.gl_pathc, base_now_ns() % 1000000000,
                  longer && *longer ? 200000 : 1000);
    globfree(&g);
    free(corpus);
    return fuzz_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
