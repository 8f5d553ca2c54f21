/*
 * task.c - what mining tasks in C share: parameters, rows, results.
 *
 * Rows come through a cursor, so that a page of them is in memory however many
 * there are.  Results go out as JSON, a page at a time.
 */

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"


#define TASK_FETCH "fetch 5000 from mining_task_rows"


mining_result_e
mining_task_refuse(mining_task_t *task, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void) vsnprintf(task->error, sizeof(task->error), format, args);
    va_end(args);

    return MINING_INVALID;
}


mining_result_e
mining_task_number(mining_task_t *task, const char *name, double least,
    double most, double otherwise, double *number)
{
    const json_t *value;

    *number = otherwise;
    value = json_object_get(task->params, name);
    if (value == NULL) {
        return MINING_OK;
    }

    *number = json_number_value(value);
    if (!json_is_number(value) || !(*number >= least && *number <= most)) {
        return mining_task_refuse(
            task, "parameter %s is no number from %g to %g", name, least, most);
    }

    return MINING_OK;
}


static mining_result_e
task_page(mining_task_t *task, mining_task_row_pt take, void *ctx, int *nrows)
{
    int             i;
    PGresult       *rows;
    mining_result_e rc;

    rc = mining_db_query(task->db, &rows, TASK_FETCH, 0, NULL);
    if (rc != MINING_OK) {
        return rc;
    }

    *nrows = PQntuples(rows);
    for (i = 0; i < *nrows && rc == MINING_OK; i++) {
        rc = take(ctx, rows, i);
    }
    PQclear(rows);

    if (rc == MINING_NOMEM) {
        (void) mining_task_refuse(task, "out of memory");
    }

    return rc;
}


mining_result_e
mining_task_rows(
    mining_task_t *task, const char *sql, mining_task_row_pt take, void *ctx)
{
    int             nrows;
    char            number[24], declare[1024];
    const char     *values[2];
    mining_result_e rc;

    (void) snprintf(number, sizeof(number), "%" PRId64, task->run);
    values[0] = number;
    values[1] = task->when;
    (void) snprintf(declare, sizeof(declare),
        "declare mining_task_rows no scroll cursor for %s", sql);

    rc = mining_db_query(task->db, NULL, declare, 2, values);
    nrows = 1;
    while (rc == MINING_OK && nrows > 0) {
        rc = task_page(task, take, ctx, &nrows);
    }
    if (rc == MINING_OK) {
        rc = mining_db_exec(task->db, "close mining_task_rows");
    }

    return rc;
}


mining_result_e
mining_task_put(mining_task_t *task, const char *part, json_t *rows)
{
    char            number[24], *text;
    int64_t         kept;
    const char     *values[3];
    mining_result_e rc;

    text = json_dumps(rows, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (text == NULL) {
        return mining_task_refuse(task, "out of memory");
    }

    (void) snprintf(number, sizeof(number), "%" PRId64, task->run);
    values[0] = number;
    values[1] = part;
    values[2] = text;
    rc = mining_db_number(task->db, &kept,
        "select etl.result_put($1::bigint, $2, $3::jsonb)", 3, values);
    free(text);
    (void) json_array_clear(rows);
    task->rows_out += kept;
    task->part = part;

    return rc;
}


json_t *
mining_task_real(double number)
{
    return json_real(isfinite(number) ? round(number * 1e6) / 1e6 : 0);
}


double
mining_task_column(const PGresult *rows, int row, int column)
{
    return PQgetisnull(rows, row, column)
               ? 0
               : strtod(PQgetvalue(rows, row, column), NULL);
}
