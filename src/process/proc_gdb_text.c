/* proc_gdb_text.c: numbers, bytes, signals and files in the debugger's protocol.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "process/proc_gdb.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- numbers and bytes ----------------------------------------------- */

int proc_gdb_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

uint64_t proc_gdb_number(const char **s)
{
    uint64_t v = 0;

    for (; proc_gdb_hex_digit(**s) >= 0; (*s)++)
        v = v << 4 | (unsigned)proc_gdb_hex_digit(**s);
    return v;
}

void proc_gdb_put_hex(struct base_text *out, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        base_text_printf(out, "%02x", ((const uint8_t *)data)[i]);
}

size_t proc_gdb_get_hex(const char **s, void *out, size_t n)
{
    size_t i = 0;

    for (; i < n; i++, *s += 2) {
        int high = proc_gdb_hex_digit((*s)[0]);
        int low = high < 0 ? -1 : proc_gdb_hex_digit((*s)[1]);

        if (low < 0)
            break;
        ((uint8_t *)out)[i] = (uint8_t)(high << 4 | low);
    }
    return i;
}

void proc_gdb_put_escaped(struct base_text *out, const void *data, size_t n)
{
    const char *s = data;

    for (size_t i = 0; i < n; i++) {
        char pair[2] = {'}', (char)(s[i] ^ 0x20)};

        if (s[i] == '#' || s[i] == '$' || s[i] == '}' || s[i] == '*')
            base_text_append(out, pair, 2);
        else
            base_text_append(out, s + i, 1);
    }
}

size_t proc_gdb_unescape(char *data, size_t n)
{
    size_t to = 0;

    for (size_t i = 0; i < n; i++) {
        if (data[i] == '}' && i + 1 < n)
            data[to++] = (char)(data[++i] ^ 0x20);
        else
            data[to++] = data[i];
    }
    return to;
}

/* ---- signals --------------------------------------------------------- */

/* Linux' signals 1..31 in GDB's numbers (gdb/signals.def). */
static const uint8_t signal_numbers[32] = {0,  1,  2,  3,  4,  5,  6,  10, 8,  9,  30,
                                           11, 31, 13, 14, 15, 0,  20, 19, 17, 18, 21,
                                           22, 16, 24, 25, 26, 27, 28, 23, 32, 12};

int proc_gdb_signal_from_host(int sig)
{
    if (sig > 0 && sig < 32)
        return signal_numbers[sig] ? signal_numbers[sig] : 143 /* unknown */;
    if (sig == 32)
        return 77;
    if (sig == 64)
        return 78;
    return sig > 32 && sig < 64 ? sig + 12 : 143;
}

int proc_gdb_signal_to_host(int sig)
{
    for (int host = 1; host <= PROC_NSIG; host++)
        if (sig && proc_gdb_signal_from_host(host) == sig)
            return host;
    return 0;
}

/* ---- the target's description ---------------------------------------- */

static const char *const x_names[32] = {
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1", "a0", "a1",
    "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10",
    "s11", "t3", "t4", "t5", "t6"};
static const char *const f_names[32] = {
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};

static void put_reg(struct base_text *out, const char *name, int bits, const char *type, unsigned n)
{
    base_text_printf(out, "<reg name=\"%s\" bitsize=\"%d\" type=\"%s\" regnum=\"%u\"/>\n", name,
                     bits, type, n);
}

void proc_gdb_target_xml(struct base_text *out)
{
    base_text_printf(out, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
                          "<target>\n<architecture>riscv:rv64</architecture>\n"
                          "<osabi>GNU/Linux</osabi>\n"
                          "<feature name=\"org.gnu.gdb.riscv.cpu\">\n");
    for (unsigned i = 0; i < 32; i++)
        put_reg(out, x_names[i], 64,
                i == RV_SP || i == RV_GP || i == RV_TP ? "data_ptr"
                : i == RV_RA                           ? "code_ptr"
                                                       : "int",
                i);
    put_reg(out, "pc", 64, "code_ptr", 32);
    base_text_printf(out, "</feature>\n<feature name=\"org.gnu.gdb.riscv.fpu\">\n"
                          "<union id=\"riscv_double\"><field name=\"float\" type=\"ieee_single\"/>"
                          "<field name=\"double\" type=\"ieee_double\"/></union>\n");
    for (unsigned i = 0; i < 32; i++)
        put_reg(out, f_names[i], 64, "riscv_double", 33 + i);
    put_reg(out, "fflags", 32, "int", 65);
    put_reg(out, "frm", 32, "int", 66);
    put_reg(out, "fcsr", 32, "int", 67);
    base_text_printf(out, "</feature>\n</target>\n");
}

