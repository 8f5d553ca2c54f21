/*
 * clv.c - BG/NBD and Gamma-Gamma by maximum likelihood, and what follows.
 *
 * BG/NBD: Fader, Hardie, Lee, "Counting Your Customers the Easy Way", 2005.
 * With x repeat purchases, the last at t_x, watched for T:
 *
 *   ln L = ln G(r+x)/G(r) + r ln alpha - (r+x) ln(alpha+T)
 *          + ln B(a,b+x)/B(a,b)
 *          + ln(1 + [x>0] a/(b+x-1) ((alpha+T)/(alpha+t_x))^(r+x))
 *
 * x is whole, so the first and the fourth term are sums of logarithms over
 * 0 ... x-1: exact at a -> 0 and b -> infinity, where differences of ln G lose
 * all digits.  Rows of equal (x, t_x, T) are one row with a weight; logarithms
 * of alpha+T and alpha+t_x are taken once per different time.
 *
 * Expected purchases (formula 10 there) need 2F1(r+x, b+x; a+b+x-1; z), which
 * diverges at z -> 1.  Euler's transformation makes it (1-z)^(a-1-r-x) 2F1(
 * a+b-1-r, a-1; a+b+x-1; z), which converges there too.  At large a both
 * factors leave the range of numbers; there 1 minus their product is the mean
 * of 1 - (1 + s t/(alpha+T))^-(r+x) over s ~ Beta(a-1, b+x), a narrow bell that
 * the trapezoid rule integrates to all digits.
 *
 * Gamma-Gamma: Fader, Hardie, "The Gamma-Gamma Model of Monetary Value", note
 * 025, 2013.  Its likelihood has a long ridge, so several starts are taken and
 * amounts are scaled by their mean first.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clv.h"
#include "minimize.h"


#define CLV_LOG_MAX    16     /* of a parameter: e^16 is nine million */
#define CLV_SERIES_MAX 100000 /* terms */
#define CLV_NEAR_ONE   1e-5   /* where the formula has 0 / 0 at a = 1 */
#define CLV_LARGE_A    100    /* from here on by the mean over Beta */
#define CLV_BELL_STEPS 40     /* to each side */
#define CLV_BELL_STEP  0.2    /* standard deviations */

typedef struct {
    uint32_t x;
    uint32_t t_x; /* index of the time */
    uint32_t T;
    double   weight; /* customers */
} clv_group_t;

typedef struct {
    clv_group_t *groups;
    size_t       n;
    double      *times;  /* different ones, ascending */
    double      *logs;   /* of alpha + times */
    double      *shares; /* 1 / (alpha + times) */
    size_t       ntimes;
    uint32_t     x_max;
    double       customers;
    double      *at_least; /* customers with more than j repeats, by j */
} clv_rows_t;

typedef struct {
    uint32_t x;
    double   total; /* x * spend, scaled */
    double   log_total;
} clv_spender_t;

typedef struct {
    clv_spender_t *rows;
    size_t         n;
} clv_spenders_t;


/* ---- BG/NBD ------------------------------------------------------------- */


static int
clv_compare_double(const void *a, const void *b)
{
    double x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return (x > y) - (x < y);
}


static int
clv_compare_group(const void *a, const void *b)
{
    const clv_group_t *x, *y;

    x = a;
    y = b;
    if (x->x != y->x) {
        return x->x < y->x ? -1 : 1;
    }
    if (x->t_x != y->t_x) {
        return x->t_x < y->t_x ? -1 : 1;
    }

    return (x->T > y->T) - (x->T < y->T);
}


static uint32_t
clv_time(const clv_rows_t *rows, double time)
{
    size_t low, high, middle;

    low = 0;
    high = rows->ntimes;
    while (high - low > 1) {
        middle = (low + high) / 2;
        if (rows->times[middle] <= time) {
            low = middle;
        } else {
            high = middle;
        }
    }

    return (uint32_t) low;
}


static size_t
clv_unique(double *values, size_t n)
{
    size_t i, kept;

    qsort(values, n, sizeof(double), clv_compare_double);
    kept = 0;
    for (i = 0; i < n; i++) {
        if (kept == 0 || values[i] != values[kept - 1]) {
            values[kept++] = values[i];
        }
    }

    return kept;
}


static void
clv_rows_free(clv_rows_t *rows)
{
    free(rows->groups);
    free(rows->times);
    free(rows->logs);
    free(rows->shares);
    free(rows->at_least);
}


