/*
 * run.c - mines: runs tasks one after the other, then publishes their results.
 *
 * Every task is a row of crm.run and one transaction.  A task is a function of
 * etl where SQL does it best, or one in C (task.h) where something is learned;
 * what it says of itself is kept by etl.run_tell.  Results stay unpublished
 * until all tasks of the call are done; then one statement switches all of
 * them.  A failed or killed task leaves what is published as it is.
 *
 * One call at a time works on a site: the others are told so.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"


#define RUN_TASKS_MAX 32
#define RUN_SEED      42         /* of tasks that draw; kept in crm.run */
#define RUN_SEED_MAX  2147483647 /* --seed */


typedef struct {
    const char    *name;
    const char    *sql; /* the task, or NULL: run */
    mining_task_pt run;
    const char    *problem; /* the question it answers */
    const char    *filter;  /* what it looks at */
} run_task_t;

/* In the order they build on each other. */
static const run_task_t run_tasks[] = {

    {"features", "select etl.mine_features($1::bigint, $2::timestamptz)", NULL,
        "what is known of each customer", "orders of known customers, views"},

    {"rfm", "select etl.mine_rfm($1::bigint, $2::timestamptz)", NULL,
        "who bought lately, often, for much",
        "orders of known customers above 0"},

    {"popular", "select etl.mine_popular($1::bigint, $2::timestamptz)", NULL,
        "which products are wanted most", "views and order lines"},

    {"coviewed", "select etl.mine_coviewed($1::bigint, $2::timestamptz)", NULL,
        "which products are viewed together", "views in sessions"},

    {"clv", NULL, mining_task_clv,
        "who will buy again, for how much, and what that is worth",
        "orders of known customers above 0, a day's as one"},

    {"churn", NULL, mining_task_churn,
        "who will not come back, and who has fallen silent",
        "orders of known customers above 0, their views"},

    {"intent", NULL, mining_task_intent,
        "how likely a running session is to buy",
        "sessions of people at some of their pages"},

    {"compare", "select etl.mine_compare($1::bigint, $2::timestamptz)", NULL,
        "how well earlier runs foretold what happened",
        "forecasts that have come due"},

    {NULL, NULL, NULL, NULL, NULL}};


typedef struct {
    mining_db_t db;
    const char *site;
    const char *as_of;
    unsigned    seed;
    json_t     *params;   /* of the tasks */
    char        when[64]; /* as_of as the server reads it, or its now() */
    int64_t     runs[RUN_TASKS_MAX];
    unsigned    nruns;
} run_t;


static const run_task_t *
run_find(const char *name)
{
    const run_task_t *task;

    for (task = run_tasks; task->name != NULL; task++) {
        if (strcmp(task->name, name) == 0) {
            return task;
        }
    }

    return NULL;
}


