/* disk_nbd.h: NBD server, what its files share. Private to src/disk.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. Numbers are
 * big-endian on the wire.
 */
#ifndef DISK_NBD_H
#define DISK_NBD_H

#include "disk/disk_cmd.h"

#include <openssl/ssl.h>

/* ---- bounds on what a client controls -------------------------------- */

enum {
    NBD_MAX_NAME = 4096,            /* of an export (the protocol's own limit) */
    NBD_MAX_OPTION = 16 << 10,      /* bytes of one option: a client may not make us allocate */
    NBD_MAX_OPTIONS = 64,           /* before transmission: no endless negotiation */
    NBD_MAX_PAYLOAD = 32 << 20,     /* of one read or write, advertised */
    NBD_MAX_FLYING = 256,           /* requests of one client in work */
    NBD_MAX_BUFFERED = 64 << 20,    /* bytes of these */
    NBD_MAX_EXTENTS = 4096,         /* in one answer to a block status request, by context */
    NBD_MAX_CONTEXTS = 16,          /* that one client may have: they multiply such an answer */
    NBD_HANDSHAKE_SECONDS = 20,     /* who says nothing holds no place */
};

/* ---- the protocol ---------------------------------------------------- */

#define NBD_MAGIC            UINT64_C(0x4e42444d41474943) /* NBDMAGIC */
#define NBD_OPTION_MAGIC     UINT64_C(0x49484156454f5054) /* IHAVEOPT */
#define NBD_OPTION_REPLY     UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC    UINT32_C(0x25609513)
#define NBD_SIMPLE_MAGIC     UINT32_C(0x67446698)
#define NBD_STRUCTURED_MAGIC UINT32_C(0x668e33ef)

enum { NBD_FLAG_FIXED_NEWSTYLE = 1, NBD_FLAG_NO_ZEROES = 2 };

enum {
    NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_LIST = 3, NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6, NBD_OPT_GO = 7, NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9, NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERROR UINT32_C(0x80000000)
enum { NBD_REP_ACK = 1, NBD_REP_SERVER = 2, NBD_REP_INFO = 3, NBD_REP_META_CONTEXT = 4 };
#define NBD_REP_ERR_UNSUP    (NBD_REP_ERROR + 1)
#define NBD_REP_ERR_POLICY   (NBD_REP_ERROR + 2)
#define NBD_REP_ERR_INVALID  (NBD_REP_ERROR + 3)
#define NBD_REP_ERR_TLS_REQD (NBD_REP_ERROR + 5)
#define NBD_REP_ERR_UNKNOWN  (NBD_REP_ERROR + 6)
#define NBD_REP_ERR_TOO_BIG  (NBD_REP_ERROR + 9)

enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum {
    NBD_HAS_FLAGS = 1 << 0, NBD_READ_ONLY = 1 << 1, NBD_SEND_FLUSH = 1 << 2,
    NBD_SEND_FUA = 1 << 3, NBD_SEND_TRIM = 1 << 5, NBD_SEND_WRITE_ZEROES = 1 << 6,
    NBD_SEND_DF = 1 << 7, NBD_CAN_MULTI_CONN = 1 << 8,
};

enum {
    NBD_CMD_READ = 0, NBD_CMD_WRITE = 1, NBD_CMD_DISC = 2, NBD_CMD_FLUSH = 3, NBD_CMD_TRIM = 4,
    NBD_CMD_WRITE_ZEROES = 6, NBD_CMD_BLOCK_STATUS = 7,
};
enum { NBD_CMD_FUA = 1, NBD_CMD_NO_HOLE = 2, NBD_CMD_DF = 4, NBD_CMD_REQ_ONE = 8 };

enum {
    NBD_REPLY_DONE = 1, /* flag of the last chunk */
    NBD_REPLY_NONE = 0, NBD_REPLY_OFFSET_DATA = 1, NBD_REPLY_BLOCK_STATUS = 5,
    NBD_REPLY_ERROR = 32769,
};
enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2 };
enum { NBD_STATE_DIRTY = 1 };
enum { NBD_CONTEXT_ALLOCATION = 1 }; /* the id we give base:allocation; those behind it: bitmaps */

enum { NBD_EPERM = 1, NBD_EIO = 5, NBD_ENOMEM = 12, NBD_EINVAL = 22, NBD_ENOSPC = 28,
       NBD_EOVERFLOW = 75, NBD_ENOTSUP = 95, NBD_ESHUTDOWN = 108 };

/* ---- server and client ----------------------------------------------- */

struct nbd_server {
    struct disk *disk;
    const char *name, *description;
    bool read_only;
    uint32_t preferred; /* block size */
    struct disk_bitmap *bitmaps; /* dirty bitmaps that clients may see */
    unsigned nbitmaps;
    SSL_CTX *tls;       /* NULL: none */
    bool tls_required;
    /* which clients there are */
    pthread_mutex_t lock;
    pthread_cond_t left;
    unsigned clients, max_clients, served;
    struct nbd_client *first;
    int event;          /* eventfd: a client has left */
};

/* A byte stream with a buffer in front: plain or TLS. */
enum { NBD_BUFFER = 64 << 10 };
struct nbd_stream {
    int fd;
    SSL *tls;
    size_t begin, end; /* what is in buffer */
    uint8_t buffer[NBD_BUFFER];
};

struct nbd_client {
    struct nbd_server *server;
    struct nbd_client *next, **link;
    struct nbd_stream stream;
    bool no_zeroes, structured, transmission;
    uint32_t contexts[NBD_MAX_CONTEXTS]; /* ids of the metadata contexts that it wants */
    unsigned ncontexts;
};

/* 0; -ECONNRESET at the end of the stream or if it breaks. */
int nbd_read(struct nbd_stream *s, void *to, size_t len);
int nbd_skip(struct nbd_stream *s, uint64_t len);
int nbd_write(struct nbd_stream *s, struct iovec *iov, int niov); /* changes iov */
int nbd_start_tls(struct nbd_stream *s, SSL_CTX *context);
/* Are there bytes that poll() on the socket does not tell of? */
bool nbd_buffered(struct nbd_stream *s);
/* Reads what is there into the buffer, waiting for at least one byte. */
int nbd_fill(struct nbd_stream *s);

int nbd_negotiate(struct nbd_client *c);  /* 0: transmission begins; 1: the client has gone */
void nbd_transmission(struct nbd_client *c);

SSL_CTX *nbd_tls_context(const char *cert, const char *key, const char *ca,
                         struct base_text *error);

#endif
