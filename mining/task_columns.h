/*
 * task_columns.h - what a task learns a yes or no from, column by column.
 */

#ifndef TASK_COLUMNS_H_INCLUDED_
#define TASK_COLUMNS_H_INCLUDED_

#include "learn/boost.h"
#include "table.h"
#include "task.h"

#pragma GCC visibility push(hidden)


#define MINING_TASK_COLUMNS_MAX 16

typedef struct {
    const char        *name;
    const char *const *levels; /* sorted; NULL: numbers */
    unsigned           nlevels;
} mining_task_column_t;

typedef struct {
    const mining_task_column_t *spec;
    unsigned                    ncolumns;
    mining_column_values_t      columns[MINING_TASK_COLUMNS_MAX];
    uint8_t                    *y;
    char                       *ids;
    size_t                     *id;   /* where a row's begins in ids */
    uint32_t                   *rows; /* 0 ... n-1 */
    size_t                      n;
    size_t                      yes;
    size_t                      size;
    size_t                      ids_len;
    size_t                      ids_size;
} mining_task_columns_t;

/* sql gives id (may be null), 0 or 1, and then the columns. */
mining_result_e mining_task_columns_read(mining_task_t *task,
    mining_task_columns_t *columns, const char *sql,
    const mining_task_column_t *spec, unsigned ncolumns);
void            mining_task_columns_free(mining_task_columns_t *columns);
/* The same columns as mining/learn/boost wants them. */
void mining_task_features(
    const mining_task_columns_t *columns, mining_features_t *features);


#pragma GCC visibility pop

#endif /* TASK_COLUMNS_H_INCLUDED_ */
