/*
 * evaluate_clv.c - fits customer value on a file and prints what it found.
 *
 * evaluate clv --summary FILE: CSV with the columns x (repeat purchase days),
 * t_x, T (weeks) and, for money, zbar (mean of the repeat purchases), by
 * header.  A column actual_39w, if there, is what the customers really bought
 * in the 39 weeks after: the forecast error is printed then.  Columns p_alive,
 * expected_39w, expected_profit and clv_12m_1pct are another program's
 * predictions: the greatest difference to ours is printed.
 *
 * evaluate clv --transactions FILE is in evaluate_clv_history.c.
 *
 * A row that cannot be is refused with its line, and nothing is printed: a fit
 * on half a file would look like a fit.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"


#define CLV_ROWS_MAX (4096 << 12)
#define CLV_MONTHS   12    /* of the value printed */
#define CLV_MONTH    4.345 /* weeks */
#define CLV_DISCOUNT 0.01  /* a month */
#define CLV_HORIZON  39.0  /* weeks of the forecast */

enum {
    CLV_X,
    CLV_TX,
    CLV_T,
    CLV_SPEND,
    CLV_ALIVE, /* from here on: not asked for */
    CLV_EXPECTED,
    CLV_PROFIT,
    CLV_WORTH,
    CLV_ACTUAL,
    CLV_COLUMNS
};

static const char *const clv_columns[] = {"x", "t_x", "T", "zbar", "p_alive",
    "expected_39w", "expected_profit", "clv_12m_1pct", "actual_39w"};

typedef struct {
    const char     *path;
    int             fields[CLV_COLUMNS]; /* of the file; -1: not there */
    mining_buyer_t *buyers;
    double (*given)[CLV_COLUMNS];
    size_t         n;
    size_t         size;
    mining_bgnbd_t buys;
    mining_spend_t spends;
    int            money; /* spends is fitted */
} clv_t;


static mining_result_e
clv_header(clv_t *clv, const mining_csv_t *csv)
{
    unsigned i, k;

    for (i = 0; i < CLV_COLUMNS; i++) {
        clv->fields[i] = -1;
        for (k = 0; k < csv->nfields; k++) {
            if (csv->fields[k].len == strlen(clv_columns[i])
                && memcmp(
                       csv->fields[k].data, clv_columns[i], csv->fields[k].len)
                       == 0)
            {
                clv->fields[i] = (int) k;
            }
        }
        if (i <= CLV_T && clv->fields[i] < 0) {
            mining_say("evaluate: %s:%d: no column \"%s\": the first line "
                       "names the columns x, t_x, T and perhaps zbar",
                clv->path, (int) csv->line, clv_columns[i]);
            return MINING_INVALID;
        }
    }

    return MINING_OK;
}


static mining_result_e
clv_row(clv_t *clv, const mining_csv_t *csv)
{
    double         *given;
    unsigned        i;
    mining_buyer_t *buyer;

    given = clv->given[clv->n];
    for (i = 0; i < CLV_COLUMNS; i++) {
        given[i] = 0;
        if (clv->fields[i] >= 0
            && ((unsigned) clv->fields[i] >= csv->nfields
                || !mining_evaluate_number(
                    csv->fields[clv->fields[i]], &given[i])
                || given[i] < 0))
        {
            mining_say("evaluate: %s:%d: %s is no number of 0 or more",
                clv->path, (int) csv->line, clv_columns[i]);
            return MINING_INVALID;
        }
    }

    if (given[CLV_X] > MINING_CLV_REPEATS_MAX
        || given[CLV_X] != floor(given[CLV_X]) || given[CLV_TX] > given[CLV_T]
        || (given[CLV_X] > 0) != (given[CLV_TX] > 0))
    {
        mining_say("evaluate: %s:%d: x is a whole number up to %d, t_x at "
                   "most T, and both are 0 or none",
            clv->path, (int) csv->line, MINING_CLV_REPEATS_MAX);
        return MINING_INVALID;
    }

    buyer = &clv->buyers[clv->n++];
    buyer->x = (uint32_t) given[CLV_X];
    buyer->t_x = given[CLV_TX];
    buyer->T = given[CLV_T];
    buyer->spend = given[CLV_SPEND];

    return MINING_OK;
}


