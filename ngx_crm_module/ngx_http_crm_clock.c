/*
 * ngx_http_crm_clock.c - time and randomness without system calls.
 *
 * What is needed for each event must not cost a call into the kernel: time is
 * nginx's cached clock, random bytes come from a pool of 4 KB, and what we take
 * ourselves is measured with the processor's time-stamp counter.
 *
 * The statics here are no configuration: they belong to one process, and are
 * thrown away when a fork has made it another.
 */

#include "ngx_http_crm_module.h"

#include <sys/random.h>
#if (defined __x86_64__ || defined __i386__)
#include <x86intrin.h>
#endif


#define NGX_HTTP_CRM_RANDOM_BYTES 4096
#define NGX_HTTP_CRM_CALIBRATED   1000000 /* ns; then 1 us of error is 0.1 % */


static struct {
    uint8_t   bytes[NGX_HTTP_CRM_RANDOM_BYTES];
    size_t    used;
    ngx_pid_t pid; /* a fork must not share the bytes */
} ngx_http_crm_pool;

static uint64_t ngx_http_crm_last_us;

/* When this process first asked for the length of a tick. */
static struct {
    ngx_pid_t pid;
    uint64_t  ticks;
    uint64_t  ns;
} ngx_http_crm_clock;


static void
ngx_http_crm_pool_fill(void)
{
    size_t  got;
    ssize_t n;

    got = 0;

    while (got < NGX_HTTP_CRM_RANDOM_BYTES) {
        n = getrandom(ngx_http_crm_pool.bytes + got,
            NGX_HTTP_CRM_RANDOM_BYTES - got, GRND_NONBLOCK);

        if (n <= 0) {
            break;
        }

        got += n;
    }

    /* early in boot only; ids need to differ, not to be unguessable */
    for (; got < NGX_HTTP_CRM_RANDOM_BYTES; got++) {
        ngx_http_crm_pool.bytes[got] = (uint8_t) (ngx_random() >> 7);
    }

    ngx_http_crm_pool.used = 0;
    ngx_http_crm_pool.pid = ngx_pid;
}


void
ngx_http_crm_random(uint8_t *buf, size_t n)
{
    size_t part;

    while (n > 0) {
        if (ngx_http_crm_pool.pid != ngx_pid
            || ngx_http_crm_pool.used == NGX_HTTP_CRM_RANDOM_BYTES)
        {
            ngx_http_crm_pool_fill();
        }

        part = ngx_min(n, NGX_HTTP_CRM_RANDOM_BYTES - ngx_http_crm_pool.used);
        ngx_memcpy(buf, ngx_http_crm_pool.bytes + ngx_http_crm_pool.used, part);
        ngx_http_crm_pool.used += part;
        buf += part;
        n -= part;
    }
}


/* nginx's clock moves in ms: the µs below only keep the order in a worker. */
uint64_t
ngx_http_crm_now_us(void)
{
    uint64_t    us;
    ngx_time_t *tp;

    tp = ngx_timeofday();
    us = ((uint64_t) tp->sec * 1000 + tp->msec) * 1000;

    /* a clock that was set back far is followed */
    if (us <= ngx_http_crm_last_us && ngx_http_crm_last_us - us < 1000000) {
        us = ngx_http_crm_last_us + 1;
    }

    ngx_http_crm_last_us = us;

    return us;
}


static uint64_t
ngx_http_crm_monotonic_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}


uint64_t
ngx_http_crm_ticks(void)
{
#if (defined __x86_64__ || defined __i386__)
    return __rdtsc();
#else
    return ngx_http_crm_monotonic_ns();
#endif
}


/* Measured against the system's clock since this process first asked. */
uint64_t
ngx_http_crm_ticks_ns(uint64_t ticks)
{
    uint64_t now, now_ticks;

    now = ngx_http_crm_monotonic_ns();
    now_ticks = ngx_http_crm_ticks();

    if (ngx_http_crm_clock.pid != ngx_pid) {
        ngx_http_crm_clock.pid = ngx_pid;
        ngx_http_crm_clock.ns = now;
        ngx_http_crm_clock.ticks = now_ticks;
    }

    if (now - ngx_http_crm_clock.ns < NGX_HTTP_CRM_CALIBRATED
        || now_ticks <= ngx_http_crm_clock.ticks)
    {
        return 0;
    }

    return (uint64_t) ((double) ticks * (double) (now - ngx_http_crm_clock.ns)
                       / (double) (now_ticks - ngx_http_crm_clock.ticks));
}
