/* pc_nans.c: sums in loops, comparisons and roundings that meet NaNs: the same as one by one, with
 * the same exception flags. SPDX-License-Identifier: Apache-2.0
 *
 * On RISC-V the sums are fused multiply-adds (infinity times zero is invalid whatever is added),
 * floor and the quiet comparisons are made of reading and writing back the flags. Each is done in
 * a loop that becomes hot, and by a function that is called for each element.
 */
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { N = 24, ROWS = 6, ROUNDS = 400 };

static double a[N], b[N], sums[ROWS];
static float af[N], bf[N], sumsf[ROWS];

static uint64_t bits(double x)
{
    uint64_t u;

    memcpy(&u, &x, 8);
    return u;
}

static double quiet_nan(void) { return __builtin_nan("0x1234"); }
static double signalling_nan(void)
{
    uint64_t u = 0x7ff0000000000001;
    double x;

    memcpy(&x, &u, 8);
    return x;
}

/* ---- one by one ------------------------------------------------------ */

__attribute__((noinline)) static double step(double x, double y, double c)
{
    return __builtin_fma(x, y, c);
}
__attribute__((noinline)) static float stepf(float x, float y, float c)
{
    return __builtin_fmaf(x, y, c);
}
static double (*volatile step_of)(double, double, double) = step;
static float (*volatile stepf_of)(float, float, float) = stepf;

/* ---- in loops -------------------------------------------------------- */

__attribute__((noinline)) static void rows(long n)
{
    for (long j = 0; j < ROWS; j++) {
        double s = 0;
        for (long i = 0; i < n; i++) s = __builtin_fma(a[i], b[i], s);
        sums[j] = s;
    }
}
__attribute__((noinline)) static void rowsf(long n)
{
    for (long j = 0; j < ROWS; j++) {
        float s = 0;
        for (long i = 0; i < n; i++) s = __builtin_fmaf(af[i], bf[i], s);
        sumsf[j] = s;
    }
}
__attribute__((noinline)) static double one(long n, double s)
{
    for (long i = 0; i < n; i++) s = __builtin_fma(a[i], b[i], s);
    return s;
}
__attribute__((noinline)) static long less(long n)
{
    long count = 0;

    for (long i = 0; i < n; i++) count += isless(a[i], b[i]) + 2 * islessequal(b[i], a[i] + 1);
    return count;
}
__attribute__((noinline)) static double floors(long n)
{
    double s = 0;

    for (long i = 0; i < n; i++) s += floor(a[i] * 0.75) + sqrt(b[i]);
    return s;
}

/* ---- cases ----------------------------------------------------------- */

static void fill(double x, double y)
{
    for (int i = 0; i < N; i++) {
        a[i] = x + i, b[i] = y - i;
        af[i] = (float)a[i], bf[i] = (float)b[i];
    }
}
static void set(int i, double x, double y)
{
    a[i] = x, b[i] = y;
    af[i] = (float)x, bf[i] = (float)y; /* what was signalling is quiet then */
}

static void check(const char *name, const char *what, uint64_t got, uint64_t want, int flags, int f)
{
    if (got == want && flags == f)
        printf("ok - %s: %s\n", name, what);
    else
        printf("not ok - %s: %s: %llx, flags %x; one by one %llx, %x\n", name, what,
               (unsigned long long)got, (unsigned)flags, (unsigned long long)want, (unsigned)f);
}

static void sums_of(const char *name)
{
    double want = 0, wants = quiet_nan();
    float wantf = 0;
    int f, ff, fs;

    feclearexcept(FE_ALL_EXCEPT);
    for (int i = 0; i < N; i++) want = step_of(a[i], b[i], want);
    f = fetestexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    for (int i = 0; i < N; i++) wantf = stepf_of(af[i], bf[i], wantf);
    ff = fetestexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    for (int i = 0; i < N; i++) wants = step_of(a[i], b[i], wants);
    fs = fetestexcept(FE_ALL_EXCEPT);

    feclearexcept(FE_ALL_EXCEPT);
    rows(N);
    check(name, "double", bits(sums[ROWS - 1]), bits(want), fetestexcept(FE_ALL_EXCEPT), f);
    feclearexcept(FE_ALL_EXCEPT);
    rowsf(N);
    check(name, "float", bits((double)sumsf[1]), bits((double)wantf),
          fetestexcept(FE_ALL_EXCEPT), ff);
    feclearexcept(FE_ALL_EXCEPT);
    wants = bits(one(N, quiet_nan())) == bits(wants);
    check(name, "from a NaN on", wants != 0, 1, fetestexcept(FE_ALL_EXCEPT), fs);
}

static void others(const char *name)
{
    long count = 0;
    double s = 0;
    int f;

    feclearexcept(FE_ALL_EXCEPT);
    for (long i = 0; i < N; i++)
        count += (a[i] < b[i]) + 2 * (b[i] <= a[i] + 1);
    feclearexcept(FE_ALL_EXCEPT);
    f = less(N) == count;
    check(name, "quiet comparisons", (uint64_t)f, 1, fetestexcept(FE_INVALID | FE_DIVBYZERO), 0);
    for (long i = 0; i < N; i++) s += floor(a[i] * 0.75) + sqrt(b[i]);
    f = bits(floors(N)) == bits(s) || (isnan(s) && isnan(floors(N)));
    check(name, "floor", (uint64_t)f, 1, 0, 0);
}

int main(void)
{
    fill(1, 50);
    for (int r = 0; r < ROUNDS; r++) {
        rows(N);
        rowsf(N);
        one(N, r);
        less(N);
        floors(N);
    }
    sums_of("numbers");
    others("numbers");
    set(9, quiet_nan(), 1);
    sums_of("a NaN");
    others("a NaN");
    set(15, INFINITY, 0);
    sums_of("a NaN, then infinity times zero");
    fill(1, 50);
    set(15, 0, INFINITY);
    sums_of("infinity times zero");
    set(18, INFINITY, 0);
    sums_of("infinity times zero twice");
    fill(1, 50);
    set(3, INFINITY, 2);
    set(5, -INFINITY, 2);
    sums_of("infinity less infinity");
    fill(1, 50);
    set(N - 1, 4, quiet_nan());
    sums_of("a NaN at last");
    fill(1, 50);
    set(0, INFINITY, 3);
    set(7, signalling_nan(), 0);
    sums_of("a signalling NaN");
    return 0;
}