/* One moment for all tasks, so that their results fit each other. */
static mining_result_e
run_when(run_t *run)
{
    PGresult       *res;
    const char     *values[] = {run->as_of};
    mining_result_e rc;

    rc = mining_db_query(&run->db, &res,
        "select to_char(coalesce($1::timestamptz, now()),"
        " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        1, values);
    if (rc == MINING_OK) {
        mining_text(run->when, sizeof(run->when), "%s", PQgetvalue(res, 0, 0));
        PQclear(res);
    }

    return rc;
}


/* A session lock: it ends with the connection, however that ends. */
static mining_result_e
run_lock(run_t *run)
{
    int64_t         locked;
    const char     *values[] = {run->site};
    mining_result_e rc;

    rc = mining_db_number(
        &run->db, &locked, "select etl.run_lock($1)::int", 1, values);
    if (rc == MINING_OK && !locked) {
        mining_text(run->db.error, sizeof(run->db.error),
            "another crm-mine run works on site %s", run->site);
        rc = MINING_DECLINED;
    }

    return rc;
}


static mining_result_e
run_begin(run_t *run, const run_task_t *task, int64_t *id)
{
    char            seed[24], *params;
    const char     *values[4];
    mining_result_e rc;

    params = json_dumps(run->params, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (params == NULL) {
        return MINING_NOMEM;
    }

    (void) snprintf(seed, sizeof(seed), "%u", run->seed);
    values[0] = run->site;
    values[1] = task->name;
    values[2] = params;
    values[3] = seed;

    rc = mining_db_number(&run->db, id,
        "select etl.run_begin($1, $2, $3::jsonb, $4::bigint)", 4, values);
    free(params);

    return rc;
}


/* etl.run_tell; takes `about` over. */
static mining_result_e
run_tell(run_t *run, int64_t id, json_t *about)
{
    char            number[24], *text;
    const char     *values[2];
    mining_result_e rc;

    text = json_dumps(about, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(about);
    if (text == NULL) {
        mining_text(run->db.error, sizeof(run->db.error), "out of memory");
        return MINING_NOMEM;
    }

    (void) snprintf(number, sizeof(number), "%" PRId64, id);
    values[0] = number;
    values[1] = text;
    rc = mining_db_query(&run->db, NULL,
        "select etl.run_tell($1::bigint, $2::jsonb)", 2, values);
    free(text);

    return rc;
}


/* What a task in C told, as etl.run_tell takes it. */
static json_t *
run_told(mining_task_t *task)
{
    unsigned i;
    json_t  *drivers;

    drivers = json_array();
    for (i = 0; i < MINING_TASK_DRIVERS && task->drivers[i][0] != '\0'; i++) {
        (void) json_array_append_new(drivers, json_string(task->drivers[i]));
    }

    return json_pack("{s:I,s:I,s:s,s:o,s:o*,s:s*,s:s*}", "rows_in",
        (json_int_t) task->rows_in, "rows_out", (json_int_t) task->rows_out,
        "summary", task->summary, "drivers", drivers, "quality", task->quality,
        "part", task->part, "due_at", task->due[0] != '\0' ? task->due : NULL);
}


static mining_result_e
run_c(run_t *run, const run_task_t *task, int64_t id, int64_t *rows)
{
    mining_task_t   told;
    mining_result_e rc;

    memset(&told, 0, sizeof(told));
    told.db = &run->db;
    told.run = id;
    told.site = run->site;
    told.when = run->when;
    told.seed = run->seed;
    told.params = run->params;

    rc = task->run(&told);

    /* DECLINED: nothing to learn from is no failure */
    if (rc == MINING_OK || rc == MINING_DECLINED) {
        *rows = told.rows_out;
        return run_tell(run, id, run_told(&told));
    }

    json_decref(told.quality);
    if (told.error[0] != '\0') {
        mining_text(run->db.error, sizeof(run->db.error), "%s", told.error);
    }

    return rc;
}


/* The task and its end in one transaction. */
static mining_result_e
run_mine(run_t *run, const run_task_t *task, int64_t id, int64_t *rows)
{
    char            number[24], count[24];
    const char     *values[2];
    mining_result_e rc;

    (void) snprintf(number, sizeof(number), "%" PRId64, id);
    values[0] = number;
    values[1] = run->when;

    rc = mining_db_exec(&run->db, "begin");
    if (rc == MINING_OK) {
        rc = run_tell(run, id,
            json_pack("{s:s,s:{s:s,s:s,s:o*}}", "problem", task->problem,
                "data", "filter", task->filter, "to", run->when, "days",
                json_incref(json_object_get(run->params, "days"))));
    }
    if (rc == MINING_OK && task->run != NULL) {
        rc = run_c(run, task, id, rows);

    } else if (rc == MINING_OK) {
        rc = mining_db_number(&run->db, rows, task->sql, 2, values);
    }
    if (rc == MINING_OK) {
        (void) snprintf(count, sizeof(count), "%" PRId64, *rows);
        values[1] = count;
        rc = mining_db_query(&run->db, NULL,
            "select etl.run_end($1::bigint, null, $2::bigint, null, null)", 2,
            values);
    }
    if (rc == MINING_OK) {
        rc = mining_db_exec(&run->db, "commit");
    }

    return rc;
}


static void
run_fail(run_t *run, int64_t id)
{
    char        number[24], reason[sizeof(run->db.error)];
    const char *values[2];

    (void) snprintf(number, sizeof(number), "%" PRId64, id);
    memcpy(reason, run->db.error, sizeof(reason));
    values[0] = number;
    values[1] = reason;

    if (run->db.conn != NULL
        && (mining_db_exec(&run->db, "rollback") != MINING_OK
            || mining_db_query(&run->db, NULL,
                   "select etl.run_fail($1::bigint, $2)", 2, values)
                   != MINING_OK))
    {
        mining_say("run: could not mark run %" PRId64 " as failed: %s", id,
            run->db.error);
    }

    memcpy(run->db.error, reason, sizeof(reason));
}


/* What the run says of itself. */
static mining_result_e
run_summary(run_t *run, int64_t id, char *text, size_t size)
{
    char            number[24];
    PGresult       *res;
    const char     *values[1];
    mining_result_e rc;

    (void) snprintf(number, sizeof(number), "%" PRId64, id);
    values[0] = number;
    text[0] = '\0';

    rc = mining_db_query(&run->db, &res,
        "select coalesce(summary, '') from crm.run where id = $1::bigint", 1,
        values);
    if (rc == MINING_OK) {
        if (PQntuples(res) > 0) {
            mining_text(text, size, "%s", PQgetvalue(res, 0, 0));
        }
        PQclear(res);
    }

    return rc;
}


static mining_result_e
run_task(run_t *run, const run_task_t *task)
{
    char            summary[512];
    int64_t         id, rows, start;
    mining_result_e rc;

    start = mining_tick_ms();

    rc = run_begin(run, task, &id);
    if (rc != MINING_OK) {
        return rc;
    }

    rc = run_mine(run, task, id, &rows);
    if (rc != MINING_OK) {
        run_fail(run, id);
        return rc;
    }

    rc = run_summary(run, id, summary, sizeof(summary));
    if (rc != MINING_OK) {
        return rc;
    }

    run->runs[run->nruns++] = id;
    (void) printf("%s: run %" PRId64 ", %" PRId64 " rows in %.2f s%s%s\n",
        task->name, id, rows, (double) (mining_tick_ms() - start) / 1000,
        summary[0] != '\0' ? ": " : "", summary);
    (void) fflush(stdout);

    return MINING_OK;
}


static mining_result_e
run_publish(run_t *run)
{
    char            list[RUN_TASKS_MAX * 24];
    int64_t         rows;
    unsigned        i;
    const char     *values[2];
    mining_result_e rc;

    list[0] = '\0';
    for (i = 0; i < run->nruns; i++) {
        mining_text(
            list, sizeof(list), "%s%" PRId64, i == 0 ? "{" : ",", run->runs[i]);
    }
    mining_text(list, sizeof(list), "}");

    values[0] = run->site;
    values[1] = list;

    rc = mining_db_number(
        &run->db, &rows, "select etl.publish($1, $2::bigint[])", 2, values);
    if (rc == MINING_OK) {
        (void) printf(
            "published %" PRId64 " rows of %u runs\n", rows, run->nruns);
    }

    return rc;
}


static void
run_unknown(const char *word)
{
    char              known[256];
    const run_task_t *task;

    known[0] = '\0';
    for (task = run_tasks; task->name != NULL; task++) {
        mining_text(known, sizeof(known), " %s", task->name);
    }

    mining_say("run: no task %s; there are:%s", word, known);
}


static int
run_words(const char **words, unsigned nwords, const run_task_t **tasks,
    unsigned *ntasks)
{
    unsigned          i;
    const run_task_t *task;

    *ntasks = 0;

    if (nwords == 0) {
        for (task = run_tasks; task->name != NULL; task++) {
            tasks[(*ntasks)++] = task;
        }
        return 1;
    }

    if (nwords > RUN_TASKS_MAX) {
        mining_say("run: at most %d tasks", RUN_TASKS_MAX);
        return 0;
    }

    for (i = 0; i < nwords; i++) {
        tasks[i] = run_find(words[i]);
        if (tasks[i] == NULL) {
            run_unknown(words[i]);
            return 0;
        }
    }
    *ntasks = nwords;

    return 1;
}


/* The parameters given, and the moment that was asked for. */
static mining_result_e
run_params(run_t *run, const char *text)
{
    json_error_t error;

    run->params =
        json_loads(text == NULL ? "{}" : text, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(run->params)) {
        mining_say("run: --params is no JSON object: %s",
            run->params == NULL ? error.text : "it is another value");
        return MINING_INVALID;
    }

    return MINING_OK;
}


static mining_result_e
run_tasks_do(run_t *run, const run_task_t **tasks, unsigned ntasks)
{
    unsigned          i;
    mining_progress_t progress;
    mining_result_e   rc;

    rc = run_lock(run);
    if (rc == MINING_OK) {
        rc = run_when(run);
    }
    if (rc == MINING_OK
        && json_object_set_new(run->params, "as_of", json_string(run->when))
               != 0)
    {
        rc = MINING_NOMEM;
    }
    if (rc != MINING_OK) {
        mining_say("run: %s", run->db.error);
        return rc;
    }

    mining_progress_start(&progress, "mining", ntasks);
    for (i = 0; i < ntasks && rc == MINING_OK; i++) {
        rc = run_task(run, tasks[i]);
        mining_progress_show(&progress, i + 1, i + 1);
    }

    if (rc != MINING_OK) {
        mining_say("run: %s: %s; what is published stays as it is",
            tasks[i - 1]->name, run->db.error);
    } else {
        rc = run_publish(run);
        if (rc != MINING_OK) {
            mining_say("run: publishing: %s; what is published stays as it is",
                run->db.error);
        }
    }
    mining_progress_end(&progress, run->nruns);

    return rc;
}


int
mining_run(const mining_settings_t *settings, int argc, char **argv)
{
    run_t             run;
    unsigned          nwords, ntasks;
    const char       *words[64], *params;
    const run_task_t *tasks[RUN_TASKS_MAX];
    mining_result_e   rc;

    memset(&run, 0, sizeof(run));
    run.seed = RUN_SEED;
    params = NULL;

    {
        const mining_option_t options[] = {
            {"--site", (void *) &run.site, MINING_OPTION_TEXT, 0},
            {"--as-of", (void *) &run.as_of, MINING_OPTION_TEXT, 0},
            {"--seed", &run.seed, MINING_OPTION_COUNT, RUN_SEED_MAX},
            {"--params", (void *) &params, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || run.site == NULL || !run_words(words, nwords, tasks, &ntasks))
        {
            mining_say("usage: run [TASK...] --site SITE [--as-of TIME]"
                       " [--seed NUMBER] [--params JSON]");
            return MINING_EXIT_USAGE;
        }
    }

    if (run_params(&run, params) != MINING_OK) {
        json_decref(run.params);
        return MINING_EXIT_USAGE;
    }

    run.db.stoppable = 1;
    rc = mining_db_open(&run.db, settings->pg);
    if (rc == MINING_OK) {
        rc = run_tasks_do(&run, tasks, ntasks);
    } else {
        mining_say("run: %s", run.db.error);
    }
    mining_db_close(&run.db);
    json_decref(run.params);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