/* Groups equal rows. */
static void
clv_rows_group(clv_rows_t *rows, const mining_buyer_t *buyers, size_t n)
{
    size_t       i, kept;
    clv_group_t *group;

    for (i = 0; i < n; i++) {
        group = &rows->groups[i];
        group->x = buyers[i].x;
        group->t_x = buyers[i].x == 0 ? 0 : clv_time(rows, buyers[i].t_x);
        group->T = clv_time(rows, buyers[i].T);
        group->weight = 1;
    }

    qsort(rows->groups, n, sizeof(clv_group_t), clv_compare_group);

    kept = 0;
    for (i = 0; i < n; i++) {
        group = &rows->groups[i];
        if (kept > 0 && clv_compare_group(group, group - 1) == 0) {
            rows->groups[kept - 1].weight += 1;
        } else {
            rows->groups[kept++] = *group;
        }
        /* the group before stays readable: kept never passes i */
    }
    rows->n = kept;
}


static mining_result_e
clv_rows_make(clv_rows_t *rows, const mining_buyer_t *buyers, size_t n)
{
    size_t   i;
    uint32_t x;

    memset(rows, 0, sizeof(*rows));
    rows->customers = (double) n;
    rows->groups = calloc(n, sizeof(clv_group_t));
    rows->times = calloc(2 * n, sizeof(double));
    if (rows->groups == NULL || rows->times == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < n; i++) {
        rows->times[2 * i] = buyers[i].T;
        rows->times[2 * i + 1] = buyers[i].x == 0 ? 0 : buyers[i].t_x;
        rows->x_max = buyers[i].x > rows->x_max ? buyers[i].x : rows->x_max;
    }
    rows->ntimes = clv_unique(rows->times, 2 * n);

    rows->logs = calloc(rows->ntimes, sizeof(double));
    rows->shares = calloc(rows->ntimes, sizeof(double));
    rows->at_least = calloc((size_t) rows->x_max + 1, sizeof(double));
    if (rows->logs == NULL || rows->shares == NULL || rows->at_least == NULL) {
        return MINING_NOMEM;
    }

    clv_rows_group(rows, buyers, n);

    for (i = 0; i < rows->n; i++) {
        rows->at_least[rows->groups[i].x] += rows->groups[i].weight;
    }
    /* from "exactly x" to "more than j" */
    for (x = rows->x_max; x > 0; x--) {
        rows->at_least[x - 1] += rows->at_least[x];
    }
    for (x = 0; x < rows->x_max; x++) {
        rows->at_least[x] = rows->at_least[x + 1];
    }
    rows->at_least[rows->x_max] = 0;

    return MINING_OK;
}


/*
 * The terms that depend on x alone, over all customers at once: sum over j of
 * (customers with x > j) * (ln(r+j) + ln(b+j) - ln(a+b+j)).
 */
static double
clv_bgnbd_counts(const clv_rows_t *rows, const double *p, double *gradient)
{
    double   sum, w, r, a, b;
    uint32_t j;

    r = p[0];
    a = p[2];
    b = p[3];
    sum = 0;
    for (j = 0; j < rows->x_max; j++) {
        w = rows->at_least[j];
        sum += w * (log((r + j) * (b + j) / (a + b + j)));
        gradient[0] += w / (r + j);
        gradient[2] -= w / (a + b + j);
        gradient[3] += w * (1 / (b + j) - 1 / (a + b + j));
    }

    return sum;
}


static double
clv_bgnbd_row(const clv_rows_t *rows, const clv_group_t *row, const double *p,
    double *gradient)
{
    double n, ratio, odds, share, sum;

    n = p[0] + row->x;
    sum = -n * rows->logs[row->T];
    gradient[0] -= row->weight * rows->logs[row->T];
    gradient[1] -= row->weight * n * rows->shares[row->T];

    if (row->x == 0) {
        return row->weight * sum;
    }

    ratio = rows->logs[row->T] - rows->logs[row->t_x];
    odds = p[2] / (p[3] + row->x - 1) * exp(n * ratio);
    if (!isfinite(odds)) {
        return -INFINITY;
    }
    share = row->weight * odds / (1 + odds);

    gradient[0] += share * ratio;
    gradient[1] += share * n * (rows->shares[row->T] - rows->shares[row->t_x]);
    gradient[2] += share / p[2];
    gradient[3] -= share / (p[3] + row->x - 1);

    return row->weight * (sum + log1p(odds));
}


