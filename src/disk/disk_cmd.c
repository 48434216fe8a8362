/* disk_cmd.c: what the commands of `isomer disk` share. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_cmd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <termios.h>
#include <unistd.h>

/* ---- errors ---------------------------------------------------------- */

int disk_cmd_fail(struct base_text *error, const char *path, int result)
{
    if (error && error->len)
        base_error("%s", error->data);
    else if (result == -ENOTSUP)
        base_error("%s: images of this format cannot do that", path);
    else if (result == -ECANCELED)
        base_error("%s: interrupted", path);
    else
        base_error("%s: %s", path, strerror(-result));
    if (error)
        base_text_free(error);
    return ISOMER_EXIT_FAILURE;
}

int disk_cmd_usage(const char *fmt, ...)
{
    struct base_text text = {0};
    va_list ap;

    va_start(ap, fmt);
    base_text_vprintf(&text, fmt, ap);
    va_end(ap);
    base_error("%s", text.data);
    base_text_free(&text);
    return ISOMER_EXIT_USAGE;
}

/* ---- passphrases ----------------------------------------------------- */

static int password_from_file(const char *path, uint8_t *buf, size_t cap)
{
    int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(0);
    size_t n = 0;
    ssize_t got;

    if (fd < 0)
        return -errno;
    while (n < cap && (got = read(fd, buf + n, cap - n)) > 0)
        n += (size_t)got;
    close(fd);
    if (n && buf[n - 1] == '\n')
        n--;
    return n ? (int)n : -EINVAL;
}

static int password_from_terminal(const char *path, uint8_t *buf, size_t cap)
{
    FILE *terminal = fopen("/dev/tty", "r+e");
    struct termios old, quiet;
    size_t n;

    if (!terminal)
        return -ENOTTY;
    fprintf(terminal, "Passphrase of %s: ", path);
    fflush(terminal);
    tcgetattr(fileno(terminal), &old);
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(fileno(terminal), TCSAFLUSH, &quiet);
    if (!fgets((char *)buf, (int)cap, terminal))
        buf[0] = 0;
    tcsetattr(fileno(terminal), TCSAFLUSH, &old);
    fputc('\n', terminal);
    fclose(terminal);
    n = strcspn((char *)buf, "\n");
    return n ? (int)n : -EINVAL;
}

static int password(void *context, const char *path, uint8_t *buf, size_t cap)
{
    const struct isomer_disk_options *options = context;

    return options->password_file ? password_from_file(options->password_file, buf, cap)
                                  : password_from_terminal(path, buf, cap);
}

/* ---- open and close -------------------------------------------------- */

void disk_cmd_open_options(const struct isomer_disk_options *options, struct disk_open_options *o)
{
    *o = (struct disk_open_options){
        .format = options->format,
        .folders = options->folders,
        .password = password,
        .password_context = (void *)options,
    };
}

struct disk *disk_cmd_open(const struct isomer_disk_options *options, const char *path,
                           const char *format, bool write)
{
    struct disk_open_options o;
    struct base_text error = {0};
    struct disk *d;
    int r;

    disk_cmd_open_options(options, &o);
    o.format = format;
    o.read_only = !write;
    o.no_lock = options->shared && !write;
    r = disk_open(path, &o, &d, &error);
    if (r < 0) {
        disk_cmd_fail(&error, path, r);
        return NULL;
    }
    base_text_free(&error);
    return d;
}

struct disk *disk_cmd_open_state(const struct isomer_disk_options *options, const char *path,
                                 struct disk **below)
{
    struct disk *d = disk_cmd_open(options, path, options->format, false), *s;
    struct base_text error = {0};
    int r;

    *below = NULL;
    if (!d || !options->snapshot)
        return d;
    r = disk_snapshot_open(d, options->snapshot, &s, &error);
    if (r < 0) {
        disk_cmd_fail(&error, path, r);
        disk_close(d);
        return NULL;
    }
    *below = d;
    return s;
}

int disk_cmd_close(struct disk *d, int status)
{
    char *path = base_strdup(disk_path(d));
    int r = disk_close_result(d);

    if (r < 0 && status == ISOMER_EXIT_OK)
        status = disk_cmd_fail(NULL, path, r);
    free(path);
    return status;
}

/* ---- new images ------------------------------------------------------ */

bool disk_cmd_geometry(const char *text, struct disk_geometry *g)
{
    char rest;

    /* what INT 13h, ATA and the formats have fields for */
    return sscanf(text, "%" SCNu32 "%*1[,/x]%" SCNu32 "%*1[,/x]%" SCNu32 "%c", &g->cylinders,
                  &g->heads, &g->sectors, &rest) == 3 &&
           g->cylinders >= 1 && g->cylinders <= 65535 && g->heads >= 1 && g->heads <= 255 &&
           g->sectors >= 1 && g->sectors <= 255;
}

static enum disk_tristate on_off(const char *text)
{
    return !text ? DISK_DEFAULT : strcmp(text, "on") == 0 ? DISK_ON : DISK_OFF;
}

bool disk_cmd_create_options(const struct isomer_disk_options *o, const char *format,
                             struct disk_create_options *c)
{
    *c = (struct disk_create_options){
        .format = format,
        .overwrite = o->force,
        .backing = o->backing,
        .backing_format = o->backing_format,
        .data_file = o->data_file,
        .data_file_raw = o->data_file_raw,
        .version = (unsigned)o->version,
        .cluster_size = (uint32_t)o->cluster_size,
        .refcount_bits = (unsigned)o->refcount_bits,
        .extended_l2 = on_off(o->extended_l2),
        .lazy_refcounts = o->lazy_refcounts ? DISK_ON : DISK_DEFAULT,
        .encrypt = o->encrypt,
        .subformat = o->subformat,
        .password = password,
        .password_context = (void *)o,
        .folders = o->folders,
    };
    if (o->prealloc)
        c->prealloc = !strcmp(o->prealloc, "metadata") ? DISK_PREALLOC_METADATA
                      : !strcmp(o->prealloc, "off") ? DISK_PREALLOC_OFF : DISK_PREALLOC_FULL;
    if (o->compression && !strcmp(o->compression, "zstd"))
        c->compression = DISK_ZSTD;
    if (o->cluster_size > UINT32_MAX || o->version > 99 || o->refcount_bits > 99) {
        disk_cmd_usage("disk: a cluster size, version or number of bits is out of all range");
        return false;
    }
    if (o->geometry && !disk_cmd_geometry(o->geometry, &c->geometry)) {
        disk_cmd_usage("disk: '%s' is not a geometry: cylinders,heads,sectors, at most "
                       "65535,255,255", o->geometry);
        return false;
    }
    if (format && !disk_format_can_create(format)) {
        struct base_text names = {0};

        for (unsigned i = 0; disk_format_name(i); i++)
            if (disk_format_can_create(disk_format_name(i)))
                base_text_printf(&names, " %s", disk_format_name(i));
        disk_cmd_usage("disk: no images of format '%s' can be made, but:%s", format,
                       names.len ? names.data : " none");
        base_text_free(&names);
        return false;
    }
    return true;
}
