/* k_quicksort.c: quicksort and heapsort of integers. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=memory quick=3 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS = 200000, FEW = 1000 };
static int32_t item[ITEMS];
static uint32_t seed = 3;

static void quicksort(int32_t *a, long n)
{
    while (n > 16) {
        int32_t pivot = a[n / 2];
        long i = 0, j = n - 1;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i <= j) {
                int32_t t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        quicksort(a, j + 1);
        a += i;
        n -= i;
    }
    for (long i = 1; i < n; i++) {
        int32_t v = a[i];
        long j = i;
        for (; j > 0 && a[j - 1] > v; j--) a[j] = a[j - 1];
        a[j] = v;
    }
}

static void sift(int32_t *a, long at, long n)
{
    int32_t v = a[at];

    for (long child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && a[child + 1] > a[child]) child++;
        if (a[child] <= v) break;
        a[at] = a[child];
    }
    a[at] = v;
}

static void heapsort_ints(int32_t *a, long n)
{
    for (long i = n / 2; i-- > 0;) sift(a, i, n);
    while (n-- > 1) {
        int32_t t = a[0];
        a[0] = a[n];
        a[n] = t;
        sift(a, 0, n);
    }
}

static void fill(long n)
{
    for (long i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        item[i] = (int32_t)seed >> 4;
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 13;
    uint64_t hash = 0;

    for (long r = 0; r <= rounds; r++) {
        long n = r ? ITEMS : FEW;
        fill(n);
        quicksort(item, n);
        for (long i = 0; i < n; i += 101) hash = hash * 31 + (uint32_t)item[i];
        fill(n / 2);
        heapsort_ints(item, n / 2);
        for (long i = 0; i < n; i += 101) hash = hash * 31 + (uint32_t)item[i];
    }
    printf("quicksort %016llx\n", (unsigned long long)hash);
    return 0;
}
