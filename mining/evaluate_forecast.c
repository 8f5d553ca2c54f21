/*
 * evaluate_forecast.c - forecasts, odd days and changes of a file of days.
 *
 * --file FILE is CSV with the columns date (YYYY-MM-DD) and value, or what
 * --date and --value name; rows of one day are added up, a day without a row
 * is 0.
 *
 * evaluate forecast: the last --weeks W are held out.  From each week's start
 * in them the next --horizon days are forecast, with ways chosen on the days
 * before, as a job that runs once a week would.  The error is printed beside
 * that of the seasonal naive forecast (the last known value of the same
 * weekday), with the share of days inside the interval.
 *
 * evaluate anomalies: the limit comes from the first half.  A tenth of its
 * days were odder than some value; an exponential tail from there on gives
 * what --false-alarms of 100 days will exceed.  Quantiles further out would be
 * made by holidays and by the very days to be found.  Printed are the alarms
 * of the second half, which are false ones as far as nobody knows better, and
 * how many days are found when each in turn is made silent (0) or three times
 * what it was.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "learn/forecast.h"
#include "matrix_file.h"


#define FORECAST_WEEKS   8
#define FORECAST_HORIZON 14
#define FORECAST_ALARMS  "1" /* of 100 days */
#define FORECAST_LIMIT   3.0 /* the least */
#define FORECAST_SURGE   3
#define FORECAST_TENTH   0.1

typedef struct {
    const char        *path;
    const char        *date;
    const char        *value;
    const char        *alarms_text;
    unsigned           weeks;
    unsigned           horizon;
    double            *days;
    size_t             n;
    int64_t            first; /* days since 1970 */
    mining_forecast_t *forecast;
} forecast_file_t;


static const char *
forecast_date(const forecast_file_t *f, size_t day, char *text, size_t size)
{
    time_t    when;
    struct tm tm;

    when = (time_t) (f->first + (int64_t) day) * 86400;
    if (gmtime_r(&when, &tm) == NULL
        || strftime(text, size, "%Y-%m-%d", &tm) == 0) {
        return "?";
    }

    return text;
}


static mining_result_e
forecast_days(forecast_file_t *f, const mining_matrix_t *table)
{
    size_t        i;
    int64_t       us, *at, last;
    const char   *id;
    tracker_str_t word;

    at = malloc(table->n * sizeof(*at));
    if (at == NULL) {
        return MINING_NOMEM;
    }

    last = 0;
    for (i = 0, id = table->ids; i < table->n; i++, id += word.len + 1) {
        word.data = id;
        word.len = strlen(id);
        if (mining_time(word, &us) != MINING_OK || us < 0
            || table->values[i] < 0) {
            mining_say("evaluate: %s: row %zu: needs a date such as "
                       "2026-11-24 and a value of 0 or more",
                f->path, i + 1);
            free(at);
            return MINING_INVALID;
        }
        at[i] = us / MINING_US_PER_DAY;
        f->first = i == 0 || at[i] < f->first ? at[i] : f->first;
        last = i == 0 || at[i] > last ? at[i] : last;
    }

    if (last - f->first >= MINING_FORECAST_DAYS) {
        mining_say("evaluate: %s: over %d days from the first to the last",
            f->path, MINING_FORECAST_DAYS);
        free(at);
        return MINING_FULL;
    }

    f->n = (size_t) (last - f->first) + 1;
    f->days = calloc(f->n, sizeof(*f->days));
    for (i = 0; f->days != NULL && i < table->n; i++) {
        f->days[at[i] - f->first] += table->values[i];
    }
    free(at);

    return f->days == NULL ? MINING_NOMEM : MINING_OK;
}


static mining_result_e
forecast_read(forecast_file_t *f)
{
    mining_matrix_t table;
    mining_result_e rc;

    rc = mining_matrix_read(&table, f->path, f->value, f->date);
    if (rc == MINING_OK) {
        rc = forecast_days(f, &table);
    }
    mining_matrix_free(&table);

    return rc;
}


static mining_result_e
forecast_fit(forecast_file_t *f, size_t n)
{
    mining_result_e rc;

    rc = mining_forecast_fit(f->days, n, f->forecast);
    if (rc == MINING_DECLINED) {
        mining_say("evaluate: %s: %zu days are left to learn from, %d are "
                   "needed",
            f->path, n, MINING_FORECAST_LEAST);
    }

    return rc;
}


