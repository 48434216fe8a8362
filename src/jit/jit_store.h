/* jit_store.h: stored translations, for the files of src/jit.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What tier 1 made of guest code that lies in a file, kept for other processes. One block of bytes
 * for each guest file, in this machine's byte order; offsets are from its start.
 *
 *     header | slots | records
 *
 * The slots are a hash table by position in the guest file, searched where they are: opening costs
 * nothing, whatever the size. A record is what the code generator gave (struct jit_code) and the
 * guest bytes that it gave it for:
 *
 *     struct jit_record | exits | ranges | points | relocs | map starts | guest bytes | maps |
 *     hot code | cold code | zeros up to a multiple of 8
 *
 * Exactness. A record is used only if its guest bytes are those in memory now, so that a file
 * which has changed, or a wrong id, can miss, but not mislead. Its sum tells a torn file (a crash
 * while it was written), and every number that code is placed by is checked against the record's
 * size: bytes that make no sense are a miss as well. What a record cannot be protected from is
 * somebody who writes good sums over bad code: who may write such a file is the caller's business.
 *
 * Position. Guest code may lie elsewhere in every process. What depends on that has a relocation
 * (JIT_RELOC_*_GUEST), is an exit's key, or is the pc of the first map; where the address
 * is another one a copy of the record is moved there first.
 */
#ifndef ISOMER_JIT_STORE_H
#define ISOMER_JIT_STORE_H

#include "jit/jit_priv.h"

enum {
    JIT_STORE_VERSION = 2,
    JIT_STORE_PROBES = 64,            /* slots looked at for one position */
    JIT_STORE_RECORD_MAX = 64 << 10,  /* bytes of a record */
    JIT_STORE_FRESH_MAX = 96 << 20,   /* bytes of new records of one file */
    JIT_STORE_RESIDENT = 2 << 20,     /* bytes of records used until their pages are let go */
    JIT_STORE_FRESH_MIN = 8 << 10,    /* less is not worth a write */
    JIT_STORE_FRESH_SHARE = 16        /* nor is less than this part of what is there */
};

struct jit_store_header {
    uint64_t magic;
    uint32_t version, nslots;  /* nslots: a power of two */
    uint64_t key;              /* jit_store_on's */
    uint64_t size;             /* of all */
    uint64_t count;            /* records */
    uint64_t sum;              /* of what is above */
};
#define JIT_STORE_MAGIC 0x65726f7473747369ull /* "iststore" */

/* 0: empty; else the upper half of the position's hash, and below it the record's offset / 8. */
typedef uint64_t jit_store_slot;

struct jit_record {
    uint64_t sum;              /* of all behind it */
    uint64_t at;               /* position in the guest file */
    uint64_t pc;               /* where that was in memory */
    uint32_t size;             /* of all, a multiple of 8 */
    uint32_t len[2];           /* sections of code */
    uint32_t nmaps_bytes;
    uint16_t nrelocs, npoints, nexits, nranges, nmaps, nbytes;
    uint16_t nguest;
    uint8_t counted;           /* as in struct jit_region */
    uint8_t anew;              /* what was stored there is not of these guest bytes */
    uint8_t pad[6];
};
struct jit_record_exit {
    uint64_t key;
    uint32_t info;
    uint16_t trap;
    uint8_t kind, flags;       /* bit 0: is_call, 1: is_back, 2: is_landing */
};
struct jit_record_range {
    int32_t start;             /* from the record's pc on */
    uint32_t len;
};

/* A record's arrays, in its own memory or in the compiler's. */
struct jit_parts {
    const struct jit_reloc *relocs;
    const struct jit_point *points;
    const struct jit_record_exit *exits;
    const struct jit_record_range *ranges;
    const uint32_t *map_start;
    const uint8_t *bytes, *maps, *code[2];
};

/* ---- jit_record.c ------------------------------------------------------ */

/* Where the arrays of r are; false: its numbers do not fit its size, or make no sense. */
bool jit_record_parts(const struct jit_record *r, struct jit_parts *p);
uint64_t jit_record_sum(const struct jit_record *r);
/* Appends the record of a compiled region at position at to out, but for its sum and anew; false:
 * it cannot be kept. */
typedef BASE_VEC(uint8_t) jit_store_bytes;
bool jit_record_make(jit_store_bytes *out, uint64_t at, uint64_t key,
                     const struct jit_region *r, const struct jit_code *c,
                     const struct jit_formed *d);
/* Makes r, a copy of a record with sound parts, one for code at pc; false: it cannot be there. */
bool jit_record_move(struct jit_record *r, uint64_t pc);

/* ---- the store of a VM ------------------------------------------------- */

struct jit_store_file {
    uint64_t id;
    const char *data;            /* what is there, or NULL */
    const jit_store_slot *slots;
    uint32_t mask;               /* slots less 1 */
    uint64_t size;
    jit_store_bytes fresh;       /* new records, one behind the other */
    jit_store_slot *fresh_slots; /* a table like that of the file; NULL: none yet */
    uint32_t fresh_mask, nfresh;
    uint64_t saved;              /* bytes of fresh that were asked for */
    uint64_t used;               /* bytes of data's records since it was let go */
};
struct jit_store_range {
    uint64_t start, len, offset;
    uint32_t file;
};
struct jit_store {
    uint64_t key;
    BASE_VEC(struct jit_store_file) files;
    BASE_VEC(struct jit_store_range) ranges;
    uint32_t last;               /* the range that was asked for last */
    jit_store_bytes moved;       /* copy of a record for another address */
};

/* ---- jit_store_merge.c ------------------------------------------------- */

/* The record for position at, among those from base on in size bytes; NULL: none. Only its
 * header is known to be there. */
const struct jit_record *jit_slots_find(const jit_store_slot *slots, uint32_t mask,
                                        const char *base, uint64_t size, uint64_t at);
/* A record for at is at where. Of two at the same position the later stays; base: where the others
 * are, NULL: this is the only one at its position. False: no free slot is near. */
bool jit_slots_put(jit_store_slot *slots, uint32_t mask, const char *base, uint64_t at,
                   uint64_t where);
/* Can data be searched: a header with its sum, for this store, and slots? */
bool jit_store_sound(const struct jit_store *s, const void *data, uint64_t size);

/* ---- jit_store.c ------------------------------------------------------- */

void jit_store_init(struct jit *j);
void jit_store_free(struct jit *j);
/* NULL: not known (lock held). */
struct jit_store_file *jit_store_file_of(const struct jit_store *s, uint64_t id);
/* Is the code at key (lock held) in a file of which something is stored? Then it is worth compiling
 * at once: what is not there yet will be, and nobody need do it again. */
bool jit_store_serves(const struct jit *j, uint64_t key);
/* Installs it (lock held); NULL: none that fits. The caller publishes the region. */
struct jit_region *jit_store_take(struct jit *j, struct jit_vcpu *self, uint64_t key);
/* r was made of p->formed and p->code (lock held): keeps it, if it is in a file; or, with
 * cfg.store_check, compares it with what is kept, and ends the process if that is not the same. */
void jit_store_keep(struct jit *j, const struct jit_region *r);
/* Code in [start, start + len) is not a file's any more (lock held). */
void jit_store_forget(struct jit *j, uint64_t start, uint64_t len);
/* The child of a fork has nothing new of its own (lock held). */
void jit_store_fork_child(struct jit *j);

#endif
