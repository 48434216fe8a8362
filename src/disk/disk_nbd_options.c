/* disk_nbd_options.c: what an NBD client and the server agree on. SPDX-License-Identifier: Apache-2.0
 *
 * Fixed newstyle negotiation: the client sends options, each is answered, until it begins
 * transmission (NBD_OPT_GO, NBD_OPT_EXPORT_NAME) or leaves. Where TLS is required, nothing but
 * NBD_OPT_STARTTLS and leaving works before it; with TLS everything agreed on before is forgotten.
 */
#include "disk/disk_nbd.h"

struct option {
    uint32_t kind, len;
    uint8_t data[NBD_MAX_OPTION + 1];
};

/* ---- answers --------------------------------------------------------- */

static int reply(struct nbd_client *c, uint32_t option, uint32_t type, const void *data,
                 size_t len)
{
    uint8_t head[20];
    struct iovec iov[2] = {{head, sizeof head}, {(void *)data, len}};

    disk_put_be64(head, NBD_OPTION_REPLY);
    disk_put_be32(head + 8, option);
    disk_put_be32(head + 12, type);
    disk_put_be32(head + 16, (uint32_t)len);
    return nbd_write(&c->stream, iov, len ? 2 : 1);
}

static int refuse(struct nbd_client *c, uint32_t option, uint32_t type, const char *why)
{
    return reply(c, option, type, why, strlen(why));
}

static uint16_t transmission_flags(const struct nbd_client *c)
{
    uint16_t flags = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_CAN_MULTI_CONN;

    if (c->structured)
        flags |= NBD_SEND_DF;
    if (c->server->read_only)
        flags |= NBD_READ_ONLY;
    else
        flags |= NBD_SEND_FUA | NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES;
    return flags;
}

/* ---- INFO, GO -------------------------------------------------------- */

/* The name that begins at at[0..4]; NULL if it does not lie in the option. */
static const char *name_in(const struct option *o, size_t at, uint32_t *len)
{
    if (o->len < at + 4)
        return NULL;
    *len = disk_be32(o->data + at);
    if (*len > NBD_MAX_NAME || *len > o->len - at - 4)
        return NULL;
    return (const char *)o->data + at + 4;
}

/* An empty name means the only export there is. */
static bool is_export(const struct nbd_server *s, const char *name, uint32_t len)
{
    return !len || (len == strlen(s->name) && memcmp(name, s->name, len) == 0);
}

static int send_info(struct nbd_client *c, uint32_t option, uint16_t type)
{
    const struct nbd_server *s = c->server;
    const char *text = type == NBD_INFO_NAME ? s->name : s->description;
    uint8_t data[2 + NBD_MAX_NAME];

    disk_put_be16(data, type);
    switch (type) {
    case NBD_INFO_EXPORT:
        disk_put_be64(data + 2, disk_size(s->disk));
        disk_put_be16(data + 10, transmission_flags(c));
        return reply(c, option, NBD_REP_INFO, data, 12);
    case NBD_INFO_BLOCK_SIZE:
        disk_put_be32(data + 2, 1);
        disk_put_be32(data + 6, s->preferred);
        disk_put_be32(data + 10, NBD_MAX_PAYLOAD);
        return reply(c, option, NBD_REP_INFO, data, 14);
    case NBD_INFO_NAME:
    case NBD_INFO_DESCRIPTION:
        if (!text)
            return 0;
        memcpy(data + 2, text, strlen(text));
        return reply(c, option, NBD_REP_INFO, data, 2 + strlen(text));
    default: return 0; /* unknown requests are ignored */
    }
}

/* Returns 1 if transmission begins. */
static int opt_info(struct nbd_client *c, const struct option *o)
{
    uint32_t len;
    const char *name = name_in(o, 0, &len);
    unsigned n;
    int r;

    if (!name || o->len < 4 + len + 2 ||
        o->len != 4 + len + 2 + 2 * (n = disk_be16(o->data + 4 + len)))
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "malformed option");
    if (!is_export(c->server, name, len))
        return refuse(c, o->kind, NBD_REP_ERR_UNKNOWN, "no export of that name");
    r = send_info(c, o->kind, NBD_INFO_EXPORT);
    if (!r)
        r = send_info(c, o->kind, NBD_INFO_BLOCK_SIZE);
    for (unsigned i = 0; i < n && !r; i++) {
        uint16_t type = disk_be16(o->data + 4 + len + 2 + 2 * i);

        if (type == NBD_INFO_NAME || type == NBD_INFO_DESCRIPTION)
            r = send_info(c, o->kind, type);
    }
    if (!r)
        r = reply(c, o->kind, NBD_REP_ACK, NULL, 0);
    return r ? r : o->kind == NBD_OPT_GO;
}

