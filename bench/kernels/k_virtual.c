/* k_virtual.c: objects of several classes behind method tables. SPDX-License-Identifier: Apache-2.0
 */
/* bench: group=virtual quick=1500 tiny=2 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct object;
struct methods {
    uint64_t (*area)(const struct object *);
    void (*move)(struct object *, int dx, int dy);
    uint64_t (*key)(const struct object *, uint64_t salt);
};
struct object {
    const struct methods *methods;
    int64_t x, y, a, b;
};

static uint64_t square_area(const struct object *o)
{
    return o->a * o->a;
}
static uint64_t rectangle_area(const struct object *o)
{
    return o->a * o->b;
}
static uint64_t triangle_area(const struct object *o)
{
    return o->a * o->b / 2;
}
static uint64_t circle_area(const struct object *o)
{
    return o->a * o->a * 355 / 113;
}
static uint64_t line_area(const struct object *o)
{
    return (void)o, 0;
}
static void move_plain(struct object *o, int dx, int dy)
{
    o->x += dx, o->y += dy;
}
static void move_heavy(struct object *o, int dx, int dy)
{
    o->x += dx / 2, o->y += dy / 2;
}
static void move_never(struct object *o, int dx, int dy)
{
    (void)o, (void)dx, (void)dy;
}
static uint64_t key_plain(const struct object *o, uint64_t s)
{
    return (o->x ^ s) * 31 + o->y;
}
static uint64_t key_swap(const struct object *o, uint64_t s)
{
    return (o->y ^ s) * 37 + o->x;
}

static const struct methods classes[] = {
    {square_area, move_plain, key_plain},  {rectangle_area, move_heavy, key_swap},
    {triangle_area, move_plain, key_swap}, {circle_area, move_heavy, key_plain},
    {line_area, move_never, key_plain},    {square_area, move_never, key_swap},
};

enum { OBJECTS = 4096 };
static struct object object[OBJECTS];

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 9000;
    uint32_t seed = 7;
    uint64_t sum = 0;

    for (int i = 0; i < OBJECTS; i++) {
        seed = seed * 1664525 + 1013904223;
        /* Runs of one class and mixed stretches, as lists of widgets or nodes have. */
        unsigned kind = (i % 64 < 40 ? (unsigned)i / 64 : seed >> 20) % 6;
        object[i] = (struct object){&classes[kind], i, -i, seed >> 24, seed >> 16 & 0xff};
    }
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < OBJECTS; i++) {
            struct object *o = &object[i];
            sum += o->methods->area(o);
            o->methods->move(o, r & 7, i & 3);
            sum ^= o->methods->key(o, sum);
        }
    }
    printf("virtual %016llx\n", (unsigned long long)sum);
    return 0;
}
