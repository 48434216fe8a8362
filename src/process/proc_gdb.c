/* proc_gdb.c: --gdb: a server of GDB's remote serial protocol for the guest.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A host thread of its own reads packets and answers them while the guest's
 * threads are parked (proc_gdb_stop.c); it waits for gdb and for news from them
 * alike. All-stop mode: whoever stops, all stop. Guest memory is read and
 * written through /proc/self/mem, which never faults and may write what the
 * guest may not. Everything that comes in is bounds-checked: the other end may
 * be anyone.
 *
 * A child that the guest forks is let go, without breakpoints. When gdb goes
 * away without a word, the guest goes on by itself.
 */
#include "process/proc_gdb.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- sending --------------------------------------------------------- */

static void send_raw(struct gdb *g, const char *data, size_t n)
{
    while (n) {
        ssize_t sent = send(g->fd, data, n, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return; /* the next read will tell */
        data += sent;
        n -= (size_t)sent;
    }
}

/* Body is escaped where it is binary. */
static void send_packet(struct gdb *g, const char *body, size_t n)
{
    unsigned sum = 0;
    char end[4];

    pthread_mutex_lock(&g->send_lock);
    for (size_t i = 0; i < n; i++)
        sum += (uint8_t)body[i];
    g->sent.len = 0;
    base_text_append(&g->sent, "$", 1);
    base_text_append(&g->sent, body, n);
    snprintf(end, sizeof end, "#%02x", sum & 0xff);
    base_text_append(&g->sent, end, 3);
    send_raw(g, g->sent.data, g->sent.len);
    pthread_mutex_unlock(&g->send_lock);
}

static void send_stop(struct gdb *g)
{
    const struct gdb_event *e = &g->event;
    struct base_text out = {0};

    base_text_printf(&out, "T%02x", proc_gdb_signal_from_host(e->sig));
    if (e->reason && strstr(e->reason, "watch"))
        base_text_printf(&out, "%s:%llx;", e->reason, (unsigned long long)e->addr);
    else if (e->reason && !strcmp(e->reason, "exec")) {
        base_text_printf(&out, "exec:");
        proc_gdb_put_hex(&out, proc_guest_exe(g->p), strlen(proc_guest_exe(g->p)));
        base_text_printf(&out, ";");
    } else if (e->reason)
        base_text_printf(&out, "%s:;", e->reason);
    base_text_printf(&out, "thread:%x;", (unsigned)e->tid);
    g->thread = e->tid;
    send_packet(g, out.data, out.len);
    base_text_free(&out);
}

/* ---- threads --------------------------------------------------------- */

/* threads_lock held. tid 0 or -1: any. */
static struct proc_thread *find_thread(struct gdb *g, pid_t tid)
{
    struct proc_thread *t = g->p->threads;

    while (t && t->tid != tid && tid > 0)
        t = t->next;
    return t;
}

static bool thread_exists(struct gdb *g, pid_t tid)
{
    bool found;

    pthread_mutex_lock(&g->p->threads_lock);
    found = find_thread(g, tid) != NULL;
    pthread_mutex_unlock(&g->p->threads_lock);
    return found;
}

/* Lets all go on as their fields say. */
static void go(struct gdb *g)
{
    pthread_mutex_lock(&g->lock);
    g->stopped = false;
    atomic_fetch_and(&g->p->debug, ~(unsigned)PROC_DEBUG_STOP);
    pthread_mutex_unlock(&g->lock);
    proc_debug_wake();
}

/* The debugger leaves: nothing reminds of it. */
static void let_go(struct gdb *g)
{
    proc_gdb_points_clear(g);
    pthread_mutex_lock(&g->lock);
    g->connected = false;
    pthread_mutex_unlock(&g->lock);
    atomic_fetch_and(&g->p->debug, ~(unsigned)PROC_DEBUG_GDB);
    pthread_mutex_lock(&g->p->threads_lock);
    for (struct proc_thread *t = g->p->threads; t; t = t->next)
        t->debug.hold = t->debug.step = t->debug.stepped = 0;
    pthread_mutex_unlock(&g->p->threads_lock);
    go(g);
    close(g->fd);
}

/* News: all threads stop, then gdb hears of it. */
static void tell_stop(struct gdb *g)
{
    uint64_t n;

    if (read(g->event_fd, &n, sizeof n) < 0)
        return;
    proc_debug_stop_others(g->p, NULL);
    send_stop(g);
}

static void interrupt(struct gdb *g)
{
    struct proc_thread *t;
    bool news = false;

    pthread_mutex_lock(&g->p->threads_lock);
    t = find_thread(g, g->thread);
    if (!t)
        t = g->p->threads;
    pthread_mutex_lock(&g->lock);
    if (!g->stopped && t) {
        news = g->stopped = true;
        g->event = (struct gdb_event){.tid = t->tid, .sig = SIGINT};
        atomic_fetch_or(&g->p->debug, PROC_DEBUG_STOP);
    }
    pthread_mutex_unlock(&g->lock);
    pthread_mutex_unlock(&g->p->threads_lock);
    if (news && write(g->event_fd, &(uint64_t){1}, 8) < 0)
        base_bug(__FILE__, __LINE__, "eventfd: %s", strerror(errno));
}

/* ---- registers ------------------------------------------------------- */

static unsigned reg_get(const struct rv_state *rv, unsigned n, uint64_t *v)
{
    if (n < 32)
        *v = rv->x[n];
    else if (n == 32)
        *v = rv->pc;
    else if (n < 65)
        *v = rv->f[n - 33];
    else
        *v = n == 65 ? rv->fp.flags & 31 : n == 66 ? rv->fp.rm & 7 : rv_fcsr(rv);
    return n < 65 ? 8 : 4;
}

static void reg_set(struct rv_state *rv, unsigned n, uint64_t v)
{
    if (n > 0 && n < 32)
        rv->x[n] = v;
    else if (n == 32)
        rv->pc = v & ~1ull;
    else if (n > 32 && n < 65)
        rv->f[n - 33] = v;
    else if (n == 65)
        rv->fp.flags = v & 31;
    else if (n == 66)
        rv->fp.rm = v & 7;
    else if (n == 67)
        rv_set_fcsr(rv, (uint32_t)v);
}

static void registers(struct gdb *g, char what, const char *s, struct base_text *out)
{
    struct proc_thread *t;
    uint64_t v = 0;
    unsigned n = 0, end = GDB_REGS;

    if (what == 'p' || what == 'P') {
        n = (unsigned)proc_gdb_number(&s);
        end = n + 1;
        if (n >= GDB_REGS) {
            base_text_printf(out, "E01");
            return;
        }
        s += *s == '=';
    }
    pthread_mutex_lock(&g->p->threads_lock);
    t = find_thread(g, g->thread);
    for (; t && n < end; n++) {
        unsigned size = reg_get(t->rv, n, &v);

        if (what == 'p' || what == 'g')
            proc_gdb_put_hex(out, &v, size);
        else if (proc_gdb_get_hex(&s, &v, size) == size)
            reg_set(t->rv, n, v);
    }
    pthread_mutex_unlock(&g->p->threads_lock);
    if (!t)
        base_text_printf(out, "E02");
    else if (what == 'P' || what == 'G')
        base_text_printf(out, "OK");
}

/* ---- memory ---------------------------------------------------------- */

static void memory_read(struct gdb *g, const char *s, struct base_text *out)
{
    uint64_t addr = proc_gdb_number(&s), n = *s == ',' ? (s++, proc_gdb_number(&s)) : 0;
    uint8_t data[GDB_PACKET / 2 - 16];
    ssize_t got = -1;

    if (n > sizeof data)
        n = sizeof data;
    if (proc_guest_range(addr, n))
        got = pread(g->mem_fd, data, n, (off_t)addr);
    if (got < 0 || (!got && n))
        base_text_printf(out, "E0e");
    else
        proc_gdb_put_hex(out, data, (size_t)got);
}

/* M: hexadecimal, X: bytes (unescaped already); end: behind the packet. */
static void memory_write(struct gdb *g, char what, const char *s, const char *end,
                         struct base_text *out)
{
    uint64_t addr = proc_gdb_number(&s), n = *s == ',' ? (s++, proc_gdb_number(&s)) : 0;
    uint8_t data[GDB_PACKET];
    bool whole = *s == ':' && n <= sizeof data;

    s += whole;
    if (whole && what == 'M')
        whole = proc_gdb_get_hex(&s, data, n) == n;
    else if (whole && (whole = (size_t)(end - s) >= n))
        memcpy(data, s, n);
    if (!whole || !proc_guest_range(addr, n)) {
        base_text_printf(out, "E01");
        return;
    }
    if (n && pwrite(g->mem_fd, data, n, (off_t)addr) != (ssize_t)n) {
        base_text_printf(out, "E0e");
        return;
    }
    if (n && proc_mem_has_exec(g->p, addr, n))
        jit_invalidate(g->p->jit, addr, n);
    base_text_printf(out, "OK");
}

static void point(struct gdb *g, const char *s, struct base_text *out)
{
    bool set = *s++ == 'Z';
    unsigned type = (unsigned)(*s - '0');
    uint64_t addr, len;

    if (type > GDB_AWATCH || s[1] != ',')
        return; /* not known */
    s += 2;
    addr = proc_gdb_number(&s);
    len = *s == ',' ? (s++, proc_gdb_number(&s)) : 0;
    if (!proc_guest_range(addr, len) || (type >= GDB_WATCH && !len)) {
        base_text_printf(out, "E01");
    } else if (!set) {
        proc_gdb_point_remove(g, type, addr, len);
        base_text_printf(out, "OK");
    } else {
        base_text_printf(out, proc_gdb_point_add(g, type, addr, len) ? "OK" : "E1c");
    }
}

/* ---- going on -------------------------------------------------------- */

struct action {
    char what; /* c or s */
    int sig;   /* 0: none */
    pid_t tid; /* -1: all */
};

static void apply(struct gdb *g, const struct action *list, unsigned n)
{
    pthread_mutex_lock(&g->p->threads_lock);
    for (struct proc_thread *t = g->p->threads; t; t = t->next) {
        const struct action *a = list;

        while (a < list + n && a->tid > 0 && a->tid != t->tid)
            a++;
        t->debug.stepped = 0;
        t->debug.hold = a == list + n;
        t->debug.step = a < list + n && a->what == 's';
        if (a < list + n && a->sig)
            t->debug.inject = a->sig;
    }
    pthread_mutex_unlock(&g->p->threads_lock);
    go(g);
}

static pid_t thread_id(const char **s)
{
    if (**s == '-') { /* -1 */
        *s += 1 + ((*s)[1] == '1');
        return -1;
    }
    return (pid_t)proc_gdb_number(s);
}

/* ";s:tid;c": the leftmost that fits a thread counts. False: malformed. */
static bool v_cont(struct gdb *g, const char *s)
{
    struct action list[64];
    unsigned n = 0;

    while (*s == ';' && n < BASE_ARRAY_SIZE(list)) {
        struct action a = {.tid = -1};

        s++;
        a.what = (char)(*s | 0x20);
        if (*s == 'C' || *s == 'S') {
            s++;
            a.sig = proc_gdb_signal_to_host((int)proc_gdb_number(&s));
        } else {
            s++;
        }
        if (a.what != 'c' && a.what != 's')
            return false;
        if (*s == ':') {
            s++;
            a.tid = thread_id(&s);
        }
        list[n++] = a;
    }
    if (!n || *s)
        return false;
    apply(g, list, n);
    return true;
}

/* c, s [addr]; C, S sig[;addr]: the chosen thread does it, and all others run
 * when it continues. */
static void old_cont(struct gdb *g, const char *s)
{
    char what = *s++;
    struct action list[2] = {{(char)(what | 0x20), 0, g->thread}, {'c', 0, -1}};

    if (what == 'C' || what == 'S')
        list[0].sig = proc_gdb_signal_to_host((int)proc_gdb_number(&s));
    apply(g, list, 2);
}

/* ---- queries --------------------------------------------------------- */

/* "offset,length" of a document. */
static void piece(const char *s, const char *data, size_t size, struct base_text *out)
{
    uint64_t at = proc_gdb_number(&s), n = *s == ',' ? (s++, proc_gdb_number(&s)) : 0;

    if (n > GDB_PACKET / 2 - 16)
        n = GDB_PACKET / 2 - 16;
    if (at >= size) {
        base_text_printf(out, "l");
        return;
    }
    if (n > size - at)
        n = size - at;
    base_text_printf(out, at + n == size ? "l" : "m");
    proc_gdb_put_escaped(out, data + at, n);
}

static void threads_xml(struct gdb *g, struct base_text *out)
{
    base_text_printf(out, "<?xml version=\"1.0\"?>\n<threads>\n");
    pthread_mutex_lock(&g->p->threads_lock);
    for (struct proc_thread *t = g->p->threads; t; t = t->next) {
        char path[64], name[32] = "";
        int fd;

        snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)t->tid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            ssize_t n = read(fd, name, sizeof name - 1);

            name[n > 0 ? n - 1 : 0] = 0;
            close(fd);
        }
        for (char *c = name; *c; c++)
            if (strchr("<>&\"'", *c) || (uint8_t)*c < 32 || (uint8_t)*c > 126)
                *c = '?';
        base_text_printf(out, "<thread id=\"%x\" name=\"%s\"/>\n", (unsigned)t->tid, name);
    }
    pthread_mutex_unlock(&g->p->threads_lock);
    base_text_printf(out, "</threads>\n");
}

