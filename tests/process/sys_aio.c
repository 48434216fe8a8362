/* sys_aio.c: kernel AIO, pages of a file in another order, ranges that cannot be.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <time.h>

static void aio(void)
{
    static char out[4096] = "written by aio", in[4096];
    aio_context_t ctx = 0;
    struct iocb w = {0}, r = {0}, *list[2] = {&w, &r};
    struct io_event ev[4];
    struct timespec now = {0, 0};
    sigset_t none;
    struct { sigset_t *set; size_t size; } mask = {&none, 8};
    int fd = open("aio.file", O_RDWR | O_CREAT | O_TRUNC, 0600);

    sigemptyset(&none);
    RES("io_setup, no context", syscall(SYS_io_setup, 4, (void *)8));
    RES("io_setup", syscall(SYS_io_setup, 4, &ctx));
    RES("io_setup again", syscall(SYS_io_setup, 4, &ctx));
    w.aio_fildes = r.aio_fildes = fd;
    w.aio_lio_opcode = IOCB_CMD_PWRITE;
    w.aio_buf = (uint64_t)out;
    w.aio_nbytes = r.aio_nbytes = sizeof out;
    w.aio_data = 11;
    r.aio_lio_opcode = IOCB_CMD_PREAD;
    r.aio_buf = (uint64_t)in;
    r.aio_data = 22;
    RES("io_submit", syscall(SYS_io_submit, ctx, 1, list));
    RES("io_getevents", syscall(SYS_io_getevents, ctx, 1, 4, ev, NULL));
    SAY("event", "%lld %lld", (long long)ev[0].data, (long long)ev[0].res);
    RES("io_submit of a read", syscall(SYS_io_submit, ctx, 1, list + 1));
    RES("io_pgetevents", syscall(SYS_io_pgetevents, ctx, 1, 4, ev, NULL, &mask));
    SAY("its event", "%lld %lld %s", (long long)ev[0].data, (long long)ev[0].res, in);
    RES("nothing more", syscall(SYS_io_getevents, ctx, 0, 4, ev, &now));
    RES("bad context", syscall(SYS_io_submit, 12345, 1, list));
    RES("io_cancel of what is done", syscall(SYS_io_cancel, ctx, &w, ev));
    RES("io_destroy", syscall(SYS_io_destroy, ctx));
    RES("io_destroy again", syscall(SYS_io_destroy, ctx));
    close(fd);
}

static void pages(void)
{
    int fd = open("pages.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *p;

    for (int i = 0; i < 4; i++) {
        char page[4096];

        memset(page, 'a' + i, sizeof page);
        if (write(fd, page, sizeof page) < 0)
            return;
    }
    p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    RES("remap_file_pages", remap_file_pages(p, 4096, 0, 3, 0));
    SAY("pages", "%c%c%c%c", p[0], p[4096], p[8192], p[12288]);
    RES("remap, bad protection", remap_file_pages(p, 4096, PROT_READ, 1, 0));
    RES("remap, bad address", remap_file_pages((void *)-4096, 4096, 0, 1, 0));
    p[0] = 'z';
    SAY("shared", "%c", p[12288]);
}

static void ranges(void)
{
    void *const high = (void *)(1ul << 63), *const odd = (void *)((1ul << 63) + 1);
    unsigned char vec[1];

    RES("msync of no range", msync(high, 4096, MS_ASYNC));
    RES("msync, odd", msync(odd, 4096, MS_ASYNC));
    RES("mincore of no range", mincore(high, 4096, vec));
    RES("mincore, odd", mincore(odd, 4096, vec));
    RES("mincore, bad vector", mincore((void *)((uintptr_t)vec & -4096ul), 1, high));
}

int main(void)
{
    aio();
    pages();
    ranges();
    return 0;
}
