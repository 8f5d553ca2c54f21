/*
 * task_clv.c - mines customer value from the warehouse's orders.
 *
 * BG/NBD and Gamma-Gamma (mining/learn/clv) on days of purchase.  First on
 * what was known after two thirds of the time: its forecast is compared with
 * the purchases of the last third, and with the plain forecast that everybody
 * goes on at its own pace.  Then on everything; results are customer.clv:
 *
 *   alive           how likely it buys again at all
 *   purchases_13w   days with a purchase in the next 13 weeks
 *   spend           what it spends on such a day
 *   value_52w       margin of 52 weeks to come, discounted
 *
 * Parameters: margin (share of revenue, 1), discount (a year, 0.1268: 1 % a
 * month).  Every customer is in memory, with 100 bytes and its id.
 */

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learn/clv.h"
#include "task.h"


#define CLV_PART        "clv"
#define CLV_PAGE        2000 /* results sent at once */
#define CLV_WEEKS       13   /* of the forecast */
#define CLV_PERIODS     12   /* of CLV_PERIOD weeks: the value of a year */
#define CLV_REPEATS_MIN 20   /* with fewer a model says nothing */
#define CLV_PERIOD      (52.0 / CLV_PERIODS)

typedef struct {
    mining_buyer_t *all;
    size_t         *who;  /* where its id begins in ids */
    mining_buyer_t *held; /* as two thirds of the time knew them */
    double         *later;
    char           *ids;
    size_t          n;
    size_t          nheld;
    size_t          size;
    size_t          ids_len;
    size_t          ids_size;
    double          weeks; /* held back */
    double          margin;
    double          discount; /* of a period */
    mining_bgnbd_t  buys;
    mining_spend_t  spends;
    int             money; /* spends is fitted */
} clv_t;


static int
clv_grow(void **array, size_t size, size_t each)
{
    void *grown;

    grown = realloc(*array, size * each);
    if (grown == NULL) {
        return 0;
    }
    *array = grown;

    return 1;
}


static int
clv_room(clv_t *clv, size_t id_len)
{
    size_t size;

    if (clv->ids_len + id_len > clv->ids_size) {
        size = 2 * clv->ids_size + 65536;
        if (!clv_grow((void **) &clv->ids, size, 1)) {
            return 0;
        }
        clv->ids_size = size;
    }

    if (clv->n < clv->size) {
        return 1;
    }

    size = 2 * clv->size + 1024;
    if (!clv_grow((void **) &clv->all, size, sizeof(*clv->all))
        || !clv_grow((void **) &clv->who, size, sizeof(*clv->who))
        || !clv_grow((void **) &clv->held, size, sizeof(*clv->held))
        || !clv_grow((void **) &clv->later, size, sizeof(*clv->later)))
    {
        return 0;
    }
    clv->size = size;

    return 1;
}


static void
clv_buyer(mining_buyer_t *buyer, const PGresult *rows, int row, int column)
{
    buyer->x = (uint32_t) mining_task_column(rows, row, column);
    buyer->t_x = mining_task_column(rows, row, column + 1);
    buyer->T = mining_task_column(rows, row, column + 2);
    buyer->spend = mining_task_column(rows, row, column + 3);
}


static mining_result_e
clv_take(void *ctx, const PGresult *rows, int row)
{
    size_t len;
    clv_t *clv;

    clv = ctx;
    len = (size_t) PQgetlength(rows, row, 0) + 1;
    if (!clv_room(clv, len)) {
        return MINING_NOMEM;
    }

    clv->who[clv->n] = clv->ids_len;
    memcpy(clv->ids + clv->ids_len, PQgetvalue(rows, row, 0), len);
    clv->ids_len += len;
    clv_buyer(&clv->all[clv->n], rows, row, 1);

    if (!PQgetisnull(rows, row, 5)) {
        clv_buyer(&clv->held[clv->nheld], rows, row, 5);
        clv->later[clv->nheld] = mining_task_column(rows, row, 9);
        clv->weeks = clv->all[clv->n].T - clv->held[clv->nheld].T;
        clv->nheld++;
    }
    clv->n++;

    return MINING_OK;
}


