/*
 * run.c - mines: features, RFM, popular and co-viewed items, then publishes.
 *
 * Every task is a row of crm.run and one transaction; the rules are functions
 * in etl.  Results stay unpublished until all tasks of the call are done; then
 * one statement switches all of them.  A failed task leaves what is published
 * as it is.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mining.h"


#define RUN_TASKS_MAX 16
#define RUN_SEED      "42" /* of tasks that draw; kept in crm.run */


typedef struct {
    const char *name;
    const char *sql;
} run_task_t;

/* In the order they build on each other. */
static const run_task_t run_tasks[] = {
    {"features", "select etl.mine_features($1::bigint, $2::timestamptz)"},
    {"rfm", "select etl.mine_rfm($1::bigint, $2::timestamptz)"},
    {"popular", "select etl.mine_popular($1::bigint, $2::timestamptz)"},
    {"coviewed", "select etl.mine_coviewed($1::bigint, $2::timestamptz)"},
    {NULL, NULL}};


typedef struct {
    mining_db_t db;
    const char *site;
    const char *as_of;
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


static mining_result_e
run_begin(run_t *run, const run_task_t *task, int64_t *id)
{
    char        params[96];
    const char *values[4];

    (void) snprintf(params, sizeof(params), "{\"as_of\":\"%s\"}", run->when);
    values[0] = run->site;
    values[1] = task->name;
    values[2] = params;
    values[3] = RUN_SEED;

    return mining_db_number(&run->db, id,
        "select etl.run_begin($1, $2, $3::jsonb, $4::bigint)", 4, values);
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


int
mining_run(const mining_settings_t *settings, int argc, char **argv)
{
    run_t             run;
    unsigned          i, nwords, ntasks;
    const char       *words[64];
    const run_task_t *tasks[RUN_TASKS_MAX];
    mining_progress_t progress;
    mining_result_e   rc;

    memset(&run, 0, sizeof(run));

    {
        const mining_option_t options[] = {
            {"--site", (void *) &run.site, MINING_OPTION_TEXT, 0},
            {"--as-of", (void *) &run.as_of, MINING_OPTION_TEXT, 0},
            {NULL, NULL, MINING_OPTION_FLAG, 0}};

        if (argc > 64
            || mining_options(options, argc, argv, words, &nwords) != MINING_OK
            || run.site == NULL || !run_words(words, nwords, tasks, &ntasks))
        {
            mining_say("usage: run [TASK...] --site SITE [--as-of TIME]");
            return MINING_EXIT_USAGE;
        }
    }

    run.db.stoppable = 1;
    rc = mining_db_open(&run.db, settings->pg);
    if (rc == MINING_OK) {
        rc = run_when(&run);
    }

    mining_progress_start(&progress, "mining", ntasks);
    for (i = 0; i < ntasks && rc == MINING_OK; i++) {
        rc = run_task(&run, tasks[i]);
        mining_progress_show(&progress, i + 1, i + 1);
    }

    if (rc == MINING_OK) {
        rc = run_publish(&run);
    }

    if (rc != MINING_OK) {
        mining_say("run: %s%s: %s; what is published stays as it is",
            i < ntasks && i > 0 ? "after " : "",
            i > 0 ? tasks[i - 1]->name : "start", run.db.error);
    }

    mining_progress_end(&progress, run.nruns);
    mining_db_close(&run.db);

    return rc == MINING_OK ? MINING_EXIT_OK : MINING_EXIT_FAILED;
}
