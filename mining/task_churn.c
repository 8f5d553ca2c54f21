/*
 * task_churn.c - mines who will not come back, and who has fallen silent.
 *
 * Boosted trees learn from how buyers were known 90 days ago, and whether they
 * bought since; every fifth of them tests and calibrates what the others
 * taught.  Then all buyers are judged as they are known now; results are
 * customer.churn:
 *
 *   risk      likelihood of no order in the next 90 days
 *   silent    true: three times its own pace since the last order, or more
 *
 * The first needs months of orders; the second is told the same day.
 */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learn/drivers.h"
#include "learn/measure.h"
#include "learn/platt.h"
#include "task_columns.h"


#define CHURN_PART     "churn"
#define CHURN_PAGE     2000 /* results sent at once */
#define CHURN_HELD     5    /* every fifth is held back */
#define CHURN_LEAST    50   /* of each answer */
#define CHURN_SILENT   3.0  /* times its own pace */
#define CHURN_ORDERS   3    /* a pace needs as many */
#define CHURN_PACE_MIN 1.0  /* days */
#define CHURN_TOLD     5    /* drivers, at most MINING_TASK_DRIVERS */

enum { CHURN_N, CHURN_REVENUE, CHURN_RECENCY, CHURN_TENURE, CHURN_GAP };

static const mining_task_column_t churn_columns[] = {
    {"orders", NULL, 0},
    {"revenue", NULL, 0},
    {"days since the last order", NULL, 0},
    {"days since the first order", NULL, 0},
    {"days between orders", NULL, 0},
    {"silence in own paces", NULL, 0},
    {"orders in 90 days", NULL, 0},
    {"views in 30 days", NULL, 0},
    {"views in 90 days", NULL, 0},
};

#define CHURN_COLUMNS (sizeof(churn_columns) / sizeof(churn_columns[0]))

typedef struct {
    mining_task_columns_t then; /* 90 days ago */
    mining_task_columns_t now;
    mining_boost_t       *boost;
    mining_platt_t        platt;
    int                   fitted;
    size_t                silent;
} churn_t;


static mining_result_e
churn_hold_out(churn_t *churn, mining_task_t *task,
    const mining_features_t *features, const mining_boost_options_t *options)
{
    double          *p;
    size_t           i, held, teach, n;
    uint8_t         *y;
    uint32_t        *rows;
    mining_result_e  rc;
    mining_measure_t measure;

    n = churn->then.n;
    p = malloc((n + 1) * sizeof(double));
    y = malloc(n + 1);
    rows = malloc((n + 1) * sizeof(uint32_t));
    rc = p == NULL || y == NULL || rows == NULL ? MINING_NOMEM : MINING_OK;

    for (i = 0, teach = 0; i < n && rc == MINING_OK; i++) {
        if (i % CHURN_HELD != 0) {
            rows[teach++] = (uint32_t) i;
        }
    }
    if (rc == MINING_OK) {
        rc = mining_boost_train(
            &churn->boost, features, churn->then.y, rows, teach, options);
    }
    for (i = 0, held = 0; i < n && rc == MINING_OK; i += CHURN_HELD) {
        y[held] = churn->then.y[i];
        p[held++] = mining_boost_logit(churn->boost, features, i);
    }
    if (rc == MINING_OK) {
        rc = mining_platt_fit(&churn->platt, p, y, held);
    }
    for (i = 0; i < held && rc == MINING_OK; i++) {
        p[i] = 1 / (1 + exp(-p[i])); /* as learned, not as calibrated on them */
    }
    if (rc == MINING_OK) {
        rc = mining_measure(&measure, p, y, held);
    }
    if (rc == MINING_OK) {
        task->quality = json_pack("{s:I,s:o,s:o,s:o,s:o,s:o}", "held_customers",
            (json_int_t) held, "held_gone",
            mining_task_real((double) measure.yes / (double) held), "held_auc",
            mining_task_real(measure.auc), "held_ap",
            mining_task_real(measure.ap), "held_log_loss",
            mining_task_real(measure.log_loss), "held_calibration_error",
            mining_task_real(measure.ece));
    }

    mining_boost_free(churn->boost);
    churn->boost = NULL;
    free(p);
    free(y);
    free(rows);

    return rc;
}


/* INVALID: too few to learn from; silence is told all the same. */
static mining_result_e
churn_learn(churn_t *churn, mining_task_t *task)
{
    mining_result_e        rc;
    mining_features_t      features;
    mining_boost_options_t options;

    if (churn->then.yes < CHURN_LEAST
        || churn->then.n - churn->then.yes < CHURN_LEAST)
    {
        return MINING_INVALID;
    }

    options = mining_boost_defaults;
    options.trees = 120;
    options.leaves = 12;
    options.min_rows = 20;
    options.seed = task->seed;
    mining_task_features(&churn->then, &features);

    rc = churn_hold_out(churn, task, &features, &options);
    if (rc == MINING_OK) {
        rc = mining_boost_train(&churn->boost, &features, churn->then.y,
            churn->then.rows, churn->then.n, &options);
    }
    churn->fitted = rc == MINING_OK;

    return rc;
}


