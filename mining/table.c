/*
 * table.c - a CSV file in memory, column by column, for tasks that learn.
 *
 * Cells are kept as texts until the end of the file tells what each column
 * holds.  Texts are sorted, so that the same rows in another order give the
 * same levels.  A row that is too short or long refuses the file.
 */

#include "table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


typedef struct {
    mining_table_t *table;
    mining_csv_t    csv;
    const char     *path;
    const char     *texts;
} reader_t;


int
mining_table_listed(const char *list, const char *name)
{
    size_t len, n;

    len = strlen(name);
    while (list != NULL && *list != '\0') {
        n = strcspn(list, ",");
        if (n == len && memcmp(list, name, n) == 0) {
            return 1;
        }
        list += n + (list[n] == ',');
    }

    return 0;
}


int
mining_table_find(const mining_table_t *table, const char *name)
{
    unsigned i;

    for (i = 0; i < table->ncolumns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) {
            return (int) i;
        }
    }

    return -1;
}


static mining_result_e
table_room(mining_table_t *table, size_t len)
{
    size_t size;
    void  *grown;

    if (table->text_len + len > table->text_size) {
        size = 2 * table->text_size + 65536 + len;
        grown = realloc(table->text, size);
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        table->text = grown;
        table->text_size = size;
    }

    if (table->nrows + 1 >= table->size) {
        size = 2 * table->size + 1024;
        grown = realloc(table->cells, size * table->ncolumns * sizeof(size_t));
        if (grown == NULL) {
            return MINING_NOMEM;
        }
        table->cells = grown;
        table->size = size;
    }

    return MINING_OK;
}


/* The header is row 0 until the columns are made. */
static mining_result_e
table_row(reader_t *reader)
{
    unsigned        i;
    tracker_str_t   field;
    mining_result_e rc;
    mining_table_t *table;

    table = reader->table;
    if (table->ncolumns == 0) {
        table->ncolumns = reader->csv.nfields;
    }
    if (reader->csv.nfields != table->ncolumns) {
        mining_say("%s:%d: %u columns, the header has %u", reader->path,
            (int) reader->csv.line, reader->csv.nfields, table->ncolumns);
        return MINING_INVALID;
    }
    if (table->nrows > MINING_TABLE_ROWS_MAX) {
        mining_say("%s: over %u rows", reader->path, MINING_TABLE_ROWS_MAX);
        return MINING_FULL;
    }

    for (i = 0; i < table->ncolumns; i++) {
        field = reader->csv.fields[i];
        rc = table_room(table, field.len + 1);
        if (rc != MINING_OK) {
            return rc;
        }
        table->cells[table->nrows * table->ncolumns + i] = table->text_len;
        if (field.len > 0) {
            memcpy(table->text + table->text_len, field.data, field.len);
        }
        table->text[table->text_len + field.len] = '\0';
        table->text_len += field.len + 1;
    }
    table->nrows++;

    return MINING_OK;
}


static const char *
table_cell(const mining_table_t *table, size_t row, unsigned column)
{
    return table->text + table->cells[row * table->ncolumns + column];
}


static int
table_number(const char *text, double *number)
{
    char *end;

    if (*text == '\0') {
        *number = NAN;
        return 1;
    }

    *number = strtod(text, &end);

    return *end == '\0' && fabs(*number) <= 1e15;
}


static int
table_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}


