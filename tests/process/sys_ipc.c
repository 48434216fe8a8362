/* sys_ipc.c: sockets, polling, System V and POSIX IPC. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <arpa/inet.h>
#include <mqueue.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/un.h>

static void unix_sockets(void)
{
    char buf[64] = "", ctl[CMSG_SPACE(sizeof(int))] = "";
    struct iovec v = {buf, sizeof buf};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = ctl,
                       .msg_controllen = sizeof ctl};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "sock"};
    struct ucred cred;
    socklen_t len = sizeof cred;
    int s[2], p[2], fd;

    RES("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    RES("pipe", pipe(p));
    strcpy(buf, "with a descriptor");
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &p[1], sizeof(int));
    RES("sendmsg", sendmsg(s[0], &m, 0));
    memset(buf, 0, sizeof buf);
    memset(ctl, 0, sizeof ctl);
    RES("recvmsg", recvmsg(s[1], &m, MSG_CMSG_CLOEXEC));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    SAY("got", "%s, %d", buf, m.msg_controllen == sizeof ctl);
    RES("write passed fd", write(fd, "abc", 3));
    RES("read pipe", read(p[0], buf, 10));
    RES("SO_PEERCRED", getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
    SAY("peer", "%d %d", cred.pid == getpid(), cred.uid == getuid());
    RES("recv nonblocking", recv(s[0], buf, 1, MSG_DONTWAIT));
    RES("shutdown", shutdown(s[0], SHUT_WR));
    RES("read end", read(s[1], buf, 1));
    signal(SIGPIPE, SIG_IGN);
    RES("write after shutdown", write(s[0], "x", 1));
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    RES("bind", bind(fd, (void *)&un, sizeof un));
    RES("bind again", bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un));
    RES("listen", listen(fd, 5));
    s[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    RES("connect", connect(s[0], (void *)&un, sizeof un));
    OK("accept4", s[1] = accept4(fd, NULL, NULL, SOCK_NONBLOCK));
    RES("connect nowhere", (strcpy(un.sun_path, "none"),
                            connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un)));
    RES("sendmsg bad", sendmsg(s[0], (void *)16, 0));
}

static void inet(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct mmsghdr mm[2] = {0};
    struct iovec v[2];
    char a[2][16] = {"one", "three"};
    socklen_t len = sizeof in;
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c, s, on = 1, u, w;

    RES("SO_REUSEADDR", setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    RES("inet bind", bind(l, (void *)&in, sizeof in));
    RES("inet listen", listen(l, 1));
    RES("getsockname", getsockname(l, (void *)&in, &len));
    c = socket(AF_INET, SOCK_STREAM, 0);
    RES("inet connect", connect(c, (void *)&in, sizeof in));
    OK("inet accept", s = accept(l, (void *)&in, &len));
    RES("TCP_NODELAY", setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    RES("send", send(c, "hello", 5, 0));
    RES("recv", recv(s, a[1], 5, MSG_WAITALL));
    SAY("data", "%.5s", a[1]);
    RES("IPPROTO bad", setsockopt(c, IPPROTO_TCP, 9999, &on, sizeof on));
    u = socket(AF_INET, SOCK_DGRAM, 0);
    w = socket(AF_INET, SOCK_DGRAM, 0);
    in.sin_port = 0;
    bind(u, (void *)&in, sizeof in);
    len = sizeof in;
    getsockname(u, (void *)&in, &len);
    RES("udp connect", connect(w, (void *)&in, sizeof in));
    for (int i = 0; i < 2; i++) {
        v[i] = (struct iovec){a[i], 5};
        mm[i].msg_hdr.msg_iov = &v[i];
        mm[i].msg_hdr.msg_iovlen = 1;
    }
    RES("sendmmsg", sendmmsg(w, mm, 2, 0));
    RES("recvmmsg", recvmmsg(u, mm, 2, MSG_WAITFORONE, NULL));
    SAY("lengths", "%u %u", mm[0].msg_len, mm[1].msg_len);
    RES("sendto", sendto(w, "x", 1, 0, (void *)&in, sizeof in));
    RES("recvfrom", recvfrom(u, a, 5, 0, (void *)&in, &len));
}

static void polling(void)
{
    struct epoll_event ev[4] = {{EPOLLIN, {.u64 = 0x1122334455667788}},
                                {EPOLLOUT, {.u64 = 0x99aabbccddeeff00}}};
    struct timespec ts = {0, 2000000};
    struct timeval tv = {0, 2000};
    struct pollfd pf[2];
    sigset_t none;
    fd_set rd, wr;
    int ep = epoll_create1(0), s[2];

    sigemptyset(&none);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    RES("epoll_ctl add", epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &ev[0]));
    RES("epoll_ctl add 2", epoll_ctl(ep, EPOLL_CTL_ADD, s[1], &ev[1]));
    RES("epoll_ctl again", epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &ev[0]));
    RES("epoll_wait", epoll_wait(ep, ev, 4, 0));
    SAY("event", "%x %lx", ev[0].events, (long)ev[0].data.u64);
    RES("write", write(s[1], "x", 1));
    RES("epoll_pwait", epoll_pwait(ep, ev, 4, 100, &none));
    for (int i = 0; i < 2; i++)
        SAY("event 2", "%x %lx", ev[i].events, (long)ev[i].data.u64);
    RES("epoll_ctl del", epoll_ctl(ep, EPOLL_CTL_DEL, s[1], NULL));
    RES("epoll_wait 3", epoll_wait(ep, ev, 1, -1));
    RES("epoll_wait bad", epoll_wait(ep, ev, 0, -1));
    RES("epoll_wait bad pointer", epoll_wait(ep, (void *)16, 1, -1));
    RES("epoll_pwait2", epoll_pwait2(ep, ev, 4, &ts, NULL));
    pf[0] = (struct pollfd){s[0], POLLIN | POLLOUT, 0};
    pf[1] = (struct pollfd){99, POLLIN, 0};
    RES("poll", poll(pf, 2, 1000));
    SAY("revents", "%x %x", pf[0].revents, pf[1].revents);
    read(s[0], pf, 1);
    pf[0] = (struct pollfd){s[0], POLLIN, 0};
    RES("poll timeout", poll(pf, 1, 1));
    RES("ppoll timeout", ppoll(pf, 1, &ts, &none));
    RES("ppoll bad", ppoll((void *)16, 1, &ts, NULL));
    FD_ZERO(&rd);
    FD_SET(s[0], &rd);
    FD_ZERO(&wr);
    FD_SET(s[0], &wr);
    RES("select", select(s[0] + 1, &rd, &wr, NULL, &tv));
    SAY("sets", "%d %d", !!FD_ISSET(s[0], &rd), !!FD_ISSET(s[0], &wr));
    FD_SET(s[0], &rd);
    tv = (struct timeval){0, 2000};
    RES("select timeout", select(s[0] + 1, &rd, NULL, NULL, &tv));
    SAY("time left", "%ld", (long)tv.tv_usec);
    RES("pselect", pselect(0, NULL, NULL, NULL, &ts, &none));
    RES("select bad", select(s[0] + 1, (void *)16, NULL, NULL, &tv));
}

static void semaphores(void)
{
    union {
        int val;
        struct semid_ds *buf;
        unsigned short *array;
    } arg;
    struct sembuf op = {1, 2, 0}, wait = {0, -1, IPC_NOWAIT};
    struct semid_ds ds;
    unsigned short all[3] = {4, 5, 6};
    int id = semget(IPC_PRIVATE, 3, 0600);

    arg.array = all;
    RES("SETALL", semctl(id, 0, SETALL, arg));
    RES("semop", semop(id, &op, 1));
    RES("GETVAL", semctl(id, 1, GETVAL));
    arg.val = 0;
    RES("SETVAL", semctl(id, 0, SETVAL, arg));
    RES("semop wait", semop(id, &wait, 1));
    arg.buf = &ds;
    RES("sem IPC_STAT", semctl(id, 0, IPC_STAT, arg));
    SAY("semid_ds", "nsems %ld mode %o uid %d otime %d ctime %d", (long)ds.sem_nsems,
        ds.sem_perm.mode, ds.sem_perm.uid == getuid(), ds.sem_otime > 1600000000,
        ds.sem_ctime > 1600000000);
    ds.sem_perm.mode = 0640;
    RES("sem IPC_SET", semctl(id, 0, IPC_SET, arg));
    semctl(id, 0, IPC_STAT, arg);
    SAY("mode", "%o", ds.sem_perm.mode);
    arg.buf = (void *)16;
    RES("sem IPC_STAT bad", semctl(id, 0, IPC_STAT, arg));
    RES("sem IPC_RMID", semctl(id, 0, IPC_RMID));
}

static void messages(void)
{
    struct {
        long type;
        char text[16];
    } m = {3, "message"};
    struct msqid_ds ds;
    struct mq_attr attr = {.mq_maxmsg = 3, .mq_msgsize = 20};
    struct timespec past = {1, 0};
    unsigned prio = 0;
    char buf[32] = "", name[40];
    int id = msgget(IPC_PRIVATE, 0600);
    mqd_t q;

    RES("msgsnd", msgsnd(id, &m, 8, 0));
    RES("msgctl", msgctl(id, IPC_STAT, &ds));
    SAY("msqid_ds", "qnum %ld bytes %ld mode %o", (long)ds.msg_qnum, (long)ds.__msg_cbytes,
        ds.msg_perm.mode);
    RES("msgrcv none", msgrcv(id, &m, 16, 9, IPC_NOWAIT));
    RES("msgrcv", msgrcv(id, &m, 16, 0, 0));
    SAY("msg", "%ld %s", m.type, m.text);
    RES("msg IPC_RMID", msgctl(id, IPC_RMID, NULL));
    snprintf(name, sizeof name, "/isomer-%d", getpid());
    OK("mq_open", q = mq_open(name, O_RDWR | O_CREAT, 0600, &attr));
    if (q != -1) {
        RES("mq_send", mq_send(q, "abc", 3, 7));
        RES("mq_receive", mq_receive(q, buf, sizeof buf, &prio));
        SAY("mq", "%s %u", buf, prio);
        RES("mq_timedreceive", mq_timedreceive(q, buf, sizeof buf, &prio, &past));
        RES("mq_getattr", mq_getattr(q, &attr));
        SAY("mq_attr", "%ld %ld", attr.mq_maxmsg, attr.mq_msgsize);
    }
    RES("mq_unlink", mq_unlink(name));
}

int main(void)
{
    unix_sockets();
    inet();
    polling();
    semaphores();
    messages();
    return 0;
}
