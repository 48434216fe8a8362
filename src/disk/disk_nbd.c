/* disk_nbd.c: isomer disk serve: an NBD server. SPDX-License-Identifier: Apache-2.0
 *
 * The main thread listens and counts clients; each client has a thread (disk_nbd_io.c). Signals are
 * read from a descriptor, so that none of them interrupts a thread. On the way out reading stops,
 * what is in work is answered, and the disk is flushed.
 */
#include "disk/disk_nbd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_LISTEN = 8, DEFAULT_PORT = 10809, DEFAULT_CLIENTS = 16, MAX_CLIENTS = 1024 };

struct listener {
    struct nbd_server server;
    const struct isomer_disk_options *o;
    int fds[MAX_LISTEN];
    unsigned nfds;
    int signals;
    uint16_t port;
    bool socket_made;
};

/* ---- clients --------------------------------------------------------- */

static void set_timeout(int fd, unsigned seconds)
{
    struct timeval tv = {.tv_sec = seconds};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}

static void *serve_client(void *context)
{
    struct nbd_client *c = context;
    struct nbd_server *s = c->server;
    bool negotiated;

    set_timeout(c->stream.fd, NBD_HANDSHAKE_SECONDS);
    negotiated = nbd_negotiate(c) == 0;
    if (negotiated) {
        set_timeout(c->stream.fd, 0);
        nbd_transmission(c);
    }
    if (c->stream.tls) {
        if (negotiated)
            SSL_shutdown(c->stream.tls);
        SSL_free(c->stream.tls);
    }
    pthread_mutex_lock(&s->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    close(c->stream.fd);
    s->clients--;
    s->served += negotiated;
    eventfd_write(s->event, 1);
    pthread_cond_signal(&s->left);
    pthread_mutex_unlock(&s->lock);
    free(c);
    return NULL;
}

static void accept_client(struct nbd_server *s, int listen_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC), one = 1;
    struct nbd_client *c;
    pthread_attr_t attr;
    pthread_t thread;

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c = base_zalloc(sizeof *c);
    c->server = s;
    c->stream.fd = fd;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&s->lock);
    c->next = s->first;
    c->link = &s->first;
    if (c->next)
        c->next->link = &c->next;
    s->first = c;
    s->clients++;
    if (pthread_create(&thread, &attr, serve_client, c) != 0) {
        s->first = c->next;
        if (c->next)
            c->next->link = &s->first;
        s->clients--;
        close(fd);
        free(c);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_attr_destroy(&attr);
}

/* No more requests are read; returns when all clients have left. */
static void end_clients(struct nbd_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct nbd_client *c = s->first; c; c = c->next)
        shutdown(c->stream.fd, SHUT_RD);
    while (s->clients)
        pthread_cond_wait(&s->left, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* ---- listening ------------------------------------------------------- */

static int keep(struct listener *l, int fd)
{
    if (listen(fd, 128) < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    l->fds[l->nfds++] = fd;
    return 0;
}

/* A socket that a server which is gone left behind is replaced; one in use is not, and other files
 * are not, though they refuse connections, too. */
static bool is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    bool stale;
    int fd;

    if (lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stale = connect(fd, (const struct sockaddr *)a, sizeof *a) < 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int listen_unix(struct listener *l, const char *path, struct base_text *error)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd, r;

    if (strlen(path) >= sizeof a.sun_path)
        return disk_error(error, -ENAMETOOLONG, path, "a socket's path has at most %zu characters",
                          sizeof a.sun_path - 1);
    strcpy(a.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return disk_error(error, -errno, path, "%s", strerror(errno));
    r = bind(fd, (struct sockaddr *)&a, sizeof a);
    if (r < 0 && errno == EADDRINUSE && is_stale(&a) && unlink(path) == 0)
        r = bind(fd, (struct sockaddr *)&a, sizeof a);
    if (r < 0) {
        r = disk_error(error, -errno, path, "%s", strerror(errno));
        close(fd);
        return r;
    }
    l->socket_made = true;
    r = keep(l, fd);
    return r < 0 ? disk_error(error, r, path, "%s", strerror(-r)) : 0;
}

static int listen_address(struct listener *l, const struct addrinfo *a)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol), one = 1, r;
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    if (!getsockname(fd, (struct sockaddr *)&own, &size))
        l->port = ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                                  : ((struct sockaddr_in *)&own)->sin_port);
    return keep(l, fd);
}