/* Minus the log-likelihood; the variables are logarithms of r, alpha, a, b. */
static double
clv_bgnbd_objective(void *ctx, const double *x, double *gradient)
{
    double            sum, p[4];
    size_t            i;
    const clv_rows_t *rows;

    rows = ctx;
    for (i = 0; i < 4; i++) {
        if (!(fabs(x[i]) <= CLV_LOG_MAX)) {
            return INFINITY;
        }
        p[i] = exp(x[i]);
        gradient[i] = 0;
    }

    for (i = 0; i < rows->ntimes; i++) {
        rows->logs[i] = log(p[1] + rows->times[i]);
        rows->shares[i] = 1 / (p[1] + rows->times[i]);
    }

    sum = clv_bgnbd_counts(rows, p, gradient);
    sum += rows->customers * p[0] * x[1];
    gradient[0] += rows->customers * x[1];
    gradient[1] += rows->customers * p[0] / p[1];
    for (i = 0; i < rows->n; i++) {
        sum += clv_bgnbd_row(rows, &rows->groups[i], p, gradient);
    }

    for (i = 0; i < 4; i++) {
        gradient[i] *= -p[i];
    }

    return -sum;
}


static mining_result_e
clv_bgnbd_check(
    const mining_buyer_t *buyers, size_t n, size_t *bad, double *scale)
{
    size_t                i, repeats;
    const mining_buyer_t *buyer;

    repeats = 0;
    *scale = 0;
    for (i = 0; i < n; i++) {
        buyer = &buyers[i];
        if (buyer->x > MINING_CLV_REPEATS_MAX || !isfinite(buyer->T)
            || !isfinite(buyer->t_x) || buyer->T < 0
            || (buyer->x > 0 && !(buyer->t_x > 0 && buyer->t_x <= buyer->T)))
        {
            *bad = i;
            return MINING_INVALID;
        }
        repeats += buyer->x > 0;
        *scale += buyer->T / (double) n;
    }

    return repeats > 0 ? MINING_OK : MINING_DECLINED;
}


mining_result_e
mining_bgnbd_fit(
    const mining_buyer_t *buyers, size_t n, mining_bgnbd_t *model, size_t *bad)
{
    double          x[4], value, best, scale;
    unsigned        i;
    clv_rows_t      rows;
    mining_result_e rc;

    /* r, alpha by the mean of T, a, b: few that buy on, or many that stop */
    static const double starts[][4] = {
        {0.3, 0.15, 0.7, 2.0}, {1.0, 0.5, 0.1, 5.0}};

    memset(model, 0, sizeof(*model));
    rc = clv_bgnbd_check(buyers, n, bad, &scale);
    if (rc != MINING_OK) {
        return rc;
    }

    rc = clv_rows_make(&rows, buyers, n);
    best = INFINITY;
    for (i = 0; rc == MINING_OK && i < 2; i++) {
        x[0] = log(starts[i][0]);
        x[1] = fmin(
            fmax(log(starts[i][1] * scale), -CLV_LOG_MAX + 1), CLV_LOG_MAX - 1);
        x[2] = log(starts[i][2]);
        x[3] = log(starts[i][3]);

        if (mining_minimize(clv_bgnbd_objective, &rows, x, 4, &value)
                == MINING_OK
            && value < best)
        {
            best = value;
            model->r = exp(x[0]);
            model->alpha = exp(x[1]);
            model->a = exp(x[2]);
            model->b = exp(x[3]);
            model->log_likelihood = -value;
        }
    }
    model->groups = rows.n;
    clv_rows_free(&rows);

    return rc != MINING_OK ? rc : isinf(best) ? MINING_DECLINED : MINING_OK;
}


/* a/(b+x-1) ((alpha+T)/(alpha+t_x))^(r+x): the odds that it has left. */
static double
clv_odds(const mining_bgnbd_t *model, const mining_buyer_t *buyer)
{
    if (buyer->x == 0) {
        return 0;
    }

    return model->a / (model->b + buyer->x - 1)
           * exp(
               (model->r + buyer->x)
               * log((model->alpha + buyer->T) / (model->alpha + buyer->t_x)));
}


double
mining_bgnbd_alive(const mining_bgnbd_t *model, const mining_buyer_t *buyer)
{
    return 1 / (1 + clv_odds(model, buyer));
}


/* 2F1 by its series. */
static double
clv_2f1(double a, double b, double c, double z)
{
    double   sum, term;
    unsigned n;

    sum = 1;
    term = 1;
    for (n = 0; n < CLV_SERIES_MAX; n++) {
        term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z;
        sum += term;
        if (fabs(term) <= 1e-17 * fabs(sum)) {
            break;
        }
    }

    return sum;
}


