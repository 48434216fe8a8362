/* sys_mem.c: mappings. SPDX-License-Identifier: Apache-2.0 */
#include "sys_test.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#define PAGE 4096ul
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
/* free in both address spaces */
#define FREE ((char *)0x1000000000)

static int anon = MAP_PRIVATE | MAP_ANONYMOUS;

#define MAP(name, ...)                                                              \
    do {                                                                            \
        void *m_ = mmap(__VA_ARGS__);                                               \
        if (m_ == MAP_FAILED)                                                       \
            printf("%s: %s\n", name, strerrorname_np(errno));                       \
        else if ((char *)m_ >= FREE && (char *)m_ < FREE + (1 << 30))               \
            printf("%s: FREE+%lx\n", name, (unsigned long)((char *)m_ - FREE));     \
        else                                                                        \
            printf("%s: somewhere\n", name);                                        \
        fflush(stdout);                                                             \
    } while (0)

static char *volatile touched;
static void touch_read(void) { (void)*(volatile char *)touched; }
static void touch_write(void) { *(volatile char *)touched = 1; }

static void placing(void)
{
    MAP("hint", FREE, PAGE, PROT_READ | PROT_WRITE, anon, -1, 0);
    MAP("hint taken", FREE, PAGE, PROT_READ | PROT_WRITE, anon, -1, 0);
    MAP("hint odd", FREE + 2 * PAGE + 5, PAGE, PROT_READ | PROT_WRITE, anon, -1, 0);
    MAP("noreplace taken", FREE, PAGE, PROT_READ, anon | MAP_FIXED_NOREPLACE, -1, 0);
    MAP("noreplace part", FREE - PAGE, 2 * PAGE, PROT_READ, anon | MAP_FIXED_NOREPLACE, -1, 0);
    MAP("noreplace free", FREE + 8 * PAGE, PAGE, PROT_READ, anon | MAP_FIXED_NOREPLACE, -1, 0);
    MAP("fixed over", FREE, 3 * PAGE, PROT_READ | PROT_WRITE, anon | MAP_FIXED, -1, 0);
    MAP("fixed odd", FREE + 1, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0);
    MAP("length 0", NULL, 0, PROT_READ, anon, -1, 0);
    MAP("no kind", NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0);
    MAP("bad fd", NULL, PAGE, PROT_READ, MAP_PRIVATE, 99, 0);
    MAP("too long", NULL, 1ul << 62, PROT_READ, anon, -1, 0);
    MAP("wraps", NULL, ~0ul, PROT_READ, anon, -1, 0);
    MAP("above", (void *)0x7ffffffffffff000, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0);
    MAP("huge hint", (void *)0x7ffffffffffff000, PAGE, PROT_READ, anon, -1, 0);
    RES("munmap middle", munmap(FREE + PAGE, PAGE));
    touched = FREE + PAGE;
    RES("read hole", in_child(touch_read));
    touched = FREE + 2 * PAGE;
    RES("read beyond hole", in_child(touch_read));
    RES("munmap free", munmap(FREE + (1 << 28), PAGE));
    RES("munmap odd", munmap(FREE + 1, PAGE));
    RES("munmap 0", munmap(FREE, 0));
    RES("munmap all", munmap(FREE, 16 * PAGE));
}

static void protecting(void)
{
    char *m = mmap(FREE, 4 * PAGE, PROT_READ | PROT_WRITE, anon | MAP_FIXED, -1, 0);

    m[PAGE] = 1;
    RES("mprotect read", mprotect(m + PAGE, PAGE, PROT_READ));
    touched = m + PAGE;
    RES("read it", in_child(touch_read));
    RES("write it", in_child(touch_write));
    RES("mprotect none", mprotect(m + PAGE, PAGE, PROT_NONE));
    RES("read none", in_child(touch_read));
    RES("mprotect back", mprotect(m, 4 * PAGE, PROT_READ | PROT_WRITE));
    RES("value", m[PAGE]);
    RES("mprotect hole", mprotect(m + 3 * PAGE, 2 * PAGE, PROT_READ));
    RES("mprotect odd", mprotect(m + 1, PAGE, PROT_READ));
    RES("mprotect bad", mprotect(m, PAGE, 0x40));
    RES("mprotect 0", mprotect(m, 0, PROT_READ));
    RES("madvise dontneed", (m[5] = 1, madvise(m, PAGE, MADV_DONTNEED)));
    RES("is zero", m[5]);
    RES("madvise bad", madvise(m, PAGE, 9999));
    RES("mlock", mlock(m, PAGE));
    RES("munlock", munlock(m, PAGE));
    RES("msync anon", msync(m, PAGE, MS_SYNC));
    RES("msync hole", msync(m + 8 * PAGE, PAGE, MS_SYNC));
    munmap(m, 4 * PAGE);
}