static void xfer(struct gdb *g, const char *s, struct base_text *out)
{
    struct base_text doc = {0};

    if (!strncmp(s, "features:read:target.xml:", 25)) {
        proc_gdb_target_xml(&doc);
        piece(s + 25, doc.data, doc.len, out);
    } else if (!strncmp(s, "auxv:read::", 11)) {
        piece(s + 11, (const char *)g->p->auxv, g->p->auxv_len, out);
    } else if (!strncmp(s, "exec-file:read:", 15)) {
        const char *exe = proc_guest_exe(g->p), *at = strchr(s + 15, ':');

        if (at)
            piece(at + 1, exe, strlen(exe), out);
    } else if (!strncmp(s, "threads:read::", 14)) {
        threads_xml(g, &doc);
        piece(s + 14, doc.data, doc.len, out);
    } else {
        base_text_printf(out, "E00");
    }
    base_text_free(&doc);
}

static void thread_list(struct gdb *g, struct base_text *out)
{
    const char *between = "m";

    pthread_mutex_lock(&g->p->threads_lock);
    for (struct proc_thread *t = g->p->threads; t && out->len < GDB_PACKET - 32; t = t->next) {
        base_text_printf(out, "%s%x", between, (unsigned)t->tid);
        between = ",";
    }
    pthread_mutex_unlock(&g->p->threads_lock);
}

