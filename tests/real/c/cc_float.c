/* cc_float.c: floating point in many shapes, for the compiler to chew. SPDX-License-Identifier: Apache-2.0 */
#include <complex.h>
#include <math.h>
#include <stdio.h>

#define N 24

typedef double matrix[N][N];

static void multiply(matrix c, matrix a, matrix b)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double s = 0;
            for (int k = 0; k < N; k++)
                s += a[i][k] * b[k][j];
            c[i][j] = s;
        }
}

static double determinant(matrix a)
{
    double det = 1;
    for (int i = 0; i < N; i++) {
        int pivot = i;
        for (int r = i + 1; r < N; r++)
            if (fabs(a[r][i]) > fabs(a[pivot][i]))
                pivot = r;
        if (pivot != i)
            det = -det;
        for (int k = 0; k < N; k++) {
            double t = a[i][k];
            a[i][k] = a[pivot][k];
            a[pivot][k] = t;
        }
        det *= a[i][i];
        for (int r = i + 1; r < N; r++)
            for (int k = N - 1; k >= i; k--)
                a[r][k] -= a[i][k] * (a[r][i] / a[i][i]);
    }
    return det;
}

static void transform(double complex *x, int n)
{
    double complex even[64], odd[64];
    if (n == 1)
        return;
    for (int i = 0; i < n / 2; i++)
        even[i] = x[2 * i], odd[i] = x[2 * i + 1];
    transform(even, n / 2);
    transform(odd, n / 2);
    for (int i = 0; i < n / 2; i++) {
        double complex t = cexp(-2 * acos(-1) * I * i / n) * odd[i];
        x[i] = even[i] + t;
        x[i + n / 2] = even[i] - t;
    }
}

static float polynomial(float x, const float *c, int n)
{
    float r = 0;
    while (n--)
        r = r * x + c[n];
    return r;
}

static long rounds(double x)
{
    return lrint(x) + lround(x) * 3 + (long)floor(x) * 5 + (long)ceil(x) * 7 + (long)trunc(x) * 11;
}

int main(void)
{
    matrix a, b, c;
    double complex x[128];
    static const float k[] = {1, -0.5f, 0.25f, 3.5e-3f, 1e-8f};

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] = sin(i * j + 1), b[i][j] = 1.0 / (1 + i + j);
    multiply(c, a, b);
    printf("%.17g\n", determinant(a));
    printf("%.17g %.17g\n", c[3][4], c[N - 1][0]);
    for (int i = 0; i < 128; i++)
        x[i] = sin(i) + cos(i * 2) * I;
    transform(x, 128);
    printf("%.12g %.12g\n", creal(x[5]), cimag(x[77]));
    for (float v = -3; v < 3; v += 0.7f)
        printf("%.9g %ld\n", polynomial(v, k, 5), rounds(v));
    printf("%d %d %d\n", isnan(nan("")), fpclassify(1e-310) == FP_SUBNORMAL, signbit(-0.0) != 0);
    return 0;
}
