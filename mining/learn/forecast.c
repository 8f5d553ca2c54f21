/*
 * forecast.c - forecasts days from days, with a weekly season.
 *
 * Additive exponential smoothing (Holt and Winters; the trend is damped as
 * Gardner and McKenzie 1985 have it) of the value, its root or its logarithm.
 * What is too far off, by CLIP times the usual error, moves the state only as
 * far as that: one odd day is no new level, several are.  72 ways are tried
 * on the last days that are known, each of which is forecast from each day
 * before; the mean of the best few is the forecast, which errs less than the
 * best one alone.  Widths are quantiles of the errors made then, of roots:
 * for counts these vary alike whatever their size.
 *
 * A day of the week that was 0 for CLOSED weeks stays 0.  No yearly season: it
 * would take more than two years to learn one.
 */

#include "forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


#define WEEK        MINING_FORECAST_WEEK
#define HORIZON     MINING_FORECAST_HORIZON
#define BEST        MINING_FORECAST_BEST
#define TRY_DAYS    84 /* that the ways are tried on */
#define TRY_AHEAD   14 /* days ahead that choose a way */
#define WARM        28 /* days that start a state */
#define DAMPED      0.9
#define CLIP        3.0 /* times the usual error */
#define USUAL       0.05
#define EDGE        0.075  /* a quarter less than 10 %: ways were chosen here */
#define CLOSED      4      /* weeks in a row */
#define AROUND      3      /* days ahead whose errors are taken together */
#define GAUSS_SCALE 1.2533 /* deviation over mean absolute deviation */

typedef struct {
    double level;
    double trend;
    double season[WEEK];
    double usual; /* absolute error, of the scale */
} smooth_state_t;

static const double smooth_levels[] = {0.08, 0.2, 0.4, 0.6};
static const double smooth_seasons[] = {0.02, 0.1, 0.25};
static const double smooth_trends[] = {0, 0.1};


static double
smooth_in(const mining_smooth_t *way, double x)
{
    return way->scale == MINING_SMOOTH_LOG    ? log1p(x)
           : way->scale == MINING_SMOOTH_ROOT ? sqrt(x)
                                              : x;
}


static double
smooth_out(const mining_smooth_t *way, double x)
{
    x = fmax(x, 0);

    return way->scale == MINING_SMOOTH_LOG    ? expm1(fmin(x, 300))
           : way->scale == MINING_SMOOTH_ROOT ? x * x
                                              : x;
}


/* From the first days: their mean, and each weekday's distance to it. */
static void
smooth_start(
    const mining_smooth_t *way, const double *days, smooth_state_t *state)
{
    unsigned i;

    memset(state, 0, sizeof(*state));
    for (i = 0; i < WARM; i++) {
        state->level += smooth_in(way, days[i]) / WARM;
    }
    for (i = 0; i < WARM; i++) {
        state->season[i % WEEK] +=
            (smooth_in(way, days[i]) - state->level) * WEEK / WARM;
    }
    for (i = 0; i < WARM; i++) {
        state->usual += fabs(smooth_in(way, days[i]) - state->level
                             - state->season[i % WEEK])
                        / WARM;
    }
}


static double
smooth_ahead(const mining_smooth_t *way, const smooth_state_t *state,
    size_t day, unsigned ahead)
{
    double   x, step;
    unsigned i;

    x = state->level + state->season[(day + ahead - 1) % WEEK];
    for (i = 0, step = state->trend; i < ahead && step != 0; i++) {
        step *= DAMPED;
        x += step;
    }

    return smooth_out(way, x);
}


static void
smooth_take(
    const mining_smooth_t *way, smooth_state_t *state, size_t day, double value)
{
    double error, most;

    error = smooth_in(way, value) - state->level - DAMPED * state->trend
            - state->season[day % WEEK];
    most = CLIP * GAUSS_SCALE * state->usual;
    state->usual += USUAL * (fmin(fabs(error), 2 * most) - state->usual);
    if (most > 0) {
        error = fmax(fmin(error, most), -most);
    }

    state->level += DAMPED * state->trend + way->level * error;
    state->trend = DAMPED * state->trend + way->level * way->trend * error;
    state->season[day % WEEK] += (1 - way->level) * way->season * error;
}