static void pass_signals(struct gdb *g, const char *s)
{
    g->pass = 0;
    for (;; s++) {
        int sig = proc_gdb_signal_to_host((int)proc_gdb_number(&s));

        if (sig)
            g->pass |= proc_sigbit(sig);
        if (*s != ';')
            break;
    }
}

static void query(struct gdb *g, const char *s, struct base_text *out)
{
    if (!strncmp(s, "qSupported", 10)) {
        g->exec_events = strstr(s, "exec-events+") != NULL;
        base_text_printf(out,
                         "PacketSize=%x;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+;"
                         "QPassSignals+;qXfer:features:read+;qXfer:auxv:read+;"
                         "qXfer:exec-file:read+;qXfer:threads:read+;exec-events+",
                         GDB_PACKET - 64);
    } else if (!strncmp(s, "qXfer:", 6)) {
        xfer(g, s + 6, out);
    } else if (!strcmp(s, "QStartNoAckMode")) {
        g->acks = false;
        base_text_printf(out, "OK");
    } else if (!strncmp(s, "QPassSignals:", 13)) {
        pass_signals(g, s + 13);
        base_text_printf(out, "OK");
    } else if (!strcmp(s, "qfThreadInfo")) {
        thread_list(g, out);
    } else if (!strcmp(s, "qsThreadInfo")) {
        base_text_printf(out, "l");
    } else if (!strcmp(s, "qC")) {
        base_text_printf(out, "QC%x", (unsigned)g->thread);
    } else if (!strncmp(s, "qAttached", 9)) {
        base_text_printf(out, "0");
    } else if (!strncmp(s, "qSymbol", 7)) {
        base_text_printf(out, "OK");
    }
}

