/* t_ir_unit.c: the IR's interface where text cannot reach. SPDX-License-Identifier: Apache-2.0
 *
 * Memory reached directly, faults that leave the interpreter by siglongjmp, atomics between
 * threads, and the builder over many functions (its hashes are never cleared).
 */
#include "ir/ir_priv.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned t_failed;

static void t_result(bool ok, const char *name)
{
    printf("%s - %s\n", ok ? "ok" : "not ok", name);
    t_failed += !ok;
}

static struct ir_func *t_parse(const char *text)
{
    struct ir_func *f = ir_func_new(NULL);
    struct base_text why = {0};

    if (ir_parse(f, &text, &why) < 0 || !ir_verify(f, &why))
        base_bug(__FILE__, __LINE__, "%s", why.data);
    return f;
}

struct t_state {
    uint64_t s[IR_MAX_SLOTS], pc;
    struct ir_fpenv fpenv;
    struct ir_reservation res;
};

/* ---- direct memory --------------------------------------------------- */

static void t_direct(void)
{
    struct ir_func *f = t_parse("func {\n"
                                "  imark 0x1000, 4\n"
                                "    %1 = get.i64 s1\n"
                                "    %2 = ld.i16 [%1 + 1]\n"
                                "    st.i32 [%1 + 9], 0x11223344\n"
                                "    %4 = amo.i64.add [%1], 5\n"
                                "    %5 = zext.i64 %2\n"
                                "    put s2, %5\n"
                                "    put s3, %4\n"
                                "    exit.call 0x2000 ret 0x1004\n"
                                "}\n");
    _Alignas(8) uint8_t memory[16] = {0xff, 0x34, 0x12};
    struct t_state s = {.s = {0, (uintptr_t)memory}};
    struct ir_end end;

    ir_interp(f, &s, NULL, NULL, &end);
    t_result(s.s[2] == 0x1234 && s.s[3] == 0x1234ff && memory[0] == 0x04 && memory[1] == 0x35 &&
                 memory[9] == 0x44 && memory[12] == 0x11,
             "loads, stores and atomics of host memory");
    t_result(end.kind == IR_END_EXIT && end.exit_kind == IR_EXIT_CALL && end.target == 0x2000 &&
                 s.pc == 0x2000,
             "end of a run");
    ir_func_free(f);
}

static sigjmp_buf t_jump;
static void *t_fault_at;

static void t_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    t_fault_at = info->si_addr;
    siglongjmp(t_jump, 1);
}

static void t_fault(void)
{
    struct ir_func *f = t_parse("func {\n"
                                "  imark 0x1000, 4\n"
                                "    %1 = get.i64 s1\n"
                                "    put s2, 7\n"
                                "  imark 0x1004, 2\n"
                                "    st.i64 [%1 + 8], %1\n"
                                "    put s2, 8\n"
                                "    exit.jump 0x2000\n"
                                "}\n");
    struct sigaction act = {.sa_sigaction = t_handler, .sa_flags = SA_SIGINFO}, old;
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct t_state s = {.s = {0, (uintptr_t)page}};
    struct ir_end end;
    bool faulted = true;

    sigaction(SIGSEGV, &act, &old);
    if (!sigsetjmp(t_jump, 1)) {
        ir_interp(f, &s, NULL, NULL, &end);
        faulted = false;
    }
    sigaction(SIGSEGV, &old, NULL);
    t_result(faulted && t_fault_at == (char *)page + 8 && s.pc == 0x1004 && s.s[2] == 7,
             "a fault leaves the exact state");
    munmap(page, 4096);
    ir_func_free(f);
}

/* ---- threads --------------------------------------------------------- */

enum { T_ROUNDS = 20000 };

struct t_thread {
    pthread_t id;
    const struct ir_func *f;
    uint64_t *counter;
    unsigned left; /* rounds; a failed sc does not count */
};

static void *t_count(void *arg)
{
    struct t_thread *t = arg;
    struct t_state s = {.s = {0, (uintptr_t)t->counter}, .res = {.addr = 1}};
    struct ir_end end;

    while (t->left) {
        ir_interp(t->f, &s, NULL, NULL, &end);
        t->left -= s.s[2] == 0;
    }
    return NULL;
}

static void t_threads(const char *name, const char *text)
{
    struct ir_func *f = t_parse(text);
    uint64_t counter = 0;
    struct t_thread t[3];

    for (unsigned i = 0; i < 3; i++) {
        t[i] = (struct t_thread){.f = f, .counter = &counter, .left = T_ROUNDS};
        if (pthread_create(&t[i].id, NULL, t_count, &t[i]) != 0)
            base_bug(__FILE__, __LINE__, "no thread");
    }
    for (unsigned i = 0; i < 3; i++) pthread_join(t[i].id, NULL);
    t_result(counter == 3 * T_ROUNDS, name);
    ir_func_free(f);
}

