/* jit_priv.h: what the files of src/jit share. SPDX-License-Identifier: Apache-2.0
 *
 * Who protects what
 *
 *  - p->lock: forming, compiling, installing, linking, unlinking, the page
 *    index, every write to the code cache. Held for one region at a time.
 *  - The hash of regions is read without the lock: chains are published with
 *    release stores and never contain freed memory while a vCPU that could be
 *    reading has in_code set.
 *  - Regions, exit records and code memory are freed by a flush only. A flush
 *    sets flush_pending and waits until no other vCPU has in_code set; a vCPU
 *    sets in_code first and then looks at flush_pending, so one of the two sees the
 *    other. What orders the vCPU's store before its load is the flush's doing: it
 *    has the kernel put a barrier into all threads (membarrier), for it is rare,
 *    and a barrier behind every system call costs 20 ns. Where the kernel does not
 *    do that (p->fences), vCPUs have a fence of their own and translated code makes
 *    no system calls. No vCPU waits for the lock with in_code set: that would be a
 *    deadlock.
 *  - After every wait for the lock, what was known about exit numbers holds only
 *    if flush_count is still the same.
 */
#ifndef ISOMER_JIT_PRIV_H
#define ISOMER_JIT_PRIV_H

#include "jit/jit.h"

#include <setjmp.h>
#include <stdlib.h>

/* ---- parameters ------------------------------------------------------ */

/* PARAM(name, default, meaning): every limit of the region former and of the
 * code cache. */
#define JIT_PARAMS(PARAM)                                                     \
    PARAM(max_insns, 200, "guest instructions in a region")                    \
    PARAM(max_jumps, 4, "direct jumps followed inside a region")              \
    PARAM(max_sides, 2, "side exits of a region")                             \
    PARAM(max_sides_loop, 4, "side exits of one entered backwards or indirectly") \
    PARAM(first, 2000, "places interpreted when they are met first")           \
    PARAM(cache_kib, 65536, "code cache, KiB")                                \
    PARAM(t2_hot, 4000, "backward branches from one that is looked at to the next, at first") \
    PARAM(t2_early, 8, "after how many it takes twice as long")                \
    PARAM(t2_rarely, 1 << 18, "and at most so long")                           \
    PARAM(t2_seen, 2, "how often a loop's head is seen before it is optimised") \
    PARAM(t2_called, 10, "the same of a function")                             \
    PARAM(t2_insns, 2400, "tier 2: guest instructions in a region")             \
    PARAM(t2_blocks, 400, "tier 2: guest basic blocks in a region")           \
    PARAM(t2_good, 8, "tier 2: blocks from a head, beyond which tier 1 may be better at integers") \
    PARAM(t2_try, 32, "tier 2: blocks in it, beyond which it surely is")       \
    PARAM(t2_spills, 30, "tier 2: loads and stores of spilled values to 100 instructions, else") \
    PARAM(t2_small, 1, "tier 2: blocks of a loop by itself that are good in any case") \
    PARAM(t2_good_tree, 12, "tier 2: blocks in it that are good where it has no loop") \
    PARAM(t2_inline, 40, "tier 2: guest instructions of a function inlined")  \
    PARAM(t2_depth, 3, "tier 2: calls inlined in each other")                 \
    PARAM(t2_calls, 64, "tier 2: calls inlined in a region")                  \
    PARAM(t2_targets, 8, "tier 2: targets of an indirect jump or call that are inside") \
    PARAM(t2_rare, 32, "tier 2: what is a smaller part than one in so many is none of them") \
    PARAM(t2_sure, 12, "tier 2: how often an indirect jump is seen until it is known")       \
    PARAM(t2_fade, 16, "tier 2: what it weighs less when guards miss")          \
    PARAM(t2_unusual, 8, "tier 2: part of all that may go elsewhere")           \
    PARAM(t2_compared, 3, "tier 2: targets that an indirect call is compared with, on average") \
    PARAM(t2_compared_jump, 2, "tier 2: the same of a jump, which has nothing inlined by it") \
    PARAM(t2_watch, 300, "tier 2: instructions followed to see where indirect jumps go") \
    PARAM(t2_watches, 3, "tier 2: how often that is done from one place")      \
    PARAM(t2_good_guards, 32, "tier 2: blocks that are good where indirect calls are inlined") \
    PARAM(t2_tries, 4, "tier 2: regions made for one key, or tried")           \
    PARAM(t2_queue, 32, "tier 2: regions that wait for the thread")           \
    PARAM(t2_idle_ms, 100, "tier 2: the thread ends when nothing came for so long") \
    PARAM(t2_part, 8, "tier 2: hot is what so many'th part of all samples goes to")  \
    PARAM(t2_first_us, 300, "tier 2: CPU time it may take in any case")        \
    PARAM(t2_share, 1, "tier 2: and per cent of what the process has taken")   \
    PARAM(t2_first_us_hot, 1000, "tier 2: the same for what is hot")            \
    PARAM(t2_share_hot, 3, "tier 2: the same for what is hot, for each t2_part'th") \
    PARAM(t2_polls, 40, "tier 2 in lockstep: rounds at most")                 \
    PARAM(deopt_every, 40, "--test-deopt: forced exits at most this far apart")
