/* proc_gdb.h: what the files of the debugger's server share.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef ISOMER_PROC_GDB_H
#define ISOMER_PROC_GDB_H

#include "process/proc_debug.h"

enum {
    GDB_POINTS = 256,      /* break- and watchpoints */
    GDB_PACKET = 0x4000,   /* bytes of a packet, either way */
    GDB_REGS = 68          /* x0..x31, pc, f0..f31, fflags, frm, fcsr */
};

/* Types as in the Z packet. */
enum gdb_point_type { GDB_BREAK, GDB_HW_BREAK, GDB_WATCH, GDB_RWATCH, GDB_AWATCH };
struct gdb_point {
    uint64_t addr, len;
    enum gdb_point_type type;
    uint8_t old[16]; /* GDB_WATCH: what was there (its first bytes) */
};

struct gdb_event {
    pid_t tid;
    int sig;            /* the host's number */
    const char *reason; /* "swbreak", "watch", ... or NULL */
    uint64_t addr;      /* of a watchpoint */
};

struct gdb {
    struct proc *p;
    int fd, event_fd, mem_fd;
    bool acks;             /* until QStartNoAckMode */
    bool exec_events;      /* gdb understands that another program was executed */
    pthread_mutex_t lock;  /* stopped, event; together with PROC_DEBUG_STOP */
    bool stopped, connected;
    struct gdb_event event;
    uint64_t pass;         /* signals that gdb does not want to hear of */
    pthread_mutex_t points_lock;
    struct gdb_point point[GDB_POINTS];
    _Atomic unsigned npoints, nwatch;
    pthread_mutex_t send_lock;
    struct base_text sent; /* last packet, to be sent again */
    pid_t thread;          /* that g, m, ... are about */
};

extern struct gdb *proc_gdb;

/* ---- proc_gdb_stop.c: the threads' side ------------------------------ */

/* "Z" and "z": false: no room. */
bool proc_gdb_point_add(struct gdb *g, enum gdb_point_type type, uint64_t addr, uint64_t len);
void proc_gdb_point_remove(struct gdb *g, enum gdb_point_type type, uint64_t addr, uint64_t len);
void proc_gdb_points_clear(struct gdb *g);

/* ---- proc_gdb_text.c: pieces of the protocol ------------------------- */

int proc_gdb_hex_digit(char c);
/* Hexadecimal number at *s, which is moved behind it. */
uint64_t proc_gdb_number(const char **s);
void proc_gdb_put_hex(struct base_text *out, const void *data, size_t n);
/* Bytes of hexadecimal text into out, at most n; returns how many. */
size_t proc_gdb_get_hex(const char **s, void *out, size_t n);
/* Appends bytes escaped as the protocol wants it. */
void proc_gdb_put_escaped(struct base_text *out, const void *data, size_t n);
size_t proc_gdb_unescape(char *data, size_t n);
/* Signal numbers of the protocol. */
int proc_gdb_signal_from_host(int sig);
int proc_gdb_signal_to_host(int sig);

void proc_gdb_target_xml(struct base_text *out);
/* Answers a vFile packet (text behind "vFile:"). */
void proc_gdb_file_packet(struct gdb *g, const char *s, size_t n, struct base_text *out);

#endif