static int listen_tcp(struct listener *l, const char *address, uint16_t port,
                      struct base_text *error)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    char service[8];
    int r;

    snprintf(service, sizeof service, "%u", port);
    r = getaddrinfo(address, service, &hints, &list);
    if (r)
        return disk_error(error, -EINVAL, address, "%s", gai_strerror(r));
    r = -EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a && l->nfds < MAX_LISTEN; a = a->ai_next) {
        int one = listen_address(l, a);

        if (r)
            r = one;
        if (!port)
            break; /* one free port, not one for each address */
    }
    freeaddrinfo(list);
    return r < 0 ? disk_error(error, r, address, "port %u: %s", port, strerror(-r)) : 0;
}

/* The port as checked by check_options. */
static uint16_t port_of(const struct isomer_disk_options *o)
{
    return o->port ? (uint16_t)strtoul(o->port, NULL, 10) : DEFAULT_PORT;
}

static int start_listening(struct listener *l, struct base_text *error)
{
    const struct isomer_disk_options *o = l->o;
    int r = o->socket ? listen_unix(l, o->socket, error) : 0;

    if (!r && (o->address || o->port || !o->socket))
        r = listen_tcp(l, o->address ? o->address : "127.0.0.1", port_of(o), error);
    return r;
}

/* ---- the server ------------------------------------------------------ */

static bool is_over(const struct listener *l)
{
    struct nbd_server *s = (struct nbd_server *)&l->server;
    bool over;

    pthread_mutex_lock(&s->lock);
    over = !l->o->persistent && s->served && !s->clients;
    pthread_mutex_unlock(&s->lock);
    return over;
}

static void loop(struct listener *l)
{
    struct nbd_server *s = &l->server;
    struct pollfd p[MAX_LISTEN + 2];
    eventfd_t left;

    while (!is_over(l)) {
        bool full;

        pthread_mutex_lock(&s->lock);
        full = s->clients >= s->max_clients;
        pthread_mutex_unlock(&s->lock);
        p[0] = (struct pollfd){l->signals, POLLIN, 0};
        p[1] = (struct pollfd){s->event, POLLIN, 0};
        for (unsigned i = 0; i < l->nfds; i++)
            p[2 + i] = (struct pollfd){l->fds[i], POLLIN, 0};
        if (poll(p, full ? 2 : 2 + l->nfds, -1) < 0)
            continue;
        if (p[0].revents)
            return;
        if (p[1].revents)
            eventfd_read(s->event, &left);
        for (unsigned i = 0; !full && i < l->nfds; i++)
            if (p[2 + i].revents)
                accept_client(s, l->fds[i]);
    }
}

static void print_ready(const struct listener *l)
{
    const struct isomer_disk_options *o = l->o;
    const char *scheme = l->server.tls ? "nbds" : "nbd";
    struct base_text uri = {0};
    struct disk_json j = {0};

    if (o->socket)
        base_text_printf(&uri, "%s+unix:///%s?socket=%s", scheme, l->server.name, o->socket);
    else
        base_text_printf(&uri, "%s://%s:%u/%s", scheme, o->address ? o->address : "127.0.0.1",
                         l->port, l->server.name);
    if (o->json) {
        disk_json_object(&j, NULL);
        disk_json_string(&j, "uri", uri.data);
        disk_json_number(&j, "port", l->port);
        disk_json_end(&j);
        disk_json_print(&j, stdout);
    } else {
        printf("%s\n", uri.data);
    }
    fflush(stdout);
    base_text_free(&uri);
}