enum {
#define JIT_PARAM(name, value, text) JIT_PARAM_##name = value,
    JIT_PARAMS(JIT_PARAM)
#undef JIT_PARAM
};

enum {
    JIT_RANGES = 6,          /* guest byte ranges of a region: max_jumps + 2 */
    JIT_RANGES_T2 = 128,     /* the same in tier 2 */
    JIT_CHUNK = 1024,        /* records in a chunk of a chunked table */
    JIT_CHUNKS = 2048,       /* chunks of a table: at most 2 M records */
    JIT_PAGE_BITS = 12,      /* granule of the page index */
    JIT_MET = 1 << 15,       /* places that were met, by hash */
    JIT_HEADS = 1 << 13,     /* places where tier 2 begins, by the low bits of their address */
    JIT_FORMED_BYTES = 1024, /* guest bytes of a region that can be stored */
    JIT_HOT_MOST = 1 << 15,  /* what a counter of exits may begin with */
    JIT_EXIT_FAULT = 0x7ffffffe /* exit_id after an abandoned run */
};
_Static_assert((int)JIT_PARAM_max_jumps + 2 <= (int)JIT_RANGES, "a range per jump");

/* ---- regions --------------------------------------------------------- */

struct jit_range {
    uint64_t start;
    uint32_t len;
};

struct jit_maps {
    const uint8_t *bytes;
    const uint32_t *start; /* map number -> offset in bytes */
    uint32_t count;
};

/* There are as many of these as regions, and every page of them costs a fault, so
 * they are small: what varies in length lies behind the record (jit_ranges,
 * jit_points, jit_maps_of). */
struct jit_region {
    uint64_t key;
    _Atomic(uint64_t) next;  /* hash chain, see jit_region.c */
    const uint8_t *code;     /* hot section where it runs; NULL: interpreted */
    const uint8_t *cold;
    uint64_t hash;           /* of the guest bytes */
    struct ir_func *ir;      /* interpreted: the region's own copy */
    uint32_t hot_len, cold_len; /* cold: link stubs included */
    uint32_t cold_code;         /* cold without them */
    uint32_t exit_first;
    uint32_t in_links;       /* list of exits linked to here, JIT_NO_EXIT ends it */
    uint32_t npoints, nmaps;
    uint16_t nexits;
    uint16_t nguest;         /* guest instructions */
    uint8_t nranges;
    uint8_t tier;            /* 1 or 2 */
    bool writable;           /* the guest could write some of its bytes */
    bool counted;            /* its entries are: by its last map */
    bool reform;             /* the mode may be another one at its end */
    bool once;               /* has effects that cannot be undone and run again */
    _Atomic(bool) dead;      /* forgotten: not in the hash any more */
};
static inline struct jit_range *jit_ranges(const struct jit_region *r)
{
    return (struct jit_range *)(r + 1);
}
static inline struct jit_point *jit_points(const struct jit_region *r)
{
    return (struct jit_point *)(jit_ranges(r) + r->nranges);
}
static inline struct jit_maps jit_maps_of(const struct jit_region *r)
{
    const uint32_t *start = (const uint32_t *)(jit_points(r) + r->npoints);
    return (struct jit_maps){(const uint8_t *)(start + r->nmaps), start, r->nmaps};
}
enum { JIT_NO_EXIT = 0xffffffffu };

/* Where indirect jumps to key look first, and where their stub does then: of two hot targets that
 * have one place in the first, one is in the other. */