/* ---- packets --------------------------------------------------------- */

static _Noreturn void kill_guest(void)
{
    for (;;)
        proc_raw(SYS_kill, (uint64_t)getpid(), SIGKILL, 0, 0, 0, 0);
}

static void v_packet(struct gdb *g, const char *s, size_t n, struct base_text *out, bool *resumed)
{
    if (!strcmp(s, "vCont?")) {
        base_text_printf(out, "vCont;c;C;s;S");
    } else if (!strncmp(s, "vCont;", 6)) {
        *resumed = v_cont(g, s + 5);
        if (!*resumed)
            base_text_printf(out, "E01");
    } else if (!strncmp(s, "vFile:", 6)) {
        proc_gdb_file_packet(g, s + 6, n - 6, out);
    } else if (!strncmp(s, "vKill", 5)) {
        send_packet(g, "OK", 2);
        kill_guest();
    }
}

static void select_thread(struct gdb *g, const char *s, struct base_text *out)
{
    char what = *s++;
    pid_t tid = thread_id(&s);

    if (tid > 0 && !thread_exists(g, tid)) {
        base_text_printf(out, "E03");
        return;
    }
    if (tid > 0 && what == 'g')
        g->thread = tid;
    base_text_printf(out, "OK");
}

/* A packet: s[0..n), with a zero behind it. False: gdb detached. */
static bool packet(struct gdb *g, char *s, size_t n)
{
    struct base_text out = {0};
    bool resumed = false, stay = true;
    const char *at = s + 1;

    switch (*s) {
    case '?': send_stop(g); resumed = true; break;
    case 'g': case 'G': case 'p': case 'P': registers(g, *s, at, &out); break;
    case 'm': memory_read(g, at, &out); break;
    case 'X': n = proc_gdb_unescape(s, n); /* fall through */
    case 'M': memory_write(g, *s, at, s + n, &out); break;
    case 'z': case 'Z': point(g, s, &out); break;
    case 'c': case 's': case 'C': case 'S':
        old_cont(g, s);
        resumed = true;
        break;
    case 'H': select_thread(g, at, &out); break;
    case 'T':
        base_text_printf(&out, thread_exists(g, thread_id(&at)) ? "OK" : "E03");
        break;
    case 'q': case 'Q': query(g, s, &out); break;
    case 'v': v_packet(g, s, n, &out, &resumed); break;
    case 'k': kill_guest();
    case 'D':
        base_text_printf(&out, "OK");
        stay = false;
        break;
    default: break; /* not known: an empty answer */
    }
    if (!resumed)
        send_packet(g, out.data ? out.data : "", out.len);
    base_text_free(&out);
    return stay;
}