/* The mean of 1 - (1 + w s)^-k over s ~ Beta(p, q), p large. */
static double
clv_beta_mean(double p, double q, double k, double w)
{
    int    i;
    double mean, step, s, weight, weights, sum;

    mean = p / (p + q);
    step = CLV_BELL_STEP * sqrt(mean * (1 - mean) / (p + q + 1));
    weights = sum = 0;

    for (i = -CLV_BELL_STEPS; i <= CLV_BELL_STEPS; i++) {
        s = mean + i * step;
        if (!(s > 0 && s < 1)) {
            continue;
        }
        weight = exp((p - 1) * log1p((s - mean) / mean)
                     + (q - 1) * log1p((mean - s) / (1 - mean)));
        if (isfinite(weight)) {
            weights += weight;
            sum -= weight * expm1(-k * log1p(w * s));
        }
    }

    return weights > 0 ? sum / weights : -expm1(-k * log1p(w * mean));
}


/* Purchases of one that is still a customer, per a. */
static double
clv_purchases(const mining_bgnbd_t *model, const mining_buyer_t *buyer,
    double t, double a)
{
    double c, z, n;

    c = a + model->b + buyer->x - 1;
    if (fabs(c) < 1e-9) {
        c = 1e-9;
    }
    z = t / (model->alpha + buyer->T + t);

    if (a < CLV_LARGE_A) {
        n = 1
            - pow(1 - z, a - 1)
                  * clv_2f1(a + model->b - 1 - model->r, a - 1, c, z);
        if (isfinite(n) || a <= 1) {
            return c / (a - 1) * n;
        }
    }

    return c / (a - 1)
           * clv_beta_mean(a - 1, model->b + buyer->x, model->r + buyer->x,
               t / (model->alpha + buyer->T));
}


double
mining_bgnbd_expected(
    const mining_bgnbd_t *model, const mining_buyer_t *buyer, double t)
{
    double n;

    if (!(t > 0)) {
        return 0;
    }

    if (fabs(model->a - 1) < CLV_NEAR_ONE) {
        n = (clv_purchases(model, buyer, t, 1 - CLV_NEAR_ONE)
                + clv_purchases(model, buyer, t, 1 + CLV_NEAR_ONE))
            / 2;
    } else {
        n = clv_purchases(model, buyer, t, model->a);
    }

    return n / (1 + clv_odds(model, buyer));
}


/* ---- Gamma-Gamma -------------------------------------------------------- */


/* The derivative of ln G: recurrence up to 10, then Stirling's series. */
static double
clv_digamma(double x)
{
    double sum, y;

    sum = 0;
    while (x < 10) {
        sum -= 1 / x;
        x += 1;
    }

    y = 1 / (x * x);

    return sum + log(x) - 0.5 / x
           - y
                 * (1.0 / 12
                     - y
                           * (1.0 / 120
                               - y * (1.0 / 252 - y * (1.0 / 240 - y / 132))));
}


static double
clv_lgamma(double x)
{
    int sign;

    return lgamma_r(x, &sign);
}


/* Rows are sorted by x: what depends on x alone is done once per x. */
static double
clv_spend_objective(void *ctx, const double *y, double *gradient)
{
    double                px, lg, psi, psi_px, psi_q, lg_q, ls, sum, p, q, v;
    size_t                i;
    const clv_spenders_t *data;
    const clv_spender_t  *row;

    data = ctx;
    for (i = 0; i < 3; i++) {
        if (!(fabs(y[i]) <= CLV_LOG_MAX)) {
            return INFINITY;
        }
        gradient[i] = 0;
    }
    p = exp(y[0]);
    q = exp(y[1]);
    v = exp(y[2]);
    lg_q = clv_lgamma(q);
    psi_q = clv_digamma(q);
    px = lg = psi = psi_px = sum = 0;

    for (i = 0; i < data->n; i++) {
        row = &data->rows[i];
        if (i == 0 || row->x != row[-1].x) {
            px = p * row->x;
            lg = clv_lgamma(px + q) - clv_lgamma(px) - lg_q;
            psi = clv_digamma(px + q);
            psi_px = clv_digamma(px);
        }
        ls = log(row->total + v);
        sum += lg + q * y[2] + px * row->log_total - (px + q) * ls;
        gradient[0] += row->x * (psi - psi_px + row->log_total - ls);
        gradient[1] += psi - psi_q + y[2] - ls;
        gradient[2] += q / v - (px + q) / (row->total + v);
    }

    gradient[0] *= -p;
    gradient[1] *= -q;
    gradient[2] *= -v;

    return -sum;
}


