/*
 * forecast.h - what the next days bring, what is odd, and what has changed.
 */

#ifndef FORECAST_H_INCLUDED_
#define FORECAST_H_INCLUDED_

#include "../mining.h"

#pragma GCC visibility push(hidden)


#define MINING_FORECAST_WEEK    7
#define MINING_FORECAST_LEAST   42 /* days to learn from */
#define MINING_FORECAST_DAYS    20000
#define MINING_FORECAST_HORIZON 56 /* days ahead */
#define MINING_FORECAST_BEST    5  /* ways that are averaged */
#define MINING_CHANGES_MAX      32

typedef enum {
    MINING_SMOOTH_PLAIN,
    MINING_SMOOTH_ROOT,
    MINING_SMOOTH_LOG
} mining_smooth_scale_e;

/* Exponential smoothing with a weekly season: one way to forecast. */
typedef struct {
    mining_smooth_scale_e scale;
    double                level; /* how fast each follows, 0 to 1 */
    double                trend; /* 0: there is none */
    double                season;
    double                error; /* mean absolute, when it was chosen */
} mining_smooth_t;

typedef struct {
    mining_smooth_t best[MINING_FORECAST_BEST];
    /* of the root of the value minus the root of the forecast, by day ahead */
    double low[MINING_FORECAST_HORIZON];  /* 10 % are below */
    double high[MINING_FORECAST_HORIZON]; /* 10 % are above */
} mining_forecast_t;

typedef struct {
    size_t at; /* the first day of what is new */
    double before;
    double after; /* medians up to the next change */
} mining_change_t;

/*
 * Chooses ways and widths on the days themselves, which are 0 or more and one
 * after the other.  DECLINED: under MINING_FORECAST_LEAST days.  INVALID: a
 * value is not finite or below 0.
 */
mining_result_e mining_forecast_fit(
    const double *days, size_t n, mining_forecast_t *forecast);
/* The `horizon` days after the first n, and what 80 % of them lie between. */
mining_result_e mining_forecast_ahead(const mining_forecast_t *forecast,
    const double *days, size_t n, unsigned horizon, double *mean, double *low,
    double *high);

/*
 * For each day what was expected the day before, and how large an error was
 * usual (in roots): the day is odd by (sqrt(value) - sqrt(mean)) / usual.
 */
void mining_forecast_usual(const mining_forecast_t *forecast,
    const double *days, size_t n, double *mean, double *usual);

/* Days from which the level is another one; at most MINING_CHANGES_MAX. */
mining_result_e mining_forecast_changes(
    const double *days, size_t n, mining_change_t *changes, unsigned *nchanges);


#pragma GCC visibility pop

#endif /* FORECAST_H_INCLUDED_ */