/* The mean absolute error of a way over the days from `from`. */
static double
smooth_error(
    const mining_smooth_t *way, const double *days, size_t n, size_t from)
{
    double         sum;
    size_t         i, count;
    unsigned       k;
    smooth_state_t state;

    smooth_start(way, days, &state);
    for (i = 0, sum = 0, count = 0; i < n; i++) {
        for (k = 1; i >= from && k <= TRY_AHEAD && i + k <= n; k++) {
            sum += fabs(smooth_ahead(way, &state, i, k) - days[i + k - 1]);
            count++;
        }
        smooth_take(way, &state, i, days[i]);
    }

    return count == 0 ? INFINITY : sum / (double) count;
}


static void
smooth_keep(mining_forecast_t *forecast, const mining_smooth_t *way)
{
    unsigned i;

    for (i = BEST; i > 0 && way->error < forecast->best[i - 1].error; i--) {
        if (i < BEST) {
            forecast->best[i] = forecast->best[i - 1];
        }
    }
    if (i < BEST) {
        forecast->best[i] = *way;
    }
}


static void
forecast_choose(
    mining_forecast_t *forecast, const double *days, size_t n, size_t from)
{
    unsigned        i, j, k, scale;
    mining_smooth_t way;

    for (i = 0; i < BEST; i++) {
        forecast->best[i].error = INFINITY;
    }

    for (scale = MINING_SMOOTH_PLAIN; scale <= MINING_SMOOTH_LOG; scale++) {
        way.scale = (mining_smooth_scale_e) scale;
        for (i = 0; i < sizeof(smooth_levels) / sizeof(double); i++) {
            way.level = smooth_levels[i];
            for (j = 0; j < sizeof(smooth_seasons) / sizeof(double); j++) {
                way.season = smooth_seasons[j];
                for (k = 0; k < sizeof(smooth_trends) / sizeof(double); k++) {
                    way.trend = smooth_trends[k];
                    way.error = smooth_error(&way, days, n, from);
                    smooth_keep(forecast, &way);
                }
            }
        }
    }
}


static int
forecast_by_value(const void *a, const void *b)
{
    double x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return x < y ? -1 : x > y;
}


/* States of all ways that are averaged, forward by a day. */
static void
forecast_take(const mining_forecast_t *forecast, smooth_state_t *states,
    size_t day, double value)
{
    unsigned i;

    for (i = 0; i < BEST; i++) {
        smooth_take(&forecast->best[i], &states[i], day, value);
    }
}


static double
forecast_mean(const mining_forecast_t *forecast, const smooth_state_t *states,
    size_t day, unsigned ahead)
{
    double   sum;
    unsigned i;

    for (i = 0, sum = 0; i < BEST; i++) {
        sum += smooth_ahead(&forecast->best[i], &states[i], day, ahead);
    }

    return sum / BEST;
}


static void
forecast_start(const mining_forecast_t *forecast, const double *days,
    smooth_state_t *states)
{
    unsigned i;

    for (i = 0; i < BEST; i++) {
        smooth_start(&forecast->best[i], days, &states[i]);
    }
}


/* errors[k][i]: of k + 1 days ahead, made on day from + i. */
static void
forecast_errors(const mining_forecast_t *forecast, const double *days, size_t n,
    size_t from, double (*errors)[TRY_DAYS])
{
    size_t         i;
    unsigned       k;
    smooth_state_t states[BEST];

    forecast_start(forecast, days, states);
    for (i = 0; i < n; i++) {
        for (k = 0; i >= from && k < HORIZON && i + k < n; k++) {
            errors[k][i - from] =
                sqrt(days[i + k])
                - sqrt(forecast_mean(forecast, states, i, k + 1));
        }
        forecast_take(forecast, states, i, days[i]);
    }
}


/*
 * Quantiles by day ahead.  Where there are few errors of as many days ahead
 * those of fewer days serve, which are smaller if anything.
 */
