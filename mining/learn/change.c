/*
 * change.c - finds the days from which the level is another one.
 *
 * Each weekday's median is taken off the logarithms first.  Then the series is
 * cut where the squared distances to the means of the pieces, plus a penalty
 * for each cut, are the least of all ways to cut: optimal partitioning
 * (Jackson et al. 2005), by dynamic programming in the square of the days.
 * Noise is measured by the median absolute difference of days a week apart,
 * which a change of level leaves alone; the penalty is CHANGE_PENALTY times
 * its variance times the logarithm of the days, more than the usual 2 or 3
 * because days of a shop depend on each other.  No piece is under two weeks.
 */

#include "forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


#define WEEK           MINING_FORECAST_WEEK
#define CHANGE_PENALTY 8
#define CHANGE_PIECE   14
#define MEDIAN_SCALE   1.4826 /* deviation over median absolute deviation */

typedef struct {
    double *x;       /* n */
    double *sums;    /* n + 1 */
    double *squares; /* n + 1 */
    double *costs;   /* n + 1 */
    size_t *cuts;    /* n + 1 */
    double *some;    /* n */
} change_t;


static int
change_by_value(const void *a, const void *b)
{
    double x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return x < y ? -1 : x > y;
}


static double
change_median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), change_by_value);

    return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}


/* Logarithms without the weekdays; returns the variance of their noise. */
static double
change_prepare(change_t *c, const double *days, size_t n)
{
    size_t   i, used;
    double   median, noise;
    unsigned d;

    for (d = 0; d < WEEK; d++) {
        for (i = d, used = 0; i < n; i += WEEK) {
            c->some[used++] = log1p(days[i]);
        }
        median = change_median(c->some, used);
        for (i = d; i < n; i += WEEK) {
            c->x[i] = log1p(days[i]) - median;
        }
    }

    for (i = WEEK, used = 0; i < n; i++) {
        if (days[i] > 0 || days[i - WEEK] > 0) {
            c->some[used++] = fabs(c->x[i] - c->x[i - WEEK]);
        }
    }
    noise = MEDIAN_SCALE * change_median(c->some, used) / sqrt(2);

    /* a holiday is no level: what is far off counts as far as that */
    c->sums[0] = c->squares[0] = 0;
    for (i = 0; i < n; i++) {
        c->x[i] = fmax(fmin(c->x[i], 6 * noise), -6 * noise);
        c->sums[i + 1] = c->sums[i] + c->x[i];
        c->squares[i + 1] = c->squares[i] + c->x[i] * c->x[i];
    }

    return noise * noise;
}


static void
change_cut(change_t *c, size_t n, double penalty)
{
    double sum, cost;
    size_t i, k;

    c->costs[0] = -penalty;
    c->cuts[0] = 0;
    for (i = 1; i <= n; i++) {
        c->costs[i] = INFINITY;
        c->cuts[i] = 0;
        for (k = 0; k + CHANGE_PIECE <= i; k++) {
            sum = c->sums[i] - c->sums[k];
            cost = c->costs[k] + penalty + c->squares[i] - c->squares[k]
                   - sum * sum / (double) (i - k);
            if (cost < c->costs[i]) {
                c->costs[i] = cost;
                c->cuts[i] = k;
            }
        }
    }
}


static mining_result_e
change_open(change_t *c, size_t n)
{
    memset(c, 0, sizeof(*c));
    c->x = malloc((n + 1) * sizeof(*c->x));
    c->sums = malloc((n + 1) * sizeof(*c->sums));
    c->squares = malloc((n + 1) * sizeof(*c->squares));
    c->costs = malloc((n + 1) * sizeof(*c->costs));
    c->cuts = malloc((n + 1) * sizeof(*c->cuts));
    c->some = malloc((n + 1) * sizeof(*c->some));

    return c->x == NULL || c->sums == NULL || c->squares == NULL
                   || c->costs == NULL || c->cuts == NULL || c->some == NULL
               ? MINING_NOMEM
               : MINING_OK;
}


static double
change_level(change_t *c, const double *days, size_t from, size_t to)
{
    memcpy(c->some, days + from, (to - from) * sizeof(*days));

    return change_median(c->some, to - from);
}


mining_result_e
mining_forecast_changes(
    const double *days, size_t n, mining_change_t *changes, unsigned *nchanges)
{
    size_t          at, end;
    double          noise;
    change_t        c;
    unsigned        k;
    mining_result_e rc;

    *nchanges = 0;
    if (n < 2 * CHANGE_PIECE) {
        return MINING_DECLINED;
    }
    if (n > MINING_FORECAST_DAYS) {
        return MINING_FULL;
    }

    rc = change_open(&c, n);
    if (rc == MINING_OK) {
        noise = change_prepare(&c, days, n);
        change_cut(&c, n, CHANGE_PENALTY * noise * log((double) n));

        for (at = n; c.cuts[at] > 0; at = c.cuts[at]) {
            (*nchanges)++;
        }
        rc = *nchanges > MINING_CHANGES_MAX ? MINING_FULL : MINING_OK;
    }

    for (at = n, end = n, k = *nchanges; rc == MINING_OK && k-- > 0; end = at) {
        at = c.cuts[at];
        changes[k].at = at;
        changes[k].after = change_level(&c, days, at, end);
        changes[k].before = change_level(&c, days, c.cuts[at], at);
    }

    free(c.x);
    free(c.sums);
    free(c.squares);
    free(c.costs);
    free(c.cuts);
    free(c.some);

    return rc;
}