static int
clv_compare_spender(const void *a, const void *b)
{
    const clv_spender_t *x, *y;

    x = a;
    y = b;
    if (x->x != y->x) {
        return x->x < y->x ? -1 : 1;
    }

    return (x->total > y->total) - (x->total < y->total);
}


static mining_result_e
clv_spenders_make(clv_spenders_t *data, const mining_buyer_t *buyers, size_t n,
    mining_spend_t *model, size_t *bad)
{
    size_t i;

    data->n = 0;
    data->rows = calloc(n == 0 ? 1 : n, sizeof(clv_spender_t));
    if (data->rows == NULL) {
        return MINING_NOMEM;
    }

    for (i = 0; i < n; i++) {
        if (!isfinite(buyers[i].spend) || buyers[i].spend < 0
            || buyers[i].spend > 1e12 || buyers[i].x > MINING_CLV_REPEATS_MAX)
        {
            *bad = i;
            return MINING_INVALID;
        }
        if (buyers[i].x > 0 && buyers[i].spend > 0) {
            data->rows[data->n].x = buyers[i].x;
            data->rows[data->n].total = buyers[i].spend;
            model->mean += buyers[i].spend;
            data->n++;
        }
    }

    model->n = data->n;
    if (data->n < 2) {
        return MINING_DECLINED;
    }
    model->mean /= (double) data->n;

    for (i = 0; i < data->n; i++) {
        data->rows[i].total *= data->rows[i].x / model->mean;
        data->rows[i].log_total = log(data->rows[i].total);
    }
    qsort(data->rows, data->n, sizeof(clv_spender_t), clv_compare_spender);

    return MINING_OK;
}


/* ln L of the amounts themselves: what scaling and total left out. */
static double
clv_spend_rest(const clv_spenders_t *data, double mean)
{
    double sum;
    size_t i;

    sum = 0;
    for (i = 0; i < data->n; i++) {
        /* - ln z, with z = total / x * mean */
        sum -= data->rows[i].log_total - log(data->rows[i].x) + log(mean);
    }

    return sum;
}


mining_result_e
mining_spend_fit(
    const mining_buyer_t *buyers, size_t n, mining_spend_t *model, size_t *bad)
{
    double          y[3], value, best;
    unsigned        i, k;
    clv_spenders_t  data;
    mining_result_e rc;

    static const double starts[][3] = {{6, 4, 0.5}, {1, 2, 1}, {2, 3, 1.5}};

    memset(model, 0, sizeof(*model));
    rc = clv_spenders_make(&data, buyers, n, model, bad);
    best = INFINITY;
    for (i = 0; rc == MINING_OK && i < 3; i++) {
        for (k = 0; k < 3; k++) {
            y[k] = log(starts[i][k]);
        }
        if (mining_minimize(clv_spend_objective, &data, y, 3, &value)
                == MINING_OK
            && value < best)
        {
            best = value;
            model->p = exp(y[0]);
            model->q = exp(y[1]);
            model->v = exp(y[2]) * model->mean;
            model->log_likelihood = -value + clv_spend_rest(&data, model->mean);
        }
    }
    free(data.rows);

    return rc != MINING_OK ? rc : isinf(best) ? MINING_DECLINED : MINING_OK;
}


double
mining_spend_expected(const mining_spend_t *model, const mining_buyer_t *buyer)
{
    double x, below;

    x = buyer->spend > 0 ? buyer->x : 0;
    below = model->p * x + model->q - 1;

    /* With q <= 1 the model has no mean for one that is not known. */
    if (!(below > 0)) {
        return model->mean;
    }

    return model->p * (model->v + x * buyer->spend) / below;
}


double
mining_clv(const mining_bgnbd_t *model, const mining_spend_t *spend,
    const mining_buyer_t *buyer, unsigned n, double length, double discount)
{
    double   before, until, worth, factor;
    unsigned i;

    before = 0;
    worth = 0;
    factor = 1;
    for (i = 1; i <= n && i <= MINING_CLV_PERIODS_MAX; i++) {
        until = mining_bgnbd_expected(model, buyer, i * length);
        factor /= 1 + discount;
        worth += (until - before) * factor;
        before = until;
    }

    return worth * mining_spend_expected(spend, buyer);
}
