/*
 * task.h - what a mining task in C is given, and what it tells.
 *
 * A task runs inside the run's transaction: it reads through functions of the
 * schema etl, learns with mining/learn, writes results under its run and fills
 * in what it says of itself.  It must draw only from `seed` and order its rows,
 * so that the same data give the same bytes.
 */

#ifndef TASK_H_INCLUDED_
#define TASK_H_INCLUDED_

#include "mining.h"

#pragma GCC visibility push(hidden)


#define MINING_TASK_DRIVERS 8

typedef struct {
    mining_db_t  *db;
    int64_t       run;
    const char   *site;
    const char   *when; /* the moment it looks back from, for SQL */
    uint64_t      seed;
    const json_t *params; /* of the command line: an object */

    /* what it tells */
    const char *part; /* the results it wrote; NULL: none */
    int64_t     rows_in;
    int64_t     rows_out;
    json_t     *quality; /* an object; owned by who runs the task */
    char        summary[512];
    char        drivers[MINING_TASK_DRIVERS][160]; /* "" ends them */
    char        due[64]; /* when its forecast can be judged; "": it has none */
    char        error[512]; /* why it failed, if not the database */
} mining_task_t;

/*
 * DECLINED: the data hold nothing to learn from, which the summary says; the
 * run is done without results, and what is in force stays.
 */
typedef mining_result_e (*mining_task_pt)(mining_task_t *task);

mining_result_e mining_task_clv(mining_task_t *task);
mining_result_e mining_task_churn(mining_task_t *task);
mining_result_e mining_task_intent(mining_task_t *task);


/* ---- task.c: what tasks share ------------------------------------------- */

/* Sets the error; returns INVALID. */
mining_result_e mining_task_refuse(mining_task_t *task, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A number of the parameters, or `otherwise`. */
mining_result_e mining_task_number(mining_task_t *task, const char *name,
    double least, double most, double otherwise, double *number);

typedef mining_result_e (*mining_task_row_pt)(
    void *ctx, const PGresult *rows, int row);

/*
 * Hands the rows of sql, whose $1 and $2 are run and moment, to `take`, one
 * page of them in memory at a time.
 */
mining_result_e mining_task_rows(
    mining_task_t *task, const char *sql, mining_task_row_pt take, void *ctx);
/* etl.result_put of [{"id":…,"attributes":{…}}]; empties the list. */
mining_result_e mining_task_put(
    mining_task_t *task, const char *part, json_t *rows);
/* A number as results keep it: six digits behind the point. */
json_t *mining_task_real(double number);
/* The text of a column as a number; 0 for null. */
double mining_task_column(const PGresult *rows, int row, int column);


#pragma GCC visibility pop

#endif /* TASK_H_INCLUDED_ */
