/* cc_sort.c: sorting and searching, for the compiler to chew. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT 5000

struct item {
    unsigned key;
    char name[12];
    struct item *next;
};

static int by_key(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void heap_sift(int *a, int root, int n)
{
    for (int child; (child = 2 * root + 1) < n; root = child) {
        int t;
        if (child + 1 < n && a[child] < a[child + 1])
            child++;
        if (a[root] >= a[child])
            return;
        t = a[root], a[root] = a[child], a[child] = t;
    }
}

static void heap_sort(int *a, int n)
{
    for (int i = n / 2 - 1; i >= 0; i--)
        heap_sift(a, i, n);
    for (int i = n - 1; i > 0; i--) {
        int t = a[0];
        a[0] = a[i], a[i] = t;
        heap_sift(a, 0, i);
    }
}

static struct item *merge(struct item *a, struct item *b)
{
    struct item head = {0}, *tail = &head;
    while (a && b) {
        struct item **least = strcmp(a->name, b->name) <= 0 ? &a : &b;
        tail = tail->next = *least;
        *least = (*least)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static struct item *merge_sort(struct item *list)
{
    struct item *slow = list, *fast;
    if (!list || !list->next)
        return list;
    for (fast = list->next; fast && fast->next; fast = fast->next->next)
        slow = slow->next;
    fast = slow->next;
    slow->next = NULL;
    return merge(merge_sort(list), merge_sort(fast));
}

int main(void)
{
    static struct item items[COUNT];
    static int numbers[COUNT];
    unsigned state = 12345, sum = 0;
    struct item *list = NULL;

    for (int i = 0; i < COUNT; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (int)(state >> 8);
        items[i].key = state ^ state >> 13;
        snprintf(items[i].name, sizeof items[i].name, "%08x", state * 31);
    }
    heap_sort(numbers, COUNT);
    qsort(items, COUNT, sizeof *items, by_key);
    for (int i = 0; i < COUNT; i++) {
        items[i].next = list;
        list = &items[i];
        sum = sum * 31 + (unsigned)numbers[i] + items[i].key;
    }
    list = merge_sort(list);
    for (int i = 0; i < 5; i++, list = list->next)
        printf("%s %u\n", list->name, list->key);
    printf("%d %d %u\n", numbers[0], numbers[COUNT - 1], sum);
    return 0;
}
