/* fuzz.c: the driver of all fuzz programs. SPDX-License-Identifier: Apache-2.0
 *
 * fuzz.h says how it is called. An input k is made from seed k alone (one of the corpus, changed),
 * so that a finding needs no more than its number. A handler of fatal signals, and the sanitizers'
 * callback, print that number before the process ends; an input that takes too long ends by alarm.
 */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECONDS = 20, MAKE_ROOM = 8 << 10 };

size_t fuzz_mutate(uint8_t *data, size_t n, size_t max, uint64_t *seed)
{
    for (unsigned k = 1 + base_rand(seed) % 4; k && n; k--) {
        size_t at = base_rand(seed) % n, to = base_rand(seed) % n, len = base_rand(seed) % 16;

        if (len > n - (at > to ? at : to))
            len = n - (at > to ? at : to);
        switch (base_rand(seed) % 4) {
        case 0: data[at] = (uint8_t)base_rand(seed); break;
        case 1: data[at] ^= (uint8_t)(1 << base_rand(seed) % 8); break;
        case 2: memmove(data + to, data + at, len); break;
        default: n = at + 1; break;
        }
    }
    return n;
}

static size_t make(uint8_t *data, size_t n, size_t max, uint64_t *seed)
{
    const struct fuzz_target *t = &fuzz_target;

    return t->make ? t->make(data, n, max, seed) : fuzz_mutate(data, n, max, seed);
}

#ifdef FUZZ_LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (fuzz_target.begin)
        fuzz_target.begin();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct base_text why = {0};

    if (n <= fuzz_target.max && !fuzz_target.one(data, n, &why)) {
        fprintf(stderr, "%s\n", why.data ? why.data : "failed");
        abort();
    }
    base_text_free(&why);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed)
{
    uint64_t s = seed;

    /* below that there is no room for what a target makes */
    if ((max < fuzz_target.max && max < MAKE_ROOM) || seed % 8 == 0)
        return LLVMFuzzerMutate(data, n, max);
    return make(data, n, max < fuzz_target.max ? max : fuzz_target.max, &s);
}

#else

struct input {
    uint8_t *data;
    size_t n;
};
static BASE_VEC(struct input) inputs;
static unsigned failed;

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* ---- what goes wrong ------------------------------------------------- */

static uint64_t slow; /* ns: inputs that take more are told of */
static char at_work[256]; /* what is to be said of the input in work if it is the last */

static void say(const char *what)
{
    ssize_t unused = write(STDOUT_FILENO, at_work, strlen(at_work));

    unused += write(STDOUT_FILENO, what, strlen(what));
    (void)unused;
}

static void on_death(void)
{
    say(": a sanitizer's finding\n");
}

static void on_signal(int sig)
{
    say(sig == SIGALRM ? ": takes too long\n" : ": a fatal signal\n");
    signal(sig == SIGALRM ? SIGABRT : sig, SIG_DFL);
    raise(sig == SIGALRM ? SIGABRT : sig);
}

/* Of the sanitizers, where there are some. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    /* tests/run tells the sanitizers to leave signals alone; else they have more to say */
    for (size_t i = 0; i < BASE_ARRAY_SIZE(fatal); i++)
        if (!__sanitizer_set_death_callback || getenv("TEST_ASAN"))
            signal(fatal[i], on_signal);
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
}

static bool try(const uint8_t *data, size_t n, const char *name)
{
    struct base_text why = {0};
    uint8_t *exact = base_alloc(n ? n : 1); /* a sanitizer sees reads behind it */
    uint64_t begin;
    bool ok;

    memcpy(exact, data, n);
    snprintf(at_work, sizeof at_work, "not ok - %s", name);
    alarm(fuzz_target.seconds ? fuzz_target.seconds : SECONDS);
    begin = base_thread_cpu_ns();
    ok = fuzz_target.one(exact, n, &why);
    alarm(0);
    if (slow && base_thread_cpu_ns() - begin > slow)
        printf("# %s: %llu ms\n", name,
               (unsigned long long)(base_thread_cpu_ns() - begin) / 1000000);
    if (!ok)
        printf("not ok - %s: %s\n", name, why.data ? why.data : "failed");
    failed += !ok;
    free(exact);
    base_text_free(&why);
    return ok;
}

/* ---- files ----------------------------------------------------------- */