static inline struct jit_lookup *jit_lookup_of(struct jit_vcpu *v, uint64_t key)
{
    return &v->lookup[(key >> 1) & ((1u << JIT_LOOKUP_BITS) - 1)];
}
static inline struct jit_lookup *jit_victim_of(struct jit_vcpu *v, uint64_t key)
{
    return &v->victim[((key ^ key >> JIT_VICTIM_SHIFT) >> 1) & ((1u << JIT_VICTIM_BITS) - 1)];
}

/* An exit of a region (numbers up from 0, exit_id in generated code). Addresses
 * are offsets in the code cache. */
struct jit_exit {
    uint64_t key;
    uint32_t site;             /* rel32 to patch; 0: none */
    uint32_t stub;
    uint32_t next;             /* in the in_links of the region it is linked to */
    uint32_t info;
    uint16_t trap;
    uint8_t kind;
    uint8_t mode;              /* of its region */
    uint16_t counter;          /* as in jit_exit_out */
    bool by_stub;              /* linked by the jump in front of the stub */
    bool fixed;                /* never linked: what follows depends on more than the pc */
    bool linked;
    bool back;                 /* goes backwards: to the head of a loop */
    bool call;                 /* to a function, or back from one */
};

/* A place that leaves through a state map. */
struct jit_deopt {
    const struct jit_region *region;
    uint32_t map;
    bool hot;                  /* the ticks have run out */
};

/* Table of records in chunks: addresses are stable, readers need no lock. */
struct jit_table {
    void *chunk[JIT_CHUNKS];
    uint32_t count;
};
static inline void *jit_table_at(const struct jit_table *t, uint32_t n, size_t size)
{
    return (char *)t->chunk[n / JIT_CHUNK] + (n % JIT_CHUNK) * size;
}
/* Room for n more? */
static inline bool jit_table_room(const struct jit_table *t, uint32_t n)
{
    return t->count + n <= (uint32_t)JIT_CHUNK * JIT_CHUNKS;
}

/* ---- private parts of a VM and of a vCPU ----------------------------- */

struct jit_bucket_table {
    uint32_t mask;
    struct jit_bucket_table *older; /* freed with the VM: readers may be in it */
    _Atomic(uint64_t) bucket[]; /* region | hash bits 48..63 */
};

/* Regions on a page: singly linked nodes from the arena. */
struct jit_page_node {
    struct jit_region *region;
    struct jit_page_node *next;
};
struct jit_page {
    uint64_t number;
    struct jit_page_node *first; /* NULL: slot of the table is free */
};

struct jit_cache {
    uint8_t *rw;           /* where it is written */
    const uint8_t *rx;     /* where it runs */
    size_t size;
    size_t hot_start;      /* behind the stubs */
    size_t hot, cold;      /* hot grows up, cold grows down; offsets */
    size_t hot_ready, cold_ready; /* populated up to, down to (jit_cache_reserve) */
    _Atomic(uint32_t) *users; /* processes that share the memory (fork) */
};

/* What the former found out about the region it last made. */
struct jit_formed {
    unsigned nranges;
    bool hashed;
    uint64_t hash;
    bool writable, reform;
    bool cut; /* it ends where one of tier 2 begins */
    bool doubtful; /* tier 2: so many blocks that it has to be seen whether it is good at them */
    uint32_t fetch_info; /* no region: bytes of the first instruction there */
    unsigned nbytes;       /* of the guest's, in bytes: if they are wanted for the store */
    struct jit_range range[JIT_RANGES_T2];
    uint8_t bytes[JIT_FORMED_BYTES];
};
static inline void jit_formed_reset(struct jit_formed *d)
{
    memset(d, 0, offsetof(struct jit_formed, range));
}

/* Why compiles were given up, and how often. */
struct jit_reasons {
    BASE_VEC(const char *) why;
    BASE_VEC(uint64_t) count;
};