static mining_result_e
forecast_judge(forecast_file_t *f, size_t from)
{
    size_t          i, count, inside;
    double          own, naive;
    double          mean[MINING_FORECAST_HORIZON];
    double          low[MINING_FORECAST_HORIZON];
    double          high[MINING_FORECAST_HORIZON];
    unsigned        k;
    mining_result_e rc;

    own = naive = 0;
    count = inside = 0;
    for (i = from; i < f->n; i += MINING_FORECAST_WEEK) {
        rc = forecast_fit(f, i);
        if (rc == MINING_OK) {
            rc = mining_forecast_ahead(
                f->forecast, f->days, i, f->horizon, mean, low, high);
        }
        if (rc != MINING_OK) {
            return rc;
        }
        for (k = 0; k < f->horizon && i + k < f->n; k++) {
            own += fabs(mean[k] - f->days[i + k]);
            naive += fabs(
                f->days[i - MINING_FORECAST_WEEK + k % MINING_FORECAST_WEEK]
                - f->days[i + k]);
            inside += f->days[i + k] >= low[k] && f->days[i + k] <= high[k];
            count++;
        }
    }

    own /= (double) count;
    naive /= (double) count;
    (void) printf(
        "forecasts %zu\nmae %.6f\nmae_naive %.6f\n", count, own, naive);
    if (naive > 0) {
        (void) printf("mae_ratio %.6f\n", own / naive);
    }
    (void) printf("inside_80 %.6f\n", (double) inside / (double) count);

    return MINING_OK;
}


/* What comes after the file, chosen with all of it. */
static mining_result_e
forecast_print(forecast_file_t *f)
{
    char            text[32];
    double          mean[MINING_FORECAST_HORIZON];
    double          low[MINING_FORECAST_HORIZON];
    double          high[MINING_FORECAST_HORIZON];
    unsigned        k;
    mining_result_e rc;

    rc = forecast_fit(f, f->n);
    if (rc == MINING_OK) {
        rc = mining_forecast_ahead(
            f->forecast, f->days, f->n, f->horizon, mean, low, high);
    }
    for (k = 0; rc == MINING_OK && k < f->horizon; k++) {
        (void) printf("day_%s %.6g,%.6g,%.6g\n",
            forecast_date(f, f->n + k, text, sizeof(text)), mean[k], low[k],
            high[k]);
    }

    return rc;
}


static mining_result_e
forecast_run(forecast_file_t *f)
{
    size_t          from, held;
    double          start;
    mining_result_e rc;

    held = (size_t) f->weeks * MINING_FORECAST_WEEK;
    from = f->n > held ? f->n - held : 0;
    rc = forecast_fit(f, from);
    if (rc != MINING_OK) {
        return rc;
    }

    (void) printf("days %zu\nheld_out %zu\n", f->n, held);
    start = mining_evaluate_seconds();
    rc = forecast_judge(f, from);
    (void) printf("seconds %.6f\n", mining_evaluate_seconds() - start);

    return rc == MINING_OK ? forecast_print(f) : rc;
}


/* ---- anomalies ---------------------------------------------------------- */

static double
forecast_odd(double value, double mean, double usual)
{
    double apart;

    apart = sqrt(value) - sqrt(mean);

    /* where nothing ever varied, one half of a unit is odd */
    return apart / fmax(usual, 0.25);
}


static int
forecast_by_value(const void *a, const void *b)
{
    double x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return x < y ? -1 : x > y;
}


static double
forecast_limit(const forecast_file_t *f, const double *mean,
    const double *usual, size_t from, size_t to, double alarms)
{
    size_t  i, n;
    double *odd, limit;

    n = to - from;
    odd = malloc((n + 1) * sizeof(*odd));
    if (odd == NULL) {
        return INFINITY;
    }
    for (i = 0; i < n; i++) {
        odd[i] = fabs(
            forecast_odd(f->days[from + i], mean[from + i], usual[from + i]));
    }
    qsort(odd, n, sizeof(*odd), forecast_by_value);
    limit = odd[(size_t) ((1 - FORECAST_TENTH) * (double) n)]
            * log(alarms / 100) / log(FORECAST_TENTH);
    free(odd);

    return fmax(limit, FORECAST_LIMIT);
}


static void
forecast_alarms(const forecast_file_t *f, const double *mean,
    const double *usual, size_t from, double limit)
{
    char   text[32];
    size_t i, alarms, silent, surge, tried;
    double odd;

    alarms = silent = surge = tried = 0;
    for (i = from; i < f->n; i++) {
        odd = forecast_odd(f->days[i], mean[i], usual[i]);
        if (fabs(odd) > limit) {
            alarms++;
            (void) printf("alarm_%s %.6g,%.6g,%.2f\n",
                forecast_date(f, i, text, sizeof(text)), f->days[i], mean[i],
                odd);
        }
        if (f->days[i] > 0) {
            tried++;
            silent += forecast_odd(0, mean[i], usual[i]) < -limit;
            surge +=
                forecast_odd(FORECAST_SURGE * f->days[i], mean[i], usual[i])
                > limit;
        }
    }

    (void) printf("limit %.4f\njudged_days %zu\nalarms %zu\n"
                  "alarms_per_100_days %.4f\n",
        limit, f->n - from, alarms,
        100 * (double) alarms / (double) (f->n - from));
    if (tried > 0) {
        (void) printf("found_silent %.6f\nfound_surge %.6f\n",
            (double) silent / (double) tried, (double) surge / (double) tried);
    }
}