static const char *base_name(const char *path)
{
    return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

static void read_file(const char *path, bool run)
{
    FILE *f = fopen(path, "rb");
    struct input in = {.data = base_alloc(fuzz_target.max + 1)};

    if (!f) {
        printf("not ok - %s: cannot be read\n", path);
        failed++;
        free(in.data);
        return;
    }
    in.n = fread(in.data, 1, fuzz_target.max, f);
    fclose(f);
    in.data = base_realloc(in.data, in.n + 1);
    base_vec_push(&inputs, in);
    if (run && try(in.data, in.n, base_name(path)))
        printf("ok - %s\n", base_name(path));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A file or all files of a folder, in the order of their names. */
static void read_path(const char *path, bool run)
{
    struct dirent **list;
    struct stat st;
    int n;

    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        read_file(path, run);
        return;
    }
    n = scandir(path, &list, NULL, by_name);
    for (int i = 0; i < n; i++) {
        char name[4096];

        snprintf(name, sizeof name, "%s/%s", path, list[i]->d_name);
        if (list[i]->d_name[0] != '.')
            read_file(name, run);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

/* ---- inputs made ----------------------------------------------------- */

static size_t make_from(uint64_t seed, uint8_t *data)
{
    const struct input *from = inputs.len ? &inputs.data[base_rand(&seed) % inputs.len] : NULL;

    if (from)
        memcpy(data, from->data, from->n);
    return make(data, from ? from->n : 0, fuzz_target.max, &seed);
}

static bool run_seed(uint64_t seed, uint8_t *data)
{
    char name[64];

    snprintf(name, sizeof name, "t_fuzz_%s seed %llu", fuzz_target.name,
             (unsigned long long)seed);
    snprintf(at_work, sizeof at_work, "not ok - making %s", name);
    return try(data, make_from(seed, data), name);
}

static void run_many(uint8_t *data)
{
    const char *longer = getenv("TEST_LONG");
    uint64_t seconds = number("FUZZ_SECONDS", 0), begin = base_now_ns(), n = 0;
    bool explore = seconds || (longer && *longer); /* what others commit is not to fail by luck */
    uint64_t first = number("FUZZ_SEED", explore ? begin % 1000000000 : 1);
    uint64_t runs = number("FUZZ_RUNS", seconds                ? UINT64_MAX
                                        : longer && *longer ? fuzz_target.runs_long
                                                            : fuzz_target.runs);

    printf("# inputs made from seed %llu on\n", (unsigned long long)first);
    while (n < runs && (!seconds || base_now_ns() - begin < seconds * 1000000000))
        run_seed(first + n++, data);
    printf("# %llu inputs done\n", (unsigned long long)n);
    if (!failed)
        printf("ok - %llu inputs made from seed %llu on\n", (unsigned long long)n,
               (unsigned long long)first);
}

static int save(uint64_t seed, const char *path, uint8_t *data)
{
    size_t n = make_from(seed, data);
    struct base_text text = {0};
    FILE *f = fopen(path, "wb");
    bool ok;

    if (fuzz_target.save)
        fuzz_target.save(data, n, &text);
    else
        base_text_append(&text, data, n);
    ok = f && fwrite(text.data, 1, text.len, f) == text.len;
    ok = f && !fclose(f) && ok;
    base_text_free(&text);
    if (!ok)
        perror(path);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    bool one = argc == 3 && !strcmp(argv[1], "seed"), keep = argc == 4 && !strcmp(argv[1], "save");
    const char *tests = getenv("TESTS");
    uint8_t *data = base_alloc(fuzz_target.max + 1);
    char corpus[4096];

    snprintf(corpus, sizeof corpus, "%s/fuzz/%s", tests ? tests : FUZZ_TESTS, fuzz_target.name);
    slow = number("FUZZ_SLOW", 0) * 1000000;
    watch();
    if (fuzz_target.begin)
        fuzz_target.begin();
    if (argc == 1 || one || keep)
        read_path(corpus, argc == 1);
    for (int i = 1; i < argc && !one && !keep; i++)
        read_path(argv[i], true);
    if (keep)
        return save(strtoull(argv[2], NULL, 0), argv[3], data);
    if (one && run_seed(strtoull(argv[2], NULL, 0), data))
        printf("ok - seed %s\n", argv[2]);
    if (argc == 1)
        run_many(data);
    for (size_t i = 0; i < inputs.len; i++)
        free(inputs.data[i].data);
    base_vec_free(&inputs);
    free(data);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