/* ---- the server ------------------------------------------------------ */

/* Acts on what is whole in buf; returns how much that was, or -1 (detached). */
static long consume(struct gdb *g, char *buf, size_t n)
{
    size_t at = 0;

    while (at < n) {
        char *end = buf[at] == '$' ? memchr(buf + at, '#', n - at) : NULL;
        size_t len;
        unsigned sum = 0;

        if (buf[at] == 3)
            interrupt(g);
        else if (buf[at] == '-' && g->acks)
            send_raw(g, g->sent.data, g->sent.len);
        if (buf[at] != '$') {
            at++;
            continue;
        }
        if (!end || end + 3 > buf + n)
            break;
        len = (size_t)(end - (buf + at + 1));
        for (size_t i = 0; i < len; i++)
            sum += (uint8_t)buf[at + 1 + i];
        if (g->acks) {
            bool good = proc_gdb_hex_digit(end[1]) == (int)(sum >> 4 & 15) &&
                        proc_gdb_hex_digit(end[2]) == (int)(sum & 15);

            send_raw(g, good ? "+" : "-", 1);
            if (!good) {
                at = (size_t)(end + 3 - buf);
                continue;
            }
        }
        *end = 0;
        if (!packet(g, buf + at + 1, len))
            return -1;
        at = (size_t)(end + 3 - buf);
    }
    return (long)at;
}