/* Different texts of a column, sorted. */
static mining_result_e
table_levels(reader_t *reader, unsigned column)
{
    size_t                  row, n, kept;
    const char            **all, **found, *text;
    mining_column_values_t *made;

    made = &reader->table->columns[column];
    all = malloc(reader->table->nrows * sizeof(*all));
    if (all == NULL) {
        return MINING_NOMEM;
    }

    for (row = 1, n = 0; row < reader->table->nrows; row++) {
        text = table_cell(reader->table, row, column);
        if (*text != '\0') {
            all[n++] = text;
        }
    }
    qsort(all, n, sizeof(*all), table_compare);
    for (row = 0, kept = 0; row < n; row++) {
        if (kept == 0 || strcmp(all[row], all[kept - 1]) != 0) {
            all[kept++] = all[row];
        }
    }

    made->levels = all;
    made->nlevels = (unsigned) kept;
    if (kept > MINING_TABLE_LEVELS_MAX) {
        mining_say("%s: column \"%s\" has %zu different texts, %d are taken: "
                   "leave it out with --without %s",
            reader->path, made->name, kept, MINING_TABLE_LEVELS_MAX,
            made->name);
        return MINING_FULL;
    }

    for (row = 1; row < reader->table->nrows; row++) {
        text = table_cell(reader->table, row, column);
        found = *text == '\0'
                    ? NULL
                    : bsearch(&text, all, kept, sizeof(*all), table_compare);
        made->values[row - 1] = found == NULL ? NAN : (double) (found - all);
    }

    return MINING_OK;
}


static mining_result_e
table_column(reader_t *reader, unsigned column)
{
    int                     numbers;
    size_t                  row;
    mining_table_t         *table;
    mining_column_values_t *made;

    table = reader->table;
    made = &table->columns[column];
    made->name = table_cell(table, 0, column);
    made->values = calloc(table->nrows, sizeof(double));
    if (made->values == NULL) {
        return MINING_NOMEM;
    }

    numbers = !mining_table_listed(reader->texts, made->name);
    for (row = 1; row < table->nrows && numbers; row++) {
        numbers = table_number(
            table_cell(table, row, column), &made->values[row - 1]);
    }

    return numbers ? MINING_OK : table_levels(reader, column);
}


static mining_result_e
table_all(reader_t *reader)
{
    unsigned        i;
    mining_result_e rc;

    while ((rc = mining_csv_next(&reader->csv)) == MINING_OK) {
        rc = table_row(reader);
        if (rc != MINING_OK) {
            return rc;
        }
    }

    if (rc == MINING_INVALID) {
        mining_say("%s:%d: %s", reader->path, (int) reader->csv.line,
            reader->csv.reason);
    } else if (rc == MINING_LOST) {
        mining_say("%s: is cut short or cannot be read", reader->path);
    } else if (reader->table->nrows < 2) {
        mining_say("%s: has no row below its header", reader->path);
        rc = MINING_INVALID;
    } else {
        rc = MINING_OK;
    }

    for (i = 0; i < reader->table->ncolumns && rc == MINING_OK; i++) {
        rc = table_column(reader, i);
    }
    reader->table->nrows -= rc == MINING_OK;

    return rc;
}


mining_result_e
mining_table_parse(mining_table_t *table, mining_csv_read_pt read, void *ctx,
    const char *name, const char *texts)
{
    reader_t       *reader;
    mining_result_e rc;

    memset(table, 0, sizeof(*table));
    reader = malloc(sizeof(*reader));
    if (reader == NULL) {
        return MINING_NOMEM;
    }

    reader->table = table;
    reader->path = name;
    reader->texts = texts;
    mining_csv_start(&reader->csv, read, ctx);
    rc = table_all(reader);
    free(reader);

    if (rc != MINING_OK) {
        mining_table_free(table);
    }

    return rc;
}


mining_result_e
mining_table_read(mining_table_t *table, const char *path, const char *texts)
{
    mining_file_t   file;
    mining_result_e rc;

    memset(table, 0, sizeof(*table));
    rc = mining_file_open(&file, path);
    if (rc == MINING_OK) {
        rc = mining_table_parse(table, mining_file_read, &file, path, texts);
        mining_file_close(&file);
    }
    if (rc == MINING_NOMEM) {
        mining_say("%s: %s", path, mining_result_text(rc));
    }

    return rc;
}


void
mining_table_free(mining_table_t *table)
{
    unsigned i;

    for (i = 0; i < table->ncolumns; i++) {
        free(table->columns[i].values);
        free(table->columns[i].levels);
    }
    free(table->text);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}