struct jit_priv {
    pthread_mutex_t lock;
    pthread_mutex_t lockstep; /* one vCPU at a time: memory must not change between */
    _Atomic(uint32_t) flush_pending;
    _Atomic(uint64_t) flush_count;
    bool compiles;           /* there is a code generator and it is wanted */
    bool fences;             /* setting in_code needs a fence: see above */
    bool short_calls;        /* jit_next may act on system calls by next_call */
    struct jit_vcpu *vcpus;
    uint64_t invalidated2;   /* regions of tier 2 whose code has changed */
    struct ir_func *func;    /* the former's */
    struct ir_func *single;  /* forced exits: one instruction */
    struct jit_formed formed;
    struct jit_code code;    /* the compiler's output */
    struct jit_cache cache;
    struct base_arena arena; /* regions; reset by a flush */
    _Atomic(struct jit_bucket_table *) hash;
    uint32_t nhash;
    struct jit_table regions; /* struct jit_region *, compiled ones, by address */
    struct jit_table exits;   /* struct jit_exit */
    struct jit_table deopts;  /* struct jit_deopt */
    struct jit_page *pages;
    uint32_t page_mask, npages;
    BASE_VEC(struct jit_region *) writable;
    BASE_VEC(struct ir_func *) irs; /* copies to free */
    struct jit_reasons gave_up[2]; /* by tier, 1 or 2, less 1 */
    uint64_t met[JIT_MET / 64]; /* by hash of the key: was it met before? */
    uint64_t heads[JIT_HEADS / 64]; /* where tier 2 may have a region, see jit_head */
    bool any_head;
    _Atomic(uint32_t) first_left; /* how many more are interpreted when they are met */
    _Atomic(struct ir_func *) first_func; /* to form what is met first; NULL: in use */
    struct jit_t2 *t2;        /* tier 2, see jit_t2.h */
    struct jit_store *store;  /* stored translations, see jit_store.h; NULL: none */
    uint64_t shadow_bottom;   /* word at the bottom of shadow stacks */
};

struct jit_undo;

/* A vCPU with what only src/jit sees. */
struct jit_thread {
    struct jit_vcpu v; /* first */
    sigjmp_buf landing;
    volatile sig_atomic_t interp; /* ir_interp runs: faults go to landing */
    volatile sig_atomic_t forming; /* guest bytes are read: so do these */
    uint64_t seed;               /* of the forced exits */
    uint64_t periods;            /* the same of what is sampled for tier 2; always from 0 */
    uint32_t sampled;            /* how often that was */
    struct ir_func *single;
    struct jit_undo *undo;       /* lockstep */
};
static inline struct jit_thread *jit_thread_of(struct jit_vcpu *v)
{
    return (struct jit_thread *)v;
}

static inline uint64_t *jit_pc_of(struct jit_vcpu *v)
{
    return (uint64_t *)(v->state + v->jit->cfg.guest->pc_offset);
}
static inline struct ir_fpenv *jit_env_of(struct jit_vcpu *v)
{
    return (struct ir_fpenv *)(v->state + v->jit->cfg.guest->fpenv_offset);
}
/* A slot's value, zero-extended. */
static inline uint64_t jit_slot_read(const struct ir_slot *s, const void *state)
{
    uint64_t v = 0;
    memcpy(&v, (const char *)state + s->offset, (ir_type_bits(s->type) + 7) / 8);
    return v;
}
static inline unsigned jit_mode_of(struct jit_vcpu *v)
{
    const struct ir_guest *g = v->jit->cfg.guest;
    return g->mode ? g->mode(v->state) : 0;
}
static inline uint64_t jit_key(uint64_t pc, unsigned mode) { return pc | (uint64_t)mode << 60; }
static inline uint64_t jit_pc_of_key(uint64_t key) { return key & (UINT64_MAX >> 4); }
static inline unsigned jit_mode_of_key(uint64_t key) { return (unsigned)(key >> 60); }

/* ---- jit_vm.c --------------------------------------------------------- */

/* Other vCPUs that set in_code from now on see what was written before. */
void jit_order_others(const struct jit *j);

/* From here on new code is interpreted when it is met first (jit_run.c). A child of a
 * fork begins so, too: most of them do little before they execute another program, and
 * the first region that is compiled costs a copy of the code cache. */
void jit_first_again(struct jit *j);

/* ---- jit_form.c ------------------------------------------------------ */

/* A window of readable guest bytes, and what the region has used so far. */
struct jit_reader {
    struct jit *j;
    uint64_t start;
    const uint8_t *bytes;
    size_t len;
    size_t inner; /* any instruction that begins before this offset is all there */
    bool writable; /* the guest may write some of what was read */
    uint8_t seam[32]; /* an instruction across two windows */
};
/* Bytes at pc: a pointer and how many; 0: nothing there (lock held). */
size_t jit_reader_at(struct jit_reader *r, uint64_t pc, const uint8_t **bytes);

/* Forms the region at pc into f (lock held); p->formed describes it. False if
 * nothing can be fetched there. max_insns 0: the parameter. */