static void remapping(void)
{
    char *m = mmap(FREE, 4 * PAGE, PROT_READ | PROT_WRITE, anon | MAP_FIXED, -1, 0), *n;

    m[0] = 1, m[3 * PAGE] = 4;
    MAP("blocker", FREE + 6 * PAGE, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0);
    n = mremap(m, 4 * PAGE, 6 * PAGE, 0);
    SAY("grow in place", "%d", n == m);
    RES("grow blocked", (long)mremap(m, 6 * PAGE, 8 * PAGE, 0) == -1 ? -1 : 0);
    n = mremap(m, 6 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    SAY("grow moved", "%d %d %d", n != m && n != MAP_FAILED, n[0], n[3 * PAGE]);
    touched = m;
    RES("old is gone", in_child(touch_read));
    m = mremap(n, 8 * PAGE, 4 * PAGE, 0);
    SAY("shrink", "%d", m == n);
    touched = n + 5 * PAGE;
    m = mremap(n, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, FREE + 64 * PAGE);
    SAY("fixed", "%d %d", m == FREE + 64 * PAGE, m[3 * PAGE]);
    RES("fixed without maymove", (long)mremap(m, PAGE, PAGE, MREMAP_FIXED, FREE) == -1 ? -1 : 0);
    RES("unmapped", (long)mremap(FREE + 200 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == -1 ? -1 : 0);
    RES("odd", (long)mremap(FREE + 3, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == -1 ? -1 : 0);
    munmap(m, 4 * PAGE);
    munmap(FREE + 6 * PAGE, PAGE);
}

static void files(void)
{
    int fd = open("map", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *a, *b;

    RES("size", ftruncate(fd, 2 * PAGE));
    a = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    b = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, PAGE);
    a[PAGE] = 'x';
    SAY("private sees", "%c", b[0]);
    b[0] = 'y';
    a[PAGE + 1] = 'z';
    SAY("copy on write", "%c %c", a[PAGE], b[0]);
    RES("msync", msync(a, 2 * PAGE, MS_SYNC));
    RES("pread", pread(fd, &b[10], 2, PAGE));
    SAY("file has", "%c%c", b[10], b[11]);
    RES("odd offset", (long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 5));
    touched = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    touched += 3 * PAGE;
    RES("beyond the end", in_child(touch_read));
    close(fd);
    fd = open("map", O_RDONLY);
    RES("shared write of read-only",
        (long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
}

static void breaking(void)
{
    char *b = sbrk(0);

    SAY("sbrk", "%d", sbrk(100 * PAGE) == (void *)b);
    b[0] = b[100 * PAGE - 1] = 7;
    SAY("grown", "%d", (char *)sbrk(0) == b + 100 * PAGE);
    RES("brk down", brk(b));
    sbrk(PAGE * 2);
    SAY("zero again", "%d", b[PAGE]);
    brk(b);
    SAY("brk refused", "%d", syscall(SYS_brk, 1) == (long)b);
}

static void sysv(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
    struct shmid_ds ds;
    char *a = shmat(id, NULL, 0), *b = shmat(id, FREE, 0);

    SAY("shmat", "%d %d", a != (void *)-1, b == FREE);
    a[5] = 9;
    RES("shared", b[5]);
    RES("shmctl", shmctl(id, IPC_STAT, &ds));
    SAY("shm", "size %ld nattch %ld", (long)ds.shm_segsz, (long)ds.shm_nattch);
    RES("shmat taken", (long)shmat(id, FREE, 0));
    RES("shmat odd", (long)shmat(id, FREE + (1 << 20) + 7, 0));
    RES("shmdt", shmdt(b));
    RES("shmdt again", shmdt(b));
    touched = b;
    RES("detached", in_child(touch_read));
    RES("rmid", shmctl(id, IPC_RMID, NULL));
    shmdt(a);
}

static int my_code(void) { return 5; }

/* What /proc/self/maps says of an address. */
static void maps(const char *name, void *addr)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[5000];
    unsigned long start, end;
    char prot[8], what[4096];

    while (fgets(line, sizeof line, f)) {
        what[0] = 0;
        if (sscanf(line, "%lx-%lx %7s %*x %*s %*d %4095s", &start, &end, prot, what) >= 3 &&
            (unsigned long)addr >= start && (unsigned long)addr < end) {
            char *slash = strrchr(what, '/');

            SAY(name, "%s %s", prot, slash ? "file" : what);
            fclose(f);
            return;
        }
    }
    SAY(name, "not there");
    fclose(f);
}

int main(void)
{
    char *m;

    placing();
    protecting();
    remapping();
    files();
    breaking();
    sysv();
    m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, anon, -1, 0);
    maps("maps rwx", m);
    mprotect(m, PAGE, PROT_READ | PROT_EXEC);
    maps("maps rx", m);
    maps("maps rwx half", m + PAGE);
    maps("maps stack", &m);
    sbrk(PAGE);
    maps("maps heap", (char *)sbrk(0) - 1);
    maps("maps code", (void *)my_code);
    RES("code", my_code());
    return 0;
}
