/*
 * task_columns.c - what a task learns a yes or no from, column by column.
 *
 * A text that is none of the column's levels counts as missing, as it does
 * where nginx evaluates what was learned.
 */

#include "task_columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


static int
columns_grow(void **array, size_t size, size_t each)
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
columns_room(mining_task_columns_t *columns, size_t id_len)
{
    size_t   size;
    unsigned i;

    if (columns->ids_len + id_len > columns->ids_size) {
        size = 2 * columns->ids_size + 65536;
        if (!columns_grow((void **) &columns->ids, size, 1)) {
            return 0;
        }
        columns->ids_size = size;
    }
    if (columns->n < columns->size) {
        return 1;
    }

    size = 2 * columns->size + 1024;
    if (!columns_grow((void **) &columns->y, size, 1)
        || !columns_grow((void **) &columns->id, size, sizeof(size_t))
        || !columns_grow((void **) &columns->rows, size, sizeof(uint32_t)))
    {
        return 0;
    }
    for (i = 0; i < columns->ncolumns; i++) {
        if (!columns_grow(
                (void **) &columns->columns[i].values, size, sizeof(double))) {
            return 0;
        }
    }
    columns->size = size;

    return 1;
}


static double
columns_value(
    const mining_task_column_t *spec, const PGresult *rows, int row, int column)
{
    unsigned    i;
    const char *text;

    if (PQgetisnull(rows, row, column)) {
        return NAN;
    }
    if (spec->levels == NULL) {
        return mining_task_column(rows, row, column);
    }

    text = PQgetvalue(rows, row, column);
    for (i = 0; i < spec->nlevels; i++) {
        if (strcmp(text, spec->levels[i]) == 0) {
            return i;
        }
    }

    return NAN;
}


static mining_result_e
columns_take(void *ctx, const PGresult *rows, int row)
{
    size_t                 len;
    unsigned               i;
    mining_task_columns_t *columns;

    columns = ctx;
    len = (size_t) PQgetlength(rows, row, 0) + 1;
    if (!columns_room(columns, len)) {
        return MINING_NOMEM;
    }

    columns->id[columns->n] = columns->ids_len;
    memcpy(columns->ids + columns->ids_len, PQgetvalue(rows, row, 0), len);
    columns->ids_len += len;
    columns->y[columns->n] = mining_task_column(rows, row, 1) > 0;
    columns->yes += columns->y[columns->n];
    columns->rows[columns->n] = (uint32_t) columns->n;
    for (i = 0; i < columns->ncolumns; i++) {
        columns->columns[i].values[columns->n] =
            columns_value(&columns->spec[i], rows, row, (int) i + 2);
    }
    columns->n++;

    return MINING_OK;
}


mining_result_e
mining_task_columns_read(mining_task_t *task, mining_task_columns_t *columns,
    const char *sql, const mining_task_column_t *spec, unsigned ncolumns)
{
    unsigned i;

    memset(columns, 0, sizeof(*columns));
    columns->spec = spec;
    columns->ncolumns = ncolumns;
    for (i = 0; i < ncolumns; i++) {
        columns->columns[i].name = spec[i].name;
        columns->columns[i].levels = (const char **) spec[i].levels;
        columns->columns[i].nlevels = spec[i].nlevels;
    }

    return mining_task_rows(task, sql, columns_take, columns);
}


void
mining_task_columns_free(mining_task_columns_t *columns)
{
    unsigned i;

    for (i = 0; i < columns->ncolumns; i++) {
        free(columns->columns[i].values);
    }
    free(columns->y);
    free(columns->ids);
    free(columns->id);
    free(columns->rows);
    memset(columns, 0, sizeof(*columns));
}


void
mining_task_features(
    const mining_task_columns_t *columns, mining_features_t *features)
{
    unsigned i;

    memset(features, 0, sizeof(*features));
    features->nfeatures = columns->ncolumns;
    for (i = 0; i < columns->ncolumns; i++) {
        features->values[i] = columns->columns[i].values;
        features->nlevels[i] = columns->columns[i].nlevels;
    }
}