bool jit_form_into(struct jit *j, struct ir_func *f, uint64_t pc, unsigned mode,
                   unsigned max_insns, unsigned max_sides);
/* Hash of the guest bytes of ranges as they are now; false: not all are there. */
bool jit_hash_ranges(struct jit *j, const struct jit_range *r, unsigned n, uint64_t *hash);
/* Copy of a region to keep; free with ir_func_copy_free. */
struct ir_func *jit_ir_copy(const struct ir_func *f);
/* Does it contain what lockstep cannot run twice? */
bool jit_ir_once(const struct ir_func *f, const struct ir_guest *g);

/* ---- jit_map.c ------------------------------------------------------- */

/* Writes all slots of the map's point to state; returns the guest pc. The
 * state's pc is set too. */
uint64_t jit_map_apply(const struct jit *j, const struct jit_maps *m, unsigned n,
                       const struct jit_regs *regs, const uint64_t *spill, void *state);
uint64_t jit_map_pc(const struct jit_maps *m, unsigned n);
void jit_map_print(const struct jit *j, const struct jit_maps *m, unsigned n,
                   struct base_text *out);

/* ---- jit_region.c: hash, page index, exits, invalidation -------------- */

void jit_regions_init(struct jit *j);
void jit_regions_free(struct jit *j);
struct jit_region *jit_find(const struct jit_priv *p, uint64_t key);
/* A region record for what was formed (lock held). */
struct jit_region *jit_region_new(struct jit *j, const struct jit_formed *d, uint64_t key,
                                  size_t extra);
void jit_region_publish(struct jit *j, struct jit_region *r);
void *jit_table_push(struct jit_table *t, size_t size);
/* The compiled region that contains host address pc, or NULL; safe in signal
 * handlers of a vCPU that is in translated code. */
const struct jit_region *jit_region_by_code(const struct jit *j, uint64_t pc);
/* The point for an address inside region r, or NULL. */
const struct jit_point *jit_point_by_code(const struct jit_region *r, uint64_t pc);
/* Does code of a live region come from the byte at pc? (lock held) */
bool jit_covered(struct jit *j, uint64_t pc);
/* A better region for the same key is there: old is forgotten (lock held). */
void jit_replace(struct jit *j, struct jit_region *old);
/* r, of tier 2, has just been published: tier 1's regions that run through where it begins are
 * forgotten, to be made anew with their end there (lock held). */
void jit_cut(struct jit *j, const struct jit_region *r);
/* Does a region of tier 2 begin at pc? Or at one of the len bytes from pc on? (lock held) */
bool jit_head_among(const struct jit *j, uint64_t pc, uint64_t len, unsigned mode);
static inline bool jit_head(const struct jit *j, uint64_t pc, unsigned mode)
{
    const struct jit_priv *p = j->p;
    return base_unlikely(p->any_head) && p->heads[pc / 2 % JIT_HEADS / 64] >> pc / 2 % 64 & 1 &&
           jit_head_among(j, pc, 1, mode);
}
/* Drops every region, exit and byte of code (lock held; waits for other vCPUs). */
void jit_flush(struct jit *j, struct jit_vcpu *self);

/* ---- jit_cache.c: memory for code ------------------------------------- */

int jit_cache_init(struct jit *j);
void jit_cache_free(struct jit *j);
/* Must come before anything is written to the cache (lock held): makes our own
 * copy if another process shares it. */
void jit_cache_write_begin(struct jit *j);
/* The same, and brings in the pages for code up to hot and from cold on. */
void jit_cache_reserve(struct jit *j, size_t hot, size_t cold);
static inline uint8_t *jit_rw(const struct jit *j, const uint8_t *rx)
{
    return j->p->cache.rw + (rx - j->p->cache.rx);
}
static inline bool jit_in_cache(const struct jit *j, uint64_t pc)
{
    return pc - (uint64_t)(uintptr_t)j->p->cache.rx < j->p->cache.size;
}

/* ---- jit_install.c: from struct jit_code to a runnable region ---------- */

/* Installs code as the region of key (lock held); NULL: no room. */
struct jit_region *jit_install(struct jit *j, uint64_t key, const struct jit_code *c,
                               const struct jit_formed *d);
/* The same; where there is no room everything else is dropped first. */
struct jit_region *jit_install_flush(struct jit *j, struct jit_vcpu *self, uint64_t key,
                                     const struct jit_code *c, const struct jit_formed *d);
