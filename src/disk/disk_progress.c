/* disk_progress.c: how far a long command is. SPDX-License-Identifier: Apache-2.0
 *
 * On a terminal one line that is rewritten, with a bar, the rate and the time left; otherwise a
 * plain line every few seconds, so that a log shows that something happens and short commands print
 * nothing. All on standard error.
 */
#include "disk/disk_cmd.h"

#include <signal.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define TERMINAL_INTERVAL (SECOND / 10)
#define LINE_INTERVAL (5 * SECOND)
enum { BAR = 30 };

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    stopped = number;
}

bool disk_progress_stopped(void)
{
    return stopped != 0;
}

const char *disk_size_text(uint64_t bytes, char *buf)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    unsigned u = 0;

    while (v >= 1024 && u + 1 < BASE_ARRAY_SIZE(units))
        v /= 1024, u++;
    if (v == (double)(uint64_t)v)
        snprintf(buf, DISK_SIZE_TEXT, "%.0f %s", v, units[u]);
    else
        snprintf(buf, DISK_SIZE_TEXT, "%.*f %s", v < 10 ? 2 : 1, v, units[u]);
    return buf;
}

void disk_progress_begin(struct disk_progress *p, const char *what, bool off)
{
    struct sigaction act = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    *p = (struct disk_progress){.off = off, .what = what, .terminal = isatty(2),
                                .begin = base_now_ns()};
    p->last = p->begin;
    stopped = 0;
    for (unsigned i = 0; i < BASE_ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &act, NULL);
}

static void show(struct disk_progress *p, uint64_t done, uint64_t all, uint64_t now)
{
    double seconds = (double)(now - p->begin) / (double)SECOND;
    double part = all ? (double)done / (double)all : 1;
    unsigned left = part > 0 ? (unsigned)(seconds / part - seconds + 0.5) : 0;
    char rate[DISK_SIZE_TEXT], bar[BAR + 1];

    disk_size_text(seconds > 0 ? (uint64_t)((double)done / seconds) : 0, rate);
    if (!p->terminal) {
        fprintf(stderr, "%s: %.0f %%, %s/s, %u:%02u left\n", p->what, part * 100, rate, left / 60,
                left % 60);
        return;
    }
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(part * BAR) ? '=' : ' ';
    bar[BAR] = 0;
    fprintf(stderr, "\r%s [%s] %3.0f %%  %s/s  %u:%02u left\033[K", p->what, bar, part * 100, rate,
            left / 60, left % 60);
    p->shown = true;
}

int disk_progress_step(void *context, uint64_t done, uint64_t all)
{
    struct disk_progress *p = context;
    uint64_t now;

    if (stopped)
        return 1;
    if (p->off)
        return 0;
    now = base_now_ns();
    if (now - p->last >= (p->terminal ? TERMINAL_INTERVAL : LINE_INTERVAL)) {
        p->last = now;
        show(p, done, all, now);
    }
    return 0;
}

void disk_progress_end(struct disk_progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