/* Those that can be relied on; an image without, or with ones that cannot be read, is served all
 * the same. */
static void find_bitmaps(struct nbd_server *s)
{
    struct disk_bitmap *list;
    unsigned n;

    if (disk_bitmap_list(s->disk, &list, &n) < 0)
        n = 0;
    for (unsigned i = 0; i < n; i++)
        if (!list[i].in_use)
            list[s->nbitmaps++] = list[i];
    s->bitmaps = list;
}

static int serve(struct listener *l)
{
    struct nbd_server *s = &l->server;
    struct base_text error = {0};
    sigset_t signals;
    int r;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    l->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->left, NULL);
    r = start_listening(l, &error);
    if (!r) {
        print_ready(l);
        loop(l);
        end_clients(s);
    }
    for (unsigned i = 0; i < l->nfds; i++)
        close(l->fds[i]);
    if (l->socket_made)
        unlink(l->o->socket);
    close(l->signals);
    close(s->event);
    return r < 0 ? disk_cmd_fail(&error, "serve", r) : ISOMER_EXIT_OK;
}

static int check_options(const struct isomer_disk_options *o)
{
    if (o->port && (!*o->port || strlen(o->port) > 5 || o->port[strspn(o->port, "0123456789")] ||
                    strtoul(o->port, NULL, 10) > UINT16_MAX))
        return disk_cmd_usage("disk serve: option --port: '%s' is not a port from 0 to 65535",
                              o->port);
    if ((o->name && strlen(o->name) > NBD_MAX_NAME) ||
        (o->description && strlen(o->description) >= NBD_MAX_NAME))
        return disk_cmd_usage("disk serve: a name or description has at most %d characters",
                              NBD_MAX_NAME - 1);
    if (!o->tls_cert != !o->tls_key || (!o->tls_cert && (o->tls_ca || o->tls_required)))
        return disk_cmd_usage("disk serve: TLS needs --tls-cert and --tls-key");
    if (o->max_clients > MAX_CLIENTS)
        return disk_cmd_usage("disk serve: at most %d clients", MAX_CLIENTS);
    return ISOMER_EXIT_OK;
}

int isomer_disk_serve(const struct isomer_disk_options *o, int argc, char **argv)
{
    bool read_only = o->read_only || o->snapshot || o->shared;
    struct listener *l;
    struct base_text error = {0};
    struct disk *below = NULL, *d;
    struct disk_info info;
    SSL_CTX *tls = NULL;
    int status = check_options(o);

    if (status)
        return status;
    if (o->tls_cert && !(tls = nbd_tls_context(o->tls_cert, o->tls_key, o->tls_ca, &error)))
        return disk_cmd_fail(&error, "TLS", -EINVAL);
    d = read_only ? disk_cmd_open_state(o, argv[0], &below)
                  : disk_cmd_open(o, argv[0], o->format, true);
    if (!d || disk_get_info(d, &info) < 0) {
        SSL_CTX_free(tls);
        disk_close(d);
        return ISOMER_EXIT_FAILURE;
    }
    l = base_zalloc(sizeof *l);
    l->o = o;
    l->server = (struct nbd_server){
        .disk = d, .name = o->name ? o->name : "", .description = o->description,
        .read_only = read_only, .tls = tls, .tls_required = o->tls_required,
        .preferred = info.subcluster_size ? info.subcluster_size : 4096,
        .max_clients = o->max_clients ? (unsigned)o->max_clients : DEFAULT_CLIENTS,
    };
    find_bitmaps(&l->server);
    status = serve(l);
    SSL_CTX_free(tls);
    free(l->server.bitmaps);
    free(l);
    status = disk_cmd_close(d, status);
    disk_close(below);
    return status;
}