static mining_result_e
clv_grow(clv_t *clv)
{
    size_t size;
    void  *grown;

    if (clv->n < clv->size) {
        return MINING_OK;
    }

    size = clv->size == 0 ? 4096 : 2 * clv->size;
    if (size > CLV_ROWS_MAX) {
        mining_say("evaluate: %s: over %d rows", clv->path, CLV_ROWS_MAX);
        return MINING_FULL;
    }

    grown = realloc(clv->buyers, size * sizeof(*clv->buyers));
    if (grown == NULL) {
        return MINING_NOMEM;
    }
    clv->buyers = grown;

    grown = realloc(clv->given, size * sizeof(*clv->given));
    if (grown == NULL) {
        return MINING_NOMEM;
    }
    clv->given = grown;
    clv->size = size;

    return MINING_OK;
}


static mining_result_e
clv_rows(clv_t *clv, mining_csv_t *csv)
{
    mining_result_e rc;

    rc = mining_csv_next(csv);
    if (rc == MINING_OK) {
        rc = clv_header(clv, csv);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    while (rc == MINING_OK && (rc = mining_csv_next(csv)) == MINING_OK) {
        rc = clv_grow(clv);
        if (rc == MINING_OK) {
            rc = clv_row(clv, csv);
        }
        if (rc != MINING_OK) {
            return rc;
        }
    }

    if (rc == MINING_INVALID) {
        mining_say(
            "evaluate: %s:%d: %s", clv->path, (int) csv->line, csv->reason);
    } else if (rc == MINING_LOST) {
        mining_say("evaluate: %s: is cut short or cannot be read", clv->path);
    } else if (clv->n == 0) {
        mining_say("evaluate: %s: has no customer", clv->path);
        rc = MINING_INVALID;
    }

    return rc == MINING_DECLINED ? MINING_OK : rc;
}


static mining_result_e
clv_read(clv_t *clv)
{
    mining_csv_t   *csv;
    mining_file_t   file;
    mining_result_e rc;

    csv = malloc(sizeof(*csv));
    if (csv == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_file_open(&file, clv->path);
    if (rc == MINING_OK) {
        mining_csv_start(csv, mining_file_read, &file);
        rc = clv_rows(clv, csv);
        mining_file_close(&file);
    }
    free(csv);

    return rc;
}


mining_result_e
mining_clv_fit_say(const char *path, const mining_buyer_t *buyers, size_t n,
    mining_bgnbd_t *buys, mining_spend_t *spends, int *money)
{
    size_t          bad;
    double          start;
    mining_result_e rc;

    bad = 0;
    start = mining_evaluate_seconds();
    rc = mining_bgnbd_fit(buyers, n, buys, &bad);
    if (rc != MINING_OK) {
        mining_say("evaluate: %s: %s", path,
            rc == MINING_DECLINED ? "nobody bought again: nothing to learn"
                                  : mining_result_text(rc));
        return rc;
    }

    (void) printf("customers %zu\ngroups %zu\nbgnbd_r %.6f\nbgnbd_alpha %.6f\n"
                  "bgnbd_a %.6f\nbgnbd_b %.6f\nbgnbd_log_likelihood %.6f\n"
                  "bgnbd_seconds %.6f\n",
        n, buys->groups, buys->r, buys->alpha, buys->a, buys->b,
        buys->log_likelihood, mining_evaluate_seconds() - start);

    *money = 0;
    if (spends == NULL) {
        return MINING_OK;
    }

    start = mining_evaluate_seconds();
    rc = mining_spend_fit(buyers, n, spends, &bad);
    if (rc != MINING_OK) {
        mining_say("evaluate: %s: what was spent: %s", path,
            rc == MINING_DECLINED ? "fewer than two bought again for money"
                                  : mining_result_text(rc));
        return rc;
    }
    *money = 1;

    (void) printf("spend_customers %zu\nspend_p %.6f\nspend_q %.6f\n"
                  "spend_v %.6f\nspend_log_likelihood %.6f\n"
                  "spend_seconds %.6f\n",
        spends->n, spends->p, spends->q, spends->v, spends->log_likelihood,
        mining_evaluate_seconds() - start);

    return MINING_OK;
}


/* Relative, beyond half of the last digit that the other program printed. */
static void
clv_differ(const clv_t *clv, int column, size_t i, double ours, double *most)
{
    double theirs, apart;

    if (clv->fields[column] < 0) {
        return;
    }

    theirs = clv->given[i][column];
    apart = fmax(fabs(ours - theirs) - 5e-7, 0) / fmax(fabs(theirs), 1e-6);
    most[column] = fmax(most[column], apart);
}


static void
clv_predict(clv_t *clv)
{
    size_t   i;
    double   start, n, sum, actual, error, square, worth, total, spend;
    double   most[CLV_COLUMNS] = {0};
    unsigned k;

    sum = actual = error = square = total = 0;
    start = mining_evaluate_seconds();

    for (i = 0; i < clv->n; i++) {
        n = mining_bgnbd_expected(&clv->buys, &clv->buyers[i], CLV_HORIZON);
        sum += n;
        n -= clv->given[i][CLV_ACTUAL];
        actual += clv->given[i][CLV_ACTUAL];
        error += fabs(n);
        square += n * n;
        clv_differ(clv, CLV_EXPECTED, i, n + clv->given[i][CLV_ACTUAL], most);
        clv_differ(clv, CLV_ALIVE, i,
            mining_bgnbd_alive(&clv->buys, &clv->buyers[i]), most);
    }
    (void) printf("expected_39w %.4f\nexpected_us_per_customer %.3f\n", sum,
        (mining_evaluate_seconds() - start) * 1e6 / (double) clv->n);

    if (clv->fields[CLV_ACTUAL] >= 0) {
        (void) printf("actual_39w %.0f\nmae_39w %.6f\nrmse_39w %.6f\n", actual,
            error / (double) clv->n, sqrt(square / (double) clv->n));
    }

    for (i = 0; clv->money && i < clv->n; i++) {
        spend = mining_spend_expected(&clv->spends, &clv->buyers[i]);
        worth = mining_clv(&clv->buys, &clv->spends, &clv->buyers[i],
            CLV_MONTHS, CLV_MONTH, CLV_DISCOUNT);
        total += worth;
        clv_differ(clv, CLV_PROFIT, i, spend, most);
        clv_differ(clv, CLV_WORTH, i, worth, most);
    }
    if (clv->money) {
        (void) printf("clv_12m_1pct %.4f\n", total);
    }

    for (k = CLV_ALIVE; k <= CLV_WORTH; k++) {
        if (clv->fields[k] >= 0) {
            (void) printf("differs_%s %.3g\n", clv_columns[k], most[k]);
        }
    }
}


static int
clv_summary(const char *path)
{
    clv_t           clv;
    mining_result_e rc;

    memset(&clv, 0, sizeof(clv));
    clv.path = path;

    rc = clv_read(&clv);
    if (rc == MINING_NOMEM) {
        mining_say("evaluate: %s", mining_result_text(rc));
    }
    if (rc == MINING_OK) {
        rc = mining_clv_fit_say(path, clv.buyers, clv.n, &clv.buys,
            clv.fields[CLV_SPEND] >= 0 ? &clv.spends : NULL, &clv.money);
    }
    if (rc == MINING_OK) {
        clv_predict(&clv);
        mining_evaluate_memory();
    }

    free(clv.buyers);
    free(clv.given);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}


int
mining_evaluate_clv(int argc, char **argv)
{
    unsigned           nwords;
    const char        *words[32];
    mining_clv_words_t asked;

    memset(&asked, 0, sizeof(asked));

    {
        const mining_option_t options[] = {
            {"--summary", (void *) &asked.summary, MINING_OPTION_TEXT, 0},
            {"--transactions", (void *) &asked.transactions, MINING_OPTION_TEXT,
                0},
            {"--columns", (void *) &asked.columns, MINING_OPTION_TEXT, 0},
            {"--cut", (void *) &asked.cut, MINING_OPTION_TEXT, 0},
            {"--end", (void *) &asked.end, MINING_OPTION_TEXT, 0},
            {"--margin", (void *) &asked.margin, MINING_OPTION_TEXT, 0},
            {"--referrals", (void *) &asked.referrals, MINING_OPTION_TEXT, 0},
            {"--out", (void *) &asked.out, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 32
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0
            || (asked.summary == NULL) == (asked.transactions == NULL))
        {
            mining_say("usage: evaluate clv --summary FILE | --transactions "
                       "FILE [--columns NAMES] [--cut DATE] [--end DATE]"
                       " [--margin SHARE] [--referrals FILE] [--out FILE]");
            return MINING_EXIT_USAGE;
        }
    }

    if (asked.summary != NULL) {
        return clv_summary(asked.summary);
    }

    return mining_clv_history(&asked) == MINING_OK ? MINING_EXIT_OK
                                                   : MINING_EXIT_FAILED;
}