static int opt_export_name(struct nbd_client *c, const struct option *o)
{
    uint8_t answer[8 + 2 + 124] = {0};
    struct iovec iov = {answer, c->no_zeroes ? 10 : sizeof answer};

    if (!is_export(c->server, (const char *)o->data, o->len))
        return -ECONNRESET; /* this option has no way to say so */
    disk_put_be64(answer, disk_size(c->server->disk));
    disk_put_be16(answer + 8, transmission_flags(c));
    nbd_write(&c->stream, &iov, 1);
    return 1;
}

static int opt_list(struct nbd_client *c, const struct option *o)
{
    const struct nbd_server *s = c->server;
    size_t name = strlen(s->name), text = s->description ? strlen(s->description) : 0;
    uint8_t data[4 + 2 * NBD_MAX_NAME];
    int r;

    if (o->len)
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "this option has no data");
    disk_put_be32(data, (uint32_t)name);
    memcpy(data + 4, s->name, name);
    memcpy(data + 4 + name, s->description ? s->description : "", text);
    r = reply(c, o->kind, NBD_REP_SERVER, data, 4 + name + text);
    return r ? r : reply(c, o->kind, NBD_REP_ACK, NULL, 0);
}

/* ---- metadata contexts ----------------------------------------------- */

/* Contexts by id: base:allocation, then qemu:dirty-bitmap:NAME for each bitmap, which QEMU defines
 * (docs/interop/nbd.txt). */
static void context_name(const struct nbd_server *s, uint32_t id, struct base_text *name)
{
    if (id == NBD_CONTEXT_ALLOCATION)
        base_text_printf(name, "base:allocation");
    else
        base_text_printf(name, "qemu:dirty-bitmap:%s",
                         s->bitmaps[id - NBD_CONTEXT_ALLOCATION - 1].name);
}

/* A query means a context of that name, or when listing all that begin so, up to a colon. */
static bool matches(const struct nbd_server *s, uint32_t id, const char *query, uint32_t len,
                    bool list)
{
    struct base_text name = {0};
    bool ok;

    context_name(s, id, &name);
    ok = name.len == len && !memcmp(query, name.data, len);
    if (list && len && len < name.len && !memcmp(query, name.data, len))
        ok = (len == 5 && query[4] == ':') || (len == 18 && query[17] == ':');
    base_text_free(&name);
    return ok;
}

/* Sets wanted[id] for what n queries ask for; -EINVAL: malformed. */
static int read_queries(const struct nbd_server *s, const struct option *o, size_t at, uint32_t n,
                        bool list, bool *wanted)
{
    uint32_t end = NBD_CONTEXT_ALLOCATION + 1 + s->nbitmaps;

    for (uint32_t id = NBD_CONTEXT_ALLOCATION; id < end; id++)
        wanted[id] = list && !n;
    while (n--) {
        uint32_t len;
        const char *query = name_in(o, at, &len);

        if (!query)
            return -EINVAL;
        for (uint32_t id = NBD_CONTEXT_ALLOCATION; id < end; id++)
            wanted[id] = wanted[id] || matches(s, id, query, len, list);
        at += 4 + len;
    }
    return at == o->len ? 0 : -EINVAL;
}

static int reply_context(struct nbd_client *c, const struct option *o, uint32_t id, bool list)
{
    struct base_text data = {0};
    uint8_t number[4];
    int r;

    disk_put_be32(number, list ? 0 : id);
    base_text_append(&data, number, sizeof number);
    context_name(c->server, id, &data);
    r = reply(c, o->kind, NBD_REP_META_CONTEXT, data.data, data.len);
    base_text_free(&data);
    return r;
}

static int opt_meta_context(struct nbd_client *c, const struct option *o)
{
    bool list = o->kind == NBD_OPT_LIST_META_CONTEXT, *wanted;
    uint32_t len, end = NBD_CONTEXT_ALLOCATION + 1 + c->server->nbitmaps;
    const char *name = name_in(o, 0, &len);
    int r;

    if (!c->structured)
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "structured replies come first");
    if (!name || o->len < 4 + len + 4)
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "malformed option");
    if (!is_export(c->server, name, len))
        return refuse(c, o->kind, NBD_REP_ERR_UNKNOWN, "no export of that name");
    wanted = base_zalloc(end * sizeof *wanted);
    r = read_queries(c->server, o, 4 + len + 4, disk_be32(o->data + 4 + len), list, wanted);
    if (r < 0) {
        free(wanted);
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "malformed query");
    }
    if (!list)
        c->ncontexts = 0;
    for (uint32_t id = NBD_CONTEXT_ALLOCATION; id < end && !r; id++) {
        if (!wanted[id] || (!list && c->ncontexts == NBD_MAX_CONTEXTS))
            continue;
        if (!list)
            c->contexts[c->ncontexts++] = id;
        r = reply_context(c, o, id, list);
    }
    free(wanted);
    return r ? r : reply(c, o->kind, NBD_REP_ACK, NULL, 0);
}