static void *serve(void *arg)
{
    struct gdb *g = arg;
    char *buf = base_alloc(2 * GDB_PACKET);
    size_t n = 0;

    for (;;) {
        struct pollfd f[2] = {{g->fd, POLLIN, 0}, {g->event_fd, POLLIN, 0}};
        ssize_t got;
        long used;

        if (poll(f, 2, -1) < 0)
            continue;
        if (f[1].revents)
            tell_stop(g);
        if (!f[0].revents)
            continue;
        got = recv(g->fd, buf + n, 2 * GDB_PACKET - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        used = consume(g, buf, n);
        if (used < 0)
            break;
        n -= (size_t)used;
        memmove(buf, buf + used, n);
        if (n == 2 * GDB_PACKET) /* a packet that is longer than we take */
            break;
    }
    let_go(g);
    free(buf);
    return NULL;
}

/* ---- connection ------------------------------------------------------ */

static int high_fd(int fd)
{
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 900);

    if (high < 0)
        return fd;
    close(fd);
    return high;
}

/* A port number, maybe behind ':' or "localhost:"; -1: no such. */
static int port_of(const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end;
    long port;

    if (colon && colon != text && strncmp(text, "localhost:", 10))
        return -1;
    if (colon)
        text = colon + 1;
    port = strtol(text, &end, 10);
    return *text && !*end && port >= 0 && port < 65536 ? (int)port : -1;
}

static int listen_tcp(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int port = port_of(text), fd, one = 1;
    socklen_t len = sizeof in;

    if (port < 0) {
        errno = EINVAL;
        return -1;
    }
    fd = high_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    in.sin_port = htons((uint16_t)port);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* whoever connects controls the guest */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&in, &len) < 0)
        return -1;
    fprintf(stderr, "isomer: waiting for gdb: target remote :%d\n", ntohs(in.sin_port));
    return fd;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof un.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(un.sun_path, path);
    fd = high_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd < 0 || (unlink(path) < 0 && errno != ENOENT) ||
        bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, 1) < 0)
        return -1;
    fprintf(stderr, "isomer: waiting for gdb: target remote %s\n", path);
    return fd;
}

