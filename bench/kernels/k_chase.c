/* k_chase.c: pointers: a shuffled ring and a binary tree. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=memory quick=60 tiny=0 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct node {
    struct node *next, *left, *right;
    uint64_t key;
};
enum { NODES = 16384, FEW = 500 };
static struct node node[NODES];
static uint32_t seed = 5;

static uint32_t draw(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static void build(int n)
{
    static int order[NODES];
    struct node *root = &node[0];

    for (int i = 0; i < n; i++) {
        order[i] = i;
        node[i] = (struct node){0, 0, 0, draw()};
    }
    for (int i = n - 1; i > 0; i--) {
        int j = draw() % (i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (int i = 0; i < n; i++) node[order[i]].next = &node[order[(i + 1) % n]];
    for (int i = 1; i < n; i++) {
        struct node *at = root;
        for (;;) {
            struct node **side = node[i].key < at->key ? &at->left : &at->right;
            if (!*side) {
                *side = &node[i];
                break;
            }
            at = *side;
        }
    }
}

static uint64_t depth_of(uint64_t key)
{
    uint64_t depth = 0;

    for (const struct node *at = &node[0]; at && at->key != key; depth++)
        at = key < at->key ? at->left : at->right;
    return depth;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 280;
    int n = rounds ? NODES : FEW;
    uint64_t sum = 0;

    build(n);
    for (long r = 0; r <= rounds; r++) {
        const struct node *at = &node[r % n];
        for (int i = 0; i < 6 * n; i++) {
            sum += at->key ^ (uint64_t)i;
            at = at->next;
        }
        for (int i = 0; i < n; i += 2) sum += depth_of(node[i].key);
    }
    printf("chase %016llx\n", (unsigned long long)sum);
    return 0;
}