/* ---- the rest -------------------------------------------------------- */

static int opt_starttls(struct nbd_client *c, const struct option *o)
{
    int r;

    if (o->len)
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "this option has no data");
    if (!c->server->tls)
        return refuse(c, o->kind, NBD_REP_ERR_POLICY, "no TLS here");
    if (c->stream.tls)
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "TLS is on already");
    /* what lies in the buffer was not protected: it must not be taken for what comes after */
    if (c->stream.begin != c->stream.end)
        return -ECONNRESET;
    r = reply(c, o->kind, NBD_REP_ACK, NULL, 0);
    c->structured = false;
    c->ncontexts = 0;
    return r ? r : nbd_start_tls(&c->stream, c->server->tls);
}

static int opt_structured(struct nbd_client *c, const struct option *o)
{
    if (o->len)
        return refuse(c, o->kind, NBD_REP_ERR_INVALID, "this option has no data");
    c->structured = true;
    return reply(c, o->kind, NBD_REP_ACK, NULL, 0);
}

static int answer(struct nbd_client *c, const struct option *o)
{
    if (c->server->tls_required && !c->stream.tls && o->kind != NBD_OPT_STARTTLS &&
        o->kind != NBD_OPT_ABORT)
        return o->kind == NBD_OPT_EXPORT_NAME
                   ? -ECONNRESET
                   : refuse(c, o->kind, NBD_REP_ERR_TLS_REQD, "TLS is required");
    switch (o->kind) {
    case NBD_OPT_EXPORT_NAME: return opt_export_name(c, o);
    case NBD_OPT_ABORT: reply(c, o->kind, NBD_REP_ACK, NULL, 0); return -ECONNRESET;
    case NBD_OPT_LIST: return opt_list(c, o);
    case NBD_OPT_STARTTLS: return opt_starttls(c, o);
    case NBD_OPT_INFO:
    case NBD_OPT_GO: return opt_info(c, o);
    case NBD_OPT_STRUCTURED_REPLY: return opt_structured(c, o);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT: return opt_meta_context(c, o);
    default: return refuse(c, o->kind, NBD_REP_ERR_UNSUP, "this option is not known");
    }
}

static int one_option(struct nbd_client *c, struct option *o)
{
    uint8_t head[16];
    int r = nbd_read(&c->stream, head, sizeof head);

    if (r < 0)
        return r;
    o->kind = disk_be32(head + 8);
    o->len = disk_be32(head + 12);
    if (disk_be64(head) != NBD_OPTION_MAGIC)
        return -ECONNRESET;
    if (o->len > NBD_MAX_OPTION) {
        r = o->kind == NBD_OPT_EXPORT_NAME ? -ECONNRESET : nbd_skip(&c->stream, o->len);
        return r ? r : refuse(c, o->kind, NBD_REP_ERR_TOO_BIG, "this option is too large");
    }
    r = nbd_read(&c->stream, o->data, o->len);
    o->data[r ? 0 : o->len] = 0;
    return r ? r : answer(c, o);
}

int nbd_negotiate(struct nbd_client *c)
{
    struct option *o = base_alloc(sizeof *o);
    uint8_t hello[18], flags[4];
    struct iovec iov = {hello, sizeof hello};
    int r;

    disk_put_be64(hello, NBD_MAGIC);
    disk_put_be64(hello + 8, NBD_OPTION_MAGIC);
    disk_put_be16(hello + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    r = nbd_write(&c->stream, &iov, 1);
    if (!r)
        r = nbd_read(&c->stream, flags, sizeof flags);
    if (!r && disk_be32(flags) & ~(uint32_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
        r = -ECONNRESET;
    c->no_zeroes = !r && disk_be32(flags) & NBD_FLAG_NO_ZEROES;
    for (unsigned i = 0; i < NBD_MAX_OPTIONS && !r; i++)
        r = one_option(c, o);
    free(o);
    return r == 1 ? 0 : 1;
}
