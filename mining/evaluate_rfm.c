/*
 * evaluate_rfm.c - recency, frequency and money of a file of purchases.
 *
 * evaluate rfm --transactions FILE: recency is whole days from the last
 * purchase to --as-of (default: the day after the last in the file), frequency
 * the orders (the days of purchase where the file has no column of orders),
 * monetary their sum.  Scores are by rank, as crm-mine run rfm has them, or by
 * --cuts R,R,R,R:F,F,F,F:M,M,M,M, each ascending.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "learn/rfm.h"
#include "purchases.h"


#define RFM_CUTS (MINING_RFM_SCORES - 1)

enum { RFM_R, RFM_F, RFM_M, RFM_MEASURES };

static const char *const rfm_names[] = {"recency", "frequency", "monetary"};

typedef struct {
    const char        *path;
    const char        *columns;
    const char        *as_of;
    const char        *cuts;
    const char        *out;
    mining_purchases_t bought;
    int64_t            us; /* as_of */
    double             limits[RFM_MEASURES][RFM_CUTS];
    const char       **names;
    double            *values[RFM_MEASURES];
    uint8_t           *scores[RFM_MEASURES];
    size_t             n;
} rfm_t;


static mining_result_e
rfm_cuts(rfm_t *rfm)
{
    char       *end;
    double      value;
    unsigned    i, k;
    const char *text;

    text = rfm->cuts;
    for (i = 0; i < RFM_MEASURES; i++) {
        for (k = 0; k < RFM_CUTS; k++) {
            value = strtod(text, &end);
            if (end == text || !isfinite(value)
                || (k > 0 && !(value > rfm->limits[i][k - 1]))
                || *end
                       != (k + 1 < RFM_CUTS       ? ','
                           : i + 1 < RFM_MEASURES ? ':'
                                                  : '\0'))
            {
                mining_say("evaluate: --cuts: \"%s\" is not %d ascending "
                           "numbers for each of recency:frequency:monetary",
                    rfm->cuts, RFM_CUTS);
                return MINING_INVALID;
            }
            rfm->limits[i][k] = value;
            text = end + 1;
        }
    }

    return MINING_OK;
}


static mining_result_e
rfm_moment(rfm_t *rfm)
{
    size_t        i;
    tracker_str_t word;

    if (rfm->as_of != NULL) {
        word.data = rfm->as_of;
        word.len = strlen(rfm->as_of);
        if (mining_purchase_time(word, &rfm->us) != MINING_OK) {
            mining_say("evaluate: \"%s\" is no date", rfm->as_of);
            return MINING_INVALID;
        }
        return MINING_OK;
    }

    rfm->us = rfm->bought.rows[0].us;
    for (i = 0; i < rfm->bought.nrows; i++) {
        if (rfm->bought.rows[i].us > rfm->us) {
            rfm->us = rfm->bought.rows[i].us;
        }
    }
    rfm->us = (mining_purchase_day(rfm->us) + 1) * MINING_US_PER_DAY;

    return MINING_OK;
}


static int
rfm_compare(const void *a, const void *b)
{
    uint64_t x, y;

    x = *(const uint64_t *) a;
    y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}


/* Purchases after the moment are not known at it. */
static void
rfm_customer(rfm_t *rfm, size_t from, size_t to, uint64_t *orders)
{
    double                   sum;
    size_t                   i, n, different;
    int64_t                  days;
    const mining_purchase_t *rows;

    rows = rfm->bought.rows;
    n = 0;
    sum = 0;
    for (i = from; i < to && rows[i].us <= rfm->us; i++) {
        orders[n++] = rows[i].order;
        sum += rows[i].amount;
    }
    if (n == 0) {
        return;
    }

    qsort(orders, n, sizeof(*orders), rfm_compare);
    for (i = 1, different = 1; i < n; i++) {
        different += orders[i] != orders[i - 1];
    }

    rfm->names[rfm->n] = rfm->bought.ids + rows[from].id;
    days = (rfm->us - rows[from + n - 1].us) / MINING_US_PER_DAY;
    rfm->values[RFM_R][rfm->n] = (double) days;
    rfm->values[RFM_F][rfm->n] = (double) different;
    rfm->values[RFM_M][rfm->n] = sum;
    rfm->n++;
}


static mining_result_e
rfm_customers(rfm_t *rfm)
{
    size_t    i, from, n;
    uint64_t *orders;
    unsigned  k;

    n = rfm->bought.ncustomers;
    rfm->names = calloc(n, sizeof(*rfm->names));
    orders = calloc(rfm->bought.nrows, sizeof(*orders));
    for (k = 0; k < RFM_MEASURES; k++) {
        rfm->values[k] = calloc(n, sizeof(double));
        rfm->scores[k] = calloc(n, 1);
    }

    for (k = 0; k < RFM_MEASURES; k++) {
        if (rfm->values[k] == NULL || rfm->scores[k] == NULL
            || rfm->names == NULL || orders == NULL)
        {
            free(orders);
            return MINING_NOMEM;
        }
    }

    for (i = 0, from = 0; i < rfm->bought.nrows; i++) {
        if (i + 1 == rfm->bought.nrows
            || rfm->bought.rows[i + 1].id != rfm->bought.rows[i].id)
        {
            rfm_customer(rfm, from, i + 1, orders);
            from = i + 1;
        }
    }
    free(orders);

    return MINING_OK;
}


