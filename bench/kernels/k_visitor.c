/* k_visitor.c: expression trees evaluated by methods. SPDX-License-Identifier: Apache-2.0 */
/* bench: group=virtual quick=38000 tiny=5 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Every node knows its class by a method table, as compilers and script engines have it. */
struct node {
    const struct class *class;
    struct node *left, *right;
    int64_t value;
};
struct class
{
    int64_t (*eval)(const struct node *, const int64_t *variables);
    uint64_t (*hash)(const struct node *);
    int arity;
};

static inline int64_t eval(const struct node *n, const int64_t *v)
{
    return n->class->eval(n, v);
}
static inline uint64_t hash(const struct node *n)
{
    return n->class->hash(n);
}

#define BINARY(name, expression)                                                                   \
    static int64_t name##_eval(const struct node *n, const int64_t *v)                             \
    {                                                                                              \
        uint64_t a = (uint64_t)eval(n->left, v), b = (uint64_t)eval(n->right, v);                  \
        return (int64_t)(expression);                                                              \
    }                                                                                              \
    static uint64_t name##_hash(const struct node *n)                                              \
    {                                                                                              \
        return hash(n->left) * 31 + hash(n->right) * 17 + sizeof #name;                            \
    }                                                                                              \
    static const struct class name = {name##_eval, name##_hash, 2};

BINARY(add, a + b)
BINARY(subtract, a - b)
BINARY(multiply, a *b)
BINARY(exclusive, a ^ b)
BINARY(smaller, (int64_t)a < (int64_t)b ? a : b)

static int64_t choose_eval(const struct node *n, const int64_t *v)
{
    return v[n->value & 7] & 1 ? eval(n->left, v) : eval(n->right, v);
}
static uint64_t choose_hash(const struct node *n)
{
    return hash(n->left) ^ hash(n->right);
}
static int64_t constant_eval(const struct node *n, const int64_t *v)
{
    return (void)v, n->value;
}
static uint64_t constant_hash(const struct node *n)
{
    return (uint64_t)n->value * 7919;
}
static int64_t variable_eval(const struct node *n, const int64_t *v)
{
    return v[n->value & 7];
}
static uint64_t variable_hash(const struct node *n)
{
    return (uint64_t)n->value << 7;
}

static const struct class choose = {choose_eval, choose_hash, 2};
static const struct class constant = {constant_eval, constant_hash, 0};
static const struct class variable = {variable_eval, variable_hash, 0};
static const struct class *const inner[] = {&add,       &subtract, &multiply,
                                            &exclusive, &smaller,  &choose};

enum { NODES = 1024 };
static struct node pool[NODES];
static int used;
static uint32_t seed = 11;

static uint32_t draw(void)
{
    return (seed = seed * 1664525 + 1013904223) >> 8;
}

static struct node *grow(int depth)
{
    struct node *n = &pool[used++];

    n->value = draw() % 1000;
    if (depth == 0 || draw() % 8 == 0) {
        n->class = draw() & 1 ? &constant : &variable;
        return n;
    }
    n->class = inner[draw() % 6];
    n->left = grow(depth - 1);
    n->right = grow(depth - 1);
    return n;
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 190000;
    const struct node *root = grow(8);
    int64_t v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t sum = 0;

    for (long r = 0; r < rounds; r++) {
        int64_t x = 0;
        for (int k = 0; k < 3; k++) {
            x ^= eval(root, v);
            v[(r + k) & 7] += x & 0xff;
        }
        sum = sum * 31 + (uint64_t)x + hash(root);
    }
    printf("visitor %d %016llx\n", used, (unsigned long long)sum);
    return 0;
}
