/* o_scale_sort.c: threads that sort an array together. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=scaling n=400000 quick=200000 tiny=400 */
/* Four quarters are sorted, then merged to halves, then to the whole: the last step is for one
 * thread alone, on every machine. */
#include "os_scale.h"
#include <string.h>

static uint32_t *data, *other;
static uint64_t check;
static long merged; /* length of what is in order */

static void quicksort(uint32_t *a, long n)
{
    while (n > 16) {
        uint32_t pivot = a[n / 2], t;
        long i = 0, j = n - 1;

        while (i <= j) {
            while (a[i] < pivot)
                i++;
            while (a[j] > pivot)
                j--;
            if (i <= j) {
                t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        quicksort(a, j + 1);
        a += i;
        n -= i;
    }
    for (long i = 1; i < n; i++) {
        uint32_t x = a[i];
        long j = i;

        for (; j > 0 && a[j - 1] > x; j--)
            a[j] = a[j - 1];
        a[j] = x;
    }
}

static void *sort_quarters(void *number)
{
    for (long q = (intptr_t)number; q < 4; q += scale_threads)
        quicksort(data + q * merged, merged);
    return NULL;
}

static void *merge_pairs(void *number)
{
    for (long at = (intptr_t)number * 2 * merged; at < os_n; at += 2 * merged * scale_threads) {
        const uint32_t *a = data + at, *b = a + merged, *a_end = b, *b_end = b + merged;
        uint32_t *to = other + at;

        while (a < a_end && b < b_end)
            *to++ = *a <= *b ? *a++ : *b++;
        memcpy(to, a, (size_t)(a_end - a) * sizeof *a);
        to += a_end - a;
        memcpy(to, b, (size_t)(b_end - b) * sizeof *b);
    }
    return NULL;
}

static void batch(long n)
{
    uint64_t x = 1;

    for (long i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        data[i] = (uint32_t)(x >> 32);
    }
    merged = n / 4;
    scale_run(sort_quarters, scale_threads);
    for (; merged < n; merged *= 2) {
        uint32_t *sorted = other;

        scale_run(merge_pairs, scale_threads);
        other = data;
        data = sorted;
    }
    for (long i = 1; i < n; i++)
        if (data[i - 1] > data[i])
            exit(1);
    check = check * 31 + data[n / 3];
}

int main(int argc, char **argv)
{
    os_arguments(argc, argv);
    data = malloc((size_t)os_n * sizeof *data);
    other = malloc((size_t)os_n * sizeof *other);
    if (!data || !other)
        os_die("malloc");
    scale_all(batch);
    printf("check %llx\n", (unsigned long long)check);
    return 0;
}