static mining_result_e
forecast_changes(const forecast_file_t *f)
{
    char            text[32];
    unsigned        i, n;
    mining_change_t changes[MINING_CHANGES_MAX];
    mining_result_e rc;

    rc = mining_forecast_changes(f->days, f->n, changes, &n);
    if (rc == MINING_FULL) {
        mining_say("evaluate: %s: the level changes over %d times: this is "
                   "noise",
            f->path, MINING_CHANGES_MAX);
        return rc;
    }
    if (rc != MINING_OK) {
        return rc;
    }

    (void) printf("changes %u\n", n);
    for (i = 0; i < n; i++) {
        (void) printf("change_%s %.6g,%.6g\n",
            forecast_date(f, changes[i].at, text, sizeof(text)),
            changes[i].before, changes[i].after);
    }

    return MINING_OK;
}


static mining_result_e
forecast_anomalies(forecast_file_t *f)
{
    size_t          half;
    double          alarms, *mean, *usual, limit;
    tracker_str_t   text = {f->alarms_text, strlen(f->alarms_text)};
    mining_result_e rc;

    if (!mining_evaluate_number(text, &alarms) || alarms <= 0 || alarms > 10) {
        mining_say("evaluate: --false-alarms takes a number above 0 and up "
                   "to 10, of 100 days, not \"%s\"",
            f->alarms_text);
        return MINING_INVALID;
    }

    half = f->n / 2;
    rc = forecast_fit(f, half);
    if (rc != MINING_OK) {
        return rc;
    }

    mean = malloc(f->n * sizeof(*mean));
    usual = malloc(f->n * sizeof(*usual));
    if (mean != NULL && usual != NULL) {
        mining_forecast_usual(f->forecast, f->days, f->n, mean, usual);
        limit = forecast_limit(f, mean, usual,
            MINING_FORECAST_LEAST - MINING_FORECAST_WEEK, half, alarms);
        (void) printf("days %zu\n", f->n);
        forecast_alarms(f, mean, usual, half, limit);
        rc = forecast_changes(f);
    } else {
        rc = MINING_NOMEM;
    }
    free(mean);
    free(usual);

    return rc;
}


static int
forecast_main(int argc, char **argv, const char *usage,
    mining_result_e (*run)(forecast_file_t *f))
{
    unsigned          nwords;
    const char       *words[16];
    forecast_file_t   f;
    mining_result_e   rc;
    mining_forecast_t forecast;

    memset(&f, 0, sizeof(f));
    f.forecast = &forecast;
    f.date = "date";
    f.value = "value";
    f.alarms_text = FORECAST_ALARMS;
    f.weeks = FORECAST_WEEKS;
    f.horizon = FORECAST_HORIZON;

    {
        const mining_option_t options[] = {
            {"--file", (void *) &f.path, MINING_OPTION_TEXT, 0},
            {"--date", (void *) &f.date, MINING_OPTION_TEXT, 0},
            {"--value", (void *) &f.value, MINING_OPTION_TEXT, 0},
            {"--weeks", &f.weeks, MINING_OPTION_COUNT, 200},
            {"--horizon", &f.horizon, MINING_OPTION_COUNT,
                MINING_FORECAST_HORIZON},
            {"--false-alarms", (void *) &f.alarms_text, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 16
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || f.path == NULL || strchr(f.value, ',') != NULL)
        {
            mining_say("usage: evaluate %s %s", argv[0], usage);
            return MINING_EXIT_USAGE;
        }
    }

    rc = forecast_read(&f);
    if (rc == MINING_OK) {
        rc = run(&f);
    }
    if (rc == MINING_OK) {
        mining_evaluate_memory();
    } else if (rc == MINING_NOMEM) {
        mining_say("evaluate: %s", mining_result_text(rc));
    }
    free(f.days);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


int
mining_evaluate_forecast(int argc, char **argv)
{
    return forecast_main(argc, argv, MINING_EVALUATE_FORECAST, forecast_run);
}


int
mining_evaluate_anomalies(int argc, char **argv)
{
    return forecast_main(
        argc, argv, MINING_EVALUATE_ANOMALIES, forecast_anomalies);
}