static int wait_for_gdb(const char *where)
{
    bool local = !strncmp(where, "unix:", 5);
    int one = 1, fd, server = local ? listen_unix(where + 5) : listen_tcp(where);

    if (server < 0)
        return -1;
    do
        fd = accept4(server, NULL, NULL, SOCK_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    close(server);
    if (local)
        unlink(where + 5);
    else
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return high_fd(fd);
}

/* ---- execve ---------------------------------------------------------- */

/* The program that is executed goes on with the connection: the option that
 * says so. NULL: gdb would not understand. */
const char *proc_gdb_hand_over(const struct proc_thread *t)
{
    static char text[64];
    struct gdb *g = proc_gdb;

    if (!g || !(atomic_load(&t->proc->debug) & PROC_DEBUG_GDB) || t->shares_memory ||
        !g->exec_events || g->acks)
        return NULL;
    snprintf(text, sizeof text, "--gdb=fd:%d:%llx", g->fd, (unsigned long long)g->pass);
    fcntl(g->fd, F_SETFD, 0);
    return text;
}

/* There was no execve after all. */
void proc_gdb_keep(const struct proc_thread *t)
{
    if (proc_gdb && !t->shares_memory)
        fcntl(proc_gdb->fd, F_SETFD, FD_CLOEXEC);
}

/* Connection of the option: one that a program handed over, or a new one. */
static int take_over(struct gdb *g, const char *where)
{
    unsigned long long pass;
    int fd;

    if (sscanf(where, "fd:%d:%llx", &fd, &pass) != 2)
        return wait_for_gdb(where);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    g->acks = false;
    g->exec_events = true;
    g->pass = pass;
    g->event.reason = "exec";
    if (write(g->event_fd, &(uint64_t){1}, 8) < 0)
        return -1;
    return fd;
}

/* ---- beginning and end ----------------------------------------------- */

/* The server's thread takes no signal at all. */
static int start_server(struct gdb *g)
{
    uint64_t all = ~0ull, old;
    pthread_t host;
    int error;

    proc_raw(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&all, (uint64_t)&old, 8, 0, 0);
    error = pthread_create(&host, NULL, serve, g);
    proc_raw(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&old, 0, 8, 0, 0);
    if (!error)
        pthread_detach(host);
    return error;
}

int proc_gdb_start(struct proc_thread *t)
{
    struct gdb *g = base_zalloc(sizeof *g);
    struct proc *p = t->proc;

    g->p = p;
    g->acks = g->stopped = g->connected = true;
    g->event = (struct gdb_event){.tid = t->tid, .sig = SIGTRAP};
    g->thread = t->tid;
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->points_lock, NULL);
    pthread_mutex_init(&g->send_lock, NULL);
    g->mem_fd = high_fd(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
    g->event_fd = high_fd(eventfd(0, EFD_CLOEXEC));
    if (g->mem_fd < 0 || g->event_fd < 0) {
        base_error("--gdb: no /proc/self/mem: %s", strerror(errno));
        return ISOMER_EXIT_CANNOT_RUN;
    }
    g->fd = take_over(g, p->opt->gdb);
    if (g->fd < 0) {
        base_error("--gdb %s: %s", p->opt->gdb, strerror(errno));
        return ISOMER_EXIT_USAGE;
    }
    proc_gdb = g;
    atomic_fetch_or(&p->debug, PROC_DEBUG_GDB | PROC_DEBUG_STOP);
    if (start_server(g)) {
        base_error("--gdb: cannot make a thread");
        return ISOMER_EXIT_CANNOT_RUN;
    }
    return 0;
}

void proc_gdb_end(struct proc *p, int status, int sig)
{
    struct gdb *g = proc_gdb;
    char text[8];

    if (!(atomic_load(&p->debug) & PROC_DEBUG_GDB) || !g)
        return;
    for (;;) { /* gdb takes this only from a program that runs */
        bool wait;

        pthread_mutex_lock(&g->lock);
        wait = g->stopped && g->connected;
        pthread_mutex_unlock(&g->lock);
        if (!wait)
            break;
        proc_debug_park(proc_self);
    }
    snprintf(text, sizeof text, "%c%02x", sig ? 'X' : 'W',
             sig ? proc_gdb_signal_from_host(sig) : status & 0xff);
    send_packet(g, text, 3);
    shutdown(g->fd, SHUT_WR);
}