/* The value comes back to what was loaded: only the version tells. */
static void t_version(void)
{
    struct ir_func *lr = t_parse("func {\n  imark 0x1000, 4\n    %1 = get.i64 s1\n"
                                 "    %2 = lr.i64 [%1]\n    exit.jump 0x0\n}\n");
    struct ir_func *sc = t_parse("func {\n  imark 0x1000, 4\n    %1 = get.i64 s1\n"
                                 "    %2 = get.i64 s2\n    %3 = sc [%1], %2\n"
                                 "    put s3, %3\n    exit.jump 0x0\n}\n");
    uint64_t word = 5;
    struct t_state a = {.s = {0, (uintptr_t)&word, 9}, .res = {.addr = 1}}, b = a;
    struct ir_end end;

    ir_interp(lr, &a, NULL, NULL, &end);
    for (unsigned i = 0; i < 2; i++) { /* the other: 5 to 6, 6 to 5 */
        ir_interp(lr, &b, NULL, NULL, &end);
        b.s[2] = i ? 5 : 6;
        ir_interp(sc, &b, NULL, NULL, &end);
    }
    ir_interp(sc, &a, NULL, NULL, &end);
    t_result(b.s[3] == 0 && a.s[3] == 1 && word == 5 && a.res.addr == 1,
             "a value that came back does not keep a reservation");
    ir_func_free(lr);
    ir_func_free(sc);
}

/* ---- builder --------------------------------------------------------- */

/* The generation of the hashes wraps around after 65536 functions. */
static void t_many(void)
{
    struct ir_func *f = ir_func_new(NULL);
    bool ok = true;

    for (unsigned n = 0; n < 140000 && ok; n++) {
        ir_ref a, b, c, k;

        ir_func_reset(f);
        a = ir_get(f, n % 7);
        b = ir_get(f, 7 + n % 5);
        k = ir_ki(f, IR_I64, n % 3);
        c = ir_op2(f, IR_MUL, IR_I64, a, b);
        ok = a == IR_BIAS && b == IR_BIAS + 1 && c == IR_BIAS + 2 &&
             ir_op2(f, IR_MUL, IR_I64, a, b) == c && f->nins == IR_BIAS + 3 &&
             f->ins[c].op == IR_MUL && k == IR_BIAS - 1 && ir_kval(f, k) == n % 3 &&
             ir_ki(f, IR_I64, n % 3) == k;
    }
    t_result(ok, "a new function knows nothing of those before");
    ir_func_free(f);
}

static void t_full(void)
{
    struct ir_func *f = ir_func_new(NULL);
    unsigned n = 0;

    while (!ir_func_full(f))
        ir_put(f, 1, ir_op2(f, IR_XOR, IR_I64, ir_get(f, 1), ir_ki(f, IR_I64, 1 + ++n)));
    for (unsigned k = 0; k < 60; k++) /* what one instruction may need still fits */
        ir_put(f, 1, ir_op2(f, IR_MUL, IR_I64, ir_get(f, 1), ir_ki(f, IR_I64, 1000003 + k)));
    ir_emit(f, IR_EXIT, IR_NONE, IR_EXIT_JUMP, ir_kaddr(f, 1), 0, 0);
    t_result(n > 1000 && ir_verify(f, NULL), "a full function says so in time");
    ir_func_free(f);
}

static void t_constants(void)
{
    struct ir_func *f = ir_func_new(NULL);
    ir_ref a = ir_ki(f, IR_I32, 0xffffffff12345678), b = ir_kaddr(f, 0x12345678);
    ir_ref c = ir_ki(f, IR_I64, 0x12345678), d = ir_kf(f, IR_F32, 0x12345678);

    t_result(ir_kval(f, a) == 0x12345678 && a != b && b != c && c != d && d != a &&
                 a == ir_ki(f, IR_I32, 0x12345678) && f->nk == IR_BIAS - 4,
             "constants differ by kind, type and value");
    t_result(!ir_is_k(f, IR_NIL, 0) && ir_is_k(f, c, 0x12345678), "ir_is_k");
    ir_func_free(f);
}

static void t_types(void)
{
    static const unsigned bits[IR_TYPE_COUNT] = {0,  1,  8,  16,  32,  64,  128,
                                                 16, 32, 64, 128, 256, 512, 64};
    bool ok = true;

    for (unsigned t = 0; t < IR_TYPE_COUNT; t++)
        ok &= ir_type_bits(t) == bits[t] && *ir_type_name(t) != '?';
    t_result(ok, "types have their widths and names");
}

int main(void)
{
    t_types();
    t_constants();
    t_many();
    t_full();
    t_direct();
    t_fault();
    t_version();
    t_threads("amo counts exactly between threads",
              "func {\n  imark 0x1000, 4\n    %1 = get.i64 s1\n"
              "    %2 = amo.i64.add [%1], 1\n    put s2, 0\n    exit.jump 0x0\n}\n");
    t_threads("lr and sc count exactly between threads",
              "func {\n  imark 0x1000, 4\n    %1 = get.i64 s1\n    %2 = lr.i64 [%1]\n"
              "    %3 = add.i64 %2, 1\n    %4 = sc [%1], %3\n    put s2, %4\n"
              "    exit.jump 0x0\n}\n");
    t_threads("cas counts exactly between threads",
              "func {\n  imark 0x1000, 4\n    %1 = get.i64 s1\n    %2 = ld.i64 [%1]\n"
              "    %3 = add.i64 %2, 1\n    %4 = cas.i64 [%1], %2, %3\n    %5 = xor.i64 %4, %2\n"
              "    put s2, %5\n    exit.jump 0x0\n}\n");
    return t_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
