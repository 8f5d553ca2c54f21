/*
 * report.c - messages to people and logs, the clock, the signal to stop.
 *
 * Everything said goes to stderr, one line each; results that a program may
 * want to read go to stdout and are printed by the command itself.
 */

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "mining.h"


volatile sig_atomic_t mining_stop;

static int report_times;


const char *
mining_result_text(mining_result_e rc)
{
    switch (rc) {
    case MINING_OK:
        return "ok";
    case MINING_DECLINED:
        return "nothing to do";
    case MINING_INVALID:
        return "invalid input";
    case MINING_FULL:
        return "a limit is reached";
    case MINING_NOMEM:
        return "out of memory";
    case MINING_REFUSED:
        return "refused by the store";
    case MINING_LOST:
        return "store unreachable";
    case MINING_STOPPED:
        return "stopped by a signal";
    }

    return "unknown result";
}


static void
report_signal(int signo)
{
    (void) signo;
    mining_stop = 1;
}


void
mining_stop_on_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = report_signal;
    sigemptyset(&action.sa_mask);

    /* No SA_RESTART: a wait must end when the signal comes. */
    (void) sigaction(SIGINT, &action, NULL);
    (void) sigaction(SIGTERM, &action, NULL);

    action.sa_handler = SIG_IGN;
    (void) sigaction(SIGPIPE, &action, NULL);
}


void
mining_report_times(void)
{
    report_times = 1;
}


void
mining_say(const char *format, ...)
{
    char      line[2048];
    char      when[32];
    time_t    now;
    va_list   args;
    struct tm tm;

    va_start(args, format);
    (void) vsnprintf(line, sizeof(line), format, args);
    va_end(args);

    when[0] = '\0';
    if (report_times) {
        now = time(NULL);
        if (gmtime_r(&now, &tm) != NULL) {
            (void) strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ ", &tm);
        }
    }

    /* where both go the same way, what was found comes before the sum */
    (void) fflush(stdout);
    (void) fprintf(stderr, "%scrm-mine: %s\n", when, line);
}


char *
mining_text(char *buf, size_t size, const char *format, ...)
{
    size_t  len;
    va_list args;

    len = strnlen(buf, size - 1);

    va_start(args, format);
    (void) vsnprintf(buf + len, size - len, format, args);
    va_end(args);

    return buf;
}


int64_t
mining_now_us(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * MINING_US_PER_S + ts.tv_nsec / 1000;
}


int64_t
mining_tick_ms(void)
{
    struct timespec ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


void
mining_pause_ms(unsigned ms)
{
    struct timespec ts;

    if (mining_stop) {
        return;
    }

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = (long) (ms % 1000) * 1000000;

    (void) nanosleep(&ts, NULL);
}
