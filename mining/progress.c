/*
 * progress.c - how far a long work is: a bar on a terminal, lines otherwise.
 *
 * A terminal's line is redrawn five times a second; a log gets a line every
 * five seconds, so that short work leaves only its summary there.
 */

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "mining.h"


#define PROGRESS_BAR_MS  200
#define PROGRESS_LINE_MS 5000
#define PROGRESS_BAR     30 /* columns */


void
mining_progress_start(
    mining_progress_t *progress, const char *what, uint64_t total)
{
    progress->what = what;
    progress->total = total;
    progress->start_ms = mining_tick_ms();
    progress->shown_ms = progress->start_ms;
    progress->terminal = isatty(STDERR_FILENO);
    progress->drawn = 0;
}


static void
progress_bar(mining_progress_t *progress, uint64_t done, uint64_t count)
{
    char     bar[PROGRESS_BAR + 1];
    unsigned filled, percent;

    if (progress->total == 0) {
        (void) fprintf(
            stderr, "\r%s: %" PRIu64 "\033[K", progress->what, count);

    } else {
        if (done > progress->total) {
            done = progress->total;
        }

        percent = (unsigned) (done * 100 / progress->total);
        filled = percent * PROGRESS_BAR / 100;
        memset(bar, '.', PROGRESS_BAR);
        memset(bar, '#', filled);
        bar[PROGRESS_BAR] = '\0';

        (void) fprintf(stderr, "\r%s [%s] %3u%% %" PRIu64 "\033[K",
            progress->what, bar, percent, count);
    }

    (void) fflush(stderr);
    progress->drawn = 1;
}


void
mining_progress_show(mining_progress_t *progress, uint64_t done, uint64_t count)
{
    int64_t now;

    now = mining_tick_ms();
    if (now - progress->shown_ms
        < (progress->terminal ? PROGRESS_BAR_MS : PROGRESS_LINE_MS))
    {
        return;
    }

    progress->shown_ms = now;

    if (progress->terminal) {
        progress_bar(progress, done, count);

    } else if (progress->total != 0) {
        mining_say("%s: %" PRIu64 " %%, %" PRIu64 " so far", progress->what,
            done * 100 / progress->total, count);

    } else {
        mining_say("%s: %" PRIu64 " so far", progress->what, count);
    }
}


void
mining_progress_end(mining_progress_t *progress, uint64_t count)
{
    double seconds;

    if (progress->drawn) {
        (void) fprintf(stderr, "\r\033[K");
    }

    seconds = (double) (mining_tick_ms() - progress->start_ms) / 1000;
    mining_say("%s: %" PRIu64 " in %.1f s, %.0f/s", progress->what, count,
        seconds, seconds > 0 ? (double) count / seconds : 0.0);
}
