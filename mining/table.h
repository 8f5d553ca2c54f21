/*
 * table.h - a CSV file in memory, column by column, for tasks that learn.
 */

#ifndef TABLE_H_INCLUDED_
#define TABLE_H_INCLUDED_

#include "mining.h"

#pragma GCC visibility push(hidden)


#define MINING_TABLE_ROWS_MAX   (4u << 20)
#define MINING_TABLE_LEVELS_MAX 256 /* different texts of one column */

typedef struct {
    const char  *name;
    const char **levels; /* the texts, sorted; NULL: a column of numbers */
    unsigned     nlevels;
    double      *values; /* per row: number or index of the text; NAN: empty */
} mining_column_values_t;

typedef struct {
    mining_column_values_t columns[MINING_CSV_COLUMNS_MAX];
    unsigned               ncolumns;
    size_t                 nrows;

    char   *text; /* of all cells, each ends in NUL */
    size_t  text_len;
    size_t  text_size;
    size_t *cells; /* [row][column]: where in text */
    size_t  size;  /* rows allocated */
} mining_table_t;

/*
 * Reads CSV with a header, plain or gzip.  A column is one of numbers when all
 * its cells are numbers or empty and `texts` ("name,name", may be NULL) does
 * not name it.  Says what is wrong with file and line.
 */
mining_result_e mining_table_read(
    mining_table_t *table, const char *path, const char *texts);
/* The same from any reader. */
mining_result_e mining_table_parse(mining_table_t *table,
    mining_csv_read_pt read, void *ctx, const char *name, const char *texts);
void            mining_table_free(mining_table_t *table);

/* Index of a column, or -1. */
int mining_table_find(const mining_table_t *table, const char *name);
/* 1 if the list "name,name" (may be NULL) holds the name. */
int mining_table_listed(const char *list, const char *name);


#pragma GCC visibility pop

#endif /* TABLE_H_INCLUDED_ */