/* What cannot be fitted has no quality: null in the record. */
static mining_result_e
clv_hold_out(clv_t *clv, mining_task_t *task)
{
    double         said, error, pace, sum, actual;
    size_t         i, bad;
    mining_bgnbd_t model;

    if (clv->nheld == 0 || !(clv->weeks > 0)
        || mining_bgnbd_fit(clv->held, clv->nheld, &model, &bad) != MINING_OK)
    {
        return MINING_DECLINED;
    }

    error = pace = sum = actual = 0;
    for (i = 0; i < clv->nheld; i++) {
        said = mining_bgnbd_expected(&model, &clv->held[i], clv->weeks);
        sum += said;
        actual += clv->later[i];
        error += fabs(said - clv->later[i]);
        said = clv->held[i].T > 0 ? clv->held[i].x / clv->held[i].T * clv->weeks
                                  : 0;
        pace += fabs(said - clv->later[i]);
    }

    task->quality = json_pack("{s:I,s:o,s:o,s:o,s:o,s:o}", "held_customers",
        (json_int_t) clv->nheld, "held_weeks", mining_task_real(clv->weeks),
        "held_expected", mining_task_real(sum), "held_actual",
        mining_task_real(actual), "held_mae",
        mining_task_real(error / (double) clv->nheld), "held_mae_own_pace",
        mining_task_real(pace / (double) clv->nheld));

    return task->quality != NULL ? MINING_OK : MINING_NOMEM;
}


static mining_result_e
clv_fit(clv_t *clv, mining_task_t *task)
{
    size_t          i, bad, repeats;
    mining_result_e rc;

    repeats = 0;
    for (i = 0; i < clv->n; i++) {
        repeats += clv->all[i].x > 0;
    }
    if (repeats < CLV_REPEATS_MIN) {
        mining_text(task->summary, sizeof(task->summary),
            "%zu of %zu customers bought again, %d are needed: nothing to "
            "learn from",
            repeats, clv->n, CLV_REPEATS_MIN);
        return MINING_DECLINED;
    }

    bad = 0;
    rc = mining_bgnbd_fit(clv->all, clv->n, &clv->buys, &bad);
    if (rc != MINING_OK) {
        return mining_task_refuse(task, "customer \"%s\": %s",
            clv->ids + clv->who[bad], mining_result_text(rc));
    }

    rc = mining_spend_fit(clv->all, clv->n, &clv->spends, &bad);
    clv->money = rc == MINING_OK;
    if (rc != MINING_OK && rc != MINING_DECLINED) {
        return mining_task_refuse(task, "what customer \"%s\" spent: %s",
            clv->ids + clv->who[bad], mining_result_text(rc));
    }

    return MINING_OK;
}


static json_t *
clv_result(const clv_t *clv, size_t i, double *value)
{
    double                spend;
    const mining_buyer_t *buyer;

    buyer = &clv->all[i];
    spend = clv->money ? mining_spend_expected(&clv->spends, buyer) : 0;
    *value = clv->money ? clv->margin
                              * mining_clv(&clv->buys, &clv->spends, buyer,
                                  CLV_PERIODS, CLV_PERIOD, clv->discount)
                        : 0;

    return json_pack("{s:s,s:{s:{s:o,s:o,s:o,s:o}}}", "id",
        clv->ids + clv->who[i], "attributes", CLV_PART, "alive",
        mining_task_real(mining_bgnbd_alive(&clv->buys, buyer)),
        "purchases_13w",
        mining_task_real(mining_bgnbd_expected(&clv->buys, buyer, CLV_WEEKS)),
        "spend", mining_task_real(spend), "value_52w",
        mining_task_real(*value));
}


static mining_result_e
clv_write(clv_t *clv, mining_task_t *task, double *total)
{
    double          value;
    size_t          i;
    json_t         *rows;
    mining_result_e rc;

    rows = json_array();
    rc = rows != NULL ? MINING_OK : MINING_NOMEM;
    *total = 0;

    for (i = 0; i < clv->n && rc == MINING_OK; i++) {
        if (json_array_append_new(rows, clv_result(clv, i, &value)) != 0) {
            rc = MINING_NOMEM;
        } else if (json_array_size(rows) >= CLV_PAGE || i + 1 == clv->n) {
            rc = mining_task_put(task, CLV_PART, rows);
        }
        *total += value;
    }
    json_decref(rows);

    return rc;
}


