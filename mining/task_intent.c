/*
 * task_intent.c - mines how likely a running session is to buy, for nginx.
 *
 * A row is a session at one of its pages; the columns are named as the
 * attributes that nginx has there, and mean the same.  The newest sixth of the
 * rows tests what was learned from the older ones, and calibrates: then the
 * network that is published learns from all.
 */

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "intent_model.h"
#include "learn/drivers.h"
#include "learn/measure.h"
#include "task_columns.h"


#define INTENT_PART    "intent"
#define INTENT_HELD    6  /* a sixth is held back */
#define INTENT_YES_MIN 50 /* with fewer rows that bought nothing is learned */

static const char *const intent_traffic[] = {
    "ai", "direct", "internal", "mail", "referral", "search", "social"};
static const char *const intent_devices[] = {
    "console", "desktop", "mobile", "tablet", "tv", "unknown"};

static const mining_task_column_t intent_columns[] = {
    {"session.pages", NULL, 0},
    {"session.seconds", NULL, 0},
    {"session.number", NULL, 0},
    {"session.cart_items", NULL, 0},
    {"session.orders", NULL, 0},
    {"time.hour", NULL, 0},
    {"time.weekday", NULL, 0},
    {"session.traffic", intent_traffic, 7},
    {"visitor.device", intent_devices, 6},
};

#define INTENT_COLUMNS (sizeof(intent_columns) / sizeof(intent_columns[0]))

typedef struct {
    mining_task_columns_t         read;
    const mining_column_values_t *columns[INTENT_COLUMNS];
    mining_intent_t               model;
    mining_platt_t                platt;
} intent_t;


/* Rows come newest first: rows[0..held) test, the rest teaches. */
static mining_result_e
intent_hold_out(intent_t *intent, mining_task_t *task,
    const mining_network_options_t *options)
{
    double          *p, rate;
    size_t           i, held, n;
    mining_result_e  rc;
    mining_measure_t measure;

    n = intent->read.n;
    held = n / INTENT_HELD;
    p = malloc((held + 1) * sizeof(double));
    if (p == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_intent_learn(&intent->model, intent->columns, INTENT_COLUMNS,
        intent->read.y, intent->read.rows + held, n - held, options);
    for (i = 0; i < held && rc == MINING_OK; i++) {
        p[i] = mining_intent_logit(&intent->model, intent->columns, i);
    }
    if (rc == MINING_OK) {
        rc = mining_platt_fit(&intent->platt, p, intent->read.y, held);
    }
    for (i = 0; i < held && rc == MINING_OK; i++) {
        p[i] = 1 / (1 + exp(-p[i])); /* as learned, not as calibrated on them */
    }
    if (rc == MINING_OK) {
        rc = mining_measure(&measure, p, intent->read.y, held);
    }
    free(p);
    mining_intent_free(&intent->model);

    if (rc == MINING_OK) {
        rate = (double) measure.yes / (double) held;
        task->quality = json_pack("{s:I,s:o,s:o,s:o,s:o,s:o}", "held_rows",
            (json_int_t) held, "held_bought", mining_task_real(rate),
            "held_auc", mining_task_real(measure.auc), "held_ap",
            mining_task_real(measure.ap), "held_log_loss",
            mining_task_real(measure.log_loss), "held_calibration_error",
            mining_task_real(measure.ece));
    }

    return rc;
}


static mining_result_e
intent_put(intent_t *intent, mining_task_t *task)
{
    char           *text, number[24];
    const char     *values[3];
    mining_result_e rc;

    text = mining_intent_document(&intent->model, &intent->platt, task->run);
    if (text == NULL) {
        return MINING_NOMEM;
    }

    (void) snprintf(number, sizeof(number), "%" PRId64, task->run);
    values[0] = number;
    values[1] = INTENT_PART;
    values[2] = text;
    rc = mining_db_query(
        task->db, NULL, "select etl.model_put($1::bigint, $2, $3)", 3, values);
    free(text);
    task->part = INTENT_PART;
    task->rows_out = 1;

    return rc;
}


static void
intent_tell(const intent_t *intent, mining_task_t *task)
{
    unsigned i, told;

    mining_text(task->summary, sizeof(task->summary),
        "%zu pages of sessions, %.1f in 100 bought after; on the newest the "
        "likelier was told from the less likely %.0f times in 100",
        intent->read.n,
        100 * (double) intent->read.yes / (double) intent->read.n,
        100 * json_number_value(json_object_get(task->quality, "held_auc")));

    for (i = 0, told = 0; i < INTENT_COLUMNS && told < MINING_TASK_DRIVERS; i++)
    {
        told += mining_driver(task->drivers[told], sizeof(task->drivers[told]),
                    intent->columns[i]->name, intent->columns[i]->values,
                    intent->columns[i]->levels, intent->read.y, intent->read.n)
                == MINING_OK;
    }
}


static mining_result_e
intent_mine(intent_t *intent, mining_task_t *task)
{
    unsigned                 i;
    mining_result_e          rc;
    mining_network_options_t options;

    rc = mining_task_columns_read(task, &intent->read,
        "select * from etl.intent_pages($1::bigint, $2::timestamptz)",
        intent_columns, INTENT_COLUMNS);
    if (rc != MINING_OK) {
        return rc;
    }

    task->rows_in = (int64_t) intent->read.n;
    if (intent->read.yes < INTENT_YES_MIN
        || intent->read.n - intent->read.yes < INTENT_YES_MIN)
    {
        mining_text(task->summary, sizeof(task->summary),
            "%zu of %zu pages of sessions led to an order, %d are needed: "
            "nothing to learn from",
            intent->read.yes, intent->read.n, INTENT_YES_MIN);
        return MINING_DECLINED;
    }

    for (i = 0; i < INTENT_COLUMNS; i++) {
        intent->columns[i] = &intent->read.columns[i];
    }
    options = mining_network_defaults;
    options.seed = task->seed;

    rc = intent_hold_out(intent, task, &options);
    if (rc == MINING_OK) {
        rc =
            mining_intent_learn(&intent->model, intent->columns, INTENT_COLUMNS,
                intent->read.y, intent->read.rows, intent->read.n, &options);
    }
    if (rc == MINING_INVALID) {
        mining_text(task->summary, sizeof(task->summary),
            "among the newest or the older sessions all or none bought: "
            "nothing to learn from");
        return MINING_DECLINED;
    }
    if (rc == MINING_OK) {
        rc = intent_put(intent, task);
    }
    if (rc == MINING_OK) {
        intent_tell(intent, task);
    }

    return rc;
}


mining_result_e
mining_task_intent(mining_task_t *task)
{
    intent_t        intent;
    mining_result_e rc;

    memset(&intent, 0, sizeof(intent));
    rc = intent_mine(&intent, task);
    if (rc == MINING_NOMEM) {
        (void) mining_task_refuse(task, "out of memory");
    }
    mining_intent_free(&intent.model);
    mining_task_columns_free(&intent.read);

    return rc;
}
