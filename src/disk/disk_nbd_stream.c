/* disk_nbd_stream.c: bytes from and to an NBD client, plain or TLS. SPDX-License-Identifier: Apache-2.0 */
#include "disk/disk_nbd.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_VECTORS = 512 };

/* At least one byte into `to`; how many, or -ECONNRESET. */
static ssize_t receive(struct nbd_stream *s, void *to, size_t len)
{
    ssize_t n;

    if (s->tls) {
        n = SSL_read(s->tls, to, (int)(len > INT32_MAX ? INT32_MAX : len));
        return n > 0 ? n : -ECONNRESET;
    }
    do
        n = recv(s->fd, to, len, 0);
    while (n < 0 && errno == EINTR);
    return n > 0 ? n : -ECONNRESET;
}

int nbd_fill(struct nbd_stream *s)
{
    ssize_t n;

    if (s->begin == s->end)
        s->begin = s->end = 0;
    if (s->end == NBD_BUFFER) {
        memmove(s->buffer, s->buffer + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    n = receive(s, s->buffer + s->end, NBD_BUFFER - s->end);
    if (n < 0)
        return (int)n;
    s->end += (size_t)n;
    return 0;
}

bool nbd_buffered(struct nbd_stream *s)
{
    return s->begin < s->end || (s->tls && SSL_pending(s->tls) > 0);
}

/* What is longer than the buffer goes where it belongs at once. */
int nbd_read(struct nbd_stream *s, void *to, size_t len)
{
    uint8_t *p = to;

    while (len) {
        size_t n = s->end - s->begin;

        if (n) {
            n = n < len ? n : len;
            memcpy(p, s->buffer + s->begin, n);
            s->begin += n;
        } else if (len >= NBD_BUFFER / 2) {
            ssize_t got = receive(s, p, len);

            if (got < 0)
                return (int)got;
            n = (size_t)got;
        } else {
            int r = nbd_fill(s);

            if (r < 0)
                return r;
            continue;
        }
        p += n;
        len -= n;
    }
    return 0;
}

int nbd_skip(struct nbd_stream *s, uint64_t len)
{
    while (len) {
        uint64_t n = s->end - s->begin;
        int r;

        n = n < len ? n : len;
        s->begin += n;
        len -= n;
        if (len && (r = nbd_fill(s)) < 0)
            return r;
    }
    return 0;
}

static int write_tls(struct nbd_stream *s, struct iovec *iov, int niov)
{
    for (int i = 0; i < niov; i++) {
        size_t done = 0, n;

        while (done < iov[i].iov_len) {
            if (SSL_write_ex(s->tls, (char *)iov[i].iov_base + done, iov[i].iov_len - done,
                             &n) != 1)
                return -ECONNRESET;
            done += n;
        }
    }
    return 0;
}

int nbd_write(struct nbd_stream *s, struct iovec *iov, int niov)
{
    if (s->tls)
        return write_tls(s, iov, niov);
    while (niov) {
        struct msghdr m = {.msg_iov = iov,
                           .msg_iovlen = (size_t)(niov < MAX_VECTORS ? niov : MAX_VECTORS)};
        ssize_t n = sendmsg(s->fd, &m, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -ECONNRESET;
        while (niov && (size_t)n >= iov->iov_len) {
            n -= (ssize_t)iov->iov_len;
            iov++;
            niov--;
        }
        if (niov) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

/* ---- TLS ------------------------------------------------------------- */

int nbd_start_tls(struct nbd_stream *s, SSL_CTX *context)
{
    s->tls = SSL_new(context);
    if (!s->tls || SSL_set_fd(s->tls, s->fd) != 1 || SSL_accept(s->tls) != 1)
        return -ECONNRESET;
    return 0;
}

static SSL_CTX *tls_failed(SSL_CTX *context, const char *what, struct base_text *error)
{
    unsigned long e = ERR_peek_last_error();
    const char *why = ERR_reason_error_string(e);

    base_text_printf(error, "TLS: %s: %s", what, why ? why : "cannot be used");
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *nbd_tls_context(const char *cert, const char *key, const char *ca,
                         struct base_text *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        return tls_failed(context, "a context", error);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        return tls_failed(context, cert, error);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return tls_failed(context, key, error);
    if (ca && SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
        return tls_failed(context, ca, error);
    if (ca)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return context;
}