/* Sentences: shares of the model that a person can check. */
static void
clv_tell(const clv_t *clv, mining_task_t *task, double total)
{
    size_t i, repeats;

    repeats = 0;
    for (i = 0; i < clv->n; i++) {
        repeats += clv->all[i].x > 0;
    }

    mining_text(task->summary, sizeof(task->summary),
        "%zu customers, worth %.2f in the next 52 weeks", clv->n, total);
    mining_text(task->drivers[0], sizeof(task->drivers[0]),
        "a typical customer buys every %.1f weeks while it is one",
        clv->buys.alpha / clv->buys.r);
    mining_text(task->drivers[1], sizeof(task->drivers[1]),
        "after a purchase %.0f in 100 leave for good",
        100 * clv->buys.a / (clv->buys.a + clv->buys.b));
    mining_text(task->drivers[2], sizeof(task->drivers[2]),
        "%zu of %zu customers bought more than once", repeats, clv->n);
    if (clv->money) {
        mining_text(task->drivers[3], sizeof(task->drivers[3]),
            "a repeat purchase is worth %.2f on average", clv->spends.mean);
    }

    if (task->quality == NULL) {
        task->quality = json_object();
    }
    (void) json_object_set_new(task->quality, "log_likelihood",
        mining_task_real(clv->buys.log_likelihood));
    (void) json_object_set_new(task->quality, "model",
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "r",
            mining_task_real(clv->buys.r), "alpha",
            mining_task_real(clv->buys.alpha), "a",
            mining_task_real(clv->buys.a), "b", mining_task_real(clv->buys.b),
            "p", mining_task_real(clv->spends.p), "q",
            mining_task_real(clv->spends.q), "v",
            mining_task_real(clv->spends.v)));
}


/* One forecast a week is kept to be judged: more say the same. */
static mining_result_e
clv_due(mining_task_t *task)
{
    PGresult       *res;
    const char     *values[2];
    mining_result_e rc;

    values[0] = task->site;
    values[1] = task->when;
    rc = mining_db_query(task->db, &res,
        "select to_char($2::timestamptz + interval '91 days',"
        " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from (select) as one"
        " where not exists (select from crm.run as r where r.site = $1"
        " and r.task = 'clv' and r.due_at is not null"
        " and r.state in ('done', 'published', 'withdrawn')"
        " and r.due_at > $2::timestamptz + interval '84 days'"
        " and r.due_at < $2::timestamptz + interval '98 days')",
        2, values);
    if (rc == MINING_OK && PQntuples(res) > 0) {
        mining_text(task->due, sizeof(task->due), "%s", PQgetvalue(res, 0, 0));
    }
    PQclear(res);

    return rc;
}


static mining_result_e
clv_mine(clv_t *clv, mining_task_t *task)
{
    double          total, year;
    mining_result_e rc;

    rc = mining_task_number(task, "margin", 0, 1, 1, &clv->margin);
    if (rc == MINING_OK) {
        rc = mining_task_number(task, "discount", 0, 10, 0.126825, &year);
    }
    if (rc != MINING_OK) {
        return rc;
    }
    clv->discount = pow(1 + year, 1.0 / CLV_PERIODS) - 1;

    rc = mining_task_rows(task,
        "select * from etl.clv_buyers($1::bigint, $2::timestamptz)", clv_take,
        clv);
    if (rc != MINING_OK) {
        return rc;
    }

    task->rows_in = (int64_t) clv->n;
    if (clv->n == 0) {
        mining_text(task->summary, sizeof(task->summary),
            "no customer has bought anything: nothing to learn from");
        return MINING_DECLINED;
    }

    rc = clv_hold_out(clv, task);
    if (rc == MINING_OK || rc == MINING_DECLINED) {
        rc = clv_fit(clv, task);
    }
    if (rc == MINING_OK) {
        rc = clv_write(clv, task, &total);
    }
    if (rc == MINING_OK) {
        clv_tell(clv, task, total);
        rc = clv_due(task);
    }

    return rc;
}


mining_result_e
mining_task_clv(mining_task_t *task)
{
    clv_t           clv;
    mining_result_e rc;

    memset(&clv, 0, sizeof(clv));
    rc = clv_mine(&clv, task);
    if (rc == MINING_NOMEM) {
        (void) mining_task_refuse(task, "out of memory");
    }

    free(clv.all);
    free(clv.who);
    free(clv.held);
    free(clv.later);
    free(clv.ids);

    return rc;
}
