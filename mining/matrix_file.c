/*
 * matrix_file.c - reads columns of numbers from CSV with a header.
 *
 * A cell that is empty, no number, not finite or beyond 1e15 is refused with
 * its line: what is missing must be filled in by somebody who knows why.
 *
 * Limit: 2^28 numbers, 2 GiB.
 */

#include <stdlib.h>
#include <string.h>

#include "evaluate.h"
#include "matrix_file.h"


typedef struct {
    mining_matrix_t *table;
    const char      *path;
    unsigned         fields[MINING_CSV_COLUMNS_MAX]; /* of the file */
    int              id;                             /* -1: none */
} table_t;


static int
table_find(const mining_csv_t *csv, const char *name, size_t len)
{
    unsigned i;

    for (i = 0; i < csv->nfields; i++) {
        if (csv->fields[i].len == len
            && memcmp(csv->fields[i].data, name, len) == 0) {
            return (int) i;
        }
    }

    return -1;
}


static mining_result_e
table_column(table_t *t, const mining_csv_t *csv, const char *name, size_t len)
{
    int at;

    at = table_find(csv, name, len);
    if (at < 0) {
        mining_say("evaluate: %s:%d: no column \"%.*s\" in the first line",
            t->path, (int) csv->line, (int) len, name);
        return MINING_INVALID;
    }
    if (t->table->d == MINING_CSV_COLUMNS_MAX) {
        mining_say("evaluate: at most %d columns", MINING_CSV_COLUMNS_MAX);
        return MINING_INVALID;
    }

    t->fields[t->table->d] = (unsigned) at;
    t->table->names[t->table->d] = strndup(name, len);

    return t->table->names[t->table->d++] == NULL ? MINING_NOMEM : MINING_OK;
}


static mining_result_e
table_header(
    table_t *t, const mining_csv_t *csv, const char *columns, const char *id)
{
    size_t          len;
    unsigned        i;
    mining_result_e rc;

    t->id = id == NULL ? -1 : table_find(csv, id, strlen(id));
    if (id != NULL && t->id < 0) {
        mining_say("evaluate: %s:%d: no column \"%s\" in the first line",
            t->path, (int) csv->line, id);
        return MINING_INVALID;
    }

    rc = MINING_OK;
    for (i = 0; columns == NULL && i < csv->nfields && rc == MINING_OK; i++) {
        if ((int) i != t->id) {
            rc = table_column(t, csv, csv->fields[i].data, csv->fields[i].len);
        }
    }

    while (columns != NULL && rc == MINING_OK) {
        len = strcspn(columns, ",");
        rc = table_column(t, csv, columns, len);
        columns = columns[len] == ',' ? columns + len + 1 : NULL;
    }

    if (rc == MINING_OK && t->table->d == 0) {
        mining_say("evaluate: %s: no column of numbers", t->path);
        rc = MINING_INVALID;
    }

    return rc;
}


static mining_result_e
table_id(mining_matrix_t *table, tracker_str_t id)
{
    char  *ids;
    size_t size;

    if (table->ids_len + id.len + 1 > table->ids_size) {
        size = 2 * (table->ids_len + id.len + 1) + 4096;
        ids = realloc(table->ids, size);
        if (ids == NULL) {
            return MINING_NOMEM;
        }
        table->ids = ids;
        table->ids_size = size;
    }

    memcpy(table->ids + table->ids_len, id.data, id.len);
    table->ids[table->ids_len + id.len] = '\0';
    table->ids_len += id.len + 1;

    return MINING_OK;
}


static mining_result_e
table_row(table_t *t, const mining_csv_t *csv)
{
    size_t           size;
    double          *values;
    unsigned         j;
    mining_matrix_t *table;

    table = t->table;

    if ((table->n + 1) * table->d > table->size) {
        size = 2 * (table->n + 1) * table->d + 4096;
        if (table->size >= MINING_MATRIX_NUMBERS_MAX) {
            mining_say("evaluate: %s: over %lu numbers", t->path,
                MINING_MATRIX_NUMBERS_MAX);
            return MINING_FULL;
        }
        values = realloc(table->values, size * sizeof(*values));
        if (values == NULL) {
            return MINING_NOMEM;
        }
        table->values = values;
        table->size = size;
    }

    values = table->values + table->n * table->d;
    for (j = 0; j < table->d; j++) {
        if (t->fields[j] >= csv->nfields
            || !mining_evaluate_number(csv->fields[t->fields[j]], &values[j]))
        {
            mining_say("evaluate: %s:%d: %s is no number: fill it in, or "
                       "leave the column out with --columns",
                t->path, (int) csv->line, table->names[j]);
            return MINING_INVALID;
        }
    }

    if (t->id >= 0) {
        if ((unsigned) t->id >= csv->nfields) {
            mining_say(
                "evaluate: %s:%d: the row has no id", t->path, (int) csv->line);
            return MINING_INVALID;
        }
        if (table_id(table, csv->fields[t->id]) != MINING_OK) {
            return MINING_NOMEM;
        }
    }
    table->n++;

    return MINING_OK;
}


static mining_result_e
table_rows(table_t *t, mining_csv_t *csv, const char *columns, const char *id)
{
    mining_result_e rc;

    rc = mining_csv_next(csv);
    if (rc == MINING_OK) {
        rc = table_header(t, csv, columns, id);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    while (rc == MINING_OK && (rc = mining_csv_next(csv)) == MINING_OK) {
        rc = table_row(t, csv);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    if (rc == MINING_INVALID) {
        mining_say(
            "evaluate: %s:%d: %s", t->path, (int) csv->line, csv->reason);
    } else if (rc == MINING_LOST) {
        mining_say("evaluate: %s: is cut short or cannot be read", t->path);
    } else if (t->table->n == 0) {
        mining_say("evaluate: %s: has no row", t->path);
        rc = MINING_INVALID;
    }

    return rc == MINING_DECLINED ? MINING_OK : rc;
}


mining_result_e
mining_matrix_read(mining_matrix_t *table, const char *path,
    const char *columns, const char *id)
{
    table_t         t;
    mining_csv_t   *csv;
    mining_file_t   file;
    mining_result_e rc;

    memset(table, 0, sizeof(*table));
    t.table = table;
    t.path = path;

    csv = malloc(sizeof(*csv));
    if (csv == NULL) {
        return MINING_NOMEM;
    }

    rc = mining_file_open(&file, path);
    if (rc == MINING_OK) {
        mining_csv_start(csv, mining_file_read, &file);
        rc = table_rows(&t, csv, columns, id);
        mining_file_close(&file);
    }
    free(csv);

    return rc;
}


void
mining_matrix_free(mining_matrix_t *table)
{
    unsigned j;

    for (j = 0; j < table->d; j++) {
        free(table->names[j]);
    }
    free(table->values);
    free(table->ids);
    memset(table, 0, sizeof(*table));
}