static mining_result_e
forecast_widths(
    mining_forecast_t *forecast, const double *days, size_t n, size_t from)
{
    size_t i, used, edge;
    double(*errors)[TRY_DAYS], *some;
    unsigned k, j;

    errors = calloc(HORIZON, sizeof(*errors));
    some = malloc((2 * AROUND + 1) * TRY_DAYS * sizeof(*some));
    if (errors == NULL || some == NULL) {
        free(errors);
        free(some);
        return MINING_NOMEM;
    }

    forecast_errors(forecast, days, n, from, errors);
    for (k = 0; k < HORIZON; k++) {
        for (used = 0, j = k < AROUND ? 0 : k - AROUND;
             j <= k + AROUND && j < HORIZON; j++)
        {
            for (i = from; i + j < n; i++) {
                some[used++] = errors[j][i - from];
            }
        }
        if (used < 4 * (2 * AROUND + 1) && k > 0) {
            forecast->low[k] = forecast->low[k - 1];
            forecast->high[k] = forecast->high[k - 1];
            continue;
        }
        qsort(some, used, sizeof(*some), forecast_by_value);
        edge = (size_t) (EDGE * (double) (used + 1));
        edge = edge > 0 ? edge - 1 : 0;
        forecast->low[k] = fmin(some[edge], 0);
        forecast->high[k] = fmax(some[used - 1 - edge], 0);
    }
    free(errors);
    free(some);

    return MINING_OK;
}


mining_result_e
mining_forecast_fit(const double *days, size_t n, mining_forecast_t *forecast)
{
    size_t i, from;

    memset(forecast, 0, sizeof(*forecast));
    if (n < MINING_FORECAST_LEAST) {
        return MINING_DECLINED;
    }
    if (n > MINING_FORECAST_DAYS) {
        return MINING_FULL;
    }
    for (i = 0; i < n; i++) {
        if (!isfinite(days[i]) || days[i] < 0) {
            return MINING_INVALID;
        }
    }

    from = n - WARM < TRY_DAYS ? WARM : n - TRY_DAYS;
    forecast_choose(forecast, days, n, from);

    return forecast_widths(forecast, days, n, from);
}


/* Of a day of the week that was 0 the last times, nothing is expected. */
static int
forecast_closed(const double *days, size_t n, unsigned ahead)
{
    size_t   at;
    unsigned i;

    at = n + ahead - WEEK * (ahead / WEEK + 1);
    for (i = 0; i < CLOSED && at >= WEEK && days[at] == 0; i++) {
        at -= WEEK;
    }

    return i == CLOSED;
}


mining_result_e
mining_forecast_ahead(const mining_forecast_t *forecast, const double *days,
    size_t n, unsigned horizon, double *mean, double *low, double *high)
{
    size_t         i;
    double         root;
    unsigned       k;
    smooth_state_t states[BEST];

    if (n < WARM || horizon > HORIZON) {
        return MINING_INVALID;
    }

    forecast_start(forecast, days, states);
    for (i = 0; i < n; i++) {
        forecast_take(forecast, states, i, days[i]);
    }

    for (k = 0; k < horizon; k++) {
        if (forecast_closed(days, n, k)) {
            mean[k] = low[k] = high[k] = 0;
            continue;
        }
        mean[k] = forecast_mean(forecast, states, n, k + 1);
        root = fmax(sqrt(mean[k]) + forecast->low[k], 0);
        low[k] = root * root;
        root = sqrt(mean[k]) + forecast->high[k];
        high[k] = root * root;
    }

    return MINING_OK;
}


void
mining_forecast_usual(const mining_forecast_t *forecast, const double *days,
    size_t n, double *mean, double *usual)
{
    size_t         i;
    double         error, scale;
    smooth_state_t states[BEST];

    if (n < WARM) {
        return;
    }

    forecast_start(forecast, days, states);
    scale = 0;
    for (i = 0; i < n; i++) {
        mean[i] = forecast_mean(forecast, states, i, 1);
        usual[i] = GAUSS_SCALE * scale;
        error = fabs(sqrt(days[i]) - sqrt(mean[i]));
        if (i < WARM) {
            scale += error / WARM;
        } else {
            /* an odd day is no measure of what is usual */
            error = fmin(error, CLIP * GAUSS_SCALE * scale);
            scale += USUAL * (error - scale);
        }
        forecast_take(forecast, states, i, days[i]);
    }
}