static json_t *
churn_result(churn_t *churn, const mining_features_t *features, size_t i)
{
    int     silent;
    json_t *risk;

    silent =
        features->values[CHURN_N][i] >= CHURN_ORDERS
        && features->values[CHURN_RECENCY][i]
               >= CHURN_SILENT
                      * fmax(features->values[CHURN_GAP][i], CHURN_PACE_MIN);
    churn->silent += (size_t) silent;
    risk = churn->fitted ? mining_task_real(mining_platt(
               &churn->platt, mining_boost_logit(churn->boost, features, i)))
                         : NULL;

    return json_pack("{s:s,s:{s:{s:o*,s:b}}}", "id",
        churn->now.ids + churn->now.id[i], "attributes", CHURN_PART, "risk",
        risk, "silent", silent);
}


static mining_result_e
churn_write(churn_t *churn, mining_task_t *task)
{
    size_t            i;
    json_t           *rows;
    mining_result_e   rc;
    mining_features_t features;

    mining_task_features(&churn->now, &features);
    rows = json_array();
    rc = rows != NULL ? MINING_OK : MINING_NOMEM;

    for (i = 0; i < churn->now.n && rc == MINING_OK; i++) {
        if (json_array_append_new(rows, churn_result(churn, &features, i)) != 0)
        {
            rc = MINING_NOMEM;
        } else if (json_array_size(rows) >= CHURN_PAGE || i + 1 == churn->now.n)
        {
            rc = mining_task_put(task, CHURN_PART, rows);
        }
    }
    json_decref(rows);

    return rc;
}


/* The column that the trees used most of those not told yet. */
static unsigned
churn_best(const churn_t *churn, const uint8_t *told)
{
    double   most;
    unsigned i, best;

    most = -1;
    best = 0;
    for (i = 0; i < CHURN_COLUMNS; i++) {
        if (!told[i] && mining_boost_gain(churn->boost, i) > most) {
            most = mining_boost_gain(churn->boost, i);
            best = i;
        }
    }

    return best;
}


/* The columns that the trees used most, each with the cut that shows it. */
static void
churn_tell(const churn_t *churn, mining_task_t *task)
{
    uint8_t  done[CHURN_COLUMNS] = {0};
    unsigned k, best, told;

    mining_text(task->summary, sizeof(task->summary),
        "%zu buyers, %zu of them silent for %.0f times their own pace",
        churn->now.n, churn->silent, CHURN_SILENT);
    if (!churn->fitted) {
        mining_text(task->summary, sizeof(task->summary),
            "; %zu went and %zu stayed in 90 days, %d of each are needed to "
            "tell a risk",
            churn->then.yes, churn->then.n - churn->then.yes, CHURN_LEAST);
        return;
    }

    for (k = 0, told = 0; k < CHURN_COLUMNS && told < CHURN_TOLD; k++) {
        best = churn_best(churn, done);
        done[best] = 1;
        told += mining_driver(task->drivers[told], sizeof(task->drivers[told]),
                    churn_columns[best].name, churn->then.columns[best].values,
                    NULL, churn->then.y, churn->then.n)
                == MINING_OK;
    }
}


static mining_result_e
churn_mine(churn_t *churn, mining_task_t *task)
{
    mining_result_e rc;

    rc = mining_task_columns_read(task, &churn->now,
        "select * from etl.churn_customers($1::bigint, $2::timestamptz,"
        " $2::timestamptz)",
        churn_columns, CHURN_COLUMNS);
    if (rc == MINING_OK) {
        rc = mining_task_columns_read(task, &churn->then,
            "select * from etl.churn_customers($1::bigint, $2::timestamptz,"
            " $2::timestamptz - interval '90 days')",
            churn_columns, CHURN_COLUMNS);
    }
    if (rc != MINING_OK) {
        return rc;
    }

    task->rows_in = (int64_t) churn->now.n;
    if (churn->now.n == 0) {
        mining_text(task->summary, sizeof(task->summary),
            "no customer has bought anything: nothing to learn from");
        return MINING_DECLINED;
    }

    rc = churn_learn(churn, task);
    if (rc == MINING_OK || rc == MINING_INVALID) {
        rc = churn_write(churn, task);
    }
    if (rc == MINING_OK) {
        churn_tell(churn, task);
    }

    return rc;
}


mining_result_e
mining_task_churn(mining_task_t *task)
{
    churn_t         churn;
    mining_result_e rc;

    memset(&churn, 0, sizeof(churn));
    rc = churn_mine(&churn, task);
    if (rc == MINING_NOMEM) {
        (void) mining_task_refuse(task, "out of memory");
    }
    mining_boost_free(churn.boost);
    mining_task_columns_free(&churn.then);
    mining_task_columns_free(&churn.now);

    return rc;
}