/* ---- files of the guest ---------------------------------------------- */

/* So that gdb finds program and libraries without being told the sysroot. Only
 * descriptors that it opened here are used for it. */
static int file_fds[16];

static int file_slot(uint64_t n)
{
    return n && n <= BASE_ARRAY_SIZE(file_fds) ? file_fds[n - 1] : 0;
}

static void file_error(struct base_text *out, int error)
{
    /* the protocol's numbers are those of old Unix: these are equal */
    base_text_printf(out, "F-1,%x", error < 35 ? error : 9999);
}

static bool file_path(struct gdb *g, const char *s, char *host)
{
    char path[PATH_MAX];
    size_t n = proc_gdb_get_hex(&s, path, sizeof path - 1);

    path[n] = 0;
    return proc_path_str(g->p, path, host, PROC_PATH_LOOKUP) == 0;
}

static void file_open(struct gdb *g, const char *s, struct base_text *out)
{
    char host[PATH_MAX];
    unsigned i = 0;
    int fd;

    while (i < BASE_ARRAY_SIZE(file_fds) && file_fds[i])
        i++;
    if (i == BASE_ARRAY_SIZE(file_fds) || !file_path(g, s, host)) {
        file_error(out, EMFILE);
        return;
    }
    fd = open(host, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        file_error(out, errno);
        return;
    }
    file_fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    if (file_fds[i] < 0)
        file_fds[i] = fd;
    else
        close(fd);
    base_text_printf(out, "F%x", i + 1);
}

static void file_pread(const char *s, struct base_text *out)
{
    uint64_t n = proc_gdb_number(&s), size, at;
    uint8_t *data;
    ssize_t got;

    size = *s == ',' ? (s++, proc_gdb_number(&s)) : 0;
    at = *s == ',' ? (s++, proc_gdb_number(&s)) : 0;
    if (size > GDB_PACKET / 2 - 64)
        size = GDB_PACKET / 2 - 64;
    data = base_alloc(size + 1);
    got = file_slot(n) ? pread(file_slot(n), data, size, (off_t)at) : (errno = EBADF, -1);
    if (got < 0) {
        file_error(out, errno);
    } else {
        base_text_printf(out, "F%zx;", (size_t)got);
        proc_gdb_put_escaped(out, data, (size_t)got);
    }
    free(data);
}

static void put_be(uint8_t *to, uint64_t v, unsigned n)
{
    while (n--) {
        to[n] = (uint8_t)v;
        v >>= 8;
    }
}

static void file_fstat(const char *s, struct base_text *out)
{
    uint64_t n = proc_gdb_number(&s);
    struct stat st;
    uint8_t b[64];

    if (!file_slot(n) || fstat(file_slot(n), &st) < 0) {
        file_error(out, EBADF);
        return;
    }
    memset(b, 0, sizeof b);
    put_be(b, st.st_dev, 4);
    put_be(b + 4, st.st_ino, 4);
    put_be(b + 8, st.st_mode, 4);
    put_be(b + 12, st.st_nlink, 4);
    put_be(b + 28, (uint64_t)st.st_size, 8);
    put_be(b + 36, (uint64_t)st.st_blksize, 8);
    put_be(b + 44, (uint64_t)st.st_blocks, 8);
    put_be(b + 56, (uint64_t)st.st_mtime, 4);
    base_text_printf(out, "F%zx;", sizeof b);
    proc_gdb_put_escaped(out, b, sizeof b);
}

void proc_gdb_file_packet(struct gdb *g, const char *s, size_t n, struct base_text *out)
{
    (void)n;
    if (!strncmp(s, "setfs:", 6)) {
        base_text_printf(out, "F0");
    } else if (!strncmp(s, "open:", 5)) {
        file_open(g, s + 5, out);
    } else if (!strncmp(s, "pread:", 6)) {
        file_pread(s + 6, out);
    } else if (!strncmp(s, "fstat:", 6)) {
        file_fstat(s + 6, out);
    } else if (!strncmp(s, "close:", 6)) {
        const char *at = s + 6;
        uint64_t slot = proc_gdb_number(&at);

        if (file_slot(slot)) {
            close(file_slot(slot));
            file_fds[slot - 1] = 0;
            base_text_printf(out, "F0");
        } else {
            file_error(out, EBADF);
        }
    } else if (!strncmp(s, "readlink:", 9)) {
        file_error(out, EINVAL); /* paths are followed here */
    }
}