static mining_result_e
rfm_score(rfm_t *rfm)
{
    size_t          i, counts[MINING_RFM_SCORES + 1];
    unsigned        k, s;
    mining_result_e rc;

    for (k = 0; k < RFM_MEASURES; k++) {
        if (rfm->cuts != NULL) {
            mining_rfm_cuts(rfm->values[k], rfm->n, k == RFM_R, rfm->limits[k],
                rfm->scores[k]);
        } else {
            rc = mining_rfm_quantiles(
                rfm->values[k], rfm->n, k == RFM_R, rfm->scores[k]);
            if (rc != MINING_OK) {
                return rc;
            }
        }

        memset(counts, 0, sizeof(counts));
        for (i = 0; i < rfm->n; i++) {
            counts[rfm->scores[k][i]]++;
        }
        for (s = 1; s <= MINING_RFM_SCORES; s++) {
            (void) printf("%s_score_%u %zu\n", rfm_names[k], s, counts[s]);
        }
    }

    return MINING_OK;
}


static mining_result_e
rfm_out(const rfm_t *rfm)
{
    int    failed;
    FILE  *out;
    size_t i;

    out = fopen(rfm->out, "we");
    if (out == NULL) {
        mining_say("evaluate: %s: cannot be written", rfm->out);
        return MINING_INVALID;
    }

    (void) fprintf(out, "customer,recency,frequency,monetary,score\n");
    for (i = 0; i < rfm->n; i++) {
        (void) fprintf(out, "\"%s\",%.0f,%.0f,%.2f,%d%d%d\n", rfm->names[i],
            rfm->values[RFM_R][i], rfm->values[RFM_F][i], rfm->values[RFM_M][i],
            rfm->scores[RFM_R][i], rfm->scores[RFM_F][i],
            rfm->scores[RFM_M][i]);
    }

    failed = ferror(out) != 0;
    failed |= fclose(out) != 0;
    if (failed) {
        mining_say("evaluate: %s: could not be written", rfm->out);
    }

    return failed ? MINING_INVALID : MINING_OK;
}


static mining_result_e
rfm_measure(rfm_t *rfm)
{
    double          total;
    size_t          i;
    mining_result_e rc;

    rc = rfm_moment(rfm);
    if (rc == MINING_OK) {
        rc = rfm_customers(rfm);
    }
    if (rc != MINING_OK) {
        return rc;
    }

    for (i = 0, total = 0; i < rfm->n; i++) {
        total += rfm->values[RFM_M][i];
    }
    (void) printf("rows %llu\nrows_kept %zu\nrows_without_customer %llu\n"
                  "rows_not_sold %llu\ncustomers %zu\nmonetary %.2f\n",
        (unsigned long long) rfm->bought.lines, rfm->bought.nrows,
        (unsigned long long) rfm->bought.nobodys,
        (unsigned long long) rfm->bought.nothings, rfm->n, total);

    rc = rfm_score(rfm);

    return rc == MINING_OK && rfm->out != NULL ? rfm_out(rfm) : rc;
}


int
mining_evaluate_rfm(int argc, char **argv)
{
    rfm_t           rfm;
    unsigned        nwords, k;
    const char     *words[16];
    mining_result_e rc;

    memset(&rfm, 0, sizeof(rfm));

    {
        const mining_option_t options[] = {
            {"--transactions", (void *) &rfm.path, MINING_OPTION_TEXT, 0},
            {"--columns", (void *) &rfm.columns, MINING_OPTION_TEXT, 0},
            {"--as-of", (void *) &rfm.as_of, MINING_OPTION_TEXT, 0},
            {"--cuts", (void *) &rfm.cuts, MINING_OPTION_TEXT, 0},
            {"--out", (void *) &rfm.out, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 16
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || nwords != 0 || rfm.path == NULL
            || (rfm.cuts != NULL && rfm_cuts(&rfm) != MINING_OK))
        {
            mining_say("usage: evaluate rfm --transactions FILE"
                       " [--columns NAMES] [--as-of DATE] [--cuts R:F:M]"
                       " [--out FILE]");
            return MINING_EXIT_USAGE;
        }
    }

    rc = mining_purchases_read(&rfm.bought, rfm.path, rfm.columns);
    if (rc == MINING_OK) {
        rc = rfm_measure(&rfm);
        if (rc == MINING_NOMEM) {
            mining_say("evaluate: %s", mining_result_text(rc));
        }
        mining_purchases_free(&rfm.bought);
    }

    free(rfm.names);
    for (k = 0; k < RFM_MEASURES; k++) {
        free(rfm.values[k]);
        free(rfm.scores[k]);
    }

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