void jit_link(struct jit *j, uint32_t exit, struct jit_region *to);
void jit_unlink(struct jit *j, struct jit_region *to);
/* Publishes and links r, which has just been installed, in the place of old (of the same key, is
 * forgotten) unless that is NULL (lock held). */
void jit_take_place(struct jit *j, struct jit_region *r, struct jit_region *old);

/* ---- jit_run.c --------------------------------------------------------- */

/* A compile of that tier was given up (lock held). */
void jit_gave_up(struct jit *j, unsigned tier, const char *why);

/* How a region was come to: decides how long it is made and what is counted for tier 2. */
enum jit_came { JIT_CAME_ON, JIT_CAME_BACK, JIT_CAME_CALLED, JIT_CAME_LOOKUP };
/* The region at key, made if need be (lock held); NULL: nothing to fetch, see
 * p->formed.fetch_info. */
struct jit_region *jit_translate(struct jit *j, struct jit_vcpu *self, uint64_t key,
                                 enum jit_came came);
/* Interprets f, catching host faults; v's FP status is current afterwards. */
void jit_interpret(struct jit_vcpu *v, const struct ir_func *f, const struct ir_mem *mem,
                   struct ir_end *end);
/* Runs code of r until it leaves; exit_id tells how. */
void jit_enter(struct jit_vcpu *v, const struct jit_region *r);
/* in_code protocol around everything that uses regions without the lock. */
void jit_code_begin(struct jit_vcpu *v);
static inline void jit_code_end(struct jit_vcpu *v)
{
    __atomic_store_n(&v->in_code, 0, __ATOMIC_RELEASE);
}
extern _Thread_local struct jit_vcpu *jit_current;

/* ---- jit_t2.c: tier 2 (jit_t2.h is for its own files) ------------------- */

bool jit_t2_init(struct jit *j);
void jit_t2_free(struct jit *j);
/* Counters of a new vCPU. */
void jit_t2_vcpu_init(struct jit_vcpu *v);
/* How many backward branches until the next is looked at. */
uint32_t jit_t2_period(struct jit_vcpu *v);
/* One that is looked at goes to pc (no lock, in_code clear); it is at `from` in the region of
 * that key; call: it calls. Makes a tier-2 region there, now or soon, if that was seen often.
 * Where nothing is to be learnt any more tier 1's region goes, to be made with a poll instead. */
/* True: the vCPU is to be followed, to see where indirect jumps and calls go. */
bool jit_t2_sample(struct jit_vcpu *v, uint64_t pc, uint64_t from, uint64_t region, bool call);
/* It was, which took ns: n of them went so. */
struct jit_went { uint64_t key, pc; };
void jit_t2_watched(struct jit_vcpu *v, const struct jit_went *went, unsigned n, uint64_t ns);
/* An exit to target of the tier-2 region of key was taken often: makes the region anew
 * if target will then be inside. Returns how often until it is asked for again. */
uint32_t jit_t2_exit_hot(struct jit_vcpu *v, uint64_t key, uint64_t target);
/* Is that exit a guard's that missed? Then the vCPU is to be followed first. */
bool jit_t2_missed(struct jit_vcpu *v, uint64_t key, uint64_t target);
/* With the lock: guest code has changed, everything was flushed. */
void jit_t2_forget(struct jit *j, uint64_t start, uint64_t len, bool changed_only);
void jit_t2_flushed(struct jit *j);
/* Waits, with the lock, until nothing is being compiled and nothing will be. */
void jit_t2_pause(struct jit *j);
void jit_t2_resume(struct jit *j);
void jit_t2_fork_child(struct jit *j);

/* ---- jit_lockstep.c ---------------------------------------------------- */

/* Runs r by the interpreter, takes that back and runs its code, and compares;
 * a difference is printed and ends the process. */
void jit_lockstep(struct jit_vcpu *v, const struct jit_region *r);
/* Guest pc at which the last run of code left (exit_id in v). */
uint64_t jit_exit_pc(struct jit_vcpu *v);
void jit_lockstep_free(struct jit_thread *t);

/* ---- jit_dump.c -------------------------------------------------------- */

/* Dumps the pieces of a region whose letters are in what. marks: what it was made from, for
 * the places in host code where guest instructions begin; or NULL. */
void jit_dump_region(struct jit *j, FILE *out, const char *what, const struct ir_func *f,
                     const struct jit_region *r, const struct jit_code *marks);

#endif
