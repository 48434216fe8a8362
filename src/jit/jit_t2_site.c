/* jit_t2_site.c: tier 2, where indirect jumps and calls go.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tier 1 keeps no account of that: its probe of the lookup table leaves no trace, and
 * one that did would be paid for by all code, while a few loops want to know. So it
 * is asked for. When the former meets an indirect jump or call of which nothing is
 * known, behind a head that is hot, the vCPU is followed from there for some hundred
 * instructions (watch() of jit_run.c): one by one, by the interpreter, each
 * indirect one noted here. That takes some 0.1 ms, and is counted as tier 2's.
 *
 * What is noted is a hint and nothing else: the region compares (jit_t2_form.c), so
 * that what goes elsewhere, or is other code by then, leaves it. Nothing has to
 * be forgotten when guest code changes.
 *
 * Code that is in the middle of what is done often goes elsewhere after a while. Then guards
 * miss, which counts as a side exit does: what is known fades, the vCPU is followed from there
 * once more, and the region made anew.
 *
 * A table of fixed size: a place whose neighbourhood is full takes another's.
 */
#include "jit/jit_t2.h"

enum { T2_NEAR = 8 /* slots from its own at which a site may be */ };

static struct jit_t2_site *slot(struct jit_t2 *t, uint64_t key)
{
    uint32_t h = (uint32_t)base_hash64(key);
    for (uint32_t i = 0; i < T2_NEAR; i++) {
        struct jit_t2_site *s = &t->site[(h + i) % T2_SITES];
        if (s->key == key || !s->key)
            return s;
    }
    return &t->site[h % T2_SITES];
}

void jit_t2_went(struct jit_t2 *t, uint64_t key, uint64_t pc)
{
    struct jit_t2_site *s = slot(t, key);
    unsigned i;
    if (s->key != key)
        *s = (struct jit_t2_site){.key = key};
    s->all++;
    for (i = 0; i < s->ntargets && s->target[i].pc != pc; i++)
        ;
    if (i == JIT_PARAM_t2_targets) { /* of many: the more usual ones stay */
        if (s->target[--i].count > 1)
            return;
        s->all--;
        s->target[i] = (struct jit_t2_target){pc, 0};
    }
    if (i == s->ntargets)
        s->target[s->ntargets++] = (struct jit_t2_target){pc, 0};
    s->target[i].count++;
    for (; i && s->target[i].count > s->target[i - 1].count; i--) {
        struct jit_t2_target less = s->target[i - 1];
        s->target[i - 1] = s->target[i];
        s->target[i] = less;
    }
}

bool jit_t2_fade(struct jit_t2 *t, uint64_t key)
{
    struct jit_t2_site *s = slot(t, key);
    if (s->key != key)
        return false;
    s->all = 0;
    for (unsigned i = 0; i < s->ntargets; i++) { /* none is forgotten: it may come back */
        s->target[i].count = s->target[i].count / JIT_PARAM_t2_fade + 1;
        s->all += s->target[i].count;
    }
    return true;
}

unsigned jit_t2_targets(struct jit_t2 *t, uint64_t key, uint64_t pc[JIT_PARAM_t2_targets],
                        unsigned most, bool *seen)
{
    const struct jit_t2_site *s = slot(t, key);
    uint64_t usual = 0, compared = 0;
    unsigned n = 0;
    *seen = s->key == key && s->all >= JIT_PARAM_t2_sure;
    if (s->key != key)
        return 0;
    while (n < s->ntargets && (uint64_t)s->target[n].count * JIT_PARAM_t2_rare >= s->all) {
        pc[n] = s->target[n].pc;
        usual += s->target[n].count;
        compared += (n + 1ull) * s->target[n].count;
        n++;
    }
    if (usual * JIT_PARAM_t2_unusual < s->all * (JIT_PARAM_t2_unusual - 1ull) ||
        compared > usual * most)
        return 0; /* a jump by the table is better */
    return n;
}
